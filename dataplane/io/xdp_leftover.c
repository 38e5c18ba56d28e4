/* SPDX-License-Identifier: Apache-2.0 */
#include "dataplane/io/xdp_leftover.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

enum { BOOT_ID_LENGTH = 36, LINE_SIZE_BYTES = 64, NOTES_SIZE_MAX_BYTES = 4096 };

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

static bool is_noted(const char *run_dir, uint32_t program_id)
{
	char path[PATH_MAX], wanted[LINE_SIZE_BYTES], line[LINE_SIZE_BYTES];
	bool found = false;
	FILE *notes;

	snprintf(path, sizeof(path), "%s/" XDP_NOTES_NAME, run_dir);
	if (!note_line(program_id, wanted))
		return false;
	notes = fopen(path, "re");
	while (notes != NULL && !found && fgets(line, sizeof(line), notes) != NULL)
		found = strcmp(line, wanted) == 0;
	if (notes != NULL)
		fclose(notes);
	return found;
}

bool xdp_leftover_note(const char *run_dir, uint32_t program_id, char ret_text[NAT_TEXT_SIZE_BYTES])
{
	char path[PATH_MAX], line[LINE_SIZE_BYTES];
	struct stat about;
	ssize_t written = -1;
	int fd;

	if (!note_line(program_id, line))
		return true;
	snprintf(path, sizeof(path), "%s/" XDP_NOTES_NAME, run_dir);
	fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0640);
	/* What is so long ago has been taken off, or forgotten with its interface. */
	if (fd >= 0 && (fstat(fd, &about) != 0 || about.st_size < NOTES_SIZE_MAX_BYTES || ftruncate(fd, 0) == 0))
		written = write(fd, line, strlen(line));
	if (fd >= 0)
		close(fd);
	if (written == (ssize_t)strlen(line))
		return true;
	snprintf(ret_text, NAT_TEXT_SIZE_BYTES, "%.100s can not be written: %s", path, strerror(errno));
	return false;
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
