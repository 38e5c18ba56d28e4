# SPDX-License-Identifier: Apache-2.0
"""The same lab with Linux in Postern's place: nftables SNAT and kernel VXLAN. For tools/compare, and to prove the lab.

Overlapping VPCs are kept apart by a conntrack zone per VNI for the original direction (replies are unique by their
egress IP) and by a routing table per VNI for the way back.
"""

import topology


def build_host(lab):
    """The worker host, of the kernel alone: one VXLAN device and bridge per VPC."""
    for workspace, spec in topology.WORKSPACES.items():
        bridge, device = f"br{spec['vni']}", f"vx{spec['vni']}"
        lab.host.ip(
            f"link add {bridge} mtu {topology.WORKER_MTU_BYTES} type bridge forward_delay 0",
            f"link add {device} mtu {topology.WORKER_MTU_BYTES} type vxlan id {spec['vni']} dstport 4789 "
            f"local {topology.HOST_VTEP} remote {topology.GATEWAY_VTEP}",
            f"link set {device} master {bridge} up",
            f"link set {bridge} up",
        )
        for worker in lab.workers.values():
            if worker.workspace == workspace:
                lab.host.ip(f"link set {worker.interface} master {bridge}")


class NftGateway:
    """Worker host and gateway, both of the kernel alone."""

    name = "nftables"

    def __init__(self, lab):
        self.lab = lab
        self.build_gateway()
        build_host(lab)

    def build_gateway(self):
        gw = self.lab.gw
        gw.set_sysctls({"net/ipv4/ip_forward": 1})
        # What enters and leaves gw is cut and summed by its kernel, as on the other side of both its links.
        self.lab.offloads_off(gw, "inside0")
        self.lab.offloads_off(gw, "outside0")
        zones, marks, nats = [], [], []
        for spec in topology.WORKSPACES.values():
            vni = spec["vni"]
            device = f"vx{vni}"
            gw.ip(
                f"link add {device} mtu {topology.WORKER_MTU_BYTES} type vxlan id {vni} dstport 4789 "
                f"local {topology.GATEWAY_VTEP} remote {topology.HOST_VTEP}",
                f"address add {topology.WORKER_GATEWAY}/32 dev {device}",
                f"link set {device} up",
                f"route add {spec['cidrs'][0]} dev {device} table {vni}",
                f"rule add fwmark {vni} lookup {vni}",
            )
            zones.append(f'iifname "{device}" ct original zone set {vni - 7000}')
            marks.append(f'iifname "{device}" ct mark set {vni}')
            nats.append(f'ct mark {vni} oifname "outside0" snat to {spec["egress"][0]}')
        ruleset = f"""
table ip postern_compare {{
    chain zones {{ type filter hook prerouting priority raw; {'; '.join(zones)}; }}
    chain marks {{ type filter hook prerouting priority mangle; {'; '.join(marks)};
        iifname "outside0" meta mark set ct mark; }}
    chain clamp {{ type filter hook forward priority mangle; tcp flags syn tcp option maxseg size set rt mtu;
        oifname "outside0" tcp flags syn tcp option maxseg size set {topology.WORKER_MTU_BYTES - 40}; }}
    chain nat {{ type nat hook postrouting priority srcnat; {'; '.join(nats)}; oifname "outside0" drop; }}
}}
"""
        gw.run(["nft", "-f", "-"], stdin=ruleset)
