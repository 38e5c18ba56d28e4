/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/postern_apply.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "control/status.h"
#include "control/yaml_tree.h"
#include "tools/postern_client.h"

enum { QUERY_SIZE_BYTES = 256 };

/* "/etc/postern/.postern.yaml.apply", and the mode of the file that it is to replace. False: posternd is away. */
static bool ask_place(const char *run_dir, char ret_path[PATH_MAX], mode_t *ret_mode)
{
	struct client_answer answer;
	const char *path, *slash;
	struct stat about;
	json_t *json;
	bool good;

	if (!client_ask(run_dir, "GET", "/v1/status", &answer))
		return false;
	json = json_loads(answer.body, 0, NULL);
	path = json_string_value(json_object_get(json_object_get(json, "config"), "path"));
	slash = path != NULL ? strrchr(path, '/') : NULL;
	good = slash != NULL &&
	       snprintf(ret_path, PATH_MAX, "%.*s.%s.apply", (int)(slash + 1 - path), path, slash + 1) < PATH_MAX;
	if (good)
		*ret_mode = stat(path, &about) == 0 ? about.st_mode & 0777 : 0640;
	else
		fprintf(stderr, "postern: apply: posternd does not say where its file is: is it of another version?\n");
	json_decref(json);
	free(answer.body);
	return good;
}

static bool write_file(const char *path, mode_t mode, const char *bytes, size_t size_bytes)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode);
	bool good = fd >= 0;

	while (good && size_bytes > 0) {
		ssize_t written = write(fd, bytes, size_bytes);

		good = written > 0;
		if (good) {
			bytes += written;
			size_bytes -= (size_t)written;
		}
	}
	good = good && fsync(fd) == 0;
	if (!good)
		fprintf(stderr, "postern: apply: %s can not be written: %s\n", path, strerror(errno));
	if (fd >= 0)
		close(fd);
	return good;
}

/* An exit code. */
static int put_beside(const char *from, const char *path, mode_t mode)
{
	struct problems problems = {0};
	size_t size_bytes;
	char *bytes;
	int code = EXIT_CODE_OK;

	if (yaml_tree_read_file(from, YAML_TOTAL_SIZE_MAX_BYTES, &bytes, &size_bytes, &problems) != STATUS_OK) {
		fprintf(stderr, "%s\n", problems.count > 0 ? problems.lines[0] : "postern: out of memory");
		problems_clear(&problems);
		return EXIT_CODE_INVALID;
	}
	if (!write_file(path, mode, bytes, size_bytes)) {
		unlink(path);
		code = EXIT_CODE_FAILED;
	}
	free(bytes);
	return code;
}

/* `copy`, which is gone by then, is the operator's file under another name. */
static void print_error(const char *line, const char *copy, const char *file)
{
	for (const char *at = copy != NULL ? strstr(line, copy) : NULL; at != NULL; at = strstr(line, copy)) {
		fprintf(stderr, "%.*s%s", (int)(at - line), line, file);
		line = at + strlen(copy);
	}
	fprintf(stderr, "%s\n", line);
}

/* `copy`: where the file was put; NULL without one. */
static int post(const struct apply_arguments *arguments, const char *query, const char *copy, const char *done)
{
	struct client_answer answer;
	json_t *json, *errors;
	int code;

	if (!client_ask(arguments->run_dir, "POST", query, &answer))
		return EXIT_CODE_UNREACHABLE;
	json = json_loads(answer.body, 0, NULL);
	errors = json_object_get(json, "errors");
	code = answer.code == 200   ? EXIT_CODE_OK
	       : answer.code == 400 ? EXIT_CODE_USAGE
	       : answer.code == 422 ? EXIT_CODE_INVALID
				    : EXIT_CODE_FAILED;
	if (arguments->json)
		fputs(answer.body, stdout);
	for (size_t i = 0; i < json_array_size(errors); i++) {
		if (code != EXIT_CODE_INVALID)
			fputs("postern: apply: ", stderr);
		print_error(json_string_value(json_array_get(errors, i)), copy, arguments->file);
	}
	if (code != EXIT_CODE_OK && json_array_size(errors) == 0)
		fprintf(stderr, "postern: apply: %s\n",
			json_string_value(json_object_get(json, "error")) != NULL
				? json_string_value(json_object_get(json, "error"))
				: "posternd is of another version");
	if (code == EXIT_CODE_OK && !arguments->json)
		printf("%s\n", done);
	json_decref(json);
	free(answer.body);
	return code;
}

static int apply_file(const struct apply_arguments *arguments)
{
	char path[PATH_MAX], query[QUERY_SIZE_BYTES] = "/v1/apply";
	mode_t mode;
	int code;

	if ((arguments->confirm != NULL &&
		    !client_add_parameter(query, sizeof(query), "confirm", arguments->confirm)) ||
		(arguments->force && !client_add_parameter(query, sizeof(query), "force", "1"))) {
		fprintf(stderr, "postern: apply: --confirm: must be a duration such as 60s\n");
		return EXIT_CODE_USAGE;
	}
	if (!ask_place(arguments->run_dir, path, &mode))
		return EXIT_CODE_UNREACHABLE;
	code = put_beside(arguments->file, path, mode);
	if (code != EXIT_CODE_OK)
		return code;
	code = post(arguments, query, path,
		arguments->confirm != NULL
			? "applied on trial: it is rolled back unless `postern apply --confirmed` comes in "
			  "time"
			: "applied; `postern status` tells when it is in force");
	if (code != EXIT_CODE_OK)
		unlink(path);
	return code;
}

int apply_command(const struct apply_arguments *arguments)
{
	if (arguments->confirmed)
		return post(arguments, "/v1/apply/confirmed", NULL, "confirmed: the change stays");
	if (arguments->rollback)
		return post(
			arguments, "/v1/apply/rollback", NULL, "rolled back: the configuration is the one of before");
	return apply_file(arguments);
}
