/* SPDX-License-Identifier: Apache-2.0 */
/* `postern config check|show|sign|verify`. */
#ifndef POSTERN_TOOLS_POSTERN_CONFIG_H
#define POSTERN_TOOLS_POSTERN_CONFIG_H

#include <stddef.h>

#define POSTERN_CONFIG_USAGE                                                                                           \
	"config check FILE.yaml [--max-file-size SIZE] | config show | config sign KEY FILE... | config verify KEY "   \
	"FILE..."

/* Returns the exit code. `operands`: those behind the command; `file_size_max_bytes` 0: the usual. */
int postern_config(const char *run_dir, size_t file_size_max_bytes, int operand_count, char **operands);

#endif
