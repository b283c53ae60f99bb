# SPDX-License-Identifier: Apache-2.0
"""HTTPS to an API server with the client certificate of a kubeconfig that Fairlead wrote (block YAML, data inline). Standard library only."""
import base64
import http.client
import json
import re
import ssl
import tempfile


def endpoint(path):
    """Host, port and the SSLContext with the client's certificate."""
    text = open(path, encoding="utf-8").read()
    field = lambda name: re.search(rf"{name}: *\"?([^\"\s]+)", text).group(1)
    ctx = ssl.create_default_context(cadata=base64.b64decode(field("certificate-authority-data")).decode())
    with tempfile.NamedTemporaryFile() as pem:
        pem.write(base64.b64decode(field("client-certificate-data")) + base64.b64decode(field("client-key-data")))
        pem.flush()
        ctx.load_cert_chain(pem.name)
    host, port = re.match(r"https://(.*):(\d+)", field("server")).groups()
    return host.strip("[]"), int(port), ctx


def connect(path):
    """A function that opens a connection."""
    host, port, ctx = endpoint(path)
    return lambda timeout=60: http.client.HTTPSConnection(host, port, context=ctx, timeout=timeout)


def get(connection, path):
    """The object at `path`."""
    c = connection()
    c.request("GET", path)
    return json.loads(c.getresponse().read())


FAILURES = (OSError, http.client.HTTPException, json.JSONDecodeError)  # what a server that goes away looks like
