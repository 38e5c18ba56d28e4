/* SPDX-License-Identifier: Apache-2.0 */
#include "control/rib_snapshot.h"

#include <stdlib.h>
#include <string.h>

#include "control/next_hop_group.h"

struct member_list {
	struct next_hop_member members[NEXT_HOP_MEMBER_COUNT_MAX];
	size_t count;
};

struct builder {
	const struct rib_view *view;
	struct adjacency_next_hop *next_hops;
	uint32_t next_hop_count;
	uint32_t *slots; /* hash of next hops: index + 1 */
	struct adjacency_route *routes;
	uint32_t route_count, route_limit;
	uint32_t left_out_count;
	struct member_list *groups; /* each set of next hops once */
	uint32_t group_count, unspread_count;
};

enum {
	SLOT_COUNT = 2 * NEXT_HOP_COUNT_MAX, /* a power of two */
	LEARNED_RESERVED_MAX = ROUTE_COUNT_MAX / 4,
};

static uint32_t prefix_mask(unsigned prefix_length_bits)
{
	return prefix_length_bits == 0 ? 0 : UINT32_MAX << (32 - prefix_length_bits);
}

static int neighbour_compare(const void *left, const void *right)
{
	const struct rib_neighbour *a = left, *b = right;

	if (a->port != b->port)
		return a->port < b->port ? -1 : 1;
	if (a->address != b->address)
		return a->address < b->address ? -1 : 1;
	return 0;
}

/* Shortest prefix first, then address, then metric, then the kernel's order: the winner of a prefix is its first. */
static int route_compare(const void *left, const void *right)
{
	const struct rib_route *a = left, *b = right;

	if (a->prefix_length_bits != b->prefix_length_bits)
		return a->prefix_length_bits < b->prefix_length_bits ? -1 : 1;
	if (a->address != b->address)
		return a->address < b->address ? -1 : 1;
	if (a->metric != b->metric)
		return a->metric < b->metric ? -1 : 1;
	if (a->number != b->number)
		return a->number < b->number ? -1 : 1;
	return a->order < b->order ? -1 : a->order > b->order;
}

void rib_view_sort(struct rib_view *view)
{
	if (view->neighbour_count > 0)
		qsort(view->neighbours, view->neighbour_count, sizeof(*view->neighbours), neighbour_compare);
	if (view->route_count > 0)
		qsort(view->routes, view->route_count, sizeof(*view->routes), route_compare);
	view->subnet_count = 0;
	for (size_t i = 0; i < view->route_count && view->subnet_count < RIB_SUBNET_COUNT_MAX; i++) {
		const struct rib_route *route = &view->routes[i];

		if (route->kind == RIB_ROUTE_CONNECTED)
			view->subnets[view->subnet_count++] = (struct rib_subnet){
				.address = route->address,
				.prefix_length_bits = route->prefix_length_bits,
				.port = route->port,
			};
	}
}

const struct rib_neighbour *rib_view_neighbour(const struct rib_view *view, unsigned port, uint32_t address)
{
	struct rib_neighbour key = {.address = address, .port = (uint8_t)port};

	if (view->neighbour_count == 0)
		return NULL;
	return bsearch(&key, view->neighbours, view->neighbour_count, sizeof(key), neighbour_compare);
}

void rib_view_keep(struct rib_view *view, unsigned port, uint32_t address)
{
	const struct rib_neighbour *neighbour = rib_view_neighbour(view, port, address);

	if (neighbour != NULL)
		view->neighbours[neighbour - view->neighbours].kept = true;
}

bool rib_view_is_connected(const struct rib_view *view, unsigned port, uint32_t address)
{
	for (size_t i = 0; i < view->subnet_count; i++) {
		const struct rib_subnet *subnet = &view->subnets[i];

		if (subnet->port == port && (address & prefix_mask(subnet->prefix_length_bits)) == subnet->address)
			return true;
	}
	return false;
}

static bool gateway_is_resolved(const struct rib_view *view, const struct rib_route *route)
{
	const struct rib_neighbour *neighbour = rib_view_neighbour(view, route->port, route->gateway);

	return neighbour != NULL && neighbour->resolved;
}

static bool is_same_route(const struct rib_route *a, const struct rib_route *b)
{
	return a->address == b->address && a->prefix_length_bits == b->prefix_length_bits && a->metric == b->metric &&
	       a->number == b->number;
}

bool rib_view_default_unresolved(const struct rib_view *view, uint32_t *ret_address)
{
	const struct rib_route *found = NULL;

	/* Sorted: what has the smallest metric comes first. */
	for (size_t i = 0; i < view->route_count && view->routes[i].prefix_length_bits == 0; i++) {
		const struct rib_route *route = &view->routes[i];

		if (found != NULL && !is_same_route(route, found))
			break;
		if (found == NULL && route->kind == RIB_ROUTE_UNREACHABLE)
			return false;
		if (route->kind != RIB_ROUTE_GATEWAY || route->port != PORT_OUTSIDE)
			continue;
		if (gateway_is_resolved(view, route))
			return false;
		if (found == NULL)
			found = route;
	}
	if (found != NULL)
		*ret_address = found->gateway;
	return found != NULL;
}

static bool builder_has_room(struct builder *builder, uint32_t next_hop_count)
{
	if (builder->route_count < builder->route_limit &&
		builder->next_hop_count + next_hop_count <= NEXT_HOP_COUNT_MAX)
		return true;
	builder->left_out_count++;
	return false;
}

/* The index of the next hop, which is made when it is new; there is room for one. */
static uint32_t builder_next_hop(struct builder *builder, unsigned port, uint32_t address, uint32_t mtu_bytes)
{
	uint32_t slot = (address * 2654435761u ^ mtu_bytes * 40503u ^ port) & (SLOT_COUNT - 1);
	const struct rib_neighbour *neighbour;
	struct adjacency_next_hop *next_hop;

	for (; builder->slots[slot] != 0; slot = (slot + 1) & (SLOT_COUNT - 1)) {
		next_hop = &builder->next_hops[builder->slots[slot] - 1];
		if (next_hop->address == address && next_hop->port == port && next_hop->mtu_bytes == mtu_bytes)
			return builder->slots[slot] - 1;
	}
	next_hop = &builder->next_hops[builder->next_hop_count++];
	next_hop->address = address;
	next_hop->port = (uint8_t)port;
	next_hop->mtu_bytes = mtu_bytes;
	neighbour = address != 0 ? rib_view_neighbour(builder->view, port, address) : NULL;
	if (neighbour != NULL && neighbour->resolved) {
		next_hop->resolved = 1;
		memcpy(next_hop->mac, neighbour->mac, sizeof(next_hop->mac));
	}
	builder->slots[slot] = builder->next_hop_count;
	return builder->next_hop_count - 1;
}

static void builder_add(
	struct builder *builder, uint32_t address, uint8_t prefix_length_bits, unsigned port, uint32_t next_hop_index)
{
	struct adjacency_route *route = &builder->routes[builder->route_count++];

	route->address = address;
	route->prefix_length_bits = prefix_length_bits;
	route->port = (uint8_t)port;
	route->next_hop_index = next_hop_index;
}

/* A host route from the kernel is more than a neighbour: only subnets are asked, so a /32 of the table stays its own.
 */
static bool view_has_host_route(const struct rib_view *view, unsigned port, uint32_t address)
{
	size_t low = 0, high = view->route_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const struct rib_route *route = &view->routes[middle];

		if (route->prefix_length_bits < 32 || route->address < address)
			low = middle + 1;
		else
			high = middle;
	}
	for (; low < view->route_count && view->routes[low].address == address; low++) {
		const struct rib_route *route = &view->routes[low];

		if (route->kind == RIB_ROUTE_UNREACHABLE || (route->kind == RIB_ROUTE_GATEWAY && route->port == port))
			return true;
	}
	return false;
}

/* Has it a route of its own in the table? */
static bool neighbour_counts(const struct rib_view *view, const struct rib_neighbour *neighbour, bool lasting)
{
	return (neighbour->fixed || neighbour->kept) == lasting && neighbour->resolved &&
	       rib_view_is_connected(view, neighbour->port, neighbour->address) &&
	       !view_has_host_route(view, neighbour->port, neighbour->address);
}

static uint32_t count_learned(const struct rib_view *view)
{
	uint32_t count = 0;

	for (size_t i = 0; i < view->neighbour_count && count < LEARNED_RESERVED_MAX; i++)
		count += neighbour_counts(view, &view->neighbours[i], false);
	return count;
}

/* `lasting`: those set by hand and the configured VTEPs; else what was learned. */
static void builder_add_neighbours(struct builder *builder, bool lasting)
{
	const struct rib_view *view = builder->view;

	for (size_t i = 0; i < view->neighbour_count; i++) {
		const struct rib_neighbour *neighbour = &view->neighbours[i];

		if (neighbour_counts(view, neighbour, lasting) && builder_has_room(builder, 1))
			builder_add(builder, neighbour->address, 32, neighbour->port,
				builder_next_hop(builder, neighbour->port, neighbour->address, 0));
	}
}

/* Was the prefix taken by an earlier route, which has the smaller metric? `first` is where the prefix begins. */
static bool builder_is_shadowed(const struct builder *builder, size_t first, size_t index, unsigned port)
{
	for (size_t i = first; i < index; i++) {
		const struct rib_route *earlier = &builder->view->routes[i];

		if (earlier->kind == RIB_ROUTE_UNREACHABLE || earlier->port == port)
			return true;
	}
	return false;
}

/* The resolved next hops of a route by one port, `index` being its first one. */
static void view_collect(const struct rib_view *view, size_t index, struct member_list *ret_list)
{
	const struct rib_route *first = &view->routes[index];

	ret_list->count = 0;
	for (size_t i = index; i < view->route_count && is_same_route(&view->routes[i], first); i++) {
		const struct rib_route *route = &view->routes[i];
		uint32_t weight = route->weight > 0 ? route->weight : 1;
		size_t at = 0;

		if (route->kind != RIB_ROUTE_GATEWAY || route->port != first->port || !gateway_is_resolved(view, route))
			continue;
		while (at < ret_list->count && ret_list->members[at].address != route->gateway)
			at++;
		if (at < ret_list->count)
			ret_list->members[at].weight += weight;
		else if (at < NEXT_HOP_MEMBER_COUNT_MAX)
			ret_list->members[ret_list->count++] =
				(struct next_hop_member){.address = route->gateway, .weight = weight};
	}
}

static bool lists_are_equal(const struct member_list *a, const struct member_list *b)
{
	for (size_t i = 0; i < a->count && a->count == b->count; i++) {
		if (a->members[i].next_hop_index != b->members[i].next_hop_index ||
			a->members[i].weight != b->members[i].weight)
			return false;
	}
	return a->count == b->count;
}

/*
 * The number of the group of these next hops, made when it is new. NEXT_HOP_GROUP_COUNT_MAX: there is no room for it.
 */
static uint32_t builder_group(struct builder *builder, const struct member_list *list)
{
	uint32_t at = 0;

	while (at < builder->group_count && !lists_are_equal(&builder->groups[at], list))
		at++;
	if (at == builder->group_count && at < NEXT_HOP_GROUP_COUNT_MAX)
		builder->groups[builder->group_count++] = *list;
	return at;
}

/* Where a route by gateways leads; `index`: its first next hop by the port. There is room for one next hop. */
static uint32_t builder_gateways(struct builder *builder, size_t index)
{
	const struct rib_route *first = &builder->view->routes[index];
	struct member_list list;
	uint32_t group = NEXT_HOP_GROUP_COUNT_MAX;

	view_collect(builder->view, index, &list);
	if (list.count == 0)
		return builder_next_hop(builder, first->port, first->gateway, first->mtu_bytes);
	if (list.count > 1 && builder->next_hop_count + list.count <= NEXT_HOP_COUNT_MAX) {
		for (size_t i = 0; i < list.count; i++)
			list.members[i].next_hop_index = (uint16_t)builder_next_hop(
				builder, first->port, list.members[i].address, first->mtu_bytes);
		group = builder_group(builder, &list);
	}
	if (group < NEXT_HOP_GROUP_COUNT_MAX)
		return ADJACENCY_GROUP | group;
	builder->unspread_count += list.count > 1;
	return builder_next_hop(builder, first->port, list.members[0].address, first->mtu_bytes);
}

static void builder_add_route(struct builder *builder, size_t index, unsigned port)
{
	const struct rib_route *route = &builder->view->routes[index];
	const struct rib_neighbour *neighbour;
	uint32_t next_hop_index;

	if (!builder_has_room(builder, 1))
		return;
	switch (route->kind) {
	case RIB_ROUTE_UNREACHABLE:
		next_hop_index = ADJACENCY_UNREACHABLE;
		break;
	case RIB_ROUTE_GATEWAY:
		next_hop_index = builder_gateways(builder, index);
		break;
	default:
		/* A subnet of one address is that neighbour; it was added as such if its MAC is known. */
		neighbour = route->prefix_length_bits == 32 ? rib_view_neighbour(builder->view, port, route->address)
							    : NULL;
		if (neighbour != NULL && neighbour->resolved)
			return;
		next_hop_index = builder_next_hop(
			builder, port, route->prefix_length_bits == 32 ? route->address : 0, route->mtu_bytes);
		break;
	}
	builder_add(builder, route->address, route->prefix_length_bits, port, next_hop_index);
}

static void builder_add_routes(struct builder *builder)
{
	const struct rib_view *view = builder->view;
	size_t first = 0;

	for (size_t i = 0; i < view->route_count; i++) {
		const struct rib_route *route = &view->routes[i];

		if (route->address != view->routes[first].address ||
			route->prefix_length_bits != view->routes[first].prefix_length_bits)
			first = i;
		for (unsigned port = 0; port < PORT_COUNT; port++) {
			if (route->kind != RIB_ROUTE_UNREACHABLE && route->port != port)
				continue;
			if (!builder_is_shadowed(builder, first, i, port))
				builder_add_route(builder, i, port);
		}
	}
}

static enum status builder_finish(
	const struct builder *builder, uint64_t generation, void **ret_block, size_t *ret_size_bytes)
{
	size_t next_hops_bytes = (builder->next_hop_count * sizeof(struct adjacency_next_hop) + 7) & ~(size_t)7;
	size_t routes_bytes = (builder->route_count * sizeof(struct adjacency_route) + 7) & ~(size_t)7;
	size_t header_bytes = (sizeof(struct adjacency_snapshot) + 7) & ~(size_t)7;
	size_t groups_offset_bytes = header_bytes + next_hops_bytes + routes_bytes;
	size_t size_bytes = groups_offset_bytes + builder->group_count * sizeof(struct adjacency_group);
	struct adjacency_snapshot *snapshot = calloc(1, size_bytes);

	if (snapshot == NULL)
		return STATUS_NO_MEMORY;
	snapshot->magic = ADJACENCY_MAGIC;
	snapshot->version = ADJACENCY_VERSION;
	snapshot->size_bytes = size_bytes;
	snapshot->generation = generation;
	for (unsigned port = 0; port < PORT_COUNT; port++) {
		const struct rib_port *from = &builder->view->ports[port];
		struct adjacency_port *to = &snapshot->ports[port];

		memcpy(to->mac, from->mac, sizeof(to->mac));
		to->up = from->up;
		to->address = from->address;
		to->mtu_bytes = from->mtu_bytes;
	}
	snapshot->next_hops.offset_bytes = header_bytes;
	snapshot->next_hops.count = builder->next_hop_count;
	snapshot->next_hops.record_size_bytes = sizeof(struct adjacency_next_hop);
	snapshot->routes.offset_bytes = header_bytes + next_hops_bytes;
	snapshot->routes.count = builder->route_count;
	snapshot->routes.record_size_bytes = sizeof(struct adjacency_route);
	snapshot->groups.offset_bytes = groups_offset_bytes;
	snapshot->groups.count = builder->group_count;
	snapshot->groups.record_size_bytes = sizeof(struct adjacency_group);
	for (uint32_t i = 0; i < builder->group_count; i++)
		next_hop_group_fill(builder->groups[i].members, builder->groups[i].count,
			(struct adjacency_group *)((char *)snapshot + groups_offset_bytes) + i);
	memcpy((char *)snapshot + snapshot->next_hops.offset_bytes, builder->next_hops,
		builder->next_hop_count * sizeof(struct adjacency_next_hop));
	memcpy((char *)snapshot + snapshot->routes.offset_bytes, builder->routes,
		builder->route_count * sizeof(struct adjacency_route));
	*ret_block = snapshot;
	*ret_size_bytes = size_bytes;
	return STATUS_OK;
}

enum status rib_snapshot_build(const struct rib_view *view, uint64_t generation, void **ret_block,
	size_t *ret_size_bytes, struct rib_summary *ret_summary)
{
	struct builder builder = {.view = view};
	enum status status = STATUS_NO_MEMORY;

	builder.next_hops = calloc(NEXT_HOP_COUNT_MAX, sizeof(*builder.next_hops));
	builder.routes = calloc(ROUTE_COUNT_MAX, sizeof(*builder.routes));
	builder.slots = calloc(SLOT_COUNT, sizeof(*builder.slots));
	builder.groups = calloc(NEXT_HOP_GROUP_COUNT_MAX, sizeof(*builder.groups));
	if (builder.next_hops != NULL && builder.routes != NULL && builder.slots != NULL && builder.groups != NULL) {
		/*
		 * Short prefixes first: what does not fit follows a shorter prefix instead. What was learned comes
		 * last: however many hosts a subnet has, they push out no route, no VTEP and nothing set by hand. But
		 * a flood of routes leaves room for some: without a worker host's MAC no answer reaches its workers.
		 */
		builder.route_limit = ROUTE_COUNT_MAX;
		builder_add_neighbours(&builder, true);
		builder.route_limit = ROUTE_COUNT_MAX - count_learned(view);
		builder_add_routes(&builder);
		builder.route_limit = ROUTE_COUNT_MAX;
		builder_add_neighbours(&builder, false);
		status = builder_finish(&builder, generation, ret_block, ret_size_bytes);
	}
	if (status == STATUS_OK) {
		struct rib_summary summary = {
			.route_count = builder.route_count,
			.left_out_count = builder.left_out_count,
			.group_count = builder.group_count,
			.unspread_count = builder.unspread_count,
		};

		for (uint32_t i = 0; i < builder.next_hop_count; i++) {
			summary.next_hop_count += builder.next_hops[i].address != 0;
			summary.resolved_count += builder.next_hops[i].resolved;
		}
		*ret_summary = summary;
	}
	free(builder.next_hops);
	free(builder.routes);
	free(builder.slots);
	free(builder.groups);
	return status;
}
