/* SPDX-License-Identifier: Apache-2.0 */
/* The model as YAML, by the field table. */
#include <stdio.h>
#include <stdlib.h>

#include "control/fields.h"
#include "control/model.h"

struct printer {
	FILE *out;
	bool sources; /* a comment before each object that has one */
};

static void print_section(
	struct printer *printer, const struct field_section *section, const char *record, unsigned indent);

static void indent_line(struct printer *printer, unsigned indent)
{
	fprintf(printer->out, "%*s", (int)(indent * 2), "");
}

static void print_scalars(struct printer *printer, const struct field *field, const char *first, size_t count)
{
	char text[FIELD_TEXT_SIZE_BYTES];

	fputs(field->list ? " [" : " ", printer->out);
	for (size_t i = 0; i < count; i++) {
		field_format(field, first + i * field_element_size(field), text);
		fprintf(printer->out, "%s%s", i ? ", " : "", text);
	}
	fputs(field->list ? "]\n" : "\n", printer->out);
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
	fprintf(printer->out, "# from %s\n", text);
}

static void print_field(struct printer *printer, const struct field *field, const char *record, unsigned indent)
{
	const void *first;
	size_t count = field_elements(field, record, &first);

	fprintf(printer->out, "%s:", field->key);
	if (field->type != FIELD_MAP) {
		print_scalars(printer, field, first, count);
	} else if (field->word && *(const bool *)(record + field->second_offset)) {
		fprintf(printer->out, " %s\n", field->word);
	} else if (!field->list) {
		fputc('\n', printer->out);
		indent_line(printer, indent + 1);
		print_section(printer, field->section, first, indent + 1);
	} else if (count == 0) {
		fputs(" []\n", printer->out);
	} else {
		fputc('\n', printer->out);
		for (size_t i = 0; i < count; i++) {
			const char *element = (const char *)first + i * field_element_size(field);

			print_source(printer, field->section, element, indent + 1);
			indent_line(printer, indent + 1);
			fputs("- ", printer->out);
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
	char *text = NULL;
	size_t size_bytes = 0;
	struct printer printer = {.out = open_memstream(&text, &size_bytes), .sources = sources};

	if (!printer.out)
		return NULL;
	print_section(&printer, &fields_file, (const char *)model, 0);
	if (fclose(printer.out) != 0) {
		free(text);
		return NULL;
	}
	return text;
}

char *model_print(const struct model *model)
{
	return print_model(model, false);
}

char *model_print_with_sources(const struct model *model)
{
	return print_model(model, true);
}
