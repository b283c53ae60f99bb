// SPDX-License-Identifier: Apache-2.0
// The whole role against the real API server, both as child processes on a fresh data directory. This process is the
// user, and the node: pods that are bound become ready, deleted ones go.
#include "objects.h"

#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <uv.h>

#include "apiserver/apiserver.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/map.h"
#include "client/informer.h"
#include "controller/controllers.h"
#include "controller/meta.h"
#include "controller/pod.h"
#include "io/tls.h"

#define MAX_ENDED 5

static char folder[] = "/tmp/fl-controllers-XXXXXX";
static char *kubeconfig, *port_file;
static uint16_t port;
static pid_t apiserver, controllers;
static uv_loop_t loop;
static uv_timer_t watchdog, heartbeat;
static struct fl_client *client;
static struct fl_informer *pods, *deployments, *sets, *slices, *endpoints, *namespaces, *nodes, *accounts, *leases,
    *maps, *rcs;
static bool node_works = true;
static unsigned next_ip = 1, lease_s;
static struct fl_map ready_since; // pod -> what this node said of it

static void watchdog_barks(uv_timer_t *t)
{
	fprintf(stderr, "the condition a test waits for did not come\n");
	kill(apiserver, SIGKILL);
	kill(controllers, SIGKILL);
	abort();
}

#define wait_for(condition)                                                                                            \
	while (!(condition))                                                                                           \
	uv_run(&loop, UV_RUN_ONCE)

// --- the processes ---

static void write_file(const char *name, const char *text)
{
	AUTO_FREE char *path = fl_asprintf("%s/%s", folder, name);
	FILE *f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static char *path_of(const char *name)
{
	return fl_asprintf("%s/%s", folder, name);
}

static void make_pki(void)
{
	struct fl_err err = {0};
	struct fl_pki_cert ca = {0}, server = {0}, admin = {0};
	struct fl_ip ip;
	const char *const groups[] = {"system:masters", NULL};
	assert_true(fl_ip_parse("127.0.0.1", &ip));
	struct fl_pki_request s = {.common_name = "kube-apiserver", .ips = &ip, .n_ips = 1, .server = true, .days = 2};
	struct fl_pki_request c = {.common_name = "admin", .organizations = groups, .client = true, .days = 2};
	assert_int_equal(fl_pki_make_ca("ca", 2, &ca, &err), 0);
	assert_int_equal(fl_pki_sign(&ca, &s, &server, &err), 0);
	assert_int_equal(fl_pki_sign(&ca, &c, &admin, &err), 0);
	write_file("ca.crt", ca.cert_pem);
	write_file("server.crt", server.cert_pem);
	write_file("server.key", server.key_pem);
	write_file("admin.crt", admin.cert_pem);
	write_file("admin.key", admin.key_pem);
	fl_pki_cert_deinit(&ca);
	fl_pki_cert_deinit(&server);
	fl_pki_cert_deinit(&admin);
}

static int run_apiserver(void)
{
	AUTO_FREE char *crt = path_of("server.crt"), *key = path_of("server.key"), *ca = path_of("ca.crt"),
		       *kcrt = path_of("admin.crt"), *kkey = path_of("admin.key");
	struct fl_ip ip;
	struct fl_err err = {0};
	if (!fl_ip_parse("127.0.0.1", &ip))
		return 1;
	struct fl_apiserver_opts o = {
	    .data_dir = folder,
	    .listen_ips = &ip,
	    .n_listen = 1,
	    .port = port,
	    .port_file = port_file,
	    .cert_file = crt,
	    .key_file = key,
	    .client_ca_file = ca,
	    .kubelet_cert_file = kcrt,
	    .kubelet_key_file = kkey,
	    .advertise_ip = fl_ip_from4(inet_addr("192.0.2.1")), // told, not used
	    .n_service_cidrs = 1,
	    .node_port_low = 30000,
	    .node_port_high = 32767,
	};
	if (!fl_cidr_parse("10.96.0.0/16", &o.service_cidrs[0], false))
		return 1;
	fl_log_init("apiserver", FL_LOG_WARN);
	int rc = fl_apiserver_run(&o, &err);
	if (rc < 0)
		fprintf(stderr, "apiserver: %s\n", err.text);
	return rc < 0;
}

static pid_t spawn(int (*run)(void))
{
	pid_t parent = getpid(), pid = fork();
	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	int rc = getppid() == parent ? run() : 1;
	fflush(NULL);
	_exit(rc);
}

static int run_controllers(void)
{
	struct fl_err err = {0};
	fl_log_init("controllers", FL_LOG_INFO);
	struct fl_controllers_opts o = {.kubeconfig = kubeconfig, .lease_s = lease_s, .max_ended = MAX_ENDED};
	int rc = fl_controllers_run(&o, &err);
	if (rc < 0)
		fprintf(stderr, "controllers: %s\n", err.text);
	return rc < 0;
}

static bool read_port(void)
{
	FILE *f = fopen(port_file, "r");
	unsigned n = 0;
	bool found = f && fscanf(f, "%u", &n) == 1 && n;
	if (f)
		fclose(f);
	if (found)
		port = (uint16_t)n;
	return found;
}

static void on_file(uv_fs_event_t *e, const char *name, int events, int status)
{
}

static void start_apiserver(void)
{
	uv_fs_event_t event;
	unlink(port_file);
	uv_fs_event_init(&loop, &event);
	uv_fs_event_start(&event, on_file, folder, 0);
	apiserver = spawn(run_apiserver);
	wait_for(read_port());
	uv_close((uv_handle_t *)&event, NULL);
	uv_run(&loop, UV_RUN_NOWAIT); // the handle is on this stack
}

static void end_process(pid_t pid, int sig, bool in_order)
{
	int status;
	kill(pid, sig);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (in_order)
		assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

// --- the node ---

static void ignore(void *arg, int rc, int http_status, struct fl_arena *a, struct fl_json *body,
		   const struct fl_err *err)
{
}

// Each pod is ready at a time of its own, later than all before it.
static char last_ready[FL_TIME_STRLEN];

static const char *next_ready_time(const char *pod)
{
	static int64_t last_ns;
	int64_t now = fl_real_ns();
	last_ns = (last_ns > now ? last_ns : now) + 2000000000;
	free(fl_map_set(&ready_since, pod, fl_strdup(fl_time_format(last_ns, last_ready))));
	return last_ready;
}

static void on_pod(void *arg, const struct fl_object *old, const struct fl_object *now)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	struct fl_podview p = now ? fl_podview_read(fl_object_tree(now, &a)) : (struct fl_podview){.node = ""};
	if (!now || !p.node[0] || !node_works)
		return;
	if (p.deleting) {
		fl_client_delete(client, &fl_gvr_pods, now->ns, now->name, now->uid, 0, NULL, ignore, NULL, NULL);
	} else if (!p.ready && !p.finished) {
		struct fl_json *patch =
		    yaml(&a,
			 "{status: {phase: Running, podIP: 10.244.0.%u, podIPs: [{ip: 10.244.0.%u}], conditions: "
			 "[{type: Ready, status: 'True', lastTransitionTime: '%s'}]}}",
			 next_ip, next_ip, next_ready_time(now->name));
		next_ip = next_ip % 250 + 1;
		fl_client_patch(client, &fl_gvr_pods, now->ns, now->name, "status", FL_PATCH_STRATEGIC, patch, ignore,
				NULL, NULL);
	}
}

// The node is alive for as long as its Lease is renewed: on a slow machine these tests take longer than its grace.
static void beat(uv_timer_t *t)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	char time[FL_TIME_STRLEN];
	fl_client_patch(client, &fl_gvr_leases, "kube-node-lease", "n1", NULL, FL_PATCH_MERGE,
			yaml(&a, "{spec: {renewTime: '%s'}}", fl_time_format_micro(fl_real_ns(), time)), ignore, NULL,
			NULL);
}

static struct fl_informer *watch(const struct fl_gvr *gvr,
				 void (*fn)(void *, const struct fl_object *, const struct fl_object *))
{
	struct fl_informer_opts o = {.gvr = gvr, .on_change = fn};
	struct fl_informer *i = NULL;
	struct fl_err err = {0};
	assert_int_equal(fl_informer_start(client, &o, &i, &err), 0);
	return i;
}

// --- the user ---

struct answer {
	bool done;
	int rc;
	char text[1024];
};

static void on_answer(void *arg, int rc, int http_status, struct fl_arena *a, struct fl_json *body,
		      const struct fl_err *err)
{
	struct answer *an = arg;
	an->done = true;
	an->rc = rc;
	snprintf(an->text, sizeof(an->text), "%s", err->text);
}

static void done_well(struct answer *an)
{
	wait_for(an->done);
	if (an->rc < 0)
		fail_msg("%s", an->text);
}

static void create(const struct fl_gvr *gvr, const char *ns, const char *text)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	struct answer an = {0};
	fl_client_create(client, gvr, ns, yaml(&a, "%s", text), on_answer, &an, NULL);
	done_well(&an);
}

static void patch(const struct fl_gvr *gvr, const char *ns, const char *name, const char *text)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	struct answer an = {0};
	fl_client_patch(client, gvr, ns, name, NULL, FL_PATCH_MERGE, yaml(&a, "%s", text), on_answer, &an, NULL);
	done_well(&an);
}

static void delete (const struct fl_gvr *gvr, const char *ns, const char *name, const char *propagation)
{
	struct answer an = {0};
	fl_client_delete(client, gvr, ns, name, NULL, -1, propagation, on_answer, &an, NULL);
	done_well(&an);
}

static void create_deployment(const char *ns, const char *name, int replicas)
{
	AUTO_FREE char *text = fl_asprintf(
	    "{apiVersion: apps/v1, kind: Deployment, metadata: {name: %s}, spec: {replicas: %d, selector: "
	    "{matchLabels: {app: %s}}, template: {metadata: {labels: {app: %s}}, spec: {containers: [{name: c, "
	    "image: one, ports: [{name: web, containerPort: 8080}]}]}}}}",
	    name, replicas, name, name);
	create(&fl_gvr_deployments, ns, text);
}

static int64_t status_count(const char *ns, const char *name, const char *key)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	const struct fl_object *o = fl_informer_find(deployments, ns, name);
	return o ? fl_json_int(fl_json_get(fl_object_tree(o, &a), "status"), key, 0) : -1;
}

static bool rolled_out(const char *ns, const char *name, int64_t replicas)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	const struct fl_object *o = fl_informer_find(deployments, ns, name);
	int64_t generation = o ? fl_json_int(fl_json_get(fl_object_tree(o, &a), "metadata"), "generation", 0) : 0;
	return o && status_count(ns, name, "observedGeneration") == generation &&
	       status_count(ns, name, "updatedReplicas") == replicas &&
	       status_count(ns, name, "replicas") == replicas &&
	       status_count(ns, name, "availableReplicas") == replicas;
}

struct tally {
	const char *service;
	unsigned ready, slices, all; // endpoints that are ready; slices; endpoints
};

static bool count_slice(void *arg, const struct fl_object *o)
{
	struct tally *t = arg;
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	struct fl_json *tree = fl_object_tree(o, &a);
	if (!fl_streq(fl_meta_label(tree, "kubernetes.io/service-name"), t->service))
		return true;
	t->slices++;
	t->all += fl_json_count(fl_json_get(tree, "endpoints"));
	fl_json_each (ep, fl_json_get(tree, "endpoints"))
		t->ready += fl_json_bool(fl_json_get(ep, "conditions"), "ready", false);
	return true;
}

// Of the first slice with a ready endpoint: what its annotation is to be, and is.
static char trigger_wanted[FL_TIME_STRLEN], trigger_told[FL_TIME_STRLEN];
// A slice that is written tells of no change before this one.
static const char *trigger_after;

static const char *trigger_of(const struct fl_json *slice)
{
	const char *time = fl_meta_annotation(slice, "endpoints.kubernetes.io/last-change-trigger-time");
	return time ? time : "none";
}

static void on_slice(void *arg, const struct fl_object *old, const struct fl_object *now)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	const struct fl_json *tree = now ? fl_object_tree(now, &a) : NULL;
	if (trigger_after && now && strcmp(trigger_of(tree), trigger_after) <= 0)
		fail_msg("a slice was written at %s for a change of %s", trigger_after, trigger_of(tree));
	if (trigger_told[0])
		return;
	fl_json_each (ep, fl_json_get(tree, "endpoints")) {
		const char *pod = fl_json_str_or(fl_json_get(ep, "targetRef"), "name", ""),
			   *since = fl_map_get(&ready_since, pod);
		if (!fl_json_bool(fl_json_get(ep, "conditions"), "ready", false) || !since)
			continue;
		if (!trigger_wanted[0] || strcmp(since, trigger_wanted) < 0)
			snprintf(trigger_wanted, sizeof(trigger_wanted), "%s", since);
	}
	if (trigger_wanted[0])
		snprintf(trigger_told, sizeof(trigger_told), "%s", trigger_of(tree));
}

static struct tally tally(const char *ns, const char *service)
{
	struct tally t = {.service = service};
	fl_informer_each(slices, ns, count_slice, &t);
	return t;
}

static bool add_one(void *arg, const struct fl_object *o)
{
	(*(unsigned *)arg)++;
	return true;
}

static unsigned how_many(struct fl_informer *i, const char *ns)
{
	unsigned n = 0;
	fl_informer_each(i, ns, add_one, &n);
	return n;
}

static size_t addresses(const char *ns, const char *name)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	const struct fl_object *o = fl_informer_find(endpoints, ns, name);
	size_t n = 0;
	if (o)
		fl_json_each (s, fl_json_get(fl_object_tree(o, &a), "subsets"))
			n += fl_json_count(fl_json_get(s, "addresses"));
	return n;
}

// --- tests; each leaves what the next one builds on ---

static void pods_wait_for_a_node(void **state)
{
	create(&fl_gvr_services, "default",
	       "{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {selector: {app: web}, ports: [{port: 80, "
	       "targetPort: web}]}}");
	create_deployment("default", "web", 3);
	wait_for(status_count("default", "web", "replicas") == 3 && tally("default", "web").slices == 1);
	assert_int_equal(tally("default", "web").ready, 0);
	create(&fl_gvr_nodes, NULL,
	       "{apiVersion: v1, kind: Node, metadata: {name: n1}, status: {conditions: [{type: Ready, status: "
	       "'True'}]}}");
	create(&fl_gvr_leases, "kube-node-lease",
	       "{apiVersion: coordination.k8s.io/v1, kind: Lease, metadata: {name: n1}}");
	uv_timer_start(&heartbeat, beat, 0, 5000);
	wait_for(rolled_out("default", "web", 3));
	wait_for(tally("default", "web").ready == 3 && addresses("default", "web") == 3);
	assert_int_equal(how_many(pods, "default"), 3);
	assert_string_equal(trigger_told, trigger_wanted); // the earliest that the slice tells of
}

static void rolls(void **state)
{
	patch(&fl_gvr_deployments, "default", "web",
	      "{spec: {replicas: 5, template: {spec: {containers: [{name: c, image: two, ports: [{name: web, "
	      "containerPort: 8080}]}]}}}}");
	wait_for(rolled_out("default", "web", 5));
	wait_for(how_many(pods, "default") == 5 && tally("default", "web").ready == 5);
	assert_int_equal(how_many(sets, "default"), 2);
}

static void goes_on_after_the_server_was_killed(void **state)
{
	end_process(apiserver, SIGKILL, false);
	start_apiserver();
	patch(&fl_gvr_deployments, "default", "web", "{spec: {replicas: 2}}");
	wait_for(rolled_out("default", "web", 2));
	wait_for(how_many(pods, "default") == 2 && tally("default", "web").ready == 2);
}

static bool end_pod(void *arg, const struct fl_object *o)
{
	fl_client_delete(client, &fl_gvr_pods, o->ns, o->name, o->uid, 0, NULL, ignore, NULL, NULL);
	return true;
}

struct state { // of a Service's endpoints
	uint64_t rvs;
	char trigger[FL_TIME_STRLEN];
};

static bool add_state(void *arg, const struct fl_object *o)
{
	struct state *s = arg;
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	const struct fl_json *tree = fl_object_tree(o, &a);
	if (!fl_streq(fl_meta_label(tree, "kubernetes.io/service-name"), "web"))
		return true;
	s->rvs += o->rv;
	snprintf(s->trigger, sizeof(s->trigger), "%s", trigger_of(tree));
	return true;
}

static struct state state_of_web(void)
{
	struct state s = {.rvs = fl_informer_find(endpoints, "default", "web")->rv};
	fl_informer_each(slices, "default", add_state, &s);
	return s;
}

static void goes_on_after_its_own_end(void **state)
{
	wait_for(tally("default", "web").all == 2 && addresses("default", "web") == 2);
	struct state before = state_of_web();
	end_process(controllers, SIGKILL, false);
	controllers = spawn(run_controllers);
	create(&fl_gvr_services, "default",
	       "{apiVersion: v1, kind: Service, metadata: {name: mark}, spec: {selector: {app: none}, ports: [{port: "
	       "80}]}}");
	wait_for(tally("default", "mark").slices == 1 && fl_informer_find(endpoints, "default", "mark"));
	struct state after = state_of_web();
	assert_true(before.rvs == after.rvs); // nothing is written that is right already
	delete (&fl_gvr_services, "default", "mark", NULL);

	AUTO_FREE char *known = fl_strdup(last_ready);
	wait_for(!tally("default", "mark").slices);
	trigger_after = known;
	end_process(controllers, SIGKILL, false);
	fl_informer_each(pods, "default", end_pod, NULL); // so that there is something to write at once
	wait_for(!how_many(pods, "default"));
	patch(&fl_gvr_deployments, "default", "web", "{spec: {replicas: 4}}");
	controllers = spawn(run_controllers);
	wait_for(rolled_out("default", "web", 4));
	wait_for(tally("default", "web").ready == 4 && addresses("default", "web") == 4);
	after = state_of_web();
	assert_true(strcmp(after.trigger, known) > 0 && strcmp(after.trigger, last_ready) <= 0); // of the new pods
	trigger_after = NULL;
}

static void orphans_and_adopts(void **state)
{
	delete (&fl_gvr_deployments, "default", "web", "Orphan");
	wait_for(!fl_informer_find(deployments, "default", "web"));
	assert_int_equal(how_many(sets, "default"), 2);
	assert_int_equal(how_many(pods, "default"), 4);
	create_deployment("default", "web", 4); // its template is the older set's
	wait_for(rolled_out("default", "web", 4));
	assert_int_equal(how_many(sets, "default"), 2);
}

static void deletes_in_the_foreground(void **state)
{
	delete (&fl_gvr_deployments, "default", "web", "Foreground");
	wait_for(!fl_informer_find(deployments, "default", "web"));
	wait_for(!how_many(sets, "default") && !how_many(pods, "default"));
	wait_for(tally("default", "web").slices == 1 && !tally("default", "web").ready);
	delete (&fl_gvr_services, "default", "web", NULL);
	wait_for(!tally("default", "web").slices && !fl_informer_find(endpoints, "default", "web"));
}

static bool has_certificate(const char *ns)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	const struct fl_object *o = fl_informer_find(maps, ns, "kube-root-ca.crt");
	const struct fl_json *data = o ? fl_json_get(fl_object_tree(o, &a), "data") : NULL;
	return fl_json_count(data) == 1 &&
	       fl_starts_with(fl_json_str_or(data, "ca.crt", ""), "-----BEGIN CERTIFICATE-----");
}

static void furnishes_namespaces(void **state)
{
	wait_for(fl_informer_find(accounts, "kube-system", "default") && has_certificate("kube-system"));
	create(&fl_gvr_namespaces, NULL, "{apiVersion: v1, kind: Namespace, metadata: {name: new}}");
	wait_for(fl_informer_find(accounts, "new", "default") && has_certificate("new"));
	AUTO_FREE char *uid = fl_strdup(fl_informer_find(accounts, "new", "default")->uid);
	delete (&fl_gvr_serviceaccounts, "new", "default", NULL);
	const struct fl_object *o;
	wait_for((o = fl_informer_find(accounts, "new", "default")) && strcmp(o->uid, uid) != 0);
	delete (&fl_gvr_configmaps, "new", "kube-root-ca.crt", NULL);
	wait_for(has_certificate("new"));
	patch(&fl_gvr_configmaps, "new", "kube-root-ca.crt", "{data: {ca.crt: forged, more: x}}");
	wait_for(has_certificate("new"));
	delete (&fl_gvr_namespaces, NULL, "new", NULL);
	wait_for(!fl_informer_find(namespaces, "", "new"));
}

// --- garbage ---

// A ConfigMap of that name with such owners: "kind/name/uid ...".
static void create_owned(const char *name, const char *owners, const char *finalizer)
{
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	AUTO_FREE char *list = fl_strdup(owners);
	fl_buf_printf(&b, "{apiVersion: v1, kind: ConfigMap, metadata: {name: %s, finalizers: [%s], ownerReferences: [",
		      name, finalizer);
	for (char *rest = list, *one; (one = strsep(&rest, " "));) {
		const char *kind = strsep(&one, "/"), *owner = strsep(&one, "/");
		fl_buf_printf(&b, "{apiVersion: v1, kind: %s, name: %s, uid: %s, blockOwnerDeletion: true},", kind,
			      owner, one);
	}
	fl_buf_puts(&b, "]}}");
	create(&fl_gvr_configmaps, "default", b.data);
}

static bool is_there(const char *name)
{
	return fl_informer_find(maps, "default", name) != NULL;
}

static char *owner_ref(struct fl_informer *i, const char *kind, const char *ns, const char *name)
{
	wait_for(fl_informer_find(i, ns, name));
	return fl_asprintf("%s/%s/%s", kind, name, fl_informer_find(i, ns, name)->uid);
}

static char *create_owner(const char *name)
{
	AUTO_FREE char *text = fl_asprintf("{apiVersion: v1, kind: ConfigMap, metadata: {name: %s}}", name);
	create(&fl_gvr_configmaps, "default", text);
	return owner_ref(maps, "ConfigMap", "default", name);
}

// New objects whose owners stand are no work for the collector; it must see them all the same when an owner goes.
static void collects_what_a_standing_owner_leaves(void **state)
{
	AUTO_FREE char *one = create_owner("one"), *two = create_owner("two"), *both = fl_asprintf("%s %s", one, two);
	create_owned("of-one", one, "");
	create_owned("of-both", both, "");
	create(&fl_gvr_nodes, NULL, "{apiVersion: v1, kind: Node, metadata: {name: n2}, spec: {unschedulable: true}}");
	AUTO_FREE char *node = owner_ref(nodes, "Node", "", "n2");
	create_owned("of-node", node, "");
	delete (&fl_gvr_configmaps, "default", "one", "Background");
	wait_for(!is_there("of-one"));
	assert_true(is_there("of-both") && is_there("of-node"));
	delete (&fl_gvr_configmaps, "default", "two", "Background");
	wait_for(!is_there("of-both"));
	delete (&fl_gvr_nodes, NULL, "n2", NULL);
	wait_for(!is_there("of-node"));
}

static void collects_what_comes_too_late(void **state)
{
	AUTO_FREE char *was = create_owner("one");
	delete (&fl_gvr_configmaps, "default", "one", "Background");
	create_owned("late", was, "");
	wait_for(!fl_informer_find(maps, "default", "one"));
	AUTO_FREE char *is = create_owner("one"); // under its name, another
	create_owned("of-another", was, "");
	create_owned("stays", is, "");
	wait_for(!is_there("late") && !is_there("of-another"));

	// The owner waits in the foreground for a dependent that waits for somebody else; what comes meanwhile goes.
	create_owned("blocks", is, "example.org/slow");
	delete (&fl_gvr_configmaps, "default", "one", "Foreground");
	wait_for(!is_there("stays"));
	create_owned("meanwhile", is, "");
	wait_for(!is_there("meanwhile"));
	assert_true(is_there("one") && is_there("blocks"));
	patch(&fl_gvr_configmaps, "default", "blocks", "{metadata: {finalizers: null}}");
	wait_for(!is_there("one") && !is_there("blocks"));
}

// Each blocks the next, and the last the first.
static void goes_in_a_circle(void **state)
{
	AUTO_FREE char *c = create_owner("c");
	create_owned("b", c, "");
	AUTO_FREE char *b = owner_ref(maps, "ConfigMap", "default", "b");
	create_owned("a", b, "");
	AUTO_FREE char *a = owner_ref(maps, "ConfigMap", "default", "a");
	AUTO_FREE char *closes = fl_asprintf("{metadata: {ownerReferences: [{apiVersion: v1, kind: ConfigMap, name: a, "
					     "uid: %s, blockOwnerDeletion: true}]}}",
					     strrchr(a, '/') + 1);
	patch(&fl_gvr_configmaps, "default", "c", closes);
	delete (&fl_gvr_configmaps, "default", "a", "Foreground");
	wait_for(!is_there("a") && !is_there("b") && !is_there("c"));
}

// The dependent's event and the owner's end, each way round and at once.
static void collects_what_is_made_while_its_owner_goes(void **state)
{
	enum { ROUNDS = 20 };
	for (unsigned i = 0; i < ROUNDS; i++) {
		AUTO(fl_arena_deinit) struct fl_arena a = {0};
		AUTO_FREE char *name = fl_asprintf("racer%u", i), *owner = create_owner(name);
		struct answer made[2] = {0}, gone = {0};
		for (unsigned k = 0; k < 2; k++) {
			struct fl_json *o =
			    yaml(&a,
				 "{apiVersion: v1, kind: ConfigMap, metadata: {name: r%u-%u, "
				 "ownerReferences: [{apiVersion: v1, kind: ConfigMap, name: %s, uid: %s}]}}",
				 i, k, name, strrchr(owner, '/') + 1);
			if (k)
				fl_client_delete(client, &fl_gvr_configmaps, "default", name, NULL, -1, "Background",
						 on_answer, &gone, NULL);
			fl_client_create(client, &fl_gvr_configmaps, "default", o, on_answer, &made[k], NULL);
		}
		done_well(&made[0]);
		done_well(&gone);
		done_well(&made[1]);
	}
	wait_for(how_many(maps, "default") == 1);
	assert_true(has_certificate("default"));
}

// References that lead nowhere have the uid of an owner that stands: they go, and what is rightly its own stays.
static void believes_no_wrong_reference(void **state)
{
	AUTO_FREE char *owner = create_owner("one"),
		       *misnamed = fl_asprintf("ConfigMap/no-such%s", strrchr(owner, '/'));
	create_owned("before", owner, "");
	create_owned("misnamed", misnamed, "");
	wait_for(!is_there("misnamed"));
	create(&fl_gvr_namespaces, NULL, "{apiVersion: v1, kind: Namespace, metadata: {name: far}}");
	AUTO_FREE char *text = fl_asprintf(
	    "{apiVersion: v1, kind: ConfigMap, metadata: {name: stranger, ownerReferences: [{apiVersion: v1, kind: "
	    "ConfigMap, name: one, uid: %s}]}}",
	    strrchr(owner, '/') + 1);
	create(&fl_gvr_configmaps, "far", text);
	wait_for(!fl_informer_find(maps, "far", "stranger"));
	create_owned("after", owner, "");
	patch(&fl_gvr_configmaps, "default", "before", "{metadata: {finalizers: [example.org/slow]}}"); // judged anew
	create_owned("misnamed", misnamed, ""); // and so are both before this one
	wait_for(!is_there("misnamed"));
	assert_true(is_there("after"));
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	assert_false(fl_meta_deleting(fl_object_tree(fl_informer_find(maps, "default", "before"), &a)));
	patch(&fl_gvr_configmaps, "default", "before", "{metadata: {finalizers: null}}");
	delete (&fl_gvr_namespaces, NULL, "far", NULL);
	delete (&fl_gvr_configmaps, "default", "one", NULL);
	wait_for(!is_there("before") && !is_there("after") && !fl_informer_find(namespaces, "", "far"));
}

static int64_t rc_count(const char *name, const char *key)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	const struct fl_object *o = fl_informer_find(rcs, "default", name);
	return o ? fl_json_int(fl_json_get(fl_object_tree(o, &a), "status"), key, 0) : -1;
}

static void replicates(void **state)
{
	create(&fl_gvr_pods, "default",
	       "{apiVersion: v1, kind: Pod, metadata: {name: stray, labels: {app: rc}}, spec: {containers: [{name: c, "
	       "image: "
	       "one}]}}");
	create(&fl_gvr_replicationcontrollers, "default",
	       "{apiVersion: v1, kind: ReplicationController, metadata: {name: rc}, spec: {replicas: 3, template: "
	       "{metadata: "
	       "{labels: {app: rc}}, spec: {containers: [{name: c, image: one}]}}}}");
	wait_for(rc_count("rc", "availableReplicas") == 3);
	assert_int_equal(how_many(pods, "default"), 3);
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	const struct fl_json *ref = fl_meta_controller(fl_object_tree(fl_informer_find(pods, "default", "stray"), &a));
	assert_string_equal(fl_json_str_or(ref, "kind", ""), "ReplicationController");
	patch(&fl_gvr_replicationcontrollers, "default", "rc", "{spec: {replicas: 1}}");
	wait_for(rc_count("rc", "replicas") == 1 && how_many(pods, "default") == 1);
	delete (&fl_gvr_replicationcontrollers, "default", "rc", "Background");
	wait_for(!how_many(pods, "default"));
}

static void mirrors_endpoints_made_by_hand(void **state)
{
	create(&fl_gvr_endpoints, "default",
	       "{apiVersion: v1, kind: Endpoints, metadata: {name: hand}, subsets: [{addresses: [{ip: 198.51.100.5}], "
	       "ports: "
	       "[{port: 80}]}]}");
	create(&fl_gvr_services, "default",
	       "{apiVersion: v1, kind: Service, metadata: {name: hand}, spec: {ports: [{port: 80}]}}");
	wait_for(tally("default", "hand").slices == 1 && tally("default", "hand").ready == 1);
	patch(&fl_gvr_endpoints, "default", "hand",
	      "{subsets: [{addresses: [{ip: 198.51.100.5}, {ip: 198.51.100.6}], ports: [{port: 80}]}]}");
	wait_for(tally("default", "hand").ready == 2);
	patch(&fl_gvr_endpoints, "default", "hand",
	      "{metadata: {labels: {endpointslice.kubernetes.io/skip-mirror: 'true'}}}");
	wait_for(!tally("default", "hand").slices);
	patch(&fl_gvr_endpoints, "default", "hand",
	      "{metadata: {labels: {endpointslice.kubernetes.io/skip-mirror: null}}}");
	wait_for(tally("default", "hand").ready == 2);
	delete (&fl_gvr_services, "default", "hand", NULL);
	wait_for(!tally("default", "hand").slices && !fl_informer_find(endpoints, "default", "hand"));
}

static bool has_remaining(const char *ns, const char *what)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	const struct fl_object *o = fl_informer_find(namespaces, "", ns);
	const struct fl_json *c =
	    o ? fl_meta_condition(fl_json_get(fl_object_tree(o, &a), "status"), "NamespaceContentRemaining") : NULL;
	return strstr(fl_json_str_or(c, "message", ""), what) != NULL;
}

static bool is_being_deleted(struct fl_informer *i, const char *ns, const char *name)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	const struct fl_object *o = fl_informer_find(i, ns, name);
	assert_non_null(o);
	return fl_meta_deleting(fl_object_tree(o, &a));
}

// The pods go first, and all else stays as it is until they have gone.
static void empties_a_namespace(void **state)
{
	create(&fl_gvr_namespaces, NULL, "{apiVersion: v1, kind: Namespace, metadata: {name: team}}");
	create(&fl_gvr_configmaps, "team", "{apiVersion: v1, kind: ConfigMap, metadata: {name: cm}}");
	create_deployment("team", "app", 2);
	wait_for(rolled_out("team", "app", 2));
	node_works = false;
	delete (&fl_gvr_namespaces, NULL, "team", NULL);
	wait_for(has_remaining("team", "pods. has 2 resource instances"));
	assert_false(is_being_deleted(maps, "team", "cm"));
	assert_false(is_being_deleted(deployments, "team", "app"));
	node_works = true;
	fl_informer_each(pods, "team", end_pod, NULL);
	wait_for(!fl_informer_find(namespaces, "", "team"));
	wait_for(!how_many(pods, "team") && !how_many(sets, "team") && !how_many(deployments, "team"));
}

// Two that wait for each other, since both were deleted in the foreground before either was looked at.
static void empties_a_namespace_of_what_waits_for_ever(void **state)
{
	struct answer gone[2] = {0};
	create(&fl_gvr_namespaces, NULL, "{apiVersion: v1, kind: Namespace, metadata: {name: knot}}");
	create(&fl_gvr_configmaps, "knot", "{apiVersion: v1, kind: ConfigMap, metadata: {name: left}}");
	create(&fl_gvr_configmaps, "knot", "{apiVersion: v1, kind: ConfigMap, metadata: {name: right}}");
	AUTO_FREE char *left = owner_ref(maps, "ConfigMap", "knot", "left"),
		       *right = owner_ref(maps, "ConfigMap", "knot", "right");
	static const char refs[] = "{metadata: {ownerReferences: [{apiVersion: v1, kind: ConfigMap, name: %s, uid: %s, "
				   "blockOwnerDeletion: true}]}}";
	AUTO_FREE char *to_left = fl_asprintf(refs, "left", strrchr(left, '/') + 1),
		       *to_right = fl_asprintf(refs, "right", strrchr(right, '/') + 1);
	patch(&fl_gvr_configmaps, "knot", "left", to_right);
	patch(&fl_gvr_configmaps, "knot", "right", to_left);
	kill(controllers, SIGSTOP);
	fl_client_delete(client, &fl_gvr_configmaps, "knot", "left", NULL, -1, "Foreground", on_answer, &gone[0], NULL);
	fl_client_delete(client, &fl_gvr_configmaps, "knot", "right", NULL, -1, "Foreground", on_answer, &gone[1],
			 NULL);
	done_well(&gone[0]);
	done_well(&gone[1]);
	kill(controllers, SIGCONT);
	delete (&fl_gvr_namespaces, NULL, "knot", NULL);
	wait_for(!fl_informer_find(namespaces, "", "knot"));
}

static unsigned ended(void)
{
	return how_many(pods, "ends");
}

// Nothing else deletes what has ended: of more than so many the oldest goes.
static void removes_pods_that_ended_long_ago(void **state)
{
	create(&fl_gvr_namespaces, NULL, "{apiVersion: v1, kind: Namespace, metadata: {name: ends}}");
	wait_for(fl_informer_find(accounts, "ends", "default"));
	for (unsigned i = 0; i < MAX_ENDED + 2; i++) {
		AUTO_FREE char *name = fl_asprintf("e%u", i),
			       *text =
				   fl_asprintf("{apiVersion: v1, kind: Pod, metadata: {name: %s}, spec: {nodeSelector: "
					       "{none: such}, containers: [{name: c, image: one}]}}",
					       name);
		AUTO(fl_arena_deinit) struct fl_arena a = {0};
		struct answer an = {0};
		create(&fl_gvr_pods, "ends", text);
		fl_client_patch(client, &fl_gvr_pods, "ends", name, "status", FL_PATCH_MERGE,
				yaml(&a, "{status: {phase: %s, reason: %s}}", i == 3 ? "Failed" : "Succeeded",
				     i == 3 ? "Evicted" : "Done"),
				on_answer, &an, NULL);
		done_well(&an);
		if (i + 1 == MAX_ENDED) // so many stay
			wait_for(ended() == MAX_ENDED);
	}
	wait_for(ended() == MAX_ENDED);
	assert_null(fl_informer_find(pods, "ends", "e3")); // evicted
	assert_null(fl_informer_find(pods, "ends", "e0"));
	assert_non_null(fl_informer_find(pods, "ends", "e6"));
	delete (&fl_gvr_namespaces, NULL, "ends", NULL);
	wait_for(!fl_informer_find(namespaces, "", "ends"));
}

static const struct fl_json *lease(struct fl_arena *a)
{
	const struct fl_object *o = fl_informer_find(leases, "kube-system", "fairlead-controllers");
	return o ? fl_json_get(fl_object_tree(o, a), "spec") : NULL;
}

static bool leads(const char *holder, int64_t transitions)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	const struct fl_json *l = lease(&a);
	return (!holder || fl_streq(fl_json_str(l, "holderIdentity"), holder)) &&
	       fl_json_int(l, "leaseTransitions", 0) == transitions;
}

// The first leads. It is halted, and the second takes over; the first wakes, finds that out and ends. It comes again,
// as a candidate, and takes over when the second is killed. Told to end it gives its Lease back, and another leads.
static void one_of_two_acts(void **state)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	int status;
	assert_int_equal(fl_json_int(lease(&a), "leaseTransitions", -1), 0); // its own restarts changed no holder
	AUTO_FREE char *first = fl_strdup(fl_json_str_or(lease(&a), "holderIdentity", ""));
	end_process(controllers, SIGTERM, true);
	wait_for(leads("", 0));
	lease_s = 4;
	controllers = spawn(run_controllers);
	wait_for(fl_json_int(lease(&a), "leaseDurationSeconds", 0) == 4);
	assert_true(leads(first, 1));
	pid_t second = spawn(run_controllers);
	create_deployment("default", "twin", 1);
	wait_for(rolled_out("default", "twin", 1));
	kill(controllers, SIGSTOP);
	wait_for(leads(NULL, 2));
	assert_false(leads(first, 2));
	patch(&fl_gvr_deployments, "default", "twin", "{spec: {replicas: 2}}");
	wait_for(rolled_out("default", "twin", 2));
	kill(controllers, SIGCONT);
	assert_int_equal(waitpid(controllers, &status, 0), controllers);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);
	assert_false(leads(first, 2));
	controllers = spawn(run_controllers);
	end_process(second, SIGKILL, false);
	patch(&fl_gvr_deployments, "default", "twin", "{spec: {replicas: 3}}");
	wait_for(leads(first, 3));
	wait_for(rolled_out("default", "twin", 3));

	end_process(controllers, SIGTERM, true);
	wait_for(leads("", 3));
	controllers = spawn(run_controllers);
	wait_for(leads(first, 4));
	second = spawn(run_controllers);
	create_deployment("default", "heir", 1);
	wait_for(rolled_out("default", "heir", 1));
	end_process(controllers, SIGTERM, true);
	controllers = second;
	patch(&fl_gvr_deployments, "default", "heir", "{spec: {replicas: 2}}");
	wait_for(leads(NULL, 5) && !leads(first, 5) && !leads("", 5));
	wait_for(rolled_out("default", "heir", 2));
}

static int start(void **state)
{
	assert_non_null(mkdtemp(folder));
	uv_loop_init(&loop);
	uv_timer_init(&loop, &watchdog);
	uv_timer_init(&loop, &heartbeat);
	uv_timer_start(&watchdog, watchdog_barks, 120000, 0);
	kubeconfig = path_of("kubeconfig");
	port_file = path_of("port");
	make_pki();
	start_apiserver();
	AUTO_FREE char *text = fl_asprintf(
	    "{current-context: x, contexts: [{name: x, context: {cluster: x, user: x}}], clusters: [{name: x, cluster: "
	    "{server: 'https://127.0.0.1:%u', certificate-authority: ca.crt}}], users: [{name: x, user: "
	    "{client-certificate: admin.crt, client-key: admin.key}}]}",
	    port);
	write_file("kubeconfig", text);
	AUTO(fl_kubeconfig_deinit) struct fl_kubeconfig cfg = {0};
	struct fl_err err = {0};
	assert_int_equal(fl_kubeconfig_load(kubeconfig, NULL, &cfg, &err), 0);
	assert_int_equal(fl_client_new(&loop, &cfg, "test", &client, &err), 0);
	controllers = spawn(run_controllers);
	pods = watch(&fl_gvr_pods, on_pod);
	deployments = watch(&fl_gvr_deployments, NULL);
	sets = watch(&fl_gvr_replicasets, NULL);
	slices = watch(&fl_gvr_endpointslices, on_slice);
	endpoints = watch(&fl_gvr_endpoints, NULL);
	namespaces = watch(&fl_gvr_namespaces, NULL);
	nodes = watch(&fl_gvr_nodes, NULL);
	accounts = watch(&fl_gvr_serviceaccounts, NULL);
	maps = watch(&fl_gvr_configmaps, NULL);
	leases = watch(&fl_gvr_leases, NULL);
	rcs = watch(&fl_gvr_replicationcontrollers, NULL);
	return 0;
}

static int stop(void **state)
{
	struct fl_informer **all[] = {&pods,  &deployments, &sets,   &slices, &endpoints, &namespaces,
				      &nodes, &accounts,    &leases, &maps,   &rcs};
	for (size_t i = 0; i < FL_COUNT(all); i++)
		fl_informer_stop(all[i]);
	fl_client_free(&client);
	uv_close((uv_handle_t *)&watchdog, NULL);
	uv_close((uv_handle_t *)&heartbeat, NULL);
	uv_run(&loop, UV_RUN_DEFAULT);
	end_process(controllers, SIGTERM, true);
	end_process(apiserver, SIGTERM, true);
	for (struct fl_map_iter it = {0}; fl_map_next(&ready_since, &it);)
		free(it.value);
	fl_map_deinit(&ready_since);
	free(kubeconfig);
	free(port_file);
	AUTO_FREE char *clean = fl_asprintf("rm -r %s", folder);
	return uv_loop_close(&loop) || system(clean);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(pods_wait_for_a_node),
	    cmocka_unit_test(rolls),
	    cmocka_unit_test(goes_on_after_the_server_was_killed),
	    cmocka_unit_test(goes_on_after_its_own_end),
	    cmocka_unit_test(orphans_and_adopts),
	    cmocka_unit_test(deletes_in_the_foreground),
	    cmocka_unit_test(furnishes_namespaces),
	    cmocka_unit_test(collects_what_a_standing_owner_leaves),
	    cmocka_unit_test(collects_what_comes_too_late),
	    cmocka_unit_test(goes_in_a_circle),
	    cmocka_unit_test(collects_what_is_made_while_its_owner_goes),
	    cmocka_unit_test(believes_no_wrong_reference),
	    cmocka_unit_test(replicates),
	    cmocka_unit_test(mirrors_endpoints_made_by_hand),
	    cmocka_unit_test(empties_a_namespace),
	    cmocka_unit_test(empties_a_namespace_of_what_waits_for_ever),
	    cmocka_unit_test(removes_pods_that_ended_long_ago),
	    cmocka_unit_test(one_of_two_acts),
	};
	return cmocka_run_group_tests(tests, start, stop);
}
