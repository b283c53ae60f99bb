// SPDX-License-Identifier: Apache-2.0
// Ownership beyond what is recorded (oracle_replay_test): several managers, hand-over and reset by clients, objects
// without tracking, kubectl's two ways of applying, our own roles.
#include "api/apply/managed.h"

#include "kind_rules.h"

#define NOW   "2026-11-21T10:00:00Z"
#define LATER "2026-11-21T11:00:00Z"

static const struct fl_kind *config_map(void)
{
	return kind_of("v1", "ConfigMap");
}

// A ConfigMap with these members of data and of metadata. No data is no field, as after decoding.
static struct fl_json *cm(const char *data, const char *meta)
{
	struct fl_json *obj = parse(fl_arena_printf(
	    &arena, "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"x\"%s},\"data\":{%s}}",
	    meta, data));

	if (!*data)
		fl_json_remove(obj, "data");
	return obj;
}

static struct fl_json *update_as(struct fl_json *obj, const struct fl_json *live, struct fl_writer w)
{
	w.now = w.now ? w.now : NOW;
	fl_managed_update(config_map(), &arena, obj, live, &w);
	return obj;
}

static struct fl_json *update(struct fl_json *obj, const struct fl_json *live, const char *manager)
{
	return update_as(obj, live, (struct fl_writer){.manager = manager});
}

// "manager operation[/subresource]: fields of data" of each entry, one a line.
static const char *owners(const struct fl_json *obj)
{
	struct fl_buf b = {0};
	const char *s;

	fl_json_each (e, fl_json_path(obj, "metadata", "managedFields", NULL)) {
		const char *sub = fl_json_str_or(e, "subresource", "");

		fl_buf_printf(&b, "%s%s %s%s%s:", b.len ? "\n" : "", fl_json_str(e, "manager"),
			      fl_json_str(e, "operation"), *sub ? "/" : "", sub);
		fl_json_each (f, fl_json_path(e, "fieldsV1", "f:data", NULL))
			fl_buf_printf(&b, " %s", f->key[0] == '.' ? "." : f->key + 2);
	}
	s = fl_arena_strndup(&arena, b.data ? b.data : "", b.len);
	fl_buf_deinit(&b);
	return s;
}

struct outcome {
	struct fl_json *obj; // NULL when refused
	struct fl_causes causes;
	struct fl_status st;
};

static struct outcome apply_at(const char *data, const struct fl_json *live, const char *manager, bool force,
			       const char *now)
{
	struct outcome o = {.causes = {.arena = &arena}};
	struct fl_writer w = {.manager = manager, .now = now};

	if (!fl_managed_apply(config_map(), &arena, cm(data, ""), live, &w, force, &o.obj, &o.causes, &o.st))
		o.obj = NULL;
	return o;
}

static struct fl_json *applied(const char *data, const struct fl_json *live, const char *manager, bool force)
{
	struct outcome o = apply_at(data, live, manager, force, NOW);

	if (!o.obj)
		fail_msg("%s", o.st.message);
	check_links(o.obj);
	return o.obj;
}

static const char *data_of(const struct fl_json *obj)
{
	return text_of(fl_json_get(obj, "data"));
}

static void updates(void **state)
{
	struct fl_json *a = update(cm("\"a\":\"1\",\"b\":\"1\"", ""), NULL, "one"), *b, *c;

	assert_string_equal(owners(a), "one Update: . a b");
	b = update(cm("\"a\":\"1\",\"b\":\"2\",\"c\":\"1\"", ""), a, "two");
	assert_string_equal(owners(b), "one Update: . a\ntwo Update: b c");
	c = update(cm("\"a\":\"1\"", ""), b, "three");
	assert_string_equal(owners(c), "one Update: . a");
	assert_string_equal(owners(update(cm("", ""), NULL, "")), "");
	assert_string_equal(owners(update(cm("\"a\":\"1\"", ""), NULL, "")), "unknown Update: . a");
}

static void what_clients_send(void **state)
{
	struct fl_json *live = update(cm("\"a\":\"1\"", ""), NULL, "one"), *obj = fl_json_clone(&arena, live);
	struct fl_json *reset = cm("\"a\":\"2\"", ",\"managedFields\":[{}]");

	fl_json_set_str(&arena, fl_json_index(fl_json_path(obj, "metadata", "managedFields", NULL), 0), "manager",
			"heir");
	assert_string_equal(owners(update(obj, live, "one")), "heir Update: . a");
	update(reset, live, "one");
	assert_string_equal(owners(reset), "");
	assert_string_equal(owners(update(cm("\"a\":\"3\"", ""), reset, "one")), ""); // and stays so
	// What cannot be read is as if it had not been sent.
	obj = cm("\"a\":\"1\"", ",\"managedFields\":[{\"manager\":\"x\",\"operation\":\"Steal\"}]");
	assert_string_equal(owners(update(obj, live, "two")), "one Update: . a");
	obj = cm("\"a\":\"1\"",
		 ",\"managedFields\":[{\"operation\":\"Update\",\"fieldsType\":\"FieldsV1\",\"fieldsV1\":{\"a\":1}}]");
	assert_string_equal(owners(update(obj, live, "two")), "one Update: . a");
	// Through a subresource nobody changes owners.
	obj = cm("\"a\":\"1\"", ",\"managedFields\":[{}]");
	assert_string_equal(owners(update_as(obj, live, (struct fl_writer){.manager = "two", .subresource = "status"})),
			    "one Update: . a");
}

static void own_roles(void **state)
{
	struct fl_writer role = {.manager = "fairlead-node", .unrecorded = true};
	struct fl_json *live = update(cm("\"a\":\"1\",\"b\":\"1\"", ""), NULL, "one");

	assert_string_equal(owners(update_as(cm("\"a\":\"1\"", ""), NULL, role)), "");
	assert_string_equal(owners(update_as(cm("\"a\":\"1\",\"b\":\"2\",\"c\":\"1\"", ""), live, role)),
			    "one Update: . a");
}

static void many_updaters(void **state)
{
	struct fl_json *obj = update(cm("\"k\":\"0\"", ""), NULL, "m00"), *next;
	size_t n;

	for (int i = 1; i < 14; i++) {
		next = fl_json_clone(&arena, obj);
		fl_json_set_str(&arena, fl_json_get(next, "data"), fl_arena_printf(&arena, "k%d", i), "v");
		obj = update_as(next, obj,
				(struct fl_writer){.manager = fl_arena_printf(&arena, "m%02d", i),
						   .now = fl_arena_printf(&arena, "2026-11-21T10:00:%02dZ", i)});
	}
	n = fl_json_count(fl_json_path(obj, "metadata", "managedFields", NULL));
	assert_int_equal(n, 10);
	assert_non_null(strstr(owners(obj), "ancient-changes Update: . k k1 k2 k3 k4\nm05 Update: k5\n"));
	assert_non_null(strstr(owners(obj), "m13 Update: k13"));
}

static void subresources(void **state)
{
	const struct fl_kind *k = kind_of("v1", "Service");
	struct fl_json
	    *live = parse(
		"{\"metadata\":{\"name\":\"x\"},\"spec\":{\"type\":\"ClusterIP\"},\"status\":{\"loadBalancer\":{}}}"),
	    *obj;
	struct fl_writer w = {.manager = "one", .now = NOW};

	fl_managed_update(k, &arena, live, NULL, &w);
	obj = fl_json_clone(&arena, live);
	fl_json_set_str(&arena, fl_json_get(obj, "spec"), "type", "NodePort"); // which a status write cannot
	fl_json_set(&arena, obj, "status", parse("{\"loadBalancer\":{\"ingress\":[{\"ip\":\"1.1.1.1\"}]}}"));
	w.subresource = "status";
	fl_managed_update(k, &arena, obj, live, &w);
	assert_string_equal(owners(obj), "one Update:\none Update/status:");
	assert_json(fl_json_get(fl_json_index(fl_json_path(obj, "metadata", "managedFields", NULL), 1), "fieldsV1"),
		    "{\"f:status\":{\"f:loadBalancer\":{\"f:ingress\":{}}}}");
	assert_json(fl_json_get(fl_json_index(fl_json_path(obj, "metadata", "managedFields", NULL), 0), "fieldsV1"),
		    "{\"f:spec\":{\"f:type\":{}}}");
}

static void apply_shares_and_gives_up(void **state)
{
	struct fl_json *a = applied("\"a\":\"1\",\"b\":\"1\"", NULL, "one", false), *b, *c;

	assert_string_equal(owners(a), "one Apply: a b");
	b = applied("\"b\":\"1\",\"c\":\"1\"", a, "two", false); // the same value is no conflict
	assert_string_equal(owners(b), "one Apply: a b\ntwo Apply: b c");
	c = applied("", b, "one", false); // a goes, b is still two's
	assert_string_equal(data_of(c), "{\"b\":\"1\",\"c\":\"1\"}");
	assert_string_equal(owners(c), "two Apply: b c");
	c = applied("\"c\":\"1\"", update(cm("\"b\":\"1\",\"c\":\"1\",\"u\":\"1\"", ""), c, "u"), "two", false);
	assert_string_equal(data_of(c), "{\"c\":\"1\",\"u\":\"1\"}"); // what others added stays
}

static void conflicts(void **state)
{
	struct fl_json *live = applied("\"a\":\"1\"", NULL, "one", false), *next;
	struct outcome o;

	next = fl_json_clone(&arena, live);
	fl_json_set_str(&arena, fl_json_get(next, "data"), "b", "1");
	live = update_as(next, live, (struct fl_writer){.manager = "two"});
	o = apply_at("\"a\":\"2\",\"b\":\"2\"", live, "three", false, NOW);
	assert_null(o.obj);
	assert_int_equal(o.st.code, 409);
	assert_string_equal(o.st.message, "Apply failed with 2 conflicts: conflicts with \"one\"\n- .data.a\n"
					  "conflicts with \"two\" using v1\n- .data.b");
	assert_string_equal(said(&o.causes), ".data.a: conflict with \"one\"\n.data.b: conflict with \"two\" using v1");
	next = applied("\"a\":\"2\",\"b\":\"2\"", live, "three", true);
	assert_string_equal(data_of(next), "{\"a\":\"2\",\"b\":\"2\"}");
	assert_string_equal(owners(next), "three Apply: a b");
}

static void untracked(void **state)
{
	struct fl_json *live = cm("\"a\":\"1\",\"b\":\"1\"", ",\"uid\":\"u\""), *obj;
	struct outcome o = apply_at("\"a\":\"2\"", live, "one", false, NOW);

	assert_null(o.obj);
	assert_string_equal(o.st.message,
			    "Apply failed with 1 conflict: conflict with \"before-first-apply\" using v1: "
			    ".data.a");
	obj = applied("\"a\":\"1\",\"c\":\"1\"", live, "one", false);
	assert_string_equal(owners(obj), "one Apply: a c\nbefore-first-apply Update: . a b");
	assert_json(fl_json_path(obj, "metadata", "uid", NULL), "\"u\"");
}

#define POD_WITH                                                                                                       \
	"{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"x\"},\"spec\":{\"containers\":[{\"name\":"   \
	"\"c\"%s}]}}"

// Ports that stand twice under one key are one field of their owner; nothing of the object may be lost over that.
static void named_twice(void **state)
{
	const struct fl_kind *k = kind_of("v1", "Pod");
	struct fl_json *obj =
	    parse(fl_arena_printf(&arena, POD_WITH,
				  ",\"ports\":[{\"containerPort\":1,\"protocol\":\"TCP\"},{\"containerPort\":1,"
				  "\"protocol\":\"TCP\",\"name\":\"n\"}]"));
	struct fl_json *patch = parse(fl_arena_printf(&arena, POD_WITH, ",\"image\":\"i\""));
	struct fl_writer w = {.manager = "one", .now = NOW};

	for (int i = 0; i < 3; i++) {
		struct fl_causes causes = {.arena = &arena};
		struct fl_status st;
		const struct fl_json *c;

		assert_true(fl_managed_apply(k, &arena, patch, obj, &w, false, &obj, &causes, &st));
		c = fl_json_index(fl_json_path(obj, "spec", "containers", NULL), 0);
		assert_int_equal(fl_json_count(fl_json_get(c, "ports")), 2);
		assert_string_equal(fl_json_str(fl_json_get(obj, "metadata"), "name"), "x");
	}
}

static void refusals(void **state)
{
	static const struct {
		const char *patch, *why;
		int code;
	} cases[] = {
	    {"{\"apiVersion\":\"v2\",\"kind\":\"ConfigMap\"}",
	     "Incorrect version specified in apply patch. Specified patch version: v2, expected: v1", 400},
	    {"{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"managedFields\":[]}}",
	     "metadata.managedFields must be nil", 400},
	    {"{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"x\",\"namespace\":\"d\"},\"dat\":{"
	     "}}",
	     "failed to create typed patch object (d/x; v1, Kind=ConfigMap): .dat: field not declared in schema", 500},
	};

	for (size_t i = 0; i < FL_COUNT(cases); i++) {
		struct fl_causes causes = {.arena = &arena};
		struct fl_writer w = {.manager = "one", .now = NOW};
		struct fl_json *obj;
		struct fl_status st;

		assert_false(
		    fl_managed_apply(config_map(), &arena, parse(cases[i].patch), NULL, &w, false, &obj, &causes, &st));
		assert_int_equal(st.code, cases[i].code);
		assert_string_equal(st.message, cases[i].why);
	}
}

#define LAST "kubectl.kubernetes.io/last-applied-configuration"

// Who applied on the client's side so far goes over without force; what others changed since is theirs.
static void from_client_side_apply(void **state)
{
	const char *meta =
	    ",\"annotations\":{\"" LAST "\":\"{\\\"data\\\":{\\\"a\\\":\\\"1\\\",\\\"b\\\":\\\"1\\\"}}\"}";
	struct fl_json *live = update(cm("\"a\":\"1\",\"b\":\"1\"", meta), NULL, "kubectl-client-side-apply"), *obj;
	struct outcome o;

	assert_null(apply_at("\"a\":\"2\"", live, "other", false, NOW).obj);
	obj = applied("\"a\":\"2\"", live, "kubectl", false);
	assert_string_equal(owners(obj), "kubectl Apply: a\nkubectl-client-side-apply Update: . b");
	assert_string_equal(
	    fl_json_str(fl_json_path(obj, "metadata", "annotations", NULL), LAST),
	    "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"x\"},\"data\":{\"a\":"
	    "\"2\"}}\n");
	live = update(cm("\"a\":\"9\",\"b\":\"1\"", meta), live, "editor");
	o = apply_at("\"a\":\"2\",\"b\":\"2\"", live, "kubectl", false, NOW);
	assert_null(o.obj);
	assert_string_equal(said(&o.causes), ".data.a: conflict with \"editor\" using v1");
}

static void times(void **state)
{
	struct fl_json *live = applied("\"a\":\"1\"", NULL, "one", false);
	struct fl_json *same = apply_at("\"a\":\"1\"", live, "one", false, LATER).obj;
	struct fl_json *changed = apply_at("\"a\":\"2\"", live, "one", false, LATER).obj;

	fl_managed_keep_times(&arena, same, live);
	assert_true(fl_json_equal(same, live));
	fl_managed_keep_times(&arena, changed, live);
	assert_non_null(strstr(text_of(changed), LATER));
}

static const char *options(const char *manager, const char *force, bool apply)
{
	struct fl_causes c = {.arena = &arena};

	fl_managed_validate_options(&c, manager, force, apply);
	return said(&c);
}

static void names_of_managers(void **state)
{
	char longer[200];

	memset(longer, 'x', sizeof(longer));
	longer[sizeof(longer) - 1] = '\0';
	assert_string_equal(fl_manager_of_user_agent(&arena, "kubectl/v1.35 (linux)"), "kubectl");
	assert_string_equal(fl_manager_of_user_agent(&arena, "a\tb c"), "ab c");
	assert_string_equal(fl_manager_of_user_agent(&arena, NULL), "");
	assert_int_equal(strlen(fl_manager_of_user_agent(&arena, longer)), 128);
	assert_true(fl_manager_is_role("fairlead-node/0.1"));
	assert_false(fl_manager_is_role("kubectl/v1.35") || fl_manager_is_role("fairlead") || fl_manager_is_role(NULL));
	assert_string_equal(options("one", "true", true), "");
	assert_string_equal(options("one", "true", false),
			    "force: Forbidden: may not be specified for non-apply patch");
	assert_string_equal(options("", NULL, true), "fieldManager: Required value: is required for apply patch");
	assert_string_equal(options(longer, NULL, false), "fieldManager: Too long: may not be more than 128 bytes");
	assert_string_equal(options("a\nb", NULL, false),
			    "fieldManager: Invalid value: \"a\\nb\": should only contain printable characters");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(updates),
	    TEST(what_clients_send),
	    TEST(own_roles),
	    TEST(many_updaters),
	    TEST(subresources),
	    TEST(apply_shares_and_gives_up),
	    TEST(conflicts),
	    TEST(untracked),
	    TEST(refusals),
	    TEST(named_twice),
	    TEST(from_client_side_apply),
	    TEST(times),
	    TEST(names_of_managers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
