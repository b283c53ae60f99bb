// SPDX-License-Identifier: Apache-2.0
// Expiry through the normal path, compaction by age and by number, both with times of the test's own.
#include <errno.h>
#include <stdio.h>

#include "base/clock.h"
#include "support.h"

#define SECOND 1000000000LL

static int events[FL_EVENT_TYPE_COUNT];
static char last[128];

static void on_event(void *arg, struct fl_store_event *e)
{
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	events[e->type]++;
	show_object(&b, e->obj);
	snprintf(last, sizeof(last), "%s", b.data);
}

static void create_expiring(struct bed *b, const char *name, int64_t ttl_ns)
{
	AUTO(fl_buf_deinit) struct fl_buf v = {0};
	struct fl_store_write w = {.verb = FL_STORE_CREATE,
				   .resource = b->things,
				   .ns = "ns",
				   .name = name,
				   .uid = "u-1",
				   .expires_ns = ttl_ns ? b->s->real_ns() + ttl_ns : 0};
	thing(&v, "ns", name, "x", &w.rv_at);
	w.value = v.data;
	w.len = v.len;
	struct fl_err err;
	assert_int_equal(fl_store_submit(b->s, &w, NULL, NULL, &err), 0);
}

static void upkeep_at(struct bed *b, uint64_t mono_ms)
{
	fl_store_upkeep(b->s, mono_ms);
	bed_turn(b);
}

static void test_expiry(void **state)
{
	struct bed *b = *state;
	char name[16];
	struct fl_store_watch *w;
	struct fl_store_watch_opts o = {.resource = b->things, .on_event = on_event};
	struct fl_err err;
	memset(events, 0, sizeof(events));
	bed_turn(b); // the sweep of the opening
	assert_int_equal(fl_store_watch_open(b->s, &o, &w, &err), 0);
	uint64_t t = fl_mono_ms();
	// More than one portion, between others that stay.
	for (int i = 0; i < 3000; i++) {
		snprintf(name, sizeof(name), "o-%04d", i);
		create_expiring(b, name, i % 3 == 0 ? 0 : i % 3 == 1 ? 1000 * SECOND : 7200 * SECOND);
	}
	bed_turn(b);
	upkeep_at(b, t + 999 * 1000);
	assert_int_equal(events[FL_EVENT_DELETED], 0);
	// At most once a minute.
	upkeep_at(b, t + 999 * 1000 + 59 * 1000);
	assert_int_equal(events[FL_EVENT_DELETED], 0);
	upkeep_at(b, t + 3600 * 1000);
	assert_int_equal(events[FL_EVENT_DELETED], 1000);
	assert_int_equal(fl_store_count(b->s, b->things, NULL), 2000);
	assert_string_equal(last, "ns/o-2998=x@4000");
	bed_close(b);
	fl_store_watch_close(&w);
	// Times are kept over a restart.
	bed_open(b);
	upkeep_at(b, t + 7199 * 1000);
	assert_int_equal(fl_store_count(b->s, b->things, NULL), 2000);
	upkeep_at(b, t + 9000 * 1000);
	assert_int_equal(fl_store_count(b->s, b->things, NULL), 1000);
}

// Somebody renews an object in the moment of its expiry: the write under way wins.
static void test_expiry_meets_update(void **state)
{
	struct bed *b = *state;
	bed_turn(b);
	create_expiring(b, "a", SECOND);
	bed_turn(b);
	fl_store_upkeep(b->s, fl_mono_ms() + 600 * 1000);
	assert_int_equal(submit(b, FL_STORE_UPDATE, b->things, "ns", "a", "renewed", 0, NULL, NULL), 0);
	bed_turn(b);
	assert_string_equal(list_now(b, NULL), "ns/a=renewed@2");
}

#define HOUR (3600 * SECOND)
#define YEAR (365 * 24 * HOUR)

static int64_t jumped_ns; // what the wall clock is off by

static int64_t wall_clock(void)
{
	return fl_real_ns() + jumped_ns;
}

static const char *names(struct bed *b)
{
	static char text[256];
	const char *p = list_now(b, NULL);
	text[0] = '\0';
	for (; *p; p += strcspn(p, " "), p += *p == ' ') {
		size_t n = strlen(text);
		snprintf(text + n, sizeof(text) - n, "%s%.*s", n ? " " : "", (int)strcspn(p, "="), p);
	}
	return text;
}

// While the store is open an object lives as long as it was given, wherever the wall clock jumps.
static void test_clock_jumps(void **state)
{
	struct bed *b = *state;
	static const int64_t jumps[] = {10 * YEAR, -10 * YEAR, HOUR, -HOUR, -30 * YEAR};
	bed_close(b);
	b->opts.real_ns = wall_clock;
	for (size_t i = 0; i < FL_COUNT(jumps); i++) {
		jumped_ns = 0;
		bed_open(b);
		uint64_t t = fl_mono_ms();
		if (!i)
			create_expiring(b, "always", 0);
		create_expiring(b, "before", HOUR);
		jumped_ns = jumps[i];
		create_expiring(b, "behind", HOUR);
		bed_turn(b);
		upkeep_at(b, t + 59 * 60 * 1000);
		assert_string_equal(names(b), "ns/always ns/before ns/behind");
		upkeep_at(b, t + 62 * 60 * 1000);
		assert_string_equal(names(b), "ns/always");
		bed_close(b);
	}
	jumped_ns = 0;
	bed_open(b);
	b->opts.real_ns = NULL;
}

static void test_clock_jumps_while_closed(void **state)
{
	struct bed *b = *state;
	bed_close(b);
	b->opts.real_ns = wall_clock;
	jumped_ns = 0;
	bed_open(b);
	create_expiring(b, "always", 0);
	create_expiring(b, "event", HOUR);
	bed_turn(b);
	bed_close(b);

	jumped_ns = -10 * YEAR; // a host without a clock of its own starts in the past
	bed_open(b);
	uint64_t t = fl_mono_ms();
	assert_int_equal(fl_store_revision(b->s), 2); // revisions do not go by any clock
	upkeep_at(b, t + 61 * 60 * 1000);
	assert_string_equal(names(b), "ns/always ns/event");
	upkeep_at(b, t + FL_STORE_MAX_TTL_NS / 1000000 + 61 * 1000); // and does not keep it for ten years
	assert_string_equal(names(b), "ns/always");
	create_expiring(b, "event", HOUR);
	create_expiring(b, "short", HOUR / 2);
	bed_turn(b);
	bed_close(b);

	jumped_ns = 10 * YEAR;
	bed_open(b); // sweeps at once
	t = fl_mono_ms();
	bed_turn(b);
	assert_string_equal(names(b), "ns/always ns/event ns/short");
	upkeep_at(b, t + 31 * 60 * 1000);
	assert_string_equal(names(b), "ns/always ns/event");
	create_expiring(b, "after", HOUR);
	bed_turn(b);
	upkeep_at(b, t + 59 * 60 * 1000);
	assert_string_equal(names(b), "ns/after ns/always ns/event");
	upkeep_at(b, t + 62 * 60 * 1000);
	assert_string_equal(names(b), "ns/always");
	assert_int_equal(fl_store_revision(b->s), 9);
	b->opts.real_ns = NULL;
	jumped_ns = 0;
}

// Hours of Events that come and expire: neither memory nor file grows with the hours.
static void test_expiring_objects_are_bounded(void **state)
{
	struct bed *b = *state;
	struct fl_store_stats st;
	uint64_t t = fl_mono_ms(), early = 0;
	char name[24];
	for (int hour = 0; hour < 12; hour++) {
		for (int i = 0; i < 1000; i++) {
			snprintf(name, sizeof(name), "e-%d-%d", hour, i);
			create_expiring(b, name, HOUR / 3600); // a second: the hours are only in our clock
		}
		bed_turn(b);
		t += 3600 * 1000;
		upkeep_at(b, t);         // they are past
		upkeep_at(b, t + 60000); // what was said of an hour ago is compacted
		assert_int_equal(fl_store_count(b->s, b->things, NULL), 0);
		bed_close(b); // copies the log into the file
		bed_open(b);
		fl_store_get_stats(b->s, &st);
		if (hour == 2)
			early = st.file_bytes;
	}
	assert_int_equal(st.objects, 0);
	assert_true(st.log_rows < 3 * 2000);
	assert_true(st.file_bytes <= 2 * early);
}

static void wait_compacted(struct bed *b)
{
	// A write that is acknowledged after the last step was taken up; steps follow writes one by one.
	struct fl_store_stats st;
	for (int i = 0; i < 2000; i++) {
		write_wait(b, FL_STORE_UPDATE, "ns", "tick", "x");
		fl_store_get_stats(b->s, &st);
		if (st.log_rows - st.objects <= fl_store_revision(b->s) - fl_store_compacted(b->s))
			return;
	}
	fail_msg("%d rows for %d objects, compacted up to %d of %d", (int)st.log_rows, (int)st.objects,
		 (int)fl_store_compacted(b->s), (int)fl_store_revision(b->s));
}

static void churn(struct bed *b, int n)
{
	char name[16];
	for (int i = 0; i < n; i++) {
		snprintf(name, sizeof(name), "o-%d", i % 10);
		AUTO(fl_object_put) struct fl_object *o = fl_store_head(b->s, b->things, "ns", name);
		enum fl_store_verb verb = !o ? FL_STORE_CREATE : i % 7 ? FL_STORE_UPDATE : FL_STORE_DELETE;
		assert_int_equal(submit(b, verb, b->things, "ns", name, "x", 0, NULL, NULL), 0);
		if (i % 32 == 31)
			uv_run(&b->loop, UV_RUN_NOWAIT);
	}
	bed_turn(b);
}

static void test_compaction_by_number(void **state)
{
	struct bed *b = *state;
	bed_close(b);
	b->opts.log_events = 1000;
	bed_open(b);
	write_wait(b, FL_STORE_CREATE, "ns", "tick", "x");
	churn(b, 10000);
	assert_in_range(fl_store_revision(b->s) - fl_store_compacted(b->s), 800, 1000);
	wait_compacted(b);
	AUTO_FREE char *before = fl_strdup(list_now(b, NULL));
	// Exactly at the bound the log still answers, and says what memory said.
	uint64_t rv = fl_store_compacted(b->s);
	struct shown from_memory = {0}, from_log = {0};
	struct fl_err err;
	assert_int_equal(fl_store_list_at(b->s, rv, b->things, NULL, NULL, NULL, show, &from_memory, &err), 0);
	bed_close(b);
	bed_open(b);
	assert_string_equal(list_now(b, NULL), before);
	assert_int_equal(fl_store_list_at(b->s, rv, b->things, NULL, NULL, NULL, show, &from_log, &err), 0);
	assert_string_equal(from_log.b.data, from_memory.b.data);
	fl_buf_deinit(&from_log.b);
	fl_buf_deinit(&from_memory.b);
	assert_int_equal(fl_store_list_at(b->s, rv - 200, b->things, NULL, NULL, NULL, show, &from_log, &err), -ESTALE);
}

static void test_compaction_by_age(void **state)
{
	struct bed *b = *state;
	uint64_t t = uv_now(&b->loop) + 3600 * 1000;
	churn(b, 100);
	fl_store_upkeep(b->s, t);
	churn(b, 100);
	fl_store_upkeep(b->s, t + 299 * 1000);
	assert_int_equal(fl_store_compacted(b->s), 0);
	fl_store_upkeep(b->s, t + 300 * 1000);
	assert_int_equal(fl_store_compacted(b->s), 100);
	// Everything is old: the newest revision stays.
	fl_store_upkeep(b->s, t + 900 * 1000);
	fl_store_upkeep(b->s, t + 1800 * 1000);
	assert_int_equal(fl_store_compacted(b->s), 199);
}

// As the timer calls it, over a history that is much longer than the time between two calls.
static void test_compaction_by_age_of_a_long_history(void **state)
{
	struct bed *b = *state;
	enum { CALLS = 2 * 3600 / 15, KEEP_S = 3600, SLACK_S = 200 };
	bed_close(b);
	b->opts.log_keep_ms = KEEP_S * 1000;
	bed_open(b);
	uint64_t begun = fl_mono_ms(), written[CALLS + 1];
	for (int i = 0; i <= CALLS; i++) {
		written[i] = (uint64_t)write_wait(b, i ? FL_STORE_UPDATE : FL_STORE_CREATE, "ns", "a", "x");
		fl_store_upkeep(b->s, begun + (uint64_t)i * 15000);
		if (i * 15 < KEEP_S)
			assert_int_equal(fl_store_compacted(b->s), 0);
	}
	assert_in_range(fl_store_compacted(b->s), written[CALLS - (KEEP_S + SLACK_S) / 15],
			written[CALLS - KEEP_S / 15]);
}

// Revisions never start again, even when everything was deleted and compacted.
static void test_revision_survives_emptiness(void **state)
{
	struct bed *b = *state;
	bed_close(b);
	b->opts.log_events = 10;
	bed_open(b);
	for (int i = 0; i < 50; i++) {
		assert_int_equal(write_wait(b, FL_STORE_CREATE, "ns", "a", "x"), 2 * i + 1);
		assert_int_equal(write_wait(b, FL_STORE_DELETE, "ns", "a", "x"), 2 * i + 2);
	}
	for (int i = 0; i < 3; i++) {
		bed_close(b);
		bed_open(b);
		assert_int_equal(fl_store_revision(b->s), 100);
		assert_string_equal(list_now(b, NULL), "");
		fl_store_upkeep(b->s, uv_now(&b->loop) + 3600 * 1000);
		fl_store_upkeep(b->s, uv_now(&b->loop) + 7200 * 1000);
		assert_int_equal(fl_store_compacted(b->s), 99);
	}
}

static void on_any(void *arg, struct fl_store_event *e)
{
	(*(size_t *)arg)++;
}

// A watcher that still reads the log keeps what it has not read.
static void test_compaction_waits_for_readers(void **state)
{
	struct bed *b = *state;
	size_t seen = 0;
	churn(b, 5000);
	bed_close(b);
	bed_open(b); // all of it only in the log
	struct fl_store_watch_opts o = {.resource = b->things, .on_event = on_any, .arg = &seen};
	struct fl_store_watch *w;
	struct fl_err err;
	assert_int_equal(fl_store_watch_open(b->s, &o, &w, &err), 0);
	uint64_t t = uv_now(&b->loop) + 3600 * 1000;
	fl_store_upkeep(b->s, t);
	fl_store_upkeep(b->s, t + 600 * 1000);
	assert_int_equal(fl_store_compacted(b->s), 0);
	bed_turn(b);
	assert_int_equal(seen, 5000);
	fl_store_upkeep(b->s, t + 1200 * 1000);
	assert_int_equal(fl_store_compacted(b->s), 4999);
	fl_store_watch_close(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_expiry, bed_setup, bed_teardown),
	    cmocka_unit_test_setup_teardown(test_expiry_meets_update, bed_setup, bed_teardown),
	    cmocka_unit_test_setup_teardown(test_clock_jumps, bed_setup, bed_teardown),
	    cmocka_unit_test_setup_teardown(test_clock_jumps_while_closed, bed_setup, bed_teardown),
	    cmocka_unit_test_setup_teardown(test_expiring_objects_are_bounded, bed_setup, bed_teardown),
	    cmocka_unit_test_setup_teardown(test_compaction_by_number, bed_setup, bed_teardown),
	    cmocka_unit_test_setup_teardown(test_compaction_by_age, bed_setup, bed_teardown),
	    cmocka_unit_test_setup_teardown(test_compaction_by_age_of_a_long_history, bed_setup, bed_teardown),
	    cmocka_unit_test_setup_teardown(test_revision_survives_emptiness, bed_setup, bed_teardown),
	    cmocka_unit_test_setup_teardown(test_compaction_waits_for_readers, bed_setup, bed_teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
