/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The registrations: which workers the worker hosts have told this gateway of. They are compiled into the policy beside
 * those that VPCs list in the file (control/compile.c).
 *
 * An address of a VPC belongs to the host that registered it first, until that host, or an operator, takes it back: a
 * host can not draw another one's worker to itself. Each registration gets an incarnation that was never given before,
 * so that old sessions never match it (P2). Everything is journalled before it counts: a restart of posternd must not
 * cut workers off (P4). The table has a name of its own, drawn when it was first written: a host that meets another
 * name knows that what it registered has been forgotten.
 *
 * Owner: the daemon of a gateway. Thread: posternd's only one. Limit: WORKER_COUNT_MAX.
 */
#ifndef POSTERN_CONTROL_REGISTRATIONS_H
#define POSTERN_CONTROL_REGISTRATIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "control/model.h"
#include "control/status.h"

struct registrations;

/* `directory`: where the journal lives. A damaged one: a warning, and an empty table of another name. */
enum status registrations_open(const char *directory, struct registrations **ret_registrations,
	struct problems *problems, struct problems *warnings);
void registrations_close(struct registrations *registrations);

/*
 * The same VTEP, VNI, address and epoch: nothing changes but `sync`. Another epoch: another worker. STATUS_REFUSED: the
 * address is another host's (`ret_owner` is its VTEP), or the table is full (then 0).
 */
enum status registrations_put(struct registrations *registrations, const struct model_registered_worker *worker,
	uint64_t sync, uint32_t *ret_owner);
void registrations_remove(struct registrations *registrations, uint32_t vtep, uint32_t vni, uint32_t address);
/* Those of the host that were not put with this `sync` go. */
void registrations_sweep(struct registrations *registrations, uint32_t vtep, uint64_t sync);

/* Everything since the last commit is on disk. On failure it counts all the same, and the next commit writes all. */
enum status registrations_commit(struct registrations *registrations, struct problems *problems);

/* All of them, in no order; valid until the next change. */
size_t registrations_all(const struct registrations *registrations, const struct model_registered_worker **ret_workers);
/* Of the host, and of the VPC. */
size_t registrations_count_of(const struct registrations *registrations, uint32_t vtep);
size_t registrations_count_in(const struct registrations *registrations, uint32_t vni);
/* Whether the host has this address. */
bool registrations_holds(const struct registrations *registrations, uint32_t vtep, uint32_t vni, uint32_t address);
/* Counts up with each change. */
uint64_t registrations_version(const struct registrations *registrations);
const char *registrations_name(const struct registrations *registrations);

#endif
