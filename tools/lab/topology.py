# SPDX-License-Identifier: Apache-2.0
"""The lab: a small internet in network namespaces.

    acme-w1      eth0 10.0.0.5/32 ──┐                                   (both VPCs are 10.0.0.0/24, VNI 7001 and 7002;
    globex-w1    eth0 10.0.0.5/32 ──┤ acme-w1, globex-w1                 a worker N of any workspace is 10.0.0.(4+N))
                                    │
    host         uplink0 10.100.0.2/24   worker host: posternd with the classifier
                    │ VXLAN
    gw           inside0 10.100.0.1/24   gateway host: posternd and postern-dataplane (or nftables, to compare)
                 outside0 198.51.100.2/24
                    │
    router       gw0 198.51.100.1/24     the provider: 203.0.113.0/24 via 198.51.100.2
                 inet0 192.0.2.1/24
                    │
    inet         eth0 192.0.2.10/24, 192.0.2.20/24    nginx, dnsmasq

Namespaces are called <id>-<name>. Nothing is made in the root namespace but those names. IPv6 is off and reverse-path
filters are off everywhere: the first for the sake of exact packet counts, the second so that a packet with a wrong
source reaches the capture outside instead of being hidden by the router's kernel.
"""

import fcntl
import os
import socket

import state
import system
from system import LabError

WORKER_MTU_BYTES = 1450
WORKER_GATEWAY = "169.254.0.1"
HOST_VTEP = "10.100.0.2"
GATEWAY_VTEP = "10.100.0.1"
GATEWAY_OUTSIDE = "198.51.100.2"
ROUTER_ADDRESS = "198.51.100.1"
INET_ADDRESS = "192.0.2.10"
INET_ADDRESS_2 = "192.0.2.20"

WORKSPACES = {
    "acme": {"vni": 7001, "cidrs": ["10.0.0.0/24"], "egress": ["203.0.113.10", "203.0.113.11"]},
    "globex": {"vni": 7002, "cidrs": ["10.0.0.0/24"], "egress": ["203.0.113.20"]},
}


class Namespace:
    """One namespace of the lab."""

    def __init__(self, lab, short_name):
        self.lab = lab
        self.short_name = short_name
        self.name = f"{lab.id}-{short_name}"
        lab.state.note(netns=self.name)
        system.run(["ip", "netns", "add", self.name])
        self.set_sysctls(
            {
                "net/ipv6/conf/all/disable_ipv6": 1,
                "net/ipv6/conf/default/disable_ipv6": 1,
                "net/ipv4/conf/all/rp_filter": 0,
                "net/ipv4/conf/default/rp_filter": 0,
                "net/ipv4/icmp_ratelimit": 0,
                "net/ipv4/tcp_no_metrics_save": 1,
            }
        )
        self.ip("link set lo up")

    def ip(self, *commands):
        """Runs `ip` commands, one a line, in this namespace."""
        system.run(["ip", "-netns", self.name, "-batch", "-"], stdin="\n".join(commands) + "\n")

    def run(self, argv, **options):
        return system.run(["ip", "netns", "exec", self.name, *argv], **options)

    def set_sysctls(self, values):
        with self.inside():
            for name, value in values.items():
                with open(f"/proc/sys/{name}", "w", encoding="ascii") as sysctl:
                    sysctl.write(str(value))

    def inside(self):
        return system.inside_netns(self.name)

    def socket(self, kind=socket.SOCK_STREAM, bind=None, family=socket.AF_INET, protocol=0):
        """A socket that lives in this namespace, usable from any thread."""
        with self.inside():
            made = socket.socket(family, kind, protocol)
        if bind is not None:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind(bind)
        return made

    def raw_socket(self, interface):
        """An AF_PACKET socket that sends and sees whole frames of `interface`."""
        made = self.socket(socket.SOCK_RAW, family=socket.AF_PACKET)
        with self.inside():
            made.bind((interface, 3))  # ETH_P_ALL
        return made

    def mac(self, interface):
        with self.socket(socket.SOCK_DGRAM) as any_socket:
            request = interface.encode().ljust(256, b"\0")
            return fcntl.ioctl(any_socket.fileno(), 0x8927, request)[18:24]  # SIOCGIFHWADDR

    def delete(self):
        system.run(["ip", "netns", "delete", self.name], check=False)


class Worker:
    def __init__(self, namespace, workspace, number):
        self.ns = namespace
        self.workspace = workspace
        self.name = f"{workspace}-w{number}"
        self.interface = self.name  # the host's end
        self.address = f"10.0.0.{4 + number}"


class Lab:
    """A context manager: everything is removed at its end. `tell` gets progress lines."""

    def __init__(self, log_dir=None, tell=lambda line: None, queues=1):
        self.tell = tell
        self.queues = queues  # of the gateway's two links, each way
        self.state = state.State(log_dir)
        self.id = self.state.id
        self.log_dir = self.state.log_dir
        self.fs = self.state.fs
        self.processes = []
        self.workers = {}

    def __enter__(self):
        try:
            self.build()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *exception):
        self.close()

    def build(self):
        self.host = Namespace(self, "host")
        self.gw = Namespace(self, "gw")
        self.router = Namespace(self, "router")
        self.inet = Namespace(self, "inet")
        self.wire(self.host, "uplink0", self.gw, "inside0", self.queues)
        self.host.ip(f"address add {HOST_VTEP}/24 dev uplink0")
        self.gw.ip(f"address add {GATEWAY_VTEP}/24 dev inside0")
        self.offloads_off(self.host, "uplink0")
        self.build_internet()
        for workspace in WORKSPACES:
            self.add_worker(workspace, 1)

    def build_internet(self):
        """All that is outside of `gw`."""
        self.wire(self.gw, "outside0", self.router, "gw0", self.queues)
        self.wire(self.router, "inet0", self.inet, "eth0")
        self.gw.ip(
            f"address add {GATEWAY_OUTSIDE}/24 dev outside0",
            f"route add default via {ROUTER_ADDRESS}",
        )
        self.router.ip(
            f"address add {ROUTER_ADDRESS}/24 dev gw0",
            "address add 192.0.2.1/24 dev inet0",
            f"route add 203.0.113.0/24 via {GATEWAY_OUTSIDE}",
        )
        self.inet.ip(
            f"address add {INET_ADDRESS}/24 dev eth0",
            f"address add {INET_ADDRESS_2}/24 dev eth0",
            "route add default via 192.0.2.1",
        )
        self.router.set_sysctls({"net/ipv4/ip_forward": 1})
        # The frames that reach an AF_XDP port must be as on a real wire. A kernel veth would hand over TCP super-frames
        # and checksums left for a NIC to fill in, which no NIC ever does here: so both kernels that face the gateway
        # cut and sum.
        self.offloads_off(self.router, "gw0")

    def wire(self, left, left_interface, right, right_interface, queues=1):
        # A veth's receive queue is the peer's transmit queue of that number, which the kernel picks by the flow.
        each = f"numtxqueues {queues} numrxqueues {queues}"
        left.ip(
            f"link add {left_interface} {each} type veth peer name {right_interface} {each} netns {right.name}",
            f"link set {left_interface} up",
        )
        right.ip(f"link set {right_interface} up")

    def offloads_off(self, namespace, interface):
        namespace.run(["ethtool", "-K", interface, "tx", "off", "rx", "off", "tso", "off", "gso", "off", "gro", "off"])

    def add_worker(self, workspace, number):
        """A worker's namespace and its link to the host. The daemon knows nothing of it yet."""
        namespace = Namespace(self, f"{workspace}-w{number}")
        worker = Worker(namespace, workspace, number)
        namespace.ip(
            f"link add eth0 mtu {WORKER_MTU_BYTES} type veth peer name {worker.interface} "
            f"mtu {WORKER_MTU_BYTES} netns {self.host.name}",
            f"address add {worker.address}/32 dev eth0",
            "link set eth0 up",
            f"route add default via {WORKER_GATEWAY} dev eth0 onlink",
        )
        self.host.ip(f"link set {worker.interface} up")
        self.workers[worker.name] = worker
        return worker

    def remove_worker(self, name):
        worker = self.workers.pop(name)
        # The link first: the namespace itself may outlive its name for a moment.
        self.host.ip(f"link delete {worker.interface}")
        worker.ns.delete()

    def start(self, label, argv, namespace=None, environment=None, log_path=None):
        """A program of the lab, with its log; it is stopped with the lab at the latest."""
        process = system.Process(
            label,
            argv,
            log_path or os.path.join(self.log_dir, f"{label}.log"),
            namespace.name if namespace else None,
            environment,
        )
        self.state.note_process(process)
        self.processes.append(process)
        return process

    def run_dir(self, name):
        directory = os.path.join(self.fs, name)
        os.makedirs(directory, exist_ok=True)
        return directory

    def close(self):
        for process in reversed(self.processes):
            if process.alive():
                try:
                    process.stop(2)
                except (OSError, LabError):
                    pass
        self.state.remove()
