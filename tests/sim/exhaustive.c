/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every state that a tiny gateway can get into, by breadth-first search on the core itself.
 *
 *   acme   (endpoint-independent)  VNI 1, absent or acme's or globex's      X: acme's or globex's, in service or
 * draining globex (endpoint-dependent)    VNI 2, absent or globex's                Y: globex's
 *
 * Both VPCs have one worker, of the same address and port; there are two remotes, and two ports on each egress IP
 * (--ports N: more). In every state everything is tried: each worker sends to each remote, with each choice of port;
 * each remote answers to each egress IP and port; each change of policy; half a timeout passes; upkeep reviews. After
 * each of these P1 and P2 are checked against a ghost: a note of who used which egress IP, port and remote, and whether
 * he still exists.
 *
 * A state is what decides the future: per inside tuple the session (egress, port, age, who leads the mapping, is it
 * alive; not whether it was answered, since all timers are equal), the port maps, the policy, and whether a review is
 * due. Where a policy changes, sessions are carried over to the tables
 * that stand for that policy; those that died get the numbers by which they could most easily be taken for alive: the
 * slots of those who came after them, and the last policy before these were born.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/nat/session.h"
#include "tests/sim/image.h"
#include "tests/sim/wire.h"
#include "tests/sim/world.h"

enum { PORTS_MAX = 4, SEEDS_MAX = 16, TUPLES = 4, STATES_MAX = 1 << 22, TIMEOUT_S = 100 };
enum { VNI_ABSENT = 0, VNI_ACME = 1, VNI_GLOBEX = 2 };

#define IP_X WORLD_IP(203, 0, 113, 1)
#define IP_Y WORLD_IP(203, 0, 113, 2)
#define WORKER WORLD_IP(10, 0, 0, 5)
#define VTEP WORLD_IP(10, 100, 0, 2)
#define WORKER_PORT 5000
#define REMOTE_PORT 443

/* A policy; numbered by config_number(). */
struct config {
	uint8_t vni1, vni2, x_owner, x_draining; /* owners: 0 absent, 1 acme, 2 globex */
};
enum { CONFIGS = 3 * 2 * 2 * 2, CHANGES = 5 };

/* What the ghost knows of an inside tuple: which way it went, and whether those who went it still are. */
struct ghost {
	bool known, valid;
	uint8_t ip, port; /* 0: X, 1: Y; offset in the slice */
};

struct key {
	uint64_t sessions, rest;
};

struct state {
	struct key key;
	struct ghost ghosts[TUPLES];
	uint8_t *image; /* compressed; NULL once expanded */
	uint32_t from;	/* the state before, and what was done: for the trace */
	uint16_t operation;
};

struct search {
	struct world *world;
	struct policy_tables *tables[CONFIGS];		 /* that stand for a policy */
	struct policy_tables *changed[CONFIGS][CHANGES]; /* those after a change from there */
	uint8_t changed_to[CONFIGS][CHANGES];
	struct image image; /* of the empty shard */
	struct state *states;
	uint32_t state_count, expanded;
	uint32_t *buckets; /* of the set of keys: state number + 1 */
	uint64_t transitions;
	struct ghost ghosts[TUPLES];
	unsigned config;
	uint64_t seeds[SEEDS_MAX][2];
	unsigned ports; /* per egress IP */
	const char *problem;
};

static unsigned config_number(struct config of)
{
	return ((of.vni1 * 2u + of.vni2 / 2u) * 2u + of.x_owner - 1u) * 2u + of.x_draining;
}

static struct config config_of(unsigned number)
{
	return (struct config){
		.vni1 = (uint8_t)(number / 8),
		.vni2 = number / 4 % 2 != 0 ? VNI_GLOBEX : VNI_ABSENT,
		.x_owner = (uint8_t)(number / 2 % 2 + 1),
		.x_draining = number % 2,
	};
}

static struct config config_change(struct config of, unsigned change)
{
	if (change < 2)
		of.vni1 = (uint8_t)((of.vni1 + 1 + change) % 3);
	else if (change == 2)
		of.vni2 = of.vni2 == VNI_ABSENT ? VNI_GLOBEX : VNI_ABSENT;
	else if (change == 3)
		of.x_owner = of.x_owner == VNI_ACME ? VNI_GLOBEX : VNI_ACME;
	else
		of.x_draining = !of.x_draining;
	return of;
}

static void draft_of(struct world_draft *draft, struct config of)
{
	static const char *const names[] = {"acme", "globex"};
	memset(draft->counts, 0, sizeof(draft->counts));
	draft->counts[POLICY_VTEP_PREFIXES] = 1;
	draft->counts[POLICY_WORKSPACES] = 2;
	draft->cidrs[0] = (struct policy_cidr){WORLD_IP(10, 0, 0, 0), 24};
	draft->counts[POLICY_CIDRS] = 1;
	for (unsigned w = 0; w < 2; w++) {
		struct policy_workspace *to = &draft->workspaces[w];
		memset(to, 0, sizeof(*to));
		snprintf(to->id, ID_SIZE_BYTES, "%s", names[w]);
		to->timers = (struct policy_timers){TIMEOUT_S, TIMEOUT_S, TIMEOUT_S, TIMEOUT_S, TIMEOUT_S, TIMEOUT_S};
		to->mapping_udp = w == 0 ? POLICY_MAPPING_ENDPOINT_INDEPENDENT : POLICY_MAPPING_ENDPOINT_DEPENDENT;
		to->egress_first = draft->counts[POLICY_EGRESS_IPS];
		if (of.x_owner == w + 1)
			draft->egress_ips[draft->counts[POLICY_EGRESS_IPS]++] = (struct policy_egress_ip){
				.address = IP_X, .workspace_index = w, .state = of.x_draining};
		if (w == 1)
			draft->egress_ips[draft->counts[POLICY_EGRESS_IPS]++] =
				(struct policy_egress_ip){.address = IP_Y, .workspace_index = w};
		to->egress_count = draft->counts[POLICY_EGRESS_IPS] - to->egress_first;
	}
	for (unsigned v = 0; v < 2; v++) {
		const uint8_t owner = v == 0 ? of.vni1 : of.vni2;
		if (owner == VNI_ABSENT)
			continue;
		struct policy_vpc *to = &draft->vpcs[draft->counts[POLICY_VPCS]++];
		memset(to, 0, sizeof(*to));
		snprintf(to->id, ID_SIZE_BYTES, "main");
		to->workspace_index = owner - 1u;
		to->vni = v + 1;
		to->cidr_count = 1;
	}
}

/* ---- states ---- */

static unsigned tuple_of(uint32_t vni, uint32_t remote)
{
	return (vni - 1) * 2 + (remote & 1);
}

static uint32_t remote_of(unsigned number)
{
	return WORLD_IP(192, 0, 2, 10) + number;
}

static const struct policy_tables *tables_now(const struct search *search)
{
	return search->tables[search->config];
}

static bool session_alive(const struct policy_tables *tables, const struct session *session)
{
	return policy_session_live(tables, session, policy_vpc(tables, session->vni_protocol >> 8));
}

/* Also checks what must hold in every state: nobody shares an egress address, port and remote with another alive one,
 * and who is alive for the core is so for the ghost. */
static struct key key_now(struct search *search)
{
	const struct nat_shard *shard = search->world->shard;
	const struct policy_tables *tables = tables_now(search);
	struct key key = {0, search->config << 1};
	const bool due = shard->stale_sequence != tables->sequence || shard->stale_at < shard->sessions_max;
	key.rest |= due;
	for (uint32_t i = 0; i < shard->sessions_max && i < 16; i++) {
		const struct session *of = &shard->sessions[i];
		if (of->state == SESSION_FREE)
			continue;
		const unsigned tuple = tuple_of(of->vni_protocol >> 8, of->remote_address);
		const struct ghost *ghost = &search->ghosts[tuple];
		const bool alive = session_alive(tables, of);
		const uint64_t port = of->egress_port - shard->port_first, ip = of->egress_address == IP_Y;
		const uint64_t age =
			shard->now_tick - of->last_tick > (TIMEOUT_S / 3 * WORLD_SECOND >> SESSION_TICK_SHIFT);
		const uint64_t leads = of->flags / SESSION_LEADS_INSIDE % 4;
		const uint64_t packed = 1 | ip << 1 | port << 2 | age << 5 | (uint64_t)alive << 6 | leads << 7 |
					(uint64_t)((of->flags & SESSION_MAPPED) != 0) << 9 |
					(uint64_t)(of->workspace_slot & 1) << 10;
		key.sessions |= packed << tuple * 16;
		if (port >= search->ports)
			search->problem = "a session has a port outside of the slice";
		if (alive && (!ghost->known || !ghost->valid || ghost->ip != ip || ghost->port != port))
			search->problem = "P2: the core holds a session for alive whose owner has gone";
		for (uint32_t j = 0; j < i; j++) {
			const struct session *other = &shard->sessions[j];
			if (alive && other->state != SESSION_FREE && session_alive(tables, other) &&
				other->egress_address == of->egress_address && other->egress_port == of->egress_port &&
				other->remote_address == of->remote_address)
				search->problem = "P2: two sessions share egress address, port and remote";
		}
	}
	/* Port maps are derived, but a wrong one would show only later: those in use are part of the state. */
	for (uint32_t m = 0; m < (shard->port_map_set_mask + 1) * PORT_MAP_WAYS; m++) {
		const struct port_map *map = &shard->port_maps[m];
		if (map->egress_address != 0)
			key.rest ^= hash_mix((uint64_t)map->egress_address << 32 ^ map->remote_address ^
					     map->words[shard->port_first / 64] << 7)
				    << 8;
	}
	return key;
}

static void state_add(struct search *search, uint32_t from, unsigned operation)
{
	const struct key key = key_now(search);
	uint32_t at = (uint32_t)hash_mix(key.sessions ^ hash_mix(key.rest)) % (2 * STATES_MAX);
	search->transitions++;
	for (; search->buckets[at] != 0; at = (at + 1) % (2 * STATES_MAX)) {
		const struct state *state = &search->states[search->buckets[at] - 1];
		if (state->key.sessions == key.sessions && state->key.rest == key.rest)
			return;
	}
	if (search->state_count == STATES_MAX) {
		search->problem = "there are more states than the search has room for";
		return;
	}
	struct state *state = &search->states[search->state_count++];
	search->buckets[at] = search->state_count;
	*state = (struct state){.key = key, .image = image_compress(&search->image), .from = from};
	state->operation = (uint16_t)operation;
	memcpy(state->ghosts, search->ghosts, sizeof(state->ghosts));
}

/* ---- operations ---- */

static struct world_frame *send(
	struct search *search, unsigned in_port, const uint8_t *ip, uint32_t ip_bytes, uint32_t vni)
{
	static const uint8_t mac[6] = {2, 0, 0, 0, 9, 9};
	uint8_t bytes[256];
	const struct wire_tunnel tunnel = {mac, mac, mac, mac, VTEP, WORLD_GATEWAY_INSIDE, vni, 50000, 4789, 64};
	const uint32_t length_bytes = in_port == PORT_INSIDE ? wire_wrap(bytes, &tunnel, ip, ip_bytes)
							     : wire_plain(bytes, mac, mac, ip, ip_bytes);
	struct world *world = search->world;
	struct world_frame *frame = world_frame_new(world, in_port, bytes, length_bytes);
	world->view.policy = tables_now(search);
	world->now_ns = world->shard->now_ns;
	nat_process(world->shard, &world->view, (struct packet *const[]){&frame->packet}, 1, world->now_ns);
	if (world->counts->guard_violations != 0)
		search->problem = "the guard had to stop a packet";
	return frame;
}

static uint32_t udp(uint8_t *ip, uint32_t from, uint16_t from_port, uint32_t to, uint16_t to_port)
{
	memset(ip, 0, 40);
	wire_put16(ip + 20, from_port);
	wire_put16(ip + 22, to_port);
	wire_put16(ip + 24, 12);
	wire_ip_header(ip, 32, WIRE_UDP, from, to);
	wire_seal_l4(ip);
	return 32;
}

/* Refused for want of a port: is there really none? */
static bool port_left(const struct search *search, unsigned owner, uint32_t remote)
{
	const struct config config = config_of(search->config);
	const struct nat_shard *shard = search->world->shard;
	for (unsigned ip = 0; ip < 2; ip++) {
		if (ip == 0 ? config.x_owner != owner || config.x_draining : owner != VNI_GLOBEX)
			continue;
		unsigned taken = 0;
		for (uint32_t port = shard->port_first; port < shard->port_first + search->ports; port++)
			for (uint32_t i = 0; i < 16; i++) {
				const struct session *of = &shard->sessions[i];
				const bool mapped = of->flags & SESSION_MAPPED;
				if (of->state != SESSION_FREE && of->egress_address == (ip == 0 ? IP_X : IP_Y) &&
					of->egress_port == port && mapped == (owner == VNI_ACME) &&
					(mapped || of->remote_address == remote)) {
					taken++;
					break;
				}
			}
		if (taken < search->ports)
			return true;
	}
	return false;
}

/* True when a session was made: then other ports may be chosen, too. */
static bool goes_out(struct search *search, uint32_t vni, uint32_t remote)
{
	uint8_t ip[64];
	const struct config config = config_of(search->config);
	const unsigned owner = vni == 1 ? config.vni1 : config.vni2;
	const uint64_t created = search->world->counts->sessions_created;
	const struct ghost before = search->ghosts[tuple_of(vni, remote)];
	struct world_frame *frame =
		send(search, PORT_INSIDE, ip, udp(ip, WORKER, WORKER_PORT, remote, REMOTE_PORT), vni);
	const bool made = search->world->counts->sessions_created != created;
	if (frame->packet.verdict == PACKET_FORWARD && frame->packet.out_port == PORT_OUTSIDE) {
		const uint8_t *out = frame->packet.data + WIRE_ETHERNET;
		const uint32_t source = wire_get32(out + 12);
		struct ghost *ghost = &search->ghosts[tuple_of(vni, remote)];
		const unsigned ip_owner = source == IP_X ? config.x_owner : source == IP_Y ? VNI_GLOBEX : 0;
		if (owner == VNI_ABSENT || ip_owner != owner || wire_get32(out + 16) != remote)
			search->problem = "P1: a packet left with an IP that is not its workspace's";
		if (made && source == IP_X && config.x_draining)
			search->problem = "a draining IP took a new session";
		*ghost = (struct ghost){
			true, true, source == IP_Y, (uint8_t)(wire_get16(out + 20) - search->world->shard->port_first)};
		if (!made && (!before.valid || before.ip != ghost->ip || before.port != ghost->port))
			search->problem = "P1: a packet went the way of somebody who has gone";
	} else if (frame->packet.drop_reason == DROP_PORTS_EXHAUSTED && port_left(search, owner, remote)) {
		search->problem = "a session was refused although a port was free";
	}
	world_frame_free(search->world, frame);
	return made;
}

/* An ICMP error about a packet of `about_bytes` at `about`. */
static uint32_t unreachable(uint8_t *ip, uint32_t from, uint32_t to, const uint8_t *about, uint32_t about_bytes)
{
	memset(ip + WIRE_IP, 0, 8);
	ip[WIRE_IP] = 3;
	ip[WIRE_IP + 1] = 1;
	memcpy(ip + WIRE_IP + 8, about, about_bytes);
	wire_ip_header(ip, WIRE_IP + 8 + about_bytes, WIRE_ICMP, from, to);
	wire_seal_l4(ip);
	return WIRE_IP + 8 + about_bytes;
}

/* What a remote sends to an egress IP and port: an answer, or an error about what came from there. */
static void comes_in(struct search *search, uint32_t address, unsigned port, uint32_t remote, bool error)
{
	uint8_t ip[128], about[64];
	const uint16_t egress_port = (uint16_t)(search->world->shard->port_first + port);
	uint32_t ip_bytes = udp(ip, remote, REMOTE_PORT, address, egress_port);
	if (error)
		ip_bytes =
			unreachable(ip, remote, address, about, udp(about, address, egress_port, remote, REMOTE_PORT));
	struct world_frame *frame = send(search, PORT_OUTSIDE, ip, ip_bytes, 0);
	if (frame->packet.verdict == PACKET_FORWARD) {
		const uint8_t *udp_header = frame->packet.data + WIRE_ETHERNET + WIRE_IP;
		const uint32_t vni = wire_get32(udp_header + 12) / 256;
		const struct ghost *ghost = vni == 1 || vni == 2 ? &search->ghosts[tuple_of(vni, remote)] : NULL;
		if (frame->packet.out_port != PORT_INSIDE || ghost == NULL || !ghost->known || !ghost->valid ||
			ghost->ip != (address == IP_Y) || ghost->port != port)
			search->problem = "P2: a reply reached somebody who did not ask";
		const uint8_t *inner = frame->packet.data + WIRE_TUNNEL;
		const uint8_t *spoken_of = error ? inner + WIRE_IP + 8 : inner;
		if (wire_get32(inner + 16) != WORKER || wire_get32(spoken_of + (error ? 12 : 16)) != WORKER ||
			wire_get16(spoken_of + (error ? 20 : 22)) != WORKER_PORT)
			search->problem = "P2: a reply reached another address than asked";
	}
	world_frame_free(search->world, frame);
}

static void review(struct search *search)
{
	struct world *world = search->world;
	world->view.policy = tables_now(search);
	for (unsigned calls = 0; calls < 8; calls++)
		nat_upkeep(world->shard, &world->view, world->now_ns);
}

static void half_a_timeout(struct search *search)
{
	search->world->now_ns = search->world->shard->now_ns + (TIMEOUT_S / 2 + 1) * WORLD_SECOND;
	review(search);
}

/* The policy changes: who was alive and is not any more, by the core's own judgement, must be who the ghost says. */
static void policy_changes(struct search *search, unsigned change)
{
	const struct config before = config_of(search->config);
	const struct policy_tables *after = search->changed[search->config][change];
	struct nat_shard *shard = search->world->shard;
	const unsigned to = search->changed_to[search->config][change];
	const struct policy_tables *tables = search->tables[to];
	const struct config now = config_of(to);
	for (unsigned tuple = 0; tuple < TUPLES; tuple++) {
		struct ghost *ghost = &search->ghosts[tuple];
		if (tuple < 2 ? before.vni1 != now.vni1 : before.vni2 != now.vni2)
			ghost->valid = false;
		if (ghost->ip == 0 && before.x_owner != now.x_owner)
			ghost->valid = false;
	}
	for (uint32_t i = 0; i < 16; i++) {
		struct session *of = &shard->sessions[i];
		if (of->state == SESSION_FREE)
			continue;
		const bool alive = session_alive(after, of);
		const struct ghost *ghost = &search->ghosts[tuple_of(of->vni_protocol >> 8, of->remote_address)];
		if (alive != (ghost->valid && session_alive(tables_now(search), of)))
			search->problem = alive ? "P2: a session outlived the one it was made for"
						: "a session died of a change that did not concern it";
		const struct table_egress *egress = policy_egress(tables, of->egress_address);
		const struct table_vpc *vpc = policy_vpc(tables, of->vni_protocol >> 8);
		of->egress_slot = egress->slot;
		of->created_policy = tables->sequence;
		if (alive)
			continue;
		of->created_policy = 0;
		if (vpc != NULL && vpc->workspace_slot == of->workspace_slot &&
			tables->egress_slots[egress->slot].born <= vpc->born)
			of->created_policy = vpc->born - 1;
		else if (tables->egress_slots[egress->slot].born != UINT32_MAX)
			of->created_policy = tables->egress_slots[egress->slot].born - 1;
	}
	search->config = to;
	shard->stale_sequence = tables->sequence - 1;
	shard->limits_sequence = tables->sequence; /* there are no limits here */
	shard->stale_at = shard->sessions_max;
}

/* ---- the search ---- */

enum { OPERATIONS_OUT = 4 };

static unsigned operations_in(const struct search *search)
{
	return 2 * search->ports * 2 * 2;
}

static const char *operation_text(const struct search *search, unsigned operation, char text[80])
{
	static const char *const changes[] = {"VNI 1 goes to the next", "VNI 1 goes to the one after next",
		"VNI 2 comes or goes", "X goes to the other", "X drains or is back", "half a timeout passes",
		"upkeep reviews"};
	if (operation < OPERATIONS_OUT) {
		snprintf(text, 80, "VNI %u sends to remote %u", operation / 2 + 1, operation % 2);
		return text;
	}
	operation -= OPERATIONS_OUT;
	if (operation >= operations_in(search))
		return changes[operation - operations_in(search)];
	snprintf(text, 80, "remote %u sends %s to %s port %u", operation % 2,
		operation / 2 % 2 != 0 ? "an ICMP error" : "an answer", operation / 4 < search->ports ? "X" : "Y",
		operation / 4 % search->ports);
	return text;
}

/* True when the core had a choice: then others are to be tried. */
static bool operate(struct search *search, unsigned operation)
{
	if (operation < OPERATIONS_OUT)
		return goes_out(search, operation / 2 + 1, remote_of(operation % 2));
	operation -= OPERATIONS_OUT;
	if (operation < operations_in(search)) {
		comes_in(search, operation / 4 < search->ports ? IP_X : IP_Y, operation / 4 % search->ports,
			remote_of(operation % 2), operation / 2 % 2 != 0);
		return false;
	}
	operation -= operations_in(search);
	if (operation < CHANGES)
		policy_changes(search, operation);
	else if (operation == CHANGES)
		half_a_timeout(search);
	else
		review(search);
	return false;
}

static void trace_print(const struct search *search, uint32_t number, unsigned operation)
{
	unsigned path[256], length = 0;
	char text[80];
	for (path[length++] = operation; number != 0 && length < 256; number = search->states[number].from)
		path[length++] = search->states[number].operation;
	while (length > 0)
		printf("#   %s\n", operation_text(search, path[--length], text));
}

static bool expand(struct search *search, uint32_t number)
{
	static uint8_t image[IMAGE_MAX_BYTES];
	struct state *state = &search->states[number];
	image_expand(&search->image, state->image, image);
	free(state->image);
	state->image = NULL;
	for (unsigned operation = 0; operation < OPERATIONS_OUT + operations_in(search) + CHANGES + 2; operation++) {
		bool more = true;
		for (unsigned seed = 0; seed < 4 * search->ports && more; seed++) {
			image_put(&search->image, image);
			memcpy(search->ghosts, search->states[number].ghosts, sizeof(search->ghosts));
			search->config = search->states[number].key.rest >> 1 & 31;
			search->world->shard->port_map_ns = 0; /* time stands still: no limit to the making of maps */
			memcpy(search->world->shard->random_state, search->seeds[seed], sizeof(search->seeds[seed]));
			more = operate(search, operation);
			state_add(search, number, operation);
			if (search->problem == NULL)
				continue;
			printf("# %s:\n", search->problem);
			trace_print(search, number, operation);
			return false;
		}
	}
	return true;
}

static struct policy_tables *tables_build(const struct world *world, struct identities *identities, struct config of)
{
	static uint64_t block[WORLD_BLOCK_MAX / 8];
	static struct world_draft draft;
	char text[NAT_TEXT_SIZE_BYTES];
	draft = world->draft;
	draft_of(&draft, of);
	const size_t size = world_compile(&draft, 1, block, sizeof(block));
	const struct policy_snapshot *snapshot = (const void *)block;
	void *memory = aligned_alloc(64, (policy_tables_size(snapshot) + 63) & ~(size_t)63);
	if (memory == NULL || !policy_snapshot_check(block, size, text))
		abort();
	memset(memory, 0, policy_tables_size(snapshot));
	return policy_tables_build(memory, identities, snapshot, text);
}

/* One table per policy, each grown out of the one before by real changes; then one more per change from each. */
static void tables_find(struct search *search)
{
	struct identities *identities = search->world->identities;
	struct identities *copy = malloc(identities_size()), *kept[CONFIGS] = {NULL};
	unsigned queue[CONFIGS], head = 0, tail = 0;
	const unsigned first = config_number((struct config){VNI_ACME, VNI_GLOBEX, VNI_ACME, 0});
	if (copy == NULL)
		abort();
	search->tables[first] = tables_build(search->world, identities, config_of(first));
	kept[first] = malloc(identities_size());
	memcpy(kept[first], identities, identities_size());
	for (queue[tail++] = first; head < tail; head++) {
		const unsigned from = queue[head];
		for (unsigned change = 0; change < CHANGES; change++) {
			const struct config of = config_change(config_of(from), change);
			const unsigned to = config_number(of);
			memcpy(copy, kept[from], identities_size());
			search->changed[from][change] = tables_build(search->world, copy, of);
			search->changed_to[from][change] = (uint8_t)to;
			if (search->tables[to] != NULL)
				continue;
			search->tables[to] = search->changed[from][change];
			kept[to] = malloc(identities_size());
			memcpy(kept[to], copy, identities_size());
			queue[tail++] = to;
		}
	}
	search->config = first;
	for (unsigned c = 0; c < CONFIGS; c++)
		free(kept[c]);
	free(copy);
}

int main(int argc, char **argv)
{
	static struct search search;
	search.ports = argc == 3 && strcmp(argv[1], "--ports") == 0 ? (unsigned)strtoul(argv[2], NULL, 0) : 2;
	if ((argc != 1 && argc != 3) || search.ports == 0 || search.ports > PORTS_MAX) {
		fprintf(stderr, "usage: exhaustive [--ports 1..%u]\n", PORTS_MAX);
		return 2;
	}
	struct world *world = world_new(1024, 0, 1, 4);
	search.world = world;
	world->shard->port_count = (uint16_t)search.ports;
	world_adjacency(world);
	tables_find(&search);
	search.states = malloc(STATES_MAX * sizeof(struct state));
	search.buckets = calloc(2 * STATES_MAX, sizeof(uint32_t));
	if (search.states == NULL || search.buckets == NULL)
		abort();
	for (unsigned seed = 0; seed < SEEDS_MAX; seed++)
		for (unsigned word = 0; word < 2; word++)
			search.seeds[seed][word] = hash_mix(seed * 2 + word + 1);
	world->shard->stale_sequence = world->shard->limits_sequence = tables_now(&search)->sequence;
	image_begin(&search.image, world);
	printf("TAP version 13\n1..1\n");
	state_add(&search, 0, 0);
	bool fine = true;
	while (fine && search.expanded < search.state_count)
		fine = expand(&search, search.expanded++);
	printf("# %u states, %llu transitions\n", search.state_count, (unsigned long long)search.transitions);
	printf("%sok 1 - in_every_state_of_a_tiny_gateway_each_tenant_is_alone\n", fine ? "" : "not ");
	return fine ? 0 : 1;
}
