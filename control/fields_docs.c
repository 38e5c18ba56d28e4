/* SPDX-License-Identifier: Apache-2.0 */
/* docs/configuration.md from the field table. */
#include <string.h>

#include "control/fields.h"

static void print_list_size(FILE *out, const struct field *field)
{
	if (field->min == field->max)
		fprintf(out, "a list of %llu: ", (unsigned long long)field->min);
	else
		fprintf(out, "a list of %llu..%llu: ", (unsigned long long)field->min, (unsigned long long)field->max);
}

static void print_allowed(FILE *out, const struct field *field)
{
	char allowed[FIELD_WHY_SIZE_BYTES];

	if (field->list)
		print_list_size(out, field);
	if (field->type == FIELD_MAP) {
		fprintf(out, "%s", field->list ? "mappings" : "a mapping");
		if (field->word)
			fprintf(out, ", or `%s`", field->word);
	} else {
		field_allowed_text(field, allowed);
		fprintf(out, "%s", allowed + strlen("must be "));
	}
	if (field->advised_min)
		fprintf(out, "; a warning below %llu s (%s)", (unsigned long long)field->advised_min,
			field->advised_by);
}

static void print_field(FILE *out, const struct field *field)
{
	fprintf(out, "| `%s` | ", field->key);
	if (!field->default_text)
		fprintf(out, "required");
	else if (*field->default_text)
		fprintf(out, "`%s`", field->default_text);
	else
		fprintf(out, "–");
	fprintf(out, " | ");
	print_allowed(out, field);
	fprintf(out, " | %s |\n", field->doc);
}

/* At most as deep as the table is: file, workspaces[], vpcs[], workers[]. */
static void print_section(FILE *out, const struct field_section *section)
{
	fprintf(out, "\n## %s%s%s\n\n%s\n\n| key | default | allowed | meaning |\n|---|---|---|---|\n",
		*section->path ? "`" : "", *section->path ? section->path : "The file", *section->path ? "`" : "",
		section->doc);
	for (uint32_t i = 0; i < section->field_count; i++)
		print_field(out, &section->fields[i]);
	for (uint32_t i = 0; i < section->field_count; i++) {
		if (section->fields[i].type == FIELD_MAP)
			print_section(out, section->fields[i].section);
	}
}

void fields_print_markdown(FILE *out)
{
	fputs("# Configuration\n\n"
	      "This page is generated from the field table (`control/fields_table.c`) by `gen-config-docs`; a test "
	      "keeps it\n"
	      "equal. Examples with comments: `configs/smallest.yaml`, `configs/gateway.yaml`, "
	      "`configs/worker-host.yaml`.\n"
	      "`posternd --check` validates a file and reports every error at once, as `file:line: key: value: what "
	      "is\n"
	      "allowed`.\n\n"
	      "The file is one YAML document in UTF-8, and so is each that it includes (`include`): at most 4 MiB "
	      "each, "
	      "or as `posternd\n--max-file-size` says, 48 MiB together, and 16 levels deep. "
	      "Anchors, aliases, tags and duplicate keys "
	      "are\n"
	      "refused, and so are unknown keys. Numbers are decimal, without leading zeros; only `true` and `false` "
	      "are\n"
	      "booleans. A duration without a unit is in seconds. A key without default is either required or simply "
	      "not there (–).\n",
		out);
	print_section(out, &fields_file);
}
