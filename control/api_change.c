/* SPDX-License-Identifier: Apache-2.0 */
#include "control/api_change.h"

#include <limits.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/api_problem.h"
#include "control/api_wait.h"
#include "control/daemon_config.h"
#include "control/model_json.h"
#include "control/state.h"

enum { NAME_SIZE_BYTES = 96, ETAG_DIGEST_BYTES = 8 };

/* ---- versions ---- */

void api_etag(const json_t *json, char ret_etag[API_ETAG_SIZE_BYTES])
{
	unsigned char digest[EVP_MAX_MD_SIZE] = {0};
	char *text = json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);
	char *at = ret_etag;

	if (text != NULL)
		EVP_Digest(text, strlen(text), digest, NULL, EVP_sha256(), NULL);
	free(text);
	*at++ = '"';
	for (unsigned i = 0; i < ETAG_DIGEST_BYTES; i++)
		at += snprintf(at, 3, "%02x", digest[i]);
	snprintf(at, 2, "\"");
}

bool api_etag_matches(const char *field, const char *etag)
{
	size_t length = etag != NULL ? strlen(etag) : 0;

	if (etag == NULL)
		return false;
	while (*field != '\0') {
		size_t item = strcspn(field, ",");
		size_t end = item;

		while (end > 0 && (field[end - 1] == ' ' || field[end - 1] == '\t'))
			end--;
		if ((end == 1 && field[0] == '*') || (end == length && memcmp(field, etag, length) == 0))
			return true;
		field += item;
		field += strspn(field, ", \t");
	}
	return false;
}

const struct model_workspace *api_find_workspace(const struct daemon *daemon, const char *id)
{
	const struct revision *desired = daemon->config.desired;

	for (size_t i = 0; desired != NULL && i < desired->model->workspace_count; i++) {
		if (strcmp(desired->model->workspaces[i].id, id) == 0)
			return &desired->model->workspaces[i];
	}
	return NULL;
}

/* ---- one change ---- */

struct change_work {
	char name[NAME_SIZE_BYTES]; /* of the fragment */
	char path[PATH_MAX];
	char *text;	   /* of the fragment; NULL: it goes */
	json_t *from, *to; /* defaults written out; NULL: nothing */
	struct revision *revision;
};

static void work_clear(struct change_work *work)
{
	free(work->text);
	json_decref(work->from);
	json_decref(work->to);
	revision_release(work->revision);
}

/* Answers and returns false when the object is not the API's to change. */
static bool change_is_ours(struct api_request *request, const struct api_change *change)
{
	char source[SOURCE_TEXT_SIZE_BYTES];

	if (change->current == NULL || change->current->source.kind == MODEL_SOURCE_API)
		return true;
	api_answer_error(request, 409, "workspace %s stands in %s: change it there, or remove it there first",
		change->id, model_source_text(&change->current->source, source));
	return false;
}

/* The caller knows which version it changes? Else answers, and returns false. */
static bool change_has_version(struct api_request *request, const struct api_change *change, const json_t *from)
{
	const char *if_match = api_request_field(request, HTTP_FIELD_IF_MATCH);
	const char *if_none_match = api_request_field(request, HTTP_FIELD_IF_NONE_MATCH);
	char etag[API_ETAG_SIZE_BYTES];

	if (from != NULL)
		api_etag(from, etag);
	if (if_match != NULL && !api_etag_matches(if_match, from != NULL ? etag : NULL)) {
		api_answer_error(request, 412, "workspace %s is %s: read it again, and send its ETag as If-Match",
			change->id, from != NULL ? "another by now" : "not there (any more)");
		return false;
	}
	if (if_none_match != NULL && from != NULL && api_etag_matches(if_none_match, etag)) {
		api_answer_error(request, 412, "workspace %s is there already", change->id);
		return false;
	}
	if (if_match == NULL && from != NULL && change->needs_version) {
		api_answer_error(request, 428,
			"workspace %s is there already: send its ETag as If-Match, or * to replace whatever it is",
			change->id);
		return false;
	}
	return true;
}

static void answer_problems(struct api_request *request, const struct change_work *work, struct problems *problems)
{
	bool all_in_body;
	json_t *list = api_problem_list(problems, work->path, "workspaces[0]", &all_in_body);
	const char *error = "the change is not valid, nothing was changed";
	int code = 422;

	if (!request->daemon->config.file_valid && !all_in_body) {
		error = "the configuration files are not valid: nothing can be changed until they are";
		code = 409;
	} else if (problems->count == 0) {
		error = "posternd is out of memory";
		code = 503;
	}
	api_answer(request, code, json_pack("{s:s, s:o}", "error", error, "problems", list));
}

/* What the configuration would be. Answers and returns false when that is not valid. */
static bool change_try(struct api_request *request, const struct api_change *change, struct change_work *work)
{
	struct problems problems = {0};
	json_t *fragment;
	enum status status;

	if (change->current != NULL)
		work->from = model_workspace_json(change->current);
	snprintf(work->name, sizeof(work->name), "workspace-%s.json", change->id);
	snprintf(work->path, sizeof(work->path), "%s/%s", state_api_path(request->daemon->state), work->name);
	if (change->wanted != NULL) {
		fragment = json_pack("{s:[O]}", "workspaces", change->wanted);
		work->text = fragment != NULL ? json_dumps(fragment, JSON_INDENT(1)) : NULL;
		json_decref(fragment);
		if (work->text == NULL) {
			api_answer_error(request, 503, "posternd is out of memory");
			return false;
		}
	}
	status = daemon_try_change(request->daemon, change->id, work->name, work->text, &work->revision, &problems);
	if (status != STATUS_OK)
		answer_problems(request, work, &problems);
	problems_clear(&problems);
	return status == STATUS_OK;
}

static json_t *revision_workspace_json(const struct revision *revision, const char *id)
{
	for (size_t i = 0; i < revision->model->workspace_count; i++) {
		if (strcmp(revision->model->workspaces[i].id, id) == 0)
			return model_workspace_json(&revision->model->workspaces[i]);
	}
	return NULL;
}

static void change_answer(
	struct api_request *request, const struct api_change *change, const struct change_work *work, bool created)
{
	char fields[API_ANSWER_FIELDS_SIZE_BYTES] = "", etag[API_ETAG_SIZE_BYTES];

	if (work->to != NULL) {
		api_etag(work->to, etag);
		snprintf(fields, sizeof(fields), "ETag: %s\r\n", etag);
	}
	api_wait_in_force(
		request, created ? 201 : 200, fields, json_pack("{s:s, s:O?}", "id", change->id, "config", work->to));
}

/* Stored, desired, audited, answered. */
static void change_commit(struct api_request *request, const struct api_change *change, struct change_work *work)
{
	struct problems problems = {0};
	struct revision *revision = work->revision;
	bool created = work->from == NULL;

	work->revision = NULL;
	if (daemon_commit_change(request->daemon, work->name, work->text, revision, &problems) != STATUS_OK) {
		log_problems(&request->daemon->log, LOG_LEVEL_ERROR, &problems);
		api_answer_error(request, 507, "nothing was changed: %s", problems.count > 0 ? problems.lines[0] : "");
		problems_clear(&problems);
		return;
	}
	api_request_audit(request, json_incref(work->from), json_incref(work->to));
	change_answer(request, change, work, created);
}

void api_change_workspace(struct api_request *request, struct api_change *change)
{
	struct change_work work = {0};

	if (!change_is_ours(request, change) || !change_try(request, change, &work)) {
		json_decref(change->wanted);
		work_clear(&work);
		return;
	}
	work.to = revision_workspace_json(work.revision, change->id);
	/* The same again, such as after an answer that was lost: nothing to do, whatever version the caller knew. */
	if (work.from != NULL && work.to != NULL && json_equal(work.from, work.to))
		change_answer(request, change, &work, false);
	else if (change_has_version(request, change, work.from))
		change_commit(request, change, &work);
	json_decref(change->wanted);
	work_clear(&work);
}
