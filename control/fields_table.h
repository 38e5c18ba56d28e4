/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the field table share: control/fields_table.c, which has the file's own keys, and one file for each
 * section that it leads to, control/fields_gateway.c, fields_workspace.c, fields_worker_host.c and fields_api.c. How to
 * read a line of them: struct field in control/fields.h, which is for everybody else. Constants; any thread.
 */
#ifndef POSTERN_CONTROL_FIELDS_TABLE_H
#define POSTERN_CONTROL_FIELDS_TABLE_H

#include <assert.h>

#include "control/fields.h"
#include "control/model.h"

enum {
	FIELD_VNI_MAX = (1 << 24) - 1,
	FIELD_TIMER_MAX_S = 7 * 86400,
};

extern const struct field_section fields_gateway;     /* of struct model_gateway */
extern const struct field_section fields_workspace;   /* of struct model_workspace, a list's element */
extern const struct field_section fields_worker_host; /* of struct model_worker_host */
extern const struct field_section fields_api;	      /* of struct model */

/* Where a value lies in the record, and how wide it is. */
#define VALUE(record, member)                                                                                          \
	.offset = offsetof(record, member), .size_bytes = (uint8_t)sizeof(((record *)0)->member),                      \
	.present_offset = FIELD_NOWHERE
#define VALUE_OPTIONAL(record, member, present)                                                                        \
	.offset = offsetof(record, member), .size_bytes = (uint8_t)sizeof(((record *)0)->member),                      \
	.present_offset = offsetof(record, present)
#define LIST(record, member, member_count)                                                                             \
	.list = true, .offset = offsetof(record, member), .count_offset = offsetof(record, member_count),              \
	.present_offset = FIELD_NOWHERE
#define LIST_OPTIONAL(record, member, member_count, present)                                                           \
	.list = true, .offset = offsetof(record, member), .count_offset = offsetof(record, member_count),              \
	.present_offset = offsetof(record, present)
#define LIST_OF_ONE(record, member)                                                                                    \
	.list = true, .offset = offsetof(record, member), .count_offset = FIELD_NOWHERE,                               \
	.present_offset = FIELD_NOWHERE, .min = 1, .max = 1
/* A section whose values lie in the same record as it does. */
#define MAP_INLINE(its_section)                                                                                        \
	.type = FIELD_MAP, .section = &(its_section), .offset = 0, .present_offset = FIELD_NOWHERE
#define RANGE(low, high) .min = (low), .max = (high)
#define ADVISED(low, reason) .advised_min = (low), .advised_by = (reason)

/* One that another file of the table leads to; and one of this file alone. */
#define EXTERN_SECTION(name, its_path, its_fields, record, its_source, its_doc)                                        \
	const struct field_section name = {.path = (its_path),                                                         \
		.doc = (its_doc),                                                                                      \
		.fields = (its_fields),                                                                                \
		.field_count = sizeof(its_fields) / sizeof((its_fields)[0]),                                           \
		.record_size_bytes = sizeof(record),                                                                   \
		.source_offset = (its_source)};                                                                        \
	static_assert(sizeof(its_fields) / sizeof((its_fields)[0]) <= FIELD_COUNT_PER_SECTION_MAX, "field table")
#define SECTION(name, its_path, its_fields, record, its_source, its_doc)                                               \
	static EXTERN_SECTION(name, its_path, its_fields, record, its_source, its_doc)

#endif
