// SPDX-License-Identifier: Apache-2.0
// metav1.Status: the answer that Kubernetes clients understand when something failed, and the list of causes that
// validation collects.
#pragma once

#include "base/arena.h"
#include "json/json.h"

enum fl_cause_type {                    // text of `reason` in details.causes
	FL_CAUSE_REQUIRED,              // FieldValueRequired: "Required value"
	FL_CAUSE_INVALID,               // FieldValueInvalid: "Invalid value: \"x\": why"
	FL_CAUSE_NOT_SUPPORTED,         // FieldValueNotSupported
	FL_CAUSE_DUPLICATE,             // FieldValueDuplicate
	FL_CAUSE_FORBIDDEN,             // FieldValueForbidden
	FL_CAUSE_NOT_FOUND,             // FieldValueNotFound
	FL_CAUSE_TOO_LONG,              // FieldValueTooLong
	FL_CAUSE_TOO_MANY,              // FieldValueTooMany
	FL_CAUSE_TYPE_INVALID,          // FieldValueTypeInvalid
	FL_CAUSE_INTERNAL,              // InternalError
	FL_CAUSE_NAMESPACE_TERMINATING, // NamespaceTerminating: message as given
	FL_CAUSE_RV_TOO_LARGE,          // ResourceVersionTooLarge: message as given
	FL_CAUSE_MANAGER_CONFLICT,      // FieldManagerConflict: message as given
	FL_CAUSE_TYPE_COUNT,
};

struct fl_cause {
	enum fl_cause_type type;
	const char *field;   // spec.ports[0].port
	const char *message; // whole: "Invalid value: 0: must be between 1 and 65535, inclusive"
};

struct fl_causes {
	struct fl_arena *arena;
	struct fl_cause *v;
	unsigned n, cap; // capped at 100 in the answer
};

// Adds one cause. `value` (may be NULL) is the offending value as it is shown; `detail` printf-style, may be NULL/"".
__attribute__((format(printf, 5, 6))) void fl_cause_add(struct fl_causes *c, enum fl_cause_type type, const char *field,
							const struct fl_json *value, const char *detail, ...);

// Adds a cause that was made elsewhere (a copy of the struct; its texts live as long as they did).
void fl_cause_add_made(struct fl_causes *c, const struct fl_cause *cause);

struct fl_status {
	int code;            // HTTP
	const char *reason;  // NotFound, AlreadyExists, Conflict, Invalid, BadRequest, Forbidden, Expired ...
	const char *message; // what kubectl prints
	const char *group, *kind, *name,
	    *uid;                       // details; NULL = absent. kind is the plural resource, or the Kind for Invalid
	const struct fl_causes *causes; // or NULL
	int retry_after_s;              // 0 = absent
};

// The Status object as a tree / as bytes.
struct fl_json *fl_status_tree(struct fl_arena *a, const struct fl_status *s);
void fl_status_write(struct fl_buf *b, const struct fl_status *s);

// 422 Invalid for `Kind "name" is invalid: ...` with all causes, worded as kube-apiserver words it.
struct fl_status fl_status_invalid(struct fl_arena *a, const char *group, const char *kind, const char *name,
				   const struct fl_causes *causes);
