/* SPDX-License-Identifier: Apache-2.0 */
/* Included files: what of them counts, in which order, and which file and line an error names. */
#include "tests/control/check.h"

#include <sys/stat.h>
#include <unistd.h>

#include "control/plan.h"
#include "control/yaml_tree.h"

enum { PATH_SIZE_BYTES = 512, REPORT_SIZE_BYTES = 16384 };

#define MAIN                                                                                                           \
	"version: 1\n"                                                                                                 \
	"include: [ conf.d/*.yaml ]\n"                                                                                 \
	"gateway:\n"                                                                                                   \
	"  inside: { interface: inside0, trusted_vteps: [10.100.0.0/24] }\n"                                           \
	"  outside: { interface: outside0 }\n"

#define WORKSPACE(id, vni, ip)                                                                                         \
	"workspaces:\n"                                                                                                \
	"  - id: " id "\n"                                                                                             \
	"    vpcs: [ { id: main, vni: " vni ", cidrs: [10.0.0.0/16] } ]\n"                                             \
	"    egress: { ips: [" ip "] }\n"

struct fixture {
	char directory[128], main[PATH_SIZE_BYTES], api[PATH_SIZE_BYTES];
	struct problems problems, warnings;
	struct config_directories directories;
	struct model *model;
};

static void put(const struct fixture *fixture, const char *name, const char *text)
{
	char path[PATH_SIZE_BYTES];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", fixture->directory, name);
	file = fopen(path, "wb");
	assert_non_null(file);
	assert_int_equal(fwrite(text, 1, strlen(text), file), strlen(text));
	assert_int_equal(fclose(file), 0);
}

static int setup(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));
	char path[PATH_SIZE_BYTES];

	if (!fixture)
		return -1;
	strcpy(fixture->directory, "/tmp/postern-fragments-test-XXXXXX");
	*state = fixture;
	if (!mkdtemp(fixture->directory))
		return -1;
	snprintf(fixture->main, sizeof(fixture->main), "%s/postern.yaml", fixture->directory);
	snprintf(fixture->api, sizeof(fixture->api), "%s/api.d", fixture->directory);
	snprintf(path, sizeof(path), "%s/conf.d", fixture->directory);
	put(fixture, "postern.yaml", MAIN);
	return mkdir(path, 0700) || mkdir(fixture->api, 0700);
}

static void forget(struct fixture *fixture)
{
	problems_clear(&fixture->problems);
	problems_clear(&fixture->warnings);
	config_directories_clear(&fixture->directories);
	model_free(fixture->model);
	fixture->model = NULL;
}

static int teardown(void **state)
{
	struct fixture *fixture = *state;
	char command[PATH_SIZE_BYTES];

	forget(fixture);
	snprintf(command, sizeof(command), "rm -rf %s", fixture->directory);
	return system(command) == 0 ? (free(fixture), 0) : -1;
}

static enum status load(struct fixture *fixture)
{
	const struct config_api api = {.directory = fixture->api};

	forget(fixture);
	return config_load_all(
		fixture->main, &api, &fixture->model, &fixture->directories, &fixture->problems, &fixture->warnings);
}

static void load_well(struct fixture *fixture)
{
	enum status status = load(fixture);

	for (size_t i = 0; i < fixture->problems.count; i++)
		print_message("# %s\n", fixture->problems.lines[i]);
	assert_int_equal(status, STATUS_OK);
}

/* The problems with the directory cut off, one a line. */
static void assert_problems(struct fixture *fixture, const char *expected)
{
	char report[REPORT_SIZE_BYTES] = "", *at;
	size_t used = 0, length = strlen(fixture->directory) + 1;

	assert_int_not_equal(load(fixture), STATUS_OK);
	assert_null(fixture->model);
	for (size_t i = 0; i < fixture->problems.count; i++)
		used += (size_t)snprintf(report + used, sizeof(report) - used, "%s\n", fixture->problems.lines[i]);
	while ((at = strstr(report, fixture->directory)))
		memmove(at, at + length, strlen(at + length) + 1);
	assert_string_equal(report, expected);
}

static void included_workspaces_stand_behind_the_main_file_s_in_the_order_of_the_names(void **state)
{
	static const char *const ids[] = {"main", "acme", "globex", "initech", "umbrella"};
	struct fixture *fixture = *state;

	put(fixture, "postern.yaml", MAIN WORKSPACE("main", "1", "203.0.113.1"));
	put(fixture, "conf.d/20.yaml", WORKSPACE("globex", "3", "203.0.113.3"));
	put(fixture, "conf.d/10.yaml", "version: 1\n" WORKSPACE("acme", "2", "203.0.113.2"));
	put(fixture, "conf.d/5.yaml", "workspaces: []\n");
	put(fixture, "conf.d/3.yml", "this is not matched");
	put(fixture, "conf.d/.hidden.yaml", "this neither");
	put(fixture, "conf.d/30.yaml", WORKSPACE("initech", "4", "203.0.113.4"));
	put(fixture, "api.d/a.json",
		"{\"workspaces\": [{\"id\": \"umbrella\", \"vpcs\": [{\"id\": \"main\", \"vni\": 5, \"cidrs\": "
		"[\"10.0.0.0/16\"]}], \"egress\": {\"ips\": [\"203.0.113.5\"]}}]}\n");
	load_well(fixture);
	assert_int_equal(fixture->model->workspace_count, 5);
	for (size_t i = 0; i < 5; i++)
		assert_string_equal(fixture->model->workspaces[i].id, ids[i]);
}

static void every_object_knows_its_source(void **state)
{
	struct fixture *fixture = *state;
	char text[SOURCE_TEXT_SIZE_BYTES], expected[PATH_SIZE_BYTES * 2], *printed;

	put(fixture, "conf.d/a.yaml", "# a comment\n" WORKSPACE("acme", "1", "203.0.113.1"));
	put(fixture, "api.d/a.json",
		"{\"workspaces\": [{\"id\": \"globex\", \"vpcs\": [{\"id\": \"main\", \"vni\": 2, \"cidrs\": "
		"[\"10.0.0.0/16\"]}], \"egress\": {\"ips\": [\"203.0.113.2\"]}}]}\n");
	load_well(fixture);
	snprintf(expected, sizeof(expected), "%s/conf.d/a.yaml:3", fixture->directory);
	assert_string_equal(model_source_text(&fixture->model->workspaces[0].source, text), expected);
	snprintf(expected, sizeof(expected), "%s/conf.d/a.yaml:4", fixture->directory);
	assert_string_equal(model_source_text(&fixture->model->workspaces[0].vpcs[0].source, text), expected);
	snprintf(expected, sizeof(expected), "api (%s/a.json:1)", fixture->api);
	assert_string_equal(model_source_text(&fixture->model->workspaces[1].source, text), expected);
	printed = model_print_with_sources(fixture->model);
	snprintf(expected, sizeof(expected), "# from %s/conf.d/a.yaml:3\n  - id: acme\n", fixture->directory);
	assert_non_null(strstr(printed, expected));
	model_free(check_load(printed));
	free(printed);
}

static void what_is_printed_holds_everything_and_includes_nothing(void **state)
{
	struct fixture *fixture = *state;
	struct model *again;
	struct plan plan;
	char *printed;

	put(fixture, "conf.d/a.yaml", WORKSPACE("acme", "1", "203.0.113.1"));
	load_well(fixture);
	printed = model_print(fixture->model);
	assert_null(strstr(printed, "include"));
	again = check_load(printed);
	assert_int_equal(plan_make(fixture->model, again, &plan), STATUS_OK);
	assert_int_equal(plan.count, 0);
	plan_clear(&plan);
	model_free(again);
	free(printed);
}

static void an_id_in_two_files_names_both_places(void **state)
{
	struct fixture *fixture = *state;

	put(fixture, "postern.yaml", MAIN WORKSPACE("acme", "1", "203.0.113.1"));
	put(fixture, "conf.d/a.yaml", WORKSPACE("acme", "2", "203.0.113.2"));
	put(fixture, "conf.d/b.yaml", "\n" WORKSPACE("globex", "1", "203.0.113.2"));
	assert_problems(fixture,
		"conf.d/a.yaml:2: workspaces[0].id: acme: is already used by workspace acme at workspaces[0].id "
		"(postern.yaml:7): ids of workspaces must differ\n"
		"conf.d/b.yaml:4: workspaces[0].vpcs[0].vni: 1: is already used by workspace acme at "
		"workspaces[0].vpcs[0].vni (postern.yaml:8): a VNI belongs to one VPC\n"
		"conf.d/b.yaml:5: workspaces[0].egress.ips[0]: 203.0.113.2: is already used by workspace acme at "
		"workspaces[0].egress.ips[0] (conf.d/a.yaml:4): an egress IP belongs to one workspace, or to the "
		"shared "
		"pool\n");
}

static void every_error_of_every_file_is_told_at_once_with_its_own_line(void **state)
{
	struct fixture *fixture = *state;

	put(fixture, "postern.yaml", MAIN "hue: 1\n");
	put(fixture, "conf.d/a.yaml",
		"workspaces:\n  - id: acme\n    vpcs: [ { id: main, vni: 0, cidrs: [10.0.0.0/16] } ]\n"
		"    egress: { ips: [203.0.113.1] }\n");
	put(fixture, "conf.d/b.yaml", "workspaces:\n\t- id: globex\n");
	put(fixture, "conf.d/c.yaml", "gateway: {}\nworkspaces: 5\ninclude: [x.yaml]\nversion: 2\n");
	put(fixture, "conf.d/d.yaml", "[ 1 ]\n");
	assert_int_not_equal(load(fixture), STATUS_OK);
	assert_int_equal(fixture->problems.count, 8);
	for (size_t i = 0; i < 8; i++) {
		static const char *const places[] = {"conf.d/b.yaml:", "postern.yaml:6: hue: unknown key",
			"conf.d/a.yaml:3: workspaces[0].vpcs[0].vni: 0: must be",
			"conf.d/c.yaml:1: gateway: an included", "conf.d/c.yaml:2: workspaces: must be a list",
			"conf.d/c.yaml:3: include: an included", "conf.d/c.yaml:4: version: must be 1",
			"conf.d/d.yaml:1: must be a mapping"};

		assert_non_null(strstr(fixture->problems.lines[i], places[i]));
	}
}

static void workers_of_this_host_can_be_included_but_the_host_itself_can_not(void **state)
{
	static const char worker[] =
		"worker_host:\n"
		"  workers: [ { interface: veth-w1, workspace: acme, vpc: main, ips: [10.0.0.5] } ]\n";
	struct fixture *fixture = *state;

	put(fixture, "conf.d/a.yaml", WORKSPACE("acme", "1", "203.0.113.1"));
	put(fixture, "conf.d/w.yaml", worker);
	assert_problems(fixture,
		"conf.d/w.yaml:2: worker_host.workers: the main file has no worker_host: put it there, with vtep and "
		"gateways\n");
	put(fixture, "postern.yaml", MAIN "worker_host: { vtep: 10.100.0.2, gateways: [10.100.0.1] }\n");
	load_well(fixture);
	assert_int_equal(fixture->model->worker_host.worker_count, 1);
	assert_int_equal(fixture->model->worker_host.workers[0].source.line, 2);
	put(fixture, "conf.d/w.yaml", "worker_host: { vtep: 10.100.0.9 }\n");
	assert_problems(fixture,
		"conf.d/w.yaml:1: worker_host.vtep: an included file has only workers here: put this key into the main "
		"file\n");
}

static void a_missing_directory_is_an_error_and_is_told_to_the_watch(void **state)
{
	struct fixture *fixture = *state;
	char expected[PATH_SIZE_BYTES];

	put(fixture, "postern.yaml",
		"version: 1\ninclude: [ other.d/*.yaml, absent.yaml ]\nworkspaces: []\n"
		"worker_host: { vtep: 10.100.0.2, gateways: [10.100.0.1] }\n");
	assert_problems(fixture,
		"absent.yaml: can not be opened: No such file or directory\n"
		"postern.yaml:2: include[0]: other.d/*.yaml: its directory can not be opened: No such file or "
		"directory: create it, it may be empty\n");
	assert_int_equal(fixture->directories.count, 2);
	snprintf(expected, sizeof(expected), "%s/other.d", fixture->directory);
	assert_string_equal(fixture->directories.paths[0], expected);
	assert_string_equal(fixture->directories.paths[1], fixture->directory);
}

static void an_empty_directory_is_fine_where_the_main_file_has_workspaces_itself(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal(rmdir(fixture->api), 0);
	assert_problems(fixture, "postern.yaml:1: workspaces: missing: The tenants. Required, so that a key left out "
				 "by accident does not "
				 "remove them all; [] means none.\n");
	put(fixture, "postern.yaml", MAIN "workspaces: []\n");
	load_well(fixture);
	assert_int_equal(fixture->model->workspace_count, 0);
}

static void links_are_followed_and_what_is_no_regular_file_is_refused(void **state)
{
	struct fixture *fixture = *state;
	char link[PATH_SIZE_BYTES], fifo[PATH_SIZE_BYTES];

	put(fixture, "elsewhere", WORKSPACE("acme", "1", "203.0.113.1"));
	snprintf(link, sizeof(link), "%s/conf.d/a.yaml", fixture->directory);
	snprintf(fifo, sizeof(fifo), "%s/conf.d/b.yaml", fixture->directory);
	assert_int_equal(symlink("../elsewhere", link), 0);
	load_well(fixture);
	assert_int_equal(fixture->model->workspace_count, 1);
	assert_int_equal(mkfifo(fifo, 0600), 0);
	assert_problems(fixture, "conf.d/b.yaml: is a FIFO: must be a regular file\n");
}

static void an_included_file_of_more_than_4_mib_is_refused_without_being_read(void **state)
{
	struct fixture *fixture = *state;
	char path[PATH_SIZE_BYTES];

	put(fixture, "conf.d/a.yaml", "");
	snprintf(path, sizeof(path), "%s/conf.d/a.yaml", fixture->directory);
	assert_int_equal(truncate(path, YAML_FILE_SIZE_MAX_BYTES + 1), 0);
	assert_problems(fixture,
		"conf.d/a.yaml: the file is larger than 4 MiB: it may have at most that: spread it over several files "
		"(include), or allow more (--max-file-size)\n");
}

static void a_file_that_two_patterns_match_counts_once(void **state)
{
	struct fixture *fixture = *state;

	put(fixture, "postern.yaml",
		"version: 1\ninclude: [ conf.d/a.yaml, conf.d/*.yaml ]\n"
		"gateway:\n  inside: { interface: inside0, trusted_vteps: [10.100.0.0/24] }\n"
		"  outside: { interface: outside0 }\n");
	put(fixture, "conf.d/a.yaml", WORKSPACE("acme", "1", "203.0.113.1"));
	load_well(fixture);
	assert_int_equal(fixture->model->workspace_count, 1);
}

static void a_wildcard_in_a_directory_is_refused(void **state)
{
	struct fixture *fixture = *state;

	put(fixture, "postern.yaml",
		"version: 1\ninclude: [ '*/a.yaml', conf.d/, 'a*' ]\nworkspaces: []\n"
		"worker_host: { vtep: 10.100.0.2, gateways: [10.100.0.1] }\n");
	assert_int_not_equal(load(fixture), STATUS_OK);
	assert_non_null(
		strstr(fixture->problems.lines[fixture->problems.count - 2], "include[0]: */a.yaml: must be a path"));
	assert_non_null(
		strstr(fixture->problems.lines[fixture->problems.count - 1], "include[1]: conf.d/: must be a path"));
}

/* Whatever a half-written file says: it is refused, or it is a whole one. Never a crash, never a part of a workspace.
 */
static void an_included_file_cut_at_any_byte_is_refused_or_whole(void **state)
{
	static const char text[] = WORKSPACE("acme", "1", "203.0.113.1");
	struct fixture *fixture = *state;
	char cut[sizeof(text)];

	for (size_t length = 0; length < sizeof(text); length++) {
		memcpy(cut, text, length);
		cut[length] = '\0';
		put(fixture, "conf.d/a.yaml", cut);
		if (load(fixture) != STATUS_OK)
			continue;
		assert_int_equal(fixture->model->workspace_count, 1);
		assert_int_equal(fixture->model->workspaces[0].vpc_count, 1);
		assert_int_equal(fixture->model->workspaces[0].egress_ip_count, 1);
		assert_int_equal(fixture->model->workspaces[0].egress_ips[0], 0xcb007101);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(included_workspaces_stand_behind_the_main_file_s_in_the_order_of_the_names),
		TEST(every_object_knows_its_source),
		TEST(what_is_printed_holds_everything_and_includes_nothing),
		TEST(an_id_in_two_files_names_both_places),
		TEST(every_error_of_every_file_is_told_at_once_with_its_own_line),
		TEST(workers_of_this_host_can_be_included_but_the_host_itself_can_not),
		TEST(a_missing_directory_is_an_error_and_is_told_to_the_watch),
		TEST(an_empty_directory_is_fine_where_the_main_file_has_workspaces_itself),
		TEST(links_are_followed_and_what_is_no_regular_file_is_refused),
		TEST(an_included_file_of_more_than_4_mib_is_refused_without_being_read),
		TEST(a_file_that_two_patterns_match_counts_once),
		TEST(a_wildcard_in_a_directory_is_refused),
		TEST(an_included_file_cut_at_any_byte_is_refused_or_whole),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
