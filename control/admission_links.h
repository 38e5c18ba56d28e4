/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the links of a worker host say to admission: an interface that is there is claimed if its name is one of
 * worker_host.interfaces, its alias may make it a worker, and its end closes the worker on it. Until it is claimed, the
 * fence (control/worker_fence.h) keeps what it sends out of this host's stack.
 *
 * Owner: the admission. Thread: the event loop's.
 */
#ifndef POSTERN_CONTROL_ADMISSION_LINKS_H
#define POSTERN_CONTROL_ADMISSION_LINKS_H

#include "control/model.h"
#include "control/status.h"
#include "control/worker_registry.h"

struct admission;
struct admission_links;
struct daemon;
struct worker_fence;

/* `registry` must outlive it. */
enum status admission_links_open(struct daemon *daemon, struct admission *admission, struct worker_registry *registry,
	struct admission_links **ret_links, struct problems *problems);
void admission_links_close(struct admission_links *links); /* NULL is fine */

/* Which counts from now on; until then nothing is taken. It must live until the next one is set. */
void admission_links_set_host(struct admission_links *links, const struct model_worker_host *host);

/* Each second. */
void admission_links_tick(struct admission_links *links);

const struct worker_fence *admission_links_fence(const struct admission_links *links);

/* Reads all links now. */
void admission_links_read(struct admission_links *links);

#endif
