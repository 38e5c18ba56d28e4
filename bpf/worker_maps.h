/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The maps of the classifier's programs; what is in them: bpf/maps.h. Written by posternd unless said otherwise. */
#ifndef POSTERN_BPF_WORKER_MAPS_H
#define POSTERN_BPF_WORKER_MAPS_H

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "bpf/maps.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, BPF_WORKER_COUNT_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, struct worker_value);
} workers SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, BPF_WORKER_COUNT_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, struct claim_value);
} claims SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, BPF_WORKER_COUNT_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct delivery_key);
	__type(value, struct delivery_value);
} deliveries SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, BPF_GATEWAY_COUNT_MAX);
	__type(key, __be32);
	__type(value, __u8);
} gateways SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct worker_config);
} worker_config SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, BPF_WORKSPACE_COUNT_MAX);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct workspace_value);
} workspaces SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, BPF_RULE_REGION_COUNT_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct rule_key);
	__type(value, struct rule_region);
} rules SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct sample_config);
} sample_config SEC(".maps");

/* Written by the programs, as what of `workers` is their own is. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, WORKER_DROP_COUNT);
	__type(key, __u32);
	__type(value, __u64);
} worker_drops SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, BPF_WORKSPACE_COUNT_MAX);
	__type(key, __u32);
	__type(value, struct workspace_traffic);
} workspace_counters SEC(".maps");

struct workspace_drops_value {
	__u64 drops[WORKER_DROP_COUNT];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, BPF_WORKSPACE_COUNT_MAX);
	__type(key, __u32);
	__type(value, struct workspace_drops_value);
} workspace_drops SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct sample_state);
} sample_state SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, BPF_SAMPLE_RING_BYTES);
} drop_samples SEC(".maps");

#endif
