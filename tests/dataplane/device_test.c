/* SPDX-License-Identifier: Apache-2.0 */
/* io/device.c and io/options.c: what the operator writes, and what DPDK gets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "dataplane/io/device.h"
#include "dataplane/io/options.h"

#define STEER "/usr/libexec/postern/steer.bpf.o"

static struct policy_port port_make(const char *interface, const char *device, uint32_t queue_count)
{
	struct policy_port port = {.queue_count = queue_count};

	memcpy(port.interface, interface, strnlen(interface, sizeof(port.interface)));
	memcpy(port.device, device, strnlen(device, sizeof(port.device)));
	return port;
}

static void without_a_device_the_port_is_af_xdp_with_the_steering_program(void **state)
{
	const struct policy_port port = port_make("inside0", "", 4);
	char text[NAT_TEXT_SIZE_BYTES];
	struct device device;

	assert_true(device_parse(&port, PORT_INSIDE, STEER, &device, text));
	assert_string_equal(device.name, "net_af_xdp_inside0");
	assert_string_equal(device.arguments, "iface=inside0,start_queue=0,queue_count=4,xdp_prog=" STEER);
	assert_string_equal(device.interface, "inside0");
	assert_true(device.af_xdp && device.interface_required && !device.pci);
}

static void devices_are_split_into_name_and_arguments(void **state)
{
	static const struct {
		const char *device, *name, *arguments, *interface;
		bool pci, af_xdp, required;
	} cases[] = {
		{"net_tap0,iface=tap_in", "net_tap0", "iface=tap_in", "tap_in", false, false, false},
		{"net_tap0", "net_tap0", "", "eth7", false, false, false},
		{"net_af_packet0,iface=eth1,qpairs=2", "net_af_packet0", "iface=eth1,qpairs=2", "eth1", false, false,
			true},
		{"net_af_xdp0,iface=eth1", "net_af_xdp0", "iface=eth1,xdp_prog=" STEER, "eth1", false, true, true},
		{"net_af_xdp0,iface=eth1,xdp_prog=/x.o", "net_af_xdp0", "iface=eth1,xdp_prog=/x.o", "eth1", false, true,
			true},
		{"0000:03:00.1", "0000:03:00.1", "", "", true, false, false},
		{"pci:03:00.1,a=b", "03:00.1", "a=b", "", true, false, false},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct policy_port port = port_make("eth7", cases[i].device, 1);
		char text[NAT_TEXT_SIZE_BYTES];
		struct device device;

		assert_true(device_parse(&port, PORT_OUTSIDE, STEER, &device, text));
		assert_string_equal(device.name, cases[i].name);
		assert_string_equal(device.arguments, cases[i].arguments);
		assert_string_equal(device.interface, cases[i].interface);
		assert_int_equal(device.pci, cases[i].pci);
		assert_int_equal(device.af_xdp, cases[i].af_xdp);
		assert_int_equal(device.interface_required, cases[i].required);
	}
}

static void what_makes_no_device_is_refused_and_nothing_is_written(void **state)
{
	static const struct {
		const char *interface, *device;
	} cases[] = {
		{"", ""},
		{"a,b", ""},
		{"a/b", ""},
		{"..", ""},
		{"a b", ""},
		{"0123456789abcdef", ""},
		{"eth0", ","},
		{"eth0", "pci:"},
		{"", "net_af_packet0"},
		{"eth0", "net_af_packet0,iface="},
		{"eth0", "net_af_xdp0,iface=0123456789abcdef"},
		{"eth0", "net_tap0,iface=a/b"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct policy_port port = port_make(cases[i].interface, cases[i].device, 1);
		char text[NAT_TEXT_SIZE_BYTES] = "";
		struct device device = {.name = "before"};

		assert_false(device_parse(&port, PORT_INSIDE, STEER, &device, text));
		assert_non_null(strstr(text, "gateway.inside: "));
		assert_string_equal(device.name, "before");
	}
}

static void device_text_without_an_end_is_refused(void **state)
{
	struct policy_port port = port_make("eth0", "", 1);
	char text[NAT_TEXT_SIZE_BYTES];
	struct device device;

	memset(port.device, 'a', sizeof(port.device));
	assert_false(device_parse(&port, PORT_INSIDE, STEER, &device, text));
}

static void longest_device_text_with_the_longest_path_is_not_cut(void **state)
{
	struct policy_port port = port_make("eth0", "net_af_xdp0,iface=eth1,x=", 1);
	char steer[PATH_MAX], text[NAT_TEXT_SIZE_BYTES];
	size_t used = strlen(port.device);
	struct device device;

	memset(port.device + used, 'a', sizeof(port.device) - used - 1);
	memset(steer, 's', sizeof(steer) - 1);
	steer[sizeof(steer) - 1] = '\0';
	assert_true(device_parse(&port, PORT_INSIDE, steer, &device, text));
	assert_non_null(strstr(device.arguments, steer));
}

static bool parse(int count, const char *const words[], struct options *ret_options, char *ret_text)
{
	return options_parse(count, (char **)(uintptr_t)words, ret_options, ret_text);
}

static void own_options_are_taken_out_and_the_rest_is_left_to_eal(void **state)
{
	static const char *const words[] = {"x", "-l", "0,1", "--run-dir=/run/p", "--sessions", "2048", "--vdev",
		"net_tap0", "--idle-sleep-us", "50", "--steer-object", "/s.o", "--no-huge", "--frame-bytes=3328"};
	struct options options;
	char text[NAT_TEXT_SIZE_BYTES];

	assert_true(parse(14, words, &options, text));
	assert_string_equal(options.run_dir, "/run/p");
	assert_string_equal(options.steer_object, "/s.o");
	assert_int_equal(options.sessions_max, 2048);
	assert_int_equal(options.idle_sleep_us, 50);
	assert_int_equal(options.frame_bytes, 3328);
	assert_int_equal(options.eal_count, 5);
	assert_string_equal(options.eal_arguments[1], "0,1");
	assert_true(options_eal_has(&options, "--no-huge"));
	assert_true(options_eal_has(&options, "-l"));
	assert_false(options_eal_has(&options, "--lcores"));
	assert_false(options_eal_has(&options, "--no-huge-pages"));
}

static void wrong_options_are_refused_with_a_sentence(void **state)
{
	static const char *const cases[][5] = {
		{"x", NULL},
		{"x", "--run-dir", NULL},
		{"x", "--run-dir=", NULL},
		{"x", "--run-dir=d", "--sessions=1000", NULL},
		{"x", "--run-dir=d", "--sessions=512", NULL},
		{"x", "--run-dir=d", "--sessions=134217728", NULL},
		{"x", "--run-dir=d", "--sessions=99999999999999999999", NULL},
		{"x", "--run-dir=d", "--sessions=-2048", NULL},
		{"x", "--run-dir=d", "--sessions=2048k", NULL},
		{"x", "--run-dir=d", "--idle-sleep-us=1001", NULL},
		{"x", "--run-dir=d", "--frame-bytes=1791", NULL},
		{"x", "--run-dir=d", "--frame-bytes=9217", NULL},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char text[NAT_TEXT_SIZE_BYTES] = "";
		struct options options;
		int count = 0;

		while (cases[i][count] != NULL)
			count++;
		assert_false(parse(count, cases[i], &options, text));
		assert_string_not_equal(text, "");
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_a_device_the_port_is_af_xdp_with_the_steering_program),
		cmocka_unit_test(devices_are_split_into_name_and_arguments),
		cmocka_unit_test(what_makes_no_device_is_refused_and_nothing_is_written),
		cmocka_unit_test(device_text_without_an_end_is_refused),
		cmocka_unit_test(longest_device_text_with_the_longest_path_is_not_cut),
		cmocka_unit_test(own_options_are_taken_out_and_the_rest_is_left_to_eal),
		cmocka_unit_test(wrong_options_are_refused_with_a_sentence),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
