/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between the files of model_check(), and nobody else: what the rules have seen so far of a draft, and what several of
 * them ask. Owner: model_check(). Thread: any one at a time.
 */
#ifndef POSTERN_CONTROL_MODEL_CHECKER_H
#define POSTERN_CONTROL_MODEL_CHECKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "control/model_parse.h"

struct checker {
	struct model_draft *draft;
	struct model *model;
	/* name or number → node that took it first */
	struct hash_index interfaces, workspace_ids, workspace_numbers, vpc_ids, vnis, egress_ips, listed_workers,
		workers;
	/* id → index; for the workers' references, and empty where there are none */
	struct hash_index workspaces, vpcs;
	size_t vpc_count, cidr_count, egress_ip_count, shared_count, listed_worker_count, rule_count;
};

/* Keys of checker.vpc_ids and .vpcs, and of .listed_workers and .workers. Padding-free. */
struct vpc_key {
	uint32_t workspace_index;
	char id[ID_SIZE_BYTES];
};

struct worker_key {
	uint32_t workspace_index, vpc_index, address;
};

#define REFUSE(checker, node, ...) model_draft_add((checker)->draft, (checker)->draft->problems, node, __VA_ARGS__)
#define WARN(checker, node, ...) model_draft_add((checker)->draft, (checker)->draft->warnings, node, __VA_ARGS__)

/* Takes the key for `node`, or reports who has it. `rule` ends the sentence. */
void checker_take_unique(struct checker *checker, struct hash_index *taken, const void *key, size_t key_size_bytes,
	const struct yaml_node *node, const char *rule);

/* The node of a text; NULL: it was not given, which a draft that remembers no nodes has only the text to tell by. */
const struct yaml_node *checker_text_node(const struct checker *checker, const char *text);

/* `record`: what to name as the owner when the interface is a default; else NULL. */
void checker_take_interface(struct checker *checker, const char *interface, const void *record);

/* An egress IP, of a workspace or of the shared pool. */
void checker_take_public_ip(struct checker *checker, const uint32_t *address);

void checker_add_index(
	struct checker *checker, struct hash_index *map, const void *key, size_t key_size_bytes, uint64_t value);

bool checker_is_inside(const struct model_cidr *cidrs, size_t cidr_count, uint32_t address);

/* Is an address inside the VPC? True as well when a CIDR was refused, since that may have been the one. */
bool checker_may_be_inside(const struct checker *checker, const struct model_vpc *vpc, uint32_t address);

/* The rules of one workspace; those of all workspaces are in the checker afterwards. */
void model_check_workspace(struct checker *checker, size_t workspace_index);

/* After the workspaces, which its workers name. */
void model_check_worker_host(struct checker *checker);

#endif
