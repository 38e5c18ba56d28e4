/* SPDX-License-Identifier: Apache-2.0 */
#include "control/apply_host.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bpf/maps.h"
#include "control/admission.h"
#include "control/audit.h"
#include "control/classifier_cgroup.h"
#include "control/classifier_link.h"
#include "control/daemon.h"
#include "control/dataplane_client.h"
#include "control/gateway_choice.h"
#include "control/gateways.h"
#include "control/host_interfaces.h"
#include "control/rib.h"
#include "control/scalar.h"
#include "control/state.h"
#include "control/steer.h"

static bool problems_are_equal(const struct problems *a, const struct problems *b)
{
	if (a->count != b->count || a->dropped_count != b->dropped_count)
		return false;
	for (size_t i = 0; i < a->count; i++) {
		if (strcmp(a->lines[i], b->lines[i]) != 0)
			return false;
	}
	return true;
}

/* Logs what is new; the same problems each second are one event. */
static void problems_replace(const struct log *log, enum log_level level, struct problems *before, struct problems *now)
{
	if (!problems_are_equal(before, now))
		log_problems(log, level, now);
	problems_clear(before);
	*before = *now;
}

/* ---- classifier ---- */

static bool directory_is_empty(const char *path)
{
	DIR *directory = opendir(path);
	const struct dirent *entry;
	bool empty = true;

	if (directory == NULL)
		return true;
	while (empty && (entry = readdir(directory)) != NULL)
		empty = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
	closedir(directory);
	return empty;
}

static bool classifier_ensure(struct daemon *daemon)
{
	char pin_dir[4096];
	struct problems problems = {0};
	bool fresh;

	if (daemon->classifier != NULL)
		return true;
	snprintf(pin_dir, sizeof(pin_dir), "%s/bpf", daemon->options.run_dir);
	fresh = directory_is_empty(pin_dir);
	if (classifier_open(pin_dir, &daemon->classifier, &problems) == STATUS_OK) {
		problems_clear(&problems);
		/* What an earlier posternd pinned goes on working until the dataplane has acknowledged. */
		daemon->apply.claims_only = fresh && daemon->apply.in_force == NULL;
		return true;
	}
	daemon->apply.classifier_failed = true;
	daemon->apply.reconcile_errors++;
	problems_replace(&daemon->log, LOG_LEVEL_ERROR, &daemon->apply.classifier_problems, &problems);
	return false;
}

/*
 * The revision whose workers are wanted. After a refusal it is the one that stays in force. NULL: leave the classifier
 * alone, since what is pinned may still be right.
 */
static struct revision *classifier_basis(const struct daemon *daemon)
{
	const struct daemon_apply *apply = &daemon->apply;

	if (apply->refused && apply->in_force != NULL)
		return apply->in_force;
	if (daemon_gateway(daemon) != NULL && apply->in_force == NULL && !apply->claims_only)
		return NULL;
	return daemon->config.desired;
}

static void workspaces_gateways_up(
	const struct daemon *daemon, const struct model *model, bool ret_up[BPF_GATEWAY_COUNT_MAX])
{
	const struct model_worker_host *host = &model->worker_host;

	gateways_set(daemon->gateways, host->gateways, host->gateway_count, (host->flags & MODEL_GATEWAY_PROBE) != 0);
	gateways_up(daemon->gateways, host->gateways, host->gateway_count, ret_up);
}

static struct classifier_workspace workspace_of(const struct model_worker_host *host,
	const struct model_workspace *workspace, const bool up[BPF_GATEWAY_COUNT_MAX], uint32_t index)
{
	return (struct classifier_workspace){
		.index = index,
		.gateway = gateway_choose(workspace->id, host->gateways, up, host->gateway_count),
		.dscp_set = workspace->dscp != MODEL_DSCP_KEEP,
		.dscp = workspace->dscp,
		.packets_per_second = workspace->worker_rates.packets_per_second,
		.packets_burst = workspace->worker_rates.packets_burst,
		.bytes_per_second = workspace->worker_rates.bytes_per_second,
		.bytes_burst = workspace->worker_rates.bytes_burst,
		.rules = workspace->rules,
		.rule_count = workspace->rule_count,
		.default_deny = (workspace->flags & POLICY_WORKSPACE_DEFAULT_DENY) != 0,
	};
}

/* The workspaces that have a worker here; `ret_workspaces` has room for all of the model. */
static size_t workspaces_fill(
	const struct daemon *daemon, const struct model *model, struct classifier_workspace *ret_workspaces)
{
	bool up[BPF_GATEWAY_COUNT_MAX];
	size_t count = 0;

	workspaces_gateways_up(daemon, model, up);
	for (size_t i = 0; i < model->workspace_count; i++) {
		uint32_t index;

		/* apply_host_fill() has given an index to each one that has a worker. */
		if (state_find_workspace_index(daemon->state, model->workspaces[i].id, &index))
			ret_workspaces[count++] = workspace_of(&model->worker_host, &model->workspaces[i], up, index);
	}
	return count;
}

/* Its index is new: nobody's counters are in it any more, and its rules are before its first worker opens. */
static enum status workspace_introduce(struct daemon *daemon, const struct model *model, const char *id, uint32_t index)
{
	enum status status = classifier_clear_workspace(daemon->classifier, index);
	struct problems problems = {0};
	bool up[BPF_GATEWAY_COUNT_MAX];

	workspaces_gateways_up(daemon, model, up);
	for (size_t i = 0; i < model->workspace_count && status == STATUS_OK; i++) {
		struct classifier_workspace workspace;

		if (strcmp(model->workspaces[i].id, id) != 0)
			continue;
		workspace = workspace_of(&model->worker_host, &model->workspaces[i], up, index);
		status = classifier_set_workspace(daemon->classifier, &workspace, &problems);
	}
	log_problems(&daemon->log, LOG_LEVEL_ERROR, &problems);
	problems_clear(&problems);
	return status;
}

void apply_host_fill(struct daemon *daemon, const struct model *model, const struct worker *worker, bool admitted,
	struct classifier_worker *ret_worker)
{
	const struct worker_spec *spec = &worker->spec;
	enum status status;
	uint32_t index = 0;
	bool is_new = false;

	memset(ret_worker, 0, sizeof(*ret_worker));
	memcpy(ret_worker->interface, spec->interface, sizeof(ret_worker->interface));
	ret_worker->address = spec->address;
	ret_worker->vni = worker->vni;
	ret_worker->cgroup_id = worker->cgroup_id;
	ret_worker->mac_pinned = spec->mac_present;
	memcpy(ret_worker->mac, spec->mac, sizeof(ret_worker->mac));
	/* Without a counter of its own a worker stays closed: its traffic would be counted as another's. One may become
	 * free by this very round. */
	status = state_workspace_index(daemon->state, spec->workspace, &index, &is_new);
	if (status == STATUS_OK && is_new)
		status = workspace_introduce(daemon, model, spec->workspace, index);
	if (status != STATUS_OK)
		daemon->apply.dirty = true;
	ret_worker->admitted = status == STATUS_OK && admitted;
	ret_worker->workspace_index = index;
}

/* Every worker that counts. NULL without memory. */
static struct classifier_worker *workers_fill(struct daemon *daemon, const struct model *model, size_t *ret_count)
{
	const struct worker_registry *registry = admission_registry(daemon->admission);
	struct classifier_worker *workers = calloc(worker_registry_count(registry) + 1, sizeof(*workers));
	size_t count = 0;

	for (size_t i = 0; workers != NULL && i < worker_registry_count(registry); i++) {
		const struct worker *worker = worker_registry_at(registry, i);

		if (worker->active)
			apply_host_fill(
				daemon, model, worker, admission_allows(daemon->admission, worker), &workers[count++]);
	}
	*ret_count = count;
	return workers;
}

/* Those that wait for their interface, or cgroup; before admission has looked, too. */
static void tell_missing(const struct daemon *daemon, struct problems *problems)
{
	const struct worker_registry *registry = admission_registry(daemon->admission);

	for (size_t i = 0; i < worker_registry_count(registry); i++) {
		const struct worker *worker = worker_registry_at(registry, i);
		const struct worker_spec *spec = &worker->spec;

		if (!worker->active || worker->ifindex != 0)
			continue;
		if (spec->cgroup == NULL && classifier_link_index(spec->interface) == 0)
			problems_add(problems,
				"%s: the worker's interface does not exist (yet); it is taken up when it does",
				spec->interface);
		else if (spec->cgroup != NULL && classifier_cgroup_id(spec->cgroup) == 0)
			problems_add(problems,
				"%s: the worker's cgroup does not exist (yet); it is taken up when it does",
				spec->cgroup);
	}
}

/* What is wanted by the model; what it points to is the caller's. */
static struct classifier_desired desired_of(const struct model *model)
{
	const struct model_worker_host *host = &model->worker_host;

	return (struct classifier_desired){
		.gateways = host->gateways,
		.gateway_count = host->gateway_count,
		.vtep = host->vtep,
		.mtu_bytes = host->mtu_bytes,
		.cgroups = {.path = host->cgroups.present ? host->cgroups.path : NULL,
			.interface = host->cgroups.interface},
		.dhcp = {.lease_s = host->flags & MODEL_DHCP_ANSWER ? host->dhcp_lease_s : 0,
			.dns = host->dns,
			.dns_count = host->dns_count},
		.vxlan_device = host->present ? host_interfaces_device(host) : NULL,
	};
}

/* `with_workers`: theirs, too; else all but that. */
static enum status compare(
	struct daemon *daemon, const struct model *model, bool with_workers, struct problems *problems)
{
	struct classifier_desired desired = desired_of(model);
	struct classifier_worker *workers = workers_fill(daemon, model, &desired.worker_count);
	struct classifier_workspace *workspaces = calloc(model->workspace_count + 1, sizeof(*workspaces));
	enum status status = STATUS_NO_MEMORY;
	size_t missing;

	if (workers != NULL && workspaces != NULL) {
		desired.workers = workers;
		desired.workspaces = workspaces;
		desired.workspace_count = workspaces_fill(daemon, model, workspaces);
		status = state_save_workspace_indexes(daemon->state, problems);
		if (status == STATUS_OK)
			status = with_workers ? classifier_apply(daemon->classifier, &desired, &missing, problems)
					      : classifier_apply_common(daemon->classifier, &desired, problems);
		if (status == STATUS_OK)
			status = state_release_workspace_indexes(daemon->state, problems);
	}
	free(workers);
	free(workspaces);
	return status;
}

static void classifier_compare(struct daemon *daemon, const struct model *model, bool with_workers)
{
	struct daemon_apply *apply = &daemon->apply;
	struct problems problems = {0};
	enum status status;

	tell_missing(daemon, &problems);
	status = compare(daemon, model, with_workers, &problems);
	apply->classifier_failed = status != STATUS_OK;
	apply->classifier_done = status == STATUS_OK;
	if (status == STATUS_OK && with_workers)
		admission_applied(daemon->admission);
	if (status != STATUS_OK)
		apply->reconcile_errors++;
	problems_replace(&daemon->log, status == STATUS_OK ? LOG_LEVEL_WARNING : LOG_LEVEL_ERROR,
		&apply->classifier_problems, &problems);
}

void apply_host_classifier(struct daemon *daemon)
{
	struct revision *basis = classifier_basis(daemon);

	if (basis == NULL)
		return;
	if (!basis->model->worker_host.present && daemon->classifier == NULL)
		return;
	/* A worker host that is none any more has no workers: their interfaces are closed, as by any reload. */
	if (!classifier_ensure(daemon))
		return;
	classifier_attach_on_clsact(daemon->classifier, (basis->model->worker_host.flags & MODEL_ATTACH_CLSACT) != 0);
	admission_set_basis(daemon->admission, basis);
	classifier_compare(daemon, basis->model, true);
}

void apply_host_classifier_common(struct daemon *daemon)
{
	struct revision *basis = classifier_basis(daemon);

	if (basis == NULL || daemon->classifier == NULL)
		return;
	if (!daemon->apply.classifier_done) {
		apply_host_classifier(daemon);
		return;
	}
	admission_set_basis(daemon->admission, basis);
	classifier_compare(daemon, basis->model, false);
}

void apply_host_gateways(struct daemon *daemon)
{
	const struct revision *basis = classifier_basis(daemon);
	struct classifier_workspace *workspaces;
	struct problems problems = {0};

	if (basis == NULL || daemon->classifier == NULL || !daemon->apply.classifier_done)
		return;
	workspaces = calloc(basis->model->workspace_count + 1, sizeof(*workspaces));
	if (workspaces == NULL || classifier_apply_workspaces(daemon->classifier, workspaces,
					  workspaces_fill(daemon, basis->model, workspaces), &problems) != STATUS_OK)
		daemon->apply.dirty = true;
	log_problems(&daemon->log, LOG_LEVEL_WARNING, &problems);
	problems_clear(&problems);
	free(workspaces);
}

void apply_host_gateways_tick(struct daemon *daemon)
{
	struct gateways_row before[BPF_GATEWAY_COUNT_MAX];
	size_t count = gateways_count(daemon->gateways);

	for (size_t i = 0; i < count; i++)
		before[i] = gateways_get(daemon->gateways, i);
	if (!gateways_tick(daemon->gateways))
		return;
	apply_host_gateways(daemon);
	for (size_t i = 0; i < count; i++) {
		struct gateways_row now = gateways_get(daemon->gateways, i);
		char what[SCALAR_SIZE_BYTES + 16], address[SCALAR_SIZE_BYTES];

		if (now.silent == before[i].silent)
			continue;
		scalar_format_ipv4(now.address, address);
		snprintf(what, sizeof(what), "gateway %s", address);
		audit_write(daemon->audit, "posternd", what, json_pack("{s:b}", "answers", !before[i].silent),
			json_pack("{s:b}", "answers", !now.silent));
	}
}

/* ---- steering ---- */

/* Only AF_XDP ports have a steering program. */
static bool port_is_steered(const struct daemon *daemon, unsigned port)
{
	char driver[INTERFACE_NAME_SIZE_BYTES];

	counters_view_driver(&daemon->counters, port, driver);
	return strcmp(driver, "net_af_xdp") == 0;
}

size_t apply_host_egress_ips(const struct model *model, uint32_t **ret_ips)
{
	size_t count = model->shared_pool_ip_count, at = 0;
	uint32_t *ips;

	for (size_t i = 0; i < model->workspace_count; i++)
		count += model->workspaces[i].egress_ip_count + model->workspaces[i].draining_ip_count;
	ips = calloc(count + 1, sizeof(*ips));
	*ret_ips = ips;
	if (ips == NULL)
		return 0;
	for (size_t i = 0; i < model->workspace_count; i++) {
		const struct model_workspace *workspace = &model->workspaces[i];

		for (size_t j = 0; j < workspace->egress_ip_count; j++)
			ips[at++] = workspace->egress_ips[j];
		for (size_t j = 0; j < workspace->draining_ip_count; j++)
			ips[at++] = workspace->draining_ips[j];
	}
	for (size_t i = 0; i < model->shared_pool_ip_count; i++)
		ips[at++] = model->shared_pool_ips[i];
	return at;
}

void apply_host_steering(struct daemon *daemon)
{
	struct daemon_apply *apply = &daemon->apply;
	const struct model *model = apply->in_force != NULL ? apply->in_force->model : NULL;
	struct problems problems = {0};
	size_t egress_ip_count;
	uint32_t *egress_ips;
	bool failed = false;

	if (model == NULL || !model->gateway.present || !dataplane_client_is_connected(daemon->client) ||
		apply->answered == NULL || apply->refused)
		return;
	apply->steered_vtep = rib_get_view(daemon->rib)->ports[PORT_INSIDE].address;
	egress_ip_count = apply_host_egress_ips(model, &egress_ips);
	for (unsigned port = 0; port < PORT_COUNT && egress_ips != NULL; port++) {
		const struct steer_desired desired = {
			.role = port == PORT_INSIDE ? STEER_ROLE_INSIDE : STEER_ROLE_OUTSIDE,
			.vtep = apply->steered_vtep,
			.trusted_vteps = model->gateway.trusted_vteps,
			.trusted_vtep_count = model->gateway.trusted_vtep_count,
			.egress_ips = egress_ips,
			.egress_ip_count = egress_ip_count,
		};

		if (!port_is_steered(daemon, port))
			continue;
		switch (steer_apply(model->gateway.ports[port].interface, &desired, &problems)) {
		case STATUS_OK:
			break;
		case STATUS_UNREACHABLE:
			problems_add(&problems,
				"%s: carries no postern steering program, so no packet reaches postern-dataplane: "
				"restart "
				"postern-dataplane",
				model->gateway.ports[port].interface);
			failed = true;
			break;
		default:
			failed = true;
			break;
		}
	}
	failed = failed || egress_ips == NULL;
	free(egress_ips);
	apply->steer_failed = failed;
	apply->steered = apply->steered || !failed;
	if (failed)
		apply->reconcile_errors++;
	problems_replace(&daemon->log, failed ? LOG_LEVEL_ERROR : LOG_LEVEL_WARNING, &apply->steer_problems, &problems);
}
