/* SPDX-License-Identifier: Apache-2.0 */
#include "control/scalar.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "dataplane/contract/limits.h"

enum { IPV4_TEXT_SIZE_BYTES = 16, PROTOCOL_ICMP = 1, PROTOCOL_TCP = 6, PROTOCOL_UDP = 17 };

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_lower_or_digit(char c)
{
	return is_digit(c) || (c >= 'a' && c <= 'z');
}

/* The number at *text, which is moved behind it. False: no digit there, a leading zero, or beyond 64 bits. */
static bool take_number(const char **text, uint64_t *ret_value)
{
	const char *at = *text;
	uint64_t value = 0;

	if (!is_digit(*at) || (*at == '0' && is_digit(at[1])))
		return false;
	for (; is_digit(*at); at++) {
		if (__builtin_mul_overflow(value, 10u, &value) ||
			__builtin_add_overflow(value, (uint64_t)(*at - '0'), &value))
			return false;
	}
	*text = at;
	*ret_value = value;
	return true;
}

static const char *explain_number(const char *text)
{
	if (text[0] == '-' || text[0] == '+')
		return " (without a sign)";
	if (text[0] == '0' && (text[1] == 'x' || text[1] == 'X' || text[1] == 'o' || text[1] == 'b'))
		return " (in decimal)";
	if (text[0] == '0' && is_digit(text[1]))
		return " (without leading zeros, which mean octal elsewhere)";
	if (is_digit(text[0]) && strpbrk(text, ".eE"))
		return " (without fraction or exponent)";
	if (is_digit(text[0]) && strpbrk(text, "_,"))
		return " (digits only)";
	return "";
}

const char *scalar_parse_integer(const char *text, uint64_t *ret_value)
{
	const char *at = text;
	uint64_t value;

	if (!take_number(&at, &value) || *at)
		return explain_number(text);
	*ret_value = value;
	return NULL;
}

const char *scalar_parse_count(const char *text, uint64_t *ret_value)
{
	const char *at = text;
	uint64_t value, unit = 1;

	if (!take_number(&at, &value))
		return explain_number(text);
	if (strcmp(at, "Ki") == 0)
		unit = 1024;
	else if (strcmp(at, "Mi") == 0)
		unit = 1024 * 1024;
	else if (*at)
		return explain_number(text);
	if (__builtin_mul_overflow(value, unit, &value))
		return "";
	*ret_value = value;
	return NULL;
}

static const struct {
	const char *name;
	uint64_t seconds;
} duration_units[] = {{"d", 86400}, {"h", 3600}, {"m", 60}, {"s", 1}};

enum { DURATION_UNIT_COUNT = sizeof(duration_units) / sizeof(duration_units[0]) };

const char *scalar_parse_duration(const char *text, uint64_t *ret_seconds)
{
	const char *at = text;
	uint64_t total = 0, value = 0;

	if (!scalar_parse_integer(text, &value)) {
		*ret_seconds = value;
		return NULL;
	}
	for (size_t unit = 0; *at; unit++) {
		if (!take_number(&at, &value))
			return explain_number(text);
		if (strncmp(at, "ms", 2) == 0 || strncmp(at, "us", 2) == 0 || strncmp(at, "ns", 2) == 0)
			return " (in whole seconds)";
		while (unit < DURATION_UNIT_COUNT && *at != duration_units[unit].name[0])
			unit++;
		if (unit == DURATION_UNIT_COUNT)
			return " (units d, h, m and s, the largest first, each once)";
		at++;
		if (__builtin_mul_overflow(value, duration_units[unit].seconds, &value) ||
			__builtin_add_overflow(total, value, &total))
			return "";
	}
	if (at == text)
		return "";
	*ret_seconds = total;
	return NULL;
}

void scalar_format_duration(uint64_t seconds, char ret_text[SCALAR_SIZE_BYTES])
{
	size_t used = 0;

	snprintf(ret_text, SCALAR_SIZE_BYTES, "0s");
	for (size_t unit = 0; unit < DURATION_UNIT_COUNT; unit++) {
		uint64_t value = seconds / duration_units[unit].seconds;

		seconds %= duration_units[unit].seconds;
		if (value)
			used += (size_t)snprintf(ret_text + used, SCALAR_SIZE_BYTES - used, "%" PRIu64 "%s", value,
				duration_units[unit].name);
	}
}

const char *scalar_parse_rate(const char *text, uint64_t *ret_bytes_per_second)
{
	static const struct {
		const char *name;
		uint32_t factor, divisor;
	} units[] = {{"", 1, 1}, {"kB", 1000, 1}, {"MB", 1000000, 1}, {"GB", 1000000000, 1}, {"kbit", 1000, 8},
		{"Mbit", 1000000, 8}, {"Gbit", 1000000000, 8}};
	const char *at = text;
	uint64_t value;

	if (!take_number(&at, &value))
		return explain_number(text);
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (strcmp(at, units[i].name) != 0)
			continue;
		if (__builtin_mul_overflow(value, units[i].factor, &value))
			return "";
		*ret_bytes_per_second = value / units[i].divisor;
		return NULL;
	}
	return explain_number(text);
}

const char *scalar_parse_bool(const char *text, bool *ret_value)
{
	static const char *const others[] = {"yes", "on", "y", "1", "no", "off", "n", "0"};

	if (strcmp(text, "true") == 0 || strcmp(text, "false") == 0) {
		*ret_value = text[0] == 't';
		return NULL;
	}
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		if (strcasecmp(text, others[i]) == 0)
			return i < 4 ? " (write true)" : " (write false)";
	}
	if (strcasecmp(text, "true") == 0 || strcasecmp(text, "false") == 0)
		return " (in lower case)";
	return "";
}

static bool take_ipv4(const char **text, uint32_t *ret_address)
{
	uint32_t address = 0;

	for (unsigned i = 0; i < 4; i++) {
		uint64_t octet;

		if (i > 0 && *(*text)++ != '.')
			return false;
		if (!take_number(text, &octet) || octet > 255)
			return false;
		address = address << 8 | (uint32_t)octet;
	}
	*ret_address = address;
	return true;
}

const char *scalar_parse_ipv4(const char *text, uint32_t *ret_address)
{
	const char *at = text;
	uint32_t address;

	if (!take_ipv4(&at, &address) || *at) {
		if (strchr(text, ':'))
			return " (IPv6 is not translated)";
		return strchr(text, '/') ? " (without a prefix length)" : "";
	}
	*ret_address = address;
	return NULL;
}

void scalar_format_ipv4(uint32_t address, char ret_text[SCALAR_SIZE_BYTES])
{
	snprintf(ret_text, SCALAR_SIZE_BYTES, "%u.%u.%u.%u", address >> 24, address >> 16 & 255, address >> 8 & 255,
		address & 255);
}

uint32_t scalar_prefix_mask(unsigned prefix_length_bits)
{
	return prefix_length_bits == 0 ? 0 : UINT32_MAX << (32 - prefix_length_bits);
}

const char *scalar_parse_cidr(const char *text, uint32_t *ret_address, uint8_t *ret_prefix_length_bits)
{
	const char *at = text;
	uint32_t address;
	uint64_t length;

	if (!take_ipv4(&at, &address))
		return strchr(text, ':') ? " (IPv6 is not translated)" : "";
	if (!*at)
		return " (the prefix length is missing)";
	if (*at++ != '/' || !take_number(&at, &length) || *at || length > 32)
		return " (the prefix length is 0 to 32)";
	*ret_address = address;
	*ret_prefix_length_bits = (uint8_t)length;
	return NULL;
}

void scalar_format_cidr(uint32_t address, unsigned prefix_length_bits, char ret_text[SCALAR_SIZE_BYTES])
{
	char text[SCALAR_SIZE_BYTES];

	scalar_format_ipv4(address, text);
	snprintf(ret_text, SCALAR_SIZE_BYTES, "%.*s/%u", IPV4_TEXT_SIZE_BYTES, text, prefix_length_bits);
}

static int hex_value(char c)
{
	if (is_digit(c))
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

const char *scalar_parse_mac(const char *text, uint8_t ret_mac[6])
{
	uint8_t mac[6];
	bool zero = true;

	if (strlen(text) != 17)
		return "";
	for (unsigned i = 0; i < 6; i++) {
		int high = hex_value(text[i * 3]), low = hex_value(text[i * 3 + 1]);

		if (high < 0 || low < 0 || (i < 5 && text[i * 3 + 2] != ':'))
			return "";
		mac[i] = (uint8_t)(high << 4 | low);
		zero = zero && mac[i] == 0;
	}
	if (zero)
		return " (not all zero)";
	if (mac[0] & 1)
		return " (not a multicast one)";
	memcpy(ret_mac, mac, sizeof(mac));
	return NULL;
}

void scalar_format_mac(const uint8_t mac[6], char ret_text[SCALAR_SIZE_BYTES])
{
	snprintf(ret_text, SCALAR_SIZE_BYTES, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4],
		mac[5]);
}

const char *scalar_parse_listen(const char *text, char ret_address[SCALAR_SIZE_BYTES], uint16_t *ret_port)
{
	const char *colon = strrchr(text, ':'), *at = colon ? colon + 1 : NULL;
	char address[SCALAR_SIZE_BYTES];
	struct in6_addr in6;
	uint32_t in4;
	uint64_t port;
	size_t length;

	if (strcmp(text, "off") == 0) {
		memset(ret_address, 0, SCALAR_SIZE_BYTES);
		*ret_port = 0;
		return NULL;
	}
	if (!colon)
		return " (the port is missing)";
	length = (size_t)(colon - text);
	if (length >= sizeof(address) || !take_number(&at, &port) || *at || port < 1 || port > UINT16_MAX)
		return " (the port is 1 to 65535)";
	memset(address, 0, sizeof(address));
	memcpy(address, text, length);
	if (scalar_parse_ipv4(address, &in4) != NULL) {
		if (length < 4 || address[0] != '[' || address[length - 1] != ']')
			return " (the address in numbers, IPv6 in brackets)";
		memmove(address, address + 1, length - 2);
		memset(address + length - 2, 0, sizeof(address) - (length - 2));
		if (inet_pton(AF_INET6, address, &in6) != 1)
			return " (the address in numbers, IPv6 in brackets)";
	}
	memcpy(ret_address, address, SCALAR_SIZE_BYTES);
	*ret_port = (uint16_t)port;
	return NULL;
}

void scalar_format_listen(const char *address, uint16_t port, char ret_text[SCALAR_SIZE_BYTES])
{
	if (port == 0)
		snprintf(ret_text, SCALAR_SIZE_BYTES, "off");
	else
		snprintf(ret_text, SCALAR_SIZE_BYTES, strchr(address, ':') ? "[%.46s]:%u" : "%.46s:%u", address, port);
}

const char *scalar_parse_protocol(const char *text, uint8_t *ret_protocol)
{
	static const struct {
		const char *name;
		uint8_t protocol;
	} names[] = {{"any", 0}, {"icmp", PROTOCOL_ICMP}, {"tcp", PROTOCOL_TCP}, {"udp", PROTOCOL_UDP}};
	const char *hint;
	uint64_t value = 0;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strcmp(text, names[i].name) == 0) {
			*ret_protocol = names[i].protocol;
			return NULL;
		}
	}
	hint = scalar_parse_integer(text, &value);
	if (hint)
		return hint;
	if (value < 1 || value > UINT8_MAX)
		return "";
	*ret_protocol = (uint8_t)value;
	return NULL;
}

void scalar_format_protocol(uint8_t protocol, char ret_text[SCALAR_SIZE_BYTES])
{
	const char *name = protocol == 0	       ? "any"
			   : protocol == PROTOCOL_ICMP ? "icmp"
			   : protocol == PROTOCOL_TCP  ? "tcp"
			   : protocol == PROTOCOL_UDP  ? "udp"
						       : NULL;

	if (name)
		snprintf(ret_text, SCALAR_SIZE_BYTES, "%s", name);
	else
		snprintf(ret_text, SCALAR_SIZE_BYTES, "%u", protocol);
}

const char *scalar_parse_ports(const char *text, uint16_t *ret_first, uint16_t *ret_last)
{
	const char *at = text;
	uint64_t first, last;

	if (strcmp(text, "any") == 0) {
		*ret_first = 0;
		*ret_last = UINT16_MAX;
		return NULL;
	}
	if (!take_number(&at, &first))
		return explain_number(text);
	last = first;
	if (*at == '-') {
		at++;
		if (!take_number(&at, &last))
			return "";
	}
	if (*at || first > UINT16_MAX || last > UINT16_MAX || first < 1)
		return "";
	if (first > last)
		return " (the smaller one first)";
	*ret_first = (uint16_t)first;
	*ret_last = (uint16_t)last;
	return NULL;
}

void scalar_format_ports(uint16_t first, uint16_t last, char ret_text[SCALAR_SIZE_BYTES])
{
	if (first == 0 && last == UINT16_MAX)
		snprintf(ret_text, SCALAR_SIZE_BYTES, "any");
	else if (first == last)
		snprintf(ret_text, SCALAR_SIZE_BYTES, "%u", first);
	else
		snprintf(ret_text, SCALAR_SIZE_BYTES, "%u-%u", first, last);
}

const char *scalar_check_id(const char *text)
{
	size_t length = strlen(text);

	if (length == 0)
		return " (not empty)";
	if (length >= ID_SIZE_BYTES)
		return " (not longer)";
	for (size_t i = 0; i < length; i++) {
		if (!is_lower_or_digit(text[i]) && (text[i] != '-' || i == 0 || i == length - 1))
			return "";
	}
	return NULL;
}

const char *scalar_check_interface(const char *text)
{
	size_t length = strlen(text);

	if (length == 0)
		return " (not empty)";
	if (length >= INTERFACE_NAME_SIZE_BYTES)
		return " (Linux allows no longer ones)";
	if (strchr(text, '@'))
		return " (leave out the @ and what follows, which ip(8) adds)";
	for (size_t i = 0; i < length; i++) {
		char c = text[i];

		if (!is_digit(c) && !(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && c != '_' &&
			(i == 0 || !strchr(".-", c)))
			return "";
	}
	return NULL;
}
