/* SPDX-License-Identifier: Apache-2.0 */
/* worker_ingress, what the workspace says: gateway, limits, rules, DSCP, and the samples of what is dropped. */
#include <arpa/inet.h>
#include <linux/pkt_cls.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include <bpf/bpf.h>

#include "tests/bpf/lab.h"
#include "tests/bpf/worker_fixture.h"

enum {
	SET = 9,
	TCP_BYTES = 20,
	SYN = 0x02,
	ACK = 0x10,
	ICMP_BYTES = 8,
	ANSWER_BYTES = ETHERNET_BYTES + IPV4_BYTES + ICMP_BYTES + IPV4_BYTES + 8,
	ANSWER_BURST = 20,
};

#define FOREVER_NS (3600ull * 1000 * 1000 * 1000)

static const struct workspace_value plain = {.gateway_be = 0x0100640a /* GATEWAY_VTEP, on a little-endian machine */};

/* ---- gateway ---- */

static void without_a_gateway_everything_is_dropped(void **state)
{
	struct frame frame = worker_frame(PROTOCOL_TCP);

	workspace_set(*state, &(struct workspace_value){0});
	assert_worker_dropped(*state, &frame, WORKER_DROP_NO_GATEWAY);
	workspace_set(*state, &plain);
	assert_worker_sent(*state, &frame);
}

static void worker_that_waits_is_told_from_a_stranger(void **state)
{
	const struct worker_fixture *fixture = *state;
	const struct claim_value claim = {.workspace_index = WORKSPACE, .vni = VNI};
	struct __sk_buff context = {.ifindex = fixture->stranger_ifindex};
	int map_fd = bpf_map__fd(fixture->bpf->maps.claims);
	uint64_t before = worker_drops(fixture, WORKER_DROP_NOT_ADMITTED);
	uint64_t of_workspace = worker_traffic(fixture).dropped_packets;
	struct frame frame = worker_frame(PROTOCOL_TCP);

	assert_int_equal(bpf_map_update_elem(map_fd, &fixture->stranger_ifindex, &claim, BPF_ANY), 0);
	assert_int_equal(worker_run_program(fixture->bpf->progs.worker_ingress, &frame, &context).action, TC_ACT_SHOT);
	assert_int_equal(worker_drops(fixture, WORKER_DROP_NOT_ADMITTED), before + 1);
	assert_int_equal(worker_traffic(fixture).dropped_packets, of_workspace + 1);
	assert_int_equal(bpf_map_delete_elem(map_fd, &fixture->stranger_ifindex), 0);
}

/* ---- limits ---- */

static void packets_over_the_limit_are_dropped(void **state)
{
	struct workspace_value workspace = plain;
	struct frame frame = worker_frame(PROTOCOL_TCP);

	workspace.packet_cost_ns = FOREVER_NS;
	workspace.packet_burst_ns = 3 * FOREVER_NS;
	workspace_set(*state, &workspace);
	for (int i = 0; i < 3; i++)
		assert_worker_sent(*state, &frame);
	assert_worker_dropped(*state, &frame, WORKER_DROP_PACKET_LIMIT);
	assert_worker_dropped(*state, &frame, WORKER_DROP_PACKET_LIMIT);
	/* Without the limit the same worker goes on. */
	workspace_set(*state, &plain);
	assert_worker_sent(*state, &frame);
}

static void bytes_over_the_limit_are_dropped_and_cost_no_packet_of_the_other_bucket(void **state)
{
	struct workspace_value workspace = plain;
	struct frame frame = worker_frame(PROTOCOL_TCP);
	uint64_t bytes = frame_get16(frame.bytes + ETHERNET_BYTES + 2), packets_full_ns;

	workspace.byte_cost_1024 = 1024 * (FOREVER_NS / 1024);
	workspace.byte_burst_ns = (2 * bytes + bytes / 2) * (FOREVER_NS / 1024);
	workspace.packet_cost_ns = 1;
	workspace.packet_burst_ns = FOREVER_NS;
	workspace_set(*state, &workspace);
	for (int i = 0; i < 2; i++)
		assert_worker_sent(*state, &frame);
	packets_full_ns = worker_get(*state).packets_full_ns;
	assert_worker_dropped(*state, &frame, WORKER_DROP_BYTE_LIMIT);
	assert_true(worker_get(*state).packets_full_ns == packets_full_ns);
}

static void every_segment_of_a_gso_packet_counts(void **state)
{
	const struct worker_fixture *fixture = *state;
	struct __sk_buff context = {.ifindex = fixture->worker_ifindex, .gso_segs = 4, .gso_size = 8};
	struct workspace_value workspace = plain;
	struct frame frame = worker_frame(PROTOCOL_TCP);

	workspace.packet_cost_ns = FOREVER_NS;
	workspace.packet_burst_ns = 7 * FOREVER_NS;
	workspace_set(fixture, &workspace);
	assert_int_equal(
		worker_run_program(fixture->bpf->progs.worker_ingress, &frame, &context).action, TC_ACT_REDIRECT);
	assert_int_equal(worker_run_program(fixture->bpf->progs.worker_ingress, &frame, &context).action, TC_ACT_SHOT);
	for (int i = 0; i < 3; i++)
		assert_worker_sent(fixture, &frame);
	assert_worker_dropped(fixture, &frame, WORKER_DROP_PACKET_LIMIT);
}

/* Ten at once, then one each time that another has been earned; the clock is the kernel's. */
static void bucket_fills_with_time_to_its_burst_and_no_more(void **state)
{
	const struct worker_fixture *fixture = *state;
	struct workspace_value workspace = plain;
	struct frame frame = worker_frame(PROTOCOL_TCP);
	struct worker_value worker = worker_get(fixture);

	workspace.packet_cost_ns = FOREVER_NS;
	workspace.packet_burst_ns = 10 * FOREVER_NS;
	workspace_set(fixture, &workspace);
	/* Long full: no more than the burst is in it. */
	worker.packets_full_ns = 0;
	worker_set(fixture, &worker);
	for (int i = 0; i < 10; i++)
		assert_worker_sent(fixture, &frame);
	assert_worker_dropped(fixture, &frame, WORKER_DROP_PACKET_LIMIT);
	worker = worker_get(fixture);
	worker.packets_full_ns -= FOREVER_NS; /* as if so much time had passed */
	worker_set(fixture, &worker);
	assert_worker_sent(fixture, &frame);
	assert_worker_dropped(fixture, &frame, WORKER_DROP_PACKET_LIMIT);
}

/* What was used up of a low limit is no debt under the higher one that comes after. */
static void raised_limit_holds_at_once(void **state)
{
	const struct worker_fixture *fixture = *state;
	struct workspace_value workspace = plain;
	struct frame frame = worker_frame(PROTOCOL_TCP);
	const uint64_t bytes = frame_get16(frame.bytes + ETHERNET_BYTES + 2);

	workspace.packet_cost_ns = FOREVER_NS;
	workspace.packet_burst_ns = FOREVER_NS;
	workspace.byte_cost_1024 = 1024 * (FOREVER_NS / 1024);
	workspace.byte_burst_ns = bytes * (FOREVER_NS / 1024);
	workspace_set(fixture, &workspace);
	assert_worker_sent(fixture, &frame);
	assert_worker_dropped(fixture, &frame, WORKER_DROP_BYTE_LIMIT);
	/* Both fill up within the time that the next packet takes to come here. */
	workspace.packet_cost_ns = 1;
	workspace.packet_burst_ns = 64;
	workspace.byte_cost_1024 = 1024 / bytes;
	workspace.byte_burst_ns = 64;
	workspace_set(fixture, &workspace);
	worker_run(fixture, &frame);
	assert_worker_sent(fixture, &frame);
}

/* ---- rules ---- */

static void region_set(const struct worker_fixture *fixture, uint32_t set, uint32_t address, uint32_t bits,
	const struct rule_region *region)
{
	const struct rule_key key = {
		.prefix_length_bits = 32 + bits,
		.set_be = htonl(set),
		.address_be = htonl(address),
	};

	assert_int_equal(bpf_map_update_elem(bpf_map__fd(fixture->bpf->maps.rules), &key, region, BPF_ANY), 0);
}

/* Denied by default; to the remote's /24 TCP and UDP ports 50 to 60 are allowed. */
static void set_rules(const struct worker_fixture *fixture)
{
	struct workspace_value workspace = plain;

	region_set(fixture, SET, 0, 0, &(struct rule_region){.verdict = RULE_DENY});
	region_set(fixture, SET, REMOTE_ADDRESS & 0xffffff00, 24,
		&(struct rule_region){
			.entry_count = 2,
			.verdict = RULE_DENY,
			.entries = {{.protocol = PROTOCOL_TCP,
					    .port_first = 50,
					    .port_last = 60,
					    .verdict = RULE_ALLOW},
				{.protocol = PROTOCOL_UDP, .port_first = 50, .port_last = 60, .verdict = RULE_ALLOW}},
		});
	/* Another workspace's, which says the contrary. */
	region_set(fixture, SET + 1, 0, 0, &(struct rule_region){.verdict = RULE_ALLOW});
	workspace.rule_set = SET;
	workspace_set(fixture, &workspace);
}

static struct frame tcp_frame(uint32_t destination, uint16_t port, uint8_t flags)
{
	struct frame frame;
	uint8_t *tcp;

	frame_build_ipv4(&frame, &(struct frame_ipv4){
					 .source_mac = worker_mac,
					 .source = WORKER_ADDRESS,
					 .destination = destination,
					 .protocol = PROTOCOL_TCP,
					 .payload_bytes = TCP_BYTES + 100,
				 });
	tcp = frame.bytes + ETHERNET_BYTES + IPV4_BYTES;
	frame_put16(tcp + 2, port);
	tcp[12] = TCP_BYTES / 4 << 4;
	tcp[13] = flags;
	return frame;
}

static struct frame udp_frame(uint32_t destination, uint16_t port, uint16_t fragment)
{
	return frame_of_ipv4(&(struct frame_ipv4){
		.source_mac = worker_mac,
		.source = WORKER_ADDRESS,
		.destination = destination,
		.protocol = PROTOCOL_UDP,
		.destination_port = port,
		.fragment = fragment,
		.payload_bytes = WORKER_PAYLOAD_BYTES,
	});
}

/* Counted as denied, and turned into the ICMP error that goes back to the worker. */
static void assert_denied(const struct worker_fixture *fixture, const struct frame *frame)
{
	const uint8_t from_gateway[] = {169, 254, 0, 1}, to_worker[] = {10, 0, 0, 5};
	uint64_t before = worker_drops(fixture, WORKER_DROP_DENIED), all_before = worker_all_drops(fixture);
	uint64_t of_worker = worker_get(fixture).traffic.drops[WORKER_DROP_DENIED];
	struct worker_run run = worker_run(fixture, frame);
	const uint8_t *ip = run.out.bytes + ETHERNET_BYTES, *icmp = ip + IPV4_BYTES;

	assert_int_equal(run.action, TC_ACT_REDIRECT);
	assert_int_equal(run.mark, WORKER_DELIVERY_MARK);
	assert_int_equal(worker_drops(fixture, WORKER_DROP_DENIED), before + 1);
	assert_int_equal(worker_all_drops(fixture), all_before + 1);
	assert_int_equal(worker_get(fixture).traffic.drops[WORKER_DROP_DENIED], of_worker + 1);
	assert_int_equal(run.out.length_bytes, ANSWER_BYTES);
	assert_memory_equal(run.out.bytes, worker_mac, 6);
	assert_memory_equal(run.out.bytes + 6, gateway_mac, 6);
	assert_int_equal(frame_get16(run.out.bytes + 12), 0x0800);
	assert_int_equal(frame_get16(ip + 2), ANSWER_BYTES - ETHERNET_BYTES);
	assert_int_equal(ip[9], PROTOCOL_ICMP);
	assert_memory_equal(ip + 12, from_gateway, 4);
	assert_memory_equal(ip + 16, to_worker, 4);
	assert_int_equal(frame_sum(ip, IPV4_BYTES, 0), 0xffff);
	assert_int_equal(icmp[0], 3);
	assert_int_equal(icmp[1], 13);
	assert_int_equal(frame_sum(icmp, ANSWER_BYTES - ETHERNET_BYTES - IPV4_BYTES, 0), 0xffff);
	assert_memory_equal(icmp + ICMP_BYTES, frame->bytes + ETHERNET_BYTES, IPV4_BYTES + 8);
}

static void destination_port_and_protocol_decide_by_the_longest_prefix(void **state)
{
	struct frame frame;

	set_rules(*state);
	frame = tcp_frame(REMOTE_ADDRESS, 53, SYN);
	assert_worker_sent(*state, &frame);
	frame = tcp_frame(REMOTE_ADDRESS, 61, SYN);
	assert_denied(*state, &frame);
	frame = tcp_frame(REMOTE_ADDRESS + 256, 53, SYN);
	assert_denied(*state, &frame);
	frame = udp_frame(REMOTE_ADDRESS, 60, 0);
	assert_worker_sent(*state, &frame);
	frame = udp_frame(REMOTE_ADDRESS, 49, 0);
	assert_denied(*state, &frame);
	frame = worker_frame(47);
	assert_denied(*state, &frame);
}

static void rules_of_another_set_do_not_matter(void **state)
{
	struct workspace_value workspace = plain;
	struct frame frame = udp_frame(REMOTE_ADDRESS + 256, 1, 0);

	set_rules(*state);
	assert_denied(*state, &frame);
	workspace.rule_set = SET + 1;
	workspace_set(*state, &workspace);
	assert_worker_sent(*state, &frame);
	workspace.rule_set = SET + 2; /* an empty one: the gateway decides */
	workspace_set(*state, &workspace);
	assert_worker_sent(*state, &frame);
}

static void what_only_the_gateway_can_know_is_left_to_it(void **state)
{
	struct frame frame;

	set_rules(*state);
	/* Of a connection that is there, perhaps. */
	frame = tcp_frame(REMOTE_ADDRESS, 61, ACK);
	assert_worker_sent(*state, &frame);
	frame = tcp_frame(REMOTE_ADDRESS, 61, SYN | ACK);
	assert_worker_sent(*state, &frame);
	/* A later fragment bears no port. */
	frame = udp_frame(REMOTE_ADDRESS, 49, 0x0010);
	assert_worker_sent(*state, &frame);
	/* An ICMP error belongs to a session. */
	frame = worker_frame(PROTOCOL_ICMP);
	frame.bytes[ETHERNET_BYTES + IPV4_BYTES] = 3;
	assert_worker_sent(*state, &frame);
	frame.bytes[ETHERNET_BYTES + IPV4_BYTES] = 8;
	assert_denied(*state, &frame);
	/* But where no port can save it, a fragment is refused like the rest, if without an answer. */
	frame = udp_frame(REMOTE_ADDRESS + 256, 49, 0x0010);
	assert_worker_dropped(*state, &frame, WORKER_DROP_DENIED);
	region_set(*state, SET, REMOTE_ADDRESS, 32, &(struct rule_region){.verdict = RULE_UNDECIDED});
	frame = tcp_frame(REMOTE_ADDRESS, 61, SYN);
	assert_worker_sent(*state, &frame);
}

static void refusals_are_answered_at_a_bounded_pace(void **state)
{
	struct frame frame = tcp_frame(REMOTE_ADDRESS + 256, 1, SYN);
	int answered = 0;

	set_rules(*state);
	for (int i = 0; i < 10 * ANSWER_BURST; i++)
		answered += worker_run(*state, &frame).action == TC_ACT_REDIRECT;
	/* One more for each 10 ms that the machine took. */
	assert_in_range(answered, ANSWER_BURST, 5 * ANSWER_BURST);
}

static void packet_with_options_is_refused_without_an_answer(void **state)
{
	struct frame frame;

	set_rules(*state);
	frame_build_ipv4(&frame, &(struct frame_ipv4){
					 .source_mac = worker_mac,
					 .source = WORKER_ADDRESS,
					 .destination = REMOTE_ADDRESS + 256,
					 .protocol = PROTOCOL_UDP,
					 .destination_port = 53,
					 .options_bytes = 8,
					 .payload_bytes = WORKER_PAYLOAD_BYTES,
				 });
	assert_worker_dropped(*state, &frame, WORKER_DROP_DENIED);
}

/* RFC 1122 section 3.2.2: nobody could tell from a later fragment what it was part of. */
static void only_the_first_fragment_is_refused_with_an_answer(void **state)
{
	const uint16_t later[] = {0x0010, 0x2010, 0x1fff};
	struct frame frame = udp_frame(REMOTE_ADDRESS + 256, 53, 0x2000);

	set_rules(*state);
	assert_denied(*state, &frame);
	for (int i = 0; i < 3; i++) {
		frame = udp_frame(REMOTE_ADDRESS + 256, 53, later[i]);
		assert_worker_dropped(*state, &frame, WORKER_DROP_DENIED);
	}
}

/* ---- DSCP ---- */

static void dscp_is_set_with_a_right_checksum_and_ecn_is_kept(void **state)
{
	const struct worker_fixture *fixture = *state;
	struct workspace_value workspace = plain;

	for (unsigned before = 0; before < 256; before += 3) {
		for (unsigned dscp = 0; dscp < 64; dscp += 9) {
			struct frame frame = worker_frame(PROTOCOL_TCP);
			uint8_t *ip = frame.bytes + ETHERNET_BYTES;
			struct worker_run run;

			ip[1] = (uint8_t)before;
			frame_put16(ip + 10, 0);
			frame_put16(ip + 10, (uint16_t)~frame_sum(ip, IPV4_BYTES, 0));
			workspace.dscp = WORKSPACE_DSCP_SET | dscp;
			workspace_set(fixture, &workspace);
			run = worker_run(fixture, &frame);
			assert_int_equal(run.action, TC_ACT_REDIRECT);
			ip = run.out.bytes + ETHERNET_BYTES;
			assert_int_equal(ip[1], dscp << 2 | (before & 3));
			assert_int_equal(frame_sum(ip, IPV4_BYTES, 0), 0xffff);
			workspace_set(fixture, &plain);
			assert_int_equal(worker_run(fixture, &frame).out.bytes[ETHERNET_BYTES + 1], before);
		}
	}
}

/* ---- samples ---- */

static struct sample_state sample_totals(const struct worker_fixture *fixture)
{
	struct sample_state values[1024], sum = {0};
	uint32_t zero = 0;

	assert_int_equal(bpf_map_lookup_elem(bpf_map__fd(fixture->bpf->maps.sample_state), &zero, values), 0);
	for (int cpu = 0; cpu < libbpf_num_possible_cpus(); cpu++) {
		sum.taken += values[cpu].taken;
		sum.lost += values[cpu].lost;
	}
	return sum;
}

static void dropped_packet_is_sampled_with_its_beginning_while_somebody_watches(void **state)
{
	const struct worker_fixture *fixture = *state;
	struct frame frame = worker_frame(PROTOCOL_TCP), small;
	struct drop_sample sample = {0};
	struct ring_buffer *ring = worker_samples_open(fixture, &sample);

	frame_put32(frame.bytes + ETHERNET_BYTES + 12, WORKER_ADDRESS + 1);
	assert_worker_dropped(fixture, &frame, WORKER_DROP_SPOOFED_SOURCE);
	assert_int_equal(ring_buffer__consume(ring), 0);
	worker_samples_watch(fixture, 1);
	assert_worker_dropped(fixture, &frame, WORKER_DROP_SPOOFED_SOURCE);
	assert_int_equal(ring_buffer__consume(ring), 1);
	assert_int_equal(sample.reason, WORKER_DROP_SPOOFED_SOURCE);
	assert_int_equal(sample.ifindex, fixture->worker_ifindex);
	assert_int_equal(sample.workspace_index, WORKSPACE);
	assert_int_equal(sample.vni, VNI);
	assert_int_equal(sample.length_bytes, frame.length_bytes);
	assert_int_equal(sample.captured_bytes, BPF_SAMPLE_CAPTURE_BYTES);
	assert_memory_equal(sample.bytes, frame.bytes, BPF_SAMPLE_CAPTURE_BYTES);
	frame_build_ipv4(&small, &(struct frame_ipv4){.source_mac = worker_mac, .protocol = 47, .payload_bytes = 3});
	assert_worker_dropped(fixture, &small, WORKER_DROP_SPOOFED_SOURCE);
	assert_int_equal(ring_buffer__consume(ring), 1);
	assert_int_equal(sample.captured_bytes, small.length_bytes);
	assert_memory_equal(sample.bytes, small.bytes, small.length_bytes);
	worker_samples_watch(fixture, 0);
	ring_buffer__free(ring);
}

static void samples_beyond_the_pace_or_the_ring_are_counted_as_lost(void **state)
{
	const struct worker_fixture *fixture = *state;
	struct frame frame = worker_frame(PROTOCOL_TCP);
	struct sample_state before = sample_totals(fixture), after;
	struct drop_sample sample;
	struct ring_buffer *ring = worker_samples_open(fixture, &sample);

	frame_put32(frame.bytes + ETHERNET_BYTES + 12, WORKER_ADDRESS + 1);
	worker_samples_watch(fixture, FOREVER_NS);
	for (int i = 0; i < 2 * BPF_SAMPLE_BURST; i++)
		assert_int_equal(worker_run(fixture, &frame).action, TC_ACT_SHOT);
	after = sample_totals(fixture);
	assert_int_equal(after.taken - before.taken + after.lost - before.lost, 2 * BPF_SAMPLE_BURST);
	assert_in_range(after.taken - before.taken, 1, BPF_SAMPLE_BURST * (uint64_t)libbpf_num_possible_cpus());
	assert_int_equal(ring_buffer__consume(ring), after.taken - before.taken);
	worker_samples_watch(fixture, 0);
	ring_buffer__free(ring);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		worker_unit_test(without_a_gateway_everything_is_dropped),
		worker_unit_test(worker_that_waits_is_told_from_a_stranger),
		worker_unit_test(packets_over_the_limit_are_dropped),
		worker_unit_test(bytes_over_the_limit_are_dropped_and_cost_no_packet_of_the_other_bucket),
		worker_unit_test(every_segment_of_a_gso_packet_counts),
		worker_unit_test(bucket_fills_with_time_to_its_burst_and_no_more),
		worker_unit_test(raised_limit_holds_at_once),
		worker_unit_test(destination_port_and_protocol_decide_by_the_longest_prefix),
		worker_unit_test(rules_of_another_set_do_not_matter),
		worker_unit_test(what_only_the_gateway_can_know_is_left_to_it),
		worker_unit_test(refusals_are_answered_at_a_bounded_pace),
		worker_unit_test(packet_with_options_is_refused_without_an_answer),
		worker_unit_test(only_the_first_fragment_is_refused_with_an_answer),
		worker_unit_test(dscp_is_set_with_a_right_checksum_and_ecn_is_kept),
		worker_unit_test(dropped_packet_is_sampled_with_its_beginning_while_somebody_watches),
		worker_unit_test(samples_beyond_the_pace_or_the_ring_are_counted_as_lost),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	lab_require_root();
	return cmocka_run_group_tests(tests, worker_fixture_open, worker_fixture_close);
}
