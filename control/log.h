/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The daemon's log: one line per event on standard error, "LEVEL message key=value".
 * Under journald ($JOURNAL_STREAM) a line begins with "<N>", its syslog priority, instead of the level's name.
 * Owner: whoever holds the struct; immutable after log_open(). Thread: any, a line is one write().
 */
#ifndef POSTERN_CONTROL_LOG_H
#define POSTERN_CONTROL_LOG_H

#include <stdbool.h>

#include "control/status.h"

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG, LOG_LEVEL_COUNT };

enum { LOG_LINE_SIZE_BYTES = 1024 };

struct log {
	int fd;
	enum log_level level; /* what is less urgent is left out */
	bool journald;
};

void log_open(struct log *ret_log, enum log_level level);

/* "error", "warning", "info", "debug"; false when it is none of them. */
bool log_level_parse(const char *text, enum log_level *ret_level);

/* Control characters are replaced, so that what a peer wrote can not forge a line. */
void log_write(const struct log *log, enum log_level level, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Each problem as a line of its own. */
void log_problems(const struct log *log, enum log_level level, const struct problems *problems);

#define log_error(log, ...) log_write(log, LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(log, ...) log_write(log, LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(log, ...) log_write(log, LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(log, ...) log_write(log, LOG_LEVEL_DEBUG, __VA_ARGS__)

#endif
