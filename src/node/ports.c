// SPDX-License-Identifier: Apache-2.0
// Which pod has which port of the host. A pod takes its ports before its network is made and has them until that is
// gone; the kernel's table (hostports.h) is written from what the pods have.
#include <errno.h>
#include <string.h>

#include "base/mem.h"
#include "node/hostports.h"
#include "node/pod.h"

void fl_pod_read_ports(struct pod *p, const struct fl_json *root)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	struct fl_host_port *ports;

	p->n_host_ports = (unsigned)fl_host_ports(&a, root, &ports);
	if (!p->n_host_ports)
		return;
	p->host_ports = fl_calloc(p->n_host_ports, sizeof(*ports));
	memcpy(p->host_ports, ports, p->n_host_ports * sizeof(*ports));
}

// A port of `p` that `other` has; NULL: none.
static const struct fl_host_port *clash(const struct pod *p, const struct pod *other)
{
	for (unsigned i = 0; i < p->n_host_ports; i++) {
		for (unsigned k = 0; k < other->n_host_ports; k++) {
			if (fl_host_port_clash(&p->host_ports[i], &other->host_ports[k]))
				return &p->host_ports[i];
		}
	}
	return NULL;
}

int fl_pod_take_ports(struct pod *p, struct fl_err *err)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};

	if (p->holds_ports || !p->n_host_ports)
		return 0;
	for (struct fl_map_iter it = {0}; fl_map_next(&p->pods->table, &it);) {
		const struct pod *other = it.value;
		const struct fl_host_port *port = other != p && other->holds_ports ? clash(p, other) : NULL;

		if (port && (other->doomed || other->ended))
			return fl_err_set(err, -EBUSY,
					  "cannot open hostport %s: pod %s/%s, which is being stopped, has it",
					  fl_host_port_text(&a, port), other->ns, other->name);
		if (port) // kubelet's words, and which one
			return fl_err_set(err, -EEXIST,
					  "Predicate NodePorts failed: node(s) didn't have free ports for the "
					  "requested pod ports: %s is used by pod %s/%s",
					  fl_host_port_text(&a, port), other->ns, other->name);
	}
	for (unsigned i = 0; i < p->n_host_ports && !p->host_network; i++) {
		if (fl_hostports_check_free(&p->host_ports[i], err) < 0)
			return -EBUSY;
	}
	p->holds_ports = true;
	return 0;
}

void fl_pod_release_ports(struct pod *p)
{
	p->holds_ports = false;
}

typedef FL_VEC(struct fl_hostport_rule) rule_vec;

static void collect(const struct fl_pods *pods, rule_vec *rules)
{
	for (struct fl_map_iter it = {0}; fl_map_next(&pods->table, &it);) {
		const struct pod *p = it.value;

		if (!p->holds_ports || p->host_network || (p->stage != POD_RUNNING && p->stage != POD_STOPPING))
			continue;
		for (unsigned i = 0; i < p->n_host_ports; i++) {
			for (unsigned k = 0; k < p->n_ips; k++)
				fl_vec_push(rules, ((struct fl_hostport_rule){p->host_ports[i], p->ips[k]}));
		}
	}
}

int fl_pods_open_ports(struct fl_pods *pods, struct fl_err *err)
{
	rule_vec rules = {0};

	collect(pods, &rules);
	int rc = fl_hostports_apply(rules.v, rules.n, err);
	fl_vec_deinit(&rules);
	return rc;
}

int fl_pods_keep_ports(struct fl_pods *pods, struct fl_err *err)
{
	rule_vec rules = {0};

	collect(pods, &rules);
	int rc = rules.n ? fl_hostports_keep(rules.v, rules.n, err) : 0;
	fl_vec_deinit(&rules);
	return rc;
}
