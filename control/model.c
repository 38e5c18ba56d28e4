/* SPDX-License-Identifier: Apache-2.0 */
#include "control/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/arena.h"
#include "control/config_parts.h"
#include "control/fragments.h"
#include "control/model_parse.h"
#include "control/scalar.h"
#include "control/yaml_tree.h"

/* What goes with a main file. */
struct config_input {
	bool alone;	      /* what it includes is left out */
	size_t first_problem; /* of this configuration, among the problems */
	size_t size_bytes;    /* of the main file */
	const struct config_api *api;
	struct config_directories *directories;
};

static struct model *model_new(const char *file)
{
	struct model *model = calloc(1, sizeof(*model));

	if (!model)
		return NULL;
	model->arena = calloc(1, sizeof(*model->arena));
	if (model->arena)
		model->file = arena_copy_text(model->arena, file, strlen(file));
	if (!model->file) {
		model_free(model);
		return NULL;
	}
	return model;
}

void model_free(struct model *model)
{
	if (!model)
		return;
	if (model->arena)
		arena_clear(model->arena);
	free(model->arena);
	config_parts_release(model->parts, model->part_count);
	free(model);
}

bool model_addresses_have(const uint32_t *addresses, size_t count, uint32_t address)
{
	for (size_t i = 0; i < count; i++) {
		if (addresses[i] == address)
			return true;
	}
	return false;
}

const char *model_source_text(const struct model_source *source, char ret_text[SOURCE_TEXT_SIZE_BYTES])
{
	if (source->kind == MODEL_SOURCE_NETLINK)
		snprintf(ret_text, SOURCE_TEXT_SIZE_BYTES, "netlink");
	else
		snprintf(ret_text, SOURCE_TEXT_SIZE_BYTES, "%s%.280s:%u%s",
			source->kind == MODEL_SOURCE_API ? "api (" : "", source->file ? source->file : "",
			(unsigned)source->line, source->kind == MODEL_SOURCE_API ? ")" : "");
	return ret_text;
}

void config_directories_clear(struct config_directories *directories)
{
	for (size_t i = 0; i < directories->count; i++)
		free(directories->paths[i]);
	directories->count = 0;
}

/* The objects' sources point at the names of their files: these must live as long as the model. */
static bool adopt_names(struct model *model, struct yaml_tree *main, const struct fragments *fragments)
{
	main->file = model->file;
	for (size_t i = 0; i < fragments->count; i++) {
		const char *name = fragments->trees[i]->file;

		fragments->trees[i]->file = arena_copy_text(model->arena, name, strlen(name));
		if (!fragments->trees[i]->file)
			return false;
	}
	return true;
}

/* The tree's own problems (a duplicate key, an alias) come first, the model's follow: the operator sees all of them at
 * once. */
static enum status model_from_tree(struct yaml_tree *tree, const struct fragments *fragments, struct model **ret_model,
	struct problems *problems, struct problems *warnings)
{
	struct model_draft draft = {
		.model = model_new(tree->file), .tree = tree, .problems = problems, .warnings = warnings};

	if (!draft.model)
		return STATUS_NO_MEMORY;
	draft.no_memory = !adopt_names(draft.model, tree, fragments);
	if (!draft.no_memory)
		model_parse(&draft);
	if (!draft.no_memory)
		model_check(&draft);
	index_clear(&draft.value_nodes);
	index_clear(&draft.record_nodes);
	if (draft.no_memory) {
		model_free(draft.model);
		return STATUS_NO_MEMORY;
	}
	*ret_model = draft.model;
	return STATUS_OK;
}

/* Where a problem stands: the number of its file (0: the main one, or none), then the line. */
static uint64_t problem_place(const char *problem, const char *file, const struct fragments *fragments)
{
	size_t length = strlen(file);

	if (strncmp(problem, file, length) == 0 && problem[length] == ':')
		return strtoul(problem + length + 1, NULL, 10);
	for (size_t i = 0; i < fragments->count; i++) {
		const char *name = fragments->trees[i]->file;

		length = strlen(name);
		if (strncmp(problem, name, length) == 0 && problem[length] == ':')
			return (i + 1) << 32 | strtoul(problem + length + 1, NULL, 10);
	}
	return 0;
}

/*
 * In the files' order, which is the order in which they get mended. Lines of the same place keep theirs: insertion
 * sort, over at most PROBLEMS_MAX lines that are mostly sorted.
 */
static void sort_problems(struct problems *problems, size_t first, const char *file, const struct fragments *fragments)
{
	size_t count = problems->count - first;
	uint64_t *places;

	if (count < 2 || !(places = calloc(count, sizeof(*places))))
		return;
	for (size_t i = 0; i < count; i++) {
		char *line = problems->lines[first + i];
		uint64_t place = problem_place(line, file, fragments);
		size_t at = i;

		for (; at > 0 && places[at - 1] > place; at--) {
			places[at] = places[at - 1];
			problems->lines[first + at] = problems->lines[first + at - 1];
		}
		places[at] = place;
		problems->lines[first + at] = line;
	}
	free(places);
}

/* Adds the included files to `tree`, and makes a model of all. */
static enum status model_from_files(struct yaml_tree *tree, const struct config_input *input, struct model **ret_model,
	struct problems *problems, struct problems *warnings)
{
	size_t first_warning = warnings->count;
	struct fragments fragments = {0};
	enum status status = STATUS_OK;
	char *file = strdup(tree->file); /* model_free() may take the tree's away */

	if (!file)
		return STATUS_NO_MEMORY;
	if (!input->alone)
		status = fragments_load(tree, input->size_bytes, input->api, &fragments, input->directories, problems);
	if (status == STATUS_OK)
		status = model_from_tree(tree, &fragments, ret_model, problems, warnings);
	if (status == STATUS_OK) {
		sort_problems(problems, input->first_problem, file, &fragments);
		sort_problems(warnings, first_warning, file, &fragments);
	}
	fragments_clear(&fragments);
	free(file);
	return status;
}

static enum status parse_and_include(const char *file, const char *bytes, const struct config_input *input,
	struct model **ret_model, struct problems *problems, struct problems *warnings)
{
	size_t count_before = problems->count + problems->dropped_count;
	struct model *model = NULL;
	struct yaml_tree *tree = NULL;
	enum status status = yaml_tree_parse(file, bytes, input->size_bytes, &tree, problems);

	if (status != STATUS_OK)
		return status;
	status = model_from_files(tree, input, &model, problems, warnings);
	yaml_tree_free(tree);
	if (status != STATUS_OK)
		return status;
	if (problems->count + problems->dropped_count > count_before) {
		model_free(model);
		return STATUS_INVALID;
	}
	*ret_model = model;
	return STATUS_OK;
}

enum status config_parse(const char *file, const char *bytes, size_t size_bytes, struct model **ret_model,
	struct problems *problems, struct problems *warnings)
{
	const struct config_input input = {.alone = true, .first_problem = problems->count, .size_bytes = size_bytes};

	return parse_and_include(file, bytes, &input, ret_model, problems, warnings);
}

bool config_file_size_parse(const char *text, size_t *ret_size_bytes)
{
	uint64_t value = 0;

	if (scalar_parse_count(text, &value) != NULL || value < 1024 || value > YAML_TOTAL_SIZE_MAX_BYTES)
		return false;
	*ret_size_bytes = (size_t)value;
	return true;
}

size_t config_file_size_max(const struct config_api *api)
{
	return api != NULL && api->file_size_max_bytes != 0 ? api->file_size_max_bytes : YAML_FILE_SIZE_MAX_BYTES;
}

enum status config_load_all(const char *path, const struct config_api *api, struct model **ret_model,
	struct config_directories *directories, struct problems *problems, struct problems *warnings)
{
	struct config_input input = {.first_problem = problems->count, .api = api, .directories = directories};
	char *bytes = NULL;
	enum status status = STATUS_REFUSED;

	if (api != NULL && api->parts && api->check == NULL)
		status = config_parts_load(path, api, ret_model, directories, warnings);
	if (status != STATUS_REFUSED)
		return status;
	status = yaml_tree_read_file(path, config_file_size_max(api), &bytes, &input.size_bytes, problems);
	if (status != STATUS_OK)
		return status;
	if (api != NULL && api->check != NULL &&
		!api->check(api->check_context, path, bytes, input.size_bytes, problems))
		status = STATUS_INVALID;
	else
		status = parse_and_include(path, bytes, &input, ret_model, problems, warnings);
	free(bytes);
	return status;
}

enum status config_load(
	const char *path, struct model **ret_model, struct problems *problems, struct problems *warnings)
{
	return config_load_all(path, NULL, ret_model, NULL, problems, warnings);
}
