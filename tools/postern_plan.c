/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/postern_plan.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/index.h"
#include "control/model.h"
#include "control/plan.h"
#include "control/plan_sessions.h"
#include "control/scalar.h"
#include "control/status.h"
#include "tools/postern_client.h"
#include "tools/postern_drain.h"

/* What posternd wants now; NULL in `ret_model`: it wants nothing yet. */
static int running_model(const char *run_dir, struct model **ret_model)
{
	struct problems problems = {0}, warnings = {0};
	struct client_answer answer;
	int code = EXIT_CODE_OK;

	if (!client_ask(run_dir, "GET", "/v1/config", &answer))
		return EXIT_CODE_UNREACHABLE;
	*ret_model = NULL;
	if (answer.code == 200) {
		if (config_parse("posternd's configuration", answer.body, answer.body_bytes, ret_model, &problems,
			    &warnings) != STATUS_OK) {
			problems_print(&problems);
			code = EXIT_CODE_FAILED;
		}
	} else if (answer.code != 404) {
		code = client_failed(&answer);
	}
	free(answer.body);
	problems_clear(&problems);
	problems_clear(&warnings);
	return code;
}

/* A workspace that is there and would be touched. */
struct touched {
	const char *workspace; /* of the plan's */
	bool known;	       /* the gateway counts it */
	json_int_t sessions;   /* live ones */
	json_int_t ending;     /* of those that were looked at */
	bool more;	       /* not all were: there are too many */
};

struct touched_list {
	struct touched *entries;
	size_t count;
	struct hash_index by_id; /* index in entries */
};

static bool ids_add(const struct model *model, struct hash_index *ids)
{
	size_t count = model != NULL ? model->workspace_count : 0;

	for (size_t i = 0; i < count; i++) {
		const char *id = model->workspaces[i].id;

		if (index_add(ids, id, strlen(id), i, NULL) == INDEX_NO_MEMORY)
			return false;
	}
	return true;
}

static void touched_clear(struct touched_list *list)
{
	free(list->entries);
	index_clear(&list->by_id);
}

/* False: no memory. */
static bool touched_find(const struct model *old, const struct plan *plan, struct touched_list *ret_list)
{
	struct touched_list list = {.entries = calloc(plan->count + 1, sizeof(*list.entries))};
	struct hash_index old_ids = {0};
	bool done = list.entries != NULL && ids_add(old, &old_ids);
	uint64_t unused;

	for (size_t i = 0; done && i < plan->count; i++) {
		const char *workspace = plan->changes[i].workspace;
		enum index_outcome outcome = INDEX_EXISTS;

		if (index_find(&old_ids, workspace, strlen(workspace), &unused))
			outcome = index_add(&list.by_id, workspace, strlen(workspace), list.count, NULL);
		if (outcome == INDEX_ADDED)
			list.entries[list.count++] = (struct touched){.workspace = workspace};
		done = outcome != INDEX_NO_MEMORY;
	}
	index_clear(&old_ids);
	if (!done) {
		touched_clear(&list);
		return false;
	}
	*ret_list = list;
	return true;
}

/* An exit code. `ret_json` is the caller's. */
static int ask_json(const char *run_dir, const char *path, json_t **ret_json)
{
	struct client_answer answer;
	int code = EXIT_CODE_OK;

	if (!client_ask(run_dir, "GET", path, &answer))
		return EXIT_CODE_UNREACHABLE;
	*ret_json = answer.code == 200 ? json_loads(answer.body, 0, NULL) : NULL;
	if (*ret_json == NULL)
		code = client_failed(&answer);
	free(answer.body);
	return code;
}

/* How many sessions each of them has now; those of which nobody knows stay so. */
static int touched_count_sessions(const char *run_dir, struct touched_list *list)
{
	json_t *json, *row;
	size_t at;
	int code;

	if (list->count == 0)
		return EXIT_CODE_OK;
	code = ask_json(run_dir, "/v1/workspaces", &json);
	if (code != EXIT_CODE_OK)
		return code;
	json_array_foreach(json_object_get(json, "workspaces"), at, row)
	{
		const char *id = json_string_value(json_object_get(row, "id"));
		uint64_t index;

		if (id == NULL || !index_find(&list->by_id, id, strlen(id), &index))
			continue;
		list->entries[index].known = json_is_true(json_object_get(row, "on_gateway"));
		list->entries[index].sessions = json_integer_value(json_object_get(row, "sessions_active"));
	}
	json_decref(json);
	return EXIT_CODE_OK;
}

/* ---- what would end ---- */

static uint32_t address_of(const json_t *session, const char *key)
{
	const char *text = json_string_value(json_object_get(session, key));
	uint32_t address = 0;

	if (text == NULL || scalar_parse_ipv4(text, &address) != NULL)
		return 0;
	return address;
}

static json_int_t count_ending(const struct plan_sessions *sessions, const json_t *list)
{
	json_int_t count = 0;
	json_t *one;
	size_t at;

	json_array_foreach((json_t *)list, at, one)
	{
		const char *workspace = json_string_value(json_object_get(one, "workspace"));
		const struct plan_session session = {
			.workspace = workspace != NULL ? workspace : "",
			.vni = (uint32_t)json_integer_value(json_object_get(one, "vni")),
			.inside_address = address_of(one, "inside_address"),
			.egress_address = address_of(one, "egress_address"),
			.vtep = address_of(one, "vtep"),
		};

		count += plan_session_ends(sessions, &session);
	}
	return count;
}

/* Of one workspace, or of all (NULL), as many as one answer has. */
static int ask_ending(const char *run_dir, const struct plan_sessions *sessions, struct touched *ret_touched)
{
	char path[256] = "/v1/sessions?limit=10000";
	json_t *json;
	int code;

	if (ret_touched->workspace != NULL &&
		!client_add_parameter(path, sizeof(path), "workspace", ret_touched->workspace))
		return EXIT_CODE_FAILED;
	code = ask_json(run_dir, path, &json);
	if (code != EXIT_CODE_OK)
		return code;
	ret_touched->ending = count_ending(sessions, json_object_get(json, "sessions"));
	ret_touched->more =
		json_is_true(json_object_get(json, "more")) || !json_is_true(json_object_get(json, "complete"));
	json_decref(json);
	return EXIT_CODE_OK;
}

/* `all`: of every workspace, by what is everybody's; unknown where the plan does not touch that. */
static int find_ending(const char *run_dir, const struct model *old, const struct model *new,
	struct touched_list *touched, struct touched *ret_all)
{
	struct plan_sessions sessions;
	int code = EXIT_CODE_OK;

	if (old == NULL)
		return EXIT_CODE_OK;
	if (!plan_sessions_open(&sessions, old, new)) {
		fprintf(stderr, "postern: plan: out of memory\n");
		return EXIT_CODE_FAILED;
	}
	for (size_t i = 0; i < touched->count && code == EXIT_CODE_OK; i++) {
		struct touched *of = &touched->entries[i];

		if (of->known && of->sessions > 0 && plan_sessions_may_end(&sessions, of->workspace))
			code = ask_ending(run_dir, &sessions, of);
	}
	ret_all->known = code == EXIT_CODE_OK && plan_sessions_of_all(old, new);
	if (ret_all->known)
		code = ask_ending(run_dir, &sessions, ret_all);
	plan_sessions_close(&sessions);
	return code;
}

static void print_text(const struct plan *plan, const struct touched_list *touched, const struct touched *all)
{
	for (size_t i = 0; i < plan->count; i++)
		printf("%s\n", plan->changes[i].text);
	if (plan->count == 0)
		printf("nothing would change\n");
	if (plan->needs_restart)
		printf("some of this takes a restart of postern-dataplane\n");
	for (size_t i = 0; i < touched->count; i++) {
		const struct touched *of = &touched->entries[i];

		if (of->known)
			printf("touches workspace %s, which has %lld live session%s: %s%lld would end\n", of->workspace,
				(long long)of->sessions, of->sessions == 1 ? "" : "s", of->more ? "at least " : "",
				(long long)of->ending);
		else
			printf("touches workspace %s; no dataplane says how many live sessions it has\n",
				of->workspace);
	}
	if (all->known)
		printf("of the sessions of all workspaces %s%lld would end\n", all->more ? "at least " : "",
			(long long)all->ending);
}

static void print_json(const struct plan *plan, const struct touched_list *touched, const struct touched *all)
{
	static const char *const kinds[] = {[PLAN_ADD] = "add", [PLAN_REMOVE] = "remove", [PLAN_CHANGE] = "change"};
	json_t *changes = json_array(), *workspaces = json_array(), *json;

	for (size_t i = 0; i < plan->count; i++) {
		const struct plan_change *change = &plan->changes[i];

		json_array_append_new(
			changes, json_pack("{s:s, s:s, s:b, s:o}", "kind", kinds[change->kind], "text", change->text,
					 "needs_restart", change->needs_restart, "workspace",
					 change->workspace[0] != '\0' ? json_string(change->workspace) : json_null()));
	}
	for (size_t i = 0; i < touched->count; i++) {
		const struct touched *of = &touched->entries[i];

		json_array_append_new(
			workspaces, json_pack("{s:s, s:o, s:o, s:b}", "id", of->workspace, "sessions_active",
					    of->known ? json_integer(of->sessions) : json_null(), "sessions_ending",
					    of->known ? json_integer(of->ending) : json_null(), "more", of->more));
	}
	json = json_pack("{s:o, s:b, s:o, s:o}", "changes", changes, "needs_restart", plan->needs_restart,
		"workspaces_touched", workspaces, "all_workspaces",
		all->known ? json_pack("{s:I, s:b}", "sessions_ending", all->ending, "more", all->more) : json_null());
	json_dumpf(json, stdout, JSON_INDENT(2));
	fputc('\n', stdout);
	json_decref(json);
}

static int print_plan(
	const char *run_dir, bool as_json, const struct model *old, const struct model *new, const struct plan *plan)
{
	struct touched_list touched;
	struct touched all = {0};
	int code;

	if (!touched_find(old, plan, &touched)) {
		fprintf(stderr, "postern: plan: out of memory\n");
		return EXIT_CODE_FAILED;
	}
	code = touched_count_sessions(run_dir, &touched);
	if (code == EXIT_CODE_OK)
		code = find_ending(run_dir, old, new, &touched, &all);
	if (code == EXIT_CODE_OK && as_json)
		print_json(plan, &touched, &all);
	else if (code == EXIT_CODE_OK)
		print_text(plan, &touched, &all);
	touched_clear(&touched);
	return code;
}

int postern_plan(const char *run_dir, bool json, size_t file_size_max_bytes, const char *file)
{
	const struct config_api limits = {.file_size_max_bytes = file_size_max_bytes};
	struct problems problems = {0}, warnings = {0};
	struct model *old = NULL, *new;
	struct plan plan;
	int code;

	if (config_load_all(file, &limits, &new, NULL, &problems, &warnings) != STATUS_OK) {
		problems_print(&problems);
		problems_clear(&problems);
		problems_clear(&warnings);
		return EXIT_CODE_INVALID;
	}
	problems_clear(&warnings);
	code = running_model(run_dir, &old);
	if (code == EXIT_CODE_OK && !drain_overlay(run_dir, new))
		code = EXIT_CODE_FAILED;
	if (code == EXIT_CODE_OK) {
		if (plan_make(old, new, &plan) == STATUS_OK) {
			code = print_plan(run_dir, json, old, new, &plan);
			plan_clear(&plan);
		} else {
			fprintf(stderr, "postern: plan: out of memory\n");
			code = EXIT_CODE_FAILED;
		}
	}
	if (old != NULL)
		model_free(old);
	model_free(new);
	return code;
}
