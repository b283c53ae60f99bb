// SPDX-License-Identifier: Apache-2.0
// Rolling updates simulated to their end, pods becoming and ceasing to be ready at random: never more pods than
// replicas
// + surge, never fewer available ones than promised by our own doing, and always the end.
#include "objects.h"

#include "controller/deployment/rollout.h"

static void reads_the_strategy(void **state)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	static const struct {
		const char *spec;
		int64_t surge, unavailable;
		bool recreate;
	} cases[] = {
	    {"{replicas: 3, strategy: {rollingUpdate: {maxSurge: '25%', maxUnavailable: '25%'}}}", 1, 0, false},
	    {"{replicas: 10, strategy: {rollingUpdate: {maxSurge: 3, maxUnavailable: 2}}}", 3, 2, false},
	    {"{replicas: 10}", 3, 2, false},
	    {"{replicas: 3, strategy: {rollingUpdate: {maxSurge: 0, maxUnavailable: '10%'}}}", 0, 1, false},
	    {"{replicas: 2, strategy: {rollingUpdate: {maxSurge: 0, maxUnavailable: 5}}}", 0, 2, false},
	    {"{replicas: 4, strategy: {type: Recreate}}", 0, 0, true},
	};
	for (size_t i = 0; i < FL_COUNT(cases); i++) {
		struct fl_rollout r;
		fl_rollout_read(yaml(&a, "{spec: %s}", cases[i].spec), &r);
		assert_int_equal(r.max_surge, cases[i].surge);
		assert_int_equal(r.max_unavailable, cases[i].unavailable);
		assert_int_equal(r.recreate, cases[i].recreate);
	}
}

static void steps_of_three_replicas(void **state)
{
	struct fl_rollout r = {.replicas = 3, .max_surge = 1};
	struct fl_rollout_set s[] = {{.name = "old", .size = 3, .available = 3, .created_ns = 1},
				     {.name = "new", .size = 1, .created_ns = 2, .is_new = true}};
	fl_rollout_step(&r, s, 2);
	assert_int_equal(s[0].want, 3); // its pod is not available yet
	s[1].available = 1;
	fl_rollout_step(&r, s, 2);
	assert_int_equal(s[0].want, 2);
	assert_int_equal(s[1].want, 1);
	s[0].size = 2; // the status is behind: no second step for the same pod
	fl_rollout_step(&r, s, 2);
	assert_int_equal(s[0].want, 2);
	assert_int_equal(s[1].want, 2);
}

static void broken_pods_of_old_sets_go_first(void **state)
{
	struct fl_rollout r = {.replicas = 10, .max_surge = 3, .max_unavailable = 2};
	struct fl_rollout_set s[] = {{.name = "a", .size = 6, .available = 6, .created_ns = 1},
				     {.name = "b", .size = 4, .available = 0, .created_ns = 2},
				     {.name = "c", .size = 3, .created_ns = 3, .is_new = true}};
	fl_rollout_step(&r, s, 3);
	assert_int_equal(s[0].want, 6);
	assert_int_equal(s[1].want, 2); // 13 - 8 - 3 = 2 may go
	assert_int_equal(s[2].want, 3);
}

static void recreate_waits_for_the_last_pod(void **state)
{
	struct fl_rollout r = {.replicas = 3, .recreate = true};
	struct fl_rollout_set s[] = {{.name = "old", .size = 3, .available = 3, .pods_left = true},
				     {.name = "new", .is_new = true}};
	fl_rollout_step(&r, s, 1);
	assert_int_equal(s[0].want, 0);
	assert_false(fl_rollout_may_create(&r, s, 1));
	s[0].size = 0;
	assert_false(fl_rollout_may_create(&r, s, 1));
	fl_rollout_step(&r, s, 2);
	assert_int_equal(s[1].want, 0);
	s[0].pods_left = false;
	assert_true(fl_rollout_may_create(&r, s, 1));
	fl_rollout_step(&r, s, 2);
	assert_int_equal(s[1].want, 3);
}

static void scaling_in_proportion(void **state)
{
	struct fl_rollout r = {.replicas = 15, .max_surge = 3}; // from 10 replicas, mid-rollout: 8 old, 5 new
	struct fl_rollout_set s[] = {
	    {.name = "old", .size = 8, .created_ns = 1, .desired = 10, .max = 13},
	    {.name = "new", .size = 5, .created_ns = 2, .desired = 10, .max = 13, .is_new = true}};
	fl_rollout_scale(&r, s, 2);
	assert_int_equal(s[0].want, 11);
	assert_int_equal(s[1].want, 7);
	r.replicas = 0;
	r.max_surge = 0;
	fl_rollout_scale(&r, s, 2);
	assert_int_equal(s[0].want, 0);
	assert_int_equal(s[1].want, 0);
	struct fl_rollout_set one[] = {{.name = "old", .created_ns = 1},
				       {.name = "older"},
				       {.name = "only", .size = 2, .created_ns = 3, .desired = 2}};
	r.replicas = 7;
	fl_rollout_scale(&r, one, 3);
	assert_int_equal(one[0].want, 0);
	assert_int_equal(one[2].want, 7);
	assert_true(one[2].touch);
	one[2].size = 0; // none is active: the newest
	fl_rollout_scale(&r, one, 3);
	assert_int_equal(one[2].want, 7);
	struct fl_rollout_set full[] = {{.name = "old", .size = 1, .created_ns = 1, .desired = 7},
					{.name = "new", .size = 7, .available = 7, .desired = 7, .is_new = true}};
	fl_rollout_scale(&r, full, 2);
	assert_int_equal(full[0].want, 0);
	assert_int_equal(full[1].want, 7);
}

#define SETS 4

struct sim {
	struct fl_rollout r;
	struct fl_rollout_set s[SETS];
	int64_t pods[SETS], ready[SETS]; // what runs; follows sizes with a delay
	size_t n;
};

static int64_t sum(const int64_t *v, size_t n)
{
	int64_t t = 0;
	for (size_t i = 0; i < n; i++)
		t += v[i];
	return t;
}

// The ReplicaSets' controller and the nodes: a random part of what is due happens. Pods that are not ready go first.
static void live(struct sim *m)
{
	for (size_t i = 0; i < m->n; i++) {
		while (m->pods[i] < m->s[i].size && random() % 2)
			m->pods[i]++;
		while (m->pods[i] > m->s[i].size && random() % 2) {
			if (m->ready[i] == m->pods[i])
				m->ready[i]--;
			m->pods[i]--;
		}
		while (m->ready[i] < m->pods[i] && random() % 2)
			m->ready[i]++;
		if (random() % 2)
			m->s[i].available = m->ready[i]; // the status is at times behind
	}
}

static bool done(const struct sim *m)
{
	for (size_t i = 0; i + 1 < m->n; i++)
		if (m->s[i].size || m->pods[i])
			return false;
	return m->s[m->n - 1].size == m->r.replicas && m->ready[m->n - 1] == m->r.replicas;
}

static void run_one(int64_t replicas, int64_t surge, int64_t unavailable)
{
	struct sim m = {.r = {.replicas = replicas, .max_surge = surge, .max_unavailable = unavailable}, .n = 1};
	m.s[0] = (struct fl_rollout_set){.name = "s0", .size = replicas, .available = replicas};
	m.pods[0] = m.ready[0] = replicas;
	for (size_t i = 1; i < SETS; i++) { // a new template comes before the last one has rolled out
		m.s[m.n - 1].is_new = false;
		m.s[i] = (struct fl_rollout_set){.name = "s", .created_ns = (int64_t)i, .is_new = true};
		m.s[i].size = fl_rollout_new_size(&m.r, m.s, m.n, 0);
		m.n++;
		for (int step = 0; i + 1 < SETS ? step < 6 : !done(&m); step++) {
			assert_true(step < 10000);
			fl_rollout_step(&m.r, m.s, m.n);
			int64_t total = 0;
			for (size_t k = 0; k < m.n; k++) {
				assert_true(m.s[k].want >= 0);
				m.s[k].size = m.s[k].want;
				total += m.s[k].size;
			}
			assert_true(total <= replicas + surge);
			int64_t before = sum(m.ready, m.n);
			live(&m);
			if (sum(m.ready, m.n) < before) // some pods were taken away: by us
				assert_true(sum(m.ready, m.n) >= replicas - unavailable);
		}
	}
}

static void always_ends_within_bounds(void **state)
{
	srandom(3);
	for (int i = 0; i < 400; i++) {
		int64_t replicas = random() % 12 + 1, surge = random() % 5, unavailable = random() % (replicas + 1);
		if (!surge && !unavailable)
			unavailable = 1;
		run_one(replicas, surge, unavailable);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(reads_the_strategy),
	    cmocka_unit_test(steps_of_three_replicas),
	    cmocka_unit_test(broken_pods_of_old_sets_go_first),
	    cmocka_unit_test(recreate_waits_for_the_last_pod),
	    cmocka_unit_test(scaling_in_proportion),
	    cmocka_unit_test(always_ends_within_bounds),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
