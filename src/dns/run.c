// SPDX-License-Identifier: Apache-2.0
// The role: sockets first, then three watches that feed the zone, then the registration.
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <uv.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/notify.h"
#include "client/informer.h"
#include "dns/dns.h"
#include "dns/register.h"
#include "dns/server.h"

#define DEFAULT_TTL_S 5 // CoreDNS' default for cluster names
#define RESOLV_CONF   "/etc/resolv.conf"
#define UNSYNCED_MS   3000 // after that it is worth a line

enum feed { FEED_NAMESPACES, FEED_SERVICES, FEED_SLICES, FEED_COUNT };

struct run {
	struct fl_dns_opts o;
	uv_loop_t loop;
	uv_signal_t term, intr;
	uv_timer_t unsynced;
	struct fl_ip
	    own[FL_COUNT(((struct fl_dns_opts *)0)->listen) + FL_COUNT(((struct fl_dns_opts *)0)->cluster_ips)];
	struct fl_zone *zone;
	struct fl_forwarder *forwarder;
	struct fl_dns_server *server;
	struct fl_client *client;
	struct fl_informer *informer[FEED_COUNT];
	struct fl_dns_registration *registration;
	bool stopping;
};

static bool is_synced(void *arg)
{
	const struct run *run = arg;
	for (unsigned i = 0; i < FEED_COUNT; i++)
		if (!run->informer[i] || !fl_informer_synced(run->informer[i]))
			return false;
	return true;
}

static void on_synced(void *arg)
{
	struct run *run = arg;
	if (!is_synced(arg))
		return;
	uv_timer_stop(&run->unsynced);
	fl_notify_ready();
}

static void on_unsynced(uv_timer_t *t)
{
	static const char *const names[FEED_COUNT] = {"namespaces", "services", "endpointslices"};
	const struct run *run = t->data;
	AUTO(fl_buf_deinit) struct fl_buf missing = {0};
	for (unsigned i = 0; i < FEED_COUNT; i++)
		if (!run->informer[i] || !fl_informer_synced(run->informer[i]))
			fl_buf_printf(&missing, "%s%s", missing.len ? "," : "", names[i]);
	if (missing.len)
		fl_warn("names of the cluster get SERVFAIL until all of its objects are known missing=%s",
			missing.data);
}

static void on_namespace(void *arg, const struct fl_object *old, const struct fl_object *now)
{
	struct run *run = arg;
	fl_zone_set_namespace(run->zone, (now ? now : old)->name, now ? now->rv : 0);
}

static void on_service(void *arg, const struct fl_object *old, const struct fl_object *now)
{
	struct run *run = arg;
	const struct fl_object *o = now ? now : old;
	fl_zone_set_service(run->zone, o->ns, o->name, now);
	if (!now && run->registration)
		fl_dns_registration_gone(run->registration, o->ns, o->name);
}

static void on_slice(void *arg, const struct fl_object *old, const struct fl_object *now)
{
	struct run *run = arg;
	const struct fl_object *o = now ? now : old;
	fl_zone_set_slice(run->zone, o->ns, o->name, now);
	if (!now && run->registration)
		fl_dns_registration_gone(run->registration, o->ns, o->name);
}

static uint64_t namespace_rv(void *arg, const char *ns, const char *name)
{
	return fl_zone_namespace_rv(((struct run *)arg)->zone, name);
}

static uint64_t service_rv(void *arg, const char *ns, const char *name)
{
	return fl_zone_service_rv(((struct run *)arg)->zone, ns, name);
}

static uint64_t slice_rv(void *arg, const char *ns, const char *name)
{
	return fl_zone_slice_rv(((struct run *)arg)->zone, ns, name);
}

static void each_namespace(void *arg, fl_zone_visit *visit, void *visit_arg)
{
	fl_zone_each_namespace(((struct run *)arg)->zone, visit, visit_arg);
}

static void each_service(void *arg, fl_zone_visit *visit, void *visit_arg)
{
	fl_zone_each_service(((struct run *)arg)->zone, visit, visit_arg);
}

static void each_slice(void *arg, fl_zone_visit *visit, void *visit_arg)
{
	fl_zone_each_slice(((struct run *)arg)->zone, visit, visit_arg);
}

static void stop(struct run *run)
{
	if (run->stopping)
		return;
	run->stopping = true;
	fl_dns_registration_free(&run->registration);
	for (unsigned i = 0; i < FEED_COUNT; i++)
		fl_informer_stop(&run->informer[i]);
	fl_client_free(&run->client);
	fl_dns_server_free(&run->server);
	fl_forwarder_free(&run->forwarder);
	uv_close((uv_handle_t *)&run->term, NULL);
	uv_close((uv_handle_t *)&run->intr, NULL);
	uv_close((uv_handle_t *)&run->unsynced, NULL);
}

static void on_signal(uv_signal_t *h, int signum)
{
	stop(h->data);
}

static int start_serving(struct run *run, struct fl_err *err)
{
	const struct fl_dns_opts *o = &run->o;
	struct fl_forwarder_opts f = {0};
	struct fl_zone_opts z = {.domain = o->domain,
				 .ttl_s = o->ttl_s,
				 .serial = (uint32_t)time(NULL), // so that it grows over restarts, too
				 .n_dns_ips = o->n_cluster_ips};
	struct fl_dns_server_opts s = {.dns = o, .is_synced = is_synced, .arg = run};
	unsigned n_own = 0;
	for (unsigned i = 0; i < o->n_listen; i++)
		run->own[n_own++] = o->listen[i];
	for (unsigned i = 0; i < o->n_cluster_ips; i++)
		z.dns_ips[i] = run->own[n_own++] = o->cluster_ips[i];
	int rc = fl_upstreams_init(&f.upstreams, o->upstream, RESOLV_CONF, run->own, n_own, err);
	if (rc == 0)
		rc = fl_zone_new(&z, &run->zone, err);
	if (rc < 0)
		return rc;
	if (!f.upstreams.n)
		fl_warn("no upstream DNS server is known: names outside %s get SERVFAIL source=%s", o->domain,
			o->upstream ? "--upstream-dns" : RESOLV_CONF);
	run->forwarder = fl_forwarder_new(&run->loop, &f);
	s.zone = run->zone;
	s.forwarder = run->forwarder;
	return fl_dns_server_new(&run->loop, &s, &run->server, err);
}

static int start_feeding(struct run *run, struct fl_err *err)
{
	static const struct {
		const struct fl_gvr *gvr;
		void (*on_change)(void *arg, const struct fl_object *old, const struct fl_object *now);
		struct fl_informer_keeper keeper;
	} feeds[FEED_COUNT] = {
	    [FEED_NAMESPACES] = {&fl_gvr_namespaces, on_namespace, {namespace_rv, each_namespace}},
	    [FEED_SERVICES] = {&fl_gvr_services, on_service, {service_rv, each_service}},
	    [FEED_SLICES] = {&fl_gvr_endpointslices, on_slice, {slice_rv, each_slice}},
	};
	struct fl_kubeconfig cfg = {0};
	int rc = fl_kubeconfig_load(run->o.kubeconfig, NULL, &cfg, err);
	if (rc == 0)
		rc = fl_client_new(&run->loop, &cfg, "fairlead-dns", &run->client, err);
	fl_kubeconfig_deinit(&cfg);
	for (unsigned i = 0; rc == 0 && i < FEED_COUNT; i++) {
		struct fl_informer_opts opts = {.gvr = feeds[i].gvr,
						.on_change = feeds[i].on_change,
						.on_synced = on_synced,
						.arg = run,
						.keeper = &feeds[i].keeper};
		opts.metadata_only = i == FEED_NAMESPACES;
		rc = fl_informer_start(run->client, &opts, &run->informer[i], err);
	}
	if (rc == 0)
		run->registration = fl_dns_register(run->client, &run->o);
	return rc;
}

int fl_dns_run(const struct fl_dns_opts *opts, struct fl_err *err)
{
	struct run run = {.o = *opts};
	if (!run.o.ttl_s)
		run.o.ttl_s = DEFAULT_TTL_S;
	uv_loop_init(&run.loop);
	uv_signal_init(&run.loop, &run.term);
	uv_signal_init(&run.loop, &run.intr);
	uv_timer_init(&run.loop, &run.unsynced);
	run.term.data = run.intr.data = run.unsynced.data = &run;
	uv_signal_start(&run.term, on_signal, SIGTERM);
	uv_signal_start(&run.intr, on_signal, SIGINT);
	uv_timer_start(&run.unsynced, on_unsynced, UNSYNCED_MS, 0);
	int rc = start_serving(&run, err);
	if (rc == 0)
		rc = start_feeding(&run, err);
	if (rc < 0)
		stop(&run);
	uv_run(&run.loop, UV_RUN_DEFAULT);
	fl_zone_free(&run.zone);
	uv_loop_close(&run.loop);
	return rc;
}
