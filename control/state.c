/* SPDX-License-Identifier: Apache-2.0 */
#include "control/state.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bpf/maps.h"
#include "control/file.h"
#include "control/scalar.h"
#include "control/shared_pool_file.h"
#include "dataplane/contract/run_dir.h"

enum { SHARED_POOL_FILE_SIZE_MAX_BYTES = 64 * 1024 * 1024, DRAINS_FILE_SIZE_MAX_BYTES = 4 * 1024 * 1024 };

struct index_slot {
	bool taken;
	bool asked_for; /* since the last round that went well */
};

struct state {
	int directory_fd; /* DIR/state */
	int lock_fd;
	uint64_t generation;	   /* the last one given */
	json_t *workspace_indexes; /* id → index */
	bool workspace_indexes_changed;
	struct index_slot index_slots[BPF_WORKSPACE_COUNT_MAX];
	char *shared_pool_text;	  /* as it is on disk; NULL: unknown */
	char path[PATH_MAX - 64]; /* of DIR/state */
	char last_good_path[PATH_MAX], api_path[PATH_MAX];
};

static const char generation_name[] = "generation";
static const char last_good_name[] = "last-good.yaml";
static const char api_name[] = "api.d";
static const char confirm_name[] = "confirm-by";
static const char drains_name[] = "drains.json";
static const char indexes_name[] = "workspace-indexes.json";
static const char shared_pool_name[] = "shared-pool.json";
static const char gateways_down_name[] = "gateways-down";

static enum status state_replace(
	struct state *state, const char *name, const char *text, size_t length_bytes, struct problems *problems)
{
	if (file_replace(state->directory_fd, name, text, length_bytes))
		return STATUS_OK;
	problems_add(problems, "%s/%s: can not be written: %s: free space there, or choose another --run-dir",
		state->path, name, strerror(errno));
	return STATUS_SYSTEM;
}

static enum status state_read_generation(struct state *state, struct problems *problems)
{
	char text[32] = {0};
	char *end;
	int fd = openat(state->directory_fd, generation_name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	ssize_t length_bytes;

	if (fd < 0) {
		if (errno == ENOENT)
			return STATUS_OK;
		problems_add(problems, "%s/%s: can not be read: %s", state->path, generation_name, strerror(errno));
		return STATUS_SYSTEM;
	}
	length_bytes = read(fd, text, sizeof(text) - 1);
	close(fd);
	errno = 0;
	state->generation = length_bytes > 0 ? strtoull(text, &end, 10) : 0;
	if (length_bytes <= 0 || errno != 0 || (*end != '\n' && *end != '\0')) {
		/* The dataplane tells its own generation on connect, so a lost number does no harm. */
		state->generation = 0;
	}
	return STATUS_OK;
}

/* Whole, or nothing: an index that two claim belongs to neither. */
static bool state_take_indexes(struct state *state)
{
	const char *id;
	json_t *value;

	json_object_foreach(state->workspace_indexes, id, value)
	{
		json_int_t index = json_is_integer(value) ? json_integer_value(value) : -1;

		if (index < 0 || index >= BPF_WORKSPACE_COUNT_MAX || state->index_slots[index].taken)
			return false;
		state->index_slots[index].taken = true;
	}
	return true;
}

static void state_read_indexes(struct state *state)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s", state->path, indexes_name);
	state->workspace_indexes = json_load_file(path, JSON_REJECT_DUPLICATES, NULL);
	if (json_is_object(state->workspace_indexes) && state_take_indexes(state))
		return;
	json_decref(state->workspace_indexes);
	state->workspace_indexes = json_object();
	memset(state->index_slots, 0, sizeof(state->index_slots));
}

static enum status state_open_directory(struct state *state, const char *run_dir, struct problems *problems)
{
	char text[256];

	if (mkdir(run_dir, 0755) != 0 && errno != EEXIST) {
		problems_add(problems, "%s: can not be created: %s: create its parent, or choose another --run-dir",
			run_dir, strerror(errno));
		return STATUS_SYSTEM;
	}
	if (!run_dir_check(run_dir, text, sizeof(text))) {
		problems_add(problems, "%s", text);
		return STATUS_SYSTEM;
	}
	if (mkdir(state->path, 0700) != 0 && errno != EEXIST) {
		problems_add(problems, "%s: can not be created: %s", state->path, strerror(errno));
		return STATUS_SYSTEM;
	}
	state->directory_fd = open(state->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (state->directory_fd < 0) {
		problems_add(problems, "%s: can not be opened: %s", state->path, strerror(errno));
		return STATUS_SYSTEM;
	}
	state->lock_fd = openat(state->directory_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (state->lock_fd < 0) {
		problems_add(problems, "%s/lock: can not be opened: %s", state->path, strerror(errno));
		return STATUS_SYSTEM;
	}
	if (flock(state->lock_fd, LOCK_EX | LOCK_NB) != 0) {
		problems_add(problems,
			"%s: another posternd uses this run directory: stop it, or choose another "
			"--run-dir",
			run_dir);
		return STATUS_SYSTEM;
	}
	return STATUS_OK;
}

enum status state_open(const char *run_dir, struct state **ret_state, struct problems *problems)
{
	struct state *state = calloc(1, sizeof(*state));
	enum status status;
	int length;

	if (state == NULL)
		return STATUS_NO_MEMORY;
	state->directory_fd = -1;
	state->lock_fd = -1;
	length = snprintf(state->path, sizeof(state->path), "%s/state", run_dir);
	if (length < 0 || length >= (int)sizeof(state->path)) {
		problems_add(problems, "--run-dir: the path is too long");
		free(state);
		return STATUS_INVALID;
	}
	snprintf(state->api_path, sizeof(state->api_path), "%s/%s", state->path, api_name);
	snprintf(state->last_good_path, sizeof(state->last_good_path), "%s/%s", state->path, last_good_name);
	status = state_open_directory(state, run_dir, problems);
	if (status == STATUS_OK)
		status = state_read_generation(state, problems);
	if (status != STATUS_OK) {
		state_close(state);
		return status;
	}
	state_read_indexes(state);
	*ret_state = state;
	return STATUS_OK;
}

void state_close(struct state *state)
{
	if (state == NULL)
		return;
	json_decref(state->workspace_indexes);
	free(state->shared_pool_text);
	if (state->directory_fd >= 0)
		close(state->directory_fd);
	if (state->lock_fd >= 0)
		close(state->lock_fd);
	free(state);
}

enum status state_generation_next(
	struct state *state, uint64_t floor, uint64_t *ret_generation, struct problems *problems)
{
	uint64_t next = (state->generation > floor ? state->generation : floor) + 1;
	char text[32];
	int length_bytes = snprintf(text, sizeof(text), "%" PRIu64 "\n", next);
	enum status status = state_replace(state, generation_name, text, (size_t)length_bytes, problems);

	if (status != STATUS_OK)
		return status;
	state->generation = next;
	*ret_generation = next;
	return STATUS_OK;
}

const char *state_directory(const struct state *state)
{
	return state->path;
}

const char *state_last_good_path(const struct state *state)
{
	return state->last_good_path;
}

const char *state_api_path(const struct state *state)
{
	return state->api_path;
}

enum status state_save_api_fragment(struct state *state, const char *name, const char *text, struct problems *problems)
{
	int directory_fd;
	bool done;

	if (mkdirat(state->directory_fd, api_name, 0700) == 0)
		fsync(state->directory_fd);
	directory_fd = openat(state->directory_fd, api_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (text != NULL)
		done = directory_fd >= 0 && file_replace(directory_fd, name, text, strlen(text));
	else
		done = directory_fd >= 0 && (unlinkat(directory_fd, name, 0) == 0 || errno == ENOENT) &&
		       fsync(directory_fd) == 0;
	if (!done)
		problems_add(problems, "%s/%s: can not be written: %s: free space there, or choose another --run-dir",
			state->api_path, name, strerror(errno));
	if (directory_fd >= 0)
		close(directory_fd);
	return done ? STATUS_OK : STATUS_SYSTEM;
}

bool state_has_last_good(const struct state *state)
{
	return faccessat(state->directory_fd, last_good_name, R_OK, 0) == 0;
}

enum status state_save_last_good(struct state *state, const char *text, struct problems *problems)
{
	return state_replace(state, last_good_name, text, strlen(text), problems);
}

/* ---- gateways ---- */

size_t state_load_gateways_down(const struct state *state, uint32_t *ret_addresses, size_t count_max)
{
	int fd = openat(state->directory_fd, gateways_down_name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	FILE *file = fd >= 0 ? fdopen(fd, "r") : NULL;
	char line[64];
	size_t count = 0;

	if (file == NULL) {
		if (fd >= 0)
			close(fd);
		return 0;
	}
	while (count < count_max && fgets(line, sizeof(line), file) != NULL) {
		line[strcspn(line, "\n")] = '\0';
		if (scalar_parse_ipv4(line, &ret_addresses[count]) == NULL)
			count++;
	}
	fclose(file);
	return count;
}

enum status state_save_gateways_down(
	struct state *state, const uint32_t *addresses, size_t count, struct problems *problems)
{
	char text[BPF_GATEWAY_COUNT_MAX * SCALAR_SIZE_BYTES] = "", address[SCALAR_SIZE_BYTES];
	size_t length = 0;

	for (size_t i = 0; i < count && i < BPF_GATEWAY_COUNT_MAX; i++) {
		scalar_format_ipv4(addresses[i], address);
		length += (size_t)snprintf(text + length, sizeof(text) - length, "%s\n", address);
	}
	return state_replace(state, gateways_down_name, text, length, problems);
}

/* ---- indexes ---- */

bool state_find_workspace_index(const struct state *state, const char *workspace, uint32_t *ret_index)
{
	const json_t *known = json_object_get(state->workspace_indexes, workspace);

	if (known == NULL)
		return false;
	*ret_index = (uint32_t)json_integer_value(known);
	return true;
}

const char *state_workspace_of_index(const struct state *state, uint32_t index)
{
	const char *id;
	json_t *value;

	json_object_foreach(state->workspace_indexes, id, value)
	{
		if (json_integer_value(value) == (json_int_t)index)
			return id;
	}
	return "";
}

enum status state_workspace_index(struct state *state, const char *workspace, uint32_t *ret_index, bool *ret_is_new)
{
	uint32_t index = 0;
	bool known = state_find_workspace_index(state, workspace, &index);

	if (!known) {
		while (index < BPF_WORKSPACE_COUNT_MAX && state->index_slots[index].taken)
			index++;
		if (index == BPF_WORKSPACE_COUNT_MAX)
			return STATUS_REFUSED;
		if (json_object_set_new(state->workspace_indexes, workspace, json_integer(index)) != 0)
			return STATUS_NO_MEMORY;
		state->index_slots[index].taken = true;
		state->workspace_indexes_changed = true;
	}
	state->index_slots[index].asked_for = true;
	*ret_index = index;
	*ret_is_new = !known;
	return STATUS_OK;
}

enum status state_save_workspace_indexes(struct state *state, struct problems *problems)
{
	enum status status;
	char *text;

	if (!state->workspace_indexes_changed)
		return STATUS_OK;
	text = json_dumps(state->workspace_indexes, JSON_INDENT(1) | JSON_SORT_KEYS);
	if (text == NULL)
		return STATUS_NO_MEMORY;
	status = state_replace(state, indexes_name, text, strlen(text), problems);
	free(text);
	if (status == STATUS_OK)
		state->workspace_indexes_changed = false;
	return status;
}

enum status state_release_workspace_indexes(struct state *state, struct problems *problems)
{
	const char *id;
	json_t *value;
	void *next;

	json_object_foreach_safe(state->workspace_indexes, next, id, value)
	{
		struct index_slot *slot = &state->index_slots[json_integer_value(value)];

		if (!slot->asked_for) {
			slot->taken = false;
			state->workspace_indexes_changed = true;
			json_object_del(state->workspace_indexes, id);
		} else {
			slot->asked_for = false;
		}
	}
	return state_save_workspace_indexes(state, problems);
}

/* ---- the shared pool ---- */

/* NULL with errno: it can not be read. malloc'ed, with a NUL behind. */
static char *state_read(struct state *state, const char *name, size_t size_max_bytes, size_t *ret_length_bytes)
{
	int fd = openat(state->directory_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	struct stat file;
	char *bytes = NULL;
	ssize_t got = 0;
	size_t length_bytes = 0;

	if (fd < 0)
		return NULL;
	if (fstat(fd, &file) == 0 && S_ISREG(file.st_mode) && (uint64_t)file.st_size <= size_max_bytes)
		bytes = malloc((size_t)file.st_size + 1);
	else
		errno = EINVAL;
	while (bytes != NULL && length_bytes < (size_t)file.st_size) {
		got = read(fd, bytes + length_bytes, (size_t)file.st_size - length_bytes);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			break;
		length_bytes += (size_t)got;
	}
	close(fd);
	if (bytes == NULL)
		return NULL;
	if (got < 0) {
		free(bytes);
		return NULL;
	}
	bytes[length_bytes] = '\0';
	*ret_length_bytes = length_bytes;
	return bytes;
}

uint64_t state_load_confirm_deadline(struct state *state)
{
	size_t length_bytes;
	char *text = state_read(state, confirm_name, 32, &length_bytes);
	uint64_t deadline_s = text != NULL ? strtoull(text, NULL, 10) : 0;

	free(text);
	return deadline_s;
}

enum status state_save_confirm_deadline(struct state *state, uint64_t deadline_s, struct problems *problems)
{
	struct problems ignored = {0};
	char text[32];
	enum status status;

	snprintf(text, sizeof(text), "%" PRIu64 "\n", deadline_s);
	status = state_replace(state, confirm_name, text, strlen(text), problems != NULL ? problems : &ignored);
	problems_clear(&ignored);
	return status;
}

char *state_load_drains(struct state *state, size_t *ret_length_bytes)
{
	return state_read(state, drains_name, DRAINS_FILE_SIZE_MAX_BYTES, ret_length_bytes);
}

enum status state_save_drains(struct state *state, const char *text, struct problems *problems)
{
	return state_replace(state, drains_name, text, strlen(text), problems);
}

enum status state_load_shared_pool(struct state *state, struct shared_pool_table *ret_table, struct problems *warnings)
{
	static const char consequence[] = "workspaces on the shared pool may get other ports than before";
	struct shared_pool_table table = {0};
	const char *why;
	size_t length_bytes;
	char *text = state_read(state, shared_pool_name, SHARED_POOL_FILE_SIZE_MAX_BYTES, &length_bytes);

	if (text == NULL) {
		/* Each run with a configuration in force has left one. */
		if (errno != ENOENT || state_has_last_good(state))
			problems_add(warnings, "%s/%s: can not be read: %s: %s", state->path, shared_pool_name,
				strerror(errno), consequence);
		*ret_table = table;
		return STATUS_OK;
	}
	why = shared_pool_decode(text, length_bytes, &table);
	if (why != NULL)
		problems_add(
			warnings, "%s/%s: can not be used: %s: %s", state->path, shared_pool_name, why, consequence);
	free(state->shared_pool_text);
	state->shared_pool_text = text;
	*ret_table = table;
	return STATUS_OK;
}

enum status state_save_shared_pool(
	struct state *state, const struct shared_pool_table *table, struct problems *problems)
{
	char *text = shared_pool_encode(table);
	enum status status = STATUS_OK;

	if (text == NULL)
		return STATUS_NO_MEMORY;
	if (state->shared_pool_text != NULL && strcmp(state->shared_pool_text, text) == 0) {
		free(text);
		return STATUS_OK;
	}
	status = state_replace(state, shared_pool_name, text, strlen(text), problems);
	free(status == STATUS_OK ? state->shared_pool_text : text);
	if (status == STATUS_OK)
		state->shared_pool_text = text;
	return status;
}
