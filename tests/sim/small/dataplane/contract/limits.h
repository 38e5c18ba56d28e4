/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stands in for dataplane/contract/limits.h in the fuzzers' builds: the same names, small numbers. Building policy
 * tables costs time by these limits; with the real ones the fuzzers would do little else.
 */
#ifndef POSTERN_CONTRACT_LIMITS_H
#define POSTERN_CONTRACT_LIMITS_H

enum {
	WORKSPACE_COUNT_MAX = 64,
	VPC_COUNT_MAX = 64,
	EGRESS_IP_COUNT_MAX = 128,
	WORKER_COUNT_MAX = 128,
	CIDR_COUNT_MAX = 128,
	RULE_COUNT_MAX = 128,
	VTEP_PREFIX_COUNT_MAX = 64,
	ROUTE_COUNT_MAX = 16384,
	NEXT_HOP_GROUP_COUNT_MAX = 16,
	NEXT_HOP_COUNT_MAX = 16384,
	SHARD_COUNT_MAX = 16,
	ID_SIZE_BYTES = 64,
	INTERFACE_NAME_SIZE_BYTES = 16,
	DEVICE_ARGS_SIZE_BYTES = 256,
};

#endif
