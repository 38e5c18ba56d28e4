/* SPDX-License-Identifier: Apache-2.0 */
/* postern_steer, packet by packet, in the kernel's own test run; the AF_XDP socket behind the map is a real one. */
#include <arpa/inet.h>
#include <linux/bpf.h>
#include <linux/if_xdp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "bpf/maps.h"
#include "tests/bpf/frame_builder.h"
#include "tests/bpf/lab.h"

enum {
	OWN_VTEP = 0x0a640001, /* 10.100.0.1 */
	TRUSTED_VTEP = 0x0a640002,
	UNTRUSTED_VTEP = 0x0a650002,
	EGRESS_IP = 0xcb00710a, /* 203.0.113.10 */
	REMOTE = 0x5db8d822,
	VNI = 7001,
	VXLAN_PORT = 4789,
	PROTOCOL_TCP = 6,
	PROTOCOL_UDP = 17,
	UMEM_BYTES = 16 * 4096,
	RING_SIZE = 16,
};

struct fixture {
	struct bpf_object *object;
	int program_fd, config_fd, vteps_fd, egress_ips_fd, counters_fd, xsks_fd;
	int xsk_fd;
};

static int map_fd(const struct bpf_object *object, const char *name)
{
	const struct bpf_map *map = bpf_object__find_map_by_name(object, name);

	assert_non_null(map);
	return bpf_map__fd(map);
}

/* The least that an XSKMAP takes: memory, a fill ring and a receive ring, bound to a queue. */
static int open_xsk(uint32_t ifindex)
{
	struct sockaddr_xdp address = {.sxdp_family = AF_XDP, .sxdp_ifindex = ifindex, .sxdp_flags = XDP_COPY};
	int fd = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0), size = RING_SIZE;
	struct xdp_umem_reg umem = {.len = UMEM_BYTES, .chunk_size = 4096};
	void *memory = mmap(NULL, UMEM_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_true(fd >= 0);
	assert_ptr_not_equal(memory, MAP_FAILED);
	umem.addr = (uintptr_t)memory;
	assert_int_equal(setsockopt(fd, SOL_XDP, XDP_UMEM_REG, &umem, sizeof(umem)), 0);
	assert_int_equal(setsockopt(fd, SOL_XDP, XDP_UMEM_FILL_RING, &size, sizeof(size)), 0);
	assert_int_equal(setsockopt(fd, SOL_XDP, XDP_UMEM_COMPLETION_RING, &size, sizeof(size)), 0);
	assert_int_equal(setsockopt(fd, SOL_XDP, XDP_RX_RING, &size, sizeof(size)), 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

static int fixture_open(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));
	struct bpf_program *program;

	lab_enter();
	fixture->object = bpf_object__open_file(STEER_OBJECT, NULL);
	assert_non_null(fixture->object);
	assert_int_equal(bpf_object__load(fixture->object), 0);
	program = bpf_object__next_program(fixture->object, NULL);
	assert_string_equal(bpf_program__name(program), "postern_steer");
	fixture->program_fd = bpf_program__fd(program);
	fixture->config_fd = map_fd(fixture->object, "steer_config");
	fixture->vteps_fd = map_fd(fixture->object, "trusted_vteps");
	fixture->egress_ips_fd = map_fd(fixture->object, "egress_ips");
	fixture->counters_fd = map_fd(fixture->object, "steer_counters");
	fixture->xsks_fd = map_fd(fixture->object, "xsks_map");
	fixture->xsk_fd = open_xsk(lab_veth("port", "port-peer"));
	*state = fixture;
	return 0;
}

static int fixture_close(void **state)
{
	struct fixture *fixture = *state;

	close(fixture->xsk_fd);
	bpf_object__close(fixture->object);
	free(fixture);
	return 0;
}

static void set_role(const struct fixture *fixture, enum steer_role role, uint32_t vtep)
{
	struct steer_config config = {.role = role, .vtep_be = htonl(vtep), .vxlan_port_be = htons(VXLAN_PORT)};
	uint32_t zero = 0;

	assert_int_equal(bpf_map_update_elem(fixture->config_fd, &zero, &config, BPF_ANY), 0);
}

/* Maps filled, a socket in place; the role is each test's own. */
static int steer_reset(void **state)
{
	const struct fixture *fixture = *state;
	struct vtep_prefix_key prefix = {.prefix_length_bits = 24, .address_be = htonl(TRUSTED_VTEP & 0xffffff00)};
	__be32 egress_ip_be = htonl(EGRESS_IP);
	uint32_t queue = 0;
	uint8_t one = 1;

	assert_int_equal(bpf_map_update_elem(fixture->vteps_fd, &prefix, &one, BPF_ANY), 0);
	assert_int_equal(bpf_map_update_elem(fixture->egress_ips_fd, &egress_ip_be, &one, BPF_ANY), 0);
	assert_int_equal(bpf_map_update_elem(fixture->xsks_fd, &queue, &fixture->xsk_fd, BPF_ANY), 0);
	return 0;
}

static uint64_t counter(const struct fixture *fixture, uint32_t index)
{
	uint64_t values[1024], sum = 0;

	assert_true(libbpf_num_possible_cpus() <= 1024);
	assert_int_equal(bpf_map_lookup_elem(fixture->counters_fd, &index, values), 0);
	for (int cpu = 0; cpu < libbpf_num_possible_cpus(); cpu++)
		sum += values[cpu];
	return sum;
}

/* This action, counted once here and nowhere else, and not one byte changed. */
static void assert_steered(
	const struct fixture *fixture, const struct frame *frame, uint32_t action, enum steer_counter expected)
{
	uint64_t before[STEER_COUNTER_COUNT];
	struct frame out;
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame->bytes, .data_size_in = (uint32_t)frame->length_bytes,
		.data_out = out.bytes, .data_size_out = sizeof(out.bytes), .repeat = 1);

	for (uint32_t i = 0; i < STEER_COUNTER_COUNT; i++)
		before[i] = counter(fixture, i);
	assert_int_equal(bpf_prog_test_run_opts(fixture->program_fd, &opts), 0);
	assert_int_equal(opts.retval, action);
	for (uint32_t i = 0; i < STEER_COUNTER_COUNT; i++)
		assert_int_equal(counter(fixture, i), before[i] + (i == expected));
	assert_int_equal(opts.data_size_out, frame->length_bytes);
	assert_memory_equal(out.bytes, frame->bytes, frame->length_bytes);
}

static struct frame vxlan_from(uint32_t source, uint8_t options_bytes)
{
	struct frame inner, frame;

	frame_build_ipv4(&inner,
		&(struct frame_ipv4){
			.source = 0x0a000005, .destination = REMOTE, .protocol = PROTOCOL_TCP, .payload_bytes = 40});
	frame_build_vxlan(&frame,
		&(struct frame_ipv4){
			.source = source,
			.destination = OWN_VTEP,
			.source_port = 50000,
			.destination_port = VXLAN_PORT,
			.options_bytes = options_bytes,
		},
		VNI, &inner);
	return frame;
}

static struct frame plain_to(uint32_t destination, uint8_t options_bytes)
{
	return frame_of_ipv4(&(struct frame_ipv4){
		.source = REMOTE,
		.destination = destination,
		.protocol = PROTOCOL_TCP,
		.options_bytes = options_bytes,
		.payload_bytes = 40,
	});
}

static void without_a_role_everything_goes_to_the_kernel(void **state)
{
	struct frame vxlan = vxlan_from(TRUSTED_VTEP, 0), plain = plain_to(EGRESS_IP, 0);

	set_role(*state, STEER_ROLE_NONE, 0);
	assert_steered(*state, &vxlan, XDP_PASS, STEER_TO_KERNEL);
	assert_steered(*state, &plain, XDP_PASS, STEER_TO_KERNEL);
}

static void inside_vxlan_of_a_trusted_vtep_goes_to_the_dataplane(void **state)
{
	for (uint8_t options_bytes = 0; options_bytes <= 40; options_bytes += 4) {
		struct frame frame = vxlan_from(TRUSTED_VTEP, options_bytes);

		set_role(*state, STEER_ROLE_INSIDE, 0);
		assert_steered(*state, &frame, XDP_REDIRECT, STEER_TO_DATAPLANE);
		set_role(*state, STEER_ROLE_INSIDE, OWN_VTEP);
		assert_steered(*state, &frame, XDP_REDIRECT, STEER_TO_DATAPLANE);
	}
}

static void inside_vxlan_of_an_untrusted_vtep_is_dropped(void **state)
{
	for (uint8_t options_bytes = 0; options_bytes <= 40; options_bytes += 4) {
		struct frame frame = vxlan_from(UNTRUSTED_VTEP, options_bytes);

		set_role(*state, STEER_ROLE_INSIDE, OWN_VTEP);
		assert_steered(*state, &frame, XDP_DROP, STEER_DROP_UNTRUSTED);
	}
}

static void inside_vxlan_to_another_address_goes_to_the_kernel(void **state)
{
	struct frame frame = vxlan_from(TRUSTED_VTEP, 0);

	set_role(*state, STEER_ROLE_INSIDE, OWN_VTEP + 1);
	assert_steered(*state, &frame, XDP_PASS, STEER_TO_KERNEL);
}

static void inside_truncated_vxlan_is_dropped_at_any_length(void **state)
{
	struct frame frame = vxlan_from(TRUSTED_VTEP, 8);

	set_role(*state, STEER_ROLE_INSIDE, OWN_VTEP);
	/* The kernel's test run takes no frame shorter than an Ethernet header. */
	for (size_t length = ETHERNET_BYTES; length < frame.length_bytes; length++) {
		struct frame cut = frame;

		cut.length_bytes = length;
		assert_steered(*state, &cut, XDP_DROP, STEER_DROP_MALFORMED);
	}
}

static void inside_vxlan_with_contradicting_lengths_is_dropped(void **state)
{
	const uint16_t header_bytes = IPV4_BYTES;
	struct frame frame;

	set_role(*state, STEER_ROLE_INSIDE, OWN_VTEP);
	for (uint16_t total = 0; total < header_bytes + UDP_BYTES + VXLAN_BYTES; total++) {
		frame = vxlan_from(TRUSTED_VTEP, 0);
		frame_put16(frame.bytes + ETHERNET_BYTES + 2, total);
		assert_steered(*state, &frame, XDP_DROP, STEER_DROP_MALFORMED);
	}
	for (uint16_t udp_bytes = 0; udp_bytes < UDP_BYTES + VXLAN_BYTES; udp_bytes++) {
		frame = vxlan_from(TRUSTED_VTEP, 0);
		frame_put16(frame.bytes + ETHERNET_BYTES + header_bytes + 4, udp_bytes);
		assert_steered(*state, &frame, XDP_DROP, STEER_DROP_MALFORMED);
	}
	frame = vxlan_from(TRUSTED_VTEP, 0);
	frame_put16(frame.bytes + ETHERNET_BYTES + header_bytes + 4, 1500);
	assert_steered(*state, &frame, XDP_DROP, STEER_DROP_MALFORMED);
	for (uint8_t ihl = 0; ihl < 5; ihl++) {
		frame = vxlan_from(TRUSTED_VTEP, 0);
		frame.bytes[ETHERNET_BYTES] = 0x40 | ihl;
		assert_steered(*state, &frame, XDP_DROP, STEER_DROP_MALFORMED);
	}
}

static void inside_fragmented_vxlan_is_dropped(void **state)
{
	struct frame frame = vxlan_from(TRUSTED_VTEP, 0);

	set_role(*state, STEER_ROLE_INSIDE, OWN_VTEP);
	frame_put16(frame.bytes + ETHERNET_BYTES + 6, 0x2000);
	assert_steered(*state, &frame, XDP_DROP, STEER_DROP_MALFORMED);
	/* A later fragment has no port. The kernel never sees its first one. */
	frame_put16(frame.bytes + ETHERNET_BYTES + 6, 0x0010);
	assert_steered(*state, &frame, XDP_PASS, STEER_TO_KERNEL);
	/* "Do not fragment" is no fragment. */
	frame_put16(frame.bytes + ETHERNET_BYTES + 6, 0x4000);
	assert_steered(*state, &frame, XDP_REDIRECT, STEER_TO_DATAPLANE);
}

static void inside_all_else_goes_to_the_kernel(void **state)
{
	const uint8_t mac[6] = {2, 0, 0, 0, 0, 1};
	struct frame tcp = plain_to(OWN_VTEP, 0), udp = vxlan_from(UNTRUSTED_VTEP, 0), arp;
	struct frame vlan = vxlan_from(TRUSTED_VTEP, 0), ipv6 = vxlan_from(TRUSTED_VTEP, 0);

	set_role(*state, STEER_ROLE_INSIDE, OWN_VTEP);
	frame_put16(udp.bytes + ETHERNET_BYTES + IPV4_BYTES + 2, 53);
	frame_build_arp(&arp, &(struct frame_arp){.source_mac = mac, .sender_mac = mac, .operation = 1});
	frame_tag_vlan(&vlan, 5);
	frame_put16(ipv6.bytes + 12, 0x86dd);
	assert_steered(*state, &tcp, XDP_PASS, STEER_TO_KERNEL);
	assert_steered(*state, &udp, XDP_PASS, STEER_TO_KERNEL);
	assert_steered(*state, &arp, XDP_PASS, STEER_TO_KERNEL);
	assert_steered(*state, &vlan, XDP_PASS, STEER_TO_KERNEL);
	assert_steered(*state, &ipv6, XDP_PASS, STEER_TO_KERNEL);
}

static void outside_packet_to_an_owned_egress_ip_goes_to_the_dataplane(void **state)
{
	set_role(*state, STEER_ROLE_OUTSIDE, 0);
	for (uint8_t options_bytes = 0; options_bytes <= 40; options_bytes += 4) {
		struct frame frame = plain_to(EGRESS_IP, options_bytes);

		assert_steered(*state, &frame, XDP_REDIRECT, STEER_TO_DATAPLANE);
		frame_put16(frame.bytes + ETHERNET_BYTES + 6, 0x0010);
		assert_steered(*state, &frame, XDP_REDIRECT, STEER_TO_DATAPLANE);
	}
}

static void outside_packet_to_any_other_address_goes_to_the_kernel(void **state)
{
	struct frame below = plain_to(EGRESS_IP - 1, 0), above = plain_to(EGRESS_IP + 1, 0);
	struct frame vxlan = vxlan_from(TRUSTED_VTEP, 0), vlan = plain_to(EGRESS_IP, 0);

	set_role(*state, STEER_ROLE_OUTSIDE, 0);
	frame_tag_vlan(&vlan, 5);
	assert_steered(*state, &below, XDP_PASS, STEER_TO_KERNEL);
	assert_steered(*state, &above, XDP_PASS, STEER_TO_KERNEL);
	assert_steered(*state, &vxlan, XDP_PASS, STEER_TO_KERNEL);
	assert_steered(*state, &vlan, XDP_PASS, STEER_TO_KERNEL);
}

static void outside_truncated_packet_is_dropped(void **state)
{
	struct frame frame = plain_to(EGRESS_IP, 0);

	set_role(*state, STEER_ROLE_OUTSIDE, 0);
	for (size_t length = ETHERNET_BYTES; length < frame.length_bytes; length++) {
		struct frame cut = frame;

		cut.length_bytes = length;
		assert_steered(*state, &cut, XDP_DROP, STEER_DROP_MALFORMED);
	}
}

static void without_a_socket_the_dataplanes_packets_are_dropped(void **state)
{
	const struct fixture *fixture = *state;
	struct frame vxlan = vxlan_from(TRUSTED_VTEP, 0), plain = plain_to(EGRESS_IP, 0);
	struct frame other = plain_to(EGRESS_IP + 1, 0);
	uint32_t queue = 0;

	assert_int_equal(bpf_map_delete_elem(fixture->xsks_fd, &queue), 0);
	set_role(fixture, STEER_ROLE_INSIDE, OWN_VTEP);
	assert_steered(fixture, &vxlan, XDP_DROP, STEER_DROP_NO_SOCKET);
	set_role(fixture, STEER_ROLE_OUTSIDE, 0);
	assert_steered(fixture, &plain, XDP_DROP, STEER_DROP_NO_SOCKET);
	assert_steered(fixture, &other, XDP_PASS, STEER_TO_KERNEL);
}

#define steer_unit_test(name) cmocka_unit_test_setup(name, steer_reset)

int main(void)
{
	const struct CMUnitTest tests[] = {
		steer_unit_test(without_a_role_everything_goes_to_the_kernel),
		steer_unit_test(inside_vxlan_of_a_trusted_vtep_goes_to_the_dataplane),
		steer_unit_test(inside_vxlan_of_an_untrusted_vtep_is_dropped),
		steer_unit_test(inside_vxlan_to_another_address_goes_to_the_kernel),
		steer_unit_test(inside_truncated_vxlan_is_dropped_at_any_length),
		steer_unit_test(inside_vxlan_with_contradicting_lengths_is_dropped),
		steer_unit_test(inside_fragmented_vxlan_is_dropped),
		steer_unit_test(inside_all_else_goes_to_the_kernel),
		steer_unit_test(outside_packet_to_an_owned_egress_ip_goes_to_the_dataplane),
		steer_unit_test(outside_packet_to_any_other_address_goes_to_the_kernel),
		steer_unit_test(outside_truncated_packet_is_dropped),
		steer_unit_test(without_a_socket_the_dataplanes_packets_are_dropped),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	lab_require_root();
	return cmocka_run_group_tests(tests, fixture_open, fixture_close);
}
