/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/postern_drain.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "control/drain.h"
#include "control/scalar.h"
#include "control/status.h"
#include "tools/postern_client.h"
#include "tools/postern_table.h"

enum { PATH_SIZE_BYTES = 512 };

static const char *text_of(const json_t *json, const char *key)
{
	const char *text = json_string_value(json_object_get(json, key));

	return text != NULL ? text : "";
}

/* "3m20s", or "–" where there is none. */
static void duration_cell(struct table *table, const json_t *seconds)
{
	char duration[32];

	if (json_is_number(seconds))
		table_cell(table, "%s", table_duration(json_number_value(seconds), duration));
	else
		table_cell(table, "-");
}

static void show(const json_t *drains, FILE *stream)
{
	static const char *const titles[] = {
		"EGRESS IP", "WORKSPACE", "STATE", ">SESSIONS", ">SINCE", ">DEADLINE IN", ">FREE IN", NULL};
	struct table table;
	char duration[32];

	if (json_array_size(drains) == 0) {
		fputs("no egress IP drains\n", stream);
		return;
	}
	table_begin(&table, titles);
	for (size_t i = 0; i < json_array_size(drains); i++) {
		const json_t *drain = json_array_get(drains, i), *sessions = json_object_get(drain, "sessions");
		double started_s = json_number_value(json_object_get(drain, "started_unix_seconds"));

		table_cell(&table, "%s", text_of(drain, "address"));
		table_cell(&table, "%s", text_of(drain, "workspace"));
		table_cell(&table, "%s%s", text_of(drain, "state"),
			json_is_true(json_object_get(drain, "cut")) ? " (cut)" : "");
		if (json_is_integer(sessions))
			table_cell(&table, "%lld", (long long)json_integer_value(sessions));
		else
			table_cell(&table, "not counted yet");
		table_cell(&table, "%s", table_duration((double)time(NULL) - started_s, duration));
		duration_cell(&table, json_object_get(drain, "deadline_seconds_left"));
		duration_cell(&table, json_object_get(drain, "quarantine_seconds_left"));
	}
	table_print(&table, stream, "");
}

/* Prints why not, and gives the exit code. */
static int failed(const struct client_answer *answer)
{
	json_t *json = json_loads(answer->body, 0, NULL);
	const char *error = json_string_value(json_object_get(json, "error"));

	fprintf(stderr, "postern: drain: %s\n", error != NULL ? error : "posternd is of another version");
	json_decref(json);
	return answer->code == 400 ? EXIT_CODE_USAGE : EXIT_CODE_FAILED;
}

static int list_once(const struct drain_arguments *arguments)
{
	struct client_answer answer;
	int code = EXIT_CODE_OK;
	json_t *json;

	if (!client_ask(arguments->run_dir, "GET", "/v1/drains", &answer))
		return EXIT_CODE_UNREACHABLE;
	json = answer.code == 200 ? json_loads(answer.body, 0, NULL) : NULL;
	if (json == NULL)
		code = failed(&answer);
	else if (arguments->json)
		fputs(answer.body, stdout);
	else
		show(json_object_get(json, "drains"), stdout);
	json_decref(json);
	free(answer.body);
	return code;
}

static int list(const struct drain_arguments *arguments)
{
	int code = list_once(arguments);

	while (arguments->watch_s != 0 && code == EXIT_CODE_OK) {
		fflush(stdout);
		sleep(arguments->watch_s);
		if (isatty(STDOUT_FILENO))
			fputs("\033[H\033[J", stdout);
		code = list_once(arguments);
	}
	return code;
}

static int change(const struct drain_arguments *arguments)
{
	struct client_answer answer;
	char path[PATH_SIZE_BYTES];
	int code = EXIT_CODE_OK;
	bool in_force;

	snprintf(path, sizeof(path), "/v1/drains/%.64s", arguments->address);
	if (strspn(arguments->address, "0123456789.") != strlen(arguments->address) ||
		(arguments->deadline != NULL &&
			!client_add_parameter(path, sizeof(path), "deadline", arguments->deadline)) ||
		(arguments->force && !client_add_parameter(path, sizeof(path), "force", "1"))) {
		fprintf(stderr, "postern: drain: %s: must be an egress IP such as 203.0.113.10\n", arguments->address);
		return EXIT_CODE_USAGE;
	}
	if (!client_ask(arguments->run_dir, arguments->cancel ? "DELETE" : "PUT", path, &answer))
		return EXIT_CODE_UNREACHABLE;
	in_force = answer.code == 200;
	if (!in_force && answer.code != 202)
		code = failed(&answer);
	else if (arguments->json)
		fputs(answer.body, stdout);
	else if (arguments->cancel)
		printf("%s is in use again, as the files say\n", arguments->address);
	else if (arguments->force)
		printf("%s is released, sessions that it had are cut\n", arguments->address);
	else
		printf("%s takes no new sessions and is released when none is left%s%s; `postern drain --list` shows "
		       "how far it is\n",
			arguments->address, arguments->deadline != NULL ? ", at the latest in " : "",
			arguments->deadline != NULL ? arguments->deadline : "");
	if (code == EXIT_CODE_OK && !in_force)
		fprintf(stderr, "postern: drain: stored, but not in force yet: `postern status` says why\n");
	free(answer.body);
	return code;
}

int drain_command(const struct drain_arguments *arguments)
{
	if (arguments->address == NULL)
		return list(arguments);
	if (arguments->cancel && (arguments->force || arguments->deadline != NULL)) {
		fprintf(stderr, "postern: drain: --cancel goes with neither --force nor --deadline\n");
		return EXIT_CODE_USAGE;
	}
	return change(arguments);
}

static bool take(const json_t *json, struct drains *drains)
{
	struct drain *drain;
	uint32_t address;

	if (scalar_parse_ipv4(text_of(json, "address"), &address) != NULL ||
		drains_begin(drains, address, text_of(json, "workspace"), (uint64_t)time(NULL), 0, &drain) != STATUS_OK)
		return false;
	if (strcmp(text_of(json, "state"), "draining") != 0) {
		double left_s = json_number_value(json_object_get(json, "quarantine_seconds_left"));

		drain_release(drain, (uint64_t)time(NULL) - DRAIN_QUARANTINE_S + (uint64_t)left_s);
	}
	return true;
}

bool drain_overlay(const char *run_dir, struct model *model)
{
	struct problems warnings = {0};
	struct drains drains = {0};
	struct client_answer answer;
	const json_t *list_json;
	json_t *json;
	bool good;

	if (!client_ask(run_dir, "GET", "/v1/drains", &answer))
		return false;
	json = answer.code == 200 ? json_loads(answer.body, 0, NULL) : NULL;
	list_json = json_object_get(json, "drains");
	good = list_json != NULL;
	for (size_t i = 0; i < json_array_size(list_json) && good; i++)
		good = take(json_array_get(list_json, i), &drains);
	good = good && drains_apply(&drains, model, (uint64_t)time(NULL), &warnings) == STATUS_OK;
	problems_clear(&warnings);
	drains_clear(&drains);
	json_decref(json);
	free(answer.body);
	return good;
}
