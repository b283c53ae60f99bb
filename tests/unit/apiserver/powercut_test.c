// SPDX-License-Identifier: Apache-2.0
// The whole API server on a disk that forgets what was not synced: clients write Services and ConfigMaps over HTTPS,
// the power goes at a random operation of the disk, and the next start shows every acknowledged state, or the one that
// was under way. No address is given twice, and none is lost.
#include <errno.h>
#include <stdio.h>

#include "../rounds.h"
#include "../store/powercut_vfs.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/str.h"
#include "support.h"

#define ROUNDS  30 // a kind of loss
#define CLIENTS 12

// One client's object. Counter 0: there is none.
struct slot {
	char path[128];
	bool service;
	unsigned acked, sent, last;
	struct answer *a; // of the write under way
};

static struct {
	struct slot slots[CLIENTS];
	unsigned seed;
	size_t acked, doubtful;
} t;

static void start_write(struct api *f, struct slot *s)
{
	static const char *const kinds[] = {"configmaps", "services"};
	char collection[64];
	snprintf(collection, sizeof(collection), "/api/v1/namespaces/default/%s", kinds[s->service]);
	const char *name = s->path + strlen(collection) + 1;
	s->sent = ++s->last;
	if (!s->acked) {
		s->a = start_with(f, "POST", collection, "{\"metadata\":{\"name\":\"%s\",\"labels\":{\"n\":\"%u\"}}%s}",
				  name, s->sent,
				  s->service ? ",\"spec\":{\"type\":\"NodePort\",\"ports\":[{\"port\":80}]}" : "");
	} else if (rand_r(&t.seed) % 4 == 0) {
		s->sent = 0;
		s->a = start_with(f, "DELETE", s->path, "{}");
	} else {
		AUTO_FREE char *body = fl_asprintf("{\"metadata\":{\"labels\":{\"n\":\"%u\"}}}", s->sent);
		s->a =
		    api_send(f, f->admin, "PATCH", s->path, "application/merge-patch+json", NULL, body, strlen(body));
	}
}

// The state that a start shows must be one of these two.
static void check_slot(struct api *f, struct slot *s)
{
	struct answer *a = ask(f, "GET", s->path);
	unsigned have = 0;
	if (a->status != 404)
		have = (unsigned)atoi(at(expect(f, 200, a), "metadata.labels.n"));
	if (have != s->acked && have != s->sent)
		fail_msg("%s has counter %u; acknowledged was %u, %u was under way", s->path, have, s->acked, s->sent);
	t.doubtful += have != s->acked;
	s->acked = s->sent = have;
}

static void note_unique(struct fl_map *seen, const char *value, const char *what)
{
	if (!*value)
		return;
	if (fl_map_get(seen, value))
		fail_msg("%s %s was given twice", what, value);
	fl_map_set(seen, value, seen);
}

static void check_addresses(struct api *f)
{
	AUTO(fl_map_deinit) struct fl_map ips = {0}, ports = {0};
	struct answer *a = expect(f, 200, ask(f, "GET", "/api/v1/services"));
	for (size_t i = 0; i < 2 * CLIENTS; i++) {
		char ip[64], port[64];
		snprintf(ip, sizeof(ip), "items[%zu].spec.clusterIP", i);
		snprintf(port, sizeof(port), "items[%zu].spec.ports[0].nodePort", i);
		note_unique(&ips, at(a, ip), "address");
		note_unique(&ports, at(a, port), "node port");
	}
}

static void write_until_dark(struct api *f, bool in_sync)
{
	// Short ones hit the first writes after a start, long ones checkpoints.
	long operations = 1 + (long)((unsigned)rand_r(&t.seed) % (rand_r(&t.seed) % 3 ? 600 : 30));
	if (in_sync) // some are of clients' writes, some of the store's upkeep
		powercut_cut_in_sync(operations);
	else
		powercut_cut_after(operations);
	for (unsigned i = 0; i < CLIENTS; i++)
		start_write(f, &t.slots[i]);
	for (unsigned ended = 0; ended < CLIENTS;) {
		uv_run(&f->loop, UV_RUN_ONCE);
		for (unsigned i = 0; i < CLIENTS; i++) {
			struct slot *s = &t.slots[i];
			if (!s->a || !s->a->done)
				continue;
			assert_int_equal(s->a->rc, 0);
			if (s->a->status == 200 || s->a->status == 201) {
				s->acked = s->sent;
				t.acked++;
				start_write(f, s);
				continue;
			}
			if (s->a->status != 500)
				fail_msg("%s: %d %s", s->path, s->a->status, s->a->body.data);
			assert_true(powercut_is_off());
			s->a = NULL;
			ended++;
		}
	}
}

static void power_cuts(enum powercut_loss loss, unsigned seed)
{
	const int rounds = test_rounds(ROUNDS);
	struct api f;
	memset(&t, 0, sizeof(t));
	t.seed = test_seed(0) + seed;
	powercut_reset(t.seed);
	for (unsigned i = 0; i < CLIENTS; i++) {
		t.slots[i].service = i % 2;
		snprintf(t.slots[i].path, sizeof(t.slots[i].path), "/api/v1/namespaces/default/%s/o-%u",
			 i % 2 ? "services" : "configmaps", i);
	}
	api_start(&f, &(struct api_config){.cidr = "10.96.0.0/27",
					   .port_low = 30000,
					   .port_high = 30000 + 3 * CLIENTS,
					   .store = {.sqlite_vfs = POWERCUT_VFS, .log_events = 100}});
	for (int round = 0; round < rounds; round++) {
		write_until_dark(&f, round % 2);
		api_stop(&f);
		powercut_restore(loss);
		api_restart(&f);
		for (unsigned i = 0; i < CLIENTS; i++)
			check_slot(&f, &t.slots[i]);
		check_addresses(&f);
	}
	assert_true(t.acked > 10 * (size_t)rounds);
	if (rounds >= ROUNDS) // commits that nobody was told of
		assert_true(t.doubtful > 0);
	print_message("%d power cuts: %d acknowledged writes, %d unacknowledged ones kept\n", rounds, (int)t.acked,
		      (int)t.doubtful);
	api_end(&f);
	powercut_reset(0);
}

static void test_all_unsynced_is_lost(void **state)
{
	power_cuts(POWERCUT_DROP_ALL, 1);
}

static void test_torn_sectors(void **state)
{
	power_cuts(POWERCUT_TORN, 2);
}

int main(void)
{
	fl_log_init("powercut_test", FL_LOG_ERROR); // a disk without power is the subject
	powercut_register();
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_all_unsynced_is_lost),
	    cmocka_unit_test(test_torn_sectors),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
