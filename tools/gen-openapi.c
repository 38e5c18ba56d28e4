/* SPDX-License-Identifier: Apache-2.0 */
/* Prints docs/openapi.json. */
#include <stdio.h>

#include "control/api.h"
#include "control/openapi.h"

int main(void)
{
	json_t *json = openapi_json(&api_routes);
	int failed = json == NULL || json_dumpf(json, stdout, JSON_INDENT(1)) != 0 || putchar('\n') == EOF;

	json_decref(json);
	return failed;
}
