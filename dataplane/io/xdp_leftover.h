/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The XDP program on an interface, seen from the process that is about to attach its own: one that a killed dataplane
 * left behind is taken off; one of somebody else is respected.
 *
 * Thread: control. The caller holds the interface's lock (port.c), so that a live dataplane's program is no left-over.
 */
#ifndef POSTERN_IO_XDP_LEFTOVER_H
#define POSTERN_IO_XDP_LEFTOVER_H

#include <stdbool.h>
#include <stdint.h>

#include "dataplane/nat/nat.h"

/* The name that the kernel shows for the program in bpf/steer.bpf.c. */
#define XDP_STEER_PROGRAM_NAME "postern_steer"

/* True: the interface is free now. False: it is not, and `ret_text` says what to do. */
bool xdp_leftover_remove(const char *interface, uint32_t if_index, char ret_text[NAT_TEXT_SIZE_BYTES]);

/* The id of the program on the interface; 0: none, or it can not be asked for. */
uint32_t xdp_program_id(uint32_t if_index);

#endif
