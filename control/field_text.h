/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a text in the configuration may be: names, paths, patterns, roles. A text that was found good is shorter than its
 * place in the model. Owner: none. Thread: any.
 */
#ifndef POSTERN_CONTROL_FIELD_TEXT_H
#define POSTERN_CONTROL_FIELD_TEXT_H

#include "control/fields.h"

/*
 * NULL: good. Else what to add to what is allowed, maybe "". `type`: FIELD_ID, FIELD_INTERFACE, FIELD_DEVICE, FIELD_PATTERN,
 * FIELD_INTERFACES, FIELD_PATH, FIELD_TEXT, FIELD_SAN, FIELD_ROLE or FIELD_ENDPOINT.
 */
const char *field_text_check(enum field_type type, const char *text);

#endif
