// SPDX-License-Identifier: Apache-2.0
// One entry per (object, type, reason, message): the first occurrence creates an Event, later ones patch its count. At
// most one write per entry is under way; what happens meanwhile is summed into the next. An object that causes new
// texts without end is held to BURST entries and one more per REFILL_MS, as kube's event correlator does.
#include "client/recorder.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"

#define REPEAT_MS   (10 * 60 * 1000)
#define BURST       25
#define REFILL_MS   (5 * 60 * 1000)
#define MAX_ENTRIES 2048 // some 300 bytes each; when full, old ones go and a repeat starts a new Event

struct entry {
	struct fl_recorder *r;
	struct entry *next, **link; // all of the recorder
	char *key;                  // in r->entries; NULL when dropped from there while a write is under way
	char *ns, *name;
	int64_t last_real_ns;
	uint64_t last_ms;
	unsigned count, written;
	struct fl_client_call *call;
};

struct budget { // of one object
	uint64_t since_ms;
	unsigned used;
};

struct fl_recorder {
	struct fl_client *c;
	char *component, *host;
	struct fl_map entries; // struct entry by key
	struct fl_map budgets; // struct budget by uid
	struct entry *all;
};

struct fl_recorder *fl_recorder_new(struct fl_client *c, const char *component, const char *host)
{
	struct fl_recorder *r = FL_NEW(struct fl_recorder);
	r->c = c;
	r->component = fl_strdup(component);
	r->host = host ? fl_strdup(host) : NULL;
	return r;
}

static void free_entry(struct entry *e)
{
	fl_client_cancel(&e->call);
	*e->link = e->next;
	if (e->next)
		e->next->link = e->link;
	free(e->key);
	free(e->ns);
	free(e->name);
	free(e);
}

static void clear_budgets(struct fl_recorder *r)
{
	for (struct fl_map_iter it = {0}; fl_map_next(&r->budgets, &it);)
		free(it.value);
	fl_map_deinit(&r->budgets);
}

void fl_recorder_free(struct fl_recorder **rp)
{
	struct fl_recorder *r = TAKE_PTR(*rp);
	if (!r)
		return;
	for (struct entry *e = r->all, *after; e; e = after) {
		after = e->next;
		free_entry(e);
	}
	fl_map_deinit(&r->entries);
	clear_budgets(r);
	free(r->component);
	free(r->host);
	free(r);
}

static void drop(struct entry *e)
{
	if (e->key)
		fl_map_del(&e->r->entries, e->key);
	free_entry(e);
}

static void make_room(struct fl_recorder *r, uint64_t now)
{
	if (r->entries.n < MAX_ENTRIES)
		return;
	for (int pass = 0; pass < 2 && r->entries.n >= MAX_ENTRIES; pass++)
		for (struct entry *e = r->all, *next; e; e = next) {
			next = e->next;
			if (!e->call && (pass == 1 || now - e->last_ms > REPEAT_MS))
				drop(e);
		}
	clear_budgets(r);
}

static bool within_budget(struct fl_recorder *r, const char *uid, uint64_t now)
{
	struct budget *b = fl_map_get(&r->budgets, uid);
	if (!b) {
		b = FL_NEW(struct budget);
		b->since_ms = now;
		fl_map_set(&r->budgets, uid, b);
	}
	unsigned refilled = (unsigned)((now - b->since_ms) / REFILL_MS);
	if (refilled) {
		b->used = refilled >= b->used ? 0 : b->used - refilled;
		b->since_ms += (uint64_t)refilled * REFILL_MS;
	}
	if (b->used >= BURST)
		return false;
	b->used++;
	return true;
}

static void patch_count(struct entry *e);

static void on_written(void *arg, int rc, int http_status, struct fl_arena *a, struct fl_json *body,
		       const struct fl_err *err)
{
	struct entry *e = arg;
	e->call = NULL;
	if (rc < 0) {
		// A namespace that is being deleted takes no events, and of a server that does not answer the client
		// tells.
		if (http_status && http_status != 403)
			fl_warn("recorder: event dropped name=%s/%s error=%s", e->ns, e->name, err->text);
		drop(e);
		return;
	}
	if (e->count > e->written)
		patch_count(e);
}

static void patch_count(struct entry *e)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	char time[FL_TIME_STRLEN];
	struct fl_json *p = fl_json_new(&a, FL_JSON_OBJECT);
	fl_json_set_int(&a, p, "count", e->count);
	fl_json_set_str(&a, p, "lastTimestamp", fl_time_format(e->last_real_ns, time));
	e->written = e->count;
	fl_client_patch(e->r->c, &fl_gvr_events, e->ns, e->name, NULL, FL_PATCH_MERGE, p, on_written, e, &e->call);
}

static void create(struct entry *e, const struct fl_object *about, const char *type, const char *reason,
		   const char *message)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	char time[FL_TIME_STRLEN];
	struct fl_recorder *r = e->r;
	const struct fl_json *tree = fl_object_tree(about, &a);
	struct fl_json *o = fl_json_new(&a, FL_JSON_OBJECT);
	fl_json_set_str(&a, o, "kind", "Event");
	fl_json_set_str(&a, o, "apiVersion", "v1");
	struct fl_json *m = fl_json_set_object(&a, o, "metadata");
	fl_json_set_str(&a, m, "name", e->name);
	fl_json_set_str(&a, m, "namespace", e->ns);
	struct fl_json *ref = fl_json_set_object(&a, o, "involvedObject");
	fl_json_set_str(&a, ref, "kind", fl_json_str(tree, "kind"));
	if (about->ns[0])
		fl_json_set_str(&a, ref, "namespace", about->ns);
	fl_json_set_str(&a, ref, "name", about->name);
	fl_json_set_str(&a, ref, "uid", about->uid);
	fl_json_set_str(&a, ref, "apiVersion", fl_json_str(tree, "apiVersion"));
	if (about->rv)
		fl_json_set_str(&a, ref, "resourceVersion", fl_arena_printf(&a, "%" PRIu64, about->rv));
	fl_json_set_str(&a, o, "reason", reason);
	fl_json_set_str(&a, o, "message", message);
	struct fl_json *source = fl_json_set_object(&a, o, "source");
	fl_json_set_str(&a, source, "component", r->component);
	if (r->host)
		fl_json_set_str(&a, source, "host", r->host);
	fl_time_format(e->last_real_ns, time);
	fl_json_set_str(&a, o, "firstTimestamp", time);
	fl_json_set_str(&a, o, "lastTimestamp", time);
	fl_json_set_int(&a, o, "count", 1);
	fl_json_set_str(&a, o, "type", type);
	fl_json_set_str(&a, o, "reportingComponent", r->component);
	fl_json_set_str(&a, o, "reportingInstance", r->host ? r->host : "");
	e->written = 1;
	fl_client_create(r->c, &fl_gvr_events, e->ns, o, on_written, e, &e->call);
}

void fl_recorder_event(struct fl_recorder *r, const struct fl_object *about, const char *type, const char *reason,
		       const char *fmt, ...)
{
	AUTO(fl_buf_deinit) struct fl_buf message = {0}, key = {0};
	va_list ap;
	va_start(ap, fmt);
	fl_buf_vprintf(&message, fmt, ap);
	va_end(ap);
	if (message.len > 1024) { // the API's bound of `note`
		memcpy(message.data + 1021, "...", 4);
		message.len = 1024;
	}
	fl_buf_printf(&key, "%s/%s/%s/%s/%s/%s", about->resource, about->ns, about->uid, type, reason,
		      message.data ? message.data : "");
	uint64_t now = fl_mono_ms();
	struct entry *e = fl_map_get(&r->entries, key.data);
	if (e && now - e->last_ms > REPEAT_MS && !e->call) {
		drop(e);
		e = NULL;
	}
	if (e) {
		e->count++;
		e->last_ms = now;
		e->last_real_ns = fl_real_ns();
		if (!e->call)
			patch_count(e);
		return;
	}
	if (!within_budget(r, about->uid, now))
		return;
	make_room(r, now);
	e = FL_NEW(struct entry);
	*e = (struct entry){
	    .r = r,
	    .next = r->all,
	    .link = &r->all,
	    .key = fl_buf_take(&key),
	    .ns = fl_strdup(about->ns[0] ? about->ns : "default"),
	    .last_real_ns = fl_real_ns(),
	    .last_ms = now,
	    .count = 1,
	};
	e->name = fl_asprintf("%.200s.%016" PRIx64, about->name, (uint64_t)e->last_real_ns);
	if (e->next)
		e->next->link = &e->next;
	r->all = e;
	fl_map_set(&r->entries, e->key, e);
	create(e, about, type, reason, message.data ? message.data : "");
}
