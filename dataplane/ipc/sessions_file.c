/* SPDX-License-Identifier: Apache-2.0 */
#include "dataplane/ipc/sessions_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

enum { SHARD_ALIGNMENT_BYTES = 4096, LARGE_PAGE_BYTES = 2 << 20 };

static size_t align_up(size_t size_bytes, size_t alignment_bytes)
{
	return (size_bytes + alignment_bytes - 1) / alignment_bytes * alignment_bytes;
}

static size_t identities_offset(unsigned copy)
{
	return align_up(sizeof(struct sessions_file), SHARD_ALIGNMENT_BYTES) +
	       copy * align_up(identities_size(), SHARD_ALIGNMENT_BYTES);
}

static size_t shards_offset(void)
{
	return identities_offset(2);
}

/* Of this boot; empty when the kernel does not tell, and then no file is taken over. */
static void boot_id_read(char ret_boot_id[40])
{
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	ssize_t length = fd >= 0 ? read(fd, ret_boot_id, 36) : -1;

	ret_boot_id[length == 36 ? 36 : 0] = '\0';
	if (fd >= 0)
		close(fd);
}

static size_t shard_size(uint64_t sessions_max)
{
	return align_up(sessions_max * sizeof(struct session), SHARD_ALIGNMENT_BYTES);
}

static void header_write(struct sessions_file_map *map, uint32_t shard_count, uint64_t sessions_max)
{
	struct sessions_file *file = map->file;

	file->version = SESSIONS_VERSION;
	file->size_bytes = map->size_bytes;
	file->shard_count = shard_count;
	file->record_size_bytes = sizeof(struct session);
	file->sessions_max = sessions_max;
	for (uint32_t i = 0; i < shard_count; i++)
		file->shard_offset_bytes[i] = shards_offset() + i * shard_size(sessions_max);
	for (unsigned copy = 0; copy < 2; copy++)
		file->identities_offset_bytes[copy] = identities_offset(copy);
	file->identities_size_bytes = identities_size();
	file->magic = SESSIONS_MAGIC;
}

bool sessions_file_sound(const struct sessions_file *file, uint32_t shard_count, uint64_t sessions_max,
	size_t size_bytes, const char **ret_why)
{
	struct sessions_file expected = {};
	struct sessions_file_map map = {.file = &expected, .size_bytes = size_bytes};

	*ret_why = NULL;
	header_write(&map, shard_count, sessions_max);
	if (file->magic != SESSIONS_MAGIC || file->version != SESSIONS_VERSION ||
		file->record_size_bytes != expected.record_size_bytes ||
		file->identities_size_bytes != expected.identities_size_bytes)
		*ret_why = "they are of another version";
	else if (file->shard_count != shard_count || file->sessions_max != sessions_max ||
		 file->size_bytes != size_bytes ||
		 memcmp(file->shard_offset_bytes, expected.shard_offset_bytes, sizeof(expected.shard_offset_bytes)) !=
			 0 ||
		 memcmp(file->identities_offset_bytes, expected.identities_offset_bytes,
			 sizeof(expected.identities_offset_bytes)) != 0)
		*ret_why = "they are for another number of shards or sessions";
	else if (file->identities_active > 1 ||
		 !identities_sound(
			 (const void *)((const char *)file + file->identities_offset_bytes[file->identities_active])))
		*ret_why = "they are damaged";
	if (*ret_why != NULL)
		return false;
	boot_id_read(expected.boot_id);
	if (expected.boot_id[0] == '\0' || memcmp(file->boot_id, expected.boot_id, sizeof(file->boot_id)) != 0)
		*ret_why = "they are of another boot";
	return *ret_why == NULL;
}

/* Size and memory of the file, reserved now: a full tmpfs must show here and not at the first session (as SIGBUS). */
static bool map_file(int fd, const char *path, size_t size_bytes, struct sessions_file_map *map, char *ret_text)
{
	struct statfs fs = {};
	void *memory = MAP_FAILED;
	int error;

	if (fstatfs(fd, &fs) != 0 || fs.f_bsize <= 0)
		fs.f_bsize = SHARD_ALIGNMENT_BYTES;
	map->in_memory = fs.f_type == TMPFS_MAGIC || fs.f_type == HUGETLBFS_MAGIC || fs.f_type == RAMFS_MAGIC;
	map->size_bytes = align_up(size_bytes, (size_t)fs.f_bsize);
	error = ftruncate(fd, (off_t)map->size_bytes) == 0 ? 0 : errno;
	if (error == 0)
		error = posix_fallocate(fd, 0, (off_t)map->size_bytes);
	if (error == 0) {
		memory = mmap(NULL, map->size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		error = memory == MAP_FAILED ? errno : 0;
	}
	if (error != 0) {
		snprintf(ret_text, NAT_TEXT_SIZE_BYTES,
			"no room for %zu bytes of sessions in %.80s (%s): make room there, or "
			"lower --sessions",
			map->size_bytes, path, strerror(error));
		return false;
	}
	if (map->size_bytes >= LARGE_PAGE_BYTES)
		(void)madvise(memory, map->size_bytes, MADV_HUGEPAGE); /* a wish */
	map->file = memory;
	return true;
}

bool sessions_file_reopen(const char *run_dir, uint32_t shard_count, uint64_t sessions_max,
	struct sessions_file_map *ret_map, char ret_text[NAT_TEXT_SIZE_BYTES])
{
	const char *why = "the file is cut short";
	struct sessions_file_map map = {.read_only_fd = -1};
	char path[PATH_MAX];
	struct statfs fs;
	struct stat status;
	int fd;

	snprintf(path, sizeof(path), "%s/" SESSIONS_FILE_NAME, run_dir);
	fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	ret_text[0] = '\0';
	if (fd < 0)
		return false;
	if (fstat(fd, &status) == 0 && S_ISREG(status.st_mode) && fstatfs(fd, &fs) == 0 && fs.f_bsize > 0 &&
		(size_t)status.st_size ==
			align_up(shards_offset() + shard_count * shard_size(sessions_max), (size_t)fs.f_bsize)) {
		map.in_memory = fs.f_type == TMPFS_MAGIC || fs.f_type == HUGETLBFS_MAGIC || fs.f_type == RAMFS_MAGIC;
		map.size_bytes = (size_t)status.st_size;
		map.file = mmap(NULL, map.size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		if (map.file == MAP_FAILED) {
			map.file = NULL;
			why = strerror(errno);
		} else if (sessions_file_sound(map.file, shard_count, sessions_max, map.size_bytes, &why)) {
			map.read_only_fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
		}
	} else {
		why = "they are for another number of shards or sessions";
	}
	close(fd);
	if (map.read_only_fd >= 0) {
		if (map.size_bytes >= LARGE_PAGE_BYTES)
			(void)madvise(map.file, map.size_bytes, MADV_HUGEPAGE); /* a wish */
		*ret_map = map;
		return true;
	}
	if (map.file != NULL)
		munmap(map.file, map.size_bytes);
	snprintf(ret_text, NAT_TEXT_SIZE_BYTES, "the sessions of an earlier process can not be kept: %s", why);
	return false;
}

bool sessions_file_create(const char *run_dir, uint32_t shard_count, uint64_t sessions_max,
	struct sessions_file_map *ret_map, char ret_text[NAT_TEXT_SIZE_BYTES])
{
	const size_t size_bytes = shards_offset() + shard_count * shard_size(sessions_max);
	struct sessions_file_map map = {.read_only_fd = -1};
	char path[PATH_MAX], new_path[PATH_MAX + 8];
	int fd;

	snprintf(path, sizeof(path), "%s/" SESSIONS_FILE_NAME, run_dir);
	snprintf(new_path, sizeof(new_path), "%s.new", path);
	(void)unlink(new_path); /* of one that was killed in between */
	fd = open(new_path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
	if (fd < 0) {
		snprintf(ret_text, NAT_TEXT_SIZE_BYTES, "can not write %.120s: %s", new_path, strerror(errno));
		return false;
	}
	if (map_file(fd, new_path, size_bytes, &map, ret_text)) {
		boot_id_read(map.file->boot_id);
		header_write(&map, shard_count, sessions_max);
		map.read_only_fd = open(new_path, O_RDONLY | O_CLOEXEC);
		if (map.read_only_fd >= 0 && rename(new_path, path) == 0) {
			close(fd);
			*ret_map = map;
			return true;
		}
		snprintf(ret_text, NAT_TEXT_SIZE_BYTES, "can not make %.120s: %s", path, strerror(errno));
		munmap(map.file, map.size_bytes);
		if (map.read_only_fd >= 0)
			close(map.read_only_fd);
	}
	(void)unlink(new_path);
	close(fd);
	return false;
}

void sessions_file_close(struct sessions_file_map *map)
{
	munmap(map->file, map->size_bytes);
	close(map->read_only_fd);
}
