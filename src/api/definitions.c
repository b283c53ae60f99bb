// SPDX-License-Identifier: Apache-2.0
// Index of the embedded definitions and their compilation. A definition's text is found by a scan of the documents'
// top level that builds nothing; it is parsed when it is first reached, and what it refers to is compiled with it.
// Definitions may refer to each other in cycles (JSONSchemaProps): a definition's schema exists before its content.
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "api/kinds/embed.h"
#include "api/registry.h"
#include "base/mem.h"

#define REF_PREFIX "#/components/schemas/"

__attribute__((noreturn)) static void broken(const char *where, const char *what)
{
	fprintf(stderr, "fairlead: embedded kind document %s: %s\n", where, what);
	abort();
}

static const char *skip_space(const char *p, const char *end)
{
	while (p < end && (*p == ' ' || *p == '\n' || *p == '\t' || *p == '\r' || *p == ','))
		p++;
	return p;
}

// p at the opening quote; returns the position behind the closing one. Our keys hold no escapes.
static const char *skip_string(const char *p, const char *end)
{
	for (p++; p < end && *p != '"'; p++)
		if (*p == '\\')
			p++;
	return p + 1;
}

// p at the value's opening brace; returns the position behind the matching one.
static const char *skip_object(const char *p, const char *end)
{
	unsigned depth = 0;

	while (p < end) {
		if (*p == '"') {
			p = skip_string(p, end);
			continue;
		}
		if (*p == '{' || *p == '[')
			depth++;
		else if ((*p == '}' || *p == ']') && --depth == 0)
			return p + 1;
		p++;
	}
	return end;
}

static unsigned scan(struct fl_arena *a, const struct fl_doc *doc, struct definition *ret)
{
	const char *p = skip_space(doc->text, doc->end) + 1;
	unsigned n = 0;

	while ((p = skip_space(p, doc->end)) < doc->end && *p == '"') {
		const char *name_end = skip_string(p, doc->end);
		const char *value = skip_space(name_end + 1, doc->end);
		const char *value_end = skip_object(value, doc->end);

		if (value >= doc->end || *value != '{')
			broken(doc->name, "a definition is no object");
		if (ret)
			ret[n] = (struct definition){
			    .name = fl_arena_strndup(a, p + 1, (size_t)(name_end - p) - 2),
			    .text = value,
			    .len = (size_t)(value_end - value),
			};
		n++;
		p = value_end;
	}
	return n;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct definition *)a)->name, ((const struct definition *)b)->name);
}

void fl_definitions_index(struct fl_registry *r)
{
	unsigned n = 0, at = 0;

	if (r->indexed)
		return;
	for (const struct fl_doc *d = fl_definition_docs; d->name; d++)
		n += scan(&r->arena, d, NULL);
	r->definitions = fl_arena_alloc(&r->arena, n * sizeof(*r->definitions));
	for (const struct fl_doc *d = fl_definition_docs; d->name; d++)
		at += scan(&r->arena, d, r->definitions + at);
	qsort(r->definitions, n, sizeof(*r->definitions), by_name);
	r->names = fl_arena_alloc(&r->arena, n * sizeof(*r->names));
	for (unsigned i = 0; i < n; i++)
		r->names[i] = r->definitions[i].name;
	r->n_definitions = n;
	r->indexed = true;
}

struct definition *fl_definitions_find(struct fl_registry *r, const char *name)
{
	struct definition key = {.name = name};

	fl_definitions_index(r);
	return bsearch(&key, r->definitions, r->n_definitions, sizeof(key), by_name);
}

static void compile_into(struct fl_registry *r, struct fl_schema *s, const struct fl_json *node);

static const char *ref_of(const struct fl_json *node)
{
	const char *ref = fl_json_str(node, "$ref");

	if (!ref)
		ref = fl_json_str(fl_json_index(fl_json_get(node, "allOf"), 0), "$ref");
	return ref && fl_starts_with(ref, REF_PREFIX) ? ref + strlen(REF_PREFIX) : ref;
}

static const struct fl_schema *compile(struct fl_registry *r, const struct fl_json *node)
{
	const char *ref = ref_of(node);
	struct fl_schema *s;

	if (ref) {
		s = fl_definitions_compile(r, ref);
		if (!s)
			broken(ref, "refers to an unknown definition");
		return s;
	}
	s = fl_arena_zalloc(&r->arena, sizeof(*s));
	compile_into(r, s, node);
	return s;
}

static const char *const *strings(struct fl_registry *r, const struct fl_json *array, unsigned *ret_n)
{
	size_t n = fl_json_count(array);
	const char **v = fl_arena_alloc(&r->arena, (n + 1) * sizeof(*v));
	unsigned i = 0;

	fl_json_each (s, array)
		if (fl_json_string(s))
			v[i++] = fl_json_string(s);
	v[i] = NULL;
	if (ret_n)
		*ret_n = i;
	return v;
}

static enum fl_schema_type type_of(const struct fl_json *node)
{
	const char *format = fl_json_str_or(node, "x-fairlead-format", "");
	const char *type = fl_json_str_or(node, "type", "");

	if (fl_streq(format, "any"))
		return FL_SCHEMA_ANY;
	if (fl_streq(format, "int-or-string") || fl_json_bool(node, "x-kubernetes-int-or-string", false))
		return FL_SCHEMA_INT_OR_STRING;
	if (fl_streq(format, "quantity"))
		return FL_SCHEMA_STRING;
	if (fl_streq(type, "string"))
		return FL_SCHEMA_STRING;
	if (fl_streq(type, "integer"))
		return FL_SCHEMA_INTEGER;
	if (fl_streq(type, "number"))
		return FL_SCHEMA_NUMBER;
	if (fl_streq(type, "boolean"))
		return FL_SCHEMA_BOOLEAN;
	if (fl_streq(type, "array"))
		return FL_SCHEMA_ARRAY;
	if (fl_streq(type, "object") && fl_json_is(fl_json_get(node, "additionalProperties"), FL_JSON_OBJECT))
		return FL_SCHEMA_MAP;
	if (fl_streq(type, "object") &&
	    (fl_json_get(node, "properties") || !fl_json_bool(node, "x-kubernetes-preserve-unknown-fields", false)))
		return FL_SCHEMA_OBJECT;
	return FL_SCHEMA_ANY;
}

static enum fl_schema_format format_of(const struct fl_json *node)
{
	static const struct {
		const char *name;
		enum fl_schema_format format;
	} table[] = {
	    {"int32", FL_FORMAT_INT32},           {"int64", FL_FORMAT_INT64},
	    {"double", FL_FORMAT_DOUBLE},         {"byte", FL_FORMAT_BYTE},
	    {"date-time", FL_FORMAT_DATE_TIME},   {"time", FL_FORMAT_DATE_TIME},
	    {"micro-time", FL_FORMAT_MICRO_TIME}, {"quantity", FL_FORMAT_QUANTITY},
	    {"duration", FL_FORMAT_DURATION},
	};
	const char *name = fl_json_str(node, "x-fairlead-format");

	if (!name)
		name = fl_json_str_or(node, "format", "");
	for (size_t i = 0; i < FL_COUNT(table); i++)
		if (fl_streq(name, table[i].name))
			return table[i].format;
	return FL_FORMAT_NONE;
}

static void compile_list(struct fl_registry *r, struct fl_schema *s, const struct fl_json *node)
{
	const char *type = fl_json_str_or(node, "x-kubernetes-list-type", "atomic");
	const char *strategy = fl_json_str_or(node, "x-kubernetes-patch-strategy", "");

	if (fl_streq(type, "set"))
		s->list_type = FL_LIST_SET;
	else if (fl_streq(type, "map"))
		s->list_type = FL_LIST_MAP;
	s->list_keys = strings(r, fl_json_get(node, "x-kubernetes-list-map-keys"), &s->n_list_keys);
	s->merge_key = fl_json_str(node, "x-kubernetes-patch-merge-key");
	s->patch_merge = strstr(strategy, "merge");
	s->patch_retain_keys = strstr(strategy, "retainKeys");
	s->items = compile(r, fl_json_get(node, "items"));
}

static void parse_proto(uint16_t path[static 3], const char *text)
{
	for (unsigned i = 0; text && *text && i < 3; i++) {
		char *end;

		path[i] = (uint16_t)strtoul(text, &end, 10);
		text = *end == '.' ? end + 1 : end;
	}
}

static bool is_required(const struct fl_json *required, const char *name)
{
	fl_json_each (r, required)
		if (fl_streq(fl_json_string(r), name))
			return true;
	return false;
}

static int by_prop_name(const void *a, const void *b)
{
	return strcmp(((const struct fl_schema_prop *)a)->name, ((const struct fl_schema_prop *)b)->name);
}

// A strategy beside a $ref belongs to this property, not to the definition that others share.
static const struct fl_schema *with_own_strategy(struct fl_registry *r, const struct fl_schema *shared,
						 const struct fl_json *node)
{
	const char *strategy = fl_json_str(node, "x-kubernetes-patch-strategy");
	const char *map_type = fl_json_str(node, "x-kubernetes-map-type");
	struct fl_schema *s;

	if (!ref_of(node) || (!strategy && !map_type))
		return shared;
	s = fl_arena_alloc(&r->arena, sizeof(*s));
	*s = *shared;
	s->patch_merge = strategy && strstr(strategy, "merge");
	s->patch_retain_keys = strategy && strstr(strategy, "retainKeys");
	s->atomic_map = s->atomic_map || fl_streq(map_type, "atomic");
	return s;
}

static void compile_object(struct fl_registry *r, struct fl_schema *s, const struct fl_json *node)
{
	const struct fl_json *properties = fl_json_get(node, "properties");
	const struct fl_json *required = fl_json_get(node, "required");
	struct fl_schema_prop *props = fl_arena_zalloc(&r->arena, (fl_json_count(properties) + 1) * sizeof(*props));
	unsigned n = 0;

	fl_json_each (p, properties) {
		struct fl_schema_prop *prop = &props[n++];

		prop->name = p->key;
		prop->dflt = fl_json_get(p, "default");
		prop->required = is_required(required, p->key);
		prop->keep_zero = fl_json_bool(p, "x-fairlead-pointer", false);
		parse_proto(prop->proto, fl_json_str(p, "x-fairlead-proto"));
		prop->schema = with_own_strategy(r, compile(r, p), p);
	}
	qsort(props, n, sizeof(*props), by_prop_name);
	s->props = props;
	s->n_props = n;
	fl_schema_index_props(s, &r->arena);
}

static void compile_into(struct fl_registry *r, struct fl_schema *s, const struct fl_json *node)
{
	const struct fl_json *min = fl_json_get(node, "minimum"), *max = fl_json_get(node, "maximum");

	s->source = node;
	s->type = type_of(node);
	s->format = format_of(node);
	s->nullable = fl_json_bool(node, "nullable", false);
	s->preserve_unknown = fl_json_bool(node, "x-kubernetes-preserve-unknown-fields", false);
	s->atomic_map = fl_streq(fl_json_str(node, "x-kubernetes-map-type"), "atomic");
	if (fl_json_get(node, "enum"))
		s->enums = strings(r, fl_json_get(node, "enum"), NULL);
	if (fl_json_is(min, FL_JSON_INT)) {
		s->has_min = true;
		s->min = min->i;
	}
	if (fl_json_is(max, FL_JSON_INT)) {
		s->has_max = true;
		s->max = max->i;
	}
	s->min_len = (uint32_t)fl_json_int(node, s->type == FL_SCHEMA_ARRAY ? "minItems" : "minLength", 0);
	s->max_len = (uint32_t)fl_json_int(node, s->type == FL_SCHEMA_ARRAY ? "maxItems" : "maxLength", 0);
	switch (s->type) {
	case FL_SCHEMA_OBJECT:
		compile_object(r, s, node);
		break;
	case FL_SCHEMA_MAP:
		s->items = compile(r, fl_json_get(node, "additionalProperties"));
		break;
	case FL_SCHEMA_ARRAY:
		compile_list(r, s, node);
		break;
	default:
		break;
	}
}

struct fl_schema *fl_definitions_compile(struct fl_registry *r, const char *name)
{
	struct definition *d = fl_definitions_find(r, name);
	struct fl_err err = {0};

	if (!d)
		return NULL;
	if (d->schema)
		return d->schema;
	if (fl_json_parse(&r->arena, d->text, d->len, NULL, &d->source, &err) < 0)
		broken(name, err.text);
	d->schema = fl_arena_zalloc(&r->arena, sizeof(*d->schema));
	d->schema->ref = d->name;
	compile_into(r, d->schema, d->source);
	return d->schema;
}
