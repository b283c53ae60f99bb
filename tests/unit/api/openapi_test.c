// SPDX-License-Identifier: Apache-2.0
// OpenAPI documents: paths and parameters as kube-apiserver has them (tests/golden/oracle/paths.json), every reference
// resolves, nothing of our own shows, and what kubectl asks of them: fieldValidation at the PATCH of a kind in v3, the
// same through gnostic's protobuf in v2.
#include "api_test.h"

#include "api/kinds/embed.h"
#include "api/openapi.h"
#include "api/wire.h"
#include "base/map.h"
#include "base/mem.h"

static struct fl_json *v3(const char *group, const char *version)
{
	struct fl_json *d = fl_openapi_v3(&arena, fl_registry_builtin(), group, version);
	assert_non_null(d);
	check_links(d);
	return d;
}

static bool listed(const struct fl_json *strings, const char *name)
{
	fl_json_each (s, strings)
		if (fl_streq(fl_json_string(s), name))
			return true;
	return false;
}

static bool has_param(const struct fl_json *parameters, const char *name)
{
	fl_json_each (p, parameters)
		if (fl_streq(fl_json_str(p, "name"), name))
			return true;
	return false;
}

// Parameters that Kubernetes has and we do not act on.
static bool left_out(const char *name)
{
	static const char *const names[] = {"shardSelector", "ignoreStoreReadErrorWithClusterBreakingPotential",
					    "insecureSkipTLSVerifyBackend", "stream"};
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (strcmp(names[i], name) == 0)
			return true;
	return false;
}

static void compare_operation(const char *path, const struct fl_json *item, const struct fl_json *op,
			      const struct fl_json *recorded)
{
	const struct fl_json *common = fl_json_get(item, "parameters"), *own = fl_json_get(op, "parameters");

	fl_json_each (name, recorded) {
		const char *s = fl_json_string(name);
		if (!left_out(s) && !has_param(common, s) && !has_param(own, s))
			fail_msg("%s %s lacks the parameter %s", op->key, path, s);
	}
	fl_json_each (p, common)
		assert_true(listed(recorded, fl_json_str(p, "name")));
	fl_json_each (p, own)
		if (!listed(recorded, fl_json_str(p, "name")))
			fail_msg("%s %s: the parameter %s is ours alone", op->key, path, fl_json_str(p, "name"));
}

static unsigned compare_paths(const struct fl_json *document, const struct fl_json *recorded)
{
	unsigned n = 0;

	fl_json_each (item, fl_json_get(document, "paths")) {
		const struct fl_json *theirs = fl_json_get(recorded, item->key);
		if (!theirs)
			fail_msg("%s is not recorded", item->key);
		fl_json_each (op, theirs)
			if (!fl_json_get(item, op->key))
				fail_msg("%s lacks %s", item->key, op->key);
		fl_json_each (op, item) {
			if (fl_streq(op->key, "parameters"))
				continue;
			assert_non_null(fl_json_get(theirs, op->key));
			compare_operation(item->key, item, op, fl_json_get(theirs, op->key));
			n++;
		}
	}
	return n;
}

static void paths_as_recorded(void **state)
{
	const struct fl_json *recorded = golden("tests/golden/oracle/paths.json");
	assert_true(compare_paths(v3("", "v1"), recorded) > 60);
	assert_true(compare_paths(v3("apps", "v1"), recorded) > 20);
	assert_true(compare_paths(v3("discovery.k8s.io", "v1"), recorded) > 5);
	assert_true(compare_paths(v3("coordination.k8s.io", "v1"), recorded) > 5);
	assert_true(compare_paths(v3("events.k8s.io", "v1"), recorded) > 5);
	assert_null(fl_openapi_v3(&arena, fl_registry_builtin(), "nope", "v1"));
}

// Every $ref names a schema of the same document; no member is our own.
static void check_schema(const struct fl_json *schemas, const struct fl_json *node, const char *prefix)
{
	fl_json_each (m, node) {
		if (m->key && fl_starts_with(m->key, "x-fairlead"))
			fail_msg("%s shows", m->key);
		if (m->key && strcmp(m->key, "$ref") == 0 && m->type == FL_JSON_STRING) {
			assert_true(fl_starts_with(m->str.s, prefix));
			if (!fl_json_get(schemas, m->str.s + strlen(prefix)))
				fail_msg("%s leads nowhere", m->str.s);
		}
		check_schema(schemas, m, prefix);
	}
}

static void references_resolve(void **state)
{
	unsigned n;
	const struct fl_kind *const *kinds = fl_registry_kinds(fl_registry_builtin(), &n);

	for (unsigned i = 0; i < n; i++) {
		const struct fl_json *d = v3(kinds[i]->group, kinds[i]->version);
		const struct fl_json *schemas = fl_json_path(d, "components", "schemas", NULL);
		check_schema(schemas, d, "#/components/schemas/");
		assert_non_null(fl_json_get(schemas, kinds[i]->definition));
		if (!kinds[i]->is_virtual)
			assert_non_null(fl_json_get(schemas, fl_arena_printf(&arena, "%sList", kinds[i]->definition)));
	}
	const struct fl_json *v2 = fl_openapi_v2(&arena, fl_registry_builtin());
	check_schema(fl_json_get(v2, "definitions"), v2, "#/definitions/");
}

static const struct fl_json *undescribed(const struct fl_json *schema)
{
	struct fl_json *copy = fl_json_clone(&arena, schema);

	assert_true(fl_json_remove(copy, "description"));
	return copy;
}

static void schemas_keep_what_patches_need(void **state)
{
	const struct fl_json *d = v3("", "v1");
	const struct fl_json *spec =
	    fl_json_path(d, "components", "schemas", "io.k8s.api.core.v1.ServiceSpec", "properties", NULL);
	assert_json(undescribed(fl_json_get(spec, "ports")),
		    "{\"items\":{\"$ref\":\"#/components/schemas/io.k8s.api.core.v1.ServicePort\"},\"type\":\"array\","
		    "\"x-kubernetes-list-map-keys\":[\"port\",\"protocol\"],\"x-kubernetes-list-type\":\"map\","
		    "\"x-kubernetes-patch-merge-key\":\"port\",\"x-kubernetes-patch-strategy\":\"merge\"}");
	const struct fl_json *port =
	    fl_json_path(d, "components", "schemas", "io.k8s.api.core.v1.ServicePort", "properties", NULL);
	assert_json(
	    undescribed(fl_json_get(port, "targetPort")),
	    "{\"allOf\":[{\"$ref\":\"#/components/schemas/io.k8s.apimachinery.pkg.util.intstr.IntOrString\"}]}");
	assert_json(fl_json_path(d, "components", "schemas", "io.k8s.apimachinery.pkg.util.intstr.IntOrString", NULL),
		    "{\"format\":\"int-or-string\",\"oneOf\":[{\"type\":\"integer\"},{\"type\":\"string\"}]}");
	const struct fl_json *v2 = fl_openapi_v2(&arena, fl_registry_builtin());
	assert_json(undescribed(fl_json_path(v2, "definitions", "io.k8s.api.core.v1.ServicePort", "properties",
					     "targetPort", NULL)),
		    "{\"$ref\":\"#/definitions/io.k8s.apimachinery.pkg.util.intstr.IntOrString\"}");
	assert_json(fl_json_path(v2, "definitions", "io.k8s.apimachinery.pkg.util.intstr.IntOrString", NULL),
		    "{\"format\":\"int-or-string\",\"type\":\"string\"}");
	assert_json(fl_json_path(v2, "definitions", "io.k8s.apimachinery.pkg.api.resource.Quantity", NULL),
		    "{\"type\":\"string\"}");
}

// kubectl >= 1.27: the PATCH operation whose extension is the kind's, and its query parameters.
static void kubectl_finds_field_validation(void **state)
{
	unsigned n;
	const struct fl_kind *const *kinds = fl_registry_kinds(fl_registry_builtin(), &n);

	for (unsigned i = 0; i < n; i++) {
		const struct fl_kind *k = kinds[i];
		const char *gvk = fl_arena_printf(&arena, "{\"group\":\"%s\",\"version\":\"%s\",\"kind\":\"%s\"}",
						  k->group, k->version, k->kind);
		bool found = false, read_only = true;
		for (const char *const *v = k->verbs; *v; v++)
			read_only &= strcmp(*v, "patch") != 0;
		if (read_only)
			continue;
		fl_json_each (item, fl_json_get(v3(k->group, k->version), "paths")) {
			const struct fl_json *patch = fl_json_get(item, "patch");
			const struct fl_json *x = fl_json_get(patch, "x-kubernetes-group-version-kind");
			if (!x || strcmp(text_of(x), gvk) != 0)
				continue;
			assert_true(has_param(fl_json_get(patch, "parameters"), "fieldValidation"));
			assert_true(has_param(fl_json_get(patch, "parameters"), "dryRun"));
			assert_true(has_param(fl_json_get(patch, "parameters"), "force"));
			assert_non_null(
			    fl_json_path(patch, "requestBody", "content", "application/apply-patch+yaml", NULL));
			found = true;
		}
		if (!found)
			fail_msg("no PATCH of %s", gvk);
	}
}

static void operation_ids_are_unique(void **state)
{
	const struct fl_json *v2 = fl_openapi_v2(&arena, fl_registry_builtin());
	struct fl_map seen = {0};

	fl_json_each (item, fl_json_get(v2, "paths")) {
		fl_json_each (op, item) {
			const char *id = fl_json_str(op, "operationId");
			if (id && fl_map_set(&seen, id, (void *)op))
				fail_msg("%s stands twice", id);
		}
	}
	assert_non_null(fl_map_get(&seen, "readAppsV1NamespacedDeploymentScale"));
	assert_non_null(fl_map_get(&seen, "deleteCoreV1CollectionNamespacedService"));
	assert_non_null(fl_map_get(&seen, "listCoreV1ServiceForAllNamespaces"));
	assert_non_null(fl_map_get(&seen, "createCoreV1Namespace"));
	fl_map_deinit(&seen);
}

static void index_of_documents(void **state)
{
	const struct fl_json *index = fl_openapi_v3_index(&arena, fl_registry_builtin());
	const char *url = fl_json_str(fl_json_path(index, "paths", "apis/apps/v1", NULL), "serverRelativeURL");

	assert_non_null(fl_json_path(index, "paths", "api/v1", NULL));
	assert_true(fl_starts_with(url, "/openapi/v3/apis/apps/v1?hash="));
	assert_int_equal(strlen(url), strlen("/openapi/v3/apis/apps/v1?hash=") + 16);
	assert_same(index, fl_openapi_v3_index(&arena, fl_registry_builtin()));
	const char *core = fl_json_str(fl_json_path(index, "paths", "api/v1", NULL), "serverRelativeURL");
	assert_string_not_equal(strchr(core, '='), strchr(url, '='));
}

// --- v2 as protobuf: read back with our own reader ---

// The first field `number` of `w`; fails when there is none.
static struct fl_wire bytes_at(struct fl_wire w, uint32_t number)
{
	struct fl_wire_field f;
	int rc;
	while ((rc = fl_wire_next(&w, &f)) > 0)
		if (f.number == number && f.type == FL_WIRE_BYTES)
			return f.bytes;
	fail_msg("no field %u (%d)", number, rc);
	return w;
}

static bool text_is(struct fl_wire w, const char *s)
{
	return (size_t)(w.end - w.at) == strlen(s) && memcmp(w.at, s, strlen(s)) == 0;
}

// Of the Named* messages in field `number`, the value of the one with this name.
static struct fl_wire named(struct fl_wire w, uint32_t number, const char *name)
{
	struct fl_wire_field f;
	while (fl_wire_next(&w, &f) > 0)
		if (f.number == number && text_is(bytes_at(f.bytes, 1), name))
			return bytes_at(f.bytes, 2);
	fail_msg("no %s", name);
	return w;
}

static bool query_param(struct fl_wire operation, const char *name)
{
	struct fl_wire_field f, item, non_body, query;
	while (fl_wire_next(&operation, &f) > 0) {
		if (f.number != 8)
			continue;
		struct fl_wire w = bytes_at(f.bytes, 1); // ParametersItem.parameter
		if (fl_wire_next(&w, &item) <= 0 || item.number != 2)
			continue; // a body parameter
		w = item.bytes;
		if (fl_wire_next(&w, &non_body) <= 0 || non_body.number != 3)
			continue; // a path parameter
		w = non_body.bytes;
		while (fl_wire_next(&w, &query) > 0)
			if (query.number == 4 && text_is(query.bytes, name))
				return true;
	}
	return false;
}

static void v2_as_protobuf(void **state)
{
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	fl_openapi_v2_proto(&b, fl_registry_builtin());
	struct fl_wire doc = {(const uint8_t *)b.data, (const uint8_t *)b.data + b.len};

	assert_true(text_is(bytes_at(doc, 1), "2.0"));
	assert_true(text_is(bytes_at(bytes_at(doc, 2), 1), "Kubernetes"));
	struct fl_wire item = named(bytes_at(doc, 8), 2, "/api/v1/namespaces/{namespace}/services/{name}");
	struct fl_wire patch = bytes_at(item, 8);
	assert_true(query_param(patch, "fieldValidation"));
	assert_true(query_param(patch, "dryRun"));
	assert_false(query_param(patch, "watch"));
	struct fl_wire gvk = named(patch, 13, "x-kubernetes-group-version-kind");
	assert_true(text_is(bytes_at(gvk, 2), "{\"group\":\"\",\"version\":\"v1\",\"kind\":\"Service\"}"));
	struct fl_wire port = named(bytes_at(doc, 9), 1, "io.k8s.api.core.v1.ServicePort");
	assert_true(text_is(bytes_at(port, 19), "port"));
	assert_true(text_is(bytes_at(bytes_at(port, 22), 1), "object"));
	struct fl_wire target = named(bytes_at(port, 25), 1, "targetPort");
	assert_true(text_is(bytes_at(target, 1), "#/definitions/io.k8s.apimachinery.pkg.util.intstr.IntOrString"));
	struct fl_wire spec = named(bytes_at(doc, 9), 1, "io.k8s.api.core.v1.ServiceSpec");
	struct fl_wire ports = named(bytes_at(spec, 25), 1, "ports");
	assert_true(
	    text_is(bytes_at(bytes_at(bytes_at(ports, 23), 1), 1), "#/definitions/io.k8s.api.core.v1.ServicePort"));
	assert_true(text_is(bytes_at(named(ports, 31, "x-kubernetes-patch-merge-key"), 2), "\"port\""));
}

// Every text of descriptions.json belongs to a definition and a property that there is, and reaches the documents.
static void descriptions(void **state)
{
	struct fl_json *texts;
	const struct fl_doc *doc = &fl_descriptions_doc;
	const struct fl_json *schemas = fl_json_path(v3("", "v1"), "components", "schemas", NULL);
	const struct fl_json *spec = fl_json_get(schemas, "io.k8s.api.core.v1.ServiceSpec");

	assert_string_equal(fl_json_str(fl_json_path(spec, "properties", "ports", NULL), "description"),
			    "Ports that it offers. With several, each has a name.");
	assert_non_null(fl_json_str(spec, "description"));
	assert_int_equal(fl_json_parse(&arena, doc->text, (size_t)(doc->end - doc->text), NULL, &texts, NULL), 0);
	assert_true(fl_json_count(texts) > 20);
	fl_json_each (d, texts) {
		const struct fl_schema *schema = fl_registry_schema(fl_registry_builtin(), d->key);

		assert_non_null(schema);
		fl_json_each (t, d) {
			assert_true(*fl_json_string(t));
			if (*t->key && !fl_schema_prop(schema, t->key))
				fail_msg("%s has no %s", d->key, t->key);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(paths_as_recorded),
	    TEST(references_resolve),
	    TEST(schemas_keep_what_patches_need),
	    TEST(kubectl_finds_field_validation),
	    TEST(operation_ids_are_unique),
	    TEST(index_of_documents),
	    TEST(v2_as_protobuf),
	    TEST(descriptions),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
