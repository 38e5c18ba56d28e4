/* SPDX-License-Identifier: Apache-2.0 */
/* What a classifier consists of. For the files of the classifier only. Thread: posternd's only one. */
#ifndef POSTERN_CONTROL_CLASSIFIER_STATE_H
#define POSTERN_CONTROL_CLASSIFIER_STATE_H

#include <stdbool.h>
#include <stdint.h>

#include "bpf/worker.skel.h"
#include "control/classifier_cgroup.h"
#include "control/classifier_maps.h"
#include "control/classifier_policy.h"
#include "control/classifier_tc.h"

struct classifier {
	struct worker_bpf *bpf;
	struct nl_sock *netlink;
	struct classifier_maps maps;
	struct classifier_policy policy;
	int program_fds[CLASSIFIER_PROGRAM_COUNT];
	uint32_t program_ids[CLASSIFIER_PROGRAM_COUNT];
	bool on_clsact; /* where a program is attached first */
	int cgroup_fds[CLASSIFIER_CGROUP_PROGRAM_COUNT];
	bool cgroups_closed;
	int cpu_count; /* possible ones: values of a per-CPU entry */
};

#endif
