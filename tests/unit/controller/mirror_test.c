// SPDX-License-Identifier: Apache-2.0
#include "objects.h"

#include "controller/mirror/plan.h"

struct world {
	struct fl_arena a;
	fl_slice_plan plan;
	struct fl_mirror_left_out left_out;
};

#define META "metadata: {name: m, namespace: d, uid: ue"
#define OWNER                                                                                                          \
	"ownerReferences: [{apiVersion: v1, kind: Endpoints, name: m, uid: ue, controller: true, blockOwnerDeletion: " \
	"true}]"
#define LABELS                                                                                                         \
	"endpointslice.kubernetes.io/managed-by: endpointslicemirroring-controller.k8s.io, "                           \
	"kubernetes.io/service-name: m"

static void plan(struct world *w, struct fl_json *endpoints, struct fl_json *const *slices, size_t n, size_t max)
{
	fl_vec_deinit(&w->plan);
	fl_mirror_plan(&w->a, endpoints, (const struct fl_json *const *)slices, n, max, &w->plan, &w->left_out);
}

static void end(struct world *w)
{
	fl_vec_deinit(&w->plan);
	fl_arena_deinit(&w->a);
}

// As the API server would keep it: with a name.
static struct fl_json *kept(struct world *w, size_t step, const char *name)
{
	struct fl_json *o = fl_json_clone(&w->a, w->plan.v[step].slice), *meta = fl_json_get(o, "metadata");
	fl_json_set_str(&w->a, meta, "name", name);
	fl_json_set_str(&w->a, meta, "uid", name);
	return o;
}

static void one_slice_for_a_family_and_its_ports(void **state)
{
	struct world w = {0};
	struct fl_json *ep = yaml(
	    &w.a,
	    "{" META ", labels: {k: v}, annotations: {note: x, endpoints.kubernetes.io/last-change-trigger-time: t, "
	    "kubectl.kubernetes.io/last-applied-configuration: '{}'}}, subsets: [{addresses: [{ip: 198.51.100.5, "
	    "hostname: h, nodeName: n1}, {ip: '2001:DB8::1'}], notReadyAddresses: [{ip: 198.51.100.6, targetRef: "
	    "{kind: Pod, name: p, uid: up}}], ports: [{port: 9376, name: p, protocol: TCP, appProtocol: http}]}]}");
	plan(&w, ep, NULL, 0, 1000);
	assert_int_equal(w.plan.n, 2);
	assert_is(
	    &w.a, w.plan.v[0].slice,
	    "{kind: EndpointSlice, apiVersion: discovery.k8s.io/v1, metadata: {generateName: m-, namespace: d, "
	    "labels: {k: v, " LABELS "}, annotations: {note: x}, " OWNER "}, addressType: IPv4, endpoints: "
	    "[{addresses: [198.51.100.5], conditions: {ready: true}, hostname: h, nodeName: n1}, {addresses: "
	    "[198.51.100.6], conditions: {ready: false}, targetRef: {kind: Pod, name: p, uid: up}}], ports: [{name: "
	    "p, protocol: TCP, port: 9376, appProtocol: http}]}");
	assert_is(&w.a, fl_json_get(w.plan.v[1].slice, "addressType"), "IPv6");
	assert_is(&w.a, fl_json_get(w.plan.v[1].slice, "endpoints"),
		  "[{addresses: ['2001:db8::1'], conditions: {ready: true}}]");
	struct fl_json *there[] = {kept(&w, 0, "m-1"), kept(&w, 1, "m-2")};
	plan(&w, ep, there, 2, 1000);
	assert_int_equal(w.plan.n, 0); // all is right already
	end(&w);
}

static void changes_what_differs_alone(void **state)
{
	struct world w = {0};
	static const char form[] =
	    "{" META "%s}, subsets: [{addresses: [{ip: %s}], ports: [{port: 1, name: a}]}, {addresses: "
	    "[{ip: 198.51.100.9}], ports: [{port: %d, name: b}]}]}";
	plan(&w, yaml(&w.a, form, "", "198.51.100.5", 2), NULL, 0, 1000);
	assert_int_equal(w.plan.n, 2);
	struct fl_json *there[] = {kept(&w, 0, "m-1"), kept(&w, 1, "m-2")};
	plan(&w, yaml(&w.a, form, "", "198.51.100.6", 2), there, 2, 1000); // an address
	assert_int_equal(w.plan.n, 1);
	assert_int_equal(w.plan.v[0].op, FL_SLICE_UPDATE);
	assert_string_equal(w.plan.v[0].name, "m-1");
	plan(&w, yaml(&w.a, form, "", "198.51.100.5", 3), there, 2, 1000); // ports: the slice is used again
	assert_int_equal(w.plan.n, 1);
	assert_int_equal(w.plan.v[0].op, FL_SLICE_UPDATE);
	assert_string_equal(w.plan.v[0].name, "m-2");
	assert_is(&w.a, fl_json_get(w.plan.v[0].slice, "ports"), "[{name: b, protocol: TCP, port: 3}]");
	plan(&w, yaml(&w.a, form, ", labels: {new: one}", "198.51.100.5", 2), there, 2, 1000); // labels: both
	assert_int_equal(w.plan.n, 2);
	plan(&w, yaml(&w.a, "{" META "}}"), there, 2, 1000); // no addresses: no slices
	assert_int_equal(w.plan.n, 2);
	assert_int_equal(w.plan.v[0].op, FL_SLICE_DELETE);
	assert_int_equal(w.plan.v[1].op, FL_SLICE_DELETE);
	end(&w);
}

static void subsets_with_the_same_ports_are_one(void **state)
{
	struct world w = {0};
	plan(&w,
	     yaml(&w.a,
		  "{" META "}, subsets: [{addresses: [{ip: 198.51.100.5}, {ip: 198.51.100.6}], ports: [{port: 1}]}, "
		  "{notReadyAddresses: [{ip: 198.51.100.5}], ports: [{port: 1}]}]}"),
	     NULL, 0, 1000);
	assert_int_equal(w.plan.n, 1);
	assert_is(
	    &w.a, fl_json_get(w.plan.v[0].slice, "endpoints"),
	    "[{addresses: [198.51.100.5], conditions: {ready: false}}, {addresses: [198.51.100.6], conditions: {ready: "
	    "true}}]");
	end(&w);
}

static void leaves_out_what_is_too_much_or_no_address(void **state)
{
	struct world w = {0};
	plan(&w,
	     yaml(&w.a,
		  "{" META "}, subsets: [{addresses: [{ip: 198.51.100.1}, {ip: nonsense}, {ip: 198.51.100.2}, {ip: "
		  "198.51.100.3}], ports: [{port: 1}]}]}"),
	     NULL, 0, 2);
	assert_int_equal(w.plan.n, 1);
	assert_int_equal(fl_json_count(fl_json_get(w.plan.v[0].slice, "endpoints")), 2);
	assert_int_equal(w.left_out.invalid, 1);
	assert_int_equal(w.left_out.beyond, 1);
	end(&w);
}

static void some_are_not_mirrored(void **state)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	assert_true(fl_mirror_wants(yaml(&a, "{" META "}}")));
	assert_false(
	    fl_mirror_wants(yaml(&a, "{" META ", labels: {endpointslice.kubernetes.io/skip-mirror: 'true'}}}")));
	assert_true(
	    fl_mirror_wants(yaml(&a, "{" META ", labels: {endpointslice.kubernetes.io/skip-mirror: 'false'}}}")));
	assert_false(
	    fl_mirror_wants(yaml(&a, "{" META ", annotations: {control-plane.alpha.kubernetes.io/leader: '{}'}}}")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(one_slice_for_a_family_and_its_ports),
	    cmocka_unit_test(changes_what_differs_alone),
	    cmocka_unit_test(subsets_with_the_same_ports_are_one),
	    cmocka_unit_test(leaves_out_what_is_too_much_or_no_address),
	    cmocka_unit_test(some_are_not_mirrored),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
