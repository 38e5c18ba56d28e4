/* SPDX-License-Identifier: Apache-2.0 */
#include "control/metrics_text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CAPACITY_MIN_BYTES = 64 * 1024, NUMBER_SIZE_BYTES = 32 };

static void text_append(struct metrics_text *text, const char *bytes, size_t length_bytes)
{
	if (text->failed)
		return;
	if (text->capacity_bytes - text->length_bytes < length_bytes) {
		size_t wanted = text->capacity_bytes == 0 ? CAPACITY_MIN_BYTES : text->capacity_bytes * 2;
		char *grown;

		while (wanted - text->length_bytes < length_bytes)
			wanted *= 2;
		grown = realloc(text->bytes, wanted);
		if (grown == NULL) {
			text->failed = true;
			return;
		}
		text->bytes = grown;
		text->capacity_bytes = wanted;
	}
	memcpy(text->bytes + text->length_bytes, bytes, length_bytes);
	text->length_bytes += length_bytes;
}

static void text_append_string(struct metrics_text *text, const char *string)
{
	text_append(text, string, strlen(string));
}

static void text_append_number(struct metrics_text *text, uint64_t value)
{
	char digits[NUMBER_SIZE_BYTES];
	size_t at = sizeof(digits);

	do {
		digits[--at] = (char)('0' + value % 10);
		value /= 10;
	} while (value != 0);
	text_append(text, digits + at, sizeof(digits) - at);
}

void metrics_family(struct metrics_text *text, const char *name, const char *type, const char *help)
{
	text_append_string(text, "# HELP ");
	text_append_string(text, name);
	text_append_string(text, " ");
	text_append_string(text, help);
	text_append_string(text, "\n# TYPE ");
	text_append_string(text, name);
	text_append_string(text, " ");
	text_append_string(text, type);
	text_append_string(text, "\n");
}

static void text_append_name(struct metrics_text *text, const char *name, const char *labels)
{
	text_append_string(text, name);
	if (labels != NULL) {
		text_append_string(text, "{");
		text_append_string(text, labels);
		text_append_string(text, "}");
	}
	text_append_string(text, " ");
}

void metrics_sample(struct metrics_text *text, const char *name, const char *labels, uint64_t value)
{
	text_append_name(text, name, labels);
	text_append_number(text, value);
	text_append_string(text, "\n");
}

void metrics_sample_real(struct metrics_text *text, const char *name, const char *labels, double value)
{
	char number[NUMBER_SIZE_BYTES];

	text_append_name(text, name, labels);
	snprintf(number, sizeof(number), "%.15g\n", value);
	text_append_string(text, number);
}

void metrics_escape(const char *value, char *ret)
{
	for (; *value != '\0'; value++) {
		if (*value == '\\' || *value == '"') {
			*ret++ = '\\';
			*ret++ = *value;
		} else if (*value == '\n') {
			*ret++ = '\\';
			*ret++ = 'n';
		} else {
			*ret++ = *value;
		}
	}
	*ret = '\0';
}
