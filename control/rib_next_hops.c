/* SPDX-License-Identifier: Apache-2.0 */
#include "control/rib_next_hops.h"

#include <arpa/inet.h>
#include <linux/netlink.h>
#include <linux/nexthop.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>

enum { CAPACITY_MIN = 16 };

static bool reserve(void **records, size_t count, size_t *capacity, size_t record_size_bytes)
{
	size_t wanted = *capacity ? *capacity : CAPACITY_MIN;
	void *grown;

	while (wanted < count)
		wanted *= 2;
	if (wanted == *capacity)
		return true;
	grown = realloc(*records, wanted * record_size_bytes);
	if (grown == NULL)
		return false;
	*records = grown;
	*capacity = wanted;
	return true;
}

static uint32_t word(const struct rtattr *attribute)
{
	uint32_t value = 0;

	if (RTA_PAYLOAD(attribute) >= sizeof(value))
		memcpy(&value, RTA_DATA(attribute), sizeof(value));
	return value;
}

static bool take_group(
	struct rib_next_hops *next_hops, const struct rtattr *attribute, struct rib_next_hop_object *object)
{
	size_t count = RTA_PAYLOAD(attribute) / sizeof(struct nexthop_grp);

	if (!reserve((void **)&next_hops->members, next_hops->member_count + count, &next_hops->member_capacity,
		    sizeof(*next_hops->members)))
		return false;
	object->member_first = next_hops->member_count;
	object->member_count = count;
	for (size_t i = 0; i < count; i++) {
		struct nexthop_grp from;

		memcpy(&from, (const char *)RTA_DATA(attribute) + i * sizeof(from), sizeof(from));
		next_hops->members[next_hops->member_count++] =
			(struct rib_next_hop_member){.id = from.id, .weight = (uint16_t)(from.weight + 1)};
	}
	return true;
}

bool rib_next_hops_take(struct rib_next_hops *next_hops, const struct nlmsghdr *header)
{
	const struct nhmsg *message = NLMSG_DATA(header);
	struct rib_next_hop_object object = {0};
	int left_bytes = (int)header->nlmsg_len - (int)NLMSG_LENGTH(sizeof(*message));
	const struct rtattr *at = (const void *)((const char *)message + NLMSG_ALIGN(sizeof(*message)));

	if (header->nlmsg_type != RTM_NEWNEXTHOP || left_bytes < 0)
		return true;
	object.flags = message->nh_flags;
	for (; RTA_OK(at, left_bytes); at = RTA_NEXT(at, left_bytes)) {
		switch (at->rta_type & NLA_TYPE_MASK) {
		case NHA_ID:
			object.id = word(at);
			break;
		case NHA_OIF:
			object.interface_index = word(at);
			break;
		case NHA_GATEWAY:
			object.via = RTA_PAYLOAD(at) != sizeof(uint32_t);
			object.gateway = ntohl(word(at));
			break;
		case NHA_GROUP:
			if (!take_group(next_hops, at, &object))
				return false;
			break;
		default:
			break;
		}
	}
	if (object.id == 0)
		return true;
	if (!reserve((void **)&next_hops->objects, next_hops->count + 1, &next_hops->capacity,
		    sizeof(*next_hops->objects)))
		return false;
	next_hops->objects[next_hops->count++] = object;
	return true;
}

static int compare(const void *left, const void *right)
{
	const struct rib_next_hop_object *a = left, *b = right;

	return (a->id > b->id) - (a->id < b->id);
}

void rib_next_hops_sort(struct rib_next_hops *next_hops)
{
	if (next_hops->count > 0)
		qsort(next_hops->objects, next_hops->count, sizeof(*next_hops->objects), compare);
}

const struct rib_next_hop_object *rib_next_hops_find(const struct rib_next_hops *next_hops, uint32_t id)
{
	const struct rib_next_hop_object key = {.id = id};

	return next_hops->count > 0 ? bsearch(&key, next_hops->objects, next_hops->count, sizeof(key), compare) : NULL;
}

void rib_next_hops_clear(struct rib_next_hops *next_hops)
{
	free(next_hops->objects);
	free(next_hops->members);
	memset(next_hops, 0, sizeof(*next_hops));
}
