/* SPDX-License-Identifier: Apache-2.0 */
/* posternd: the command line. See docs/man/posternd.8. */
#include <getopt.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/daemon.h"
#include "control/privileges.h"
#include "control/version.h"
#include "control/yaml_tree.h"

struct arguments {
	struct daemon_options options;
	bool check, print_config;
};

enum {
	OPTION_RUN_DIR = 256,
	OPTION_CONFIG,
	OPTION_CONFIG_KEY,
	OPTION_CHECK,
	OPTION_PRINT_CONFIG,
	OPTION_LOG_LEVEL,
	OPTION_MAX_FILE_SIZE,
	OPTION_HELP,
	OPTION_VERSION
};

static void print_usage(FILE *stream)
{
	fputs("usage: posternd --run-dir DIR --config FILE.yaml [--log-level error|warning|info|debug]\n"
	      "       posternd --config FILE.yaml --check           validate, tell every error; exit 4 when there is "
	      "one\n"
	      "       posternd --config FILE.yaml --print-config    print it with every default written out\n"
	      "       --config-key PUBLIC.pem: every file must be signed (FILE.sig; see postern config sign)\n"
	      "       --max-file-size SIZE: of each file of the configuration, 4Mi unless given, at most 48Mi\n"
	      "       posternd --help | --version\n"
	      "\n"
	      "The control daemon of Postern. It reads the configuration, again on SIGHUP and whenever the file "
	      "changes,\n"
	      "and the kernel's routes and neighbours; it gives both to postern-dataplane in the same run directory, "
	      "loads\n"
	      "the classifier, and serves metrics and the command line (postern --run-dir DIR status).\n",
		stream);
}

static void print_model(const struct model *model)
{
	char *text = model_print(model);

	fputs(text != NULL ? text : "", stdout);
	free(text);
}

static int check_config(const struct arguments *arguments)
{
	struct problems problems = {0}, warnings = {0};
	struct revision_basis nothing = {0};
	struct config_key key;
	struct revision *revision;
	size_t egress_ip_count = 0, vpc_count = 0;
	enum status status = STATUS_OK;
	char text[PRIVILEGES_TEXT_SIZE_BYTES];

	/* With the eyes of the daemon: what only root can read by ignoring modes, it can not. */
	if (!privileges_keep(NULL, 0, text)) {
		fprintf(stderr, "posternd: %s\n", text);
		return EXIT_CODE_FAILED;
	}
	nothing.api.file_size_max_bytes = arguments->options.file_size_max_bytes;
	if (arguments->options.config_key_path != NULL) {
		nothing.api.check = config_signature_check;
		nothing.api.check_context = &key;
		status = config_key_load(arguments->options.config_key_path, &key, &problems);
	}
	if (status == STATUS_OK)
		status = revision_load(arguments->options.config_path, &nothing, &revision, NULL, &problems, &warnings);

	if (status != STATUS_OK) {
		problems_print(&problems);
		if (problems.count == 0)
			fprintf(stderr, "%s: can not be checked: out of memory\n", arguments->options.config_path);
		problems_clear(&problems);
		problems_clear(&warnings);
		return EXIT_CODE_INVALID;
	}
	for (size_t i = 0; i < warnings.count; i++)
		fprintf(stderr, "warning: %s\n", warnings.lines[i]);
	for (size_t i = 0; i < revision->model->workspace_count; i++) {
		egress_ip_count += revision->model->workspaces[i].egress_ip_count +
				   revision->model->workspaces[i].draining_ip_count;
		vpc_count += revision->model->workspaces[i].vpc_count;
	}
	if (arguments->print_config)
		print_model(revision->model);
	else
		printf("%s: valid: %zu workspaces, %zu VPCs, %zu egress IPs, %zu workers on this host\n",
			arguments->options.config_path, revision->model->workspace_count, vpc_count, egress_ip_count,
			revision->model->worker_host.worker_count);
	revision_release(revision);
	problems_clear(&warnings);
	return EXIT_CODE_OK;
}

static int run(const struct arguments *arguments)
{
	struct problems problems = {0};
	struct daemon *daemon;
	enum status status = daemon_open(&arguments->options, &daemon, &problems);

	if (status != STATUS_OK) {
		struct log log;

		log_open(&log, arguments->options.log_level);
		log_problems(&log, LOG_LEVEL_ERROR, &problems);
		if (problems.count == 0)
			log_error(&log, "posternd can not start: out of memory");
		problems_clear(&problems);
		return EXIT_CODE_FAILED;
	}
	status = daemon_run(daemon);
	daemon_close(daemon);
	return status == STATUS_OK ? EXIT_CODE_OK : EXIT_CODE_FAILED;
}

/* -1: go on; else the exit code. */
static int parse_arguments(int argc, char *argv[], struct arguments *ret_arguments)
{
	static const struct option options[] = {
		{"run-dir", required_argument, NULL, OPTION_RUN_DIR},
		{"config", required_argument, NULL, OPTION_CONFIG},
		{"config-key", required_argument, NULL, OPTION_CONFIG_KEY},
		{"check", no_argument, NULL, OPTION_CHECK},
		{"print-config", no_argument, NULL, OPTION_PRINT_CONFIG},
		{"log-level", required_argument, NULL, OPTION_LOG_LEVEL},
		{"max-file-size", required_argument, NULL, OPTION_MAX_FILE_SIZE},
		{"help", no_argument, NULL, OPTION_HELP},
		{"version", no_argument, NULL, OPTION_VERSION},
		{0},
	};
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case OPTION_RUN_DIR:
			ret_arguments->options.run_dir = optarg;
			break;
		case OPTION_CONFIG:
			ret_arguments->options.config_path = optarg;
			break;
		case OPTION_CONFIG_KEY:
			ret_arguments->options.config_key_path = optarg;
			break;
		case OPTION_CHECK:
			ret_arguments->check = true;
			break;
		case OPTION_PRINT_CONFIG:
			ret_arguments->print_config = true;
			break;
		case OPTION_LOG_LEVEL:
			if (log_level_parse(optarg, &ret_arguments->options.log_level))
				break;
			fprintf(stderr, "posternd: --log-level: %s: must be error, warning, info or debug\n", optarg);
			return EXIT_CODE_USAGE;
		case OPTION_MAX_FILE_SIZE:
			if (config_file_size_parse(optarg, &ret_arguments->options.file_size_max_bytes))
				break;
			fprintf(stderr, "posternd: --max-file-size: %s: must be 1Ki..48Mi, such as 16Mi\n", optarg);
			return EXIT_CODE_USAGE;
		case OPTION_HELP:
			print_usage(stdout);
			return EXIT_CODE_OK;
		case OPTION_VERSION:
			printf("posternd %s\n", POSTERN_VERSION);
			return EXIT_CODE_OK;
		default:
			print_usage(stderr);
			return EXIT_CODE_USAGE;
		}
	}
	if (optind < argc) {
		fprintf(stderr, "posternd: %s: not an option\n", argv[optind]);
		return EXIT_CODE_USAGE;
	}
	return -1;
}

/*
 * A policy is megabytes, made anew with each change: its memory is kept, where the C library's own measure would give
 * it back and take it again page by page each time.
 */
enum { KEPT_BLOCK_BYTES = 32 * 1024 * 1024, KEPT_BYTES = 64 * 1024 * 1024 };

int main(int argc, char *argv[])
{
	struct arguments arguments = {.options = {.log_level = LOG_LEVEL_INFO}};
	int code = parse_arguments(argc, argv, &arguments);
	bool once = arguments.check || arguments.print_config;

	if (code >= 0)
		return code;
	if (arguments.options.config_path == NULL || (!once && arguments.options.run_dir == NULL)) {
		fprintf(stderr, "posternd: %s is missing\n",
			arguments.options.config_path == NULL ? "--config FILE.yaml" : "--run-dir DIR");
		print_usage(stderr);
		return EXIT_CODE_USAGE;
	}
	mallopt(M_MMAP_THRESHOLD, KEPT_BLOCK_BYTES);
	mallopt(M_TRIM_THRESHOLD, KEPT_BYTES);
	return once ? check_config(&arguments) : run(&arguments);
}
