/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tenants of the simulated gateway: workspaces, VPCs with equal CIDRs and workers, egress IPs that come, go, move
 * and come back. Every object has a life, a number that is never used again: who sends a packet writes his lives into
 * it (struct tag), so that the simulator sees on any byte string that leaves whose it is, without asking the oracle.
 */
#ifndef POSTERN_TESTS_SIM_MODEL_H
#define POSTERN_TESTS_SIM_MODEL_H

#include "tests/sim/world.h"

enum { MODEL_WORKSPACES = 4, MODEL_VPCS = 6, MODEL_OWN_IPS = 8, MODEL_SHARES = 6, MODEL_WORKERS = 6, MODEL_VTEPS = 3 };
/* Egress IPs that are one workspace's alone come first, then shares of two addresses, 1024 ports each. */
enum { MODEL_IPS = MODEL_OWN_IPS + MODEL_SHARES, MODEL_SHARE_PORTS = 1024 };

/* A generator, or the bytes that a fuzzer gives instead of one. */
struct random {
	uint64_t state;
	const uint8_t *bytes;
	size_t left;
};

/* The fuzzer's bytes are used up: from here on all is 0. */
static inline bool random_spent(const struct random *random)
{
	return random->bytes != NULL && random->left == 0;
}

uint64_t random_next(struct random *random);
/* In [0, bound). */
uint32_t random_below(struct random *random, uint32_t bound);
static inline bool random_one_in(struct random *random, uint32_t n)
{
	return random_below(random, n) == 0;
}

struct model_workspace {
	bool present;
	uint64_t incarnation, life;
	uint32_t flags, rules;
	uint8_t mapping_tcp, mapping_udp;
	struct policy_timers timers;
	struct policy_limits limits;
};

struct model_vpc {
	bool present, listed; /* listed: some of its workers are */
	bool open;	      /* … and the others may send, too */
	bool narrow;	      /* its CIDR does not hold all of its workers */
	uint64_t incarnation, life;
	unsigned workspace, id;
};

struct model_ip {
	bool present, draining;
	uint64_t incarnation;
	unsigned workspace;
};

struct model_worker {
	bool present;
	uint64_t incarnation, life;
	uint32_t vtep;
};

struct model {
	struct model_workspace workspaces[MODEL_WORKSPACES];
	struct model_vpc vpcs[MODEL_VPCS];
	struct model_ip ips[MODEL_IPS];
	struct model_worker workers[MODEL_VPCS][MODEL_WORKERS];
	bool vtep_distrusted; /* the last worker host is not trusted at present */
	uint32_t vtep_address;
	uint16_t vxlan_port;
	bool plain, hairpin; /* hairpin: also between workspaces */
	bool hairpin_ever;   /* sessions of then go on */
	uint64_t lives;
};

/* What the simulator may change. */
struct model_options {
	bool limits, mapping_changes, short_timers, plain, steady_objects, shared;
	unsigned workspaces; /* that have a part in it */
};

/* Who sent a payload. */
struct tag {
	uint64_t workspace, vpc, worker; /* lives; worker 0: not listed */
};

enum { TAG_BYTES = 16 };

void model_init(struct model *model, struct random *random, const struct model_options *options);
/* One change of some kind; what it was, for the trace. */
const char *model_change(struct model *model, struct random *random, const struct model_options *options);
/* Gives lives to what differs from `before` (NULL: everything), and writes the draft. */
void model_draft(struct model *model, const struct model *before, struct world_draft *ret_draft);

static inline uint32_t model_vni(unsigned vpc)
{
	return 7001 + vpc;
}

static inline uint32_t model_ip_address(unsigned ip)
{
	return ip < MODEL_OWN_IPS ? WORLD_IP(203, 0, 113, 10) + ip
				  : WORLD_IP(203, 0, 113, 30) + (ip - MODEL_OWN_IPS) % 2;
}

/* First port of a share; 0: all ports. */
static inline uint16_t model_ip_port(unsigned ip)
{
	return (uint16_t)(ip < MODEL_OWN_IPS ? 0 : 1024 + (ip - MODEL_OWN_IPS) / 2 * MODEL_SHARE_PORTS);
}

static inline uint32_t model_worker_address(unsigned worker)
{
	return WORLD_IP(10, 0, 0, 1) + worker;
}

static inline uint32_t model_vtep(unsigned host)
{
	return WORLD_IP(10, 100, 0, 2) + host;
}

/* Index of who owns an address, for the source port of the packet at `ip`; of a tunnel; -1: nobody. */
int model_owner(const struct model *model, uint32_t address, const uint8_t *ip);
int model_vpc_of(const struct model *model, uint32_t vni);
/* Has the packet at `ip` no port of its own by which it could be somebody's? */
bool model_portless(const uint8_t *ip);
/* Has the workspace, or the workspace of that life, a record of the address? */
bool model_owns(const struct model *model, uint32_t address, unsigned workspace);
bool model_owns_life(const struct model *model, uint32_t address, uint64_t life);
/*
 * Is it the same VPC, and one that is open to workers that it does not list? There a session that is older than the list
 * belongs to whoever has the address; the oracle tells the younger ones. If the VPC is not open any more, what somebody
 * sent whom it did not list may have become a listed worker's while it was; that, too, the oracle tells.
 */
bool model_same_vpc(const struct model *model, const struct tag *tag, unsigned vpc);
struct tag model_tag(const struct model *model, unsigned vpc, uint32_t address);

#endif
