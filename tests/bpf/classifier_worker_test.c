/* SPDX-License-Identifier: Apache-2.0 */
/* Which workers are open: control/classifier.c against the real kernel, whose state is what is read. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include "control/classifier_sweep.h"
#include "tests/bpf/host.h"

static void apply_opens_every_worker(void **state)
{
	struct host *host = *state;
	struct worker_config config;
	__be32 gateway_be = htonl(HOST_GATEWAY);
	struct stat pin_dir;
	uint32_t zero = 0;
	uint8_t present;

	host_apply(host, 0);
	for (int i = 0; i < HOST_WORKER_COUNT; i++)
		host_assert_open(host, i);
	assert_int_equal(host_entry_count("workers"), HOST_WORKER_COUNT);
	assert_int_equal(host_entry_count("deliveries"), HOST_WORKER_COUNT);
	assert_int_equal(host_entry_count("gateways"), 1);
	assert_true(host_lookup("gateways", &gateway_be, &present));
	assert_true(host_lookup("worker_config", &zero, &config));
	assert_int_equal(config.vxlan_ifindex, if_nametoindex(HOST_DEVICE));
	assert_int_equal(config.vtep_be, htonl(HOST_VTEP));
	assert_true(host_attached(HOST_DEVICE, BPF_TC_INGRESS) != 0);
	lab_run("ip -d link show dev " HOST_DEVICE " up | grep -q external");
	assert_int_equal(stat(HOST_PIN_DIR, &pin_dir), 0);
	assert_int_equal(pin_dir.st_mode & 0777, 0700);
}

/* Without a program on it, the host's own stack would take the interface's traffic. */
static void worker_that_is_no_longer_wanted_is_closed(void **state)
{
	struct host *host = *state;

	host_apply(host, 0);
	host->desired.worker_count = 2;
	host_apply(host, 0);
	assert_int_equal(host_entry_count("workers"), 2);
	assert_int_equal(host_entry_count("deliveries"), 2);
	host_assert_closed(host, 2);
	for (int i = 0; i < 2; i++)
		host_assert_open(host, i);
	host_apply(host, 0);
	host_assert_closed(host, 2);
	host->desired.worker_count = 3;
	host_apply(host, 0);
	host_assert_open(host, 2);
}

static void closed_interface_that_goes_leaves_nothing_to_fail_on(void **state)
{
	struct host *host = *state;

	host_apply(host, 0);
	host->desired.worker_count = 2;
	host_apply(host, 0);
	lab_run("ip link del w2");
	host_apply(host, 0);
	for (int i = 0; i < 2; i++)
		host_assert_open(host, i);
}

static void host_that_is_no_worker_host_any_more_has_every_interface_closed(void **state)
{
	struct host *host = *state;

	host_apply(host, 0);
	host->desired = (struct classifier_desired){0};
	host_apply(host, 0);
	assert_int_equal(host_entry_count("workers"), 0);
	assert_int_equal(host_entry_count("gateways"), 0);
	for (int i = 0; i < HOST_WORKER_COUNT; i++)
		host_assert_closed(host, i);
	assert_true(host_attached(HOST_DEVICE, BPF_TC_INGRESS) != 0);
}

static void worker_that_is_not_admitted_is_claimed_and_closed(void **state)
{
	struct host *host = *state;
	struct worker_value value;

	host->workers[1].admitted = false;
	host_apply(host, 0);
	host_assert_claimed("w1");
	assert_false(host_worker_entry(if_nametoindex("w1"), &value));
	assert_int_equal(host_entry_count("deliveries"), 2);
	host->workers[1].admitted = true;
	host_apply(host, 0);
	host_assert_open(host, 1);
	host->workers[1].admitted = false;
	host_apply(host, 0);
	host_assert_claimed("w1");
	assert_int_equal(host_entry_count("workers"), 2);
	assert_int_equal(host_entry_count("deliveries"), 2);
}

/* What classifier_apply() would do, for one worker beside the others. */
static void worker_comes_goes_and_leaves_its_address_to_another_one_by_one(void **state)
{
	struct host *host = *state;
	struct classifier_change change = {.worker = host->workers[2]};

	host->desired.worker_count = 2;
	host_apply(host, 0);
	change.ifindex = if_nametoindex("w2");
	assert_int_equal(host_attached("w2", BPF_TC_INGRESS), 0);
	assert_int_equal(classifier_claim(host->classifier, change.ifindex, "w2", &host->problems), STATUS_OK);
	host_assert_closed(host, 2);
	assert_int_equal(classifier_change(host->classifier, &change, 1, HOST_VTEP, &host->problems), STATUS_OK);
	for (int i = 0; i < HOST_WORKER_COUNT; i++)
		host_assert_open(host, i);
	assert_true(classifier_is_open(host->classifier, change.ifindex, 7003, HOST_WORKER_ADDRESS));
	assert_false(classifier_is_open(host->classifier, change.ifindex, 7001, HOST_WORKER_ADDRESS));

	/* The same interface, now with a worker of another VPC. */
	change.worker.admitted = false;
	assert_int_equal(classifier_change(host->classifier, &change, 1, HOST_VTEP, &host->problems), STATUS_OK);
	host_assert_closed(host, 2);
	host->workers[2].vni = change.worker.vni = 7009;
	change.worker.admitted = true;
	assert_int_equal(classifier_change(host->classifier, &change, 1, HOST_VTEP, &host->problems), STATUS_OK);
	for (int i = 0; i < HOST_WORKER_COUNT; i++)
		host_assert_open(host, i);
	assert_int_equal(host_entry_count("workers"), HOST_WORKER_COUNT);
	assert_int_equal(host_entry_count("deliveries"), HOST_WORKER_COUNT);
	assert_int_equal(host->problems.count, 0);
}

static void missing_interface_is_counted_and_taken_up_when_it_comes(void **state)
{
	struct host *host = *state;

	lab_run("ip link del w1");
	host_apply(host, 1);
	host_assert_open(host, 0);
	host_assert_open(host, 2);
	assert_int_equal(host_entry_count("workers"), 2);
	lab_veth("w1", "w1-peer");
	host_apply(host, 0);
	host_assert_open(host, 1);
}

/* Or the interface would be opened for two workers. */
static void second_name_of_an_interface_is_none(void **state)
{
	struct host *host = *state;

	lab_run("ip link property add dev w0 altname w0-too");
	snprintf(host->workers[1].interface, sizeof(host->workers[1].interface), "w0-too");
	host_apply(host, 1);
	host_assert_open(host, 0);
	assert_int_equal(host_entry_count("workers"), HOST_WORKER_COUNT - 1);
}

static void interface_made_anew_gets_its_entry_and_the_old_one_goes(void **state)
{
	struct host *host = *state;
	uint32_t old_ifindex = if_nametoindex("w0");
	struct worker_value value;

	host_apply(host, 0);
	lab_run("ip link del w0");
	lab_veth("w0", "w0-peer");
	assert_int_not_equal(if_nametoindex("w0"), old_ifindex);
	host_apply(host, 0);
	host_assert_open(host, 0);
	assert_false(host_worker_entry(old_ifindex, &value));
	assert_int_equal(host_entry_count("workers"), HOST_WORKER_COUNT);
}

static void applying_again_changes_nothing(void **state)
{
	struct host *host = *state;
	struct worker_value before, after;
	uint32_t program;

	host_apply(host, 0);
	host_learn_mac("w0");
	program = host_attached("w0", BPF_TC_INGRESS);
	assert_true(host_worker_entry(if_nametoindex("w0"), &before));
	host_apply(host, 0);
	assert_true(host_worker_entry(if_nametoindex("w0"), &after));
	assert_memory_equal(&before, &after, sizeof(before));
	assert_int_equal(host_attached("w0", BPF_TC_INGRESS), program);
}

static void new_owner_of_an_interface_inherits_no_mac(void **state)
{
	const uint8_t unknown[6] = {0};
	struct host *host = *state;
	struct worker_value before, after;

	host_apply(host, 0);
	host_learn_mac("w0");
	assert_true(host_worker_entry(if_nametoindex("w0"), &before));
	host->workers[0].vni = 8000;
	host_apply(host, 0);
	host_assert_open(host, 0);
	host_assert_mac("w0", unknown);
	assert_true(host_worker_entry(if_nametoindex("w0"), &after));
	assert_int_equal(after.epoch, before.epoch + 1);
	assert_int_equal(host_entry_count("deliveries"), HOST_WORKER_COUNT);
}

static void same_worker_with_another_gateway_keeps_its_mac(void **state)
{
	struct host *host = *state;

	host_apply(host, 0);
	host_learn_mac("w0");
	host->workspaces[0].gateway = HOST_GATEWAY + 10;
	host->desired.gateway_count = 2;
	host_apply(host, 0);
	host_assert_open(host, 0);
	host_assert_mac("w0", host_worker_mac);
	assert_int_equal(host_entry_count("gateways"), 2);
	host->workspaces[0].gateway = HOST_GATEWAY;
	host->desired.gateway_count = 1;
	host_apply(host, 0);
	assert_int_equal(host_entry_count("gateways"), 1);
}

static void pinned_mac_is_set_and_changed(void **state)
{
	const uint8_t other[6] = {2, 0xaa, 0, 0, 0, 9};
	struct host *host = *state;

	host->workers[0].mac_pinned = true;
	memcpy(host->workers[0].mac, host_worker_mac, 6);
	host_apply(host, 0);
	host_assert_mac("w0", host_worker_mac);
	memcpy(host->workers[0].mac, other, 6);
	host_apply(host, 0);
	host_assert_mac("w0", other);
	host_assert_open(host, 0);
}

static void two_workers_may_swap_their_interfaces(void **state)
{
	struct host *host = *state;
	uint32_t vni = host->workers[0].vni;

	host_apply(host, 0);
	host->workers[0].vni = host->workers[1].vni;
	host->workers[1].vni = vni;
	host_apply(host, 0);
	for (int i = 0; i < HOST_WORKER_COUNT; i++)
		host_assert_open(host, i);
	assert_int_equal(host_entry_count("deliveries"), HOST_WORKER_COUNT);
}

static void contradicting_workers_are_refused_and_change_nothing(void **state)
{
	struct host *host = *state;

	host_apply(host, 0);
	snprintf(host->workers[1].interface, IF_NAMESIZE, "w0");
	host_assert_refused(host, STATUS_INVALID);
	snprintf(host->workers[1].interface, IF_NAMESIZE, "w1");
	host->workers[1].vni = host->workers[0].vni;
	host_assert_refused(host, STATUS_INVALID);
	host->workers[1].vni = 1 << 24;
	host_assert_refused(host, STATUS_INVALID);
	host->workers[1].vni = 7002;
	host->workers[1].workspace_index = BPF_WORKSPACE_COUNT_MAX;
	host_assert_refused(host, STATUS_INVALID);
	host->workers[1].workspace_index = 1;
	for (int i = 0; i < HOST_WORKER_COUNT; i++)
		host_assert_open(host, i);
}

static void put_foreign_entries(void)
{
	const struct delivery_key address = {.vni = 7001, .address_be = htonl(HOST_WORKER_ADDRESS + 1)};
	const struct delivery_value delivery = {.ifindex = 4711};
	const struct worker_value worker = {.vni = 7001, .epoch = 1};
	const struct claim_value claim = {.vni = 7001};
	const uint32_t ifindex = 4711;
	int fds[] = {host_pinned("workers"), host_pinned("deliveries"), host_pinned("claims")};

	assert_int_equal(bpf_map_update_elem(fds[0], &ifindex, &worker, BPF_NOEXIST), 0);
	assert_int_equal(bpf_map_update_elem(fds[1], &address, &delivery, BPF_NOEXIST), 0);
	assert_int_equal(bpf_map_update_elem(fds[2], &ifindex, &claim, BPF_NOEXIST), 0);
	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
		close(fds[i]);
}

static bool is_of_a_worker(void *context, uint32_t ifindex)
{
	char name[IF_NAMESIZE];

	return if_indextoname(ifindex, name) != NULL;
}

static bool is_an_address_of_a_worker(void *context, uint32_t vni, uint32_t address)
{
	return vni >= 7001 && vni <= 7003 && address == HOST_WORKER_ADDRESS;
}

static void entries_that_no_worker_has_are_swept_out_and_the_others_stay(void **state)
{
	const struct classifier_sweep_asks asks = {is_of_a_worker, is_an_address_of_a_worker, NULL};
	struct classifier_sweep sweep = {0};
	size_t removed_count, removed_total = 0;
	struct host *host = *state;
	bool done = false;

	host->workers[2].admitted = false;
	host_apply(host, 0);
	put_foreign_entries();
	while (!done) {
		assert_int_equal(
			classifier_sweep_step(host->classifier, &sweep, &asks, &removed_count, &done, &host->problems),
			STATUS_OK);
		removed_total += removed_count;
	}
	assert_int_equal(removed_total, 3);
	for (int i = 0; i < 2; i++)
		host_assert_open(host, i);
	host_assert_claimed("w2");
	assert_int_equal(host_entry_count("workers"), 2);
	assert_int_equal(host_entry_count("deliveries"), 2);
	assert_int_equal(host_entry_count("claims"), 1);
	assert_int_equal(host->problems.count, 0);
}

/* Its workers are looked at by others, one by one. */
static void what_is_no_workers_is_compared_without_a_look_at_workers(void **state)
{
	const __be32 gateway_be = htonl(HOST_GATEWAY), foreign_be = htonl(HOST_GATEWAY + 7);
	struct host *host = *state;
	const uint8_t present = 1;
	int fd;

	host_apply(host, 0);
	fd = host_pinned("gateways");
	assert_int_equal(bpf_map_delete_elem(fd, &gateway_be), 0);
	assert_int_equal(bpf_map_update_elem(fd, &foreign_be, &present, BPF_ANY), 0);
	close(fd);
	lab_run("ip link set " HOST_DEVICE " down");
	host->desired.workers = NULL;
	assert_int_equal(classifier_apply_common(host->classifier, &host->desired, &host->problems), STATUS_OK);
	assert_int_equal(host->problems.count, 0);
	assert_int_equal(host_entry_count("gateways"), 1);
	assert_true(host_lookup("gateways", &gateway_be, &(uint8_t){0}));
	lab_run("ip link show dev " HOST_DEVICE " up | grep -q " HOST_DEVICE);
	for (int i = 0; i < HOST_WORKER_COUNT; i++)
		host_assert_open(host, i);
}

static void counters_of_a_workspace_can_be_cleared(void **state)
{
	struct host *host = *state;
	struct workspace_traffic traffic = {0}, *values;
	uint32_t index = 1;
	int fd = host_pinned("workspace_counters"), cpu_count = libbpf_num_possible_cpus();

	values = calloc((size_t)cpu_count, sizeof(*values));
	for (int cpu = 0; cpu < cpu_count; cpu++)
		values[cpu].out_packets = 7;
	assert_int_equal(bpf_map_update_elem(fd, &index, values, BPF_ANY), 0);
	close(fd);
	free(values);
	assert_int_equal(classifier_read_workspace(host->classifier, index, &traffic), STATUS_OK);
	assert_int_equal(traffic.out_packets, 7 * cpu_count);
	assert_int_equal(classifier_clear_workspace(host->classifier, index), STATUS_OK);
	assert_int_equal(classifier_read_workspace(host->classifier, index, &traffic), STATUS_OK);
	assert_int_equal(traffic.out_packets, 0);
	assert_int_equal(classifier_clear_workspace(host->classifier, BPF_WORKSPACE_COUNT_MAX), STATUS_SYSTEM);
}

int main(int argc, char *argv[])
{
	const struct CMUnitTest tests[] = {
		HOST_TEST(apply_opens_every_worker),
		HOST_TEST(worker_that_is_no_longer_wanted_is_closed),
		HOST_TEST(closed_interface_that_goes_leaves_nothing_to_fail_on),
		HOST_TEST(host_that_is_no_worker_host_any_more_has_every_interface_closed),
		HOST_TEST(worker_that_is_not_admitted_is_claimed_and_closed),
		HOST_TEST(worker_comes_goes_and_leaves_its_address_to_another_one_by_one),
		HOST_TEST(missing_interface_is_counted_and_taken_up_when_it_comes),
		HOST_TEST(second_name_of_an_interface_is_none),
		HOST_TEST(interface_made_anew_gets_its_entry_and_the_old_one_goes),
		HOST_TEST(applying_again_changes_nothing),
		HOST_TEST(new_owner_of_an_interface_inherits_no_mac),
		HOST_TEST(same_worker_with_another_gateway_keeps_its_mac),
		HOST_TEST(pinned_mac_is_set_and_changed),
		HOST_TEST(two_workers_may_swap_their_interfaces),
		HOST_TEST(contradicting_workers_are_refused_and_change_nothing),
		HOST_TEST(entries_that_no_worker_has_are_swept_out_and_the_others_stay),
		HOST_TEST(what_is_no_workers_is_compared_without_a_look_at_workers),
		HOST_TEST(counters_of_a_workspace_can_be_cleared),
	};

	host_start(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
