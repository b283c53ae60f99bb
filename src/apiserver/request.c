// SPDX-License-Identifier: Apache-2.0
#include "apiserver/request.h"

#include <ctype.h>
#include <errno.h>
#include <strings.h>

#include "base/arena.h"
#include "base/mem.h"
#include "base/str.h"

const char *fl_request_param(const struct fl_request *r, const char *key)
{
	for (unsigned i = 0; i < r->n_params; i++)
		if (strcmp(r->params[i].key, key) == 0)
			return r->params[i].value;
	return NULL;
}

bool fl_request_flag(const struct fl_request *r, const char *key)
{
	const char *v = fl_request_param(r, key);
	return v && (!strcmp(v, "1") || !strcasecmp(v, "true") || !strcasecmp(v, "t"));
}

static int parse_query(struct fl_request *r, const char *query)
{
	unsigned cap = 1;
	for (const char *p = query; *p; p++)
		cap += *p == '&';
	r->params = fl_arena_alloc(r->a, cap * sizeof(*r->params));
	char *copy = fl_arena_strdup(r->a, query);
	for (char *save = NULL, *part = strtok_r(copy, "&", &save); part; part = strtok_r(NULL, "&", &save)) {
		char *value = strchr(part, '=');
		if (value)
			*value++ = 0;
		else
			value = part + strlen(part);
		if (!fl_percent_decode(part, true) || !fl_percent_decode(value, true))
			return -EINVAL;
		r->params[r->n_params++] = (struct fl_param){.key = part, .value = value};
	}
	return 0;
}

static const char *verb_of(const char *method, const struct fl_request *r)
{
	bool named = r->name != NULL;
	if (!strcmp(method, "GET") || !strcmp(method, "HEAD"))
		return fl_request_flag(r, "watch") ? "watch" : named ? "get" : "list";
	if (!strcmp(method, "POST"))
		return "create";
	if (!strcmp(method, "PUT"))
		return "update";
	if (!strcmp(method, "PATCH"))
		return "patch";
	if (!strcmp(method, "DELETE"))
		return named ? "delete" : "deletecollection";
	return "unknown";
}

// /api/v1/... or /apis/<group>/<version>/..., then [namespaces/<ns>/]<plural>[/<name>[/<subresource>]]
static bool parse_resource(struct fl_request *r)
{
	char *seg[8];
	unsigned n = 0;
	char *copy = fl_arena_strdup(r->a, fl_http_path(r->http));
	for (char *save = NULL, *s = strtok_r(copy, "/", &save); s; s = strtok_r(NULL, "/", &save)) {
		if (n == FL_COUNT(seg) || !fl_percent_decode(s, false))
			return false;
		seg[n++] = s;
	}
	unsigned i;
	if (n >= 3 && !strcmp(seg[0], "api")) {
		r->group = "";
		r->version = seg[1];
		i = 2;
	} else if (n >= 4 && !strcmp(seg[0], "apis")) {
		r->group = seg[1];
		r->version = seg[2];
		i = 3;
	} else {
		return false;
	}
	r->ns = "";
	bool is_namespace_object = !strcmp(seg[i], "namespaces") && !r->group[0];
	if (!strcmp(seg[i], "namespaces") && n - i >= 3 &&
	    !(is_namespace_object && n - i == 3 &&
	      (!strcmp(seg[i + 2], "status") || !strcmp(seg[i + 2], "finalize")))) {
		r->ns = seg[i + 1];
		i += 2;
	}
	r->plural = seg[i];
	r->name = n > i + 1 ? seg[i + 1] : NULL;
	r->subresource = n > i + 2 ? seg[i + 2] : NULL;
	if (n > i + 3)
		return false;
	r->kind = fl_kind_find(r->s->registry, r->group, r->version, r->plural);
	if (r->kind && !r->kind->namespaced && r->ns[0])
		r->kind = NULL;
	return true;
}

int fl_request_parse(struct fl_apiserver *s, struct fl_http_req *http, struct fl_request *ret, bool *ret_is_resource)
{
	*ret = (struct fl_request){.s = s, .http = http, .a = fl_http_arena(http), .ns = ""};
	char *path = fl_arena_strdup(ret->a, fl_http_path(http));
	if (!fl_percent_decode(path, false))
		return -EINVAL;
	ret->path = path;
	int rc = parse_query(ret, fl_http_query(http));
	if (rc < 0)
		return rc;
	*ret_is_resource = parse_resource(ret);
	ret->verb = verb_of(fl_http_method(http), ret);
	return 0;
}

// Value of a media type parameter: ";as=Table". Returns NULL when absent.
static const char *media_param(struct fl_arena *a, const char *media, const char *key)
{
	size_t n = strlen(key);
	for (const char *p = strchr(media, ';'); p; p = strchr(p, ';')) {
		p++;
		while (*p == ' ')
			p++;
		if (!strncasecmp(p, key, n) && p[n] == '=')
			return fl_arena_strndup(a, p + n + 1, strcspn(p + n + 1, "; \t"));
	}
	return NULL;
}

static bool media_is(const char *media, const char *type)
{
	size_t n = strlen(type);
	return !strncasecmp(media, type, n) && (!media[n] || media[n] == ';' || media[n] == ' ');
}

bool fl_request_negotiate(struct fl_request *r)
{
	const char *accept = fl_http_header_all(r->http, "accept");
	r->form = FL_FORM_JSON;
	if (fl_str_empty(accept))
		return true;
	char *copy = fl_arena_strdup(r->a, accept);
	for (char *save = NULL, *m = strtok_r(copy, ",", &save); m; m = strtok_r(NULL, ",", &save)) {
		while (isspace((unsigned char)*m))
			m++;
		const char *as = media_param(r->a, m, "as");
		if (media_is(m, "application/json")) {
			r->form_version = media_param(r->a, m, "v");
			if (!as)
				return true;
			if (!strcmp(as, "Table"))
				r->form = FL_FORM_TABLE;
			else if (!strcmp(as, "PartialObjectMetadata") || !strcmp(as, "PartialObjectMetadataList"))
				r->form = FL_FORM_PARTIAL;
			else
				continue;
			return true;
		}
		if (media_is(m, "application/yaml") && !as) {
			r->form = FL_FORM_YAML;
			return true;
		}
		if (media_is(m, "*/*") || media_is(m, "application/*"))
			return true;
	}
	return false;
}
