// SPDX-License-Identifier: Apache-2.0
// Registration against a scripted API server.
#include "../client/client_fixture.h"

#include "dns/register.h"

#define SERVICES "/api/v1/namespaces/kube-system/services"
#define SLICES   "/apis/discovery.k8s.io/v1/namespaces/kube-system/endpointslices"

static const char service_body[] =
    "{\"kind\":\"Service\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"kube-dns\",\"labels\":{"
    "\"k8s-app\":\"kube-dns\",\"kubernetes.io/cluster-service\":\"true\",\"kubernetes.io/name\":\"CoreDNS\"}},"
    "\"spec\":{\"clusterIP\":\"10.96.0.10\",\"clusterIPs\":[\"10.96.0.10\"],\"ports\":["
    "{\"name\":\"dns\",\"port\":53,\"protocol\":\"UDP\",\"targetPort\":53},"
    "{\"name\":\"dns-tcp\",\"port\":53,\"protocol\":\"TCP\",\"targetPort\":53}],"
    "\"trafficDistribution\":\"PreferSameNode\"}}";

static const char slice_body[] =
    "{\"kind\":\"EndpointSlice\",\"apiVersion\":\"discovery.k8s.io/v1\",\"metadata\":{\"name\":\"kube-dns-node-a\","
    "\"labels\":{\"kubernetes.io/service-name\":\"kube-dns\",\"endpointslice.kubernetes.io/managed-by\":"
    "\"fairlead-dns\"}},\"addressType\":\"IPv4\",\"endpoints\":[{\"addresses\":[\"10.244.0.1\"],"
    "\"conditions\":{\"ready\":true},\"hints\":{\"forNodes\":[{\"name\":\"node-a\"}]},\"nodeName\":\"node-a\"}],"
    "\"ports\":[{\"name\":\"dns\",\"port\":53,\"protocol\":\"UDP\"},"
    "{\"name\":\"dns-tcp\",\"port\":53,\"protocol\":\"TCP\"}]}";

#define STATUS(reason, message) "{\"kind\":\"Status\",\"reason\":\"" reason "\",\"message\":\"" message "\"}"

// The answers in their order; the last one stays.
struct step {
	const char *line;
	int status;
	const char *body;
};
struct script {
	const struct step *step;
	unsigned at;
};

static void serve(struct fixture *f, struct fl_http_req *r, const char *line)
{
	struct script *s = f->arg;
	const struct step *step = &s->step[s->at];
	if (!step->line) {
		fail_msg("nothing more was expected, but %s came", line);
		return;
	}
	assert_string_equal(line, step->line);
	s->at++;
	respond(r, step->status, step->body);
}

struct setup {
	struct fixture f;
	struct script s;
	struct fl_dns_opts o;
	struct fl_dns_registration *r;
};

static void begin(struct setup *s, const struct step *steps)
{
	setup(&s->f, serve);
	s->s = (struct script){.step = steps};
	s->f.arg = &s->s;
	s->o = (struct fl_dns_opts){.node_name = "node-a", .n_listen = 1, .port = 53, .n_cluster_ips = 1};
	fl_ip_parse("10.244.0.1", &s->o.listen[0]);
	fl_ip_parse("10.96.0.10", &s->o.cluster_ips[0]);
}

static void run(struct setup *s)
{
	s->r = fl_dns_register(s->f.client, &s->o);
	wait_for(&s->f, fl_dns_registration_done(s->r));
}

static void end(struct setup *s)
{
	assert_null(s->s.step[s->s.at].line); // all came
	fl_dns_registration_free(&s->r);
	teardown(&s->f);
}

static void creates_both(void **state)
{
	static const struct step steps[] = {{"POST " SERVICES, 201, "{}"}, {"POST " SLICES, 201, "{}"}, {0}};
	struct setup s;
	begin(&s, steps);
	run(&s);
	assert_string_equal(s.f.seen[0].body, service_body);
	assert_string_equal(s.f.seen[1].body, slice_body);
	end(&s);
}

static void waits_for_the_namespace(void **state)
{
	static const struct step steps[] = {
	    {"POST " SERVICES, 404, STATUS("NotFound", "namespaces \\\"kube-system\\\" not found")},
	    {"POST " SERVICES, 503, "{}"},
	    {"POST " SERVICES, 201, "{}"},
	    {"POST " SLICES, 500, "{}"},
	    {"POST " SLICES, 201, "{}"},
	    {0}};
	struct setup s;
	begin(&s, steps);
	run(&s);
	end(&s);
}

static void leaves_a_service_that_is_there(void **state)
{
	static const struct step steps[] = {
	    {"POST " SERVICES, 409, STATUS("AlreadyExists", "there")},
	    {"GET " SERVICES "/kube-dns", 200, "{\"metadata\":{\"name\":\"kube-dns\"},\"spec\":{}}"},
	    {"POST " SLICES, 201, "{}"},
	    {0}};
	struct setup s;
	begin(&s, steps);
	run(&s);
	end(&s);
}

// The address is taken: by this Service, or by another, and then it tries on.
static void looks_who_has_the_address(void **state)
{
	static const struct step steps[] = {
	    {"POST " SERVICES, 422, STATUS("Invalid", "provided IP is already allocated")},
	    {"GET " SERVICES "/kube-dns", 404, STATUS("NotFound", "none")},
	    {"POST " SERVICES, 422, STATUS("Invalid", "provided IP is already allocated")},
	    {"GET " SERVICES "/kube-dns", 200, "{\"metadata\":{\"name\":\"kube-dns\"}}"},
	    {"POST " SLICES, 201, "{}"},
	    {0}};
	struct setup s;
	begin(&s, steps);
	run(&s);
	end(&s);
}

static void keeps_a_slice_that_is_right(void **state)
{
	static const struct step steps[] = {{"POST " SERVICES, 201, "{}"},
					    {"POST " SLICES, 409, STATUS("AlreadyExists", "there")},
					    {"GET " SLICES "/kube-dns-node-a", 200, slice_body},
					    {0}};
	struct setup s;
	begin(&s, steps);
	run(&s);
	end(&s);
}

static void corrects_a_slice_that_is_wrong(void **state)
{
	static const struct step steps[] = {
	    {"POST " SERVICES, 201, "{}"},
	    {"POST " SLICES, 409, STATUS("AlreadyExists", "there")},
	    {"GET " SLICES "/kube-dns-node-a", 200,
	     "{\"metadata\":{\"name\":\"kube-dns-node-a\",\"resourceVersion\":\"7\"},\"addressType\":\"IPv4\","
	     "\"endpoints\":[{\"addresses\":[\"10.244.9.1\"]}]}"},
	    {"PUT " SLICES "/kube-dns-node-a", 409, STATUS("Conflict", "changed meanwhile")},
	    {"POST " SLICES, 409, STATUS("AlreadyExists", "there")},
	    {"GET " SLICES "/kube-dns-node-a", 200,
	     "{\"metadata\":{\"name\":\"kube-dns-node-a\",\"resourceVersion\":\"8\"},\"addressType\":\"IPv4\"}"},
	    {"PUT " SLICES "/kube-dns-node-a", 200, "{}"},
	    {0}};
	struct setup s;
	begin(&s, steps);
	run(&s);
	const char *body = s.f.seen[6].body;
	assert_non_null(strstr(body, "\"resourceVersion\":\"8\""));
	assert_non_null(strstr(body, strstr(slice_body, "\"endpoints\""))); // and the ports
	end(&s);
}

static void makes_them_again_when_they_are_gone(void **state)
{
	static const struct step steps[] = {{"POST " SERVICES, 201, "{}"},
					    {"POST " SLICES, 201, "{}"},
					    {"POST " SERVICES, 201, "{}"},
					    {"POST " SLICES, 409, STATUS("AlreadyExists", "there")},
					    {"GET " SLICES "/kube-dns-node-a", 200, slice_body},
					    {0}};
	struct setup s;
	begin(&s, steps);
	run(&s);
	fl_dns_registration_gone(s.r, "kube-system", "other");
	fl_dns_registration_gone(s.r, "default", "kube-dns");
	fl_dns_registration_gone(s.r, "kube-system", "kube-dns-node-b");
	assert_true(fl_dns_registration_done(s.r));
	fl_dns_registration_gone(s.r, "kube-system", "kube-dns-node-a");
	assert_false(fl_dns_registration_done(s.r));
	fl_dns_registration_gone(s.r, "kube-system", "kube-dns"); // under way already
	wait_for(&s.f, fl_dns_registration_done(s.r));
	end(&s);
}

static void has_a_slice_of_each_family(void **state)
{
	static const struct step steps[] = {
	    {"POST " SERVICES, 201, "{}"}, {"POST " SLICES, 201, "{}"}, {"POST " SLICES, 201, "{}"}, {0}};
	struct setup s;
	begin(&s, steps);
	fl_ip_parse("fd00:10:244::1", &s.o.listen[s.o.n_listen++]);
	fl_ip_parse("fd00:10:96::a", &s.o.cluster_ips[s.o.n_cluster_ips++]);
	run(&s);
	assert_non_null(strstr(s.f.seen[0].body, "\"clusterIPs\":[\"10.96.0.10\",\"fd00:10:96::a\"],"
						 "\"ipFamilyPolicy\":\"RequireDualStack\""));
	assert_string_equal(s.f.seen[1].body, slice_body);
	assert_non_null(strstr(s.f.seen[2].body, "\"name\":\"kube-dns6-node-a\""));
	assert_non_null(strstr(s.f.seen[2].body, "\"addressType\":\"IPv6\",\"endpoints\":[{\"addresses\":["
						 "\"fd00:10:244::1\"]"));
	end(&s);
}

static void does_nothing_without_addresses(void **state)
{
	static const struct step steps[] = {{0}};
	struct setup s;
	begin(&s, steps);
	s.o.n_cluster_ips = 0;
	run(&s);
	fl_dns_registration_gone(s.r, "kube-system", "kube-dns");
	assert_true(fl_dns_registration_done(s.r));
	end(&s);
}

static void is_freed_at_any_time(void **state)
{
	static const struct step steps[] = {
	    {"POST " SERVICES, 503, "{}"}, {"POST " SERVICES, 503, "{}"}, {"POST " SERVICES, 503, "{}"}, {0}};
	for (unsigned turns = 0; turns < 4; turns++) {
		struct setup s;
		begin(&s, steps);
		s.r = fl_dns_register(s.f.client, &s.o);
		for (unsigned i = 0; i < turns; i++)
			uv_run(&s.f.loop, UV_RUN_NOWAIT);
		fl_dns_registration_free(&s.r);
		teardown(&s.f);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(creates_both),
	    cmocka_unit_test(waits_for_the_namespace),
	    cmocka_unit_test(leaves_a_service_that_is_there),
	    cmocka_unit_test(looks_who_has_the_address),
	    cmocka_unit_test(keeps_a_slice_that_is_right),
	    cmocka_unit_test(corrects_a_slice_that_is_wrong),
	    cmocka_unit_test(makes_them_again_when_they_are_gone),
	    cmocka_unit_test(has_a_slice_of_each_family),
	    cmocka_unit_test(does_nothing_without_addresses),
	    cmocka_unit_test(is_freed_at_any_time),
	};
	return cmocka_run_group_tests_name("dns register", tests, NULL, NULL);
}
