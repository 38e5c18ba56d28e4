/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files that must be whole after a crash at any instant. Stateless; any thread. On failure errno says why.
 */
#ifndef POSTERN_CONTROL_FILE_H
#define POSTERN_CONTROL_FILE_H

#include <stdbool.h>
#include <stddef.h>

/* All of it, whatever write() takes at a time. */
bool file_write_all(int fd, const char *bytes, size_t length_bytes);

/*
 * The file has either its old content or the new one, and on success the new one is on disk. `name`: in the directory,
 * at most NAME_MAX - 5 bytes; mode 0600.
 */
bool file_replace(int directory_fd, const char *name, const char *bytes, size_t length_bytes);

#endif
