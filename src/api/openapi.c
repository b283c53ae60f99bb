// SPDX-License-Identifier: Apache-2.0
// The OpenAPI documents. Each is made when it is asked for, in the arena of the request, from the kinds and the text of
// the embedded definitions; nothing of it is kept. A v3 document holds one group and version with the definitions that
// it reaches, the v2 document everything.
//
// A definition goes through copy_schema: our own x-fairlead-* members are left out, references get the prefix of the
// version, and v2 gets the older spelling of what it has no words for (allOf around a reference, oneOf).
#include "api/openapi.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "api/kinds/embed.h"
#include "api/openapi_build.h"
#include "api/registry.h"
#include "base/version.h"

#define V3_PREFIX "#/components/schemas/"
#define V2_PREFIX "#/definitions/"

static struct fl_openapi builder(struct fl_arena *a, const struct fl_registry *r, bool v2)
{
	unsigned n;

	fl_registry_definitions(r, &n); // builds the index that definition_of reads
	return (struct fl_openapi){.a = a, .r = r, .v2 = v2};
}

static void builder_deinit(struct fl_openapi *o)
{
	fl_map_deinit(&o->seen);
	fl_vec_deinit(&o->todo);
}

static int by_name(const void *key, const void *d)
{
	return strcmp(key, ((const struct definition *)d)->name);
}

// Name, text and length never change once the index is built, so they need no lock.
static const struct definition *definition_of(const struct fl_openapi *o, const char *name)
{
	return bsearch(name, o->r->definitions, o->r->n_definitions, sizeof(*o->r->definitions), by_name);
}

static const char *refer(struct fl_openapi *o, const char *definition)
{
	if (!fl_map_get(&o->seen, definition)) {
		fl_map_set(&o->seen, definition, o);
		fl_vec_push(&o->todo, definition);
	}
	return fl_arena_printf(o->a, "%s%s", o->v2 ? V2_PREFIX : V3_PREFIX, definition);
}

struct fl_json *fl_openapi_ref(struct fl_openapi *o, const char *definition)
{
	struct fl_json *ref = fl_json_new(o->a, FL_JSON_OBJECT);

	if (definition)
		fl_json_set_str(o->a, ref, "$ref", refer(o, definition));
	return ref;
}

const char *fl_openapi_definition(const struct fl_openapi *o, const char *group, const char *version, const char *kind)
{
	size_t label = strcspn(group, ".");
	const char *suffix = *group ? fl_arena_printf(o->a, ".%.*s.%s.%s", (int)label, group, version, kind)
				    : fl_arena_printf(o->a, ".core.%s.%s", version, kind);

	for (unsigned i = 0; i < o->r->n_definitions; i++)
		if (fl_ends_with(o->r->definitions[i].name, suffix))
			return o->r->definitions[i].name;
	return NULL;
}

// --- schemas ---

static struct fl_json *copy_schema(struct fl_openapi *o, const struct fl_json *node);

static struct fl_json *copy_properties(struct fl_openapi *o, const struct fl_json *node)
{
	struct fl_json *out = fl_json_new(o->a, FL_JSON_OBJECT);

	fl_json_each (p, node)
		fl_json_set(o->a, out, p->key, copy_schema(o, p));
	return out;
}

static struct fl_json *copy_schemas(struct fl_openapi *o, const struct fl_json *node)
{
	struct fl_json *out = fl_json_new(o->a, FL_JSON_ARRAY);

	fl_json_each (s, node)
		fl_json_append(out, copy_schema(o, s));
	return out;
}

static const char *ref_name(const struct fl_json *node)
{
	const char *ref = fl_json_str(node, "$ref");

	return ref && fl_starts_with(ref, V3_PREFIX) ? ref + strlen(V3_PREFIX) : ref;
}

static void copy_member(struct fl_openapi *o, struct fl_json *out, const struct fl_json *member)
{
	const char *key = member->key;
	const char *wrapped = ref_name(fl_json_index(member, 0)); // of allOf
	struct fl_json *copy = NULL;

	if (fl_starts_with(key, "x-fairlead-"))
		return;
	if (o->v2 && fl_streq(key, "allOf") && wrapped) {
		fl_json_set_str(o->a, out, "$ref", refer(o, fl_arena_strdup(o->a, wrapped)));
		return;
	}
	if (fl_streq(key, "properties"))
		copy = copy_properties(o, member);
	else if (fl_streq(key, "allOf") || fl_streq(key, "anyOf") || fl_streq(key, "oneOf"))
		copy = o->v2 ? NULL : copy_schemas(o, member);
	else if ((fl_streq(key, "items") || fl_streq(key, "not") || fl_streq(key, "additionalProperties")) &&
		 member->type == FL_JSON_OBJECT)
		copy = copy_schema(o, member);
	else if (!o->v2 || !fl_streq(key, "nullable"))
		copy = fl_json_clone(o->a, member);
	if (copy)
		fl_json_set(o->a, out, key, copy);
}

static struct fl_json *copy_schema(struct fl_openapi *o, const struct fl_json *node)
{
	struct fl_json *out = fl_json_new(o->a, FL_JSON_OBJECT);
	const char *format = fl_json_str_or(node, "x-fairlead-format", "");
	const char *ref = ref_name(node);

	if (ref)
		return fl_openapi_ref(o, fl_arena_strdup(o->a, ref));
	fl_json_each (member, node)
		copy_member(o, out, member);
	// v2 cannot say "one of": both stand as strings there, and clients know the format.
	if (o->v2 && (fl_streq(format, "int-or-string") || fl_streq(format, "quantity")))
		fl_json_set_str(o->a, out, "type", "string");
	if (o->v2 && fl_json_get(out, "$ref"))
		fl_json_remove(out, "default");
	return out;
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

// Writes every definition that was referred to, and what those refer to; sorted by name.
// What a definition and its properties are for, in the words of kinds/descriptions.json.
static void describe(struct fl_openapi *o, struct fl_json *schema, const struct fl_json *texts)
{
	struct fl_json *properties = fl_json_get(schema, "properties");

	fl_json_each (t, texts) {
		struct fl_json *at = *t->key ? fl_json_get(properties, t->key) : schema;

		if (at)
			fl_json_set_str(o->a, at, "description", fl_json_string(t));
	}
}

static void add_schemas(struct fl_openapi *o, struct fl_json *schemas)
{
	struct fl_map made = {0};
	FL_VEC(const char *) names = {0};
	const struct fl_doc *doc = &fl_descriptions_doc;
	struct fl_json *texts = NULL;

	if (fl_json_parse(o->a, doc->text, (size_t)(doc->end - doc->text), NULL, &texts, NULL) < 0)
		texts = NULL; // as below
	for (size_t i = 0; i < o->todo.n; i++) {
		const struct definition *d = definition_of(o, o->todo.v[i]);
		struct fl_json *node = NULL;
		if (!d || fl_json_parse(o->a, d->text, d->len, NULL, &node, NULL) < 0)
			continue; // a build error, which the unit test of the definitions finds
		struct fl_json *copy = copy_schema(o, node);
		describe(o, copy, fl_json_get(texts, d->name));
		fl_map_set(&made, d->name, copy);
		fl_vec_push(&names, d->name);
	}
	if (names.n)
		qsort(names.v, names.n, sizeof(*names.v), by_text);
	for (size_t i = 0; i < names.n; i++)
		fl_json_set(o->a, schemas, names.v[i], fl_map_get(&made, names.v[i]));
	fl_vec_deinit(&names);
	fl_map_deinit(&made);
}

// --- documents ---

static void set_info(struct fl_arena *a, struct fl_json *root)
{
	struct fl_json *info = fl_json_set_object(a, root, "info");

	fl_json_set_str(a, info, "title", "Kubernetes");
	fl_json_set_str(a, info, "version", FL_KUBE_VERSION);
}

struct fl_json *fl_openapi_v3(struct fl_arena *a, const struct fl_registry *r, const char *group, const char *version)
{
	AUTO(builder_deinit) struct fl_openapi o = builder(a, r, false);
	struct fl_json *root = fl_json_new(a, FL_JSON_OBJECT);

	fl_json_set_str(a, root, "openapi", "3.0.0");
	set_info(a, root);
	if (!fl_openapi_paths(&o, group, version, fl_json_set_object(a, root, "paths")))
		return NULL;
	struct fl_json *components = fl_json_set_object(a, root, "components");
	add_schemas(&o, fl_json_set_object(a, components, "schemas"));
	return root;
}

struct fl_json *fl_openapi_v2(struct fl_arena *a, const struct fl_registry *r)
{
	AUTO(builder_deinit) struct fl_openapi o = builder(a, r, true);
	struct fl_json *root = fl_json_new(a, FL_JSON_OBJECT);
	const struct fl_kind *before = NULL;
	unsigned n;
	const struct fl_kind *const *kinds = fl_registry_kinds(r, &n);

	fl_json_set_str(a, root, "swagger", "2.0");
	set_info(a, root);
	struct fl_json *paths = fl_json_set_object(a, root, "paths");
	for (unsigned i = 0; i < n; before = kinds[i++])
		if (!before || strcmp(before->api_version, kinds[i]->api_version) != 0)
			fl_openapi_paths(&o, kinds[i]->group, kinds[i]->version, paths);
	add_schemas(&o, fl_json_set_object(a, root, "definitions"));
	return root;
}

void fl_openapi_v2_proto(struct fl_buf *b, const struct fl_registry *r)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};

	fl_openapi_write_gnostic(b, fl_openapi_v2(&a, r));
}

// --- index ---

// Clients keep a document for ever under the URL with its hash, so the hash is of the document's bytes. It is made once
// for each registry and version; kubectl asks for the index each time it runs.
static struct {
	pthread_mutex_t lock;
	const struct fl_registry *r;
	unsigned n;
	uint64_t hashes[64];
} hashes = {.lock = PTHREAD_MUTEX_INITIALIZER};

static uint64_t hash_document(const struct fl_registry *r, const struct fl_kind *k)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	static const uint8_t key[16]; // zero: the same in every process and after every restart

	fl_json_write(&b, fl_openapi_v3(&a, r, k->group, k->version));
	return fl_siphash13(key, b.data, b.len);
}

static uint64_t hash_of(const struct fl_registry *r, const struct fl_kind *k, unsigned index)
{
	uint64_t h;

	pthread_mutex_lock(&hashes.lock);
	if (hashes.r != r) {
		hashes.r = r;
		hashes.n = 0;
	}
	if (index < hashes.n) {
		h = hashes.hashes[index];
	} else {
		h = hash_document(r, k);
		if (index == hashes.n && index < FL_COUNT(hashes.hashes))
			hashes.hashes[hashes.n++] = h;
	}
	pthread_mutex_unlock(&hashes.lock);
	return h;
}

struct fl_json *fl_openapi_v3_index(struct fl_arena *a, const struct fl_registry *r)
{
	struct fl_json *root = fl_json_new(a, FL_JSON_OBJECT);
	struct fl_json *paths = fl_json_set_object(a, root, "paths");
	const struct fl_kind *before = NULL;
	unsigned n, index = 0;
	const struct fl_kind *const *kinds = fl_registry_kinds(r, &n);

	for (unsigned i = 0; i < n; before = kinds[i++]) {
		const struct fl_kind *k = kinds[i];
		if (before && strcmp(before->api_version, k->api_version) == 0)
			continue;
		const char *path = fl_arena_printf(a, "%s/%s", *k->group ? "apis" : "api", k->api_version);
		fl_json_set_str(a, fl_json_set_object(a, paths, path), "serverRelativeURL",
				fl_arena_printf(a, "/openapi/v3/%s?hash=%016" PRIX64, path, hash_of(r, k, index++)));
	}
	return root;
}
