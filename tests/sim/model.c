/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/model.h"

#include <stdio.h>
#include <string.h>

static uint64_t bytes_next(struct random *random, unsigned count)
{
	uint64_t drawn = 0;
	for (; count > 0 && random->left > 0; count--, random->left--)
		drawn = drawn << 8 | *random->bytes++;
	return drawn;
}

uint64_t random_next(struct random *random)
{
	if (random->bytes != NULL)
		return bytes_next(random, 2);
	uint64_t value = random->state += 0x9e3779b97f4a7c15u;
	value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9u;
	value = (value ^ value >> 27) * 0x94d049bb133111ebu;
	return value ^ value >> 31;
}

uint32_t random_below(struct random *random, uint32_t bound)
{
	if (random->bytes != NULL)
		return (uint32_t)(bytes_next(random, bound <= 256 ? 1 : 2) % bound);
	return (uint32_t)((random_next(random) >> 32) * bound >> 32);
}

static void workspace_settings(struct model_workspace *of, struct random *random, const struct model_options *options)
{
	static const uint32_t flags[] = {0, POLICY_WORKSPACE_ALLOW_PRIVATE, POLICY_WORKSPACE_TCP_RST_UNKNOWN,
		POLICY_WORKSPACE_INBOUND_REFRESH, POLICY_WORKSPACE_ALLOW_OTHER, POLICY_WORKSPACE_RESET_IDLE,
		POLICY_WORKSPACE_RESET_GONE};
	of->timers = options->short_timers ? (struct policy_timers){20, 8, 3, 10, 2, 4}
					   : (struct policy_timers){7440, 240, 30, 300, 30, 60};
	if (random_one_in(random, 3))
		of->timers.udp_s = 5 + random_below(random, 20);
	of->flags = 0;
	for (unsigned i = 0; i < 3; i++)
		of->flags |= flags[random_below(random, 7)];
	of->rules = random_below(random, 6);
	if (of->rules == 5)
		of->flags |= POLICY_WORKSPACE_DEFAULT_DENY;
	of->limits = (struct policy_limits){0};
	if (!options->limits)
		return;
	if (random_one_in(random, 2))
		of->limits.sessions = 5 + random_below(random, 60);
	if (random_one_in(random, 2))
		of->limits.half_open = 1 + random_below(random, 10);
	if (random_one_in(random, 2))
		of->limits.new_sessions_per_second = 4 + 4 * random_below(random, 20);
	if (random_one_in(random, 3))
		of->limits.worker_sessions = 2 + random_below(random, 20);
	if (random_one_in(random, 3))
		of->limits.sessions_per_remote = 2 + random_below(random, 20);
	if (random_one_in(random, 3))
		of->limits.worker_half_open = 1 + random_below(random, 5);
	if (random_one_in(random, 3))
		of->limits.worker_new_sessions_per_second = 2 + 2 * random_below(random, 8);
	if (random_one_in(random, 3))
		of->limits.sessions_guaranteed = 100 + random_below(random, 400);
	if (random_one_in(random, 3))
		of->limits.fragments_held = 1 + random_below(random, 8);
	if (random_one_in(random, 3))
		of->limits.worker_sessions_per_remote = 1 + random_below(random, 4);
	if (random_one_in(random, 3))
		of->limits.worker_fragments_held = 1 + random_below(random, 4);
	if (random_one_in(random, 3))
		of->limits.packets_per_second = 10 + 10 * random_below(random, 20);
	if (random_one_in(random, 3))
		of->limits.bytes_per_second = 4000 + 4000 * random_below(random, 20);
}

void model_init(struct model *model, struct random *random, const struct model_options *options)
{
	memset(model, 0, sizeof(*model));
	model->vxlan_port = 4789;
	model->plain = options->plain;
	for (unsigned w = 0; w < options->workspaces; w++) {
		model->workspaces[w].present = true;
		model->workspaces[w].mapping_udp = POLICY_MAPPING_ENDPOINT_INDEPENDENT;
		if (random_one_in(random, 3)) {
			model->workspaces[w].mapping_udp = (uint8_t)random_below(random, 2);
			model->workspaces[w].mapping_tcp = (uint8_t)random_below(random, 2);
		}
		workspace_settings(&model->workspaces[w], random, options);
		if (options->limits)
			continue;
		model->workspaces[w].flags |= POLICY_WORKSPACE_TCP_RST_UNKNOWN;
	}
	for (unsigned v = 0; v < MODEL_VPCS; v++)
		model->vpcs[v] = (struct model_vpc){
			.present = v < options->workspaces || random_one_in(random, 2),
			.listed = random_one_in(random, 3),
			.open = random_one_in(random, 3),
			.workspace = v % options->workspaces,
		};
	for (unsigned i = 0; i < MODEL_IPS; i++)
		model->ips[i] = (struct model_ip){
			.present = i < options->workspaces || (i < MODEL_OWN_IPS && random_one_in(random, 2)) ||
				   (i >= MODEL_OWN_IPS && options->shared),
			.workspace = i % options->workspaces,
		};
	for (unsigned v = 0; v < MODEL_VPCS; v++)
		for (unsigned k = 0; k < MODEL_WORKERS; k++)
			model->workers[v][k] = (struct model_worker){
				.present = !random_one_in(random, 4),
				.vtep = random_one_in(random, 2) ? model_vtep(random_below(random, 2)) : 0,
			};
}

static const char *change_worker(struct model *model, struct random *random)
{
	struct model_worker *of =
		&model->workers[random_below(random, MODEL_VPCS)][random_below(random, MODEL_WORKERS)];
	switch (random_below(random, 3)) {
	case 0:
		of->present = !of->present;
		return "a worker comes or goes";
	case 1:
		of->incarnation++;
		return "a worker is another one";
	default:
		of->vtep = random_one_in(random, 3) ? 0 : model_vtep(random_below(random, MODEL_VTEPS));
		return "a worker moves";
	}
}

static const char *change_vpc(struct model *model, struct random *random, const struct model_options *options)
{
	struct model_vpc *of = &model->vpcs[random_below(random, MODEL_VPCS)];
	switch (random_below(random, 6)) {
	case 0:
		of->present = !of->present || random_one_in(random, 2);
		return "a VPC comes or goes";
	case 1:
		of->incarnation++;
		return "a VPC is another one";
	case 2:
		of->workspace = random_below(random, options->workspaces);
		return "a VNI goes to another workspace";
	case 3:
		of->id++;
		return "a VNI goes to another VPC";
	case 4:
		if (random_one_in(random, 3))
			of->open = !of->open;
		else
			of->listed = !of->listed;
		return "a VPC lists its workers or no longer does";
	default:
		of->narrow = !of->narrow;
		return "a VPC's CIDRs change";
	}
}

static const char *change_ip(struct model *model, struct random *random, const struct model_options *options)
{
	struct model_ip *of = &model->ips[random_below(random, options->shared ? MODEL_IPS : MODEL_OWN_IPS)];
	switch (random_below(random, 5)) {
	case 0:
		of->present = !of->present || random_one_in(random, 2);
		return "an egress IP comes or goes";
	case 1:
		of->incarnation++;
		return "an egress IP is another one";
	case 2:
		of->workspace = random_below(random, options->workspaces);
		return "an egress IP goes to another workspace";
	default:
		of->draining = !of->draining;
		return "an egress IP drains or is back";
	}
}

static const char *change_workspace(struct model *model, struct random *random, const struct model_options *options)
{
	struct model_workspace *of = &model->workspaces[random_below(random, options->workspaces)];
	const unsigned kind = random_below(random, options->steady_objects ? 2 : 5);
	if (kind == 0 && options->mapping_changes) {
		if (random_one_in(random, 2))
			of->mapping_tcp = !of->mapping_tcp;
		else
			of->mapping_udp = !of->mapping_udp;
		return "a workspace's mapping changes";
	}
	if (kind == 2) {
		of->incarnation++;
		return "a workspace is another one";
	}
	if (kind == 3) {
		of->present = !of->present;
		return "a workspace comes or goes";
	}
	workspace_settings(of, random, options);
	return "a workspace's settings change";
}

/* What has gone mostly comes back, so that there is something to see. */
static const char *something_back(struct model *model, struct random *random, const struct model_options *options)
{
	for (unsigned w = 0; w < options->workspaces; w++)
		if (!model->workspaces[w].present) {
			model->workspaces[w].present = true;
			return "a workspace comes back";
		}
	const unsigned vpc = random_below(random, MODEL_VPCS),
		       ip = random_below(random, options->shared ? MODEL_IPS : MODEL_OWN_IPS);
	if (!model->vpcs[vpc].present || model->vpcs[vpc].narrow) {
		model->vpcs[vpc].present = true;
		model->vpcs[vpc].narrow = false;
		return "a VPC comes back";
	}
	if (!model->ips[ip].present || model->ips[ip].draining) {
		model->ips[ip].present = true;
		model->ips[ip].draining = false;
		return "an egress IP comes back";
	}
	if (model->vtep_distrusted) {
		model->vtep_distrusted = false;
		return "a worker host is trusted again";
	}
	return NULL;
}

const char *model_change(struct model *model, struct random *random, const struct model_options *options)
{
	if (!options->steady_objects && random_one_in(random, 3)) {
		const char *back = something_back(model, random, options);
		if (back != NULL)
			return back;
	}
	const unsigned kind = options->steady_objects ? 3 : random_below(random, 14);
	if (kind < 3)
		return change_vpc(model, random, options);
	if (kind < 6)
		return change_workspace(model, random, options);
	if (kind < 9)
		return change_worker(model, random);
	if (kind < 12)
		return change_ip(model, random, options);
	if (kind == 12) {
		model->vtep_distrusted = !model->vtep_distrusted;
		return "a worker host is trusted or no longer";
	}
	if (random_one_in(random, 3)) {
		model->hairpin = !model->hairpin;
		model->hairpin_ever = true;
		return "hairpin between workspaces changes";
	}
	if (random_one_in(random, 2)) {
		model->vtep_address = model->vtep_address != 0 ? 0 : WORLD_IP(198, 51, 100, 77);
		return "the gateway's VTEP address changes";
	}
	model->vxlan_port = model->vxlan_port != 4789 ? 4789 : 8472;
	return "the VXLAN port changes";
}

static void lives(struct model *model, const struct model *before)
{
	static const struct model nothing;
	if (before == NULL)
		before = &nothing;
	for (unsigned w = 0; w < MODEL_WORKSPACES; w++) {
		struct model_workspace *now = &model->workspaces[w];
		const struct model_workspace *then = &before->workspaces[w];
		if (!then->present || then->incarnation != now->incarnation)
			now->life = ++model->lives;
	}
	for (unsigned v = 0; v < MODEL_VPCS; v++) {
		struct model_vpc *now = &model->vpcs[v];
		const struct model_vpc *then = &before->vpcs[v];
		now->present = now->present && model->workspaces[now->workspace].present;
		const bool born = !then->present || then->incarnation != now->incarnation || then->id != now->id ||
				  model->workspaces[now->workspace].life != before->workspaces[then->workspace].life;
		if (born)
			now->life = ++model->lives;
		for (unsigned k = 0; k < MODEL_WORKERS; k++) {
			struct model_worker *worker = &model->workers[v][k];
			const struct model_worker *old = &before->workers[v][k];
			if (born || !then->listed || !old->present || old->incarnation != worker->incarnation)
				worker->life = ++model->lives;
		}
	}
	for (unsigned i = 0; i < MODEL_IPS; i++)
		model->ips[i].present = model->ips[i].present && model->workspaces[model->ips[i].workspace].present;
}

static void draft_rules(struct world_draft *draft, struct policy_workspace *to, uint32_t which)
{
	static const struct policy_rule rules[] = {
		{WORLD_IP(192, 0, 2, 0), 24, POLICY_RULE_DENY, 17, 0, 80, 443},
		{WORLD_IP(192, 0, 2, 20), 32, POLICY_RULE_DENY, 0, 0, 0, 65535},
		{WORLD_IP(192, 0, 2, 0), 24, POLICY_RULE_ALLOW, 6, 0, 0, 65535},
		{0, 0, POLICY_RULE_DENY, 1, 0, 0, 65535},
	};
	to->rule_first = draft->counts[POLICY_RULES];
	for (unsigned i = 0; i < 4; i++)
		if (which == i + 1 || which == 5)
			draft->rules[draft->counts[POLICY_RULES]++] = rules[which == 5 ? 3 - i : i];
	to->rule_count = draft->counts[POLICY_RULES] - to->rule_first;
}

static void draft_vpc(const struct model *model, struct world_draft *draft, unsigned v, uint32_t workspace_index)
{
	const struct model_vpc *of = &model->vpcs[v];
	const uint32_t index = draft->counts[POLICY_VPCS]++;
	struct policy_vpc *to = &draft->vpcs[index];
	snprintf(to->id, ID_SIZE_BYTES, "v%u", of->id);
	to->incarnation = of->incarnation;
	to->workspace_index = workspace_index;
	to->vni = model_vni(v);
	to->flags = of->listed && !of->open ? POLICY_VPC_WORKERS_LISTED : 0;
	to->cidr_first = draft->counts[POLICY_CIDRS];
	to->cidr_count = of->narrow ? 2 : 1;
	/* Narrow: 10.0.0.0/30 and 10.0.9.0/24, which is not what most of the workers have. */
	draft->cidrs[draft->counts[POLICY_CIDRS]++] = (struct policy_cidr){WORLD_IP(10, 0, 0, 0), of->narrow ? 30 : 16};
	if (of->narrow)
		draft->cidrs[draft->counts[POLICY_CIDRS]++] = (struct policy_cidr){WORLD_IP(10, 0, 9, 0), 24};
	for (unsigned k = 0; of->listed && k < MODEL_WORKERS; k++) {
		const struct model_worker *worker = &model->workers[v][k];
		if (worker->present)
			draft->workers[draft->counts[POLICY_WORKERS]++] = (struct policy_worker){
				.incarnation = worker->incarnation,
				.vpc_index = index,
				.address = model_worker_address(k),
				.vtep = worker->vtep,
			};
	}
}

void model_draft(struct model *model, const struct model *before, struct world_draft *draft)
{
	lives(model, before);
	memset(draft->counts, 0, sizeof(draft->counts));
	memset(draft->workspaces, 0, sizeof(draft->workspaces));
	memset(draft->vpcs, 0, sizeof(draft->vpcs));
	draft->header.vtep_address = model->vtep_address;
	draft->header.vxlan_udp_port = model->vxlan_port;
	draft->header.hairpin = model->hairpin ? POLICY_HAIRPIN_ALLOW : POLICY_HAIRPIN_DENY;
	draft->header.encapsulation = model->plain ? POLICY_ENCAPSULATION_NONE : POLICY_ENCAPSULATION_VXLAN;
	draft->header.plain_vni = model->plain ? model_vni(0) : 0;
	for (unsigned w = 0; w < MODEL_WORKSPACES; w++) {
		const struct model_workspace *of = &model->workspaces[w];
		if (!of->present)
			continue;
		const uint32_t index = draft->counts[POLICY_WORKSPACES]++;
		struct policy_workspace *to = &draft->workspaces[index];
		snprintf(to->id, ID_SIZE_BYTES, "w%u", w);
		to->incarnation = of->incarnation;
		to->flags = of->flags;
		to->mapping_tcp = of->mapping_tcp;
		to->mapping_udp = of->mapping_udp;
		to->timers = of->timers;
		to->limits = of->limits;
		draft_rules(draft, to, of->rules);
		to->egress_first = draft->counts[POLICY_EGRESS_IPS];
		for (unsigned i = 0; i < MODEL_IPS; i++)
			if (model->ips[i].present && model->ips[i].workspace == w)
				draft->egress_ips[draft->counts[POLICY_EGRESS_IPS]++] = (struct policy_egress_ip){
					.incarnation = model->ips[i].incarnation,
					.address = model_ip_address(i),
					.workspace_index = index,
					.state = model->ips[i].draining ? POLICY_EGRESS_DRAINING : POLICY_EGRESS_ACTIVE,
					.port_first = model_ip_port(i),
					.port_last = model_ip_port(i) != 0
							     ? (uint16_t)(model_ip_port(i) + MODEL_SHARE_PORTS - 1)
							     : 0,
				};
		to->egress_count = draft->counts[POLICY_EGRESS_IPS] - to->egress_first;
		for (unsigned v = 0; v < MODEL_VPCS; v++)
			if (model->vpcs[v].present && model->vpcs[v].workspace == w)
				draft_vpc(model, draft, v, index);
	}
	draft->counts[POLICY_VTEP_PREFIXES] = model->vtep_distrusted ? 2 : 1;
	draft->vteps[0] = model->vtep_distrusted ? (struct policy_vtep_prefix){model_vtep(0), 32}
						 : (struct policy_vtep_prefix){WORLD_IP(10, 100, 0, 0), 24};
	draft->vteps[1] = (struct policy_vtep_prefix){model_vtep(1), 32};
}

bool model_portless(const uint8_t *ip)
{
	const uint8_t *l4 = ip + (ip[0] % 16) * 4u;
	return (ip[6] & 0x1f) != 0 || ip[7] != 0 || (ip[9] == 1 && l4[0] != 0 && l4[0] != 8);
}

int model_owner(const struct model *model, uint32_t address, const uint8_t *ip)
{
	const uint8_t *l4 = ip + (ip[0] % 16) * 4u;
	const unsigned port = ip[9] == 1 ? l4[4] * 256u + l4[5] : l4[0] * 256u + l4[1];
	for (unsigned i = 0; i < MODEL_IPS; i++) {
		const unsigned first = model_ip_port(i);
		if (model->ips[i].present && model_ip_address(i) == address &&
			(first == 0 || model_portless(ip) || (port >= first && port < first + MODEL_SHARE_PORTS)))
			return (int)i;
	}
	return -1;
}

bool model_owns(const struct model *model, uint32_t address, unsigned workspace)
{
	for (unsigned i = 0; i < MODEL_IPS; i++)
		if (model->ips[i].present && model_ip_address(i) == address && model->ips[i].workspace == workspace)
			return true;
	return false;
}

bool model_owns_life(const struct model *model, uint32_t address, uint64_t life)
{
	for (unsigned w = 0; w < MODEL_WORKSPACES; w++)
		if (model->workspaces[w].present && model->workspaces[w].life == life)
			return model_owns(model, address, w);
	return false;
}

int model_vpc_of(const struct model *model, uint32_t vni)
{
	const uint32_t vpc = vni - model_vni(0);
	return vpc < MODEL_VPCS && model->vpcs[vpc].present ? (int)vpc : -1;
}

struct tag model_tag(const struct model *model, unsigned vpc, uint32_t address)
{
	const struct model_vpc *of = &model->vpcs[vpc];
	const uint32_t worker = address - model_worker_address(0);
	return (struct tag){
		.workspace = model->workspaces[of->workspace].life,
		.vpc = of->life,
		.worker = of->listed && worker < MODEL_WORKERS && model->workers[vpc][worker].present
				  ? model->workers[vpc][worker].life
				  : 0,
	};
}

bool model_same_vpc(const struct model *model, const struct tag *tag, unsigned vpc)
{
	const struct model_vpc *of = &model->vpcs[vpc];
	return (of->open || !of->listed || tag->worker == 0) && tag->vpc == of->life &&
	       tag->workspace == model->workspaces[of->workspace].life;
}
