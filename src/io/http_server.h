// SPDX-License-Identifier: Apache-2.0
// HTTPS server on a libuv loop: HTTP/1.1 (llhttp) and HTTP/2 (nghttp2) behind one request interface. Single-threaded:
// all calls and callbacks on the loop's thread.
//
//   socket -> TLS (OpenSSL, memory BIO) -> ALPN -> h1 or h2 codec -> struct fl_http_req -> handler -> respond | start,
//   write..., end
//
// The body is collected before the handler runs (bounded by FL_MAX_BODY_BYTES, 413 beyond it). Limits and time-outs:
// base/limits.h.
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/str.h"
#include "io/tls.h"

struct fl_http_server;
struct fl_http_req;

// Called once per request, when its body is complete. The handler must answer: at once, or later through the same
// `req`, which lives until the response has ended and `on_close` (if set) has run.
typedef void (*fl_http_handler)(struct fl_http_req *req, void *arg);

// Bounds of one server; 0 in any field = the value of base/limits.h.
struct fl_http_limits {
	unsigned max_connections;
	unsigned max_streams;    // concurrent HTTP/2 requests of a connection
	size_t max_body_bytes;   // of one request
	size_t max_held_bytes;   // headers and bodies of all unanswered requests together; 503 beyond it
	size_t max_unsent_bytes; // of all answers together; beyond it the connection with most of them is cut
	unsigned handshake_ms, idle_ms, header_ms, body_ms;
	unsigned stall_ms;      // a peer takes none of the bytes that wait for it
	unsigned half_close_ms; // an answer to a peer that has shut its sending side
};

struct fl_http_server_opts {
	SSL_CTX *tls; // NULL: plain text (h1 only); the server takes one reference
	fl_http_handler handler;
	void *arg;
	const char *server_name; // for log lines: "apiserver", "node"
	// What a request gets that is refused before the handler sees it (413, 431 ...): appends the body, returns its
	// media type. NULL: the status and its name as plain text.
	const char *(*refusal)(int status, struct fl_buf *body);
	struct fl_http_limits limits;
};

FL_WUR int fl_http_server_new(uv_loop_t *loop, const struct fl_http_server_opts *opts, struct fl_http_server **ret,
			      struct fl_err *err);
// Listens on one more address. Port 0 picks one; *ret_port (may be NULL) is the port in use.
FL_WUR int fl_http_server_listen(struct fl_http_server *s, const struct fl_ip *ip, uint16_t port, uint16_t *ret_port,
				 struct fl_err *err);
// New handshakes use the new context; open connections keep theirs.
void fl_http_server_set_tls(struct fl_http_server *s, SSL_CTX *tls);
// Stops accepting, ends streams (h2 GOAWAY), closes connections after their responses or `grace_ms`; then calls `done`.
void fl_http_server_stop(struct fl_http_server *s, unsigned grace_ms, void (*done)(void *arg), void *arg);
void fl_http_server_free(struct fl_http_server **s); // only after done, or before any listen

// --- the request ---
const char *fl_http_method(const struct fl_http_req *r);
const char *fl_http_path(const struct fl_http_req *r);  // as sent, without the query; not percent-decoded
const char *fl_http_query(const struct fl_http_req *r); // as sent, without '?'; "" when there is none
const char *fl_http_header(const struct fl_http_req *r, const char *lower_case_name); // first value, or NULL
// All values of a repeated header, joined with ", "; NULL when absent. Lives as long as the request.
const char *fl_http_header_all(struct fl_http_req *r, const char *lower_case_name);
bool fl_http_has_header_of(const struct fl_http_req *r, const char *lower_case_prefix); // whose name goes on after it
const char *fl_http_body(const struct fl_http_req *r, size_t *ret_len); // NUL-terminated beyond its length
const struct fl_tls_identity *fl_http_identity(const struct fl_http_req *r);
void fl_http_peer(const struct fl_http_req *r, struct fl_ip *ret_ip, uint16_t *ret_port);
void fl_http_local(const struct fl_http_req *r, struct fl_ip *ret_ip,
		   uint16_t *ret_port); // the address that the client dialed
struct fl_arena;
struct fl_arena *fl_http_arena(struct fl_http_req *r); // dropped with the request

// --- the answer: either one respond, or start, any number of writes, end ---
void fl_http_set_header(struct fl_http_req *r, const char *name,
			const char *value); // copied; before respond/start; may repeat
void fl_http_respond(struct fl_http_req *r, int status, const char *content_type, const void *body,
		     size_t len); // body is copied
void fl_http_respond_bytes(struct fl_http_req *r, int status, const char *content_type,
			   struct fl_bytes *body); // takes a reference of its own
void fl_http_start(struct fl_http_req *r, int status,
		   const char *content_type);                     // chunked or h2 DATA; headers go out at once
void fl_http_write(struct fl_http_req *r, struct fl_bytes *part); // takes a reference of its own; never blocks
void fl_http_end(struct fl_http_req *r);                          // after this `r` must not be used
void fl_http_abort(
    struct fl_http_req *r); // cut the stream (RST_STREAM or close) so that the client sees an unfinished body
size_t
fl_http_unsent(const struct fl_http_req *r); // bytes written and not yet taken by the peer's kernel: back-pressure

// Called once when the response has ended (its last byte went to the kernel) or the client went away, whichever comes
// first; after it `r` must not be used. With `gone` the client left, or the server was stopped, before the end. Set it
// when the answer comes later than the handler's return. It never runs inside a call of this interface, so between the
// end and `cb` further calls with `r` are allowed and do nothing.
// Without it, a request whose client left stays valid until it is answered (which then does nothing).
void fl_http_on_close(struct fl_http_req *r, void (*cb)(struct fl_http_req *r, void *arg, bool gone), void *arg);
