/* SPDX-License-Identifier: Apache-2.0 */
/* The JSON of /v1/status, /v1/workspaces and /v1/drops. The caller owns what is returned; NULL without memory. */
#ifndef POSTERN_CONTROL_API_STATUS_H
#define POSTERN_CONTROL_API_STATUS_H

#include <jansson.h>
#include <stdint.h>

struct daemon;

json_t *api_status_json(struct daemon *daemon);
json_t *api_workspaces_json(struct daemon *daemon);
json_t *api_drops_json(struct daemon *daemon);

/* "203.0.113.10" */
json_t *api_address_json(uint32_t address);

#endif
