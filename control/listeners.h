/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where posternd serves: the Unix socket, and as the configuration says the API over HTTPS and the metrics; and what
 * that takes: certificate, authorities, keys of tokens, the audit log's place. Thread: the event loop's.
 */
#ifndef POSTERN_CONTROL_LISTENERS_H
#define POSTERN_CONTROL_LISTENERS_H

#include <stdbool.h>
#include <stdint.h>

#include "control/jwt.h"
#include "control/status.h"

struct api_endpoint;
struct daemon;
struct http_server;
struct tls;

/* What says who may come in. */
enum listeners_trust { TRUST_CLIENT_CA, TRUST_TOKEN_KEYS, TRUST_COUNT };

struct listeners {
	struct api_endpoint *local_endpoint, *https_endpoint, *metrics_endpoint;
	struct http_server *local, *https, *metrics;
	struct tls *tls;
	struct jwt_keys token_keys;
	char token_keys_path[256]; /* what `token_keys` was read from; empty: nothing */
	uint64_t token_keys_stamp; /* of the file then */
	uint64_t stale_since_ns
		[TRUST_COUNT]; /* its file has changed, and can not be used; 0: the one in use is the file's */
	char https_address[64], metrics_address[64];
	uint16_t https_port, metrics_port; /* 0: does not listen */
	bool metrics_with_tls;
	struct problems problems; /* why it is not all as configured; control/health.h shows them */
};

/* Opens the Unix socket. */
enum status listeners_open(struct daemon *daemon, struct problems *problems);
void listeners_close(struct daemon *daemon);

/*
 * As the desired configuration says. What can not be had (an address in use, a bad certificate) leaves what was; it is
 * in `problems`, and tried again at each call. Each second, and when the configuration is another one.
 */
void listeners_apply(struct daemon *daemon);

/* How long what counts has not been what its file says, seconds; 0: it is. For the metrics. */
double listeners_stale_s(const struct daemon *daemon, enum listeners_trust trust);
/* False: for longer than api.trust_grace, so nobody is let in by it. */
bool listeners_trust(const struct daemon *daemon, enum listeners_trust trust);

#endif
