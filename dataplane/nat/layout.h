/* SPDX-License-Identifier: Apache-2.0 */
/* Memory that the caller gives in one block is handed out in whole cache lines. */
#ifndef POSTERN_NAT_LAYOUT_H
#define POSTERN_NAT_LAYOUT_H

#include <stddef.h>

static inline size_t layout_lines(size_t size_bytes)
{
	return (size_bytes + 63) & ~(size_t)63;
}

#endif
