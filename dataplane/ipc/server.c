/* SPDX-License-Identifier: Apache-2.0 */
#include "dataplane/ipc/server.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dataplane/contract/run_dir.h"

enum {
	/* The contract wants one; the room for more is there to take them all, and close them. */
	RECEIVE_FD_COUNT_MAX = 8,
	LISTEN_BACKLOG = 8,
};

static bool server_lock(struct server *server, const char *run_dir, char *ret_text)
{
	char path[sizeof(server->address.sun_path) + sizeof(SERVER_LOCK_NAME)];

	snprintf(path, sizeof(path), "%s/" SERVER_LOCK_NAME, run_dir);
	server->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
	if (server->lock_fd < 0) {
		snprintf(ret_text, NAT_TEXT_SIZE_BYTES, "can not write to the run directory %.100s: %s", run_dir,
			strerror(errno));
		return false;
	}
	if (flock(server->lock_fd, LOCK_EX | LOCK_NB) != 0) {
		snprintf(ret_text, NAT_TEXT_SIZE_BYTES,
			"another postern-dataplane runs in %.100s: stop it first, or give another --run-dir", run_dir);
		return false;
	}
	return true;
}

static bool server_listen(struct server *server, char *ret_text)
{
	mode_t mask;
	int error;

	server->listen_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (server->listen_fd < 0) {
		snprintf(ret_text, NAT_TEXT_SIZE_BYTES, "no socket: %s", strerror(errno));
		return false;
	}
	/* We hold the lock, so what lies there belongs to a predecessor that is dead. */
	(void)unlink(server->address.sun_path);
	mask = umask(0117);
	error = bind(server->listen_fd, (const struct sockaddr *)&server->address, sizeof(server->address));
	umask(mask);
	if (error == 0)
		error = listen(server->listen_fd, LISTEN_BACKLOG);
	if (error != 0)
		snprintf(ret_text, NAT_TEXT_SIZE_BYTES, "can not listen on %.110s: %s", server->address.sun_path,
			strerror(errno));
	return error == 0;
}

bool server_open(struct server *ret_server, const char *run_dir, char ret_text[NAT_TEXT_SIZE_BYTES])
{
	struct server server = {.lock_fd = -1, .listen_fd = -1, .client_fd = -1, .address.sun_family = AF_UNIX};
	const size_t room_bytes = sizeof(server.address.sun_path) - sizeof("/" RPC_SOCKET_NAME);
	const size_t length = strlen(run_dir);

	if (length > room_bytes) {
		snprintf(ret_text, NAT_TEXT_SIZE_BYTES, "the path of --run-dir is longer than %zu bytes", room_bytes);
		return false;
	}
	memcpy(server.address.sun_path, run_dir, length);
	memcpy(server.address.sun_path + length, "/" RPC_SOCKET_NAME, sizeof("/" RPC_SOCKET_NAME));
	if (mkdir(run_dir, 0755) != 0 && errno != EEXIST) {
		snprintf(ret_text, NAT_TEXT_SIZE_BYTES, "the run directory %.100s can not be made: %s", run_dir,
			strerror(errno));
		return false;
	}
	if (!run_dir_check(run_dir, ret_text, NAT_TEXT_SIZE_BYTES))
		return false;
	if (!server_lock(&server, run_dir, ret_text) || !server_listen(&server, ret_text)) {
		if (server.listen_fd >= 0)
			close(server.listen_fd);
		if (server.lock_fd >= 0)
			close(server.lock_fd);
		return false;
	}
	*ret_server = server;
	return true;
}

static void client_close(struct server *server)
{
	if (server->client_fd >= 0)
		close(server->client_fd);
	server->client_fd = -1;
}

void server_close(struct server *server)
{
	client_close(server);
	close(server->listen_fd);
	(void)unlink(server->address.sun_path);
	close(server->lock_fd);
}

struct rpc_message server_message(enum rpc_type type)
{
	return (struct rpc_message){.magic = RPC_MAGIC, .version = CONTRACT_VERSION, .type = type};
}

static bool send_with_fds(int fd, const struct rpc_message *message, const int fds[], size_t fd_count)
{
	struct iovec data = {.iov_base = (void *)(uintptr_t)message, .iov_len = sizeof(*message)};
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(RECEIVE_FD_COUNT_MAX * sizeof(int))];
	} control = {};
	struct msghdr header = {.msg_iov = &data, .msg_iovlen = 1};

	if (fd_count > 0) {
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(fd_count * sizeof(int));
		memcpy(CMSG_DATA(&control.header), fds, fd_count * sizeof(int));
		header.msg_control = &control;
		header.msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
	}
	return sendmsg(fd, &header, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)sizeof(*message);
}

void server_accept(struct server *server, const struct rpc_message *hello, const int fds[2])
{
	int fd = accept4(server->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return;
	client_close(server);
	if (!send_with_fds(fd, hello, fds, 2)) {
		close(fd);
		return;
	}
	server->client_fd = fd;
}

void server_send(struct server *server, const struct rpc_message *message)
{
	if (server->client_fd >= 0 && !send_with_fds(server->client_fd, message, NULL, 0))
		client_close(server);
}

/* Takes the descriptors out of the message; `ret_fds` has room for all that fit `control`. */
static size_t fds_take(struct msghdr *header, int ret_fds[RECEIVE_FD_COUNT_MAX])
{
	size_t count = 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(header); c != NULL; c = CMSG_NXTHDR(header, c)) {
		size_t here;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		here = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < here && count < RECEIVE_FD_COUNT_MAX; i++)
			memcpy(&ret_fds[count++], CMSG_DATA(c) + i * sizeof(int), sizeof(int));
	}
	return count;
}

static bool message_valid(const struct rpc_message *message, size_t size_bytes, int flags, size_t fd_count)
{
	return size_bytes == sizeof(*message) && (flags & (MSG_TRUNC | MSG_CTRUNC)) == 0 && fd_count == 1 &&
	       message->magic == RPC_MAGIC && message->version == CONTRACT_VERSION &&
	       (message->type == RPC_POLICY || message->type == RPC_ADJACENCY);
}

bool server_receive(struct server *server, struct rpc_message *ret_message, int *ret_fd)
{
	struct rpc_message message = {};
	struct iovec data = {.iov_base = &message, .iov_len = sizeof(message)};
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(RECEIVE_FD_COUNT_MAX * sizeof(int))];
	} control = {};
	struct msghdr header = {
		.msg_iov = &data, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
	int fds[RECEIVE_FD_COUNT_MAX];
	ssize_t size_bytes = recvmsg(server->client_fd, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	size_t fd_count;

	if (size_bytes < 0) {
		if (errno != EAGAIN && errno != EINTR)
			client_close(server);
		return false;
	}
	fd_count = fds_take(&header, fds);
	if (message_valid(&message, (size_t)size_bytes, header.msg_flags, fd_count)) {
		*ret_message = message;
		*ret_fd = fds[0];
		return true;
	}
	for (size_t i = 0; i < fd_count; i++)
		close(fds[i]);
	/* An empty one is the end of the conversation; an empty message looks the same, and ends it too. */
	if (size_bytes > 0 || fd_count > 0)
		server->violations++;
	client_close(server);
	return false;
}
