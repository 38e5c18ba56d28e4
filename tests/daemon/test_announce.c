/* SPDX-License-Identifier: Apache-2.0 */
/* control/announce.c against the kernel, in a network namespace of its own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <linux/rtnetlink.h>
#include <netlink/netlink.h>
#include <sched.h>

#include "control/announce.h"
#include "control/backoff.h"

enum { TABLE = 4711 };

#define EGRESS(number) (0xcb007100u + (number))

struct fixture {
	struct announce announce;
	struct problems problems;
};

static void run(const char *command)
{
	if (system(command) != 0)
		fail_msg("failed: %s", command);
}

static int setup(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));

	*state = fixture;
	return fixture == NULL || unshare(CLONE_NEWNET) != 0;
}

static int teardown(void **state)
{
	struct fixture *fixture = *state;

	announce_close(&fixture->announce);
	problems_clear(&fixture->problems);
	free(fixture);
	return 0;
}

/* `count` addresses from EGRESS(0) on, given in falling order. */
static enum status announce(struct fixture *fixture, uint32_t table, size_t count, bool *ret_more)
{
	struct announce_desired desired = {
		.table = table, .mapping_table = 4242, .type = RTN_BLACKHOLE, .address_count = count};
	enum status status;

	problems_clear(&fixture->problems);
	desired.addresses = calloc(count + 1, sizeof(*desired.addresses));
	assert_non_null(desired.addresses);
	for (size_t i = 0; i < count; i++)
		desired.addresses[i] = EGRESS(count - 1 - i);
	status = announce_apply(&fixture->announce, &desired, ret_more, &fixture->problems);
	free(desired.addresses);
	return status;
}

static size_t lines(const char *command)
{
	FILE *pipe = popen(command, "r");
	size_t count = 0;
	int byte;

	assert_non_null(pipe);
	while ((byte = fgetc(pipe)) != EOF)
		count += byte == '\n';
	pclose(pipe);
	return count;
}

static void more_addresses_than_one_round_changes_take_several(void **state)
{
	struct fixture *fixture = *state;
	bool more = false;

	assert_int_equal(announce(fixture, TABLE, ANNOUNCE_CHANGE_COUNT_MAX + 1000, &more), STATUS_OK);
	assert_true(more);
	assert_int_equal(fixture->announce.actual_count, ANNOUNCE_CHANGE_COUNT_MAX);
	assert_int_equal(announce(fixture, TABLE, ANNOUNCE_CHANGE_COUNT_MAX + 1000, &more), STATUS_OK);
	assert_false(more);
	assert_int_equal(fixture->announce.actual_count, ANNOUNCE_CHANGE_COUNT_MAX + 1000);
	assert_int_equal(lines("ip route show table 4711 proto 133 type blackhole"), ANNOUNCE_CHANGE_COUNT_MAX + 1000);
	assert_int_equal(announce(fixture, TABLE, 0, &more), STATUS_OK);
	assert_int_equal(announce(fixture, TABLE, 0, &more), STATUS_OK);
	assert_int_equal(fixture->announce.actual_count, 0);
}

static void what_others_do_is_corrected_and_counted(void **state)
{
	struct fixture *fixture = *state;
	bool more = false;

	assert_int_equal(announce(fixture, TABLE, 3, &more), STATUS_OK);
	assert_int_equal(fixture->announce.corrections, 0);
	run("ip route delete blackhole 203.0.113.1 table 4711 metric 133");
	run("ip route add blackhole 203.0.113.9 table 4711 metric 133 protocol 133");
	run("ip route add blackhole 203.0.113.2 table 4711 metric 7 protocol 133");
	assert_int_equal(announce(fixture, TABLE, 3, &more), STATUS_OK);
	assert_int_equal(fixture->announce.corrections, 3);
	assert_int_equal(lines("ip route show table 4711"), 3);
}

static void routes_of_others_and_mappings_are_never_touched(void **state)
{
	struct fixture *fixture = *state;
	bool more = false;

	run("ip link set lo up");
	run("ip route add blackhole 203.0.113.9 table 4711 metric 133");
	run("ip route add 10.64.3.0/24 dev lo table 4711 protocol 133");
	run("ip route add blackhole 203.0.113.9 table 4242 metric 133 protocol 133");
	run("ip route add blackhole 203.0.113.8 table 9 metric 7 protocol 133");
	assert_int_equal(announce(fixture, TABLE, 1, &more), STATUS_OK);
	assert_int_equal(announce(fixture, 0, 0, &more), STATUS_OK);
	assert_int_equal(lines("ip route show table 4711"), 2);
	assert_int_equal(lines("ip route show table 4242"), 1);
	assert_int_equal(lines("ip route show table 9"), 1);
}

static void another_table_leaves_nothing_in_the_old_one_also_after_a_restart(void **state)
{
	struct fixture *fixture = *state;
	bool more = false;

	assert_int_equal(announce(fixture, KERNEL_ROUTE_TABLE_MAIN, 3, &more), STATUS_OK);
	assert_int_equal(lines("ip route show proto 133"), 3);
	announce_close(&fixture->announce);
	memset(&fixture->announce, 0, sizeof(fixture->announce));
	assert_int_equal(announce(fixture, TABLE, 3, &more), STATUS_OK);
	assert_int_equal(lines("ip route show proto 133"), 0);
	assert_int_equal(lines("ip route show table 4711 proto 133"), 3);
}

static void a_route_in_the_way_is_named(void **state)
{
	struct fixture *fixture = *state;
	bool more = false;

	run("ip route add unreachable 203.0.113.0 metric 133");
	assert_int_equal(announce(fixture, KERNEL_ROUTE_TABLE_MAIN, 2, &more), STATUS_SYSTEM);
	assert_int_equal(fixture->problems.count, 1);
	assert_non_null(strstr(fixture->problems.lines[0], "203.0.113.0 is hindered by another route"));
	assert_int_equal(fixture->announce.actual_count, 1);
	run("ip route delete unreachable 203.0.113.0 metric 133");
	assert_int_equal(announce(fixture, KERNEL_ROUTE_TABLE_MAIN, 2, &more), STATUS_OK);
}

/* Each truncation of a route message, and each change of one byte: parsed, or no route; never a crash. */
static void no_message_crashes_the_parser(void **state)
{
	struct {
		struct nlmsghdr header;
		struct rtmsg route;
		struct rtattr destination;
		uint32_t address_be;
		struct rtattr priority;
		uint32_t metric;
	} message = {
		.header = {.nlmsg_len = sizeof(message), .nlmsg_type = RTM_NEWROUTE},
		.route = {.rtm_family = AF_INET, .rtm_dst_len = 24, .rtm_protocol = KERNEL_ROUTE_PROTOCOL},
		.destination = {.rta_len = RTA_LENGTH(4), .rta_type = RTA_DST},
		.address_be = __builtin_bswap32(0x0a400300),
		.priority = {.rta_len = RTA_LENGTH(4), .rta_type = RTA_PRIORITY},
		.metric = ANNOUNCE_METRIC,
	};
	const struct kernel_route_filter filter = {.protocol = KERNEL_ROUTE_PROTOCOL};
	struct kernel_route route;

	assert_true(kernel_route_parse(&message.header, &filter, &route));
	assert_int_equal(route.address, 0x0a400300);
	assert_int_equal(route.metric, ANNOUNCE_METRIC);
	for (uint32_t length = sizeof(message.header); length <= sizeof(message); length++) {
		char *copy = malloc(length);

		message.header.nlmsg_len = length;
		memcpy(copy, &message, length);
		kernel_route_parse((struct nlmsghdr *)(void *)copy, &filter, &route);
		for (size_t i = sizeof(message.header); i < length; i++) {
			for (unsigned value = 0; value < 256; value++) {
				char was = copy[i];

				copy[i] = (char)value;
				kernel_route_parse((struct nlmsghdr *)(void *)copy, &filter, &route);
				copy[i] = was;
			}
		}
		free(copy);
	}
}

static void waits_grow_to_their_limit_and_differ(void **state)
{
	bool differ = false;

	for (uint32_t failures = 0; failures < 100; failures++) {
		uint32_t base = failures < 5 ? 1u << failures : BACKOFF_TICKS_MAX, first = backoff_ticks(failures);

		assert_in_range(first, base, base + base / 2);
		differ = differ || first != backoff_ticks(failures);
	}
	assert_true(differ);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(more_addresses_than_one_round_changes_take_several),
		TEST(what_others_do_is_corrected_and_counted),
		TEST(routes_of_others_and_mappings_are_never_touched),
		TEST(another_table_leaves_nothing_in_the_old_one_also_after_a_restart),
		TEST(a_route_in_the_way_is_named),
		cmocka_unit_test(no_message_crashes_the_parser),
		cmocka_unit_test(waits_grow_to_their_limit_and_differ),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
