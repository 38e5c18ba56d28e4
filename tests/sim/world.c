/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/nat/fragment.h"

static void *zeroed(size_t size_bytes)
{
	size_bytes = (size_bytes + 4095) & ~(size_t)4095;
	void *memory = aligned_alloc(4096, size_bytes);
	if (memory == NULL)
		abort();
	memset(memory, 0, size_bytes);
	return memory;
}

struct world_frame *world_frame_new(struct world *world, unsigned in_port, const uint8_t *bytes, uint32_t length_bytes)
{
	struct world_frame *frame = world->free_frames;
	if (frame == NULL)
		return NULL;
	world->free_frames = frame->next;
	world->frames_used++;
	frame->handle = 0;
	frame->packet = (struct packet){
		.data = frame->buffer + WORLD_HEADROOM,
		.owner = frame,
		.length_bytes = (uint16_t)length_bytes,
		.headroom_bytes = WORLD_HEADROOM,
		.in_port = (uint8_t)in_port,
	};
	memcpy(frame->packet.data, bytes, length_bytes < WORLD_FRAME_MAX ? length_bytes : WORLD_FRAME_MAX);
	return frame;
}

void world_frame_free(struct world *world, struct world_frame *frame)
{
	frame->next = world->free_frames;
	world->free_frames = frame;
	world->frames_used--;
}

static struct packet *spare_packet(void *context)
{
	struct world_frame *frame = world_frame_new(context, PORT_INSIDE, (const uint8_t *)"", 0);
	return frame != NULL ? &frame->packet : NULL;
}

struct world *world_new(uint32_t sessions_max, uint32_t shard_index, uint32_t shard_count, uint64_t seed)
{
	struct world *world = zeroed(sizeof(*world));
	world->identities = zeroed(identities_size());
	world->counters_bytes = sizeof(struct counters) + sizeof(struct counters_shard);
	world->counters = zeroed(world->counters_bytes);
	world->sessions = zeroed(sessions_max * sizeof(struct session));
	world->frames = malloc(WORLD_FRAMES * sizeof(struct world_frame));
	if (world->frames == NULL)
		abort();
	world->config.sessions_max = sessions_max;
	world->shard_bytes = nat_shard_size(&world->config);
	world->shard = zeroed(world->shard_bytes);
	world_restart(world, shard_index, shard_count, seed);
	return world;
}

/* All of it but the datagrams of fragments, which are most of it, and are written anew whole when they are taken. */
static void shard_clear(struct world *world)
{
	uint8_t *memory = (uint8_t *)world->shard;
	uint8_t *datagrams = (uint8_t *)world->shard->fragments.datagrams;
	if (datagrams == NULL)
		return; /* fresh memory */
	uint8_t *behind = datagrams + DATAGRAMS_MAX * sizeof(struct datagram);
	memset(behind, 0, world->shard_bytes - (size_t)(behind - memory));
	memset(memory, 0, (size_t)(datagrams - memory));
}

void world_restart(struct world *world, uint32_t shard_index, uint32_t shard_count, uint64_t seed)
{
	world->identities->sequence = 0; /* as if it were zeroed: the first use of it sets all up */
	memset(world->counters, 0, world->counters_bytes);
	world->counters->shard_count = 1;
	world->counts = &world->counters->shards[0];
	memset(world->sessions, 0, world->config.sessions_max * sizeof(struct session));
	world->now_ns = 1000 * WORLD_SECOND;
	world->generation = 0;
	world->view = (struct nat_view){NULL, NULL};
	world->config = (struct nat_config){
		.shard_index = shard_index,
		.shard_count = shard_count,
		.sessions_max = world->config.sessions_max,
		.now_ns = world->now_ns,
		.sessions = world->sessions,
		.counters = world->counts,
		.spare = spare_packet,
		.spare_context = world,
	};
	if (world->free_frames == NULL || world->frames_used != 0) { /* else all are there, in some order */
		world->free_frames = NULL;
		world->frames_used = 0;
		for (unsigned i = 0; i < WORLD_FRAMES; i++) {
			world->frames[i].next = world->free_frames;
			world->free_frames = &world->frames[i];
		}
	}
	for (unsigned i = 0; i < sizeof(world->config.secret); i++) {
		seed = seed * 6364136223846793005u + 1442695040888963407u;
		world->config.secret[i] = (uint8_t)(seed >> 56);
	}
	shard_clear(world);
	if (nat_shard_init(world->shard, &world->config) == NULL)
		abort();
	world_draft_default(&world->draft);
	world_adjacency_default(world);
}

void world_take_over(struct world *world, struct session *sessions, struct identities *identities)
{
	memset(world->counters, 0, world->counters_bytes);
	world->counters->shard_count = 1;
	world->identities = identities;
	world->view = (struct nat_view){NULL, NULL};
	world->config.now_ns = world->now_ns;
	world->config.sessions = sessions;
	world->config.recover = true;
	world->config.identities = identities;
	shard_clear(world);
	if (nat_shard_init(world->shard, &world->config) == NULL)
		abort();
}

void world_free(struct world *world)
{
	free(world->tables[0]);
	free(world->tables[1]);
	free(world->adjacency_tables);
	free(world->shard);
	free(world->sessions);
	free(world->counters);
	free(world->identities);
	free(world->frames);
	free(world);
}

void world_draft_default(struct world_draft *draft)
{
	memset(draft, 0, sizeof(*draft));
	draft->header.magic = POLICY_MAGIC;
	draft->header.version = POLICY_VERSION;
	draft->header.encapsulation = POLICY_ENCAPSULATION_VXLAN;
	draft->header.vxlan_udp_port = 4789;
	draft->vteps[0] = (struct policy_vtep_prefix){WORLD_IP(10, 100, 0, 0), 24};
	draft->counts[POLICY_VTEP_PREFIXES] = 1;
	snprintf(draft->workspaces[0].id, ID_SIZE_BYTES, "w0");
	draft->workspaces[0].timers = (struct policy_timers){7440, 240, 30, 300, 30, 60};
	draft->workspaces[0].mapping_udp = POLICY_MAPPING_ENDPOINT_INDEPENDENT;
	draft->counts[POLICY_WORKSPACES] = 1;
}

void world_adjacency_default(struct world *world)
{
	world->adjacency = (struct world_adjacency){
		.header =
			{
				.magic = ADJACENCY_MAGIC,
				.version = ADJACENCY_VERSION,
				.size_bytes = sizeof(struct world_adjacency),
				.ports =
					{
						{{2, 0, 0, 0, 1, 1}, 1, 0, WORLD_GATEWAY_INSIDE, 1500},
						{{2, 0, 0, 0, 1, 2}, 1, 0, WORLD_GATEWAY_OUTSIDE, 1500},
					},
				.next_hops = {offsetof(struct world_adjacency, next_hops), 7,
					sizeof(struct adjacency_next_hop)},
				.routes = {offsetof(struct world_adjacency, routes), 4, sizeof(struct adjacency_route)},
				.groups = {offsetof(struct world_adjacency, groups), 2, sizeof(struct adjacency_group)},
			},
		.next_hops =
			{
				{{2, 0, 0, 0, 2, 1}, 1, PORT_INSIDE, WORLD_IP(10, 100, 0, 2), 0},
				{{2, 0, 0, 0, 2, 2}, 1, PORT_INSIDE, WORLD_IP(10, 100, 0, 3), 0},
				{{2, 0, 0, 0, 2, 3}, 1, PORT_INSIDE, WORLD_IP(10, 100, 0, 4), 0},
				{{2, 0, 0, 0, 3, 1}, 1, PORT_OUTSIDE, WORLD_IP(198, 51, 100, 1), 0},
				/* Of groups only: two more routers outside, one inside. */
				{{2, 0, 0, 0, 3, 2}, 1, PORT_OUTSIDE, WORLD_IP(198, 51, 100, 3), 0},
				{{2, 0, 0, 0, 3, 3}, 1, PORT_OUTSIDE, WORLD_IP(198, 51, 100, 4), 1300},
				{{2, 0, 0, 0, 2, 4}, 1, PORT_INSIDE, WORLD_IP(10, 100, 0, 5), 0},
			},
		.routes =
			{
				{WORLD_IP(10, 100, 0, 2), 32, PORT_INSIDE, 0, 0},
				{WORLD_IP(10, 100, 0, 3), 32, PORT_INSIDE, 0, 1},
				{WORLD_IP(10, 100, 0, 4), 32, PORT_INSIDE, 0, 2},
				{0, 0, PORT_OUTSIDE, 0, 3},
			},
	};
}

size_t world_compile(const struct world_draft *draft, uint64_t generation, void *ret_block, size_t block_bytes)
{
	const struct {
		const void *records;
		uint32_t size_bytes;
	} tables[POLICY_TABLE_COUNT] = {
		[POLICY_WORKSPACES] = {draft->workspaces, sizeof(draft->workspaces[0])},
		[POLICY_VPCS] = {draft->vpcs, sizeof(draft->vpcs[0])},
		[POLICY_CIDRS] = {draft->cidrs, sizeof(draft->cidrs[0])},
		[POLICY_EGRESS_IPS] = {draft->egress_ips, sizeof(draft->egress_ips[0])},
		[POLICY_WORKERS] = {draft->workers, sizeof(draft->workers[0])},
		[POLICY_RULES] = {draft->rules, sizeof(draft->rules[0])},
		[POLICY_VTEP_PREFIXES] = {draft->vteps, sizeof(draft->vteps[0])},
	};
	struct policy_snapshot *snapshot = ret_block;
	*snapshot = draft->header;
	size_t at = sizeof(*snapshot);
	for (unsigned id = 0; id < POLICY_TABLE_COUNT; id++) {
		const size_t length_bytes = (size_t)draft->counts[id] * tables[id].size_bytes;
		if (at + length_bytes + 8 > block_bytes)
			abort();
		snapshot->tables[id] = (struct policy_table){at, draft->counts[id], tables[id].size_bytes};
		memcpy((uint8_t *)ret_block + at, tables[id].records, length_bytes);
		at = (at + length_bytes + 7) & ~(size_t)7;
	}
	snapshot->size_bytes = at;
	snapshot->generation = generation;
	return at;
}

const struct policy_snapshot *world_policy(struct world *world)
{
	char text[NAT_TEXT_SIZE_BYTES] = "";
	memset(world->block, 0, world->block_bytes);
	const size_t size_bytes = world_compile(&world->draft, ++world->generation, world->block, sizeof(world->block));
	const struct policy_snapshot *snapshot = (const void *)world->block;
	world->block_bytes = size_bytes;
	if (!policy_snapshot_check(snapshot, size_bytes, text)) {
		fprintf(stderr, "policy: %s\n", text);
		abort();
	}
	const size_t tables_bytes = policy_tables_size(snapshot);
	void *spare = world->tables[1];
	size_t spare_bytes = world->tables_bytes[1];
	if (tables_bytes > spare_bytes) {
		free(spare);
		spare_bytes = tables_bytes + 65536;
		spare = zeroed(spare_bytes);
	}
	memset(spare, 0, tables_bytes);
	world->view.policy = policy_tables_build(spare, world->identities, snapshot, text);
	if (world->view.policy == NULL) {
		fprintf(stderr, "policy: %s\n", text);
		abort();
	}
	world->tables[1] = world->tables[0];
	world->tables_bytes[1] = world->tables_bytes[0];
	world->tables[0] = spare;
	world->tables_bytes[0] = spare_bytes;
	identities_publish(world->identities, world->counters);
	return snapshot;
}

const struct adjacency_snapshot *world_adjacency(struct world *world)
{
	char text[NAT_TEXT_SIZE_BYTES] = "";
	struct adjacency_snapshot *snapshot = &world->adjacency.header;
	snapshot->generation = ++world->generation;
	if (!adjacency_snapshot_check(snapshot, sizeof(world->adjacency), text)) {
		fprintf(stderr, "adjacency: %s\n", text);
		abort();
	}
	const size_t tables_bytes = adjacency_tables_size(snapshot);
	if (tables_bytes > world->adjacency_bytes) {
		free(world->adjacency_tables);
		world->adjacency_tables = zeroed(tables_bytes);
		world->adjacency_bytes = tables_bytes;
	}
	memset(world->adjacency_tables, 0, tables_bytes);
	world->view.adjacency = adjacency_tables_build(world->adjacency_tables, snapshot);
	return snapshot;
}

void world_process(struct world *world, struct world_frame *const frames[], uint32_t count)
{
	struct packet *packets[NAT_BATCH_MAX] = {NULL};
	for (uint32_t i = 0; i < count; i++)
		packets[i] = &frames[i]->packet;
	nat_process(world->shard, &world->view, packets, count, world->now_ns);
	for (uint32_t i = 0; i < count; i++)
		if (packets[i]->verdict == PACKET_FORWARD)
			nat_count_tx(world->shard, packets[i]->out_port, 1, packets[i]->length_bytes);
}

struct world_frame *world_take(struct world *world)
{
	struct packet *packet = nat_take(world->shard);
	if (packet == NULL)
		return NULL;
	if (packet->verdict == PACKET_FORWARD)
		nat_count_tx(world->shard, packet->out_port, 1, packet->length_bytes);
	return packet->owner;
}

const char *world_law(const struct world *world)
{
	const struct counters_shard *counts = world->counts;
	uint64_t in = counts->generated, out = counts->held + counts->handed_over + counts->absorbed;
	for (unsigned port = 0; port < PORT_COUNT; port++) {
		in += counts->ports[port].rx_packets;
		out += counts->ports[port].tx_packets;
		for (unsigned reason = 0; reason < DROP_REASON_COUNT; reason++)
			out += counts->drops[port][reason];
	}
	if (counts->guard_violations != 0)
		return "the isolation guard had to stop a packet";
	return in == out ? NULL : "rx = tx + drops + held + handed over + absorbed - generated does not hold";
}

static const char *index_empty(const struct index *index)
{
	if (index->count != 0)
		return "an index has entries";
	for (uint32_t bucket = 0; bucket <= index->mask; bucket++) {
		if (index->buckets[bucket].overflow != 0)
			return "an index bucket has overflow";
		for (unsigned way = 0; way < INDEX_WAYS; way++)
			if (index->buckets[bucket].tags[way] != 0)
				return "an index bucket has a tag";
	}
	return NULL;
}

const char *world_empty(const struct world *world)
{
	const struct nat_shard *shard = world->shard;
	if (world->counts->sessions_active != 0 || world->counts->held != 0)
		return "sessions_active or held is not 0";
	if (world->counts->sessions_created + nat_recovered(shard) !=
		world->counts->sessions_expired + world->counts->sessions_stale)
		return "sessions created or taken over are not those expired and stale";
	for (uint32_t i = 0; i < shard->sessions_max; i++)
		if (shard->sessions[i].state != SESSION_FREE || shard->deadlines[i] != UINT32_MAX)
			return "a session record or a deadline is in use";
	uint32_t free_count = 0;
	for (uint32_t at = shard->free_session; at != INDEX_NONE && free_count <= shard->sessions_max; free_count++)
		at = shard->sessions[at].next;
	if (free_count != shard->sessions_max)
		return "the free list lost a record";
	for (uint32_t slot = 0; slot < WORKSPACE_COUNT_MAX; slot++)
		if (shard->workspaces[slot].sessions != 0 || shard->workspaces[slot].half_open != 0 ||
			world->counts->workspaces[slot].sessions_active != 0)
			return "a workspace has sessions or half-open ones";
	if (shard->port_maps_used != 0)
		return "a port map is in use";
	if (shard->fragments.held != 0 || shard->fragments.index.count != 0)
		return "a fragment or a datagram is still there";
	if (world->frames_used != 0)
		return "a packet did not come back";
	const char *left = index_empty(&shard->inside);
	return left != NULL ? left : index_empty(&shard->outside);
}
