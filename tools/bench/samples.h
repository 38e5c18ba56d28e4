/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Figures of many short measurements. The median is what counts: whatever interrupts a measurement (the hypervisor, the
 * kernel, other processes) makes outliers, which it does not see.
 *
 * Owner: who measures. Limits: SAMPLES_COUNT_MAX; beyond, each further one replaces one at a fixed stride.
 */
#ifndef POSTERN_BENCH_SAMPLES_H
#define POSTERN_BENCH_SAMPLES_H

#include <stdint.h>

enum { SAMPLES_COUNT_MAX = 65536 };

struct samples {
	double *values; /* allocated at the first one */
	uint32_t count;
	uint64_t seen;
};

void samples_add(struct samples *samples, double value);
/* Of none: 0. Sorts. */
double samples_quantile(struct samples *samples, double quantile);
double samples_median(struct samples *samples);
void samples_clear(struct samples *samples);
void samples_free(struct samples *samples);

#endif
