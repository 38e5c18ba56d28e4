/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What posternd remembers over restarts, in DIR/state: the generation, the last configuration that was put in force,
 * who has which ports of the shared pool, and which counter of the classifier belongs to which workspace. Every file is
 * written whole: write, fsync, rename.
 *
 * Owner: the daemon; one process per run directory (a lock sees to it). Thread: posternd's only one.
 */
#ifndef POSTERN_CONTROL_STATE_H
#define POSTERN_CONTROL_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "control/status.h"

struct shared_pool_table;
struct state;

/* Creates DIR and DIR/state when they are missing, and takes the lock. */
enum status state_open(const char *run_dir, struct state **ret_state, struct problems *problems);
void state_close(struct state *state);

/*
 * A number greater than every one given before, and than `floor`. It is on disk before it is returned; STATUS_SYSTEM
 * when it could not be written, since a generation that may be given twice is none.
 */
enum status state_generation_next(
	struct state *state, uint64_t floor, uint64_t *ret_generation, struct problems *problems);

/* DIR/state, for journals. */
const char *state_directory(const struct state *state);

/* DIR/state/last-good.yaml */
const char *state_last_good_path(const struct state *state);

/* DIR/state/api.d, whose *.json are merged behind the configuration's files; it need not be there. */
const char *state_api_path(const struct state *state);

/* The fragment of that name in it: afterwards as `text` says (NULL: gone), or as before. Also after a crash. */
enum status state_save_api_fragment(struct state *state, const char *name, const char *text, struct problems *problems);

bool state_has_last_good(const struct state *state);
enum status state_save_last_good(struct state *state, const char *text, struct problems *problems);

/*
 * The classifier's counter index of a workspace, below BPF_WORKSPACE_COUNT_MAX: stays the same over reloads and
 * restarts, so that nobody's traffic is counted as another's. A round: state_workspace_index() for every workspace that
 * has a worker here, state_save_workspace_indexes(), classifier_apply(), and when that went well
 * state_release_workspace_indexes(): who was not asked for has no program counting for it any more, and its index may
 * go to another from the next round on. `ret_is_new`: its counter may hold what an earlier owner left. STATUS_REFUSED:
 * none is free.
 */
enum status state_workspace_index(struct state *state, const char *workspace, uint32_t *ret_index, bool *ret_is_new);
enum status state_save_workspace_indexes(struct state *state, struct problems *problems);
enum status state_release_workspace_indexes(struct state *state, struct problems *problems);

/* Whose index it is; "": nobody's. Valid until the next call that changes an index. */
const char *state_workspace_of_index(const struct state *state, uint32_t index);

/* Only looks; false: it has none. */
bool state_find_workspace_index(const struct state *state, const char *workspace, uint32_t *ret_index);

/* The gateways that an operator has taken down; lines that make no sense are left out. */
size_t state_load_gateways_down(const struct state *state, uint32_t *ret_addresses, size_t count_max);
enum status state_save_gateways_down(
	struct state *state, const uint32_t *addresses, size_t count, struct problems *problems);
/* Until when a change is to be confirmed: Unix seconds, 0: none, or unknown. `problems` may be NULL. */
uint64_t state_load_confirm_deadline(struct state *state);
enum status state_save_confirm_deadline(struct state *state, uint64_t deadline_s, struct problems *problems);

/* DIR/state/drains.json, of any content; malloc'ed. NULL with errno: it can not be read, ENOENT when there is none. */
char *state_load_drains(struct state *state, size_t *ret_length_bytes);
enum status state_save_drains(struct state *state, const char *text, struct problems *problems);

/*
 * The shared pool's table. A file that is missing though there should be one, or can not be understood, gives an empty
 * table and a warning: it is no reason to stay away. Saving what is there already writes nothing.
 */
enum status state_load_shared_pool(struct state *state, struct shared_pool_table *ret_table, struct problems *warnings);
enum status state_save_shared_pool(
	struct state *state, const struct shared_pool_table *table, struct problems *problems);

#endif
