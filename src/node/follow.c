// SPDX-License-Identifier: Apache-2.0
// See follow.h.
#include "node/follow.h"

#include <string.h>

#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "client/informer.h"

struct followed {
	struct fl_follow *f;
	bool secret;
	char *ns, *name;
	unsigned users;
	struct fl_informer *informer;
};

struct fl_follow {
	struct fl_client *c;
	void (*on_change)(void *arg, bool secret, const char *ns, const char *name, uint64_t rv);
	void *arg;
	struct fl_map objects; // "c/<ns>/<name>" -> struct followed
};

static void on_object(void *arg, const struct fl_object *old, const struct fl_object *now)
{
	struct followed *o = arg;

	o->f->on_change(o->f->arg, o->secret, o->ns, o->name, now ? now->rv : 0);
}

static void followed_free(struct followed *o)
{
	fl_informer_stop(&o->informer);
	free(o->ns);
	free(o->name);
	free(o);
}

static struct followed *followed_new(struct fl_follow *f, bool secret, const char *ns, const char *name)
{
	struct followed *o = FL_NEW(struct followed);
	AUTO_FREE char *selector = fl_asprintf("metadata.name=%s", name);
	struct fl_informer_opts opts = {.gvr = secret ? &fl_gvr_secrets : &fl_gvr_configmaps,
					.ns = ns,
					.field_selector = selector,
					.metadata_only = true,
					.on_change = on_object,
					.arg = o};
	struct fl_err err = {0};

	o->f = f;
	o->secret = secret;
	o->ns = fl_strdup(ns);
	o->name = fl_strdup(name);
	if (fl_informer_start(f->c, &opts, &o->informer, &err) < 0)
		fl_warn("%s %s/%s is not followed: %s", secret ? "secret" : "configmap", ns, name, err.text);
	return o;
}

struct fl_follow *
fl_follow_new(struct fl_client *c,
	      void (*on_change)(void *arg, bool secret, const char *ns, const char *name, uint64_t rv), void *arg)
{
	struct fl_follow *f = FL_NEW(struct fl_follow);

	f->c = c;
	f->on_change = on_change;
	f->arg = arg;
	return f;
}

void fl_follow_free(struct fl_follow **fp)
{
	struct fl_follow *f = TAKE_PTR(*fp);

	if (!f)
		return;
	for (struct fl_map_iter it = {0}; fl_map_next(&f->objects, &it);)
		followed_free(it.value);
	fl_map_deinit(&f->objects);
	free(f);
}

void fl_follow_want(struct fl_follow *f, bool secret, const char *ns, const char *name, bool on)
{
	AUTO_FREE char *key = fl_asprintf("%c/%s/%s", secret ? 's' : 'c', ns, name);
	struct followed *o = fl_map_get(&f->objects, key);

	if (on && !o) {
		o = followed_new(f, secret, ns, name);
		fl_map_set(&f->objects, key, o);
	}
	if (on) {
		o->users++;
	} else if (o && --o->users == 0) {
		fl_map_del(&f->objects, key);
		followed_free(o);
	}
}
