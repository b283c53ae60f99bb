// SPDX-License-Identifier: Apache-2.0
// Discovery: which groups, versions and resources there are, in the plain form (/api, /apis, /apis/<g>/<v>) and in the
// aggregated one (apidiscovery.k8s.io/v2). Everything is read from the kinds. Trees are made per request; the answers
// are small.
//
// Groups stand in the order of kube-apiserver's priorities, because kubectl takes the first group that has a resource
// of the name it was given. Groups that it does not know follow by name. Versions: stable before beta before alpha,
// higher before lower.
#include "api/openapi.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "base/vec.h"

typedef FL_VEC(const struct fl_kind *) kinds;

static const char *const group_order[] = {
    "",
    "apiregistration.k8s.io",
    "apps",
    "events.k8s.io",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "autoscaling",
    "batch",
    "certificates.k8s.io",
    "networking.k8s.io",
    "policy",
    "rbac.authorization.k8s.io",
    "storage.k8s.io",
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "scheduling.k8s.io",
    "coordination.k8s.io",
    "node.k8s.io",
    "discovery.k8s.io",
};

static size_t group_rank(const char *group)
{
	size_t i = 0;

	while (i < FL_COUNT(group_order) && strcmp(group_order[i], group) != 0)
		i++;
	return i;
}

struct version {
	unsigned long major, stability, minor; // stability: 2 stable, 1 beta, 0 alpha; all 0 for another form
};

static struct version parse_version(const char *s)
{
	struct version v = {0};
	char *end;

	if (*s != 'v')
		return v;
	v.major = strtoul(s + 1, &end, 10);
	v.stability = 2;
	if (fl_starts_with(end, "beta") || fl_starts_with(end, "alpha")) {
		v.stability = *end == 'b';
		v.minor = strtoul(end + (*end == 'b' ? 4 : 5), NULL, 10);
	}
	return v;
}

// version.CompareKubeAwareVersionStrings, best first.
static int compare_versions(const char *one, const char *two)
{
	struct version a = parse_version(one), b = parse_version(two);

	if (a.stability != b.stability)
		return a.stability > b.stability ? -1 : 1;
	if (a.major != b.major)
		return a.major > b.major ? -1 : 1;
	if (a.minor != b.minor)
		return a.minor > b.minor ? -1 : 1;
	return strcmp(one, two);
}

static int by_discovery(const void *a, const void *b)
{
	const struct fl_kind *x = *(const struct fl_kind *const *)a, *y = *(const struct fl_kind *const *)b;
	size_t rx = group_rank(x->group), ry = group_rank(y->group);

	if (rx != ry)
		return rx < ry ? -1 : 1;
	int by_group = strcmp(x->group, y->group);
	if (by_group)
		return by_group;
	int by_version = compare_versions(x->version, y->version);
	return by_version ? by_version : strcmp(x->plural, y->plural);
}

// All kinds in the order of discovery; free with fl_vec_deinit.
static kinds sorted(const struct fl_registry *r)
{
	kinds ret = {0};
	unsigned n;
	const struct fl_kind *const *all = fl_registry_kinds(r, &n);

	for (unsigned i = 0; i < n; i++)
		fl_vec_push(&ret, all[i]);
	if (ret.v)
		qsort(ret.v, ret.n, sizeof(const struct fl_kind *), by_discovery);
	return ret;
}

static void add_strings(struct fl_arena *a, struct fl_json *object, const char *key, const char *const *list)
{
	if (!list || !list[0])
		return;
	struct fl_json *array = fl_json_set_array(a, object, key);
	for (; *list; list++)
		fl_json_append(array, fl_json_new_str(a, *list));
}

struct fl_json *fl_discovery_api_versions(struct fl_arena *a, const char *server_address)
{
	struct fl_json *root = fl_json_new(a, FL_JSON_OBJECT);

	fl_json_set_str(a, root, "kind", "APIVersions");
	fl_json_append(fl_json_set_array(a, root, "versions"), fl_json_new_str(a, "v1"));
	struct fl_json *cidrs = fl_json_set_array(a, root, "serverAddressByClientCIDRs");
	struct fl_json *any = fl_json_append(cidrs, fl_json_new(a, FL_JSON_OBJECT));
	fl_json_set_str(a, any, "clientCIDR", "0.0.0.0/0");
	fl_json_set_str(a, any, "serverAddress", server_address);
	return root;
}

static struct fl_json *new_version(struct fl_arena *a, const struct fl_kind *k)
{
	struct fl_json *v = fl_json_new(a, FL_JSON_OBJECT);

	fl_json_set_str(a, v, "groupVersion", k->api_version);
	fl_json_set_str(a, v, "version", k->version);
	return v;
}

// Name, versions and preferred version of the group whose kinds start at all->v[i], into `group`; returns where they
// end.
static size_t fill_group(struct fl_arena *a, const kinds *all, size_t i, struct fl_json *group)
{
	const struct fl_kind *first = all->v[i];

	fl_json_set_str(a, group, "name", first->group);
	struct fl_json *versions = fl_json_set_array(a, group, "versions");
	for (const char *seen = NULL; i < all->n && strcmp(all->v[i]->group, first->group) == 0; i++) {
		if (fl_streq(seen, all->v[i]->version))
			continue;
		seen = all->v[i]->version;
		fl_json_append(versions, new_version(a, all->v[i]));
	}
	fl_json_set(a, group, "preferredVersion", new_version(a, first));
	return i;
}

struct fl_json *fl_discovery_groups(struct fl_arena *a, const struct fl_registry *r)
{
	struct fl_json *root = fl_json_new(a, FL_JSON_OBJECT);
	kinds all = sorted(r);

	fl_json_set_str(a, root, "kind", "APIGroupList");
	fl_json_set_str(a, root, "apiVersion", "v1");
	struct fl_json *groups = fl_json_set_array(a, root, "groups");
	for (size_t i = 0; i < all.n;) {
		if (*all.v[i]->group)
			i = fill_group(a, &all, i, fl_json_append(groups, fl_json_new(a, FL_JSON_OBJECT)));
		else
			i++;
	}
	fl_vec_deinit(&all);
	return root;
}

struct fl_json *fl_discovery_group(struct fl_arena *a, const struct fl_registry *r, const char *group)
{
	struct fl_json *root = NULL;
	kinds all = sorted(r);

	for (size_t i = 0; i < all.n && *group && !root; i++) {
		if (strcmp(all.v[i]->group, group) != 0)
			continue;
		root = fl_json_new(a, FL_JSON_OBJECT);
		fl_json_set_str(a, root, "kind", "APIGroup");
		fl_json_set_str(a, root, "apiVersion", "v1");
		fill_group(a, &all, i, root);
	}
	fl_vec_deinit(&all);
	return root;
}

static void add_resource(struct fl_arena *a, struct fl_json *resources, const struct fl_kind *k)
{
	struct fl_json *r = fl_json_append(resources, fl_json_new(a, FL_JSON_OBJECT));

	fl_json_set_str(a, r, "name", k->plural);
	fl_json_set_str(a, r, "singularName", k->singular);
	fl_json_set_bool(a, r, "namespaced", k->namespaced);
	fl_json_set_str(a, r, "kind", k->kind);
	add_strings(a, r, "verbs", k->verbs);
	add_strings(a, r, "shortNames", k->short_names);
	add_strings(a, r, "categories", k->categories);
	fl_json_set_str(a, r, "storageVersionHash", k->storage_version_hash);
	for (unsigned i = 0; i < k->n_subresources; i++) {
		const struct fl_subresource *sub = &k->subresources[i];
		r = fl_json_append(resources, fl_json_new(a, FL_JSON_OBJECT));
		fl_json_set_str(a, r, "name", fl_arena_printf(a, "%s/%s", k->plural, sub->name));
		fl_json_set_str(a, r, "singularName", "");
		fl_json_set_bool(a, r, "namespaced", k->namespaced);
		if (!fl_str_empty(sub->version)) {
			fl_json_set_str(a, r, "group", sub->group);
			fl_json_set_str(a, r, "version", sub->version);
		}
		fl_json_set_str(a, r, "kind", sub->kind);
		add_strings(a, r, "verbs", sub->verbs);
	}
}

struct fl_json *fl_discovery_resources(struct fl_arena *a, const struct fl_registry *r, const char *group,
				       const char *version)
{
	struct fl_json *root = NULL, *resources = NULL;
	kinds all = sorted(r);

	for (size_t i = 0; i < all.n; i++) {
		const struct fl_kind *k = all.v[i];
		if (strcmp(k->group, group) != 0 || strcmp(k->version, version) != 0)
			continue;
		if (!root) {
			root = fl_json_new(a, FL_JSON_OBJECT);
			fl_json_set_str(a, root, "kind", "APIResourceList");
			if (*group) // the core group's list is of the version that had none
				fl_json_set_str(a, root, "apiVersion", "v1");
			fl_json_set_str(a, root, "groupVersion", k->api_version);
			resources = fl_json_set_array(a, root, "resources");
		}
		add_resource(a, resources, k);
	}
	fl_vec_deinit(&all);
	return root;
}

// --- aggregated ---

static void set_response_kind(struct fl_arena *a, struct fl_json *r, const char *group, const char *version,
			      const char *kind)
{
	struct fl_json *rk = fl_json_set_object(a, r, "responseKind");

	fl_json_set_str(a, rk, "group", group ? group : "");
	fl_json_set_str(a, rk, "version", version ? version : "");
	fl_json_set_str(a, rk, "kind", kind);
}

static struct fl_json *new_aggregated_resource(struct fl_arena *a, const struct fl_kind *k)
{
	struct fl_json *r = fl_json_new(a, FL_JSON_OBJECT);

	fl_json_set_str(a, r, "resource", k->plural);
	set_response_kind(a, r, "", "", k->kind);
	fl_json_set_str(a, r, "scope", k->namespaced ? "Namespaced" : "Cluster");
	fl_json_set_str(a, r, "singularResource", k->singular);
	add_strings(a, r, "verbs", k->verbs);
	add_strings(a, r, "shortNames", k->short_names);
	add_strings(a, r, "categories", k->categories);
	if (!k->n_subresources)
		return r;
	struct fl_json *subs = fl_json_set_array(a, r, "subresources");
	for (unsigned i = 0; i < k->n_subresources; i++) {
		const struct fl_subresource *sub = &k->subresources[i];
		struct fl_json *s = fl_json_append(subs, fl_json_new(a, FL_JSON_OBJECT));
		fl_json_set_str(a, s, "subresource", sub->name);
		set_response_kind(a, s, sub->group, sub->version, sub->kind);
		add_strings(a, s, "verbs", sub->verbs);
	}
	return r;
}

struct fl_json *fl_discovery_aggregated(struct fl_arena *a, const struct fl_registry *r, bool core)
{
	struct fl_json *root = fl_json_new(a, FL_JSON_OBJECT);
	struct fl_json *versions = NULL, *version = NULL, *resources = NULL;
	const struct fl_kind *before = NULL;
	kinds all = sorted(r);

	fl_json_set_str(a, root, "kind", "APIGroupDiscoveryList");
	fl_json_set_str(a, root, "apiVersion", "apidiscovery.k8s.io/v2");
	fl_json_set_object(a, root, "metadata");
	struct fl_json *items = fl_json_set_array(a, root, "items");
	for (size_t i = 0; i < all.n; i++) {
		const struct fl_kind *k = all.v[i];
		if (!*k->group != core)
			continue;
		bool same_group = before && strcmp(before->group, k->group) == 0;
		if (!same_group) {
			struct fl_json *group = fl_json_append(items, fl_json_new(a, FL_JSON_OBJECT));
			struct fl_json *meta = fl_json_set_object(a, group, "metadata");
			if (!core)
				fl_json_set_str(a, meta, "name", k->group);
			versions = fl_json_set_array(a, group, "versions");
		}
		if (!same_group || strcmp(before->version, k->version) != 0) {
			version = fl_json_append(versions, fl_json_new(a, FL_JSON_OBJECT));
			fl_json_set_str(a, version, "version", k->version);
			resources = fl_json_set_array(a, version, "resources");
			fl_json_set_str(a, version, "freshness", "Current");
		}
		fl_json_append(resources, new_aggregated_resource(a, k));
		before = k;
	}
	fl_vec_deinit(&all);
	return root;
}
