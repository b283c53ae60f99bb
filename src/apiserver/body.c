// SPDX-License-Identifier: Apache-2.0
#include "apiserver/body.h"

#include <errno.h>
#include <strings.h>

#include "api/proto.h"
#include "apiserver/respond.h"
#include "base/mem.h"
#include "json/yaml.h"

struct findings {
	struct fl_arena *a;
	struct fl_json *list; // texts: unknown field "x", duplicate field "y"
};

static void on_duplicate(void *arg, const char *path)
{
	struct findings *f = arg;
	fl_json_append(f->list, fl_json_new_str(f->a, fl_arena_printf(f->a, "duplicate field \"%s\"", path)));
}

static void on_unknown(void *arg, const char *path)
{
	struct findings *f = arg;
	fl_json_append(f->list, fl_json_new_str(f->a, fl_arena_printf(f->a, "unknown field \"%s\"", path)));
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
				 "json parse error: %s (%.*s)",
				 what, err.text, len ? (int)(len < 128 ? len : 128) : 7, len ? body : "<empty>");
		return false;
	}
	return true;
}

static bool decode(struct fl_request *r, const struct fl_kind *kind, struct fl_json *tree, struct findings *f)
{
	struct fl_err err = {0};
	if (!fl_json_is(tree, FL_JSON_OBJECT)) {
		fl_respond_error(r, 400, "BadRequest",
				 "the object provided is unrecognized (must be of type %s): couldn't get version/kind; "
				 "json parse error: json: cannot "
				 "unmarshal into Go value of type struct",
				 kind->kind);
		return false;
	}
	const char *k = fl_json_str(tree, "kind"), *v = fl_json_str(tree, "apiVersion");
	if (!fl_str_empty(v) && !fl_kind_by_kind(r->s->registry, v, fl_str_empty(k) ? kind->kind : k)) {
		fl_respond_error(r, 400, "BadRequest",
				 "%s in version \"%s\" cannot be handled as a %s: no kind \"%s\" is registered for "
				 "version \"%s\" in scheme",
				 k ? k : "", v, kind->kind, k ? k : "", v);
		return false;
	}
	if ((!fl_str_empty(k) && strcmp(k, kind->kind) != 0) ||
	    (!fl_str_empty(v) && strcmp(v, kind->api_version) != 0)) {
		fl_respond_error(
		    r, 400, "BadRequest",
		    "%s in version \"%s\" cannot be handled as a %s: converting (%s.%s) to (%s.%s): unknown conversion",
		    k ? k : kind->kind, v ? v : "", kind->kind, v ? v : "", k ? k : kind->kind, kind->api_version,
		    kind->kind);
		return false;
	}
	if (fl_schema_decode(fl_kind_schema(kind), kind->kind, r->a, tree, &err) < 0) {
		fl_respond_error(r, 400, "BadRequest", "%s in version \"%s\" cannot be handled as a %s: %s", kind->kind,
				 kind->api_version, kind->kind, err.text);
		return false;
	}
	const char *mode = fl_request_param(r, "fieldValidation");
	bool strict = mode && !strcmp(mode, "Strict"), ignore = mode && !strcmp(mode, "Ignore");
	fl_schema_prune(fl_kind_schema(kind), tree, on_unknown, f);
	fl_json_set_str(r->a, tree, "kind", kind->kind);
	fl_json_set_str(r->a, tree, "apiVersion", kind->api_version);
	if (!fl_json_count(f->list) || ignore)
		return true;
	if (!strict) {
		fl_json_each (text, f->list)
			fl_respond_add_warning(r, fl_json_string(text));
		return true;
	}
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	fl_json_each (text, f->list)
		fl_buf_printf(&b, "%s%s", b.len ? ", " : "", fl_json_string(text));
	fl_respond_error(r, 400, "BadRequest",
			 "%s in version \"%s\" cannot be handled as a %s: strict decoding error: %s", kind->kind,
			 kind->api_version, kind->kind, b.data);
	return false;
}

bool fl_body_object(struct fl_request *r, const struct fl_kind *kind, struct fl_json **ret)
{
	struct findings f = {.a = r->a, .list = fl_json_new(r->a, FL_JSON_ARRAY)};
	struct fl_json *tree;
	if (!parse(r, kind->kind, &f, &tree) || !decode(r, kind, tree, &f))
		return false;
	*ret = tree;
	return true;
}

bool fl_body_decode(struct fl_request *r, const struct fl_kind *kind, struct fl_json *tree, struct fl_json *duplicates)
{
	struct findings f = {.a = r->a, .list = duplicates ? duplicates : fl_json_new(r->a, FL_JSON_ARRAY)};
	return decode(r, kind, tree, &f);
}

bool fl_body_any(struct fl_request *r, struct fl_json **ret)
{
	size_t len;
	fl_http_body(r->http, &len);
	if (!len) {
		*ret = NULL;
		return true;
	}
	struct findings f = {.a = r->a, .list = fl_json_new(r->a, FL_JSON_ARRAY)};
	return parse(r, "Object", &f, ret);
}
