/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The classifier on real interfaces, both ways. The test plays both workers and the gateway by raw sockets:
 *
 *   [w1-peer]──w1┐                       ┌── VXLAN, VNI 7001 or 7002
 *                ├─ classifier ─ vx ─ under──[under-peer] 10.100.0.1, the gateway
 *   [w2-peer]──w2┘      10.100.0.2
 *
 * Both workers are 10.0.0.5, of two VPCs.
 *
 * For the tests of what the classifier lets through. Namespaces of their own; failures end the test.
 */
#ifndef POSTERN_TESTS_BPF_DELIVERY_FIXTURE_H
#define POSTERN_TESTS_BPF_DELIVERY_FIXTURE_H

#include <stdint.h>

#include "bpf/maps.h"
#include "control/classifier.h"
#include "tests/bpf/frame_builder.h"

#define DELIVERY_PIN_DIR "/run/postern/bpf"

enum {
	WORKER_ADDRESS = 0x0a000005,
	REMOTE = 0x5db8d822,
	GATEWAY = 0x0a640001,
	HOST = 0x0a640002,
	STRANGER = 0x0a640009,
	VXLAN_PORT = 4789,
	PROTOCOL_TCP = 6,
	PROTOCOL_UDP = 17,
	OUTER_BYTES = ETHERNET_BYTES + IPV4_BYTES + UDP_BYTES + VXLAN_BYTES,
	WORKER_COUNT = 2,
};

static const uint8_t gateway_mac[6] = WORKER_GATEWAY_MAC;
static const uint32_t vnis[WORKER_COUNT] = {7001, 7002};
static const uint8_t worker_macs[WORKER_COUNT][6] = {{2, 0xaa, 0, 0, 0, 1}, {2, 0xaa, 0, 0, 0, 2}};

struct delivery_fixture {
	struct classifier *classifier;
	struct problems problems;
	int worker_fds[WORKER_COUNT];
	int underlay_fd;
	uint8_t host_mac[6];
};

/* Group set-up and teardown for cmocka. */
int delivery_fixture_open(void **state);
int delivery_fixture_close(void **state);

/* Both workers, admitted, and one gateway. */
void delivery_apply(struct delivery_fixture *fixture);

uint64_t delivery_drops(struct delivery_fixture *fixture, enum worker_drop reason);
void delivery_wait_for_drops(struct delivery_fixture *fixture, enum worker_drop reason, uint64_t count);

/* A whole packet of the worker to port 53 of the remote. */
struct frame delivery_outbound(int worker, uint8_t protocol);
/* A worker's packet arrives at the gateway inside its own VNI. */
void delivery_send_out(struct delivery_fixture *fixture, int worker);

/* A datagram of the remote; the tunnelled frame of such a one; and that sent by a host of the underlay. */
struct frame delivery_reply_inner(uint32_t destination);
struct frame delivery_reply_frame(
	const struct delivery_fixture *fixture, uint32_t sender, uint32_t vni, const struct frame *inner);
void delivery_send_reply(struct delivery_fixture *fixture, uint32_t sender, uint32_t vni, const struct frame *inner);

#endif
