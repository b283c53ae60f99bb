// SPDX-License-Identifier: Apache-2.0
// Shared by the tests of src/proxy: objects from YAML, a core over the nftables backend in a network namespace of the
// test's own.
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "api/object.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/str.h"
#include "proxy/core.h"
#include "json/yaml.h"

// Puts this thread into a network namespace of its own, which goes with it. False where that is not allowed.
static inline bool own_netns(void)
{
	return unshare(CLONE_NEWNET) == 0;
}

// One YAML document as an object; what a server would have added and the test does not care for is filled in.
static inline struct fl_object *object_from_yaml(const char *text)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	struct fl_json *root = NULL;
	struct fl_object *o = NULL;
	struct fl_err err = {0};

	if (fl_yaml_parse(&a, text, strlen(text), NULL, &root, &err) < 0)
		fail_msg("%s\n%s", err.text, text);
	struct fl_json *meta = fl_json_ensure_object(&a, root, "metadata");
	if (!fl_json_str(meta, "namespace"))
		fl_json_set_str(&a, meta, "namespace", "default");
	if (!fl_json_str(meta, "uid"))
		fl_json_set_str(&a, meta, "uid", "00000000-0000-4000-8000-000000000000");
	fl_json_set_str(&a, meta, "resourceVersion", "1");
	fl_json_write(&b, root);
	bool slice = fl_streq(fl_json_str(root, "kind"), "EndpointSlice");
	const char *resource =
	    slice ? fl_resource_intern("discovery.k8s.io", "endpointslices") : fl_resource_intern("", "services");
	if (fl_object_parse(resource, b.data, b.len, &o, &err) < 0)
		fail_msg("%s\n%s", err.text, text);
	return o;
}

// A cluster in miniature: what was fed, so that it can be changed and deleted by name.
struct feed {
	struct fl_proxy_backend *backend;
	struct fl_proxy_core *core;
	struct fl_map objects; // "Kind namespace/name" -> struct fl_object
};

static inline void feed_init(struct feed *f, const struct fl_proxy_backend_config *cfg, const char *node_name)
{
	struct fl_err err = {0};

	*f = (struct feed){0};
	if (fl_proxy_nft_ops.open(cfg, &f->backend, &err) < 0)
		fail_msg("%s", err.text);
	f->core = fl_proxy_core_new(
	    &(struct fl_proxy_core_opts){.node_name = node_name, .ops = &fl_proxy_nft_ops, .backend = f->backend});
}

static inline void feed_change(struct feed *f, const char *key, struct fl_object *new_obj)
{
	struct fl_object *old = new_obj ? fl_map_set(&f->objects, key, new_obj) : fl_map_del(&f->objects, key);

	if (!old && !new_obj)
		fail_msg("no object %s", key);
	if (fl_starts_with(key, "Service "))
		fl_proxy_core_service(f->core, old, new_obj);
	else
		fl_proxy_core_slice(f->core, old, new_obj);
	fl_object_put(&old);
}

static inline void feed_delete(struct feed *f, const char *key)
{
	feed_change(f, key, NULL);
}

// Several documents, separated by lines of three dashes.
static inline void feed_apply(struct feed *f, const char *yaml)
{
	AUTO_FREE char *copy = fl_strdup(yaml);

	for (char *doc = copy; doc;) {
		char *next = strstr(doc, "\n---\n");

		if (next) {
			next[1] = '\0';
			next += 5;
		}
		if (doc[strspn(doc, " \n\t")]) {
			struct fl_object *o = object_from_yaml(doc);
			const char *kind = strstr(o->resource, "slices") ? "EndpointSlice" : "Service";
			AUTO_FREE char *key = fl_asprintf("%s %s/%s", kind, o->ns, o->name);

			feed_change(f, key, o);
		}
		doc = next;
	}
}

static inline void feed_sync(struct feed *f)
{
	struct fl_err err = {0};

	if (fl_proxy_core_sync(f->core, &err) < 0)
		fail_msg("%s", err.text);
}

// What was left for packets under way goes too.
static inline void feed_tidy(struct feed *f)
{
	struct fl_err err = {0};
	int rc;

	while ((rc = fl_proxy_nft_ops.tidy(f->backend, &err)) > 0)
		;
	if (rc < 0)
		fail_msg("%s", err.text);
}

static inline void feed_delete_all(struct feed *f)
{
	while (f->objects.n) {
		struct fl_map_iter it = {0};

		fl_map_next(&f->objects, &it);
		AUTO_FREE char *key = fl_strdup(it.key);
		feed_delete(f, key);
	}
}

// The process "dies": what is in the kernel stays.
static inline void feed_deinit(struct feed *f)
{
	for (struct fl_map_iter it = {0}; fl_map_next(&f->objects, &it);) {
		struct fl_object *o = it.value;

		fl_object_put(&o);
	}
	fl_map_deinit(&f->objects);
	fl_proxy_core_free(&f->core);
	if (f->backend)
		fl_proxy_nft_ops.close(&f->backend);
}

// free() it.
static inline char *kernel_text(struct feed *f)
{
	struct fl_buf b = {0};
	struct fl_err err = {0};

	feed_tidy(f);
	if (fl_proxy_nft_ops.dump(f->backend, &b, &err) < 0)
		fail_msg("%s", err.text);
	fl_buf_puts(&b, "");
	return fl_buf_take(&b);
}
