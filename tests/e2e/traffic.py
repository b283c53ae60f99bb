#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""traffic.py LABEL STOP-FILE OUTAGES PREFIX TARGET...: clients of Services, one thread a target, a new connection for every request, until STOP-FILE appears.
Run it in the network namespace of the host or of a pod. A target is

  http:ADDR:PORT       GET / must be answered by a host whose name begins with PREFIX
  tcp:ADDR:PORT        one connection to an echo service for the whole time
  udp:ADDR:PORT        a datagram to an echo service, each from a socket of its own
  dns:SERVER:NAME:IP   NAME must have the address IP
  name:SERVER:NAME:PORT  resolves NAME, then as http

Prints `LABEL TARGET: N sent, N answered, N wrong, N lost, N retried`; nothing is ever retried. A DNS query may be lost while DNS is down: OUTAGES has lines
`FROM TO` on the monotonic clock (TO may be missing), and those losses are counted apart. Ends with 1 when anything else was lost or wrong."""
import os
import random
import socket
import struct
import sys
import threading
import time

TIMEOUT_S = {"http": 5, "tcp": 5, "udp": 2, "dns": 1}
PACE_S = 0.01


class Wrong(Exception):
    pass


class Unresolved(Exception):
    """No answer from DNS."""


def http(ip, port, prefix):
    with socket.create_connection((ip, port), TIMEOUT_S["http"]) as s:
        s.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        data = b""
        while True:
            more = s.recv(4096)
            if not more:
                break
            data += more
    head, _, body = data.partition(b"\r\n\r\n")
    if not head:
        raise OSError("closed without an answer")
    name = body.split(b"\n")[0].decode()
    if b" 200 " not in head.split(b"\r\n")[0] or not name.startswith(prefix):
        raise Wrong(f"{head[:40]!r} from {name}")


def udp(ip, port):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(TIMEOUT_S["udp"])
        s.connect((ip, port))
        text = os.urandom(12).hex().encode()
        s.send(text)
        if s.recv(100) != text:
            raise Wrong("another datagram came back")


def resolve(server, name):
    """The A records of `name`."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.settimeout(TIMEOUT_S["dns"])
            s.connect((server, 53))
            number = random.randrange(65536)
            labels = b"".join(bytes([len(p)]) + p.encode() for p in name.split("."))
            s.send(struct.pack(">HHHHHH", number, 0x100, 1, 0, 0, 0) + labels + b"\0\0\1\0\1")
            answer = s.recv(512)
    except OSError as e:
        raise Unresolved(str(e)) from e
    got, flags, _, count = struct.unpack(">HHHH", answer[:8])
    if got != number:
        raise Wrong("the answer to another query")
    if flags & 15 == 2:
        raise Unresolved("SERVFAIL")
    if flags & 15:
        raise Wrong(f"rcode {flags & 15}")
    found, at = [], 12 + len(labels) + 5
    for _ in range(count):
        kind, _, _, size = struct.unpack(">HHIH", answer[at + 2:at + 12])
        if kind == 1:
            found.append(socket.inet_ntoa(answer[at + 12:at + 12 + size]))
        at += 12 + size
    return found


class Target:
    def __init__(self, text, prefix):
        self.text, self.prefix = text, prefix
        self.kind, *self.args = text.split(":")
        self.sent = self.answered = 0
        self.wrong, self.lost, self.unresolved = [], [], []  # (from, to, why)
        self.open = None

    def once(self):
        a = self.args
        if self.kind == "http":
            http(a[0], int(a[1]), self.prefix)
        elif self.kind == "udp":
            udp(a[0], int(a[1]))
        elif self.kind == "tcp":
            if not self.open:
                if self.sent > 1:
                    raise OSError("the connection is gone")
                self.open = socket.create_connection((a[0], int(a[1])), TIMEOUT_S["tcp"])
            text = os.urandom(12).hex().encode()
            try:
                self.open.sendall(text)
                if self.open.recv(len(text), socket.MSG_WAITALL) != text:
                    raise Wrong("another text came back, or none")
            except OSError:
                self.open = None
                raise
        elif self.kind == "dns":
            found = resolve(a[0], a[1])
            if found != [a[2]]:
                raise Wrong(f"found {found}")
        else:
            found = resolve(a[0], a[1])
            if len(found) != 1:
                raise Wrong(f"found {found}")
            http(found[0], int(a[2]), self.prefix)

    def run(self, stop):
        last = False
        while not last:
            last = os.path.exists(stop)  # at least one request, however soon that is
            start = time.monotonic()
            self.sent += 1
            try:
                self.once()
                self.answered += 1
            except Wrong as e:
                self.answered += 1
                self.wrong.append((start, time.monotonic(), str(e)))
            except Unresolved as e:
                self.unresolved.append((start, time.monotonic(), str(e)))
            except OSError as e:
                self.lost.append((start, time.monotonic(), str(e)))
            time.sleep(PACE_S)

    def report(self, label, outages):
        """Whether nothing was lost that must not be."""
        down = lambda u: any(u[0] < to and u[1] > since for since, to in outages)
        excused = [u for u in self.unresolved if down(u)]
        self.lost += [u for u in self.unresolved if not down(u)]
        text = f"{label} {self.text}: {self.sent} sent, {self.answered} answered, {len(self.wrong)} wrong, {len(self.lost)} lost, 0 retried"
        text += f"; {len(excused)} while DNS was down\n" if self.kind in ("dns", "name") else "\n"
        for since, to, why in (self.wrong + self.lost)[:10]:
            text += f"  at {since:.3f} for {to - since:.3f} s: {why}\n"
        os.write(1, text.encode())  # at once: others write to the same file
        return not self.wrong and not self.lost and self.answered > 0


def main():
    label, stop, outages, prefix = sys.argv[1:5]
    targets = [Target(t, prefix) for t in sys.argv[5:]]
    threads = [threading.Thread(target=t.run, args=(stop,)) for t in targets]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    windows = []
    if os.path.exists(outages):
        for line in open(outages, encoding="utf-8"):
            since, *to = map(float, line.split())
            windows.append((since - 0.02, (to[0] if to else float("inf")) + 0.02))  # /proc/uptime has hundredths
    return 0 if all([t.report(label, windows) for t in targets]) else 1


if __name__ == "__main__":
    sys.exit(main())
