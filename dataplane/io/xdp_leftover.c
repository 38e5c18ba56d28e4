/* SPDX-License-Identifier: Apache-2.0 */
#include "dataplane/io/xdp_leftover.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

uint32_t xdp_program_id(uint32_t if_index)
{
	uint32_t id = 0;

	return bpf_xdp_query_id((int)if_index, 0, &id) == 0 ? id : 0;
}

static bool program_name(uint32_t id, char ret_name[BPF_OBJ_NAME_LEN])
{
	struct bpf_prog_info info = {};
	uint32_t info_size_bytes = sizeof(info);
	int fd = bpf_prog_get_fd_by_id(id);
	bool known;

	if (fd < 0)
		return false;
	known = bpf_obj_get_info_by_fd(fd, &info, &info_size_bytes) == 0;
	close(fd);
	if (known)
		memcpy(ret_name, info.name, BPF_OBJ_NAME_LEN);
	return known;
}

bool xdp_leftover_remove(const char *interface, uint32_t if_index, char ret_text[NAT_TEXT_SIZE_BYTES])
{
	uint32_t id = xdp_program_id(if_index);
	char name[BPF_OBJ_NAME_LEN] = "";
	int error;

	if (id == 0)
		return true;
	if (!program_name(id, name) || strcmp(name, XDP_STEER_PROGRAM_NAME) != 0) {
		snprintf(ret_text, NAT_TEXT_SIZE_BYTES,
			"interface %s already has an XDP program (“%s”, id %u) that is not Postern's: take it off "
			"with `ip link set dev %s xdp off`",
			interface, name, id, interface);
		return false;
	}
	error = bpf_xdp_detach((int)if_index, 0, NULL);
	if (error == 0 || error == -ENOENT)
		return true;
	snprintf(ret_text, NAT_TEXT_SIZE_BYTES,
		"the XDP program of an earlier run stays on %s (%s): take it off with "
		"`ip link set dev %s xdp off`",
		interface, strerror(-error), interface);
	return false;
}
