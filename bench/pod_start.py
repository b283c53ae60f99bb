#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""pod_start.py KUBECONFIG RUNS: time from the POST of a pod until a watch shows it Running, its image being there. One pod after the other, then 20 and 100 at once."""
import json
import os
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "e2e"))
from kubeclient import connect  # noqa: E402


def pod(name):
    return json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
                       "spec": {"terminationGracePeriodSeconds": 1, "containers": [{"name": "c", "image": "fairlead/echo"}]}})


PODS = "/api/v1/namespaces/default/pods"


def watch_running(connection, names, seen, started):
    c = connection()
    c.request("GET", PODS + "?watch=1&timeoutSeconds=60")
    r = c.getresponse()
    started.set()
    for line in r:
        o = json.loads(line)["object"]
        name = o["metadata"]["name"]
        if name in names and name not in seen and o.get("status", {}).get("phase") == "Running":
            seen[name] = time.monotonic()
            if len(seen) == len(names):
                break
    c.close()


def run(connection, names):
    seen, started, sent = {}, threading.Event(), {}
    t = threading.Thread(target=watch_running, args=(connection, set(names), seen, started))
    t.start()
    started.wait()
    c = connection()
    for n in names:
        sent[n] = time.monotonic()
        c.request("POST", PODS, pod(n), {"Content-Type": "application/json"})
        r = c.getresponse()
        r.read()
        if r.status != 201:
            raise SystemExit(f"pod {n}: status {r.status}")
    t.join()
    for n in names:
        c.request("DELETE", PODS + "/" + n + "?gracePeriodSeconds=0")
        c.getresponse().read()
    return [(seen[n] - sent[n]) * 1000 for n in names], (max(seen.values()) - min(sent.values())) * 1000


def main():
    connection = connect(sys.argv[1])
    for i in range(1, int(sys.argv[2]) + 1):
        one, _ = run(connection, [f"bench-{i}"])
        print(f"pod_start {i} {one[0]:.0f} ms")
    for n in (20, 100):
        _, all_ms = run(connection, [f"bench-{n}-{i}" for i in range(n)])
        print(f"pods_{n}_at_once 1 {all_ms:.0f} ms")


main()
