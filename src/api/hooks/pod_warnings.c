// SPDX-License-Identifier: Apache-2.0
// Paths are those of the pod, after the `at` of a template ("spec.template.").
#include "api/hooks/warnings.h"

#include "api/quantity.h"
#include "api/validate.h"
#include "base/mem.h"

// Longer lists than people write are not compared, item by item: their senders would make the server do it.
#define MAX_COMPARED 1000
#define MAX_PORTS    128

struct walk {
	struct fl_arena *a;
	struct fl_json *texts;
	const char *at; // "" or "spec.template."
};

static const struct {
	const char *label, *says;
} old_labels[] = {
    {"beta.kubernetes.io/arch", "deprecated since v1.14; use \"kubernetes.io/arch\" instead"},
    {"beta.kubernetes.io/os", "deprecated since v1.14; use \"kubernetes.io/os\" instead"},
    {"failure-domain.beta.kubernetes.io/region",
     "deprecated since v1.17; use \"topology.kubernetes.io/region\" instead"},
    {"failure-domain.beta.kubernetes.io/zone", "deprecated since v1.17; use \"topology.kubernetes.io/zone\" instead"},
    {"beta.kubernetes.io/instance-type", "deprecated since v1.17; use \"node.kubernetes.io/instance-type\" instead"},
};

static const char *deprecation(const char *label)
{
	for (unsigned i = 0; i < FL_COUNT(old_labels); i++)
		if (fl_streq(label, old_labels[i].label))
			return old_labels[i].says;
	return NULL;
}

static void warn_selector(const struct walk *w, const struct fl_json *selector)
{
	fl_json_each (l, selector)
		if (deprecation(l->key))
			fl_warn(w->a, w->texts, "%sspec.nodeSelector[%s]: %s", w->at, l->key, deprecation(l->key));
}

static void warn_term(const struct walk *w, const char *field, const struct fl_json *term)
{
	unsigned i = 0;
	fl_json_each (e, fl_json_get(term, "matchExpressions")) {
		const char *key = fl_json_str(e, "key"), *says = deprecation(key);
		if (says)
			fl_warn(w->a, w->texts, "%s%s.matchExpressions[%u].key: %s is %s", w->at, field, i, key, says);
		i++;
	}
}

static void warn_node_affinity(const struct walk *w, const struct fl_json *affinity)
{
	static const char required[] = "requiredDuringSchedulingIgnoredDuringExecution";
	static const char preferred[] = "preferredDuringSchedulingIgnoredDuringExecution";
	unsigned i = 0;
	fl_json_each (t, fl_json_path(affinity, required, "nodeSelectorTerms", NULL))
		warn_term(
		    w, fl_arena_printf(w->a, "spec.affinity.nodeAffinity.%s.nodeSelectorTerms[%u]", required, i++), t);
	i = 0;
	fl_json_each (t, fl_json_get(affinity, preferred))
		warn_term(w, fl_arena_printf(w->a, "spec.affinity.nodeAffinity.%s[%u].preference", preferred, i++),
			  fl_json_get(t, "preference"));
}

static void warn_pod_affinity(const struct walk *w, const char *which, const struct fl_json *affinity)
{
	static const struct {
		const char *list, *term;
	} lists[] = {
	    {"requiredDuringSchedulingIgnoredDuringExecution", NULL},
	    {"preferredDuringSchedulingIgnoredDuringExecution", "podAffinityTerm"},
	};
	for (unsigned n = 0; n < FL_COUNT(lists); n++) {
		unsigned i = 0;
		fl_json_each (t, fl_json_get(affinity, lists[n].list)) {
			const char *term = lists[n].term;
			if (!fl_json_get(term ? fl_json_get(t, term) : t, "labelSelector"))
				fl_warn(w->a, w->texts,
					"%sspec.affinity.%s.%s[%u].%s%slabelSelector: a null labelSelector results in "
					"matching no pod",
					w->at, which, lists[n].list, i, term ? term : "", term ? "." : "");
			i++;
		}
	}
}

static void warn_spread(const struct walk *w, const struct fl_json *constraints)
{
	unsigned i = 0;
	fl_json_each (t, constraints) {
		const char *key = fl_json_str(t, "topologyKey"), *says = deprecation(key);
		if (says)
			fl_warn(w->a, w->texts, "%sspec.topologySpreadConstraints[%u].topologyKey: %s is %s", w->at, i,
				key, says);
		if (!fl_json_get(t, "labelSelector"))
			fl_warn(w->a, w->texts,
				"%sspec.topologySpreadConstraints[%u].labelSelector: a null labelSelector results in "
				"matching no pod",
				w->at, i);
		i++;
	}
}

// The second and further of equal values in a list of objects.
static void warn_duplicates(const struct walk *w, const struct fl_json *spec, const char *list, const char *key)
{
	unsigned i = 0;
	if (fl_json_count(fl_json_get(spec, list)) > MAX_COMPARED)
		return;
	fl_json_each (x, fl_json_get(spec, list)) {
		const char *v = fl_json_str_or(x, key, "");
		fl_json_each (y, fl_json_get(spec, list)) {
			if (y == x)
				break;
			if (!strcmp(v, fl_json_str_or(y, key, ""))) {
				fl_warn(w->a, w->texts, "%sspec.%s[%u].%s: duplicate %s \"%s\"", w->at, list, i, key,
					key, v);
				break;
			}
		}
		i++;
	}
}

static const struct fl_json *named(const struct fl_json *list, const struct fl_json *before, const char *name)
{
	fl_json_each (x, list) {
		if (x == before)
			break;
		if (!strcmp(fl_json_str_or(x, "name", ""), name))
			return x;
	}
	return NULL;
}

// A variable that takes an earlier one's place; X=abc, X=$(X)d makes use of it.
static void warn_env(const struct walk *w, const char *field, const struct fl_json *env)
{
	unsigned i = 0;
	if (fl_json_count(env) > MAX_COMPARED)
		return;
	fl_json_each (x, env) {
		const char *name = fl_json_str_or(x, "name", ""), *value = fl_json_str_or(x, "value", "");
		const char *ref = fl_arena_printf(w->a, "$(%s)", name);
		if (named(env, x, name) && (fl_json_get(x, "valueFrom") || !strcmp(value, ref) || !strstr(value, ref)))
			fl_warn(w->a, w->texts,
				"%s%s.env[%u]: hides previous definition of \"%s\", which may be dropped when using "
				"apply",
				w->at, field, i, name);
		i++;
	}
}

static void warn_resources(const struct walk *w, const char *field, const struct fl_json *resources)
{
	static const char *const lists[] = {"limits", "requests"}, *const names[] = {"memory", "ephemeral-storage"};
	for (unsigned n = 0; n < FL_COUNT(names); n++)
		for (unsigned l = 0; l < FL_COUNT(lists); l++) {
			struct fl_quantity q;
			const char *v = fl_json_str(fl_json_get(resources, lists[l]), names[n]);
			if (v && fl_quantity_parse(v, &q) && (q.nano + 999999) / 1000000 % 1000)
				fl_warn(w->a, w->texts,
					"%s%s.resources.%s[%s]: fractional byte value \"%s\" is invalid, must be an "
					"integer",
					w->at, field, lists[l], names[n], v);
		}
}

struct port {
	const char *field, *host_ip, *protocol;
	int64_t port, host_port;
};

static const char *clash(const struct port *x, const struct port *y)
{
	if (x->port != y->port || strcmp(x->protocol, y->protocol) != 0)
		return NULL;
	if (x->host_port == y->host_port && !strcmp(x->host_ip, y->host_ip))
		return "duplicate";
	if (!x->host_port || !y->host_port)
		return "overlapping";
	return x->host_port == y->host_port && !*x->host_ip != !*y->host_ip ? "dangerously ambiguous" : NULL;
}

// Ports of all containers of the pod against each other, the first MAX_PORTS of them.
static void warn_ports(const struct walk *w, const char *field, const struct fl_json *container, struct port *ports,
		       unsigned *n)
{
	unsigned i = 0;
	fl_json_each (p, fl_json_get(container, "ports")) {
		struct port x = {.field = fl_arena_printf(w->a, "%s%s.ports[%u]", w->at, field, i++),
				 .host_ip = fl_json_str_or(p, "hostIP", ""),
				 .protocol = fl_json_str_or(p, "protocol", "TCP"),
				 .port = fl_json_int(p, "containerPort", 0),
				 .host_port = fl_json_int(p, "hostPort", 0)};
		for (unsigned k = 0; k < *n; k++)
			if (clash(&x, &ports[k]))
				fl_warn(w->a, w->texts, "%s: %s port definition with %s", x.field, clash(&x, &ports[k]),
					ports[k].field);
		if (*n < MAX_PORTS)
			ports[(*n)++] = x;
	}
}

// Not Kubernetes' warning: there the terminal waits for a client, here nothing can be attached.
static void warn_terminal(const struct walk *w, const char *field, const struct fl_json *container)
{
	const char *asked = fl_json_bool(container, "stdin", false) ? "stdin"
			    : fl_json_bool(container, "tty", false) ? "tty"
								    : NULL;
	if (asked)
		fl_warn(w->a, w->texts,
			"%s%s.%s: nothing can be attached to a container here; it has no terminal and its input ends "
			"at once",
			w->at, field, asked);
}

static void warn_containers(const struct walk *w, const struct fl_json *spec)
{
	static const char *const lists[] = {"initContainers", "containers"};
	struct port *ports = fl_arena_alloc(w->a, MAX_PORTS * sizeof(*ports));
	unsigned n_ports = 0;
	for (unsigned l = 0; l < FL_COUNT(lists); l++) {
		unsigned i = 0;
		fl_json_each (c, fl_json_get(spec, lists[l])) {
			const char *field = fl_arena_printf(w->a, "spec.%s[%u]", lists[l], i++);
			warn_terminal(w, field, c);
			warn_resources(w, field, fl_json_get(c, "resources"));
			warn_env(w, field, fl_json_get(c, "env"));
			warn_ports(w, field, c, ports, &n_ports);
		}
	}
}

static void warn_spec(const struct walk *w, const struct fl_json *spec)
{
	const struct fl_json *affinity = fl_json_get(spec, "affinity");
	unsigned i = 0;

	warn_selector(w, fl_json_get(spec, "nodeSelector"));
	warn_node_affinity(w, fl_json_get(affinity, "nodeAffinity"));
	warn_spread(w, fl_json_get(spec, "topologySpreadConstraints"));
	warn_duplicates(w, spec, "hostAliases", "ip");
	warn_duplicates(w, spec, "imagePullSecrets", "name");
	fl_json_each (s, fl_json_get(spec, "imagePullSecrets")) {
		if (fl_str_empty(fl_json_str(s, "name")))
			fl_warn(w->a, w->texts, "%sspec.imagePullSecrets[%u].name: invalid empty name \"\"", w->at, i);
		i++;
	}
	warn_containers(w, spec);
	warn_pod_affinity(w, "podAffinity", fl_json_get(affinity, "podAffinity"));
	warn_pod_affinity(w, "podAntiAffinity", fl_json_get(affinity, "podAntiAffinity"));
}

static void warn_name(const struct walk *w, const char *name, const char *used_in)
{
	const char *why = fl_check_dns1123_label(w->a, name);
	if (!why)
		return;
	fl_warn(w->a, w->texts,
		"metadata.name: this is used in %s, which can result in surprising behavior; a DNS label is "
		"recommended: [%s]",
		used_in, why);
}

void fl_pod_warn(struct fl_arena *a, const struct fl_json *obj, const struct fl_json *old, struct fl_json *texts)
{
	const struct walk w = {a, texts, ""};
	if (old)
		return;
	warn_name(&w, fl_json_str_or(fl_json_get(obj, "metadata"), "name", ""), "the Pod's hostname");
	warn_spec(&w, fl_json_get(obj, "spec"));
}

void fl_workload_warn(struct fl_arena *a, const struct fl_json *obj, const struct fl_json *old, struct fl_json *texts)
{
	const struct walk w = {a, texts, "spec.template."};
	const struct fl_json *meta = fl_json_get(obj, "metadata"), *was = fl_json_get(old, "metadata");
	if (!old)
		warn_name(&w, fl_json_str_or(meta, "name", ""), "Pod names and hostnames");
	if (!old || fl_json_int(meta, "generation", 0) != fl_json_int(was, "generation", 0))
		warn_spec(&w, fl_json_path(obj, "spec", "template", "spec", NULL));
}
