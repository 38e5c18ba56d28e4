/* SPDX-License-Identifier: Apache-2.0 */
#include "control/config_parts.h"

#include <errno.h>
#include <fnmatch.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "control/arena.h"
#include "control/config_changes.h"
#include "control/config_files.h"
#include "control/config_part.h"
#include "control/fields.h"
#include "control/fragments.h"
#include "control/index.h"
#include "control/model_parse.h"
#include "control/yaml_tree.h"

void config_parts_release(struct config_part **parts, size_t count)
{
	for (size_t i = 0; i < count; i++)
		config_part_release(parts[i]);
	free(parts);
}

/* ---- all parts ---- */

struct loader {
	const struct config_api *api;
	const struct model *before; /* NULL: none */
	size_t next_before;	    /* where the next file's part probably is */
	struct hash_index before_by_path, paths;
	struct config_part **parts; /* the main file's first */
	size_t count, capacity, size_bytes;
};

/* Takes the reference. */
static enum status loader_add(struct loader *loader, struct config_part *part)
{
	if (loader->count == loader->capacity) {
		size_t capacity = loader->capacity ? loader->capacity * 2 : 64;
		struct config_part **parts = realloc(loader->parts, capacity * sizeof(struct config_part *));

		if (!parts) {
			config_part_release(part);
			return STATUS_NO_MEMORY;
		}
		loader->parts = parts;
		loader->capacity = capacity;
	}
	loader->parts[loader->count++] = part;
	loader->size_bytes += part->size_bytes;
	return loader->size_bytes <= YAML_TOTAL_SIZE_MAX_BYTES && loader->count <= FRAGMENT_COUNT_MAX + 1
		       ? STATUS_OK
		       : STATUS_REFUSED;
}

static enum status loader_hold(struct loader *loader, struct config_part *part)
{
	part->reference_count++;
	return loader_add(loader, part);
}

static bool index_before(struct loader *loader)
{
	const struct model *before = loader->before;

	for (size_t i = 0; i < before->part_count && loader->before_by_path.used_count < before->part_count; i++) {
		const char *path = before->parts[i]->path;

		if (index_add(&loader->before_by_path, path, strlen(path), i, NULL) == INDEX_NO_MEMORY)
			return false;
	}
	return true;
}

/* The part that this file was in the model before; NULL: none, or none that is known. */
static struct config_part *find_before(struct loader *loader, const char *path)
{
	const struct model *before = loader->before;
	uint64_t at = loader->next_before;

	if (!before)
		return NULL;
	if ((at >= before->part_count || strcmp(before->parts[at]->path, path) != 0) &&
		(!index_before(loader) || !index_find(&loader->before_by_path, path, strlen(path), &at)))
		return NULL;
	loader->next_before = at + 1;
	return before->parts[at];
}

static enum status load_file(struct loader *loader, const struct config_file *file, bool is_main)
{
	struct config_part *part = file->text ? NULL : find_before(loader, file->path);
	enum status status;

	if (part && part->on_disk && part->from_api == file->from_api && (part->main != NULL) == is_main &&
		config_part_holds(part))
		return loader_hold(loader, part);
	status = config_part_read(loader->api, file, is_main, &part);
	return status == STATUS_OK ? loader_add(loader, part) : status;
}

static enum status load_fragment(void *context, const struct config_file *file)
{
	struct loader *loader = context;

	switch (index_add(&loader->paths, file->path, strlen(file->path), 0, NULL)) {
	case INDEX_EXISTS:
		return STATUS_OK;
	case INDEX_NO_MEMORY:
		return STATUS_NO_MEMORY;
	default:
		return load_file(loader, file, false);
	}
}

/* All but the main file. */
static enum status load_fragments(struct loader *loader, const char *path, struct config_directories *directories)
{
	const struct model *main = loader->parts[0]->main;
	char why[CONFIG_FILES_WHY_SIZE_BYTES];
	struct problems problems = {0};
	enum status status = STATUS_OK;

	for (size_t i = 0; i < main->include_count && status == STATUS_OK; i++)
		status = config_files_of_pattern(
			path, main->includes[i].pattern, load_fragment, loader, directories, why, &problems);
	if (status == STATUS_OK && loader->api->directory)
		status = config_files_of_api(loader->api, load_fragment, loader, &problems);
	if (status == STATUS_OK && problems.count > 0)
		status = STATUS_REFUSED;
	problems_clear(&problems);
	return status == STATUS_OK || status == STATUS_NO_MEMORY ? status : STATUS_REFUSED;
}

/* ---- what the watch has seen ---- */

/* A file that was no part before, and the part that it stands in front of. */
struct new_file {
	const char *path;
	size_t at;
};

struct changed_files {
	bool *changed; /* by part */
	struct new_file added[CONFIG_CHANGE_COUNT_MAX];
	size_t added_count;
};

/* The patterns of before, and each in a directory of its own: then a file says all that there is to know about it. */
static bool patterns_are_apart(
	const struct loader *loader, const char *path, struct config_directories *ret_directories)
{
	const struct model *main = loader->parts[0]->main, *before = loader->before->parts[0]->main;
	char directory[PATH_MAX];
	const char *name;

	if (main->include_count != before->include_count)
		return false;
	for (size_t i = 0; i < main->include_count; i++) {
		if (strcmp(main->includes[i].pattern, before->includes[i].pattern) != 0 ||
			!config_files_split(path, main->includes[i].pattern, directory, &name))
			return false;
		config_files_note_directory(ret_directories, directory);
	}
	return ret_directories->count == main->include_count;
}

static bool is_in(const char *path, const char *directory, size_t length)
{
	return strncmp(path, directory, length) == 0 && path[length] == '/' && !strchr(path + length + 1, '/');
}

/* Where the directory's files have it by their names; beside the first of them nobody knows. */
static bool find_place(const struct model *before, const char *directory, const char *path, size_t *ret_at)
{
	size_t length = strlen(directory);
	bool found = false;

	for (size_t i = 1; i < before->part_count; i++) {
		const struct config_part *part = before->parts[i];

		if (part->from_api || !is_in(part->path, directory, length))
			continue;
		if (!found || strcmp(part->path, path) < 0)
			*ret_at = strcmp(part->path, path) < 0 ? i + 1 : i;
		found = true;
	}
	return found;
}

/* False: it is not known what becomes of it. A name that no pattern has is nothing. */
static bool note_new(struct loader *loader, const char *main_path, const char *path, struct changed_files *files)
{
	const struct model *main = loader->before->parts[0]->main;
	struct new_file *added = &files->added[files->added_count];
	char directory[PATH_MAX];
	const char *pattern;

	for (size_t i = 0; i < main->include_count; i++) {
		size_t length;

		config_files_split(main_path, main->includes[i].pattern, directory, &pattern);
		length = strlen(directory);
		if (!is_in(path, directory, length) || fnmatch(pattern, path + length + 1, FNM_PERIOD) != 0)
			continue;
		added->path = path;
		files->added_count++;
		return find_place(loader->before, directory, path, &added->at);
	}
	return true;
}

static int compare_new(const void *left, const void *right)
{
	const struct new_file *a = left, *b = right;

	return a->at != b->at ? (a->at > b->at) - (a->at < b->at) : strcmp(a->path, b->path);
}

/* False: all files have to be looked at. `files` holds memory in any case. */
static bool note_changes(struct loader *loader, const char *main_path, struct changed_files *files)
{
	const struct config_changes *changes = loader->api->changes;
	const struct model *before = loader->before;

	files->changed = calloc(before->part_count, sizeof(*files->changed));
	if (!files->changed || !index_before(loader))
		return false;
	for (size_t i = 1; i < before->part_count; i++) {
		if (!before->parts[i]->from_api && (before->parts[i]->linked || !before->parts[i]->on_disk))
			return false;
	}
	for (size_t i = 0; i < changes->count; i++) {
		uint64_t at;

		if (index_find(&loader->before_by_path, changes->paths[i], strlen(changes->paths[i]), &at))
			files->changed[at] = true;
		else if (!note_new(loader, main_path, changes->paths[i], files))
			return false;
	}
	qsort(files->added, files->added_count, sizeof(files->added[0]), compare_new);
	return true;
}

/* As it is now; nothing when it is gone. */
static enum status load_seen(struct loader *loader, const char *path)
{
	const struct config_file file = {.path = path};
	struct stat about;

	if (lstat(path, &about) != 0)
		return errno == ENOENT ? STATUS_OK : STATUS_REFUSED;
	return S_ISREG(about.st_mode) ? load_file(loader, &file, false) : STATUS_REFUSED;
}

static enum status load_changed(struct loader *loader, const struct changed_files *files)
{
	const struct model *before = loader->before;
	enum status status = STATUS_OK;
	size_t next = 0;

	for (size_t i = 1; i <= before->part_count && status == STATUS_OK; i++) {
		for (; next < files->added_count && files->added[next].at == i && status == STATUS_OK; next++)
			status = load_seen(loader, files->added[next].path);
		if (status != STATUS_OK || i == before->part_count)
			break;
		status = files->changed[i] ? load_seen(loader, before->parts[i]->path)
					   : loader_hold(loader, before->parts[i]);
	}
	return status;
}

/* The main file, and of the others what the watch has seen; or all of them, where that is not enough. */
static enum status load_files(struct loader *loader, const char *path, struct config_directories *directories)
{
	const struct config_file main_file = {.path = path};
	enum status status = load_file(loader, &main_file, true);
	struct changed_files files = {0};

	if (status != STATUS_OK)
		return status;
	if (loader->api->changes && !loader->api->changes->unknown && loader->before &&
		patterns_are_apart(loader, path, directories) && note_changes(loader, path, &files)) {
		status = load_changed(loader, &files);
	} else {
		config_directories_clear(directories);
		status = load_fragments(loader, path, directories);
	}
	free(files.changed);
	return status;
}

/* The files as they were, but for the one fragment that changes. Those of the API stand last, by name. */
static enum status load_change(struct loader *loader)
{
	const struct config_api *api = loader->api;
	char path[PATH_MAX];
	const struct config_file file = {.path = path, .text = api->changed_text, .from_api = true};
	bool placed = !api->changed_text;
	enum status status = STATUS_OK;

	if (snprintf(path, sizeof(path), "%s/%s", api->directory, api->changed_name) >= (int)sizeof(path))
		return STATUS_REFUSED;
	for (size_t i = 0; i < loader->before->part_count && status == STATUS_OK; i++) {
		struct config_part *part = loader->before->parts[i];
		int order = part->from_api ? strcmp(part->path, path) : -1;

		if (!placed && order >= 0) {
			status = load_file(loader, &file, false);
			placed = true;
		}
		if (status == STATUS_OK && order != 0)
			status = loader_hold(loader, part);
	}
	if (status == STATUS_OK && !placed)
		status = load_file(loader, &file, false);
	return status;
}

/* ---- one model ---- */

/* Room for what all parts have, and whether it may be put together at all. */
static bool allocate_lists(struct model *model)
{
	const struct field *workspaces = fields_find(&fields_file, "workspaces"),
			   *workers = fields_find(fields_find(&fields_file, "worker_host")->section, "workers");
	struct model_worker_host *host = &model->worker_host;
	bool has_workspaces = false, has_workers = false;

	model->workspace_count = host->worker_count = 0;
	for (size_t i = 0; i < model->part_count; i++) {
		has_workspaces = has_workspaces || model->parts[i]->has_workspaces;
		has_workers = has_workers || model->parts[i]->has_workers;
		model->workspace_count += model->parts[i]->workspace_count;
		host->worker_count += model->parts[i]->worker_count;
	}
	if (!has_workspaces || (has_workers && !host->present) || model->workspace_count > workspaces->max ||
		host->worker_count > workers->max)
		return false;
	model->workspaces = arena_allocate(model->arena, model->workspace_count * sizeof(*model->workspaces));
	host->workers = arena_allocate(model->arena, host->worker_count * sizeof(*host->workers));
	return model->workspaces && host->workers;
}

static void copy_lists(struct model *model)
{
	struct model_workspace *workspace = model->workspaces;
	struct model_worker *worker = model->worker_host.workers;

	for (size_t i = 0; i < model->part_count; i++) {
		const struct config_part *part = model->parts[i];

		if (part->workspace_count)
			memcpy(workspace, part->workspaces, part->workspace_count * sizeof(*workspace));
		if (part->worker_count)
			memcpy(worker, part->workers, part->worker_count * sizeof(*worker));
		workspace += part->workspace_count;
		worker += part->worker_count;
	}
}

/* Takes the loader's parts, also on failure. */
static enum status assemble(struct loader *loader, struct model **ret_model)
{
	struct model *model = calloc(1, sizeof(*model));
	struct problems unused = {0};
	struct model_draft draft = {.model = model,
		.tree = &model_draft_no_tree,
		.unremembered = true,
		.problems = &unused,
		.warnings = &unused};

	if (!model) {
		config_parts_release(loader->parts, loader->count);
		return STATUS_NO_MEMORY;
	}
	*model = *loader->parts[0]->main;
	model->parts = loader->parts;
	model->part_count = loader->count;
	model->arena = calloc(1, sizeof(*model->arena));
	draft.unsound = !model->arena || !allocate_lists(model);
	if (!draft.unsound) {
		copy_lists(model);
		model_check(&draft);
	}
	if (draft.unsound || draft.no_memory) {
		model_free(model);
		return draft.no_memory ? STATUS_NO_MEMORY : STATUS_REFUSED;
	}
	*ret_model = model;
	return STATUS_OK;
}

/* What the files' values themselves were worth a word about, in the files' order. */
static bool repeat_warnings(const struct model *model, struct problems *warnings)
{
	size_t count = warnings->count + warnings->dropped_count;

	for (size_t i = 0; i < model->part_count; i++)
		count += model->parts[i]->warnings.count;
	if (count > PROBLEMS_MAX)
		return false;
	for (size_t i = 0; i < model->part_count; i++) {
		for (size_t j = 0; j < model->parts[i]->warnings.count; j++)
			problems_add(warnings, "%s", model->parts[i]->warnings.lines[j]);
	}
	return true;
}

enum status config_parts_load(const char *path, const struct config_api *api, struct model **ret_model,
	struct config_directories *directories, struct problems *warnings)
{
	struct config_directories found = {
		.noted = directories ? directories->noted : NULL, .context = directories ? directories->context : NULL};
	struct loader loader = {.api = api, .before = api->before};
	struct model *model = NULL;
	enum status status;

	if (loader.before && loader.before->part_count == 0)
		loader.before = NULL;
	if (!api->files_unchanged)
		status = load_files(&loader, path, &found);
	else
		status = loader.before ? load_change(&loader) : STATUS_REFUSED;
	index_clear(&loader.before_by_path);
	index_clear(&loader.paths);
	if (status == STATUS_OK)
		status = assemble(&loader, &model);
	else
		config_parts_release(loader.parts, loader.count);
	if (status == STATUS_OK && !repeat_warnings(model, warnings)) {
		model_free(model);
		status = STATUS_REFUSED;
	}
	if (status != STATUS_OK || !directories) {
		config_directories_clear(&found);
		if (status != STATUS_OK)
			return status;
	} else {
		*directories = found;
	}
	*ret_model = model;
	return STATUS_OK;
}

static int compare_parts(const void *left, const void *right)
{
	uintptr_t a = *(const uintptr_t *)left, b = *(const uintptr_t *)right;

	return a < b ? -1 : a > b;
}

size_t config_parts_new(const struct model *model, const struct model *other)
{
	size_t count = 0, other_count = other ? other->part_count : 0;
	struct config_part **sorted = calloc(other_count + 1, sizeof(struct config_part *));

	if (!sorted)
		return model->part_count;
	if (other_count) {
		memcpy(sorted, other->parts, other_count * sizeof(struct config_part *));
		qsort(sorted, other_count, sizeof(struct config_part *), compare_parts);
	}
	for (size_t i = 0; i < model->part_count; i++)
		count += !other_count ||
			 !bsearch(&model->parts[i], sorted, other_count, sizeof(struct config_part *), compare_parts);
	free(sorted);
	return count;
}
