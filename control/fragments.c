/* SPDX-License-Identifier: Apache-2.0 */
#include "control/fragments.h"

#include <dirent.h>
#include <errno.h>
#include <fnmatch.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

/* An empty list at the end of `parent`, as if the main file had it. */
static struct yaml_node *append_list(struct yaml_tree *main, struct yaml_node *parent, const char *key)
{
	struct yaml_node *node = arena_allocate(&main->arena, sizeof(*node));

	if (!node)
		return NULL;
	node->kind = YAML_SEQUENCE;
	node->tree = main;
	node->line = node->key_line = parent->line;
	node->column = 1;
	node->key = key;
	node->parent = parent;
	node->index = parent->child_count++;
	if (parent->last)
		parent->last->next = node;
	else
		parent->first = node;
	parent->last = node;
	return node;
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
		into = append_list(main, parent, key);
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

/* `api`: NULL for a file that is not the API's. */
static enum status load_file(struct yaml_tree *main, const char *path, const struct config_api *api,
	struct fragments *fragments, struct problems *problems)
{
	const char *name = strrchr(path, '/'), *text = NULL;

	struct yaml_tree *tree = NULL;
	enum status status;

	if (api && api->changed_name && name && strcmp(name + 1, api->changed_name) == 0) {
		text = api->changed_text;
		if (!text)
			return STATUS_OK;
	}
	switch (index_add(&fragments->paths, path, strlen(path), 0, NULL)) {
	case INDEX_EXISTS:
		return STATUS_OK;
	case INDEX_NO_MEMORY:
		return STATUS_NO_MEMORY;
	default:
		break;
	}
	if (fragments->count == FRAGMENT_COUNT_MAX) {
		problems_add(problems, "%s: more than %d included files: merge some", path, FRAGMENT_COUNT_MAX);
		return STATUS_INVALID;
	}
	status = read_tree(path, text, api != NULL, fragments, &tree, problems);
	if (status != STATUS_OK)
		return status == STATUS_NO_MEMORY ? status : STATUS_OK;
	tree->from_api = api != NULL;
	status = keep_tree(fragments, tree);
	return status == STATUS_OK ? merge_tree(main, tree, problems) : status;
}

/* ---- a directory ---- */

struct name_list {
	char **names;
	size_t count, capacity;
};

static bool add_name(struct name_list *list, const char *name)
{
	if (list->count == list->capacity) {
		size_t capacity = list->capacity ? list->capacity * 2 : 64;
		char **names = realloc(list->names, capacity * sizeof(*names));

		if (!names)
			return false;
		list->names = names;
		list->capacity = capacity;
	}
	list->names[list->count] = strdup(name);
	return list->names[list->count] ? ++list->count : false;
}

static void clear_names(struct name_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		free(list->names[i]);
	free(list->names);
}

static int compare_names(const void *left, const void *right)
{
	return strcmp(*(char *const *)left, *(char *const *)right);
}

static bool has_name(const struct name_list *list, const char *name)
{
	for (size_t i = 0; i < list->count; i++) {
		if (strcmp(list->names[i], name) == 0)
			return true;
	}
	return false;
}

/* Sorted. A leading dot is matched by a dot alone: editors and configuration management write such files first. */
static enum status list_names(
	DIR *directory, const char *pattern, const struct config_api *api, struct name_list *ret_list)
{
	const struct dirent *entry;

	while (directory && (entry = readdir(directory))) {
		if (fnmatch(pattern, entry->d_name, FNM_PERIOD) == 0 && !add_name(ret_list, entry->d_name))
			return STATUS_NO_MEMORY;
	}
	if (api && api->changed_name && !has_name(ret_list, api->changed_name) &&
		!add_name(ret_list, api->changed_name))
		return STATUS_NO_MEMORY;
	if (ret_list->count)
		qsort(ret_list->names, ret_list->count, sizeof(*ret_list->names), compare_names);
	return STATUS_OK;
}

static enum status load_matches(struct yaml_tree *main, DIR *directory, const char *path, const char *pattern,
	const struct config_api *api, struct fragments *fragments, struct problems *problems)
{
	struct name_list list = {0};
	enum status status = list_names(directory, pattern, api, &list);
	char file[PATH_MAX];

	for (size_t i = 0; i < list.count && status == STATUS_OK; i++) {
		if (snprintf(file, sizeof(file), "%s/%s", path, list.names[i]) < (int)sizeof(file))
			status = load_file(main, file, api, fragments, problems);
		else
			problems_add(problems, "%s: a path in it is too long", path);
	}
	clear_names(&list);
	return status == STATUS_INVALID ? STATUS_OK : status;
}

/* ---- include ---- */

static void remember_directory(struct config_directories *directories, const char *path)
{
	for (size_t i = 0; directories && i < directories->count; i++) {
		if (strcmp(directories->paths[i], path) == 0)
			return;
	}
	if (directories && directories->count < CONFIG_INCLUDE_COUNT_MAX &&
		(directories->paths[directories->count] = strdup(path)))
		directories->count++;
}

/* The pattern's directory; relative ones start at the main file's. NULL in `ret_name`: too long. */
static void split_pattern(
	const char *main_file, const char *pattern, char ret_directory[PATH_MAX], const char **ret_name)
{
	const char *slash = strrchr(pattern, '/'), *main_slash = strrchr(main_file, '/');
	int main_length = main_slash ? (int)(main_slash - main_file) + 1 : 0, length;

	if (pattern[0] == '/')
		main_length = 0;
	length = snprintf(ret_directory, PATH_MAX, "%.*s%.*s", main_length, main_file,
		slash ? (int)(slash - pattern) + 1 : 0, pattern);
	*ret_name = length < PATH_MAX ? slash ? slash + 1 : pattern : NULL;
	if (length == 0)
		strcpy(ret_directory, ".");
	/* Without the slash at its end, except for the root. */
	else if (length < PATH_MAX && length > 1)
		ret_directory[length - 1] = '\0';
}

static void refuse_pattern(const struct yaml_node *node, const char *why, struct problems *problems)
{
	char path[YAML_PATH_SIZE_BYTES], shown[YAML_SHOWN_SIZE_BYTES];

	problems_add(problems, "%s:%u: %s: %s: %s", node->tree->file, node->line, yaml_node_path(node, path),
		yaml_show_text(node->text, shown), why);
}

static enum status load_pattern(struct yaml_tree *main, const struct yaml_node *node, struct fragments *fragments,
	struct config_directories *directories, struct problems *problems)
{
	char path[PATH_MAX], why[256];
	const char *name;
	enum status status;
	DIR *directory;

	split_pattern(main->file, node->text, path, &name);
	if (!name) {
		refuse_pattern(node, "the path is too long", problems);
		return STATUS_OK;
	}
	remember_directory(directories, path);
	directory = opendir(path);
	if (!directory) {
		snprintf(why, sizeof(why), "its directory can not be opened: %s: create it, it may be empty",
			strerror(errno));
		refuse_pattern(node, why, problems);
		return STATUS_OK;
	}
	if (strpbrk(name, "*?["))
		status = load_matches(main, directory, path, name, NULL, fragments, problems);
	else if (strlen(path) + strlen(name) + 2 > sizeof(path))
		status = STATUS_OK;
	else
		status = load_file(main, strcat(strcat(path, "/"), name), NULL, fragments, problems);
	closedir(directory);
	return status == STATUS_INVALID ? STATUS_OK : status;
}

static enum status load_api_directory(
	struct yaml_tree *main, const struct config_api *api, struct fragments *fragments, struct problems *problems)
{
	DIR *directory = opendir(api->directory);
	enum status status;

	if (!directory && errno != ENOENT) {
		problems_add(problems, "%s: can not be opened: %s", api->directory, strerror(errno));
		return STATUS_OK;
	}
	status = load_matches(main, directory, api->directory, "*.json", api, fragments, problems);
	if (directory)
		closedir(directory);
	return status;
}

enum status fragments_load(struct yaml_tree *main, size_t main_size_bytes, const struct config_api *api,
	struct fragments *fragments, struct config_directories *directories, struct problems *problems)
{
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
				status = load_pattern(main, node, fragments, directories, problems);
		}
	}
	if (status == STATUS_OK && api && api->directory)
		status = load_api_directory(main, api, fragments, problems);
	/* What could not be read may have had the workspaces: do not miss them in the main file. */
	if (status == STATUS_OK && problems->count + problems->dropped_count > problem_count &&
		!yaml_node_child(main->root, "workspaces") && !append_list(main, main->root, "workspaces"))
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
