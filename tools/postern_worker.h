/* SPDX-License-Identifier: Apache-2.0 */
/* `postern worker add|remove|list|show|detach`. */
#ifndef POSTERN_TOOLS_POSTERN_WORKER_H
#define POSTERN_TOOLS_POSTERN_WORKER_H

#include <stdbool.h>

#define POSTERN_WORKER_USAGE                                                                                           \
	"worker add (--interface IF|--cgroup PATH) --workspace ID --vpc ID --ip IP [--mac MAC] [--json] | "            \
	"worker remove IF|PATH [--json] | worker list [--workspace ID] [--state STATE] [--limit N] [--json] | "        \
	"worker show IF|PATH [--json] | worker detach --all [--device NAME] [--json]"

struct postern_worker_arguments {
	const char *run_dir;
	bool json, all;
	const char *interface, *cgroup, *workspace, *vpc, *ip, *mac, *state, *limit, *device; /* NULL: not given */
	int operand_count;
	char **operands; /* behind the command */
};

/* The exit code: 5 when a worker was added and is not open yet. */
int postern_worker(const struct postern_worker_arguments *arguments);

#endif
