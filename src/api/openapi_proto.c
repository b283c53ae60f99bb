// SPDX-License-Identifier: Apache-2.0
// The v2 document as gnostic's openapi.v2.Document (OpenAPIv2.proto of google/gnostic), which kubectl up to 1.26 asks
// for. Only what our document holds is written; field numbers below are of that file. A message is written into a
// buffer of its own first, because its length comes before it.
#include <stdlib.h>
#include <string.h>

#include "api/openapi_build.h"
#include "api/wire.h"

enum { // Document
	DOC_SWAGGER = 1,
	DOC_INFO = 2,
	DOC_PATHS = 8,
	DOC_DEFINITIONS = 9,
};
enum { INFO_TITLE = 1, INFO_VERSION = 2 };
enum { PATHS_PATH = 2 };
enum { NAMED_NAME = 1, NAMED_VALUE = 2 };
enum { ANY_YAML = 2 };
enum { ITEM_PARAMETERS = 9 };
enum { // Operation
	OP_TAGS = 1,
	OP_ID = 5,
	OP_PRODUCES = 6,
	OP_CONSUMES = 7,
	OP_PARAMETERS = 8,
	OP_RESPONSES = 9,
	OP_EXTENSION = 13,
};
enum { PARAMETERS_ITEM_PARAMETER = 1, PARAMETER_BODY = 1, PARAMETER_NON_BODY = 2 };
enum { NON_BODY_QUERY = 3, NON_BODY_PATH = 4 };
enum { BODY_NAME = 2, BODY_IN = 3, BODY_REQUIRED = 4, BODY_SCHEMA = 5 };
enum { SUB_REQUIRED = 1, SUB_IN = 2, SUB_DESCRIPTION = 3, SUB_NAME = 4 }; // path and query parameters
enum { QUERY_TYPE = 6, QUERY_UNIQUE = 20, PATH_TYPE = 5, PATH_UNIQUE = 19 };
enum { RESPONSES_CODE = 1, RESPONSE_VALUE = 1, RESPONSE_DESCRIPTION = 1, RESPONSE_SCHEMA = 2, SCHEMA_ITEM = 1 };
enum { // Schema
	SCHEMA_REF = 1,
	SCHEMA_FORMAT = 2,
	SCHEMA_DESCRIPTION = 4,
	SCHEMA_DEFAULT = 5,
	SCHEMA_MAXIMUM = 7,
	SCHEMA_MINIMUM = 9,
	SCHEMA_MAX_LENGTH = 11,
	SCHEMA_MIN_LENGTH = 12,
	SCHEMA_PATTERN = 13,
	SCHEMA_MAX_ITEMS = 14,
	SCHEMA_MIN_ITEMS = 15,
	SCHEMA_REQUIRED = 19,
	SCHEMA_ENUM = 20,
	SCHEMA_ADDITIONAL = 21,
	SCHEMA_TYPE = 22,
	SCHEMA_ITEMS = 23,
	SCHEMA_PROPERTIES = 25,
	SCHEMA_EXTENSION = 31,
};
enum { ADDITIONAL_SCHEMA = 1, TYPE_VALUE = 1, ITEMS_SCHEMA = 1, PROPERTIES_NAMED = 1, DEFINITIONS_NAMED = 1 };

typedef void (*writer)(struct fl_buf *b, const struct fl_json *j);

static void put_text(struct fl_buf *b, uint32_t number, const char *s)
{
	if (s)
		fl_wire_put_bytes(b, number, s, strlen(s));
}

static void put_texts(struct fl_buf *b, uint32_t number, const struct fl_json *array)
{
	fl_json_each (s, array)
		put_text(b, number, fl_json_string(s));
}

static void put_true(struct fl_buf *b, uint32_t number, const struct fl_json *object, const char *key)
{
	if (fl_json_bool(object, key, false))
		fl_wire_put_uint(b, number, 1);
}

static void put_message(struct fl_buf *b, uint32_t number, writer write, const struct fl_json *j)
{
	AUTO(fl_buf_deinit) struct fl_buf m = {0};

	write(&m, j);
	fl_wire_put_bytes(b, number, m.data ? m.data : "", m.len);
}

// Named*: the member's name and the message of its value.
static void put_named(struct fl_buf *b, uint32_t number, writer write, const struct fl_json *member)
{
	AUTO(fl_buf_deinit) struct fl_buf m = {0};

	put_text(&m, NAMED_NAME, member->key);
	put_message(&m, NAMED_VALUE, write, member);
	fl_wire_put_bytes(b, number, m.data, m.len);
}

// Any: YAML text, of which JSON is a part.
static void write_any(struct fl_buf *b, const struct fl_json *j)
{
	AUTO(fl_buf_deinit) struct fl_buf text = {0};

	fl_json_write(&text, j);
	put_text(b, ANY_YAML, text.data);
}

static void put_extensions(struct fl_buf *b, uint32_t number, const struct fl_json *object)
{
	fl_json_each (m, object)
		if (fl_starts_with(m->key, "x-"))
			put_named(b, number, write_any, m);
}

static void write_schema(struct fl_buf *b, const struct fl_json *s);

static void write_properties(struct fl_buf *b, const struct fl_json *properties)
{
	fl_json_each (p, properties)
		put_named(b, PROPERTIES_NAMED, write_schema, p);
}

static void write_additional(struct fl_buf *b, const struct fl_json *s)
{
	put_message(b, ADDITIONAL_SCHEMA, write_schema, s);
}

static void write_items(struct fl_buf *b, const struct fl_json *s)
{
	put_message(b, ITEMS_SCHEMA, write_schema, s);
}

static void write_type(struct fl_buf *b, const struct fl_json *type)
{
	put_text(b, TYPE_VALUE, fl_json_string(type));
}

static void put_number(struct fl_buf *b, uint32_t number, const struct fl_json *j)
{
	double v = j->type == FL_JSON_INT ? (double)j->i : j->f;
	uint64_t bits;

	memcpy(&bits, &v, sizeof(bits));
	fl_wire_put_varint(b, (uint64_t)number << 3 | FL_WIRE_FIXED64);
	for (unsigned i = 0; i < 8; i++)
		fl_buf_putc(b, (char)(bits >> (8 * i)));
}

static void put_bounds(struct fl_buf *b, const struct fl_json *s)
{
	static const struct {
		const char *key;
		uint32_t number;
		bool real;
	} bounds[] = {{"maximum", SCHEMA_MAXIMUM, true},       {"minimum", SCHEMA_MINIMUM, true},
		      {"maxLength", SCHEMA_MAX_LENGTH, false}, {"minLength", SCHEMA_MIN_LENGTH, false},
		      {"maxItems", SCHEMA_MAX_ITEMS, false},   {"minItems", SCHEMA_MIN_ITEMS, false}};

	for (size_t i = 0; i < FL_COUNT(bounds); i++) {
		const struct fl_json *v = fl_json_get(s, bounds[i].key);
		if (!fl_json_is(v, FL_JSON_INT) && !fl_json_is(v, FL_JSON_FLOAT))
			continue;
		if (bounds[i].real)
			put_number(b, bounds[i].number, v);
		else
			fl_wire_put_uint(b, bounds[i].number, (uint64_t)v->i);
	}
}

static void write_schema(struct fl_buf *b, const struct fl_json *s)
{
	const struct fl_json *dflt = fl_json_get(s, "default"), *additional = fl_json_get(s, "additionalProperties");

	put_text(b, SCHEMA_REF, fl_json_str(s, "$ref"));
	put_text(b, SCHEMA_FORMAT, fl_json_str(s, "format"));
	put_text(b, SCHEMA_DESCRIPTION, fl_json_str(s, "description"));
	if (dflt)
		put_message(b, SCHEMA_DEFAULT, write_any, dflt);
	put_bounds(b, s);
	put_text(b, SCHEMA_PATTERN, fl_json_str(s, "pattern"));
	put_texts(b, SCHEMA_REQUIRED, fl_json_get(s, "required"));
	fl_json_each (e, fl_json_get(s, "enum"))
		put_message(b, SCHEMA_ENUM, write_any, e);
	if (fl_json_is(additional, FL_JSON_OBJECT))
		put_message(b, SCHEMA_ADDITIONAL, write_additional, additional);
	if (fl_json_get(s, "type"))
		put_message(b, SCHEMA_TYPE, write_type, fl_json_get(s, "type"));
	if (fl_json_get(s, "items"))
		put_message(b, SCHEMA_ITEMS, write_items, fl_json_get(s, "items"));
	if (fl_json_get(s, "properties"))
		put_message(b, SCHEMA_PROPERTIES, write_properties, fl_json_get(s, "properties"));
	put_extensions(b, SCHEMA_EXTENSION, s);
}

// --- paths ---

static void write_body(struct fl_buf *b, const struct fl_json *p)
{
	put_text(b, BODY_NAME, fl_json_str(p, "name"));
	put_text(b, BODY_IN, fl_json_str(p, "in"));
	put_true(b, BODY_REQUIRED, p, "required");
	put_message(b, BODY_SCHEMA, write_schema, fl_json_get(p, "schema"));
}

static void write_sub(struct fl_buf *b, const struct fl_json *p)
{
	bool query = fl_streq(fl_json_str(p, "in"), "query");

	put_true(b, SUB_REQUIRED, p, "required");
	put_text(b, SUB_IN, fl_json_str(p, "in"));
	put_text(b, SUB_DESCRIPTION, fl_json_str(p, "description"));
	put_text(b, SUB_NAME, fl_json_str(p, "name"));
	put_text(b, query ? QUERY_TYPE : PATH_TYPE, fl_json_str(p, "type"));
	put_true(b, query ? QUERY_UNIQUE : PATH_UNIQUE, p, "uniqueItems");
}

static void write_non_body(struct fl_buf *b, const struct fl_json *p)
{
	put_message(b, fl_streq(fl_json_str(p, "in"), "query") ? NON_BODY_QUERY : NON_BODY_PATH, write_sub, p);
}

static void write_parameter(struct fl_buf *b, const struct fl_json *p)
{
	if (fl_streq(fl_json_str(p, "in"), "body"))
		put_message(b, PARAMETER_BODY, write_body, p);
	else
		put_message(b, PARAMETER_NON_BODY, write_non_body, p);
}

static void write_parameters_item(struct fl_buf *b, const struct fl_json *p)
{
	put_message(b, PARAMETERS_ITEM_PARAMETER, write_parameter, p);
}

static void write_schema_item(struct fl_buf *b, const struct fl_json *s)
{
	put_message(b, SCHEMA_ITEM, write_schema, s);
}

static void write_response(struct fl_buf *b, const struct fl_json *r)
{
	put_text(b, RESPONSE_DESCRIPTION, fl_json_str(r, "description"));
	if (fl_json_get(r, "schema"))
		put_message(b, RESPONSE_SCHEMA, write_schema_item, fl_json_get(r, "schema"));
}

static void write_response_value(struct fl_buf *b, const struct fl_json *r)
{
	put_message(b, RESPONSE_VALUE, write_response, r);
}

static void write_responses(struct fl_buf *b, const struct fl_json *responses)
{
	fl_json_each (r, responses)
		put_named(b, RESPONSES_CODE, write_response_value, r);
}

static void write_operation(struct fl_buf *b, const struct fl_json *op)
{
	put_texts(b, OP_TAGS, fl_json_get(op, "tags"));
	put_text(b, OP_ID, fl_json_str(op, "operationId"));
	put_texts(b, OP_PRODUCES, fl_json_get(op, "produces"));
	put_texts(b, OP_CONSUMES, fl_json_get(op, "consumes"));
	fl_json_each (p, fl_json_get(op, "parameters"))
		put_message(b, OP_PARAMETERS, write_parameters_item, p);
	put_message(b, OP_RESPONSES, write_responses, fl_json_get(op, "responses"));
	put_extensions(b, OP_EXTENSION, op);
}

static void write_item(struct fl_buf *b, const struct fl_json *item)
{
	static const struct {
		const char *method;
		uint32_t number;
	} methods[] = {{"get", 2}, {"put", 3}, {"post", 4}, {"delete", 5}, {"patch", 8}};

	for (size_t i = 0; i < FL_COUNT(methods); i++) {
		const struct fl_json *op = fl_json_get(item, methods[i].method);
		if (op)
			put_message(b, methods[i].number, write_operation, op);
	}
	fl_json_each (p, fl_json_get(item, "parameters"))
		put_message(b, ITEM_PARAMETERS, write_parameters_item, p);
}

static void write_paths(struct fl_buf *b, const struct fl_json *paths)
{
	fl_json_each (p, paths)
		put_named(b, PATHS_PATH, write_item, p);
}

static void write_definitions(struct fl_buf *b, const struct fl_json *definitions)
{
	fl_json_each (d, definitions)
		put_named(b, DEFINITIONS_NAMED, write_schema, d);
}

static void write_info(struct fl_buf *b, const struct fl_json *info)
{
	put_text(b, INFO_TITLE, fl_json_str(info, "title"));
	put_text(b, INFO_VERSION, fl_json_str(info, "version"));
}

void fl_openapi_write_gnostic(struct fl_buf *b, const struct fl_json *document)
{
	put_text(b, DOC_SWAGGER, fl_json_str(document, "swagger"));
	put_message(b, DOC_INFO, write_info, fl_json_get(document, "info"));
	put_message(b, DOC_PATHS, write_paths, fl_json_get(document, "paths"));
	put_message(b, DOC_DEFINITIONS, write_definitions, fl_json_get(document, "definitions"));
}
