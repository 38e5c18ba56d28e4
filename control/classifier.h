/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The classifier on a worker host: loads bpf/worker.bpf.c, attaches it, and keeps its maps equal to what is wanted.
 *
 * Programs and maps are pinned under a 0700 directory on bpffs, so that they go on working while posternd is
 * away (P4) and are adopted when it comes back. libbpf's own messages are switched off: what failed is in the problems.
 * Thread: posternd's only one.
 */
#ifndef POSTERN_CONTROL_CLASSIFIER_H
#define POSTERN_CONTROL_CLASSIFIER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bpf/maps.h"
#include "control/status.h"
#include "dataplane/contract/policy.h"

struct classifier;

struct classifier_worker {
	char interface[16];
	uint64_t cgroup_id; /* 0: it is the interface; else the worker is this cgroup (classifier_cgroup_id()) */
	uint32_t address;   /* host order, as all here */
	uint32_t vni;
	bool mac_pinned;
	uint8_t mac[6];
	uint32_t workspace_index; /* < BPF_WORKSPACE_COUNT_MAX; index of the workspace's counters, for as long as it
				     lives */
	bool admitted;		  /* false: the interface is claimed (everything is dropped), but not open */
};

enum {
	/* A worker's one buffer may be this much (GSO); a bucket that holds less would never let it through. */
	CLASSIFIER_PACKETS_BURST_MIN = 64,
	CLASSIFIER_BYTES_BURST_MIN = 128 * 1024,
};

/* A workspace that has workers here. */
struct classifier_workspace {
	uint32_t index;	  /* classifier_worker.workspace_index */
	uint32_t gateway; /* outer destination; 0: none is up, and everything is dropped */
	bool dscp_set;
	uint8_t dscp; /* 0..63 */
	/* Of each worker; 0: no limit; burst 0: a tenth of a second. */
	uint64_t packets_per_second, packets_burst, bytes_per_second, bytes_burst;
	const struct policy_rule *rules; /* of egress, first match first */
	size_t rule_count;
	bool default_deny; /* what no rule matches */
};

/* Workers that are cgroups: bpf/worker_cgroup.h. */
struct classifier_cgroups {
	const char *path; /* NULL: there are none */
	const char *interface;
};

/* What DHCP tells the workers of interfaces. */
struct classifier_dhcp {
	uint32_t lease_s; /* 0: it is dropped */
	const uint32_t *dns;
	size_t dns_count; /* at most WORKER_DNS_COUNT_MAX */
};

struct classifier_desired {
	const struct classifier_workspace *workspaces;
	size_t workspace_count;
	const struct classifier_worker *workers;
	size_t worker_count;
	const uint32_t *gateways;
	size_t gateway_count;
	uint32_t vtep;	    /* this host's own */
	uint32_t mtu_bytes; /* of the workers' packets */
	struct classifier_cgroups cgroups;
	struct classifier_dhcp dhcp;
	const char *vxlan_device; /* created when missing: external, port 4789, no learning; NULL: none, no workers */
};

/* Loads or adopts. `pin_dir`: on bpffs (mounted there when it is not), created 0700. */
enum status classifier_open(const char *pin_dir, struct classifier **ret_classifier, struct problems *problems);

/*
 * Makes the kernel equal to `desired`: additions in the order claim → maps → open, removals the other way round.
 * Level-triggered: reads back what is there, corrects it, and may be called again at any time. A worker whose interface
 * does not exist (yet) is counted in `ret_missing`; one whose interface cannot be claimed is a problem, and not open
 * (classifier_is_open()). The others are applied all the same.
 *
 * An interface whose worker is no longer wanted stays closed, for as long as it exists: without a program on it the
 * host's own stack would take the worker's traffic, and might forward it untranslated (P1, P3). So does all that is
 * below `cgroups.path`. When that can not be closed or its interface is not as it must be, that is a problem and no
 * failure: the workers there stay closed, see classifier_cgroups_are_closed().
 */
enum status classifier_apply(struct classifier *classifier, const struct classifier_desired *desired,
	size_t *ret_missing, struct problems *problems);

/*
 * The part of it that is no worker's: gateways, workspaces, cgroups, the VXLAN device and the configuration; `workers` of
 * `desired` are not looked at. In time that does not grow with their number.
 */
enum status classifier_apply_common(
	struct classifier *classifier, const struct classifier_desired *desired, struct problems *problems);

/*
 * One worker at a time, for those that come and go between two classifier_apply(), which knows them too. The cost does
 * not grow with the number of workers.
 */
struct classifier_change {
	uint32_t ifindex;		 /* or the CGROUP_KEY of worker.cgroup_id */
	struct classifier_worker worker; /* not `admitted`: its entries go; vni and address name them */
	bool claimed;			 /* not `admitted`: it waits; its drops are counted for its workspace */
};

/*
 * Whether an interface that is claimed for the first time gets its programs on clsact, though the kernel has TCX: an
 * attachment to TCX waits until all programs of the host that run have ended (synchronize_rcu), two for each worker.
 * From the next claim on; what is attached already stays where it is.
 */
void classifier_attach_on_clsact(struct classifier *classifier, bool on_clsact);

/*
 * The interface drops everything from here on, unless a worker is open on it. STATUS_UNREACHABLE: it has gone
 * meanwhile.
 */
enum status classifier_claim(
	struct classifier *classifier, uint32_t ifindex, const char *interface, struct problems *problems);

/* What is below cgroups.path sends nothing but by open workers: what classifier_claim() is for an interface. */
bool classifier_cgroups_are_closed(const struct classifier *classifier);

/*
 * Claimed ones are opened, others closed, in the order: what goes, wait until no program can see it, what comes.
 * `vtep`: this host's own. No two changes may have the same interface, or the same VNI and address. The workspaces of
 * the admitted ones are known by classifier_apply() or classifier_set_workspace(): without, all is dropped as
 * `no_gateway`.
 */
enum status classifier_change(struct classifier *classifier, const struct classifier_change *changes, size_t count,
	uint32_t vtep, struct problems *problems);

/* Is exactly this worker open, by an earlier posternd too? */
bool classifier_is_open(const struct classifier *classifier, uint32_t ifindex, uint32_t vni, uint32_t address);

enum status classifier_set_workspace(
	struct classifier *classifier, const struct classifier_workspace *workspace, struct problems *problems);

/* All workspaces, without a look at any interface: when another gateway is to be used. */
enum status classifier_apply_workspaces(struct classifier *classifier, const struct classifier_workspace *workspaces,
	size_t workspace_count, struct problems *problems);

struct classifier_counters {
	uint64_t drops[WORKER_DROP_COUNT];
};

/* Of an enum worker_drop, below WORKER_DROP_COUNT: for metrics and JSON; in words. */
const char *classifier_drop_label(unsigned reason);
const char *classifier_drop_text(unsigned reason);

enum status classifier_read(struct classifier *classifier, struct classifier_counters *ret_counters);
enum status classifier_read_workspace(
	struct classifier *classifier, uint32_t workspace_index, struct workspace_traffic *ret_traffic);

enum status classifier_read_workspace_drops(
	struct classifier *classifier, uint32_t workspace_index, struct classifier_counters *ret_counters);

/* Since the worker was last admitted. `ifindex`: or its CGROUP_KEY. STATUS_UNREACHABLE: it is not. */
enum status classifier_read_worker(struct classifier *classifier, uint32_t ifindex, struct worker_traffic *ret_traffic);

/*
 * Samples of dropped packets, at most so many a second and CPU beyond a burst; the rest is counted as lost. Off unless
 * somebody watches.
 */
enum { CLASSIFIER_SAMPLES_PER_SECOND = 500 };
enum status classifier_watch_drops(struct classifier *classifier, bool watch);

/* Hands over what has been sampled since the last call; never waits. */
typedef void classifier_sample_fn(void *context, const struct drop_sample *sample);
enum status classifier_read_samples(struct classifier *classifier, classifier_sample_fn *take, void *context);
enum status classifier_samples_lost(struct classifier *classifier, uint64_t *ret_lost);

/* Before the index goes to another workspace: no worker of the old one may be open any more. */
enum status classifier_clear_workspace(struct classifier *classifier, uint32_t workspace_index);

/* Frees memory and fds; programs and pins stay. */
void classifier_close(struct classifier *classifier);

/* Takes everything off the host: programs detached from every interface, pins and VXLAN device removed. */
enum status classifier_detach_all(const char *pin_dir, const char *vxlan_device, struct problems *problems);

#endif
