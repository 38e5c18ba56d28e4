/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Workers that are cgroups, with the programs of bpf/worker_cgroup.h. A test run's packet belongs to the cgroup of who runs
 * it, so that a test goes into the cgroup whose packet it wants to send; replies find real sockets.
 *
 *   tree ─┬─ worker ── inner     10.0.0.5 in the VPC, 10.100.0.2 on the host
 *         ├─ other               another worker of the same address, in another VPC
 *         └─ nobody
 *
 * The uplink is the interface "stranger". Failures end the test.
 */
#ifndef POSTERN_TESTS_BPF_CGROUP_FIXTURE_H
#define POSTERN_TESTS_BPF_CGROUP_FIXTURE_H

#include <stdint.h>

#include "tests/bpf/cgroup_tree.h"
#include "tests/bpf/worker_fixture.h"

enum {
	REMOTE_PORT = 53,
	LOCAL_PORT = 40000,
	MTU = 1450,
	OTHER_VNI = 7002,
};

struct cgroup_fixture {
	struct worker_fixture *base;
	struct cgroup_tree tree;
	uint64_t worker_id, other_id;
	struct worker_config config;
};

/* Group set-up and teardown for cmocka, and the set-up of a test: both workers open, and this process in no cgroup. */
int cgroup_fixture_open(void **state);
int cgroup_fixture_close(void **state);
int cgroup_reset(void **state);

void cgroup_worker_put(const struct cgroup_fixture *fixture, uint64_t cgroup_id, uint32_t key, uint32_t vni);
/* The one of "worker". */
struct worker_value cgroup_worker_get(const struct cgroup_fixture *fixture);

/* As the host's stack sends it; and an answer as it comes out of the tunnel. */
struct frame cgroup_outbound_to(uint32_t destination, uint8_t protocol);
struct frame cgroup_reply(void);

/* A UDP socket at the port that replies are for. */
int cgroup_socket_bound(uint32_t address);

/* uplink_egress. */
struct worker_run cgroup_run_out(const struct cgroup_fixture *fixture, const struct frame *frame, uint32_t mark);
/* It drops a worker's frame for this reason, and counts it once. */
void assert_uplink_dropped(const struct cgroup_fixture *fixture, const struct frame *frame, enum worker_drop reason);

#endif
