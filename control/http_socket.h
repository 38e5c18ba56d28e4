/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where control/http_server.h listens: sockets that are bound, and do not listen yet. They are the caller's.
 * Thread: the event loop's.
 */
#ifndef POSTERN_CONTROL_HTTP_SOCKET_H
#define POSTERN_CONTROL_HTTP_SOCKET_H

#include <stdint.h>

#include "control/status.h"

struct log;

#define HTTP_SOCKET_GROUP "postern"

/* `name`: what it is for, in messages. */
enum status http_socket_tcp(
	const char *name, const char *address, uint16_t port, int *ret_socket, struct problems *problems);

/*
 * Replaces what is there, which was a predecessor's; mode 0660, of the group above where the host has it, which `log`
 * tells.
 */
enum status http_socket_unix(const struct log *log, const char *path, int *ret_socket, struct problems *problems);

#endif
