/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The part of applying that changes this host: the classifier of the workers, and the steering of the gateway's ports.
 * Both compare with the kernel and correct it. Called by control/apply.c only. Thread: the event loop's.
 */
#ifndef POSTERN_CONTROL_APPLY_HOST_H
#define POSTERN_CONTROL_APPLY_HOST_H

struct daemon;

void apply_host_classifier(struct daemon *daemon);
void apply_host_steering(struct daemon *daemon);

#endif
