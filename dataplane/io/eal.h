/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Starts DPDK's EAL with defaults that suit a daemon: no files left behind, quiet, cores and memory by what there is.
 *
 * Owner: main(). Thread: control; once per process.
 */
#ifndef POSTERN_IO_EAL_H
#define POSTERN_IO_EAL_H

#include "dataplane/io/options.h"

enum eal_result { EAL_OK, EAL_FAILED, EAL_USAGE };

/*
 * On success `ret_text` is empty, or holds one sentence of warning. The calling thread is the control thread from here
 * on (EAL pins it to its core); EAL's other lcores wait for work.
 */
enum eal_result eal_start(const struct options *options, char ret_text[NAT_TEXT_SIZE_BYTES]);

#endif
