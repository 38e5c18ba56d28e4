/* SPDX-License-Identifier: Apache-2.0 */
#include "control/fields.h"

#include <inttypes.h>
#include <string.h>

#include "control/field_text.h"
#include "control/model.h"
#include "control/scalar.h"

static_assert(offsetof(struct model_cidr, address) == 0 && offsetof(struct model_cidr, prefix_length_bits) == 4,
	"the place of FIELD_CIDR");
static_assert(offsetof(struct policy_rule, prefix_length_bits) - offsetof(struct policy_rule, address) == 4,
	"the place of FIELD_CIDR");
static_assert(offsetof(struct policy_rule, port_last) - offsetof(struct policy_rule, port_first) == 2,
	"the place of FIELD_PORTS");

const struct field *fields_find(const struct field_section *section, const char *key)
{
	for (uint32_t i = 0; i < section->field_count; i++) {
		if (strcmp(section->fields[i].key, key) == 0)
			return &section->fields[i];
	}
	return NULL;
}

/* As in linux/rtnetlink.h. */
enum { ROUTE_TABLE_MAIN = 254, ROUTE_TABLE_LOCAL = 255 };

enum { NEAR_LENGTH_MAX = 40, NEAR_DISTANCE_MAX = 2 };

/* Levenshtein's distance; both lengths are at most NEAR_LENGTH_MAX. */
static unsigned edit_distance(const char *a, const char *b)
{
	unsigned row[NEAR_LENGTH_MAX + 1];
	size_t a_length = strlen(a), b_length = strlen(b);

	for (size_t j = 0; j <= b_length; j++)
		row[j] = (unsigned)j;
	for (size_t i = 1; i <= a_length; i++) {
		unsigned diagonal = row[0];

		row[0] = (unsigned)i;
		for (size_t j = 1; j <= b_length; j++) {
			unsigned change = diagonal + (a[i - 1] != b[j - 1]);
			unsigned best = row[j] < row[j - 1] ? row[j] + 1 : row[j - 1] + 1;

			diagonal = row[j];
			row[j] = best < change ? best : change;
		}
	}
	return row[b_length];
}

const struct field *fields_find_nearest(const struct field_section *section, const char *key)
{
	const struct field *nearest = NULL;
	unsigned nearest_distance = NEAR_DISTANCE_MAX + 1;

	if (strlen(key) > NEAR_LENGTH_MAX)
		return NULL;
	for (uint32_t i = 0; i < section->field_count; i++) {
		const struct field *field = &section->fields[i];
		unsigned distance = edit_distance(key, field->key);

		/* "ip" is not a misspelt "id" or "to": the shorter the word, the less may differ. */
		if (distance < nearest_distance && distance * 2 <= strlen(field->key)) {
			nearest = field;
			nearest_distance = distance;
		}
	}
	return nearest;
}

/* ---- what is allowed ---- */

static void choices_text(const struct field *field, char ret_text[FIELD_WHY_SIZE_BYTES])
{
	size_t used = (size_t)snprintf(ret_text, FIELD_WHY_SIZE_BYTES, "must be %s", field->choices[0]);

	for (size_t i = 1; field->choices[i]; i++)
		used += (size_t)snprintf(ret_text + used, FIELD_WHY_SIZE_BYTES - used, "%s%s",
			field->choices[i + 1] ? ", " : " or ", field->choices[i]);
}

static void duration_text(const struct field *field, char ret_text[FIELD_WHY_SIZE_BYTES])
{
	char min[SCALAR_SIZE_BYTES], max[SCALAR_SIZE_BYTES];

	scalar_format_duration(field->min, min);
	scalar_format_duration(field->max, max);
	snprintf(ret_text, FIELD_WHY_SIZE_BYTES, "must be a duration such as 90s or 2h4m, %s..%s", min, max);
}

void field_allowed_text(const struct field *field, char ret_text[FIELD_WHY_SIZE_BYTES])
{
	static const char *const fixed[] = {
		[FIELD_MAP] = "must be a mapping of keys to values",
		[FIELD_BOOL] = "must be true or false",
		[FIELD_ID] = "must be 1 to 63 of a-z, 0-9 and -, with no - at either end",
		[FIELD_INTERFACE] = "must be an interface name: 1 to 15 letters, digits and _, . or - after the first",
		[FIELD_DEVICE] =
			"must be DPDK device arguments: 1 to 255 printable characters without spaces and quotes",
		[FIELD_IPV4] = "must be an IPv4 address such as 203.0.113.10",
		[FIELD_CIDR] = "must be an IPv4 prefix such as 10.0.0.0/16",
		[FIELD_MAC] = "must be a unicast MAC address such as 02:00:00:00:00:05",
		[FIELD_LISTEN] = "must be an address and port such as 127.0.0.1:9464, or off",
		[FIELD_DSCP] = "must be keep or a code point of RFC 2474, 0..63",
		[FIELD_PROTOCOL] = "must be any, tcp, udp, icmp or an IP protocol number, 1..255",
		[FIELD_TABLE] = "must be main, or the number of a routing table, 1..4294967295, but 255 (local)",
		[FIELD_PATTERN] = "must be a path such as conf.d/*.yaml, of 1 to 255 bytes, with wildcards (*, ?, []) "
				  "in its last part alone",
		[FIELD_PORTS] = "must be any, a port or a range of ports, such as 443 or 1000-2000, in 1..65535",
		[FIELD_INTERFACES] = "must be the beginning of interface names and a *, such as veth-w*",
		[FIELD_PATH] = "must be an absolute path of at most 255 characters",
		[FIELD_TEXT] = "must be 1 to 255 printable characters without blanks",
		[FIELD_SAN] = "must be dns:NAME, uri:URI, email:ADDRESS or ip:ADDRESS, of at most 255 characters",
		[FIELD_ROLE] = "must be read, operate, workspace:ID or host:ADDRESS",
		[FIELD_ENDPOINT] = "must be unix:/PATH/OF/posternd.sock or https://ADDRESS:PORT",
	};

	switch (field->type) {
	case FIELD_INTEGER:
		if (field->min == field->max)
			snprintf(ret_text, FIELD_WHY_SIZE_BYTES, "must be %" PRIu64, field->min);
		else if (field->multiple_of)
			snprintf(ret_text, FIELD_WHY_SIZE_BYTES,
				"must be a whole number, a multiple of %" PRIu32 ", %" PRIu64 "..%" PRIu64,
				field->multiple_of, field->min, field->max);
		else
			snprintf(ret_text, FIELD_WHY_SIZE_BYTES, "must be a whole number, %" PRIu64 "..%" PRIu64,
				field->min, field->max);
		break;
	case FIELD_COUNT:
		snprintf(ret_text, FIELD_WHY_SIZE_BYTES,
			"must be a whole number, such as 5000 or 64Ki, %" PRIu64 "..%" PRIu64, field->min, field->max);
		break;
	case FIELD_RATE:
		snprintf(ret_text, FIELD_WHY_SIZE_BYTES,
			"must be bytes per second, or a rate such as 10Mbit or 2MB, %" PRIu64 "..%" PRIu64, field->min,
			field->max);
		break;
	case FIELD_DURATION:
		duration_text(field, ret_text);
		break;
	case FIELD_CHOICE:
		choices_text(field, ret_text);
		break;
	default:
		snprintf(ret_text, FIELD_WHY_SIZE_BYTES, "%s", fixed[field->type]);
		break;
	}
}

/* ---- parse ---- */

static void store_number(const struct field *field, uint64_t value, void *place)
{
	uint32_t *bits = place;

	if (field->bit) {
		*bits = value ? *bits | field->bit : *bits & ~field->bit;
		return;
	}
	switch (field->size_bytes) {
	case 1:
		*(uint8_t *)place = (uint8_t)value;
		break;
	case 2:
		*(uint16_t *)place = (uint16_t)value;
		break;
	case 4:
		*(uint32_t *)place = (uint32_t)value;
		break;
	default:
		*(uint64_t *)place = value;
		break;
	}
}

bool field_is_number(const struct field *field)
{
	switch (field->type) {
	case FIELD_INTEGER:
	case FIELD_COUNT:
	case FIELD_DURATION:
	case FIELD_RATE:
	case FIELD_BOOL:
	case FIELD_CHOICE:
	case FIELD_TABLE:
		return true;
	default:
		return false;
	}
}

uint64_t field_number(const struct field *field, const void *place)
{
	if (!field_is_number(field))
		return 0;
	if (field->bit)
		return (*(const uint32_t *)place & field->bit) != 0;
	switch (field->size_bytes) {
	case 1:
		return *(const uint8_t *)place;
	case 2:
		return *(const uint16_t *)place;
	case 4:
		return *(const uint32_t *)place;
	default:
		return *(const uint64_t *)place;
	}
}

static const char *parse_number(const struct field *field, const char *text, bool quoted, void *place)
{
	const char *hint;
	uint64_t value = 0;

	if (quoted && field->type == FIELD_INTEGER)
		return " (without quotes)";
	switch (field->type) {
	case FIELD_COUNT:
		hint = scalar_parse_count(text, &value);
		break;
	case FIELD_DURATION:
		hint = scalar_parse_duration(text, &value);
		break;
	case FIELD_RATE:
		hint = scalar_parse_rate(text, &value);
		break;
	default:
		hint = scalar_parse_integer(text, &value);
		break;
	}
	if (hint)
		return hint;
	if (value < field->min || value > field->max || (field->multiple_of && value % field->multiple_of != 0))
		return "";
	/* "1bit" is less than a byte a second; stored as 0 it would mean "no limit". */
	if (field->type == FIELD_RATE && value == 0 && strcmp(text, "0") != 0)
		return " (less than one byte per second; 0 means no limit)";
	store_number(field, value, place);
	return NULL;
}

static const char *parse_table(const char *text, uint32_t *ret_table)
{
	uint64_t value = ROUTE_TABLE_MAIN;
	const char *hint = strcmp(text, "main") == 0 ? NULL : scalar_parse_integer(text, &value);

	if (hint || value == 0 || value > UINT32_MAX || value == ROUTE_TABLE_LOCAL)
		return hint ? hint : "";
	*ret_table = (uint32_t)value;
	return NULL;
}

static const char *parse_choice(const struct field *field, const char *text, void *place)
{
	for (size_t i = 0; field->choices[i]; i++) {
		if (strcmp(field->choices[i], text) == 0) {
			store_number(field, i, place);
			return NULL;
		}
	}
	return "";
}

static const char *parse_bool(const struct field *field, const char *text, bool quoted, void *place)
{
	bool value = false;
	const char *hint = scalar_parse_bool(text, &value);

	if (hint)
		return hint;
	if (quoted)
		return " (without quotes)";
	store_number(field, value, place);
	return NULL;
}

/* The place is zeroed, and larger than any text that was found good. */
static const char *store_text(const char *hint, const char *text, void *place)
{
	if (!hint)
		memcpy(place, text, strlen(text) + 1);
	return hint;
}

static const char *parse_dscp(const char *text, uint8_t *ret_dscp)
{
	uint64_t value = MODEL_DSCP_KEEP;
	const char *hint = strcmp(text, "keep") == 0 ? NULL : scalar_parse_integer(text, &value);

	if (hint)
		return hint;
	if (value > MODEL_DSCP_KEEP || (value == MODEL_DSCP_KEEP && strcmp(text, "keep") != 0))
		return "";
	*ret_dscp = (uint8_t)value;
	return NULL;
}

static const char *parse_scalar(const struct field *field, const char *text, bool quoted, void *place)
{
	uint8_t *bytes = place;

	switch (field->type) {
	case FIELD_INTEGER:
	case FIELD_COUNT:
	case FIELD_DURATION:
	case FIELD_RATE:
		return parse_number(field, text, quoted, place);
	case FIELD_BOOL:
		return parse_bool(field, text, quoted, place);
	case FIELD_CHOICE:
		return parse_choice(field, text, place);
	case FIELD_TABLE:
		return parse_table(text, place);
	case FIELD_ID:
	case FIELD_INTERFACE:
	case FIELD_DEVICE:
	case FIELD_PATTERN:
	case FIELD_INTERFACES:
	case FIELD_PATH:
	case FIELD_TEXT:
	case FIELD_SAN:
	case FIELD_ROLE:
	case FIELD_ENDPOINT:
		return store_text(field_text_check(field->type, text), text, place);
	case FIELD_IPV4:
		return scalar_parse_ipv4(text, place);
	case FIELD_MAC:
		return scalar_parse_mac(text, place);
	case FIELD_LISTEN:
		return scalar_parse_listen(
			text, place, (uint16_t *)(void *)(bytes + field->second_offset - field->offset));
	case FIELD_PROTOCOL:
		return scalar_parse_protocol(text, place);
	case FIELD_DSCP:
		return parse_dscp(text, place);
	case FIELD_PORTS:
		return scalar_parse_ports(text, place, (uint16_t *)place + 1);
	default:
		return "";
	}
}

static bool parse_cidr(const struct field *field, const char *text, void *place, char ret_why[FIELD_WHY_SIZE_BYTES])
{
	char corrected[SCALAR_SIZE_BYTES];
	uint32_t address = 0;
	uint8_t length = 0;
	const char *hint = scalar_parse_cidr(text, &address, &length);

	if (hint) {
		field_allowed_text(field, ret_why);
		strncat(ret_why, hint, FIELD_WHY_SIZE_BYTES - strlen(ret_why) - 1);
		return false;
	}
	if (address & ~scalar_prefix_mask(length)) {
		scalar_format_cidr(address & scalar_prefix_mask(length), length, corrected);
		snprintf(ret_why, FIELD_WHY_SIZE_BYTES, "has address bits set behind its /%u: did you mean %s?", length,
			corrected);
		return false;
	}
	*(uint32_t *)place = address;
	*((uint8_t *)place + 4) = length;
	return true;
}

bool field_parse(
	const struct field *field, const char *text, bool quoted, void *place, char ret_why[FIELD_WHY_SIZE_BYTES])
{
	const char *hint;

	if (field->type == FIELD_CIDR)
		return parse_cidr(field, text, place, ret_why);
	hint = parse_scalar(field, text, quoted, place);
	if (!hint)
		return true;
	field_allowed_text(field, ret_why);
	strncat(ret_why, hint, FIELD_WHY_SIZE_BYTES - strlen(ret_why) - 1);
	return false;
}

void field_fill_default(const struct field *field, void *record)
{
	char *place = (char *)record + field->offset, why[FIELD_WHY_SIZE_BYTES];

	if (field->type == FIELD_MAP && !field->list) {
		if (field->present_offset == FIELD_NOWHERE)
			fields_fill_defaults(field->section, place);
	} else if (field->default_text && *field->default_text) {
		if (!field_parse(field, field->default_text, false, place, why))
			__builtin_trap(); /* the field table contradicts itself */
	}
}

void fields_fill_defaults(const struct field_section *section, void *record)
{
	for (uint32_t i = 0; i < section->field_count; i++)
		field_fill_default(&section->fields[i], record);
}

/* ---- format ---- */

/* Quoted where plain YAML would read it as something else. */
static void format_text(const char *text, bool always_quoted, char ret_text[FIELD_TEXT_SIZE_BYTES])
{
	if (!always_quoted && strcmp(text, "null") != 0) {
		snprintf(ret_text, FIELD_TEXT_SIZE_BYTES, "%s", text);
		return;
	}
	/* Single quotes: only themselves need care, and are doubled. */
	char *at = ret_text;

	*at++ = '\'';
	for (; *text && at < ret_text + FIELD_TEXT_SIZE_BYTES - 4; text++) {
		if (*text == '\'')
			*at++ = '\'';
		*at++ = *text;
	}
	*at++ = '\'';
	*at = '\0';
}

void field_format(const struct field *field, const void *place, char ret_text[FIELD_TEXT_SIZE_BYTES])
{
	const uint16_t *ports = place;
	const uint8_t *bytes = place;
	char listen[SCALAR_SIZE_BYTES];

	switch (field->type) {
	case FIELD_DURATION:
		scalar_format_duration(field_number(field, place), ret_text);
		break;
	case FIELD_TABLE:
		if (field_number(field, place) == ROUTE_TABLE_MAIN)
			snprintf(ret_text, FIELD_TEXT_SIZE_BYTES, "main");
		else
			snprintf(ret_text, FIELD_TEXT_SIZE_BYTES, "%" PRIu64, field_number(field, place));
		break;
	case FIELD_BOOL:
		snprintf(ret_text, FIELD_TEXT_SIZE_BYTES, "%s", field_number(field, place) ? "true" : "false");
		break;
	case FIELD_CHOICE:
		snprintf(ret_text, FIELD_TEXT_SIZE_BYTES, "%s", field->choices[field_number(field, place)]);
		break;
	case FIELD_ID:
	case FIELD_INTERFACE:
		format_text(place, false, ret_text);
		break;
	case FIELD_DEVICE:
	case FIELD_PATTERN:
	case FIELD_INTERFACES:
	case FIELD_PATH:
	case FIELD_TEXT:
	case FIELD_SAN:
	case FIELD_ROLE:
	case FIELD_ENDPOINT:
		format_text(place, true, ret_text);
		break;
	case FIELD_IPV4:
		scalar_format_ipv4(*(const uint32_t *)place, ret_text);
		break;
	case FIELD_CIDR:
		scalar_format_cidr(*(const uint32_t *)place, bytes[4], ret_text);
		break;
	case FIELD_MAC:
		scalar_format_mac(place, ret_text);
		break;
	case FIELD_LISTEN:
		scalar_format_listen(
			place, *(const uint16_t *)(const void *)(bytes + field->second_offset - field->offset), listen);
		format_text(listen, listen[0] == '[', ret_text);
		break;
	case FIELD_PROTOCOL:
		scalar_format_protocol(*bytes, ret_text);
		break;
	case FIELD_DSCP:
		if (*bytes == MODEL_DSCP_KEEP)
			snprintf(ret_text, FIELD_TEXT_SIZE_BYTES, "keep");
		else
			snprintf(ret_text, FIELD_TEXT_SIZE_BYTES, "%u", *bytes);
		break;
	case FIELD_PORTS:
		scalar_format_ports(ports[0], ports[1], ret_text);
		break;
	default:
		snprintf(ret_text, FIELD_TEXT_SIZE_BYTES, "%" PRIu64, field_number(field, place));
		break;
	}
}

/* ---- lists ---- */

size_t field_element_size(const struct field *field)
{
	if (field->type == FIELD_MAP)
		return field->section->record_size_bytes;
	if (field->type == FIELD_PATTERN)
		return sizeof(struct model_include);
	if (field->type == FIELD_ROLE)
		return sizeof(struct model_role);
	return field->type == FIELD_CIDR ? sizeof(struct model_cidr) : sizeof(uint32_t);
}

static bool value_is_there(const struct field *field, const char *place)
{
	switch (field->type) {
	case FIELD_INTEGER:
	case FIELD_TABLE:
		return field_number(field, place) != 0;
	case FIELD_IPV4:
		return *(const uint32_t *)(const void *)place != 0;
	default:
		return *place != '\0';
	}
}

size_t field_elements(const struct field *field, const void *record, const void **ret_first)
{
	const char *base = record;

	if (field->list && field->count_offset != FIELD_NOWHERE) {
		*ret_first = *(const void *const *)(const void *)(base + field->offset);
		return *(const size_t *)(const void *)(base + field->count_offset);
	}
	*ret_first = base + field->offset;
	if (field->present_offset != FIELD_NOWHERE)
		return *(const bool *)(base + field->present_offset);
	if (field->type == FIELD_MAP || !field->default_text || *field->default_text)
		return 1;
	return value_is_there(field, base + field->offset);
}

bool field_is_printed(const struct field *field, const void *record)
{
	const char *base = record;
	const void *first;

	if (field->input_only)
		return false;
	if (field->list && !field->default_text)
		return true;
	if (field->present_offset != FIELD_NOWHERE)
		return *(const bool *)(base + field->present_offset);
	if (field->type != FIELD_MAP || field->list)
		return field_elements(field, record, &first) > 0;
	if (field->word && *(const bool *)(base + field->second_offset))
		return true;
	if (!field->default_text)
		return true;
	/* A mapping that the file may leave out, such as egress on a worker host: only when something is in it. */
	for (uint32_t i = 0; i < field->section->field_count; i++) {
		const struct field *inner = &field->section->fields[i];

		if (field_elements(inner, base + field->offset, &first) > 0)
			return true;
	}
	return false;
}
