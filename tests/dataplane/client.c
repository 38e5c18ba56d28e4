/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Speaks contract/rpc.h in posternd's place, for the tests: reads one command a line, answers with one line of JSON.
 *
 *   connect                                     → the HELLO
 *   policy GENERATION INSIDE OUTSIDE DEVICE DEVICE FLAW   ("-" for none) → the ACK
 *   adjacency GENERATION INSIDE_MAC INSIDE_PEER_MAC OUTSIDE_MAC OUTSIDE_PEER_MAC [MTU] → the ACK
 *                                               (a peer's "-": its MAC is not known; MTU: outside, 1500)
 *   garbage KIND                                → what comes back, {"closed": true} as a rule
 *   receive                                     → the next message, or {"closed": true}
 *   counters, sessions, writable                → what the shared memory says
 *
 * The policy is always the same: acme (VNI 7001, egress 203.0.113.10) and globex (VNI 7002, 203.0.113.20), both with
 * 10.0.0.0/24, from VTEPs in 10.100.0.0/24. A process of a test, so that it may exit at any error.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "dataplane/contract/adjacency.h"
#include "dataplane/contract/counters.h"
#include "dataplane/contract/policy.h"
#include "dataplane/contract/rpc.h"
#include "dataplane/contract/sessions.h"

enum { ANSWER_TIMEOUT_MS = 20000, ARGUMENT_COUNT = 8, ARGUMENT_SIZE = 256 };

struct client {
	const char *run_dir;
	int fd;
	int counters_fd, sessions_fd;
	const struct counters *counters;
	const struct sessions_file *sessions;
};

__attribute__((noreturn, format(printf, 1, 2))) static void fail(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fputc('\n', stderr);
	exit(1);
}

static void *map_read_only(int fd)
{
	struct stat stat;
	void *memory;

	if (fstat(fd, &stat) != 0)
		fail("fstat: %s", strerror(errno));
	memory = mmap(NULL, (size_t)stat.st_size, PROT_READ, MAP_SHARED, fd, 0);
	if (memory == MAP_FAILED)
		fail("mmap: %s", strerror(errno));
	return memory;
}

/* ---- messages ---- */

static void message_send(struct client *client, const void *data, size_t size_bytes, const int fds[], size_t fd_count)
{
	struct iovec iov = {.iov_base = (void *)(uintptr_t)data, .iov_len = size_bytes};
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(16 * sizeof(int))];
	} control = {};
	struct msghdr header = {.msg_iov = &iov, .msg_iovlen = 1};

	if (fd_count > 0) {
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(fd_count * sizeof(int));
		memcpy(CMSG_DATA(&control.header), fds, fd_count * sizeof(int));
		header.msg_control = &control;
		header.msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
	}
	/* A closed connection shows in what is received. */
	(void)sendmsg(client->fd, &header, MSG_NOSIGNAL);
}

/* Prints the next message; takes the descriptors of a HELLO. */
static void message_print(struct client *client)
{
	struct rpc_message message = {};
	struct iovec iov = {.iov_base = &message, .iov_len = sizeof(message)};
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(2 * sizeof(int))];
	} control = {};
	struct msghdr header = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
	struct pollfd poll_fd = {.fd = client->fd, .events = POLLIN};
	const struct cmsghdr *rights;

	if (poll(&poll_fd, 1, ANSWER_TIMEOUT_MS) != 1) {
		puts("{\"timeout\": true}");
		return;
	}
	if (recvmsg(client->fd, &header, MSG_CMSG_CLOEXEC) != (ssize_t)sizeof(message)) {
		puts("{\"closed\": true}");
		return;
	}
	rights = CMSG_FIRSTHDR(&header);
	if (rights != NULL && rights->cmsg_len == CMSG_LEN(2 * sizeof(int))) {
		int fds[2];

		memcpy(fds, CMSG_DATA(rights), sizeof(fds));
		client->counters_fd = fds[0];
		client->sessions_fd = fds[1];
		client->counters = map_read_only(fds[0]);
		client->sessions = map_read_only(fds[1]);
	}
	printf("{\"type\": %u, \"version\": %u, \"status\": %u, \"generation\": %llu, \"adjacency_generation\": %llu, "
	       "\"acked_type\": %u, \"shard_count\": %u, \"process_id\": %u, \"address\": %u, \"port\": %u, "
	       "\"text\": \"%.*s\", \"fds\": %d}\n",
		message.type, message.version, message.status, (unsigned long long)message.generation,
		(unsigned long long)message.adjacency_generation, message.acked_type, message.shard_count,
		message.process_id, message.address, message.port, (int)strnlen(message.text, sizeof(message.text)),
		message.text, rights != NULL ? 2 : 0);
}

static void connect_to(struct client *client)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	if (client->fd >= 0)
		close(client->fd);
	client->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	snprintf(address.sun_path, sizeof(address.sun_path), "%.80s/" RPC_SOCKET_NAME, client->run_dir);
	if (connect(client->fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
		puts("{\"closed\": true}");
		return;
	}
	message_print(client);
}

/* ---- snapshots ---- */

static int sealed_memfd(const void *block, size_t size_bytes, int seals)
{
	int fd = memfd_create("snapshot", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0 || write(fd, block, size_bytes) != (ssize_t)size_bytes || fcntl(fd, F_ADD_SEALS, seals) != 0)
		fail("memfd: %s", strerror(errno));
	return fd;
}

static void snapshot_send(struct client *client, enum rpc_type type, uint64_t generation, int fd)
{
	struct rpc_message message = {
		.magic = RPC_MAGIC,
		.version = CONTRACT_VERSION,
		.type = type,
		.generation = generation,
	};

	message_send(client, &message, sizeof(message), &fd, 1);
	close(fd);
	message_print(client);
}

struct policy_block {
	struct policy_snapshot head;
	struct policy_workspace workspaces[2];
	struct policy_vpc vpcs[2];
	struct policy_cidr cidrs[2];
	struct policy_egress_ip egress_ips[2];
	struct policy_vtep_prefix vtep_prefixes[1];
};

#define TABLE(block, member)                                                                                           \
	((struct policy_table){                                                                                        \
		.offset_bytes = offsetof(struct policy_block, member),                                                 \
		.count = sizeof((block)->member) / sizeof((block)->member[0]),                                         \
		.record_size_bytes = sizeof((block)->member[0]),                                                       \
	})

static void policy_fill(struct policy_block *block)
{
	static const char *const ids[2] = {"acme", "globex"};
	const struct policy_table none = {.offset_bytes = sizeof(*block)};
	struct policy_snapshot *head = &block->head;

	head->magic = POLICY_MAGIC;
	head->version = POLICY_VERSION;
	head->size_bytes = sizeof(*block);
	head->vtep_address = 0x0A640001; /* 10.100.0.1 */
	head->vxlan_udp_port = 4789;
	head->tables[POLICY_WORKSPACES] = TABLE(block, workspaces);
	head->tables[POLICY_VPCS] = TABLE(block, vpcs);
	head->tables[POLICY_CIDRS] = TABLE(block, cidrs);
	head->tables[POLICY_EGRESS_IPS] = TABLE(block, egress_ips);
	head->tables[POLICY_WORKERS] = none;
	head->tables[POLICY_WORKERS].record_size_bytes = sizeof(struct policy_worker);
	head->tables[POLICY_RULES] = none;
	head->tables[POLICY_RULES].record_size_bytes = sizeof(struct policy_rule);
	head->tables[POLICY_VTEP_PREFIXES] = TABLE(block, vtep_prefixes);
	for (uint32_t i = 0; i < 2; i++) {
		struct policy_workspace *workspace = &block->workspaces[i];

		memcpy(workspace->id, ids[i], strlen(ids[i]));
		workspace->egress_first = i;
		workspace->egress_count = 1;
		workspace->timers = (struct policy_timers){7440, 240, 30, 300, 30, 60};
		memcpy(block->vpcs[i].id, "main", 4);
		block->vpcs[i].workspace_index = i;
		block->vpcs[i].vni = 7001 + i;
		block->vpcs[i].cidr_first = i;
		block->vpcs[i].cidr_count = 1;
		block->cidrs[i] = (struct policy_cidr){.address = 0x0A000000, .prefix_length_bits = 24};
		block->egress_ips[i] = (struct policy_egress_ip){.address = 0xCB00710A + i * 10, .workspace_index = i};
	}
	block->vtep_prefixes[0] = (struct policy_vtep_prefix){.address = 0x0A640000, .prefix_length_bits = 24};
}

static void policy_send(struct client *client, char arguments[][ARGUMENT_SIZE])
{
	const char *flaw = arguments[6];
	int seals = F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
	uint64_t generation = strtoull(arguments[1], NULL, 10);
	struct policy_block block = {};
	size_t size_bytes = sizeof(block);

	policy_fill(&block);
	block.head.generation = generation;
	for (unsigned i = 0; i < PORT_COUNT; i++) {
		struct policy_port *port = &block.head.ports[i];

		if (strcmp(arguments[2 + i], "-") != 0)
			memcpy(port->interface, arguments[2 + i],
				strnlen(arguments[2 + i], sizeof(port->interface) - 1));
		if (strcmp(arguments[4 + i], "-") != 0)
			memcpy(port->device, arguments[4 + i], strnlen(arguments[4 + i], sizeof(port->device) - 1));
		port->queue_count = 1;
	}
	if (strcmp(flaw, "unsealed") == 0)
		seals = F_SEAL_GROW;
	else if (strcmp(flaw, "magic") == 0)
		block.head.magic = 1;
	else if (strcmp(flaw, "truncated") == 0)
		size_bytes -= 8;
	else if (strcmp(flaw, "generation") == 0)
		block.head.generation++;
	else if (strcmp(flaw, "vni") == 0)
		block.vpcs[1].vni = block.vpcs[0].vni;
	else if (strcmp(flaw, "offset") == 0)
		block.head.tables[POLICY_CIDRS].offset_bytes = UINT64_MAX - 7;
	else if (strcmp(flaw, "-") != 0)
		fail("no such flaw: %s", flaw);
	snapshot_send(client, RPC_POLICY, generation, sealed_memfd(&block, size_bytes, seals));
}

static void mac_parse(const char *text, uint8_t ret_mac[6])
{
	if (sscanf(text, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", &ret_mac[0], &ret_mac[1], &ret_mac[2], &ret_mac[3],
		    &ret_mac[4], &ret_mac[5]) != 6)
		fail("no MAC: %s", text);
}

static void adjacency_send(struct client *client, char arguments[][ARGUMENT_SIZE])
{
	struct {
		struct adjacency_snapshot head;
		struct adjacency_next_hop next_hops[PORT_COUNT];
		struct adjacency_route routes[PORT_COUNT];
	} block = {};
	uint64_t generation = strtoull(arguments[1], NULL, 10);

	const unsigned long mtu = strtoul(arguments[6], NULL, 10);

	block.head.magic = ADJACENCY_MAGIC;
	block.head.version = ADJACENCY_VERSION;
	block.head.size_bytes = sizeof(block);
	block.head.generation = generation;
	block.head.next_hops = (struct policy_table){
		(uint64_t)((char *)block.next_hops - (char *)&block), PORT_COUNT, sizeof(block.next_hops[0])};
	block.head.routes = (struct policy_table){
		(uint64_t)((char *)block.routes - (char *)&block), PORT_COUNT, sizeof(block.routes[0])};
	block.head.groups = (struct policy_table){0, 0, sizeof(struct adjacency_group)};
	for (uint8_t i = 0; i < PORT_COUNT; i++) {
		mac_parse(arguments[2 + 2 * i], block.head.ports[i].mac);
		block.next_hops[i].resolved = strcmp(arguments[3 + 2 * i], "-") != 0;
		if (block.next_hops[i].resolved)
			mac_parse(arguments[3 + 2 * i], block.next_hops[i].mac);
		block.head.ports[i].up = 1;
		block.head.ports[i].address = i == PORT_INSIDE ? 0x0A640001 : 0xC6336402; /* 198.51.100.2 */
		block.head.ports[i].mtu_bytes = (uint32_t)((mtu != 0 ? mtu : 1500) + 50 * (i == PORT_INSIDE));
		block.next_hops[i].port = i;
		block.next_hops[i].address = i == PORT_INSIDE ? 0x0A640002 : 0xC6336401;
		block.routes[i].port = i;
		block.routes[i].next_hop_index = i; /* 0.0.0.0/0 */
	}
	snapshot_send(client, RPC_ADJACENCY, generation,
		sealed_memfd(&block, sizeof(block), F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL));
}

/* ---- what is no message of the contract ---- */

static void garbage_send(struct client *client, const char *kind)
{
	struct rpc_message message = {
		.magic = RPC_MAGIC, .version = CONTRACT_VERSION, .type = RPC_POLICY, .generation = 1};
	char large[4096] = {};
	int fds[16], pipe_fds[2];
	size_t size_bytes = sizeof(message), fd_count = 1;
	const void *data = &message;

	if (pipe(pipe_fds) != 0)
		fail("pipe: %s", strerror(errno));
	for (size_t i = 0; i < 16; i++)
		fds[i] = pipe_fds[0];
	if (strcmp(kind, "short") == 0)
		size_bytes = 17;
	else if (strcmp(kind, "empty") == 0)
		size_bytes = fd_count = 0;
	else if (strcmp(kind, "long") == 0)
		data = memcpy(large, &message, sizeof(message)), size_bytes = sizeof(large);
	else if (strcmp(kind, "magic") == 0)
		message.magic++;
	else if (strcmp(kind, "version") == 0)
		message.version++;
	else if (strcmp(kind, "type") == 0)
		message.type = 99;
	else if (strcmp(kind, "hello") == 0)
		message.type = RPC_HELLO;
	else if (strcmp(kind, "no_fd") == 0)
		fd_count = 0;
	else if (strcmp(kind, "two_fds") == 0)
		fd_count = 2;
	else if (strcmp(kind, "many_fds") == 0)
		fd_count = 16;
	else if (strcmp(kind, "pipe") != 0)
		fail("no such garbage: %s", kind);
	message_send(client, data, size_bytes, fds, fd_count);
	close(pipe_fds[0]);
	close(pipe_fds[1]);
	message_print(client);
}

/* ---- shared memory ---- */

static void counters_print(const struct counters *counters)
{
	printf("{\"magic\": %u, \"version\": %u, \"size_bytes\": %llu, \"shard_count\": %u, \"process_id\": %u, "
	       "\"policy_generation\": %llu, \"adjacency_generation\": %llu, \"policy_swaps\": %llu, "
	       "\"policy_refusals\": %llu, \"sessions_max\": %llu, \"port_count\": %u, \"devices\": [\"%s\", \"%s\"], "
	       "\"heartbeat_ns\": %llu, \"names\": [\"%s\", \"%s\"], \"missed\": [%llu, %llu]",
		counters->magic, counters->version, (unsigned long long)counters->size_bytes, counters->shard_count,
		counters->process_id, (unsigned long long)counters->policy_generation,
		(unsigned long long)counters->adjacency_generation, (unsigned long long)counters->policy_swaps,
		(unsigned long long)counters->policy_refusals, (unsigned long long)counters->sessions_max,
		counters->port_count, counters->port_device[0], counters->port_device[1],
		(unsigned long long)counters->heartbeat_monotonic_ns, counters->names[0].id, counters->names[1].id,
		(unsigned long long)counters->port_missed[0], (unsigned long long)counters->port_missed[1]);
#define SHARD_COUNTER_PRINT(name, help) printf(", \"" #name "\": %llu", (unsigned long long)counters->shards[0].name);
	SHARD_COUNTERS(SHARD_COUNTER_PRINT)
#undef SHARD_COUNTER_PRINT
	for (unsigned port = 0; port < PORT_COUNT; port++) {
		const struct counters_shard *shard = &counters->shards[0];

		printf(", \"%s\": {\"rx\": %llu, \"tx\": %llu", port == PORT_INSIDE ? "inside" : "outside",
			(unsigned long long)shard->ports[port].rx_packets,
			(unsigned long long)shard->ports[port].tx_packets);
		for (unsigned reason = 1; reason < DROP_REASON_COUNT; reason++)
			printf(", \"%s\": %llu", drop_reason_label(reason),
				(unsigned long long)shard->drops[port][reason]);
		putchar('}');
	}
	puts("}");
}

static void sessions_print(const struct sessions_file *sessions)
{
	uint64_t active = 0;

	for (uint32_t shard = 0; shard < sessions->shard_count; shard++) {
		const struct session *records =
			(const void *)((const char *)sessions + sessions->shard_offset_bytes[shard]);

		for (uint64_t i = 0; i < sessions->sessions_max; i++)
			active += records[i].state != SESSION_FREE;
	}
	printf("{\"magic\": %u, \"size_bytes\": %llu, \"shard_count\": %u, \"sessions_max\": %llu, \"active\": %llu}\n",
		sessions->magic, (unsigned long long)sessions->size_bytes, sessions->shard_count,
		(unsigned long long)sessions->sessions_max, (unsigned long long)active);
}

/* Can a client write to what it was given? */
static void writable_print(const struct client *client)
{
	void *counters = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, client->counters_fd, 0);
	void *sessions = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, client->sessions_fd, 0);
	bool written = write(client->counters_fd, "x", 1) == 1;

	printf("{\"counters\": %s, \"sessions\": %s}\n", counters != MAP_FAILED || written ? "true" : "false",
		sessions != MAP_FAILED ? "true" : "false");
}

static void command_run(struct client *client, char arguments[][ARGUMENT_SIZE])
{
	if (strcmp(arguments[0], "connect") == 0)
		connect_to(client);
	else if (strcmp(arguments[0], "policy") == 0)
		policy_send(client, arguments);
	else if (strcmp(arguments[0], "adjacency") == 0)
		adjacency_send(client, arguments);
	else if (strcmp(arguments[0], "garbage") == 0)
		garbage_send(client, arguments[1]);
	else if (strcmp(arguments[0], "receive") == 0)
		message_print(client);
	else if (strcmp(arguments[0], "counters") == 0)
		counters_print(client->counters);
	else if (strcmp(arguments[0], "sessions") == 0)
		sessions_print(client->sessions);
	else if (strcmp(arguments[0], "writable") == 0)
		writable_print(client);
	else
		fail("no such command: %s", arguments[0]);
}

int main(int argc, char *argv[])
{
	struct client client = {.run_dir = argc > 1 ? argv[1] : ".", .fd = -1};
	char line[ARGUMENT_COUNT * ARGUMENT_SIZE];

	setvbuf(stdout, NULL, _IOLBF, 0);
	while (fgets(line, sizeof(line), stdin) != NULL) {
		char arguments[ARGUMENT_COUNT][ARGUMENT_SIZE] = {};
		unsigned count = 0;

		for (char *word = strtok(line, " \n"); word != NULL && count < ARGUMENT_COUNT;
			word = strtok(NULL, " \n"))
			snprintf(arguments[count++], ARGUMENT_SIZE, "%s", word);
		if (count > 0)
			command_run(&client, arguments);
	}
	return 0;
}
