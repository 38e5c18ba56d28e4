/* SPDX-License-Identifier: Apache-2.0 */
#include "control/model_parse.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "control/fields.h"

/* ---- nodes and messages ---- */

static struct yaml_node nowhere = {.kind = YAML_MAPPING, .text = "", .tree = &model_draft_no_tree};
const struct yaml_tree model_draft_no_tree = {.file = "", .root = &nowhere};

static void remember(
	struct model_draft *draft, struct hash_index *nodes, const void *place, const struct yaml_node *node)
{
	uintptr_t address = (uintptr_t)place;

	if (draft->unremembered)
		return;
	if (index_add(nodes, &address, sizeof(address), (uintptr_t)node, NULL) == INDEX_NO_MEMORY)
		draft->no_memory = true;
}

static const struct yaml_node *recall(const struct hash_index *nodes, const void *place)
{
	uintptr_t address = (uintptr_t)place;
	uint64_t node = 0;

	return index_find(nodes, &address, sizeof(address), &node) ? (const struct yaml_node *)(uintptr_t)node : NULL;
}

const struct yaml_node *model_draft_value(const struct model_draft *draft, const void *place)
{
	return draft->unremembered ? &nowhere : recall(&draft->value_nodes, place);
}

const struct yaml_node *model_draft_record(const struct model_draft *draft, const void *record)
{
	return draft->unremembered ? &nowhere : recall(&draft->record_nodes, record);
}

void model_draft_add(
	struct model_draft *draft, struct problems *problems, const struct yaml_node *node, const char *format, ...)
{
	char path[YAML_PATH_SIZE_BYTES], shown[YAML_SHOWN_SIZE_BYTES], why[512];
	va_list arguments;

	if (draft->unremembered && (!node || node->tree == &model_draft_no_tree)) {
		draft->unsound = true;
		return;
	}
	va_start(arguments, format);
	vsnprintf(why, sizeof(why), format, arguments);
	va_end(arguments);
	yaml_node_path(node, path);
	if (node->kind == YAML_SCALAR)
		problems_add(problems, "%s:%u: %s: %s: %s", node->tree->file, node->line, path,
			yaml_show_text(node->text, shown), why);
	else
		problems_add(problems, "%s:%u: %s%s%s", node->tree->file, node->line, path, *path ? ": " : "", why);
}

static const char *kind_text(const struct yaml_node *node)
{
	if (node->kind == YAML_SEQUENCE)
		return "a list";
	if (node->kind == YAML_MAPPING)
		return "a mapping";
	return node->text[0] || node->quoted ? "a single value" : "empty";
}

static bool is_null(const struct yaml_node *node)
{
	return node->kind == YAML_SCALAR && !node->quoted &&
	       (!*node->text || strcmp(node->text, "~") == 0 || strcmp(node->text, "null") == 0);
}

/* ---- values ---- */

static void advise(
	struct model_draft *draft, const struct field *field, const void *place, const struct yaml_node *node)
{
	uint64_t value = field_number(field, place);

	if (field->advised_min && value != 0 && value < field->advised_min)
		model_draft_add(draft, draft->warnings, node, "is below the %" PRIu64 " s that %s demands",
			field->advised_min, field->advised_by);
}

static void parse_value(struct model_draft *draft, const struct field *field, const struct yaml_node *node, void *place)
{
	char why[FIELD_WHY_SIZE_BYTES];

	if (node->refused)
		return;
	if (is_null(node)) {
		field_allowed_text(field, why);
		model_draft_add(draft, draft->problems, node, "has no value: %s", why);
	} else if (node->kind != YAML_SCALAR) {
		field_allowed_text(field, why);
		model_draft_add(draft, draft->problems, node, "is %s: %s", kind_text(node), why);
	} else if (!field_parse(field, node->text, node->quoted, place, why)) {
		model_draft_add(draft, draft->problems, node, "%s", why);
	} else {
		remember(draft, &draft->value_nodes, place, node);
		advise(draft, field, place, node);
		/* Zero is how an address that was not given looks, which the rules do not apply to. */
		if (draft->unremembered && field->type == FIELD_IPV4 && *(const uint32_t *)place == 0)
			draft->unsound = true;
	}
}

static void parse_section(
	struct model_draft *draft, const struct field_section *section, const struct yaml_node *node, void *record);

static void parse_map(struct model_draft *draft, const struct field *field, const struct yaml_node *node, char *record)
{
	void *inner = record + field->offset;

	if (node->refused)
		return;
	if (field->word && node->kind == YAML_SCALAR && strcmp(node->text, field->word) == 0) {
		*(bool *)(record + field->second_offset) = true;
		fields_fill_defaults(field->section, inner);
		return;
	}
	if (node->kind != YAML_MAPPING) {
		model_draft_add(draft, draft->problems, node, "must be a mapping of keys to values%s%s",
			field->word ? ", or the word " : "", field->word ? field->word : "");
		return;
	}
	parse_section(draft, field->section, node, inner);
}

static void parse_element(
	struct model_draft *draft, const struct field *field, const struct yaml_node *node, void *place)
{
	if (field->type != FIELD_MAP) {
		parse_value(draft, field, node, place);
		return;
	}
	if (node->refused)
		return;
	if (node->kind != YAML_MAPPING) {
		model_draft_add(draft, draft->problems, node, "must be a mapping of keys to values");
		return;
	}
	parse_section(draft, field->section, node, place);
}

static void add_wrong_size(struct model_draft *draft, const struct field *field, const struct yaml_node *node)
{
	if (field->min == field->max)
		model_draft_add(draft, draft->problems, node, "has %u elements: must have exactly %" PRIu64,
			node->child_count, field->min);
	else
		model_draft_add(draft, draft->problems, node, "has %u elements: must have %" PRIu64 "..%" PRIu64,
			node->child_count, field->min, field->max);
}

static void parse_list(struct model_draft *draft, const struct field *field, const struct yaml_node *node, char *record)
{
	size_t size_bytes = field_element_size(field);
	char *elements = record + field->offset;
	bool in_place = field->count_offset == FIELD_NOWHERE;
	size_t index = 0;

	if (node->refused)
		return;
	if (node->kind != YAML_SEQUENCE) {
		model_draft_add(draft, draft->problems, node,
			field->type == FIELD_MAP ? "must be a list of mappings (- key: value); [] is an empty one"
						 : "must be a list, such as [one, another]; [] is an empty one");
		return;
	}
	if (node->child_count < field->min || node->child_count > field->max) {
		add_wrong_size(draft, field, node);
		return;
	}
	if (!in_place) {
		elements = arena_allocate(draft->model->arena, size_bytes * node->child_count);
		if (!elements) {
			draft->no_memory = true;
			return;
		}
		*(void **)(void *)(record + field->offset) = elements;
		*(size_t *)(void *)(record + field->count_offset) = node->child_count;
	}
	/* Not child->index: the elements of included files follow, which count from 0 again. */
	for (const struct yaml_node *child = node->first; child; child = child->next)
		parse_element(draft, field, child, elements + size_bytes * index++);
}

/* ---- sections ---- */

static void add_unknown_key(
	struct model_draft *draft, const struct field_section *section, const struct yaml_node *node)
{
	const struct field *nearest = fields_find_nearest(section, node->key);
	char path[YAML_PATH_SIZE_BYTES], keys[400];
	size_t used = 0;

	yaml_node_path(node, path);
	if (nearest) {
		problems_add(draft->problems, "%s:%u: %s: unknown key: did you mean %s?", node->tree->file,
			node->key_line, path, nearest->key);
		return;
	}
	keys[0] = '\0';
	for (uint32_t i = 0; i < section->field_count && used < sizeof(keys); i++)
		used += (size_t)snprintf(
			keys + used, sizeof(keys) - used, "%s%s", i ? ", " : "", section->fields[i].key);
	problems_add(draft->problems, "%s:%u: %s: unknown key: must be one of %s", node->tree->file, node->key_line,
		path, keys);
}

static void add_missing_key(struct model_draft *draft, const struct field *field, const struct yaml_node *node)
{
	char path[YAML_PATH_SIZE_BYTES];

	yaml_node_path(node, path);
	problems_add(draft->problems, "%s:%u: %s%s%s: missing: %s", node->tree->file, node->line, path,
		*path ? "." : "", field->key, field->doc);
}

static void parse_field(
	struct model_draft *draft, const struct field *field, const struct yaml_node *node, char *record)
{
	if (field->list)
		parse_list(draft, field, node, record);
	else if (field->type == FIELD_MAP)
		parse_map(draft, field, node, record);
	else
		parse_value(draft, field, node, record + field->offset);
	if (field->present_offset != FIELD_NOWHERE)
		*(bool *)(record + field->present_offset) = true;
}

/* Recursion is as deep as the field table. */
static void parse_section(
	struct model_draft *draft, const struct field_section *section, const struct yaml_node *node, void *record)
{
	uint32_t seen = 0;

	remember(draft, &draft->record_nodes, record, node);
	if (section->source_offset != FIELD_NOWHERE) {
		struct model_source *source = (struct model_source *)(void *)((char *)record + section->source_offset);

		source->file = node->tree->file;
		source->kind = node->tree->from_api ? MODEL_SOURCE_API : MODEL_SOURCE_FILE;
		source->line = node->line;
	}
	for (const struct yaml_node *child = node->first; child; child = child->next) {
		const struct field *field = fields_find(section, child->key);

		if (!field) {
			if (!child->refused)
				add_unknown_key(draft, section, child);
			continue;
		}
		if (seen & 1u << (field - section->fields))
			continue; /* a duplicate key, already reported */
		seen |= 1u << (field - section->fields);
		parse_field(draft, field, child, record);
	}
	for (uint32_t i = 0; i < section->field_count; i++) {
		if (seen & 1u << i)
			continue;
		if (section->fields[i].default_text)
			field_fill_default(&section->fields[i], record);
		else
			add_missing_key(draft, &section->fields[i], node);
	}
}

/* Anything else in it is for fragments.c to refuse. */
static void parse_fragment_workers(struct model_draft *draft, const struct yaml_node *section)
{
	const struct field_section *host = fields_find(&fields_file, "worker_host")->section;

	if (section->kind != YAML_MAPPING) {
		draft->unsound = true;
		return;
	}
	for (const struct yaml_node *child = section->first; child; child = child->next) {
		if (child->refused || strcmp(child->key, "workers") != 0) {
			draft->unsound = true;
			return;
		}
		draft->model->worker_host.present = true;
		parse_list(draft, fields_find(host, "workers"), child, (char *)&draft->model->worker_host);
	}
}

void model_parse_fragment(struct model_draft *draft)
{
	const struct yaml_node *root = draft->tree->root;

	draft->unsound = draft->unsound || root->kind != YAML_MAPPING;
	for (const struct yaml_node *child = root->first; child && !draft->unsound; child = child->next) {
		if (child->refused)
			draft->unsound = true;
		else if (strcmp(child->key, "workspaces") == 0)
			parse_list(draft, fields_find(&fields_file, "workspaces"), child, (char *)draft->model);
		else if (strcmp(child->key, "worker_host") == 0)
			parse_fragment_workers(draft, child);
		else if (strcmp(child->key, "version") != 0 || child->kind != YAML_SCALAR ||
			 strcmp(child->text, "1") != 0)
			draft->unsound = true;
	}
}

void model_parse(struct model_draft *draft)
{
	const struct yaml_node *root = draft->tree->root;

	if (root->refused)
		return;
	if (root->kind != YAML_MAPPING) {
		problems_add(draft->problems, "%s:%u: is %s: the file must be a mapping that begins with version: 1",
			draft->tree->file, root->line, kind_text(root));
		return;
	}
	/* Of ten nodes about five are values and two or three are mappings: more than that grows as it comes. */
	if (!draft->unremembered && (!index_reserve(&draft->value_nodes, draft->tree->node_count / 2) ||
					    !index_reserve(&draft->record_nodes, draft->tree->node_count / 4))) {
		draft->no_memory = true;
		return;
	}
	parse_section(draft, &fields_file, root, draft->model);
}
