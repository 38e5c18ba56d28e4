# SPDX-License-Identifier: Apache-2.0
"""BIRD on the gateway and on the router: the way back to the egress IPs comes by BGP, and so does the default route.

The gateway's is configs/bird.conf, as it stands there (for iBGP with another UPSTREAM_AS). The router's offers a default
route, and takes host routes of the public block.
"""

import os
import re

import system
import topology

OWN_AS = 65010
ROUTER_AS = 65000
PUBLIC_BLOCK = "203.0.113.0/24"

ROUTER = """\
router id {router};
protocol device {{
}}
protocol static {{
	ipv4;
	route 0.0.0.0/0 blackhole;
}}
protocol kernel {{
	ipv4 {{ import none; export where source = RTS_BGP; }};
}}
protocol bgp customer {{
	local {router} as {router_as};
	neighbor {gateway} as {own_as};
	direct;
	hold time 9;
	connect delay time 1;
	ipv4 {{
		import where net ~ [ {block}{{32,32}} ];
		export where source = RTS_STATIC;
		next hop self;
	}};
}}
"""


class Bgp:
    """Both daemons. Before they start, the static routes that they replace are taken away."""

    def __init__(self, lab, internal=False):
        self.lab = lab
        self.router_as = OWN_AS if internal else ROUTER_AS
        self.directory = lab.run_dir("bgp")
        self.processes = {}
        lab.router.ip(f"route delete {PUBLIC_BLOCK}")
        lab.gw.ip("route delete default")
        self.start("router", lab.router, self.router_configuration())
        self.start("gateway", lab.gw, self.gateway_configuration())

    def router_configuration(self):
        return ROUTER.format(
            router=topology.ROUTER_ADDRESS,
            gateway=topology.GATEWAY_OUTSIDE,
            router_as=self.router_as,
            own_as=OWN_AS,
            block=PUBLIC_BLOCK,
        )

    def gateway_configuration(self):
        root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
        with open(os.path.join(root, "configs", "bird.conf"), encoding="utf-8") as file:
            text = file.read()
        return re.sub(r"(define UPSTREAM_AS = )\d+;", rf"\g<1>{self.router_as};", text)

    def start(self, name, namespace, text):
        path = os.path.join(self.directory, f"{name}.conf")
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        self.processes[name] = self.lab.start(
            f"bird-{name}", ["bird", "-f", "-c", path, "-s", self.control(name), "-P", f"{path}.pid"], namespace
        )

    def control(self, name):
        return os.path.join(self.directory, f"{name}.ctl")

    def birdc(self, name, *words):
        return system.run(["birdc", "-s", self.control(name), *words], check=False).stdout

    def established(self):
        return "Established" in self.birdc("gateway", "show", "protocols")

    def router_has(self):
        """The host routes of the public block in the router's kernel: {address: gateway}."""
        lines = self.lab.router.run(["ip", "-4", "route", "show", "proto", "bird"]).stdout.splitlines()
        words = [line.split() for line in lines]
        return {line[0]: line[2] for line in words if len(line) > 2 and line[1] == "via"}
