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
	BPF_RULE_REGION_COUNT_MAX = 65536,
	BPF_RULE_ENTRY_COUNT_MAX = 8,
	BPF_SAMPLE_RING_BYTES = 256 * 1024,
	BPF_SAMPLE_CAPTURE_BYTES = 64,
	BPF_SAMPLE_BURST = 256, /* samples that a CPU may take at once */
	CGROUP_DEPTH_MAX = 4,	/* levels below worker_host.cgroups.path at which a worker may be */
	WORKER_DNS_COUNT_MAX = 3,
	WORKER_DNS_OPTION_BYTES = 2 + 4 * WORKER_DNS_COUNT_MAX,
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

/* On the sockets of workers that are cgroups, and so on what the kernel sends for them. */
#define WORKER_SOCKET_MARK 0x50535453u

/*
 * A worker that is a cgroup has no interface. In the place of its index stands this, made of the cgroup's id: no index
 * is so large, and the kernel gives the lower 31 bits to one cgroup at a time. It is also the mark of a frame between
 * reply_ingress and uplink_ingress.
 */
#define CGROUP_KEY_BIT 0x80000000u
#define CGROUP_KEY(id) (CGROUP_KEY_BIT | (__u32)(id))

/* Why the classifier drops; labels and texts are the operator's. */
#define WORKER_DROPS(X)                                                                                                \
	X(UNKNOWN_INTERFACE, "unknown_interface", "the interface belongs to no worker")                                \
	X(NOT_ADMITTED, "not_admitted", "the worker is not admitted yet")                                              \
	X(SPOOFED_SOURCE, "spoofed_source", "source address is not the worker's own")                                  \
	X(SPOOFED_MAC, "spoofed_mac", "source MAC is not the worker's own")                                            \
	X(METADATA, "metadata", "to the metadata service or link-local")                                               \
	X(IPV6, "ipv6", "IPv6, router advertisements included")                                                        \
	X(NOT_IPV4, "not_ipv4", "neither IP nor ARP, or VLAN-tagged")                                                  \
	X(ARP, "arp", "ARP, but no request for the gateway's address")                                                 \
	X(DHCP, "dhcp", "DHCP, which worker_host.dhcp drops, or which has no answer")                                  \
	X(MALFORMED, "malformed", "too short, or its lengths contradict each other")                                   \
	X(UNDERLAY, "underlay", "to the underlay: a VTEP or gateway, or VXLAN")                                        \
	X(MULTICAST, "multicast", "to a multicast or broadcast address")                                               \
	X(DENIED, "denied", "the workspace's policy denies the destination")                                           \
	X(PACKET_LIMIT, "packet_limit", "over limits.worker.packets_per_second")                                       \
	X(BYTE_LIMIT, "byte_limit", "over limits.worker.bytes_per_second")                                             \
	X(NO_GATEWAY, "no_gateway", "no gateway of the workspace is up")                                               \
	X(TUNNEL, "tunnel", "the tunnel key could not be set, or the VXLAN device is missing")                         \
	X(REPLY_UNKNOWN_GATEWAY, "reply_unknown_gateway", "VXLAN from a host that is no gateway")                      \
	X(REPLY_UNKNOWN_WORKER, "reply_unknown_worker", "no worker has this VNI and address")                          \
	X(REPLY_MALFORMED, "reply_malformed", "a reply that is not whole IPv4")                                        \
	X(EGRESS_FOREIGN, "egress_foreign", "to a worker, and not from a gateway")                                     \
	X(UNKNOWN_CGROUP, "unknown_cgroup", "from a cgroup that belongs to no worker, or for none of its sockets")     \
	X(CGROUP_INTERFACE, "cgroup_interface", "from a cgroup, but not by worker_host.cgroups.interface")             \
	X(CGROUP_LOCAL, "cgroup_local", "from a cgroup to the host itself or to another worker on it")                 \
	X(CGROUP_PROTOCOL, "cgroup_protocol", "from a cgroup, and neither TCP nor UDP")                                \
	X(TOO_BIG, "too_big", "from a cgroup, larger than worker_host.mtu; it is told by ICMP")                        \
	X(REPLY_NO_SOCKET, "reply_no_socket", "a reply that no socket of the worker's cgroup waits for")               \
	X(REPLY_FRAGMENT, "reply_fragment", "a fragment for a cgroup, whose sender could not be told")

enum worker_drop {
#define WORKER_DROP_ENUM(name, label, text) WORKER_DROP_##name,
	WORKER_DROPS(WORKER_DROP_ENUM)
#undef WORKER_DROP_ENUM
		WORKER_DROP_COUNT
};

/* Of one worker; the programs count atomically. Bytes are those of the inner IPv4 packets. */
struct worker_traffic {
	__u64 out_packets, out_bytes, in_packets, in_bytes;
	__u64 drops[WORKER_DROP_COUNT];
};

/* tc, worker interface ingress: map `workers`, hash, key: ifindex, or CGROUP_KEY (__u32). */
struct worker_value {
	__be32 address_be; /* the only source address allowed */
	__be32 vtep_be;	   /* this host's, outer source */
	__u32 vni;
	__u32 workspace_index; /* index of `workspaces`, `workspace_counters` and `workspace_drops` */
	__u8 mac[6];	       /* zero: learned from the worker's first valid frame */
	__u8 mac_pinned;       /* 1: mac comes from the configuration */
	__u8 reserved;	       /* 0: mac, mac_pinned and reserved are swapped in as one aligned 64-bit word */
	__u32 epoch;	       /* counts the owners of the interface */
	__u32 reserved_too;
	__u64 cgroup_id; /* 0: it is an interface */
	/* From here on the programs' own. A token bucket is one time: when it will be full again. */
	__u64 packets_full_ns, bytes_full_ns, answers_full_ns;
	struct worker_traffic traffic;
};

/* Map `claims`, hash, key: ifindex. An interface whose worker is known but not admitted yet. */
struct claim_value {
	__u32 workspace_index;
	__u32 vni;
};

/*
 * Map `workspaces`, array, index workspace_index, mapped by posternd: each member is stored by itself, in one piece, so
 * that a change (another gateway) takes no reload and costs no packet.
 */
struct workspace_value {
	__be32 gateway_be; /* outer destination; 0: none is up */
	__u32 rule_set;	   /* key of `rules`; 0: no rules here */
	__u32 dscp;	   /* 0: kept; else WORKSPACE_DSCP_SET | value */
	__u32 reserved;
	__u64 packet_cost_ns, packet_burst_ns; /* of each worker's bucket; cost 0: no limit */
	__u64 byte_cost_1024, byte_burst_ns;   /* 1/1024 ns per byte */
	__u64 rules_digest;		       /* posternd's: what rule_set was made of */
	__u64 reserved_too;
};

#define WORKSPACE_DSCP_SET 0x100u

/*
 * Map `rules`, LPM trie: the egress rules of a workspace by destination. The longest prefix that matches has the rules
 * for all addresses in it that no longer one has, first match first (control/rule_regions.h).
 */
struct rule_key {
	__u32 prefix_length_bits; /* 32 of the set, then those of the address */
	__be32 set_be;
	__be32 address_be;
};

enum rule_verdict { RULE_DENY = 0, RULE_ALLOW = 1, RULE_UNDECIDED = 2 /* the gateway decides */ };

struct rule_entry {
	__u16 port_first, port_last; /* 0..65535: any */
	__u8 protocol;		     /* 0: any */
	__u8 verdict;		     /* enum rule_verdict */
	__u16 reserved;
};

struct rule_region {
	__u8 entry_count;
	__u8 verdict; /* when no entry matches */
	__u8 reserved[6];
	struct rule_entry entries[BPF_RULE_ENTRY_COUNT_MAX];
};

/* Ring buffer `drop_samples`: the beginning of a dropped packet. */
struct drop_sample {
	__u64 time_ns; /* CLOCK_MONOTONIC */
	__u32 ifindex;
	__u32 workspace_index; /* SAMPLE_NO_WORKSPACE: not known to be anybody's */
	__u32 vni;
	__u32 reason;	    /* enum worker_drop */
	__u32 length_bytes; /* of the frame */
	__u32 captured_bytes;
	__u8 bytes[BPF_SAMPLE_CAPTURE_BYTES];
};

#define SAMPLE_NO_WORKSPACE 0xffffffffu

/* Array `sample_config`, index 0: the pause between two samples of a CPU, beyond its burst. 0: nobody is watching. */
struct sample_config {
	__u64 interval_ns;
};

/* Per-CPU array `sample_state`, index 0. */
struct sample_state {
	__u64 full_ns;
	__u64 taken;
	__u64 lost; /* not taken, since there were too many or the ring was full */
};

/* array `worker_config`, index 0. */
struct worker_config {
	__u32 vxlan_ifindex;			  /* 0: there is no VXLAN device */
	__be32 vtep_be;				  /* this host's own */
	__u32 mtu_bytes;			  /* of workers: what goes through the tunnel whole */
	__u32 dhcp_lease_s;			  /* 0: DHCP is dropped */
	__u8 dns_option[WORKER_DNS_OPTION_BYTES]; /* of DHCP, ready to be sent; or zeros, which are padding */
	/* Workers that are cgroups. Level 0: there are none here, and whatever has been one is closed. */
	__u8 uplink_mac[6];
	__u32 uplink_ifindex;
	__be32 uplink_address_be; /* what their sockets take for their own */
	__u32 cgroup_level;
	__u64 cgroup_id; /* of worker_host.cgroups.path, at that level */
};

/* posternd compares it as a whole. */
_Static_assert(sizeof(struct worker_config) == 56, "worker_config has padding");

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

/*
 * Per-CPU array `worker_drops`, index enum worker_drop; array `workspace_drops`, index workspace_index, value
 * __u64[WORKER_DROP_COUNT]. Per-CPU array `steer_counters`, index enum steer_counter.
 */
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
