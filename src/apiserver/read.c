// SPDX-License-Identifier: Apache-2.0
// get and list. A list without selectors is a concatenation of the bytes at rest; with selectors each object is parsed,
// judged and dropped. (Kubernetes API Concepts: "Retrieving large results sets in chunks", "Resource versions")
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
	AUTO(fl_object_put) struct fl_object *o = fl_store_get(r->s->store, r->kind->resource, r->ns, r->name);
	if (!o) {
		fl_respond_not_found(r);
		return;
	}
	if (r->kind->hooks->warning) {
		const char *w = r->kind->hooks->warning(NULL);
		if (w)
			fl_respond_add_warning(r, w);
	}
	fl_respond_object(r, 200, o);
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
	if (r->name)
		fields = fl_arena_printf(r->a, "metadata.name=%s", r->name);
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

struct list {
	struct fl_request *r;
	const struct fl_filter *filter;
	struct fl_arena scratch;
	struct fl_buf items;   // JSON and PARTIAL: serialized items
	struct fl_json *table; // TABLE
	unsigned long long limit, n;
	bool more; // something followed the last one taken
	struct fl_object *last;
	int64_t now_ns;
};

static bool visit(void *arg, struct fl_object *o)
{
	struct list *l = arg;
	struct fl_request *r = l->r;
	struct fl_json *tree = NULL;
	bool parse = r->form != FL_FORM_JSON || r->kind->stored_as || !fl_filter_is_all(l->filter);
	if (parse) {
		// A table keeps what it takes from the tree until it is written.
		struct fl_arena *a = r->form == FL_FORM_TABLE ? r->a : &l->scratch;
		tree = fl_kind_from_stored(r->kind, a, fl_object_tree(o, a));
		if (!fl_filter_matches(l->filter, &l->scratch, tree)) {
			fl_arena_reset(&l->scratch);
			return true;
		}
	}
	if (l->limit && l->n == l->limit) {
		l->more = true;
		return false;
	}
	l->n++;
	fl_object_put(&l->last);
	l->last = fl_object_get(o);
	if (r->form == FL_FORM_TABLE) {
		fl_table_add(r->a, l->table, r->kind, tree, fl_table_include_of(r), l->now_ns);
		return true;
	}
	if (l->items.len)
		fl_buf_putc(&l->items, ',');
	if (r->form == FL_FORM_PARTIAL)
		fl_json_write(&l->items, fl_partial_metadata(r, tree));
	else if (r->kind->stored_as)
		fl_json_write(&l->items, tree);
	else
		fl_append_list_item(&l->items, r->kind, o);
	fl_arena_reset(&l->scratch);
	return true;
}

static void list_deinit(struct list *l)
{
	fl_arena_deinit(&l->scratch);
	fl_buf_deinit(&l->items);
	fl_object_put(&l->last);
}

static const char *continue_encode(struct fl_arena *a, uint64_t rv, const struct fl_object *last)
{
	AUTO(fl_buf_deinit) struct fl_buf j = {0}, b = {0};
	fl_buf_printf(&j, "{\"v\":\"meta.k8s.io/v1\",\"rv\":%" PRIu64 ",\"start\":", rv);
	AUTO_FREE char *start = fl_asprintf("%s/%s", last->ns, last->name);
	fl_json_write_string(&j, start, strlen(start));
	fl_buf_putc(&j, '}');
	fl_base64_encode(&b, j.data, j.len);
	for (size_t i = 0; i < b.len; i++)
		b.data[i] = (char)(b.data[i] == '+' ? '-' : b.data[i] == '/' ? '_' : b.data[i]);
	while (b.len && b.data[b.len - 1] == '=')
		b.data[--b.len] = 0;
	return fl_arena_strdup(a, b.data);
}

// {"v":"meta.k8s.io/v1","rv":N,"start":"ns/name"} in unpadded base64url.
static bool continue_decode(struct fl_arena *a, const char *text, uint64_t *ret_rv, const char **ret_ns,
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
	if (!slash || rv <= 0 || !fl_streq(fl_json_str(j, "v"), "meta.k8s.io/v1"))
		return false;
	*ret_rv = (uint64_t)rv;
	*ret_ns = fl_arena_strndup(a, start, (size_t)(slash - start));
	*ret_name = fl_arena_strdup(a, slash + 1);
	return true;
}

static void invalid_option(struct fl_request *r, const char *field, enum fl_cause_type type, const char *detail)
{
	struct fl_causes c = {.arena = r->a};
	fl_cause_add(&c, type, field, NULL, "%s", detail);
	struct fl_status st = fl_status_invalid(r->a, "meta.k8s.io", "ListOptions", "", &c);
	fl_respond_status(r, &st);
}

// resourceVersion as the client asks for it. False: answered.
static bool wanted_revision(struct fl_request *r, uint64_t *ret)
{
	const char *text = fl_request_param(r, "resourceVersion"), *match = fl_request_param(r, "resourceVersionMatch");
	unsigned long long rv = 0;
	if (!fl_str_empty(text) && !fl_parse_u64(text, &rv)) {
		fl_respond_error(r, 400, "BadRequest",
				 "invalid resource version: resourceVersion: Invalid value: \"%s\": strconv.ParseUint: "
				 "parsing \"%s\": invalid syntax",
				 text, text);
		return false;
	}
	if (!fl_str_empty(match) && fl_str_empty(text)) {
		invalid_option(r, "resourceVersionMatch", FL_CAUSE_FORBIDDEN,
			       "resourceVersionMatch is forbidden unless resourceVersion is provided");
		return false;
	}
	if (!fl_str_empty(match) && strcmp(match, "Exact") != 0 && strcmp(match, "NotOlderThan") != 0) {
		struct fl_causes c = {.arena = r->a};
		fl_cause_add(&c, FL_CAUSE_NOT_SUPPORTED, "resourceVersionMatch", fl_json_new_str(r->a, match),
			     "supported values: \"Exact\", \"NotOlderThan\", \"\"");
		struct fl_status st = fl_status_invalid(r->a, "meta.k8s.io", "ListOptions", "", &c);
		fl_respond_status(r, &st);
		return false;
	}
	uint64_t current = fl_store_revision(r->s->store);
	if (rv > current) {
		struct fl_cause cause = {.type = FL_CAUSE_RV_TOO_LARGE, .message = "Too large resource version"};
		struct fl_causes c = {.arena = r->a, .v = &cause, .n = 1, .cap = 1};
		struct fl_status st = {
		    .code = 504,
		    .reason = "Timeout",
		    .message = fl_arena_printf(r->a, "Timeout: Too large resource version: %llu, current: %" PRIu64, rv,
					       current),
		    .retry_after_s = 1,
		    .causes = &c,
		};
		fl_respond_status(r, &st);
		return false;
	}
	*ret = rv;
	return true;
}

void fl_read_list(struct fl_request *r)
{
	struct fl_filter filter;
	uint64_t asked;
	if (!fl_filter_parse(r, r->a, &filter) || !wanted_revision(r, &asked))
		return;
	AUTO(list_deinit) struct list l = {.r = r, .filter = &filter, .now_ns = fl_real_ns()};
	const char *limit = fl_request_param(r, "limit"), *cont = fl_request_param(r, "continue"),
		   *match = fl_request_param(r, "resourceVersionMatch");
	if (!fl_str_empty(limit) && !fl_parse_u64(limit, &l.limit)) {
		fl_respond_error(r, 400, "BadRequest", "limit: Invalid value: \"%s\": must be a non-negative integer",
				 limit);
		return;
	}
	uint64_t current = fl_store_revision(r->s->store), rv = current;
	const char *after_ns = NULL, *after_name = NULL;
	if (match && !strcmp(match, "Exact") && asked)
		rv = asked;
	if (!fl_str_empty(cont) && !continue_decode(r->a, cont, &rv, &after_ns, &after_name)) {
		fl_respond_error(r, 400, "BadRequest", "invalid continue token: continue key is not valid: %s", cont);
		return;
	}
	if (r->form == FL_FORM_TABLE)
		l.table = fl_table_new(r->a, r->kind, true);
	if (r->kind->hooks->warning) {
		const char *w = r->kind->hooks->warning(NULL);
		if (w)
			fl_respond_add_warning(r, w);
	}
	const char *ns = r->ns[0] || !r->kind->namespaced ? r->ns : NULL;
	if (rv != current) {
		struct fl_err err = {0};
		int rc =
		    fl_store_list_at(r->s->store, rv, r->kind->resource, ns, after_ns, after_name, visit, &l, &err);
		if (rc == -ESTALE) {
			fl_respond_error(r, 410, "Expired",
					 "The provided continue parameter is too old to display a consistent list "
					 "result. You can start a new list without the "
					 "continue parameter.");
			return;
		}
		if (rc < 0) {
			fl_respond_error(r, rc == -EINVAL ? 400 : 500, rc == -EINVAL ? "BadRequest" : "InternalError",
					 "%s", err.text);
			return;
		}
	} else if (filter.only_name && ns) {
		AUTO(fl_object_put)
		struct fl_object *o = fl_store_get(r->s->store, r->kind->resource, ns, filter.only_name);
		if (o)
			visit(&l, o);
	} else {
		fl_store_list(r->s->store, r->kind->resource, ns, after_ns, after_name, visit, &l);
	}
	const char *next = l.more && l.last ? continue_encode(r->a, rv, l.last) : NULL;
	long long remaining = -1;
	if (next && fl_filter_is_all(&filter) && !cont && rv == current)
		remaining = (long long)fl_store_count(r->s->store, r->kind->resource, ns) - (long long)l.n;

	if (r->form == FL_FORM_TABLE) {
		struct fl_json *meta = fl_json_ensure_object(r->a, l.table, "metadata");
		fl_json_set_str(r->a, meta, "resourceVersion", fl_arena_printf(r->a, "%" PRIu64, rv));
		fl_json_set_str(r->a, meta, "continue", next);
		if (remaining > 0)
			fl_json_set_int(r->a, meta, "remainingItemCount", remaining);
		fl_respond_tree(r, 200, l.table);
		return;
	}
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	fl_buf_reserve(&b, l.items.len + 256);
	if (r->form == FL_FORM_PARTIAL)
		fl_buf_puts(&b, "{\"kind\":\"PartialObjectMetadataList\",\"apiVersion\":\"meta.k8s.io/v1\"");
	else
		fl_buf_printf(&b, "{\"kind\":\"%s\",\"apiVersion\":\"%s\"", r->kind->list_kind, r->kind->api_version);
	fl_buf_printf(&b, ",\"metadata\":{\"resourceVersion\":\"%" PRIu64 "\"", rv);
	if (next)
		fl_buf_printf(&b, ",\"continue\":\"%s\"", next);
	if (remaining > 0)
		fl_buf_printf(&b, ",\"remainingItemCount\":%lld", remaining);
	fl_buf_puts(&b, "},\"items\":[");
	fl_buf_append(&b, l.items.data, l.items.len);
	fl_buf_puts(&b, "]}");
	if (r->form == FL_FORM_YAML || fl_request_flag(r, "pretty")) {
		struct fl_json *tree;
		if (fl_json_parse(r->a, b.data, b.len, NULL, &tree, NULL) == 0)
			fl_respond_tree(r, 200, tree);
		else
			fl_respond_error(r, 500, "InternalError", "the list did not parse");
		return;
	}
	fl_buf_putc(&b, '\n');
	fl_http_set_header(r->http, "Cache-Control", "no-cache, private");
	fl_http_respond(r->http, 200, "application/json", b.data, b.len);
}
