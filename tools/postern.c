/* SPDX-License-Identifier: Apache-2.0 */
/* postern: the operator's command line. See docs/man/postern.1. */
#include <getopt.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "control/model.h"
#include "control/status.h"
#include "control/version.h"
#include "tools/postern_apply.h"
#include "tools/postern_client.h"
#include "tools/postern_config.h"
#include "tools/postern_drain.h"
#include "tools/postern_gateway.h"
#include "tools/postern_monitor.h"
#include "tools/postern_plan.h"
#include "tools/postern_show.h"
#include "tools/postern_usage.h"
#include "tools/postern_worker.h"

enum { PATH_SIZE_BYTES = 1024, OPERANDS_ANY = -1, WATCH_INTERVAL_MAX_S = 3600 };

struct arguments {
	const char *run_dir;
	bool help;
	uint64_t given; /* bit i: options[i] */
	bool json;
	bool refused;	  /* drops: the destinations, not the reasons */
	unsigned watch_s; /* 0: once */
	const char *deadline;
	const char *confirm;
	bool force, cancel, list, confirmed, rollback;
	const char *workspace, *egress, *remote, *limit;
	size_t file_size_max_bytes;		/* 0: the usual */
	struct postern_worker_arguments worker; /* its own options only */
	int operand_count;
	char **operands; /* after the command */
};

struct command {
	const char *name, *usage, *help;
	int operand_count; /* OPERANDS_ANY: the command looks itself */
	int (*run)(const struct arguments *arguments);
};

/* ---- helpers ---- */

typedef void show_fn(const json_t *answer, FILE *stream);

/* `ret_json`, when wanted, belongs to the caller. */
static int ask_and_show(const struct arguments *arguments, const char *path, show_fn *show, json_t **ret_json)
{
	struct client_answer answer;
	json_t *json;

	if (!client_ask(arguments->run_dir, "GET", path, &answer))
		return EXIT_CODE_UNREACHABLE;
	if (answer.code != 200) {
		int code = client_failed(&answer);

		free(answer.body);
		return code;
	}
	json = json_loads(answer.body, 0, NULL);
	if (json == NULL) {
		fprintf(stderr, "postern: posternd's answer is no JSON: is it of another version?\n");
		free(answer.body);
		return EXIT_CODE_FAILED;
	}
	if (arguments->json)
		fputs(answer.body, stdout);
	else
		show(json, stdout);
	free(answer.body);
	if (ret_json != NULL)
		*ret_json = json;
	else
		json_decref(json);
	return EXIT_CODE_OK;
}

/* ---- commands ---- */

static int status_once(const struct arguments *arguments)
{
	json_t *json = NULL;
	int code = ask_and_show(arguments, "/v1/status", show_status, &json);
	const char *state = json_string_value(json_object_get(json, "state"));

	if (code == EXIT_CODE_OK && (state == NULL || strcmp(state, "ok") != 0))
		code = EXIT_CODE_DEGRADED;
	json_decref(json);
	return code;
}

static int command_status(const struct arguments *arguments)
{
	if (arguments->watch_s == 0)
		return status_once(arguments);
	for (;;) {
		const struct timespec interval = {.tv_sec = arguments->watch_s};

		if (!arguments->json && isatty(STDOUT_FILENO))
			fputs("\033[H\033[2J", stdout);
		status_once(arguments);
		fflush(stdout);
		if (ferror(stdout))
			return EXIT_CODE_FAILED;
		nanosleep(&interval, NULL);
	}
}

static int command_workspaces(const struct arguments *arguments)
{
	return ask_and_show(arguments, "/v1/workspaces", show_workspaces, NULL);
}

static bool add_optional(char path[PATH_SIZE_BYTES], const char *name, const char *value)
{
	return value == NULL || client_add_parameter(path, PATH_SIZE_BYTES, name, value);
}

static int command_mappings(const struct arguments *arguments)
{
	return ask_and_show(arguments, "/v1/mappings", show_mappings, NULL);
}

/* Which destinations new sessions are refused to, most often first. */
static int drops_refused(const struct arguments *arguments)
{
	char path[PATH_SIZE_BYTES] = "/v1/refusals";

	if (!add_optional(path, "workspace", arguments->workspace)) {
		fprintf(stderr, "postern: drops: the workspace is too long\n");
		return EXIT_CODE_USAGE;
	}
	return ask_and_show(arguments, path, show_refusals, NULL);
}

static int command_drops(const struct arguments *arguments)
{
	if (arguments->refused)
		return drops_refused(arguments);
	if (arguments->workspace != NULL) {
		fprintf(stderr, "postern: drops: --workspace goes with --refused; `postern workspaces` counts the "
				"drops of each\n");
		return EXIT_CODE_USAGE;
	}
	return ask_and_show(arguments, "/v1/drops", show_drops, NULL);
}

static int command_sessions(const struct arguments *arguments)
{
	char path[PATH_SIZE_BYTES] = "/v1/sessions";

	if (!add_optional(path, "workspace", arguments->workspace) ||
		!add_optional(path, "egress", arguments->egress) || !add_optional(path, "remote", arguments->remote) ||
		!add_optional(path, "limit", arguments->limit)) {
		fprintf(stderr, "postern: sessions: an option's value is too long\n");
		return EXIT_CODE_USAGE;
	}
	return ask_and_show(arguments, path, show_sessions, NULL);
}

static int command_who(const struct arguments *arguments)
{
	char path[PATH_SIZE_BYTES] = "/v1/sessions";

	if (!add_optional(path, "egress", arguments->operands[0]) || !add_optional(path, "remote", arguments->remote) ||
		!add_optional(path, "limit", arguments->limit)) {
		fprintf(stderr, "postern: who: the address is too long\n");
		return EXIT_CODE_USAGE;
	}
	return ask_and_show(arguments, path, show_who, NULL);
}

static int command_config(const struct arguments *arguments)
{
	return postern_config(
		arguments->run_dir, arguments->file_size_max_bytes, arguments->operand_count, arguments->operands);
}

static int command_plan(const struct arguments *arguments)
{
	return postern_plan(
		arguments->run_dir, arguments->json, arguments->file_size_max_bytes, arguments->operands[0]);
}

static int command_reload(const struct arguments *arguments)
{
	struct client_answer answer;
	json_t *json, *errors;
	int code = EXIT_CODE_OK;

	if (!client_ask(arguments->run_dir, "POST", arguments->force ? "/v1/reload?force=1" : "/v1/reload", &answer))
		return EXIT_CODE_UNREACHABLE;
	json = json_loads(answer.body, 0, NULL);
	errors = json_object_get(json, "errors");
	if (arguments->json)
		fputs(answer.body, stdout);
	if (json == NULL || (answer.code != 200 && answer.code != 422)) {
		code = client_failed(&answer);
	} else if (answer.code == 422) {
		code = EXIT_CODE_INVALID;
		for (size_t i = 0; i < json_array_size(errors); i++)
			fprintf(stderr, "%s\n", json_string_value(json_array_get(errors, i)));
		fprintf(stderr, "postern: the file is not valid, nothing was changed\n");
	} else if (!arguments->json) {
		printf("reloaded; `postern status` tells when it is in force\n");
	}
	json_decref(json);
	free(answer.body);
	return code;
}

static int command_apply(const struct arguments *arguments)
{
	const struct apply_arguments apply = {
		.run_dir = arguments->run_dir,
		.file = arguments->operand_count == 1 ? arguments->operands[0] : NULL,
		.confirm = arguments->confirm,
		.force = arguments->force,
		.confirmed = arguments->confirmed,
		.rollback = arguments->rollback,
		.json = arguments->json,
	};

	if (arguments->operand_count > 1 ||
		(arguments->operand_count == 1) + arguments->confirmed + arguments->rollback != 1) {
		return usage_wrong(APPLY_USAGE);
	}
	return apply_command(&apply);
}

static int command_drain(const struct arguments *arguments)
{
	const struct drain_arguments drain = {
		.run_dir = arguments->run_dir,
		.address = arguments->operand_count == 1 ? arguments->operands[0] : NULL,
		.deadline = arguments->deadline,
		.force = arguments->force,
		.cancel = arguments->cancel,
		.json = arguments->json,
		.watch_s = arguments->watch_s,
	};
	bool changes = arguments->deadline != NULL || arguments->force || arguments->cancel;

	if (arguments->operand_count > 1 ||
		(arguments->operand_count == 1) == (arguments->list || arguments->watch_s) ||
		(arguments->operand_count == 0 && changes)) {
		return usage_wrong(DRAIN_USAGE);
	}
	return drain_command(&drain);
}

static int command_gateway(const struct arguments *arguments)
{
	return postern_gateway(arguments->run_dir, arguments->json, arguments->operand_count, arguments->operands);
}

static int command_worker(const struct arguments *arguments)
{
	struct postern_worker_arguments worker = arguments->worker;

	worker.run_dir = arguments->run_dir;
	worker.json = arguments->json;
	worker.workspace = arguments->workspace;
	worker.limit = arguments->limit;
	worker.operand_count = arguments->operand_count;
	worker.operands = arguments->operands;
	return postern_worker(&worker);
}

static int command_monitor(const struct arguments *arguments)
{
	return postern_monitor(arguments->run_dir, arguments->json, arguments->workspace, arguments->limit);
}

static int command_help(const struct arguments *arguments);

static const struct command commands[] = {
	{"status", "status [--watch N] [--json]", "how the gateway does; exit 5 when degraded", 0, command_status},
	{"workspaces", "workspaces [--json]", "every workspace: egress IPs, sessions, traffic", 0, command_workspaces},
	{"sessions", "sessions [--workspace ID] [--egress IP[:PORT]] [--remote IP[:PORT]] [--limit N] [--json]",
		"live sessions", 0, command_sessions},
	{"drops", "drops [--refused [--workspace ID]] [--json]",
		"why packets were dropped, how many, and what to do; or which destinations are refused most", 0,
		command_drops},
	{"mappings", "mappings [--json]", "the routes of the mapping table, and why one is not in use", 0,
		command_mappings},
	{"who", "who EGRESS-IP[:PORT] [--remote IP[:PORT]] [--limit N] [--json]",
		"who uses this egress IP and port now", 1, command_who},
	{"config", POSTERN_CONFIG_USAGE,
		"validate a configuration, exit 4 when there is an error; print the one in use with its sources;\n"
		"        sign files for posternd --config-key, or verify that",
		OPERANDS_ANY, command_config},
	{"plan", "plan NEW.yaml [--max-file-size SIZE] [--json]",
		"what a new configuration would change, and how many sessions would end", 1, command_plan},
	{"reload", "reload [--force] [--json]", "make posternd read its file again; exit 4 when it is not valid", 0,
		command_reload},
	{"apply", APPLY_USAGE, "put a new configuration in the place of the old one, on trial if wanted", OPERANDS_ANY,
		command_apply},
	{"drain", DRAIN_USAGE, "take an egress IP out of use without cutting its sessions; how far that is",
		OPERANDS_ANY, command_drain},
	{"gateway", POSTERN_GATEWAY_USAGE, "the gateways of this worker host; use one no more, or again", OPERANDS_ANY,
		command_gateway},
	{"worker", POSTERN_WORKER_USAGE,
		"the workers of this host: add, remove, why one waits; take the programs off;\n"
		"        exit 5 when one was added and waits",
		OPERANDS_ANY, command_worker},
	{"monitor", "monitor [--workspace ID] [--limit N] [--json]",
		"packets that this worker host drops, as they come, and why", 0, command_monitor},
	{"help", "help", "this", 0, command_help},
};

static void print_command(FILE *stream, const struct command *command, const char *first, const char *next)
{
	usage_print(stream, first, next, command->usage);
	fprintf(stream, "        %s\n", command->help);
}

static void print_usage(FILE *stream)
{
	fputs("usage: postern [--run-dir DIR] COMMAND          (postern COMMAND --help: that command alone)\n\n",
		stream);
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		print_command(stream, &commands[i], "  ", "  ");
	fputs("\nDIR is posternd's run directory, /run/postern unless given.\n"
	      "exit codes: 0 ok, 1 failed, 2 usage, 3 posternd unreachable, 4 configuration invalid, 5 degraded\n",
		stream);
}

static int command_help(const struct arguments *arguments)
{
	print_usage(stdout);
	return EXIT_CODE_OK;
}

/* ---- arguments ---- */

enum {
	OPTION_RUN_DIR = 256,
	OPTION_JSON,
	OPTION_WATCH,
	OPTION_WORKSPACE,
	OPTION_EGRESS,
	OPTION_REMOTE,
	OPTION_LIMIT,
	OPTION_DEADLINE,
	OPTION_FORCE,
	OPTION_CONFIRM,
	OPTION_CONFIRMED,
	OPTION_ROLLBACK,
	OPTION_CANCEL,
	OPTION_LIST,
	OPTION_REFUSED,
	OPTION_INTERFACE,
	OPTION_CGROUP,
	OPTION_VPC,
	OPTION_IP,
	OPTION_MAC,
	OPTION_STATE,
	OPTION_DEVICE,
	OPTION_ALL,
	OPTION_MAX_FILE_SIZE,
	OPTION_HELP,
	OPTION_VERSION
};

static const struct option options[] = {
	{"run-dir", required_argument, NULL, OPTION_RUN_DIR},
	{"json", no_argument, NULL, OPTION_JSON},
	{"watch", required_argument, NULL, OPTION_WATCH},
	{"workspace", required_argument, NULL, OPTION_WORKSPACE},
	{"egress", required_argument, NULL, OPTION_EGRESS},
	{"remote", required_argument, NULL, OPTION_REMOTE},
	{"limit", required_argument, NULL, OPTION_LIMIT},
	{"deadline", required_argument, NULL, OPTION_DEADLINE},
	{"force", no_argument, NULL, OPTION_FORCE},
	{"confirm", required_argument, NULL, OPTION_CONFIRM},
	{"confirmed", no_argument, NULL, OPTION_CONFIRMED},
	{"rollback", no_argument, NULL, OPTION_ROLLBACK},
	{"cancel", no_argument, NULL, OPTION_CANCEL},
	{"list", no_argument, NULL, OPTION_LIST},
	{"refused", no_argument, NULL, OPTION_REFUSED},
	{"interface", required_argument, NULL, OPTION_INTERFACE},
	{"cgroup", required_argument, NULL, OPTION_CGROUP},
	{"vpc", required_argument, NULL, OPTION_VPC},
	{"ip", required_argument, NULL, OPTION_IP},
	{"mac", required_argument, NULL, OPTION_MAC},
	{"state", required_argument, NULL, OPTION_STATE},
	{"device", required_argument, NULL, OPTION_DEVICE},
	{"all", no_argument, NULL, OPTION_ALL},
	{"max-file-size", required_argument, NULL, OPTION_MAX_FILE_SIZE},
	{"help", no_argument, NULL, OPTION_HELP},
	{"version", no_argument, NULL, OPTION_VERSION},
	{0},
};

static bool parse_watch(const char *text, unsigned *ret_watch_s)
{
	char *end;
	unsigned long value = strtoul(text, &end, 10);

	if (text[0] < '0' || text[0] > '9' || *end != '\0' || value == 0 || value > WATCH_INTERVAL_MAX_S) {
		fprintf(stderr, "postern: --watch: %s: must be 1..%d seconds\n", text, WATCH_INTERVAL_MAX_S);
		return false;
	}
	*ret_watch_s = (unsigned)value;
	return true;
}

static bool parse_file_size(const char *text, size_t *ret_size_bytes)
{
	if (config_file_size_parse(text, ret_size_bytes))
		return true;
	fprintf(stderr, "postern: --max-file-size: %s: must be 1Ki..48Mi, such as 16Mi\n", text);
	return false;
}

/* False: the option is none of `postern worker`. */
static bool take_worker_option(int option, struct postern_worker_arguments *worker)
{
	const char **places[] = {
		[OPTION_INTERFACE] = &worker->interface,
		[OPTION_CGROUP] = &worker->cgroup,
		[OPTION_VPC] = &worker->vpc,
		[OPTION_IP] = &worker->ip,
		[OPTION_MAC] = &worker->mac,
		[OPTION_STATE] = &worker->state,
		[OPTION_DEVICE] = &worker->device,
	};

	if (option == OPTION_ALL) {
		worker->all = true;
		return true;
	}
	if (option < OPTION_INTERFACE || option > OPTION_DEVICE)
		return false;
	*places[option] = optarg;
	return true;
}

/* -1: go on; else the exit code. */
static int parse_arguments(int argc, char *argv[], struct arguments *ret_arguments)
{
	int option, index = 0;

	while ((option = getopt_long(argc, argv, "", options, &index)) != -1) {
		if (option != '?')
			ret_arguments->given |= 1ull << index;
		switch (option) {
		case OPTION_RUN_DIR:
			ret_arguments->run_dir = optarg;
			break;
		case OPTION_JSON:
			ret_arguments->json = true;
			break;
		case OPTION_WATCH:
			if (!parse_watch(optarg, &ret_arguments->watch_s))
				return EXIT_CODE_USAGE;
			break;
		case OPTION_WORKSPACE:
			ret_arguments->workspace = optarg;
			break;
		case OPTION_EGRESS:
			ret_arguments->egress = optarg;
			break;
		case OPTION_REMOTE:
			ret_arguments->remote = optarg;
			break;
		case OPTION_LIMIT:
			ret_arguments->limit = optarg;
			break;
		case OPTION_MAX_FILE_SIZE:
			if (!parse_file_size(optarg, &ret_arguments->file_size_max_bytes))
				return EXIT_CODE_USAGE;
			break;
		case OPTION_REFUSED:
			ret_arguments->refused = true;
			break;
		case OPTION_DEADLINE:
			ret_arguments->deadline = optarg;
			break;
		case OPTION_CONFIRM:
			ret_arguments->confirm = optarg;
			break;
		case OPTION_CONFIRMED:
			ret_arguments->confirmed = true;
			break;
		case OPTION_ROLLBACK:
			ret_arguments->rollback = true;
			break;
		case OPTION_FORCE:
			ret_arguments->force = true;
			break;
		case OPTION_CANCEL:
			ret_arguments->cancel = true;
			break;
		case OPTION_LIST:
			ret_arguments->list = true;
			break;
		case OPTION_HELP:
			ret_arguments->help = true;
			break;
		case OPTION_VERSION:
			printf("postern %s\n", POSTERN_VERSION);
			return EXIT_CODE_OK;
		default:
			if (!take_worker_option(option, &ret_arguments->worker))
				return EXIT_CODE_USAGE;
			break;
		}
	}
	return -1;
}

/* An option that the command has no use for is a mistake, not something to pass over. */
static bool options_fit(const struct command *command, const struct arguments *arguments)
{
	for (size_t i = 0; options[i].name != NULL; i++) {
		if ((arguments->given & 1ull << i) == 0 || options[i].val == OPTION_RUN_DIR ||
			usage_has_option(command->usage, options[i].name))
			continue;
		fprintf(stderr, "postern: %s takes no --%s\n", command->name, options[i].name);
		return false;
	}
	return true;
}

static int run_command(const struct command *command, const struct arguments *arguments)
{
	if (arguments->help) {
		print_command(stdout, command, "usage: postern ", "       postern ");
		return EXIT_CODE_OK;
	}
	if (!options_fit(command, arguments) ||
		(command->operand_count != OPERANDS_ANY && arguments->operand_count != command->operand_count))
		return usage_wrong(command->usage);
	return command->run(arguments);
}

int main(int argc, char *argv[])
{
	struct arguments arguments = {.run_dir = "/run/postern"};
	int code = parse_arguments(argc, argv, &arguments);

	if (code >= 0)
		return code;
	if (optind >= argc) {
		print_usage(arguments.help ? stdout : stderr);
		return arguments.help ? EXIT_CODE_OK : EXIT_CODE_USAGE;
	}
	arguments.operands = argv + optind + 1;
	arguments.operand_count = argc - optind - 1;
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (strcmp(commands[i].name, argv[optind]) == 0)
			return run_command(&commands[i], &arguments);
	fprintf(stderr, "postern: %s: no such command; `postern help` lists them\n", argv[optind]);
	return EXIT_CODE_USAGE;
}
