/* SPDX-License-Identifier: Apache-2.0 */
/* control/steer.c against the real kernel: the test loads and attaches the program in the place of DPDK's driver. */
#include <arpa/inet.h>
#include <net/if.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "bpf/maps.h"
#include "control/steer.h"
#include "tests/bpf/frame_builder.h"
#include "tests/bpf/lab.h"

enum { OWN_VTEP = 0x0a640001, EGRESS_IP = 0xcb00710a, VXLAN_PORT = 4789 };

struct fixture {
	struct bpf_object *object;
	uint32_t ifindex;
	struct problems problems;
};

static int fixture_open(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));

	*state = fixture;
	lab_enter();
	fixture->ifindex = lab_veth("port", "port-peer");
	fixture->object = bpf_object__open_file(STEER_OBJECT, NULL);
	assert_non_null(fixture->object);
	assert_int_equal(bpf_object__load(fixture->object), 0);
	return 0;
}

static int fixture_close(void **state)
{
	struct fixture *fixture = *state;

	bpf_object__close(fixture->object);
	problems_clear(&fixture->problems);
	free(fixture);
	return 0;
}

static void attach(const struct fixture *fixture)
{
	const struct bpf_program *program = bpf_object__next_program(fixture->object, NULL);

	assert_int_equal(bpf_xdp_attach((int)fixture->ifindex, bpf_program__fd(program), 0, NULL), 0);
}

/* An XDP program of somebody else. */
static void attach_foreign(const struct fixture *fixture)
{
	const struct bpf_insn pass[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = XDP_PASS},
		{.code = BPF_JMP | BPF_EXIT},
	};
	int fd = bpf_prog_load(BPF_PROG_TYPE_XDP, "foreign", "GPL", pass, 2, NULL);

	assert_true(fd >= 0);
	assert_int_equal(bpf_xdp_attach((int)fixture->ifindex, fd, 0, NULL), 0);
	close(fd);
}

static uint32_t attached(const struct fixture *fixture)
{
	uint32_t id = 0;

	assert_int_equal(bpf_xdp_query_id((int)fixture->ifindex, 0, &id), 0);
	return id;
}

static int map_fd(const struct fixture *fixture, const char *name)
{
	return bpf_object__find_map_fd_by_name(fixture->object, name);
}

static struct steer_config config(const struct fixture *fixture)
{
	struct steer_config value;
	uint32_t zero = 0;

	assert_int_equal(bpf_map_lookup_elem(map_fd(fixture, "steer_config"), &zero, &value), 0);
	return value;
}

static bool vtep_is_trusted(const struct fixture *fixture, uint32_t address)
{
	struct vtep_prefix_key key = {.prefix_length_bits = 32, .address_be = htonl(address)};
	uint8_t value;

	return bpf_map_lookup_elem(map_fd(fixture, "trusted_vteps"), &key, &value) == 0;
}

static size_t entry_count(const struct fixture *fixture, const char *name)
{
	char key[8], next[8];
	void *previous = NULL;
	size_t count = 0;

	for (; bpf_map_get_next_key(map_fd(fixture, name), previous, next) == 0; count++) {
		memcpy(key, next, sizeof(key));
		previous = key;
	}
	return count;
}

static void port_without_a_program_is_unreachable(void **state)
{
	struct fixture *fixture = *state;
	struct steer_desired desired = {.role = STEER_ROLE_INSIDE};
	uint64_t counters[STEER_COUNTER_COUNT];

	assert_int_equal(steer_apply("port", &desired, &fixture->problems), STATUS_UNREACHABLE);
	assert_int_equal(steer_read("port", counters), STATUS_UNREACHABLE);
	assert_int_equal(steer_apply("nowhere", &desired, &fixture->problems), STATUS_UNREACHABLE);
}

static void program_of_others_is_unreachable_and_left_alone(void **state)
{
	struct fixture *fixture = *state;
	struct steer_desired desired = {.role = STEER_ROLE_INSIDE};
	uint32_t id;

	attach_foreign(fixture);
	id = attached(fixture);
	assert_int_equal(steer_apply("port", &desired, &fixture->problems), STATUS_UNREACHABLE);
	assert_int_equal(steer_detach("port", &fixture->problems), STATUS_OK);
	assert_int_equal(attached(fixture), id);
}

static void inside_maps_become_what_is_wanted(void **state)
{
	struct fixture *fixture = *state;
	const struct model_cidr first[] = {{0x0a640000, 24}, {0x0a650000, 16}},
				second[] = {{0x0a650000, 16}, {0xc0a80101, 32}};
	struct steer_desired desired = {
		.role = STEER_ROLE_INSIDE, .vtep = OWN_VTEP, .trusted_vteps = first, .trusted_vtep_count = 2};

	attach(fixture);
	for (int again = 0; again < 2; again++) {
		assert_int_equal(steer_apply("port", &desired, &fixture->problems), STATUS_OK);
		assert_int_equal(config(fixture).role, STEER_ROLE_INSIDE);
		assert_int_equal(config(fixture).vtep_be, htonl(OWN_VTEP));
		assert_int_equal(config(fixture).vxlan_port_be, htons(VXLAN_PORT));
		assert_int_equal(entry_count(fixture, "trusted_vteps"), 2);
		assert_true(vtep_is_trusted(fixture, 0x0a640007));
		assert_true(vtep_is_trusted(fixture, 0x0a65ff07));
		assert_false(vtep_is_trusted(fixture, 0x0a640107));
	}
	desired.trusted_vteps = second;
	assert_int_equal(steer_apply("port", &desired, &fixture->problems), STATUS_OK);
	assert_int_equal(entry_count(fixture, "trusted_vteps"), 2);
	assert_false(vtep_is_trusted(fixture, 0x0a640007));
	assert_true(vtep_is_trusted(fixture, 0x0a65ff07));
	assert_true(vtep_is_trusted(fixture, 0xc0a80101));
	desired.trusted_vtep_count = 0;
	assert_int_equal(steer_apply("port", &desired, &fixture->problems), STATUS_OK);
	assert_int_equal(entry_count(fixture, "trusted_vteps"), 0);
	assert_int_equal(fixture->problems.count, 0);
}

static void every_vtep_is_trusted_by_a_prefix_of_no_bits(void **state)
{
	struct fixture *fixture = *state;
	const struct model_cidr all = {0, 0};
	struct steer_desired desired = {.role = STEER_ROLE_INSIDE, .trusted_vteps = &all, .trusted_vtep_count = 1};

	attach(fixture);
	assert_int_equal(steer_apply("port", &desired, &fixture->problems), STATUS_OK);
	assert_true(vtep_is_trusted(fixture, 0x01020304));
}

enum { EGRESS_COUNT = BPF_EGRESS_IP_COUNT_MAX };

static void outside_map_is_replaced_even_when_it_is_full(void **state)
{
	struct fixture *fixture = *state;
	uint32_t *egress_ips = calloc(EGRESS_COUNT, sizeof(*egress_ips));
	struct steer_desired desired = {
		.role = STEER_ROLE_OUTSIDE, .egress_ips = egress_ips, .egress_ip_count = EGRESS_COUNT};
	__be32 key_be;
	uint8_t value;

	attach(fixture);
	for (uint32_t i = 0; i < EGRESS_COUNT; i++)
		egress_ips[i] = EGRESS_IP + i;
	assert_int_equal(steer_apply("port", &desired, &fixture->problems), STATUS_OK);
	assert_int_equal(entry_count(fixture, "egress_ips"), EGRESS_COUNT);
	for (uint32_t i = 0; i < EGRESS_COUNT; i++)
		egress_ips[i] = EGRESS_IP + 10 + i;
	assert_int_equal(steer_apply("port", &desired, &fixture->problems), STATUS_OK);
	assert_int_equal(entry_count(fixture, "egress_ips"), EGRESS_COUNT);
	key_be = htonl(EGRESS_IP + 9);
	assert_int_not_equal(bpf_map_lookup_elem(map_fd(fixture, "egress_ips"), &key_be, &value), 0);
	key_be = htonl(EGRESS_IP + 9 + EGRESS_COUNT);
	assert_int_equal(bpf_map_lookup_elem(map_fd(fixture, "egress_ips"), &key_be, &value), 0);
	assert_int_equal(config(fixture).role, STEER_ROLE_OUTSIDE);
	free(egress_ips);
}

static void too_much_is_refused_and_changes_nothing(void **state)
{
	struct fixture *fixture = *state;
	struct model_cidr prefixes[BPF_VTEP_PREFIX_COUNT_MAX + 1] = {{0, 0}};
	struct steer_desired desired = {.role = STEER_ROLE_INSIDE,
		.trusted_vteps = prefixes,
		.trusted_vtep_count = BPF_VTEP_PREFIX_COUNT_MAX + 1};

	attach(fixture);
	assert_int_equal(steer_apply("port", &desired, &fixture->problems), STATUS_INVALID);
	prefixes[0].prefix_length_bits = 33;
	desired.trusted_vtep_count = 1;
	assert_int_equal(steer_apply("port", &desired, &fixture->problems), STATUS_INVALID);
	assert_int_equal(fixture->problems.count, 2);
	assert_int_equal(config(fixture).role, STEER_ROLE_NONE);
	assert_int_equal(entry_count(fixture, "trusted_vteps"), 0);
}

/* Down to the wire: VXLAN of a trusted and of an untrusted sender, with no dataplane behind the port. */
static void packets_on_the_wire_are_counted(void **state)
{
	struct fixture *fixture = *state;
	const struct model_cidr trusted = {0x0a640000, 24};
	struct steer_desired desired = {.role = STEER_ROLE_INSIDE, .trusted_vteps = &trusted, .trusted_vtep_count = 1};
	struct frame_ipv4 outer = {.source = 0x0a640002, .destination = OWN_VTEP, .destination_port = VXLAN_PORT};
	uint64_t counters[STEER_COUNTER_COUNT];
	struct frame inner, frame;
	int fd = lab_socket("port-peer");

	attach(fixture);
	assert_int_equal(steer_apply("port", &desired, &fixture->problems), STATUS_OK);
	frame_build_ipv4(&inner, &(struct frame_ipv4){.source = 0x0a000005, .protocol = 6, .payload_bytes = 40});
	frame_build_vxlan(&frame, &outer, 7001, &inner);
	lab_send(fd, &frame);
	outer.source = 0x0a660002;
	frame_build_vxlan(&frame, &outer, 7001, &inner);
	lab_send(fd, &frame);
	close(fd);
	for (int i = 0; i < LAB_DEADLINE_MS; i++) {
		assert_int_equal(steer_read("port", counters), STATUS_OK);
		if (counters[STEER_DROP_UNTRUSTED] == 1)
			break;
		usleep(1000);
	}
	assert_int_equal(counters[STEER_DROP_NO_SOCKET], 1);
	assert_int_equal(counters[STEER_DROP_UNTRUSTED], 1);
	assert_int_equal(counters[STEER_TO_DATAPLANE], 0);
}

static void detach_takes_our_program_off(void **state)
{
	struct fixture *fixture = *state;

	attach(fixture);
	assert_int_not_equal(attached(fixture), 0);
	assert_int_equal(steer_detach("port", &fixture->problems), STATUS_OK);
	assert_int_equal(attached(fixture), 0);
	assert_int_equal(steer_detach("port", &fixture->problems), STATUS_OK);
	assert_int_equal(steer_detach("nowhere", &fixture->problems), STATUS_OK);
	assert_int_equal(fixture->problems.count, 0);
}

#define steer_unit_test(name) cmocka_unit_test_setup_teardown(name, fixture_open, fixture_close)

int main(void)
{
	const struct CMUnitTest tests[] = {
		steer_unit_test(port_without_a_program_is_unreachable),
		steer_unit_test(program_of_others_is_unreachable_and_left_alone),
		steer_unit_test(inside_maps_become_what_is_wanted),
		steer_unit_test(every_vtep_is_trusted_by_a_prefix_of_no_bits),
		steer_unit_test(outside_map_is_replaced_even_when_it_is_full),
		steer_unit_test(too_much_is_refused_and_changes_nothing),
		steer_unit_test(packets_on_the_wire_are_counted),
		steer_unit_test(detach_takes_our_program_off),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	lab_require_root();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
