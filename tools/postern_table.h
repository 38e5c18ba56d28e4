/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A table for people: columns as wide as their widest cell, numbers to the right. Control characters in cells are
 * replaced, since what is shown may come from a peer. Owner: the caller; printing frees it.
 */
#ifndef POSTERN_TOOLS_POSTERN_TABLE_H
#define POSTERN_TOOLS_POSTERN_TABLE_H

#include <stddef.h>
#include <stdio.h>

enum { TABLE_COLUMN_COUNT_MAX = 12 };

struct table {
	size_t column_count;
	const char *titles[TABLE_COLUMN_COUNT_MAX]; /* one that begins with '>' is aligned to the right */
	char **cells;				    /* row by row */
	size_t cell_count, capacity;
};

/* `titles` ends with NULL. */
void table_begin(struct table *ret_table, const char *const titles[]);
void table_cell(struct table *table, const char *format, ...) __attribute__((format(printf, 2, 3)));
void table_print(struct table *table, FILE *stream, const char *indent);

/* "1.2 M", with a fitting prefix. */
const char *table_scaled(double value, char ret_text[16]);
/* "3 d 4 h", "12 min", "8.1 s" */
const char *table_duration(double seconds, char ret_text[32]);
/* "udp", or the number */
const char *table_protocol(long long protocol, char ret_text[8]);

#endif
