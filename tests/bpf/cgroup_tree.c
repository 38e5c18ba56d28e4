/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bpf/cgroup_tree.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/bpf/lab.h"

void cgroup_tree_open(struct cgroup_tree *ret_tree)
{
	assert_int_equal(mkdir(CGROUP_TREE_MOUNT, 0755), 0);
	assert_int_equal(mount("none", CGROUP_TREE_MOUNT, "cgroup2", 0, NULL), 0);
	snprintf(ret_tree->path, sizeof(ret_tree->path), CGROUP_TREE_MOUNT "/postern-test-%d", getpid());
	if (access(ret_tree->path, F_OK) == 0)
		cgroup_tree_close(ret_tree); /* of a test that failed */
	assert_int_equal(mkdir(ret_tree->path, 0755), 0);
}

void cgroup_tree_close(const struct cgroup_tree *tree)
{
	cgroup_tree_enter(tree, "");
	lab_run("find %s -depth -type d -exec rmdir {} \\;", tree->path);
}

uint64_t cgroup_tree_id(const char *path)
{
	struct stat status;

	assert_int_equal(stat(path, &status), 0);
	return status.st_ino;
}

uint64_t cgroup_tree_make(const struct cgroup_tree *tree, const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", tree->path, name);
	assert_int_equal(mkdir(path, 0755), 0);
	return cgroup_tree_id(path);
}

void cgroup_tree_enter(const struct cgroup_tree *tree, const char *name)
{
	char path[128];
	FILE *processes;

	snprintf(path, sizeof(path), "%s/%s/cgroup.procs", name[0] != '\0' ? tree->path : CGROUP_TREE_MOUNT, name);
	processes = fopen(path, "w");
	assert_non_null(processes);
	assert_true(fprintf(processes, "%d", getpid()) > 0);
	assert_int_equal(fclose(processes), 0);
}
