/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS 1.3 for servers: certificate, key and the CA of clients from files, loaded anew when one of them changes. While
 * the new ones are not usable, the old ones go on; for how long clients are trusted by an old CA is the caller's to say.
 * Owner: the daemon. Thread: the event loop's.
 */
#ifndef POSTERN_CONTROL_TLS_H
#define POSTERN_CONTROL_TLS_H

#include <stdbool.h>

#include "control/api_caller.h"
#include "control/model.h"
#include "control/status.h"

struct ssl_st;
struct tls;

struct tls *tls_open(void);	 /* NULL: no memory */
void tls_close(struct tls *tls); /* NULL is fine */

/*
 * Uses the files that the model names, if they or their names have changed since the last call that went well: cheap
 * enough for each second. `ret_changed`: they were loaded. No `certificate`: there is no TLS. On failure the old ones
 * go on.
 */
enum status tls_refresh(struct tls *tls, const struct model_api *api, bool *ret_changed, struct problems *problems);

/* A new server session, for its owner to free; NULL: there is no certificate, or no memory. */
struct ssl_st *tls_session(struct tls *tls);

/* notAfter of the certificate in use, Unix seconds; 0: none. */
double tls_expiry_unix_s(const struct tls *tls);

/* The last tls_refresh() failed, and the CA of clients in use is not the one that the files have. */
bool tls_client_ca_is_stale(const struct tls *tls);

/*
 * The roles of the client whose certificate was verified, by its subject alternative names: "dns:ops.example" and so
 * on. False: no certificate, or no name of it is on the list. `ret_name` is the first that is.
 */
bool tls_client_roles(
	const struct ssl_st *session, const struct model_api *api, struct api_roles *ret_roles, const char **ret_name);

#endif
