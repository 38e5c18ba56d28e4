/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fragments: the further files of a configuration, merged into the tree of its main file.
 *
 * The main file's `include` names them; a relative pattern starts at the main file's directory, and only the last part
 * of it may have wildcards. After them come the fragments that the API wrote, from a
 * directory of its own. A fragment has `workspaces` and `worker_host.workers` and nothing else; it includes no others.
 * Its elements stand behind the main file's, in the order of the patterns, then of the names (as bytes); a file that
 * two patterns match counts once. Nodes keep the tree, line and path of their own file, for messages and sources.
 *
 * Files are read as the main one is: symbolic links are followed, anything that is not a regular file is an error.
 * Owner: config_load(). Thread: any one at a time. Limits: FRAGMENT_COUNT_MAX files of config_file_size_max(), and all
 * of them and the main file together YAML_TOTAL_SIZE_MAX_BYTES.
 */
#ifndef POSTERN_CONTROL_FRAGMENTS_H
#define POSTERN_CONTROL_FRAGMENTS_H

#include <stddef.h>

#include "control/index.h"
#include "control/model.h"
#include "control/yaml_tree.h"

enum { FRAGMENT_COUNT_MAX = 16384 };

/* All zero is empty. */
struct fragments {
	struct yaml_tree **trees;
	size_t count, capacity;
	size_t size_bytes; /* read so far, the main file's too */
	struct hash_index paths;
	const struct config_api *api; /* while loading */
};

/*
 * Reads what `main` includes and what the API wants (NULL: nothing; a directory that is not there: nothing), and
 * merges it. `main_size_bytes`: what was read already. `directories` (may be NULL): the included ones are added, also
 * when one of them is missing or a file in it is wrong. STATUS_OK although problems were added: the rest is worth a
 * look. The trees must live as long as `main`.
 */
enum status fragments_load(struct yaml_tree *main, size_t main_size_bytes, const struct config_api *api,
	struct fragments *fragments, struct config_directories *directories, struct problems *problems);

void fragments_clear(struct fragments *fragments);

#endif
