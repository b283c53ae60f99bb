// SPDX-License-Identifier: Apache-2.0
#include "apiserver/admission.h"

#include <inttypes.h>
#include <stdarg.h>

#include "api/priority.h"
#include "api/validate.h"
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

__attribute__((format(printf, 3, 4))) static bool forbid_pod(struct fl_change *c, const struct fl_json *pod,
							     const char *format, ...)
{
	const struct fl_json *meta = fl_json_get(pod, "metadata");
	const char *name = fl_json_str(meta, "generateName");
	AUTO(fl_buf_deinit) struct fl_buf why = {0};
	va_list ap;
	va_start(ap, format);
	fl_buf_vprintf(&why, format, ap);
	va_end(ap);
	if (fl_str_empty(name))
		name = fl_json_str_or(meta, "name", "");
	c->status = (struct fl_status){
	    .code = 403,
	    .reason = "Forbidden",
	    .message = fl_arena_printf(c->a, "pods \"%s\" is forbidden: %s", name, why.data),
	    .kind = "pods",
	    .name = fl_arena_strdup(c->a, name),
	};
	return false;
}

static bool admit_account(struct fl_change *c, const struct fl_json *pod, const struct fl_json *spec)
{
	const char *name = fl_json_str_or(spec, "serviceAccountName", fl_json_str_or(spec, "serviceAccount", ""));
	// What can be no name is left to validation, which names the field.
	if (!*name || !strcmp(name, "default") || fl_check_dns1123_subdomain(c->a, name))
		return true;
	AUTO(fl_object_put)
	struct fl_object *o = fl_store_head(c->s->store, fl_resource_intern("", "serviceaccounts"), c->ns, name);
	return o || forbid_pod(c, pod, "error looking up service account %s/%s: serviceaccount \"%s\" not found", c->ns,
			       name, name);
}

static bool admit_priority(struct fl_change *c, const struct fl_json *pod, const struct fl_json *spec)
{
	const char *class = fl_json_str_or(spec, "priorityClassName", "");
	const struct fl_json *given = fl_json_get(spec, "priority");
	int64_t priority;
	if (!fl_pod_priority(class, &priority))
		return forbid_pod(c, pod, "no PriorityClass with name %s was found", class);
	if (fl_json_is(given, FL_JSON_INT) && given->i != priority)
		return forbid_pod(c, pod,
				  "the integer value of priority (%" PRId64
				  ") must not be provided in pod spec; priority admission controller computed %" PRId64
				  " from the given PriorityClass name",
				  given->i, priority);
	return true;
}

bool fl_admission_pod(struct fl_change *c, const struct fl_json *pod)
{
	const struct fl_json *spec = fl_json_get(pod, "spec");
	const char *runtime = fl_json_str_or(spec, "runtimeClassName", "");
	if (strcmp(c->kind->resource, "pods") != 0)
		return true;
	if (*runtime)
		return forbid_pod(c, pod, "pod rejected: RuntimeClass \"%s\" not found", runtime);
	return admit_priority(c, pod, spec) && admit_account(c, pod, spec);
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
