// SPDX-License-Identifier: Apache-2.0
// scale, binding, and logs that come from a node.
#include <stdio.h>

#include "support.h"

#define DEPLOYMENTS "/apis/apps/v1/namespaces/default/deployments"
#define PODS        "/api/v1/namespaces/default/pods"

static void make_workload(struct api *f, const char *kind, const char *name)
{
	char path[96];
	snprintf(path, sizeof(path), "/apis/apps/v1/namespaces/default/%s", kind);
	expect(
	    f, 201,
	    ask_with(
		f, "POST", path,
		"{\"metadata\":{\"name\":\"%s\"},\"spec\":{\"replicas\":2,\"selector\":{\"matchLabels\":{\"a\":\"b\"},"
		"\"matchExpressions\":[{\"key\":\"k\",\"operator\":\"In\",\"values\":[\"x\",\"y\"]}]},\"template\":{"
		"\"metadata\":{\"labels\":{\"a\":\"b\",\"k\":\"x\"}},\"spec\":{\"containers\":[{\"name\":\"c\","
		"\"image\":\"i\"}]}}}}",
		name));
}

static void test_scale(void **state)
{
	struct api *f = *state;
	static const char *const kinds[] = {"deployments", "replicasets"};
	for (size_t i = 0; i < FL_COUNT(kinds); i++) {
		char path[96];
		make_workload(f, kinds[i], "s");
		snprintf(path, sizeof(path), "/apis/apps/v1/namespaces/default/%s/s/scale", kinds[i]);
		struct answer *a = expect(f, 200, ask(f, "GET", path));
		assert_string_equal(at(a, "kind"), "Scale");
		assert_int_equal(number_at(a, "spec.replicas"), 2);
		assert_string_equal(at(a, "status.selector"), "a=b,k in (x,y)");
		const char *old_rv = at(a, "metadata.resourceVersion");
		a = expect(f, 200, patch_with(f, "merge", path, "{\"spec\":{\"replicas\":5}}"));
		assert_int_equal(number_at(a, "spec.replicas"), 5);
		a = expect(f, 200, patch_with(f, "strategic", path, "{\"spec\":{\"replicas\":6}}"));
		a = expect(
		    f, 200,
		    patch_with(f, "json", path, "[{\"op\":\"replace\",\"path\":\"/spec/replicas\",\"value\":7}]"));
		assert_int_equal(number_at(a, "spec.replicas"), 7);
		expect(f, 409,
		       patch_with(f, "merge", path,
				  "{\"metadata\":{\"resourceVersion\":\"%s\"},\"spec\":{\"replicas\":1}}", old_rv));
		expect(f, 409,
		       ask_with(f, "PUT", path,
				"{\"metadata\":{\"name\":\"s\",\"resourceVersion\":\"%s\"},\"spec\":{\"replicas\":1}}",
				old_rv));
		a = expect(f, 200,
			   ask_with(f, "PUT", path,
				    "{\"kind\":\"Scale\",\"apiVersion\":\"autoscaling/"
				    "v1\",\"metadata\":{\"name\":\"s\"},\"spec\":{\"replicas\":3}}"));
		assert_int_equal(number_at(a, "spec.replicas"), 3);
		a = expect(f, 200, ask_with(f, "PUT", path, "{\"metadata\":{\"name\":\"s\"}}")); // absent is zero
		assert_int_equal(number_at(a, "spec.replicas"), 0);
		expect(f, 200, patch_with(f, "merge", path, "{\"spec\":{\"replicas\":0}}"));
		a = expect(f, 200, patch_with(f, "merge", path, "{\"spec\":{\"replicas\":4}}"));
		snprintf(path, sizeof(path), "/apis/apps/v1/namespaces/default/%s/s", kinds[i]);
		a = expect(f, 200, ask(f, "GET", path));
		assert_int_equal(number_at(a, "spec.replicas"), 4);
		assert_int_equal(number_at(a, "metadata.generation"), 7); // each change of replicas
	}
}

static void test_scale_forms(void **state)
{
	struct api *f = *state;
	make_workload(f, "deployments", "t");
	struct answer *a =
	    expect(f, 200, ask_as(f, "GET", DEPLOYMENTS "/t/scale", "application/json;as=Table;v=v1;g=meta.k8s.io"));
	assert_string_equal(at(a, "kind"), "Table");
	assert_string_equal(at(a, "columnDefinitions[1].name"), "Desired");
	assert_string_equal(at(a, "columnDefinitions[2].name"), "Available");
	assert_string_equal(at(a, "rows[0].cells[0]"), "t");
	assert_int_equal(number_at(a, "rows[0].cells[1]"), 2);
	assert_int_equal(number_at(a, "rows[0].cells[2]"), 0);
	a = expect(f, 200, ask_as(f, "GET", DEPLOYMENTS "/t/scale", "application/yaml"));
	assert_true(contains(a, "\nkind: Scale\n") || contains(a, "kind: Scale\n"));
}

static void test_scale_refusals(void **state)
{
	struct api *f = *state;
	make_workload(f, "deployments", "r");
	static const char path[] = DEPLOYMENTS "/r/scale";
	struct answer *a = expect(f, 422, patch_with(f, "merge", path, "{\"spec\":{\"replicas\":-1}}"));
	assert_string_equal(at(a, "details.causes[0].field"), "spec.replicas");
	assert_string_equal(at(a, "details.kind"), "Scale");
	expect(f, 422, patch_with(f, "merge", path, "{\"spec\":{\"replicas\":\"many\"}}"));
	expect(f, 422, patch_with(f, "merge", path, "{\"spec\":{\"replicas\":99999999999}}"));
	expect(f, 400, ask_with(f, "PUT", path, "{\"metadata\":{\"name\":\"r\"},\"spec\":{\"replicas\":\"many\"}}"));
	a = expect(
	    f, 409,
	    ask_with(f, "PUT", path, "{\"metadata\":{\"name\":\"r\",\"uid\":\"another\"},\"spec\":{\"replicas\":1}}"));
	assert_true(contains(a, "Precondition failed: UID in precondition: another"));
	expect(f, 409, patch_with(f, "merge", path, "{\"metadata\":{\"uid\":\"another\"},\"spec\":{\"replicas\":1}}"));
	a = expect(f, 200, ask(f, "GET", path));
	expect(f, 200,
	       ask_with(f, "PUT", path, "{\"metadata\":{\"name\":\"r\",\"uid\":\"%s\"},\"spec\":{\"replicas\":2}}",
			at(a, "metadata.uid")));
	expect(f, 400, patch_with(f, "merge", path, "{\"metadata\":{\"name\":\"x\"}}"));
	expect(f, 400, ask_with(f, "PUT", path, "{\"metadata\":{\"name\":\"x\"},\"spec\":{\"replicas\":1}}"));
	expect(f, 400, ask_with(f, "PUT", path, "{\"metadata\":{\"name\":\"r\",\"namespace\":\"x\"}}"));
	expect(f, 400,
	       ask_with(f, "PUT", path,
			"{\"kind\":\"Deployment\",\"apiVersion\":\"apps/v1\",\"metadata\":{\"name\":\"r\"}}"));
	expect(f, 400, ask(f, "PUT", path));
	expect(f, 405, ask(f, "DELETE", path));
	expect(f, 405, ask_with(f, "POST", path, "{}"));
	expect(f, 404, ask(f, "GET", DEPLOYMENTS "/none/scale"));
	expect(f, 404, patch_with(f, "merge", DEPLOYMENTS "/none/scale", "{}"));
	expect(f, 404, ask(f, "GET", "/api/v1/namespaces/default/services/kubernetes/scale"));
	expect(f, 200, patch_with(f, "merge", DEPLOYMENTS "/r/scale?dryRun=All", "{\"spec\":{\"replicas\":9}}"));
	assert_int_equal(number_at(ask(f, "GET", path), "spec.replicas"), 2);
}

static void make_pod(struct api *f, const char *name, const char *extra)
{
	expect(
	    f, 201,
	    ask_with(f, "POST", PODS,
		     "{\"metadata\":{\"name\":\"%s\"},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\"}%s]}}",
		     name, extra));
}

static void test_binding(void **state)
{
	struct api *f = *state;
	make_pod(f, "b", "");
	static const char path[] = PODS "/b/binding";
	struct answer *a = expect(f, 422, ask_with(f, "POST", path, "{\"target\":{\"kind\":\"Node\"}}"));
	assert_string_equal(at(a, "details.causes[0].field"), "target.name");
	expect(f, 422, ask_with(f, "POST", path, "{\"target\":{\"kind\":\"Pod\",\"name\":\"n1\"}}"));
	expect(f, 400, ask_with(f, "POST", path, "{\"metadata\":{\"name\":\"other\"},\"target\":{\"name\":\"n1\"}}"));
	expect(f, 409,
	       ask_with(f, "POST", path, "{\"metadata\":{\"name\":\"b\",\"uid\":\"x\"},\"target\":{\"name\":\"n1\"}}"));
	expect(f, 409,
	       ask_with(f, "POST", path,
			"{\"metadata\":{\"name\":\"b\",\"resourceVersion\":\"1\"},\"target\":{\"name\":\"n1\"}}"));
	expect(f, 404, ask_with(f, "POST", PODS "/none/binding", "{\"target\":{\"name\":\"n1\"}}"));
	expect(f, 405, ask(f, "GET", path));
	expect(f, 201, ask_with(f, "POST", PODS "/b/binding?dryRun=All", "{\"target\":{\"name\":\"n1\"}}"));
	a = expect(f, 201,
		   ask_with(f, "POST", path,
			    "{\"kind\":\"Binding\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"b\",\"annotations\":{"
			    "\"x\":\"y\"}},\"target\":{\"name\":\"n1\"}}"));
	assert_string_equal(at(a, "status"), "Success");
	a = expect(f, 200, ask(f, "GET", PODS "/b"));
	assert_string_equal(at(a, "spec.nodeName"), "n1");
	assert_string_equal(at(a, "metadata.annotations.x"), "y");
	assert_string_equal(at(a, "status.conditions[0].type"), "PodScheduled");
	assert_string_equal(at(a, "status.conditions[0].status"), "True");
	a = expect(f, 409, ask_with(f, "POST", path, "{\"target\":{\"name\":\"n2\"}}"));
	assert_true(contains(a, "is already assigned to node \\\"n1\\\""));
}

// kubectl prints the message.
static void test_streams_are_told_apart(void **state)
{
	struct api *f = *state;
	static const char *const cases[][3] = {
	    {"POST", "exec?command=sh&stdin=true",
	     "exec is not served; on node n1: fairlead exec -n default streams -- COMMAND"},
	    {"GET", "exec?command=sh", "exec is not served; on node n1: fairlead exec -n default streams -- COMMAND"},
	    {"POST", "attach", "attach is not served; what a container writes is in its log"},
	    {"POST", "portforward",
	     "portforward is not served; the pod's own address and its Services answer on every node"},
	};
	make_pod(f, "streams", "");
	struct answer *a = expect(f, 404, ask(f, "POST", PODS "/streams/exec?command=sh"));
	assert_string_equal(at(a, "message"),
			    "exec is not served; on the pod's node: fairlead exec -n default streams -- COMMAND");
	expect(f, 201, ask_with(f, "POST", PODS "/streams/binding", "{\"target\":{\"name\":\"n1\"}}"));
	for (size_t i = 0; i < FL_COUNT(cases); i++) {
		char path[128];
		snprintf(path, sizeof(path), PODS "/streams/%s", cases[i][1]);
		a = expect(f, 404, ask(f, cases[i][0], path));
		assert_string_equal(at(a, "reason"), "NotFound");
		assert_string_equal(at(a, "message"), cases[i][2]);
	}
	a = expect(f, 404, ask(f, "POST", PODS "/none/exec"));
	assert_string_equal(at(a, "message"), "pods \"none\" not found");
	a = expect(f, 404, ask(f, "POST", PODS "/streams/other"));
	assert_string_equal(at(a, "message"), "the server could not find the requested resource");
}

static void test_eviction(void **state)
{
	struct api *f = *state;
	static const char path[] = PODS "/e/eviction";
	make_pod(f, "e", "");
	expect(f, 405, ask(f, "GET", path));
	expect(f, 400, ask_with(f, "POST", path, "{\"metadata\":{\"name\":\"other\"}}"));
	expect(f, 422,
	       ask_with(f, "POST", path, "{\"metadata\":{\"name\":\"e\"},\"deleteOptions\":{\"dryRun\":[\"Some\"]}}"));
	expect(f, 409,
	       ask_with(f, "POST", path,
			"{\"metadata\":{\"name\":\"e\"},\"deleteOptions\":{\"preconditions\":{\"uid\":\"x\"}}}"));
	expect(f, 404, ask_with(f, "POST", PODS "/none/eviction", "{\"metadata\":{\"name\":\"none\"}}"));
	expect(f, 201,
	       ask_with(f, "POST", path, "{\"metadata\":{\"name\":\"e\"},\"deleteOptions\":{\"dryRun\":[\"All\"]}}"));
	expect(f, 200, ask(f, "GET", PODS "/e"));
	struct answer *a =
	    expect(f, 201,
		   ask_with(f, "POST", path,
			    "{\"kind\":\"Eviction\",\"apiVersion\":\"policy/v1\",\"metadata\":{\"name\":\"e\","
			    "\"namespace\":\"default\"},\"deleteOptions\":{\"gracePeriodSeconds\":0}}"));
	assert_string_equal(at(a, "status"), "Success");
	expect(f, 404, ask(f, "GET", PODS "/e"));
}

// --- logs ---

struct node {
	struct fl_http_req *follower; // answers in parts
	bool follower_gone;
	char asked[256];
	unsigned n;
};

static void follower_closed(struct fl_http_req *r, void *arg, bool gone)
{
	struct node *n = arg;
	n->follower = NULL;
	n->follower_gone = gone;
}

static void on_node(struct fl_http_req *r, void *arg)
{
	struct node *n = arg;
	const char *path = fl_http_path(r), *query = fl_http_query(r);
	snprintf(n->asked, sizeof(n->asked), "%s?%s", path, query);
	n->n++;
	if (strstr(query, "follow=true")) {
		n->follower = r;
		fl_http_on_close(r, follower_closed, n);
		fl_http_start(r, 200, "text/plain");
	} else if (strstr(path, "/waiting/")) {
		static const char text[] = "container \"c\" in pod \"waiting\" is waiting to start: ContainerCreating";
		fl_http_respond(r, 400, "text/plain", text, strlen(text));
	} else if (strstr(path, "/missing/")) {
		fl_http_respond(r, 404, "text/plain", "no such pod\n", 12);
	} else {
		fl_http_respond(r, 200, "text/plain", "line one\nline two\n", 18);
	}
}

static void place(struct api *f, const char *pod, const char *node)
{
	char path[96];
	make_pod(f, pod, "");
	snprintf(path, sizeof(path), PODS "/%s/binding", pod);
	expect(f, 201, ask_with(f, "POST", path, "{\"target\":{\"name\":\"%s\"}}", node));
}

static void make_node(struct api *f, const char *name, unsigned port)
{
	expect(
	    f, 201,
	    ask_with(
		f, "POST", "/api/v1/nodes",
		"{\"metadata\":{\"name\":\"%s\"},\"status\":{\"addresses\":[{\"type\":\"Hostname\",\"address\":\"x\"},"
		"{\"type\":\"InternalIP\",\"address\":\"127.0.0.1\"}],\"daemonEndpoints\":{\"kubeletEndpoint\":{"
		"\"Port\":%u}}}}",
		name, port));
}

static void send_part(struct fl_http_req *r, const char *p, size_t n)
{
	struct fl_bytes *b = fl_bytes_new(p, n);
	fl_http_write(r, b);
	fl_bytes_put(&b);
}

static void test_logs(void **state)
{
	struct api *f = *state;
	static struct node n; // outlives the fixture, whose end closes what follows
	n = (struct node){0};
	make_node(f, "n1", api_start_node(f, on_node, &n));
	place(f, "l", "n1");
	struct answer *a = expect(f, 200, ask(f, "GET", PODS "/l/log"));
	assert_string_equal(a->body.data, "line one\nline two\n");
	assert_string_equal(a->type, "text/plain");
	assert_string_equal(n.asked, "/containerLogs/default/l/c?");
	expect(f, 200,
	       ask(f, "GET",
		   PODS
		   "/l/log?container=c&tailLines=10&timestamps=true&sinceTime=2025-01-01T00:00:00%2B01:00&nonsense=1"));
	assert_string_equal(
	    n.asked,
	    "/containerLogs/default/l/c?sinceTime=2025-01-01T00%3A00%3A00%2B01%3A00&timestamps=true&tailLines=10");
	place(f, "waiting", "n1");
	a = expect(f, 400, ask(f, "GET", PODS "/waiting/log"));
	assert_string_equal(at(a, "message"),
			    "container \"c\" in pod \"waiting\" is waiting to start: ContainerCreating");
	place(f, "missing", "n1");
	a = expect(f, 404, ask(f, "GET", PODS "/missing/log"));
	assert_string_equal(at(a, "reason"), "NotFound");
	expect(f, 422, ask(f, "GET", PODS "/l/log?tailLines=-1"));
	expect(f, 422, ask(f, "GET", PODS "/l/log?limitBytes=0"));
	expect(f, 422, ask(f, "GET", PODS "/l/log?sinceSeconds=1&sinceTime=2025-01-01T00:00:00Z"));
	assert_true(
	    contains(expect(f, 400, ask(f, "GET", PODS "/l/log?container=x")), "container x is not valid for pod l"));
	expect(f, 404, ask(f, "GET", PODS "/none/log"));
	expect(f, 405, ask(f, "DELETE", PODS "/l/log"));
	make_pod(f, "two", ",{\"name\":\"d\",\"image\":\"i\"}");
	assert_true(contains(expect(f, 400, ask(f, "GET", PODS "/two/log")), "choose one of: [c d]"));
	assert_true(
	    contains(expect(f, 400, ask(f, "GET", PODS "/two/log?container=d")), "does not have a host assigned"));
	place(f, "lost", "nowhere");
	assert_true(contains(expect(f, 500, ask(f, "GET", PODS "/lost/log")), "node \\\"nowhere\\\" not found"));
	make_node(f, "dead", 1);
	place(f, "ondead", "dead");
	assert_true(contains(expect(f, 500, ask(f, "GET", PODS "/ondead/log")), "Get logs of pod \\\"ondead\\\": "));
}

static void test_follow(void **state)
{
	struct api *f = *state;
	static struct node n; // outlives the fixture, whose end closes what follows
	n = (struct node){0};
	make_node(f, "n1", api_start_node(f, on_node, &n));
	place(f, "l", "n1");
	struct answer *a = start_watch(f, f->second, PODS "/l/log?follow=true", NULL);
	WAIT(f, n.follower);
	send_part(n.follower, "one\n", 4);
	WAIT(f, a->lines == 1);
	// A slow reader slows the node down instead of filling this server.
	fl_http_call_pause(a->call, true);
	AUTO_FREE char *mb = fl_malloc(1 << 20);
	memset(mb, 'x', 1 << 20);
	mb[(1 << 20) - 1] = '\n';
	for (int i = 0; i < 80; i++)
		send_part(n.follower, mb, 1 << 20);
	expect(f, 200, ask(f, "GET", "/healthz"));
	expect(f, 200, ask(f, "GET", PODS "/l/log")); // and no other reader of that node
	fl_http_call_pause(a->call, false);
	WAIT(f, a->lines == 81);
	fl_http_end(n.follower);
	WAIT(f, a->done);
	assert_int_equal(a->rc, 0);

	a = start_watch(f, f->second, PODS "/l/log?follow=true", NULL);
	WAIT(f, n.follower);
	cancel(a); // the reader leaves: the node is told
	WAIT(f, !n.follower);
	assert_true(n.follower_gone);

	a = start_watch(f, f->second, PODS "/l/log?follow=true", NULL);
	WAIT(f, n.follower);
	send_part(n.follower, "one\n", 4);
	WAIT(f, a->lines == 1);
	fl_http_abort(n.follower); // the node dies in the middle: an unfinished body is no end
	WAIT(f, a->done);
	assert_true(a->rc < 0);

	a = start_watch(f, f->second, PODS "/l/log?follow=true", NULL);
	WAIT(f, n.follower);
	// teardown ends both while they talk
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_scale, api_setup, api_teardown),
	    cmocka_unit_test_setup_teardown(test_scale_forms, api_setup, api_teardown),
	    cmocka_unit_test_setup_teardown(test_scale_refusals, api_setup, api_teardown),
	    cmocka_unit_test_setup_teardown(test_streams_are_told_apart, api_setup, api_teardown),
	    cmocka_unit_test_setup_teardown(test_eviction, api_setup, api_teardown),
	    cmocka_unit_test_setup_teardown(test_binding, api_setup, api_teardown),
	    cmocka_unit_test_setup_teardown(test_logs, api_setup, api_teardown),
	    cmocka_unit_test_setup_teardown(test_follow, api_setup, api_teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
