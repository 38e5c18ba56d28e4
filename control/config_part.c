/* SPDX-License-Identifier: Apache-2.0 */
#include "control/config_part.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "control/model_parse.h"
#include "control/yaml_tree.h"

/* A file's times are as coarse as the kernel's tick: one that was changed so shortly before it was read may have been
 * changed again since, and look the same. */
enum { SETTLED_NS = 1000000000 };

void config_part_release(struct config_part *part)
{
	if (!part || --part->reference_count > 0)
		return;
	problems_clear(&part->warnings);
	arena_clear(&part->arena);
	free(part);
}

static bool is_before(const struct timespec *a, const struct timespec *b, int64_t margin_ns)
{
	return (int64_t)(b->tv_sec - a->tv_sec) * 1000000000 + (b->tv_nsec - a->tv_nsec) > margin_ns;
}

bool config_part_holds(const struct config_part *part)
{
	const struct stat *was = &part->stamp.about;
	struct stat now;

	return stat(part->path, &now) == 0 && now.st_dev == was->st_dev && now.st_ino == was->st_ino &&
	       now.st_size == was->st_size && now.st_mode == was->st_mode &&
	       memcmp(&now.st_mtim, &was->st_mtim, sizeof(now.st_mtim)) == 0 &&
	       memcmp(&now.st_ctim, &was->st_ctim, sizeof(now.st_ctim)) == 0 &&
	       is_before(&was->st_ctim, &part->stamp.read_at, SETTLED_NS);
}

/*
 * What the tree says, into the part. False: it is not plainly right. A fragment's model is `scratch`: ten thousand of them
 * would be most of what the parts need, and their lists are all that counts.
 */
static bool part_take(
	struct config_part *part, struct yaml_tree *tree, struct model *scratch, struct problems *problems)
{
	struct model *model = scratch ? scratch : arena_allocate(&part->arena, sizeof(*model));
	struct model_draft draft = {
		.model = model, .tree = tree, .unremembered = true, .problems = problems, .warnings = &part->warnings};

	if (!model)
		return false;
	model->arena = &part->arena;
	model->file = tree->file = part->path;
	tree->from_api = part->from_api;
	part->has_workspaces = tree->root->kind == YAML_MAPPING && yaml_node_child(tree->root, "workspaces");
	if (scratch) {
		model_parse_fragment(&draft);
		part->has_workers = model->worker_host.present;
	} else {
		/* They may all be in other files. */
		if (!part->has_workspaces && tree->root->kind == YAML_MAPPING)
			draft.no_memory = !yaml_tree_append_list(tree, tree->root, "workspaces");
		if (!draft.no_memory)
			model_parse(&draft);
		part->main = model;
	}
	part->workspaces = model->workspaces;
	part->workspace_count = model->workspace_count;
	part->workers = model->worker_host.workers;
	part->worker_count = model->worker_host.worker_count;
	return !draft.no_memory && !draft.unsound;
}

/* STATUS_REFUSED: not plainly right. */
static enum status part_parse(const struct config_file *file, bool is_main, const char *bytes, size_t size_bytes,
	struct config_part **ret_part)
{
	struct config_part *part = calloc(1, sizeof(*part));
	struct problems problems = {0};
	struct model scratch = {0};
	struct yaml_tree *tree = NULL;
	bool sound = false;

	if (!part)
		return STATUS_NO_MEMORY;
	part->reference_count = 1;
	part->from_api = file->from_api;
	part->size_bytes = size_bytes;
	part->path = arena_copy_text(&part->arena, file->path, strlen(file->path));
	if (part->path && yaml_tree_parse(file->path, bytes, size_bytes, &tree, &problems) == STATUS_OK)
		sound = part_take(part, tree, is_main ? NULL : &scratch, &problems);
	yaml_tree_free(tree);
	sound = sound && problems.count == 0 && problems.dropped_count == 0 && part->warnings.dropped_count == 0;
	problems_clear(&problems);
	if (!sound) {
		config_part_release(part);
		return STATUS_REFUSED;
	}
	*ret_part = part;
	return STATUS_OK;
}

enum status config_part_read(
	const struct config_api *api, const struct config_file *file, bool is_main, struct config_part **ret_part)
{
	struct problems problems = {0};
	struct config_part_stamp stamp = {0};
	char *bytes = NULL;
	size_t size_bytes = 0;
	enum status status;

	if (file->text)
		return part_parse(file, is_main, file->text, strlen(file->text), ret_part);
	clock_gettime(CLOCK_REALTIME, &stamp.read_at);
	status = yaml_tree_read_file_about(
		file->path, config_file_size_max(api), &bytes, &size_bytes, &stamp.about, &problems);
	problems_clear(&problems);
	if (status != STATUS_OK)
		return status == STATUS_NO_MEMORY ? status : STATUS_REFUSED;
	status = part_parse(file, is_main, bytes, size_bytes, ret_part);
	free(bytes);
	if (status == STATUS_OK) {
		(*ret_part)->stamp = stamp;
		(*ret_part)->on_disk = true;
		(*ret_part)->linked = file->linked || stamp.about.st_nlink > 1;
	}
	return status;
}
