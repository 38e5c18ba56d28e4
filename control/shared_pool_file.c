/* SPDX-License-Identifier: Apache-2.0 */
#include "control/shared_pool_file.h"

#include <jansson.h>
#include <string.h>

#include "control/scalar.h"

enum { FILE_VERSION = 1 };

static const char *const state_names[SHARED_POOL_STATE_COUNT] = {
	[SHARED_POOL_ACTIVE] = "active",
	[SHARED_POOL_DRAINING] = "draining",
	[SHARED_POOL_QUARANTINE] = "quarantine",
};

static json_t *encode_range(const struct shared_pool_range *range)
{
	char address[SCALAR_SIZE_BYTES];

	scalar_format_ipv4(range->address, address);
	return json_pack("{ss ss si si ss sI}", "workspace", range->workspace, "address", address, "port_first",
		(int)range->port_first, "port_count", (int)range->port_count, "state", state_names[range->state],
		"since", (json_int_t)range->since_s);
}

char *shared_pool_encode(const struct shared_pool_table *table)
{
	json_t *ranges = json_array(), *root = json_pack("{si so}", "version", FILE_VERSION, "ranges", ranges);
	char *text = NULL;
	bool complete = root != NULL;

	for (size_t i = 0; complete && i < table->count; i++)
		complete = json_array_append_new(ranges, encode_range(&table->ranges[i])) == 0;
	if (complete)
		text = json_dumps(root, JSON_INDENT(1));
	json_decref(root);
	return text;
}

static bool decode_state(const char *name, uint32_t *ret_state)
{
	for (uint32_t state = 0; state < SHARED_POOL_STATE_COUNT; state++) {
		if (strcmp(name, state_names[state]) == 0) {
			*ret_state = state;
			return true;
		}
	}
	return false;
}

static bool decode_range(json_t *json, struct shared_pool_range *ret_range)
{
	struct shared_pool_range range = {0};
	const char *workspace, *address, *state;
	json_int_t port_first, port_count, since_s;

	if (json_unpack_ex(json, NULL, JSON_STRICT, "{ss ss sI sI ss sI}", "workspace", &workspace, "address", &address,
		    "port_first", &port_first, "port_count", &port_count, "state", &state, "since", &since_s) != 0)
		return false;
	if (strlen(workspace) >= sizeof(range.workspace) || scalar_parse_ipv4(address, &range.address) ||
		!decode_state(state, &range.state))
		return false;
	if (port_first < 0 || port_first > UINT16_MAX || port_count < 0 || port_count > UINT16_MAX || since_s < 0)
		return false;
	memcpy(range.workspace, workspace, strlen(workspace));
	range.port_first = (uint16_t)port_first;
	range.port_count = (uint16_t)port_count;
	range.since_s = (uint64_t)since_s;
	*ret_range = range;
	return true;
}

static const char *decode_ranges(json_t *ranges, struct shared_pool_table *table)
{
	struct shared_pool_range range;
	size_t i;
	json_t *json;

	if (json_array_size(ranges) > SHARED_POOL_RANGE_COUNT_MAX)
		return "it has too many ranges";
	json_array_foreach(ranges, i, json)
	{
		if (!decode_range(json, &range))
			return "a range in it is malformed";
		if (shared_pool_add(table, &range) != STATUS_OK)
			return "there is no memory for it";
	}
	shared_pool_sort(table);
	return shared_pool_is_valid(table) ? NULL : "its ranges contradict each other";
}

const char *shared_pool_decode(const char *text, size_t length_bytes, struct shared_pool_table *ret_table)
{
	struct shared_pool_table table = {0};
	json_t *root = json_loadb(text, length_bytes, JSON_REJECT_DUPLICATES, NULL), *ranges = NULL;
	const char *why = NULL;
	int version = 0;

	if (root == NULL)
		why = "it is no JSON";
	else if (json_unpack_ex(root, NULL, JSON_STRICT, "{si so}", "version", &version, "ranges", &ranges) != 0 ||
		 version != FILE_VERSION || !json_is_array(ranges))
		why = "it is no table of this version";
	else
		why = decode_ranges(ranges, &table);
	json_decref(root);
	if (why != NULL) {
		shared_pool_clear(&table);
		return why;
	}
	*ret_table = table;
	return NULL;
}
