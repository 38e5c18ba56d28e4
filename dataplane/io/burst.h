/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between DPDK's buffers and the core's packets, both ways. The descriptor lies in the buffer's private area (port.c
 * makes the pool so), and lives as long as the buffer.
 *
 * Thread: the shard's. Used by the forwarding loop and by postern-bench, so that both run the same code.
 */
#ifndef POSTERN_IO_BURST_H
#define POSTERN_IO_BURST_H

#include <rte_mbuf.h>

#include "dataplane/nat/check.h"
#include "dataplane/nat/nat.h"

/* What a receiving driver may have noted on the buffer says nothing about the packet that is sent in it. */
#define BURST_OWNERSHIP_FLAGS (RTE_MBUF_F_INDIRECT | RTE_MBUF_F_EXTERNAL)

static inline struct packet *burst_packet(struct rte_mbuf *mbuf)
{
	return (struct packet *)rte_mbuf_to_priv(mbuf);
}

/* The buffer that a packet's descriptor lies in; no pointer is kept, since that would cost a second line. */
static inline struct rte_mbuf *burst_mbuf(const struct packet *packet)
{
	return (struct rte_mbuf *)((uintptr_t)packet - sizeof(struct rte_mbuf));
}

/* Only what the core does not set itself. */
static inline void burst_begin(struct packet *packet, const struct rte_mbuf *mbuf, uint8_t port_index)
{
	packet->data = rte_pktmbuf_mtod(mbuf, uint8_t *);
	packet->length_bytes = mbuf->data_len;
	packet->headroom_bytes = rte_pktmbuf_headroom(mbuf);
	packet->in_port = port_index;
	packet->verdict = PACKET_PENDING;
}

/* DROP_NONE: the core can take it. */
static inline enum drop_reason burst_check(const struct rte_mbuf *mbuf)
{
	if (UNLIKELY(mbuf->nb_segs != 1 || mbuf->data_len != mbuf->pkt_len || mbuf->pkt_len > PACKET_LENGTH_MAX_BYTES))
		return DROP_OVERSIZED;
	/* The driver took a VLAN tag out of the frame. Untagged it would pass for somebody else's. */
	if (UNLIKELY(mbuf->ol_flags & RTE_MBUF_F_RX_VLAN_STRIPPED))
		return DROP_NOT_IPV4;
	return DROP_NONE;
}

/* Packets for nat_process() of what a port gave; what the core can not take is counted and freed. Returns how many. */
static inline uint32_t burst_receive(struct nat_shard *shard, uint8_t port_index, struct rte_mbuf *const mbufs[],
	uint16_t received, struct packet *packets[])
{
	uint32_t count = 0;

	for (uint16_t i = 0; i < received; i++) {
		struct rte_mbuf *mbuf = mbufs[i];
		enum drop_reason reason = burst_check(mbuf);
		struct packet *packet = burst_packet(mbuf);

		if (UNLIKELY(reason != DROP_NONE)) {
			nat_count_rx_drop(shard, port_index, reason, mbuf->pkt_len);
			rte_pktmbuf_free(mbuf);
			continue;
		}
		rte_prefetch0(rte_pktmbuf_mtod(mbuf, void *));
		burst_begin(packet, mbuf, port_index);
		packets[count++] = packet;
	}
	return count;
}

/* Packets for nat_process_taken(): descriptors and headers are in the cache of the CPU that handed them over. */
static inline void burst_taken(struct rte_mbuf *const mbufs[], uint32_t count, struct packet *packets[])
{
	for (uint32_t i = 0; i < count; i++) {
		packets[i] = burst_packet(mbufs[i]);
		rte_prefetch0(packets[i]);
		rte_prefetch0(mbufs[i]);
	}
	for (uint32_t i = 0; i < count; i++)
		rte_prefetch0(packets[i]->data);
}

/* The buffer of a packet that is to be sent, with the packet's bounds. */
static inline struct rte_mbuf *burst_send(const struct packet *packet)
{
	struct rte_mbuf *mbuf = burst_mbuf(packet);

	CHECK(packet->out_port < PORT_COUNT);
	mbuf->data_off = (uint16_t)(packet->data - (uint8_t *)mbuf->buf_addr);
	mbuf->data_len = packet->length_bytes;
	mbuf->pkt_len = packet->length_bytes;
	mbuf->ol_flags &= BURST_OWNERSHIP_FLAGS;
	return mbuf;
}

#endif
