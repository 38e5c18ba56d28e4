/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mappings: what a control plane says by routes of the kernel, in the table gateway.netlink.mapping_table.
 *
 *   ip route replace 10.64.3.0/24 dev lo src 203.0.113.7 realm 17 proto postern table 4242
 *
 * says: these addresses are in the VPC of the workspace with the number 17, 203.0.113.7 is an egress IP of that
 * workspace, and new sessions of these addresses take it first, as long as it has ports. Whatever of that the files say
 * already is no change.
 *
 *   VPC        the workspace's one that contains the prefix; else the only one that it has, which gets the prefix
 *   egress IP  one of the workspace's own already, or nobody's
 *   in use     laid over the model, as if the files said so
 *   conflict   the files say otherwise, and win; of two routes the one of the smaller number, then of the smaller metric
 *   invalid    it means nothing: no src, no realm, no such workspace, no one VPC
 *
 * They are laid over each configuration that is loaded, before its drains: so they survive reloads and restarts as long
 * as the kernel has them. Pure. Thread: any one at a time. Limits: MAPPING_COUNT_MAX routes, and of one workspace
 * MAPPING_PER_WORKSPACE_MAX; further ones are invalid.
 */
#ifndef POSTERN_CONTROL_MAPPING_H
#define POSTERN_CONTROL_MAPPING_H

#include <stddef.h>
#include <stdint.h>

#include "control/kernel_routes.h"
#include "control/model.h"
#include "control/status.h"

enum { MAPPING_COUNT_MAX = 65536, MAPPING_PER_WORKSPACE_MAX = 1024, MAPPING_WHY_SIZE_BYTES = 240 };

enum mapping_state { MAPPING_IN_USE, MAPPING_CONFLICT, MAPPING_INVALID, MAPPING_STATE_COUNT };

struct mapping {
	uint32_t address, egress_ip, realm, metric;
	uint8_t prefix_length_bits;
	uint8_t state;			  /* enum mapping_state */
	char workspace[ID_SIZE_BYTES];	  /* empty: none has the number */
	char vpc[ID_SIZE_BYTES];	  /* empty: not known */
	char why[MAPPING_WHY_SIZE_BYTES]; /* it is not in use; else empty */
};

/* All zero: none. */
struct mappings {
	struct mapping *entries; /* by realm, address, prefix, metric */
	size_t count;
	size_t counts[MAPPING_STATE_COUNT];
	uint64_t digest; /* of the routes that they were made of: mappings_digest() */
};

void mappings_clear(struct mappings *mappings);

/* Equal for equal routes, whatever their order of arrival; `routes` are sorted. */
uint64_t mappings_digest(const struct kernel_routes *routes);

/*
 * Lays the routes of the mapping table over a model that was just loaded. STATUS_NO_MEMORY, or OK; what is not in use is
 * told as a warning, too. `ret_mappings` needs mappings_clear().
 */
enum status mappings_apply(const struct kernel_routes *routes, struct model *model, struct mappings *ret_mappings,
	struct problems *warnings);

/* "in-use", "conflict", "invalid" */
const char *mapping_state_text(enum mapping_state state);

#endif
