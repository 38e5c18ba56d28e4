/* SPDX-License-Identifier: Apache-2.0 */
/* Reading what the classifier's programs have counted: the second half of control/classifier.h. */
#include <errno.h>
#include <stdlib.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "control/classifier.h"
#include "control/classifier_state.h"

static_assert(sizeof(struct classifier_counters) == WORKER_DROP_COUNT * sizeof(__u64), "value of workspace_drops");

static const struct {
	const char *label, *text;
} drops[WORKER_DROP_COUNT] = {
#define DROP(name, label, text) {label, text},
	WORKER_DROPS(DROP)
#undef DROP
};

const char *classifier_drop_label(unsigned reason)
{
	return drops[reason].label;
}

const char *classifier_drop_text(unsigned reason)
{
	return drops[reason].text;
}

enum status classifier_read(struct classifier *classifier, struct classifier_counters *ret_counters)
{
	int map_fd = bpf_map__fd(classifier->bpf->maps.worker_drops);
	struct classifier_counters counters = {0};
	uint64_t *values;

	if (classifier->cpu_count <= 0)
		return STATUS_SYSTEM;
	values = calloc((size_t)classifier->cpu_count, sizeof(*values));
	if (!values)
		return STATUS_NO_MEMORY;
	for (uint32_t reason = 0; reason < WORKER_DROP_COUNT; reason++) {
		if (bpf_map_lookup_elem(map_fd, &reason, values) != 0) {
			free(values);
			return STATUS_SYSTEM;
		}
		for (int cpu = 0; cpu < classifier->cpu_count; cpu++)
			counters.drops[reason] += values[cpu];
	}
	free(values);
	*ret_counters = counters;
	return STATUS_OK;
}

enum status classifier_read_workspace(
	struct classifier *classifier, uint32_t workspace_index, struct workspace_traffic *ret_traffic)
{
	int map_fd = bpf_map__fd(classifier->bpf->maps.workspace_counters);
	struct workspace_traffic sum = {0}, *values;

	if (classifier->cpu_count <= 0)
		return STATUS_SYSTEM;
	values = calloc((size_t)classifier->cpu_count, sizeof(*values));
	if (!values)
		return STATUS_NO_MEMORY;
	if (bpf_map_lookup_elem(map_fd, &workspace_index, values) != 0) {
		free(values);
		return errno == ENOENT ? STATUS_INVALID : STATUS_SYSTEM;
	}
	for (int cpu = 0; cpu < classifier->cpu_count; cpu++) {
		sum.out_packets += values[cpu].out_packets;
		sum.out_bytes += values[cpu].out_bytes;
		sum.in_packets += values[cpu].in_packets;
		sum.in_bytes += values[cpu].in_bytes;
		sum.dropped_packets += values[cpu].dropped_packets;
	}
	free(values);
	*ret_traffic = sum;
	return STATUS_OK;
}

enum status classifier_clear_workspace(struct classifier *classifier, uint32_t workspace_index)
{
	int map_fd = bpf_map__fd(classifier->bpf->maps.workspace_counters);
	struct workspace_traffic *zeros;
	int error;

	if (classifier->cpu_count <= 0)
		return STATUS_SYSTEM;
	zeros = calloc((size_t)classifier->cpu_count, sizeof(*zeros));
	if (!zeros)
		return STATUS_NO_MEMORY;
	error = bpf_map_update_elem(map_fd, &workspace_index, zeros, BPF_EXIST);
	free(zeros);
	if (error == 0)
		error = bpf_map_update_elem(bpf_map__fd(classifier->bpf->maps.workspace_drops), &workspace_index,
			&(struct classifier_counters){0}, BPF_EXIST);
	return error == 0 ? STATUS_OK : STATUS_SYSTEM;
}

enum status classifier_read_workspace_drops(
	struct classifier *classifier, uint32_t workspace_index, struct classifier_counters *ret_counters)
{
	int map_fd = bpf_map__fd(classifier->bpf->maps.workspace_drops);
	struct classifier_counters counters;

	if (bpf_map_lookup_elem(map_fd, &workspace_index, &counters) != 0)
		return errno == ENOENT ? STATUS_INVALID : STATUS_SYSTEM;
	*ret_counters = counters;
	return STATUS_OK;
}

enum status classifier_read_worker(struct classifier *classifier, uint32_t ifindex, struct worker_traffic *ret_traffic)
{
	struct worker_value value;

	if (bpf_map_lookup_elem(classifier->maps.workers, &ifindex, &value) != 0)
		return errno == ENOENT ? STATUS_UNREACHABLE : STATUS_SYSTEM;
	*ret_traffic = value.traffic;
	return STATUS_OK;
}
