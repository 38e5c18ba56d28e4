/* SPDX-License-Identifier: Apache-2.0 */
#include "control/drain_file.h"

#include <string.h>

#include "control/scalar.h"

static json_t *file_json(const struct drain *drain)
{
	char address[SCALAR_SIZE_BYTES];

	scalar_format_ipv4(drain->address, address);
	return json_pack("{s:s, s:s, s:b, s:I, s:I, s:I, s:b}", "address", address, "workspace", drain->workspace,
		"released", drain->state == DRAIN_RELEASED, "started_s", (json_int_t)drain->started_s, "deadline_s",
		(json_int_t)drain->deadline_s, "released_s", (json_int_t)drain->released_s, "cut", drain->cut);
}

char *drains_encode(const struct drains *drains)
{
	json_t *array = json_array();
	char *text;

	for (size_t i = 0; i < drains->count; i++)
		json_array_append_new(array, file_json(&drains->entries[i]));
	text = json_array_size(array) == drains->count ? json_dumps(array, JSON_INDENT(1)) : NULL;
	json_decref(array);
	return text;
}

static const char *decode_one(json_t *json, struct drains *drains)
{
	const char *address_text, *workspace;
	json_int_t started_s, deadline_s, released_s;
	struct drain *drain;
	uint32_t address;
	int released, cut;

	if (json_unpack(json, "{s:s, s:s, s:b, s:I, s:I, s:I, s:b}", "address", &address_text, "workspace", &workspace,
		    "released", &released, "started_s", &started_s, "deadline_s", &deadline_s, "released_s",
		    &released_s, "cut", &cut) != 0)
		return "an element is no drain";
	if (scalar_parse_ipv4(address_text, &address) || scalar_check_id(workspace) || started_s < 0 ||
		deadline_s < 0 || released_s < 0)
		return "a value is out of its range";
	if (drains_find(drains, address))
		return "an address is there twice";
	if (drains_begin(drains, address, workspace, (uint64_t)started_s, (uint64_t)deadline_s, &drain) != STATUS_OK)
		return "there are too many";
	drain->state = released ? DRAIN_RELEASED : DRAIN_DRAINING;
	drain->released_s = (uint64_t)released_s;
	drain->cut = cut;
	return NULL;
}

const char *drains_decode(const char *text, size_t length_bytes, struct drains *ret_drains)
{
	json_t *array = json_loadb(text, length_bytes, JSON_REJECT_DUPLICATES, NULL), *element;
	struct drains drains = {0};
	const char *why = json_is_array(array) ? NULL : "it is no JSON list";
	size_t i;

	json_array_foreach(array, i, element)
	{
		if (why == NULL)
			why = decode_one(element, &drains);
	}
	json_decref(array);
	if (why != NULL)
		drains_clear(&drains);
	*ret_drains = drains;
	return why;
}

static json_t *seconds_until(uint64_t then_s, uint64_t now_s)
{
	if (then_s == 0)
		return json_null();
	return json_integer(then_s > now_s ? (json_int_t)(then_s - now_s) : 0);
}

json_t *drain_json(const struct drain *drain, uint64_t now_s)
{
	bool released = drain->state == DRAIN_RELEASED;
	uint64_t free_s = released ? drain->released_s + DRAIN_QUARANTINE_S : 0;
	char address[SCALAR_SIZE_BYTES];
	const char *state = !released ? "draining" : now_s < free_s ? "quarantine" : "released";

	scalar_format_ipv4(drain->address, address);
	return json_pack("{s:s, s:s, s:s, s:I, s:o, s:o, s:o, s:b, s:b}", "address", address, "workspace",
		drain->workspace, "state", state, "started_unix_seconds", (json_int_t)drain->started_s, "sessions",
		released	 ? json_integer(0)
		: drain->counted ? json_integer((json_int_t)drain->sessions)
				 : json_null(),
		"deadline_seconds_left", released ? json_null() : seconds_until(drain->deadline_s, now_s),
		"quarantine_seconds_left", seconds_until(free_s, now_s), "cut", drain->cut, "in_files",
		drain->configured);
}
