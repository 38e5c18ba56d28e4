/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/postern_gateway.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/status.h"
#include "tools/postern_client.h"
#include "tools/postern_table.h"
#include "tools/postern_usage.h"

enum { PATH_SIZE_BYTES = 128 };

static void show_gateways(const json_t *answer)
{
	const char *const titles[] = {"GATEWAY", "STATE", "PROBED", ">CHANGES", NULL};
	const json_t *gateways = json_object_get(answer, "gateways"), *gateway;
	struct table table;
	size_t index;

	if (json_array_size(gateways) == 0) {
		printf("this is no worker host: it has no gateways\n");
		return;
	}
	table_begin(&table, titles);
	json_array_foreach(gateways, index, gateway)
	{
		const char *address = json_string_value(json_object_get(gateway, "address"));
		const char *state = json_string_value(json_object_get(gateway, "state"));

		table_cell(&table, "%s", address != NULL ? address : "");
		table_cell(&table, "%s", state != NULL ? state : "");
		table_cell(&table, "%s", json_is_true(json_object_get(gateway, "probed")) ? "yes" : "no");
		table_cell(&table, "%lld", (long long)json_integer_value(json_object_get(gateway, "changes")));
	}
	table_print(&table, stdout, "");
}

static int show_answer(const struct client_answer *answer, bool json)
{
	json_t *parsed = json_loads(answer->body, 0, NULL);
	const char *error = json_string_value(json_object_get(parsed, "error"));
	int code = EXIT_CODE_OK;

	if (answer->code != 200) {
		fprintf(stderr, "postern: gateway: %s\n",
			error != NULL ? error : "posternd does not know this: is it of another version?");
		code = answer->code == 400 ? EXIT_CODE_USAGE : EXIT_CODE_FAILED;
	} else if (json) {
		fputs(answer->body, stdout);
	} else {
		show_gateways(parsed);
	}
	json_decref(parsed);
	return code;
}

int postern_gateway(const char *run_dir, bool json, int operand_count, char **operands)
{
	const char *verb = operand_count > 0 ? operands[0] : "";
	char path[PATH_SIZE_BYTES] = "/v1/gateways";
	bool list = strcmp(verb, "list") == 0;
	struct client_answer answer;
	int code;

	if (list ? operand_count != 1
		 : operand_count != 2 || (strcmp(verb, "up") != 0 && strcmp(verb, "down") != 0) ||
				strspn(operands[1], "0123456789.") != strlen(operands[1]) || strlen(operands[1]) > 15) {
		return usage_wrong(POSTERN_GATEWAY_USAGE);
	}
	if (!list)
		snprintf(path, sizeof(path), "/v1/gateways/%s/%s", operands[1], verb);
	if (!client_ask(run_dir, list ? "GET" : "POST", path, &answer))
		return EXIT_CODE_UNREACHABLE;
	code = show_answer(&answer, json);
	free(answer.body);
	return code;
}
