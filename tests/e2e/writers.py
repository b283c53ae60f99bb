#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""writers.py write KUBECONFIG FILE TAG: 8 connections create ConfigMaps and Services and update and delete them until the server goes away or FILE.stop
appears; each acknowledged state is appended to FILE: `kind name value`, value `-` for deleted. No request is sent twice.
writers.py verify KUBECONFIG FILE: every name's last acknowledged state, or one that was sent after it, is what the server has."""
import http.client
import json
import os
import sys
import threading
import time

from kubeclient import connect

NS = "/api/v1/namespaces/default/"
LIMIT_S = 30


def body(kind, name, value):
    o = {"metadata": {"name": name, "labels": {"value": value}}}
    if kind == "services":
        o["spec"] = {"ports": [{"port": 80}]}
    return json.dumps(o)


def writer(connection, path, tag, k):
    c = connection()
    end = time.monotonic() + LIMIT_S
    with open(path, "a", encoding="utf-8", buffering=1) as acks:
        def do(method, url, data, kind, name, value):
            acks.write(f"sent {kind} {name} {value}\n")
            c.request(method, url, data, {"Content-Type": "application/merge-patch+json" if method == "PATCH" else "application/json"})
            r = c.getresponse()
            r.read()
            if r.status not in (200, 201):
                raise OSError(f"status {r.status}")
            acks.write(f"done {kind} {name} {value}\n")
        n = 0
        try:
            while time.monotonic() < end and not os.path.exists(path + ".stop"):
                kind, name = ("services", "configmaps")[n % 2], f"w-{tag}-{k}-{n}"
                do("POST", NS + kind, body(kind, name, "1"), kind, name, "1")
                do("PATCH", NS + kind + "/" + name, '{"metadata":{"labels":{"value":"2"}}}', kind, name, "2")
                if n % 3 == 0:
                    do("DELETE", NS + kind + "/" + name, None, kind, name, "-")
                n += 1
        except (OSError, http.client.HTTPException):
            pass  # the server went away


def verify(connection, path):
    done, sent = {}, {}
    for line in open(path, encoding="utf-8"):
        parts = line.split()
        if len(parts) != 4:
            continue  # cut short by the kill
        what, kind, name, value = parts
        if what == "done":
            done[(kind, name)] = value
        sent[(kind, name)] = value
    have = {}
    c = connection()
    for kind in ("services", "configmaps"):
        c.request("GET", NS + kind)
        for o in json.loads(c.getresponse().read())["items"]:
            have[(kind, o["metadata"]["name"])] = o["metadata"].get("labels", {}).get("value")
    wrong = [f"{k}: acknowledged {v}, sent {sent[k]}, server has {have.get(k, '-')}" for k, v in done.items() if have.get(k, "-") not in (v, sent[k])]
    tags = {name.rsplit("-", 2)[0] for _, name in sent}
    unknown = [str(k) for k in have if k not in sent and k[1].rsplit("-", 2)[0] in tags]
    print(f"{len(sent)} sent, {len(done)} acknowledged, {len(wrong)} wrong, {len(unknown)} unknown")
    for w in (wrong + unknown)[:20]:
        print(w)
    return 1 if wrong or unknown else 0


def main():
    connection = connect(sys.argv[2])
    if sys.argv[1] == "verify":
        return verify(connection, sys.argv[3])
    threads = [threading.Thread(target=writer, args=(connection, sys.argv[3], sys.argv[4], k)) for k in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return 0


sys.exit(main())
