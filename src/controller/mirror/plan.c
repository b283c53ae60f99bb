// SPDX-License-Identifier: Apache-2.0
// Subsets with the same ports count as one, and an address that stands there as ready and as not ready is not ready
// (k8s: RepackSubsets). Slices keep the order of the addresses, so that two that say the same are equal.
#include "controller/mirror/plan.h"

#include <sys/socket.h>

#include "base/ip.h"
#include "controller/meta.h"

struct group { // addresses of one set of ports
	const char *key;
	struct fl_json *ports;
	struct fl_json *endpoints[2]; // arrays: IPv4, IPv6
	struct fl_map known;          // address and its target's uid -> endpoint
	size_t n;
};

static const char *const families[] = {"IPv4", "IPv6"};

struct planner {
	struct fl_arena *a;
	const struct fl_json *source;
	struct fl_json *labels, *annotations;
	size_t max;
	FL_VEC(struct group) groups;
	FL_VEC(const struct fl_json *) doomed;
	FL_VEC(struct fl_json *) created;
	fl_slice_plan *plan;
	struct fl_mirror_left_out *left_out;
};

bool fl_mirror_wants(const struct fl_json *endpoints)
{
	return !fl_streq(fl_meta_label(endpoints, FL_LABEL_SKIP_MIRROR), "true") &&
	       !fl_meta_annotation(endpoints, "control-plane.alpha.kubernetes.io/leader");
}

static struct fl_json *ports_of(struct fl_arena *a, const struct fl_json *subset)
{
	struct fl_json *ports = fl_json_new(a, FL_JSON_ARRAY);
	fl_json_each (p, fl_json_get(subset, "ports")) {
		struct fl_json *port = fl_json_append(ports, fl_json_new(a, FL_JSON_OBJECT));
		const char *app = fl_json_str(p, "appProtocol");
		fl_json_set_str(a, port, "name", fl_json_str_or(p, "name", ""));
		fl_json_set_str(a, port, "protocol", fl_json_str_or(p, "protocol", "TCP"));
		fl_json_set_int(a, port, "port", fl_json_int(p, "port", 0));
		if (app)
			fl_json_set_str(a, port, "appProtocol", app);
	}
	return ports;
}

static struct group *group_for(struct planner *pl, const struct fl_json *subset)
{
	struct fl_json *ports = ports_of(pl->a, subset);
	const char *key = fl_slices_ports_key(pl->a, ports);
	for (size_t i = 0; i < pl->groups.n; i++)
		if (!strcmp(pl->groups.v[i].key, key))
			return &pl->groups.v[i];
	struct group g = {.key = key, .ports = ports};
	for (size_t f = 0; f < FL_COUNT(families); f++)
		g.endpoints[f] = fl_json_new(pl->a, FL_JSON_ARRAY);
	fl_vec_push(&pl->groups, g);
	return &pl->groups.v[pl->groups.n - 1];
}

static struct fl_json *make_endpoint(struct fl_arena *a, const struct fl_json *address, const char *ip, bool ready)
{
	static const char *const copied[] = {"hostname", "nodeName"};
	const struct fl_json *target = fl_json_get(address, "targetRef");
	struct fl_json *ep = fl_json_new(a, FL_JSON_OBJECT);
	fl_json_append(fl_json_set_array(a, ep, "addresses"), fl_json_new_str(a, ip));
	fl_json_set_bool(a, fl_json_set_object(a, ep, "conditions"), "ready", ready);
	if (target)
		fl_json_set(a, ep, "targetRef", fl_json_clone(a, target));
	for (size_t i = 0; i < FL_COUNT(copied); i++)
		if (!fl_str_empty(fl_json_str(address, copied[i])))
			fl_json_set_str(a, ep, copied[i], fl_json_str(address, copied[i]));
	return ep;
}

static void add_addresses(struct planner *pl, struct group *g, const struct fl_json *addresses, bool ready)
{
	fl_json_each (address, addresses) {
		char text[FL_IP_STRLEN];
		struct fl_ip ip;
		if (!fl_ip_parse(fl_json_str_or(address, "ip", ""), &ip)) {
			pl->left_out->invalid++;
			continue;
		}
		fl_ip_format(&ip, text);
		const char *key =
		    fl_arena_printf(pl->a, "%s %s", text, fl_json_str_or(fl_json_get(address, "targetRef"), "uid", ""));
		struct fl_json *known = fl_map_get(&g->known, key);
		if (known) {
			if (!ready)
				fl_json_set_bool(pl->a, fl_json_get(known, "conditions"), "ready", false);
			continue;
		}
		if (g->n == pl->max) {
			pl->left_out->beyond++;
			continue;
		}
		known = make_endpoint(pl->a, address, text, ready);
		fl_map_set(&g->known, key, known);
		fl_json_append(g->endpoints[ip.family == AF_INET6], known);
		g->n++;
	}
}

// All of `from` but two members.
static struct fl_json *copy_without(struct fl_arena *a, const struct fl_json *from, const char *x, const char *y)
{
	struct fl_json *copy = fl_json_new(a, FL_JSON_OBJECT);
	fl_json_each (m, from)
		if (strcmp(m->key, x) != 0 && strcmp(m->key, y) != 0)
			fl_json_set(a, copy, m->key, fl_json_clone(a, m));
	return copy;
}

static void step(struct planner *pl, enum fl_slice_op op, const struct fl_json *old, struct fl_json *slice)
{
	const struct fl_json *meta = fl_json_get(old, "metadata");
	struct fl_slice_step s = {op, fl_json_str(meta, "name"), fl_json_str(meta, "uid"), slice};
	fl_vec_push(pl->plan, s);
}

static void set_meta(struct planner *pl, struct fl_json *meta)
{
	fl_json_set(pl->a, meta, "labels", fl_json_clone(pl->a, pl->labels));
	fl_json_remove(meta, "annotations");
	if (fl_json_count(pl->annotations))
		fl_json_set(pl->a, meta, "annotations", fl_json_clone(pl->a, pl->annotations));
	fl_json_append(fl_json_set_array(pl->a, meta, "ownerReferences"),
		       fl_meta_owner_ref(pl->a, pl->source, "v1", "Endpoints"));
}

static struct fl_json *new_slice(struct planner *pl, const struct group *g, size_t family)
{
	struct fl_arena *a = pl->a;
	const struct fl_json *meta = fl_json_get(pl->source, "metadata");
	struct fl_json *o = fl_json_new(a, FL_JSON_OBJECT);
	fl_json_set_str(a, o, "kind", "EndpointSlice");
	fl_json_set_str(a, o, "apiVersion", "discovery.k8s.io/v1");
	struct fl_json *m = fl_json_set_object(a, o, "metadata");
	fl_json_set_str(a, m, "generateName", fl_arena_printf(a, "%s-", fl_json_str_or(meta, "name", "")));
	fl_json_set_str(a, m, "namespace", fl_json_str_or(meta, "namespace", ""));
	set_meta(pl, m);
	fl_json_set_str(a, o, "addressType", families[family]);
	fl_json_set(a, o, "endpoints", g->endpoints[family]);
	fl_json_set(a, o, "ports", fl_json_clone(a, g->ports));
	return o;
}

static bool same_annotations(const struct fl_json *x, const struct fl_json *y)
{
	return x && y ? fl_json_equal(x, y) : fl_json_count(x) == fl_json_count(y);
}

static bool is_right(const struct planner *pl, const struct fl_json *slice, const struct fl_json *endpoints)
{
	const struct fl_json *meta = fl_json_get(slice, "metadata");
	return fl_json_equal(fl_json_get(slice, "endpoints"), endpoints) &&
	       fl_json_equal(fl_json_get(meta, "labels"), pl->labels) &&
	       same_annotations(fl_json_get(meta, "annotations"), pl->annotations) &&
	       fl_meta_controlled_by(slice, fl_json_str_or(fl_json_get(pl->source, "metadata"), "uid", ""));
}

// `taken`: slices that a group has claimed.
static void place(struct planner *pl, const struct group *g, size_t family, const struct fl_json *const *existing,
		  size_t n_existing, bool *taken)
{
	const struct fl_json *mine = NULL;
	if (!fl_json_count(g->endpoints[family]))
		return;
	for (size_t i = 0; i < n_existing && !mine; i++) {
		if (taken[i] || !fl_streq(fl_json_str(existing[i], "addressType"), families[family]) ||
		    strcmp(fl_slices_ports_key(pl->a, fl_json_get(existing[i], "ports")), g->key) != 0)
			continue;
		mine = existing[i];
		taken[i] = true;
	}
	if (!mine) {
		struct fl_json *fresh = new_slice(pl, g, family);
		fl_vec_push(&pl->created, fresh);
	} else if (!is_right(pl, mine, g->endpoints[family])) {
		struct fl_json *o = fl_json_clone(pl->a, mine);
		set_meta(pl, fl_json_get(o, "metadata"));
		fl_json_set(pl->a, o, "endpoints", g->endpoints[family]);
		step(pl, FL_SLICE_UPDATE, mine, o);
	}
}

// A slice to be made takes the place of one of its family that would go.
static void finish(struct planner *pl)
{
	for (size_t i = 0; i < pl->created.n; i++) {
		struct fl_json *fresh = pl->created.v[i];
		size_t d = 0;
		while (d < pl->doomed.n &&
		       !fl_streq(fl_json_str(pl->doomed.v[d], "addressType"), fl_json_str(fresh, "addressType")))
			d++;
		if (d < pl->doomed.n) {
			const struct fl_json *old = pl->doomed.v[d];
			struct fl_json *o = fl_json_clone(pl->a, old);
			set_meta(pl, fl_json_get(o, "metadata"));
			fl_json_set(pl->a, o, "endpoints", fl_json_clone(pl->a, fl_json_get(fresh, "endpoints")));
			fl_json_set(pl->a, o, "ports", fl_json_clone(pl->a, fl_json_get(fresh, "ports")));
			step(pl, FL_SLICE_UPDATE, old, o);
			fl_vec_remove(&pl->doomed, d);
		} else if (!fl_meta_deleting(pl->source)) {
			step(pl, FL_SLICE_CREATE, NULL, fresh);
		}
	}
	for (size_t i = 0; i < pl->doomed.n; i++)
		step(pl, FL_SLICE_DELETE, pl->doomed.v[i], NULL);
}

void fl_mirror_plan(struct fl_arena *a, const struct fl_json *endpoints, const struct fl_json *const *existing,
		    size_t n_existing, size_t max, fl_slice_plan *ret, struct fl_mirror_left_out *ret_left_out)
{
	const struct fl_json *meta = fl_json_get(endpoints, "metadata");
	struct planner pl = {.a = a, .source = endpoints, .max = max, .plan = ret, .left_out = ret_left_out};
	bool *taken = fl_arena_zalloc(a, n_existing + 1);
	*ret_left_out = (struct fl_mirror_left_out){0};
	pl.labels = copy_without(a, fl_json_get(meta, "labels"), FL_LABEL_SERVICE_NAME, FL_LABEL_MANAGED_BY);
	fl_json_set_str(a, pl.labels, FL_LABEL_MANAGED_BY, FL_MIRROR_MANAGER);
	fl_json_set_str(a, pl.labels, FL_LABEL_SERVICE_NAME, fl_json_str_or(meta, "name", ""));
	pl.annotations = copy_without(a, fl_json_get(meta, "annotations"), FL_ANNOTATION_TRIGGER,
				      "kubectl.kubernetes.io/last-applied-configuration");
	fl_json_each (subset, fl_json_get(endpoints, "subsets")) {
		struct group *g = group_for(&pl, subset);
		add_addresses(&pl, g, fl_json_get(subset, "addresses"), true);
		add_addresses(&pl, g, fl_json_get(subset, "notReadyAddresses"), false);
	}
	for (size_t i = 0; i < pl.groups.n; i++)
		for (size_t f = 0; f < FL_COUNT(families); f++)
			place(&pl, &pl.groups.v[i], f, existing, n_existing, taken);
	for (size_t i = 0; i < n_existing; i++)
		if (!taken[i])
			fl_vec_push(&pl.doomed, existing[i]);
	finish(&pl);
	for (size_t i = 0; i < pl.groups.n; i++)
		fl_map_deinit(&pl.groups.v[i].known);
	fl_vec_deinit(&pl.groups);
	fl_vec_deinit(&pl.doomed);
	fl_vec_deinit(&pl.created);
}
