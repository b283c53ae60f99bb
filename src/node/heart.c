// SPDX-License-Identifier: Apache-2.0
// Registration and heartbeat. Two timers: the Lease (10 s), and the Node, which is created if it is missing, read, and
// its status written: at the start until that worked, then every 5 min, sooner when a pressure begins or ends or the
// images change.
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/notify.h"
#include "client/client.h"
#include "node/nodeobj.h"

#define LEASE_MS       10000 // kubelet: a quarter of the lease's duration
#define LEASE_S        40
#define LEASE_NS       "kube-node-lease"
#define STATUS_MS      300000
#define RETRY_FIRST_MS 50
#define RETRY_MAX_MS   5000

struct fl_heart {
	struct fl_client *c;
	struct fl_node_opts o;
	const char *runtime_version;
	uint16_t port;
	uv_timer_t lease_timer, status_timer;
	struct fl_client_call *lease_call, *node_call;
	bool beating; // the Lease is being renewed
	bool leased;  // it is there
	char uid[64];
	unsigned lease_tries, status_tries;
	bool told_error;
	uint64_t next_full_ms;
	struct fl_node_facts told; // pressures as written
	char *firewall;            // what of the host's firewall blocks pods
	bool firewall_changed;     // since the last write began
	uint64_t told_images;      // hash of those written
	int open;
};

static uint64_t retry_ms(unsigned *tries)
{
	uint64_t ms = (uint64_t)RETRY_FIRST_MS << (*tries > 7 ? 7 : *tries);

	(*tries)++;
	return ms > RETRY_MAX_MS ? RETRY_MAX_MS : ms;
}

// --- Node ---

static uint64_t images_hash(const struct fl_node_facts *f)
{
	AUTO(fl_buf_deinit) struct fl_buf b = {0};

	fl_json_write(&b, f->images);
	return fl_hash(b.data, b.len);
}

static void status_look(uv_timer_t *timer);
static void lease_look(uv_timer_t *timer);

static void node_failed(struct fl_heart *h, const struct fl_err *err)
{
	if (!h->told_error && h->status_tries >= 5) {
		fl_warn("node cannot be registered yet: %s", err ? err->text : "no answer");
		h->told_error = true;
	}
	uv_timer_start(&h->status_timer, status_look, retry_ms(&h->status_tries), 0);
}

static void on_status(void *arg, int rc, int http_status, struct fl_arena *a, struct fl_json *body,
		      const struct fl_err *err)
{
	struct fl_heart *h = arg;

	h->node_call = NULL;
	if (rc < 0) {
		node_failed(h, err);
		return;
	}
	h->status_tries = 0;
	h->told_error = false;
	fl_notify_ready();
	h->next_full_ms = h->firewall_changed ? 0 : uv_now(fl_client_loop(h->c)) + STATUS_MS;
	uv_timer_start(&h->status_timer, status_look, h->firewall_changed ? 0 : LEASE_MS, 0);
}

static void write_status(struct fl_heart *h, struct fl_arena *a, const struct fl_json *node)
{
	struct fl_json *patch = fl_json_new(a, FL_JSON_OBJECT);
	struct fl_node_facts f;

	snprintf(h->uid, sizeof(h->uid), "%s", fl_json_str_or(fl_json_get(node, "metadata"), "uid", ""));
	if (!h->beating) { // the Lease is the Node's: its owner's uid is known now
		h->beating = true;
		uv_timer_start(&h->lease_timer, lease_look, 0, 0);
	}
	fl_node_facts_read(a, h->o.data_dir, h->runtime_version, &f);
	f.firewall = h->firewall;
	h->firewall_changed = false;
	h->told = f;
	h->told.images = NULL;
	h->told_images = images_hash(&f);
	fl_json_set(a, patch, "status",
		    fl_node_status(a, &h->o, &f, h->port, fl_json_get(node, "status"), fl_real_ns()));
	fl_client_patch(h->c, &fl_gvr_nodes, NULL, h->o.node_name, "status", FL_PATCH_MERGE, patch, on_status, h,
			&h->node_call);
}

static void on_labelled(void *arg, int rc, int http_status, struct fl_arena *a, struct fl_json *body,
			const struct fl_err *err)
{
	struct fl_heart *h = arg;

	h->node_call = NULL;
	if (rc < 0)
		node_failed(h, err);
	else
		write_status(h, a, body);
}

static bool labels_hold(const struct fl_json *want, const struct fl_json *have)
{
	fl_json_each (l, want) {
		if (!fl_streq(fl_json_str(have, l->key), fl_json_string(l)))
			return false;
	}
	return true;
}

static void on_node(void *arg, int rc, int http_status, struct fl_arena *a, struct fl_json *body,
		    const struct fl_err *err)
{
	struct fl_heart *h = arg;
	struct fl_json *own, *labels, *patch;
	const char *have_cidr, *want_cidr;
	struct fl_node_facts f;

	h->node_call = NULL;
	if (rc < 0) {
		node_failed(h, err);
		return;
	}
	// Another run, or a person, made it: our labels belong to it, and its range if it has none yet.
	fl_node_facts_read(a, h->o.data_dir, h->runtime_version, &f);
	own = fl_node_object(a, &h->o, &f);
	labels = fl_json_path(own, "metadata", "labels", NULL);
	have_cidr = fl_json_str(fl_json_get(body, "spec"), "podCIDR");
	want_cidr = fl_json_str(fl_json_get(own, "spec"), "podCIDR");
	if (have_cidr && want_cidr && strcmp(have_cidr, want_cidr) != 0)
		fl_warn("node object has another pod range than this host node=%s object=%s host=%s", h->o.node_name,
			have_cidr, want_cidr);
	if (labels_hold(labels, fl_json_path(body, "metadata", "labels", NULL)) && (have_cidr || !want_cidr)) {
		write_status(h, a, body);
		return;
	}
	patch = fl_json_new(a, FL_JSON_OBJECT);
	fl_json_set(a, fl_json_set_object(a, patch, "metadata"), "labels", fl_json_clone(a, labels));
	if (!have_cidr && want_cidr)
		fl_json_set(a, patch, "spec", fl_json_clone(a, fl_json_get(own, "spec")));
	fl_client_patch(h->c, &fl_gvr_nodes, NULL, h->o.node_name, NULL, FL_PATCH_MERGE, patch, on_labelled, h,
			&h->node_call);
}

static void on_created(void *arg, int rc, int http_status, struct fl_arena *a, struct fl_json *body,
		       const struct fl_err *err)
{
	struct fl_heart *h = arg;

	h->node_call = NULL;
	if (rc == 0)
		write_status(h, a, body);
	else if (rc == -EEXIST)
		fl_client_get(h->c, &fl_gvr_nodes, NULL, h->o.node_name, on_node, h, &h->node_call);
	else
		node_failed(h, err);
}

static void status_look(uv_timer_t *timer)
{
	struct fl_heart *h = timer->data;
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	struct fl_node_facts f;

	if (h->node_call)
		return;
	fl_node_facts_read(&a, h->o.data_dir, h->runtime_version, &f);
	if (h->next_full_ms > uv_now(timer->loop) && f.memory_pressure == h->told.memory_pressure &&
	    f.disk_pressure == h->told.disk_pressure && f.pid_pressure == h->told.pid_pressure &&
	    images_hash(&f) == h->told_images) {
		uv_timer_start(timer, status_look, LEASE_MS, 0);
		return;
	}
	fl_client_create(h->c, &fl_gvr_nodes, NULL, fl_node_object(&a, &h->o, &f), on_created, h, &h->node_call);
}

// --- Lease ---

static void on_lease(void *arg, int rc, int http_status, struct fl_arena *a, struct fl_json *body,
		     const struct fl_err *err)
{
	struct fl_heart *h = arg;

	h->lease_call = NULL;
	if (rc == 0 || rc == -EEXIST) {
		bool renewed = rc == 0;

		h->leased = true;
		h->lease_tries = 0;
		uv_timer_start(&h->lease_timer, lease_look, renewed ? LEASE_MS : 0, 0);
		return;
	}
	if (rc == -ENOENT)
		h->leased = false;
	else if (h->lease_tries == 5)
		fl_warn("node lease cannot be renewed: %s", err ? err->text : "no answer");
	uv_timer_start(&h->lease_timer, lease_look, retry_ms(&h->lease_tries), 0);
}

static void lease_look(uv_timer_t *timer)
{
	struct fl_heart *h = timer->data;
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	struct fl_json *lease = fl_json_new(&a, FL_JSON_OBJECT), *meta, *spec, *owner;
	char now[FL_TIME_STRLEN];

	if (h->lease_call)
		return;
	spec = fl_json_new(&a, FL_JSON_OBJECT);
	fl_json_set_str(&a, spec, "holderIdentity", h->o.node_name);
	fl_json_set_int(&a, spec, "leaseDurationSeconds", LEASE_S);
	fl_json_set_str(&a, spec, "renewTime", fl_time_format_micro(fl_real_ns(), now));
	if (h->leased) {
		fl_json_set(&a, lease, "spec", spec);
		fl_client_patch(h->c, &fl_gvr_leases, LEASE_NS, h->o.node_name, NULL, FL_PATCH_MERGE, lease, on_lease,
				h, &h->lease_call);
		return;
	}
	fl_json_set_str(&a, lease, "apiVersion", "coordination.k8s.io/v1");
	fl_json_set_str(&a, lease, "kind", "Lease");
	meta = fl_json_set_object(&a, lease, "metadata");
	fl_json_set_str(&a, meta, "name", h->o.node_name);
	fl_json_set_str(&a, meta, "namespace", LEASE_NS);
	if (*h->uid) {
		owner = fl_json_append(fl_json_set_array(&a, meta, "ownerReferences"), fl_json_new(&a, FL_JSON_OBJECT));
		fl_json_set_str(&a, owner, "apiVersion", "v1");
		fl_json_set_str(&a, owner, "kind", "Node");
		fl_json_set_str(&a, owner, "name", h->o.node_name);
		fl_json_set_str(&a, owner, "uid", h->uid);
	}
	fl_json_set(&a, lease, "spec", spec);
	fl_client_create(h->c, &fl_gvr_leases, LEASE_NS, lease, on_lease, h, &h->lease_call);
}

struct fl_heart *fl_heart_start(struct fl_client *c, const struct fl_node_opts *o, const char *runtime_version,
				uint16_t kubelet_port)
{
	struct fl_heart *h = FL_NEW(struct fl_heart);

	h->c = c;
	h->o = *o;
	h->runtime_version = runtime_version;
	h->port = kubelet_port;
	h->open = 2;
	uv_timer_init(fl_client_loop(c), &h->lease_timer);
	uv_timer_init(fl_client_loop(c), &h->status_timer);
	h->lease_timer.data = h->status_timer.data = h;
	uv_timer_start(&h->status_timer, status_look, 0, 0);
	return h;
}

void fl_heart_set_firewall(struct fl_heart *h, const char *problem)
{
	free(h->firewall);
	h->firewall = problem ? fl_strdup(problem) : NULL;
	h->firewall_changed = true;
	h->next_full_ms = 0;
	if (!h->node_call)
		uv_timer_start(&h->status_timer, status_look, 0, 0);
}

static void on_closed(uv_handle_t *handle)
{
	struct fl_heart *h = handle->data;

	if (--h->open > 0)
		return;
	free(h->firewall);
	free(h);
}

void fl_heart_stop(struct fl_heart **hp)
{
	struct fl_heart *h = *hp;

	if (!h)
		return;
	*hp = NULL;
	fl_client_cancel(&h->lease_call);
	fl_client_cancel(&h->node_call);
	uv_close((uv_handle_t *)&h->lease_timer, on_closed);
	uv_close((uv_handle_t *)&h->status_timer, on_closed);
}
