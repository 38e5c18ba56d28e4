#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The API: objects and their versions, over the Unix socket, in a network namespace of this process's own.

usage: test_api.py POSTERND POSTERN POSTERN-DATAPLANE STEER-OBJECT     (root; prints TAP)
"""
import json
import os
import signal
import socket
import stat
import sys
import time

import daemon_lab as base
from api_client import UnixConnection, ask
from daemon_lab import wait_for

INITECH = {"vpcs": [{"id": "main", "vni": 7003, "cidrs": ["10.0.0.0/16"]}], "egress": {"ips": ["203.0.113.30"]}}

WORKER_HOST = """\
version: 1
worker_host: { vtep: 10.100.0.2, gateways: [10.100.0.1] }
workspaces:
  - id: acme
    vpcs:   [ { id: main, vni: 7001, cidrs: [10.0.0.0/16] } ]
    egress: { ips: [203.0.113.10] }
"""


def api(lab, method, path, body=None, **fields):
    return ask(UnixConnection(lab.run_dir + "/posternd.sock"), method, path, body, **fields)


def later(path):
    return path + ("&" if "?" in path else "?") + "wait=0"


def audit(lab):
    with open(lab.run_dir + "/audit.log", encoding="utf-8") as stream:
        return [json.loads(line) for line in stream]


def expect(answer, code):
    assert answer.code == code, answer
    return answer


# ---- without a dataplane: nothing comes in force, so nothing waits ----

def a_workspace_is_made_read_changed_and_deleted(lab):
    lab.daemon()
    made = expect(api(lab, "PUT", later("/v1/workspaces/initech"), INITECH), 202)
    assert made.json["config"]["vpcs"][0]["vni"] == 7003 and made.json["in_force"] is False and made.json["reason"]
    read = expect(api(lab, "GET", "/v1/workspaces/initech"), 200)
    assert read.etag == made.etag and read.json["config"] == made.json["config"], (read, made)
    assert read.json["editable"] and read.json["source"].startswith("api (")
    assert read.json["config"]["timers"]["tcp_established"] == "2h4m"
    patched = expect(api(lab, "PATCH", later("/v1/workspaces/initech"), {"timers": {"udp": "90s"}, "number": 5},
                         If_Match=read.etag), 202)
    assert patched.json["config"]["timers"]["udp"] == "1m30s" and patched.json["config"]["number"] == 5
    assert patched.json["config"]["timers"]["icmp"] == "1m" and patched.etag != read.etag
    unset = expect(api(lab, "PATCH", later("/v1/workspaces/initech"), {"number": None}, If_Match=patched.etag), 202)
    assert "number" not in unset.json["config"]
    expect(api(lab, "DELETE", later("/v1/workspaces/initech"), If_Match=unset.etag), 202)
    expect(api(lab, "GET", "/v1/workspaces/initech"), 404)
    expect(api(lab, "DELETE", later("/v1/workspaces/initech"), If_Match="*"), 404)


def what_the_api_shows_is_what_it_takes(lab):
    lab.daemon()
    full = dict(INITECH, mapping={"tcp": "endpoint-independent"}, limits={"bytes_per_second": 1250000, "worker": {"sessions": 7}},
                allow_private=True, other_protocols="allow",
                policy={"default": "deny", "rules": [{"action": "allow", "to": "198.51.100.0/24", "protocol": "tcp", "ports": "1-9"}]})
    made = expect(api(lab, "PUT", later("/v1/workspaces/initech"), full), 202)
    again = expect(api(lab, "PUT", later("/v1/workspaces/initech"), made.json["config"]), 202)
    assert again.etag == made.etag and again.json["config"] == made.json["config"]
    for key in ("allow_private", "other_protocols", "policy"):
        assert made.json["config"][key] == full[key], made
    assert made.json["config"]["limits"]["worker"]["sessions"] == 7


def a_change_survives_a_restart(lab):
    daemon = lab.daemon()
    made = expect(api(lab, "PUT", later("/v1/workspaces/initech"), INITECH), 202)
    path = lab.run_dir + "/state/api.d/workspace-initech.json"
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    daemon.stop(signal.SIGKILL)
    lab.daemon()
    assert expect(api(lab, "GET", "/v1/workspaces/initech"), 200).etag == made.etag


def every_error_of_a_body_has_its_pointer(lab):
    lab.daemon()
    body = {"vpcs": [{"id": "main", "vni": 70000000, "cidrs": ["10.0.0.1/16"]}], "egress": {"ips": ["10.0.0.300"]}, "shade": 1}
    problems = expect(api(lab, "PUT", "/v1/workspaces/initech", body), 422).json["problems"]
    pointers = {problem["pointer"] for problem in problems}
    assert pointers == {"/vpcs/0/vni", "/vpcs/0/cidrs/0", "/egress/ips/0", "/shade"}, problems
    assert any("must be a whole number, 1..16777215" in problem["problem"] for problem in problems), problems
    assert not os.path.exists(lab.run_dir + "/state/api.d/workspace-initech.json")
    expect(api(lab, "GET", "/v1/workspaces/initech"), 404)


def a_clash_with_another_object_names_the_file_and_line(lab):
    lab.daemon()
    clash = json.loads(json.dumps(INITECH).replace("7003", "7002"))
    problems = expect(api(lab, "PUT", "/v1/workspaces/initech", clash), 422).json["problems"]
    assert "postern.yaml:11" in json.dumps(problems), problems
    taken = dict(INITECH, egress={"ips": ["203.0.113.10"]})
    assert "acme" in json.dumps(expect(api(lab, "PUT", "/v1/workspaces/initech", taken), 422).json)


def a_workspace_of_a_file_is_changed_in_the_file_alone(lab):
    lab.daemon()
    etag = expect(api(lab, "GET", "/v1/workspaces/acme"), 200).etag
    for method, path, body in (("PUT", "/v1/workspaces/acme", INITECH), ("DELETE", "/v1/workspaces/acme", None),
                               ("PATCH", "/v1/workspaces/acme", {"number": 1}),
                               ("PUT", "/v1/workspaces/acme/egress-ips/203.0.113.77", None)):
        answer = expect(api(lab, method, path, body, If_Match=etag), 409)
        assert lab.config + ":7" in answer.json["error"], answer


def a_version_that_is_not_the_newest_changes_nothing(lab):
    lab.daemon()
    first = expect(api(lab, "PUT", later("/v1/workspaces/initech"), INITECH), 202)
    other = dict(INITECH, number=9)
    expect(api(lab, "PUT", "/v1/workspaces/initech", other), 428)
    expect(api(lab, "DELETE", "/v1/workspaces/initech"), 428)
    expect(api(lab, "PUT", "/v1/workspaces/initech", other, If_None_Match="*"), 412)
    second = expect(api(lab, "PUT", later("/v1/workspaces/initech"), other, If_Match=first.etag), 202)
    expect(api(lab, "PUT", "/v1/workspaces/initech", dict(INITECH, number=10), If_Match=first.etag), 412)
    expect(api(lab, "DELETE", "/v1/workspaces/initech", If_Match=first.etag), 412)
    expect(api(lab, "PUT", "/v1/workspaces/absent", INITECH, If_Match=first.etag), 422)
    assert expect(api(lab, "GET", "/v1/workspaces/initech"), 200).etag == second.etag
    expect(api(lab, "GET", "/v1/workspaces/initech", If_None_Match=second.etag), 304)


def the_same_put_again_is_no_change(lab):
    lab.daemon()
    first = expect(api(lab, "PUT", later("/v1/workspaces/initech"), INITECH), 202)
    changes = len(audit(lab))
    for fields in ({}, {"If_Match": '"0000000000000000"'}, {"If_None_Match": "*"}):
        assert expect(api(lab, "PUT", later("/v1/workspaces/initech"), INITECH, **fields), 202).etag == first.etag
    assert len(audit(lab)) == changes


def while_a_file_is_not_valid_nothing_can_be_changed(lab):
    lab.daemon()
    lab.write(base.BAD)
    wait_for("the bad file to be told", lambda: not lab.status()["config"]["valid"])
    answer = expect(api(lab, "PUT", "/v1/workspaces/initech", INITECH), 409)
    assert "postern.yaml" in json.dumps(answer.json["problems"])
    lab.write(base.GOOD)
    wait_for("the good file", lambda: lab.status()["config"]["valid"])
    expect(api(lab, "PUT", later("/v1/workspaces/initech"), INITECH), 202)


def a_change_brings_no_files_that_a_reload_refused(lab):
    lab.daemon()
    expect(api(lab, "PUT", later("/v1/workspaces/initech"), INITECH), 202)
    lab.write(base.GOOD[:base.GOOD.index("workspaces:")] + "workspaces: []\n")
    wait_for("the guard's word", lambda: not lab.status()["config"]["valid"])
    answer = expect(api(lab, "PATCH", later("/v1/workspaces/initech"), {"number": 5}, If_Match="*"), 409)
    assert "would remove 2 of 3 workspaces" in json.dumps(answer.json["problems"]), answer
    expect(api(lab, "GET", "/v1/workspaces/acme"), 200)
    lab.write(base.GOOD)
    wait_for("the good file", lambda: lab.status()["config"]["valid"])
    expect(api(lab, "DELETE", later("/v1/workspaces/initech"), If_Match="*"), 202)


def an_address_whose_sessions_nobody_can_count_is_not_taken_away(lab):
    lab.daemon()
    expect(api(lab, "PUT", later("/v1/workspaces/initech"), INITECH), 202)
    expect(api(lab, "PUT", later("/v1/workspaces/initech/egress-ips/203.0.113.31"), None), 202)
    answer = expect(api(lab, "DELETE", later("/v1/workspaces/initech/egress-ips/203.0.113.30")), 409)
    assert "can not be counted" in answer.json["error"], answer
    expect(api(lab, "DELETE", later("/v1/workspaces/initech/egress-ips/203.0.113.30?force=1")), 202)


def a_full_disk_changes_nothing(lab):
    os.makedirs(lab.run_dir + "/state/api.d")
    base.run("mount", "-t", "tmpfs", "-o", "size=4k", "none", lab.run_dir + "/state/api.d")
    try:
        lab.daemon()
        with open(lab.run_dir + "/state/api.d/filler", "wb") as stream:
            try:
                stream.write(bytes(4096))
                stream.flush()
            except OSError:
                pass
        answer = expect(api(lab, "PUT", "/v1/workspaces/initech", INITECH), 507)
        assert "No space left" in answer.json["error"], answer
        expect(api(lab, "GET", "/v1/workspaces/initech"), 404)
        os.remove(lab.run_dir + "/state/api.d/filler")
        expect(api(lab, "PUT", later("/v1/workspaces/initech"), INITECH), 202)
    finally:
        base.run("umount", "-l", lab.run_dir + "/state/api.d")


def every_change_is_in_the_audit_log_with_who_what_from_and_to(lab):
    lab.daemon()
    made = expect(api(lab, "PUT", later("/v1/workspaces/initech"), INITECH), 202)
    expect(api(lab, "PUT", "/v1/workspaces/initech", dict(INITECH, number=9)), 428)
    expect(api(lab, "DELETE", later("/v1/workspaces/initech"), If_Match=made.etag), 202)
    lab.write(base.LARGER)
    wait_for("the reload", lambda: len(audit(lab)) == 3)
    put, delete, reload = audit(lab)
    assert put["who"] == "uid=0 pid=%d" % os.getpid() and put["what"] == "PUT /v1/workspaces/initech", put
    assert put["from"] is None and put["to"] == made.json["config"] and put["time"].endswith("Z")
    assert delete["from"] == made.json["config"] and delete["to"] is None
    assert reload["who"] == "file " + lab.config and "+ workspace initech" in " ".join(reload["to"]["changes"]), reload
    assert stat.S_IMODE(os.stat(lab.run_dir + "/audit.log").st_mode) == 0o640


def what_is_applied_and_drained_is_in_the_audit_log(lab):
    lab.daemon()
    applied = lab.cli("apply", base.put_new(lab, base.LARGER), "--confirm", "1h", "--json")
    deadline = json.loads(applied.stdout)["confirm_by_unix_seconds"]
    assert lab.cli("apply", "--rollback").returncode == 0
    assert lab.cli("apply", "--rollback").returncode == 1, "nothing waits"
    expect(api(lab, "PUT", later("/v1/drains/203.0.113.10?deadline=2h")), 202)
    expect(api(lab, "DELETE", later("/v1/drains/203.0.113.10")), 202)
    records = [record for record in audit(lab) if record["what"] != "reload"]
    assert [record["what"] for record in records] == [
        "POST /v1/apply", "POST /v1/apply/rollback", "PUT /v1/drains/203.0.113.10", "DELETE /v1/drains/203.0.113.10"
    ], records
    applied, rolled_back, drained, cancelled = records
    assert applied["from"] == rolled_back["to"] == {"confirm_by_unix_seconds": 0}, records
    assert applied["to"] == rolled_back["from"] == {"confirm_by_unix_seconds": deadline}, records
    assert drained["from"] is cancelled["to"] is None, records
    assert drained["to"]["workspace"] == cancelled["from"]["workspace"] == "acme", records


def workers_and_gateways_are_in_the_audit_log(lab):
    lab.write(WORKER_HOST)
    lab.daemon()
    worker = {"interface": "absent0", "workspace": "acme", "vpc": "main", "ips": ["10.0.0.5"]}
    for _ in range(2):  # the same again changes nothing
        expect(api(lab, "POST", later("/v1/workers"), worker), 202)
    expect(api(lab, "DELETE", "/v1/workers/absent0"), 200)
    expect(api(lab, "DELETE", "/v1/workers/absent0"), 404)
    for _ in range(2):
        expect(api(lab, "POST", "/v1/gateways/10.100.0.1/down"), 200)
    expect(api(lab, "POST", "/v1/gateways/10.100.0.1/up"), 200)
    up, down = {"operator_down": False}, {"operator_down": True}
    assert [(record["what"], record["from"], record["to"]) for record in audit(lab)] == [
        ("POST /v1/workers", None, worker), ("DELETE /v1/workers/absent0", worker, None),
        ("POST /v1/gateways/10.100.0.1/down", up, down), ("POST /v1/gateways/10.100.0.1/up", down, up)
    ], audit(lab)


def what_changes_by_itself_is_in_the_audit_log_as_the_daemons_doing(lab):
    """A trial and a drain whose time ends, and gateways to which there is no way."""
    lab.write(base.GOOD)
    process = lab.daemon()
    assert lab.cli("apply", base.put_new(lab, base.LARGER), "--confirm", "1s").returncode == 0
    expect(api(lab, "PUT", later("/v1/drains/203.0.113.10?deadline=1s")), 202)
    own = lambda: [record for record in audit(lab) if record["who"] == "posternd"]
    wait_for("both to end", lambda: len(own()) == 2)
    rolled_back, drained = sorted(own(), key=lambda record: record["what"], reverse=True)
    assert rolled_back["what"] == "rollback of what was not confirmed", own()
    assert rolled_back["to"] == {"confirm_by_unix_seconds": 0} != rolled_back["from"], own()
    assert drained["what"] == "drain 203.0.113.10" and drained["from"]["state"] == "draining", own()
    assert drained["to"]["state"] == "quarantine" and drained["to"]["workspace"] == "acme", own()
    assert process.stop() == 0
    lab.write(WORKER_HOST.replace("[10.100.0.1]", "[10.100.0.1, 10.100.0.3]"))
    lab.daemon()
    wait_for("the gateways to be given up", lambda: len(own()) == 4)
    assert {(record["what"], record["from"]["answers"], record["to"]["answers"]) for record in own()[2:]} == {
        ("gateway 10.100.0.1", True, False), ("gateway 10.100.0.3", True, False)}, own()


def the_workers_of_a_host_that_is_forgotten_are_in_the_audit_log(lab):
    lab.daemon()
    path = "/v1/hosts/10.100.0.2"
    table = expect(api(lab, "GET", path + "/workers"), 200).json["table"]
    change = {"table": table, "add": [[7001, "10.0.0.5", 1], [7002, "10.0.0.5", 2]]}
    expect(api(lab, "POST", later(path + "/workers"), change), 202)
    expect(api(lab, "POST", later(path + "/workers"), change), 202)  # says nothing new
    expect(api(lab, "DELETE", later(path)), 202)
    came, record = audit(lab)
    assert came["what"] == "POST " + path + "/workers", came
    assert (came["from"], came["to"]) == ({"count": 0, "workers": []}, {"count": 2, "workers": change["add"]}), came
    assert record["what"] == "DELETE " + path, record
    assert record["from"]["count"] == 2 and record["to"]["count"] == 0, record


def a_host_registers_no_more_workers_than_it_may(lab):
    lab.write(base.GOOD.replace("gateway:\n", "gateway:\n  registrations: { per_host: 2 }\n"))
    lab.daemon()
    path = later("/v1/hosts/10.100.0.%d/workers")
    table = expect(api(lab, "GET", path % 2), 200).json["table"]
    three = [[7001, "10.0.0.5", 1], [7001, "10.0.0.6", 2], [7002, "10.0.0.5", 3]]
    answer = expect(api(lab, "POST", path % 2, {"table": table, "add": three}), 202).json
    why = "host 10.100.0.2 has 2 workers registered, as many as gateway.registrations.per_host allows"
    assert answer["count"] == 2 and answer["refused"] == [[7002, "10.0.0.5", why]], answer
    answer = expect(api(lab, "POST", path % 3, {"table": table, "add": three[2:]}), 202).json
    assert answer["count"] == 1 and not answer["refused"], answer
    assert 'postern_registrations_refused_total{reason="host_limit"} 1\n' in base.get("/metrics")[1]
    assert "workers are refused: " + why in lab.cli("status").stdout, lab.cli("status").stdout
    changed = expect(api(lab, "POST", path % 2, {"table": table, "remove": [[7001, "10.0.0.5"]], "add": [[7001, "10.0.0.7", 4]]}), 202).json
    assert changed["count"] == 2 and not changed["refused"], changed


def the_audit_log_may_be_rotated(lab):
    lab.daemon()
    made = expect(api(lab, "PUT", later("/v1/workspaces/initech"), INITECH), 202)
    os.rename(lab.run_dir + "/audit.log", lab.run_dir + "/audit.log.1")
    expect(api(lab, "DELETE", later("/v1/workspaces/initech"), If_Match=made.etag), 202)
    assert [record["what"] for record in audit(lab)] == ["DELETE /v1/workspaces/initech"]


def requests_that_make_no_sense_are_refused(lab):
    lab.daemon()
    for method, path, body, fields, code in (
            ("PUT", "/v1/workspaces/initech", "{", {}, 400), ("PUT", "/v1/workspaces/initech", "[]", {}, 400),
            ("PUT", "/v1/workspaces/initech", None, {}, 400), ("PUT", "/v1/workspaces/initech", '{"a":1,"a":1}', {}, 400),
            ("PUT", "/v1/workspaces/initech", "{}", {"Content_Type": "text/yaml"}, 415),
            ("PUT", "/v1/workspaces/initech", dict(INITECH, id="other"), {}, 400),
            ("PUT", "/v1/workspaces/IN%20ITECH", INITECH, {}, 404), ("PUT", "/v1/workspaces/-x", INITECH, {}, 400),
            ("PUT", "/v1/workspaces/a%2Fb", INITECH, {}, 404), ("PUT", "/v1/workspaces/%zz", INITECH, {}, 404),
            ("POST", "/v1/workspaces/initech", INITECH, {}, 405), ("GET", "/v1/nonsense", None, {}, 404),
            ("PUT", "/v1/workspaces/initech", "[" * 5000, {}, 400),
            ("PUT", "/v1/workspaces/acme/egress-ips/1.2.3", None, {}, 400)):
        answer = api(lab, method, path, body, **fields)
        assert answer.code == code and answer.json["error"], (method, path, answer)
    allow = api(lab, "POST", "/v1/workspaces/initech", INITECH).fields["Allow"]
    assert allow == "GET, HEAD, PUT, PATCH, DELETE", allow


def resolve(document, schema):
    while "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return schema


def violations(document, schema, value, where=""):
    """What of `value` is not as the schema says; of JSON Schema what the document uses."""
    schema = resolve(document, schema)
    kinds = {"object": dict, "array": list, "string": str, "integer": int, "number": (int, float), "boolean": bool,
             "null": type(None)}
    found = []
    for word in ("anyOf", "oneOf"):
        if word in schema and all(violations(document, one, value, where) for one in schema[word]):
            found.append(where + ": fits none of " + word)
    if "const" in schema and value != schema["const"]:
        found.append("%s: %r" % (where, value))
    if "enum" in schema and value not in schema["enum"]:
        found.append("%s: %r" % (where, value))
    allowed = schema.get("type", [])
    allowed = [allowed] if isinstance(allowed, str) else allowed
    if allowed and not any(isinstance(value, kinds[kind]) and (kind == "boolean") == isinstance(value, bool)
                           for kind in allowed):
        return found + ["%s: is no %s" % (where, allowed)]
    if isinstance(value, dict):
        found += ["%s: %s is missing" % (where, key) for key in schema.get("required", []) if key not in value]
        for key, inner in value.items():
            if key in schema.get("properties", {}):
                found += violations(document, schema["properties"][key], inner, where + "/" + key)
            elif schema.get("additionalProperties") is False:
                found.append("%s: %s is not described" % (where, key))
    if isinstance(value, list) and "items" in schema:
        for index, inner in enumerate(value):
            found += violations(document, schema["items"], inner, "%s/%d" % (where, index))
    return found


def the_openapi_document_is_what_the_daemon_does(lab):
    with open(os.environ["POSTERN_SOURCE_ROOT"] + "/docs/openapi.json", encoding="utf-8") as stream:
        text = stream.read()
    # When it differs: build/control/gen-openapi > docs/openapi.json
    assert base.run(os.environ["POSTERN_GEN_OPENAPI"]).stdout == text, "docs/openapi.json is out of date"
    document = json.loads(text)
    lab.daemon()
    put = expect(api(lab, "PUT", later("/v1/workspaces/initech"), INITECH), 202)
    assert not violations(document, {"$ref": "#/components/schemas/Workspace"}, INITECH)
    assert violations(document, {"$ref": "#/components/schemas/Workspace"}, dict(INITECH, shade=1))
    assert not violations(document, {"$ref": "#/components/schemas/WorkspaceChange"}, put.json), put
    checked = 0
    for pattern, operations in document["paths"].items():
        path = pattern.replace("/v1/workspaces/{id}", "/v1/workspaces/initech").replace("{ip}", "203.0.113.99")
        path = path.replace("{", "").replace("}", "")
        answer = api(lab, "OPTIONS", path)
        methods = {method.upper() for method in operations} | ({"HEAD"} if "get" in operations else set())
        assert answer.code == 405 and set(answer.fields["Allow"].split(", ")) == methods, (pattern, answer)
        if "get" not in operations:
            continue
        answer = api(lab, "GET", path)
        described = operations["get"]["responses"]["2XX" if answer.code < 300 else "default"]
        assert "there is no such path" not in answer.text, (pattern, answer)
        if answer.json is not None and "content" in described:
            schema = described["content"]["application/json"]["schema"]
            assert not violations(document, schema, answer.json), (pattern, violations(document, schema, answer.json))
            checked += answer.code == 200
    assert checked >= 5, checked


# ---- with a dataplane ----

def an_answer_comes_when_the_change_is_in_force(lab):
    lab.daemon()
    lab.dataplane()
    wait_for("the policy to be in force", lab.in_force, 30)
    made = expect(api(lab, "PUT", "/v1/workspaces/initech", INITECH), 201)
    assert made.json["in_force"] is True
    status = lab.status()
    assert status["policy"]["acknowledged_generation"] == status["policy"]["desired_generation"]
    feed = expect(api(lab, "GET", "/v1/workspaces/initech/egress-ips"), 200)
    assert feed.json["egress_ips"] == [{"address": "203.0.113.30", "state": "active"}], feed
    expect(api(lab, "PUT", "/v1/workspaces/initech/egress-ips/203.0.113.31"), 200)
    expect(api(lab, "PUT", "/v1/workspaces/initech/egress-ips/203.0.113.31"), 200)
    changed = expect(api(lab, "GET", "/v1/workspaces/initech/egress-ips", If_None_Match=feed.etag), 200)
    assert [ip["address"] for ip in changed.json["egress_ips"]] == ["203.0.113.30", "203.0.113.31"], changed
    expect(api(lab, "GET", "/v1/workspaces/initech/egress-ips", If_None_Match=changed.etag), 304)
    expect(api(lab, "DELETE", "/v1/workspaces/initech/egress-ips/203.0.113.30"), 200)
    expect(api(lab, "DELETE", "/v1/workspaces/initech/egress-ips/203.0.113.30"), 404)
    feed = expect(api(lab, "GET", "/v1/workspaces/initech/egress-ips"), 200)
    assert [ip["address"] for ip in feed.json["egress_ips"]] == ["203.0.113.31"], feed
    expect(api(lab, "DELETE", "/v1/workspaces/initech", If_Match="*"), 200)
    expect(api(lab, "GET", "/v1/workspaces/initech/egress-ips"), 404)


def state_of(lab, name):
    rows = expect(api(lab, "GET", "/v1/workspaces"), 200).json["workspaces"]
    return next(row["state"] for row in rows if row["id"] == name)


def every_object_says_what_is_wanted_what_is_so_why_and_since_when(lab):
    lab.daemon()
    dataplane = lab.dataplane()
    wait_for("the policy to be in force", lab.in_force, 30)
    began = time.time()
    expect(api(lab, "PUT", "/v1/workspaces/initech", INITECH), 201)
    acme, made = state_of(lab, "acme"), state_of(lab, "initech")
    assert acme["since_unix_seconds"] < began <= made["since_unix_seconds"] <= time.time(), (acme, began, made)
    for state in (acme, made, *made["egress"]):
        assert state["desired"] == state["actual"] and state["reason"] == "", state
    expect(api(lab, "PUT", "/v1/workspaces/initech/egress-ips/203.0.113.31"), 200)
    old, new = state_of(lab, "initech")["egress"]
    assert old == made["egress"][0] and new["since_unix_seconds"] > old["since_unix_seconds"], (old, new)
    dataplane.stop(signal.SIGKILL)
    wait_for("the loss to be told", lambda: lab.cli("status").returncode == 5)
    expect(api(lab, "DELETE", "/v1/workspaces/initech/egress-ips/203.0.113.31?force=1&wait=0"), 202)
    state = state_of(lab, "initech")
    assert (state["desired"], state["actual"]) == ("present", "outdated") and "not there" in state["reason"], state
    assert state["since_unix_seconds"] > new["since_unix_seconds"], state
    assert [(ip["address"], ip["desired"], ip["actual"]) for ip in state["egress"]] == [
        ("203.0.113.30", "active", "active"),
        ("203.0.113.31", "absent", "active"),
    ], state
    assert state["egress"][0] == old, state
    table = lab.cli("workspaces").stdout
    assert "waiting" in next(line for line in table.splitlines() if line.startswith("initech")), table


def the_list_of_egress_ips_is_what_is_in_force_not_what_is_wanted(lab):
    lab.daemon()
    dataplane = lab.dataplane()
    wait_for("the policy to be in force", lab.in_force, 30)
    dataplane.stop(signal.SIGKILL)
    wait_for("the loss to be told", lambda: lab.cli("status").returncode == 5)
    start = time.monotonic()
    waiting = expect(api(lab, "PUT", "/v1/workspaces/initech", INITECH), 202)
    assert waiting.json["in_force"] is False and 8 < time.monotonic() - start < 15, waiting
    assert "postern-dataplane" in waiting.json["reason"], waiting
    expect(api(lab, "GET", "/v1/workspaces/initech/egress-ips"), 404)
    lab.dataplane()
    wait_for("the policy to be in force again", lab.in_force, 30)
    expect(api(lab, "GET", "/v1/workspaces/initech/egress-ips"), 200)


def a_client_that_does_not_wait_for_its_answer_harms_nobody(lab):
    daemon = lab.daemon()
    body = json.dumps(INITECH).encode()
    for _ in range(300):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(lab.run_dir + "/posternd.sock")
            client.sendall(b"PUT /v1/workspaces/initech HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    start = time.monotonic()
    expect(api(lab, "GET", "/v1/workspaces/initech"), 200)
    assert daemon.running() and time.monotonic() - start < 5
    assert daemon.stop() == 0, daemon.text()


ALONE = [
    a_workspace_is_made_read_changed_and_deleted, what_the_api_shows_is_what_it_takes, a_change_survives_a_restart,
    every_error_of_a_body_has_its_pointer, a_clash_with_another_object_names_the_file_and_line,
    a_workspace_of_a_file_is_changed_in_the_file_alone, a_version_that_is_not_the_newest_changes_nothing,
    the_same_put_again_is_no_change, while_a_file_is_not_valid_nothing_can_be_changed,
    a_change_brings_no_files_that_a_reload_refused, an_address_whose_sessions_nobody_can_count_is_not_taken_away,
    a_full_disk_changes_nothing,
    every_change_is_in_the_audit_log_with_who_what_from_and_to, what_is_applied_and_drained_is_in_the_audit_log,
    workers_and_gateways_are_in_the_audit_log, what_changes_by_itself_is_in_the_audit_log_as_the_daemons_doing,
    the_workers_of_a_host_that_is_forgotten_are_in_the_audit_log,
    a_host_registers_no_more_workers_than_it_may,
    the_audit_log_may_be_rotated,
    requests_that_make_no_sense_are_refused, the_openapi_document_is_what_the_daemon_does, a_client_that_does_not_wait_for_its_answer_harms_nobody,
]
WITH_DATAPLANE = [
    an_answer_comes_when_the_change_is_in_force,
    every_object_says_what_is_wanted_what_is_so_why_and_since_when,
    the_list_of_egress_ips_is_what_is_in_force_not_what_is_wanted,
]

if __name__ == "__main__":
    sys.exit(base.run_tests(ALONE, WITH_DATAPLANE))
