// SPDX-License-Identifier: Apache-2.0
// Guards, head and committed, failures: with an engine whose commits the test holds.
#include "store/store.h"

#include <errno.h>

#include "base/limits.h"
#include "support.h"

static int setup(void **state)
{
	struct bed *b = fl_calloc(1, sizeof(*b));
	bed_init(b);
	struct fl_err err;
	assert_int_equal(fl_store_open_engine(&b->loop, &b->opts, &held_ops, &b->s, &err), 0);
	*state = b;
	return 0;
}

static int later(struct bed *b, enum fl_store_verb verb, const char *name, const char *text)
{
	return submit(b, verb, b->things, "ns", name, text, 0, NULL, NULL);
}

static const char *head_of(struct bed *b, const char *name)
{
	static struct fl_buf buf;
	AUTO(fl_object_put) struct fl_object *o = fl_store_head(b->s, b->things, "ns", name);
	fl_buf_deinit(&buf);
	if (!o)
		return "none";
	show_object(&buf, o);
	return buf.data;
}

static const char *all_heads(struct bed *b)
{
	static struct shown s;
	fl_buf_deinit(&s.b);
	fl_store_list_head(b->s, b->things, NULL, show, &s);
	return s.b.data ? s.b.data : "";
}

static void test_guards(void **state)
{
	struct bed *b = *state;
	assert_int_equal(later(b, FL_STORE_UPDATE, "a", "x"), -ENOENT);
	assert_int_equal(later(b, FL_STORE_DELETE, "a", "x"), -ENOENT);
	assert_int_equal(later(b, FL_STORE_CREATE, "a", "one"), 0);
	// Not durable yet, but a second creation is refused already.
	assert_int_equal(later(b, FL_STORE_CREATE, "a", "x"), -EEXIST);
	held_commit(1);
	assert_int_equal(later(b, FL_STORE_CREATE, "a", "x"), -EEXIST);
	assert_int_equal(submit(b, FL_STORE_UPDATE, b->things, "ns", "a", "x", 77, NULL, NULL), -ESTALE);
	assert_int_equal(submit(b, FL_STORE_UPDATE, b->things, "ns", "a", "two", 1, NULL, NULL), 0);
	// The guard is against head: revision 1 is not current any more, 2 is, committed or not.
	assert_int_equal(submit(b, FL_STORE_DELETE, b->things, "ns", "a", "x", 1, NULL, NULL), -ESTALE);
	assert_int_equal(submit(b, FL_STORE_DELETE, b->things, "ns", "a", "two", 2, NULL, NULL), 0);
	assert_int_equal(later(b, FL_STORE_DELETE, "a", "x"), -ENOENT);
	assert_int_equal(later(b, FL_STORE_CREATE, "a", "again"), 0);
	assert_string_equal(list_now(b, NULL), "ns/a=one@1");
	held_commit(SIZE_MAX);
	assert_string_equal(list_now(b, NULL), "ns/a=again@4");
	// A key is resource, namespace and name.
	assert_int_equal(submit(b, FL_STORE_CREATE, b->others, "ns", "a", "x", 0, NULL, NULL), 0);
	assert_int_equal(submit(b, FL_STORE_CREATE, b->things, "", "a", "x", 0, NULL, NULL), 0);
}

static void test_head_and_committed(void **state)
{
	struct bed *b = *state;
	assert_int_equal(later(b, FL_STORE_CREATE, "a", "one"), 0);
	assert_int_equal(later(b, FL_STORE_UPDATE, "a", "two"), 0);
	assert_int_equal(later(b, FL_STORE_CREATE, "b", "one"), 0);
	assert_string_equal(head_of(b, "a"), "ns/a=two@2");
	assert_null(fl_store_get(b->s, b->things, "ns", "a"));
	assert_string_equal(all_heads(b), "ns/a=two@2 ns/b=one@3");
	assert_string_equal(list_now(b, NULL), "");
	assert_int_equal(fl_store_revision(b->s), 0);
	held_commit(1);
	assert_string_equal(list_now(b, NULL), "ns/a=one@1");
	assert_int_equal(fl_store_revision(b->s), 1);
	assert_string_equal(head_of(b, "a"), "ns/a=two@2");
	held_commit(2);
	assert_string_equal(list_now(b, NULL), "ns/a=two@2 ns/b=one@3");
	AUTO(fl_object_put) struct fl_object *o = fl_store_get(b->s, b->things, "ns", "a");
	assert_int_equal(o->create_rv, 1);
	assert_int_equal(later(b, FL_STORE_DELETE, "a", "two"), 0);
	assert_string_equal(head_of(b, "a"), "none");
	assert_string_equal(all_heads(b), "ns/b=one@3");
	assert_int_equal(fl_store_count(b->s, b->things, NULL), 2);
}

struct outcome {
	struct bed *b;
	int rc, calls;
	char text[sizeof(((struct fl_err *)0)->text)];
};

static void on_outcome(void *arg, int rc, struct fl_object *obj, const struct fl_err *err)
{
	struct outcome *o = arg;
	o->rc = rc;
	o->calls++;
	if (err)
		snprintf(o->text, sizeof(o->text), "%s", err->text);
}

static void test_failure_falls_back(void **state)
{
	struct bed *b = *state;
	struct outcome o[5] = {0};
	assert_int_equal(later(b, FL_STORE_CREATE, "kept", "one"), 0);
	assert_int_equal(later(b, FL_STORE_CREATE, "gone", "one"), 0);
	held_commit(2);
	assert_int_equal(submit(b, FL_STORE_UPDATE, b->things, "ns", "kept", "two", 0, on_outcome, &o[0]), 0);
	assert_int_equal(submit(b, FL_STORE_UPDATE, b->things, "ns", "kept", "three", 0, on_outcome, &o[1]), 0);
	assert_int_equal(submit(b, FL_STORE_DELETE, b->things, "ns", "gone", "one", 0, on_outcome, &o[2]), 0);
	assert_int_equal(submit(b, FL_STORE_CREATE, b->things, "ns", "new", "one", 0, on_outcome, &o[3]), 0);
	assert_int_equal(submit(b, FL_STORE_CREATE, b->things, "ns", "gone", "again", 0, on_outcome, &o[4]), 0);
	held_fail(-ENOSPC, "the disk is full");
	for (size_t i = 0; i < FL_COUNT(o); i++) {
		assert_int_equal(o[i].calls, 1);
		assert_int_equal(o[i].rc, -ENOSPC);
		assert_string_equal(o[i].text, "the disk is full");
	}
	assert_string_equal(all_heads(b), "ns/gone=one@2 ns/kept=one@1");
	assert_string_equal(list_now(b, NULL), "ns/gone=one@2 ns/kept=one@1");
	assert_int_equal(fl_store_revision(b->s), 2);
	// Room again. A revision that failed is not given a second time.
	assert_int_equal(later(b, FL_STORE_UPDATE, "kept", "two"), 0);
	held_commit(1);
	assert_string_equal(list_now(b, NULL), "ns/gone=one@2 ns/kept=two@8");
	struct fl_store_stats st;
	fl_store_get_stats(b->s, &st);
	assert_int_equal(st.failed, 5);
	assert_int_equal(st.writes, 3);
	assert_int_equal(st.objects, 2);
}

static void retry(void *arg, int rc, struct fl_object *obj, const struct fl_err *err)
{
	struct outcome *o = arg;
	o->calls++;
	o->rc = submit(o->b, FL_STORE_UPDATE, o->b->things, "ns", "a", "retried", 1, NULL, NULL);
}

// What a callback of a failed write submits starts from the committed state, not from what fails with it.
static void test_submit_from_failure(void **state)
{
	struct bed *b = *state;
	struct outcome o = {.b = b};
	assert_int_equal(later(b, FL_STORE_CREATE, "a", "one"), 0);
	held_commit(1);
	assert_int_equal(submit(b, FL_STORE_UPDATE, b->things, "ns", "a", "two", 0, retry, &o), 0);
	assert_int_equal(later(b, FL_STORE_DELETE, "a", "two"), 0);
	held_fail(-EIO, "broken");
	assert_int_equal(o.calls, 1);
	assert_int_equal(o.rc, 0);
	assert_string_equal(head_of(b, "a"), "ns/a=retried@4");
	held_commit(1);
	assert_string_equal(list_now(b, NULL), "ns/a=retried@4");
}

static char last_event[64];
static struct fl_object *last_prev;

static void on_event(void *arg, struct fl_store_event *e)
{
	AUTO(fl_buf_deinit) struct fl_buf buf = {0};
	show_object(&buf, e->obj);
	snprintf(last_event, sizeof(last_event), "%d %s", e->type, buf.data);
	assert_int_equal(e->rv, e->obj->rv);
	last_prev = e->prev;
}

static void test_engine_chooses_revision(void **state)
{
	struct bed *b = *state;
	struct fl_store_watch_opts wo = {.resource = b->things, .on_event = on_event};
	struct fl_store_watch *w;
	struct fl_err err;
	assert_int_equal(fl_store_watch_open(b->s, &wo, &w, &err), 0);
	held.skip = 1000;
	assert_int_equal(later(b, FL_STORE_CREATE, "a", "one"), 0);
	assert_int_equal(later(b, FL_STORE_UPDATE, "a", "two"), 0);
	held_commit(1);
	assert_string_equal(last_event, "0 ns/a=one@1001");
	assert_string_equal(head_of(b, "a"), "ns/a=two@2");
	held.skip = 1003;
	held_commit(1);
	assert_string_equal(last_event, "1 ns/a=two@1005");
	assert_string_equal(head_of(b, "a"), "ns/a=two@1005");
	AUTO(fl_object_put) struct fl_object *o = fl_store_get(b->s, b->things, "ns", "a");
	assert_int_equal(o->create_rv, 1001);
	assert_int_equal(fl_store_revision(b->s), 1005);
	held.skip = 0;
	assert_int_equal(later(b, FL_STORE_DELETE, "a", "two"), 0);
	held_commit(1);
	assert_string_equal(last_event, "2 ns/a=two@1006");
	assert_string_equal(head_of(b, "a"), "none");
	fl_store_watch_close(&w);
}

static void test_too_big(void **state)
{
	struct bed *b = *state;
	AUTO_FREE char *text = fl_calloc(1, FL_MAX_OBJECT_BYTES + 1);
	memset(text, 'x', FL_MAX_OBJECT_BYTES);
	assert_int_equal(later(b, FL_STORE_CREATE, "a", text), -E2BIG);
	assert_int_equal(later(b, FL_STORE_CREATE, "a", "small"), 0);
	assert_int_equal(later(b, FL_STORE_UPDATE, "a", text), -E2BIG);
	assert_string_equal(head_of(b, "a"), "ns/a=small@1");
}

static bool delete_it(void *arg, struct fl_object *obj)
{
	struct bed *b = arg;
	assert_int_equal(submit(b, FL_STORE_DELETE, obj->resource, obj->ns, obj->name, "x", obj->rv, NULL, NULL), 0);
	return true;
}

// An allocator or a namespace's end walks head and writes from inside the walk.
static void test_submit_from_visit(void **state)
{
	struct bed *b = *state;
	char name[16];
	for (int i = 0; i < 1000; i++) {
		snprintf(name, sizeof(name), "o-%04d", i);
		assert_int_equal(later(b, FL_STORE_CREATE, name, "x"), 0);
	}
	fl_store_list_head(b->s, b->things, NULL, delete_it, b);
	assert_string_equal(all_heads(b), "");
	held_commit(1000);
	assert_int_equal(fl_store_count(b->s, b->things, "ns"), 1000);
	held_commit(1000);
	assert_int_equal(fl_store_count(b->s, b->things, "ns"), 0);
}

static void submit_more(void *arg, int rc, struct fl_object *obj, const struct fl_err *err)
{
	struct outcome *o = arg;
	o->calls++;
	o->rc = later(o->b, FL_STORE_CREATE, "late", "x");
}

static void test_close_commits(void **state)
{
	struct bed *b = *state;
	struct outcome o = {.b = b};
	assert_int_equal(submit(b, FL_STORE_CREATE, b->things, "ns", "a", "x", 0, submit_more, &o), 0);
	bed_close(b);
	assert_int_equal(o.calls, 1);
	assert_int_equal(o.rc, -ESHUTDOWN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_guards, setup, bed_teardown),
	    cmocka_unit_test_setup_teardown(test_head_and_committed, setup, bed_teardown),
	    cmocka_unit_test_setup_teardown(test_failure_falls_back, setup, bed_teardown),
	    cmocka_unit_test_setup_teardown(test_submit_from_failure, setup, bed_teardown),
	    cmocka_unit_test_setup_teardown(test_engine_chooses_revision, setup, bed_teardown),
	    cmocka_unit_test_setup_teardown(test_too_big, setup, bed_teardown),
	    cmocka_unit_test_setup_teardown(test_submit_from_visit, setup, bed_teardown),
	    cmocka_unit_test_setup_teardown(test_close_commits, setup, bed_teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
