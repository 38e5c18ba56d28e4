/* SPDX-License-Identifier: Apache-2.0 */
/* posternd's JSON as tables for people. Missing or odd members show as nothing: the daemon may be of another version.
 */
#ifndef POSTERN_TOOLS_POSTERN_SHOW_H
#define POSTERN_TOOLS_POSTERN_SHOW_H

#include <jansson.h>
#include <stdio.h>

void show_status(const json_t *status, FILE *stream);
void show_workspaces(const json_t *answer, FILE *stream);
void show_sessions(const json_t *answer, FILE *stream);
void show_drops(const json_t *answer, FILE *stream);
void show_mappings(const json_t *answer, FILE *stream);
void show_refusals(const json_t *answer, FILE *stream);
/* Like sessions, of one egress address and port. */
void show_who(const json_t *answer, FILE *stream);

#endif
