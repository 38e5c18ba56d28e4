/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which gateways of this worker host are up: as the operator says, and as they answer.
 *
 * Each second each of several gateways is asked for a TCP connection to the discard port. A refusal is an answer. After
 * GATEWAYS_MISSES_MAX seconds without one it is down, until it has answered GATEWAYS_ANSWERS_MIN times in a row. A
 * gateway that has never answered is only down when the kernel knows no way to it (no route, no neighbour): its firewall
 * may be silent. If none were left, the probes are not believed; what an operator has taken down stays down.
 *
 * The operator's word is kept over restarts. Owner: the daemon. Thread: the event loop's.
 */
#ifndef POSTERN_CONTROL_GATEWAYS_H
#define POSTERN_CONTROL_GATEWAYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "control/status.h"

struct gateways;
struct log;
struct state;

enum { GATEWAYS_MISSES_MAX = 3, GATEWAYS_ANSWERS_MIN = 2 };

struct gateways_row {
	uint32_t address; /* host order */
	bool up;
	bool operator_down;
	bool probed, silent; /* silent: by the probes it is down */
	uint64_t changes;    /* how often the probes have changed their mind */
};

enum status gateways_open(const struct log *log, struct state *state, struct gateways **ret_gateways);
void gateways_close(struct gateways *gateways);

/* The gateways of the configuration, at most BPF_GATEWAY_COUNT_MAX; what is known of those that stay is kept. */
void gateways_set(struct gateways *gateways, const uint32_t *addresses, size_t count, bool probe);

/* Of these. */
void gateways_up(const struct gateways *gateways, const uint32_t *addresses, size_t count, bool *ret_up);

/* Each second. True: one is up or down that was not. */
bool gateways_tick(struct gateways *gateways);

/* STATUS_INVALID: it is no gateway of this host. */
enum status gateways_operator(struct gateways *gateways, uint32_t address, bool down, struct problems *problems);

size_t gateways_count(const struct gateways *gateways);
struct gateways_row gateways_get(const struct gateways *gateways, size_t index);

#endif
