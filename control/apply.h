/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Puts the desired revision in force, in this order: policy to the dataplane → its ACK → the classifier opens the
 * workers → steering. Level-triggered: each entry point may be called at any time, and does what is left to do.
 *
 * Until the dataplane has acknowledged, a worker that is not in the revision in force is at most claimed: the
 * classifier drops its traffic (P3). A worker that the desired revision does not have any more is closed at once. Owner
 * of struct daemon_apply. Thread: the event loop's.
 */
#ifndef POSTERN_CONTROL_APPLY_H
#define POSTERN_CONTROL_APPLY_H

#include "control/dataplane_client.h"
#include "control/rib.h"

struct daemon;

/* For dataplane_client_open() and rib_open(), with the daemon as context. */
extern const struct dataplane_client_handlers apply_client_handlers;
extern const struct rib_handlers apply_rib_handlers;

/*
 * config.desired is another one; `model_changed`: by its model, and not by the shared pool or registered workers alone.
 */
void apply_desired_changed(struct daemon *daemon, bool model_changed);

/* Has the desired revision of that number, or a later one, been put in force everywhere on this machine? */
bool apply_is_in_force(const struct daemon *daemon, uint64_t sequence);
/* A round soon: at once, unless the last one was long. */
void apply_schedule(struct daemon *daemon);

/* Classifier and steering may differ from what is wanted: they are compared. */
void apply_check(struct daemon *daemon);

/* Writes what is in force as the last good configuration, if that is due: the event `last_good`, and at the end. */
void apply_save_last_good(struct daemon *daemon);

/* Each second. */
void apply_tick(struct daemon *daemon);

/* The reconcile event: all is compared. */
void apply_reconcile(struct daemon *daemon);

void apply_close(struct daemon *daemon);

#endif
