/* SPDX-License-Identifier: Apache-2.0 */
/* Fragments in any order, both ways, within limits; and what the gateway itself
 * fragments. */
#include "tests/nat/fixture.h"

#include <stdlib.h>

#include "dataplane/nat/fragment.h"

static const struct description datagram_out = {
	.source = WORKER,
	.destination = REMOTE,
	.source_port = 40000,
	.destination_port = 5000,
	.protocol = PROTOCOL_UDP,
	.payload_bytes = PAYLOAD_BYTES,
	.ip_id = 777,
};

/* Collects what leaves, until whole. */
struct assembly {
	uint8_t ip[4096];
	uint32_t seen_bytes, total_bytes, pieces, largest_bytes;
	uint16_t id;
	struct seen last;
};

static void assembly_add(struct assembly *assembly, const struct frame *frame)
{
	assert_int_equal(frame->packet.verdict, PACKET_FORWARD);
	const uint8_t *ip = frame->packet.data + ETHERNET_HEADER_BYTES;
	if (frame->packet.out_port == PORT_INSIDE) {
		assembly->last.vni = load_be32(ip + 28 + 4) >> 8;
		ip += VXLAN_OVERHEAD_BYTES;
	}
	assert_int_equal(checksum_of(ip, IPV4_HEADER_BYTES), 0);
	const uint32_t bytes = load_be16(ip + IPV4_LENGTH_OFFSET);
	assert_int_equal(frame->packet.data + frame->packet.length_bytes - ip, bytes);
	const uint16_t field = load_be16(ip + IPV4_FRAGMENT_OFFSET);
	const uint32_t from_bytes = (field & IPV4_FRAGMENT_OFFSET_MASK) * 8u;
	const uint32_t payload_bytes = bytes - IPV4_HEADER_BYTES;
	if (assembly->pieces++ > 0)
		assert_int_equal(assembly->id, load_be16(ip + IPV4_ID_OFFSET));
	assembly->id = load_be16(ip + IPV4_ID_OFFSET);
	if (from_bytes == 0)
		memcpy(assembly->ip, ip, IPV4_HEADER_BYTES);
	memcpy(assembly->ip + IPV4_HEADER_BYTES + from_bytes, ip + IPV4_HEADER_BYTES, payload_bytes);
	assembly->seen_bytes += payload_bytes;
	assembly->largest_bytes = bytes > assembly->largest_bytes ? bytes : assembly->largest_bytes;
	if ((field & IPV4_FLAG_MF) == 0)
		assembly->total_bytes = from_bytes + payload_bytes;
}

/* All there, the transport checksum right over the whole, and who it says it
 * is. */
static void assembly_check(struct assembly *assembly)
{
	assert_int_equal(assembly->seen_bytes, assembly->total_bytes);
	const uint8_t *l4 = assembly->ip + IPV4_HEADER_BYTES;
	struct seen *seen = &assembly->last;
	seen->source = load_be32(assembly->ip + IPV4_SOURCE_OFFSET);
	seen->destination = load_be32(assembly->ip + IPV4_DESTINATION_OFFSET);
	seen->protocol = assembly->ip[IPV4_PROTOCOL_OFFSET];
	seen->source_port = load_be16(l4);
	seen->destination_port = load_be16(l4 + 2);
	const uint32_t pseudo = seen->protocol == PROTOCOL_ICMP
					? 0
					: checksum_pseudo(seen->source, seen->destination, seen->protocol,
						  (uint16_t)assembly->total_bytes);
	assert_int_equal(checksum_fold(checksum_sum(l4, assembly->total_bytes, pseudo)), 0xffff);
}

/* Sends the pieces of a datagram in an order; everything that comes out goes
 * into the assembly. */
static void send_pieces(
	struct fixture *fixture, const struct description *of, const unsigned order[PIECES], struct assembly *assembly)
{
	static struct frame frames[PIECES];
	memset(assembly, 0, sizeof(*assembly));
	for (unsigned i = 0; i < PIECES; i++) {
		frame_piece(&frames[i], of, order[i]);
		if (fixture_run(fixture, &frames[i]) == PACKET_FORWARD)
			assembly_add(assembly, &frames[i]);
		else
			assert_int_equal(frames[i].packet.verdict, PACKET_HELD);
		for (struct frame *given = fixture_take(fixture); given != NULL; given = fixture_take(fixture))
			assembly_add(assembly, given);
	}
}

static void rfc4787_14_fragments_pass_in_any_order_both_ways(void **state)
{
	struct fixture *fixture = *state;
	for (unsigned i = 0; i < 6; i++) {
		for (unsigned icmp = 0; icmp < 2; icmp++) {
			struct description of = datagram_out;
			of.ip_id = (uint16_t)(100 + i * 2 + icmp);
			if (icmp) {
				of.protocol = PROTOCOL_ICMP;
				of.icmp_type = ICMP_ECHO_REQUEST;
			}
			struct assembly out, in;
			send_pieces(fixture, &of, piece_orders[i], &out);
			assembly_check(&out);
			assert_true(out.last.source == ACME_IP_1 || out.last.source == ACME_IP_2);
			assert_int_equal(out.pieces, PIECES);
			if (icmp)
				out.last.source_port = load_be16(out.ip + IPV4_HEADER_BYTES + ICMP_ID_OFFSET);
			struct description reply = reply_to(&out.last);
			reply.payload_bytes = PAYLOAD_BYTES;
			reply.ip_id = of.ip_id;
			send_pieces(fixture, &reply, piece_orders[5 - i], &in);
			assembly_check(&in);
			assert_int_equal(in.last.vni, VNI_ACME);
			assert_int_equal(in.last.destination, WORKER);
			if (!icmp)
				assert_int_equal(in.last.destination_port, 40000);
		}
	}
	fixture_pass(fixture, 20 * SECOND_NS);
	assert_int_equal(fixture->shard->fragments.index.count, 0);
	assert_int_equal(fixture->counters->shards[0].held, 0);
}

/* As a kernel sends them: all at once, in any order, in one batch. */
static void fragments_of_one_batch_come_out_once(void **state)
{
	struct fixture *fixture = *state;
	for (unsigned i = 0; i < 6; i++) {
		static struct frame frames[PIECES];
		struct packet *packets[PIECES];
		struct description of = datagram_out;
		struct assembly assembly = {};
		of.ip_id = (uint16_t)(500 + i);
		for (unsigned piece = 0; piece < PIECES; piece++) {
			frame_piece(&frames[piece], &of, piece_orders[i][piece]);
			packets[piece] = &frames[piece].packet;
		}
		nat_process(fixture->shard, &fixture->view, packets, PIECES, fixture->now_ns);
		for (unsigned piece = 0; piece < PIECES; piece++)
			assembly_add(&assembly, &frames[piece]);
		assembly_check(&assembly);
		assert_null(fixture_take(fixture));
	}
	/* A first one that is refused ends those that were held in the same batch, once too. */
	static struct frame frames[PIECES];
	struct packet *packets[PIECES];
	struct description of = datagram_out;
	of.destination = IP(10, 9, 9, 9);
	for (unsigned piece = 0; piece < PIECES; piece++) {
		frame_piece(&frames[piece], &of, PIECES - 1 - piece);
		packets[piece] = &frames[piece].packet;
	}
	nat_process(fixture->shard, &fixture->view, packets, PIECES, fixture->now_ns);
	assert_int_equal(frames[0].packet.verdict, PACKET_DROP);
	assert_int_equal(frames[1].packet.verdict, PACKET_DROP);
	assert_null(fixture_take(fixture));
}

static void e5_two_workspaces_fragments_with_the_same_tuple_and_id_never_meet(void **state)
{
	struct fixture *fixture = *state;
	struct description globex = datagram_out;
	globex.vni = VNI_GLOBEX;
	struct frame frame;
	/* globex's first fragment must not release acme's later one. */
	static struct frame held;
	frame_piece(&held, &datagram_out, 1);
	assert_int_equal(fixture_run(fixture, &held), PACKET_HELD);
	frame_piece(&frame, &globex, 0);
	assert_int_equal(fixture_run(fixture, &frame), PACKET_FORWARD);
	assert_int_equal(load_be32(frame.packet.data + 14 + IPV4_SOURCE_OFFSET), GLOBEX_IP);
	assert_null(fixture_take(fixture));
	frame_piece(&frame, &globex, 1);
	assert_int_equal(fixture_run(fixture, &frame), PACKET_FORWARD);
	assert_int_equal(load_be32(frame.packet.data + 14 + IPV4_SOURCE_OFFSET), GLOBEX_IP);
	/* acme's never came: after its time the held one is dropped and handed back.
	 */
	fixture_pass(fixture, 20 * SECOND_NS);
	assert_ptr_equal(fixture_take(fixture), &held);
	assert_int_equal(held.packet.verdict, PACKET_DROP);
	assert_int_equal(fixture_drops(fixture, DROP_FRAGMENT), 1);
}

static void rfc6864_ids_of_two_workers_behind_one_ip_do_not_collide(void **state)
{
	struct fixture *fixture = *state;
	static bool used[65536];
	memset(used, 0, sizeof(used));
	for (unsigned worker = 0; worker < 100; worker++) {
		struct description of = datagram_out;
		of.vni = VNI_GLOBEX;
		of.source = IP(10, 0, 0, 10 + worker);
		struct assembly out;
		send_pieces(fixture, &of, piece_orders[worker % 6], &out);
		assert_false(used[out.id]);
		used[out.id] = true;
		fixture_pass(fixture, 2 * SECOND_NS);
	}
	struct description df = datagram_out;
	df.df = true;
	df.payload_bytes = 100;
	struct frame frame;
	assert_int_equal(fixture_send(fixture, &frame, &df), PACKET_FORWARD);
	assert_int_equal(load_be16(frame.packet.data + 14 + IPV4_ID_OFFSET), 777); /* atomic: left alone */
}

static void overlapping_fragments_spoil_their_datagram(void **state)
{
	struct fixture *fixture = *state;
	struct frame frame;
	frame_piece(&frame, &datagram_out, 0);
	assert_int_equal(fixture_run(fixture, &frame), PACKET_FORWARD);
	frame_piece(&frame, &datagram_out, 0); /* the same again: only dropped */
	fixture_run(fixture, &frame);
	assert_int_equal(frame.packet.drop_reason, DROP_FRAGMENT_OVERLAP);
	frame_piece(&frame, &datagram_out, 1);
	assert_int_equal(fixture_run(fixture, &frame), PACKET_FORWARD);
	frame_cut(&frame, &datagram_out, 600, 400, true); /* half of it was seen */
	fixture_run(fixture, &frame);
	assert_int_equal(frame.packet.drop_reason, DROP_FRAGMENT_OVERLAP);
	frame_piece(&frame, &datagram_out, 2);
	fixture_run(fixture, &frame);
	assert_int_equal(frame.packet.drop_reason, DROP_FRAGMENT_OVERLAP);
}

static void rfc1858_tiny_first_fragments_are_dropped(void **state)
{
	struct fixture *fixture = *state;
	struct description of = datagram_out;
	of.protocol = PROTOCOL_TCP;
	of.tcp_flags = TCP_SYN;
	struct frame frame;
	frame_cut(&frame, &of, 0, 16, true);
	fixture_run(fixture, &frame);
	assert_int_equal(frame.packet.drop_reason, DROP_FRAGMENT_TINY);
	frame_cut(&frame, &of, 8, 80, true); /* would write over the flags (RFC 3128) */
	fixture_run(fixture, &frame);
	assert_int_equal(frame.packet.drop_reason, DROP_FRAGMENT_TINY);
	frame_cut(&frame, &datagram_out, 0, 403, true); /* not a multiple of eight */
	fixture_run(fixture, &frame);
	assert_int_equal(frame.packet.drop_reason, DROP_BAD_IP_HEADER);
	frame_cut(&frame, &datagram_out, 400, 400, true);
	store_be16(frame.packet.data + 64 + IPV4_FRAGMENT_OFFSET, 0x1fff); /* ends past 65,535 */
	store_be16(frame.packet.data + 64 + IPV4_CHECKSUM_OFFSET, 0);
	store_be16(frame.packet.data + 64 + IPV4_CHECKSUM_OFFSET, checksum_of(frame.packet.data + 64, 20));
	fixture_run(fixture, &frame);
	assert_int_equal(frame.packet.drop_reason, DROP_BAD_IP_HEADER);
}

static void fragments_of_a_refused_datagram_are_refused(void **state)
{
	struct fixture *fixture = *state;
	struct description of = datagram_out;
	of.destination = IP(10, 9, 9, 9);
	static struct frame later, first;
	frame_piece(&later, &of, 1);
	assert_int_equal(fixture_run(fixture, &later), PACKET_HELD);
	frame_piece(&first, &of, 0);
	fixture_run(fixture, &first);
	assert_ptr_equal(fixture_take(fixture), &later);
	assert_int_equal(later.packet.verdict, PACKET_DROP);
	assert_int_equal(fixture_drops(fixture, DROP_DENIED_DESTINATION), 2);
}

static void a_held_fragment_never_leaves_as_its_successors(void **state)
{
	struct fixture *fixture = *state;
	static struct frame held, first;
	frame_piece(&held, &datagram_out, 1);
	assert_int_equal(fixture_run(fixture, &held), PACKET_HELD);
	/* The VPC is another one now, with the same VNI, slot and addresses; its worker sends the same tuple and ID. */
	fixture->draft.vpcs[0].incarnation++;
	fixture_apply(fixture);
	frame_piece(&first, &datagram_out, 0);
	assert_int_equal(fixture_run(fixture, &first), PACKET_FORWARD);
	assert_ptr_equal(fixture_take(fixture), &held);
	assert_int_equal(held.packet.verdict, PACKET_DROP);
	assert_int_equal(held.packet.drop_reason, DROP_STALE_SESSION);
}

static void a_held_fragment_never_reaches_its_addresses_next_owner(void **state)
{
	struct fixture *fixture = *state;
	struct description globex = datagram_out;
	globex.vni = VNI_GLOBEX;
	globex.payload_bytes = 10;
	struct frame frame;
	fixture_send(fixture, &frame, &globex);
	const struct seen before = frame_read(&frame);
	struct description reply = reply_to(&before);
	reply.payload_bytes = PAYLOAD_BYTES;
	static struct frame held, first;
	frame_piece(&held, &reply, 1);
	assert_int_equal(fixture_run(fixture, &held), PACKET_HELD);
	fixture->draft.egress_ips[2].incarnation++; /* given away, and got back */
	fixture_apply(fixture);
	fixture_send(fixture, &frame, &globex);
	reply.destination_port = frame_read(&frame).source_port;
	frame_piece(&first, &reply, 0);
	assert_int_equal(fixture_run(fixture, &first), PACKET_FORWARD);
	assert_ptr_equal(fixture_take(fixture), &held);
	assert_int_equal(held.packet.verdict, PACKET_DROP);
}

static void complete_datagrams_leave_their_place_at_once(void **state)
{
	struct fixture *fixture = *state;
	for (unsigned i = 0; i < 1000; i++) {
		struct description of = datagram_out;
		of.ip_id = (uint16_t)i;
		struct assembly out;
		send_pieces(fixture, &of, piece_orders[0], &out);
		assembly_check(&out);
		for (unsigned loop = 0; loop < 64; loop++)
			nat_upkeep(fixture->shard, &fixture->view, fixture->now_ns);
	}
	assert_int_equal(fixture_drops(fixture, DROP_FRAGMENT_LIMIT), 0);
}

static void what_does_not_fit_the_tunnel_is_fragmented_unless_df(void **state)
{
	struct fixture *fixture = *state;
	struct description of = datagram_out;
	of.payload_bytes = 10;
	struct frame frame;
	fixture_send(fixture, &frame, &of);
	const struct seen out = frame_read(&frame);
	struct description reply = reply_to(&out);
	reply.payload_bytes = 1472;
	reply.ip_id = 99;
	struct assembly in = {.pieces = 0};
	assert_int_equal(fixture_send(fixture, &frame, &reply), PACKET_FORWARD);
	assembly_add(&in, &frame);
	for (struct frame *given = fixture_take(fixture); given != NULL; given = fixture_take(fixture))
		assembly_add(&in, given);
	assembly_check(&in);
	assert_int_equal(in.pieces, 2);
	assert_int_equal(in.total_bytes, 1480);
	assert_true(in.largest_bytes <= 1450);
	assert_int_equal(in.last.destination, WORKER);
	assert_int_equal(fixture->counters->shards[0].generated, 1);
	/* An empty pool drops the whole, and says so. */
	fixture->spares_used = SPARE_COUNT;
	assert_int_equal(fixture_send(fixture, &frame, &reply), PACKET_DROP);
	assert_int_equal(frame.packet.drop_reason, DROP_TOO_BIG);
	assert_null(fixture_take(fixture));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
	cmocka_set_message_output(CM_OUTPUT_TAP);
	const struct CMUnitTest tests[] = {
		TEST(rfc4787_14_fragments_pass_in_any_order_both_ways),
		TEST(fragments_of_one_batch_come_out_once),
		TEST(e5_two_workspaces_fragments_with_the_same_tuple_and_id_never_meet),
		TEST(rfc6864_ids_of_two_workers_behind_one_ip_do_not_collide),
		TEST(overlapping_fragments_spoil_their_datagram),
		TEST(rfc1858_tiny_first_fragments_are_dropped),
		TEST(fragments_of_a_refused_datagram_are_refused),
		TEST(a_held_fragment_never_leaves_as_its_successors),
		TEST(a_held_fragment_never_reaches_its_addresses_next_owner),
		TEST(complete_datagrams_leave_their_place_at_once),
		TEST(what_does_not_fit_the_tunnel_is_fragmented_unless_df),
	};
	return cmocka_run_group_tests_name("fragments", tests, NULL, NULL);
}
