// SPDX-License-Identifier: Apache-2.0
// v1 Endpoints, deprecated but served. (k8s: validation ValidateEndpoints, printEndpoints)
#include "api/hooks/cells.h"
#include "api/hooks/hooks.h"
#include "api/validate.h"
#include "base/str.h"

enum { SHOWN = 3 }; // endpoints in a table's cell

static void validate_address(struct fl_causes *c, const char *field, const struct fl_json *address)
{
	const char *ip_field = fl_arena_printf(c->arena, "%s.ip", field);
	const struct fl_json *text = fl_json_get(address, "ip");
	struct fl_ip ip;
	bool is_ip = fl_validate_ip(c, ip_field, text, &ip);

	fl_validate_string(c, fl_arena_printf(c->arena, "%s.hostname", field), fl_json_get(address, "hostname"),
			   fl_check_dns1123_label);
	fl_validate_string(c, fl_arena_printf(c->arena, "%s.nodeName", field), fl_json_get(address, "nodeName"),
			   fl_check_dns1123_subdomain);
	if (is_ip)
		fl_validate_non_special_ip(c, ip_field, text, &ip);
	else
		fl_cause_add(c, FL_CAUSE_INVALID, ip_field, text ? text : fl_json_new_str(c->arena, ""),
			     "must be a valid IP address");
}

static void validate_port(struct fl_causes *c, const char *field, const struct fl_json *port, bool need_name)
{
	static const char *const protocols[] = {"SCTP", "TCP", "UDP", NULL};
	const struct fl_json *name = fl_json_get(port, "name"), *protocol = fl_json_get(port, "protocol");
	const char *name_field = fl_arena_printf(c->arena, "%s.name", field);
	const char *app_protocol = fl_json_str(port, "appProtocol");

	if (!fl_str_empty(fl_json_string(name)))
		fl_validate_string(c, name_field, name, fl_check_dns1123_label);
	else if (need_name)
		fl_cause_add(c, FL_CAUSE_REQUIRED, name_field, NULL, NULL);
	fl_validate_port_number(c, fl_arena_printf(c->arena, "%s.port", field), fl_json_get(port, "port"));
	if (protocol)
		fl_validate_one_of(c, fl_arena_printf(c->arena, "%s.protocol", field), protocol, protocols);
	else
		fl_cause_add(c, FL_CAUSE_REQUIRED, fl_arena_printf(c->arena, "%s.protocol", field), NULL, NULL);
	if (app_protocol)
		fl_validate_qualified_name(c, fl_arena_printf(c->arena, "%s.appProtocol", field), app_protocol);
}

static void validate_addresses(struct fl_causes *c, const char *subset, const char *key, const struct fl_json *list)
{
	size_t i = 0;

	fl_json_each (e, list)
		validate_address(c, fl_arena_printf(c->arena, "%s.%s[%zu]", subset, key, i++), e);
}

static void validate(struct fl_causes *c, const struct fl_json *obj, const struct fl_json *old, const char *subresource)
{
	size_t i = 0;

	fl_json_each (s, fl_json_get(obj, "subsets")) {
		const char *field = fl_arena_printf(c->arena, "subsets[%zu]", i++);
		const struct fl_json *ready = fl_json_get(s, "addresses"), *ports = fl_json_get(s, "ports");
		const struct fl_json *not_ready = fl_json_get(s, "notReadyAddresses");
		size_t j = 0;

		if (!fl_json_count(ready) && !fl_json_count(not_ready))
			fl_cause_add(c, FL_CAUSE_REQUIRED, field, NULL,
				     "must specify `addresses` or `notReadyAddresses`");
		validate_addresses(c, field, "addresses", ready);
		validate_addresses(c, field, "notReadyAddresses", not_ready);
		fl_json_each (p, ports)
			validate_port(c, fl_arena_printf(c->arena, "%s.ports[%zu]", field, j++), p,
				      fl_json_count(ports) > 1);
	}
}

// --- table ---

struct shown {
	struct fl_buf text;
	size_t n;
};

static void show(struct shown *s, const struct fl_json *address, const struct fl_json *port)
{
	const char *ip = fl_json_str_or(address, "ip", "");

	if (s->n++ >= SHOWN)
		return;
	if (s->text.len)
		fl_buf_putc(&s->text, ',');
	if (!port)
		fl_buf_puts(&s->text, ip);
	else
		fl_buf_printf(&s->text, strchr(ip, ':') ? "[%s]:%lld" : "%s:%lld", ip,
			      (long long)fl_json_int(port, "port", 0));
}

static const char *endpoints_text(struct fl_arena *a, const struct fl_json *obj)
{
	struct shown s = {.n = 0};
	const char *text;

	fl_json_each (subset, fl_json_get(obj, "subsets")) {
		const struct fl_json *ports = fl_json_get(subset, "ports"), *ready = fl_json_get(subset, "addresses");

		fl_json_each (p, ports)
			fl_json_each (e, ready)
				show(&s, e, p);
		if (!fl_json_count(ports))
			fl_json_each (e, ready)
				show(&s, e, NULL);
	}
	if (!s.n)
		return "<none>";
	text = s.n > SHOWN ? fl_arena_printf(a, "%s + %zu more...", s.text.data, s.n - SHOWN)
			   : fl_arena_strdup(a, s.text.data);
	fl_buf_deinit(&s.text);
	return text;
}

static void table_row(struct fl_arena *a, const struct fl_json *obj, int64_t now_ns, struct fl_json *cells)
{
	fl_cell_name(a, cells, obj);
	fl_cell_string(a, cells, endpoints_text(a, obj));
	fl_cell_age(a, cells, obj, now_ns);
}

const struct fl_kind_hooks fl_hooks_endpoints = {
    .name = "endpoints",
    .validate = validate,
    .table_row = table_row,
    .deprecated = "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice",
};
