/* SPDX-License-Identifier: Apache-2.0 */
/* The model as YAML, by the field table. */
#include <stdio.h>
#include <stdlib.h>

#include "control/fields.h"
#include "control/model.h"

static void print_section(FILE *out, const struct field_section *section, const char *record, unsigned indent);

static void indent_line(FILE *out, unsigned indent)
{
	fprintf(out, "%*s", (int)(indent * 2), "");
}

/* Whether the key has to be written: a required list also when it is empty, and a list whose mere presence counts. */
static bool is_printed(const struct field *field, const char *record)
{
	const void *first;

	if (field->list && !field->default_text)
		return true;
	if (field->present_offset != FIELD_NOWHERE)
		return *(const bool *)(record + field->present_offset);
	if (field->type != FIELD_MAP || field->list)
		return field_elements(field, record, &first) > 0;
	if (field->word && *(const bool *)(record + field->second_offset))
		return true;
	if (!field->default_text)
		return true;
	/* A mapping that the file may leave out, such as egress on a worker host: only when something is in it. */
	for (uint32_t i = 0; i < field->section->field_count; i++) {
		const struct field *inner = &field->section->fields[i];

		if (field_elements(inner, record + field->offset, &first) > 0)
			return true;
	}
	return false;
}

static void print_scalars(FILE *out, const struct field *field, const char *first, size_t count)
{
	char text[FIELD_TEXT_SIZE_BYTES];

	fputs(field->list ? " [" : " ", out);
	for (size_t i = 0; i < count; i++) {
		field_format(field, first + i * field_element_size(field), text);
		fprintf(out, "%s%s", i ? ", " : "", text);
	}
	fputs(field->list ? "]\n" : "\n", out);
}

static void print_field(FILE *out, const struct field *field, const char *record, unsigned indent)
{
	const void *first;
	size_t count = field_elements(field, record, &first);

	fprintf(out, "%s:", field->key);
	if (field->type != FIELD_MAP) {
		print_scalars(out, field, first, count);
	} else if (field->word && *(const bool *)(record + field->second_offset)) {
		fprintf(out, " %s\n", field->word);
	} else if (!field->list) {
		fputc('\n', out);
		indent_line(out, indent + 1);
		print_section(out, field->section, first, indent + 1);
	} else if (count == 0) {
		fputs(" []\n", out);
	} else {
		fputc('\n', out);
		for (size_t i = 0; i < count; i++) {
			indent_line(out, indent + 1);
			fputs("- ", out);
			print_section(
				out, field->section, (const char *)first + i * field_element_size(field), indent + 2);
		}
	}
}

/* Begins where the first key goes, in a line already indented. */
static void print_section(FILE *out, const struct field_section *section, const char *record, unsigned indent)
{
	bool first = true;

	for (uint32_t i = 0; i < section->field_count; i++) {
		if (!is_printed(&section->fields[i], record))
			continue;
		if (!first)
			indent_line(out, indent);
		first = false;
		print_field(out, &section->fields[i], record, indent);
	}
}

char *model_print(const struct model *model)
{
	char *text = NULL;
	size_t size_bytes = 0;
	FILE *out = open_memstream(&text, &size_bytes);

	if (!out)
		return NULL;
	print_section(out, &fields_file, (const char *)model, 0);
	if (fclose(out) != 0) {
		free(text);
		return NULL;
	}
	return text;
}
