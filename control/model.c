/* SPDX-License-Identifier: Apache-2.0 */
#include "control/model.h"

#include <stdlib.h>
#include <string.h>

#include "control/arena.h"
#include "control/model_parse.h"
#include "control/yaml_tree.h"

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
	free(model);
}

/* The tree's own problems (a duplicate key, an alias) come first, the model's follow: the operator sees all of them at
 * once. */
static enum status model_from_tree(
	const struct yaml_tree *tree, struct model **ret_model, struct problems *problems, struct problems *warnings)
{
	struct model_draft draft = {
		.model = model_new(tree->file), .tree = tree, .problems = problems, .warnings = warnings};

	if (!draft.model)
		return STATUS_NO_MEMORY;
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

/* The number in "file:12: …"; 0: none. */
static unsigned long line_number(const char *problem, size_t file_length)
{
	return strlen(problem) > file_length ? strtoul(problem + file_length + 1, NULL, 10) : 0;
}

/*
 * In the file's order, which is the order in which they get mended. Lines of the same number keep theirs: insertion
 * sort, over at most PROBLEMS_MAX lines that are mostly sorted.
 */
static void sort_problems(struct problems *problems, size_t first, const char *file)
{
	size_t file_length = strlen(file);

	for (size_t i = first + 1; i < problems->count; i++) {
		char *line = problems->lines[i];
		unsigned long number = line_number(line, file_length);
		size_t at = i;

		for (; at > first && line_number(problems->lines[at - 1], file_length) > number; at--)
			problems->lines[at] = problems->lines[at - 1];
		problems->lines[at] = line;
	}
}

enum status config_parse(const char *file, const char *bytes, size_t size_bytes, struct model **ret_model,
	struct problems *problems, struct problems *warnings)
{
	size_t count_before = problems->count + problems->dropped_count;
	size_t first_problem = problems->count, first_warning = warnings->count;
	struct model *model = NULL;
	struct yaml_tree *tree = NULL;
	enum status status = yaml_tree_parse(file, bytes, size_bytes, &tree, problems);

	if (status != STATUS_OK)
		return status;
	status = model_from_tree(tree, &model, problems, warnings);
	yaml_tree_free(tree);
	sort_problems(problems, first_problem, file);
	sort_problems(warnings, first_warning, file);
	if (status != STATUS_OK)
		return status;
	if (problems->count + problems->dropped_count > count_before) {
		model_free(model);
		return STATUS_INVALID;
	}
	*ret_model = model;
	return STATUS_OK;
}

enum status config_load(
	const char *path, struct model **ret_model, struct problems *problems, struct problems *warnings)
{
	char *bytes = NULL;
	size_t size_bytes = 0;
	enum status status = yaml_tree_read_file(path, &bytes, &size_bytes, problems);

	if (status != STATUS_OK)
		return status;
	status = config_parse(path, bytes, size_bytes, ret_model, problems, warnings);
	free(bytes);
	return status;
}
