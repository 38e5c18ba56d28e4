/* SPDX-License-Identifier: Apache-2.0 */
/* control/watch.c on a directory of its own: when it tells of changes, and of which. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <event2/event.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "control/watch.h"

enum { PATH_SIZE_BYTES = 256, TOLD_SIZE_BYTES = 4096, PATIENCE_S = 20 };

struct fixture {
	struct event_base *base;
	struct watch *watch;
	struct event *writer;
	struct config_directories included;
	char directory[64], main[PATH_SIZE_BYTES];
	char told[TOLD_SIZE_BYTES]; /* the names, or "?", of the last call */
	unsigned told_count, written_count;
};

static void told(void *context, const struct config_changes *changes)
{
	struct fixture *fixture = context;

	fixture->told_count++;
	strcpy(fixture->told, changes->unknown ? "?" : "");
	for (size_t i = 0; i < changes->count && !changes->unknown; i++) {
		const char *path = changes->paths[i];

		assert_memory_equal(path, fixture->included.paths[0], strlen(fixture->included.paths[0]));
		strcat(fixture->told, path + strlen(fixture->included.paths[0]));
	}
	event_base_loopbreak(fixture->base);
}

static void put(struct fixture *fixture, const char *name)
{
	char path[PATH_SIZE_BYTES];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", fixture->directory, name);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, "a", 1), 1);
	close(fd);
}

static void put_away(struct fixture *fixture, const char *name)
{
	char path[PATH_SIZE_BYTES];

	snprintf(path, sizeof(path), "%s/%s", fixture->directory, name);
	assert_int_equal(rename(path, fixture->main), 0);
}

static int setup(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));
	struct problems problems = {0};
	char path[PATH_SIZE_BYTES];

	*state = fixture;
	if (!fixture)
		return -1;
	strcpy(fixture->directory, "/tmp/postern-watch-test-XXXXXX");
	fixture->base = event_base_new();
	if (!fixture->base || !mkdtemp(fixture->directory))
		return -1;
	snprintf(fixture->main, sizeof(fixture->main), "%s/postern.yaml", fixture->directory);
	snprintf(path, sizeof(path), "%s/conf.d", fixture->directory);
	if (mkdir(path, 0700) != 0 ||
		watch_open(fixture->base, fixture->main, told, fixture, &fixture->watch, &problems) != STATUS_OK)
		return -1;
	fixture->included.paths[0] = strdup(path);
	fixture->included.count = 1;
	watch_include(fixture->watch, &fixture->included);
	return 0;
}

static int teardown(void **state)
{
	struct fixture *fixture = *state;
	char command[PATH_SIZE_BYTES];

	if (fixture->writer)
		event_free(fixture->writer);
	watch_close(fixture->watch);
	event_base_free(fixture->base);
	config_directories_clear(&fixture->included);
	snprintf(command, sizeof(command), "rm -rf %s", fixture->directory);
	free(fixture);
	return system(command);
}

/* Until the next call. */
static const char *wait_for_told(struct fixture *fixture)
{
	static const struct timeval patience = {.tv_sec = PATIENCE_S};
	unsigned before = fixture->told_count;

	event_base_loopexit(fixture->base, &patience);
	event_base_dispatch(fixture->base);
	assert_int_equal(fixture->told_count, before + 1);
	return fixture->told;
}

static void the_files_that_change_together_are_told_once_and_by_name(void **state)
{
	struct fixture *fixture = *state;

	put(fixture, "conf.d/a.yaml");
	put(fixture, "conf.d/b.yaml");
	put(fixture, "conf.d/a.yaml");
	assert_string_equal(wait_for_told(fixture), "/a.yaml/b.yaml");
	put_away(fixture, "conf.d/b.yaml");
	/* That is a change of the main file, too. */
	assert_string_equal(wait_for_told(fixture), "?");
}

static void a_change_of_the_main_file_is_one_of_anything(void **state)
{
	struct fixture *fixture = *state;

	put(fixture, "conf.d/a.yaml");
	put(fixture, "postern.yaml");
	assert_string_equal(wait_for_told(fixture), "?");
}

/* As Kubernetes turns them, and whoever keeps files in a directory below. */
static void links_and_directories_are_changes_of_anything(void **state)
{
	struct fixture *fixture = *state;
	char path[PATH_SIZE_BYTES];

	snprintf(path, sizeof(path), "%s/conf.d/..data", fixture->directory);
	assert_int_equal(symlink("nowhere", path), 0);
	assert_string_equal(wait_for_told(fixture), "?");
	snprintf(path, sizeof(path), "%s/conf.d/c.yaml", fixture->directory);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_string_equal(wait_for_told(fixture), "?");
}

static void a_directory_by_two_names_is_watched_and_names_no_file(void **state)
{
	struct fixture *fixture = *state;
	char path[PATH_SIZE_BYTES];

	snprintf(path, sizeof(path), "%s/./conf.d", fixture->directory);
	fixture->included.paths[1] = strdup(path);
	fixture->included.count = 2;
	watch_include(fixture->watch, &fixture->included);
	put(fixture, "conf.d/a.yaml");
	assert_string_equal(wait_for_told(fixture), "?");
}

/* Before the first file of it is read. */
static void a_directory_is_watched_from_when_it_is_noted(void **state)
{
	struct fixture *fixture = *state;
	char path[PATH_SIZE_BYTES];

	snprintf(path, sizeof(path), "%s/other.d", fixture->directory);
	assert_int_equal(mkdir(path, 0700), 0);
	watch_directory(fixture->watch, path);
	put(fixture, "other.d/a.yaml");
	fixture->included.paths[1] = fixture->included.paths[0];
	fixture->included.paths[0] = strdup(path);
	fixture->included.count = 2;
	watch_include(fixture->watch, &fixture->included);
	assert_string_equal(wait_for_told(fixture), "/a.yaml");
}

/* Such as while the main file is not valid: else each of its errors would be told twice. */
static void a_directory_that_is_watched_no_more_is_no_change(void **state)
{
	static const struct timeval while_ms = {.tv_usec = 4 * WATCH_BEGUN_QUIET_MS * 1000};
	const struct config_directories none = {{0}};
	struct fixture *fixture = *state;

	watch_include(fixture->watch, &none);
	put(fixture, "conf.d/a.yaml");
	event_base_loopexit(fixture->base, &while_ms);
	event_base_dispatch(fixture->base);
	assert_int_equal(fixture->told_count, 0);
	put(fixture, "postern.yaml");
	assert_string_equal(wait_for_told(fixture), "?");
}

static void write_on(evutil_socket_t fd, short what, void *context)
{
	struct fixture *fixture = context;

	fixture->written_count++;
	put(fixture, "conf.d/busy.yaml");
}

/* Three times as often as would end the wait, in the same thread, so that no load makes a pause of its own. */
static void changes_that_never_pause_are_told_all_the_same(void **state)
{
	static const struct timeval often = {.tv_usec = WATCH_QUIET_MS * 1000 / 3};
	struct fixture *fixture = *state;

	fixture->writer = event_new(fixture->base, -1, EV_PERSIST, write_on, fixture);
	event_add(fixture->writer, &often);
	for (unsigned i = 0; i < 2; i++)
		assert_string_equal(wait_for_told(fixture), "/busy.yaml");
	assert_true(fixture->written_count > 2);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_files_that_change_together_are_told_once_and_by_name),
		TEST(a_change_of_the_main_file_is_one_of_anything),
		TEST(links_and_directories_are_changes_of_anything),
		TEST(a_directory_by_two_names_is_watched_and_names_no_file),
		TEST(a_directory_is_watched_from_when_it_is_noted),
		TEST(a_directory_that_is_watched_no_more_is_no_change),
		TEST(changes_that_never_pause_are_told_all_the_same),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
