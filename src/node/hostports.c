// SPDX-License-Identifier: Apache-2.0
// The tables of host ports. See hostports.h.
#include "node/hostports.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "io/netlink.h"
#include "io/nft.h"

#define TABLE        "fairlead-host-ports"
#define DST_PRIORITY (-101) // right before the proxy's
#define SRC_PRIORITY 99

enum set { ANY_ADDRESS, ONE_ADDRESS, HAIRPIN, SET_COUNT };

struct family {
	uint8_t nf, af, addr_len, addr_regs;
	uint32_t addr_type, src_offset, dst_offset;
};

static const struct family families[2] = {
    {NFPROTO_IPV4, AF_INET, 4, 1, NFT_TYPE_IPADDR, 12, 16},
    {NFPROTO_IPV6, AF_INET6, 16, 4, NFT_TYPE_IP6ADDR, 8, 24},
};

static const char *const set_names[SET_COUNT] = {"ports", "ports-of-address", "pods"};

static void add_sets(struct nft_batch *b, const struct family *f)
{
	const uint32_t port = NFT_TYPE2(NFT_TYPE_INET_PROTOCOL, NFT_TYPE_INET_SERVICE);
	const uint32_t target = NFT_TYPE2(f->addr_type, NFT_TYPE_INET_SERVICE);
	const struct nft_set_def defs[SET_COUNT] = {
	    [ANY_ADDRESS] = {.flags = NFT_SET_MAP,
			     .key_type = port,
			     .key_len = 8,
			     .data_type = target,
			     .data_len = f->addr_len + 4u},
	    [ONE_ADDRESS] = {.flags = NFT_SET_MAP,
			     .key_type = NFT_TYPE3(f->addr_type, NFT_TYPE_INET_PROTOCOL, NFT_TYPE_INET_SERVICE),
			     .key_len = f->addr_len + 8u,
			     .data_type = target,
			     .data_len = f->addr_len + 4u},
	    [HAIRPIN] = {.key_type = NFT_TYPE2(f->addr_type, f->addr_type), .key_len = 2u * f->addr_len},
	};

	for (unsigned i = 0; i < SET_COUNT; i++) {
		struct nft_set_def def = defs[i];

		def.name = set_names[i];
		nft_set(b, &def, i + 1);
	}
}

static void load_addr(struct nft_batch *b, uint32_t offset, const struct family *f, uint32_t reg)
{
	nft_expr_payload(b, NFT_PAYLOAD_NETWORK_HEADER, offset, f->addr_len, reg);
}

// What is at the looked up key, protocol and port behind register `at`, becomes the destination.
static void translate(struct nft_batch *b, const struct family *f, unsigned at, enum set set)
{
	nft_expr_meta(b, NFT_META_L4PROTO, R(at));
	nft_expr_payload(b, NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2, R(at + 1));
	nft_expr_lookup(b, set_names[set], R(0), R(0), true);
	nft_expr_dnat(b, f->nf, R(0), R(f->addr_regs));
	nft_rule_end(b);
}

static void add_destination_rules(struct nft_batch *b, const struct family *f, const char *chain)
{
	static const uint8_t mask[4] = {0xff}, loopback4[4] = {127}, loopback6[16] = {[15] = 1};
	const uint32_t local = RTN_LOCAL;

	nft_rule(b, chain);
	load_addr(b, f->dst_offset, f, R(0));
	translate(b, f, f->addr_regs, ONE_ADDRESS);
	nft_rule(b, chain);
	nft_expr_fib_type(b, NFTA_FIB_F_DADDR, R(0));
	nft_expr_cmp(b, NFT_CMP_EQ, R(0), &local, sizeof(local));
	load_addr(b, f->dst_offset, f, R(0));
	if (f->af == AF_INET)
		nft_expr_mask(b, R(0), R(0), mask, sizeof(mask));
	nft_expr_cmp(b, NFT_CMP_NEQ, R(0), f->af == AF_INET ? loopback4 : loopback6, f->addr_len);
	translate(b, f, 0, ANY_ADDRESS);
}

static void add_chains(struct nft_batch *b, const struct family *f)
{
	nft_base_chain(b, "prerouting", "nat", NF_INET_PRE_ROUTING, DST_PRIORITY);
	nft_base_chain(b, "output", "nat", NF_INET_LOCAL_OUT, DST_PRIORITY);
	nft_base_chain(b, "postrouting", "nat", NF_INET_POST_ROUTING, SRC_PRIORITY);
	add_destination_rules(b, f, "prerouting");
	add_destination_rules(b, f, "output");
	nft_rule(b, "postrouting");
	load_addr(b, f->src_offset, f, R(0));
	load_addr(b, f->dst_offset, f, R(f->addr_regs));
	nft_expr_lookup(b, set_names[HAIRPIN], R(0), 0, false);
	nft_expr_masquerade(b);
	nft_rule_end(b);
}

static void put(uint8_t *to, uint8_t *len, const void *value, size_t n)
{
	memcpy(to + *len, value, n);
	*len = (uint8_t)(*len + (n + 3) / 4 * 4);
}

static void put_ip(uint8_t *to, uint8_t *len, const struct fl_ip *ip)
{
	size_t n;
	const uint8_t *raw = fl_ip_raw(ip, &n);

	put(to, len, raw, n);
}

static void put_port(uint8_t *to, uint8_t *len, uint16_t port)
{
	uint16_t port_be = htons(port);

	put(to, len, &port_be, sizeof(port_be));
}

static struct nft_elem elem_of(const struct fl_hostport_rule *r, enum set set)
{
	struct nft_elem e = {.set = (uint8_t)set};

	if (set == HAIRPIN) {
		put_ip(e.key, &e.key_len, &r->pod_ip);
		put_ip(e.key, &e.key_len, &r->pod_ip);
		return e;
	}
	if (set == ONE_ADDRESS)
		put_ip(e.key, &e.key_len, &r->port.ip);
	put(e.key, &e.key_len, &r->port.protocol, 1);
	put_port(e.key, &e.key_len, r->port.port);
	put_ip(e.data, &e.data_len, &r->pod_ip);
	put_port(e.data, &e.data_len, r->port.container_port);
	return e;
}

static bool same_key(const struct nft_elem *x, const struct nft_elem *y)
{
	return x->set == y->set && x->key_len == y->key_len && memcmp(x->key, y->key, x->key_len) == 0;
}

// Elements of one set and family. A key that stands already is left out, so that a mistake costs one port, not all.
static size_t collect(const struct fl_hostport_rule *rules, size_t n, const struct family *f, enum set set,
		      struct nft_elem *ret, const struct nft_elem **ret_list)
{
	size_t count = 0;

	for (size_t i = 0; i < n; i++) {
		bool one = rules[i].port.ip.family != 0, twice = false;
		struct nft_elem e;

		if (rules[i].pod_ip.family != f->af || (one && rules[i].port.ip.family != f->af) ||
		    (set == ONE_ADDRESS && !one) || (set == ANY_ADDRESS && one))
			continue;
		e = elem_of(&rules[i], set);
		for (size_t k = 0; k < count && !twice; k++)
			twice = same_key(&ret[k], &e);
		if (twice)
			continue;
		ret[count] = e;
		ret_list[count] = &ret[count];
		count++;
	}
	return count;
}

int fl_hostports_apply(const struct fl_hostport_rule *rules, size_t n, struct fl_err *err)
{
	AUTO(fl_netlink_free) struct fl_netlink *nl = NULL;
	AUTO(nft_batch_deinit) struct nft_batch b = {0};
	AUTO_FREE struct nft_elem *elems = fl_calloc(n + 1, sizeof(*elems));
	AUTO_FREE const struct nft_elem **list = fl_calloc(n + 1, sizeof(*list));
	int rc = fl_netlink_open(NETLINK_NETFILTER, &nl, err);

	if (rc < 0)
		return rc;
	nft_batch_init(&b, nl, TABLE);
	for (size_t i = 0; i < FL_COUNT(families); i++) {
		const struct family *f = &families[i];
		size_t count = 0;

		b.family = f->nf;
		nft_table(&b, NFT_MSG_NEWTABLE, NULL); // so that there is one to delete
		nft_table(&b, NFT_MSG_DELTABLE, NULL);
		for (size_t k = 0; k < n; k++)
			count += rules[k].pod_ip.family == f->af;
		if (!count)
			continue;
		nft_table(&b, NFT_MSG_NEWTABLE, "ports of this host that lead to pods");
		add_sets(&b, f);
		add_chains(&b, f);
		for (unsigned set = 0; set < SET_COUNT; set++) {
			count = collect(rules, n, f, (enum set)set, elems, list);
			nft_elems(&b, NFT_MSG_NEWSETELEM, set_names[set], list, count);
		}
	}
	rc = nft_batch_send(&b, err);
	return rc < 0 ? fl_err_prefix(err, "host ports of pods") : 0;
}

// `nft flush table` takes the rules and leaves the rest. A socket that cannot ask: true.
static bool stands(struct fl_netlink *nl, const struct family *f)
{
	static const struct {
		const char *name;
		uint32_t rules;
	} chains[] = {{"prerouting", 2}, {"output", 2}, {"postrouting", 1}};

	for (size_t i = 0; i < FL_COUNT(chains); i++) {
		uint32_t rules = 0;
		int rc = nft_read_chain_use(nl, f->nf, TABLE, chains[i].name, &rules, NULL);

		if (rc == -ENOENT || (rc == 0 && rules < chains[i].rules))
			return false;
	}
	return true;
}

int fl_hostports_keep(const struct fl_hostport_rule *rules, size_t n, struct fl_err *err)
{
	AUTO(fl_netlink_free) struct fl_netlink *nl = NULL;
	bool all = true;
	int rc = fl_netlink_open(NETLINK_NETFILTER, &nl, err);

	if (rc < 0)
		return rc;
	for (size_t i = 0; i < FL_COUNT(families) && all; i++) {
		bool needed = false;

		for (size_t k = 0; k < n && !needed; k++)
			needed = rules[k].pod_ip.family == families[i].af;
		all = !needed || stands(nl, &families[i]);
	}
	if (all)
		return 0;
	rc = fl_hostports_apply(rules, n, err);
	if (rc == 0)
		fl_warn("the host ports of pods were gone from the kernel and are there again");
	return rc;
}

int fl_hostports_check_free(const struct fl_host_port *p, struct fl_err *err)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	struct fl_ip any = fl_ip_from4(INADDR_ANY);
	struct sockaddr_storage sa;
	socklen_t len;
	const int on = 1;

	if (p->protocol != IPPROTO_TCP && p->protocol != IPPROTO_UDP)
		return 0;
	fl_ip_to_sockaddr(p->ip.family ? &p->ip : &any, p->port, &sa, &len);
	AUTO_CLOSE int fd =
	    socket(sa.ss_family, (p->protocol == IPPROTO_TCP ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return 0;
	if (p->protocol == IPPROTO_TCP) // connections that end do not hold a port; for UDP it would let two share it
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)&sa, len) < 0 && errno == EADDRINUSE)
		return fl_err_set(err, -EADDRINUSE, "cannot open hostport %s: a program of this host uses it",
				  fl_host_port_text(&a, p));
	return 0;
}
