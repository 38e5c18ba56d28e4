/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Why a packet was dropped: one reason, one counter (promise P12). This list is the only place; it
 * yields the enum, the metric label and the operator's text.
 *
 * X(NAME, "label", "what it means and what to do")
 */
#ifndef POSTERN_CONTRACT_DROP_REASONS_H
#define POSTERN_CONTRACT_DROP_REASONS_H

#define DROP_REASONS(X)                                                                                                \
	X(NONE, "none", "not dropped")                                                                                 \
	X(NO_POLICY, "no_policy", "no policy is loaded yet: is posternd running?")                                     \
	X(TRUNCATED, "truncated", "the packet is shorter than its headers say")                                        \
	X(OVERSIZED, "oversized", "the packet is longer than the largest frame accepted")                              \
	X(NOT_IPV4, "not_ipv4", "not IPv4 (IPv6 and other protocols are not translated)")                              \
	X(BAD_IP_HEADER, "bad_ip_header", "IPv4 version, header length or total length is wrong")                      \
	X(BAD_IP_CHECKSUM, "bad_ip_checksum", "the IPv4 header checksum is wrong")                                     \
	X(IP_OPTIONS, "ip_options", "source-route option, or options where policy denies them")                        \
	X(BAD_SOURCE, "bad_source", "source address can not be a host's (multicast, broadcast, loopback, zero)")       \
	X(NOT_VXLAN, "not_vxlan", "on the inside port, but not VXLAN to this gateway")                                 \
	X(BAD_VXLAN, "bad_vxlan", "VXLAN header without the I flag, or cut short")                                     \
	X(NESTED, "nested", "VXLAN inside VXLAN: a worker may not reach the underlay")                                 \
	X(INNER_VLAN, "inner_vlan", "the inner frame carries a VLAN tag (RFC 7348 section 6.1)")                       \
	X(UNTRUSTED_VTEP, "untrusted_vtep", "VXLAN from a sender that is not in trusted_vteps")                        \
	X(UNKNOWN_VNI, "unknown_vni", "the VNI belongs to no VPC")                                                     \
	X(SOURCE_OUTSIDE_VPC, "source_outside_vpc", "inner source is outside of the VPC's CIDRs")                      \
	X(UNKNOWN_WORKER, "unknown_worker", "the VPC lists its workers and this address is none of them")              \
	X(WRONG_VTEP, "wrong_vtep", "a known worker's address, but from another worker host")                          \
	X(NO_EGRESS_IP, "no_egress_ip", "the workspace has no egress IP in service")                                   \
	X(DENIED_DESTINATION, "denied_destination", "destination is private, shared, link-local, multicast or ours")   \
	X(DENIED_POLICY, "denied_policy", "an egress rule of the workspace denies it")                                 \
	X(DENIED_PROTOCOL, "denied_protocol", "the protocol is not translated for this workspace")                     \
	X(HAIRPIN_DENIED, "hairpin_denied", "to an egress IP of this gateway, and policy denies that")                 \
	X(TCP_NOT_SYN, "tcp_not_syn", "a TCP packet that opens nothing and belongs to no session")                     \
	X(TCP_BAD_FLAGS, "tcp_bad_flags", "a combination of TCP flags that nobody sends")                              \
	X(BAD_L4, "bad_l4", "a transport header whose length fields contradict the packet")                            \
	X(ICMP_TYPE, "icmp_type", "an ICMP type that is not translated")                                               \
	X(ICMP_CHECKSUM, "icmp_checksum", "an ICMP error whose checksum is wrong (RFC 5508 REQ-3)")                    \
	X(ICMP_NO_SESSION, "icmp_no_session", "an ICMP error about a packet of no session (RFC 5508 REQ-4)")           \
	X(FRAGMENT, "fragment", "a fragment of a datagram that can not be attributed")                                 \
	X(FRAGMENT_TINY, "fragment_tiny", "a first fragment without its transport header (RFC 1858)")                  \
	X(FRAGMENT_OVERLAP, "fragment_overlap", "overlapping fragments (RFC 5722, RFC 3128)")                          \
	X(FRAGMENT_LIMIT, "fragment_limit", "the fragment memory of workspace, worker or pool is full")                \
	X(TTL_EXPIRED, "ttl_expired", "TTL ran out here; answered with ICMP time exceeded")                            \
	X(TOO_BIG, "too_big", "larger than the next MTU with DF set; answered with ICMP 3/4")                          \
	X(NO_SESSION, "no_session", "from outside, to an owned egress IP, but no session asks for it")                 \
	X(NOT_OURS, "not_ours", "from outside, to an address that is no egress IP")                                    \
	X(STALE_SESSION, "stale_session", "its session belongs to a worker, VPC or IP that has gone")                  \
	X(PORTS_EXHAUSTED, "ports_exhausted", "no port is free on any egress IP of the workspace for that remote")     \
	X(SESSIONS_EXHAUSTED, "sessions_exhausted", "the session table of the shard is full")                          \
	X(LIMIT_SESSIONS, "limit_sessions", "the workspace or worker is at its limit of sessions")                     \
	X(LIMIT_SESSION_RATE, "limit_session_rate", "the workspace opens sessions faster than allowed")                \
	X(LIMIT_PACKET_RATE, "limit_packet_rate", "the workspace sends more than allowed")                             \
	X(LIMIT_HALF_OPEN, "limit_half_open", "too many half-open TCP sessions")                                       \
	X(NO_ROUTE, "no_route", "the kernel has no route to the destination")                                          \
	X(NO_NEIGHBOUR, "no_neighbour", "the next hop's MAC is not known (yet): see `ip neigh`")                       \
	X(LINK_DOWN, "link_down", "the port to leave by is down")                                                      \
	X(TX_FULL, "tx_full", "the port's transmit queue is full")                                                     \
	X(HANDOVER_FULL, "handover_full", "the ring to the owning shard is full")                                      \
	X(GUARD_EGRESS, "guard_egress", "ISOLATION GUARD: would have left with an IP not its own (P1)")                \
	X(GUARD_INGRESS, "guard_ingress", "ISOLATION GUARD: would have reached another workspace (P2)")

enum drop_reason {
#define DROP_REASON_ENUM(name, label, text) DROP_##name,
	DROP_REASONS(DROP_REASON_ENUM)
#undef DROP_REASON_ENUM
		DROP_REASON_COUNT
};

/* The metric label of a reason, e.g. "unknown_vni"; "invalid" when out of range. */
static inline const char *drop_reason_label(unsigned reason)
{
	static const char *const labels[] = {
#define DROP_REASON_LABEL(name, label, text) label,
		DROP_REASONS(DROP_REASON_LABEL)
#undef DROP_REASON_LABEL
	};
	return reason < DROP_REASON_COUNT ? labels[reason] : "invalid";
}

/* One sentence for the operator. */
static inline const char *drop_reason_text(unsigned reason)
{
	static const char *const texts[] = {
#define DROP_REASON_TEXT(name, label, text) text,
		DROP_REASONS(DROP_REASON_TEXT)
#undef DROP_REASON_TEXT
	};
	return reason < DROP_REASON_COUNT ? texts[reason] : "invalid";
}

#endif
