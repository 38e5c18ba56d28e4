/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/traffic.h"

#include <stddef.h>
#include <string.h>

#define MAGIC 0xd75461e9u

/* An IPv4 packet in words. */
struct says {
	uint32_t source, destination;
	uint16_t source_port, destination_port, mss, id, payload_bytes;
	uint32_t sequence, acknowledged;
	uint8_t protocol, flags, icmp_type, ttl, options;
	bool df, no_checksum, untagged;
	struct tag tag;
};

static uint32_t below(struct traffic *traffic, uint32_t bound)
{
	return random_below(traffic->random, bound);
}

static bool one_in(struct traffic *traffic, uint32_t n)
{
	return random_one_in(traffic->random, n);
}

static void put_payload(uint8_t *at, uint32_t bytes, const struct says *says)
{
	uint8_t unit[TAG_BYTES];
	wire_put32(unit, says->untagged ? 0 : MAGIC);
	wire_put32(unit + 4, (uint32_t)says->tag.workspace);
	wire_put32(unit + 8, (uint32_t)says->tag.vpc);
	wire_put32(unit + 12, (uint32_t)says->tag.worker);
	for (uint32_t i = 0; i < bytes; i += TAG_BYTES)
		memcpy(at + i, unit, bytes - i < TAG_BYTES ? bytes - i : TAG_BYTES);
}

bool traffic_tag(const uint8_t *bytes, uint32_t length_bytes, uint32_t *at, struct tag *ret_tag)
{
	while (*at + TAG_BYTES <= length_bytes) {
		const uint8_t *found = memchr(bytes + *at, MAGIC >> 24, length_bytes - TAG_BYTES + 1 - *at);
		if (found == NULL)
			return false;
		*at = (uint32_t)(found - bytes) + 1;
		if (wire_get32(found) != MAGIC)
			continue;
		ret_tag->workspace = wire_get32(found + 4);
		ret_tag->vpc = wire_get32(found + 8);
		ret_tag->worker = wire_get32(found + 12);
		*at += TAG_BYTES - 1;
		return true;
	}
	return false;
}

void shot_copy(struct shot *to, const struct shot *from)
{
	const uint32_t length_bytes = from->length_bytes < WORLD_FRAME_MAX ? from->length_bytes : WORLD_FRAME_MAX;
	memcpy(to, from, offsetof(struct shot, bytes) + length_bytes);
}

bool traffic_tags_equal(const struct tag *a, const struct tag *b)
{
	return a->workspace == b->workspace && a->vpc == b->vpc && a->worker == b->worker;
}

static uint32_t put_tcp(uint8_t *l4, const struct says *says)
{
	uint32_t header_bytes = 20;
	wire_put32(l4 + 4, says->sequence);
	wire_put32(l4 + 8, says->acknowledged);
	l4[13] = says->flags;
	wire_put16(l4 + 14, 65535);
	if (says->mss != 0) {
		/* At an even and at an odd place. */
		uint8_t *at = l4 + 20;
		if (says->mss % 2 == 1)
			*at++ = 1;
		at[0] = 2;
		at[1] = 4;
		wire_put16(at + 2, says->mss);
		at[4] = says->mss % 2 == 1 ? 1 : 0;
		header_bytes = 28;
	}
	l4[12] = (uint8_t)(header_bytes / 4 << 4);
	return header_bytes;
}

/* Writes the packet; returns its length. */
static uint32_t put_ip(uint8_t *ip, const struct says *says)
{
	memset(ip, 0, 128);
	uint8_t *l4 = ip + WIRE_IP + says->options * 4u;
	uint32_t header_bytes = 8;
	wire_put16(l4, says->source_port);
	wire_put16(l4 + 2, says->destination_port);
	if (says->protocol == WIRE_TCP) {
		header_bytes = put_tcp(l4, says);
	} else if (says->protocol == WIRE_UDP) {
		wire_put16(l4 + 4, header_bytes + says->payload_bytes);
	} else if (says->protocol == WIRE_ICMP) {
		l4[0] = says->icmp_type;
		l4[1] = 0;
		l4[2] = l4[3] = 0;
		wire_put16(l4 + 4, says->source_port);
	}
	put_payload(l4 + header_bytes, says->payload_bytes, says);
	const uint32_t ip_bytes = (uint32_t)(l4 - ip) + header_bytes + says->payload_bytes;
	wire_ip_header(ip, ip_bytes, says->protocol, says->source, says->destination);
	ip[0] = (uint8_t)(0x45 + says->options);
	memset(ip + WIRE_IP, 1, says->options * 4u);
	ip[6] = says->df ? 0x40 : 0;
	ip[8] = says->ttl;
	wire_put16(ip + 4, says->id);
	wire_seal_ip(ip);
	if (wire_has_ports(says->protocol))
		wire_seal_l4(ip);
	if (says->protocol == WIRE_UDP && says->no_checksum)
		wire_put16(l4 + 6, 0);
	return ip_bytes;
}

static void wrap(
	struct traffic *traffic, struct shot *shot, unsigned vpc, uint32_t vtep, const uint8_t *ip, uint32_t ip_bytes)
{
	static const uint8_t mac[6] = {2, 0, 0, 0, 9, 9};
	const struct model *model = traffic->model;
	const struct wire_tunnel tunnel = {mac, mac, mac, mac, vtep,
		model->vtep_address != 0 ? model->vtep_address : WORLD_GATEWAY_INSIDE, model_vni(vpc),
		(uint16_t)(49152 + below(traffic, 16384)), model->vxlan_port, 64};
	if (shot->in_port == PORT_OUTSIDE || model->plain)
		shot->length_bytes = wire_plain(shot->bytes, mac, mac, ip, ip_bytes);
	else
		shot->length_bytes = wire_wrap(shot->bytes, &tunnel, ip, ip_bytes);
	/* A hairpin comes in again after its batch: no order that the oracle could follow. */
	shot->hairpin = shot->in_port == PORT_INSIDE && wire_get32(ip + 16) / 256 == WORLD_IP(203, 0, 113, 0) / 256;
	shot->alone = shot->alone || shot->hairpin || ip_bytes > 1000;
}

static uint16_t payload(struct traffic *traffic)
{
	if (below(traffic, 1000) < traffic->mix->large)
		return (uint16_t)(900 + below(traffic, 1200));
	return (uint16_t)(one_in(traffic, 4) ? below(traffic, 20) : 16 + below(traffic, 80));
}

static uint8_t ttl(struct traffic *traffic)
{
	return one_in(traffic, 50) ? (uint8_t)below(traffic, 3) : 64;
}

static uint32_t some_remote(struct traffic *traffic)
{
	static const uint32_t ordinary[] = {WORLD_IP(192, 0, 2, 10), WORLD_IP(192, 0, 2, 20), WORLD_IP(8, 8, 8, 8)};
	static const uint32_t odd[] = {WORLD_IP(10, 9, 9, 9), 0, WORLD_IP(224, 0, 0, 5), WORLD_GATEWAY_OUTSIDE,
		WORLD_IP(198, 51, 100, 77), WORLD_IP(169, 254, 169, 254), WORLD_IP(203, 0, 113, 10),
		WORLD_IP(203, 0, 113, 13), UINT32_MAX, WORLD_IP(203, 0, 114, 1), WORLD_IP(100, 64, 1, 1),
		WORLD_IP(203, 0, 113, 30)};
	if (one_in(traffic, 20))
		return odd[below(traffic, sizeof(odd) / sizeof(odd[0]))];
	return ordinary[below(traffic, 3)];
}

static void flow_new(struct traffic *traffic, struct flow *flow)
{
	static const uint16_t ports[] = {53, 80, 443, 5000};
	static const uint8_t protocols[] = {WIRE_TCP, WIRE_TCP, WIRE_UDP, WIRE_UDP, WIRE_ICMP, 47};
	flow->vpc = traffic->model->plain ? 0 : below(traffic, MODEL_VPCS);
	while (!traffic->model->plain && !traffic->model->vpcs[flow->vpc].present && !one_in(traffic, 20))
		flow->vpc = below(traffic, MODEL_VPCS);
	flow->host = below(traffic, one_in(traffic, 10) ? MODEL_VTEPS : 2);
	flow->inside = model_worker_address(below(traffic, one_in(traffic, 10) ? MODEL_WORKERS : 4));
	flow->inside_port = (uint16_t)(1000 + below(traffic, traffic->mix->inside_ports));
	flow->remote = some_remote(traffic);
	flow->protocol = protocols[below(traffic, one_in(traffic, 3) ? 6 : 5)];
	flow->remote_port = flow->protocol == WIRE_ICMP || flow->protocol == 47 ? 0 : ports[below(traffic, 4)];
	/* Some want what a worker near them has open: an egress IP and port of this gateway. */
	if (traffic->view_count > 0 && one_in(traffic, 30)) {
		const struct view *view = &traffic->views[below(traffic, traffic->view_count)];
		flow->remote = view->egress;
		flow->protocol = view->protocol;
		flow->remote_port = view->protocol == WIRE_ICMP ? 0 : view->egress_port;
		if (view->remote_port != 0 && one_in(traffic, 2))
			flow->inside_port = view->remote_port;
	}
	if (flow->protocol == 47)
		flow->inside_port = flow->remote_port = 0;
	flow->view = VIEWS;
	flow->sent = (uint32_t)random_next(traffic->random);
	flow->received = (uint32_t)random_next(traffic->random);
	/* A listed worker mostly sends from where it should. */
	const struct model_worker *workers = traffic->model->workers[flow->vpc];
	const uint32_t vtep = workers[flow->inside - model_worker_address(0)].vtep;
	if (vtep != 0 && !one_in(traffic, 20))
		flow->host = vtep - model_vtep(0);
}

void traffic_init(struct traffic *traffic)
{
	traffic->view_count = traffic->later_count = 0;
	traffic->next_id = 0;
	for (unsigned i = 0; i < FLOWS; i++)
		flow_new(traffic, &traffic->flows[i]);
}

/* Flags as in a life, now and then as in none. */
static uint8_t flags_of(struct traffic *traffic, bool outbound)
{
	const uint32_t dice = below(traffic, 100);
	if (dice < 30)
		return outbound ? WIRE_SYN : WIRE_SYN | WIRE_ACK;
	if (dice < 75)
		return WIRE_ACK | WIRE_PSH;
	if (dice < 86)
		return WIRE_FIN | WIRE_ACK;
	if (dice < 92)
		return one_in(traffic, 2) ? WIRE_RST : WIRE_RST | WIRE_ACK;
	if (dice < 95)
		return outbound ? WIRE_SYN | WIRE_ACK : WIRE_SYN;
	if (dice < 97)
		return WIRE_FIN;
	return (uint8_t)below(traffic, 64);
}

/* Moves one end's sequence number on; now and then it is one that does not fit. */
static uint32_t sequence(struct traffic *traffic, uint32_t *next, uint8_t flags, uint32_t payload_bytes)
{
	const uint32_t now = one_in(traffic, 20) ? *next - below(traffic, 5000) : *next;
	if ((flags & WIRE_RST) && one_in(traffic, 3))
		return *next + 1 + below(traffic, 1000);
	if (now == *next && (flags & WIRE_RST) == 0)
		*next += payload_bytes + ((flags & WIRE_SYN) != 0) + ((flags & WIRE_FIN) != 0);
	return now;
}

static struct says inside_says(struct traffic *traffic, struct shot *shot)
{
	shot->flow = below(traffic, FLOWS);
	struct flow *flow = &traffic->flows[shot->flow];
	if (below(traffic, 1000) < traffic->mix->turnover)
		flow_new(traffic, flow);
	shot->in_port = PORT_INSIDE;
	shot->tag = model_tag(traffic->model, flow->vpc, flow->inside);
	struct says says = {
		.source = one_in(traffic, 200) ? WORLD_IP(10, 1, 0, 1) : flow->inside,
		.destination = flow->remote,
		.source_port = flow->inside_port,
		.destination_port = flow->remote_port,
		.id = (uint16_t)random_next(traffic->random),
		.payload_bytes = payload(traffic),
		.protocol = flow->protocol,
		.icmp_type = one_in(traffic, 10) ? 0 : 8,
		.ttl = ttl(traffic),
		.options = (uint8_t)(one_in(traffic, 30) ? 1 + below(traffic, 3) : 0),
		.df = one_in(traffic, 2),
		.no_checksum = one_in(traffic, 8),
		.tag = shot->tag,
	};
	if (flow->protocol == WIRE_TCP) {
		says.flags = flags_of(traffic, true);
		says.sequence = sequence(traffic, &flow->sent, says.flags, says.payload_bytes);
		says.acknowledged = flow->received;
		says.mss = (says.flags & WIRE_SYN) && one_in(traffic, 2) ? (uint16_t)(1300 + below(traffic, 300)) : 0;
	}
	return says;
}

/* The flow of a view, when it has not been given to another conversation since. */
static struct flow *flow_of(struct traffic *traffic, const struct view *view)
{
	struct flow *flow = &traffic->flows[view->flow];
	return flow->protocol == view->protocol && flow->remote == view->remote ? flow : NULL;
}

static bool outside_says(struct traffic *traffic, struct shot *shot, struct says *ret_says)
{
	if (traffic->view_count == 0)
		return false;
	shot->in_port = PORT_OUTSIDE;
	/* Mostly about what was sent of late. */
	const struct flow *recent = &traffic->flows[below(traffic, FLOWS)];
	shot->view =
		(int)(recent->view < traffic->view_count && !one_in(traffic, 4) ? recent->view
										: below(traffic, traffic->view_count));
	const struct view *view = &traffic->views[shot->view];
	struct flow *flow = flow_of(traffic, view);
	shot->about = *view;
	shot->tag = view->tag;
	const bool icmp = view->protocol == WIRE_ICMP;
	struct says says = {
		.source = view->remote,
		.destination = view->egress,
		.source_port = icmp ? view->egress_port : view->remote_port,
		.destination_port = view->egress_port,
		.id = (uint16_t)random_next(traffic->random),
		.payload_bytes = payload(traffic),
		.protocol = view->protocol,
		.icmp_type = one_in(traffic, 10) ? 8 : 0,
		.ttl = ttl(traffic),
		.df = one_in(traffic, 2),
		.no_checksum = one_in(traffic, 8),
		.tag = shot->tag,
		/* In the name of one of our own addresses: whom it reaches may since have come to it from behind. */
		.untagged = view->remote / 256 == WORLD_IP(203, 0, 113, 0) / 256,
	};
	if (says.protocol == WIRE_TCP) {
		uint32_t lost = (uint32_t)random_next(traffic->random);
		says.flags = flags_of(traffic, false);
		says.sequence =
			sequence(traffic, flow != NULL ? &flow->received : &lost, says.flags, says.payload_bytes);
		says.acknowledged = flow != NULL ? flow->sent : 0;
		says.mss = (says.flags & WIRE_SYN) && one_in(traffic, 2) ? (uint16_t)(1300 + below(traffic, 300)) : 0;
	}
	if (!icmp && one_in(traffic, 40))
		says.source_port++; /* somebody else there */
	*ret_says = says;
	return true;
}

/* Shortens and spoils what an ICMP error quotes, now and then. */
static uint32_t spoil_quote(struct traffic *traffic, uint32_t dice, uint8_t *ip, uint32_t ip_bytes)
{
	if (dice < 6)
		return ip_bytes < 28 ? ip_bytes : 28;
	if (dice == 6)
		return below(traffic, 30);
	if (dice == 7) {
		ip[6] = 0;
		ip[7] = 1 + (uint8_t)below(traffic, 200);
		wire_seal_ip(ip);
	}
	if (dice == 8) {
		ip[9] = (uint8_t)below(traffic, 60);
		wire_seal_ip(ip);
	}
	if (dice == 9)
		ip[below(traffic, WIRE_IP)] ^= (uint8_t)(1u << below(traffic, 8));
	return ip_bytes;
}

static void icmp_shot(struct traffic *traffic, struct shot *shot)
{
	static const uint8_t types[] = {3, 3, 3, 11, 12, 5};
	static const uint8_t codes[] = {0, 1, 3, 4, 4, 13};
	static const uint16_t mtus[] = {0, 60, 68, 1400};
	uint8_t quote[512], ip[1024];
	struct says about, outer = {.protocol = WIRE_ICMP, .untagged = true, .ttl = ttl(traffic)};
	const bool outbound = one_in(traffic, 3);
	unsigned vpc = 0;
	uint32_t vtep = 0;
	if (outbound) {
		about = inside_says(traffic, shot);
		const struct flow *flow = &traffic->flows[shot->flow];
		vpc = flow->vpc;
		vtep = model_vtep(flow->host);
		outer.source = about.source;
		outer.destination = one_in(traffic, 8) ? some_remote(traffic) : about.destination;
		about.source = about.destination;
		about.destination = outer.source;
		about.source_port = about.protocol == WIRE_ICMP ? about.source_port : flow->remote_port;
		about.destination_port = flow->inside_port;
		about.icmp_type = one_in(traffic, 10) ? 8 : 0;
		about.sequence = flow->received - below(traffic, 3);
	} else if (outside_says(traffic, shot, &about)) {
		const struct view *view = &traffic->views[shot->view];
		outer.source = one_in(traffic, 2) ? about.source : WORLD_IP(198, 51, 100, 99);
		outer.destination = one_in(traffic, 20) ? model_ip_address(below(traffic, MODEL_IPS)) : view->egress;
		about.destination = view->remote;
		about.source = view->egress;
		about.source_port = view->egress_port;
		about.destination_port = view->remote_port;
		about.icmp_type = one_in(traffic, 10) ? 0 : 8;
		about.sequence = about.acknowledged - below(traffic, 3);
	} else {
		about = inside_says(traffic, shot);
		outer.source = WORLD_IP(192, 0, 2, 10);
		outer.destination = model_ip_address(0);
		shot->in_port = PORT_OUTSIDE;
	}
	about.payload_bytes %= 120;
	const uint32_t dice = below(traffic, 30);
	about.untagged = about.untagged || dice == 8 || dice == 9; /* it will speak of somebody else */
	const uint32_t quote_bytes = spoil_quote(traffic, dice, quote, put_ip(quote, &about));
	outer.payload_bytes = (uint16_t)quote_bytes;
	outer.df = one_in(traffic, 2);
	const uint32_t ip_bytes = put_ip(ip, &outer);
	uint8_t *icmp = ip + WIRE_IP;
	icmp[0] = types[below(traffic, sizeof(types))];
	icmp[1] = codes[below(traffic, sizeof(codes))];
	wire_put16(icmp + 4, 0);
	wire_put16(icmp + 6, mtus[below(traffic, 4)]);
	memcpy(icmp + 8, quote, quote_bytes);
	wire_seal_l4(ip);
	if (one_in(traffic, 25))
		icmp[2] ^= 1;
	wrap(traffic, shot, vpc, vtep, ip, ip_bytes);
}

/* Cuts a packet in pieces, which arrive in any order, some twice, some overlapping, some never. */
static void fragment_shots(
	struct traffic *traffic, struct shot *shot, unsigned vpc, uint32_t vtep, const uint8_t *ip, uint32_t ip_bytes)
{
	const uint32_t header_bytes = (ip[0] % 16) * 4u, total_bytes = ip_bytes - header_bytes;
	uint8_t piece[WORLD_FRAME_MAX];
	for (uint32_t at = 0; at < total_bytes;) {
		uint32_t bytes = one_in(traffic, 15) ? 8 : 24 + 8 * below(traffic, 12);
		bytes = bytes < total_bytes - at ? bytes : total_bytes - at;
		const bool last = at + bytes == total_bytes;
		const uint32_t from = at > 8 && one_in(traffic, 40) ? at - 8 : at; /* overlaps */
		memcpy(piece, ip, header_bytes);
		memcpy(piece + header_bytes, ip + header_bytes + from, bytes);
		wire_put16(piece + 2, header_bytes + bytes);
		wire_put16(piece + 6, (last ? 0 : 0x2000) | from / 8);
		wire_seal_ip(piece);
		struct shot part;
		memcpy(&part, shot, offsetof(struct shot, bytes));
		part.alone = true;
		wrap(traffic, &part, vpc, vtep, piece, header_bytes + bytes);
		for (unsigned copies = one_in(traffic, 20) ? 2 : one_in(traffic, 20) ? 0 : 1; copies > 0; copies--)
			if (traffic->later_count < LATER)
				shot_copy(&traffic->later[traffic->later_count++], &part);
		at += bytes;
	}
}

/* Flips, cuts, stretches; mends the inner header checksum half of the time, so that what is behind is reached too. */
static void spoil(struct traffic *traffic, struct shot *shot)
{
	const uint32_t inner = shot->in_port == PORT_INSIDE && !traffic->model->plain ? WIRE_TUNNEL : WIRE_ETHERNET;
	for (uint32_t flips = below(traffic, 4); flips > 0; flips--) {
		const uint32_t first = one_in(traffic, 2) ? inner : 0;
		const uint32_t at = first + below(traffic, one_in(traffic, 2) ? 44 : shot->length_bytes - first);
		shot->bytes[at < shot->length_bytes ? at : 0] = (uint8_t)random_next(traffic->random);
	}
	if (one_in(traffic, 3))
		shot->length_bytes = below(traffic, shot->length_bytes + 1);
	else if (one_in(traffic, 10))
		shot->length_bytes = WIRE_FRAME_MAX + 1 + below(traffic, 100);
	else if (one_in(traffic, 5) && shot->length_bytes < 1000)
		for (uint32_t more = below(traffic, 60); more > 0; more--)
			shot->bytes[shot->length_bytes++] = (uint8_t)random_next(traffic->random);
	if (shot->length_bytes >= inner + 60 && shot->length_bytes <= WORLD_FRAME_MAX && one_in(traffic, 2)) {
		if (inner == WIRE_TUNNEL && one_in(traffic, 2))
			wire_seal_ip(shot->bytes + WIRE_ETHERNET);
		wire_seal_ip(shot->bytes + inner);
	}
	shot->alone = true;
	shot->hairpin = shot->in_port == PORT_INSIDE; /* who knows where to */
	shot->view = -1;
}

static void unsolicited_shot(struct traffic *traffic, struct shot *shot)
{
	static const uint8_t protocols[] = {WIRE_TCP, WIRE_UDP, WIRE_ICMP, 47, 132};
	uint8_t ip[512];
	shot->in_port = PORT_OUTSIDE;
	struct says says = {
		.source = some_remote(traffic),
		.destination = model_ip_address(below(traffic, MODEL_IPS + 1)),
		.source_port = (uint16_t)(one_in(traffic, 2) ? 53 : below(traffic, 65536)),
		.destination_port = (uint16_t)(1024 + below(traffic, 64512)),
		.payload_bytes = payload(traffic) % 200,
		.protocol = protocols[below(traffic, 5)],
		.flags = flags_of(traffic, false),
		.icmp_type = (uint8_t)below(traffic, 20),
		.ttl = ttl(traffic),
		.untagged = true,
	};
	const uint32_t ip_bytes = put_ip(ip, &says);
	wrap(traffic, shot, 0, 0, ip, ip_bytes);
}

static bool same_way(const struct view *a, const struct view *b)
{
	return a->egress == b->egress && a->remote == b->remote && a->egress_port == b->egress_port &&
	       a->remote_port == b->remote_port && a->protocol == b->protocol;
}

static bool views_equal(const struct view *a, const struct view *b)
{
	return same_way(a, b) && traffic_tags_equal(&a->tag, &b->tag);
}

bool traffic_still_said(const struct traffic *traffic, const struct shot *shot)
{
	return shot->in_port == PORT_INSIDE || shot->view < 0 || views_equal(&shot->about, &traffic->views[shot->view]);
}

/* A frame that was sent before and arrives now, if it is still what its sender would say. */
static bool later_shot(struct traffic *traffic, struct shot *shot)
{
	while (traffic->later_count > 0) {
		const uint32_t at = below(traffic, traffic->later_count < 8 ? traffic->later_count : 8);
		shot_copy(shot, &traffic->later[at]);
		if (at != --traffic->later_count)
			shot_copy(&traffic->later[at], &traffic->later[traffic->later_count]);
		if (traffic_still_said(traffic, shot))
			return true;
	}
	return false;
}

static void plain_shot(struct traffic *traffic, struct shot *shot, bool inside, bool fragments, bool untagged)
{
	uint8_t ip[WORLD_FRAME_MAX];
	struct says says;
	if (inside || !outside_says(traffic, shot, &says))
		says = inside_says(traffic, shot);
	says.untagged = says.untagged || untagged;
	says.df = says.df && !fragments;
	if (untagged || says.options != 0) /* too big to be cut: would open a session and tell nobody by what port */
		says.payload_bytes %= 800;
	if (fragments) {
		says.payload_bytes = (uint16_t)(says.payload_bytes + 60);
		if (shot->in_port == PORT_INSIDE)
			says.id %= 64; /* so that those of different workers are alike; one remote never repeats one */
		else
			says.id = traffic->next_id++;
	}
	const struct flow *flow = &traffic->flows[shot->flow];
	const uint32_t ip_bytes = put_ip(ip, &says);
	wrap(traffic, shot, flow->vpc, model_vtep(flow->host), ip, ip_bytes);
	if (fragments && !shot->hairpin)
		fragment_shots(traffic, shot, flow->vpc, model_vtep(flow->host), ip, ip_bytes);
}

void traffic_next(struct traffic *traffic, struct shot *shot)
{
	const struct traffic_mix *mix = traffic->mix;
	uint32_t dice = below(traffic, 1000);
	if (dice < mix->delayed && later_shot(traffic, shot))
		return;
	shot->view = -1; /* whatever a delayed one that will not do has left there */
	shot->flow = 0;
	shot->alone = shot->hairpin = false;
	dice = below(
		traffic, mix->inside + mix->outside + mix->icmp + mix->garbage + mix->unsolicited + mix->fragments);
	if (dice < mix->inside)
		plain_shot(traffic, shot, true, false, false);
	else if ((dice -= mix->inside) < mix->outside)
		plain_shot(traffic, shot, false, false, false);
	else if ((dice -= mix->outside) < mix->icmp)
		icmp_shot(traffic, shot);
	else if ((dice -= mix->icmp) < mix->unsolicited)
		unsolicited_shot(traffic, shot);
	else if ((dice -= mix->unsolicited) < mix->fragments)
		plain_shot(traffic, shot, one_in(traffic, 2), true, false);
	else {
		plain_shot(traffic, shot, one_in(traffic, 2), false, true);
		spoil(traffic, shot);
		return;
	}
	/* Some come twice, the second time late. */
	if (below(traffic, 1000) < mix->delayed / 4 && traffic->later_count < LATER)
		shot_copy(&traffic->later[traffic->later_count++], shot);
}

void traffic_policy_changed(struct traffic *traffic)
{
	unsigned kept = 0;
	for (unsigned i = 0; i < traffic->later_count; i++)
		if (traffic->later[i].in_port == PORT_OUTSIDE && kept++ != i)
			shot_copy(&traffic->later[kept - 1], &traffic->later[i]);
	traffic->later_count = kept;
}

void traffic_left(struct traffic *traffic, const struct shot *shot, const uint8_t *frame, uint32_t length_bytes)
{
	const struct model *model = traffic->model;
	const struct wire_port port = {.inside = false};
	const struct wire_port inside = {true, !model->plain, model->vxlan_port, model->vtep_address, model_vni(0)};
	const struct wire wire = wire_read(&port, frame, length_bytes);
	const struct wire sent = wire_read(&inside, shot->bytes, shot->length_bytes);
	const int vpc = model_vpc_of(model, sent.vni);
	if (wire.flaw != DROP_NONE || wire.icmp_error || wire.later || vpc < 0)
		return;
	struct view now = {
		.egress = wire.source,
		.remote = wire.destination,
		.egress_port = wire.source_port,
		.remote_port = wire.destination_port,
		.protocol = wire.protocol,
		.tag = model_tag(model, (unsigned)vpc, sent.source), /* what was spoilt says another sender */
		.flow = shot->flow,
	};
	unsigned at = traffic->flows[shot->flow].view; /* mostly as the last time */
	if (at >= traffic->view_count || !same_way(&traffic->views[at], &now))
		for (at = 0; at < traffic->view_count && !same_way(&traffic->views[at], &now);)
			at++;
	if (at == VIEWS)
		at = below(traffic, VIEWS);
	else if (at == traffic->view_count)
		traffic->view_count++;
	traffic->views[at] = now;
	traffic->flows[shot->flow].view = at;
}
