/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rules across values. One pass, every violation is reported; what an earlier station refused has no node and is passed
 * over. Here: the gateway, the shared pool and the totals; the rest is in control/model_check_workspace.c,
 * model_check_worker_host.c and model_check_api.c.
 */
#include <inttypes.h>

#include "control/model_checker.h"
#include "control/shared_pool.h"

enum { TABLE_DEFAULT = 253, TABLE_LOCAL = 255 };

/* ---- gateway ---- */

static void check_encapsulation(struct checker *checker, const struct model_gateway *gateway)
{
	const struct yaml_node *record = model_draft_record(checker->draft, gateway);
	const struct yaml_node *inside = record ? yaml_node_child(record, "inside") : NULL;
	const struct yaml_node *vni_node = model_draft_value(checker->draft, &gateway->plain_vni);
	const struct yaml_node *vteps;
	uint64_t unused;

	/* What the usual gateway has; about any other the file itself is asked. */
	if (checker->draft->unremembered) {
		if (gateway->encapsulation != POLICY_ENCAPSULATION_VXLAN || gateway->trusted_vtep_count == 0 ||
			gateway->plain_vni != 0)
			checker->draft->unsound = true;
		return;
	}
	if (!inside || inside->kind != YAML_MAPPING)
		return;
	vteps = yaml_node_child(inside, "trusted_vteps");
	if (gateway->encapsulation == POLICY_ENCAPSULATION_VXLAN) {
		if (!vteps || (vteps->kind == YAML_SEQUENCE && vteps->child_count == 0))
			REFUSE(checker, inside,
				"has no trusted_vteps: with encapsulation vxlan it must name the prefixes of the "
				"worker hosts");
		if (vni_node)
			REFUSE(checker, vni_node, "plain_vni is only for encapsulation none: remove one of the two");
		return;
	}
	if (vteps)
		REFUSE(checker, vteps, "trusted_vteps is only for encapsulation vxlan: remove it");
	if (!yaml_node_child(inside, "plain_vni"))
		REFUSE(checker, inside, "has no plain_vni: with encapsulation none it must be the VNI of the one VPC");
	else if (vni_node && !index_find(&checker->vnis, &gateway->plain_vni, sizeof(gateway->plain_vni), &unused))
		REFUSE(checker, vni_node, "no VPC has this VNI: must be the vni of one in workspaces");
}

/* The tables that the kernel's rules point at, and the announcements' own, would be read as mappings. */
static void check_mapping_table(struct checker *checker, const struct model_gateway *gateway)
{
	const struct yaml_node *node = model_draft_value(checker->draft, &gateway->mapping_table);

	if (!node)
		return;
	if (gateway->mapping_table >= TABLE_DEFAULT && gateway->mapping_table <= TABLE_LOCAL)
		REFUSE(checker, node, "is one of the kernel's own tables: must be one that no rule points at");
	else if (gateway->announce.present && gateway->announce.table == gateway->mapping_table)
		REFUSE(checker, node, "is the table of gateway.announce: must be one of its own");
}

static void check_gateway(struct checker *checker)
{
	const struct model_gateway *gateway = &checker->model->gateway;

	if (!gateway->present)
		return;
	checker_take_interface(checker, gateway->ports[PORT_INSIDE].interface, NULL);
	checker_take_interface(checker, gateway->ports[PORT_OUTSIDE].interface, NULL);
	check_encapsulation(checker, gateway);
	check_mapping_table(checker, gateway);
	for (size_t i = 0; i < gateway->trusted_vtep_count; i++) {
		const struct yaml_node *node = model_draft_value(checker->draft, &gateway->trusted_vteps[i]);

		if (node && gateway->trusted_vteps[i].prefix_length_bits == 0)
			WARN(checker, node, "trusts every sender of VXLAN: name the prefixes of the worker hosts");
	}
}

/* What fits into an empty pool; what fits beside ranges that still drain is known when they are assigned. */
static void check_shared_pool(struct checker *checker)
{
	const struct model *model = checker->model;
	const struct yaml_node *root = checker->draft->tree->root;
	const struct yaml_node *pool = yaml_node_child(root, "shared_pool");
	size_t room;

	for (size_t i = 0; i < model->shared_pool_ip_count; i++)
		checker_take_public_ip(checker, &model->shared_pool_ips[i]);
	if (model->shared_pool_ip_count == 0 || model->shared_pool_ports == 0)
		return;
	room = model->shared_pool_ip_count * (SHARED_POOL_PORT_COUNT / model->shared_pool_ports);
	if (checker->shared_count > room)
		REFUSE(checker, pool,
			"the pool is full: %zu workspaces want %" PRIu32
			" ports each, room for %zu: add IPs, or lower ports_per_workspace",
			checker->shared_count, model->shared_pool_ports, room);
}

static void check_total(struct checker *checker, size_t count, size_t count_max, const char *what)
{
	const struct yaml_node *root = checker->draft->tree->root;
	const struct yaml_node *node = yaml_node_child(root, "workspaces");

	if (count > count_max)
		REFUSE(checker, node ? node : root, "%zu %s in all: a gateway can hold at most %zu", count, what,
			count_max);
}

/* ---- all ---- */

/* Of ten thousand workspaces most of the time would go into growing. Without memory it is what they do. */
static void reserve(struct checker *checker)
{
	const struct model *model = checker->model;
	size_t vpc_count = 0, ip_count = model->shared_pool_ip_count;

	for (size_t i = 0; i < model->workspace_count; i++) {
		vpc_count += model->workspaces[i].vpc_count;
		ip_count += model->workspaces[i].egress_ip_count + model->workspaces[i].draining_ip_count;
	}
	index_reserve(&checker->workspace_ids, model->workspace_count);
	index_reserve(&checker->vnis, vpc_count);
	index_reserve(&checker->egress_ips, ip_count);
}

static void check_all(struct checker *checker)
{
	struct model *model = checker->model;

	reserve(checker);
	for (size_t i = 0; i < model->workspace_count; i++)
		model_check_workspace(checker, i);
	check_shared_pool(checker);
	check_gateway(checker);
	model_check_worker_host(checker);
	model_check_api(checker->draft);
	check_total(checker, checker->vpc_count, VPC_COUNT_MAX, "VPCs");
	check_total(checker, checker->cidr_count, CIDR_COUNT_MAX, "CIDRs");
	check_total(checker, checker->egress_ip_count + model->shared_pool_ip_count, EGRESS_IP_COUNT_MAX, "egress IPs");
	check_total(checker, checker->egress_ip_count + checker->shared_count, EGRESS_IP_COUNT_MAX,
		"egress IPs and workspaces on the shared pool");
	check_total(checker, checker->listed_worker_count, WORKER_COUNT_MAX, "listed workers");
	check_total(checker, checker->rule_count, RULE_COUNT_MAX, "rules");
	if (!model->gateway.present && !model->worker_host.present)
		REFUSE(checker, checker->draft->tree->root,
			"has neither gateway nor worker_host: this host would have nothing to "
			"do");
}

void model_check(struct model_draft *draft)
{
	struct checker checker = {.draft = draft, .model = draft->model};

	/* A root that is no mapping has been refused, and there is nothing to check. */
	if (draft->tree->root->kind != YAML_MAPPING)
		return;
	check_all(&checker);
	index_clear(&checker.interfaces);
	index_clear(&checker.workspace_ids);
	index_clear(&checker.workspace_numbers);
	index_clear(&checker.vpc_ids);
	index_clear(&checker.vnis);
	index_clear(&checker.egress_ips);
	index_clear(&checker.listed_workers);
	index_clear(&checker.workers);
	index_clear(&checker.workspaces);
	index_clear(&checker.vpcs);
}
