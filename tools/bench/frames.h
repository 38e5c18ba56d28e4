/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The source's frames: one compact record per session, in random order, from which a frame is written into a buffer
 * just before it is "received". NAT rewrites in place, so each pass needs the frame anew; writing it from a record of
 * 24 bytes disturbs the caches least. What that costs is measured and taken off (lane.h).
 *
 * Owner: a scenario. Thread: the one that measures. Checksums are right for a payload of zeros and, with TCP, for the
 * first pass; the core never looks at the payload.
 */
#ifndef POSTERN_BENCH_FRAMES_H
#define POSTERN_BENCH_FRAMES_H

#include <rte_mbuf.h>

#include "tools/bench/gateway.h"

enum { FRAMES_TEMPLATE_BYTES = 128, FRAMES_SIZE_COUNT = 3 };

struct frames_record {
	uint64_t addresses_be; /* source, destination */
	uint32_t ports_be;     /* source, destination */
	uint16_t ip_checksum_be, l4_checksum_be;
	uint32_t vni_be; /* as in the header: VNI << 8 */
	uint8_t size_index;
	uint8_t reserved[3];
};
static_assert(sizeof(struct frames_record) == 24, "as few bytes of the caches as can be");

struct frames_template {
	uint8_t bytes[FRAMES_TEMPLATE_BYTES];
	uint16_t length_bytes;
} __attribute__((aligned(64)));

struct frames {
	struct frames_template templates[FRAMES_SIZE_COUNT];
	struct frames_record *records;
	uint32_t count, next;
	uint32_t ip_offset, l4_checksum_offset;
	bool vxlan, tcp;
	uint32_t sequence; /* TCP: moves on with each pass, as a stream's does */
	uint8_t in_port;   /* enum port_index */
	struct memory_block block;
};

/* What the sessions look like. */
struct frames_plan {
	uint32_t count;
	uint8_t protocol, tcp_flags;
	bool imix;
	bool one_remote;    /* all to the same address and port */
	bool one_workspace; /* all of workspace 0 */
	uint32_t first_number;
	uint64_t seed;
};

/* Outbound: session number i of the plan, spread over the gateway's workspaces and their workers. */
bool frames_outbound(
	struct frames *ret_frames, const struct gateway *gateway, const struct frames_plan *plan, char *ret_text);

/* Inbound: one for each session in the gateway's table. */
bool frames_inbound(
	struct frames *ret_frames, const struct gateway *gateway, const struct frames_plan *plan, char *ret_text);

void frames_free(struct frames *frames);

/* Other flags in all frames that come. */
void frames_set_flags(struct frames *frames, uint8_t tcp_flags);

static inline const struct frames_record *frames_next(struct frames *frames)
{
	const struct frames_record *record = &frames->records[frames->next];

	if (UNLIKELY(++frames->next == frames->count)) {
		frames->next = 0;
		frames->sequence += 6; /* bytes of payload in the smallest frame */
	}
	return record;
}

static inline void frames_write(const struct frames *frames, const struct frames_record *record, struct rte_mbuf *mbuf)
{
	const struct frames_template *template = &frames->templates[record->size_index];
	uint8_t *data = rte_pktmbuf_mtod(mbuf, uint8_t *);
	uint8_t *ip = data + frames->ip_offset;

	memcpy(data, template->bytes, 64);
	if (frames->vxlan) {
		memcpy(data + 64, template->bytes + 64, 64);
		memcpy(ip - 18, &record->vni_be, 4); /* behind it: two Ethernet addresses and the type */
	}
	memcpy(ip + 10, &record->ip_checksum_be, 2);
	memcpy(ip + 12, &record->addresses_be, 8);
	memcpy(ip + 20, &record->ports_be, 4);
	memcpy(ip + frames->l4_checksum_offset, &record->l4_checksum_be, 2);
	if (frames->tcp)
		memcpy(ip + 24, &frames->sequence, 4);
	mbuf->data_len = template->length_bytes;
	mbuf->pkt_len = template->length_bytes;
}

#endif
