// SPDX-License-Identifier: Apache-2.0
// ConfigMaps: keys, size, immutability. (k8s: validation ValidateConfigMap, ValidateConfigMapUpdate)
#include "api/hooks/cells.h"
#include "api/hooks/hooks.h"
#include "api/validate.h"
#include "base/mem.h"
#include "base/str.h"

#define MAX_BYTES (1024 * 1024) // of all values together

// Decoded length of base64 text.
static size_t decoded_length(const struct fl_json *value)
{
	const char *s = fl_json_string(value);
	size_t n = value->str.len;

	while (n && s[n - 1] == '=')
		n--;
	return n * 3 / 4;
}

static void validate_key(struct fl_causes *c, const char *map, const char *key)
{
	const char *why = fl_check_config_key(c->arena, key);

	if (why)
		fl_cause_add(c, FL_CAUSE_INVALID, fl_arena_printf(c->arena, "%s[%s]", map, key),
			     fl_json_new_str(c->arena, key), "%s", why);
}

static void validate_immutable(struct fl_causes *c, const struct fl_json *obj, const struct fl_json *old)
{
	static const char *const maps[] = {"data", "binaryData"};
	static const char *const why = "field is immutable when `immutable` is set";

	if (!fl_json_bool(old, "immutable", false))
		return;
	if (!fl_json_bool(obj, "immutable", false))
		fl_cause_add(c, FL_CAUSE_FORBIDDEN, "immutable", NULL, "%s", why);
	for (size_t i = 0; i < FL_COUNT(maps); i++) {
		const struct fl_json *now = fl_json_get(obj, maps[i]), *was = fl_json_get(old, maps[i]);

		if (now != was && (!now || !was || !fl_json_equal(now, was)))
			fl_cause_add(c, FL_CAUSE_FORBIDDEN, maps[i], NULL, "%s", why);
	}
}

static void validate(struct fl_causes *c, const struct fl_json *obj, const struct fl_json *old, const char *subresource)
{
	const struct fl_json *data = fl_json_get(obj, "data"), *binary = fl_json_get(obj, "binaryData");
	size_t total = 0;

	fl_json_each (v, data) {
		validate_key(c, "data", v->key);
		if (fl_json_get(binary, v->key))
			fl_cause_add(c, FL_CAUSE_INVALID, fl_arena_printf(c->arena, "data[%s]", v->key),
				     fl_json_new_str(c->arena, v->key), "duplicate of key present in binaryData");
		total += v->type == FL_JSON_STRING ? v->str.len : 0;
	}
	fl_json_each (v, binary) {
		validate_key(c, "binaryData", v->key);
		total += v->type == FL_JSON_STRING ? decoded_length(v) : 0;
	}
	if (total > MAX_BYTES)
		fl_cause_add(c, FL_CAUSE_TOO_LONG, "[]", NULL, "may not be more than %d bytes", MAX_BYTES);
	if (old)
		validate_immutable(c, obj, old);
}

static void table_row(struct fl_arena *a, const struct fl_json *obj, int64_t now_ns, struct fl_json *cells)
{
	fl_cell_name(a, cells, obj);
	fl_cell_int(a, cells,
		    (int64_t)(fl_json_count(fl_json_get(obj, "data")) + fl_json_count(fl_json_get(obj, "binaryData"))));
	fl_cell_age(a, cells, obj, now_ns);
}

const struct fl_kind_hooks fl_hooks_configmap = {.name = "configmap", .validate = validate, .table_row = table_row};
