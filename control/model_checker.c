/* SPDX-License-Identifier: Apache-2.0 */
#include "control/model_checker.h"

#include <stdio.h>
#include <string.h>

#include "control/scalar.h"
#include "control/special.h"

enum { OWNER_SIZE_BYTES = 512 };

/* The `id` of the list element around `node` in the list `key`, or NULL. */
static const char *enclosing_id(const struct yaml_node *node, const char *key)
{
	const struct yaml_node *id;

	for (; node->parent; node = node->parent) {
		if (!node->parent->key || strcmp(node->parent->key, key) != 0 || node->kind != YAML_MAPPING)
			continue;
		id = yaml_node_child(node, "id");
		return id && id->kind == YAML_SCALAR ? id->text : NULL;
	}
	return NULL;
}

/* "workspace acme at workspaces[0].egress.ips[1] (acme.yaml:9)" */
static void describe_owner(const struct checker *checker, const struct yaml_node *node, char ret_text[OWNER_SIZE_BYTES])
{
	const char *workspace = enclosing_id(node, "workspaces");
	char path[YAML_PATH_SIZE_BYTES], shown[YAML_SHOWN_SIZE_BYTES];

	yaml_node_path(node, path);
	snprintf(ret_text, OWNER_SIZE_BYTES, "%s%s%s%s (%.100s:%u)", workspace ? "workspace " : "",
		workspace ? yaml_show_text(workspace, shown) : "", workspace ? " at " : "", path, node->tree->file,
		node->line);
}

void checker_take_unique(struct checker *checker, struct hash_index *taken, const void *key, size_t key_size_bytes,
	const struct yaml_node *node, const char *rule)
{
	char owner[OWNER_SIZE_BYTES];
	uint64_t other = 0;

	switch (index_add(taken, key, key_size_bytes, (uintptr_t)node, &other)) {
	case INDEX_ADDED:
		break;
	case INDEX_EXISTS:
		if (checker->draft->unremembered) {
			checker->draft->unsound = true;
			break;
		}
		describe_owner(checker, (const struct yaml_node *)(uintptr_t)other, owner);
		REFUSE(checker, node, "is already used by %s: %s", owner, rule);
		break;
	case INDEX_NO_MEMORY:
		checker->draft->no_memory = true;
		break;
	}
}

const struct yaml_node *checker_text_node(const struct checker *checker, const char *text)
{
	return *text ? model_draft_value(checker->draft, text) : NULL;
}

void checker_take_interface(struct checker *checker, const char *interface, const void *record)
{
	const struct yaml_node *node = checker_text_node(checker, interface);

	if (!node && record && *interface)
		node = model_draft_record(checker->draft, record);
	if (node)
		checker_take_unique(checker, &checker->interfaces, interface, strlen(interface), node,
			"an interface has one purpose only");
}

void checker_add_index(
	struct checker *checker, struct hash_index *map, const void *key, size_t key_size_bytes, uint64_t value)
{
	if (index_add(map, key, key_size_bytes, value, NULL) == INDEX_NO_MEMORY)
		checker->draft->no_memory = true;
}

void checker_take_public_ip(struct checker *checker, const uint32_t *address)
{
	const struct yaml_node *node = model_draft_value(checker->draft, address);
	const char *special;

	if (!node)
		return;
	special = special_name(*address, 32, true);
	if (special)
		REFUSE(checker, node, "is %s: an egress IP must be a public unicast address", special);
	checker_take_unique(checker, &checker->egress_ips, address, sizeof(*address), node,
		"an egress IP belongs to one workspace, or to the shared pool");
}

bool checker_is_inside(const struct model_cidr *cidrs, size_t cidr_count, uint32_t address)
{
	for (size_t i = 0; i < cidr_count; i++) {
		if ((address & scalar_prefix_mask(cidrs[i].prefix_length_bits)) == cidrs[i].address)
			return true;
	}
	return false;
}

bool checker_may_be_inside(const struct checker *checker, const struct model_vpc *vpc, uint32_t address)
{
	if (vpc->cidr_count == 0)
		return true;
	for (size_t i = 0; i < vpc->cidr_count; i++) {
		if (!model_draft_value(checker->draft, &vpc->cidrs[i]))
			return true;
	}
	return checker_is_inside(vpc->cidrs, vpc->cidr_count, address);
}
