// SPDX-License-Identifier: Apache-2.0
// Secrets: stringData becomes data; keys, size, what each type must hold, immutability.
// (k8s: Convert_v1_Secret_To_core_Secret; ValidateSecret, ValidateSecretUpdate)
#include "api/hooks/cells.h"
#include "api/hooks/hooks.h"
#include "api/validate.h"
#include "base/mem.h"
#include "base/str.h"

#define MAX_BYTES (1024 * 1024) // of all values together, decoded

static void set_defaults(struct fl_arena *a, struct fl_json *obj)
{
	const struct fl_json *plain = fl_json_get(obj, "stringData");

	fl_json_each (v, plain) {
		struct fl_json *data = fl_json_ensure_object(a, obj, "data");
		AUTO(fl_buf_deinit) struct fl_buf b = {0};

		fl_base64_encode(&b, v->str.s, v->str.len);
		fl_json_set_n(a, data, v->key, v->key_len, fl_json_new_strn(a, b.data ? b.data : "", b.len));
	}
	fl_json_remove(obj, "stringData");
}

// Decoded length of base64 text without line breaks, as schema_decode.c leaves it.
static size_t decoded_length(const struct fl_json *value)
{
	size_t n = value->str.len;

	while (n && value->str.s[n - 1] == '=')
		n--;
	return n * 3 / 4;
}

static void require_key(struct fl_causes *c, const struct fl_json *data, const char *key)
{
	if (!fl_json_get(data, key))
		fl_cause_add(c, FL_CAUSE_REQUIRED, fl_arena_printf(c->arena, "data[%s]", key), NULL, NULL);
}

// A registry's credentials must be a JSON object; nothing of them is shown.
static void validate_docker(struct fl_causes *c, const struct fl_json *data, const char *key)
{
	const struct fl_json *value = fl_json_get(data, key);
	AUTO(fl_buf_deinit) struct fl_buf text = {0};
	struct fl_json *parsed = NULL;
	struct fl_err err = {0};
	const char *why = NULL;

	require_key(c, data, key);
	if (!value)
		return;
	if (!fl_base64_decode(&text, value->str.s, value->str.len) ||
	    fl_json_parse(c->arena, text.data ? text.data : "", text.len, NULL, &parsed, &err) < 0)
		why = "must be well-formed JSON";
	else if (parsed->type != FL_JSON_OBJECT && parsed->type != FL_JSON_NULL)
		why = "must be a JSON object";
	if (why)
		fl_cause_add(c, FL_CAUSE_INVALID, fl_arena_printf(c->arena, "data[%s]", key),
			     fl_json_new_str(c->arena, "<secret contents redacted>"), "%s", why);
}

static void validate_type(struct fl_causes *c, const struct fl_json *obj, const struct fl_json *data)
{
	static const char *const account = "kubernetes.io/service-account.name";
	const char *type = fl_json_str_or(obj, "type", "");
	const struct fl_json *key;

	if (fl_streq(type, "kubernetes.io/service-account-token")) {
		if (fl_str_empty(fl_json_str(fl_json_path(obj, "metadata", "annotations", NULL), account)))
			fl_cause_add(c, FL_CAUSE_REQUIRED,
				     fl_arena_printf(c->arena, "metadata.annotations[%s]", account), NULL, NULL);
	} else if (fl_streq(type, "kubernetes.io/dockercfg")) {
		validate_docker(c, data, ".dockercfg");
	} else if (fl_streq(type, "kubernetes.io/dockerconfigjson")) {
		validate_docker(c, data, ".dockerconfigjson");
	} else if (fl_streq(type, "kubernetes.io/basic-auth")) {
		if (!fl_json_get(data, "username") && !fl_json_get(data, "password")) {
			require_key(c, data, "username");
			require_key(c, data, "password");
		}
	} else if (fl_streq(type, "kubernetes.io/ssh-auth")) {
		key = fl_json_get(data, "ssh-privatekey");
		if (!key || !key->str.len)
			fl_cause_add(c, FL_CAUSE_REQUIRED, "data[ssh-privatekey]", NULL, NULL);
	} else if (fl_streq(type, "kubernetes.io/tls")) {
		require_key(c, data, "tls.crt");
		require_key(c, data, "tls.key");
	}
}

static void validate_update(struct fl_causes *c, const struct fl_json *obj, const struct fl_json *old)
{
	static const char *const why = "field is immutable when `immutable` is set";
	const struct fl_json *now = fl_json_get(obj, "data"), *was = fl_json_get(old, "data");

	fl_validate_immutable(c, "type", fl_json_get(obj, "type"), fl_json_get(old, "type"));
	if (!fl_json_bool(old, "immutable", false))
		return;
	if (!fl_json_bool(obj, "immutable", false))
		fl_cause_add(c, FL_CAUSE_FORBIDDEN, "immutable", NULL, "%s", why);
	if (now != was && (!now || !was || !fl_json_equal(now, was)))
		fl_cause_add(c, FL_CAUSE_FORBIDDEN, "data", NULL, "%s", why);
}

static void validate(struct fl_causes *c, const struct fl_json *obj, const struct fl_json *old, const char *subresource)
{
	const struct fl_json *data = fl_json_get(obj, "data");
	size_t total = 0;

	if (old)
		validate_update(c, obj, old);
	fl_json_each (v, data) {
		const char *why = fl_check_config_key(c->arena, v->key);

		if (why)
			fl_cause_add(c, FL_CAUSE_INVALID, fl_arena_printf(c->arena, "data[%s]", v->key),
				     fl_json_new_str(c->arena, v->key), "%s", why);
		total += v->type == FL_JSON_STRING ? decoded_length(v) : 0;
	}
	if (total > MAX_BYTES)
		fl_cause_add(c, FL_CAUSE_TOO_LONG, "data", NULL, "may not be more than %d bytes", MAX_BYTES);
	validate_type(c, obj, data);
}

static void table_row(struct fl_arena *a, const struct fl_json *obj, int64_t now_ns, struct fl_json *cells)
{
	fl_cell_name(a, cells, obj);
	fl_cell_string(a, cells, fl_json_str(obj, "type"));
	fl_cell_int(a, cells, (int64_t)fl_json_count(fl_json_get(obj, "data")));
	fl_cell_age(a, cells, obj, now_ns);
}

static const char *field(struct fl_arena *a, const struct fl_json *obj, const char *path)
{
	return fl_streq(path, "type") ? fl_json_str_or(obj, "type", "") : NULL;
}

const struct fl_kind_hooks fl_hooks_secret = {
    .name = "secret",
    .set_defaults = set_defaults,
    .validate = validate,
    .table_row = table_row,
    .field = field,
};
