/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Dropping: one reason, counted for the host, the workspace and the worker as far as these are known, and a sample of
 * the packet for `postern monitor` while somebody watches.
 */
#ifndef POSTERN_BPF_WORKER_DROP_H
#define POSTERN_BPF_WORKER_DROP_H

#include <linux/bpf.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_helpers.h>

#include "bpf/maps.h"
#include "bpf/worker_limit.h"
#include "bpf/worker_maps.h"

/* A CPU's samples beyond its burst are counted as lost, so that a flood of drops costs a clock reading each and no more. */
static __noinline int sample(struct __sk_buff *skb, enum worker_drop reason, __u32 workspace_index, __u32 vni)
{
	struct sample_config *config;
	struct sample_state *state;
	struct drop_sample *record;
	__u32 zero = 0, length_bytes;
	__u64 now_ns;

	config = bpf_map_lookup_elem(&sample_config, &zero);
	state = bpf_map_lookup_elem(&sample_state, &zero);
	if (!config || !state || config->interval_ns == 0)
		return 0;
	now_ns = bpf_ktime_get_ns();
	if (!bucket_take(&state->full_ns, now_ns, config->interval_ns, config->interval_ns * BPF_SAMPLE_BURST)) {
		state->lost++;
		return 0;
	}
	record = bpf_ringbuf_reserve(&drop_samples, sizeof(*record), 0);
	if (!record) {
		state->lost++;
		return 0;
	}
	state->taken++;
	__builtin_memset(record, 0, sizeof(*record));
	record->time_ns = now_ns;
	record->ifindex = skb->ifindex;
	record->workspace_index = workspace_index;
	record->vni = vni;
	record->reason = reason;
	record->length_bytes = skb->len;
	length_bytes = skb->len;
	if (length_bytes > BPF_SAMPLE_CAPTURE_BYTES)
		length_bytes = BPF_SAMPLE_CAPTURE_BYTES;
	/* Says to the verifier what it can not follow: 1..BPF_SAMPLE_CAPTURE_BYTES. */
	asm volatile("" : "+r"(length_bytes));
	if (length_bytes > 0 && length_bytes <= BPF_SAMPLE_CAPTURE_BYTES &&
		bpf_skb_load_bytes(skb, 0, record->bytes, length_bytes) == 0)
		record->captured_bytes = length_bytes;
	bpf_ringbuf_submit(record, 0);
	return 0;
}

static __always_inline void count_drop(enum worker_drop reason)
{
	__u32 key = reason;
	__u64 *count = bpf_map_lookup_elem(&worker_drops, &key);

	if (count)
		(*count)++;
}

static __always_inline void count_workspace_drop(__u32 workspace_index, enum worker_drop reason)
{
	struct workspace_traffic *traffic = bpf_map_lookup_elem(&workspace_counters, &workspace_index);
	struct workspace_drops_value *by_reason = bpf_map_lookup_elem(&workspace_drops, &workspace_index);

	if (traffic)
		traffic->dropped_packets++;
	if (by_reason && reason < WORKER_DROP_COUNT)
		__sync_fetch_and_add(&by_reason->drops[reason], 1);
}

/* Nobody's. */
static __noinline int drop(struct __sk_buff *skb, enum worker_drop reason)
{
	count_drop(reason);
	sample(skb, reason, SAMPLE_NO_WORKSPACE, 0);
	return TC_ACT_SHOT;
}

static __noinline int drop_of(struct __sk_buff *skb, struct worker_value *worker, enum worker_drop reason)
{
	if (!worker)
		return TC_ACT_SHOT;
	if (reason < WORKER_DROP_COUNT)
		__sync_fetch_and_add(&worker->traffic.drops[reason], 1);
	count_workspace_drop(worker->workspace_index, reason);
	count_drop(reason);
	sample(skb, reason, worker->workspace_index, worker->vni);
	return TC_ACT_SHOT;
}

/* From an interface that has no worker, or whose worker waits for its admission. */
static __noinline int drop_unadmitted(struct __sk_buff *skb)
{
	__u32 ifindex = skb->ifindex;
	struct claim_value *claim = bpf_map_lookup_elem(&claims, &ifindex);

	if (!claim)
		return drop(skb, WORKER_DROP_UNKNOWN_INTERFACE);
	count_workspace_drop(claim->workspace_index, WORKER_DROP_NOT_ADMITTED);
	count_drop(WORKER_DROP_NOT_ADMITTED);
	sample(skb, WORKER_DROP_NOT_ADMITTED, claim->workspace_index, claim->vni);
	return TC_ACT_SHOT;
}

#endif
