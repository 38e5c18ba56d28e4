/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A new session: may this packet open one, and if so, with which egress address and port? Thread: the shard's.
 */
#ifndef POSTERN_NAT_CREATE_H
#define POSTERN_NAT_CREATE_H

#include "dataplane/nat/ports.h"

/* What is known of a session before it is created. */
struct create_hint {
	uint64_t inside_hash;  /* of its key in the inside index: always */
	bool foreseen;	       /* the rest counts */
	uint64_t mapping_hash; /* endpoint-independent */
	struct ports_hint ports;
};

/*
 * A pass over a batch whose sessions have been looked up: for those that have none, draws ports and prefetches the index
 * lines that create_session() will touch, so that the misses of a batch overlap. Sets all of hints[0..batch->count) but
 * inside_hash; changes nothing but the state of the random numbers.
 */
void create_foresee(struct nat_shard *shard, const struct batch *batch, struct create_hint hints[]);

/* A session for an outbound packet that has none. DROP_NONE: packet->session_index is set. */
enum drop_reason create_session(
	struct nat_shard *shard, const struct batch *batch, struct packet *packet, const struct create_hint *hint);

#endif
