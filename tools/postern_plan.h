/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `postern plan NEW.yaml`: what would change, which workspaces that would touch, how many live sessions these have, and
 * how many of them would end.
 */
#ifndef POSTERN_TOOLS_POSTERN_PLAN_H
#define POSTERN_TOOLS_POSTERN_PLAN_H

#include <stdbool.h>
#include <stddef.h>

/* Returns the exit code. `file_size_max_bytes` 0: the usual. */
int postern_plan(const char *run_dir, bool json, size_t file_size_max_bytes, const char *file);

#endif
