/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/bench/samples.h"

#include <stdlib.h>

#include "dataplane/nat/check.h"

enum { REPLACE_STRIDE = 40503 }; /* odd, so that it visits every place */

void samples_add(struct samples *samples, double value)
{
	if (samples->values == NULL) {
		samples->values = malloc(SAMPLES_COUNT_MAX * sizeof(*samples->values));
		CHECK(samples->values != NULL);
	}
	if (samples->count < SAMPLES_COUNT_MAX)
		samples->values[samples->count++] = value;
	else
		samples->values[samples->seen * REPLACE_STRIDE % SAMPLES_COUNT_MAX] = value;
	samples->seen++;
}

static int compare(const void *left, const void *right)
{
	const double a = *(const double *)left, b = *(const double *)right;

	return (a > b) - (a < b);
}

double samples_quantile(struct samples *samples, double quantile)
{
	if (samples->count == 0)
		return 0;
	qsort(samples->values, samples->count, sizeof(*samples->values), compare);
	return samples->values[(uint32_t)((samples->count - 1) * quantile + 0.5)];
}

double samples_median(struct samples *samples)
{
	return samples_quantile(samples, 0.5);
}

void samples_clear(struct samples *samples)
{
	samples->count = 0;
	samples->seen = 0;
}

void samples_free(struct samples *samples)
{
	free(samples->values);
	*samples = (struct samples){};
}
