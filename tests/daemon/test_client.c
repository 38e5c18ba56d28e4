/* SPDX-License-Identifier: Apache-2.0 */
/* control/dataplane_client.c against a peer in the same event loop: order of the conversation, reconnection, refusals.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <event2/event.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "control/dataplane_client.h"
#include "tests/daemon/fd_message.h"

enum { DEADLINE_MS = 5000 };

struct fixture {
	char directory[64], path[128];
	struct event_base *base;
	struct log log;
	struct dataplane_client *client;
	int listener, peer;
	unsigned connected_count, lost_count, acknowledged_count, neighbour_count;
	bool usable; /* what connected() answers */
	struct rpc_message last_ack;
	uint32_t neighbour;
	char why[256];
};

static bool on_connected(void *context, const struct rpc_message *hello, int counters_fd, int sessions_fd)
{
	struct fixture *fixture = context;

	fixture->connected_count++;
	close(counters_fd);
	close(sessions_fd);
	return fixture->usable;
}

static void on_acknowledged(void *context, const struct rpc_message *ack)
{
	struct fixture *fixture = context;

	fixture->acknowledged_count++;
	fixture->last_ack = *ack;
}

static void on_neighbour(void *context, uint32_t address, uint32_t port)
{
	struct fixture *fixture = context;

	fixture->neighbour_count++;
	fixture->neighbour = address;
}

static void on_lost(void *context, const char *why)
{
	struct fixture *fixture = context;

	fixture->lost_count++;
	snprintf(fixture->why, sizeof(fixture->why), "%s", why);
}

static const struct dataplane_client_handlers handlers = {
	.connected = on_connected,
	.acknowledged = on_acknowledged,
	.neighbour_wanted = on_neighbour,
	.lost = on_lost,
};

static void peer_listen(struct fixture *fixture)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	strcpy(address.sun_path, fixture->path);
	unlink(fixture->path);
	fixture->listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_int_equal(bind(fixture->listener, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(fixture->listener, 4), 0);
}

static void fixture_turn(struct fixture *fixture)
{
	static const struct timeval turn = {.tv_usec = 5000};

	event_base_loopexit(fixture->base, &turn);
	event_base_dispatch(fixture->base);
}

/* Turns the loop until the condition holds. */
#define WAIT_FOR(fixture, condition)                                                                                   \
	do {                                                                                                           \
		unsigned turns = 0;                                                                                    \
		while (!(condition)) {                                                                                 \
			if (turns++ > DEADLINE_MS / 5)                                                                 \
				fail_msg("waited in vain: %s", #condition);                                            \
			fixture_turn(fixture);                                                                         \
		}                                                                                                      \
	} while (0)

static int fixture_open(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));
	struct problems problems = {0};

	strcpy(fixture->directory, "/tmp/postern-test-client.XXXXXX");
	assert_non_null(mkdtemp(fixture->directory));
	snprintf(fixture->path, sizeof(fixture->path), "%s/%s", fixture->directory, RPC_SOCKET_NAME);
	fixture->base = event_base_new();
	fixture->usable = true;
	fixture->peer = -1;
	log_open(&fixture->log, LOG_LEVEL_ERROR);
	fixture->log.fd = -1;
	peer_listen(fixture);
	assert_int_equal(dataplane_client_open(fixture->base, &fixture->log, fixture->path, &handlers, fixture,
				 &fixture->client, &problems),
		STATUS_OK);
	*state = fixture;
	return 0;
}

static int fixture_close(void **state)
{
	struct fixture *fixture = *state;

	dataplane_client_close(fixture->client);
	event_base_free(fixture->base);
	if (fixture->listener >= 0)
		close(fixture->listener);
	if (fixture->peer >= 0)
		close(fixture->peer);
	unlink(fixture->path);
	rmdir(fixture->directory);
	free(fixture);
	return 0;
}

static void peer_accept(struct fixture *fixture)
{
	if (fixture->peer >= 0)
		close(fixture->peer);
	fixture->peer = -1;
	WAIT_FOR(fixture, (fixture->peer = accept(fixture->listener, NULL, NULL)) >= 0);
}

static void peer_send(struct fixture *fixture, const struct rpc_message *message, bool with_fds)
{
	assert_true(fd_message_send(fixture->peer, message, sizeof(*message), fixture->listener, with_fds ? 2 : 0));
}

static struct rpc_message message_of(uint32_t type)
{
	return (struct rpc_message){.magic = RPC_MAGIC, .version = CONTRACT_VERSION, .type = type};
}

static void peer_hello(struct fixture *fixture)
{
	struct rpc_message hello = message_of(RPC_HELLO);
	unsigned before = fixture->connected_count;

	hello.generation = 7;
	peer_send(fixture, &hello, true);
	WAIT_FOR(fixture, fixture->connected_count == before + 1);
}

/* The next message and its descriptor. */
static struct rpc_message peer_receive(struct fixture *fixture, int *ret_fd)
{
	struct rpc_message message;
	char control[CMSG_SPACE(sizeof(int))] __attribute__((aligned(8)));
	struct iovec part = {.iov_base = &message, .iov_len = sizeof(message)};
	struct msghdr header = {
		.msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control),
	};

	assert_int_equal(recvmsg(fixture->peer, &header, 0), sizeof(message));
	assert_non_null(CMSG_FIRSTHDR(&header));
	memcpy(ret_fd, CMSG_DATA(CMSG_FIRSTHDR(&header)), sizeof(int));
	return message;
}

static void send_policy(struct fixture *fixture, uint64_t generation)
{
	struct problems problems = {0};

	assert_int_equal(
		dataplane_client_send(fixture->client, RPC_POLICY, generation, "12345678", 8, &problems), STATUS_OK);
}

static void peer_ack(struct fixture *fixture, uint32_t type, uint64_t generation)
{
	struct rpc_message ack = message_of(RPC_ACK);

	ack.acked_type = type;
	ack.generation = generation;
	peer_send(fixture, &ack, false);
}

static void a_snapshot_is_sent_and_acknowledged(void **state)
{
	struct fixture *fixture = *state;
	struct rpc_message message;
	struct problems problems = {0};
	struct stat status;
	int fd;

	assert_int_equal(dataplane_client_send(fixture->client, RPC_POLICY, 1, "1", 1, &problems), STATUS_UNREACHABLE);
	peer_accept(fixture);
	peer_hello(fixture);
	assert_int_equal(dataplane_client_hello(fixture->client)->generation, 7);
	send_policy(fixture, 8);
	assert_true(dataplane_client_is_busy(fixture->client, RPC_POLICY));
	assert_false(dataplane_client_is_busy(fixture->client, RPC_ADJACENCY));
	assert_int_equal(dataplane_client_send(fixture->client, RPC_POLICY, 9, "1", 1, &problems), STATUS_REFUSED);
	message = peer_receive(fixture, &fd);
	assert_int_equal(message.type, RPC_POLICY);
	assert_int_equal(message.generation, 8);
	assert_int_equal(fstat(fd, &status), 0);
	assert_int_equal(status.st_size, 8);
	close(fd);
	peer_ack(fixture, RPC_POLICY, 8);
	WAIT_FOR(fixture, fixture->acknowledged_count == 1);
	assert_int_equal(fixture->last_ack.generation, 8);
	assert_false(dataplane_client_is_busy(fixture->client, RPC_POLICY));
}

static void a_lost_connection_is_made_again(void **state)
{
	struct fixture *fixture = *state;

	peer_accept(fixture);
	peer_hello(fixture);
	send_policy(fixture, 8);
	close(fixture->peer);
	fixture->peer = -1;
	WAIT_FOR(fixture, fixture->lost_count == 1);
	assert_false(dataplane_client_is_connected(fixture->client));
	assert_false(dataplane_client_is_busy(fixture->client, RPC_POLICY));
	peer_accept(fixture);
	peer_hello(fixture);
	assert_true(dataplane_client_is_connected(fixture->client));
	assert_string_equal(dataplane_client_error(fixture->client), "");
}

static void the_absent_dataplane_is_named_and_awaited(void **state)
{
	struct fixture *fixture = *state;

	close(fixture->listener);
	unlink(fixture->path);
	WAIT_FOR(fixture, strstr(dataplane_client_error(fixture->client), "No such file") != NULL);
	assert_non_null(strstr(dataplane_client_error(fixture->client), fixture->path));
	peer_listen(fixture);
	peer_accept(fixture);
	peer_hello(fixture);
	assert_true(dataplane_client_is_connected(fixture->client));
}

static void messages_out_of_turn_end_the_connection(void **state)
{
	struct fixture *fixture = *state;
	struct rpc_message hello = message_of(RPC_HELLO);

	peer_accept(fixture);
	peer_ack(fixture, RPC_POLICY, 1);
	WAIT_FOR(fixture, strstr(dataplane_client_error(fixture->client), "did not begin with HELLO") != NULL);
	assert_int_equal(fixture->lost_count, 0);

	peer_accept(fixture);
	peer_hello(fixture);
	peer_ack(fixture, RPC_POLICY, 1);
	WAIT_FOR(fixture, fixture->lost_count == 1);
	assert_non_null(strstr(fixture->why, "was not sent"));

	peer_accept(fixture);
	peer_hello(fixture);
	send_policy(fixture, 8);
	peer_ack(fixture, RPC_POLICY, 7);
	WAIT_FOR(fixture, fixture->lost_count == 2);

	peer_accept(fixture);
	peer_hello(fixture);
	peer_send(fixture, &hello, true);
	WAIT_FOR(fixture, fixture->lost_count == 3);
	assert_non_null(strstr(fixture->why, "second HELLO"));
	assert_int_equal(fixture->acknowledged_count, 0);
}

static void unusable_shared_memory_ends_the_connection(void **state)
{
	struct fixture *fixture = *state;

	fixture->usable = false;
	peer_accept(fixture);
	peer_hello(fixture);
	WAIT_FOR(fixture, !dataplane_client_is_connected(fixture->client));
	assert_non_null(strstr(dataplane_client_error(fixture->client), "shared memory"));
}

static void wanted_neighbours_are_passed_on(void **state)
{
	struct fixture *fixture = *state;
	struct rpc_message wanted = message_of(RPC_NEIGHBOUR);

	peer_accept(fixture);
	peer_hello(fixture);
	wanted.address = 0x0a640002;
	wanted.port = 0;
	peer_send(fixture, &wanted, false);
	WAIT_FOR(fixture, fixture->neighbour_count == 1);
	assert_int_equal(fixture->neighbour, 0x0a640002);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_snapshot_is_sent_and_acknowledged, fixture_open, fixture_close),
		cmocka_unit_test_setup_teardown(a_lost_connection_is_made_again, fixture_open, fixture_close),
		cmocka_unit_test_setup_teardown(the_absent_dataplane_is_named_and_awaited, fixture_open, fixture_close),
		cmocka_unit_test_setup_teardown(messages_out_of_turn_end_the_connection, fixture_open, fixture_close),
		cmocka_unit_test_setup_teardown(
			unusable_shared_memory_ends_the_connection, fixture_open, fixture_close),
		cmocka_unit_test_setup_teardown(wanted_neighbours_are_passed_on, fixture_open, fixture_close),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
