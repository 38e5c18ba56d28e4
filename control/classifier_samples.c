/* SPDX-License-Identifier: Apache-2.0 */
/* The samples of dropped packets: see control/classifier.h. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <stdlib.h>

#include "control/classifier.h"
#include "control/classifier_state.h"

enum status classifier_watch_drops(struct classifier *classifier, bool watch)
{
	const struct sample_config config = {.interval_ns = watch ? 1000000000ull / CLASSIFIER_SAMPLES_PER_SECOND : 0};
	uint32_t zero = 0;

	if (bpf_map_update_elem(bpf_map__fd(classifier->bpf->maps.sample_config), &zero, &config, BPF_ANY) != 0)
		return STATUS_SYSTEM;
	return STATUS_OK;
}

struct sample_reader {
	classifier_sample_fn *take;
	void *context;
};

static int sample_read(void *context, void *data, size_t size_bytes)
{
	const struct sample_reader *reader = context;

	if (size_bytes >= sizeof(struct drop_sample))
		reader->take(reader->context, data);
	return 0;
}

enum status classifier_read_samples(struct classifier *classifier, classifier_sample_fn *take, void *context)
{
	struct sample_reader reader = {take, context};
	struct ring_buffer *ring =
		ring_buffer__new(bpf_map__fd(classifier->bpf->maps.drop_samples), sample_read, &reader, NULL);
	int count;

	if (ring == NULL)
		return STATUS_SYSTEM;
	count = ring_buffer__consume(ring);
	ring_buffer__free(ring);
	return count < 0 ? STATUS_SYSTEM : STATUS_OK;
}

enum status classifier_samples_lost(struct classifier *classifier, uint64_t *ret_lost)
{
	struct sample_state *states;
	uint64_t lost = 0;
	uint32_t zero = 0;

	if (classifier->cpu_count <= 0)
		return STATUS_SYSTEM;
	states = calloc((size_t)classifier->cpu_count, sizeof(*states));
	if (states == NULL)
		return STATUS_NO_MEMORY;
	if (bpf_map_lookup_elem(bpf_map__fd(classifier->bpf->maps.sample_state), &zero, states) != 0) {
		free(states);
		return STATUS_SYSTEM;
	}
	for (int cpu = 0; cpu < classifier->cpu_count; cpu++)
		lost += states[cpu].lost;
	free(states);
	*ret_lost = lost;
	return STATUS_OK;
}
