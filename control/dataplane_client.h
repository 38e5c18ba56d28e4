/* SPDX-License-Identifier: Apache-2.0 */
/*
 * posternd's end of the conversation of contract/rpc.h: connects (again and again), receives HELLO, sends snapshots as
 * sealed memfds, and matches acknowledgements. It trusts nothing of what comes: a message that is not exactly as the
 * contract says closes the connection, and every descriptor that came with it.
 *
 * At most one snapshot of each type is under way; the daemon sends the next one after the ACK. Thread: the event
 * loop's.
 */
#ifndef POSTERN_CONTROL_DATAPLANE_CLIENT_H
#define POSTERN_CONTROL_DATAPLANE_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "control/log.h"
#include "control/status.h"
#include "dataplane/contract/rpc.h"

struct event_base;
struct dataplane_client;

struct dataplane_client_handlers {
	/* After HELLO. The descriptors belong to the callee from here on. False: they are unusable, connect again. */
	bool (*connected)(void *context, const struct rpc_message *hello, int counters_fd, int sessions_fd);
	/* For the snapshot under way, and no other. */
	void (*acknowledged)(void *context, const struct rpc_message *ack);
	void (*neighbour_wanted)(void *context, uint32_t address, uint32_t port);
	void (*lost)(void *context, const char *why);
};

enum {
	DATAPLANE_CLIENT_BACKOFF_MIN_MS = 50,
	DATAPLANE_CLIENT_BACKOFF_MAX_MS = 1000,
	DATAPLANE_CLIENT_TIMEOUT_S = 10, /* for HELLO and for each ACK */
};

/* Starts connecting at once. `handlers` must outlive the client. */
enum status dataplane_client_open(struct event_base *base, const struct log *log, const char *socket_path,
	const struct dataplane_client_handlers *handlers, void *context, struct dataplane_client **ret_client,
	struct problems *problems);
void dataplane_client_close(struct dataplane_client *client);

/* HELLO has come and the connection stands. */
bool dataplane_client_is_connected(const struct dataplane_client *client);
/* Of the present connection; all zero without one. */
const struct rpc_message *dataplane_client_hello(const struct dataplane_client *client);
/* Why there is no connection, one sentence; empty when there is one. */
const char *dataplane_client_error(const struct dataplane_client *client);

/* A snapshot of this type waits for its ACK. */
bool dataplane_client_is_busy(const struct dataplane_client *client, enum rpc_type type);

/* Writes `block` to a memfd, seals it and sends it. STATUS_UNREACHABLE when not connected, STATUS_REFUSED when busy. */
enum status dataplane_client_send(struct dataplane_client *client, enum rpc_type type, uint64_t generation,
	const void *block, size_t size_bytes, struct problems *problems);

/* ---- the framing, on its own so that tests reach it ---- */

enum { RPC_FD_COUNT_MAX = 2 };

enum rpc_receive_result { RPC_RECEIVED, RPC_AGAIN, RPC_CLOSED, RPC_MALFORMED };

/*
 * One message and the descriptors the contract gives it: exactly two with HELLO, none else. On RPC_MALFORMED every
 * received descriptor has been closed, and `ret_why` (static text) says what was wrong.
 */
enum rpc_receive_result rpc_receive(
	int fd, struct rpc_message *ret_message, int ret_fds[RPC_FD_COUNT_MAX], const char **ret_why);

/* The block in a memfd that nobody can change any more; -1 with errno. */
int rpc_seal_block(const char *name, const void *block, size_t size_bytes);

#endif
