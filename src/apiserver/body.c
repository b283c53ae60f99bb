// SPDX-License-Identifier: Apache-2.0
#include "apiserver/body.h"

#include <errno.h>
#include <strings.h>

#include "api/proto.h"
#include "apiserver/respond.h"
#include "base/mem.h"
#include "json/yaml.h"

#define MAX_FINDINGS 100 // that an answer names, as Kubernetes' decoder

struct findings {
	struct fl_arena *a;
	struct fl_json *list; // texts: unknown field "x", duplicate field "y"; each once
};

static void find(struct findings *f, const char *what, const char *path)
{
	if (fl_json_count(f->list) == MAX_FINDINGS)
		return;
	const char *text = fl_arena_printf(f->a, "%s field \"%s\"", what, path);
	fl_json_each (t, f->list)
		if (!strcmp(fl_json_string(t), text))
			return;
	fl_json_append(f->list, fl_json_new_str(f->a, text));
}

static void on_duplicate(void *arg, const char *path)
{
	find(arg, "duplicate", path);
}

static void on_unknown(void *arg, const char *path)
{
	find(arg, "unknown", path);
}

static struct findings findings_of(struct fl_request *r)
{
	return (struct findings){.a = r->a, .list = fl_json_new(r->a, FL_JSON_ARRAY)};
}

enum media { MEDIA_JSON, MEDIA_YAML, MEDIA_PROTO, MEDIA_UNKNOWN };

static enum media media_of(const char *type)
{
	if (!type || !*type)
		return MEDIA_JSON;
	size_t n = strcspn(type, "; ");
	if (n == 16 && !strncasecmp(type, "application/json", n))
		return MEDIA_JSON;
	if (n == 16 && !strncasecmp(type, "application/yaml", n))
		return MEDIA_YAML;
	if (n == 35 && !strncasecmp(type, "application/vnd.kubernetes.protobuf", n))
		return MEDIA_PROTO;
	return MEDIA_UNKNOWN;
}

// `what` names the expected type in the error text.
static bool parse(struct fl_request *r, const char *what, struct findings *f, struct fl_json **ret)
{
	size_t len;
	const char *body = fl_http_body(r->http, &len);
	struct fl_json_parse_opts opts = {.on_duplicate = on_duplicate, .arg = f};
	struct fl_err err = {0};
	const char *format = "json";
	int rc;
	switch (media_of(fl_http_header(r->http, "content-type"))) {
	case MEDIA_PROTO:
		rc = fl_proto_decode(r->s->registry, r->a, body, len, ret, &err);
		if (rc < 0) {
			fl_respond_error(r, 400, "BadRequest",
					 "the object provided is unrecognized (must be of type %s): %s", what,
					 err.text);
			return false;
		}
		return true;
	case MEDIA_YAML:
		rc = fl_yaml_parse(r->a, body, len, &opts, ret, &err);
		format = "yaml";
		break;
	case MEDIA_JSON:
		rc = fl_json_parse(r->a, body, len, &opts, ret, &err);
		break;
	default:
		fl_respond_error(r, 415, "UnsupportedMediaType",
				 "the body of the request was in an unknown format - accepted media types include: "
				 "application/json, "
				 "application/yaml, application/vnd.kubernetes.protobuf");
		return false;
	}
	if (rc < 0) {
		fl_respond_error(r, 400, "BadRequest",
				 "the object provided is unrecognized (must be of type %s): couldn't get version/kind; "
				 "%s parse error: %s (%.*s)",
				 what, format, err.text, len ? (int)(len < 128 ? len : 128) : 7,
				 len ? body : "<empty>");
		return false;
	}
	return true;
}

// What a tree is to be.
struct type {
	const struct fl_schema *schema;
	const char *kind, *api_version;
	bool any_version;
	bool patched; // it is what a patch made of an object, and what is wrong with it is wrong with the patch
};

// A body that is no such object is 400, a patch that makes it none 422. (create.go transformDecodeError; patch.go)
static bool refuse_patch(struct fl_request *r, const char *why)
{
	size_t len;
	const char *body = fl_http_body(r->http, &len);
	struct fl_causes causes = {.arena = r->a};
	fl_cause_add(&causes, FL_CAUSE_INVALID, "patch", fl_json_new_strn(r->a, body, len), "%s", why);
	struct fl_status st = fl_status_invalid(r->a, "", "", "", &causes);
	fl_respond_status(r, &st);
	return false;
}

static bool refuse_as(struct fl_request *r, const struct type *t, const char *kind, const char *version,
		      const char *why)
{
	if (t->patched)
		return refuse_patch(r, why);
	fl_respond_error(r, 400, "BadRequest", "%s in version \"%s\" cannot be handled as a %s: %s", kind, version,
			 t->kind, why);
	return false;
}

static bool refuse(struct fl_request *r, const struct type *t, const char *why)
{
	return refuse_as(r, t, t->kind, t->api_version, why);
}

static struct type type_of_kind(const struct fl_kind *k)
{
	return (struct type){.schema = fl_kind_schema(k), .kind = k->kind, .api_version = k->api_version};
}

static bool check_type(struct fl_request *r, const struct type *t, const struct fl_json *tree)
{
	const char *k = fl_json_str(tree, "kind"), *v = fl_json_str(tree, "apiVersion");
	bool no_kind = fl_str_empty(k), no_version = fl_str_empty(v);
	if ((no_kind || !strcmp(k, t->kind)) && (no_version || t->any_version || !strcmp(v, t->api_version)))
		return true;
	if (!no_version && !fl_registry_schema_by_kind(r->s->registry, v, no_kind ? t->kind : k, NULL))
		return refuse_as(r, t, no_kind ? "" : k, v,
				 fl_arena_printf(r->a, "no kind \"%s\" is registered for version \"%s\" in scheme",
						 no_kind ? "" : k, v));
	return refuse_as(r, t, no_kind ? t->kind : k, no_version ? "" : v,
			 fl_arena_printf(r->a, "converting (%s.%s) to (%s.%s): unknown conversion", no_version ? "" : v,
					 no_kind ? t->kind : k, t->api_version, t->kind));
}

static bool judge_findings(struct fl_request *r, const struct type *t, const struct findings *f)
{
	const char *mode = fl_request_param(r, "fieldValidation");
	if (!fl_json_count(f->list) || fl_streq(mode, "Ignore"))
		return true;
	if (!fl_streq(mode, "Strict")) {
		fl_json_each (text, f->list)
			fl_respond_add_warning(r, fl_json_string(text));
		return true;
	}
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	fl_json_each (text, f->list)
		fl_buf_printf(&b, "%s%s", b.len ? ", " : "", fl_json_string(text));
	return refuse(r, t, fl_arena_printf(r->a, "strict decoding error: %s", b.data));
}

static bool decode(struct fl_request *r, const struct type *t, struct fl_json *tree, struct findings *f)
{
	struct fl_err err = {0};
	if (!fl_json_is(tree, FL_JSON_OBJECT)) {
		if (t->patched)
			return refuse_patch(r, "couldn't get version/kind; json parse error: it must be an object");
		fl_respond_error(r, 400, "BadRequest",
				 "the object provided is unrecognized (must be of type %s): couldn't get version/kind; "
				 "json parse error: json: cannot unmarshal into Go value of type struct",
				 t->kind);
		return false;
	}
	if (!check_type(r, t, tree))
		return false;
	if (fl_schema_decode(t->schema, r->a, tree, &err) < 0)
		return refuse(r, t, err.text);
	fl_schema_prune(t->schema, tree, on_unknown, f);
	fl_json_set_str(r->a, tree, "kind", t->kind);
	fl_json_set_str(r->a, tree, "apiVersion", t->api_version);
	return judge_findings(r, t, f);
}

bool fl_body_object(struct fl_request *r, const struct fl_kind *kind, struct fl_json **ret)
{
	struct type t = type_of_kind(kind);
	struct findings f = findings_of(r);
	return parse(r, kind->kind, &f, ret) && decode(r, &t, *ret, &f);
}

bool fl_body_decode(struct fl_request *r, const struct fl_kind *kind, struct fl_json *tree)
{
	struct type t = type_of_kind(kind);
	struct findings f = findings_of(r);
	return decode(r, &t, tree, &f);
}

bool fl_body_decode_patched(struct fl_request *r, const struct fl_kind *kind, struct fl_json *tree)
{
	struct type t = type_of_kind(kind);
	struct findings f = findings_of(r);
	t.patched = true;
	return decode(r, &t, tree, &f);
}

static bool type_named(struct fl_request *r, const char *api_version, const char *kind, struct type *ret)
{
	*ret = (struct type){.kind = kind, .api_version = api_version, .any_version = !strcmp(kind, "DeleteOptions")};
	ret->schema = fl_registry_schema_by_kind(r->s->registry, api_version, kind, NULL);
	if (!ret->schema)
		fl_respond_error(r, 500, "InternalError", "no schema of %s", kind);
	return ret->schema;
}

bool fl_body_type(struct fl_request *r, const char *api_version, const char *kind, struct fl_json **ret)
{
	struct type t;
	struct findings f = findings_of(r);
	size_t len;
	fl_http_body(r->http, &len);
	if (!len) {
		*ret = NULL;
		return true;
	}
	return type_named(r, api_version, kind, &t) && parse(r, kind, &f, ret) && decode(r, &t, *ret, &f);
}

bool fl_body_decode_type(struct fl_request *r, const char *api_version, const char *kind, struct fl_json *tree)
{
	struct type t;
	struct findings f = findings_of(r);
	return type_named(r, api_version, kind, &t) && decode(r, &t, tree, &f);
}

bool fl_body_decode_patched_type(struct fl_request *r, const char *api_version, const char *kind, struct fl_json *tree)
{
	struct type t;
	struct findings f = findings_of(r);
	if (!type_named(r, api_version, kind, &t))
		return false;
	t.patched = true;
	return decode(r, &t, tree, &f);
}
