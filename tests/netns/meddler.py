# SPDX-License-Identifier: Apache-2.0
"""Somebody with root who changes what the classifier has in the kernel: its programs on an interface, its maps."""

import ctypes
import os
import struct

import system

HOOKS = {"ingress": 46, "egress": 47}  # BPF_TCX_INGRESS, BPF_TCX_EGRESS of Linux 6.6
PROGRAMS_MAX = 64
libbpf = ctypes.CDLL("libbpf.so.1", use_errno=True)
libbpf.libbpf_set_print(None)


class Meddler:
    def __init__(self, namespace, pin_dir):
        self.namespace, self.pin_dir = namespace, pin_dir

    def programs(self, ifindex, hook):
        """Ids of those by TCX; None where the kernel has none."""
        ids, count = (ctypes.c_uint32 * PROGRAMS_MAX)(), ctypes.c_uint32(PROGRAMS_MAX)
        with self.namespace.inside():
            if libbpf.bpf_prog_query(ifindex, HOOKS[hook], 0, None, ids, ctypes.byref(count)) != 0:
                return None
        return list(ids[: count.value])

    def is_guarded(self, interface, ifindex):
        """Something is on both hooks."""
        return all(
            self.programs(ifindex, hook) or "bpf" in self.filters(interface, hook) for hook in HOOKS
        )

    def filters(self, interface, hook):
        return self.namespace.run(["tc", "filter", "show", "dev", interface, hook]).stdout

    def take_off(self, interface, ifindex):
        """All programs of the interface."""
        for hook, point in HOOKS.items():
            for one in self.programs(ifindex, hook) or []:
                program = libbpf.bpf_prog_get_fd_by_id(one)
                with self.namespace.inside():
                    failed = libbpf.bpf_prog_detach2(program, ifindex, point)
                os.close(program)
                if failed:
                    raise system.LabError(f"the program on {interface} can not be taken off")
            if self.programs(ifindex, hook) is None:
                self.namespace.run(["tc", "filter", "del", "dev", interface, hook])

    def map(self, name):
        fd = libbpf.bpf_obj_get(os.path.join(self.pin_dir, name).encode())
        if fd < 0:
            raise system.LabError(f"{self.pin_dir}/{name} can not be opened")
        return fd

    def value(self, name, key):
        """None: there is no such entry."""
        fd, value = self.map(name), ctypes.create_string_buffer(4096)
        missing = libbpf.bpf_map_lookup_elem(fd, key, value)
        os.close(fd)
        return None if missing else value.raw

    def put(self, name, key, value):
        self.change(name, libbpf.bpf_map_update_elem, key, value, 0)

    def delete(self, name, key):
        self.change(name, libbpf.bpf_map_delete_elem, key)

    def change(self, name, how, *arguments):
        fd = self.map(name)
        failed = how(fd, *arguments)
        os.close(fd)
        if failed:
            raise system.LabError(f"the entry of {name} can not be changed")


def by_ifindex(ifindex):
    """A key of the maps `workers` and `claims`."""
    return struct.pack("I", ifindex)


def by_address(vni, address):
    """A key of the map `deliveries`."""
    return struct.pack("I", vni) + bytes(int(part) for part in address.split("."))
