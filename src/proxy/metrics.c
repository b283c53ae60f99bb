// SPDX-License-Identifier: Apache-2.0
#include "proxy/metrics.h"

#include "base/clock.h"
#include "base/mem.h"

// Bounds of kube-proxy's histograms (pkg/proxy/metrics).
static double sync_bound(unsigned i)
{
	return i < 15 ? 0.001 * (double)(1u << i) : -1;
}

static double programming_bound(unsigned i)
{
	if (i < 2)
		return i ? 0.5 : 0.25;
	if (i < 61)
		return (double)(i - 1); // 1 .. 59
	if (i < 73)
		return 60 + 5.0 * (double)(i - 61); // 60 .. 115
	if (i < 80)
		return 120 + 30.0 * (double)(i - 73); // 120 .. 300
	return -1;
}

static void observe(struct fl_proxy_histogram *h, double (*bound)(unsigned), double v)
{
	unsigned i = 0;

	while (bound(i) >= 0 && v > bound(i))
		i++;
	h->counts[i]++;
	h->n++;
	h->sum += v;
}

void fl_proxy_metrics_synced(struct fl_proxy_metrics *m, double seconds, bool full, const int64_t *triggers_ns,
			     size_t n_triggers)
{
	int64_t now = fl_real_ns();

	observe(&m->sync, sync_bound, seconds);
	observe(full ? &m->full_sync : &m->partial_sync, sync_bound, seconds);
	for (size_t i = 0; i < n_triggers; i++)
		observe(&m->programming, programming_bound, (double)(now - triggers_ns[i]) / 1e9);
	m->last_sync = (double)now / 1e9;
}

static void head(struct fl_buf *b, const char *name, const char *type, const char *help)
{
	fl_buf_printf(b, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void histogram(struct fl_buf *b, const char *name, const char *help, const struct fl_proxy_histogram *h,
		      double (*bound)(unsigned))
{
	uint64_t below = 0;

	head(b, name, "histogram", help);
	for (unsigned i = 0; bound(i) >= 0; i++) {
		below += h->counts[i];
		fl_buf_printf(b, "%s_bucket{le=\"%g\"} %llu\n", name, bound(i), (unsigned long long)below);
	}
	fl_buf_printf(b, "%s_bucket{le=\"+Inf\"} %llu\n%s_sum %g\n%s_count %llu\n", name, (unsigned long long)h->n,
		      name, h->sum, name, (unsigned long long)h->n);
}

static void counter(struct fl_buf *b, const char *name, const char *help, uint64_t v)
{
	head(b, name, "counter", help);
	fl_buf_printf(b, "%s %llu\n", name, (unsigned long long)v);
}

static void gauge(struct fl_buf *b, const char *name, const char *help, double v)
{
	head(b, name, "gauge", help);
	fl_buf_printf(b, "%s %.15g\n", name, v);
}

static void by_code(struct fl_buf *b, const char *name, const char *help, const uint64_t counts[2])
{
	head(b, name, "counter", help);
	for (unsigned i = 0; i < 2; i++) {
		if (counts[i])
			fl_buf_printf(b, "%s{code=\"%d\"} %llu\n", name, i ? 503 : 200, (unsigned long long)counts[i]);
	}
}

void fl_proxy_metrics_write(const struct fl_proxy_metrics *m, const struct fl_proxy_core_stats *s,
			    const struct fl_proxy_counter *counters, unsigned n_counters, struct fl_buf *b)
{
	histogram(b, "kubeproxy_sync_proxy_rules_duration_seconds", "Latency of one round of writing rules.", &m->sync,
		  sync_bound);
	histogram(b, "kubeproxy_sync_full_proxy_rules_duration_seconds",
		  "Latency of a round that compares everything with the kernel.", &m->full_sync, sync_bound);
	histogram(b, "kubeproxy_sync_partial_proxy_rules_duration_seconds",
		  "Latency of a round that writes changes only.", &m->partial_sync, sync_bound);
	histogram(b, "kubeproxy_network_programming_duration_seconds",
		  "From the change of a pod or Service to the rule in the kernel.", &m->programming, programming_bound);
	gauge(b, "kubeproxy_sync_proxy_rules_last_timestamp_seconds", "When rules were last written.", m->last_sync);
	gauge(b, "kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds", "When a change was last seen.",
	      m->last_queued);
	counter(b, "kubeproxy_sync_proxy_rules_service_changes_total", "Changes of Services seen.", s->service_changes);
	counter(b, "kubeproxy_sync_proxy_rules_endpoint_changes_total", "Changes of EndpointSlices seen.",
		s->endpoint_changes);
	gauge(b, "kubeproxy_sync_proxy_rules_service_changes_pending", "Services whose changes are not written yet.",
	      (double)s->pending);
	counter(b, "kubeproxy_sync_proxy_rules_nftables_sync_failures_total", "Rounds that failed.", s->sync_failures);
	head(b, "kubeproxy_sync_proxy_rules_no_local_endpoints_total", "gauge",
	     "Frontends with traffic policy Local and no endpoint on this node.");
	for (unsigned i = 0; i < 2; i++)
		fl_buf_printf(b, "kubeproxy_sync_proxy_rules_no_local_endpoints_total{traffic_policy=\"%s\"} %zu\n",
			      i ? "external" : "internal", s->no_local_endpoints[i]);
	by_code(b, "kubeproxy_proxy_healthz_total", "Answers of /healthz.", m->healthz);
	by_code(b, "kubeproxy_proxy_livez_total", "Answers of /livez.", m->livez);
	gauge(b, "fairlead_proxy_services", "Services seen.", (double)s->services);
	gauge(b, "fairlead_proxy_frontends", "Addresses and ports that clients can use.", (double)s->frontends);
	gauge(b, "fairlead_proxy_endpoints", "Endpoints behind them.", (double)s->endpoints);
	head(b, "fairlead_proxy_refused_packets_total", "counter", "First packets of connections refused, by reason.");
	for (unsigned i = 0; i < n_counters; i++)
		fl_buf_printf(b, "fairlead_proxy_refused_packets_total{reason=\"%s\"} %llu\n", counters[i].name,
			      (unsigned long long)counters[i].packets);
}
