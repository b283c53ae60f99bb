// SPDX-License-Identifier: Apache-2.0
// The client: libcurl tells which sockets and which time it waits for, libuv waits, curl_multi_socket_action goes on.
//
//   call --> curl easy handle --> curl multi --socket_cb--> uv_poll_t, one per socket
//                                            --timer_cb---> uv_timer_t
//
// libcurl must not be entered from its own callbacks (on_data runs in one): what a user asks for there (start, cancel,
// resume, free) is noted and done when libcurl has returned (`depth`, settle). on_done never runs inside libcurl.
//
// Only the CA given is trusted; the system's bundle is loaded only when none is given. Proxy variables of the
// environment and redirects are not followed.
#include "io/http_client.h"

#include <curl/curl.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/queue.h>

#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"

#define CONNECT_TIMEOUT_MS 10000
#define DEAD_PEER_MS       45000
#define STREAMS            1000 // multiplexed calls of one connection

enum call_state { CALL_NEW, CALL_RUNNING, CALL_CANCELLED };

struct fl_http_call {
	struct fl_http_client *client;
	TAILQ_ENTRY(fl_http_call) link;
	CURL *easy;
	struct curl_slist *headers, *connect_to;
	enum call_state state;
	bool added;       // to curl's multi handle
	bool paused;      // by the user
	bool curl_paused; // bytes were refused since
	bool too_large;
	void (*on_data)(void *arg, int status, const char *data, size_t len);
	void (*on_done)(void *arg, int rc, int status, const char *body, size_t len, const struct fl_err *err);
	void *arg;
	struct fl_buf body;
	unsigned stall_ms;
	uint64_t moved_ms;
	char *what; // "GET https://host/path"
	char error[CURL_ERROR_SIZE];
};

struct fl_http_client {
	uv_loop_t *loop;
	CURLM *multi;
	uv_timer_t timer; // curl's
	uv_timer_t stall; // earliest call that may have stalled
	uv_timer_t wake;  // to settle outside of callbacks
	TAILQ_HEAD(, fl_http_call) calls;
	unsigned depth;   // inside libcurl or settle
	bool attention;   // some call was started, cancelled or resumed meanwhile
	bool freed;       // by the owner
	unsigned handles; // open uv handles; the memory lives as long
	char *ca_pem, *cert_pem, *key_pem, *tls_server_name, *user_agent, *authorization;
	bool insecure, http1;
};

struct watched_socket {
	uv_poll_t poll;
	struct fl_http_client *client;
	curl_socket_t fd;
};

static void settle(struct fl_http_client *c);

// --- libcurl and libuv ---

static void handle_closed(uv_handle_t *h)
{
	struct fl_http_client *c = h->data;
	if (--c->handles == 0)
		free(c);
}

static void socket_closed(uv_handle_t *h)
{
	struct watched_socket *w = FL_CONTAINER_OF(h, struct watched_socket, poll);
	struct fl_http_client *c = w->client;
	free(w);
	if (--c->handles == 0)
		free(c);
}

static void act(struct fl_http_client *c, curl_socket_t fd, int events)
{
	int running;
	c->depth++;
	curl_multi_socket_action(c->multi, fd, events, &running);
	c->depth--;
	settle(c);
}

static void on_poll(uv_poll_t *p, int status, int events)
{
	struct watched_socket *w = FL_CONTAINER_OF(p, struct watched_socket, poll);
	int flags = (events & UV_READABLE ? CURL_CSELECT_IN : 0) | (events & UV_WRITABLE ? CURL_CSELECT_OUT : 0);
	if (status < 0)
		flags = CURL_CSELECT_ERR;
	act(w->client, w->fd, flags);
}

static int socket_cb(CURL *easy, curl_socket_t fd, int what, void *arg, void *of_socket)
{
	struct fl_http_client *c = arg;
	struct watched_socket *w = of_socket;
	if (what == CURL_POLL_REMOVE) {
		if (w) {
			curl_multi_assign(c->multi, fd, NULL);
			uv_poll_stop(&w->poll);
			uv_close((uv_handle_t *)&w->poll, socket_closed);
		}
		return 0;
	}
	if (!w) {
		w = FL_NEW(struct watched_socket);
		w->client = c;
		w->fd = fd;
		if (uv_poll_init_socket(c->loop, &w->poll, fd) < 0) {
			free(w);
			return -1;
		}
		c->handles++;
		curl_multi_assign(c->multi, fd, w);
	}
	int events = (what & CURL_POLL_IN ? UV_READABLE : 0) | (what & CURL_POLL_OUT ? UV_WRITABLE : 0);
	return uv_poll_start(&w->poll, events, on_poll) < 0 ? -1 : 0;
}

static void on_timer(uv_timer_t *t)
{
	act(t->data, CURL_SOCKET_TIMEOUT, 0);
}

static int timer_cb(CURLM *multi, long ms, void *arg)
{
	struct fl_http_client *c = arg;
	if (ms < 0)
		uv_timer_stop(&c->timer);
	else
		uv_timer_start(&c->timer, on_timer, (uint64_t)ms, 0);
	return 0;
}

static void on_wake(uv_timer_t *t)
{
	settle(t->data);
}

static void wake(struct fl_http_client *c)
{
	uv_timer_start(&c->wake, on_wake, 0, 0);
}

// --- end of a call ---

// Takes the transfer from libcurl, `early` when it is not known to have ended.
static void detach(struct fl_http_call *call, bool early)
{
	if (!call->added)
		return;
	call->added = false;
	// libcurl 7.88 keeps the reset of an HTTP/2 stream until something else is sent on its connection, so the
	// server would go on serving a watch that nobody reads. If no other stream is open, close the connection.
	if (early)
		curl_easy_setopt(call->easy, CURLOPT_FORBID_REUSE, 1L);
	curl_multi_remove_handle(call->client->multi, call->easy);
}

static void free_call(struct fl_http_call *call)
{
	detach(call, true);
	TAILQ_REMOVE(&call->client->calls, call, link);
	curl_easy_cleanup(call->easy);
	curl_slist_free_all(call->headers);
	curl_slist_free_all(call->connect_to);
	fl_buf_deinit(&call->body);
	free(call->what);
	free(call);
}

static int error_of(const struct fl_http_call *call, CURLcode code)
{
	long os = 0;
	switch (code) {
	case CURLE_COULDNT_CONNECT:
	case CURLE_SEND_ERROR:
	case CURLE_RECV_ERROR:
		curl_easy_getinfo(call->easy, CURLINFO_OS_ERRNO, &os);
		return os > 0 ? -(int)os : code == CURLE_COULDNT_CONNECT ? -ECONNREFUSED : -ECONNRESET;
	case CURLE_OPERATION_TIMEDOUT:
		return -ETIMEDOUT;
	case CURLE_COULDNT_RESOLVE_HOST:
		return -EHOSTUNREACH;
	case CURLE_GOT_NOTHING:
	case CURLE_PARTIAL_FILE:
	case CURLE_HTTP2_STREAM: // cut by the server
		return -ECONNRESET;
	case CURLE_WRITE_ERROR:
		return call->too_large ? -EMSGSIZE : -ECANCELED;
	case CURLE_PEER_FAILED_VERIFICATION:
		return -EKEYREJECTED;
	case CURLE_SSL_CERTPROBLEM:
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_URL_MALFORMAT:
	case CURLE_UNSUPPORTED_PROTOCOL:
		return -EINVAL;
	case CURLE_OUT_OF_MEMORY:
		return -ENOMEM;
	default:
		return -EPROTO;
	}
}

static int status_of(const struct fl_http_call *call)
{
	long status = 0;
	curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
	return (int)status;
}

static void finish(struct fl_http_call *call, CURLcode code, const char *why)
{
	struct fl_err err = {0};
	int rc = 0;
	if (code != CURLE_OK) {
		const char *text = call->error[0] ? call->error : curl_easy_strerror(code);
		rc = fl_err_set(&err, error_of(call, code), "%s: %s", call->what, why ? why : text);
	}
	if (!call->body.data)
		fl_buf_append(&call->body, "", 0);
	detach(call, why != NULL);
	if (call->on_done)
		call->on_done(call->arg, rc, status_of(call), call->body.data, call->body.len, &err);
	free_call(call);
}

static void close_client(struct fl_http_client *c)
{
	for (struct fl_http_call *call; (call = TAILQ_FIRST(&c->calls));) {
		free_call(call);
	}
	curl_multi_cleanup(c->multi); // closes its connections: socket_cb for each
	c->multi = NULL;
	free(c->ca_pem);
	free(c->cert_pem);
	if (c->key_pem)
		explicit_bzero(c->key_pem, strlen(c->key_pem));
	free(c->key_pem);
	free(c->tls_server_name);
	free(c->user_agent);
	if (c->authorization)
		explicit_bzero(c->authorization, strlen(c->authorization));
	free(c->authorization);
	uv_close((uv_handle_t *)&c->timer, handle_closed);
	uv_close((uv_handle_t *)&c->stall, handle_closed);
	uv_close((uv_handle_t *)&c->wake, handle_closed);
}

// Does for one call what was asked for while libcurl, or another call's on_done, ran.
static void attend(struct fl_http_call *call)
{
	struct fl_http_client *c = call->client;
	if (call->state == CALL_CANCELLED) {
		free_call(call);
	} else if (call->state == CALL_NEW) {
		call->state = CALL_RUNNING;
		call->added = curl_multi_add_handle(c->multi, call->easy) == CURLM_OK;
		if (!call->added)
			finish(call, CURLE_FAILED_INIT, NULL);
	} else if (call->curl_paused && !call->paused) {
		call->curl_paused = false;
		call->moved_ms = uv_now(c->loop);
		curl_easy_pause(call->easy, CURLPAUSE_CONT); // may run on_data
	}
}

static bool report_one(struct fl_http_client *c)
{
	int left;
	CURLMsg *m = curl_multi_info_read(c->multi, &left);
	if (!m || m->msg != CURLMSG_DONE)
		return false;
	struct fl_http_call *call;
	curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&call);
	finish(call, m->data.result, NULL);
	return true;
}

static void settle(struct fl_http_client *c)
{
	if (c->depth)
		return;
	c->depth++; // what on_done and on_data ask for meanwhile is noted, too
	do {
		while (c->attention && !c->freed) {
			c->attention = false;
			for (struct fl_http_call *call = TAILQ_FIRST(&c->calls), *next; call && !c->freed;
			     call = next) {
				next = TAILQ_NEXT(call, link);
				attend(call);
			}
		}
	} while (!c->freed && report_one(c));
	c->depth--;
	if (c->freed)
		close_client(c);
}

// --- stalled calls ---

static void arm_stall(struct fl_http_client *c);

static void on_stall(uv_timer_t *t)
{
	struct fl_http_client *c = t->data;
	uint64_t now = uv_now(c->loop);
	c->depth++;
	for (struct fl_http_call *call = TAILQ_FIRST(&c->calls), *next; call && !c->freed; call = next) {
		next = TAILQ_NEXT(call, link);
		if (!call->stall_ms || call->paused || call->state != CALL_RUNNING ||
		    now < call->moved_ms + call->stall_ms)
			continue;
		char why[64];
		snprintf(why, sizeof(why), "no byte came for %u ms", call->stall_ms);
		finish(call, CURLE_OPERATION_TIMEDOUT, why);
	}
	c->depth--;
	if (!c->freed)
		arm_stall(c);
	settle(c);
}

static void arm_stall(struct fl_http_client *c)
{
	uint64_t first = UINT64_MAX, now = uv_now(c->loop);
	for (struct fl_http_call *call = TAILQ_FIRST(&c->calls); call; call = TAILQ_NEXT(call, link)) {
		if (!call->stall_ms)
			continue;
		uint64_t at = (call->paused ? now : call->moved_ms) + call->stall_ms;
		first = at < first ? at : first;
	}
	if (first == UINT64_MAX)
		uv_timer_stop(&c->stall);
	else
		uv_timer_start(&c->stall, on_stall, first > now ? first - now : 0, 0);
}

// --- starting a call ---

// A dead peer is found by what it does not acknowledge, long before TCP's own fifteen minutes: calls that share its
// connection would else time out one after the other and be started again on the same one.
static int socket_opened(void *arg, curl_socket_t fd, curlsocktype purpose)
{
	unsigned ms = DEAD_PEER_MS;
	setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof(ms)); // best effort
	return CURL_SOCKOPT_OK;
}

static size_t write_cb(char *p, size_t size, size_t n, void *arg)
{
	struct fl_http_call *call = arg;
	n *= size;
	if (call->state == CALL_CANCELLED || call->client->freed)
		return 0; // ends the transfer
	if (call->paused) {
		call->curl_paused = true;
		return CURL_WRITEFUNC_PAUSE; // the same bytes come again
	}
	call->moved_ms = uv_now(call->client->loop);
	if (call->on_data) {
		call->on_data(call->arg, status_of(call), p, n);
		return n;
	}
	if (n > FL_MAX_RESPONSE_BYTES - call->body.len) {
		call->too_large = true;
		snprintf(call->error, sizeof(call->error), "the response is larger than %d bytes",
			 FL_MAX_RESPONSE_BYTES);
		return 0;
	}
	fl_buf_append(&call->body, p, n);
	return n;
}

static bool add_header(struct fl_http_call *call, const char *line)
{
	struct curl_slist *l = curl_slist_append(call->headers, line);
	if (l)
		call->headers = l;
	return l != NULL;
}

static bool add_headers(struct fl_http_call *call, const struct fl_http_call_opts *opts)
{
	bool has_type = false, ok = true;
	for (const char *const *h = opts->headers; ok && h && *h; h++) {
		has_type |= strncasecmp(*h, "content-type:", 13) == 0;
		ok = !strpbrk(*h, "\r\n") && add_header(call, *h);
	}
	if (!has_type)
		ok = ok && add_header(call, "Content-Type:"); // none, instead of libcurl's own for POST
	ok = ok && add_header(call, "Expect:");               // no waiting for 100 Continue
	if (call->client->authorization)
		ok = ok && add_header(call, call->client->authorization);
	return ok;
}

// curl verifies the URL's host: so the URL carries the name to verify, and the connection goes to the URL's own host.
static bool set_server_name(struct fl_http_call *call, const char *url)
{
	const char *name = call->client->tls_server_name;
	const char *scheme_end = strstr(url, "://");
	if (!name || !scheme_end)
		return curl_easy_setopt(call->easy, CURLOPT_URL, url) == CURLE_OK;
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	const char *host = scheme_end + 3, *rest = host + strcspn(host, "/?#");
	size_t host_len = (size_t)(rest - host);
	const char *bracket = memchr(host, ']', host_len);
	const char *colon = memchr(bracket ? bracket : host, ':', (size_t)(rest - (bracket ? bracket : host)));
	size_t bare = colon ? (size_t)(colon - host) : host_len;
	const char *port = colon ? colon + 1 : "443";
	int port_len = colon ? (int)(rest - port) : 3;

	fl_buf_printf(&b, "Host: %.*s", (int)host_len, host);
	bool ok = add_header(call, b.data);
	b.len = 0;
	fl_buf_printf(&b, "::%.*s:%.*s", (int)bare, host, port_len, port);
	call->connect_to = curl_slist_append(NULL, b.data);
	b.len = 0;
	fl_buf_printf(&b, "%.*s%s:%.*s%s", (int)(host - url), url, name, port_len, port, rest);
	return ok && call->connect_to && curl_easy_setopt(call->easy, CURLOPT_URL, b.data) == CURLE_OK &&
	       curl_easy_setopt(call->easy, CURLOPT_CONNECT_TO, call->connect_to) == CURLE_OK;
}

#define SET(option, value) (ok = ok && curl_easy_setopt(e, option, value) == CURLE_OK)

static bool set_blob(CURL *e, CURLoption option, char *pem)
{
	struct curl_blob blob = {.data = pem, .len = strlen(pem), .flags = CURL_BLOB_NOCOPY}; // lives with the client
	return curl_easy_setopt(e, option, &blob) == CURLE_OK;
}

static bool set_tls(struct fl_http_client *c, CURL *e)
{
	bool ok = true;
	if (c->insecure) {
		SET(CURLOPT_SSL_VERIFYPEER, 0L);
		SET(CURLOPT_SSL_VERIFYHOST, 0L);
	}
	if (c->insecure || c->ca_pem) {
		SET(CURLOPT_CAINFO, NULL); // libcurl's compiled-in bundle and directory
		SET(CURLOPT_CAPATH, NULL);
	}
	if (c->ca_pem)
		ok = ok && set_blob(e, CURLOPT_CAINFO_BLOB, c->ca_pem);
	if (c->cert_pem)
		ok = ok && set_blob(e, CURLOPT_SSLCERT_BLOB, c->cert_pem) &&
		     set_blob(e, CURLOPT_SSLKEY_BLOB, c->key_pem);
	SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	return ok;
}

static bool set_method(CURL *e, const struct fl_http_call_opts *o)
{
	bool ok = true;
	bool get = strcmp(o->method, "GET") == 0, head = strcmp(o->method, "HEAD") == 0;
	if (o->body_len || strcmp(o->method, "POST") == 0) {
		SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)o->body_len);
		SET(CURLOPT_COPYPOSTFIELDS, o->body_len ? o->body : "");
		SET(CURLOPT_CUSTOMREQUEST, o->method);
	} else if (head) {
		SET(CURLOPT_NOBODY, 1L);
	} else if (!get) {
		SET(CURLOPT_CUSTOMREQUEST, o->method);
	}
	return ok;
}

static bool set_options(struct fl_http_call *call, const struct fl_http_call_opts *o)
{
	struct fl_http_client *c = call->client;
	CURL *e = call->easy;
	bool ok = add_headers(call, o) && set_server_name(call, o->url) && set_tls(c, e) && set_method(e, o);
	SET(CURLOPT_HTTPHEADER, call->headers);
	SET(CURLOPT_PRIVATE, call);
	SET(CURLOPT_ERRORBUFFER, call->error);
	SET(CURLOPT_WRITEFUNCTION, write_cb);
	SET(CURLOPT_WRITEDATA, call);
	SET(CURLOPT_SOCKOPTFUNCTION, socket_opened);
	SET(CURLOPT_NOSIGNAL, 1L);
	SET(CURLOPT_NOPROGRESS, 1L);
	SET(CURLOPT_PROXY, "");
	SET(CURLOPT_PROTOCOLS_STR, "http,https");
	SET(CURLOPT_USERAGENT, c->user_agent);
	SET(CURLOPT_TCP_NODELAY, 1L);
	SET(CURLOPT_TCP_KEEPALIVE, 1L);
	SET(CURLOPT_TCP_KEEPIDLE, 30L);
	SET(CURLOPT_TCP_KEEPINTVL, 15L);
	SET(CURLOPT_HTTP_VERSION, (long)(o->h2c     ? CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE
					 : c->http1 ? CURL_HTTP_VERSION_1_1
						    : CURL_HTTP_VERSION_2TLS));
	if (o->fresh) {
		SET(CURLOPT_FRESH_CONNECT, 1L);
		SET(CURLOPT_FORBID_REUSE, 1L);
	}
	// Rather one connection with many streams than many connections. Not for plain text, where libcurl would let a
	// second call wait for the end of the first one before it knows that the server has no HTTP/2.
	SET(CURLOPT_PIPEWAIT, !c->http1 && strncasecmp(o->url, "https:", 6) == 0 ? 1L : 0L);
	SET(CURLOPT_CONNECTTIMEOUT_MS, (long)(o->connect_timeout_ms ? o->connect_timeout_ms : CONNECT_TIMEOUT_MS));
	SET(CURLOPT_TIMEOUT_MS, (long)o->timeout_ms);
	return ok;
}

int fl_http_client_call(struct fl_http_client *c, const struct fl_http_call_opts *opts, struct fl_http_call **ret,
			struct fl_err *err)
{
	struct fl_http_call *call = FL_NEW(struct fl_http_call);
	call->client = c;
	call->on_data = opts->on_data;
	call->on_done = opts->on_done;
	call->arg = opts->arg;
	call->stall_ms = opts->stall_timeout_ms;
	call->moved_ms = uv_now(c->loop);
	call->what = fl_asprintf("%s %.*s", opts->method, (int)strcspn(opts->url, "?"), opts->url);
	call->easy = curl_easy_init();
	TAILQ_INSERT_TAIL(&c->calls, call, link);
	if (!call->easy || !set_options(call, opts)) {
		int rc = fl_err_set(err, -EINVAL, "%s: the options of this request are not usable", call->what);
		free_call(call);
		return rc;
	}
	c->attention = true;
	wake(c); // never a callback from inside this function
	if (call->stall_ms)
		arm_stall(c);
	if (ret)
		*ret = call;
	return 0;
}

void fl_http_call_cancel(struct fl_http_call **call)
{
	struct fl_http_call *k = TAKE_PTR(*call);
	if (!k)
		return;
	struct fl_http_client *c = k->client;
	if (!c->depth) {
		free_call(k);
		return;
	}
	k->state = CALL_CANCELLED;
	k->on_data = NULL;
	k->on_done = NULL;
	c->attention = true;
}

const char *fl_http_call_header(const struct fl_http_call *call, const char *name)
{
	struct curl_header *h;
	return curl_easy_header(call->easy, name, 0, CURLH_HEADER | CURLH_TRAILER, -1, &h) == CURLHE_OK ? h->value
													: NULL;
}

void fl_http_call_pause(struct fl_http_call *call, bool pause)
{
	call->paused = pause;
	if (!pause && call->curl_paused) {
		call->client->attention = true;
		wake(call->client);
	}
}

// --- the client ---

static void init_curl(void)
{
	curl_global_init(CURL_GLOBAL_DEFAULT);
}

static char *copy(const char *s)
{
	return s ? fl_strdup(s) : NULL;
}

int fl_http_client_new(uv_loop_t *loop, const struct fl_http_client_opts *opts, struct fl_http_client **ret,
		       struct fl_err *err)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	pthread_once(&once, init_curl);
	if (!opts->cert_pem != !opts->key_pem)
		return fl_err_set(err, -EINVAL, "HTTP client: certificate and key belong together");
	struct sigaction sa;
	if (sigaction(SIGPIPE, NULL, &sa) == 0 && sa.sa_handler == SIG_DFL)
		signal(SIGPIPE, SIG_IGN);
	CURLM *multi = curl_multi_init();
	if (!multi)
		return fl_err_set(err, -ENOMEM, "HTTP client: libcurl has no memory");
	struct fl_http_client *c = FL_NEW(struct fl_http_client);
	c->loop = loop;
	c->multi = multi;
	c->ca_pem = copy(opts->ca_pem);
	c->cert_pem = copy(opts->cert_pem);
	c->key_pem = copy(opts->key_pem);
	c->tls_server_name = copy(opts->tls_server_name);
	c->user_agent = fl_strdup(opts->user_agent ? opts->user_agent : "fairlead");
	c->authorization = opts->bearer_token ? fl_asprintf("Authorization: Bearer %s", opts->bearer_token) : NULL;
	c->insecure = opts->insecure_skip_verify;
	c->http1 = opts->http1;
	TAILQ_INIT(&c->calls);
	uv_timer_init(loop, &c->timer);
	uv_timer_init(loop, &c->stall);
	uv_timer_init(loop, &c->wake);
	c->timer.data = c->stall.data = c->wake.data = c;
	c->handles = 3;
	curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, socket_cb);
	curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, c);
	curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, timer_cb);
	curl_multi_setopt(multi, CURLMOPT_TIMERDATA, c);
	curl_multi_setopt(multi, CURLMOPT_PIPELINING, (long)CURLPIPE_MULTIPLEX);
	curl_multi_setopt(multi, CURLMOPT_MAX_CONCURRENT_STREAMS, (long)STREAMS);
	*ret = c;
	return 0;
}

void fl_http_client_free(struct fl_http_client **client)
{
	struct fl_http_client *c = TAKE_PTR(*client);
	if (!c)
		return;
	c->freed = true;
	for (struct fl_http_call *call = TAILQ_FIRST(&c->calls); call; call = TAILQ_NEXT(call, link)) {
		call->on_data = NULL;
		call->on_done = NULL;
	}
	if (!c->depth)
		close_client(c);
}
