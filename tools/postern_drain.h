/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `postern drain`: takes an egress IP out of use, and shows how far that is. Thread: any.
 */
#ifndef POSTERN_TOOLS_POSTERN_DRAIN_H
#define POSTERN_TOOLS_POSTERN_DRAIN_H

#include <stdbool.h>

#define DRAIN_USAGE "drain IP [--deadline D] [--force | --cancel] [--json] | drain --list [--watch N] [--json]"

struct drain_arguments {
	const char *run_dir;
	const char *address;  /* NULL: list */
	const char *deadline; /* NULL: none */
	bool force, cancel, json;
	unsigned watch_s; /* with list; 0: once */
};

struct model;

/* Lays the drains that posternd has over a model, as it would; false: it could not be asked. */
bool drain_overlay(const char *run_dir, struct model *model);

/* The exit code. */
int drain_command(const struct drain_arguments *arguments);

#endif
