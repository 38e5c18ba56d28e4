/* SPDX-License-Identifier: Apache-2.0 */
/* The two journeys of a packet, as the core should take it, and the comparison with what it did. */
#include "tests/sim/oracle_state.h"

/* An error speaks of a packet that it quotes: finds that packet's session. It changes nothing. */
static enum drop_reason quoted_session(struct oracle *oracle, struct judgement *of, bool outbound)
{
	const struct wire *wire = &of->wire;
	uint8_t *ip = wire->l4 + 8;
	const uint32_t bytes = wire->l4_bytes - 8, header_bytes = bytes > 0 ? (ip[0] % 16) * 4u : 0;
	if (wire_sum(wire->l4, wire->l4_bytes) != 0)
		return DROP_ICMP_CHECKSUM;
	if (bytes < WIRE_IP + 8)
		return DROP_TRUNCATED;
	if (ip[0] / 16 != 4 || header_bytes < WIRE_IP || header_bytes + 8 > bytes)
		return DROP_BAD_IP_HEADER;
	if (wire_sum(ip, header_bytes) != 0)
		return DROP_BAD_IP_CHECKSUM;
	const uint8_t *l4 = ip + header_bytes, protocol = ip[9];
	const uint32_t from = wire_get32(ip + 12), to = wire_get32(ip + 16);
	uint16_t from_port = wire_get16(l4), to_port = wire_get16(l4 + 2);
	if (wire_get16(ip + 6) % 0x2000 != 0)
		return DROP_ICMP_NO_SESSION;
	if (protocol == WIRE_ICMP) {
		if (l4[0] != (outbound ? 0 : 8))
			return DROP_ICMP_NO_SESSION;
		from_port = outbound ? 0 : wire_get16(l4 + 4);
		to_port = outbound ? wire_get16(l4 + 4) : 0;
	} else if (protocol != WIRE_TCP && protocol != WIRE_UDP) {
		from_port = to_port = 0;
	}
	/* About something the one that it goes to has sent, or (from a worker) the sender of the error has received. */
	if (from != wire->destination || (outbound && to != wire->source))
		return DROP_ICMP_NO_SESSION;
	of->entry = outbound ? find_inside(oracle, wire->vni, protocol, to, to_port, from, from_port)
			     : find_outside(oracle, protocol, from, from_port, to, to_port);
	if (listed_since(oracle, of->entry) == NULL)
		return DROP_ICMP_NO_SESSION;
	if (!alive(oracle, of->entry))
		return DROP_STALE_SESSION;
	if (outbound && sender_refused(oracle, of) != DROP_NONE)
		return DROP_WRONG_VTEP;
	const uint32_t next = outbound ? of->entry->received : of->entry->sent;
	if (protocol == WIRE_TCP && next - wire_get32(l4 + 4) > 1u << 30)
		return DROP_ICMP_NO_SESSION;
	return DROP_NONE;
}

static void translate_error(const struct oracle *oracle, struct judgement *of, bool outbound)
{
	const struct entry *entry = of->entry;
	uint8_t *l4 = of->packet + (of->wire.l4 - of->wire.ip);
	take_packet(of);
	if (outbound)
		readdress(
			oracle, l4 + 8, of->wire.l4_bytes - 8, false, entry->egress_address, entry->egress_port, false);
	else
		readdress(oracle, l4 + 8, of->wire.l4_bytes - 8, true, entry->inside, entry->inside_port, false);
	wire_put32(of->packet + (outbound ? 12 : 16), outbound ? entry->egress_address : entry->inside);
	wire_seal_ip(of->packet);
	wire_seal_l4(of->packet);
}

/* ---- the two journeys ---- */

/* Where in what came out the IPv4 header stands that the outbound translation wrote; NULL: it does not show. */
static const uint8_t *header_seen(const struct oracle *oracle, const struct judgement *of)
{
	const struct oracle_seen *seen = of->seen;
	const bool tunnel = oracle->policy.encapsulation == POLICY_ENCAPSULATION_VXLAN;
	if (!seen->forwarded)
		return NULL;
	if (!of->entry->hairpin || seen->reason == DROP_NONE)
		return seen->bytes + (seen->out_port == PORT_INSIDE && tunnel ? WIRE_TUNNEL : WIRE_ETHERNET);
	return seen->bytes + WIRE_ETHERNET + WIRE_IP + 8; /* in an error about what came back */
}

/* Two workers behind one IP must not use the same IP ID where it matters: the core numbers what may be fragmented. */
static void choose_id(struct oracle *oracle, struct judgement *of)
{
	const uint8_t *header = header_seen(oracle, of);
	if (of->wire.df && !of->wire.fragment)
		return;
	of->id_hidden = header == NULL;
	if (of->id_hidden)
		return;
	const uint16_t id = wire_get16(header + 4);
	if (id == oracle->last_id && of->bad_choice == NULL)
		of->bad_choice = "two packets in a row left with the same IP ID";
	oracle->last_id = id;
	wire_put16(of->packet + 4, id);
}

static enum drop_reason outbound(struct oracle *oracle, struct judgement *of)
{
	const struct wire *wire = &of->wire;
	if (!vtep_trusted(oracle, wire->vtep))
		return DROP_UNTRUSTED_VTEP;
	of->vpc = vpc_of(oracle, wire->vni);
	if (of->vpc == NULL)
		return DROP_UNKNOWN_VNI;
	of->of = RECORDS(oracle, policy_workspace, POLICY_WORKSPACES) + of->vpc->workspace_index;
	of->workspace = oracle->workspaces[of->vpc->workspace_index];
	if (!vpc_contains(oracle, of->vpc, wire->source))
		return DROP_SOURCE_OUTSIDE_VPC;
	if (!rates_held(oracle, of))
		return DROP_LIMIT_PACKET_RATE;
	if (wire->ttl <= 1)
		return DROP_TTL_EXPIRED;
	enum drop_reason reason = route(oracle, of, PORT_OUTSIDE, wire->destination);
	if (reason != DROP_NONE)
		return reason;
	if (!fits(oracle, of, PORT_OUTSIDE))
		return DROP_TOO_BIG;
	if (wire->fragment) {
		reason = fragment_noted(oracle, of, true);
		if (reason != DROP_NONE || of->hold)
			return reason;
		if (wire->later)
			return fragment_follows(oracle, of, true);
	}
	if (wire->icmp_error) {
		reason = quoted_session(oracle, of, true);
		if (reason == DROP_NONE)
			translate_error(oracle, of, true);
		return reason;
	}
	of->entry = find_inside(oracle, wire->vni, wire->protocol, wire->source, wire->source_port, wire->destination,
		wire->destination_port);
	if (listed_since(oracle, of->entry) != NULL && !alive(oracle, of->entry)) {
		entry_remove(oracle, of->entry); /* it must not carry the successor's packets */
		of->entry = NULL;
	}
	reason = of->entry == NULL ? create(oracle, of) : sender_refused(oracle, of);
	if (reason != DROP_NONE)
		return reason;
	of->entry->vtep = wire->vtep;
	session_moves(oracle, of, true);
	take_packet(of);
	choose_id(oracle, of);
	readdress(oracle, of->packet, of->packet_bytes, true, of->entry->egress_address, of->entry->egress_port, true);
	return DROP_NONE;
}

/* Where the worker of a session is now. */
uint32_t vtep_of(const struct oracle *oracle, const struct entry *entry)
{
	const struct policy_vpc *vpc = vpc_of(oracle, entry->vni);
	const int worker = entry->worker != 0 ? worker_of(oracle, vpc, entry->inside) : -1;
	const uint32_t listed = worker >= 0 ? RECORDS(oracle, policy_worker, POLICY_WORKERS)[worker].vtep : 0;
	return listed != 0 ? listed : entry->vtep;
}

/* The egress port that a packet from outside speaks of: its own, or of the packet that an error quotes. */
static uint32_t egress_port_of(const struct wire *wire)
{
	if (!wire->icmp_error)
		return wire->protocol == WIRE_ICMP ? wire->source_port : wire->destination_port;
	const uint8_t *quoted = wire->l4 + 8;
	const uint32_t header_bytes = wire->l4_bytes > 8 ? (quoted[0] % 16) * 4u : 0;
	if (wire->l4_bytes < 8 + WIRE_IP || header_bytes < WIRE_IP || 8 + header_bytes + 8 > wire->l4_bytes)
		return 0;
	return wire_get16(quoted + header_bytes + (quoted[9] == WIRE_ICMP ? 4 : 0));
}

/* Whose packet from outside it is; a shared address belongs to whom the port belongs to. */
static enum drop_reason owner_outside(struct oracle *oracle, struct judgement *of)
{
	const struct policy_egress_ip *egress = egress_of(oracle, of->wire.destination, ANY_PORT);
	if (egress == NULL)
		return DROP_NOT_OURS;
	if (egress->port_first != 0 && of->wire.later) {
		const struct parts *datagram = datagram_from_outside(oracle, &of->wire);
		if (!wire_has_ports(of->wire.protocol))
			return DROP_FRAGMENT;
		if (datagram == NULL)
			return DROP_NONE; /* it waits, and its first one will say whose it is */
		if (datagram->is == WAITING && datagram->workspace != 0)
			return DROP_FRAGMENT; /* it began when the address was that workspace's alone */
		of->workspace = datagram->workspace;
		for (uint32_t i = 0; i < COUNT(oracle, POLICY_WORKSPACES); i++)
			if (oracle->workspaces[i] == of->workspace)
				of->of = RECORDS(oracle, policy_workspace, POLICY_WORKSPACES) + i;
		return DROP_NONE;
	}
	egress = egress_of(oracle, of->wire.destination, egress_port_of(&of->wire));
	if (egress == NULL)
		return DROP_NO_SESSION;
	of->of = RECORDS(oracle, policy_workspace, POLICY_WORKSPACES) + egress->workspace_index;
	of->workspace = oracle->workspaces[egress->workspace_index];
	return DROP_NONE;
}

static enum drop_reason inbound(struct oracle *oracle, struct judgement *of)
{
	const struct wire *wire = &of->wire;
	enum drop_reason reason = owner_outside(oracle, of);
	if (reason != DROP_NONE)
		return reason;
	if (wire->fragment) {
		reason = fragment_noted(oracle, of, false);
		if (reason != DROP_NONE || of->hold)
			return reason;
		if (wire->later)
			return fragment_follows(oracle, of, false);
	}
	if (wire->icmp_error) {
		reason = quoted_session(oracle, of, false);
		const uint16_t mtu_bytes = wire_get16(wire->l4 + 6);
		if (reason != DROP_NONE)
			return reason;
		/* A next-hop MTU below IPv4's least or above our own link's is a lie; 0 comes from old routers. */
		const bool lie = mtu_bytes != 0 &&
				 (mtu_bytes < 68 || mtu_bytes > oracle->adjacency.ports[PORT_OUTSIDE].mtu_bytes);
		if (!oracle->has_adjacency)
			return DROP_NO_ROUTE;
		if ((wire->l4[0] == 3 && wire->l4[1] == 4 && lie) || wire->ttl <= 1)
			return DROP_BAD_L4;
	} else {
		const bool icmp = wire->protocol == WIRE_ICMP;
		of->entry = find_outside(oracle, wire->protocol, wire->destination,
			icmp ? wire->source_port : wire->destination_port, wire->source, icmp ? 0 : wire->source_port);
		if (listed_since(oracle, of->entry) == NULL)
			return DROP_NO_SESSION;
		if (!alive(oracle, of->entry))
			return DROP_STALE_SESSION;
	}
	const uint32_t vtep = vtep_of(oracle, of->entry);
	if (!vtep_trusted(oracle, vtep))
		return DROP_UNTRUSTED_VTEP;
	const bool tunnel = oracle->policy.encapsulation == POLICY_ENCAPSULATION_VXLAN;
	reason = route(oracle, of, PORT_INSIDE, tunnel ? vtep : of->entry->inside);
	if (reason != DROP_NONE)
		return reason;
	if (!fits(oracle, of, PORT_INSIDE))
		return DROP_TOO_BIG;
	if (wire->ttl <= 1)
		return DROP_TTL_EXPIRED;
	if (wire->icmp_error) {
		translate_error(oracle, of, false);
		return DROP_NONE;
	}
	session_moves(oracle, of, false);
	take_packet(of);
	readdress(oracle, of->packet, of->packet_bytes, false, of->entry->inside, of->entry->inside_port, true);
	return DROP_NONE;
}

/* ---- judging ---- */

bool same(struct oracle *oracle, const struct output *output, const struct oracle_seen *seen)
{
	static uint8_t frame[PACKET_MAX + WIRE_TUNNEL];
	char *text = oracle->complaint;
	const size_t size = sizeof(oracle->complaint);
	if (seen->forwarded != output->forwarded || seen->held != output->held || seen->reason != output->reason) {
		snprintf(text, size, "packet %llu: %s as %s, should be %s as %s", (unsigned long long)output->handle,
			seen->forwarded ? "sent"
			: seen->held	? "held"
					: "dropped",
			drop_reason_label(seen->reason),
			output->forwarded ? "sent"
			: output->held	  ? "held"
					  : "dropped",
			drop_reason_label(output->reason));
		return false;
	}
	if (!output->forwarded)
		return true;
	const uint32_t length_bytes = frame_of(oracle, output, seen->bytes, frame);
	if (seen->out_port != output->port || length_bytes != seen->length_bytes) {
		snprintf(text, size, "packet %llu: %u bytes left by port %u, should be %u by port %u",
			(unsigned long long)output->handle, seen->length_bytes, seen->out_port, length_bytes,
			output->port);
		return false;
	}
	if (memcmp(seen->bytes, frame, length_bytes) == 0)
		return true;
	uint32_t at = 0;
	while (seen->bytes[at] == frame[at])
		at++;
	snprintf(text, size, "packet %llu: byte %u of %u that left by port %u is %02x, should be %02x",
		(unsigned long long)output->handle, at, length_bytes, output->port, seen->bytes[at], frame[at]);
	return false;
}

/* All that should come out did, and nothing else. The packet itself is first; the order of the others is free. */
static const char *judge_outputs(
	struct oracle *oracle, const struct judgement *of, const struct oracle_seen *seen, uint32_t seen_count)
{
	bool matched[OUTPUTS_MAX] = {false};
	for (uint32_t i = 0; i < of->output_count; i++) {
		bool candidate = false, found = false;
		for (uint32_t s = 0; s < seen_count && !found; s++)
			if (!matched[s] && seen[s].handle == of->outputs[i].handle) {
				candidate = true;
				matched[s] = found = same(oracle, &of->outputs[i], &seen[s]);
			}
		if (!found && !candidate)
			snprintf(oracle->complaint, sizeof(oracle->complaint),
				"a packet that should come out (%s, %s) did not",
				of->outputs[i].forwarded ? "sent" : "dropped",
				drop_reason_label(of->outputs[i].reason));
		if (!found)
			return oracle->complaint;
	}
	return seen_count == of->output_count ? NULL : "more packets came out than should";
}

/* From a frame to what shall come of it. */
static void journey(struct oracle *oracle, struct judgement *of, const uint8_t *frame, uint32_t length_bytes)
{
	const bool inside = of->in_port == PORT_INSIDE;
	enum drop_reason reason = DROP_NO_POLICY;
	if (oracle->has_policy) {
		const struct wire_port port = {inside, oracle->policy.encapsulation == POLICY_ENCAPSULATION_VXLAN,
			oracle->policy.vxlan_udp_port, oracle->policy.vtep_address, oracle->policy.plain_vni};
		of->wire = wire_read(&port, frame, length_bytes);
		reason = of->wire.flaw;
		if (reason == DROP_NONE)
			reason = inside ? outbound(oracle, of) : inbound(oracle, of);
	}
	const bool first = of->datagram != NULL && !of->wire.later && of->datagram->is == WAITING;
	if (of->hold) {
		dropped(of, of->handle, DROP_NONE);
		of->outputs[of->output_count - 1].held = true;
	} else if (reason == DROP_NONE) {
		depart(oracle, of, of->handle, inside);
		if (first)
			fragment_first_known(oracle, of, inside);
	} else {
		if (first)
			fragment_first_refused(oracle, of, reason);
		if (!answer(oracle, of, reason, inside))
			dropped(of, of->handle, reason);
	}
}

/* It leaves; or, to an egress IP of this gateway, comes in again as from outside (RFC 4787 REQ-9). */
void depart(struct oracle *oracle, struct judgement *of, uint64_t handle, bool outbound)
{
	if (!outbound || !of->entry->hairpin) {
		leave(of, handle, outbound ? PORT_OUTSIDE : PORT_INSIDE, of->entry->vni, vtep_of(oracle, of->entry));
		return;
	}
	static const uint8_t mac[6];
	struct judgement *again = calloc(1, sizeof(*again));
	uint8_t *frame = malloc(PACKET_MAX + WIRE_ETHERNET);
	if (again == NULL || frame == NULL)
		abort();
	again->in_port = PORT_OUTSIDE;
	again->handle = handle;
	again->seen = of->seen;
	again->outputs = of->outputs;
	again->output_count = of->output_count;
	again->id_hidden = of->id_hidden;
	journey(oracle, again, frame, wire_plain(frame, mac, mac, of->packet, of->packet_bytes));
	of->output_count = again->output_count;
	if (of->bad_choice == NULL)
		of->bad_choice = again->bad_choice;
	free(frame);
	free(again);
}

const char *oracle_packet(struct oracle *oracle, unsigned in_port, const uint8_t *frame, uint32_t length_bytes,
	const struct oracle_seen *seen, uint32_t seen_count)
{
	static struct judgement of;
	static struct output outputs[OUTPUTS_MAX];
	memset(&of, 0, offsetof(struct judgement, packet));
	of.in_port = in_port;
	of.seen = seen;
	of.handle = seen->handle;
	of.outputs = outputs;
	of.output_count = 0;
	if (seen_count > OUTPUTS_MAX)
		return "far more packets came out than should";
	journey(oracle, &of, frame, length_bytes);
	const char *wrong = judge_outputs(oracle, &of, seen, seen_count);
	if (of.bad_choice != NULL && wrong != NULL) {
		const size_t used = strlen(oracle->complaint);
		snprintf(oracle->complaint + used, sizeof(oracle->complaint) - used, "; %s", of.bad_choice);
	}
	return wrong != NULL ? wrong : of.bad_choice;
}

const char *oracle_overdue(struct oracle *oracle)
{
	EACH_DATAGRAM (oracle, it)
		if (it->end_ns + SECOND < oracle->now_ns)
			return "a datagram of fragments is still there over a second after its end";
	return oracle_session_overdue(oracle);
}

static void forget(struct oracle *oracle)
{
	EACH_DATAGRAM (oracle, it)
		for (uint32_t i = 0; i < it->held_count; i++)
			free(it->held[i]);
}

void oracle_restart(struct oracle *oracle, const struct oracle_config *config)
{
	if (config->sessions_max > ORACLE_SESSIONS_MAX)
		abort();
	forget(oracle);
	memset(oracle, 0, offsetof(struct oracle, entries));
	oracle->config = *config;
	oracle->now_ns = (int64_t)config->now_ns;
	oracle->last_id = UINT16_MAX;
	oracle->ports_given = ports_given(oracle, &(struct policy_egress_ip){.port_first = 0});
}

struct oracle *oracle_new(const struct oracle_config *config)
{
	struct oracle *oracle = calloc(1, sizeof(*oracle));
	if (oracle == NULL)
		abort();
	oracle->datagrams = malloc(DATAGRAMS_MAX_SEEN * sizeof(struct parts));
	oracle->resets = malloc(RESETS_MAX * sizeof(struct output));
	if (oracle->datagrams == NULL || oracle->resets == NULL)
		abort();
	oracle_restart(oracle, config);
	return oracle;
}

void oracle_free(struct oracle *oracle)
{
	forget(oracle);
	free(oracle->datagrams);
	free(oracle->resets);
	free(oracle);
}
