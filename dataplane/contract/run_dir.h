/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whom a run directory must belong to. Its files and sockets are believed, so nobody but this process's user and root
 * may be able to put something there. Both processes ask before they open anything in it. Any thread.
 */
#ifndef POSTERN_CONTRACT_RUN_DIR_H
#define POSTERN_CONTRACT_RUN_DIR_H

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* False with one sentence in `ret_text`, when it is no directory, somebody else's, or others may write to it. */
static inline bool run_dir_check(const char *path, char *ret_text, size_t size_bytes)
{
	struct stat status;

	if (stat(path, &status) != 0)
		snprintf(ret_text, size_bytes, "the run directory %.100s can not be used: %s", path, strerror(errno));
	else if (!S_ISDIR(status.st_mode))
		snprintf(ret_text, size_bytes, "the run directory %.100s is no directory: remove it, or give another",
			path);
	else if (status.st_uid != 0 && status.st_uid != geteuid())
		snprintf(ret_text, size_bytes,
			"the run directory %.100s belongs to user %u: chown it to root, or give another", path,
			(unsigned)status.st_uid);
	else if ((status.st_mode & (S_IWGRP | S_IWOTH)) != 0)
		snprintf(ret_text, size_bytes,
			"others may write to the run directory %.100s: chmod go-w it, or give another", path);
	else
		return true;
	return false;
}

#endif
