/* SPDX-License-Identifier: Apache-2.0 */
/* worker_ingress as a DHCP server: each message of a client's, and the answer's every byte that counts. */
#include <arpa/inet.h>
#include <linux/pkt_cls.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "tests/bpf/lab.h"
#include "tests/bpf/worker_fixture.h"

enum {
	BOOTP_OFFSET = ETHERNET_BYTES + IPV4_BYTES + UDP_BYTES,
	FLAGS_OFFSET = BOOTP_OFFSET + 10,
	CLIENT_OFFSET = BOOTP_OFFSET + 12,
	YOURS_OFFSET = BOOTP_OFFSET + 16,
	RELAY_OFFSET = BOOTP_OFFSET + 24,
	HARDWARE_OFFSET = BOOTP_OFFSET + 28,
	NAMES_OFFSET = BOOTP_OFFSET + 44,
	MAGIC_OFFSET = BOOTP_OFFSET + 236,
	OPTIONS_OFFSET = MAGIC_OFFSET + 4,
	MESSAGE_BYTES = 300,
	TRANSACTION = 0x12345678,
	LEASE_S = 3600,
	MTU = 1450,
	DISCOVER = 1,
	OFFER,
	REQUEST,
	DECLINE,
	ACK,
	NAK,
	RELEASE,
	INFORM,
	ANSWERS_BURST = 20,
};

static void config_set(const struct worker_fixture *fixture, uint32_t lease_s)
{
	const struct worker_config config = {
		.vxlan_ifindex = fixture->vxlan_ifindex,
		.vtep_be = htonl(HOST_VTEP),
		.mtu_bytes = MTU,
		.dhcp_lease_s = lease_s,
		.dns_option = {6, 8, 9, 9, 9, 9, 1, 1, 1, 1},
	};

	worker_config_set(fixture, &config);
}

static int dhcp_reset(void **state)
{
	worker_reset(state);
	config_set(*state, LEASE_S);
	return 0;
}

/* A client's message from 0.0.0.0 to everybody; `requested` 0: it names no address. */
static struct frame message(uint8_t type, uint32_t requested)
{
	struct frame frame;
	uint8_t *option;

	frame_build_ipv4(&frame, &(struct frame_ipv4){
					 .source_mac = worker_mac,
					 .source = 0,
					 .destination = 0xffffffff,
					 .protocol = PROTOCOL_UDP,
					 .source_port = 68,
					 .destination_port = 67,
					 .payload_bytes = MESSAGE_BYTES,
				 });
	memset(frame.bytes + BOOTP_OFFSET, 0, MESSAGE_BYTES);
	memcpy(frame.bytes + BOOTP_OFFSET, (uint8_t[]){1, 1, 6, 0}, 4);
	frame_put32(frame.bytes + BOOTP_OFFSET + 4, TRANSACTION);
	memcpy(frame.bytes + HARDWARE_OFFSET, worker_mac, 6);
	frame_put32(frame.bytes + MAGIC_OFFSET, 0x63825363);
	option = frame.bytes + OPTIONS_OFFSET;
	/* A client identifier and a list of wishes first, as clients do; and a pad. */
	memcpy(option, (uint8_t[]){61, 7, 1, 2, 3, 4, 5, 6, 7, 55, 3, 1, 3, 6, 0}, 15);
	option += 15;
	memcpy(option, (uint8_t[]){53, 1, type}, 3);
	option += 3;
	if (requested != 0) {
		memcpy(option, (uint8_t[]){50, 4}, 2);
		frame_put32(option + 2, requested);
		option += 6;
	}
	option[0] = 255;
	return frame;
}

static void add_server(struct frame *frame, uint32_t server)
{
	uint8_t *end = frame->bytes + OPTIONS_OFFSET + 15;

	while (end[0] != 255)
		end += 2 + end[1];
	memcpy(end, (uint8_t[]){54, 4}, 2);
	frame_put32(end + 2, server);
	end[6] = 255;
}

/* The option's value; NULL: it is not there. Pads are passed over, the end must come. */
static const uint8_t *option_of(const struct frame *answer, uint8_t code, uint8_t *ret_length)
{
	const uint8_t *at = answer->bytes + OPTIONS_OFFSET, *end = answer->bytes + answer->length_bytes;

	while (at < end && *at != 255) {
		if (*at == code) {
			*ret_length = at[1];
			return at + 2;
		}
		at += *at == 0 ? 1 : 2 + at[1];
	}
	assert_true(at < end);
	return NULL;
}

static void assert_option(const struct frame *answer, uint8_t code, const uint8_t *value, uint8_t length)
{
	uint8_t length_seen = 0;
	const uint8_t *seen = option_of(answer, code, &length_seen);

	assert_non_null(seen);
	assert_int_equal(length_seen, length);
	assert_memory_equal(seen, value, length);
}

static void assert_no_option(const struct frame *answer, uint8_t code)
{
	uint8_t length;

	assert_null(option_of(answer, code, &length));
}

static void assert_answer_head(const struct frame *answer, uint32_t destination, const uint8_t *destination_mac)
{
	const uint8_t *ip = answer->bytes + ETHERNET_BYTES, *udp = ip + IPV4_BYTES;

	assert_memory_equal(answer->bytes, destination_mac, 6);
	assert_memory_equal(answer->bytes + 6, gateway_mac, 6);
	assert_int_equal(frame_get16(answer->bytes + 12), 0x0800);
	assert_int_equal(ip[0], 0x45);
	assert_int_equal(frame_get16(ip + 2), answer->length_bytes - ETHERNET_BYTES);
	assert_int_equal(ip[9], PROTOCOL_UDP);
	assert_int_equal(frame_sum(ip, IPV4_BYTES, 0), 0xffff);
	assert_int_equal(frame_get32(ip + 12), WORKER_GATEWAY_ADDRESS);
	assert_int_equal(frame_get32(ip + 16), destination);
	assert_int_equal(frame_get16(udp), 67);
	assert_int_equal(frame_get16(udp + 2), 68);
	assert_int_equal(frame_get16(udp + 4), answer->length_bytes - ETHERNET_BYTES - IPV4_BYTES);
	assert_int_equal(answer->bytes[BOOTP_OFFSET], 2);
	assert_int_equal(frame_get32(answer->bytes + BOOTP_OFFSET + 4), TRANSACTION);
	assert_memory_equal(answer->bytes + HARDWARE_OFFSET, worker_mac, 6);
	assert_int_equal(frame_get32(answer->bytes + MAGIC_OFFSET), 0x63825363);
	/* RFC 951: a message has at least 300 bytes. */
	assert_true(answer->length_bytes >= BOOTP_OFFSET + 300);
	for (int i = 0; i < 192; i++)
		assert_int_equal(answer->bytes[NAMES_OFFSET + i], 0);
}

static struct worker_run assert_answered(void **state, const struct frame *frame, uint8_t type)
{
	uint64_t before = worker_all_drops(*state);
	struct worker_run run = worker_run(*state, frame);

	assert_int_equal(run.action, TC_ACT_REDIRECT);
	assert_int_equal(run.mark, WORKER_DELIVERY_MARK);
	assert_int_equal(worker_all_drops(*state), before);
	assert_option(&run.out, 53, &type, 1);
	assert_option(&run.out, 54, (uint8_t[]){169, 254, 0, 1}, 4);
	return run;
}

static void assert_address_given(const struct frame *answer)
{
	assert_option(answer, 1, (uint8_t[]){255, 255, 255, 255}, 4);
	assert_option(answer, 3, (uint8_t[]){169, 254, 0, 1}, 4);
	assert_option(answer, 6, (uint8_t[]){9, 9, 9, 9, 1, 1, 1, 1}, 8);
	assert_option(answer, 26, (uint8_t[]){MTU >> 8, MTU & 0xff}, 2);
	/* 169.254.0.1/32 on the link, everything else behind it */
	assert_option(answer, 121, (uint8_t[]){32, 169, 254, 0, 1, 0, 0, 0, 0, 0, 169, 254, 0, 1}, 14);
}

static void discover_is_offered_the_pinned_address(void **state)
{
	struct frame frame = message(DISCOVER, 0);
	struct worker_run run = assert_answered(state, &frame, OFFER);

	assert_answer_head(&run.out, WORKER_ADDRESS, worker_mac);
	assert_int_equal(frame_get32(run.out.bytes + YOURS_OFFSET), WORKER_ADDRESS);
	assert_option(&run.out, 51, (uint8_t[]){0, 0, LEASE_S >> 8, LEASE_S & 0xff}, 4);
	assert_address_given(&run.out);
}

static void discover_of_another_address_is_offered_the_pinned_one(void **state)
{
	struct frame frame = message(DISCOVER, WORKER_ADDRESS + 1);
	struct worker_run run = assert_answered(state, &frame, OFFER);

	assert_int_equal(frame_get32(run.out.bytes + YOURS_OFFSET), WORKER_ADDRESS);
}

static void client_that_can_not_take_unicast_is_answered_by_broadcast(void **state)
{
	static const uint8_t everybody[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
	struct frame frame = message(DISCOVER, 0);
	struct worker_run run;

	frame_put16(frame.bytes + FLAGS_OFFSET, 0x8000);
	run = assert_answered(state, &frame, OFFER);
	assert_answer_head(&run.out, 0xffffffff, everybody);
	assert_int_equal(frame_get16(run.out.bytes + FLAGS_OFFSET), 0x8000);
}

static void request_is_acknowledged(void **state)
{
	struct frame frame = message(REQUEST, WORKER_ADDRESS);
	struct worker_run run;

	add_server(&frame, WORKER_GATEWAY_ADDRESS);
	run = assert_answered(state, &frame, ACK);
	assert_answer_head(&run.out, WORKER_ADDRESS, worker_mac);
	assert_int_equal(frame_get32(run.out.bytes + YOURS_OFFSET), WORKER_ADDRESS);
	assert_option(&run.out, 51, (uint8_t[]){0, 0, LEASE_S >> 8, LEASE_S & 0xff}, 4);
	assert_address_given(&run.out);
}

/* RFC 2131 section 4.3.2: from its own address, to the server, without options 50 and 54. */
static void lease_is_renewed(void **state)
{
	const uint32_t destinations[] = {WORKER_GATEWAY_ADDRESS, 0xffffffff};

	for (int i = 0; i < 2; i++) {
		struct frame frame = message(REQUEST, 0);
		struct worker_run run;

		frame_put32(frame.bytes + ETHERNET_BYTES + 12, WORKER_ADDRESS);
		frame_put32(frame.bytes + ETHERNET_BYTES + 16, destinations[i]);
		frame_put32(frame.bytes + CLIENT_OFFSET, WORKER_ADDRESS);
		run = assert_answered(state, &frame, ACK);
		assert_answer_head(&run.out, WORKER_ADDRESS, worker_mac);
	}
}

static void request_of_another_address_is_refused(void **state)
{
	static const uint8_t everybody[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
	struct frame frame = message(REQUEST, WORKER_ADDRESS + 1);
	struct worker_run run = assert_answered(state, &frame, NAK);

	assert_answer_head(&run.out, 0xffffffff, everybody);
	assert_int_equal(frame_get32(run.out.bytes + YOURS_OFFSET), 0);
	assert_no_option(&run.out, 51);
	assert_no_option(&run.out, 3);
	assert_no_option(&run.out, 121);
}

/* Section 4.3.5: no address, no lease. */
static void inform_is_told_the_rest(void **state)
{
	struct frame frame = message(INFORM, 0);
	struct worker_run run;

	frame_put32(frame.bytes + ETHERNET_BYTES + 12, WORKER_ADDRESS);
	frame_put32(frame.bytes + CLIENT_OFFSET, WORKER_ADDRESS);
	run = assert_answered(state, &frame, ACK);
	assert_answer_head(&run.out, WORKER_ADDRESS, worker_mac);
	assert_int_equal(frame_get32(run.out.bytes + YOURS_OFFSET), 0);
	assert_no_option(&run.out, 51);
	assert_address_given(&run.out);
}

static void what_needs_no_answer_gets_none(void **state)
{
	struct frame frame = message(REQUEST, WORKER_ADDRESS);

	add_server(&frame, WORKER_GATEWAY_ADDRESS + 1);
	assert_worker_dropped(*state, &frame, WORKER_DROP_DHCP);
	frame = message(DECLINE, WORKER_ADDRESS);
	assert_worker_dropped(*state, &frame, WORKER_DROP_DHCP);
	frame = message(RELEASE, 0);
	assert_worker_dropped(*state, &frame, WORKER_DROP_DHCP);
	frame = message(200, 0);
	assert_worker_dropped(*state, &frame, WORKER_DROP_DHCP);
}

static void message_for_another_machine_is_not_answered(void **state)
{
	struct frame frame = message(DISCOVER, 0);

	memcpy(frame.bytes + HARDWARE_OFFSET, other_mac, 6);
	assert_worker_dropped(*state, &frame, WORKER_DROP_DHCP);
	frame = message(DISCOVER, 0);
	frame_put32(frame.bytes + RELAY_OFFSET, WORKER_ADDRESS);
	assert_worker_dropped(*state, &frame, WORKER_DROP_DHCP);
}

static void another_mac_is_not_answered(void **state)
{
	struct frame good = worker_frame(PROTOCOL_TCP), frame = message(DISCOVER, 0);

	assert_worker_sent(*state, &good); /* the worker's MAC is known from here on */
	memcpy(frame.bytes + 6, other_mac, 6);
	memcpy(frame.bytes + HARDWARE_OFFSET, other_mac, 6);
	assert_worker_dropped(*state, &frame, WORKER_DROP_SPOOFED_MAC);
}

static void malformed_message_is_not_answered(void **state)
{
	struct frame frame = message(DISCOVER, 0);

	frame.bytes[MAGIC_OFFSET] ^= 1;
	assert_worker_dropped(*state, &frame, WORKER_DROP_DHCP);

	frame = message(DISCOVER, 0);
	frame.bytes[BOOTP_OFFSET] = 2;
	assert_worker_dropped(*state, &frame, WORKER_DROP_DHCP);

	frame = message(DISCOVER, 0);
	frame.bytes[OPTIONS_OFFSET + 16] = 2; /* a message type of two bytes */
	assert_worker_dropped(*state, &frame, WORKER_DROP_DHCP);

	frame = message(DISCOVER, 0);
	frame.bytes[OPTIONS_OFFSET + 1] = 250; /* beyond the end of the packet */
	assert_worker_dropped(*state, &frame, WORKER_DROP_DHCP);

	frame = message(DISCOVER, 0); /* options without an end */
	memset(frame.bytes + OPTIONS_OFFSET, 0, MESSAGE_BYTES - 240);
	assert_worker_dropped(*state, &frame, WORKER_DROP_DHCP);

	frame = message(DISCOVER, 0); /* cut off in the middle of the options */
	frame.length_bytes = OPTIONS_OFFSET + 4;
	frame_put16(frame.bytes + ETHERNET_BYTES + 2, OPTIONS_OFFSET + 4 - ETHERNET_BYTES);
	assert_worker_dropped(*state, &frame, WORKER_DROP_DHCP);
}

static void dhcp_of_a_foreign_source_is_spoofed(void **state)
{
	struct frame frame = message(REQUEST, WORKER_ADDRESS);

	frame_put32(frame.bytes + ETHERNET_BYTES + 12, WORKER_ADDRESS + 1);
	assert_worker_dropped(*state, &frame, WORKER_DROP_SPOOFED_SOURCE);
}

/* To port 67 of a remote the worker may send as to any other. */
static void packet_to_a_remote_dhcp_server_is_no_dhcp(void **state)
{
	struct frame frame = worker_frame(PROTOCOL_UDP);

	frame_put16(frame.bytes + ETHERNET_BYTES + IPV4_BYTES + 2, 67);
	assert_worker_sent(*state, &frame);
}

static void answers_are_bounded(void **state)
{
	struct frame frame = message(DISCOVER, 0);
	int answered = 0;

	for (int i = 0; i < 50 * ANSWERS_BURST; i++)
		answered += worker_run(*state, &frame).action == TC_ACT_REDIRECT;
	assert_in_range(answered, ANSWERS_BURST, 10 * ANSWERS_BURST);
}

static void dhcp_is_dropped_unless_it_is_answered(void **state)
{
	struct frame frame = message(DISCOVER, 0);

	config_set(*state, 0);
	assert_worker_dropped(*state, &frame, WORKER_DROP_DHCP);
	/* It teaches no MAC either. */
	assert_int_equal(worker_get(*state).mac[0], 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(discover_is_offered_the_pinned_address, dhcp_reset),
		cmocka_unit_test_setup(discover_of_another_address_is_offered_the_pinned_one, dhcp_reset),
		cmocka_unit_test_setup(client_that_can_not_take_unicast_is_answered_by_broadcast, dhcp_reset),
		cmocka_unit_test_setup(request_is_acknowledged, dhcp_reset),
		cmocka_unit_test_setup(lease_is_renewed, dhcp_reset),
		cmocka_unit_test_setup(request_of_another_address_is_refused, dhcp_reset),
		cmocka_unit_test_setup(inform_is_told_the_rest, dhcp_reset),
		cmocka_unit_test_setup(what_needs_no_answer_gets_none, dhcp_reset),
		cmocka_unit_test_setup(message_for_another_machine_is_not_answered, dhcp_reset),
		cmocka_unit_test_setup(another_mac_is_not_answered, dhcp_reset),
		cmocka_unit_test_setup(malformed_message_is_not_answered, dhcp_reset),
		cmocka_unit_test_setup(dhcp_of_a_foreign_source_is_spoofed, dhcp_reset),
		cmocka_unit_test_setup(packet_to_a_remote_dhcp_server_is_no_dhcp, dhcp_reset),
		cmocka_unit_test_setup(answers_are_bounded, dhcp_reset),
		cmocka_unit_test_setup(dhcp_is_dropped_unless_it_is_answered, dhcp_reset),
	};

	lab_require_root();
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("dhcp", tests, worker_fixture_open, worker_fixture_close);
}
