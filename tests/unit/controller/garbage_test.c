// SPDX-License-Identifier: Apache-2.0
// The garbage collector against a scripted API server: what it hears in an order that a real one seldom tells in.
#include "../client/client_fixture.h"

#include "controller/garbage/garbage.h"

#define EMPTY_LIST "{\"kind\":\"List\",\"apiVersion\":\"v1\",\"metadata\":{\"resourceVersion\":\"5\"},\"items\":[]}"
#define RESOURCE(plural, kind)                                                                                         \
	"{\"name\":\"" plural "\",\"kind\":\"" kind "\",\"namespaced\":true,\"verbs\":[\"list\",\"watch\",\"delete\"]" \
	"}"
#define RESOURCES                                                                                                      \
	"{\"kind\":\"APIResourceList\",\"groupVersion\":\"v1\",\"resources\":[" RESOURCE(                              \
	    "configmaps", "ConfigMap") "," RESOURCE("secrets", "Secret") "]}"
#define OWNER(rv)                                                                                                      \
	"{\"kind\":\"PartialObjectMetadata\",\"apiVersion\":\"meta.k8s.io/"                                            \
	"v1\",\"metadata\":{\"name\":\"o\",\"namespace\":\"n\",\"uid\":\"uo\",\"resourceVersion\":\"" rv "\"}}"
#define DEPENDENT(name, rv)                                                                                            \
	"{\"kind\":\"PartialObjectMetadata\",\"apiVersion\":\"meta.k8s.io/v1\",\"metadata\":{\"name\":\"" name         \
	"\",\"namespace\":\"n\",\"uid\":\"u" name "\",\"resourceVersion\":\"" rv                                       \
	"\",\"ownerReferences\":[{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"name\":\"o\",\"uid\":\"uo\"}]}}"
#define STATUS(code) "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"code\":" #code "}"

struct script {
	struct fl_http_req *owners, *dependents; // watches
	struct fl_http_req *question;            // about the owner, not answered yet
	bool owner_gone;
	unsigned deleted;
};

static const struct fl_gvr secrets = {"", "v1", "secrets"};

static void on_watch_close(struct fl_http_req *r, void *arg, bool gone)
{
}

static struct fl_http_req *keep_watch(struct fl_http_req *r)
{
	fl_http_on_close(r, on_watch_close, NULL);
	fl_http_start(r, 200, "application/json");
	return r;
}

static void serve(struct fixture *f, struct fl_http_req *r, const char *line)
{
	struct script *s = f->arg;
	if (!strcmp(line, "GET /api/v1")) {
		respond(r, 200, RESOURCES);
	} else if (!strcmp(line, "GET /apis")) {
		respond(r, 200, "{\"kind\":\"APIGroupList\",\"groups\":[]}");
	} else if (strstr(line, "/secrets?watch=")) {
		s->owners = keep_watch(r);
	} else if (strstr(line, "/configmaps?watch=")) {
		s->dependents = keep_watch(r);
	} else if (strstr(line, "watch=")) {
		keep_watch(r);
	} else if (!strcmp(line, "GET /api/v1/namespaces/n/secrets/o")) {
		if (s->owner_gone)
			respond(r, 404, STATUS(404));
		else
			s->question = r;
	} else if (!strncmp(line, "DELETE ", 7)) {
		s->deleted++;
		respond(r, 200, "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"status\":\"Success\"}");
	} else if (fl_ends_with(line, "/configmaps/d")) {
		respond(r, 200, DEPENDENT("d", "10"));
	} else if (fl_ends_with(line, "/configmaps/e")) {
		respond(r, 200, DEPENDENT("e", "13"));
	} else {
		respond(r, 200, EMPTY_LIST);
	}
}

static void tell(struct fl_http_req *watch, const char *type, const char *object)
{
	AUTO_FREE char *text = fl_asprintf("{\"type\":\"%s\",\"object\":%s}\n", type, object);
	struct fl_bytes *b = fl_bytes_new(text, strlen(text));
	fl_http_write(watch, b);
	fl_bytes_put(&b);
}

static bool has_owner(const struct fl_hub *h)
{
	return fl_informer_find(fl_hub_informer_of(h, &secrets), "n", "o") != NULL;
}

// The server says that the owner is there, and the caches have seen it go before that word comes: nothing else will
// tell of its end. (What is told so holds for ten seconds, and so long this takes.)
static void asks_again_about_an_owner_that_no_cache_has(void **state)
{
	struct fixture f;
	struct script s = {0};
	struct fl_err err = {0};
	setup(&f, serve);
	f.arg = &s;
	struct fl_hub *h = fl_hub_new(f.client);
	struct fl_discovery *d = fl_discovery_new(f.client);
	struct fl_garbage *g = fl_garbage_new(h, d);
	assert_int_equal(fl_hub_start(h, &err), 0);
	fl_hub_lead(h);
	wait_for(&f, fl_hub_synced(h) && s.owners && s.dependents);
	tell(s.dependents, "ADDED", DEPENDENT("d", "10"));
	wait_for(&f, s.question);
	tell(s.owners, "ADDED", OWNER("11"));
	wait_for(&f, has_owner(h));
	tell(s.owners, "DELETED", OWNER("12"));
	wait_for(&f, !has_owner(h));
	s.owner_gone = true;
	respond(s.question, 200, OWNER("11"));
	tell(s.dependents, "ADDED", DEPENDENT("e", "13")); // while that answer holds
	wait_for(&f, s.deleted == 2);
	fl_garbage_free(&g);
	fl_hub_free(&h);
	fl_discovery_free(&d);
	teardown(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(asks_again_about_an_owner_that_no_cache_has),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
