/* SPDX-License-Identifier: Apache-2.0 */
#include "control/api_caller.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "control/scalar.h"

static const char workspace_prefix[] = "workspace:", host_prefix[] = "host:";

static bool starts_with(const char *text, const char *prefix)
{
	return strncmp(text, prefix, strlen(prefix)) == 0;
}

static bool scoped_is_valid(const char *role)
{
	uint32_t address;

	if (strlen(role) >= API_ROLE_SIZE_BYTES)
		return false;
	if (starts_with(role, workspace_prefix))
		return scalar_check_id(role + strlen(workspace_prefix)) == NULL;
	return starts_with(role, host_prefix) && scalar_parse_ipv4(role + strlen(host_prefix), &address) == NULL;
}

bool api_roles_add(struct api_roles *roles, const char *role)
{
	if (strcmp(role, "read") == 0) {
		roles->read = true;
		return true;
	}
	if (strcmp(role, "operate") == 0) {
		roles->operate = true;
		return true;
	}
	if (!scoped_is_valid(role) || roles->scoped_count == API_SCOPED_ROLE_COUNT_MAX)
		return false;
	snprintf(roles->scoped[roles->scoped_count++], API_ROLE_SIZE_BYTES, "%s", role);
	return true;
}

static bool roles_have_scoped(const struct api_roles *roles, const char *prefix, const char *subject)
{
	char role[API_ROLE_SIZE_BYTES];

	if (subject == NULL || snprintf(role, sizeof(role), "%s%s", prefix, subject) >= (int)sizeof(role))
		return false;
	for (size_t i = 0; i < roles->scoped_count; i++) {
		if (strcmp(roles->scoped[i], role) == 0)
			return true;
	}
	return false;
}

bool api_caller_may(const struct api_caller *caller, enum api_permission permission, const char *subject)
{
	const struct api_roles *roles = &caller->roles;

	switch (permission) {
	case API_PUBLIC:
		return true;
	case API_KNOWN:
		return caller->kind != API_CALLER_NOBODY;
	case API_READ:
		return roles->read || roles->operate;
	case API_OPERATE:
		return roles->operate;
	case API_WORKSPACE_READ:
		return roles->read || roles->operate || roles_have_scoped(roles, workspace_prefix, subject);
	case API_WORKSPACE:
		return roles->operate || roles_have_scoped(roles, workspace_prefix, subject);
	case API_HOST:
		return roles->operate || roles_have_scoped(roles, host_prefix, subject);
	}
	return false;
}

const char *api_permission_text(enum api_permission permission)
{
	static const char *const texts[] = {
		[API_PUBLIC] = "none",
		[API_KNOWN] = "any",
		[API_READ] = "read",
		[API_OPERATE] = "operate",
		[API_WORKSPACE_READ] = "read or workspace:ID",
		[API_WORKSPACE] = "operate or workspace:ID",
		[API_HOST] = "operate or host:VTEP",
	};

	return texts[permission];
}
