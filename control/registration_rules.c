/* SPDX-License-Identifier: Apache-2.0 */
#include "control/registration_rules.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "control/daemon.h"
#include "control/revision.h"
#include "control/scalar.h"

const char *registration_refusal_label(enum registration_refusal refusal)
{
	static const char *const labels[REGISTRATION_REFUSAL_COUNT] = {
#define REGISTRATION_REFUSAL_LABEL(name, label) [REGISTRATION_##name] = (label),
		REGISTRATION_REFUSALS(REGISTRATION_REFUSAL_LABEL)
#undef REGISTRATION_REFUSAL_LABEL
	};

	return labels[refusal];
}

static const struct model_vpc *vpc_of(const struct model_workspace *workspace, uint32_t vni)
{
	for (size_t i = 0; workspace != NULL && i < workspace->vpc_count; i++) {
		if (workspace->vpcs[i].vni == vni)
			return &workspace->vpcs[i];
	}
	return NULL;
}

static bool vpc_contains(const struct model_vpc *vpc, uint32_t address)
{
	for (size_t i = 0; i < vpc->cidr_count; i++) {
		if ((address & scalar_prefix_mask(vpc->cidrs[i].prefix_length_bits)) == vpc->cidrs[i].address)
			return true;
	}
	return false;
}

static size_t count_in(const struct registrations *registrations, const struct model_workspace *workspace)
{
	size_t count = 0;

	for (size_t i = 0; i < workspace->vpc_count; i++)
		count += registrations_count_in(registrations, workspace->vpcs[i].vni);
	return count;
}

/* Below: REGISTRATION_REFUSAL_COUNT is no refusal. */
__attribute__((format(printf, 3, 4))) static enum registration_refusal refuse(
	enum registration_refusal refusal, char ret_why[REGISTRATION_WHY_SIZE_BYTES], const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(ret_why, REGISTRATION_WHY_SIZE_BYTES, format, arguments);
	va_end(arguments);
	return refusal;
}

static enum registration_refusal check_limits(const struct registrations *registrations, const struct revision *desired,
	const struct model_workspace *workspace, const struct model_registered_worker *worker,
	char ret_why[REGISTRATION_WHY_SIZE_BYTES])
{
	uint32_t host_max = desired->model->gateway.registered_per_host_max;
	char vtep[SCALAR_SIZE_BYTES];

	/* In the place of one that the host has already: nobody has more than before. */
	if (registrations_holds(registrations, worker->vtep, worker->vni, worker->address))
		return REGISTRATION_REFUSAL_COUNT;
	if (registrations_count_of(registrations, worker->vtep) >= host_max) {
		scalar_format_ipv4(worker->vtep, vtep);
		return refuse(REGISTRATION_HOST_LIMIT, ret_why,
			"host %s has %u workers registered, as many as gateway.registrations.per_host allows", vtep,
			host_max);
	}
	if (workspace->worker_count_max != 0 && count_in(registrations, workspace) >= workspace->worker_count_max)
		return refuse(REGISTRATION_WORKSPACE_LIMIT, ret_why,
			"workspace %s has %u workers registered, as many as its limits.workers allows", workspace->id,
			workspace->worker_count_max);
	return REGISTRATION_REFUSAL_COUNT;
}

static enum registration_refusal check_place(
	const struct model_vpc *vpc, uint32_t address, char ret_why[REGISTRATION_WHY_SIZE_BYTES])
{
	/* The policy would leave it out in silence. */
	if (vpc == NULL)
		return refuse(REGISTRATION_UNKNOWN_VPC, ret_why, "the gateway has no VPC with this VNI");
	if (!vpc_contains(vpc, address))
		return refuse(REGISTRATION_OUTSIDE_VPC, ret_why, "the address is outside of the VPC");
	return REGISTRATION_REFUSAL_COUNT;
}

static enum registration_refusal put(struct registrations *registrations, const struct model_registered_worker *worker,
	uint64_t sync, char ret_why[REGISTRATION_WHY_SIZE_BYTES])
{
	char owner_text[SCALAR_SIZE_BYTES];
	uint32_t owner = 0;

	if (registrations_put(registrations, worker, sync, &owner) == STATUS_OK)
		return REGISTRATION_REFUSAL_COUNT;
	if (owner == 0)
		return refuse(REGISTRATION_TABLE_FULL, ret_why, "the gateway has no room for it");
	scalar_format_ipv4(owner, owner_text);
	return refuse(REGISTRATION_OTHER_HOST, ret_why, "host %s has a worker with this address", owner_text);
}

bool registration_take(struct registrations *registrations, const struct revision *desired,
	const struct model_registered_worker *worker, uint64_t sync, struct registration_refusals *refusals,
	char ret_why[REGISTRATION_WHY_SIZE_BYTES])
{
	const struct model_workspace *workspace = revision_workspace_of_vni(desired, worker->vni);
	enum registration_refusal refusal = check_place(vpc_of(workspace, worker->vni), worker->address, ret_why);

	if (refusal == REGISTRATION_REFUSAL_COUNT)
		refusal = check_limits(registrations, desired, workspace, worker, ret_why);
	if (refusal == REGISTRATION_REFUSAL_COUNT)
		refusal = put(registrations, worker, sync, ret_why);
	if (refusal == REGISTRATION_REFUSAL_COUNT)
		return true;
	refusals->counts[refusal]++;
	if (refusal == REGISTRATION_HOST_LIMIT || refusal == REGISTRATION_WORKSPACE_LIMIT ||
		refusal == REGISTRATION_TABLE_FULL) {
		refusals->limited_ns = daemon_monotonic_ns();
		memcpy(refusals->limited_why, ret_why, sizeof(refusals->limited_why));
	}
	return false;
}

const char *registration_limited(const struct registration_refusals *refusals, uint64_t now_ns)
{
	bool lately =
		refusals->limited_ns != 0 && now_ns - refusals->limited_ns < REGISTRATION_LIMITED_S * 1000000000ull;

	return lately ? refusals->limited_why : NULL;
}
