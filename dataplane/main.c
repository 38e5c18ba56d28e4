/* SPDX-License-Identifier: Apache-2.0 */
/*
 * postern-dataplane: the packet process. The main lcore is the control thread: it serves the socket, builds and swaps
 * tables, watches the ports, and never touches a packet. The other lcores run the shards (io/forward.c).
 *
 * Order at start: lock and shared memory, then the socket; ports and shards come with the first policy. Until then no
 * packet is received at all, and until the policy is in force every packet is dropped (P3).
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <rte_eal.h>
#include <rte_lcore.h>

#include "control/notify.h"
#include "control/privileges.h"
#include "dataplane/io/clock.h"
#include "dataplane/io/eal.h"
#include "dataplane/io/forward.h"
#include "dataplane/io/handover.h"
#include "dataplane/io/options.h"
#include "dataplane/io/port.h"
#include "dataplane/io/region.h"
#include "dataplane/io/view.h"
#include "dataplane/ipc/counters_file.h"
#include "dataplane/ipc/server.h"
#include "dataplane/ipc/sessions_file.h"
#include "dataplane/ipc/snapshot.h"
#include "dataplane/nat/check.h"
#include "dataplane/nat/nat.h"

enum {
	EXIT_OK = 0,
	EXIT_FAILED = 1,
	EXIT_USAGE = 2,

	TICK_MS = 100, /* of the control loop */
	TICKS_PER_PORT_WATCH = 10,
};

/* Of tables that are built anew beside those in force. */
struct tables_memory {
	struct region in_force, other;
};

struct dataplane {
	struct options options;
	char steer_object[PATH_MAX];
	uint32_t shard_count;
	int signal_fd;
	bool stop;
	int exit_code;

	struct server server;
	struct counters_file counters;
	struct sessions_file_map sessions;
	struct view view;
	struct ports ports;
	bool running;	    /* the shards are */
	bool sessions_kept; /* the session file is an earlier process's */

	struct tables_memory policy, adjacency;
	struct region shard_memory[SHARD_COUNT_MAX];
	struct handover handover;
	struct forward forwards[SHARD_COUNT_MAX];
};

__attribute__((format(printf, 1, 2))) static void say(const char *format, ...)
{
	char text[512];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	fprintf(stderr, "postern-dataplane: %s\n", text);
}

/* In the build tree the program is found beside this one, else where it is installed. */
static void steer_object_find(char ret_path[PATH_MAX])
{
	char program[PATH_MAX];
	ssize_t length = readlink("/proc/self/exe", program, sizeof(program) - 1);
	char *slash;

	if (length > 0) {
		program[length] = '\0';
		slash = strrchr(program, '/');
		if (slash != NULL)
			*slash = '\0';
		if (snprintf(ret_path, PATH_MAX, "%s/../bpf/steer.bpf.o", program) < PATH_MAX &&
			access(ret_path, R_OK) == 0)
			return;
	}
	snprintf(ret_path, PATH_MAX, "%s", POSTERN_STEER_OBJECT_INSTALLED);
}

/*
 * DPDK opens the program when the ports are opened, by its name. By then modes count for us, too, and the way to it may
 * be closed to everybody but its user, such as a home directory: so it is opened now, and named by its descriptor.
 */
static void steer_object_hold(struct dataplane *dataplane)
{
	const char *given = dataplane->options.steer_object;
	int fd;

	if (given != NULL)
		snprintf(dataplane->steer_object, sizeof(dataplane->steer_object), "%s", given);
	else
		steer_object_find(dataplane->steer_object);
	fd = open(dataplane->steer_object, O_RDONLY | O_CLOEXEC);
	if (fd >= 0)
		snprintf(dataplane->steer_object, sizeof(dataplane->steer_object), "/proc/self/fd/%d", fd);
}

/* ---- privileges ---- */

/*
 * CAP_NET_ADMIN, CAP_NET_RAW: interfaces and AF_XDP sockets. CAP_IPC_LOCK: their memory, and huge pages. CAP_BPF,
 * CAP_PERFMON: the steering program, which the kernel verifies with both alone (it copies parts of pointers).
 */
static const cap_value_t capabilities_needed[] = {CAP_NET_ADMIN, CAP_NET_RAW, CAP_IPC_LOCK, CAP_BPF, CAP_PERFMON};

/* Before EAL makes threads, and before anything in the run directory is touched. False: `ret_text` says why. */
static bool privileges_reduce(const struct options *options, char *ret_text)
{
	enum { NEEDED_COUNT = sizeof(capabilities_needed) / sizeof(capabilities_needed[0]) };
	cap_value_t kept[NEEDED_COUNT + OPTIONS_CAPABILITY_COUNT_MAX];
	char text[PRIVILEGES_TEXT_SIZE_BYTES];

	memcpy(kept, capabilities_needed, sizeof(capabilities_needed));
	for (uint32_t i = 0; i < options->kept_capability_count; i++) {
		if (privileges_parse(options->kept_capabilities[i], &kept[NEEDED_COUNT + i]))
			continue;
		snprintf(ret_text, NAT_TEXT_SIZE_BYTES, "--keep-capability: “%.40s” is no capability",
			options->kept_capabilities[i]);
		return false;
	}
	if (privileges_lack(kept, NEEDED_COUNT + options->kept_capability_count, text)) {
		snprintf(ret_text, NAT_TEXT_SIZE_BYTES,
			"no permission (%.64s missing): start it as root, or with CAP_NET_ADMIN, CAP_NET_RAW, CAP_BPF, "
			"CAP_PERFMON and CAP_IPC_LOCK",
			text);
		return false;
	}
	if (!privileges_keep(kept, NEEDED_COUNT + options->kept_capability_count, text)) {
		snprintf(ret_text, NAT_TEXT_SIZE_BYTES, "%.190s", text);
		return false;
	}
	return true;
}

/* ---- shards ---- */

static bool shards_create(struct dataplane *dataplane, char *ret_text)
{
	uint64_t now_ns = clock_monotonic_ns();
	struct nat_config config = {
		.shard_count = dataplane->shard_count,
		.sessions_max = dataplane->options.sessions_max,
		.now_ns = now_ns,
		.origin_ns = now_ns,
		.recover = dataplane->sessions_kept,
		.identities =
			sessions_file_identities(&dataplane->sessions, dataplane->sessions.file->identities_active),
		.hand_over = dataplane->shard_count > 1,
		.all_counters = dataplane->counters.counters->shards,
	};
	uint32_t recovered = 0;

	if (!handover_open(&dataplane->handover, dataplane->shard_count, ret_text))
		return false;
	if (dataplane->sessions_kept && dataplane->sessions.file->tick_origin_monotonic_ns <= now_ns)
		config.origin_ns = dataplane->sessions.file->tick_origin_monotonic_ns;

	if (getrandom(config.secret, sizeof(config.secret), 0) != (ssize_t)sizeof(config.secret)) {
		snprintf(ret_text, NAT_TEXT_SIZE_BYTES, "the kernel gives no random numbers: %s", strerror(errno));
		return false;
	}
	dataplane->sessions.file->tick_origin_monotonic_ns = config.origin_ns;
	dataplane->counters.counters->sessions_max = config.sessions_max;
	for (uint32_t i = 0; i < dataplane->shard_count; i++) {
		struct forward *forward = &dataplane->forwards[i];

		config.shard_index = i;
		config.sessions = sessions_file_shard(&dataplane->sessions, i);
		config.counters = &dataplane->counters.counters->shards[i];
		config.spare = forward_spare;
		config.spare_context = forward;
		if (!region_allocate(nat_shard_size(&config), &dataplane->shard_memory[i])) {
			snprintf(ret_text, NAT_TEXT_SIZE_BYTES,
				"no memory for a shard of %u sessions: lower --sessions", config.sessions_max);
			return false;
		}
		forward->shard = nat_shard_init(dataplane->shard_memory[i].memory, &config);
		CHECK(forward->shard != NULL);
		recovered += nat_recovered(forward->shard);
		forward->view = &dataplane->view;
		forward->counters = config.counters;
		forward->shard_index = i;
		forward->handover = &dataplane->handover;
		forward->idle_sleep_us = dataplane->options.idle_sleep_us;
	}
	explicit_bzero(&config, sizeof(config));
	if (dataplane->sessions_kept)
		say("%u sessions of an earlier process go on", recovered);
	return true;
}

static void shards_run(struct dataplane *dataplane)
{
	struct counters *counters = dataplane->counters.counters;
	unsigned lcore_id = rte_get_next_lcore(-1, 1, 0);

	for (uint32_t i = 0; i < dataplane->shard_count; i++) {
		forward_set_ports(&dataplane->forwards[i], &dataplane->ports, dataplane->shard_count);
		CHECK(forward_start(&dataplane->forwards[i], lcore_id));
		lcore_id = rte_get_next_lcore(lcore_id, 1, 0);
	}
	dataplane->running = true;
	for (unsigned i = 0; i < PORT_COUNT; i++)
		memcpy(counters->port_device[i], dataplane->ports.ports[i].driver, sizeof(counters->port_device[i]));
	counters->port_count = PORT_COUNT;
}

static void shards_stop(struct dataplane *dataplane)
{
	for (uint32_t i = 0; dataplane->running && i < dataplane->shard_count; i++)
		forward_stop(&dataplane->forwards[i]);
	dataplane->running = false;
}

/* ---- what posternd sends ---- */

static enum rpc_status ports_apply(struct dataplane *dataplane, const struct policy_snapshot *snapshot, char *ret_text)
{
	const struct ports_host host = {
		.run_dir = dataplane->options.run_dir,
		.steer_object = dataplane->steer_object,
		.frame_bytes = dataplane->options.frame_bytes,
	};

	if (ports_are_open(&dataplane->ports)) {
		if (ports_match(&dataplane->ports, snapshot->ports))
			return RPC_OK;
		snprintf(ret_text, NAT_TEXT_SIZE_BYTES, "ports changed: restart postern-dataplane to take them");
		return RPC_NO_PORT;
	}
	if (!ports_open(&dataplane->ports, snapshot->ports, &host, ret_text))
		return RPC_NO_PORT;
	shards_run(dataplane);
	say("ports open: %s (%s) and %s (%s)", dataplane->ports.ports[PORT_INSIDE].device.name,
		dataplane->ports.ports[PORT_INSIDE].driver, dataplane->ports.ports[PORT_OUTSIDE].device.name,
		dataplane->ports.ports[PORT_OUTSIDE].driver);
	return RPC_OK;
}

/* What was built is in force, and nobody looks at the others any more. */
static void tables_memory_swap(struct tables_memory *tables)
{
	const struct region before = tables->in_force;

	tables->in_force = tables->other;
	tables->other = before;
}

static void tables_memory_free(struct tables_memory *tables)
{
	region_free(&tables->in_force);
	region_free(&tables->other);
}

static enum rpc_status policy_apply(
	struct dataplane *dataplane, const struct snapshot *received, uint64_t generation, char *ret_text)
{
	const struct policy_snapshot *snapshot = received->block;
	/* Built on the copy that is not in force: whoever dies in between leaves the other one whole. */
	const uint32_t fresh = 1 - dataplane->sessions.file->identities_active;
	struct identities *identities = sessions_file_identities(&dataplane->sessions, fresh);
	struct counters *counters = dataplane->counters.counters;
	struct policy_tables *tables;
	enum rpc_status status;

	if (!policy_snapshot_check(received->block, received->size_bytes, ret_text))
		return RPC_REFUSED;
	if (snapshot->generation != generation) {
		snprintf(ret_text, NAT_TEXT_SIZE_BYTES, "the message and its policy differ in the generation");
		return RPC_REFUSED;
	}
	status = ports_apply(dataplane, snapshot, ret_text);
	if (status != RPC_OK)
		return status;
	if (!region_renew(&dataplane->policy.other, policy_tables_size(snapshot))) {
		snprintf(ret_text, NAT_TEXT_SIZE_BYTES, "no memory for the policy's tables");
		return RPC_REFUSED;
	}
	memcpy(identities, sessions_file_identities(&dataplane->sessions, 1 - fresh), identities_size());
	tables = policy_tables_build(dataplane->policy.other.memory, identities, snapshot, ret_text);
	if (tables == NULL)
		return RPC_REFUSED;
	__atomic_store_n(&dataplane->sessions.file->identities_active, fresh, __ATOMIC_RELEASE);
	/* Before the swap: a slot's new owner counts from 0, and no shard counts for it yet. */
	identities_publish(identities, counters);
	view_replace_policy(&dataplane->view, tables);
	tables_memory_swap(&dataplane->policy);
	counters->policy_generation = generation;
	counters->policy_swaps++;
	return RPC_OK;
}

static enum rpc_status adjacency_apply(
	struct dataplane *dataplane, const struct snapshot *received, uint64_t generation, char *ret_text)
{
	const struct adjacency_snapshot *snapshot = received->block;

	if (!adjacency_snapshot_check(received->block, received->size_bytes, ret_text))
		return RPC_REFUSED;
	if (snapshot->generation != generation) {
		snprintf(ret_text, NAT_TEXT_SIZE_BYTES, "the message and its adjacency differ in the generation");
		return RPC_REFUSED;
	}
	if (!region_renew(&dataplane->adjacency.other, adjacency_tables_size(snapshot))) {
		snprintf(ret_text, NAT_TEXT_SIZE_BYTES, "no memory for the adjacency's tables");
		return RPC_REFUSED;
	}
	view_replace_adjacency(&dataplane->view, adjacency_tables_build(dataplane->adjacency.other.memory, snapshot));
	tables_memory_swap(&dataplane->adjacency);
	dataplane->counters.counters->adjacency_generation = generation;
	return RPC_OK;
}

static void request_apply(struct dataplane *dataplane, const struct rpc_message *request, int fd)
{
	struct rpc_message ack = server_message(RPC_ACK);
	struct snapshot snapshot = {};
	char text[NAT_TEXT_SIZE_BYTES] = "";

	ack.generation = request->generation;
	ack.acked_type = request->type;
	if (!snapshot_copy(fd, &snapshot, text))
		ack.status = RPC_REFUSED;
	else if (request->type == RPC_POLICY)
		ack.status = policy_apply(dataplane, &snapshot, request->generation, text);
	else
		ack.status = adjacency_apply(dataplane, &snapshot, request->generation, text);
	snapshot_free(&snapshot);
	close(fd);
	if (ack.status != RPC_OK) {
		memcpy(ack.text, text, sizeof(ack.text));
		say("%s %llu is not in force: %s", request->type == RPC_POLICY ? "policy" : "adjacency",
			(unsigned long long)request->generation, text);
		dataplane->counters.counters->policy_refusals += request->type == RPC_POLICY;
	}
	server_send(&dataplane->server, &ack);
}

/* ---- the control loop ---- */

static void client_accept(struct dataplane *dataplane)
{
	const struct counters *counters = dataplane->counters.counters;
	const int fds[2] = {dataplane->counters.fd, dataplane->sessions.read_only_fd};
	struct rpc_message hello = server_message(RPC_HELLO);

	hello.generation = counters->policy_generation;
	hello.adjacency_generation = counters->adjacency_generation;
	hello.shard_count = dataplane->shard_count;
	hello.process_id = counters->process_id;
	server_accept(&dataplane->server, &hello, fds);
}

static void client_serve(struct dataplane *dataplane)
{
	uint64_t violations = dataplane->server.violations;
	struct rpc_message request;
	int fd;

	if (server_receive(&dataplane->server, &request, &fd))
		request_apply(dataplane, &request, fd);
	if (dataplane->server.violations != violations)
		say("a client sent what is no message of ours and was disconnected (%llu so far)",
			(unsigned long long)dataplane->server.violations);
}

/* One a tick, so that a scan of a subnet does not become a storm of ARP. Without a client they wait in the shard. */
static void neighbours_report(struct dataplane *dataplane)
{
	struct rpc_message message = server_message(RPC_NEIGHBOUR);

	if (dataplane->server.client_fd < 0)
		return;
	for (uint32_t i = 0; i < dataplane->shard_count; i++) {
		if (nat_wanted_neighbour(dataplane->forwards[i].shard, &message.address, &message.port))
			server_send(&dataplane->server, &message);
	}
}

static void ports_watch(struct dataplane *dataplane)
{
	char text[NAT_TEXT_SIZE_BYTES];

	for (unsigned i = 0; i < PORT_COUNT; i++)
		dataplane->counters.counters->port_missed[i] = ports_missed(&dataplane->ports, i);
	if (!ports_lost(&dataplane->ports, text))
		return;
	say("%s: ending, so that the service manager starts a new process on the new interface", text);
	dataplane->exit_code = EXIT_FAILED;
	dataplane->stop = true;
}

static void control_loop(struct dataplane *dataplane)
{
	struct counters *counters = dataplane->counters.counters;
	bool watchdog = notify_watchdog_wanted();
	uint64_t tick_ns = 0;
	unsigned ticks = 0;

	while (!dataplane->stop) {
		struct pollfd fds[] = {
			{.fd = dataplane->signal_fd, .events = POLLIN},
			{.fd = dataplane->server.listen_fd, .events = POLLIN},
			{.fd = dataplane->server.client_fd, .events = POLLIN},
		};
		uint64_t now_ns;

		if (poll(fds, sizeof(fds) / sizeof(fds[0]), TICK_MS) < 0 && errno != EINTR)
			break;
		if (fds[0].revents != 0)
			dataplane->stop = true;
		if (fds[2].revents != 0)
			client_serve(dataplane);
		if (fds[1].revents != 0)
			client_accept(dataplane);
		now_ns = clock_monotonic_ns();
		counters->heartbeat_monotonic_ns = now_ns;
		if (now_ns - tick_ns < TICK_MS * 1000000ull)
			continue;
		tick_ns = now_ns;
		neighbours_report(dataplane);
		if (++ticks % TICKS_PER_PORT_WATCH != 0)
			continue;
		ports_watch(dataplane);
		if (watchdog)
			notify_send("WATCHDOG=1");
	}
}

/* ---- start and end ---- */

/* Blocked before EAL makes its threads, which inherit that; read by the control loop. */
static int signals_open(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	if (sigprocmask(SIG_BLOCK, &set, NULL) != 0)
		return -1;
	/* A log that nobody reads any more is no reason to stop forwarding. */
	(void)signal(SIGPIPE, SIG_IGN);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* The file of an earlier process, or a new one. */
static bool sessions_open(struct dataplane *dataplane, char *ret_text)
{
	const struct options *options = &dataplane->options;
	char text[NAT_TEXT_SIZE_BYTES];

	dataplane->sessions_kept = sessions_file_reopen(
		options->run_dir, dataplane->shard_count, options->sessions_max, &dataplane->sessions, text);
	if (dataplane->sessions_kept)
		return true;
	if (text[0] != '\0')
		say("%s", text);
	return sessions_file_create(
		options->run_dir, dataplane->shard_count, options->sessions_max, &dataplane->sessions, ret_text);
}

/* Everything but the ports. What is open when it fails goes with the process. */
static bool dataplane_open(struct dataplane *dataplane, char *ret_text)
{
	const struct options *options = &dataplane->options;

	dataplane->shard_count = RTE_MIN(rte_lcore_count() - 1, (unsigned)SHARD_COUNT_MAX);
	if (dataplane->shard_count == 0) {
		snprintf(ret_text, NAT_TEXT_SIZE_BYTES,
			"one core is not enough: give the control thread and the shard one each, such as -l 0,1");
		return false;
	}
	if (!view_open(&dataplane->view)) {
		snprintf(ret_text, NAT_TEXT_SIZE_BYTES, "out of memory");
		return false;
	}
	if (!counters_file_open(dataplane->shard_count, &dataplane->counters, ret_text) ||
		!sessions_open(dataplane, ret_text))
		return false;
	if (!dataplane->sessions.in_memory)
		say("%s is on a disk: sessions are written to it all the time; a tmpfs such as /run suits better",
			options->run_dir);
	return shards_create(dataplane, ret_text);
}

static void dataplane_close(struct dataplane *dataplane)
{
	shards_stop(dataplane);
	handover_close(&dataplane->handover);
	ports_close(&dataplane->ports);
	tables_memory_free(&dataplane->policy);
	tables_memory_free(&dataplane->adjacency);
	for (uint32_t i = 0; i < dataplane->shard_count; i++)
		region_free(&dataplane->shard_memory[i]);
	view_close(&dataplane->view);
	sessions_file_close(&dataplane->sessions);
	counters_file_close(&dataplane->counters);
	server_close(&dataplane->server);
	close(dataplane->signal_fd);
}

static int dataplane_run(struct dataplane *dataplane)
{
	char text[NAT_TEXT_SIZE_BYTES] = "", held[PRIVILEGES_TEXT_SIZE_BYTES];
	enum eal_result eal;

	dataplane->signal_fd = signals_open();
	if (dataplane->signal_fd < 0) {
		say("no descriptor for signals: %s", strerror(errno));
		return EXIT_FAILED;
	}
	steer_object_hold(dataplane);
	/* Then the lock: nothing of a live predecessor may be touched. */
	if (!privileges_reduce(&dataplane->options, text) ||
		!server_open(&dataplane->server, dataplane->options.run_dir, text)) {
		say("%s", text);
		return EXIT_FAILED;
	}
	eal = eal_start(&dataplane->options, text);
	if (text[0] != '\0')
		say("%s", text);
	if (eal != EAL_OK) {
		server_close(&dataplane->server);
		return eal == EAL_USAGE ? EXIT_USAGE : EXIT_FAILED;
	}
	if (!dataplane_open(dataplane, text)) {
		say("%s", text);
		server_close(&dataplane->server);
		return EXIT_FAILED;
	}
	privileges_describe(held);
	say("running with the capabilities %.300s and no others", held);
	say("ready on %s, waiting for a policy", dataplane->server.address.sun_path);
	notify_send("READY=1");
	control_loop(dataplane);
	notify_send("STOPPING=1");
	dataplane_close(dataplane);
	rte_eal_cleanup();
	return dataplane->exit_code;
}

int main(int argc, char *argv[])
{
	char text[NAT_TEXT_SIZE_BYTES];
	struct dataplane *dataplane;
	struct options options;
	int exit_code;

	if (!options_parse(argc, argv, &options, text)) {
		say("%s", text);
		return EXIT_USAGE;
	}
	if (options.help || options.version) {
		fputs(options.help ? options_help() : "postern-dataplane " POSTERN_VERSION "\n", stdout);
		return EXIT_OK;
	}
	dataplane = calloc(1, sizeof(*dataplane));
	if (dataplane == NULL) {
		say("out of memory");
		return EXIT_FAILED;
	}
	dataplane->options = options;
	exit_code = dataplane_run(dataplane);
	free(dataplane);
	return exit_code;
}
