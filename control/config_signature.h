/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signed configuration, opt-in: beside each YAML file FILE lies FILE.sig, the 64 bytes of an Ed25519 signature (RFC
 * 8032) of the file's bytes. They are checked before anything of the file is parsed. The public key comes from the
 * command line, so that no configuration can switch this off. Pure but for reading files; any thread.
 */
#ifndef POSTERN_CONTROL_CONFIG_SIGNATURE_H
#define POSTERN_CONTROL_CONFIG_SIGNATURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "control/status.h"

enum { CONFIG_KEY_BYTES = 32, CONFIG_SIGNATURE_BYTES = 64 };

struct config_key {
	uint8_t bytes[CONFIG_KEY_BYTES];
};

/* A public key, PEM. */
enum status config_key_load(const char *path, struct config_key *ret_key, struct problems *problems);

/* For struct config_api: `context` is a struct config_key. False: `problems` says why the file does not count. */
bool config_signature_check(
	void *context, const char *path, const char *bytes, size_t size_bytes, struct problems *problems);

/* Writes FILE.sig, whole or not at all. `key_path`: a private key, PEM, without a password. */
enum status config_signature_make(const char *key_path, const char *path, struct problems *problems);

#endif
