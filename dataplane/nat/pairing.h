/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Paired pooling of listed workers (RFC 4787 REQ-2): which egress IP of its workspace a worker uses first. It gets one
 * when it comes: the one that the fewest workers have, so an IP that is new is preferred by new workers, and moves no
 * old one. It keeps that over policies and restarts of the process, until the IP goes out of service.
 *
 * Workers that are not listed are paired by hash: ports.c.
 *
 * Thread: the control thread's, while tables are built.
 */
#ifndef POSTERN_NAT_PAIRING_H
#define POSTERN_NAT_PAIRING_H

#include "dataplane/nat/identity.h"
#include "dataplane/nat/policy.h"

#define PAIRING_NONE UINT32_MAX

/* Memory for pairing_assign(), by the number of egress IPs in the snapshot. */
size_t pairing_scratch_size(uint32_t egress_count);

/*
 * Fills `egress_index` of the tables' workers, which are filled otherwise, and remembers it in `identities`. Takes time in
 * proportion to the workers, and for a new one to its workspace's egress IPs, up to PAIRING_WEIGHED_MAX.
 */
void pairing_assign(struct identities *identities, struct policy_tables *tables, const struct policy_snapshot *snapshot,
	const struct identity_slots *slots, void *scratch);

/* Up to so many egress IPs of a workspace are weighed for a worker; of more, so many from one on that is chosen by hash. */
enum { PAIRING_WEIGHED_MAX = 64 };

#endif
