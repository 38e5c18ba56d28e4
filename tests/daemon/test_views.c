/* SPDX-License-Identifier: Apache-2.0 */
/* control/counters_view.c and control/sessions_view.c: what another process gives is checked before it is read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <sys/mman.h>
#include <unistd.h>

#include "control/counters_view.h"
#include "control/sessions_view.h"

/* A memfd with the bytes, as long as `size_bytes`. */
static int file_of(const void *bytes, size_t length_bytes, size_t size_bytes)
{
	int fd = memfd_create("test", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)size_bytes), 0);
	if (length_bytes > 0)
		assert_int_equal(pwrite(fd, bytes, length_bytes, 0), length_bytes);
	return fd;
}

static const size_t counters_bytes = sizeof(struct counters) + 2 * sizeof(struct counters_shard);

static struct counters *counters_new(void)
{
	struct counters *counters = aligned_alloc(4096, counters_bytes);

	assert_non_null(counters);
	memset(counters, 0, counters_bytes);
	counters->magic = COUNTERS_MAGIC;
	counters->version = COUNTERS_VERSION;
	counters->size_bytes = counters_bytes;
	counters->shard_count = 2;
	return counters;
}

static void counters_are_summed_over_the_shards(void **state)
{
	struct counters *counters = counters_new();
	struct counters_view view = {0};
	struct counters_total total;
	struct counters_workspace workspace;
	struct problems problems = {0};
	char id[ID_SIZE_BYTES];

	counters->shards[0].sessions_active = 3;
	counters->shards[1].sessions_active = 4;
	counters->shards[0].drops[PORT_OUTSIDE][DROP_NOT_OURS] = 5;
	counters->shards[1].drops[PORT_OUTSIDE][DROP_NOT_OURS] = 6;
	counters->shards[1].ports[PORT_INSIDE].rx_bytes = 9;
	counters->shards[0].workspaces[17].out_packets = 1;
	counters->shards[1].workspaces[17].out_packets = 2;
	memset(counters->names[17].id, 'w', ID_SIZE_BYTES); /* without an end */
	assert_int_equal(
		counters_view_open(file_of(counters, counters_bytes, counters_bytes), &view, &problems), STATUS_OK);
	counters_view_total(&view, &total);
	assert_int_equal(total.sessions_active, 7);
	assert_int_equal(total.drops[PORT_OUTSIDE][DROP_NOT_OURS], 11);
	assert_int_equal(total.ports[PORT_INSIDE].rx_bytes, 9);
	counters_view_workspace(&view, 17, &workspace);
	assert_int_equal(workspace.out_packets, 3);
	assert_true(counters_view_name(&view, 17, id));
	assert_int_equal(strlen(id), ID_SIZE_BYTES - 1);
	assert_false(counters_view_name(&view, 18, id));
	assert_false(counters_view_name(&view, UINT32_MAX, id));
	counters_view_close(&view);
	free(counters);
}

static void no_counters_read_as_zero(void **state)
{
	struct counters_view view = {0};
	struct counters_total total;
	char id[ID_SIZE_BYTES];

	counters_view_total(&view, &total);
	assert_int_equal(total.sessions_active, 0);
	assert_false(counters_view_name(&view, 0, id));
}

static void counters_of_a_wrong_shape_are_refused(void **state)
{
	struct counters *counters = counters_new();
	struct counters_view view = {0};
	struct problems problems = {0};

	assert_int_equal(counters_view_open(file_of(NULL, 0, 0), &view, &problems), STATUS_INVALID);
	assert_int_equal(counters_view_open(file_of(counters, 64, 64), &view, &problems), STATUS_INVALID);
	assert_int_equal(
		counters_view_open(file_of(counters, counters_bytes - 1, counters_bytes - 1), &view, &problems),
		STATUS_INVALID);
	counters->shard_count = 0;
	assert_int_equal(counters_view_open(file_of(counters, counters_bytes, counters_bytes), &view, &problems),
		STATUS_INVALID);
	counters->shard_count = UINT32_MAX;
	assert_int_equal(counters_view_open(file_of(counters, counters_bytes, counters_bytes), &view, &problems),
		STATUS_INVALID);
	counters->shard_count = 2;
	counters->version++;
	assert_int_equal(counters_view_open(file_of(counters, counters_bytes, counters_bytes), &view, &problems),
		STATUS_INVALID);
	assert_null(view.counters);
	problems_clear(&problems);
	free(counters);
}

enum { SESSIONS_MAX = 5000 };

struct sessions_image {
	struct sessions_file file;
	char padding[4096 - sizeof(struct sessions_file) % 4096];
	struct session shards[2][SESSIONS_MAX];
};

static struct sessions_image *sessions_new(void)
{
	struct sessions_image *image = calloc(1, sizeof(*image));

	assert_non_null(image);
	image->file.magic = SESSIONS_MAGIC;
	image->file.version = SESSIONS_VERSION;
	image->file.size_bytes = sizeof(*image);
	image->file.shard_count = 2;
	image->file.record_size_bytes = sizeof(struct session);
	image->file.sessions_max = SESSIONS_MAX;
	image->file.tick_origin_monotonic_ns = 1000;
	for (unsigned i = 0; i < 2; i++)
		image->file.shard_offset_bytes[i] = (uint64_t)((char *)image->shards[i] - (char *)image);
	return image;
}

struct taken {
	unsigned count, limit;
	uint64_t inside_sum;
};

static bool match_port_53(const struct session *session, void *context)
{
	return session->remote_port == 53;
}

static bool take(const struct session *session, void *context)
{
	struct taken *taken = context;

	taken->count++;
	taken->inside_sum += session->inside_address;
	return taken->count < taken->limit;
}

static void sessions_are_found_in_every_shard(void **state)
{
	struct sessions_image *image = sessions_new();
	struct sessions_view view = SESSIONS_VIEW_NONE;
	struct taken taken = {.limit = 100};
	struct problems problems = {0};

	image->shards[0][0] = (struct session){.state = SESSION_UDP, .remote_port = 53, .inside_address = 1};
	image->shards[0][4999] = (struct session){.state = SESSION_UDP, .remote_port = 53, .inside_address = 10};
	image->shards[1][4097] = (struct session){.state = SESSION_UDP, .remote_port = 53, .inside_address = 100};
	image->shards[1][1] = (struct session){.state = SESSION_FREE, .remote_port = 53, .inside_address = 1000};
	image->shards[1][2] = (struct session){.state = 200, .remote_port = 53, .inside_address = 1000};
	image->shards[1][3] = (struct session){.state = SESSION_UDP, .remote_port = 80, .inside_address = 1000};
	assert_int_equal(
		sessions_view_open(file_of(image, sizeof(*image), sizeof(*image)), &view, &problems), STATUS_OK);
	assert_true(sessions_view_scan(&view, match_port_53, take, &taken));
	assert_int_equal(taken.count, 3);
	assert_int_equal(taken.inside_sum, 111);
	taken = (struct taken){.limit = 2};
	sessions_view_scan(&view, match_port_53, take, &taken);
	assert_int_equal(taken.count, 2);
	assert_true(sessions_view_age_s(&view, 0, 1000000001000ull) > 999.9);
	assert_true(sessions_view_age_s(&view, UINT32_MAX, 1000) == 0);
	sessions_view_close(&view);
	free(image);
}

static void a_session_file_that_shrinks_shortens_the_answer(void **state)
{
	struct sessions_image *image = sessions_new();
	struct sessions_view view = SESSIONS_VIEW_NONE;
	struct taken taken = {.limit = 100};
	struct problems problems = {0};
	int fd = file_of(image, sizeof(*image), sizeof(*image)), writer = dup(fd);

	assert_int_equal(sessions_view_open(fd, &view, &problems), STATUS_OK);
	assert_int_equal(ftruncate(writer, 8192), 0);
	assert_false(sessions_view_scan(&view, match_port_53, take, &taken));
	assert_int_equal(taken.count, 0);
	sessions_view_close(&view);
	assert_false(sessions_view_scan(&view, match_port_53, take, &taken));
	close(writer);
	free(image);
}

static void session_files_of_a_wrong_shape_are_refused(void **state)
{
	struct sessions_image *image = sessions_new();
	struct sessions_view view = SESSIONS_VIEW_NONE;
	struct problems problems = {0};

#define REFUSED(change)                                                                                                \
	do {                                                                                                           \
		struct sessions_file good = image->file;                                                               \
		change;                                                                                                \
		assert_int_equal(sessions_view_open(file_of(image, sizeof(*image), sizeof(*image)), &view, &problems), \
			STATUS_INVALID);                                                                               \
		image->file = good;                                                                                    \
	} while (0)
	REFUSED(image->file.magic++);
	REFUSED(image->file.version++);
	REFUSED(image->file.shard_count = 0);
	REFUSED(image->file.shard_count = 3);
	REFUSED(image->file.shard_count = UINT32_MAX);
	REFUSED(image->file.record_size_bytes = 128);
	REFUSED(image->file.sessions_max = 0);
	REFUSED(image->file.sessions_max++);
	REFUSED(image->file.sessions_max = UINT64_MAX / 64 + 1);
	REFUSED(image->file.shard_offset_bytes[1] = UINT64_MAX);
	REFUSED(image->file.shard_offset_bytes[1] += 64);
	REFUSED(image->file.shard_offset_bytes[0] = 0);
	assert_int_equal(sessions_view_open(file_of(image, 100, 100), &view, &problems), STATUS_INVALID);
	assert_int_equal(view.fd, -1);
	problems_clear(&problems);
	free(image);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(counters_are_summed_over_the_shards),
		cmocka_unit_test(no_counters_read_as_zero),
		cmocka_unit_test(counters_of_a_wrong_shape_are_refused),
		cmocka_unit_test(sessions_are_found_in_every_shard),
		cmocka_unit_test(a_session_file_that_shrinks_shortens_the_answer),
		cmocka_unit_test(session_files_of_a_wrong_shape_are_refused),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
