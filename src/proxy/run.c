// SPDX-License-Identifier: Apache-2.0
// The role: options -> backend -> informers -> core. A change is applied at the end of the loop turn that brought it:
// several changes of one turn are one transaction, a single one waits for nothing.
//
// While changes keep coming, transactions are paced (pace.h).
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <uv.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/notify.h"
#include "client/informer.h"
#include "proxy/conntrack.h"
#include "proxy/core.h"
#include "proxy/health.h"
#include "proxy/host.h"
#include "proxy/pace.h"
#include "proxy/proxy.h"

#define CHECK_MS     5000 // are our rules and routes still there?
#define RETRY_MIN_MS 50   // after a failed sync, doubled up to
#define RETRY_MAX_MS 5000
#define CLEAN_MS     200 // at most one walk over the connection table in this time

struct proxy {
	const struct fl_proxy_opts *opts;
	const struct fl_proxy_backend_ops *ops;
	struct fl_proxy_backend *backend;
	struct fl_proxy_core *core;
	struct fl_proxy_conntrack *conntrack;
	struct fl_proxy_health *health;
	struct fl_proxy_metrics metrics;
	uv_loop_t loop;
	uv_check_t after_poll;
	uv_prepare_t before_poll;
	uv_timer_t check, retry, tidy, clean, pace;
	uv_signal_t on_term, on_int;
	struct fl_client *client;
	struct fl_informer *services, *slices, *node;
	char *zone, *node_field;
	unsigned retry_ms; // 0: the last sync succeeded
	struct fl_proxy_pace owed;
	bool first_sync_done, routes_failed, eligible, has_handles;
};

static bool ready(const struct proxy *p)
{
	return p->services && p->slices && fl_informer_synced(p->services) && fl_informer_synced(p->slices);
}

static void sync_now(struct proxy *p);

static void on_retry(uv_timer_t *t)
{
	struct proxy *p = t->data;

	sync_now(p);
}

static void on_tidy(uv_timer_t *t)
{
	struct proxy *p = t->data;
	struct fl_err err = {0};
	int rc = p->ops->tidy(p->backend, &err);

	if (rc <= 0)
		uv_timer_stop(t);
	if (rc < 0) {
		fl_warn("rules are written anew: %s", err.text);
		fl_proxy_core_resync(p->core);
	}
}

static void clean_connections(struct proxy *p);

static void on_clean(uv_timer_t *t)
{
	clean_connections(t->data);
}

// At once after a quiet time, else when CLEAN_MS have passed since the last walk.
static void clean_connections(struct proxy *p)
{
	struct fl_err err = {0};
	unsigned deleted = 0;

	if (!fl_proxy_conntrack_pending(p->conntrack) || uv_is_active((uv_handle_t *)&p->clean))
		return;
	if (fl_proxy_conntrack_clean(p->conntrack, p->core, &deleted, &err) < 0)
		fl_warn("stale UDP connections may live on, trying again: %s", err.text);
	else if (deleted)
		fl_debug("stale UDP connections deleted n=%u", deleted);
	uv_timer_start(&p->clean, on_clean, CLEAN_MS, 0);
}

static void sync_now(struct proxy *p)
{
	struct fl_err err = {0};
	struct fl_proxy_core_stats before, after;
	uint64_t start = fl_mono_ns();

	fl_proxy_core_counts(p->core, &before);
	int rc = fl_proxy_core_sync(p->core, &err);
	fl_proxy_health_set(p->health, rc == 0, p->eligible);
	if (rc < 0) {
		p->retry_ms = p->retry_ms ? 2 * p->retry_ms : RETRY_MIN_MS;
		if (p->retry_ms > RETRY_MAX_MS)
			p->retry_ms = RETRY_MAX_MS;
		fl_error("rules were not written, trying again: %s retry_ms=%u", err.text, p->retry_ms);
		uv_timer_start(&p->retry, on_retry, p->retry_ms, 0);
		return;
	}
	p->retry_ms = 0;
	fl_proxy_core_counts(p->core, &after);
	if (after.syncs > before.syncs) {
		const int64_t *triggers;
		size_t n = fl_proxy_core_triggers(p->core, &triggers);

		fl_proxy_metrics_synced(&p->metrics, (double)(fl_mono_ns() - start) / 1e9,
					after.full_syncs > before.full_syncs, triggers, n);
	}
	clean_connections(p);
	if (p->ops->tidy && !uv_is_active((uv_handle_t *)&p->tidy))
		uv_timer_start(&p->tidy, on_tidy, FL_PROXY_TIDY_MS, FL_PROXY_TIDY_MS);
	if (!p->first_sync_done) {
		struct fl_proxy_core_stats s;

		p->first_sync_done = true;
		if (fl_proxy_host_sysctls(p->opts, &err) < 0) // again: the rules may have brought conntrack's
			fl_warn("%s", err.text);
		fl_proxy_core_stats(p->core, &s);
		fl_info("rules in place mode=%s services=%zu frontends=%zu endpoints=%zu us=%llu", p->ops->name,
			s.services, s.frontends, s.endpoints, (unsigned long long)(fl_mono_ns() - start) / 1000);
		fl_notify_ready();
	}
}

// Of this thread, in the kernel too; what others take of the processor meanwhile is no cost of the transaction.
static uint64_t cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void on_pace(uv_timer_t *t)
{
}

static void maybe_sync(struct proxy *p)
{
	// While a retry is pending, changes wait for it: they would fail alike.
	if (p->retry_ms || !ready(p) || !fl_proxy_core_dirty(p->core) || uv_is_active((uv_handle_t *)&p->pace))
		return;
	unsigned wait_ms = fl_proxy_pace_wait_ms(&p->owed, fl_mono_ns());

	if (wait_ms) { // the turn of the timer looks again
		uv_timer_start(&p->pace, on_pace, wait_ms, 0);
		return;
	}
	uint64_t start = cpu_ns();
	sync_now(p);
	fl_proxy_pace_spent(&p->owed, cpu_ns() - start, fl_mono_ns());
}

static void on_after_poll(uv_check_t *h)
{
	maybe_sync(h->data);
}

static void on_before_poll(uv_prepare_t *h)
{
	maybe_sync(h->data); // timers brought changes: do not sleep on them
}

// ---- what changes around us

static void on_service(void *arg, const struct fl_object *old, const struct fl_object *new_obj)
{
	struct proxy *p = arg;

	p->metrics.last_queued = (double)fl_real_ns() / 1e9;
	p->owed.changes++;
	fl_proxy_core_service(p->core, old, new_obj);
}

static void on_slice(void *arg, const struct fl_object *old, const struct fl_object *new_obj)
{
	struct proxy *p = arg;

	p->metrics.last_queued = (double)fl_real_ns() / 1e9;
	p->owed.changes++;
	fl_proxy_core_slice(p->core, old, new_obj);
}

static uint64_t service_rv(void *arg, const char *ns, const char *name)
{
	return fl_proxy_core_service_rv(((struct proxy *)arg)->core, ns, name);
}

static uint64_t slice_rv(void *arg, const char *ns, const char *name)
{
	return fl_proxy_core_slice_rv(((struct proxy *)arg)->core, ns, name);
}

static void each_service(void *arg, fl_proxy_visit *visit, void *visit_arg)
{
	fl_proxy_core_each_service(((struct proxy *)arg)->core, visit, visit_arg);
}

static void each_slice(void *arg, fl_proxy_visit *visit, void *visit_arg)
{
	fl_proxy_core_each_slice(((struct proxy *)arg)->core, visit, visit_arg);
}

static void on_udp_change(void *arg, const struct fl_ip *ip, uint16_t port)
{
	fl_proxy_conntrack_note(((struct proxy *)arg)->conntrack, ip, port);
}

static void on_health_change(void *arg, const char *ns, const char *name, uint16_t port, unsigned n_local)
{
	fl_proxy_health_service(((struct proxy *)arg)->health, ns, name, port, n_local);
}

// Whether load balancers may send new traffic here: not to a node that is about to be removed (KEP-3836).
static bool is_eligible(const struct fl_json *node)
{
	if (fl_json_path(node, "metadata", "deletionTimestamp", NULL))
		return false;
	fl_json_each (taint, fl_json_path(node, "spec", "taints", NULL)) {
		if (fl_streq(fl_json_str(taint, "key"), "ToBeDeletedByClusterAutoscaler"))
			return false;
	}
	return true;
}

static void on_node(void *arg, const struct fl_object *old, const struct fl_object *new_obj)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	struct proxy *p = arg;
	const struct fl_json *node = new_obj ? fl_object_tree(new_obj, &a) : NULL;
	const struct fl_json *labels = fl_json_path(node, "metadata", "labels", NULL);
	const char *zone = fl_json_str_or(labels, "topology.kubernetes.io/zone", "");

	p->eligible = is_eligible(node);
	fl_proxy_health_set(p->health, p->first_sync_done && !p->retry_ms, p->eligible);
	if (fl_streq(zone, p->zone ? p->zone : ""))
		return;
	free(p->zone);
	p->zone = fl_strdup(zone);
	fl_proxy_core_set_zone(p->core, zone);
	fl_informer_retell(p->slices);
}

static void set_routes(struct proxy *p)
{
	struct fl_err err = {0};
	int rc = fl_proxy_host_routes(p->opts, &err);

	if (rc < 0 && !p->routes_failed) // once per outage, not every few seconds
		fl_warn("no route for the service range, this host may not reach it: %s", err.text);
	p->routes_failed = rc < 0;
}

static void on_check(uv_timer_t *t)
{
	struct proxy *p = t->data;
	struct fl_err err = {0};

	set_routes(p);
	if (!p->first_sync_done || p->retry_ms)
		return;
	int rc = p->ops->check(p->backend, &err);
	if (rc < 0)
		fl_warn("rules are written anew: %s", err.text);
	if (rc == -ESTALE)
		fl_proxy_core_resync(p->core);
}

static void on_signal(uv_signal_t *h, int signum)
{
	uv_stop(h->loop);
}

// ---- start, end

static int start_handles(struct proxy *p, struct fl_err *err)
{
	int rc = uv_loop_init(&p->loop);

	if (rc < 0)
		return fl_err_set(err, rc, "event loop: %s", uv_strerror(rc));
	p->has_handles = true;
	uv_check_init(&p->loop, &p->after_poll);
	uv_prepare_init(&p->loop, &p->before_poll);
	uv_timer_init(&p->loop, &p->check);
	uv_timer_init(&p->loop, &p->retry);
	uv_timer_init(&p->loop, &p->tidy);
	uv_timer_init(&p->loop, &p->clean);
	uv_timer_init(&p->loop, &p->pace);
	uv_signal_init(&p->loop, &p->on_term);
	uv_signal_init(&p->loop, &p->on_int);
	p->after_poll.data = p->before_poll.data = p->check.data = p->retry.data = p->tidy.data = p->clean.data = p;
	p->pace.data = p;
	uv_check_start(&p->after_poll, on_after_poll);
	uv_prepare_start(&p->before_poll, on_before_poll);
	uv_timer_start(&p->check, on_check, CHECK_MS, CHECK_MS);
	uv_signal_start(&p->on_term, on_signal, SIGTERM);
	uv_signal_start(&p->on_int, on_signal, SIGINT);
	return 0;
}

static int start_informers(struct proxy *p, struct fl_err *err)
{
	AUTO(fl_kubeconfig_deinit) struct fl_kubeconfig cfg = {0};

	p->node_field = fl_asprintf("metadata.name=%s", p->opts->node_name);
	static const struct fl_informer_keeper service_keeper = {service_rv, each_service},
					       slice_keeper = {slice_rv, each_slice};
	struct fl_informer_opts services = {
	    .gvr = &fl_gvr_services, .on_change = on_service, .arg = p, .keeper = &service_keeper};
	struct fl_informer_opts slices = {
	    .gvr = &fl_gvr_endpointslices, .on_change = on_slice, .arg = p, .keeper = &slice_keeper};
	struct fl_informer_opts node = {
	    .gvr = &fl_gvr_nodes, .field_selector = p->node_field, .on_change = on_node, .arg = p};

	int rc = fl_kubeconfig_load(p->opts->kubeconfig, NULL, &cfg, err);
	if (rc == 0)
		rc = fl_client_new(&p->loop, &cfg, "fairlead-proxy", &p->client, err);
	if (rc == 0)
		rc = fl_informer_start(p->client, &services, &p->services, err);
	if (rc == 0)
		rc = fl_informer_start(p->client, &slices, &p->slices, err);
	if (rc == 0)
		rc = fl_informer_start(p->client, &node, &p->node, err);
	return rc;
}

static void close_handles(struct proxy *p)
{
	uv_handle_t *const handles[] = {
	    (uv_handle_t *)&p->after_poll, (uv_handle_t *)&p->before_poll, (uv_handle_t *)&p->check,
	    (uv_handle_t *)&p->retry,      (uv_handle_t *)&p->tidy,        (uv_handle_t *)&p->clean,
	    (uv_handle_t *)&p->pace,       (uv_handle_t *)&p->on_term,     (uv_handle_t *)&p->on_int,
	};

	for (size_t i = 0; i < FL_COUNT(handles); i++)
		uv_close(handles[i], NULL);
}

static void end(struct proxy *p)
{
	fl_informer_stop(&p->node);
	fl_informer_stop(&p->slices);
	fl_informer_stop(&p->services);
	fl_client_free(&p->client);
	fl_proxy_health_free(&p->health);
	if (p->has_handles) {
		close_handles(p);
		uv_run(&p->loop, UV_RUN_DEFAULT); // until all that was stopped here is closed
		uv_loop_close(&p->loop);
	}
	fl_proxy_core_free(&p->core);
	fl_proxy_conntrack_free(&p->conntrack);
	if (p->backend)
		p->ops->close(&p->backend);
	free(p->zone);
	free(p->node_field);
}

static int check_opts(const struct fl_proxy_opts *o, struct fl_err *err)
{
	if (fl_str_empty(o->node_name))
		return fl_err_set(err, -EINVAL, "proxy: the name of this node is missing");
	if (fl_str_empty(o->run_dir))
		return fl_err_set(err, -EINVAL, "proxy: the run directory is missing");
	return 0;
}

int fl_proxy_run(const struct fl_proxy_opts *opts, struct fl_err *err)
{
	AUTO(end) struct proxy p = {.opts = opts, .eligible = true};
	struct fl_proxy_backend_config cfg = {
	    .service_cidrs = {opts->service_cidrs[0], opts->service_cidrs[1]},
	    .pod_cidrs = {opts->pod_cidrs[0], opts->pod_cidrs[1]},
	    .n_service_cidrs = opts->n_service_cidrs,
	    .n_pod_cidrs = opts->n_pod_cidrs,
	    .masquerade_all = opts->masquerade_all,
	};

	int rc = check_opts(opts, err);
	if (rc < 0)
		return rc;
	p.ops = fl_proxy_backend_find(opts->mode, err);
	if (!p.ops)
		return -EINVAL;
	rc = p.ops->open(&cfg, &p.backend, err);
	if (rc == 0)
		rc = fl_proxy_host_sysctls(opts, err);
	if (rc < 0)
		return rc;
	set_routes(&p);
	p.conntrack = fl_proxy_conntrack_new();
	p.core = fl_proxy_core_new(&(struct fl_proxy_core_opts){
	    .node_name = opts->node_name,
	    .ops = p.ops,
	    .backend = p.backend,
	    .on_udp_change = on_udp_change,
	    .on_health_change = on_health_change,
	    .arg = &p,
	});
	rc = start_handles(&p, err);
	if (rc == 0)
		rc = fl_proxy_health_new(
		    &(struct fl_proxy_health_opts){
			.loop = &p.loop,
			.opts = opts,
			.ops = p.ops,
			.backend = p.backend,
			.core = &p.core,
			.metrics = &p.metrics,
		    },
		    &p.health, err);
	if (rc == 0)
		rc = start_informers(&p, err);
	if (rc < 0)
		return rc;
	uv_run(&p.loop, UV_RUN_DEFAULT);
	return 0;
}

int fl_proxy_cleanup(const struct fl_proxy_opts *opts, struct fl_err *err)
{
	const struct fl_proxy_backend_ops *ops = fl_proxy_backend_find(opts->mode, err);

	if (!ops)
		return -EINVAL;
	int rc = ops->cleanup(err);
	if (rc == 0)
		rc = fl_proxy_host_cleanup(opts, err);
	return rc;
}
