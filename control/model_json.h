/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Parts of the model as JSON, by the field table: what the API shows is what it takes, and what a file may say. Numbers
 * are numbers, booleans booleans, everything with a unit or a form of its own is a string. Pure; any thread.
 */
#ifndef POSTERN_CONTROL_MODEL_JSON_H
#define POSTERN_CONTROL_MODEL_JSON_H

#include <jansson.h>

#include "control/fields.h"
#include "control/model.h"

/* With the defaults written out. NULL: no memory. */
json_t *model_workspace_json(const struct model_workspace *workspace);

/* The section of the field table that describes a workspace. */
const struct field_section *model_workspace_section(void);

#endif
