/* SPDX-License-Identifier: Apache-2.0 */
/* The field table itself; how to read a line of it: struct field in control/fields.h. */
#include "bpf/maps.h"
#include "control/fields.h"
#include "control/model.h"

/* Where a value lies in the record, and how wide it is. */
#define VALUE(record, member)                                                                                          \
	.offset = offsetof(record, member), .size_bytes = (uint8_t)sizeof(((record *)0)->member),                      \
	.present_offset = FIELD_NOWHERE
#define VALUE_OPTIONAL(record, member, present)                                                                        \
	.offset = offsetof(record, member), .size_bytes = (uint8_t)sizeof(((record *)0)->member),                      \
	.present_offset = offsetof(record, present)
#define LIST(record, member, member_count)                                                                             \
	.list = true, .offset = offsetof(record, member), .count_offset = offsetof(record, member_count),              \
	.present_offset = FIELD_NOWHERE
#define LIST_OPTIONAL(record, member, member_count, present)                                                           \
	.list = true, .offset = offsetof(record, member), .count_offset = offsetof(record, member_count),              \
	.present_offset = offsetof(record, present)
#define LIST_OF_ONE(record, member)                                                                                    \
	.list = true, .offset = offsetof(record, member), .count_offset = FIELD_NOWHERE,                               \
	.present_offset = FIELD_NOWHERE, .min = 1, .max = 1
/* A section whose values lie in the same record as it does. */
#define MAP_INLINE(its_section)                                                                                        \
	.type = FIELD_MAP, .section = &(its_section), .offset = 0, .present_offset = FIELD_NOWHERE
#define RANGE(low, high) .min = (low), .max = (high)
#define ADVISED(low, reason) .advised_min = (low), .advised_by = (reason)

#define SECTION(name, its_path, its_fields, record, its_source, its_doc)                                               \
	static const struct field_section name = {.path = (its_path),                                                  \
		.doc = (its_doc),                                                                                      \
		.fields = (its_fields),                                                                                \
		.field_count = sizeof(its_fields) / sizeof((its_fields)[0]),                                           \
		.record_size_bytes = sizeof(record),                                                                   \
		.source_offset = (its_source)};                                                                        \
	static_assert(sizeof(its_fields) / sizeof((its_fields)[0]) <= FIELD_COUNT_PER_SECTION_MAX, "field table")

enum {
	VNI_MAX = (1 << 24) - 1,
	NUMBER_MAX = 65535,
	TIMER_MAX_S = 7 * 86400,
	FRAGMENTS_HELD_MAX = 64, /* struct policy_limits */
};

static const char *const encapsulations[] = {"vxlan", "none", NULL}; /* enum policy_encapsulation */
static const char *const hairpins[] = {"deny", "allow", NULL};	     /* enum policy_hairpin */
static const char *const mappings[] = {"endpoint-dependent", "endpoint-independent", NULL}; /* enum policy_mapping */
static const char *const actions[] = {"deny", "allow", NULL};	  /* enum policy_rule_action */
static const char *const attachments[] = {"tcx", "clsact", NULL}; /* MODEL_ATTACH_CLSACT clear, set */
static const char *const others[] = {"deny", "allow", NULL};	  /* POLICY_WORKSPACE_ALLOW_OTHER clear, set */
static const char *const defaults[] = {"allow", "deny", NULL};	  /* POLICY_WORKSPACE_DEFAULT_DENY clear, set */

/* ---- gateway ---- */

static const struct field inside_fields[] = {
	{.key = "interface",
		.type = FIELD_INTERFACE,
		VALUE(struct model_gateway, ports[PORT_INSIDE].interface),
		.needs_restart = true,
		.doc = "The kernel's interface towards the worker hosts."},
	{.key = "device",
		.type = FIELD_DEVICE,
		.default_text = "",
		VALUE(struct model_gateway, ports[PORT_INSIDE].device),
		.needs_restart = true,
		.doc = "DPDK device arguments, such as 0000:03:00.0; without it AF_XDP on the interface is used."},
	{.key = "queues",
		.type = FIELD_INTEGER,
		RANGE(1, SHARD_COUNT_MAX),
		.default_text = "1",
		VALUE(struct model_gateway, ports[PORT_INSIDE].queues),
		.needs_restart = true,
		.doc = "Receive queues, one per fast-path thread."},
	{.key = "encapsulation",
		.type = FIELD_CHOICE,
		.choices = encapsulations,
		.default_text = "vxlan",
		VALUE(struct model_gateway, encapsulation),
		.doc = "How a VPC is told from another: by the VNI of VXLAN; none serves exactly one VPC, plain_vni."},
	{.key = "trusted_vteps",
		.type = FIELD_CIDR,
		RANGE(0, VTEP_PREFIX_COUNT_MAX),
		.default_text = "",
		LIST(struct model_gateway, trusted_vteps, trusted_vtep_count),
		.doc = "Prefixes of the worker hosts; VXLAN from elsewhere is dropped. Required with vxlan."},
	{.key = "plain_vni",
		.type = FIELD_INTEGER,
		RANGE(1, VNI_MAX),
		.default_text = "",
		VALUE(struct model_gateway, plain_vni),
		.doc = "With encapsulation none: the VNI of the VPC that all inside traffic belongs to."},
};
SECTION(inside_section, "gateway.inside", inside_fields, struct model_gateway, FIELD_NOWHERE,
	"The port that workers' traffic comes in by.");

static const struct field outside_fields[] = {
	{.key = "interface",
		.type = FIELD_INTERFACE,
		VALUE(struct model_gateway, ports[PORT_OUTSIDE].interface),
		.needs_restart = true,
		.doc = "The kernel's interface towards the internet."},
	{.key = "device",
		.type = FIELD_DEVICE,
		.default_text = "",
		VALUE(struct model_gateway, ports[PORT_OUTSIDE].device),
		.needs_restart = true,
		.doc = "DPDK device arguments; without it AF_XDP on the interface is used."},
	{.key = "queues",
		.type = FIELD_INTEGER,
		RANGE(1, SHARD_COUNT_MAX),
		.default_text = "1",
		VALUE(struct model_gateway, ports[PORT_OUTSIDE].queues),
		.needs_restart = true,
		.doc = "Receive queues, one per fast-path thread."},
};
SECTION(outside_section, "gateway.outside", outside_fields, struct model_gateway, FIELD_NOWHERE,
	"The port that translated traffic leaves by.");

static const struct field announce_fields[] = {
	{.key = "table",
		.type = FIELD_TABLE,
		.default_text = "main",
		VALUE(struct model_announce, table),
		.doc = "The kernel's routing table that the routes stand in."},
	{.key = "draining",
		.type = FIELD_BOOL,
		.default_text = "false",
		VALUE(struct model_announce, draining),
		.doc = "Whether the gateway as a whole is to lose its traffic: true withdraws all routes, and "
		       "everything "
		       "else goes on."},
};
SECTION(announce_section, "gateway.announce", announce_fields, struct model_announce, FIELD_NOWHERE,
	"Present: each egress IP in force is a route of the kernel (blackhole, protocol 133, metric 133), for BIRD or "
	"FRR "
	"to redistribute. The routes go when the gateway does not serve.");

static const struct field registration_fields[] = {
	{.key = "per_host",
		.type = FIELD_COUNT,
		RANGE(1, WORKER_COUNT_MAX),
		.default_text = "16Ki",
		VALUE(struct model_gateway, registered_per_host_max),
		.doc = "Workers that one worker host may have registered."},
};
SECTION(registrations_section, "gateway.registrations", registration_fields, struct model_gateway, FIELD_NOWHERE,
	"How much of the gateway worker hosts may take by worker_host.admission. Who is registered stays when a limit "
	"is "
	"lowered; more are refused.");

static const struct field netlink_fields[] = {
	{.key = "mapping_table",
		.type = FIELD_TABLE,
		.default_text = "",
		VALUE(struct model_gateway, mapping_table),
		.doc = "A routing table of the kernel that no rule points at, whose routes are mappings: prefix of the "
		       "workers, src the egress IP, realm the number of the workspace. Without it there are none."},
};
SECTION(netlink_section, "gateway.netlink", netlink_fields, struct model_gateway, FIELD_NOWHERE,
	"What a control plane may say by netlink. Where it contradicts the files, these win.");

static const struct field gateway_fields[] = {
	{.key = "inside", MAP_INLINE(inside_section), .doc = "The inside port."},
	{.key = "outside", MAP_INLINE(outside_section), .doc = "The outside port."},
	{.key = "hairpin",
		.type = FIELD_CHOICE,
		.choices = hairpins,
		.default_text = "deny",
		VALUE(struct model_gateway, hairpin),
		.doc = "Whether a workspace may reach another one's egress IP; allowed, it goes through both NATs."},
	{.key = "registrations",
		MAP_INLINE(registrations_section),
		.default_text = "",
		.doc = "What worker hosts may register."},
	{.key = "announce",
		.type = FIELD_MAP,
		.section = &announce_section,
		.default_text = "",
		VALUE_OPTIONAL(struct model_gateway, announce, announce.present),
		.doc = "How egress IPs get known to routing daemons; {} for the defaults. Without it they are not."},
	{.key = "netlink", MAP_INLINE(netlink_section), .default_text = "", .doc = "Configuration by netlink."},
};
SECTION(gateway_section, "gateway", gateway_fields, struct model_gateway, FIELD_NOWHERE,
	"Present on a host that translates. Changing a port needs a restart of postern-dataplane.");

/* ---- workspaces ---- */

static const struct field listed_worker_fields[] = {
	{.key = "ip",
		.type = FIELD_IPV4,
		VALUE(struct model_listed_worker, address),
		.doc = "The worker's address, inside the VPC's CIDRs."},
	{.key = "vtep",
		.type = FIELD_IPV4,
		.default_text = "",
		VALUE(struct model_listed_worker, vtep),
		.doc = "The worker host that it must come from; without it any trusted one."},
};
SECTION(listed_worker_section, "workspaces[].vpcs[].workers[]", listed_worker_fields, struct model_listed_worker,
	FIELD_NOWHERE, "A worker that may send. When a VPC lists workers, all others are dropped.");

static const struct field preferred_fields[] = {
	{.key = "cidr",
		.type = FIELD_CIDR,
		VALUE(struct model_preferred, address),
		.doc = "A part of the VPC: inside one of its CIDRs."},
	{.key = "ip",
		.type = FIELD_IPV4,
		VALUE(struct model_preferred, egress_ip),
		.doc = "One of the workspace's egress IPs."},
};
SECTION(preferred_section, "workspaces[].vpcs[].preferred_egress[]", preferred_fields, struct model_preferred,
	FIELD_NOWHERE,
	"Which egress IP comes first for new sessions of some workers, as long as it has ports. The longest prefix "
	"decides; workers of no prefix are spread over all IPs.");

static const struct field vpc_fields[] = {
	{.key = "id", .type = FIELD_ID, VALUE(struct model_vpc, id), .doc = "Its name, unique in the workspace."},
	{.key = "vni",
		.type = FIELD_INTEGER,
		RANGE(1, VNI_MAX),
		VALUE(struct model_vpc, vni),
		.doc = "The VXLAN id on the wire, unique on the gateway."},
	{.key = "cidrs",
		.type = FIELD_CIDR,
		RANGE(1, 1024),
		LIST(struct model_vpc, cidrs, cidr_count),
		.doc = "The addresses its workers may have. They may overlap other VPCs', not each other."},
	{.key = "preferred_egress",
		.type = FIELD_MAP,
		.section = &preferred_section,
		RANGE(0, 1024),
		.default_text = "",
		LIST(struct model_vpc, preferred, preferred_count),
		.doc = "Which egress IP comes first for which of its workers."},
	{.key = "workers",
		.type = FIELD_MAP,
		.section = &listed_worker_section,
		RANGE(0, WORKER_COUNT_MAX),
		.default_text = "",
		LIST_OPTIONAL(struct model_vpc, workers, worker_count, workers_listed),
		.objects = true,
		.doc = "When present, only these workers may send; an empty list lets nobody. Without it every address "
		       "of "
		       "the CIDRs may, from any trusted worker host."},
};
SECTION(vpc_section, "workspaces[].vpcs[]", vpc_fields, struct model_vpc, offsetof(struct model_vpc, source),
	"An isolated network of the workspace.");

static const struct field egress_fields[] = {
	{.key = "ips",
		.type = FIELD_IPV4,
		RANGE(0, EGRESS_IP_COUNT_MAX),
		LIST(struct model_workspace, egress_ips, egress_ip_count),
		.objects = true,
		.doc = "Public addresses of this workspace alone, each once in the whole configuration."},
	{.key = "draining",
		.type = FIELD_IPV4,
		RANGE(0, EGRESS_IP_COUNT_MAX),
		.default_text = "",
		LIST(struct model_workspace, draining_ips, draining_ip_count),
		.objects = true,
		.doc = "Addresses of this workspace that take no new sessions: the old ones live out. Move an address "
		       "here from ips, and remove it when its sessions have ended."},
};
SECTION(egress_section, "workspaces[].egress", egress_fields, struct model_workspace, FIELD_NOWHERE,
	"What the workspace's traffic leaves with. The word shared in its place means the shared pool.");

static const struct field mapping_fields[] = {
	{.key = "tcp",
		.type = FIELD_CHOICE,
		.choices = mappings,
		.default_text = "endpoint-dependent",
		VALUE(struct model_workspace, mapping_tcp),
		.doc = "endpoint-dependent serves 64,512 sessions per egress IP and remote endpoint; "
		       "endpoint-independent "
		       "follows RFC 5382 REQ-1."},
	{.key = "udp",
		.type = FIELD_CHOICE,
		.choices = mappings,
		.default_text = "endpoint-independent",
		VALUE(struct model_workspace, mapping_udp),
		.doc = "endpoint-independent follows RFC 4787 REQ-1, which peer-to-peer protocols need."},
};
SECTION(mapping_section, "workspaces[].mapping", mapping_fields, struct model_workspace, FIELD_NOWHERE,
	"Whether one inside address and port keeps its outside port towards every remote.");

static const struct field timer_fields[] = {
	{.key = "tcp_established",
		.type = FIELD_DURATION,
		RANGE(1, TIMER_MAX_S),
		.default_text = "2h4m",
		ADVISED(7440, "RFC 5382 REQ-5"),
		VALUE(struct model_workspace, timers.tcp_established_s),
		.doc = "An open TCP connection without traffic."},
	{.key = "tcp_transitory",
		.type = FIELD_DURATION,
		RANGE(1, TIMER_MAX_S),
		.default_text = "4m",
		ADVISED(240, "RFC 5382 REQ-5"),
		VALUE(struct model_workspace, timers.tcp_transitory_s),
		.doc = "A TCP connection that is opening or closing."},
	{.key = "tcp_syn",
		.type = FIELD_DURATION,
		RANGE(1, TIMER_MAX_S),
		.default_text = "30s",
		VALUE(struct model_workspace, timers.tcp_syn_s),
		.doc = "A SYN that nobody has answered; short on purpose, since a flood of them costs sessions."},
	{.key = "udp",
		.type = FIELD_DURATION,
		RANGE(1, TIMER_MAX_S),
		.default_text = "5m",
		ADVISED(120, "RFC 4787 REQ-5"),
		VALUE(struct model_workspace, timers.udp_s),
		.doc = "A UDP session."},
	{.key = "udp_dns",
		.type = FIELD_DURATION,
		RANGE(1, TIMER_MAX_S),
		.default_text = "30s",
		VALUE(struct model_workspace, timers.udp_dns_s),
		.doc = "A UDP session to port 53, after its answer."},
	{.key = "icmp",
		.type = FIELD_DURATION,
		RANGE(1, TIMER_MAX_S),
		.default_text = "1m",
		ADVISED(60, "RFC 5508 REQ-2"),
		VALUE(struct model_workspace, timers.icmp_s),
		.doc = "An ICMP echo session."},
};
SECTION(timers_section, "workspaces[].timers", timer_fields, struct model_workspace, FIELD_NOWHERE,
	"How long an idle session lives. A value below what an RFC demands is accepted with a warning.");

static const struct field worker_limit_fields[] = {
	{.key = "sessions",
		.type = FIELD_COUNT,
		RANGE(0, UINT32_MAX),
		.default_text = "0",
		VALUE(struct model_workspace, limits.worker_sessions),
		.doc = "Sessions of one worker."},
	{.key = "half_open",
		.type = FIELD_COUNT,
		RANGE(0, UINT32_MAX),
		.default_text = "0",
		VALUE(struct model_workspace, limits.worker_half_open),
		.doc = "One worker's TCP sessions whose handshake is not complete."},
	{.key = "new_sessions_per_second",
		.type = FIELD_COUNT,
		RANGE(0, UINT32_MAX),
		.default_text = "0",
		VALUE(struct model_workspace, limits.worker_new_sessions_per_second),
		.doc = "New sessions of one worker per second."},
	{.key = "sessions_per_remote",
		.type = FIELD_COUNT,
		RANGE(0, UINT32_MAX),
		.default_text = "0",
		VALUE(struct model_workspace, limits.worker_sessions_per_remote),
		.doc = "Sessions of one worker to one remote address and port."},
	{.key = "fragments_held",
		.type = FIELD_COUNT,
		RANGE(0, FRAGMENTS_HELD_MAX),
		.default_text = "0",
		VALUE(struct model_workspace, limits.worker_fragments_held),
		.doc = "Fragments of one worker that wait for the first one of their packet."},
	{.key = "packets_per_second",
		.type = FIELD_COUNT,
		RANGE(0, UINT32_MAX),
		.default_text = "0",
		VALUE(struct model_workspace, worker_rates.packets_per_second),
		.doc = "Packets of one worker per second, outbound; enforced on its host."},
	{.key = "packets_burst",
		.type = FIELD_COUNT,
		RANGE(0, UINT32_MAX),
		.default_text = "0",
		VALUE(struct model_workspace, worker_rates.packets_burst),
		.doc = "Packets that it may send at once; 0 means a tenth of a second's, and it is at least 64."},
	{.key = "bytes_per_second",
		.type = FIELD_RATE,
		RANGE(0, 1000000000000u),
		.default_text = "0",
		VALUE(struct model_workspace, worker_rates.bytes_per_second),
		.doc = "Bytes of one worker's IP packets per second, outbound; enforced on its host."},
	{.key = "bytes_burst",
		.type = FIELD_COUNT,
		RANGE(0, UINT32_MAX),
		.default_text = "0",
		VALUE(struct model_workspace, worker_rates.bytes_burst),
		.doc = "Bytes that it may send at once; 0 means a tenth of a second's, and it is at least 128 KiB."},
};
SECTION(worker_limits_section, "workspaces[].limits.worker", worker_limit_fields, struct model_workspace, FIELD_NOWHERE,
	"What each worker of the workspace may use at most, so that one can not starve its fellows.");

static const struct field limit_fields[] = {
	{.key = "sessions",
		.type = FIELD_COUNT,
		RANGE(0, UINT32_MAX),
		.default_text = "0",
		VALUE(struct model_workspace, limits.sessions),
		.doc = "Sessions of the workspace."},
	{.key = "guaranteed_sessions",
		.type = FIELD_COUNT,
		RANGE(0, UINT32_MAX),
		.default_text = "0",
		VALUE(struct model_workspace, limits.sessions_guaranteed),
		.doc = "Sessions that are kept free for the workspace, whatever the others do; at most sessions. 0 "
		       "means an equal share of half of the table."},
	{.key = "half_open",
		.type = FIELD_COUNT,
		RANGE(0, UINT32_MAX),
		.default_text = "16Ki",
		VALUE(struct model_workspace, limits.half_open),
		.doc = "TCP sessions whose handshake is not complete."},
	{.key = "new_sessions_per_second",
		.type = FIELD_COUNT,
		RANGE(0, UINT32_MAX),
		.default_text = "20000",
		VALUE(struct model_workspace, limits.new_sessions_per_second),
		.doc = "New sessions per second."},
	{.key = "packets_per_second",
		.type = FIELD_COUNT,
		RANGE(0, UINT32_MAX),
		.default_text = "0",
		VALUE(struct model_workspace, limits.packets_per_second),
		.doc = "Packets per second, outbound."},
	{.key = "bytes_per_second",
		.type = FIELD_RATE,
		RANGE(0, 1000000000000u),
		.default_text = "0",
		VALUE(struct model_workspace, limits.bytes_per_second),
		.doc = "Bytes per second, outbound."},
	{.key = "sessions_per_remote",
		.type = FIELD_COUNT,
		RANGE(0, UINT32_MAX),
		.default_text = "0",
		VALUE(struct model_workspace, limits.sessions_per_remote),
		.doc = "Sessions to one remote address and port."},
	{.key = "fragments_held",
		.type = FIELD_COUNT,
		RANGE(0, FRAGMENTS_HELD_MAX),
		.default_text = "0",
		VALUE(struct model_workspace, limits.fragments_held),
		.doc = "Fragments that wait for the first one of their packet; 0 means 64."},
	{.key = "guaranteed_fragments",
		.type = FIELD_COUNT,
		RANGE(0, FRAGMENTS_HELD_MAX),
		.default_text = "0",
		VALUE(struct model_workspace, limits.fragments_guaranteed),
		.doc = "Fragments for which room is kept free on each shard, whatever the others do; at most "
		       "fragments_held. 0 means an equal share of half of the room."},
	{.key = "workers",
		.type = FIELD_COUNT,
		RANGE(0, WORKER_COUNT_MAX),
		.default_text = "16Ki",
		VALUE(struct model_workspace, worker_count_max),
		.doc = "Workers of the workspace that worker hosts may register with a gateway; those that its VPCs "
		       "list are not counted."},
	{.key = "worker", MAP_INLINE(worker_limits_section), .default_text = "", .doc = "The limits of each worker."},
};
SECTION(limits_section, "workspaces[].limits", limit_fields, struct model_workspace, FIELD_NOWHERE,
	"What the workspace may use at most; 0 means no limit of its own. The defaults are for one tenant among many.");

static const struct field rule_fields[] = {
	{.key = "action",
		.type = FIELD_CHOICE,
		.choices = actions,
		VALUE(struct policy_rule, action),
		.doc = "What happens to what matches."},
	{.key = "to",
		.type = FIELD_CIDR,
		.default_text = "0.0.0.0/0",
		VALUE(struct policy_rule, address),
		.doc = "The destination."},
	{.key = "protocol",
		.type = FIELD_PROTOCOL,
		.default_text = "any",
		VALUE(struct policy_rule, protocol),
		.doc = "The protocol."},
	{.key = "ports",
		.type = FIELD_PORTS,
		.default_text = "any",
		VALUE(struct policy_rule, port_first),
		.doc = "Destination ports, of tcp and udp only."},
};
SECTION(rule_section, "workspaces[].policy.rules[]", rule_fields, struct policy_rule, FIELD_NOWHERE,
	"The first rule that matches decides.");

static const struct field policy_fields[] = {
	{.key = "default",
		.type = FIELD_CHOICE,
		.choices = defaults,
		.bit = POLICY_WORKSPACE_DEFAULT_DENY,
		.default_text = "allow",
		VALUE(struct model_workspace, flags),
		.doc = "What no rule matches."},
	{.key = "rules",
		.type = FIELD_MAP,
		.section = &rule_section,
		RANGE(0, 1024),
		.default_text = "",
		LIST(struct model_workspace, rules, rule_count),
		.doc = "Rules, the first match wins."},
};
SECTION(policy_section, "workspaces[].policy", policy_fields, struct model_workspace, FIELD_NOWHERE,
	"Where the workspace's workers may connect to. Gateways look at it when a session is created; worker hosts "
	"whose "
	"file has it refuse there what opens no session that is allowed.");

static const struct field workspace_fields[] = {
	{.key = "id",
		.type = FIELD_ID,
		VALUE(struct model_workspace, id),
		.doc = "Its name, unique in the configuration."},
	{.key = "number",
		.type = FIELD_INTEGER,
		RANGE(1, NUMBER_MAX),
		.default_text = "",
		VALUE(struct model_workspace, number),
		.doc = "Its number, unique: the realm by which routes of gateway.netlink.mapping_table name it."},
	{.key = "vpcs",
		.type = FIELD_MAP,
		.section = &vpc_section,
		RANGE(1, VPC_COUNT_MAX),
		LIST(struct model_workspace, vpcs, vpc_count),
		.objects = true,
		.doc = "Its networks."},
	{.key = "egress",
		MAP_INLINE(egress_section),
		.default_text = "",
		.word = "shared",
		.second_offset = offsetof(struct model_workspace, egress_shared),
		.doc = "Its egress IPs, or the word shared. Required on a gateway."},
	{.key = "mapping", MAP_INLINE(mapping_section), .default_text = "", .doc = "How ports are mapped."},
	{.key = "timers", MAP_INLINE(timers_section), .default_text = "", .doc = "How long idle sessions live."},
	{.key = "limits", MAP_INLINE(limits_section), .default_text = "", .doc = "What it may use at most."},
	{.key = "allow_private",
		.type = FIELD_BOOL,
		.bit = POLICY_WORKSPACE_ALLOW_PRIVATE,
		.default_text = "false",
		VALUE(struct model_workspace, flags),
		.doc = "Whether private and other special-purpose destinations (RFC 6890) are not denied."},
	{.key = "tcp_reset_unknown",
		.type = FIELD_BOOL,
		.bit = POLICY_WORKSPACE_TCP_RST_UNKNOWN,
		.default_text = "true",
		VALUE(struct model_workspace, flags),
		.doc = "Whether a worker's TCP packet without a session is answered with RST, so that it opens anew at "
		       "once."},
	{.key = "tcp_reset_idle",
		.type = FIELD_BOOL,
		.bit = POLICY_WORKSPACE_RESET_IDLE,
		.default_text = "false",
		VALUE(struct model_workspace, flags),
		.doc = "Whether both ends of a TCP session get an RST when it ends because it was idle."},
	{.key = "tcp_reset_gone",
		.type = FIELD_BOOL,
		.bit = POLICY_WORKSPACE_RESET_GONE,
		.default_text = "false",
		VALUE(struct model_workspace, flags),
		.doc = "Whether the remote of a TCP session gets an RST when the worker, VPC or egress IP has gone."},
	{.key = "inbound_refresh",
		.type = FIELD_BOOL,
		.bit = POLICY_WORKSPACE_INBOUND_REFRESH,
		.default_text = "false",
		VALUE(struct model_workspace, flags),
		.doc = "Whether packets from outside keep a UDP session alive (RFC 4787 REQ-6)."},
	{.key = "other_protocols",
		.type = FIELD_CHOICE,
		.choices = others,
		.bit = POLICY_WORKSPACE_ALLOW_OTHER,
		.default_text = "deny",
		VALUE(struct model_workspace, flags),
		.doc = "SCTP, GRE, ESP and all else that is not TCP, UDP or ICMP: denied, or translated by address "
		       "alone, for one worker per egress IP and remote; never with an IP of the shared pool. policy "
		       "applies to "
		       "them too."},
	{.key = "policy", MAP_INLINE(policy_section), .default_text = "", .doc = "Where its workers may connect to."},
	{.key = "dscp",
		.type = FIELD_DSCP,
		.default_text = "keep",
		VALUE(struct model_workspace, dscp),
		.doc = "The DSCP of its workers' packets: theirs, or this one, which the tunnel to the gateway bears "
		       "too."},
};
SECTION(workspace_section, "workspaces[]", workspace_fields, struct model_workspace,
	offsetof(struct model_workspace, source), "A tenant.");

/* ---- worker host ---- */

static const struct field worker_fields[] = {
	{.key = "interface",
		.type = FIELD_INTERFACE,
		.default_text = "",
		VALUE(struct model_worker, interface),
		.doc = "The host's end of the worker's veth or tap. Either this or cgroup is required."},
	{.key = "cgroup",
		.type = FIELD_PATH,
		.default_text = "",
		VALUE(struct model_worker, cgroup),
		.doc = "The cgroup of a worker without an interface of its own, at most 4 levels below "
		       "worker_host.cgroups.path."},
	{.key = "workspace", .type = FIELD_ID, VALUE(struct model_worker, workspace), .doc = "Whose worker it is."},
	{.key = "vpc", .type = FIELD_ID, VALUE(struct model_worker, vpc), .doc = "The VPC of that workspace."},
	{.key = "ips",
		.type = FIELD_IPV4,
		LIST_OF_ONE(struct model_worker, address),
		.doc = "Its address inside the VPC's CIDRs, exactly one."},
	{.key = "mac",
		.type = FIELD_MAC,
		.default_text = "",
		VALUE_OPTIONAL(struct model_worker, mac, mac_present),
		.doc = "Its MAC address; without it the first valid frame's counts."},
};
SECTION(worker_section, "worker_host.workers[]", worker_fields, struct model_worker,
	offsetof(struct model_worker, source), "A worker on this host.");

static const struct field admission_gateway_fields[] = {
	{.key = "vtep",
		.type = FIELD_IPV4,
		VALUE(struct model_admission_gateway, vtep),
		.doc = "The gateway's address on the underlay, one of worker_host.gateways."},
	{.key = "api",
		.type = FIELD_ENDPOINT,
		VALUE(struct model_admission_gateway, api),
		.doc = "Where its posternd answers: the Unix socket in its run directory when that is within reach, or "
		       "its HTTPS address."},
};
SECTION(admission_gateway_section, "worker_host.admission.gateways[]", admission_gateway_fields,
	struct model_admission_gateway, offsetof(struct model_admission_gateway, source),
	"A gateway that has to acknowledge.");

static const struct field admission_fields[] = {
	{.key = "gateways",
		.type = FIELD_MAP,
		.section = &admission_gateway_section,
		RANGE(1, BPF_GATEWAY_COUNT_MAX),
		LIST(struct model_admission, gateways, gateway_count),
		.doc = "The gateways to ask, each of worker_host.gateways once."},
	{.key = "ca",
		.type = FIELD_PATH,
		.default_text = "",
		VALUE(struct model_admission, ca),
		.doc = "Certificates (PEM) of who signs for the gateways. Required with https."},
	{.key = "certificate",
		.type = FIELD_PATH,
		.default_text = "",
		VALUE(struct model_admission, certificate),
		.doc = "This host's certificate (PEM), for the role host:VTEP at the gateways. Required with https."},
	{.key = "key",
		.type = FIELD_PATH,
		.default_text = "",
		VALUE(struct model_admission, key),
		.doc = "Its private key (PEM). Required with https."},
};
SECTION(admission_section, "worker_host.admission", admission_fields, struct model_admission, FIELD_NOWHERE,
	"With it a worker opens only when every gateway has acknowledged a policy that lists it, and its sessions end "
	"with "
	"it. "
	"Without it a worker opens when this host's configuration is in force, and the gateways know its VPC alone.");

static const struct field cgroups_fields[] = {
	{.key = "path",
		.type = FIELD_PATH,
		VALUE(struct model_cgroups, path),
		.doc = "A cgroup (version 2) that all of them are below; made if it is missing. What is below it and "
		       "no "
		       "open worker can not send."},
	{.key = "interface",
		.type = FIELD_INTERFACE,
		VALUE(struct model_cgroups, interface),
		.doc = "The interface of the host's default route, with an IPv4 address, by which what they send would "
		       "leave."},
};
SECTION(cgroups_section, "worker_host.cgroups", cgroups_fields, struct model_cgroups, FIELD_NOWHERE,
	"Workers that are processes in the host's own network namespace, told by their cgroup.");

static const char *const dhcps[] = {"drop", "answer", NULL}; /* MODEL_DHCP_ANSWER clear, set */

static const struct field worker_host_fields[] = {
	{.key = "vtep",
		.type = FIELD_IPV4,
		VALUE(struct model_worker_host, vtep),
		.doc = "This host's own address on the underlay."},
	{.key = "gateways",
		.type = FIELD_IPV4,
		RANGE(1, BPF_GATEWAY_COUNT_MAX),
		LIST(struct model_worker_host, gateways, gateway_count),
		.doc = "Underlay addresses of the gateways; VXLAN from elsewhere is dropped. Of several, each "
		       "workspace "
		       "uses one, chosen by its id, and another one while that is down."},
	{.key = "device",
		.type = FIELD_INTERFACE,
		.default_text = "postern-vxlan",
		VALUE(struct model_worker_host, device),
		.doc = "The VXLAN device that posternd creates."},
	{.key = "interfaces",
		.type = FIELD_INTERFACES,
		.default_text = "",
		VALUE(struct model_worker_host, interfaces),
		.doc = "Interfaces with such names are closed as soon as they appear, before anybody says whose they "
		       "are, and a fence keeps what they send before that out of this host: say it on each worker "
		       "host."},
	{.key = "attach",
		.type = FIELD_CHOICE,
		.choices = attachments,
		.bit = MODEL_ATTACH_CLSACT,
		.default_text = "tcx",
		VALUE(struct model_worker_host, flags),
		.doc = "Where the classifier's programs go on an interface that has none yet: tcx, where the kernel "
		       "has it "
		       "(Linux 6.6), or clsact in any case, which is faster where many workers come and go."},
	{.key = "netlink_alias",
		.type = FIELD_BOOL,
		.bit = MODEL_NETLINK_ALIAS,
		.default_text = "false",
		VALUE(struct model_worker_host, flags),
		.doc = "Whether a link's alias postern:WORKSPACE/VPC/ADDRESS makes it a worker. An interface that "
		       "comes "
		       "back "
		       "from another network namespace keeps the alias that it was given there: say true only where "
		       "none does."},
	{.key = "gateway_probe",
		.type = FIELD_BOOL,
		.bit = MODEL_GATEWAY_PROBE,
		.default_text = "true",
		VALUE(struct model_worker_host, flags),
		.doc = "Whether a gateway of several that no longer answers (TCP to port 9, each second, a reset is an "
		       "answer) is not used until it answers again."},
	{.key = "mtu",
		.type = FIELD_INTEGER,
		RANGE(576, 9000),
		.default_text = "1450",
		VALUE(struct model_worker_host, mtu_bytes),
		.doc = "The largest IP packet of a worker: the underlay's MTU less 50. DHCP tells it; cgroups are held "
		       "to it."},
	{.key = "dhcp",
		.type = FIELD_CHOICE,
		.choices = dhcps,
		.bit = MODEL_DHCP_ANSWER,
		.default_text = "drop",
		VALUE(struct model_worker_host, flags),
		.doc = "What becomes of the workers' DHCP: answered with the worker's address, or dropped."},
	{.key = "dhcp_lease",
		.type = FIELD_DURATION,
		RANGE(60, TIMER_MAX_S),
		.default_text = "1h",
		VALUE(struct model_worker_host, dhcp_lease_s),
		.doc = "After which a DHCP client asks again, at half of it."},
	{.key = "dns",
		.type = FIELD_IPV4,
		RANGE(0, WORKER_DNS_COUNT_MAX),
		.default_text = "",
		LIST(struct model_worker_host, dns, dns_count),
		.doc = "Name servers that DHCP tells the workers."},
	{.key = "cgroups",
		.type = FIELD_MAP,
		.section = &cgroups_section,
		.default_text = "",
		VALUE_OPTIONAL(struct model_worker_host, cgroups, cgroups.present),
		.doc = "For workers that are cgroups."},
	{.key = "admission",
		.type = FIELD_MAP,
		.section = &admission_section,
		.default_text = "",
		VALUE_OPTIONAL(struct model_worker_host, admission, admission.present),
		.doc = "Who must acknowledge a worker before it opens."},
	{.key = "workers",
		.type = FIELD_MAP,
		.section = &worker_section,
		RANGE(0, BPF_WORKER_COUNT_MAX),
		.default_text = "",
		LIST(struct model_worker_host, workers, worker_count),
		.objects = true,
		.doc = "The workers here."},
};
SECTION(worker_host_section, "worker_host", worker_host_fields, struct model_worker_host, FIELD_NOWHERE,
	"Present on a host that runs workers; may be a gateway too.");

/* ---- the file ---- */

static const struct field metrics_fields[] = {
	{.key = "listen",
		.type = FIELD_LISTEN,
		.default_text = "off",
		VALUE(struct model, metrics_address),
		.second_offset = offsetof(struct model, metrics_port),
		.doc = "Where Prometheus finds the metrics, over HTTP."},
	{.key = "per_worker",
		.type = FIELD_BOOL,
		.bit = MODEL_METRICS_PER_WORKER,
		.default_text = "false",
		VALUE(struct model, metrics_flags),
		.doc = "Whether there are metrics of each worker too. They are as many as workers come and go."},
	{.key = "tls",
		.type = FIELD_BOOL,
		.bit = MODEL_METRICS_TLS,
		.default_text = "false",
		VALUE(struct model, metrics_flags),
		.doc = "Whether they are served over HTTPS, with api.certificate."},
	{.key = "auth",
		.type = FIELD_BOOL,
		.bit = MODEL_METRICS_AUTH,
		.default_text = "false",
		VALUE(struct model, metrics_flags),
		.doc = "Whether who scrapes must have the role read, by certificate or token as at the API. Takes tls. "
		       "/healthz and /readyz stay open."},
};
SECTION(metrics_section, "metrics", metrics_fields, struct model, FIELD_NOWHERE, "The metrics endpoint.");

static const struct field shared_pool_fields[] = {
	{.key = "ips",
		.type = FIELD_IPV4,
		RANGE(0, EGRESS_IP_COUNT_MAX),
		.default_text = "",
		LIST(struct model, shared_pool_ips, shared_pool_ip_count),
		.doc = "Public addresses of the pool. An address that is removed here is cut off at once."},
	{.key = "ports_per_workspace",
		.type = FIELD_INTEGER,
		RANGE(POLICY_PORT_BLOCK, 64512),
		.multiple_of = POLICY_PORT_BLOCK,
		.default_text = "4096",
		VALUE(struct model, shared_pool_ports),
		.doc = "Ports of each workspace, on one of the addresses; an address serves 64512 of them. A workspace "
		       "that has a range already moves to one of the new size, as far as there is room; the old one "
		       "drains."},
	{.key = "linger",
		.type = FIELD_DURATION,
		RANGE(0, TIMER_MAX_S),
		.default_text = "1d",
		VALUE(struct model, shared_pool_linger_s),
		.doc = "How long a workspace that now has IPs of its own keeps its old range for the sessions that it "
		       "has there. Nobody else gets the range in that time and for 5 minutes after."},
};
SECTION(shared_pool_section, "shared_pool", shared_pool_fields, struct model, FIELD_NOWHERE,
	"Egress IPs for the workspaces that say egress: shared. Each gets a range of ports that no other has, and "
	"keeps it "
	"over reloads and restarts.");

static const struct field change_limit_fields[] = {
	{.key = "removed_workspaces",
		.type = FIELD_INTEGER,
		RANGE(0, 100),
		.default_text = "50",
		VALUE(struct model, removed_workspaces_percent_max),
		.doc = "Per cent of the workspaces that one change may remove without --force; the configuration "
		       "before the "
		       "change decides. 100 allows everything."},
};
SECTION(change_limits_section, "change_limits", change_limit_fields, struct model, FIELD_NOWHERE,
	"What one change of the files may do without --force.");

static const struct field file_fields[] = {
	{.key = "version",
		.type = FIELD_INTEGER,
		RANGE(1, 1),
		VALUE(struct model, version),
		.doc = "The version of this layout, 1."},
	{.key = "include",
		.type = FIELD_PATTERN,
		RANGE(0, CONFIG_INCLUDE_COUNT_MAX),
		.default_text = "",
		LIST(struct model, includes, include_count),
		.input_only = true,
		.doc = "Further files, such as conf.d/*.yaml, read in the order of their names; a relative path starts "
		       "at this file's directory. Each has workspaces and worker_host.workers alone, and at most 4 "
		       "MiB. "
		       "Their directories must exist, and are watched."},
	{.key = "gateway",
		.type = FIELD_MAP,
		.section = &gateway_section,
		.default_text = "",
		VALUE_OPTIONAL(struct model, gateway, gateway.present),
		.doc = "The translating side. At least one of gateway and worker_host must be there."},
	{.key = "api", MAP_INLINE(fields_api), .default_text = "", .doc = "The API beyond the Unix socket."},
	{.key = "metrics", MAP_INLINE(metrics_section), .default_text = "", .doc = "The metrics endpoint."},
	{.key = "change_limits",
		MAP_INLINE(change_limits_section),
		.default_text = "",
		.doc = "What one change may do."},
	{.key = "shared_pool", MAP_INLINE(shared_pool_section), .default_text = "", .doc = "The shared egress IPs."},
	{.key = "workspaces",
		.type = FIELD_MAP,
		.section = &workspace_section,
		RANGE(0, WORKSPACE_COUNT_MAX),
		LIST(struct model, workspaces, workspace_count),
		.objects = true,
		.doc = "The tenants. Required, so that a key left out by accident does not remove them all; [] means "
		       "none."},
	{.key = "worker_host",
		.type = FIELD_MAP,
		.section = &worker_host_section,
		.default_text = "",
		VALUE_OPTIONAL(struct model, worker_host, worker_host.present),
		.doc = "The side that runs workers."},
};

const struct field_section fields_file = {.path = "",
	.doc = "The file as a whole.",
	.fields = file_fields,
	.field_count = sizeof(file_fields) / sizeof(file_fields[0]),
	.record_size_bytes = sizeof(struct model),
	.source_offset = FIELD_NOWHERE};
