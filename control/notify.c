/* SPDX-License-Identifier: Apache-2.0 */
#include "control/notify.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

void notify_send(const char *state)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	size_t length_bytes;
	int fd;

	if (path == NULL || (path[0] != '/' && path[0] != '@'))
		return;
	length_bytes = strlen(path);
	if (length_bytes >= sizeof(address.sun_path))
		return;
	memcpy(address.sun_path, path, length_bytes);
	if (path[0] == '@')
		address.sun_path[0] = '\0'; /* the abstract namespace */
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return;
	sendto(fd, state, strlen(state), MSG_NOSIGNAL, (const struct sockaddr *)&address,
		(socklen_t)(offsetof(struct sockaddr_un, sun_path) + length_bytes));
	close(fd);
}

bool notify_watchdog_wanted(void)
{
	const char *process = getenv("WATCHDOG_PID");

	if (getenv("WATCHDOG_USEC") == NULL)
		return false;
	return process == NULL || strtol(process, NULL, 10) == (long)getpid();
}
