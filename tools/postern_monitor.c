/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/postern_monitor.h"

#include <jansson.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "control/status.h"
#include "tools/postern_client.h"
#include "tools/postern_table.h"

enum { PATH_SIZE_BYTES = 512, PAUSE_MS = 200 };

struct monitor {
	const char *run_dir, *workspace;
	bool json;
	bool begun;
	json_int_t next, not_taken;
	unsigned long left; /* packets to print */
};

static const char *text_of(const json_t *sample, const char *key)
{
	const char *text = json_string_value(json_object_get(sample, key));

	return text != NULL ? text : "";
}

/* "10.0.0.5:40000 > 192.0.2.1:53 udp", or the MACs where there is no IPv4. */
static void print_addresses(const json_t *sample)
{
	const json_t *port = json_object_get(sample, "source_port");
	char protocol[8];

	if (json_object_get(sample, "source") == NULL) {
		printf("%s > %s ethertype %04llx", text_of(sample, "source_mac"), text_of(sample, "destination_mac"),
			(long long)json_integer_value(json_object_get(sample, "ethertype")));
		return;
	}
	printf("%s", text_of(sample, "source"));
	if (port != NULL)
		printf(":%lld", (long long)json_integer_value(port));
	printf(" > %s", text_of(sample, "destination"));
	if (port != NULL)
		printf(":%lld", (long long)json_integer_value(json_object_get(sample, "destination_port")));
	printf(" %s", table_protocol(json_integer_value(json_object_get(sample, "protocol")), protocol));
}

static void print_sample(const json_t *sample)
{
	double unix_s = json_real_value(json_object_get(sample, "unix_seconds"));
	const char *workspace = text_of(sample, "workspace");
	time_t seconds = (time_t)unix_s;
	char clock[16] = "";
	struct tm local;

	if (localtime_r(&seconds, &local) != NULL)
		strftime(clock, sizeof(clock), "%H:%M:%S", &local);
	printf("%s.%03d %s %s: ", clock, (int)((unix_s - (double)seconds) * 1000),
		workspace[0] != '\0' ? workspace : "-", text_of(sample, "interface"));
	print_addresses(sample);
	printf(", %lld bytes: %s\n", (long long)json_integer_value(json_object_get(sample, "length_bytes")),
		text_of(sample, "text"));
}

static void print_lost(struct monitor *monitor, const json_t *answer)
{
	json_int_t not_taken = json_integer_value(json_object_get(answer, "not_taken"));
	json_int_t lost = json_integer_value(json_object_get(answer, "overwritten"));

	if (monitor->begun)
		lost += not_taken - monitor->not_taken;
	monitor->not_taken = not_taken;
	if (lost <= 0)
		return;
	if (monitor->json)
		printf("{\"lost\": %lld}\n", (long long)lost);
	else
		printf("(%lld more were dropped and are not shown)\n", (long long)lost);
}

static void print_answer(struct monitor *monitor, const json_t *answer)
{
	const json_t *samples = json_object_get(answer, "samples"), *sample;
	size_t index;

	json_array_foreach(samples, index, sample)
	{
		if (monitor->left == 0)
			break;
		monitor->left--;
		if (monitor->json) {
			json_dumpf(sample, stdout, JSON_COMPACT);
			putchar('\n');
		} else {
			print_sample(sample);
		}
	}
	print_lost(monitor, answer);
	monitor->next = json_integer_value(json_object_get(answer, "next"));
	monitor->begun = true;
	fflush(stdout);
}

static int monitor_ask(struct monitor *monitor)
{
	char path[PATH_SIZE_BYTES] = "/v1/monitor", next[32];
	struct client_answer answer;
	json_t *json;
	int code = EXIT_CODE_OK;

	snprintf(next, sizeof(next), "%lld", (long long)monitor->next);
	if ((monitor->begun && !client_add_parameter(path, sizeof(path), "after", next)) ||
		(monitor->workspace != NULL &&
			!client_add_parameter(path, sizeof(path), "workspace", monitor->workspace))) {
		fprintf(stderr, "postern: monitor: the workspace's name is too long\n");
		return EXIT_CODE_USAGE;
	}
	if (!client_ask(monitor->run_dir, "GET", path, &answer))
		return EXIT_CODE_UNREACHABLE;
	json = json_loads(answer.body, 0, NULL);
	if (answer.code != 200 || json == NULL) {
		const char *error = json_string_value(json_object_get(json, "error"));

		fprintf(stderr, "postern: monitor: %s\n",
			error != NULL ? error : "posternd does not know this: is it of another version?");
		code = EXIT_CODE_FAILED;
	} else {
		print_answer(monitor, json);
	}
	json_decref(json);
	free(answer.body);
	return code;
}

int postern_monitor(const char *run_dir, bool json, const char *workspace, const char *limit)
{
	const struct timespec pause = {.tv_nsec = PAUSE_MS * 1000 * 1000};
	struct monitor monitor = {.run_dir = run_dir, .workspace = workspace, .json = json, .left = UINT32_MAX};
	char *end = NULL;

	if (limit != NULL) {
		monitor.left = strtoul(limit, &end, 10);
		if (limit[0] < '0' || limit[0] > '9' || *end != '\0' || monitor.left == 0 ||
			monitor.left > UINT32_MAX) {
			fprintf(stderr, "postern: --limit: %s: must be 1..%u packets\n", limit, UINT32_MAX);
			return EXIT_CODE_USAGE;
		}
	}
	while (monitor.left > 0) {
		int code = monitor_ask(&monitor);

		if (code != EXIT_CODE_OK)
			return code;
		if (ferror(stdout))
			return EXIT_CODE_FAILED;
		if (monitor.left > 0)
			nanosleep(&pause, NULL);
	}
	return EXIT_CODE_OK;
}
