/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The OpenAPI 3.1 description of the API: paths from the routes, bodies from the field table. docs/openapi.json is this;
 * a test keeps it equal. Pure; any thread.
 */
#ifndef POSTERN_CONTROL_OPENAPI_H
#define POSTERN_CONTROL_OPENAPI_H

#include <jansson.h>

#include "control/api_route.h"

json_t *openapi_json(const struct api_routes *routes);

#endif
