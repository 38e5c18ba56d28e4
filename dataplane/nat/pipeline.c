/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A packet's journey, forward only. Each step does the whole batch before the next one begins, and drops what may not
 * go on, under exactly one reason; some drops are answered (answer.c).
 *
 *   parse       every length is checked once, offsets are kept                                parse.c
 *   owner       where there are several shards: what belongs to another one is handed over     owner.c
 *   classify    inside:  VTEP, VNI and inner source → VPC, workspace, worker                  classify.c
 *               outside: destination → egress IP and its workspace
 *   fragment    later fragments wait for their first one                                      fragment.c
 *   find        the session, by keyed hash; two cache lines, prefetched over the batch        find.c, index.h
 *   translate   no session: policy, limits, address and port                                  create.c, ports.c
 *               a session: still its owner's? state and time                                  translate.c, tcp.c, icmp.c
 *   rewrite     addresses, ports, TTL, MSS, checksums                                         rewrite.c
 *   guard       by the bytes alone: its own workspace's egress IP, its own workspace's worker guard.c
 *   emit        next hop, link header, tunnel; in pieces where it does not fit                emit.c, split.c
 *
 * In every run: rx + taken_over = tx + drops + held + handed_over + absorbed - generated.
 */
#include "dataplane/nat/fragment.h"
#include "dataplane/nat/stages.h"

#include <string.h>

/* From a decision to bytes: what every packet goes through that may leave. */
static void leave(struct nat_shard *shard, struct batch *batch)
{
	translate_batch(shard, batch);
	rewrite_batch(shard, batch);
	guard_batch(shard, batch);
	emit_batch(shard, batch);
}

static void enter(struct nat_shard *shard, struct batch *batch)
{
	parse_batch(shard, batch);
	if (UNLIKELY(shard->hand_over) && !batch->taken)
		owner_batch(shard, batch);
	classify_batch(shard, batch);
	fragment_batch(shard, batch);
	find_batch(shard, batch);
}

/* What went out to an egress IP of this gateway comes in again as from outside (RFC 4787 REQ-9), and goes inside. */
static void return_hairpins(struct nat_shard *shard, struct batch *batch)
{
	if (LIKELY(shard->hairpin_count == 0))
		return;
	batch->count = shard->hairpin_count;
	memcpy(batch->live, shard->hairpins, batch->count * sizeof(batch->live[0]));
	shard->hairpin_count = 0;
	batch->taken = false; /* whose it is as a packet from outside is asked anew */
	enter(shard, batch);
	leave(shard, batch);
}

/* Fragments that were held until their first one came: on from where they stopped. */
static void leave_released(struct nat_shard *shard, struct batch *batch)
{
	for (;;) {
		batch->count = fragment_released(shard, batch->live);
		if (LIKELY(batch->count == 0))
			return;
		struct packet *packets[NAT_BATCH_MAX];
		const uint32_t count = batch->count;
		memcpy(packets, batch->live, count * sizeof(packets[0]));
		leave(shard, batch);
		return_hairpins(shard, batch);
		for (uint32_t i = 0; i < count; i++)
			if (packets[i]->verdict != PACKET_HELD)
				shard_give(shard, packets[i]);
	}
}

static void process(struct nat_shard *shard, const struct nat_view *view, struct batch *batch)
{
	if (UNLIKELY(view->policy == NULL)) {
		for (uint32_t i = 0; i < batch->count; i++)
			shard_drop(shard, batch->live[i], DROP_NO_POLICY);
		return;
	}
	shard_guarantees(shard, view->policy);
	enter(shard, batch);
	leave(shard, batch);
	return_hairpins(shard, batch);
	leave_released(shard, batch);
}

/*
 * A fragment that was held by this call, and whose first one came in the same batch, has its verdict now, and the caller
 * sees it there: it must not be given a second time.
 */
static void given_once(struct nat_shard *shard, uint32_t given_from, struct packet *const packets[], uint32_t count)
{
	uint32_t kept = given_from;
	for (uint32_t at = given_from; at != shard->given_head; at++) {
		struct packet *packet = shard->given[at % GIVEN_SIZE];
		uint32_t i = 0;
		while (i < count && packets[i] != packet)
			i++;
		if (i == count)
			shard->given[kept++ % GIVEN_SIZE] = packet;
	}
	shard->given_head = kept;
}

void nat_process(struct nat_shard *shard, const struct nat_view *view, struct packet *const packets[], uint32_t count,
	uint64_t now_ns)
{
	struct batch batch;
	uint64_t packets_in[PORT_COUNT] = {}, bytes_in[PORT_COUNT] = {};
	const uint32_t given_from = shard->given_head;
	batch_begin(shard, view, &batch, count, now_ns);
	for (uint32_t i = 0; i < count; i++) {
		struct packet *packet = packets[i];
		packets_in[packet->in_port]++;
		bytes_in[packet->in_port] += packet->length_bytes;
		packet->workspace_slot = WORKSPACE_NONE;
		batch.live[i] = packet;
	}
	for (unsigned port = 0; port < PORT_COUNT; port++) {
		shard->counters->ports[port].rx_packets += packets_in[port];
		shard->counters->ports[port].rx_bytes += bytes_in[port];
	}
	process(shard, view, &batch);
	if (UNLIKELY(shard->given_head != given_from))
		given_once(shard, given_from, packets, count);
}

void nat_process_taken(struct nat_shard *shard, const struct nat_view *view, struct packet *const packets[],
	uint32_t count, uint64_t now_ns)
{
	struct batch batch;
	const uint32_t given_from = shard->given_head;
	batch_begin(shard, view, &batch, count, now_ns);
	batch.taken = true;
	shard->counters->taken_over += count;
	for (uint32_t i = 0; i < count; i++) {
		packets[i]->verdict = PACKET_PENDING;
		packets[i]->workspace_slot = WORKSPACE_NONE;
		batch.live[i] = packets[i];
	}
	process(shard, view, &batch);
	if (UNLIKELY(shard->given_head != given_from))
		given_once(shard, given_from, packets, count);
}
