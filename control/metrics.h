/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /metrics in the Prometheus text format 0.0.4, /healthz and /readyz. What is exported stands in control/metrics.c,
 * each with its help; names end in their unit, counters in _total. Thread: the event loop's; a scrape of 10,000
 * workspaces takes well under 200 ms.
 */
#ifndef POSTERN_CONTROL_METRICS_H
#define POSTERN_CONTROL_METRICS_H

#include "control/api_route.h"
#include "control/status.h"

struct daemon;
struct evbuffer;

extern const struct api_routes metrics_routes;

enum status metrics_write(struct daemon *daemon, struct evbuffer *body);

#endif
