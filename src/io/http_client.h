// SPDX-License-Identifier: Apache-2.0
// HTTP(S) client on a libuv loop. Connections are reused; over TLS, HTTP/2 is used when the server offers it, with one
// connection for all calls to an origin (scheme, host, port). Calls that are made in one turn of the loop leave
// together. Neither proxies nor redirects are followed. How it works: io/http/client.h.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

#include "base/err.h"

struct fl_http_client;
struct fl_http_call;

struct fl_http_client_opts {
	const char *ca_pem;             // NULL: the system's bundle, loaded only then
	const char *cert_pem, *key_pem; // client certificate, or NULL
	const char *bearer_token;       // or NULL
	const char *tls_server_name;    // name to verify instead of the URL's host, or NULL
	bool insecure_skip_verify;
	bool http1; // never HTTP/2: a connection for each call
	const char *user_agent;
};

FL_WUR int fl_http_client_new(uv_loop_t *loop, const struct fl_http_client_opts *opts, struct fl_http_client **ret,
			      struct fl_err *err);
void fl_http_client_free(struct fl_http_client **c); // cancels what is under way, without callbacks

struct fl_http_call_opts {
	const char *method, *url; // copied; spaces and bytes beyond ASCII in the path are escaped
	// "Name: value", NULL-terminated, or NULL; copied. "Name:" keeps back what the client would send of that name.
	const char *const *headers;
	const void *body; // copied
	size_t body_len;
	bool h2c;                    // HTTP/2 without TLS and without asking (RFC 9113 3.3); for gRPC
	bool fresh;                  // on a connection of its own, which is closed after it
	unsigned timeout_ms;         // whole call; 0 = none (watches)
	unsigned connect_timeout_ms; // 0 = 10 s
	unsigned stall_timeout_ms;   // no byte for that long ends the call; 0 = none
	// All run on the loop's thread. on_data with status of the response; data is not NUL-terminated.
	void (*on_data)(void *arg, int status, const char *data, size_t len); // NULL: collected, see on_done
	// Exactly once, unless cancelled. rc 0: a response came, whatever its status; `body` holds what was collected
	// (NUL-terminated). rc < 0: no full response; err says why: -ECONNREFUSED and its like, -EHOSTUNREACH (also:
	// the name does not resolve), -ETIMEDOUT, -ECONNRESET (cut short), -EKEYREJECTED (the server's certificate),
	// -EMSGSIZE (beyond FL_MAX_RESPONSE_BYTES), -EPROTO.
	void (*on_done)(void *arg, int rc, int status, const char *body, size_t len, const struct fl_err *err);
	void *arg;
};

// Starts a call; *ret (may be NULL) stays valid until on_done has run. -EINVAL: what was asked cannot be sent. No
// callback runs before this has returned. A call that the server has certainly not looked at is started again on
// another connection; so is, once, a GET or HEAD without an answer whose connection the server closed after it had
// served others.
FL_WUR int fl_http_client_call(struct fl_http_client *c, const struct fl_http_call_opts *opts,
			       struct fl_http_call **ret, struct fl_err *err);
void fl_http_call_cancel(struct fl_http_call **call); // no callback runs after this; accepts NULL inside
// A response header or trailer of a call whose first data or end has come; NULL when absent. Valid inside the
// callbacks.
const char *fl_http_call_header(const struct fl_http_call *call, const char *name);
// Back-pressure for a streamed body: no on_data until resumed. What came already is kept, at most a window (2 MiB) of
// it over HTTP/2, where the other calls of the connection are not held up.
void fl_http_call_pause(struct fl_http_call *call, bool pause);
