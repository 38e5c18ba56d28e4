/* SPDX-License-Identifier: Apache-2.0 */
#include "control/classifier_cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <linux/magic.h>
#include <mntent.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "control/classifier.h"
#include "control/classifier_state.h"

enum { PROGRAM_COUNT_MAX = 64, ROOT_INODE = 1, LEVEL_MAX = 64, PROGRAM_MAP_COUNT_MAX = 64 };

static const struct {
	const char *name; /* of the program, at most 15 bytes */
	enum bpf_attach_type hook;
} programs[CLASSIFIER_CGROUP_PROGRAM_COUNT] = {
	[CLASSIFIER_CGROUP_EGRESS] = {"cgroup_egress", BPF_CGROUP_INET_EGRESS},
	[CLASSIFIER_CGROUP_INGRESS] = {"cgroup_ingress", BPF_CGROUP_INET_INGRESS},
	[CLASSIFIER_CGROUP_SOCKET] = {"cgroup_socket", BPF_CGROUP_INET_SOCK_CREATE},
};

static bool is_cgroup2(int fd)
{
	struct statfs fs;

	return fstatfs(fd, &fs) == 0 && (unsigned long)fs.f_type == CGROUP2_SUPER_MAGIC;
}

static int cgroup_open(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd >= 0 && !is_cgroup2(fd)) {
		close(fd);
		errno = EINVAL;
		return -1;
	}
	return fd;
}

/* The inode is the id. */
static uint64_t id_of(int fd)
{
	struct stat status;

	return fstat(fd, &status) == 0 ? status.st_ino : 0;
}

uint64_t classifier_cgroup_id(const char *path)
{
	int fd = cgroup_open(path);
	uint64_t id = 0;

	if (fd >= 0) {
		id = id_of(fd);
		close(fd);
	}
	return id;
}

/* Steps up to the root of all cgroups; 0: that is out of sight, or this is it. */
static uint32_t level_of(int fd)
{
	int at = dup(fd);
	uint32_t level = 0;

	while (at >= 0 && id_of(at) != ROOT_INODE && level < LEVEL_MAX) {
		int up = openat(at, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		close(at);
		if (up >= 0 && !is_cgroup2(up)) {
			close(up);
			return 0;
		}
		at = up;
		level++;
	}
	if (at < 0)
		return 0;
	close(at);
	return level < LEVEL_MAX ? level : 0;
}

/* ---- programs ---- */

static bool program_is(int fd, const char *name)
{
	struct bpf_prog_info info = {0};
	uint32_t info_size_bytes = sizeof(info);

	return bpf_obj_get_info_by_fd(fd, &info, &info_size_bytes) == 0 && strcmp(info.name, name) == 0;
}

static uint32_t program_id(int fd)
{
	struct bpf_prog_info info = {0};
	uint32_t info_size_bytes = sizeof(info);

	return bpf_obj_get_info_by_fd(fd, &info, &info_size_bytes) == 0 ? info.id : 0;
}

/* Ours on the hook, as a new fd; -1: there is none. */
static int attached_open(int cgroup_fd, enum classifier_cgroup_program kind, uint32_t *ret_id)
{
	uint32_t ids[PROGRAM_COUNT_MAX], count = PROGRAM_COUNT_MAX;

	if (bpf_prog_query(cgroup_fd, programs[kind].hook, 0, NULL, ids, &count) != 0)
		return -1;
	for (uint32_t i = 0; i < count; i++) {
		int fd = bpf_prog_get_fd_by_id(ids[i]);

		if (fd >= 0 && program_is(fd, programs[kind].name)) {
			*ret_id = ids[i];
			return fd;
		}
		if (fd >= 0)
			close(fd);
	}
	return -1;
}

static int attach(int cgroup_fd, enum classifier_cgroup_program kind, int program_fd)
{
	LIBBPF_OPTS(bpf_prog_attach_opts, opts, .flags = BPF_F_ALLOW_MULTI);
	uint32_t old_id = 0;
	int old_fd = attached_open(cgroup_fd, kind, &old_id), error = 0;

	if (old_fd >= 0) {
		opts.flags |= BPF_F_REPLACE;
		opts.replace_prog_fd = old_fd;
	}
	if (old_id == 0 || old_id != program_id(program_fd))
		error = bpf_prog_attach_opts(program_fd, cgroup_fd, programs[kind].hook, &opts) == 0 ? 0 : -errno;
	if (old_fd >= 0)
		close(old_fd);
	return error;
}

/* Of what this process sees: closing it would close the host, and posternd with it. */
static bool is_top(int fd)
{
	int up = openat(fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bool top = up < 0 || !is_cgroup2(up);

	if (up >= 0)
		close(up);
	return top;
}

static enum status cgroup_attach(const char *path, const int program_fds[CLASSIFIER_CGROUP_PROGRAM_COUNT],
	uint64_t *ret_id, uint32_t *ret_level, struct problems *problems)
{
	enum status status = STATUS_OK;
	uint32_t level;
	int fd, error = 0;

	(void)mkdir(path, 0755); /* whether it went well is seen next */
	fd = cgroup_open(path);
	if (fd < 0) {
		problems_add(problems,
			"%s: is no cgroup of version 2, and can not be made one (%s): name one in worker_host.cgroups",
			path, strerror(errno));
		return STATUS_SYSTEM;
	}
	level = level_of(fd);
	for (int kind = 0; kind < CLASSIFIER_CGROUP_PROGRAM_COUNT && error == 0 && !is_top(fd); kind++)
		error = attach(fd, kind, program_fds[kind]);
	if (error != 0) {
		problems_add(problems,
			"%s: the classifier cannot be attached: %s; run as root, with no program of "
			"others' there that excludes more (flags other than multi)",
			path, strerror(-error));
		status = STATUS_SYSTEM;
	} else if (level == 0) {
		problems_add(problems,
			"%s: must be below the root of the host's own cgroups: posternd can not work in a cgroup "
			"namespace, or on the root itself",
			path);
		status = STATUS_SYSTEM;
	} else {
		*ret_id = id_of(fd);
		*ret_level = level;
	}
	close(fd);
	return status;
}

/* Whether the program is that of the classifier which this map belongs to. */
static bool program_uses(int fd, uint32_t map_id)
{
	uint32_t map_ids[PROGRAM_MAP_COUNT_MAX];
	struct bpf_prog_info info = {.map_ids = (uintptr_t)map_ids, .nr_map_ids = PROGRAM_MAP_COUNT_MAX};
	uint32_t info_size_bytes = sizeof(info);

	if (bpf_obj_get_info_by_fd(fd, &info, &info_size_bytes) != 0)
		return false;
	for (uint32_t i = 0; i < info.nr_map_ids && i < PROGRAM_MAP_COUNT_MAX; i++)
		if (map_ids[i] == map_id)
			return true;
	return false;
}

/* Whether every cgroup was left by the programs that are this classifier's. */
static bool detach_from(const char *path, uint32_t map_id)
{
	int fd = cgroup_open(path);
	bool whole = true, ours = false;

	/* The one for sockets has no map, and goes with the others. */
	for (int kind = 0; fd >= 0 && kind < CLASSIFIER_CGROUP_PROGRAM_COUNT; kind++) {
		uint32_t id;
		int program_fd = attached_open(fd, kind, &id);

		if (program_fd < 0)
			continue;
		ours = ours || program_uses(program_fd, map_id);
		if (ours && bpf_prog_detach2(program_fd, fd, programs[kind].hook) != 0)
			whole = false;
		close(program_fd);
	}
	if (fd >= 0)
		close(fd);
	return whole;
}

static bool detach_below(char *mount_point, uint32_t map_id)
{
	char *const roots[] = {mount_point, NULL};
	FTS *walk = fts_open(roots, FTS_PHYSICAL | FTS_XDEV | FTS_NOCHDIR, NULL);
	bool whole = walk != NULL;
	const FTSENT *entry;

	while (walk != NULL && (entry = fts_read(walk)) != NULL)
		if (entry->fts_info == FTS_D && !detach_from(entry->fts_path, map_id))
			whole = false;
	if (walk != NULL)
		fts_close(walk);
	return whole;
}

enum status classifier_cgroup_detach_all(uint32_t map_id, struct problems *problems)
{
	FILE *mounts = setmntent("/proc/self/mounts", "r");
	enum status status = STATUS_OK;
	const struct mntent *mount;

	while (mounts && (mount = getmntent(mounts)) != NULL) {
		if (strcmp(mount->mnt_type, "cgroup2") != 0 || detach_below(mount->mnt_dir, map_id))
			continue;
		problems_add(problems, "%s: a cgroup's classifier cannot be taken off; run as root", mount->mnt_dir);
		status = STATUS_SYSTEM;
	}
	if (mounts)
		endmntent(mounts);
	return status;
}

/* ---- the uplink ---- */

static bool ask(int fd, unsigned long what, const char *interface, struct ifreq *ret_answer)
{
	memset(ret_answer, 0, sizeof(*ret_answer));
	snprintf(ret_answer->ifr_name, sizeof(ret_answer->ifr_name), "%s", interface);
	return ioctl(fd, what, ret_answer) == 0;
}

static bool uplink_read(const char *interface, struct worker_config *config)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq answer;
	bool whole = fd >= 0;

	config->uplink_ifindex = if_nametoindex(interface);
	whole = whole && config->uplink_ifindex != 0 && ask(fd, SIOCGIFADDR, interface, &answer);
	if (whole)
		memcpy(&config->uplink_address_be, &((struct sockaddr_in *)(void *)&answer.ifr_addr)->sin_addr,
			sizeof(config->uplink_address_be));
	whole = whole && ask(fd, SIOCGIFHWADDR, interface, &answer) && answer.ifr_hwaddr.sa_family == ARPHRD_ETHER;
	if (whole)
		memcpy(config->uplink_mac, answer.ifr_hwaddr.sa_data, sizeof(config->uplink_mac));
	if (fd >= 0)
		close(fd);
	return whole;
}

/* ---- both ---- */

/*
 * First the cgroups are closed, by whatever is in the maps, and only then the uplink's programs know of them. An older
 * program on the uplink is replaced at once: no worker is open yet that it would have served.
 */
void classifier_cgroup_claim(struct classifier *classifier, const struct classifier_cgroups *cgroups,
	struct worker_config *config, struct problems *problems)
{
	struct worker_config found = *config;
	uint32_t level = 0;
	uint64_t id = 0;

	classifier->cgroups_closed = false;
	if (!cgroups->path || cgroup_attach(cgroups->path, classifier->cgroup_fds, &id, &level, problems) != STATUS_OK)
		return;
	if (!uplink_read(cgroups->interface, &found)) {
		problems_add(problems,
			"%s: worker_host.cgroups.interface must be an interface of Ethernet that has an IPv4 address: "
			"the workers that are cgroups stay closed",
			cgroups->interface);
		return;
	}
	for (int kind = CLASSIFIER_UPLINK_INGRESS; kind <= CLASSIFIER_UPLINK_EGRESS; kind++) {
		int error = 0;

		if (classifier_tc_attached(classifier->netlink, found.uplink_ifindex, kind,
			    classifier->program_ids[kind]) != classifier->program_ids[kind])
			error = classifier_tc_attach(
				classifier->netlink, found.uplink_ifindex, kind, classifier->program_fds[kind]);
		if (error != 0) {
			classifier_tc_tell(
				cgroups->interface, error, ": the workers that are cgroups stay closed", problems);
			return;
		}
	}
	found.cgroup_id = id;
	found.cgroup_level = level;
	*config = found;
	classifier->cgroups_closed = true;
}

bool classifier_cgroups_are_closed(const struct classifier *classifier)
{
	return classifier->cgroups_closed;
}
