// SPDX-License-Identifier: Apache-2.0
// An API object at rest: its serialized JSON, immutable and reference-counted, shared by store, cache, readers and
// watchers, plus the few fields by which it is found. A tree is parsed on demand (json/json.h) and dropped. Clients'
// caches, which read trees alone, keep the packed form instead (api/packed.h).
#pragma once

#include <stdatomic.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "json/json.h"

struct fl_object {
	atomic_uint refs;
	uint32_t len;         // of json, or of what stands in its place
	uint64_t rv;          // metadata.resourceVersion
	uint64_t create_rv;   // revision of its creation; 0 where unknown (client caches)
	int64_t expires_ns;   // real time after which the store drops it (Events); 0 = never
	const char *resource; // "services", "apps/deployments": interned (fl_resource_intern), never freed
	const char *ns;       // "" for cluster-scoped
	const char *name;
	const char *uid;
	// len bytes, NUL-terminated beyond; compact, starts with {"kind":"...","apiVersion":"...","metadata":{
	// NULL: `data` begins with a byte of marks and the packed form, len bytes together; with len 0, it is a
	// borrowed tree (fl_object_wrap)
	const char *json;
	char data[];
};

// "<group>/<plural>" or "<plural>" for the core group; the same pointer for equal strings, for the life of the process.
// Thread-safe.
const char *fl_resource_intern(const char *group, const char *plural);

// Builds an object from bytes. With rv_at >= 0 the decimal `rv` is inserted at that byte offset of `json` (see
// fl_object_serialize), otherwise the bytes are taken as they are. `resource` must be interned. Copies everything; one
// reference.
struct fl_object *fl_object_new(const char *resource, const char *ns, const char *name, const char *uid,
				const char *json, size_t len, long rv_at, uint64_t rv);
// From a complete object as a server sent it: reads namespace, name, uid and resourceVersion from its metadata. -EINVAL
// when they are missing.
FL_WUR int fl_object_parse(const char *resource, const char *json, size_t len, struct fl_object **ret,
			   struct fl_err *err);
// Packs a tree that has been read from a server; like fl_object_parse. `kind` and `api_version` (may be NULL) stand in
// where the object of a list has none; metadata.managedFields is left out. Does not change `tree`.
FL_WUR int fl_object_pack(const char *resource, const struct fl_json *tree, const char *kind, const char *api_version,
			  struct fl_object **ret, struct fl_err *err);
// An object around a tree that somebody else keeps and that must outlive it: for handing over what is read once and
// dropped. fl_object_tree gives that very tree, so nobody may change it. Else like fl_object_pack.
FL_WUR int fl_object_wrap(const char *resource, const struct fl_json *tree, struct fl_object **ret, struct fl_err *err);
// What a packed object's first byte says, so that nobody reads it for that alone.
enum {
	FL_OBJECT_OWNED = 1,    // has metadata.ownerReferences
	FL_OBJECT_DELETING = 2, // has metadata.deletionTimestamp
};
unsigned fl_object_marks(const struct fl_object *o);  // all of them for one that is not packed; NULL: 0
struct fl_object *fl_object_get(struct fl_object *o); // one more reference; NULL gives NULL
void fl_object_put(struct fl_object **o);             // drops one and nulls the pointer; accepts NULL inside

// The object as a tree in `a`. Only for bytes that were valid when they were made, so it cannot fail.
struct fl_json *fl_object_tree(const struct fl_object *o, struct fl_arena *a);

// Serializes a tree for the store: kind, apiVersion, metadata first, then the rest; metadata.resourceVersion is written
// as an empty string and *ret_rv_at is the offset inside it where the decimal revision belongs. `root` is reordered in
// place.
void fl_object_serialize(struct fl_buf *b, struct fl_json *root, long *ret_rv_at);
