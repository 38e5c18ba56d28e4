/* SPDX-License-Identifier: Apache-2.0 */
#include "dataplane/nat/fragment.h"
#include "dataplane/nat/layout.h"

#include <string.h>

#include "dataplane/nat/bytes.h"
#include "dataplane/nat/owner.h"
#include "dataplane/nat/session.h"
#include "dataplane/nat/stages.h"
#include "dataplane/nat/tally.h"

enum { SWEEP_PER_CALL = 64, BUDGETS = FRAGMENTS_POOL + 1 };

size_t fragments_size(void)
{
	return layout_lines(DATAGRAMS_MAX * sizeof(struct datagram)) +
	       index_bucket_count(DATAGRAMS_MAX) * sizeof(struct index_bucket) +
	       layout_lines(BUDGETS * sizeof(struct fragment_budget)) + DATAGRAMS_MAX * sizeof(uint32_t);
}

void fragments_init(struct fragments *fragments, void *memory)
{
	uint8_t *at = memory;
	fragments->datagrams = memory;
	at += layout_lines(DATAGRAMS_MAX * sizeof(struct datagram));
	index_init(&fragments->index, at, index_bucket_count(DATAGRAMS_MAX));
	at += index_bucket_count(DATAGRAMS_MAX) * sizeof(struct index_bucket);
	fragments->budgets = (struct fragment_budget *)at;
	at += layout_lines(BUDGETS * sizeof(struct fragment_budget));
	fragments->deadlines = (uint32_t *)at;
	memset(fragments->deadlines, 0xff, DATAGRAMS_MAX * sizeof(uint32_t));
	for (uint32_t i = 0; i < DATAGRAMS_MAX; i++)
		fragments->datagrams[i].next_free = i + 1 < DATAGRAMS_MAX ? i + 1 : INDEX_NONE;
}

struct datagram_search {
	const struct datagram *datagrams;
	const struct packet *packet;
	uint32_t vni;
	uint16_t id;
};

static uint16_t id_of(const struct packet *packet)
{
	return load_be16(packet->data + packet->ip_offset + IPV4_ID_OFFSET);
}

static uint32_t vni_of(const struct packet *packet)
{
	return packet->in_port == PORT_INSIDE ? packet->vni : 0;
}

static bool is_datagram(const void *context, uint32_t entry)
{
	const struct datagram_search *search = context;
	const struct datagram *datagram = &search->datagrams[entry];
	const struct packet *packet = search->packet;
	return datagram->source == packet->source && datagram->destination == packet->destination &&
	       datagram->vni == search->vni && datagram->id == search->id && datagram->protocol == packet->protocol;
}

static uint64_t datagram_hash(const struct nat_shard *shard, uint32_t source, uint32_t destination, uint32_t vni,
	uint16_t id, uint8_t protocol)
{
	return hash_one(&shard->secret,
		(struct hash_key){(uint64_t)source << 32 | destination, (uint64_t)(vni << 8 | protocol) << 32 | id});
}

static uint32_t datagram_find(const struct nat_shard *shard, const struct packet *packet, uint64_t *ret_hash)
{
	const struct datagram_search search = {shard->fragments.datagrams, packet, vni_of(packet), id_of(packet)};
	*ret_hash = datagram_hash(shard, packet->source, packet->destination, search.vni, search.id, packet->protocol);
	return index_find(&shard->fragments.index, *ret_hash, is_datagram, &search);
}

enum drop_reason fragment_owner(struct nat_shard *shard, struct packet *packet)
{
	uint64_t hash;
	packet->workspace_slot = WORKSPACE_NONE;
	if (!owner_has_ports(packet->protocol))
		return DROP_FRAGMENT; /* what has none has no part in a shared address */
	const uint32_t found = datagram_find(shard, packet, &hash);
	if (found == INDEX_NONE)
		return DROP_NONE;
	const struct datagram *datagram = &shard->fragments.datagrams[found];
	if (datagram->state == DATAGRAM_WAITING && datagram->workspace_slot != WORKSPACE_NONE)
		return DROP_FRAGMENT; /* its first piece came while the address was one workspace's alone */
	packet->workspace_slot = datagram->workspace_slot;
	return DROP_NONE;
}

static uint32_t budget_of(uint16_t workspace_slot)
{
	return workspace_slot != WORKSPACE_NONE ? workspace_slot : FRAGMENTS_POOL;
}

void fragment_guarantees_begin(struct fragments *fragments)
{
	fragments->held_promised = 0;
	for (unsigned port = 0; port < PORT_COUNT; port++)
		fragments->datagrams_promised[port] = 0;
}

static uint32_t lacking(uint32_t used, uint32_t guaranteed)
{
	return used < guaranteed ? guaranteed - used : 0;
}

void fragment_guarantee(struct fragments *fragments, uint32_t slot, struct fragment_floor floor)
{
	struct fragment_budget *budget = &fragments->budgets[slot];
	budget->held_guaranteed = (uint8_t)(floor.held < HELD_PER_WORKSPACE_MAX ? floor.held : HELD_PER_WORKSPACE_MAX);
	budget->datagrams_guaranteed =
		(uint8_t)(floor.datagrams < DATAGRAMS_PER_WORKSPACE_MAX ? floor.datagrams
									: DATAGRAMS_PER_WORKSPACE_MAX);
	fragments->held_promised += lacking(budget->held, budget->held_guaranteed);
	for (unsigned port = 0; port < PORT_COUNT; port++)
		fragments->datagrams_promised[port] += lacking(budget->datagrams[port], budget->datagrams_guaranteed);
}

/* May one more of the free places be used? What is promised to others and not taken up yet is not there to be borrowed.
 */
static bool place_free(uint32_t used, uint32_t guaranteed, uint32_t free, uint32_t promised)
{
	return free > 0 && (used < guaranteed || free > promised);
}

static bool datagram_room(const struct fragments *fragments, uint32_t slot, unsigned port, uint32_t free)
{
	const struct fragment_budget *budget = &fragments->budgets[slot];
	return budget->datagrams[port] < DATAGRAMS_PER_WORKSPACE_MAX &&
	       place_free(budget->datagrams[port], budget->datagrams_guaranteed, free,
		       fragments->datagrams_promised[port]);
}

static void datagram_count(struct fragments *fragments, uint32_t slot, unsigned port, int change)
{
	struct fragment_budget *budget = &fragments->budgets[slot];
	fragments->datagrams_promised[port] -= lacking(budget->datagrams[port], budget->datagrams_guaranteed);
	budget->datagrams[port] = (uint8_t)(budget->datagrams[port] + change);
	fragments->datagrams_promised[port] += lacking(budget->datagrams[port], budget->datagrams_guaranteed);
	fragments->datagram_count[port] += (uint32_t)change;
}

static void held_count(struct fragments *fragments, uint32_t slot, int change)
{
	struct fragment_budget *budget = &fragments->budgets[slot];
	fragments->held_promised -= lacking(budget->held, budget->held_guaranteed);
	budget->held = (uint8_t)(budget->held + change);
	fragments->held_promised += lacking(budget->held, budget->held_guaranteed);
	fragments->held += (uint32_t)change;
}

static uint32_t datagrams_free(const struct fragments *fragments, unsigned port)
{
	return DATAGRAMS_MAX / PORT_COUNT - fragments->datagram_count[port];
}

/* A datagram of the shared pool becomes its workspace's, if that has room; those that wait stay the pool's to pay. */
static bool adopt(struct fragments *fragments, struct datagram *datagram, uint16_t workspace_slot)
{
	if (!datagram_room(fragments, workspace_slot, PORT_OUTSIDE, datagrams_free(fragments, PORT_OUTSIDE) + 1))
		return false;
	datagram_count(fragments, FRAGMENTS_POOL, PORT_OUTSIDE, -1);
	datagram_count(fragments, workspace_slot, PORT_OUTSIDE, 1);
	datagram->workspace_slot = workspace_slot;
	return true;
}

/* The datagram of a fragment, new if need be; NULL when the workspace or the
 * shard has too many. */
static struct datagram *datagram_of(
	struct nat_shard *shard, const struct policy_tables *policy, const struct packet *packet)
{
	struct fragments *fragments = &shard->fragments;
	const unsigned port = packet->in_port;
	uint64_t hash;
	const uint32_t found = datagram_find(shard, packet, &hash);
	if (found != INDEX_NONE) {
		struct datagram *datagram = &fragments->datagrams[found];
		if (datagram->workspace_slot != WORKSPACE_NONE || packet->workspace_slot == WORKSPACE_NONE ||
			adopt(fragments, datagram, packet->workspace_slot))
			return datagram;
		return NULL;
	}
	const uint32_t fresh = fragments->free_datagram;
	const uint32_t payer = budget_of(packet->workspace_slot);
	if (fresh == INDEX_NONE || !datagram_room(fragments, payer, port, datagrams_free(fragments, port)) ||
		!index_insert(&fragments->index, hash, fresh))
		return NULL;
	struct datagram *datagram = &fragments->datagrams[fresh];
	fragments->free_datagram = datagram->next_free;
	datagram_count(fragments, payer, port, 1);
	*datagram = (struct datagram){
		.source = packet->source,
		.destination = packet->destination,
		.vni = vni_of(packet),
		.id = id_of(packet),
		.protocol = packet->protocol,
		.state = DATAGRAM_WAITING,
		.workspace_slot = packet->workspace_slot,
		.payer = (uint16_t)payer,
		.worker_pays = port == PORT_INSIDE && policy->workspaces[payer].worker_fragments_held_max != UINT32_MAX,
		.sequence = policy->sequence,
	};
	fragments->deadlines[fresh] = shard->now_tick + DATAGRAM_TIMEOUT_TICKS;
	return datagram;
}

static unsigned datagram_port(const struct datagram *datagram)
{
	return datagram->vni != 0 ? PORT_INSIDE : PORT_OUTSIDE;
}

static void datagram_end(struct nat_shard *shard, struct datagram *datagram)
{
	struct fragments *fragments = &shard->fragments;
	const uint32_t index = (uint32_t)(datagram - fragments->datagrams);
	CHECK(datagram->held_count == 0);
	index_remove(&fragments->index,
		datagram_hash(shard, datagram->source, datagram->destination, datagram->vni, datagram->id,
			datagram->protocol),
		index);
	datagram_count(fragments, budget_of(datagram->workspace_slot), datagram_port(datagram), -1);
	datagram->state = DATAGRAM_FREE;
	fragments->deadlines[index] = UINT32_MAX;
	datagram->next_free = fragments->free_datagram;
	fragments->free_datagram = index;
}

/* Notes which units a fragment brings. DROP_NONE: none of them has been seen
 * before. */
static enum drop_reason units_note(struct datagram *datagram, uint32_t first_unit, uint32_t unit_count)
{
	uint32_t known = 0;
	for (uint32_t unit = first_unit; unit < first_unit + unit_count; unit++)
		known += datagram->seen[unit / 64] >> (unit % 64) & 1;
	if (known == unit_count && unit_count > 0)
		return DROP_FRAGMENT_OVERLAP; /* a duplicate: the first copy stands */
	if (known > 0) {
		datagram->state = DATAGRAM_SPOILT;
		return DROP_FRAGMENT_OVERLAP;
	}
	for (uint32_t unit = first_unit; unit < first_unit + unit_count; unit++)
		datagram->seen[unit / 64] |= 1ull << (unit % 64);
	datagram->units_seen = (uint16_t)(datagram->units_seen + unit_count);
	return DROP_NONE;
}

static struct hash_key worker_key(const struct datagram *datagram)
{
	return tally_key_fragments(datagram->workspace_slot, datagram->vni, datagram->source);
}

/* One more of its worker's: within what each worker may have? */
static bool worker_takes(struct nat_shard *shard, const struct table_workspace *workspace, struct datagram *datagram)
{
	struct tally *tally = tally_get(shard, worker_key(datagram));
	if (tally == NULL)
		return false;
	const bool fits = tally->sessions < workspace->worker_fragments_held_max;
	tally->sessions += fits;
	tally_put(shard, tally);
	return fits;
}

static bool hold(
	struct nat_shard *shard, const struct policy_tables *policy, struct datagram *datagram, struct packet *packet)
{
	struct fragments *fragments = &shard->fragments;
	const struct fragment_budget *budget = &fragments->budgets[datagram->payer];
	const struct table_workspace *workspace =
		datagram->payer != FRAGMENTS_POOL ? &policy->workspaces[packet->workspace_slot] : NULL;
	if (datagram->held_count >= HELD_PER_DATAGRAM_MAX || budget->held >= HELD_PER_WORKSPACE_MAX ||
		(workspace != NULL && budget->held >= workspace->fragments_held_max) ||
		!place_free(
			budget->held, budget->held_guaranteed, HELD_MAX - fragments->held, fragments->held_promised))
		return false;
	if (datagram->worker_pays && !worker_takes(shard, workspace, datagram))
		return false;
	datagram->held[datagram->held_count++] = packet;
	held_count(fragments, datagram->payer, 1);
	shard->counters->held++;
	packet->verdict = PACKET_HELD;
	shard->ended++;
	return true;
}

static struct packet *release(struct nat_shard *shard, struct datagram *datagram)
{
	struct packet *packet = datagram->held[--datagram->held_count];
	held_count(&shard->fragments, datagram->payer, -1);
	shard->counters->held--;
	if (datagram->worker_pays) {
		struct tally *tally = tally_find(shard, worker_key(datagram));
		tally->sessions--;
		tally_put(shard, tally);
	}
	if (packet->workspace_slot == WORKSPACE_NONE)
		packet->workspace_slot = datagram->workspace_slot;
	return packet;
}

static void drop_held(struct nat_shard *shard, struct datagram *datagram, enum drop_reason reason)
{
	while (datagram->held_count > 0) {
		struct packet *packet = release(shard, datagram);
		shard_drop(shard, packet, reason);
		shard_give(shard, packet);
	}
}

/* From outside, at home: is it another shard's? The first one tells, and those that were held follow it. */
static bool hand_on(struct nat_shard *shard, struct datagram *datagram, struct packet *packet)
{
	if (LIKELY(!shard->hand_over) || packet->in_port == PORT_INSIDE || !owner_has_ports(packet->protocol) ||
		owner_of_packet(shard->shard_count, packet) != shard->shard_index)
		return false;
	if (packet->kind == PACKET_KIND_SESSION) {
		const uint32_t owner = owner_of_first_fragment(shard->shard_count, packet);
		if (owner == shard->shard_index)
			return false;
		datagram->state = DATAGRAM_AWAY;
		datagram->owner = (uint8_t)owner;
		/* Given after the batch, and so behind the first one. */
		while (datagram->held_count > 0) {
			struct packet *held = release(shard, datagram);
			owner_hand_over(shard, held, owner);
			shard_give(shard, held);
		}
	}
	if (datagram->state != DATAGRAM_AWAY)
		return false;
	owner_hand_over(shard, packet, datagram->owner);
	return true;
}

static enum drop_reason fragment_note(
	struct nat_shard *shard, const struct policy_tables *policy, struct packet *packet)
{
	const uint8_t *ip = packet->data + packet->ip_offset;
	const uint16_t field = load_be16(ip + IPV4_FRAGMENT_OFFSET);
	const bool more = field & IPV4_FLAG_MF;
	const uint32_t first_unit = field & IPV4_FRAGMENT_OFFSET_MASK;
	const uint32_t length_bytes = packet->ip_length_bytes - (uint32_t)(ip[0] & 15) * 4;
	const uint32_t unit_count = (length_bytes + 7) / 8;
	if ((more && length_bytes % 8 != 0) || length_bytes == 0 || first_unit * 8 + length_bytes > UINT16_MAX)
		return DROP_BAD_IP_HEADER;
	if (first_unit == 1 && packet->protocol == PROTOCOL_TCP)
		return DROP_FRAGMENT_TINY; /* would overlap the flags of the first one (RFC
					      3128) */

	struct datagram *datagram = datagram_of(shard, policy, packet);
	if (datagram == NULL)
		return DROP_FRAGMENT_LIMIT;
	packet->datagram = (uint16_t)(datagram - shard->fragments.datagrams);
	if (packet->workspace_slot == WORKSPACE_NONE) /* known by a first one of the same batch */
		packet->workspace_slot = datagram->workspace_slot;
	if (datagram->state != DATAGRAM_SPOILT) {
		const enum drop_reason reason = units_note(datagram, first_unit, unit_count);
		if (reason != DROP_NONE && datagram->state != DATAGRAM_SPOILT)
			return reason;
	}
	if (datagram->state == DATAGRAM_SPOILT) {
		drop_held(shard, datagram, DROP_FRAGMENT_OVERLAP);
		return DROP_FRAGMENT_OVERLAP;
	}
	if (!more)
		datagram->units_total = (uint16_t)(first_unit + unit_count);
	if (datagram->units_seen == datagram->units_total)
		shard->fragments.deadlines[packet->datagram] = shard->now_tick; /* the next sweeps free its place */
	if (hand_on(shard, datagram, packet))
		return DROP_NONE;
	if (packet->kind == PACKET_KIND_FRAGMENT && datagram->state == DATAGRAM_WAITING &&
		!hold(shard, policy, datagram, packet))
		return DROP_FRAGMENT_LIMIT;
	return DROP_NONE;
}

void fragment_batch(struct nat_shard *shard, struct batch *batch)
{
	for (uint32_t i = 0; i < batch->count; i++) {
		struct packet *packet = batch->live[i];
		if (LIKELY((packet->flags & PACKET_FRAGMENT) == 0))
			continue;
		const enum drop_reason reason = fragment_note(shard, batch->policy, packet);
		if (reason != DROP_NONE)
			shard_drop(shard, packet, reason);
	}
	batch_compact(shard, batch);
}

void fragment_resolve(struct nat_shard *shard, const struct packet *first)
{
	struct datagram *datagram = &shard->fragments.datagrams[first->datagram];
	const struct session *session = &shard->sessions[first->session_index];
	datagram->state = DATAGRAM_KNOWN;
	datagram->session_index = first->session_index;
	datagram->session_key =
		session_key_inside(session->inside_address, session->inside_port, session->remote_address,
			session->remote_port, session->vni_protocol >> 8, (uint8_t)session->vni_protocol);
	datagram->new_id = shard_ip_id(shard);
	if (datagram->held_count > 0)
		shard->fragments_resolved = true;
}

void fragment_refuse(struct nat_shard *shard, const struct packet *first, enum drop_reason reason)
{
	struct datagram *datagram = &shard->fragments.datagrams[first->datagram];
	datagram->state = DATAGRAM_SPOILT;
	drop_held(shard, datagram, reason);
}

/* The session is still the one that the first fragment had. */
static struct session *session_of(struct nat_shard *shard, const struct datagram *datagram)
{
	struct session *session = &shard->sessions[datagram->session_index];
	const struct hash_key key =
		session_key_inside(session->inside_address, session->inside_port, session->remote_address,
			session->remote_port, session->vni_protocol >> 8, (uint8_t)session->vni_protocol);
	if (session->state == SESSION_FREE || key.low != datagram->session_key.low ||
		key.high != datagram->session_key.high)
		return NULL;
	/* The same worker's next session with the same remote may be on another address, which is not what was sent to. */
	if (datagram_port(datagram) == PORT_OUTSIDE && session->egress_address != datagram->destination)
		return NULL;
	return session;
}

enum drop_reason fragment_translate(struct nat_shard *shard, const struct batch *batch, struct packet *packet)
{
	struct datagram *datagram = &shard->fragments.datagrams[packet->datagram];
	if (datagram->state != DATAGRAM_KNOWN)
		return DROP_FRAGMENT;
	const struct session *session = session_of(shard, datagram);
	if (session == NULL)
		return DROP_FRAGMENT;
	packet->session_index = datagram->session_index;
	packet->vni = session->vni_protocol >> 8;
	packet->vpc = policy_vpc(batch->policy, packet->vni);
	if (!policy_session_live(batch->policy, session, packet->vpc) ||
		session->workspace_slot != packet->workspace_slot)
		return DROP_STALE_SESSION;
	/* Held for somebody who has gone since: the first fragment is a successor's, with the same tuple and ID (P1,
	 * P2). */
	const struct policy_tables *policy = batch->policy;
	if (packet->vpc->born > datagram->sequence ||
		policy->egress_slots[session->egress_slot].born > datagram->sequence ||
		(session->worker_slot != SESSION_NO_WORKER &&
			policy->workers[session->worker_slot].born > datagram->sequence))
		return DROP_STALE_SESSION;
	if (packet->in_port == PORT_INSIDE && !policy_from_its_host(policy, session, packet->vtep))
		return DROP_WRONG_VTEP;
	if (packet->data[packet->ip_offset + IPV4_TTL_OFFSET] <= 1)
		return DROP_TTL_EXPIRED;
	packet->egress_port = session->egress_port;
	if (session->flags & SESSION_HAIRPIN)
		packet->flags |= PACKET_HAIRPIN;
	/* A held one was routed, if at all, by tables that may be gone. */
	if (packet->in_port == PORT_INSIDE)
		return translate_hop_outside(shard, batch, packet, session->remote_address);
	return translate_hop_inside(shard, batch, packet, session);
}

uint32_t fragment_released(struct nat_shard *shard, struct packet *ret_packets[NAT_BATCH_MAX])
{
	uint32_t count = 0;
	if (LIKELY(!shard->fragments_resolved))
		return 0;
	for (uint32_t i = 0; i < DATAGRAMS_MAX; i++) {
		struct datagram *datagram = &shard->fragments.datagrams[i];
		while (datagram->state == DATAGRAM_KNOWN && datagram->held_count > 0) {
			if (count == NAT_BATCH_MAX)
				return count;
			ret_packets[count] = release(shard, datagram);
			ret_packets[count++]->verdict = PACKET_PENDING;
		}
	}
	shard->fragments_resolved = false;
	return count;
}

void fragment_upkeep(struct nat_shard *shard)
{
	struct fragments *fragments = &shard->fragments;
	if (LIKELY(fragments->index.count == 0))
		return;
	for (unsigned i = 0; i < SWEEP_PER_CALL; i++) {
		const uint32_t at = fragments->sweep_at;
		fragments->sweep_at = (at + 1) % DATAGRAMS_MAX;
		if (fragments->deadlines[at] == UINT32_MAX || (int32_t)(shard->now_tick - fragments->deadlines[at]) < 0)
			continue;
		drop_held(shard, &fragments->datagrams[at], DROP_FRAGMENT);
		datagram_end(shard, &fragments->datagrams[at]);
	}
}
