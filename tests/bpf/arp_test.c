/* SPDX-License-Identifier: Apache-2.0 */
/* worker_ingress and ARP: the gateway's address is answered in place, everything else is dropped. */
#include <linux/pkt_cls.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "tests/bpf/lab.h"
#include "tests/bpf/worker_fixture.h"

enum { ARP_REQUEST = 1, ARP_REPLY = 2 };

static struct frame arp_request(const uint8_t *source_mac, const uint8_t *sender_mac, uint32_t sender, uint32_t target)
{
	struct frame frame;

	frame_build_arp(&frame, &(struct frame_arp){
					.source_mac = source_mac,
					.sender_mac = sender_mac,
					.sender = sender,
					.target = target,
					.operation = ARP_REQUEST,
				});
	return frame;
}

static void assert_arp_answered(const struct worker_fixture *fixture, uint32_t sender)
{
	struct frame request = arp_request(worker_mac, worker_mac, sender, WORKER_GATEWAY_ADDRESS), expected;
	uint64_t drops_before = worker_all_drops(fixture);
	struct worker_run run = worker_run(fixture, &request);

	frame_build_arp(&expected, &(struct frame_arp){
					   .source_mac = gateway_mac,
					   .sender_mac = gateway_mac,
					   .sender = WORKER_GATEWAY_ADDRESS,
					   .target = sender,
					   .operation = ARP_REPLY,
				   });
	memcpy(expected.bytes, worker_mac, 6);
	memcpy(expected.bytes + ETHERNET_BYTES + 18, worker_mac, 6);
	assert_int_equal(run.action, TC_ACT_REDIRECT);
	assert_int_equal(run.out.length_bytes, expected.length_bytes);
	assert_memory_equal(run.out.bytes, expected.bytes, expected.length_bytes);
	assert_int_equal(run.mark, WORKER_DELIVERY_MARK);
	assert_int_equal(worker_all_drops(fixture), drops_before);
	assert_memory_equal(worker_get(fixture).mac, worker_mac, 6);
}

static void arp_for_the_gateway_is_answered(void **state)
{
	assert_arp_answered(*state, WORKER_ADDRESS);
}

static void arp_probe_for_the_gateway_is_answered(void **state)
{
	assert_arp_answered(*state, 0);
}

static void arp_for_other_addresses_is_dropped(void **state)
{
	const uint32_t targets[] = {WORKER_ADDRESS, WORKER_ADDRESS + 1, METADATA_ADDRESS, REMOTE_ADDRESS};

	for (size_t i = 0; i < 4; i++) {
		struct frame frame = arp_request(worker_mac, worker_mac, WORKER_ADDRESS, targets[i]);

		assert_worker_dropped(*state, &frame, WORKER_DROP_ARP);
	}
}

static void arp_reply_is_dropped(void **state)
{
	struct frame frame = arp_request(worker_mac, worker_mac, WORKER_ADDRESS, WORKER_GATEWAY_ADDRESS);

	frame_put16(frame.bytes + ETHERNET_BYTES + 6, ARP_REPLY);
	assert_worker_dropped(*state, &frame, WORKER_DROP_ARP);
}

static void arp_with_spoofed_sender_is_dropped(void **state)
{
	struct frame address = arp_request(worker_mac, worker_mac, WORKER_ADDRESS + 1, WORKER_GATEWAY_ADDRESS);
	struct frame mac = arp_request(worker_mac, other_mac, WORKER_ADDRESS, WORKER_GATEWAY_ADDRESS);

	assert_worker_dropped(*state, &address, WORKER_DROP_SPOOFED_SOURCE);
	assert_worker_dropped(*state, &mac, WORKER_DROP_SPOOFED_MAC);
}

static void arp_cut_short_or_of_other_kind_is_malformed(void **state)
{
	struct frame request = arp_request(worker_mac, worker_mac, WORKER_ADDRESS, WORKER_GATEWAY_ADDRESS);
	const size_t offsets[] = {1, 3, 4, 5};

	for (size_t length = ETHERNET_BYTES + 1; length < request.length_bytes; length++) {
		struct frame cut = request;

		cut.length_bytes = length;
		assert_worker_dropped(*state, &cut, WORKER_DROP_MALFORMED);
	}
	for (size_t i = 0; i < 4; i++) {
		struct frame frame = request;

		frame.bytes[ETHERNET_BYTES + offsets[i]]++;
		assert_worker_dropped(*state, &frame, WORKER_DROP_MALFORMED);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		worker_unit_test(arp_for_the_gateway_is_answered),
		worker_unit_test(arp_probe_for_the_gateway_is_answered),
		worker_unit_test(arp_for_other_addresses_is_dropped),
		worker_unit_test(arp_reply_is_dropped),
		worker_unit_test(arp_with_spoofed_sender_is_dropped),
		worker_unit_test(arp_cut_short_or_of_other_kind_is_malformed),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	lab_require_root();
	return cmocka_run_group_tests(tests, worker_fixture_open, worker_fixture_close);
}
