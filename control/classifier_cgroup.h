/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Workers that are cgroups, for the classifier (bpf/worker_cgroup.h): what identifies a cgroup, and the programs on
 * the cgroup that is above all of them. Attached without a BPF link, they stay until that cgroup goes. Stateless: the
 * kernel is asked each time. Thread: posternd's only one.
 */
#ifndef POSTERN_CONTROL_CLASSIFIER_CGROUP_H
#define POSTERN_CONTROL_CLASSIFIER_CGROUP_H

#include <stdint.h>

#include "bpf/maps.h"
#include "control/status.h"

struct classifier;
struct classifier_cgroups;

enum classifier_cgroup_program {
	CLASSIFIER_CGROUP_EGRESS,
	CLASSIFIER_CGROUP_INGRESS,
	CLASSIFIER_CGROUP_SOCKET,
	CLASSIFIER_CGROUP_PROGRAM_COUNT
};

/* Never given twice while the machine runs. 0: no cgroup (version 2) is at this path. */
uint64_t classifier_cgroup_id(const char *path);

/*
 * Makes the cgroup if it is missing, puts the programs on it and those of the uplink on the interface, in place of
 * older ones of ours without a gap, and fills in their part of `config`. Others' programs stay beside them: a packet
 * passes when all let it through. When something is wrong the part stays zero, and everything closed: `problems` says
 * why.
 */
void classifier_cgroup_claim(struct classifier *classifier, const struct classifier_cgroups *cgroups,
	struct worker_config *config, struct problems *problems);

/*
 * Takes the programs of one classifier off all cgroups that this process can see: those that use the map `worker_drops`
 * with this id. Another one's, of another network namespace, are left.
 */
enum status classifier_cgroup_detach_all(uint32_t map_id, struct problems *problems);

#endif
