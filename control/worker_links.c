/* SPDX-License-Identifier: Apache-2.0 */
#include "control/worker_links.h"

#include <event2/event.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netlink/attr.h>
#include <netlink/errno.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "control/scalar.h"

enum { RECEIVE_BUFFER_BYTES = 16 * 1024 * 1024, READ_ATTEMPT_MAX = 4 };

struct worker_links {
	const struct worker_links_handlers *handlers;
	void *context;
	struct nl_sock *events, *requests;
	struct event *readable;
};

/* ---- the alias ---- */

/* The next part up to a slash or the end; false: empty, or too long. */
static bool take_part(const char **at, char *ret_part, size_t size_bytes)
{
	size_t length = strcspn(*at, "/");

	if (length == 0 || length >= size_bytes)
		return false;
	memcpy(ret_part, *at, length);
	memset(ret_part + length, 0, size_bytes - length);
	*at += length;
	return true;
}

static bool take_slash(const char **at)
{
	if (**at != '/')
		return false;
	(*at)++;
	return true;
}

enum worker_alias worker_alias_parse(
	const char *interface, const char *alias, struct worker_spec *ret_spec, const char **ret_why)
{
	static const char prefix[] = "postern:";
	struct worker_spec spec = {0};
	char part[SCALAR_SIZE_BYTES];
	const char *at = alias + strlen(prefix);

	if (strncmp(alias, prefix, strlen(prefix)) != 0)
		return WORKER_ALIAS_NONE;
	*ret_why = "must be postern:WORKSPACE/VPC/ADDRESS, or with /MAC behind it";
	if (strlen(interface) >= sizeof(spec.interface))
		return WORKER_ALIAS_INVALID;
	memcpy(spec.interface, interface, strlen(interface));
	if (!take_part(&at, spec.workspace, sizeof(spec.workspace)) || !take_slash(&at) ||
		!take_part(&at, spec.vpc, sizeof(spec.vpc)) || !take_slash(&at) ||
		!take_part(&at, part, sizeof(part)) || scalar_check_id(spec.workspace) != NULL ||
		scalar_check_id(spec.vpc) != NULL || scalar_parse_ipv4(part, &spec.address) != NULL ||
		spec.address == 0)
		return WORKER_ALIAS_INVALID;
	if (*at != '\0') {
		if (!take_slash(&at) || !take_part(&at, part, sizeof(part)) || *at != '\0' ||
			scalar_parse_mac(part, spec.mac) != NULL)
			return WORKER_ALIAS_INVALID;
		spec.mac_present = true;
	}
	*ret_spec = spec;
	return WORKER_ALIAS_VALID;
}

/* ---- messages ---- */

/* False: no link of ours, such as a bridge's view of its port. */
static bool link_read(struct nlmsghdr *header, struct worker_link *ret_link)
{
	struct worker_link link = {.gone = header->nlmsg_type == RTM_DELLINK};
	struct nlattr *attributes[IFLA_MAX + 1];
	const struct ifinfomsg *info;

	if ((header->nlmsg_type != RTM_NEWLINK && header->nlmsg_type != RTM_DELLINK) ||
		!nlmsg_valid_hdr(header, sizeof(*info)))
		return false;
	info = nlmsg_data(header);
	if (info->ifi_family != AF_UNSPEC || info->ifi_index <= 0 ||
		nlmsg_parse(header, sizeof(*info), attributes, IFLA_MAX, NULL) != 0 || attributes[IFLA_IFNAME] == NULL)
		return false;
	link.ifindex = (uint32_t)info->ifi_index;
	link.up = (info->ifi_flags & IFF_UP) != 0;
	nla_strlcpy(link.name, attributes[IFLA_IFNAME], sizeof(link.name));
	if (attributes[IFLA_IFALIAS] != NULL)
		nla_strlcpy(link.alias, attributes[IFLA_IFALIAS], sizeof(link.alias));
	*ret_link = link;
	return true;
}

static int links_notified(struct nl_msg *message, void *context)
{
	struct worker_links *links = context;
	struct worker_link link;

	if (link_read(nlmsg_hdr(message), &link))
		links->handlers->link(links->context, &link);
	return NL_OK;
}

void worker_links_read(struct worker_links *links)
{
	const struct ifinfomsg info = {.ifi_family = AF_UNSPEC};

	for (int attempt = 0; attempt < READ_ATTEMPT_MAX; attempt++) {
		int error;

		links->handlers->begin(links->context);
		error = nl_send_simple(links->requests, RTM_GETLINK, NLM_F_DUMP, (void *)&info, sizeof(info));
		if (error >= 0)
			error = nl_recvmsgs_default(links->requests);
		if (error < 0)
			continue; /* interrupted: what was read may not be all */
		links->handlers->end(links->context);
		return;
	}
}

static void links_readable(evutil_socket_t fd, short what, void *context)
{
	struct worker_links *links = context;
	int error = nl_recvmsgs_default(links->events);

	/* ENOBUFS comes as NLE_NOMEM: notifications were lost, and nobody knows which. */
	if (error < 0 && error != -NLE_AGAIN)
		worker_links_read(links);
}

/* ---- life ---- */

static int sockets_open(struct worker_links *links)
{
	static const int size_bytes = RECEIVE_BUFFER_BYTES;
	int error;

	links->events = nl_socket_alloc();
	links->requests = nl_socket_alloc();
	if (links->events == NULL || links->requests == NULL)
		return -NLE_NOMEM;
	nl_socket_disable_seq_check(links->events);
	nl_socket_modify_cb(links->events, NL_CB_VALID, NL_CB_CUSTOM, links_notified, links);
	nl_socket_modify_cb(links->requests, NL_CB_VALID, NL_CB_CUSTOM, links_notified, links);
	error = nl_connect(links->events, NETLINK_ROUTE);
	if (error == 0)
		error = nl_connect(links->requests, NETLINK_ROUTE);
	if (error == 0)
		error = nl_socket_add_memberships(links->events, RTNLGRP_LINK, 0);
	if (error == 0)
		error = nl_socket_set_nonblocking(links->events);
	if (error == 0)
		(void)setsockopt(nl_socket_get_fd(links->events), SOL_SOCKET, SO_RCVBUFFORCE, &size_bytes,
			sizeof(size_bytes)); /* smaller: more often everything is read */
	return error;
}

enum status worker_links_open(struct event_base *base, const struct worker_links_handlers *handlers, void *context,
	struct worker_links **ret_links, struct problems *problems)
{
	struct worker_links *links = calloc(1, sizeof(*links));
	int error;

	if (links == NULL)
		return STATUS_NO_MEMORY;
	links->handlers = handlers;
	links->context = context;
	error = sockets_open(links);
	if (error < 0) {
		problems_add(problems, "rtnetlink can not be opened: %s", nl_geterror(error));
		worker_links_close(links);
		return STATUS_SYSTEM;
	}
	links->readable = event_new(base, nl_socket_get_fd(links->events), EV_READ | EV_PERSIST, links_readable, links);
	if (links->readable == NULL) {
		worker_links_close(links);
		return STATUS_NO_MEMORY;
	}
	event_add(links->readable, NULL);
	*ret_links = links;
	return STATUS_OK;
}

void worker_links_close(struct worker_links *links)
{
	if (links == NULL)
		return;
	if (links->readable != NULL)
		event_free(links->readable);
	nl_socket_free(links->events);
	nl_socket_free(links->requests);
	free(links);
}
