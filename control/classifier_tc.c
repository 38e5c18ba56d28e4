/* SPDX-License-Identifier: Apache-2.0 */
#include "control/classifier_tc.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <netlink/attr.h>
#include <netlink/cache.h>
#include <netlink/msg.h>
#include <netlink/route/classifier.h>
#include <netlink/route/qdisc.h>
#include <netlink/route/tc.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

/* First in the chain, with a handle that nobody gets by default. */
enum { FILTER_PRIORITY = 1, FILTER_HANDLE = 0x5053 };

static const struct {
	const char *name; /* of the program, at most 15 bytes */
	enum bpf_tc_attach_point point;
} programs[CLASSIFIER_PROGRAM_COUNT] = {
	[CLASSIFIER_WORKER_INGRESS] = {"worker_ingress", BPF_TC_INGRESS},
	[CLASSIFIER_WORKER_EGRESS] = {"worker_egress", BPF_TC_EGRESS},
	[CLASSIFIER_REPLY_INGRESS] = {"reply_ingress", BPF_TC_INGRESS},
};

static bool program_is(uint32_t id, const char *name)
{
	struct bpf_prog_info info = {0};
	uint32_t info_size_bytes = sizeof(info);
	int fd = bpf_prog_get_fd_by_id(id);
	bool same;

	if (fd < 0)
		return false;
	same = bpf_obj_get_info_by_fd(fd, &info, &info_size_bytes) == 0 && strcmp(info.name, name) == 0;
	close(fd);
	return same;
}

static uint32_t hook_minor(enum classifier_program kind)
{
	return programs[kind].point == BPF_TC_INGRESS ? TC_H_MIN_INGRESS : TC_H_MIN_EGRESS;
}

/* The program id in the answer to filter_id(); 0: an error, or no BPF filter. */
static uint32_t filter_answer(const struct nlmsghdr *answer, ssize_t length_bytes, uint32_t sequence)
{
	struct nlattr *attributes[TCA_MAX + 1], *bpf[TCA_BPF_MAX + 1];

	if (length_bytes < 0 || !nlmsg_ok(answer, (int)length_bytes) || answer->nlmsg_seq != sequence ||
		answer->nlmsg_type != RTM_NEWTFILTER)
		return 0;
	if (nlmsg_parse((struct nlmsghdr *)answer, sizeof(struct tcmsg), attributes, TCA_MAX, NULL) != 0 ||
		!attributes[TCA_OPTIONS])
		return 0;
	if (nla_parse_nested(bpf, TCA_BPF_MAX, attributes[TCA_OPTIONS], NULL) != 0 || !bpf[TCA_BPF_ID])
		return 0;
	return nla_get_u32(bpf[TCA_BPF_ID]);
}

/*
 * The BPF program in our place on the hook. Asked by hand on the open socket: bpf_tc_query() opens one for each
 * question, and there are two questions per worker in each classifier_apply().
 */
static uint32_t filter_id(struct nl_sock *netlink, uint32_t ifindex, enum classifier_program kind)
{
	static const char filter_kind[] = "bpf";
	struct {
		struct nlmsghdr header;
		struct tcmsg tc;
		struct nlattr kind;
		char kind_text[NLA_ALIGN(sizeof(filter_kind))];
	} request = {
		.header = {.nlmsg_len = sizeof(request), .nlmsg_type = RTM_GETTFILTER, .nlmsg_flags = NLM_F_REQUEST},
		.tc = {.tcm_ifindex = (int)ifindex,
			.tcm_handle = FILTER_HANDLE,
			.tcm_parent = TC_H_MAKE(TC_H_CLSACT, hook_minor(kind)),
			.tcm_info = TC_H_MAKE(FILTER_PRIORITY << 16, htons(ETH_P_ALL))},
		.kind = {.nla_len = NLA_HDRLEN + sizeof(filter_kind), .nla_type = TCA_KIND},
	};
	_Alignas(struct nlmsghdr) char answer[8192];
	int fd = nl_socket_get_fd(netlink);
	ssize_t length;

	memcpy(request.kind_text, filter_kind, sizeof(filter_kind));
	request.header.nlmsg_seq = ifindex << 2 | (uint32_t)kind;
	if (send(fd, &request, sizeof(request), 0) != (ssize_t)sizeof(request))
		return 0;
	do
		length = recv(fd, answer, sizeof(answer), 0);
	while (length < 0 && errno == EINTR);
	return filter_answer((const struct nlmsghdr *)answer, length, request.header.nlmsg_seq);
}

uint32_t classifier_tc_attached(
	struct nl_sock *netlink, uint32_t ifindex, enum classifier_program kind, uint32_t expected_id)
{
	uint32_t id = filter_id(netlink, ifindex, kind);

	return id == 0 || id == expected_id || program_is(id, programs[kind].name) ? id : 0;
}

int classifier_tc_attach(uint32_t ifindex, enum classifier_program kind, int program_fd)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)ifindex, .attach_point = programs[kind].point);
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = FILTER_HANDLE, .priority = FILTER_PRIORITY, .prog_fd = program_fd,
		.flags = BPF_TC_F_REPLACE);
	int error = bpf_tc_hook_create(&hook);

	if (error != 0 && error != -EEXIST)
		return error;
	return bpf_tc_attach(&hook, &opts);
}

static bool hook_is_empty(struct nl_sock *netlink, uint32_t ifindex, uint32_t minor)
{
	struct nl_cache *filters;
	bool empty;

	if (rtnl_cls_alloc_cache(netlink, (int)ifindex, TC_H_MAKE(TC_H_CLSACT, minor), &filters) != 0)
		return false;
	empty = nl_cache_nitems(filters) == 0;
	nl_cache_free(filters);
	return empty;
}

int classifier_tc_detach(struct nl_sock *netlink, uint32_t ifindex)
{
	LIBBPF_OPTS(bpf_tc_hook, clsact, .ifindex = (int)ifindex, .attach_point = BPF_TC_INGRESS | BPF_TC_EGRESS);
	bool found = false;
	int first_error = 0;

	for (int kind = 0; kind < CLASSIFIER_PROGRAM_COUNT; kind++) {
		LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)ifindex, .attach_point = programs[kind].point);
		LIBBPF_OPTS(bpf_tc_opts, opts, .handle = FILTER_HANDLE, .priority = FILTER_PRIORITY);
		int error;

		if (classifier_tc_attached(netlink, ifindex, kind, 0) == 0)
			continue;
		found = true;
		error = bpf_tc_detach(&hook, &opts);
		if (error != 0 && first_error == 0)
			first_error = error;
	}
	if (found && first_error == 0 && hook_is_empty(netlink, ifindex, TC_H_MIN_INGRESS) &&
		hook_is_empty(netlink, ifindex, TC_H_MIN_EGRESS))
		(void)bpf_tc_hook_destroy(&clsact);
	return first_error;
}

int classifier_tc_interfaces(struct nl_sock *netlink, uint32_t **ret_ifindexes, size_t *ret_count)
{
	struct nl_cache *qdiscs;
	uint32_t *ifindexes;
	size_t count = 0;

	if (rtnl_qdisc_alloc_cache(netlink, &qdiscs) != 0)
		return -EIO;
	ifindexes = calloc((size_t)nl_cache_nitems(qdiscs) + 1, sizeof(*ifindexes));
	if (!ifindexes) {
		nl_cache_free(qdiscs);
		return -ENOMEM;
	}
	for (struct nl_object *object = nl_cache_get_first(qdiscs); object; object = nl_cache_get_next(object)) {
		struct rtnl_tc *qdisc = (struct rtnl_tc *)object;
		const char *kind = rtnl_tc_get_kind(qdisc);

		if (kind && strcmp(kind, "clsact") == 0)
			ifindexes[count++] = (uint32_t)rtnl_tc_get_ifindex(qdisc);
	}
	nl_cache_free(qdiscs);
	*ret_ifindexes = ifindexes;
	*ret_count = count;
	return 0;
}
