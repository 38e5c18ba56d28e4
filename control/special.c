/* SPDX-License-Identifier: Apache-2.0 */
#include "control/special.h"

#include <stddef.h>

#include "control/scalar.h"

static const struct {
	uint32_t address;
	uint8_t prefix_length_bits;
	bool no_host; /* no host at all can have such an address; else: none on the internet */
	const char *name;
} special_prefixes[] = {
	{0x00000000, 8, true, "\"this network\", 0.0.0.0/8"},
	{0x7f000000, 8, true, "loopback, 127.0.0.0/8"},
	{0xa9fe0000, 16, true, "link-local, 169.254.0.0/16"},
	{0xe0000000, 4, true, "multicast, 224.0.0.0/4"},
	{0xf0000000, 4, true, "reserved, 240.0.0.0/4"},
	{0x0a000000, 8, false, "private, 10.0.0.0/8"},
	{0xac100000, 12, false, "private, 172.16.0.0/12"},
	{0xc0a80000, 16, false, "private, 192.168.0.0/16"},
	{0x64400000, 10, false, "shared address space, 100.64.0.0/10"},
	{0xc0000000, 24, false, "reserved, 192.0.0.0/24"},
};

const char *special_name(uint32_t address, unsigned prefix_length_bits, bool public_only)
{
	for (size_t i = 0; i < sizeof(special_prefixes) / sizeof(special_prefixes[0]); i++) {
		unsigned length = special_prefixes[i].prefix_length_bits;
		uint32_t mask = scalar_prefix_mask(length < prefix_length_bits ? length : prefix_length_bits);

		if ((special_prefixes[i].no_host || public_only) &&
			(address & mask) == (special_prefixes[i].address & mask))
			return special_prefixes[i].name;
	}
	return NULL;
}
