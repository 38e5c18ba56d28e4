# SPDX-License-Identifier: Apache-2.0
"""The same lab with dpdk-testpmd in Postern's place: it passes each frame from one port to the other, as it is.

That is the ceiling of these ports: the same driver and the same frames, without translation. The tunnel ends at the
router, which has the gateway's address and the VPC's route.
"""

import os

import nft
import system
import topology


class Wire:
    name = "testpmd"

    def __init__(self, lab, build_dir):
        steer = os.path.join(os.path.abspath(build_dir), "tests/dataplane/steer_all.bpf.o")
        if not os.access(steer, os.R_OK):
            raise system.LabError(f"{steer} is not there: build it first (ninja -C {build_dir})")
        # Nobody but the router answers for the gateway's address.
        lab.gw.ip("address flush dev inside0", "address flush dev outside0")
        nft.build_host(lab)
        vni, cidr = topology.WORKSPACES["acme"]["vni"], topology.WORKSPACES["acme"]["cidrs"][0]
        lab.router.ip(
            f"address add {topology.GATEWAY_VTEP}/24 dev gw0",
            f"link add vx{vni} mtu {topology.WORKER_MTU_BYTES} type vxlan id {vni} dstport 4789 "
            f"local {topology.GATEWAY_VTEP} remote {topology.HOST_VTEP}",
            f"address add {topology.WORKER_GATEWAY}/32 dev vx{vni}",
            f"link set vx{vni} up",
            f"route add {cidr} dev vx{vni}",
        )
        cpus = sorted(os.sched_getaffinity(0))
        ports = [f"--vdev=net_af_xdp_{name},iface={name},xdp_prog={steer}" for name in ("inside0", "outside0")]
        eal = [f"--lcores=0@{cpus[0]},1@{cpus[-1]}", "--no-huge", "-m", "512", "--no-pci", "--no-telemetry"]
        eal += ["--no-shconf", f"--file-prefix={lab.id}", "--iova-mode=va", *ports]
        # --stats-period keeps it from waiting for a key.
        options = ["--forward-mode=io", "--nb-cores=1", "--total-num-mbufs=32768", "--stats-period=3600"]
        self.process = lab.start("testpmd", ["dpdk-testpmd", *eal, "--", *options], lab.gw)
