/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one gateway can hold. Every table is fixed at start; full means a counted drop, never growth.
 *
 * Owner: both processes compile these in. Changing one changes the layout of shared memory, so bump
 * CONTRACT_VERSION (contract/rpc.h) with it.
 */
#ifndef POSTERN_CONTRACT_LIMITS_H
#define POSTERN_CONTRACT_LIMITS_H

enum {
	WORKSPACE_COUNT_MAX = 16384,
	VPC_COUNT_MAX = 16384,
	EGRESS_IP_COUNT_MAX = 65536,
	WORKER_COUNT_MAX = 131072,
	CIDR_COUNT_MAX = 65536,
	RULE_COUNT_MAX = 65536,
	VTEP_PREFIX_COUNT_MAX = 64,
	ROUTE_COUNT_MAX = 16384,
	NEXT_HOP_COUNT_MAX = 16384,
	NEXT_HOP_GROUP_COUNT_MAX = 256,
	SHARD_COUNT_MAX = 16,
	/* Bytes including the terminating NUL. */
	ID_SIZE_BYTES = 64,
	INTERFACE_NAME_SIZE_BYTES = 16,
	DEVICE_ARGS_SIZE_BYTES = 256,
};

#endif
