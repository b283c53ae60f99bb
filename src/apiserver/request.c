// SPDX-License-Identifier: Apache-2.0
#include "apiserver/request.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <strings.h>

#include "apiserver/respond.h"
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

bool fl_request_int(struct fl_request *r, const char *key, int64_t *ret)
{
	const char *v = fl_request_param(r, key), *why = "invalid syntax";
	char *end = NULL;
	if (fl_str_empty(v))
		return true;
	errno = 0;
	long long n = strtoll(v, &end, 10);
	if (!*end && errno == 0 && !isspace((unsigned char)v[0])) {
		*ret = n;
		return true;
	}
	if (!*end && errno == ERANGE)
		why = "value out of range";
	fl_respond_error(r, 400, "BadRequest", "strconv.ParseInt: parsing \"%s\": %s", v, why);
	return false;
}

bool fl_request_flag(const struct fl_request *r, const char *key)
{
	const char *v = fl_request_param(r, key);
	return v && strcmp(v, "0") != 0 && strcasecmp(v, "false") != 0;
}

bool fl_request_pretty(const struct fl_request *r)
{
	static const char *const people[] = {"curl", "Wget", "Mozilla/5.0"};
	const char *v = fl_request_param(r, "pretty"), *agent = fl_http_header(r->http, "user-agent");
	if (!fl_str_empty(v))
		return !strcmp(v, "1") || !strcasecmp(v, "true") || !strcasecmp(v, "t");
	for (unsigned i = 0; agent && i < FL_COUNT(people); i++)
		if (fl_starts_with(agent, people[i]))
			return true;
	return false;
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
	if (!strcmp(method, "GET") && (r->watch_path || fl_request_flag(r, "watch")))
		return "watch";
	if (!strcmp(method, "GET") || !strcmp(method, "HEAD"))
		return named ? "get" : "list";
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

// Segments of the path, decoded one by one, so that %2F stays inside its segment. A slash at the end says nothing; an
// empty segment in between is no path of ours.
static bool split_path(struct fl_request *r, char **seg, unsigned cap, unsigned *ret_n)
{
	char *p = fl_arena_strdup(r->a, fl_http_path(r->http));
	unsigned n = 0;
	for (p += *p == '/'; *p;) {
		size_t len = strcspn(p, "/");
		bool last = !p[len];
		p[len] = 0;
		if (!len || n == cap || !fl_percent_decode(p, false))
			return false;
		seg[n++] = p;
		p += len + !last;
	}
	*ret_n = n;
	return true;
}

// /api/v1/... or /apis/<group>/<version>/..., then [watch/][namespaces/<ns>/]<plural>[/<name>[/<subresource>]]
static bool parse_resource(struct fl_request *r)
{
	char *seg[9];
	unsigned n, i;
	if (!split_path(r, seg, FL_COUNT(seg), &n))
		return false;
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
	if (!strcmp(seg[i], "watch") && n > i + 1) { // deprecated since 1.11, and still served by Kubernetes
		r->watch_path = true;
		i++;
	}
	bool is_namespace_object = !strcmp(seg[i], "namespaces") && !r->group[0];
	if (!strcmp(seg[i], "namespaces") && n - i >= 3 &&
	    !(is_namespace_object && n - i == 3 &&
	      (!strcmp(seg[i + 2], "status") || !strcmp(seg[i + 2], "finalize")))) {
		r->ns = seg[i + 1];
		i += 2;
	}
	if (n > i + 3)
		return false;
	r->plural = seg[i];
	r->name = n > i + 1 ? seg[i + 1] : NULL;
	r->subresource = n > i + 2 ? seg[i + 2] : NULL;
	r->kind = fl_kind_find(r->s->registry, r->group, r->version, r->plural);
	if (r->kind && !r->kind->namespaced && r->ns[0])
		r->kind = NULL;
	return true;
}

int fl_request_parse(struct fl_apiserver *s, struct fl_http_req *http, struct fl_request *ret, bool *ret_is_resource)
{
	*ret = (struct fl_request){.s = s, .http = http, .a = fl_http_arena(http), .ns = "", .verb = "unknown"};
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

// Table and PartialObjectMetadata are types of meta.k8s.io/v1 and v1beta1.
static bool meta_version(struct fl_request *r, const char *media)
{
	const char *group = media_param(r->a, media, "g"), *version = media_param(r->a, media, "v");
	if ((group && strcmp(group, "meta.k8s.io") != 0) ||
	    (version && strcmp(version, "v1") != 0 && strcmp(version, "v1beta1") != 0))
		return false;
	r->form_version = version ? version : "v1";
	return true;
}

static bool choose_form(struct fl_request *r, const char *media)
{
	const char *as = media_param(r->a, media, "as");
	bool json = media_is(media, "application/json") || media_is(media, "*/*") || media_is(media, "application/*");
	if (!as && (json || media_is(media, "application/yaml"))) {
		r->form = json ? FL_FORM_JSON : FL_FORM_YAML;
		return true;
	}
	if (!json || !as || !meta_version(r, media))
		return false;
	if (!strcmp(as, "Table"))
		r->form = FL_FORM_TABLE;
	else if (!strcmp(as, "PartialObjectMetadata") || !strcmp(as, "PartialObjectMetadataList"))
		r->form = FL_FORM_PARTIAL;
	else
		return false;
	return true;
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
		if (choose_form(r, m))
			return true;
	}
	return false;
}
