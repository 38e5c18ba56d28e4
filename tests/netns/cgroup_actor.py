# SPDX-License-Identifier: Apache-2.0
"""A process of a worker that is a cgroup: goes into it, then does what it is told, a line of JSON each, and answers.

usage: cgroup_actor.py CGROUP_DIR
"""

import errno
import json
import os
import socket
import sys

TIMEOUT_S = 1.5
kept = {}


def udp(address, port, payload, count=1, bind=None):
    """The last answer."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.settimeout(TIMEOUT_S)
        if bind:
            one.bind(tuple(bind))
        for _ in range(count):
            one.sendto(payload.encode(), (address, port))
        return one.recv(65536).decode()


def flood(address, port, count):
    refused = 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        for _ in range(count):
            try:
                one.sendto(b"flood", (address, port))
            except OSError:
                refused += 1
    return refused


def web(address):
    with socket.create_connection((address, 80), TIMEOUT_S) as one:
        one.sendall(b"GET / HTTP/1.0\r\n\r\n")
        answer = b""
        while piece := one.recv(4096):
            answer += piece
    return answer.decode().rsplit("\r\n\r\n", 1)[1].strip()


def download(address, path):
    """Bytes of the body."""
    with socket.create_connection((address, 80), 10) as one:
        one.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        count = 0
        while piece := one.recv(1 << 18):
            count += len(piece)
    return count


def keep(name, address, port):
    kept[name] = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    kept[name].settimeout(TIMEOUT_S)
    kept[name].connect((address, port))


def exchange(name, payload):
    kept[name].send(payload.encode())
    return kept[name].recv(65536).decode()


def bound(name):
    """Its port."""
    kept[name] = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    kept[name].settimeout(TIMEOUT_S)
    kept[name].bind(("0.0.0.0", 0))
    return kept[name].getsockname()[1]


def heard(name):
    return kept[name].recv(65536).decode()


def listen(port):
    kept["listener"] = socket.create_server(("127.0.0.1", port))


def connect(port):
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as one:
        one.settimeout(TIMEOUT_S)
        one.connect(("127.0.0.1", port))


def raw(packet):
    """A whole IPv4 packet."""
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as one:
        data = bytes.fromhex(packet)
        one.sendto(data, (socket.inet_ntoa(data[16:20]), 0))


def frame(interface, data):
    """A whole frame."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as one:
        one.bind((interface, 0))
        one.send(bytes.fromhex(data))


def to_device(interface, address, port):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
        one.sendto(b"elsewhere", (address, port))


def main():
    with open(os.path.join(sys.argv[1], "cgroup.procs"), "w", encoding="ascii") as processes:
        processes.write(str(os.getpid()))
    for line in sys.stdin:
        name, arguments = json.loads(line)
        try:
            answer = {"value": globals()[name](*arguments)}
        except TimeoutError:
            answer = {"error": "ETIMEDOUT"}
        except OSError as error:
            answer = {"error": errno.errorcode.get(error.errno, str(error))}
        print(json.dumps(answer), flush=True)


main()
