/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command line: postern-dataplane's own options, taken out; everything else is left to DPDK's EAL.
 *
 * Owner: main(). Thread: control. Limits: OPTIONS_EAL_COUNT_MAX arguments for EAL.
 */
#ifndef POSTERN_IO_OPTIONS_H
#define POSTERN_IO_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "dataplane/nat/nat.h"

enum {
	OPTIONS_EAL_COUNT_MAX = 128,
	OPTIONS_SESSIONS_MIN = 1024,
	OPTIONS_SESSIONS_MAX = 1 << 26,
	OPTIONS_SESSIONS_DEFAULT = 1 << 18,
	OPTIONS_IDLE_SLEEP_MAX_US = 1000,
	OPTIONS_FRAME_DEFAULT_BYTES = 1792,
	OPTIONS_CAPABILITY_COUNT_MAX = 8,
};

struct options {
	const char *run_dir;
	const char *steer_object; /* NULL: looked for where the build and the installation put it */
	uint32_t sessions_max;	  /* per shard, power of two */
	uint32_t idle_sleep_us;	  /* 0: pure polling */
	uint32_t frame_bytes;	  /* the longest frame, from the Ethernet header on, that a buffer must hold */
	const char *kept_capabilities[OPTIONS_CAPABILITY_COUNT_MAX]; /* besides the usual ones */
	uint32_t kept_capability_count;
	bool help, version;
	const char *eal_arguments[OPTIONS_EAL_COUNT_MAX]; /* without argv[0] */
	uint32_t eal_count;
};

/* False: the command line is wrong, `ret_text` says how. The strings stay argv's. */
bool options_parse(int argc, char *argv[], struct options *ret_options, char ret_text[NAT_TEXT_SIZE_BYTES]);

/* Did the user give the EAL option `name` ("--lcores", "-l"), alone, as --name=value or as -lvalue? */
bool options_eal_has(const struct options *options, const char *name);

/* The text of --help. */
const char *options_help(void);

#endif
