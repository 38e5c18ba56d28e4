/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When the egress IPs are announced, and when not (control/announce.h says how). Part of applying: after the steering
 * of a policy in force. Owner of struct daemon_announce. Thread: the event loop's.
 */
#ifndef POSTERN_CONTROL_APPLY_ANNOUNCE_H
#define POSTERN_CONTROL_APPLY_ANNOUNCE_H

struct daemon;
struct problems;

/*
 * Looks whether the gateway serves, and corrects the kernel if that, the addresses or the kernel's routes have changed.
 */
void apply_announce(struct daemon *daemon);

/* The kernel's routes may differ from what was left there. */
void apply_announce_dirty(struct daemon *daemon);

/* Each second: hearts that have stopped, retries, and each 30 s a look at the kernel all the same. */
void apply_announce_tick(struct daemon *daemon);

/* What the operator must know. */
void apply_announce_health(const struct daemon *daemon, struct problems *reasons);

/* "announced", "withdrawn", "held" or "off". */
const char *apply_announce_state_text(const struct daemon *daemon);

/* The routes stay (P4). */
void apply_announce_close(struct daemon *daemon);

#endif
