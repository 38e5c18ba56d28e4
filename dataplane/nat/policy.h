/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Policy tables: what the pipeline asks of the policy, in the shape in which it
 * asks.
 *
 * Built by the control thread from a checked snapshot (policy.c), read-only
 * from then on, in one block of memory that the caller frees when no shard can
 * still see it. Lookups never fail but by "not there".
 */
#ifndef POSTERN_NAT_POLICY_H
#define POSTERN_NAT_POLICY_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dataplane/contract/policy.h"
#include "dataplane/contract/sessions.h"
#include "dataplane/nat/check.h"
#include "dataplane/nat/hash.h"

/* Costs per unit, for the token buckets (limits.h); 0: no limit. */
struct policy_rates {
	uint64_t new_session_ns, worker_new_session_ns;
	uint64_t packet_ns;
	uint64_t byte_ns_1024; /* per byte, in 1/1024 ns */
};

/* Of one workspace, by slot. */
struct table_workspace {
	/* Asked by every packet: the first line. */
	uint32_t flags; /* enum policy_workspace_flags */
	uint8_t mapping_tcp, mapping_udp;
	bool tallied; /* some limit of sessions is of one worker or one remote */
	uint8_t reserved;
	uint32_t born; /* identity.h */
	struct policy_rates rates;
	/* Asked by new sessions and by changes of state. */
	uint32_t egress_first, egress_count;			       /* range of policy_tables.egress_lists */
	uint32_t rule_first, rule_count;			       /* range of policy_tables.rules */
	uint32_t timeout_ticks[SESSION_STATE_COUNT];		       /* by session state */
	uint32_t timeout_dns_ticks;				       /* UDP to port 53, answered */
	uint32_t timeout_transitory_ticks;			       /* after a doubtful RST */
	uint32_t sessions_max, half_open_max, sessions_per_remote_max; /* UINT32_MAX: no limit */
	uint32_t worker_sessions_max, worker_half_open_max, worker_sessions_per_remote_max;
	uint32_t guaranteed;	       /* sessions */
	uint32_t fragments_guaranteed; /* on each shard */
	uint32_t fragments_held_max, worker_fragments_held_max;
} __attribute__((aligned(64)));
static_assert(offsetof(struct table_workspace, egress_first) <= 64, "what every packet asks is in one line");

/* Of one VPC, in a hash by VNI. */
struct table_vpc {
	uint32_t vni;			  /* 0: free place */
	uint32_t born;			  /* identity.h */
	uint32_t cidr_address, cidr_mask; /* the first CIDR: nearly always the only one */
	uint32_t cidr_first, cidr_count;  /* the further ones, range of policy_tables.cidrs */
	uint16_t workspace_slot;
	uint16_t flags;		 /* enum policy_vpc_flags, TABLE_VPC_PREFERS, TABLE_VPC_ANY_LISTED */
	uint32_t snapshot_index; /* while building */
};
static_assert(sizeof(struct table_vpc) == 32, "two a cache line");

struct table_cidr {
	uint32_t address, mask;
};

/* Of a VPC. */
struct table_vpc_cidr {
	uint32_t address, mask;
	uint32_t egress_preferred; /* in policy_tables.egress_lists, plus 1; 0: none */
};

/* In table_vpc.flags: some CIDR prefers an egress IP; some worker is listed, be the VPC open to others or not. */
#define TABLE_VPC_PREFERS (1u << 15)
#define TABLE_VPC_ANY_LISTED (1u << 14)

/* Of one egress IP, in a hash by address. */
struct table_egress {
	uint32_t address;	       /* 0: free place */
	uint16_t slot, workspace_slot; /* of a shared address in the hash: both TABLE_SHARED */
	uint16_t port_first, port_last;
	uint32_t state; /* enum policy_egress_state */
};

/* Of one egress IP, by slot: is a session's still the one it was made with? */
struct table_egress_slot {
	uint32_t born; /* identity.h */
	uint32_t address;
	uint32_t workspace_slot;
};

#define TABLE_SHARED UINT16_MAX

/* Whose a block of POLICY_PORT_BLOCK ports of a shared address is; in a hash by (address, block). */
struct table_block {
	uint32_t address; /* 0: free place */
	uint32_t block;
	uint32_t egress_index; /* in policy_tables.egress_lists */
};

/* Of one listed worker, by slot. */
struct table_worker {
	uint32_t born;	       /* identity.h */
	uint32_t vtep;	       /* 0: any trusted one */
	uint32_t egress_index; /* in egress_lists, the one that it uses first: pairing.h */
};

/* Place in the hash of workers, by (VNI, address). */
struct table_worker_place {
	uint32_t vni; /* 0: free place */
	uint32_t address;
	uint32_t slot;
};

/* What is guaranteed out of something that all share. */
struct table_guarantees {
	uint32_t share_count; /* workspaces that are guaranteed an equal share */
	uint64_t sum;	      /* of those that are guaranteed a number */
};

struct policy_tables {
	uint32_t sequence; /* number of this policy swap */
	uint32_t encapsulation, plain_vni, vtep_address;
	uint16_t vxlan_udp_port, hairpin;
	uint64_t generation;

	uint32_t vtep_count;
	struct table_cidr vteps[VTEP_PREFIX_COUNT_MAX];

	struct table_workspace *workspaces;	  /* by slot */
	struct table_vpc *vpcs;			  /* hash */
	struct table_egress *egress_ips;	  /* hash */
	struct table_worker_place *worker_places; /* hash */
	struct table_worker *workers;		  /* by slot */
	struct table_egress_slot *egress_slots;
	struct table_block *blocks;	   /* hash */
	struct table_egress *egress_lists; /* by index in the snapshot */
	struct table_vpc_cidr *cidrs;
	struct policy_rule *rules;
	uint32_t vpc_mask, egress_mask, block_mask, worker_mask; /* of the hashes */
	bool any_guaranteed;					 /* of sessions or fragments */
	struct table_guarantees session_guarantees, fragment_guarantees;
	uint32_t tallied_count; /* workspaces with a limit of one worker or one remote */
};

static inline const struct table_vpc *policy_vpc(const struct policy_tables *policy, uint32_t vni)
{
	uint32_t at = hash_quick(vni);
	for (;; at++) {
		const struct table_vpc *vpc = &policy->vpcs[at & policy->vpc_mask];
		if (vpc->vni == vni)
			return vni != 0 ? vpc : NULL;
		if (vpc->vni == 0)
			return NULL;
	}
}

static inline void policy_vpc_prefetch(const struct policy_tables *policy, uint32_t vni)
{
	__builtin_prefetch(&policy->vpcs[hash_quick(vni) & policy->vpc_mask]);
}

static inline const struct table_egress *policy_egress(const struct policy_tables *policy, uint32_t address)
{
	uint32_t at = hash_quick(address);
	for (;; at++) {
		const struct table_egress *egress = &policy->egress_ips[at & policy->egress_mask];
		if (egress->address == address)
			return address != 0 ? egress : NULL;
		if (egress->address == 0)
			return NULL;
	}
}

/* Whose an egress address is for that port: the address's one owner, or of a shared one the port's. NULL: nobody's. */
static inline const struct table_egress *policy_egress_owner(
	const struct policy_tables *policy, uint32_t address, uint16_t port)
{
	const struct table_egress *egress = policy_egress(policy, address);
	if (LIKELY(egress == NULL || egress->workspace_slot != TABLE_SHARED))
		return egress;
	const uint32_t block = port / POLICY_PORT_BLOCK;
	uint32_t at = hash_quick((uint64_t)block << 32 | address);
	for (;; at++) {
		const struct table_block *place = &policy->blocks[at & policy->block_mask];
		if (place->address == 0)
			return NULL;
		if (place->address == address && place->block == block)
			return &policy->egress_lists[place->egress_index];
	}
}

/* Slot of a listed worker; SESSION_NO_WORKER when it is not listed. */
static inline uint32_t policy_worker_slot(const struct policy_tables *policy, uint32_t vni, uint32_t address)
{
	uint32_t at = hash_quick((uint64_t)vni << 32 | address);
	for (;; at++) {
		const struct table_worker_place *place = &policy->worker_places[at & policy->worker_mask];
		if (place->vni == 0)
			return SESSION_NO_WORKER;
		if (place->vni == vni && place->address == address)
			return place->slot;
	}
}

static inline bool policy_vpc_contains(
	const struct policy_tables *policy, const struct table_vpc *vpc, uint32_t address)
{
	if (LIKELY((address & vpc->cidr_mask) == vpc->cidr_address))
		return true;
	for (uint32_t i = 0; i < vpc->cidr_count; i++) {
		const struct table_vpc_cidr *cidr = &policy->cidrs[vpc->cidr_first + i];
		if ((address & cidr->mask) == cidr->address)
			return true;
	}
	return false;
}

static inline bool policy_vtep_trusted(const struct policy_tables *policy, uint32_t address)
{
	for (uint32_t i = 0; i < policy->vtep_count; i++)
		if ((address & policy->vteps[i].mask) == policy->vteps[i].address)
			return true;
	return false;
}

/*
 * Does the session still belong to who it was made for? `vpc`: of its VNI, or
 * NULL when there is none now. The proof stands in identity.h.
 */
static inline bool policy_session_live(
	const struct policy_tables *policy, const struct session *session, const struct table_vpc *vpc)
{
	if (LIKELY(session->created_policy == policy->sequence && vpc != NULL))
		return true; /* made or reviewed under this very policy */
	/* A session from a later policy than this is nobody's: a damaged record, or one whose identities were lost. */
	if (vpc == NULL || vpc->born > session->created_policy || session->created_policy > policy->sequence ||
		vpc->workspace_slot != session->workspace_slot)
		return false;
	const struct table_egress_slot *egress = &policy->egress_slots[session->egress_slot];
	if (egress->born > session->created_policy || egress->address != session->egress_address ||
		egress->workspace_slot != session->workspace_slot)
		return false;
	if (!policy_vpc_contains(policy, vpc, session->inside_address) ||
		(policy->encapsulation == POLICY_ENCAPSULATION_VXLAN && !policy_vtep_trusted(policy, session->vtep)))
		return false;
	if (session->worker_slot == SESSION_NO_WORKER)
		return (vpc->flags & POLICY_VPC_WORKERS_LISTED) == 0;
	return session->worker_slot < WORKER_COUNT_MAX &&
	       policy->workers[session->worker_slot].born <= session->created_policy;
}

/* A listed worker sends from where the list says; any other from any trusted host. */
static inline bool policy_from_its_host(
	const struct policy_tables *policy, const struct session *session, uint32_t vtep)
{
	if (LIKELY(session->worker_slot == SESSION_NO_WORKER))
		return true;
	const uint32_t listed = policy->workers[session->worker_slot].vtep;
	return listed == 0 || listed == vtep;
}

/* Where a session's worker is: where the list says, or where it sent from last. False: the list names a host that is
 * not trusted; where it sent from is, or the session is not live. */
static inline bool policy_host(const struct policy_tables *policy, const struct session *session, uint32_t *ret_vtep)
{
	uint32_t vtep = session->vtep;
	if (UNLIKELY(session->worker_slot != SESSION_NO_WORKER) && policy->workers[session->worker_slot].vtep != 0)
		vtep = policy->workers[session->worker_slot].vtep;
	if (UNLIKELY(vtep != session->vtep) && policy->encapsulation == POLICY_ENCAPSULATION_VXLAN &&
		!policy_vtep_trusted(policy, vtep))
		return false;
	*ret_vtep = vtep;
	return true;
}

/* The egress IP that comes first for a worker's new sessions, by its address; in egress_lists. UINT32_MAX: none does. */
uint32_t policy_egress_preferred(const struct policy_tables *policy, const struct table_vpc *vpc, uint32_t address);

/* Special-purpose destinations that do not leave unless the workspace says so
 * (RFC 6890, RFC 1918, RFC 6598). */
bool policy_destination_special(uint32_t address);

/* First match wins, else the workspace's default. */
bool policy_allows(const struct policy_tables *policy, const struct table_workspace *workspace, uint32_t destination,
	uint8_t protocol, uint16_t port);

static inline enum policy_mapping policy_mapping_of(const struct table_workspace *workspace, uint8_t protocol)
{
	if (protocol == 6)
		return (enum policy_mapping)workspace->mapping_tcp;
	if (protocol == 17)
		return (enum policy_mapping)workspace->mapping_udp;
	if (protocol == 1)
		return POLICY_MAPPING_ENDPOINT_INDEPENDENT; /* ICMP echo: by identifier, RFC 5508 REQ-1 */
	return POLICY_MAPPING_ENDPOINT_DEPENDENT;	    /* others: by address alone */
}

#endif
