// SPDX-License-Identifier: Apache-2.0
// What the files of this folder share: server, connection, codec and request, and the calls between them.
//
//   server.c   listeners, the list of connections, limits, sweep timer, stop
//   pipe.c     bytes through OpenSSL, many pieces to a record     (shared with the client)
//   conn.c     one socket: TLS, reading, batching of output, closing      (knows no HTTP)
//   h1.c h2.c  bytes <-> requests; one struct fl_codec each               (know no sockets)
//   request.c  what a handler sees
//
// Life of a request: RECEIVING -> dispatched to the handler -> answered (by the handler) -> sent (by the codec) ->
// freed. Memory of a connection lives until its last request is freed, since handlers may hold one beyond the socket's
// end.
#pragma once

#include <sys/queue.h>

#include "base/arena.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/vec.h"
#include "io/http/pipe.h"
#include "io/http_server.h"

struct fl_conn;

// --- output waiting in a request ---
struct fl_piece {
	struct fl_bytes *bytes;
	size_t off; // already sent
	bool raw;   // h1: head or a body with known length; not to be framed as a chunk
};

struct fl_outq {
	struct fl_piece *v;
	unsigned head, n, cap; // pieces v[head..n)
	size_t bytes;
};

void fl_outq_push(struct fl_outq *q, struct fl_bytes *bytes, bool raw); // takes a reference of its own
void fl_outq_consume(struct fl_outq *q, size_t n);                      // n bytes of the first piece
void fl_outq_clear(struct fl_outq *q);
// The same for a request, counted for its connection.
void fl_req_push(struct fl_http_req *r, struct fl_bytes *bytes, bool raw);
void fl_req_consume(struct fl_http_req *r, size_t n);
static inline struct fl_piece *fl_outq_first(struct fl_outq *q)
{
	return q->head < q->n ? &q->v[q->head] : NULL;
}

// --- request ---
struct fl_field {
	uint32_t name, name_len, value, value_len; // offsets into text; both NUL-terminated there
};

struct fl_http_req {
	struct fl_conn *conn;
	TAILQ_ENTRY(fl_http_req) of_conn;
	STAILQ_ENTRY(fl_http_req) queued; // in ready or over, never both
	// What came.
	const char *method;
	uint32_t method_off, path, query; // offsets into text
	struct fl_buf text;               // target and header fields
	FL_VEC(struct fl_field) fields;
	struct fl_buf body;
	struct fl_arena arena;
	size_t held;          // counted in server->held
	uint64_t deadline_ms; // h2: end of headers, end of body; 0 = none
	uint16_t refuse;      // status to answer instead of calling the handler
	bool complete;        // the whole request is here
	bool dispatched, in_ready, in_over, is_head, http_1_0, expects_continue;
	// The answer.
	struct fl_buf out_fields; // name NUL value NUL ...
	struct fl_outq q;
	size_t inflight; // of batch `epoch`: given to the kernel's queue and not yet taken
	uint64_t epoch;
	uint64_t moved_ms; // when the peer last took something
	bool started, streaming, chunked;
	bool ended;    // nothing more comes
	bool answered; // the handler ended it
	bool drained;  // all of it is in the batch or beyond
	bool over;     // the transport is done with it
	bool failed;   // over before it was drained
	bool aborted;  // by the handler
	void (*on_close)(struct fl_http_req *r, void *arg, bool gone);
	void *on_close_arg;
	int32_t stream_id; // h2
	bool deferred;     // h2: the data provider waits for more
	bool has_method;
	bool all_sent; // h2: answered before the request's end, of which `dropped` bytes have come since
	size_t dropped;
};

struct fl_http_req *fl_req_new(struct fl_conn *c);
void fl_req_free(struct fl_http_req *r);
// Bounds of what is being collected; they set r->refuse when one is crossed and then return false.
bool fl_req_count(struct fl_http_req *r, size_t n); // n more bytes of target and fields
bool fl_req_body(struct fl_http_req *r, const char *p, size_t n);
void fl_req_target(struct fl_http_req *r, uint32_t off); // splits text+off (NUL-terminated) into path and query
// With the fields complete: what is left to refuse (length beyond the limit, Expect). `length` < 0: not announced.
void fl_req_check(struct fl_http_req *r, int64_t length);
void fl_req_dispatch(struct fl_http_req *r);
void fl_req_refuse(struct fl_http_req *r, int status); // answers with a short text instead of calling the handler
void fl_req_ready(struct fl_http_req *r);              // complete: to be dispatched
void fl_req_drained(struct fl_http_req *r);            // the last byte is in the batch
void fl_req_failed(struct fl_http_req *r);             // the peer, or the connection, is gone
void fl_req_finish(struct fl_http_req *r);             // on_close, then freed unless the handler still holds it
void fl_req_end_stream(struct fl_http_req *r);         // at stop: ends a streamed answer in place of its handler
const char *fl_http_reason(int status);

// --- codec ---
struct fl_codec {
	const char *name;
	int (*open)(struct fl_conn *c);
	void (*close)(struct fl_conn *c); // frees codec_data
	// Takes all n bytes. Negative: the connection is beyond use once its output is sent.
	int (*input)(struct fl_conn *c, const char *p, size_t n);
	// The connection's deadline has passed; true: what it came too late with is refused, and the connection closes
	// after that answer. NULL: it is cut.
	bool (*late)(struct fl_conn *c);
	bool (*resume)(struct fl_conn *c);   // dispatches what waits; true: did something, so output may have come
	void (*drain)(struct fl_conn *c);    // fl_conn_put until the batch is full or nothing is left
	void (*over)(struct fl_http_req *r); // the codec forgets r
	// Puts status and fields on their way; `copy` (n bytes, may be 0) is a body to go with them.
	void (*head)(struct fl_http_req *r, int status, const char *type, int64_t length, const void *copy, size_t n);
	void (*more)(struct fl_http_req *r);  // q or ended has changed
	void (*abort)(struct fl_http_req *r); // cut
	void (*shutdown)(struct fl_conn *c);  // no more requests; close when those under way are answered
	bool (*eof)(struct fl_conn *c);       // peer shut its sending side; false: close at once
};

extern const struct fl_codec fl_codec_h1, fl_codec_h2;

// --- connection ---
enum fl_conn_state {
	FL_CONN_HANDSHAKE,
	FL_CONN_OPEN,
	FL_CONN_CLOSING, // closes once the output is sent
	FL_CONN_LINGER,  // our side is shut; what still comes is dropped until the peer shuts too
	FL_CONN_CLOSED,  // uv_close was called
};

TAILQ_HEAD(fl_req_list, fl_http_req);
STAILQ_HEAD(fl_req_queue, fl_http_req);

struct fl_conn {
	union {
		uv_handle_t handle;
		uv_stream_t stream;
		uv_tcp_t tcp;
	} uv;
	uv_shutdown_t shutdown;
	struct fl_http_server *server;
	TAILQ_ENTRY(fl_conn) all, idle, dirty;
	unsigned refs;           // the socket, and each request
	unsigned n_reqs, n_busy; // all; dispatched and not over
	enum fl_conn_state state;
	bool is_idle, is_dirty, reading, read_eof, detached, running;
	struct fl_pipe pipe;
	const struct fl_codec *codec;
	void *codec_data;
	struct fl_req_list reqs;
	struct fl_req_queue ready; // complete, to be dispatched
	struct fl_req_queue over;  // to be finished
	size_t queued;             // bytes in all q
	size_t unwritten;          // bytes in uv_write
	uint64_t epoch;            // batches taken by the kernel
	uint64_t deadline_ms;      // 0 = none
	uint64_t stall_ms;         // when unwritten bytes end the connection; 0 = none
	struct fl_tls_identity *identity;
	struct fl_ip peer, local;
	uint16_t peer_port, local_port;
	struct fl_buf *tap; // detached: output lands here
};

void fl_conn_accept(struct fl_http_server *s, uv_stream_t *listener);
// A connection without socket, for tests of the codecs: feed with fl_conn_feed, output lands in `tap`.
struct fl_conn *fl_conn_new_detached(struct fl_http_server *s, const struct fl_codec *codec, struct fl_buf *tap);
void fl_conn_free_detached(struct fl_conn *c);
void fl_conn_feed(struct fl_conn *c, const char *p, size_t n);
void fl_conn_run(struct fl_conn *c); // sends, finishes, dispatches until nothing moves
void fl_conn_put(struct fl_conn *c, const void *p, size_t n);
size_t fl_conn_room(const struct fl_conn *c);                 // bytes left in the batch being built
void fl_conn_mark_dirty(struct fl_conn *c);                   // to be run at the end of the loop's turn
void fl_conn_busy(struct fl_conn *c, int change);             // n_busy += change
void fl_conn_set_deadline(struct fl_conn *c, unsigned in_ms); // 0 = none
void fl_conn_read(struct fl_conn *c, bool on);
void fl_conn_close(struct fl_conn *c);            // after the output
void fl_conn_kill(struct fl_conn *c, bool reset); // now
void fl_conn_unref(struct fl_conn *c);

// --- server ---
struct fl_listener {
	uv_tcp_t tcp;
	struct fl_http_server *server;
};

struct fl_http_server {
	uv_loop_t *loop;
	struct fl_http_server_opts opts; // limits filled in
	SSL_CTX *tls;
	unsigned refs; // the owner, and each connection
	FL_VEC(struct fl_listener *) listeners;
	unsigned n_open_listeners;
	TAILQ_HEAD(fl_conn_list, fl_conn) conns;
	struct fl_conn_list idle;  // no request with the handler; longest first
	struct fl_conn_list dirty; // to be run at the end of the turn
	unsigned n_conns;          // in conns
	unsigned n_sockets;        // those, and the ones being closed
	uv_timer_t sweep;
	uv_prepare_t prepare;
	uv_check_t check;
	unsigned n_handles; // of the three above, open
	bool started, stopping, stopped;
	uint64_t sweep_at_ms, swept_ms, stop_at_ms;
	void (*stop_done)(void *arg);
	void *stop_arg;
	unsigned n_handshakes;    // since the heap was last trimmed,
	uint64_t trim_at_ms;      // which is due then; 0 = not
	size_t held;              // by unanswered requests
	size_t unsent;            // queued of all connections
	struct fl_req_queue pool; // freed requests with their buffers
	unsigned n_pool;
	char date[32]; // of second date_s
	int64_t date_s;
	// Shared by all connections, each for the length of one call.
	struct fl_buf head;
	struct fl_outbuf out;
	char plain[FL_CORK_BYTES + 1024];
	char in[64 * 1024];
};

// Readers have left so many bytes of their answers that no more are made (503) until some are taken; who takes none for
// FL_HURRY_MS then is cut off.
bool fl_server_is_full(const struct fl_http_server *s);
#define FL_HURRY_MS 2000
void fl_server_arm(struct fl_http_server *s, uint64_t at_ms); // sweep not later than that
void fl_server_handshake_done(struct fl_http_server *s);
void fl_server_conn_closed(struct fl_http_server *s);
void fl_server_unref(struct fl_http_server *s);
const char *fl_server_date(struct fl_http_server *s);
