/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The gateway's two ports as DPDK devices: opened together at the first policy that names them, closed at the end.
 *
 * An interface that is deleted, or whose steering program is taken away, ends the process (port_lost()): the service
 * manager starts it again, and that is the one path of recovery. Opening again in place is not done, because the AF_XDP
 * driver of DPDK 22.11 does not give back the packet buffers that its rings hold when it is closed.
 *
 * Owner: main(). Thread: control; the shards use `port_id` and the queues only.
 */
#ifndef POSTERN_IO_PORT_H
#define POSTERN_IO_PORT_H

#include <stdbool.h>
#include <stdint.h>

#include <rte_spinlock.h>

#include "dataplane/io/device.h"

struct rte_mempool;

/* For a transmit queue that several shards send by. */
struct port_send_lock {
	rte_spinlock_t spin;
} __attribute__((aligned(64)));

struct port {
	uint16_t id; /* DPDK's */
	uint16_t queue_count;
	bool open;
	bool created;		 /* by us, so that we remove it too; else EAL's options made it */
	int lock_fd;		 /* -1: none */
	uint32_t if_index;	 /* of the kernel's interface under it; 0: there is none */
	uint32_t xdp_program_id; /* 0: no AF_XDP port */
	char driver[INTERFACE_NAME_SIZE_BYTES];
	struct device device;
	struct port_send_lock send_locks[SHARD_COUNT_MAX]; /* by transmit queue */
};

/* What the ports need besides what the policy says. */
struct ports_host {
	const char *run_dir;
	const char *steer_object; /* path of the XDP program */
	uint32_t frame_bytes;	  /* the longest frame that must fit */
};

struct ports {
	struct port ports[PORT_COUNT];
	struct policy_port wanted[PORT_COUNT]; /* as in the policy that opened them */
	struct rte_mempool *pool;	       /* of the packets of both; NULL: not open */
};

/* All or none. False: `ret_text` says which port, why, and what to do. */
bool ports_open(struct ports *ports, const struct policy_port wanted[PORT_COUNT], const struct ports_host *host,
	char ret_text[NAT_TEXT_SIZE_BYTES]);

bool ports_are_open(const struct ports *ports);

/* Does the policy want the ports that are open? */
bool ports_match(const struct ports *ports, const struct policy_port wanted[PORT_COUNT]);

/* True: a port has lost its interface or program, `ret_text` says which. Call about once a second. */
bool ports_lost(const struct ports *ports, char ret_text[NAT_TEXT_SIZE_BYTES]);

/* Packets that came in by the port and that its driver had no room for, since it was opened. */
uint64_t ports_missed(const struct ports *ports, unsigned port_index);

/* No shard may run any more. */
void ports_close(struct ports *ports);

#endif
