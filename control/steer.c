/* SPDX-License-Identifier: Apache-2.0 */
#include "control/steer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#define STEER_PROGRAM_NAME "postern_steer"
enum { STEER_VXLAN_PORT = 4789, PROGRAM_MAP_COUNT_MAX = 16 };

/* The maps of the program that is on an interface; fds of ours. */
enum steer_map { MAP_CONFIG, MAP_VTEPS, MAP_EGRESS_IPS, MAP_COUNTERS, MAP_COUNT };

static const struct {
	const char *name;
	uint32_t type, key_size_bytes, value_size_bytes;
} map_shapes[MAP_COUNT] = {
	[MAP_CONFIG] = {"steer_config", BPF_MAP_TYPE_ARRAY, sizeof(uint32_t), sizeof(struct steer_config)},
	[MAP_VTEPS] = {"trusted_vteps", BPF_MAP_TYPE_LPM_TRIE, sizeof(struct vtep_prefix_key), sizeof(uint8_t)},
	[MAP_EGRESS_IPS] = {"egress_ips", BPF_MAP_TYPE_HASH, sizeof(__be32), sizeof(uint8_t)},
	[MAP_COUNTERS] = {"steer_counters", BPF_MAP_TYPE_PERCPU_ARRAY, sizeof(uint32_t), sizeof(uint64_t)},
};

struct steer_maps {
	int fds[MAP_COUNT]; /* -1: not found */
};

/* The XDP program on the interface as an fd, if it is ours; -ENOENT: none or another's; else -errno. */
static int steer_program(const char *interface, struct bpf_prog_info *ret_info, uint32_t *map_ids)
{
	uint32_t ifindex = if_nametoindex(interface), id = 0, info_size_bytes = sizeof(*ret_info);
	struct bpf_prog_info info = {
		.map_ids = (uintptr_t)map_ids,
		.nr_map_ids = map_ids ? PROGRAM_MAP_COUNT_MAX : 0,
	};
	int fd, error;

	if (ifindex == 0)
		return -ENODEV;
	error = bpf_xdp_query_id((int)ifindex, 0, &id);
	if (error != 0)
		return error;
	if (id == 0)
		return -ENOENT;
	fd = bpf_prog_get_fd_by_id(id);
	if (fd < 0)
		return -errno;
	if (bpf_obj_get_info_by_fd(fd, &info, &info_size_bytes) != 0) {
		error = -errno;
		close(fd);
		return error;
	}
	if (strcmp(info.name, STEER_PROGRAM_NAME) != 0) {
		close(fd);
		return -ENOENT;
	}
	*ret_info = info;
	return fd;
}

static void maps_close(struct steer_maps *maps)
{
	for (int i = 0; i < MAP_COUNT; i++)
		if (maps->fds[i] >= 0)
			close(maps->fds[i]);
}

static void maps_note(struct steer_maps *maps, uint32_t map_id)
{
	struct bpf_map_info info = {0};
	uint32_t info_size_bytes = sizeof(info);
	int fd = bpf_map_get_fd_by_id(map_id);

	if (fd < 0)
		return;
	if (bpf_obj_get_info_by_fd(fd, &info, &info_size_bytes) == 0)
		for (int i = 0; i < MAP_COUNT; i++)
			if (strcmp(info.name, map_shapes[i].name) == 0 && maps->fds[i] < 0 &&
				info.type == map_shapes[i].type && info.key_size == map_shapes[i].key_size_bytes &&
				info.value_size == map_shapes[i].value_size_bytes) {
				maps->fds[i] = fd;
				return;
			}
	close(fd);
}

/* 0; -ENOENT: no program of ours; -EPROTO: ours, but of another version; else -errno. */
static int maps_open(const char *interface, struct steer_maps *ret_maps)
{
	struct steer_maps maps = {.fds = {-1, -1, -1, -1}};
	uint32_t map_ids[PROGRAM_MAP_COUNT_MAX];
	struct bpf_prog_info info;
	int fd = steer_program(interface, &info, map_ids);

	if (fd < 0)
		return fd;
	close(fd);
	for (uint32_t i = 0; i < info.nr_map_ids && i < PROGRAM_MAP_COUNT_MAX; i++)
		maps_note(&maps, map_ids[i]);
	for (int i = 0; i < MAP_COUNT; i++)
		if (maps.fds[i] < 0) {
			maps_close(&maps);
			return -EPROTO;
		}
	*ret_maps = maps;
	return 0;
}

static enum status open_status(const char *interface, int error, struct problems *problems)
{
	switch (error) {
	case 0:
		return STATUS_OK;
	case -ENOENT:
		return STATUS_UNREACHABLE;
	case -ENODEV:
		problems_add(problems, "%s: there is no such interface; create it or name another", interface);
		return STATUS_UNREACHABLE;
	case -EPROTO:
		problems_add(problems,
			"%s: its steering program is of another version of Postern; restart postern-dataplane",
			interface);
		return STATUS_SYSTEM;
	default:
		problems_add(problems, "%s: the steering program cannot be reached: %s; run posternd as root",
			interface, strerror(-error));
		return STATUS_SYSTEM;
	}
}

/* A set as a sorted array of keys, of either map: both kinds of key are plain bytes. */
struct key_set {
	const void *keys;
	size_t count, key_size_bytes;
};

static int compare_8(const void *left, const void *right)
{
	return memcmp(left, right, sizeof(struct vtep_prefix_key));
}

static int compare_4(const void *left, const void *right)
{
	return memcmp(left, right, sizeof(__be32));
}

static int (*comparison(size_t key_size_bytes))(const void *, const void *)
{
	return key_size_bytes == sizeof(__be32) ? compare_4 : compare_8;
}

/* One by one where the kernel takes no batch, and where a batch ends early: each key that fits is in then. */
static int keys_add(int map_fd, const struct key_set *keys, uint8_t *values)
{
	uint32_t count = (uint32_t)keys->count;
	int error = 0;

	memset(values, 1, keys->count);
	if (count > 1 && bpf_map_update_batch(map_fd, keys->keys, values, &count, NULL) == 0)
		return 0;
	for (size_t i = 0; i < keys->count; i++) {
		if (bpf_map_update_elem(map_fd, (const char *)keys->keys + i * keys->key_size_bytes, values, BPF_ANY) !=
			0)
			error = -errno;
	}
	return error;
}

static int keys_delete(int map_fd, const struct key_set *keys)
{
	int error = 0;

	for (size_t i = 0; i < keys->count; i++) {
		if (bpf_map_delete_elem(map_fd, (const char *)keys->keys + i * keys->key_size_bytes) != 0 &&
			errno != ENOENT)
			error = -errno;
	}
	return error;
}

/* What the map holds. `keys` and `values` have room for `max_count` and one. */
static size_t keys_read(int map_fd, size_t key_size_bytes, size_t max_count, char *keys, uint8_t *values)
{
	char key[sizeof(struct vtep_prefix_key)], token[sizeof(struct vtep_prefix_key)];
	uint32_t batch_count = (uint32_t)max_count + 1;
	const void *previous = NULL;
	size_t count = 0;

	/* All of a hash at once; the end is told as an error. */
	if (key_size_bytes == sizeof(__be32) &&
		(bpf_map_lookup_batch(map_fd, NULL, token, keys, values, &batch_count, NULL) == 0 || errno == ENOENT))
		return batch_count;
	for (; count < max_count && bpf_map_get_next_key(map_fd, previous, key) == 0; count++) {
		memcpy(keys + count * key_size_bytes, key, key_size_bytes);
		previous = keys + count * key_size_bytes;
	}
	return count;
}

/* The keys of sorted `a` that are not in sorted `b`. */
static void keys_without(const struct key_set *a, const struct key_set *b, char *ret_keys, size_t *ret_count)
{
	size_t size = a->key_size_bytes, count = 0, at = 0;

	for (size_t i = 0; i < a->count; i++) {
		const char *key = (const char *)a->keys + i * size;
		int order = 1;

		while (at < b->count && (order = memcmp((const char *)b->keys + at * size, key, size)) < 0)
			at++;
		if (at == b->count || order != 0)
			memcpy(ret_keys + count++ * size, key, size);
	}
	*ret_count = count;
}

/*
 * Makes the map hold what is wanted: only what differs is written, since a gateway has 20,000 of them and one changes.
 * Additions first, so that what stays is never away; those that a map too full for old and new together refuses are
 * added again after the deletions. `max_count` bounds the keys of the map.
 */
static int set_apply(int map_fd, const struct key_set *wanted, size_t max_count)
{
	size_t size = wanted->key_size_bytes;
	char *have_keys = malloc((max_count + 1) * size), *missing_keys = malloc((wanted->count + 1) * size),
	     *gone_keys = malloc((max_count + 1) * size);
	uint8_t *values = malloc(max_count + wanted->count + 1);
	struct key_set have = {have_keys, 0, size}, missing = {missing_keys, 0, size}, gone = {gone_keys, 0, size};
	int error = -ENOMEM, delete_error;

	if (have_keys && missing_keys && gone_keys && values) {
		have.count = keys_read(map_fd, size, max_count, have_keys, values);
		qsort(have_keys, have.count, size, comparison(size));
		keys_without(wanted, &have, missing_keys, &missing.count);
		keys_without(&have, wanted, gone_keys, &gone.count);
		error = keys_add(map_fd, &missing, values);
		delete_error = keys_delete(map_fd, &gone);
		if (error != 0 && gone.count != 0)
			error = keys_add(map_fd, &missing, values);
		if (error == 0)
			error = delete_error;
	}
	free(have_keys);
	free(missing_keys);
	free(gone_keys);
	free(values);
	return error;
}

static int config_set(int map_fd, const struct steer_config *config)
{
	struct steer_config have;
	uint32_t zero = 0;

	if (bpf_map_lookup_elem(map_fd, &zero, &have) == 0 && memcmp(&have, config, sizeof(have)) == 0)
		return 0;
	return bpf_map_update_elem(map_fd, &zero, config, BPF_ANY) == 0 ? 0 : -errno;
}

static struct vtep_prefix_key prefix_key_of(const struct model_cidr *cidr)
{
	uint32_t mask = cidr->prefix_length_bits == 0 ? 0 : UINT32_MAX << (32 - cidr->prefix_length_bits);

	return (struct vtep_prefix_key){
		.prefix_length_bits = cidr->prefix_length_bits,
		.address_be = htonl(cidr->address & mask),
	};
}

/* The role comes last when it opens the port, and first when it closes it. */
static int maps_fill(const struct steer_maps *maps, const struct steer_desired *desired,
	struct vtep_prefix_key *prefixes, __be32 *egress_ips_be)
{
	struct key_set vteps = {prefixes, desired->trusted_vtep_count, sizeof(*prefixes)};
	struct key_set egress_ips = {egress_ips_be, desired->egress_ip_count, sizeof(*egress_ips_be)};
	struct steer_config config = {
		.role = desired->role,
		.vtep_be = htonl(desired->vtep),
		.vxlan_port_be = htons(STEER_VXLAN_PORT),
	};
	int error = 0;

	if (vteps.count != 0)
		qsort(prefixes, vteps.count, sizeof(*prefixes), compare_8);
	if (egress_ips.count != 0)
		qsort(egress_ips_be, egress_ips.count, sizeof(*egress_ips_be), compare_4);

	if (config.role == STEER_ROLE_NONE)
		error = config_set(maps->fds[MAP_CONFIG], &config);
	if (error == 0)
		error = set_apply(maps->fds[MAP_VTEPS], &vteps, BPF_VTEP_PREFIX_COUNT_MAX);
	if (error == 0)
		error = set_apply(maps->fds[MAP_EGRESS_IPS], &egress_ips, BPF_EGRESS_IP_COUNT_MAX);
	if (error == 0)
		error = config_set(maps->fds[MAP_CONFIG], &config);
	return error;
}

static bool desired_is_valid(const char *interface, const struct steer_desired *desired, struct problems *problems)
{
	size_t before = problems->count + problems->dropped_count;

	if (desired->role > STEER_ROLE_OUTSIDE)
		problems_add(problems, "%s: steering role %u does not exist; must be 0..%d", interface, desired->role,
			STEER_ROLE_OUTSIDE);
	if (desired->trusted_vtep_count > BPF_VTEP_PREFIX_COUNT_MAX)
		problems_add(problems, "%s: %zu trusted VTEP prefixes; must be at most %d", interface,
			desired->trusted_vtep_count, BPF_VTEP_PREFIX_COUNT_MAX);
	if (desired->egress_ip_count > BPF_EGRESS_IP_COUNT_MAX)
		problems_add(problems, "%s: %zu egress IPs; must be at most %d", interface, desired->egress_ip_count,
			BPF_EGRESS_IP_COUNT_MAX);
	for (size_t i = 0; i < desired->trusted_vtep_count; i++)
		if (desired->trusted_vteps[i].prefix_length_bits > 32)
			problems_add(problems, "%s: trusted VTEP prefix of %u bits; must be at most 32", interface,
				desired->trusted_vteps[i].prefix_length_bits);
	return problems->count + problems->dropped_count == before;
}

enum status steer_apply(const char *interface, const struct steer_desired *desired, struct problems *problems)
{
	struct vtep_prefix_key *prefixes;
	struct steer_maps maps;
	__be32 *egress_ips_be;
	enum status status;
	int error;

	if (!desired_is_valid(interface, desired, problems))
		return STATUS_INVALID;
	status = open_status(interface, maps_open(interface, &maps), problems);
	if (status != STATUS_OK)
		return status;
	prefixes = calloc(desired->trusted_vtep_count + 1, sizeof(*prefixes));
	egress_ips_be = calloc(desired->egress_ip_count + 1, sizeof(*egress_ips_be));
	if (!prefixes || !egress_ips_be) {
		error = -ENOMEM;
	} else {
		for (size_t i = 0; i < desired->trusted_vtep_count; i++)
			prefixes[i] = prefix_key_of(&desired->trusted_vteps[i]);
		for (size_t i = 0; i < desired->egress_ip_count; i++)
			egress_ips_be[i] = htonl(desired->egress_ips[i]);
		error = maps_fill(&maps, desired, prefixes, egress_ips_be);
	}
	free(prefixes);
	free(egress_ips_be);
	maps_close(&maps);
	if (error == 0)
		return STATUS_OK;
	problems_add(problems, "%s: the steering maps cannot be filled: %s; run posternd as root with enough memory",
		interface, strerror(-error));
	return STATUS_SYSTEM;
}

enum status steer_read(const char *interface, uint64_t ret_counters[STEER_COUNTER_COUNT])
{
	int cpu_count = libbpf_num_possible_cpus(), error = 0;
	uint64_t counters[STEER_COUNTER_COUNT] = {0}, *values;
	struct steer_maps maps;

	if (cpu_count <= 0)
		return STATUS_SYSTEM;
	error = maps_open(interface, &maps);
	if (error != 0)
		return error == -ENOENT || error == -ENODEV ? STATUS_UNREACHABLE : STATUS_SYSTEM;
	values = calloc((size_t)cpu_count, sizeof(*values));
	if (!values)
		error = -ENOMEM;
	for (uint32_t i = 0; i < STEER_COUNTER_COUNT && error == 0; i++) {
		error = bpf_map_lookup_elem(maps.fds[MAP_COUNTERS], &i, values);
		for (int cpu = 0; cpu < cpu_count && error == 0; cpu++)
			counters[i] += values[cpu];
	}
	free(values);
	maps_close(&maps);
	if (error != 0)
		return error == -ENOMEM ? STATUS_NO_MEMORY : STATUS_SYSTEM;
	memcpy(ret_counters, counters, sizeof(counters));
	return STATUS_OK;
}

enum status steer_detach(const char *interface, struct problems *problems)
{
	struct bpf_prog_info info;
	int fd = steer_program(interface, &info, NULL), error;

	if (fd == -ENOENT || fd == -ENODEV)
		return STATUS_OK;
	error = fd;
	if (fd >= 0) {
		/* Only this very program: what has come in its place meanwhile stays. */
		LIBBPF_OPTS(bpf_xdp_attach_opts, opts, .old_prog_fd = fd);

		error = bpf_xdp_detach((int)if_nametoindex(interface), 0, &opts);
		close(fd);
	}
	if (error == 0)
		return STATUS_OK;
	problems_add(problems,
		"%s: the left-over steering program cannot be taken off: %s; run `ip link set %s xdp off`", interface,
		strerror(-error), interface);
	return STATUS_SYSTEM;
}
