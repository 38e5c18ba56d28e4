/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bpf/delivery_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/bpf/lab.h"

#define DEVICE "vx"

uint64_t delivery_drops(struct delivery_fixture *fixture, enum worker_drop reason)
{
	struct classifier_counters counters;

	assert_int_equal(classifier_read(fixture->classifier, &counters), STATUS_OK);
	return counters.drops[reason];
}

void delivery_wait_for_drops(struct delivery_fixture *fixture, enum worker_drop reason, uint64_t count)
{
	const struct timespec pause = {.tv_nsec = 1000 * 1000};

	for (int i = 0; i < LAB_DEADLINE_MS && delivery_drops(fixture, reason) < count; i++)
		nanosleep(&pause, NULL);
	assert_int_equal(delivery_drops(fixture, reason), count);
}

void delivery_apply(struct delivery_fixture *fixture)
{
	const uint32_t gateways[] = {GATEWAY};
	struct classifier_worker workers[WORKER_COUNT] = {{{0}}};
	struct classifier_workspace workspaces[WORKER_COUNT];
	struct classifier_desired desired = {
		.workspaces = workspaces,
		.workspace_count = WORKER_COUNT,
		.workers = workers,
		.worker_count = WORKER_COUNT,
		.gateways = gateways,
		.gateway_count = 1,
		.vtep = HOST,
		.vxlan_device = DEVICE,
	};
	enum status status;
	size_t missing = 1;

	for (int i = 0; i < WORKER_COUNT; i++) {
		snprintf(workers[i].interface, sizeof(workers[i].interface), "w%d", i + 1);
		workers[i].address = WORKER_ADDRESS;
		workers[i].vni = vnis[i];
		workspaces[i] = (struct classifier_workspace){.index = (uint32_t)i, .gateway = GATEWAY};
		workers[i].workspace_index = (uint32_t)i;
		workers[i].admitted = true;
	}
	status = classifier_apply(fixture->classifier, &desired, &missing, &fixture->problems);
	for (size_t i = 0; i < fixture->problems.count; i++)
		printf("# %s\n", fixture->problems.lines[i]);
	assert_int_equal(status, STATUS_OK);
	assert_int_equal(missing, 0);
}

int delivery_fixture_open(void **state)
{
	struct delivery_fixture *fixture = calloc(1, sizeof(*fixture));

	lab_enter();
	lab_veth("w1", "w1-peer");
	lab_veth("w2", "w2-peer");
	lab_veth("under", "under-peer");
	lab_run("ip addr add 10.100.0.2/24 dev under");
	lab_run("ip neigh add 10.100.0.1 lladdr 02:bb:00:00:00:01 dev under");
	lab_run("ip neigh add 10.100.0.9 lladdr 02:bb:00:00:00:09 dev under");
	lab_mac("under", fixture->host_mac);
	fixture->worker_fds[0] = lab_socket("w1-peer");
	fixture->worker_fds[1] = lab_socket("w2-peer");
	fixture->underlay_fd = lab_socket("under-peer");
	assert_int_equal(classifier_open(DELIVERY_PIN_DIR, &fixture->classifier, &fixture->problems), STATUS_OK);
	delivery_apply(fixture);
	*state = fixture;
	return 0;
}

int delivery_fixture_close(void **state)
{
	struct delivery_fixture *fixture = *state;

	if (!fixture)
		return 0; /* the set-up failed; the namespaces end with the process */
	classifier_close(fixture->classifier);
	assert_int_equal(classifier_detach_all(DELIVERY_PIN_DIR, DEVICE, &fixture->problems), STATUS_OK);
	for (int i = 0; i < WORKER_COUNT; i++)
		close(fixture->worker_fds[i]);
	close(fixture->underlay_fd);
	problems_clear(&fixture->problems);
	free(fixture);
	return 0;
}

struct frame delivery_outbound(int worker, uint8_t protocol)
{
	return frame_of_ipv4(&(struct frame_ipv4){
		.source_mac = worker_macs[worker],
		.source = WORKER_ADDRESS,
		.destination = REMOTE,
		.protocol = protocol,
		.source_port = 40000,
		.destination_port = 53,
		.payload_bytes = 100,
	});
}

void delivery_send_out(struct delivery_fixture *fixture, int worker)
{
	struct frame sent = delivery_outbound(worker, PROTOCOL_UDP), received;
	const uint8_t *outer = received.bytes + ETHERNET_BYTES, *udp = outer + IPV4_BYTES, *vxlan = udp + UDP_BYTES;
	uint8_t expected[4];

	lab_send(fixture->worker_fds[worker], &sent);
	assert_true(lab_receive(fixture->underlay_fd, &received));
	assert_int_equal(received.length_bytes, OUTER_BYTES + sent.length_bytes);
	assert_int_equal(outer[8], 64);
	frame_put32(expected, HOST);
	assert_memory_equal(outer + 12, expected, 4);
	frame_put32(expected, GATEWAY);
	assert_memory_equal(outer + 16, expected, 4);
	assert_int_equal(frame_get16(udp + 2), VXLAN_PORT);
	assert_int_equal(frame_get16(udp + 6), 0);
	frame_put32(expected, vnis[worker] << 8);
	assert_memory_equal(vxlan + 4, expected, 4);
	assert_memory_equal(vxlan + VXLAN_BYTES, gateway_mac, 6);
	assert_memory_equal(vxlan + VXLAN_BYTES + 6, sent.bytes + 6, sent.length_bytes - 6);
}

struct frame delivery_reply_inner(uint32_t destination)
{
	struct frame inner;

	frame_build_ipv4(&inner, &(struct frame_ipv4){
					 .source = REMOTE,
					 .destination = destination,
					 .protocol = PROTOCOL_UDP,
					 .source_port = 53,
					 .destination_port = 40000,
					 .payload_bytes = 80,
				 });
	return inner;
}

struct frame delivery_reply_frame(
	const struct delivery_fixture *fixture, uint32_t sender, uint32_t vni, const struct frame *inner)
{
	struct frame frame;

	frame_build_vxlan(&frame,
		&(struct frame_ipv4){
			.destination_mac = fixture->host_mac,
			.source = sender,
			.destination = HOST,
			.source_port = 50000,
			.destination_port = VXLAN_PORT,
		},
		vni, inner);
	return frame;
}

void delivery_send_reply(struct delivery_fixture *fixture, uint32_t sender, uint32_t vni, const struct frame *inner)
{
	struct frame frame = delivery_reply_frame(fixture, sender, vni, inner);

	lab_send(fixture->underlay_fd, &frame);
}
