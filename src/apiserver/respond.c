// SPDX-License-Identifier: Apache-2.0
#include "apiserver/respond.h"

#include <stdarg.h>
#include <stdio.h>

#include "api/table.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/mem.h"
#include "json/yaml.h"

#define MAX_WARNINGS 4096 // bytes of their texts in one answer, as kube-apiserver

static void respond_buf(struct fl_request *r, int code, const char *type, const struct fl_buf *b)
{
	fl_http_set_header(r->http, "Cache-Control", "no-cache, private");
	fl_http_respond(r->http, code, type, b->data, b->len);
}

void fl_respond_status(struct fl_request *r, const struct fl_status *st)
{
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	struct fl_json *tree;
	fl_status_write(&b, st);
	if (st->retry_after_s > 0) {
		char s[16];
		snprintf(s, sizeof(s), "%d", st->retry_after_s);
		fl_http_set_header(r->http, "Retry-After", s);
	}
	// A refusal comes in the form that the answer would have had.
	if ((r->form == FL_FORM_YAML || fl_request_pretty(r)) &&
	    fl_json_parse(r->a, b.data, b.len, NULL, &tree, NULL) == 0)
		fl_respond_tree(r, st->code, tree);
	else
		respond_buf(r, st->code, "application/json", &b);
}

const char *fl_respond_refusal(int status, struct fl_buf *body)
{
	char text[160];
	struct fl_status st = {.code = status, .reason = "BadRequest", .message = text};
	switch (status) {
	case 405:
		st.reason = "MethodNotAllowed";
		snprintf(text, sizeof(text), "this server is no proxy");
		break;
	case 408:
		st.reason = "Timeout";
		snprintf(text, sizeof(text), "the request did not come in time: its head has %d s, its body %d s",
			 FL_HEADER_TIMEOUT_MS / 1000, FL_BODY_TIMEOUT_MS / 1000);
		break;
	case 413: // in the words of kube-apiserver
		st.reason = "RequestEntityTooLarge";
		snprintf(text, sizeof(text), "Request entity too large: limit is %d", FL_MAX_BODY_BYTES);
		break;
	case 414:
		snprintf(text, sizeof(text), "the URL is too long: limit is %d bytes", FL_MAX_URL_BYTES);
		break;
	case 417:
		snprintf(text, sizeof(text), "the only expectation that can be met is 100-continue");
		break;
	case 431:
		snprintf(text, sizeof(text), "the header fields are too large: limit is %d bytes in %d fields",
			 FL_MAX_HEADER_BYTES, FL_MAX_HEADERS);
		break;
	case 503:
		st.reason = "ServiceUnavailable";
		st.retry_after_s = 1;
		snprintf(text, sizeof(text), "the requests that are on their way fill the memory for them: try again");
		break;
	case 505:
		snprintf(text, sizeof(text), "the protocols are HTTP/1.0, HTTP/1.1 and HTTP/2");
		break;
	default:
		snprintf(text, sizeof(text), "the request is malformed or has more than one meaning");
	}
	fl_status_write(body, &st);
	return "application/json";
}

void fl_respond_error(struct fl_request *r, int code, const char *reason, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	struct fl_status st = {.code = code, .reason = reason, .message = fl_arena_vprintf(r->a, fmt, ap)};
	va_end(ap);
	fl_respond_status(r, &st);
}

void fl_respond_not_found(struct fl_request *r)
{
	struct fl_status st = {
	    .code = 404,
	    .reason = "NotFound",
	    .message =
		fl_arena_printf(r->a, "%s%s%s \"%s\" not found", r->plural, r->group[0] ? "." : "", r->group, r->name),
	    .group = r->group,
	    .kind = r->plural,
	    .name = r->name,
	};
	fl_respond_status(r, &st);
}

void fl_respond_no_resource(struct fl_request *r)
{
	struct fl_status st = {.code = 404,
			       .reason = "NotFound",
			       .message = "the server could not find the requested resource",
			       .kind = ""};
	fl_respond_status(r, &st);
}

void fl_respond_method_not_allowed(struct fl_request *r)
{
	struct fl_status st = {.code = 405,
			       .reason = "MethodNotAllowed",
			       .message = "the server does not allow this method on the requested resource",
			       .kind = ""};
	fl_respond_status(r, &st);
}

void fl_respond_text(struct fl_request *r, int code, const char *text)
{
	fl_http_set_header(r->http, "X-Content-Type-Options", "nosniff");
	fl_http_respond(r->http, code, "text/plain; charset=utf-8", text, strlen(text));
}

void fl_respond_tree(struct fl_request *r, int code, struct fl_json *tree)
{
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	if (r->form == FL_FORM_YAML)
		fl_yaml_write(&b, tree);
	else if (fl_request_pretty(r))
		fl_json_write_pretty(&b, tree, 2);
	else
		fl_json_write(&b, tree);
	if (r->form != FL_FORM_YAML)
		fl_buf_putc(&b, '\n');
	respond_buf(r, code, r->form == FL_FORM_YAML ? "application/yaml" : "application/json", &b);
}

struct fl_json *fl_partial_metadata(const struct fl_request *r, struct fl_arena *a, struct fl_json *obj)
{
	struct fl_json *p = fl_json_new(a, FL_JSON_OBJECT), *meta = fl_json_get(obj, "metadata");
	fl_json_set_str(a, p, "kind", "PartialObjectMetadata");
	fl_json_set_str(a, p, "apiVersion", fl_arena_printf(a, "meta.k8s.io/%s", r->form_version));
	if (meta)
		fl_json_remove_child(obj, meta);
	fl_json_set(a, p, "metadata", meta);
	return p;
}

struct fl_json *fl_table_of(const struct fl_request *r, const struct fl_kind *k, struct fl_arena *a,
			    struct fl_json *obj, bool with_columns, int64_t now_ns)
{
	struct fl_json *t = fl_table_new(a, k, with_columns);
	fl_json_set_str(a, t, "apiVersion", fl_arena_printf(a, "meta.k8s.io/%s", r->form_version));
	fl_json_set_str(a, fl_json_ensure_object(a, t, "metadata"), "resourceVersion",
			fl_json_str(fl_json_get(obj, "metadata"), "resourceVersion"));
	fl_table_add(a, t, k, obj, fl_table_include_of(r), now_ns);
	return t;
}

int fl_table_include_of(const struct fl_request *r)
{
	const char *v = fl_request_param(r, "includeObject");
	if (!v || !*v)
		return FL_TABLE_METADATA;
	return !strcmp(v, "None") ? FL_TABLE_NONE : !strcmp(v, "Object") ? FL_TABLE_OBJECT : FL_TABLE_METADATA;
}

void fl_respond_object_tree(struct fl_request *r, int code, struct fl_json *obj)
{
	if (r->form == FL_FORM_TABLE)
		obj = fl_table_of(r, r->kind, r->a, obj, true, fl_real_ns());
	else if (r->form == FL_FORM_PARTIAL)
		obj = fl_partial_metadata(r, r->a, obj);
	fl_respond_tree(r, code, obj);
}

void fl_respond_object(struct fl_request *r, int code, struct fl_object *o)
{
	if (r->form != FL_FORM_JSON || r->kind->stored_as || fl_request_pretty(r)) {
		fl_respond_object_tree(r, code, fl_kind_from_stored(r->kind, r->a, fl_object_tree(o, r->a)));
		return;
	}
	fl_http_set_header(r->http, "Cache-Control", "no-cache, private");
	fl_http_respond(r->http, code, "application/json", o->json, o->len);
}

void fl_respond_success(struct fl_request *r, int code, struct fl_object *o)
{
	struct fl_json *st = fl_json_new(r->a, FL_JSON_OBJECT);
	fl_json_set_str(r->a, st, "kind", "Status");
	fl_json_set_str(r->a, st, "apiVersion", "v1");
	fl_json_set_object(r->a, st, "metadata");
	fl_json_set_str(r->a, st, "status", "Success");
	fl_json_set_int(r->a, st, "code", code);
	fl_respond_tree(r, code, st);
}

void fl_respond_add_warning(struct fl_request *r, const char *text)
{
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	size_t n = strlen(text);
	if (r->warned + n > MAX_WARNINGS) // a client can make thousands of them
		return;
	r->warned += n;
	fl_buf_puts(&b, "299 - \"");
	while (*text) {
		size_t plain = strcspn(text, "\"\\");
		fl_buf_append(&b, text, plain);
		text += plain;
		if (*text) {
			fl_buf_putc(&b, '\\');
			fl_buf_putc(&b, *text++);
		}
	}
	fl_buf_putc(&b, '"');
	fl_http_set_header(r->http, "Warning", b.data);
}

void fl_append_list_item(struct fl_buf *b, const struct fl_kind *k, const struct fl_object *o)
{
	char prefix[160];
	int n = snprintf(prefix, sizeof(prefix), "{\"kind\":\"%s\",\"apiVersion\":\"%s\",", k->kind, k->api_version);
	if (n > 0 && (size_t)n < o->len && !memcmp(o->json, prefix, (size_t)n)) {
		fl_buf_putc(b, '{');
		fl_buf_append(b, o->json + n, o->len - (size_t)n);
		return;
	}
	fl_buf_append(b, o->json, o->len);
}
