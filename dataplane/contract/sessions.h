/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The session file: DIR/sessions (on tmpfs or hugetlbfs), which outlives its process (P5); mapped by the dataplane for writing and by
 * posternd, for `postern sessions`, read-only.
 *
 * Shape: struct sessions_file, then per shard at `shard_offset_bytes[i]` an array of `sessions_max` records of
 * struct session (one cache line each). A reader copies a record, and takes it only if `state` is not
 * SESSION_FREE and the record is the same when read again; it is a view, not a lock.
 */
#ifndef POSTERN_CONTRACT_SESSIONS_H
#define POSTERN_CONTRACT_SESSIONS_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "dataplane/contract/limits.h"

#define SESSIONS_MAGIC 0x53455353u /* "SESS" */
#define SESSIONS_VERSION 2u
#define SESSIONS_FILE_NAME "sessions"

struct sessions_file {
	uint32_t magic;
	uint32_t version;
	uint64_t size_bytes;
	uint32_t shard_count;
	uint32_t record_size_bytes;
	uint64_t sessions_max;		   /* records per shard */
	uint64_t tick_origin_monotonic_ns; /* tick 0 of the records' times */
	uint64_t shard_offset_bytes[SHARD_COUNT_MAX];
	/*
	 * Who the records' slots stand for: two copies of the dataplane's struct identities, of which `identities_active` is the one in
	 * force; the other is written while a policy is built. Private to the dataplane, as is boot_id.
	 */
	uint64_t identities_offset_bytes[2];
	uint64_t identities_size_bytes;
	uint32_t identities_active;
	char boot_id[40]; /* the ticks count from this boot: after another one the records mean nothing */
};

/* A session's tick: 2^28 ns, about 0.27 s. 32 bits last 36 years. */
enum { SESSION_TICK_SHIFT = 28 };

/* X(NAME, "text"). TCP states follow RFC 7857 section 2 and RFC 6146 section 3.5.2. */
#define SESSION_STATES(X)                                                                                              \
	X(FREE, "free")                                                                                                \
	X(UDP, "active")                                                                                               \
	X(UDP_ANSWERED, "answered")                                                                                    \
	X(ICMP, "active")                                                                                              \
	X(OTHER, "active")                                                                                             \
	X(TCP_SYN_OUT, "syn-sent")                                                                                     \
	X(TCP_SYN_BOTH, "syn-received")                                                                                \
	X(TCP_ESTABLISHED, "established")                                                                              \
	X(TCP_FIN_OUT, "fin-out")                                                                                      \
	X(TCP_FIN_IN, "fin-in")                                                                                        \
	X(TCP_FIN_BOTH, "time-wait")                                                                                   \
	X(TCP_RESET, "reset")

enum session_state {
#define SESSION_STATE_ENUM(name, text) SESSION_##name,
	SESSION_STATES(SESSION_STATE_ENUM)
#undef SESSION_STATE_ENUM
		SESSION_STATE_COUNT
};

static inline const char *session_state_text(unsigned state)
{
	static const char *const texts[] = {
#define SESSION_STATE_TEXT(name, text) text,
		SESSION_STATES(SESSION_STATE_TEXT)
#undef SESSION_STATE_TEXT
	};
	return state < SESSION_STATE_COUNT ? texts[state] : "invalid";
}

/*
 * One translated 5-tuple. One cache line; host byte order; the first 16 bytes are the inside key, compared at once.
 *
 *  0        4        8   10   12       16       20  22    24       28       32
 *  |in addr |remote  |ipt|rpt |vni, prt|egress  |ept|st,fl|last    |created |
 * 32       36       40       44       48   50   52       56       60       64
 *  |seq out |seq in  |vtep    |policy  |wsp |egr |worker  |next    |previous|
 */
struct session {
	uint32_t inside_address;
	uint32_t remote_address;
	uint16_t inside_port;  /* ICMP echo: identifier */
	uint16_t remote_port;  /* ICMP echo: 0 */
	uint32_t vni_protocol; /* vni << 8 | IP protocol */

	uint32_t egress_address;
	uint16_t egress_port; /* ICMP echo: identifier outside */
	uint8_t state;	      /* enum session_state */
	uint8_t flags;	      /* enum session_flags */
	uint32_t last_tick;   /* last packet that refreshes */
	uint32_t created_tick;

	uint32_t sequence_out_end; /* TCP: the next sequence number expected from inside */
	uint32_t sequence_in_end;  /* TCP: … and from the remote */
	uint32_t vtep;		   /* the worker host to send replies to */
	uint32_t
		created_policy; /* policy swap under which it was created or last found live (dataplane/nat/identity.h) */

	uint16_t workspace_slot;
	uint16_t egress_slot;
	uint32_t worker_slot; /* SESSION_NO_WORKER: the VPC does not list its workers */
	/* Endpoint-independent: the ring of the mapping's sessions, by record number. Free: `next` links the free list.
	 */
	uint32_t next, previous;
};
static_assert(sizeof(struct session) == 64, "one cache line");
static_assert(offsetof(struct session, egress_address) == 16, "the inside key comes first");

enum session_flags {
	SESSION_ANSWERED = 1u << 0,	 /* the remote has sent something */
	SESSION_TALLIED_PAIR = 1u << 1,	 /* tallied, and counted for what its worker may have towards its remote */
	SESSION_DOUBTFUL = 1u << 2,	 /* a RST came whose sequence did not fit: short timer until traffic comes */
	SESSION_MAPPED = 1u << 3,	 /* endpoint-independent: member of a ring */
	SESSION_LEADS_INSIDE = 1u << 4,	 /* the mapping's entry in the inside index points here */
	SESSION_LEADS_OUTSIDE = 1u << 5, /* the mapping's entry in the outside index points here */
	SESSION_HAIRPIN = 1u << 6,	 /* its remote is an egress IP of this gateway */
	SESSION_TALLIED = 1u << 7,	 /* counted for the limits of its worker and remote (dataplane/nat/tally.h) */
};

#define SESSION_NO_WORKER UINT32_MAX

#endif
