/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cgroups (version 2) of one test program, all below one of its own. The machine has one hierarchy: it is seen in a mount
 * of this program's, and what was made in it must be removed. After lab_enter(). Failures end the test.
 */
#ifndef POSTERN_TESTS_BPF_CGROUP_TREE_H
#define POSTERN_TESTS_BPF_CGROUP_TREE_H

#include <stdint.h>

#define CGROUP_TREE_MOUNT "/run/cgroup"

struct cgroup_tree {
	char path[64]; /* of the one that is above the others */
};

void cgroup_tree_open(struct cgroup_tree *ret_tree);
/* This process must not be in a namespace of cgroups, but may be in one of them. */
void cgroup_tree_close(const struct cgroup_tree *tree);

/* `name` is below the tree's own: "a" or "a/b". Returns its id. */
uint64_t cgroup_tree_make(const struct cgroup_tree *tree, const char *name);
uint64_t cgroup_tree_id(const char *path);

/* This process, and with it the next packets and sockets. "": back out. */
void cgroup_tree_enter(const struct cgroup_tree *tree, const char *name);

#endif
