/* SPDX-License-Identifier: Apache-2.0 */
#include "control/classifier_maps.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/membarrier.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <bpf/bpf.h>

static int compare_workers(const void *left, const void *right)
{
	const struct wanted_worker *a = left, *b = right;

	return a->ifindex < b->ifindex ? -1 : a->ifindex > b->ifindex;
}

static int compare_deliveries(const void *left, const void *right)
{
	const struct wanted_delivery *a = left, *b = right;

	if (a->key.vni != b->key.vni)
		return a->key.vni < b->key.vni ? -1 : 1;
	return a->key.address_be < b->key.address_be ? -1 : a->key.address_be > b->key.address_be;
}

void classifier_maps_index(struct classifier_wanted *wanted)
{
	size_t count = 0;

	if (wanted->worker_count == 0) {
		wanted->delivery_count = 0;
		return;
	}
	qsort(wanted->workers, wanted->worker_count, sizeof(*wanted->workers), compare_workers);
	for (size_t i = 0; i < wanted->worker_count; i++) {
		const struct wanted_worker *worker = &wanted->workers[i];

		if (!worker->open)
			continue;
		wanted->deliveries[count++] = (struct wanted_delivery){
			.key = {.vni = worker->value.vni, .address_be = worker->value.address_be},
			.value = {.ifindex = worker->ifindex, .workspace_index = worker->value.workspace_index},
		};
	}
	wanted->delivery_count = count;
	if (count != 0)
		qsort(wanted->deliveries, count, sizeof(*wanted->deliveries), compare_deliveries);
}

static struct wanted_worker *find_worker(const struct classifier_wanted *wanted, uint32_t ifindex)
{
	struct wanted_worker key = {.ifindex = ifindex};

	if (wanted->worker_count == 0)
		return NULL;
	return bsearch(&key, wanted->workers, wanted->worker_count, sizeof(key), compare_workers);
}

static const struct wanted_delivery *find_delivery(
	const struct classifier_wanted *wanted, const struct delivery_key *delivery)
{
	struct wanted_delivery key = {.key = *delivery};

	if (wanted->delivery_count == 0)
		return NULL;
	return bsearch(&key, wanted->deliveries, wanted->delivery_count, sizeof(key), compare_deliveries);
}

/* All but what the programs write, such as the learned MAC, and the epoch, which follows from the rest. */
static bool worker_is_as_wanted(const struct worker_value *have, const struct worker_value *want)
{
	return have->address_be == want->address_be && have->vtep_be == want->vtep_be && have->vni == want->vni &&
	       have->workspace_index == want->workspace_index && have->cgroup_id == want->cgroup_id &&
	       have->mac_pinned == want->mac_pinned &&
	       (!want->mac_pinned || memcmp(have->mac, want->mac, sizeof(have->mac)) == 0);
}

void classifier_maps_wait(void)
{
	const struct timespec longer_than_any_program = {.tv_nsec = 100 * 1000 * 1000};

	if (syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) != 0)
		nanosleep(&longer_than_any_program, NULL); /* refused on nohz_full kernels */
}

int classifier_maps_keys(int map_fd, size_t key_size_bytes, void **ret_keys, size_t *ret_count)
{
	size_t count = 0, capacity = 64;
	char *keys = malloc(capacity * key_size_bytes);
	const void *previous = NULL;

	if (!keys)
		return -ENOMEM;
	for (;;) {
		if (count == capacity) {
			char *more = realloc(keys, 2 * capacity * key_size_bytes);

			if (!more) {
				free(keys);
				return -ENOMEM;
			}
			keys = more;
			capacity *= 2;
		}
		previous = count ? keys + (count - 1) * key_size_bytes : NULL;
		if (bpf_map_get_next_key(map_fd, previous, keys + count * key_size_bytes) != 0) {
			int error = -errno;

			if (error == -ENOENT)
				break;
			free(keys);
			return error;
		}
		count++;
	}
	*ret_keys = keys;
	*ret_count = count;
	return 0;
}

/* Deletes the entry unless it is as wanted; `want` NULL: it is not. */
static int remove_delivery(
	int map_fd, const struct delivery_key *key, const struct wanted_delivery *want, size_t *removed_count)
{
	struct delivery_value have;

	if (want && bpf_map_lookup_elem(map_fd, key, &have) == 0 && have.ifindex == want->value.ifindex &&
		have.workspace_index == want->value.workspace_index)
		return 0;
	if (bpf_map_delete_elem(map_fd, key) != 0)
		return errno == ENOENT ? 0 : -errno;
	(*removed_count)++;
	return 0;
}

static int remove_deliveries(int map_fd, const struct classifier_wanted *wanted, size_t *removed_count)
{
	struct delivery_key *keys = NULL;
	size_t count = 0;
	int error = classifier_maps_keys(map_fd, sizeof(*keys), (void **)&keys, &count);

	if (error != 0)
		return error;
	for (size_t i = 0; i < count; i++) {
		int failed = remove_delivery(map_fd, &keys[i], find_delivery(wanted, &keys[i]), removed_count);

		if (failed != 0)
			error = failed;
	}
	free(keys);
	return error;
}

/* Likewise. What is kept of an entry that is replaced goes into `want`. */
static int remove_worker(int map_fd, uint32_t ifindex, struct wanted_worker *want, size_t *removed_count)
{
	struct worker_value have;

	if (want && bpf_map_lookup_elem(map_fd, &ifindex, &have) == 0) {
		bool same = have.vni == want->value.vni && have.address_be == want->value.address_be;

		if (want->open && worker_is_as_wanted(&have, &want->value))
			return 0;
		want->value.epoch = same ? have.epoch : have.epoch + 1;
		if (same && want->open && !want->value.mac_pinned && !have.mac_pinned)
			memcpy(want->value.mac, have.mac, sizeof(have.mac));
	}
	if (bpf_map_delete_elem(map_fd, &ifindex) != 0)
		return errno == ENOENT ? 0 : -errno;
	(*removed_count)++;
	return 0;
}

static int remove_workers(int map_fd, const struct classifier_wanted *wanted, size_t *removed_count)
{
	uint32_t *ifindexes = NULL;
	size_t count = 0;
	int error = classifier_maps_keys(map_fd, sizeof(*ifindexes), (void **)&ifindexes, &count);

	if (error != 0)
		return error;
	for (size_t i = 0; i < count; i++) {
		int failed = remove_worker(map_fd, ifindexes[i], find_worker(wanted, ifindexes[i]), removed_count);

		if (failed != 0)
			error = failed;
	}
	free(ifindexes);
	return error;
}

/*
 * Deletes the claim unless it is as wanted. It only says whose drops these are: nothing waits until no program can see
 * it any more.
 */
static int remove_claim(int map_fd, uint32_t ifindex, const struct wanted_worker *want)
{
	struct claim_value have;

	if (want && want->claimed && !want->open && bpf_map_lookup_elem(map_fd, &ifindex, &have) == 0 &&
		have.vni == want->value.vni && have.workspace_index == want->value.workspace_index)
		return 0;
	return bpf_map_delete_elem(map_fd, &ifindex) == 0 || errno == ENOENT ? 0 : -errno;
}

static int remove_claims(int map_fd, const struct classifier_wanted *wanted)
{
	uint32_t *ifindexes = NULL;
	size_t count = 0;
	int error = classifier_maps_keys(map_fd, sizeof(*ifindexes), (void **)&ifindexes, &count);

	if (error != 0)
		return error;
	for (size_t i = 0; i < count; i++) {
		int failed = remove_claim(map_fd, ifindexes[i], find_worker(wanted, ifindexes[i]));

		if (failed != 0)
			error = failed;
	}
	free(ifindexes);
	return error;
}

static int remove_gateways(int map_fd, const struct classifier_wanted *wanted)
{
	__be32 *keys = NULL;
	size_t count = 0;
	int error = classifier_maps_keys(map_fd, sizeof(*keys), (void **)&keys, &count);

	if (error != 0)
		return error;
	for (size_t i = 0; i < count; i++) {
		bool keep = false;

		for (size_t j = 0; j < wanted->gateway_count && !keep; j++)
			keep = wanted->gateways_be[j] == keys[i];
		if (!keep && bpf_map_delete_elem(map_fd, &keys[i]) != 0 && errno != ENOENT)
			error = -errno;
	}
	free(keys);
	return error;
}

static enum status removed(int error, struct problems *problems)
{
	if (error == 0)
		return STATUS_OK;
	problems_add(problems, "the classifier's maps cannot be cleaned: %s; run posternd as root with enough memory",
		strerror(-error));
	return STATUS_SYSTEM;
}

enum status classifier_maps_remove_gateways(
	const struct classifier_maps *maps, const struct classifier_wanted *wanted, struct problems *problems)
{
	return removed(remove_gateways(maps->gateways, wanted), problems);
}

enum status classifier_maps_remove(
	const struct classifier_maps *maps, struct classifier_wanted *wanted, struct problems *problems)
{
	size_t removed_count = 0;
	int deliveries = remove_deliveries(maps->deliveries, wanted, &removed_count);
	int workers = remove_workers(maps->workers, wanted, &removed_count);
	int claims = remove_claims(maps->claims, wanted);
	int gateways = remove_gateways(maps->gateways, wanted);
	int error = deliveries ? deliveries : workers ? workers : claims ? claims : gateways;

	if (removed_count != 0)
		classifier_maps_wait();
	return removed(error, problems);
}

enum status classifier_maps_remove_these(
	const struct classifier_maps *maps, struct classifier_wanted *wanted, struct problems *problems)
{
	size_t removed_count = 0;
	int error = 0;

	for (size_t i = 0; i < wanted->worker_count; i++) {
		struct wanted_worker *worker = &wanted->workers[i];
		const struct delivery_key key = {.vni = worker->value.vni, .address_be = worker->value.address_be};
		const struct wanted_delivery *delivery = find_delivery(wanted, &key);
		int failed = remove_delivery(maps->deliveries, &key, delivery, &removed_count);

		if (failed == 0)
			failed = remove_worker(maps->workers, worker->ifindex, worker, &removed_count);
		if (failed == 0)
			failed = remove_claim(maps->claims, worker->ifindex, worker);
		if (failed != 0)
			error = failed;
	}
	if (removed_count != 0)
		classifier_maps_wait();
	return removed(error, problems);
}

/*
 * A program may see some members as they were and some as they will be. So that of cgroups none sees a wrong mixture,
 * they are closed (level 0) while anything else about them changes.
 */
static int add_config(int map_fd, const struct worker_config *config)
{
	struct worker_config have, closed = *config;
	uint32_t zero = 0;

	if (bpf_map_lookup_elem(map_fd, &zero, &have) != 0)
		return -errno;
	if (memcmp(&have, config, sizeof(have)) == 0)
		return 0;
	closed.cgroup_level = have.cgroup_level = 0;
	if (config->cgroup_level != 0 && memcmp(&have, &closed, sizeof(have)) != 0) {
		if (bpf_map_update_elem(map_fd, &zero, &have, BPF_ANY) != 0)
			return -errno;
		classifier_maps_wait();
		if (bpf_map_update_elem(map_fd, &zero, &closed, BPF_ANY) != 0)
			return -errno;
		classifier_maps_wait();
	}
	return bpf_map_update_elem(map_fd, &zero, config, BPF_ANY) == 0 ? 0 : -errno;
}

/* BPF_NOEXIST leaves alone what is there: whatever differed has just been removed. */
static int add_entry(int map_fd, const void *key, const void *value)
{
	if (bpf_map_update_elem(map_fd, key, value, BPF_NOEXIST) == 0 || errno == EEXIST)
		return 0;
	return -errno;
}

static int add_workers(const struct classifier_maps *maps, const struct classifier_wanted *wanted)
{
	int error = 0;

	for (size_t i = 0; i < wanted->worker_count && error == 0; i++) {
		const struct wanted_worker *worker = &wanted->workers[i];
		const struct claim_value claim = {
			.workspace_index = worker->value.workspace_index,
			.vni = worker->value.vni,
		};

		if (worker->open)
			error = add_entry(maps->workers, &worker->ifindex, &worker->value);
		else if (worker->claimed)
			error = add_entry(maps->claims, &worker->ifindex, &claim);
	}
	for (size_t i = 0; i < wanted->delivery_count && error == 0; i++) {
		const struct wanted_delivery *delivery = &wanted->deliveries[i];

		error = add_entry(maps->deliveries, &delivery->key, &delivery->value);
	}
	return error;
}

static enum status add_failed(int error, struct problems *problems)
{
	problems_add(problems, "the classifier's maps cannot be filled: %s; at most %d workers and %d gateways fit",
		strerror(-error), BPF_WORKER_COUNT_MAX, BPF_GATEWAY_COUNT_MAX);
	return STATUS_SYSTEM;
}

enum status classifier_maps_add(
	const struct classifier_maps *maps, const struct classifier_wanted *wanted, struct problems *problems)
{
	const __u8 present = 1;
	int error = add_config(maps->config, &wanted->config);

	for (size_t i = 0; i < wanted->gateway_count && error == 0; i++)
		error = add_entry(maps->gateways, &wanted->gateways_be[i], &present);
	if (error == 0)
		error = add_workers(maps, wanted);
	return error == 0 ? STATUS_OK : add_failed(error, problems);
}

enum status classifier_maps_add_these(
	const struct classifier_maps *maps, const struct classifier_wanted *wanted, struct problems *problems)
{
	int error = add_workers(maps, wanted);

	return error == 0 ? STATUS_OK : add_failed(error, problems);
}
