// SPDX-License-Identifier: Apache-2.0
// The registry: every document loads and compiles, is found by each of its names, and agrees with its hooks.
#include "api_test.h"

#include "api/kind.h"
#include "base/mem.h"

static const struct fl_schema *definition(const char *name)
{
	const struct fl_schema *s = fl_registry_schema(fl_registry_builtin(), name);

	if (!s)
		fail_msg("%s is no definition", name);
	return s;
}

static void every_kind(void **state)
{
	const struct fl_registry *r = fl_registry_builtin();
	unsigned n;
	const struct fl_kind *const *kinds = fl_registry_kinds(r, &n);

	assert_true(n >= 12);
	for (unsigned i = 0; i < n; i++) {
		const struct fl_kind *k = kinds[i];
		struct fl_json *obj = parse("{\"metadata\":{\"name\":\"x\"}}"), *cells = parse("[]");

		assert_ptr_equal(fl_kind_find(r, k->group, k->version, k->plural), k);
		assert_ptr_equal(fl_kind_by_kind(r, k->api_version, k->kind), k);
		if (!k->stored_as)
			assert_ptr_equal(fl_kind_by_resource(r, k->resource), k);
		assert_string_equal(k->list_kind, fl_arena_printf(&arena, "%sList", k->kind));
		assert_string_equal(fl_kind_schema(k)->ref, k->definition);
		assert_ptr_equal(fl_kind_schema(k), fl_kind_schema(k));
		assert_non_null(fl_schema_prop(fl_kind_schema(k), "metadata"));
		assert_int_equal(k->has_status, k->has_status && fl_schema_prop(fl_kind_schema(k), "status"));
		if (!k->is_virtual) // what is never stored is never listed
			assert_non_null(fl_registry_schema_by_kind(r, k->api_version, k->list_kind, NULL));
		if (k->hooks->table_row)
			k->hooks->table_row(&arena, obj, 0, cells);
		if (k->hooks->table_row && fl_json_count(cells) != k->n_columns)
			fail_msg("%s: %zu cells for %u columns", k->plural, fl_json_count(cells), k->n_columns);
		if (k->hooks->field)
			assert_null(k->hooks->field(&arena, obj, "spec.none"));
	}
}

static void every_definition(void **state)
{
	unsigned n;
	const char *const *names = fl_registry_definitions(fl_registry_builtin(), &n);

	assert_true(n > 200);
	for (unsigned i = 0; i < n; i++) {
		const struct fl_schema *s = definition(names[i]);

		assert_string_equal(s->ref, names[i]);
		if (i)
			assert_true(strcmp(names[i - 1], names[i]) < 0);
		for (unsigned j = 1; j < s->n_props; j++)
			assert_true(strcmp(s->props[j - 1].name, s->props[j].name) < 0);
		for (unsigned j = 0; j < s->n_props; j++)
			assert_ptr_equal(fl_schema_prop(s, s->props[j].name), &s->props[j]);
		assert_null(fl_schema_prop(s, "noSuchField"));
		assert_null(fl_schema_prop(s, ""));
	}
	assert_null(fl_registry_schema(fl_registry_builtin(), "io.k8s.api.core.v1.Nothing"));
}

// Fields of structs that Go inlines stand one message deeper.
static void protobuf_paths(void **state)
{
	static const struct {
		const char *definition, *prop;
		uint16_t path[3];
	} cases[] = {
	    {"io.k8s.api.core.v1.ServicePort", "targetPort", {4}},
	    {"io.k8s.api.core.v1.Probe", "exec", {1, 1}},
	    {"io.k8s.api.core.v1.Probe", "timeoutSeconds", {3}},
	    {"io.k8s.api.core.v1.Volume", "emptyDir", {2, 2}},
	    {"io.k8s.api.core.v1.SecretKeySelector", "name", {1, 1}},
	    {"io.k8s.api.core.v1.SecretKeySelector", "key", {2}},
	    {"io.k8s.api.core.v1.EphemeralContainer", "image", {1, 2}},
	    {"io.k8s.api.core.v1.EphemeralContainer", "targetContainerName", {2}},
	    {"io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta", "name", {1}},
	};

	for (size_t i = 0; i < FL_COUNT(cases); i++) {
		const struct fl_schema_prop *p = fl_schema_prop(definition(cases[i].definition), cases[i].prop);

		assert_non_null(p);
		assert_memory_equal(p->proto, cases[i].path, sizeof(cases[i].path));
	}
}

static void formats(void **state)
{
	static const struct {
		const char *definition, *prop;
		enum fl_schema_type type;
		enum fl_schema_format format;
	} cases[] = {
	    {"io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta", "creationTimestamp", FL_SCHEMA_STRING,
	     FL_FORMAT_DATE_TIME},
	    {"io.k8s.api.coordination.v1.LeaseSpec", "renewTime", FL_SCHEMA_STRING, FL_FORMAT_MICRO_TIME},
	    {"io.k8s.api.core.v1.ServicePort", "targetPort", FL_SCHEMA_INT_OR_STRING, FL_FORMAT_NONE},
	    {"io.k8s.apimachinery.pkg.apis.meta.v1.ManagedFieldsEntry", "fieldsV1", FL_SCHEMA_ANY, FL_FORMAT_NONE},
	};
	const struct fl_schema *limits =
	    fl_schema_prop(definition("io.k8s.api.core.v1.ResourceRequirements"), "limits")->schema;

	for (size_t i = 0; i < FL_COUNT(cases); i++) {
		const struct fl_schema *s = fl_schema_prop(definition(cases[i].definition), cases[i].prop)->schema;

		assert_int_equal(s->type, cases[i].type);
		if (cases[i].format)
			assert_int_equal(s->format, cases[i].format);
	}
	assert_int_equal(limits->type, FL_SCHEMA_MAP);
	assert_int_equal(limits->items->format, FL_FORMAT_QUANTITY);
}

static void bodies_that_are_no_resources(void **state)
{
	const struct fl_registry *r = fl_registry_builtin();
	const char *name = NULL;

	assert_non_null(fl_registry_schema_by_kind(r, "apps/v1", "DeleteOptions", &name));
	assert_string_equal(name, "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions");
	assert_non_null(fl_registry_schema_by_kind(r, "v1", "DeleteOptions", NULL));
	assert_non_null(fl_registry_schema_by_kind(r, "autoscaling/v1", "Scale", NULL));
	assert_null(fl_registry_schema_by_kind(r, "apps/v1", "Scale", NULL));
	assert_null(fl_registry_schema_by_kind(r, "v1", "Nothing", NULL));
}

static void words_of_documents(void **state)
{
	const struct fl_registry *r = fl_registry_builtin();
	const struct fl_kind *svc = fl_kind_find(r, "", "v1", "services");
	const struct fl_kind *deploy = fl_kind_find(r, "apps", "v1", "deployments");
	const struct fl_kind *lease = fl_kind_find(r, "coordination.k8s.io", "v1", "leases");

	assert_string_equal(svc->short_names[0], "svc");
	assert_string_equal(svc->categories[0], "all");
	assert_true(svc->namespaced && svc->has_status && svc->unconditional_update && svc->return_deleted);
	assert_int_equal(svc->name_rule, FL_NAME_LABEL);
	assert_true(deploy->has_scale && deploy->has_generation && deploy->strategic_merge);
	assert_string_equal(deploy->scale_spec_path, "spec.replicas");
	assert_int_equal(lease->name_rule, FL_NAME_SUBDOMAIN);
	assert_true(lease->create_on_update && !lease->unconditional_update && !lease->has_status);
	assert_null(lease->short_names[0]);
	assert_int_equal(fl_kind_find(r, "", "v1", "events")->ttl_seconds, 3600);
	assert_null(fl_kind_find(r, "", "v1", "nopes"));
}

static void views(void **state)
{
	const struct fl_registry *r = fl_registry_builtin();
	const struct fl_kind *view = fl_kind_find(r, "events.k8s.io", "v1", "events");
	const struct fl_kind *stored = fl_kind_find(r, "", "v1", "events");
	const char *text = "{\"apiVersion\":\"events.k8s.io/v1\",\"kind\":\"Event\",\"metadata\":{\"name\":\"e\"},"
			   "\"regarding\":{\"kind\":\"Pod\"},\"note\":\"n\",\"deprecatedCount\":2,\"action\":\"a\"}";
	struct fl_json *obj = parse(text);

	assert_ptr_equal(view->stored_as, stored);
	assert_ptr_equal(view->resource, stored->resource);
	assert_ptr_equal(fl_kind_by_resource(r, "events"), stored);
	obj = fl_kind_to_stored(view, &arena, obj);
	check_links(obj);
	assert_json(obj, "{\"apiVersion\":\"v1\",\"kind\":\"Event\",\"metadata\":{\"name\":\"e\"},\"involvedObject\":"
			 "{\"kind\":\"Pod\"},\"message\":\"n\",\"count\":2,\"action\":\"a\"}");
	assert_json(fl_kind_from_stored(view, &arena, obj), text);
	assert_string_equal(view->hooks->field(&arena, obj, "regarding.kind"), "Pod");
	obj = parse("{}");
	assert_ptr_equal(fl_kind_to_stored(stored, &arena, obj), obj);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(every_kind),
	    TEST(every_definition),
	    TEST(protobuf_paths),
	    TEST(formats),
	    TEST(bodies_that_are_no_resources),
	    TEST(words_of_documents),
	    TEST(views),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
