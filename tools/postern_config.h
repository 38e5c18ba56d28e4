/* SPDX-License-Identifier: Apache-2.0 */
/* `postern config check|show|sign|verify`. */
#ifndef POSTERN_TOOLS_POSTERN_CONFIG_H
#define POSTERN_TOOLS_POSTERN_CONFIG_H

#define POSTERN_CONFIG_USAGE                                                                                           \
	"config check FILE.yaml | config show | config sign KEY FILE... | config verify KEY FILE..."

/* Returns the exit code. `operands`: those behind the command. */
int postern_config(const char *run_dir, int operand_count, char **operands);

#endif
