/* SPDX-License-Identifier: Apache-2.0 */
#include "control/http_socket.h"

#include <errno.h>
#include <grp.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "control/log.h"

enum status http_socket_tcp(
	const char *name, const char *address, uint16_t port, int *ret_socket, struct problems *problems)
{
	struct addrinfo hints = {
		.ai_family = AF_UNSPEC,
		.ai_socktype = SOCK_STREAM,
		.ai_flags = AI_NUMERICHOST | AI_PASSIVE,
	};
	struct addrinfo *found = NULL;
	char port_text[8];
	int on = 1, fd = -1;

	snprintf(port_text, sizeof(port_text), "%u", port);
	if (getaddrinfo(address, port_text, &hints, &found) != 0) {
		problems_add(problems, "%s: %s: not an address", name, address);
		return STATUS_INVALID;
	}
	fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd >= 0)
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (fd < 0 || bind(fd, found->ai_addr, found->ai_addrlen) != 0) {
		problems_add(problems, "%s: %s:%u: %s: choose a free address and port of this machine", name, address,
			port, strerror(errno));
		freeaddrinfo(found);
		if (fd >= 0)
			close(fd);
		return STATUS_SYSTEM;
	}
	freeaddrinfo(found);
	*ret_socket = fd;
	return STATUS_OK;
}

/* Where the host has such a group its members may use the socket, too. Else it stays its owner's, and is said so. */
static void socket_give_to_group(const struct log *log, const char *path)
{
	const struct group *group = getgrnam(HTTP_SOCKET_GROUP);

	if (group == NULL)
		log_info(log, "there is no group %s: %s is for its owner alone (`systemd-sysusers` makes the group)",
			HTTP_SOCKET_GROUP, path);
	else if (lchown(path, (uid_t)-1, group->gr_gid) != 0)
		log_warning(log, "%s can not be given to the group %s, it is for its owner alone: %s", path,
			HTTP_SOCKET_GROUP, strerror(errno));
}

enum status http_socket_unix(const struct log *log, const char *path, int *ret_socket, struct problems *problems)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd;

	if (strlen(path) >= sizeof(address.sun_path)) {
		problems_add(problems, "%s: too long for a Unix socket: choose a shorter --run-dir", path);
		return STATUS_INVALID;
	}
	strcpy(address.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	/* The run directory's lock is ours, so what lies there was left by a predecessor. */
	unlink(path);
	/* The mode of the socket is that of the file, less the umask: never wider than wanted, not even for a moment.
	 */
	if (fd < 0 || fchmod(fd, 0660) != 0 || bind(fd, (const struct sockaddr *)&address, sizeof(address)) != 0 ||
		chmod(path, 0660) != 0) {
		problems_add(problems, "%s: can not be made: %s", path, strerror(errno));
		if (fd >= 0)
			close(fd);
		return STATUS_SYSTEM;
	}
	socket_give_to_group(log, path);
	*ret_socket = fd;
	return STATUS_OK;
}
