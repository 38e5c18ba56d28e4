/* SPDX-License-Identifier: Apache-2.0 */
#include "control/fragments.h"

#include <stdlib.h>
#include <string.h>

#include "control/config_files.h"

/* ---- one file ---- */

static void refuse_key(const struct yaml_node *node, const char *why, struct problems *problems)
{
	char path[YAML_PATH_SIZE_BYTES];

	problems_add(problems, "%s:%u: %s: %s", node->tree->file, node->key ? node->key_line : node->line,
		yaml_node_path(node, path), why);
}

static void check_version(const struct yaml_node *node, struct problems *problems)
{
	if (node->kind != YAML_SCALAR || strcmp(node->text, "1") != 0)
		refuse_key(node, "must be 1, or be left out of an included file", problems);
}

static bool is_list(const struct yaml_node *node, struct problems *problems)
{
	if (node->kind == YAML_SEQUENCE)
		return true;
	if (!node->refused)
		refuse_key(node, "must be a list of mappings (- key: value); [] is an empty one", problems);
	return false;
}

/*
 * The elements of `list` behind those of parent's list `key`. They keep their parent, index and tree: so a message
 * about them names the place where they stand.
 */
static enum status merge_list(
	struct yaml_tree *main, struct yaml_node *parent, const char *key, const struct yaml_node *list)
{
	struct yaml_node *into = (struct yaml_node *)yaml_node_child(parent, key);

	if (!into)
		into = yaml_tree_append_list(main, parent, key);
	if (!into)
		return STATUS_NO_MEMORY;
	if (into->kind != YAML_SEQUENCE || !list->first)
		return STATUS_OK; /* what is wrong with the main file is reported there */
	if (into->last)
		into->last->next = list->first;
	else
		into->first = list->first;
	into->last = list->last;
	into->child_count += list->child_count;
	return STATUS_OK;
}

static enum status merge_worker_host(struct yaml_tree *main, const struct yaml_node *section, struct problems *problems)
{
	struct yaml_node *into = (struct yaml_node *)yaml_node_child(main->root, "worker_host");
	enum status status = STATUS_OK;

	if (section->kind != YAML_MAPPING) {
		if (!section->refused)
			refuse_key(section, "must be a mapping with the key workers", problems);
		return STATUS_OK;
	}
	for (const struct yaml_node *child = section->first; child && status == STATUS_OK; child = child->next) {
		if (child->refused)
			continue;
		if (strcmp(child->key, "workers") != 0)
			refuse_key(child, "an included file has only workers here: put this key into the main file",
				problems);
		else if (!into || into->kind != YAML_MAPPING)
			refuse_key(child, "the main file has no worker_host: put it there, with vtep and gateways",
				problems);
		else if (is_list(child, problems))
			status = merge_list(main, into, "workers", child);
	}
	return status;
}

static enum status merge_tree(struct yaml_tree *main, const struct yaml_tree *tree, struct problems *problems)
{
	enum status status = STATUS_OK;

	if (tree->root->kind != YAML_MAPPING) {
		problems_add(problems, "%s:%u: must be a mapping with the key workspaces, or worker_host, or both",
			tree->file, tree->root->line);
		return STATUS_OK;
	}
	for (const struct yaml_node *child = tree->root->first; child && status == STATUS_OK; child = child->next) {
		if (child->refused)
			continue;
		if (strcmp(child->key, "version") == 0)
			check_version(child, problems);
		else if (strcmp(child->key, "worker_host") == 0)
			status = merge_worker_host(main, child, problems);
		else if (strcmp(child->key, "workspaces") != 0)
			refuse_key(child,
				"an included file has only workspaces and worker_host.workers: put this key into the "
				"main file",
				problems);
		else if (is_list(child, problems))
			status = merge_list(main, main->root, "workspaces", child);
	}
	return status;
}

static enum status keep_tree(struct fragments *fragments, struct yaml_tree *tree)
{
	if (fragments->count == fragments->capacity) {
		size_t capacity = fragments->capacity ? fragments->capacity * 2 : 16;
		struct yaml_tree **trees = realloc(fragments->trees, capacity * sizeof(struct yaml_tree *));

		if (!trees) {
			yaml_tree_free(tree);
			return STATUS_NO_MEMORY;
		}
		fragments->trees = trees;
		fragments->capacity = capacity;
	}
	fragments->trees[fragments->count++] = tree;
	return STATUS_OK;
}

/* `text`: what stands in the file, or shall; NULL: read it. */
static enum status read_bytes(const char *path, const char *text, size_t size_max_bytes, char **ret_bytes,
	size_t *ret_size_bytes, struct problems *problems)
{
	char *copy;

	if (!text)
		return yaml_tree_read_file(path, size_max_bytes, ret_bytes, ret_size_bytes, problems);
	copy = strdup(text);
	if (!copy)
		return STATUS_NO_MEMORY;
	*ret_bytes = copy;
	*ret_size_bytes = strlen(text);
	return STATUS_OK;
}

/* STATUS_INVALID, STATUS_SYSTEM: the file is of no use, and the problems say why; go on with the next one. */
static enum status read_tree(const char *path, const char *text, bool from_api, struct fragments *fragments,
	struct yaml_tree **ret_tree, struct problems *problems)
{
	const struct config_api *api = fragments->api;
	char *bytes;
	size_t size_bytes;
	enum status status = read_bytes(path, text, config_file_size_max(api), &bytes, &size_bytes, problems);

	if (status != STATUS_OK)
		return status;
	fragments->size_bytes += size_bytes;
	if (fragments->size_bytes > YAML_TOTAL_SIZE_MAX_BYTES) {
		problems_add(problems,
			"%s: with this file the configuration is larger than %d MiB: it may have at most that", path,
			YAML_TOTAL_SIZE_MAX_BYTES / (1024 * 1024));
		status = STATUS_INVALID;
	} else if (!from_api && api && api->check &&
		   !api->check(api->check_context, path, bytes, size_bytes, problems)) {
		status = STATUS_INVALID;
	} else {
		status = yaml_tree_parse(path, bytes, size_bytes, ret_tree, problems);
	}
	free(bytes);
	return status;
}

/* What load_file() adds to. */
struct merge {
	struct yaml_tree *main;
	struct fragments *fragments;
	struct problems *problems;
};

static enum status load_file(void *context, const struct config_file *file)
{
	struct merge *merge = context;
	struct fragments *fragments = merge->fragments;
	struct yaml_tree *tree = NULL;
	enum status status;

	switch (index_add(&fragments->paths, file->path, strlen(file->path), 0, NULL)) {
	case INDEX_EXISTS:
		return STATUS_OK;
	case INDEX_NO_MEMORY:
		return STATUS_NO_MEMORY;
	default:
		break;
	}
	if (fragments->count == FRAGMENT_COUNT_MAX) {
		problems_add(
			merge->problems, "%s: more than %d included files: merge some", file->path, FRAGMENT_COUNT_MAX);
		return STATUS_INVALID;
	}
	status = read_tree(file->path, file->text, file->from_api, fragments, &tree, merge->problems);
	if (status != STATUS_OK)
		return status == STATUS_NO_MEMORY ? status : STATUS_OK;
	tree->from_api = file->from_api;
	status = keep_tree(fragments, tree);
	return status == STATUS_OK ? merge_tree(merge->main, tree, merge->problems) : status;
}

/* ---- include ---- */

static void refuse_pattern(const struct yaml_node *node, const char *why, struct problems *problems)
{
	char path[YAML_PATH_SIZE_BYTES], shown[YAML_SHOWN_SIZE_BYTES];

	problems_add(problems, "%s:%u: %s: %s: %s", node->tree->file, node->line, yaml_node_path(node, path),
		yaml_show_text(node->text, shown), why);
}

static enum status load_pattern(
	struct merge *merge, const struct yaml_node *node, struct config_directories *directories)
{
	char why[CONFIG_FILES_WHY_SIZE_BYTES];
	enum status status = config_files_of_pattern(
		merge->main->file, node->text, load_file, merge, directories, why, merge->problems);

	if (status == STATUS_SYSTEM) {
		refuse_pattern(node, why, merge->problems);
		return STATUS_OK;
	}
	return status;
}

enum status fragments_load(struct yaml_tree *main, size_t main_size_bytes, const struct config_api *api,
	struct fragments *fragments, struct config_directories *directories, struct problems *problems)
{
	struct merge merge = {.main = main, .fragments = fragments, .problems = problems};
	size_t problem_count = problems->count + problems->dropped_count;
	const struct yaml_node *include;
	enum status status = STATUS_OK;

	fragments->size_bytes = main_size_bytes;
	fragments->api = api;
	if (main->root->kind != YAML_MAPPING)
		return STATUS_OK;
	include = yaml_node_child(main->root, "include");
	/* Elements of another kind, and too many of them, are refused with the main file's other values. */
	if (include && include->kind == YAML_SEQUENCE && include->child_count <= CONFIG_INCLUDE_COUNT_MAX) {
		for (const struct yaml_node *node = include->first; node && status == STATUS_OK; node = node->next) {
			if (node->kind == YAML_SCALAR && !node->refused && *node->text)
				status = load_pattern(&merge, node, directories);
		}
	}
	if (status == STATUS_OK && api && api->directory)
		status = config_files_of_api(api, load_file, &merge, problems);
	/* What could not be read may have had the workspaces: do not miss them in the main file. */
	if (status == STATUS_OK && problems->count + problems->dropped_count > problem_count &&
		!yaml_node_child(main->root, "workspaces") && !yaml_tree_append_list(main, main->root, "workspaces"))
		status = STATUS_NO_MEMORY;
	return status;
}

void fragments_clear(struct fragments *fragments)
{
	for (size_t i = 0; i < fragments->count; i++)
		yaml_tree_free(fragments->trees[i]);
	free(fragments->trees);
	index_clear(&fragments->paths);
	memset(fragments, 0, sizeof(*fragments));
}
