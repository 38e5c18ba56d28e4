/* SPDX-License-Identifier: Apache-2.0 */
/* docs/man/postern.yaml.5 from the field table. */
#include <string.h>

#include "control/fields.h"

/* Text of the table as roff: what begins a request or an escape is made harmless, `code` becomes bold. */
static void print_text(FILE *out, const char *text)
{
	bool bold = false;

	for (; *text; text++) {
		if (*text == '`') {
			bold = !bold;
			fputs(bold ? "\\fB" : "\\fR", out);
		} else if (*text == '\\') {
			fputs("\\e", out);
		} else if (*text == '-') {
			fputs("\\-", out);
		} else {
			fputc(*text, out);
		}
	}
}

static void print_allowed(FILE *out, const struct field *field)
{
	char allowed[FIELD_WHY_SIZE_BYTES];

	if (field->list && field->min == field->max)
		fprintf(out, "a list of %llu: ", (unsigned long long)field->min);
	else if (field->list)
		fprintf(out, "a list of %llu..%llu: ", (unsigned long long)field->min, (unsigned long long)field->max);
	if (field->type == FIELD_MAP) {
		print_text(out, field->list ? "mappings" : "a mapping");
		if (field->word)
			fprintf(out, ", or \\fB%s\\fR", field->word);
		return;
	}
	field_allowed_text(field, allowed);
	print_text(out, allowed + strlen("must be "));
}

static void print_field(FILE *out, const struct field *field)
{
	fprintf(out, ".TP\n\\fB%s\\fR\n\\&", field->key);
	print_text(out, field->doc);
	fputs("\n.br\n\\&Allowed: ", out);
	print_allowed(out, field);
	if (!field->default_text)
		fputs(". Required", out);
	else if (*field->default_text) {
		fputs(". Default: ", out);
		print_text(out, field->default_text);
	}
	fputs(".\n", out);
	if (field->advised_min)
		fprintf(out, "A warning below %llu s (%s).\n", (unsigned long long)field->advised_min,
			field->advised_by);
}

/* At most as deep as the table is. */
static void print_section(FILE *out, const struct field_section *section)
{
	fprintf(out, ".SS \"%s\"\n\\&", *section->path ? section->path : "The file");
	print_text(out, section->doc);
	fputc('\n', out);
	for (uint32_t i = 0; i < section->field_count; i++)
		print_field(out, &section->fields[i]);
	for (uint32_t i = 0; i < section->field_count; i++) {
		if (section->fields[i].type == FIELD_MAP)
			print_section(out, section->fields[i].section);
	}
}

void fields_print_man(FILE *out)
{
	fputs(".\\\" SPDX-License-Identifier: Apache-2.0\n"
	      ".\\\" Generated from the field table by gen-config-docs --man; a test keeps it equal.\n"
	      ".TH POSTERN.YAML 5 \"\" \"Postern\" \"File formats\"\n"
	      ".SH NAME\npostern.yaml \\- configuration of the Postern egress gateway\n"
	      ".SH DESCRIPTION\n"
	      "One YAML document in UTF\\-8, and so is each file that it includes: at most 4 MiB each, or as\n"
	      ".B posternd \\-\\-max\\-file\\-size\n"
	      "says, 48 MiB together, and 16 levels deep. Anchors, aliases, tags, duplicate\n"
	      "and unknown keys are refused. Numbers are decimal, without leading zeros; only true and false are "
	      "booleans.\n"
	      "A duration without a unit is in seconds. A key without default is either required or simply not "
	      "there.\n.PP\n"
	      ".B posternd \\-\\-config FILE \\-\\-check\n"
	      "validates a file and reports every error at once, with its line.\n"
	      ".SH KEYS\n",
		out);
	print_section(out, &fields_file);
	fputs(".SH FILES\n.TP\n.I /etc/postern/postern.yaml\nWhat the unit of systemd reads.\n"
	      ".SH SEE ALSO\n.BR posternd (8),\n.BR postern (1)\n",
		out);
}
