#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""scale.py KUBECONFIG DATA_DIR SERVICES: creates three pods and that many Services of them over 16 connections, all roles running. Rows: `name value unit`:
creates and endpoints a second, processor time of each role for one Service, memory of each role when all is there, and 30 s later."""
import glob
import json
import os
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "e2e"))
from kubeclient import connect  # noqa: E402

JSON = {"Content-Type": "application/json"}
SERVICES, ENDPOINTS = "/api/v1/namespaces/default/services", "/api/v1/namespaces/default/endpoints"


def ask(c, method, path, body=None):
    c.request(method, path, json.dumps(body) if body else None, JSON)
    r = c.getresponse()
    text = r.read()
    if r.status >= 300:
        raise SystemExit(f"{method} {path}: {r.status} {text[:200]}")
    return json.loads(text)


def roles(data_dir):
    """comm -> pid of the processes that work on the data directory; containers' shims are left out."""
    found = {}
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        try:
            words = open(path, "rb").read().decode(errors="replace")
            comm = open(os.path.dirname(path) + "/comm", encoding="utf-8").read().strip()
        except OSError:
            continue
        if data_dir in words and comm.startswith("fairlead") and comm != "fairlead-shim":
            found[comm] = int(path.split("/")[2])
    return found


def cpu_s(pid):
    fields = open(f"/proc/{pid}/stat", encoding="utf-8").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def pss_mb(pid):
    for line in open(f"/proc/{pid}/smaps_rollup", encoding="utf-8"):
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    return 0


def show_memory(when, pids):
    each = {name: pss_mb(pid) for name, pid in pids.items()}
    for name, mb in sorted(each.items()):
        print(f"pss_{when}_{name} {mb:.1f} MB")
    print(f"pss_{when}_all {sum(each.values()):.1f} MB", flush=True)


def create(connection, names):
    c = connection()
    for name in names:
        ask(c, "POST", SERVICES, {"metadata": {"name": name}, "spec": {"selector": {"app": "scale"}, "ports": [{"port": 80, "targetPort": 8080}]}})


def main():
    connection, data_dir, n = connect(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    c = connection()
    labels = {"app": "scale"}
    ask(c, "POST", "/apis/apps/v1/namespaces/default/deployments", {
        "metadata": {"name": "scale"}, "spec": {"replicas": 3, "selector": {"matchLabels": labels}, "template": {
            "metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "fairlead/echo"}]}}}})
    while ask(c, "GET", "/apis/apps/v1/namespaces/default/deployments/scale").get("status", {}).get("readyReplicas") != 3:
        time.sleep(0.1)
    pids = roles(data_dir)
    before = {name: cpu_s(pid) for name, pid in pids.items()}
    start = time.monotonic()
    threads = [threading.Thread(target=create, args=(connection, [f"s{i}" for i in range(t, n, 16)])) for t in range(16)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    print(f"created {n / (time.monotonic() - start):.0f} /s")
    while True:
        text = ask(c, "GET", ENDPOINTS + "?limit=1")
        if text["metadata"].get("remainingItemCount", 0) + 1 >= n:
            break
        time.sleep(0.1)
    print(f"with_endpoints {n / (time.monotonic() - start):.0f} /s")
    time.sleep(2)
    for name, pid in sorted(pids.items()):
        print(f"cpu_{name} {(cpu_s(pid) - before[name]) / n * 1e6:.0f} us/Service")
    show_memory("at_once", pids)
    time.sleep(30)
    show_memory("later", pids)


main()
