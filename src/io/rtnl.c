// SPDX-License-Identifier: Apache-2.0
// Links, addresses and routes by rtnetlink: the few requests that pods and the data plane need.
//
// Lists are read whole before the first callback, and again when the table changed meanwhile: callbacks may
// therefore change what they list.
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "base/vec.h"
#include "io/netlink.h"

#define REQUEST_BYTES 1024
#define LIST_RETRIES  10

#ifndef RTNH_F_ONLINK
#define RTNH_F_ONLINK 4
#endif

union request {
	struct nlmsghdr h;
	char bytes[REQUEST_BYTES];
};

static struct nlmsghdr *begin(union request *r, uint16_t type, uint16_t flags)
{
	struct nlmsghdr *h = mnl_nlmsg_put_header(r);

	h->nlmsg_type = type;
	h->nlmsg_flags = NLM_F_REQUEST | flags;
	return h;
}

static void put_ip(struct nlmsghdr *h, uint16_t type, const struct fl_ip *ip)
{
	size_t n;
	const uint8_t *raw = fl_ip_raw(ip, &n);

	mnl_attr_put(h, type, n, raw);
}

static bool get_ip(const struct nlattr *attr, struct fl_ip *ret)
{
	uint16_t n = mnl_attr_get_payload_len(attr);
	uint32_t a4;

	if (n == 4) {
		memcpy(&a4, mnl_attr_get_payload(attr), 4);
		*ret = fl_ip_from4(a4);
		return true;
	}
	if (n != 16)
		return false;
	memcpy(ret->b, mnl_attr_get_payload(attr), 16);
	ret->family = AF_INET6;
	return true;
}

// ---- links

static int store_index(const struct nlmsghdr *msg, void *arg)
{
	const struct ifinfomsg *i = mnl_nlmsg_get_payload(msg);

	*(int *)arg = i->ifi_index;
	return 0;
}

static int check_name(const char *name, struct fl_err *err)
{
	size_t n = strlen(name);

	if (n == 0 || n >= IFNAMSIZ)
		return fl_err_set(err, -EINVAL, "link name %s: 1 to %d characters", name, IFNAMSIZ - 1);
	return 0;
}

int fl_link_index(struct fl_netlink *nl, const char *name, int *ret, struct fl_err *err)
{
	union request r;
	int index = 0;
	int rc = check_name(name, err);
	if (rc < 0)
		return rc;

	struct nlmsghdr *h = begin(&r, RTM_GETLINK, 0);
	mnl_nlmsg_put_extra_header(h, sizeof(struct ifinfomsg));
	mnl_attr_put_strz(h, IFLA_IFNAME, name);
	rc = fl_netlink_talk(nl, h, store_index, &index, err);
	if (rc < 0) {
		(void)fl_err_prefix(err, "find link %s", name);
		return rc;
	}
	*ret = index;
	return 0;
}

int fl_link_add_veth(struct fl_netlink *nl, const char *name, const char *peer_name, int peer_netns_fd, unsigned mtu,
		     struct fl_err *err)
{
	union request r;
	int rc = check_name(name, err);
	if (rc == 0)
		rc = check_name(peer_name, err);
	if (rc < 0)
		return rc;

	struct nlmsghdr *h = begin(&r, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL);
	mnl_nlmsg_put_extra_header(h, sizeof(struct ifinfomsg));
	mnl_attr_put_strz(h, IFLA_IFNAME, name);
	if (mtu)
		mnl_attr_put_u32(h, IFLA_MTU, mtu);

	struct nlattr *info = mnl_attr_nest_start(h, IFLA_LINKINFO);
	mnl_attr_put_strz(h, IFLA_INFO_KIND, "veth");
	struct nlattr *data = mnl_attr_nest_start(h, IFLA_INFO_DATA);
	struct nlattr *peer = mnl_attr_nest_start(h, VETH_INFO_PEER);
	mnl_nlmsg_put_extra_header(h, sizeof(struct ifinfomsg));
	mnl_attr_put_strz(h, IFLA_IFNAME, peer_name);
	if (mtu)
		mnl_attr_put_u32(h, IFLA_MTU, mtu);
	if (peer_netns_fd >= 0)
		mnl_attr_put_u32(h, IFLA_NET_NS_FD, (uint32_t)peer_netns_fd);
	mnl_attr_nest_end(h, peer);
	mnl_attr_nest_end(h, data);
	mnl_attr_nest_end(h, info);

	rc = fl_netlink_talk(nl, h, NULL, NULL, err);
	if (rc < 0)
		(void)fl_err_prefix(err, "add veth pair %s, %s", name, peer_name);
	return rc;
}

int fl_link_del(struct fl_netlink *nl, const char *name, struct fl_err *err)
{
	union request r;
	int rc = check_name(name, err);
	if (rc < 0)
		return rc;

	struct nlmsghdr *h = begin(&r, RTM_DELLINK, 0);
	mnl_nlmsg_put_extra_header(h, sizeof(struct ifinfomsg));
	mnl_attr_put_strz(h, IFLA_IFNAME, name);
	rc = fl_netlink_talk(nl, h, NULL, NULL, err);
	if (rc < 0)
		(void)fl_err_prefix(err, "delete link %s", name);
	return rc;
}

int fl_link_set_up(struct fl_netlink *nl, int ifindex, bool up, struct fl_err *err)
{
	union request r;
	struct nlmsghdr *h = begin(&r, RTM_NEWLINK, 0);
	struct ifinfomsg *i = mnl_nlmsg_put_extra_header(h, sizeof(*i));

	i->ifi_index = ifindex;
	i->ifi_change = IFF_UP;
	i->ifi_flags = up ? IFF_UP : 0;
	int rc = fl_netlink_talk(nl, h, NULL, NULL, err);
	if (rc < 0)
		(void)fl_err_prefix(err, "set link %d %s", ifindex, up ? "up" : "down");
	return rc;
}

// ---- addresses

static int change_addr(struct fl_netlink *nl, uint16_t type, uint16_t flags, int ifindex, const struct fl_ip *ip,
		       uint8_t bits, struct fl_err *err)
{
	union request r;
	struct nlmsghdr *h = begin(&r, type, flags);
	struct ifaddrmsg *m = mnl_nlmsg_put_extra_header(h, sizeof(*m));

	m->ifa_family = ip->family;
	m->ifa_prefixlen = bits;
	m->ifa_index = (uint32_t)ifindex;
	put_ip(h, IFA_LOCAL, ip);
	put_ip(h, IFA_ADDRESS, ip);
	// Duplicate address detection would leave the address unusable for a second, and ours are assigned by one hand.
	if (ip->family == AF_INET6 && type == RTM_NEWADDR)
		mnl_attr_put_u32(h, IFA_FLAGS, IFA_F_NODAD);

	int rc = fl_netlink_talk(nl, h, NULL, NULL, err);
	if (rc < 0) {
		char text[FL_IP_STRLEN];

		(void)fl_err_prefix(err, "%s address %s/%u at link %d", type == RTM_NEWADDR ? "set" : "delete",
				    fl_ip_format(ip, text), bits, ifindex);
	}
	return rc;
}

int fl_addr_replace(struct fl_netlink *nl, int ifindex, const struct fl_ip *ip, uint8_t bits, struct fl_err *err)
{
	return change_addr(nl, RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, ifindex, ip, bits, err);
}

int fl_addr_add(struct fl_netlink *nl, int ifindex, const struct fl_ip *ip, uint8_t bits, struct fl_err *err)
{
	return change_addr(nl, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, ifindex, ip, bits, err);
}

int fl_addr_del(struct fl_netlink *nl, int ifindex, const struct fl_ip *ip, uint8_t bits, struct fl_err *err)
{
	return change_addr(nl, RTM_DELADDR, 0, ifindex, ip, bits, err);
}

struct addr_list {
	FL_VEC(struct fl_addr_info) items;
};

static int store_addr(const struct nlmsghdr *msg, void *arg)
{
	struct addr_list *list = arg;
	const struct ifaddrmsg *m = mnl_nlmsg_get_payload(msg);
	struct fl_addr_info a = {.ifindex = (int)m->ifa_index, .bits = m->ifa_prefixlen, .scope = m->ifa_scope};
	uint32_t flags = m->ifa_flags;
	bool local = false;

	struct nlattr *attr;
	mnl_attr_for_each (attr, msg, sizeof(*m)) {
		switch (mnl_attr_get_type(attr)) {
		case IFA_LOCAL: // differs from IFA_ADDRESS on point-to-point links, where that is the peer's
			local = get_ip(attr, &a.ip);
			break;
		case IFA_ADDRESS:
			if (!local)
				(void)get_ip(attr, &a.ip);
			break;
		case IFA_FLAGS:
			flags = mnl_attr_get_u32(attr);
			break;
		default:
			break;
		}
	}
	a.secondary = flags & IFA_F_SECONDARY;
	a.deprecated = flags & IFA_F_DEPRECATED;
	a.tentative = flags & IFA_F_TENTATIVE;
	if (a.ip.family)
		fl_vec_push(&list->items, a);
	return 0;
}

int fl_addr_list(struct fl_netlink *nl, void (*cb)(const struct fl_addr_info *a, void *arg), void *arg,
		 struct fl_err *err)
{
	struct addr_list list = {0};
	int rc = -EINTR;

	for (int i = 0; rc == -EINTR && i < LIST_RETRIES; i++) {
		union request r;
		struct nlmsghdr *h = begin(&r, RTM_GETADDR, NLM_F_DUMP);

		mnl_nlmsg_put_extra_header(h, sizeof(struct ifaddrmsg));
		list.items.n = 0;
		rc = fl_netlink_talk(nl, h, store_addr, &list, err);
	}
	if (rc < 0)
		(void)fl_err_prefix(err, "list addresses");
	for (size_t i = 0; rc == 0 && i < list.items.n; i++) {
		struct fl_addr_info *a = &list.items.v[i];

		if (!if_indextoname((unsigned)a->ifindex, a->ifname))
			a->ifname[0] = '\0'; // the link went away in between
		cb(a, arg);
	}
	fl_vec_deinit(&list.items);
	return rc;
}

// ---- routes

static uint8_t route_family(const struct fl_route *r)
{
	if (r->dst.ip.family)
		return r->dst.ip.family;
	if (r->gateway.family)
		return r->gateway.family;
	return r->prefsrc.family ? r->prefsrc.family : AF_INET;
}

static int change_route(struct fl_netlink *nl, uint16_t type, uint16_t flags, const struct fl_route *route,
			struct fl_err *err)
{
	union request r;
	struct nlmsghdr *h = begin(&r, type, flags);
	struct rtmsg *m = mnl_nlmsg_put_extra_header(h, sizeof(*m));
	uint32_t table = route->table ? route->table : RT_TABLE_MAIN;

	m->rtm_family = route_family(route);
	m->rtm_dst_len = route->dst.ip.family ? route->dst.bits : 0;
	m->rtm_table = table < 256 ? (uint8_t)table : RT_TABLE_UNSPEC;
	m->rtm_protocol = FL_ROUTE_PROTOCOL;
	m->rtm_scope = type == RTM_DELROUTE ? RT_SCOPE_NOWHERE : route->scope;
	m->rtm_type = route->type ? route->type : type == RTM_DELROUTE ? 0 : RTN_UNICAST;
	m->rtm_flags = route->onlink ? RTNH_F_ONLINK : 0;
	mnl_attr_put_u32(h, RTA_TABLE, table);
	if (route->dst.ip.family)
		put_ip(h, RTA_DST, &route->dst.ip);
	if (route->gateway.family)
		put_ip(h, RTA_GATEWAY, &route->gateway);
	if (route->prefsrc.family)
		put_ip(h, RTA_PREFSRC, &route->prefsrc);
	if (route->ifindex)
		mnl_attr_put_u32(h, RTA_OIF, (uint32_t)route->ifindex);
	if (route->metric)
		mnl_attr_put_u32(h, RTA_PRIORITY, route->metric);
	if (route->mtu && type == RTM_NEWROUTE) {
		struct nlattr *metrics = mnl_attr_nest_start(h, RTA_METRICS);

		mnl_attr_put_u32(h, RTAX_MTU, route->mtu);
		mnl_attr_nest_end(h, metrics);
	}

	int rc = fl_netlink_talk(nl, h, NULL, NULL, err);
	if (rc < 0) {
		char text[FL_CIDR_STRLEN] = "default";

		if (route->dst.ip.family)
			fl_cidr_format(&route->dst, text);
		(void)fl_err_prefix(err, "%s route %s", type == RTM_NEWROUTE ? "set" : "delete", text);
	}
	return rc;
}

int fl_route_replace(struct fl_netlink *nl, const struct fl_route *r, struct fl_err *err)
{
	return change_route(nl, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, r, err);
}

int fl_route_add(struct fl_netlink *nl, const struct fl_route *r, struct fl_err *err)
{
	return change_route(nl, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, r, err);
}

int fl_route_del(struct fl_netlink *nl, const struct fl_route *r, struct fl_err *err)
{
	int rc = change_route(nl, RTM_DELROUTE, 0, r, err);

	return rc == -ESRCH ? -ENOENT : rc; // the kernel's word for "no such route"
}

struct route_list {
	FL_VEC(struct fl_route) items;
};

static int store_route(const struct nlmsghdr *msg, void *arg)
{
	struct route_list *list = arg;
	const struct rtmsg *m = mnl_nlmsg_get_payload(msg);
	struct fl_route r = {
	    .table = m->rtm_table,
	    .scope = m->rtm_scope,
	    .type = m->rtm_type,
	    .onlink = m->rtm_flags & RTNH_F_ONLINK,
	    .protocol = m->rtm_protocol,
	};

	if (m->rtm_flags & RTM_F_CLONED)
		return 0;

	struct nlattr *attr;
	mnl_attr_for_each (attr, msg, sizeof(*m)) {
		switch (mnl_attr_get_type(attr)) {
		case RTA_DST:
			if (get_ip(attr, &r.dst.ip))
				r.dst.bits = m->rtm_dst_len;
			break;
		case RTA_GATEWAY:
			(void)get_ip(attr, &r.gateway);
			break;
		case RTA_PREFSRC:
			(void)get_ip(attr, &r.prefsrc);
			break;
		case RTA_OIF:
			r.ifindex = (int)mnl_attr_get_u32(attr);
			break;
		case RTA_PRIORITY:
			r.metric = mnl_attr_get_u32(attr);
			break;
		case RTA_TABLE:
			r.table = mnl_attr_get_u32(attr);
			break;
		default:
			break;
		}
	}
	if (r.table == RT_TABLE_MAIN)
		fl_vec_push(&list->items, r);
	return 0;
}

int fl_route_list(struct fl_netlink *nl, void (*cb)(const struct fl_route *r, void *arg), void *arg, struct fl_err *err)
{
	struct route_list list = {0};
	int rc = 0;

	for (int round = 0; rc == 0 && round < 2; round++) {
		size_t before = list.items.n;

		rc = -EINTR;
		for (int i = 0; rc == -EINTR && i < LIST_RETRIES; i++) {
			union request r;
			struct nlmsghdr *h = begin(&r, RTM_GETROUTE, NLM_F_DUMP);
			struct rtmsg *m = mnl_nlmsg_put_extra_header(h, sizeof(*m));

			m->rtm_family = round == 0 ? AF_INET : AF_INET6;
			m->rtm_table = RT_TABLE_MAIN; // the kernel filters by it under strict checking
			list.items.n = before;
			rc = fl_netlink_talk(nl, h, store_route, &list, err);
		}
		if (rc == -ENOENT || rc == -EAFNOSUPPORT || rc == -EOPNOTSUPP)
			rc = 0; // no such table yet, or no IPv6 in this kernel
	}
	if (rc < 0)
		(void)fl_err_prefix(err, "list routes");
	for (size_t i = 0; rc == 0 && i < list.items.n; i++)
		cb(&list.items.v[i], arg);
	fl_vec_deinit(&list.items);
	return rc;
}

// ---- the host's own address

struct primary {
	int family, ifindex; // ifindex 0: any link
	struct fl_ip best;
	bool best_is_loopback_link;
	const struct fl_route *route;
	struct fl_route found;
};

static void pick_default_route(const struct fl_route *r, void *arg)
{
	struct primary *p = arg;
	bool is_default = !r->dst.ip.family && route_family(r) == p->family && r->type == RTN_UNICAST;

	if (is_default && (!p->route || r->metric < p->found.metric)) {
		p->found = *r;
		p->route = &p->found;
	}
}

static void pick_address(const struct fl_addr_info *a, void *arg)
{
	struct primary *p = arg;
	bool on_loopback = fl_streq(a->ifname, "lo");

	if (a->ip.family != p->family || a->scope != RT_SCOPE_UNIVERSE || fl_ip_is_loopback(&a->ip) || a->deprecated ||
	    a->tentative || (p->ifindex && a->ifindex != p->ifindex))
		return;
	if (!p->best.family || (p->best_is_loopback_link && !on_loopback)) {
		p->best = a->ip;
		p->best_is_loopback_link = on_loopback;
	}
}

int fl_host_primary_ip(int family, struct fl_ip *ret, struct fl_err *err)
{
	AUTO(fl_netlink_free) struct fl_netlink *nl = NULL;
	struct primary p = {.family = family};
	int rc = fl_netlink_open(NETLINK_ROUTE, &nl, err);

	if (rc == 0)
		rc = fl_route_list(nl, pick_default_route, &p, err);
	if (rc == 0 && p.route && p.found.prefsrc.family) {
		*ret = p.found.prefsrc;
		return 0;
	}
	if (rc == 0 && p.route && p.found.ifindex) {
		p.ifindex = p.found.ifindex;
		rc = fl_addr_list(nl, pick_address, &p, err);
	}
	if (rc == 0 && !p.best.family) {
		p.ifindex = 0;
		rc = fl_addr_list(nl, pick_address, &p, err);
	}
	if (rc < 0)
		return rc;
	if (!p.best.family)
		return fl_err_set(err, -ENOENT, "this host has no global IPv%d address", family == AF_INET6 ? 6 : 4);
	*ret = p.best;
	return 0;
}
