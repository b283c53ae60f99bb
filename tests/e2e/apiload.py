#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""apiload.py KUBECONFIG TAG SEED STOP-FILE: clients of an API server that may be killed at any moment and come back. STOP-FILE.begun says that it runs, which it does
until STOP-FILE appears; then it says what was sent, answered, wrong and retried, and ends with 1 when anything was wrong.

- 6 writers create, update (with resourceVersion), patch and delete Services, ConfigMaps and Pods (that no node takes). Each owns its objects, so it knows the
  only states that the server may show. No write is sent twice: after one that got no answer the writer asks (until the server is back: the retried reads)
  which of the two states holds.
- 4 watchers (each kind; ConfigMaps twice) go on from the last revision after each break. Revisions rise, each object's life makes sense (added, modified,
  deleted), no counter in an object goes back, and every acknowledged write was told at its revision.
- 2 readers list, whole and in pages: the list's revision never goes back and is never behind a write acknowledged before; no item is newer than its list;
  what no writer touched meanwhile is there as it was acknowledged; what was deleted is not."""
import json
import os
import random
import sys
import threading
import time
from collections import Counter

from kubeclient import FAILURES, connect

NS = "/api/v1/namespaces/default/"
KINDS = ("services", "configmaps", "pods")
WRITERS, SLOTS = 6, 9
LIMIT_S = 120  # for a server to come back
PACE_S = 0.004  # between two requests of a client: this is to meet kills, not to measure


class Slot:
    """One name that one writer owns. `value` is the counter in the object, 0: it does not exist."""

    def __init__(self, kind, name):
        self.kind, self.name = kind, name
        self.path = NS + kind + "/" + name
        self.value, self.rv, self.uid = 0, 0, None
        self.last = 0  # the highest counter ever sent
        self.busy, self.turn = False, 0  # for the readers: whether and how often it is written


class Load:
    def __init__(self, kubeconfig, tag, seed, stop):
        self.connection, self.tag, self.seed, self.stop_file = connect(kubeconfig), tag, seed, stop
        self.lock = threading.Lock()
        self.count, self.wrong = Counter(), []
        self.slots = {}
        self.acked = []  # (revision or 0 for a deletion without one, event type, kind, name, value)
        self.floor = 0  # the highest revision that anybody was told
        self.writing = WRITERS
        self.listening = threading.Semaphore(0)  # one up for each watcher that knows where it begins

    def stopped(self):
        return os.path.exists(self.stop_file)

    def bad(self, text):
        with self.lock:
            self.wrong.append(text)

    def call(self, c, what, method, path, body=None, content="application/json"):
        """(status, object); FAILURES when there was no answer."""
        with self.lock:
            self.count[what, "sent"] += 1
        c.request(method, path, body, {"Content-Type": content} if body else {})
        r = c.getresponse()
        text = r.read()
        o = json.loads(text) if text else {}
        with self.lock:
            self.count[what, "answered"] += 1
        return r.status, o

    def reconnect(self, what, path):
        """The object at `path` once the server is back (None: there is none) and the new connection."""
        end = time.monotonic() + LIMIT_S
        while time.monotonic() < end:
            try:
                c = self.connection()
                status, o = self.call(c, what, "GET", path)
                if status in (200, 404):
                    return c, o if status == 200 else None
            except FAILURES:
                pass
            with self.lock:
                self.count[what, "retried"] += 1
            time.sleep(0.02)
        raise RuntimeError("the server does not come back")


def value_of(o):
    return int(o["metadata"].get("annotations", {}).get("n", 0))


class Writer:
    def __init__(self, load, k):
        self.load, self.random = load, random.Random(f"{load.seed}-{k}")
        self.slots = []
        for j in range(SLOTS):
            s = Slot(KINDS[j % 3], f"f-{load.tag}-{k}-{j}")
            self.slots.append(s)
            load.slots[s.kind, s.name] = s

    def body(self, s, value, rv=None):
        meta = {"name": s.name, "annotations": {"n": str(value)}}
        if rv:
            meta["resourceVersion"] = str(rv)
        o = {"metadata": meta}
        if s.kind == "configmaps":
            o["data"] = {"n": str(value), "x": "x" * self.random.randrange(2000)}
        elif s.kind == "services":
            o["spec"] = {"ports": [{"port": 80}], "selector": {"nobody": s.name}}
        else:
            o["spec"] = {"containers": [{"name": "c", "image": "fairlead/echo"}], "nodeSelector": {"nowhere": "x"}}
        return o

    def told(self, s, event, o, value):
        """An acknowledged write."""
        rv = int(o.get("metadata", {}).get("resourceVersion") or 0)
        load = self.load
        with load.lock:
            load.acked.append((rv, event, s.kind, s.name, value))
            load.floor = max(load.floor, rv)
        if event != "DELETED":
            if rv <= s.rv:
                load.bad(f"{s.kind} {s.name}: revision {rv} after {s.rv}")
            if value_of(o) != value:
                load.bad(f"{s.kind} {s.name}: answered with counter {value_of(o)}, {value} was sent")
            s.rv, s.uid = rv, o["metadata"]["uid"]
        s.value = value if event != "DELETED" else 0

    def found(self, s, o, before, after):
        """After a request without an answer: the object is in the state before or after it, or somebody lies."""
        value = value_of(o) if o else 0
        if value not in (before, after):
            self.load.bad(f"{s.kind} {s.name}: has counter {value}; acknowledged was {before}, {after} was under way")
        if o and s.uid and o["metadata"]["uid"] != s.uid and before != 0:
            self.load.bad(f"{s.kind} {s.name}: another object of that name")
        s.value = value
        if o:
            s.rv, s.uid = int(o["metadata"]["resourceVersion"]), o["metadata"]["uid"]
            with self.load.lock:
                self.load.floor = max(self.load.floor, s.rv)

    def write(self, c, s):
        """One write; the connection to go on with."""
        load, before = self.load, s.value
        kind = self.random.choice(("put", "patch", "patch", "delete", "stale"))
        if not before or not s.uid:
            kind = "create"
        if kind == "put" and s.kind == "pods":
            kind = "patch"  # the scheduler writes its status: a guarded update would lose at random
        after = 0 if kind == "delete" else s.last + 1
        s.last = max(s.last, after)
        try:
            if kind == "create":
                status, o = load.call(c, "writes", "POST", NS + s.kind, json.dumps(self.body(s, after)))
                event, good = "ADDED", 201
            elif kind == "put":
                o = self.body(s, after, s.rv)
                status, o = load.call(c, "writes", "PUT", s.path, json.dumps(o))
                event, good = "MODIFIED", 200
            elif kind == "delete":
                body = {"gracePeriodSeconds": 0, "preconditions": {"uid": s.uid}}
                status, o = load.call(c, "writes", "DELETE", s.path, json.dumps(body))
                event, good = "DELETED", 200
            else:
                patch = {"metadata": {"annotations": {"n": str(after)}}}
                if kind == "stale":
                    patch["metadata"]["resourceVersion"] = "1"
                status, o = load.call(c, "writes", "PATCH", s.path, json.dumps(patch), "application/merge-patch+json")
                event, good = "MODIFIED", 200
        except FAILURES:
            with load.lock:
                load.count["writes", "in doubt"] += 1
            c, o = load.reconnect("reads", s.path)
            self.found(s, o, before, before if kind == "stale" else after)
            return c
        if kind == "stale":
            if status != 409:
                load.bad(f"{s.kind} {s.name}: a write with an old resourceVersion was answered {status}")
        elif status != good:
            load.bad(f"{s.kind} {s.name}: {kind} was answered {status} {o.get('message')}")
            c, o = load.reconnect("reads", s.path)
            self.found(s, o, before, after)
        else:
            if kind == "delete" and s.kind != "pods":
                o = {}  # a Status; its revision is not told
            self.told(s, event, o, after)
        return c

    def run(self):
        load = self.load
        c, _ = load.reconnect("reads", NS + "configmaps/none")
        written = 0
        while written < 20 or not load.stopped():  # however soon that is
            written += 1
            s = self.random.choice(self.slots)
            s.busy = True
            c = self.write(c, s)
            s.turn += 1
            s.busy = False
            time.sleep(PACE_S)
        with load.lock:
            load.writing -= 1


class Watcher:
    """All events of a kind, from the state that it listed first."""

    def __init__(self, load, kind):
        self.load, self.kind, self.rv, self.have = load, kind, 0, {}
        self.events, self.breaks, self.until = {}, 0, None
        self.highest = Counter()

    def note(self, e):
        load, o = self.load, e["object"]
        if e["type"] == "ERROR":
            load.bad(f"watch of {self.kind} from {self.rv}: {o.get('code')} {o.get('message')}")
            self.rv = None
            return
        rv, name = int(o["metadata"]["resourceVersion"]), o["metadata"].get("name")
        if rv < self.rv or (rv == self.rv and e["type"] != "BOOKMARK"):
            load.bad(f"watch of {self.kind}: {e['type']} {name} at revision {rv} after {self.rv}")
        self.rv = rv
        if e["type"] == "BOOKMARK":
            return
        with load.lock:
            load.count["events", "answered"] += 1
        value = value_of(o)
        if (e["type"] == "ADDED") == (name in self.have):
            load.bad(f"watch of {self.kind}: {e['type']} {name} at {rv}, which is {'there' if name in self.have else 'not there'} already")
        if value < self.highest[name]:
            load.bad(f"watch of {self.kind}: {e['type']} {name} at {rv} has counter {value} after {self.highest[name]}")
        self.highest[name] = value
        self.events[rv] = (e["type"], name, value)
        if e["type"] == "DELETED":
            self.have.pop(name, None)
        else:
            self.have[name] = rv

    def stream(self):
        c = self.load.connection(timeout=0.3)
        c.request("GET", f"{NS}{self.kind}?watch=1&allowWatchBookmarks=true&resourceVersion={self.rv}")
        r = c.getresponse()
        if r.status != 200:
            r.read()
            if r.status != 503:
                self.load.bad(f"watch of {self.kind} from {self.rv} was answered {r.status}")
            return
        for line in iter(r.readline, b""):
            if not line.endswith(b"\n"):
                return  # cut short by the kill
            self.note(json.loads(line))
            if self.rv is None or (self.until and self.rv >= self.until):
                return

    def listed(self):
        end = time.monotonic() + LIMIT_S
        while time.monotonic() < end:
            try:
                c = self.load.connection()
                status, o = self.load.call(c, "lists", "GET", NS + self.kind)
                if status == 200:
                    return int(o["metadata"]["resourceVersion"]), o["items"]
            except FAILURES:
                pass
            time.sleep(0.02)
        raise RuntimeError("the server does not come back")

    def run(self):
        self.rv, items = self.listed()
        self.first = self.rv
        self.load.listening.release()
        self.have = {o["metadata"]["name"]: int(o["metadata"]["resourceVersion"]) for o in items}
        while True:
            if self.until is None and self.load.writing == 0:
                # The newest event of the kind is that of the newest item or of a deletion, so one more write marks the end.
                c, _ = self.load.reconnect("reads", NS + "configmaps/none")
                o = {"metadata": {"name": f"end-{self.load.tag}-{id(self)}"}}
                if self.kind == "services":
                    o["spec"] = {"ports": [{"port": 80}]}
                if self.kind == "pods":
                    o["spec"] = {"containers": [{"name": "c", "image": "fairlead/echo"}], "nodeSelector": {"nowhere": "x"}}
                status, o = self.load.call(c, "writes", "POST", NS + self.kind, json.dumps(o))
                if status != 201:
                    self.load.bad(f"the last write of {self.kind} was answered {status}")
                    return
                self.until = int(o["metadata"]["resourceVersion"])
            try:
                self.stream()
            except TimeoutError:
                continue  # nothing to tell
            except FAILURES:
                pass
            if self.rv is None or (self.until and self.rv >= self.until):
                break
            self.breaks += 1
            time.sleep(0.01)
        if self.rv is not None:
            self.check()

    def check(self):
        load = self.load
        deleted = Counter(name for t, name, _ in self.events.values() if t == "DELETED")
        acked_deletions = Counter()
        for rv, event, kind, name, value in load.acked:
            if kind != self.kind or (rv and rv <= self.first):
                continue
            if rv == 0:
                acked_deletions[name] += 1
                continue
            have = self.events.get(rv)
            if event == "DELETED":
                value = have[2] if have else 0  # the last state's counter
            if have != (event, name, value):
                load.bad(f"watch of {kind}: {event} {name} with counter {value} was acknowledged at {rv}, told was {have}")
        for name, n in acked_deletions.items():
            if deleted[name] < n:
                load.bad(f"watch of {self.kind}: {name} was deleted {n} times, {deleted[name]} were told")
        _, items = self.listed()
        now = {o["metadata"]["name"]: int(o["metadata"]["resourceVersion"]) for o in items}
        mine = {n: rv for n, rv in self.have.items() if n.startswith(f"f-{load.tag}-")}
        theirs = {n: rv for n, rv in now.items() if n.startswith(f"f-{load.tag}-")}
        if mine != theirs:
            load.bad(f"watch of {self.kind} ended with {set(mine.items()) ^ set(theirs.items())} different from the list")


def reader(load, k):
    rnd = random.Random(f"{load.seed}-reader-{k}")
    c, _ = load.reconnect("reads", NS + "configmaps/none")
    newest = 0
    while not load.stopped():
        kind, limit = rnd.choice(KINDS), rnd.choice((0, 0, 7))
        with load.lock:
            before = {key: (s.turn, s.busy, s.value, s.rv) for key, s in load.slots.items() if key[0] == kind}
            floor = load.floor
        items, more, rv = [], "", None
        try:
            while True:
                status, o = load.call(c, "lists", "GET", NS + kind + (f"?limit={limit}" if limit else "") + (f"&continue={more}" if more else ""))
                if status != 200:
                    load.bad(f"list of {kind} was answered {status} {o.get('message')}")
                    break
                this = int(o["metadata"]["resourceVersion"])
                if rv not in (None, this):
                    load.bad(f"list of {kind}: a page of revision {this} after one of {rv}")
                rv = this
                items += o["items"]
                more = o["metadata"].get("continue")
                if not more:
                    break
        except FAILURES:
            c, _ = load.reconnect("reads", NS + "configmaps/none")
            continue
        if rv is None:
            continue
        if rv < floor or rv < newest:
            load.bad(f"list of {kind} is of revision {rv}; acknowledged was {floor}, read before was {newest}")
        newest = rv
        seen = {o["metadata"]["name"]: o for o in items}
        if len(seen) != len(items):
            load.bad(f"list of {kind} has a name twice")
        for name, o in seen.items():
            if int(o["metadata"]["resourceVersion"]) > rv:
                load.bad(f"list of {kind} of revision {rv}: {name} is of {o['metadata']['resourceVersion']}")
        with load.lock:
            after = {key: (s.turn, s.busy) for key, s in load.slots.items() if key[0] == kind}
        for key, (turn, busy, value, _) in before.items():
            if busy or after[key] != (turn, False):
                continue
            got = value_of(seen[key[1]]) if key[1] in seen else 0
            if got != value:
                load.bad(f"list of {kind} of revision {rv}: {key[1]} has counter {got}, acknowledged was {value}")
        time.sleep(PACE_S * 5)


def tidy(load):
    """What an earlier load left goes: it is not to grow with the rounds."""
    c, _ = load.reconnect("reads", NS + "configmaps/none")
    for kind in KINDS:
        for o in load.call(c, "lists", "GET", NS + kind)[1]["items"]:
            if o["metadata"]["name"].startswith(("f-", "end-")):
                load.call(c, "writes", "DELETE", NS + kind + "/" + o["metadata"]["name"])


def main():
    load = Load(*sys.argv[1:5])
    tidy(load)
    writers = [Writer(load, k) for k in range(WRITERS)]
    watchers = [Watcher(load, kind) for kind in (*KINDS, "configmaps")]

    def guarded(f, *args):
        def run():
            try:
                f(*args)
            except Exception as e:  # a thread that dies must not look like one that found nothing
                load.bad(f"{f.__qualname__}: {type(e).__name__} {e}")
                with load.lock:
                    load.writing -= 1 if f.__qualname__.startswith("Writer") else 0
        return threading.Thread(target=run)
    threads = [guarded(w.run) for w in watchers] + [guarded(w.run) for w in writers] + [guarded(reader, load, k) for k in range(2)]
    for t in threads[:len(watchers)]:
        t.start()
    for _ in watchers:  # a deletion's answer has no revision: none may come before its watcher listens
        load.listening.acquire(timeout=LIMIT_S)
    for t in threads[len(watchers):]:
        t.start()
    with open(load.stop_file + ".begun", "w", encoding="utf-8"):
        pass  # from here on the server may be killed
    for t in threads:
        t.join()
    revisions = Counter(rv for rv, *_ in load.acked if rv)
    for rv, n in revisions.items():
        if n > 1:
            load.bad(f"revision {rv} was given to {n} writes")
    n = load.count
    lines = [f"{what}: {n[what, 'sent']} sent, {n[what, 'answered']} answered, {n[what, 'retried']} retried" for what in ("writes", "lists", "reads")]
    lines.append(f"watches: {n['events', 'answered']} events told, {sum(w.breaks for w in watchers)} times interrupted")
    lines.append(f"{len(load.acked)} writes acknowledged, {n['writes', 'in doubt']} without an answer, {len(load.wrong)} wrong")
    lines += [f"wrong: {w}" for w in load.wrong[:30]]
    os.write(1, ("\n".join(lines) + "\n").encode())  # at once: others write to the same file
    return 1 if load.wrong or len(load.acked) < 20 else 0


sys.exit(main())
