/* SPDX-License-Identifier: Apache-2.0 */
/* Configuration files as a whole: what is no configuration is refused before it can hurt; what is one loads. */
#include "tests/control/check.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "control/fields.h"
#include "control/index.h"
#include "control/yaml_tree.h"

enum { PATH_SIZE_BYTES = 512, WORKSPACE_COUNT_LARGE = 10000, WORKER_COUNT_PER_WORKSPACE = 10 };

static const char good[] =
	CHECK_GATEWAY "workspaces:\n"
		      "  - id: acme\n"
		      "    vpcs: [ { id: main, vni: 7001, cidrs: [10.0.0.0/16], workers: [ { ip: 10.0.0.5 } ] } ]\n"
		      "    egress: { ips: [203.0.113.10, \"203.0.113.11\"] }\n"
		      "    policy: { rules: [ { action: deny, to: 198.51.100.0/24, protocol: tcp, ports: 1-9 } ] }\n"
		      "worker_host:\n"
		      "  vtep: 10.100.0.2\n"
		      "  gateways:\n"
		      "    - 10.100.0.1\n"
		      "  workers:\n"
		      "    - { interface: veth-w1, workspace: acme, vpc: main, ips: [10.0.0.5] }\n";

/* A temporary directory per test. */
static int make_directory(void **state)
{
	char *path = strdup("/tmp/postern-config-test-XXXXXX");

	*state = path;
	return path && mkdtemp(path) ? 0 : -1;
}

static int remove_directory(void **state)
{
	char path[PATH_SIZE_BYTES];

	snprintf(path, sizeof(path), "%s/file", (char *)*state);
	unlink(path);
	snprintf(path, sizeof(path), "%s/link", (char *)*state);
	unlink(path);
	rmdir(*state);
	free(*state);
	return 0;
}

static const char *path_in(void **state, const char *name, char ret_path[PATH_SIZE_BYTES])
{
	snprintf(ret_path, PATH_SIZE_BYTES, "%s/%s", (char *)*state, name);
	return ret_path;
}

static void write_file(const char *path, const char *bytes, size_t size_bytes)
{
	FILE *file = fopen(path, "wb");

	assert_non_null(file);
	assert_int_equal(fwrite(bytes, 1, size_bytes, file), size_bytes);
	assert_int_equal(fclose(file), 0);
}

/* The one problem must contain `words`, and no model may come out. `size_max_bytes`: 0: the usual. */
static void check_refused_up_to(size_t size_max_bytes, const char *path, enum status status, const char *words)
{
	const struct config_api api = {.file_size_max_bytes = size_max_bytes};
	struct problems problems = {0}, warnings = {0};
	struct model *model = NULL;

	assert_int_equal(config_load_all(path, &api, &model, NULL, &problems, &warnings), status);
	assert_null(model);
	assert_int_equal(problems.count, 1);
	if (!strstr(problems.lines[0], words))
		fail_msg("\"%s\" does not contain \"%s\"", problems.lines[0], words);
	problems_clear(&problems);
	problems_clear(&warnings);
}

static void check_refused(const char *path, enum status status, const char *words)
{
	check_refused_up_to(0, path, status, words);
}

static void file_of_100_mb_is_refused_without_being_read(void **state)
{
	char path[PATH_SIZE_BYTES];
	int fd = open(path_in(state, "file", path), O_CREAT | O_WRONLY, 0600);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, 100 * 1024 * 1024), 0);
	close(fd);
	check_refused(path, STATUS_INVALID, "is larger than 4 MiB");
	check_refused_up_to(YAML_TOTAL_SIZE_MAX_BYTES, path, STATUS_INVALID, "is larger than 48 MiB");
}

static void directory_is_refused(void **state)
{
	check_refused(*state, STATUS_INVALID, "is a directory: must be a regular file");
}

static void fifo_is_refused_and_does_not_block(void **state)
{
	char path[PATH_SIZE_BYTES];

	assert_int_equal(mkfifo(path_in(state, "file", path), 0600), 0);
	check_refused(path, STATUS_INVALID, "is a FIFO: must be a regular file");
}

static void device_is_refused(void **state)
{
	check_refused("/dev/zero", STATUS_INVALID, "is a device: must be a regular file");
}

static void missing_file_is_a_system_error(void **state)
{
	char path[PATH_SIZE_BYTES];

	check_refused(path_in(state, "file", path), STATUS_SYSTEM, "can not be opened: No such file");
}

static void empty_file_is_refused(void **state)
{
	char path[PATH_SIZE_BYTES];

	write_file(path_in(state, "file", path), "", 0);
	check_refused(path, STATUS_INVALID, ":1: the file is empty");
}

static void symbolic_link_to_a_file_is_followed(void **state)
{
	char path[PATH_SIZE_BYTES], link[PATH_SIZE_BYTES];
	struct problems problems = {0}, warnings = {0};
	struct model *model = NULL;

	write_file(path_in(state, "file", path), good, strlen(good));
	assert_int_equal(symlink(path, path_in(state, "link", link)), 0);
	assert_int_equal(config_load(link, &model, &problems, &warnings), STATUS_OK);
	assert_string_equal(model->file, link);
	assert_int_equal(model->workspaces[0].source.line, 6);
	model_free(model);
}

static void nul_byte_is_refused_with_its_line(void **state)
{
	char path[PATH_SIZE_BYTES];

	write_file(path_in(state, "file", path), "version: 1\n\0\n", 13);
	check_refused(path, STATUS_INVALID, ":2: a NUL byte");
}

static void invalid_utf8_is_refused_with_its_line(void **state)
{
	static const char *const sequences[] = {"\x80", "\xc0\xaf", "\xc3", "\xe2\x82", "\xed\xa0\x80",
		"\xf0\x80\x80\x80", "\xf4\x90\x80\x80", "\xff\xfe", "\xe0\x9f\xbf"};
	char path[PATH_SIZE_BYTES], text[64];

	for (size_t i = 0; i < sizeof(sequences) / sizeof(sequences[0]); i++) {
		snprintf(text, sizeof(text), "version: 1\n# comment\n# %s\n", sequences[i]);
		write_file(path_in(state, "file", path), text, strlen(text));
		check_refused(path, STATUS_INVALID, ":3: byte 0x");
	}
}

static void more_than_three_million_values_are_refused(void **state)
{
	static const char head[] = "version: 1\nworkspaces: [";
	size_t size_bytes = strlen(head) + 2 * (size_t)(YAML_NODE_COUNT_MAX + 1);
	char *text = malloc(size_bytes), path[PATH_SIZE_BYTES];

	assert_non_null(text);
	memcpy(text, head, strlen(head));
	for (size_t i = strlen(head); i + 1 < size_bytes; i += 2)
		memcpy(text + i, "a,", 2);
	write_file(path_in(state, "file", path), text, size_bytes);
	free(text);
	check_refused_up_to(YAML_TOTAL_SIZE_MAX_BYTES, path, STATUS_INVALID, ":2: more than 3,000,000 values");
}

static void a_thousand_errors_are_listed_and_the_rest_counted(void **state)
{
	struct problems problems = {0}, warnings = {0};
	struct model *model = NULL;
	char *text = NULL;
	size_t size_bytes = 0;
	FILE *out = open_memstream(&text, &size_bytes);

	assert_non_null(out);
	fputs(CHECK_GATEWAY "workspaces:\n", out);
	for (int i = 0; i < 1500; i++)
		fputs("  - 1\n", out);
	fclose(out);
	assert_int_equal(config_parse("many.yaml", text, size_bytes, &model, &problems, &warnings), STATUS_INVALID);
	assert_int_equal(problems.count, PROBLEMS_MAX);
	assert_int_equal(problems.dropped_count, 500);
	problems_clear(&problems);
	assert_int_equal(problems.count, 0);
	free(text);
}

/* Cut or damaged anywhere, the file either is whole YAML and valid, or nothing comes out and at least one problem does.
 */
static void check_outcome(const char *bytes, size_t size_bytes)
{
	struct problems problems = {0}, warnings = {0};
	struct model *model = NULL;
	/* Of exactly that size, so that a sanitizer sees every byte too far. */
	char *copy = malloc(size_bytes ? size_bytes : 1);

	assert_non_null(copy);
	memcpy(copy, bytes, size_bytes);
	if (config_parse("cut.yaml", copy, size_bytes, &model, &problems, &warnings) == STATUS_OK) {
		assert_non_null(model);
		assert_int_equal(problems.count, 0);
	} else {
		assert_null(model);
		assert_true(problems.count > 0);
	}
	model_free(model);
	problems_clear(&problems);
	problems_clear(&warnings);
	free(copy);
}

static void file_cut_at_any_byte_is_harmless(void **state)
{
	for (size_t size_bytes = 0; size_bytes <= strlen(good); size_bytes++)
		check_outcome(good, size_bytes);
}

static void file_with_any_byte_replaced_is_harmless(void **state)
{
	static const char replacements[] = "\0\n\t:{}[],&*!|>'\"%@`#-? 0a\x80\xff";
	char bytes[sizeof(good)];

	for (size_t at = 0; at < strlen(good); at++) {
		for (size_t i = 0; i < sizeof(replacements) - 1; i++) {
			memcpy(bytes, good, sizeof(good));
			bytes[at] = replacements[i];
			check_outcome(bytes, strlen(good));
		}
	}
}

static void example_configurations_load(void **state)
{
	static const char *const names[] = {"smallest", "gateway", "worker-host"};
	char path[PATH_SIZE_BYTES];

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct problems problems = {0}, warnings = {0};
		struct model *model = NULL;

		snprintf(path, sizeof(path), "%s/configs/%s.yaml", getenv("POSTERN_SOURCE_ROOT"), names[i]);
		assert_int_equal(config_load(path, &model, &problems, &warnings), STATUS_OK);
		model_free(model);
		problems_clear(&problems);
		problems_clear(&warnings);
	}
}

/* As a key, also in a comment: some exclude each other. */
static bool text_shows_key(const char *text, const char *key)
{
	size_t length = strlen(key);

	for (const char *at = strstr(text, key); at; at = strstr(at + 1, key)) {
		if (at[length] == ':' && (at == text || strchr(" {\n", at[-1])))
			return true;
	}
	return false;
}

static void check_shown(const struct field_section *section, const char *text)
{
	for (uint32_t i = 0; i < section->field_count; i++) {
		const struct field *field = &section->fields[i];

		if (!text_shows_key(text, field->key))
			fail_msg("no example shows %s.%s", section->path, field->key);
		if (field->type == FIELD_MAP)
			check_shown(field->section, text);
	}
}

static void example_configurations_show_every_key(void **state)
{
	static const char *const names[] = {"gateway", "worker-host"};
	char path[PATH_SIZE_BYTES], *texts[2], *both = NULL;
	size_t size_bytes;

	for (size_t i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), "%s/configs/%s.yaml", getenv("POSTERN_SOURCE_ROOT"), names[i]);
		texts[i] = check_read(path, &size_bytes);
	}
	assert_true(asprintf(&both, "%s\n%s", texts[0], texts[1]) > 0);
	check_shown(&fields_file, both);
	free(both);
	free(texts[0]);
	free(texts[1]);
}

static void check_generated(void (*print)(FILE *), const char *name)
{
	char path[PATH_SIZE_BYTES], *generated = NULL, *written;
	size_t generated_size_bytes = 0, written_size_bytes = 0;
	FILE *out = open_memstream(&generated, &generated_size_bytes);

	assert_non_null(out);
	print(out);
	fclose(out);
	snprintf(path, sizeof(path), "%s/docs/%s", getenv("POSTERN_SOURCE_ROOT"), name);
	written = check_read(path, &written_size_bytes);
	assert_string_equal(written, generated);
	free(generated);
	free(written);
}

/* When it differs: build/control/gen-config-docs > docs/configuration.md */
static void documentation_equals_the_field_table(void **state)
{
	check_generated(fields_print_markdown, "configuration.md");
}

/* When it differs: build/control/gen-config-docs --man > docs/man/postern.yaml.5 */
static void manual_page_equals_the_field_table(void **state)
{
	check_generated(fields_print_man, "man/postern.yaml.5");
}

static void defaults_are_filled_in(void **state)
{
	struct model *model = check_load(CHECK_GATEWAY "workspaces:\n"
						       "  - id: acme\n"
						       "    vpcs: [ { id: main, vni: 1, cidrs: [10.0.0.0/8] } ]\n"
						       "    egress: { ips: [203.0.113.10] }\n");
	const struct model_workspace *workspace = &model->workspaces[0];

	assert_int_equal(workspace->timers.tcp_established_s, 7440);
	assert_int_equal(workspace->timers.tcp_transitory_s, 240);
	assert_int_equal(workspace->timers.tcp_syn_s, 30);
	assert_int_equal(workspace->timers.udp_s, 300);
	assert_int_equal(workspace->timers.udp_dns_s, 30);
	assert_int_equal(workspace->timers.icmp_s, 60);
	assert_int_equal(workspace->mapping_tcp, POLICY_MAPPING_ENDPOINT_DEPENDENT);
	assert_int_equal(workspace->mapping_udp, POLICY_MAPPING_ENDPOINT_INDEPENDENT);
	assert_int_equal(workspace->flags, POLICY_WORKSPACE_TCP_RST_UNKNOWN);
	assert_int_equal(workspace->limits.sessions, 0);
	assert_int_equal(workspace->draining_ip_count, 0);
	assert_int_equal(model->shared_pool_ports, 4096);
	assert_int_equal(model->shared_pool_linger_s, 86400);
	assert_int_equal(model->gateway.encapsulation, POLICY_ENCAPSULATION_VXLAN);
	assert_int_equal(model->gateway.hairpin, POLICY_HAIRPIN_DENY);
	assert_int_equal(model->gateway.ports[PORT_INSIDE].queues, 1);
	assert_int_equal(model->metrics_port, 0);
	assert_false(model->worker_host.present);
	assert_false(workspace->vpcs[0].workers_listed);
	model_free(model);
}

static void what_loads_but_will_surprise_is_a_warning(void **state)
{
	static const char text[] = CHECK_GATEWAY "workspaces:\n"
						 "  - { id: a, vpcs: [ { id: m, vni: 1, cidrs: [10.0.0.0/8] } ], "
						 "egress: shared, other_protocols: allow }\n"
						 "  - { id: b, vpcs: [ { id: m, vni: 2, cidrs: [10.0.0.0/8] } ], "
						 "egress: { ips: [], draining: [45.0.0.1] "
						 "} }\n"
						 "shared_pool: { ips: [203.0.113.200] }\n";
	struct problems problems = {0}, warnings = {0};
	struct model *model = NULL;

	assert_int_equal(config_parse("test.yaml", text, strlen(text), &model, &problems, &warnings), STATUS_OK);
	assert_int_equal(warnings.count, 2);
	assert_string_equal(warnings.lines[0],
		"test.yaml:6: workspaces[0].other_protocols: allow: has no effect on the shared pool: they have no "
		"ports to share an address by, give workspace a an IP in egress.ips");
	assert_string_equal(warnings.lines[1], "test.yaml:7: workspaces[1].egress: every IP of workspace b drains: its "
					       "new sessions are refused, give it one in egress.ips");
	problems_clear(&warnings);
	model_free(model);
}

static void workers_are_resolved_to_their_vpc(void **state)
{
	struct model *model = check_load(good);
	const struct model_worker *worker = &model->worker_host.workers[0];

	assert_int_equal(worker->workspace_index, 0);
	assert_int_equal(worker->vpc_index, 0);
	assert_int_equal(worker->address, 0x0a000005);
	assert_string_equal(model->worker_host.device, "postern-vxlan");
	assert_false(worker->mac_present);
	assert_int_equal(worker->source.line, 15);
	model_free(model);
}

/* 10,000 workspaces, 20,000 egress IPs, 100,000 listed workers: rules across all of them must not be quadratic. */
static void ten_thousand_workspaces_load_and_print_and_load_again(void **state)
{
	char *text = NULL, *printed, *printed_again;
	size_t size_bytes = 0;
	FILE *out = open_memstream(&text, &size_bytes);
	struct model *model, *reloaded;

	assert_non_null(out);
	fputs(CHECK_GATEWAY "workspaces:\n", out);
	for (unsigned i = 0; i < WORKSPACE_COUNT_LARGE; i++) {
		fprintf(out, "  - id: w%u\n    vpcs: [ { id: main, vni: %u, cidrs: [10.0.0.0/16], workers: [", i,
			i + 1);
		for (unsigned j = 0; j < WORKER_COUNT_PER_WORKSPACE; j++)
			fprintf(out, "{ip: 10.0.0.%u},", j + 1);
		fprintf(out, "] } ]\n    egress: { ips: [45.0.%u.%u, 45.1.%u.%u] }\n", i / 250, i % 250, i / 250,
			i % 250);
	}
	fclose(out);
	model = check_load(text);
	assert_int_equal(model->workspace_count, WORKSPACE_COUNT_LARGE);
	printed = model_print(model);
	assert_non_null(printed);
	reloaded = check_load(printed);
	printed_again = model_print(reloaded);
	assert_true(strcmp(printed, printed_again) == 0);
	model_free(model);
	model_free(reloaded);
	free(printed);
	free(printed_again);
	free(text);
}

/* What a posternd remembers must be readable when it comes back: workspaces and workers at their largest numbers. */
static void largest_model_prints_a_file_that_loads(void **state)
{
	char *text = NULL, *printed;
	size_t size_bytes = 0;
	FILE *out = open_memstream(&text, &size_bytes);
	struct model *model, *reloaded;

	assert_non_null(out);
	fputs(CHECK_GATEWAY "workspaces:\n", out);
	for (unsigned i = 0; i < WORKSPACE_COUNT_MAX; i++) {
		fprintf(out, "  - { id: workspace-%u, vpcs: [ { id: main, vni: %u, cidrs: [10.0.0.0/16], workers: [", i,
			i + 1);
		for (unsigned j = 0; j < WORKER_COUNT_MAX / WORKSPACE_COUNT_MAX; j++)
			fprintf(out, "{ip: 10.0.0.%u, vtep: 10.100.0.7},", j + 1);
		fprintf(out, "] } ], egress: { ips: [45.0.%u.%u] } }\n", i / 250, i % 250);
	}
	fputs("worker_host:\n  vtep: 10.100.0.2\n  gateways: [10.100.0.1]\n  workers:\n", out);
	for (unsigned i = 0; i < WORKER_COUNT_MAX; i++)
		fprintf(out, "    - { interface: v%u, workspace: workspace-%u, vpc: main, ips: [10.0.1.%u] }\n", i,
			i % WORKSPACE_COUNT_MAX, i / WORKSPACE_COUNT_MAX);
	fclose(out);
	model = check_load(text);
	printed = model_print(model);
	assert_non_null(printed);
	reloaded = check_load(printed);
	assert_int_equal(reloaded->worker_host.worker_count, WORKER_COUNT_MAX);
	model_free(model);
	model_free(reloaded);
	free(printed);
	free(text);
}

static void index_finds_what_was_added_and_keeps_the_first(void **state)
{
	struct hash_index map = {0};
	uint64_t value = 0;

	assert_false(index_find(&map, "a", 1, &value));
	for (uint32_t i = 0; i < 100000; i++)
		assert_int_equal(index_add(&map, &i, sizeof(i), i * 3, NULL), INDEX_ADDED);
	for (uint32_t i = 0; i < 100000; i++) {
		assert_true(index_find(&map, &i, sizeof(i), &value));
		assert_int_equal(value, i * 3);
		assert_int_equal(index_add(&map, &i, sizeof(i), 1, &value), INDEX_EXISTS);
		assert_int_equal(value, i * 3);
	}
	assert_false(index_find(&map, "abcd", 3, &value));
	index_clear(&map);
}

#define IN_DIRECTORY(test) cmocka_unit_test_setup_teardown(test, make_directory, remove_directory)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		IN_DIRECTORY(file_of_100_mb_is_refused_without_being_read),
		IN_DIRECTORY(directory_is_refused),
		IN_DIRECTORY(fifo_is_refused_and_does_not_block),
		IN_DIRECTORY(device_is_refused),
		IN_DIRECTORY(missing_file_is_a_system_error),
		IN_DIRECTORY(empty_file_is_refused),
		IN_DIRECTORY(symbolic_link_to_a_file_is_followed),
		IN_DIRECTORY(nul_byte_is_refused_with_its_line),
		IN_DIRECTORY(invalid_utf8_is_refused_with_its_line),
		IN_DIRECTORY(more_than_three_million_values_are_refused),
		cmocka_unit_test(a_thousand_errors_are_listed_and_the_rest_counted),
		cmocka_unit_test(file_cut_at_any_byte_is_harmless),
		cmocka_unit_test(file_with_any_byte_replaced_is_harmless),
		cmocka_unit_test(example_configurations_load),
		cmocka_unit_test(example_configurations_show_every_key),
		cmocka_unit_test(documentation_equals_the_field_table),
		cmocka_unit_test(manual_page_equals_the_field_table),
		cmocka_unit_test(defaults_are_filled_in),
		cmocka_unit_test(what_loads_but_will_surprise_is_a_warning),
		cmocka_unit_test(workers_are_resolved_to_their_vpc),
		cmocka_unit_test(ten_thousand_workspaces_load_and_print_and_load_again),
		cmocka_unit_test(largest_model_prints_a_file_that_loads),
		cmocka_unit_test(index_finds_what_was_added_and_keeps_the_first),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("config", tests, NULL, NULL);
}
