/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A port of the policy as DPDK names it: bus, device name, arguments. Pure text, no DPDK: what the operator wrote
 * is checked here, before anything is opened.
 *
 *   device empty                      AF_XDP on `interface`
 *   "net_af_xdp…,iface=…"             AF_XDP, as written; the steering program is added when it is not named
 *   "net_tap0,iface=…"                any other virtual device
 *   "0000:03:00.0", "pci:03:00.0,…"   a PCI device (an address begins with a digit)
 */
#ifndef POSTERN_IO_DEVICE_H
#define POSTERN_IO_DEVICE_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "dataplane/nat/nat.h"

enum { DEVICE_ARGUMENTS_SIZE_BYTES = DEVICE_ARGS_SIZE_BYTES + PATH_MAX + 64 };

struct device {
	char name[DEVICE_ARGS_SIZE_BYTES]; /* what DPDK calls it, e.g. "net_af_xdp_inside0" */
	char arguments[DEVICE_ARGUMENTS_SIZE_BYTES];
	char interface[INTERFACE_NAME_SIZE_BYTES]; /* the kernel's interface under or behind it; empty: none is named */
	bool pci;
	bool af_xdp;
	bool interface_required; /* the interface must exist before: the device does not create it */
};

/* "inside" or "outside". */
const char *device_port_name(unsigned port_index);

/* False: the policy's words make no device; `ret_text` says why. `steer_object` is the path for xdp_prog. */
bool device_parse(const struct policy_port *port, unsigned port_index, const char *steer_object,
	struct device *ret_device, char ret_text[NAT_TEXT_SIZE_BYTES]);

#endif
