/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Steering on the gateway's ports: fills the maps of bpf/steer.bpf.c. The dataplane's AF_XDP driver loads and attaches
 * the program (it owns the sockets); posternd finds its maps by asking the kernel which program is on the interface. A
 * port that is no AF_XDP port has no program, and nothing to steer. Thread: posternd's only one.
 */
#ifndef POSTERN_CONTROL_STEER_H
#define POSTERN_CONTROL_STEER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bpf/maps.h"
#include "control/model.h"
#include "control/status.h"

struct steer_desired {
	uint32_t role; /* enum steer_role */
	uint32_t vtep; /* inside: 0 accepts any destination */
	const struct model_cidr *trusted_vteps;
	size_t trusted_vtep_count;
	const uint32_t *egress_ips; /* outside */
	size_t egress_ip_count;
};

/* STATUS_UNREACHABLE: the interface carries no postern steering program (yet). Level-triggered like classifier_apply().
 */
enum status steer_apply(const char *interface, const struct steer_desired *desired, struct problems *problems);

enum status steer_read(const char *interface, uint64_t ret_counters[STEER_COUNTER_COUNT]);

/* Takes a left-over postern steering program off the interface; for `postern-dataplane` before it opens the port too.
 */
enum status steer_detach(const char *interface, struct problems *problems);

#endif
