#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Replays what kube-apiserver answered (tests/golden/oracle/http/*.jsonl) against a running API server. TAP on stdout.

replay.py KUBECONFIG DIRECTORY EXCEPTIONS PID-OF-CONTROLLERS

Exchanges are sent in the order in which they were recorded; status, reason, message, causes, object and warnings are compared. What differs from run to run is
masked on both sides: uids, times, revisions, generated suffixes, and addresses and ports that the server chose. managedFields are left out.
EXCEPTIONS names the exchanges that are not replayed or answered differently on purpose: `file: case: reason` a line. Where the reason begins with "text:",
all but the message is compared. The recorded cluster was asked for a namespace before its controller had begun to empty it: so the controllers are halted from
the namespace's DELETE on.
"""
import json
import os
import re
import signal
import sys
import time

from kubeclient import connect

ORDER = ["namespace", "service-defaults", "service-validation", "read", "write", "type-changes", "endpoints", "workloads", "ingress", "identity", "delete"]
PATIENCE_S = 5
MASKED = {"uid": "UID", "resourceVersion": "RV", "creationTimestamp": "TIME", "deletionTimestamp": "TIME", "lastTransitionTime": "TIME",
          "lastUpdateTime": "TIME", "time": "TIME", "continue": "CONTINUE", "firstTimestamp": "TIME", "lastTimestamp": "TIME"}


def given(request):
    """Every scalar that the client itself sent: what it chose is not masked."""
    out = set()

    def walk(v):
        if isinstance(v, dict):
            for x in v.values():
                walk(x)
        elif isinstance(v, list):
            for x in v:
                walk(x)
        else:
            out.add(str(v))
    body = request.get("body")
    walk(body)
    return out


def mask(v, keep, key=""):
    if isinstance(v, dict):
        out = {}
        for k, x in v.items():
            if k in ("managedFields", "selfLink", "description"):
                continue
            if k in MASKED and isinstance(x, (str, int)) and x != "":
                out[k] = MASKED[k]
            elif k in ("nodePort", "healthCheckNodePort") and isinstance(x, int) and str(x) not in keep:
                out[k] = "PORT"
            else:
                out[k] = mask(x, keep, k)
        return out
    if isinstance(v, list):
        return [mask(x, keep, key) for x in v]
    if isinstance(v, str):
        v = re.sub(r"\b10\.96\.\d+\.\d+\b", lambda m: m.group(0) if m.group(0) in keep else "IP", v)
        v = re.sub(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", "UID", v)
        v = re.sub(r"\b(gen|m|g|webui-[0-9a-z]+)-[a-z0-9]{5}\b", r"\1-SUFFIX", v)
        v = re.sub(r"\bwebui-[0-9a-z]{8,10}\b", "webui-HASH", v)
        if key == "pod-template-hash":
            v = "HASH"
        if key == "cells":
            v = re.sub(r":3\d{4}/", ":PORT/", v)
        if key == "cells" and re.fullmatch(r"(\d+[smhd])+", v):
            v = "AGE"
        if re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", v):
            v = "TIME"
    return v


def causes(body):
    return sorted((c.get("field", ""), c.get("reason", "")) for c in (body.get("details") or {}).get("causes") or [])


def text_of(body, keep):
    return re.sub(r"current: \d+", "current: N", mask(body, keep).get("message", ""))


def compare(want_status, want, got_status, got, keep, with_text=True):
    if want_status != got_status:
        return f"status {got_status}, expected {want_status}: {json.dumps(got)[:400]}"
    if not isinstance(want, dict):
        return None
    if not isinstance(got, dict):
        return f"no object: {str(got)[:200]}"
    if want.get("kind") == "Status" and want.get("status") == "Failure":
        for what, w, g in (("reason", want.get("reason"), got.get("reason")), ("message", text_of(want, keep), text_of(got, keep)), ("causes", causes(want), causes(got)),
                           ("details", {k: v for k, v in (want.get("details") or {}).items() if k in ("name", "group", "kind")},
                            {k: v for k, v in (got.get("details") or {}).items() if k in ("name", "group", "kind")})):
            if w != g and (what != "message" or with_text):
                return f"{what} {g}, expected {w}; message {got.get('message')!r}"
        return None
    w, g = mask(want, keep), mask(got, keep)
    return None if w == g else diff(w, g)


def diff(w, g, path=""):
    if isinstance(w, dict) and isinstance(g, dict):
        for k in sorted(set(w) | set(g)):
            if w.get(k) != g.get(k) or (k in w) != (k in g):
                return diff(w.get(k, "<absent>"), g.get(k, "<absent>"), f"{path}.{k}")
    if isinstance(w, list) and isinstance(g, list) and len(w) == len(g):
        for i, (a, b) in enumerate(zip(w, g)):
            if a != b:
                return diff(a, b, f"{path}[{i}]")
    return f"{path}: {json.dumps(g)[:300]}, expected {json.dumps(w)[:300]}"


def send(connection, request):
    headers = dict(request.get("headers") or {})
    body = request.get("body")
    if body is not None:
        headers["Content-Type"] = request.get("contentType", "application/json")
        body = body if isinstance(body, str) else json.dumps(body)
    headers["Accept"] = request.get("accept", "application/json")
    c = connection()
    try:
        c.request(request["method"], request["path"], body.encode() if body is not None else None, headers)
        r = c.getresponse()
        raw = r.read().decode("utf-8", "replace")
    finally:
        c.close()
    warnings = sorted(r.headers.get_all("Warning") or [])
    try:
        return r.status, json.loads(raw), warnings
    except ValueError:
        return r.status, raw, warnings


def refresh(request, uids, stale):
    """A recorded PUT carries the uid and revision of the object of its day: ours are put in, stale revisions left stale."""
    body = request.get("body")
    if request["method"] != "PUT" or not isinstance(body, dict):
        return request
    request = json.loads(json.dumps(request))
    meta = request["body"].get("metadata") or {}
    key = request["path"].split("?")[0]
    if key in uids:
        uid, rv, address = uids[key]
        if re.fullmatch(r"[0-9a-f-]{36}", meta.get("uid", "")):
            meta["uid"] = uid
        if meta.get("resourceVersion") and not stale:
            meta["resourceVersion"] = rv
        spec = request["body"].get("spec") or {}
        if address and spec.get("clusterIP") and not spec["clusterIP"].startswith("10.96.0."):
            spec["clusterIP"], spec["clusterIPs"] = address, [address]
    return request


def main():
    kubeconfig, folder, exceptions_file, controllers = sys.argv[1:5]
    connection = connect(kubeconfig)
    excepted = {}
    for line in open(exceptions_file, encoding="utf-8"):
        if line.strip() and not line.startswith("#"):
            name, case, reason = line.rstrip("\n").split(": ", 2)
            excepted[(name, case)] = reason
    try:
        return replay(connection, folder, excepted, int(controllers))
    finally:
        os.kill(int(controllers), signal.SIGCONT)


def replay(connection, folder, excepted, controllers):
    uids, n, failed = {}, 0, 0
    for name in ORDER:
        for line in open(os.path.join(folder, name + ".jsonl"), encoding="utf-8"):
            exchange = json.loads(line)
            n += 1
            case = exchange["case"]
            label = f"{n} - {name}: {case}"
            reason = excepted.get((name, case)) or excepted.get((name, "*")) or ""
            with_text = not reason.startswith("text:")
            if reason and with_text:
                print(f"ok {label} # left out: {reason}")
                continue
            request = exchange["request"]
            # Only a first PUT of an object knows its revision; "stale" ones must keep an old one.
            stale = "stale" in case
            if request["method"] == "DELETE" and re.fullmatch("/api/v1/namespaces/[^/]+", request["path"]):
                os.kill(controllers, signal.SIGSTOP)
            status, body, warnings = send(connection, refresh(request, uids, stale))
            if isinstance(body, dict) and (body.get("metadata") or {}).get("uid"):
                meta = body["metadata"]
                path = request["path"].split("?")[0]
                if request["method"] == "POST":
                    path += "/" + meta["name"]
                if not (stale or "dryRun" in request["path"]):
                    address = (body.get("spec") or {}).get("clusterIP") or uids.get(path, ("", "", None))[2]
                    uids[path] = (meta["uid"], meta.get("resourceVersion"), address)
            keep = given(request)
            if request["method"] == "PUT":  # the address in it was the server's choice
                keep -= {(request["body"].get("spec") or {}).get("clusterIP") if isinstance(request["body"], dict) else None}
            why = compare(exchange["status"], exchange.get("body"), status, body, keep, with_text)
            recorded = (exchange.get("headers") or {}).get("Warning")
            if not why and "headers" in exchange and (recorded not in warnings if recorded else warnings):  # the first one was recorded
                why = f"warnings {warnings}, expected {recorded}"
            deadline = time.monotonic() + PATIENCE_S
            while why and request["method"] == "GET" and "watch=" not in request["path"] and time.monotonic() < deadline:
                time.sleep(0.05)  # controllers are on their way
                why = compare(exchange["status"], exchange.get("body"), *send(connection, request)[:2], keep, with_text)
            if why:
                failed += 1
                print(f"not ok {label}\n# {request['method']} {request['path']}\n# {why}")
            else:
                print(f"ok {label}")
    print(f"1..{n}")
    return 1 if failed else 0


sys.exit(main())
