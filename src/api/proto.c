// SPDX-License-Identifier: Apache-2.0
// Protobuf bodies into the JSON tree, driven by the kind's schema.
//
//   "k8s\0" | Unknown { typeMeta=1 {apiVersion=1 kind=2} raw=2 contentEncoding=3 contentType=4 }
//                                                        raw: the message of that kind
//
// A property knows its field number, or the path of numbers where Go inlines a struct ("1.2": field 2 of the message in
// field 1). Go's generated encoders write every field that is no pointer, zero or not, so a zero there says nothing and
// is dropped as JSON's omitempty drops it; a pointer's zero is meant and kept.
// Refused: malformed bytes, wire types that the schema does not expect, text that is no UTF-8, encodings other than
// plain, and more depth or values than any object has. Unknown fields are skipped, as Kubernetes does.
#include "api/proto.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "api/wire.h"
#include "base/clock.h"
#include "base/map.h"
#include "base/vec.h"

#define MAGIC       "k8s\0"
#define MAGIC_LEN   4
#define MAX_DEPTH   100    // messages in messages; a pod has about 12. What other protobuf decoders allow
#define MAX_VALUES  300000 // an empty list element costs the client 2 bytes and us a tree node
#define NS_PER_S    INT64_C(1000000000)
#define MAX_SECONDS (INT64_MAX / NS_PER_S - 1)

struct decoder {
	struct fl_arena *a;
	struct fl_err *err;
	unsigned values;
	FL_VEC(struct fl_json *) maps; // filled without looking for duplicates, which are dropped at the end
};

static int decode_message(struct decoder *d, const struct fl_schema *s, struct fl_wire w, unsigned depth,
			  struct fl_json *object);

static int malformed(struct decoder *d, const char *what)
{
	fl_err_set(d->err, -EINVAL, "unable to decode protobuf body: %s", what);
	return -EINVAL;
}

static bool is_utf8(const uint8_t *p, const uint8_t *end)
{
	while (p < end) {
		long left = end - p;
		unsigned n = *p < 0x80 ? 1 : *p < 0xc2 ? 0 : *p < 0xe0 ? 2 : *p < 0xf0 ? 3 : *p < 0xf5 ? 4 : 0;
		if (!n || left < n)
			return false;
		for (unsigned i = 1; i < n; i++)
			if ((p[i] & 0xc0) != 0x80)
				return false;
		// Overlong forms, surrogates, beyond U+10FFFF (RFC 3629).
		if ((*p == 0xe0 && p[1] < 0xa0) || (*p == 0xed && p[1] > 0x9f) || (*p == 0xf0 && p[1] < 0x90) ||
		    (*p == 0xf4 && p[1] > 0x8f))
			return false;
		p += n;
	}
	return true;
}

static int new_text(struct decoder *d, struct fl_wire w, struct fl_json **ret)
{
	if (!is_utf8(w.at, w.end))
		return malformed(d, "a string is not valid UTF-8");
	*ret = fl_json_new_strn(d->a, (const char *)w.at, (size_t)(w.end - w.at));
	return 0;
}

static struct fl_json *new_base64(struct decoder *d, struct fl_wire w)
{
	AUTO(fl_buf_deinit) struct fl_buf b = {0};

	fl_base64_encode(&b, w.at, (size_t)(w.end - w.at));
	return fl_json_new_strn(d->a, b.data ? b.data : "", b.len);
}

// Up to three fields of a small message: Time {seconds=1 nanos=2}, IntOrString {type=1 intVal=2 strVal=3}, Quantity
// {string=1}, RawExtension {raw=1}. A field that is absent has number 0.
static int read_small(struct decoder *d, struct fl_wire w, struct fl_wire_field ret[static 3])
{
	struct fl_wire_field f;
	int rc;

	memset(ret, 0, 3 * sizeof(*ret));
	while ((rc = fl_wire_next(&w, &f)) > 0)
		if (f.number <= 3)
			ret[f.number - 1] = f;
	return rc < 0 ? malformed(d, "a message is cut short") : 0;
}

static int decode_time(struct decoder *d, struct fl_wire w, bool micro, struct fl_json **ret)
{
	struct fl_wire_field f[3];
	char text[FL_TIME_STRLEN];

	if (w.at == w.end) { // Go's zero time
		*ret = NULL;
		return 0;
	}
	int rc = read_small(d, w, f);
	if (rc)
		return rc;
	int64_t seconds = (int64_t)f[0].value, nanos = (int32_t)f[1].value;
	if (f[0].type != FL_WIRE_VARINT || f[1].type != FL_WIRE_VARINT || seconds > MAX_SECONDS ||
	    seconds < -MAX_SECONDS || nanos < 0 || nanos >= NS_PER_S)
		return malformed(d, "a time is out of range");
	int64_t ns = seconds * NS_PER_S + nanos;
	*ret = fl_json_new_str(d->a, micro ? fl_time_format_micro(ns, text) : fl_time_format(ns, text));
	return 0;
}

static int decode_int_or_string(struct decoder *d, struct fl_wire w, bool keep_zero, struct fl_json **ret)
{
	enum { INT, STRING };
	struct fl_wire_field f[3];

	int rc = read_small(d, w, f);
	if (rc)
		return rc;
	if (f[0].type != FL_WIRE_VARINT || f[0].value > STRING || f[1].type != FL_WIRE_VARINT ||
	    (f[2].number && f[2].type != FL_WIRE_BYTES))
		return malformed(d, "an int-or-string is neither");
	*ret = NULL;
	if (f[0].value == STRING)
		return f[2].number ? new_text(d, f[2].bytes, ret) : 0;
	if (f[1].value || keep_zero)
		*ret = fl_json_new_int(d->a, (int32_t)f[1].value);
	return 0;
}

// Go's time.Duration as its String() writes it: 1h2m3.5s.
static struct fl_json *new_duration(struct fl_arena *a, int64_t ns)
{
	uint64_t left = ns < 0 ? 0 - (uint64_t)ns : (uint64_t)ns, s = left / NS_PER_S;
	char frac[16] = "";

	if (left % NS_PER_S) {
		snprintf(frac, sizeof(frac), ".%09" PRIu64, left % NS_PER_S);
		for (size_t n = strlen(frac); frac[n - 1] == '0'; n--)
			frac[n - 1] = '\0';
	}
	const char *sign = ns < 0 ? "-" : "";
	if (s >= 3600)
		return fl_json_new_str(a, fl_arena_printf(a, "%s%" PRIu64 "h%" PRIu64 "m%" PRIu64 "%ss", sign, s / 3600,
							  s / 60 % 60, s % 60, frac));
	if (s >= 60)
		return fl_json_new_str(a,
				       fl_arena_printf(a, "%s%" PRIu64 "m%" PRIu64 "%ss", sign, s / 60, s % 60, frac));
	return fl_json_new_str(a, fl_arena_printf(a, "%s%" PRIu64 "%ss", sign, s, frac));
}

// FieldsV1 and RawExtension carry JSON in their first field.
static int decode_raw(struct decoder *d, struct fl_wire w, struct fl_json **ret)
{
	struct fl_wire_field f[3];

	int rc = read_small(d, w, f);
	if (rc)
		return rc;
	*ret = NULL;
	if (!f[0].number)
		return 0;
	if (f[0].type != FL_WIRE_BYTES)
		return malformed(d, "raw JSON is no byte string");
	size_t n = (size_t)(f[0].bytes.end - f[0].bytes.at);
	struct fl_json_parse_opts opts = {.max_depth = MAX_DEPTH};
	return n ? fl_json_parse(d->a, (const char *)f[0].bytes.at, n, &opts, ret, d->err) : 0;
}

static int decode_number(struct decoder *d, const struct fl_schema *s, const struct fl_wire_field *f,
			 struct fl_json **ret)
{
	enum fl_wire_type want = s->type == FL_SCHEMA_NUMBER ? FL_WIRE_FIXED64 : FL_WIRE_VARINT;

	if (f->type != want)
		return malformed(d, "a number has the wrong wire type");
	if (s->type == FL_SCHEMA_BOOLEAN) {
		*ret = fl_json_new_bool(d->a, f->value);
	} else if (s->type == FL_SCHEMA_INTEGER) {
		*ret = fl_json_new_int(d->a, s->format == FL_FORMAT_INT32 ? (int32_t)f->value : (int64_t)f->value);
	} else {
		*ret = fl_json_new(d->a, FL_JSON_FLOAT);
		memcpy(&(*ret)->f, &f->value, sizeof(f->value));
		if ((*ret)->f != (*ret)->f || (*ret)->f - (*ret)->f != 0)
			return malformed(d, "a number is not finite");
	}
	return 0;
}

static int decode_string(struct decoder *d, const struct fl_schema *s, struct fl_wire w, struct fl_json **ret)
{
	struct fl_wire_field f[3];
	int rc;

	switch (s->format) {
	case FL_FORMAT_DATE_TIME:
	case FL_FORMAT_MICRO_TIME:
		return decode_time(d, w, s->format == FL_FORMAT_MICRO_TIME, ret);
	case FL_FORMAT_BYTE:
		*ret = new_base64(d, w);
		return 0;
	case FL_FORMAT_QUANTITY:
		rc = read_small(d, w, f);
		if (rc)
			return rc;
		if (f[0].number && f[0].type != FL_WIRE_BYTES)
			return malformed(d, "a quantity is no string");
		*ret = NULL;
		return f[0].number ? new_text(d, f[0].bytes, ret) : 0;
	case FL_FORMAT_DURATION:
		rc = read_small(d, w, f);
		if (rc)
			return rc;
		if (f[0].type != FL_WIRE_VARINT)
			return malformed(d, "a duration is no number");
		*ret = new_duration(d->a, (int64_t)f[0].value);
		return 0;
	default:
		return new_text(d, w, ret);
	}
}

static int decode_wrapped_list(struct decoder *d, const struct fl_schema *s, struct fl_wire w, unsigned depth,
			       struct fl_json **ret);

// One value of schema `s`; *ret NULL when the bytes stand for "not set".
static int decode_value(struct decoder *d, const struct fl_schema *s, const struct fl_wire_field *f, bool keep_zero,
			unsigned depth, struct fl_json **ret)
{
	if (++d->values > MAX_VALUES)
		return malformed(d, "too many values");
	if (s->type == FL_SCHEMA_INTEGER || s->type == FL_SCHEMA_NUMBER || s->type == FL_SCHEMA_BOOLEAN)
		return decode_number(d, s, f, ret);
	if (f->type != FL_WIRE_BYTES)
		return malformed(d, "a field has the wrong wire type");
	switch (s->type) {
	case FL_SCHEMA_STRING:
		return decode_string(d, s, f->bytes, ret);
	case FL_SCHEMA_INT_OR_STRING:
		return decode_int_or_string(d, f->bytes, keep_zero, ret);
	case FL_SCHEMA_ANY:
		return decode_raw(d, f->bytes, ret);
	case FL_SCHEMA_OBJECT:
		*ret = fl_json_new(d->a, FL_JSON_OBJECT);
		return decode_message(d, s, f->bytes, depth + 1, *ret);
	case FL_SCHEMA_ARRAY:
		return decode_wrapped_list(d, s, f->bytes, depth + 1, ret);
	default:
		return malformed(d, "a map within a map");
	}
}

static int append(struct decoder *d, const struct fl_schema *items, const struct fl_wire_field *f, unsigned depth,
		  struct fl_json *array)
{
	struct fl_json *value = NULL;

	int rc = decode_value(d, items, f, true, depth, &value);
	if (!rc)
		fl_json_append(array, value ? value : fl_json_new(d->a, FL_JSON_NULL));
	return rc;
}

// A list where protobuf has none (in a map): Go's named slice types become {items=1}.
static int decode_wrapped_list(struct decoder *d, const struct fl_schema *s, struct fl_wire w, unsigned depth,
			       struct fl_json **ret)
{
	struct fl_wire_field f;
	int rc;

	if (depth > MAX_DEPTH)
		return malformed(d, "nested too deeply");
	*ret = fl_json_new(d->a, FL_JSON_ARRAY);
	while ((rc = fl_wire_next(&w, &f)) > 0) {
		if (f.number != 1)
			continue;
		rc = append(d, s->items, &f, depth, *ret);
		if (rc)
			return rc;
	}
	return rc < 0 ? malformed(d, "a list is cut short") : 0;
}

static int decode_map_entry(struct decoder *d, const struct fl_schema *s, struct fl_wire w, unsigned depth,
			    struct fl_json *map)
{
	struct fl_wire_field f, value = {.type = FL_WIRE_BYTES, .bytes = {w.at, w.at}};
	struct fl_json *key = NULL, *decoded = NULL;
	int rc;

	if (s->items->type == FL_SCHEMA_INTEGER || s->items->type == FL_SCHEMA_BOOLEAN)
		value.type = FL_WIRE_VARINT;
	while ((rc = fl_wire_next(&w, &f)) > 0) {
		if (f.number == 1) {
			if (f.type != FL_WIRE_BYTES)
				return malformed(d, "a map key is no string");
			rc = new_text(d, f.bytes, &key);
			if (rc)
				return rc;
			if (memchr(key->str.s, 0, key->str.len))
				return malformed(d, "a map key holds a NUL");
		} else if (f.number == 2) {
			value = f;
		}
	}
	if (rc < 0)
		return malformed(d, "a map entry is cut short");
	rc = decode_value(d, s->items, &value, true, depth, &decoded);
	if (rc)
		return rc;
	decoded = fl_json_append(map, decoded ? decoded : fl_json_new(d->a, FL_JSON_NULL));
	decoded->key = key ? key->str.s : "";
	decoded->key_len = key ? key->str.len : 0;
	return 0;
}

// Of a key that comes twice the last value counts. In one pass, since a client chooses how long the map is.
static void drop_duplicates(struct fl_json *map)
{
	AUTO(fl_map_deinit) struct fl_map last = {0};
	struct fl_json *next, *child = map->kids.first;
	bool any = false;

	fl_json_each (m, map)
		any |= fl_map_set_n(&last, m->key, m->key_len, m) != NULL;
	if (!any)
		return;
	map->kids.first = map->kids.last = NULL;
	map->kids.count = 0;
	for (; child; child = next) {
		const char *key = child->key;
		uint32_t key_len = child->key_len;
		next = child->next;
		child->next = NULL;
		if (fl_map_get_n(&last, key, key_len) != child)
			continue;
		fl_json_append(map, child);
		child->key = key;
		child->key_len = key_len;
	}
}

// Repeated numbers may come packed in one field.
static int decode_packed(struct decoder *d, const struct fl_schema *items, struct fl_wire w, struct fl_json *array)
{
	bool wide = items->type == FL_SCHEMA_NUMBER;
	struct fl_wire_field f = {.type = wide ? FL_WIRE_FIXED64 : FL_WIRE_VARINT};

	while (w.at < w.end) {
		if (wide ? !fl_wire_fixed(&w, 8, &f.value) : !fl_wire_varint(&w, &f.value))
			return malformed(d, "packed numbers are cut short");
		int rc = append(d, items, &f, 0, array);
		if (rc)
			return rc;
	}
	return 0;
}

// Does the zero value that arrived mean "not set"? A struct that Go holds by value has the default {}.
static bool means_absent(const struct fl_schema_prop *p, const struct fl_json *v)
{
	if (v->type == FL_JSON_OBJECT)
		return !v->kids.count && !p->keep_zero && fl_json_is(p->dflt, FL_JSON_OBJECT);
	return !p->keep_zero && fl_json_is_zero(v);
}

static int decode_property(struct decoder *d, const struct fl_schema_prop *p, const struct fl_wire_field *f,
			   unsigned depth, struct fl_json *object)
{
	const struct fl_schema *s = p->schema;
	struct fl_json *value = NULL;

	if (s->type == FL_SCHEMA_ARRAY) {
		struct fl_json *array = fl_json_get(object, p->name);
		if (!array)
			array = fl_json_set_array(d->a, object, p->name);
		bool number = s->items->type == FL_SCHEMA_INTEGER || s->items->type == FL_SCHEMA_NUMBER ||
			      s->items->type == FL_SCHEMA_BOOLEAN;
		return number && f->type == FL_WIRE_BYTES ? decode_packed(d, s->items, f->bytes, array)
							  : append(d, s->items, f, depth, array);
	}
	if (s->type == FL_SCHEMA_MAP) {
		if (f->type != FL_WIRE_BYTES)
			return malformed(d, "a map has the wrong wire type");
		struct fl_json *map = fl_json_get(object, p->name);
		if (!map) {
			map = fl_json_set_object(d->a, object, p->name);
			fl_vec_push(&d->maps, map);
		}
		return decode_map_entry(d, s, f->bytes, depth, map);
	}
	// Protobuf: of a field that comes twice the last one counts, messages are merged.
	struct fl_json *before = s->type == FL_SCHEMA_OBJECT ? fl_json_get(object, p->name) : NULL;
	if (before && f->type == FL_WIRE_BYTES)
		return decode_message(d, s, f->bytes, depth + 1, before);
	int rc = decode_value(d, s, f, p->keep_zero, depth, &value);
	if (rc)
		return rc;
	if (value && means_absent(p, value))
		value = NULL;
	fl_json_set(d->a, object, p->name, value);
	return 0;
}

// Where inlined structs nest, `prefix` holds the numbers that lead to this message.
struct inlined {
	uint16_t path[2];
	unsigned n;
};

static bool under(const struct fl_schema_prop *p, const struct inlined *in, uint32_t number)
{
	for (unsigned i = 0; i < in->n; i++)
		if (p->proto[i] != in->path[i])
			return false;
	return p->proto[in->n] == number;
}

static int decode_fields(struct decoder *d, const struct fl_schema *s, struct fl_wire w, unsigned depth,
			 const struct inlined *in, struct fl_json *object)
{
	struct fl_wire_field f;
	int rc;

	if (depth > MAX_DEPTH)
		return malformed(d, "nested too deeply");
	while ((rc = fl_wire_next(&w, &f)) > 0) {
		const struct fl_schema_prop *hit = NULL;
		for (unsigned i = 0; i < s->n_props && !hit; i++)
			if (under(&s->props[i], in, f.number))
				hit = &s->props[i];
		if (!hit)
			continue;
		if (in->n == 2 || !hit->proto[in->n + 1]) {
			rc = decode_property(d, hit, &f, depth, object);
		} else {
			struct inlined deeper = *in;
			deeper.path[deeper.n++] = (uint16_t)f.number;
			rc = f.type == FL_WIRE_BYTES ? decode_fields(d, s, f.bytes, depth + 1, &deeper, object)
						     : malformed(d, "a field has the wrong wire type");
		}
		if (rc)
			return rc;
	}
	return rc < 0 ? malformed(d, "a message is cut short") : 0;
}

static int decode_message(struct decoder *d, const struct fl_schema *s, struct fl_wire w, unsigned depth,
			  struct fl_json *object)
{
	return decode_fields(d, s, w, depth, &(struct inlined){{0}, 0}, object);
}

// --- envelope ---

struct envelope {
	const char *api_version, *kind;
	struct fl_wire raw;
};

static int field_text(struct decoder *d, const struct fl_wire_field *f, const char **ret)
{
	struct fl_json *text = NULL;

	if (f->type != FL_WIRE_BYTES)
		return malformed(d, "the envelope is malformed");
	int rc = new_text(d, f->bytes, &text);
	if (!rc)
		*ret = text->str.s;
	return rc;
}

static int read_type_meta(struct decoder *d, struct fl_wire w, struct envelope *e)
{
	struct fl_wire_field f;
	int rc;

	while ((rc = fl_wire_next(&w, &f)) > 0) {
		rc = f.number == 1 ? field_text(d, &f, &e->api_version)
				   : (f.number == 2 ? field_text(d, &f, &e->kind) : 0);
		if (rc)
			return rc;
	}
	return rc < 0 ? malformed(d, "the envelope is cut short") : 0;
}

static int read_envelope(struct decoder *d, struct fl_wire w, struct envelope *e)
{
	const char *encoding = "", *type = "";
	struct fl_wire_field f;
	int rc;

	while ((rc = fl_wire_next(&w, &f)) > 0) {
		if (f.number <= 2 && f.type != FL_WIRE_BYTES)
			return malformed(d, "the envelope is malformed");
		rc = 0;
		if (f.number == 1)
			rc = read_type_meta(d, f.bytes, e);
		else if (f.number == 2)
			e->raw = f.bytes;
		else if (f.number == 3)
			rc = field_text(d, &f, &encoding);
		else if (f.number == 4)
			rc = field_text(d, &f, &type);
		if (rc)
			return rc;
	}
	if (rc < 0)
		return malformed(d, "the envelope is cut short");
	if (*encoding)
		return malformed(d, "the content encoding is not supported");
	if (*type && strcmp(type, "application/vnd.kubernetes.protobuf") != 0)
		return malformed(d, "the content type within the envelope is not protobuf");
	return 0;
}

int fl_proto_decode(const struct fl_registry *r, struct fl_arena *a, const void *body, size_t len, struct fl_json **ret,
		    struct fl_err *err)
{
	struct decoder d = {.a = a, .err = err};
	struct envelope e = {.api_version = "", .kind = ""};
	const uint8_t *p = body;

	if (len < MAGIC_LEN || memcmp(p, MAGIC, MAGIC_LEN) != 0)
		return fl_err_set(err, -EINVAL,
				  "provided data does not appear to be a protobuf message, expected prefix [107 56 "
				  "115 0]");
	int rc = read_envelope(&d, (struct fl_wire){p + MAGIC_LEN, p + len}, &e);
	if (rc)
		return rc;
	const struct fl_schema *s = fl_registry_schema_by_kind(r, e.api_version, e.kind, NULL);
	if (!s)
		return fl_err_set(err, -ENOENT, "no kind \"%s\" is registered for version \"%s\"", e.kind,
				  e.api_version);
	struct fl_json *root = fl_json_new(a, FL_JSON_OBJECT);
	fl_json_set_str(a, root, "kind", e.kind);
	fl_json_set_str(a, root, "apiVersion", e.api_version);
	rc = decode_message(&d, s, e.raw, 0, root);
	for (size_t i = 0; i < d.maps.n && !rc; i++)
		drop_duplicates(d.maps.v[i]);
	fl_vec_deinit(&d.maps);
	if (!rc)
		*ret = root;
	return rc;
}
