// SPDX-License-Identifier: Apache-2.0
// Kinds are data (src/api/kinds/*.json, embedded): names, scope, verbs, subresources, schema, table columns; plus,
// where a rule cannot be a document, named C hooks. No kind is a special case in a handler.
#pragma once

#include "api/object.h"
#include "api/schema.h"
#include "api/status.h"

struct fl_kind;

// Rules that a document cannot say. All optional; pure functions on trees, no I/O. `old` is NULL on create.
struct fl_kind_hooks {
	const char *name; // as the document names them: "hooks": "service"
	// After the schema's defaults: defaults that depend on other fields. (k8s: SetDefaults_X and the strategy's
	// PrepareForCreate/Update)
	void (*set_defaults)(struct fl_arena *a, struct fl_json *obj, const struct fl_json *old);
	// Adds every broken rule. (k8s: ValidateX / ValidateXUpdate). On a status write `subresource` is "status".
	void (*validate)(struct fl_causes *c, const struct fl_json *obj, const struct fl_json *old,
			 const char *subresource);
	// Table cells of one object, appended to the array `cells`, one per column of the kind. `now_ns` for ages.
	void (*table_row)(struct fl_arena *a, const struct fl_json *obj, int64_t now_ns, struct fl_json *cells);
	// Value of a supported field selector ("spec.nodeName"), "" when unset, NULL when this kind does not support
	// it. metadata.name and metadata.namespace are answered before this.
	const char *(*field)(struct fl_arena *a, const struct fl_json *obj, const char *path);
	// Warnings for the client ("v1 Endpoints is deprecated ..."): text without the 299 prefix, or NULL.
	const char *(*warning)(const struct fl_json *obj);
};

struct fl_column {
	const char *name, *type, *format, *description;
	int priority;
};

struct fl_kind {
	const char *group, *version;  // "" for the core group
	const char *api_version;      // "v1", "apps/v1"
	const char *kind, *list_kind; // "Service", "ServiceList"
	const char *plural, *singular;
	const char *resource;           // interned "services", "apps/deployments": key in store and caches
	const char *const *short_names; // NULL-terminated
	const char *const *categories;  // NULL-terminated: "all"
	bool namespaced;
	bool has_status, has_scale;
	bool has_generation;       // metadata.generation counts changes of anything but metadata and status
	bool unconditional_update; // PUT without resourceVersion allowed
	bool create_on_update;     // PUT on a missing name creates (Lease, Endpoints, Events ... as Kubernetes)
	bool strategic_merge;      // false for CRDs: 415
	bool status_on_create;     // a client may create it with its status (Node)
	bool return_deleted;       // DELETE answers the object instead of a Status (Pod, Service ...)
	int64_t ttl_seconds;       // Events: 3600; 0 = none
	const struct fl_schema *schema;
	const char *definition; // io.k8s.api.core.v1.Service
	const struct fl_column *columns;
	unsigned n_columns;
	const struct fl_kind_hooks *hooks; // never NULL (an empty one)
	// /scale: paths inside the object, dotted
	const char *scale_spec_path, *scale_status_path, *scale_selector_path;
};

struct fl_registry; // all kinds of this process

// Loads the embedded documents; only a build error can make it fail. Loaded once per process; immutable.
const struct fl_registry *fl_registry_builtin(void);
const struct fl_kind *fl_kind_find(const struct fl_registry *r, const char *group, const char *version,
				   const char *plural);
const struct fl_kind *fl_kind_by_kind(const struct fl_registry *r, const char *api_version, const char *kind);
const struct fl_kind *fl_kind_by_resource(const struct fl_registry *r,
					  const char *resource); // interned or equal string
const struct fl_kind *const *fl_registry_kinds(const struct fl_registry *r,
					       unsigned *ret_n); // ordered: group, version, plural

// metadata rules common to all kinds: names, labels, annotations, ownerReferences, finalizers; immutability on update.
void fl_object_validate_meta(struct fl_causes *c, const struct fl_kind *k, const struct fl_json *obj,
			     const struct fl_json *old);
