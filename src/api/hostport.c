// SPDX-License-Identifier: Apache-2.0
#include "api/hostport.h"

#include <netinet/in.h>
#include <string.h>

static uint8_t protocol_of(const char *s)
{
	return fl_streq(s, "UDP") ? IPPROTO_UDP : fl_streq(s, "SCTP") ? IPPROTO_SCTP : IPPROTO_TCP;
}

static bool read_port(const struct fl_json *p, struct fl_host_port *ret)
{
	int64_t port = fl_json_int(p, "hostPort", 0);
	const char *ip = fl_json_str_or(p, "hostIP", "");

	if (port < 1 || port > 65535)
		return false;
	*ret = (struct fl_host_port){
	    .protocol = protocol_of(fl_json_str(p, "protocol")),
	    .port = (uint16_t)port,
	    .container_port = (uint16_t)fl_json_int(p, "containerPort", 0),
	};
	if (*ip && strcmp(ip, "0.0.0.0") != 0 && strcmp(ip, "::") != 0 && !fl_ip_parse(ip, &ret->ip))
		return false;
	return true;
}

size_t fl_host_ports(struct fl_arena *a, const struct fl_json *pod, struct fl_host_port **ret)
{
	static const char *const lists[] = {"initContainers", "containers"};
	const struct fl_json *spec = fl_json_get(pod, "spec");
	size_t room = 0, n = 0;

	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
		fl_json_each (c, fl_json_get(spec, lists[i]))
			room += fl_json_count(fl_json_get(c, "ports"));
	*ret = NULL;
	if (!room)
		return 0;
	struct fl_host_port *ports = fl_arena_alloc(a, room * sizeof(*ports));
	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
		fl_json_each (c, fl_json_get(spec, lists[i])) {
			if (i == 0 && !fl_streq(fl_json_str(c, "restartPolicy"), "Always"))
				continue;
			fl_json_each (p, fl_json_get(c, "ports"))
				n += read_port(p, &ports[n]);
		}
	}
	*ret = n ? ports : NULL;
	return n;
}

bool fl_host_port_clash(const struct fl_host_port *x, const struct fl_host_port *y)
{
	return x->port == y->port && x->protocol == y->protocol &&
	       (!x->ip.family || !y->ip.family || fl_ip_equal(&x->ip, &y->ip));
}

const char *fl_host_port_text(struct fl_arena *a, const struct fl_host_port *p)
{
	const char *protocol = p->protocol == IPPROTO_UDP ? "UDP" : p->protocol == IPPROTO_SCTP ? "SCTP" : "TCP";
	char ip[FL_IP_STRLEN];

	if (!p->ip.family)
		return fl_arena_printf(a, "%u/%s", p->port, protocol);
	return fl_arena_printf(a, p->ip.family == AF_INET6 ? "[%s]:%u/%s" : "%s:%u/%s", fl_ip_format(&p->ip, ip),
			       p->port, protocol);
}
