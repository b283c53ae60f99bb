// SPDX-License-Identifier: Apache-2.0
// Ports that the same addresses offer in the same state form one subset (k8s: RepackSubsets):
//
//   pod A ready  : http 80, admin 81          http:  A+ B-        A+ B-  | http, admin
//   pod B unready: http 80, admin 81    -->   admin: A+ B-   -->  C+     | http2
//   pod C ready  : http2 90                   http2: C+
#include "controller/endpoints/subsets.h"

#include "base/vec.h"
#include "controller/meta.h"

#define ANNOTATION_OVER_CAPACITY "endpoints.kubernetes.io/over-capacity"

struct address {
	const char *ip, *uid;
	struct fl_json *tree;
	const struct fl_podview *pod;
	bool ready;
};

struct port {
	const char *key;
	struct fl_json *tree;       // NULL: the stand-in of a headless Service without ports
	FL_VEC(unsigned) addresses; // ascending
	bool done;
};

struct packer {
	struct fl_arena *a;
	const struct fl_members_in *in;
	FL_VEC(struct address) addresses; // by address, then uid
	FL_VEC(struct port) ports;
};

static int by_ip_and_uid(const void *x, const void *y)
{
	const struct address *a = x, *b = y;
	int c = strcmp(a->ip, b->ip);
	return c ? c : strcmp(a->uid, b->uid);
}

static void collect_addresses(struct packer *pk)
{
	struct fl_arena *a = pk->a;
	const struct fl_json *service = pk->in->service, *spec = fl_json_get(service, "spec");
	const char *family = fl_json_string(fl_json_index(fl_json_get(spec, "ipFamilies"), 0));
	bool all = fl_members_publish_all(service);
	if (!family)
		family = strchr(fl_json_str_or(spec, "clusterIP", ""), ':') ? "IPv6" : "IPv4";
	for (size_t i = 0; i < pk->in->n_pods; i++) {
		const struct fl_podview *p = &pk->in->pods[i];
		const char *ip = fl_members_eligible(p, all) ? fl_members_ip(a, p, family) : NULL;
		if (!ip)
			continue;
		const char *hostname = fl_members_hostname(p, service);
		struct fl_json *t = fl_json_new(a, FL_JSON_OBJECT);
		fl_json_set_str(a, t, "ip", ip);
		if (hostname)
			fl_json_set_str(a, t, "hostname", hostname);
		if (p->node[0])
			fl_json_set_str(a, t, "nodeName", p->node);
		fl_json_set(a, t, "targetRef", fl_members_target(a, p));
		struct address one = {ip, p->uid, t, p, all || p->ready};
		fl_vec_push(&pk->addresses, one);
	}
	if (pk->addresses.n)
		qsort(pk->addresses.v, pk->addresses.n, sizeof(*pk->addresses.v), by_ip_and_uid);
}

static struct port *port_for(struct packer *pk, const char *key)
{
	for (size_t i = 0; i < pk->ports.n; i++)
		if (!strcmp(pk->ports.v[i].key, key))
			return &pk->ports.v[i];
	struct port p = {.key = key};
	fl_vec_push(&pk->ports, p);
	return &pk->ports.v[pk->ports.n - 1];
}

static void offer(struct packer *pk, const struct fl_json *service_port, int64_t number, unsigned address)
{
	struct fl_arena *a = pk->a;
	const char *name = fl_json_str_or(service_port, "name", ""), *app = fl_json_str(service_port, "appProtocol");
	const char *protocol = fl_json_str_or(service_port, "protocol", "TCP");
	struct port *p =
	    port_for(pk, fl_arena_printf(a, "%s/%s/%lld/%s", name, protocol, (long long)number, app ? app : ""));
	if (!p->tree) {
		p->tree = fl_json_new(a, FL_JSON_OBJECT);
		if (name[0])
			fl_json_set_str(a, p->tree, "name", name);
		fl_json_set_int(a, p->tree, "port", number);
		fl_json_set_str(a, p->tree, "protocol", protocol);
		if (app)
			fl_json_set_str(a, p->tree, "appProtocol", app);
	}
	if (!p->addresses.n || p->addresses.v[p->addresses.n - 1] != address)
		fl_vec_push(&p->addresses, address);
}

static void collect_ports(struct packer *pk)
{
	const struct fl_json *ports = fl_json_path(pk->in->service, "spec", "ports", NULL);
	for (unsigned i = 0; i < pk->addresses.n; i++) {
		if (!fl_json_count(ports)) {
			if (fl_members_is_headless(pk->in->service)) {
				struct port *none = port_for(pk, "");
				fl_vec_push(&none->addresses, i);
			}
			continue;
		}
		fl_json_each (sp, ports) {
			int64_t number = fl_members_port(pk->addresses.v[i].pod, sp);
			if (number)
				offer(pk, sp, number, i);
		}
	}
}

static bool same_addresses(const struct port *a, const struct port *b)
{
	return a->addresses.n == b->addresses.n &&
	       memcmp(a->addresses.v, b->addresses.v, a->addresses.n * sizeof(*a->addresses.v)) == 0;
}

static void put_addresses(struct packer *pk, struct fl_json *subset, const struct port *p, const char *key, bool ready)
{
	struct fl_json *list = NULL;
	for (size_t i = 0; i < p->addresses.n; i++) {
		const struct address *ad = &pk->addresses.v[p->addresses.v[i]];
		if (ad->ready != ready)
			continue;
		if (!list)
			list = fl_json_set_array(pk->a, subset, key);
		fl_json_append(list, fl_json_clone(pk->a, ad->tree));
	}
}

static struct fl_json *pack(struct packer *pk)
{
	struct fl_json *subsets = fl_json_new(pk->a, FL_JSON_ARRAY);
	for (size_t i = 0; i < pk->ports.n; i++) {
		struct port *p = &pk->ports.v[i];
		if (p->done)
			continue;
		struct fl_json *s = fl_json_append(subsets, fl_json_new(pk->a, FL_JSON_OBJECT));
		put_addresses(pk, s, p, "addresses", true);
		put_addresses(pk, s, p, "notReadyAddresses", false);
		if (!p->tree)
			continue;
		struct fl_json *ports = fl_json_set_array(pk->a, s, "ports");
		for (size_t k = i; k < pk->ports.n; k++) {
			struct port *other = &pk->ports.v[k];
			if (other->done || !other->tree || !same_addresses(p, other))
				continue;
			fl_json_append(ports, other->tree);
			other->done = true;
		}
	}
	return subsets;
}

static size_t count_all(const struct fl_json *subsets, const char *key)
{
	size_t n = 0;
	fl_json_each (s, subsets)
		n += fl_json_count(fl_json_get(s, key));
	return n;
}

static void cut(struct fl_json *array, size_t keep)
{
	while (fl_json_count(array) > keep)
		fl_json_remove_child(array, array->kids.last);
}

// Each subset keeps its share of what may stay; ready addresses go last. (k8s: truncateEndpoints)
static bool truncate_to(struct fl_json *subsets, size_t max)
{
	size_t ready = count_all(subsets, "addresses"), unready = count_all(subsets, "notReadyAddresses");
	if (ready + unready <= max)
		return false;
	bool cut_ready = ready > max;
	size_t room = cut_ready ? max : max - ready, total = cut_ready ? ready : unready, left = room;
	const char *key = cut_ready ? "addresses" : "notReadyAddresses";
	fl_json_each (s, subsets) {
		size_t share = (fl_json_count(fl_json_get(s, key)) * room + total - 1) / total;
		struct fl_json *list = fl_json_get(s, key);
		cut(list, share < left ? share : left);
		left -= fl_json_count(list);
		if (list && !fl_json_count(list))
			fl_json_remove(s, key);
		if (cut_ready)
			fl_json_remove(s, "notReadyAddresses");
	}
	return true;
}

static struct fl_json *desired_labels(struct fl_arena *a, const struct fl_json *service)
{
	static const char *const none[] = {FL_LABEL_HEADLESS, FL_LABEL_ENDPOINTS_MANAGED_BY, NULL};
	struct fl_json *labels = fl_members_labels(a, service, none);
	fl_json_set_str(a, labels, FL_LABEL_ENDPOINTS_MANAGED_BY, FL_ENDPOINTS_MANAGER);
	if (fl_members_is_headless(service))
		fl_json_set_str(a, labels, FL_LABEL_HEADLESS, "");
	return labels;
}

static bool same_subsets(const struct fl_json *a, const struct fl_json *b)
{
	return (!fl_json_count(a) && !fl_json_count(b)) || (a && fl_json_equal(a, b));
}

static struct fl_json *build(struct fl_arena *a, const struct fl_members_in *in, const struct fl_json *existing,
			     struct fl_json *subsets, struct fl_json *labels, bool truncated)
{
	const struct fl_json *meta = fl_json_get(in->service, "metadata");
	struct fl_json *o = existing ? fl_json_clone(a, existing) : fl_json_new(a, FL_JSON_OBJECT);
	if (!existing) {
		fl_json_set_str(a, o, "kind", "Endpoints");
		fl_json_set_str(a, o, "apiVersion", "v1");
	}
	struct fl_json *m = fl_json_ensure_object(a, o, "metadata");
	if (!existing) {
		fl_json_set_str(a, m, "name", fl_json_str_or(meta, "name", ""));
		fl_json_set_str(a, m, "namespace", fl_json_str_or(meta, "namespace", ""));
	}
	fl_json_set(a, m, "labels", labels);
	fl_json_set_str(a, fl_json_ensure_object(a, m, "annotations"), ANNOTATION_OVER_CAPACITY,
			truncated ? "truncated" : NULL);
	fl_members_set_trigger(a, m, in->trigger_time);
	if (fl_json_count(subsets))
		fl_json_set(a, o, "subsets", subsets);
	else
		fl_json_remove(o, "subsets");
	return o;
}

struct fl_json *fl_endpoints_plan(struct fl_arena *a, const struct fl_members_in *in, const struct fl_json *existing,
				  size_t max)
{
	struct packer pk = {.a = a, .in = in};
	collect_addresses(&pk);
	collect_ports(&pk);
	struct fl_json *subsets = pack(&pk);
	for (size_t i = 0; i < pk.ports.n; i++)
		fl_vec_deinit(&pk.ports.v[i].addresses);
	fl_vec_deinit(&pk.ports);
	fl_vec_deinit(&pk.addresses);
	bool truncated = truncate_to(subsets, max);
	struct fl_json *labels = desired_labels(a, in->service);
	if (existing && same_subsets(fl_json_get(existing, "subsets"), subsets) &&
	    fl_json_equal(fl_json_path(existing, "metadata", "labels", NULL), labels) &&
	    fl_streq(fl_meta_annotation(existing, ANNOTATION_OVER_CAPACITY), truncated ? "truncated" : NULL))
		return NULL;
	return build(a, in, existing, subsets, labels, truncated);
}
