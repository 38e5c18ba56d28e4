/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the BPF programs cost: each by the kernel's own timing of many runs (BPF_PROG_TEST_RUN), the classifier with few
 * and with many workers in its maps. And a real path, veth → classifier → VXLAN → veth, beside the same path with tc's
 * u32 and mirred in the classifier's place. Needs root; happens in a network namespace of its own.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <linux/pkt_cls.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "bpf/maps.h"
#include "bpf/steer.skel.h"
#include "bpf/worker.skel.h"
#include "tools/bench/run.h"

enum {
	WORKER = 0x0a000005,
	REMOTE = 0xc0000201,
	GATEWAY = 0x0a640001,
	HOST = 0x0a640002,
	VNI = 7001,
	FRAME_BYTES = 80,
	ETHERNET_BYTES = 14,
	REPEAT = 200000,
	ROUNDS = 5,
	PATH_BATCH = 64,
	PATH_PACKETS = 64 * 1500,
	FIRST_ABSENT_IFINDEX = 1000000,
};

/* One worker that sends, and as many more as the scenario wants in the maps. */
struct host {
	struct worker_bpf *worker;
	struct steer_bpf *steer;
	uint32_t worker_ifindex, vxlan_ifindex;
	uint32_t worker_count;
};

static bool command(const char *line, char *ret_text)
{
	if (system(line) == 0)
		return true;
	snprintf(ret_text, BENCH_TEXT_SIZE_BYTES, "this command failed: %.200s", line);
	return false;
}

static void put16(uint8_t *at, unsigned value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

static void put32(uint8_t *at, uint32_t value)
{
	put16(at, value >> 16);
	put16(at + 2, value);
}

/* A UDP packet of the worker; nobody checks its checksums on this way. */
static void frame_fill(uint8_t frame[FRAME_BYTES], uint32_t source, uint32_t destination, uint16_t port)
{
	uint8_t *ip = frame + ETHERNET_BYTES, *udp = ip + 20;

	memset(frame, 0, FRAME_BYTES);
	frame[0] = frame[6] = 2;
	frame[11] = 5;
	put16(frame + 12, 0x0800);
	ip[0] = 0x45;
	put16(ip + 2, FRAME_BYTES - ETHERNET_BYTES);
	ip[8] = 64;
	ip[9] = 17;
	put32(ip + 12, source);
	put32(ip + 16, destination);
	put16(udp, 40000);
	put16(udp + 2, port);
	put16(udp + 4, FRAME_BYTES - ETHERNET_BYTES - 20);
}

/* ---- the host ---- */

static bool set(const struct bpf_map *map, const void *key, const void *value)
{
	return bpf_map_update_elem(bpf_map__fd(map), key, value, BPF_ANY) == 0;
}

static bool host_add_worker(const struct host *host, uint32_t ifindex, uint32_t vni)
{
	const struct worker_value worker = {
		.address_be = htonl(WORKER), .vtep_be = htonl(HOST), .vni = vni, .workspace_index = 0};
	const struct delivery_key key = {.vni = vni, .address_be = htonl(WORKER)};
	const struct delivery_value delivery = {.ifindex = ifindex};

	return set(host->worker->maps.workers, &ifindex, &worker) &&
	       set(host->worker->maps.deliveries, &key, &delivery);
}

static bool host_set_workspace(const struct host *host, const struct workspace_value *value)
{
	uint32_t zero = 0;

	return set(host->worker->maps.workspaces, &zero, value);
}

static bool host_fill(struct host *host, uint32_t worker_count, char *ret_text)
{
	const struct worker_config config = {.vxlan_ifindex = host->vxlan_ifindex, .vtep_be = htonl(HOST)};
	const struct workspace_value workspace = {.gateway_be = htonl(GATEWAY)};
	const __be32 gateway_be = htonl(GATEWAY);
	uint32_t zero = 0;
	uint8_t one = 1;
	bool filled = set(host->worker->maps.worker_config, &zero, &config) &&
		      set(host->worker->maps.gateways, &gateway_be, &one) && host_set_workspace(host, &workspace) &&
		      host_add_worker(host, host->worker_ifindex, VNI);

	for (; filled && host->worker_count + 1 < worker_count; host->worker_count++)
		filled = host_add_worker(host, FIRST_ABSENT_IFINDEX + host->worker_count, VNI + 1 + host->worker_count);
	if (!filled)
		snprintf(ret_text, BENCH_TEXT_SIZE_BYTES, "the classifier's maps can not be filled: %s",
			strerror(errno));
	return filled;
}

static bool host_open(struct host *ret_host, char *ret_text)
{
	struct host host = {0};

	if (unshare(CLONE_NEWNET) != 0) {
		snprintf(ret_text, BENCH_TEXT_SIZE_BYTES, "no network namespace: %s: run it as root", strerror(errno));
		return false;
	}
	if (!command("ip link set lo up && ip link add pbw type veth peer name pbw-peer && ip link set pbw up && "
		     "ip link set pbw-peer up && ip link add pbu type veth peer name pbu-peer && ip link set pbu up && "
		     "ip link set pbu-peer up && ip addr add 10.100.0.2/24 dev pbu && "
		     "ip neigh add 10.100.0.1 lladdr 02:bb:00:00:00:01 dev pbu && "
		     "ip link add pbx type vxlan external dstport 4789 && ip link set pbx up && "
		     "ip link add pbf type vxlan id 7001 local 10.100.0.2 remote 10.100.0.1 dstport 4790 nolearning && "
		     "ip link set pbf up",
		    ret_text))
		return false;
	libbpf_set_print(NULL);
	host.worker_ifindex = if_nametoindex("pbw");
	host.vxlan_ifindex = if_nametoindex("pbx");
	host.worker = worker_bpf__open_and_load();
	host.steer = steer_bpf__open_and_load();
	if (host.worker == NULL || host.steer == NULL) {
		snprintf(ret_text, BENCH_TEXT_SIZE_BYTES, "the kernel refuses the programs: %s: run it as root",
			strerror(errno));
		worker_bpf__destroy(host.worker);
		steer_bpf__destroy(host.steer);
		return false;
	}
	*ret_host = host;
	return true;
}

static void host_close(struct host *host)
{
	worker_bpf__destroy(host->worker);
	steer_bpf__destroy(host->steer);
}

/* ---- programs by themselves ---- */

/* Best of some rounds, in ns; negative: not run, or not with this verdict. */
static double time_program(int program_fd, const uint8_t *frame, const struct __sk_buff *context, uint32_t verdict)
{
	uint8_t out[2 * FRAME_BYTES];
	double best_ns = -1;

	for (int round = 0; round < ROUNDS; round++) {
		struct __sk_buff in = context != NULL ? *context : (struct __sk_buff){0};
		LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_size_in = FRAME_BYTES, .data_out = out,
			.data_size_out = sizeof(out), .repeat = REPEAT);

		if (context != NULL) {
			opts.ctx_in = &in;
			opts.ctx_size_in = sizeof(in);
		}
		if (bpf_prog_test_run_opts(program_fd, &opts) != 0 || opts.retval != verdict)
			return -1;
		if (best_ns < 0 || opts.duration < best_ns)
			best_ns = opts.duration;
	}
	return best_ns;
}

static bool add_time(struct result *result, const char *name, double ns, char *ret_text)
{
	if (ns < 0) {
		snprintf(ret_text, BENCH_TEXT_SIZE_BYTES, "%s: the program did not decide as it should", name);
		return false;
	}
	result_add(result, name, ns);
	return true;
}

/* No tunnel key, no check: the least that gets a packet to the device. */
static double time_redirect(const struct host *host, const uint8_t *frame, const struct __sk_buff *context)
{
	const struct bpf_insn program[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_1, .imm = (int)host->vxlan_ifindex},
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_2},
		{.code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_redirect},
		{.code = BPF_JMP | BPF_EXIT},
	};
	int fd = bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "redirect", "GPL", program, 4, NULL);
	double ns = fd < 0 ? -1 : time_program(fd, frame, context, TC_ACT_REDIRECT);

	if (fd >= 0)
		close(fd);
	return ns;
}

/* An allow-list of two rules and both limits, none of which is reached. */
static bool set_rules_and_limits(const struct host *host)
{
	const struct rule_key key = {
		.prefix_length_bits = 32 + 24, .set_be = htonl(1), .address_be = htonl(REMOTE & ~255u)};
	const struct rule_region region = {
		.entry_count = 2,
		.verdict = RULE_DENY,
		.entries = {{.protocol = 6, .port_first = 443, .port_last = 443, .verdict = RULE_ALLOW},
			{.protocol = 17, .port_first = 53, .port_last = 53, .verdict = RULE_ALLOW}},
	};
	const struct workspace_value workspace = {
		.gateway_be = htonl(GATEWAY),
		.rule_set = 1,
		.packet_cost_ns = 1,
		.packet_burst_ns = 1000000000,
		.byte_cost_1024 = 1,
		.byte_burst_ns = 1000000000,
	};

	return set(host->worker->maps.rules, &key, &region) && host_set_workspace(host, &workspace);
}

static bool time_programs(struct host *host, struct result *result, char *ret_text)
{
	static const struct {
		uint32_t workers;
		const char *name;
	} sizes[] = {{10, "worker_ingress_10_workers_ns"}, {1000, "worker_ingress_1000_workers_ns"},
		{100000, "worker_ingress_100000_workers_ns"}};
	const struct __sk_buff context = {.ifindex = host->worker_ifindex};
	int ingress = bpf_program__fd(host->worker->progs.worker_ingress);
	const struct steer_config steer = {.role = STEER_ROLE_INSIDE, .vxlan_port_be = htons(WORKER_VXLAN_PORT)};
	uint8_t frame[FRAME_BYTES], spoofed[FRAME_BYTES], vxlan[FRAME_BYTES];
	uint32_t zero = 0;

	frame_fill(frame, WORKER, REMOTE, 53);
	frame_fill(spoofed, WORKER + 1, REMOTE, 53);
	frame_fill(vxlan, REMOTE, HOST, WORKER_VXLAN_PORT);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		if (!host_fill(host, sizes[i].workers, ret_text) ||
			!add_time(result, sizes[i].name, time_program(ingress, frame, &context, TC_ACT_REDIRECT),
				ret_text))
			return false;
	if (!add_time(result, "redirect_only_ns", time_redirect(host, frame, &context), ret_text) ||
		!add_time(result, "worker_ingress_spoofed_ns", time_program(ingress, spoofed, &context, TC_ACT_SHOT),
			ret_text) ||
		!add_time(result, "worker_egress_foreign_ns",
			time_program(bpf_program__fd(host->worker->progs.worker_egress), frame, &context, TC_ACT_SHOT),
			ret_text))
		return false;
	if (!set_rules_and_limits(host) ||
		!add_time(result, "worker_ingress_rules_and_limits_ns",
			time_program(ingress, frame, &context, TC_ACT_REDIRECT), ret_text) ||
		!host_set_workspace(host, &(struct workspace_value){.gateway_be = htonl(GATEWAY)}))
		return false;
	return set(host->steer->maps.steer_config, &zero, &steer) &&
	       add_time(result, "steer_to_kernel_ns",
		       time_program(bpf_program__fd(host->steer->progs.postern_steer), frame, NULL, XDP_PASS),
		       ret_text) &&
	       add_time(result, "steer_untrusted_ns",
		       time_program(bpf_program__fd(host->steer->progs.postern_steer), vxlan, NULL, XDP_DROP),
		       ret_text);
}

/* ---- the whole path ---- */

static uint64_t underlay_packets(void)
{
	unsigned long long packets = 0;
	FILE *file = popen(
		"ip -s -j link show dev pbu | sed 's/.*\"tx\":{\"bytes\":[0-9]*,\"packets\":\\([0-9]*\\).*/\\1/'", "r");

	if (file == NULL)
		return 0;
	if (fscanf(file, "%llu", &packets) != 1)
		packets = 0;
	pclose(file);
	return packets;
}

static double now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

/* From the worker's send to the underlay; veth passes a packet on in the sender's own time. */
static double time_path(const uint8_t *frame, char *ret_text)
{
	const struct sockaddr_ll address = {.sll_family = AF_PACKET, .sll_ifindex = (int)if_nametoindex("pbw-peer")};
	struct iovec part = {.iov_base = (void *)(uintptr_t)frame, .iov_len = FRAME_BYTES};
	struct mmsghdr messages[PATH_BATCH];
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	uint64_t before = underlay_packets();
	double best_ns = -1;

	if (fd < 0 || bind(fd, (const struct sockaddr *)&address, sizeof(address)) != 0) {
		snprintf(ret_text, BENCH_TEXT_SIZE_BYTES, "no raw socket: %s", strerror(errno));
		return -1;
	}
	for (int i = 0; i < PATH_BATCH; i++)
		messages[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = &part, .msg_iovlen = 1}};
	for (int round = 0; round < ROUNDS; round++) {
		double start_ns = now_ns(), ns;
		int sent = 0;

		while (sent < PATH_PACKETS) {
			int count = sendmmsg(fd, messages, PATH_BATCH, 0);

			if (count <= 0)
				break;
			sent += count;
		}
		ns = (now_ns() - start_ns) / PATH_PACKETS;
		if (best_ns < 0 || ns < best_ns)
			best_ns = ns;
	}
	close(fd);
	/* A few may wait in the kernel's queues still. */
	if (underlay_packets() - before < (uint64_t)ROUNDS * PATH_PACKETS * 99 / 100) {
		snprintf(ret_text, BENCH_TEXT_SIZE_BYTES, "packets were lost on the path, so its time says nothing");
		return -1;
	}
	return best_ns;
}

static bool time_paths(const struct host *host, struct result *result, char *ret_text)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)host->worker_ifindex, .attach_point = BPF_TC_INGRESS);
	LIBBPF_OPTS(bpf_tc_opts, opts, .prog_fd = bpf_program__fd(host->worker->progs.worker_ingress), .handle = 1,
		.priority = 1);
	uint8_t frame[FRAME_BYTES];
	double classifier_ns, mirred_ns;

	frame_fill(frame, WORKER, REMOTE, 53);
	if (bpf_tc_hook_create(&hook) != 0 || bpf_tc_attach(&hook, &opts) != 0) {
		snprintf(ret_text, BENCH_TEXT_SIZE_BYTES, "the classifier can not be attached: %s", strerror(errno));
		return false;
	}
	classifier_ns = time_path(frame, ret_text);
	if (classifier_ns < 0 ||
		!command("tc filter del dev pbw ingress && tc filter add dev pbw ingress prio 1 protocol all "
			 "u32 match u32 0 0 action mirred egress redirect dev pbf",
			ret_text))
		return false;
	mirred_ns = time_path(frame, ret_text);
	if (mirred_ns < 0)
		return false;
	result_add(result, "path_classifier_ns", classifier_ns);
	result_add(result, "path_mirred_ns", mirred_ns);
	return true;
}

bool run_bpf(const struct scenario *scenario, const struct options *options, struct result *ret, char *ret_text)
{
	struct result result = result_empty();
	struct host host;
	bool done;

	if (!host_open(&host, ret_text))
		return false;
	done = time_programs(&host, &result, ret_text) && time_paths(&host, &result, ret_text);
	host_close(&host);
	if (done)
		*ret = result;
	return done;
}
