// SPDX-License-Identifier: Apache-2.0
// The compiled form of a kind's schema. From this one description come validation, defaulting, pruning, protobuf,
// strategic merge, server-side apply, OpenAPI and explain. Immutable after load; shared by every user of the process.
//
// Documents: src/api/kinds/definitions/*.json hold one schema per Kubernetes definition name
// (io.k8s.api.core.v1.ServiceSpec), in OpenAPI v3 form with $ref between definitions, `default`, enum, format, the
// x-kubernetes-* list and patch extensions, and
//   "x-fairlead-proto": "3"     the field's protobuf number; "2.5" = field 5 of the message in field 2 (an inlined Go
//   struct)
//   "x-fairlead-format": "micro-time"    what OpenAPI does not tell apart: time, micro-time, duration, quantity,
//   int-or-string, any
//   "x-fairlead-pointer": true    Go's field is a pointer: an explicit zero is kept
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "json/json.h"

enum fl_schema_type {
	FL_SCHEMA_ANY, // x-kubernetes-preserve-unknown-fields, RawExtension, FieldsV1: taken as it is
	FL_SCHEMA_OBJECT,
	FL_SCHEMA_MAP, // object with additionalProperties: `items` is the schema of a value
	FL_SCHEMA_ARRAY,
	FL_SCHEMA_STRING,
	FL_SCHEMA_INTEGER,
	FL_SCHEMA_NUMBER,
	FL_SCHEMA_BOOLEAN,
	FL_SCHEMA_INT_OR_STRING,
	FL_SCHEMA_TYPE_COUNT,
};

enum fl_schema_format {
	FL_FORMAT_NONE,
	FL_FORMAT_INT32,
	FL_FORMAT_INT64,
	FL_FORMAT_DOUBLE,
	FL_FORMAT_BYTE,       // base64 in JSON, bytes in protobuf
	FL_FORMAT_DATE_TIME,  // metav1.Time: {seconds=1, nanos=2} in protobuf
	FL_FORMAT_MICRO_TIME, // metav1.MicroTime
	FL_FORMAT_QUANTITY,   // {string=1} in protobuf; number or string in JSON, stored as string
	FL_FORMAT_DURATION,   // metav1.Duration {duration=1}
	FL_FORMAT_COUNT,
};

enum fl_list_type { FL_LIST_ATOMIC, FL_LIST_SET, FL_LIST_MAP, FL_LIST_TYPE_COUNT };

struct fl_schema_prop;

struct fl_schema {
	enum fl_schema_type type;
	enum fl_schema_format format;
	const char *ref; // definition name, or NULL for an anonymous schema
	bool nullable;
	bool preserve_unknown;              // an object whose unknown fields are kept
	bool atomic_map;                    // x-kubernetes-map-type: atomic (selectors, references)
	const struct fl_schema_prop *props; // OBJECT: sorted by name
	unsigned n_props;
	const uint8_t *prop_slots; // OBJECT: place in props + 1 of the name that falls there, 0: none; or NULL
	uint32_t slot_factor;      // see fl_schema_prop_n
	uint16_t slot_shift;
	const uint16_t *defaulted, *needed; // OBJECT: places in props of those with a default, of the required ones
	uint16_t n_defaulted, n_needed;
	const struct fl_schema *items; // ARRAY, MAP
	enum fl_list_type list_type;
	const char *const *list_keys; // MAP lists: x-kubernetes-list-map-keys (server-side apply)
	unsigned n_list_keys;
	const char *merge_key;    // x-kubernetes-patch-merge-key (strategic merge), or NULL
	bool patch_merge;         // x-kubernetes-patch-strategy contains "merge"
	bool patch_retain_keys;   // ... contains "retainKeys"
	const char *const *enums; // NULL-terminated, or NULL
	bool has_min, has_max;
	int64_t min, max;
	uint32_t min_len, max_len;    // strings, arrays; max 0 = unbounded
	const struct fl_json *source; // the document's own node, for OpenAPI
};

struct fl_schema_prop {
	const char *name;
	const struct fl_schema *schema;
	const struct fl_json *dflt; // or NULL
	bool required;
	bool keep_zero;    // Go's field is a pointer: "", 0, false are kept; of other scalars they mean "not set"
	uint16_t proto[3]; // path of field numbers, zero-terminated where shorter; proto[0] 0 = not in protobuf
};

// The property of an object schema, or NULL.
const struct fl_schema_prop *fl_schema_prop(const struct fl_schema *s, const char *name);
const struct fl_schema_prop *fl_schema_prop_n(const struct fl_schema *s, const char *name, size_t len);
// For the compiler of schemas: what fl_schema_prop_n and the walks look at beside `props`, which are sorted already.
void fl_schema_index_props(struct fl_schema *s, struct fl_arena *a);

// Fills in `default`s where the property is absent (or null), at every depth, in the order that the documents give.
void fl_schema_default(const struct fl_schema *s, struct fl_arena *a, struct fl_json *value);

// Drops fields that the schema does not know. For each, calls `on_unknown` (may be NULL) with its path (spec.portz,
// spec.ports[0].foo).
void fl_schema_prune(const struct fl_schema *s, struct fl_json *value, void (*on_unknown)(void *arg, const char *path),
		     void *arg);

struct fl_causes;
// Types only, as Go's decoder refuses them (HTTP 400, one text): -EINVAL with Kubernetes' wording, e.g.
// `json: cannot unmarshal string into Go struct field ServicePort.spec.ports.port of type int32`. Also normalizes what
// decoding normalizes: null members dropped, quantities to strings.
FL_WUR int fl_schema_decode(const struct fl_schema *s, struct fl_arena *a, struct fl_json *value, struct fl_err *err);
// Constraints of the documents (required, enum, min/max, lengths): every failure becomes a cause with its path.
void fl_schema_validate(const struct fl_schema *s, const struct fl_json *value, const char *path,
			struct fl_causes *causes);
