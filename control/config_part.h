/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A part: what one file of a configuration says, read alone, and what tells whether that is still so. Inner to
 * control/config_parts.c, which puts models together from parts.
 *
 * Immutable and counted. Owner: the models that hold it. Thread: any one at a time.
 */
#ifndef POSTERN_CONTROL_CONFIG_PART_H
#define POSTERN_CONTROL_CONFIG_PART_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>
#include <time.h>

#include "control/arena.h"
#include "control/config_files.h"
#include "control/model.h"
#include "control/status.h"

/* What tells a file from what it was. */
struct config_part_stamp {
	struct stat about;
	struct timespec read_at;
};

struct config_part {
	unsigned reference_count;
	struct config_part_stamp stamp; /* unused when it was not read from disk */
	bool on_disk, from_api;
	bool linked;			  /* control/config_files.h; or the file has another name, too */
	bool has_workspaces, has_workers; /* the keys, whatever is in them */
	struct model *main;		  /* of the main file: all that it says; NULL: a fragment */
	const char *path;
	struct model_workspace *workspaces;
	size_t workspace_count;
	struct model_worker *workers;
	size_t worker_count;
	size_t size_bytes; /* of the file */
	struct problems warnings;
	struct arena arena;
};

/* STATUS_REFUSED: not plainly right, or it can not be read. One reference. */
enum status config_part_read(
	const struct config_api *api, const struct config_file *file, bool is_main, struct config_part **ret_part);

/* Is the file that it was read from what it was, by a look at it? */
bool config_part_holds(const struct config_part *part);

void config_part_release(struct config_part *part); /* NULL is fine */

#endif
