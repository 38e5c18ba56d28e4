/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The compiled policy: the whole desired state in one position-independent block.
 *
 * Producer: posternd (control/compile.c) writes it into a memfd, seals it (F_SEAL_WRITE | F_SEAL_SHRINK |
 * F_SEAL_GROW | F_SEAL_SEAL) and sends it. Consumer: postern-dataplane copies it, then validates the copy
 * (dataplane/nat/policy_check.c), builds lookup tables and swaps them. The consumer trusts nothing in it.
 *
 * Shape: struct policy_snapshot, then the tables in any order, each `count` records of `record_size_bytes`
 * at `offset_bytes` from the start, 8-byte aligned. No pointers. All integers in host order, IPv4 addresses
 * too (203.0.113.10 is 0xCB00710A). Strings are NUL-terminated and NUL-padded. Reserved bytes are zero.
 *
 * Identity: an object is the same as in the snapshot before when its id (workspace: id; VPC: workspace id,
 * id and vni; egress IP: workspace id, address and ports; worker: its VPC and address) *and* its incarnation
 * are the same. Anything else is a new object: old sessions never match it (P2). Incarnation 0 means "the
 * configuration says the same", and is what YAML gives; a source that sees deletions in between (netlink,
 * API) counts it up.
 */
#ifndef POSTERN_CONTRACT_POLICY_H
#define POSTERN_CONTRACT_POLICY_H

#include <assert.h>
#include <stdint.h>

#include "dataplane/contract/limits.h"

#define POLICY_MAGIC 0x504f4c59u /* "POLY" */
#define POLICY_VERSION 3u

enum policy_table_id {
	POLICY_WORKSPACES,
	POLICY_VPCS,
	POLICY_CIDRS,
	POLICY_EGRESS_IPS,
	POLICY_WORKERS,
	POLICY_RULES,
	POLICY_VTEP_PREFIXES,
	POLICY_TABLE_COUNT
};

struct policy_table {
	uint64_t offset_bytes;
	uint32_t count;
	uint32_t record_size_bytes;
};

enum policy_encapsulation {
	POLICY_ENCAPSULATION_VXLAN = 0,
	/* Plain IPv4 on the inside port; all of it belongs to the VPC with vni `plain_vni`. */
	POLICY_ENCAPSULATION_NONE = 1,
};

/* Index into policy_snapshot.ports and everywhere a port is numbered. */
enum port_index { PORT_INSIDE = 0, PORT_OUTSIDE = 1, PORT_COUNT = 2 };

struct policy_port {
	char interface[INTERFACE_NAME_SIZE_BYTES]; /* the kernel's interface, also for AF_XDP */
	/* DPDK devargs. Empty: net_af_xdp on `interface`. Else "net_tap0,iface=…", "0000:03:00.0", … */
	char device[DEVICE_ARGS_SIZE_BYTES];
	uint32_t queue_count; /* 1..SHARD_COUNT_MAX; 0 means 1 */
	uint32_t reserved;
};

struct policy_snapshot {
	uint32_t magic;
	uint32_t version;
	uint64_t size_bytes; /* of the whole block */
	uint64_t generation; /* posternd's; never 0; grows with each snapshot, also over restarts */
	struct policy_port ports[PORT_COUNT];
	uint32_t encapsulation; /* enum policy_encapsulation */
	uint32_t plain_vni;
	uint32_t vtep_address;	 /* this gateway's own VXLAN endpoint; 0: taken from the inside interface */
	uint16_t vxlan_udp_port; /* 4789 */
	uint16_t hairpin;	 /* enum policy_hairpin, between workspaces */
	struct policy_table tables[POLICY_TABLE_COUNT];
};

enum policy_hairpin {
	POLICY_HAIRPIN_DENY = 0,  /* to an egress IP of another workspace: refused */
	POLICY_HAIRPIN_ALLOW = 1, /* goes out and in through both NATs */
};

/* Seconds; 0 is invalid. */
struct policy_timers {
	uint32_t tcp_established_s; /* RFC 5382 REQ-5: default 7440 */
	uint32_t tcp_transitory_s;  /* 240 */
	uint32_t tcp_syn_s;	    /* 30 */
	uint32_t udp_s;		    /* RFC 4787 REQ-5: 300 */
	uint32_t udp_dns_s;	    /* 30, after the answer */
	uint32_t icmp_s;	    /* RFC 5508 REQ-2: 60 */
};

/*
 * All who say so share half of what there is equally, less what is guaranteed to others in numbers: so that whatever one
 * workspace does, each other one has some of it, and half is still there to be borrowed.
 */
#define POLICY_GUARANTEED_SHARE UINT32_MAX

/* 0 means no limit of its own (the table's size is the limit). "worker_": of one worker, by (VPC, inside address). */
struct policy_limits {
	uint32_t sessions;
	uint32_t sessions_guaranteed; /* a floor: kept free for the workspace whatever the others do;
					 POLICY_GUARANTEED_SHARE */
	uint32_t half_open;	      /* TCP sessions before their handshake is complete */
	uint32_t new_sessions_per_second;
	uint32_t packets_per_second;
	uint32_t sessions_per_remote; /* to one remote address and port */
	uint32_t fragments_held;      /* fragments that wait for their first one; at most 64 whatever is said */
	uint32_t worker_sessions;
	uint32_t worker_half_open;
	uint32_t worker_new_sessions_per_second;
	uint64_t bytes_per_second;
	uint32_t worker_sessions_per_remote;
	uint32_t worker_fragments_held; /* of what it sends; whose an answer is, its first fragment says */
	uint32_t fragments_guaranteed;	/* a floor, on each shard: 0..64, or POLICY_GUARANTEED_SHARE */
	uint32_t reserved;
};

enum policy_mapping { POLICY_MAPPING_ENDPOINT_DEPENDENT = 0, POLICY_MAPPING_ENDPOINT_INDEPENDENT = 1 };

enum policy_workspace_flags {
	POLICY_WORKSPACE_ALLOW_PRIVATE = 1u << 0,   /* RFC 6890 destinations are not denied by default */
	POLICY_WORKSPACE_TCP_RST_UNKNOWN = 1u << 1, /* mid-stream TCP without a session is answered with RST */
	POLICY_WORKSPACE_INBOUND_REFRESH = 1u << 2, /* RFC 4787 REQ-6: inbound packets refresh UDP */
	POLICY_WORKSPACE_DEFAULT_DENY = 1u << 3,    /* what no rule matches is denied */
	POLICY_WORKSPACE_SHARED_POOL = 1u << 4,	    /* its egress IPs are the shared pool's, with port ranges */
	POLICY_WORKSPACE_ALLOW_OTHER = 1u << 5,	    /* SCTP, GRE, ESP, …: translated by address alone */
	POLICY_WORKSPACE_RESET_IDLE = 1u << 6,	    /* TCP: RST to both ends when a session ends by idleness */
	POLICY_WORKSPACE_RESET_GONE = 1u << 7,	    /* TCP: RST to the remote when its worker, VPC or IP has gone */
};

struct policy_workspace {
	char id[ID_SIZE_BYTES];
	uint64_t incarnation;
	uint32_t number; /* the operator's number (netlink realm); 0: none */
	uint32_t flags;	 /* enum policy_workspace_flags */
	/* Ranges in POLICY_EGRESS_IPS and POLICY_RULES. */
	uint32_t egress_first, egress_count;
	uint32_t rule_first, rule_count;
	uint8_t mapping_tcp, mapping_udp; /* enum policy_mapping */
	uint8_t reserved[6];
	struct policy_timers timers;
	struct policy_limits limits;
};
static_assert(sizeof(struct policy_workspace) == 192, "contract");

enum policy_vpc_flags {
	/* Only addresses in POLICY_WORKERS may send. Without it every address in the CIDRs may, from any
	 * trusted VTEP: the worker host's classifier vouches for it. Those that are listed all the same are held to
	 * their host, and their sessions end when they are listed no more. */
	POLICY_VPC_WORKERS_LISTED = 1u << 0,
};

struct policy_vpc {
	char id[ID_SIZE_BYTES];
	uint64_t incarnation;
	uint32_t workspace_index;	 /* in POLICY_WORKSPACES */
	uint32_t vni;			 /* 1..2^24-1, unique in the snapshot */
	uint32_t cidr_first, cidr_count; /* range in POLICY_CIDRS; at least one */
	uint32_t flags;			 /* enum policy_vpc_flags */
	uint32_t reserved;
};
static_assert(sizeof(struct policy_vpc) == 96, "contract");

struct policy_cidr {
	uint32_t address;	     /* host bits zero */
	uint32_t prefix_length_bits; /* 0..32 */
	/*
	 * Which IP of the workspace comes first for new sessions of these addresses, as long as it has ports: its index in
	 * POLICY_EGRESS_IPS, plus 1. Of a VPC's CIDRs that say so the longest one decides, and then they may overlap. 0: none.
	 */
	uint32_t egress_preferred;
	uint32_t reserved;
};
static_assert(sizeof(struct policy_cidr) == 16, "contract");

enum policy_egress_state {
	POLICY_EGRESS_ACTIVE = 0,
	POLICY_EGRESS_DRAINING = 1, /* no new sessions; the old ones live out (P11) */
};

enum { POLICY_PORT_BLOCK = 512 };

struct policy_egress_ip {
	uint64_t incarnation;
	uint32_t address; /* unique in the snapshot, unless each record of it has a port range, and they are disjoint */
	uint32_t workspace_index;
	uint32_t state; /* enum policy_egress_state */
	/*
	 * Shared pool: the workspace's ports of this address. first: a multiple of POLICY_PORT_BLOCK, at least 1024;
	 * last: the end of a block. Both 0: all ports, the address is the workspace's alone.
	 */
	uint16_t port_first, port_last;
};

struct policy_worker {
	uint64_t incarnation;
	uint32_t vpc_index; /* in POLICY_VPCS */
	uint32_t address;   /* inside the VPC's CIDRs; unique per VPC */
	uint32_t vtep;	    /* the worker host it must come from; 0: any trusted one */
	uint32_t reserved;
};

enum policy_rule_action { POLICY_RULE_DENY = 0, POLICY_RULE_ALLOW = 1 };

/* First match wins; what no rule matches follows the workspace's default. */
struct policy_rule {
	uint32_t address;
	uint8_t prefix_length_bits;
	uint8_t action;	  /* enum policy_rule_action */
	uint8_t protocol; /* IP protocol; 0: any */
	uint8_t reserved;
	uint16_t port_first, port_last; /* destination; 0..65535 means any */
};

struct policy_vtep_prefix {
	uint32_t address;
	uint32_t prefix_length_bits;
};

#endif
