/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/nat/fixture.h"

#include <stdlib.h>

static void *zeroed(size_t size_bytes)
{
	void *memory = aligned_alloc(4096, (size_bytes + 4095) & ~(size_t)4095);
	assert_non_null(memory);
	memset(memory, 0, size_bytes);
	return memory;
}

static void *tables_new(struct fixture *fixture, size_t size_bytes)
{
	assert_true(fixture->tables_count < sizeof(fixture->tables_memory) / sizeof(fixture->tables_memory[0]));
	void *memory = zeroed(size_bytes);
	fixture->tables_memory[fixture->tables_count++] = memory;
	return memory;
}

void fixture_apply(struct fixture *fixture)
{
	char text[NAT_TEXT_SIZE_BYTES] = "";
	size_t size_bytes;
	struct policy_snapshot *snapshot = draft_compile(&fixture->draft, ++fixture->generation, &size_bytes);
	if (!policy_snapshot_check(snapshot, size_bytes, text))
		fail_msg("%s", text);
	void *memory = tables_new(fixture, policy_tables_size(snapshot));
	fixture->view.policy = policy_tables_build(memory, fixture->identities, snapshot, text);
	if (fixture->view.policy == NULL)
		fail_msg("%s", text);
	identities_publish(fixture->identities, fixture->counters);
	free(snapshot);
}

void fixture_adjacency(struct fixture *fixture, uint32_t inside_mtu_bytes, uint32_t outside_mtu_bytes)
{
	struct {
		struct adjacency_snapshot header;
		struct adjacency_next_hop next_hops[3];
		struct adjacency_route routes[3];
	} block = {
		.header =
			{
				.magic = ADJACENCY_MAGIC,
				.version = ADJACENCY_VERSION,
				.size_bytes = sizeof(block),
				.generation = ++fixture->generation,
				.ports =
					{
						[PORT_INSIDE] = {{2, 0, 0, 0, 1, 1}, 1, 0, GATEWAY_INSIDE,
							inside_mtu_bytes},
						[PORT_OUTSIDE] = {{2, 0, 0, 0, 1, 2}, 1, 0, GATEWAY_OUTSIDE,
							outside_mtu_bytes},
					},
			},
		.next_hops =
			{
				{{2, 0, 0, 0, 2, 1}, 1, PORT_INSIDE, HOST_1, 0},
				{{2, 0, 0, 0, 2, 2}, 1, PORT_INSIDE, HOST_2, 0},
				{{2, 0, 0, 0, 3, 1}, 1, PORT_OUTSIDE, IP(198, 51, 100, 1), 0},
			},
		.routes =
			{
				{HOST_1, 32, PORT_INSIDE, 0, 0},
				{HOST_2, 32, PORT_INSIDE, 0, 1},
				{0, 0, PORT_OUTSIDE, 0, 2},
			},
	};
	block.header.next_hops = (struct policy_table){
		(uint64_t)((uint8_t *)block.next_hops - (uint8_t *)&block), 3, sizeof(block.next_hops[0])};
	block.header.routes = (struct policy_table){
		(uint64_t)((uint8_t *)block.routes - (uint8_t *)&block), 3, sizeof(block.routes[0])};
	block.header.groups = (struct policy_table){0, 0, sizeof(struct adjacency_group)};
	char text[NAT_TEXT_SIZE_BYTES] = "";
	if (!adjacency_snapshot_check(&block, sizeof(block), text))
		fail_msg("%s", text);
	void *memory = tables_new(fixture, adjacency_tables_size(&block.header));
	fixture->view.adjacency = adjacency_tables_build(memory, &block.header);
}

static struct packet *spare_take(void *context)
{
	struct fixture *fixture = context;
	if (fixture->spares_used == SPARE_COUNT)
		return NULL;
	struct frame *frame = &fixture->spares[fixture->spares_used++];
	frame->packet = (struct packet){
		.data = frame->buffer + FRAME_HEADROOM_BYTES,
		.headroom_bytes = FRAME_HEADROOM_BYTES,
		.owner = frame,
	};
	return &frame->packet;
}

struct frame *fixture_take(struct fixture *fixture)
{
	struct packet *packet = nat_take(fixture->shard);
	if (packet == NULL)
		return NULL;
	return (struct frame *)((uint8_t *)packet - offsetof(struct frame, packet));
}

struct fixture *fixture_new(uint32_t sessions_max)
{
	struct fixture *fixture = zeroed(sizeof(*fixture));
	fixture->identities = zeroed(identities_size());
	fixture->counters = zeroed(sizeof(struct counters) + sizeof(struct counters_shard));
	fixture->counters->shard_count = 1;
	fixture->spares = zeroed(SPARE_COUNT * sizeof(struct frame));
	fixture->sessions_memory = zeroed(sessions_max * sizeof(struct session));
	fixture->now_ns = 1000 * SECOND_NS;
	fixture->config = (struct nat_config){
		.shard_count = 1,
		.sessions_max = sessions_max,
		.now_ns = fixture->now_ns,
		.origin_ns = fixture->now_ns,
		.sessions = fixture->sessions_memory,
		.counters = &fixture->counters->shards[0],
		.spare = spare_take,
		.spare_context = fixture,
	};
	memset(fixture->config.secret, 0x5a, sizeof(fixture->config.secret));
	fixture->shard_memory = zeroed(nat_shard_size(&fixture->config));
	fixture->shard = nat_shard_init(fixture->shard_memory, &fixture->config);
	assert_non_null(fixture->shard);
	draft_default(&fixture->draft);
	fixture_apply(fixture);
	fixture_adjacency(fixture, 1500, 1500);
	return fixture;
}

void fixture_recover(struct fixture *fixture)
{
	fixture->config.recover = true;
	fixture->config.identities = fixture->identities;
	fixture->config.now_ns = fixture->now_ns;
	memset(fixture->shard_memory, 0, nat_shard_size(&fixture->config));
	memset(&fixture->counters->shards[0], 0, sizeof(fixture->counters->shards[0]));
	fixture->shard = nat_shard_init(fixture->shard_memory, &fixture->config);
	assert_non_null(fixture->shard);
}

void fixture_free(struct fixture *fixture)
{
	for (unsigned i = 0; i < fixture->tables_count; i++)
		free(fixture->tables_memory[i]);
	free(fixture->spares);
	free(fixture->shard_memory);
	free(fixture->sessions_memory);
	free(fixture->counters);
	free(fixture->identities);
	free(fixture);
}

int fixture_setup(void **state)
{
	*state = fixture_new(4096);
	return 0;
}

int fixture_teardown(void **state)
{
	fixture_free(*state);
	return 0;
}

static uint16_t tcp_build(uint8_t *l4, const struct description *of)
{
	const uint32_t header_bytes = TCP_HEADER_BYTES + (of->mss != 0 ? 4 : 0);
	store_be16(l4, of->source_port);
	store_be16(l4 + 2, of->destination_port);
	store_be32(l4 + TCP_SEQUENCE_OFFSET, of->sequence);
	store_be32(l4 + TCP_ACK_OFFSET, of->acknowledged);
	l4[TCP_DATA_OFFSET] = (uint8_t)(header_bytes / 4 << 4);
	l4[TCP_FLAGS_OFFSET] = of->tcp_flags;
	store_be16(l4 + TCP_WINDOW_OFFSET, 65535);
	if (of->mss != 0) {
		l4[20] = 2;
		l4[21] = 4;
		store_be16(l4 + 22, of->mss);
	}
	return (uint16_t)(header_bytes + of->payload_bytes);
}

static uint16_t l4_build(uint8_t *l4, const struct description *of)
{
	if (of->protocol == PROTOCOL_TCP)
		return tcp_build(l4, of);
	if (of->protocol == PROTOCOL_UDP) {
		const uint16_t length_bytes = (uint16_t)(UDP_HEADER_BYTES + of->payload_bytes);
		store_be16(l4, of->source_port);
		store_be16(l4 + 2, of->destination_port);
		store_be16(l4 + 4, length_bytes);
		return length_bytes;
	}
	l4[0] = of->icmp_type;
	l4[1] = of->icmp_code;
	store_be16(l4 + ICMP_ID_OFFSET, of->source_port);
	store_be16(l4 + 6, 1);
	return (uint16_t)(ICMP_HEADER_BYTES + of->payload_bytes);
}

static uint16_t l4_checksum(
	const uint8_t *l4, uint16_t length_bytes, uint32_t source, uint32_t destination, uint8_t protocol)
{
	const uint32_t pseudo =
		protocol == PROTOCOL_ICMP ? 0 : checksum_pseudo(source, destination, protocol, length_bytes);
	return (uint16_t)~checksum_fold(checksum_sum(l4, length_bytes, pseudo));
}

static unsigned l4_checksum_offset(uint8_t protocol)
{
	return protocol == PROTOCOL_TCP	  ? TCP_CHECKSUM_OFFSET
	       : protocol == PROTOCOL_UDP ? UDP_CHECKSUM_OFFSET
					  : ICMP_CHECKSUM_OFFSET;
}

uint16_t ip_build(uint8_t *ip, const struct description *of)
{
	memset(ip, 0, IPV4_HEADER_BYTES + 64);
	uint8_t *l4 = ip + IPV4_HEADER_BYTES;
	const uint16_t l4_bytes = l4_build(l4, of);
	for (uint16_t i = 0; i < of->payload_bytes; i++)
		l4[l4_bytes - of->payload_bytes + i] = (uint8_t)(i * 7 + 1);
	const uint16_t checksum = l4_checksum(l4, l4_bytes, of->source, of->destination, of->protocol);
	if (!of->no_checksum)
		store_be16(l4 + l4_checksum_offset(of->protocol),
			checksum == 0 && of->protocol == PROTOCOL_UDP ? 0xffff : checksum);
	const uint16_t ip_bytes = (uint16_t)(IPV4_HEADER_BYTES + l4_bytes);
	ip[0] = 0x45;
	store_be16(ip + IPV4_LENGTH_OFFSET, ip_bytes);
	store_be16(ip + IPV4_ID_OFFSET, of->ip_id);
	store_be16(ip + IPV4_FRAGMENT_OFFSET, of->df ? IPV4_FLAG_DF : 0);
	ip[IPV4_TTL_OFFSET] = of->ttl != 0 ? of->ttl : 64;
	ip[IPV4_PROTOCOL_OFFSET] = of->protocol;
	store_be32(ip + IPV4_SOURCE_OFFSET, of->source);
	store_be32(ip + IPV4_DESTINATION_OFFSET, of->destination);
	store_be16(ip + IPV4_CHECKSUM_OFFSET, checksum_of(ip, IPV4_HEADER_BYTES));
	return ip_bytes;
}

static void outer_build(uint8_t *frame, uint32_t vni, uint32_t vtep, uint16_t inner_bytes)
{
	uint8_t *ip = frame + ETHERNET_HEADER_BYTES;
	uint8_t *udp = ip + IPV4_HEADER_BYTES;
	uint8_t *vxlan = udp + UDP_HEADER_BYTES;
	const uint16_t udp_bytes =
		(uint16_t)(UDP_HEADER_BYTES + VXLAN_HEADER_BYTES + ETHERNET_HEADER_BYTES + inner_bytes);
	memset(frame, 0, VXLAN_OUTER_BYTES + ETHERNET_HEADER_BYTES);
	store_be16(frame + ETHERNET_TYPE_OFFSET, ETHERTYPE_IPV4);
	ip[0] = 0x45;
	store_be16(ip + IPV4_LENGTH_OFFSET, (uint16_t)(IPV4_HEADER_BYTES + udp_bytes));
	ip[IPV4_TTL_OFFSET] = 64;
	ip[IPV4_PROTOCOL_OFFSET] = PROTOCOL_UDP;
	store_be32(ip + IPV4_SOURCE_OFFSET, vtep);
	store_be32(ip + IPV4_DESTINATION_OFFSET, GATEWAY_INSIDE);
	store_be16(ip + IPV4_CHECKSUM_OFFSET, checksum_of(ip, IPV4_HEADER_BYTES));
	store_be16(udp, 50000);
	store_be16(udp + 2, 4789);
	store_be16(udp + 4, udp_bytes);
	vxlan[0] = VXLAN_FLAG_I;
	store_be32(vxlan + 4, vni << 8);
	store_be16(vxlan + VXLAN_HEADER_BYTES + ETHERNET_TYPE_OFFSET, ETHERTYPE_IPV4);
}

void frame_wrap(
	struct frame *frame, bool outside, uint32_t vni, uint32_t vtep, const uint8_t *inner, uint16_t inner_bytes)
{
	memset(frame, 0xee, sizeof(*frame));
	frame->packet = (struct packet){
		.data = frame->buffer + FRAME_HEADROOM_BYTES,
		.headroom_bytes = FRAME_HEADROOM_BYTES,
		.in_port = outside ? PORT_OUTSIDE : PORT_INSIDE,
	};
	uint8_t *at = frame->packet.data;
	if (outside) {
		memset(at, 0, ETHERNET_HEADER_BYTES);
		store_be16(at + ETHERNET_TYPE_OFFSET, ETHERTYPE_IPV4);
		at += ETHERNET_HEADER_BYTES;
	} else {
		outer_build(at, vni, vtep, inner_bytes);
		at += VXLAN_OUTER_BYTES + ETHERNET_HEADER_BYTES;
	}
	memcpy(at, inner, inner_bytes);
	frame->packet.length_bytes = (uint16_t)(at - frame->packet.data + inner_bytes);
}

void frame_cut(struct frame *frame, const struct description *of, uint32_t from_bytes, uint32_t bytes, bool more)
{
	uint8_t whole[FRAME_MAX_BYTES], cut[FRAME_MAX_BYTES];
	const uint32_t total_bytes = ip_build(whole, of) - (uint32_t)IPV4_HEADER_BYTES;
	if (from_bytes + bytes > total_bytes)
		bytes = total_bytes - from_bytes;
	memcpy(cut, whole, IPV4_HEADER_BYTES);
	memcpy(cut + IPV4_HEADER_BYTES, whole + IPV4_HEADER_BYTES + from_bytes, bytes);
	store_be16(cut + IPV4_LENGTH_OFFSET, (uint16_t)(IPV4_HEADER_BYTES + bytes));
	store_be16(cut + IPV4_FRAGMENT_OFFSET, (uint16_t)(from_bytes / 8 | (more ? IPV4_FLAG_MF : 0)));
	store_be16(cut + IPV4_CHECKSUM_OFFSET, 0);
	store_be16(cut + IPV4_CHECKSUM_OFFSET, checksum_of(cut, IPV4_HEADER_BYTES));
	frame_wrap(frame, of->outside, of->vni != 0 ? of->vni : VNI_ACME, of->vtep != 0 ? of->vtep : HOST_1, cut,
		(uint16_t)(IPV4_HEADER_BYTES + bytes));
}

void frame_piece(struct frame *frame, const struct description *of, unsigned piece)
{
	frame_cut(frame, of, piece * PIECE_BYTES, PIECE_BYTES, piece + 1 < PIECES);
}

const unsigned piece_orders[6][PIECES] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};

void frame_build(struct frame *frame, const struct description *of)
{
	uint8_t inner[FRAME_MAX_BYTES];
	const uint16_t inner_bytes = ip_build(inner, of);
	frame_wrap(frame, of->outside, of->vni != 0 ? of->vni : VNI_ACME, of->vtep != 0 ? of->vtep : HOST_1, inner,
		inner_bytes);
}

void frame_build_icmp_error(
	struct frame *frame, const struct description *outer, const struct description *about, uint16_t mtu_bytes)
{
	uint8_t inner[FRAME_MAX_BYTES], quoted[FRAME_MAX_BYTES];
	const uint16_t quoted_bytes = ip_build(quoted, about);
	struct description error = *outer;
	error.protocol = PROTOCOL_ICMP;
	error.payload_bytes = quoted_bytes;
	error.source_port = 0;
	const uint16_t inner_bytes = ip_build(inner, &error);
	uint8_t *icmp = inner + IPV4_HEADER_BYTES;
	memcpy(icmp + ICMP_HEADER_BYTES, quoted, quoted_bytes);
	store_be16(icmp + ICMP_MTU_OFFSET, mtu_bytes);
	store_be16(icmp + ICMP_CHECKSUM_OFFSET, 0);
	store_be16(icmp + ICMP_CHECKSUM_OFFSET, checksum_of(icmp, (uint32_t)ICMP_HEADER_BYTES + quoted_bytes));
	frame_wrap(frame, outer->outside, outer->vni != 0 ? outer->vni : VNI_ACME,
		outer->vtep != 0 ? outer->vtep : HOST_1, inner, inner_bytes);
}

enum packet_verdict fixture_run(struct fixture *fixture, struct frame *frame)
{
	struct packet *packet = &frame->packet;
	nat_process(fixture->shard, &fixture->view, &packet, 1, fixture->now_ns);
	assert_int_not_equal(packet->verdict, PACKET_PENDING);
	return packet->verdict;
}

enum packet_verdict fixture_send(struct fixture *fixture, struct frame *frame, const struct description *description)
{
	frame_build(frame, description);
	return fixture_run(fixture, frame);
}

struct seen fixture_sent(struct fixture *fixture, struct description description)
{
	struct frame frame;
	assert_int_equal(fixture_send(fixture, &frame, &description), PACKET_FORWARD);
	const struct seen seen = frame_read(&frame);
	assert_true(seen.checksums_right);
	return seen;
}

bool fixture_passes(struct fixture *fixture, struct description description)
{
	struct frame frame;
	return fixture_send(fixture, &frame, &description) == PACKET_FORWARD;
}

void fixture_expect_drop(struct fixture *fixture, const struct description *description, enum drop_reason reason)
{
	struct frame frame;
	const uint64_t before = fixture_drops(fixture, reason);
	fixture_send(fixture, &frame, description);
	assert_int_equal(frame.packet.drop_reason, reason);
	assert_int_equal(fixture_drops(fixture, reason), before + 1);
}

struct seen frame_read(const struct frame *frame)
{
	const struct packet *packet = &frame->packet;
	struct seen seen = {.tunnelled = packet->out_port == PORT_INSIDE};
	const uint8_t *ip = packet->data + ETHERNET_HEADER_BYTES;
	seen.checksums_right = true;
	if (seen.tunnelled) {
		const uint8_t *vxlan = ip + IPV4_HEADER_BYTES + UDP_HEADER_BYTES;
		seen.outer_source = load_be32(ip + IPV4_SOURCE_OFFSET);
		seen.outer_destination = load_be32(ip + IPV4_DESTINATION_OFFSET);
		seen.vni = load_be32(vxlan + 4) >> 8;
		seen.checksums_right = checksum_of(ip, IPV4_HEADER_BYTES) == 0;
		ip = vxlan + VXLAN_HEADER_BYTES + ETHERNET_HEADER_BYTES;
	}
	const uint8_t *l4 = ip + IPV4_HEADER_BYTES;
	seen.ip = ip;
	seen.l4 = l4;
	seen.ip_bytes = load_be16(ip + IPV4_LENGTH_OFFSET);
	assert_int_equal(ip + seen.ip_bytes - packet->data, packet->length_bytes);
	seen.source = load_be32(ip + IPV4_SOURCE_OFFSET);
	seen.destination = load_be32(ip + IPV4_DESTINATION_OFFSET);
	seen.protocol = ip[IPV4_PROTOCOL_OFFSET];
	seen.ttl = ip[IPV4_TTL_OFFSET];
	seen.checksums_right = seen.checksums_right && checksum_of(ip, IPV4_HEADER_BYTES) == 0;
	const uint16_t l4_bytes = (uint16_t)(seen.ip_bytes - IPV4_HEADER_BYTES);
	const bool no_checksum = seen.protocol == PROTOCOL_UDP && load_be16(l4 + UDP_CHECKSUM_OFFSET) == 0;
	seen.checksums_right = seen.checksums_right && (no_checksum || l4_checksum(l4, l4_bytes, seen.source,
									       seen.destination, seen.protocol) == 0);
	if (seen.protocol == PROTOCOL_ICMP) {
		seen.icmp_type = l4[0];
		seen.icmp_code = l4[1];
		seen.source_port = seen.destination_port = load_be16(l4 + ICMP_ID_OFFSET);
		seen.icmp_mtu = load_be16(l4 + ICMP_MTU_OFFSET);
		return seen;
	}
	seen.source_port = load_be16(l4);
	seen.destination_port = load_be16(l4 + 2);
	if (seen.protocol == PROTOCOL_TCP) {
		seen.tcp_flags = l4[TCP_FLAGS_OFFSET];
		seen.sequence = load_be32(l4 + TCP_SEQUENCE_OFFSET);
		seen.acknowledged = load_be32(l4 + TCP_ACK_OFFSET);
		if (l4[TCP_DATA_OFFSET] >> 4 == 6)
			seen.mss = load_be16(l4 + 22);
	}
	return seen;
}

void fixture_pass(struct fixture *fixture, uint64_t nanoseconds)
{
	const uint64_t end_ns = fixture->now_ns + nanoseconds;
	while (fixture->now_ns < end_ns) {
		const uint64_t step_ns = end_ns - fixture->now_ns < 100000000 ? end_ns - fixture->now_ns : 100000000;
		fixture->now_ns += step_ns;
		/* A loop runs far more often than the test's clock ticks. */
		uint32_t removals;
		do {
			removals = fixture->shard->removals;
			nat_upkeep(fixture->shard, &fixture->view, fixture->now_ns);
		} while (fixture->shard->removals != removals || fixture->shard->sweep_due > 0);
	}
}

uint64_t fixture_active(const struct fixture *fixture)
{
	return fixture->counters->shards[0].sessions_active;
}

uint64_t fixture_drops(const struct fixture *fixture, enum drop_reason reason)
{
	const struct counters_shard *counters = &fixture->counters->shards[0];
	return counters->drops[PORT_INSIDE][reason] + counters->drops[PORT_OUTSIDE][reason];
}

struct description reply_to(const struct seen *seen)
{
	return (struct description){
		.outside = true,
		.source = seen->destination,
		.destination = seen->source,
		.source_port = seen->protocol == PROTOCOL_ICMP ? seen->source_port : seen->destination_port,
		.destination_port = seen->source_port,
		.protocol = seen->protocol,
		.icmp_type = ICMP_ECHO_REPLY,
		.payload_bytes = 16,
	};
}

struct description describe_udp(uint16_t source_port, uint32_t remote, uint16_t remote_port)
{
	return (struct description){
		.source = WORKER,
		.destination = remote,
		.source_port = source_port,
		.destination_port = remote_port,
		.protocol = PROTOCOL_UDP,
		.payload_bytes = 16,
	};
}

struct description describe_tcp(uint16_t source_port, uint8_t flags, uint32_t sequence)
{
	return (struct description){
		.source = WORKER,
		.destination = REMOTE,
		.source_port = source_port,
		.destination_port = 443,
		.protocol = PROTOCOL_TCP,
		.tcp_flags = flags,
		.sequence = sequence,
	};
}

struct description reply_segment(const struct seen *seen, uint8_t flags, uint32_t sequence)
{
	struct description segment = reply_to(seen);
	segment.payload_bytes = 0;
	segment.tcp_flags = flags;
	segment.sequence = sequence;
	return segment;
}

struct seen fixture_answered_syn(struct fixture *fixture, uint16_t source_port)
{
	const struct seen out = fixture_sent(fixture, describe_tcp(source_port, TCP_SYN, 1000));
	struct description in = reply_segment(&out, TCP_SYN | TCP_ACK, 7000);
	in.acknowledged = 1001;
	assert_true(fixture_passes(fixture, in));
	return out;
}

struct seen fixture_establish(struct fixture *fixture, uint16_t source_port)
{
	const struct seen out = fixture_answered_syn(fixture, source_port);
	fixture_sent(fixture, describe_tcp(source_port, TCP_ACK, 1001));
	return out;
}
