// SPDX-License-Identifier: Apache-2.0
// The nftables backend: a delta becomes a transaction of element changes. Established connections are untouched by any
// of it: conntrack remembers where they go.
//
// Besides the rules themselves it keeps how many frontends lead to each chain, and how many chains use each affinity
// set, because these go with the last of their users.
//
// A full delta is compared with what the kernel holds, element by element, so a restart writes nothing when nothing
// changed meanwhile. When the rules are those of another version, or somebody flushed them, they are replaced over the
// same elements. When a table has other sets or is not there, both are made anew in one transaction: no packet sees a
// state without rules.
//
// A packet may be on its way through the rules while they change, and each of its look-ups sees the state of its own
// moment. What it may need after it has seen what leads there is therefore there first and goes last: chains are
// written in a transaction before the elements that lead to them; slots, chains and affinity sets become garbage, which
// tidy removes when every such packet is through. So do elements of empty-frontends: a packet that was there too early
// for an endpoint's element in frontends is still told that there is no endpoint, not that there is no such port.
#include <errno.h>
#include <string.h>

#include "base/arena.h"
#include "base/map.h"
#include "base/vec.h"
#include "proxy/nft/layout.h"
#include "proxy/nft/read.h"

enum kind { ELEM, CHAIN, SET };

// Something in the kernel, as the key of a map: an element by its set and key, a chain or an affinity set by its name.
struct thing {
	uint8_t kind, is6, set;
	uint8_t key[NFT_MAX_NAME];
};

struct garbage {
	struct nft_elem elem; // of an ELEM; without chain
	char *chain;          // its chain, the heap's
	unsigned age;         // calls of tidy it has seen
	bool outdated;        // of a CHAIN: its rules are not those that it should have
};

struct fl_proxy_backend {
	struct fl_proxy_backend_config cfg;
	struct fl_netlink *nl;
	bool family[2];           // which tables there are to be: ip, ip6
	uint64_t table_handle[2]; // of the tables that the last full apply left
	struct nft_version version;
	struct fl_map users;   // struct thing (CHAIN, SET) -> number of users
	struct fl_map garbage; // struct thing -> struct garbage: in the kernel, and nothing leads to it any more
};

enum how { CHANGE, REWRITE_RULES, MAKE_TABLES };

struct name {
	bool is6;
	const char *name;
};

struct new_chain {
	const struct fl_proxy_frontend *f; // one of those that lead to it
	bool guard, rewrite;               // rewrite: it may be there, with other rules
};

struct round {
	struct fl_proxy_backend *b;
	enum how how;
	struct fl_arena arena;
	FL_VEC(struct nft_elem) adds, dels;
	FL_VEC(struct new_chain) new_chains;
	FL_VEC(struct name) new_sets, old_rules; // old_rules: marks of other rules, to go with them
	struct fl_map found; // full delta: struct thing in the kernel -> struct nft_elem, or itself for chains and sets
};

static void garbage_free(struct garbage *g)
{
	if (!g)
		return;
	free(g->chain);
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
	fl_vec_deinit(&r->new_chains);
	fl_vec_deinit(&r->new_sets);
	fl_vec_deinit(&r->old_rules);
	fl_map_deinit(&r->found);
	fl_arena_deinit(&r->arena);
}

static struct thing thing_of(const struct nft_elem *e)
{
	struct thing t;

	memset(&t, 0, sizeof(t));
	t.kind = ELEM;
	t.is6 = e->is6;
	t.set = e->set;
	memcpy(t.key, e->key, e->key_len);
	return t;
}

static struct thing named(enum kind kind, bool is6, const char *name)
{
	struct thing t;

	memset(&t, 0, sizeof(t));
	t.kind = (uint8_t)kind;
	t.is6 = is6;
	memcpy(t.key, name, strnlen(name, sizeof(t.key) - 1));
	return t;
}

static bool same_elem(const struct nft_elem *a, const struct nft_elem *b)
{
	return a->data_len == b->data_len && memcmp(a->data, b->data, a->data_len) == 0 && fl_streq(a->chain, b->chain);
}

// ---- chains and affinity sets come and go with their users

// True when the number of users rises from or falls to none.
static bool count_user(struct fl_map *users, const struct thing *t, bool added)
{
	uintptr_t n = (uintptr_t)fl_map_get_n(users, t, sizeof(*t));

	n = added ? n + 1 : n - 1;
	if (n)
		(void)fl_map_set_n(users, t, sizeof(*t), (void *)n);
	else
		(void)fl_map_del_n(users, t, sizeof(*t));
	return n == (added ? 1 : 0);
}

static struct garbage *discard(struct fl_proxy_backend *b, const struct thing *t, const struct nft_elem *e)
{
	struct garbage *g = FL_NEW(struct garbage);

	if (e) {
		g->elem = *e;
		g->chain = e->chain ? fl_strdup(e->chain) : NULL;
		g->elem.chain = g->chain;
		g->elem.comment = NULL;
	}
	garbage_free(fl_map_set_n(&b->garbage, t, sizeof(*t), g));
	return g;
}

// Whether it is in the kernel already; it is no garbage and nothing left over then. *ret_outdated (may be NULL): with
// other rules.
static bool reuse(struct round *r, const struct thing *t, bool *ret_outdated)
{
	struct garbage *g = fl_map_del_n(&r->b->garbage, t, sizeof(*t));
	bool there = fl_map_del_n(&r->found, t, sizeof(*t)) || g;

	if (ret_outdated)
		*ret_outdated = r->how == REWRITE_RULES || (g && g->outdated);
	garbage_free(g);
	return there;
}

static void count_affinity_set(struct round *r, const struct fl_proxy_frontend *f, const struct fl_proxy_endpoint *e,
			       bool added)
{
	bool is6 = f->ip.family == AF_INET6;
	char name[NFT_MAX_NAME];

	nft_affinity_set(f->pool, e, name);
	struct thing t = named(SET, is6, name);
	if (!count_user(&r->b->users, &t, added))
		return;
	if (!added) {
		(void)discard(r->b, &t, NULL);
	} else if (!reuse(r, &t, NULL)) {
		struct name n = {is6, fl_arena_strdup(&r->arena, name)};

		fl_vec_push(&r->new_sets, n);
	}
}

static void count_affinity_sets(struct round *r, const struct fl_proxy_frontend *f, bool added)
{
	const struct fl_proxy_pool *p = f->pool;

	for (size_t i = 0; nft_uses_cluster(f) && i < p->n_cluster; i++)
		count_affinity_set(r, f, &p->cluster[i], added);
	for (size_t i = 0; nft_uses_local(f) && i < p->n_local; i++)
		count_affinity_set(r, f, &p->local[i], added);
}

// One more or one less user of a chain. True when it is the first or was the last.
static bool count_chain(struct round *r, const struct fl_proxy_frontend *f, const char *name, bool guard, bool added)
{
	struct thing t = named(CHAIN, f->ip.family == AF_INET6, name);
	struct new_chain c = {.f = f, .guard = guard};

	if (!count_user(&r->b->users, &t, added))
		return false;
	if (!added) {
		(void)discard(r->b, &t, NULL);
	} else if (!reuse(r, &t, &c.rewrite) || c.rewrite) {
		fl_vec_push(&r->new_chains, c);
	}
	return true;
}

// Returns the name of the chain that the frontend leads to.
static const char *count_chains(struct round *r, const struct fl_proxy_frontend *f, bool added)
{
	char name[NFT_MAX_NAME], guard[NFT_MAX_NAME];

	if (nft_chain_of(f, name) && count_chain(r, f, name, false, added) && f->affinity_s)
		count_affinity_sets(r, f, added);
	if (!nft_guard_of(f, guard))
		return fl_arena_strdup(&r->arena, name);
	(void)count_chain(r, f, guard, true, added); // after the chain that it leads to
	return fl_arena_strdup(&r->arena, guard);
}

// ---- delta -> elements

// Old and new of one key; either may be NULL.
static void change_elem(struct round *r, const struct nft_elem *old, const struct nft_elem *now)
{
	if (old && now && same_elem(old, now))
		return;
	if (old)
		fl_vec_push(&r->dels, *old);
	if (now)
		fl_vec_push(&r->adds, *now);
}

static const struct fl_proxy_endpoint *slots_of(const struct fl_proxy_frontend *f, bool local, uint32_t *ret_n)
{
	*ret_n = 0;
	if (!f || f->affinity_s || !(local ? nft_uses_local(f) : nft_uses_cluster(f)))
		return NULL;
	*ret_n = local ? f->pool->n_local : f->pool->n_cluster;
	return local ? f->pool->local : f->pool->cluster;
}

static void change_slots(struct round *r, const struct fl_proxy_frontend_change *c, bool local)
{
	uint32_t n_old, n_new, first = local ? NFT_LOCAL_SLOT : 0;
	const struct fl_proxy_endpoint *old = slots_of(c->old, local, &n_old);
	const struct fl_proxy_endpoint *now = slots_of(c->new_frontend, local, &n_new);

	for (uint32_t i = 0; i < n_old || i < n_new; i++) {
		struct nft_elem a, b;

		if (i < n_old)
			a = nft_slot_elem(c->old, first + i, &old[i]);
		if (i < n_new)
			b = nft_slot_elem(c->new_frontend, first + i, &now[i]);
		change_elem(r, i < n_old ? &a : NULL, i < n_new ? &b : NULL);
	}
}

static void change_frontend(struct round *r, const struct fl_proxy_frontend_change *c, const char *new_chain)
{
	struct nft_elem old, now, old_masq, new_masq;
	bool has_old_masq = c->old && nft_masq_elem(c->old, &old_masq);
	bool has_new_masq = c->new_frontend && nft_masq_elem(c->new_frontend, &new_masq);

	if (c->old)
		old = nft_frontend_elem(c->old, count_chains(r, c->old, false));
	if (c->new_frontend)
		now = nft_frontend_elem(c->new_frontend, new_chain);
	change_elem(r, c->old ? &old : NULL, c->new_frontend ? &now : NULL);
	change_elem(r, has_old_masq ? &old_masq : NULL, has_new_masq ? &new_masq : NULL);
	change_slots(r, c, false);
	change_slots(r, c, true);
}

static bool has_table(const struct fl_proxy_backend *b, const struct fl_ip *ip)
{
	return b->family[ip->family == AF_INET6];
}

static void render(struct round *r, const struct fl_proxy_delta *d)
{
	const char **chains = fl_arena_zalloc(&r->arena, (d->n_frontends + 1) * sizeof(*chains));

	// All that is new before all that is old: a chain that one frontend leaves and another joins stays.
	for (size_t i = 0; i < d->n_frontends; i++) {
		const struct fl_proxy_frontend *f = d->frontends[i].new_frontend;

		if (f && has_table(r->b, &f->ip))
			chains[i] = count_chains(r, f, true);
	}
	for (size_t i = 0; i < d->n_frontends; i++) {
		const struct fl_proxy_frontend_change *c = &d->frontends[i];

		if (has_table(r->b, c->old ? &c->old->ip : &c->new_frontend->ip))
			change_frontend(r, c, chains[i]);
	}
	for (size_t i = 0; i < d->n_vips + d->n_locals; i++) {
		bool vip = i < d->n_vips;
		const struct fl_proxy_ip_change *c = vip ? &d->vips[i] : &d->locals[i - d->n_vips];
		struct nft_elem e = vip ? nft_cluster_ip_elem(&c->ip) : nft_local_elem(&c->ip);

		if (has_table(r->b, &c->ip))
			change_elem(r, c->added ? NULL : &e, c->added ? &e : NULL);
	}
}

// ---- what the kernel holds

static void remember_elem(void *arg, const struct nft_elem *e)
{
	struct round *r = arg;
	struct thing t = thing_of(e);
	struct nft_elem *copy = fl_arena_alloc(&r->arena, sizeof(*copy));

	*copy = *e;
	copy->chain = e->chain ? fl_arena_strdup(&r->arena, e->chain) : NULL;
	copy->comment = NULL;
	(void)fl_map_set_n(&r->found, &t, sizeof(t), copy);
}

struct reader {
	struct round *r;
	bool is6, same_rules;
};

static void remember_chain(void *arg, const struct nft_chain_info *c)
{
	struct reader *reader = arg;
	struct round *r = reader->r;
	const char *name = c->name;
	struct thing t = named(CHAIN, reader->is6, name);

	if (fl_streq(name, r->b->version.rules_chain)) {
		reader->same_rules = c->use > 0;
	} else if (fl_starts_with(name, NFT_RULES_PREFIX)) {
		struct name n = {reader->is6, fl_arena_strdup(&r->arena, name)};

		fl_vec_push(&r->old_rules, n);
	} else if (nft_is_own_chain(name)) {
		(void)fl_map_set_n(&r->found, &t, sizeof(t), r);
	}
}

static void remember_set(void *arg, const char *name)
{
	struct reader *reader = arg;
	struct thing t = named(SET, reader->is6, name);

	if (fl_starts_with(name, NFT_AFFINITY_PREFIX))
		(void)fl_map_set_n(&reader->r->found, &t, sizeof(t), reader->r);
}

static int read_kernel(struct round *r, struct fl_err *err)
{
	struct fl_netlink *nl = r->b->nl;

	for (unsigned is6 = 0; is6 < 2; is6++) {
		struct reader reader = {.r = r, .is6 = is6};

		if (!r->b->family[is6])
			continue;
		int rc = nft_read_chains(nl, is6, remember_chain, &reader, err);
		if (rc == 0)
			rc = nft_read_sets(nl, is6, remember_set, &reader, err);
		for (unsigned set = 0; rc == 0 && set < NFT_SET_COUNT; set++)
			rc = nft_read_elems(nl, is6, set, remember_elem, r, err);
		if (rc < 0)
			return rc;
		if (!reader.same_rules)
			r->how = REWRITE_RULES;
	}
	return 0;
}

// Leaves in adds what is not there yet, puts into dels or the garbage what is there and should not be.
static void subtract_kernel(struct round *r)
{
	size_t kept = 0;

	for (size_t i = 0; i < r->adds.n; i++) {
		struct thing t = thing_of(&r->adds.v[i]);
		const struct nft_elem *there = fl_map_del_n(&r->found, &t, sizeof(t));

		if (there && same_elem(there, &r->adds.v[i]))
			continue;
		if (there)
			fl_vec_push(&r->dels, *there);
		r->adds.v[kept++] = r->adds.v[i];
	}
	r->adds.n = kept;
	for (struct fl_map_iter it = {0}; fl_map_next(&r->found, &it);) {
		struct thing t;

		memcpy(&t, it.key, sizeof(t));
		if (t.kind == ELEM)
			fl_vec_push(&r->dels, *(const struct nft_elem *)it.value);
		else
			discard(r->b, &t, NULL)->outdated = r->how == REWRITE_RULES;
	}
}

// ---- garbage

// What is about to be added and lies in the garbage is there already, or is replaced.
static void recycle(struct round *r)
{
	struct fl_map *garbage = &r->b->garbage;
	size_t kept = 0;

	if (!garbage->n)
		return;
	for (size_t i = 0; i < r->adds.n; i++) {
		struct thing t = thing_of(&r->adds.v[i]);
		struct garbage *g = fl_map_del_n(garbage, &t, sizeof(t));
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
	return e->set == NFT_SLOTS || e->set == NFT_NODE_PORT_SLOTS || e->set == NFT_EMPTY_FRONTENDS;
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
		struct thing t = thing_of(&r->adds.v[i]);

		if (goes_last(&r->adds.v[i]))
			(void)fl_map_set_n(&added, &t, sizeof(t), r);
	}
	for (size_t i = 0; any && i < r->dels.n; i++) {
		struct thing t = thing_of(&r->dels.v[i]);

		if (goes_last(&r->dels.v[i]) && !fl_map_get_n(&added, &t, sizeof(t)))
			(void)discard(r->b, &t, &r->dels.v[i]);
		else
			r->dels.v[kept++] = r->dels.v[i];
	}
	if (any)
		r->dels.n = kept;
	fl_map_deinit(&added);
}

// ---- the transactions

static void write_elems(struct nft_batch *batch, uint16_t msg_type, const struct nft_elem *list, size_t n,
			struct fl_arena *a)
{
	const struct nft_elem **of_set = fl_arena_alloc(a, (n + 1) * sizeof(*of_set));

	for (unsigned i = 0; n && i < 2 * NFT_SET_COUNT; i++) {
		unsigned set = i / 2, is6 = i % 2;
		size_t count = 0;

		for (size_t k = 0; k < n; k++) {
			if (list[k].set == set && list[k].is6 == is6)
				of_set[count++] = &list[k];
		}
		batch->family = nft_family(is6);
		nft_elems(batch, msg_type, nft_set_def(set, is6).name, of_set, count);
	}
}

static void write_rules(struct round *r, struct nft_batch *batch)
{
	const struct fl_proxy_backend *b = r->b;
	uint32_t set_id = NFT_SET_COUNT + 1;

	for (unsigned is6 = 0; is6 < 2; is6++) {
		batch->family = nft_family(is6);
		if (r->how == MAKE_TABLES) {
			nft_table(batch, NFT_MSG_NEWTABLE, NULL); // so that there is one to delete
			nft_table(batch, NFT_MSG_DELTABLE, NULL);
		}
		if (!b->family[is6] || r->how == CHANGE)
			continue;
		if (r->how == MAKE_TABLES) {
			nft_table(batch, NFT_MSG_NEWTABLE, b->version.frame);
			nft_layout_frame(batch);
		}
		nft_layout_rules(batch, &b->cfg, r->how == REWRITE_RULES);
		nft_layout_mark(batch, &b->version);
	}
	for (size_t i = 0; i < r->old_rules.n; i++) {
		batch->family = nft_family(r->old_rules.v[i].is6);
		nft_flush_chain(batch, r->old_rules.v[i].name);
		nft_chain(batch, NFT_MSG_DELCHAIN, r->old_rules.v[i].name);
	}
	for (size_t i = 0; i < r->new_sets.n; i++) {
		struct nft_set_def def = nft_affinity_def(r->new_sets.v[i].name, r->new_sets.v[i].is6);

		batch->family = nft_family(r->new_sets.v[i].is6);
		nft_set(batch, &def, set_id++);
	}
	for (size_t i = 0; i < r->new_chains.n; i++) {
		const struct new_chain *c = &r->new_chains.v[i];

		batch->family = nft_family(c->f->ip.family == AF_INET6);
		if (c->guard)
			nft_guard_rules(batch, c->f, c->rewrite);
		else
			nft_chain_rules(batch, &b->cfg, c->f, c->rewrite);
	}
}

static void write_elements(struct round *r, struct nft_batch *batch)
{
	write_elems(batch, NFT_MSG_DELSETELEM, r->dels.v, r->dels.n, &r->arena);
	write_elems(batch, NFT_MSG_NEWSETELEM, r->adds.v, r->adds.n, &r->arena);
}

static int commit(struct round *r, struct fl_err *err)
{
	AUTO(nft_batch_deinit) struct nft_batch rules, elements;
	bool has_rules = r->how != CHANGE || r->new_chains.n || r->new_sets.n || r->old_rules.n;
	int rc = 0;

	recycle(r);
	put_aside(r);
	bool has_elements = r->adds.n || r->dels.n;
	nft_batch_init(&rules, r->b->nl, NFT_TABLE);
	nft_batch_init(&elements, r->b->nl, NFT_TABLE);
	if (has_rules)
		write_rules(r, &rules);
	if (r->how == MAKE_TABLES) // no rules without elements, so one transaction; no packet has seen these tables yet
		write_elements(r, &rules);
	else if (has_elements)
		write_elements(r, &elements);
	if (has_rules)
		rc = nft_batch_send(&rules, err);
	if (rc == 0 && has_elements && r->how != MAKE_TABLES)
		rc = nft_batch_send(&elements, err);
	return rc;
}

// Compares both tables with what they should be: sets *ret_how, and their handles.
static int look_at_tables(struct fl_proxy_backend *b, enum how *ret_how, struct fl_err *err)
{
	*ret_how = CHANGE;
	for (unsigned is6 = 0; is6 < 2; is6++) {
		struct nft_table_info table;
		int rc = nft_read_table(b->nl, is6, &table, err);

		if (rc < 0 && rc != -ENOENT)
			return rc;
		bool is_there = rc == 0;
		if (is_there != b->family[is6] || (is_there && !fl_streq(table.comment, b->version.frame)))
			*ret_how = MAKE_TABLES;
		b->table_handle[is6] = is_there ? table.handle : 0;
	}
	return 0;
}

static int apply_full(struct round *r, const struct fl_proxy_delta *d, struct fl_err *err)
{
	struct fl_proxy_backend *b = r->b;
	enum how how;
	int rc = look_at_tables(b, &r->how, err);

	if (rc < 0)
		return rc;
	fl_map_deinit(&b->users);
	garbage_clear(&b->garbage); // what of it is there will be found
	if (r->how != MAKE_TABLES)
		rc = read_kernel(r, err);
	if (rc < 0)
		return rc;
	render(r, d);
	if (r->how != MAKE_TABLES)
		subtract_kernel(r);
	rc = commit(r, err);
	if (rc == 0)
		rc = look_at_tables(b, &how, err);
	if (rc == 0 && how != CHANGE)
		rc = fl_err_set(err, -ESTALE, "nftables: table " NFT_TABLE " went away");
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
	struct nft_elem *elems = fl_arena_alloc(&a, (b->garbage.n + 1) * sizeof(*elems));
	struct thing *old = fl_arena_alloc(&a, (b->garbage.n + 1) * sizeof(*old));
	size_t n = 0, n_elems = 0;

	for (struct fl_map_iter it = {0}; fl_map_next(&b->garbage, &it);) {
		struct garbage *g = it.value;

		if (!g->age++)
			continue;
		memcpy(&old[n], it.key, sizeof(*old));
		if (old[n++].kind == ELEM)
			elems[n_elems++] = g->elem;
	}
	if (n == 0)
		return b->garbage.n > 0;
	nft_batch_init(&batch, b->nl, NFT_TABLE);
	write_elems(&batch, NFT_MSG_DELSETELEM, elems, n_elems, &a);
	for (unsigned kind = CHAIN; kind <= SET; kind++) { // chains use sets; guards lead to other chains
		for (size_t i = 0; kind == CHAIN && i < n; i++) {
			batch.family = nft_family(old[i].is6);
			if (old[i].kind == CHAIN)
				nft_flush_chain(&batch, (const char *)old[i].key);
		}
		for (size_t i = 0; i < n; i++) {
			batch.family = nft_family(old[i].is6);
			if (old[i].kind == kind && kind == CHAIN)
				nft_chain(&batch, NFT_MSG_DELCHAIN, (const char *)old[i].key);
			else if (old[i].kind == kind)
				nft_del_set(&batch, (const char *)old[i].key);
		}
	}
	int rc = nft_batch_send(&batch, err);
	for (size_t i = 0; rc == 0 && i < n; i++)
		garbage_free(fl_map_del_n(&b->garbage, &old[i], sizeof(old[i])));
	return rc < 0 ? rc : b->garbage.n > 0;
}

// ---- the rest of the interface

static void nft_close(struct fl_proxy_backend **b)
{
	if (!*b)
		return;
	fl_netlink_free(&(*b)->nl);
	fl_map_deinit(&(*b)->users);
	garbage_clear(&(*b)->garbage);
	free(*b);
	*b = NULL;
}

static int nft_open(const struct fl_proxy_backend_config *cfg, struct fl_proxy_backend **ret, struct fl_err *err)
{
	AUTO(nft_close) struct fl_proxy_backend *b = FL_NEW(struct fl_proxy_backend);
	struct nft_table_info table;

	b->cfg = *cfg;
	for (unsigned i = 0; i < cfg->n_service_cidrs; i++)
		b->family[cfg->service_cidrs[i].ip.family == AF_INET6] = true;
	if (!cfg->n_service_cidrs) // not told: Services of either family may come
		b->family[0] = b->family[1] = true;
	b->version = nft_layout_version(cfg);
	int rc = fl_netlink_open(NETLINK_NETFILTER, &b->nl, err);
	if (rc == 0)
		rc = nft_read_table(b->nl, false, &table, err); // refused without the right or the subsystem
	if (rc < 0 && rc != -ENOENT)
		return rc;
	*ret = TAKE_PTR(b);
	return 0;
}

static int check_table(struct fl_proxy_backend *b, bool is6, struct fl_err *err)
{
	struct nft_table_info table;
	uint32_t marks = 0;
	int rc = nft_read_table(b->nl, is6, &table, err);
	bool same_table = rc == 0 && table.handle == b->table_handle[is6];

	if (same_table)
		rc = nft_read_chain_use(b->nl, nft_family(is6), NFT_TABLE, b->version.rules_chain, &marks, err);
	if (rc < 0 && rc != -ENOENT)
		return rc;
	if (marks)
		return 0;
	return fl_err_set(err, -ESTALE, "nftables: somebody removed %s %s " NFT_TABLE,
			  same_table ? "the rules of table" : "table", is6 ? "ip6" : "ip");
}

static int nft_check(struct fl_proxy_backend *b, struct fl_err *err)
{
	int rc = 0;

	for (unsigned is6 = 0; rc == 0 && is6 < 2; is6++) {
		if (b->family[is6] && b->table_handle[is6])
			rc = check_table(b, is6, err);
	}
	return rc;
}

static int nft_text(struct fl_proxy_backend *b, struct fl_buf *ret, struct fl_err *err)
{
	int rc = 0;

	for (unsigned is6 = 0; rc == 0 && is6 < 2; is6++) {
		if (b->family[is6])
			rc = nft_dump(b->nl, is6, ret, err);
	}
	return rc;
}

static int nft_counters(struct fl_proxy_backend *b, struct fl_proxy_counter *ret, unsigned max, unsigned *ret_n,
			struct fl_err *err)
{
	struct fl_proxy_counter all[NFT_COUNTERS] = {0};
	int rc = 0;
	unsigned n = 0;

	for (unsigned is6 = 0; rc == 0 && is6 < 2; is6++) {
		if (b->family[is6])
			rc = nft_read_counters(b->nl, is6, all, err);
	}
	for (unsigned i = 0; rc == 0 && i < NFT_COUNTERS && n < max; i++) {
		if (all[i].name)
			ret[n++] = all[i];
	}
	if (rc == 0)
		*ret_n = n;
	return rc;
}

static int nft_cleanup(struct fl_err *err)
{
	AUTO(fl_netlink_free) struct fl_netlink *nl = NULL;
	AUTO(nft_batch_deinit) struct nft_batch batch = {0};
	bool any = false;
	int rc = fl_netlink_open(NETLINK_NETFILTER, &nl, err);

	if (rc < 0)
		return rc;
	nft_batch_init(&batch, nl, NFT_TABLE);
	for (unsigned is6 = 0; is6 < 2; is6++) {
		struct nft_table_info table;

		rc = nft_read_table(nl, is6, &table, err);
		if (rc < 0 && rc != -ENOENT)
			return rc;
		batch.family = nft_family(is6);
		if (rc == 0)
			nft_table(&batch, NFT_MSG_DELTABLE, NULL);
		any |= rc == 0;
	}
	return any ? nft_batch_send(&batch, err) : 0;
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
