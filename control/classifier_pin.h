/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the classifier's maps and programs outlive posternd: a directory on bpffs, one pin per object, named like it.
 * Thread: posternd's only one.
 */
#ifndef POSTERN_CONTROL_CLASSIFIER_PIN_H
#define POSTERN_CONTROL_CLASSIFIER_PIN_H

#include <stddef.h>
#include <stdint.h>

#include <bpf/libbpf.h>

#include "control/status.h"

/* Makes `dir` a directory on bpffs, 0700; mounts one there when it is on another file system. */
enum status classifier_pin_prepare(const char *dir, struct problems *problems);

/*
 * Before the object is loaded: lets each of its maps take over the pinned one of the same name and definition. What is
 * missing is looked for in the `donor_count` loaded programs (a mount namespace that ended took the pins with it, the
 * programs still run); what is found nowhere, or has another shape, is created anew and empty.
 */
void classifier_pin_adopt(const char *dir, struct bpf_object *object, const int *donor_fds, size_t donor_count);

/* Of the map of this name, found likewise; 0: it is nowhere. */
uint32_t classifier_pin_map_id(const char *dir, const char *name, const int *donor_fds, size_t donor_count);

/* After the load: pins every map and program under its name, in place of what has another identity. */
enum status classifier_pin_all(const char *dir, struct bpf_object *object, struct problems *problems);

/* Removes our pins, the mount if it is ours, and the directory if it is then empty. */
enum status classifier_pin_remove(const char *dir, struct problems *problems);

#endif
