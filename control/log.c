/* SPDX-License-Identifier: Apache-2.0 */
#include "control/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct level_name {
	const char *argument, *line;
	int syslog_priority;
};

static const struct level_name level_names[LOG_LEVEL_COUNT] = {
	[LOG_LEVEL_ERROR] = {"error", "ERROR", 3},
	[LOG_LEVEL_WARNING] = {"warning", "WARNING", 4},
	[LOG_LEVEL_INFO] = {"info", "INFO", 6},
	[LOG_LEVEL_DEBUG] = {"debug", "DEBUG", 7},
};

void log_open(struct log *ret_log, enum log_level level)
{
	const char *stream = getenv("JOURNAL_STREAM");

	ret_log->fd = STDERR_FILENO;
	ret_log->level = level;
	ret_log->journald = stream != NULL && stream[0] != '\0';
}

bool log_level_parse(const char *text, enum log_level *ret_level)
{
	for (unsigned i = 0; i < LOG_LEVEL_COUNT; i++) {
		if (strcmp(text, level_names[i].argument) == 0) {
			*ret_level = (enum log_level)i;
			return true;
		}
	}
	return false;
}

void log_write(const struct log *log, enum log_level level, const char *format, ...)
{
	char line[LOG_LINE_SIZE_BYTES];
	size_t length_bytes, prefix_bytes;
	va_list arguments;
	int printed;

	if (log == NULL || level > log->level)
		return;
	if (log->journald)
		printed = snprintf(line, sizeof(line), "<%d>", level_names[level].syslog_priority);
	else
		printed = snprintf(line, sizeof(line), "%s ", level_names[level].line);
	prefix_bytes = (size_t)printed;

	va_start(arguments, format);
	printed = vsnprintf(line + prefix_bytes, sizeof(line) - prefix_bytes - 1, format, arguments);
	va_end(arguments);
	if (printed < 0)
		return;
	length_bytes = strlen(line);
	for (size_t i = prefix_bytes; i < length_bytes; i++) {
		unsigned char byte = (unsigned char)line[i];

		if (byte < 0x20 || byte == 0x7f)
			line[i] = '?';
	}
	line[length_bytes++] = '\n';
	/* A log that can not be written has nowhere to complain to. */
	if (write(log->fd, line, length_bytes) < 0)
		return;
}

void log_problems(const struct log *log, enum log_level level, const struct problems *problems)
{
	for (size_t i = 0; i < problems->count; i++)
		log_write(log, level, "%s", problems->lines[i]);
	if (problems->dropped_count > 0)
		log_write(log, level, "and %zu more", problems->dropped_count);
}
