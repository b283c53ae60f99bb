// SPDX-License-Identifier: Apache-2.0
// Every quantity that a client controls has its bound here, with the reason.
#pragma once

#define FL_MAX_BODY_BYTES (3 * 1024 * 1024) // request body; kube-apiserver's own limit (3 MiB)
#define FL_MAX_OBJECT_BYTES                                                                                            \
	(1536 * 1024)              // object at rest; etcd's request limit (1.5 MiB), so that an etcd store can hold it
#define FL_MAX_JSON_DEPTH      512 // nesting; deeper than any kind, shallow enough for the stack
#define FL_MAX_JSON_PATCH_OPS  10000             // kube-apiserver's own limit
#define FL_MAX_JSON_COPY_BYTES (3 * 1024 * 1024) // sum of what a JSON patch copies; kube-apiserver's own limit
#define FL_MAX_YAML_ALIASES    (4 * 1024 * 1024) // bytes, as JSON, that the aliases of a document expand to
#define FL_MAX_HEADER_BYTES    (64 * 1024)       // one request's header block, as in nghttp2's default
#define FL_MAX_URL_BYTES       (8 * 1024)        // selectors are long; a URL beyond this is an attack
#define FL_MAX_CONNECTIONS     4096              // server connections; each silent one costs about 30 KiB
#define FL_MAX_NODE_CLIENTS    256               // connections to a node endpoint: API servers alone may ask it
#define FL_MAX_PROBE_CLIENTS   64                // connections to a health or metrics port, which answers at once
#define FL_MAX_STREAMS         1024              // concurrent HTTP/2 streams a connection; one watch is one stream
#define FL_IDLE_TIMEOUT_MS     (180 * 1000)      // a connection without a request in flight
#define FL_HANDSHAKE_MS        (10 * 1000) // from the connection to the end of its TLS handshake, which holds 50 KiB
#define FL_HEADER_TIMEOUT_MS   (30 * 1000) // from the first byte of a request to the end of its headers
#define FL_BODY_TIMEOUT_MS     (60 * 1000) // from the headers to the end of the body
#define FL_STALL_TIMEOUT_MS    (60 * 1000) // a peer that takes none of the bytes waiting for it
#define FL_HALF_CLOSE_MS       (10 * 1000) // answering a peer that shut its sending side; also how a dead one ends
#define FL_MAX_HEADERS         256         // header fields of a request; bounds the index over them
#define FL_MAX_HELD_BYTES      (256 * 1024 * 1024) // headers and bodies of all unanswered requests of a server together
#define FL_MAX_UNSENT_BYTES    (128 * 1024 * 1024) // answers of a server that their readers have not taken, together
#define FL_MAX_RESPONSE_BYTES  (512 * 1024 * 1024) // response body that our client collects; lists are large
#define FL_WATCH_BUFFER_BYTES  (4 * 1024 * 1024)   // unsent bytes of a slow watcher before it is closed and must relist
#define FL_LIST_DEFAULT_EVENTS 4096                // events kept in memory for watches that start in the past
