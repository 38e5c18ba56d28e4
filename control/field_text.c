/* SPDX-License-Identifier: Apache-2.0 */
#include "control/field_text.h"

#include <string.h>

#include "control/model.h"
#include "control/scalar.h"

static const char *check_device(const char *text)
{
	size_t length = strlen(text);

	if (length == 0 || length >= DEVICE_ARGS_SIZE_BYTES)
		return "";
	for (size_t i = 0; i < length; i++) {
		if (text[i] <= ' ' || text[i] > '~' || text[i] == '\'')
			return "";
	}
	return NULL;
}

static const char *check_pattern(const char *text)
{
	const char *slash = strrchr(text, '/'), *wildcard = strpbrk(text, "*?[");

	if (!*text || strlen(text) >= INCLUDE_SIZE_BYTES || (slash && !slash[1]))
		return "";
	return slash && wildcard && wildcard < slash ? "" : NULL;
}

/* One * at the end, and a name before it, so that nobody claims every interface by accident. */
static const char *check_interfaces(const char *text)
{
	char name[INTERFACE_NAME_SIZE_BYTES];
	size_t length = strlen(text);

	if (length < 2 || length > sizeof(name) || text[length - 1] != '*')
		return "";
	memcpy(name, text, length - 1);
	name[length - 1] = '\0';
	return scalar_check_interface(name);
}

static const char *check_text(const char *text)
{
	size_t length = strlen(text);

	if (length == 0 || length >= MODEL_TEXT_SIZE_BYTES)
		return "";
	for (size_t i = 0; i < length; i++) {
		if (text[i] <= ' ' || text[i] > '~')
			return "";
	}
	return NULL;
}

static const char *check_san(const char *text)
{
	static const char *const kinds[] = {"dns:", "uri:", "email:"};
	uint32_t address;

	if (strncmp(text, "ip:", 3) == 0)
		return scalar_parse_ipv4(text + 3, &address);
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		size_t length = strlen(kinds[i]);

		if (strncmp(text, kinds[i], length) == 0 && text[length])
			return check_text(text);
	}
	return "";
}

static const char *check_role(const char *text)
{
	uint32_t address;

	if (strcmp(text, "read") == 0 || strcmp(text, "operate") == 0)
		return NULL;
	if (strncmp(text, "workspace:", 10) == 0)
		return scalar_check_id(text + 10);
	return strncmp(text, "host:", 5) == 0 ? scalar_parse_ipv4(text + 5, &address) : "";
}

static const char *check_path(const char *text)
{
	if (text[0] != '/' || strlen(text) >= MODEL_PATH_SIZE_BYTES)
		return "";
	for (; *text; text++) {
		if ((unsigned char)*text < ' ' || *text == 0x7f)
			return " (no control characters)";
	}
	return NULL;
}

static const char *check_endpoint(const char *text)
{
	char address[SCALAR_SIZE_BYTES];
	uint16_t port = 0;

	if (strlen(text) >= MODEL_PATH_SIZE_BYTES)
		return "";
	if (strncmp(text, "unix:", 5) == 0)
		return check_path(text + 5);
	if (strncmp(text, "https://", 8) != 0)
		return "";
	if (scalar_parse_listen(text + 8, address, &port) || port == 0)
		return "";
	return NULL;
}

const char *field_text_check(enum field_type type, const char *text)
{
	switch (type) {
	case FIELD_ID:
		return scalar_check_id(text);
	case FIELD_INTERFACE:
		return scalar_check_interface(text);
	case FIELD_DEVICE:
		return check_device(text);
	case FIELD_PATTERN:
		return check_pattern(text);
	case FIELD_INTERFACES:
		return check_interfaces(text);
	case FIELD_PATH:
		return check_path(text);
	case FIELD_TEXT:
		return check_text(text);
	case FIELD_SAN:
		return check_san(text);
	case FIELD_ROLE:
		return check_role(text);
	case FIELD_ENDPOINT:
		return check_endpoint(text);
	default:
		return "";
	}
}
