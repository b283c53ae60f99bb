// SPDX-License-Identifier: Apache-2.0
// Asks again every few milliseconds; all that it holds is given back as soon as the answer is yes.
#include "supervisor/ready.h"

#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "client/client.h"

#define ASK_MS 5
#define DNS_ID 0xfa1d

struct fl_ready {
	struct fl_ready_opts o;
	struct fl_client *client;
	struct fl_client_call *call;
	uv_timer_t timer;
	uv_udp_t udp;
	uint8_t query[300];
	size_t query_len;
	char buf[512];
	bool node_ready, dns_ready, freed;
	unsigned open_handles;
};

// A query for the address of `name` in one family (RFC 1035 section 4.1, RFC 3596). Returns its length.
static size_t make_query(uint8_t *q, size_t size, const char *name, int family)
{
	static const uint8_t head[12] = {DNS_ID >> 8, DNS_ID & 0xff, 0, 0, 0, 1};
	size_t n = sizeof(head);
	memcpy(q, head, n);
	for (const char *p = name; *p;) {
		size_t len = strcspn(p, ".");
		if (!len || len > 63 || n + len + 6 > size)
			return 0;
		q[n++] = (uint8_t)len;
		memcpy(q + n, p, len);
		n += len;
		p += len + (p[len] == '.');
	}
	const uint8_t tail[5] = {0, 0, family == AF_INET6 ? 28 : 1, 0, 1};
	memcpy(q + n, tail, sizeof(tail));
	return n + sizeof(tail);
}

static void on_handle_closed(uv_handle_t *h)
{
	struct fl_ready *r = h->data;
	if (--r->open_handles == 0)
		free(r);
}

void fl_ready_free(struct fl_ready **ret)
{
	struct fl_ready *r = *ret;
	*ret = NULL;
	if (!r || r->freed)
		return;
	r->freed = true;
	fl_client_free(&r->client);
	uv_close((uv_handle_t *)&r->timer, on_handle_closed);
	uv_close((uv_handle_t *)&r->udp, on_handle_closed);
}

static void conclude(struct fl_ready *r)
{
	if (!r->node_ready || !r->dns_ready || r->freed)
		return;
	uv_timer_stop(&r->timer);
	uv_udp_recv_stop(&r->udp);
	fl_client_free(&r->client);
	r->o.on_ready(r->o.arg);
}

static void on_node(void *arg, int rc, int status, struct fl_arena *a, struct fl_json *body, const struct fl_err *err)
{
	struct fl_ready *r = arg;
	r->call = NULL;
	if (rc < 0)
		return;
	fl_json_each (c, fl_json_path(body, "status", "conditions", NULL))
		if (fl_streq(fl_json_str(c, "type"), "Ready") && fl_streq(fl_json_str(c, "status"), "True"))
			r->node_ready = true;
}

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *buf)
{
	struct fl_ready *r = h->data;
	*buf = uv_buf_init(r->buf, sizeof(r->buf));
}

static void on_answer(uv_udp_t *h, ssize_t n, const uv_buf_t *buf, const struct sockaddr *from, unsigned flags)
{
	struct fl_ready *r = h->data;
	const uint8_t *p = (const uint8_t *)buf->base;
	if (n >= 12 && p[0] == DNS_ID >> 8 && p[1] == (DNS_ID & 0xff) && (p[3] & 15) == 0 && (p[6] || p[7]))
		r->dns_ready = true;
}

static void ask(uv_timer_t *t)
{
	struct fl_ready *r = t->data;
	if (r->node_ready && r->dns_ready) {
		conclude(r);
		return;
	}
	if (!r->node_ready && !r->call)
		fl_client_get(r->client, &fl_gvr_nodes, NULL, r->o.node_name, on_node, r, &r->call);
	if (!r->dns_ready) {
		struct sockaddr_storage to;
		socklen_t len;
		fl_ip_to_sockaddr(&r->o.dns_ip, r->o.dns_port, &to, &len);
		uv_buf_t b = uv_buf_init((char *)r->query, (unsigned)r->query_len);
		(void)!uv_udp_try_send(&r->udp, &b, 1, (struct sockaddr *)&to); // lost or refused: asked again
	}
}

int fl_ready_start(uv_loop_t *loop, const struct fl_ready_opts *o, struct fl_ready **ret, struct fl_err *err)
{
	struct fl_kubeconfig cfg = {0};
	struct fl_client *client = NULL;
	int rc = fl_kubeconfig_load(o->kubeconfig, NULL, &cfg, err);
	if (rc == 0)
		rc = fl_client_new(loop, &cfg, "fairlead-supervisor", &client, err);
	fl_kubeconfig_deinit(&cfg);
	if (rc < 0)
		return rc;
	struct fl_ready *r = FL_NEW(struct fl_ready);
	r->o = *o;
	r->client = client;
	AUTO_FREE char *name = fl_asprintf("kubernetes.default.svc.%s", o->domain);
	r->query_len = make_query(r->query, sizeof(r->query), name, o->service_family);
	r->dns_ready = !o->dns_ip.family || !r->query_len;
	uv_timer_init(loop, &r->timer);
	uv_udp_init(loop, &r->udp);
	r->open_handles = 2;
	r->timer.data = r->udp.data = r;
	struct sockaddr_storage any;
	socklen_t len;
	struct fl_ip unspecified = {.family = o->dns_ip.family ? o->dns_ip.family : AF_INET};
	if (unspecified.family == AF_INET)
		fl_ip_parse("0.0.0.0", &unspecified);
	fl_ip_to_sockaddr(&unspecified, 0, &any, &len);
	uv_udp_bind(&r->udp, (struct sockaddr *)&any, 0);
	uv_udp_recv_start(&r->udp, on_alloc, on_answer);
	uv_timer_start(&r->timer, ask, 0, ASK_MS);
	*ret = r;
	return 0;
}
