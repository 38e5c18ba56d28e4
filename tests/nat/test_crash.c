/* SPDX-License-Identifier: Apache-2.0 */
/*
 * P5: a process is killed (SIGKILL) at random points under load, again and again; what it leaves in shared memory is
 * taken over, and every session that was established still translates. The core, the signal and the memory are the real
 * ones; only the packets come from the test.
 *
 *   parent: recover → verify → fork → child: open, answer, close, reload … until killed → parent: recover → …
 *
 * CRASH_ROUNDS sets the number of kills (200), CRASH_SEED the seed.
 */
#include "tests/nat/fixture.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { SESSIONS = 16384, JOURNAL_MAX = 6000, CHURN_PORTS = 300, FIRST_PORT = 1000 };

/* What the child has seen established: written before the count, and never taken back. */
struct journal {
	uint32_t count;
	uint64_t packets;
	struct journal_entry {
		uint32_t vni;
		struct seen out; /* as it left */
		uint16_t inside_port;
	} entries[JOURNAL_MAX];
};

struct world {
	struct fixture *fixture;
	struct journal *journal;	  /* shared */
	struct identities *identities[2]; /* shared, two copies like the dataplane's */
	uint32_t *active;		  /* shared */
};

static void *shared(size_t size_bytes)
{
	void *memory = mmap(NULL, size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(memory != MAP_FAILED);
	return memory;
}

static struct description packet(const struct world *world, unsigned number, uint8_t protocol, uint32_t vni)
{
	(void)world;
	return (struct description){
		.vni = vni,
		.vtep = vni == VNI_ACME ? HOST_1 : HOST_2,
		.source = WORKER,
		.destination = number % 3 ? REMOTE : REMOTE_2,
		.source_port = (uint16_t)(FIRST_PORT + number),
		.destination_port = (uint16_t)(443 + number % 2),
		.protocol = protocol,
		.tcp_flags = TCP_SYN,
		.sequence = 1000,
		.payload_bytes = 8,
	};
}

static struct description answer(const struct seen *out)
{
	struct description of = reply_to(out);
	of.tcp_flags = TCP_ACK;
	of.sequence = 7001;
	return of;
}

static bool runs(struct world *world, const struct description *of, struct seen *ret_seen)
{
	struct frame frame;
	world->journal->packets++;
	if (fixture_send(world->fixture, &frame, of) != PACKET_FORWARD)
		return false;
	*ret_seen = frame_read(&frame);
	return true;
}

/* Opens and completes one; then, and not before, it counts. */
static void child_establish(struct world *world)
{
	struct journal *journal = world->journal;
	const unsigned number = journal->count;
	const uint32_t vni = number % 2 ? VNI_ACME : VNI_GLOBEX;
	const uint8_t protocol = number % 4 < 2 ? PROTOCOL_TCP : PROTOCOL_UDP;
	struct description of = packet(world, number, protocol, vni);
	struct journal_entry entry = {.vni = vni, .inside_port = of.source_port};
	struct seen in;
	if (!runs(world, &of, &entry.out) || entry.out.tunnelled)
		return;
	struct description reply = answer(&entry.out);
	reply.tcp_flags = TCP_SYN | TCP_ACK;
	reply.sequence = 7000;
	if (!runs(world, &reply, &in))
		return;
	of.tcp_flags = TCP_ACK;
	of.sequence = 1009;
	if (!runs(world, &of, &in))
		return;
	journal->entries[number] = entry;
	__atomic_store_n(&journal->count, number + 1, __ATOMIC_RELEASE);
}

/* Sessions that come and go: the table is never at rest. */
static void child_churn(struct world *world)
{
	struct description of = packet(world, (unsigned)(random() % CHURN_PORTS), PROTOCOL_TCP, VNI_ACME);
	of.source = WORKER_2;
	if (random() % 2)
		of.protocol = PROTOCOL_UDP;
	struct seen out;
	runs(world, &of, &out);
	of.tcp_flags = TCP_RST;
	of.sequence = 1009;
	if (of.protocol == PROTOCOL_TCP)
		runs(world, &of, &out);
}

static void policy_swap(struct world *world)
{
	struct fixture *fixture = world->fixture;
	const uint32_t fresh = 1 - *world->active;
	memcpy(world->identities[fresh], world->identities[1 - fresh], identities_size());
	fixture->identities = world->identities[fresh];
	void *old =
		fixture->tables_count > 2 ? fixture->tables_memory[2] : NULL; /* after the first and the adjacency */
	fixture->tables_count = 2;
	fixture_apply(fixture);
	free(old);
	__atomic_store_n(world->active, fresh, __ATOMIC_RELEASE);
}

static void child_run(struct world *world, unsigned seed)
{
	srandom(seed);
	for (uint64_t i = 0;; i++) {
		if (world->journal->count < JOURNAL_MAX && i % 3 == 0)
			child_establish(world);
		else
			child_churn(world);
		if (i % 16 == 0)
			fixture_pass(world->fixture, SECOND_NS / 5);
		if (i % 100 == 99)
			policy_swap(world);
	}
}

static void take_over(struct world *world)
{
	struct fixture *fixture = world->fixture;
	for (unsigned i = 0; i < sizeof(fixture->config.secret); i++)
		fixture->config.secret[i] = (uint8_t)random();
	fixture->identities = world->identities[*world->active];
	assert_true(identities_sound(fixture->identities));
	fixture_recover(fixture);
	policy_swap(world);
}

/* Returns how many there were. */
static uint32_t verify(struct world *world)
{
	const struct journal *journal = world->journal;
	for (uint32_t i = 0; i < journal->count; i++) {
		const struct journal_entry *entry = &journal->entries[i];
		const struct description reply = answer(&entry->out);
		struct seen in;
		if (!runs(world, &reply, &in))
			fail_msg("session %u of %u is lost", i, journal->count);
		assert_int_equal(in.vni, entry->vni);
		assert_int_equal(in.destination_port, entry->inside_port);
	}
	assert_int_equal(world->fixture->counters->shards[0].guard_violations, 0);
	return journal->count;
}

static void p5_established_sessions_survive_kills_at_random_points(void **state)
{
	(void)state;
	const unsigned rounds = getenv("CRASH_ROUNDS") != NULL ? (unsigned)atoi(getenv("CRASH_ROUNDS")) : 200;
	const unsigned seed =
		getenv("CRASH_SEED") != NULL ? (unsigned)atoi(getenv("CRASH_SEED")) : (unsigned)time(NULL);
	print_message("# seed %u, %u kills\n", seed, rounds);
	struct world world = {.fixture = fixture_new(SESSIONS), .journal = shared(sizeof(struct journal))};
	struct fixture *fixture = world.fixture;
	struct session *private_sessions = fixture->sessions_memory;
	struct identities *private_identities = fixture->identities;
	void *private_shard = fixture->shard_memory;
	const size_t shard_bytes = nat_shard_size(&fixture->config);
	world.active = shared(sizeof(*world.active));
	for (unsigned copy = 0; copy < 2; copy++)
		world.identities[copy] = shared(identities_size());
	memcpy(world.identities[0], private_identities, identities_size());
	fixture->config.sessions = shared(SESSIONS * sizeof(struct session));
	/* Made anew by each process; shared, only lest every fork and every death make thousands of copies of pages. */
	fixture->shard_memory = shared(shard_bytes);
	uint64_t verified = 0;
	srandom(seed);
	for (unsigned round = 0; round < rounds; round++) {
		take_over(&world);
		verified += verify(&world);
		if (world.journal->count > JOURNAL_MAX / 2) { /* a new start, lest verifying becomes the test */
			world.journal->count = 0;
			memset(fixture->config.sessions, 0, SESSIONS * sizeof(struct session));
			take_over(&world);
		}
		const unsigned child_seed = (unsigned)random();
		const pid_t child = fork();
		assert_true(child >= 0);
		if (child == 0)
			child_run(&world, child_seed);
		const struct timespec wait = {.tv_nsec = 200000 + random() % 8000000};
		nanosleep(&wait, NULL);
		kill(child, SIGKILL);
		int status;
		assert_int_equal(waitpid(child, &status, 0), child);
		assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL); /* not by a CHECK of its own */
	}
	take_over(&world);
	verified += verify(&world);
	print_message("# %llu packets; %llu times a session was verified\n", (unsigned long long)world.journal->packets,
		(unsigned long long)verified);
	assert_true(verified > rounds); /* or none was ever established, and nothing has been shown */
	/* P10: all of them end, in the end. */
	fixture_pass(fixture, 8000 * SECOND_NS);
	assert_int_equal(fixture->counters->shards[0].sessions_active, 0);
	assert_int_equal(fixture->shard->inside.count + fixture->shard->outside.count, 0);
	munmap(fixture->config.sessions, SESSIONS * sizeof(struct session));
	for (unsigned copy = 0; copy < 2; copy++)
		munmap(world.identities[copy], identities_size());
	munmap(fixture->shard_memory, shard_bytes);
	fixture->identities = private_identities;
	fixture->shard_memory = private_shard;
	fixture->sessions_memory = private_sessions;
	munmap(world.journal, sizeof(struct journal));
	munmap(world.active, sizeof(*world.active));
	fixture_free(fixture);
}

int main(void)
{
	cmocka_set_message_output(CM_OUTPUT_TAP);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(p5_established_sessions_survive_kills_at_random_points),
	};
	return cmocka_run_group_tests_name("crash", tests, NULL, NULL);
}
