// SPDX-License-Identifier: Apache-2.0
#include "apiserver/apply.h"

#include <strings.h>

#include "apiserver/body.h"
#include "apiserver/respond.h"
#include "apiserver/write.h"
#include "json/yaml.h"

bool fl_apply_is_asked(const struct fl_request *r)
{
	static const char type[] = "application/apply-patch+yaml";
	const char *have = fl_http_header(r->http, "content-type");
	return have && !strncasecmp(have, type, sizeof(type) - 1) && strcspn(have, "; ") == sizeof(type) - 1;
}

bool fl_apply_parse(struct fl_request *r, struct fl_json **ret)
{
	size_t len;
	const char *body = fl_http_body(r->http, &len);
	struct fl_err err = {0};
	if (fl_yaml_parse(r->a, body, len, NULL, ret, &err) < 0) {
		fl_respond_error(r, 400, "BadRequest", "error decoding YAML: %s", err.text);
		return false;
	}
	if ((*ret)->type == FL_JSON_OBJECT)
		return true;
	fl_respond_error(r, 400, "BadRequest", "error decoding YAML: the apply configuration is no object");
	return false;
}

bool fl_apply_configuration(struct fl_request *r, struct fl_change *c, const struct fl_json *patch,
			    struct fl_json **ret)
{
	c->applied = true;
	if (!fl_managed_apply(c->kind, r->a, patch, c->old_tree, c->writer, fl_request_flag(r, "force"), ret,
			      &c->causes, &c->status)) {
		fl_write_refuse(r, c);
		return false;
	}
	if (fl_body_decode(r, c->kind, *ret))
		return true;
	fl_change_deinit(c);
	return false;
}

bool fl_apply(struct fl_request *r, struct fl_change *c, struct fl_json **ret)
{
	struct fl_json *patch;
	if (!fl_apply_parse(r, &patch)) {
		fl_change_deinit(c);
		return false;
	}
	if (!fl_change_load(c) && r->subresource) {
		fl_write_refuse(r, c);
		return false;
	}
	return fl_apply_configuration(r, c, patch, ret);
}
