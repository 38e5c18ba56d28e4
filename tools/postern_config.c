/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/postern_config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/model.h"
#include "control/status.h"
#include "control/yaml_tree.h"
#include "tools/postern_client.h"
#include "tools/postern_sign.h"
#include "tools/postern_usage.h"

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

int postern_config(const char *run_dir, size_t file_size_max_bytes, int operand_count, char **operands)
{
	const struct config_api limits = {.file_size_max_bytes = file_size_max_bytes};
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
	if (config_load_all(file, &limits, &model, NULL, &problems, &warnings) != STATUS_OK) {
		problems_print(&problems);
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
