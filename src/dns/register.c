// SPDX-License-Identifier: Apache-2.0
#include "dns/register.h"

#include <errno.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"

#define NS           "kube-system"
#define SERVICE      "kube-dns"
#define RETRY_MIN_MS 20
#define RETRY_MAX_MS 5000

enum step { STEP_SERVICE, STEP_SLICE, STEP_DONE };

struct fl_dns_registration {
	struct fl_client *client;
	const struct fl_dns_opts *o;
	struct fl_client_call *call;
	uv_timer_t timer;
	char *slice_name;
	enum step step;
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
		fl_warn("Service kube-system/kube-dns cannot be written reason=%s", err ? err->text : "unknown");
	r->wait_ms = r->wait_ms ? r->wait_ms * 2 : RETRY_MIN_MS;
	r->wait_ms = r->wait_ms < RETRY_MAX_MS ? r->wait_ms : RETRY_MAX_MS;
	uv_timer_start(&r->timer, on_timer, r->wait_ms, 0);
}

static void add_port(struct fl_arena *a, struct fl_json *list, const char *name, const char *protocol, int port,
		     bool target)
{
	struct fl_json *p = fl_json_append(list, fl_json_new(a, FL_JSON_OBJECT));
	fl_json_set_str(a, p, "name", name);
	fl_json_set_int(a, p, "port", target ? 53 : port);
	fl_json_set_str(a, p, "protocol", protocol);
	if (target)
		fl_json_set_int(a, p, "targetPort", port);
}

static struct fl_json *service(struct fl_dns_registration *r, struct fl_arena *a)
{
	char text[FL_IP_STRLEN];
	struct fl_json *o = fl_json_new(a, FL_JSON_OBJECT), *meta, *labels, *spec, *ips;
	fl_json_set_str(a, o, "kind", "Service");
	fl_json_set_str(a, o, "apiVersion", "v1");
	meta = fl_json_set_object(a, o, "metadata");
	fl_json_set_str(a, meta, "name", SERVICE);
	labels = fl_json_set_object(a, meta, "labels");
	fl_json_set_str(a, labels, "k8s-app", SERVICE);
	fl_json_set_str(a, labels, "kubernetes.io/cluster-service", "true");
	fl_json_set_str(a, labels, "kubernetes.io/name", "CoreDNS");
	spec = fl_json_set_object(a, o, "spec");
	fl_json_set_str(a, spec, "clusterIP", fl_ip_format(&r->o->cluster_ips[0], text));
	ips = fl_json_set_array(a, spec, "clusterIPs");
	for (unsigned i = 0; i < r->o->n_cluster_ips; i++)
		fl_json_append(ips, fl_json_new_str(a, fl_ip_format(&r->o->cluster_ips[i], text)));
	if (r->o->n_cluster_ips > 1)
		fl_json_set_str(a, spec, "ipFamilyPolicy", "RequireDualStack");
	struct fl_json *ports = fl_json_set_array(a, spec, "ports");
	add_port(a, ports, "dns", "UDP", r->o->port, true);
	add_port(a, ports, "dns-tcp", "TCP", r->o->port, true);
	return o;
}

static struct fl_json *slice(struct fl_dns_registration *r, struct fl_arena *a)
{
	char text[FL_IP_STRLEN];
	struct fl_json *o = fl_json_new(a, FL_JSON_OBJECT), *meta, *labels, *endpoint;
	int family = r->o->listen[0].family;
	fl_json_set_str(a, o, "kind", "EndpointSlice");
	fl_json_set_str(a, o, "apiVersion", "discovery.k8s.io/v1");
	meta = fl_json_set_object(a, o, "metadata");
	fl_json_set_str(a, meta, "name", r->slice_name);
	labels = fl_json_set_object(a, meta, "labels");
	fl_json_set_str(a, labels, "kubernetes.io/service-name", SERVICE);
	fl_json_set_str(a, labels, "endpointslice.kubernetes.io/managed-by", "fairlead-dns");
	fl_json_set_str(a, o, "addressType", family == AF_INET6 ? "IPv6" : "IPv4");
	endpoint = fl_json_append(fl_json_set_array(a, o, "endpoints"), fl_json_new(a, FL_JSON_OBJECT));
	struct fl_json *addresses = fl_json_set_array(a, endpoint, "addresses");
	for (unsigned i = 0; i < r->o->n_listen; i++)
		if (r->o->listen[i].family == family)
			fl_json_append(addresses, fl_json_new_str(a, fl_ip_format(&r->o->listen[i], text)));
	fl_json_set_bool(a, fl_json_set_object(a, endpoint, "conditions"), "ready", true);
	fl_json_set_str(a, endpoint, "nodeName", r->o->node_name);
	struct fl_json *ports = fl_json_set_array(a, o, "ports");
	add_port(a, ports, "dns", "UDP", r->o->port, false);
	add_port(a, ports, "dns-tcp", "TCP", r->o->port, false);
	return o;
}

static void advance(struct fl_dns_registration *r)
{
	r->wait_ms = 0;
	r->step++;
	next(r);
}

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

// It was there: a slice is brought up to date; a Service is left as its owner wants it.
static void on_read(void *arg, int rc, int status, struct fl_arena *a, struct fl_json *body, const struct fl_err *err)
{
	struct fl_dns_registration *r = arg;
	r->call = NULL;
	if (rc < 0) {
		retry(r, err);
		return;
	}
	struct fl_json *want = slice(r, a);
	static const char *const members[] = {"endpoints", "ports"};
	bool same = true;
	for (unsigned i = 0; i < FL_COUNT(members); i++)
		same &= fl_json_equal(fl_json_get(want, members[i]), fl_json_get(body, members[i]));
	if (same) {
		advance(r);
		return;
	}
	for (unsigned i = 0; i < FL_COUNT(members); i++)
		fl_json_set(a, body, members[i], fl_json_clone(a, fl_json_get(want, members[i])));
	fl_client_update(r->client, &fl_gvr_endpointslices, NS, r->slice_name, NULL, body, on_written, r, &r->call);
}

static void on_created(void *arg, int rc, int status, struct fl_arena *a, struct fl_json *body,
		       const struct fl_err *err)
{
	struct fl_dns_registration *r = arg;
	r->call = NULL;
	if (rc == -EEXIST && r->step == STEP_SLICE) {
		fl_client_get(r->client, &fl_gvr_endpointslices, NS, r->slice_name, on_read, r, &r->call);
		return;
	}
	// A chosen address that is taken is refused as invalid (422) before the name is looked at.
	bool exists =
	    rc == -EEXIST || (rc == -EINVAL && status == 422 && err && strstr(err->text, "already allocated"));
	if (rc < 0 && !exists)
		retry(r, err);
	else
		advance(r);
}

static void next(struct fl_dns_registration *r)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	if (r->step == STEP_SERVICE)
		fl_client_create(r->client, &fl_gvr_services, NS, service(r, &a), on_created, r, &r->call);
	else if (r->step == STEP_SLICE)
		fl_client_create(r->client, &fl_gvr_endpointslices, NS, slice(r, &a), on_created, r, &r->call);
}

struct fl_dns_registration *fl_dns_register(struct fl_client *c, const struct fl_dns_opts *o)
{
	struct fl_dns_registration *r = FL_NEW(struct fl_dns_registration);
	r->client = c;
	r->o = o;
	r->slice_name = fl_asprintf("%s-%s", SERVICE, o->node_name);
	uv_timer_init(fl_client_loop(c), &r->timer);
	r->timer.data = r;
	if (o->n_cluster_ips)
		next(r);
	return r;
}

static void on_closed(uv_handle_t *h)
{
	struct fl_dns_registration *r = h->data;
	free(r->slice_name);
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
