/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the kernel, the other process and files that were left behind say to posternd and to postern-dataplane: messages
 * of rtnetlink, messages of the socket between the two at either end, the tables that are kept as JSON, and the journal
 * of the registrations, as bytes and as records under right checksums. The first byte chooses.
 */
#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "control/dataplane_client.h"
#include "control/drain_file.h"
#include "control/journal.h"
#include "control/kernel_routes.h"
#include "control/registrations.h"
#include "control/rib_next_hops.h"
#include "control/rib_route.h"
#include "control/shared_pool_file.h"
#include "dataplane/ipc/server.h"
#include "tests/daemon/fd_message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes);

enum { INPUT_MAX_BYTES = 4096 };

static void require(bool condition)
{
	if (!condition)
		abort();
}

/* ---- the kernel ---- */

static bool take(void *context, const struct rib_route *route)
{
	unsigned *count = context;

	require(route->prefix_length_bits <= 32 && route->number == 7);
	require(route->kind == RIB_ROUTE_UNREACHABLE || route->port < PORT_COUNT);
	require((route->kind == RIB_ROUTE_GATEWAY) == (route->gateway != 0));
	return ++*count < 1000;
}

/* The length is put right, since the kernel's framing is libnl's to check; all else is as it comes. */
static void fuzz_netlink(const uint8_t *data, size_t size_bytes)
{
	struct rib_next_hop_object objects[] = {
		{.id = 1, .interface_index = 3, .gateway = 0xc0000201},
		{.id = 2, .member_count = 3},
	};
	struct rib_next_hop_member members[] = {{1, 1}, {2, 1}, {3, 1}};
	const struct rib_next_hops known = {.objects = objects, .count = 2, .members = members, .member_count = 3};
	const struct rib_view view = {.ports = {{.interface_index = 3}, {.interface_index = 4}}, .next_hops = &known};
	struct rib_next_hops next_hops = {0};
	const struct kernel_route_filter all = {0}, own = {.protocol = KERNEL_ROUTE_PROTOCOL, .table = 4242};
	struct kernel_route route;
	struct nlmsghdr *header;
	unsigned count = 0;

	if (size_bytes < sizeof(*header))
		return;
	header = malloc(size_bytes);
	memcpy(header, data, size_bytes);
	header->nlmsg_len = (uint32_t)size_bytes;
	rib_route_read(&view, header, 7, take, &count);
	require(rib_next_hops_take(&next_hops, header) && next_hops.count <= 1);
	for (size_t i = 0; i < next_hops.count; i++)
		require(rib_next_hops_find(&next_hops, next_hops.objects[i].id) == &next_hops.objects[i] &&
			next_hops.objects[i].member_first + next_hops.objects[i].member_count <=
				next_hops.member_count);
	rib_next_hops_clear(&next_hops);
	kernel_route_table(header);
	if (kernel_route_parse(header, &own, &route))
		require(route.protocol == KERNEL_ROUTE_PROTOCOL && route.table == 4242 &&
			kernel_route_parse(header, &all, &route));
	free(header);
}

/* ---- the other process ---- */

static int lowest_free_fd(void)
{
	int fd = dup(0);

	close(fd);
	return fd;
}

/* Whatever comes, no descriptor is left open, and what is taken is as the contract says. */
static void fuzz_rpc(uint8_t choice, const uint8_t *data, size_t size_bytes)
{
	struct rpc_message message = {.magic = RPC_MAGIC, .version = CONTRACT_VERSION}, got;
	const uint8_t *sent = data;
	int pair[2], fds[RPC_FD_COUNT_MAX], fd = -1, free_before = lowest_free_fd();
	const char *why;

	/* Half of the messages begin as they must. */
	if ((choice & 1) && size_bytes > 0) {
		const size_t begin = offsetof(struct rpc_message, type);

		memcpy((char *)&message + begin, data,
			size_bytes < sizeof(message) - begin ? size_bytes : sizeof(message) - begin);
		sent = (const uint8_t *)&message;
		size_bytes = sizeof(message);
	}
	require(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0);
	require(fd_message_send(pair[0], sent, size_bytes, pair[0], choice >> 2 & 3));
	if (choice & 2) {
		struct server server = {.lock_fd = -1, .listen_fd = -1, .client_fd = pair[1]};

		if (server_receive(&server, &got, &fd)) {
			require(got.type == RPC_POLICY || got.type == RPC_ADJACENCY);
			close(fd);
		}
		if (server.client_fd >= 0)
			close(server.client_fd);
	} else {
		if (rpc_receive(pair[1], &got, fds, &why) == RPC_RECEIVED) {
			require(memchr(got.text, 0, sizeof(got.text)) != NULL &&
				(got.type == RPC_HELLO) == (fds[0] >= 0));
			for (size_t i = 0; i < RPC_FD_COUNT_MAX; i++)
				if (fds[i] >= 0)
					close(fds[i]);
		}
		close(pair[1]);
	}
	close(pair[0]);
	require(lowest_free_fd() == free_before);
}

/* ---- what was left behind ---- */

static void fuzz_tables(const char *text, size_t length_bytes)
{
	struct shared_pool_table table = {0};
	struct drains drains = {0};
	char *again;

	if (shared_pool_decode(text, length_bytes, &table) == NULL) {
		require(shared_pool_is_valid(&table));
		again = shared_pool_encode(&table);
		shared_pool_clear(&table);
		require(again != NULL && shared_pool_decode(again, strlen(again), &table) == NULL);
		free(again);
	}
	shared_pool_clear(&table);
	if (drains_decode(text, length_bytes, &drains) == NULL) {
		again = drains_encode(&drains);
		drains_clear(&drains);
		require(again != NULL && drains_decode(again, strlen(again), &drains) == NULL);
		free(again);
	}
	drains_clear(&drains);
}

static bool nothing(void *context, const char *record)
{
	return true;
}

/* As records under right checksums, one a line: whoever wrote them was able to sum, and no more. */
static void write_records(const char *directory, char *text)
{
	struct problems problems = {0}, warnings = {0};
	struct journal *journal;
	bool discard;

	if (journal_open(directory, "registrations.journal", nothing, NULL, &journal, &discard, &problems, &warnings) !=
		STATUS_OK)
		abort();
	for (char *line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n"))
		if (strlen(line) <= JOURNAL_RECORD_MAX_BYTES)
			journal_add(journal, line);
	require(journal_commit(journal, &problems) == STATUS_OK);
	journal_close(journal);
	problems_clear(&problems);
	problems_clear(&warnings);
}

static void fuzz_journal(bool summed, char *text, size_t length_bytes)
{
	char directory[] = "/dev/shm/postern-fuzz-XXXXXX", path[128], bad[128];
	struct problems problems = {0}, warnings = {0};
	const struct model_registered_worker *workers;
	struct registrations *registrations;
	FILE *file;

	require(mkdtemp(directory) != NULL);
	snprintf(path, sizeof(path), "%s/registrations.journal", directory);
	snprintf(bad, sizeof(bad), "%s/registrations.journal.bad", directory);
	if (summed) {
		write_records(directory, text);
	} else {
		require((file = fopen(path, "we")) != NULL);
		fwrite(text, 1, length_bytes, file);
		fclose(file);
	}
	require(registrations_open(directory, &registrations, &problems, &warnings) == STATUS_OK);
	require(registrations_all(registrations, &workers) <= WORKER_COUNT_MAX);
	registrations_close(registrations);
	problems_clear(&problems);
	problems_clear(&warnings);
	unlink(path);
	unlink(bad);
	require(rmdir(directory) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
	char *text;

	if (size_bytes < 2 || size_bytes > INPUT_MAX_BYTES)
		return 0;
	text = malloc(size_bytes);
	memcpy(text, data + 1, size_bytes - 1);
	text[size_bytes - 1] = '\0';
	switch (data[0] % 8) {
	case 0:
	case 1:
	case 2:
		fuzz_netlink(data + 1, size_bytes - 1);
		break;
	case 3:
	case 4:
		fuzz_rpc(data[0] >> 3, data + 1, size_bytes - 1);
		break;
	case 5:
		fuzz_tables(text, size_bytes - 1);
		break;
	default:
		fuzz_journal(data[0] % 8 == 6, text, size_bytes - 1);
		break;
	}
	free(text);
	return 0;
}
