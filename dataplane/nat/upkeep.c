/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Expiry. `deadlines` says when to look at a session again, and is never later
 * than its end; a packet that refreshes writes only the session's own line.
 * When a deadline passes, the session tells whether it really is idle, or until
 * when not. Every slot is looked at once per tick, at most UPKEEP_SLOTS_MAX per
 * call.
 */
#include "dataplane/nat/bytes.h"
#include "dataplane/nat/fragment.h"
#include "dataplane/nat/ports.h"
#include "dataplane/nat/session.h"
#include "dataplane/nat/stages.h"

enum { UPKEEP_SLOTS_MAX = 4096, REVIEWS_MAX = 32, STALE_SLOTS_MAX = 256, STALE_REMOVALS_MAX = 32 };

static bool tick_reached(uint32_t now_tick, uint32_t tick)
{
	return (int32_t)(now_tick - tick) >= 0;
}

/* Who is told that a session is over: both ends when it was idle for too long, the remote when the worker has gone. */
static void session_farewell(
	struct nat_shard *shard, const struct nat_view *view, const struct session *session, bool gone)
{
	if ((uint8_t)session->vni_protocol != PROTOCOL_TCP || session_half_open(session->state) ||
		session->state == SESSION_TCP_RESET || session->state == SESSION_TCP_FIN_BOTH)
		return;
	const struct policy_tables *policy = view->policy;
	/* Only in the name of an address that is still the same workspace's (P1). */
	const struct table_egress *egress = policy_egress_owner(policy, session->egress_address, session->egress_port);
	if (egress == NULL || egress->slot != session->egress_slot ||
		egress->workspace_slot != session->workspace_slot ||
		policy->egress_slots[session->egress_slot].born > session->created_policy)
		return;
	const struct batch batch = {.policy = policy, .adjacency = view->adjacency};
	const uint32_t flags = policy->workspaces[session->workspace_slot].flags;
	if (gone && (flags & POLICY_WORKSPACE_RESET_GONE))
		reset_remote(shard, &batch, session);
	if (!gone && (flags & POLICY_WORKSPACE_RESET_IDLE))
		reset_both(shard, &batch, session);
}

/*
 * A VPC that is open to workers it does not list now lists this one, and on the host that the session comes from: from
 * here on it is that worker's, is held to its host, and ends with it.
 */
static void worker_listed(const struct policy_tables *policy, const struct table_vpc *vpc, struct session *session)
{
	const uint32_t slot = policy_worker_slot(policy, vpc->vni, session->inside_address);
	if (slot != SESSION_NO_WORKER &&
		(policy->workers[slot].vtep == 0 || policy->workers[slot].vtep == session->vtep))
		session->worker_slot = slot;
}

static void session_review(struct nat_shard *shard, const struct nat_view *view, uint32_t index)
{
	struct session *session = &shard->sessions[index];
	const struct policy_tables *policy = view->policy;
	if (policy == NULL) {
		shard->deadlines[index] = shard->now_tick + 1; /* nothing is in force to judge it by: ask again */
		return;
	}
	const struct table_vpc *vpc = policy_vpc(policy, session->vni_protocol >> 8);
	if (!policy_session_live(policy, session, vpc)) {
		session_farewell(shard, view, session, true);
		ports_note_gone(shard, policy, index);
		session_remove(shard, index);
		shard->counters->sessions_stale++;
		return;
	}
	if (session->created_policy != policy->sequence) {
		if (session->worker_slot == SESSION_NO_WORKER && (vpc->flags & TABLE_VPC_ANY_LISTED))
			worker_listed(policy, vpc, session);
		session->created_policy = policy->sequence; /* live now: nothing older can matter any more */
	}
	const uint32_t end =
		session->last_tick + session_timeout_ticks(session, &policy->workspaces[session->workspace_slot]);
	if (!tick_reached(shard->now_tick, end)) {
		shard->deadlines[index] = end;
		return;
	}
	session_farewell(shard, view, session, false);
	session_remove(shard, index);
	shard->counters->sessions_expired++;
}

static void sweep(struct nat_shard *shard, const struct nat_view *view)
{
	const uint64_t due = ((shard->now_ns - shard->sweep_ns) * shard->sessions_max) >> SESSION_TICK_SHIFT;
	if (shard->now_ns - shard->sweep_ns > (1ull << SESSION_TICK_SHIFT) ||
		shard->sweep_due + due > shard->sessions_max)
		shard->sweep_due = shard->sessions_max;
	else
		shard->sweep_due += due;
	if (due != 0)
		shard->sweep_ns = shard->now_ns;
	uint32_t reviews = 0, slots = 0;
	for (; shard->sweep_due > 0 && slots < UPKEEP_SLOTS_MAX && reviews < REVIEWS_MAX; slots++) {
		const uint32_t index = shard->sweep_at;
		shard->sweep_at = index + 1 < shard->sessions_max ? index + 1 : 0;
		shard->sweep_due--;
		if (LIKELY(shard->deadlines[index] == UINT32_MAX ||
			    !tick_reached(shard->now_tick, shard->deadlines[index])))
			continue;
		session_review(shard, view, index);
		reviews++;
	}
}

/* After a policy swap every session is reviewed once: what has gone is
 * released, new timers take hold. */
static void review_all(struct nat_shard *shard, const struct nat_view *view)
{
	if (shard->stale_sequence != view->policy->sequence) {
		shard->stale_sequence = view->policy->sequence;
		shard->stale_at = 0;
	}
	const uint32_t removals = shard->removals;
	for (uint32_t i = 0; i < STALE_SLOTS_MAX && shard->stale_at < shard->sessions_max &&
			     shard->removals - removals < STALE_REMOVALS_MAX;
		i++, shard->stale_at++)
		if (shard->sessions[shard->stale_at].state != SESSION_FREE)
			session_review(shard, view, shard->stale_at);
}

void nat_upkeep(struct nat_shard *shard, const struct nat_view *view, uint64_t now_ns)
{
	shard_set_time(shard, now_ns);
	shard_routes_forget(shard);
	fragment_upkeep(shard);
	sweep(shard, view);
	if (view->policy == NULL)
		return;
	shard_guarantees(shard, view->policy);
	review_all(shard, view);
}
