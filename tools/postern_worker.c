/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/postern_worker.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "control/cgroup_path.h"
#include "control/classifier.h"
#include "control/scalar.h"
#include "control/status.h"
#include "control/worker_fence.h"
#include "tools/postern_client.h"
#include "tools/postern_table.h"
#include "tools/postern_usage.h"

enum { URL_SIZE_BYTES = 512, FILE_PATH_SIZE_BYTES = 4096 };

static const char default_device[] = "postern-vxlan";

static int usage(void)
{
	return usage_wrong(POSTERN_WORKER_USAGE);
}

static const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text != NULL ? text : "";
}

/* ---- showing ---- */

static const char *address_of(const json_t *worker)
{
	const char *address = json_string_value(json_array_get(json_object_get(worker, "ips"), 0));

	return address != NULL ? address : "";
}

/* A cgroup is known by its path; the name in the place of its interface is made of that. */
static const char *place_of(const json_t *worker)
{
	const char *cgroup = text_of(worker, "cgroup");

	return cgroup[0] != '\0' ? cgroup : text_of(worker, "interface");
}

static void show_list(const json_t *answer)
{
	const char *const titles[] = {"INTERFACE", "WORKSPACE", "VPC", "ADDRESS", "SOURCE", "STATE", "REASON", NULL};
	const json_t *workers = json_object_get(answer, "workers"), *worker;
	struct table table;
	size_t index;

	if (json_array_size(workers) == 0) {
		printf("no worker to show: this host has none, or none that --workspace and --state let through\n");
		return;
	}
	table_begin(&table, titles);
	json_array_foreach((json_t *)workers, index, worker)
	{
		table_cell(&table, "%s", place_of(worker));
		table_cell(&table, "%s", text_of(worker, "workspace"));
		table_cell(&table, "%s", text_of(worker, "vpc"));
		table_cell(&table, "%s", address_of(worker));
		table_cell(&table, "%s", text_of(worker, "source"));
		table_cell(&table, "%s", text_of(worker, "state"));
		table_cell(&table, "%s", text_of(worker, "reason"));
	}
	table_print(&table, stdout, "");
	if (json_is_true(json_object_get(answer, "more")))
		printf("and more: raise --limit\n");
}

static void show_number(const json_t *worker, const char *key, const char *title)
{
	const json_t *value = json_object_get(worker, key);

	if (value != NULL)
		printf("%-18s %lld\n", title, (long long)json_integer_value(value));
}

static void show_one(const json_t *worker)
{
	const json_t *ready = json_object_get(worker, "ready_seconds"), *drops = json_object_get(worker, "drops"),
		     *value;
	const char *reason;

	printf("%-18s %s\n%-18s %s\n%-18s %s\n%-18s %s\n%-18s %s\n%-18s %s\n",
		text_of(worker, "cgroup")[0] != '\0' ? "cgroup" : "interface", place_of(worker), "workspace",
		text_of(worker, "workspace"), "vpc", text_of(worker, "vpc"), "address", address_of(worker), "source",
		text_of(worker, "source"), "state", text_of(worker, "state"));
	if (text_of(worker, "reason")[0] != '\0')
		printf("%-18s %s\n", "reason", text_of(worker, "reason"));
	if (ready != NULL)
		printf("%-18s %.1f ms\n", "ready after", json_number_value(ready) * 1e3);
	show_number(worker, "transmit_packets", "packets sent");
	show_number(worker, "transmit_bytes", "bytes sent");
	show_number(worker, "receive_packets", "packets received");
	show_number(worker, "receive_bytes", "bytes received");
	json_object_foreach((json_t *)drops, reason, value)
		printf("dropped %-10s %lld\n", reason, (long long)json_integer_value(value));
}

static void show_removed(const json_t *answer)
{
	printf("%s: closed and taken away\n", text_of(answer, "interface"));
}

/* ---- asking ---- */

static int exit_code_of(int code)
{
	if (code == 200 || code == 201)
		return EXIT_CODE_OK;
	if (code == 202)
		return EXIT_CODE_DEGRADED;
	return code == 400 ? EXIT_CODE_USAGE : EXIT_CODE_FAILED;
}

static int ask(const struct postern_worker_arguments *arguments, const char *method, const char *path, const char *body,
	void (*show)(const json_t *answer))
{
	struct client_answer answer;
	const char *error;
	json_t *json;
	int code;

	if (!client_ask_with_body(arguments->run_dir, method, path, body, &answer))
		return EXIT_CODE_UNREACHABLE;
	json = json_loads(answer.body, 0, NULL);
	code = exit_code_of(answer.code);
	error = json_string_value(json_object_get(json, "error"));
	if (error == NULL && code == EXIT_CODE_FAILED)
		error = json_string_value(json_object_get(json, "reason"));
	if (json == NULL)
		error = "posternd's answer is no JSON: is it of another version?";
	if (error != NULL)
		fprintf(stderr, "postern: worker: %s\n", error);
	else if (arguments->json)
		fputs(answer.body, stdout);
	else
		show(json);
	if (error != NULL && code == EXIT_CODE_OK)
		code = EXIT_CODE_FAILED;
	json_decref(json);
	free(answer.body);
	return code;
}

/* "/v1/workers/IF"; false: no interface has such a name. */
static bool path_of(const char *interface, char ret_path[URL_SIZE_BYTES])
{
	char name[INTERFACE_NAME_SIZE_BYTES];

	if (interface[0] == '/') {
		cgroup_path_name(interface, name);
		interface = name;
	}
	if (scalar_check_interface(interface) != NULL) {
		fprintf(stderr, "postern: worker: %s: must be the name of an interface, or the path of a cgroup\n",
			interface);
		return false;
	}
	snprintf(ret_path, URL_SIZE_BYTES, "/v1/workers/%s", interface);
	return true;
}

static int worker_add(const struct postern_worker_arguments *arguments)
{
	json_t *json;
	char *body;
	int code;

	if (arguments->operand_count != 1 || (arguments->interface == NULL) == (arguments->cgroup == NULL) ||
		arguments->workspace == NULL || arguments->vpc == NULL || arguments->ip == NULL)
		return usage();
	json = json_pack("{s:s*, s:s*, s:s, s:s, s:[s], s:s*}", "interface", arguments->interface, "cgroup",
		arguments->cgroup, "workspace", arguments->workspace, "vpc", arguments->vpc, "ips", arguments->ip,
		"mac", arguments->mac);
	body = json != NULL ? json_dumps(json, JSON_COMPACT) : NULL;
	json_decref(json);
	if (body == NULL) {
		fprintf(stderr, "postern: worker: the arguments must be UTF-8\n");
		return EXIT_CODE_USAGE;
	}
	code = ask(arguments, "POST", "/v1/workers", body, show_one);
	free(body);
	return code;
}

static int worker_list(const struct postern_worker_arguments *arguments)
{
	char path[URL_SIZE_BYTES] = "/v1/workers";

	if (arguments->operand_count != 1)
		return usage();
	if ((arguments->workspace != NULL &&
		    !client_add_parameter(path, sizeof(path), "workspace", arguments->workspace)) ||
		(arguments->state != NULL && !client_add_parameter(path, sizeof(path), "state", arguments->state)) ||
		(arguments->limit != NULL && !client_add_parameter(path, sizeof(path), "limit", arguments->limit))) {
		fprintf(stderr, "postern: worker: an option's value is too long\n");
		return EXIT_CODE_USAGE;
	}
	return ask(arguments, "GET", path, NULL, show_list);
}

/* ---- detach ---- */

/* posternd would put everything back. */
static bool daemon_is_running(const char *run_dir)
{
	char path[FILE_PATH_SIZE_BYTES];
	int fd;
	bool running;

	snprintf(path, sizeof(path), "%s/state/lock", run_dir);
	fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return false;
	running = flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
	close(fd);
	return running;
}

static int worker_detach(const struct postern_worker_arguments *arguments)
{
	struct problems problems = {0};
	char pin_dir[FILE_PATH_SIZE_BYTES];
	enum status status;

	if (arguments->operand_count != 1 || !arguments->all)
		return usage();
	if (daemon_is_running(arguments->run_dir)) {
		fprintf(stderr,
			"postern: worker detach: posternd is running: stop it first, it would close them again\n");
		return EXIT_CODE_FAILED;
	}
	snprintf(pin_dir, sizeof(pin_dir), "%s/bpf", arguments->run_dir);
	status = classifier_detach_all(
		pin_dir, arguments->device != NULL ? arguments->device : default_device, &problems);
	if (worker_fence_remove(&problems) != STATUS_OK)
		status = STATUS_SYSTEM;
	for (size_t i = 0; i < problems.count; i++)
		fprintf(stderr, "postern: worker detach: %s\n", problems.lines[i]);
	problems_clear(&problems);
	if (status != STATUS_OK)
		return EXIT_CODE_FAILED;
	printf("%s\n", arguments->json ? "{\"detached\": true}"
				       : "the host is clean: nothing classifies its workers' traffic any more");
	return EXIT_CODE_OK;
}

int postern_worker(const struct postern_worker_arguments *arguments)
{
	const char *verb = arguments->operand_count > 0 ? arguments->operands[0] : "";
	char path[URL_SIZE_BYTES];

	if (strcmp(verb, "add") == 0)
		return worker_add(arguments);
	if (strcmp(verb, "list") == 0)
		return worker_list(arguments);
	if (strcmp(verb, "detach") == 0)
		return worker_detach(arguments);
	if ((strcmp(verb, "show") != 0 && strcmp(verb, "remove") != 0) || arguments->operand_count != 2)
		return usage();
	if (!path_of(arguments->operands[1], path))
		return EXIT_CODE_USAGE;
	return strcmp(verb, "show") == 0 ? ask(arguments, "GET", path, NULL, show_one)
					 : ask(arguments, "DELETE", path, NULL, show_removed);
}
