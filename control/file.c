/* SPDX-License-Identifier: Apache-2.0 */
#include "control/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

bool file_write_all(int fd, const char *bytes, size_t length_bytes)
{
	while (length_bytes > 0) {
		ssize_t written = write(fd, bytes, length_bytes);

		if (written < 0 && errno == EINTR)
			continue;
		if (written <= 0)
			return false;
		bytes += written;
		length_bytes -= (size_t)written;
	}
	return true;
}

bool file_replace(int directory_fd, const char *name, const char *bytes, size_t length_bytes)
{
	char temporary_name[NAME_MAX + 1];
	bool written;
	int fd;

	snprintf(temporary_name, sizeof(temporary_name), ".%s.new", name);
	fd = openat(directory_fd, temporary_name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return false;
	written = file_write_all(fd, bytes, length_bytes) && fsync(fd) == 0;
	if (close(fd) != 0 || !written) {
		int error = errno;

		/* What a full disk holds of it is of no use to anybody. */
		unlinkat(directory_fd, temporary_name, 0);
		errno = error;
		return false;
	}
	return renameat(directory_fd, temporary_name, directory_fd, name) == 0 && fsync(directory_fd) == 0;
}
