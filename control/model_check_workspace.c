/* SPDX-License-Identifier: Apache-2.0 */
/* Rules across the values of one workspace, and of all of them. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "control/model_checker.h"
#include "control/scalar.h"
#include "control/special.h"

enum { PROTOCOL_TCP = 6, PROTOCOL_UDP = 17 };

/* ---- VPCs ---- */

static int compare_cidrs(const void *a, const void *b)
{
	const struct model_cidr *left = *(const struct model_cidr *const *)a,
				*right = *(const struct model_cidr *const *)b;

	if (left->address != right->address)
		return left->address < right->address ? -1 : 1;
	if (left->prefix_length_bits != right->prefix_length_bits)
		return left->prefix_length_bits < right->prefix_length_bits ? -1 : 1;
	return left < right ? -1 : 1;
}

static void refuse_overlap(struct checker *checker, const struct model_cidr *cidr, const struct model_cidr *other)
{
	const struct yaml_node *node = model_draft_value(checker->draft, cidr);
	const struct yaml_node *other_node = model_draft_value(checker->draft, other);
	char text[SCALAR_SIZE_BYTES];

	scalar_format_cidr(other->address, other->prefix_length_bits, text);
	REFUSE(checker, node, "overlaps %s on line %u: the CIDRs of one VPC must not overlap", text, other_node->line);
}

/* Prefixes either nest or are apart: in sorted order an overlap is with the last one that was not itself inside
 * another. */
static void check_cidr_overlaps(struct checker *checker, const struct model_vpc *vpc)
{
	const struct model_cidr **sorted = calloc(vpc->cidr_count, sizeof(*sorted)), *outer = NULL;
	size_t count = 0;

	if (!sorted) {
		checker->draft->no_memory = true;
		return;
	}
	for (size_t i = 0; i < vpc->cidr_count; i++) {
		if (model_draft_value(checker->draft, &vpc->cidrs[i]))
			sorted[count++] = &vpc->cidrs[i];
	}
	qsort(sorted, count, sizeof(*sorted), compare_cidrs);
	for (size_t i = 0; i < count; i++) {
		if (outer && checker_is_inside(outer, 1, sorted[i]->address))
			refuse_overlap(checker, sorted[i], outer);
		else
			outer = sorted[i];
	}
	free(sorted);
}

static void check_cidrs(struct checker *checker, const struct model_vpc *vpc)
{
	for (size_t i = 0; i < vpc->cidr_count; i++) {
		const struct yaml_node *node = model_draft_value(checker->draft, &vpc->cidrs[i]);
		const char *special =
			node ? special_name(vpc->cidrs[i].address, vpc->cidrs[i].prefix_length_bits, false) : NULL;

		if (special)
			REFUSE(checker, node, "overlaps %s: must be addresses that workers can have", special);
	}
	if (vpc->cidr_count > 1)
		check_cidr_overlaps(checker, vpc);
}

static bool has_ip(const uint32_t *ips, size_t count, uint32_t address)
{
	for (size_t i = 0; i < count; i++) {
		if (ips[i] == address)
			return true;
	}
	return false;
}

/* The prefix must be the VPC's, or it would widen it. An IP may have been drained away. */
static void check_preferred(
	struct checker *checker, const struct model_workspace *workspace, const struct model_vpc *vpc, size_t index)
{
	const struct model_preferred *preferred = &vpc->preferred[index];
	const struct yaml_node *node = model_draft_value(checker->draft, &preferred->address);
	const struct yaml_node *ip_node = model_draft_value(checker->draft, &preferred->egress_ip);
	bool inside = false;

	for (size_t i = 0; i < vpc->cidr_count; i++)
		inside = inside || (vpc->cidrs[i].prefix_length_bits <= preferred->prefix_length_bits &&
					   checker_is_inside(&vpc->cidrs[i], 1, preferred->address));
	if (node && !inside)
		REFUSE(checker, node, "is not inside of the VPC: must be inside one of its cidrs");
	for (size_t i = 0; i < index && node; i++) {
		if (vpc->preferred[i].address == preferred->address &&
			vpc->preferred[i].prefix_length_bits == preferred->prefix_length_bits)
			REFUSE(checker, node, "is there twice: a prefix prefers one egress IP");
	}
	if (ip_node && !has_ip(workspace->egress_ips, workspace->egress_ip_count, preferred->egress_ip) &&
		!has_ip(workspace->draining_ips, workspace->draining_ip_count, preferred->egress_ip))
		WARN(checker, ip_node,
			"is no egress IP of the workspace, and so nobody prefers it: name it in "
			"egress.ips");
}

static void check_listed_worker(struct checker *checker, const struct model_vpc *vpc, struct worker_key key,
	const struct model_listed_worker *worker)
{
	const struct model_gateway *gateway = &checker->model->gateway;
	const struct yaml_node *node = model_draft_value(checker->draft, &worker->address);
	const struct yaml_node *vtep_node = model_draft_value(checker->draft, &worker->vtep);

	if (node) {
		key.address = worker->address;
		checker_take_unique(
			checker, &checker->listed_workers, &key, sizeof(key), node, "a VPC lists a worker once");
		if (!checker_may_be_inside(checker, vpc, worker->address))
			REFUSE(checker, node, "is outside of the VPC: must be inside one of its cidrs");
	}
	if (vtep_node && (worker->vtep || !checker->draft->unremembered) && gateway->present &&
		gateway->trusted_vtep_count &&
		!checker_is_inside(gateway->trusted_vteps, gateway->trusted_vtep_count, worker->vtep))
		REFUSE(checker, vtep_node,
			"is not in gateway.inside.trusted_vteps: the worker's traffic would be dropped");
}

static void check_vpc(struct checker *checker, size_t workspace_index, size_t vpc_index)
{
	const struct model_vpc *vpc = &checker->model->workspaces[workspace_index].vpcs[vpc_index];
	const struct yaml_node *id_node = model_draft_value(checker->draft, vpc->id);
	const struct yaml_node *vni_node = model_draft_value(checker->draft, &vpc->vni);
	struct vpc_key id_key = {.workspace_index = (uint32_t)workspace_index};
	struct worker_key worker_key = {.workspace_index = (uint32_t)workspace_index, .vpc_index = (uint32_t)vpc_index};

	checker->vpc_count++;
	checker->cidr_count += vpc->cidr_count + vpc->preferred_count;
	checker->listed_worker_count += vpc->worker_count;
	if (id_node) {
		memcpy(id_key.id, vpc->id, sizeof(id_key.id));
		if (checker->model->workspaces[workspace_index].vpc_count > 1)
			checker_take_unique(checker, &checker->vpc_ids, &id_key, sizeof(id_key), id_node,
				"a workspace has one VPC of a name");
		if (checker->model->worker_host.worker_count > 0)
			checker_add_index(checker, &checker->vpcs, &id_key, sizeof(id_key), vpc_index);
	}
	if (vni_node)
		checker_take_unique(
			checker, &checker->vnis, &vpc->vni, sizeof(vpc->vni), vni_node, "a VNI belongs to one VPC");
	check_cidrs(checker, vpc);
	for (size_t i = 0; i < vpc->preferred_count; i++)
		check_preferred(checker, &checker->model->workspaces[workspace_index], vpc, i);
	for (size_t i = 0; i < vpc->worker_count; i++)
		check_listed_worker(checker, vpc, worker_key, &vpc->workers[i]);
}

/* ---- workspaces ---- */

static void check_egress(
	struct checker *checker, const struct model_workspace *workspace, const struct yaml_node *record)
{
	const struct yaml_node *egress = yaml_node_child(record, "egress"), *ips;
	const char *id = workspace->id[0] ? workspace->id : "(without id)";

	checker->egress_ip_count += workspace->egress_ip_count + workspace->draining_ip_count;
	for (size_t i = 0; i < workspace->egress_ip_count; i++)
		checker_take_public_ip(checker, &workspace->egress_ips[i]);
	for (size_t i = 0; i < workspace->draining_ip_count; i++)
		checker_take_public_ip(checker, &workspace->draining_ips[i]);
	if (!checker->model->gateway.present)
		return;
	if (workspace->egress_shared) {
		checker->shared_count++;
		if (checker->model->shared_pool_ip_count == 0)
			REFUSE(checker, egress, "there is no shared pool: shared_pool.ips must have at least one IP");
		if (workspace->flags & POLICY_WORKSPACE_ALLOW_OTHER)
			WARN(checker, yaml_node_child(record, "other_protocols"),
				"has no effect on the shared pool: they have no ports to share an address by, give "
				"workspace %s an IP in egress.ips",
				id);
		return;
	}
	if (workspace->egress_ip_count)
		return;
	ips = egress && egress->kind == YAML_MAPPING ? yaml_node_child(egress, "ips") : NULL;
	if (egress && (!ips || ips->kind != YAML_SEQUENCE || ips->child_count))
		return;
	if (workspace->draining_ip_count == 0)
		REFUSE(checker, record,
			"workspace %s would have no egress IP: give it egress: { ips: [...] }, or egress: shared", id);
	else
		WARN(checker, egress,
			"every IP of workspace %s drains: its new sessions are refused, give it one in egress.ips", id);
}

static void check_limits(struct checker *checker, const struct model_workspace *workspace)
{
	const struct policy_limits *limits = &workspace->limits;
	const struct yaml_node *sessions = model_draft_value(checker->draft, &limits->sessions_guaranteed);
	const struct yaml_node *fragments = model_draft_value(checker->draft, &limits->fragments_guaranteed);

	if (sessions && limits->sessions != 0 && limits->sessions_guaranteed > limits->sessions)
		REFUSE(checker, sessions,
			"is more than the workspace may have: must be at most limits.sessions, %" PRIu32,
			limits->sessions);
	if (fragments && limits->fragments_held != 0 && limits->fragments_guaranteed > limits->fragments_held)
		REFUSE(checker, fragments,
			"is more than the workspace may have: must be at most limits.fragments_held, %" PRIu32,
			limits->fragments_held);
}

static void check_rules(struct checker *checker, const struct model_workspace *workspace)
{
	checker->rule_count += workspace->rule_count;
	for (size_t i = 0; i < workspace->rule_count; i++) {
		const struct policy_rule *rule = &workspace->rules[i];
		const struct yaml_node *node = model_draft_value(checker->draft, &rule->port_first);
		bool any_port = rule->port_first == 0 && rule->port_last == UINT16_MAX;

		if (node && !any_port && rule->protocol != PROTOCOL_TCP && rule->protocol != PROTOCOL_UDP)
			REFUSE(checker, node,
				"the rule is not for tcp or udp: ports need protocol: tcp or protocol: udp");
	}
}

void model_check_workspace(struct checker *checker, size_t workspace_index)
{
	const struct model_workspace *workspace = &checker->model->workspaces[workspace_index];
	const struct yaml_node *record = model_draft_record(checker->draft, workspace);
	const struct yaml_node *id_node = model_draft_value(checker->draft, workspace->id);
	const struct yaml_node *number_node = model_draft_value(checker->draft, &workspace->number);

	if (!record)
		return;
	if (id_node) {
		checker_take_unique(checker, &checker->workspace_ids, workspace->id, strlen(workspace->id), id_node,
			"ids of workspaces must differ");
		if (checker->model->worker_host.worker_count > 0)
			checker_add_index(
				checker, &checker->workspaces, workspace->id, strlen(workspace->id), workspace_index);
	}
	if (number_node && workspace->number)
		checker_take_unique(checker, &checker->workspace_numbers, &workspace->number, sizeof(workspace->number),
			number_node, "numbers of workspaces must differ");
	check_egress(checker, workspace, record);
	check_limits(checker, workspace);
	check_rules(checker, workspace);
	for (size_t i = 0; i < workspace->vpc_count; i++)
		check_vpc(checker, workspace_index, i);
}
