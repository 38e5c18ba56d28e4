/* SPDX-License-Identifier: GPL-2.0-or-later OR Apache-2.0 */
/*
 * What the BPF programs and posternd share: keys, values and counters of the maps. Included by both sides; no other
 * header is needed but <linux/types.h>. IPv4 addresses are in network byte order here (as in the packet), marked _be.
 */
#ifndef POSTERN_BPF_MAPS_H
#define POSTERN_BPF_MAPS_H

#include <linux/types.h>

enum {
	BPF_WORKER_COUNT_MAX = 131072,
	BPF_WORKSPACE_COUNT_MAX = 16384,
	BPF_VTEP_PREFIX_COUNT_MAX = 64,
	BPF_EGRESS_IP_COUNT_MAX = 65536,
	BPF_GATEWAY_COUNT_MAX = 16,
	BPF_XSK_COUNT_MAX = 64,
};

/* The worker's default gateway, the same for every worker, and its MAC (locally administered). */
#define WORKER_GATEWAY_ADDRESS 0xA9FE0001u /* 169.254.0.1, host order */
#define WORKER_GATEWAY_MAC                                                                                             \
	{                                                                                                              \
		0x02, 0x50, 0x4f, 0x53, 0x54, 0x01                                                                     \
	}
#define METADATA_ADDRESS 0xA9FEA9FEu /* 169.254.169.254 */
#define WORKER_VXLAN_PORT 4789u

/* On a frame between our own programs and `worker_egress`: made for the worker by us. Never leaves the host. */
#define WORKER_DELIVERY_MARK 0x50535452u

/* tc, worker interface ingress: map `workers`, hash, key: ifindex (__u32). */
struct worker_value {
	__be32 address_be; /* the only source address allowed */
	__be32 vtep_be;	   /* this host's, outer source */
	__be32 gateway_be; /* outer destination */
	__u32 vni;
	__u8 mac[6];	       /* zero: learned from the worker's first valid frame */
	__u8 mac_pinned;       /* 1: mac comes from the configuration */
	__u8 reserved;	       /* 0: mac, mac_pinned and reserved are swapped in as one aligned 64-bit word */
	__u32 workspace_index; /* index of `workspace_counters` */
	__u32 epoch;	       /* counts the owners of the interface */
};

/* array `worker_config`, index 0. */
struct worker_config {
	__u32 vxlan_ifindex; /* 0: there is no VXLAN device */
	__be32 vtep_be;	     /* this host's own */
};

/* tc, VXLAN device ingress: map `deliveries`, hash. */
struct delivery_key {
	__u32 vni;
	__be32 address_be;
};

struct delivery_value {
	__u32 ifindex;
	__u32 workspace_index;
};

/* map `gateways`, hash, key: __be32 address of a gateway; value __u8 1. VXLAN from elsewhere is dropped. */

/* per-CPU array `worker_drops`, index enum worker_drop; likewise `steer_counters`, index enum steer_counter. */
#define WORKER_DROPS(X)                                                                                                \
	X(UNKNOWN_INTERFACE, "unknown_interface", "the interface belongs to no admitted worker")                       \
	X(SPOOFED_SOURCE, "spoofed_source", "source address is not the worker's own")                                  \
	X(SPOOFED_MAC, "spoofed_mac", "source MAC is not the worker's own")                                            \
	X(METADATA, "metadata", "to the metadata service or link-local")                                               \
	X(NOT_IPV4, "not_ipv4", "neither IPv4 nor ARP for the gateway")                                                \
	X(MALFORMED, "malformed", "too short, or its lengths contradict each other")                                   \
	X(UNDERLAY, "underlay", "to the underlay: a VTEP or gateway, or VXLAN")                                        \
	X(MULTICAST, "multicast", "to a multicast or broadcast address")                                               \
	X(TUNNEL, "tunnel", "the tunnel key could not be set, or the VXLAN device is missing")                         \
	X(REPLY_UNKNOWN_GATEWAY, "reply_unknown_gateway", "VXLAN from a host that is no gateway")                      \
	X(REPLY_UNKNOWN_WORKER, "reply_unknown_worker", "no worker has this VNI and address")                          \
	X(REPLY_MALFORMED, "reply_malformed", "a reply that is not whole IPv4")                                        \
	X(EGRESS_FOREIGN, "egress_foreign", "to a worker, but from the host itself and not from a gateway")

enum worker_drop {
#define WORKER_DROP_ENUM(name, label, text) WORKER_DROP_##name,
	WORKER_DROPS(WORKER_DROP_ENUM)
#undef WORKER_DROP_ENUM
		WORKER_DROP_COUNT
};

#define STEER_COUNTERS(X)                                                                                              \
	X(TO_DATAPLANE, "to_dataplane", "handed to the dataplane's AF_XDP socket")                                     \
	X(TO_KERNEL, "to_kernel", "left to the kernel")                                                                \
	X(DROP_UNTRUSTED, "drop_untrusted_vtep", "VXLAN from a sender that is not trusted")                            \
	X(DROP_MALFORMED, "drop_malformed", "cut short, or VXLAN in fragments")                                        \
	X(DROP_NO_SOCKET, "drop_no_socket", "for the dataplane, which is not there")

enum steer_counter {
#define STEER_COUNTER_ENUM(name, label, text) STEER_##name,
	STEER_COUNTERS(STEER_COUNTER_ENUM)
#undef STEER_COUNTER_ENUM
		STEER_COUNTER_COUNT
};

/* per-CPU array `workspace_counters`, index workspace_index. Bytes are those of the inner IPv4 packets. */
struct workspace_traffic {
	__u64 out_packets, out_bytes, in_packets, in_bytes, dropped_packets;
};

/* XDP on the gateway's ports. LPM trie `trusted_vteps` (value __u8 1) and hash `egress_ips` (key __be32, value __u8 1).
 */
struct vtep_prefix_key {
	__u32 prefix_length_bits;
	__be32 address_be;
};

/* array `steer_config`, index 0. */
struct steer_config {
	__u32 role;	/* enum steer_role; 0 until posternd has filled the maps: everything to the kernel */
	__be32 vtep_be; /* inside: this gateway's VXLAN endpoint; 0: any local destination */
	__be16 vxlan_port_be;
	__u16 reserved;
};

enum steer_role { STEER_ROLE_NONE = 0, STEER_ROLE_INSIDE = 1, STEER_ROLE_OUTSIDE = 2 };

#endif
