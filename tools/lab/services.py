# SPDX-License-Identifier: Apache-2.0
"""The lab's internet: a web server that says who it saw, a file to download, a DNS server that logs who asked."""

import hashlib
import os
import socket

import system
import topology

DOWNLOAD_BYTES = 64 * 1024 * 1024
ZONE = "lab.test"

# One process, no master: a master that is killed would leave its workers behind.
NGINX_CONF = """
daemon off;
master_process off;
pid {dir}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 4096; }}
http {{
    log_format who '$remote_addr $remote_port $request_uri $status $body_bytes_sent';
    access_log {dir}/access.log who;
    client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy; fastcgi_temp_path {dir}/fastcgi;
    uwsgi_temp_path {dir}/uwsgi; scgi_temp_path {dir}/scgi;
    default_type text/plain;
    keepalive_timeout 300s;
    sendfile on;
    server {{
        listen {address}:80;
        listen {address_2}:80;
        location / {{ return 200 "$remote_addr:$remote_port\\n"; }}
        location /download/ {{ root {dir}; }}
    }}
}}
"""


class Internet:
    """nginx and dnsmasq in the inet namespace, up and answering when the constructor returns."""

    def __init__(self, lab, download_bytes=DOWNLOAD_BYTES):
        self.lab = lab
        self.dir = lab.run_dir("inet")
        self.download_name = "random.bin"
        self.download_sha256 = self.make_download(download_bytes)
        self.download_url = f"http://{topology.INET_ADDRESS}/download/{self.download_name}"
        conf = os.path.join(self.dir, "nginx.conf")
        with open(conf, "w", encoding="ascii") as file:
            file.write(
                NGINX_CONF.format(dir=self.dir, address=topology.INET_ADDRESS, address_2=topology.INET_ADDRESS_2)
            )
        self.nginx = lab.start("nginx", ["nginx", "-c", conf, "-p", self.dir, "-e", "stderr"], lab.inet)
        self.dnsmasq = lab.start(
            "dnsmasq",
            [
                "dnsmasq",
                "--keep-in-foreground",
                "--conf-file=/dev/null",
                "--no-resolv",
                "--no-hosts",
                "--user=root",
                "--pid-file=",
                "--bind-interfaces",
                f"--listen-address={topology.INET_ADDRESS}",
                f"--address=/{ZONE}/{topology.INET_ADDRESS}",
                "--log-queries=extra",
                "--log-facility=-",
            ],
            lab.inet,
        )
        system.wait_for("nginx to listen", lambda: self.nginx.must_be_alive() and self.accepts(80))
        system.wait_for("dnsmasq to listen", lambda: self.dnsmasq.must_be_alive() and self.accepts(53))

    def make_download(self, size_bytes):
        os.makedirs(os.path.join(self.dir, "download"), exist_ok=True)
        content = os.urandom(size_bytes)
        with open(os.path.join(self.dir, "download", self.download_name), "wb") as file:
            file.write(content)
        return hashlib.sha256(content).hexdigest()

    def accepts(self, port):
        with self.lab.inet.socket() as probe:
            return probe.connect_ex((topology.INET_ADDRESS, port)) == 0

    def who_asked(self, name):
        """ "address:port" of whoever sent the DNS query for `name`; None when nobody has."""
        for line in self.dnsmasq.log_text().splitlines():
            words = line.split()
            if f" {name} from " in line and any(word.startswith("query[") for word in words):
                client = next(word for word in words if "/" in word and word[0].isdigit())
                return client.replace("/", ":")
        return None

    def who_fetched(self, uri):
        """ "address:port" of the last client that fetched `uri` whole; None when nobody has."""
        found = None
        with open(os.path.join(self.dir, "access.log"), encoding="utf-8", errors="replace") as log:
            for line in log:
                words = line.split()
                if len(words) == 5 and words[2] == uri and words[3] == "200":
                    found = f"{words[0]}:{words[1]}"
        return found


class Sink:
    """A TCP listener in a namespace whose accepted sockets the caller drives."""

    def __init__(self, namespace, address, port=0, backlog=512):
        self.socket = namespace.socket(bind=(address, port))
        self.socket.listen(backlog)
        self.socket.settimeout(10)
        self.address = self.socket.getsockname()

    def accept(self):
        connection, client = self.socket.accept()
        connection.settimeout(10)
        return connection, client

    def close(self):
        self.socket.close()


def udp_socket(namespace, bind=("0.0.0.0", 0), timeout_s=2.0):
    made = namespace.socket(socket.SOCK_DGRAM, bind=bind)
    made.settimeout(timeout_s)
    return made
