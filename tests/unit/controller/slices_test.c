// SPDX-License-Identifier: Apache-2.0
// What must hold of slices through any history of pods: each endpoint stands once, no slice is over-full, a change of
// one pod writes one slice, and nothing is written when nothing changed.
#include "objects.h"

#include "base/vec.h"
#include "controller/endpoints/slices.h"

#define PODS 260

struct sim {
	bool there[PODS], ready[PODS];
	FL_VEC(char *) slices; // serialized, as the server has them
	unsigned made;
};

static const struct fl_json *any_node(void *arg, const char *name)
{
	return arg;
}

static size_t make_pods(struct sim *s, struct fl_arena *a, struct fl_podview *pods)
{
	size_t n = 0;
	for (int i = 0; i < PODS; i++) {
		if (!s->there[i])
			continue;
		struct fl_json *p = fl_json_new(a, FL_JSON_OBJECT), *m = fl_json_set_object(a, p, "metadata");
		fl_json_set_str(a, m, "name", fl_arena_printf(a, "p%d", i));
		fl_json_set_str(a, m, "namespace", "d");
		fl_json_set_str(a, m, "uid", fl_arena_printf(a, "u%d", i));
		fl_json_set_str(a, fl_json_set_object(a, p, "spec"), "nodeName", "n");
		struct fl_json *st = fl_json_set_object(a, p, "status");
		fl_json_set_str(a, st, "podIP", fl_arena_printf(a, "10.1.%d.%d", i / 200, i % 200 + 1));
		struct fl_json *c =
		    fl_json_append(fl_json_set_array(a, st, "conditions"), fl_json_new(a, FL_JSON_OBJECT));
		fl_json_set_str(a, c, "type", "Ready");
		fl_json_set_str(a, c, "status", s->ready[i] ? "True" : "False");
		pods[n++] = fl_podview_read(p);
	}
	return n;
}

static void store(struct sim *s, struct fl_arena *a, const struct fl_slice_step *step, size_t at)
{
	if (step->op == FL_SLICE_DELETE) {
		free(s->slices.v[at]);
		fl_vec_remove(&s->slices, at);
		return;
	}
	char *text = fl_strdup(compact(a, step->slice));
	if (step->op == FL_SLICE_UPDATE) {
		free(s->slices.v[at]);
		s->slices.v[at] = text;
	} else {
		fl_vec_push(&s->slices, text);
	}
}

// Plans, applies, and returns how many slices were written.
static size_t settle(struct sim *s)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	struct fl_podview pods[PODS];
	const struct fl_json *existing[64];
	fl_slice_plan plan = {0};
	bool missing;
	struct fl_members_in in = {
	    .service = yaml(&a, "{metadata: {name: s, namespace: d, uid: us}, spec: {clusterIP: 10.96.0.1, "
				"ipFamilies: [IPv4], ports: [{port: 80}]}}"),
	    .pods = pods,
	    .n_pods = make_pods(s, &a, pods),
	    .node = any_node,
	    .arg = yaml(&a, "{metadata: {name: n}}"),
	};
	assert_true(s->slices.n < 64);
	for (size_t i = 0; i < s->slices.n; i++)
		existing[i] = yaml_n(&a, s->slices.v[i], strlen(s->slices.v[i]));
	fl_slices_plan(&a, &in, existing, s->slices.n, 100, &plan, &missing);
	for (size_t i = 0; i < plan.n; i++) {
		struct fl_slice_step *step = &plan.v[i];
		size_t at = 0;
		if (step->op == FL_SLICE_CREATE)
			fl_json_set_str(&a, fl_json_get(step->slice, "metadata"), "name",
					fl_arena_printf(&a, "s-%u", s->made++));
		while (step->op != FL_SLICE_CREATE &&
		       !strstr(s->slices.v[at], fl_arena_printf(&a, "\"%s\"", step->name)))
			at++;
		store(s, &a, step, at);
	}
	size_t n = plan.n;
	fl_vec_deinit(&plan);
	return n;
}

static void check(struct sim *s)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	int seen[PODS] = {0};
	for (size_t i = 0; i < s->slices.n; i++) {
		struct fl_json *t = yaml_n(&a, s->slices.v[i], strlen(s->slices.v[i])),
			       *eps = fl_json_get(t, "endpoints");
		assert_true(fl_json_count(eps) <= 100);
		if (s->slices.n > 1)
			assert_true(fl_json_count(eps) > 0);
		fl_json_each (ep, eps) {
			int pod = atoi(fl_json_str(fl_json_get(ep, "targetRef"), "name") + 1);
			seen[pod]++;
			assert_int_equal(fl_json_bool(fl_json_get(ep, "conditions"), "ready", false), s->ready[pod]);
		}
	}
	for (int i = 0; i < PODS; i++)
		assert_int_equal(seen[i], s->there[i]);
}

static void any_history(void **state)
{
	struct sim s = {0};
	srandom(11);
	for (int i = 0; i < 250; i++)
		s.there[i] = s.ready[i] = true;
	assert_int_equal(settle(&s), 3); // 100, 100, 50
	check(&s);
	assert_int_equal(settle(&s), 0);
	for (int round = 0; round < 120; round++) {
		int changes = random() % 3 ? 1 : (int)(random() % 40);
		for (int c = 0; c < changes; c++) {
			int i = (int)(random() % PODS);
			if (random() % 2)
				s.ready[i] = !s.ready[i];
			else
				s.there[i] = !s.there[i];
			s.ready[i] = s.ready[i] && s.there[i];
		}
		size_t written = settle(&s);
		if (changes == 1)
			assert_true(written <= 1);
		check(&s);
		assert_int_equal(settle(&s), 0);
	}
	memset(s.there, 0, sizeof(s.there));
	memset(s.ready, 0, sizeof(s.ready));
	settle(&s);
	assert_int_equal(s.slices.n, 1); // the placeholder
	check(&s);
	free(s.slices.v[0]);
	fl_vec_deinit(&s.slices);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(any_history)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
