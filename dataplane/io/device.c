/* SPDX-License-Identifier: Apache-2.0 */
#include "dataplane/io/device.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#define AF_XDP_DRIVER "net_af_xdp"
#define AF_PACKET_DRIVER "net_af_packet"

const char *device_port_name(unsigned port_index)
{
	return port_index == PORT_INSIDE ? "inside" : "outside";
}

/* What dev_valid_name() of the kernel and DPDK's argument syntax both take. */
static bool interface_valid(const char *name, size_t length)
{
	if (length == 0 || length >= INTERFACE_NAME_SIZE_BYTES || strncmp(name, ".", length) == 0 ||
		strncmp(name, "..", length) == 0)
		return false;
	for (size_t i = 0; i < length; i++) {
		if (!isgraph((unsigned char)name[i]) || strchr(",=/:[]", name[i]) != NULL)
			return false;
	}
	return true;
}

/* The value of `key` ("iface=") in "a=b,iface=x"; NULL when it is not there. */
static const char *argument_find(const char *arguments, const char *key, size_t *ret_length)
{
	while (*arguments != '\0') {
		size_t length = strcspn(arguments, ",");

		if (strncmp(arguments, key, strlen(key)) == 0) {
			*ret_length = length - strlen(key);
			return arguments + strlen(key);
		}
		arguments += length;
		arguments += *arguments == ',';
	}
	return NULL;
}

static bool device_refuse(char *ret_text, unsigned port_index, const char *why)
{
	snprintf(ret_text, NAT_TEXT_SIZE_BYTES, "gateway.%s: %s", device_port_name(port_index), why);
	return false;
}

static bool device_af_xdp(const struct policy_port *port, unsigned port_index, const char *steer_object,
	struct device *device, char *ret_text)
{
	size_t length = strnlen(port->interface, sizeof(port->interface));

	if (!interface_valid(port->interface, length))
		return device_refuse(ret_text, port_index, "the interface's name is empty or not a valid one");
	device->af_xdp = true;
	device->interface_required = true;
	memcpy(device->interface, port->interface, length);
	snprintf(device->name, sizeof(device->name), AF_XDP_DRIVER "_%s", device->interface);
	snprintf(device->arguments, sizeof(device->arguments), "iface=%s,start_queue=0,queue_count=%u,xdp_prog=%s",
		device->interface, port->queue_count == 0 ? 1 : port->queue_count, steer_object);
	return true;
}

static bool device_virtual(const struct policy_port *port, unsigned port_index, const char *steer_object,
	struct device *device, char *ret_text)
{
	size_t length = 0;
	const char *interface = argument_find(device->arguments, "iface=", &length);
	size_t used = strlen(device->arguments);

	device->af_xdp = strncmp(device->name, AF_XDP_DRIVER, strlen(AF_XDP_DRIVER)) == 0;
	device->interface_required =
		device->af_xdp || strncmp(device->name, AF_PACKET_DRIVER, strlen(AF_PACKET_DRIVER)) == 0;
	if (interface == NULL && device->interface_required)
		return device_refuse(ret_text, port_index, "the device needs iface=NAME");
	if (interface == NULL) {
		interface = port->interface;
		length = strnlen(interface, sizeof(port->interface));
	}
	if (length != 0 || device->interface_required) {
		if (!interface_valid(interface, length))
			return device_refuse(ret_text, port_index, "the interface's name is not a valid one");
		memcpy(device->interface, interface, length);
	}
	if (device->af_xdp && argument_find(device->arguments, "xdp_prog=", &length) == NULL)
		snprintf(device->arguments + used, sizeof(device->arguments) - used, ",xdp_prog=%s", steer_object);
	return true;
}

bool device_parse(const struct policy_port *port, unsigned port_index, const char *steer_object,
	struct device *ret_device, char ret_text[NAT_TEXT_SIZE_BYTES])
{
	const size_t size_bytes = strnlen(port->device, sizeof(port->device));
	const char *text = port->device;
	struct device device = {};
	size_t length;

	if (size_bytes == sizeof(port->device))
		return device_refuse(ret_text, port_index, "`device` does not end");
	if (size_bytes == 0) {
		if (!device_af_xdp(port, port_index, steer_object, &device, ret_text))
			return false;
		*ret_device = device;
		return true;
	}
	if (strncmp(text, "pci:", 4) == 0) {
		device.pci = true;
		text += 4;
	}
	length = strcspn(text, ",");
	if (length == 0)
		return device_refuse(ret_text, port_index, "`device` names no device");
	memcpy(device.name, text, length);
	if (text[length] == ',')
		snprintf(device.arguments, sizeof(device.arguments), "%s", text + length + 1);
	device.pci = device.pci || isdigit((unsigned char)device.name[0]);
	if (!device.pci && !device_virtual(port, port_index, steer_object, &device, ret_text))
		return false;
	*ret_device = device;
	return true;
}
