// SPDX-License-Identifier: Apache-2.0
// One key a namespace. (k8s: ServiceAccountsController, rootcacertpublisher)
#include "controller/serviceaccount/serviceaccount.h"

#include "base/mem.h"
#include "controller/meta.h"
#include "controller/writes.h"

#define CONCURRENCY    8
#define ACCOUNT        "default"
#define CERTIFICATE    "kube-root-ca.crt"
#define CERTIFICATE_IN "ca.crt"
#define DESCRIPTION    "kubernetes.io/description"
static const char description[] =
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the "
    "internal "
    "service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes clusters.";

struct fl_serviceaccount_controller {
	struct fl_hub *hub;
	struct fl_workqueue *queue;
	char *ca_pem; // NULL: no ConfigMaps
};

static void on_namespace(void *arg, const struct fl_object *old, const struct fl_object *now)
{
	struct fl_serviceaccount_controller *c = arg;
	if (now)
		fl_workqueue_add(c->queue, now->name);
}

static void on_kept(void *arg, const struct fl_object *old, const struct fl_object *now)
{
	struct fl_serviceaccount_controller *c = arg;
	fl_workqueue_add(c->queue, now ? now->ns : old->ns);
}

static struct fl_json *named(struct fl_arena *a, const char *kind, const char *ns, const char *name)
{
	struct fl_json *o = fl_json_new(a, FL_JSON_OBJECT);
	fl_json_set_str(a, o, "kind", kind);
	fl_json_set_str(a, o, "apiVersion", "v1");
	struct fl_json *meta = fl_json_set_object(a, o, "metadata");
	fl_json_set_str(a, meta, "name", name);
	fl_json_set_str(a, meta, "namespace", ns);
	return o;
}

// The whole ConfigMap as it should be; other keys that somebody put into its data go.
static void put_certificate(struct fl_arena *a, struct fl_json *o, const char *ca_pem)
{
	fl_json_set_str(a, fl_json_ensure_object(a, fl_json_get(o, "metadata"), "annotations"), DESCRIPTION,
			description);
	fl_json_set_str(a, fl_json_set_object(a, o, "data"), CERTIFICATE_IN, ca_pem);
}

static void keep_certificate(struct fl_serviceaccount_controller *c, struct fl_arena *a, struct fl_writes *w,
			     const char *ns)
{
	const struct fl_object *had = fl_hub_find(c->hub, FL_HUB_CERTIFICATES, ns, CERTIFICATE);
	if (!had) {
		struct fl_json *o = named(a, "ConfigMap", ns, CERTIFICATE);
		put_certificate(a, o, c->ca_pem);
		fl_writes_create(w, &fl_gvr_configmaps, ns, o, NULL, NULL);
		return;
	}
	struct fl_json *o = fl_object_tree(had, a), *data = fl_json_get(o, "data");
	if (fl_meta_deleting(o) ||
	    (fl_json_count(data) == 1 && fl_streq(fl_json_str(data, CERTIFICATE_IN), c->ca_pem) &&
	     fl_meta_annotation(o, DESCRIPTION)))
		return;
	put_certificate(a, o, c->ca_pem);
	fl_writes_update(w, &fl_gvr_configmaps, ns, CERTIFICATE, NULL, o, NULL, NULL);
}

static void reconcile(void *arg, const char *ns)
{
	struct fl_serviceaccount_controller *c = arg;
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	struct fl_writes *w = fl_writes_begin(c->hub, c->queue, ns);
	const struct fl_object *o = fl_hub_find(c->hub, FL_HUB_NAMESPACES, "", ns);
	struct fl_json *tree = o ? fl_object_tree(o, &a) : NULL;
	if (tree && !fl_meta_deleting(tree) &&
	    !fl_streq(fl_json_str(fl_json_get(tree, "status"), "phase"), "Terminating")) {
		if (!fl_hub_find(c->hub, FL_HUB_ACCOUNTS, ns, ACCOUNT))
			fl_writes_create(w, &fl_gvr_serviceaccounts, ns, named(&a, "ServiceAccount", ns, ACCOUNT), NULL,
					 NULL);
		if (c->ca_pem)
			keep_certificate(c, &a, w, ns);
	}
	fl_writes_end(w);
}

struct fl_serviceaccount_controller *fl_serviceaccount_controller_new(struct fl_hub *h, const char *ca_pem)
{
	struct fl_serviceaccount_controller *c = FL_NEW(struct fl_serviceaccount_controller);
	c->hub = h;
	c->ca_pem = fl_str_empty(ca_pem) ? NULL : fl_strdup(ca_pem);
	c->queue = fl_hub_queue(h, CONCURRENCY, reconcile, c);
	fl_hub_listen(h, FL_HUB_NAMESPACES, on_namespace, c);
	fl_hub_listen(h, FL_HUB_ACCOUNTS, on_kept, c);
	fl_hub_listen(h, FL_HUB_CERTIFICATES, on_kept, c);
	return c;
}

void fl_serviceaccount_controller_free(struct fl_serviceaccount_controller **cp)
{
	struct fl_serviceaccount_controller *c = TAKE_PTR(*cp);
	if (!c)
		return;
	free(c->ca_pem);
	free(c);
}
