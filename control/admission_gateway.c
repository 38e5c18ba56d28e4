/* SPDX-License-Identifier: Apache-2.0 */
#include "control/admission_gateway.h"

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "control/gateway_client.h"
#include "control/scalar.h"

enum {
	GATHER_MS = 2,
	RETRY_MS = 250,
	RETRY_MAX_MS = 2000,
	CHECK_S = 5,		  /* how often the two counts are compared while nothing changes */
	REQUEST_ADDS_MAX = 10000, /* a fraction of what the server takes as a body */
	PATH_SIZE_BYTES = 96,
	TABLE_SIZE_BYTES = 64,
};

/* What names a worker towards the gateway. */
struct worker_key {
	uint32_t vni, address;
	uint64_t epoch;
};

struct key_list {
	struct worker_key *keys;
	size_t count, capacity;
};

enum request_kind { REQUEST_SHOW, REQUEST_CHANGE, REQUEST_SYNC };

struct admission_gateway {
	struct admission_gateway_options options;
	uint32_t vtep; /* the gateway's */
	struct gateway_client *client;
	struct event *due;
	char path[PATH_SIZE_BYTES];
	char table[TABLE_SIZE_BYTES];	/* empty: not known */
	struct key_list adds, removals; /* to be told */
	struct key_list told;		/* the adds of the request under way */
	enum request_kind kind;		/* of it */
	bool sync_wanted;
	struct key_list syncing; /* what a sync has yet to tell */
	bool sync_is_last;	 /* the request under way ends it */
	uint64_t sync;
	unsigned retry_ms;
	uint64_t checked_ns;
	bool known; /* whether it answers: false until the first answer or failure */
	char error[GATEWAY_CLIENT_WHY_SIZE_BYTES + 64];
};

static void gateway_next(struct admission_gateway *gateway);

/* ---- lists ---- */

/* Without memory the worker waits for the next sync. */
static void list_add(struct admission_gateway *gateway, struct key_list *list, struct worker_key key)
{
	if (list->count == list->capacity) {
		size_t capacity = list->capacity != 0 ? 2 * list->capacity : 64;
		struct worker_key *keys = realloc(list->keys, capacity * sizeof(*keys));

		if (keys == NULL) {
			gateway->sync_wanted = true;
			return;
		}
		list->keys = keys;
		list->capacity = capacity;
	}
	list->keys[list->count++] = key;
}

static void list_free(struct key_list *list)
{
	free(list->keys);
	*list = (struct key_list){0};
}

/* The worker that the key still names; NULL: it has gone, or is another one now. */
static struct worker *key_worker(const struct admission_gateway *gateway, const struct worker_key *key)
{
	struct worker *worker = worker_registry_by_address(gateway->options.registry, key->vni, key->address);

	return worker != NULL && worker->claimed && worker_epoch(worker) == key->epoch ? worker : NULL;
}

static uint32_t bit_of(const struct admission_gateway *gateway)
{
	return 1u << gateway->options.index;
}

/* ---- requests ---- */

static json_t *key_json(const struct worker_key *key, bool with_epoch)
{
	char address[SCALAR_SIZE_BYTES];
	json_t *json = json_array();

	scalar_format_ipv4(key->address, address);
	json_array_append_new(json, json_integer(key->vni));
	json_array_append_new(json, json_string(address));
	if (with_epoch)
		json_array_append_new(json, json_integer((json_int_t)key->epoch));
	return json;
}

/* Moves up to REQUEST_ADDS_MAX that still are into the request. */
static json_t *take_adds(struct admission_gateway *gateway, struct key_list *from)
{
	json_t *adds = json_array();
	size_t taken = 0;

	gateway->told.count = 0;
	while (taken < from->count && gateway->told.count < REQUEST_ADDS_MAX) {
		const struct worker_key *key = &from->keys[taken++];

		if (key_worker(gateway, key) == NULL)
			continue;
		json_array_append_new(adds, key_json(key, true));
		list_add(gateway, &gateway->told, *key);
	}
	from->count -= taken;
	if (from->count != 0)
		memmove(from->keys, from->keys + taken, from->count * sizeof(*from->keys));
	return adds;
}

static json_t *take_removals(struct admission_gateway *gateway)
{
	json_t *removals = json_array();

	for (size_t i = 0; i < gateway->removals.count; i++)
		json_array_append_new(removals, key_json(&gateway->removals.keys[i], false));
	gateway->removals.count = 0;
	return removals;
}

static void gateway_send(struct admission_gateway *gateway, enum request_kind kind, json_t *body)
{
	gateway->kind = kind;
	gateway_client_send(gateway->client, kind == REQUEST_SHOW ? "GET" : "POST", gateway->path, body);
	json_decref(body);
}

/* All claimed workers, from here on to be told part by part. What waits besides is among them, or has gone. */
static void sync_begin(struct admission_gateway *gateway)
{
	const struct worker_registry *registry = gateway->options.registry;
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	gateway->sync = (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
	gateway->sync_wanted = false;
	gateway->adds.count = gateway->removals.count = gateway->syncing.count = 0;
	for (size_t i = 0; i < worker_registry_count(registry); i++) {
		struct worker *worker = worker_registry_at(registry, i);

		if (!worker->active || !worker->claimed)
			continue;
		worker->asked |= bit_of(gateway);
		list_add(gateway, &gateway->syncing,
			(struct worker_key){worker->vni, worker->spec.address, worker_epoch(worker)});
	}
}

static void send_sync(struct admission_gateway *gateway)
{
	json_t *adds = take_adds(gateway, &gateway->syncing);

	gateway->sync_is_last = gateway->syncing.count == 0;
	gateway_send(gateway, REQUEST_SYNC,
		json_pack("{s:s, s:o, s:I, s:b}", "table", gateway->table, "add", adds, "sync",
			(json_int_t)gateway->sync, "end", gateway->sync_is_last));
}

/* The next request, if there is anything to say. */
static void gateway_next(struct admission_gateway *gateway)
{
	if (gateway_client_is_busy(gateway->client) || event_pending(gateway->due, EV_TIMEOUT, NULL))
		return;
	if (gateway->table[0] == '\0') {
		gateway_send(gateway, REQUEST_SHOW, NULL);
		return;
	}
	if (gateway->sync_wanted)
		sync_begin(gateway);
	if (gateway->sync != 0) {
		send_sync(gateway);
	} else if (gateway->adds.count + gateway->removals.count > 0) {
		json_t *removals = take_removals(gateway), *adds = take_adds(gateway, &gateway->adds);

		gateway_send(gateway, REQUEST_CHANGE,
			json_pack("{s:s, s:o, s:o}", "table", gateway->table, "remove", removals, "add", adds));
	}
}

static void gateway_due(evutil_socket_t fd, short what, void *context)
{
	gateway_next(context);
}

static void gateway_schedule(struct admission_gateway *gateway, unsigned delay_ms)
{
	const struct timeval delay = {.tv_sec = delay_ms / 1000, .tv_usec = (suseconds_t)(delay_ms % 1000) * 1000};

	if (!gateway_client_is_busy(gateway->client) && !event_pending(gateway->due, EV_TIMEOUT, NULL))
		event_add(gateway->due, &delay);
}

/* ---- answers ---- */

static void gateway_failed(struct admission_gateway *gateway, const char *why)
{
	bool told = gateway->known && strstr(gateway->error, why) != NULL;
	char vtep[SCALAR_SIZE_BYTES];

	scalar_format_ipv4(gateway->vtep, vtep);
	snprintf(gateway->error, sizeof(gateway->error), "gateway %s does not acknowledge: %s", vtep, why);
	gateway->known = true;
	gateway->table[0] = '\0'; /* asked for first, so that one small request finds out */
	gateway->sync_wanted = true;
	gateway->sync = 0;
	gateway->retry_ms = gateway->retry_ms == 0 ? RETRY_MS : 2 * gateway->retry_ms;
	if (gateway->retry_ms > RETRY_MAX_MS)
		gateway->retry_ms = RETRY_MAX_MS;
	gateway_schedule(gateway, gateway->retry_ms);
	if (!told)
		gateway->options.handlers->changed(gateway->options.context, gateway->options.index);
}

static const char *refusal_of(const json_t *refused, const struct worker_key *key)
{
	char address[SCALAR_SIZE_BYTES];
	const json_t *one;
	size_t i;

	scalar_format_ipv4(key->address, address);
	json_array_foreach((json_t *)refused, i, one)
	{
		const char *text = json_string_value(json_array_get(one, 1));

		if (json_integer_value(json_array_get(one, 0)) == key->vni && text != NULL &&
			strcmp(text, address) == 0 && json_is_string(json_array_get(one, 2)))
			return json_string_value(json_array_get(one, 2));
	}
	return NULL;
}

/* In force at the gateway's dataplane, but for those that it refuses. */
static void acknowledge_told(struct admission_gateway *gateway, const json_t *refused)
{
	const struct admission_gateway_options *options = &gateway->options;

	for (size_t i = 0; i < gateway->told.count; i++) {
		struct worker *worker = key_worker(gateway, &gateway->told.keys[i]);
		const char *why = json_array_size(refused) > 0 ? refusal_of(refused, &gateway->told.keys[i]) : NULL;

		if (worker == NULL)
			continue;
		worker->asked &= ~bit_of(gateway);
		if (why == NULL)
			worker->acknowledged |= bit_of(gateway);
		else
			worker->acknowledged &= ~bit_of(gateway);
		options->handlers->answered(options->context, options->index, worker, why);
	}
	gateway->told.count = 0;
}

static size_t acknowledged_count(const struct admission_gateway *gateway)
{
	const struct worker_registry *registry = gateway->options.registry;
	size_t count = 0;

	for (size_t i = 0; i < worker_registry_count(registry); i++)
		count += (worker_registry_at(registry, i)->acknowledged & bit_of(gateway)) != 0;
	return count;
}

static void answer_shown(struct admission_gateway *gateway, const json_t *json)
{
	const char *table = json_string_value(json_object_get(json, "table"));
	bool same = table != NULL && strcmp(table, gateway->table) == 0;

	if (table == NULL || strlen(table) >= sizeof(gateway->table)) {
		gateway_failed(gateway, "its answer names no table");
		return;
	}
	snprintf(gateway->table, sizeof(gateway->table), "%s", table);
	if (!same || (gateway->adds.count + gateway->removals.count == 0 &&
			     (size_t)json_integer_value(json_object_get(json, "count")) != acknowledged_count(gateway)))
		gateway->sync_wanted = true;
}

static void answer_changed(struct admission_gateway *gateway, const json_t *json)
{
	if (gateway->kind == REQUEST_SYNC && gateway->sync_is_last)
		gateway->sync = 0;
	acknowledge_told(gateway, json_object_get(json, "refused"));
}

static const char *error_of(const json_t *json, const char *key)
{
	const char *error = json_string_value(json_object_get(json, key));

	return error != NULL ? error : "it answered something unknown";
}

static void gateway_answered(void *context, int code, const json_t *json, const char *why)
{
	struct admission_gateway *gateway = context;
	bool was_bad = !gateway->known || gateway->error[0] != '\0';

	if (json == NULL) {
		gateway_failed(gateway, why);
		return;
	}
	/* 202: it knows the workers, and its dataplane has not taken them yet. */
	if (code != 200) {
		gateway_failed(gateway, error_of(json, code == 202 ? "reason" : "error"));
		return;
	}
	gateway->known = true;
	gateway->error[0] = '\0';
	gateway->retry_ms = 0;
	if (gateway->kind == REQUEST_SHOW)
		answer_shown(gateway, json);
	else
		answer_changed(gateway, json);
	if (was_bad && gateway->error[0] == '\0')
		gateway->options.handlers->changed(gateway->options.context, gateway->options.index);
	gateway_next(gateway);
}

/* ---- what is to be told ---- */

void admission_gateway_add(struct admission_gateway *gateway, struct worker *worker)
{
	worker->asked |= bit_of(gateway);
	list_add(gateway, &gateway->adds, (struct worker_key){worker->vni, worker->spec.address, worker_epoch(worker)});
	gateway_schedule(gateway, GATHER_MS);
}

void admission_gateway_remove(struct admission_gateway *gateway, uint32_t vni, uint32_t address)
{
	list_add(gateway, &gateway->removals, (struct worker_key){.vni = vni, .address = address});
	gateway_schedule(gateway, GATHER_MS);
}

void admission_gateway_tick(struct admission_gateway *gateway, uint64_t now_ns)
{
	if (gateway_client_is_busy(gateway->client) || event_pending(gateway->due, EV_TIMEOUT, NULL))
		return;
	if (now_ns - gateway->checked_ns >= CHECK_S * 1000000000ull && gateway->table[0] != '\0' &&
		gateway->adds.count + gateway->removals.count == 0 && gateway->sync == 0) {
		gateway->checked_ns = now_ns;
		gateway_send(gateway, REQUEST_SHOW, NULL);
		return;
	}
	gateway_next(gateway);
}

/* ---- life ---- */

enum status admission_gateway_open(
	const struct admission_gateway_options *options, struct admission_gateway **ret_gateway)
{
	struct admission_gateway *gateway = calloc(1, sizeof(*gateway));
	char vtep[SCALAR_SIZE_BYTES];
	enum status status;

	if (gateway == NULL)
		return STATUS_NO_MEMORY;
	gateway->options = *options;
	gateway->options.admission = NULL; /* these two are the caller's */
	gateway->options.gateway = NULL;
	gateway->vtep = options->gateway->vtep;
	gateway->sync_wanted = true;
	scalar_format_ipv4(options->vtep, vtep);
	snprintf(gateway->path, sizeof(gateway->path), "/v1/hosts/%s/workers", vtep);
	snprintf(gateway->error, sizeof(gateway->error), "a gateway has not been reached yet");
	gateway->due = event_new(options->base, -1, 0, gateway_due, gateway);
	status = gateway->due == NULL ? STATUS_NO_MEMORY
				      : gateway_client_open(options->base, options->admission, options->gateway->api,
						gateway_answered, gateway, &gateway->client);
	if (status != STATUS_OK) {
		admission_gateway_close(gateway);
		return status;
	}
	gateway_schedule(gateway, 0);
	*ret_gateway = gateway;
	return STATUS_OK;
}

void admission_gateway_close(struct admission_gateway *gateway)
{
	if (gateway == NULL)
		return;
	gateway_client_close(gateway->client);
	if (gateway->due != NULL)
		event_free(gateway->due);
	list_free(&gateway->adds);
	list_free(&gateway->removals);
	list_free(&gateway->told);
	list_free(&gateway->syncing);
	free(gateway);
}

const char *admission_gateway_error(const struct admission_gateway *gateway)
{
	return gateway->error[0] != '\0' ? gateway->error : NULL;
}

uint32_t admission_gateway_vtep(const struct admission_gateway *gateway)
{
	return gateway->vtep;
}
