/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fragments. The first one of a datagram is translated like any packet; the others follow it, and those that come
 * before it wait. A datagram is known by tunnel (or the outside), addresses, protocol and IP ID.
 */
#include "tests/sim/oracle_state.h"

/*
 * What a workspace may have, or the shared pool as long as nobody knows whose they are. All that a simulation's few
 * workspaces may have is less than there is, so that what is guaranteed to each of them says nothing here.
 */
enum { WAIT_TICKS = 56, PER_WORKSPACE = 128, EACH_WAY = 2048, HELD_PER_WORKSPACE = 64, HELD_IN_ALL = 512 };

/* 0: the shared pool. */
static bool workspace_exists(const struct oracle *oracle, uint64_t serial)
{
	if (serial == 0)
		return true;
	for (uint32_t i = 0; i < COUNT(oracle, POLICY_WORKSPACES); i++)
		if (oracle->workspaces[i] == serial)
			return true;
	return false;
}

static struct parts *datagram_of(struct oracle *oracle, const struct judgement *of, bool outbound)
{
	const struct wire *wire = &of->wire;
	struct parts *fresh = NULL, *found = NULL;
	uint32_t own = 0, remains = 0, same_way = 0;
	for (struct parts *it = oracle->datagrams; it < oracle->datagrams + oracle->datagrams_ever; it++) {
		if (it->is == UNUSED) {
			fresh = it;
			continue;
		}
		if (it->source == wire->source && it->destination == wire->destination &&
			it->protocol == wire->protocol && it->id == wire_get16(wire->ip + 4) &&
			it->vni == (outbound ? wire->vni : 0)) {
			found = it;
			if (found->workspace != 0 || of->workspace == 0)
				return found;
		}
		if ((it->vni != 0) != outbound)
			continue;
		same_way++;
		own += it->workspace == of->workspace;
		remains += !workspace_exists(oracle, it->workspace);
	}
	if (own >= PER_WORKSPACE || (found == NULL && same_way >= EACH_WAY))
		return NULL;
	if (own + remains >= PER_WORKSPACE && of->seen->reason == DROP_FRAGMENT_LIMIT)
		return NULL;
	if (found != NULL) { /* the first one: now it is known whose they are */
		found->workspace = of->workspace;
		return found;
	}
	if (fresh == NULL)
		fresh = &oracle->datagrams[oracle->datagrams_ever++];
	*fresh = (struct parts){
		.is = WAITING,
		.source = wire->source,
		.destination = wire->destination,
		.vni = outbound ? wire->vni : 0,
		.id = wire_get16(wire->ip + 4),
		.protocol = wire->protocol,
		.id_hidden = of->id_hidden,
		.workspace = of->workspace,
		.payer = of->workspace,
		.worker_pays = outbound && of->of->limits.worker_fragments_held != 0,
		.begun = oracle->serials,
		.end_ns = oracle->now_ns + WAIT_TICKS * (int64_t)TICK_NS,
	};
	return fresh;
}

const struct parts *datagram_from_outside(struct oracle *oracle, const struct wire *wire)
{
	EACH_DATAGRAM (oracle, it)
		if (it->vni == 0 && it->source == wire->source && it->destination == wire->destination &&
			it->protocol == wire->protocol && it->id == wire_get16(wire->ip + 4))
			return it;
	return NULL;
}

static void drop_held(struct judgement *of, struct parts *datagram, enum drop_reason reason)
{
	for (uint32_t i = 0; i < datagram->held_count; i++) {
		dropped(of, datagram->held[i]->handle, reason);
		free(datagram->held[i]);
	}
	datagram->held_count = 0;
}

/*
 * What is left of a workspace that has gone may count against the one that came after it, for the seconds it lasts, and that
 * one's against what is left.
 */
static bool hold(struct oracle *oracle, struct judgement *of)
{
	const struct parts *datagram = of->datagram;
	const uint32_t asked = datagram->payer != 0 ? of->of->limits.fragments_held : 0;
	const uint32_t limit = asked != 0 && asked < HELD_PER_WORKSPACE ? asked : HELD_PER_WORKSPACE;
	const uint32_t limit_of_worker = datagram->worker_pays ? of->of->limits.worker_fragments_held : 0;
	uint32_t all = 0;
	struct {
		uint32_t all, of_worker;
	} own = {0}, remains = {0}, *count;
	EACH_DATAGRAM (oracle, it) {
		all += it->held_count;
		if (it->payer != datagram->payer && workspace_exists(oracle, it->payer) &&
			(it->payer != of->workspace || workspace_exists(oracle, datagram->payer)))
			continue;
		count = it->payer == datagram->payer ? &own : &remains;
		count->all += it->held_count;
		if (it->worker_pays && it->vni == datagram->vni && it->source == datagram->source)
			count->of_worker += it->held_count;
	}
	if (datagram->held_count >= HELD_MAX_SEEN || own.all >= limit || all >= HELD_IN_ALL)
		return false;
	if (own.all + remains.all >= limit && of->seen->reason == DROP_FRAGMENT_LIMIT)
		return false;
	if (reached(of, limit_of_worker, own.of_worker, remains.of_worker, DROP_FRAGMENT_LIMIT))
		return false;
	struct held *held = calloc(1, sizeof(*held));
	if (held == NULL)
		abort();
	held->handle = of->handle;
	held->vtep = of->wire.vtep;
	memcpy(held->packet, of->wire.ip, of->wire.ip_bytes);
	of->datagram->held[of->datagram->held_count++] = held;
	of->hold = true;
	return true;
}

/* Takes note of a fragment, whichever it is. DROP_NONE: it may go on, or waits. */
enum drop_reason fragment_noted(struct oracle *oracle, struct judgement *of, bool outbound)
{
	const struct wire *wire = &of->wire;
	const uint32_t field = wire_get16(wire->ip + 6), first = field % 0x2000, bytes = wire->l4_bytes;
	const bool more = field & 0x2000;
	if ((more && bytes % 8 != 0) || bytes == 0 || first * 8 + bytes > 65535)
		return DROP_BAD_IP_HEADER;
	if (first == 1 && wire->protocol == WIRE_TCP)
		return DROP_FRAGMENT_TINY; /* would overlap the flags (RFC 3128) */
	struct parts *datagram = of->datagram = datagram_of(oracle, of, outbound);
	if (datagram == NULL)
		return DROP_FRAGMENT_LIMIT;
	const uint32_t count = (bytes + 7) / 8;
	uint32_t known = 0;
	for (uint32_t unit = first; unit < first + count; unit++)
		known += datagram->seen[unit];
	if (datagram->is != SPOILT && known == count)
		return DROP_FRAGMENT_OVERLAP; /* a duplicate */
	if (datagram->is == SPOILT || known > 0) {
		datagram->is = SPOILT;
		drop_held(of, datagram, DROP_FRAGMENT_OVERLAP);
		return DROP_FRAGMENT_OVERLAP;
	}
	memset(datagram->seen + first, true, count);
	datagram->seen_count += count;
	if (!more)
		datagram->total = first + count;
	if (datagram->seen_count == datagram->total)
		datagram->end_ns = oracle->now_ns; /* soon */
	if (wire->later && datagram->is == WAITING && !hold(oracle, of))
		return DROP_FRAGMENT_LIMIT;
	return DROP_NONE;
}

/* A later fragment goes where its first one went, if that session still is, and is still of those it was sent by. */
enum drop_reason fragment_follows(struct oracle *oracle, struct judgement *of, bool outbound)
{
	const struct parts *datagram = of->datagram;
	of->entry = NULL;
	EACH_ENTRY (oracle, it)
		if (it->serial == datagram->session)
			of->entry = it;
	/* The same worker may have a new session with the same remote: the fragment may follow that, or be lost. It is, if
	 * it was sent to an address that the new one does not have. */
	if (of->entry == NULL && of->seen->reason != DROP_FRAGMENT)
		of->entry = find_inside(oracle, datagram->tuple.vni, datagram->protocol, datagram->tuple.inside,
			datagram->tuple.inside_port, datagram->tuple.remote, datagram->tuple.remote_port);
	if (!outbound && of->entry != NULL && of->entry->egress_address != datagram->destination)
		of->entry = NULL;
	if (datagram->is != KNOWN || listed_since(oracle, of->entry) == NULL)
		return DROP_FRAGMENT;
	if (!alive(oracle, of->entry) || of->entry->vpc > datagram->begun || of->entry->egress > datagram->begun ||
		of->entry->worker > datagram->begun)
		return DROP_STALE_SESSION;
	const bool tunnel = oracle->policy.encapsulation == POLICY_ENCAPSULATION_VXLAN;
	const unsigned port = outbound ? PORT_OUTSIDE : PORT_INSIDE;
	const uint32_t vtep = vtep_of(oracle, of->entry);
	of->vpc = vpc_of(oracle, of->entry->vni);
	if (outbound && sender_refused(oracle, of) != DROP_NONE)
		return DROP_WRONG_VTEP;
	if (of->wire.ttl <= 1)
		return DROP_TTL_EXPIRED;
	if (!outbound && !vtep_trusted(oracle, vtep))
		return DROP_UNTRUSTED_VTEP;
	const enum drop_reason reason = route(oracle, of, port,
		outbound ? of->entry->remote
		: tunnel ? vtep
			 : of->entry->inside);
	if (reason != DROP_NONE)
		return reason;
	if (!fits(oracle, of, port))
		return DROP_TOO_BIG;
	take_packet(of);
	wire_put32(of->packet + (outbound ? 12 : 16), outbound ? of->entry->egress_address : of->entry->inside);
	if (outbound)
		wire_put16(of->packet + 4, datagram->new_id);
	wire_seal_ip(of->packet);
	return DROP_NONE;
}

/* The first one has gone: those that waited go after it. */
void fragment_first_known(struct oracle *oracle, struct judgement *of, bool outbound)
{
	struct parts *datagram = of->datagram;
	datagram->is = KNOWN;
	datagram->session = of->entry->serial;
	datagram->tuple = *of->entry;
	datagram->new_id = wire_get16(of->packet + 4);
	for (uint32_t i = 0; i < datagram->held_count; i++) {
		struct held *held = datagram->held[i];
		of->wire = (struct wire){.ip = held->packet, .vtep = held->vtep, .vni = of->entry->vni};
		of->wire.ip_bytes = wire_get16(held->packet + 2);
		of->wire.l4 = held->packet + (held->packet[0] % 16) * 4u;
		of->wire.source = datagram->source;
		of->wire.destination = datagram->destination;
		of->wire.protocol = datagram->protocol;
		of->wire.fragment = true;
		of->wire.ttl = held->packet[8];
		of->wire.df = held->packet[6] & 0x40;
		const enum drop_reason reason = fragment_follows(oracle, of, outbound);
		if (reason != DROP_NONE)
			dropped(of, held->handle, reason);
		else
			depart(oracle, of, held->handle, outbound);
		free(held);
	}
	datagram->held_count = 0;
}

void fragment_first_refused(struct oracle *oracle, struct judgement *of, enum drop_reason reason)
{
	of->datagram->is = SPOILT;
	drop_held(of, of->datagram, reason);
}

const char *oracle_given_back(struct oracle *oracle, const struct oracle_seen *seen)
{
	if (seen->forwarded || seen->reason != DROP_FRAGMENT)
		return "upkeep handed over something else than a held fragment that waited too long";
	EACH_DATAGRAM (oracle, it)
		for (uint32_t i = 0; i < it->held_count; i++) {
			if (it->held[i]->handle != seen->handle)
				continue;
			free(it->held[i]);
			it->held[i] = it->held[--it->held_count];
			return it->end_ns > oracle->now_ns + TICK_NS ? "a held fragment was given up too early" : NULL;
		}
	return "upkeep gave up a fragment that was not held";
}

const char *oracle_datagram_ended(
	struct oracle *oracle, uint32_t source, uint32_t destination, uint32_t vni, uint16_t id, uint8_t protocol)
{
	struct parts *ended = NULL;
	EACH_DATAGRAM (oracle, it) {
		if (it->source != source || it->destination != destination || it->vni != vni ||
			it->protocol != protocol || (it->id != id && !it->id_hidden))
			continue;
		if (ended == NULL || !it->id_hidden || it->end_ns < ended->end_ns)
			ended = it;
		if (!it->id_hidden)
			break;
	}
	if (ended == NULL)
		return "a datagram ended that should not have been there";
	ended->is = UNUSED;
	if (ended->held_count != 0)
		return "a datagram ended and kept its fragments";
	return ended->end_ns > oracle->now_ns + TICK_NS ? "a datagram ended before its time" : NULL;
}

uint32_t oracle_datagram_count(const struct oracle *oracle)
{
	uint32_t count = 0;
	EACH_DATAGRAM (oracle, it)
		count++;
	return count;
}
