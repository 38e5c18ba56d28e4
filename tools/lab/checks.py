# SPDX-License-Identifier: Apache-2.0
"""The quickstart's checks: real traffic from the workers, and what the internet saw of it."""

import collections
import secrets
import time

import capture
import services
import system
import topology

Row = collections.namedtuple("Row", "workspace worker check saw expected ok detail")


class Checks:
    """Runs the checks worker by worker; `rows` is the report."""

    def __init__(self, lab, internet, egress):
        self.lab = lab
        self.internet = internet
        self.egress = egress  # {workspace: [egress IPs]}
        self.rows = []

    def run(self):
        outside = capture.Capture(self.lab.router, "gw0", "ip and not tcp port 179")  # BGP is the hosts' own
        for worker in self.lab.workers.values():
            for check in (self.web, self.second_address, self.dns, self.ping, self.download):
                self.record(worker, check)
        self.judge_outside(outside.stop())
        return all(row.ok for row in self.rows)

    def record(self, worker, check):
        """`check` returns (what, saw, whether the answer itself was right, detail)."""
        what, saw, right, detail = check(worker)
        expected = self.egress[worker.workspace]
        self.rows.append(
            Row(
                worker.workspace,
                worker.name,
                what,
                saw or "nobody",
                " or ".join(expected),
                bool(right and saw and saw.split(":")[0] in expected),
                detail,
            )
        )

    def fetch(self, worker, url):
        done = worker.ns.run(["curl", "-sS", "-m", "20", url], check=False)
        return done.stdout.strip() or None, done.returncode == 0, done.stderr.strip()

    def web(self, worker):
        saw, right, detail = self.fetch(worker, f"http://{topology.INET_ADDRESS}/")
        return "web page (TCP)", saw, right, detail

    def second_address(self, worker):
        saw, right, detail = self.fetch(worker, f"http://{topology.INET_ADDRESS_2}/")
        return "second address (TCP)", saw, right, detail

    def dns(self, worker):
        name = f"{worker.name}-{secrets.token_hex(4)}.{services.ZONE}"
        done = worker.ns.run(
            ["dig", "+short", "+tries=2", "+timeout=3", f"@{topology.INET_ADDRESS}", name], check=False
        )
        answer = done.stdout.strip()
        return "DNS query (UDP)", self.internet.who_asked(name), answer == topology.INET_ADDRESS, answer

    def ping(self, worker):
        seen = capture.Capture(self.lab.inet, "eth0", "icmp[icmptype] = icmp-echo")
        done = worker.ns.run(["ping", "-c", "3", "-i", "0.2", "-W", "3", topology.INET_ADDRESS], check=False)
        sources = sorted({one.source for one in seen.stop()})
        return "ping (ICMP)", ",".join(sources), done.returncode == 0, done.stdout.strip().splitlines()[-1]

    def download(self, worker):
        uri = f"/download/{self.internet.download_name}?{secrets.token_hex(4)}"
        began = time.monotonic()
        done = worker.ns.run(
            ["sh", "-c", f"curl -sS -m 120 '{topology_url(uri)}' | sha256sum"], check=False, timeout_s=130
        )
        seconds = time.monotonic() - began
        right = done.stdout.split()[:1] == [self.internet.download_sha256]
        speed = f"{services.DOWNLOAD_BYTES * 8 / seconds / 1e6:.0f} Mbit/s" if right else "checksum differs"
        saw = None
        if right:
            saw = system.wait_for("nginx to log the download", lambda: self.internet.who_fetched(uri), 5)
        return "64 MiB, SHA-256 (TCP)", saw, right, speed

    def judge_outside(self, packets):
        """Every packet that came out of the gateway during the checks carries somebody's egress IP."""
        owned = {address for addresses in self.egress.values() for address in addresses}
        remote = {topology.INET_ADDRESS, topology.INET_ADDRESS_2}
        sources = {one.source for one in packets} - remote
        self.rows.append(
            Row(
                "all",
                "all",
                f"capture outside, {len(packets)} packets",
                ", ".join(sorted(sources)) or "nothing",
                "egress IPs only",
                bool(sources) and sources <= owned,
                "",
            )
        )


def topology_url(uri):
    return f"http://{topology.INET_ADDRESS}{uri}"
