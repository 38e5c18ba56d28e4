/* SPDX-License-Identifier: Apache-2.0 */
/* `postern gateway list|down ADDRESS|up ADDRESS`. */
#ifndef POSTERN_TOOLS_POSTERN_GATEWAY_H
#define POSTERN_TOOLS_POSTERN_GATEWAY_H

#include <stdbool.h>

#define POSTERN_GATEWAY_USAGE "gateway list [--json] | gateway down ADDRESS [--json] | gateway up ADDRESS [--json]"

/* The exit code. `operands`: those behind the command. */
int postern_gateway(const char *run_dir, bool json, int operand_count, char **operands);

#endif
