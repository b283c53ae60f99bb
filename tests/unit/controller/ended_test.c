// SPDX-License-Identifier: Apache-2.0
#include "objects.h"

#include "controller/node/ended.h"

static void note(struct fl_ended *e, const char *key, const char *meta, const char *status)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	struct fl_podview p = fl_podview_read(yaml(&a, "{metadata: {%s}, status: {%s}}", meta, status));
	fl_ended_note(e, key, &p);
}

static void assert_surplus(const struct fl_ended *e, size_t max, const char *want)
{
	AUTO(fl_buf_deinit) struct fl_buf got = {0};
	fl_ended_keys keys = {0};
	fl_ended_surplus(e, max, &keys);
	for (size_t i = 0; i < keys.n; i++)
		fl_buf_printf(&got, "%s ", keys.v[i]);
	fl_vec_deinit(&keys);
	assert_string_equal(got.data ? got.data : "", want);
}

static void evicted_ones_and_old_ones_go_first(void **state)
{
	struct fl_ended e = {0};
	note(&e, "n/young", "creationTimestamp: '2026-01-02T03:04:05Z'", "phase: Succeeded");
	note(&e, "n/old", "creationTimestamp: '2026-01-02T03:00:00Z'", "phase: Failed");
	note(&e, "n/evicted", "creationTimestamp: '2026-01-02T03:05:00Z'", "phase: Failed, reason: Evicted");
	note(&e, "n/runs", "creationTimestamp: '2026-01-01T03:04:05Z'", "phase: Running");
	note(&e, "n/going", "creationTimestamp: '2026-01-01T03:04:05Z', deletionTimestamp: x", "phase: Failed");
	assert_surplus(&e, 3, "");
	assert_surplus(&e, 2, "n/evicted ");
	assert_surplus(&e, 0, "n/evicted n/old n/young ");
	note(&e, "n/old", "creationTimestamp: '2026-01-02T03:00:00Z', deletionTimestamp: x", "phase: Failed");
	fl_ended_forget(&e, "n/evicted");
	fl_ended_forget(&e, "n/runs");
	assert_surplus(&e, 0, "n/young ");
	fl_ended_deinit(&e);
}

static void so_many_at_once(void **state)
{
	struct fl_ended e = {0};
	fl_ended_keys keys = {0};
	for (int i = 0; i < 200; i++) {
		AUTO_FREE char *key = fl_asprintf("n/p%d", i);
		note(&e, key, "", "phase: Failed");
	}
	fl_ended_surplus(&e, 190, &keys);
	assert_int_equal(keys.n, 10);
	keys.n = 0;
	fl_ended_surplus(&e, 10, &keys);
	assert_int_equal(keys.n, FL_ENDED_BURST);
	fl_vec_deinit(&keys);
	fl_ended_deinit(&e);
	assert_int_equal(FL_ENDED_MAX, 12500);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(evicted_ones_and_old_ones_go_first),
	    cmocka_unit_test(so_many_at_once),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
