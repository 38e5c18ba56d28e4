/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/bench/frames.h"

#include <stdio.h>
#include <string.h>

#include "dataplane/nat/bytes.h"
#include "dataplane/nat/checksum.h"
#include "tools/bench/random.h"

enum {
	WORKERS_MAX = 1024,
	SESSIONS_PER_WORKER = 64,
	SOURCE_PORT_FIRST = 1024,
	SOURCE_PORT_COUNT = 64512,
	REMOTE_PORT = 443,
	FRAME_TTL = 64,
	IMIX_PARTS = 12, /* seven small ones, four middle ones, one large one */
	IMIX_SMALL = 7,
	IMIX_MIDDLE = 4,
};

#define REMOTE_FIRST ADDRESS(8, 0, 0, 0)
#define REMOTE_COUNT (1u << 25)

/* Of the frame in the buffer, which lacks the four bytes of the wire's check sequence; without the tunnel's 50. */
static const uint16_t frame_sizes[FRAMES_SIZE_COUNT] = {60, 590, 1514};

struct tuple {
	uint32_t source, destination;
	uint16_t source_port, destination_port;
	uint32_t vni;
	uint8_t size_index;
};

static uint16_t l4_bytes_of(uint8_t size_index)
{
	return (uint16_t)(frame_sizes[size_index] - ETHERNET_HEADER_BYTES - IPV4_HEADER_BYTES);
}

static void ip_write(uint8_t *ip, uint16_t total_bytes, uint8_t protocol, uint32_t source, uint32_t destination)
{
	ip[0] = 0x45;
	store_be16(ip + IPV4_LENGTH_OFFSET, total_bytes);
	store_be16(ip + IPV4_FRAGMENT_OFFSET, IPV4_FLAG_DF);
	ip[IPV4_TTL_OFFSET] = FRAME_TTL;
	ip[IPV4_PROTOCOL_OFFSET] = protocol;
	store_be32(ip + IPV4_SOURCE_OFFSET, source);
	store_be32(ip + IPV4_DESTINATION_OFFSET, destination);
}

static void l4_write(uint8_t *l4, uint16_t l4_bytes, uint8_t protocol, uint8_t tcp_flags)
{
	if (protocol == PROTOCOL_UDP) {
		store_be16(l4 + 4, l4_bytes);
		return;
	}
	l4[TCP_DATA_OFFSET] = TCP_HEADER_BYTES / 4 << 4;
	l4[TCP_FLAGS_OFFSET] = tcp_flags;
	store_be16(l4 + TCP_WINDOW_OFFSET, 65535);
}

static void template_build(struct frames_template *template, const struct frames *frames, uint8_t size_index,
	uint8_t protocol, uint8_t tcp_flags)
{
	const uint16_t inner_bytes = (uint16_t)(IPV4_HEADER_BYTES + l4_bytes_of(size_index));
	uint8_t *at = template->bytes;

	memset(template, 0, sizeof(*template));
	store_be16(at + ETHERNET_TYPE_OFFSET, ETHERTYPE_IPV4);
	at += ETHERNET_HEADER_BYTES;
	if (frames->vxlan) {
		const uint16_t udp_bytes =
			(uint16_t)(UDP_HEADER_BYTES + VXLAN_HEADER_BYTES + ETHERNET_HEADER_BYTES + inner_bytes);

		ip_write(at, (uint16_t)(IPV4_HEADER_BYTES + udp_bytes), PROTOCOL_UDP, ADDRESS(10, 100, 0, 2),
			ADDRESS(10, 100, 0, 1));
		store_be16(at + IPV4_CHECKSUM_OFFSET, checksum_of(at, IPV4_HEADER_BYTES));
		at += IPV4_HEADER_BYTES;
		store_be16(at, 50000);
		store_be16(at + 2, VXLAN_UDP_PORT);
		store_be16(at + 4, udp_bytes);
		at += UDP_HEADER_BYTES;
		at[0] = VXLAN_FLAG_I;
		at += VXLAN_HEADER_BYTES;
		store_be16(at + ETHERNET_TYPE_OFFSET, ETHERTYPE_IPV4);
		at += ETHERNET_HEADER_BYTES;
	}
	ip_write(at, inner_bytes, protocol, 0, 0);
	l4_write(at + IPV4_HEADER_BYTES, l4_bytes_of(size_index), protocol, tcp_flags);
	template->length_bytes = (uint16_t)(at - template->bytes + inner_bytes);
}

static struct frames_record record_of(const struct tuple *tuple, uint8_t protocol, uint8_t tcp_flags)
{
	struct frames_record record = {
		.addresses_be =
			(uint64_t)__builtin_bswap32(tuple->destination) << 32 | __builtin_bswap32(tuple->source),
		.ports_be = (uint32_t)__builtin_bswap16(tuple->destination_port) << 16 |
			    __builtin_bswap16(tuple->source_port),
		.vni_be = __builtin_bswap32(tuple->vni << 8),
		.size_index = tuple->size_index,
	};
	const uint16_t l4_bytes = l4_bytes_of(tuple->size_index);
	uint8_t ip[IPV4_HEADER_BYTES] = {}, l4[TCP_HEADER_BYTES] = {};
	uint16_t checksum;

	ip_write(ip, (uint16_t)(IPV4_HEADER_BYTES + l4_bytes), protocol, tuple->source, tuple->destination);
	record.ip_checksum_be = __builtin_bswap16(checksum_of(ip, sizeof(ip)));
	store_be16(l4, tuple->source_port);
	store_be16(l4 + 2, tuple->destination_port);
	l4_write(l4, l4_bytes, protocol, tcp_flags);
	checksum = (uint16_t)~checksum_fold(checksum_sum(l4, protocol == PROTOCOL_UDP ? UDP_HEADER_BYTES : sizeof(l4),
		checksum_pseudo(tuple->source, tuple->destination, protocol, l4_bytes)));
	record.l4_checksum_be = __builtin_bswap16(checksum != 0 ? checksum : 0xffff);
	return record;
}

static uint8_t imix_size(struct random *random)
{
	const uint32_t part = random_below(random, IMIX_PARTS);

	return part < IMIX_SMALL ? 0 : part < IMIX_SMALL + IMIX_MIDDLE ? 1 : 2;
}

static bool frames_begin(struct frames *frames, const struct frames_plan *plan, char *ret_text)
{
	if (!memory_allocate(plan->count * sizeof(struct frames_record), MEMORY_PAGES_LARGE, &frames->block, ret_text))
		return false;
	frames->records = frames->block.memory;
	frames->count = plan->count;
	frames->tcp = plan->protocol == PROTOCOL_TCP;
	frames->ip_offset = frames->vxlan ? VXLAN_OUTER_BYTES + ETHERNET_HEADER_BYTES : (uint32_t)ETHERNET_HEADER_BYTES;
	frames->l4_checksum_offset = IPV4_HEADER_BYTES + (frames->tcp ? TCP_CHECKSUM_OFFSET : UDP_CHECKSUM_OFFSET);
	for (uint8_t i = 0; i < FRAMES_SIZE_COUNT; i++)
		template_build(&frames->templates[i], frames, i, plan->protocol, plan->tcp_flags);
	return true;
}

static void shuffle(struct frames *frames, struct random *random)
{
	for (uint32_t i = frames->count; i > 1; i--) {
		const uint32_t other = random_below(random, i);
		const struct frames_record record = frames->records[i - 1];

		frames->records[i - 1] = frames->records[other];
		frames->records[other] = record;
	}
}

bool frames_outbound(
	struct frames *ret_frames, const struct gateway *gateway, const struct frames_plan *plan, char *ret_text)
{
	const uint32_t workspace_count = plan->one_workspace ? 1 : gateway->plan.workspace_count;
	const uint32_t per_workspace = (plan->first_number + plan->count + workspace_count - 1) / workspace_count;
	uint32_t worker_count = gateway->plan.workers_per_workspace;
	struct random random = random_seeded(plan->seed + plan->first_number);
	struct frames *frames = ret_frames;

	*frames = (struct frames){.in_port = PORT_INSIDE, .vxlan = gateway->plan.vxlan};
	if (!frames_begin(frames, plan, ret_text))
		return false;
	if (worker_count == 0)
		worker_count = per_workspace < SESSIONS_PER_WORKER * 2 ? 1 : per_workspace / SESSIONS_PER_WORKER;
	if (worker_count > WORKERS_MAX)
		worker_count = WORKERS_MAX;
	for (uint32_t i = 0; i < plan->count; i++) {
		const uint32_t number = plan->first_number + i;
		const uint32_t in_workspace = number / workspace_count;
		const uint32_t remote = plan->one_remote ? 0 : random_below(&random, REMOTE_COUNT);
		const struct tuple tuple = {
			.source = gateway_worker_address(in_workspace % worker_count),
			.source_port = (uint16_t)(SOURCE_PORT_FIRST + in_workspace / worker_count % SOURCE_PORT_COUNT),
			.destination = REMOTE_FIRST + remote,
			.destination_port = REMOTE_PORT,
			.vni = gateway_vni(number % workspace_count),
			.size_index = plan->imix ? imix_size(&random) : 0,
		};

		frames->records[i] = record_of(&tuple, plan->protocol, plan->tcp_flags);
	}
	shuffle(frames, &random);
	return true;
}

bool frames_inbound(
	struct frames *ret_frames, const struct gateway *gateway, const struct frames_plan *plan, char *ret_text)
{
	struct random random = random_seeded(plan->seed + 1);
	struct frames *frames = ret_frames;
	uint32_t count = 0;

	*frames = (struct frames){.in_port = PORT_OUTSIDE};
	if (!frames_begin(frames, plan, ret_text))
		return false;
	for (uint32_t i = 0; i < gateway->config.sessions_max && count < plan->count; i++) {
		const struct session *session = &gateway->config.sessions[i];
		const struct tuple tuple = {
			.source = session->remote_address,
			.source_port = session->remote_port,
			.destination = session->egress_address,
			.destination_port = session->egress_port,
			.size_index = plan->imix ? imix_size(&random) : 0,
		};

		if (session->state != SESSION_FREE)
			frames->records[count++] = record_of(&tuple, plan->protocol, plan->tcp_flags);
	}
	frames->count = count;
	if (count == 0) {
		snprintf(ret_text, BENCH_TEXT_SIZE_BYTES, "there is no session to send replies to");
		frames_free(frames);
		return false;
	}
	shuffle(frames, &random);
	return true;
}

void frames_set_flags(struct frames *frames, uint8_t tcp_flags)
{
	for (unsigned i = 0; i < FRAMES_SIZE_COUNT; i++)
		frames->templates[i].bytes[frames->ip_offset + IPV4_HEADER_BYTES + TCP_FLAGS_OFFSET] = tcp_flags;
}

void frames_free(struct frames *frames)
{
	memory_free(&frames->block);
	*frames = (struct frames){};
}
