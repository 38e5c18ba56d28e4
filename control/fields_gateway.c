/* SPDX-License-Identifier: Apache-2.0 */
/* The section `gateway` of the field table. */
#include "control/fields_table.h"

static const char *const encapsulations[] = {"vxlan", "none", NULL}; /* enum policy_encapsulation */
static const char *const hairpins[] = {"deny", "allow", NULL};	     /* enum policy_hairpin */

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
		RANGE(1, FIELD_VNI_MAX),
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
EXTERN_SECTION(fields_gateway, "gateway", gateway_fields, struct model_gateway, FIELD_NOWHERE,
	"Present on a host that translates. Changing a port needs a restart of postern-dataplane.");
