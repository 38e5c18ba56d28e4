/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `postern apply`: a new configuration in the place of posternd's main file, on trial if wanted. Thread: any.
 */
#ifndef POSTERN_TOOLS_POSTERN_APPLY_H
#define POSTERN_TOOLS_POSTERN_APPLY_H

#include <stdbool.h>

#define APPLY_USAGE                                                                                                    \
	"apply FILE [--confirm D] [--force] [--json] | apply --confirmed [--json] | apply --rollback [--json]"

struct apply_arguments {
	const char *run_dir;
	const char *file;    /* NULL: --confirmed or --rollback */
	const char *confirm; /* NULL: for good */
	bool force, confirmed, rollback, json;
};

/* The exit code. */
int apply_command(const struct apply_arguments *arguments);

#endif
