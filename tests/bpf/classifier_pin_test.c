/* SPDX-License-Identifier: Apache-2.0 */
/* What outlives posternd: control/classifier_pin.c, pins that are adopted, lost, of another version, removed. */
#include <stdio.h>
#include <sys/mount.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include "tests/bpf/host.h"

/* What runs is what was loaded last, on the maps that are pinned now. */
static void assert_programs_are_current(void)
{
	for (int i = 0; i < HOST_WORKER_COUNT; i++) {
		char name[IF_NAMESIZE];

		snprintf(name, sizeof(name), "w%d", i);
		assert_int_equal(host_attached(name, BPF_TC_INGRESS), host_pinned_program_id("worker_ingress"));
		assert_int_equal(host_attached(name, BPF_TC_EGRESS), host_pinned_program_id("worker_egress"));
	}
	assert_int_equal(host_attached(HOST_DEVICE, BPF_TC_INGRESS), host_pinned_program_id("reply_ingress"));
}

/* As another version of posternd would have left it. */
static void pin_workers_of_another_shape(void)
{
	int fd = bpf_map_create(BPF_MAP_TYPE_HASH, "workers", 4, 8, 16, NULL);

	assert_true(fd >= 0);
	assert_int_equal(unlink(HOST_PIN_DIR "/workers"), 0);
	assert_int_equal(bpf_obj_pin(fd, HOST_PIN_DIR "/workers"), 0);
	close(fd);
}

static void reopening_adopts_what_is_pinned(void **state)
{
	const char *const maps[] = {
		"workers", "deliveries", "gateways", "worker_config", "worker_drops", "workspace_counters"};
	struct host *host = *state;
	uint32_t ids[6];

	host_apply(host, 0);
	host_learn_mac("w0");
	for (int i = 0; i < 6; i++)
		ids[i] = host_pinned_map_id(maps[i]);
	host_reopen(host);
	for (int i = 0; i < 6; i++)
		assert_int_equal(host_pinned_map_id(maps[i]), ids[i]);
	host_assert_open(host, 0);
	host_apply(host, 0);
	for (int i = 0; i < HOST_WORKER_COUNT; i++)
		host_assert_open(host, i);
	assert_programs_are_current();
	host_assert_mac("w0", host_worker_mac);
}

static void maps_are_adopted_from_running_programs_when_the_pins_are_lost(void **state)
{
	struct host *host = *state;
	uint32_t workers_id, deliveries_id;

	host_apply(host, 0);
	host_learn_mac("w0");
	workers_id = host_pinned_map_id("workers");
	deliveries_id = host_pinned_map_id("deliveries");
	host_leave(host);
	assert_int_equal(umount(HOST_PIN_DIR), 0);
	host_enter(host);
	assert_int_equal(host_pinned_map_id("workers"), workers_id);
	assert_int_equal(host_pinned_map_id("deliveries"), deliveries_id);
	host_assert_mac("w0", host_worker_mac);
}

static void pinned_map_of_another_shape_is_rebuilt_empty(void **state)
{
	struct host *host = *state;

	host_apply(host, 0);
	host_leave(host);
	pin_workers_of_another_shape();
	host_enter(host);
	assert_int_equal(host_entry_count("workers"), 0);
	host_apply(host, 0);
	for (int i = 0; i < HOST_WORKER_COUNT; i++)
		host_assert_open(host, i);
	assert_programs_are_current();
}

/* An older program works by an older map, in which the interface is still open. */
static void closed_interface_gets_the_current_programs_after_an_upgrade(void **state)
{
	struct host *host = *state;
	uint32_t old_program;

	host_apply(host, 0);
	host_leave(host);
	old_program = host_attached("w2", BPF_TC_INGRESS);
	pin_workers_of_another_shape();
	host_enter(host);
	host->desired.worker_count = 2;
	host_apply(host, 0);
	assert_int_not_equal(host_attached("w2", BPF_TC_INGRESS), old_program);
	host_assert_closed(host, 2);
}

static void detach_all_leaves_nothing(void **state)
{
	struct host *host = *state;

	host_apply(host, 0);
	host->desired.worker_count = 2;
	host_apply(host, 0);
	host_leave(host);
	assert_int_equal(classifier_detach_all(HOST_PIN_DIR, HOST_DEVICE, &host->problems), STATUS_OK);
	assert_int_equal(host->problems.count, 0);
	lab_run("! tc qdisc show | grep -q clsact");
	for (int i = 0; i < HOST_WORKER_COUNT; i++) {
		assert_int_equal(host_attached(host->workers[i].interface, BPF_TC_INGRESS), 0);
		assert_int_equal(host_attached(host->workers[i].interface, BPF_TC_EGRESS), 0);
	}
	lab_run("! ip link show " HOST_DEVICE " 2>/dev/null");
	lab_run("! grep -q " HOST_PIN_DIR " /proc/self/mounts");
	lab_run("test ! -e " HOST_PIN_DIR);
	/* Again, with nothing there. */
	assert_int_equal(classifier_detach_all(HOST_PIN_DIR, HOST_DEVICE, &host->problems), STATUS_OK);
}

int main(int argc, char *argv[])
{
	const struct CMUnitTest tests[] = {
		HOST_TEST(reopening_adopts_what_is_pinned),
		HOST_TEST(maps_are_adopted_from_running_programs_when_the_pins_are_lost),
		HOST_TEST(pinned_map_of_another_shape_is_rebuilt_empty),
		HOST_TEST(closed_interface_gets_the_current_programs_after_an_upgrade),
		HOST_TEST(detach_all_leaves_nothing),
	};

	host_start(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
