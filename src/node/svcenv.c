// SPDX-License-Identifier: Apache-2.0
// Environment of Services. See svcenv.h.
#include "node/svcenv.h"

#include <ctype.h>
#include <inttypes.h>
#include <string.h>

#include "base/mem.h"

struct collect {
	struct fl_arena *a;
	struct fl_json *env;
	bool only_kubernetes;
	bool has_kubernetes;
};

// kubelet's makeEnvVariableName.
static const char *variable_name(struct fl_arena *a, const char *s)
{
	char *name = fl_arena_strdup(a, s);

	for (char *p = name; *p; p++)
		*p = *p == '-' ? '_' : (char)toupper((unsigned char)*p);
	return name;
}

static void lower(char *s)
{
	for (; *s; s++)
		*s = (char)tolower((unsigned char)*s);
}

__attribute__((format(printf, 2, 3))) static void add(struct collect *c, const char *fmt, ...)
{
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	va_list ap;

	va_start(ap, fmt);
	fl_buf_vprintf(&b, fmt, ap);
	va_end(ap);
	fl_json_append(c->env, fl_json_new_strn(c->a, b.data, b.len));
}

static void add_link(struct collect *c, const char *prefix, const char *ip, const struct fl_json *port, bool first)
{
	const char *protocol = fl_json_str(port, "protocol");
	char *proto = fl_arena_strdup(c->a, fl_str_empty(protocol) ? "TCP" : protocol);
	const char *upper = variable_name(c->a, proto);
	int64_t number = fl_json_int(port, "port", 0);
	bool v6 = strchr(ip, ':') != NULL;
	const char *where;

	lower(proto);
	where = fl_arena_printf(c->a, "%s://%s%s%s:%" PRId64, proto, v6 ? "[" : "", ip, v6 ? "]" : "", number);
	if (first)
		add(c, "%s_PORT=%s", prefix, where);
	add(c, "%s_PORT_%" PRId64 "_%s=%s", prefix, number, upper, where);
	add(c, "%s_PORT_%" PRId64 "_%s_PROTO=%s", prefix, number, upper, proto);
	add(c, "%s_PORT_%" PRId64 "_%s_PORT=%" PRId64, prefix, number, upper, number);
	add(c, "%s_PORT_%" PRId64 "_%s_ADDR=%s", prefix, number, upper, ip);
}

static void add_service(struct collect *c, const char *name, const char *ip, const struct fl_json *ports)
{
	const char *prefix = variable_name(c->a, name);
	const struct fl_json *first = fl_json_index(ports, 0);

	add(c, "%s_SERVICE_HOST=%s", prefix, ip);
	add(c, "%s_SERVICE_PORT=%" PRId64, prefix, fl_json_int(first, "port", 0));
	fl_json_each (p, ports) {
		const char *port_name = fl_json_str(p, "name");

		if (!fl_str_empty(port_name))
			add(c, "%s_SERVICE_PORT_%s=%" PRId64, prefix, variable_name(c->a, port_name),
			    fl_json_int(p, "port", 0));
	}
	fl_json_each (p, ports)
		add_link(c, prefix, ip, p, p == first);
}

static bool has_cluster_ip(const char *ip)
{
	return !fl_str_empty(ip) && strcmp(ip, "None") != 0;
}

static bool on_service(void *arg, const struct fl_object *o)
{
	struct collect *c = arg;
	AUTO(fl_arena_deinit) struct fl_arena tree = {0};
	bool kubernetes = strcmp(o->name, "kubernetes") == 0;
	const struct fl_json *spec;
	const char *ip;

	if (c->only_kubernetes && !kubernetes)
		return true;
	spec = fl_json_get(fl_object_tree(o, &tree), "spec");
	ip = fl_json_str(spec, "clusterIP");
	if (!has_cluster_ip(ip) || !fl_json_count(fl_json_get(spec, "ports")))
		return true;
	c->has_kubernetes = c->has_kubernetes || kubernetes;
	add_service(c, o->name, ip, fl_json_get(spec, "ports"));
	return !c->only_kubernetes;
}

static void add_fallback(struct collect *c, const struct fl_ip *ip)
{
	static const char port[] = "[{\"name\":\"https\",\"port\":443,\"protocol\":\"TCP\"}]";
	struct fl_json *ports = NULL;
	char text[FL_IP_STRLEN];

	if (fl_json_parse(c->a, port, sizeof(port) - 1, NULL, &ports, NULL) == 0)
		add_service(c, "kubernetes", fl_ip_format(ip, text), ports);
}

struct fl_json *fl_service_env(struct fl_arena *a, const struct fl_service_env_source *s)
{
	struct collect c = {.a = a, .env = fl_json_new(a, FL_JSON_ARRAY)};
	bool links = fl_json_bool(s->pod->spec, "enableServiceLinks", true);
	bool at_home = strcmp(s->pod->ns, "default") == 0;

	if (s->each && (links || at_home)) {
		c.only_kubernetes = !links;
		s->each(s->arg, s->pod->ns, on_service, &c);
	}
	c.only_kubernetes = true;
	if (s->each && !c.has_kubernetes && !at_home)
		s->each(s->arg, "default", on_service, &c);
	if (!c.has_kubernetes && s->kubernetes_ip.family)
		add_fallback(&c, &s->kubernetes_ip);
	return c.env;
}

struct fl_json *fl_service_env_reduce(struct fl_arena *a, const struct fl_json *service)
{
	static const char *const names[] = {"namespace", "name", "uid", "resourceVersion"};
	struct fl_json *small = fl_json_new(a, FL_JSON_OBJECT), *meta, *spec, *ports;
	const struct fl_json *from = fl_json_get(service, "spec");

	fl_json_set_str(a, small, "kind", "Service");
	fl_json_set_str(a, small, "apiVersion", "v1");
	meta = fl_json_set_object(a, small, "metadata");
	for (size_t i = 0; i < FL_COUNT(names); i++)
		fl_json_set_str(a, meta, names[i], fl_json_str(fl_json_get(service, "metadata"), names[i]));
	if (has_cluster_ip(fl_json_str(from, "clusterIP"))) {
		spec = fl_json_set_object(a, small, "spec");
		fl_json_set_str(a, spec, "clusterIP", fl_json_str(from, "clusterIP"));
		ports = fl_json_set_array(a, spec, "ports");
		fl_json_each (p, fl_json_get(from, "ports")) {
			struct fl_json *port = fl_json_append(ports, fl_json_new(a, FL_JSON_OBJECT));

			if (fl_json_str(p, "name"))
				fl_json_set_str(a, port, "name", fl_json_str(p, "name"));
			fl_json_set_int(a, port, "port", fl_json_int(p, "port", 0));
			if (!fl_streq(fl_json_str(p, "protocol"), "TCP"))
				fl_json_set_str(a, port, "protocol", fl_json_str(p, "protocol"));
		}
	}
	return small;
}
