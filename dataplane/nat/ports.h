/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which egress address and port a new session gets (RFC 6056, RFC 6888 REQ-2
 * and REQ-13). Thread: the shard's.
 *
 * Endpoint-dependent: a port is free for a remote when no session has (egress,
 * port, remote, remote port, protocol), so an egress IP serves 64,512 sessions
 * per remote endpoint. Endpoint-independent: when no mapping has (egress, port,
 * protocol).
 *
 * Random ports are tried first; where several are taken, few may be left, and a
 * map of the ports towards that one remote is built and kept: then a free port
 * is found in bounded time, down to the last one. Maps are needed only for
 * remotes that hold most of an IP's ports, and there can not be many of those:
 * their number is bounded by the sessions.
 */
#ifndef POSTERN_NAT_PORTS_H
#define POSTERN_NAT_PORTS_H

#include "dataplane/nat/shard.h"

struct ports_request {
	const struct policy_tables *policy;
	const struct table_workspace *workspace;
	const struct table_vpc *vpc;  /* of the worker */
	uint32_t inside_address, vni; /* paired pooling: the same worker gets the same egress IP */
	uint32_t remote_address;      /* both 0 for endpoint-independent mapping */
	uint16_t remote_port;
	uint8_t protocol;
	/*
	 * There are sessions of the other mapping mode, from before it was changed: then a port is free only if none of
	 * them waits there for what `towards` sends, the remote of the session to come.
	 */
	bool mixed;
	uint16_t towards_port;
	uint32_t towards_address;
};

struct ports_choice {
	uint32_t egress_address;
	uint16_t egress_slot;
	uint16_t port;
	uint64_t hash; /* of the key by which replies find the session or mapping */
};

/* Where ports_allocate() will look first: drawn for a whole batch, so that its cache misses overlap. */
struct ports_hint {
	const struct table_egress *egress; /* the one that pairing prefers; NULL: nothing was foreseen */
	uint64_t hash;
	uint16_t port;
	bool drawn; /* port and hash count */
};

enum ports_result {
	PORTS_OK,
	PORTS_NO_EGRESS_IP, /* none in service */
	PORTS_EXHAUSTED,    /* not one port on any of them */
};

/* Draws and prefetches. The hint holds within the batch, for this request. */
struct ports_hint ports_foresee(struct nat_shard *shard, const struct ports_request *request);

/* `hint` may be NULL. */
enum ports_result ports_allocate(struct nat_shard *shard, const struct ports_request *request,
	const struct ports_hint *hint, struct ports_choice *ret_choice);

/* May the session to come share the egress address and port of its mapping's leader? */
bool ports_shareable(const struct nat_shard *shard, const struct ports_request *request, const struct session *leader);

/* Is the port one that this shard gives? */
bool ports_mine(const struct nat_shard *shard, uint16_t port, uint8_t protocol);

/* A session or mapping took its port or gave it back: keeps the maps true. */
void ports_note(struct nat_shard *shard, const struct session *session, bool taken);

/*
 * For a session that is not live any more, before it is removed: its address may have another identity by now, whose map
 * was built while the session still held the port.
 */
void ports_note_gone(struct nat_shard *shard, const struct policy_tables *policy, uint32_t session_index);

/* Number of port maps (a power of two) for a shard of that many sessions. */
uint32_t ports_map_count(uint32_t sessions_max);

#endif
