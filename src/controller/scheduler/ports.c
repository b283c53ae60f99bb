// SPDX-License-Identifier: Apache-2.0
#include "controller/scheduler/ports.h"

#include <string.h>

#include "api/hostport.h"
#include "base/mem.h"

struct holder {
	char *node;
	size_t n;
	struct fl_host_port ports[];
};

static void holder_free(struct holder *h)
{
	if (h)
		free(h->node);
	free(h);
}

void fl_ports_deinit(struct fl_ports *p)
{
	for (struct fl_map_iter it = {0}; fl_map_next(&p->by_uid, &it);)
		holder_free(it.value);
	fl_map_deinit(&p->by_uid);
}

void fl_ports_hold(struct fl_ports *p, const char *uid, const char *node, const struct fl_json *pod)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	struct fl_host_port *ports;
	size_t n = fl_host_ports(&a, pod, &ports);
	if (!n)
		return;
	struct holder *h = fl_calloc(1, sizeof(*h) + n * sizeof(*ports));
	h->node = fl_strdup(node);
	h->n = n;
	memcpy(h->ports, ports, n * sizeof(*ports));
	holder_free(fl_map_set(&p->by_uid, uid, h));
}

bool fl_ports_release(struct fl_ports *p, const char *uid)
{
	struct holder *h = fl_map_del(&p->by_uid, uid);
	bool had = h != NULL;
	holder_free(h);
	return had;
}

bool fl_ports_free_on(const struct fl_ports *p, const char *node, const struct fl_json *pod)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	struct fl_host_port *ports;
	size_t n = fl_host_ports(&a, pod, &ports);
	if (!n)
		return true;
	for (struct fl_map_iter it = {0}; fl_map_next(&p->by_uid, &it);) {
		const struct holder *h = it.value;
		if (strcmp(h->node, node) != 0)
			continue;
		for (size_t i = 0; i < n; i++)
			for (size_t k = 0; k < h->n; k++)
				if (fl_host_port_clash(&ports[i], &h->ports[k]))
					return false;
	}
	return true;
}
