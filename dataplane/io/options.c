/* SPDX-License-Identifier: Apache-2.0 */
#include "dataplane/io/options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char help_text[] =
	"usage: postern-dataplane --run-dir DIR [options] [EAL options]\n"
	"\n"
	"The packet process of Postern. Waits for posternd on DIR/dataplane.sock and drops everything until then.\n"
	"\n"
	"  --run-dir DIR        directory of the socket, the lock and the session file (tmpfs)\n"
	"  --steer-object PATH  the XDP program that steers packets to AF_XDP (default: as built or installed)\n"
	"  --sessions N         sessions per shard, a power of two from 1024 to 67108864 (default 262144)\n"
	"  --idle-sleep-us N    sleep that long when there was nothing to do for a while, 0 to 1000 (default 0:\n"
	"                       pure polling; 20 to 50 suits a small machine)\n"
	"  --frame-bytes N      the longest frame to take, tunnel and Ethernet header included, 1792 to 9216\n"
	"                       (default 1792; an AF_XDP port takes at most 3328)\n"
	"  --keep-capability C  besides the usual ones, such as CAP_SYS_RAWIO for a driver that wants it; again for "
	"more\n"
	"  --version, --help\n"
	"\n"
	"All other options go to DPDK's EAL, such as -l 2,3 (the first core is the control thread's,\n"
	"each further one runs a shard) or --vdev net_tap0. Unless given: cores are the first and the last that\n"
	"the process may use; memory is huge pages without files (--in-memory) where the kernel has them free,\n"
	"else normal pages (--no-huge); PCI devices are left alone but for those that -a or the policy names.\n";

/* Compares an argument with an option of ours; `ret_value` is NULL when it stands in the next argument. */
static bool option_is(const char *argument, const char *name, const char **ret_value)
{
	size_t length = strlen(name);

	if (strncmp(argument, name, length) != 0 || (argument[length] != '\0' && argument[length] != '='))
		return false;
	*ret_value = argument[length] == '=' ? argument + length + 1 : NULL;
	return true;
}

static bool number_parse(const char *text, uint32_t minimum, uint32_t maximum, uint32_t *ret_number)
{
	char *end;
	unsigned long number;

	errno = 0;
	number = strtoul(text, &end, 10);
	if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || number < minimum || number > maximum)
		return false;
	*ret_number = (uint32_t)number;
	return true;
}

static bool options_set(struct options *options, const char *name, const char *value, char *ret_text)
{
	if (strcmp(name, "--run-dir") == 0) {
		options->run_dir = value;
		return true;
	}
	if (strcmp(name, "--steer-object") == 0) {
		options->steer_object = value;
		return true;
	}
	if (strcmp(name, "--keep-capability") == 0) {
		if (options->kept_capability_count < OPTIONS_CAPABILITY_COUNT_MAX) {
			options->kept_capabilities[options->kept_capability_count++] = value;
			return true;
		}
		snprintf(ret_text, NAT_TEXT_SIZE_BYTES, "more than %d times --keep-capability",
			OPTIONS_CAPABILITY_COUNT_MAX);
		return false;
	}
	if (strcmp(name, "--idle-sleep-us") == 0) {
		if (number_parse(value, 0, OPTIONS_IDLE_SLEEP_MAX_US, &options->idle_sleep_us))
			return true;
		snprintf(ret_text, NAT_TEXT_SIZE_BYTES, "--idle-sleep-us takes 0 to %d, not “%.40s”",
			OPTIONS_IDLE_SLEEP_MAX_US, value);
		return false;
	}
	if (strcmp(name, "--frame-bytes") == 0) {
		if (number_parse(value, OPTIONS_FRAME_DEFAULT_BYTES, PACKET_LENGTH_MAX_BYTES, &options->frame_bytes))
			return true;
		snprintf(ret_text, NAT_TEXT_SIZE_BYTES, "--frame-bytes takes %d to %d, not “%.40s”",
			OPTIONS_FRAME_DEFAULT_BYTES, PACKET_LENGTH_MAX_BYTES, value);
		return false;
	}
	if (number_parse(value, OPTIONS_SESSIONS_MIN, OPTIONS_SESSIONS_MAX, &options->sessions_max) &&
		(options->sessions_max & (options->sessions_max - 1)) == 0)
		return true;
	snprintf(ret_text, NAT_TEXT_SIZE_BYTES, "--sessions takes a power of two from %d to %d, not “%.40s”",
		OPTIONS_SESSIONS_MIN, OPTIONS_SESSIONS_MAX, value);
	return false;
}

bool options_parse(int argc, char *argv[], struct options *ret_options, char ret_text[NAT_TEXT_SIZE_BYTES])
{
	static const char *const with_value[] = {
		"--run-dir", "--steer-object", "--sessions", "--idle-sleep-us", "--frame-bytes", "--keep-capability"};
	const size_t with_value_count = sizeof(with_value) / sizeof(with_value[0]);
	struct options options = {.sessions_max = OPTIONS_SESSIONS_DEFAULT, .frame_bytes = OPTIONS_FRAME_DEFAULT_BYTES};

	for (int i = 1; i < argc; i++) {
		const char *value = NULL;
		size_t o = 0;

		if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
			options.help = true;
			continue;
		}
		if (strcmp(argv[i], "--version") == 0) {
			options.version = true;
			continue;
		}
		while (o < with_value_count && !option_is(argv[i], with_value[o], &value))
			o++;
		if (o == with_value_count) {
			if (options.eal_count == OPTIONS_EAL_COUNT_MAX) {
				snprintf(ret_text, NAT_TEXT_SIZE_BYTES, "more than %d EAL arguments",
					OPTIONS_EAL_COUNT_MAX);
				return false;
			}
			options.eal_arguments[options.eal_count++] = argv[i];
			continue;
		}
		if (value == NULL && i + 1 < argc)
			value = argv[++i];
		if (value == NULL || value[0] == '\0') {
			snprintf(ret_text, NAT_TEXT_SIZE_BYTES, "%s needs a value", with_value[o]);
			return false;
		}
		if (!options_set(&options, with_value[o], value, ret_text))
			return false;
	}
	if (options.run_dir == NULL && !options.help && !options.version) {
		snprintf(ret_text, NAT_TEXT_SIZE_BYTES, "--run-dir DIR is missing; see --help");
		return false;
	}
	*ret_options = options;
	return true;
}

bool options_eal_has(const struct options *options, const char *name)
{
	const bool is_short = name[1] != '-';
	const size_t length = strlen(name);

	for (uint32_t i = 0; i < options->eal_count; i++) {
		const char *argument = options->eal_arguments[i];

		if (strncmp(argument, name, length) == 0 &&
			(is_short || argument[length] == '\0' || argument[length] == '='))
			return true;
	}
	return false;
}

const char *options_help(void)
{
	return help_text;
}
