/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/postern_usage.h"

#include <string.h>

#include "control/status.h"

void usage_print(FILE *stream, const char *first, const char *next, const char *usage)
{
	static const char separator[] = " | ";
	unsigned depth = 0;

	fputs(first, stream);
	for (; *usage != '\0'; usage++) {
		if (depth == 0 && strncmp(usage, separator, sizeof(separator) - 1) == 0) {
			fprintf(stream, "\n%s", next);
			usage += sizeof(separator) - 2;
			continue;
		}
		depth += *usage == '[';
		depth -= *usage == ']';
		fputc(*usage, stream);
	}
	fputc('\n', stream);
}

int usage_wrong(const char *usage)
{
	usage_print(stderr, "usage: postern ", "       postern ", usage);
	return EXIT_CODE_USAGE;
}

bool usage_has_option(const char *usage, const char *name)
{
	size_t length = strlen(name);

	for (const char *at = strstr(usage, "--"); at != NULL; at = strstr(at, "--")) {
		at += 2;
		if (strncmp(at, name, length) == 0 && strchr(" ]", at[length]) != NULL)
			return true; /* its end too: strchr() finds the terminator */
	}
	return false;
}
