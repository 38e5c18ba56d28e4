/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/postern_table.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

void table_begin(struct table *ret_table, const char *const titles[])
{
	memset(ret_table, 0, sizeof(*ret_table));
	for (size_t i = 0; titles[i] != NULL && i < TABLE_COLUMN_COUNT_MAX; i++)
		ret_table->titles[ret_table->column_count++] = titles[i];
}

void table_cell(struct table *table, const char *format, ...)
{
	va_list arguments;
	char *text = NULL;

	if (table->cell_count == table->capacity) {
		size_t wanted = table->capacity * 2 + 64;
		char **grown = realloc(table->cells, wanted * sizeof(*grown));

		if (grown == NULL)
			abort();
		table->cells = grown;
		table->capacity = wanted;
	}
	va_start(arguments, format);
	if (vasprintf(&text, format, arguments) < 0)
		abort();
	va_end(arguments);
	for (char *c = text; *c != '\0'; c++) {
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			*c = '?';
	}
	table->cells[table->cell_count++] = text;
}

static void table_print_cell(const struct table *table, size_t column, const char *text, size_t width, FILE *stream)
{
	const char *gap = column + 1 < table->column_count ? "  " : "\n";

	if (table->titles[column][0] == '>')
		fprintf(stream, "%*s%s", (int)width, text, gap);
	else if (column + 1 < table->column_count)
		fprintf(stream, "%-*s%s", (int)width, text, gap);
	else
		fprintf(stream, "%s%s", text, gap);
}

void table_print(struct table *table, FILE *stream, const char *indent)
{
	size_t widths[TABLE_COLUMN_COUNT_MAX] = {0};

	for (size_t i = 0; i < table->column_count; i++)
		widths[i] = strlen(table->titles[i]) - (table->titles[i][0] == '>');
	for (size_t i = 0; i < table->cell_count; i++) {
		size_t column = i % table->column_count, width = strlen(table->cells[i]);

		if (width > widths[column])
			widths[column] = width;
	}
	fputs(indent, stream);
	for (size_t i = 0; i < table->column_count; i++)
		table_print_cell(table, i, table->titles[i] + (table->titles[i][0] == '>'), widths[i], stream);
	for (size_t i = 0; i < table->cell_count; i++) {
		size_t column = i % table->column_count;

		if (column == 0)
			fputs(indent, stream);
		table_print_cell(table, column, table->cells[i], widths[column], stream);
		free(table->cells[i]);
	}
	free(table->cells);
	table->cells = NULL;
	table->cell_count = table->capacity = 0;
}

const char *table_scaled(double value, char ret_text[16])
{
	static const char *const prefixes[] = {"", " k", " M", " G", " T", " P"};
	size_t prefix = 0;

	while (value >= 1000 && prefix + 1 < sizeof(prefixes) / sizeof(prefixes[0])) {
		value /= 1000;
		prefix++;
	}
	snprintf(ret_text, 16, prefix == 0 ? "%.0f%s" : "%.1f%s", value, prefixes[prefix]);
	return ret_text;
}

const char *table_duration(double seconds, char ret_text[32])
{
	unsigned long whole = seconds > 0 ? (unsigned long)seconds : 0;

	if (whole < 60)
		snprintf(ret_text, 32, "%.1f s", seconds > 0 ? seconds : 0);
	else if (whole < 3600)
		snprintf(ret_text, 32, "%lu min", whole / 60);
	else if (whole < 86400)
		snprintf(ret_text, 32, "%lu h %lu min", whole / 3600, whole % 3600 / 60);
	else
		snprintf(ret_text, 32, "%lu d %lu h", whole / 86400, whole % 86400 / 3600);
	return ret_text;
}

const char *table_protocol(long long protocol, char ret_text[8])
{
	static const char *const names[] = {[1] = "icmp", [6] = "tcp", [17] = "udp"};

	if (protocol > 0 && protocol <= 17 && names[protocol] != NULL)
		return names[protocol];
	snprintf(ret_text, 8, "%u", (unsigned)(protocol & 255));
	return ret_text;
}
