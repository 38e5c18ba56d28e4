# SPDX-License-Identifier: Apache-2.0
"""A client of posternd's API for tests: over the Unix socket, or over TCP with or without TLS."""
import http.client
import json
import socket


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout=20):
        super().__init__("posternd", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Answer:
    def __init__(self, response):
        self.code = response.status
        self.fields = response.headers
        self.etag = response.headers.get("ETag")
        self.text = response.read().decode()
        kind = response.headers.get("Content-Type", "")
        self.json = json.loads(self.text) if kind.startswith("application/json") and self.text else None

    def __repr__(self):
        return "%d %s" % (self.code, self.text[:1000])


def ask(connection, method, path, body=None, **fields):
    """`fields`: if_match="…" becomes If-Match."""
    headers = {name.replace("_", "-"): value for name, value in fields.items()}
    if body is not None and not isinstance(body, (bytes, str)):
        body = json.dumps(body)
    try:
        connection.request(method, path, body=body, headers=headers)
        return Answer(connection.getresponse())
    finally:
        connection.close()
