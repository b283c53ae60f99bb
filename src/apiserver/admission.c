// SPDX-License-Identifier: Apache-2.0
#include "apiserver/admission.h"

#include "base/mem.h"

bool fl_admission_namespace(struct fl_change *c)
{
	if (!c->kind->namespaced)
		return true;
	AUTO(fl_object_put)
	struct fl_object *ns = fl_store_head(c->s->store, c->s->namespaces, "", c->ns);
	if (!ns) {
		c->status = (struct fl_status){
		    .code = 404,
		    .reason = "NotFound",
		    .message = fl_arena_printf(c->a, "namespaces \"%s\" not found", c->ns),
		    .kind = "namespaces",
		    .name = c->ns,
		};
		return false;
	}
	if (ns == c->s->admitted) // mostly the same one again
		return true;
	if (!fl_json_str(fl_json_get(fl_object_tree(ns, c->a), "metadata"), "deletionTimestamp")) {
		fl_object_put(&c->s->admitted);
		c->s->admitted = TAKE_PTR(ns);
		return true;
	}
	struct fl_causes *causes = fl_arena_zalloc(c->a, sizeof(*causes));
	struct fl_cause *cause = fl_arena_zalloc(c->a, sizeof(*cause));
	*cause = (struct fl_cause){.type = FL_CAUSE_NAMESPACE_TERMINATING,
				   .field = "metadata.namespace",
				   .message = fl_arena_printf(c->a, "namespace %s is being terminated", c->ns)};
	*causes = (struct fl_causes){.arena = c->a, .v = cause, .n = 1, .cap = 1};
	c->status = (struct fl_status){
	    .code = 403,
	    .reason = "Forbidden",
	    .message = fl_arena_printf(c->a,
				       "%s%s%s \"%s\" is forbidden: unable to create new content in namespace %s "
				       "because it is being terminated",
				       c->kind->plural, c->kind->group[0] ? "." : "", c->kind->group,
				       c->name ? c->name : "", c->ns),
	    .group = c->kind->group,
	    .kind = c->kind->plural,
	    .name = c->name,
	    .causes = causes,
	};
	return false;
}

bool fl_admission_delete(struct fl_change *c)
{
	static const char *const immortal[] = {"default", "kube-system", "kube-public"};
	if (strcmp(c->kind->resource, "namespaces") != 0)
		return true;
	for (unsigned i = 0; i < FL_COUNT(immortal); i++) {
		if (strcmp(c->name, immortal[i]) != 0)
			continue;
		c->status = (struct fl_status){
		    .code = 403,
		    .reason = "Forbidden",
		    .message = fl_arena_printf(
			c->a, "namespaces \"%s\" is forbidden: this namespace may not be deleted", c->name),
		    .kind = "namespaces",
		    .name = c->name,
		};
		return false;
	}
	return true;
}
