// SPDX-License-Identifier: Apache-2.0
// The three patch types over HTTP: JSON patch (RFC 6902), merge patch (RFC 7386), strategic merge patch. What is wrong
// with the patch as a document is 400, what it asks for in vain 422, and so is what it makes no object of (body.h).
// (apiserver endpoints/handlers/patch.go)
#include <errno.h>
#include <strings.h>

#include "api/strategic.h"
#include "apiserver/respond.h"
#include "apiserver/write.h"
#include "base/limits.h"
#include "base/mem.h"
#include "json/patch.h"

static const char *patch_type(struct fl_request *r)
{
	const char *t = fl_http_header(r->http, "content-type");
	return t ? fl_arena_strndup(r->a, t, strcspn(t, "; ")) : "";
}

static bool bad_request(struct fl_request *r, const char *text)
{
	fl_respond_error(r, 400, "BadRequest", "%s", text);
	return false;
}

static bool rejected(struct fl_request *r)
{
	struct fl_status st = {.code = 422,
			       .reason = "Invalid",
			       .message = "the server rejected our request due to an error in our request",
			       .kind = ""};
	fl_respond_status(r, &st);
	return false;
}

static bool too_many(struct fl_request *r, size_t n)
{
	fl_respond_error(r, 413, "RequestEntityTooLarge",
			 "Request entity too large: The allowed maximum operations in a JSON patch is %d, got %zu",
			 FL_MAX_JSON_PATCH_OPS, n);
	return false;
}

static bool json_patch(struct fl_request *r, struct fl_json *target, const struct fl_json *patch, struct fl_json **ret)
{
	struct fl_err err = {0};
	bool operations = fl_json_is(patch, FL_JSON_ARRAY);
	fl_json_each (op, patch)
		operations &= op->type == FL_JSON_OBJECT;
	if (!operations)
		return bad_request(r, "error decoding patch: json: cannot unmarshal into Go value of type "
				      "jsonpatch.Patch: it must be a list of operations");
	int rc = fl_json_patch(r->a, target, patch, ret, &err);
	if (rc == -E2BIG)
		return too_many(r, fl_json_count(patch));
	return rc == 0 || rejected(r);
}

bool fl_patch_apply(struct fl_request *r, const struct fl_schema *schema, bool strategic, const struct fl_json *target,
		    struct fl_json **ret)
{
	size_t len;
	const char *body = fl_http_body(r->http, &len), *type = patch_type(r);
	bool is_json = !strcasecmp(type, "application/json-patch+json"),
	     is_merge = !strcasecmp(type, "application/merge-patch+json"),
	     is_strategic = strategic && !strcasecmp(type, "application/strategic-merge-patch+json");
	if (!is_json && !is_merge && !is_strategic) {
		struct fl_status st = {.code = 415,
				       .reason = "UnsupportedMediaType",
				       .message = "415: Unsupported Media Type",
				       .kind = ""};
		fl_respond_status(r, &st);
		return false;
	}
	struct fl_err err = {0};
	struct fl_json *patch, *clone;
	if (fl_json_parse(r->a, body, len, NULL, &patch, &err) < 0) {
		fl_respond_error(r, 400, "BadRequest", "error decoding patch: %s", err.text);
		return false;
	}
	clone = fl_json_clone(r->a, target);
	if (is_json)
		return json_patch(r, clone, patch, ret);
	if (!fl_json_is(patch, FL_JSON_OBJECT))
		return bad_request(r, "error decoding patch: json: cannot unmarshal into Go value of type "
				      "map[string]interface {}");
	if (is_merge) {
		*ret = fl_json_merge_patch(r->a, clone, patch);
		return true;
	}
	if (fl_strategic_merge(r->a, schema, clone, patch, ret, &err) < 0)
		return bad_request(r, err.text);
	return true;
}
