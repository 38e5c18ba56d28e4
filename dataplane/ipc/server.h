/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The dataplane's end of contract/rpc.h: the socket in the run directory, and one client at a time.
 *
 * Never blocks: a client that does not read its answers loses its connection. Nothing a client sends is trusted; what
 * is not a message of the contract ends the connection and is counted.
 *
 * Owner: main(). Thread: control.
 */
#ifndef POSTERN_IPC_SERVER_H
#define POSTERN_IPC_SERVER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/un.h>

#include "dataplane/contract/rpc.h"
#include "dataplane/nat/nat.h"

#define SERVER_LOCK_NAME "dataplane.lock"

struct server {
	int lock_fd;
	int listen_fd;
	int client_fd; /* -1: none */
	struct sockaddr_un address;
	uint64_t violations; /* connections ended because of what the client sent */
};

/* Takes the run directory's lock (made if missing), replaces the socket of a dead predecessor, listens. */
bool server_open(struct server *ret_server, const char *run_dir, char ret_text[NAT_TEXT_SIZE_BYTES]);

/* Also of one that failed to open. */
void server_close(struct server *server);

/* Call when `listen_fd` is readable. The newest client wins; it gets `hello` with the two descriptors. */
void server_accept(struct server *server, const struct rpc_message *hello, const int fds[2]);

/*
 * Call when `client_fd` is readable. True: a POLICY or ADJACENCY with its descriptor, which is the caller's to close.
 * False: nothing (more) to do now; the client may be gone.
 */
bool server_receive(struct server *server, struct rpc_message *ret_message, int *ret_fd);

/* Without a client, or when it does not read, the message is lost. */
void server_send(struct server *server, const struct rpc_message *message);

/* An empty message of this type. */
struct rpc_message server_message(enum rpc_type type);

#endif
