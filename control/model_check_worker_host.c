/* SPDX-License-Identifier: Apache-2.0 */
/* Rules across the values of `worker_host`. */
#include <string.h>

#include "bpf/maps.h"
#include "control/cgroup_path.h"
#include "control/model_checker.h"
#include "control/special.h"

static void check_host(struct checker *checker, const uint32_t *address)
{
	const struct yaml_node *node = model_draft_value(checker->draft, address);
	const char *special = node ? special_name(*address, 32, false) : NULL;

	if (special)
		REFUSE(checker, node, "is %s: must be the address of a host", special);
}

/* The VPC that the worker names, into the worker. False: there is none, or one of the names was refused. */
static bool find_vpc(struct checker *checker, struct model_worker *worker)
{
	const struct yaml_node *workspace_node = model_draft_value(checker->draft, worker->workspace);
	const struct yaml_node *vpc_node = model_draft_value(checker->draft, worker->vpc);
	struct vpc_key key = {0};
	uint64_t workspace_index, vpc_index;

	if (!workspace_node)
		return false;
	if (!index_find(&checker->workspaces, worker->workspace, strlen(worker->workspace), &workspace_index)) {
		REFUSE(checker, workspace_node, "there is no such workspace: must be the id of one in workspaces");
		return false;
	}
	if (!vpc_node)
		return false;
	key.workspace_index = (uint32_t)workspace_index;
	memcpy(key.id, worker->vpc, sizeof(key.id));
	if (!index_find(&checker->vpcs, &key, sizeof(key), &vpc_index)) {
		REFUSE(checker, vpc_node, "workspace %s has no such VPC: must be the id of one of its vpcs",
			worker->workspace);
		return false;
	}
	worker->workspace_index = workspace_index;
	worker->vpc_index = vpc_index;
	return true;
}

static void check_mac(struct checker *checker, const struct model_worker *worker)
{
	static const uint8_t gateway_mac[] = WORKER_GATEWAY_MAC;
	const struct yaml_node *node = model_draft_value(checker->draft, worker->mac);

	if (node && memcmp(worker->mac, gateway_mac, sizeof(gateway_mac)) == 0)
		REFUSE(checker, node, "is the MAC of the workers' own gateway: must be the worker's");
}

static void check_cgroup(struct checker *checker, const struct model_worker *worker)
{
	const struct yaml_node *interface = checker_text_node(checker, worker->interface);
	const struct yaml_node *node = checker_text_node(checker, worker->cgroup);
	const struct yaml_node *record = model_draft_record(checker->draft, worker);
	const char *why;

	if (!interface && !node) {
		/* One that was refused has been told of. */
		if (record && !yaml_node_child(record, "interface") && !yaml_node_child(record, "cgroup"))
			REFUSE(checker, record, "has neither interface nor cgroup: name the one that is the worker's");
		return;
	}
	if (!node)
		return;
	if (interface)
		REFUSE(checker, node, "stands beside interface: a worker is either");
	if (worker->mac_present && model_draft_value(checker->draft, worker->mac))
		REFUSE(checker, node, "stands beside mac: a cgroup has none");
	why = cgroup_path_check(&checker->model->worker_host.cgroups, worker->cgroup);
	if (why)
		REFUSE(checker, node, "%s", why);
	checker_take_unique(
		checker, &checker->interfaces, worker->cgroup, strlen(worker->cgroup), node, "a cgroup is one worker");
}

static void check_worker(struct checker *checker, struct model_worker *worker)
{
	const struct yaml_node *node = model_draft_value(checker->draft, &worker->address);
	struct worker_key key;

	checker_take_interface(checker, worker->interface, NULL);
	check_cgroup(checker, worker);
	check_mac(checker, worker);
	if (!find_vpc(checker, worker) || !node)
		return;
	key = (struct worker_key){.workspace_index = (uint32_t)worker->workspace_index,
		.vpc_index = (uint32_t)worker->vpc_index,
		.address = worker->address};
	checker_take_unique(
		checker, &checker->workers, &key, sizeof(key), node, "an address belongs to one worker of a VPC");
	if (!checker_may_be_inside(checker,
		    &checker->model->workspaces[worker->workspace_index].vpcs[worker->vpc_index], worker->address))
		REFUSE(checker, node, "is outside of VPC %s: must be inside one of its cidrs", worker->vpc);
}

static bool gateway_is_listed(const struct model_worker_host *host, uint32_t vtep)
{
	for (size_t i = 0; i < host->gateway_count; i++) {
		if (host->gateways[i] == vtep)
			return true;
	}
	return false;
}

static void check_admission(struct checker *checker, const struct model_worker_host *host)
{
	const struct model_admission *admission = &host->admission;
	struct hash_index vteps = {0};
	bool https = false;

	if (!admission->present)
		return;
	for (size_t i = 0; i < admission->gateway_count; i++) {
		const struct model_admission_gateway *gateway = &admission->gateways[i];
		const struct yaml_node *node = model_draft_value(checker->draft, &gateway->vtep);

		https = https || strncmp(gateway->api, "https:", 6) == 0;
		if (!node)
			continue;
		if (!gateway_is_listed(host, gateway->vtep))
			REFUSE(checker, node, "is not in worker_host.gateways: name it there too");
		checker_take_unique(
			checker, &vteps, &gateway->vtep, sizeof(gateway->vtep), node, "list a gateway once");
	}
	index_clear(&vteps);
	for (size_t i = 0; i < host->gateway_count; i++) {
		bool asked = false;

		for (size_t j = 0; j < admission->gateway_count && !asked; j++)
			asked = admission->gateways[j].vtep == host->gateways[i];
		if (!asked && model_draft_value(checker->draft, &host->gateways[i]))
			REFUSE(checker, model_draft_value(checker->draft, &host->gateways[i]),
				"is not in worker_host.admission.gateways: its workers would be let through without "
				"its "
				"word");
	}
	if (https && (!admission->ca[0] || !admission->certificate[0] || !admission->key[0]))
		REFUSE(checker, model_draft_record(checker->draft, admission),
			"ca, certificate and key: must all be there for a gateway with https");
}

void model_check_worker_host(struct checker *checker)
{
	struct model_worker_host *host = &checker->model->worker_host;
	struct hash_index gateways = {0};

	if (!host->present)
		return;
	check_host(checker, &host->vtep);
	for (size_t i = 0; i < host->gateway_count; i++) {
		const struct yaml_node *node = model_draft_value(checker->draft, &host->gateways[i]);

		check_host(checker, &host->gateways[i]);
		if (node)
			checker_take_unique(checker, &gateways, &host->gateways[i], sizeof(host->gateways[i]), node,
				"list a gateway once");
	}
	index_clear(&gateways);
	check_admission(checker, host);
	checker_take_interface(checker, host->device, host);
	for (size_t i = 0; i < host->dns_count; i++)
		check_host(checker, &host->dns[i]);
	for (size_t i = 0; i < host->worker_count; i++)
		check_worker(checker, &host->workers[i]);
}
