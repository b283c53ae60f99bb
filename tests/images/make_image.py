#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes OCI images for the tests: layouts written by hand, so that they can also be broken in every way.

make_image.py OUT [KEY=VALUE ...]
  OUT              a directory (OCI layout), or a file ending in .tar (OCI archive)
  echo=FILE        program that becomes /bin/fairlead-echo
  name=NAME        org.opencontainers.image.ref.name of the entry; repeatable: one entry each
  fault=KIND       see FAULTS; default none
  text=TEXT        contents of /etc/version, so that two images differ
  user=, cmd=, entrypoint=, env=, workdir=, stopsignal=    of the image's configuration (lists split at commas)
  fill=BYTES       a file of random bytes in its own layer
  zeros=BYTES      a file of zeros in its own layer, which compresses well
  platforms=A,B    one image for each architecture, whose text ends in its name, behind one index
"""
import gzip
import hashlib
import io
import json
import os
import random
import shutil
import sys
import tarfile
import tempfile

FAULTS = ("none", "digest", "size", "config", "nolayer", "traversal", "symlink", "hardlink", "devices", "truncated", "empty",
          "garbage", "badjson", "rootlink")


def blob(root, data):
    digest = hashlib.sha256(data).hexdigest()
    with open(f"{root}/blobs/sha256/{digest}", "wb") as f:
        f.write(data)
    return {"digest": f"sha256:{digest}", "size": len(data)}


def layer(entries):
    """entries: (name, type, mode, content or link target, uid, gid)"""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, kind, mode, content, uid, gid in entries:
            info = tarfile.TarInfo(name)
            info.mode, info.uid, info.gid, info.mtime = mode, uid, gid, 1700000000
            info.type = {"dir": tarfile.DIRTYPE, "file": tarfile.REGTYPE, "link": tarfile.SYMTYPE, "hard": tarfile.LNKTYPE,
                         "block": tarfile.BLKTYPE, "char": tarfile.CHRTYPE, "fifo": tarfile.FIFOTYPE}[kind]
            if kind == "file":
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
            elif kind in ("link", "hard"):
                info.linkname = content
                tar.addfile(info)
            elif kind in ("block", "char"):
                info.devmajor, info.devminor = content
                tar.addfile(info)
            else:
                tar.addfile(info)
    return out.getvalue()


def layers_of(o):
    d = lambda name, mode=0o755: (name, "dir", mode, None, 0, 0)
    f = lambda name, text, mode=0o644, uid=0, gid=0: (name, "file", mode, text, uid, gid)
    echo = open(o["echo"], "rb").read() if "echo" in o else b"#!/bin/false\n"
    passwd = b"root:x:0:0:root:/root:/bin/sh\nweb:x:1000:1001:web:/srv:/bin/sh\n"
    group = b"root:x:0:\nweb:x:1001:\nlogs:x:2000:web\nops:x:2001:root,web\n"
    result = [
        layer([d("bin"), d("etc"), d("tmp", 0o1777), d("srv"), d("old"), d("old/sub"), f("bin/fairlead-echo", echo, 0o755),
               f("etc/passwd", passwd), f("etc/group", group), f("etc/version", b"first layer\n"), f("old/gone", b"gone\n"),
               f("old/sub/a", b"a\n"), f("srv/deleted", b"deleted\n"), f("srv/kept", b"kept\n", 0o640, 1000, 1001)]),
        # Whiteouts: one file, and everything that a directory held.
        layer([d("srv"), f("srv/.wh.deleted", b""), d("old"), f("old/.wh..wh..opq", b""), f("old/new", b"new\n")]),
        layer([f("etc/version", (o.get("text", "three layers") + "\n").encode()), ("bin/echo", "link", 0o777, "fairlead-echo", 0, 0),
               ("srv/hard", "hard", 0o640, "srv/kept", 1000, 1001)]),
    ]
    fault = o.get("fault", "none")
    if fault == "traversal":
        result.append(layer([f("../../../../../../../../tmp/fairlead-escaped-" + o["mark"], b"out\n"),
                             f("/tmp/fairlead-escaped-" + o["mark"], b"out\n")]))
    if fault == "symlink":  # a link out of the tree, then a file through it
        result.append(layer([("way", "link", 0o777, "/tmp", 0, 0), f("way/fairlead-escaped-" + o["mark"], b"out\n"),
                             ("up", "link", 0o777, "../../../../../../../../../../tmp", 0, 0),
                             f("up/fairlead-escaped-" + o["mark"], b"out\n")]))
        result.append(layer([("etc/passwd", "link", 0o777, o.get("target", "/etc/shadow"), 0, 0)]))
    if fault == "rootlink":
        result.append(layer([("./", "link", 0o777, "/tmp", 0, 0), f("fairlead-escaped-" + o["mark"], b"out\n")]))
    if fault == "hardlink":
        result.append(layer([("etc/stolen", "hard", 0o644, "/etc/hostname", 0, 0)]))
    if fault == "devices":
        result.append(layer([("srv/disk", "block", 0o666, (254, 0), 0, 0), ("srv/mem", "char", 0o666, (1, 1), 0, 0),
                             ("srv/fifo", "fifo", 0o644, None, 0, 0)]))
    if "fill" in o:
        result.append(layer([f("srv/fill", random.Random(7).randbytes(int(o["fill"])))]))
    if "zeros" in o:
        result.append(layer([f("srv/zeros", bytes(int(o["zeros"])))]))
    return result


def config_of(o, diff_ids):
    c = {"Env": o.get("env", "PATH=/usr/local/bin:/usr/bin:/bin").split(",")}
    for key, name in (("entrypoint", "Entrypoint"), ("cmd", "Cmd")):
        if key in o:
            c[name] = o[key].split(",") if o[key] else []
    if "entrypoint" not in o and "cmd" not in o:
        c["Entrypoint"] = ["/bin/fairlead-echo"]
    for key, name in (("user", "User"), ("workdir", "WorkingDir"), ("stopsignal", "StopSignal")):
        if key in o:
            c[name] = o[key]
    return {"architecture": o.get("arch", "amd64"), "os": "linux", "config": c, "rootfs": {"type": "layers", "diff_ids": diff_ids},
            "created": "2024-01-01T00:00:00Z", "history": [{"created_by": "make_image.py"} for _ in diff_ids]}


def write_layout(root, o, names):
    fault = o.get("fault", "none")
    os.makedirs(f"{root}/blobs/sha256", exist_ok=True)
    layers, diff_ids = [], []
    for i, raw in enumerate(layers_of(o)):
        diff_ids.append("sha256:" + hashlib.sha256(raw).hexdigest())
        packed = gzip.compress(raw, mtime=0)
        if fault == "garbage" and i == 1:
            packed = packed[:20] + bytes(len(packed) - 20)  # its digest is right, its contents are no gzip
        d = blob(root, packed)
        if fault == "digest" and i == 1:  # contents that are not what the name says
            with open(f"{root}/blobs/sha256/{d['digest'][7:]}", "wb") as f:
                f.write(gzip.compress(raw + bytes(512), mtime=1)[:d["size"]].ljust(d["size"], b"x"))
        if fault == "size" and i == 1:
            d["size"] += 1000
        if fault == "nolayer" and i == 1:
            os.unlink(f"{root}/blobs/sha256/{d['digest'][7:]}")
        layers.append({"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", **d})
    text = json.dumps(config_of(o, diff_ids)).encode()
    config = blob(root, text[:40] if fault == "badjson" else text)
    if fault == "config":
        os.unlink(f"{root}/blobs/sha256/{config['digest'][7:]}")
    manifest = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "config": {"mediaType": "application/vnd.oci.image.config.v1+json", **config}, "layers": layers}
    entry = {"mediaType": "application/vnd.oci.image.manifest.v1+json", **blob(root, json.dumps(manifest).encode())}
    index = {"schemaVersion": 2, "manifests": []}
    for name in names or [None]:
        e = dict(entry)
        if name:
            e["annotations"] = {"org.opencontainers.image.ref.name": name}
        index["manifests"].append(e)
    if fault == "empty":
        index["manifests"] = []
    with open(f"{root}/index.json", "w") as f:
        json.dump(index, f)
    with open(f"{root}/oci-layout", "w") as f:
        json.dump({"imageLayoutVersion": "1.0.0"}, f)


def write_platforms(root, o, names):
    entries = []
    for arch in o["platforms"].split(","):
        write_layout(root, {**o, "arch": arch, "text": f"{o.get('text', '')} {arch}"}, [])
        with open(f"{root}/index.json") as f:
            entries.append({**json.load(f)["manifests"][0], "platform": {"architecture": arch, "os": "linux"}})
    kind = "application/vnd.oci.image.index.v1+json"
    entry = {"mediaType": kind, **blob(root, json.dumps({"schemaVersion": 2, "mediaType": kind, "manifests": entries}).encode())}
    if names:
        entry["annotations"] = {"org.opencontainers.image.ref.name": names[0]}
    with open(f"{root}/index.json", "w") as f:
        json.dump({"schemaVersion": 2, "manifests": [entry]}, f)


def main():
    out, o, names = sys.argv[1], {}, []
    for arg in sys.argv[2:]:
        key, _, value = arg.partition("=")
        if key == "name":
            names.append(value)
        else:
            o[key] = value
    if o.get("fault", "none") not in FAULTS:
        sys.exit(f"make_image.py: unknown fault {o['fault']}")
    o.setdefault("mark", str(os.getpid()))
    write = write_platforms if "platforms" in o else write_layout
    if not out.endswith(".tar"):
        write(out, o, names)
        return
    work = tempfile.mkdtemp(prefix="fairlead-image-")
    try:
        write(work, o, names)
        with tarfile.open(out, "w") as tar:
            for entry in sorted(os.listdir(work)):
                tar.add(f"{work}/{entry}", arcname=entry)
        if o.get("fault") == "truncated":
            os.truncate(out, os.path.getsize(out) // 2)
    finally:
        shutil.rmtree(work)


main()
