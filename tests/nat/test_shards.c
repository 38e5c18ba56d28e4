/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Several shards that share the traffic (owner.h): whichever of them receives a packet, it comes to the one that has
 * the session, goes where it should, and every shard's books balance. The rings between them are played by deliver().
 */
#include "tests/nat/fixture.h"

#include <stdlib.h>

#include "dataplane/nat/fragment.h"
#include "dataplane/nat/owner.h"

enum { SHARDS = 4, GIVEN_MAX = 32, PROTOCOL_GRE = 47 };

struct gateway {
	struct fixture *shards[SHARDS];
	struct counters_shard *counters; /* of all shards, in one piece, as in the counters' memory */
	uint32_t handed_over;
	uint64_t forwarded[SHARDS];
	/* What came out besides the packet that was sent, in order. */
	struct frame *given[GIVEN_MAX];
	unsigned given_count;
};

static void shard_restart(struct gateway *gateway, uint32_t shard_index, bool recover)
{
	struct fixture *fixture = gateway->shards[shard_index];
	fixture->config.shard_index = shard_index;
	fixture->config.shard_count = SHARDS;
	fixture->config.hand_over = true;
	fixture->config.counters = &gateway->counters[shard_index];
	fixture->config.all_counters = gateway->counters;
	fixture->config.recover = recover;
	fixture->config.identities = fixture->identities;
	memset(fixture->shard_memory, 0, nat_shard_size(&fixture->config));
	fixture->shard = nat_shard_init(fixture->shard_memory, &fixture->config);
	assert_non_null(fixture->shard);
}

static int setup(void **state)
{
	struct gateway *gateway = calloc(1, sizeof(*gateway));
	assert_non_null(gateway);
	const size_t counters_bytes = SHARDS * sizeof(struct counters_shard);
	gateway->counters = aligned_alloc(4096, counters_bytes);
	assert_non_null(gateway->counters);
	memset(gateway->counters, 0, counters_bytes);
	for (uint32_t i = 0; i < SHARDS; i++) {
		gateway->shards[i] = fixture_new(1024);
		shard_restart(gateway, i, false);
	}
	*state = gateway;
	return 0;
}

static int teardown(void **state)
{
	struct gateway *gateway = *state;
	for (uint32_t i = 0; i < SHARDS; i++)
		fixture_free(gateway->shards[i]);
	free(gateway->counters);
	free(gateway);
	return 0;
}

static void take_given(struct gateway *gateway, uint32_t at);

/* To the shard that owns it, as often as it takes: twice at most, to a fragment's home and on. */
static void deliver(struct gateway *gateway, uint32_t at, struct packet *packet)
{
	for (unsigned hops = 0; packet->verdict == PACKET_HAND_OVER; hops++) {
		struct fixture *from = gateway->shards[at];
		assert_true(hops < 3);
		assert_int_not_equal(packet->out_port, at);
		nat_count_handed_over(from->shard, 1);
		gateway->handed_over++;
		at = packet->out_port;
		struct fixture *to = gateway->shards[at];
		nat_process_taken(to->shard, &to->view, &packet, 1, to->now_ns);
		/* What is given goes behind the packet, as in the ring. */
		if (packet->verdict != PACKET_HAND_OVER)
			take_given(gateway, at);
	}
	assert_int_not_equal(packet->verdict, PACKET_PENDING);
	gateway->forwarded[at] += packet->verdict == PACKET_FORWARD;
}

static void take_given(struct gateway *gateway, uint32_t at)
{
	for (struct frame *frame = fixture_take(gateway->shards[at]); frame != NULL;
		frame = fixture_take(gateway->shards[at])) {
		deliver(gateway, at, &frame->packet);
		if (frame->packet.verdict == PACKET_HELD)
			continue;
		assert_true(gateway->given_count < GIVEN_MAX);
		gateway->given[gateway->given_count++] = frame;
	}
}

/* Receives the frame at a shard. What is given at a home is brought after the packet itself, again as in the ring. */
static enum packet_verdict receive(struct gateway *gateway, uint32_t at, struct frame *frame)
{
	fixture_run(gateway->shards[at], frame);
	deliver(gateway, at, &frame->packet);
	for (uint32_t i = 0; i < SHARDS; i++)
		take_given(gateway, i);
	return frame->packet.verdict;
}

static enum packet_verdict send_to(struct gateway *gateway, uint32_t at, struct frame *frame, struct description of)
{
	frame_build(frame, &of);
	return receive(gateway, at, frame);
}

/* rx + taken over = tx + drops + held + handed over + absorbed - generated, in every shard. */
static void books_balance(const struct gateway *gateway)
{
	uint64_t handed = 0, taken = 0;
	for (uint32_t i = 0; i < SHARDS; i++) {
		const struct counters_shard *of = &gateway->counters[i];
		uint64_t in = of->taken_over + of->generated;
		uint64_t out = gateway->forwarded[i] + of->held + of->handed_over + of->absorbed;
		for (unsigned port = 0; port < PORT_COUNT; port++) {
			in += of->ports[port].rx_packets;
			for (unsigned reason = 0; reason < DROP_REASON_COUNT; reason++)
				out += of->drops[port][reason];
		}
		assert_int_equal(in, out);
		assert_int_equal(of->guard_violations, 0);
		handed += of->handed_over;
		taken += of->taken_over;
	}
	assert_int_equal(handed, taken);
	assert_int_equal(handed, gateway->handed_over);
}

static struct description packet_of(uint8_t protocol, uint32_t worker, uint16_t port)
{
	return (struct description){
		.source = worker,
		.destination = REMOTE,
		.source_port = port,
		.destination_port = protocol == PROTOCOL_ICMP ? 0 : 443,
		.protocol = protocol,
		.tcp_flags = protocol == PROTOCOL_TCP ? TCP_SYN : 0,
		.icmp_type = ICMP_ECHO_REQUEST,
		.payload_bytes = 32,
	};
}

static struct description answer(const struct seen *out)
{
	struct description reply = reply_to(out);
	reply.tcp_flags = TCP_SYN | TCP_ACK;
	return reply;
}

static void the_owner_of_a_port_is_who_may_give_it(void **state)
{
	(void)state;
	for (uint32_t count = 1; count <= SHARD_COUNT_MAX; count++)
		for (uint32_t port = 0; port < 65536; port++)
			assert_int_equal(owner_of_port(count, (uint16_t)port), port / PORT_TURN % count);
}

static void workers_are_spread_over_all_shards(void **state)
{
	(void)state;
	for (uint32_t count = 2; count <= SHARD_COUNT_MAX; count++) {
		unsigned of[SHARD_COUNT_MAX] = {};
		for (uint32_t vni = 0; vni < 64; vni++)
			for (uint32_t worker = 0; worker < 64; worker++) {
				const uint32_t owner = owner_of_worker(count, 7000 + vni, IP(10, 0, 0, 0) + worker);
				assert_true(owner < count);
				of[owner]++;
			}
		for (uint32_t i = 0; i < count; i++)
			assert_in_range(of[i], 4096 / count * 8 / 10, 4096 / count * 12 / 10);
	}
}

static void a_reply_that_arrives_at_the_wrong_shard_reaches_its_worker(void **state)
{
	struct gateway *gateway = *state;
	static const uint8_t protocols[] = {PROTOCOL_UDP, PROTOCOL_TCP, PROTOCOL_ICMP};
	for (uint32_t i = 0; i < 3 * 16 * SHARDS; i++) {
		struct frame frame;
		struct description of = packet_of(protocols[i % 3], IP(10, 0, 0, 1) + i / 3 % 16, (uint16_t)(2000 + i));
		of.vni = i % 2 ? VNI_ACME : VNI_GLOBEX;
		assert_int_equal(send_to(gateway, i % SHARDS, &frame, of), PACKET_FORWARD);
		const struct seen out = frame_read(&frame);
		assert_int_equal(send_to(gateway, (i / 7 + 1) % SHARDS, &frame, answer(&out)), PACKET_FORWARD);
		const struct seen in = frame_read(&frame);
		assert_true(in.tunnelled);
		assert_int_equal(in.vni, of.vni);
		assert_int_equal(in.destination, of.source);
		assert_int_equal(in.destination_port, of.source_port);
		assert_true(in.checksums_right);
	}
	assert_true(gateway->handed_over > 3 * 16 * SHARDS);
	books_balance(gateway);
}

static void all_sessions_of_a_worker_are_on_one_shard(void **state)
{
	struct gateway *gateway = *state;
	for (uint32_t i = 0; i < 64; i++) {
		struct frame frame;
		assert_int_equal(send_to(gateway, i % SHARDS, &frame,
					 packet_of(i % 2 ? PROTOCOL_UDP : PROTOCOL_TCP, WORKER, (uint16_t)(3000 + i))),
			PACKET_FORWARD);
	}
	for (uint32_t i = 0; i < SHARDS; i++) {
		const bool owner = owner_of_worker(SHARDS, VNI_ACME, WORKER) == i;
		assert_int_equal(gateway->counters[i].sessions_active, owner ? 64 : 0);
	}
	books_balance(gateway);
}

static void errors_follow_the_packet_that_they_are_about(void **state)
{
	struct gateway *gateway = *state;
	for (uint32_t i = 0; i < 16 * SHARDS; i++) {
		struct frame frame;
		struct description of = packet_of(PROTOCOL_UDP, IP(10, 0, 0, 1) + i % 16, (uint16_t)(2000 + i));
		send_to(gateway, 0, &frame, of);
		const struct seen out = frame_read(&frame);
		const struct description about = {.source = out.source,
			.destination = out.destination,
			.source_port = out.source_port,
			.destination_port = out.destination_port,
			.protocol = PROTOCOL_UDP,
			.payload_bytes = 32};
		const struct description error = {.outside = true,
			.source = REMOTE_2,
			.destination = out.source,
			.icmp_type = ICMP_UNREACHABLE,
			.icmp_code = ICMP_HOST_UNREACHABLE};
		frame_build_icmp_error(&frame, &error, &about, 0);
		assert_int_equal(receive(gateway, i % SHARDS, &frame), PACKET_FORWARD);
		assert_int_equal(frame_read(&frame).destination, of.source);
		/* And the other way: the worker refuses what the remote sent. */
		const struct description back = {.source = out.destination,
			.destination = of.source,
			.source_port = out.destination_port,
			.destination_port = of.source_port,
			.protocol = PROTOCOL_UDP,
			.payload_bytes = 32};
		const struct description refusal = {.source = of.source,
			.destination = out.destination,
			.icmp_type = ICMP_UNREACHABLE,
			.icmp_code = 3};
		frame_build_icmp_error(&frame, &refusal, &back, 0);
		assert_int_equal(receive(gateway, (i + 1) % SHARDS, &frame), PACKET_FORWARD);
		assert_int_equal(frame_read(&frame).source, out.source);
	}
	books_balance(gateway);
}

static void what_has_no_ports_is_owned_by_its_remote(void **state)
{
	struct gateway *gateway = *state;
	for (uint32_t i = 0; i < SHARDS; i++) {
		gateway->shards[i]->draft.workspaces[0].flags |= POLICY_WORKSPACE_ALLOW_OTHER;
		fixture_apply(gateway->shards[i]);
	}
	for (uint32_t i = 0; i < 16; i++) {
		struct frame frame;
		struct description of = packet_of(PROTOCOL_GRE, WORKER, 0);
		of.destination = IP(192, 0, 2, 30) + i;
		assert_int_equal(send_to(gateway, i % SHARDS, &frame, of), PACKET_FORWARD);
		const struct seen out = frame_read(&frame);
		struct description reply = reply_to(&out);
		assert_int_equal(send_to(gateway, (i + 1) % SHARDS, &frame, reply), PACKET_FORWARD);
		assert_int_equal(frame_read(&frame).destination, WORKER);
	}
	/* Only one worker can have it per address, wherever the workers themselves are. */
	unsigned passed = 0;
	for (uint32_t worker = 0; worker < 8; worker++) {
		struct frame frame;
		struct description of = packet_of(PROTOCOL_GRE, WORKER_2 + worker, 0);
		of.destination = IP(192, 0, 2, 200);
		passed += send_to(gateway, worker % SHARDS, &frame, of) == PACKET_FORWARD &&
			  frame.packet.out_port == PORT_OUTSIDE;
	}
	assert_int_equal(passed, 2);
	books_balance(gateway);
}

/* How many of its pieces came to the worker. */
static unsigned pieces_through(
	struct gateway *gateway, uint32_t at, const struct description *of, const unsigned order[PIECES])
{
	static struct frame frames[PIECES];
	unsigned through = 0;
	gateway->given_count = 0;
	for (unsigned i = 0; i < PIECES; i++) {
		frame_piece(&frames[i], of, order[i]);
		receive(gateway, (at + i) % SHARDS, &frames[i]);
	}
	for (unsigned i = 0; i < PIECES; i++) {
		if (frames[i].packet.verdict != PACKET_FORWARD)
			continue;
		const uint8_t *ip = frames[i].packet.data + ETHERNET_HEADER_BYTES + VXLAN_OVERHEAD_BYTES;
		assert_int_equal(frames[i].packet.out_port, PORT_INSIDE);
		assert_int_equal(load_be32(ip + IPV4_DESTINATION_OFFSET), WORKER);
		through++;
	}
	return through;
}

static void fragments_from_outside_come_together_in_any_order(void **state)
{
	struct gateway *gateway = *state;
	for (uint32_t i = 0; i < 96; i++) {
		struct frame frame;
		assert_int_equal(send_to(gateway, 0, &frame, packet_of(PROTOCOL_UDP, WORKER, (uint16_t)(4000 + i))),
			PACKET_FORWARD);
		const struct seen out = frame_read(&frame);
		struct description reply = reply_to(&out);
		reply.payload_bytes = PAYLOAD_BYTES;
		reply.ip_id = (uint16_t)(100 + i);
		assert_int_equal(pieces_through(gateway, i % SHARDS, &reply, piece_orders[i % 6]), PIECES);
	}
	books_balance(gateway);
	for (uint32_t i = 0; i < SHARDS; i++)
		assert_int_equal(gateway->counters[i].held, 0);
}

/* At home they wait at the pool's expense, until the first one's port says whose they are, and where they go. */
static void fragments_to_a_shared_address_come_together_in_any_order(void **state)
{
	struct gateway *gateway = *state;
	for (uint32_t i = 0; i < SHARDS; i++)
		fixture_share(gateway->shards[i]);
	for (uint32_t i = 0; i < 48; i++) {
		struct frame frame;
		struct description of = packet_of(PROTOCOL_UDP, WORKER, (uint16_t)(4000 + i));
		of.vni = i % 2 == 0 ? VNI_ACME : VNI_GLOBEX;
		assert_int_equal(send_to(gateway, 0, &frame, of), PACKET_FORWARD);
		const struct seen out = frame_read(&frame);
		struct description reply = reply_to(&out);
		assert_int_equal(reply.destination, SHARED_IP);
		reply.payload_bytes = PAYLOAD_BYTES;
		reply.ip_id = (uint16_t)(100 + i);
		assert_int_equal(pieces_through(gateway, i % SHARDS, &reply, piece_orders[i % 6]), PIECES);
	}
	books_balance(gateway);
	for (uint32_t i = 0; i < SHARDS; i++) {
		assert_int_equal(gateway->counters[i].held, 0);
		assert_int_equal(gateway->shards[i]->shard->fragments.budgets[FRAGMENTS_POOL].held, 0);
	}
}

static void fragments_without_their_first_end_with_a_reason(void **state)
{
	struct gateway *gateway = *state;
	struct frame frame, piece;
	send_to(gateway, 0, &frame, packet_of(PROTOCOL_UDP, WORKER, 4000));
	const struct seen out = frame_read(&frame);
	struct description reply = reply_to(&out);
	reply.payload_bytes = PAYLOAD_BYTES;
	frame_piece(&piece, &reply, 1);
	assert_int_equal(receive(gateway, 1, &piece), PACKET_HELD);
	uint64_t dropped = 0;
	for (uint32_t i = 0; i < SHARDS; i++) {
		fixture_pass(gateway->shards[i], 20 * SECOND_NS);
		take_given(gateway, i);
		dropped += gateway->counters[i].drops[PORT_OUTSIDE][DROP_FRAGMENT];
		assert_int_equal(gateway->shards[i]->shard->fragments.index.count, 0);
	}
	assert_int_equal(dropped, 1);
	books_balance(gateway);
}

/* Two workers behind one address must not collide at who puts their datagrams together (RFC 6864 section 5.3). */
static void no_two_shards_give_the_same_ip_id(void **state)
{
	struct gateway *gateway = *state;
	static struct frame frames[64];
	unsigned pieces = 0;
	for (uint32_t i = 0; i < 64; i++) {
		struct description of = packet_of(PROTOCOL_UDP, IP(10, 0, 3, 0) + i, 7000);
		of.ip_id = 5; /* everybody's */
		if (i % 2 == 0)
			of.payload_bytes = PAYLOAD_BYTES;
		frame_build(&frames[i], &of);
		if (i % 2 == 0)
			frame_piece(&frames[i], &of, 0);
		assert_int_equal(receive(gateway, i % SHARDS, &frames[i]), PACKET_FORWARD);
		const uint8_t *ip = frames[i].packet.data + ETHERNET_HEADER_BYTES;
		const uint32_t id = load_be16(ip + IPV4_ID_OFFSET);
		pieces += (load_be16(ip + IPV4_FRAGMENT_OFFSET) & IPV4_FLAG_MF) != 0;
		assert_int_equal(id % SHARDS, owner_of_worker(SHARDS, VNI_ACME, IP(10, 0, 3, 0) + i));
	}
	assert_int_equal(pieces, 32);
	books_balance(gateway);
}

static void a_hairpin_reaches_a_worker_of_another_shard(void **state)
{
	struct gateway *gateway = *state;
	unsigned across = 0;
	for (uint32_t i = 0; i < 32; i++) {
		struct frame frame;
		const uint32_t asked = IP(10, 0, 1, 0) + i, asks = IP(10, 0, 2, 0) + i;
		/* Endpoint-independent: the port that this one gets is open to who is asked for. */
		struct description first = packet_of(PROTOCOL_UDP, asked, 5000);
		assert_int_equal(send_to(gateway, 0, &frame, first), PACKET_FORWARD);
		const struct seen open = frame_read(&frame);
		struct description of = packet_of(PROTOCOL_UDP, asks, 6000);
		of.destination = open.source;
		of.destination_port = open.source_port;
		assert_int_equal(send_to(gateway, i % SHARDS, &frame, of), PACKET_DROP); /* it has not asked for us */
		const uint32_t owner_asked = owner_of_worker(SHARDS, VNI_ACME, asked);
		const uint32_t owner_asks = owner_of_worker(SHARDS, VNI_ACME, asks);
		across += owner_asked != owner_asks;
		/* Of the one that asks, the drop at the other end says where it came to. */
		assert_int_equal(frame.packet.drop_reason, DROP_NO_SESSION);
		const struct session *session = NULL;
		for (uint32_t s = 0; s < 1024; s++) {
			const struct session *record = &gateway->shards[owner_asks]->config.sessions[s];
			if (record->state != SESSION_FREE && record->inside_address == asks)
				session = record;
		}
		assert_non_null(session);
		/* Now it asks for us: what comes from us is let in. */
		struct description towards = packet_of(PROTOCOL_UDP, asked, 5000);
		towards.destination = session->egress_address;
		towards.destination_port = session->egress_port;
		assert_int_equal(send_to(gateway, (i + 1) % SHARDS, &frame, towards), PACKET_FORWARD);
		const struct seen in = frame_read(&frame);
		assert_true(in.tunnelled);
		assert_int_equal(in.destination, asks);
		assert_int_equal(in.destination_port, 6000);
		assert_int_equal(in.source, open.source);
	}
	assert_true(across > 8);
	books_balance(gateway);
}

static void sessions_of_a_crashed_process_are_found_by_the_same_shard(void **state)
{
	struct gateway *gateway = *state;
	struct seen out[64];
	for (uint32_t i = 0; i < 64; i++) {
		struct frame frame;
		assert_int_equal(send_to(gateway, 0, &frame,
					 packet_of(PROTOCOL_UDP, IP(10, 0, 0, 1) + i % 16, (uint16_t)(2000 + i))),
			PACKET_FORWARD);
		out[i] = frame_read(&frame);
	}
	for (uint32_t i = 0; i < SHARDS; i++) {
		struct fixture *fixture = gateway->shards[i];
		memset(fixture->config.secret, 0x33, sizeof(fixture->config.secret));
		memset(&gateway->counters[i], 0, sizeof(gateway->counters[i]));
		shard_restart(gateway, i, true);
		fixture_apply(fixture);
	}
	for (uint32_t i = 0; i < 64; i++) {
		struct frame frame;
		const struct description of = packet_of(PROTOCOL_UDP, IP(10, 0, 0, 1) + i % 16, (uint16_t)(2000 + i));
		assert_int_equal(send_to(gateway, i % SHARDS, &frame, of), PACKET_FORWARD);
		assert_int_equal(frame_read(&frame).source_port, out[i].source_port);
		assert_int_equal(send_to(gateway, (i + 1) % SHARDS, &frame, answer(&out[i])), PACKET_FORWARD);
		assert_int_equal(frame_read(&frame).destination, of.source);
	}
	/* A record that another shard owns is nobody's: its packets would never find it. */
	struct fixture *fixture = gateway->shards[0];
	for (uint32_t s = 0; s < 1024; s++)
		if (fixture->config.sessions[s].state != SESSION_FREE)
			fixture->config.sessions[s].vni_protocol ^= 1u << 8;
	const uint64_t before = nat_recovered(fixture->shard);
	uint64_t kept = 0;
	shard_restart(gateway, 0, true);
	for (uint32_t s = 0; s < 1024; s++)
		kept += fixture->config.sessions[s].state != SESSION_FREE;
	assert_int_equal(kept, nat_recovered(fixture->shard));
	assert_true(kept < before);
}

/* How many of the packets, from workers on all shards, went out. */
static unsigned passed_of(struct gateway *gateway, unsigned packets, unsigned workers, uint16_t first_port)
{
	unsigned passed = 0;
	for (unsigned i = 0; i < packets; i++) {
		struct frame frame;
		passed += send_to(gateway, i % SHARDS, &frame,
				  packet_of(PROTOCOL_UDP, WORKER + i % workers, (uint16_t)(first_port + i))) ==
				  PACKET_FORWARD &&
			  frame.packet.out_port == PORT_OUTSIDE;
	}
	return passed;
}

static void set_limits(struct gateway *gateway, const struct policy_limits *limits)
{
	for (uint32_t i = 0; i < SHARDS; i++) {
		gateway->shards[i]->draft.workspaces[0].limits = *limits;
		fixture_apply(gateway->shards[i]);
	}
}

static void p7_a_workspace_has_its_sessions_once_over_all_shards(void **state)
{
	struct gateway *gateway = *state;
	set_limits(gateway, &(struct policy_limits){.sessions = 100});
	assert_int_equal(passed_of(gateway, 400, 16, 1000), 100);
	books_balance(gateway);
}

static void p7_a_workspace_on_one_shard_has_all_of_its_rate_there(void **state)
{
	struct gateway *gateway = *state;
	set_limits(gateway, &(struct policy_limits){.packets_per_second = 80});
	assert_in_range(passed_of(gateway, 400, 1, 1000), 79, 81);
	books_balance(gateway);
}

static void p7_a_workspace_on_all_shards_has_its_rate_once(void **state)
{
	struct gateway *gateway = *state;
	passed_of(gateway, 16, 16, 900); /* sessions on each of them */
	set_limits(gateway, &(struct policy_limits){.packets_per_second = 80});
	for (uint32_t i = 0; i < SHARDS; i++)
		fixture_pass(gateway->shards[i], SECOND_NS);
	assert_in_range(passed_of(gateway, 400, 16, 1000), 76, 84);
	books_balance(gateway);
}

static void a_full_ring_is_a_counted_drop(void **state)
{
	struct gateway *gateway = *state;
	struct frame frame;
	const uint32_t owner = owner_of_worker(SHARDS, VNI_ACME, WORKER);
	struct fixture *receiver = gateway->shards[(owner + 1) % SHARDS];
	frame_build(&frame, &(struct description){.source = WORKER, .destination = REMOTE, .protocol = PROTOCOL_UDP});
	assert_int_equal(fixture_run(receiver, &frame), PACKET_HAND_OVER);
	assert_int_equal(frame.packet.out_port, owner);
	nat_count_handover_full(receiver->shard, frame.packet.in_port, 1);
	assert_int_equal(gateway->counters[(owner + 1) % SHARDS].drops[PORT_INSIDE][DROP_HANDOVER_FULL], 1);
	books_balance(gateway);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_owner_of_a_port_is_who_may_give_it),
		cmocka_unit_test(workers_are_spread_over_all_shards),
		TEST(a_reply_that_arrives_at_the_wrong_shard_reaches_its_worker),
		TEST(all_sessions_of_a_worker_are_on_one_shard),
		TEST(errors_follow_the_packet_that_they_are_about),
		TEST(what_has_no_ports_is_owned_by_its_remote),
		TEST(fragments_from_outside_come_together_in_any_order),
		TEST(fragments_to_a_shared_address_come_together_in_any_order),
		TEST(fragments_without_their_first_end_with_a_reason),
		TEST(no_two_shards_give_the_same_ip_id),
		TEST(a_hairpin_reaches_a_worker_of_another_shard),
		TEST(sessions_of_a_crashed_process_are_found_by_the_same_shard),
		TEST(p7_a_workspace_has_its_sessions_once_over_all_shards),
		TEST(p7_a_workspace_on_one_shard_has_all_of_its_rate_there),
		TEST(p7_a_workspace_on_all_shards_has_its_rate_once),
		TEST(a_full_ring_is_a_counted_drop),
	};
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
