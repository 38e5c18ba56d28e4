/* SPDX-License-Identifier: Apache-2.0 */
#include "control/dataplane_client.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { SNAPSHOT_TYPE_COUNT = 2, RECEIVE_FD_COUNT_MAX = 16, RECEIVE_COUNT_MAX = 64 };

struct pending_snapshot {
	bool waiting;
	uint64_t generation;
	struct event *timeout;
};

enum client_phase { CLIENT_DISCONNECTED, CLIENT_AWAITING_HELLO, CLIENT_CONNECTED };

struct dataplane_client {
	struct event_base *base;
	const struct log *log;
	const struct dataplane_client_handlers *handlers;
	void *context;
	enum client_phase phase;
	int fd;
	struct event *readable;
	struct event *retry; /* next attempt, or the end of patience for HELLO */
	uint32_t backoff_ms;
	struct pending_snapshot pending[SNAPSHOT_TYPE_COUNT];
	struct rpc_message hello;
	char error[256];
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
};

static void client_connect(struct dataplane_client *client);

/* ---- framing ---- */

/* How many descriptors arrived; more than fit is a kernel truncation, which MSG_CTRUNC tells. */
static size_t rpc_take_fds(struct msghdr *header, int fds[RECEIVE_FD_COUNT_MAX])
{
	size_t count = 0;

	for (struct cmsghdr *part = CMSG_FIRSTHDR(header); part != NULL; part = CMSG_NXTHDR(header, part)) {
		size_t part_count;

		if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS)
			continue;
		part_count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < part_count && count < RECEIVE_FD_COUNT_MAX; i++)
			memcpy(&fds[count++], CMSG_DATA(part) + i * sizeof(int), sizeof(int));
	}
	return count;
}

/* NULL when the message is as the contract has it. */
static const char *rpc_fault(
	const struct rpc_message *message, ssize_t length_bytes, const struct msghdr *header, size_t fd_count)
{
	if (length_bytes != (ssize_t)sizeof(*message) || (header->msg_flags & MSG_TRUNC))
		return "a message of the wrong size";
	if (header->msg_flags & MSG_CTRUNC)
		return "a message with too many file descriptors";
	if (message->magic != RPC_MAGIC)
		return "a message without the magic number";
	if (message->version != CONTRACT_VERSION)
		return "another version of the contract: install posternd and postern-dataplane of the same release";
	switch (message->type) {
	case RPC_HELLO:
		return fd_count == 2 ? NULL : "HELLO without its two file descriptors";
	case RPC_ACK:
		if (message->acked_type != RPC_POLICY && message->acked_type != RPC_ADJACENCY)
			return "an acknowledgement of nothing that is ever sent";
		if (message->status > RPC_NO_PORT)
			return "an acknowledgement with an unknown status";
		break;
	case RPC_NEIGHBOUR:
		break;
	default:
		return "a message of unknown type";
	}
	return fd_count == 0 ? NULL : "file descriptors where none belong";
}

enum rpc_receive_result rpc_receive(
	int fd, struct rpc_message *ret_message, int ret_fds[RPC_FD_COUNT_MAX], const char **ret_why)
{
	struct rpc_message message;
	char control[CMSG_SPACE(RECEIVE_FD_COUNT_MAX * sizeof(int))] __attribute__((aligned(8)));
	struct iovec part = {.iov_base = &message, .iov_len = sizeof(message)};
	struct msghdr header = {
		.msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control),
	};
	int fds[RECEIVE_FD_COUNT_MAX];
	size_t fd_count;
	ssize_t length_bytes;
	const char *why;

	do
		length_bytes = recvmsg(fd, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	while (length_bytes < 0 && errno == EINTR);
	if (length_bytes < 0)
		return errno == EAGAIN || errno == EWOULDBLOCK ? RPC_AGAIN : RPC_CLOSED;
	fd_count = rpc_take_fds(&header, fds);
	if (length_bytes == 0 && fd_count == 0)
		return RPC_CLOSED;
	why = rpc_fault(&message, length_bytes, &header, fd_count);
	if (why != NULL) {
		for (size_t i = 0; i < fd_count; i++)
			close(fds[i]);
		*ret_why = why;
		return RPC_MALFORMED;
	}
	message.text[sizeof(message.text) - 1] = '\0';
	for (size_t i = 0; i < RPC_FD_COUNT_MAX; i++)
		ret_fds[i] = i < fd_count ? fds[i] : -1;
	*ret_message = message;
	return RPC_RECEIVED;
}

int rpc_seal_block(const char *name, const void *block, size_t size_bytes)
{
	const char *bytes = block;
	size_t written_bytes = 0;
	int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0)
		return -1;
	while (written_bytes < size_bytes) {
		ssize_t written = write(fd, bytes + written_bytes, size_bytes - written_bytes);

		if (written < 0 && errno == EINTR)
			continue;
		if (written <= 0)
			goto failed;
		written_bytes += (size_t)written;
	}
	if (fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0)
		return fd;
failed:
	close(fd);
	return -1;
}

static bool rpc_send(int fd, const struct rpc_message *message, int attached_fd)
{
	char control[CMSG_SPACE(sizeof(int))] __attribute__((aligned(8))) = {0};
	struct iovec part = {.iov_base = (void *)message, .iov_len = sizeof(*message)};
	struct msghdr header = {
		.msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control),
	};
	struct cmsghdr *rights = CMSG_FIRSTHDR(&header);

	rights->cmsg_level = SOL_SOCKET;
	rights->cmsg_type = SCM_RIGHTS;
	rights->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(rights), &attached_fd, sizeof(int));
	return sendmsg(fd, &header, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)sizeof(*message);
}

/* ---- connection ---- */

static size_t pending_index(enum rpc_type type)
{
	return type == RPC_ADJACENCY ? 1 : 0;
}

static const char *type_text(enum rpc_type type)
{
	return type == RPC_ADJACENCY ? "adjacency" : "policy";
}

static void client_schedule_retry(struct dataplane_client *client)
{
	uint32_t random = 0, wait_ms;
	struct timeval delay;

	/* Half of the wait is jitter: many daemons that lost one peer do not come back in step. */
	if (getrandom(&random, sizeof(random), GRND_NONBLOCK) != (ssize_t)sizeof(random))
		random = (uint32_t)getpid();
	wait_ms = client->backoff_ms / 2 + random % (client->backoff_ms / 2 + 1);
	delay.tv_sec = wait_ms / 1000;
	delay.tv_usec = (suseconds_t)(wait_ms % 1000) * 1000;
	event_add(client->retry, &delay);
	client->backoff_ms *= 2;
	if (client->backoff_ms > DATAPLANE_CLIENT_BACKOFF_MAX_MS)
		client->backoff_ms = DATAPLANE_CLIENT_BACKOFF_MAX_MS;
}

static void client_disconnect(struct dataplane_client *client)
{
	if (client->readable != NULL) {
		event_free(client->readable);
		client->readable = NULL;
	}
	if (client->fd >= 0) {
		close(client->fd);
		client->fd = -1;
	}
	for (size_t i = 0; i < SNAPSHOT_TYPE_COUNT; i++) {
		client->pending[i].waiting = false;
		event_del(client->pending[i].timeout);
	}
	event_del(client->retry);
	memset(&client->hello, 0, sizeof(client->hello));
	client->phase = CLIENT_DISCONNECTED;
}

static void client_drop(struct dataplane_client *client, const char *why)
{
	bool was_connected = client->phase == CLIENT_CONNECTED;

	/* `why` may point into the state that is taken down here. */
	if (client->error != why)
		snprintf(client->error, sizeof(client->error), "%s", why);
	client_disconnect(client);
	client_schedule_retry(client);
	if (was_connected) {
		log_warning(client->log, "the connection to postern-dataplane ended: %s", client->error);
		client->handlers->lost(client->context, client->error);
	}
}

static bool client_accept_hello(
	struct dataplane_client *client, const struct rpc_message *message, const int fds[RPC_FD_COUNT_MAX])
{
	event_del(client->retry);
	client->hello = *message;
	client->phase = CLIENT_CONNECTED;
	client->error[0] = '\0';
	client->backoff_ms = DATAPLANE_CLIENT_BACKOFF_MIN_MS;
	if (client->handlers->connected(client->context, message, fds[0], fds[1]))
		return client->phase == CLIENT_CONNECTED;
	client->backoff_ms = DATAPLANE_CLIENT_BACKOFF_MAX_MS;
	client_drop(client, "its shared memory can not be used: install posternd and postern-dataplane of the same "
			    "release");
	return false;
}

static bool client_accept_ack(struct dataplane_client *client, const struct rpc_message *message)
{
	struct pending_snapshot *pending = &client->pending[pending_index(message->acked_type)];

	if (!pending->waiting || pending->generation != message->generation) {
		client_drop(client, "it acknowledged a snapshot that was not sent");
		return false;
	}
	pending->waiting = false;
	event_del(pending->timeout);
	client->handlers->acknowledged(client->context, message);
	return client->phase == CLIENT_CONNECTED;
}

/* False when the connection has gone. */
static bool client_accept(
	struct dataplane_client *client, const struct rpc_message *message, const int fds[RPC_FD_COUNT_MAX])
{
	if (message->type == RPC_HELLO) {
		if (client->phase == CLIENT_AWAITING_HELLO)
			return client_accept_hello(client, message, fds);
		close(fds[0]);
		close(fds[1]);
		client_drop(client, "it sent a second HELLO");
		return false;
	}
	if (client->phase != CLIENT_CONNECTED) {
		client_drop(client, "it did not begin with HELLO");
		return false;
	}
	if (message->type == RPC_ACK)
		return client_accept_ack(client, message);
	client->handlers->neighbour_wanted(client->context, message->address, message->port);
	return true;
}

static void client_readable(evutil_socket_t fd, short what, void *context)
{
	struct dataplane_client *client = context;

	for (unsigned i = 0; i < RECEIVE_COUNT_MAX; i++) {
		struct rpc_message message;
		int fds[RPC_FD_COUNT_MAX];
		const char *why = "";

		switch (rpc_receive(client->fd, &message, fds, &why)) {
		case RPC_AGAIN:
			return;
		case RPC_CLOSED:
			client_drop(client, "postern-dataplane closed the connection");
			return;
		case RPC_MALFORMED:
			client->backoff_ms = DATAPLANE_CLIENT_BACKOFF_MAX_MS;
			log_error(client->log, "postern-dataplane sent %s", why);
			client_drop(client, why);
			return;
		case RPC_RECEIVED:
			if (!client_accept(client, &message, fds))
				return;
			break;
		}
	}
}

static void client_timed_out(evutil_socket_t fd, short what, void *context)
{
	struct dataplane_client *client = context;

	if (client->phase == CLIENT_DISCONNECTED)
		client_connect(client);
	else if (client->phase == CLIENT_AWAITING_HELLO)
		client_drop(client, "it accepts the connection, but does not answer: is the process stopped?");
	else
		client_drop(client, "it did not acknowledge a snapshot within 10 s");
}

static void client_connect(struct dataplane_client *client)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	static const struct timeval patience = {.tv_sec = DATAPLANE_CLIENT_TIMEOUT_S};

	strcpy(address.sun_path, client->path);
	client->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (client->fd < 0 || connect(client->fd, (const struct sockaddr *)&address, sizeof(address)) != 0) {
		char why[256];

		snprintf(why, sizeof(why), "postern-dataplane is not at %s: %s: start it with the same --run-dir",
			client->path, strerror(errno));
		client_drop(client, why);
		return;
	}
	client->readable = event_new(client->base, client->fd, EV_READ | EV_PERSIST, client_readable, client);
	if (client->readable == NULL) {
		client_drop(client, "out of memory");
		return;
	}
	client->phase = CLIENT_AWAITING_HELLO;
	event_add(client->readable, NULL);
	event_add(client->retry, &patience);
}

enum status dataplane_client_open(struct event_base *base, const struct log *log, const char *socket_path,
	const struct dataplane_client_handlers *handlers, void *context, struct dataplane_client **ret_client,
	struct problems *problems)
{
	struct dataplane_client *client = calloc(1, sizeof(*client));

	if (client == NULL)
		return STATUS_NO_MEMORY;
	client->base = base;
	client->log = log;
	client->handlers = handlers;
	client->context = context;
	client->fd = -1;
	client->backoff_ms = DATAPLANE_CLIENT_BACKOFF_MIN_MS;
	if (strlen(socket_path) >= sizeof(client->path)) {
		problems_add(problems, "%s: too long for a Unix socket: choose a shorter --run-dir", socket_path);
		free(client);
		return STATUS_INVALID;
	}
	strcpy(client->path, socket_path);
	client->retry = event_new(base, -1, 0, client_timed_out, client);
	for (size_t i = 0; i < SNAPSHOT_TYPE_COUNT; i++)
		client->pending[i].timeout = event_new(base, -1, 0, client_timed_out, client);
	if (client->retry == NULL || client->pending[0].timeout == NULL || client->pending[1].timeout == NULL) {
		dataplane_client_close(client);
		return STATUS_NO_MEMORY;
	}
	client_connect(client);
	*ret_client = client;
	return STATUS_OK;
}

void dataplane_client_close(struct dataplane_client *client)
{
	if (client == NULL)
		return;
	if (client->readable != NULL)
		event_free(client->readable);
	if (client->fd >= 0)
		close(client->fd);
	if (client->retry != NULL)
		event_free(client->retry);
	for (size_t i = 0; i < SNAPSHOT_TYPE_COUNT; i++) {
		if (client->pending[i].timeout != NULL)
			event_free(client->pending[i].timeout);
	}
	free(client);
}

bool dataplane_client_is_connected(const struct dataplane_client *client)
{
	return client != NULL && client->phase == CLIENT_CONNECTED;
}

const struct rpc_message *dataplane_client_hello(const struct dataplane_client *client)
{
	return &client->hello;
}

const char *dataplane_client_error(const struct dataplane_client *client)
{
	return client->error;
}

bool dataplane_client_is_busy(const struct dataplane_client *client, enum rpc_type type)
{
	return client->pending[pending_index(type)].waiting;
}

enum status dataplane_client_send(struct dataplane_client *client, enum rpc_type type, uint64_t generation,
	const void *block, size_t size_bytes, struct problems *problems)
{
	struct pending_snapshot *pending = &client->pending[pending_index(type)];
	struct rpc_message message = {
		.magic = RPC_MAGIC,
		.version = CONTRACT_VERSION,
		.type = type,
		.generation = generation,
	};
	static const struct timeval patience = {.tv_sec = DATAPLANE_CLIENT_TIMEOUT_S};
	bool sent;
	int fd;

	if (!dataplane_client_is_connected(client))
		return STATUS_UNREACHABLE;
	if (pending->waiting)
		return STATUS_REFUSED;
	fd = rpc_seal_block(type == RPC_ADJACENCY ? "postern-adjacency" : "postern-policy", block, size_bytes);
	if (fd < 0) {
		problems_add(problems, "the %s does not fit into shared memory: %s: free memory", type_text(type),
			strerror(errno));
		return STATUS_SYSTEM;
	}
	sent = rpc_send(client->fd, &message, fd);
	close(fd);
	if (!sent) {
		client_drop(client, "it does not take messages any more");
		return STATUS_UNREACHABLE;
	}
	pending->waiting = true;
	pending->generation = generation;
	event_add(pending->timeout, &patience);
	log_debug(client->log, "%s sent generation=%" PRIu64 " bytes=%zu", type_text(type), generation, size_bytes);
	return STATUS_OK;
}
