/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bpf/cgroup_fixture.h"

#include <arpa/inet.h>
#include <linux/pkt_cls.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/socket.h>

#include <cmocka.h>

#include <bpf/bpf.h>

#include "tests/bpf/lab.h"

void cgroup_worker_put(const struct cgroup_fixture *fixture, uint64_t cgroup_id, uint32_t key, uint32_t vni)
{
	const struct worker_value value = {
		.address_be = htonl(WORKER_ADDRESS),
		.vtep_be = htonl(HOST_VTEP),
		.vni = vni,
		.workspace_index = WORKSPACE,
		.epoch = 1,
		.cgroup_id = cgroup_id,
	};

	assert_int_equal(bpf_map_update_elem(bpf_map__fd(fixture->base->bpf->maps.workers), &key, &value, BPF_ANY), 0);
}

struct worker_value cgroup_worker_get(const struct cgroup_fixture *fixture)
{
	uint32_t key = CGROUP_KEY(fixture->worker_id);
	struct worker_value value;

	assert_int_equal(bpf_map_lookup_elem(bpf_map__fd(fixture->base->bpf->maps.workers), &key, &value), 0);
	return value;
}

int cgroup_fixture_open(void **state)
{
	struct cgroup_fixture *fixture = calloc(1, sizeof(*fixture));
	void *base;

	assert_non_null(fixture);
	assert_int_equal(worker_fixture_open(&base), 0);
	fixture->base = base;
	cgroup_tree_open(&fixture->tree);
	fixture->worker_id = cgroup_tree_make(&fixture->tree, "worker");
	(void)cgroup_tree_make(&fixture->tree, "worker/inner");
	fixture->other_id = cgroup_tree_make(&fixture->tree, "other");
	(void)cgroup_tree_make(&fixture->tree, "nobody");
	lab_run("ip address add 10.100.0.2/24 dev stranger && ip route add default via 10.100.0.1 dev stranger");
	fixture->config = (struct worker_config){
		.vxlan_ifindex = fixture->base->vxlan_ifindex,
		.vtep_be = htonl(HOST_VTEP),
		.mtu_bytes = MTU,
		.uplink_ifindex = fixture->base->stranger_ifindex,
		.uplink_address_be = htonl(HOST_VTEP),
		.cgroup_level = 1,
		.cgroup_id = cgroup_tree_id(fixture->tree.path),
	};
	lab_mac("stranger", fixture->config.uplink_mac);
	*state = fixture;
	return 0;
}

int cgroup_fixture_close(void **state)
{
	struct cgroup_fixture *fixture = *state;
	void *base;

	if (!fixture)
		return 0; /* the set-up failed */
	base = fixture->base;
	cgroup_tree_close(&fixture->tree);
	worker_fixture_close(&base);
	free(fixture);
	return 0;
}

int cgroup_reset(void **state)
{
	const struct cgroup_fixture *fixture = *state;
	void *base = fixture->base;

	cgroup_tree_enter(&fixture->tree, "");
	worker_reset(&base);
	worker_config_set(fixture->base, &fixture->config);
	cgroup_worker_put(fixture, fixture->worker_id, CGROUP_KEY(fixture->worker_id), VNI);
	cgroup_worker_put(fixture, fixture->other_id, CGROUP_KEY(fixture->other_id), OTHER_VNI);
	return 0;
}

struct frame cgroup_outbound_to(uint32_t destination, uint8_t protocol)
{
	return frame_of_ipv4(&(struct frame_ipv4){
		.source = HOST_VTEP,
		.destination = destination,
		.protocol = protocol,
		.source_port = LOCAL_PORT,
		.destination_port = REMOTE_PORT,
		.payload_bytes = WORKER_PAYLOAD_BYTES,
	});
}

struct frame cgroup_reply(void)
{
	return frame_of_ipv4(&(struct frame_ipv4){
		.source_mac = gateway_mac,
		.source = REMOTE_ADDRESS,
		.destination = WORKER_ADDRESS,
		.protocol = PROTOCOL_UDP,
		.source_port = REMOTE_PORT,
		.destination_port = LOCAL_PORT,
		.payload_bytes = WORKER_PAYLOAD_BYTES,
	});
}

int cgroup_socket_bound(uint32_t address)
{
	const struct sockaddr_in local = {
		.sin_family = AF_INET, .sin_port = htons(LOCAL_PORT), .sin_addr.s_addr = htonl(address)};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (const struct sockaddr *)&local, sizeof(local)), 0);
	return fd;
}

struct worker_run cgroup_run_out(const struct cgroup_fixture *fixture, const struct frame *frame, uint32_t mark)
{
	const struct __sk_buff context = {.ifindex = fixture->base->stranger_ifindex, .mark = mark};

	return worker_run_program(fixture->base->bpf->progs.uplink_egress, frame, &context);
}

void assert_uplink_dropped(const struct cgroup_fixture *fixture, const struct frame *frame, enum worker_drop reason)
{
	uint64_t before = worker_drops(fixture->base, reason), all_before = worker_all_drops(fixture->base);

	assert_int_equal(cgroup_run_out(fixture, frame, WORKER_SOCKET_MARK).action, TC_ACT_SHOT);
	assert_int_equal(worker_drops(fixture->base, reason), before + 1);
	assert_int_equal(worker_all_drops(fixture->base), all_before + 1);
}
