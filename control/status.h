/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How functions of control/ tell their outcome, and how problems reach the operator.
 * Outputs (ret_*) are untouched unless STATUS_OK is returned.
 */
#ifndef POSTERN_CONTROL_STATUS_H
#define POSTERN_CONTROL_STATUS_H

#include <stddef.h>
#include <stdint.h>

enum status {
	STATUS_OK = 0,
	STATUS_INVALID, /* the configuration or a peer's message is wrong; see the problems */
	STATUS_SYSTEM,	/* a system call failed; see the problems */
	STATUS_NO_MEMORY,
	STATUS_UNREACHABLE, /* the other side is not there */
	STATUS_REFUSED,	    /* the other side said no */
};

/* One sentence each, ready to print: "acme.yaml:12: workspaces[0].vpcs[0].vni: 16777216: must be 1..16777215". */
struct problems {
	char **lines; /* owned */
	size_t count, capacity;
	size_t dropped_count; /* beyond PROBLEMS_MAX */
};

enum { PROBLEMS_MAX = 1000 };

void problems_add(struct problems *problems, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* On standard error, one a line. */
void problems_print(const struct problems *problems);
void problems_clear(struct problems *problems);

/* Process exit codes: the command-line contract. */
enum exit_code {
	EXIT_CODE_OK = 0,
	EXIT_CODE_FAILED = 1,
	EXIT_CODE_USAGE = 2,
	EXIT_CODE_UNREACHABLE = 3,
	EXIT_CODE_INVALID = 4,
	EXIT_CODE_DEGRADED = 5,
};

#endif
