/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control daemon: everything posternd knows and holds, in one struct that main() owns. One thread, one event loop.
 *
 *   file → control/daemon_config.c (load, plan, adopt) → control/apply.c (policy → ACK → classifier → steering)
 *   kernel → control/rib.c → control/apply.c (adjacency)
 *   control/health.c says how it goes; control/metrics.c and control/api.c tell others.
 *
 * Whatever fails leaves what is in force in force (P4, P9): the daemon only ever adds reasons to struct health.
 */
#ifndef POSTERN_CONTROL_DAEMON_H
#define POSTERN_CONTROL_DAEMON_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "control/announce.h"
#include "control/classifier.h"
#include "control/config_signature.h"
#include "control/counters_view.h"
#include "control/drain.h"
#include "control/drop_monitor.h"
#include "control/listeners.h"
#include "control/log.h"
#include "control/registration_rules.h"
#include "control/revision.h"
#include "control/sessions_view.h"
#include "control/status.h"
#include "dataplane/contract/rpc.h"

struct admission;
struct audit;
struct classifier;
struct dataplane_client;
struct event;
struct event_base;
struct gateways;
struct registrations;
struct rib;
struct state;
struct watch;

struct daemon_options {
	const char *run_dir;
	const char *config_path;
	const char *config_key_path; /* NULL: files need no signature */
	size_t file_size_max_bytes;  /* of each file of the configuration; 0: the usual */
	enum log_level log_level;
};

enum daemon_source { DAEMON_SOURCE_NONE, DAEMON_SOURCE_FILE, DAEMON_SOURCE_LAST_GOOD };

/* What the file says, and what became of it. */
struct daemon_config {
	struct revision *desired;  /* NULL: there is none */
	uint64_t sequence;	   /* the last one given to a desired revision */
	enum daemon_source source; /* of `desired` */
	bool file_valid;
	bool parts_differ; /* from those of `desired`, though they say the same: one may say now what another did */
	struct problems errors; /* of the file as it is now */
	struct problems warnings;
	double last_reload_unix_s; /* of the last attempt that succeeded; 0: none */
	uint64_t reload_failures;
};

/* Owned by control/apply.c. */
struct daemon_apply {
	struct revision *sent;	   /* under way to the dataplane; NULL: none */
	struct revision *answered; /* what this connection has last acknowledged or refused */
	struct revision *in_force; /* last acknowledged; NULL: unknown */
	uint64_t desired_generation, sent_generation, acknowledged_generation;
	bool generation_used; /* desired_generation was sent once */
	bool refused;	      /* `answered` was refused */
	uint32_t refusal;     /* enum rpc_status */
	char refusal_text[256];
	uint32_t port_retry_ticks;
	uint64_t adjacency_sent_generation, adjacency_acknowledged_generation;
	bool adjacency_dirty;
	/* The gateway of the default route in what was sent, and acknowledged, when its MAC was not known; else 0. */
	uint32_t unresolved_sent, unresolved_acknowledged;
	char adjacency_refusal_text[256];

	bool claims_only; /* nothing was pinned before: workers are claimed, not open, until the first ACK */
	bool classifier_failed, classifier_done;
	struct problems classifier_problems;
	bool steer_failed;
	bool steered;		 /* once, on this connection */
	bool adjacency_answered; /* on this connection */
	uint32_t steered_vtep;	 /* the inside port's address when steering was last applied */
	struct problems steer_problems;
	bool dirty; /* classifier and steering may differ from what is wanted */
	uint32_t ticks_since_check;
	bool last_good_due;				    /* what is in force is not stored yet */
	uint64_t last_good_saved_ns, last_good_duration_ns; /* when it was stored last, and how long that took */
	uint64_t reconcile_errors;
	uint64_t duration_ns; /* of the last round */
};

enum announce_state { ANNOUNCE_OFF, ANNOUNCE_HELD, ANNOUNCE_SERVING, ANNOUNCE_WITHDRAWN };

/* Owned by control/apply_announce.c. */
struct daemon_announce {
	struct announce announce;
	enum announce_state state;
	const char *reason; /* a constant; of WITHDRAWN and HELD */
	double since_unix_s;
	bool started, dirty, failed;
	uint32_t retry_ticks, failure_count;
	struct problems problems;
};

/* Owned by control/mapping_control.c. */
struct daemon_mappings {
	struct nl_sock *socket;
	struct kernel_routes routes; /* as read last, of `table` */
	uint32_t table;
	struct event *due; /* to look at the table again */
	struct announce sources;
	uint32_t sources_table; /* that they were last applied to */
	bool sources_dirty, reloading;
	uint64_t looked_ns, duration_ns; /* when it was last done, and how long that took */
	uint64_t resyncs, errors;
	struct problems problems; /* of the sources */
};

/* Owned by control/staged.c. */
struct daemon_staged {
	uint64_t deadline_s;   /* to confirm the change that was applied; 0: none waits */
	bool expired_at_start; /* one was rolled back before the configuration was there; not in the audit log yet */
	uint64_t expired_deadline_s;
};

/* Two totals, a second apart. */
struct daemon_rates {
	bool valid;
	uint64_t at_ns, start_unix_ns;
	double seconds;
	struct counters_total before, now;
};

struct daemon {
	struct daemon_options options;
	struct log log;
	struct event_base *base;
	struct event *signals[3];
	struct event *tick; /* each second */
	struct event *reconcile;
	struct event *last_good;
	double start_unix_s;
	uint64_t start_monotonic_ns;
	char config_path[4096];	      /* absolute */
	struct config_key config_key; /* of options.config_key_path */

	struct state *state;
	struct watch *watch;
	struct rib *rib;
	struct dataplane_client *client; /* NULL: no gateway on this machine */
	struct gateways *gateways;	 /* of the worker host */
	struct drop_monitor drop_monitor;
	struct classifier *classifier; /* NULL: no worker host, or it could not be opened */
	struct audit *audit;
	struct listeners listeners;
	TAILQ_HEAD(, api_request) api_waiting; /* control/api_wait.h */
	unsigned api_waiting_count;
	struct problems watch_problems;

	struct admission *admission;		   /* the workers of this host */
	TAILQ_HEAD(, api_request) workers_waiting; /* control/api_workers.c: until their worker is open */
	struct registrations *registrations;	   /* read at start; kept while this machine is no gateway */
	struct registration_refusals registration_refusals;
	TAILQ_HEAD(, api_request) hosts_changing; /* control/api_hosts.c: for the next compilation */
	struct event *hosts_due;

	struct daemon_config config;
	struct shared_pool_table shared_pool; /* as remembered; once there is a desired revision, its own counts */
	bool shared_pool_unsaved;
	struct daemon_apply apply;
	struct daemon_announce announce;
	struct daemon_mappings mappings;
	struct daemon_staged staged;
	struct drains drains; /* control/drain_control.h */
	struct counters_view counters;
	struct sessions_view sessions;
	struct daemon_rates rates;
	bool watchdog;
	bool state_was_ok; /* what was logged last */
	struct problems reasons_logged;
};

/* Opens everything, loads the configuration. What only degrades is no error. */
enum status daemon_open(const struct daemon_options *options, struct daemon **ret_daemon, struct problems *problems);

/* Until SIGTERM or SIGINT. */
enum status daemon_run(struct daemon *daemon);

/* Leaves the dataplane, the BPF programs and their pins as they are (P4). */
void daemon_close(struct daemon *daemon);

/* The gateway section that counts now: NULL when this machine is none. */
const struct model_gateway *daemon_gateway(const struct daemon *daemon);
const struct model_worker_host *daemon_worker_host(const struct daemon *daemon);

uint64_t daemon_monotonic_ns(void);
double daemon_unix_s(void);

/* Unix seconds that go on evenly when the clock is set. */
uint64_t daemon_steady_unix_s(const struct daemon *daemon);

#endif
