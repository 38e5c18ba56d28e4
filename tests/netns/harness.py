# SPDX-License-Identifier: Apache-2.0
"""What every end-to-end test starts from: a lab, its internet, Postern (not started yet), and points to make.

usage of a test: tests/netns/NAME.py BUILD_DIR (as root). Output: TAP. Logs: $POSTERN_TEST_LOGS, or a new directory.
"""

import argparse
import http.client
import os
import signal
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tools", "lab"))
sys.path.append(os.path.join(ROOT, "tests", "daemon"))

import api_client  # noqa: E402 (the path is set above)
import postern  # noqa: E402
import services  # noqa: E402
import system  # noqa: E402
import tap  # noqa: E402
import topology  # noqa: E402
import traffic  # noqa: E402

LOG_TAIL_LINES = 12
SMALL_DOWNLOAD_BYTES = 16 * 1024 * 1024


class Ended(BaseException):
    """SIGINT or SIGTERM: clean up and go."""


def end(number, frame):
    raise Ended


class Claim(AssertionError):
    """The claim does not hold; the text says what was seen instead."""


def expect(condition, what_was_seen):
    if not condition:
        raise Claim(what_was_seen)


class Scene:
    """One lab with Postern in it, and the points that the test makes about it."""

    def __init__(self, points, lab, build_dir, dataplane_options=postern.IDLE_SLEEP):
        self.points = points
        self.lab = lab
        self.internet = services.Internet(lab, SMALL_DOWNLOAD_BYTES)
        self.postern = postern.Postern(lab, build_dir, dataplane_options)
        self.acme = lab.workers["acme-w1"]
        self.globex = lab.workers["globex-w1"]
        points.on_failure = self.show_logs

    def start(self):
        """Starts all of Postern; returns once both workers get through."""
        self.postern.start()
        # The very first packet may be lost while the kernels ask for MACs, as on any network; later ones may not.
        for worker in (self.acme, self.globex):
            system.wait_for(f"{worker.name} to reach the web", lambda worker=worker: traffic.works(worker), 10)
        return self.postern

    def egress(self, workspace):
        return self.postern.configuration.workspaces[workspace]["egress"]

    def worker_drops(self):
        """{reason: count} of the worker host's classifier."""
        return labelled(self.postern.metrics("host"), "postern_classifier_drops_total", "reason")

    def worker_drops_since(self, before):
        return risen(before, self.worker_drops())

    def drops(self, port):
        """{reason: count} of the dataplane, for what came in by `port`."""
        return labelled(self.postern.metrics("gw"), "postern_drops_total", "reason", port=port)

    def drops_since(self, port, before):
        return risen(before, self.drops(port))

    def fate(self, port):
        """What became of all frames that ever came in by `port`: {drop reason, "to_kernel" or "forwarded": count}."""
        samples = self.postern.metrics("gw")
        fates = labelled(samples, "postern_drops_total", "reason", port=port)
        steered = labelled(samples, "postern_steer_packets_total", "action", port=port)
        fates.update({action: count for action, count in steered.items() if action != "to_dataplane"})
        other = {"inside": "outside", "outside": "inside"}[port]
        fates["forwarded"] = postern.metric_sum(samples, "postern_port_transmit_packets_total", port=other)
        return fates

    def reload_failures(self, where):
        return postern.metric_sum(self.postern.metrics(where), "postern_config_reload_failures_total")

    def last_reload(self, where):
        return postern.metric_sum(self.postern.metrics(where), "postern_config_last_reload_timestamp_seconds")

    def guard_violations(self):
        name, samples = "postern_isolation_guard_violations_total", self.postern.metrics("gw")
        expect(any(sample == name for sample, _ in samples), f"nobody counts {name}")
        return postern.metric_sum(samples, name)

    def api(self, where, method, path, body=None):
        """(status, JSON) of posternd's API; (0, None) when it is not there."""
        connection = api_client.UnixConnection(os.path.join(self.postern.dirs[where], "posternd.sock"))
        try:
            answer = api_client.ask(connection, method, path, body)
        except (OSError, http.client.HTTPException, ValueError):
            return 0, None
        return answer.code, answer.json

    def sessions(self):
        """The dataplane's sessions, as `postern sessions --json` lists them."""
        return self.postern.cli_json("gw", "sessions", "--limit", "10000")["sessions"]

    def session_keys(self, wanted=lambda session: True):
        """What makes each session itself: workspace, protocol, and the three endpoints."""
        names = ("workspace", "protocol", "inside_address", "inside_port", "egress_address", "egress_port")
        names += ("remote_address", "remote_port")
        return {tuple(session[name] for name in names) for session in self.sessions() if wanted(session)}

    def show_logs(self):
        """The ends of the programs' logs, as TAP comments."""
        for process in (self.postern.dataplane, self.postern.gateway_daemon, self.postern.host_daemon):
            if process is not None:
                state = "alive" if process.alive() else f"ended with {process.popen.returncode}"
                print(f"# {process.label} ({state}), end of {process.log_path}:")
                for line in process.log_text().splitlines()[-LOG_TAIL_LINES:]:
                    print(f"#     {line}")


def labelled(samples, name, label, **labels):
    """{value of `label`: sample} of the samples of `name` that carry `labels`, without the zeros."""
    wanted = set(labels.items())
    return {
        dict(pairs)[label]: int(value)
        for (sample, pairs), value in samples.items()
        if sample == name and wanted <= pairs and value
    }


def risen(before, after):
    return {what: count - before.get(what, 0) for what, count in after.items() if count != before.get(what, 0)}


def log_directory(name):
    directory = os.environ.get("POSTERN_TEST_LOGS")
    if directory:
        directory = os.path.join(directory, name)
        os.makedirs(directory, exist_ok=True)
        return directory
    return tempfile.mkdtemp(prefix="postern-test-")


def options(description, **defaults):
    """The numbers that a test takes beside BUILD_DIR, as --NAME N each; told, so that a run can be made again."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build_dir")
    for name, value in defaults.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    given = parser.parse_args()
    sys.argv[1:] = [given.build_dir]
    print("# " + " ".join(f"--{name} {getattr(given, name)}" for name in defaults), flush=True)
    return given


def main(*stories):
    """Runs each story(scene) in a lab of its own, and exits."""
    if len(sys.argv) != 2:
        print(f"usage: {sys.argv[0]} BUILD_DIR", file=sys.stderr)
        sys.exit(2)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)
    points = tap.Points()
    try:
        system.require_root()
        for story in stories:
            tell(story, points)
        sys.exit(points.finish())
    except Ended:
        print("Bail out! interrupted", flush=True)
        sys.exit(130)


def tell(story, points):
    """One story in its lab, with the lab, queues and options that its attributes ask for. What breaks it off is a failed
    point, and so is anything that the lab leaves behind."""
    lab = getattr(story, "lab", topology.Lab)(log_directory(story.__name__), queues=getattr(story, "queues", 1))
    scene = None
    try:
        lab.build()
        scene = Scene(points, lab, sys.argv[1], getattr(story, "dataplane_options", postern.IDLE_SLEEP))
        story(scene)
        points.point(f"{story.__name__}: the programs end with exit code 0 when asked to", end_well, scene.postern)
    except Exception as error:  # the points that were still to come have not been made
        points.fail(f"{story.__name__} runs to its end", error)
    finally:
        lab.close()
    points.on_failure = lambda: None
    points.point(f"{story.__name__}: the lab is removed without a trace", nothing_is_left, lab)


def end_well(gateway):
    """Also what a leak checker has to say shows in the exit code."""
    for process in (gateway.host_daemon, gateway.gateway_daemon, gateway.dataplane):
        if process is not None and process.alive():
            code = process.stop(20)
            expect(code == 0, f"{process.label} has ended with {code}")


def nothing_is_left(lab):
    left = [name for name in os.listdir("/run/netns") if name.startswith(lab.id)]
    left += [process.label for process in lab.processes if process.alive()]
    left += system.mounts_below(lab.state.directory)
    expect(not left and not os.path.exists(lab.state.directory), f"left: {left}")
