# SPDX-License-Identifier: Apache-2.0
"""A door from the root namespace to one TCP port inside the lab, so that a browser can read the metrics."""

import contextlib
import socket
import socketserver
import threading


class Relay:
    """Listens on 127.0.0.1 (at `port`, or any free one if it is taken); connections go on into the namespace."""

    def __init__(self, namespace, port):
        class Handler(socketserver.BaseRequestHandler):
            def handle(self):
                with contextlib.suppress(OSError), namespace.socket() as onward:
                    onward.connect(("127.0.0.1", port))
                    back = threading.Thread(target=copy, args=(onward, self.request), daemon=True)
                    back.start()
                    copy(self.request, onward)
                    back.join()

        try:
            self.server = Server(("127.0.0.1", port), Handler)
        except OSError:
            self.server = Server(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    block_on_close = False


def copy(source, target):
    with contextlib.suppress(OSError):
        while chunk := source.recv(65536):
            target.sendall(chunk)
        target.shutdown(socket.SHUT_WR)
