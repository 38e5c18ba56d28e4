/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long to wait before something that failed is tried again: 1, 2, 4 … 32 ticks of a second, each with up to a
 * half more by chance, so that many hosts which lost the same thing do not come back at the same instant.
 * Thread: any.
 */
#ifndef POSTERN_CONTROL_BACKOFF_H
#define POSTERN_CONTROL_BACKOFF_H

#include <stdint.h>

enum { BACKOFF_TICKS_MAX = 32 };

/* `failure_count`: how often it has failed before, from 0. */
uint32_t backoff_ticks(uint32_t failure_count);

#endif
