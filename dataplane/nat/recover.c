/* SPDX-License-Identifier: Apache-2.0 */
/*
 * After a crash: the records are all there is (P5). A record counts when its state says so, since the state is written
 * last and taken back first; indexes, rings, port maps and counts are made anew from the records. What contradicts an
 * earlier record, or makes no sense, is dropped: a kill can come between any two stores.
 */
#include "dataplane/nat/identity.h"
#include "dataplane/nat/owner.h"
#include "dataplane/nat/ports.h"
#include "dataplane/nat/session.h"
#include "dataplane/nat/stages.h"

enum { FLAGS_KEPT = SESSION_ANSWERED | SESSION_DOUBTFUL | SESSION_MAPPED | SESSION_HAIRPIN };

/* Of a policy swap that has not been yet, no session can be: who takes over counts on from there, and one day every
 * birth would be older than such a record. */
static bool record_sound(const struct nat_shard *shard, const struct session *session, uint32_t sequence)
{
	const uint8_t protocol = (uint8_t)session->vni_protocol;
	const bool tcp = session->state >= SESSION_TCP_SYN_OUT && session->state < SESSION_STATE_COUNT;
	if (session->state == SESSION_FREE || session->state >= SESSION_STATE_COUNT || tcp != (protocol == 6))
		return false;
	return session->created_policy <= sequence && session->workspace_slot < WORKSPACE_COUNT_MAX &&
	       session->egress_address != 0 &&
	       (session->worker_slot < WORKER_COUNT_MAX || session->worker_slot == SESSION_NO_WORKER) &&
	       ports_mine(shard, session->egress_port, protocol) &&
	       (!shard->hand_over || owner_of_session(shard->shard_count, session) == shard->shard_index);
}

static void record_free(struct nat_shard *shard, uint32_t index)
{
	struct session *session = &shard->sessions[index];
	session->state = SESSION_FREE;
	session->flags = 0;
	session->next = shard->free_session;
	shard->free_session = index;
}

uint32_t recover_sessions(struct nat_shard *shard, const struct identities *identities)
{
	uint32_t recovered = 0;
	shard->free_session = INDEX_NONE;
	/* From the last to the first, so that the free list begins with the lowest. */
	for (uint32_t index = shard->sessions_max; index-- > 0;) {
		struct session *session = &shard->sessions[index];
		shard->deadlines[index] = UINT32_MAX;
		if (!record_sound(shard, session, identities->sequence)) {
			record_free(shard, index);
			continue;
		}
		session->flags &= FLAGS_KEPT;
		if ((int32_t)(session->last_tick - shard->now_tick) > 0)
			session->last_tick = shard->now_tick;
		session->next = session->previous = index;
		if (!session_reenter(shard, index)) {
			record_free(shard, index);
			continue;
		}
		shard->deadlines[index] = shard->now_tick;
		recovered++;
	}
	return recovered;
}
