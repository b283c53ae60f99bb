// SPDX-License-Identifier: Apache-2.0
// The hub against a scripted API server: what comes after a burst of changes.
#include "../client/client_fixture.h"

#include <malloc.h>

#include "controller/hub.h"

#define EMPTY_LIST "{\"kind\":\"List\",\"apiVersion\":\"v1\",\"metadata\":{\"resourceVersion\":\"5\"},\"items\":[]}"

static unsigned trims, told;

// In the place of the C library's.
int malloc_trim(size_t pad)
{
	assert_int_equal(pad, 0);
	trims++;
	return 1;
}

static void serve(struct fixture *f, struct fl_http_req *r, const char *line)
{
	if (!strstr(line, "watch=")) {
		respond(r, 200, EMPTY_LIST);
	} else if (strstr(line, "/pods?")) {
		keep_stream(f, r);
	} else {
		fl_http_on_close(r, on_stream_close, f);
		fl_http_start(r, 200, "application/json");
	}
}

static void on_pod(void *arg, const struct fl_object *old, const struct fl_object *now)
{
	struct fl_hub *h = arg;
	const struct fl_json *tree = fl_hub_tree(h, now);
	assert_string_equal(fl_json_str_or(fl_json_get(tree, "metadata"), "name", ""), now->name);
	told++;
}

static void send_pods(struct fixture *f, unsigned n)
{
	static unsigned rv = 10;
	for (unsigned i = 0; i < n; i++, rv++) {
		AUTO_FREE char *text =
		    fl_asprintf("{\"type\":\"ADDED\",\"object\":{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":"
				"{\"name\":\"p%u\",\"namespace\":\"n\",\"uid\":\"u%u\",\"resourceVersion\":\"%u\"}}}\n",
				rv, rv, rv);
		send_text(f, text);
	}
	unsigned want = told + n;
	wait_for(f, told == want);
}

static void a_burst_gives_the_heap_back(void **state)
{
	struct fixture f;
	struct fl_err err = {0};
	setup(&f, serve);
	struct fl_hub *h = fl_hub_new(f.client);
	fl_hub_listen(h, FL_HUB_PODS, on_pod, h);
	assert_int_equal(fl_hub_start(h, &err), 0);
	wait_for(&f, fl_hub_synced(h) && f.stream);
	send_pods(&f, 499);
	assert_int_equal(trims, 0);
	send_pods(&f, 1); // one more is a burst, and it is over when it has been quiet
	wait_for(&f, trims == 1);
	send_pods(&f, 1200); // however large it is, it is one
	wait_for(&f, trims == 2);
	send_pods(&f, 500); // and the timer that runs goes with the hub
	fl_hub_free(&h);
	teardown(&f);
	assert_int_equal(trims, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_burst_gives_the_heap_back),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
