/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The conversation between posternd and postern-dataplane, over DIR/dataplane.sock (AF_UNIX,
 * SOCK_SEQPACKET, mode 0660). One message is one struct rpc_message of fixed size, plus file descriptors by
 * SCM_RIGHTS. The dataplane listens and serves one client at a time: a new one replaces the old one, so that
 * a restarted posternd never waits. The dataplane forwards the same with and without a client (P4).
 *
 *   dataplane → posternd   HELLO       on accept; fds: [counters memfd, sessions file]
 *   posternd → dataplane   POLICY      fd: sealed memfd of struct policy_snapshot
 *   posternd → dataplane   ADJACENCY   fd: sealed memfd of struct adjacency_snapshot
 *   dataplane → posternd   ACK         for each of the two, in order: in force on every shard, or refused
 *   dataplane → posternd   NEIGHBOUR   an address whose MAC is wanted; at most a few a second
 *
 * A message of another size, version or unknown type, or with other fds than listed, ends the connection.
 */
#ifndef POSTERN_CONTRACT_RPC_H
#define POSTERN_CONTRACT_RPC_H

#include <assert.h>
#include <stdint.h>

#define CONTRACT_VERSION 1u
#define RPC_MAGIC 0x50525043u /* "PRPC" */
#define RPC_SOCKET_NAME "dataplane.sock"

enum rpc_type { RPC_HELLO = 1, RPC_POLICY = 2, RPC_ADJACENCY = 3, RPC_ACK = 4, RPC_NEIGHBOUR = 5 };

enum rpc_status {
	RPC_OK = 0,
	RPC_REFUSED = 1, /* the snapshot is invalid; what was in force stays; `text` says why */
	RPC_NO_PORT = 2, /* a port could not be opened; `text` says which and what to do */
};

struct rpc_message {
	uint32_t magic;
	uint32_t version;    /* CONTRACT_VERSION */
	uint32_t type;	     /* enum rpc_type */
	uint32_t status;     /* ACK: enum rpc_status */
	uint64_t generation; /* POLICY, ADJACENCY, ACK: of the snapshot; HELLO: of the policy in force, 0 if none */
	uint64_t adjacency_generation; /* HELLO: in force, 0 if none */
	uint32_t acked_type;	       /* ACK: RPC_POLICY or RPC_ADJACENCY */
	uint32_t shard_count;	       /* HELLO */
	uint32_t process_id;	       /* HELLO */
	uint32_t address;	       /* NEIGHBOUR: IPv4, host order */
	uint32_t port;		       /* NEIGHBOUR: enum port_index */
	uint32_t reserved;
	char text[192]; /* ACK that is not OK: one sentence for the operator */
};
static_assert(sizeof(struct rpc_message) == 248, "contract");

#endif
