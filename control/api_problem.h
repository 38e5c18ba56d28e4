/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The errors of a configuration as an API caller needs them: what a file's operator gets as "file:line: path: value:
 * why" is a JSON pointer into the body and the rest of the sentence. Pure; any thread.
 */
#ifndef POSTERN_CONTROL_API_PROBLEM_H
#define POSTERN_CONTROL_API_PROBLEM_H

#include <jansson.h>
#include <stdbool.h>

#include "control/status.h"

/*
 * [{"pointer": "/vpcs/0/vni", "problem": "7001: is …"}]. `file`: the fragment's path; `element`: the body's place in
 * it, "workspaces[0]". Problems that stand elsewhere have no pointer, and keep their whole line. `ret_all_in_body`:
 * false when there was such a one.
 */
json_t *api_problem_list(const struct problems *problems, const char *file, const char *element, bool *ret_all_in_body);

#endif
