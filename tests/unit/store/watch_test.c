// SPDX-License-Identifier: Apache-2.0
// Watches: live and from the past, each event exactly once and in order, whenever they are opened and closed.
#include <errno.h>
#include <stdio.h>

#include "base/bytes.h"
#include "support.h"

struct seen {
	struct bed *b;
	struct fl_store_watch *w;
	struct fl_buf log; // "A ns/a=one@1 M ..."
	uint64_t last, from;
	size_t n, close_at;
	int ended;
};

static void on_event(void *arg, struct fl_store_event *e)
{
	struct seen *s = arg;
	assert_true(e->rv > s->last);
	assert_int_equal(e->rv, e->obj->rv);
	assert_true((e->type == FL_EVENT_ADDED) == !e->prev);
	s->last = e->rv;
	s->n++;
	fl_buf_printf(&s->log, "%s%c ", s->log.len ? " " : "", "AMD"[e->type]);
	AUTO(fl_buf_deinit) struct fl_buf one = {0};
	show_object(&one, e->obj);
	fl_buf_puts(&s->log, one.data);
	if (s->n == s->close_at)
		fl_store_watch_close(&s->w);
}

static void on_end(void *arg, int rc)
{
	struct seen *s = arg;
	s->ended = rc;
}

static int open_watch(struct seen *s, struct bed *b, const char *ns, uint64_t from)
{
	struct fl_store_watch_opts o = {
	    .resource = b->things, .ns = ns, .from_rv = from, .on_event = on_event, .on_end = on_end, .arg = s};
	struct fl_err err = {0};
	s->b = b;
	s->from = s->last = from;
	return fl_store_watch_open(b->s, &o, &s->w, &err);
}

static void done(struct seen *s)
{
	fl_store_watch_close(&s->w);
	fl_buf_deinit(&s->log);
}

static void test_live(void **state)
{
	struct bed *b = *state;
	struct seen all = {0}, one = {0};
	assert_int_equal(open_watch(&all, b, NULL, 0), 0);
	assert_int_equal(open_watch(&one, b, "ns", 0), 0);
	write_wait(b, FL_STORE_CREATE, "ns", "a", "one");
	write_wait(b, FL_STORE_CREATE, "other", "a", "one");
	write_wait(b, FL_STORE_UPDATE, "ns", "a", "two");
	assert_int_equal(submit(b, FL_STORE_CREATE, b->others, "ns", "a", "x", 0, NULL, NULL), 0);
	write_wait(b, FL_STORE_DELETE, "ns", "a", "two");
	write_wait(b, FL_STORE_CREATE, "ns", "a", "three");
	assert_string_equal(all.log.data, "A ns/a=one@1 A other/a=one@2 M ns/a=two@3 D ns/a=two@5 A ns/a=three@6");
	assert_string_equal(one.log.data, "A ns/a=one@1 M ns/a=two@3 D ns/a=two@5 A ns/a=three@6");
	struct fl_store_stats st;
	fl_store_get_stats(b->s, &st);
	assert_int_equal(st.watchers, 2);
	done(&all);
	done(&one);
	fl_store_get_stats(b->s, &st);
	assert_int_equal(st.watchers, 0);
	write_wait(b, FL_STORE_DELETE, "ns", "a", "three");
}

static void test_refusals(void **state)
{
	struct bed *b = *state;
	struct seen s = {0};
	assert_int_equal(open_watch(&s, b, NULL, 1), -EINVAL);
	for (int i = 0; i < 30; i++)
		write_wait(b, i ? FL_STORE_UPDATE : FL_STORE_CREATE, "ns", "a", "x");
	bed_close(b);
	b->opts.log_events = 10;
	bed_open(b);
	write_wait(b, FL_STORE_UPDATE, "ns", "a", "x");
	assert_in_range(fl_store_compacted(b->s), 20, 30);
	assert_int_equal(open_watch(&s, b, NULL, fl_store_compacted(b->s) - 1), -ESTALE);
	assert_int_equal(open_watch(&s, b, NULL, 32), -EINVAL);
	assert_int_equal(open_watch(&s, b, NULL, fl_store_compacted(b->s)), 0);
	bed_turn(b);
	assert_int_equal(s.n, 31 - fl_store_compacted(b->s));
	done(&s);
}

// Past events come in a later turn, newer ones wait for them; a watch may be closed before it got anything.
static void test_past_then_live(void **state)
{
	struct bed *b = *state;
	struct seen s = {0}, never = {0};
	write_wait(b, FL_STORE_CREATE, "ns", "a", "one");
	write_wait(b, FL_STORE_UPDATE, "ns", "a", "two");
	assert_int_equal(open_watch(&s, b, NULL, 1), 0);
	assert_int_equal(open_watch(&never, b, NULL, 1), 0);
	assert_int_equal(s.n, 0);
	fl_store_watch_close(&never.w);
	write_wait(b, FL_STORE_UPDATE, "ns", "a", "three");
	bed_turn(b);
	assert_string_equal(s.log.data, "M ns/a=two@2 M ns/a=three@3");
	assert_int_equal(never.n, 0);
	done(&s);
}

static void test_close_inside(void **state)
{
	struct bed *b = *state;
	struct seen live = {.close_at = 2}, past = {.close_at = 1}, log = {.close_at = 3}, bystander = {0};
	for (int i = 0; i < 40; i++)
		write_wait(b, i ? FL_STORE_UPDATE : FL_STORE_CREATE, "ns", "a", "x");
	bed_close(b); // what is there now is only in the log
	bed_open(b);
	write_wait(b, FL_STORE_UPDATE, "ns", "a", "x");
	assert_int_equal(open_watch(&past, b, NULL, 40), 0);
	assert_int_equal(open_watch(&log, b, NULL, 0), 0);
	assert_int_equal(open_watch(&live, b, NULL, 41), 0);
	assert_int_equal(open_watch(&bystander, b, NULL, 0), 0);
	for (int i = 0; i < 5; i++)
		write_wait(b, FL_STORE_UPDATE, "ns", "a", "x");
	bed_turn(b);
	assert_int_equal(past.n, 1);
	assert_int_equal(log.n, 3);
	assert_int_equal(log.last, 3);
	assert_int_equal(live.n, 2);
	assert_int_equal(bystander.n, 46);
	done(&past);
	done(&log);
	done(&live);
	done(&bystander);
}

static struct fl_bytes *shared;

static void share(void *arg, struct fl_store_event *e)
{
	if (!e->frame[0])
		e->frame[0] = fl_bytes_new("x", 1);
	if (!shared)
		shared = fl_bytes_get(e->frame[0]);
	assert_ptr_equal(e->frame[0], shared);
	(*(int *)arg)++;
}

static void test_frames_are_shared(void **state)
{
	struct bed *b = *state;
	struct fl_store_watch *w[3];
	struct fl_err err;
	int calls = 0;
	for (size_t i = 0; i < FL_COUNT(w); i++) {
		struct fl_store_watch_opts o = {.resource = b->things, .on_event = share, .arg = &calls};
		assert_int_equal(fl_store_watch_open(b->s, &o, &w[i], &err), 0);
	}
	write_wait(b, FL_STORE_CREATE, "ns", "a", "x");
	assert_int_equal(calls, 3);
	assert_int_equal(atomic_load(&shared->refs), 1); // the store has dropped its own
	fl_bytes_put(&shared);
	for (size_t i = 0; i < FL_COUNT(w); i++)
		fl_store_watch_close(&w[i]);
}

static void test_end(void **state)
{
	struct bed *b = *state;
	struct seen live = {0}, past = {0};
	write_wait(b, FL_STORE_CREATE, "ns", "a", "x");
	assert_int_equal(open_watch(&live, b, NULL, 1), 0);
	assert_int_equal(open_watch(&past, b, NULL, 0), 0);
	assert_int_equal(submit(b, FL_STORE_UPDATE, b->things, "ns", "a", "y", 0, NULL, NULL), 0);
	bed_close(b);
	assert_string_equal(live.log.data, "M ns/a=y@2"); // close commits and tells
	assert_int_equal(live.ended, -ESHUTDOWN);
	assert_int_equal(past.ended, -ESHUTDOWN);
	done(&live);
	done(&past);
}

// ---- many writers, watchers that come and go at any time

#define KEYS     24
#define WRITES   20000
#define WRITERS  20
#define WATCHERS 60

static struct {
	struct bed *b;
	unsigned seed;
	int submitted, acknowledged;
	char kind[WRITES + 2]; // of each revision
	struct seen watchers[WATCHERS];
} storm;

static void next_write(void);

static void on_written(void *arg, int rc, struct fl_object *obj, const struct fl_err *err)
{
	assert_int_equal(rc, 0);
	storm.acknowledged++;
	assert_int_equal(obj->rv, storm.acknowledged); // acknowledged in revision order
	assert_int_equal(fl_store_revision(storm.b->s), obj->rv);
	next_write();
	// Now and then a watcher leaves and another comes, from anywhere in the past.
	if (rand_r(&storm.seed) % 50 == 0) {
		struct seen *s = &storm.watchers[(unsigned)rand_r(&storm.seed) % WATCHERS];
		if (!s->w && !s->n) {
			uint64_t compacted = fl_store_compacted(storm.b->s);
			uint64_t from = compacted + (uint64_t)rand_r(&storm.seed) % (obj->rv - compacted + 1);
			assert_int_equal(open_watch(s, storm.b, NULL, from), 0);
		}
	}
}

static void next_write(void)
{
	struct bed *b = storm.b;
	if (storm.submitted == WRITES)
		return;
	char name[16];
	snprintf(name, sizeof(name), "o-%02u", (unsigned)rand_r(&storm.seed) % KEYS);
	AUTO(fl_object_put) struct fl_object *head = fl_store_head(b->s, b->things, "ns", name);
	enum fl_store_verb verb = !head ? FL_STORE_CREATE : rand_r(&storm.seed) % 4 ? FL_STORE_UPDATE : FL_STORE_DELETE;
	storm.kind[++storm.submitted] = "AMD"[verb];
	assert_int_equal(submit(b, verb, b->things, "ns", name, "x", head ? head->rv : 0, on_written, NULL), 0);
}

static void test_storm(void **state)
{
	struct bed *b = *state;
	bed_close(b);
	b->opts.event_window = 64; // most of the past is in the log
	b->opts.log_events = 3000; // and compaction runs beside
	bed_open(b);
	memset(&storm, 0, sizeof(storm));
	storm.b = b;
	storm.seed = 11;
	for (int i = 0; i < WRITERS; i++)
		next_write();
	bed_turn(b);
	assert_int_equal(storm.acknowledged, WRITES);
	size_t watched = 0;
	for (int i = 0; i < WATCHERS; i++) {
		struct seen *s = &storm.watchers[i];
		if (!s->w)
			continue;
		watched++;
		assert_int_equal(s->ended, 0);
		assert_int_equal(s->last, WRITES);
		assert_int_equal(s->n, WRITES - s->from); // ascending and so many: each exactly once
		const char *p = s->log.data;
		for (uint64_t rv = s->from + 1; p && rv <= WRITES; rv++) {
			assert_int_equal(*p, storm.kind[rv]);
			p = strchr(p + 2, ' ');
			p = p ? p + 1 : NULL;
		}
		done(s);
	}
	assert_true(watched > WATCHERS / 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_live, bed_setup, bed_teardown),
	    cmocka_unit_test_setup_teardown(test_refusals, bed_setup, bed_teardown),
	    cmocka_unit_test_setup_teardown(test_past_then_live, bed_setup, bed_teardown),
	    cmocka_unit_test_setup_teardown(test_close_inside, bed_setup, bed_teardown),
	    cmocka_unit_test_setup_teardown(test_frames_are_shared, bed_setup, bed_teardown),
	    cmocka_unit_test_setup_teardown(test_end, bed_setup, bed_teardown),
	    cmocka_unit_test_setup_teardown(test_storm, bed_setup, bed_teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
