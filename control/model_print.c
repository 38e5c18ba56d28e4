/* SPDX-License-Identifier: Apache-2.0 */
/* The model as YAML, by the field table. */
#include <stdlib.h>
#include <string.h>

#include "control/fields.h"
#include "control/model.h"

struct printer {
	char *text; /* not terminated until all is there */
	size_t used_bytes, size_bytes;
	bool no_memory; /* nothing is added any more */
	bool sources;	/* a comment before each object that has one */
};

enum { TEXT_SIZE_FIRST_BYTES = 64 * 1024, INDENT_COLUMNS = 2 };

/* Where so many bytes go next; NULL: no memory. */
static char *put_room(struct printer *printer, size_t length_bytes)
{
	size_t size_bytes = printer->size_bytes ? printer->size_bytes : TEXT_SIZE_FIRST_BYTES;
	char *text;

	if (printer->no_memory)
		return NULL;
	while (size_bytes - printer->used_bytes < length_bytes)
		size_bytes *= 2;
	if (size_bytes != printer->size_bytes) {
		text = realloc(printer->text, size_bytes);
		if (!text) {
			printer->no_memory = true;
			return NULL;
		}
		printer->text = text;
		printer->size_bytes = size_bytes;
	}
	text = printer->text + printer->used_bytes;
	printer->used_bytes += length_bytes;
	return text;
}

static void put(struct printer *printer, const char *text)
{
	size_t length_bytes = strlen(text);
	char *room = put_room(printer, length_bytes);

	if (room)
		memcpy(room, text, length_bytes);
}

static void print_section(
	struct printer *printer, const struct field_section *section, const char *record, unsigned indent);

static void indent_line(struct printer *printer, unsigned indent)
{
	char *room = put_room(printer, indent * INDENT_COLUMNS);

	if (room)
		memset(room, ' ', indent * INDENT_COLUMNS);
}

static void print_scalars(struct printer *printer, const struct field *field, const char *first, size_t count)
{
	char text[FIELD_TEXT_SIZE_BYTES];

	put(printer, field->list ? " [" : " ");
	for (size_t i = 0; i < count; i++) {
		field_format(field, first + i * field_element_size(field), text);
		if (i)
			put(printer, ", ");
		put(printer, text);
	}
	put(printer, field->list ? "]\n" : "\n");
}

static void print_source(
	struct printer *printer, const struct field_section *section, const char *record, unsigned indent)
{
	char text[SOURCE_TEXT_SIZE_BYTES];

	if (!printer->sources || section->source_offset == FIELD_NOWHERE)
		return;
	model_source_text((const struct model_source *)(const void *)(record + section->source_offset), text);
	/* A file's name may hold anything, and a line break would end the comment. */
	for (char *at = text; *at; at++) {
		if (*at < ' ' || *at > '~')
			*at = '?';
	}
	indent_line(printer, indent);
	put(printer, "# from ");
	put(printer, text);
	put(printer, "\n");
}

static void print_field(struct printer *printer, const struct field *field, const char *record, unsigned indent)
{
	const void *first;
	size_t count = field_elements(field, record, &first);

	put(printer, field->key);
	put(printer, ":");
	if (field->type != FIELD_MAP) {
		print_scalars(printer, field, first, count);
	} else if (field->word && *(const bool *)(record + field->second_offset)) {
		put(printer, " ");
		put(printer, field->word);
		put(printer, "\n");
	} else if (!field->list) {
		put(printer, "\n");
		indent_line(printer, indent + 1);
		print_section(printer, field->section, first, indent + 1);
	} else if (count == 0) {
		put(printer, " []\n");
	} else {
		put(printer, "\n");
		for (size_t i = 0; i < count; i++) {
			const char *element = (const char *)first + i * field_element_size(field);

			print_source(printer, field->section, element, indent + 1);
			indent_line(printer, indent + 1);
			put(printer, "- ");
			print_section(printer, field->section, element, indent + 2);
		}
	}
}

/* Begins where the first key goes, in a line already indented. */
static void print_section(
	struct printer *printer, const struct field_section *section, const char *record, unsigned indent)
{
	bool first = true;

	for (uint32_t i = 0; i < section->field_count; i++) {
		if (!field_is_printed(&section->fields[i], record))
			continue;
		if (!first)
			indent_line(printer, indent);
		first = false;
		print_field(printer, &section->fields[i], record, indent);
	}
}

static char *print_model(const struct model *model, bool sources)
{
	struct printer printer = {.sources = sources};
	char *end;

	print_section(&printer, &fields_file, (const char *)model, 0);
	end = put_room(&printer, 1);
	if (!end) {
		free(printer.text);
		return NULL;
	}
	*end = '\0';
	return printer.text;
}

char *model_print(const struct model *model)
{
	return print_model(model, false);
}

char *model_print_with_sources(const struct model *model)
{
	return print_model(model, true);
}
