/* SPDX-License-Identifier: Apache-2.0 */
#include "control/classifier_link.h"

#include <net/if.h>
#include <stdbool.h>
#include <string.h>

#include <netlink/errno.h>
#include <netlink/route/link.h>
#include <netlink/route/link/vxlan.h>

#include "bpf/maps.h"

static bool link_is_ours(struct rtnl_link *link)
{
	uint32_t port = 0;

	return rtnl_link_is_vxlan(link) && rtnl_link_vxlan_get_collect_metadata(link) == 1 &&
	       rtnl_link_vxlan_get_port(link, &port) == 0 && port == WORKER_VXLAN_PORT;
}

static int link_create(struct nl_sock *netlink, const char *name)
{
	struct rtnl_link *link = rtnl_link_vxlan_alloc();
	int error;

	if (!link)
		return -NLE_NOMEM;
	rtnl_link_set_name(link, name);
	rtnl_link_vxlan_set_collect_metadata(link, 1);
	rtnl_link_vxlan_set_port(link, WORKER_VXLAN_PORT);
	rtnl_link_vxlan_disable_learning(link);
	error = rtnl_link_add(netlink, link, NLM_F_CREATE | NLM_F_EXCL);
	rtnl_link_put(link);
	return error;
}

enum status classifier_link_ensure(
	struct nl_sock *netlink, const char *name, uint32_t *ret_ifindex, struct problems *problems)
{
	struct rtnl_link *link = NULL;
	enum status status = STATUS_OK;
	int error;

	if (rtnl_link_get_kernel(netlink, 0, name, &link) != 0) {
		error = link_create(netlink, name);
		if (error == 0)
			error = rtnl_link_get_kernel(netlink, 0, name, &link);
		if (error != 0) {
			problems_add(problems,
				"%s: the VXLAN device cannot be created: %s; remove other VXLAN devices on port %u and "
				"run "
				"posternd as root",
				name, nl_geterror(error), WORKER_VXLAN_PORT);
			return STATUS_SYSTEM;
		}
	}
	if (link_is_ours(link)) {
		*ret_ifindex = (uint32_t)rtnl_link_get_ifindex(link);
	} else {
		problems_add(problems,
			"%s: the interface exists but is no external VXLAN device on port %u; remove it or name "
			"another",
			name, WORKER_VXLAN_PORT);
		status = STATUS_SYSTEM;
	}
	rtnl_link_put(link);
	return status;
}

enum status classifier_link_up(struct nl_sock *netlink, const char *name, struct problems *problems)
{
	struct rtnl_link *link = NULL, *change = rtnl_link_alloc();
	int error = rtnl_link_get_kernel(netlink, 0, name, &link);

	if (error == 0 && !change)
		error = -NLE_NOMEM;
	if (error == 0 && (rtnl_link_get_flags(link) & IFF_UP) == 0) {
		rtnl_link_set_flags(change, IFF_UP);
		error = rtnl_link_change(netlink, link, change, 0);
	}
	if (link)
		rtnl_link_put(link);
	if (change)
		rtnl_link_put(change);
	if (error == 0)
		return STATUS_OK;
	problems_add(problems,
		"%s: the VXLAN device cannot be set up: %s; remove other VXLAN devices on port %u and run posternd as "
		"root",
		name, nl_geterror(error), WORKER_VXLAN_PORT);
	return STATUS_SYSTEM;
}

uint32_t classifier_link_index(const char *interface)
{
	uint32_t ifindex = if_nametoindex(interface);
	char name[IF_NAMESIZE];

	return ifindex != 0 && if_indextoname(ifindex, name) != NULL && strcmp(name, interface) == 0 ? ifindex : 0;
}

enum status classifier_link_remove(struct nl_sock *netlink, const char *name, struct problems *problems)
{
	struct rtnl_link *link = NULL;
	int error = 0;

	if (rtnl_link_get_kernel(netlink, 0, name, &link) != 0)
		return STATUS_OK;
	if (link_is_ours(link))
		error = rtnl_link_delete(netlink, link);
	rtnl_link_put(link);
	if (error == 0)
		return STATUS_OK;
	problems_add(problems, "%s: the VXLAN device cannot be deleted: %s; run as root", name, nl_geterror(error));
	return STATUS_SYSTEM;
}
