/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which of several gateways a workspace uses: rendezvous hashing (the highest score of workspace and gateway wins). All
 * worker hosts choose the same without talking to each other, and when a gateway goes or comes only the workspaces that
 * had it, or will have it, move. Pure; any thread.
 */
#ifndef POSTERN_CONTROL_GATEWAY_CHOICE_H
#define POSTERN_CONTROL_GATEWAY_CHOICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One of `addresses` (host order) whose `up` is set; 0: none is. `up` NULL: all are. The order does not matter. */
uint32_t gateway_choose(const char *workspace, const uint32_t *addresses, const bool *up, size_t count);

#endif
