/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The worker registry: every worker that anybody wants on this host, from all three sources, and which of them counts.
 *
 *   file (worker_host.workers) ─┐
 *   API (`postern worker add`) ─┼─> registry ─> control/admission.c: claim → gateways → open
 *   netlink (a link's alias) ───┘
 *
 * One interface has one worker, and one address of a VPC has one worker. Where the sources disagree the file wins over
 * the API, and that over netlink; of two of the same source, who came first. The loser is kept, closed, and says why:
 * it takes over when the winner goes. What counts is `active`. Pure data: no system call is made here.
 *
 * Owner: the daemon. Thread: posternd's only one. Limit: WORKER_REGISTRY_COUNT_MAX entries of all sources.
 */
#ifndef POSTERN_CONTROL_WORKER_REGISTRY_H
#define POSTERN_CONTROL_WORKER_REGISTRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bpf/maps.h"
#include "control/status.h"
#include "dataplane/contract/limits.h"

enum { WORKER_REGISTRY_COUNT_MAX = 2 * BPF_WORKER_COUNT_MAX, WORKER_WHY_SIZE_BYTES = 192 };

/* In the order of precedence. */
enum worker_source { WORKER_SOURCE_FILE, WORKER_SOURCE_API, WORKER_SOURCE_NETLINK, WORKER_SOURCE_COUNT };

enum worker_state {
	WORKER_CONFLICT,       /* its interface or address is another worker's */
	WORKER_UNPLACED,       /* the configuration has no such VPC, or the address is outside of it */
	WORKER_NO_INTERFACE,   /* not there (yet) */
	WORKER_UNCLAIMED,      /* there, but the classifier could not be put on it */
	WORKER_AWAITS_POLICY,  /* claimed; the policy with its VPC is not in force on this machine's gateway */
	WORKER_AWAITS_GATEWAY, /* claimed; a gateway has not acknowledged it */
	WORKER_OPEN,
	WORKER_STATE_COUNT
};

/* What a source says. Strings are padded with NULs. */
struct worker_spec {
	char interface[INTERFACE_NAME_SIZE_BYTES];
	char workspace[ID_SIZE_BYTES], vpc[ID_SIZE_BYTES];
	uint32_t address; /* host order */
	bool mac_present;
	uint8_t mac[6];
	/* The path of a worker that is a cgroup, whose `interface` is then cgroup_path_name(); NULL: an interface. Who says
	 * it owns it; in a registered worker the registry does. */
	const char *cgroup;
};

struct worker {
	struct worker_spec spec;
	enum worker_source source;
	uint32_t sequence; /* API: counts the additions, so that another one is another worker; else 0 */

	enum worker_state state;
	char *why;    /* in words; NULL when open */
	bool placed;  /* the VPC is known: `vni` holds */
	bool active;  /* it counts: nobody else has its interface or address */
	uint32_t vni; /* 0: unplaced */

	/* control/admission.c's; all zero when the worker becomes active. */
	uint32_t ifindex;   /* or CGROUP_KEY; 0: there is no interface, or cgroup */
	uint64_t cgroup_id; /* of a cgroup that is there; else 0 */
	bool claimed, dirty_in_kernel;
	bool recheck;	       /* whether the kernel still has what it needs is to be looked at */
	uint32_t acknowledged; /* one bit for each configured gateway */
	uint32_t asked;	       /* likewise: a question is under way */
	uint64_t since_ns;     /* when both the wish and the interface were there */
	uint64_t opened_ns;
	bool adopted; /* was open already when posternd started: stays so until a gateway refuses it (P4) */

	/* The registry's own. */
	uint64_t order;
	uint32_t mark;
	size_t place;
	bool queued, heads_interface, listed_by_address;
	struct worker *next_of_interface, *next_of_address, *next_of_ifindex, *next_queued;
};

/* A worker that is active no more, and what is to be undone. */
struct worker_gone {
	uint32_t ifindex, vni, address;
	uint64_t epoch;
	struct worker_gone *next;
};

struct worker_registry;

enum status worker_registry_open(struct worker_registry **ret_registry);
void worker_registry_close(struct worker_registry *registry);

/* Where a worker belongs, by the configuration of now: its VNI, or 0 and `ret_why`. */
typedef uint32_t worker_place_fn(void *context, const struct worker_spec *spec, char ret_why[WORKER_WHY_SIZE_BYTES]);
/* Looks at every worker again. */
void worker_registry_place_all(struct worker_registry *registry, worker_place_fn *place, void *context);

/*
 * One worker of that source and interface; what is the same already is left alone, anything else replaces it as another
 * worker. STATUS_REFUSED: the registry is full. `ret_worker` lives until the next change of the registry.
 */
enum status worker_registry_put(struct worker_registry *registry, enum worker_source source,
	const struct worker_spec *spec, uint32_t sequence, struct worker **ret_worker);
/* False: there was none. */
bool worker_registry_remove(struct worker_registry *registry, enum worker_source source, const char *interface);

/* A source says all that it has: begin, put each, end; what was not put is removed. */
void worker_registry_begin(struct worker_registry *registry, enum worker_source source);
void worker_registry_end(struct worker_registry *registry, enum worker_source source);

/* The one that counts for the interface, or would if it were placed; NULL: none. */
struct worker *worker_registry_find(const struct worker_registry *registry, const char *interface);
struct worker *worker_registry_find_of(
	const struct worker_registry *registry, enum worker_source source, const char *interface);
struct worker *worker_registry_by_address(const struct worker_registry *registry, uint32_t vni, uint32_t address);
struct worker *worker_registry_by_ifindex(const struct worker_registry *registry, uint32_t ifindex);

/* Its interface or cgroup has come, gone or changed (0: gone). With another one it is another worker. */
void worker_registry_set_ifindex(struct worker_registry *registry, struct worker *worker, uint32_t ifindex);

/* All, in no order; valid until the next change. */
size_t worker_registry_count(const struct worker_registry *registry);
struct worker *worker_registry_at(const struct worker_registry *registry, size_t index);

/* Workers to look at again, each once; and what has gone, oldest first (the caller frees it). NULL: no more. */
void worker_registry_queue(struct worker_registry *registry, struct worker *worker);
struct worker *worker_registry_take_queued(struct worker_registry *registry);
struct worker_gone *worker_registry_take_gone(struct worker_registry *registry);
bool worker_registry_has_gone(const struct worker_registry *registry);
bool worker_registry_has_work(const struct worker_registry *registry);

bool worker_specs_are_equal(const struct worker_spec *a, const struct worker_spec *b);

/* Identity towards the gateways: the interface's index, and the API's sequence. */
uint64_t worker_epoch(const struct worker *worker);

void worker_set_state(struct worker *worker, enum worker_state state, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

const char *worker_source_text(enum worker_source source);
const char *worker_state_text(enum worker_state state);

#endif
