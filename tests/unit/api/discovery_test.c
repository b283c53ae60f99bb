// SPDX-License-Identifier: Apache-2.0
// Discovery, compared with what kube-apiserver answered (tests/golden/oracle/discovery): for each kind that we have the
// entries are equal to the byte, groups stand in the same order.
#include "api_test.h"

#include "api/openapi.h"

#define ORACLE "tests/golden/oracle/discovery/"

static struct fl_json *find(const struct fl_json *list, const char *key, const char *name)
{
	fl_json_each (x, list)
		if (fl_streq(fl_json_str(x, key), name))
			return x;
	fail_msg("%s %s is not recorded", key, name);
	return NULL;
}

static const char *names(const struct fl_json *object)
{
	const char *s = "";
	fl_json_each (m, object)
		s = fl_arena_printf(&arena, "%s%s ", s, m->key);
	return s;
}

static void api_versions(void **state)
{
	assert_json(fl_discovery_api_versions(&arena, "10.0.0.1:6443"),
		    "{\"kind\":\"APIVersions\",\"versions\":[\"v1\"],\"serverAddressByClientCIDRs\":[{\"clientCIDR\":"
		    "\"0.0.0.0/0\",\"serverAddress\":\"10.0.0.1:6443\"}]}");
}

static void groups(void **state)
{
	struct fl_json *ours = fl_discovery_groups(&arena, fl_registry_builtin());
	struct fl_json *theirs = fl_json_get(golden(ORACLE "apis.json"), "body");
	const struct fl_json *at = fl_json_get(theirs, "groups")->kids.first;

	assert_string_equal(names(ours), names(theirs));
	fl_json_each (group, fl_json_get(ours, "groups")) {
		while (at && !fl_streq(fl_json_str(at, "name"), fl_json_str(group, "name")))
			at = at->next;
		assert_non_null(at);
		assert_string_equal(text_of(group), text_of(at));
	}
	assert_true(fl_json_count(fl_json_get(ours, "groups")) >= 4);
}

static void one_group(void **state)
{
	assert_json(
	    fl_discovery_group(&arena, fl_registry_builtin(), "discovery.k8s.io"),
	    "{\"kind\":\"APIGroup\",\"apiVersion\":\"v1\",\"name\":\"discovery.k8s.io\",\"versions\":[{"
	    "\"groupVersion\":\"discovery.k8s.io/v1\",\"version\":\"v1\"}],\"preferredVersion\":{\"groupVersion\":"
	    "\"discovery.k8s.io/v1\",\"version\":\"v1\"}}");
	assert_null(fl_discovery_group(&arena, fl_registry_builtin(), "nope.example"));
	assert_null(fl_discovery_group(&arena, fl_registry_builtin(), ""));
}

static void core_resources(void **state)
{
	struct fl_json *ours = fl_discovery_resources(&arena, fl_registry_builtin(), "", "v1");
	struct fl_json *theirs = fl_json_get(golden(ORACLE "api_v1.json"), "body");

	assert_string_equal(names(ours), names(theirs));
	assert_string_equal(fl_json_str(ours, "groupVersion"), "v1");
	fl_json_each (r, fl_json_get(ours, "resources")) {
		const struct fl_json *t = find(fl_json_get(theirs, "resources"), "name", fl_json_str(r, "name"));
		assert_string_equal(text_of(r), text_of(t));
	}
	find(fl_json_get(ours, "resources"), "name", "services/status");
	find(fl_json_get(ours, "resources"), "name", "pods/log");
}

static void group_resources(void **state)
{
	struct fl_json *apps = fl_discovery_resources(&arena, fl_registry_builtin(), "apps", "v1");
	assert_string_equal(names(apps), "kind apiVersion groupVersion resources ");
	assert_string_equal(text_of(find(fl_json_get(apps, "resources"), "name", "deployments/scale")),
			    "{\"name\":\"deployments/scale\",\"singularName\":\"\",\"namespaced\":true,\"group\":"
			    "\"autoscaling\",\"version\":\"v1\",\"kind\":\"Scale\",\"verbs\":[\"get\",\"patch\","
			    "\"update\"]}");
	assert_null(fl_discovery_resources(&arena, fl_registry_builtin(), "apps", "v2"));
	assert_null(fl_discovery_resources(&arena, fl_registry_builtin(), "nope", "v1"));
}

// The recorded entry without the subresources and verbs that we do not have.
static struct fl_json *reduced(const struct fl_json *theirs, const struct fl_json *ours)
{
	struct fl_json *copy = fl_json_clone(&arena, theirs), *next;
	struct fl_json *subs = fl_json_get(copy, "subresources");

	for (struct fl_json *s = subs ? subs->kids.first : NULL; s; s = next) {
		bool have = false;
		next = s->next;
		fl_json_each (o, fl_json_get(ours, "subresources"))
			have |= fl_streq(fl_json_str(o, "subresource"), fl_json_str(s, "subresource"));
		if (!have)
			fl_json_remove_child(subs, s);
	}
	if (subs && !subs->kids.count)
		fl_json_remove(copy, "subresources");
	struct fl_json *verbs = fl_json_get(copy, "verbs");
	for (struct fl_json *v = verbs->kids.first; v; v = next) {
		bool have = false;
		next = v->next;
		fl_json_each (o, fl_json_get(ours, "verbs"))
			have |= fl_streq(fl_json_string(o), fl_json_string(v));
		if (!have)
			fl_json_remove_child(verbs, v);
	}
	return copy;
}

static void compare_aggregated(bool core, const char *path)
{
	struct fl_json *ours = fl_discovery_aggregated(&arena, fl_registry_builtin(), core);
	struct fl_json *theirs = fl_json_get(golden(path), "body");
	const struct fl_json *at = fl_json_get(theirs, "items")->kids.first;
	unsigned compared = 0;

	assert_string_equal(names(ours), names(theirs));
	fl_json_each (group, fl_json_get(ours, "items")) {
		while (at && !fl_json_equal(fl_json_get(at, "metadata"), fl_json_get(group, "metadata")))
			at = at->next;
		assert_non_null(at);
		assert_string_equal(names(group), names(at));
		fl_json_each (version, fl_json_get(group, "versions")) {
			const char *v = fl_json_str(version, "version");
			const struct fl_json *tv = find(fl_json_get(at, "versions"), "version", v);
			assert_string_equal(names(version), names(tv));
			assert_string_equal(fl_json_str(version, "freshness"), "Current");
			fl_json_each (r, fl_json_get(version, "resources")) {
				const struct fl_json *tr =
				    find(fl_json_get(tv, "resources"), "resource", fl_json_str(r, "resource"));
				assert_string_equal(text_of(r), text_of(reduced(tr, r)));
				compared++;
			}
		}
	}
	assert_true(compared >= (core ? 7 : 5));
}

static void aggregated(void **state)
{
	compare_aggregated(true, ORACLE "aggregated-api.json");
	compare_aggregated(false, ORACLE "aggregated-apis.json");
}

int main(void)
{
	const struct CMUnitTest tests[] = {TEST(api_versions),   TEST(groups),          TEST(one_group),
					   TEST(core_resources), TEST(group_resources), TEST(aggregated)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
