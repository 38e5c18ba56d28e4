/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TCP states of a session, as a table (RFC 5382 REQ-2, RFC 7857 section 2, RFC
 * 6146 section 3.5.2.2). The NAT watches both ends' packets; it never answers
 * challenge ACKs (RFC 5961) nor invents state.
 */
#include "dataplane/nat/bytes.h"
#include "dataplane/nat/session.h"
#include "dataplane/nat/stages.h"

enum tcp_event { EVENT_DATA, EVENT_SYN, EVENT_SYN_ACK, EVENT_FIN, EVENT_COUNT };
enum { FROM_REMOTE = 0, FROM_INSIDE = 1, DIRECTION_COUNT = 2 };

/* [state][direction][event]: the next state; 0 (SESSION_FREE): stay. */
static const uint8_t transitions[SESSION_STATE_COUNT][DIRECTION_COUNT][EVENT_COUNT] = {
	/* The remote's SYN, alone (simultaneous open) or with its ACK;
	   established when the inside answers it. */
	[SESSION_TCP_SYN_OUT] =
		{
			[FROM_REMOTE] = {[EVENT_SYN] = SESSION_TCP_SYN_BOTH, [EVENT_SYN_ACK] = SESSION_TCP_SYN_BOTH},
		},
	[SESSION_TCP_SYN_BOTH] =
		{
			[FROM_INSIDE] =
				{
					[EVENT_DATA] = SESSION_TCP_ESTABLISHED,
					[EVENT_SYN_ACK] = SESSION_TCP_ESTABLISHED,
					[EVENT_FIN] = SESSION_TCP_FIN_OUT,
				},
			[FROM_REMOTE] = {[EVENT_FIN] = SESSION_TCP_FIN_IN},
		},
	[SESSION_TCP_ESTABLISHED] =
		{
			[FROM_INSIDE] = {[EVENT_FIN] = SESSION_TCP_FIN_OUT},
			[FROM_REMOTE] = {[EVENT_FIN] = SESSION_TCP_FIN_IN},
		},
	[SESSION_TCP_FIN_OUT] = {[FROM_REMOTE] = {[EVENT_FIN] = SESSION_TCP_FIN_BOTH}},
	[SESSION_TCP_FIN_IN] = {[FROM_INSIDE] = {[EVENT_FIN] = SESSION_TCP_FIN_BOTH}},
	/* TIME_WAIT: the inside may use the same ports anew (RFC 7857
	   section 2.2, RFC 6191). */
	[SESSION_TCP_FIN_BOTH] = {[FROM_INSIDE] = {[EVENT_SYN] = SESSION_TCP_SYN_OUT}},
	[SESSION_TCP_RESET] = {[FROM_INSIDE] = {[EVENT_SYN] = SESSION_TCP_SYN_OUT}},
};

static enum tcp_event event_of(uint8_t flags)
{
	if (flags & TCP_SYN)
		return flags & TCP_ACK ? EVENT_SYN_ACK : EVENT_SYN;
	return flags & TCP_FIN ? EVENT_FIN : EVENT_DATA;
}

/*
 * RFC 7857 section 2.1: only a RST that fits exactly closes. A RST that answers
 * our SYN carries no sequence of its own, but must acknowledge the SYN (RFC
 * 9293 section 3.5.2).
 */
static bool reset_fits(const struct session *session, const uint8_t *tcp, uint8_t flags, bool outbound)
{
	if (outbound)
		return load_be32(tcp + TCP_SEQUENCE_OFFSET) == session->sequence_out_end;
	if (session->state == SESSION_TCP_SYN_OUT)
		return (flags & TCP_ACK) && load_be32(tcp + TCP_ACK_OFFSET) == session->sequence_out_end;
	return load_be32(tcp + TCP_SEQUENCE_OFFSET) == session->sequence_in_end;
}

static void track_sequence(struct session *session, const struct packet *packet, const uint8_t *tcp, bool outbound)
{
	const uint32_t header_bytes =
		(uint32_t)(packet->l4_offset - packet->ip_offset) + (uint32_t)(tcp[TCP_DATA_OFFSET] >> 4) * 4;
	const uint32_t payload_bytes = packet->ip_length_bytes - header_bytes;
	const uint32_t end = load_be32(tcp + TCP_SEQUENCE_OFFSET) + payload_bytes +
			     ((packet->tcp_flags & TCP_SYN) != 0) + ((packet->tcp_flags & TCP_FIN) != 0);
	uint32_t *known = outbound ? &session->sequence_out_end : &session->sequence_in_end;
	const bool first = packet->tcp_flags & TCP_SYN;
	if (first || (int32_t)(end - *known) > 0)
		*known = end;
}

void tcp_advance(struct nat_shard *shard, struct session *session, const struct packet *packet, bool outbound)
{
	const uint8_t *tcp = packet->data + packet->l4_offset;
	if (packet->tcp_flags & TCP_RST) {
		if (reset_fits(session, tcp, packet->tcp_flags, outbound)) {
			shard->counters->sessions_closed += session->state != SESSION_TCP_RESET;
			session_set_state(shard, session, SESSION_TCP_RESET);
		} else if ((session->flags & SESSION_DOUBTFUL) == 0) {
			/* The short time begins now: a forged one does not end at once what was long idle. */
			session->flags |= SESSION_DOUBTFUL;
			session->last_tick = shard->now_tick;
		}
		return;
	}
	const uint8_t next = transitions[session->state][outbound][event_of(packet->tcp_flags)];
	if (UNLIKELY(next != 0)) {
		shard->counters->sessions_closed += next == SESSION_TCP_FIN_BOTH;
		session_set_state(shard, session, next);
	}
	session->flags &= (uint8_t)~SESSION_DOUBTFUL;
	track_sequence(session, packet, tcp, outbound);
}
