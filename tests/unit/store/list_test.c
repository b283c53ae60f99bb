// SPDX-License-Identifier: Apache-2.0
// Lists now, page by page, and at every revision of a random history: from memory, from the log, after reopening.
#include <errno.h>
#include <stdio.h>

#include "support.h"

static void test_order_and_pages(void **state)
{
	struct bed *b = *state;
	const char *keys[][2] = {{"b", "two"}, {"a", "x"}, {"", "cluster"}, {"b", "one"}, {"ab", "y"}, {"b", "two-1"}};
	for (size_t i = 0; i < FL_COUNT(keys); i++)
		assert_int_equal(write_wait(b, FL_STORE_CREATE, keys[i][0], keys[i][1], "t"), i + 1);
	assert_int_equal(submit(b, FL_STORE_CREATE, b->others, "b", "other", "t", 0, NULL, NULL), 0);
	bed_turn(b);
	assert_string_equal(list_now(b, NULL), "/cluster=t@3 a/x=t@2 ab/y=t@5 b/one=t@4 b/two=t@1 b/two-1=t@6");
	assert_string_equal(list_now(b, "b"), "b/one=t@4 b/two=t@1 b/two-1=t@6");
	assert_string_equal(list_now(b, "none"), "");
	assert_int_equal(fl_store_count(b->s, b->things, NULL), 6);
	assert_int_equal(fl_store_count(b->s, b->things, "b"), 3);
	assert_int_equal(fl_store_count(b->s, b->things, "a"), 1);
	assert_int_equal(fl_store_count(b->s, b->things, "aa"), 0);
	struct shown s = {.limit = 2};
	fl_store_list(b->s, b->things, NULL, "a", "x", show, &s);
	assert_string_equal(s.b.data, "ab/y=t@5 b/one=t@4");
	fl_buf_deinit(&s.b);
	s.n = 0;
	fl_store_list(b->s, b->things, "b", "b", "one", show, &s);
	assert_string_equal(s.b.data, "b/two=t@1 b/two-1=t@6");
	fl_buf_deinit(&s.b);
	// A token whose key is gone goes on behind where it was.
	s.n = 0;
	fl_store_list(b->s, b->things, NULL, "b", "p", show, &s);
	assert_string_equal(s.b.data, "b/two=t@1 b/two-1=t@6");
	fl_buf_deinit(&s.b);
}

#define KEYS   40
#define WRITES 600

static char *expected[WRITES + 1]; // list of all at each revision
static char *in_namespace[WRITES + 1];

static int random_write(struct bed *b, unsigned *seed, int i)
{
	unsigned key = (unsigned)rand_r(seed) % KEYS;
	char ns[8], name[16], text[16];
	snprintf(ns, sizeof(ns), "ns%u", key % 3);
	snprintf(name, sizeof(name), "o-%02u", key);
	snprintf(text, sizeof(text), "v%d", i);
	AUTO(fl_object_put) struct fl_object *there = fl_store_get(b->s, b->things, ns, name);
	enum fl_store_verb verb = !there ? FL_STORE_CREATE : rand_r(seed) % 3 ? FL_STORE_UPDATE : FL_STORE_DELETE;
	return (int)write_wait(b, verb, ns, name, text);
}

static void check_at(struct bed *b, uint64_t rv, const char *ns, const char *want)
{
	struct shown s = {0};
	struct fl_err err = {0};
	int rc = fl_store_list_at(b->s, rv, b->things, ns, NULL, NULL, show, &s, &err);
	if (rc < 0)
		fail_msg("list at %d: %s", (int)rv, err.text);
	assert_string_equal(s.b.data ? s.b.data : "", want);
	fl_buf_deinit(&s.b);
	// The same in pages of three.
	AUTO(fl_buf_deinit) struct fl_buf all = {0};
	char after_ns[16] = "", after_name[16] = "";
	for (bool more = true; more;) {
		struct shown page = {.limit = 3};
		bool first = !after_name[0];
		rc = fl_store_list_at(b->s, rv, b->things, ns, first ? NULL : after_ns, first ? NULL : after_name, show,
				      &page, &err);
		assert_int_equal(rc, 0);
		if (page.n) {
			fl_buf_printf(&all, "%s%s", all.len ? " " : "", page.b.data);
			const char *last = strrchr(page.b.data, ' ');
			last = last ? last + 1 : page.b.data;
			assert_int_equal(sscanf(last, "%15[^/]/%15[^=]", after_ns, after_name), 2);
		}
		more = page.n == 3;
		fl_buf_deinit(&page.b);
	}
	assert_string_equal(all.data ? all.data : "", want);
}

static void check_all(struct bed *b)
{
	for (int rv = 0; rv <= WRITES; rv += rv < 40 ? 1 : 7) {
		check_at(b, (uint64_t)rv, NULL, expected[rv]);
		check_at(b, (uint64_t)rv, "ns1", in_namespace[rv]);
	}
}

static void test_at_every_revision(void **state)
{
	struct bed *b = *state;
	unsigned seed = 7;
	bed_close(b);
	b->opts.event_window = 128; // revisions before that come from the log
	bed_open(b);
	expected[0] = fl_strdup("");
	in_namespace[0] = fl_strdup("");
	for (int i = 1; i <= WRITES; i++) {
		assert_int_equal(random_write(b, &seed, i), i);
		expected[i] = fl_strdup(list_now(b, NULL));
		in_namespace[i] = fl_strdup(list_now(b, "ns1"));
	}
	check_all(b);
	struct shown s = {0};
	struct fl_err err = {0};
	assert_int_equal(fl_store_list_at(b->s, WRITES + 1, b->things, NULL, NULL, NULL, show, &s, &err), -EINVAL);
	bed_close(b);
	bed_open(b);
	assert_string_equal(list_now(b, NULL), expected[WRITES]);
	assert_int_equal(fl_store_revision(b->s), WRITES);
	check_all(b);
	for (int i = 0; i <= WRITES; i++) {
		free(expected[i]);
		free(in_namespace[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_order_and_pages, bed_setup, bed_teardown),
	    cmocka_unit_test_setup_teardown(test_at_every_revision, bed_setup, bed_teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
