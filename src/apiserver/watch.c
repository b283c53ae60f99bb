// SPDX-License-Identifier: Apache-2.0
// watch: a stream of {"type":...,"object":...} lines (Kubernetes API Concepts: "Efficient detection of changes",
// "Streaming lists").
//
//   start:  no or zero resourceVersion -> the present state as ADDED, then changes
//           resourceVersion N          -> changes after N; 410 Gone as an ERROR line when N was compacted
//           sendInitialEvents          -> the present state, a bookmark with k8s.io/initial-events-end, then changes
//   selectors: an object that begins to match is ADDED, one that ceases to is DELETED, as it was when it matched
//
//       present state -----all sent-----> LIVE  <- each event
//                                         |  ^
//                 more than HIGH unsent   v  |  less than LOW unsent
//                                         BEHIND
//
// A watcher whose peer reads slowly is not cut off: it leaves the store's dispatch, and when its peer has caught up
// goes on from the revision that it has reached, out of the store's memory or log. What waits for one peer is therefore
// bounded, and so is what the present state costs, which is sent in portions. Only when the log does not reach back
// that far any more the client is told 410, and a peer that takes nothing at all is disconnected by the HTTP server.
//
// One serialization of an event is shared by every watcher that wants the same form, one parsed tree by all selectors.
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "apiserver/read.h"
#include "apiserver/respond.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/rand.h"
#include "base/vec.h"

#define BOOKMARK_MS 30000
#define HIGH        (1024 * 1024) // unsent bytes of one watcher
#define LOW         (HIGH / 4)
#define RESUME_MS   5 // a watcher that is behind is looked at after this time, then less and less often
#define RESUME_MAX  160
#define MAX_TIMEOUT (24 * 3600)

struct watcher {
	struct fl_request *r;
	struct fl_filter filter;
	struct fl_store_watch *watch; // NULL while behind
	uv_timer_t timer;
	uint64_t deadline_ms, bookmark_ms;  // monotonic
	uint64_t rv;                        // everything up to here was sent, or waits in `present`
	FL_VEC(struct fl_object *) present; // the state at the start,
	size_t at;                          // sent up to here
	bool bookmarks, mark_end;           // mark_end: a bookmark says where the present state ends
	bool ended;                         // nothing more is sent
	bool columns_sent;
	unsigned resume_ms;
};

static const char *const type_names[] = {"ADDED", "MODIFIED", "DELETED"};
_Static_assert(FL_COUNT(type_names) == FL_EVENT_TYPE_COUNT, "a name for each event type");

static void free_watcher(uv_handle_t *h)
{
	free(h->data);
}

static void drop_present(struct watcher *w)
{
	for (; w->at < w->present.n; w->at++)
		fl_object_put(&w->present.v[w->at]);
	fl_vec_deinit(&w->present);
	w->at = 0;
}

static void on_close(struct fl_http_req *req, void *arg, bool gone)
{
	struct watcher *w = arg;
	w->ended = true;
	drop_present(w);
	fl_store_watch_close(&w->watch);
	uv_close((uv_handle_t *)&w->timer, free_watcher);
}

// The rest comes with on_close.
static void finish(struct watcher *w)
{
	w->ended = true;
	fl_store_watch_close(&w->watch);
	uv_timer_stop(&w->timer);
	fl_http_end(w->r->http);
}

// --- lines ---

static struct fl_bytes *line_of_object(const char *type, const struct fl_object *o)
{
	char head[48];
	int n = snprintf(head, sizeof(head), "{\"type\":\"%s\",\"object\":", type);
	struct fl_bytes *b = fl_bytes_new(NULL, (size_t)n + o->len + 2);
	memcpy(b->data, head, (size_t)n);
	memcpy(b->data + n, o->json, o->len);
	memcpy(b->data + n + o->len, "}\n", 2);
	return b;
}

static struct fl_bytes *line_of_tree(const char *type, const struct fl_json *object)
{
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	fl_buf_printf(&b, "{\"type\":\"%s\",\"object\":", type);
	fl_json_write(&b, object);
	fl_buf_puts(&b, "}\n");
	return fl_bytes_new(b.data, b.len);
}

static struct fl_bytes *line_of(struct watcher *w, const char *type, struct fl_object *o)
{
	const struct fl_request *r = w->r;
	struct fl_arena *a = &r->s->scratch;
	if (!r->kind->stored_as && (r->form == FL_FORM_JSON || r->form == FL_FORM_YAML))
		return line_of_object(type, o);
	struct fl_json *tree = fl_kind_from_stored(r->kind, a, fl_object_tree(o, a));
	if (r->form == FL_FORM_TABLE) {
		tree = fl_table_of(r, r->kind, a, tree, !w->columns_sent, fl_real_ns());
		w->columns_sent = true;
	} else if (r->form == FL_FORM_PARTIAL) {
		tree = fl_partial_metadata(r, a, tree);
	}
	struct fl_bytes *b = line_of_tree(type, tree);
	fl_arena_reset(a);
	return b;
}

static void send_line(struct watcher *w, struct fl_bytes *line)
{
	fl_http_write(w->r->http, line);
	fl_bytes_put(&line);
}

// Which of the event's shared lines fits this watcher; NULL: none.
static struct fl_bytes **shared_line(const struct watcher *w, struct fl_store_event *e)
{
	const struct fl_request *r = w->r;
	if (r->kind->stored_as || r->form == FL_FORM_TABLE)
		return NULL;
	if (r->form != FL_FORM_PARTIAL)
		return &e->frame[0];
	return strcmp(r->form_version, "v1") == 0 ? &e->frame[1] : NULL;
}

// --- selection ---

static const struct fl_json *tree_of(struct fl_apiserver *s, struct fl_object *o)
{
	for (unsigned i = 0; i < FL_COUNT(s->trees); i++)
		if (s->trees[i].of == o)
			return s->trees[i].tree;
	struct fl_event_tree *t = &s->trees[s->next_tree++ % FL_COUNT(s->trees)];
	fl_object_put(&t->of);
	fl_arena_reset(&t->arena);
	t->of = fl_object_get(o);
	t->tree = fl_object_tree(o, &t->arena);
	return t->tree;
}

void fl_watch_drop_trees(struct fl_apiserver *s)
{
	for (unsigned i = 0; i < FL_COUNT(s->trees); i++) {
		fl_object_put(&s->trees[i].of);
		fl_arena_deinit(&s->trees[i].arena);
	}
}

// `event`: other watchers will ask for the same object.
static bool matches(struct watcher *w, struct fl_object *o, bool event)
{
	struct fl_arena *a = &w->r->s->scratch;
	if (fl_filter_is_all(&w->filter))
		return true;
	const struct fl_json *tree = event && !w->r->kind->stored_as
					 ? tree_of(w->r->s, o)
					 : fl_kind_from_stored(w->r->kind, a, fl_object_tree(o, a));
	bool yes = fl_filter_matches(&w->filter, a, tree);
	fl_arena_reset(a);
	return yes;
}

// `prev` with the revision of the event that took it out of the selection.
static struct fl_object *restamped(const struct fl_object *prev, uint64_t rv)
{
	static const char key[] = "\"resourceVersion\":\"";
	// Quotes inside strings are escaped, and metadata stands before everything that a client fills: the first is
	// it.
	const char *at = strstr(prev->json, key);
	size_t head = (size_t)(at - prev->json) + sizeof(key) - 1, digits = strspn(prev->json + head, "0123456789");
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	fl_buf_append(&b, prev->json, head);
	fl_buf_append(&b, prev->json + head + digits, prev->len - head - digits);
	return fl_object_new(prev->resource, prev->ns, prev->name, prev->uid, b.data, b.len, (long)head, rv);
}

// --- bookmarks ---

static void send_bookmark(struct watcher *w, uint64_t rv, bool initial_end)
{
	const struct fl_request *r = w->r;
	struct fl_arena *a = &r->s->scratch;
	struct fl_json *o = fl_json_new(a, FL_JSON_OBJECT), *meta;
	bool table = r->form == FL_FORM_TABLE, partial = r->form == FL_FORM_PARTIAL;
	fl_json_set_str(a, o, "kind", table ? "Table" : partial ? "PartialObjectMetadata" : r->kind->kind);
	fl_json_set_str(a, o, "apiVersion",
			table || partial ? fl_arena_printf(a, "meta.k8s.io/%s", r->form_version)
					 : r->kind->api_version);
	meta = fl_json_set_object(a, o, "metadata");
	fl_json_set_str(a, meta, "resourceVersion", fl_arena_printf(a, "%" PRIu64, rv));
	if (!table)
		fl_json_set(a, meta, "creationTimestamp", fl_json_new(a, FL_JSON_NULL));
	if (initial_end)
		fl_json_set_str(a, fl_json_set_object(a, meta, "annotations"), "k8s.io/initial-events-end", "true");
	if (table) {
		fl_json_set(a, o, "columnDefinitions", fl_json_new(a, FL_JSON_NULL));
		fl_json_set_array(a, o, "rows");
	}
	send_line(w, line_of_tree("BOOKMARK", o));
	fl_arena_reset(a);
	w->bookmark_ms = fl_mono_ms() + BOOKMARK_MS;
}

// --- from the store to the peer ---

static void on_timer(uv_timer_t *t);

static void arm(struct watcher *w)
{
	uint64_t now = fl_mono_ms(), next = w->deadline_ms;
	if (w->bookmarks && w->bookmark_ms < next)
		next = w->bookmark_ms;
	if (!w->watch && now + w->resume_ms < next)
		next = now + w->resume_ms;
	uv_timer_start(&w->timer, on_timer, next > now ? next - now : 1, 0);
}

static bool is_full(const struct watcher *w)
{
	return fl_http_unsent(w->r->http) > HIGH;
}

static void on_event(void *arg, struct fl_store_event *e)
{
	struct watcher *w = arg;
	if (w->ended)
		return;
	if (w->filter.only_name && strcmp(w->filter.only_name, e->obj->name) != 0) { // most events of most such watches
		w->rv = e->rv;
		return;
	}
	bool now = e->type != FL_EVENT_DELETED && matches(w, e->obj, true);
	bool before = e->type != FL_EVENT_ADDED && matches(w, e->prev ? e->prev : e->obj, true);
	w->rv = e->rv;
	if (!now && !before)
		return;
	enum fl_event_type type = now ? (before ? FL_EVENT_MODIFIED : FL_EVENT_ADDED) : FL_EVENT_DELETED;
	struct fl_bytes **shared = type == e->type ? shared_line(w, e) : NULL;
	if (shared) {
		if (!*shared)
			*shared = line_of(w, type_names[type], e->obj);
		fl_http_write(w->r->http, *shared);
	} else if (type == FL_EVENT_DELETED && e->type != FL_EVENT_DELETED) {
		AUTO(fl_object_put) struct fl_object *was = restamped(e->prev, e->rv);
		send_line(w, line_of(w, type_names[type], was));
	} else {
		send_line(w, line_of(w, type_names[type], e->obj));
	}
	if (is_full(w)) {
		fl_store_watch_close(&w->watch);
		arm(w);
	}
}

static void on_end(void *arg, int rc)
{
	struct watcher *w = arg;
	if (w->ended)
		fl_store_watch_close(&w->watch);
	else
		finish(w);
}

static void send_error(struct watcher *w, const struct fl_status *st)
{
	struct fl_arena *a = &w->r->s->scratch;
	send_line(w, line_of_tree("ERROR", fl_status_tree(a, st)));
	fl_arena_reset(a);
	finish(w);
}

static void go_live(struct watcher *w)
{
	const struct fl_request *r = w->r;
	struct fl_store_watch_opts opts = {.resource = r->kind->resource,
					   .ns = r->ns[0] || !r->kind->namespaced ? r->ns : NULL,
					   .from_rv = w->rv,
					   .on_event = on_event,
					   .on_end = on_end,
					   .arg = w};
	struct fl_err err = {0};
	int rc = fl_store_watch_open(r->s->store, &opts, &w->watch, &err);
	if (rc == 0)
		return;
	bool gone = rc == -ESTALE || rc == -EINVAL; // a revision that never was came from another store
	struct fl_status st = {
	    .code = gone ? 410 : 500,
	    .reason = gone ? "Expired" : "InternalError",
	    .message = gone ? fl_arena_printf(r->a, "too old resource version: %" PRIu64 " (%" PRIu64 ")", w->rv,
					      fl_store_compacted(r->s->store))
			    : fl_arena_strdup(r->a, err.text),
	};
	send_error(w, &st);
}

// Sends what waits of the present state; when all is sent, the watch goes on with events.
static void pump(struct watcher *w)
{
	while (w->at < w->present.n) {
		if (is_full(w))
			return;
		AUTO(fl_object_put) struct fl_object *o = w->present.v[w->at++];
		if (matches(w, o, false))
			send_line(w, line_of(w, type_names[FL_EVENT_ADDED], o));
	}
	drop_present(w);
	if (w->mark_end && w->bookmarks)
		send_bookmark(w, w->rv, true);
	w->mark_end = false;
	go_live(w);
}

static void on_timer(uv_timer_t *t)
{
	struct watcher *w = t->data;
	uint64_t now = fl_mono_ms();
	if (now >= w->deadline_ms) {
		finish(w);
		return;
	}
	if (!w->watch && fl_http_unsent(w->r->http) < LOW) {
		w->resume_ms = RESUME_MS;
		pump(w);
	} else if (!w->watch && w->resume_ms < RESUME_MAX) {
		w->resume_ms *= 2;
	}
	if (w->ended)
		return;
	if (w->bookmarks && now >= w->bookmark_ms && w->watch)
		send_bookmark(w, fl_store_watch_reached(w->watch), false);
	else if (now >= w->bookmark_ms)
		w->bookmark_ms = now + BOOKMARK_MS;
	arm(w);
}

// --- the start ---

static bool check_options(struct fl_request *r)
{
	static const char *const field = "resourceVersionMatch";
	const char *match = fl_request_param(r, field);
	bool initial = fl_request_param(r, "sendInitialEvents") != NULL;
	struct fl_causes c = {.arena = r->a};
	if (initial && !fl_streq(match, "NotOlderThan"))
		fl_cause_add(&c, FL_CAUSE_FORBIDDEN, field, NULL,
			     "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan");
	if (!fl_str_empty(match)) {
		if (!initial)
			fl_cause_add(
			    &c, FL_CAUSE_FORBIDDEN, field, NULL,
			    "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided");
		if (strcmp(match, "NotOlderThan") != 0)
			fl_cause_add(&c, FL_CAUSE_NOT_SUPPORTED, field, fl_json_new_str(r->a, match),
				     "supported values: \"NotOlderThan\"");
		if (!fl_str_empty(fl_request_param(r, "continue")))
			fl_cause_add(&c, FL_CAUSE_FORBIDDEN, field, NULL,
				     "resourceVersionMatch is forbidden when continue is provided");
	}
	return !c.n || fl_read_invalid_options(r, &c);
}

static bool keep(void *arg, struct fl_object *o)
{
	struct watcher *w = arg;
	fl_vec_push(&w->present, fl_object_get(o));
	return true;
}

static uint64_t timeout_ms(int64_t s)
{
	if (s <= 0 || s > MAX_TIMEOUT)
		s = 1800 + fl_random_below(1800); // spread, so that watches do not all come back at once
	return (uint64_t)s * 1000;
}

void fl_watch_start(struct fl_request *r)
{
	bool initial = fl_request_flag(r, "sendInitialEvents");
	struct fl_filter filter;
	uint64_t rv, current = fl_store_revision(r->s->store);
	int64_t timeout_s = 0, ignored;
	if (!fl_request_int(r, "timeoutSeconds", &timeout_s) || !fl_request_int(r, "limit", &ignored) ||
	    !check_options(r) || !fl_read_revision(r, &rv) || !fl_filter_parse(r, r->a, &filter))
		return;
	if (initial && rv > current) {
		fl_read_too_large(r, rv);
		return;
	}
	struct watcher *w = FL_NEW(struct watcher);
	uint64_t now = fl_mono_ms();
	*w = (struct watcher){.r = r,
			      .filter = filter,
			      .bookmarks = fl_request_flag(r, "allowWatchBookmarks"),
			      .mark_end = initial,
			      .resume_ms = RESUME_MS,
			      .deadline_ms = now + timeout_ms(timeout_s),
			      .bookmark_ms = now + BOOKMARK_MS,
			      .rv = rv ? rv : current};
	uv_timer_init(r->s->loop, &w->timer);
	w->timer.data = w;
	fl_http_on_close(r->http, on_close, w);
	fl_http_set_header(r->http, "Cache-Control", "no-cache, private");
	fl_http_start(r->http, 200, "application/json");
	if (initial || (rv == 0 && !fl_request_param(r, "sendInitialEvents"))) {
		w->rv = current;
		fl_read_present(r, &filter, keep, w);
	}
	pump(w);
	if (!w->ended)
		arm(w);
}
