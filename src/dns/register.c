// SPDX-License-Identifier: Apache-2.0
#include "dns/register.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"

#define NS           "kube-system"
#define SERVICE      "kube-dns"
#define RETRY_MIN_MS 20
#define RETRY_MAX_MS 5000
#define FAMILIES     2

struct fl_dns_registration {
	struct fl_client *client;
	const struct fl_dns_opts *o;
	struct fl_client_call *call;
	uv_timer_t timer;
	char *slice_name[FAMILIES]; // of each family that is listened on
	uint8_t family[FAMILIES];
	unsigned n_slices;
	unsigned step; // 0: the Service; 1 ...: slice step - 1; beyond: done
	unsigned wait_ms;
};

static void next(struct fl_dns_registration *r);

static void on_timer(uv_timer_t *t)
{
	next(t->data);
}

static void retry(struct fl_dns_registration *r, const struct fl_err *err)
{
	if (r->wait_ms >= RETRY_MAX_MS)
		fl_warn("%s of DNS cannot be written service=%s/%s reason=%s", r->step ? "EndpointSlice" : "Service",
			NS, SERVICE, err->text);
	r->wait_ms = r->wait_ms ? r->wait_ms * 2 : RETRY_MIN_MS;
	r->wait_ms = r->wait_ms < RETRY_MAX_MS ? r->wait_ms : RETRY_MAX_MS;
	uv_timer_start(&r->timer, on_timer, r->wait_ms, 0);
}

static void advance(struct fl_dns_registration *r)
{
	r->wait_ms = 0;
	r->step++;
	next(r);
}

// --- the objects ---

static struct fl_json *new_object(struct fl_arena *a, const char *kind, const char *version, const char *name,
				  struct fl_json **ret_labels)
{
	struct fl_json *o = fl_json_new(a, FL_JSON_OBJECT);
	fl_json_set_str(a, o, "kind", kind);
	fl_json_set_str(a, o, "apiVersion", version);
	struct fl_json *meta = fl_json_set_object(a, o, "metadata");
	fl_json_set_str(a, meta, "name", name);
	*ret_labels = fl_json_set_object(a, meta, "labels");
	return o;
}

static struct fl_json *add_port(struct fl_arena *a, struct fl_json *list, const char *name, const char *protocol,
				int port)
{
	struct fl_json *p = fl_json_append(list, fl_json_new(a, FL_JSON_OBJECT));
	fl_json_set_str(a, p, "name", name);
	fl_json_set_int(a, p, "port", port);
	fl_json_set_str(a, p, "protocol", protocol);
	return p;
}

static struct fl_json *service(struct fl_dns_registration *r, struct fl_arena *a)
{
	const struct fl_dns_opts *d = r->o;
	char text[FL_IP_STRLEN];
	struct fl_json *labels, *o = new_object(a, "Service", "v1", SERVICE, &labels);
	fl_json_set_str(a, labels, "k8s-app", SERVICE);
	fl_json_set_str(a, labels, "kubernetes.io/cluster-service", "true");
	fl_json_set_str(a, labels, "kubernetes.io/name", "CoreDNS"); // by which tools find cluster DNS
	struct fl_json *spec = fl_json_set_object(a, o, "spec");
	fl_json_set_str(a, spec, "clusterIP", fl_ip_format(&d->cluster_ips[0], text));
	struct fl_json *ips = fl_json_set_array(a, spec, "clusterIPs");
	for (unsigned i = 0; i < d->n_cluster_ips; i++)
		fl_json_append(ips, fl_json_new_str(a, fl_ip_format(&d->cluster_ips[i], text)));
	if (d->n_cluster_ips > 1)
		fl_json_set_str(a, spec, "ipFamilyPolicy", "RequireDualStack");
	struct fl_json *ports = fl_json_set_array(a, spec, "ports");
	fl_json_set_int(a, add_port(a, ports, "dns", "UDP", 53), "targetPort", d->port);
	fl_json_set_int(a, add_port(a, ports, "dns-tcp", "TCP", 53), "targetPort", d->port);
	fl_json_set_str(a, spec, "trafficDistribution", "PreferSameNode");
	return o;
}

static struct fl_json *slice(struct fl_dns_registration *r, struct fl_arena *a, unsigned i)
{
	const struct fl_dns_opts *d = r->o;
	char text[FL_IP_STRLEN];
	struct fl_json *labels, *o = new_object(a, "EndpointSlice", "discovery.k8s.io/v1", r->slice_name[i], &labels);
	fl_json_set_str(a, labels, "kubernetes.io/service-name", SERVICE);
	fl_json_set_str(a, labels, "endpointslice.kubernetes.io/managed-by", "fairlead-dns");
	fl_json_set_str(a, o, "addressType", r->family[i] == AF_INET6 ? "IPv6" : "IPv4");
	struct fl_json *e = fl_json_append(fl_json_set_array(a, o, "endpoints"), fl_json_new(a, FL_JSON_OBJECT));
	struct fl_json *addresses = fl_json_set_array(a, e, "addresses");
	for (unsigned k = 0; k < d->n_listen; k++)
		if (d->listen[k].family == r->family[i])
			fl_json_append(addresses, fl_json_new_str(a, fl_ip_format(&d->listen[k], text)));
	fl_json_set_bool(a, fl_json_set_object(a, e, "conditions"), "ready", true);
	struct fl_json *nodes = fl_json_set_array(a, fl_json_set_object(a, e, "hints"), "forNodes");
	fl_json_set_str(a, fl_json_append(nodes, fl_json_new(a, FL_JSON_OBJECT)), "name", d->node_name);
	fl_json_set_str(a, e, "nodeName", d->node_name);
	struct fl_json *ports = fl_json_set_array(a, o, "ports");
	add_port(a, ports, "dns", "UDP", d->port);
	add_port(a, ports, "dns-tcp", "TCP", d->port);
	return o;
}

// --- writing them ---

static void on_written(void *arg, int rc, int status, struct fl_arena *a, struct fl_json *body,
		       const struct fl_err *err)
{
	struct fl_dns_registration *r = arg;
	r->call = NULL;
	if (rc < 0)
		retry(r, err);
	else
		advance(r);
}

// It was there. A Service is left as its owner wants it; a slice is brought up to date.
static void on_read(void *arg, int rc, int status, struct fl_arena *a, struct fl_json *body, const struct fl_err *err)
{
	static const char *const members[] = {"endpoints", "ports"};
	struct fl_dns_registration *r = arg;
	r->call = NULL;
	if (rc < 0) {
		retry(r, err);
		return;
	}
	bool same = true;
	struct fl_json *want = r->step ? slice(r, a, r->step - 1) : NULL;
	for (unsigned i = 0; want && i < FL_COUNT(members); i++) {
		struct fl_json *is = fl_json_get(body, members[i]), *should = fl_json_get(want, members[i]);
		if (fl_json_equal(is, should))
			continue;
		same = false;
		fl_json_set(a, body, members[i], fl_json_clone(a, should));
	}
	if (same)
		advance(r);
	else
		fl_client_update(r->client, &fl_gvr_endpointslices, NS, r->slice_name[r->step - 1], NULL, body,
				 on_written, r, &r->call);
}

static void on_created(void *arg, int rc, int status, struct fl_arena *a, struct fl_json *body,
		       const struct fl_err *err)
{
	struct fl_dns_registration *r = arg;
	r->call = NULL;
	// A chosen cluster IP that is taken is refused as invalid before the name is looked at: perhaps it is taken by
	// this very Service.
	bool perhaps_there = rc == -EEXIST || (rc == -EINVAL && status == 422 && r->step == 0);
	if (rc == 0)
		advance(r);
	else if (!perhaps_there)
		retry(r, err);
	else if (r->step)
		fl_client_get(r->client, &fl_gvr_endpointslices, NS, r->slice_name[r->step - 1], on_read, r, &r->call);
	else
		fl_client_get(r->client, &fl_gvr_services, NS, SERVICE, on_read, r, &r->call);
}

static void next(struct fl_dns_registration *r)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	if (r->step == 0)
		fl_client_create(r->client, &fl_gvr_services, NS, service(r, &a), on_created, r, &r->call);
	else if (r->step <= r->n_slices)
		fl_client_create(r->client, &fl_gvr_endpointslices, NS, slice(r, &a, r->step - 1), on_created, r,
				 &r->call);
}

static void add_family(struct fl_dns_registration *r, uint8_t family)
{
	for (unsigned i = 0; i < r->n_slices; i++)
		if (r->family[i] == family)
			return;
	r->family[r->n_slices] = family;
	r->slice_name[r->n_slices++] = fl_asprintf("%s%s-%s", SERVICE, family == AF_INET6 ? "6" : "", r->o->node_name);
}

struct fl_dns_registration *fl_dns_register(struct fl_client *c, const struct fl_dns_opts *o)
{
	struct fl_dns_registration *r = FL_NEW(struct fl_dns_registration);
	r->client = c;
	r->o = o;
	for (unsigned i = 0; i < o->n_listen; i++)
		add_family(r, o->listen[i].family);
	uv_timer_init(fl_client_loop(c), &r->timer);
	r->timer.data = r;
	if (o->n_cluster_ips)
		next(r);
	else
		r->step = r->n_slices + 1;
	return r;
}

bool fl_dns_registration_done(const struct fl_dns_registration *r)
{
	return r->step > r->n_slices;
}

void fl_dns_registration_gone(struct fl_dns_registration *r, const char *ns, const char *name)
{
	bool ours = fl_streq(name, SERVICE);
	for (unsigned i = 0; i < r->n_slices; i++)
		ours |= fl_streq(name, r->slice_name[i]);
	if (!ours || !fl_streq(ns, NS) || !r->o->n_cluster_ips || !fl_dns_registration_done(r))
		return;
	r->step = 0;
	uv_timer_start(&r->timer, on_timer, RETRY_MIN_MS, 0);
}

static void on_closed(uv_handle_t *h)
{
	struct fl_dns_registration *r = h->data;
	for (unsigned i = 0; i < r->n_slices; i++)
		free(r->slice_name[i]);
	free(r);
}

void fl_dns_registration_free(struct fl_dns_registration **ret)
{
	struct fl_dns_registration *r = *ret;
	if (!r)
		return;
	*ret = NULL;
	fl_client_cancel(&r->call);
	uv_close((uv_handle_t *)&r->timer, on_closed);
}
