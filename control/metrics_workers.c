/* SPDX-License-Identifier: Apache-2.0 */
#include "control/metrics_workers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/admission.h"
#include "control/admission_gateway.h"
#include "control/daemon.h"
#include "control/metrics_text.h"
#include "control/registration_rules.h"
#include "control/registrations.h"
#include "control/scalar.h"
#include "control/worker_fence.h"

enum { LABELS_SIZE_BYTES = 3 * ID_SIZE_BYTES };

static void write_states(const struct daemon *daemon, struct metrics_text *text)
{
	struct admission_totals totals;
	char labels[LABELS_SIZE_BYTES];

	admission_count(daemon->admission, &totals);
	metrics_family(text, "postern_workers", "gauge", "Workers of this host, by state.");
	for (unsigned state = 0; state < WORKER_STATE_COUNT; state++) {
		snprintf(labels, sizeof(labels), "state=\"%s\"", worker_state_text(state));
		metrics_sample(text, "postern_workers", labels, totals.of_state[state]);
	}
	metrics_family(text, "postern_workers_by_source", "gauge", "Workers of this host, by who wants them.");
	for (unsigned source = 0; source < WORKER_SOURCE_COUNT; source++) {
		snprintf(labels, sizeof(labels), "source=\"%s\"", worker_source_text(source));
		metrics_sample(text, "postern_workers_by_source", labels, totals.of_source[source]);
	}
}

static void write_gateways(const struct daemon *daemon, struct metrics_text *text)
{
	metrics_family(
		text, "postern_admission_gateway_up", "gauge", "Whether the gateway acknowledges this host's workers.");
	for (size_t i = 0; i < admission_gateway_count(daemon->admission); i++) {
		const struct admission_gateway *gateway = admission_gateway_at(daemon->admission, i);
		char labels[LABELS_SIZE_BYTES], vtep[SCALAR_SIZE_BYTES];

		scalar_format_ipv4(admission_gateway_vtep(gateway), vtep);
		snprintf(labels, sizeof(labels), "gateway=\"%s\"", vtep);
		metrics_sample(text, "postern_admission_gateway_up", labels, admission_gateway_error(gateway) == NULL);
	}
}

static void write_ready(const struct daemon *daemon, struct metrics_text *text)
{
	static const char *const bounds[READY_BUCKET_COUNT + 1] = {
		"0.001", "0.002", "0.005", "0.01", "0.02", "0.05", "0.1", "0.2", "0.5", "1", "5", "30", "+Inf"};
	const struct admission_ready *ready = admission_ready(daemon->admission);
	char labels[LABELS_SIZE_BYTES];
	uint64_t below = 0;

	metrics_family(text, "postern_worker_ready_seconds", "histogram",
		"From the moment when a worker was wanted and its interface there until it was open.");
	for (unsigned i = 0; i <= READY_BUCKET_COUNT; i++) {
		below += ready->counts[i];
		snprintf(labels, sizeof(labels), "le=\"%s\"", bounds[i]);
		metrics_sample(text, "postern_worker_ready_seconds_bucket", labels, below);
	}
	metrics_sample_real(text, "postern_worker_ready_seconds_sum", NULL, ready->sum_s);
	metrics_sample(text, "postern_worker_ready_seconds_count", NULL, ready->count);
}

static void write_registrations(const struct daemon *daemon, struct metrics_text *text)
{
	const struct model_registered_worker *workers;
	char labels[LABELS_SIZE_BYTES];

	metrics_family(text, "postern_registered_workers", "gauge",
		"Workers that worker hosts have registered with this gateway.");
	metrics_sample(text, "postern_registered_workers", NULL, registrations_all(daemon->registrations, &workers));
	metrics_family(text, "postern_registrations_refused_total", "counter",
		"Attempts of worker hosts to register a worker that were refused.");
	for (unsigned refusal = 0; refusal < REGISTRATION_REFUSAL_COUNT; refusal++) {
		snprintf(labels, sizeof(labels), "reason=\"%s\"", registration_refusal_label(refusal));
		metrics_sample(text, "postern_registrations_refused_total", labels,
			daemon->registration_refusals.counts[refusal]);
	}
}

static void write_fence(const struct daemon *daemon, struct metrics_text *text)
{
	const struct worker_fence *fence = admission_fence(daemon->admission);

	if (daemon_worker_host(daemon)->interfaces[0] == '\0')
		return;
	metrics_family(text, "postern_worker_fence_up", "gauge",
		"Whether what comes in by worker_host.interfaces is kept out of this host's stack.");
	metrics_sample(text, "postern_worker_fence_up", NULL, worker_fence_problem(fence) == NULL);
	metrics_family(text, "postern_worker_fence_packets_total", "counter",
		"Packets of interfaces that were not closed yet, kept out of this host's stack.");
	metrics_sample(text, "postern_worker_fence_packets_total", NULL, worker_fence_packets(fence));
}

/* ---- each worker ---- */

struct worker_sample {
	const struct worker *worker;
	struct worker_traffic traffic;
};

static uint64_t drops_of(const struct worker_traffic *traffic)
{
	uint64_t sum = 0;

	for (unsigned reason = 0; reason < WORKER_DROP_COUNT; reason++)
		sum += traffic->drops[reason];
	return sum;
}

static uint64_t value_of(const struct worker_sample *sample, unsigned family)
{
	const uint64_t values[] = {sample->traffic.out_packets, sample->traffic.out_bytes, sample->traffic.in_packets,
		sample->traffic.in_bytes, drops_of(&sample->traffic)};

	return values[family];
}

static void write_each(struct daemon *daemon, struct metrics_text *text)
{
	static const char *const families[][2] = {
		{"postern_worker_transmit_packets_total", "Packets that the worker sent towards the gateway."},
		{"postern_worker_transmit_bytes_total", "Bytes that the worker sent towards the gateway."},
		{"postern_worker_receive_packets_total", "Packets delivered to the worker."},
		{"postern_worker_receive_bytes_total", "Bytes delivered to the worker."},
		{"postern_worker_dropped_packets_total", "Packets of and to the worker dropped on this host."},
	};
	const struct worker_registry *registry = admission_registry(daemon->admission);
	struct worker_sample *samples = calloc(worker_registry_count(registry) + 1, sizeof(*samples));
	char labels[LABELS_SIZE_BYTES];
	size_t count = 0;

	for (size_t i = 0; samples != NULL && i < worker_registry_count(registry); i++) {
		samples[count].worker = worker_registry_at(registry, i);
		if (samples[count].worker->state == WORKER_OPEN &&
			classifier_read_worker(daemon->classifier, samples[count].worker->ifindex,
				&samples[count].traffic) == STATUS_OK)
			count++;
	}
	for (unsigned family = 0; family < sizeof(families) / sizeof(families[0]); family++) {
		metrics_family(text, families[family][0], "counter", families[family][1]);
		for (size_t i = 0; i < count; i++) {
			snprintf(labels, sizeof(labels), "workspace=\"%s\",interface=\"%s\"",
				samples[i].worker->spec.workspace, samples[i].worker->spec.interface);
			metrics_sample(text, families[family][0], labels, value_of(&samples[i], family));
		}
	}
	free(samples);
}

void metrics_workers_write(struct daemon *daemon, struct metrics_text *text)
{
	if (daemon_gateway(daemon) != NULL)
		write_registrations(daemon, text);
	if (daemon_worker_host(daemon) == NULL)
		return;
	write_states(daemon, text);
	write_gateways(daemon, text);
	write_ready(daemon, text);
	write_fence(daemon, text);
	if ((daemon->config.desired->model->metrics_flags & MODEL_METRICS_PER_WORKER) && daemon->classifier != NULL)
		write_each(daemon, text);
}
