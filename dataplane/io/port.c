/* SPDX-License-Identifier: Apache-2.0 */
#include "dataplane/io/port.h"

#include <errno.h>
#include <net/if.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <rte_dev.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_lcore.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>

#include "dataplane/io/pool.h"
#include "dataplane/io/xdp_leftover.h"
#include "dataplane/nat/check.h"

enum {
	RING_SIZE = 2048, /* what the AF_XDP driver uses for its own rings */
	/* One queue of both ports holds at most 2 · (2048 receiving + 4096 sending), the rest is in work. */
	POOL_PER_QUEUE_COUNT = 16384,
	/* Of each shard beyond the first: 512 fragments held, 768 in its cache of the pool, a full ring to it. */
	POOL_PER_SHARD_COUNT = 2048,
	POOL_COUNT_MAX = 131072,
	FRAME_OVERHEAD_BYTES = RTE_ETHER_HDR_LEN + RTE_ETHER_CRC_LEN,
};

static_assert(RTE_PKTMBUF_HEADROOM >= PACKET_HEADROOM_MIN_BYTES, "room for the tunnel header");

__attribute__((format(printf, 2, 3))) static bool refuse(char *ret_text, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(ret_text, NAT_TEXT_SIZE_BYTES, format, arguments);
	va_end(arguments);
	return false;
}

/*
 * One dataplane per interface: an abstract socket, whose name lives in the network namespace as the interface does,
 * and goes with the process however that ends.
 */
static bool port_lock(struct port *port, char *ret_text)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int length = snprintf(address.sun_path + 1, sizeof(address.sun_path) - 1, "postern-port/%u", port->if_index);
	socklen_t size_bytes = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)length);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return refuse(
			ret_text, "no socket left for the lock of %s: %s", port->device.interface, strerror(errno));
	if (bind(fd, (struct sockaddr *)&address, size_bytes) != 0) {
		close(fd);
		return refuse(ret_text, "interface %s is in use by another postern-dataplane: stop that one first",
			port->device.interface);
	}
	port->lock_fd = fd;
	return true;
}

/* Everything that can be known before DPDK is asked, with a better sentence than DPDK's. */
static bool port_prepare(struct port *port, unsigned port_index, const struct ports_host *host, char *ret_text)
{
	const char *interface = port->device.interface, *steer_object = host->steer_object;

	port->lock_fd = -1;
	if (!port->device.interface_required)
		return true;
	port->if_index = if_nametoindex(interface);
	if (port->if_index == 0)
		return refuse(ret_text, "interface %s does not exist: create it, or correct gateway.%s.interface",
			interface, device_port_name(port_index));
	if (!port_lock(port, ret_text))
		return false;
	if (!port->device.af_xdp)
		return true;
	if (strstr(port->device.arguments, steer_object) != NULL && access(steer_object, R_OK) != 0)
		return refuse(ret_text,
			"the steering program %.100s can not be read (%s): build it, or give --steer-object",
			steer_object, strerror(errno));
	return xdp_leftover_remove(host->run_dir, interface, port->if_index, ret_text);
}

static bool port_attach(struct port *port, unsigned port_index, char *ret_text)
{
	const struct device *device = &port->device;
	int error;

	if (rte_eth_dev_get_port_by_name(device->name, &port->id) == 0)
		return true;
	error = rte_eal_hotplug_add(device->pci ? "pci" : "vdev", device->name, device->arguments);
	if (error != 0)
		return refuse(ret_text, "gateway.%s: DPDK can not open %.60s (%s): see the log of postern-dataplane",
			device_port_name(port_index), device->name, strerror(-error));
	port->created = true;
	if (rte_eth_dev_get_port_by_name(device->name, &port->id) != 0)
		return refuse(
			ret_text, "gateway.%s: %.60s is no network device", device_port_name(port_index), device->name);
	return true;
}

static void port_close(struct port *port)
{
	if (port->open) {
		rte_eth_dev_stop(port->id);
		rte_eth_dev_close(port->id);
	}
	if (port->created)
		rte_eal_hotplug_remove(port->device.pci ? "pci" : "vdev", port->device.name);
	if (port->lock_fd >= 0)
		close(port->lock_fd);
	*port = (struct port){.lock_fd = -1};
}

static bool port_configure(struct port *port, unsigned port_index, struct rte_mempool *pool, char *ret_text)
{
	struct rte_eth_conf config = {};
	struct rte_eth_dev_info info;
	const uint32_t room_bytes = rte_pktmbuf_data_room_size(pool) - (uint32_t)RTE_PKTMBUF_HEADROOM;
	uint16_t rx_count = RING_SIZE, tx_count = RING_SIZE;
	int socket = rte_eth_dev_socket_id(port->id);
	int error = rte_eth_dev_info_get(port->id, &info);

	if (error != 0)
		return refuse(ret_text, "%.60s gives no information: %s", port->device.name, strerror(-error));
	snprintf(port->driver, sizeof(port->driver), "%s", info.driver_name);
	/* Some devices, such as net_tap, make their interface only when they are attached. */
	if (port->if_index == 0 && port->device.interface[0] != '\0')
		port->if_index = if_nametoindex(port->device.interface);
	if (port->queue_count > info.max_rx_queues || port->queue_count > info.max_tx_queues)
		return refuse(ret_text, "%.60s has %u queues, not %u: correct gateway.%s.queues", port->device.name,
			RTE_MIN(info.max_rx_queues, info.max_tx_queues), port->queue_count,
			device_port_name(port_index));
	if (port->queue_count > 1 && info.flow_type_rss_offloads != 0) {
		config.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
		config.rx_adv_conf.rss_conf.rss_hf =
			info.flow_type_rss_offloads & (RTE_ETH_RSS_IP | RTE_ETH_RSS_UDP | RTE_ETH_RSS_TCP);
	}
	/* A device of its own accepts what fits a buffer; with a kernel interface under it, the MTU is the kernel's. */
	if (port->if_index == 0)
		config.rxmode.mtu =
			RTE_MIN(RTE_MIN(room_bytes, info.max_rx_pktlen) - FRAME_OVERHEAD_BYTES, info.max_mtu);
	error = rte_eth_dev_configure(port->id, port->queue_count, port->queue_count, &config);
	if (error == 0)
		error = rte_eth_dev_adjust_nb_rx_tx_desc(port->id, &rx_count, &tx_count);
	for (uint16_t queue = 0; error == 0 && queue < port->queue_count; queue++) {
		error = rte_eth_rx_queue_setup(port->id, queue, rx_count, (unsigned)socket, NULL, pool);
		if (error == 0)
			error = rte_eth_tx_queue_setup(port->id, queue, tx_count, (unsigned)socket, NULL);
	}
	if (error == 0)
		error = rte_eth_dev_start(port->id);
	if (error != 0)
		return refuse(ret_text, "gateway.%s: %.60s does not start (%s): see the log of postern-dataplane",
			device_port_name(port_index), port->device.name, strerror(-error));
	port->open = true;
	if (port->device.af_xdp)
		port->xdp_program_id = xdp_program_id(port->if_index);
	return true;
}

/* Noted at once: whoever is killed after this leaves the program to its successor. */
static bool port_note_program(const struct port *port, const struct ports_host *host, char *ret_text)
{
	return port->xdp_program_id == 0 || xdp_leftover_note(host->run_dir, port->xdp_program_id, ret_text);
}

/* What the AF_XDP driver and the kernel ask of the buffers. */
static bool packets_suit_af_xdp(struct rte_mempool *pool, uint32_t frame_bytes, char *ret_text)
{
	if (frame_bytes > pool_af_xdp_frame_max_bytes(pool))
		return refuse(ret_text, "an AF_XDP port takes frames of at most %u bytes: lower --frame-bytes (%u)",
			pool_af_xdp_frame_max_bytes(pool), frame_bytes);
	return pool_is_dense(pool) || refuse(ret_text, "the packet buffers do not fit one piece of memory: use larger "
						       "hugepages, or --no-huge, and --iova-mode=va");
}

static struct rte_mempool *packets_create(const struct ports *ports, uint32_t frame_bytes, char *ret_text)
{
	const bool af_xdp = ports->ports[PORT_INSIDE].device.af_xdp || ports->ports[PORT_OUTSIDE].device.af_xdp;
	unsigned queue_count = RTE_MAX(ports->ports[PORT_INSIDE].queue_count, ports->ports[PORT_OUTSIDE].queue_count);
	unsigned more_shards = rte_lcore_count() > 2 ? rte_lcore_count() - 2 : 0;
	unsigned count = RTE_MIN(
		queue_count * POOL_PER_QUEUE_COUNT + more_shards * POOL_PER_SHARD_COUNT, (unsigned)POOL_COUNT_MAX);
	struct rte_mempool *pool = pool_create(count, frame_bytes);

	if (pool == NULL) {
		refuse(ret_text,
			"no memory for %u packet buffers (%s): give the process more with -m, or more hugepages", count,
			rte_strerror(rte_errno));
		return NULL;
	}
	if (af_xdp && !packets_suit_af_xdp(pool, frame_bytes, ret_text)) {
		rte_mempool_free(pool);
		return NULL;
	}
	return pool;
}

bool ports_open(struct ports *ports, const struct policy_port wanted[PORT_COUNT], const struct ports_host *host,
	char ret_text[NAT_TEXT_SIZE_BYTES])
{
	struct ports opened = {};
	bool done = true;

	CHECK(!ports_are_open(ports));
	memcpy(opened.wanted, wanted, sizeof(opened.wanted));
	for (unsigned i = 0; i < PORT_COUNT; i++)
		opened.ports[i].lock_fd = -1;
	for (unsigned i = 0; done && i < PORT_COUNT; i++) {
		opened.ports[i].queue_count = (uint16_t)(wanted[i].queue_count == 0 ? 1 : wanted[i].queue_count);
		done = device_parse(&wanted[i], i, host->steer_object, &opened.ports[i].device, ret_text) &&
		       port_prepare(&opened.ports[i], i, host, ret_text);
	}
	if (done) {
		opened.pool = packets_create(&opened, host->frame_bytes, ret_text);
		done = opened.pool != NULL;
	}
	for (unsigned i = 0; done && i < PORT_COUNT; i++)
		done = port_attach(&opened.ports[i], i, ret_text) &&
		       port_configure(&opened.ports[i], i, opened.pool, ret_text) &&
		       port_note_program(&opened.ports[i], host, ret_text);
	if (!done) {
		ports_close(&opened);
		return false;
	}
	*ports = opened;
	return true;
}

bool ports_are_open(const struct ports *ports)
{
	return ports->pool != NULL;
}

bool ports_match(const struct ports *ports, const struct policy_port wanted[PORT_COUNT])
{
	for (unsigned i = 0; i < PORT_COUNT; i++) {
		const struct policy_port *open = &ports->wanted[i];

		if (strncmp(open->interface, wanted[i].interface, sizeof(open->interface)) != 0 ||
			strncmp(open->device, wanted[i].device, sizeof(open->device)) != 0 ||
			RTE_MAX(open->queue_count, 1u) != RTE_MAX(wanted[i].queue_count, 1u))
			return false;
	}
	return true;
}

bool ports_lost(const struct ports *ports, char ret_text[NAT_TEXT_SIZE_BYTES])
{
	for (unsigned i = 0; i < PORT_COUNT; i++) {
		const struct port *port = &ports->ports[i];

		if (!port->open || port->if_index == 0)
			continue;
		if (if_nametoindex(port->device.interface) != port->if_index) {
			refuse(ret_text, "interface %s was deleted or replaced", port->device.interface);
			return true;
		}
		if (port->xdp_program_id != 0 && xdp_program_id(port->if_index) != port->xdp_program_id) {
			refuse(ret_text, "the steering program was taken off interface %s", port->device.interface);
			return true;
		}
	}
	return false;
}

uint64_t ports_missed(const struct ports *ports, unsigned port_index)
{
	const struct port *port = &ports->ports[port_index];
	struct rte_eth_stats stats;

	if (!port->open || rte_eth_stats_get(port->id, &stats) != 0)
		return 0;
	return stats.imissed + stats.rx_nombuf;
}

void ports_close(struct ports *ports)
{
	for (unsigned i = 0; i < PORT_COUNT; i++)
		port_close(&ports->ports[i]);
	rte_mempool_free(ports->pool);
	ports->pool = NULL;
}
