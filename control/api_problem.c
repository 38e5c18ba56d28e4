/* SPDX-License-Identifier: Apache-2.0 */
#include "control/api_problem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { POINTER_SIZE_BYTES = 320 };

/* "file:12: workspaces[0].vpcs[0].vni: …" → "workspaces[0].vpcs[0].vni: …"; NULL: another file. */
static const char *skip_place(const char *line, const char *file)
{
	size_t length = strlen(file);
	const char *colon;

	if (strncmp(line, file, length) != 0 || line[length] != ':')
		return NULL;
	colon = strchr(line + length + 1, ':');
	return colon != NULL && colon[1] == ' ' ? colon + 2 : NULL;
}

/* RFC 6901. ".vpcs[0].vni" → "/vpcs/0/vni"; returns what follows the path, NULL: it is none. */
static const char *pointer_from_path(const char *path, char ret_pointer[POINTER_SIZE_BYTES])
{
	size_t used = 0;

	for (; *path != '\0' && *path != ':' && used < POINTER_SIZE_BYTES - 3; path++) {
		if (*path == '.' || *path == '[') {
			ret_pointer[used++] = '/';
		} else if (*path == '~' || *path == '/') {
			ret_pointer[used++] = '~';
			ret_pointer[used++] = *path == '~' ? '0' : '1';
		} else if (*path != ']') {
			ret_pointer[used++] = *path;
		}
	}
	ret_pointer[used] = '\0';
	return *path == ':' && path[1] == ' ' ? path + 2 : NULL;
}

json_t *api_problem_list(const struct problems *problems, const char *file, const char *element, bool *ret_all_in_body)
{
	json_t *list = json_array();
	size_t element_length = strlen(element);
	bool all_in_body = true;

	for (size_t i = 0; i < problems->count; i++) {
		const char *line = problems->lines[i], *text = skip_place(line, file), *problem = NULL;
		char pointer[POINTER_SIZE_BYTES];

		if (text != NULL && strncmp(text, element, element_length) == 0)
			problem = pointer_from_path(text + element_length, pointer);
		if (problem != NULL) {
			json_array_append_new(list, json_pack("{s:s, s:s}", "pointer", pointer, "problem", problem));
			continue;
		}
		/* In the fragment, but not below the element: the body as a whole. */
		all_in_body = all_in_body && text != NULL;
		json_array_append_new(list, text != NULL ? json_pack("{s:s, s:s}", "pointer", "", "problem", text)
							 : json_pack("{s:s}", "problem", line));
	}
	*ret_all_in_body = all_in_body;
	return list;
}
