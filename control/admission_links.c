/* SPDX-License-Identifier: Apache-2.0 */
#include "control/admission_links.h"

#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/admission.h"
#include "control/api_workers.h"
#include "control/apply.h"
#include "control/audit.h"
#include "control/classifier_link.h"
#include "control/daemon.h"
#include "control/host_interfaces.h"
#include "control/worker_fence.h"
#include "control/worker_links.h"

enum { LOGGED_ALIAS_SIZE_BYTES = 320 };

struct admission_links {
	struct daemon *daemon;
	struct admission *admission;
	struct worker_registry *registry;
	struct worker_links *links;
	struct worker_fence *fence;
	const struct model_worker_host *host; /* NULL: not known yet */
	bool read_once;			      /* who is there at the start has been found, not changed */
	char logged_alias[LOGGED_ALIAS_SIZE_BYTES];
};

static bool name_is_claimed(const struct admission_links *links, const char *name)
{
	const char *pattern = links->host->interfaces;

	return pattern[0] != '\0' && strncmp(name, pattern, strlen(pattern) - 1) == 0;
}

/* A worker by alias has come, or gone, or become another one: NULL is nobody. Takes both. */
static void audit_alias(const struct admission_links *links, const char *interface, json_t *from, json_t *to)
{
	char what[LOGGED_ALIAS_SIZE_BYTES];

	if (links->read_once && !json_equal(from, to)) {
		snprintf(what, sizeof(what), "link %s", interface);
		audit_write(links->daemon->audit, "netlink", what, from, to);
	} else {
		json_decref(from);
		json_decref(to);
	}
}

static json_t *alias_json(const struct admission_links *links, const char *interface)
{
	const struct worker *worker = worker_registry_find_of(links->registry, WORKER_SOURCE_NETLINK, interface);

	return worker != NULL ? api_workers_spec_json(&worker->spec) : NULL;
}

static void forget_alias(struct admission_links *links, const char *interface)
{
	json_t *was = alias_json(links, interface);

	if (worker_registry_remove(links->registry, WORKER_SOURCE_NETLINK, interface))
		audit_alias(links, interface, was, NULL);
	else
		json_decref(was);
}

/* An alias that was taken under the former name of its link, of which nothing more will be told. */
static void forget_renamed(struct admission_links *links, const struct worker *worker)
{
	const struct worker *holder = worker_registry_by_address(links->registry, worker->vni, worker->spec.address);
	char name[INTERFACE_NAME_SIZE_BYTES];

	if (holder == NULL || holder->source != WORKER_SOURCE_NETLINK || holder->ifindex != 0 ||
		if_nametoindex(holder->spec.interface) != 0)
		return;
	memcpy(name, holder->spec.interface, sizeof(name));
	forget_alias(links, name);
}

/* The kernel does not tell when the alias of a link that is down changes: it holds while the link is up. */
static void take_alias(struct admission_links *links, const struct worker_link *link)
{
	struct worker_spec spec;
	const char *why = "";
	char text[LOGGED_ALIAS_SIZE_BYTES];
	struct worker *worker;
	json_t *was;

	switch (link->up ? worker_alias_parse(link->name, link->alias, &spec, &why) : WORKER_ALIAS_NONE) {
	case WORKER_ALIAS_VALID:
		was = alias_json(links, link->name);
		if (worker_registry_put(links->registry, WORKER_SOURCE_NETLINK, &spec, 0, &worker) != STATUS_OK)
			log_error(&links->daemon->log, "%s: there is no room for another worker", link->name);
		else if (worker->state == WORKER_CONFLICT)
			forget_renamed(links, worker);
		audit_alias(links, link->name, was, alias_json(links, link->name));
		return;
	case WORKER_ALIAS_INVALID:
		snprintf(text, sizeof(text), "%s: alias %.160s: %s", link->name, link->alias, why);
		if (strcmp(text, links->logged_alias) != 0)
			log_warning(&links->daemon->log, "%s", text);
		memcpy(links->logged_alias, text, sizeof(text));
		break;
	case WORKER_ALIAS_NONE:
		break;
	}
	forget_alias(links, link->name);
}

static void link_gone(struct admission_links *links, const struct worker_link *link)
{
	struct worker *worker = worker_registry_by_ifindex(links->registry, link->ifindex);

	if (worker != NULL)
		worker_registry_set_ifindex(links->registry, worker, 0);
	forget_alias(links, link->name);
	if (strcmp(link->name, host_interfaces_device(links->host)) == 0)
		apply_check(links->daemon); /* the VXLAN device itself */
}

/* It has another name now. */
static void link_renamed(struct admission_links *links, struct worker *worker)
{
	char name[INTERFACE_NAME_SIZE_BYTES];

	memcpy(name, worker->spec.interface, sizeof(name));
	worker_registry_set_ifindex(links->registry, worker, 0);
	forget_alias(links, name);
}

static void link_told(void *context, const struct worker_link *link)
{
	struct admission_links *links = context;
	struct problems problems = {0};
	struct worker *worker;
	enum status status = STATUS_OK;

	if (links->host == NULL || links->daemon->classifier == NULL)
		return; /* everything is read once there is a configuration */
	if (link->gone) {
		link_gone(links, link);
	} else {
		worker = worker_registry_by_ifindex(links->registry, link->ifindex);
		if (worker != NULL && strcmp(worker->spec.interface, link->name) != 0)
			link_renamed(links, worker);
		else if (worker == NULL && name_is_claimed(links, link->name))
			status = classifier_claim(links->daemon->classifier, link->ifindex, link->name, &problems);
		if (status != STATUS_OK)
			log_problems(&links->daemon->log,
				status == STATUS_UNREACHABLE ? LOG_LEVEL_DEBUG : LOG_LEVEL_ERROR, &problems);
		if (links->host->flags & MODEL_NETLINK_ALIAS)
			take_alias(links, link);
		worker = worker_registry_find(links->registry, link->name);
		if (worker != NULL)
			worker_registry_set_ifindex(links->registry, worker, link->ifindex);
	}
	problems_clear(&problems);
	if (worker_registry_has_work(links->registry))
		admission_work(links->admission);
}

static void links_begin(void *context)
{
	struct admission_links *links = context;

	worker_registry_begin(links->registry, WORKER_SOURCE_NETLINK);
}

/* Interfaces whose end nobody told of. */
static void links_end(void *context)
{
	struct admission_links *links = context;

	worker_registry_end(links->registry, WORKER_SOURCE_NETLINK);
	links->read_once = true;
	for (size_t i = 0; i < worker_registry_count(links->registry); i++) {
		struct worker *worker = worker_registry_at(links->registry, i);

		if (worker->spec.cgroup == NULL && worker->ifindex != 0 &&
			classifier_link_index(worker->spec.interface) != worker->ifindex)
			worker_registry_set_ifindex(links->registry, worker, 0);
	}
	admission_schedule(links->admission);
}

static const struct worker_links_handlers handlers = {.link = link_told, .begin = links_begin, .end = links_end};

enum status admission_links_open(struct daemon *daemon, struct admission *admission, struct worker_registry *registry,
	struct admission_links **ret_links, struct problems *problems)
{
	struct admission_links *links = calloc(1, sizeof(*links));
	enum status status;

	if (links == NULL)
		return STATUS_NO_MEMORY;
	links->daemon = daemon;
	links->admission = admission;
	links->registry = registry;
	status = worker_links_open(daemon->base, &handlers, links, &links->links, problems);
	if (status == STATUS_OK)
		status = worker_fence_open(&links->fence);
	if (status != STATUS_OK) {
		admission_links_close(links);
		return status;
	}
	*ret_links = links;
	return STATUS_OK;
}

void admission_links_close(struct admission_links *links)
{
	if (links == NULL)
		return;
	worker_links_close(links->links);
	worker_fence_close(links->fence);
	free(links);
}

void admission_links_set_host(struct admission_links *links, const struct model_worker_host *host)
{
	links->host = host;
	worker_fence_set(links->fence, host->interfaces);
}

void admission_links_tick(struct admission_links *links)
{
	if (links->host != NULL)
		worker_fence_check(links->fence);
}

const struct worker_fence *admission_links_fence(const struct admission_links *links)
{
	return links->fence;
}

void admission_links_read(struct admission_links *links)
{
	worker_links_read(links->links);
}
