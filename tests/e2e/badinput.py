#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What no proper client sends: octets of its own making over sockets of its own. Standard library only.

badinput.py KUBECONFIG CASE [ARGUMENT...]   exits 0 when every answer is the expected one, else tells the first that is not
badinput.py KUBECONFIG others DIRECTORY     a proper client beside it, until DIRECTORY/stop appears; see `others`

Cases are the functions of CASES. A case looks at the text of each answer, and that its connection is closed where it must be.
"""
import json
import os
import re
import selectors
import socket
import ssl
import struct
import sys
import threading
import time

from kubeclient import connect, endpoint

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
PATIENCE_S = 30


def fail(text):
    sys.exit(f"badinput: {text}")


def check(ok, text, got=b""):
    if not ok:
        fail(f"{text}; got {got[:400]!r}")


class Server:
    def __init__(self, kubeconfig):
        self.host, self.port, self.ctx = endpoint(kubeconfig)
        self.stranger = ssl.create_default_context()  # without a certificate
        self.stranger.check_hostname, self.stranger.verify_mode = False, ssl.CERT_NONE

    def tcp(self):
        return socket.create_connection((self.host, self.port), timeout=PATIENCE_S)

    def tls(self, known=True, alpn="http/1.1"):
        ctx = self.ctx if known else self.stranger
        ctx.set_alpn_protocols([alpn])
        return ctx.wrap_socket(self.tcp(), server_hostname=self.host)

    def raw(self, octets, known=True):
        """Sends, then reads until the server closes."""
        with self.tls(known) as s:
            try:
                s.sendall(octets)
            except OSError:
                pass  # it has heard enough; the answer is there all the same
            return read_all(s)


def read_all(s):
    out = b""
    try:
        while part := s.recv(65536):
            out += part
    except (ConnectionError, ssl.SSLError):
        pass
    return out


def answers(octets):
    """Status codes of the answers in a stream of them, each with its Content-Length."""
    out = []
    while octets:
        head, found, rest = octets.partition(b"\r\n\r\n")
        check(found and head.startswith(b"HTTP/1."), "an answer is no HTTP", octets)
        length = re.search(rb"(?i)content-length: (\d+)", head)
        out.append(int(head.split()[1]))
        octets = rest[int(length.group(1)):] if length else b""
    return out


def one_refusal(got, code, text, what):
    """Exactly one answer, a Status that says why, and the connection closed."""
    check(answers(got) == [code], f"{what}: expected {code} alone", got)
    status = json.loads(got.partition(b"\r\n\r\n")[2])
    check(status["kind"] == "Status" and status["code"] == code and text in status["message"], f"{what}: expected {text!r}", got)


# --- HTTP/1.1 ---

def smuggling(s):
    host = b"Host: x\r\n"
    hidden = b"DELETE /api/v1/namespaces/default/configmaps/treasure HTTP/1.1\r\nHost: x\r\n\r\n"
    meant_twice = {
        "Content-Length and Transfer-Encoding": b"POST /version HTTP/1.1\r\n" + host + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + hidden,
        "Transfer-Encoding and Content-Length": b"POST /version HTTP/1.1\r\n" + host + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" + hidden,
        "two lengths": b"POST /version HTTP/1.1\r\n" + host + b"Content-Length: 0\r\nContent-Length: 9\r\n\r\n" + hidden,
        "a list of lengths": b"POST /version HTTP/1.1\r\n" + host + b"Content-Length: 0, 9\r\n\r\n" + hidden,
        "a negative length": b"POST /version HTTP/1.1\r\n" + host + b"Content-Length: -1\r\n\r\n" + hidden,
        "a signed length": b"POST /version HTTP/1.1\r\n" + host + b"Content-Length: +0\r\n\r\n" + hidden,
        "a length beyond 64 bits": b"POST /version HTTP/1.1\r\n" + host + b"Content-Length: 18446744073709551616\r\n\r\n" + hidden,
        "an unknown coding": b"POST /version HTTP/1.1\r\n" + host + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + hidden,
        "chunked not last": b"POST /version HTTP/1.1\r\n" + host + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n" + hidden,
        "a folded field": b"GET /version HTTP/1.1\r\n" + host + b"X: a\r\n b\r\n\r\n" + hidden,
        "a bare CR": b"GET /version HTTP/1.1\r\n" + host + b"X: a\rY: b\r\n\r\n" + hidden,
        "a space before the colon": b"POST /version HTTP/1.1\r\n" + host + b"Content-Length : 4\r\n\r\n" + hidden,
        "NUL in a field": b"GET /version HTTP/1.1\r\n" + host + b"X: a\0b\r\n\r\n" + hidden,
        "no Host": b"GET /version HTTP/1.1\r\n\r\n" + hidden,
        "two Hosts": b"GET /version HTTP/1.1\r\n" + host + b"Host: y\r\n\r\n" + hidden,
        "a chunk size beyond 64 bits": b"POST /version HTTP/1.1\r\n" + host + b"Transfer-Encoding: chunked\r\n\r\n10000000000000000\r\n" + hidden,
        "a chunk without size": b"POST /version HTTP/1.1\r\n" + host + b"Transfer-Encoding: chunked\r\n\r\n\r\n" + hidden,
        "an unknown method": b"EAT /version HTTP/1.1\r\n" + host + b"\r\n" + hidden,
        "no HTTP at all": b"\x00\x01\x02 what is this\r\n\r\n" + hidden,
    }
    for what, octets in meant_twice.items():
        one_refusal(s.raw(octets), 400, "malformed or has more than one meaning", what)
    one_refusal(s.raw(b"GET /version HTTP/3.7\r\n" + host + b"\r\n"), 505, "the protocols are", "a version to come")
    # Lines that end with a bare LF have one meaning in every request: refused, or read as lines; never a second request.
    got = s.raw(b"GET /version HTTP/1.1\nHost: x\nConnection: close\n\n")
    check(answers(got) in ([400], [200]), "bare LF", got)
    one_refusal(s.raw(b"CONNECT x:1 HTTP/1.1\r\n" + host + b"\r\n"), 405, "no proxy", "CONNECT")
    one_refusal(s.raw(b"GET x HTTP/1.1\r\n" + host + b"\r\n"), 400, "malformed", "a target that is no path")


def pipelining(s):
    n = 200
    got = s.raw(b"GET /api/v1/namespaces/default HTTP/1.1\r\nHost: x\r\n\r\n" * n + b"GET /version HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    check(answers(got) == [200] * (n + 1), "pipelined requests are answered one by one", got)
    got = s.raw(b"GET https://elsewhere.example/version?pretty=0 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    check(answers(got) == [200] and b"gitVersion" in got, "the absolute form names this server", got)


def too_much(s):
    """What is beyond a bound is refused while it comes: nothing waits for its end."""
    start = b"POST /api/v1/namespaces/default/configmaps HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    one_refusal(s.raw(start + b"Content-Length: 3145729\r\n\r\n"), 413, "Request entity too large: limit is 3145728", "an announced body")
    chunk = b"10000\r\n" + b"a" * 65536 + b"\r\n"
    one_refusal(s.raw(start + b"Transfer-Encoding: chunked\r\n\r\n" + chunk * 64), 413, "Request entity too large: limit is 3145728", "a chunked body")
    one_refusal(s.raw(b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n"), 414, "limit is 8192 bytes", "a long URL")
    one_refusal(s.raw(b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 70000 + b"\r\n\r\n"), 431, "limit is 65536 bytes", "a long field")
    one_refusal(s.raw(b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: a\r\n" * 300 + b"\r\n"), 431, "256 fields", "many fields")
    one_refusal(s.raw(start + b"Expect: wonders\r\nContent-Length: 1\r\n\r\n"), 417, "100-continue", "an expectation")
    c = H2(s)
    c.headers(1, "POST", "/api/v1/namespaces/default/configmaps", end=False)
    sent = 0
    while sent < 4 * 1024 * 1024 and 1 not in c.status:  # no more than a window at once
        c.data(1, b"a" * 16384)
        sent += 16384
        if sent % (512 * 1024) == 0:
            c.turn(lambda: c.window > 600000 or 1 in c.status)
    c.turn(lambda: 1 in c.ended)
    check(c.status.get(1) == 413 and b"limit is 3145728" in c.body[1], "a body without length over HTTP/2", c.body.get(1, b""))
    c.headers(3, "GET", "/version")
    c.turn(lambda: 3 in c.ended)
    check(c.status.get(3) == 200, "the same connection goes on", b"")


def handshakes(s):
    with s.tcp() as c:
        c.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        check(b"Client sent an HTTP request to an HTTPS server" in read_all(c), "plain HTTP at the HTTPS port")
    for garbage in (os.urandom(4096), b"\x16\x03\x01\xff\xff" + b"\x01" * 70000, b"\x16\x03\x01\x00\x05\x01\xff\xff\xff\xff", b"\x80\x2e\x01\x00\x02" + b"\0" * 64):
        with s.tcp() as c:
            try:
                c.sendall(garbage)
                c.shutdown(socket.SHUT_WR)
            except OSError:
                pass
            got = read_all(c)
            check(len(got) < 64, "garbage for a handshake ends with an alert at most", got)


# --- many connections ---

def rss_mib(pid):
    return int(re.search(r"VmRSS:\s+(\d+)", open(f"/proc/{pid}/status", encoding="ascii").read()).group(1)) / 1024


def many(s, pid, kind="silent", n="1000"):
    """n connections that say nothing, or that speak TLS and then say nothing, or half a request, or half a body; meanwhile others are served."""
    pid, n, before = int(pid), int(n), rss_mib(int(pid))
    held = []
    for _ in range(n):
        c = s.tcp() if kind in ("silent", "hello") else s.tls(False)
        if kind == "hello":  # a handshake's first flight and no more
            out = ssl.MemoryBIO()
            o = s.stranger.wrap_bio(ssl.MemoryBIO(), out)
            try:
                o.do_handshake()
            except ssl.SSLWantReadError:
                c.sendall(out.read())
        elif kind == "head":
            c.sendall(b"GET /version HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        elif kind == "body":
            c.sendall(b"POST /version HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n" + b"a" * 1000)
        held.append(c)
    got = s.raw(b"GET /version HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    check(answers(got) == [200], f"a client beside {n} {kind} connections", got)
    during = rss_mib(pid)
    for c in held:
        c.close()
    print(f"{kind}: {n} connections, {before:.0f} MiB before, {during:.0f} MiB with them")
    check(during - before < n * 0.1 + 16, f"{kind}: {before:.0f} MiB before, {during:.0f} MiB with {n} connections")


def slow(s):
    """Connections that stop in the middle of a head, a body, a handshake, an HTTP/2 head; closed by the server, whenever that is. Who has begun a request in
    HTTP/1.1 is told why."""
    def opened(known, octets, alpn="http/1.1"):
        c = s.tls(known, alpn)
        c.sendall(octets)
        return c
    head = b"POST /version HTTP/1.1\r\nHost: x\r\n"
    block = b"\x82"  # :method GET
    waiting = {
        "half a handshake": s.tcp(),
        "half a request line": opened(False, b"GET /vers"),
        "half a head": opened(False, head + b"X-A: b"),
        "half a body": opened(True, head + b"Content-Length: 100000\r\n\r\n{"),
        "half a chunk": opened(True, head + b"Transfer-Encoding: chunked\r\n\r\n100000\r\n{"),
        "half an HTTP/2 head": opened(False, PREFACE + frame(4, 0, 0, b"") + frame(1, 0x1, 1, block), "h2"),
    }
    sel, said = selectors.DefaultSelector(), {}
    for what, c in waiting.items():
        c.settimeout(60)
        sel.register(c, selectors.EVENT_READ, what)
    deadline = time.monotonic() + 85  # 30 s are the limit, 60 for a body
    while waiting and time.monotonic() < deadline:
        for key, _ in sel.select(1):
            try:
                part = key.fileobj.recv(65536)
            except OSError:
                part = b""
            said[key.data] = said.get(key.data, b"") + part
            if not part:
                sel.unregister(key.fileobj)
                waiting.pop(key.data).close()
        for c in list(waiting.values()):  # a byte now and then buys no time
            try:
                if c is not waiting.get("half an HTTP/2 head") and c is not waiting.get("half a handshake"):
                    c.sendall(b"a")
            except OSError:
                pass
    check(not waiting, f"still open: {', '.join(waiting)}")
    for what in ("half a request line", "half a head", "half a body", "half a chunk"):
        one_refusal(said[what], 408, "did not come in time", what)
    print("slow: all are ended")


# --- HTTP/2 ---

def frame(kind, flags, stream, payload):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def literal(name, value):
    """HPACK, never indexed, not compressed."""
    def text(t):
        t = t.encode()
        return (bytes([len(t)]) if len(t) < 127 else b"\x7f" + varint(len(t) - 127)) + t
    return b"\x10" + text(name) + text(value)


def varint(n):
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


class H2:
    """A connection that can send any frame; reads what comes in `turn`."""
    def __init__(self, s, known=True, settings=b""):
        self.s = s.tls(known, "h2")
        self.rest, self.status, self.body, self.ended, self.reset, self.goaway, self.closed = b"", {}, {}, set(), {}, None, False
        self.window = 65535
        self.put(PREFACE + frame(4, 0, 0, settings))

    def put(self, octets):
        try:
            self.s.sendall(octets)
        except OSError:
            self.closed = True
        return not self.closed

    def block(self, method, path):
        return literal(":method", method) + literal(":scheme", "https") + literal(":path", path) + literal(":authority", "x")

    def headers(self, stream, method, path, end=True):
        return self.put(frame(1, 0x4 | end, stream, self.block(method, path)))

    def data(self, stream, octets, end=False):
        self.window -= len(octets)
        return self.put(frame(0, int(end), stream, octets))

    def turn(self, until):
        """Reads frames until the condition, GOAWAY or the end. Windows are given back."""
        deadline = time.monotonic() + PATIENCE_S
        while not until() and not self.closed and time.monotonic() < deadline:
            try:
                part = self.s.recv(65536)
            except TimeoutError:
                break
            except OSError:
                part = b""
            self.feed(part)
        return until()

    def drain(self):
        """Reads what is here, without waiting."""
        self.s.settimeout(0)
        try:
            while not self.closed:
                self.feed(self.s.recv(65536))
        except (ssl.SSLWantReadError, BlockingIOError):
            pass
        except OSError:
            self.closed = True
        self.s.settimeout(PATIENCE_S)

    def feed(self, part):
        self.closed = not part
        self.rest += part
        while len(self.rest) >= 9 and len(self.rest) >= 9 + int.from_bytes(self.rest[:3], "big"):
            n = int.from_bytes(self.rest[:3], "big")
            self.take(self.rest[3], self.rest[4], int.from_bytes(self.rest[5:9], "big") & 0x7fffffff, self.rest[9:9 + n])
            self.rest = self.rest[9 + n:]

    def take(self, kind, flags, stream, payload):
        if kind == 0:
            self.body[stream] = self.body.get(stream, b"") + payload
            if payload:
                self.put(frame(8, 0, 0, struct.pack(">I", len(payload))))
        elif kind == 1:
            # :status is the first field: of the static table, or a literal of three digits
            self.status[stream] = {8: 200, 9: 204, 10: 206, 11: 304, 12: 400, 13: 404, 14: 500}.get(payload[0] & 0x7f) if payload[0] & 0x80 else huffman_digits(payload)
        elif kind == 3:
            self.reset[stream] = int.from_bytes(payload, "big")
            self.ended.add(stream)
        elif kind == 4 and not flags & 1:
            self.put(frame(4, 1, 0, b""))
        elif kind == 7:
            self.goaway = int.from_bytes(payload[4:8], "big")
        elif kind == 8 and not stream:
            self.window += int.from_bytes(payload, "big")
        if kind in (0, 1) and flags & 1:
            self.ended.add(stream)


def huffman_digits(payload):
    """The status in `:status: literal`: three digits, plain or in HPACK's Huffman code."""
    length = payload[1] if payload[0] != 0x0f else payload[2]
    text = payload[2 if payload[0] != 0x0f else 3:][:length & 0x7f]
    if not length & 0x80:
        return int(text)
    bits, out = "".join(f"{b:08b}" for b in text), ""
    short = {"00000": "0", "00001": "1", "00010": "2"}
    while len(out) < 3:
        if bits[:5] in short:
            out, bits = out + short[bits[:5]], bits[5:]
        else:  # 3-9: 011001 ...
            out, bits = out + str(int(bits[:6], 2) - 0b011001 + 3), bits[6:]
    return int(out)


def floods(s, pid):
    """Each flood ends with GOAWAY or a closed connection, and the process keeps its size."""
    pid, before = int(pid), rss_mib(int(pid))
    largest = before
    block = H2.block(None, "GET", "/api/v1/namespaces")

    def rapid_reset(c, i):
        return frame(1, 5, 2 * i + 1, block) + frame(3, 0, 2 * i + 1, struct.pack(">I", 8))

    def continuation(c, i):
        return frame(1, 1, 1, block) if i == 0 else frame(9, 0, 1, literal("x", "a" * 8000))

    def header_bomb(c, i):  # one field of 4,000 octets, indexed, then named thousands of times
        if i == 0:
            return frame(1, 5, 1, block + b"\x40\x01x\x7f" + varint(4000 - 127) + b"a" * 4000)
        return frame(1, 5, 2 * i + 1, block + b"\xbe" * 8000)

    def window_games(c, i):
        return frame(8, 0, 0, struct.pack(">I", 0x7fffffff))

    kinds = {
        "rapid reset": rapid_reset,
        "SETTINGS": lambda c, i: frame(4, 0, 0, b""),
        "PING": lambda c, i: frame(6, 0, 0, b"12345678"),
        "CONTINUATION": continuation,
        "empty DATA": lambda c, i: frame(1, 4, 1, block) if i == 0 else frame(0, 0, 1, b""),
        "PRIORITY": lambda c, i: frame(2, 0, 2 * i + 1, b"\0\0\0\0\0"),
        "header bomb": header_bomb,
        "WINDOW_UPDATE beyond the largest": window_games,
        "a frame too large": lambda c, i: frame(0, 0, 1, b"a" * 20000),
        "PUSH_PROMISE": lambda c, i: frame(5, 4, 1, struct.pack(">I", 2) + block),
    }
    for what, make in kinds.items():
        c = H2(s, known=False)
        for i in range(0, 40000, 50):
            if not c.put(b"".join(make(c, i + k) for k in range(50))):
                break
            c.drain()
            if c.goaway is not None or c.closed:
                break
        c.turn(lambda: c.goaway is not None)
        largest = max(largest, rss_mib(pid))
        check(c.goaway is not None or c.closed, f"{what}: the connection goes on")
        check(c.goaway != 0, f"{what}: GOAWAY without an error")
        c.s.close()
    print(f"floods: {before:.0f} MiB before, {largest:.0f} MiB at most")
    check(largest - before < 48, f"floods: {before:.0f} MiB before, {largest:.0f} MiB at most")


def slow_reader(s, pid):
    """Clients that ask for much and take nothing: what they asked for is bounded, others are served, and it all comes back when they leave."""
    pid, before = int(pid), rss_mib(int(pid))
    held = []
    for _ in range(40):
        c = s.tcp()
        c.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        c = s.ctx.wrap_socket(c, server_hostname=s.host)
        for _ in range(50):
            c.sendall(b"GET /openapi/v2 HTTP/1.1\r\nHost: x\r\n\r\n")
        held.append(c)
    c = H2(s, settings=struct.pack(">HI", 4, 0))  # no window at all
    for i in range(500):
        c.headers(2 * i + 1, "GET", "/openapi/v2")
    got = s.raw(b"GET /version HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    check(answers(got) == [200], "a client beside those who take nothing", got)
    during = rss_mib(pid)
    for h in held + [c.s]:
        h.close()
    print(f"slow readers: {before:.0f} MiB before, {during:.0f} MiB with them")
    check(during - before < 160, f"slow readers: {before:.0f} MiB before, {during:.0f} MiB with them")


def settled(s, pid, first_mib):
    """Memory comes back: no more than 32 MiB above what it was at first, some seconds after the last flood."""
    deadline = time.monotonic() + PATIENCE_S
    while rss_mib(int(pid)) - float(first_mib) > 32:
        if time.monotonic() > deadline:
            fail(f"{rss_mib(int(pid)):.0f} MiB, {first_mib} MiB at first")
        time.sleep(0.1)
    print(f"settled: {rss_mib(int(pid)):.0f} MiB, {first_mib} MiB at first")


# --- the proper client ---

def others(s, kubeconfig, directory):
    """Writes one ConfigMap again and again, reads it back, watches it; DIRECTORY/count tells how often. Ends with DIRECTORY/stop, with status 0 when every
    write was acknowledged, read back and seen by the watch."""
    connection = connect(kubeconfig)
    path = "/api/v1/namespaces/default/configmaps"

    def ask(method, where, body=None):
        c = connection()
        c.request(method, where, json.dumps(body) if body else None, {"Content-Type": "application/merge-patch+json" if method == "PATCH" else "application/json"})
        r = c.getresponse()
        out = json.loads(r.read())
        c.close()
        check(r.status < 300, f"{method} {where}: {r.status} {out.get('message')}")
        return out
    first = ask("POST", path, {"metadata": {"name": "beside"}, "data": {"n": "0"}})
    seen, watcher = set(), connection()
    watcher.request("GET", f"{path}?watch=1&fieldSelector=metadata.name%3Dbeside&resourceVersion={first['metadata']['resourceVersion']}")
    stream = watcher.getresponse()

    def watch():
        for line in stream:
            seen.add(json.loads(line)["object"]["data"]["n"])
    threading.Thread(target=watch, daemon=True).start()
    n = 0
    while not os.path.exists(os.path.join(directory, "stop")):
        n += 1
        ask("PATCH", f"{path}/beside", {"data": {"n": str(n)}})
        check(ask("GET", f"{path}/beside")["data"]["n"] == str(n), "a write is read back")
        with open(os.path.join(directory, "count.new"), "w", encoding="ascii") as f:
            f.write(str(n))
        os.rename(os.path.join(directory, "count.new"), os.path.join(directory, "count"))
        time.sleep(0.01)
    deadline = time.monotonic() + PATIENCE_S
    while len(seen) < n and time.monotonic() < deadline:
        time.sleep(0.05)
    check(seen >= {str(i) for i in range(1, n + 1)}, f"the watch has seen {len(seen)} of {n} writes")
    print(f"others: {n} writes")


# --- DNS over TCP and UDP ---

def dns(s, address, port="53"):
    query = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00" + b"\x0akubernetes\x07default\x03svc\x07cluster\x05local\x00\x00\x01\x00\x01"
    where = (address, int(port))
    u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    u.settimeout(PATIENCE_S)
    for garbage in (b"", b"a", os.urandom(11), b"\xff" * 512, query[:20], query[:12] + b"\xc0\x0c\x00\x01\x00\x01", query[:4] + b"\xff\xff" * 4 + query[12:], query[:2] + b"\x84\x00" + query[4:],
                    query[:12] + b"\x3f" + b"a" * 63 + b"\x40" + b"\0\0\1\0\1", os.urandom(4000)):
        u.sendto(garbage, where)
    u.close()
    u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    u.settimeout(PATIENCE_S)
    u.sendto(query, where)
    got = u.recv(4096)
    check(got[:2] == query[:2] and got[3] & 15 == 0 and got[7] >= 1, "an answer after garbage", got)
    held = []
    for octets in [b"", b"\0", b"\0\x40", b"\xff\xff" + b"a" * 100, struct.pack(">H", len(query)) + query[:10]] * 80:  # more than may be at once
        c = socket.create_connection(where, timeout=PATIENCE_S)
        c.sendall(octets)
        held.append(c)
    with socket.create_connection(where, timeout=PATIENCE_S) as c:
        c.sendall(struct.pack(">H", len(query)) + query)
        got = c.recv(4096)
        check(got[2:4] == query[:2] and got[5] & 15 == 0, "an answer over TCP beside 400 half requests", got)
    with socket.create_connection(where, timeout=PATIENCE_S) as c:
        c.sendall(b"\xff\xff" + b"a" * 5000)
        c.settimeout(PATIENCE_S)
        check(read_all(c) == b"", "a query that is too long ends its connection")
    for c in held:
        c.close()


CASES = {f.__name__: f for f in (smuggling, pipelining, too_much, handshakes, many, slow, floods, slow_reader, settled, dns)}


def main():
    kubeconfig, case, arguments = sys.argv[1], sys.argv[2], sys.argv[3:]
    server = Server(kubeconfig)
    if case == "others":
        others(server, kubeconfig, *arguments)
    else:
        CASES[case](server, *arguments)


main()
