/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between control/model_parse.c and control/model_check.c, and nobody else: a model under construction, with the YAML
 * node that each of its values came from. A value without a node was not in the file, or was refused; then it is zero
 * or the default, and no rule may complain about it again. Owner: config_parse(). Thread: any one at a time.
 */
#ifndef POSTERN_CONTROL_MODEL_PARSE_H
#define POSTERN_CONTROL_MODEL_PARSE_H

#include "control/index.h"
#include "control/model.h"
#include "control/yaml_tree.h"

struct model_draft {
	struct model *model;
	const struct yaml_tree *tree;
	struct hash_index value_nodes, record_nodes; /* address in the model → struct yaml_node */
	struct problems *problems, *warnings;
	bool no_memory;
	/*
	 * No node is remembered: whatever is asked for is there, with a node that stands nowhere, so that every rule
	 * applies. A rule that does not hold, and a value that means something only where it was written, makes the
	 * draft unsound: it takes a draft that remembers to say what is wrong, if anything is.
	 */
	bool unremembered, unsound;
};

/* For a draft that has no tree (any more). */
extern const struct yaml_tree model_draft_no_tree;

/* Tree → model, values checked one by one. Every key and value of the tree is looked at, whatever is wrong before it.
 */
void model_parse(struct model_draft *draft);

/* The same of an included file by itself; the draft is unremembered. `worker_host.present`: it has workers. */
void model_parse_fragment(struct model_draft *draft);

/* Rules across values; names workers' VPCs (model_worker.workspace_index). */
void model_check(struct model_draft *draft);

/* The part of model_check() that is in control/model_check_api.c. */
void model_check_api(struct model_draft *draft);

/* The node of a scalar, or of a mapping or list element, by its address in the model; NULL: none. */
const struct yaml_node *model_draft_value(const struct model_draft *draft, const void *place);
const struct yaml_node *model_draft_record(const struct model_draft *draft, const void *record);

/* "file:line: path: value: why"; without value for what is no scalar. */
void model_draft_add(struct model_draft *draft, struct problems *problems, const struct yaml_node *node,
	const char *format, ...) __attribute__((format(printf, 4, 5)));

#endif
