/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packets for tools/compare: as many frames as a socket takes, an echo server, and somebody who asks it and takes the
 * time. Not installed. Each writes one line of JSON when it is done, but for the server, which runs until it is killed.
 *
 *   postern-blast send INTERFACE FRAMES-FILE RATE SECONDS    frames: one a line, in hexadecimal; RATE 0: no limit
 *   postern-blast echo ADDRESS PORT
 *   postern-blast ask ADDRESS PORT COUNT INTERVAL-US
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { FRAMES_MAX = 256, FRAME_MAX_BYTES = 1600, BURST = 32, ASK_BYTES = 32, ASK_COUNT_MAX = 1000000 };

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void sleep_until(uint64_t at_ns)
{
	const struct timespec at = {.tv_sec = (time_t)(at_ns / 1000000000u), .tv_nsec = (long)(at_ns % 1000000000u)};

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) == EINTR)
		;
}

static int fail(const char *what)
{
	fprintf(stderr, "postern-blast: %s: %s\n", what, strerror(errno));
	return 1;
}

static int frames_read(const char *path, uint8_t (*frames)[FRAME_MAX_BYTES], struct iovec vectors[FRAMES_MAX])
{
	char line[2 * FRAME_MAX_BYTES + 2];
	FILE *file = fopen(path, "re");
	int count = 0;

	if (file == NULL)
		return -1;
	while (count < FRAMES_MAX && fgets(line, sizeof(line), file) != NULL) {
		const size_t length = strcspn(line, "\n") / 2;

		for (size_t i = 0; i < length; i++) {
			const char digits[] = {line[2 * i], line[2 * i + 1], '\0'};

			frames[count][i] = (uint8_t)strtoul(digits, NULL, 16);
		}
		vectors[count] = (struct iovec){.iov_base = frames[count], .iov_len = length};
		count++;
	}
	fclose(file);
	return count;
}

static int packet_socket(const char *interface)
{
	struct sockaddr_ll address = {.sll_family = AF_PACKET, .sll_ifindex = (int)if_nametoindex(interface)};
	const int yes = 1, buffer_bytes = 8 << 20;
	const int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -1;
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &buffer_bytes, sizeof(buffer_bytes));
	if (setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &yes, sizeof(yes)) == 0 &&
		bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	close(fd);
	return -1;
}

static int run_send(const char *interface, const char *path, double rate, double seconds)
{
	static uint8_t frames[FRAMES_MAX][FRAME_MAX_BYTES];
	static struct iovec vectors[FRAMES_MAX];
	struct mmsghdr messages[BURST] = {};
	const int frame_count = frames_read(path, frames, vectors);
	const int fd = packet_socket(interface);
	uint64_t sent = 0, start_ns, end_ns;
	int next = 0;

	if (frame_count <= 0)
		return fail(path);
	if (fd < 0)
		return fail(interface);
	start_ns = now_ns();
	end_ns = start_ns + (uint64_t)(seconds * 1e9);
	while (now_ns() < end_ns) {
		int done;

		if (rate > 0)
			sleep_until(start_ns + (uint64_t)((double)sent * 1e9 / rate));
		for (int i = 0; i < BURST; i++) {
			messages[i].msg_hdr = (struct msghdr){.msg_iov = &vectors[next], .msg_iovlen = 1};
			next = next + 1 < frame_count ? next + 1 : 0;
		}
		done = sendmmsg(fd, messages, BURST, 0);
		if (done < 0 && errno != ENOBUFS && errno != EAGAIN)
			return fail("sendmmsg");
		sent += done > 0 ? (uint64_t)done : 0;
	}
	printf("{\"sent\": %llu, \"seconds\": %.6f}\n", (unsigned long long)sent, (double)(now_ns() - start_ns) / 1e9);
	close(fd);
	return 0;
}

static bool address_read(const char *address, const char *port, struct sockaddr_in *ret_address)
{
	*ret_address =
		(struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)strtoul(port, NULL, 10))};
	return inet_pton(AF_INET, address, &ret_address->sin_addr) == 1;
}

static int run_echo(const struct sockaddr_in *address)
{
	const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	uint8_t data[FRAME_MAX_BYTES];

	if (fd < 0 || bind(fd, (const struct sockaddr *)address, sizeof(*address)) != 0)
		return fail("bind");
	for (;;) {
		struct sockaddr_in from;
		socklen_t from_bytes = sizeof(from);
		const ssize_t length = recvfrom(fd, data, sizeof(data), 0, (struct sockaddr *)&from, &from_bytes);

		if (length > 0)
			(void)sendto(fd, data, (size_t)length, 0, (struct sockaddr *)&from, from_bytes);
	}
}

static int by_value(const void *left, const void *right)
{
	const double a = *(const double *)left, b = *(const double *)right;

	return a < b ? -1 : a > b;
}

static double quantile(const double *sorted, uint64_t count, double part)
{
	return count > 0 ? sorted[(uint64_t)((double)(count - 1) * part)] : 0;
}

/* One question at a time; one that has no answer after a second is lost. */
static int run_ask(const struct sockaddr_in *address, uint64_t count, uint64_t interval_us)
{
	const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	const struct timeval patience = {.tv_sec = 1};
	double *times_us = calloc(count, sizeof(*times_us));
	uint64_t answered = 0, next_ns = now_ns();

	if (times_us == NULL || fd < 0 || connect(fd, (const struct sockaddr *)address, sizeof(*address)) != 0 ||
		setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) != 0)
		return fail("connect");
	for (uint64_t number = 0; number < count; number++) {
		uint64_t data[ASK_BYTES / sizeof(uint64_t)] = {number}, sent_ns;

		sleep_until(next_ns += interval_us * 1000);
		sent_ns = now_ns();
		if (send(fd, data, sizeof(data), 0) < 0)
			continue;
		do {
			data[0] = count;
			if (recv(fd, data, sizeof(data), 0) < 0)
				break;
		} while (data[0] != number);
		if (data[0] == number)
			times_us[answered++] = (double)(now_ns() - sent_ns) / 1e3;
		next_ns = next_ns > now_ns() ? next_ns : now_ns();
	}
	qsort(times_us, answered, sizeof(*times_us), by_value);
	printf("{\"answered\": %llu, \"lost\": %llu, \"p50_us\": %.1f, \"p99_us\": %.1f, \"p99.9_us\": %.1f}\n",
		(unsigned long long)answered, (unsigned long long)(count - answered), quantile(times_us, answered, 0.5),
		quantile(times_us, answered, 0.99), quantile(times_us, answered, 0.999));
	free(times_us);
	close(fd);
	return 0;
}

int main(int argc, char *argv[])
{
	struct sockaddr_in address;

	/* Else the kernel adds its default of 50 µs to each sleep. */
	prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0);
	if (argc == 6 && strcmp(argv[1], "send") == 0)
		return run_send(argv[2], argv[3], strtod(argv[4], NULL), strtod(argv[5], NULL));
	if (argc == 4 && strcmp(argv[1], "echo") == 0 && address_read(argv[2], argv[3], &address))
		return run_echo(&address);
	if (argc == 6 && strcmp(argv[1], "ask") == 0 && address_read(argv[2], argv[3], &address)) {
		const uint64_t count = strtoull(argv[4], NULL, 10);

		if (count > 0 && count <= ASK_COUNT_MAX)
			return run_ask(&address, count, strtoull(argv[5], NULL, 10));
	}
	fputs("usage: postern-blast send INTERFACE FRAMES-FILE RATE SECONDS\n"
	      "       postern-blast echo ADDRESS PORT\n"
	      "       postern-blast ask ADDRESS PORT COUNT INTERVAL-US\n",
		stderr);
	return 2;
}
