/* SPDX-License-Identifier: Apache-2.0 */
/* control/metrics.c at the size that is promised: 10,000 workspaces, checked by promtool. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <event2/buffer.h>
#include <event2/event.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "control/daemon.h"
#include "control/metrics.h"
#include "control/metrics_text.h"
#include "control/rib.h"

enum { MANY_WORKSPACES = 10000, SHARDS = 2 };

static void ignore(void *context)
{
}

static const struct rib_handlers handlers = {
	.adjacency_changed = ignore, .links_changed = ignore, .own_routes_changed = ignore, .mappings_changed = ignore};

struct fixture {
	struct daemon daemon;
	struct counters *counters; /* writable */
	size_t counters_bytes;
};

static int fixture_open(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));
	struct problems problems = {0};
	int fd = memfd_create("counters", MFD_CLOEXEC);

	fixture->daemon.sessions.fd = -1;
	fixture->daemon.base = event_base_new();
	assert_int_equal(
		rib_open(fixture->daemon.base, &fixture->daemon.log, &handlers, NULL, &fixture->daemon.rib, &problems),
		STATUS_OK);
	fixture->counters_bytes = sizeof(struct counters) + SHARDS * sizeof(struct counters_shard);
	assert_int_equal(ftruncate(fd, (off_t)fixture->counters_bytes), 0);
	fixture->counters = mmap(NULL, fixture->counters_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(fixture->counters, MAP_FAILED);
	fixture->counters->magic = COUNTERS_MAGIC;
	fixture->counters->version = COUNTERS_VERSION;
	fixture->counters->shard_count = SHARDS;
	assert_int_equal(counters_view_open(fd, &fixture->daemon.counters, &problems), STATUS_OK);
	*state = fixture;
	return 0;
}

static int fixture_close(void **state)
{
	struct fixture *fixture = *state;

	counters_view_close(&fixture->daemon.counters);
	munmap(fixture->counters, fixture->counters_bytes);
	rib_close(fixture->daemon.rib);
	event_base_free(fixture->daemon.base);
	free(fixture);
	return 0;
}

/* The text, terminated; the caller frees it. */
static char *scrape(struct fixture *fixture, size_t *ret_length_bytes)
{
	struct evbuffer *body = evbuffer_new();
	size_t length_bytes;
	char *text;

	assert_int_equal(metrics_write(&fixture->daemon, body), STATUS_OK);
	length_bytes = evbuffer_get_length(body);
	text = malloc(length_bytes + 1);
	evbuffer_remove(body, text, length_bytes);
	text[length_bytes] = '\0';
	evbuffer_free(body);
	*ret_length_bytes = length_bytes;
	return text;
}

static void promtool_accepts(const char *text, size_t length_bytes)
{
	FILE *promtool = popen("promtool check metrics >&2", "w");

	assert_non_null(promtool);
	assert_int_equal(fwrite(text, 1, length_bytes, promtool), length_bytes);
	assert_int_equal(pclose(promtool), 0);
}

static void has_line(const char *text, const char *line)
{
	const char *at = text;
	size_t length = strlen(line);

	while ((at = strstr(at, line)) != NULL) {
		if ((at == text || at[-1] == '\n') && at[length] == '\n')
			return;
		at++;
	}
	fail_msg("missing: %s", line);
}

static void without_a_dataplane_the_metrics_are_valid(void **state)
{
	struct fixture *fixture = *state;
	size_t length_bytes;
	char *text;

	counters_view_close(&fixture->daemon.counters);
	text = scrape(fixture, &length_bytes);
	has_line(text, "postern_dataplane_up 0");
	has_line(text, "postern_config_valid 0");
	has_line(text, "postern_drops_total{port=\"inside\",reason=\"unknown_vni\"} 0");
	promtool_accepts(text, length_bytes);
	free(text);
}

static void every_drop_reason_is_always_present(void **state)
{
	struct fixture *fixture = *state;
	size_t length_bytes;
	char *text = scrape(fixture, &length_bytes);

	for (unsigned reason = DROP_NONE + 1; reason < DROP_REASON_COUNT; reason++) {
		char line[128];

		snprintf(line, sizeof(line), "postern_drops_total{port=\"outside\",reason=\"%s\"} 0",
			drop_reason_label(reason));
		has_line(text, line);
	}
	free(text);
}

static void ten_thousand_workspaces_are_written_whole(void **state)
{
	struct fixture *fixture = *state;
	size_t length_bytes;
	uint64_t start_ns;
	char *text;

	for (unsigned slot = 0; slot < MANY_WORKSPACES; slot++) {
		snprintf(fixture->counters->names[slot].id, ID_SIZE_BYTES, "workspace-%05u", slot);
		for (unsigned shard = 0; shard < SHARDS; shard++)
			fixture->counters->shards[shard].workspaces[slot].out_packets = slot;
	}
	free(scrape(fixture, &length_bytes)); /* the first one also faults the pages in */
	start_ns = daemon_monotonic_ns();
	text = scrape(fixture, &length_bytes);
	print_message("# %zu bytes in %.1f ms\n", length_bytes, (double)(daemon_monotonic_ns() - start_ns) / 1e6);
	has_line(text, "postern_workspace_transmit_packets_total{workspace=\"workspace-09999\"} 19998");
	promtool_accepts(text, length_bytes);
	free(text);
}

static void an_id_in_two_slots_is_one_series(void **state)
{
	struct fixture *fixture = *state;
	size_t length_bytes;
	char *text;

	strcpy(fixture->counters->names[3].id, "acme");
	strcpy(fixture->counters->names[900].id, "acme");
	fixture->counters->shards[0].workspaces[3].in_bytes = 40;
	fixture->counters->shards[1].workspaces[900].in_bytes = 2;
	text = scrape(fixture, &length_bytes);
	has_line(text, "postern_workspace_receive_bytes_total{workspace=\"acme\"} 42");
	promtool_accepts(text, length_bytes);
	free(text);
}

static void label_values_are_escaped(void **state)
{
	struct fixture *fixture = *state;
	char escaped[64];
	size_t length_bytes;
	char *text;

	metrics_escape("a\"b\\c\nd", escaped);
	assert_string_equal(escaped, "a\\\"b\\\\c\\nd");
	strcpy(fixture->counters->names[3].id, "evil\"} 1\nforged_total 7");
	text = scrape(fixture, &length_bytes);
	assert_null(strstr(text, "\nforged_total"));
	promtool_accepts(text, length_bytes);
	free(text);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(without_a_dataplane_the_metrics_are_valid, fixture_open, fixture_close),
		cmocka_unit_test_setup_teardown(every_drop_reason_is_always_present, fixture_open, fixture_close),
		cmocka_unit_test_setup_teardown(ten_thousand_workspaces_are_written_whole, fixture_open, fixture_close),
		cmocka_unit_test_setup_teardown(an_id_in_two_slots_is_one_series, fixture_open, fixture_close),
		cmocka_unit_test_setup_teardown(label_values_are_escaped, fixture_open, fixture_close),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
