/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Token buckets as one time each: when the bucket will be full again, if nothing more is taken. That takes no lock and
 * no upkeep, and two CPUs that take at once settle it by compare-and-swap.
 */
#ifndef POSTERN_BPF_WORKER_LIMIT_H
#define POSTERN_BPF_WORKER_LIMIT_H

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "bpf/maps.h"

enum { BUCKET_TRIES = 8 };

static __always_inline __u64 bucket_after(__u64 full_ns, __u64 now_ns, __u64 cost_ns)
{
	return (full_ns > now_ns ? full_ns : now_ns) + cost_ns;
}

static __always_inline int bucket_has(const __u64 *full_ns, __u64 now_ns, __u64 cost_ns, __u64 burst_ns)
{
	return bucket_after(*(const volatile __u64 *)full_ns, now_ns, cost_ns) - now_ns <= burst_ns;
}

/* 0: not enough in it. More CPUs at one worker's bucket than tries would refuse, too. */
static __always_inline int bucket_take(__u64 *full_ns, __u64 now_ns, __u64 cost_ns, __u64 burst_ns)
{
	for (int i = 0; i < BUCKET_TRIES; i++) {
		__u64 have_ns = *(volatile __u64 *)full_ns, next_ns = bucket_after(have_ns, now_ns, cost_ns);

		if (next_ns - now_ns > burst_ns)
			return 0;
		if (__sync_val_compare_and_swap(full_ns, have_ns, next_ns) == have_ns)
			return 1;
	}
	return 0;
}

/*
 * A time that no bucket of this size can have is of another limit, from before a change: the bucket is empty, and fills
 * at the rate of now. Else a limit that was raised would hold until the old one had been served.
 */
static __always_inline void bucket_bound(__u64 *full_ns, __u64 now_ns, __u64 burst_ns)
{
	__u64 have_ns = *(volatile __u64 *)full_ns;

	if (have_ns > now_ns + burst_ns)
		__sync_val_compare_and_swap(full_ns, have_ns, now_ns + burst_ns);
}

/* The limit that the packet is over; WORKER_DROP_COUNT: none. Takes from both buckets or from neither. */
static __always_inline enum worker_drop worker_limit(
	struct worker_value *worker, const struct workspace_value *workspace, __u32 packets, __u32 bytes)
{
	__u64 packet_cost_ns = workspace->packet_cost_ns * packets, packet_burst_ns = workspace->packet_burst_ns;
	__u64 byte_cost_ns = (workspace->byte_cost_1024 * bytes) >> 10, byte_burst_ns = workspace->byte_burst_ns;
	__u64 now_ns;

	if (packet_cost_ns == 0 && byte_cost_ns == 0)
		return WORKER_DROP_COUNT;
	now_ns = bpf_ktime_get_ns();
	bucket_bound(&worker->packets_full_ns, now_ns, packet_burst_ns);
	bucket_bound(&worker->bytes_full_ns, now_ns, byte_burst_ns);
	if (byte_cost_ns != 0 && !bucket_has(&worker->bytes_full_ns, now_ns, byte_cost_ns, byte_burst_ns))
		return WORKER_DROP_BYTE_LIMIT;
	if (packet_cost_ns != 0 && !bucket_take(&worker->packets_full_ns, now_ns, packet_cost_ns, packet_burst_ns))
		return WORKER_DROP_PACKET_LIMIT;
	if (byte_cost_ns != 0 && !bucket_take(&worker->bytes_full_ns, now_ns, byte_cost_ns, byte_burst_ns))
		return WORKER_DROP_BYTE_LIMIT;
	return WORKER_DROP_COUNT;
}

#endif
