// SPDX-License-Identifier: Apache-2.0
// Services: the table that `kubectl get services` prints, field selectors, and the predicates that the other files of
// the Service rules share. Defaults are in service_defaults.c, IP families in service_families.c, validation in
// service_validate.c.
#include "api/hooks/service.h"

#include <stdio.h>
#include <stdlib.h>

#include "api/hooks/cells.h"
#include "api/hooks/warnings.h"
#include "base/mem.h"
#include "base/str.h"

bool fl_service_is_type(const struct fl_json *spec, const char *type)
{
	return fl_streq(fl_json_str(spec, "type"), type);
}

bool fl_service_is_headless(const struct fl_json *spec)
{
	return fl_json_count(fl_json_get(spec, "clusterIPs")) == 1 && fl_streq(fl_json_str(spec, "clusterIP"), "None");
}

bool fl_service_needs_cluster_ip(const struct fl_json *spec)
{
	return fl_service_is_type(spec, "ClusterIP") || fl_service_is_type(spec, "NodePort") ||
	       fl_service_is_type(spec, "LoadBalancer");
}

bool fl_service_may_have_node_ports(const struct fl_json *spec)
{
	return fl_service_is_type(spec, "NodePort") || fl_service_is_type(spec, "LoadBalancer");
}

bool fl_service_needs_health_check(const struct fl_json *spec)
{
	return fl_service_is_type(spec, "LoadBalancer") &&
	       fl_streq(fl_json_str(spec, "externalTrafficPolicy"), "Local");
}

bool fl_service_externally_accessible(const struct fl_json *spec)
{
	return fl_service_is_type(spec, "LoadBalancer") || fl_service_is_type(spec, "NodePort") ||
	       (fl_service_is_type(spec, "ClusterIP") && fl_json_count(fl_json_get(spec, "externalIPs")));
}

static void precheck(struct fl_causes *c, const struct fl_json *obj, const struct fl_json *old)
{
	struct fl_json *spec = fl_json_clone(c->arena, fl_json_get(obj, "spec"));

	if (spec)
		fl_service_init_families(c, spec, fl_json_get(old, "spec"));
}

// --- table ---

static int by_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static const char *load_balancer_addresses(struct fl_arena *a, const struct fl_json *obj)
{
	const struct fl_json *ingress = fl_json_path(obj, "status", "loadBalancer", "ingress", NULL);
	AUTO_FREE const char **v = fl_calloc(fl_json_count(ingress) + 1, sizeof(*v));
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	size_t n = 0;

	fl_json_each (i, ingress) {
		const char *s = fl_json_str(i, "ip") ? fl_json_str(i, "ip") : fl_json_str(i, "hostname");

		if (!fl_str_empty(s))
			v[n++] = s;
	}
	qsort(v, n, sizeof(*v), by_text);
	for (size_t i = 0; i < n; i++)
		if (!i || !fl_streq(v[i], v[i - 1]))
			fl_buf_printf(&b, "%s%s", b.len ? "," : "", v[i]);
	return b.len ? fl_arena_strndup(a, b.data, b.len) : "";
}

static const char *external_addresses(struct fl_arena *a, const struct fl_json *obj)
{
	const struct fl_json *spec = fl_json_get(obj, "spec");
	const char *own = fl_join(a, fl_json_get(spec, "externalIPs"), NULL), *lb;

	if (fl_service_is_type(spec, "ExternalName"))
		return fl_json_str_or(spec, "externalName", "");
	if (!fl_service_is_type(spec, "LoadBalancer"))
		return *own ? own : "<none>";
	lb = load_balancer_addresses(a, obj);
	if (*own)
		return *lb ? fl_arena_printf(a, "%s,%s", lb, own) : own;
	return *lb ? lb : "<pending>";
}

static const char *ports_text(struct fl_arena *a, const struct fl_json *ports)
{
	AUTO(fl_buf_deinit) struct fl_buf b = {0};

	fl_json_each (p, ports) {
		int64_t node_port = fl_json_int(p, "nodePort", 0);

		fl_buf_printf(&b, "%s%lld", b.len ? "," : "", (long long)fl_json_int(p, "port", 0));
		if (node_port > 0)
			fl_buf_printf(&b, ":%lld", (long long)node_port);
		fl_buf_printf(&b, "/%s", fl_json_str_or(p, "protocol", ""));
	}
	return b.len ? fl_arena_strndup(a, b.data, b.len) : "<none>";
}

static void table_row(struct fl_arena *a, const struct fl_json *obj, int64_t now_ns, struct fl_json *cells)
{
	const struct fl_json *spec = fl_json_get(obj, "spec");
	const char *primary = fl_json_string(fl_json_index(fl_json_get(spec, "clusterIPs"), 0));

	fl_cell_name(a, cells, obj);
	fl_cell_string(a, cells, fl_service_type(spec));
	fl_cell_string(a, cells, primary ? primary : "<none>");
	fl_cell_string(a, cells, external_addresses(a, obj));
	fl_cell_string(a, cells, ports_text(a, fl_json_get(spec, "ports")));
	fl_cell_age(a, cells, obj, now_ns);
	fl_cell_string(a, cells, fl_format_labels(a, fl_json_get(spec, "selector")));
}

static const char *field(struct fl_arena *a, const struct fl_json *obj, const char *path)
{
	const struct fl_json *spec = fl_json_get(obj, "spec");

	if (fl_streq(path, "spec.type"))
		return fl_service_type(spec);
	if (fl_streq(path, "spec.clusterIP"))
		return fl_json_str_or(spec, "clusterIP", "");
	return NULL;
}

const struct fl_kind_hooks fl_hooks_service = {
    .name = "service",
    .set_defaults = fl_service_set_defaults,
    .prepare = fl_service_prepare,
    .precheck = precheck,
    .validate = fl_service_validate,
    .table_row = table_row,
    .field = field,
    .warn = fl_service_warn,
};
