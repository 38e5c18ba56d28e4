/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every file of a directory: NAME.err.yaml must give exactly the lines of NAME.err.txt, NAME.ok.yaml must load, print
 * to a file that loads to the same, and, when there is a NAME.ok.txt, print exactly that. One test per file.
 */
#include "tests/control/check.h"

#include <dirent.h>

enum { FILE_COUNT_MAX = 1000, PATH_SIZE_BYTES = 1024 };

struct golden {
	char directory[512];
	char name[256]; /* "duplicate_vni.err.yaml" */
};

static char *read_golden(const struct golden *golden, const char *name, size_t *ret_size_bytes)
{
	char path[PATH_SIZE_BYTES];

	snprintf(path, sizeof(path), "%s/%s", golden->directory, name);
	return check_read(path, ret_size_bytes);
}

/* "NAME.err.yaml" → "NAME.err.txt" */
static void expected_name(const struct golden *golden, char ret_name[256])
{
	size_t length = strlen(golden->name) - strlen("yaml");

	snprintf(ret_name, 256, "%.*stxt", (int)length, golden->name);
}

static char *join_lines(const struct problems *problems)
{
	char *text = NULL;
	size_t size_bytes = 0;
	FILE *out = open_memstream(&text, &size_bytes);

	assert_non_null(out);
	for (size_t i = 0; i < problems->count; i++)
		fprintf(out, "%s\n", problems->lines[i]);
	fclose(out);
	return text;
}

static void file_gives_exactly_the_expected_errors(void **state)
{
	const struct golden *golden = *state;
	struct problems problems = {0}, warnings = {0};
	struct model *model = NULL;
	size_t size_bytes = 0, expected_size_bytes = 0;
	char *bytes = read_golden(golden, golden->name, &size_bytes), name[256], *expected, *lines;

	expected_name(golden, name);
	expected = read_golden(golden, name, &expected_size_bytes);
	assert_int_equal(config_parse(golden->name, bytes, size_bytes, &model, &problems, &warnings), STATUS_INVALID);
	assert_null(model);
	lines = join_lines(&problems);
	assert_string_equal(lines, expected);
	assert_true(expected_size_bytes > 0);
	problems_clear(&problems);
	problems_clear(&warnings);
	free(lines);
	free(expected);
	free(bytes);
}

static void file_loads_and_prints_a_file_that_loads_to_the_same(void **state)
{
	const struct golden *golden = *state;
	size_t size_bytes = 0;
	char *bytes = read_golden(golden, golden->name, &size_bytes), *printed, *printed_again, name[256],
	     path[PATH_SIZE_BYTES];
	struct model *model = check_load(bytes), *reloaded;
	FILE *expected_file;

	printed = model_print(model);
	assert_non_null(printed);
	reloaded = check_load(printed);
	printed_again = model_print(reloaded);
	assert_string_equal(printed, printed_again);
	expected_name(golden, name);
	snprintf(path, sizeof(path), "%s/%s", golden->directory, name);
	expected_file = fopen(path, "r");
	if (expected_file) {
		char *expected = check_read(path, &size_bytes);

		fclose(expected_file);
		assert_string_equal(printed, expected);
		free(expected);
	}
	model_free(model);
	model_free(reloaded);
	free(printed);
	free(printed_again);
	free(bytes);
}

static bool ends_with(const char *text, const char *end)
{
	size_t length = strlen(text), end_length = strlen(end);

	return length >= end_length && strcmp(text + length - end_length, end) == 0;
}

static int is_golden(const struct dirent *entry)
{
	return ends_with(entry->d_name, ".err.yaml") || ends_with(entry->d_name, ".ok.yaml");
}

int main(int argc, char **argv)
{
	static struct golden files[FILE_COUNT_MAX];
	static struct CMUnitTest tests[FILE_COUNT_MAX];
	struct dirent **entries;
	int count, failed;

	cmocka_set_message_output(CM_OUTPUT_TAP);
	count = argc == 2 ? scandir(argv[1], &entries, is_golden, alphasort) : -1;
	if (count < 1 || count > FILE_COUNT_MAX) {
		fprintf(stderr, "usage: golden_test DIRECTORY, with at least one golden file in it\n");
		return 2;
	}
	for (int i = 0; i < count; i++) {
		snprintf(files[i].directory, sizeof(files[i].directory), "%s", argv[1]);
		snprintf(files[i].name, sizeof(files[i].name), "%s", entries[i]->d_name);
		tests[i] = (struct CMUnitTest){.name = files[i].name,
			.test_func = ends_with(files[i].name, ".err.yaml")
					     ? file_gives_exactly_the_expected_errors
					     : file_loads_and_prints_a_file_that_loads_to_the_same,
			.initial_state = &files[i]};
		free(entries[i]);
	}
	free(entries);
	failed = _cmocka_run_group_tests("golden", tests, (size_t)count, NULL, NULL);
	return failed ? 1 : 0;
}
