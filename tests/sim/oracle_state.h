/* SPDX-License-Identifier: Apache-2.0 */
/* What the oracle remembers; private to oracle*.c. Plain arrays, searched from one end to the other. */
#ifndef POSTERN_TESTS_SIM_ORACLE_STATE_H
#define POSTERN_TESTS_SIM_ORACLE_STATE_H

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/oracle.h"
#include "tests/sim/wire.h"

#define SECOND 1000000000ll

enum { TICK_NS = 1 << SESSION_TICK_SHIFT, HOMES_MAX = 1024, DATAGRAMS_MAX_SEEN = 4096, HELD_MAX_SEEN = 16 };
enum { PACES_MAX = 1024 };
#define ANY_PORT UINT32_MAX

enum { RESETS_MAX = 4096, OUTPUTS_MAX = 64, PACKET_MAX = 2304, ANSWER_NS = 10000000 };

/* A 5-tuple, and the very objects it was made for: each has a serial that is never given to another. */
struct entry {
	uint64_t serial;
	uint64_t workspace, vpc, egress, worker; /* worker 0: not listed */
	uint64_t mapping;			 /* 0: endpoint-dependent */
	bool superseded;			 /* its mapping takes no further sessions */
	uint32_t vni, inside, remote, egress_address, vtep;
	uint16_t inside_port, remote_port, egress_port;
	uint8_t protocol, state;
	uint32_t record; /* where the core had it the last time */
	bool doubtful;
	bool hairpin;		 /* its remote is an egress IP of this gateway */
	bool tallied;		 /* made while its worker or its remote had a limit */
	bool tallied_pair;	 /* … or while there was one for its worker towards its remote */
	uint32_t sent, received; /* TCP: the sequence numbers that come next */
	int64_t last_ns;
};

/* Of what is left, where the core knows better what was spent: see limits_refuse(). */
struct credit {
	int64_t most, least;
};

/* What a workspace has left of each allowance, in nanoseconds; a second's worth at most. */
struct allowance {
	uint64_t workspace;
	struct credit sessions;
	int64_t packets, bytes, answers;
};

/* What a worker has left of its own allowance of new sessions; a new one when it has no sessions that count. */
struct pace {
	uint32_t vni, inside;
	struct credit sessions;
};

/* Paired pooling: the egress IPs that are known not to be this worker's own. */
struct home {
	uint32_t vni, inside;
	bool not [ORACLE_RECORDS_MAX];
};

/* A fragment that waits for its first one. */
struct held {
	uint64_t handle;
	uint8_t packet[PACKET_MAX];
	uint32_t vtep; /* it came from */
};

enum datagram_is { UNUSED, WAITING, KNOWN, SPOILT };

struct parts { /* a fragmented datagram */
	enum datagram_is is;
	uint32_t source, destination, vni; /* vni 0: from outside */
	uint16_t id, new_id;
	bool id_hidden; /* the core has given it another one, which nothing that came out has shown */
	uint8_t protocol;
	uint64_t workspace, session; /* serials; workspace 0: nobody knows yet, a shared address has it */
	uint64_t payer;		     /* whose budget what waits is of; 0: the shared pool's */
	bool worker_pays;	     /* made while its worker had a limit */
	struct entry tuple;	     /* that session, as it was */
	uint64_t begun;		     /* what has a later serial came after its first piece */
	bool seen[8192];	     /* units of 8 bytes */
	uint32_t seen_count, total;  /* total 0: its end has not been seen */
	int64_t end_ns;
	struct held *held[HELD_MAX_SEEN];
	uint32_t held_count;
};

/* What shall come out. */
struct output {
	uint64_t handle; /* 0: made by the gateway */
	bool forwarded, held;
	enum drop_reason reason;
	unsigned port;
	uint32_t vni, vtep; /* inside */
	const struct adjacency_next_hop *hop;
	uint8_t packet[PACKET_MAX]; /* IPv4 */
	uint32_t packet_bytes;
};

struct oracle {
	struct oracle_config config;
	int64_t now_ns, changed_ns;
	uint64_t serials;
	bool has_policy, has_adjacency;
	uint64_t workspaces[ORACLE_RECORDS_MAX], vpcs[ORACLE_RECORDS_MAX]; /* serials, by index in the policy */
	uint64_t egress_ips[ORACLE_RECORDS_MAX], workers[ORACLE_RECORDS_MAX];
	struct allowance allowances[ORACLE_RECORDS_MAX];
	uint32_t entry_count, pace_count, home_count, reset_count;
	uint32_t datagrams_ever; /* none behind these was ever in use */
	uint16_t last_id;
	uint32_t ports_given; /* of an address that is not shared */
	bool resets_scarce;   /* some workspace had no answers left for them */
	char complaint[512];
	/* What follows is not cleared by oracle_restart(). */
	struct entry entries[ORACLE_SESSIONS_MAX]; /* no gaps, no order */
	uint64_t remotes[ORACLE_SESSIONS_MAX];	   /* remote_of() each of them */
	struct pace paces[PACES_MAX];
	struct home homes[HOMES_MAX];
	struct parts *datagrams; /* DATAGRAMS_MAX_SEEN of them */
	struct output *resets;	 /* that upkeep should have made; RESETS_MAX */
	uint64_t taken[65536];	 /* ports: the number of the last question to which the answer was that it is taken */
	uint64_t question;
	union {
		struct policy_snapshot policy;
		uint8_t policy_bytes[ORACLE_POLICY_MAX_BYTES];
	};
	union {
		struct adjacency_snapshot adjacency;
		uint8_t adjacency_bytes[ORACLE_POLICY_MAX_BYTES];
	};
};

/* A packet under judgement, and what becomes of it. */
struct judgement {
	struct wire wire;
	unsigned in_port;
	uint64_t handle;
	const struct oracle_seen *seen;	   /* of the packet itself */
	const struct policy_vpc *vpc;	   /* of the worker that sends */
	const struct policy_workspace *of; /* the workspace that is charged, and its serial */
	uint64_t workspace;
	const struct adjacency_next_hop *hop;
	struct entry *entry;
	struct parts *datagram;
	uint32_t mtu_bytes; /* of the way out */
	bool hold;
	bool id_hidden; /* the core has renumbered it, and nothing that came out says how */
	const char *bad_choice;
	uint8_t packet[PACKET_MAX]; /* the IPv4 packet to send */
	uint32_t packet_bytes;
	struct output *outputs;
	uint32_t output_count;
};

#define RECORDS(oracle, type, table)                                                                                   \
	((const struct type *)((oracle)->policy_bytes + (oracle)->policy.tables[table].offset_bytes))
#define COUNT(oracle, table) ((oracle)->has_policy ? (oracle)->policy.tables[table].count : 0)
#define EACH_ENTRY(oracle, it)                                                                                         \
	for (struct entry *it = (oracle)->entries; it < (oracle)->entries + (oracle)->entry_count; it++)
#define EACH_DATAGRAM(oracle, it)                                                                                      \
	for (struct parts *it = (oracle)->datagrams; it < (oracle)->datagrams + (oracle)->datagrams_ever; it++)        \
		if (it->is != UNUSED)

/* oracle_policy.c */
bool within(uint32_t address, uint32_t prefix, uint32_t length_bits);
const struct policy_vpc *vpc_of(const struct oracle *oracle, uint32_t vni);
const struct policy_egress_ip *egress_of(const struct oracle *oracle, uint32_t address, uint32_t port);
const struct policy_egress_ip *egress_by_serial(const struct oracle *oracle, uint64_t serial);
bool vpc_contains(const struct oracle *oracle, const struct policy_vpc *vpc, uint32_t address);
int worker_of(const struct oracle *oracle, const struct policy_vpc *vpc, uint32_t address);
bool vtep_trusted(const struct oracle *oracle, uint32_t vtep);
bool independent(const struct policy_workspace *workspace, uint8_t protocol);
enum drop_reason destination_refused(const struct oracle *oracle, const struct judgement *of);
enum drop_reason sender_refused(const struct oracle *oracle, const struct judgement *of);
enum drop_reason route(const struct oracle *oracle, struct judgement *of, unsigned port, uint32_t to);
bool fits(const struct oracle *oracle, struct judgement *of, unsigned port);

/* oracle_limits.c */
struct allowance *allowance_of(struct oracle *oracle, const struct judgement *of);
bool spend(int64_t *credit_ns, int64_t cost_ns);
bool rates_held(struct oracle *oracle, const struct judgement *of);
bool tallied(const struct policy_limits *limits);
bool reached(const struct judgement *of, uint32_t limit, uint32_t own, uint32_t remains, enum drop_reason reason);
enum drop_reason limits_refuse(struct oracle *oracle, const struct judgement *of);

/* oracle_ports.c */
uint32_t ports_given(const struct oracle *oracle, const struct policy_egress_ip *ip);
enum drop_reason choose_port(struct oracle *oracle, struct judgement *of, struct entry *entry);

/* oracle_session.c */
bool alive(const struct oracle *oracle, const struct entry *entry);
void entry_remove(struct oracle *oracle, struct entry *entry);
const struct session *record_of(const struct oracle *oracle, struct entry *entry);
struct entry *listed_since(const struct oracle *oracle, struct entry *entry);
int64_t timeout_ns(const struct oracle *oracle, const struct entry *entry);
bool half_open(const struct entry *entry);
struct entry *find_inside(struct oracle *oracle, uint32_t vni, uint8_t protocol, uint32_t inside, uint16_t inside_port,
	uint32_t remote, uint16_t remote_port);
struct entry *find_outside(struct oracle *oracle, uint8_t protocol, uint32_t egress, uint16_t egress_port,
	uint32_t remote, uint16_t remote_port);
enum drop_reason create(struct oracle *oracle, struct judgement *of);
void session_moves(const struct oracle *oracle, const struct judgement *of, bool outbound);

/* oracle_end.c */
const char *oracle_session_overdue(struct oracle *oracle);

/* oracle_bytes.c */
void take_packet(struct judgement *of);
void readdress(const struct oracle *oracle, uint8_t *ip, uint32_t ip_bytes, bool source, uint32_t address,
	uint16_t port, bool clamp);
bool answer(struct oracle *oracle, struct judgement *of, enum drop_reason reason, bool outbound);
void leave(struct judgement *of, uint64_t handle, unsigned port, uint32_t vni, uint32_t vtep);
void dropped(struct judgement *of, uint64_t handle, enum drop_reason reason);
uint32_t frame_of(const struct oracle *oracle, const struct output *output, const uint8_t *seen, uint8_t *ret_frame);

void reset_packet(struct output *output, const struct entry *entry, bool to_remote);

/* oracle_fragment.c */
const struct parts *datagram_from_outside(struct oracle *oracle, const struct wire *wire);
enum drop_reason fragment_noted(struct oracle *oracle, struct judgement *of, bool outbound);
enum drop_reason fragment_follows(struct oracle *oracle, struct judgement *of, bool outbound);
void fragment_first_known(struct oracle *oracle, struct judgement *of, bool outbound);
void fragment_first_refused(struct oracle *oracle, struct judgement *of, enum drop_reason reason);

/* oracle.c */
bool same(struct oracle *oracle, const struct output *output, const struct oracle_seen *seen);
uint32_t vtep_of(const struct oracle *oracle, const struct entry *entry);
void depart(struct oracle *oracle, struct judgement *of, uint64_t handle, bool outbound);

#endif
