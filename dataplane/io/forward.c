/* SPDX-License-Identifier: Apache-2.0 */
#include "dataplane/io/forward.h"

#include <sys/prctl.h>
#include <time.h>

#include <rte_ethdev.h>
#include <rte_launch.h>
#include <rte_mbuf.h>
#include <rte_pause.h>

#include "dataplane/io/burst.h"
#include "dataplane/nat/check.h"

static uint32_t receive(struct forward *forward, const struct forward_queue *queue,
	struct packet *packets[FORWARD_BURST], bool *ret_busy)
{
	struct rte_mbuf *mbufs[FORWARD_BURST];
	uint16_t received = rte_eth_rx_burst(queue->port_id, queue->queue_id, mbufs, FORWARD_BURST);

	*ret_busy = received != 0;
	return burst_receive(forward->shard, queue->port_index, mbufs, received, packets);
}

/* Sends what the buffer of the port holds; what the port will not take is dropped and counted by where it came in. */
static void send_flush(struct forward *forward, unsigned port_index)
{
	struct forward_send_buffer *buffer = &forward->send[port_index];
	const struct forward_send_queue *queue = &forward->send_queues[port_index];
	uint64_t total_bytes = 0, unsent_bytes = 0;
	uint32_t sent = 0;

	if (buffer->count == 0)
		return;
	/* Before sending: what is sent is not ours any more. */
	for (uint32_t i = 0; i < buffer->count; i++)
		total_bytes += buffer->mbufs[i]->pkt_len;
	if (queue->lock != NULL)
		rte_spinlock_lock(&queue->lock->spin);
	for (unsigned tries = 0; sent < buffer->count && tries < FORWARD_TX_TRIES; tries++)
		sent += rte_eth_tx_burst(
			queue->port_id, queue->queue_id, &buffer->mbufs[sent], (uint16_t)(buffer->count - sent));
	if (queue->lock != NULL)
		rte_spinlock_unlock(&queue->lock->spin);
	for (uint32_t i = sent; i < buffer->count; i++) {
		unsent_bytes += buffer->mbufs[i]->pkt_len;
		nat_count_tx_full(forward->shard, burst_packet(buffer->mbufs[i])->in_port, 1);
	}
	if (sent < buffer->count)
		rte_pktmbuf_free_bulk(&buffer->mbufs[sent], buffer->count - sent);
	if (sent > 0)
		nat_count_tx(forward->shard, port_index, sent, total_bytes - unsent_bytes);
	buffer->count = 0;
}

static void send_add(struct forward *forward, const struct packet *packet)
{
	struct rte_mbuf *mbuf = burst_send(packet);
	struct forward_send_buffer *buffer = &forward->send[packet->out_port];

	/* A batch fits; what the core hands over besides it may not. */
	if (UNLIKELY(buffer->count == FORWARD_BURST))
		send_flush(forward, packet->out_port);
	buffer->mbufs[buffer->count++] = mbuf;
}

/* What the ring has no room for is dropped and counted by where it came in. */
static void hand_over_flush(struct forward *forward, uint32_t owner)
{
	struct forward_send_buffer *buffer = &forward->hand_over[owner];
	uint32_t put;

	if (buffer->count == 0)
		return;
	put = handover_put(forward->handover, forward->shard_index, owner, buffer->mbufs, buffer->count);
	nat_count_handed_over(forward->shard, put);
	for (uint32_t i = put; i < buffer->count; i++)
		nat_count_handover_full(forward->shard, burst_packet(buffer->mbufs[i])->in_port, 1);
	if (put < buffer->count)
		rte_pktmbuf_free_bulk(&buffer->mbufs[put], buffer->count - put);
	buffer->count = 0;
}

static void hand_over_add(struct forward *forward, const struct packet *packet)
{
	const uint32_t owner = packet->out_port;
	struct forward_send_buffer *buffer = &forward->hand_over[owner];

	CHECK(owner < forward->handover->shard_count && owner != forward->shard_index);
	if (UNLIKELY(buffer->count == FORWARD_BURST))
		hand_over_flush(forward, owner);
	buffer->mbufs[buffer->count++] = burst_mbuf(packet);
}

struct packet *forward_spare(void *context)
{
	struct forward *forward = context;
	struct rte_mbuf *mbuf = rte_pktmbuf_alloc(forward->pool);
	struct packet *packet;

	if (mbuf == NULL)
		return NULL;
	CHECK(rte_pktmbuf_tailroom(mbuf) >= PACKET_SPARE_BYTES);
	packet = burst_packet(mbuf);
	burst_begin(packet, mbuf, PORT_INSIDE);
	return packet;
}

/* What the core hands over besides the batch: fragments that were held, and pieces it made. */
static void forward_given(struct forward *forward)
{
	struct packet *packet;

	while ((packet = nat_take(forward->shard)) != NULL) {
		if (packet->verdict == PACKET_FORWARD)
			send_add(forward, packet);
		else if (packet->verdict == PACKET_HAND_OVER)
			hand_over_add(forward, packet);
		else
			rte_pktmbuf_free(burst_mbuf(packet));
	}
}

static void forward_flush(struct forward *forward)
{
	for (unsigned port_index = 0; port_index < PORT_COUNT; port_index++)
		send_flush(forward, port_index);
	for (uint32_t owner = 0; owner < forward->handover->shard_count; owner++)
		hand_over_flush(forward, owner);
}

/* By the verdicts of a batch. */
static void forward_verdicts(struct forward *forward, struct packet *const packets[], uint32_t count)
{
	struct rte_mbuf *dropped[FORWARD_BURST];
	uint32_t dropped_count = 0;

	for (uint32_t i = 0; i < count; i++) {
		struct packet *packet = packets[i];

		if (LIKELY(packet->verdict == PACKET_FORWARD))
			send_add(forward, packet);
		else if (packet->verdict == PACKET_DROP)
			dropped[dropped_count++] = burst_mbuf(packet);
		else if (packet->verdict == PACKET_HAND_OVER)
			hand_over_add(forward, packet);
		else
			CHECK(packet->verdict == PACKET_HELD);
	}
	if (dropped_count > 0)
		rte_pktmbuf_free_bulk(dropped, dropped_count);
	forward_given(forward);
	forward_flush(forward);
}

/* One batch of one queue. Returns whether there was one. */
static bool forward_batch(
	struct forward *forward, const struct forward_queue *queue, const struct nat_view *view, uint64_t now_ns)
{
	struct packet *packets[FORWARD_BURST];
	bool busy;
	uint32_t count = receive(forward, queue, packets, &busy);

	if (count == 0)
		return busy;
	nat_process(forward->shard, view, packets, count, now_ns);
	forward_verdicts(forward, packets, count);
	return true;
}

/* One batch from each other shard. Returns whether there was any. */
static bool forward_taken(struct forward *forward, const struct nat_view *view, uint64_t now_ns)
{
	bool busy = false;

	for (uint32_t from = 0; from < forward->handover->shard_count; from++) {
		struct rte_mbuf *mbufs[FORWARD_BURST];
		struct packet *packets[FORWARD_BURST];
		uint32_t count;

		if (from == forward->shard_index)
			continue;
		count = handover_take(forward->handover, from, forward->shard_index, mbufs, FORWARD_BURST);
		if (count == 0)
			continue;
		burst_taken(mbufs, count, packets);
		nat_process_taken(forward->shard, view, packets, count, now_ns);
		forward_verdicts(forward, packets, count);
		busy = true;
	}
	return busy;
}

static void forward_idle(const struct forward *forward, uint64_t idle_ns)
{
	struct timespec pause = {.tv_nsec = (long)forward->idle_sleep_us * 1000};

	if (forward->idle_sleep_us != 0 && idle_ns >= FORWARD_IDLE_NS)
		nanosleep(&pause, NULL);
	else
		rte_pause();
}

static int forward_run(void *argument)
{
	struct forward *forward = argument;
	uint64_t busy_ns;

	/* Else the kernel adds its default of 50 µs to each sleep. */
	prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0);
	clock_start(&forward->clock);
	busy_ns = clock_now_ns(&forward->clock);
	view_enter(forward->view, forward->shard_index);
	while (!__atomic_load_n(&forward->stop, __ATOMIC_RELAXED)) {
		const struct nat_view view = view_read(forward->view);
		const uint64_t now_ns = clock_now_ns(&forward->clock);
		bool busy = false;

		for (uint32_t i = 0; i < forward->queue_count; i++)
			busy |= forward_batch(forward, &forward->queues[i], &view, now_ns);
		busy |= forward_taken(forward, &view, now_ns);
		nat_upkeep(forward->shard, &view, now_ns);
		forward_given(forward);
		forward_flush(forward);
		view_quiescent(forward->view, forward->shard_index);
		forward->counters->loops++;
		forward->counters->busy_loops += busy;
		if (busy)
			busy_ns = now_ns;
		else
			forward_idle(forward, now_ns - busy_ns);
	}
	view_leave(forward->view, forward->shard_index);
	return 0;
}

void forward_set_ports(struct forward *forward, struct ports *ports, uint32_t shard_count)
{
	uint32_t dealt = 0;

	forward->queue_count = 0;
	forward->pool = ports->pool;
	for (uint8_t port_index = 0; port_index < PORT_COUNT; port_index++) {
		struct port *port = &ports->ports[port_index];
		const uint16_t send_queue = (uint16_t)(forward->shard_index % port->queue_count);

		forward->send_queues[port_index] = (struct forward_send_queue){
			.port_id = port->id,
			.queue_id = send_queue,
			.lock = port->queue_count < shard_count ? &port->send_locks[send_queue] : NULL,
		};
		for (uint16_t queue = 0; queue < port->queue_count; queue++) {
			if (dealt++ % shard_count != forward->shard_index)
				continue;
			CHECK(forward->queue_count < FORWARD_QUEUE_COUNT_MAX);
			forward->queues[forward->queue_count++] = (struct forward_queue){
				.port_id = port->id,
				.queue_id = queue,
				.port_index = port_index,
			};
		}
	}
}

bool forward_start(struct forward *forward, unsigned lcore_id)
{
	forward->stop = 0;
	forward->lcore_id = lcore_id;
	return rte_eal_remote_launch(forward_run, forward, lcore_id) == 0;
}

void forward_stop(struct forward *forward)
{
	__atomic_store_n(&forward->stop, 1, __ATOMIC_RELAXED);
	rte_eal_wait_lcore(forward->lcore_id);
}
