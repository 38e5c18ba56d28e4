/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The oracle: what the NAT shall do, said as plainly as possible. Arrays and linear search, no index, no batch, no
 * prefetch; nothing shared with the core but the contract's headers. It is told what happens, in order, and judges what
 * the core made of it. Where the core may choose (egress IP and port of a new session, IP IDs, the tunnel's source
 * port, the moment within a second at which something idle ends) the oracle judges the choice; all else must be equal,
 * byte for byte and reason for reason.
 *
 *   oracle.c           the two journeys of a packet, and the comparison: read this first
 *   oracle_policy.c    which objects are the same as before; what policy and routes say
 *   oracle_session.c   sessions, and what packets do to them
 *   oracle_ports.c     the egress address and port that a new one gets
 *   oracle_limits.c    what is refused because it would be too much
 *   oracle_end.c       sessions that end, and whom that is told
 *   oracle_fragment.c  fragments that wait for their first one
 *   oracle_bytes.c     what leaves, what is said about what does not
 *
 * Limits: one shard; ORACLE_SESSIONS_MAX sessions; policies of at most ORACLE_POLICY_MAX_BYTES.
 */
#ifndef POSTERN_TESTS_SIM_ORACLE_H
#define POSTERN_TESTS_SIM_ORACLE_H

#include <stdbool.h>
#include <stdint.h>

#include "dataplane/contract/adjacency.h"
#include "dataplane/contract/drop_reasons.h"
#include "dataplane/contract/policy.h"
#include "dataplane/contract/sessions.h"

enum { ORACLE_SESSIONS_MAX = 4096, ORACLE_POLICY_MAX_BYTES = 65536, ORACLE_RECORDS_MAX = 64 };

struct oracle;

/* What the core did with a packet, or one that it handed over besides. */
struct oracle_seen {
	uint64_t handle; /* the tester's number of the packet; 0: made by the core */
	bool forwarded, held;
	uint8_t reason, out_port;
	const uint8_t *bytes;
	uint32_t length_bytes;
};

/* What the shard is told at its start. */
struct oracle_config {
	uint32_t sessions_max;
	uint32_t port_first, port_count; /* the ports that are dealt out, in turns of 32 to each shard */
	uint32_t shard_index, shard_count;
	uint64_t now_ns;
	const struct session *records; /* the session file: what any reader may see of the core's choices */
};

struct oracle *oracle_new(const struct oracle_config *config);
void oracle_restart(struct oracle *oracle, const struct oracle_config *config);
void oracle_free(struct oracle *oracle);

/* NULL: none is in force. Blocks are checked snapshots. */
void oracle_policy(struct oracle *oracle, const struct policy_snapshot *snapshot);
void oracle_adjacency(struct oracle *oracle, const struct adjacency_snapshot *snapshot);
void oracle_time(struct oracle *oracle, uint64_t now_ns);

/*
 * A packet came in; seen[0] is what became of it, the others what came besides. NULL: as it shall be. Else a sentence
 * about what is wrong; the oracle is of no use afterwards.
 */
const char *oracle_packet(struct oracle *oracle, unsigned in_port, const uint8_t *frame, uint32_t length_bytes,
	const struct oracle_seen *seen, uint32_t seen_count);

/* The core ended this session, or this datagram of fragments, in its upkeep; handed back a held fragment. */
const char *oracle_ended(struct oracle *oracle, const struct session *record);
const char *oracle_datagram_ended(
	struct oracle *oracle, uint32_t source, uint32_t destination, uint32_t vni, uint16_t id, uint8_t protocol);
const char *oracle_given_back(struct oracle *oracle, const struct oracle_seen *seen);
/* The core made a packet in its upkeep; called after all that ended. Then: were all made that should be? */
const char *oracle_made(struct oracle *oracle, const struct oracle_seen *seen);
const char *oracle_upkeep_over(struct oracle *oracle);
/* Upkeep has run for a while: is there something that should be gone? */
const char *oracle_overdue(struct oracle *oracle);

uint32_t oracle_session_count(const struct oracle *oracle);
uint32_t oracle_datagram_count(const struct oracle *oracle);
/* A workspace may soon have used up its answers: the order of answers within a batch would matter then. */
bool oracle_answers_scarce(const struct oracle *oracle);

#endif
