// SPDX-License-Identifier: Apache-2.0
// The role: sockets first, then three watches that feed the zone, then the registration.
#include <signal.h>
#include <stdlib.h>
#include <uv.h>

#include "base/log.h"
#include "base/mem.h"
#include "client/informer.h"
#include "dns/dns.h"
#include "dns/register.h"
#include "dns/server.h"

#define DEFAULT_TTL_S 5 // CoreDNS' default for cluster names

enum feed { FEED_NAMESPACES, FEED_SERVICES, FEED_SLICES, FEED_COUNT };

struct run {
	struct fl_dns_opts o;
	uv_loop_t loop;
	uv_signal_t term, intr;
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
	struct run *run = arg;
	for (unsigned i = 0; i < FEED_COUNT; i++)
		if (!run->informer[i] || !fl_informer_synced(run->informer[i]))
			return false;
	return true;
}

static void on_namespace(void *arg, const struct fl_object *old, const struct fl_object *now)
{
	fl_zone_set_namespace(((struct run *)arg)->zone, (now ? now : old)->name, now != NULL);
}

static void on_service(void *arg, const struct fl_object *old, const struct fl_object *now)
{
	const struct fl_object *o = now ? now : old;
	fl_zone_set_service(((struct run *)arg)->zone, o->ns, o->name, now);
}

static void on_slice(void *arg, const struct fl_object *old, const struct fl_object *now)
{
	const struct fl_object *o = now ? now : old;
	fl_zone_set_slice(((struct run *)arg)->zone, o->ns, o->name, now);
}

static void on_signal(uv_signal_t *h, int signum)
{
	struct run *run = h->data;
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
}

static int start(struct run *run, struct fl_err *err)
{
	struct fl_upstream up[FL_DNS_MAX_UPSTREAMS];
	struct fl_ip own[6];
	unsigned n_own = 0;
	for (unsigned i = 0; i < run->o.n_listen; i++)
		own[n_own++] = run->o.listen[i];
	for (unsigned i = 0; i < run->o.n_cluster_ips; i++)
		own[n_own++] = run->o.cluster_ips[i];
	unsigned n = fl_upstreams_find(run->o.upstream, "/etc/resolv.conf", own, n_own, up);
	run->forwarder = fl_forwarder_new(&run->loop, up, n);
	struct fl_zone_opts z = {.domain = run->o.domain, .ttl_s = run->o.ttl_s, .n_dns_ips = run->o.n_cluster_ips};
	for (unsigned i = 0; i < run->o.n_cluster_ips; i++)
		z.dns_ips[i] = run->o.cluster_ips[i];
	run->zone = fl_zone_new(&z);
	struct fl_dns_server_opts s = {
	    .dns = &run->o, .zone = run->zone, .forwarder = run->forwarder, .is_synced = is_synced, .arg = run};
	int rc = fl_dns_server_new(&run->loop, &s, &run->server, err);
	if (rc < 0)
		return rc;
	struct fl_kubeconfig cfg = {0};
	rc = fl_kubeconfig_load(run->o.kubeconfig, NULL, &cfg, err);
	if (rc == 0)
		rc = fl_client_new(&run->loop, &cfg, "fairlead-dns", &run->client, err);
	fl_kubeconfig_deinit(&cfg);
	static const struct {
		const struct fl_gvr *gvr;
		void (*on_change)(void *arg, const struct fl_object *old, const struct fl_object *now);
	} feeds[FEED_COUNT] = {
	    [FEED_NAMESPACES] = {&fl_gvr_namespaces, on_namespace},
	    [FEED_SERVICES] = {&fl_gvr_services, on_service},
	    [FEED_SLICES] = {&fl_gvr_endpointslices, on_slice},
	};
	for (unsigned i = 0; rc == 0 && i < FEED_COUNT; i++)
		rc = fl_informer_start(
		    run->client,
		    &(struct fl_informer_opts){.gvr = feeds[i].gvr, .on_change = feeds[i].on_change, .arg = run},
		    &run->informer[i], err);
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
	run.term.data = run.intr.data = &run;
	uv_signal_start(&run.term, on_signal, SIGTERM);
	uv_signal_start(&run.intr, on_signal, SIGINT);
	int rc = start(&run, err);
	if (rc < 0)
		on_signal(&run.term, SIGTERM);
	uv_run(&run.loop, UV_RUN_DEFAULT);
	fl_zone_free(&run.zone);
	uv_loop_close(&run.loop);
	return rc;
}
