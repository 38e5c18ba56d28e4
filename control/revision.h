/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A revision: one whole configuration with all that is derived from it. Immutable and counted, since the desired one,
 * the one under way to the dataplane and the one in force may be three, two or one. Thread: posternd's only one.
 */
#ifndef POSTERN_CONTROL_REVISION_H
#define POSTERN_CONTROL_REVISION_H

#include <stddef.h>
#include <stdint.h>

#include "control/drain.h"
#include "control/mapping.h"
#include "control/model.h"
#include "control/object_times.h"
#include "control/shared_pool.h"
#include "control/status.h"

struct revision_vni {
	uint32_t vni;
	uint32_t workspace_index; /* in model->workspaces */
};

/* What a revision goes on from, besides its file. All zero: nothing. */
struct revision_basis {
	const struct shared_pool_table
		*shared_pool;			  /* of the revision before, or what is remembered of it; NULL: none */
	const struct shared_pool_table *in_force; /* what the dataplane works by, if that is known; else NULL */
	struct policy_registered registered;	  /* workers that hosts have told of */
	uint64_t registered_version;		  /* registrations_version() of them */
	const struct drains *drains;		  /* laid over what is loaded; NULL: none */
	uint64_t now_s;				  /* Unix seconds, of a clock that does not jump */
	struct config_api api;			  /* what the API wants */
	/* The routes of the kernel's mapping table, as they are now. False: the problems say why they are not known. NULL:
	 * there are none. */
	bool (*mapping_routes)(
		void *context, uint32_t table, const struct kernel_routes **ret_routes, struct problems *problems);
	void *mapping_context;
};

struct revision {
	unsigned reference_count;
	uint64_t sequence;	 /* counts up from 1 over all that were desired since the start; 0: was not */
	struct revision *origin; /* model, times, mappings and vnis are its; NULL: its own */
	struct model *model;
	char *text_without_mappings; /* to be kept: mappings are the kernel's to keep. NULL: model_print() of all */
	struct mappings *mappings;   /* NULL: there is no mapping table */
	struct shared_pool_table shared_pool;
	struct policy_snapshot *policy; /* NULL when there is no gateway; its generation is not the one sent */
	size_t policy_size_bytes;
	uint64_t registered_version; /* of the registered workers that are compiled into it */
	struct revision_vni *vnis;   /* sorted */
	size_t vni_count;
	struct object_times times; /* the only part that changes: revision_times() */
};

/*
 * Reads, validates and compiles; one reference. `problems` says everything that is wrong. `directories` (may be NULL):
 * what was included from, whatever the outcome is.
 */
enum status revision_load(const char *path, const struct revision_basis *basis, struct revision **ret_revision,
	struct config_directories *directories, struct problems *problems, struct problems *warnings);

/* The same configuration at another time: ranges of the shared pool that have drained are gone. */
enum status revision_renew(struct revision *revision, const struct revision_basis *basis,
	struct revision **ret_revision, struct problems *problems, struct problems *warnings);

/* Of two revisions of equal models: the routes that are not in use may be others now. Leaves those of before. */
void revision_take_mappings(struct revision *revision, struct revision *newer);

/* What is stored as the last good configuration; malloc'ed. NULL: no memory. */
char *revision_text_to_keep(const struct revision *revision);

struct revision *revision_hold(struct revision *revision);
void revision_release(struct revision *revision); /* NULL is fine */

/* Its objects', filled by whoever wants it and puts it in force. */
struct object_times *revision_times(struct revision *revision);

/* NULL when no VPC has it. */
const struct model_workspace *revision_workspace_of_vni(const struct revision *revision, uint32_t vni);

#endif
