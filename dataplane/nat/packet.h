/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One packet on its way through the pipeline: a descriptor beside the bytes.
 *
 * Owner: the caller of nat_process() owns descriptor and bytes before and
 * after; the core owns them in between. The core may move `data` within the
 * head- and tailroom, and only dataplane/nat/rewrite.c, encap.c and answer.c
 * write bytes.
 */
#ifndef POSTERN_NAT_PACKET_H
#define POSTERN_NAT_PACKET_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "dataplane/contract/drop_reasons.h"
#include "dataplane/contract/policy.h"

enum {
	NAT_BATCH_MAX = 64,
	/* What the core may push in front of a frame: Ethernet + IPv4 + UDP + VXLAN,
	   rounded up. */
	PACKET_HEADROOM_MIN_BYTES = 64,
	PACKET_LENGTH_MAX_BYTES = 9216,
	/* Room in a packet that nat_config.spare gives. */
	PACKET_SPARE_BYTES = 2048,
};

struct table_vpc;

enum packet_verdict {
	PACKET_PENDING = 0, /* still in the pipeline; never seen by the caller afterwards */
	PACKET_FORWARD,	    /* send `length_bytes` at `data` by port `out_port` */
	PACKET_DROP,	    /* free it; already counted under `drop_reason` */
	PACKET_HELD,	    /* the core keeps it, descriptor and all; it comes back by
			       nat_take() */
	PACKET_HAND_OVER,   /* another shard's: bring it to shard `out_port`, there to nat_process_taken() */
};

struct packet {
	/* In and out. */
	uint8_t *data;		 /* first byte of the Ethernet frame, contiguous */
	uint16_t length_bytes;	 /* of the frame */
	uint16_t headroom_bytes; /* writable bytes before `data` */
	uint8_t in_port;	 /* in: enum port_index */
	uint8_t out_port;	 /* out: enum port_index; PACKET_HAND_OVER: the shard */
	uint8_t verdict;	 /* in: PACKET_PENDING; out: enum packet_verdict */
	uint8_t drop_reason;	 /* out: enum drop_reason */

	/* Below: the pipeline's own, set by its stages; the caller need not initialise it. Offsets are from `data`. */
	const struct table_vpc *vpc;		/* inside: of the tunnel; outside: of the session */
	uint32_t source, destination;		/* of the (inner) IPv4 header, host order */
	uint32_t vni;				/* inside: of the tunnel; outside: of the session */
	uint32_t vtep;				/* inside: outer source address; outside: the host to go to */
	uint32_t session_index;			/* INDEX_NONE when not found */
	uint16_t source_port, destination_port; /* TCP, UDP; ICMP echo: identifier in both */
	uint16_t ip_length_bytes;		/* total length field of that IPv4 header, checked */
	uint16_t workspace_slot;		/* WORKSPACE_NONE until known */
	uint16_t hop_index;			/* where it leaves to, in adjacency_tables.next_hops */
	uint16_t datagram;			/* of a fragment: number of its datagram (fragment.h) */
	uint16_t egress_port; /* where the packet has no ports of its own: its session's, by which a shared address is
				 owned */
	uint8_t ip_offset;    /* of the (inner) IPv4 header */
	uint8_t l4_offset;    /* of the transport header */
	uint8_t protocol;     /* IP protocol */
	uint8_t tcp_flags;
	uint8_t kind;  /* enum packet_kind */
	uint8_t flags; /* enum packet_flags */

	/* Beyond the line that the core uses. */
	void *owner; /* the caller's; the core does not touch it */
};
static_assert(offsetof(struct packet, owner) == 64, "the core's part is one cache line");

#define WORKSPACE_NONE UINT16_MAX

enum packet_kind {
	PACKET_KIND_SESSION,	/* TCP, UDP, ICMP echo: has a 5-tuple */
	PACKET_KIND_ICMP_ERROR, /* carries another packet's header */
	PACKET_KIND_FRAGMENT,	/* a later fragment: has no ports of its own */
};

enum packet_flags {
	PACKET_DF = 1u << 0,
	PACKET_FRAGMENT = 1u << 1,
	PACKET_SPLIT = 1u << 2,	  /* too big for where it goes, and may be fragmented */
	PACKET_HAIRPIN = 1u << 3, /* goes to an egress IP of this gateway */
};

#endif
