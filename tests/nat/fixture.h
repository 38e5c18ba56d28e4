/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A gateway in memory for tests of the NAT core: two workspaces whose VPCs have
 * the same CIDR, a shard, a clock that the test moves, and packets built from
 * descriptions with right checksums.
 *
 *   acme   VNI 7001  10.0.0.0/16  →  203.0.113.10, .11       worker
 * host 10.100.0.2 ─┐ globex VNI 7002  10.0.0.0/16  →  203.0.113.20 worker
 * host 10.100.0.3 ─┴─ inside │ outside ─ router
 */
#ifndef POSTERN_TESTS_NAT_FIXTURE_H
#define POSTERN_TESTS_NAT_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "dataplane/nat/bytes.h"
#include "dataplane/nat/checksum.h"
#include "dataplane/nat/identity.h"
#include "dataplane/nat/nat.h"
#include "dataplane/nat/session.h"

#define IP(a, b, c, d) ((uint32_t)(a) << 24 | (b) << 16 | (c) << 8 | (d))

enum {
	VNI_ACME = 7001,
	VNI_GLOBEX = 7002,
	FRAME_MAX_BYTES = 2048,
	FRAME_HEADROOM_BYTES = 128,
	SPARE_COUNT = 256,
	CROWD_MAX = 24,
	/* A datagram in fragments: frame_piece(). */
	PIECES = 3,
	PIECE_BYTES = 400,
	PAYLOAD_BYTES = 1100,
	/* Of a VXLAN frame. */
	OUTER_BYTES = 50,
	FLAGS_AT = 42,
	RESERVED_AT = 43,
	VNI_RESERVED_AT = 49,
};

#define WORKER IP(10, 0, 0, 5)
#define WORKER_2 IP(10, 0, 0, 6)
#define HOST_1 IP(10, 100, 0, 2)
#define HOST_2 IP(10, 100, 0, 3)
#define GATEWAY_INSIDE IP(10, 100, 0, 1)
#define GATEWAY_OUTSIDE IP(198, 51, 100, 2)
#define REMOTE IP(192, 0, 2, 10)
#define REMOTE_2 IP(192, 0, 2, 20)
#define ACME_IP_1 IP(203, 0, 113, 10)
#define ACME_IP_2 IP(203, 0, 113, 11)
#define GLOBEX_IP IP(203, 0, 113, 20)
#define SHARED_IP IP(203, 0, 113, 200)

#define SECOND_NS 1000000000ull

/* A snapshot under construction; fill in, then fixture_apply(). */
struct policy_draft {
	struct policy_snapshot header;
	struct policy_workspace workspaces[CROWD_MAX];
	struct policy_vpc vpcs[CROWD_MAX];
	struct policy_cidr cidrs[CROWD_MAX];
	struct policy_egress_ip egress_ips[CROWD_MAX + 1];
	struct policy_worker workers[16];
	struct policy_rule rules[16];
	struct policy_vtep_prefix vteps[4];
	uint32_t counts[POLICY_TABLE_COUNT];
};

struct fixture {
	struct policy_draft draft; /* as applied; change and apply again */
	struct identities *identities;
	struct counters *counters;
	struct nat_shard *shard;
	struct nat_config config;
	struct nat_view view;
	void *shard_memory, *sessions_memory;
	void *tables_memory[64];
	unsigned tables_count;
	uint64_t now_ns;
	uint64_t generation;
	struct frame *spares; /* what nat_config.spare gives, SPARE_COUNT */
	unsigned spares_used;
};

/* What a test says of a packet. */
struct description {
	bool outside;	    /* comes from outside */
	uint32_t vni, vtep; /* inside; 0: VNI_ACME, HOST_1 */
	uint32_t source, destination;
	uint16_t source_port, destination_port; /* ICMP echo: identifier in source_port */
	uint8_t protocol;
	uint8_t tcp_flags;
	uint32_t sequence, acknowledged;
	uint8_t icmp_type, icmp_code;
	uint8_t ttl; /* 0: 64 */
	bool df;
	bool no_checksum; /* UDP: checksum 0 */
	uint16_t mss;	  /* TCP: option, when not 0 */
	uint16_t payload_bytes;
	uint16_t ip_id;
};

/* A frame in flight, and after nat_process() what became of it. */
struct frame {
	uint8_t buffer[FRAME_HEADROOM_BYTES + FRAME_MAX_BYTES];
	struct packet packet;
};

/* What came out, read back from the bytes. */
struct seen {
	bool tunnelled;
	uint32_t vni, outer_source, outer_destination;
	uint32_t source, destination;
	uint16_t source_port, destination_port;
	uint8_t protocol, tcp_flags, icmp_type, icmp_code, ttl;
	uint16_t mss, icmp_mtu;
	uint32_t sequence, acknowledged;
	uint16_t ip_bytes;
	bool checksums_right; /* IPv4 and transport, recomputed in full */
	const uint8_t *ip, *l4;
};

struct fixture *fixture_new(uint32_t sessions_max);
void fixture_free(struct fixture *fixture);
void draft_default(struct policy_draft *draft);
/* malloc'ed block. */
struct policy_snapshot *draft_compile(const struct policy_draft *draft, uint64_t generation, size_t *ret_size_bytes);
/* So many workspaces in all, each like globex, with an egress IP of its own and the VNI VNI_ACME + its index. */
void draft_crowd(struct policy_draft *draft, unsigned count);
void fixture_apply(struct fixture *fixture);
/* acme has the ports 1024–1535 of one address left. */
void fixture_narrow(struct fixture *fixture);
/* acme and globex share SHARED_IP: ports 1024–2047 and 2048–3071. */
void fixture_share(struct fixture *fixture);
void fixture_adjacency(struct fixture *fixture, uint32_t inside_mtu_bytes, uint32_t outside_mtu_bytes);

/* cmocka set-up and tear-down with fixture_new(4096). */
int fixture_setup(void **state);
int fixture_teardown(void **state);

void frame_build(struct frame *frame, const struct description *description);
/* The IPv4 packet of a description alone, at `ip`; its length. */
uint16_t ip_build(uint8_t *ip, const struct description *description);
/* Wraps an IPv4 packet that stands in `inner` as the description says. */
void frame_wrap(
	struct frame *frame, bool outside, uint32_t vni, uint32_t vtep, const uint8_t *inner, uint16_t inner_bytes);
/* Bytes [from, from + bytes) of the payload of an IPv4 packet, as a fragment in a frame of its own. */
void frame_cut(struct frame *frame, const struct description *of, uint32_t from_bytes, uint32_t bytes, bool more);
/* The same, of the PIECES that a datagram of PAYLOAD_BYTES has; all orders there are. */
void frame_piece(struct frame *frame, const struct description *of, unsigned piece);
extern const unsigned piece_orders[6][PIECES];
/* An ICMP error about `about`, sent by `source` to `destination`. */
void frame_build_icmp_error(
	struct frame *frame, const struct description *outer, const struct description *about, uint16_t mtu_bytes);

enum packet_verdict fixture_run(struct fixture *fixture, struct frame *frame);
/* Builds and runs; returns the verdict. */
enum packet_verdict fixture_send(struct fixture *fixture, struct frame *frame, const struct description *description);
/* Sends what must be forwarded, checksums and all; what came out. */
struct seen fixture_sent(struct fixture *fixture, struct description description);
bool fixture_passes(struct fixture *fixture, struct description description);
/* Sends what must be dropped under that reason. */
void fixture_expect_drop(struct fixture *fixture, const struct description *description, enum drop_reason reason);
struct seen frame_read(const struct frame *frame);
/* Moves the clock and lets upkeep run as a loop would. */
void fixture_pass(struct fixture *fixture, uint64_t nanoseconds);
uint64_t fixture_active(const struct fixture *fixture); /* sessions */
uint64_t fixture_drops(const struct fixture *fixture, enum drop_reason reason);

/* The next packet that the core gives besides the batch; NULL: none. */
struct frame *fixture_take(struct fixture *fixture);

/* A shard over the same records, as a new process would make it, with the secret that is in `config`. */
void fixture_recover(struct fixture *fixture);

/* Of WORKER: a datagram of 16 bytes; a segment without data to port 443 of REMOTE. */
struct description describe_udp(uint16_t source_port, uint32_t remote, uint16_t remote_port);
struct description describe_tcp(uint16_t source_port, uint8_t flags, uint32_t sequence);
/* Opens a TCP session with sequence 1000 that the remote answers with 7000, and completes its handshake; what was seen
 * of the SYN. */
struct seen fixture_answered_syn(struct fixture *fixture, uint16_t source_port);
struct seen fixture_establish(struct fixture *fixture, uint16_t source_port);

/* A reply to what frame_read() saw: addresses and ports swapped. */
struct description reply_to(const struct seen *seen);
/* The same without data. */
struct description reply_segment(const struct seen *seen, uint8_t flags, uint32_t sequence);

#endif
