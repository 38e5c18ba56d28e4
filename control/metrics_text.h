/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A growing text in the Prometheus format 0.0.4. Running out of memory is remembered and told at the end. Written for
 * many lines: no printf per sample. Owner: the caller of metrics_text_finish().
 */
#ifndef POSTERN_CONTROL_METRICS_TEXT_H
#define POSTERN_CONTROL_METRICS_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct metrics_text {
	char *bytes;
	size_t length_bytes, capacity_bytes;
	bool failed;
};

/* HELP and TYPE; `type` is "counter" or "gauge". Then the samples of this name, and no other's. */
void metrics_family(struct metrics_text *text, const char *name, const char *type, const char *help);

/* `labels`: "port=\"inside\"", escaped already, or NULL. */
void metrics_sample(struct metrics_text *text, const char *name, const char *labels, uint64_t value);
void metrics_sample_real(struct metrics_text *text, const char *name, const char *labels, double value);

/* Backslash, quote and newline. `ret` needs 2 * strlen(value) + 1 bytes. */
void metrics_escape(const char *value, char *ret);

#endif
