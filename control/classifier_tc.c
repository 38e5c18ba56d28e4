/* SPDX-License-Identifier: Apache-2.0 */
#include "control/classifier_tc.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
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
enum { FILTER_PRIORITY = 1, FILTER_HANDLE = 0x5053, ANSWER_BYTES = 8192 };

/* <linux/bpf.h> of Linux 6.6; libbpf 1.1 does not know them, but passes them on. */
enum { ATTACH_TCX_INGRESS = 46, ATTACH_TCX_EGRESS = 47, ATTACH_BEFORE = 1 << 3, TCX_PROGRAM_COUNT_MAX = 64 };

static const struct {
	const char *name; /* of the program, at most 15 bytes */
	enum bpf_tc_attach_point point;
} programs[CLASSIFIER_PROGRAM_COUNT] = {
	[CLASSIFIER_WORKER_INGRESS] = {"worker_ingress", BPF_TC_INGRESS},
	[CLASSIFIER_WORKER_EGRESS] = {"worker_egress", BPF_TC_EGRESS},
	[CLASSIFIER_REPLY_INGRESS] = {"reply_ingress", BPF_TC_INGRESS},
	[CLASSIFIER_UPLINK_INGRESS] = {"uplink_ingress", BPF_TC_INGRESS},
	[CLASSIFIER_UPLINK_EGRESS] = {"uplink_egress", BPF_TC_EGRESS},
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

/* ---- TCX ---- */

static enum bpf_attach_type tcx_hook(enum classifier_program kind)
{
	return (enum bpf_attach_type)(programs[kind].point == BPF_TC_INGRESS ? ATTACH_TCX_INGRESS : ATTACH_TCX_EGRESS);
}

/* The programs on the hook; 0 also where the kernel has no TCX. */
static uint32_t tcx_programs(uint32_t ifindex, enum classifier_program kind, uint32_t ret_ids[TCX_PROGRAM_COUNT_MAX])
{
	uint32_t count = TCX_PROGRAM_COUNT_MAX;

	if (bpf_prog_query((int)ifindex, tcx_hook(kind), 0, NULL, ret_ids, &count) != 0)
		return 0;
	return count;
}

/* Ours of this kind; 0: it is not there. */
static uint32_t tcx_id(uint32_t ifindex, enum classifier_program kind, uint32_t expected_id)
{
	uint32_t ids[TCX_PROGRAM_COUNT_MAX], count = tcx_programs(ifindex, kind, ids);

	for (uint32_t i = 0; i < count; i++)
		if (ids[i] == expected_id || program_is(ids[i], programs[kind].name))
			return ids[i];
	return 0;
}

/* In place of `old_id`, or first. -EINVAL: the kernel has no TCX. */
static int tcx_attach(uint32_t ifindex, enum classifier_program kind, int program_fd, uint32_t old_id)
{
	LIBBPF_OPTS(bpf_prog_attach_opts, opts, .flags = ATTACH_BEFORE);
	int error;

	if (old_id != 0) {
		opts.flags = BPF_F_REPLACE;
		opts.replace_prog_fd = bpf_prog_get_fd_by_id(old_id);
		if (opts.replace_prog_fd < 0)
			return -errno;
	}
	error = bpf_prog_attach_opts(program_fd, (int)ifindex, tcx_hook(kind), &opts) == 0 ? 0 : -errno;
	if (old_id != 0)
		close(opts.replace_prog_fd);
	/* It is there already; a program cannot be put in its own place. */
	return old_id != 0 && error == -EEXIST ? 0 : error;
}

static int tcx_detach(uint32_t ifindex, enum classifier_program kind, uint32_t id)
{
	int fd = bpf_prog_get_fd_by_id(id), error;

	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	error = bpf_prog_detach2(fd, (int)ifindex, tcx_hook(kind)) == 0 ? 0 : -errno;
	close(fd);
	return error;
}

/* ---- clsact ---- */

static uint32_t hook_minor(enum classifier_program kind)
{
	return programs[kind].point == BPF_TC_INGRESS ? TC_H_MIN_INGRESS : TC_H_MIN_EGRESS;
}

/*
 * Asks the kernel about one object on the open socket, by hand: libbpf's calls open one for each question, and there are
 * two questions per worker in each classifier_apply(). False: it is not there, or the answer is none. What an earlier
 * question has left unread is passed over; the socket's time limit ends the wait.
 */
static bool tc_ask(struct nl_sock *netlink, const struct nlmsghdr *request, uint16_t answer_type,
	struct nlattr *ret_attributes[TCA_MAX + 1], char answer[ANSWER_BYTES])
{
	const struct nlmsghdr *header = (const struct nlmsghdr *)answer;
	int fd = nl_socket_get_fd(netlink);
	ssize_t length;

	if (send(fd, request, request->nlmsg_len, 0) != (ssize_t)request->nlmsg_len)
		return false;
	do
		length = recv(fd, answer, ANSWER_BYTES, 0);
	while (length < 0 ? errno == EINTR : !nlmsg_ok(header, (int)length) || header->nlmsg_seq != request->nlmsg_seq);
	if (length < 0 || header->nlmsg_type != answer_type)
		return false;
	return nlmsg_parse((struct nlmsghdr *)answer, sizeof(struct tcmsg), ret_attributes, TCA_MAX, NULL) == 0;
}

/* The BPF program in our place on the hook; 0: none. */
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
	_Alignas(struct nlmsghdr) char answer[ANSWER_BYTES];
	struct nlattr *attributes[TCA_MAX + 1], *bpf[TCA_BPF_MAX + 1];

	memcpy(request.kind_text, filter_kind, sizeof(filter_kind));
	request.header.nlmsg_seq = ifindex << 2 | (uint32_t)kind;
	if (!tc_ask(netlink, &request.header, RTM_NEWTFILTER, attributes, answer) || !attributes[TCA_OPTIONS])
		return 0;
	if (nla_parse_nested(bpf, TCA_BPF_MAX, attributes[TCA_OPTIONS], NULL) != 0 || !bpf[TCA_BPF_ID])
		return 0;
	return nla_get_u32(bpf[TCA_BPF_ID]);
}

/*
 * An `ingress` qdisc stands in a clsact's place, and filters for its egress end up among those of its ingress: there
 * worker_egress would replace worker_ingress, and judge the wrong direction. Without NLM_F_ECHO only listeners of the
 * group would get the answer.
 */
static bool is_clsact(struct nl_sock *netlink, uint32_t ifindex)
{
	struct {
		struct nlmsghdr header;
		struct tcmsg tc;
	} request = {
		.header = {.nlmsg_len = sizeof(request),
			.nlmsg_type = RTM_GETQDISC,
			.nlmsg_flags = NLM_F_REQUEST | NLM_F_ECHO,
			.nlmsg_seq = ifindex},
		.tc = {.tcm_ifindex = (int)ifindex, .tcm_parent = TC_H_CLSACT},
	};
	_Alignas(struct nlmsghdr) char answer[ANSWER_BYTES];
	struct nlattr *attributes[TCA_MAX + 1];

	return tc_ask(netlink, &request.header, RTM_NEWQDISC, attributes, answer) && attributes[TCA_KIND] &&
	       nla_strcmp(attributes[TCA_KIND], "clsact") == 0;
}

static uint32_t clsact_attached(
	struct nl_sock *netlink, uint32_t ifindex, enum classifier_program kind, uint32_t expected_id)
{
	uint32_t id = filter_id(netlink, ifindex, kind);

	return id == 0 || id == expected_id || program_is(id, programs[kind].name) ? id : 0;
}

uint32_t classifier_tc_attached(
	struct nl_sock *netlink, uint32_t ifindex, enum classifier_program kind, uint32_t expected_id)
{
	uint32_t id = tcx_id(ifindex, kind, expected_id);

	return id != 0 ? id : clsact_attached(netlink, ifindex, kind, expected_id);
}

static bool clsact_has_ours(uint32_t ifindex, enum classifier_program kind)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)ifindex, .attach_point = programs[kind].point);
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = FILTER_HANDLE, .priority = FILTER_PRIORITY);

	return bpf_tc_query(&hook, &opts) == 0 && program_is(opts.prog_id, programs[kind].name);
}

static int clsact_attach(struct nl_sock *netlink, uint32_t ifindex, enum classifier_program kind, int program_fd)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)ifindex, .attach_point = programs[kind].point);
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = FILTER_HANDLE, .priority = FILTER_PRIORITY, .prog_fd = program_fd,
		.flags = BPF_TC_F_REPLACE);
	int error = bpf_tc_hook_create(&hook);

	if (error == -EEXIST && !is_clsact(netlink, ifindex))
		return CLASSIFIER_TC_OCCUPIED;
	if (error != 0 && error != -EEXIST)
		return error;
	return bpf_tc_attach(&hook, &opts);
}

int classifier_tc_attach(struct nl_sock *netlink, uint32_t ifindex, enum classifier_program kind, int program_fd)
{
	uint32_t old_id = tcx_id(ifindex, kind, 0);
	int error;

	if (old_id == 0 && clsact_has_ours(ifindex, kind))
		return clsact_attach(netlink, ifindex, kind, program_fd);
	error = tcx_attach(ifindex, kind, program_fd, old_id);
	return error == -EINVAL ? clsact_attach(netlink, ifindex, kind, program_fd) : error;
}

int classifier_tc_attach_first(
	struct nl_sock *netlink, uint32_t ifindex, enum classifier_program kind, int program_fd, bool on_clsact)
{
	int error = on_clsact ? -EINVAL : tcx_attach(ifindex, kind, program_fd, 0);

	return error == -EINVAL ? clsact_attach(netlink, ifindex, kind, program_fd) : error;
}

void classifier_tc_tell(const char *interface, int error, const char *what_follows, struct problems *problems)
{
	if (error == CLASSIFIER_TC_OCCUPIED)
		problems_add(problems,
			"%s: the classifier cannot be attached: an ingress qdisc is where its clsact would be; "
			"remove it (tc qdisc del dev %s ingress)%s",
			interface, interface, what_follows);
	else
		problems_add(problems,
			"%s: the classifier cannot be attached: %s; remove other tc filters of priority 1%s", interface,
			strerror(-error), what_follows);
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
		uint32_t id = tcx_id(ifindex, kind, 0);
		int error = id != 0 ? tcx_detach(ifindex, kind, id) : 0;

		if (error != 0 && first_error == 0)
			first_error = error;
		if (clsact_attached(netlink, ifindex, kind, 0) == 0)
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

/* The interfaces that have a clsact, of which ours may be one. */
static size_t clsact_interfaces(struct nl_sock *netlink, uint32_t **ret_ifindexes)
{
	struct nl_cache *qdiscs;
	uint32_t *ifindexes;
	size_t count = 0;

	if (rtnl_qdisc_alloc_cache(netlink, &qdiscs) != 0)
		return 0;
	ifindexes = calloc((size_t)nl_cache_nitems(qdiscs) + 1, sizeof(*ifindexes));
	for (struct nl_object *object = nl_cache_get_first(qdiscs); object && ifindexes;
		object = nl_cache_get_next(object)) {
		struct rtnl_tc *qdisc = (struct rtnl_tc *)object;
		const char *kind = rtnl_tc_get_kind(qdisc);

		if (kind && strcmp(kind, "clsact") == 0)
			ifindexes[count++] = (uint32_t)rtnl_tc_get_ifindex(qdisc);
	}
	nl_cache_free(qdiscs);
	*ret_ifindexes = ifindexes;
	return count;
}

static bool is_among(const uint32_t *ifindexes, size_t count, uint32_t ifindex)
{
	for (size_t i = 0; i < count; i++)
		if (ifindexes[i] == ifindex)
			return true;
	return false;
}

int classifier_tc_interfaces(struct nl_sock *netlink, uint32_t **ret_ifindexes, size_t *ret_count)
{
	struct if_nameindex *links = if_nameindex();
	uint32_t *ifindexes = NULL, *clsact = NULL, ids[TCX_PROGRAM_COUNT_MAX];
	size_t link_count = 0, clsact_count, count;

	if (!links)
		return -errno;
	while (links[link_count].if_index != 0)
		link_count++;
	clsact_count = clsact_interfaces(netlink, &clsact);
	ifindexes = calloc(link_count + clsact_count + 1, sizeof(*ifindexes));
	if (!ifindexes || (clsact_count != 0 && !clsact)) {
		if_freenameindex(links);
		free(clsact);
		free(ifindexes);
		return -ENOMEM;
	}
	for (size_t i = 0; i < clsact_count; i++)
		ifindexes[i] = clsact[i];
	count = clsact_count;
	for (size_t i = 0; i < link_count; i++)
		if (tcx_programs(links[i].if_index, CLASSIFIER_WORKER_INGRESS, ids) != 0 &&
			!is_among(clsact, clsact_count, links[i].if_index))
			ifindexes[count++] = links[i].if_index;
	if_freenameindex(links);
	free(clsact);
	*ret_ifindexes = ifindexes;
	*ret_count = count;
	return 0;
}
