/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Usage texts of postern's commands: "drain IP [--force | --cancel] | drain --list [--json]". Alternatives are
 * separated by " | " outside of brackets. The text of a command is also what says which options it takes. Pure; any
 * thread.
 */
#ifndef POSTERN_TOOLS_POSTERN_USAGE_H
#define POSTERN_TOOLS_POSTERN_USAGE_H

#include <stdbool.h>
#include <stdio.h>

/* One alternative a line, `first` before the first one and `next` before the others. */
void usage_print(FILE *stream, const char *first, const char *next, const char *usage);

/* "usage: postern ...", an alternative a line, on standard error. Returns EXIT_CODE_USAGE. */
int usage_wrong(const char *usage);

/* Whether "--NAME" is one of the options in `usage`. */
bool usage_has_option(const char *usage, const char *name);

#endif
