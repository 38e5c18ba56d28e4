/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bpf/lab.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/seccomp.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

void lab_require_root(void)
{
	if (geteuid() == 0)
		return;
	printf("Bail out! the BPF tests load programs and create interfaces; run them as root\n");
	exit(1);
}

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 && errno == ENOENT)
		return; /* a kernel without IPv6 */
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

void lab_enter(void)
{
	assert_int_equal(unshare(CLONE_NEWNET | CLONE_NEWNS), 0);
	assert_int_equal(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
	write_file("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1");
	write_file("/proc/sys/net/ipv6/conf/all/disable_ipv6", "1");
	/* What the test before this one mounted under /run goes with it. */
	lab_run("umount -l /run 2>/dev/null; mount -t tmpfs none /run");
	lab_run("ip link set lo up");
}

void lab_forbid_tcx(void)
{
	enum {
		COMMAND_OFFSET = offsetof(struct seccomp_data, args),
		NUMBER_OFFSET = offsetof(struct seccomp_data, nr)
	};
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, NUMBER_OFFSET),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_bpf, 0, 4),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, COMMAND_OFFSET),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, BPF_PROG_ATTACH, 1, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, BPF_PROG_QUERY, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EINVAL),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	const struct sock_fprog program = {.len = sizeof(filter) / sizeof(filter[0]), .filter = filter};

	assert_int_equal(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
	assert_int_equal(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

void lab_run(const char *format, ...)
{
	char command[512];
	va_list arguments;
	int length;

	va_start(arguments, format);
	length = vsnprintf(command, sizeof(command), format, arguments);
	va_end(arguments);
	assert_true(length > 0 && (size_t)length < sizeof(command));
	if (system(command) != 0)
		fail_msg("failed: %s", command);
}

uint32_t lab_veth(const char *name, const char *peer)
{
	lab_run("ip link add %s type veth peer name %s", name, peer);
	lab_run("ip link set %s up && ip link set %s up", name, peer);
	return if_nametoindex(name);
}

void lab_mac(const char *interface, uint8_t ret_mac[6])
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq request = {0};

	assert_true(fd >= 0);
	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", interface);
	assert_int_equal(ioctl(fd, SIOCGIFHWADDR, &request), 0);
	close(fd);
	memcpy(ret_mac, request.ifr_hwaddr.sa_data, 6);
}

int lab_socket(const char *interface)
{
	struct sockaddr_ll address = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(ETH_P_ALL),
		.sll_ifindex = (int)if_nametoindex(interface),
	};
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0), one = 1;

	assert_true(fd >= 0);
	assert_int_equal(setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof(one)), 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

void lab_send(int fd, const struct frame *frame)
{
	assert_int_equal(send(fd, frame->bytes, frame->length_bytes, 0), frame->length_bytes);
}

bool lab_receive(int fd, struct frame *ret_frame)
{
	struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
	ssize_t length;

	if (poll(&poll_fd, 1, LAB_DEADLINE_MS) != 1)
		return false;
	length = recv(fd, ret_frame->bytes, sizeof(ret_frame->bytes), MSG_DONTWAIT);
	if (length <= 0)
		return false;
	ret_frame->length_bytes = (size_t)length;
	return true;
}

bool lab_is_quiet(int fd)
{
	uint8_t byte;

	return recv(fd, &byte, sizeof(byte), MSG_DONTWAIT | MSG_PEEK) < 0 && errno == EAGAIN;
}

/* Small bursts: a longer one could overrun the kernel's receive backlog, which no program of ours would see. */
enum { BURST_SIZE = 32, BURST_PAUSE_MS = 1 };

static void send_until_stopped(int fd, int stop_fd, int count_fd, const struct frame *frame)
{
	struct pollfd stop = {.fd = stop_fd, .events = POLLIN};
	uint64_t count = 0;

	do {
		for (int i = 0; i < BURST_SIZE; i++)
			count += send(fd, frame->bytes, frame->length_bytes, 0) == (ssize_t)frame->length_bytes;
	} while (poll(&stop, 1, BURST_PAUSE_MS) == 0);
	_exit(write(count_fd, &count, sizeof(count)) == sizeof(count) ? 0 : 1);
}

void lab_sender_start(struct lab_sender *ret_sender, const char *interface, const struct frame *frame)
{
	int stop_pipe[2], count_pipe[2], fd = lab_socket(interface);
	pid_t child;

	assert_int_equal(pipe2(stop_pipe, O_CLOEXEC), 0);
	assert_int_equal(pipe2(count_pipe, O_CLOEXEC), 0);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		close(stop_pipe[1]);
		send_until_stopped(fd, stop_pipe[0], count_pipe[1], frame);
	}
	close(fd);
	close(stop_pipe[0]);
	close(count_pipe[1]);
	*ret_sender = (struct lab_sender){.stop_fd = stop_pipe[1], .count_fd = count_pipe[0], .process_id = (int)child};
}

uint64_t lab_sender_stop(const struct lab_sender *sender)
{
	uint64_t count = 0;
	int result = 1;

	close(sender->stop_fd);
	assert_int_equal(read(sender->count_fd, &count, sizeof(count)), sizeof(count));
	close(sender->count_fd);
	assert_int_equal(waitpid(sender->process_id, &result, 0), sender->process_id);
	assert_int_equal(result, 0);
	return count;
}
