/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as damage to a session file that a process has left, and another process that takes it over (P5): header,
 * identities and records. What the check lets pass is recovered under a new policy and has packets to translate.
 * Checked: memory (ASan, UBSan), own traps, P1 and P2 by the policy, the conservation law, and that nothing is left when
 * time has passed.
 *
 * Byte 0 says which policy the new process gets: bit 0 acme's IP moves to globex and the other way round, bit 1 globex's
 * VPC is another one, bit 2 acme's VPC lists its workers, bit 3 VTEPs of the old ones are trusted no more, bit 4 the
 * clock has stood still meanwhile, bits 5 to 7 all set: the file is opened once more; else what has been mapped is only
 * checked, which takes a tenth of the time. Then come pieces of damage (struct damage).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/ipc/sessions_file.h"
#include "dataplane/nat/identity.h"
#include "tests/sim/tenants.h"

enum { RECORDS = 1024, REMOTES = 3, SESSIONS = 32, DAMAGE_MAX = 256 };
enum { SWAP_IPS = 1, OTHER_VPC = 2, LISTED = 4, DISTRUST = 8, SAME_TIME = 16, REOPEN = 0xe0 };

/* One piece of damage, of four bytes; RECORD is followed by a whole record. */
enum { HEADER, IDENTITIES, BYTE, FIELD, COPY, SWAP, RECORD, STATE, KINDS };

struct left {
	struct world *world; /* the first process, and then each next one */
	struct world_draft draft;
	struct sessions_file_map map; /* the file as it was left, and a copy of it */
	uint8_t *image;
	uint64_t now_ns;
};

static void send(struct world *world, unsigned in_port, const struct tenants_packet *of)
{
	uint8_t bytes[256];
	const uint32_t length_bytes = tenants_frame(false, in_port, of, bytes);
	const struct wire_port port = {in_port == PORT_INSIDE, true, 4789, 0, 0};
	const struct wire in = wire_read(&port, bytes, length_bytes);
	struct world_frame *frame = world_frame_new(world, in_port, bytes, length_bytes);
	world_process(world, (struct world_frame *const[]){frame}, 1);
	if (frame->packet.verdict == PACKET_FORWARD)
		tenants_isolated(world, &frame->packet, &in);
	world_frame_free(world, frame);
	for (struct world_frame *more; (more = world_take(world)) != NULL;)
		world_frame_free(world, more);
}

/* Sessions of all kinds: both tenants, all protocols, several remotes of one mapping. */
static void sessions_open(struct world *world)
{
	static const uint8_t protocols[] = {WIRE_TCP, WIRE_UDP, WIRE_ICMP};
	for (unsigned i = 0; i < SESSIONS / 2; i++)
		for (unsigned tenant = 0; tenant < TENANTS; tenant++) {
			const uint8_t protocol = protocols[i % 3];
			const struct tenants_packet of = {protocol, tenant, TENANTS_WORKER + i / 9,
				TENANTS_REMOTE + i / 3 % REMOTES, TENANTS_PORT,
				protocol == WIRE_ICMP ? 0 : TENANTS_REMOTE_PORT};
			send(world, PORT_INSIDE, &of);
		}
	tenants_require(world->counts->sessions_active == SESSIONS, "an ordinary session was not opened");
}

static struct left *left_make(void)
{
	static struct left left;
	char text[NAT_TEXT_SIZE_BYTES];
	left.world = tenants_world(false);
	left.draft = left.world->draft;
	(void)remove("./" SESSIONS_FILE_NAME);
	tenants_require(sessions_file_create(".", 1, RECORDS, &left.map, text), text);
	free(left.world->identities); /* those of the file are taken instead */
	world_take_over(left.world, sessions_file_shard(&left.map, 0), sessions_file_identities(&left.map, 0));
	world_policy(left.world);
	world_adjacency(left.world);
	sessions_open(left.world);
	left.now_ns = left.world->now_ns;
	left.image = malloc(left.map.size_bytes);
	tenants_require(left.image != NULL, "no memory");
	memcpy(left.image, left.map.file, left.map.size_bytes);
	return &left;
}

/* Of each piece: what, and three bytes that say where and how. */
static void damage(const struct sessions_file_map *map, const uint8_t *data, size_t size)
{
	struct session *records = (struct session *)((uint8_t *)map->file + map->file->shard_offset_bytes[0]);
	uint8_t *identities = (uint8_t *)map->file + map->file->identities_offset_bytes[0];
	for (unsigned count = 0; size >= 4 && count < DAMAGE_MAX; count++) {
		const uint8_t kind = data[0] % KINDS, a = data[1], b = data[2], c = data[3];
		uint8_t *record = (uint8_t *)&records[a % (SESSIONS + 8)];
		uint8_t *other = (uint8_t *)&records[b % (SESSIONS + 8)];
		struct session whole;
		data += 4;
		size -= 4;
		if (kind == HEADER) {
			((uint8_t *)map->file)[(a * 256u + b) % sizeof(struct sessions_file)] ^= c;
		} else if (kind == IDENTITIES) {
			identities[(a * 256u + b) % identities_size()] ^= c;
		} else if (kind == BYTE) {
			record[b % sizeof(struct session)] = c;
		} else if (kind == FIELD) {
			memcpy(record + c % 16 * 4, other + c % 16 * 4, 4);
		} else if (kind == COPY) {
			memcpy(record, other, sizeof(struct session));
		} else if (kind == SWAP) {
			memcpy(&whole, record, sizeof(whole));
			memcpy(record, other, sizeof(whole));
			memcpy(other, &whole, sizeof(whole));
		} else if (kind == STATE) {
			record[offsetof(struct session, state)] = b % (SESSION_STATE_COUNT + 2);
			record[offsetof(struct session, flags)] = c;
		} else if (size >= sizeof(struct session)) {
			memcpy(record, data, sizeof(struct session));
			data += sizeof(struct session);
			size -= sizeof(struct session);
		}
	}
	/* With the real limits every number of 16 bits is a slot; the fuzzers' are smaller. */
	for (uint32_t i = 0; i < SESSIONS + 8; i++)
		records[i].egress_slot %= EGRESS_IP_COUNT_MAX;
}

static void policy_change(struct world *world, const struct world_draft *before, uint8_t how)
{
	struct world_draft *draft = &world->draft;
	*draft = *before;
	for (unsigned i = 0; i < TENANTS && (how & SWAP_IPS); i++)
		draft->egress_ips[i].address = tenants_ip(1 - i);
	if (how & OTHER_VPC)
		draft->vpcs[1].incarnation++;
	if (how & LISTED) {
		draft->vpcs[0].flags = POLICY_VPC_WORKERS_LISTED;
		draft->workers[0] = (struct policy_worker){.address = TENANTS_WORKER};
		draft->counts[POLICY_WORKERS] = 1;
	}
	if (how & DISTRUST)
		draft->vteps[0] = (struct policy_vtep_prefix){WORLD_IP(10, 100, 1, 0), 24};
	world_policy(world);
	world_adjacency(world);
}

/* Each session's worker goes on, and its remote answers; what is read of the records is what any reader may see. */
static void traffic(struct world *world)
{
	for (uint32_t i = 0; i < SESSIONS + 8; i++) {
		const struct session of = world->shard->sessions[i];
		const uint32_t tenant = (of.vni_protocol >> 8) - TENANTS_VNI;
		const uint8_t protocol = (uint8_t)of.vni_protocol;
		if (of.state == SESSION_FREE)
			continue;
		const bool icmp = protocol == WIRE_ICMP;
		const struct tenants_packet out = {
			protocol, tenant, of.inside_address, of.remote_address, of.inside_port, of.remote_port};
		const struct tenants_packet in = {protocol, tenant, of.remote_address, of.egress_address,
			icmp ? 0 : of.remote_port, of.egress_port};
		send(world, PORT_OUTSIDE, &in);
		send(world, PORT_INSIDE, &out);
		send(world, PORT_OUTSIDE, &in);
	}
}

static void ends_empty(struct world *world)
{
	for (unsigned leap = 0; leap < 2; leap++) {
		world->now_ns += 10000 * WORLD_SECOND;
		for (unsigned calls = 0; calls < 140 && world->counts->sessions_active > 0; calls++) {
			nat_upkeep(world->shard, &world->view, world->now_ns);
			for (struct world_frame *more; (more = world_take(world)) != NULL;)
				world_frame_free(world, more);
		}
	}
	const char *problem = world_law(world);
	if (problem == NULL)
		problem = world_empty(world);
	tenants_require(problem == NULL, problem);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct left *left;
	char text[NAT_TEXT_SIZE_BYTES];
	struct sessions_file_map map;
	const char *why;
	if (size < 1)
		return 0;
	if (left == NULL)
		left = left_make();
	struct world *world = left->world;
	memcpy(left->map.file, left->image, left->map.size_bytes);
	damage(&left->map, data + 1, size - 1);
	map = left->map;
	const bool reopen = (data[0] & REOPEN) == REOPEN;
	const bool sound = sessions_file_sound(map.file, 1, RECORDS, map.size_bytes, &why);
	if (reopen && sessions_file_reopen(".", 1, RECORDS, &map, text) != sound)
		tenants_require(false, "what is sound is not opened, or the other way round");
	if (!sound) {
		tenants_require(!reopen || (text[0] != '\0' && memchr(text, '\0', sizeof(text)) != NULL),
			"no word of the reason");
		return 0;
	}
	const uint32_t fresh = 1 - map.file->identities_active;
	memcpy(sessions_file_identities(&map, fresh), sessions_file_identities(&map, 1 - fresh), identities_size());
	world->now_ns = left->now_ns + (data[0] & SAME_TIME ? 0 : 3 * WORLD_SECOND);
	world_take_over(world, sessions_file_shard(&map, 0), sessions_file_identities(&map, fresh));
	policy_change(world, &left->draft, data[0]);
	nat_upkeep(world->shard, &world->view, world->now_ns);
	traffic(world);
	ends_empty(world);
	if (reopen)
		sessions_file_close(&map);
	return 0;
}
