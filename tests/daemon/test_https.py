#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The API over HTTPS: who is let in, as what, and who is not; in a network namespace of this process's own.

usage: test_https.py POSTERND POSTERN     (root; prints TAP)
"""
import base64
import hashlib
import hmac
import http.client
import json
import os
import resource
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time

import daemon_lab as base
from api_client import UnixConnection, ask
from daemon_lab import wait_for

PORT = 9465
INITECH = {"vpcs": [{"id": "main", "vni": 7003, "cidrs": ["10.0.0.0/16"]}], "egress": {"ips": ["203.0.113.30"]}}


def openssl(*arguments, data=None):
    done = subprocess.run(["openssl", *arguments], input=data, capture_output=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


class Authority:
    """Keys and certificates in a directory."""

    def __init__(self, directory, name):
        self.directory, self.name = directory, name
        openssl("req", "-x509", "-newkey", "ed25519", "-nodes", "-keyout", self.path(name + ".key"), "-out",
                self.path(name + ".pem"), "-days", "2", "-subj", "/CN=" + name)

    def path(self, name):
        return self.directory + "/" + name

    def issue(self, name, san, days="1", usage="clientAuth"):
        """`days`: negative for one that has expired. Returns the certificate's path and the key's."""
        request, extensions = self.path(name + ".csr"), self.path(name + ".ext")
        openssl("req", "-new", "-newkey", "ed25519", "-nodes", "-keyout", self.path(name + ".key"), "-out", request,
                "-subj", "/CN=" + name)
        with open(extensions, "w", encoding="utf-8") as stream:
            stream.write("subjectAltName=%s\nextendedKeyUsage=%s\n" % (san, usage))
        openssl("x509", "-req", "-in", request, "-CA", self.path(self.name + ".pem"), "-CAkey",
                self.path(self.name + ".key"), "-out", self.path(name + ".pem"), "-days", days, "-extfile", extensions)
        return self.path(name + ".pem"), self.path(name + ".key")


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Signer:
    def __init__(self, directory, kid):
        self.key, self.kid = "%s/%s.jwtkey" % (directory, kid), kid
        openssl("genpkey", "-algorithm", "ed25519", "-out", self.key)
        self.public = openssl("pkey", "-in", self.key, "-pubout", "-outform", "DER")[-32:]

    def jwk(self, **more):
        return dict({"kty": "OKP", "crv": "Ed25519", "kid": self.kid, "x": b64(self.public)}, **more)

    def sign(self, data):
        with tempfile.NamedTemporaryFile() as stream:
            stream.write(data)
            stream.flush()
            return openssl("pkeyutl", "-sign", "-inkey", self.key, "-rawin", "-in", stream.name)

    def token(self, header=None, **claims):
        now = int(time.time())
        payload = {"iss": "https://idp.example", "aud": "postern", "sub": "deploy", "nbf": now, "exp": now + 300,
                   "scope": "read"}
        payload.update(claims)
        payload = {key: value for key, value in payload.items() if value is not None}
        head = b64(json.dumps(dict({"alg": "EdDSA", "kid": self.kid}, **(header or {}))).encode())
        text = head + "." + b64(json.dumps(payload).encode())
        return text + "." + b64(self.sign(text.encode()))


class Setup:
    def __init__(self, lab):
        self.lab = lab
        directory = lab.directory + "/tls"
        os.mkdir(directory)
        self.ca = Authority(directory, "ca")
        self.other = Authority(directory, "other")
        self.server = self.ca.issue("server", "IP:127.0.0.1", usage="serverAuth")
        self.signer = Signer(directory, "key-1")
        self.jwks = directory + "/jwks.json"
        self.client_ca = shutil.copy(self.ca.path("ca.pem"), directory + "/clients.pem")
        self.write_jwks([self.signer.jwk(use="sig", alg="EdDSA")])
        self.config()
        self.daemon = lab.daemon()

    def write_jwks(self, keys):
        with open(self.jwks + ".new", "w", encoding="utf-8") as stream:
            json.dump({"keys": keys}, stream)
        os.rename(self.jwks + ".new", self.jwks)

    def config(self, metrics="", tokens=True, more=""):
        jwt = ", jwt: { jwks: %s, issuer: 'https://idp.example', audience: postern }" % self.jwks if tokens else ""
        api = ("api: { listen: '127.0.0.1:%d', certificate: %s, key: %s, client_ca: %s, clients: ["
               "{ san: 'dns:ops.example', roles: [operate] }, { san: 'dns:dash.example', roles: [read] },"
               "{ san: 'uri:spiffe://example/acme', roles: ['workspace:acme'] } ]%s%s }\n"
               % (PORT, *self.server, self.client_ca, jwt, more))
        self.lab.write(base.GOOD.replace("127.0.0.1:%d }" % base.PORT, "127.0.0.1:%d%s }" % (base.PORT, metrics))
                       .replace("workspaces:", api + "workspaces:"))

    def context(self, certificate=None):
        context = ssl.create_default_context(cafile=self.ca.path("ca.pem"))
        if certificate:
            context.load_cert_chain(*certificate)
        return context

    def ask(self, method, path, body=None, certificate=None, token=None, port=PORT, **fields):
        if token is not None:
            fields["Authorization"] = "Bearer " + token
        return ask(http.client.HTTPSConnection("127.0.0.1", port, timeout=20, context=self.context(certificate)),
                   method, path, body, **fields)


def refused(action):
    """Does the TLS layer say no?"""
    try:
        answer = action()
    except ConnectionRefusedError:
        raise  # nobody listens any more
    except (ssl.SSLError, ConnectionError, http.client.HTTPException):
        return True
    raise AssertionError("was answered: %r" % answer)


def certificates_let_in_whom_the_list_names_and_as_what_it_says(lab):
    setup = Setup(lab)
    ops = setup.ca.issue("ops", "DNS:ops.example")
    dash = setup.ca.issue("dash", "DNS:dash.example")
    acme = setup.ca.issue("acme", "URI:spiffe://example/acme")
    made = setup.ask("PUT", "/v1/workspaces/initech?wait=0", INITECH, ops)
    assert made.code == 202, made
    with open(lab.run_dir + "/audit.log", encoding="utf-8") as stream:
        assert json.loads(stream.readlines()[-1])["who"] == "certificate dns:ops.example"
    assert setup.ask("GET", "/v1/status", certificate=dash).code == 200
    answer = setup.ask("DELETE", "/v1/workspaces/initech", certificate=dash, If_Match="*")
    assert answer.code == 403 and "operate" in answer.json["error"], answer
    assert setup.ask("GET", "/v1/workspaces/acme", certificate=acme).code == 200
    for method, path in (("GET", "/v1/workspaces/globex"), ("GET", "/v1/workspaces"), ("GET", "/v1/status"),
                         ("GET", "/v1/config"), ("DELETE", "/v1/workspaces/acme"), ("POST", "/v1/reload"),
                         ("GET", "/v1/workspaces/globex/egress-ips")):
        assert setup.ask(method, path, certificate=acme).code == 403, (method, path)


def certificates_that_do_not_count_are_refused(lab):
    setup = Setup(lab)
    stranger = setup.ca.issue("stranger", "DNS:stranger.example")
    assert setup.ask("GET", "/v1/status", certificate=stranger).code == 401
    assert setup.ask("GET", "/v1/status").code == 401
    assert setup.ask("GET", "/v1/nonsense").code == 404
    common_name = setup.ca.issue("ops.example", "DNS:other.example")
    assert setup.ask("GET", "/v1/status", certificate=common_name).code == 401
    for certificate in (setup.other.issue("ops2", "DNS:ops.example"), setup.ca.issue("ops3", "DNS:ops.example", days="-1"),
                        setup.ca.issue("ops4", "DNS:ops.example", usage="serverAuth")):
        assert refused(lambda: setup.ask("GET", "/v1/status", certificate=certificate)), certificate
    context = setup.context(setup.ca.issue("ops5", "DNS:ops.example"))
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    assert refused(lambda: ask(http.client.HTTPSConnection("127.0.0.1", PORT, context=context), "GET", "/v1/status"))
    assert refused(lambda: ask(http.client.HTTPConnection("127.0.0.1", PORT), "GET", "/v1/status"))
    setup.config(tokens=False)
    assert lab.cli("status").returncode == 5
    wait_for("a certificate to be demanded", lambda: "jwks" not in lab.cli("config", "show").stdout)
    assert refused(lambda: setup.ask("GET", "/v1/status"))


def tokens_let_in_as_their_scope_says(lab):
    setup = Setup(lab)
    token = setup.signer.token
    assert setup.ask("GET", "/v1/status", token=token()).code == 200
    assert setup.ask("GET", "/v1/status", token=token(aud=["else", "postern"])).code == 200
    assert setup.ask("POST", "/v1/reload", token=token()).code == 403
    assert setup.ask("POST", "/v1/reload", token=token(scope="mail operate")).code == 200
    assert setup.ask("GET", "/v1/workspaces/acme", token=token(scope="workspace:acme")).code == 200
    assert setup.ask("GET", "/v1/workspaces/acme", token=token(scope="workspace:acm")).code == 403
    assert setup.ask("GET", "/v1/status", token=token(scope=None)).code == 403
    # A bad token is not made good by a good certificate.
    ops = setup.ca.issue("ops", "DNS:ops.example")
    assert setup.ask("GET", "/v1/status", certificate=ops, token=token(aud="else")).code == 401
    setup.ask("PUT", "/v1/workspaces/initech?wait=0", INITECH, token=token(scope="operate"))
    with open(lab.run_dir + "/audit.log", encoding="utf-8") as stream:
        text = stream.read()
    assert json.loads(text.splitlines()[-1])["who"] == "token deploy@https://idp.example"
    assert token().split(".")[0] not in text + setup.daemon.text(), "a token is in a log"


def tokens_that_do_not_count_are_refused(lab):
    setup = Setup(lab)
    signer, stranger = setup.signer, Signer(lab.directory + "/tls", "stranger")
    good, now = signer.token(), int(time.time())
    head, payload, signature = good.split(".")
    none = b64(json.dumps({"alg": "none", "kid": "key-1"}).encode())
    symmetric = b64(json.dumps({"alg": "HS256", "kid": "key-1"}).encode())
    confused = symmetric + "." + payload
    pem = openssl("pkey", "-in", signer.key, "-pubout")
    impostor = Signer(lab.directory + "/tls", "impostor")
    impostor.kid = "key-1"
    flipped = bytearray(base64.urlsafe_b64decode(signature + "=="))
    flipped[5] ^= 1
    bad = {
        "alg none": none + "." + payload + ".", "alg none, signed": none + "." + payload + "." + signature,
        "key confusion, raw": confused + "." + b64(hmac.digest(signer.public, confused.encode(), hashlib.sha256)),
        "key confusion, PEM": confused + "." + b64(hmac.digest(pem, confused.encode(), hashlib.sha256)),
        "another key under our kid": impostor.token(), "unknown kid": stranger.token(),
        "a key of its own": impostor.token(header={"jwk": impostor.jwk()}),
        "alg in small letters": signer.token(header={"alg": "eddsa"}), "alg missing": signer.token(header={"alg": None}),
        "kid prefix": signer.token(header={"kid": "key-"}), "kid missing": signer.token(header={"kid": None}),
        "crit": signer.token(header={"crit": ["b64"], "b64": False}),
        "issuer": signer.token(iss="https://idp.example/"), "no issuer": signer.token(iss=None),
        "audience": signer.token(aud="postern2"), "no audience": signer.token(aud=None),
        "expired": signer.token(nbf=now - 600, exp=now - 1), "no expiry": signer.token(exp=None),
        "not yet": signer.token(nbf=now + 60, exp=now + 120), "no nbf": signer.token(nbf=None),
        "long life": signer.token(exp=now + 86400), "exp as text": signer.token(exp=str(now + 300)),
        "exp as a fraction": signer.token(exp=now + 300.5), "no subject": signer.token(sub=None),
        "subject with a newline": signer.token(sub="a\nb"), "flipped": "%s.%s.%s" % (head, payload, b64(bytes(flipped))),
        "padded": good + "==", "four parts": good + ".AA", "two parts": head + "." + payload, "empty": "",
        "nonsense": "a.b.c", "other payload": head + "." + b64(json.dumps({"scope": "operate"}).encode()) + "." + signature,
    }
    for name, token in bad.items():
        answer = setup.ask("GET", "/v1/status", token=token)
        assert answer.code == 401 and answer.fields["WWW-Authenticate"] == "Bearer", (name, answer)
    for scheme in ("Basic cm9vdDpyb290", "Bearer", good):
        answer = setup.ask("GET", "/v1/status", Authorization=scheme)
        assert answer.code == 401, (scheme, answer)
    assert setup.ask("GET", "/v1/status", token=good).code == 200


def keys_and_certificates_are_read_anew_when_they_change(lab):
    setup = Setup(lab)
    second = Signer(lab.directory + "/tls", "key-2")
    assert setup.ask("GET", "/v1/status", token=second.token()).code == 401
    setup.write_jwks([second.jwk()])
    wait_for("the new key to count", lambda: setup.ask("GET", "/v1/status", token=second.token()).code == 200)
    assert setup.ask("GET", "/v1/status", token=setup.signer.token()).code == 401
    with open(setup.jwks, "w", encoding="utf-8") as stream:
        stream.write("{")
    wait_for("the bad file to be told", lambda: "jwks.json" in " ".join(lab.status()["reasons"]))
    assert setup.ask("GET", "/v1/status", token=second.token()).code == 200
    setup.write_jwks([second.jwk(d="c2VjcmV0")])
    wait_for("the private key to be told", lambda: "private" in " ".join(lab.status()["reasons"]))
    setup.write_jwks([second.jwk()])
    before = ssl.get_server_certificate(("127.0.0.1", PORT))
    expiry = lab.metric("postern_api_certificate_expiry_timestamp_seconds")
    assert abs(expiry - time.time() - 86400) < 600, expiry
    renewed = setup.ca.issue("renewed", "IP:127.0.0.1", days="2", usage="serverAuth")
    os.rename(renewed[1], setup.server[1])
    wait_for("the half to be told", lambda: "api.key" in " ".join(lab.status()["reasons"]))
    assert ssl.get_server_certificate(("127.0.0.1", PORT)) == before
    os.rename(renewed[0], setup.server[0])
    wait_for("the new certificate", lambda: ssl.get_server_certificate(("127.0.0.1", PORT)) != before)
    assert lab.metric("postern_api_certificate_expiry_timestamp_seconds") > expiry + 80000
    assert not [reason for reason in lab.status()["reasons"] if "api." in reason], lab.status()["reasons"]


def authorities_and_keys_that_can_not_be_read_anew_count_no_longer_than_the_grace(lab):
    """What was taken off a file may be a stolen key: a file that is broken must not keep it for ever."""
    setup = Setup(lab)
    ops = setup.ca.issue("ops", "DNS:ops.example")
    by_token = lambda: setup.ask("GET", "/v1/status", token=setup.signer.token()).code
    by_certificate = lambda: setup.ask("GET", "/v1/status", certificate=ops).code
    stale = lambda file: lab.metric('postern_api_trust_stale_seconds{file="%s"}' % file)
    reasons = lambda: " ".join(lab.status()["reasons"])
    for path, file, affected, other in ((setup.jwks, "jwks", by_token, by_certificate),
                                        (setup.client_ca, "client_ca", by_certificate, by_token)):
        setup.config(more=", trust_grace: 1h")
        assert affected() == other() == 200 and stale(file) == 0
        with open(path, encoding="utf-8") as stream:
            good = stream.read()
        with open(path, "w", encoding="utf-8") as stream:
            stream.write("{")
        wait_for("the bad file to be told",
                 lambda: path + ": has changed and can not be used" in reasons() and "by the one before" in reasons())
        assert affected() == 200 and stale(file) > 0
        setup.config(more=", trust_grace: 1s")
        wait_for("the end of the grace", lambda: affected() == 401)
        wait_for("that to be told", lambda: path + ": has not been usable" in reasons() and "refused until" in reasons())
        assert other() == 200 and stale(file) >= 1
        with open(path + ".new", "w", encoding="utf-8") as stream:
            stream.write(good)
        os.rename(path + ".new", path)
        wait_for("it to count again", lambda: affected() == 200)
        assert stale("jwks") == stale("client_ca") == 0


def metrics_take_tls_and_a_role_where_asked_for(lab):
    setup = Setup(lab)
    assert base.get("/metrics")[0] == 200
    setup.config(metrics=", tls: true, auth: true")
    wait_for("the change", lambda: "auth: true" in lab.cli("config", "show").stdout)
    assert refused(lambda: ask(http.client.HTTPConnection("127.0.0.1", base.PORT), "GET", "/metrics"))
    assert setup.ask("GET", "/metrics", port=base.PORT).code == 401
    assert setup.ask("GET", "/healthz", port=base.PORT).code == 200
    assert setup.ask("GET", "/metrics", port=base.PORT, token=setup.signer.token(scope="workspace:acme")).code == 403
    answer = setup.ask("GET", "/metrics", port=base.PORT, token=setup.signer.token())
    assert answer.code == 200 and "postern_config_valid 1" in answer.text
    dash = setup.ca.issue("dash", "DNS:dash.example")
    assert setup.ask("GET", "/metrics", port=base.PORT, certificate=dash).code == 200
    assert setup.ask("GET", "/v1/status", port=base.PORT, certificate=dash).code == 404


def raw(setup, data):
    with setup.context().wrap_socket(socket.create_connection(("127.0.0.1", PORT), timeout=20),
                                     server_hostname="127.0.0.1") as connection:
        connection.sendall(data)
        answer = b""
        while True:
            try:
                part = connection.recv(65536)
            except (ssl.SSLError, ConnectionError):
                return answer
            if not part:
                return answer
            answer += part


def malformed_and_oversized_requests_are_refused_before_they_cost(lab):
    setup = Setup(lab)
    bearer = b"Authorization: Bearer " + setup.signer.token(scope="operate").encode() + b"\r\n"
    put = b"PUT /v1/workspaces/initech HTTP/1.1\r\n"
    for request, code in (
            (put + bearer + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}", 400),
            (put + bearer + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", 400),
            (put + bearer + bearer + b"Content-Length: 2\r\n\r\n{}", 400),
            (put + bearer + b"Content-Length: +2\r\n\r\n{}", 400),
            (put + bearer + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 501),
            (put + bearer + b"Content-Length: 1048577\r\n\r\n", 413),
            (put + bearer + b"Content-Length: 99999999999999999999\r\n\r\n", 413),
            (put + b"Content-Length: 1000000\r\n\r\n", 401),
            (put + b"X: " + b"x" * 9000 + b"\r\n\r\n", 431)):
        answer = raw(setup, request)
        assert answer.startswith(b"HTTP/1.1 %d " % code), (request[:200], answer[:200])
    assert setup.daemon.running()


def slow_clients_are_ended_after_5_s(lab):
    """One that never begins its handshake, one that trickles its head, one that trickles its body."""
    setup = Setup(lab)
    start = time.monotonic()
    silent = socket.create_connection(("127.0.0.1", PORT), timeout=20)
    half = socket.create_connection(("127.0.0.1", PORT), timeout=20)
    half.sendall(b"\x16\x03\x01\x02\x00\x01")
    bearer = b"Authorization: Bearer " + setup.signer.token(scope="operate").encode() + b"\r\n"
    wrap = lambda: setup.context().wrap_socket(socket.create_connection(("127.0.0.1", PORT), timeout=20),
                                               server_hostname="127.0.0.1")
    head, body = wrap(), wrap()
    head.sendall(b"GET /v1/status HTTP/1.1\r\n")
    body.sendall(b"PUT /v1/workspaces/initech HTTP/1.1\r\n" + bearer + b"Content-Length: 1000\r\n\r\n{")
    ended = {}
    while len(ended) < 4:
        assert time.monotonic() - start < 15, ended
        for name, connection in (("silent", silent), ("half", half), ("head", head), ("body", body)):
            if name in ended:
                continue
            connection.settimeout(0.2)
            try:
                if name in ("head", "body"):
                    connection.sendall(b"x")
                data = connection.recv(4096)
                ended[name] = (data[:12], time.monotonic() - start)
            except (TimeoutError, ssl.SSLWantReadError):
                continue
            except (ssl.SSLError, OSError):
                ended[name] = (b"", time.monotonic() - start)
    assert all(4 < when < 12 for _, when in ended.values()), ended
    assert ended["body"][0] in (b"HTTP/1.1 408", b""), ended


def ten_thousand_connections_leave_the_daemon_and_its_unix_socket_in_service(lab):
    setup = Setup(lab)
    resource.setrlimit(resource.RLIMIT_NOFILE, (12000, 12000))
    token = setup.signer.token()
    connections = []
    start = time.monotonic()
    for number in range(10000):
        connection = socket.socket()
        connection.setblocking(False)
        connection.connect_ex(("127.0.0.1", PORT))
        connections.append(connection)
        if number % 2500 == 1250:
            answer = ask(UnixConnection(lab.run_dir + "/posternd.sock"), "GET", "/v1/status")
            assert answer.code == 200, answer
    assert setup.ask("GET", "/v1/status", token=token).code == 200
    assert len(os.listdir("/proc/%d/fd" % setup.daemon.pid)) < 330
    for connection in connections:
        connection.close()
    print("# 10,000 connections in %.1f s" % (time.monotonic() - start))
    wait_for("the connections to be closed", lambda: len(os.listdir("/proc/%d/fd" % setup.daemon.pid)) < 70)
    assert setup.daemon.running() and setup.daemon.stop(signal.SIGTERM) == 0, setup.daemon.text()


def files_count_only_as_the_key_of_the_command_line_has_signed_them(lab):
    directory, included = lab.directory + "/sign", lab.directory + "/conf.d"
    os.mkdir(directory)
    os.mkdir(included)
    signer, stranger = Signer(directory, "ours"), Signer(directory, "theirs")
    public = directory + "/public.pem"
    with open(public, "wb") as stream:
        stream.write(openssl("pkey", "-in", signer.key, "-pubout"))
    fragment = included + "/initech.yaml"
    with open(fragment, "w", encoding="utf-8") as stream:
        stream.write("workspaces: [ %s ]" % json.dumps(dict(INITECH, id="initech")))
    lab.write(base.GOOD.replace("version: 1", "version: 1\ninclude: ['conf.d/*.yaml']"))
    check = lambda: base.run(base.POSTERND, "--config", lab.config, "--config-key", public, "--check")
    unsigned = check()
    assert unsigned.returncode == 4 and lab.config + ".sig" in unsigned.stderr, unsigned
    assert base.run(base.POSTERN, "config", "sign", stranger.key, lab.config, fragment).returncode == 0
    assert check().returncode == 4 and "is not signed by the key" in check().stderr
    assert base.run(base.POSTERN, "config", "verify", public, lab.config).returncode == 4
    assert base.run(base.POSTERN, "config", "sign", signer.key, lab.config).returncode == 0
    half = check()
    assert half.returncode == 4 and "initech.yaml" in half.stderr, half
    assert base.run(base.POSTERN, "config", "sign", signer.key, fragment).returncode == 0
    assert base.run(base.POSTERN, "config", "verify", public, lab.config, fragment).returncode == 0
    assert check().returncode == 0, check()
    with open(fragment, "a", encoding="utf-8") as stream:
        stream.write("\n")
    assert check().returncode == 4
    for wrong in (public + ".absent", signer.key, lab.config):
        assert base.run(base.POSTERND, "--config", lab.config, "--config-key", wrong, "--check").returncode == 4
    assert base.run(base.POSTERN, "config", "sign", signer.key, fragment).returncode == 0
    process = lab.start(base.POSTERND, "--run-dir", lab.run_dir, "--config", lab.config, "--config-key", public)
    wait_for("posternd to answer", lambda: lab.cli("status").returncode in (0, 5))
    assert lab.status()["config"]["valid"], process.text()
    # Its signature would be another: in place, the file that was taken would not count.
    with open(lab.config + ".new", "w", encoding="utf-8") as stream:
        stream.write(base.LARGER)
    refused = lab.cli("apply", lab.config + ".new")
    assert refused.returncode == 1 and "--config-key" in refused.stderr, refused
    # The API's own writes need no signature; a tampered file changes nothing.
    made = ask(UnixConnection(lab.run_dir + "/posternd.sock"), "PUT", "/v1/workspaces/hooli?wait=0",
               json.loads(json.dumps(INITECH).replace("7003", "7004").replace(".30", ".40")))
    assert made.code == 202, made
    lab.write(base.LARGER)
    wait_for("the tampered file to be told", lambda: not lab.status()["config"]["valid"])
    assert "hooli" in lab.cli("config", "show").stdout


TESTS = [
    files_count_only_as_the_key_of_the_command_line_has_signed_them,
    certificates_let_in_whom_the_list_names_and_as_what_it_says, certificates_that_do_not_count_are_refused,
    tokens_let_in_as_their_scope_says, tokens_that_do_not_count_are_refused,
    keys_and_certificates_are_read_anew_when_they_change,
    authorities_and_keys_that_can_not_be_read_anew_count_no_longer_than_the_grace, metrics_take_tls_and_a_role_where_asked_for,
    malformed_and_oversized_requests_are_refused_before_they_cost, slow_clients_are_ended_after_5_s,
    ten_thousand_connections_leave_the_daemon_and_its_unix_socket_in_service,
]

if __name__ == "__main__":
    sys.exit(base.run_tests(TESTS, []))
