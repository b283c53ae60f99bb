// SPDX-License-Identifier: Apache-2.0
// One group of slices per address family and set of ports. Within a group, as in Kubernetes:
//   1. endpoints that are not wanted any more leave their slices; changed ones are replaced in place
//   2. new endpoints fill the slices that step 1 changes anyhow, fullest first
//   3. what is left goes into one unchanged slice where all of it fits best, else into new slices
// so that one change of one pod writes one slice. A slice to be deleted and one to be created become one update.
#include "controller/endpoints/slices.h"
#include "controller/endpoints/topology.h"
#include "controller/meta.h"

static const char *const reserved_labels[] = {FL_LABEL_SERVICE_NAME, FL_LABEL_MANAGED_BY, FL_LABEL_HEADLESS, NULL};

struct endpoint {
	const char *id; // address, host name and pod: the same endpoint in two versions has the same id
	struct fl_json *tree;
	bool placed;
};

struct group { // endpoints on the same ports
	const char *key;
	struct fl_json *ports;
	FL_VEC(struct endpoint) endpoints;
};

struct slice { // existing, or new with `old` NULL
	const struct fl_json *old;
	FL_VEC(struct fl_json *) endpoints;
	bool changed, taken; // taken: by a group
};

struct planner {
	struct fl_arena *a;
	const struct fl_members_in *in;
	const char *family;
	struct fl_json *labels;
	unsigned max;
	FL_VEC(struct group) groups;
	FL_VEC(struct slice *) slices; // of this family
	FL_VEC(const struct fl_json *) doomed;
	FL_VEC(struct fl_json *) created;
	fl_slice_plan *plan;
	bool *missing_node;
};

static int compare_text(const void *x, const void *y)
{
	return strcmp(*(const char *const *)x, *(const char *const *)y);
}

const char *fl_slices_ports_key(struct fl_arena *a, const struct fl_json *ports)
{
	size_t n = 0;
	const char **one = fl_arena_alloc(a, (fl_json_count(ports) + 1) * sizeof(*one));
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	fl_json_each (p, ports)
		one[n++] = fl_arena_printf(a, "%s/%s/%lld/%s;", fl_json_str_or(p, "name", ""),
					   fl_json_str_or(p, "protocol", "TCP"), (long long)fl_json_int(p, "port", 0),
					   fl_json_str_or(p, "appProtocol", ""));
	qsort(one, n, sizeof(*one), compare_text);
	for (size_t i = 0; i < n; i++)
		fl_buf_puts(&b, one[i]);
	return fl_arena_strndup(a, b.data ? b.data : "", b.len);
}

static struct fl_json *ports_of(struct planner *pl, const struct fl_podview *p)
{
	struct fl_arena *a = pl->a;
	struct fl_json *ports = fl_json_new(a, FL_JSON_ARRAY);
	fl_json_each (sp, fl_json_path(pl->in->service, "spec", "ports", NULL)) {
		int64_t number = fl_members_port(p, sp);
		if (!number)
			continue;
		struct fl_json *port = fl_json_append(ports, fl_json_new(a, FL_JSON_OBJECT));
		const char *app = fl_json_str(sp, "appProtocol");
		fl_json_set_str(a, port, "name", fl_json_str_or(sp, "name", ""));
		fl_json_set_str(a, port, "protocol", fl_json_str_or(sp, "protocol", "TCP"));
		fl_json_set_int(a, port, "port", number);
		if (app)
			fl_json_set_str(a, port, "appProtocol", app);
	}
	return ports;
}

static const char *endpoint_id(struct fl_arena *a, const struct fl_json *ep)
{
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	const struct fl_json *target = fl_json_get(ep, "targetRef");
	fl_json_each (address, fl_json_get(ep, "addresses"))
		fl_buf_printf(&b, "%s,", fl_json_string(address) ? fl_json_string(address) : "");
	fl_buf_printf(&b, "|%s|%s|%s", fl_json_str_or(ep, "hostname", ""), fl_json_str_or(target, "namespace", ""),
		      fl_json_str_or(target, "name", ""));
	return fl_arena_strndup(a, b.data, b.len);
}

static void put_hint(struct fl_arena *a, struct fl_json *hints, const char *kind, const char *name)
{
	struct fl_json *list = fl_json_set_array(a, hints, kind);
	fl_json_set_str(a, fl_json_append(list, fl_json_new(a, FL_JSON_OBJECT)), "name", name);
}

// Of a ready endpoint: for whom it is meant. An annotation that asks for hints by the zones' processors, which are not
// made here, rules the field out. (k8s: trafficdist)
static void put_hints(struct planner *pl, struct fl_json *ep)
{
	const struct fl_json *service = pl->in->service;
	const char *distribution = fl_json_str_or(fl_json_get(service, "spec"), "trafficDistribution", "");
	const char *zone = fl_json_str(ep, "zone"), *node = fl_json_str(ep, "nodeName");
	bool same_node = !strcmp(distribution, "PreferSameNode");
	if (!same_node && strcmp(distribution, "PreferClose") != 0 && strcmp(distribution, "PreferSameZone") != 0)
		return;
	if (fl_topology_wanted(service))
		return;
	struct fl_json *hints = fl_json_new(pl->a, FL_JSON_OBJECT);
	if (zone)
		put_hint(pl->a, hints, "forZones", zone);
	if (node && same_node)
		put_hint(pl->a, hints, "forNodes", node);
	if (fl_json_count(hints))
		fl_json_set(pl->a, ep, "hints", hints);
}

static struct fl_json *make_endpoint(struct planner *pl, const struct fl_podview *p, const char *ip,
				     const struct fl_json *node)
{
	struct fl_arena *a = pl->a;
	bool all = fl_members_publish_all(pl->in->service);
	const char *hostname = fl_members_hostname(p, pl->in->service);
	const char *zone = fl_meta_label(node, "topology.kubernetes.io/zone");
	struct fl_json *ep = fl_json_new(a, FL_JSON_OBJECT);
	fl_json_append(fl_json_set_array(a, ep, "addresses"), fl_json_new_str(a, ip));
	struct fl_json *c = fl_json_set_object(a, ep, "conditions");
	fl_json_set_bool(a, c, "ready", all || (p->ready && !p->deleting));
	fl_json_set_bool(a, c, "serving", p->ready);
	fl_json_set_bool(a, c, "terminating", p->deleting);
	if (hostname)
		fl_json_set_str(a, ep, "hostname", hostname);
	fl_json_set(a, ep, "targetRef", fl_members_target(a, p));
	if (p->node[0])
		fl_json_set_str(a, ep, "nodeName", p->node);
	if (!fl_str_empty(zone))
		fl_json_set_str(a, ep, "zone", zone);
	if (fl_json_bool(c, "ready", false))
		put_hints(pl, ep);
	return ep;
}

static struct group *group_for(struct planner *pl, struct fl_json *ports)
{
	const char *key = fl_slices_ports_key(pl->a, ports);
	for (size_t i = 0; i < pl->groups.n; i++)
		if (!strcmp(pl->groups.v[i].key, key))
			return &pl->groups.v[i];
	struct group g = {.key = key, .ports = ports};
	fl_vec_push(&pl->groups, g);
	return &pl->groups.v[pl->groups.n - 1];
}

static void collect_desired(struct planner *pl)
{
	for (size_t i = 0; i < pl->in->n_pods; i++) {
		const struct fl_podview *p = &pl->in->pods[i];
		if (!fl_members_eligible(p, true))
			continue;
		const struct fl_json *node = p->node[0] ? pl->in->node(pl->in->arg, p->node) : NULL;
		struct group *g = group_for(pl, ports_of(pl, p));
		if (!node && !fl_members_publish_all(pl->in->service)) {
			*pl->missing_node = true;
			continue;
		}
		const char *ip = fl_members_ip(pl->a, p, pl->family);
		if (!ip)
			continue;
		struct endpoint e = {.tree = make_endpoint(pl, p, ip, node)};
		e.id = endpoint_id(pl->a, e.tree);
		fl_vec_push(&g->endpoints, e);
	}
}

static bool owned(const struct fl_json *slice, const struct fl_json *service)
{
	const char *uid = fl_json_str(fl_json_get(service, "metadata"), "uid");
	fl_json_each (ref, fl_json_path(slice, "metadata", "ownerReferences", NULL))
		if (fl_streq(fl_json_str(ref, "uid"), uid) && fl_streq(fl_json_str(ref, "kind"), "Service") &&
		    fl_streq(fl_json_str(ref, "apiVersion"), "v1"))
			return true;
	return false;
}

static struct fl_json *desired_labels(struct fl_arena *a, const struct fl_json *service)
{
	struct fl_json *labels = fl_members_labels(a, service, reserved_labels);
	if (fl_members_is_headless(service))
		fl_json_set_str(a, labels, FL_LABEL_HEADLESS, "");
	fl_json_set_str(a, labels, FL_LABEL_SERVICE_NAME, fl_json_str(fl_json_get(service, "metadata"), "name"));
	fl_json_set_str(a, labels, FL_LABEL_MANAGED_BY, FL_SLICE_MANAGER);
	return labels;
}

static struct fl_json *to_array(struct fl_arena *a, const struct slice *s)
{
	struct fl_json *array = fl_json_new(a, FL_JSON_ARRAY);
	for (size_t i = 0; i < s->endpoints.n; i++)
		fl_json_append(array, s->endpoints.v[i]);
	return array;
}

static struct fl_json *new_slice(struct planner *pl, struct fl_json *ports, struct fl_json *endpoints)
{
	struct fl_arena *a = pl->a;
	const struct fl_json *meta = fl_json_get(pl->in->service, "metadata");
	struct fl_json *o = fl_json_new(a, FL_JSON_OBJECT);
	fl_json_set_str(a, o, "kind", "EndpointSlice");
	fl_json_set_str(a, o, "apiVersion", "discovery.k8s.io/v1");
	struct fl_json *m = fl_json_set_object(a, o, "metadata");
	fl_json_set_str(a, m, "generateName", fl_arena_printf(a, "%s-", fl_json_str_or(meta, "name", "")));
	fl_json_set_str(a, m, "namespace", fl_json_str_or(meta, "namespace", ""));
	fl_json_set(a, m, "labels", fl_json_clone(a, pl->labels));
	fl_json_append(fl_json_set_array(a, m, "ownerReferences"),
		       fl_meta_owner_ref(a, pl->in->service, "v1", "Service"));
	fl_json_set_str(a, o, "addressType", pl->family);
	fl_json_set(a, o, "endpoints", endpoints);
	fl_json_set(a, o, "ports", ports);
	return o;
}

static void step(struct planner *pl, enum fl_slice_op op, const struct fl_json *old, struct fl_json *slice)
{
	const struct fl_json *meta = fl_json_get(old, "metadata");
	struct fl_slice_step s = {op, fl_json_str(meta, "name"), fl_json_str(meta, "uid"), slice};
	if (slice)
		fl_members_set_trigger(pl->a, fl_json_get(slice, "metadata"), pl->in->trigger_time);
	fl_vec_push(pl->plan, s);
}

// Step 1 for one slice.
static void keep_wanted(struct planner *pl, struct slice *s, struct group *g, struct fl_map *by_id)
{
	size_t n = 0;
	fl_json_each (ep, fl_json_get(s->old, "endpoints")) {
		n++;
		uintptr_t at = (uintptr_t)fl_map_get(by_id, endpoint_id(pl->a, ep));
		struct endpoint *want = at ? &g->endpoints.v[at - 1] : NULL;
		if (!want || want->placed)
			continue;
		want->placed = true;
		if (!fl_json_equal(want->tree, ep))
			s->changed = true;
		fl_vec_push(&s->endpoints, want->tree);
	}
	if (n != s->endpoints.n)
		s->changed = true;
	if (!fl_json_equal(fl_json_path(s->old, "metadata", "labels", NULL), pl->labels))
		s->changed = true;
}

static struct endpoint *next_unplaced(struct group *g, size_t *at)
{
	while (*at < g->endpoints.n && g->endpoints.v[*at].placed)
		(*at)++;
	return *at < g->endpoints.n ? &g->endpoints.v[*at] : NULL;
}

static void fill(struct planner *pl, struct slice *s, struct group *g, size_t *at, size_t *left)
{
	struct endpoint *e;
	while (s->endpoints.n < pl->max && (e = next_unplaced(g, at))) {
		fl_vec_push(&s->endpoints, e->tree);
		e->placed = true;
		s->changed = true;
		(*left)--;
	}
}

static int fuller_first(const void *x, const void *y)
{
	const struct slice *a = *(struct slice *const *)x, *b = *(struct slice *const *)y;
	return a->endpoints.n < b->endpoints.n ? 1 : a->endpoints.n > b->endpoints.n ? -1 : 0;
}

// The unchanged slice that is fullest when `left` endpoints come into it.
static struct slice *best_fit(struct planner *pl, struct slice **slices, size_t n, size_t left)
{
	struct slice *best = NULL;
	for (size_t i = 0; i < n; i++)
		if (!slices[i]->changed && slices[i]->endpoints.n + left <= pl->max &&
		    (!best || slices[i]->endpoints.n > best->endpoints.n))
			best = slices[i];
	return best;
}

static void place_group(struct planner *pl, struct group *g)
{
	FL_VEC(struct slice *) mine = {0};
	struct fl_map by_id = {0};
	size_t left = 0, at = 0;
	for (size_t i = 0; i < g->endpoints.n; i++)
		fl_map_set(&by_id, g->endpoints.v[i].id, (void *)(uintptr_t)(i + 1));
	for (size_t i = 0; i < pl->slices.n; i++) {
		struct slice *s = pl->slices.v[i];
		if (s->taken || strcmp(fl_slices_ports_key(pl->a, fl_json_get(s->old, "ports")), g->key) != 0)
			continue;
		s->taken = true;
		keep_wanted(pl, s, g, &by_id);
		fl_vec_push(&mine, s);
	}
	fl_map_deinit(&by_id);
	for (size_t i = 0; i < g->endpoints.n; i++)
		left += !g->endpoints.v[i].placed;
	if (mine.n)
		qsort(mine.v, mine.n, sizeof(*mine.v), fuller_first);
	for (size_t i = 0; left && i < mine.n; i++)
		if (mine.v[i]->changed && mine.v[i]->endpoints.n)
			fill(pl, mine.v[i], g, &at, &left);
	while (left) {
		struct slice *s = left < pl->max ? best_fit(pl, mine.v, mine.n, left) : NULL;
		if (s) {
			fill(pl, s, g, &at, &left);
			continue;
		}
		struct slice fresh = {0};
		fill(pl, &fresh, g, &at, &left);
		fl_vec_push(&pl->created, new_slice(pl, fl_json_clone(pl->a, g->ports), to_array(pl->a, &fresh)));
		fl_vec_deinit(&fresh.endpoints);
	}
	for (size_t i = 0; i < mine.n; i++) {
		struct slice *s = mine.v[i];
		if (!s->changed)
			continue;
		if (!s->endpoints.n && fl_json_count(fl_json_get(s->old, "endpoints"))) {
			fl_vec_push(&pl->doomed, s->old);
			continue;
		}
		struct fl_json *o = fl_json_clone(pl->a, s->old);
		fl_json_set(pl->a, o, "endpoints", to_array(pl->a, s));
		fl_json_set(pl->a, fl_json_get(o, "metadata"), "labels", fl_json_clone(pl->a, pl->labels));
		step(pl, FL_SLICE_UPDATE, s->old, o);
	}
	fl_vec_deinit(&mine);
}

static bool is_placeholder(struct planner *pl, const struct fl_json *slice)
{
	return owned(slice, pl->in->service) && !fl_json_count(fl_json_get(slice, "endpoints")) &&
	       !fl_json_count(fl_json_get(slice, "ports")) &&
	       fl_json_equal(fl_json_path(slice, "metadata", "labels", NULL), pl->labels);
}

// A Service without endpoints has one slice without any, so that readers can tell "none" from "not known yet".
static void keep_placeholder(struct planner *pl, size_t n_existing)
{
	if (pl->doomed.n != n_existing || pl->created.n)
		return;
	if (pl->doomed.n == 1 && is_placeholder(pl, pl->doomed.v[0])) {
		pl->doomed.n = 0;
		return;
	}
	fl_vec_push(&pl->created, new_slice(pl, fl_json_new(pl->a, FL_JSON_ARRAY), fl_json_new(pl->a, FL_JSON_ARRAY)));
}

static void finish(struct planner *pl)
{
	for (size_t i = 0; i < pl->doomed.n && pl->created.n;) {
		const struct fl_json *old = pl->doomed.v[i];
		if (!owned(old, pl->in->service)) {
			i++;
			continue;
		}
		struct fl_json *o = pl->created.v[--pl->created.n];
		fl_json_set(pl->a, o, "metadata", fl_json_clone(pl->a, fl_json_get(old, "metadata")));
		fl_json_set(pl->a, fl_json_get(o, "metadata"), "labels", fl_json_clone(pl->a, pl->labels));
		step(pl, FL_SLICE_UPDATE, old, o);
		fl_vec_remove(&pl->doomed, i);
	}
	if (!fl_meta_deleting(pl->in->service)) // its slices are being collected: none is made in their place
		for (size_t i = 0; i < pl->created.n; i++)
			step(pl, FL_SLICE_CREATE, NULL, pl->created.v[i]);
	for (size_t i = 0; i < pl->doomed.n; i++)
		step(pl, FL_SLICE_DELETE, pl->doomed.v[i], NULL);
}

static void plan_family(struct planner *pl, const struct fl_json *const *existing, size_t n_existing)
{
	size_t n = 0;
	for (size_t i = 0; i < n_existing; i++) {
		if (!fl_streq(fl_json_str(existing[i], "addressType"), pl->family))
			continue;
		n++;
		if (!owned(existing[i], pl->in->service)) {
			fl_vec_push(&pl->doomed, existing[i]);
			continue;
		}
		struct slice *s = fl_arena_zalloc(pl->a, sizeof(*s));
		s->old = existing[i];
		fl_vec_push(&pl->slices, s);
	}
	collect_desired(pl);
	for (size_t i = 0; i < pl->groups.n; i++)
		place_group(pl, &pl->groups.v[i]);
	for (size_t i = 0; i < pl->slices.n; i++)
		if (!pl->slices.v[i]->taken)
			fl_vec_push(&pl->doomed, pl->slices.v[i]->old);
	keep_placeholder(pl, n);
	finish(pl);
	for (size_t i = 0; i < pl->groups.n; i++)
		fl_vec_deinit(&pl->groups.v[i].endpoints);
	for (size_t i = 0; i < pl->slices.n; i++)
		fl_vec_deinit(&pl->slices.v[i]->endpoints);
	fl_vec_deinit(&pl->groups);
	fl_vec_deinit(&pl->slices);
	fl_vec_deinit(&pl->doomed);
	fl_vec_deinit(&pl->created);
}

static bool wants_family(const struct fl_json *service, const char *family)
{
	const struct fl_json *spec = fl_json_get(service, "spec"), *families = fl_json_get(spec, "ipFamilies");
	fl_json_each (f, families)
		if (fl_streq(fl_json_string(f), family))
			return true;
	if (fl_json_count(families))
		return false;
	// A server that knows no families: the cluster IP tells, and a headless Service may have either.
	return fl_members_is_headless(service) ||
	       (strchr(fl_json_str_or(spec, "clusterIP", ""), ':') != NULL) == !strcmp(family, "IPv6");
}

void fl_slices_plan(struct fl_arena *a, const struct fl_members_in *in, const struct fl_json *const *existing,
		    size_t n_existing, unsigned max_endpoints, fl_slice_plan *ret, bool *ret_missing_node)
{
	static const char *const families[] = {"IPv4", "IPv6"};
	struct fl_json *labels = desired_labels(a, in->service);
	*ret_missing_node = false;
	for (size_t f = 0; f < FL_COUNT(families); f++) {
		struct planner pl = {
		    .a = a,
		    .in = in,
		    .family = families[f],
		    .labels = labels,
		    .max = max_endpoints,
		    .plan = ret,
		    .missing_node = ret_missing_node,
		};
		if (wants_family(in->service, families[f])) {
			plan_family(&pl, existing, n_existing);
			continue;
		}
		for (size_t i = 0; i < n_existing; i++)
			if (fl_streq(fl_json_str(existing[i], "addressType"), families[f]))
				step(&pl, FL_SLICE_DELETE, existing[i], NULL);
	}
}
