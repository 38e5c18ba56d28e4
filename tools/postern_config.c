/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/postern_config.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "control/model.h"
#include "control/plan.h"
#include "control/status.h"
#include "control/yaml_tree.h"
#include "tools/postern_client.h"
#include "tools/postern_drain.h"
#include "tools/postern_sign.h"
#include "tools/postern_usage.h"

static void print_problems(const struct problems *problems)
{
	for (size_t i = 0; i < problems->count; i++)
		fprintf(stderr, "%s\n", problems->lines[i]);
	if (problems->dropped_count > 0)
		fprintf(stderr, "and %zu more\n", problems->dropped_count);
}

/* What posternd wants now, and where each part of it comes from. */
static int config_show(const char *run_dir)
{
	struct client_answer answer;
	int code = EXIT_CODE_OK;

	if (!client_ask(run_dir, "GET", "/v1/config?sources=1", &answer))
		return EXIT_CODE_UNREACHABLE;
	if (answer.code == 404) {
		fprintf(stderr, "postern: posternd has no valid configuration; `postern status` tells why\n");
		code = EXIT_CODE_FAILED;
	} else if (answer.code != 200) {
		code = client_failed(&answer);
	} else {
		fwrite(answer.body, 1, answer.body_bytes, stdout);
	}
	free(answer.body);
	return code;
}

int postern_config(const char *run_dir, int operand_count, char **operands)
{
	struct problems problems = {0}, warnings = {0};
	struct model *model;
	const char *file = operands[1];

	if (operand_count == 1 && strcmp(operands[0], "show") == 0)
		return config_show(run_dir);
	if (operand_count >= 3 && strcmp(operands[0], "sign") == 0)
		return sign_files(operands[1], operands + 2, operand_count - 2);
	if (operand_count >= 3 && strcmp(operands[0], "verify") == 0)
		return verify_files(operands[1], operands + 2, operand_count - 2);
	if (operand_count != 2 || strcmp(operands[0], "check") != 0) {
		return usage_wrong(POSTERN_CONFIG_USAGE);
	}
	if (config_load(file, &model, &problems, &warnings) != STATUS_OK) {
		print_problems(&problems);
		problems_clear(&problems);
		problems_clear(&warnings);
		return EXIT_CODE_INVALID;
	}
	for (size_t i = 0; i < warnings.count; i++)
		fprintf(stderr, "warning: %s\n", warnings.lines[i]);
	printf("%s: valid: %zu workspaces, %zu workers on this host\n", file, model->workspace_count,
		model->worker_host.worker_count);
	problems_clear(&warnings);
	model_free(model);
	return EXIT_CODE_OK;
}

/* What posternd wants now; NULL in `ret_model`: it wants nothing yet. */
static int running_model(const char *run_dir, struct model **ret_model)
{
	/* Printed with all defaults it may be larger than its files. */
	const struct config_api whole = {.file_size_max_bytes = YAML_TOTAL_SIZE_MAX_BYTES};
	struct problems problems = {0}, warnings = {0};
	struct client_answer answer;
	char path[64];
	int code = EXIT_CODE_OK, fd;

	if (!client_ask(run_dir, "GET", "/v1/config", &answer))
		return EXIT_CODE_UNREACHABLE;
	*ret_model = NULL;
	if (answer.code == 404) {
		free(answer.body);
		return EXIT_CODE_OK;
	}
	fd = memfd_create("postern-plan", MFD_CLOEXEC);
	if (answer.code != 200 || fd < 0 || write(fd, answer.body, answer.body_bytes) != (ssize_t)answer.body_bytes) {
		code = client_failed(&answer);
	} else {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		if (config_load_all(path, &whole, ret_model, NULL, &problems, &warnings) != STATUS_OK) {
			print_problems(&problems);
			code = EXIT_CODE_FAILED;
		}
	}
	if (fd >= 0)
		close(fd);
	free(answer.body);
	problems_clear(&problems);
	problems_clear(&warnings);
	return code;
}

static void print_plan(bool as_json, const struct plan *plan)
{
	static const char *const kinds[] = {[PLAN_ADD] = "add", [PLAN_REMOVE] = "remove", [PLAN_CHANGE] = "change"};
	json_t *changes;
	json_t *json;

	if (!as_json) {
		for (size_t i = 0; i < plan->count; i++)
			printf("%s\n", plan->changes[i].text);
		if (plan->count == 0)
			printf("nothing would change\n");
		if (plan->needs_restart)
			printf("some of this takes a restart of postern-dataplane\n");
		return;
	}
	changes = json_array();
	for (size_t i = 0; i < plan->count; i++)
		json_array_append_new(
			changes, json_pack("{s:s, s:s, s:b}", "kind", kinds[plan->changes[i].kind], "text",
					 plan->changes[i].text, "needs_restart", plan->changes[i].needs_restart));
	json = json_pack("{s:o, s:b}", "changes", changes, "needs_restart", plan->needs_restart);
	json_dumpf(json, stdout, JSON_INDENT(2));
	fputc('\n', stdout);
	json_decref(json);
}

int postern_plan(const char *run_dir, bool json, const char *file)
{
	struct problems problems = {0}, warnings = {0};
	struct model *old = NULL, *new;
	struct plan plan;
	int code;

	if (config_load(file, &new, &problems, &warnings) != STATUS_OK) {
		print_problems(&problems);
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
			print_plan(json, &plan);
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
