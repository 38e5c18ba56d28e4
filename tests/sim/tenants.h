/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two tenants, for the fuzzers of packets and of session files: acme with VNI 7001 and globex with VNI 7002, both with
 * the worker TENANTS_WORKER in 10.0.0.0/16, one egress IP each, and one remote that they talk to.
 */
#ifndef POSTERN_TESTS_SIM_TENANTS_H
#define POSTERN_TESTS_SIM_TENANTS_H

#include "tests/sim/wire.h"
#include "tests/sim/world.h"

#define TENANTS_REMOTE WORLD_IP(192, 0, 2, 10)
#define TENANTS_WORKER WORLD_IP(10, 0, 0, 5)

enum { TENANTS = 2, TENANTS_VNI = 7001, TENANTS_PORT = 5000, TENANTS_REMOTE_PORT = 443 };

static inline uint32_t tenants_ip(unsigned tenant)
{
	return WORLD_IP(203, 0, 113, 10) + 10 * tenant;
}

/* Ends the process with a sentence unless something holds. */
void tenants_require(bool holds, const char *what);

/* Acme maps UDP alone endpoint-independently, globex TCP, too. Plain: without a tunnel, and acme alone. */
struct world *tenants_world(bool plain);

/* An ordinary packet of a tenant's worker, or to it; its length. TCP is a SYN. */
struct tenants_packet {
	uint8_t protocol;
	unsigned tenant;
	uint32_t source, destination;
	uint16_t source_port, destination_port; /* ICMP: identifier in the one that is the worker's */
};
uint32_t tenants_frame(bool plain, unsigned in_port, const struct tenants_packet *of, uint8_t *ret_bytes);

/* P1 and P2 of a packet that left, `in` being as it came, by the policy in force. */
void tenants_isolated(const struct world *world, const struct packet *packet, const struct wire *in);

#endif
