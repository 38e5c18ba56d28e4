/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which files make up a configuration, and in which order: those that a pattern of the main file's `include` names, and
 * the fragments that the API wrote, each list by the names as bytes. Files are named here and not read.
 *
 * Owner: nobody; stateless. Thread: any one at a time. Limits: paths below PATH_MAX.
 */
#ifndef POSTERN_CONTROL_CONFIG_FILES_H
#define POSTERN_CONTROL_CONFIG_FILES_H

#include <limits.h>

#include "control/model.h"
#include "control/status.h"

struct config_file {
	const char *path;
	const char *text; /* what it shall hold, instead of what is on disk; NULL: read it */
	bool from_api;
	bool linked; /* it may be a link, or is not known not to be one: what it leads to can change unseen */
};

/* STATUS_INVALID: no more of this list, which is no error of the walk; any other than OK ends it. */
typedef enum status config_file_fn(void *context, const struct config_file *file);

enum { CONFIG_FILES_WHY_SIZE_BYTES = 256 };

/*
 * The files of one pattern; a relative one starts at the main file's directory, and only the last part of it may have
 * wildcards. `directories` (may be NULL): its directory is added, whatever becomes of it. STATUS_SYSTEM: the directory
 * is of no use, `ret_why`.
 */
enum status config_files_of_pattern(const char *main_file, const char *pattern, config_file_fn *each, void *context,
	struct config_directories *directories, char ret_why[CONFIG_FILES_WHY_SIZE_BYTES], struct problems *problems);

/*
 * The directory of a pattern, and what the names in it are like. False: the path is too long. And its place among those
 * to be watched; NULL: there are none.
 */
bool config_files_split(
	const char *main_file, const char *pattern, char ret_directory[PATH_MAX], const char **ret_name);
void config_files_note_directory(struct config_directories *directories, const char *path);

/* The API's fragments, as they are with the change that `api` speaks of; its directory need not be there. */
enum status config_files_of_api(
	const struct config_api *api, config_file_fn *each, void *context, struct problems *problems);

#endif
