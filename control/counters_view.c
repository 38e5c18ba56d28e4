/* SPDX-License-Identifier: Apache-2.0 */
#include "control/counters_view.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum status counters_view_open(int fd, struct counters_view *ret_view, struct problems *problems)
{
	const struct counters *counters;
	size_t size_bytes, wanted_bytes;
	uint32_t shard_count;
	struct stat status;

	if (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode) || status.st_size < (off_t)sizeof(*counters)) {
		problems_add(problems, "the dataplane's counters are too short");
		close(fd);
		return STATUS_INVALID;
	}
	size_bytes = (size_t)status.st_size;
	counters = mmap(NULL, size_bytes, PROT_READ, MAP_SHARED, fd, 0);
	close(fd);
	if (counters == MAP_FAILED) {
		problems_add(problems, "the dataplane's counters can not be mapped: %s", strerror(errno));
		return STATUS_SYSTEM;
	}
	shard_count = *(const volatile uint32_t *)&counters->shard_count;
	wanted_bytes = sizeof(*counters) + (size_t)shard_count * sizeof(struct counters_shard);
	if (counters->magic != COUNTERS_MAGIC || counters->version != COUNTERS_VERSION || shard_count == 0 ||
		shard_count > SHARD_COUNT_MAX || wanted_bytes > size_bytes) {
		problems_add(problems, "the dataplane's counters are of another version or shape");
		munmap((void *)counters, size_bytes);
		return STATUS_INVALID;
	}
	ret_view->counters = counters;
	ret_view->size_bytes = size_bytes;
	ret_view->shard_count = shard_count;
	return STATUS_OK;
}

void counters_view_close(struct counters_view *view)
{
	if (view->counters != NULL)
		munmap((void *)view->counters, view->size_bytes);
	memset(view, 0, sizeof(*view));
}

void counters_view_total(const struct counters_view *view, struct counters_total *ret_total)
{
	memset(ret_total, 0, sizeof(*ret_total));
	if (view->counters != NULL)
		memcpy(ret_total->missed, view->counters->port_missed, sizeof(ret_total->missed));
	for (uint32_t i = 0; i < view->shard_count; i++) {
		const struct counters_shard *shard = &view->counters->shards[i];

#define COUNTERS_TOTAL_ADD(name, help) ret_total->name += shard->name;
		SHARD_COUNTERS(COUNTERS_TOTAL_ADD)
#undef COUNTERS_TOTAL_ADD
		for (unsigned port = 0; port < PORT_COUNT; port++) {
			ret_total->ports[port].rx_packets += shard->ports[port].rx_packets;
			ret_total->ports[port].rx_bytes += shard->ports[port].rx_bytes;
			ret_total->ports[port].tx_packets += shard->ports[port].tx_packets;
			ret_total->ports[port].tx_bytes += shard->ports[port].tx_bytes;
			for (unsigned reason = 0; reason < DROP_REASON_COUNT; reason++)
				ret_total->drops[port][reason] += shard->drops[port][reason];
		}
	}
}

bool counters_view_name(const struct counters_view *view, uint32_t slot, char ret_id[ID_SIZE_BYTES])
{
	char id[ID_SIZE_BYTES];

	if (view->counters == NULL || slot >= WORKSPACE_COUNT_MAX)
		return false;
	memcpy(id, view->counters->names[slot].id, sizeof(id));
	id[sizeof(id) - 1] = '\0';
	if (id[0] == '\0')
		return false;
	memcpy(ret_id, id, sizeof(id));
	return true;
}

void counters_view_workspace(const struct counters_view *view, uint32_t slot, struct counters_workspace *ret_workspace)
{
	memset(ret_workspace, 0, sizeof(*ret_workspace));
	if (slot >= WORKSPACE_COUNT_MAX)
		return;
	for (uint32_t i = 0; i < view->shard_count; i++) {
		const struct counters_workspace *from = &view->counters->shards[i].workspaces[slot];

#define COUNTERS_WORKSPACE_ADD(name, help) ret_workspace->name += from->name;
		WORKSPACE_COUNTERS(COUNTERS_WORKSPACE_ADD)
#undef COUNTERS_WORKSPACE_ADD
	}
}

void counters_view_driver(const struct counters_view *view, unsigned port, char ret_driver[INTERFACE_NAME_SIZE_BYTES])
{
	memset(ret_driver, 0, INTERFACE_NAME_SIZE_BYTES);
	if (view->counters != NULL && port < PORT_COUNT)
		memcpy(ret_driver, view->counters->port_device[port], INTERFACE_NAME_SIZE_BYTES - 1);
}
