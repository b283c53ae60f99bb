// SPDX-License-Identifier: Apache-2.0
// get and list. A list without selectors is a concatenation of the bytes at rest; with selectors, or as a table, each
// object is parsed, judged, written and dropped before the next. (Kubernetes API Concepts: "Retrieving large results
// sets in chunks", "Resource versions")
#include "apiserver/read.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "api/table.h"
#include "apiserver/respond.h"
#include "base/clock.h"
#include "base/mem.h"

void fl_read_get(struct fl_request *r)
{
	uint64_t asked;
	if (!fl_read_revision(r, &asked))
		return;
	if (asked > fl_store_revision(r->s->store)) {
		fl_read_too_large(r, asked);
		return;
	}
	AUTO(fl_object_put) struct fl_object *o = fl_store_get(r->s->store, r->kind->resource, r->ns, r->name);
	if (!o) {
		fl_respond_not_found(r);
		return;
	}
	fl_respond_object(r, 200, o);
}

// metadata.name=<name of the request>, and what else the client selects. (apimachinery fields.EscapeValue)
static const char *name_selector(struct fl_request *r, const char *fields)
{
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	fl_buf_puts(&b, "metadata.name=");
	for (const char *p = r->name; *p; p++) {
		if (strchr("\\,=", *p))
			fl_buf_putc(&b, '\\');
		fl_buf_putc(&b, *p);
	}
	if (!fl_str_empty(fields))
		fl_buf_printf(&b, ",%s", fields);
	return fl_arena_strdup(r->a, b.data);
}

bool fl_filter_parse(struct fl_request *r, struct fl_arena *a, struct fl_filter *ret)
{
	struct fl_err err = {0};
	struct fl_filter f = {0};
	const char *labels = fl_request_param(r, "labelSelector"), *fields = fl_request_param(r, "fieldSelector");
	if (!fl_str_empty(labels) && fl_label_selector_parse(a, labels, &f.labels, &err) < 0) {
		fl_respond_error(r, 400, "BadRequest", "%s", err.text);
		return false;
	}
	if (r->name) // a watch of one object
		fields = name_selector(r, fields);
	if (!fl_str_empty(fields)) {
		if (fl_field_selector_parse(a, r->kind, fields, &f.fields, &err) < 0) {
			fl_respond_error(r, 400, "BadRequest", "%s", err.text);
			return false;
		}
		f.only_name = fl_field_selector_name(f.fields);
	}
	*ret = f;
	return true;
}

bool fl_filter_matches(const struct fl_filter *f, struct fl_arena *scratch, const struct fl_json *obj)
{
	if (f->labels && !fl_selector_matches(f->labels, fl_json_path(obj, "metadata", "labels", NULL)))
		return false;
	return !f->fields || fl_field_selector_matches(scratch, f->fields, obj);
}

void fl_read_present(struct fl_request *r, const struct fl_filter *filter, fl_store_visit visit, void *arg)
{
	const char *ns = r->ns[0] || !r->kind->namespaced ? r->ns : NULL;
	if (!filter->only_name || !ns) {
		fl_store_list(r->s->store, r->kind->resource, ns, NULL, NULL, visit, arg);
		return;
	}
	AUTO(fl_object_put) struct fl_object *o = fl_store_get(r->s->store, r->kind->resource, ns, filter->only_name);
	if (o)
		visit(arg, o);
}

struct list {
	struct fl_request *r;
	const struct fl_filter *filter;
	struct fl_arena scratch;
	struct fl_buf out; // the answer as far as it is written; the items come last
	unsigned long long limit, n;
	long long rest; // how many follow the last one taken; with selectors only whether any do
	struct fl_object *last;
	int64_t now_ns;
};

static void append_item(struct list *l, struct fl_object *o, struct fl_json *tree)
{
	const struct fl_request *r = l->r;
	struct fl_arena *a = &l->scratch;
	if (l->n++)
		fl_buf_putc(&l->out, ',');
	if (r->form == FL_FORM_TABLE)
		fl_json_write(
		    &l->out, fl_json_index(fl_json_get(fl_table_of(r, r->kind, a, tree, false, l->now_ns), "rows"), 0));
	else if (r->form == FL_FORM_PARTIAL)
		fl_json_write(&l->out, fl_partial_metadata(r, a, tree));
	else if (r->kind->stored_as)
		fl_json_write(&l->out, tree);
	else
		fl_append_list_item(&l->out, r->kind, o);
}

static bool visit(void *arg, struct fl_object *o)
{
	struct list *l = arg;
	const struct fl_request *r = l->r;
	struct fl_json *tree = NULL;
	bool all = fl_filter_is_all(l->filter), full = l->limit && l->n == l->limit;
	bool whole = r->kind->stored_as || r->form == FL_FORM_TABLE || r->form == FL_FORM_PARTIAL;
	if (full && all) {
		l->rest++;
		return true;
	}
	fl_arena_reset(&l->scratch);
	if (l->filter->only_name && strcmp(l->filter->only_name, o->name) != 0)
		return true;
	if (!all || whole)
		tree = fl_kind_from_stored(r->kind, &l->scratch, fl_object_tree(o, &l->scratch));
	if (!all && !fl_filter_matches(l->filter, &l->scratch, tree))
		return true;
	if (full) {
		l->rest = 1;
		return false;
	}
	append_item(l, o, tree);
	fl_object_put(&l->last);
	l->last = fl_object_get(o);
	return true;
}

static void list_deinit(struct list *l)
{
	fl_arena_deinit(&l->scratch);
	fl_buf_deinit(&l->out);
	fl_object_put(&l->last);
}

// {"v":"meta.k8s.io/v1","rv":N,"start":"ns/name"} in unpadded base64url: goes on behind that key, in the state of
// revision N. N = -1: in the newest state, where N is compacted and an inconsistent list is better than none.
static const char *continue_encode(struct fl_arena *a, int64_t rv, const char *ns, const char *name)
{
	AUTO(fl_buf_deinit) struct fl_buf j = {0}, b = {0};
	fl_buf_printf(&j, "{\"v\":\"meta.k8s.io/v1\",\"rv\":%" PRId64 ",\"start\":", rv);
	AUTO_FREE char *start = fl_asprintf("%s/%s", ns, name);
	fl_json_write_string(&j, start, strlen(start));
	fl_buf_putc(&j, '}');
	fl_base64_encode(&b, j.data, j.len);
	for (size_t i = 0; i < b.len; i++)
		b.data[i] = (char)(b.data[i] == '+' ? '-' : b.data[i] == '/' ? '_' : b.data[i]);
	while (b.len && b.data[b.len - 1] == '=')
		b.data[--b.len] = 0;
	return fl_arena_strdup(a, b.data);
}

static bool continue_decode(struct fl_arena *a, const char *text, int64_t *ret_rv, const char **ret_ns,
			    const char **ret_name)
{
	AUTO(fl_buf_deinit) struct fl_buf std = {0}, raw = {0};
	for (const char *p = text; *p; p++)
		fl_buf_putc(&std, (char)(*p == '-' ? '+' : *p == '_' ? '/' : *p));
	while (std.len % 4)
		fl_buf_putc(&std, '=');
	struct fl_json *j;
	if (!std.len || !fl_base64_decode(&raw, std.data, std.len) ||
	    fl_json_parse(a, raw.data, raw.len, NULL, &j, NULL) < 0)
		return false;
	const char *start = fl_json_str(j, "start"), *slash = start ? strchr(start, '/') : NULL;
	int64_t rv = fl_json_int(j, "rv", 0);
	if (!slash || (rv <= 0 && rv != -1) || !fl_streq(fl_json_str(j, "v"), "meta.k8s.io/v1"))
		return false;
	*ret_rv = rv;
	*ret_ns = fl_arena_strndup(a, start, (size_t)(slash - start));
	*ret_name = fl_arena_strdup(a, slash + 1);
	return true;
}

// --- which revision ---

bool fl_read_invalid_options(struct fl_request *r, const struct fl_causes *causes)
{
	struct fl_status st = fl_status_invalid(r->a, "meta.k8s.io", "ListOptions", "", causes);
	fl_respond_status(r, &st);
	return false;
}

bool fl_read_revision(struct fl_request *r, uint64_t *ret)
{
	const char *text = fl_request_param(r, "resourceVersion");
	unsigned long long rv = 0;
	if (!fl_str_empty(text) && !fl_parse_u64(text, &rv)) {
		fl_respond_error(r, 400, "BadRequest",
				 "invalid resource version: resourceVersion: Invalid value: \"%s\": strconv.ParseUint: "
				 "parsing \"%s\": invalid syntax",
				 text, text);
		return false;
	}
	*ret = rv;
	return true;
}

void fl_read_too_large(struct fl_request *r, uint64_t rv)
{
	struct fl_cause cause = {.type = FL_CAUSE_RV_TOO_LARGE, .message = "Too large resource version"};
	struct fl_causes c = {.arena = r->a, .v = &cause, .n = 1, .cap = 1};
	struct fl_status st = {
	    .code = 504,
	    .reason = "Timeout",
	    .message = fl_arena_printf(r->a, "Timeout: Too large resource version: %" PRIu64 ", current: %" PRIu64, rv,
				       fl_store_revision(r->s->store)),
	    .retry_after_s = 1,
	    .causes = &c,
	};
	fl_respond_status(r, &st);
}

// What the client asked for: a revision exactly, a place to go on from, or simply what is there now.
struct where {
	uint64_t rv;
	const char *after_ns, *after_name; // NULL: from the start
};

// apimachinery internalversion/validation ValidateListOptions
static bool check_options(struct fl_request *r)
{
	static const char *const field = "resourceVersionMatch";
	const char *match = fl_request_param(r, field), *rv = fl_request_param(r, "resourceVersion");
	struct fl_causes c = {.arena = r->a};
	if (!fl_str_empty(match)) {
		if (fl_str_empty(rv))
			fl_cause_add(&c, FL_CAUSE_FORBIDDEN, field, NULL,
				     "resourceVersionMatch is forbidden unless resourceVersion is provided");
		if (!fl_str_empty(fl_request_param(r, "continue")))
			fl_cause_add(&c, FL_CAUSE_FORBIDDEN, field, NULL,
				     "resourceVersionMatch is forbidden when continue is provided");
		if (strcmp(match, "Exact") != 0 && strcmp(match, "NotOlderThan") != 0)
			fl_cause_add(&c, FL_CAUSE_NOT_SUPPORTED, field, fl_json_new_str(r->a, match),
				     "supported values: \"Exact\", \"NotOlderThan\", \"\"");
		if (!strcmp(match, "Exact") && fl_streq(rv, "0"))
			fl_cause_add(&c, FL_CAUSE_FORBIDDEN, field, NULL,
				     "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"");
	}
	if (fl_request_param(r, "sendInitialEvents"))
		fl_cause_add(&c, FL_CAUSE_FORBIDDEN, "sendInitialEvents", NULL,
			     "sendInitialEvents is forbidden for list");
	return !c.n || fl_read_invalid_options(r, &c);
}

static bool bad_request(struct fl_request *r, const char *what, const char *value)
{
	fl_respond_error(r, 400, "BadRequest", "%s%s", what, value);
	return false;
}

static bool choose_where(struct fl_request *r, bool limited, struct where *ret)
{
	const char *cont = fl_request_param(r, "continue"), *match = fl_request_param(r, "resourceVersionMatch");
	uint64_t asked, current = fl_store_revision(r->s->store);
	*ret = (struct where){.rv = current};
	if (!check_options(r) || !fl_read_revision(r, &asked))
		return false;
	if (!fl_str_empty(cont)) {
		int64_t rv;
		if (asked)
			return bad_request(r, "specifying resource version is not allowed when using continue", "");
		if (!continue_decode(r->a, cont, &rv, &ret->after_ns, &ret->after_name))
			return bad_request(r, "invalid continue token: continue key is not valid: ", cont);
		if (rv > 0)
			ret->rv = (uint64_t)rv;
		return true;
	}
	if (asked > current) {
		fl_read_too_large(r, asked);
		return false;
	}
	// "Semantics for list": a limit without a match means exactly this revision.
	if (asked && (fl_streq(match, "Exact") || (limited && fl_str_empty(match))))
		ret->rv = asked;
	return true;
}

static void expired(struct fl_request *r, const struct where *at)
{
	struct fl_status st = {.code = 410, .reason = "Expired"};
	if (!at->after_ns) {
		st.message = "The resourceVersion for the provided list is too old.";
		fl_respond_status(r, &st);
		return;
	}
	st.message =
	    "The provided continue parameter is too old to display a consistent list result. You can start a new "
	    "list without the continue parameter, or use the continue token in this response to retrieve the "
	    "remainder of the results. Continuing with the provided token results in an inconsistent list - "
	    "objects that were created, modified, or deleted between the time the first chunk was returned and "
	    "now may show up in the list.";
	struct fl_json *tree = fl_status_tree(r->a, &st);
	fl_json_set_str(r->a, fl_json_ensure_object(r->a, tree, "metadata"), "continue",
			continue_encode(r->a, -1, at->after_ns, at->after_name));
	r->form = FL_FORM_JSON;
	fl_respond_tree(r, 410, tree);
}

// --- list ---

static bool walk(struct list *l, const struct where *at, const char *ns)
{
	struct fl_request *r = l->r;
	struct fl_store *store = r->s->store;
	const char *resource = r->kind->resource;
	struct fl_err err = {0};
	if (at->rv == fl_store_revision(store) && !at->after_ns && l->filter->only_name) {
		fl_read_present(r, l->filter, visit, l);
		return true;
	}
	if (at->rv == fl_store_revision(store)) {
		fl_store_list(store, resource, ns, at->after_ns, at->after_name, visit, l);
		return true;
	}
	int rc = fl_store_list_at(store, at->rv, resource, ns, at->after_ns, at->after_name, visit, l, &err);
	if (rc == -ESTALE)
		expired(r, at);
	else if (rc == -EINVAL) // a token of another store
		bad_request(r, "invalid continue token: ", err.text);
	else if (rc < 0)
		fl_respond_error(r, 500, "InternalError", "%s", err.text);
	return rc == 0;
}

// metadata of the list, and what stands before the items. `next` NULL: this is all.
static void put_head(const struct list *l, struct fl_buf *b, uint64_t rv, const char *next)
{
	const struct fl_request *r = l->r;
	if (r->form == FL_FORM_TABLE)
		fl_buf_printf(b, "{\"kind\":\"Table\",\"apiVersion\":\"meta.k8s.io/%s\"", r->form_version);
	else if (r->form == FL_FORM_PARTIAL)
		fl_buf_printf(b, "{\"kind\":\"PartialObjectMetadataList\",\"apiVersion\":\"meta.k8s.io/%s\"",
			      r->form_version);
	else
		fl_buf_printf(b, "{\"kind\":\"%s\",\"apiVersion\":\"%s\"", r->kind->list_kind, r->kind->api_version);
	fl_buf_printf(b, ",\"metadata\":{\"resourceVersion\":\"%" PRIu64 "\"", rv);
	if (next)
		fl_buf_printf(b, ",\"continue\":\"%s\"", next);
	if (next && fl_filter_is_all(l->filter))
		fl_buf_printf(b, ",\"remainingItemCount\":%lld", l->rest);
	fl_buf_putc(b, '}');
	if (r->form == FL_FORM_TABLE) {
		fl_buf_puts(b, ",\"columnDefinitions\":");
		fl_json_write(b, fl_json_get(fl_table_new(r->a, r->kind, true), "columnDefinitions"));
	}
	fl_buf_puts(b, r->form == FL_FORM_TABLE ? ",\"rows\":[" : ",\"items\":[");
}

// Ends the list: nothing of it is copied on the way out.
static void respond_list(struct list *l)
{
	struct fl_request *r = l->r;
	struct fl_json *tree;
	fl_buf_puts(&l->out, "]}\n");
	struct fl_bytes *b = fl_bytes_end(&l->out);
	if (r->form != FL_FORM_YAML && !fl_request_pretty(r)) {
		fl_http_set_header(r->http, "Cache-Control", "no-cache, private");
		fl_http_respond_bytes(r->http, 200, "application/json", b);
	} else if (fl_json_parse(r->a, b->data, b->len, NULL, &tree, NULL) == 0) {
		fl_respond_tree(r, 200, tree);
	} else {
		fl_respond_error(r, 500, "InternalError", "the list did not parse");
	}
	fl_bytes_put(&b);
}

void fl_read_list(struct fl_request *r)
{
	struct fl_filter filter;
	struct where at;
	int64_t limit = 0, ignored;
	const char *next = NULL;
	if (!fl_request_int(r, "limit", &limit) || !fl_request_int(r, "timeoutSeconds", &ignored))
		return;
	if (limit < 0) // none, as in Kubernetes
		limit = 0;
	if (!fl_filter_parse(r, r->a, &filter) || !choose_where(r, limit != 0, &at))
		return;
	AUTO(list_deinit)
	struct list l = {.r = r, .filter = &filter, .now_ns = fl_real_ns(), .limit = (unsigned long long)limit};
	const char *ns = r->ns[0] || !r->kind->namespaced ? r->ns : NULL;
	if (limit) { // the head tells what follows, so it is written after the items
		if (!walk(&l, &at, ns))
			return;
		AUTO(fl_buf_deinit) struct fl_buf items = l.out;
		l.out = (struct fl_buf){0};
		if (l.rest)
			next = continue_encode(r->a, (int64_t)at.rv, l.last->ns, l.last->name);
		fl_bytes_begin(&l.out);
		put_head(&l, &l.out, at.rv, next);
		fl_buf_append(&l.out, items.data, items.len);
	} else {
		fl_bytes_begin(&l.out);
		put_head(&l, &l.out, at.rv, NULL);
		if (!walk(&l, &at, ns))
			return;
	}
	respond_list(&l);
}
