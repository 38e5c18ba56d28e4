/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One question to posternd: HTTP over DIR/posternd.sock. Blocking, bounded in time and size. Thread: any.
 */
#ifndef POSTERN_TOOLS_POSTERN_CLIENT_H
#define POSTERN_TOOLS_POSTERN_CLIENT_H

#include <stdbool.h>
#include <stddef.h>

enum { CLIENT_TIMEOUT_MS = 30000, CLIENT_ANSWER_MAX_BYTES = 256 * 1024 * 1024 };

struct client_answer {
	int code;   /* of HTTP */
	char *body; /* terminated; owned by the caller */
	size_t body_bytes;
};

/* `method`: "GET" or "POST". False: posternd is not there, or does not answer; the reason is printed on stderr. */
bool client_ask(const char *run_dir, const char *method, const char *path, struct client_answer *ret_answer);

/* Any method, with a JSON body or NULL. */
bool client_ask_with_body(
	const char *run_dir, const char *method, const char *path, const char *body, struct client_answer *ret_answer);

/* Prints posternd's error; the exit code for it. */
int client_failed(const struct client_answer *answer);

/* Appends `name=value` to a path, escaped. The path begins without a query. False when it does not fit. */
bool client_add_parameter(char *path, size_t size_bytes, const char *name, const char *value);

#endif
