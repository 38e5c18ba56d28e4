/* SPDX-License-Identifier: Apache-2.0 */
/* The framing of contract/rpc.h, as control/dataplane_client.c receives it: good and bad messages, and no leaked
 * descriptor. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "control/dataplane_client.h"
#include "tests/daemon/fd_message.h"

struct pair {
	int ours, peer;
};

static unsigned open_fd_count(void)
{
	DIR *directory = opendir("/proc/self/fd");
	unsigned count = 0;

	assert_non_null(directory);
	while (readdir(directory) != NULL)
		count++;
	closedir(directory);
	return count;
}

static int pair_open(void **state)
{
	static struct pair pair;
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
	pair = (struct pair){.ours = fds[0], .peer = fds[1]};
	*state = &pair;
	return 0;
}

static int pair_close(void **state)
{
	const struct pair *pair = *state;

	close(pair->ours);
	close(pair->peer);
	return 0;
}

static struct rpc_message message_of(uint32_t type)
{
	return (struct rpc_message){.magic = RPC_MAGIC, .version = CONTRACT_VERSION, .type = type};
}

static void peer_send(const struct pair *pair, const void *bytes, size_t length_bytes, size_t fd_count)
{
	assert_true(fd_message_send(pair->peer, bytes, length_bytes, pair->ours, fd_count));
}

static void hello_brings_two_descriptors(void **state)
{
	const struct pair *pair = *state;
	struct rpc_message hello = message_of(RPC_HELLO), received;
	int fds[RPC_FD_COUNT_MAX];
	const char *why;

	hello.generation = 41;
	peer_send(pair, &hello, sizeof(hello), 2);
	assert_int_equal(rpc_receive(pair->ours, &received, fds, &why), RPC_RECEIVED);
	assert_int_equal(received.generation, 41);
	for (unsigned i = 0; i < 2; i++) {
		assert_true(fds[i] >= 0);
		assert_true(fcntl(fds[i], F_GETFD) & FD_CLOEXEC);
		close(fds[i]);
	}
}

static void an_acknowledgement_brings_none_and_its_text_is_terminated(void **state)
{
	const struct pair *pair = *state;
	struct rpc_message ack = message_of(RPC_ACK), received;
	int fds[RPC_FD_COUNT_MAX];
	const char *why;

	ack.acked_type = RPC_POLICY;
	ack.status = RPC_REFUSED;
	memset(ack.text, 'x', sizeof(ack.text));
	peer_send(pair, &ack, sizeof(ack), 0);
	assert_int_equal(rpc_receive(pair->ours, &received, fds, &why), RPC_RECEIVED);
	assert_int_equal(strlen(received.text), sizeof(received.text) - 1);
	assert_int_equal(fds[0], -1);
	assert_int_equal(fds[1], -1);
}

static void nothing_to_read_is_no_error_and_the_end_is_told(void **state)
{
	struct pair *pair = *state;
	struct rpc_message received;
	int fds[RPC_FD_COUNT_MAX];
	const char *why;

	assert_int_equal(rpc_receive(pair->ours, &received, fds, &why), RPC_AGAIN);
	shutdown(pair->peer, SHUT_RDWR);
	assert_int_equal(rpc_receive(pair->ours, &received, fds, &why), RPC_CLOSED);
}

static void bad_messages_are_refused_and_their_descriptors_closed(void **state)
{
	const struct pair *pair = *state;
	struct rpc_message good = message_of(RPC_ACK), bad;
	char large[sizeof(good) + 1] = {0};
	unsigned before;

	struct {
		const char *what;
		struct rpc_message message;
		size_t length_bytes, fd_count;
	} cases[] = {
		{"short", good, sizeof(good) - 1, 0},
		{"long", good, sizeof(good) + 1, 0},
		{"one byte with a descriptor", good, 1, 1},
		{"magic", good, sizeof(good), 0},
		{"version", good, sizeof(good), 0},
		{"type", good, sizeof(good), 0},
		{"policy from the dataplane", good, sizeof(good), 1},
		{"HELLO without descriptors", good, sizeof(good), 0},
		{"HELLO with one", good, sizeof(good), 1},
		{"HELLO with three", good, sizeof(good), 3},
		{"HELLO with forty", good, sizeof(good), 40},
		{"ACK with a descriptor", good, sizeof(good), 1},
		{"ACK of HELLO", good, sizeof(good), 0},
		{"ACK with an unknown status", good, sizeof(good), 0},
		{"NEIGHBOUR with a descriptor", good, sizeof(good), 2},
	};
	cases[3].message.magic ^= 1;
	cases[4].message.version++;
	cases[5].message.type = 77;
	cases[6].message.type = RPC_POLICY;
	for (size_t i = 7; i <= 10; i++)
		cases[i].message.type = RPC_HELLO;
	cases[11].message.acked_type = RPC_POLICY;
	cases[12].message.acked_type = RPC_HELLO;
	cases[13].message.acked_type = RPC_POLICY;
	cases[13].message.status = 9;
	cases[14].message.type = RPC_NEIGHBOUR;

	before = open_fd_count();
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *why = NULL;
		int fds[RPC_FD_COUNT_MAX];

		memcpy(large, &cases[i].message, sizeof(good));
		peer_send(pair, large, cases[i].length_bytes, cases[i].fd_count);
		if (rpc_receive(pair->ours, &bad, fds, &why) != RPC_MALFORMED)
			fail_msg("%s was taken", cases[i].what);
		assert_non_null(why);
		if (open_fd_count() != before)
			fail_msg("%s leaked a descriptor", cases[i].what);
	}
}

static void a_sealed_block_can_not_be_changed(void **state)
{
	char block[5000], copy[5000];
	int fd;

	memset(block, 7, sizeof(block));
	fd = rpc_seal_block("test", block, sizeof(block));
	assert_true(fd >= 0);
	assert_int_equal(fcntl(fd, F_GET_SEALS), F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
	assert_int_equal(pread(fd, copy, sizeof(copy), 0), sizeof(copy));
	assert_memory_equal(block, copy, sizeof(block));
	assert_int_equal(pwrite(fd, block, 1, 0), -1);
	assert_int_equal(ftruncate(fd, 1), -1);
	assert_ptr_equal(mmap(NULL, sizeof(block), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), MAP_FAILED);
	close(fd);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(hello_brings_two_descriptors, pair_open, pair_close),
		cmocka_unit_test_setup_teardown(
			an_acknowledgement_brings_none_and_its_text_is_terminated, pair_open, pair_close),
		cmocka_unit_test_setup_teardown(nothing_to_read_is_no_error_and_the_end_is_told, pair_open, pair_close),
		cmocka_unit_test_setup_teardown(
			bad_messages_are_refused_and_their_descriptors_closed, pair_open, pair_close),
		cmocka_unit_test(a_sealed_block_can_not_be_changed),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
