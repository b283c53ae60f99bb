// SPDX-License-Identifier: Apache-2.0
#include "node/egress.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nfnetlink.h>
#include <string.h>
#include <sys/socket.h>

#include "base/log.h"
#include "base/mem.h"
#include "io/netlink.h"
#include "io/nft.h"

#define TABLE    "fairlead-egress"
#define PRIORITY 101 // after the proxy and the host ports: theirs goes first

static const struct family {
	uint8_t nf, addr_len;
	uint32_t src_offset, dst_offset;
} families[2] = {{NFPROTO_IPV4, 4, 12, 16}, {NFPROTO_IPV6, 16, 8, 24}};

static const struct family *family_of(const struct fl_cidr *c)
{
	return &families[c->ip.family == AF_INET6];
}

static void mask_of(const struct fl_cidr *c, uint8_t ret[16])
{
	memset(ret, 0, 16);
	for (unsigned i = 0; i < c->bits; i++)
		ret[i / 8] |= (uint8_t)(0x80 >> i % 8);
}

// The rule ends here unless the address at `offset` is in `c` (op EQ) or outside of it (op NEQ).
static void match(struct nft_batch *b, const struct family *f, uint32_t offset, uint32_t op, const struct fl_cidr *c)
{
	uint8_t mask[16], net[16];
	size_t n;
	const uint8_t *raw = fl_ip_raw(&c->ip, &n);

	mask_of(c, mask);
	for (size_t i = 0; i < n; i++)
		net[i] = raw[i] & mask[i];
	nft_expr_payload(b, NFT_PAYLOAD_NETWORK_HEADER, offset, f->addr_len, R(0));
	nft_expr_mask(b, R(0), R(0), mask, f->addr_len);
	nft_expr_cmp(b, op, R(0), net, f->addr_len);
}

static void add_table(struct nft_batch *b, const struct family *f, const struct fl_cidr *pods,
		      const struct fl_cidr *cluster)
{
	nft_table(b, NFT_MSG_NEWTABLE, "pods reach other hosts by this node's address");
	nft_base_chain(b, "postrouting", "nat", NF_INET_POST_ROUTING, PRIORITY);
	nft_rule(b, "postrouting");
	match(b, f, f->src_offset, NFT_CMP_EQ, pods);
	match(b, f, f->dst_offset, NFT_CMP_NEQ, cluster);
	nft_expr_masquerade(b);
	nft_rule_end(b);
}

int fl_egress_apply(const struct fl_egress *e, struct fl_err *err)
{
	AUTO(fl_netlink_free) struct fl_netlink *nl = NULL;
	AUTO(nft_batch_deinit) struct nft_batch b = {0};
	int rc = fl_netlink_open(NETLINK_NETFILTER, &nl, err);

	if (rc < 0)
		return rc;
	nft_batch_init(&b, nl, TABLE);
	for (size_t i = 0; i < FL_COUNT(families); i++) {
		b.family = families[i].nf;
		nft_table(&b, NFT_MSG_NEWTABLE, NULL); // so that there is one to delete
		nft_table(&b, NFT_MSG_DELTABLE, NULL);
	}
	for (unsigned i = 0; i < e->n; i++) {
		const struct family *f = family_of(&e->pods[i]);

		b.family = f->nf;
		add_table(&b, f, &e->pods[i], &e->cluster[i]);
	}
	rc = nft_batch_send(&b, err);
	return rc < 0 ? fl_err_prefix(err, "masquerade of pods") : 0;
}

// `nft flush table` takes the rule and leaves the rest. A socket that cannot ask: true.
static bool stands(struct fl_netlink *nl, const struct family *f)
{
	uint32_t rules = 0;
	int rc = nft_read_chain_use(nl, f->nf, TABLE, "postrouting", &rules, NULL);

	return rc < 0 ? rc != -ENOENT : rules > 0;
}

int fl_egress_keep(const struct fl_egress *e, struct fl_err *err)
{
	AUTO(fl_netlink_free) struct fl_netlink *nl = NULL;
	bool all = true;
	int rc = fl_netlink_open(NETLINK_NETFILTER, &nl, err);

	if (rc < 0)
		return rc;
	for (unsigned i = 0; i < e->n && all; i++)
		all = stands(nl, family_of(&e->pods[i]));
	if (all)
		return 0;
	rc = fl_egress_apply(e, err);
	if (rc == 0)
		fl_warn("the masquerade of pods was gone from the kernel and is there again");
	return rc;
}

int fl_egress_cleanup(struct fl_err *err)
{
	return fl_egress_apply(&(struct fl_egress){0}, err);
}
