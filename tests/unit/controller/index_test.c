// SPDX-License-Identifier: Apache-2.0
#include "objects.h"

#include "controller/index.h"

struct found {
	char text[512];
	unsigned n;
};

static void add(void *arg, const char *name)
{
	struct found *f = arg;
	size_t at = strlen(f->text);
	snprintf(f->text + at, sizeof(f->text) - at, "%s ", name);
	f->n++;
}

static void search(struct fl_index *x, const char *ns, const char *labels, const char *want)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	struct found f = {0};
	size_t n;
	struct fl_pair *p = fl_index_pairs(&a, yaml(&a, "%s", labels), 0, &n);
	fl_index_search(x, ns, p, n, add, &f);
	assert_string_equal(f.text, want);
}

static void put(struct fl_index *x, const char *ns, const char *name, const char *labels)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	size_t n;
	struct fl_pair *p = fl_index_pairs(&a, yaml(&a, "%s", labels), 0, &n);
	fl_index_put(x, ns, name, p, n);
}

static void objects_that_have_all_pairs(void **state)
{
	struct fl_index x = {.mode = FL_INDEX_ALL};
	put(&x, "d", "p1", "{app: web, tier: front}");
	put(&x, "d", "p2", "{app: web}");
	put(&x, "e", "p3", "{app: web}");
	put(&x, "d", "p4", "{}");
	search(&x, "d", "{app: web}", "p1 p2 ");
	search(&x, "d", "{app: web, tier: front}", "p1 ");
	search(&x, "d", "{app: web, tier: back}", "");
	search(&x, "d", "{}", "p1 p2 p4 ");
	search(&x, "e", "{app: web}", "p3 ");
	search(&x, "f", "{app: web}", "");
	put(&x, "d", "p1", "{app: other}"); // replaces
	search(&x, "d", "{app: web}", "p2 ");
	search(&x, "d", "{app: other}", "p1 ");
	fl_index_del(&x, "d", "p2");
	fl_index_del(&x, "d", "p2");
	search(&x, "d", "{app: web}", "");
	fl_index_deinit(&x);
}

static void objects_whose_pairs_are_all_given(void **state)
{
	struct fl_index x = {.mode = FL_INDEX_ONE};
	put(&x, "d", "s1", "{app: web, tier: front}");
	put(&x, "d", "s2", "{app: web}");
	put(&x, "d", "s3", "{tier: front}");
	put(&x, "d", "none", "{}");
	search(&x, "d", "{app: web, tier: front, x: y}", "s1 s2 s3 ");
	search(&x, "d", "{app: web}", "s2 ");
	search(&x, "d", "{tier: front}", "s3 ");
	search(&x, "d", "{}", "");
	fl_index_del(&x, "d", "s1");
	search(&x, "d", "{app: web, tier: front}", "s2 s3 ");
	fl_index_deinit(&x);
}

// Against a plain loop over all objects.
static void many_changes(void **state)
{
	enum { N = 40 };
	struct fl_index all = {.mode = FL_INDEX_ALL}, one = {.mode = FL_INDEX_ONE};
	int k1[N], k2[N]; // values of two labels; -1: not there
	for (int i = 0; i < N; i++)
		k1[i] = k2[i] = -2;
	srandom(7);
	for (int round = 0; round < 3000; round++) {
		AUTO(fl_arena_deinit) struct fl_arena a = {0};
		int i = (int)(random() % N);
		char name[8];
		snprintf(name, sizeof(name), "o%d", i);
		if (random() % 4 == 0) {
			k1[i] = k2[i] = -2;
			fl_index_del(&all, "d", name);
			fl_index_del(&one, "d", name);
		} else {
			k1[i] = (int)(random() % 4) - 1;
			k2[i] = (int)(random() % 3) - 1;
			struct fl_json *labels = fl_json_new(&a, FL_JSON_OBJECT);
			if (k1[i] >= 0)
				fl_json_set_str(&a, labels, "k1", fl_arena_printf(&a, "%d", k1[i]));
			if (k2[i] >= 0)
				fl_json_set_str(&a, labels, "k2", fl_arena_printf(&a, "%d", k2[i]));
			put(&all, "d", name, compact(&a, labels));
			put(&one, "d", name, compact(&a, labels));
		}
		struct found f = {0}, g = {0};
		struct fl_pair query[] = {{"k1", "1"}, {"k2", "0"}};
		unsigned want = 0, want_one = 0;
		for (int n = 0; n < N; n++) {
			want += k1[n] == 1 && k2[n] == 0;
			want_one += k1[n] > -2 && (k1[n] == 1 || k1[n] == -1) && (k2[n] == 0 || k2[n] == -1) &&
				    (k1[n] >= 0 || k2[n] >= 0);
		}
		fl_index_search(&all, "d", query, 2, add, &f);
		fl_index_search(&one, "d", query, 2, add, &g);
		assert_int_equal(f.n, want);
		assert_int_equal(g.n, want_one);
	}
	fl_index_deinit(&all);
	fl_index_deinit(&one);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(objects_that_have_all_pairs),
	    cmocka_unit_test(objects_whose_pairs_are_all_given),
	    cmocka_unit_test(many_changes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
