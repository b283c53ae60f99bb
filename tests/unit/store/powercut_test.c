// SPDX-License-Identifier: Apache-2.0
// The power goes at every kind of moment: no acknowledged write is missing afterwards, and what is there is a prefix of
// what was submitted, be it longer than what was acknowledged. A disk that lies about its syncs is caught, so this test
// can fail.
#include <errno.h>
#include <stdio.h>

#include "../rounds.h"
#include "base/log.h"
#include "powercut_vfs.h"
#include "support.h"

#define KEYS    30
#define WRITERS 12
#define ROUNDS  120 // a kind of loss

// Every write ever submitted, by revision; `acked`: the newest acknowledged one.
struct written {
	enum fl_store_verb verb;
	unsigned key;
	unsigned text;
};

static struct {
	struct bed b;
	FL_VEC(struct written) log; // log.v[rv - 1]
	uint64_t acked;
	unsigned seed, texts;
	bool stopped;
	size_t failed;
} t;

static void next_write(void);

static void on_written(void *arg, int rc, struct fl_object *obj, const struct fl_err *err)
{
	if (rc == 0) {
		assert_false(t.stopped); // nothing succeeds after a failure: there is no power
		assert_int_equal(obj->rv, t.acked + 1);
		t.acked = obj->rv;
		next_write();
	} else {
		assert_int_equal(rc, -EIO);
		t.stopped = true;
		t.failed++;
	}
}

static void next_write(void)
{
	struct bed *b = &t.b;
	char name[16], text[600];
	struct written w = {.key = (unsigned)rand_r(&t.seed) % KEYS, .text = ++t.texts};
	snprintf(name, sizeof(name), "o-%02u", w.key);
	// Some fit several to a page, some take more than one.
	int n = snprintf(text, sizeof(text), "v%u-", w.text);
	size_t pad = (unsigned)rand_r(&t.seed) % (sizeof(text) - 64);
	memset(text + n, 'x', pad);
	text[n + (int)pad] = '\0';
	AUTO(fl_object_put) struct fl_object *head = fl_store_head(b->s, b->things, "ns", name);
	w.verb = !head ? FL_STORE_CREATE : rand_r(&t.seed) % 4 ? FL_STORE_UPDATE : FL_STORE_DELETE;
	fl_vec_push(&t.log, w);
	assert_int_equal(submit(b, w.verb, b->things, "ns", name, text, 0, on_written, NULL), 0);
}

// What the first `rv` writes add up to.
static char *model_at(uint64_t rv)
{
	uint64_t newest[KEYS] = {0};
	for (uint64_t i = 1; i <= rv; i++)
		newest[t.log.v[i - 1].key] = i;
	struct fl_buf b = {0};
	fl_buf_puts(&b, "");
	for (unsigned k = 0; k < KEYS; k++)
		if (newest[k] && t.log.v[newest[k] - 1].verb != FL_STORE_DELETE)
			fl_buf_printf(&b, " ns/o-%02u=v%u@%d", k, t.log.v[newest[k] - 1].text, (int)newest[k]);
	return fl_buf_take(&b);
}

static bool show_short(void *arg, struct fl_object *obj)
{
	unsigned text;
	const char *p = strstr(obj->json, "\"text\":\"v");
	assert_non_null(p);
	assert_int_equal(sscanf(p, "\"text\":\"v%u-", &text), 1);
	fl_buf_printf(arg, " %s/%s=v%u@%d", obj->ns, obj->name, text, (int)obj->rv);
	return true;
}

static char *list_short(uint64_t rv)
{
	struct bed *b = &t.b;
	struct fl_buf out = {0};
	struct fl_err err;
	fl_buf_puts(&out, "");
	assert_int_equal(fl_store_list_at(b->s, rv, b->things, NULL, NULL, NULL, show_short, &out, &err), 0);
	return fl_buf_take(&out);
}

// Writes until the power goes as planned, maybe while opening or closing.
static void write_until_dark(void)
{
	struct bed *b = &t.b;
	struct fl_err err = {0};
	t.stopped = false;
	if (fl_store_open(&b->loop, &b->opts, &b->s, &err) < 0) {
		assert_true(powercut_is_off());
		return;
	}
	for (int i = 0; i < WRITERS; i++)
		next_write();
	while (!t.stopped)
		uv_run(&b->loop, UV_RUN_ONCE);
	assert_true(powercut_is_off());
	bed_close(b);
}

// After the power is back. false: acknowledged writes are missing.
static bool nothing_lost(void)
{
	struct bed *b = &t.b;
	struct fl_err err = {0};
	if (fl_store_open(&b->loop, &b->opts, &b->s, &err) < 0)
		return false;
	uint64_t rv = fl_store_revision(b->s);
	bool ok = rv >= t.acked;
	if (ok) {
		assert_true(rv <= t.log.n);
		AUTO_FREE char *want = model_at(rv), *got = list_short(rv);
		assert_string_equal(got, want);
		// The history that is kept is there as well.
		uint64_t middle = fl_store_compacted(b->s) + (rv - fl_store_compacted(b->s)) / 2;
		AUTO_FREE char *want_then = model_at(middle), *got_then = list_short(middle);
		assert_string_equal(got_then, want_then);
		t.log.n = rv;
		t.acked = rv;
	}
	bed_close(b);
	return ok;
}

static void setup_round_robin(unsigned seed)
{
	memset(&t, 0, sizeof(t));
	t.seed = seed;
	bed_init(&t.b);
	t.b.opts.sqlite_vfs = POWERCUT_VFS;
	t.b.opts.log_events = 500; // compaction takes part
	t.b.opts.event_window = 16;
	powercut_reset(seed);
}

static void finish(void)
{
	bed_deinit(&t.b);
	fl_vec_deinit(&t.log);
	powercut_reset(0);
}

static void power_cuts(enum powercut_loss loss, unsigned seed)
{
	uint64_t lost_sectors = 0, acked_in_all = 0, unacked_kept = 0;
	const int rounds = test_rounds(ROUNDS);
	setup_round_robin(test_seed(0) + seed);
	for (int round = 0; round < rounds; round++) {
		uint64_t before = t.acked;
		// Short ones hit the creation and opening, long ones checkpoints and compaction.
		long operations = 1 + (long)((unsigned)rand_r(&t.seed) % (round % 3 ? 2000 : 60));
		if (round % 4 == 1)
			powercut_cut_in_sync(operations);
		else
			powercut_cut_after(operations);
		write_until_dark();
		acked_in_all += t.acked - before;
		uint64_t acked = t.acked;
		powercut_restore(loss);
		lost_sectors += powercut_lost_sectors();
		if (!nothing_lost())
			fail_msg("round %d: acknowledged writes are missing", round);
		unacked_kept += t.acked - acked;
		// The check's own opening and closing synced what it changed.
		powercut_restore(POWERCUT_DROP_ALL);
	}
	finish();
	// The rounds were what they claim to be.
	assert_true(acked_in_all > 10 * (uint64_t)rounds);
	assert_true(lost_sectors > (uint64_t)rounds);
	if (rounds >= 10) // a commit that nobody was told of
		assert_true(unacked_kept > 0);
	print_message(
	    "%d power cuts: %d acknowledged writes, %d unsynced sectors lost, %d unacknowledged writes kept\n", rounds,
	    (int)acked_in_all, (int)lost_sectors, (int)unacked_kept);
}

static void test_all_unsynced_is_lost(void **state)
{
	power_cuts(POWERCUT_DROP_ALL, 1);
}

static void test_some_arrives(void **state)
{
	power_cuts(POWERCUT_RANDOM, 2);
}

static void test_torn_sectors(void **state)
{
	power_cuts(POWERCUT_TORN, 3);
}

// The same with a disk that lies: loss must show, in whatever way.
static void test_a_lie_is_caught(void **state)
{
	for (unsigned seed = 1; seed < 5; seed++) {
		setup_round_robin(seed);
		bed_open(&t.b); // an honest creation
		bed_close(&t.b);
		powercut_lie(true);
		powercut_cut_after(300);
		write_until_dark();
		assert_true(t.acked > 0);
		powercut_restore(POWERCUT_DROP_ALL);
		assert_false(nothing_lost());
		bed_close(&t.b);
		finish();
	}
}

// The same with the setting that many take for enough: commits go to the log without a sync, so the last ones are lost.
static void test_synchronous_normal_is_caught(void **state)
{
	for (unsigned seed = 1; seed < 5; seed++) {
		setup_round_robin(seed);
		powercut_weaken(true);
		powercut_cut_after(300);
		write_until_dark();
		assert_true(t.acked > 0);
		powercut_restore(POWERCUT_DROP_ALL);
		assert_false(nothing_lost());
		bed_close(&t.b);
		finish();
	}
}

int main(void)
{
	fl_log_init("powercut_test", FL_LOG_ERROR); // warnings about a disk without power are its subject
	powercut_register();
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_all_unsynced_is_lost),
	    cmocka_unit_test(test_some_arrives),
	    cmocka_unit_test(test_torn_sectors),
	    cmocka_unit_test(test_a_lie_is_caught),
	    cmocka_unit_test(test_synchronous_normal_is_caught),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
