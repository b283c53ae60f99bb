// SPDX-License-Identifier: Apache-2.0
// The namespace controller against a scripted API server: what it may not write any more.
#include "../client/client_fixture.h"

#include "controller/namespace/namespace.h"

#define EMPTY_LIST "{\"kind\":\"List\",\"apiVersion\":\"v1\",\"metadata\":{\"resourceVersion\":\"5\"},\"items\":[]}"
#define TERMINATING                                                                                                    \
	"{\"kind\":\"NamespaceList\",\"apiVersion\":\"v1\",\"metadata\":{\"resourceVersion\":\"5\"},\"items\":["       \
	"{\"metadata\":{\"name\":\"n\",\"uid\":\"un\",\"resourceVersion\":\"4\",\"deletionTimestamp\":"                \
	"\"2026-01-02T03:04:05Z\"},\"spec\":{\"finalizers\":[\"kubernetes\"]}}]}"
#define RESOURCES                                                                                                      \
	"{\"kind\":\"APIResourceList\",\"groupVersion\":\"v1\",\"resources\":[{\"name\":\"pods\",\"kind\":\"Pod\","    \
	"\"namespaced\":true,\"verbs\":[\"list\",\"watch\",\"delete\",\"deletecollection\"]}]}"
#define GROUPS "{\"kind\":\"APIGroupList\",\"groups\":[]}"

struct script {
	struct fl_http_req *groups; // the question that is not answered yet
	bool holds;
	unsigned deletes;
	char body[256]; // of the last of them
};

static void on_watch_close(struct fl_http_req *r, void *arg, bool gone)
{
}

static void serve(struct fixture *f, struct fl_http_req *r, const char *line)
{
	struct script *s = f->arg;
	if (strstr(line, "watch=")) {
		fl_http_on_close(r, on_watch_close, NULL);
		fl_http_start(r, 200, "application/json");
	} else if (!strcmp(line, "GET /apis") && s->holds) {
		s->groups = r;
	} else if (!strcmp(line, "GET /apis")) {
		respond(r, 200, GROUPS);
	} else if (!strcmp(line, "GET /api/v1")) {
		respond(r, 200, RESOURCES);
	} else if (!strncmp(line, "DELETE ", 7)) {
		s->deletes++;
		snprintf(s->body, sizeof(s->body), "%s", f->seen[f->n_seen - 1].body);
		respond(r, 200, "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"status\":\"Success\"}");
	} else {
		respond(r, 200, fl_starts_with(line, "GET /api/v1/namespaces?") ? TERMINATING : EMPTY_LIST);
	}
}

struct world {
	struct fixture f;
	struct script s;
	struct fl_hub *h;
	struct fl_discovery *d;
	struct fl_namespace_controller *c;
};

static void begin(struct world *w)
{
	struct fl_err err = {0};
	*w = (struct world){0};
	setup(&w->f, serve);
	w->f.arg = &w->s;
	w->s.holds = true;
	w->h = fl_hub_new(w->f.client);
	w->d = fl_discovery_new(w->f.client);
	w->c = fl_namespace_controller_new(w->h, w->d);
	assert_int_equal(fl_hub_start(w->h, &err), 0);
	fl_hub_lead(w->h);
	wait_for(&w->f, w->s.groups);
}

static void end(struct world *w)
{
	fl_hub_free(&w->h);
	fl_namespace_controller_free(&w->c);
	fl_discovery_free(&w->d);
	teardown(&w->f);
}

static void note(void *arg, int rc, const struct fl_err *err)
{
	*(bool *)arg = true;
}

static void deletes_in_the_background(void **state)
{
	struct world w;
	begin(&w);
	w.s.holds = false;
	respond(w.s.groups, 200, GROUPS);
	wait_for(&w.f, w.s.deletes);
	assert_non_null(strstr(w.s.body, "\"propagationPolicy\":\"Background\""));
	end(&w);
}

// Who has given its Lease back writes nothing, whatever it still hears.
static void writes_nothing_after_standing_down(void **state)
{
	struct world w;
	bool first = false, second = false;
	begin(&w);
	fl_discovery_refresh(w.d, note, &first); // heard after the controller
	fl_hub_stand_down(w.h);
	w.s.holds = false;
	respond(w.s.groups, 200, GROUPS);
	wait_for(&w.f, first);
	fl_discovery_refresh(w.d, note, &second); // a request of that turn would come before these
	wait_for(&w.f, second);
	assert_int_equal(w.s.deletes, 0);
	end(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(deletes_in_the_background),
	    cmocka_unit_test(writes_nothing_after_standing_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
