// SPDX-License-Identifier: Apache-2.0
// Reading of Pod trees. Pure.
#include "node/podspec.h"

#include <errno.h>
#include <string.h>

#include "api/quantity.h"
#include "base/clock.h"
#include "base/mem.h"

static const char *hostname_of(struct fl_arena *a, const struct fl_pod_spec *p)
{
	const char *want = fl_json_str(p->spec, "hostname");
	size_t n;

	if (fl_str_empty(want))
		want = p->name;
	n = strlen(want) < 63 ? strlen(want) : 63;
	while (n && (want[n - 1] == '-' || want[n - 1] == '.'))
		n--;
	return fl_arena_strndup(a, want, n);
}

static const char *pull_policy_of(const struct fl_json *container, const char *image)
{
	const char *policy = fl_json_str(container, "imagePullPolicy");
	const char *slash = strrchr(image, '/'), *tag = strrchr(image, ':');

	if (!fl_str_empty(policy))
		return policy;
	if (strchr(image, '@'))
		return "IfNotPresent";
	return !tag || (slash && tag < slash) || strcmp(tag, ":latest") == 0 ? "Always" : "IfNotPresent";
}

static int read_containers(const char *key, bool init, struct fl_pod_spec *p, struct fl_err *err)
{
	fl_json_each (c, fl_json_get(p->spec, key)) {
		struct fl_container_spec *s = &p->containers[p->n_containers];

		*s = (struct fl_container_spec){
		    .json = c,
		    .name = fl_json_str(c, "name"),
		    .image = fl_json_str_or(c, "image", ""),
		    .init = init,
		    .sidecar = init && fl_streq(fl_json_str(c, "restartPolicy"), "Always"),
		};
		if (fl_str_empty(s->name) || strchr(s->name, '/') || s->name[0] == '.')
			return fl_err_set(err, -EINVAL, "pod %s/%s: a container has no usable name", p->ns, p->name);
		for (unsigned i = 0; i < p->n_containers; i++) {
			if (strcmp(p->containers[i].name, s->name) == 0)
				return fl_err_set(err, -EINVAL, "pod %s/%s: two containers are named %s", p->ns,
						  p->name, s->name);
		}
		s->pull_policy = pull_policy_of(c, s->image);
		p->n_containers++;
	}
	return 0;
}

int fl_pod_spec_read(struct fl_arena *a, const struct fl_json *root, struct fl_pod_spec *ret, struct fl_err *err)
{
	struct fl_pod_spec p = {
	    .root = root,
	    .meta = fl_json_get(root, "metadata"),
	    .spec = fl_json_get(root, "spec"),
	};
	const char *restart;
	size_t n;
	int rc;

	p.ns = fl_json_str_or(p.meta, "namespace", "default");
	p.name = fl_json_str_or(p.meta, "name", "");
	p.uid = fl_json_str_or(p.meta, "uid", "");
	if (!*p.name || !*p.uid || strchr(p.uid, '/') || p.uid[0] == '.')
		return fl_err_set(err, -EINVAL, "pod %s/%s has no usable name or uid", p.ns, p.name);
	p.node_name = fl_json_str_or(p.spec, "nodeName", "");
	p.hostname = hostname_of(a, &p);
	p.dns_policy = fl_json_str_or(p.spec, "dnsPolicy", "ClusterFirst");
	p.service_account = fl_json_str_or(p.spec, "serviceAccountName", "");
	restart = fl_json_str_or(p.spec, "restartPolicy", "Always");
	p.restart = fl_streq(restart, "Never")       ? FL_RESTART_NEVER
		    : fl_streq(restart, "OnFailure") ? FL_RESTART_ON_FAILURE
						     : FL_RESTART_ALWAYS;
	p.host_network = fl_json_bool(p.spec, "hostNetwork", false);
	p.host_pid = fl_json_bool(p.spec, "hostPID", false);
	p.host_ipc = fl_json_bool(p.spec, "hostIPC", false);
	p.share_pid = !p.host_pid && fl_json_bool(p.spec, "shareProcessNamespace", false);
	p.grace_s = fl_clamp_seconds(fl_json_int(p.spec, "terminationGracePeriodSeconds", 30));
	p.deadline_s = fl_json_int(p.spec, "activeDeadlineSeconds", -1);
	p.deleted = fl_json_str(p.meta, "deletionTimestamp") != NULL;
	p.deletion_grace_s = fl_clamp_seconds(fl_json_int(p.meta, "deletionGracePeriodSeconds", p.grace_s));
	n = fl_json_count(fl_json_get(p.spec, "initContainers")) + fl_json_count(fl_json_get(p.spec, "containers"));
	p.containers = fl_arena_alloc(a, (n + 1) * sizeof(*p.containers));
	rc = read_containers("initContainers", true, &p, err);
	if (rc < 0)
		return rc;
	p.n_init = p.n_containers;
	rc = read_containers("containers", false, &p, err);
	if (rc < 0)
		return rc;
	if (p.n_containers == p.n_init)
		return fl_err_set(err, -EINVAL, "pod %s/%s has no container", p.ns, p.name);
	*ret = p;
	return 0;
}

static int64_t in_units(const struct fl_json *v, __int128 unit)
{
	struct fl_quantity q;
	__int128 n;

	if (fl_json_is(v, FL_JSON_INT))
		q = (struct fl_quantity){.nano = (__int128)v->i * 1000000000};
	else if (!fl_json_string(v) || !fl_quantity_parse(fl_json_string(v), &q))
		return -1;
	n = (q.nano + unit - 1) / unit;
	return n > INT64_MAX ? INT64_MAX : (int64_t)n;
}

static int64_t quantity(const struct fl_json *map, const char *name)
{
	return in_units(fl_json_get(map, name), strcmp(name, "cpu") == 0 ? 1000000 : 1000000000);
}

int64_t fl_quantity_bytes(const struct fl_json *v)
{
	return in_units(v, 1000000000);
}

int64_t fl_container_resource(const struct fl_json *container, const char *which, const char *name)
{
	const struct fl_json *resources = fl_json_get(container, "resources");
	int64_t v = quantity(fl_json_get(resources, which), name);

	if (v < 0 && strcmp(which, "requests") == 0)
		v = quantity(fl_json_get(resources, "limits"), name);
	return v;
}

const char *fl_node_pod_qos(const struct fl_pod_spec *p)
{
	static const char *const names[] = {"cpu", "memory"};
	bool any = false, guaranteed = true;

	for (unsigned i = 0; i < p->n_containers; i++) {
		for (size_t k = 0; k < FL_COUNT(names); k++) {
			const struct fl_json *c = p->containers[i].json;
			int64_t limit = fl_container_resource(c, "limits", names[k]);
			int64_t request = fl_container_resource(c, "requests", names[k]);

			any = any || limit > 0 || request > 0;
			guaranteed = guaranteed && limit > 0 && request == limit;
		}
	}
	return !any ? "BestEffort" : guaranteed ? "Guaranteed" : "Burstable";
}

uint16_t fl_container_port(const struct fl_json *container, const struct fl_json *port)
{
	const char *name = fl_json_string(port);
	unsigned long long number;

	if (fl_json_is(port, FL_JSON_INT))
		return port->i > 0 && port->i < 65536 ? (uint16_t)port->i : 0;
	if (!name)
		return 0;
	fl_json_each (p, fl_json_get(container, "ports")) {
		int64_t n = fl_json_int(p, "containerPort", 0);

		if (fl_streq(fl_json_str(p, "name"), name))
			return n > 0 && n < 65536 ? (uint16_t)n : 0;
	}
	return fl_parse_u64(name, &number) && number > 0 && number < 65536 ? (uint16_t)number : 0;
}

const char *fl_sysctl_name(struct fl_arena *a, const char *name)
{
	char *copy = fl_arena_strdup(a, name);

	if (copy[strcspn(copy, "./")] != '/')
		return copy;
	for (char *c = copy; *c; c++) // the first separator says which of the two separates
		*c = *c == '/' ? '.' : *c == '.' ? '/' : *c;
	return copy;
}

const char *fl_pod_forbidden_sysctl(struct fl_arena *a, const struct fl_pod_spec *p)
{
	static const char *const safe[] = {"kernel.shm_rmid_forced",
					   "net.ipv4.ip_local_port_range",
					   "net.ipv4.tcp_syncookies",
					   "net.ipv4.ping_group_range",
					   "net.ipv4.ip_unprivileged_port_start",
					   "net.ipv4.ip_local_reserved_ports",
					   "net.ipv4.tcp_keepalive_time",
					   "net.ipv4.tcp_fin_timeout",
					   "net.ipv4.tcp_keepalive_intvl",
					   "net.ipv4.tcp_keepalive_probes",
					   "net.ipv4.tcp_rmem",
					   "net.ipv4.tcp_wmem"};

	fl_json_each (s, fl_json_path(p->spec, "securityContext", "sysctls", NULL)) {
		const char *name = fl_sysctl_name(a, fl_json_str_or(s, "name", ""));
		bool known = false;

		for (size_t i = 0; i < FL_COUNT(safe); i++)
			known = known || strcmp(safe[i], name) == 0;
		if (!known)
			return fl_arena_printf(a, "forbidden sysctl: \"%s\" not allowlisted", name);
		if (p->host_network && fl_starts_with(name, "net."))
			return fl_arena_printf(a, "forbidden sysctl: \"%s\" not allowed with host net enabled", name);
		if (p->host_ipc && !fl_starts_with(name, "net."))
			return fl_arena_printf(a, "forbidden sysctl: \"%s\" not allowed with host ipc enabled", name);
	}
	return NULL;
}
