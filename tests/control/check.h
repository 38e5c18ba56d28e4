/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of the configuration share: loading text that must load, and reading files. */
#ifndef POSTERN_TESTS_CONTROL_CHECK_H
#define POSTERN_TESTS_CONTROL_CHECK_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "control/model.h"

#define CHECK_GATEWAY                                                                                                  \
	"version: 1\n"                                                                                                 \
	"gateway:\n"                                                                                                   \
	"  inside: { interface: inside0, trusted_vteps: [10.100.0.0/24] }\n"                                           \
	"  outside: { interface: outside0 }\n"

/* Fails the test, with the problems, when the text does not load. */
static inline struct model *check_load(const char *text)
{
	struct problems problems = {0}, warnings = {0};
	struct model *model = NULL;
	enum status status = config_parse("test.yaml", text, strlen(text), &model, &problems, &warnings);

	for (size_t i = 0; i < problems.count; i++)
		print_message("# %s\n", problems.lines[i]);
	problems_clear(&problems);
	problems_clear(&warnings);
	assert_int_equal(status, STATUS_OK);
	assert_non_null(model);
	return model;
}

/* The file's bytes with a NUL behind, malloc'ed. */
static inline char *check_read(const char *path, size_t *ret_size_bytes)
{
	FILE *file = fopen(path, "rb");
	char *bytes;
	long size;

	if (!file)
		fail_msg("%s can not be opened", path);
	assert_int_equal(fseek(file, 0, SEEK_END), 0);
	size = ftell(file);
	assert_true(size >= 0);
	rewind(file);
	bytes = malloc((size_t)size + 1);
	assert_non_null(bytes);
	assert_int_equal(fread(bytes, 1, (size_t)size, file), (size_t)size);
	bytes[size] = '\0';
	fclose(file);
	*ret_size_bytes = (size_t)size;
	return bytes;
}

#endif
