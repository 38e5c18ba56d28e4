/* SPDX-License-Identifier: Apache-2.0 */
/* control/classifier.c against the real kernel: each test in namespaces of its own, and the kernel's state is what is
 * read. */
#include <arpa/inet.h>
#include <net/if.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "bpf/maps.h"
#include "control/classifier.h"
#include "tests/bpf/frame_builder.h"
#include "tests/bpf/lab.h"

#define PIN_DIR "/run/postern/bpf"
#define DEVICE "postern-vxlan"

enum {
	WORKER_ADDRESS = 0x0a000005,
	GATEWAY = 0x0a640001,
	HOST = 0x0a640002,
	WORKER_COUNT = 3,
};

/* Of <linux/bpf.h> since Linux 6.6. */
enum { TCX_INGRESS = 46, TCX_EGRESS = 47 };

/* Set once by main(): the kernel behaves like one that has no TCX. */
static bool without_tcx;

static const uint8_t worker_mac[6] = {2, 0xaa, 0, 0, 0, 1};

struct fixture {
	struct classifier *classifier;
	struct classifier_worker workers[WORKER_COUNT];
	struct classifier_workspace workspaces[WORKER_COUNT];
	uint32_t gateways[2];
	struct classifier_desired desired;
	struct problems problems;
};

static int fixture_open(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));

	*state = fixture;
	lab_enter();
	/* Made from the last to the first, so that the interfaces' order is not the workers'. */
	for (int i = WORKER_COUNT - 1; i >= 0; i--) {
		char peer[IF_NAMESIZE];

		snprintf(fixture->workers[i].interface, IF_NAMESIZE, "w%d", i);
		snprintf(peer, sizeof(peer), "w%d-peer", i);
		lab_veth(fixture->workers[i].interface, peer);
		fixture->workers[i].address = WORKER_ADDRESS;
		fixture->workers[i].vni = 7001 + (uint32_t)i;
		fixture->workspaces[i] = (struct classifier_workspace){.index = (uint32_t)i, .gateway = GATEWAY};
		fixture->workers[i].workspace_index = (uint32_t)i;
		fixture->workers[i].admitted = true;
	}
	fixture->gateways[0] = GATEWAY;
	fixture->gateways[1] = GATEWAY + 10;
	fixture->desired = (struct classifier_desired){
		.workspaces = fixture->workspaces,
		.workspace_count = WORKER_COUNT,
		.workers = fixture->workers,
		.worker_count = WORKER_COUNT,
		.gateways = fixture->gateways,
		.gateway_count = 1,
		.vtep = HOST,
		.vxlan_device = DEVICE,
	};
	assert_int_equal(classifier_open(PIN_DIR, &fixture->classifier, &fixture->problems), STATUS_OK);
	return 0;
}

static int fixture_close(void **state)
{
	struct fixture *fixture = *state;

	classifier_close(fixture->classifier);
	problems_clear(&fixture->problems);
	free(fixture);
	return 0;
}

static void apply(struct fixture *fixture, size_t expected_missing)
{
	size_t missing = SIZE_MAX;
	enum status status = classifier_apply(fixture->classifier, &fixture->desired, &missing, &fixture->problems);

	for (size_t i = 0; i < fixture->problems.count; i++)
		printf("# %s\n", fixture->problems.lines[i]);
	assert_int_equal(status, STATUS_OK);
	assert_int_equal(missing, expected_missing);
	assert_int_equal(fixture->problems.count, expected_missing);
	problems_clear(&fixture->problems);
}

static void reopen(struct fixture *fixture)
{
	classifier_close(fixture->classifier);
	fixture->classifier = NULL;
	assert_int_equal(classifier_open(PIN_DIR, &fixture->classifier, &fixture->problems), STATUS_OK);
}

static int pinned(const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", PIN_DIR, name);
	return bpf_obj_get(path);
}

static uint32_t pinned_map_id(const char *name)
{
	struct bpf_map_info info = {0};
	uint32_t size_bytes = sizeof(info);
	int fd = pinned(name);

	assert_true(fd >= 0);
	assert_int_equal(bpf_obj_get_info_by_fd(fd, &info, &size_bytes), 0);
	close(fd);
	return info.id;
}

static size_t map_entry_count(const char *name)
{
	char key[8], next[8];
	void *previous = NULL;
	size_t count = 0;
	int fd = pinned(name);

	assert_true(fd >= 0);
	for (; bpf_map_get_next_key(fd, previous, next) == 0; count++) {
		memcpy(key, next, sizeof(key));
		previous = key;
	}
	close(fd);
	return count;
}

static bool lookup(const char *map, const void *key, void *ret_value)
{
	int fd = pinned(map);
	bool found;

	assert_true(fd >= 0);
	found = bpf_map_lookup_elem(fd, key, ret_value) == 0;
	close(fd);
	return found;
}

static bool worker_entry(uint32_t ifindex, struct worker_value *ret_value)
{
	return lookup("workers", &ifindex, ret_value);
}

/* The program on the hook at our place, the first; 0: none. */
static uint32_t attached(const char *interface, enum bpf_tc_attach_point point)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)if_nametoindex(interface), .attach_point = point);
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = 0x5053, .priority = 1);
	uint32_t ids[8], count = 8;

	if (!without_tcx) {
		assert_int_equal(bpf_prog_query(hook.ifindex,
					 (enum bpf_attach_type)(point == BPF_TC_INGRESS ? TCX_INGRESS : TCX_EGRESS), 0,
					 NULL, ids, &count),
			0);
		return count != 0 ? ids[0] : 0;
	}
	return bpf_tc_query(&hook, &opts) == 0 ? opts.prog_id : 0;
}

static void assert_claimed(const char *interface)
{
	assert_true(attached(interface, BPF_TC_INGRESS) != 0);
	assert_true(attached(interface, BPF_TC_EGRESS) != 0);
}

static void assert_open(const struct fixture *fixture, int index)
{
	const struct classifier_worker *worker = &fixture->workers[index];
	struct delivery_key key = {.vni = worker->vni, .address_be = htonl(worker->address)};
	uint32_t ifindex = if_nametoindex(worker->interface);
	struct workspace_value workspace;
	struct delivery_value delivery;
	struct worker_value value;

	assert_claimed(worker->interface);
	assert_true(worker_entry(ifindex, &value));
	assert_int_equal(value.address_be, htonl(worker->address));
	assert_int_equal(value.vtep_be, htonl(HOST));
	assert_true(lookup("workspaces", &worker->workspace_index, &workspace));
	assert_int_equal(workspace.gateway_be, htonl(fixture->workspaces[worker->workspace_index].gateway));
	assert_int_equal(value.vni, worker->vni);
	assert_int_equal(value.workspace_index, worker->workspace_index);
	assert_int_equal(value.mac_pinned, worker->mac_pinned);
	assert_true(lookup("deliveries", &key, &delivery));
	assert_int_equal(delivery.ifindex, ifindex);
	assert_int_equal(delivery.workspace_index, worker->workspace_index);
}

static uint32_t pinned_program_id(const char *name)
{
	struct bpf_prog_info info = {0};
	uint32_t size_bytes = sizeof(info);
	int fd = pinned(name);

	assert_true(fd >= 0);
	assert_int_equal(bpf_obj_get_info_by_fd(fd, &info, &size_bytes), 0);
	close(fd);
	return info.id;
}

/* What runs is what was loaded last, on the maps that are pinned now. */
static void assert_programs_are_current(void)
{
	for (int i = 0; i < WORKER_COUNT; i++) {
		char name[IF_NAMESIZE];

		snprintf(name, sizeof(name), "w%d", i);
		assert_int_equal(attached(name, BPF_TC_INGRESS), pinned_program_id("worker_ingress"));
		assert_int_equal(attached(name, BPF_TC_EGRESS), pinned_program_id("worker_egress"));
	}
	assert_int_equal(attached(DEVICE, BPF_TC_INGRESS), pinned_program_id("reply_ingress"));
}

static void apply_opens_every_worker(void **state)
{
	struct fixture *fixture = *state;
	struct worker_config config;
	__be32 gateway_be = htonl(GATEWAY);
	struct stat pin_dir;
	uint32_t zero = 0;
	uint8_t present;

	apply(fixture, 0);
	for (int i = 0; i < WORKER_COUNT; i++)
		assert_open(fixture, i);
	assert_int_equal(map_entry_count("workers"), WORKER_COUNT);
	assert_int_equal(map_entry_count("deliveries"), WORKER_COUNT);
	assert_int_equal(map_entry_count("gateways"), 1);
	assert_true(lookup("gateways", &gateway_be, &present));
	assert_true(lookup("worker_config", &zero, &config));
	assert_int_equal(config.vxlan_ifindex, if_nametoindex(DEVICE));
	assert_int_equal(config.vtep_be, htonl(HOST));
	assert_true(attached(DEVICE, BPF_TC_INGRESS) != 0);
	lab_run("ip -d link show dev " DEVICE " up | grep -q external");
	assert_int_equal(stat(PIN_DIR, &pin_dir), 0);
	assert_int_equal(pin_dir.st_mode & 0777, 0700);
}

/* The interface's own programs are there, no entry opens it, and what it sends is counted as unknown and dropped. */
static void assert_closed(struct fixture *fixture, int index)
{
	const struct classifier_worker *worker = &fixture->workers[index];
	struct delivery_key key = {.vni = worker->vni, .address_be = htonl(worker->address)};
	const struct frame_ipv4 spec = {.source_mac = worker_mac,
		.destination_mac = worker_mac,
		.source = worker->address,
		.destination = 0xc6336401,
		.protocol = 17,
		.source_port = 1234,
		.destination_port = 53};
	struct classifier_counters before, after;
	struct delivery_value delivery;
	struct worker_value value;
	struct frame frame;
	char peer[IF_NAMESIZE + 8];
	int fd;

	assert_claimed(worker->interface);
	assert_int_equal(attached(worker->interface, BPF_TC_INGRESS), pinned_program_id("worker_ingress"));
	assert_int_equal(attached(worker->interface, BPF_TC_EGRESS), pinned_program_id("worker_egress"));
	assert_false(worker_entry(if_nametoindex(worker->interface), &value));
	assert_false(lookup("deliveries", &key, &delivery));
	snprintf(peer, sizeof(peer), "%s-peer", worker->interface);
	frame_build_ipv4(&frame, &spec);
	fd = lab_socket(peer);
	assert_int_equal(classifier_read(fixture->classifier, &before), STATUS_OK);
	lab_send(fd, &frame);
	close(fd);
	/* A veth hands over within the call of the sender, or soon after. */
	for (int i = 0; i < LAB_DEADLINE_MS; i++) {
		assert_int_equal(classifier_read(fixture->classifier, &after), STATUS_OK);
		if (after.drops[WORKER_DROP_UNKNOWN_INTERFACE] != before.drops[WORKER_DROP_UNKNOWN_INTERFACE])
			return;
		usleep(1000);
	}
	fail_msg("%s: nothing was dropped", worker->interface);
}

/* Without a program on it, the host's own stack would take the interface's traffic. */
static void worker_that_is_no_longer_wanted_is_closed(void **state)
{
	struct fixture *fixture = *state;

	apply(fixture, 0);
	fixture->desired.worker_count = 2;
	apply(fixture, 0);
	assert_int_equal(map_entry_count("workers"), 2);
	assert_int_equal(map_entry_count("deliveries"), 2);
	assert_closed(fixture, 2);
	for (int i = 0; i < 2; i++)
		assert_open(fixture, i);
	apply(fixture, 0);
	assert_closed(fixture, 2);
	fixture->desired.worker_count = 3;
	apply(fixture, 0);
	assert_open(fixture, 2);
}

static void closed_interface_that_goes_leaves_nothing_to_fail_on(void **state)
{
	struct fixture *fixture = *state;

	apply(fixture, 0);
	fixture->desired.worker_count = 2;
	apply(fixture, 0);
	lab_run("ip link del w2");
	apply(fixture, 0);
	for (int i = 0; i < 2; i++)
		assert_open(fixture, i);
}

/* An older program works by an older map, in which the interface is still open. */
static void closed_interface_gets_the_current_programs_after_an_upgrade(void **state)
{
	struct fixture *fixture = *state;
	uint32_t old_program;
	int fd;

	apply(fixture, 0);
	classifier_close(fixture->classifier);
	fixture->classifier = NULL;
	old_program = attached("w2", BPF_TC_INGRESS);
	assert_int_equal(unlink(PIN_DIR "/workers"), 0);
	fd = bpf_map_create(BPF_MAP_TYPE_HASH, "workers", 4, 8, 16, NULL);
	assert_true(fd >= 0);
	assert_int_equal(bpf_obj_pin(fd, PIN_DIR "/workers"), 0);
	close(fd);
	assert_int_equal(classifier_open(PIN_DIR, &fixture->classifier, &fixture->problems), STATUS_OK);
	fixture->desired.worker_count = 2;
	apply(fixture, 0);
	assert_int_not_equal(attached("w2", BPF_TC_INGRESS), old_program);
	assert_closed(fixture, 2);
}

static void host_that_is_no_worker_host_any_more_has_every_interface_closed(void **state)
{
	struct fixture *fixture = *state;

	apply(fixture, 0);
	fixture->desired = (struct classifier_desired){0};
	apply(fixture, 0);
	assert_int_equal(map_entry_count("workers"), 0);
	assert_int_equal(map_entry_count("gateways"), 0);
	for (int i = 0; i < WORKER_COUNT; i++)
		assert_closed(fixture, i);
	assert_true(attached(DEVICE, BPF_TC_INGRESS) != 0);
}

static void counters_of_a_workspace_can_be_cleared(void **state)
{
	struct fixture *fixture = *state;
	struct workspace_traffic traffic = {0}, *values;
	uint32_t index = 1;
	int fd = pinned("workspace_counters"), cpu_count = libbpf_num_possible_cpus();

	values = calloc((size_t)cpu_count, sizeof(*values));
	for (int cpu = 0; cpu < cpu_count; cpu++)
		values[cpu].out_packets = 7;
	assert_int_equal(bpf_map_update_elem(fd, &index, values, BPF_ANY), 0);
	close(fd);
	free(values);
	assert_int_equal(classifier_read_workspace(fixture->classifier, index, &traffic), STATUS_OK);
	assert_int_equal(traffic.out_packets, 7 * cpu_count);
	assert_int_equal(classifier_clear_workspace(fixture->classifier, index), STATUS_OK);
	assert_int_equal(classifier_read_workspace(fixture->classifier, index, &traffic), STATUS_OK);
	assert_int_equal(traffic.out_packets, 0);
	assert_int_equal(classifier_clear_workspace(fixture->classifier, BPF_WORKSPACE_COUNT_MAX), STATUS_SYSTEM);
}

static void worker_that_is_not_admitted_is_claimed_and_closed(void **state)
{
	struct fixture *fixture = *state;
	struct worker_value value;

	fixture->workers[1].admitted = false;
	apply(fixture, 0);
	assert_claimed("w1");
	assert_false(worker_entry(if_nametoindex("w1"), &value));
	assert_int_equal(map_entry_count("deliveries"), 2);
	fixture->workers[1].admitted = true;
	apply(fixture, 0);
	assert_open(fixture, 1);
	fixture->workers[1].admitted = false;
	apply(fixture, 0);
	assert_claimed("w1");
	assert_int_equal(map_entry_count("workers"), 2);
	assert_int_equal(map_entry_count("deliveries"), 2);
}

static void missing_interface_is_counted_and_taken_up_when_it_comes(void **state)
{
	struct fixture *fixture = *state;

	lab_run("ip link del w1");
	apply(fixture, 1);
	assert_open(fixture, 0);
	assert_open(fixture, 2);
	assert_int_equal(map_entry_count("workers"), 2);
	lab_veth("w1", "w1-peer");
	apply(fixture, 0);
	assert_open(fixture, 1);
}

static void interface_made_anew_gets_its_entry_and_the_old_one_goes(void **state)
{
	struct fixture *fixture = *state;
	uint32_t old_ifindex = if_nametoindex("w0");
	struct worker_value value;

	apply(fixture, 0);
	lab_run("ip link del w0");
	lab_veth("w0", "w0-peer");
	assert_int_not_equal(if_nametoindex("w0"), old_ifindex);
	apply(fixture, 0);
	assert_open(fixture, 0);
	assert_false(worker_entry(old_ifindex, &value));
	assert_int_equal(map_entry_count("workers"), WORKER_COUNT);
}

static void learn(const char *interface)
{
	uint32_t ifindex = if_nametoindex(interface);
	struct worker_value value;
	int fd = pinned("workers");

	assert_int_equal(bpf_map_lookup_elem(fd, &ifindex, &value), 0);
	memcpy(value.mac, worker_mac, 6);
	assert_int_equal(bpf_map_update_elem(fd, &ifindex, &value, BPF_EXIST), 0);
	close(fd);
}

static void assert_mac(const char *interface, const uint8_t mac[6])
{
	struct worker_value value;

	assert_true(worker_entry(if_nametoindex(interface), &value));
	assert_memory_equal(value.mac, mac, 6);
}

static void reopening_adopts_what_is_pinned(void **state)
{
	const char *const maps[] = {
		"workers", "deliveries", "gateways", "worker_config", "worker_drops", "workspace_counters"};
	struct fixture *fixture = *state;
	uint32_t ids[6];

	apply(fixture, 0);
	learn("w0");
	for (int i = 0; i < 6; i++)
		ids[i] = pinned_map_id(maps[i]);
	reopen(fixture);
	for (int i = 0; i < 6; i++)
		assert_int_equal(pinned_map_id(maps[i]), ids[i]);
	assert_open(fixture, 0);
	apply(fixture, 0);
	for (int i = 0; i < WORKER_COUNT; i++)
		assert_open(fixture, i);
	assert_programs_are_current();
	assert_mac("w0", worker_mac);
}

static void applying_again_changes_nothing(void **state)
{
	struct fixture *fixture = *state;
	struct worker_value before, after;
	uint32_t program;

	apply(fixture, 0);
	learn("w0");
	program = attached("w0", BPF_TC_INGRESS);
	assert_true(worker_entry(if_nametoindex("w0"), &before));
	apply(fixture, 0);
	assert_true(worker_entry(if_nametoindex("w0"), &after));
	assert_memory_equal(&before, &after, sizeof(before));
	assert_int_equal(attached("w0", BPF_TC_INGRESS), program);
}

static void take_off(const char *interface, enum bpf_tc_attach_point point)
{
	int fd = bpf_prog_get_fd_by_id(attached(interface, point));

	assert_true(fd >= 0);
	if (without_tcx)
		lab_run("tc qdisc del dev %s clsact", interface);
	else
		assert_int_equal(
			bpf_prog_detach2(fd, (int)if_nametoindex(interface), (enum bpf_attach_type)TCX_INGRESS), 0);
	close(fd);
	assert_int_equal(attached(interface, point), 0);
}

static void program_taken_off_by_hand_is_put_back(void **state)
{
	struct fixture *fixture = *state;

	apply(fixture, 0);
	take_off("w0", BPF_TC_INGRESS);
	take_off(DEVICE, BPF_TC_INGRESS);
	apply(fixture, 0);
	assert_open(fixture, 0);
	assert_true(attached(DEVICE, BPF_TC_INGRESS) != 0);
}

static void maps_are_adopted_from_running_programs_when_the_pins_are_lost(void **state)
{
	struct fixture *fixture = *state;
	uint32_t workers_id, deliveries_id;

	apply(fixture, 0);
	learn("w0");
	workers_id = pinned_map_id("workers");
	deliveries_id = pinned_map_id("deliveries");
	classifier_close(fixture->classifier);
	fixture->classifier = NULL;
	assert_int_equal(umount(PIN_DIR), 0);
	assert_int_equal(classifier_open(PIN_DIR, &fixture->classifier, &fixture->problems), STATUS_OK);
	assert_int_equal(pinned_map_id("workers"), workers_id);
	assert_int_equal(pinned_map_id("deliveries"), deliveries_id);
	assert_mac("w0", worker_mac);
}

static void pinned_map_of_another_shape_is_rebuilt_empty(void **state)
{
	struct fixture *fixture = *state;
	int fd;

	apply(fixture, 0);
	classifier_close(fixture->classifier);
	fixture->classifier = NULL;
	assert_int_equal(unlink(PIN_DIR "/workers"), 0);
	fd = bpf_map_create(BPF_MAP_TYPE_HASH, "workers", 4, 8, 16, NULL);
	assert_true(fd >= 0);
	assert_int_equal(bpf_obj_pin(fd, PIN_DIR "/workers"), 0);
	close(fd);
	assert_int_equal(classifier_open(PIN_DIR, &fixture->classifier, &fixture->problems), STATUS_OK);
	assert_int_equal(map_entry_count("workers"), 0);
	apply(fixture, 0);
	for (int i = 0; i < WORKER_COUNT; i++)
		assert_open(fixture, i);
	assert_programs_are_current();
}

static void new_owner_of_an_interface_inherits_no_mac(void **state)
{
	const uint8_t unknown[6] = {0};
	struct fixture *fixture = *state;
	struct worker_value before, after;

	apply(fixture, 0);
	learn("w0");
	assert_true(worker_entry(if_nametoindex("w0"), &before));
	fixture->workers[0].vni = 8000;
	apply(fixture, 0);
	assert_open(fixture, 0);
	assert_mac("w0", unknown);
	assert_true(worker_entry(if_nametoindex("w0"), &after));
	assert_int_equal(after.epoch, before.epoch + 1);
	assert_int_equal(map_entry_count("deliveries"), WORKER_COUNT);
}

static void same_worker_with_another_gateway_keeps_its_mac(void **state)
{
	struct fixture *fixture = *state;

	apply(fixture, 0);
	learn("w0");
	fixture->workspaces[0].gateway = GATEWAY + 10;
	fixture->desired.gateway_count = 2;
	apply(fixture, 0);
	assert_open(fixture, 0);
	assert_mac("w0", worker_mac);
	assert_int_equal(map_entry_count("gateways"), 2);
	fixture->workspaces[0].gateway = GATEWAY;
	fixture->desired.gateway_count = 1;
	apply(fixture, 0);
	assert_int_equal(map_entry_count("gateways"), 1);
}

static void pinned_mac_is_set_and_changed(void **state)
{
	const uint8_t other[6] = {2, 0xaa, 0, 0, 0, 9};
	struct fixture *fixture = *state;

	fixture->workers[0].mac_pinned = true;
	memcpy(fixture->workers[0].mac, worker_mac, 6);
	apply(fixture, 0);
	assert_mac("w0", worker_mac);
	memcpy(fixture->workers[0].mac, other, 6);
	apply(fixture, 0);
	assert_mac("w0", other);
	assert_open(fixture, 0);
}

static void two_workers_may_swap_their_interfaces(void **state)
{
	struct fixture *fixture = *state;
	uint32_t vni = fixture->workers[0].vni;

	apply(fixture, 0);
	fixture->workers[0].vni = fixture->workers[1].vni;
	fixture->workers[1].vni = vni;
	apply(fixture, 0);
	for (int i = 0; i < WORKER_COUNT; i++)
		assert_open(fixture, i);
	assert_int_equal(map_entry_count("deliveries"), WORKER_COUNT);
}

static void filters_of_others_are_left_alone(void **state)
{
	const struct bpf_insn unspecified[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = -1},
		{.code = BPF_JMP | BPF_EXIT},
	};
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)if_nametoindex("w2"), .attach_point = BPF_TC_INGRESS);
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = 7, .priority = 5);
	struct fixture *fixture = *state;
	int program_fd;

	lab_run("tc qdisc add dev w2 clsact");
	program_fd = bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "foreign", "GPL", unspecified, 2, NULL);
	assert_true(program_fd >= 0);
	opts.prog_fd = program_fd;
	assert_int_equal(bpf_tc_attach(&hook, &opts), 0);
	close(program_fd);
	apply(fixture, 0);
	assert_open(fixture, 2);
	fixture->desired.worker_count = 2;
	apply(fixture, 0);
	assert_closed(fixture, 2);
	lab_run("tc filter show dev w2 ingress | grep -q foreign");
	classifier_close(fixture->classifier);
	fixture->classifier = NULL;
	assert_int_equal(classifier_detach_all(PIN_DIR, DEVICE, &fixture->problems), STATUS_OK);
	assert_int_equal(attached("w2", BPF_TC_INGRESS), 0);
	assert_int_equal(attached("w2", BPF_TC_EGRESS), 0);
	lab_run("tc filter show dev w2 ingress | grep -q foreign");
}

static void assert_refused(struct fixture *fixture, enum status expected)
{
	size_t missing = 77;

	assert_int_equal(
		classifier_apply(fixture->classifier, &fixture->desired, &missing, &fixture->problems), expected);
	assert_int_equal(missing, 77);
	assert_true(fixture->problems.count > 0);
	problems_clear(&fixture->problems);
}

static void contradicting_workers_are_refused_and_change_nothing(void **state)
{
	struct fixture *fixture = *state;

	apply(fixture, 0);
	snprintf(fixture->workers[1].interface, IF_NAMESIZE, "w0");
	assert_refused(fixture, STATUS_INVALID);
	snprintf(fixture->workers[1].interface, IF_NAMESIZE, "w1");
	fixture->workers[1].vni = fixture->workers[0].vni;
	assert_refused(fixture, STATUS_INVALID);
	fixture->workers[1].vni = 1 << 24;
	assert_refused(fixture, STATUS_INVALID);
	fixture->workers[1].vni = 7002;
	fixture->workers[1].workspace_index = BPF_WORKSPACE_COUNT_MAX;
	assert_refused(fixture, STATUS_INVALID);
	fixture->workers[1].workspace_index = 1;
	for (int i = 0; i < WORKER_COUNT; i++)
		assert_open(fixture, i);
}

/* What classifier_apply() would do, for one worker beside the others. */
static void worker_comes_goes_and_leaves_its_address_to_another_one_by_one(void **state)
{
	struct fixture *fixture = *state;
	struct classifier_change change = {.worker = fixture->workers[2]};

	fixture->desired.worker_count = 2;
	apply(fixture, 0);
	change.ifindex = if_nametoindex("w2");
	assert_int_equal(attached("w2", BPF_TC_INGRESS), 0);
	assert_int_equal(classifier_claim(fixture->classifier, change.ifindex, "w2", &fixture->problems), STATUS_OK);
	assert_closed(fixture, 2);
	assert_int_equal(classifier_change(fixture->classifier, &change, 1, HOST, &fixture->problems), STATUS_OK);
	for (int i = 0; i < WORKER_COUNT; i++)
		assert_open(fixture, i);
	assert_true(classifier_is_open(fixture->classifier, change.ifindex, 7003, WORKER_ADDRESS));
	assert_false(classifier_is_open(fixture->classifier, change.ifindex, 7001, WORKER_ADDRESS));

	/* The same interface, now with a worker of another VPC. */
	change.worker.admitted = false;
	assert_int_equal(classifier_change(fixture->classifier, &change, 1, HOST, &fixture->problems), STATUS_OK);
	assert_closed(fixture, 2);
	fixture->workers[2].vni = change.worker.vni = 7009;
	change.worker.admitted = true;
	assert_int_equal(classifier_change(fixture->classifier, &change, 1, HOST, &fixture->problems), STATUS_OK);
	for (int i = 0; i < WORKER_COUNT; i++)
		assert_open(fixture, i);
	assert_int_equal(map_entry_count("workers"), WORKER_COUNT);
	assert_int_equal(map_entry_count("deliveries"), WORKER_COUNT);
	assert_int_equal(fixture->problems.count, 0);
}

static void device_of_another_kind_is_refused_and_workers_stay_closed(void **state)
{
	struct fixture *fixture = *state;
	struct worker_config config;
	uint32_t zero = 0;

	lab_run("ip link add " DEVICE " type veth peer name other");
	assert_refused(fixture, STATUS_SYSTEM);
	assert_claimed("w0");
	assert_true(lookup("worker_config", &zero, &config));
	assert_int_equal(config.vxlan_ifindex, 0);
	lab_run("ip link del " DEVICE);
	apply(fixture, 0);
	assert_open(fixture, 0);
}

static void vxlan_device_that_was_deleted_is_made_again(void **state)
{
	struct fixture *fixture = *state;
	struct worker_config config;
	uint32_t zero = 0;

	apply(fixture, 0);
	lab_run("ip link del " DEVICE);
	apply(fixture, 0);
	assert_true(lookup("worker_config", &zero, &config));
	assert_int_equal(config.vxlan_ifindex, if_nametoindex(DEVICE));
	assert_true(attached(DEVICE, BPF_TC_INGRESS) != 0);
}

static void detach_all_leaves_nothing(void **state)
{
	struct fixture *fixture = *state;

	apply(fixture, 0);
	fixture->desired.worker_count = 2;
	apply(fixture, 0);
	classifier_close(fixture->classifier);
	fixture->classifier = NULL;
	assert_int_equal(classifier_detach_all(PIN_DIR, DEVICE, &fixture->problems), STATUS_OK);
	assert_int_equal(fixture->problems.count, 0);
	lab_run("! tc qdisc show | grep -q clsact");
	for (int i = 0; i < WORKER_COUNT; i++) {
		assert_int_equal(attached(fixture->workers[i].interface, BPF_TC_INGRESS), 0);
		assert_int_equal(attached(fixture->workers[i].interface, BPF_TC_EGRESS), 0);
	}
	lab_run("! ip link show " DEVICE " 2>/dev/null");
	lab_run("! grep -q " PIN_DIR " /proc/self/mounts");
	lab_run("test ! -e " PIN_DIR);
	/* Again, with nothing there. */
	assert_int_equal(classifier_detach_all(PIN_DIR, DEVICE, &fixture->problems), STATUS_OK);
}

/* A filter of the time before TCX goes on where it is, replaced without a gap, and nothing of ours comes beside it. */
static void filter_of_an_earlier_kernel_stays_on_its_hook(void **state)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .attach_point = BPF_TC_INGRESS);
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = 0x5053, .priority = 1);
	struct fixture *fixture = *state;
	uint32_t ids[8], count = 8;

	if (without_tcx)
		return; /* there every filter is such a one */
	hook.ifindex = (int)if_nametoindex("w0");
	lab_run("tc qdisc add dev w0 clsact");
	opts.prog_fd = pinned("worker_ingress");
	assert_int_equal(bpf_tc_attach(&hook, &opts), 0);
	close(opts.prog_fd);
	reopen(fixture);
	apply(fixture, 0);
	assert_int_equal(bpf_prog_query(hook.ifindex, (enum bpf_attach_type)TCX_INGRESS, 0, NULL, ids, &count), 0);
	assert_int_equal(count, 0);
	opts.prog_fd = 0;
	opts.prog_id = opts.flags = 0;
	assert_int_equal(bpf_tc_query(&hook, &opts), 0);
	assert_int_equal(opts.prog_id, pinned_program_id("worker_ingress"));
}

static void program_of_ours_is_first_and_others_on_tcx_are_left_alone(void **state)
{
	const struct bpf_insn next[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = -1},
		{.code = BPF_JMP | BPF_EXIT},
	};
	enum bpf_attach_type hook = (enum bpf_attach_type)TCX_INGRESS;
	int ifindex = (int)if_nametoindex("w0"), program_fd;
	uint32_t ids[8], count = 8, size_bytes;
	struct bpf_prog_info info = {0};
	struct fixture *fixture = *state;

	if (without_tcx)
		return;
	program_fd = bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "foreign", "GPL", next, 2, NULL);
	assert_true(program_fd >= 0);
	assert_int_equal(bpf_prog_attach(program_fd, ifindex, hook, 0), 0);
	size_bytes = sizeof(info);
	assert_int_equal(bpf_obj_get_info_by_fd(program_fd, &info, &size_bytes), 0);
	close(program_fd);
	apply(fixture, 0);
	reopen(fixture);
	apply(fixture, 0);
	assert_int_equal(bpf_prog_query(ifindex, hook, 0, NULL, ids, &count), 0);
	assert_int_equal(count, 2);
	assert_int_equal(ids[0], pinned_program_id("worker_ingress"));
	assert_int_equal(ids[1], info.id);
	classifier_close(fixture->classifier);
	fixture->classifier = NULL;
	assert_int_equal(classifier_detach_all(PIN_DIR, DEVICE, &fixture->problems), STATUS_OK);
	count = 8;
	assert_int_equal(bpf_prog_query(ifindex, hook, 0, NULL, ids, &count), 0);
	assert_int_equal(count, 1);
	assert_int_equal(ids[0], info.id);
}

#define classifier_unit_test(name) cmocka_unit_test_setup_teardown(name, fixture_open, fixture_close)

int main(int argc, char *argv[])
{
	const struct CMUnitTest tests[] = {
		classifier_unit_test(apply_opens_every_worker),
		classifier_unit_test(worker_that_is_no_longer_wanted_is_closed),
		classifier_unit_test(closed_interface_that_goes_leaves_nothing_to_fail_on),
		classifier_unit_test(closed_interface_gets_the_current_programs_after_an_upgrade),
		classifier_unit_test(host_that_is_no_worker_host_any_more_has_every_interface_closed),
		classifier_unit_test(counters_of_a_workspace_can_be_cleared),
		classifier_unit_test(worker_that_is_not_admitted_is_claimed_and_closed),
		classifier_unit_test(missing_interface_is_counted_and_taken_up_when_it_comes),
		classifier_unit_test(interface_made_anew_gets_its_entry_and_the_old_one_goes),
		classifier_unit_test(reopening_adopts_what_is_pinned),
		classifier_unit_test(applying_again_changes_nothing),
		classifier_unit_test(program_taken_off_by_hand_is_put_back),
		classifier_unit_test(maps_are_adopted_from_running_programs_when_the_pins_are_lost),
		classifier_unit_test(pinned_map_of_another_shape_is_rebuilt_empty),
		classifier_unit_test(new_owner_of_an_interface_inherits_no_mac),
		classifier_unit_test(same_worker_with_another_gateway_keeps_its_mac),
		classifier_unit_test(pinned_mac_is_set_and_changed),
		classifier_unit_test(two_workers_may_swap_their_interfaces),
		classifier_unit_test(filters_of_others_are_left_alone),
		classifier_unit_test(contradicting_workers_are_refused_and_change_nothing),
		classifier_unit_test(worker_comes_goes_and_leaves_its_address_to_another_one_by_one),
		classifier_unit_test(device_of_another_kind_is_refused_and_workers_stay_closed),
		classifier_unit_test(vxlan_device_that_was_deleted_is_made_again),
		classifier_unit_test(detach_all_leaves_nothing),
		classifier_unit_test(filter_of_an_earlier_kernel_stays_on_its_hook),
		classifier_unit_test(program_of_ours_is_first_and_others_on_tcx_are_left_alone),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	lab_require_root();
	without_tcx = argc == 2 && strcmp(argv[1], "--without-tcx") == 0;
	if (without_tcx)
		lab_forbid_tcx();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
