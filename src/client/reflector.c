// SPDX-License-Identifier: Apache-2.0
// List and watch (Kubernetes API Concepts, "Efficient detection of changes"):
//
//   list in pages --> watch from the list's revision --> stream ends --> watch from the last revision
//      ^                                                    |
//      '------------- 410 Gone, or a later error -----------'
//
// A stream without a byte for STALL_MS has lost its server: bookmarks come more often than that; and so has a list for
// LIST_STALL_MS, which is asked for again on another connection. Failures are retried after FIRST_BACKOFF_MS, doubling
// to MAX_BACKOFF_MS, so that a restarted server is found again at once and a dead one is not hammered. A first list
// that is not answered for LATE_MS is told of: until it comes, its user does nothing.
//
// Nothing is cancelled inside the HTTP client's own callbacks: a stream that is not wanted any more is abandoned, and
// cancelled from the timer.
#include <errno.h>
#include <inttypes.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/rand.h"
#include "client/informer_internal.h"

#define FIRST_BACKOFF_MS 50
#define MAX_BACKOFF_MS   5000
#define STALL_MS         90000 // our servers send a bookmark every 30 s, kube-apiserver every minute
#define LIST_STALL_MS    15000
#define LATE_MS          3000
#define PAGE_OBJECTS     500
#define MIN_WATCH_S      300  // a watch ends after 5 to 10 minutes, so that load spreads over servers again
#define HEALTHY_MS       5000 // a stream that ended in order after that long needs no back-off
#define MAX_ERROR_BYTES  (64 * 1024)

static void on_timer(uv_timer_t *t);

static void schedule(struct fl_informer *i, unsigned delay_ms)
{
	if (i->stopped)
		return;
	uv_update_time(i->timer.loop);
	uv_timer_start(&i->timer, on_timer, delay_ms, 0);
}

static void forget_pages(struct fl_informer *i)
{
	for (size_t n = 0; n < i->listed.n; n++)
		fl_object_put(&i->listed.v[n]);
	fl_vec_deinit(&i->listed);
	free(TAKE_PTR(i->page));
}

static void back_off(struct fl_informer *i)
{
	i->backoff_ms = i->backoff_ms ? i->backoff_ms * 2 : FIRST_BACKOFF_MS;
	if (i->backoff_ms > MAX_BACKOFF_MS)
		i->backoff_ms = MAX_BACKOFF_MS;
	schedule(i, i->backoff_ms * 3 / 4 + (unsigned)fl_random_below(i->backoff_ms / 2));
}

// The server answered, but not as it should.
static void fail(struct fl_informer *i, const char *what, const struct fl_err *err)
{
	if (!i->complained)
		fl_warn("client: %s failed, retrying resource=%s error=%s", what, i->resource, err->text);
	i->complained = true;
	back_off(i);
}

static void fail_to_connect(struct fl_informer *i, const struct fl_err *err)
{
	fl_client_note_lost(i->c, err);
	back_off(i);
}

static void recovered(struct fl_informer *i)
{
	if (i->complained || i->late)
		fl_info("client: list and watch work %s resource=%s", i->complained ? "again" : "now", i->resource);
	fl_client_note_back(i->c);
	i->complained = i->late = false;
	i->backoff_ms = 0;
}

// The path and the part of the query that list and watch share.
static void put_target(struct fl_informer *i, struct fl_buf *url)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	fl_buf_printf(url, "%s%s?", fl_client_server(i->c), fl_client_path(&a, i->opts.gvr, i->opts.ns, NULL, NULL));
	if (i->opts.label_selector) {
		fl_buf_puts(url, "labelSelector=");
		fl_percent_encode(url, i->opts.label_selector);
		fl_buf_putc(url, '&');
	}
	if (i->opts.field_selector) {
		fl_buf_puts(url, "fieldSelector=");
		fl_percent_encode(url, i->opts.field_selector);
		fl_buf_putc(url, '&');
	}
}

static void call(struct fl_informer *i, struct fl_http_call_opts *opts)
{
	static const char *const plain[] = {"Accept: application/json", NULL};
	static const char *const partial_list[] = {
	    "Accept: application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json", NULL};
	static const char *const partial[] = {
	    "Accept: application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json", NULL};
	struct fl_err err = {0};
	opts->method = "GET";
	opts->headers = !i->opts.metadata_only ? plain : i->listing ? partial_list : partial;
	opts->arg = i;
	i->abandon = false;
	i->text.len = 0;
	i->call_since_ms = fl_mono_ms();
	if (fl_http_client_call(fl_client_http(i->c), opts, &i->call, &err) < 0) {
		i->call = NULL;
		fail_to_connect(i, &err);
	}
}

// --- list ---

static bool parse_revision(struct fl_span raw, uint64_t *ret)
{
	char text[32];
	unsigned long long rv;
	if (!fl_span_text(raw, text, sizeof(text)) || !fl_parse_u64(text, &rv))
		return false;
	*ret = rv;
	return true;
}

static int pack(struct fl_informer *i, struct fl_span text, const char *kind, const char *version,
		struct fl_object **ret, struct fl_err *err)
{
	static const struct fl_json_parse_opts opts = {.left_out = {"metadata", "managedFields", 2}};
	struct fl_json *tree;
	fl_arena_reset(&i->scratch);
	int rc = fl_json_parse(&i->scratch, text.p, text.n, &opts, &tree, err);
	return rc < 0 ? rc : fl_informer_pack(i, tree, kind, version, ret, err);
}

static int add_item(struct fl_informer *i, struct fl_span item, const char *kind, const char *version,
		    struct fl_err *err)
{
	struct fl_object *o = NULL;
	int rc = pack(i, item, kind, version, &o, err);
	if (rc < 0)
		return rc;
	struct fl_object *same = fl_cache_find(&i->cache, o->ns, o->name);
	if (same && !i->opts.keeper && same->rv == o->rv &&
	    strcmp(same->uid, o->uid) == 0) { // one copy of what has not changed
		fl_object_put(&o);
		o = fl_object_get(same);
	}
	fl_vec_push(&i->listed, o);
	return 0;
}

struct page {
	struct fl_span kind, version, meta, items;
};

// The list's members; false when the text ends too early, so that half a list never passes for a short one.
static bool split_page(struct fl_span body, struct page *ret)
{
	struct fl_scan s;
	struct fl_span key, value;
	*ret = (struct page){0};
	if (!fl_scan_begin(&s, body))
		return false;
	while (fl_scan_next(&s, &key, &value)) {
		if (fl_span_equals(key, "kind"))
			ret->kind = value;
		else if (fl_span_equals(key, "apiVersion"))
			ret->version = value;
		else if (fl_span_equals(key, "metadata"))
			ret->meta = value;
		else if (fl_span_equals(key, "items"))
			ret->items = value;
	}
	return !s.broken;
}

static int read_items(struct fl_informer *i, struct fl_span items, const char *kind, const char *version,
		      struct fl_err *err)
{
	struct fl_scan s;
	struct fl_span key, item;
	if (items.n == 4 && !memcmp(items.p, "null", 4))
		return 0;
	if (!fl_scan_begin(&s, items) || s.close != ']')
		return fl_err_set(err, -EPROTO, "the list has no items");
	while (fl_scan_next(&s, &key, &item)) {
		int rc = add_item(i, item, kind, version, err);
		if (rc < 0)
			return rc;
	}
	return s.broken ? fl_err_set(err, -EPROTO, "the list's items are malformed") : 0;
}

static int read_page(struct fl_informer *i, struct fl_span body, struct fl_err *err)
{
	char kind[128], version[128], token[4096] = "";
	struct page p;
	uint64_t rv;
	if (!split_page(body, &p) || !fl_span_text(p.kind, kind, sizeof(kind)) || !fl_ends_with(kind, "List") ||
	    !fl_span_text(p.version, version, sizeof(version)) ||
	    !parse_revision(fl_scan_member(p.meta, "resourceVersion"), &rv))
		return fl_err_set(err, -EPROTO, "the answer is no list with a resourceVersion");
	kind[strlen(kind) - 4] = 0;
	struct fl_span more = fl_scan_member(p.meta, "continue");
	if (more.p && !fl_span_text(more, token, sizeof(token)))
		return fl_err_set(err, -EPROTO, "the list's continue token is no plain string");
	int rc = read_items(i, p.items, kind, version, err);
	if (rc < 0)
		return rc;
	if (!i->page)
		i->list_rv = rv; // of the first page: what changed during the later ones, the watch tells again
	free(i->page);
	i->page = token[0] ? fl_strdup(token) : NULL;
	return 0;
}

static void on_list_done(void *arg, int rc, int status, const char *body, size_t len, const struct fl_err *err)
{
	struct fl_informer *i = arg;
	struct fl_err why = {0};
	i->call = NULL;
	if (i->stopped)
		return;
	if (rc < 0) {
		forget_pages(i);
		fail_to_connect(i, err);
		return;
	}
	if (status == 200) {
		rc = read_page(i, (struct fl_span){body, len}, &why);
	} else {
		AUTO(fl_arena_deinit) struct fl_arena a = {0};
		struct fl_json *answer = NULL;
		if (fl_json_parse(&a, body, len, NULL, &answer, NULL) < 0)
			answer = NULL;
		rc = fl_client_status_code(status, answer, &why);
	}
	if (rc < 0) { // a page that is too old (410) too: the list begins anew
		forget_pages(i);
		fail(i, "list", &why);
		return;
	}
	if (i->page) {
		schedule(i, 0);
		return;
	}
	recovered(i);
	i->listing = i->relist = false;
	fl_informer_replace(i);
	schedule(i, 0);
}

static void on_late(uv_timer_t *t)
{
	struct fl_informer *i = t->data;
	i->late = true;
	fl_warn("client: no answer to the first list yet resource=%s after_ms=%d", i->resource, LATE_MS);
}

// The timer is free while a list is under way.
static void await_late(struct fl_informer *i)
{
	uv_update_time(i->timer.loop);
	uv_timer_start(&i->timer, on_late, LATE_MS, 0);
}

static void start_list(struct fl_informer *i)
{
	AUTO(fl_buf_deinit) struct fl_buf url = {0};
	i->listing = true;
	put_target(i, &url);
	fl_buf_printf(&url, "limit=%d", PAGE_OBJECTS);
	if (i->page) {
		fl_buf_puts(&url, "&continue=");
		fl_percent_encode(&url, i->page);
	}
	struct fl_http_call_opts opts = {
	    .url = url.data,
	    .timeout_ms = FL_CLIENT_LIST_TIMEOUT_MS,
	    .stall_timeout_ms = LIST_STALL_MS,
	    .on_done = on_list_done,
	};
	call(i, &opts);
	if (i->call && !i->synced && !i->late)
		await_late(i);
}

// --- watch ---

// What still comes of this stream is not read; it is cancelled and replaced from the timer.
static void abandon(struct fl_informer *i, const char *what, const struct fl_err *err)
{
	i->abandon = true;
	if (what)
		fail(i, what, err);
	else
		schedule(i, 0);
}

static void on_error_event(struct fl_informer *i, const struct fl_json *status)
{
	struct fl_err err = {0};
	int64_t code = fl_json_int(status, "code", 0);
	if (code == 410) {
		i->relist = true;
		abandon(i, NULL, NULL);
		return;
	}
	if (fl_client_status_code((int)code, status, &err) == 0)
		fl_err_set(&err, -EPROTO, "the watch ended with an error event without a code");
	abandon(i, "watch", &err);
}

static void on_bookmark(struct fl_informer *i, const struct fl_json *object)
{
	unsigned long long rv;
	const char *text = fl_json_str(fl_json_get(object, "metadata"), "resourceVersion");
	if (text && fl_parse_u64(text, &rv) && rv > i->rv)
		i->rv = rv;
}

static bool copy_text(struct fl_span text, char *buf, size_t cap)
{
	if (text.n >= cap)
		return false;
	if (text.n)
		memcpy(buf, text.p, text.n);
	buf[text.n] = 0;
	return true;
}

// The event of a write whose answer the cache has already, told by its first bytes, {"type":"ADDED","object":{...
// Of any other form, or when in doubt: false.
static bool is_known(struct fl_informer *i, struct fl_span line)
{
	struct fl_scan s;
	struct fl_span key, type;
	struct fl_scan_meta m;
	char name[256], ns[256];
	if (!fl_scan_begin(&s, line) || !fl_scan_name(&s, &key) || !fl_span_equals(key, "type") ||
	    !fl_scan_skip(&s, &type) || !(fl_span_is(type, "ADDED") || fl_span_is(type, "MODIFIED")) ||
	    !fl_scan_name(&s, &key) || !fl_span_equals(key, "object") ||
	    !fl_scan_identify((struct fl_span){s.at, (size_t)(s.end - s.at)}, &m) ||
	    !copy_text(m.name, name, sizeof(name)) || !copy_text(m.ns, ns, sizeof(ns)))
		return false;
	const struct fl_object *o = fl_cache_find(&i->cache, ns, name);
	if (!o || o->rv != m.rv)
		return false;
	if (m.rv > i->rv)
		i->rv = m.rv;
	return true;
}

static void apply_event(struct fl_informer *i, const struct fl_json *object, bool deleted)
{
	struct fl_object *o = NULL;
	struct fl_err err = {0};
	// With a keeper, nothing of the tree lives longer than this call: it is handed on as it is.
	int rc = i->opts.keeper ? fl_object_wrap(i->resource, object, &o, &err)
				: fl_informer_pack(i, object, NULL, NULL, &o, &err);
	if (rc < 0) {
		abandon(i, "watch", &err);
		return;
	}
	if (o->rv > i->rv)
		i->rv = o->rv;
	if (!i->opts.reduce) {
		i->fresh = o;
		i->fresh_tree = object;
	}
	if (deleted)
		fl_informer_apply_deleted(i, o);
	else
		fl_informer_apply(i, o);
	i->fresh = NULL;
	recovered(i);
}

static void on_frame(struct fl_informer *i, struct fl_span line)
{
	static const struct fl_json_parse_opts opts = {.left_out = {"metadata", "managedFields", 3}};
	struct fl_json *event;
	struct fl_err err = {0};
	if (i->rv < i->wrote_rv && is_known(i, line)) {
		recovered(i);
		return;
	}
	fl_arena_reset(&i->scratch);
	if (fl_json_parse(&i->scratch, line.p, line.n, &opts, &event, &err) < 0) {
		abandon(i, "watch", &err);
		return;
	}
	const char *type = fl_json_str(event, "type");
	const struct fl_json *object = fl_json_get(event, "object");
	if (!type || !object) {
		fl_err_set(&err, -EPROTO, "a line of the watch is no event");
		abandon(i, "watch", &err);
	} else if (fl_streq(type, "BOOKMARK")) {
		on_bookmark(i, object);
		recovered(i);
	} else if (fl_streq(type, "ERROR")) {
		on_error_event(i, object);
	} else {
		apply_event(i, object, fl_streq(type, "DELETED"));
	}
}

static void on_data(void *arg, int status, const char *data, size_t len)
{
	struct fl_informer *i = arg;
	if (i->abandon || i->stopped)
		return;
	if (status != 200) {
		if (i->text.len + len <= MAX_ERROR_BYTES)
			fl_buf_append(&i->text, data, len);
		return;
	}
	i->depth++; // fl_informer_stop from a callback takes effect in a later turn
	for (const char *nl; len && !i->abandon && !i->stopped && (nl = memchr(data, '\n', len));) {
		size_t n = (size_t)(nl - data);
		struct fl_span line = {data, n};
		if (i->text.len) {
			fl_buf_append(&i->text, data, n);
			line = (struct fl_span){i->text.data, i->text.len};
		}
		if (line.n)
			on_frame(i, line);
		i->text.len = 0;
		data += n + 1;
		len -= n + 1;
	}
	i->depth--;
	if (i->abandon || i->stopped)
		return;
	if (i->text.len + len > FL_CLIENT_MAX_FRAME_BYTES) {
		struct fl_err err = {0};
		fl_err_set(&err, -EPROTO, "an event is larger than %d bytes", FL_CLIENT_MAX_FRAME_BYTES);
		abandon(i, "watch", &err);
		return;
	}
	if (len)
		fl_buf_append(&i->text, data, len);
	else if (i->text.cap > 64 * 1024)
		fl_buf_deinit(&i->text); // a large object came by: no reason to keep its room
}

// An answer that is no stream: the revision is compacted (410) or from another history (a restored server says that it
// is too large), or the server refuses for now.
static void on_refused(struct fl_informer *i, int status)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	struct fl_json *answer = NULL;
	struct fl_err why = {0};
	if (fl_json_parse(&a, i->text.data ? i->text.data : "", i->text.len, NULL, &answer, NULL) < 0)
		answer = NULL;
	int rc = fl_client_status_code(status, answer, &why);
	if (status == 410 || status == 404 || (rc < 0 && strstr(why.text, "oo large resource version")))
		i->relist = true;
	if (status == 410)
		schedule(i, 0);
	else
		fail(i, "watch", &why);
}

static void on_watch_done(void *arg, int rc, int status, const char *body, size_t len, const struct fl_err *err)
{
	struct fl_informer *i = arg;
	struct fl_err quick = {0};
	bool abandoned = i->abandon;
	i->call = NULL;
	if (i->stopped || abandoned)
		return; // the timer is set
	if (rc == 0 && status != 200) {
		on_refused(i, status);
	} else if (rc < 0) {
		fail_to_connect(i, err);
	} else if (fl_mono_ms() - i->call_since_ms >= HEALTHY_MS) {
		recovered(i);
		schedule(i, 0);
	} else {
		fl_err_set(&quick, -ECONNRESET, "the stream ended at once");
		fail(i, "watch", &quick);
	}
}

static void start_watch(struct fl_informer *i)
{
	AUTO(fl_buf_deinit) struct fl_buf url = {0};
	put_target(i, &url);
	fl_buf_printf(&url, "watch=1&allowWatchBookmarks=true&resourceVersion=%" PRIu64 "&timeoutSeconds=%u", i->rv,
		      MIN_WATCH_S + (unsigned)fl_random_below(MIN_WATCH_S));
	struct fl_http_call_opts opts = {
	    .url = url.data,
	    .stall_timeout_ms = STALL_MS,
	    .on_data = on_data,
	    .on_done = on_watch_done,
	};
	call(i, &opts);
}

static void on_timer(uv_timer_t *t)
{
	struct fl_informer *i = t->data;
	fl_http_call_cancel(&i->call);
	if (i->listing || i->relist || !i->synced)
		start_list(i);
	else
		start_watch(i);
}

void fl_reflector_start(struct fl_informer *i)
{
	schedule(i, 0);
}

void fl_reflector_relist(struct fl_informer *i)
{
	i->relist = true;
	if (i->listing || !i->synced || i->stopped) // what is under way tells all
		return;
	abandon(i, NULL, NULL);
}

void fl_reflector_stop(struct fl_informer *i)
{
	uv_timer_stop(&i->timer);
	fl_http_call_cancel(&i->call);
}
