/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The model: what the operator wants, typed and validated. Immutable once config_load() has returned it.
 *
 * The whole journey of a configuration is drawn in control/plan.h. All addresses in host order. Strings are padded with
 * NULs. Owner of every pointer: the model; freed by model_free().
 */
#ifndef POSTERN_CONTROL_MODEL_H
#define POSTERN_CONTROL_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "control/status.h"
#include "dataplane/contract/policy.h"

struct arena;
struct config_part;

struct model_cidr {
	uint32_t address;
	uint8_t prefix_length_bits;
};

enum model_source_kind { MODEL_SOURCE_FILE, MODEL_SOURCE_API, MODEL_SOURCE_NETLINK };

/* Who wants an object. */
struct model_source {
	enum model_source_kind kind;
	const char *file; /* owned by the model */
	uint32_t line;	  /* from 1; 0: not from a file */
};

enum { CONFIG_INCLUDE_COUNT_MAX = 16, INCLUDE_SIZE_BYTES = 256 };

/* A pattern of `include`. */
struct model_include {
	char pattern[INCLUDE_SIZE_BYTES];
};

/* The directories that a configuration includes files from, to be watched. All zero is none. */
struct config_directories {
	char *paths[CONFIG_INCLUDE_COUNT_MAX];
	size_t count;
	void (*noted)(
		void *context, const char *path); /* called before a file of it is read; NULL: nobody wants to know */
	void *context;
};

/* A worker that the VPC lists as allowed to send, as the gateway sees it. */
struct model_listed_worker {
	uint32_t address;
	uint32_t vtep; /* 0: any trusted one */
};

/* Workers of this part of a VPC take that egress IP first, as long as it has ports. The longest prefix decides. */
struct model_preferred {
	uint32_t address;
	uint8_t prefix_length_bits; /* behind the address: FIELD_CIDR */
	bool by_route;		    /* control/mapping.h has added it; not printed */
	uint32_t egress_ip;
};

struct model_vpc {
	char id[ID_SIZE_BYTES];
	uint32_t vni;
	struct model_cidr *cidrs;
	size_t cidr_count;
	struct model_preferred *preferred;
	size_t preferred_count;
	bool workers_listed; /* only `workers` may send, even when there are none */
	struct model_listed_worker *workers;
	size_t worker_count;
	struct model_source source;
};

enum { MODEL_DSCP_KEEP = 64 };

/* What the classifier lets one worker send; 0: no limit. A burst of 0: a tenth of a second's worth. */
struct model_worker_rates {
	uint64_t packets_per_second, packets_burst, bytes_per_second, bytes_burst;
};

struct model_workspace {
	char id[ID_SIZE_BYTES];
	uint32_t number; /* 0: none */
	struct model_vpc *vpcs;
	size_t vpc_count;
	uint32_t *egress_ips;
	size_t egress_ip_count;
	uint32_t *draining_ips; /* its own too, without new sessions (P11) */
	size_t draining_ip_count;
	bool egress_shared;		  /* `egress: shared` */
	uint8_t mapping_tcp, mapping_udp; /* enum policy_mapping */
	uint32_t flags;			  /* enum policy_workspace_flags */
	struct policy_timers timers;
	struct policy_limits limits;
	struct model_worker_rates worker_rates;
	uint32_t worker_count_max; /* that hosts may register; 0: no limit */
	uint8_t dscp;		   /* 0..63 or MODEL_DSCP_KEEP */
	struct policy_rule *rules;
	size_t rule_count;
	struct model_source source;
};

struct model_port {
	char interface[INTERFACE_NAME_SIZE_BYTES];
	char device[DEVICE_ARGS_SIZE_BYTES]; /* DPDK devargs; empty: net_af_xdp on the interface */
	uint32_t queues;		     /* default 1 */
};

struct model_announce {
	bool present;
	uint32_t table;
	uint32_t draining; /* 0 or 1 */
};

struct model_gateway {
	bool present;
	struct model_port ports[PORT_COUNT];
	uint32_t encapsulation; /* enum policy_encapsulation */
	uint32_t plain_vni;
	struct model_cidr *trusted_vteps;
	size_t trusted_vtep_count;
	uint32_t hairpin; /* enum policy_hairpin */
	struct model_announce announce;
	uint32_t mapping_table;		  /* of the kernel: control/mapping.h; 0: none */
	uint32_t registered_per_host_max; /* workers that one host may register */
};

enum { MODEL_PATH_SIZE_BYTES = 256 }; /* of files that the configuration names */

struct model_worker {
	char interface[INTERFACE_NAME_SIZE_BYTES]; /* empty: it is a cgroup */
	char cgroup[MODEL_PATH_SIZE_BYTES];	   /* empty: it is an interface */
	char workspace[ID_SIZE_BYTES], vpc[ID_SIZE_BYTES];
	size_t workspace_index, vpc_index; /* resolved by model_check: workspaces[i].vpcs[j] */
	uint32_t address;		   /* `ips`: exactly one for now; more are refused with a clear error */
	bool mac_present;
	uint8_t mac[6];
	struct model_source source;
};

enum model_worker_host_flags {
	MODEL_NETLINK_ALIAS = 1u << 0, /* a link's alias may make it a worker */
	MODEL_ATTACH_CLSACT = 1u << 2, /* though the kernel has TCX */
	MODEL_GATEWAY_PROBE = 1u << 1, /* a gateway that does not answer is not used */
	MODEL_DHCP_ANSWER = 1u << 3,
};

/* Workers that are cgroups of the host's own network namespace: bpf/worker_cgroup.h. */
struct model_cgroups {
	bool present;
	char path[MODEL_PATH_SIZE_BYTES];	   /* of the cgroup that all of them are below */
	char interface[INTERFACE_NAME_SIZE_BYTES]; /* by which the host routes what they send */
};

/* Where the gateway with that VTEP takes the names of the workers that it shall let through. */
struct model_admission_gateway {
	uint32_t vtep;
	char api[MODEL_PATH_SIZE_BYTES]; /* "unix:/run/postern/posternd.sock", "https://10.100.0.1:9465" */
	struct model_source source;
};

/* Present: a worker opens only when each of the gateways has acknowledged it. */
struct model_admission {
	bool present;
	struct model_admission_gateway *gateways;
	size_t gateway_count;
	char ca[MODEL_PATH_SIZE_BYTES], certificate[MODEL_PATH_SIZE_BYTES],
		key[MODEL_PATH_SIZE_BYTES]; /* for https; else empty */
};

struct model_worker_host {
	bool present;
	uint32_t flags;					/* enum model_worker_host_flags */
	char interfaces[INTERFACE_NAME_SIZE_BYTES + 1]; /* "veth-w*": claimed as soon as they appear; empty: none */
	struct model_admission admission;
	struct model_cgroups cgroups;
	uint32_t mtu_bytes;
	uint32_t dhcp_lease_s;
	uint32_t *dns;
	size_t dns_count;
	uint32_t vtep;
	uint32_t *gateways;
	size_t gateway_count;			/* at least one when present */
	char device[INTERFACE_NAME_SIZE_BYTES]; /* VXLAN device that posternd creates; default "postern-vxlan" */
	struct model_worker *workers;
	size_t worker_count;
};

enum model_metrics_flags {
	MODEL_METRICS_PER_WORKER = 1u << 0,
	MODEL_METRICS_TLS = 1u << 1,
	MODEL_METRICS_AUTH = 1u << 2,
};

enum { MODEL_TEXT_SIZE_BYTES = 256, MODEL_ROLE_SIZE_BYTES = 80 };

struct model_role {
	char text[MODEL_ROLE_SIZE_BYTES]; /* "operate", "workspace:acme": control/api_caller.h */
};

struct model_api_client {
	char san[MODEL_TEXT_SIZE_BYTES]; /* "dns:ops.example" */
	struct model_role *roles;
	size_t role_count;
};

enum model_api_group_role { MODEL_GROUP_OPERATES, MODEL_GROUP_READS };

struct model_api {
	char address[64];
	uint16_t port; /* 0: no HTTPS */
	char certificate[MODEL_PATH_SIZE_BYTES], key[MODEL_PATH_SIZE_BYTES], client_ca[MODEL_PATH_SIZE_BYTES];
	struct model_api_client *clients;
	size_t client_count;
	char jwks[MODEL_PATH_SIZE_BYTES]; /* empty: no tokens */
	char issuer[MODEL_TEXT_SIZE_BYTES], audience[MODEL_TEXT_SIZE_BYTES];
	uint32_t token_life_max_s;
	uint32_t trust_grace_s;
	uint32_t group_role; /* enum model_api_group_role */
	char audit_log[MODEL_PATH_SIZE_BYTES];
};

struct model {
	uint32_t version;		/* 1 */
	struct model_include *includes; /* not printed: what they name is part of the model already */
	size_t include_count;
	struct model_gateway gateway;
	struct model_worker_host worker_host; /* at least one of the two is present */
	char metrics_address[64];	      /* "127.0.0.1" */
	uint16_t metrics_port;		      /* 0: metrics off */
	uint32_t metrics_flags;		      /* enum model_metrics_flags */
	struct model_api api;
	struct model_workspace *workspaces;
	size_t workspace_count;
	uint32_t *shared_pool_ips;
	size_t shared_pool_ip_count;
	uint32_t shared_pool_ports;    /* of one workspace; a multiple of POLICY_PORT_BLOCK */
	uint32_t shared_pool_linger_s; /* how long a range drains when its workspace has moved to IPs of its own */
	uint32_t removed_workspaces_percent_max; /* of a change that is not forced */
	uint32_t *released_ips; /* what control/drain.h took away from workspaces that have them in their files */
	size_t released_ip_count;
	const char *file; /* where it came from */
	struct config_part *
		*parts; /* what it was put together from (control/config_parts.h); NULL: it was read whole */
	size_t part_count;
	struct arena *arena; /* private: everything that the pointers point at */
};

struct config_changes;

/* What the API wants, beside the files, and how these are read. All zero is nothing, and the usual. */
struct config_api {
	size_t file_size_max_bytes; /* of each file; 0: YAML_FILE_SIZE_MAX_BYTES */
	const char *directory;	    /* of its fragments, *.json; NULL: none */
	const char *changed_name;   /* one that is looked at as it shall be, not as it is on disk; NULL: none */
	const char *changed_text;   /* what it shall be, terminated; NULL: gone */
	/* Asked about the bytes of each file, but of the API's fragments, before they are parsed; NULL: nobody is. */
	bool (*check)(void *context, const char *path, const char *bytes, size_t size_bytes, struct problems *problems);
	void *check_context;
	/* Read in parts, so that the next load may go on from it: control/config_parts.h. */
	bool parts;
	bool files_unchanged;	    /* with `before`: no file but the one of changed_name is looked at */
	const struct model *before; /* whose parts may be taken; NULL: none */
	/* With `before`: what may have changed since that was read; NULL: anything. */
	const struct config_changes *changes;
};

/* As --max-file-size says it, such as "16Mi"; false: it is none, or out of 1Ki..48Mi. */
bool config_file_size_parse(const char *text, size_t *ret_size_bytes);

/* How large each file may be; `api` NULL: the usual. */
size_t config_file_size_max(const struct config_api *api);

/*
 * Reads, parses and validates FILE with all that it includes, and the fragments of the API (NULL: none). `directories`
 * (NULL: not asked for) is filled whatever the outcome is. For the rest see config_load().
 */
enum status config_load_all(const char *path, const struct config_api *api, struct model **ret_model,
	struct config_directories *directories, struct problems *problems, struct problems *warnings);

void config_directories_clear(struct config_directories *directories);

/* "conf.d/acme.yaml:3", "api (DIR/acme.json:1)" or "netlink". Returns `ret_text`. */
enum { SOURCE_TEXT_SIZE_BYTES = 320 };
const char *model_source_text(const struct model_source *source, char ret_text[SOURCE_TEXT_SIZE_BYTES]);

/*
 * Reads, parses and validates FILE with all that it includes. STATUS_INVALID: `problems` has every error, each
 * "file:line: key: value: what is allowed". Warnings (things to know that do not refuse) go to `warnings`. Never
 * applies anything.
 */
enum status config_load(
	const char *path, struct model **ret_model, struct problems *problems, struct problems *warnings);

/* The same from memory; `file` is only for the messages, and nothing is included. */
enum status config_parse(const char *file, const char *bytes, size_t size_bytes, struct model **ret_model,
	struct problems *problems, struct problems *warnings);

void model_free(struct model *model);

/* The whole model as YAML that config_load() accepts again, defaults written out. malloc'ed. */
char *model_print(const struct model *model);

/* The same, with a comment before each object that says where it comes from. */
char *model_print_with_sources(const struct model *model);

/* Of a workspace's list of egress IPs, for instance. */
bool model_addresses_have(const uint32_t *addresses, size_t count, uint32_t address);

struct shared_pool_table;

/* A worker that its host has registered with this gateway: control/registrations.h. */
struct model_registered_worker {
	uint32_t vni, address, vtep;
	uint64_t epoch;	      /* the host's: another one is another worker */
	uint64_t incarnation; /* the gateway's, for the policy */
};

/* Besides the model. All zero: nobody. */
struct policy_registered {
	const struct model_registered_worker *workers; /* each VNI and address once */
	size_t count;
};

/*
 * Compiles the gateway's policy. `pool`: as shared_pool_assign() has left it for this model; a workspace on the shared
 * pool without a range in it has no egress IP (fail closed). `registered` (NULL: nobody): those whose VPC is not there,
 * or lists the address itself, are left out. The block is malloc'ed, position-independent, ready to be
 * written to a memfd. `generation` is stored in it. Deterministic: the same model, table and generation give the same
 * bytes.
 */
enum status policy_compile(const struct model *model, const struct shared_pool_table *pool,
	const struct policy_registered *registered, uint64_t generation, void **ret_block, size_t *ret_size_bytes,
	struct problems *problems);

#endif
