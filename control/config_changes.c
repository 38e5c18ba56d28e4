/* SPDX-License-Identifier: Apache-2.0 */
#include "control/config_changes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void config_changes_add(struct config_changes *changes, const char *directory, const char *name)
{
	char *path;

	if (changes->unknown)
		return;
	if (asprintf(&path, "%s/%s", directory, name) < 0) {
		changes->unknown = true;
		return;
	}
	for (size_t i = 0; i < changes->count; i++) {
		if (strcmp(changes->paths[i], path) == 0) {
			free(path);
			return;
		}
	}
	if (changes->count == CONFIG_CHANGE_COUNT_MAX) {
		changes->unknown = true;
		free(path);
		return;
	}
	changes->paths[changes->count++] = path;
}

void config_changes_clear(struct config_changes *changes)
{
	for (size_t i = 0; i < changes->count; i++)
		free(changes->paths[i]);
	memset(changes, 0, sizeof(*changes));
}
