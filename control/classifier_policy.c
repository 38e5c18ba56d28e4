/* SPDX-License-Identifier: Apache-2.0 */
#include "control/classifier_policy.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <bpf/bpf.h>

#include "control/classifier.h"
#include "control/classifier_maps.h"
#include "control/rule_regions.h"

enum { MAP_BYTES = BPF_WORKSPACE_COUNT_MAX * (int)sizeof(struct workspace_value) };

#define NS_PER_S 1000000000u

enum status classifier_policy_open(
	int workspaces_fd, int rules_fd, struct classifier_policy *ret_policy, struct problems *problems)
{
	struct bpf_map_info info = {0};
	uint32_t info_size_bytes = sizeof(info);
	void *values;

	if (bpf_obj_get_info_by_fd(rules_fd, &info, &info_size_bytes) != 0) {
		problems_add(problems, "the kernel does not tell about its BPF maps: %s; run posternd as root",
			strerror(errno));
		return STATUS_SYSTEM;
	}
	values = mmap(NULL, MAP_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, workspaces_fd, 0);
	if (values == MAP_FAILED) {
		problems_add(problems, "the classifier's map of workspaces cannot be mapped: %s; run posternd as root",
			strerror(errno));
		return STATUS_SYSTEM;
	}
	*ret_policy = (struct classifier_policy){.values = values, .rules_fd = rules_fd, .rules_seed = info.id};
	return STATUS_OK;
}

void classifier_policy_close(struct classifier_policy *policy)
{
	if (policy->values)
		munmap(policy->values, MAP_BYTES);
	policy->values = NULL;
}

#define STORE(place, value) __atomic_store_n(&(place), (value), __ATOMIC_RELAXED)

static uint64_t at_least(uint64_t value, uint64_t floor)
{
	return value < floor ? floor : value;
}

static void limits_store(struct workspace_value *value, const struct classifier_workspace *workspace)
{
	uint64_t packets = workspace->packets_per_second, bytes = workspace->bytes_per_second;
	uint64_t packet_burst = workspace->packets_burst ? workspace->packets_burst : packets / 10;
	uint64_t byte_burst = workspace->bytes_burst ? workspace->bytes_burst : bytes / 10;
	uint64_t packet_cost_ns = packets ? at_least(NS_PER_S / packets, 1) : 0;
	uint64_t byte_cost_1024 = bytes ? at_least(1024ull * NS_PER_S / bytes, 1) : 0;

	/* Bursts first: a bucket that costs something but holds nothing would let no packet through. */
	STORE(value->packet_burst_ns, at_least(packet_burst, CLASSIFIER_PACKETS_BURST_MIN) * packet_cost_ns);
	STORE(value->byte_burst_ns, at_least(byte_burst, CLASSIFIER_BYTES_BURST_MIN) * byte_cost_1024 / 1024);
	STORE(value->packet_cost_ns, packet_cost_ns);
	STORE(value->byte_cost_1024, byte_cost_1024);
}

/* ---- rules ---- */

/* Two sets for each workspace, of which one is in force. */
static uint32_t set_of(uint32_t workspace_index, uint32_t other_than)
{
	uint32_t first = 2 * workspace_index + 1;

	return other_than == first ? first + 1 : first;
}

static bool set_is_in_force(const struct classifier_policy *policy, uint32_t set)
{
	uint32_t index = (set - 1) / 2;

	return set != 0 && index < BPF_WORKSPACE_COUNT_MAX && policy->values[index].rule_set == set;
}

/* Deletes the regions of all sets that are not in force. No program can be at one: see classifier_maps_wait(). */
static int sets_purge(const struct classifier_policy *policy)
{
	struct rule_key *keys = NULL;
	size_t count = 0;
	int error = classifier_maps_keys(policy->rules_fd, sizeof(*keys), (void **)&keys, &count);

	if (error != 0)
		return error;
	for (size_t i = 0; i < count; i++)
		if (!set_is_in_force(policy, ntohl(keys[i].set_be)) &&
			bpf_map_delete_elem(policy->rules_fd, &keys[i]) != 0 && errno != ENOENT)
			error = -errno;
	free(keys);
	return error;
}

static int set_fill(const struct classifier_policy *policy, uint32_t set, const struct classifier_workspace *workspace)
{
	struct prefix_region *regions;
	size_t count;
	int error = 0;

	if (rule_regions_build(workspace->rules, workspace->rule_count, workspace->default_deny, &regions, &count) !=
		STATUS_OK)
		return -ENOMEM;
	for (size_t i = 0; i < count && error == 0; i++) {
		struct rule_key key = {
			.prefix_length_bits = 32 + regions[i].prefix_length_bits,
			.set_be = htonl(set),
			.address_be = htonl(regions[i].address),
		};

		if (bpf_map_update_elem(policy->rules_fd, &key, &regions[i].region, BPF_ANY) != 0)
			error = -errno;
	}
	free(regions);
	return error;
}

static void rules_switch(struct workspace_value *value, uint32_t set, uint64_t digest)
{
	STORE(value->rule_set, set);
	STORE(value->rules_digest, digest);
}

/* True: another set is in force now. */
static bool rules_apply(
	struct classifier_policy *policy, const struct classifier_workspace *workspace, struct problems *problems)
{
	struct workspace_value *value = &policy->values[workspace->index];
	bool none = workspace->rule_count == 0 && !workspace->default_deny;
	uint64_t digest = none ? 0
			       : rule_regions_digest(workspace->rules, workspace->rule_count, workspace->default_deny,
					 policy->rules_seed);
	uint32_t set = none ? 0 : set_of(workspace->index, value->rule_set);
	int error;

	if (value->rules_digest == digest && (value->rule_set == 0) == none)
		return false;
	error = none ? 0 : set_fill(policy, set, workspace);
	if (error != 0) {
		problems_add(problems,
			"the egress rules of a workspace (%zu of them) do not fit into the classifier: %s; its "
			"gateways "
			"enforce them alone",
			workspace->rule_count, strerror(-error));
		set = 0;
		digest = 0;
	}
	rules_switch(value, set, digest);
	return true;
}

/* True: another set of rules is in force now. */
static bool workspace_store(
	struct classifier_policy *policy, const struct classifier_workspace *workspace, struct problems *problems)
{
	struct workspace_value *value = &policy->values[workspace->index];
	bool switched;

	limits_store(value, workspace);
	STORE(value->dscp, workspace->dscp_set ? WORKSPACE_DSCP_SET | workspace->dscp : 0);
	switched = rules_apply(policy, workspace, problems);
	/* Last: without a gateway nothing goes out. */
	STORE(value->gateway_be, htonl(workspace->gateway));
	return switched;
}

static bool workspace_clear(struct workspace_value *value)
{
	bool switched = value->rule_set != 0;

	STORE(value->gateway_be, 0);
	limits_store(value, &(struct classifier_workspace){0});
	STORE(value->dscp, 0);
	rules_switch(value, 0, 0);
	return switched;
}

/* What a round that was cut short has left would mix with what is filled in now. */
static int policy_begin(const struct classifier_policy *policy)
{
	return policy->checked ? 0 : sets_purge(policy);
}

static enum status policy_end(struct classifier_policy *policy, int error, bool switched, struct problems *problems)
{
	if (switched && error == 0) {
		classifier_maps_wait();
		error = sets_purge(policy);
	}
	policy->checked = error == 0;
	if (error == 0)
		return STATUS_OK;
	problems_add(problems,
		"the classifier's map of rules cannot be cleaned: %s; run posternd as root with enough memory",
		strerror(-error));
	return STATUS_SYSTEM;
}

enum status classifier_policy_set(
	struct classifier_policy *policy, const struct classifier_workspace *workspace, struct problems *problems)
{
	int error = policy_begin(policy);

	return policy_end(policy, error, error == 0 && workspace_store(policy, workspace, problems), problems);
}

enum status classifier_policy_apply(struct classifier_policy *policy, const struct classifier_workspace *workspaces,
	size_t workspace_count, struct problems *problems)
{
	bool *wanted = calloc(BPF_WORKSPACE_COUNT_MAX, sizeof(*wanted));
	bool switched = false;
	int error;

	if (!wanted)
		return STATUS_NO_MEMORY;
	error = policy_begin(policy);
	for (size_t i = 0; i < workspace_count && error == 0; i++) {
		wanted[workspaces[i].index] = true;
		switched |= workspace_store(policy, &workspaces[i], problems);
	}
	for (uint32_t i = 0; i < BPF_WORKSPACE_COUNT_MAX && error == 0; i++)
		if (!wanted[i] && (policy->values[i].gateway_be != 0 || policy->values[i].rule_set != 0))
			switched |= workspace_clear(&policy->values[i]);
	free(wanted);
	return policy_end(policy, error, switched, problems);
}
