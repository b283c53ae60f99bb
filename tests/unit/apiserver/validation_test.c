// SPDX-License-Identifier: Apache-2.0
// What is refused, field by field, through the whole API server: the cases of tests/golden/validation, which say how
// Kubernetes' validation names each fault; and what a Service holds and gives back as it changes its type.
#include <stdio.h>

#include "base/file.h"
#include "support.h"
#include "json/patch.h"

#define SERVICES "/api/v1/namespaces/default/services"

static const char *causes_of(struct answer *a)
{
	struct fl_buf b = {0};
	fl_json_each (c, fl_json_path(a->json, "details", "causes", NULL))
		fl_buf_printf(&b, "\t%s: %s\n", fl_json_str_or(c, "field", ""), fl_json_str_or(c, "message", ""));
	if (!b.len && a->status >= 400)
		fl_buf_printf(&b, "\t%s\n", at(a, "message"));
	const char *s = fl_arena_strndup(&a->a, b.data ? b.data : "", b.len);
	fl_buf_deinit(&b);
	return s;
}

// The next line of *text, cut off; NULL at the end.
static char *next_line(char **text)
{
	char *line = *text, *end = strchr(line, '\n');
	if (!end)
		return NULL;
	*end = 0;
	*text = end + 1;
	return line;
}

static void one_case(struct api *f, const char *path, const char *base, char *line, const char *want)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	AUTO(fl_buf_deinit) struct fl_buf body = {0};
	struct fl_json *obj, *patch;
	char *text = strstr(line, ": ");
	assert_non_null(text);
	assert_int_equal(fl_json_parse(&a, base, strlen(base), NULL, &obj, NULL), 0);
	assert_int_equal(fl_json_parse(&a, text + 2, strlen(text + 2), NULL, &patch, NULL), 0);
	fl_json_write(&body, fl_json_merge_patch(&a, obj, patch));
	struct answer *got = ask_with(f, "POST", path, "%s", body.data);
	if (got->status != (*want ? fl_starts_with(want, "\tPod in version") ? 400 : 422 : 201) ||
	    strcmp(causes_of(got), want) != 0)
		fail_msg("%.*s: answered %d\n%s instead of\n%s", (int)(text - line), line, got->status, causes_of(got),
			 want);
}

static void test_golden(void **state)
{
	static const char *const files[] = {"service", "pod", "endpointslice", "endpoints"};
	struct api *f = *state;
	unsigned n = 0;
	for (size_t i = 0; i < FL_COUNT(files); i++) {
		char name[96], path[128];
		AUTO_FREE char *text = NULL;
		struct fl_err err = {0};
		snprintf(name, sizeof(name), "tests/golden/validation/%s.txt", files[i]);
		if (fl_file_read(name, &text, NULL, &err) < 0)
			fail_msg("%s", err.text);
		char *rest = text, *line = next_line(&rest); // the comment
		line = next_line(&rest);
		assert_true(line && fl_starts_with(line, "POST "));
		snprintf(path, sizeof(path), "%s?dryRun=All", line + 5);
		const char *base = next_line(&rest);
		while ((line = next_line(&rest))) {
			AUTO(fl_buf_deinit) struct fl_buf want = {0};
			if (!*line)
				continue;
			while (*rest == '\t')
				fl_buf_printf(&want, "%s\n", next_line(&rest));
			one_case(f, path, base, line, want.data ? want.data : "");
			n++;
		}
	}
	assert_true(n > 150);
}

// --- types ---

static const struct {
	const char *name, *spec;
	bool address, ports, health;
} types[] = {
    {"ClusterIP", "\"type\":\"ClusterIP\",\"clusterIP\":null,\"clusterIPs\":null", true, false, false},
    {"NodePort", "\"type\":\"NodePort\",\"clusterIP\":null,\"clusterIPs\":null", true, true, false},
    {"LoadBalancer",
     "\"type\":\"LoadBalancer\",\"clusterIP\":null,\"clusterIPs\":null,\"externalTrafficPolicy\":\"Local\"", true, true,
     true},
    {"headless", "\"type\":\"ClusterIP\",\"clusterIP\":\"None\"", false, false, false},
    {"ExternalName", "\"type\":\"ExternalName\",\"externalName\":\"a.example\",\"clusterIP\":null,\"clusterIPs\":null",
     false, false, false},
};
enum { HEADLESS = 3 };

static void create_of(struct api *f, size_t type)
{
	expect(f, 201,
	       ask_with(
		   f, "POST", SERVICES,
		   "{\"metadata\":{\"name\":\"t\"},\"spec\":{%s,\"selector\":{\"a\":\"b\"},\"ports\":[{\"port\":80}]}}",
		   types[type].spec));
}

static void has_what_it_must(struct answer *a, size_t type)
{
	const char *ip = at(a, "spec.clusterIP");
	assert_int_equal(fl_starts_with(ip, "10.96."), types[type].address);
	if (type == HEADLESS)
		assert_string_equal(ip, "None");
	assert_int_equal(node_at(a, "spec.ports[0].nodePort") != NULL, types[type].ports);
	assert_int_equal(node_at(a, "spec.healthCheckNodePort") != NULL, types[type].health);
	assert_int_equal(node_at(a, "spec.externalTrafficPolicy") != NULL, types[type].ports);
	if (!types[type].address && type != HEADLESS)
		assert_null(node_at(a, "spec.clusterIPs"));
}

// The range has two ports: whatever the Service does not hold can be had by another, and nothing else.
static void nothing_else_is_held(struct api *f, struct answer *a)
{
	unsigned taken =
	    (node_at(a, "spec.ports[0].nodePort") != NULL) + (node_at(a, "spec.healthCheckNodePort") != NULL);
	char path[64];
	for (unsigned i = taken; i < 2; i++)
		expect(f, 201,
		       ask_with(f, "POST", SERVICES,
				"{\"metadata\":{\"name\":\"other%u\"},\"spec\":{\"type\":\"NodePort\",\"ports\":[{"
				"\"port\":80}]}}",
				i));
	expect(
	    f, 500,
	    ask_with(f, "POST", SERVICES,
		     "{\"metadata\":{\"name\":\"more\"},\"spec\":{\"type\":\"NodePort\",\"ports\":[{\"port\":80}]}}"));
	for (unsigned i = taken; i < 2; i++) {
		snprintf(path, sizeof(path), SERVICES "/other%u", i);
		expect(f, 200, ask(f, "DELETE", path));
	}
}

static void test_every_change_of_type(void **state)
{
	struct api f;
	api_start(&f, &(struct api_config){.cidr = "10.96.0.0/27", .port_low = 30000, .port_high = 30001});
	for (size_t from = 0; from < FL_COUNT(types); from++) {
		for (size_t to = 0; to < FL_COUNT(types); to++) {
			create_of(&f, from);
			struct answer *a = expect(&f, 200, ask(&f, "GET", SERVICES "/t"));
			has_what_it_must(a, from);
			nothing_else_is_held(&f, a);
			// An address that is set stays set, and None stays None, as long as the type has one.
			bool refused = (from == HEADLESS && to < HEADLESS) || (to == HEADLESS && from < HEADLESS);
			const char *spec = types[to].spec;
			a = patch_with(
			    &f, "merge", SERVICES "/t", "{\"spec\":{%s%s}}",
			    from == HEADLESS && to < HEADLESS ? "\"clusterIPs\":[\"10.96.0.9\"]," : "",
			    from == HEADLESS && to < HEADLESS
				? fl_arena_printf(&a->a, "\"type\":\"%s\",\"clusterIP\":\"10.96.0.9\"", types[to].name)
				: spec);
			expect(&f, refused ? 422 : 200, a);
			if (refused && !contains(a, "may not change once set"))
				fail_msg("%s to %s: %s", types[from].name, types[to].name, a->body.data);
			a = expect(&f, 200, ask(&f, "GET", SERVICES "/t"));
			has_what_it_must(a, refused ? from : to);
			nothing_else_is_held(&f, a);
			expect(&f, 200, ask(&f, "DELETE", SERVICES "/t"));
		}
	}
	api_end(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_golden, api_setup, api_teardown),
	    cmocka_unit_test(test_every_change_of_type),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
