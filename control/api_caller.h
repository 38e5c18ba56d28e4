/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who asks, and what they may do. Filled once per request by control/api_auth.h, then only read. Pure; any thread.
 */
#ifndef POSTERN_CONTROL_API_CALLER_H
#define POSTERN_CONTROL_API_CALLER_H

#include <stdbool.h>
#include <stddef.h>

enum {
	API_CALLER_NAME_SIZE_BYTES = 320,
	API_ROLE_SIZE_BYTES = 80, /* "workspace:" and an id, "host:" and an address */
	API_SCOPED_ROLE_COUNT_MAX = 16,
};

/* What a route asks for. "Its" workspace or host is the one that the route's first path parameter names. */
enum api_permission {
	API_PUBLIC,	    /* nothing: anybody who can connect */
	API_KNOWN,	    /* any known caller; the handler looks closer with api_caller_may() */
	API_READ,	    /* read or operate */
	API_OPERATE,	    /* operate */
	API_WORKSPACE_READ, /* read, operate or workspace:ID of its workspace */
	API_WORKSPACE,	    /* operate or workspace:ID of its workspace */
	API_HOST,	    /* operate or host:VTEP of its worker host */
};

enum api_caller_kind { API_CALLER_NOBODY, API_CALLER_LOCAL, API_CALLER_CERTIFICATE, API_CALLER_TOKEN };

/* Roles: what a configuration or a token's scope may say. */
struct api_roles {
	bool read, operate;
	char scoped[API_SCOPED_ROLE_COUNT_MAX][API_ROLE_SIZE_BYTES]; /* "workspace:acme", "host:10.100.0.2" */
	size_t scoped_count;
};

struct api_caller {
	enum api_caller_kind kind;
	char name[API_CALLER_NAME_SIZE_BYTES]; /* "uid=0 pid=4711", "certificate dns:ops.example", "token sub@issuer" */
	struct api_roles roles;
};

/* False: no such role, or there are too many. read, operate, workspace:ID or host:ADDRESS. */
bool api_roles_add(struct api_roles *roles, const char *role);

/* `subject`: the workspace's id or the host's VTEP; NULL where the permission has none. */
bool api_caller_may(const struct api_caller *caller, enum api_permission permission, const char *subject);

/* The role that is missing, for messages: "operate", "workspace:acme". */
const char *api_permission_text(enum api_permission permission);

#endif
