#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""store_state.py FILE [REVISION]: the objects in a store's file as they were at a revision (default: the newest), one line each: resource, namespace, name,
revision, revision of creation, uid, hash of the bytes; and first a line with the revision. The file may be in use. Says what the log says, without the server's code."""
import hashlib
import sqlite3
import sys

db = sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True)
db.execute("BEGIN")
at = int(sys.argv[2]) if len(sys.argv) > 2 else db.execute("SELECT max(rev) FROM log").fetchone()[0]
compacted = db.execute("SELECT value FROM meta WHERE key = 'compacted'").fetchone()[0]
if at < compacted:
    sys.exit(f"{sys.argv[1]}: revision {at} is compacted, up to {compacted}")
state = {}
for rev, resource, ns, name, uid, deleted, created, value in db.execute(
    "SELECT rev, resource, ns, name, uid, deleted, create_rev, value FROM log WHERE rev <= ? ORDER BY rev", (at,)
):
    if deleted:
        state.pop((resource, ns, name), None)
    else:
        state[resource, ns, name] = (rev, created, uid, hashlib.sha256(value).hexdigest())
print(at)
for key in sorted(state):
    print(*(part or "-" for part in key), *state[key])
