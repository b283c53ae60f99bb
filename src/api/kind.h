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
	// After the schema's defaults: defaults that depend on other fields of the object itself. Doing it twice
	// changes nothing more. (k8s: conversion and SetDefaults_X)
	void (*set_defaults)(struct fl_arena *a, struct fl_json *obj);
	// What the server adds, keeps of the old object or takes away; nobody owns it. (k8s: the strategy's
	// PrepareForCreate/Update, and admission)
	void (*prepare)(struct fl_arena *a, struct fl_json *obj, const struct fl_json *old, const char *subresource);
	// Rules that must hold before addresses and ports are allocated: where one is broken nothing else is looked at,
	// as in Kubernetes. See fl_kind_precheck.
	void (*precheck)(struct fl_causes *c, const struct fl_json *obj, const struct fl_json *old);
	// Adds every broken rule. (k8s: ValidateX / ValidateXUpdate). On a status write `subresource` is "status".
	void (*validate)(struct fl_causes *c, const struct fl_json *obj, const struct fl_json *old,
			 const char *subresource);
	// Table cells of one object, appended to the array `cells`, one per column of the kind. `now_ns` for ages.
	void (*table_row)(struct fl_arena *a, const struct fl_json *obj, int64_t now_ns, struct fl_json *cells);
	// Value of a supported field selector ("spec.nodeName"), "" when unset, NULL when this kind does not support
	// it. metadata.name and metadata.namespace are answered before this.
	const char *(*field)(struct fl_arena *a, const struct fl_json *obj, const char *path);
	// Between this view and the stored form (only where `stored_as` is set); `obj` is edited in place or replaced.
	struct fl_json *(*to_stored)(struct fl_arena *a, struct fl_json *obj);
	struct fl_json *(*from_stored)(struct fl_arena *a, struct fl_json *obj);
	// What the client should know of what it writes: texts, without the 299 prefix, appended to the array.
	// (k8s: WarningsOnCreate, WarningsOnUpdate)
	void (*warn)(struct fl_arena *a, const struct fl_json *obj, const struct fl_json *old, struct fl_json *texts);
	const char *deprecated; // said to every request to the kind, or NULL
};

// Discovery of one subresource.
struct fl_subresource {
	const char *name;                   // "status"
	const char *group, *version, *kind; // of its own objects; group and version "" where it is the parent's
	const char *const *verbs;
};

struct fl_column {
	const char *name, *type, *format, *description;
	int priority;
};

enum fl_name_rule {
	FL_NAME_PATH_SEGMENT, // anything that fits between two slashes of a URL
	FL_NAME_SUBDOMAIN,    // RFC 1123 subdomain
	FL_NAME_LABEL,        // RFC 1123 label
	FL_NAME_RULE_COUNT,
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
	enum fl_name_rule name_rule; // of metadata.name
	bool has_status, has_scale;
	bool has_generation;            // metadata.generation counts changes of anything but metadata and status
	bool generation_of_annotations; // and of annotations (Deployment)
	bool unconditional_update;      // PUT without resourceVersion allowed
	bool create_on_update;          // PUT on a missing name creates (Lease, Endpoints, Events ... as Kubernetes)
	bool strategic_merge;           // false for CRDs: 415
	bool status_on_create;          // a client may create it with its status (Node)
	bool is_virtual;                // an answer to what is sent, never stored (the reviews of authorization.k8s.io)
	bool orphans_dependents;        // DELETE that says nothing of them leaves them alone (ReplicationController)
	bool return_deleted;            // DELETE answers the object instead of a Status (Pod, Service ...)
	int64_t ttl_seconds;            // Events: 3600; 0 = none
	const char *definition;         // io.k8s.api.core.v1.Service; compiled by fl_kind_schema
	const char *const *verbs;       // NULL-terminated, of the resource itself
	const struct fl_subresource *subresources; // sorted by name; `status` and `scale` included
	unsigned n_subresources;
	const char *storage_version_hash; // as discovery shows it, or NULL
	// A second view of objects that are stored as another kind (events.k8s.io of core Events): `resource` is the
	// stored one's. NULL for a kind that is stored as itself. See fl_kind_to_stored.
	const struct fl_kind *stored_as;
	const struct fl_column *columns;
	unsigned n_columns;
	const struct fl_kind_hooks *hooks; // never NULL (an empty one)
	// /scale: paths inside the object, dotted
	const char *scale_spec_path, *scale_status_path, *scale_selector_path;
};

struct fl_registry; // all kinds of this process

// Loads the embedded documents; only a build error can make it fail. Loaded once per process; immutable to its users.
// Schemas are compiled at first use (under a lock), so a role that only names kinds pays for their names alone.
const struct fl_registry *fl_registry_builtin(void);
const struct fl_kind *fl_kind_find(const struct fl_registry *r, const char *group, const char *version,
				   const char *plural);
const struct fl_kind *fl_kind_by_kind(const struct fl_registry *r, const char *api_version, const char *kind);
const struct fl_kind *fl_kind_by_resource(const struct fl_registry *r,
					  const char *resource); // interned or equal string
const struct fl_kind *const *fl_registry_kinds(const struct fl_registry *r,
					       unsigned *ret_n); // ordered: group, version, plural

// The compiled schema of a kind; compiled at the first call. Never NULL. Thread-safe.
const struct fl_schema *fl_kind_schema(const struct fl_kind *k);
// Any definition by its name (io.k8s.api.autoscaling.v1.Scale), or NULL. Thread-safe.
const struct fl_schema *fl_registry_schema(const struct fl_registry *r, const char *definition);
// A body's schema by its type: kinds, their lists, and the types that are no resources: DeleteOptions (any apiVersion),
// Status, Scale, TokenRequest ... NULL when unknown. *ret_definition (may be NULL) is its definition's name.
const struct fl_schema *fl_registry_schema_by_kind(const struct fl_registry *r, const char *api_version,
						   const char *kind, const char **ret_definition);
// Names of all definitions, sorted.
const char *const *fl_registry_definitions(const struct fl_registry *r, unsigned *ret_n);

// From a decoded body to what may be stored, in Kubernetes' order. A handler does:
//   fl_schema_decode, fl_schema_prune, fl_kind_default, fl_managed_update, fl_kind_prepare, fl_kind_precheck,
//   allocators (clusterIP, nodePort), fl_kind_validate, metadata.generation, fl_kind_to_stored, fl_object_serialize
// default: what the document and the kind say by themselves of fields that are not there; part of prepare, and before
// it for those who want to know what the client's write comes to (apply/managed.h).
// prepare: status and spec are kept apart (a write of the one takes the other from `old`; a create starts without
// status unless the kind says otherwise), then the schema's defaults, then the kind's own. `old` NULL on create;
// `subresource` "" or NULL for the object itself, "status", "finalize" ...
void fl_kind_default(const struct fl_kind *k, struct fl_arena *a, struct fl_json *obj);
void fl_kind_prepare(const struct fl_kind *k, struct fl_arena *a, struct fl_json *obj, const struct fl_json *old,
		     const char *subresource);
// Rules whose breaking ends the request before anything is allocated or validated (Service IP families). Nothing for a
// subresource.
void fl_kind_precheck(const struct fl_kind *k, struct fl_causes *c, const struct fl_json *obj,
		      const struct fl_json *old, const char *subresource);
// Adds every broken rule: metadata, the kind's, then the documents' constraints that nothing has reported yet.
void fl_kind_validate(const struct fl_kind *k, struct fl_causes *c, const struct fl_json *obj,
		      const struct fl_json *old, const char *subresource);
// The form at rest and back; `obj` itself for a kind that is stored as itself.
struct fl_json *fl_kind_to_stored(const struct fl_kind *k, struct fl_arena *a, struct fl_json *obj);
struct fl_json *fl_kind_from_stored(const struct fl_kind *k, struct fl_arena *a, struct fl_json *obj);

// The cluster's Service address families, AF_INET or AF_INET6; secondary 0 on a single-stack cluster. For the whole
// process, set before the first Service is handled; IPv4 alone until then.
void fl_api_set_service_families(int primary, int secondary);

// metadata rules common to all kinds: names, labels, annotations, ownerReferences, finalizers; immutability on update.
void fl_object_validate_meta(struct fl_causes *c, const struct fl_kind *k, const struct fl_json *obj,
			     const struct fl_json *old);
