// SPDX-License-Identifier: Apache-2.0
// Discovery documents are small: made at their first request and kept. OpenAPI documents are hundreds of kilobytes and
// asked for once a client: made anew each time, with an ETag of the kinds, so that a client that has one gets 304.
#include "apiserver/docs.h"

#include <inttypes.h>
#include <stdio.h>

#include "api/kinds/embed.h"
#include "api/openapi.h"
#include "apiserver/respond.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/version.h"

struct fl_docs {
	struct fl_map kept; // path + form -> struct fl_bytes *
	char etag[24];
};

struct fl_docs *fl_docs_new(void)
{
	return FL_NEW(struct fl_docs);
}

// All documents come from those of the kinds, which are compiled in: one tag for all. Clients keep documents on disk
// for hours, so it must change with the smallest change of a kind.
static const char *etag(struct fl_docs *d)
{
	static const uint8_t key[16] = "fairlead-etag-1";
	const struct fl_doc *const all[] = {fl_kind_docs, fl_definition_docs};
	uint64_t h = fl_siphash13(key, FL_VERSION FL_KUBE_VERSION, sizeof(FL_VERSION FL_KUBE_VERSION));
	if (d->etag[0])
		return d->etag;
	for (unsigned i = 0; i < FL_COUNT(all); i++)
		for (const struct fl_doc *doc = all[i]; doc->name; doc++)
			h = h * 31 + fl_siphash13(key, doc->text, (size_t)(doc->end - doc->text));
	snprintf(d->etag, sizeof(d->etag), "\"%016" PRIx64 "\"", h);
	return d->etag;
}

void fl_docs_free(struct fl_docs **d)
{
	if (!*d)
		return;
	for (struct fl_map_iter it = {0}; fl_map_next(&(*d)->kept, &it);) {
		struct fl_bytes *b = it.value;
		fl_bytes_put(&b);
	}
	fl_map_deinit(&(*d)->kept);
	free(*d);
	*d = NULL;
}

// 304 when the client has this version already.
static bool not_modified(struct fl_request *r)
{
	const char *have = fl_http_header(r->http, "if-none-match");
	const char *tag = etag(r->s->docs);
	fl_http_set_header(r->http, "Etag", tag);
	fl_http_set_header(r->http, "Vary", "Accept");
	if (!have || !strstr(have, tag))
		return false;
	fl_http_respond(r->http, 304, NULL, NULL, 0);
	return true;
}

static void send_kept(struct fl_request *r, const char *key, const char *type,
		      struct fl_json *(*make)(struct fl_request *r))
{
	struct fl_bytes *b = fl_map_get(&r->s->docs->kept, key);
	struct fl_json *for_people = fl_request_pretty(r) ? make(r) : NULL;
	if (for_people) {
		fl_respond_tree(r, 200, for_people);
		return;
	}
	if (!b) {
		struct fl_json *j = make(r);
		if (!j) {
			fl_respond_text(r, 404, "404 page not found\n");
			return;
		}
		AUTO(fl_buf_deinit) struct fl_buf buf = {0};
		fl_json_write(&buf, j);
		fl_buf_putc(&buf, '\n');
		b = fl_bytes_new(buf.data, buf.len);
		fl_map_set(&r->s->docs->kept, key, b);
	}
	fl_http_respond_bytes(r->http, 200, type, b);
}

static void send_large(struct fl_request *r, struct fl_json *j)
{
	if (!j) {
		fl_respond_text(r, 404, "404 page not found\n");
		return;
	}
	AUTO(fl_buf_deinit) struct fl_buf buf = {0};
	fl_json_write(&buf, j);
	fl_http_respond(r->http, 200, "application/json", buf.data, buf.len);
}

#define AGGREGATED_TYPE "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"

static bool wants_aggregated(struct fl_request *r)
{
	const char *accept = fl_http_header_all(r->http, "accept");
	return accept && strstr(accept, "as=APIGroupDiscoveryList") && strstr(accept, "v=v2;");
}

static struct fl_json *make_api(struct fl_request *r)
{
	char ip[FL_IP_STRLEN];
	bool v6 = r->s->opts->advertise_ip.family == AF_INET6;
	return fl_discovery_api_versions(r->a, fl_arena_printf(r->a, "%s%s%s:%u", v6 ? "[" : "",
							       fl_ip_format(&r->s->opts->advertise_ip, ip),
							       v6 ? "]" : "", r->s->port));
}

static struct fl_json *make_api_aggregated(struct fl_request *r)
{
	return fl_discovery_aggregated(r->a, r->s->registry, true);
}

static struct fl_json *make_apis(struct fl_request *r)
{
	return fl_discovery_groups(r->a, r->s->registry);
}

static struct fl_json *make_apis_aggregated(struct fl_request *r)
{
	return fl_discovery_aggregated(r->a, r->s->registry, false);
}

// Splits "/apis/<g>/<v>" or "/api/<v>"; version NULL for "/apis/<g>".
static void group_version(struct fl_request *r, const char **ret_group, const char **ret_version)
{
	const char *p = r->path + (fl_starts_with(r->path, "/apis/") ? 6 : 5);
	if (!fl_starts_with(r->path, "/apis/")) {
		*ret_group = "";
		*ret_version = fl_arena_strndup(r->a, p, strcspn(p, "/"));
		return;
	}
	size_t n = strcspn(p, "/");
	*ret_group = fl_arena_strndup(r->a, p, n);
	p += n + (p[n] == '/');
	*ret_version = *p ? fl_arena_strndup(r->a, p, strcspn(p, "/")) : NULL;
}

static struct fl_json *make_group(struct fl_request *r)
{
	const char *group, *version;
	group_version(r, &group, &version);
	return version ? fl_discovery_resources(r->a, r->s->registry, group, version)
		       : fl_discovery_group(r->a, r->s->registry, group);
}

static void serve_version(struct fl_request *r)
{
	struct fl_json *v = fl_json_new(r->a, FL_JSON_OBJECT);
	static const char *const fields[][2] = {
	    {"major", FL_KUBE_MAJOR},
	    {"minor", FL_KUBE_MINOR},
	    {"gitVersion", FL_KUBE_VERSION "+fairlead." FL_VERSION},
	    {"gitCommit", ""},
	    {"gitTreeState", "clean"},
	    {"buildDate", "1970-01-01T00:00:00Z"},
	    {"goVersion", "none"},
	    {"compiler", "cc"},
	    {"platform", FL_PLATFORM},
	};
	for (unsigned i = 0; i < FL_COUNT(fields); i++)
		fl_json_set_str(r->a, v, fields[i][0], fields[i][1]);
	fl_respond_tree(r, 200, v);
}

static void serve_health(struct fl_request *r, const char *which)
{
	bool ok = strcmp(which, "readyz") != 0 || r->s->ready;
	if (!fl_request_param(r, "verbose")) {
		fl_respond_text(r, ok ? 200 : 500, ok ? "ok" : "[-]bootstrap failed: not finished");
		return;
	}
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	fl_buf_puts(&b, "[+]ping ok\n[+]log ok\n[+]store ok\n");
	if (!strcmp(which, "readyz"))
		fl_buf_puts(&b, r->s->ready ? "[+]bootstrap ok\n" : "[-]bootstrap failed: not finished\n");
	fl_buf_printf(&b, "%s check %s\n", which, ok ? "passed" : "failed");
	fl_respond_text(r, ok ? 200 : 500, b.data);
}

static void serve_metrics(struct fl_request *r)
{
	struct fl_store_stats st;
	fl_store_get_stats(r->s->store, &st);
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	const struct {
		const char *name, *type;
		uint64_t value;
	} rows[] = {
	    {"fairlead_store_writes_total", "counter", st.writes},
	    {"fairlead_store_commits_total", "counter", st.commits},
	    {"fairlead_store_failed_total", "counter", st.failed},
	    {"fairlead_store_objects", "gauge", st.objects},
	    {"fairlead_store_log_rows", "gauge", st.log_rows},
	    {"fairlead_store_file_bytes", "gauge", st.file_bytes},
	    {"fairlead_store_watchers", "gauge", st.watchers},
	    {"fairlead_store_revision", "gauge", fl_store_revision(r->s->store)},
	};
	for (unsigned i = 0; i < FL_COUNT(rows); i++)
		fl_buf_printf(&b, "# TYPE %s %s\n%s %" PRIu64 "\n", rows[i].name, rows[i].type, rows[i].name,
			      rows[i].value);
	fl_http_respond(r->http, 200, "text/plain; version=0.0.4", b.data, b.len);
}

// GET /: the paths that there are.
static void serve_index(struct fl_request *r)
{
	static const char *const fixed[] = {"/healthz",    "/livez",  "/metrics", "/openapi/v2",
					    "/openapi/v3", "/readyz", "/version"};
	struct fl_json *index = fl_json_new(r->a, FL_JSON_OBJECT), *paths = fl_json_set_array(r->a, index, "paths");
	const struct fl_json *groups = fl_json_get(fl_discovery_groups(r->a, r->s->registry), "groups");
	static const char *const core[] = {"/api", "/api/v1", "/apis"};
	for (unsigned i = 0; i < FL_COUNT(core); i++)
		fl_json_append(paths, fl_json_new_str(r->a, core[i]));
	fl_json_each (g, groups) {
		fl_json_append(paths, fl_json_new_str(r->a, fl_arena_printf(r->a, "/apis/%s", fl_json_str(g, "name"))));
		fl_json_each (v, fl_json_get(g, "versions"))
			fl_json_append(paths, fl_json_new_str(r->a, fl_arena_printf(r->a, "/apis/%s",
										    fl_json_str(v, "groupVersion"))));
	}
	for (unsigned i = 0; i < FL_COUNT(fixed); i++)
		fl_json_append(paths, fl_json_new_str(r->a, fixed[i]));
	fl_respond_tree(r, 200, index);
}

static bool serve_openapi(struct fl_request *r)
{
	const struct fl_registry *reg = r->s->registry;
	if (!strcmp(r->path, "/openapi/v3")) {
		if (!not_modified(r))
			send_large(r, fl_openapi_v3_index(r->a, reg));
		return true;
	}
	if (!strcmp(r->path, "/openapi/v2")) {
		const char *accept = fl_http_header_all(r->http, "accept");
		if (not_modified(r))
			return true;
		if (accept && strstr(accept, "proto-openapi.spec.v2")) {
			AUTO(fl_buf_deinit) struct fl_buf b = {0};
			fl_openapi_v2_proto(&b, reg);
			fl_http_respond(r->http, 200, "application/com.github.proto-openapi.spec.v2.v1.0+protobuf",
					b.data, b.len);
		} else {
			send_large(r, fl_openapi_v2(r->a, reg));
		}
		return true;
	}
	if (fl_starts_with(r->path, "/openapi/v3/api")) {
		const char *group, *version, *whole = r->path;
		r->path = whole + strlen("/openapi/v3");
		group_version(r, &group, &version);
		r->path = whole;
		if (!not_modified(r))
			send_large(r, version ? fl_openapi_v3(r->a, reg, group, version) : NULL);
		return true;
	}
	return false;
}

bool fl_docs_serve(struct fl_request *r)
{
	char *path = fl_arena_strdup(r->a, r->path);
	for (size_t n = strlen(path); n > 1 && path[n - 1] == '/'; n--)
		path[n - 1] = 0;
	r->path = path;
	if (strcmp(r->verb, "get") != 0 && strcmp(r->verb, "list") != 0)
		return false;
	if (!strcmp(path, "/"))
		serve_index(r);
	else if (!strcmp(path, "/version"))
		serve_version(r);
	else if (!strcmp(path, "/healthz") || !strcmp(path, "/livez") || !strcmp(path, "/readyz"))
		serve_health(r, path + 1);
	else if (!strcmp(path, "/metrics"))
		serve_metrics(r);
	else if (!strcmp(path, "/api")) {
		if (wants_aggregated(r)) {
			if (!not_modified(r))
				send_kept(r, "/api aggregated", AGGREGATED_TYPE, make_api_aggregated);
		} else
			send_kept(r, "/api", "application/json", make_api);
	} else if (!strcmp(path, "/apis")) {
		if (wants_aggregated(r)) {
			if (!not_modified(r))
				send_kept(r, "/apis aggregated", AGGREGATED_TYPE, make_apis_aggregated);
		} else
			send_kept(r, "/apis", "application/json", make_apis);
	} else if (fl_starts_with(path, "/openapi/"))
		return serve_openapi(r);
	else if (fl_starts_with(path, "/apis/") || fl_starts_with(path, "/api/")) {
		const char *group, *version;
		group_version(r, &group, &version);
		const char *plain = fl_arena_printf(r->a, "/%s%s%s%s", group[0] ? "apis/" : "api/", group,
						    group[0] && version ? "/" : "", version ? version : "");
		if (strcmp(path, plain) != 0)
			return false;
		// Only known groups are kept, so that a client cannot fill the map.
		if (version ? !fl_discovery_resources(r->a, r->s->registry, group, version)
			    : !fl_discovery_group(r->a, r->s->registry, group))
			return false;
		send_kept(r, path, "application/json", make_group);
	} else
		return false;
	return true;
}
