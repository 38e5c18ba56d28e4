/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* How often it is asked whether anything is there that should have ended. */
enum { AUDIT_NS = 1000000000 / 16 };

/* traffic: inside, outside, icmp, garbage, unsolicited, fragments, delayed, inside ports, large, turnover */
const struct mix sim_mixes[MIXES] = {
	{"traffic", "ordinary_traffic_is_translated_as_the_oracle_says", {500, 380, 30, 5, 10, 10, 60, 200, 10, 100},
		{.workspaces = 3, .short_timers = true, .steady_objects = true, .shared = true}, 1024, 0, 1, 5000, 30},
	{"churn", "no_packet_meets_the_state_of_what_is_gone", {480, 380, 40, 5, 10, 20, 100, 20, 5, 190},
		{.workspaces = 4, .short_timers = true, .shared = true}, 1024, 0, 1, 150, 20},
	{"narrow", "ports_are_used_to_the_last_one_and_given_to_one_only", {550, 380, 20, 2, 10, 5, 60, 60, 2, 160},
		{.workspaces = 3, .short_timers = true}, 1024, 24, 1, 600, 15},
	{"full", "a_full_table_refuses_and_evicts_nobody", {700, 270, 10, 2, 5, 0, 20, 2000, 2, 400},
		{.workspaces = 2, .steady_objects = true}, 1024, 0, 16, 5000, 5},
	{"limits", "limits_hold_to_the_packet", {600, 330, 20, 2, 10, 10, 40, 40, 10, 190},
		{.workspaces = 4, .short_timers = true, .limits = true, .shared = true}, 1024, 0, 2, 600, 10},
	{"hostile", "hostile_input_is_dropped_for_the_right_reason", {200, 150, 200, 300, 60, 60, 150, 20, 20, 50},
		{.workspaces = 3, .short_timers = true}, 1024, 200, 1, 1500, 10},
	{"plain", "untunnelled_insides_are_translated_too", {480, 380, 40, 40, 10, 30, 80, 40, 10, 180},
		{.workspaces = 2, .short_timers = true, .plain = true}, 1024, 0, 2, 1500, 5},
	{"modes", "a_change_of_the_mapping_mode_mixes_nobody_up", {520, 400, 30, 5, 10, 10, 60, 40, 5, 120},
		{.workspaces = 2, .short_timers = true, .mapping_changes = true}, 1024, 40, 1, 400, 5},
};

static bool wrong(struct sim *sim, const char *problem)
{
	snprintf(sim->problem, sizeof(sim->problem), "after %llu packets, at %.3f s: %s",
		(unsigned long long)sim->packets, (double)sim->world->now_ns / 1e9, problem);
	return false;
}

void sim_trace_print(const struct sim *sim)
{
	const uint64_t count = sim->traced < TRACE ? sim->traced : TRACE;
	static const char *const verdicts[] = {"pending", "forward", "drop", "held"};
	for (uint64_t i = sim->traced - count; i < sim->traced; i++) {
		const struct trace *of = &sim->trace[i % TRACE];
		if (of->what != NULL) {
			printf("#   %.3f s: %s\n", (double)of->now_ns / 1e9, of->what);
			continue;
		}
		printf("#   %llu %s %u bytes -> %s %s; in: ", (unsigned long long)of->handle,
			of->in_port == PORT_INSIDE ? "inside" : "outside", of->length_bytes, verdicts[of->verdict],
			drop_reason_label(of->reason));
		for (uint32_t b = 0; b < of->length_bytes && b < sizeof(of->bytes); b++)
			printf("%02x", of->bytes[b]);
		printf("\n");
	}
}

static void trace_packet(struct sim *sim, const struct shot *shot, const struct packet *packet)
{
	struct trace *of = &sim->trace[sim->traced++ % TRACE];
	of->handle = sim->handle;
	of->what = NULL;
	of->in_port = shot->in_port;
	of->verdict = packet->verdict;
	of->reason = packet->drop_reason;
	of->length_bytes = shot->length_bytes;
	memcpy(of->bytes, shot->bytes, sizeof(of->bytes));
}

static void trace_note(struct sim *sim, const char *what)
{
	struct trace *of = &sim->trace[sim->traced++ % TRACE];
	of->now_ns = sim->world->now_ns;
	of->what = what;
}

static const char *isolation_outside(
	const struct sim *sim, const struct shot *shot, const struct wire *in, const struct packet *packet)
{
	const struct model *model = &sim->model;
	const bool inside = shot->in_port == PORT_INSIDE;
	const uint8_t *ip = packet->data + WIRE_ETHERNET;
	const int vpc = model_vpc_of(model, in->vni);
	/* Later fragments have no port: then of a shared address anybody's will do, and the oracle knows better. */
	const int owner = model_owner(model, wire_get32(ip + 12), ip);
	struct tag tag, last = {.workspace = UINT64_MAX};
	uint32_t at = 0;
	if (owner < 0)
		return "P1: it left with an address that is no egress IP";
	const unsigned workspace = model->ips[owner].workspace;
	if (inside && vpc >= 0 && shot->hairpin && packet->drop_reason != DROP_NONE)
		return NULL; /* an error about what came back, in the name of the address that it had gone to */
	if (inside && (vpc < 0 || !model_owns(model, wire_get32(ip + 12), model->vpcs[vpc].workspace)))
		return "P1: it left with another workspace's egress IP";
	for (; inside && traffic_tag(packet->data, packet->length_bytes, &at, &tag); last = tag)
		if (tag.workspace != last.workspace && !model_owns_life(model, wire_get32(ip + 12), tag.workspace))
			return "P1: another workspace's bytes left with this egress IP";
	if (inside && model_ip_port((unsigned)owner) != 0 && !model_portless(ip) &&
		model->vpcs[vpc].workspace != workspace)
		return "P1: it left with another workspace's ports of a shared egress IP";
	return NULL;
}

/* P1 and P2, by the bytes and the model alone. */
static const char *isolation(const struct sim *sim, const struct shot *shot, const struct packet *packet)
{
	const struct model *model = &sim->model;
	const bool inside = shot->in_port == PORT_INSIDE, tunnel = !model->plain;
	const struct wire_port port = {
		inside, tunnel, model->vxlan_port, model->vtep_address, model->plain ? model_vni(0) : 0};
	const struct wire in = wire_read(&port, shot->bytes, shot->length_bytes);
	if (in.flaw != DROP_NONE)
		return "something came out of a packet that says nothing";
	if (packet->out_port == PORT_OUTSIDE)
		return isolation_outside(sim, shot, &in, packet);
	const int to =
		tunnel ? model_vpc_of(model, wire_get32(packet->data + WIRE_ETHERNET + WIRE_IP + 8 + 4) / 256) : 0;
	if (to < 0)
		return "P2: it went into a tunnel that is no VPC's";
	const uint8_t *ip = packet->data + (tunnel ? WIRE_TUNNEL : WIRE_ETHERNET);
	const struct model_vpc *vpc = &model->vpcs[to];
	const bool hairpin = inside && packet->drop_reason == DROP_NONE;
	if (inside && !hairpin && to != model_vpc_of(model, in.vni))
		return "P2: an answer went to another VPC than it answers";
	if ((!inside || hairpin) && !model_owns(model, in.destination, vpc->workspace))
		return "P2: it went to another workspace than owns the address it came for";
	const int from = model_vpc_of(model, in.vni);
	if (hairpin && !model->hairpin_ever && (from < 0 || model->vpcs[from].workspace != vpc->workspace))
		return "P2: it went from one workspace to another although policy denies that";
	const struct tag own = model_tag(model, (unsigned)to, wire_get32(ip + 16));
	struct tag tag;
	for (uint32_t at = 0; !hairpin && traffic_tag(packet->data, packet->length_bytes, &at, &tag);) {
		if (!traffic_tags_equal(&tag, &own) && !model_same_vpc(model, &tag, (unsigned)to))
			return "P2: a reply reached somebody else than who asked";
	}
	return NULL;
}

static bool judge(struct sim *sim, const struct shot *shot, struct world_frame *const frames[], uint32_t count)
{
	static struct oracle_seen seen[WORLD_FRAMES];
	for (uint32_t i = 0; i < count; i++) {
		const struct packet *packet = &frames[i]->packet;
		seen[i] = (struct oracle_seen){
			.handle = frames[i]->handle,
			.forwarded = packet->verdict == PACKET_FORWARD,
			.held = packet->verdict == PACKET_HELD,
			.reason = packet->drop_reason,
			.out_port = packet->out_port,
			.bytes = packet->data,
			.length_bytes = packet->length_bytes,
		};
	}
	trace_packet(sim, shot, &frames[0]->packet);
	const char *problem = oracle_packet(sim->oracle, shot->in_port, shot->bytes, shot->length_bytes, seen, count);
	for (uint32_t i = 0; i < count && problem == NULL; i++)
		if (seen[i].forwarded)
			problem = isolation(sim, shot, &frames[i]->packet);
	const struct packet *first = &frames[0]->packet;
	if (shot->in_port == PORT_INSIDE && first->verdict == PACKET_FORWARD && first->out_port == PORT_OUTSIDE &&
		first->drop_reason == DROP_NONE && shot->view < 0)
		traffic_left(&sim->traffic, shot, first->data, first->length_bytes);
	return problem == NULL || wrong(sim, problem);
}

/* Which records are in use, so that what upkeep ends can be told; if anything has come or gone since the last time. */
static void note_used(struct sim *sim)
{
	const struct nat_shard *shard = sim->world->shard;
	const struct counters_shard *counts = sim->world->counts;
	const uint64_t events = counts->sessions_created + counts->sessions_expired + counts->sessions_stale;
	if (events != sim->session_events)
		for (uint32_t i = 0; i < shard->sessions_max; i++)
			sim->session_used[i] = shard->sessions[i].state != SESSION_FREE;
	sim->session_events = events;
	/* Datagrams end in upkeep alone: no other one can have taken the place of one that has gone. */
	if (shard->fragments.index.count != sim->datagram_count)
		for (uint32_t i = 0; i < DATAGRAMS_MAX; i++)
			sim->datagram_used[i] = shard->fragments.deadlines[i] != UINT32_MAX;
	sim->datagram_count = shard->fragments.index.count;
}

/* Runs a batch through the core, then each packet of it through the oracle. */
static bool process(struct sim *sim, uint32_t count)
{
	struct world *world = sim->world;
	static struct world_frame *frames[WORLD_FRAMES];
	uint32_t out_count = count;
	bool fine = true;
	for (uint32_t i = 0; i < count; i++) {
		const struct shot *shot = sim->batch[i];
		frames[i] = world_frame_new(world, shot->in_port, shot->bytes, shot->length_bytes);
		if (frames[i] == NULL)
			return wrong(sim, "the pool of packets is empty: some have not come back");
		frames[i]->handle = sim->handle + 1 + i;
	}
	/* The making of port maps is limited in time, which passes here in leaps: not what this is about. */
	world->shard->port_map_ns = 0;
	world_process(world, frames, count);
	for (struct world_frame *more; (more = world_take(world)) != NULL;)
		frames[out_count++] = more;
	if (count > 1 && out_count > count)
		return wrong(sim, "a batch of ordinary packets brought forth more packets");
	for (uint32_t i = 0; i < count && fine; i++) {
		sim->handle++;
		sim->packets++;
		fine = judge(sim, sim->batch[i], frames + i, count > 1 ? 1 : out_count);
	}
	for (uint32_t i = 0; i < out_count; i++)
		if (frames[i]->packet.verdict != PACKET_HELD)
			world_frame_free(world, frames[i]);
	if (!fine)
		return false;
	note_used(sim);
	const char *problem = world_law(world);
	if (problem == NULL && world->counts->sessions_active != oracle_session_count(sim->oracle))
		problem = "the core has another number of sessions than the oracle";
	return problem == NULL || wrong(sim, problem);
}

static bool upkeep_once(struct sim *sim)
{
	struct world *world = sim->world;
	const struct nat_shard *shard = world->shard;
	const struct fragments *fragments = &shard->fragments;
	const uint64_t ended = world->counts->sessions_expired + world->counts->sessions_stale;
	const uint32_t datagrams = fragments->index.count;
	nat_upkeep(world->shard, &world->view, world->now_ns);
	const char *problem = NULL;
	struct world_frame *made[WORLD_FRAMES];
	uint32_t made_count = 0;
	for (struct world_frame *frame; (frame = world_take(world)) != NULL;) {
		if (frame->handle == 0) {
			made[made_count++] = frame;
			continue;
		}
		const struct oracle_seen seen = {
			.handle = frame->handle,
			.forwarded = frame->packet.verdict == PACKET_FORWARD,
			.reason = frame->packet.drop_reason,
		};
		if (problem == NULL)
			problem = oracle_given_back(sim->oracle, &seen);
		world_frame_free(world, frame);
	}
	if (ended != world->counts->sessions_expired + world->counts->sessions_stale)
		for (uint32_t i = 0; i < shard->sessions_max && problem == NULL; i++)
			if (sim->session_used[i] && shard->sessions[i].state == SESSION_FREE)
				problem = oracle_ended(sim->oracle, &shard->sessions[i]);
	for (uint32_t i = 0; datagrams != fragments->index.count && i < DATAGRAMS_MAX && problem == NULL; i++) {
		const struct datagram *of = &fragments->datagrams[i];
		if (sim->datagram_used[i] && fragments->deadlines[i] == UINT32_MAX)
			problem = oracle_datagram_ended(
				sim->oracle, of->source, of->destination, of->vni, of->id, of->protocol);
	}
	note_used(sim);
	for (uint32_t i = 0; i < made_count; i++) {
		const struct packet *packet = &made[i]->packet;
		const struct oracle_seen seen = {
			.forwarded = true,
			.out_port = packet->out_port,
			.bytes = packet->data,
			.length_bytes = packet->length_bytes,
		};
		if (problem == NULL && packet->verdict == PACKET_FORWARD)
			problem = oracle_made(sim->oracle, &seen);
		world_frame_free(world, made[i]);
	}
	if (problem == NULL)
		problem = oracle_upkeep_over(sim->oracle);
	return problem == NULL || wrong(sim, problem);
}

static bool upkeep(struct sim *sim, unsigned calls)
{
	while (calls-- > 0)
		if (!upkeep_once(sim))
			return false;
	if (sim->world->now_ns < sim->audited_ns + AUDIT_NS)
		return true;
	sim->audited_ns = sim->world->now_ns;
	const char *problem = oracle_overdue(sim->oracle);
	return problem == NULL || wrong(sim, problem);
}

/* A loop runs thousands of times a second; a leap is followed by as many calls as a loop would make soon after. */
static bool time_passes(struct sim *sim)
{
	struct random *random = &sim->random;
	const uint32_t dice = random_below(random, 10000);
	uint64_t step_ns = random_below(random, 4000000);
	unsigned calls = 1 + random_below(random, 2);
	if (dice < 3) {
		step_ns = 365ull * 86400 * WORLD_SECOND / (1 + random_below(random, 100000));
		trace_note(sim, "the clock leaps");
		calls = 140;
	} else if (dice < 6) {
		trace_note(sim, "the clock goes back");
		const uint64_t now_ns = sim->world->now_ns;
		sim->world->now_ns = random_next(random) % now_ns;
		oracle_time(sim->oracle, sim->world->now_ns);
		if (!upkeep_once(sim))
			return false;
		sim->world->now_ns = now_ns;
	} else if (dice < 150) {
		step_ns = random_next(random) % (3 * WORLD_SECOND);
		calls = 140;
	} else if (dice < 2500) {
		step_ns = random_below(random, 100000000);
		calls = 2 + (unsigned)(step_ns / 8000000);
	}
	sim->world->now_ns += step_ns;
	oracle_time(sim->oracle, sim->world->now_ns);
	return upkeep(sim, calls);
}

static void policy_apply(struct sim *sim, const struct model *before)
{
	model_draft(&sim->model, before, &sim->world->draft);
	oracle_policy(sim->oracle, world_policy(sim->world));
	traffic_policy_changed(&sim->traffic);
}

/* Several next hops: for all that leaves, and for what goes to the first worker host. One may not be resolved. */
static void routes_spread(struct world_adjacency *adjacency, struct random *random)
{
	for (unsigned slot = 0; slot < ADJACENCY_GROUP_SLOTS; slot++) {
		adjacency->groups[0].next_hops[slot] = (uint16_t)(3 + random_below(random, 3));
		adjacency->groups[1].next_hops[slot] = random_one_in(random, 3) ? 6 : 0;
	}
	adjacency->routes[0].next_hop_index = ADJACENCY_GROUP | 1;
	adjacency->routes[3].next_hop_index = ADJACENCY_GROUP | 0;
	if (random_one_in(random, 6))
		adjacency->next_hops[4].resolved = 0;
}

static void adjacency_change(struct sim *sim)
{
	struct world *world = sim->world;
	struct random *random = &sim->random;
	world_adjacency_default(world);
	struct world_adjacency *adjacency = &world->adjacency;
	if (random_one_in(random, 2))
		adjacency->header.ports[PORT_OUTSIDE].mtu_bytes = 1200 + random_below(random, 300);
	if (random_one_in(random, 2))
		adjacency->header.ports[PORT_INSIDE].mtu_bytes = 1250 + random_below(random, 300);
	if (random_one_in(random, 3))
		adjacency->next_hops[3].mtu_bytes = 1100 + random_below(random, 300);
	if (random_one_in(random, 6))
		adjacency->next_hops[random_below(random, 4)].resolved = 0;
	if (random_one_in(random, 12))
		adjacency->header.ports[random_below(random, 2)].up = 0;
	if (random_one_in(random, 6))
		adjacency->routes[random_below(random, 4)].next_hop_index = ADJACENCY_UNREACHABLE;
	if (random_one_in(random, 4)) {
		adjacency->routes[adjacency->header.routes.count++] =
			(struct adjacency_route){WORLD_IP(192, 0, 2, 16), 28, PORT_OUTSIDE, 0, ADJACENCY_UNREACHABLE};
		adjacency->routes[adjacency->header.routes.count++] =
			(struct adjacency_route){WORLD_IP(192, 0, 2, 20), 32, PORT_OUTSIDE, 0, 3};
	}
	if (sim->model.plain)
		adjacency->routes[adjacency->header.routes.count++] =
			(struct adjacency_route){WORLD_IP(10, 0, 0, 0), 16, PORT_INSIDE, 0, 0};
	if (random_one_in(random, 2))
		routes_spread(adjacency, random);
	sim->broken = true;
	trace_note(sim, "the adjacency changes");
	oracle_adjacency(sim->oracle, world_adjacency(world));
}

/* The world changes; most of the time its adjacency comes back to what is ordinary soon after. */
static bool change(struct sim *sim)
{
	struct random *random = &sim->random;
	if (random_one_in(random, 60)) {
		trace_note(sim, "there is no policy");
		sim->world->view.policy = NULL;
		oracle_policy(sim->oracle, NULL);
		return true;
	}
	if (random_one_in(random, 12)) {
		adjacency_change(sim);
		return true;
	}
	if (sim->broken && random_one_in(random, 2)) {
		sim->broken = false;
		world_adjacency_default(sim->world);
		if (sim->model.plain) {
			struct world_adjacency *adjacency = &sim->world->adjacency;
			adjacency->routes[adjacency->header.routes.count++] =
				(struct adjacency_route){WORLD_IP(10, 0, 0, 0), 16, PORT_INSIDE, 0, 0};
		}
		oracle_adjacency(sim->oracle, world_adjacency(sim->world));
	}
	sim->before = sim->model;
	for (unsigned changes = 1 + random_below(random, 3); changes > 0; changes--)
		trace_note(sim, model_change(&sim->model, random, &sim->mix->model));
	policy_apply(sim, &sim->before);
	return upkeep(sim, random_one_in(random, 2) ? 0 : 6);
}

/*
 * A batch. Replies come first: the core looks up a whole batch before it makes sessions, so a reply in the batch of the
 * packet that opens its session would not find it; no remote can answer that fast. What must go alone waits for the
 * others to go.
 */
static uint32_t batch(struct sim *sim, uint64_t left)
{
	if (sim->waits) {
		sim->waits = false;
		sim->batch[0] = &sim->waiting;
		if (traffic_still_said(&sim->traffic, &sim->waiting))
			return 1;
	}
	uint32_t most = random_one_in(&sim->random, 3) ? 1 : 1 + random_below(&sim->random, NAT_BATCH_MAX);
	if (sim->mix->port_count != 0 && most > 8)
		most = 8; /* each may ask for several port maps */
	if (oracle_answers_scarce(sim->oracle))
		most = 1; /* the order in which a batch's answers are given is the core's own */
	most = most < left ? most : (uint32_t)left;
	uint32_t count = 0, ordered = 0;
	while (count < most && !sim->waits) {
		struct shot *shot = &sim->shots[count];
		traffic_next(&sim->traffic, shot);
		sim->waits = shot->alone && count > 0;
		if (sim->waits)
			shot_copy(&sim->waiting, shot);
		else
			count++;
		if (shot->alone)
			break;
	}
	for (unsigned port = PORT_COUNT; port-- > 0;)
		for (uint32_t i = 0; i < count; i++)
			if (sim->shots[i].in_port == port)
				sim->batch[ordered++] = &sim->shots[i];
	return count;
}

static bool silent(const struct world *world)
{
	return world->counts->sessions_active == 0 && world->shard->fragments.index.count == 0;
}

/* P10: when everybody has been silent long enough, nothing is left. */
static bool ends_empty(struct sim *sim)
{
	policy_apply(sim, &sim->before);
	for (unsigned i = 0; i < 3; i++) {
		sim->world->now_ns += 10000 * WORLD_SECOND;
		oracle_time(sim->oracle, sim->world->now_ns);
		for (unsigned calls = 0; calls < 140 && !silent(sim->world); calls++)
			if (!upkeep_once(sim))
				return false;
		if (!upkeep(sim, 0))
			return false;
	}
	const char *problem = world_empty(sim->world);
	if (problem == NULL && oracle_datagram_count(sim->oracle) != 0)
		problem = "the oracle still has a datagram";
	return problem == NULL || wrong(sim, problem);
}

bool sim_run(struct sim *sim, uint64_t packets)
{
	for (uint64_t next_change = 1; sim->packets < packets && !random_spent(&sim->random);) {
		const uint32_t count = batch(sim, packets - sim->packets);
		if (!process(sim, count) || !time_passes(sim))
			return false;
		if (sim->mix->packets_per_change != 0 && sim->packets >= next_change && !sim->waits) {
			next_change = sim->packets + 1 + random_below(&sim->random, 2 * sim->mix->packets_per_change);
			if (!change(sim))
				return false;
			if (sim->world->view.policy == NULL || sim->broken) /* not for long */
				next_change = sim->packets + 1 + random_below(&sim->random, 100);
		}
	}
	sim->before = sim->model;
	return ends_empty(sim);
}

struct sim *sim_new(const struct mix *mix, struct random random)
{
	struct sim *sim = calloc(1, sizeof(*sim));
	if (sim == NULL)
		abort();
	sim->world = world_new(mix->sessions_max, 0, 1, 0);
	sim->oracle = oracle_new(&(struct oracle_config){.sessions_max = mix->sessions_max, .shard_count = 1});
	sim_restart(sim, mix, random);
	return sim;
}

void sim_restart(struct sim *sim, const struct mix *mix, struct random random)
{
	memset(sim, 0, offsetof(struct sim, world));
	sim->mix = mix;
	sim->random = random;
	const uint32_t shard_index = random_below(&sim->random, mix->shard_count);
	struct world *world = sim->world;
	world_restart(world, shard_index, mix->shard_count, random_next(&sim->random));
	if (mix->port_count != 0)
		world->shard->port_count = (uint16_t)mix->port_count;
	const struct oracle_config config = {
		.sessions_max = mix->sessions_max,
		.port_first = world->shard->port_first,
		.port_count = world->shard->port_count,
		.shard_index = shard_index,
		.shard_count = mix->shard_count,
		.now_ns = world->now_ns,
		.records = world->sessions,
	};
	oracle_restart(sim->oracle, &config);
	model_init(&sim->model, &sim->random, &mix->model);
	sim->traffic.random = &sim->random;
	sim->traffic.model = &sim->model;
	sim->traffic.mix = &mix->traffic;
	policy_apply(sim, NULL);
	if (mix->model.plain)
		adjacency_change(sim);
	else
		oracle_adjacency(sim->oracle, world_adjacency(sim->world));
	traffic_init(&sim->traffic);
}

void sim_free(struct sim *sim)
{
	oracle_free(sim->oracle);
	world_free(sim->world);
	free(sim);
}
