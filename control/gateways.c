/* SPDX-License-Identifier: Apache-2.0 */
#include "control/gateways.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bpf/maps.h"
#include "control/log.h"
#include "control/state.h"

enum { PROBE_PORT = 9 };

enum probe_answer { PROBE_PENDING, PROBE_ANSWERED, PROBE_UNREACHABLE };

struct gateway {
	uint32_t address;
	bool operator_down;
	bool answered_once, silent;
	unsigned misses, answers; /* in a row */
	bool unreachable;	  /* the last miss was the kernel's own word */
	int fd;			  /* of the probe under way; -1: none */
	uint64_t changes;
};

struct gateways {
	const struct log *log;
	struct state *state;
	struct gateway list[BPF_GATEWAY_COUNT_MAX];
	size_t count;
	bool probe;
	uint32_t down[BPF_GATEWAY_COUNT_MAX]; /* the operator's word, also for gateways that come back */
	size_t down_count;
};

static const char *address_text(uint32_t address, char text[INET_ADDRSTRLEN])
{
	const struct in_addr in = {.s_addr = htonl(address)};

	return inet_ntop(AF_INET, &in, text, INET_ADDRSTRLEN);
}

enum status gateways_open(const struct log *log, struct state *state, struct gateways **ret_gateways)
{
	struct gateways *gateways = calloc(1, sizeof(*gateways));

	if (gateways == NULL)
		return STATUS_NO_MEMORY;
	gateways->log = log;
	gateways->state = state;
	gateways->down_count = state_load_gateways_down(state, gateways->down, BPF_GATEWAY_COUNT_MAX);
	*ret_gateways = gateways;
	return STATUS_OK;
}

static void probe_end(struct gateway *gateway)
{
	if (gateway->fd >= 0)
		close(gateway->fd);
	gateway->fd = -1;
}

void gateways_close(struct gateways *gateways)
{
	if (gateways == NULL)
		return;
	for (size_t i = 0; i < gateways->count; i++)
		probe_end(&gateways->list[i]);
	free(gateways);
}

static struct gateway *gateway_find(struct gateways *gateways, uint32_t address)
{
	for (size_t i = 0; i < gateways->count; i++)
		if (gateways->list[i].address == address)
			return &gateways->list[i];
	return NULL;
}

static size_t down_find(const struct gateways *gateways, uint32_t address)
{
	size_t i = 0;

	while (i < gateways->down_count && gateways->down[i] != address)
		i++;
	return i;
}

void gateways_set(struct gateways *gateways, const uint32_t *addresses, size_t count, bool probe)
{
	struct gateway list[BPF_GATEWAY_COUNT_MAX];

	if (count > BPF_GATEWAY_COUNT_MAX)
		count = BPF_GATEWAY_COUNT_MAX;
	for (size_t i = 0; i < count; i++) {
		struct gateway *known = gateway_find(gateways, addresses[i]);

		list[i] = known != NULL ? *known : (struct gateway){.address = addresses[i], .fd = -1};
		list[i].operator_down = down_find(gateways, addresses[i]) < gateways->down_count;
		if (known != NULL)
			known->fd = -1;
	}
	for (size_t i = 0; i < gateways->count; i++)
		probe_end(&gateways->list[i]);
	memcpy(gateways->list, list, count * sizeof(*list));
	gateways->count = count;
	gateways->probe = probe;
}

/* ---- probes ---- */

static bool probes_run(const struct gateways *gateways)
{
	return gateways->probe && gateways->count > 1;
}

static enum probe_answer answer_of(int error)
{
	switch (error) {
	case 0:
	case ECONNREFUSED:
	case ECONNRESET:
		return PROBE_ANSWERED;
	case EHOSTUNREACH:
	case ENETUNREACH:
	case EHOSTDOWN:
	case ENETDOWN:
		return PROBE_UNREACHABLE;
	default:
		return PROBE_PENDING;
	}
}

static enum probe_answer probe_start(struct gateway *gateway)
{
	const struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_port = htons(PROBE_PORT),
		.sin_addr.s_addr = htonl(gateway->address),
	};

	gateway->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (gateway->fd < 0)
		return PROBE_PENDING;
	return answer_of(connect(gateway->fd, (const struct sockaddr *)&address, sizeof(address)) == 0 ? 0 : errno);
}

/* What has become of the probe since it was started. */
static enum probe_answer probe_result(const struct gateway *gateway)
{
	struct pollfd poll_fd = {.fd = gateway->fd, .events = POLLOUT};
	socklen_t size_bytes = sizeof(int);
	int error = EINPROGRESS;

	if (gateway->fd < 0 || poll(&poll_fd, 1, 0) != 1)
		return PROBE_PENDING;
	if (getsockopt(gateway->fd, SOL_SOCKET, SO_ERROR, &error, &size_bytes) != 0)
		return PROBE_PENDING;
	return answer_of(error);
}

/* True: it is silent now and was not, or the other way round. */
static bool gateway_judge(struct gateway *gateway, enum probe_answer answer)
{
	bool silent = gateway->silent;

	if (answer == PROBE_ANSWERED) {
		gateway->answered_once = true;
		gateway->misses = 0;
		if (++gateway->answers >= GATEWAYS_ANSWERS_MIN)
			silent = false;
	} else {
		gateway->answers = 0;
		gateway->unreachable = answer == PROBE_UNREACHABLE;
		gateway->misses++;
		if (gateway->misses >= GATEWAYS_MISSES_MAX && (gateway->answered_once || gateway->unreachable))
			silent = true;
	}
	if (silent == gateway->silent)
		return false;
	gateway->silent = silent;
	gateway->changes++;
	return true;
}

static bool gateway_probe(struct gateways *gateways, struct gateway *gateway)
{
	bool under_way = gateway->fd >= 0, changed = false;
	enum probe_answer answer = probe_result(gateway);
	char text[INET_ADDRSTRLEN];

	if (under_way)
		changed = gateway_judge(gateway, answer);
	/* It is let live for some seconds: the kernel repeats its SYN, and says when it gives up on the neighbour. */
	if (under_way && answer == PROBE_PENDING && gateway->misses % GATEWAYS_MISSES_MAX != 0)
		return changed;
	probe_end(gateway);
	if (probe_start(gateway) == PROBE_UNREACHABLE) {
		probe_end(gateway);
		changed |= gateway_judge(gateway, PROBE_UNREACHABLE);
	}
	if (changed && gateway->silent)
		log_warning(gateways->log, "gateway does not answer any more address=%s",
			address_text(gateway->address, text));
	else if (changed)
		log_info(gateways->log, "gateway answers again address=%s", address_text(gateway->address, text));
	return changed;
}

bool gateways_tick(struct gateways *gateways)
{
	bool changed = false;

	for (size_t i = 0; i < gateways->count; i++) {
		struct gateway *gateway = &gateways->list[i];

		if (probes_run(gateways)) {
			changed |= gateway_probe(gateways, gateway);
			continue;
		}
		probe_end(gateway);
		changed |= gateway->silent;
		gateway->silent = false;
		gateway->misses = gateway->answers = 0;
	}
	return changed;
}

/* ---- up or down ---- */

static bool all_are_silent(const struct gateways *gateways)
{
	for (size_t i = 0; i < gateways->count; i++)
		if (!gateways->list[i].operator_down && !gateways->list[i].silent)
			return false;
	return true;
}

struct gateways_row gateways_get(const struct gateways *gateways, size_t index)
{
	const struct gateway *gateway = &gateways->list[index];

	return (struct gateways_row){
		.address = gateway->address,
		.up = !gateway->operator_down && (!gateway->silent || all_are_silent(gateways)),
		.operator_down = gateway->operator_down,
		.probed = probes_run(gateways),
		.silent = gateway->silent,
		.changes = gateway->changes,
	};
}

size_t gateways_count(const struct gateways *gateways)
{
	return gateways->count;
}

void gateways_up(const struct gateways *gateways, const uint32_t *addresses, size_t count, bool *ret_up)
{
	for (size_t i = 0; i < count; i++) {
		ret_up[i] = true;
		for (size_t j = 0; j < gateways->count; j++)
			if (gateways->list[j].address == addresses[i])
				ret_up[i] = gateways_get(gateways, j).up;
	}
}

enum status gateways_operator(struct gateways *gateways, uint32_t address, bool down, struct problems *problems)
{
	struct gateway *gateway = gateway_find(gateways, address);
	size_t at = down_find(gateways, address);
	char text[INET_ADDRSTRLEN];

	if (gateway == NULL) {
		problems_add(problems, "%s: is no gateway of this host; `postern gateway list` lists them",
			address_text(address, text));
		return STATUS_INVALID;
	}
	if (down && at == gateways->down_count) {
		/* What is no gateway any more makes room. */
		for (size_t i = 0; i < gateways->down_count && gateways->down_count == BPF_GATEWAY_COUNT_MAX; i++)
			if (gateway_find(gateways, gateways->down[i]) == NULL)
				gateways->down[i] = gateways->down[--gateways->down_count];
		gateways->down[gateways->down_count++] = address;
	} else if (!down && at < gateways->down_count) {
		gateways->down[at] = gateways->down[--gateways->down_count];
	}
	gateway->operator_down = down;
	log_info(gateways->log, "an operator has taken a gateway %s address=%s", down ? "down" : "up",
		address_text(address, text));
	return state_save_gateways_down(gateways->state, gateways->down, gateways->down_count, problems);
}
