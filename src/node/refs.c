// SPDX-License-Identifier: Apache-2.0
// The ConfigMaps and Secrets that a pod refers to: read as a whole before its first container, followed from then on,
// and read again when one changes. Volumes show the change within moments; environments with the next start of a
// container.
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "node/pod.h"

#define REFETCH_MS 2000

struct fl_docs *fl_docs_get(struct fl_docs *d)
{
	d->refs++;
	return d;
}

void fl_docs_put(struct fl_docs **dp)
{
	struct fl_docs *d = TAKE_PTR(*dp);

	if (!d || --d->refs)
		return;
	fl_map_deinit(&d->by_key);
	fl_arena_deinit(&d->arena);
	free(d);
}

const struct fl_json *fl_docs_lookup(void *docs, bool secret, const char *name)
{
	const struct fl_docs *d = docs;
	AUTO_FREE char *key = fl_asprintf("%c/%s", secret ? 's' : 'c', name);

	return d ? fl_map_get(&d->by_key, key) : NULL;
}

// --- reading ---

struct fetch {
	struct pod *pod;
	char *key;
};

// A container that wanted what was missing tries again at once.
static void wake_containers(struct pod *p)
{
	for (unsigned i = 0; i < p->n_containers; i++) {
		struct container *c = &p->containers[i];

		if (c->state == CONTAINER_WAITING && fl_streq(c->wait_reason, "CreateContainerConfigError"))
			c->not_before_ms = 0;
	}
}

static void fetch_done(struct pod *p)
{
	if (p->fetch_failed) {
		fl_docs_put(&p->next);
		p->retry_at_ms = uv_now(p->pods->o.loop) + REFETCH_MS;
	} else {
		fl_docs_put(&p->docs);
		p->docs = TAKE_PTR(p->next);
		p->volumes_stale = true;
		wake_containers(p);
	}
	if (!p->dead)
		fl_pod_kick(p);
}

static void on_fetched(void *arg, int rc, const struct fl_json *body)
{
	struct fetch *f = arg;
	struct pod *p = f->pod;

	if (rc == 0 && body)
		fl_map_set(&p->next->by_key, f->key, fl_json_clone(&p->next->arena, body));
	else if (rc != -ENOENT)
		p->fetch_failed = true; // what does not exist is the container's or volume's error, told there
	free(f->key);
	free(f);
	if (--p->fetches == 0)
		fetch_done(p);
	fl_pod_unref(p);
}

static void on_reference(void *arg, bool secret, const char *name)
{
	struct pod *p = arg;
	const struct fl_pods_api *api = p->pods->o.api;
	AUTO_FREE char *key = fl_asprintf("%c/%s", secret ? 's' : 'c', name);
	struct fetch *f;

	if (fl_map_get(&p->next->by_key, key))
		return;
	fl_map_set(&p->next->by_key, key, p); // asked for; see fl_pod_fetch
	if (!fl_map_get(&p->named, key)) {
		fl_map_set(&p->named, key, p);
		api->follow(p->pods->o.api_arg, secret, p->ns, name, true);
	}
	f = FL_NEW(struct fetch);
	f->pod = p;
	f->key = TAKE_PTR(key);
	p->fetches++;
	fl_pod_ref(p);
	api->fetch(p->pods->o.api_arg, secret, p->ns, name, on_fetched, f);
}

void fl_pod_fetch(struct pod *p)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	struct fl_pod_spec spec = {0};

	p->fetch_failed = p->docs_stale = p->docs_missing = false;
	fl_docs_put(&p->next);
	p->next = FL_NEW(struct fl_docs);
	p->next->refs = 1;
	if (fl_pod_spec_read(&a, fl_object_tree(p->obj, &a), &spec, NULL) == 0)
		fl_pod_references(&spec, on_reference, p);
	fl_map_deinit(&p->next->by_key); // no answer came yet: these were marks
	if (p->fetches == 0)
		fetch_done(p);
}

void fl_pod_refs_look(struct pod *p, uint64_t *next)
{
	uint64_t now = uv_now(p->pods->o.loop);

	if (!p->fetches && (p->fetch_failed || p->docs_stale || p->docs_missing)) {
		if (p->docs_stale || now >= p->retry_at_ms)
			fl_pod_fetch(p);
		else
			fl_earliest(next, p->retry_at_ms);
	}
	if (p->volumes_stale && p->docs && !p->updating) {
		p->volumes_stale = false;
		fl_pod_update_start(p);
	}
}

// --- following ---

void fl_pod_unfollow(struct pod *p)
{
	for (struct fl_map_iter it = {0}; fl_map_next(&p->named, &it);)
		p->pods->o.api->follow(p->pods->o.api_arg, it.key[0] == 's', p->ns, it.key + 2, false);
	fl_map_deinit(&p->named);
}

// Whether the pod has read the object as it is now.
static bool knows(const struct pod *p, const char *key, uint64_t rv)
{
	const struct fl_json *doc = p->docs ? fl_map_get(&p->docs->by_key, key) : NULL;
	char text[24];

	snprintf(text, sizeof(text), "%" PRIu64, rv);
	return doc ? rv && fl_streq(fl_json_str(fl_json_get(doc, "metadata"), "resourceVersion"), text)
		   : p->docs && !rv;
}

void fl_pods_changed(struct fl_pods *pods, bool secret, const char *ns, const char *name, uint64_t rv)
{
	AUTO_FREE char *key = fl_asprintf("%c/%s", secret ? 's' : 'c', name);

	for (struct fl_map_iter it = {0}; fl_map_next(&pods->table, &it);) {
		struct pod *p = it.value;

		if (strcmp(p->ns, ns) != 0 || !fl_map_get(&p->named, key) || knows(p, key, rv))
			continue;
		p->docs_stale = true;
		if (p->stage == POD_SETUP_WAIT)
			p->retry_at_ms = uv_now(pods->o.loop);
		fl_pod_kick(p);
	}
}
