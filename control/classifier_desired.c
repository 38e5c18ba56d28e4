/* SPDX-License-Identifier: Apache-2.0 */
#include "control/classifier_desired.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "control/classifier_link.h"

enum { DHCP_DNS_OPTION = 6 /* RFC 2132 */, VNI_MAX = (1 << 24) - 1 };

void classifier_desired_check_workspaces(
	const struct classifier_workspace *workspaces, size_t workspace_count, struct problems *problems)
{
	for (size_t i = 0; i < workspace_count; i++)
		if (workspaces[i].index >= BPF_WORKSPACE_COUNT_MAX)
			problems_add(problems, "workspace index: %u: must be below %d", workspaces[i].index,
				BPF_WORKSPACE_COUNT_MAX);
}

bool classifier_desired_is_valid(const struct classifier_desired *desired, struct problems *problems)
{
	size_t before = problems->count + problems->dropped_count;

	if (desired->worker_count > BPF_WORKER_COUNT_MAX)
		problems_add(problems, "worker_host: %zu workers; must be at most %d", desired->worker_count,
			BPF_WORKER_COUNT_MAX);
	if (desired->gateway_count > BPF_GATEWAY_COUNT_MAX)
		problems_add(problems, "worker_host: %zu gateways; must be at most %d", desired->gateway_count,
			BPF_GATEWAY_COUNT_MAX);
	if (desired->dhcp.dns_count > WORKER_DNS_COUNT_MAX)
		problems_add(problems, "worker_host: dns: %zu addresses; must be at most %d", desired->dhcp.dns_count,
			WORKER_DNS_COUNT_MAX);
	if (desired->vtep == 0 && desired->worker_count > 0)
		problems_add(problems, "worker_host: vtep: missing; name this host's VXLAN endpoint");
	classifier_desired_check_workspaces(desired->workspaces, desired->workspace_count, problems);
	for (size_t i = 0; i < desired->worker_count; i++) {
		const struct classifier_worker *worker = &desired->workers[i];

		if (worker->vni == 0 || worker->vni > VNI_MAX)
			problems_add(problems, "%s: vni: %u: must be 1..%d", worker->interface, worker->vni, VNI_MAX);
		if (worker->workspace_index >= BPF_WORKSPACE_COUNT_MAX)
			problems_add(problems, "%s: workspace index: %u: must be below %d", worker->interface,
				worker->workspace_index, BPF_WORKSPACE_COUNT_MAX);
		if (worker->address == 0)
			problems_add(problems, "%s: the worker needs an address", worker->interface);
		if (worker->cgroup_id != 0 && !desired->cgroups.path)
			problems_add(
				problems, "%s: a worker that is a cgroup needs worker_host.cgroups", worker->interface);
		if (!desired->vxlan_device)
			problems_add(problems, "%s: workers need a VXLAN device", worker->interface);
		else if (strcmp(worker->interface, desired->vxlan_device) == 0)
			problems_add(problems, "%s: is the VXLAN device, and cannot be a worker's interface",
				worker->interface);
	}
	return problems->count + problems->dropped_count == before;
}

struct worker_value classifier_desired_value(const struct classifier_worker *worker, uint32_t vtep)
{
	struct worker_value value = {
		.address_be = htonl(worker->address),
		.vtep_be = htonl(vtep),
		.vni = worker->vni,
		.mac_pinned = worker->mac_pinned,
		.workspace_index = worker->workspace_index,
		.epoch = 1,
		.cgroup_id = worker->cgroup_id,
	};

	if (worker->mac_pinned)
		memcpy(value.mac, worker->mac, sizeof(value.mac));
	return value;
}

static bool wanted_has_duplicates(const struct classifier_wanted *wanted, struct problems *problems)
{
	bool found = false;

	for (size_t i = 1; i < wanted->worker_count; i++)
		if (wanted->workers[i].ifindex == wanted->workers[i - 1].ifindex) {
			problems_add(problems, "interface index %u is given to two workers; give each its own",
				wanted->workers[i].ifindex);
			found = true;
		}
	for (size_t i = 1; i < wanted->delivery_count; i++) {
		const struct delivery_key *key = &wanted->deliveries[i].key, *other = &wanted->deliveries[i - 1].key;

		if (key->vni == other->vni && key->address_be == other->address_be) {
			uint32_t address = ntohl(key->address_be);

			problems_add(problems, "vni %u: address %u.%u.%u.%u is given to two workers; give each its own",
				key->vni, address >> 24, address >> 16 & 0xff, address >> 8 & 0xff, address & 0xff);
			found = true;
		}
	}
	return found;
}

void classifier_wanted_free(struct classifier_wanted *wanted)
{
	free(wanted->workers);
	free(wanted->deliveries);
	free((void *)wanted->gateways_be);
}

static void config_fill(struct worker_config *config, const struct classifier_desired *desired)
{
	size_t count = desired->dhcp.dns_count;

	config->mtu_bytes = desired->mtu_bytes;
	config->dhcp_lease_s = desired->dhcp.lease_s;
	if (count == 0)
		return;
	config->dns_option[0] = DHCP_DNS_OPTION;
	config->dns_option[1] = (uint8_t)(count * sizeof(__be32));
	for (size_t i = 0; i < count; i++) {
		__be32 address_be = htonl(desired->dhcp.dns[i]);

		memcpy(config->dns_option + 2 + i * sizeof(address_be), &address_be, sizeof(address_be));
	}
}

enum status classifier_desired_resolve(const struct classifier_desired *desired, struct classifier_wanted *ret_wanted,
	size_t *ret_missing, struct problems *problems)
{
	struct classifier_wanted wanted = {
		.workers = calloc(desired->worker_count + 1, sizeof(*wanted.workers)),
		.deliveries = calloc(desired->worker_count + 1, sizeof(*wanted.deliveries)),
		.gateway_count = desired->gateway_count,
		.config = {.vtep_be = htonl(desired->vtep)},
	};
	__be32 *gateways_be = calloc(desired->gateway_count + 1, sizeof(*gateways_be));
	size_t missing = 0;

	wanted.gateways_be = gateways_be;
	if (!wanted.workers || !wanted.deliveries || !gateways_be) {
		classifier_wanted_free(&wanted);
		return STATUS_NO_MEMORY;
	}
	config_fill(&wanted.config, desired);
	for (size_t i = 0; i < desired->gateway_count; i++)
		gateways_be[i] = htonl(desired->gateways[i]);
	for (size_t i = 0; i < desired->worker_count; i++) {
		const struct classifier_worker *worker = &desired->workers[i];
		uint32_t ifindex = worker->cgroup_id != 0 ? CGROUP_KEY(worker->cgroup_id)
							  : classifier_link_index(worker->interface);

		if (ifindex == 0) {
			missing++;
			continue;
		}
		wanted.workers[wanted.worker_count++] = (struct wanted_worker){
			.ifindex = ifindex,
			.open = worker->admitted,
			.claimed = true,
			.value = classifier_desired_value(worker, desired->vtep),
		};
	}
	classifier_maps_index(&wanted);
	if (wanted_has_duplicates(&wanted, problems)) {
		classifier_wanted_free(&wanted);
		return STATUS_INVALID;
	}
	*ret_wanted = wanted;
	*ret_missing = missing;
	return STATUS_OK;
}
