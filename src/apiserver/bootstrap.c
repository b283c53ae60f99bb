// SPDX-License-Identifier: Apache-2.0
#include "apiserver/bootstrap.h"

#include <errno.h>
#include <string.h>

#include "apiserver/change.h"
#include "base/log.h"
#include "base/mem.h"

struct step {
	const char *group, *version, *plural, *ns, *name;
	void (*fill)(struct fl_apiserver *s, struct fl_arena *a, struct fl_json *obj);
};

struct boot {
	struct fl_apiserver *s;
	unsigned at;
	void (*done)(void *arg, int rc, const struct fl_err *err);
	void *arg;
};

static void fill_nothing(struct fl_apiserver *s, struct fl_arena *a, struct fl_json *obj)
{
}

static void label(struct fl_arena *a, struct fl_json *obj, const char *key, const char *value)
{
	struct fl_json *meta = fl_json_ensure_object(a, obj, "metadata");
	fl_json_set_str(a, fl_json_ensure_object(a, meta, "labels"), key, value);
}

static void fill_service(struct fl_apiserver *s, struct fl_arena *a, struct fl_json *obj)
{
	char ip[FL_IP_STRLEN];
	struct fl_ip first = fl_cidr_nth(&s->opts->service_cidrs[0], 1);
	label(a, obj, "component", "apiserver");
	label(a, obj, "provider", "kubernetes");
	struct fl_json *spec = fl_json_ensure_object(a, obj, "spec");
	const char *have = fl_json_str(spec, "clusterIP");
	fl_ip_format(&first, ip);
	if (have && strcmp(have, ip) != 0)
		fl_warn("Service default/kubernetes keeps the address of another --service-cidr, pods are told that of "
			"this one: delete it and kube-system/kube-dns, then start again address=%s told=%s",
			have, ip);
	if (have)
		return; // exists: only created once
	fl_json_set_str(a, spec, "clusterIP", ip);
	fl_json_append(fl_json_set_array(a, spec, "clusterIPs"), fl_json_new_str(a, ip));
	struct fl_json *port = fl_json_append(fl_json_set_array(a, spec, "ports"), fl_json_new(a, FL_JSON_OBJECT));
	fl_json_set_str(a, port, "name", "https");
	fl_json_set_str(a, port, "protocol", "TCP");
	fl_json_set_int(a, port, "port", 443);
	fl_json_set_int(a, port, "targetPort", s->port);
}

static struct fl_json *https_port(struct fl_apiserver *s, struct fl_arena *a)
{
	struct fl_json *port = fl_json_new(a, FL_JSON_OBJECT);
	fl_json_set_str(a, port, "name", "https");
	fl_json_set_int(a, port, "port", s->port);
	fl_json_set_str(a, port, "protocol", "TCP");
	return port;
}

static void fill_endpoints(struct fl_apiserver *s, struct fl_arena *a, struct fl_json *obj)
{
	char ip[FL_IP_STRLEN];
	label(a, obj, "endpointslice.kubernetes.io/skip-mirror", "true");
	struct fl_json *subset = fl_json_append(fl_json_set_array(a, obj, "subsets"), fl_json_new(a, FL_JSON_OBJECT));
	struct fl_json *address =
	    fl_json_append(fl_json_set_array(a, subset, "addresses"), fl_json_new(a, FL_JSON_OBJECT));
	fl_json_set_str(a, address, "ip", fl_ip_format(&s->opts->advertise_ip, ip));
	fl_json_append(fl_json_set_array(a, subset, "ports"), https_port(s, a));
}

static void fill_slice(struct fl_apiserver *s, struct fl_arena *a, struct fl_json *obj)
{
	char ip[FL_IP_STRLEN];
	label(a, obj, "kubernetes.io/service-name", "kubernetes");
	fl_json_set_str(a, obj, "addressType", s->opts->advertise_ip.family == AF_INET6 ? "IPv6" : "IPv4");
	struct fl_json *ep = fl_json_append(fl_json_set_array(a, obj, "endpoints"), fl_json_new(a, FL_JSON_OBJECT));
	fl_json_append(fl_json_set_array(a, ep, "addresses"),
		       fl_json_new_str(a, fl_ip_format(&s->opts->advertise_ip, ip)));
	fl_json_set_bool(a, fl_json_set_object(a, ep, "conditions"), "ready", true);
	fl_json_append(fl_json_set_array(a, obj, "ports"), https_port(s, a));
}

static const struct step steps[] = {
    {"", "v1", "namespaces", "", "default", fill_nothing},
    {"", "v1", "namespaces", "", "kube-system", fill_nothing},
    {"", "v1", "namespaces", "", "kube-public", fill_nothing},
    {"", "v1", "namespaces", "", "kube-node-lease", fill_nothing},
    {"", "v1", "services", "default", "kubernetes", fill_service},
    {"", "v1", "endpoints", "default", "kubernetes", fill_endpoints},
    {"discovery.k8s.io", "v1", "endpointslices", "default", "kubernetes", fill_slice},
};

static void finish(struct boot *b, int rc, const struct fl_err *err)
{
	b->done(b->arg, rc, err);
	free(b);
}

static void next(struct boot *b);

static void fail(struct boot *b, const struct fl_status *st)
{
	struct fl_err err;
	const struct step *step = &steps[b->at];
	fl_err_set(&err, -EIO, "bootstrap of %s %s/%s: %s", step->plural, step->ns, step->name, st->message);
	finish(b, -EIO, &err);
}

static void on_done(void *arg, struct fl_object *obj, const struct fl_status *st)
{
	struct boot *b = arg;
	if (st) {
		fail(b, st);
		return;
	}
	b->at++;
	next(b);
}

static void on_removed(void *arg, struct fl_object *obj, const struct fl_status *st)
{
	struct boot *b = arg;
	if (st)
		fail(b, st);
	else
		next(b);
}

// An EndpointSlice is of one family for its life. (reconcilers/endpointsadapter.go)
static bool must_be_made_anew(const struct fl_json *obj, const struct fl_json *old)
{
	return !fl_streq(fl_json_str_or(obj, "addressType", ""), fl_json_str_or(old, "addressType", ""));
}

static void next(struct boot *b)
{
	for (; b->at < FL_COUNT(steps); b->at++) {
		const struct step *step = &steps[b->at];
		AUTO(fl_arena_deinit) struct fl_arena a = {0};
		AUTO(fl_change_deinit)
		struct fl_change c = {.s = b->s,
				      .a = &a,
				      .kind = fl_kind_find(b->s->registry, step->group, step->version, step->plural),
				      .ns = step->ns,
				      .name = step->name,
				      .causes = {.arena = &a}};
		struct fl_json *obj;
		enum fl_store_verb verb = FL_STORE_UPDATE;
		bool ok, gone;
		if (fl_change_load(&c)) {
			obj = fl_json_clone(&a, c.old_tree);
			step->fill(b->s, &a, obj);
			if (fl_json_equal(obj, c.old_tree)) // ours to keep; the rest of it may be of other settings
				continue;
			if (must_be_made_anew(obj, c.old_tree) && fl_change_remove(&c, NULL, &gone) && gone) {
				if (!fl_change_submit(&c, FL_STORE_DELETE, on_removed, b))
					fail(b, &c.status);
				return;
			}
			ok = fl_change_update(&c, obj);
		} else {
			obj = fl_json_new(&a, FL_JSON_OBJECT);
			fl_json_set_str(&a, obj, "kind", c.kind->kind);
			fl_json_set_str(&a, obj, "apiVersion", c.kind->api_version);
			fl_json_set_str(&a, fl_json_set_object(&a, obj, "metadata"), "name", step->name);
			step->fill(b->s, &a, obj);
			verb = FL_STORE_CREATE;
			ok = fl_change_create(&c, obj);
		}
		if (ok && c.unchanged)
			continue;
		if (!ok || !fl_change_submit(&c, verb, on_done, b))
			fail(b, &c.status);
		return;
	}
	finish(b, 0, NULL);
}

void fl_bootstrap(struct fl_apiserver *s, void (*done)(void *arg, int rc, const struct fl_err *err), void *arg)
{
	struct boot *b = FL_NEW(struct boot);
	*b = (struct boot){.s = s, .done = done, .arg = arg};
	next(b);
}
