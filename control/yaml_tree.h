/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The YAML tree: the bytes of one configuration file as nodes that know where they stand.
 *
 * First station of the configuration's journey (control/plan.h). A narrow YAML on purpose: one document of mappings,
 * lists and scalars. Anchors, aliases, tags, duplicate keys and keys that are no words are errors, so nothing in a
 * tree is larger than what the operator typed. Owner: the caller. Thread: any one at a time.
 */
#ifndef POSTERN_CONTROL_YAML_TREE_H
#define POSTERN_CONTROL_YAML_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "control/arena.h"
#include "control/status.h"

enum {
	YAML_FILE_SIZE_MAX_BYTES = 4 * 1024 * 1024, /* of a file, unless an operator allows more */
	/* Of all files together; holds the largest model, printed with all its defaults. */
	YAML_TOTAL_SIZE_MAX_BYTES = 48 * 1024 * 1024,
	YAML_DEPTH_MAX = 16,
	YAML_NODE_COUNT_MAX = 3000000,
	YAML_MAPPING_KEY_COUNT_MAX = 64,
	YAML_SCALAR_SIZE_MAX_BYTES = 1024,
	YAML_PATH_SIZE_BYTES = 256,
	YAML_SHOWN_SIZE_BYTES = 100,
};

enum yaml_kind { YAML_SCALAR, YAML_SEQUENCE, YAML_MAPPING };

struct yaml_node {
	enum yaml_kind kind;
	bool quoted;	       /* scalar: not a plain one */
	bool refused;	       /* already reported (an alias, the second of two equal keys): look no further into it */
	uint32_t line, column; /* from 1 */
	uint32_t index;	       /* in a parent that is a list */
	uint32_t child_count;
	const char *key; /* in a parent that is a mapping; else NULL */
	uint32_t key_line;
	const char *text; /* scalar; without NUL inside */
	struct yaml_node *parent, *first, *last, *next;
	const struct yaml_tree *tree; /* the file that it stands in */
};

struct yaml_tree {
	const char *file; /* as given, for messages; the owner of the tree may put an equal text in its place */
	bool from_api;	  /* a fragment that the API wrote */
	struct yaml_node *root;
	size_t node_count;
	struct arena arena;
};

/*
 * Reads a regular file of at most `size_max_bytes`; symbolic links are followed (Kubernetes mounts are made of
 * them), anything else that is not a regular file is refused without being read. `ret_bytes` is malloc'ed.
 */
enum status yaml_tree_read_file(
	const char *path, size_t size_max_bytes, char **ret_bytes, size_t *ret_size_bytes, struct problems *problems);

/* The same, with what the file was like when it was opened. */
enum status yaml_tree_read_file_about(const char *path, size_t size_max_bytes, char **ret_bytes, size_t *ret_size_bytes,
	struct stat *ret_about, struct problems *problems);

/*
 * STATUS_OK: a tree. Problems that leave a tree to look at (a duplicate key, an alias, a tag) are added to `problems`
 * all the same, so compare its count. STATUS_INVALID: none could be built.
 */
enum status yaml_tree_parse(
	const char *file, const char *bytes, size_t size_bytes, struct yaml_tree **ret_tree, struct problems *problems);

void yaml_tree_free(struct yaml_tree *tree);

/* An empty list at the end of `parent`, a mapping of this tree, as if the file had it. NULL: no memory. */
struct yaml_node *yaml_tree_append_list(struct yaml_tree *tree, struct yaml_node *parent, const char *key);

/* The child with that key, or NULL. */
const struct yaml_node *yaml_node_child(const struct yaml_node *mapping, const char *key);

/* "workspaces[0].vpcs[1].vni"; a path that is too long is cut. The root's is "". Returns `ret_path`. */
const char *yaml_node_path(const struct yaml_node *node, char ret_path[YAML_PATH_SIZE_BYTES]);

/* Text for a message: cut when long, everything but printable ASCII escaped. Returns `ret_shown`. */
const char *yaml_show_text(const char *text, char ret_shown[YAML_SHOWN_SIZE_BYTES]);

#endif
