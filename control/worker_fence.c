/* SPDX-License-Identifier: Apache-2.0 */
#include "control/worker_fence.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <netlink/attr.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>

#include "dataplane/contract/limits.h"

enum {
	BATCH_BYTES = 4096,
	ANSWER_BYTES = 16384,
	ANSWER_TIMEOUT_S = 1,
	BEFORE_CONNTRACK = -450, /* NF_IP_PRI_CONNTRACK_DEFRAG is -400 */
	HOOK_ARP_IN = 0,	 /* <linux/netfilter_arp.h> */
	HOOK_BRIDGE_IN = 0,	 /* NF_BR_PRE_ROUTING of <linux/netfilter_bridge.h> */
	PROBLEM_SIZE_BYTES = 320,
};

static const char table_name[] = "postern-fence", chain_name[] = "workers";

/* Where the host's own stack begins, of each family. The last: a kernel without it has no bridge to guard. */
static const struct gate {
	uint8_t family;
	uint32_t hook;
	int32_t priority;
} gates[] = {
	{NFPROTO_INET, NF_INET_PRE_ROUTING, BEFORE_CONNTRACK},
	{NFPROTO_ARP, HOOK_ARP_IN, 0},
	{NFPROTO_BRIDGE, HOOK_BRIDGE_IN, BEFORE_CONNTRACK},
};

enum { GATE_COUNT = sizeof(gates) / sizeof(gates[0]), GATE_BRIDGE = GATE_COUNT - 1 };

struct worker_fence {
	struct nl_sock *netlink;		     /* NULL: not open */
	char pattern[INTERFACE_NAME_SIZE_BYTES + 1]; /* empty: none is wanted */
	bool removed;				     /* none is wanted, and none is there */
	bool no_bridges;			     /* the kernel can not guard them */
	uint64_t packets;
	char problem[PROBLEM_SIZE_BYTES]; /* empty: none */
};

/* Messages that are carried out together, or not at all. */
struct batch {
	_Alignas(struct nlmsghdr) char bytes[BATCH_BYTES];
	size_t length_bytes;
	unsigned answers;
	bool overflown;
};

/* ---- messages ---- */

/* NULL: no memory. */
static struct nl_msg *message_new(uint16_t type, uint16_t flags, uint8_t family, uint16_t resource)
{
	const struct nfgenmsg head = {.nfgen_family = family, .version = NFNETLINK_V0, .res_id = htons(resource)};
	struct nl_msg *message = nlmsg_alloc_simple(type, NLM_F_REQUEST | flags);

	if (message != NULL && nlmsg_append(message, (void *)&head, sizeof(head), NLMSG_ALIGNTO) != 0) {
		nlmsg_free(message);
		return NULL;
	}
	return message;
}

static struct nl_msg *nft_message(enum nf_tables_msg_types type, uint16_t flags, uint8_t family)
{
	return message_new((uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | type), flags, family, 0);
}

/* Takes the message. */
static void batch_add(struct batch *batch, struct nl_msg *message)
{
	struct nlmsghdr *header = message != NULL ? nlmsg_hdr(message) : NULL;

	if (header == NULL || batch->length_bytes + NLMSG_ALIGN(header->nlmsg_len) > sizeof(batch->bytes)) {
		batch->overflown = true;
	} else {
		memcpy(batch->bytes + batch->length_bytes, header, header->nlmsg_len);
		batch->length_bytes += NLMSG_ALIGN(header->nlmsg_len);
		batch->answers += (header->nlmsg_flags & NLM_F_ACK) != 0;
	}
	nlmsg_free(message);
}

static void batch_mark(struct batch *batch, uint16_t type)
{
	batch_add(batch, message_new(type, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES));
}

/* A message of a page has room for all that is put into one here: no put can fail. */
static void put_number(struct nl_msg *message, int type, uint32_t value)
{
	(void)nla_put_u32(message, type, htonl(value));
}

/* ---- the rule: meta iifname "veth-w*" counter drop ---- */

static struct nlattr *expression_begin(struct nl_msg *message, const char *name, struct nlattr **ret_element)
{
	*ret_element = nla_nest_start(message, NFTA_LIST_ELEM);
	(void)nla_put_string(message, NFTA_EXPR_NAME, name);
	return nla_nest_start(message, NFTA_EXPR_DATA);
}

static void expression_end(struct nl_msg *message, struct nlattr *data, struct nlattr *element)
{
	nla_nest_end(message, data);
	nla_nest_end(message, element);
}

/* The name, filled up with zeros, is in a register; its first bytes are compared. */
static void put_name_matches(struct nl_msg *message, const char *pattern)
{
	struct nlattr *element, *data = expression_begin(message, "meta", &element), *bytes;

	put_number(message, NFTA_META_KEY, NFT_META_IIFNAME);
	put_number(message, NFTA_META_DREG, NFT_REG_1);
	expression_end(message, data, element);
	data = expression_begin(message, "cmp", &element);
	put_number(message, NFTA_CMP_SREG, NFT_REG_1);
	put_number(message, NFTA_CMP_OP, NFT_CMP_EQ);
	bytes = nla_nest_start(message, NFTA_CMP_DATA);
	(void)nla_put(message, NFTA_DATA_VALUE, (int)strlen(pattern) - 1, pattern);
	nla_nest_end(message, bytes);
	expression_end(message, data, element);
}

static void put_count_and_drop(struct nl_msg *message)
{
	struct nlattr *element, *data = expression_begin(message, "counter", &element), *outer, *verdict;

	expression_end(message, data, element);
	data = expression_begin(message, "immediate", &element);
	put_number(message, NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
	outer = nla_nest_start(message, NFTA_IMMEDIATE_DATA);
	verdict = nla_nest_start(message, NFTA_DATA_VERDICT);
	put_number(message, NFTA_VERDICT_CODE, NF_DROP);
	nla_nest_end(message, verdict);
	nla_nest_end(message, outer);
	expression_end(message, data, element);
}

static void batch_add_table(struct batch *batch, enum nf_tables_msg_types type, uint16_t flags, uint8_t family)
{
	struct nl_msg *message = nft_message(type, flags | NLM_F_ACK, family);

	if (message != NULL)
		(void)nla_put_string(message, NFTA_TABLE_NAME, table_name);
	batch_add(batch, message);
}

static void batch_add_chain(struct batch *batch, const struct gate *gate)
{
	struct nl_msg *message = nft_message(NFT_MSG_NEWCHAIN, NLM_F_CREATE | NLM_F_ACK, gate->family);

	if (message != NULL) {
		struct nlattr *hook;

		(void)nla_put_string(message, NFTA_CHAIN_TABLE, table_name);
		(void)nla_put_string(message, NFTA_CHAIN_NAME, chain_name);
		hook = nla_nest_start(message, NFTA_CHAIN_HOOK);
		put_number(message, NFTA_HOOK_HOOKNUM, gate->hook);
		put_number(message, NFTA_HOOK_PRIORITY, (uint32_t)gate->priority);
		nla_nest_end(message, hook);
		(void)nla_put_string(message, NFTA_CHAIN_TYPE, "filter");
		put_number(message, NFTA_CHAIN_POLICY, NF_ACCEPT);
	}
	batch_add(batch, message);
}

/* The pattern stands behind the rule too, so that it is known again. */
static void batch_add_rule(struct batch *batch, uint8_t family, const char *pattern)
{
	struct nl_msg *message = nft_message(NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND | NLM_F_ACK, family);

	if (message != NULL) {
		struct nlattr *expressions;

		(void)nla_put_string(message, NFTA_RULE_TABLE, table_name);
		(void)nla_put_string(message, NFTA_RULE_CHAIN, chain_name);
		(void)nla_put(message, NFTA_RULE_USERDATA, (int)strlen(pattern), pattern);
		expressions = nla_nest_start(message, NFTA_RULE_EXPRESSIONS);
		put_name_matches(message, pattern);
		put_count_and_drop(message);
		nla_nest_end(message, expressions);
	}
	batch_add(batch, message);
}

/* ---- asking the kernel ---- */

static int netlink_open(struct nl_sock **ret_netlink)
{
	static const struct timeval timeout = {.tv_sec = ANSWER_TIMEOUT_S};
	struct nl_sock *netlink = nl_socket_alloc();
	int error;

	if (netlink == NULL)
		return -ENOMEM;
	errno = 0;
	if (nl_connect(netlink, NETLINK_NETFILTER) != 0 ||
		setsockopt(nl_socket_get_fd(netlink), SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)) != 0) {
		error = errno != 0 ? -errno : -EPROTONOSUPPORT;
		nl_socket_free(netlink);
		return error;
	}
	*ret_netlink = netlink;
	return 0;
}

static ssize_t answer_read(struct nl_sock *netlink, void *bytes, size_t size_bytes)
{
	ssize_t length;

	do
		length = recv(nl_socket_get_fd(netlink), bytes, size_bytes, 0);
	while (length < 0 && errno == EINTR);
	return length < 0 ? -errno : length;
}

/* 0, or the first -errno. After an error more answers may follow: the socket is not to be used again. */
static int batch_carry_out(struct nl_sock *netlink, struct batch *batch)
{
	_Alignas(struct nlmsghdr) char answer[ANSWER_BYTES];

	if (batch->overflown)
		return -ENOMEM;
	if (send(nl_socket_get_fd(netlink), batch->bytes, batch->length_bytes, 0) != (ssize_t)batch->length_bytes)
		return -errno;
	while (batch->answers > 0) {
		ssize_t length = answer_read(netlink, answer, sizeof(answer));
		int left_bytes = (int)length;

		if (length < 0)
			return (int)length;
		for (struct nlmsghdr *at = (void *)answer; nlmsg_ok(at, left_bytes); at = nlmsg_next(at, &left_bytes)) {
			const struct nlmsgerr *error = nlmsg_data(at);

			if (at->nlmsg_type != NLMSG_ERROR)
				continue;
			if (error->error != 0)
				return error->error;
			if (batch->answers > 0)
				batch->answers--;
		}
	}
	return 0;
}

/* In place of whatever has the name, at once. */
static int gate_close(struct nl_sock *netlink, const struct gate *gate, const char *pattern)
{
	struct batch batch = {0};

	batch_mark(&batch, NFNL_MSG_BATCH_BEGIN);
	batch_add_table(&batch, NFT_MSG_NEWTABLE, NLM_F_CREATE, gate->family);
	batch_add_table(&batch, NFT_MSG_DELTABLE, 0, gate->family);
	batch_add_table(&batch, NFT_MSG_NEWTABLE, NLM_F_CREATE, gate->family);
	batch_add_chain(&batch, gate);
	batch_add_rule(&batch, gate->family, pattern);
	batch_mark(&batch, NFNL_MSG_BATCH_END);
	return batch_carry_out(netlink, &batch);
}

static int gate_open(struct nl_sock *netlink, const struct gate *gate)
{
	struct batch batch = {0};

	batch_mark(&batch, NFNL_MSG_BATCH_BEGIN);
	batch_add_table(&batch, NFT_MSG_DELTABLE, 0, gate->family);
	batch_mark(&batch, NFNL_MSG_BATCH_END);
	return batch_carry_out(netlink, &batch);
}

/* What stands in a table of ours. */
struct standing {
	unsigned rule_count;
	bool as_wanted; /* the last rule */
	uint64_t packets;
};

static uint64_t counter_of(const struct nlattr *expressions)
{
	struct nlattr *element;
	int left_bytes;

	nla_for_each_nested(element, expressions, left_bytes)
	{
		struct nlattr *of_element[NFTA_EXPR_MAX + 1], *of_counter[NFTA_COUNTER_MAX + 1];

		if (nla_parse_nested(of_element, NFTA_EXPR_MAX, element, NULL) != 0 ||
			of_element[NFTA_EXPR_NAME] == NULL || of_element[NFTA_EXPR_DATA] == NULL ||
			nla_strcmp(of_element[NFTA_EXPR_NAME], "counter") != 0 ||
			nla_parse_nested(of_counter, NFTA_COUNTER_MAX, of_element[NFTA_EXPR_DATA], NULL) != 0 ||
			of_counter[NFTA_COUNTER_PACKETS] == NULL)
			continue;
		return be64toh(nla_get_u64(of_counter[NFTA_COUNTER_PACKETS]));
	}
	return 0;
}

static void rule_read(struct nlmsghdr *header, const char *pattern, struct standing *standing)
{
	struct nlattr *attributes[NFTA_RULE_MAX + 1];
	const struct nlattr *userdata;

	if (nlmsg_parse(header, sizeof(struct nfgenmsg), attributes, NFTA_RULE_MAX, NULL) != 0)
		return;
	userdata = attributes[NFTA_RULE_USERDATA];
	standing->rule_count++;
	standing->as_wanted = userdata != NULL && (size_t)nla_len(userdata) == strlen(pattern) &&
			      memcmp(nla_data(userdata), pattern, strlen(pattern)) == 0;
	if (attributes[NFTA_RULE_EXPRESSIONS] != NULL)
		standing->packets += counter_of(attributes[NFTA_RULE_EXPRESSIONS]);
}

static int gate_read(
	struct nl_sock *netlink, const struct gate *gate, const char *pattern, struct standing *ret_standing)
{
	struct nl_msg *message = nft_message(NFT_MSG_GETRULE, NLM_F_DUMP, gate->family);
	_Alignas(struct nlmsghdr) char answer[ANSWER_BYTES];
	struct standing standing = {0};
	ssize_t length;

	if (message == NULL)
		return -ENOMEM;
	(void)nla_put_string(message, NFTA_RULE_TABLE, table_name);
	(void)nla_put_string(message, NFTA_RULE_CHAIN, chain_name);
	length = send(nl_socket_get_fd(netlink), nlmsg_hdr(message), nlmsg_hdr(message)->nlmsg_len, 0) < 0 ? -errno : 0;
	nlmsg_free(message);
	while (length >= 0) {
		int left_bytes;

		length = answer_read(netlink, answer, sizeof(answer));
		left_bytes = (int)length;
		for (struct nlmsghdr *at = (void *)answer; length > 0 && nlmsg_ok(at, left_bytes);
			at = nlmsg_next(at, &left_bytes)) {
			if (at->nlmsg_type == NLMSG_DONE) {
				*ret_standing = standing;
				return 0;
			}
			if (at->nlmsg_type == NLMSG_ERROR)
				return ((const struct nlmsgerr *)nlmsg_data(at))->error;
			rule_read(at, pattern, &standing);
		}
	}
	return (int)length;
}

/* ---- the fence ---- */

static void fence_forget_socket(struct worker_fence *fence)
{
	nl_socket_free(fence->netlink);
	fence->netlink = NULL;
}

static bool is_unsupported(int error)
{
	return error == -EOPNOTSUPP || error == -EPROTONOSUPPORT || error == -EAFNOSUPPORT;
}

static int fence_put_right(struct worker_fence *fence)
{
	uint64_t packets = 0;
	size_t gate_count = fence->no_bridges ? GATE_BRIDGE : GATE_COUNT;
	int error = 0;

	for (size_t i = 0; i < gate_count && error == 0; i++) {
		struct standing standing = {0};

		error = gate_read(fence->netlink, &gates[i], fence->pattern, &standing);
		if (error == 0 && (standing.rule_count != 1 || !standing.as_wanted))
			error = gate_close(fence->netlink, &gates[i], fence->pattern);
		else
			packets += standing.packets;
		/* -ENOENT: the kernel knows the family, and has no such chains in it. */
		if (i == GATE_BRIDGE && (is_unsupported(error) || error == -ENOENT)) {
			fence->no_bridges = true;
			fence_forget_socket(fence);
			error = 0;
		}
	}
	if (error == 0)
		fence->packets = packets;
	return error;
}

/* One that is not there, or a kernel that has none, is as good as one that was removed. */
static int fence_remove(struct nl_sock *netlink)
{
	int first_error = 0;

	for (size_t i = 0; i < GATE_COUNT; i++) {
		int error = gate_open(netlink, &gates[i]);

		if (error != 0 && error != -ENOENT && !is_unsupported(error) && first_error == 0)
			first_error = error;
	}
	return first_error;
}

void worker_fence_check(struct worker_fence *fence)
{
	int error = 0;

	if (fence->pattern[0] == '\0' && fence->removed)
		return;
	if (fence->netlink == NULL)
		error = netlink_open(&fence->netlink);
	if (error == 0)
		error = fence->pattern[0] != '\0' ? fence_put_right(fence) : fence_remove(fence->netlink);
	if (error != 0)
		fence_forget_socket(fence);
	fence->removed = fence->pattern[0] == '\0' && error == 0;
	fence->problem[0] = '\0';
	if (error != 0 && fence->pattern[0] != '\0')
		snprintf(fence->problem, sizeof(fence->problem),
			"no fence can be put up for worker_host.interfaces: %s: is nf_tables there (`modprobe "
			"nf_tables`)? An interface that is created up reaches this host itself until it is closed",
			strerror(-error));
}

void worker_fence_set(struct worker_fence *fence, const char *pattern)
{
	if (strcmp(fence->pattern, pattern) != 0)
		fence->removed = false;
	snprintf(fence->pattern, sizeof(fence->pattern), "%s", pattern);
	worker_fence_check(fence);
}

uint64_t worker_fence_packets(const struct worker_fence *fence)
{
	return fence->packets;
}

const char *worker_fence_problem(const struct worker_fence *fence)
{
	return fence->problem[0] != '\0' ? fence->problem : NULL;
}

enum status worker_fence_remove(struct problems *problems)
{
	struct nl_sock *netlink;
	int error = netlink_open(&netlink);

	if (error == 0) {
		error = fence_remove(netlink);
		nl_socket_free(netlink);
	}
	if (error == 0 || error == -EPROTONOSUPPORT)
		return STATUS_OK;
	problems_add(problems, "the tables %s of nf_tables can not be removed: %s; run as root", table_name,
		strerror(-error));
	return STATUS_SYSTEM;
}

enum status worker_fence_open(struct worker_fence **ret_fence)
{
	struct worker_fence *fence = calloc(1, sizeof(*fence));

	if (fence == NULL)
		return STATUS_NO_MEMORY;
	*ret_fence = fence;
	return STATUS_OK;
}

void worker_fence_close(struct worker_fence *fence)
{
	if (fence == NULL)
		return;
	fence_forget_socket(fence);
	free(fence);
}
