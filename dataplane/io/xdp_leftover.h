/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The XDP program on an interface, seen from the process that is about to attach its own: one that a killed dataplane
 * left behind is taken off; one of somebody else is respected.
 *
 * Whose a program is would be told by its name, but the kernel opens a program by its number for CAP_SYS_ADMIN alone,
 * which a dataplane has not. So each one notes its programs' numbers in the run directory, in XDP_NOTES_NAME, with the boot
 * in which they count: the kernel gives none twice.
 *
 * Thread: control. The caller holds the interface's lock (port.c), so that a live dataplane's program is no left-over.
 */
#ifndef POSTERN_IO_XDP_LEFTOVER_H
#define POSTERN_IO_XDP_LEFTOVER_H

#include <stdbool.h>
#include <stdint.h>

#include "dataplane/nat/nat.h"

#define XDP_NOTES_NAME "steer-programs"

/* True: the interface is free now. False: it is not, and `ret_text` says what to do. */
bool xdp_leftover_remove(
	const char *run_dir, const char *interface, uint32_t if_index, char ret_text[NAT_TEXT_SIZE_BYTES]);

/* For the next process: this program is ours. False: it can not be written; `ret_text`. */
bool xdp_leftover_note(const char *run_dir, uint32_t program_id, char ret_text[NAT_TEXT_SIZE_BYTES]);

/* The id of the program on the interface; 0: none, or it can not be asked for. */
uint32_t xdp_program_id(uint32_t if_index);

#endif
