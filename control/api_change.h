/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One change of a workspace that the API owns: validated as a file is, stored as DIR/state/api.d/workspace-ID.json,
 * desired, audited, and answered when it is in force. An error on the way answers too, and nothing has changed.
 *
 * Versions: an object's ETag is a digest of what the configuration says of it, defaults written out. It survives
 * restarts, and two changes that do not touch the same object do not get into each other's way. Thread: the event
 * loop's.
 */
#ifndef POSTERN_CONTROL_API_CHANGE_H
#define POSTERN_CONTROL_API_CHANGE_H

#include "control/api_request.h"
#include "control/model.h"

enum { API_ETAG_SIZE_BYTES = 24 };

/* `"0123456789abcdef"`, quotes included, of any JSON. */
void api_etag(const json_t *json, char ret_etag[API_ETAG_SIZE_BYTES]);

/* Does the header field name this version? "*" is any, if there is one; `etag` NULL: there is no such object. */
bool api_etag_matches(const char *field, const char *etag);

/* The workspace in the desired configuration; NULL: there is none. */
const struct model_workspace *api_find_workspace(const struct daemon *daemon, const char *id);

struct api_change {
	const char *id;			       /* of the workspace */
	const struct model_workspace *current; /* as desired now; NULL: there is none */
	json_t *wanted;			       /* the workspace in the file's grammar; NULL: it goes. Taken */
	bool needs_version;		       /* If-Match must be there when `current` is: 428 */
};

/* Answers in any case. */
void api_change_workspace(struct api_request *request, struct api_change *change);

#endif
