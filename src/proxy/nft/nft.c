// SPDX-License-Identifier: Apache-2.0
// The nftables backend: a delta becomes one transaction of element changes. Established connections are untouched by
// any of it: conntrack remembers where they go.
//
// Besides the sets themselves it keeps one count: how many frontends use each shape (layout.h), because a chain must
// go with the last of them.
//
// A full delta is compared with what the kernel holds, element by element, so a restart writes nothing when nothing
// changed meanwhile. When the rules are those of another version, they are replaced over the same elements. When the
// table has other sets or is not there, the same transaction makes it anew: no packet sees a state without rules.
//
// A packet may be on its way through the rules while they change, and each of its look-ups sees the state of its own
// moment. What it may need after it has seen what leads there is therefore there first and goes last: chains are
// written in a transaction before the elements that lead to them, and slots, dispatch elements and their chains become
// garbage, which tidy removes when every such packet is through.
#include <errno.h>
#include <string.h>

#include "base/arena.h"
#include "base/map.h"
#include "base/vec.h"
#include "proxy/nft/layout.h"
#include "proxy/nft/read.h"

struct fl_proxy_backend {
	struct fl_proxy_backend_config cfg;
	struct fl_netlink *nl;
	struct fl_map shapes;  // struct nft_shape -> number of frontends
	struct fl_map garbage; // set and key -> struct garbage: elements in the kernel that nothing leads to any more
	uint64_t table_handle; // of the table that the last apply left; 0: none yet
	struct nft_version version;
};

struct garbage {
	struct nft_elem elem; // chain is the heap's
	unsigned age;         // calls of tidy it has seen
};

enum how { CHANGE, REWRITE_RULES, MAKE_TABLE };

struct round {
	struct fl_proxy_backend *b;
	enum how how;
	struct fl_arena arena;
	FL_VEC(struct nft_elem) adds, dels;
	struct fl_map chains; // full delta: names of the shape chains in the kernel -> themselves
	struct fl_map found;  // full delta: set and key -> struct nft_elem in the kernel; seen ones are taken out
	FL_VEC(struct nft_shape) new_shapes;
	FL_VEC(const char *) dead_chains;
};

static void garbage_free(struct garbage *g)
{
	if (!g)
		return;
	free((char *)g->elem.chain);
	free(g);
}

static void garbage_clear(struct fl_map *garbage)
{
	for (struct fl_map_iter it = {0}; fl_map_next(garbage, &it);)
		garbage_free(it.value);
	fl_map_deinit(garbage);
}

static void round_deinit(struct round *r)
{
	fl_vec_deinit(&r->adds);
	fl_vec_deinit(&r->dels);
	fl_vec_deinit(&r->new_shapes);
	fl_vec_deinit(&r->dead_chains);
	fl_map_deinit(&r->chains);
	fl_map_deinit(&r->found);
	fl_arena_deinit(&r->arena);
}

struct elem_key {
	uint8_t set, bytes[32];
};

static struct elem_key elem_key(const struct nft_elem *e)
{
	struct elem_key k;

	memset(&k, 0, sizeof(k));
	k.set = e->set;
	memcpy(k.bytes, e->key, e->key_len);
	return k;
}

static bool same_elem(const struct nft_elem *a, const struct nft_elem *b)
{
	return a->data_len == b->data_len && memcmp(a->data, b->data, a->data_len) == 0 && fl_streq(a->chain, b->chain);
}

static bool is_shape_chain(const char *name)
{
	static const char *const prefixes[] = {"svc4-", "svc6-", "ext4-", "ext6-", "np4-", "np6-"};

	for (unsigned i = 0; name && i < FL_COUNT(prefixes); i++) {
		if (fl_starts_with(name, prefixes[i]))
			return true;
	}
	return false;
}

// ---- delta -> elements

// A shape's count rises or falls by one; its dispatch element and chain come and go with it.
static void count_shape(struct round *r, const struct fl_proxy_frontend *f, bool added)
{
	struct nft_shape s = nft_shape_of(f);
	struct fl_map *shapes = &r->b->shapes;
	uintptr_t n = (uintptr_t)fl_map_get_n(shapes, &s, sizeof(s));
	char chain[NFT_MAX_NAME];
	bool has_chain = nft_shape_chain(&s, chain);

	n = added ? n + 1 : n - 1;
	if (n)
		fl_map_set_n(shapes, &s, sizeof(s), (void *)n);
	else
		(void)fl_map_del_n(shapes, &s, sizeof(s));
	if ((added && n > 1) || (!added && n > 0))
		return;

	const char *name = fl_arena_strdup(&r->arena, chain);
	struct nft_elem e = nft_shape_elem(&s, name);
	struct elem_key key = elem_key(&e);
	if (!added) {
		fl_vec_push(&r->dels, e);
		return;
	}
	fl_vec_push(&r->adds, e);
	bool is_there = has_chain && (fl_map_del(&r->chains, name) || fl_map_get_n(&r->b->garbage, &key, sizeof(key)));
	if (has_chain && (!is_there || r->how == REWRITE_RULES))
		fl_vec_push(&r->new_shapes, s);
}

static bool same_target(const struct fl_proxy_endpoint *a, const struct fl_proxy_endpoint *b)
{
	return fl_ip_equal(&a->ip, &b->ip) && a->port == b->port;
}

static void change_slots(struct round *r, const struct fl_proxy_pool_change *c, uint32_t first_slot)
{
	bool local = first_slot != 0;
	const struct fl_proxy_endpoint *old = c->old ? (local ? c->old->local : c->old->cluster) : NULL;
	const struct fl_proxy_endpoint *now = c->new_pool ? (local ? c->new_pool->local : c->new_pool->cluster) : NULL;
	uint32_t n_old = c->old ? (local ? c->old->n_local : c->old->n_cluster) : 0;
	uint32_t n_new = c->new_pool ? (local ? c->new_pool->n_local : c->new_pool->n_cluster) : 0;

	for (uint32_t i = 0; i < n_old || i < n_new; i++) {
		if (i < n_old && i < n_new && same_target(&old[i], &now[i]))
			continue;
		if (i < n_old)
			fl_vec_push(&r->dels, nft_slot_elem(c->old, first_slot + i, &old[i]));
		if (i < n_new)
			fl_vec_push(&r->adds, nft_slot_elem(c->new_pool, first_slot + i, &now[i]));
	}
}

static bool contains(const struct fl_proxy_endpoint *list, size_t n, const struct fl_proxy_endpoint *e)
{
	for (size_t i = 0; i < n; i++) {
		if (same_target(&list[i], e))
			return true;
	}
	return false;
}

static bool is_member(const struct fl_proxy_pool *p, const struct fl_proxy_endpoint *e)
{
	return p && p->affinity && (contains(p->cluster, p->n_cluster, e) || contains(p->local, p->n_local, e));
}

// Members of `p` that `other` does not have, into adds or dels.
static void list_members(struct round *r, const struct fl_proxy_pool *p, const struct fl_proxy_pool *other, bool add)
{
	for (size_t i = 0; p && p->affinity && i < (size_t)p->n_cluster + p->n_local; i++) {
		bool local = i >= p->n_cluster;
		const struct fl_proxy_endpoint *e = local ? &p->local[i - p->n_cluster] : &p->cluster[i];

		if ((local && contains(p->cluster, p->n_cluster, e)) || is_member(other, e))
			continue;
		if (add)
			fl_vec_push(&r->adds, nft_member_elem(p, e));
		else
			fl_vec_push(&r->dels, nft_member_elem(p, e));
	}
}

static void change_pool(struct round *r, const struct fl_proxy_pool_change *c)
{
	change_slots(r, c, 0);
	change_slots(r, c, NFT_LOCAL_SLOT);
	list_members(r, c->new_pool, c->old, true);
	list_members(r, c->old, c->new_pool, false);
}

static void render(struct round *r, const struct fl_proxy_delta *d)
{
	// All that is new before all that is old: a chain that one frontend leaves and another joins stays.
	for (size_t i = 0; i < d->n_frontends; i++) {
		if (!d->frontends[i].new_frontend)
			continue;
		count_shape(r, d->frontends[i].new_frontend, true);
		fl_vec_push(&r->adds, nft_frontend_elem(d->frontends[i].new_frontend));
	}
	for (size_t i = 0; i < d->n_frontends; i++) {
		if (!d->frontends[i].old)
			continue;
		count_shape(r, d->frontends[i].old, false);
		fl_vec_push(&r->dels, nft_frontend_elem(d->frontends[i].old));
	}
	for (size_t i = 0; i < d->n_pools; i++)
		change_pool(r, &d->pools[i]);
	for (size_t i = 0; i < d->n_vips + d->n_locals; i++) {
		bool vip = i < d->n_vips;
		const struct fl_proxy_ip_change *c = vip ? &d->vips[i] : &d->locals[i - d->n_vips];
		struct nft_elem e = vip ? nft_vip_elem(&c->ip) : nft_local_elem(&c->ip);

		if (c->added)
			fl_vec_push(&r->adds, e);
		else
			fl_vec_push(&r->dels, e);
	}
	for (uint32_t i = 0; d->full && i < 8; i++)
		fl_vec_push(&r->adds, nft_masq_elem(i / 4, i % 4));
}

// ---- what the kernel holds

static void remember_elem(void *arg, const struct nft_elem *e)
{
	struct round *r = arg;
	struct elem_key key = elem_key(e);
	struct nft_elem *copy = fl_arena_alloc(&r->arena, sizeof(*copy));

	*copy = *e;
	copy->chain = e->chain ? fl_arena_strdup(&r->arena, e->chain) : NULL;
	copy->comment = NULL;
	(void)fl_map_set_n(&r->found, &key, sizeof(key), copy);
}

static void remember_chain(void *arg, const char *name, int hook, int priority)
{
	struct round *r = arg;

	if (is_shape_chain(name) || fl_starts_with(name, NFT_RULES_PREFIX)) {
		char *copy = fl_arena_strdup(&r->arena, name);

		(void)fl_map_set(&r->chains, copy, copy);
	}
}

static int read_kernel(struct round *r, struct fl_err *err)
{
	int rc = nft_read_chains(r->b->nl, remember_chain, r, err);

	for (unsigned set = 0; rc == 0 && set < NFT_AFFINITY4; set++)
		rc = nft_read_elems(r->b->nl, set, remember_elem, r, err);
	return rc;
}

// Leaves in adds what is not there yet, in dels what is there and should not be.
static void subtract_kernel(struct round *r)
{
	size_t kept = 0;

	for (size_t i = 0; i < r->adds.n; i++) {
		struct elem_key key = elem_key(&r->adds.v[i]);
		const struct nft_elem *there = fl_map_del_n(&r->found, &key, sizeof(key));

		if (there && same_elem(there, &r->adds.v[i]))
			continue;
		if (there)
			fl_vec_push(&r->dels, *there);
		r->adds.v[kept++] = r->adds.v[i];
	}
	r->adds.n = kept;
	for (struct fl_map_iter it = {0}; fl_map_next(&r->found, &it);) {
		const struct nft_elem *e = it.value;

		fl_vec_push(&r->dels, *e);
		if (is_shape_chain(e->chain)) // goes with the element
			(void)fl_map_del(&r->chains, e->chain);
	}
	for (struct fl_map_iter it = {0}; fl_map_next(&r->chains, &it);)
		fl_vec_push(&r->dead_chains, (const char *)it.value);
}

// ---- the transaction

static void write_elems(struct nft_batch *batch, uint16_t msg_type, const struct nft_elem *list, size_t n,
			struct fl_arena *a)
{
	const struct nft_elem **of_set = fl_arena_alloc(a, (n + 1) * sizeof(*of_set));

	for (unsigned set = 0; n && set < NFT_SET_COUNT; set++) {
		size_t count = 0;

		for (size_t i = 0; i < n; i++) {
			if (list[i].set == set)
				of_set[count++] = &list[i];
		}
		nft_elems(batch, msg_type, nft_set_defs[set].name, of_set, count);
	}
}

// What is about to be added and lies in the garbage is there already, or is replaced.
static void recycle(struct round *r)
{
	struct fl_map *garbage = &r->b->garbage;
	size_t kept = 0;

	if (!garbage->n)
		return;
	for (size_t i = 0; i < r->adds.n; i++) {
		struct elem_key key = elem_key(&r->adds.v[i]);
		struct garbage *g = fl_map_del_n(garbage, &key, sizeof(key));
		bool same = g && same_elem(&g->elem, &r->adds.v[i]);

		if (g && !same) {
			g->elem.chain = NULL; // only the key counts for a removal
			fl_vec_push(&r->dels, g->elem);
		}
		garbage_free(g);
		if (!same)
			r->adds.v[kept++] = r->adds.v[i];
	}
	r->adds.n = kept;
}

static bool goes_last(const struct nft_elem *e)
{
	return e->set == NFT_SLOTS4 || e->set == NFT_SLOTS6 ||
	       (e->set >= NFT_DISPATCH_SVC4 && e->set <= NFT_DISPATCH_NP6);
}

static void discard(struct fl_map *garbage, const struct nft_elem *e)
{
	struct elem_key key = elem_key(e);
	struct garbage *g = FL_NEW(struct garbage);

	g->elem = *e;
	g->elem.chain = e->chain ? fl_strdup(e->chain) : NULL;
	g->elem.comment = NULL;
	garbage_free(fl_map_set_n(garbage, &key, sizeof(key), g));
}

// Removals that go last and are no replacement leave dels for the garbage.
static void put_aside(struct round *r)
{
	struct fl_map added = {0};
	size_t kept = 0;
	bool any = false;

	for (size_t i = 0; i < r->dels.n; i++)
		any |= goes_last(&r->dels.v[i]);
	for (size_t i = 0; any && i < r->adds.n; i++) {
		struct elem_key key = elem_key(&r->adds.v[i]);

		if (goes_last(&r->adds.v[i]))
			(void)fl_map_set_n(&added, &key, sizeof(key), r);
	}
	for (size_t i = 0; any && i < r->dels.n; i++) {
		struct elem_key key = elem_key(&r->dels.v[i]);

		if (goes_last(&r->dels.v[i]) && !fl_map_get_n(&added, &key, sizeof(key)))
			discard(&r->b->garbage, &r->dels.v[i]);
		else
			r->dels.v[kept++] = r->dels.v[i];
	}
	if (any)
		r->dels.n = kept;
	fl_map_deinit(&added);
}

static void write_rules(struct round *r, struct nft_batch *batch)
{
	const struct fl_proxy_backend *b = r->b;

	if (r->how == MAKE_TABLE) {
		nft_table(batch, NFT_MSG_NEWTABLE, NULL); // so that there is one to delete
		nft_table(batch, NFT_MSG_DELTABLE, NULL);
		nft_table(batch, NFT_MSG_NEWTABLE, b->version.frame);
		nft_layout_frame(batch);
	}
	if (r->how != CHANGE) {
		nft_layout_rules(batch, &b->cfg, r->how == REWRITE_RULES);
		nft_chain(batch, NFT_MSG_NEWCHAIN, b->version.rules_chain);
	}
	for (size_t i = 0; i < r->new_shapes.n; i++)
		nft_shape_rules(batch, &b->cfg, &r->new_shapes.v[i], r->how == REWRITE_RULES);
	for (size_t i = 0; i < r->dead_chains.n; i++)
		nft_chain(batch, NFT_MSG_DELCHAIN, r->dead_chains.v[i]);
}

static void write_elements(struct round *r, struct nft_batch *batch)
{
	write_elems(batch, NFT_MSG_DELSETELEM, r->dels.v, r->dels.n, &r->arena);
	write_elems(batch, NFT_MSG_NEWSETELEM, r->adds.v, r->adds.n, &r->arena);
}

static int commit(struct round *r, struct fl_err *err)
{
	AUTO(nft_batch_deinit) struct nft_batch rules, elements;
	bool has_rules, has_elements;
	int rc = 0;

	recycle(r);
	put_aside(r);
	has_rules = r->how != CHANGE || r->new_shapes.n || r->dead_chains.n;
	has_elements = r->adds.n || r->dels.n;
	nft_batch_init(&rules, r->b->nl);
	nft_batch_init(&elements, r->b->nl);
	if (has_rules)
		write_rules(r, &rules);
	if (r->how ==
	    MAKE_TABLE) // no rules without elements, so one transaction; there is no old state to be consistent with
		write_elements(r, &rules);
	else if (has_elements)
		write_elements(r, &elements);
	if (has_rules)
		rc = nft_batch_send(&rules, err);
	if (rc == 0 && has_elements && r->how != MAKE_TABLE)
		rc = nft_batch_send(&elements, err);
	return rc;
}

static int apply_full(struct round *r, const struct fl_proxy_delta *d, struct fl_err *err)
{
	struct fl_proxy_backend *b = r->b;
	struct nft_table_info table;
	int rc = nft_read_table(b->nl, &table, err);

	if (rc < 0 && rc != -ENOENT)
		return rc;
	if (rc == -ENOENT || !fl_streq(table.comment, b->version.frame))
		r->how = MAKE_TABLE;
	fl_map_deinit(&b->shapes);
	garbage_clear(&b->garbage); // what of it is there will be found
	if (r->how != MAKE_TABLE) {
		rc = read_kernel(r, err);
		if (rc < 0)
			return rc;
		if (!fl_map_del(&r->chains, b->version.rules_chain))
			r->how = REWRITE_RULES;
	}
	render(r, d);
	if (r->how != MAKE_TABLE)
		subtract_kernel(r);
	rc = commit(r, err);
	if (rc == 0)
		rc = nft_read_table(b->nl, &table, err);
	if (rc == -ENOENT)
		return fl_err_set(err, -ESTALE, "nftables: table " NFT_TABLE " went away");
	if (rc == 0)
		b->table_handle = table.handle;
	return rc;
}

static int nft_apply(struct fl_proxy_backend *b, const struct fl_proxy_delta *d, struct fl_err *err)
{
	AUTO(round_deinit) struct round r = {.b = b};

	if (d->full)
		return apply_full(&r, d, err);
	render(&r, d);
	return commit(&r, err);
}

// Removes the garbage that an earlier call has seen already. Returns 1 while there is more.
static int nft_tidy(struct fl_proxy_backend *b, struct fl_err *err)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	AUTO(nft_batch_deinit) struct nft_batch batch = {0};
	struct nft_elem *old = fl_arena_alloc(&a, (b->garbage.n + 1) * sizeof(*old));
	size_t n = 0;

	for (struct fl_map_iter it = {0}; fl_map_next(&b->garbage, &it);) {
		struct garbage *g = it.value;

		if (g->age++)
			old[n++] = g->elem;
	}
	if (n == 0)
		return b->garbage.n > 0;
	nft_batch_init(&batch, b->nl);
	write_elems(&batch, NFT_MSG_DELSETELEM, old, n, &a);
	for (size_t i = 0; i < n; i++) {
		if (is_shape_chain(old[i].chain))
			nft_chain(&batch, NFT_MSG_DELCHAIN, old[i].chain);
	}
	int rc = nft_batch_send(&batch, err);
	for (size_t i = 0; rc == 0 && i < n; i++) {
		struct elem_key key = elem_key(&old[i]);

		garbage_free(fl_map_del_n(&b->garbage, &key, sizeof(key)));
	}
	return rc < 0 ? rc : b->garbage.n > 0;
}

// ---- the rest of the interface

static void nft_close(struct fl_proxy_backend **b)
{
	if (!*b)
		return;
	fl_netlink_free(&(*b)->nl);
	fl_map_deinit(&(*b)->shapes);
	garbage_clear(&(*b)->garbage);
	free(*b);
	*b = NULL;
}

static int nft_open(const struct fl_proxy_backend_config *cfg, struct fl_proxy_backend **ret, struct fl_err *err)
{
	AUTO(nft_close) struct fl_proxy_backend *b = FL_NEW(struct fl_proxy_backend);
	struct nft_table_info table;

	b->cfg = *cfg;
	b->version = nft_layout_version(cfg);
	int rc = fl_netlink_open(NETLINK_NETFILTER, &b->nl, err);
	if (rc == 0)
		rc = nft_read_table(b->nl, &table,
				    err); // without the right or the subsystem the kernel refuses this too
	if (rc < 0 && rc != -ENOENT)
		return rc;
	*ret = TAKE_PTR(b);
	return 0;
}

static int nft_check(struct fl_proxy_backend *b, struct fl_err *err)
{
	struct nft_table_info table;
	int rc = nft_read_table(b->nl, &table, err);

	if (rc == -ENOENT || (rc == 0 && b->table_handle && table.handle != b->table_handle))
		return fl_err_set(err, -ESTALE, "nftables: somebody removed table " NFT_TABLE);
	return rc;
}

static int nft_text(struct fl_proxy_backend *b, struct fl_buf *ret, struct fl_err *err)
{
	return nft_dump(b->nl, ret, err);
}

static int nft_counters(struct fl_proxy_backend *b, struct fl_proxy_counter *ret, unsigned max, unsigned *ret_n,
			struct fl_err *err)
{
	return nft_read_counters(b->nl, ret, max, ret_n, err);
}

static int nft_cleanup(struct fl_err *err)
{
	AUTO(fl_netlink_free) struct fl_netlink *nl = NULL;
	AUTO(nft_batch_deinit) struct nft_batch batch = {0};
	struct nft_table_info table;
	int rc = fl_netlink_open(NETLINK_NETFILTER, &nl, err);

	if (rc == 0)
		rc = nft_read_table(nl, &table, err);
	if (rc < 0)
		return rc == -ENOENT ? 0 : rc;
	nft_batch_init(&batch, nl);
	nft_table(&batch, NFT_MSG_DELTABLE, NULL);
	return nft_batch_send(&batch, err);
}

const struct fl_proxy_backend_ops fl_proxy_nft_ops = {
    .name = "nftables",
    .open = nft_open,
    .close = nft_close,
    .apply = nft_apply,
    .tidy = nft_tidy,
    .check = nft_check,
    .dump = nft_text,
    .counters = nft_counters,
    .cleanup = nft_cleanup,
};
