/* SPDX-License-Identifier: Apache-2.0 */
#include "control/drop_monitor.h"

#include <stdlib.h>

#include "control/classifier.h"

static void take(void *context, const struct drop_sample *sample)
{
	struct drop_monitor *monitor = context;

	monitor->samples[monitor->count++ % DROP_MONITOR_SAMPLE_COUNT] = *sample;
}

static void leave(void *context, const struct drop_sample *sample)
{
}

enum status drop_monitor_ask(struct drop_monitor *monitor, struct classifier *classifier, uint64_t now_ns)
{
	enum status status = STATUS_OK;

	monitor->asked_ns = now_ns;
	if (monitor->samples != NULL)
		return classifier_read_samples(classifier, take, monitor);
	monitor->samples = calloc(DROP_MONITOR_SAMPLE_COUNT, sizeof(*monitor->samples));
	if (monitor->samples == NULL)
		return STATUS_NO_MEMORY;
	/* What is still in the ring is of another watcher's time. */
	status = classifier_read_samples(classifier, leave, monitor);
	if (status == STATUS_OK)
		status = classifier_watch_drops(classifier, true);
	if (status != STATUS_OK)
		drop_monitor_close(monitor, classifier);
	return status;
}

uint64_t drop_monitor_first(const struct drop_monitor *monitor, uint64_t from)
{
	uint64_t oldest = monitor->count > DROP_MONITOR_SAMPLE_COUNT ? monitor->count - DROP_MONITOR_SAMPLE_COUNT : 0;

	if (from > monitor->count)
		return monitor->count;
	return from < oldest ? oldest : from;
}

const struct drop_sample *drop_monitor_get(const struct drop_monitor *monitor, uint64_t number)
{
	return &monitor->samples[number % DROP_MONITOR_SAMPLE_COUNT];
}

void drop_monitor_tick(struct drop_monitor *monitor, struct classifier *classifier, uint64_t now_ns)
{
	if (monitor->samples != NULL && now_ns - monitor->asked_ns > DROP_MONITOR_IDLE_S * 1000000000ull)
		drop_monitor_close(monitor, classifier);
}

void drop_monitor_close(struct drop_monitor *monitor, struct classifier *classifier)
{
	if (monitor->samples == NULL)
		return;
	if (classifier != NULL)
		(void)classifier_watch_drops(classifier, false);
	free(monitor->samples);
	monitor->samples = NULL;
}
