/* SPDX-License-Identifier: Apache-2.0 */
#include "control/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void problems_add(struct problems *problems, const char *format, ...)
{
	va_list arguments;
	char *line;
	int length;

	if (problems->count >= PROBLEMS_MAX) {
		problems->dropped_count++;
		return;
	}
	if (problems->count == problems->capacity) {
		size_t capacity = problems->capacity ? problems->capacity * 2 : 8;
		char **lines = realloc(problems->lines, capacity * sizeof(*lines));

		if (!lines) {
			problems->dropped_count++;
			return;
		}
		problems->lines = lines;
		problems->capacity = capacity;
	}
	va_start(arguments, format);
	length = vasprintf(&line, format, arguments);
	va_end(arguments);
	if (length < 0) {
		problems->dropped_count++;
		return;
	}
	problems->lines[problems->count++] = line;
}

void problems_print(const struct problems *problems)
{
	for (size_t i = 0; i < problems->count; i++)
		fprintf(stderr, "%s\n", problems->lines[i]);
	if (problems->dropped_count > 0)
		fprintf(stderr, "and %zu more\n", problems->dropped_count);
}

void problems_clear(struct problems *problems)
{
	for (size_t i = 0; i < problems->count; i++)
		free(problems->lines[i]);
	free(problems->lines);
	memset(problems, 0, sizeof(*problems));
}
