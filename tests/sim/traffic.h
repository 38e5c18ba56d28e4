/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the simulated workers and remotes send: conversations over their whole lives, what goes wrong on the way, and
 * what nobody asked for. Payloads are the sender's tag (model.h) over and over.
 */
#ifndef POSTERN_TESTS_SIM_TRAFFIC_H
#define POSTERN_TESTS_SIM_TRAFFIC_H

#include "tests/sim/model.h"
#include "tests/sim/wire.h"

enum { FLOWS = 96, VIEWS = 512, LATER = 256 };

/* A worker's end of a conversation. */
struct flow {
	unsigned vpc, host;
	uint32_t inside, remote;
	uint16_t inside_port, remote_port;
	uint8_t protocol;
	uint32_t sent, received;
	unsigned view; /* of its last packet; VIEWS: none */
};

/* What the internet knows: who used an egress address and port towards a remote last. */
struct view {
	uint32_t egress, remote;
	uint16_t egress_port, remote_port;
	uint8_t protocol;
	struct tag tag;
	unsigned flow;
};

/* A frame to be sent, and what its sender knows of it. */
struct shot {
	uint8_t in_port;
	bool alone;   /* not in a batch with others: it may come out as several */
	bool hairpin; /* may come in again */
	uint32_t length_bytes;
	int view; /* outside: the one it is about, as it was then; -1: none */
	struct view about;
	unsigned flow;
	struct tag tag;
	uint8_t bytes[WORLD_FRAME_MAX];
};

/* How much of what, in parts of 1000. */
struct traffic_mix {
	unsigned inside, outside, icmp, garbage, unsolicited, fragments, delayed;
	unsigned inside_ports; /* per worker */
	unsigned large;	       /* of payloads */
	unsigned turnover;     /* flows that give way to a new one */
};

struct traffic {
	struct random *random;
	const struct model *model;
	const struct traffic_mix *mix;
	struct flow flows[FLOWS];
	struct view views[VIEWS];
	unsigned view_count;
	uint16_t next_id; /* of fragmented packets from outside */
	struct shot later[LATER];
	unsigned later_count;
};

void traffic_init(struct traffic *traffic);
void shot_copy(struct shot *to, const struct shot *from);
/* A frame that goes later than it was made: is it still what its sender would say? */
bool traffic_still_said(const struct traffic *traffic, const struct shot *shot);
/* The next frame. */
void traffic_next(struct traffic *traffic, struct shot *ret_shot);
/* The world has changed: what workers have sent and is still under way is forgotten. */
void traffic_policy_changed(struct traffic *traffic);
/* A frame of a worker left by the outside port. */
void traffic_left(struct traffic *traffic, const struct shot *shot, const uint8_t *frame, uint32_t length_bytes);
/* The first tag at or after *at, which moves behind it; false when there is none. */
bool traffic_tag(const uint8_t *bytes, uint32_t length_bytes, uint32_t *at, struct tag *ret_tag);
bool traffic_tags_equal(const struct tag *a, const struct tag *b);

#endif
