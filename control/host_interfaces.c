/* SPDX-License-Identifier: Apache-2.0 */
#include "control/host_interfaces.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

/* Of those that have an address, by which workers' seldom do. NULL: without memory, or the kernel does not say. */
static struct ifreq *addresses_read(size_t *ret_count)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifconf all = {0};
	struct ifreq *list = NULL;

	if (fd >= 0 && ioctl(fd, SIOCGIFCONF, &all) == 0)
		list = calloc(1, (size_t)all.ifc_len + 1);
	all.ifc_req = list;
	if (list != NULL && ioctl(fd, SIOCGIFCONF, &all) != 0) {
		free(list);
		list = NULL;
	}
	if (fd >= 0)
		close(fd);
	*ret_count = list != NULL ? (size_t)all.ifc_len / sizeof(*list) : 0;
	return list;
}

static void underlay_find(uint32_t address, char ret_name[INTERFACE_NAME_SIZE_BYTES])
{
	size_t count;
	struct ifreq *list = addresses_read(&count);

	memset(ret_name, 0, INTERFACE_NAME_SIZE_BYTES);
	for (size_t i = 0; i < count && ret_name[0] == '\0'; i++) {
		const struct sockaddr_in *of = (const void *)&list[i].ifr_addr;

		/* Behind a colon is the label of a further address. */
		if (of->sin_family == AF_INET && of->sin_addr.s_addr == htonl(address))
			memcpy(ret_name, list[i].ifr_name, strcspn(list[i].ifr_name, ":") % INTERFACE_NAME_SIZE_BYTES);
	}
	free(list);
}

void host_interfaces_set(struct host_interfaces *interfaces, const struct model *model)
{
	interfaces->model = model;
	underlay_find(model->worker_host.vtep, interfaces->underlay);
}

const char *host_interfaces_refuse(const struct host_interfaces *interfaces, const char *interface)
{
	const struct model *model = interfaces->model;

	if (model == NULL)
		return NULL;
	if (strcmp(interface, host_interfaces_device(&model->worker_host)) == 0)
		return "it is the VXLAN device, and can be no worker's interface";
	if (strcmp(interface, interfaces->underlay) == 0)
		return "it has this host's VTEP, and can be no worker's interface";
	if (strcmp(interface, "lo") == 0)
		return "it is the loopback, and can be no worker's interface";
	if (model->worker_host.cgroups.present && strcmp(interface, model->worker_host.cgroups.interface) == 0)
		return "it is worker_host.cgroups.interface, and can be no worker's";
	for (unsigned port = 0; model->gateway.present && port < PORT_COUNT; port++) {
		if (strcmp(interface, model->gateway.ports[port].interface) == 0)
			return "it is a port of the gateway, and can be no worker's interface";
	}
	return NULL;
}

const char *host_interfaces_device(const struct model_worker_host *host)
{
	return host->device[0] != '\0' ? host->device : "postern-vxlan";
}
