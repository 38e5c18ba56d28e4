/* SPDX-License-Identifier: Apache-2.0 */
#include "control/announce.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <netlink/errno.h>
#include <netlink/netlink.h>
#include <stdlib.h>
#include <string.h>

#include "control/scalar.h"

enum { PROBLEM_COUNT_MAX = 5 };

static const struct kernel_route_filter own_routes = {.protocol = KERNEL_ROUTE_PROTOCOL};

static int address_compare(const void *left, const void *right)
{
	const uint32_t *a = left, *b = right;

	return *a < *b ? -1 : *a > *b;
}

/* A route that only this module makes. In another table than the wanted one it is what an earlier configuration left. */
static bool is_ours(const struct announce_desired *desired, const struct kernel_route *route)
{
	if (route->table == desired->mapping_table || route->prefix_length_bits != 32 || route->type != desired->type)
		return false;
	return route->table == desired->table || route->metric == ANNOUNCE_METRIC;
}

static bool is_wanted(const struct announce_desired *desired, const struct kernel_route *route)
{
	return route->table == desired->table && route->metric == ANNOUNCE_METRIC &&
	       bsearch(&route->address, desired->addresses, desired->address_count, sizeof(route->address),
		       address_compare) != NULL;
}

struct round {
	struct announce *announce;
	const struct announce_desired *desired;
	struct problems *problems;
	size_t change_count, problem_count;
	bool more;
};

static void told(struct round *round, const char *verb, uint32_t address, int error)
{
	char text[SCALAR_SIZE_BYTES];

	round->announce->errors++;
	if (round->problem_count++ >= PROBLEM_COUNT_MAX)
		return;
	scalar_format_ipv4(address, text);
	if (error == -NLE_EXIST)
		problems_add(round->problems,
			"the announcement of %s is hindered by another route to it of metric %d in table %u: remove "
			"that one",
			text, ANNOUNCE_METRIC, round->desired->table);
	else
		problems_add(
			round->problems, "the announcement of %s can not be %s: %s", text, verb, nl_geterror(error));
}

/* False: enough for one round. */
static bool may_change(struct round *round)
{
	if (round->change_count++ < ANNOUNCE_CHANGE_COUNT_MAX)
		return true;
	round->more = true;
	return false;
}

static void remove_unwanted(struct round *round)
{
	const struct kernel_routes *actual = &round->announce->actual;

	for (size_t i = 0; i < actual->count; i++) {
		const struct kernel_route *route = &actual->routes[i];
		int error;

		if (!is_ours(round->desired, route) || is_wanted(round->desired, route))
			continue;
		if (!may_change(round))
			return;
		error = kernel_route_remove(round->announce->socket, route);
		if (error != 0 && error != -NLE_OBJ_NOTFOUND)
			told(round, "withdrawn", route->address, error);
		else
			round->announce->changes++;
	}
}

/* Both are sorted by address: one walk. */
static void add_missing(struct round *round)
{
	const struct kernel_routes *actual = &round->announce->actual;
	size_t at = 0;

	for (size_t i = 0; i < round->desired->address_count; i++) {
		uint32_t address = round->desired->addresses[i];
		int error;

		while (at < actual->count && (!is_ours(round->desired, &actual->routes[at]) ||
						     !is_wanted(round->desired, &actual->routes[at]) ||
						     actual->routes[at].address < address))
			at++;
		if (at < actual->count && actual->routes[at].address == address)
			continue;
		if (!may_change(round))
			return;
		error = kernel_route_add(
			round->announce->socket, round->desired->table, address, ANNOUNCE_METRIC, round->desired->type);
		if (error != 0)
			told(round, "made", address, error);
		else
			round->announce->changes++;
	}
}

static size_t count_actual(const struct announce *announce, const struct announce_desired *desired)
{
	size_t count = 0;

	for (size_t i = 0; i < announce->actual.count; i++)
		count += is_ours(desired, &announce->actual.routes[i]) &&
			 is_wanted(desired, &announce->actual.routes[i]);
	return count;
}

enum status announce_apply(
	struct announce *announce, struct announce_desired *desired, bool *ret_more, struct problems *problems)
{
	struct round round = {.announce = announce, .desired = desired, .problems = problems};
	uint64_t changes_before = announce->changes;
	bool same = announce->settled && announce->desired_count == desired->address_count;
	int error;

	if (announce->socket == NULL && (announce->socket = kernel_routes_open()) == NULL) {
		problems_add(problems, "announcements: rtnetlink can not be opened: %s", strerror(errno));
		announce->errors++;
		return STATUS_SYSTEM;
	}
	if (desired->address_count > 0)
		qsort(desired->addresses, desired->address_count, sizeof(*desired->addresses), address_compare);
	error = kernel_routes_read(announce->socket, &own_routes, &announce->actual, &announce->resyncs);
	if (error != 0) {
		announce->errors++;
		problems_add(problems, "announcements: the kernel's routes can not be read: %s", nl_geterror(error));
		return STATUS_SYSTEM;
	}
	remove_unwanted(&round);
	add_missing(&round);
	if (same && announce->changes > changes_before)
		announce->corrections += announce->changes - changes_before;
	if (announce->changes > changes_before &&
		kernel_routes_read(announce->socket, &own_routes, &announce->actual, &announce->resyncs) != 0)
		announce->errors++;
	announce->desired_count = desired->address_count;
	announce->actual_count = count_actual(announce, desired);
	announce->settled = !round.more && round.problem_count == 0;
	*ret_more = round.more;
	return round.problem_count == 0 ? STATUS_OK : STATUS_SYSTEM;
}

void announce_close(struct announce *announce)
{
	nl_socket_free(announce->socket);
	kernel_routes_clear(&announce->actual);
	announce->socket = NULL;
}
