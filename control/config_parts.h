/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Parts: what each file of a configuration says, read alone. So a change of one file of many reads that one.
 *
 * A model that was put together from parts holds them. The next load takes from it those whose files are what they
 * were (device, inode, size and times), reads the others, and checks the rules across values over the whole. It knows
 * no lines any more, and says nothing but yes: what is not plainly right is left to config_load_all()'s other way,
 * which reads everything, and tells what is wrong and where. Both ways accept the same and make equal models, which
 * tests/control/parts_test.c holds against each other.
 *
 * Parts are immutable and counted. Owner: the models that hold them. Thread: any one at a time.
 */
#ifndef POSTERN_CONTROL_CONFIG_PARTS_H
#define POSTERN_CONTROL_CONFIG_PARTS_H

#include "control/model.h"
#include "control/status.h"

/*
 * As config_load_all(), with `api->parts` set. STATUS_REFUSED: it has to be read the other way; nothing was added to
 * `directories` and `warnings`.
 */
enum status config_parts_load(const char *path, const struct config_api *api, struct model **ret_model,
	struct config_directories *directories, struct problems *warnings);

/* The model's hold on its parts ends; NULL is fine. */
void config_parts_release(struct config_part **parts, size_t count);

/* How many of the model's parts `other` (may be NULL) has not: what was read for it. */
size_t config_parts_new(const struct model *model, const struct model *other);

#endif
