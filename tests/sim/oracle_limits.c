/* SPDX-License-Identifier: Apache-2.0 */
/* Limits: what a workspace and its workers may still have, and what they get back as time goes by. */
#include "tests/sim/oracle_state.h"

static void refill(int64_t *credit_ns, int64_t passed_ns)
{
	*credit_ns = passed_ns > SECOND - *credit_ns ? SECOND : *credit_ns + passed_ns;
}

void oracle_time(struct oracle *oracle, uint64_t now_ns)
{
	const int64_t passed_ns = (int64_t)now_ns - oracle->now_ns;
	if (passed_ns <= 0) /* time only goes forward */
		return;
	oracle->now_ns = (int64_t)now_ns;
	for (uint32_t i = 0; i < ORACLE_RECORDS_MAX; i++) {
		refill(&oracle->allowances[i].sessions.most, passed_ns);
		refill(&oracle->allowances[i].sessions.least, passed_ns);
		refill(&oracle->allowances[i].packets, passed_ns);
		refill(&oracle->allowances[i].bytes, passed_ns);
		refill(&oracle->allowances[i].answers, passed_ns);
	}
	for (uint32_t i = 0; i < oracle->pace_count; i++) {
		refill(&oracle->paces[i].sessions.most, passed_ns);
		refill(&oracle->paces[i].sessions.least, passed_ns);
	}
}

bool spend(int64_t *credit_ns, int64_t cost_ns)
{
	if (cost_ns == 0)
		return true;
	if (*credit_ns <= 0)
		return false;
	*credit_ns -= cost_ns;
	return true;
}

struct allowance *allowance_of(struct oracle *oracle, const struct judgement *of)
{
	for (uint32_t i = 0; i < ORACLE_RECORDS_MAX; i++)
		if (oracle->allowances[i].workspace == of->workspace)
			return &oracle->allowances[i];
	abort();
}

static int64_t cost_ns(uint64_t per_second)
{
	return per_second == 0 ? 0 : (int64_t)(1000000000u / per_second);
}

/* A workspace may send so many packets and so many bytes a second. */
bool rates_held(struct oracle *oracle, const struct judgement *of)
{
	struct allowance *allowance = allowance_of(oracle, of);
	const struct policy_limits *limits = &of->of->limits;
	const uint64_t byte = limits->bytes_per_second == 0 ? 0 : 1024000000000u / limits->bytes_per_second;
	return spend(&allowance->packets, cost_ns(limits->packets_per_second)) &&
	       spend(&allowance->bytes, (int64_t)(byte * of->wire.ip_bytes / 1024));
}

/* Sessions that others are guaranteed and have not taken up: not there to be borrowed. */
static uint32_t promised(struct oracle *oracle)
{
	uint32_t sum = 0;
	for (uint32_t i = 0; i < COUNT(oracle, POLICY_WORKSPACES); i++) {
		uint32_t guaranteed =
			RECORDS(oracle, policy_workspace, POLICY_WORKSPACES)[i].limits.sessions_guaranteed /
			oracle->config.shard_count;
		if (guaranteed == 0)
			continue;
		EACH_ENTRY (oracle, entry)
			guaranteed -= entry->workspace == oracle->workspaces[i] && guaranteed > 0;
		sum += guaranteed;
	}
	return sum;
}

bool tallied(const struct policy_limits *limits)
{
	return limits->sessions_per_remote != 0 || limits->worker_sessions != 0 || limits->worker_half_open != 0 ||
	       limits->worker_new_sessions_per_second != 0 || limits->worker_sessions_per_remote != 0;
}

/*
 * `own` sessions of the worker count, and so many more of one that had its address in another workspace before: those
 * share their count with it only if its workspace has taken that one's place in the core's tables.
 */
static struct credit *pace_of(struct oracle *oracle, const struct wire *wire, uint32_t own, uint32_t remains)
{
	struct pace *pace = oracle->paces;
	while (pace < oracle->paces + oracle->pace_count && (pace->vni != wire->vni || pace->inside != wire->source))
		pace++;
	if (pace == oracle->paces + PACES_MAX)
		abort();
	if (own + remains == 0 || pace == oracle->paces + oracle->pace_count)
		*pace = (struct pace){wire->vni, wire->source, {SECOND, SECOND}};
	if (own == 0)
		pace->sessions.most = SECOND;
	if (pace == oracle->paces + oracle->pace_count)
		oracle->pace_count++;
	return &pace->sessions;
}

/* So many count, and so many more may still be counted though they are nobody's: then the core decides. */
bool reached(const struct judgement *of, uint32_t limit, uint32_t own, uint32_t remains, enum drop_reason reason)
{
	return limit != 0 && (own >= limit || (own + remains >= limit && of->seen->reason == reason));
}

/* `later`: a limit that comes after this one may have refused it under the same reason. */
static bool spend_a_session(struct credit *credit, int64_t cost_ns, bool refused, bool later)
{
	if (cost_ns == 0)
		return true;
	if (credit->most <= 0)
		return false;
	if (credit->least <= 0 && refused && later) {
		credit->least -= cost_ns; /* it was spent, or there was nothing to spend */
		return false;
	}
	if (credit->least <= 0 && refused) {
		credit->most = 0; /* so there was nothing; how much less, it does not say */
		return false;
	}
	if (credit->least <= 0)
		credit->least = 1;
	credit->most -= cost_ns;
	credit->least -= cost_ns;
	return true;
}

enum drop_reason limits_refuse(struct oracle *oracle, const struct judgement *of)
{
	const struct policy_limits *limits = &of->of->limits;
	const struct wire *wire = &of->wire;
	const bool tcp = wire->protocol == WIRE_TCP;
	struct {
		uint32_t all, half_open, of_worker, half_open_of_worker, to_remote, of_worker_to_remote;
	} own = {0}, remains = {0}, *count;
	const bool limited = limits->sessions != 0 || limits->half_open != 0 || tallied(limits);
	EACH_ENTRY (oracle, entry) {
		const bool same = entry->tallied && entry->vni == wire->vni && entry->inside == wire->source;
		count = entry->workspace == of->workspace ? &own : &remains;
		if (count == &remains && (!limited || alive(oracle, entry)))
			continue; /* of no matter; or another's, and his alone */
		count->all++;
		count->half_open += half_open(entry);
		count->of_worker += same;
		count->half_open_of_worker += same && half_open(entry);
		const bool there = entry->tallied && entry->remote == wire->destination &&
				   entry->remote_port == wire->destination_port && entry->protocol == wire->protocol;
		count->to_remote += there;
		count->of_worker_to_remote += there && same && entry->tallied_pair;
	}
	struct allowance *allowance = allowance_of(oracle, of);
	const int64_t new_ns = cost_ns(limits->new_sessions_per_second);
	if (limits->sessions != 0 && own.all >= limits->sessions)
		return DROP_LIMIT_SESSIONS;
	/* What counts though it is nobody's has refused it here; or a limit of the worker has later, at a price. */
	if (reached(of, limits->sessions, own.all, remains.all, DROP_LIMIT_SESSIONS)) {
		allowance->sessions.least -= new_ns;
		return DROP_LIMIT_SESSIONS;
	}
	const uint32_t free = oracle->config.sessions_max - oracle_session_count(oracle);
	if (own.all >= limits->sessions_guaranteed / oracle->config.shard_count && free <= promised(oracle))
		return free == 0 ? DROP_SESSIONS_EXHAUSTED : DROP_LIMIT_SESSIONS;
	if (tcp && limits->half_open != 0 && own.half_open >= limits->half_open)
		return DROP_LIMIT_HALF_OPEN;
	if (tcp && reached(of, limits->half_open, own.half_open, remains.half_open, DROP_LIMIT_HALF_OPEN)) {
		allowance->sessions.least -= new_ns;
		return DROP_LIMIT_HALF_OPEN;
	}
	const bool too_fast = of->seen->reason == DROP_LIMIT_SESSION_RATE;
	const int64_t worker_cost_ns = cost_ns(limits->worker_new_sessions_per_second);
	struct credit *pace = worker_cost_ns != 0 ? pace_of(oracle, wire, own.of_worker, remains.of_worker) : NULL;
	if (!spend_a_session(&allowance->sessions, new_ns, too_fast, pace != NULL && pace->least <= 0))
		return DROP_LIMIT_SESSION_RATE;
	if (reached(of, limits->worker_sessions, own.of_worker, remains.of_worker, DROP_LIMIT_SESSIONS) ||
		reached(of, limits->sessions_per_remote, own.to_remote, remains.to_remote, DROP_LIMIT_SESSIONS) ||
		reached(of, limits->worker_sessions_per_remote, own.of_worker_to_remote, remains.of_worker_to_remote,
			DROP_LIMIT_SESSIONS))
		return DROP_LIMIT_SESSIONS;
	if (tcp && reached(of, limits->worker_half_open, own.half_open_of_worker, remains.half_open_of_worker,
			   DROP_LIMIT_HALF_OPEN))
		return DROP_LIMIT_HALF_OPEN;
	if (pace != NULL && !spend_a_session(pace, worker_cost_ns, too_fast, false))
		return DROP_LIMIT_SESSION_RATE;
	return DROP_NONE;
}

bool oracle_answers_scarce(const struct oracle *oracle)
{
	for (uint32_t i = 0; i < COUNT(oracle, POLICY_WORKSPACES); i++)
		if (oracle->allowances[i].answers <= 64 * (int64_t)ANSWER_NS)
			return true;
	return false;
}
