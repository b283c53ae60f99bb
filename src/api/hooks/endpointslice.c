// SPDX-License-Identifier: Apache-2.0
// EndpointSlices. (k8s: pkg/apis/discovery/validation, printEndpointSlice)
#include "api/hooks/cells.h"
#include "api/hooks/hooks.h"
#include "api/validate.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/str.h"

enum { MAX_ENDPOINTS = 1000, MAX_ADDRESSES = 100, MAX_PORTS = 20000, MAX_HINTS = 8, SHOWN = 3 };

// Lists without "omitempty" in Go: clients see null when there is none.
static void set_defaults(struct fl_arena *a, struct fl_json *obj)
{
	static const char *const lists[] = {"endpoints", "ports"};

	for (size_t i = 0; i < FL_COUNT(lists); i++)
		if (!fl_json_get(obj, lists[i]))
			fl_json_set(a, obj, lists[i], fl_json_new(a, FL_JSON_NULL));
}

static bool too_many(struct fl_causes *c, const char *field, size_t n, size_t max)
{
	if (n <= max)
		return false;
	fl_cause_add(c, FL_CAUSE_TOO_MANY, field, fl_json_new_int(c->arena, (int64_t)n), "must have at most %zu items",
		     max);
	return true;
}

static void validate_address(struct fl_causes *c, const char *list_field, size_t i, const char *type,
			     const struct fl_json *address)
{
	const char *field = fl_arena_printf(c->arena, "%s[%zu]", list_field, i);
	bool v4 = fl_streq(type, "IPv4");
	struct fl_ip ip;

	if (fl_streq(type, "FQDN")) {
		fl_validate_string(c, field, address, fl_check_dns1123_subdomain);
		return;
	}
	if (!v4 && !fl_streq(type, "IPv6"))
		return;
	if (!fl_validate_ip(c, field, address, &ip))
		return;
	if ((ip.family == AF_INET) != v4)
		fl_cause_add(c, FL_CAUSE_INVALID, list_field, address, "must be an %s address", type);
	fl_validate_non_special_ip(c, field, address, &ip);
}

static void validate_hints(struct fl_causes *c, const char *field, const struct fl_json *hints)
{
	static const char *const keys[] = {"forZones", "forNodes"};

	for (size_t k = 0; k < FL_COUNT(keys); k++) {
		const struct fl_json *list = fl_json_get(hints, keys[k]);
		const char *list_field = fl_arena_printf(c->arena, "%s.hints.%s", field, keys[k]);
		size_t i = 0;

		if (too_many(c, list_field, fl_json_count(list), MAX_HINTS))
			continue;
		fl_json_each (h, list) {
			const char *name_field = fl_arena_printf(c->arena, "%s[%zu].name", list_field, i);
			const struct fl_json *name = fl_json_get(h, "name");

			for (size_t j = 0; j < i; j++)
				if (fl_streq(fl_json_str(fl_json_index(list, j), "name"), fl_json_string(name)))
					fl_cause_add(c, FL_CAUSE_DUPLICATE, name_field, name, NULL);
			fl_validate_string(c, name_field, name, k ? fl_check_dns1123_subdomain : fl_check_label_value);
			i++;
		}
	}
}

static void validate_endpoints(struct fl_causes *c, const struct fl_json *endpoints, const char *type)
{
	size_t i = 0;

	if (too_many(c, "endpoints", fl_json_count(endpoints), MAX_ENDPOINTS))
		return;
	fl_json_each (e, endpoints) {
		const char *field = fl_arena_printf(c->arena, "endpoints[%zu]", i++);
		const char *list_field = fl_arena_printf(c->arena, "%s.addresses", field);
		const struct fl_json *addresses = fl_json_get(e, "addresses");
		size_t j = 0;

		if (!fl_json_count(addresses))
			fl_cause_add(c, FL_CAUSE_REQUIRED, list_field, NULL, "must contain at least 1 address");
		else if (!too_many(c, list_field, fl_json_count(addresses), MAX_ADDRESSES))
			fl_json_each (address, addresses)
				validate_address(c, list_field, j++, type, address);
		fl_validate_string(c, fl_arena_printf(c->arena, "%s.nodeName", field), fl_json_get(e, "nodeName"),
				   fl_check_dns1123_subdomain);
		fl_validate_string(c, fl_arena_printf(c->arena, "%s.hostname", field), fl_json_get(e, "hostname"),
				   fl_check_dns1123_label);
		validate_hints(c, field, fl_json_get(e, "hints"));
	}
}

static void validate_ports(struct fl_causes *c, const struct fl_json *ports)
{
	static const char *const protocols[] = {"SCTP", "TCP", "UDP", NULL};
	AUTO(fl_map_deinit) struct fl_map names = {0};
	size_t i = 0;

	if (too_many(c, "ports", fl_json_count(ports), MAX_PORTS))
		return;
	fl_json_each (p, ports) {
		const char *field = fl_arena_printf(c->arena, "ports[%zu]", i);
		const char *name_field = fl_arena_printf(c->arena, "%s.name", field);
		const char *app_protocol = fl_json_str(p, "appProtocol");
		const struct fl_json *name = fl_json_get(p, "name");

		if (!fl_str_empty(fl_json_string(name)))
			fl_validate_string(c, name_field, name, fl_check_dns1123_label);
		if (fl_map_set(&names, fl_json_str_or(p, "name", ""), &names))
			fl_cause_add(c, FL_CAUSE_DUPLICATE, name_field, name, NULL);
		if (fl_json_get(p, "port"))
			fl_validate_port_number(c, fl_arena_printf(c->arena, "%s.port", field), fl_json_get(p, "port"));
		fl_validate_one_of(c, fl_arena_printf(c->arena, "%s.protocol", field), fl_json_get(p, "protocol"),
				   protocols);
		if (app_protocol)
			fl_validate_qualified_name(c, fl_arena_printf(c->arena, "%s.appProtocol", field), app_protocol);
		i++;
	}
}

static bool same(const struct fl_json *obj, const struct fl_json *old, const char *key)
{
	const struct fl_json *x = fl_json_get(obj, key), *y = fl_json_get(old, key);

	return old && x && y && fl_json_equal(x, y);
}

static void validate(struct fl_causes *c, const struct fl_json *obj, const struct fl_json *old, const char *subresource)
{
	static const char *const types[] = {"FQDN", "IPv4", "IPv6", NULL};
	const char *type = fl_json_str_or(obj, "addressType", "");

	if (!*type)
		fl_cause_add(c, FL_CAUSE_REQUIRED, "addressType", NULL, NULL);
	else
		fl_validate_one_of(c, "addressType", fl_json_get(obj, "addressType"), types);
	// What was accepted once and is not touched is not judged again.
	if (!same(obj, old, "endpoints"))
		validate_endpoints(c, fl_json_get(obj, "endpoints"), type);
	if (!same(obj, old, "ports"))
		validate_ports(c, fl_json_get(obj, "ports"));
	if (old)
		fl_validate_immutable(c, "addressType", fl_json_get(obj, "addressType"),
				      fl_json_get(old, "addressType"));
}

// --- table ---

static const char *shorten(struct fl_arena *a, const struct fl_buf *text, size_t n)
{
	if (!n)
		return "<unset>";
	if (n > SHOWN)
		return fl_arena_printf(a, "%s + %zu more...", text->data, n - SHOWN);
	return fl_arena_strndup(a, text->data, text->len);
}

static const char *ports_text(struct fl_arena *a, const struct fl_json *ports)
{
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	size_t n = 0;

	fl_json_each (p, ports) {
		const struct fl_json *number = fl_json_get(p, "port");

		if (n++ >= SHOWN)
			continue;
		if (b.len)
			fl_buf_putc(&b, ',');
		if (fl_json_is(number, FL_JSON_INT))
			fl_buf_printf(&b, "%lld", (long long)number->i);
		else
			fl_buf_puts(&b, fl_json_str_or(p, "name", "*"));
	}
	return shorten(a, &b, n);
}

static const char *addresses_text(struct fl_arena *a, const struct fl_json *endpoints)
{
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	size_t n = 0;

	fl_json_each (e, endpoints) {
		fl_json_each (address, fl_json_get(e, "addresses")) {
			if (n++ < SHOWN && fl_json_string(address))
				fl_buf_printf(&b, "%s%s", b.len ? "," : "", fl_json_string(address));
		}
	}
	return shorten(a, &b, n);
}

static void table_row(struct fl_arena *a, const struct fl_json *obj, int64_t now_ns, struct fl_json *cells)
{
	fl_cell_name(a, cells, obj);
	fl_cell_string(a, cells, fl_json_str(obj, "addressType"));
	fl_cell_string(a, cells, ports_text(a, fl_json_get(obj, "ports")));
	fl_cell_string(a, cells, addresses_text(a, fl_json_get(obj, "endpoints")));
	fl_cell_age(a, cells, obj, now_ns);
}

const struct fl_kind_hooks fl_hooks_endpointslice = {
    .name = "endpointslice",
    .set_defaults = set_defaults,
    .validate = validate,
    .table_row = table_row,
};
