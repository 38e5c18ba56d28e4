/* SPDX-License-Identifier: Apache-2.0 */
/* The classifier's programs on cgroups: which it closes, and which it must not. */
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include <bpf/bpf.h>

#include "control/classifier.h"
#include "tests/bpf/cgroup_tree.h"
#include "tests/bpf/host.h"

#define INSIDE "/run/inside"

static uint32_t egress_programs(const char *path)
{
	uint32_t ids[8], count = 8;
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(bpf_prog_query(fd, BPF_CGROUP_INET_EGRESS, 0, NULL, ids, &count), 0);
	close(fd);
	return count;
}

/* Whether they are closed, and what is wrong is told. */
static bool closes(struct host *host, const char *path, const char *interface)
{
	size_t missing = SIZE_MAX;
	bool closed;

	host->desired.cgroups = (struct classifier_cgroups){.path = path, .interface = interface};
	assert_int_equal(classifier_apply(host->classifier, &host->desired, &missing, &host->problems), STATUS_OK);
	closed = classifier_cgroups_are_closed(host->classifier);
	assert_int_equal(host->problems.count, closed ? 0 : 1);
	problems_clear(&host->problems);
	return closed;
}

static void cgroup_is_closed_once_and_again_by_the_next_posternd(void **state)
{
	struct host *host = *state;
	struct cgroup_tree tree;

	cgroup_tree_open(&tree);
	lab_run("ip address add 10.100.0.2/24 dev w0-peer");
	assert_true(closes(host, tree.path, "w0-peer"));
	assert_true(closes(host, tree.path, "w0-peer"));
	assert_int_equal(egress_programs(tree.path), 1);
	host_reopen(host);
	assert_true(closes(host, tree.path, "w0-peer"));
	assert_int_equal(egress_programs(tree.path), 1);
	cgroup_tree_close(&tree);
}

/* It is the host itself; in a namespace of cgroups it is all that posternd can see, itself included. */
static void top_of_all_cgroups_is_left_alone(void **state)
{
	struct cgroup_tree tree;
	char inner[128];

	cgroup_tree_open(&tree);
	lab_run("ip address add 10.100.0.2/24 dev w0-peer");
	cgroup_tree_make(&tree, "namespace");
	cgroup_tree_enter(&tree, "namespace");
	assert_int_equal(unshare(CLONE_NEWCGROUP), 0);
	assert_int_equal(mkdir(INSIDE, 0755), 0);
	assert_int_equal(mount("none", INSIDE, "cgroup2", 0, NULL), 0);
	assert_false(closes(*state, INSIDE, "w0-peer"));
	assert_int_equal(egress_programs(INSIDE), 0);
	/* What is below is closed, though no worker can open there. */
	assert_false(closes(*state, INSIDE "/workers", "w0-peer"));
	assert_int_equal(egress_programs(INSIDE "/workers"), 1);
	assert_int_equal(snprintf(inner, sizeof(inner), "%s/namespace/workers", tree.path) > 0, 1);
	assert_int_equal(egress_programs(inner), 1);
	cgroup_tree_close(&tree);
}

static void uplink_must_be_ethernet_with_an_address(void **state)
{
	struct cgroup_tree tree;

	cgroup_tree_open(&tree);
	assert_false(closes(*state, tree.path, "w0-peer"));
	assert_false(closes(*state, tree.path, "lo")); /* has one, but is no Ethernet */
	assert_false(closes(*state, tree.path, "nowhere"));
	assert_int_equal(egress_programs(tree.path), 1);
	cgroup_tree_close(&tree);
}

int main(int argc, char *argv[])
{
	const struct CMUnitTest tests[] = {
		HOST_TEST(cgroup_is_closed_once_and_again_by_the_next_posternd),
		HOST_TEST(uplink_must_be_ethernet_with_an_address),
		HOST_TEST(top_of_all_cgroups_is_left_alone), /* the last: there is no way out of the namespace */
	};

	host_start(argc, argv);
	return cmocka_run_group_tests_name("classifier_cgroup", tests, NULL, NULL);
}
