/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz target: any bytes as a configuration. What loads must print, load again to the same text, compile to a block
 * that the dataplane accepts, and plan to no change.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "control/model.h"
#include "control/plan.h"
#include "control/shared_pool.h"
#include "dataplane/nat/nat.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size_bytes);

static void require(int condition)
{
	if (!condition)
		abort();
}

static void check_compiled(const struct model *model)
{
	struct problems problems = {0}, warnings = {0};
	struct shared_pool_table pool = {0};
	char why[NAT_TEXT_SIZE_BYTES];
	size_t size_bytes = 0;
	void *block = NULL;

	if (!model->gateway.present)
		return;
	require(shared_pool_assign(&pool, model, 1, &problems, &warnings) == STATUS_OK);
	require(shared_pool_is_valid(&pool) && warnings.count == 0);
	require(policy_compile(model, &pool, NULL, 1, &block, &size_bytes, &problems) == STATUS_OK);
	require(policy_snapshot_check(block, size_bytes, why));
	shared_pool_clear(&pool);
	free(block);
}

static void check_model(const struct model *model, struct problems *warnings)
{
	struct problems problems = {0};
	struct model *reloaded = NULL;
	struct plan plan = {0};
	char *printed = model_print(model), *printed_again;

	require(printed != NULL);
	require(config_parse("printed", printed, strlen(printed), &reloaded, &problems, warnings) == STATUS_OK);
	printed_again = model_print(reloaded);
	require(printed_again && strcmp(printed, printed_again) == 0);
	require(plan_make(model, reloaded, &plan) == STATUS_OK && plan.count == 0);
	check_compiled(model);
	plan_clear(&plan);
	model_free(reloaded);
	free(printed);
	free(printed_again);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size_bytes)
{
	struct problems problems = {0}, warnings = {0};
	struct model *model = NULL;

	if (config_parse("fuzz", (const char *)bytes, size_bytes, &model, &problems, &warnings) == STATUS_OK) {
		require(problems.count == 0);
		check_model(model, &warnings);
	} else {
		require(!model && problems.count > 0);
	}
	model_free(model);
	problems_clear(&problems);
	problems_clear(&warnings);
	return 0;
}
