/* SPDX-License-Identifier: Apache-2.0 */
#include "control/plan.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/fields.h"
#include "control/index.h"
#include "control/model_match.h"
#include "control/scalar.h"

enum { LABEL_SIZE_BYTES = 256, LISTED_IP_COUNT_MAX = 4, SHOWN_ELEMENT_COUNT_MAX = 8 };

/* ---- objects ---- */

enum object_kind { OBJECT_WORKSPACE, OBJECT_VPC, OBJECT_EGRESS_IP, OBJECT_LISTED_WORKER, OBJECT_WORKER };

/* An object's identity; unused parts are zero. Padding-free, since it is hashed as bytes. */
struct object_key {
	uint32_t kind, vni, address;
	char workspace[ID_SIZE_BYTES], vpc[ID_SIZE_BYTES];
};

struct object {
	struct object_key key;
	const void *record;
	const struct field_section *section; /* NULL: nothing in it can change, but an egress IP's state */
};

/* The record of an egress IP: its state. */
static const char egress_active[] = "active", egress_draining[] = "draining";

struct planner {
	struct plan *plan;
	struct hash_index other; /* the objects of the model that is compared with: key → record */
	struct model_match match;
	const char *subject; /* the workspace whose changes are being added; "": nobody's alone */
	const struct field_section *workspace, *vpc, *listed_worker, *worker;
	bool no_memory;
};

/* Called for every object; what is in it is visited only when true is returned. */
typedef bool visit_function(struct planner *planner, const struct object *object);

static const struct field_section *inner_section(const struct field_section *section, const char *key)
{
	return fields_find(section, key)->section;
}

static void walk_vpc(struct planner *planner, const struct model_workspace *workspace, const struct model_vpc *vpc,
	visit_function *visit)
{
	struct object object = {.key = {.kind = OBJECT_VPC, .vni = vpc->vni}, .record = vpc, .section = planner->vpc};

	memcpy(object.key.workspace, workspace->id, ID_SIZE_BYTES);
	memcpy(object.key.vpc, vpc->id, ID_SIZE_BYTES);
	if (!visit(planner, &object))
		return;
	object.key.kind = OBJECT_LISTED_WORKER;
	object.section = planner->listed_worker;
	for (size_t i = 0; i < vpc->worker_count; i++) {
		object.key.address = vpc->workers[i].address;
		object.record = &vpc->workers[i];
		visit(planner, &object);
	}
}

static void walk_workspace(struct planner *planner, const struct model_workspace *workspace, visit_function *visit)
{
	struct object object = {.key.kind = OBJECT_WORKSPACE, .record = workspace, .section = planner->workspace};

	memcpy(object.key.workspace, workspace->id, ID_SIZE_BYTES);
	if (!visit(planner, &object))
		return;
	for (size_t i = 0; i < workspace->vpc_count; i++)
		walk_vpc(planner, workspace, &workspace->vpcs[i], visit);
	object.key.kind = OBJECT_EGRESS_IP;
	object.section = NULL;
	object.record = egress_active;
	for (size_t i = 0; i < workspace->egress_ip_count; i++) {
		object.key.address = workspace->egress_ips[i];
		visit(planner, &object);
	}
	object.record = egress_draining;
	for (size_t i = 0; i < workspace->draining_ip_count; i++) {
		object.key.address = workspace->draining_ips[i];
		visit(planner, &object);
	}
}

static void walk_model(struct planner *planner, const struct model *model, bool is_new, visit_function *visit)
{
	struct object object = {.key.kind = OBJECT_WORKER, .section = planner->worker};

	for (size_t i = 0; i < model->workspace_count; i++) {
		uint32_t at = is_new ? (uint32_t)i : planner->match.new_of_old[i];

		/* Most have not changed in anything. */
		if (at != MODEL_MATCH_NONE && planner->match.same[at])
			continue;
		planner->subject = model->workspaces[i].id;
		walk_workspace(planner, &model->workspaces[i], visit);
	}
	for (size_t i = 0; i < model->worker_host.worker_count; i++) {
		const struct model_worker *worker = &model->worker_host.workers[i];

		planner->subject = worker->workspace;

		memcpy(object.key.workspace, worker->workspace, ID_SIZE_BYTES);
		memcpy(object.key.vpc, worker->vpc, ID_SIZE_BYTES);
		object.key.address = worker->address;
		object.record = worker;
		visit(planner, &object);
	}
}

static bool visit_index(struct planner *planner, const struct object *object)
{
	if (index_add(&planner->other, &object->key, sizeof(object->key), (uintptr_t)object->record, NULL) ==
		INDEX_NO_MEMORY)
		planner->no_memory = true;
	return true;
}

static const void *find_other(const struct planner *planner, const struct object *object)
{
	uint64_t record = 0;

	return index_find(&planner->other, &object->key, sizeof(object->key), &record) ? (const void *)(uintptr_t)record
										       : NULL;
}

static void label_object(const struct object *object, char ret_label[LABEL_SIZE_BYTES])
{
	const struct object_key *key = &object->key;
	char address[SCALAR_SIZE_BYTES];

	scalar_format_ipv4(key->address, address);
	switch (key->kind) {
	case OBJECT_WORKSPACE:
		snprintf(ret_label, LABEL_SIZE_BYTES, "workspace %s", key->workspace);
		break;
	case OBJECT_VPC:
		snprintf(ret_label, LABEL_SIZE_BYTES, "VPC %s (VNI %u) of workspace %s", key->vpc, key->vni,
			key->workspace);
		break;
	case OBJECT_EGRESS_IP:
		snprintf(ret_label, LABEL_SIZE_BYTES, "egress IP %s of workspace %s", address, key->workspace);
		break;
	case OBJECT_LISTED_WORKER:
		snprintf(ret_label, LABEL_SIZE_BYTES, "listed worker %s in VPC %s of workspace %s", address, key->vpc,
			key->workspace);
		break;
	default:
		snprintf(ret_label, LABEL_SIZE_BYTES, "worker %s in VPC %s of workspace %s on this host", address,
			key->vpc, key->workspace);
		break;
	}
}

/* ---- lines ---- */

static void add_change(struct planner *planner, enum plan_kind kind, bool needs_restart, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

static void add_change(struct planner *planner, enum plan_kind kind, bool needs_restart, const char *format, ...)
{
	static const char marks[] = {[PLAN_ADD] = '+', [PLAN_REMOVE] = '-', [PLAN_CHANGE] = '~'};
	struct plan *plan = planner->plan;
	char *words = NULL, *text = NULL;
	va_list arguments;
	int length;

	if (plan->count == plan->capacity) {
		size_t capacity = plan->capacity ? plan->capacity * 2 : 16;
		struct plan_change *changes = realloc(plan->changes, capacity * sizeof(*changes));

		if (!changes) {
			planner->no_memory = true;
			return;
		}
		plan->changes = changes;
		plan->capacity = capacity;
	}
	va_start(arguments, format);
	length = vasprintf(&words, format, arguments);
	va_end(arguments);
	if (length >= 0)
		length = asprintf(&text, "%c %s%s", marks[kind], words,
			needs_restart ? " (needs a restart of postern-dataplane)" : "");
	if (length < 0) {
		planner->no_memory = true;
	} else {
		plan->changes[plan->count++] =
			(struct plan_change){.kind = kind, .needs_restart = needs_restart, .text = text};
		strncpy(plan->changes[plan->count - 1].workspace, planner->subject, ID_SIZE_BYTES - 1);
		plan->needs_restart |= needs_restart;
	}
	if (words)
		free(words);
}

/* A workspace that comes or goes is one line with what is in it. */
static void add_workspace(struct planner *planner, enum plan_kind kind, const struct model_workspace *workspace)
{
	char ips[LISTED_IP_COUNT_MAX * SCALAR_SIZE_BYTES] = "", text[SCALAR_SIZE_BYTES], draining[32] = "";
	size_t used = 0;

	for (size_t i = 0; i < workspace->egress_ip_count && i < LISTED_IP_COUNT_MAX; i++) {
		scalar_format_ipv4(workspace->egress_ips[i], text);
		used += (size_t)snprintf(ips + used, sizeof(ips) - used, "%s%s", i ? ", " : " ", text);
	}
	if (workspace->draining_ip_count)
		snprintf(draining, sizeof(draining), ", %zu draining", workspace->draining_ip_count);
	add_change(planner, kind, false, "workspace %s: %zu VPC%s, %zu egress IP%s%s%s%s%s", workspace->id,
		workspace->vpc_count, workspace->vpc_count == 1 ? "" : "s", workspace->egress_ip_count,
		workspace->egress_ip_count == 1 ? "" : "s", ips,
		workspace->egress_ip_count > LISTED_IP_COUNT_MAX ? ", ..." : "", draining,
		workspace->egress_shared ? ", shared pool" : "");
}

static void add_object(struct planner *planner, enum plan_kind kind, const struct object *object)
{
	char label[LABEL_SIZE_BYTES];

	if (object->key.kind == OBJECT_WORKSPACE) {
		add_workspace(planner, kind, object->record);
		return;
	}
	label_object(object, label);
	add_change(planner, kind, false, "%s%s", label,
		kind == PLAN_ADD && object->record == egress_draining ? " (draining)" : "");
}

/* ---- differences of one record, by the field table ---- */

/* "workspace acme: timers.udp" */
static void join_label(const char *label, const char *key, bool is_object, char ret_label[LABEL_SIZE_BYTES])
{
	snprintf(ret_label, LABEL_SIZE_BYTES, "%s%s%s", label, !*label ? "" : is_object ? ": " : ".", key);
}

static bool records_equal(const struct field_section *section, const char *a, const char *b);

/* By the text that it is printed as; the usual kinds by what that text says. */
static bool values_equal(const struct field *field, const void *a, const void *b)
{
	char a_text[FIELD_TEXT_SIZE_BYTES], b_text[FIELD_TEXT_SIZE_BYTES];

	if (field_is_number(field))
		return field_number(field, a) == field_number(field, b);
	switch (field->type) {
	case FIELD_IPV4:
		return *(const uint32_t *)a == *(const uint32_t *)b;
	case FIELD_CIDR:
		return *(const uint32_t *)a == *(const uint32_t *)b &&
		       ((const uint8_t *)a)[4] == ((const uint8_t *)b)[4];
	case FIELD_ID:
	case FIELD_INTERFACE:
		return strcmp(a, b) == 0;
	default:
		field_format(field, a, a_text);
		field_format(field, b, b_text);
		return strcmp(a_text, b_text) == 0;
	}
}

static bool field_equal(const struct field *field, const char *a, const char *b)
{
	const void *a_first, *b_first;
	size_t count = field_elements(field, a, &a_first), size_bytes = field_element_size(field);

	if (field_elements(field, b, &b_first) != count)
		return false;
	for (size_t i = 0; i < count; i++) {
		const char *a_place = (const char *)a_first + i * size_bytes;
		const char *b_place = (const char *)b_first + i * size_bytes;

		if (field->type == FIELD_MAP) {
			if (!records_equal(field->section, a_place, b_place))
				return false;
		} else if (!values_equal(field, a_place, b_place)) {
			return false;
		}
	}
	return true;
}

/* The bool at `offset` of both, if there is one. */
static bool flags_equal(uint32_t offset, const char *old, const char *new)
{
	return offset == FIELD_NOWHERE || *(const bool *)(old + offset) == *(const bool *)(new + offset);
}

static bool fields_equal(const struct field *field, const char *a, const char *b)
{
	return flags_equal(field->present_offset, a, b) && (!field->word || flags_equal(field->second_offset, a, b)) &&
	       field_equal(field, a, b);
}

static bool records_equal(const struct field_section *section, const char *a, const char *b)
{
	for (uint32_t i = 0; i < section->field_count; i++) {
		if (!section->fields[i].input_only && !fields_equal(&section->fields[i], a, b))
			return false;
	}
	return true;
}

bool plan_workspaces_equal(const struct model_workspace *a, const struct model_workspace *b)
{
	return records_equal(inner_section(&fields_file, "workspaces"), (const char *)a, (const char *)b);
}

bool plan_models_equal(const struct model *a, const struct model *b)
{
	const struct field *workspaces = fields_find(&fields_file, "workspaces");

	if (a->workspace_count != b->workspace_count)
		return false;
	for (uint32_t i = 0; i < fields_file.field_count; i++) {
		const struct field *field = &fields_file.fields[i];

		if (field != workspaces && !field->input_only && !fields_equal(field, (const char *)a, (const char *)b))
			return false;
	}
	/* Mostly the very same values of the same file. */
	for (size_t i = 0; i < a->workspace_count; i++) {
		if (memcmp(&a->workspaces[i], &b->workspaces[i], sizeof(*a->workspaces)) != 0 &&
			!plan_workspaces_equal(&a->workspaces[i], &b->workspaces[i]))
			return false;
	}
	return true;
}

/* A value or a short list as it stands in the file; a longer list, and rules, as their number. */
static void show_field(const struct field *field, const char *record, char ret_text[LABEL_SIZE_BYTES])
{
	char text[FIELD_TEXT_SIZE_BYTES];
	const void *first;
	size_t count = field_elements(field, record, &first), used;

	if (field->type == FIELD_MAP || count > SHOWN_ELEMENT_COUNT_MAX) {
		snprintf(ret_text, LABEL_SIZE_BYTES, "%zu elements", count);
		return;
	}
	if (!field->list && count == 0) {
		snprintf(ret_text, LABEL_SIZE_BYTES, "none");
		return;
	}
	used = (size_t)snprintf(ret_text, LABEL_SIZE_BYTES, "%s", field->list ? "[" : "");
	for (size_t i = 0; i < count && used < LABEL_SIZE_BYTES; i++) {
		field_format(field, (const char *)first + i * field_element_size(field), text);
		used += (size_t)snprintf(ret_text + used, LABEL_SIZE_BYTES - used, "%s%s", i ? ", " : "", text);
	}
	if (field->list && used < LABEL_SIZE_BYTES)
		snprintf(ret_text + used, LABEL_SIZE_BYTES - used, "]");
}

static void compare_sections(struct planner *planner, const struct field_section *section, const char *old,
	const char *new, const char *label, bool is_object);

static void compare_maps(
	struct planner *planner, const struct field *field, const char *old, const char *new, const char *label)
{
	if (field->present_offset != FIELD_NOWHERE) {
		bool was = *(const bool *)(old + field->present_offset),
		     is = *(const bool *)(new + field->present_offset);

		/* A gateway that goes leaves the dataplane with its last policy, until it is stopped. */
		if (was != is)
			add_change(planner, is ? PLAN_ADD : PLAN_REMOVE, was && strcmp(field->key, "gateway") == 0,
				"%s", label);
		if (!was || !is)
			return;
	}
	if (field->word) {
		bool was = *(const bool *)(old + field->second_offset),
		     is = *(const bool *)(new + field->second_offset);

		if (was != is)
			add_change(planner, PLAN_CHANGE, false, "%s: %s -> %s", label, was ? field->word : "own IPs",
				is ? field->word : "own IPs");
	}
	compare_sections(planner, field->section, old + field->offset, new + field->offset, label, false);
}

static void compare_fields(
	struct planner *planner, const struct field *field, const char *old, const char *new, const char *label)
{
	char old_text[LABEL_SIZE_BYTES], new_text[LABEL_SIZE_BYTES];

	if (field_equal(field, old, new))
		return;
	show_field(field, old, old_text);
	show_field(field, new, new_text);
	if (strcmp(old_text, new_text) == 0)
		add_change(planner, PLAN_CHANGE, field->needs_restart, "%s: changed (%s)", label, new_text);
	else
		add_change(planner, PLAN_CHANGE, field->needs_restart, "%s: %s -> %s", label, old_text, new_text);
}

/* The workers of a VPC are objects, but whether there is a list at all is a property of the VPC. */
static void compare_presence(
	struct planner *planner, const struct field *field, const char *old, const char *new, const char *label)
{
	bool was, is;

	if (field->present_offset == FIELD_NOWHERE)
		return;
	was = *(const bool *)(old + field->present_offset);
	is = *(const bool *)(new + field->present_offset);
	if (was != is)
		add_change(planner, PLAN_CHANGE, false, "%s: %s -> %s", label, was ? "listed" : "any",
			is ? "listed" : "any");
}

static void compare_sections(struct planner *planner, const struct field_section *section, const char *old,
	const char *new, const char *label, bool is_object)
{
	for (uint32_t i = 0; i < section->field_count; i++) {
		const struct field *field = &section->fields[i];
		char inner[LABEL_SIZE_BYTES];

		if (field->input_only)
			continue;
		join_label(label, field->key, is_object, inner);
		if (field->objects)
			compare_presence(planner, field, old, new, inner);
		else if (field->type == FIELD_MAP && !field->list)
			compare_maps(planner, field, old, new, inner);
		else
			compare_fields(planner, field, old, new, inner);
	}
}

/* What compare_sections() would find nothing in, without a word being made. */
static bool section_is_unchanged(const struct field_section *section, const char *old, const char *new)
{
	for (uint32_t i = 0; i < section->field_count; i++) {
		const struct field *field = &section->fields[i];

		if (field->input_only)
			continue;
		if (!flags_equal(field->present_offset, old, new) ||
			(field->word && !flags_equal(field->second_offset, old, new)))
			return false;
		if (field->objects)
			continue;
		if (field->type == FIELD_MAP && !field->list) {
			if (!section_is_unchanged(field->section, old + field->offset, new + field->offset))
				return false;
		} else if (!field_equal(field, old, new)) {
			return false;
		}
	}
	return true;
}

/* ---- the plan ---- */

static bool visit_old(struct planner *planner, const struct object *object)
{
	const void *other = find_other(planner, object);
	char label[LABEL_SIZE_BYTES];

	if (!other) {
		add_object(planner, PLAN_REMOVE, object);
		return false;
	}
	if (object->key.kind == OBJECT_EGRESS_IP) {
		if (object->record != other) {
			label_object(object, label);
			add_change(planner, PLAN_CHANGE, false, "%s: %s -> %s", label, (const char *)object->record,
				(const char *)other);
		}
	} else if (object->section && !section_is_unchanged(object->section, object->record, other)) {
		label_object(object, label);
		compare_sections(planner, object->section, object->record, other, label, true);
	}
	return true;
}

static bool visit_new(struct planner *planner, const struct object *object)
{
	if (find_other(planner, object))
		return true;
	add_object(planner, PLAN_ADD, object);
	return false;
}

enum status plan_make(const struct model *old, const struct model *new, struct plan *ret_plan)
{
	struct model nothing = {.version = 1};
	struct plan plan = {0};
	struct planner planner = {.plan = &plan, .subject = ""};

	planner.workspace = inner_section(&fields_file, "workspaces");
	planner.vpc = inner_section(planner.workspace, "vpcs");
	planner.listed_worker = inner_section(planner.vpc, "workers");
	planner.worker = inner_section(inner_section(&fields_file, "worker_host"), "workers");
	fields_fill_defaults(&fields_file, &nothing);
	if (!old)
		old = &nothing;
	if (model_match(old, new, &planner.match) != STATUS_OK)
		return STATUS_NO_MEMORY;
	compare_sections(&planner, &fields_file, (const char *)old, (const char *)new, "", false);
	walk_model(&planner, new, true, visit_index);
	walk_model(&planner, old, false, visit_old);
	index_clear(&planner.other);
	walk_model(&planner, old, false, visit_index);
	walk_model(&planner, new, true, visit_new);
	index_clear(&planner.other);
	model_match_clear(&planner.match);
	if (planner.no_memory) {
		plan_clear(&plan);
		return STATUS_NO_MEMORY;
	}
	*ret_plan = plan;
	return STATUS_OK;
}

void plan_clear(struct plan *plan)
{
	for (size_t i = 0; i < plan->count; i++)
		free(plan->changes[i].text);
	free(plan->changes);
	memset(plan, 0, sizeof(*plan));
}
