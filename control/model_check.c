/* SPDX-License-Identifier: Apache-2.0 */
/* Rules across values. One pass, every violation is reported; what an earlier station refused has no node and is passed
 * over. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bpf/maps.h"
#include "control/cgroup_path.h"
#include "control/model_parse.h"
#include "control/scalar.h"
#include "control/shared_pool.h"
#include "control/special.h"

enum { OWNER_SIZE_BYTES = 512, PROTOCOL_TCP = 6, PROTOCOL_UDP = 17, TABLE_DEFAULT = 253, TABLE_LOCAL = 255 };

struct checker {
	struct model_draft *draft;
	struct model *model;
	/* name or number → node that took it first */
	struct hash_index interfaces, workspace_ids, workspace_numbers, vpc_ids, vnis, egress_ips, listed_workers,
		workers;
	/* id → index; for the workers' references */
	struct hash_index workspaces, vpcs;
	size_t vpc_count, cidr_count, egress_ip_count, shared_count, listed_worker_count, rule_count;
};

/* Keys of checker.vpc_ids and .vpcs, and of .listed_workers and .workers. Padding-free. */
struct vpc_key {
	uint32_t workspace_index;
	char id[ID_SIZE_BYTES];
};

struct worker_key {
	uint32_t workspace_index, vpc_index, address;
};

#define REFUSE(checker, node, ...) model_draft_add((checker)->draft, (checker)->draft->problems, node, __VA_ARGS__)
#define WARN(checker, node, ...) model_draft_add((checker)->draft, (checker)->draft->warnings, node, __VA_ARGS__)

/* ---- unique ---- */

/* The `id` of the list element around `node` in the list `key`, or NULL. */
static const char *enclosing_id(const struct yaml_node *node, const char *key)
{
	const struct yaml_node *id;

	for (; node->parent; node = node->parent) {
		if (!node->parent->key || strcmp(node->parent->key, key) != 0 || node->kind != YAML_MAPPING)
			continue;
		id = yaml_node_child(node, "id");
		return id && id->kind == YAML_SCALAR ? id->text : NULL;
	}
	return NULL;
}

/* "workspace acme at workspaces[0].egress.ips[1] (acme.yaml:9)" */
static void describe_owner(const struct checker *checker, const struct yaml_node *node, char ret_text[OWNER_SIZE_BYTES])
{
	const char *workspace = enclosing_id(node, "workspaces");
	char path[YAML_PATH_SIZE_BYTES], shown[YAML_SHOWN_SIZE_BYTES];

	yaml_node_path(node, path);
	snprintf(ret_text, OWNER_SIZE_BYTES, "%s%s%s%s (%.100s:%u)", workspace ? "workspace " : "",
		workspace ? yaml_show_text(workspace, shown) : "", workspace ? " at " : "", path, node->tree->file,
		node->line);
}

/* Takes the key for `node`, or reports who has it. `rule` ends the sentence. */
static void take_unique(struct checker *checker, struct hash_index *taken, const void *key, size_t key_size_bytes,
	const struct yaml_node *node, const char *rule)
{
	char owner[OWNER_SIZE_BYTES];
	uint64_t other = 0;

	switch (index_add(taken, key, key_size_bytes, (uintptr_t)node, &other)) {
	case INDEX_ADDED:
		break;
	case INDEX_EXISTS:
		if (checker->draft->unremembered) {
			checker->draft->unsound = true;
			break;
		}
		describe_owner(checker, (const struct yaml_node *)(uintptr_t)other, owner);
		REFUSE(checker, node, "is already used by %s: %s", owner, rule);
		break;
	case INDEX_NO_MEMORY:
		checker->draft->no_memory = true;
		break;
	}
}

/* `record`: what to name as the owner when the interface is a default; else NULL. */
static void take_interface(struct checker *checker, const char *interface, const void *record)
{
	const struct yaml_node *node = model_draft_value(checker->draft, interface);

	if (!node && record && *interface)
		node = model_draft_record(checker->draft, record);
	if (node)
		take_unique(checker, &checker->interfaces, interface, strlen(interface), node,
			"an interface has one purpose only");
}

static void add_index(
	struct checker *checker, struct hash_index *map, const void *key, size_t key_size_bytes, uint64_t value)
{
	if (index_add(map, key, key_size_bytes, value, NULL) == INDEX_NO_MEMORY)
		checker->draft->no_memory = true;
}

/* ---- addresses ---- */

static void check_host(struct checker *checker, const uint32_t *address)
{
	const struct yaml_node *node = model_draft_value(checker->draft, address);
	const char *special = node ? special_name(*address, 32, false) : NULL;

	if (special)
		REFUSE(checker, node, "is %s: must be the address of a host", special);
}

static bool is_inside(const struct model_cidr *cidrs, size_t cidr_count, uint32_t address)
{
	for (size_t i = 0; i < cidr_count; i++) {
		if ((address & scalar_prefix_mask(cidrs[i].prefix_length_bits)) == cidrs[i].address)
			return true;
	}
	return false;
}

static void check_public_ip(struct checker *checker, const uint32_t *address)
{
	const struct yaml_node *node = model_draft_value(checker->draft, address);
	const char *special;

	if (!node)
		return;
	special = special_name(*address, 32, true);
	if (special)
		REFUSE(checker, node, "is %s: an egress IP must be a public unicast address", special);
	take_unique(checker, &checker->egress_ips, address, sizeof(*address), node,
		"an egress IP belongs to one workspace, or to the shared pool");
}

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
	take_interface(checker, gateway->ports[PORT_INSIDE].interface, NULL);
	take_interface(checker, gateway->ports[PORT_OUTSIDE].interface, NULL);
	check_encapsulation(checker, gateway);
	check_mapping_table(checker, gateway);
	for (size_t i = 0; i < gateway->trusted_vtep_count; i++) {
		const struct yaml_node *node = model_draft_value(checker->draft, &gateway->trusted_vteps[i]);

		if (node && gateway->trusted_vteps[i].prefix_length_bits == 0)
			WARN(checker, node, "trusts every sender of VXLAN: name the prefixes of the worker hosts");
	}
}

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
		if (outer && is_inside(outer, 1, sorted[i]->address))
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
					   is_inside(&vpc->cidrs[i], 1, preferred->address));
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

/* Is an address inside the VPC? True as well when a CIDR was refused, since that may have been the one. */
static bool may_be_inside(const struct checker *checker, const struct model_vpc *vpc, uint32_t address)
{
	if (vpc->cidr_count == 0)
		return true;
	for (size_t i = 0; i < vpc->cidr_count; i++) {
		if (!model_draft_value(checker->draft, &vpc->cidrs[i]))
			return true;
	}
	return is_inside(vpc->cidrs, vpc->cidr_count, address);
}

static void check_listed_worker(struct checker *checker, const struct model_vpc *vpc, struct worker_key key,
	const struct model_listed_worker *worker)
{
	const struct model_gateway *gateway = &checker->model->gateway;
	const struct yaml_node *node = model_draft_value(checker->draft, &worker->address);
	const struct yaml_node *vtep_node = model_draft_value(checker->draft, &worker->vtep);

	if (node) {
		key.address = worker->address;
		take_unique(checker, &checker->listed_workers, &key, sizeof(key), node, "a VPC lists a worker once");
		if (!may_be_inside(checker, vpc, worker->address))
			REFUSE(checker, node, "is outside of the VPC: must be inside one of its cidrs");
	}
	if (vtep_node && (worker->vtep || !checker->draft->unremembered) && gateway->present &&
		gateway->trusted_vtep_count &&
		!is_inside(gateway->trusted_vteps, gateway->trusted_vtep_count, worker->vtep))
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
		take_unique(checker, &checker->vpc_ids, &id_key, sizeof(id_key), id_node,
			"a workspace has one VPC of a name");
		add_index(checker, &checker->vpcs, &id_key, sizeof(id_key), vpc_index);
	}
	if (vni_node)
		take_unique(checker, &checker->vnis, &vpc->vni, sizeof(vpc->vni), vni_node, "a VNI belongs to one VPC");
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
		check_public_ip(checker, &workspace->egress_ips[i]);
	for (size_t i = 0; i < workspace->draining_ip_count; i++)
		check_public_ip(checker, &workspace->draining_ips[i]);
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

/* What fits into an empty pool; what fits beside ranges that still drain is known when they are assigned. */
static void check_shared_pool(struct checker *checker)
{
	const struct model *model = checker->model;
	const struct yaml_node *root = checker->draft->tree->root;
	const struct yaml_node *pool = yaml_node_child(root, "shared_pool");
	size_t room;

	for (size_t i = 0; i < model->shared_pool_ip_count; i++)
		check_public_ip(checker, &model->shared_pool_ips[i]);
	if (model->shared_pool_ip_count == 0 || model->shared_pool_ports == 0)
		return;
	room = model->shared_pool_ip_count * (SHARED_POOL_PORT_COUNT / model->shared_pool_ports);
	if (checker->shared_count > room)
		REFUSE(checker, pool,
			"the pool is full: %zu workspaces want %" PRIu32
			" ports each, room for %zu: add IPs, or lower ports_per_workspace",
			checker->shared_count, model->shared_pool_ports, room);
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

static void check_workspace(struct checker *checker, size_t workspace_index)
{
	const struct model_workspace *workspace = &checker->model->workspaces[workspace_index];
	const struct yaml_node *record = model_draft_record(checker->draft, workspace);
	const struct yaml_node *id_node = model_draft_value(checker->draft, workspace->id);
	const struct yaml_node *number_node = model_draft_value(checker->draft, &workspace->number);

	if (!record)
		return;
	if (id_node) {
		take_unique(checker, &checker->workspace_ids, workspace->id, strlen(workspace->id), id_node,
			"ids of workspaces must differ");
		add_index(checker, &checker->workspaces, workspace->id, strlen(workspace->id), workspace_index);
	}
	if (number_node && workspace->number)
		take_unique(checker, &checker->workspace_numbers, &workspace->number, sizeof(workspace->number),
			number_node, "numbers of workspaces must differ");
	check_egress(checker, workspace, record);
	check_limits(checker, workspace);
	check_rules(checker, workspace);
	for (size_t i = 0; i < workspace->vpc_count; i++)
		check_vpc(checker, workspace_index, i);
}

static void check_total(struct checker *checker, size_t count, size_t count_max, const char *what)
{
	const struct yaml_node *root = checker->draft->tree->root;
	const struct yaml_node *node = yaml_node_child(root, "workspaces");

	if (count > count_max)
		REFUSE(checker, node ? node : root, "%zu %s in all: a gateway can hold at most %zu", count, what,
			count_max);
}

/* ---- worker host ---- */

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
	const struct yaml_node *interface = model_draft_value(checker->draft, worker->interface);
	const struct yaml_node *node = model_draft_value(checker->draft, worker->cgroup);
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
	if (model_draft_value(checker->draft, worker->mac))
		REFUSE(checker, node, "stands beside mac: a cgroup has none");
	why = cgroup_path_check(&checker->model->worker_host.cgroups, worker->cgroup);
	if (why)
		REFUSE(checker, node, "%s", why);
	take_unique(
		checker, &checker->interfaces, worker->cgroup, strlen(worker->cgroup), node, "a cgroup is one worker");
}

static void check_worker(struct checker *checker, struct model_worker *worker)
{
	const struct yaml_node *node = model_draft_value(checker->draft, &worker->address);
	struct worker_key key;

	take_interface(checker, worker->interface, NULL);
	check_cgroup(checker, worker);
	check_mac(checker, worker);
	if (!find_vpc(checker, worker) || !node)
		return;
	key = (struct worker_key){.workspace_index = (uint32_t)worker->workspace_index,
		.vpc_index = (uint32_t)worker->vpc_index,
		.address = worker->address};
	take_unique(checker, &checker->workers, &key, sizeof(key), node, "an address belongs to one worker of a VPC");
	if (!may_be_inside(checker, &checker->model->workspaces[worker->workspace_index].vpcs[worker->vpc_index],
		    worker->address))
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
		take_unique(checker, &vteps, &gateway->vtep, sizeof(gateway->vtep), node, "list a gateway once");
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

static void check_worker_host(struct checker *checker)
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
			take_unique(checker, &gateways, &host->gateways[i], sizeof(host->gateways[i]), node,
				"list a gateway once");
	}
	index_clear(&gateways);
	check_admission(checker, host);
	take_interface(checker, host->device, host);
	for (size_t i = 0; i < host->dns_count; i++)
		check_host(checker, &host->dns[i]);
	for (size_t i = 0; i < host->worker_count; i++)
		check_worker(checker, &host->workers[i]);
}

/* ---- all ---- */

static void check_all(struct checker *checker)
{
	struct model *model = checker->model;

	for (size_t i = 0; i < model->workspace_count; i++)
		check_workspace(checker, i);
	check_shared_pool(checker);
	check_gateway(checker);
	check_worker_host(checker);
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
