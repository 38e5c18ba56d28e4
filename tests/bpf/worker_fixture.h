/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One worker on one interface, with the programs of bpf/worker.bpf.c loaded and run packet by packet in the kernel's
 * test run. Shared by the tests of worker_ingress and worker_egress. Failures end the test.
 */
#ifndef POSTERN_TESTS_BPF_WORKER_FIXTURE_H
#define POSTERN_TESTS_BPF_WORKER_FIXTURE_H

#include <stdint.h>

#include <bpf/libbpf.h>

#include "bpf/maps.h"
#include "bpf/worker.skel.h"
#include "tests/bpf/frame_builder.h"

enum {
	WORKER_ADDRESS = 0x0a000005, /* 10.0.0.5 */
	REMOTE_ADDRESS = 0x5db8d822, /* 93.184.216.34 */
	GATEWAY_VTEP = 0x0a640001,   /* 10.100.0.1 */
	HOST_VTEP = 0x0a640002,
	WORKSPACE = 7,
	VNI = 7001,
	WORKER_PAYLOAD_BYTES = 32,
	PROTOCOL_ICMP = 1,
	PROTOCOL_TCP = 6,
	PROTOCOL_UDP = 17,
};

static const uint8_t worker_mac[6] = {0x02, 0xaa, 0, 0, 0, 0x05};
static const uint8_t other_mac[6] = {0x02, 0xaa, 0, 0, 0, 0x66};
static const uint8_t gateway_mac[6] = WORKER_GATEWAY_MAC;

struct worker_fixture {
	struct worker_bpf *bpf;
	uint32_t worker_ifindex, stranger_ifindex, vxlan_ifindex;
};

struct worker_run {
	int action;
	struct frame out;
	uint32_t mark;
};

/* Group set-up and teardown for cmocka. */
int worker_fixture_open(void **state);
int worker_fixture_close(void **state);

/* Test set-up: the worker's entry as after its admission, nothing learned yet. */
int worker_reset(void **state);

void worker_set(const struct worker_fixture *fixture, const struct worker_value *value);
struct worker_value worker_get(const struct worker_fixture *fixture);
void workspace_set(const struct worker_fixture *fixture, const struct workspace_value *value);
void worker_config_set(const struct worker_fixture *fixture, const struct worker_config *config);

uint64_t worker_drops(const struct worker_fixture *fixture, uint32_t reason);
uint64_t worker_all_drops(const struct worker_fixture *fixture);
struct workspace_traffic worker_traffic(const struct worker_fixture *fixture);

/* Each sample of a drop that is consumed goes to `ret_sample`; one in so many ns at most, 0: none. */
struct ring_buffer *worker_samples_open(const struct worker_fixture *fixture, struct drop_sample *ret_sample);
void worker_samples_watch(const struct worker_fixture *fixture, uint64_t interval_ns);

/* A whole packet of the worker to the remote; UDP goes to port 53. */
struct frame worker_frame(uint8_t protocol);

struct worker_run worker_run_program(
	const struct bpf_program *program, const struct frame *frame, const struct __sk_buff *context);

/* worker_ingress on the worker's interface. */
struct worker_run worker_run(const struct worker_fixture *fixture, const struct frame *frame);

/* The frame is dropped for this reason, counted once there, once for the workspace, and nowhere else. */
void assert_worker_dropped(const struct worker_fixture *fixture, const struct frame *frame, enum worker_drop reason);

/* The frame is encapsulated and counted; only its destination MAC has changed. */
void assert_worker_sent(const struct worker_fixture *fixture, const struct frame *frame);

#define worker_unit_test(name) cmocka_unit_test_setup(name, worker_reset)

#endif
