/* SPDX-License-Identifier: Apache-2.0 */
/* The hooks of an interface: control/classifier_tc.c, TCX and clsact, with programs of others beside ours. */
#include <arpa/inet.h>
#include <linux/rtnetlink.h>
#include <unistd.h>

#include <netlink/netlink.h>

#include <bpf/bpf.h>

#include "control/classifier_tc.h"
#include "tests/bpf/host.h"

/* Leaves the decision to whoever comes next. */
static int foreign_program(void)
{
	const struct bpf_insn next[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = -1},
		{.code = BPF_JMP | BPF_EXIT},
	};
	int fd = bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "foreign", "GPL", next, 2, NULL);

	assert_true(fd >= 0);
	return fd;
}

static void take_off(const char *interface, enum bpf_tc_attach_point point)
{
	int fd = bpf_prog_get_fd_by_id(host_attached(interface, point));

	assert_true(fd >= 0);
	if (!host_has_tcx())
		lab_run("tc qdisc del dev %s clsact", interface);
	else
		assert_int_equal(
			bpf_prog_detach2(fd, (int)if_nametoindex(interface), (enum bpf_attach_type)HOST_TCX_INGRESS),
			0);
	close(fd);
	assert_int_equal(host_attached(interface, point), 0);
}

static void program_taken_off_by_hand_is_put_back(void **state)
{
	struct host *host = *state;

	host_apply(host, 0);
	take_off("w0", BPF_TC_INGRESS);
	take_off(HOST_DEVICE, BPF_TC_INGRESS);
	host_apply(host, 0);
	host_assert_open(host, 0);
	assert_true(host_attached(HOST_DEVICE, BPF_TC_INGRESS) != 0);
}

static void filters_of_others_are_left_alone(void **state)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)if_nametoindex("w2"), .attach_point = BPF_TC_INGRESS);
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = 7, .priority = 5);
	struct host *host = *state;
	int program_fd;

	lab_run("tc qdisc add dev w2 clsact");
	program_fd = foreign_program();
	opts.prog_fd = program_fd;
	assert_int_equal(bpf_tc_attach(&hook, &opts), 0);
	close(program_fd);
	host_apply(host, 0);
	host_assert_open(host, 2);
	host->desired.worker_count = 2;
	host_apply(host, 0);
	host_assert_closed(host, 2);
	lab_run("tc filter show dev w2 ingress | grep -q foreign");
	host_leave(host);
	assert_int_equal(classifier_detach_all(HOST_PIN_DIR, HOST_DEVICE, &host->problems), STATUS_OK);
	assert_int_equal(host_attached("w2", BPF_TC_INGRESS), 0);
	assert_int_equal(host_attached("w2", BPF_TC_EGRESS), 0);
	lab_run("tc filter show dev w2 ingress | grep -q foreign");
}

/* In our place on the hook of w2, and for another protocol, so that ours can not be put beside it. */
static void occupy(void)
{
	int program_fd = foreign_program();

	assert_int_equal(bpf_obj_pin(program_fd, HOST_PIN_DIR "/foreign"), 0);
	close(program_fd);
	lab_run("tc filter add dev w2 ingress protocol ip prio 1 bpf da pinned " HOST_PIN_DIR "/foreign");
	assert_int_equal(unlink(HOST_PIN_DIR "/foreign"), 0);
}

static void interface_that_can_not_be_claimed_keeps_nobody_else_closed(void **state)
{
	struct host *host = *state;
	struct worker_value value;
	size_t missing;

	lab_run("tc qdisc add dev w2 clsact");
	occupy();
	classifier_attach_on_clsact(host->classifier, true);
	assert_int_equal(classifier_apply(host->classifier, &host->desired, &missing, &host->problems), STATUS_OK);
	assert_int_equal(host->problems.count, 1);
	assert_non_null(strstr(host->problems.lines[0], "w2: the classifier cannot be attached"));
	assert_true(host_worker_entry(if_nametoindex("w0"), &value));
	assert_true(host_worker_entry(if_nametoindex("w1"), &value));
	assert_false(host_worker_entry(if_nametoindex("w2"), &value));
	lab_run("tc filter del dev w2 ingress");
	problems_clear(&host->problems);
	host_apply(host, 0);
	assert_true(host_worker_entry(if_nametoindex("w2"), &value));
}

/* Of a question that was given up in the middle. Else each later one would get the answer of the one before it. */
static void answer_that_nobody_read_is_not_taken_for_that_of_the_next_question(void **state)
{
	const struct ifinfomsg loopback = {.ifi_index = 1};
	struct nl_sock *netlink = nl_socket_alloc();
	uint32_t ifindex = if_nametoindex("w0"), id;
	struct host *host = *state;

	classifier_attach_on_clsact(host->classifier, true);
	host_apply(host, 0);
	id = host_pinned_program_id("worker_ingress");
	assert_int_equal(nl_connect(netlink, NETLINK_ROUTE), 0);
	assert_true(nl_send_simple(
			    netlink, RTM_GETLINK, NLM_F_REQUEST, (void *)(uintptr_t)&loopback, sizeof(loopback)) > 0);
	assert_int_equal(classifier_tc_attached(netlink, ifindex, CLASSIFIER_WORKER_INGRESS, 0), id);
	assert_int_equal(classifier_tc_attached(netlink, ifindex, CLASSIFIER_WORKER_INGRESS, 0), id);
	nl_socket_free(netlink);
}

/* Nothing judges what it sends any more, so nothing may be sent to it, or be counted as let through. */
static void worker_whose_interface_can_not_be_claimed_any_more_is_closed(void **state)
{
	struct host *host = *state;
	const struct delivery_key key = {.vni = host->workers[2].vni, .address_be = htonl(host->workers[2].address)};
	uint32_t ifindex = if_nametoindex("w2");
	struct delivery_value delivery;
	size_t missing;

	classifier_attach_on_clsact(host->classifier, true);
	host_apply(host, 0);
	assert_true(classifier_is_open(host->classifier, ifindex, host->workers[2].vni, host->workers[2].address));
	lab_run("tc filter del dev w2 ingress");
	occupy();
	assert_int_equal(classifier_apply(host->classifier, &host->desired, &missing, &host->problems), STATUS_OK);
	assert_int_equal(host->problems.count, 1);
	assert_false(classifier_is_open(host->classifier, ifindex, host->workers[2].vni, host->workers[2].address));
	assert_false(host_lookup("deliveries", &key, &delivery));
	assert_true(classifier_is_open(
		host->classifier, if_nametoindex("w1"), host->workers[1].vni, host->workers[1].address));
}

/* There what is for the egress lands on the ingress, in the place of what judges the worker. */
static void ingress_qdisc_in_the_place_of_clsact_closes_its_worker_and_says_so(void **state)
{
	struct host *host = *state;
	struct worker_value value;
	size_t missing;

	lab_run("tc qdisc add dev w2 ingress");
	classifier_attach_on_clsact(host->classifier, true);
	assert_int_equal(classifier_apply(host->classifier, &host->desired, &missing, &host->problems), STATUS_OK);
	assert_int_equal(host->problems.count, 1);
	assert_non_null(strstr(host->problems.lines[0], "tc qdisc del dev w2 ingress"));
	assert_true(host_worker_entry(if_nametoindex("w0"), &value));
	assert_false(host_worker_entry(if_nametoindex("w2"), &value));
	lab_run("! tc filter show dev w2 ingress | grep -q worker_");
	lab_run("tc qdisc del dev w2 ingress");
	problems_clear(&host->problems);
	host_apply(host, 0);
	assert_true(host_worker_entry(if_nametoindex("w2"), &value));
}

/* A filter of the time before TCX goes on where it is, replaced without a gap, and nothing of ours comes beside it. */
static void filter_of_an_earlier_kernel_stays_on_its_hook(void **state)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .attach_point = BPF_TC_INGRESS);
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = 0x5053, .priority = 1);
	struct host *host = *state;
	uint32_t ids[8], count = 8;

	hook.ifindex = (int)if_nametoindex("w0");
	lab_run("tc qdisc add dev w0 clsact");
	opts.prog_fd = host_pinned("worker_ingress");
	assert_int_equal(bpf_tc_attach(&hook, &opts), 0);
	close(opts.prog_fd);
	host_reopen(host);
	host_apply(host, 0);
	assert_int_equal(bpf_prog_query(hook.ifindex, (enum bpf_attach_type)HOST_TCX_INGRESS, 0, NULL, ids, &count), 0);
	assert_int_equal(count, 0);
	opts.prog_fd = 0;
	opts.prog_id = opts.flags = 0;
	assert_int_equal(bpf_tc_query(&hook, &opts), 0);
	assert_int_equal(opts.prog_id, host_pinned_program_id("worker_ingress"));
}

static void first_attachment_goes_to_clsact_when_that_is_wanted_and_stays_there(void **state)
{
	static const enum bpf_tc_attach_point points[] = {BPF_TC_INGRESS, BPF_TC_EGRESS};
	static const char *const names[] = {"worker_ingress", "worker_egress"};
	struct host *host = *state;

	classifier_attach_on_clsact(host->classifier, true);
	host_apply(host, 0);
	host_reopen(host); /* wants TCX again, for others */
	host_apply(host, 0);
	for (int i = 0; i < 2; i++) {
		LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)if_nametoindex("w0"), .attach_point = points[i]);
		LIBBPF_OPTS(bpf_tc_opts, opts, .handle = 0x5053, .priority = 1);

		assert_int_equal(host_attached("w0", points[i]), 0); /* on TCX */
		assert_int_equal(bpf_tc_query(&hook, &opts), 0);
		assert_int_equal(opts.prog_id, host_pinned_program_id(names[i]));
	}
}

static void program_of_ours_is_first_and_others_on_tcx_are_left_alone(void **state)
{
	enum bpf_attach_type hook = (enum bpf_attach_type)HOST_TCX_INGRESS;
	int ifindex = (int)if_nametoindex("w0"), program_fd;
	uint32_t ids[8], count = 8, size_bytes;
	struct bpf_prog_info info = {0};
	struct host *host = *state;

	program_fd = foreign_program();
	assert_int_equal(bpf_prog_attach(program_fd, ifindex, hook, 0), 0);
	size_bytes = sizeof(info);
	assert_int_equal(bpf_obj_get_info_by_fd(program_fd, &info, &size_bytes), 0);
	close(program_fd);
	host_apply(host, 0);
	host_reopen(host);
	host_apply(host, 0);
	assert_int_equal(bpf_prog_query(ifindex, hook, 0, NULL, ids, &count), 0);
	assert_int_equal(count, 2);
	assert_int_equal(ids[0], host_pinned_program_id("worker_ingress"));
	assert_int_equal(ids[1], info.id);
	host_leave(host);
	assert_int_equal(classifier_detach_all(HOST_PIN_DIR, HOST_DEVICE, &host->problems), STATUS_OK);
	count = 8;
	assert_int_equal(bpf_prog_query(ifindex, hook, 0, NULL, ids, &count), 0);
	assert_int_equal(count, 1);
	assert_int_equal(ids[0], info.id);
}

int main(int argc, char *argv[])
{
	enum { EVERYWHERE = 6 };
	const struct CMUnitTest tests[] = {
		HOST_TEST(program_taken_off_by_hand_is_put_back),
		HOST_TEST(filters_of_others_are_left_alone),
		HOST_TEST(answer_that_nobody_read_is_not_taken_for_that_of_the_next_question),
		HOST_TEST(interface_that_can_not_be_claimed_keeps_nobody_else_closed),
		HOST_TEST(worker_whose_interface_can_not_be_claimed_any_more_is_closed),
		HOST_TEST(ingress_qdisc_in_the_place_of_clsact_closes_its_worker_and_says_so),
		/* Where there is TCX. */
		HOST_TEST(filter_of_an_earlier_kernel_stays_on_its_hook),
		HOST_TEST(first_attachment_goes_to_clsact_when_that_is_wanted_and_stays_there),
		HOST_TEST(program_of_ours_is_first_and_others_on_tcx_are_left_alone),
	};

	host_start(argc, argv);
	return _cmocka_run_group_tests(
		"hooks", tests, host_has_tcx() ? sizeof(tests) / sizeof(tests[0]) : EVERYWHERE, NULL, NULL);
}
