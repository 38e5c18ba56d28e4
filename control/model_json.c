/* SPDX-License-Identifier: Apache-2.0 */
#include "control/model_json.h"

static json_t *section_json(const struct field_section *section, const char *record);

static json_t *value_json(const struct field *field, const void *place)
{
	char text[FIELD_TEXT_SIZE_BYTES];

	switch (field->type) {
	case FIELD_INTEGER:
	case FIELD_COUNT:
	case FIELD_RATE:
		return json_integer((json_int_t)field_number(field, place));
	case FIELD_BOOL:
		return json_boolean(field_number(field, place) != 0);
	case FIELD_ID:
	case FIELD_INTERFACE:
	case FIELD_DEVICE:
		return json_string(place); /* field_format() would quote some for YAML */
	default:
		field_format(field, place, text);
		return json_string(text);
	}
}

static json_t *element_json(const struct field *field, const void *place)
{
	return field->type == FIELD_MAP ? section_json(field->section, place) : value_json(field, place);
}

static json_t *field_json(const struct field *field, const char *record)
{
	const void *first;
	size_t count = field_elements(field, record, &first);
	json_t *array;

	if (field->type == FIELD_MAP && field->word && *(const bool *)(record + field->second_offset))
		return json_string(field->word);
	if (!field->list)
		return element_json(field, first);
	array = json_array();
	for (size_t i = 0; i < count; i++)
		json_array_append_new(array, element_json(field, (const char *)first + i * field_element_size(field)));
	return array;
}

static json_t *section_json(const struct field_section *section, const char *record)
{
	json_t *json = json_object();

	for (uint32_t i = 0; i < section->field_count; i++) {
		const struct field *field = &section->fields[i];

		if (field_is_printed(field, record))
			json_object_set_new(json, field->key, field_json(field, record));
	}
	return json;
}

const struct field_section *model_workspace_section(void)
{
	return fields_find(&fields_file, "workspaces")->section;
}

json_t *model_workspace_json(const struct model_workspace *workspace)
{
	return section_json(model_workspace_section(), (const char *)workspace);
}
