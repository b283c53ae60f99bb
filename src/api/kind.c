// SPDX-License-Identifier: Apache-2.0
// The registry: kinds read from their embedded documents, found by resource, by type or by store key; schemas compiled
// at first use. What a handler does with a kind (prepare, validate, store form) is in kind_rules.c.
#include "api/kind.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "api/kinds/embed.h"
#include "api/registry.h"
#include "base/mem.h"

#define REF_PREFIX "#/components/schemas/"

static const struct fl_kind_hooks no_hooks = {.name = ""};

__attribute__((noreturn)) static void broken(const char *where, const char *what)
{
	fprintf(stderr, "fairlead: embedded kind document %s: %s\n", where, what);
	abort();
}

// A missing list is an empty one.
static const char *const *strings(struct fl_arena *a, const struct fl_json *array)
{
	const char **v = fl_arena_alloc(a, (fl_json_count(array) + 1) * sizeof(*v));
	unsigned n = 0;

	fl_json_each (s, array)
		v[n++] = fl_arena_strdup(a, fl_json_string(s));
	v[n] = NULL;
	return v;
}

static const char *text(struct fl_arena *a, const struct fl_json *object, const char *key)
{
	return fl_arena_strdup(a, fl_json_str_or(object, key, ""));
}

static const char *text_or_null(struct fl_arena *a, const struct fl_json *object, const char *key)
{
	const char *s = fl_json_str(object, key);

	return s ? fl_arena_strdup(a, s) : NULL;
}

// ".spec.replicas" as CustomResourceDefinitions write it; ours are without the leading dot.
static const char *path_of(struct fl_arena *a, const struct fl_json *object, const char *key)
{
	const char *s = fl_json_str(object, key);

	return s ? fl_arena_strdup(a, s[0] == '.' ? s + 1 : s) : NULL;
}

static void load_columns(struct fl_arena *a, struct fl_kind *k, const struct fl_json *columns)
{
	struct fl_column *v = fl_arena_alloc(a, (fl_json_count(columns) + 1) * sizeof(*v));

	fl_json_each (c, columns)
		v[k->n_columns++] = (struct fl_column){
		    .name = text(a, c, "name"),
		    .type = text(a, c, "type"),
		    .format = text(a, c, "format"),
		    .description = text(a, c, "description"),
		    .priority = (int)fl_json_int(c, "priority", 0),
		};
	k->columns = v;
}

static int by_subresource(const void *a, const void *b)
{
	return strcmp(((const struct fl_subresource *)a)->name, ((const struct fl_subresource *)b)->name);
}

static void load_subresources(struct fl_arena *a, struct fl_kind *k, const struct fl_json *subs)
{
	struct fl_subresource *v = fl_arena_alloc(a, (fl_json_count(subs) + 1) * sizeof(*v));

	fl_json_each (s, subs) {
		v[k->n_subresources++] = (struct fl_subresource){
		    .name = fl_arena_strdup(a, s->key),
		    .group = text(a, s, "group"),
		    .version = text(a, s, "version"),
		    .kind = fl_arena_strdup(a, fl_json_str_or(s, "kind", k->kind)),
		    .verbs = strings(a, fl_json_get(s, "verbs")),
		};
		k->has_status = k->has_status || fl_streq(s->key, "status");
		if (fl_streq(s->key, "scale")) {
			k->has_scale = true;
			k->scale_spec_path = path_of(a, s, "specReplicasPath");
			k->scale_status_path = path_of(a, s, "statusReplicasPath");
			k->scale_selector_path = path_of(a, s, "labelSelectorPath");
		}
	}
	qsort(v, k->n_subresources, sizeof(*v), by_subresource);
	k->subresources = v;
}

static enum fl_name_rule name_rule(const char *name, const char *where)
{
	static const char *const names[] = {
	    [FL_NAME_PATH_SEGMENT] = "path-segment",
	    [FL_NAME_SUBDOMAIN] = "subdomain",
	    [FL_NAME_LABEL] = "label",
	};
	_Static_assert(FL_COUNT(names) == FL_NAME_RULE_COUNT, "a word for each rule");

	for (unsigned i = 0; i < FL_NAME_RULE_COUNT; i++)
		if (fl_streq(names[i], name))
			return i;
	broken(where, "nameRule is unknown");
}

static void load_kind(struct fl_registry *r, struct kind_slot *slot, const struct fl_json *doc, const char *where)
{
	struct fl_arena *a = &r->arena;
	struct fl_kind *k = &slot->k;
	const struct fl_json *names = fl_json_get(doc, "names");
	const char *ref = fl_json_str(fl_json_get(doc, "schema"), "$ref");
	const char *hooks = fl_json_str_or(doc, "hooks", "");

	if (!fl_json_str(doc, "version") || !fl_json_str(names, "kind") || !fl_json_str(names, "plural") || !ref ||
	    !fl_starts_with(ref, REF_PREFIX))
		broken(where, "version, names or schema is missing");
	slot->registry = r;
	k->group = text(a, doc, "group");
	k->version = text(a, doc, "version");
	k->api_version = *k->group ? fl_arena_printf(a, "%s/%s", k->group, k->version) : k->version;
	k->kind = text(a, names, "kind");
	k->list_kind = text(a, names, "listKind");
	k->plural = text(a, names, "plural");
	k->singular = text(a, names, "singular");
	k->short_names = strings(a, fl_json_get(names, "shortNames"));
	k->categories = strings(a, fl_json_get(names, "categories"));
	k->resource = fl_resource_intern(k->group, k->plural);
	k->namespaced = fl_streq(fl_json_str(doc, "scope"), "Namespaced");
	k->name_rule = name_rule(fl_json_str_or(doc, "nameRule", "subdomain"), where);
	k->has_generation = fl_json_bool(doc, "generation", false);
	k->generation_of_annotations = fl_json_bool(doc, "generationOfAnnotations", false);
	k->unconditional_update = fl_json_bool(doc, "unconditionalUpdate", false);
	k->create_on_update = fl_json_bool(doc, "createOnUpdate", false);
	k->strategic_merge = fl_json_bool(doc, "strategicMerge", true);
	k->status_on_create = fl_json_bool(doc, "statusOnCreate", false);
	k->is_virtual = fl_json_bool(doc, "virtual", false);
	k->orphans_dependents = fl_json_bool(doc, "orphansDependents", false);
	k->return_deleted = fl_json_bool(doc, "returnDeleted", false);
	k->ttl_seconds = fl_json_int(doc, "ttlSeconds", 0);
	k->definition = fl_arena_strdup(a, ref + strlen(REF_PREFIX));
	k->storage_version_hash = text_or_null(a, doc, "storageVersionHash");
	k->verbs = strings(a, fl_json_get(doc, "verbs"));
	k->hooks = *hooks ? fl_kind_hooks_find(hooks) : &no_hooks;
	if (!k->hooks)
		broken(where, "names hooks that do not exist");
	load_columns(a, k, fl_json_get(doc, "columns"));
	load_subresources(a, k, fl_json_get(doc, "subresources"));
}

static int by_group_version_plural(const void *a, const void *b)
{
	const struct fl_kind *x = *(const struct fl_kind *const *)a, *y = *(const struct fl_kind *const *)b;
	int c = strcmp(x->group, y->group);

	if (c == 0)
		c = strcmp(x->version, y->version);
	return c ? c : strcmp(x->plural, y->plural);
}

// "storedAs": "v1/Event"
static const struct fl_kind *stored_as(const struct fl_registry *r, const char *spec)
{
	const char *slash = strrchr(spec, '/');

	for (unsigned i = 0; slash && i < r->n_kinds; i++) {
		const struct fl_kind *k = r->kinds[i];

		if (strlen(k->api_version) == (size_t)(slash - spec) &&
		    strncmp(k->api_version, spec, (size_t)(slash - spec)) == 0 && fl_streq(k->kind, slash + 1))
			return k;
	}
	return NULL;
}

static struct fl_registry *load(void)
{
	AUTO(fl_arena_deinit) struct fl_arena scratch = {0};
	struct fl_registry *r = FL_NEW(struct fl_registry);
	const char **views;
	unsigned n = 0;

	pthread_mutex_init(&r->lock, NULL);
	while (fl_kind_docs[n].name)
		n++;
	r->slots = fl_arena_zalloc(&r->arena, n * sizeof(*r->slots));
	r->kinds = fl_arena_alloc(&r->arena, n * sizeof(*r->kinds));
	views = fl_arena_zalloc(&scratch, n * sizeof(*views));
	for (unsigned i = 0; i < n; i++) {
		const struct fl_doc *d = &fl_kind_docs[i];
		struct fl_err err = {0};
		struct fl_json *doc;

		if (fl_json_parse(&scratch, d->text, (size_t)(d->end - d->text), NULL, &doc, &err) < 0)
			broken(d->name, err.text);
		load_kind(r, &r->slots[i], doc, d->name);
		r->kinds[i] = &r->slots[i].k;
		views[i] = fl_json_str(doc, "storedAs");
	}
	r->n_kinds = n;
	for (unsigned i = 0; i < n; i++) {
		const struct fl_kind *stored;

		if (!views[i])
			continue;
		stored = stored_as(r, views[i]);
		if (!stored || !r->slots[i].k.hooks->to_stored || !r->slots[i].k.hooks->from_stored)
			broken(fl_kind_docs[i].name, "storedAs needs a stored kind and both conversions");
		r->slots[i].k.stored_as = stored;
		r->slots[i].k.resource = stored->resource;
	}
	qsort(r->kinds, n, sizeof(*r->kinds), by_group_version_plural);
	return r;
}

static struct fl_registry *builtin;

static void load_builtin(void)
{
	builtin = load();
}

const struct fl_registry *fl_registry_builtin(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, load_builtin);
	return builtin;
}

const struct fl_kind *fl_kind_find(const struct fl_registry *r, const char *group, const char *version,
				   const char *plural)
{
	for (unsigned i = 0; i < r->n_kinds; i++) {
		const struct fl_kind *k = r->kinds[i];

		if (fl_streq(k->plural, plural) && fl_streq(k->group, group) && fl_streq(k->version, version))
			return k;
	}
	return NULL;
}

const struct fl_kind *fl_kind_by_kind(const struct fl_registry *r, const char *api_version, const char *kind)
{
	for (unsigned i = 0; i < r->n_kinds; i++)
		if (fl_streq(r->kinds[i]->kind, kind) && fl_streq(r->kinds[i]->api_version, api_version))
			return r->kinds[i];
	return NULL;
}

const struct fl_kind *fl_kind_by_resource(const struct fl_registry *r, const char *resource)
{
	for (unsigned i = 0; i < r->n_kinds; i++)
		if (!r->kinds[i]->stored_as && fl_streq(r->kinds[i]->resource, resource))
			return r->kinds[i];
	return NULL;
}

const struct fl_kind *const *fl_registry_kinds(const struct fl_registry *r, unsigned *ret_n)
{
	*ret_n = r->n_kinds;
	return r->kinds;
}

// The registry is immutable to its users; compiling fills in what they would find anyway.
static struct fl_registry *writable(const struct fl_registry *r)
{
	return (struct fl_registry *)(uintptr_t)r;
}

const struct fl_schema *fl_registry_schema(const struct fl_registry *r, const char *definition)
{
	struct fl_registry *w = writable(r);
	const struct fl_schema *s;

	pthread_mutex_lock(&w->lock);
	s = fl_definitions_compile(w, definition);
	pthread_mutex_unlock(&w->lock);
	return s;
}

const struct fl_schema *fl_kind_schema(const struct fl_kind *k)
{
	struct kind_slot *slot = (struct kind_slot *)(uintptr_t)k;
	const struct fl_schema *s = atomic_load_explicit(&slot->schema, memory_order_acquire);

	if (!s) {
		s = fl_registry_schema(slot->registry, k->definition);
		if (!s)
			broken(k->definition, "is no definition");
		atomic_store_explicit(&slot->schema, s, memory_order_release);
	}
	return s;
}

const char *const *fl_registry_definitions(const struct fl_registry *r, unsigned *ret_n)
{
	struct fl_registry *w = writable(r);

	pthread_mutex_lock(&w->lock);
	fl_definitions_index(w);
	pthread_mutex_unlock(&w->lock);
	*ret_n = r->n_definitions;
	return r->names;
}

// Types that are bodies but no resources. An api_version of NULL stands for every group's: each of them registers
// DeleteOptions as its own.
static const struct {
	const char *api_version, *kind, *definition;
} meta_kinds[] = {
    {NULL, "DeleteOptions", "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions"},
    {"v1", "Status", "io.k8s.apimachinery.pkg.apis.meta.v1.Status"},
    {"v1", "Binding", "io.k8s.api.core.v1.Binding"},
    {"autoscaling/v1", "Scale", "io.k8s.api.autoscaling.v1.Scale"},
    {"policy/v1", "Eviction", "io.k8s.api.policy.v1.Eviction"},
};

const struct fl_schema *fl_registry_schema_by_kind(const struct fl_registry *r, const char *api_version,
						   const char *kind, const char **ret_definition)
{
	const struct fl_kind *k = fl_kind_by_kind(r, api_version, kind);
	const struct fl_schema *s;

	if (k) {
		s = fl_kind_schema(k);
		goto found;
	}
	for (size_t i = 0; i < FL_COUNT(meta_kinds); i++) {
		if (fl_streq(meta_kinds[i].kind, kind) &&
		    (!meta_kinds[i].api_version || fl_streq(meta_kinds[i].api_version, api_version))) {
			s = fl_registry_schema(r, meta_kinds[i].definition);
			goto found;
		}
	}
	for (unsigned i = 0; i < r->n_kinds; i++) {
		if (fl_streq(r->kinds[i]->list_kind, kind) && fl_streq(r->kinds[i]->api_version, api_version)) {
			AUTO_FREE char *name = fl_asprintf("%sList", r->kinds[i]->definition);

			s = fl_registry_schema(r, name);
			goto found;
		}
	}
	return NULL;
found:
	if (s && ret_definition)
		*ret_definition = s->ref;
	return s;
}
