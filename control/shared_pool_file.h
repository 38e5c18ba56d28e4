/* SPDX-License-Identifier: Apache-2.0 */
/* The shared pool's table as JSON text, for control/state.c. Thread: any one at a time. */
#ifndef POSTERN_CONTROL_SHARED_POOL_FILE_H
#define POSTERN_CONTROL_SHARED_POOL_FILE_H

#include "control/shared_pool.h"

/* malloc'ed; NULL without memory. The same table gives the same text. */
char *shared_pool_encode(const struct shared_pool_table *table);

/* NULL: a valid table, in `ret_table`. Else what is wrong with the text, in words. */
const char *shared_pool_decode(const char *text, size_t length_bytes, struct shared_pool_table *ret_table);

#endif
