/* SPDX-License-Identifier: Apache-2.0 */
/* Prints docs/configuration.md; with --man, docs/man/postern.yaml.5. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/fields.h"

int main(int argc, char *argv[])
{
	if (argc == 2 && strcmp(argv[1], "--man") == 0)
		fields_print_man(stdout);
	else
		fields_print_markdown(stdout);
	return fclose(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
