// SPDX-License-Identifier: Apache-2.0
// Names, numbers and addresses, in the words of apimachinery's util/validation. Character classes instead of regular
// expressions; the expressions appear in the texts because clients and people know them by sight.
#include "api/validate.h"

#include <ctype.h>
#include <stdio.h>

#include "api/label.h"
#include "base/mem.h"
#include "base/str.h"

#define LABEL_FMT     "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
#define SUBDOMAIN_FMT LABEL_FMT "(\\." LABEL_FMT ")*"

enum { LABEL_MAX = 63, SUBDOMAIN_MAX = 253, ANNOTATIONS_MAX = 256 * 1024, PORT_NAME_MAX = 15 };

static bool is_lower_alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

// LABEL_FMT over n bytes
static bool is_dns_label(const char *s, size_t n)
{
	if (!n || !is_lower_alnum(s[0]) || !is_lower_alnum(s[n - 1]))
		return false;
	for (size_t i = 0; i < n; i++)
		if (!is_lower_alnum(s[i]) && s[i] != '-')
			return false;
	return true;
}

static bool is_dns_subdomain(const char *s)
{
	for (;;) {
		size_t n = strcspn(s, ".");

		if (!is_dns_label(s, n))
			return false;
		if (!s[n])
			return true;
		s += n + 1;
	}
}

static const char *too_long(struct fl_arena *a, unsigned max)
{
	return fl_arena_printf(a, "must be no more than %u characters", max);
}

const char *fl_check_dns1123_label(struct fl_arena *a, const char *s)
{
	size_t n = strlen(s);

	if (n > LABEL_MAX)
		return too_long(a, LABEL_MAX);
	if (!is_dns_label(s, n))
		return "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must "
		       "start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for "
		       "validation is '" LABEL_FMT "')";
	return NULL;
}

const char *fl_check_dns1123_subdomain(struct fl_arena *a, const char *s)
{
	if (strlen(s) > SUBDOMAIN_MAX)
		return too_long(a, SUBDOMAIN_MAX);
	if (!is_dns_subdomain(s))
		return "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', "
		       "and must start and end with an alphanumeric character (e.g. 'example.com', regex used for "
		       "validation is '" SUBDOMAIN_FMT "')";
	return NULL;
}

const char *fl_check_label_value(struct fl_arena *a, const char *s)
{
	return fl_label_value_error(s);
}

const char *fl_check_path_segment(struct fl_arena *a, const char *s)
{
	if (fl_streq(s, ".") || fl_streq(s, ".."))
		return fl_arena_printf(a, "may not be '%s'", s);
	if (strchr(s, '/'))
		return "may not contain '/'";
	if (strchr(s, '%'))
		return "may not contain '%'";
	return NULL;
}

const char *fl_check_config_key(struct fl_arena *a, const char *s)
{
	size_t n = strlen(s);

	if (n > SUBDOMAIN_MAX)
		return too_long(a, SUBDOMAIN_MAX);
	if (!n || s[strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._")])
		return "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  "
		       "or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";
	if (fl_streq(s, ".") || fl_streq(s, ".."))
		return fl_arena_printf(a, "must not be '%s'", s);
	if (fl_starts_with(s, ".."))
		return "must not start with '..'";
	return NULL;
}

const char *fl_check_port_name(struct fl_arena *a, const char *s)
{
	size_t n = strlen(s);

	if (n > PORT_NAME_MAX)
		return too_long(a, PORT_NAME_MAX);
	if (s[strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789-")])
		return "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)";
	if (!strpbrk(s, "abcdefghijklmnopqrstuvwxyz"))
		return "must contain at least one letter (a-z)";
	if (strstr(s, "--"))
		return "must not contain consecutive hyphens";
	if (s[0] == '-' || s[n - 1] == '-')
		return "must not begin or end with a hyphen";
	return NULL;
}

// Since Kubernetes 1.32 any printable ASCII but '='.
const char *fl_check_env_name(struct fl_arena *a, const char *s)
{
	if (!*s)
		return "environment variable name must not be empty";
	for (; *s; s++)
		if (*s < ' ' || *s > '~' || *s == '=')
			return "a valid environment variable name must consist only of printable ASCII characters "
			       "other than '='";
	return NULL;
}

const char *fl_check_http_header(struct fl_arena *a, const char *s)
{
	if (!*s || s[strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-")])
		return "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', "
		       "regex "
		       "used for validation is '[-A-Za-z0-9]+')";
	return NULL;
}

void fl_validate_string(struct fl_causes *c, const char *field, const struct fl_json *value, fl_name_check check)
{
	const char *s = fl_json_string(value), *why = s ? check(c->arena, s) : NULL;

	if (why)
		fl_cause_add(c, FL_CAUSE_INVALID, field, value, "%s", why);
}

void fl_validate_qualified_name(struct fl_causes *c, const char *field, const char *name)
{
	AUTO(fl_buf_deinit) struct fl_buf text = {0};

	if (fl_label_key_errors(name, &text))
		fl_cause_add(c, FL_CAUSE_INVALID, field, fl_json_new_str(c->arena, name), "%s", text.data);
}

void fl_validate_labels(struct fl_causes *c, const char *field, const struct fl_json *labels)
{
	fl_json_each (l, labels) {
		fl_validate_qualified_name(c, field, l->key);
		fl_validate_string(c, field, l, fl_check_label_value);
	}
}

void fl_validate_annotations(struct fl_causes *c, const char *field, const struct fl_json *annotations)
{
	size_t total = 0;

	fl_json_each (m, annotations) {
		char *lower = fl_arena_strndup(c->arena, m->key, m->key_len);

		for (char *p = lower; *p; p++)
			*p = (char)tolower((unsigned char)*p);
		AUTO(fl_buf_deinit) struct fl_buf text = {0};
		if (fl_label_key_errors(lower, &text))
			fl_cause_add(c, FL_CAUSE_INVALID, field, fl_json_new_str(c->arena, m->key), "%s", text.data);
		total += m->key_len + (m->type == FL_JSON_STRING ? m->str.len : 0);
	}
	if (total > ANNOTATIONS_MAX)
		fl_cause_add(c, FL_CAUSE_TOO_LONG, field, NULL, "may not be more than %d bytes", ANNOTATIONS_MAX);
}

static void validate_requirement(struct fl_causes *c, const char *field, const struct fl_json *r)
{
	const char *op = fl_json_str_or(r, "operator", ""), *key = fl_json_str_or(r, "key", "");
	const struct fl_json *values = fl_json_get(r, "values");
	const char *values_field = fl_arena_printf(c->arena, "%s.values", field);
	size_t i = 0;

	if (fl_streq(op, "In") || fl_streq(op, "NotIn")) {
		if (!fl_json_count(values))
			fl_cause_add(c, FL_CAUSE_REQUIRED, values_field, NULL,
				     "must be specified when `operator` is 'In' or 'NotIn'");
	} else if (fl_streq(op, "Exists") || fl_streq(op, "DoesNotExist")) {
		if (fl_json_count(values))
			fl_cause_add(c, FL_CAUSE_FORBIDDEN, values_field, NULL,
				     "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
	} else {
		fl_cause_add(c, FL_CAUSE_INVALID, fl_arena_printf(c->arena, "%s.operator", field),
			     fl_json_new_str(c->arena, op), "not a valid selector operator");
	}
	fl_validate_qualified_name(c, fl_arena_printf(c->arena, "%s.key", field), key);
	fl_json_each (v, values)
		fl_validate_string(c, fl_arena_printf(c->arena, "%s[%zu]", values_field, i++), v, fl_check_label_value);
}

void fl_validate_selector(struct fl_causes *c, const char *field, const struct fl_json *selector)
{
	size_t i = 0;

	fl_validate_labels(c, fl_arena_printf(c->arena, "%s.matchLabels", field), fl_json_get(selector, "matchLabels"));
	fl_json_each (r, fl_json_get(selector, "matchExpressions"))
		validate_requirement(c, fl_arena_printf(c->arena, "%s.matchExpressions[%zu]", field, i++), r);
}

void fl_validate_port_number(struct fl_causes *c, const char *field, const struct fl_json *value)
{
	if (!fl_json_is(value, FL_JSON_INT) || value->i < 1 || value->i > 65535)
		fl_cause_add(c, FL_CAUSE_INVALID, field, value ? value : fl_json_new_int(c->arena, 0),
			     "must be between 1 and 65535, inclusive");
}

void fl_validate_non_negative(struct fl_causes *c, const char *field, const struct fl_json *value)
{
	if (fl_json_is(value, FL_JSON_INT) && value->i < 0)
		fl_cause_add(c, FL_CAUSE_INVALID, field, value, "must be greater than or equal to 0");
}

void fl_validate_port_or_name(struct fl_causes *c, const char *field, const struct fl_json *value)
{
	if (fl_json_is(value, FL_JSON_STRING))
		fl_validate_string(c, field, value, fl_check_port_name);
	else
		fl_validate_port_number(c, field, value);
}

bool fl_validate_ip(struct fl_causes *c, const char *field, const struct fl_json *value, struct fl_ip *ret)
{
	const char *s = fl_json_string(value);

	if (s && fl_ip_parse(s, ret))
		return true;
	fl_cause_add(c, FL_CAUSE_INVALID, field, value ? value : fl_json_new_str(c->arena, ""),
		     "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)");
	return false;
}

static bool is_link_local_multicast(const struct fl_ip *ip)
{
	if (ip->family == AF_INET)
		return ip->b[12] == 224 && ip->b[13] == 0 && ip->b[14] == 0;
	return ip->b[0] == 0xff && (ip->b[1] & 0x0f) == 0x02;
}

void fl_validate_non_special_ip(struct fl_causes *c, const char *field, const struct fl_json *value,
				const struct fl_ip *ip)
{
	if (fl_ip_is_unspecified(ip))
		fl_cause_add(c, FL_CAUSE_INVALID, field, value, "may not be unspecified (%s)", fl_json_string(value));
	if (fl_ip_is_loopback(ip))
		fl_cause_add(c, FL_CAUSE_INVALID, field, value,
			     "may not be in the loopback range (127.0.0.0/8, ::1/128)");
	if (fl_ip_is_link_local(ip))
		fl_cause_add(c, FL_CAUSE_INVALID, field, value,
			     "may not be in the link-local range (169.254.0.0/16, fe80::/10)");
	if (is_link_local_multicast(ip))
		fl_cause_add(c, FL_CAUSE_INVALID, field, value,
			     "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)");
}

void fl_validate_one_of(struct fl_causes *c, const char *field, const struct fl_json *value,
			const char *const *supported)
{
	AUTO(fl_buf_deinit) struct fl_buf list = {0};
	const char *s = fl_json_string(value);

	for (size_t i = 0; supported[i]; i++)
		if (fl_streq(s, supported[i]))
			return;
	for (size_t i = 0; supported[i]; i++)
		fl_buf_printf(&list, "%s\"%s\"", i ? ", " : "", supported[i]);
	fl_cause_add(c, FL_CAUSE_NOT_SUPPORTED, field, value ? value : fl_json_new_str(c->arena, ""),
		     "supported values: %s", list.data);
}

void fl_validate_immutable(struct fl_causes *c, const char *field, const struct fl_json *now, const struct fl_json *old)
{
	if (!now && !old)
		return;
	if (!now || !old || !fl_json_equal(now, old))
		fl_cause_add(c, FL_CAUSE_INVALID, field, now ? now : fl_json_new(c->arena, FL_JSON_NULL),
			     "field is immutable");
}

const char *fl_require(struct fl_causes *c, const char *field, const struct fl_json *object, const char *key)
{
	const char *s = fl_json_str(object, key);

	if (!fl_str_empty(s))
		return s;
	fl_cause_add(c, FL_CAUSE_REQUIRED, field, NULL, NULL);
	return NULL;
}
