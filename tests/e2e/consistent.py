#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""consistent.py KUBECONFIG DNS-SERVER [NODE]: API objects, kernel, DNS, processes and files of one node say the same. Run in the node's network namespace
alone (`ip netns exec` would hide the cgroups), with the kubeconfig in the data directory. Each line that it prints is a difference. `consistent.py cgroups DIR` prints the cgroups of a data directory.

- endpoints: each ready pod that a Service selects is in its EndpointSlices and Endpoints, and nothing else is
- rules: the maps of the tables `ip fairlead` and `ip6 fairlead` hold the frontends, slots and cluster IPs that Services and EndpointSlices add up to, a
  chain of session affinity names its endpoints, and no chain is left over
- traffic: each Service with endpoints answers, one without refuses
- names: A (AAAA where it is of that family) and PTR of each Service, the addresses of a headless one, SRV of each named port; a name that is gone has no answer
- host: routes, veth links, namespaces, cgroups and directories are those of the pods
- processes: each running container has exactly one shim, which keeps the attempt that the status names, and one first process; the test image said
  once in each attempt's log that it serves, so that nothing was started twice"""
import ipaddress
import json
import os
import re
import socket
import subprocess
import sys

from kubeclient import connect, get


def command(*argv):
    return subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=False).stdout


def ready(pod):
    return not pod["metadata"].get("deletionTimestamp") and any(
        c["type"] == "Ready" and c["status"] == "True" for c in pod.get("status", {}).get("conditions", []))


def connect_outcome(ip, port):
    s = socket.socket(socket.AF_INET6 if ":" in ip else socket.AF_INET)
    s.settimeout(2)
    try:
        s.connect((ip, port))
        return "open"
    except ConnectionRefusedError:
        return "refused"
    except OSError as e:
        return str(e)
    finally:
        s.close()


class Checker:
    def __init__(self, kubeconfig, dns, node):
        connection = connect(kubeconfig)
        self.dns, self.problems = dns, []
        self.data = os.path.dirname(os.path.abspath(kubeconfig))
        # Before the lists and after them, so that what changed meanwhile is no difference.
        self.tables = {family: self.read_table(family) for family in ("ip", "ip6")}
        self.pods = get(connection, "/api/v1/pods")["items"]
        self.slices = get(connection, "/apis/discovery.k8s.io/v1/endpointslices")["items"]
        self.endpoints = get(connection, "/api/v1/endpoints")["items"]
        self.services = get(connection, "/api/v1/services")["items"]
        nodes = [n["metadata"]["name"] for n in get(connection, "/api/v1/nodes")["items"]]
        self.node = node or nodes[0]
        self.mine = [p for p in self.pods if p["spec"].get("nodeName") == self.node]

    def differ(self, what, have, want):
        if have != want:
            only = lambda a, b: sorted(map(str, set(a) - set(b)))[:5]
            self.problems.append(f"{what}: too much {only(have, want)}, missing {only(want, have)}")

    # ---- endpoints

    @staticmethod
    def address(s, family):
        """Its cluster IP of that family, if it has one."""
        return next((ip for ip in s["spec"].get("clusterIPs", []) if ip != "None" and (":" in ip) == (family == "ip6")), None)

    def slices_of(self, s, family=None):
        kinds = {"ip": ("IPv4",), "ip6": ("IPv6",)}.get(family, ("IPv4", "IPv6"))
        return [sl for sl in self.slices if sl["metadata"]["namespace"] == s["metadata"]["namespace"] and sl["addressType"] in kinds
                and sl["metadata"].get("labels", {}).get("kubernetes.io/service-name") == s["metadata"]["name"]]

    def ready_endpoints(self, s, family=None):
        """(slice, endpoint) of those that are ready."""
        return [(sl, e) for sl in self.slices_of(s, family) for e in (sl.get("endpoints") or []) if e.get("conditions", {}).get("ready", True)]

    def behind(self, s, port, family=None):
        """(endpoint, port number) of those ready behind a port of the Service."""
        return [(e, q["port"]) for sl, e in self.ready_endpoints(s, family) for q in sl.get("ports") or []
                if q.get("name", "") == port.get("name", "") and q["protocol"] == port["protocol"]]

    def ready_addresses(self, s, family=None):
        return {a for _, e in self.ready_endpoints(s, family) for a in e["addresses"]}

    def check_endpoints(self):
        services = {(s["metadata"]["namespace"], s["metadata"]["name"]) for s in self.services}
        for sl in self.slices:
            owner = (sl["metadata"]["namespace"], sl["metadata"].get("labels", {}).get("kubernetes.io/service-name"))
            if owner not in services:
                self.problems.append(f"EndpointSlice {sl['metadata']['name']} is of {owner}, which is gone")
        plain = {(e["metadata"]["namespace"], e["metadata"]["name"]):
                 {a["ip"] for sub in e.get("subsets") or [] for a in sub.get("addresses") or []} for e in self.endpoints}
        for s in self.services:
            key = s["metadata"]["namespace"], s["metadata"]["name"]
            selector = s["spec"].get("selector")
            if not selector:
                continue
            families = s["spec"].get("ipFamilies") or ["IPv4"]
            want = [i["ip"] for p in self.pods if p["metadata"]["namespace"] == key[0] and ready(p)
                    and selector.items() <= p["metadata"].get("labels", {}).items() for i in p["status"]["podIPs"]]
            of = lambda family: {ip for ip in want if (":" in ip) == (family == "IPv6")}
            self.differ(f"EndpointSlices of {key}", self.ready_addresses(s), set().union(*map(of, families)))
            self.differ(f"Endpoints of {key}", plain.get(key, set()), of(families[0]))

    # ---- rules

    @staticmethod
    def read_table(family):
        table = {"chains": {}}  # each with the endpoints that its rules name themselves
        if f"table {family} fairlead" not in command("nft", "list", "tables").splitlines():
            return table
        for item in json.loads(command("nft", "-j", "list", "table", family, "fairlead") or '{"nftables": []}')["nftables"]:
            (kind, o), = item.items()
            if kind in ("map", "set"):
                table[o["name"]] = o.get("elem", [])
            elif kind == "chain":
                table["chains"].setdefault(o["name"], set())
            elif kind == "rule":
                to = [e["dnat"] for e in o["expr"] if "dnat" in e]
                table["chains"].setdefault(o["chain"], set()).update((t["addr"], t["port"]) for t in to if isinstance(t.get("addr"), str))
        return table

    def check_rules(self, family):
        """One of two tables. Of a Service with a traffic policy Local only its cluster IP is looked at."""
        table, what = self.tables[family], f"table {family}"
        frontends, slots, affine, skipped, ips = {}, {}, {}, set(), set()
        for s in self.services:
            ip = self.address(s, family)
            if not ip:
                continue
            ips.add(ip)
            own, local = set(), "Local" in (s["spec"].get("internalTrafficPolicy"), s["spec"].get("externalTrafficPolicy"))
            for p in s["spec"].get("ports", []):
                proto, pool = p["protocol"].lower(), {(e["addresses"][0], port) for e, port in self.behind(s, p, family)}
                for prefix, key in (("svc", (ip, proto, p["port"])), ("np", (proto, p.get("nodePort")))):
                    if not key[-1]:
                        continue
                    own.add(key)
                    if local:
                        continue
                    if pool and s["spec"].get("sessionAffinity", "None") != "None":
                        affine[key] = pool
                    else:
                        frontends[key] = f"{prefix}-c{len(pool)}" if pool else "no-endpoints"
                        slots[key] = pool
            if local:
                skipped |= own
                print(f"# skipped: rules of {s['metadata']['name']}, which has a traffic policy Local")
        self.differ(f"cluster IPs of {what}", set(table.get("cluster-ips", [])), ips)
        have = {}
        for name in ("frontends", "node-ports"):
            for key, verdict in table.get(name, []):
                have[tuple(key.get("elem", {}).get("val", key)["concat"])] = verdict["goto"]["target"]
        for key in table.get("empty-frontends", []):
            key = tuple(key.get("elem", {}).get("val", key)["concat"])
            if key in have:
                self.problems.append(f"{key} is a frontend and an empty one")
            have[key] = "no-endpoints"
        used = set(have.values())
        for key, pool in affine.items():
            chain = have.pop(key, "none")
            if not re.match(f"aff-[0-9a-f]{{8}}-c{len(pool)}-", chain):
                self.problems.append(f"{what}: {key} with session affinity to {len(pool)} endpoints leads to chain {chain}")
            self.differ(f"endpoints of {key}, with session affinity", table["chains"].get(chain, set()), pool)
        self.differ(f"frontends of {what}", {i for i in have.items() if i[0] not in skipped}, set(frontends.items()))
        found = {}
        for name in ("slots", "node-port-slots"):
            for key, to in table.get(name, []):
                *key, slot = key["concat"]
                found.setdefault(tuple(key), {})[slot] = tuple(to["concat"])
        for key, pool in slots.items():
            here = found.pop(key, {})
            self.differ(f"slots of {key}", set(here), set(range(len(pool))))
            self.differ(f"endpoints of {key}", set(here.values()), pool)
        self.differ(f"frontends with slots of {what}", set(found) - skipped, set())
        own = {c for c in table["chains"] if re.match(r"(svc|np|aff|from)-", c)}
        self.differ(f"chains of {what}", own - {"svc-c1", "np-c1"}, used - {"no-endpoints", "no-local-endpoints", "svc-c1", "np-c1"})

    def check_traffic(self):
        alike = {}  # Services without endpoints that a load made, all the same: some stand for all
        for s in self.services:
            ip, have = s["spec"].get("clusterIP"), self.ready_addresses(s)
            tcp = [p["port"] for p in s["spec"].get("ports", []) if p["protocol"] == "TCP"]
            alike[bool(have)] = alike.get(bool(have), 0) + 1
            if not ip or ip == "None" or not tcp or alike[bool(have)] > 20:
                continue
            outcome = connect_outcome(ip, tcp[0])
            if outcome != ("open" if have else "refused"):
                self.problems.append(f"service {s['metadata']['name']} {ip}:{tcp[0]}: {outcome} with endpoints {sorted(have)}")

    # ---- names

    def check_names(self):
        want = {}
        for s in self.services:
            name, headless = f"{s['metadata']['name']}.{s['metadata']['namespace']}.svc.cluster.local.", s["spec"].get("clusterIP") == "None"
            for kind, family in (("A", "ip"), ("AAAA", "ip6")):
                ip = self.address(s, family)
                if s["spec"]["type"] == "ExternalName" or (kind == "AAAA" and "IPv6" not in s["spec"].get("ipFamilies", [])):
                    continue
                want[name, kind] = self.ready_addresses(s, family) if headless else {ip} - {None}
                if ip:
                    want[ipaddress.ip_address(ip).reverse_pointer + ".", "PTR"] = {name}
            for p in s["spec"].get("ports", []):
                if not p.get("name"):
                    continue
                srv = {(p["port"], name)}
                if headless:
                    srv = {(port, (e.get("hostname") or re.sub("[.:]", "-", e["addresses"][0])) + "." + name) for e, port in self.behind(s, p)}
                want[f"_{p['name']}._{p['protocol'].lower()}.{name}", "SRV"] = {f"{port} {target}" for port, target in srv}
        # The load's names (apiload.py) that are not there now.
        for tag in {m.group(1) for s in self.services if (m := re.match(r"f-(.*)-\d-\d$", s["metadata"]["name"]))}:
            for k in range(6):
                for j in range(0, 9, 3):
                    want.setdefault((f"f-{tag}-{k}-{j}.default.svc.cluster.local.", "A"), set())
        queries = [word for name, kind in want for word in (name, kind)]
        found = {key: set() for key in want}
        out = command("dig", "+noall", "+answer", "+tries=1", "+time=2", "@" + self.dns, *queries)
        for line in out.splitlines():
            parts = line.split()
            if len(parts) > 4 and parts[0][0] != ";":  # of SRV the port and the target: priority and weight are how, not where
                found.setdefault((parts[0], parts[3]), set()).add(" ".join(parts[6 if parts[3] == "SRV" else 4:]))
        for key, addresses in want.items():
            self.differ(f"DNS {key}", found[key], addresses)

    # ---- host

    def check_host(self):
        uids = {p["metadata"]["uid"] for p in self.mine}
        live = [p for p in self.mine if p.get("status", {}).get("phase") == "Running"]
        live_uids = {p["metadata"]["uid"] for p in live}
        addresses = {p["status"]["podIP"] for p in live if not p["spec"].get("hostNetwork")}
        routes = {}
        for line in command("ip", "route", "show", "proto", "117").splitlines():
            words = line.split()
            if "dev" in words and words[words.index("dev") + 1].startswith("flv"):
                routes[words[0]] = words[words.index("dev") + 1]
        links = set(re.findall(r"^\d+: (flv[0-9a-f]+)", command("ip", "-o", "link"), re.M))
        known = {p.get("status", {}).get("podIP") for p in self.mine}
        if not addresses <= set(routes) <= known:
            self.problems.append(f"routes to {sorted(routes)}, running pods have {sorted(addresses)}, all pods {sorted(filter(None, known))}")
        self.differ("veth links", links, set(routes.values()))
        for what, path in (("namespaces", "run/node/ns"), ("pod directories", "node/pods")):
            here = {name.split(".")[0] for name in self.list(os.path.join(self.data, path))}
            if not live_uids <= here <= uids:
                self.problems.append(f"{what} of {sorted(here - uids)} left over, of {sorted(live_uids - here)} missing")

    @staticmethod
    def list(path):
        try:
            return os.listdir(path)
        except FileNotFoundError:
            return []

    # ---- processes

    def check_processes(self):
        shims, cgroups = [], {}
        pods_dir = os.path.join(self.data, "node/pods")
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/comm", encoding="utf-8") as f:
                    comm = f.read().strip()
                with open(f"/proc/{pid}/cmdline", encoding="utf-8", errors="replace") as f:
                    argv = f.read().split("\0")
                if comm == "fairlead-shim" and argv[1].startswith(pods_dir):
                    shims.append(tuple(argv[1][len(pods_dir) + 1:].split("/")[i] for i in (0, 2, 3)))
                with open(f"/proc/{pid}/cgroup", encoding="utf-8") as f:
                    m = re.search(r"/fairlead-[0-9a-f]+/([0-9a-f-]{36})/(\S+)", f.read())
                if m and comm not in ("runc:[2:INIT]", "fairlead-shim"):
                    cgroups.setdefault(m.groups(), []).append(pid)
            except (OSError, IndexError):
                pass
        want, uids = set(), {p["metadata"]["uid"] for p in self.mine}
        for p in self.mine:
            for c in p.get("status", {}).get("containerStatuses", []):
                if "running" in c.get("state", {}):
                    want.add((p["metadata"]["uid"], c["name"], str(c["restartCount"])))
        self.differ("shims", set(shims), want)
        if len(shims) != len(set(shims)):
            self.problems.append(f"two shims keep one container: {sorted(shims)}")
        ours = self.cgroups_of(self.data)
        if want and not ours:
            self.problems.append("no cgroups to be seen")
        for (uid, name), pids in cgroups.items():
            if uid in uids and len(pids) != 1:
                self.problems.append(f"container {name} of pod {uid} has processes {pids}")
            if uid not in uids and any(os.path.isdir(f"{top}/{uid}") for top in ours):
                self.problems.append(f"pod {uid} is gone, its processes {pids} are not")
        self.differ("containers with processes", {k for k in cgroups if k[0] in uids}, {(u, n) for u, n, _ in want})
        for top in ours:
            left = {d for d in self.list(top) if re.fullmatch(r"[0-9a-f]{8}-[0-9a-f-]{27}", d)} - uids
            if left:
                self.problems.append(f"cgroups of pods that are gone: {sorted(left)}")
        for uid in self.list(pods_dir):
            logs = os.path.join(pods_dir, uid, "logs")
            for name in self.list(logs):
                for attempt in self.list(os.path.join(logs, name)):
                    with open(os.path.join(logs, name, attempt), encoding="utf-8") as f:
                        starts = f.read().count(" serves http ")
                    if starts > 1:
                        self.problems.append(f"attempt {attempt} of container {name} of pod {uid} started {starts} times")

    @staticmethod
    def cgroups_of(data):
        """Where the node's cgroups are: fairlead-<FNV-1a of the data directory>, in one tree or in many."""
        root, h = "/sys/fs/cgroup", 0x811C9DC5
        for byte in os.path.realpath(data).encode():
            h = (h ^ byte) * 0x01000193 & 0xFFFFFFFF
        paths = [f"{d}/fairlead-{h:08x}" for d in [root] + [f"{root}/{name}" for name in Checker.list(root)]]
        return [p for p in paths if os.path.isdir(p)]

    def run(self):
        self.check_endpoints()
        self.check_rules("ip")
        self.check_rules("ip6")
        self.check_traffic()
        self.check_names()
        self.check_host()
        self.check_processes()
        for p in self.problems[:20]:
            print(p)
        print(f"{len(self.services)} Services, {len(self.pods)} pods: {len(self.problems)} differences")
        return 1 if self.problems else 0


if sys.argv[1] == "cgroups":
    print("\n".join(Checker.cgroups_of(sys.argv[2])))
    sys.exit(0)
sys.exit(Checker(sys.argv[1], sys.argv[2], sys.argv[3] if len(sys.argv) > 3 else None).run())
