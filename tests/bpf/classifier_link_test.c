/* SPDX-License-Identifier: Apache-2.0 */
/* The VXLAN device of a worker host: control/classifier_link.c. */
#include "tests/bpf/host.h"

static void device_of_another_kind_is_refused_and_workers_stay_closed(void **state)
{
	struct host *host = *state;
	struct worker_config config;
	uint32_t zero = 0;

	lab_run("ip link add " HOST_DEVICE " type veth peer name other");
	host_assert_refused(host, STATUS_SYSTEM);
	host_assert_claimed("w0");
	assert_true(host_lookup("worker_config", &zero, &config));
	assert_int_equal(config.vxlan_ifindex, 0);
	lab_run("ip link del " HOST_DEVICE);
	host_apply(host, 0);
	host_assert_open(host, 0);
}

static void vxlan_device_that_was_deleted_is_made_again(void **state)
{
	struct host *host = *state;
	struct worker_config config;
	uint32_t zero = 0;

	host_apply(host, 0);
	lab_run("ip link del " HOST_DEVICE);
	host_apply(host, 0);
	assert_true(host_lookup("worker_config", &zero, &config));
	assert_int_equal(config.vxlan_ifindex, if_nametoindex(HOST_DEVICE));
	assert_true(host_attached(HOST_DEVICE, BPF_TC_INGRESS) != 0);
}

int main(int argc, char *argv[])
{
	const struct CMUnitTest tests[] = {
		HOST_TEST(device_of_another_kind_is_refused_and_workers_stay_closed),
		HOST_TEST(vxlan_device_that_was_deleted_is_made_again),
	};

	host_start(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
