/* SPDX-License-Identifier: Apache-2.0 */
/* Hairpinning, other protocols, the shared pool, resets, refusals, what outlives a process. */
#include "tests/nat/fixture.h"

#include <stdlib.h>

#include "dataplane/nat/tally.h"

enum { PROTOCOL_SCTP = 132, PROTOCOL_GRE = 47 };

static struct description packet_to(
	uint32_t destination, uint16_t source_port, uint16_t destination_port, uint8_t protocol)
{
	struct description of = describe_udp(source_port, destination, destination_port);
	of.protocol = protocol;
	of.tcp_flags = TCP_SYN;
	of.sequence = 1;
	of.icmp_type = ICMP_ECHO_REQUEST;
	return of;
}

static void rfc4787_9_two_workers_meet_through_their_egress_addresses(void **state)
{
	struct fixture *fixture = *state;
	fixture->draft.workspaces[0].egress_count = 1;
	fixture->draft.egress_ips[1].workspace_index = 0;
	fixture_apply(fixture);
	struct description a = packet_to(REMOTE, 5000, 3478, PROTOCOL_UDP);
	struct description b = a;
	b.source = WORKER_2;
	const struct seen a_outside = fixture_sent(fixture, a);
	const struct seen b_outside = fixture_sent(fixture, b);
	/* Both send to the other's outside address: the first is filtered, and opens the way for the second (RFC 5128).
	 */
	struct description a_to_b = packet_to(b_outside.source, 5000, b_outside.source_port, PROTOCOL_UDP);
	struct description b_to_a = packet_to(a_outside.source, 5000, a_outside.source_port, PROTOCOL_UDP);
	b_to_a.source = WORKER_2;
	assert_false(fixture_passes(fixture, a_to_b));
	assert_int_equal(fixture_drops(fixture, DROP_NO_SESSION), 1);
	struct frame frame;
	assert_int_equal(fixture_send(fixture, &frame, &b_to_a), PACKET_FORWARD);
	const struct seen at_a = frame_read(&frame);
	assert_true(at_a.tunnelled);
	assert_int_equal(at_a.vni, VNI_ACME);
	assert_int_equal(at_a.destination, WORKER);
	assert_int_equal(at_a.destination_port, 5000);
	assert_int_equal(at_a.source, b_outside.source); /* REQ-9a: external source */
	assert_int_equal(at_a.source_port, b_outside.source_port);
	assert_int_equal(at_a.ttl, 62);
	assert_true(at_a.checksums_right);
	assert_true(fixture_passes(fixture, a_to_b));
}

static void hairpins_between_workspaces_need_the_policy(void **state)
{
	struct fixture *fixture = *state;
	struct description globex = packet_to(REMOTE, 5000, 3478, PROTOCOL_UDP);
	globex.vni = VNI_GLOBEX;
	const struct seen globex_outside = fixture_sent(fixture, globex);
	const struct seen acme_outside = fixture_sent(fixture, packet_to(REMOTE, 5000, 3478, PROTOCOL_UDP));
	struct description there = packet_to(globex_outside.source, 5000, globex_outside.source_port, PROTOCOL_UDP);
	const struct seen refused = fixture_sent(fixture, there);
	assert_int_equal(refused.icmp_code, ICMP_ADMIN_PROHIBITED);
	assert_int_equal(fixture_drops(fixture, DROP_HAIRPIN_DENIED), 1);
	fixture->draft.header.hairpin = POLICY_HAIRPIN_ALLOW;
	fixture_apply(fixture);
	assert_false(fixture_passes(fixture, there)); /* filtered by globex's NAT, as from any stranger */
	struct description back = packet_to(acme_outside.source, 5000, acme_outside.source_port, PROTOCOL_UDP);
	back.vni = VNI_GLOBEX;
	back.vtep = HOST_2;
	const struct seen at_acme = fixture_sent(fixture, back);
	assert_int_equal(at_acme.vni, VNI_ACME);
	assert_int_equal(at_acme.source, GLOBEX_IP);
	const struct seen at_globex = fixture_sent(fixture, there);
	assert_int_equal(at_globex.vni, VNI_GLOBEX);
	assert_int_equal(at_globex.source, acme_outside.source);
	assert_int_equal(fixture->counters->shards[0].guard_violations, 0);
}

static void other_protocols_pass_by_address_alone_where_allowed(void **state)
{
	struct fixture *fixture = *state;
	const uint8_t protocols[] = {PROTOCOL_SCTP, PROTOCOL_GRE, 50};
	for (unsigned i = 0; i < 3; i++) {
		struct description of = packet_to(REMOTE, 0, 0, protocols[i]);
		assert_false(fixture_passes(fixture, of));
	}
	assert_int_equal(fixture_drops(fixture, DROP_DENIED_PROTOCOL), 3);
	fixture->draft.workspaces[0].flags |= POLICY_WORKSPACE_ALLOW_OTHER;
	fixture_apply(fixture);
	for (unsigned i = 0; i < 3; i++) {
		uint8_t inner[256], before[64];
		struct description of = packet_to(REMOTE, 0, 0, protocols[i]);
		const uint16_t inner_bytes = ip_build(inner, &of);
		memcpy(before, inner, sizeof(before));
		struct frame frame;
		frame_wrap(&frame, false, VNI_ACME, HOST_1, inner, inner_bytes);
		assert_int_equal(fixture_run(fixture, &frame), PACKET_FORWARD);
		const uint8_t *ip = frame.packet.data + ETHERNET_HEADER_BYTES;
		const uint32_t egress = load_be32(ip + IPV4_SOURCE_OFFSET);
		assert_true(egress == ACME_IP_1 || egress == ACME_IP_2);
		assert_int_equal(checksum_of(ip, IPV4_HEADER_BYTES), 0);
		assert_memory_equal(ip + 20, before + 20, inner_bytes - 20u); /* the payload is nobody's business */
		/* The answer. */
		struct description reply = {.outside = true,
			.source = REMOTE,
			.destination = egress,
			.protocol = protocols[i],
			.payload_bytes = 16};
		assert_int_equal(fixture_send(fixture, &frame, &reply), PACKET_FORWARD);
		/* A second worker gets the other address, a third one none: nothing tells their answers apart. */
		of.source = WORKER_2;
		assert_true(fixture_passes(fixture, of));
		of.source = IP(10, 0, 0, 7);
		struct frame refused;
		fixture_send(fixture, &refused, &of);
		assert_int_equal(fixture_drops(fixture, DROP_PORTS_EXHAUSTED), i + 1);
	}
}

static void shared_addresses_keep_the_workspaces_ports_apart(void **state)
{
	struct fixture *fixture = *state;
	fixture_share(fixture);
	const uint8_t protocols[] = {PROTOCOL_TCP, PROTOCOL_UDP, PROTOCOL_ICMP};
	for (unsigned p = 0; p < 3; p++) {
		for (unsigned i = 0; i < 1024; i++) {
			for (unsigned workspace = 0; workspace < 2; workspace++) {
				struct description of = packet_to(REMOTE, (uint16_t)(i + 1), 443, protocols[p]);
				of.vni = workspace == 0 ? VNI_ACME : VNI_GLOBEX;
				const struct seen out = fixture_sent(fixture, of);
				assert_int_equal(out.source, SHARED_IP);
				assert_in_range(out.source_port, 1024 + 1024 * workspace, 2047 + 1024 * workspace);
				if (i % 64 != 0)
					continue;
				struct description reply = reply_to(&out);
				reply.tcp_flags = TCP_SYN | TCP_ACK;
				const struct seen in = fixture_sent(fixture, reply);
				assert_int_equal(in.vni, of.vni);
				assert_int_equal(in.destination_port, i + 1);
			}
		}
		/* Its range is used up: refused, though the neighbour's half is free of it. */
		struct description more = packet_to(REMOTE, 2000, 443, protocols[p]);
		struct frame frame;
		fixture_send(fixture, &frame, &more);
		assert_int_equal(fixture_drops(fixture, DROP_PORTS_EXHAUSTED), p + 1);
		fixture_pass(fixture, 320 * SECOND_NS);
		assert_int_equal(fixture_active(fixture), 0);
		assert_int_equal(fixture->shard->port_maps_used, 0);
	}
	assert_int_equal(fixture->counters->shards[0].guard_violations, 0);
}

static void icmp_errors_and_fragments_find_their_owner_on_a_shared_address(void **state)
{
	struct fixture *fixture = *state;
	fixture_share(fixture);
	for (unsigned workspace = 0; workspace < 2; workspace++) {
		struct description of = packet_to(REMOTE, 40000, 5000, PROTOCOL_UDP);
		of.vni = workspace == 0 ? VNI_ACME : VNI_GLOBEX;
		const struct seen out = fixture_sent(fixture, of);
		struct description about = of;
		about.source = out.source;
		about.source_port = out.source_port;
		const struct description outer = {.outside = true,
			.source = IP(198, 51, 100, 77),
			.destination = out.source,
			.icmp_type = ICMP_UNREACHABLE,
			.icmp_code = 1};
		struct frame frame;
		frame_build_icmp_error(&frame, &outer, &about, 0);
		assert_int_equal(fixture_run(fixture, &frame), PACKET_FORWARD);
		assert_int_equal(frame_read(&frame).vni, of.vni);
		assert_int_equal(frame_read(&frame).destination, WORKER);
		frame_build_icmp_error(&frame, &outer, &about, 0);
		frame.packet.length_bytes -= 20; /* cut short */
		fixture_run(fixture, &frame);
		assert_int_equal(frame.packet.verdict, PACKET_DROP);
	}
}

static void moving_from_shared_to_dedicated_keeps_the_old_sessions(void **state)
{
	struct fixture *fixture = *state;
	fixture_share(fixture);
	const struct seen old = fixture_sent(fixture, packet_to(REMOTE, 40000, 443, PROTOCOL_UDP));
	struct policy_draft *draft = &fixture->draft;
	draft->egress_ips[2] = draft->egress_ips[1];
	draft->egress_ips[1] = (struct policy_egress_ip){.address = ACME_IP_1};
	draft->egress_ips[0].state = POLICY_EGRESS_DRAINING;
	draft->workspaces[0].egress_count = 2;
	draft->workspaces[1].egress_first = 2;
	draft->counts[POLICY_EGRESS_IPS] = 3;
	fixture_apply(fixture);
	assert_int_equal(fixture_sent(fixture, packet_to(REMOTE, 40000, 443, PROTOCOL_UDP)).source, SHARED_IP);
	assert_true(fixture_passes(fixture, reply_to(&old)));
	assert_int_equal(fixture_sent(fixture, packet_to(REMOTE, 40001, 443, PROTOCOL_UDP)).source, ACME_IP_1);
	/* The range goes to globex: what is left of acme's there dies, and nothing of it reaches globex. */
	draft->egress_ips[0] = draft->egress_ips[1];
	draft->egress_ips[1] = draft->egress_ips[2];
	draft->egress_ips[1].port_first = 1024;
	draft->workspaces[0].egress_count = 1;
	draft->workspaces[1].egress_first = 1;
	draft->counts[POLICY_EGRESS_IPS] = 2;
	fixture_apply(fixture);
	assert_false(fixture_passes(fixture, reply_to(&old)));
}

static void overlapping_port_ranges_are_refused(void **state)
{
	struct fixture *fixture = *state;
	struct policy_draft draft = fixture->draft;
	char text[NAT_TEXT_SIZE_BYTES];
	draft.egress_ips[1] = draft.egress_ips[2];
	draft.counts[POLICY_EGRESS_IPS] = 2;
	draft.workspaces[0].egress_count = draft.workspaces[1].egress_count = 1;
	draft.workspaces[1].egress_first = 1;
	for (unsigned i = 0; i < 2; i++) {
		draft.egress_ips[i].address = ACME_IP_1;
		draft.egress_ips[i].port_first = (uint16_t)(1024 + 512 * i);
		draft.egress_ips[i].port_last = 2047;
	}
	size_t size_bytes;
	struct policy_snapshot *snapshot = draft_compile(&draft, 9, &size_bytes);
	assert_true(policy_snapshot_check(snapshot, size_bytes, text));
	void *memory = aligned_alloc(64, (policy_tables_size(snapshot) + 63) & ~(size_t)63);
	memset(memory, 0, policy_tables_size(snapshot));
	assert_null(policy_tables_build(memory, fixture->identities, snapshot, text));
	assert_non_null(strstr(text, "203.0.113.10"));
	free(memory);
	free(snapshot);
	draft.egress_ips[0].port_first = 1025;
	snapshot = draft_compile(&draft, 9, &size_bytes);
	assert_false(policy_snapshot_check(snapshot, size_bytes, text));
	free(snapshot);
}

static void an_idle_end_resets_both_ends_if_asked(void **state)
{
	struct fixture *fixture = *state;
	fixture->draft.workspaces[0].flags |= POLICY_WORKSPACE_RESET_IDLE;
	fixture->draft.workspaces[0].timers.tcp_established_s = 60;
	fixture_apply(fixture);
	const struct seen out = fixture_establish(fixture, 40000);
	fixture_pass(fixture, 62 * SECOND_NS);
	struct frame *to_remote = fixture_take(fixture), *to_worker = fixture_take(fixture);
	assert_non_null(to_remote);
	assert_non_null(to_worker);
	assert_null(fixture_take(fixture));
	const struct seen remote = frame_read(to_remote), worker = frame_read(to_worker);
	assert_false(remote.tunnelled);
	assert_int_equal(remote.tcp_flags, TCP_RST);
	assert_int_equal(remote.source, out.source);
	assert_int_equal(remote.source_port, out.source_port);
	assert_int_equal(remote.destination, REMOTE);
	assert_int_equal(remote.sequence, 1001);
	assert_true(remote.checksums_right);
	assert_true(worker.tunnelled);
	assert_int_equal(worker.vni, VNI_ACME);
	assert_int_equal(worker.destination, WORKER);
	assert_int_equal(worker.destination_port, 40000);
	assert_int_equal(worker.sequence, 7001);
	assert_true(worker.checksums_right);
	assert_int_equal(fixture->counters->shards[0].generated, 2);
}

static void a_stopped_workers_sessions_end_at_once_with_a_reset_if_asked(void **state)
{
	struct fixture *fixture = *state;
	fixture->draft.workspaces[0].flags |= POLICY_WORKSPACE_RESET_GONE;
	fixture->draft.vpcs[0].flags = POLICY_VPC_WORKERS_LISTED;
	fixture->draft.workers[0] = (struct policy_worker){.vpc_index = 0, .address = WORKER, .vtep = HOST_1};
	fixture->draft.counts[POLICY_WORKERS] = 1;
	fixture_apply(fixture);
	const struct seen out = fixture_establish(fixture, 40000);
	fixture->draft.workers[0].incarnation++;
	fixture_apply(fixture);
	fixture_pass(fixture, 2 * SECOND_NS);
	assert_int_equal(fixture_active(fixture), 0);
	struct frame *frame = fixture_take(fixture);
	assert_non_null(frame);
	assert_int_equal(frame_read(frame).source, out.source);
	assert_int_equal(frame_read(frame).tcp_flags, TCP_RST);
	assert_null(fixture_take(fixture));
	/* When the address itself has gone, nobody may speak in its name. */
	fixture_establish(fixture, 40001);
	fixture->draft.egress_ips[0].incarnation++;
	fixture->draft.egress_ips[1].incarnation++;
	fixture_apply(fixture);
	fixture_pass(fixture, 2 * SECOND_NS);
	assert_int_equal(fixture_active(fixture), 0);
	assert_null(fixture_take(fixture));
}

static void the_destinations_refused_most_are_kept(void **state)
{
	struct fixture *fixture = *state;
	srandom(7);
	for (unsigned i = 0; i < 20000; i++) {
		const bool often = i % 4 == 0;
		struct description of = packet_to(often ? IP(10, 9, 9, 9) : IP(10, 200, random() % 200, random() % 200),
			1, often ? 8080 : (uint16_t)random(), PROTOCOL_UDP);
		struct frame frame;
		fixture_send(fixture, &frame, &of);
	}
	uint64_t count = 0;
	for (unsigned i = 0; i < COUNTERS_REFUSALS; i++) {
		const struct counters_refusal *of = &fixture->counters->shards[0].refusals[i];
		if (of->address == IP(10, 9, 9, 9) && of->port == 8080 && of->reason == DROP_DENIED_DESTINATION)
			count = of->count;
	}
	assert_true(count > 2000);
}

static void what_was_refused_to_a_workspace_is_not_its_successors(void **state)
{
	struct fixture *fixture = *state;
	struct counters_refusal *refusals = fixture->counters->shards[0].refusals;
	uint64_t refused[2] = {0, 0};
	fixture_sent(fixture, packet_to(IP(10, 9, 9, 9), 40000, 8080, PROTOCOL_UDP));
	for (unsigned round = 0; round < 2; round++) {
		for (unsigned i = 0; i < COUNTERS_REFUSALS; i++)
			refused[round] += refusals[i].count;
		fixture->draft.workspaces[0].incarnation++; /* of the same name, and in the same slot */
		fixture_apply(fixture);
	}
	assert_int_equal(refused[0], 1);
	assert_int_equal(refused[1], 0);
}

static void each_shard_gives_only_ports_of_its_own(void **state)
{
	(void)state;
	static uint8_t owner[65536];
	memset(owner, 0xff, sizeof(owner));
	for (uint32_t shard = 0; shard < 3; shard++) {
		struct fixture *fixture = fixture_new(65536);
		fixture->config.shard_index = shard;
		fixture->config.shard_count = 3;
		memset(fixture->shard_memory, 0, nat_shard_size(&fixture->config));
		fixture->shard = nat_shard_init(fixture->shard_memory, &fixture->config);
		struct description of = packet_to(REMOTE, 0, 443, PROTOCOL_TCP);
		of.vni = VNI_GLOBEX;
		unsigned count = 0;
		for (;; count++) {
			struct frame frame;
			of.source_port = (uint16_t)(count + 1);
			if (fixture_send(fixture, &frame, &of) != PACKET_FORWARD ||
				frame.packet.out_port == PORT_INSIDE)
				break;
			const uint16_t port = frame_read(&frame).source_port;
			assert_int_equal(owner[port], 0xff);
			owner[port] = (uint8_t)shard;
		}
		assert_in_range(count, PORT_TOTAL / 3 - 64, PORT_TOTAL / 3 + 64);
		fixture_free(fixture);
	}
	for (unsigned port = 1024; port < 65536; port++)
		assert_true(owner[port] < 3);
}

/* A shard over the same records, as a new process would make it. */
static void restart(struct fixture *fixture)
{
	memset(fixture->config.secret, 0x33, sizeof(fixture->config.secret));
	fixture_recover(fixture);
	fixture_apply(fixture);
}

static void p5_a_crash_keeps_the_established_sessions(void **state)
{
	struct fixture *fixture = *state;
	struct seen tcp[50], udp[50];
	for (unsigned i = 0; i < 50; i++) {
		tcp[i] = fixture_establish(fixture, (uint16_t)(2000 + i));
		udp[i] = fixture_sent(
			fixture, packet_to(i % 2 ? REMOTE : REMOTE_2, (uint16_t)(3000 + i / 2), 5000, PROTOCOL_UDP));
	}
	const uint64_t before = fixture_active(fixture);
	const uint32_t entries = fixture->shard->inside.count + fixture->shard->outside.count;
	fixture_pass(fixture, 10 * SECOND_NS);
	restart(fixture);
	assert_int_equal(nat_recovered(fixture->shard), before);
	assert_int_equal(fixture->shard->inside.count + fixture->shard->outside.count, entries);
	/* Without a policy yet: nothing passes, nothing is lost. */
	const struct nat_view view = fixture->view;
	fixture->view.policy = NULL;
	fixture_pass(fixture, 5 * SECOND_NS);
	fixture->view = view;
	for (unsigned i = 0; i < 50; i++) {
		struct description reply = reply_to(&tcp[i]);
		reply.tcp_flags = TCP_ACK;
		reply.sequence = 7001;
		assert_int_equal(fixture_sent(fixture, reply).destination_port, 2000 + i);
		assert_true(fixture_passes(fixture, reply_to(&udp[i])));
		assert_int_equal(fixture_sent(fixture,
					 packet_to(IP(198, 51, 100, 9), (uint16_t)(3000 + i / 2), 5000, PROTOCOL_UDP))
					 .source_port,
			udp[i].source_port); /* the mapping too */
	}
	fixture_pass(fixture, 8000 * SECOND_NS);
	assert_int_equal(fixture_active(fixture), 0);
	assert_int_equal(fixture->shard->inside.count + fixture->shard->outside.count, 0);
}

/* Whatever a kill or a stray pen left behind: what is taken over is consistent, and it all ends. */
static void p5_damaged_records_are_dropped_and_never_trusted(void **state)
{
	struct fixture *fixture = *state;
	srandom(99);
	print_message("# seed 99\n");
	for (unsigned round = 0; round < 30; round++) {
		for (unsigned i = 0; i < 200; i++)
			fixture_passes(fixture, packet_to(random() % 2 ? REMOTE : REMOTE_2,
							(uint16_t)(random() % 100 + 1), 5000, PROTOCOL_UDP));
		uint8_t *bytes = fixture->sessions_memory;
		for (unsigned i = 0; i < 400; i++)
			bytes[(size_t)random() % (400 * sizeof(struct session))] = (uint8_t)random();
		restart(fixture);
		assert_int_equal(nat_recovered(fixture->shard), fixture_active(fixture));
		for (unsigned i = 0; i < 200; i++)
			fixture_passes(fixture, packet_to(REMOTE, (uint16_t)(random() % 100 + 1), 5000, PROTOCOL_UDP));
		assert_int_equal(fixture->counters->shards[0].guard_violations, 0);
	}
	fixture_pass(fixture, 8000 * SECOND_NS);
	assert_int_equal(fixture_active(fixture), 0);
	assert_int_equal(fixture->shard->inside.count + fixture->shard->outside.count, 0);
}

/* It would be live under each policy to come, whoever its slots will belong to. */
static void p5_a_record_of_a_policy_that_never_was_is_dropped(void **state)
{
	struct fixture *fixture = *state;
	const struct seen out = fixture_sent(fixture, packet_to(REMOTE, 40000, 5000, PROTOCOL_UDP));
	const struct seen other = fixture_sent(fixture, packet_to(REMOTE, 40001, 5000, PROTOCOL_UDP));
	for (uint32_t i = 0; i < 4096; i++)
		if (fixture->shard->sessions[i].inside_port == 40001)
			fixture->shard->sessions[i].created_policy = fixture->identities->sequence + 1;
	restart(fixture);
	assert_int_equal(nat_recovered(fixture->shard), 1);
	assert_true(fixture_passes(fixture, reply_to(&out)));
	assert_false(fixture_passes(fixture, reply_to(&other)));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
	cmocka_set_message_output(CM_OUTPUT_TAP);
	const struct CMUnitTest tests[] = {
		TEST(rfc4787_9_two_workers_meet_through_their_egress_addresses),
		TEST(hairpins_between_workspaces_need_the_policy),
		TEST(other_protocols_pass_by_address_alone_where_allowed),
		TEST(shared_addresses_keep_the_workspaces_ports_apart),
		TEST(icmp_errors_and_fragments_find_their_owner_on_a_shared_address),
		TEST(moving_from_shared_to_dedicated_keeps_the_old_sessions),
		TEST(overlapping_port_ranges_are_refused),
		TEST(an_idle_end_resets_both_ends_if_asked),
		TEST(a_stopped_workers_sessions_end_at_once_with_a_reset_if_asked),
		TEST(the_destinations_refused_most_are_kept),
		TEST(what_was_refused_to_a_workspace_is_not_its_successors),
		cmocka_unit_test(each_shard_gives_only_ports_of_its_own),
		TEST(p5_a_crash_keeps_the_established_sessions),
		TEST(p5_a_record_of_a_policy_that_never_was_is_dropped),
		TEST(p5_damaged_records_are_dropped_and_never_trusted),
	};
	return cmocka_run_group_tests_name("features", tests, NULL, NULL);
}
