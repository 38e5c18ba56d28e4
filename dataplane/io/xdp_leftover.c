/* SPDX-License-Identifier: Apache-2.0 */
#include "dataplane/io/xdp_leftover.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

enum { BOOT_ID_LENGTH = 36, LINE_SIZE_BYTES = 64, NOTES_SIZE_MIN_BYTES = 4096 };

uint32_t xdp_program_id(uint32_t if_index)
{
	uint32_t id = 0;

	return bpf_xdp_query_id((int)if_index, 0, &id) == 0 ? id : 0;
}

/* "BOOT-ID PROGRAM-ID\n". False: the kernel does not tell its boot, so that nothing can be said for the next process. */
static bool note_line(uint32_t program_id, char ret_line[LINE_SIZE_BYTES])
{
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	ssize_t length = fd >= 0 ? read(fd, ret_line, BOOT_ID_LENGTH) : -1;

	if (fd >= 0)
		close(fd);
	if (length != BOOT_ID_LENGTH)
		return false;
	snprintf(ret_line + BOOT_ID_LENGTH, LINE_SIZE_BYTES - BOOT_ID_LENGTH, " %u\n", program_id);
	return true;
}

/*
 * The notes: lines, and zeros behind them up to the end. Mapped, since a run directory on a hugetlbfs has no write().
 * NULL, with errno: they can not be opened.
 */
static char *notes_map(const char *path, size_t *ret_size_bytes)
{
	const int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);
	struct statfs about;
	char *notes = MAP_FAILED;
	int error;

	if (fd < 0)
		return NULL;
	if (fstatfs(fd, &about) == 0 && about.f_bsize >= NOTES_SIZE_MIN_BYTES && ftruncate(fd, about.f_bsize) == 0 &&
		(errno = posix_fallocate(fd, 0, about.f_bsize)) == 0) /* a full disk shows here, not as SIGBUS */
		notes = mmap(NULL, (size_t)about.f_bsize, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	error = errno;
	close(fd);
	errno = error;
	if (notes == MAP_FAILED)
		return NULL;
	*ret_size_bytes = (size_t)about.f_bsize;
	notes[*ret_size_bytes - 1] = '\0';
	return notes;
}

static bool is_noted(const char *run_dir, uint32_t program_id)
{
	char path[PATH_MAX], wanted[LINE_SIZE_BYTES];
	size_t size_bytes;
	char *notes;
	bool found;

	snprintf(path, sizeof(path), "%s/" XDP_NOTES_NAME, run_dir);
	if (!note_line(program_id, wanted))
		return false;
	notes = notes_map(path, &size_bytes);
	found = notes != NULL && strstr(notes, wanted) != NULL;
	if (notes != NULL)
		munmap(notes, size_bytes);
	return found;
}

bool xdp_leftover_note(const char *run_dir, uint32_t program_id, char ret_text[NAT_TEXT_SIZE_BYTES])
{
	char path[PATH_MAX], line[LINE_SIZE_BYTES];
	size_t size_bytes, used;
	char *notes;

	if (!note_line(program_id, line))
		return true;
	snprintf(path, sizeof(path), "%s/" XDP_NOTES_NAME, run_dir);
	notes = notes_map(path, &size_bytes);
	if (notes == NULL) {
		snprintf(ret_text, NAT_TEXT_SIZE_BYTES, "%.100s can not be written: %s", path, strerror(errno));
		return false;
	}
	used = strlen(notes);
	/* What is so long ago has been taken off, or forgotten with its interface. */
	if (used + strlen(line) >= NOTES_SIZE_MIN_BYTES) {
		memset(notes, 0, size_bytes);
		used = 0;
	}
	memcpy(notes + used, line, strlen(line));
	munmap(notes, size_bytes);
	return true;
}

bool xdp_leftover_remove(
	const char *run_dir, const char *interface, uint32_t if_index, char ret_text[NAT_TEXT_SIZE_BYTES])
{
	uint32_t id = xdp_program_id(if_index);
	int error;

	if (id == 0)
		return true;
	if (!is_noted(run_dir, id)) {
		snprintf(ret_text, NAT_TEXT_SIZE_BYTES,
			"interface %s has an XDP program (id %u) that this dataplane has not put there: take it off "
			"with "
			"`ip link set dev %s xdp off`",
			interface, id, interface);
		return false;
	}
	error = bpf_xdp_detach((int)if_index, 0, NULL);
	if (error == 0 || error == -ENOENT)
		return true;
	snprintf(ret_text, NAT_TEXT_SIZE_BYTES,
		"the XDP program of an earlier run stays on %s (%s): take it off with "
		"`ip link set dev %s xdp off`",
		interface, strerror(-error), interface);
	return false;
}
