/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses that nobody's worker, or nobody's egress IP, can have (RFC 6890). Pure; any thread. */
#ifndef POSTERN_CONTROL_SPECIAL_H
#define POSTERN_CONTROL_SPECIAL_H

#include <stdbool.h>
#include <stdint.h>

/*
 * What the prefix overlaps, in words: "loopback, 127.0.0.0/8". NULL: nothing of the kind. `public_only`: private
 * addresses count, too.
 */
const char *special_name(uint32_t address, unsigned prefix_length_bits, bool public_only);

#endif
