/* SPDX-License-Identifier: Apache-2.0 */
#include "control/cgroup_path.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "bpf/maps.h"

const char *cgroup_path_check(const struct model_cgroups *cgroups, const char *path)
{
	size_t length = strlen(cgroups->path);
	unsigned depth = 0;

	if (!cgroups->present)
		return "is a cgroup, but worker_host.cgroups does not say where workers may be";
	while (length > 1 && cgroups->path[length - 1] == '/')
		length--;
	if (strncmp(path, cgroups->path, length) != 0 || path[length] != '/' || path[length + 1] == '\0')
		return "is not below worker_host.cgroups.path: must be";
	for (const char *part = path + length; *part != '\0';) {
		size_t part_length = strcspn(++part, "/");

		if (part_length == 0 || (part_length <= 2 && strspn(part, ".") >= part_length))
			return "has an empty part, . or .. in it: must be the path itself";
		part += part_length;
		depth++;
	}
	return depth <= CGROUP_DEPTH_MAX ? NULL : "is more than 4 levels below worker_host.cgroups.path: must not be";
}

void cgroup_path_name(const char *path, char ret_name[INTERFACE_NAME_SIZE_BYTES])
{
	uint64_t hash = 0xcbf29ce484222325u; /* FNV-1a */

	for (const char *c = path; *c != '\0'; c++)
		hash = (hash ^ (unsigned char)*c) * 0x100000001b3u;
	snprintf(ret_name, INTERFACE_NAME_SIZE_BYTES, "cg%012" PRIx64, (hash ^ hash >> 16) & 0xffffffffffffu);
}
