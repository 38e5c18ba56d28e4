/* SPDX-License-Identifier: Apache-2.0 */
#include "control/classifier_pin.h"

#include <errno.h>
#include <limits.h>
#include <linux/magic.h>
#include <mntent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <bpf/bpf.h>

/* The source of a mount of ours in /proc/mounts: how we know it again. */
#define PIN_MOUNT_SOURCE "postern"

/* Every name that is or was pinned. */
static const char *const pin_names[] = {
	"workers",
	"claims",
	"deliveries",
	"gateways",
	"worker_config",
	"worker_drops",
	"workspace_counters",
	"workspace_drops",
	"workspaces",
	"rules",
	"sample_config",
	"sample_state",
	"drop_samples",
	"worker_ingress",
	"worker_egress",
	"reply_ingress",
	"uplink_ingress",
	"uplink_egress",
	"cgroup_egress",
	"cgroup_ingress",
	"cgroup_socket",
};

static bool pin_path(char ret_path[PATH_MAX], const char *dir, const char *name)
{
	int length = snprintf(ret_path, PATH_MAX, "%s/%s", dir, name);

	return length > 0 && length < PATH_MAX;
}

static bool directory_is_bpffs(const char *dir)
{
	struct statfs fs;

	return statfs(dir, &fs) == 0 && (unsigned long)fs.f_type == BPF_FS_MAGIC;
}

static int make_directories(const char *dir)
{
	char path[PATH_MAX];
	size_t length = strlen(dir);

	if (length == 0 || length >= sizeof(path))
		return ENAMETOOLONG;
	memcpy(path, dir, length + 1);
	for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (mkdir(path, 0755) != 0 && errno != EEXIST)
			return errno;
		*slash = '/';
	}
	if (mkdir(path, 0700) != 0 && errno != EEXIST)
		return errno;
	return 0;
}

enum status classifier_pin_prepare(const char *dir, struct problems *problems)
{
	int error = make_directories(dir);

	if (error != 0) {
		problems_add(problems, "%s: cannot be created for the classifier: %s; choose another run directory",
			dir, strerror(error));
		return STATUS_SYSTEM;
	}
	if (directory_is_bpffs(dir))
		return STATUS_OK;
	if (mount(PIN_MOUNT_SOURCE, dir, "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700") != 0) {
		problems_add(problems, "%s: no bpffs can be mounted there: %s; run posternd as root (CAP_SYS_ADMIN)",
			dir, strerror(errno));
		return STATUS_SYSTEM;
	}
	return STATUS_OK;
}

static bool map_matches(const struct bpf_map *map, int fd)
{
	struct bpf_map_info info = {0};
	uint32_t info_size_bytes = sizeof(info);

	return bpf_obj_get_info_by_fd(fd, &info, &info_size_bytes) == 0 && info.type == bpf_map__type(map) &&
	       info.key_size == bpf_map__key_size(map) && info.value_size == bpf_map__value_size(map) &&
	       info.max_entries == bpf_map__max_entries(map) && info.map_flags == bpf_map__map_flags(map);
}

/* The program's map of this name as a new fd; -1 if it has none. */
static int map_of_program(int program_fd, const char *name)
{
	uint32_t map_ids[64];
	struct bpf_prog_info info = {.map_ids = (uintptr_t)map_ids, .nr_map_ids = 64};
	uint32_t info_size_bytes = sizeof(info);

	if (bpf_obj_get_info_by_fd(program_fd, &info, &info_size_bytes) != 0)
		return -1;
	for (uint32_t i = 0; i < info.nr_map_ids && i < 64; i++) {
		struct bpf_map_info map_info = {0};
		uint32_t map_info_size_bytes = sizeof(map_info);
		int fd = bpf_map_get_fd_by_id(map_ids[i]);

		if (fd < 0)
			continue;
		/* The kernel keeps the first 15 bytes of a name. */
		if (bpf_obj_get_info_by_fd(fd, &map_info, &map_info_size_bytes) == 0 &&
			strncmp(map_info.name, name, sizeof(map_info.name) - 1) == 0)
			return fd;
		close(fd);
	}
	return -1;
}

/* Pinned, or a donor's; -1: nowhere. */
static int map_open(const char *dir, const char *name, const int *donor_fds, size_t donor_count)
{
	char path[PATH_MAX];
	int fd = pin_path(path, dir, name) ? bpf_obj_get(path) : -1;

	for (size_t i = 0; i < donor_count && fd < 0; i++)
		fd = map_of_program(donor_fds[i], name);
	return fd;
}

uint32_t classifier_pin_map_id(const char *dir, const char *name, const int *donor_fds, size_t donor_count)
{
	struct bpf_map_info info = {0};
	uint32_t info_size_bytes = sizeof(info);
	int fd = map_open(dir, name, donor_fds, donor_count);

	if (fd < 0)
		return 0;
	if (bpf_obj_get_info_by_fd(fd, &info, &info_size_bytes) != 0)
		info.id = 0;
	close(fd);
	return info.id;
}

void classifier_pin_adopt(const char *dir, struct bpf_object *object, const int *donor_fds, size_t donor_count)
{
	struct bpf_map *map;

	bpf_object__for_each_map(map, object)
	{
		int fd = map_open(dir, bpf_map__name(map), donor_fds, donor_count);

		if (fd < 0)
			continue;
		/* Without success the map stays as declared: new and empty, which drops everything. */
		if (map_matches(map, fd))
			(void)bpf_map__reuse_fd(map, fd);
		close(fd);
	}
}

static bool map_is_pinned(const char *path, int fd)
{
	struct bpf_map_info ours = {0}, pinned = {0};
	uint32_t ours_size_bytes = sizeof(ours), pinned_size_bytes = sizeof(pinned);
	int pinned_fd = bpf_obj_get(path);
	bool same;

	if (pinned_fd < 0)
		return false;
	same = bpf_obj_get_info_by_fd(fd, &ours, &ours_size_bytes) == 0 &&
	       bpf_obj_get_info_by_fd(pinned_fd, &pinned, &pinned_size_bytes) == 0 && ours.id == pinned.id;
	close(pinned_fd);
	return same;
}

static enum status pin_in_place(const char *dir, const char *name, int fd, struct problems *problems)
{
	char path[PATH_MAX];

	if (!pin_path(path, dir, name)) {
		problems_add(
			problems, "%s: the name is too long to pin the classifier; choose another run directory", dir);
		return STATUS_SYSTEM;
	}
	if ((unlink(path) != 0 && errno != ENOENT) || bpf_obj_pin(fd, path) != 0) {
		problems_add(problems, "%s: cannot be pinned: %s; run posternd as root", path, strerror(errno));
		return STATUS_SYSTEM;
	}
	return STATUS_OK;
}

enum status classifier_pin_all(const char *dir, struct bpf_object *object, struct problems *problems)
{
	enum status status = STATUS_OK;
	struct bpf_program *program;
	struct bpf_map *map;

	bpf_object__for_each_map(map, object)
	{
		char path[PATH_MAX];

		if (pin_path(path, dir, bpf_map__name(map)) && map_is_pinned(path, bpf_map__fd(map)))
			continue;
		if (pin_in_place(dir, bpf_map__name(map), bpf_map__fd(map), problems) != STATUS_OK)
			status = STATUS_SYSTEM;
	}
	bpf_object__for_each_program(program, object)
	{
		if (pin_in_place(dir, bpf_program__name(program), bpf_program__fd(program), problems) != STATUS_OK)
			status = STATUS_SYSTEM;
	}
	return status;
}

static bool mount_is_ours(const char *dir)
{
	char real[PATH_MAX];
	struct mntent *entry;
	bool ours = false;
	FILE *mounts;

	if (!realpath(dir, real))
		return false;
	mounts = setmntent("/proc/self/mounts", "re");
	if (!mounts)
		return false;
	/* The last mount on a directory is the one that is seen. */
	while ((entry = getmntent(mounts)))
		if (strcmp(entry->mnt_dir, real) == 0)
			ours = strcmp(entry->mnt_fsname, PIN_MOUNT_SOURCE) == 0 && strcmp(entry->mnt_type, "bpf") == 0;
	endmntent(mounts);
	return ours;
}

enum status classifier_pin_remove(const char *dir, struct problems *problems)
{
	enum status status = STATUS_OK;

	if (directory_is_bpffs(dir)) {
		for (size_t i = 0; i < sizeof(pin_names) / sizeof(pin_names[0]); i++) {
			char path[PATH_MAX];

			if (!pin_path(path, dir, pin_names[i]) || unlink(path) == 0 || errno == ENOENT)
				continue;
			problems_add(problems, "%s: cannot be removed: %s; run as root", path, strerror(errno));
			status = STATUS_SYSTEM;
		}
	}
	if (mount_is_ours(dir) && umount2(dir, UMOUNT_NOFOLLOW) != 0) {
		problems_add(problems, "%s: cannot be unmounted: %s; end what uses it", dir, strerror(errno));
		return STATUS_SYSTEM;
	}
	if (rmdir(dir) != 0 && errno != ENOENT && errno != ENOTEMPTY && errno != EBUSY) {
		problems_add(problems, "%s: cannot be removed: %s; remove it by hand", dir, strerror(errno));
		return STATUS_SYSTEM;
	}
	return status;
}
