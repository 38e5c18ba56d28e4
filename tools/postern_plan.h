/* SPDX-License-Identifier: Apache-2.0 */
/* `postern plan NEW.yaml`: what would change, and which workspaces, with how many live sessions, that would touch. */
#ifndef POSTERN_TOOLS_POSTERN_PLAN_H
#define POSTERN_TOOLS_POSTERN_PLAN_H

#include <stdbool.h>

/* Returns the exit code. */
int postern_plan(const char *run_dir, bool json, const char *file);

#endif
