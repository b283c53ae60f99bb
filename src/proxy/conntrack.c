// SPDX-License-Identifier: Apache-2.0
// ctnetlink (linux/netfilter/nfnetlink_conntrack.h): a dump that the kernel filters by protocol, then one delete a
// stale entry by its tuple and id. An entry of a Service has the frontend as destination of its original direction and
// the endpoint as source of its reply direction; that of a packet that no rule translated has the frontend as both.
#include "proxy/conntrack.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <string.h>

#include "base/map.h"
#include "base/mem.h"
#include "base/vec.h"
#include "io/netlink.h"

#define FILTER_PROTO_NUM (1u << 3) // CTA_FILTER_FLAG(CTA_PROTO_NUM) of the kernel, which does not export it
#define MAX_TUPLE        128       // bytes of a nested CTA_TUPLE_ORIG: two addresses, a protocol and two ports

struct key {
	struct fl_ip ip;
	uint16_t port;
};

struct fl_proxy_conntrack {
	struct fl_map noted;  // struct key -> itself
	struct fl_map locals; // struct fl_ip -> itself: addresses of this host, while node ports are looked at
};

struct flow {
	uint8_t family, tuple[MAX_TUPLE];
	uint16_t tuple_len;
	uint32_t id_be;
};

struct pass {
	const struct fl_proxy_conntrack *ct;
	const struct fl_proxy_core *core;
	uint8_t family;
	FL_VEC(struct flow) stale;
};

struct fl_proxy_conntrack *fl_proxy_conntrack_new(void)
{
	return FL_NEW(struct fl_proxy_conntrack);
}

void fl_proxy_conntrack_free(struct fl_proxy_conntrack **ct)
{
	if (!*ct)
		return;
	fl_map_deinit(&(*ct)->noted);
	fl_map_deinit(&(*ct)->locals);
	free(*ct);
	*ct = NULL;
}

static struct key make_key(const struct fl_ip *ip, uint16_t port)
{
	struct key k;

	memset(&k, 0, sizeof(k));
	k.ip = *ip;
	k.port = port;
	return k;
}

void fl_proxy_conntrack_note(void *arg, const struct fl_ip *ip, uint16_t port)
{
	struct fl_proxy_conntrack *ct = arg;
	struct key k = make_key(ip, port);

	(void)fl_map_set_n(&ct->noted, &k, sizeof(k), ct);
}

bool fl_proxy_conntrack_pending(const struct fl_proxy_conntrack *ct)
{
	return ct->noted.n > 0;
}

static struct fl_ip unspecified(uint8_t family)
{
	struct fl_ip ip = {.family = family};

	return family == AF_INET ? fl_ip_from4(0) : ip;
}

// ---- entries

struct end {
	struct fl_ip ip;
	uint16_t port;
};

// One address and one port of a tuple; false when it has none.
static bool read_end(const struct nlattr *tuple, bool source, struct end *ret)
{
	const struct nlattr *part, *attr;
	bool has_ip = false, has_port = false;

	mnl_attr_for_each_nested (part, tuple) {
		uint16_t part_type = mnl_attr_get_type(part);

		if (part_type != CTA_TUPLE_IP && part_type != CTA_TUPLE_PROTO)
			continue;
		mnl_attr_for_each_nested (attr, part) {
			uint16_t type = mnl_attr_get_type(attr);

			if (part_type == CTA_TUPLE_IP && type == (source ? CTA_IP_V4_SRC : CTA_IP_V4_DST)) {
				ret->ip = fl_ip_from4(mnl_attr_get_u32(attr));
				has_ip = true;
			} else if (part_type == CTA_TUPLE_IP && type == (source ? CTA_IP_V6_SRC : CTA_IP_V6_DST)) {
				memcpy(ret->ip.b, mnl_attr_get_payload(attr), 16);
				ret->ip.family = AF_INET6;
				has_ip = true;
			} else if (part_type == CTA_TUPLE_PROTO &&
				   type == (source ? CTA_PROTO_SRC_PORT : CTA_PROTO_DST_PORT)) {
				ret->port = ntohs(mnl_attr_get_u16(attr));
				has_port = true;
			}
		}
	}
	return has_ip && has_port;
}

static bool is_udp(const struct nlattr *tuple)
{
	const struct nlattr *part, *attr;

	mnl_attr_for_each_nested (part, tuple) {
		if (mnl_attr_get_type(part) != CTA_TUPLE_PROTO)
			continue;
		mnl_attr_for_each_nested (attr, part) {
			if (mnl_attr_get_type(attr) == CTA_PROTO_NUM)
				return mnl_attr_get_u8(attr) == IPPROTO_UDP;
		}
	}
	return false;
}

// The noted frontend that a connection to `to` came in by, if any.
static bool find_frontend(const struct fl_proxy_conntrack *ct, const struct end *to, struct end *ret)
{
	struct key k = make_key(&to->ip, to->port);

	*ret = *to;
	if (fl_map_get_n(&ct->noted, &k, sizeof(k)))
		return true;
	ret->ip = unspecified(to->ip.family);
	k = make_key(&ret->ip, to->port);
	return fl_map_get_n(&ct->noted, &k, sizeof(k)) && fl_map_get_n(&ct->locals, &to->ip, sizeof(to->ip));
}

static int judge(const struct nlmsghdr *msg, void *arg)
{
	struct pass *p = arg;
	const struct nlattr *attr, *orig = NULL, *reply = NULL;
	struct flow flow = {.family = p->family};
	struct end to, from, frontend;

	mnl_attr_for_each (attr, msg, sizeof(struct nfgenmsg)) {
		switch (mnl_attr_get_type(attr)) {
		case CTA_TUPLE_ORIG:
			orig = attr;
			break;
		case CTA_TUPLE_REPLY:
			reply = attr;
			break;
		case CTA_ID:
			flow.id_be = mnl_attr_get_u32(attr);
			break;
		default:
			break;
		}
	}
	// Kernels before 5.8 do not filter.
	if (!orig || !reply || !is_udp(orig) || !read_end(orig, false, &to) || !read_end(reply, true, &from))
		return 0;
	flow.tuple_len = mnl_attr_get_payload_len(orig);
	if (flow.tuple_len > sizeof(flow.tuple) || !find_frontend(p->ct, &to, &frontend) ||
	    fl_proxy_core_udp_serves(p->core, &frontend.ip, frontend.port, &from.ip, from.port))
		return 0;
	memcpy(flow.tuple, mnl_attr_get_payload(orig), flow.tuple_len);
	fl_vec_push(&p->stale, flow);
	return 0;
}

static struct nlmsghdr *begin(char *buf, uint16_t type, uint16_t flags, uint8_t family)
{
	struct nlmsghdr *h = mnl_nlmsg_put_header(buf);

	h->nlmsg_type = (uint16_t)(NFNL_SUBSYS_CTNETLINK << 8 | type);
	h->nlmsg_flags = NLM_F_REQUEST | flags;
	struct nfgenmsg *g = mnl_nlmsg_put_extra_header(h, sizeof(*g));
	g->nfgen_family = family;
	g->version = NFNETLINK_V0;
	return h;
}

static int list_stale(struct fl_netlink *nl, struct pass *p, struct fl_err *err)
{
	char buf[256] __attribute__((aligned(NLMSG_ALIGNTO)));
	struct nlmsghdr *h = begin(buf, IPCTNL_MSG_CT_GET, NLM_F_DUMP, p->family);
	struct nlattr *tuple = mnl_attr_nest_start(h, CTA_TUPLE_ORIG), *proto = mnl_attr_nest_start(h, CTA_TUPLE_PROTO);

	mnl_attr_put_u8(h, CTA_PROTO_NUM, IPPROTO_UDP);
	mnl_attr_nest_end(h, proto);
	mnl_attr_nest_end(h, tuple);
	struct nlattr *filter = mnl_attr_nest_start(h, CTA_FILTER);
	mnl_attr_put_u32(h, CTA_FILTER_ORIG_FLAGS, FILTER_PROTO_NUM);
	mnl_attr_put_u32(h, CTA_FILTER_REPLY_FLAGS, 0);
	mnl_attr_nest_end(h, filter);
	return fl_netlink_talk(nl, h, judge, p, err);
}

static int delete_flow(struct fl_netlink *nl, const struct flow *f, struct fl_err *err)
{
	char buf[512] __attribute__((aligned(NLMSG_ALIGNTO)));
	struct nlmsghdr *h = begin(buf, IPCTNL_MSG_CT_DELETE, 0, f->family);

	mnl_attr_put(h, CTA_TUPLE_ORIG | NLA_F_NESTED, f->tuple_len, f->tuple);
	if (f->id_be)
		mnl_attr_put_u32(h, CTA_ID, f->id_be); // or a new connection of the same client might be hit
	int rc = fl_netlink_talk(nl, h, NULL, NULL, err);
	return rc == -ENOENT ? 0 : rc; // timed out meanwhile
}

static void add_local(const struct fl_addr_info *a, void *arg)
{
	(void)fl_map_set_n(arg, &a->ip, sizeof(a->ip), arg);
}

static bool has_node_ports(const struct fl_proxy_conntrack *ct)
{
	for (struct fl_map_iter it = {0}; fl_map_next(&ct->noted, &it);) {
		struct key k;

		memcpy(&k, it.key, sizeof(k));
		if (fl_ip_is_unspecified(&k.ip))
			return true;
	}
	return false;
}

static int list_locals(struct fl_proxy_conntrack *ct, struct fl_err *err)
{
	AUTO(fl_netlink_free) struct fl_netlink *nl = NULL;

	fl_map_deinit(&ct->locals);
	if (!has_node_ports(ct))
		return 0;
	int rc = fl_netlink_open(NETLINK_ROUTE, &nl, err);
	return rc < 0 ? rc : fl_addr_list(nl, add_local, &ct->locals, err);
}

int fl_proxy_conntrack_clean(struct fl_proxy_conntrack *ct, const struct fl_proxy_core *core, unsigned *ret_deleted,
			     struct fl_err *err)
{
	static const uint8_t both[] = {AF_INET, AF_INET6};
	AUTO(fl_netlink_free) struct fl_netlink *nl = NULL;
	struct pass p = {.ct = ct, .core = core};
	int rc = list_locals(ct, err);

	if (rc == 0)
		rc = fl_netlink_open(NETLINK_NETFILTER, &nl, err);
	for (unsigned i = 0; rc == 0 && i < FL_COUNT(both); i++) {
		p.family = both[i];
		rc = list_stale(nl, &p, err);
	}
	for (size_t i = 0; rc == 0 && i < p.stale.n; i++)
		rc = delete_flow(nl, &p.stale.v[i], err);
	if (rc == 0) {
		fl_map_deinit(&ct->noted);
		*ret_deleted = (unsigned)p.stale.n;
	} else {
		(void)fl_err_prefix(err, "clean tracked UDP connections");
	}
	fl_map_deinit(&ct->locals);
	fl_vec_deinit(&p.stale);
	return rc;
}
