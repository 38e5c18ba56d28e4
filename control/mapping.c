/* SPDX-License-Identifier: Apache-2.0 */
#include "control/mapping.h"

#include <inttypes.h>
#include <linux/rtnetlink.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/arena.h"
#include "control/index.h"
#include "control/scalar.h"
#include "control/special.h"

enum { REALM_MAX = 65535, OWNER_SHARED_POOL = UINT32_MAX, CIDRS_PER_VPC_MAX = 1024 };

struct overlay {
	struct model *model;
	struct hash_index numbers; /* workspace's number → its index */
	struct hash_index owners;  /* egress IP → index of its workspace, or OWNER_SHARED_POOL */
	uint32_t *used;		   /* by workspace: mappings in use */
	bool *own_vpcs;		   /* by workspace: its VPCs are this model's alone */
	size_t cidr_count, egress_ip_count;
	bool no_memory;
};

void mappings_clear(struct mappings *mappings)
{
	free(mappings->entries);
	memset(mappings, 0, sizeof(*mappings));
}

const char *mapping_state_text(enum mapping_state state)
{
	static const char *const texts[MAPPING_STATE_COUNT] = {"in-use", "conflict", "invalid"};

	return texts[state];
}

uint64_t mappings_digest(const struct kernel_routes *routes)
{
	uint64_t digest = 0xcbf29ce484222325u;

	for (size_t i = 0; i < routes->count; i++) {
		const struct kernel_route *route = &routes->routes[i];
		const uint32_t words[] = {route->address, route->prefix_length_bits, route->metric, route->source,
			route->realm, route->type == RTN_LOCAL};

		for (size_t j = 0; route->type != RTN_LOCAL && j < sizeof(words) / sizeof(words[0]); j++)
			digest = (digest ^ words[j]) * 0x100000001b3u;
	}
	return digest;
}

/* ---- verdicts ---- */

static bool refuse(struct mapping *mapping, enum mapping_state state, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Always false. */
static bool refuse(struct mapping *mapping, enum mapping_state state, const char *format, ...)
{
	va_list arguments;

	mapping->state = (uint8_t)state;
	va_start(arguments, format);
	vsnprintf(mapping->why, sizeof(mapping->why), format, arguments);
	va_end(arguments);
	return false;
}

static bool is_well_formed(struct mapping *mapping)
{
	const char *special;

	if (mapping->egress_ip == 0)
		return refuse(mapping, MAPPING_INVALID, "it has no src: that names the egress IP");
	if (mapping->realm == 0 || mapping->realm > REALM_MAX)
		return refuse(mapping, MAPPING_INVALID,
			"it has no realm of one number, 1..%d: that names the workspace, by its number", REALM_MAX);
	special = special_name(mapping->egress_ip, 32, true);
	if (special != NULL)
		return refuse(mapping, MAPPING_INVALID, "its src is %s: an egress IP must be a public unicast address",
			special);
	special = special_name(mapping->address, mapping->prefix_length_bits, false);
	if (special != NULL)
		return refuse(
			mapping, MAPPING_INVALID, "it overlaps %s: must be addresses that workers can have", special);
	return true;
}

static struct model_workspace *find_workspace(const struct overlay *overlay, struct mapping *mapping, size_t *ret_index)
{
	struct model_workspace *workspace;
	uint64_t index;

	if (!index_find(&overlay->numbers, &mapping->realm, sizeof(mapping->realm), &index)) {
		refuse(mapping, MAPPING_INVALID, "no workspace has the number %" PRIu32, mapping->realm);
		return NULL;
	}
	workspace = &overlay->model->workspaces[index];
	memcpy(mapping->workspace, workspace->id, sizeof(mapping->workspace));
	*ret_index = index;
	if (workspace->egress_shared) {
		refuse(mapping, MAPPING_CONFLICT, "workspace %s uses the shared pool: its file says egress: shared",
			workspace->id);
		return NULL;
	}
	if (overlay->used[index] >= MAPPING_PER_WORKSPACE_MAX) {
		refuse(mapping, MAPPING_INVALID, "workspace %s has %d mappings already", workspace->id,
			MAPPING_PER_WORKSPACE_MAX);
		return NULL;
	}
	return workspace;
}

/* ---- prefixes ---- */

static bool contains(const struct model_cidr *outer, uint32_t address, uint8_t prefix_length_bits)
{
	return outer->prefix_length_bits <= prefix_length_bits &&
	       (address & scalar_prefix_mask(outer->prefix_length_bits)) == outer->address;
}

/* The first CIDR of the VPC that contains the prefix; NULL: none. */
static const struct model_cidr *cidr_around(const struct model_vpc *vpc, const struct mapping *mapping)
{
	for (size_t i = 0; i < vpc->cidr_count; i++) {
		if (contains(&vpc->cidrs[i], mapping->address, mapping->prefix_length_bits))
			return &vpc->cidrs[i];
	}
	return NULL;
}

static const struct model_cidr *cidr_within(const struct model_vpc *vpc, const struct mapping *mapping)
{
	const struct model_cidr prefix = {mapping->address, mapping->prefix_length_bits};

	for (size_t i = 0; i < vpc->cidr_count; i++) {
		if (contains(&prefix, vpc->cidrs[i].address, vpc->cidrs[i].prefix_length_bits))
			return &vpc->cidrs[i];
	}
	return NULL;
}

/* Whether the VPC may get the prefix as a further CIDR. */
static bool may_grow(const struct overlay *overlay, const struct model_vpc *vpc, struct mapping *mapping)
{
	const struct model_cidr *inner = cidr_within(vpc, mapping);
	char text[SCALAR_SIZE_BYTES];

	if (inner != NULL) {
		scalar_format_cidr(inner->address, inner->prefix_length_bits, text);
		return refuse(mapping, MAPPING_CONFLICT,
			"it contains %s of VPC %s: the CIDRs of one VPC must not overlap", text, vpc->id);
	}
	if (vpc->cidr_count >= CIDRS_PER_VPC_MAX || overlay->cidr_count >= CIDR_COUNT_MAX)
		return refuse(mapping, MAPPING_INVALID, "there are too many CIDRs");
	return true;
}

/* NULL: refused. `ret_grows`: the prefix is to become one of its CIDRs. */
static struct model_vpc *find_vpc(
	const struct overlay *overlay, struct model_workspace *workspace, struct mapping *mapping, bool *ret_grows)
{
	struct model_vpc *found = NULL;

	for (size_t i = 0; i < workspace->vpc_count; i++) {
		if (cidr_around(&workspace->vpcs[i], mapping) == NULL)
			continue;
		if (found != NULL) {
			refuse(mapping, MAPPING_INVALID, "it is in VPC %s and in VPC %s of workspace %s", found->id,
				workspace->vpcs[i].id, workspace->id);
			return NULL;
		}
		found = &workspace->vpcs[i];
	}
	*ret_grows = found == NULL;
	if (found == NULL && workspace->vpc_count == 1)
		found = &workspace->vpcs[0];
	if (found == NULL)
		refuse(mapping, MAPPING_INVALID, "none of the %zu VPCs of workspace %s contains it",
			workspace->vpc_count, workspace->id);
	else
		memcpy(mapping->vpc, found->id, sizeof(mapping->vpc));
	return found == NULL || (*ret_grows && !may_grow(overlay, found, mapping)) ? NULL : found;
}

/* ---- egress IPs ---- */

/* `ret_new`: nobody has it yet. */
static bool ip_is_fit(const struct overlay *overlay, const struct model_workspace *workspace, size_t workspace_index,
	struct mapping *mapping, bool *ret_new)
{
	uint64_t owner;

	*ret_new = !index_find(&overlay->owners, &mapping->egress_ip, sizeof(mapping->egress_ip), &owner);
	if (*ret_new)
		return overlay->egress_ip_count < EGRESS_IP_COUNT_MAX ||
		       refuse(mapping, MAPPING_INVALID, "there are too many egress IPs");
	if (owner == OWNER_SHARED_POOL)
		return refuse(mapping, MAPPING_CONFLICT, "its src is an IP of the shared pool");
	if (owner != workspace_index)
		return refuse(mapping, MAPPING_CONFLICT, "its src belongs to workspace %s",
			overlay->model->workspaces[owner].id);
	for (size_t i = 0; i < workspace->draining_ip_count; i++) {
		if (workspace->draining_ips[i] == mapping->egress_ip)
			return refuse(mapping, MAPPING_CONFLICT,
				"its src drains: egress.draining of workspace %s has it", workspace->id);
	}
	return true;
}

/* Has the VPC a word for that very prefix? `ret_same`: it says the same. */
static bool is_free_to_prefer(const struct model_vpc *vpc, struct mapping *mapping, bool *ret_same)
{
	char text[SCALAR_SIZE_BYTES];

	*ret_same = false;
	for (size_t i = 0; i < vpc->preferred_count; i++) {
		const struct model_preferred *preferred = &vpc->preferred[i];

		if (preferred->address != mapping->address ||
			preferred->prefix_length_bits != mapping->prefix_length_bits)
			continue;
		*ret_same = preferred->egress_ip == mapping->egress_ip;
		scalar_format_ipv4(preferred->egress_ip, text);
		return *ret_same || refuse(mapping, MAPPING_CONFLICT, "%s %s for it",
					    preferred->by_route ? "another route prefers" : "the files prefer", text);
	}
	return true;
}

/* ---- growing the model ---- */

/* A copy with room for one more; NULL: no memory. The old one stays with the arena. */
static void *grown(struct overlay *overlay, const void *records, size_t count, size_t record_size_bytes)
{
	void *copy = arena_allocate(overlay->model->arena, (count + 1) * record_size_bytes);

	if (copy == NULL)
		overlay->no_memory = true;
	else if (count > 0)
		memcpy(copy, records, count * record_size_bytes);
	return copy;
}

/*
 * The VPC, to be changed: in a list of this model's own, since models share what their files gave them
 * (control/config_parts.h). NULL: no memory.
 */
static struct model_vpc *own_vpc(
	struct overlay *overlay, struct model_workspace *workspace, size_t workspace_index, size_t vpc_index)
{
	struct model_vpc *vpcs;

	if (!overlay->own_vpcs[workspace_index]) {
		vpcs = grown(overlay, workspace->vpcs, workspace->vpc_count, sizeof(*vpcs));
		if (vpcs == NULL)
			return NULL;
		workspace->vpcs = vpcs;
		overlay->own_vpcs[workspace_index] = true;
	}
	return &workspace->vpcs[vpc_index];
}

static void add_cidr(struct overlay *overlay, struct model_vpc *vpc, const struct mapping *mapping)
{
	struct model_cidr *cidrs = grown(overlay, vpc->cidrs, vpc->cidr_count, sizeof(*cidrs));

	if (cidrs == NULL)
		return;
	cidrs[vpc->cidr_count] = (struct model_cidr){mapping->address, mapping->prefix_length_bits};
	vpc->cidrs = cidrs;
	vpc->cidr_count++;
	overlay->cidr_count++;
}

static void add_ip(struct overlay *overlay, struct model_workspace *workspace, size_t workspace_index, uint32_t address)
{
	uint32_t *ips = grown(overlay, workspace->egress_ips, workspace->egress_ip_count, sizeof(*ips));

	if (ips == NULL)
		return;
	ips[workspace->egress_ip_count] = address;
	workspace->egress_ips = ips;
	workspace->egress_ip_count++;
	overlay->egress_ip_count++;
	if (index_add(&overlay->owners, &address, sizeof(address), workspace_index, NULL) == INDEX_NO_MEMORY)
		overlay->no_memory = true;
}

static void add_preferred(struct overlay *overlay, struct model_vpc *vpc, const struct mapping *mapping)
{
	struct model_preferred *preferred = grown(overlay, vpc->preferred, vpc->preferred_count, sizeof(*preferred));

	if (preferred == NULL)
		return;
	preferred[vpc->preferred_count] = (struct model_preferred){
		.address = mapping->address,
		.prefix_length_bits = mapping->prefix_length_bits,
		.egress_ip = mapping->egress_ip,
		.by_route = true,
	};
	vpc->preferred = preferred;
	vpc->preferred_count++;
	overlay->cidr_count++;
}

static void overlay_one(struct overlay *overlay, struct mapping *mapping)
{
	struct model_workspace *workspace;
	struct model_vpc *vpc;
	bool grows, same, is_new;
	size_t index;

	if (!is_well_formed(mapping) || (workspace = find_workspace(overlay, mapping, &index)) == NULL ||
		(vpc = find_vpc(overlay, workspace, mapping, &grows)) == NULL ||
		!ip_is_fit(overlay, workspace, index, mapping, &is_new) || !is_free_to_prefer(vpc, mapping, &same))
		return;
	if (overlay->cidr_count + 2 > CIDR_COUNT_MAX) {
		refuse(mapping, MAPPING_INVALID, "there are too many CIDRs");
		return;
	}
	vpc = own_vpc(overlay, workspace, index, (size_t)(vpc - workspace->vpcs));
	if (vpc == NULL)
		return;
	if (grows)
		add_cidr(overlay, vpc, mapping);
	if (is_new)
		add_ip(overlay, workspace, index, mapping->egress_ip);
	if (!same)
		add_preferred(overlay, vpc, mapping);
	overlay->used[index]++;
}

/* ---- all ---- */

static void take_owners(struct overlay *overlay, const uint32_t *addresses, size_t count, uint64_t owner)
{
	for (size_t i = 0; i < count; i++) {
		if (index_add(&overlay->owners, &addresses[i], sizeof(addresses[i]), owner, NULL) == INDEX_NO_MEMORY)
			overlay->no_memory = true;
	}
	overlay->egress_ip_count += count;
}

static void overlay_begin(struct overlay *overlay)
{
	struct model *model = overlay->model;

	overlay->used = calloc(model->workspace_count + 1, sizeof(*overlay->used));
	overlay->own_vpcs = calloc(model->workspace_count + 1, sizeof(*overlay->own_vpcs));
	overlay->no_memory = overlay->used == NULL || overlay->own_vpcs == NULL;
	for (size_t i = 0; i < model->workspace_count; i++) {
		const struct model_workspace *workspace = &model->workspaces[i];

		if (workspace->number != 0 && index_add(&overlay->numbers, &workspace->number,
						      sizeof(workspace->number), i, NULL) == INDEX_NO_MEMORY)
			overlay->no_memory = true;
		take_owners(overlay, workspace->egress_ips, workspace->egress_ip_count, i);
		take_owners(overlay, workspace->draining_ips, workspace->draining_ip_count, i);
		for (size_t j = 0; j < workspace->vpc_count; j++)
			overlay->cidr_count += workspace->vpcs[j].cidr_count + workspace->vpcs[j].preferred_count;
	}
	take_owners(overlay, model->shared_pool_ips, model->shared_pool_ip_count, OWNER_SHARED_POOL);
}

static int mapping_compare(const void *left, const void *right)
{
	const struct mapping *a = left, *b = right;

	if (a->realm != b->realm)
		return a->realm < b->realm ? -1 : 1;
	if (a->address != b->address)
		return a->address < b->address ? -1 : 1;
	if (a->prefix_length_bits != b->prefix_length_bits)
		return a->prefix_length_bits < b->prefix_length_bits ? -1 : 1;
	return a->metric < b->metric ? -1 : a->metric > b->metric;
}

/* Without those that only make the kernel take an address as src: control/mapping_control.h. */
static void take_routes(const struct kernel_routes *routes, struct mappings *mappings)
{
	for (size_t i = 0; i < routes->count && mappings->count < MAPPING_COUNT_MAX; i++) {
		const struct kernel_route *route = &routes->routes[i];

		if (route->type == RTN_LOCAL)
			continue;
		mappings->entries[mappings->count++] = (struct mapping){
			.address = route->address,
			.prefix_length_bits = route->prefix_length_bits,
			.egress_ip = route->source,
			.realm = route->realm,
			.metric = route->metric,
		};
	}
	if (mappings->count > 0)
		qsort(mappings->entries, mappings->count, sizeof(*mappings->entries), mapping_compare);
}

static void warn(const struct mapping *mapping, struct problems *warnings)
{
	char text[SCALAR_SIZE_BYTES];

	scalar_format_cidr(mapping->address, mapping->prefix_length_bits, text);
	problems_add(warnings, "the mapping route %s (realm %" PRIu32 ") is not used: %s", text, mapping->realm,
		mapping->why);
}

enum status mappings_apply(const struct kernel_routes *routes, struct model *model, struct mappings *ret_mappings,
	struct problems *warnings)
{
	struct overlay overlay = {.model = model};
	struct mappings mappings = {.digest = mappings_digest(routes)};

	mappings.entries = calloc(routes->count + 1, sizeof(*mappings.entries));
	if (mappings.entries == NULL)
		return STATUS_NO_MEMORY;
	take_routes(routes, &mappings);
	overlay_begin(&overlay);
	for (size_t i = 0; i < mappings.count && !overlay.no_memory; i++) {
		struct mapping *mapping = &mappings.entries[i];

		overlay_one(&overlay, mapping);
		mappings.counts[mapping->state]++;
		if (mapping->state != MAPPING_IN_USE)
			warn(mapping, warnings);
	}
	index_clear(&overlay.numbers);
	index_clear(&overlay.owners);
	free(overlay.used);
	free(overlay.own_vpcs);
	if (overlay.no_memory) {
		mappings_clear(&mappings);
		return STATUS_NO_MEMORY;
	}
	*ret_mappings = mappings;
	return STATUS_OK;
}
