/* SPDX-License-Identifier: Apache-2.0 */
/* The end of sessions: those that the core ended, whom that is told, and those that should be gone. */
#include "tests/sim/oracle_state.h"

static void reset_expected(struct oracle *oracle, const struct entry *entry, bool to_remote)
{
	const struct policy_vpc *vpc = vpc_of(oracle, entry->vni);
	const uint32_t vtep = vpc != NULL ? vtep_of(oracle, entry) : 0;
	struct judgement of = {.workspace = entry->workspace};
	if (!to_remote && vpc != NULL && !vtep_trusted(oracle, vtep))
		return;
	struct allowance *allowance = allowance_of(oracle, &of);
	oracle->resets_scarce = oracle->resets_scarce || allowance->answers <= 64ll * ANSWER_NS;
	if (!spend(&allowance->answers, ANSWER_NS) || oracle->reset_count == RESETS_MAX)
		return;
	const bool tunnel = oracle->policy.encapsulation == POLICY_ENCAPSULATION_VXLAN;
	const unsigned port = to_remote ? PORT_OUTSIDE : PORT_INSIDE;
	if (vpc == NULL || oracle->workspaces[vpc->workspace_index] != entry->workspace)
		return;
	of.wire = to_remote ? (struct wire){.source = entry->inside,
				      .destination = entry->remote,
				      .source_port = entry->inside_port,
				      .destination_port = entry->remote_port,
				      .protocol = WIRE_TCP}
			    : (struct wire){.source = entry->remote,
				      .destination = entry->egress_address,
				      .source_port = entry->remote_port,
				      .destination_port = entry->egress_port,
				      .protocol = WIRE_TCP};
	if (route(oracle, &of, port, to_remote ? entry->remote : tunnel ? vtep : entry->inside) != DROP_NONE)
		return;
	struct output *output = &oracle->resets[oracle->reset_count++];
	*output = (struct output){.forwarded = true, .port = port, .vni = entry->vni, .vtep = vtep, .hop = of.hop};
	reset_packet(output, entry, to_remote);
}

/* Who is told that an open TCP session is over: both ends when it was idle, the remote when its worker has gone. */
static void farewell(struct oracle *oracle, const struct entry *entry, bool gone)
{
	const struct policy_egress_ip *egress = egress_by_serial(oracle, entry->egress);
	if (entry->protocol != WIRE_TCP || half_open(entry) || entry->state == SESSION_TCP_RESET ||
		entry->state == SESSION_TCP_FIN_BOTH || egress == NULL)
		return;
	const uint32_t flags = RECORDS(oracle, policy_workspace, POLICY_WORKSPACES)[egress->workspace_index].flags;
	if (gone && (flags & POLICY_WORKSPACE_RESET_GONE))
		reset_expected(oracle, entry, true);
	if (!gone && (flags & POLICY_WORKSPACE_RESET_IDLE)) {
		reset_expected(oracle, entry, true);
		reset_expected(oracle, entry, false);
	}
}

const char *oracle_ended(struct oracle *oracle, const struct session *record)
{
	struct entry *entry = find_inside(oracle, record->vni_protocol >> 8, (uint8_t)record->vni_protocol,
		record->inside_address, record->inside_port, record->remote_address, record->remote_port);
	if (entry == NULL)
		return "a session ended that should not have been there";
	if (!oracle->has_policy)
		return "a session ended while no policy was in force to judge it by";
	const bool gone = !alive(oracle, entry);
	if (!gone && entry->last_ns + timeout_ns(oracle, entry) > oracle->now_ns + TICK_NS)
		return "a session ended before its time";
	farewell(oracle, entry, gone);
	entry_remove(oracle, entry);
	return NULL;
}

const char *oracle_made(struct oracle *oracle, const struct oracle_seen *seen)
{
	for (uint32_t i = 0; i < oracle->reset_count; i++) {
		if (!same(oracle, &oracle->resets[i], seen))
			continue;
		oracle->resets[i] = oracle->resets[--oracle->reset_count];
		return NULL;
	}
	return oracle->resets_scarce ? NULL : "upkeep made a packet that nobody should get";
}

const char *oracle_upkeep_over(struct oracle *oracle)
{
	const bool missing = oracle->reset_count > 0 && !oracle->resets_scarce;
	oracle->reset_count = 0;
	oracle->resets_scarce = false;
	return missing ? "a session ended, and an end of it that should be told was not" : NULL;
}

const char *oracle_session_overdue(struct oracle *oracle)
{
	if (!oracle->has_policy || oracle->now_ns < oracle->changed_ns + SECOND)
		return NULL;
	EACH_ENTRY (oracle, entry) {
		const bool lives = alive(oracle, entry);
		if (lives && entry->last_ns + timeout_ns(oracle, entry) + SECOND >= oracle->now_ns)
			continue;
		snprintf(oracle->complaint, sizeof(oracle->complaint),
			"a session (protocol %u, %s, %s%s, idle for %.3f s) is still there over a second after its end",
			entry->protocol, session_state_text(entry->state), lives ? "alive" : "dead",
			entry->doubtful ? ", doubtful" : "", (double)(oracle->now_ns - entry->last_ns) / SECOND);
		return oracle->complaint;
	}
	return NULL;
}
