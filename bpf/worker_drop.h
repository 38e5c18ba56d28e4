/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Dropping: one reason, counted for the host, the workspace and the worker as far as these are known, and a sample of
 * the packet for `postern monitor` while somebody watches.
 */
#ifndef POSTERN_BPF_WORKER_DROP_H
#define POSTERN_BPF_WORKER_DROP_H

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_helpers.h>

#include "bpf/maps.h"
#include "bpf/worker_limit.h"
#include "bpf/worker_maps.h"

/* Whether the packet has its Ethernet header (yet): at a cgroup it has not. The value: bytes that are missing. */
enum frame_head { HEAD_ETHERNET = 0, HEAD_NONE = ETH_HLEN };

/* The beginning of the frame, as far as it fits; an Ethernet header that is not there is made of zeros and its type. */
static __always_inline void sample_capture(struct __sk_buff *skb, enum frame_head head, struct drop_sample *record)
{
	__u32 length_bytes = skb->len;
	__be16 protocol_be = (__be16)skb->protocol;

	if (length_bytes > BPF_SAMPLE_CAPTURE_BYTES - head)
		length_bytes = BPF_SAMPLE_CAPTURE_BYTES - head;
	/* Says to the verifier what it can not follow: 1..BPF_SAMPLE_CAPTURE_BYTES - ETH_HLEN. */
	asm volatile("" : "+r"(length_bytes));
	if (head == HEAD_NONE) {
		__builtin_memcpy(record->bytes + 2 * ETH_ALEN, &protocol_be, sizeof(protocol_be));
		if (length_bytes > 0 && length_bytes <= BPF_SAMPLE_CAPTURE_BYTES - ETH_HLEN &&
			bpf_skb_load_bytes(skb, 0, record->bytes + ETH_HLEN, length_bytes) == 0)
			record->captured_bytes = length_bytes + ETH_HLEN;
	} else if (length_bytes > 0 && length_bytes <= BPF_SAMPLE_CAPTURE_BYTES &&
		   bpf_skb_load_bytes(skb, 0, record->bytes, length_bytes) == 0) {
		record->captured_bytes = length_bytes;
	}
}

/*
 * A CPU's samples beyond its burst are counted as lost, so that a flood of drops costs a clock reading each and no more.
 */
static __noinline int sample(
	struct __sk_buff *skb, enum worker_drop reason, __u32 workspace_index, __u32 vni, enum frame_head head)
{
	struct sample_config *config;
	struct sample_state *state;
	struct drop_sample *record;
	__u32 zero = 0;
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
	record->length_bytes = skb->len + head;
	sample_capture(skb, head, record);
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
static __noinline int drop_at(struct __sk_buff *skb, enum worker_drop reason, enum frame_head head)
{
	count_drop(reason);
	sample(skb, reason, SAMPLE_NO_WORKSPACE, 0, head);
	return TC_ACT_SHOT;
}

static __noinline int drop_of_at(
	struct __sk_buff *skb, struct worker_value *worker, enum worker_drop reason, enum frame_head head)
{
	if (!worker)
		return TC_ACT_SHOT;
	if (reason < WORKER_DROP_COUNT)
		__sync_fetch_and_add(&worker->traffic.drops[reason], 1);
	count_workspace_drop(worker->workspace_index, reason);
	count_drop(reason);
	sample(skb, reason, worker->workspace_index, worker->vni, head);
	return TC_ACT_SHOT;
}

static __always_inline int drop(struct __sk_buff *skb, enum worker_drop reason)
{
	return drop_at(skb, reason, HEAD_ETHERNET);
}

static __always_inline int drop_of(struct __sk_buff *skb, struct worker_value *worker, enum worker_drop reason)
{
	return drop_of_at(skb, worker, reason, HEAD_ETHERNET);
}

/* From what has no worker (`unknown`), or whose worker waits for its admission. `key`: of `claims`. */
static __noinline int drop_unadmitted(struct __sk_buff *skb, __u32 key, enum worker_drop unknown, enum frame_head head)
{
	struct claim_value *claim = bpf_map_lookup_elem(&claims, &key);

	if (!claim)
		return drop_at(skb, unknown, head);
	count_workspace_drop(claim->workspace_index, WORKER_DROP_NOT_ADMITTED);
	count_drop(WORKER_DROP_NOT_ADMITTED);
	sample(skb, WORKER_DROP_NOT_ADMITTED, claim->workspace_index, claim->vni, head);
	return TC_ACT_SHOT;
}

#endif
