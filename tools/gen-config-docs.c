/* SPDX-License-Identifier: Apache-2.0 */
/* Prints docs/configuration.md. */
#include <stdio.h>
#include <stdlib.h>

#include "control/fields.h"

int main(void)
{
	fields_print_markdown(stdout);
	return fclose(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
