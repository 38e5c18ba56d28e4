/* SPDX-License-Identifier: Apache-2.0 */
/* A message with file descriptors, as whoever is at the other end of a Unix socket may send it. Any thread. */
#ifndef POSTERN_TESTS_DAEMON_FD_MESSAGE_H
#define POSTERN_TESTS_DAEMON_FD_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>

enum { FD_MESSAGE_FD_COUNT_MAX = 64 };

/* `fd` goes along `fd_count` times, at most FD_MESSAGE_FD_COUNT_MAX. False: it was not sent as a whole. */
static inline bool fd_message_send(int socket, const void *bytes, size_t length_bytes, int fd, size_t fd_count)
{
	char control[CMSG_SPACE(FD_MESSAGE_FD_COUNT_MAX * sizeof(int))] __attribute__((aligned(8))) = {0};
	struct iovec part = {.iov_base = (void *)bytes, .iov_len = length_bytes};
	struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1};

	if (fd_count > 0) {
		struct cmsghdr *rights;

		header.msg_control = control;
		header.msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
		rights = CMSG_FIRSTHDR(&header);
		rights->cmsg_level = SOL_SOCKET;
		rights->cmsg_type = SCM_RIGHTS;
		rights->cmsg_len = CMSG_LEN(fd_count * sizeof(int));
		for (size_t i = 0; i < fd_count; i++)
			memcpy(CMSG_DATA(rights) + i * sizeof(int), &fd, sizeof(int));
	}
	return sendmsg(socket, &header, MSG_NOSIGNAL) == (ssize_t)length_bytes;
}

#endif
