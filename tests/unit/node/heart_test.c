// SPDX-License-Identifier: Apache-2.0
// Registration and heartbeat against a scripted API server.
#include "../client/client_fixture.h"
#include "node/nodeobj.h"

#define NODE_FORMAT                                                                                                    \
	"{\"kind\":\"Node\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"n1\",\"uid\":\"node-uid\","                 \
	"\"resourceVersion\":\"1\"%s},\"spec\":{%s}}"

static unsigned failures; // requests still to be refused
static bool node_exists;  // creation answers 409
static bool lease_exists;

static void status_answer(struct fl_http_req *r, int code, const char *reason)
{
	AUTO_FREE char *body =
	    fl_asprintf("{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"status\":\"Failure\",\"reason\":\"%s\","
			"\"message\":\"refused\",\"code\":%d}",
			reason, code);

	respond(r, code, body);
}

static void serve(struct fixture *f, struct fl_http_req *r, const char *line)
{
	AUTO_FREE char *node = fl_asprintf(NODE_FORMAT, node_exists ? "" : ",\"labels\":{}",
					   node_exists ? "" : "\"podCIDR\":\"10.1.0.0/24\"");

	if (failures) {
		failures--;
		status_answer(r, 503, "ServiceUnavailable");
	} else if (fl_starts_with(line, "POST /api/v1/nodes")) {
		if (node_exists)
			status_answer(r, 409, "AlreadyExists");
		else
			respond(r, 201, node);
	} else if (fl_starts_with(line, "POST /apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases")) {
		if (lease_exists)
			status_answer(r, 409, "AlreadyExists");
		else
			respond(r, 201, "{\"kind\":\"Lease\",\"metadata\":{\"name\":\"n1\"}}");
	} else {
		respond(r, 200, node);
	}
}

static unsigned seen_with(const struct fixture *f, const char *prefix)
{
	unsigned n = 0;

	for (unsigned i = 0; i < f->n_seen; i++)
		n += fl_starts_with(f->seen[i].line, prefix);
	return n;
}

static const char *body_of(const struct fixture *f, const char *prefix)
{
	for (unsigned i = 0; i < f->n_seen; i++) {
		if (fl_starts_with(f->seen[i].line, prefix))
			return f->seen[i].body;
	}
	return "";
}

static struct fl_node_opts options(void)
{
	struct fl_node_opts o = {.node_name = "n1", .data_dir = "/", .n_node_ips = 1, .n_pod_cidrs = 1};

	fl_ip_parse("192.0.2.1", &o.node_ips[0]);
	fl_cidr_parse("10.1.0.0/24", &o.pod_cidrs[0], false);
	return o;
}

static void a_new_node_is_created(void **state)
{
	struct fixture f;
	struct fl_node_opts o = options();
	struct fl_heart *h;

	failures = 3; // the API server is not there yet
	node_exists = lease_exists = false;
	setup(&f, serve);
	h = fl_heart_start(f.client, &o, "runc://1", 10250);
	wait_for(&f, seen_with(&f, "PATCH /api/v1/nodes/n1/status") && seen_with(&f, "POST /apis/coordination"));
	const char *node = body_of(&f, "POST /api/v1/nodes"), *status = body_of(&f, "PATCH /api/v1/nodes/n1/status");
	assert_non_null(strstr(node, "\"podCIDR\":\"10.1.0.0/24\""));
	assert_non_null(strstr(node, "\"kubernetes.io/hostname\":\"n1\""));
	assert_non_null(strstr(status, "\"kubeletEndpoint\":{\"Port\":10250}"));
	assert_non_null(strstr(status, "\"type\":\"Ready\",\"status\":\"True\""));
	const char *lease = body_of(&f, "POST /apis/coordination");
	assert_non_null(strstr(lease, "\"leaseDurationSeconds\":40"));
	assert_non_null(strstr(lease, "\"holderIdentity\":\"n1\""));
	assert_non_null(strstr(lease, "\"uid\":\"node-uid\"")); // owned by the Node
	fl_heart_stop(&h);
	teardown(&f);
}

static void an_old_node_is_taken_over(void **state)
{
	struct fixture f;
	struct fl_node_opts o = options();
	struct fl_heart *h;

	failures = 0;
	node_exists = lease_exists = true;
	setup(&f, serve);
	h = fl_heart_start(f.client, &o, "runc://1", 10250);
	wait_for(&f, seen_with(&f, "PATCH /api/v1/nodes/n1/status") && seen_with(&f, "PATCH /apis/coordination"));
	assert_int_equal(seen_with(&f, "GET /api/v1/nodes/n1"), 1);
	const char *labels = body_of(&f, "PATCH /api/v1/nodes/n1"); // without subresource it comes first
	assert_non_null(strstr(labels, "\"kubernetes.io/os\":\"linux\""));
	assert_non_null(strstr(labels, "\"podCIDR\":\"10.1.0.0/24\""));
	assert_non_null(strstr(body_of(&f, "PATCH /apis/coordination"), "\"renewTime\":"));
	fl_heart_stop(&h);
	teardown(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_new_node_is_created),
	    cmocka_unit_test(an_old_node_is_taken_over),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
