/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bpf/host.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include "tests/bpf/frame_builder.h"

const uint8_t host_worker_mac[6] = {2, 0xaa, 0, 0, 0, 1};

void host_start(int argc, char *argv[])
{
	cmocka_set_message_output(CM_OUTPUT_TAP);
	lab_require_root();
	if (argc == 2 && strcmp(argv[1], "--without-tcx") == 0)
		lab_forbid_tcx();
}

bool host_has_tcx(void)
{
	uint32_t count = 0;

	return bpf_prog_query(
		       (int)if_nametoindex("lo"), (enum bpf_attach_type)HOST_TCX_INGRESS, 0, NULL, NULL, &count) == 0;
}

void host_enter(struct host *host)
{
	assert_int_equal(classifier_open(HOST_PIN_DIR, &host->classifier, &host->problems), STATUS_OK);
}

void host_leave(struct host *host)
{
	classifier_close(host->classifier);
	host->classifier = NULL;
}
int host_open(void **state)
{
	struct host *host = calloc(1, sizeof(*host));

	*state = host;
	lab_enter();
	/* Made from the last to the first, so that the interfaces' order is not the workers'. */
	for (int i = HOST_WORKER_COUNT - 1; i >= 0; i--) {
		char peer[2 * IF_NAMESIZE];

		snprintf(host->workers[i].interface, IF_NAMESIZE, "w%d", i);
		snprintf(peer, sizeof(peer), "w%d-peer", i);
		lab_veth(host->workers[i].interface, peer);
		host->workers[i].address = HOST_WORKER_ADDRESS;
		host->workers[i].vni = 7001 + (uint32_t)i;
		host->workspaces[i] = (struct classifier_workspace){.index = (uint32_t)i, .gateway = HOST_GATEWAY};
		host->workers[i].workspace_index = (uint32_t)i;
		host->workers[i].admitted = true;
	}
	host->gateways[0] = HOST_GATEWAY;
	host->gateways[1] = HOST_GATEWAY + 10;
	host->desired = (struct classifier_desired){
		.workspaces = host->workspaces,
		.workspace_count = HOST_WORKER_COUNT,
		.workers = host->workers,
		.worker_count = HOST_WORKER_COUNT,
		.gateways = host->gateways,
		.gateway_count = 1,
		.vtep = HOST_VTEP,
		.vxlan_device = HOST_DEVICE,
	};
	host_enter(host);
	return 0;
}

int host_close(void **state)
{
	struct host *host = *state;

	classifier_close(host->classifier);
	problems_clear(&host->problems);
	free(host);
	return 0;
}

void host_apply(struct host *host, size_t expected_missing)
{
	size_t missing = SIZE_MAX;
	enum status status = classifier_apply(host->classifier, &host->desired, &missing, &host->problems);

	for (size_t i = 0; i < host->problems.count; i++)
		printf("# %s\n", host->problems.lines[i]);
	assert_int_equal(status, STATUS_OK);
	assert_int_equal(missing, expected_missing);
	assert_int_equal(host->problems.count, 0);
	problems_clear(&host->problems);
}

void host_reopen(struct host *host)
{
	host_leave(host);
	host_enter(host);
}

int host_pinned(const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", HOST_PIN_DIR, name);
	return bpf_obj_get(path);
}

uint32_t host_pinned_map_id(const char *name)
{
	struct bpf_map_info info = {0};
	uint32_t size_bytes = sizeof(info);
	int fd = host_pinned(name);

	assert_true(fd >= 0);
	assert_int_equal(bpf_obj_get_info_by_fd(fd, &info, &size_bytes), 0);
	close(fd);
	return info.id;
}

uint32_t host_pinned_program_id(const char *name)
{
	struct bpf_prog_info info = {0};
	uint32_t size_bytes = sizeof(info);
	int fd = host_pinned(name);

	assert_true(fd >= 0);
	assert_int_equal(bpf_obj_get_info_by_fd(fd, &info, &size_bytes), 0);
	close(fd);
	return info.id;
}

size_t host_entry_count(const char *name)
{
	char key[8], next[8];
	void *previous = NULL;
	size_t count = 0;
	int fd = host_pinned(name);

	assert_true(fd >= 0);
	for (; bpf_map_get_next_key(fd, previous, next) == 0; count++) {
		memcpy(key, next, sizeof(key));
		previous = key;
	}
	close(fd);
	return count;
}

bool host_lookup(const char *map, const void *key, void *ret_value)
{
	int fd = host_pinned(map);
	bool found;

	assert_true(fd >= 0);
	found = bpf_map_lookup_elem(fd, key, ret_value) == 0;
	close(fd);
	return found;
}

bool host_worker_entry(uint32_t ifindex, struct worker_value *ret_value)
{
	return host_lookup("workers", &ifindex, ret_value);
}

/* The program on the hook at our place, the first; 0: none. */
uint32_t host_attached(const char *interface, enum bpf_tc_attach_point point)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)if_nametoindex(interface), .attach_point = point);
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = 0x5053, .priority = 1);
	uint32_t ids[8], count = 8;

	if (host_has_tcx()) {
		assert_int_equal(
			bpf_prog_query(hook.ifindex,
				(enum bpf_attach_type)(point == BPF_TC_INGRESS ? HOST_TCX_INGRESS : HOST_TCX_EGRESS), 0,
				NULL, ids, &count),
			0);
		return count != 0 ? ids[0] : 0;
	}
	return bpf_tc_query(&hook, &opts) == 0 ? opts.prog_id : 0;
}

void host_assert_claimed(const char *interface)
{
	assert_true(host_attached(interface, BPF_TC_INGRESS) != 0);
	assert_true(host_attached(interface, BPF_TC_EGRESS) != 0);
}

void host_assert_open(const struct host *host, int index)
{
	const struct classifier_worker *worker = &host->workers[index];
	struct delivery_key key = {.vni = worker->vni, .address_be = htonl(worker->address)};
	uint32_t ifindex = if_nametoindex(worker->interface);
	struct workspace_value workspace;
	struct delivery_value delivery;
	struct worker_value value;

	host_assert_claimed(worker->interface);
	assert_true(host_worker_entry(ifindex, &value));
	assert_int_equal(value.address_be, htonl(worker->address));
	assert_int_equal(value.vtep_be, htonl(HOST_VTEP));
	assert_true(host_lookup("workspaces", &worker->workspace_index, &workspace));
	assert_int_equal(workspace.gateway_be, htonl(host->workspaces[worker->workspace_index].gateway));
	assert_int_equal(value.vni, worker->vni);
	assert_int_equal(value.workspace_index, worker->workspace_index);
	assert_int_equal(value.mac_pinned, worker->mac_pinned);
	assert_true(host_lookup("deliveries", &key, &delivery));
	assert_int_equal(delivery.ifindex, ifindex);
	assert_int_equal(delivery.workspace_index, worker->workspace_index);
}

/* The interface's own programs are there, no entry opens it, and what it sends is counted as unknown and dropped. */
void host_assert_closed(struct host *host, int index)
{
	const struct classifier_worker *worker = &host->workers[index];
	struct delivery_key key = {.vni = worker->vni, .address_be = htonl(worker->address)};
	const struct frame_ipv4 spec = {.source_mac = host_worker_mac,
		.destination_mac = host_worker_mac,
		.source = worker->address,
		.destination = 0xc6336401,
		.protocol = 17,
		.source_port = 1234,
		.destination_port = 53};
	struct classifier_counters before, after;
	struct delivery_value delivery;
	struct worker_value value;
	struct frame frame;
	char peer[IF_NAMESIZE + 8];
	int fd;

	host_assert_claimed(worker->interface);
	assert_int_equal(host_attached(worker->interface, BPF_TC_INGRESS), host_pinned_program_id("worker_ingress"));
	assert_int_equal(host_attached(worker->interface, BPF_TC_EGRESS), host_pinned_program_id("worker_egress"));
	assert_false(host_worker_entry(if_nametoindex(worker->interface), &value));
	assert_false(host_lookup("deliveries", &key, &delivery));
	snprintf(peer, sizeof(peer), "%s-peer", worker->interface);
	frame_build_ipv4(&frame, &spec);
	fd = lab_socket(peer);
	assert_int_equal(classifier_read(host->classifier, &before), STATUS_OK);
	lab_send(fd, &frame);
	close(fd);
	/* A veth hands over within the call of the sender, or soon after. */
	for (int i = 0; i < LAB_DEADLINE_MS; i++) {
		assert_int_equal(classifier_read(host->classifier, &after), STATUS_OK);
		if (after.drops[WORKER_DROP_UNKNOWN_INTERFACE] != before.drops[WORKER_DROP_UNKNOWN_INTERFACE])
			return;
		usleep(1000);
	}
	fail_msg("%s: nothing was dropped", worker->interface);
}

void host_assert_refused(struct host *host, enum status expected)
{
	size_t missing = 77;

	assert_int_equal(classifier_apply(host->classifier, &host->desired, &missing, &host->problems), expected);
	assert_int_equal(missing, 77);
	assert_true(host->problems.count > 0);
	problems_clear(&host->problems);
}

void host_learn_mac(const char *interface)
{
	uint32_t ifindex = if_nametoindex(interface);
	struct worker_value value;
	int fd = host_pinned("workers");

	assert_int_equal(bpf_map_lookup_elem(fd, &ifindex, &value), 0);
	memcpy(value.mac, host_worker_mac, 6);
	assert_int_equal(bpf_map_update_elem(fd, &ifindex, &value, BPF_EXIST), 0);
	close(fd);
}

void host_assert_mac(const char *interface, const uint8_t mac[6])
{
	struct worker_value value;

	assert_true(host_worker_entry(if_nametoindex(interface), &value));
	assert_memory_equal(value.mac, mac, 6);
}
