// SPDX-License-Identifier: Apache-2.0
// What the client's files share.
//
//   ../http_client.c calls: made, placed, timed, told of their end          (knows no protocol)
//   client_origin.c  URLs, and which call runs on which connection
//   client_link.c    one connection: name, addresses, TLS, reading, batching of output
//   client_tls.c     whom to trust, and what to say when it fails
//   client_h1.c client_h2.c   calls <-> bytes; one struct fl_link_codec each  (know no sockets)
//
// Life of a call: NEW (until the end of the loop's turn or of the read in which it was made) -> WAITING in its origin's
// line for a connection -> RUNNING on a link -> DONE, until on_done has run. What the user does inside of a callback
// (start, cancel, pause, resume) takes effect at once on the call's queues; nothing calls back from there: `depth` > 0
// means that somebody above will run fl_client_settle.
#pragma once

#include <sys/queue.h>

#include "base/ip.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"
#include "io/http/pipe.h"
#include "io/http_client.h"

#define FL_LINK_IDLE_MS 60000 // a connection without a call is closed then

TAILQ_HEAD(fl_call_list, fl_http_call);
TAILQ_HEAD(fl_link_list, fl_link);
TAILQ_HEAD(fl_origin_list, fl_origin);

enum fl_call_state { FL_CALL_NEW, FL_CALL_WAITING, FL_CALL_RUNNING, FL_CALL_DONE };

struct fl_http_call {
	struct fl_http_client *client;
	struct fl_origin *origin;
	struct fl_link *link; // RUNNING: on it; `fresh` and WAITING: the one that is made for it
	TAILQ_ENTRY(fl_http_call) all, queue, resumed;
	enum fl_call_state state;
	bool fresh, is_head, is_safe, paused, in_resumed, reporting;
	bool sent;     // some of the request has left
	bool answered; // some of the response has come
	bool final;    // status and fields of the final response are here
	bool complete; // all of the response is here
	bool reset;    // h2: by the server
	uint8_t tries;
	int status, rc;
	char *why; // of rc < 0
	int32_t stream_id;
	uint64_t deadline_ms, connect_by_ms, moved_ms; // 0 = none
	unsigned timeout_ms, connect_ms, stall_ms;
	void (*on_data)(void *arg, int status, const char *data, size_t len);
	void (*on_done)(void *arg, int rc, int status, const char *body, size_t len, const struct fl_err *err);
	void *arg;
	struct fl_buf head; // name NUL value NUL ... of response and trailers
	size_t head_bytes;  // of the present block, for its limit
	struct fl_buf body; // collected
	struct fl_buf held; // came while paused, not handed over yet
	// The request.
	const char *method, *target;
	const char *fields, *fields_end; // name NUL value NUL ...; without host and content-length
	const char *host;                // the caller's own, or NULL
	const char *out;
	size_t out_len, out_at; // body; what has left of it
	bool says_length;
	char text[];
};

struct fl_origin {
	struct fl_http_client *client;
	TAILQ_ENTRY(fl_origin) all;
	char *base; // "https://host:port", as the URLs have it
	size_t base_len;
	char *host;      // without brackets
	char *authority; // host or host:port
	uint16_t port;
	bool tls, h2c;
	bool only_h1;    // the server chose so
	struct fl_ip ip; // when the host is an address
	struct fl_call_list waiting;
	struct fl_link_list links;
	unsigned n_waiting, n_making; // links on their way for whoever waits
	unsigned n_calls;             // in whatever state
	TAILQ_ENTRY(fl_origin) marked;
	bool is_marked;       // to be advanced
	SSL_SESSION *session; // to be resumed
};

enum fl_link_state { FL_LINK_MAKING, FL_LINK_HANDSHAKE, FL_LINK_OPEN, FL_LINK_CLOSED };

struct fl_link_codec {
	int (*open)(struct fl_link *l);
	void (*close)(struct fl_link *l);    // frees codec_data
	bool (*has_room)(struct fl_link *l); // for a call more
	int (*start)(struct fl_link *l, struct fl_http_call *call);
	// The link forgets the call, whose response is complete or not wanted any more.
	// False: the link is of no use after it.
	bool (*drop)(struct fl_link *l, struct fl_http_call *call);
	// Takes all n bytes. Negative: the link is beyond use, *why says the reason.
	int (*input)(struct fl_link *l, const char *p, size_t n, const char **why);
	// The server closed. Says what this means to the calls under way: complete now, or cut.
	void (*eof)(struct fl_link *l, bool clean);
	void (*drain)(struct fl_link *l); // fl_link_put until the batch is full or nothing is left
	// A paused call's bytes were handed over now: n; reading may go on unless it is paused again.
	void (*taken)(struct fl_link *l, struct fl_http_call *call, size_t n);
	void (*paused)(struct fl_link *l, struct fl_http_call *call);
};

extern const struct fl_link_codec fl_link_h1, fl_link_h2;

struct fl_link_socket; // outlives its link until libuv has closed it

struct fl_link {
	struct fl_http_client *client;
	struct fl_origin *origin;
	TAILQ_ENTRY(fl_link) of_origin, dirty;
	enum fl_link_state state;
	bool in_making; // counted in origin->n_making
	bool only_one;  // for one call, then closed
	bool draining;  // takes no more calls
	bool is_dirty, running, reading;
	bool closing;      // once it does not run any more
	bool write_failed; // reading tells why
	bool broken_tls;
	bool detached; // no socket: a test's
	struct fl_link_socket *socket;
	struct fl_link_resolve *resolve;
	struct fl_http_call *only; // `fresh`: the call it is for
	struct sockaddr_storage *addresses;
	unsigned n_addresses, at_address;
	unsigned connect_ms;    // for all addresses
	uint64_t attempt_by_ms; // for the present one when it is not the last, else 0
	uint64_t made_by_ms;    // not open then: given up; 0 = it is open, or the time is its only call's
	uint64_t heard_ms;      // last read
	uint64_t idle_ms;       // since when, 0 = busy
	int rc;                 // of the last attempt
	char why[256];
	struct fl_pipe pipe;
	const struct fl_link_codec *codec;
	void *codec_data;
	struct fl_call_list calls;
	unsigned n_calls;
	bool served; // a response began on it
	size_t unwritten;
	struct fl_buf *tap; // detached: output lands here
};

struct fl_http_client {
	uv_loop_t *loop;
	uv_timer_t wake; // to settle
	bool waking;
	uv_timer_t timer;
	uint64_t armed_ms; // when the timer fires, 0 = never
	unsigned depth;    // callbacks of libuv that we are in
	bool freed;        // by the owner
	unsigned handles;  // timer, sockets, names being looked up; the memory lives as long
	struct fl_call_list calls, fresh, done, resumed;
	unsigned n_calls;
	struct fl_origin_list origins, marked;
	unsigned n_origins;
	struct fl_origin *last;       // of the newest call
	struct fl_http_call *handing; // whose held bytes are being handed over; NULL once it is gone
	struct fl_buf scratch;
	struct fl_link_list dirty;
	SSL_CTX *tls;
	char *tls_server_name, *user_agent, *authorization;
	struct fl_ip tls_server_ip;
	bool insecure, http1;
	// Shared by all links, each for the length of one call.
	struct fl_outbuf out;
	char *in, *plain; // one block
};

// --- http_client.c ---
void fl_client_settle(struct fl_http_client *c); // does what has come up; not while depth
void fl_client_wake(struct fl_http_client *c);   // settles in the loop's next turn
void fl_client_arm(struct fl_http_client *c, uint64_t at_ms);
void fl_client_unref(struct fl_http_client *c);

// What codecs report. Each may end the call, and each may run the user's on_data, after which the call may be gone.
void fl_call_block_begins(struct fl_http_call *call); // status and fields, or trailers
// False: beyond the limit (the call has failed).
FL_WUR bool fl_call_field(struct fl_http_call *call, const char *name, size_t n, const char *value, size_t value_len);
void fl_call_fields_end(struct fl_http_call *call); // of the final response
// True: the bytes were taken; false: they are kept until the call is resumed, or it is over.
FL_WUR bool fl_call_data(struct fl_http_call *call, const char *p, size_t n);
void fl_call_end(struct fl_http_call *call); // the response is complete
__attribute__((format(printf, 3, 4))) void fl_call_fail(struct fl_http_call *call, int rc, const char *fmt, ...);
// The connection went away under the call: it is started again where that is safe, else fails.
void fl_call_lost(struct fl_http_call *call, int rc, const char *why);
void fl_call_again(struct fl_http_call *call); // the server has not looked at it

// --- client_origin.c ---
// The origin of `url`, and where in it the target starts. Errors: -EINVAL.
FL_WUR int fl_origin_find(struct fl_http_client *c, const char *url, bool h2c, struct fl_origin **ret,
			  const char **ret_target, struct fl_err *err);
void fl_origin_advance(struct fl_origin *o); // gives waiting calls to links; makes links
void fl_origin_mark(struct fl_origin *o);    // to be advanced when the client settles
void fl_origin_free(struct fl_origin *o);
void fl_origin_link_open(struct fl_link *l);
void fl_origin_link_failed(struct fl_link *l, int rc, const char *why); // before it was open
// Closes what is idle for too long or takes too long; returns when to look again, 0 = never.
uint64_t fl_origin_sweep(struct fl_origin *o, uint64_t now);
// Removes the call from the queue or link it is in.
void fl_call_unplace(struct fl_http_call *call);
void fl_call_wait(struct fl_http_call *call, bool first);

// --- client_link.c ---
void fl_link_make(struct fl_origin *o, struct fl_http_call *only, unsigned timeout_ms);
void fl_link_mark_dirty(struct fl_link *l);
void fl_link_flush(struct fl_link *l);
void fl_link_put(struct fl_link *l, const void *p, size_t n);
size_t fl_link_room(const struct fl_link *l);
void fl_link_read(struct fl_link *l, bool on);
void fl_link_hold_loop(struct fl_link *l, bool hold);          // whether it keeps the loop running
void fl_link_close(struct fl_link *l);                         // calls on it are not told
void fl_link_lost(struct fl_link *l, int rc, const char *why); // calls on it are
void fl_link_next_address(struct fl_link *l);                  // the present one takes too long
// Without a socket, for tests of the codecs: feed with fl_link_feed, output lands in `tap`.
FL_WUR struct fl_link *fl_link_new_detached(struct fl_http_client *c, const char *base, bool h2, struct fl_buf *tap);
void fl_link_feed(struct fl_link *l, const char *p, size_t n);
void fl_link_feed_eof(struct fl_link *l);

// --- client_tls.c ---
FL_WUR int fl_client_tls_new(const struct fl_http_client_opts *opts, SSL_CTX **ret, struct fl_err *err);
FL_WUR int fl_client_tls_start(struct fl_link *l); // -errno with l->why
// Why the handshake failed: -errno, the reason in l->why.
int fl_client_tls_reason(struct fl_link *l, int ssl_error);
