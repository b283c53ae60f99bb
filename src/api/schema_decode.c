// SPDX-License-Identifier: Apache-2.0
// Types of a document, refused in the words of Go's JSON decoder (sigs.k8s.io/json), and what decoding into Go's
// structs and back changes:
//   - null members are as if absent; null in a list or map is the zero value
//   - "", 0 and false in a field that is no pointer are as if absent (the schema's default applies then), and so are
//     empty lists and maps that nothing requires
//   - quantities become strings
// The path in a message names JSON keys only, no indexes and no map keys, and the struct is the innermost one.
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "api/quantity.h"
#include "api/schema.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"

struct decode {
	struct fl_arena *arena;
	struct fl_err *err;
	const struct place *at; // NULL at the root
};

// A member on the way to the value at hand, in the frames of the recursion: a path is needed by errors alone.
struct place {
	const struct place *above;
	const char *key;
	const struct fl_schema *of; // the object that the member is of
};

static int decode(struct decode *d, const struct fl_schema *s, struct fl_json *value);

// The last component of a definition's name: ServicePort.
static const char *short_name(const char *ref)
{
	const char *dot = strrchr(ref, '.');

	return dot ? dot + 1 : ref;
}

// Go's package of a definition: io.k8s.api.core.v1.Service is v1.Service.
static void write_ref_type(struct fl_buf *b, const char *ref)
{
	const char *name = short_name(ref), *package = name - 1;

	while (package > ref && package[-1] != '.')
		package--;
	fl_buf_append(b, package, (size_t)(name - package));
	fl_buf_puts(b, name);
}

static void write_go_type(struct fl_buf *b, const struct fl_schema *s)
{
	if (s->ref) {
		write_ref_type(b, s->ref);
		return;
	}
	switch (s->type) {
	case FL_SCHEMA_STRING:
		fl_buf_puts(b, s->format == FL_FORMAT_BYTE ? "[]uint8" : "string");
		break;
	case FL_SCHEMA_INTEGER:
		fl_buf_puts(b, s->format == FL_FORMAT_INT32 ? "int32" : "int64");
		break;
	case FL_SCHEMA_NUMBER:
		fl_buf_puts(b, "float64");
		break;
	case FL_SCHEMA_BOOLEAN:
		fl_buf_puts(b, "bool");
		break;
	case FL_SCHEMA_ARRAY:
		fl_buf_puts(b, "[]");
		write_go_type(b, s->items);
		break;
	case FL_SCHEMA_MAP:
		if (s->items->format == FL_FORMAT_QUANTITY) {
			fl_buf_puts(b, "v1.ResourceList");
			break;
		}
		fl_buf_puts(b, "map[string]");
		write_go_type(b, s->items);
		break;
	default:
		fl_buf_puts(b, "interface {}");
		break;
	}
}

static const char *value_name(const struct fl_json *value)
{
	static const char *const names[] = {
	    [FL_JSON_NULL] = "null",     [FL_JSON_BOOL] = "bool",     [FL_JSON_INT] = "number",
	    [FL_JSON_FLOAT] = "number",  [FL_JSON_STRING] = "string", [FL_JSON_ARRAY] = "array",
	    [FL_JSON_OBJECT] = "object",
	};

	return names[value->type];
}

static void write_path(struct fl_buf *b, const struct place *at) // spec.ports.port
{
	if (at->above) {
		write_path(b, at->above);
		fl_buf_putc(b, '.');
	}
	fl_buf_puts(b, at->key);
}

static int wrong_type(struct decode *d, const struct fl_schema *s, const struct fl_json *value)
{
	AUTO(fl_buf_deinit) struct fl_buf got = {0}, want = {0}, path = {0};

	fl_buf_puts(&got, value_name(value));
	// A number that does not fit a numeric field is shown.
	if ((value->type == FL_JSON_INT || value->type == FL_JSON_FLOAT) && s->type == FL_SCHEMA_INTEGER) {
		fl_buf_putc(&got, ' ');
		fl_json_write(&got, value);
	}
	write_go_type(&want, s);
	if (!d->at)
		return fl_err_set(d->err, -EINVAL, "json: cannot unmarshal %s into Go value of type %s", got.data,
				  want.data);
	write_path(&path, d->at);
	return fl_err_set(d->err, -EINVAL, "json: cannot unmarshal %s into Go struct field %s.%s of type %s", got.data,
			  d->at->of->ref ? short_name(d->at->of->ref) : "", path.data, want.data);
}

static bool means_absent(const struct fl_schema_prop *p, const struct fl_json *value)
{
	if (value->type == FL_JSON_NULL)
		return true;
	if (p->keep_zero)
		return false;
	switch (p->schema->type) {
	case FL_SCHEMA_STRING:
	case FL_SCHEMA_INTEGER:
	case FL_SCHEMA_NUMBER:
	case FL_SCHEMA_BOOLEAN:
		return fl_json_is_zero(value);
	case FL_SCHEMA_ARRAY:
	case FL_SCHEMA_MAP:
		return !p->required && value->kids.count == 0;
	default:
		return false;
	}
}

static int decode_object(struct decode *d, const struct fl_schema *s, struct fl_json *value)
{
	const struct place *outer = d->at;
	struct place here = {.above = outer, .of = s};
	struct fl_json *next;

	if (value->type != FL_JSON_OBJECT)
		return wrong_type(d, s, value);
	for (struct fl_json *child = value->kids.first; child; child = next) {
		const struct fl_schema_prop *p = fl_schema_prop_n(s, child->key, child->key_len);
		int r;

		next = child->next;
		if (!p)
			continue;
		if (child->type != FL_JSON_NULL) {
			here.key = child->key;
			d->at = &here;
			r = decode(d, p->schema, child);
			d->at = outer;
			if (r < 0)
				return r;
		}
		if (means_absent(p, child))
			fl_json_remove_child(value, child);
	}
	return 0;
}

// What Go puts where a list or a map holds null.
static void make_zero(const struct fl_schema *s, struct fl_json *value)
{
	switch (s->type) {
	case FL_SCHEMA_OBJECT:
		value->type = FL_JSON_OBJECT;
		value->kids.first = value->kids.last = NULL;
		value->kids.count = 0;
		break;
	case FL_SCHEMA_STRING:
		value->type = FL_JSON_STRING;
		value->str.s = s->format == FL_FORMAT_QUANTITY ? "0" : "";
		value->str.len = s->format == FL_FORMAT_QUANTITY;
		break;
	case FL_SCHEMA_INTEGER:
	case FL_SCHEMA_NUMBER:
	case FL_SCHEMA_INT_OR_STRING:
		value->type = FL_JSON_INT;
		value->i = 0;
		break;
	case FL_SCHEMA_BOOLEAN:
		value->type = FL_JSON_BOOL;
		value->b = false;
		break;
	default:
		break;
	}
}

static int decode_items(struct decode *d, const struct fl_schema *s, struct fl_json *value)
{
	enum fl_json_type want = s->type == FL_SCHEMA_ARRAY ? FL_JSON_ARRAY : FL_JSON_OBJECT;

	if (value->type != want)
		return wrong_type(d, s, value);
	fl_json_each (child, value) {
		int r;

		if (child->type == FL_JSON_NULL)
			make_zero(s->items, child);
		r = decode(d, s->items, child);
		if (r < 0)
			return r;
	}
	return 0;
}

static void set_string(struct decode *d, struct fl_json *value, const char *s)
{
	value->type = FL_JSON_STRING;
	value->str.len = (uint32_t)strlen(s);
	value->str.s = fl_arena_strndup(d->arena, s, value->str.len);
}

static int decode_quantity(struct decode *d, struct fl_json *value)
{
	AUTO(fl_buf_deinit) struct fl_buf text = {0}, canonical = {0};
	struct fl_quantity q;

	if (value->type == FL_JSON_STRING)
		fl_buf_append(&text, value->str.s, value->str.len);
	else
		fl_json_write(&text, value);
	if (!text.len || !fl_quantity_parse(text.data, &q))
		return fl_err_set(d->err, -EINVAL,
				  "quantities must match the regular expression "
				  "'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'");
	fl_quantity_write(&canonical, &q);
	set_string(d, value, canonical.data);
	return 0;
}

static int decode_time(struct decode *d, const struct fl_schema *s, struct fl_json *value)
{
	bool micro = s->format == FL_FORMAT_MICRO_TIME;
	const char *layout = micro ? "2006-01-02T15:04:05.000000Z07:00" : "2006-01-02T15:04:05Z07:00";
	char buf[FL_TIME_STRLEN];
	int64_t ns;

	if (value->type != FL_JSON_STRING)
		return fl_err_set(d->err, -EINVAL, "json: cannot unmarshal %s into Go value of type string",
				  value_name(value));
	if (!fl_time_parse(value->str.s, &ns))
		return fl_err_set(d->err, -EINVAL, "parsing time \"%s\" as \"%s\": cannot parse \"%s\" as \"2006\"",
				  value->str.s, layout, value->str.s);
	set_string(d, value, micro ? fl_time_format_micro(ns, buf) : fl_time_format(ns, buf));
	return 0;
}

// Line breaks and stray bits go, as after a round trip through Go's []byte.
static int decode_bytes(struct decode *d, struct fl_json *value)
{
	AUTO(fl_buf_deinit) struct fl_buf bytes = {0}, canonical = {0};

	if (!fl_base64_decode(&bytes, value->str.s, value->str.len))
		return fl_err_set(d->err, -EINVAL, "illegal base64 data at input byte %zu",
				  strspn(value->str.s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
						       "0123456789+/="));
	fl_base64_encode(&canonical, bytes.data, bytes.len);
	if (canonical.len != value->str.len || memcmp(canonical.data, value->str.s, canonical.len) != 0) {
		value->str.len = (uint32_t)canonical.len;
		value->str.s = fl_arena_strndup(d->arena, canonical.data, canonical.len);
	}
	return 0;
}

static int decode_string(struct decode *d, const struct fl_schema *s, struct fl_json *value)
{
	switch (s->format) {
	case FL_FORMAT_QUANTITY:
		return decode_quantity(d, value);
	case FL_FORMAT_DATE_TIME:
	case FL_FORMAT_MICRO_TIME:
		return decode_time(d, s, value);
	case FL_FORMAT_BYTE:
		return value->type == FL_JSON_STRING ? decode_bytes(d, value) : wrong_type(d, s, value);
	default:
		return value->type == FL_JSON_STRING ? 0 : wrong_type(d, s, value);
	}
}

static int decode_integer(struct decode *d, const struct fl_schema *s, const struct fl_json *value)
{
	if (value->type != FL_JSON_INT)
		return wrong_type(d, s, value);
	if (s->format == FL_FORMAT_INT32 && (value->i < INT32_MIN || value->i > INT32_MAX))
		return wrong_type(d, s, value);
	return 0;
}

static int decode_int_or_string(struct decode *d, const struct fl_json *value)
{
	if (value->type == FL_JSON_STRING)
		return 0;
	if (value->type == FL_JSON_INT && value->i >= INT32_MIN && value->i <= INT32_MAX)
		return 0;
	return fl_err_set(d->err, -EINVAL, "json: cannot unmarshal %s into Go value of type int32", value_name(value));
}

static int decode(struct decode *d, const struct fl_schema *s, struct fl_json *value)
{
	switch (s->type) {
	case FL_SCHEMA_OBJECT:
		return decode_object(d, s, value);
	case FL_SCHEMA_ARRAY:
	case FL_SCHEMA_MAP:
		return decode_items(d, s, value);
	case FL_SCHEMA_STRING:
		return decode_string(d, s, value);
	case FL_SCHEMA_INTEGER:
		return decode_integer(d, s, value);
	case FL_SCHEMA_NUMBER:
		return value->type == FL_JSON_INT || value->type == FL_JSON_FLOAT ? 0 : wrong_type(d, s, value);
	case FL_SCHEMA_BOOLEAN:
		return value->type == FL_JSON_BOOL ? 0 : wrong_type(d, s, value);
	case FL_SCHEMA_INT_OR_STRING:
		return decode_int_or_string(d, value);
	default:
		return 0;
	}
}

int fl_schema_decode(const struct fl_schema *s, struct fl_arena *a, struct fl_json *value, struct fl_err *err)
{
	struct decode d = {.arena = a, .err = err};

	return decode(&d, s, value);
}
