/* SPDX-License-Identifier: Apache-2.0 */
#include "control/classifier.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netlink.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <netlink/errno.h>
#include <netlink/netlink.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "bpf/worker.skel.h"
#include "control/classifier_cgroup.h"
#include "control/classifier_desired.h"
#include "control/classifier_link.h"
#include "control/classifier_maps.h"
#include "control/classifier_pin.h"
#include "control/classifier_state.h"
#include "control/classifier_tc.h"

enum { DONOR_COUNT_MAX = CLASSIFIER_PROGRAM_COUNT, ANSWER_TIMEOUT_S = 1 };

static enum status netlink_open(struct nl_sock **ret_netlink, struct problems *problems)
{
	/* The kernel answers before it returns from send(): this is for answers that it never gives. */
	static const struct timeval timeout = {.tv_sec = ANSWER_TIMEOUT_S};
	struct nl_sock *netlink = nl_socket_alloc();
	int error;

	if (!netlink)
		return STATUS_NO_MEMORY;
	error = nl_connect(netlink, NETLINK_ROUTE);
	if (error == 0 &&
		setsockopt(nl_socket_get_fd(netlink), SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)) != 0)
		error = -NLE_FAILURE;
	if (error != 0) {
		problems_add(problems, "netlink cannot be opened: %s; run posternd as root", nl_geterror(error));
		nl_socket_free(netlink);
		return STATUS_SYSTEM;
	}
	*ret_netlink = netlink;
	return STATUS_OK;
}

/* One running program of each kind, where there is one: its maps are the ones in force. */
static size_t donors_open(struct nl_sock *netlink, int ret_fds[DONOR_COUNT_MAX])
{
	uint32_t *ifindexes, ids[CLASSIFIER_PROGRAM_COUNT] = {0};
	size_t interface_count, count = 0;

	if (classifier_tc_interfaces(netlink, &ifindexes, &interface_count) != 0)
		return 0;
	for (size_t i = 0; i < interface_count; i++)
		for (int kind = 0; kind < CLASSIFIER_PROGRAM_COUNT; kind++)
			if (ids[kind] == 0)
				ids[kind] = classifier_tc_attached(netlink, ifindexes[i], kind, 0);
	free(ifindexes);
	for (int kind = 0; kind < CLASSIFIER_PROGRAM_COUNT; kind++) {
		int fd = ids[kind] != 0 ? bpf_prog_get_fd_by_id(ids[kind]) : -1;

		if (fd >= 0)
			ret_fds[count++] = fd;
	}
	return count;
}

static enum status bpf_load(struct classifier *classifier, const char *pin_dir, struct problems *problems)
{
	int donor_fds[DONOR_COUNT_MAX];
	size_t donor_count;
	int error;

	classifier->bpf = worker_bpf__open();
	if (!classifier->bpf)
		return STATUS_NO_MEMORY;
	donor_count = donors_open(classifier->netlink, donor_fds);
	classifier_pin_adopt(pin_dir, classifier->bpf->obj, donor_fds, donor_count);
	for (size_t i = 0; i < donor_count; i++)
		close(donor_fds[i]);

	error = worker_bpf__load(classifier->bpf);
	if (error == 0)
		return STATUS_OK;
	problems_add(problems,
		"the kernel refused the classifier's programs: %s; it takes Linux 6.1 or later, and root (CAP_BPF, "
		"CAP_NET_ADMIN)",
		strerror(-error));
	return STATUS_SYSTEM;
}

static bool note_programs(struct classifier *classifier)
{
	const struct bpf_program *programs[CLASSIFIER_PROGRAM_COUNT] = {
		[CLASSIFIER_WORKER_INGRESS] = classifier->bpf->progs.worker_ingress,
		[CLASSIFIER_WORKER_EGRESS] = classifier->bpf->progs.worker_egress,
		[CLASSIFIER_REPLY_INGRESS] = classifier->bpf->progs.reply_ingress,
		[CLASSIFIER_UPLINK_INGRESS] = classifier->bpf->progs.uplink_ingress,
		[CLASSIFIER_UPLINK_EGRESS] = classifier->bpf->progs.uplink_egress,
	};

	classifier->cgroup_fds[CLASSIFIER_CGROUP_EGRESS] = bpf_program__fd(classifier->bpf->progs.cgroup_egress);
	classifier->cgroup_fds[CLASSIFIER_CGROUP_INGRESS] = bpf_program__fd(classifier->bpf->progs.cgroup_ingress);
	classifier->cgroup_fds[CLASSIFIER_CGROUP_SOCKET] = bpf_program__fd(classifier->bpf->progs.cgroup_socket);

	for (int kind = 0; kind < CLASSIFIER_PROGRAM_COUNT; kind++) {
		struct bpf_prog_info info = {0};
		uint32_t info_size_bytes = sizeof(info);

		classifier->program_fds[kind] = bpf_program__fd(programs[kind]);
		if (bpf_obj_get_info_by_fd(classifier->program_fds[kind], &info, &info_size_bytes) != 0)
			return false;
		classifier->program_ids[kind] = info.id;
	}
	return true;
}

enum status classifier_open(const char *pin_dir, struct classifier **ret_classifier, struct problems *problems)
{
	struct classifier *classifier = calloc(1, sizeof(*classifier));
	enum status status;

	if (!classifier)
		return STATUS_NO_MEMORY;
	libbpf_set_print(NULL);
	status = netlink_open(&classifier->netlink, problems);
	if (status == STATUS_OK)
		status = classifier_pin_prepare(pin_dir, problems);
	if (status == STATUS_OK)
		status = bpf_load(classifier, pin_dir, problems);
	if (status == STATUS_OK)
		status = classifier_pin_all(pin_dir, classifier->bpf->obj, problems);
	if (status == STATUS_OK && !note_programs(classifier)) {
		problems_add(problems, "the kernel does not tell about its BPF programs: %s; run posternd as root",
			strerror(errno));
		status = STATUS_SYSTEM;
	}
	if (status != STATUS_OK) {
		classifier_close(classifier);
		return status;
	}
	status = classifier_policy_open(bpf_map__fd(classifier->bpf->maps.workspaces),
		bpf_map__fd(classifier->bpf->maps.rules), &classifier->policy, problems);
	if (status != STATUS_OK) {
		classifier_close(classifier);
		return status;
	}
	classifier->maps = (struct classifier_maps){
		.workers = bpf_map__fd(classifier->bpf->maps.workers),
		.claims = bpf_map__fd(classifier->bpf->maps.claims),
		.deliveries = bpf_map__fd(classifier->bpf->maps.deliveries),
		.gateways = bpf_map__fd(classifier->bpf->maps.gateways),
		.config = bpf_map__fd(classifier->bpf->maps.worker_config),
	};
	classifier->cpu_count = libbpf_num_possible_cpus();
	*ret_classifier = classifier;
	return STATUS_OK;
}

void classifier_close(struct classifier *classifier)
{
	if (!classifier)
		return;
	classifier_policy_close(&classifier->policy);
	if (classifier->bpf)
		worker_bpf__destroy(classifier->bpf);
	if (classifier->netlink)
		nl_socket_free(classifier->netlink);
	free(classifier);
}

static bool is_wanted(const struct classifier_wanted *wanted, uint32_t ifindex)
{
	for (size_t low = 0, high = wanted->worker_count; low < high;) {
		size_t middle = low + (high - low) / 2;

		if (wanted->workers[middle].ifindex == ifindex)
			return true;
		if (wanted->workers[middle].ifindex < ifindex)
			low = middle + 1;
		else
			high = middle;
	}
	return false;
}

static enum status interfaces_list(
	struct nl_sock *netlink, uint32_t **ret_ifindexes, size_t *ret_count, struct problems *problems)
{
	int error = classifier_tc_interfaces(netlink, ret_ifindexes, ret_count);

	if (error == 0)
		return STATUS_OK;
	problems_add(problems, "the interfaces with classifiers cannot be listed: %s; run as root", strerror(-error));
	return STATUS_SYSTEM;
}

/* An older program of ours works by older maps, where the interface may still be open. 0 or the first -errno. */
static int close_interface(const struct classifier *classifier, uint32_t ifindex)
{
	int first_error = 0;

	for (int kind = 0; kind < CLASSIFIER_PROGRAM_COUNT; kind++) {
		uint32_t id = classifier->program_ids[kind];
		uint32_t attached = classifier_tc_attached(classifier->netlink, ifindex, kind, id);
		int error = 0;

		if (attached != 0 && attached != id)
			error = classifier_tc_attach(classifier->netlink, ifindex, kind, classifier->program_fds[kind]);
		if (error != 0 && first_error == 0)
			first_error = error;
	}
	return first_error;
}

/*
 * Interfaces that are workers' no longer (all others but `except_ifindex`): they have no entry in the maps any more, so
 * our programs drop everything there. They stay on, see classifier_apply().
 */
static enum status close_interfaces(const struct classifier *classifier, const struct classifier_wanted *wanted,
	uint32_t except_ifindex, struct problems *problems)
{
	uint32_t *ifindexes;
	size_t count;
	enum status status = interfaces_list(classifier->netlink, &ifindexes, &count, problems);

	if (status != STATUS_OK)
		return status;
	for (size_t i = 0; i < count; i++) {
		char name[IF_NAMESIZE] = "?";
		int error;

		if (ifindexes[i] == except_ifindex || is_wanted(wanted, ifindexes[i]))
			continue;
		error = close_interface(classifier, ifindexes[i]);
		if (error == 0 || error == -ENODEV)
			continue;
		if_indextoname(ifindexes[i], name);
		problems_add(problems, "%s: the classifier cannot be renewed: %s; run as root", name, strerror(-error));
		status = STATUS_SYSTEM;
	}
	free(ifindexes);
	return status;
}

/* Takes our programs off every interface. */
static enum status release_interfaces(struct nl_sock *netlink, struct problems *problems)
{
	uint32_t *ifindexes;
	size_t count;
	enum status status = interfaces_list(netlink, &ifindexes, &count, problems);

	if (status != STATUS_OK)
		return status;
	for (size_t i = 0; i < count; i++) {
		char name[IF_NAMESIZE] = "?";
		int error = classifier_tc_detach(netlink, ifindexes[i]);

		if (error == 0 || error == -ENODEV)
			continue;
		if_indextoname(ifindexes[i], name);
		problems_add(
			problems, "%s: the classifier cannot be taken off: %s; run as root", name, strerror(-error));
		status = STATUS_SYSTEM;
	}
	free(ifindexes);
	return status;
}

/*
 * Attaches where nothing of ours is yet. An older program of ours holds its interface closed or serves it by older
 * maps; it is replaced when the maps are filled, so without a gap.
 */
static int claim_hook(
	const struct classifier *classifier, uint32_t ifindex, enum classifier_program kind, bool *outdated)
{
	uint32_t id = classifier->program_ids[kind];
	uint32_t attached = classifier_tc_attached(classifier->netlink, ifindex, kind, id);

	if (attached == id)
		return 0;
	if (attached != 0) {
		*outdated = true;
		return 0;
	}
	return classifier_tc_attach_first(
		classifier->netlink, ifindex, kind, classifier->program_fds[kind], classifier->on_clsact);
}

static enum status hook_failed(const char *interface, int error, struct problems *problems)
{
	if (error == -ENODEV) {
		problems_add(problems, "%s: the interface has just gone", interface);
		return STATUS_UNREACHABLE;
	}
	classifier_tc_tell(interface, error, "", problems);
	return STATUS_SYSTEM;
}

/* An interface that cannot be claimed is closed, also if it was open; the others' are opened. */
static enum status claim_workers(
	const struct classifier *classifier, struct classifier_wanted *wanted, struct problems *problems)
{
	bool all = true;

	for (size_t i = 0; i < wanted->worker_count; i++) {
		struct wanted_worker *worker = &wanted->workers[i];
		char name[IF_NAMESIZE] = "?";
		int error;

		if (worker->value.cgroup_id != 0)
			continue;
		error = claim_hook(classifier, worker->ifindex, CLASSIFIER_WORKER_INGRESS, &worker->outdated);

		if (error == 0)
			error = claim_hook(classifier, worker->ifindex, CLASSIFIER_WORKER_EGRESS, &worker->outdated);
		if (error == 0)
			continue;
		worker->open = all = false;
		if_indextoname(worker->ifindex, name);
		(void)hook_failed(name, error, problems);
	}
	if (all)
		return STATUS_OK;
	classifier_maps_index(wanted);
	return classifier_maps_remove_these(&classifier->maps, wanted, problems);
}

static enum status update_workers(
	const struct classifier *classifier, const struct classifier_wanted *wanted, struct problems *problems)
{
	enum status status = STATUS_OK;

	for (size_t i = 0; i < wanted->worker_count; i++) {
		uint32_t ifindex = wanted->workers[i].ifindex;
		char name[IF_NAMESIZE] = "?";
		int error = 0;

		if (!wanted->workers[i].outdated)
			continue;
		for (int kind = CLASSIFIER_WORKER_INGRESS; kind <= CLASSIFIER_WORKER_EGRESS && error == 0; kind++)
			error = classifier_tc_attach(classifier->netlink, ifindex, kind, classifier->program_fds[kind]);
		if (error == 0)
			continue;
		if_indextoname(ifindex, name);
		status = hook_failed(name, error, problems);
	}
	return status;
}

static enum status worst(enum status first, enum status second)
{
	return first != STATUS_OK ? first : second;
}

/* The device is there, guarded by a program of ours, and up. */
static enum status claim_device(struct classifier *classifier, const char *device, uint32_t *ret_ifindex,
	bool *ret_outdated, struct problems *problems)
{
	enum status status = classifier_link_ensure(classifier->netlink, device, ret_ifindex, problems);
	int error;

	if (status != STATUS_OK)
		return status;
	error = claim_hook(classifier, *ret_ifindex, CLASSIFIER_REPLY_INGRESS, ret_outdated);
	if (error != 0)
		return hook_failed(device, error, problems);
	return classifier_link_up(classifier->netlink, device, problems);
}

/* Where nothing keeps the cgroups closed nobody among them is open. */
static void claim_cgroups(struct classifier *classifier, struct classifier_wanted *wanted,
	const struct classifier_cgroups *cgroups, struct problems *problems)
{
	classifier_cgroup_claim(classifier, cgroups, &wanted->config, problems);
	for (size_t i = 0; i < wanted->worker_count; i++)
		if (wanted->workers[i].value.cgroup_id != 0 && !classifier->cgroups_closed)
			wanted->workers[i].open = false;
	classifier_maps_index(wanted);
}

/* `workers`: those in `wanted` are all that there are to be; else whatever there is of workers stays. */
static enum status apply_wanted(struct classifier *classifier, struct classifier_wanted *wanted, bool workers,
	const struct classifier_desired *desired, struct problems *problems)
{
	const char *device = desired->vxlan_device;
	const int reply_fd = classifier->program_fds[CLASSIFIER_REPLY_INGRESS];
	enum status status, step;
	uint32_t vxlan_ifindex = 0;
	bool outdated = false;
	int error;

	claim_cgroups(classifier, wanted, &desired->cgroups, problems);
	status = workers ? classifier_maps_remove(&classifier->maps, wanted, problems)
			 : classifier_maps_remove_gateways(&classifier->maps, wanted, problems);
	if (status != STATUS_OK)
		return status;
	if (workers)
		status = close_interfaces(classifier, wanted, device ? if_nametoindex(device) : 0, problems);

	/* Without the device everything is dropped as `tunnel`; the claims are made all the same. */
	if (device) {
		step = claim_device(classifier, device, &vxlan_ifindex, &outdated, problems);
		wanted->config.vxlan_ifindex = step == STATUS_OK ? vxlan_ifindex : 0;
		status = worst(status, step);
	}

	status = worst(status, claim_workers(classifier, wanted, problems));
	step = classifier_policy_apply(&classifier->policy, desired->workspaces, desired->workspace_count, problems);
	if (step == STATUS_OK)
		step = classifier_maps_add(&classifier->maps, wanted, problems);
	status = worst(status, step);
	if (step != STATUS_OK)
		return status;

	status = worst(status, update_workers(classifier, wanted, problems));
	if (outdated) {
		error = classifier_tc_attach(classifier->netlink, vxlan_ifindex, CLASSIFIER_REPLY_INGRESS, reply_fd);
		if (error != 0)
			status = worst(status, hook_failed(device, error, problems));
	}
	return status;
}

static enum status apply(struct classifier *classifier, const struct classifier_desired *desired, bool workers,
	size_t *ret_missing, struct problems *problems)
{
	struct classifier_wanted wanted;
	enum status status;
	size_t missing;

	if (!classifier_desired_is_valid(desired, problems))
		return STATUS_INVALID;
	status = classifier_desired_resolve(desired, &wanted, &missing, problems);
	if (status != STATUS_OK)
		return status;
	status = apply_wanted(classifier, &wanted, workers, desired, problems);
	classifier_wanted_free(&wanted);
	if (status == STATUS_OK)
		*ret_missing = missing;
	return status;
}

enum status classifier_apply(struct classifier *classifier, const struct classifier_desired *desired,
	size_t *ret_missing, struct problems *problems)
{
	return apply(classifier, desired, true, ret_missing, problems);
}

enum status classifier_apply_common(
	struct classifier *classifier, const struct classifier_desired *desired, struct problems *problems)
{
	struct classifier_desired common = *desired;
	size_t missing;

	common.worker_count = 0;
	return apply(classifier, &common, false, &missing, problems);
}

void classifier_attach_on_clsact(struct classifier *classifier, bool on_clsact)
{
	classifier->on_clsact = on_clsact;
}

enum status classifier_claim(
	struct classifier *classifier, uint32_t ifindex, const char *interface, struct problems *problems)
{
	for (int kind = CLASSIFIER_WORKER_INGRESS; kind <= CLASSIFIER_WORKER_EGRESS; kind++) {
		bool outdated = false;
		int error = claim_hook(classifier, ifindex, kind, &outdated);

		if (error == 0 && outdated)
			error = classifier_tc_attach(classifier->netlink, ifindex, kind, classifier->program_fds[kind]);
		if (error != 0)
			return hook_failed(interface, error, problems);
	}
	return STATUS_OK;
}

enum status classifier_change(struct classifier *classifier, const struct classifier_change *changes, size_t count,
	uint32_t vtep, struct problems *problems)
{
	struct classifier_wanted wanted = {
		.workers = calloc(count + 1, sizeof(*wanted.workers)),
		.deliveries = calloc(count + 1, sizeof(*wanted.deliveries)),
	};
	enum status status = STATUS_NO_MEMORY;

	for (size_t i = 0; wanted.workers && i < count; i++)
		wanted.workers[wanted.worker_count++] = (struct wanted_worker){
			.ifindex = changes[i].ifindex,
			.open = changes[i].worker.admitted,
			.claimed = changes[i].claimed,
			.value = classifier_desired_value(&changes[i].worker, vtep),
		};
	if (wanted.workers && wanted.deliveries) {
		classifier_maps_index(&wanted);
		status = classifier_maps_remove_these(&classifier->maps, &wanted, problems);
		if (status == STATUS_OK)
			status = classifier_maps_add_these(&classifier->maps, &wanted, problems);
	}
	classifier_wanted_free(&wanted);
	return status;
}

bool classifier_is_open(const struct classifier *classifier, uint32_t ifindex, uint32_t vni, uint32_t address)
{
	struct worker_value have;

	return bpf_map_lookup_elem(classifier->maps.workers, &ifindex, &have) == 0 && have.vni == vni &&
	       have.address_be == htonl(address);
}

enum status classifier_set_workspace(
	struct classifier *classifier, const struct classifier_workspace *workspace, struct problems *problems)
{
	if (workspace->index >= BPF_WORKSPACE_COUNT_MAX)
		return STATUS_INVALID;
	return classifier_policy_set(&classifier->policy, workspace, problems);
}

enum status classifier_apply_workspaces(struct classifier *classifier, const struct classifier_workspace *workspaces,
	size_t workspace_count, struct problems *problems)
{
	size_t before = problems->count + problems->dropped_count;

	classifier_desired_check_workspaces(workspaces, workspace_count, problems);
	if (problems->count + problems->dropped_count != before)
		return STATUS_INVALID;
	return classifier_policy_apply(&classifier->policy, workspaces, workspace_count, problems);
}

/* Which are told by a map: the one that is pinned, or that of a program on an interface. */
static enum status release_cgroups(struct nl_sock *netlink, const char *pin_dir, struct problems *problems)
{
	int donor_fds[DONOR_COUNT_MAX];
	size_t donor_count = donors_open(netlink, donor_fds);
	uint32_t map_id = classifier_pin_map_id(pin_dir, "worker_drops", donor_fds, donor_count);

	for (size_t i = 0; i < donor_count; i++)
		close(donor_fds[i]);
	return map_id != 0 ? classifier_cgroup_detach_all(map_id, problems) : STATUS_OK;
}

enum status classifier_detach_all(const char *pin_dir, const char *vxlan_device, struct problems *problems)
{
	struct nl_sock *netlink;
	enum status status;

	libbpf_set_print(NULL);
	status = netlink_open(&netlink, problems);
	if (status != STATUS_OK)
		return status;
	status = release_cgroups(netlink, pin_dir, problems);
	status = worst(status, release_interfaces(netlink, problems));
	status = worst(status, classifier_link_remove(netlink, vxlan_device, problems));
	nl_socket_free(netlink);
	return worst(status, classifier_pin_remove(pin_dir, problems));
}
