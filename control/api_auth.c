/* SPDX-License-Identifier: Apache-2.0 */
#include "control/api_auth.h"

#include <stdio.h>
#include <unistd.h>

#include "control/daemon.h"

/* Who can open the socket is in its group, or root: the file's mode has seen to that. */
static void identify_local(const struct http_peer *peer, struct api_caller *caller)
{
	caller->kind = API_CALLER_LOCAL;
	snprintf(caller->name, sizeof(caller->name), "uid=%u pid=%d", (unsigned)peer->uid, (int)peer->pid);
	caller->roles.read = true;
	caller->roles.operate = true;
}

bool api_auth_identify(struct daemon *daemon, const struct http_exchange *exchange, struct api_caller *ret_caller,
	char ret_why[API_AUTH_WHY_SIZE_BYTES])
{
	if (exchange->peer.local) {
		identify_local(&exchange->peer, ret_caller);
		return true;
	}
	snprintf(ret_why, API_AUTH_WHY_SIZE_BYTES, "nobody is known here: ask over the Unix socket");
	return false;
}

bool api_auth_metrics_wanted(const struct daemon *daemon)
{
	return false;
}
