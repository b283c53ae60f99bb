// SPDX-License-Identifier: Apache-2.0
// The whole role against the real API server, both as child processes on a fresh data directory. The test's process is
// the user, and the node: pods that are bound become ready, deleted ones go.
#pragma once

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

static inline void watchdog_barks(uv_timer_t *t)
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

static inline void write_file(const char *name, const char *text)
{
	AUTO_FREE char *path = fl_asprintf("%s/%s", folder, name);
	FILE *f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static inline char *path_of(const char *name)
{
	return fl_asprintf("%s/%s", folder, name);
}

static inline void make_pki(void)
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

static inline int run_apiserver(void)
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

static inline pid_t spawn(int (*run)(void))
{
	pid_t parent = getpid(), pid = fork();
	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	int rc = getppid() == parent ? run() : 1;
	fflush(NULL);
	_exit(rc);
}

static inline int run_controllers(void)
{
	struct fl_err err = {0};
	fl_log_init("controllers", FL_LOG_INFO);
	struct fl_controllers_opts o = {.kubeconfig = kubeconfig, .lease_s = lease_s, .max_ended = MAX_ENDED};
	int rc = fl_controllers_run(&o, &err);
	if (rc < 0)
		fprintf(stderr, "controllers: %s\n", err.text);
	return rc < 0;
}

static inline bool read_port(void)
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

static inline void on_file(uv_fs_event_t *e, const char *name, int events, int status)
{
}

static inline void start_apiserver(void)
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

static inline void end_process(pid_t pid, int sig, bool in_order)
{
	int status;
	kill(pid, sig);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (in_order)
		assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

// --- the node ---

static inline void ignore(void *arg, int rc, int http_status, struct fl_arena *a, struct fl_json *body,
			  const struct fl_err *err)
{
}

// Each pod is ready at a time of its own, later than all before it.
static char last_ready[FL_TIME_STRLEN];

static inline const char *next_ready_time(const char *pod)
{
	static int64_t last_ns;
	int64_t now = fl_real_ns();
	last_ns = (last_ns > now ? last_ns : now) + 2000000000;
	free(fl_map_set(&ready_since, pod, fl_strdup(fl_time_format(last_ns, last_ready))));
	return last_ready;
}

static inline void on_pod(void *arg, const struct fl_object *old, const struct fl_object *now)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	if (!now || !node_works)
		return;
	struct fl_podview p = fl_podview_read(fl_object_tree(now, &a));
	if (!p.node[0])
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
static inline void beat(uv_timer_t *t)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	char time[FL_TIME_STRLEN];
	fl_client_patch(client, &fl_gvr_leases, "kube-node-lease", "n1", NULL, FL_PATCH_MERGE,
			yaml(&a, "{spec: {renewTime: '%s'}}", fl_time_format_micro(fl_real_ns(), time)), ignore, NULL,
			NULL);
}

static inline struct fl_informer *watch(const struct fl_gvr *gvr,
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

static inline void on_answer(void *arg, int rc, int http_status, struct fl_arena *a, struct fl_json *body,
			     const struct fl_err *err)
{
	struct answer *an = arg;
	an->done = true;
	an->rc = rc;
	snprintf(an->text, sizeof(an->text), "%s", err->text);
}

static inline void done_well(struct answer *an)
{
	wait_for(an->done);
	if (an->rc < 0)
		fail_msg("%s", an->text);
}

static inline void create(const struct fl_gvr *gvr, const char *ns, const char *text)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	struct answer an = {0};
	fl_client_create(client, gvr, ns, yaml(&a, "%s", text), on_answer, &an, NULL);
	done_well(&an);
}

static inline void patch(const struct fl_gvr *gvr, const char *ns, const char *name, const char *text)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	struct answer an = {0};
	fl_client_patch(client, gvr, ns, name, NULL, FL_PATCH_MERGE, yaml(&a, "%s", text), on_answer, &an, NULL);
	done_well(&an);
}

static inline void delete (const struct fl_gvr *gvr, const char *ns, const char *name, const char *propagation)
{
	struct answer an = {0};
	fl_client_delete(client, gvr, ns, name, NULL, -1, propagation, on_answer, &an, NULL);
	done_well(&an);
}

static inline void create_deployment(const char *ns, const char *name, int replicas)
{
	AUTO_FREE char *text = fl_asprintf(
	    "{apiVersion: apps/v1, kind: Deployment, metadata: {name: %s}, spec: {replicas: %d, selector: "
	    "{matchLabels: {app: %s}}, template: {metadata: {labels: {app: %s}}, spec: {containers: [{name: c, "
	    "image: one, ports: [{name: web, containerPort: 8080}]}]}}}}",
	    name, replicas, name, name);
	create(&fl_gvr_deployments, ns, text);
}

static inline int64_t status_count(const char *ns, const char *name, const char *key)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	const struct fl_object *o = fl_informer_find(deployments, ns, name);
	return o ? fl_json_int(fl_json_get(fl_object_tree(o, &a), "status"), key, 0) : -1;
}

static inline bool rolled_out(const char *ns, const char *name, int64_t replicas)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	const struct fl_object *o = fl_informer_find(deployments, ns, name);
	int64_t generation = o ? fl_json_int(fl_json_get(fl_object_tree(o, &a), "metadata"), "generation", 0) : 0;
	return o && status_count(ns, name, "observedGeneration") == generation &&
	       status_count(ns, name, "updatedReplicas") == replicas &&
	       status_count(ns, name, "replicas") == replicas &&
	       status_count(ns, name, "availableReplicas") == replicas;
}

// The one node, alive for as long as the test runs.
static inline void add_node(void)
{
	create(&fl_gvr_nodes, NULL,
	       "{apiVersion: v1, kind: Node, metadata: {name: n1}, status: {conditions: [{type: Ready, status: "
	       "'True'}]}}");
	create(&fl_gvr_leases, "kube-node-lease",
	       "{apiVersion: coordination.k8s.io/v1, kind: Lease, metadata: {name: n1}}");
	uv_timer_start(&heartbeat, beat, 0, 5000);
}

static inline bool add_one(void *arg, const struct fl_object *o)
{
	(*(unsigned *)arg)++;
	return true;
}

static inline unsigned how_many(struct fl_informer *i, const char *ns)
{
	unsigned n = 0;
	fl_informer_each(i, ns, add_one, &n);
	return n;
}

static inline bool has_certificate(const char *ns)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	const struct fl_object *o = fl_informer_find(maps, ns, "kube-root-ca.crt");
	const struct fl_json *data = o ? fl_json_get(fl_object_tree(o, &a), "data") : NULL;
	return fl_json_count(data) == 1 &&
	       fl_starts_with(fl_json_str_or(data, "ca.crt", ""), "-----BEGIN CERTIFICATE-----");
}

static inline bool is_being_deleted(struct fl_informer *i, const char *ns, const char *name)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	const struct fl_object *o = fl_informer_find(i, ns, name);
	assert_non_null(o);
	return fl_meta_deleting(fl_object_tree(o, &a));
}

static inline bool end_pod(void *arg, const struct fl_object *o)
{
	fl_client_delete(client, &fl_gvr_pods, o->ns, o->name, o->uid, 0, NULL, ignore, NULL, NULL);
	return true;
}

static inline char *owner_ref(struct fl_informer *i, const char *kind, const char *ns, const char *name)
{
	wait_for(fl_informer_find(i, ns, name));
	return fl_asprintf("%s/%s/%s", kind, name, fl_informer_find(i, ns, name)->uid);
}

// `on_slice` may be NULL.
static inline int start_world(void (*on_slice)(void *, const struct fl_object *, const struct fl_object *))
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

static inline int stop_world(void)
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
