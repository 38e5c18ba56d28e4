/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Drains as JSON: for DIR/state/drains.json, and for the API. Thread: posternd's only one.
 */
#ifndef POSTERN_CONTROL_DRAIN_FILE_H
#define POSTERN_CONTROL_DRAIN_FILE_H

#include <jansson.h>

#include "control/drain.h"

/* malloc'ed; NULL: no memory. */
char *drains_encode(const struct drains *drains);

/* NULL: good. Else why the bytes are of no use; then there are no drains. Any bytes may come. */
const char *drains_decode(const char *text, size_t length_bytes, struct drains *ret_drains);

/* `now_s`: for the seconds that are left. NULL: no memory. */
json_t *drain_json(const struct drain *drain, uint64_t now_s);

#endif
