// SPDX-License-Identifier: Apache-2.0
// watch: a stream of {"type":...,"object":...} lines (Kubernetes API Concepts: "Efficient detection of changes",
// "Streaming lists").
//
//   start:  no or zero resourceVersion -> the present state as ADDED, then changes
//           resourceVersion N          -> changes after N; 410 Gone as an ERROR line when N was compacted
//           sendInitialEvents          -> the present state, a bookmark with k8s.io/initial-events-end, then changes
//   selectors: an object that begins to match is ADDED, one that ceases to is DELETED
//
// One serialization of an event is shared by every watcher that wants the same form. A watcher whose peer does not read
// is cut off when FL_WATCH_BUFFER_BYTES wait for it: it reconnects from where it was.
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "api/table.h"
#include "apiserver/read.h"
#include "apiserver/respond.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/rand.h"

#define BOOKMARK_MS 30000

struct watcher {
	struct fl_request *r;
	struct fl_filter filter;
	struct fl_store_watch *watch;
	struct fl_arena scratch;
	uv_timer_t timer;
	uint64_t deadline_ms, bookmark_ms; // monotonic
	uint64_t sent_rv;
	bool bookmarks, columns_sent, closing;
};

static const char *const type_names[] = {"ADDED", "MODIFIED", "DELETED"};
_Static_assert(FL_COUNT(type_names) == FL_EVENT_TYPE_COUNT, "a name for each event type");

static void free_watcher(uv_handle_t *h)
{
	struct watcher *w = h->data;
	fl_arena_deinit(&w->scratch);
	free(w);
}

static void on_close(struct fl_http_req *req, void *arg, bool gone)
{
	struct watcher *w = arg;
	w->closing = true;
	fl_store_watch_close(&w->watch);
	uv_close((uv_handle_t *)&w->timer, free_watcher);
}

static struct fl_bytes *frame_json(const char *type, const struct fl_object *o)
{
	char head[48];
	int n = snprintf(head, sizeof(head), "{\"type\":\"%s\",\"object\":", type);
	struct fl_bytes *b = fl_bytes_new(NULL, (size_t)n + o->len + 2);
	memcpy(b->data, head, (size_t)n);
	memcpy(b->data + n, o->json, o->len);
	memcpy(b->data + n + o->len, "}\n", 2);
	return b;
}

static struct fl_bytes *frame_tree(const char *type, const struct fl_json *object)
{
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	fl_buf_printf(&b, "{\"type\":\"%s\",\"object\":", type);
	fl_json_write(&b, object);
	fl_buf_puts(&b, "}\n");
	return fl_bytes_new(b.data, b.len);
}

static void send_frame(struct watcher *w, struct fl_bytes *frame)
{
	fl_http_write(w->r->http, frame);
}

// Sends `o` in the watcher's form. `shared` (may be NULL) keeps the plain form for the next watcher of the same event.
static void send_object(struct watcher *w, const char *type, struct fl_object *o, struct fl_bytes **shared)
{
	struct fl_request *r = w->r;
	if (!r->kind->stored_as && (r->form == FL_FORM_JSON || r->form == FL_FORM_YAML)) {
		if (shared && *shared) {
			send_frame(w, *shared);
			return;
		}
		struct fl_bytes *f = frame_json(type, o);
		send_frame(w, f);
		if (shared)
			*shared = f;
		else
			fl_bytes_put(&f);
		return;
	}
	struct fl_json *tree = fl_kind_from_stored(r->kind, &w->scratch, fl_object_tree(o, &w->scratch));
	if (r->form == FL_FORM_TABLE) {
		struct fl_json *t = fl_table_new(&w->scratch, r->kind, !w->columns_sent);
		w->columns_sent = true;
		fl_json_set_str(&w->scratch, fl_json_ensure_object(&w->scratch, t, "metadata"), "resourceVersion",
				fl_arena_printf(&w->scratch, "%" PRIu64, o->rv));
		fl_table_add(&w->scratch, t, r->kind, tree, fl_table_include_of(r), fl_real_ns());
		tree = t;
	} else if (r->form == FL_FORM_PARTIAL) {
		struct fl_json *p = fl_json_new(&w->scratch, FL_JSON_OBJECT);
		fl_json_set_str(&w->scratch, p, "kind", "PartialObjectMetadata");
		fl_json_set_str(&w->scratch, p, "apiVersion", "meta.k8s.io/v1");
		fl_json_set(&w->scratch, p, "metadata", fl_json_clone(&w->scratch, fl_json_get(tree, "metadata")));
		tree = p;
	}
	struct fl_bytes *f = frame_tree(type, tree);
	send_frame(w, f);
	fl_bytes_put(&f);
}

static bool matches(struct watcher *w, const struct fl_object *o)
{
	return fl_filter_is_all(&w->filter) ||
	       fl_filter_matches(&w->filter, &w->scratch, fl_object_tree(o, &w->scratch));
}

static void send_bookmark(struct watcher *w, uint64_t rv, bool initial_end)
{
	const struct fl_kind *k = w->r->kind;
	char text[320];
	bool table = w->r->form == FL_FORM_TABLE, partial = w->r->form == FL_FORM_PARTIAL;
	int n;
	if (table) {
		n = snprintf(text, sizeof(text),
			     "{\"type\":\"BOOKMARK\",\"object\":{\"kind\":\"Table\",\"apiVersion\":\"meta.k8s.io/"
			     "v1\",\"metadata\":{\"resourceVersion\":\"%" PRIu64
			     "\"},\"columnDefinitions\":null,\"rows\":[]}}\n",
			     rv);
	} else {
		n = snprintf(text, sizeof(text),
			     "{\"type\":\"BOOKMARK\",\"object\":{\"kind\":\"%s\",\"apiVersion\":\"%s\",\"metadata\":{"
			     "\"resourceVersion\":\"%" PRIu64 "\",\"creationTimestamp\":null%s}}}\n",
			     partial ? "PartialObjectMetadata" : k->kind, partial ? "meta.k8s.io/v1" : k->api_version,
			     rv, initial_end ? ",\"annotations\":{\"k8s.io/initial-events-end\":\"true\"}" : "");
	}
	struct fl_bytes *f = fl_bytes_new(text, (size_t)n);
	send_frame(w, f);
	fl_bytes_put(&f);
	w->sent_rv = rv;
	w->bookmark_ms = fl_mono_ms() + BOOKMARK_MS;
}

static void on_event(void *arg, struct fl_store_event *e)
{
	struct watcher *w = arg;
	if (w->closing)
		return;
	bool all = fl_filter_is_all(&w->filter);
	bool now = e->type != FL_EVENT_DELETED && matches(w, e->obj);
	bool before = e->type != FL_EVENT_ADDED && (all || matches(w, e->prev ? e->prev : e->obj));
	if (now || before) {
		enum fl_event_type type = now ? (before ? FL_EVENT_MODIFIED : FL_EVENT_ADDED) : FL_EVENT_DELETED;
		send_object(w, type_names[type], e->obj, type == e->type ? &e->frame[0] : NULL);
		w->sent_rv = e->rv;
	}
	fl_arena_reset(&w->scratch);
	if (fl_http_unsent(w->r->http) > FL_WATCH_BUFFER_BYTES)
		fl_http_abort(w->r->http);
}

static void on_end(void *arg, int rc)
{
	struct watcher *w = arg;
	w->watch = NULL;
	if (!w->closing)
		fl_http_end(w->r->http);
}

static void on_timer(uv_timer_t *t)
{
	struct watcher *w = t->data;
	uint64_t now = fl_mono_ms();
	if (now >= w->deadline_ms) {
		fl_http_end(w->r->http);
		return;
	}
	if (w->bookmarks && now >= w->bookmark_ms)
		send_bookmark(w, fl_store_revision(w->r->s->store), false);
	uint64_t next = w->bookmarks && w->bookmark_ms < w->deadline_ms ? w->bookmark_ms : w->deadline_ms;
	uv_timer_start(&w->timer, on_timer, next > now ? next - now : 1, 0);
}

static bool send_initial(void *arg, struct fl_object *o)
{
	struct watcher *w = arg;
	if (matches(w, o))
		send_object(w, "ADDED", o, NULL);
	fl_arena_reset(&w->scratch);
	return true;
}

static void send_gone(struct watcher *w, uint64_t from, uint64_t oldest)
{
	struct fl_status st = {
	    .code = 410,
	    .reason = "Expired",
	    .message =
		fl_arena_printf(&w->scratch, "too old resource version: %" PRIu64 " (%" PRIu64 ")", from, oldest),
	};
	struct fl_bytes *f = frame_tree("ERROR", fl_status_tree(&w->scratch, &st));
	send_frame(w, f);
	fl_bytes_put(&f);
}

static bool forbid(struct fl_request *r, const char *detail)
{
	struct fl_causes c = {.arena = r->a};
	fl_cause_add(&c, FL_CAUSE_FORBIDDEN, "resourceVersionMatch", NULL, "%s", detail);
	struct fl_status st = fl_status_invalid(r->a, "meta.k8s.io", "ListOptions", "", &c);
	fl_respond_status(r, &st);
	return false;
}

static bool check_options(struct fl_request *r, bool initial)
{
	const char *match = fl_request_param(r, "resourceVersionMatch");
	if (initial && (!match || strcmp(match, "NotOlderThan") != 0))
		return forbid(r, "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan");
	if (!fl_str_empty(match) && !fl_request_param(r, "sendInitialEvents"))
		return forbid(r, "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided");
	return true;
}

void fl_watch_start(struct fl_request *r)
{
	bool initial = fl_request_flag(r, "sendInitialEvents");
	const char *rv_text = fl_request_param(r, "resourceVersion");
	unsigned long long rv = 0, timeout_s = 0;
	if (!check_options(r, initial))
		return;
	if (!fl_str_empty(rv_text) && !fl_parse_u64(rv_text, &rv)) {
		fl_respond_error(r, 400, "BadRequest",
				 "invalid resource version: resourceVersion: Invalid value: \"%s\": strconv.ParseUint: "
				 "parsing \"%s\": invalid syntax",
				 rv_text, rv_text);
		return;
	}
	struct fl_filter filter;
	if (!fl_filter_parse(r, r->a, &filter))
		return;
	const char *t = fl_request_param(r, "timeoutSeconds");
	if (!t || !fl_parse_u64(t, &timeout_s) || timeout_s == 0 || timeout_s > 24 * 3600)
		timeout_s = 1800 + fl_random_below(1800); // spread, so that watches do not all come back at once

	struct watcher *w = FL_NEW(struct watcher);
	struct fl_request *kept = fl_arena_alloc(r->a, sizeof(*kept));
	*kept = *r;
	w->r = kept;
	w->filter = filter;
	w->bookmarks = fl_request_flag(r, "allowWatchBookmarks");
	w->timer.data = w;
	uv_timer_init(r->s->loop, &w->timer);
	uint64_t now = fl_mono_ms();
	w->deadline_ms = now + timeout_s * 1000;
	w->bookmark_ms = now + BOOKMARK_MS;
	fl_http_on_close(r->http, on_close, w);
	fl_http_set_header(r->http, "Cache-Control", "no-cache, private");
	fl_http_start(r->http, 200, r->form == FL_FORM_JSON ? "application/json" : "application/json;stream=watch");

	const char *ns = r->ns[0] || !r->kind->namespaced ? r->ns : NULL;
	uint64_t current = fl_store_revision(r->s->store), from = rv;
	bool with_state = initial || (rv == 0 && !fl_request_param(r, "sendInitialEvents"));
	if (with_state) {
		fl_store_list(r->s->store, r->kind->resource, ns, NULL, NULL, send_initial, w);
		from = current;
	} else if (rv == 0) {
		from = current;
	}
	if (initial && w->bookmarks)
		send_bookmark(w, current, true);
	struct fl_store_watch_opts opts = {.resource = r->kind->resource,
					   .ns = ns,
					   .from_rv = from < current ? from : current,
					   .on_event = on_event,
					   .on_end = on_end,
					   .arg = w};
	struct fl_err err = {0};
	int rc = fl_store_watch_open(r->s->store, &opts, &w->watch, &err);
	if (rc < 0) {
		send_gone(w, from, fl_store_compacted(r->s->store));
		fl_http_end(r->http);
		return;
	}
	uint64_t next = w->bookmarks && w->bookmark_ms < w->deadline_ms ? w->bookmark_ms : w->deadline_ms;
	uv_timer_start(&w->timer, on_timer, next - now, 0);
}
