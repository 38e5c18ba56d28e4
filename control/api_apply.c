/* SPDX-License-Identifier: Apache-2.0 */
/* POST /v1/apply, /v1/apply/confirmed, /v1/apply/rollback: see control/staged.h. */
#include "control/api.h"
#include "control/api_request.h"
#include "control/daemon.h"
#include "control/scalar.h"
#include "control/staged.h"

static json_t *deadline_json(uint64_t deadline_s)
{
	return json_pack("{s:I}", "confirm_by_unix_seconds", (json_int_t)deadline_s);
}

/* `deadline_s`: by when what was in force before had to be confirmed; 0: it had not. */
static void answer_outcome(struct daemon *daemon, struct api_request *request, uint64_t deadline_s, enum status status,
	struct problems *problems)
{
	json_t *errors = json_array();

	for (size_t i = 0; i < problems->count; i++)
		json_array_append_new(errors, json_string(problems->lines[i]));
	if (status == STATUS_OK)
		api_request_audit(request, deadline_json(deadline_s), deadline_json(daemon->staged.deadline_s));
	api_answer(request,
		status == STATUS_OK	   ? 200
		: status == STATUS_INVALID ? 422
		: status == STATUS_REFUSED ? 409
					   : 503,
		json_pack("{s:b, s:s, s:o, s:I}", "done", status == STATUS_OK, "error",
			problems->count > 0 ? problems->lines[0] : "", "errors", errors, "confirm_by_unix_seconds",
			(json_int_t)daemon->staged.deadline_s));
	problems_clear(problems);
}

static void serve_apply(struct daemon *daemon, struct api_request *request)
{
	const char *confirm = api_request_query(request, "confirm"), *force = api_request_query(request, "force");
	struct problems problems = {0};
	uint64_t confirm_s = 0, deadline_s = daemon->staged.deadline_s;
	enum status status;

	if (confirm != NULL && (scalar_parse_duration(confirm, &confirm_s) != NULL || confirm_s == 0 ||
				       confirm_s > STAGED_CONFIRM_MAX_S)) {
		api_answer_error(request, 400, "confirm: must be a duration such as 60s or 5m, 1s..1d");
		return;
	}
	status = staged_apply(daemon, confirm_s, force != NULL && force[0] == '1', &problems);
	answer_outcome(daemon, request, deadline_s, status, &problems);
}

static void serve_confirmed(struct daemon *daemon, struct api_request *request)
{
	struct problems problems = {0};
	uint64_t deadline_s = daemon->staged.deadline_s;
	enum status status = staged_confirm(daemon, &problems);

	answer_outcome(daemon, request, deadline_s, status, &problems);
}

static void serve_rollback(struct daemon *daemon, struct api_request *request)
{
	struct problems problems = {0};
	uint64_t deadline_s = daemon->staged.deadline_s;
	enum status status = staged_rollback(daemon, &problems);

	answer_outcome(daemon, request, deadline_s, status, &problems);
}

const struct api_route api_apply_routes[] = {
	{
		.method = HTTP_METHOD_POST,
		.pattern = "/v1/apply",
		.permission = API_OPERATE,
		.serve = serve_apply,
		.summary = "Puts the main file that lies beside the configured one, as .NAME.apply, in its place.",
		.query = "confirm: A duration after which it is rolled back unless it is confirmed. | force: 1 applies "
			 "also "
			 "what removes more workspaces than change_limits allows.",
		.answer_schema = "Applied",
	},
	{
		.method = HTTP_METHOD_POST,
		.pattern = "/v1/apply/confirmed",
		.permission = API_OPERATE,
		.serve = serve_confirmed,
		.summary = "Confirms the change that was applied: it stays.",
		.answer_schema = "Applied",
	},
	{
		.method = HTTP_METHOD_POST,
		.pattern = "/v1/apply/rollback",
		.permission = API_OPERATE,
		.serve = serve_rollback,
		.summary = "Takes the change back that was applied and not confirmed.",
		.answer_schema = "Applied",
	},
	{.pattern = NULL},
};
