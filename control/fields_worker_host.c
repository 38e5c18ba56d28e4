/* SPDX-License-Identifier: Apache-2.0 */
/* The section `worker_host` of the field table. */
#include "bpf/maps.h"
#include "control/fields_table.h"

static const char *const attachments[] = {"tcx", "clsact", NULL}; /* MODEL_ATTACH_CLSACT clear, set */
static const char *const dhcps[] = {"drop", "answer", NULL};	  /* MODEL_DHCP_ANSWER clear, set */

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
		RANGE(60, FIELD_TIMER_MAX_S),
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
EXTERN_SECTION(fields_worker_host, "worker_host", worker_host_fields, struct model_worker_host, FIELD_NOWHERE,
	"Present on a host that runs workers; may be a gateway too.");
