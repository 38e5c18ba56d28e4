/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Paths of workers that are cgroups. Where a worker is named by its interface, such a one has a name made of its path.
 * Pure; any thread.
 */
#ifndef POSTERN_CONTROL_CGROUP_PATH_H
#define POSTERN_CONTROL_CGROUP_PATH_H

#include "control/model.h"

/* NULL: a worker may be there. Else why not, as the end of a sentence that begins with the path. */
const char *cgroup_path_check(const struct model_cgroups *cgroups, const char *path);

/* "cg" and twelve digits, always the same for a path. */
void cgroup_path_name(const char *path, char ret_name[INTERFACE_NAME_SIZE_BYTES]);

#endif
