/* SPDX-License-Identifier: Apache-2.0 */
#include "control/staged.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "control/audit.h"
#include "control/daemon_config.h"
#include "control/model_match.h"
#include "control/state.h"

static const char apply_suffix[] = ".apply", rollback_suffix[] = ".rollback";

/* ---- the guard ---- */

bool staged_guard(const struct model *old, const struct model *new, const char *asked, struct problems *problems)
{
	size_t count = old->workspace_count, removed;
	struct model_match match;

	if (model_match(old, new, &match) != STATUS_OK)
		return true;
	removed = match.removed_count;
	for (size_t i = 0; i < count && removed > 0 && asked; i++) {
		if (match.new_of_old[i] == MODEL_MATCH_NONE && strcmp(old->workspaces[i].id, asked) == 0)
			removed--;
	}
	model_match_clear(&match);
	if (removed * 100 <= count * old->removed_workspaces_percent_max)
		return true;
	problems_add(problems,
		"the change would remove %zu of %zu workspaces, more than the %u %% of "
		"change_limits.removed_workspaces: if "
		"that is meant, `postern reload --force` or `postern apply FILE --force`",
		removed, count, (unsigned)old->removed_workspaces_percent_max);
	return false;
}

/* ---- files beside the configured one ---- */

/* "/etc/postern/.postern.yaml.apply" */
static void beside(const struct daemon *daemon, const char *suffix, char ret_path[PATH_MAX])
{
	const char *slash = strrchr(daemon->config_path, '/');

	if (snprintf(ret_path, PATH_MAX, "%.*s.%s%s", (int)(slash + 1 - daemon->config_path), daemon->config_path,
		    slash + 1, suffix) >= PATH_MAX)
		ret_path[0] = '\0'; /* no such file */
}

static enum status refuse_system(struct problems *problems, const char *what, const char *path)
{
	problems_add(problems, "%s can not be %s: %s", path, what, strerror(errno));
	return STATUS_SYSTEM;
}

/* Puts the old file back. False: it could not be. */
static bool put_back(struct daemon *daemon)
{
	char path[PATH_MAX];

	beside(daemon, rollback_suffix, path);
	if (rename(path, daemon->config_path) != 0) {
		log_error(&daemon->log, "%s can not be put back to %s: %s", path, daemon->config_path, strerror(errno));
		return false;
	}
	daemon->staged.deadline_s = 0;
	state_save_confirm_deadline(daemon->state, 0, NULL);
	return true;
}

/* Nobody has asked for it: time has. */
static void audit_expiry(struct daemon *daemon, uint64_t deadline_s)
{
	audit_write(daemon->audit, "posternd", "rollback of what was not confirmed",
		json_pack("{s:I}", "confirm_by_unix_seconds", (json_int_t)deadline_s),
		json_pack("{s:i}", "confirm_by_unix_seconds", 0));
}

void staged_open(struct daemon *daemon)
{
	uint64_t deadline_s = state_load_confirm_deadline(daemon->state);
	char path[PATH_MAX];

	beside(daemon, rollback_suffix, path);
	if (access(path, F_OK) != 0)
		return;
	if (deadline_s > daemon_steady_unix_s(daemon)) {
		daemon->staged.deadline_s = deadline_s;
		return;
	}
	daemon->staged.expired_at_start = put_back(daemon);
	daemon->staged.expired_deadline_s = deadline_s;
	if (daemon->staged.expired_at_start)
		log_warning(&daemon->log, "a change that was applied was not confirmed: it is rolled back");
}

void staged_tick(struct daemon *daemon)
{
	uint64_t deadline_s = daemon->staged.deadline_s;

	/* Where the audit log is stands in the configuration, which was not there yet. */
	if (daemon->staged.expired_at_start && daemon->config.desired != NULL) {
		audit_expiry(daemon, daemon->staged.expired_deadline_s);
		daemon->staged.expired_at_start = false;
	}
	if (daemon->staged.deadline_s == 0 || daemon_steady_unix_s(daemon) < daemon->staged.deadline_s)
		return;
	log_warning(&daemon->log, "the change was not confirmed in time: it is rolled back");
	/* What can not be put back now can not later; the operator is told by the log and the files. */
	if (!put_back(daemon)) {
		daemon->staged.deadline_s = 0;
		return;
	}
	audit_expiry(daemon, deadline_s);
	daemon_reload_forced(daemon);
}

/* ---- requests ---- */

static enum status validate(struct daemon *daemon, const char *path, bool force, struct problems *problems)
{
	struct revision *revision;
	enum status status = daemon_try_file(daemon, path, &revision, problems);

	if (status != STATUS_OK)
		return status;
	if (!force && daemon->config.desired != NULL &&
		!staged_guard(daemon->config.desired->model, revision->model, NULL, problems))
		status = STATUS_REFUSED;
	revision_release(revision);
	return status;
}

/* A second name for the file in use, and the time by which that is confirmed. */
static enum status keep_old(struct daemon *daemon, uint64_t deadline_s, struct problems *problems)
{
	char path[PATH_MAX];
	enum status status = state_save_confirm_deadline(daemon->state, deadline_s, problems);

	if (status != STATUS_OK)
		return status;
	beside(daemon, rollback_suffix, path);
	unlink(path);
	if (linkat(AT_FDCWD, daemon->config_path, AT_FDCWD, path, AT_SYMLINK_FOLLOW) != 0)
		return refuse_system(problems, "made", path);
	return STATUS_OK;
}

/* Somebody has changed what the file includes since it was validated. */
static enum status not_loaded(struct daemon *daemon, struct problems *problems)
{
	const struct problems *errors = &daemon->config.errors;
	bool on_trial = daemon->staged.deadline_s != 0, back;

	for (size_t i = 0; i < errors->count; i++)
		problems_add(problems, "%s", errors->lines[i]);
	back = on_trial && put_back(daemon);
	if (back)
		daemon_reload_forced(daemon);
	else
		problems_add(problems, "%s is the new file, which is not in force: mend it", daemon->config_path);
	return STATUS_INVALID;
}

enum status staged_apply(struct daemon *daemon, uint64_t confirm_s, bool force, struct problems *problems)
{
	uint64_t deadline_s = confirm_s != 0 ? daemon_steady_unix_s(daemon) + confirm_s : 0;
	char path[PATH_MAX], rollback_path[PATH_MAX];
	enum status status;

	if (daemon->staged.deadline_s != 0) {
		problems_add(problems, "an earlier change waits to be confirmed: `postern apply --confirmed` or "
				       "`postern apply --rollback`");
		return STATUS_REFUSED;
	}
	/* Two files can not be put in place at once, and the old one's signature would not be the new one's. */
	if (daemon->options.config_key_path != NULL) {
		problems_add(problems,
			"with --config-key there is no apply: sign the new file elsewhere, then put first "
			"its .sig and then the file itself in the place of %s",
			daemon->config_path);
		return STATUS_REFUSED;
	}
	beside(daemon, apply_suffix, path);
	beside(daemon, rollback_suffix, rollback_path);
	status = validate(daemon, path, force, problems);
	if (status == STATUS_OK && deadline_s != 0)
		status = keep_old(daemon, deadline_s, problems);
	if (status == STATUS_OK && rename(path, daemon->config_path) != 0) {
		status = refuse_system(problems, "put in place", path);
		if (deadline_s != 0)
			unlink(rollback_path);
	}
	if (status != STATUS_OK)
		return status;
	daemon->staged.deadline_s = deadline_s;
	if (force ? daemon_reload_forced(daemon) : daemon_reload(daemon))
		return STATUS_OK;
	return not_loaded(daemon, problems);
}

static bool is_pending(const struct daemon *daemon, struct problems *problems)
{
	if (daemon->staged.deadline_s == 0)
		problems_add(problems, "no change waits to be confirmed");
	return daemon->staged.deadline_s != 0;
}

enum status staged_confirm(struct daemon *daemon, struct problems *problems)
{
	char path[PATH_MAX];

	if (!is_pending(daemon, problems))
		return STATUS_REFUSED;
	beside(daemon, rollback_suffix, path);
	if (unlink(path) != 0 && errno != ENOENT)
		return refuse_system(problems, "removed", path);
	daemon->staged.deadline_s = 0;
	state_save_confirm_deadline(daemon->state, 0, NULL);
	return STATUS_OK;
}

enum status staged_rollback(struct daemon *daemon, struct problems *problems)
{
	if (!is_pending(daemon, problems))
		return STATUS_REFUSED;
	if (!put_back(daemon)) {
		problems_add(problems, "the old file can not be put back: %s", strerror(errno));
		return STATUS_SYSTEM;
	}
	daemon_reload_forced(daemon);
	return STATUS_OK;
}
