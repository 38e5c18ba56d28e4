/* SPDX-License-Identifier: Apache-2.0 */
#include "control/config_files.h"

#include <dirent.h>
#include <errno.h>
#include <fnmatch.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- a directory ---- */

struct name {
	char *text;
	bool linked;
};

struct name_list {
	struct name *names;
	size_t count, capacity;
};

static bool add_name(struct name_list *list, const char *text, bool linked)
{
	if (list->count == list->capacity) {
		size_t capacity = list->capacity ? list->capacity * 2 : 64;
		struct name *names = realloc(list->names, capacity * sizeof(*names));

		if (!names)
			return false;
		list->names = names;
		list->capacity = capacity;
	}
	list->names[list->count] = (struct name){.text = strdup(text), .linked = linked};
	return list->names[list->count].text ? ++list->count : false;
}

static void clear_names(struct name_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		free(list->names[i].text);
	free(list->names);
}

static int compare_names(const void *left, const void *right)
{
	const struct name *a = left, *b = right;

	return strcmp(a->text, b->text);
}

static bool has_name(const struct name_list *list, const char *name)
{
	for (size_t i = 0; i < list->count; i++) {
		if (strcmp(list->names[i].text, name) == 0)
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
		if (fnmatch(pattern, entry->d_name, FNM_PERIOD) == 0 &&
			!add_name(ret_list, entry->d_name, entry->d_type != DT_REG))
			return STATUS_NO_MEMORY;
	}
	if (api && api->changed_name && !has_name(ret_list, api->changed_name) &&
		!add_name(ret_list, api->changed_name, false))
		return STATUS_NO_MEMORY;
	if (ret_list->count)
		qsort(ret_list->names, ret_list->count, sizeof(*ret_list->names), compare_names);
	return STATUS_OK;
}

/* `api`: NULL for files that are not the API's. */
static enum status walk_matches(DIR *directory, const char *path, const char *pattern, const struct config_api *api,
	config_file_fn *each, void *context, struct problems *problems)
{
	struct name_list list = {0};
	enum status status = list_names(directory, pattern, api, &list);
	char file_path[PATH_MAX];

	for (size_t i = 0; i < list.count && status == STATUS_OK; i++) {
		bool changed = api && api->changed_name && strcmp(list.names[i].text, api->changed_name) == 0;
		struct config_file file = {.path = file_path,
			.from_api = api != NULL,
			.linked = list.names[i].linked,
			.text = changed ? api->changed_text : NULL};

		if (changed && !file.text)
			continue;
		if (snprintf(file_path, sizeof(file_path), "%s/%s", path, list.names[i].text) < (int)sizeof(file_path))
			status = each(context, &file);
		else
			problems_add(problems, "%s: a path in it is too long", path);
	}
	clear_names(&list);
	return status == STATUS_INVALID ? STATUS_OK : status;
}

/* ---- include ---- */

void config_files_note_directory(struct config_directories *directories, const char *path)
{
	for (size_t i = 0; directories && i < directories->count; i++) {
		if (strcmp(directories->paths[i], path) == 0)
			return;
	}
	if (directories && directories->noted)
		directories->noted(directories->context, path);
	if (directories && directories->count < CONFIG_INCLUDE_COUNT_MAX &&
		(directories->paths[directories->count] = strdup(path)))
		directories->count++;
}

bool config_files_split(const char *main_file, const char *pattern, char ret_directory[PATH_MAX], const char **ret_name)
{
	const char *slash = strrchr(pattern, '/'), *main_slash = strrchr(main_file, '/');
	int main_length = main_slash ? (int)(main_slash - main_file) + 1 : 0, length;

	if (pattern[0] == '/')
		main_length = 0;
	length = snprintf(ret_directory, PATH_MAX, "%.*s%.*s", main_length, main_file,
		slash ? (int)(slash - pattern) + 1 : 0, pattern);
	if (length >= PATH_MAX)
		return false;
	*ret_name = slash ? slash + 1 : pattern;
	if (length == 0)
		strcpy(ret_directory, ".");
	/* Without the slash at its end, except for the root. */
	else if (length > 1)
		ret_directory[length - 1] = '\0';
	return true;
}

enum status config_files_of_pattern(const char *main_file, const char *pattern, config_file_fn *each, void *context,
	struct config_directories *directories, char ret_why[CONFIG_FILES_WHY_SIZE_BYTES], struct problems *problems)
{
	char path[PATH_MAX];
	const char *name;
	enum status status;
	DIR *directory;

	if (!config_files_split(main_file, pattern, path, &name)) {
		snprintf(ret_why, CONFIG_FILES_WHY_SIZE_BYTES, "the path is too long");
		return STATUS_SYSTEM;
	}
	config_files_note_directory(directories, path);
	directory = opendir(path);
	if (!directory) {
		snprintf(ret_why, CONFIG_FILES_WHY_SIZE_BYTES,
			"its directory can not be opened: %s: create it, it may be empty", strerror(errno));
		return STATUS_SYSTEM;
	}
	if (strpbrk(name, "*?[")) {
		status = walk_matches(directory, path, name, NULL, each, context, problems);
	} else if (strlen(path) + strlen(name) + 2 > sizeof(path)) {
		status = STATUS_OK;
	} else {
		const struct config_file file = {.path = strcat(strcat(path, "/"), name), .linked = true};

		status = each(context, &file);
	}
	closedir(directory);
	return status == STATUS_INVALID ? STATUS_OK : status;
}

enum status config_files_of_api(
	const struct config_api *api, config_file_fn *each, void *context, struct problems *problems)
{
	DIR *directory = opendir(api->directory);
	enum status status;

	if (!directory && errno != ENOENT) {
		problems_add(problems, "%s: can not be opened: %s", api->directory, strerror(errno));
		return STATUS_OK;
	}
	status = walk_matches(directory, api->directory, "*.json", api, each, context, problems);
	if (directory)
		closedir(directory);
	return status;
}
