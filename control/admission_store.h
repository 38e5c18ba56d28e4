/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The workers that came by the API, over restarts: the registry's, and a journal of them. What is journalled counts;
 * what could not be written does not. Owner: control/admission.c. Thread: posternd's only one.
 */
#ifndef POSTERN_CONTROL_ADMISSION_STORE_H
#define POSTERN_CONTROL_ADMISSION_STORE_H

#include "control/status.h"
#include "control/worker_registry.h"

struct admission_store;

/* Puts into the registry what the journal has. A damaged one: a warning, and none of its workers. */
enum status admission_store_open(const char *directory, struct worker_registry *registry,
	struct admission_store **ret_store, struct problems *problems, struct problems *warnings);
void admission_store_close(struct admission_store *store);

/* The same again changes nothing. */
enum status admission_store_add(struct admission_store *store, const struct worker_spec *spec,
	struct worker **ret_worker, struct problems *problems);
/* Each few seconds: what could not be written, once that is possible. */
void admission_store_retry(struct admission_store *store);
/*
 * STATUS_UNREACHABLE: there is none. Another failure: it is closed, and open again after a restart unless that is
 * mended.
 */
enum status admission_store_remove(struct admission_store *store, const char *interface, struct problems *problems);

#endif
