// SPDX-License-Identifier: Apache-2.0
// Environment and command line of a container. See env.h.
#include "node/env.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/map.h"
#include "base/mem.h"

// The environment while it grows.
struct set {
	struct fl_arena *a;
	struct fl_json *list;
	struct fl_map by_name; // name -> struct fl_json of the list
	struct fl_map visible; // the same, of those that $(NAME) sees
};

static void set_deinit(struct set *s)
{
	fl_map_deinit(&s->by_name);
	fl_map_deinit(&s->visible);
}

// `entry`: "NAME=value".
static void set_entry(struct set *s, const char *entry, bool visible)
{
	size_t n = strcspn(entry, "=");
	struct fl_json *now = fl_json_new_str(s->a, entry), *old = fl_map_get_n(&s->by_name, entry, n);

	if (old) {
		old->str.s = now->str.s;
		old->str.len = now->str.len;
		now = old;
	} else {
		fl_json_append(s->list, now);
		fl_map_set_n(&s->by_name, entry, n, now);
	}
	if (visible)
		fl_map_set_n(&s->visible, entry, n, now);
}

static void env_set(struct set *s, const char *name, const char *value)
{
	set_entry(s, fl_arena_printf(s->a, "%s=%s", name, value), true);
}

typedef const char *(*value_of_fn)(const void *arg, const char *name, size_t n);

static const char *value_in_set(const void *arg, const char *name, size_t n)
{
	const struct set *s = arg;
	const struct fl_json *e = fl_map_get_n(&s->visible, name, n);

	return e ? e->str.s + n + 1 : NULL;
}

static const char *value_in_list(const void *arg, const char *name, size_t n)
{
	fl_json_each (e, (const struct fl_json *)arg) {
		if (strncmp(e->str.s, name, n) == 0 && e->str.s[n] == '=')
			return e->str.s + n + 1;
	}
	return NULL;
}

static const char *expand(struct fl_arena *a, const char *text, value_of_fn value_of, const void *arg)
{
	AUTO(fl_buf_deinit) struct fl_buf b = {0};

	if (!strchr(text, '$'))
		return fl_arena_strdup(a, text);
	while (*text) {
		const char *close = text[0] == '$' && text[1] == '(' ? strchr(text, ')') : NULL;

		if (close) {
			const char *value = value_of(arg, text + 2, (size_t)(close - text) - 2);

			if (value)
				fl_buf_puts(&b, value);
			else
				fl_buf_append(&b, text, (size_t)(close - text) + 1);
			text = close + 1;
		} else if (text[0] == '$' && text[1] == '$') {
			fl_buf_putc(&b, '$');
			text += 2;
		} else {
			fl_buf_putc(&b, *text++);
		}
	}
	return fl_arena_strdup(a, b.data ? b.data : "");
}

const char *fl_env_expand(struct fl_arena *a, const char *text, const struct fl_json *env)
{
	return expand(a, text, value_in_list, env);
}

static const char *ips_text(struct fl_arena *a, const struct fl_ip *ips, unsigned n)
{
	char one[FL_IP_STRLEN];
	const char *all = "";

	for (unsigned i = 0; i < n; i++)
		all = fl_arena_printf(a, "%s%s%s", all, i ? "," : "", fl_ip_format(&ips[i], one));
	return all;
}

// metadata.labels['x'] and metadata.annotations['x'].
static const char *map_field(struct fl_arena *a, const struct fl_pod_spec *p, const char *path)
{
	const char *open = strchr(path, '['), *key;
	size_t n;

	if (!open || (open[1] != '\'' && open[1] != '"'))
		return NULL;
	key = open + 2;
	n = strcspn(key, "'\"");
	if (strcmp(key + n, open[1] == '\'' ? "']" : "\"]") != 0)
		return NULL;
	if (fl_starts_with(path, "metadata.labels["))
		return fl_json_str_or(fl_json_get(p->meta, "labels"), fl_arena_strndup(a, key, n), "");
	if (fl_starts_with(path, "metadata.annotations["))
		return fl_json_str_or(fl_json_get(p->meta, "annotations"), fl_arena_strndup(a, key, n), "");
	return NULL;
}

const char *fl_env_field(struct fl_arena *a, const struct fl_env_source *s, const char *path)
{
	const struct fl_pod_spec *p = s->pod;
	char one[FL_IP_STRLEN];

	if (fl_streq(path, "metadata.name"))
		return p->name;
	if (fl_streq(path, "metadata.namespace"))
		return p->ns;
	if (fl_streq(path, "metadata.uid"))
		return p->uid;
	if (fl_streq(path, "spec.nodeName"))
		return p->node_name;
	if (fl_streq(path, "spec.serviceAccountName"))
		return p->service_account;
	if (fl_streq(path, "status.podIP"))
		return s->n_pod_ips ? fl_arena_strdup(a, fl_ip_format(&s->pod_ips[0], one)) : "";
	if (fl_streq(path, "status.podIPs"))
		return ips_text(a, s->pod_ips, s->n_pod_ips);
	if (fl_streq(path, "status.hostIP"))
		return s->n_host_ips ? fl_arena_strdup(a, fl_ip_format(&s->host_ips[0], one)) : "";
	if (fl_streq(path, "status.hostIPs"))
		return ips_text(a, s->host_ips, s->n_host_ips);
	return path ? map_field(a, p, path) : NULL;
}

// What the node has of a resource, for a limit that is not set (kubelet: MergeContainerResourceLimits). -1: not one
// that a resourceFieldRef may name.
static int64_t of_node(const struct fl_env_source *s, const char *name)
{
	if (strcmp(name, "cpu") == 0)
		return s->node_cpu_milli;
	if (strcmp(name, "memory") == 0)
		return s->node_memory;
	if (strcmp(name, "ephemeral-storage") == 0)
		return s->node_disk;
	return fl_starts_with(name, "hugepages-") ? 0 : -1;
}

const char *fl_env_resource(struct fl_arena *a, const struct fl_env_source *s, const struct fl_json *ref)
{
	const char *resource = fl_json_str_or(ref, "resource", ""), *dot = strchr(resource, '.');
	const char *want = fl_json_str(ref, "containerName");
	const struct fl_json *container = s->container ? s->container->json : NULL;
	bool limit = fl_starts_with(resource, "limits.");
	int64_t v, divisor = -1;

	if (!dot || of_node(s, dot + 1) < 0)
		return NULL;
	for (unsigned i = 0; want && i < s->pod->n_containers; i++) {
		if (fl_streq(s->pod->containers[i].name, want))
			container = s->pod->containers[i].json;
	}
	v = fl_container_resource(container, limit ? "limits" : "requests", dot + 1);
	if (v <= 0)
		v = limit ? of_node(s, dot + 1) : 0;
	if (fl_json_get(ref, "divisor")) { // read as a container's limit, which parses it in the right unit
		struct fl_json *fake = fl_json_new(a, FL_JSON_OBJECT);
		struct fl_json *limits = fl_json_set_object(a, fl_json_set_object(a, fake, "resources"), "limits");

		fl_json_set(a, limits, dot + 1, fl_json_clone(a, fl_json_get(ref, "divisor")));
		divisor = fl_container_resource(fake, "limits", dot + 1);
	}
	if (divisor <= 0)
		divisor = strcmp(dot + 1, "cpu") == 0 ? 1000 : 1;
	return fl_arena_printf(a, "%" PRId64, (v + divisor - 1) / divisor);
}

static const char *decode_secret(struct fl_arena *a, const char *text)
{
	AUTO(fl_buf_deinit) struct fl_buf b = {0};

	if (!fl_base64_decode(&b, text, strlen(text)))
		return "";
	return fl_arena_strndup(a, b.data ? b.data : "", b.len);
}

static int key_value(struct fl_arena *a, const struct fl_env_source *s, bool secret, const struct fl_json *ref,
		     const char **ret, struct fl_err *err)
{
	const char *name = fl_json_str_or(ref, "name", ""), *key = fl_json_str_or(ref, "key", ""), *value;
	bool optional = fl_json_bool(ref, "optional", false);
	const struct fl_json *object = s->lookup ? s->lookup(s->arg, secret, name) : NULL;

	*ret = NULL;
	if (!object && optional)
		return 0;
	if (!object)
		return fl_err_set(err, -ENOENT, "%s \"%s\" not found", secret ? "secret" : "configmap", name);
	value = fl_json_str(fl_json_get(object, "data"), key);
	if (!value && !optional)
		return fl_err_set(err, -ENOENT, "couldn't find key %s in %s %s/%s", key,
				  secret ? "Secret" : "ConfigMap", s->pod->ns, name);
	*ret = value && secret ? decode_secret(a, value) : value;
	return 0;
}

static int add_env_from(struct fl_arena *a, const struct fl_env_source *s, const struct fl_json *from, struct set *env,
			struct fl_err *err)
{
	bool secret = fl_json_get(from, "secretRef") != NULL;
	const struct fl_json *ref = fl_json_get(from, secret ? "secretRef" : "configMapRef"), *object;
	const char *prefix = fl_json_str_or(from, "prefix", ""), *name = fl_json_str_or(ref, "name", "");

	if (!ref)
		return 0;
	object = s->lookup ? s->lookup(s->arg, secret, name) : NULL;
	if (!object)
		return fl_json_bool(ref, "optional", false)
			   ? 0
			   : fl_err_set(err, -ENOENT, "%s \"%s\" not found", secret ? "secret" : "configmap", name);
	fl_json_each (d, fl_json_get(object, "data")) {
		if (d->type == FL_JSON_STRING)
			env_set(env, fl_arena_printf(a, "%s%s", prefix, d->key),
				secret ? decode_secret(a, d->str.s) : d->str.s);
	}
	return 0;
}

static int add_env(struct fl_arena *a, const struct fl_env_source *s, const struct fl_json *e, struct set *env,
		   struct fl_err *err)
{
	const struct fl_json *from = fl_json_get(e, "valueFrom"), *ref;
	const char *name = fl_json_str(e, "name"), *value = NULL;
	int rc = 0;

	if (fl_str_empty(name))
		return 0;
	if (!from) {
		value = expand(a, fl_json_str_or(e, "value", ""), value_in_set, env);
	} else if ((ref = fl_json_get(from, "fieldRef"))) {
		value = fl_env_field(a, s, fl_json_str(ref, "fieldPath"));
		if (!value)
			return fl_err_set(err, -EINVAL, "unsupported fieldPath: %s",
					  fl_json_str_or(ref, "fieldPath", ""));
	} else if ((ref = fl_json_get(from, "resourceFieldRef"))) {
		value = fl_env_resource(a, s, ref);
		if (!value)
			return fl_err_set(err, -EINVAL, "unsupported container resource : %s",
					  fl_json_str_or(ref, "resource", ""));
	} else if ((ref = fl_json_get(from, "configMapKeyRef"))) {
		rc = key_value(a, s, false, ref, &value, err);
	} else if ((ref = fl_json_get(from, "secretKeyRef"))) {
		rc = key_value(a, s, true, ref, &value, err);
	} else {
		return fl_err_set(err, -EINVAL, "environment variable %s has a source that this node does not know",
				  name);
	}
	if (rc == 0 && value)
		env_set(env, name, value);
	return rc;
}

static int add_all(struct fl_arena *a, const struct fl_env_source *s, const struct fl_image *image, struct set *env,
		   struct fl_err *err)
{
	struct fl_service_env_source services = {
	    .pod = s->pod, .each = s->services, .arg = s->services_arg, .kubernetes_ip = s->kubernetes_ip};
	const struct fl_json *c = s->container->json;

	for (const char *const *e = image->env; *e; e++)
		set_entry(env, *e, false);
	set_entry(env, fl_arena_printf(a, "HOSTNAME=%s", s->pod->hostname), false);
	fl_json_each (e, fl_service_env(a, &services))
		set_entry(env, e->str.s, true);
	fl_json_each (from, fl_json_get(c, "envFrom")) {
		int rc = add_env_from(a, s, from, env, err);

		if (rc < 0)
			return rc;
	}
	fl_json_each (e, fl_json_get(c, "env")) {
		int rc = add_env(a, s, e, env, err);

		if (rc < 0)
			return rc;
	}
	return 0;
}

int fl_env_build(struct fl_arena *a, const struct fl_env_source *s, const struct fl_image *image, struct fl_env *ret,
		 struct fl_err *err)
{
	AUTO(set_deinit) struct set env = {.a = a, .list = fl_json_new(a, FL_JSON_ARRAY)};
	struct fl_json *pods = fl_json_new(a, FL_JSON_ARRAY);
	int rc = add_all(a, s, image, &env, err);

	if (rc < 0)
		return rc;
	for (struct fl_map_iter it = {0}; fl_map_next(&env.visible, &it);)
		fl_json_append(pods, fl_json_clone(a, it.value));
	*ret = (struct fl_env){.all = env.list, .pods = pods};
	return 0;
}

static void append_expanded(struct fl_arena *a, struct fl_json *to, const struct fl_json *from,
			    const struct fl_json *env)
{
	fl_json_each (e, from) {
		if (fl_json_string(e))
			fl_json_append(to, fl_json_new_str(a, fl_env_expand(a, fl_json_string(e), env)));
	}
}

int fl_env_command(struct fl_arena *a, const struct fl_container_spec *c, const struct fl_image *image,
		   const struct fl_env *env, struct fl_json **ret, struct fl_err *err)
{
	struct fl_json *argv = fl_json_new(a, FL_JSON_ARRAY);
	const struct fl_json *command = fl_json_get(c->json, "command"), *args = fl_json_get(c->json, "args");

	if (fl_json_count(command)) {
		append_expanded(a, argv, command, env->pods);
	} else {
		for (const char *const *e = image->entrypoint; *e; e++)
			fl_json_append(argv, fl_json_new_str(a, *e));
	}
	if (fl_json_count(args)) {
		append_expanded(a, argv, args, env->pods);
	} else if (!fl_json_count(command)) {
		for (const char *const *e = image->cmd; *e; e++)
			fl_json_append(argv, fl_json_new_str(a, *e));
	}
	if (!fl_json_count(argv))
		return fl_err_set(err, -EINVAL, "no command specified");
	*ret = argv;
	return 0;
}

static void reference(const struct fl_json *ref, bool secret, const char *key,
		      void (*each)(void *arg, bool secret, const char *name), void *arg)
{
	const char *name = fl_json_str(ref, key);

	if (!fl_str_empty(name))
		each(arg, secret, name);
}

void fl_pod_references(const struct fl_pod_spec *p, void (*each)(void *arg, bool secret, const char *name), void *arg)
{
	for (unsigned i = 0; i < p->n_containers; i++) {
		const struct fl_json *c = p->containers[i].json;

		fl_json_each (from, fl_json_get(c, "envFrom")) {
			reference(fl_json_get(from, "configMapRef"), false, "name", each, arg);
			reference(fl_json_get(from, "secretRef"), true, "name", each, arg);
		}
		fl_json_each (e, fl_json_get(c, "env")) {
			const struct fl_json *from = fl_json_get(e, "valueFrom");

			reference(fl_json_get(from, "configMapKeyRef"), false, "name", each, arg);
			reference(fl_json_get(from, "secretKeyRef"), true, "name", each, arg);
		}
	}
	fl_json_each (s, fl_json_get(p->spec, "imagePullSecrets"))
		reference(s, true, "name", each, arg);
	fl_json_each (v, fl_json_get(p->spec, "volumes")) {
		reference(fl_json_get(v, "configMap"), false, "name", each, arg);
		reference(fl_json_get(v, "secret"), true, "secretName", each, arg);
		fl_json_each (part, fl_json_path(v, "projected", "sources", NULL)) {
			reference(fl_json_get(part, "configMap"), false, "name", each, arg);
			reference(fl_json_get(part, "secret"), true, "name", each, arg);
		}
	}
}
