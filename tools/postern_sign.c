/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/postern_sign.h"

#include <stdio.h>
#include <stdlib.h>

#include "control/config_signature.h"
#include "control/yaml_tree.h"

static void print_and_clear(struct problems *problems)
{
	for (size_t i = 0; i < problems->count; i++)
		fprintf(stderr, "postern: %s\n", problems->lines[i]);
	problems_clear(problems);
}

int sign_files(const char *key_path, char *const files[], int file_count)
{
	struct problems problems = {0};
	int code = EXIT_CODE_OK;

	for (int i = 0; i < file_count && code == EXIT_CODE_OK; i++) {
		if (config_signature_make(key_path, files[i], &problems) == STATUS_OK)
			printf("%s.sig written\n", files[i]);
		else
			code = EXIT_CODE_FAILED;
	}
	print_and_clear(&problems);
	return code;
}

int verify_files(const char *key_path, char *const files[], int file_count)
{
	struct problems problems = {0};
	struct config_key key;
	int code = EXIT_CODE_OK;

	if (config_key_load(key_path, &key, &problems) != STATUS_OK) {
		print_and_clear(&problems);
		return EXIT_CODE_FAILED;
	}
	for (int i = 0; i < file_count; i++) {
		size_t size_bytes;
		char *bytes;

		if (yaml_tree_read_file(files[i], YAML_TOTAL_SIZE_MAX_BYTES, &bytes, &size_bytes, &problems) !=
			STATUS_OK) {
			code = EXIT_CODE_INVALID;
			continue;
		}
		if (config_signature_check(&key, files[i], bytes, size_bytes, &problems))
			printf("%s: signed by this key\n", files[i]);
		else
			code = EXIT_CODE_INVALID;
		free(bytes);
	}
	print_and_clear(&problems);
	return code;
}
