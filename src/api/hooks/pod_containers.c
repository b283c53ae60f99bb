// SPDX-License-Identifier: Apache-2.0
// Containers of a pod's spec: names, images, ports, environment, mounts, probes, resources.
// (k8s: validateContainers, validateInitContainers)
#include <stdio.h>

#include "api/hooks/pod_spec.h"
#include "api/quantity.h"
#include "api/validate.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/str.h"

static const char *sub(struct fl_causes *c, const char *field, const char *name)
{
	return fl_arena_printf(c->arena, "%s.%s", field, name);
}

static const char *at(struct fl_causes *c, const char *field, const char *name, size_t i)
{
	return fl_arena_printf(c->arena, "%s.%s[%zu]", field, name, i);
}

// True when `value` was there already. Sets, since a client may send lists of any length.
static bool stands_before(struct fl_map *set, const char *value)
{
	return fl_map_set(set, value, set);
}

static void validate_ports(struct fl_causes *c, const char *field, const struct fl_json *ports, bool host_network)
{
	static const char *const protocols[] = {"SCTP", "TCP", "UDP", NULL};
	AUTO(fl_map_deinit) struct fl_map names = {0};
	size_t i = 0;

	fl_json_each (p, ports) {
		const char *here = at(c, field, "ports", i);
		const struct fl_json *name = fl_json_get(p, "name"), *host_port = fl_json_get(p, "hostPort");
		const struct fl_json *number = fl_json_get(p, "containerPort");

		if (!fl_str_empty(fl_json_string(name))) {
			if (fl_check_port_name(c->arena, fl_json_string(name)))
				fl_validate_string(c, sub(c, here, "name"), name, fl_check_port_name);
			else if (stands_before(&names, fl_json_string(name)))
				fl_cause_add(c, FL_CAUSE_DUPLICATE, sub(c, here, "name"), name, NULL);
		}
		if (!fl_json_int(p, "containerPort", 0))
			fl_cause_add(c, FL_CAUSE_REQUIRED, sub(c, here, "containerPort"), NULL, NULL);
		else
			fl_validate_port_number(c, sub(c, here, "containerPort"), number);
		if (host_port)
			fl_validate_port_number(c, sub(c, here, "hostPort"), host_port);
		if (host_network && host_port && !fl_json_equal(host_port, number))
			fl_cause_add(c, FL_CAUSE_INVALID, sub(c, here, "hostPort"), host_port,
				     "must match `containerPort` when `hostNetwork` is true");
		fl_validate_one_of(c, sub(c, here, "protocol"), fl_json_get(p, "protocol"), protocols);
		i++;
	}
}

// Two containers cannot have the same port of the host.
static void validate_host_ports(struct fl_causes *c, const char *field, const struct fl_json *containers)
{
	AUTO(fl_map_deinit) struct fl_map seen = {0};
	size_t i = 0;

	fl_json_each (ct, containers) {
		size_t j = 0;

		fl_json_each (p, fl_json_get(ct, "ports")) {
			int64_t port = fl_json_int(p, "hostPort", 0);
			const char *key = fl_arena_printf(c->arena, "%s/%s/%lld", fl_json_str_or(p, "protocol", ""),
							  fl_json_str_or(p, "hostIP", ""), (long long)port);

			if (port && stands_before(&seen, key))
				fl_cause_add(
				    c, FL_CAUSE_DUPLICATE,
				    fl_arena_printf(c->arena, "%s.containers[%zu].ports[%zu].hostPort", field, i, j),
				    fl_json_new_str(c->arena, key), NULL);
			j++;
		}
		i++;
	}
}

static void validate_key_ref(struct fl_causes *c, const char *field, const struct fl_json *ref)
{
	if (!ref)
		return;
	fl_validate_string(c, sub(c, field, "name"), fl_json_get(ref, "name"), fl_check_dns1123_subdomain);
	if (fl_require(c, sub(c, field, "key"), ref, "key"))
		fl_validate_string(c, sub(c, field, "key"), fl_json_get(ref, "key"), fl_check_config_key);
}

void fl_pod_field_ref_validate(struct fl_causes *c, const char *field, const struct fl_json *ref, bool volume)
{
	static const char *const in_env[] = {
	    "metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName",
	    "status.hostIP", "status.hostIPs",     "status.podIP", "status.podIPs", NULL,
	};
	static const char *const in_volume[] = {
	    "metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid", NULL,
	};
	const char *path;

	if (!ref)
		return;
	path = fl_require(c, sub(c, field, "fieldPath"), ref, "fieldPath");
	if (path && !fl_starts_with(path, "metadata.labels['") && !fl_starts_with(path, "metadata.annotations['"))
		fl_validate_one_of(c, sub(c, field, "fieldPath"), fl_json_get(ref, "fieldPath"),
				   volume ? in_volume : in_env);
}

void fl_pod_resource_ref_validate(struct fl_causes *c, const char *field, const struct fl_json *ref, bool volume)
{
	static const char *const resources[] = {
	    "limits.cpu",   "limits.ephemeral-storage",   "limits.memory",
	    "requests.cpu", "requests.ephemeral-storage", "requests.memory",
	    NULL,
	};
	const char *resource;

	if (!ref || (volume && !fl_require(c, sub(c, field, "containerName"), ref, "containerName")))
		return;
	resource = fl_require(c, sub(c, field, "resource"), ref, "resource");
	if (resource && !fl_starts_with(resource, "limits.hugepages-") &&
	    !fl_starts_with(resource, "requests.hugepages-"))
		fl_validate_one_of(c, sub(c, field, "resource"), fl_json_get(ref, "resource"), resources);
}

static void validate_env(struct fl_causes *c, const char *field, const struct fl_json *env)
{
	size_t i = 0;

	fl_json_each (e, env) {
		const char *here = at(c, field, "env", i++), *from_field = sub(c, here, "valueFrom");
		const struct fl_json *from = fl_json_get(e, "valueFrom");

		if (fl_require(c, sub(c, here, "name"), e, "name"))
			fl_validate_string(c, sub(c, here, "name"), fl_json_get(e, "name"), fl_check_env_name);
		if (!from)
			continue;
		if (fl_json_count(from) == 0)
			fl_cause_add(c, FL_CAUSE_INVALID, from_field, fl_json_new_str(c->arena, ""),
				     "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, "
				     "`secretKeyRef` or `fileKeyRef`");
		else if (!fl_str_empty(fl_json_str(e, "value")))
			fl_cause_add(c, FL_CAUSE_INVALID, from_field, fl_json_new_str(c->arena, ""),
				     "may not be specified when `value` is not empty");
		else if (fl_json_count(from) > 1)
			fl_cause_add(c, FL_CAUSE_INVALID, from_field, fl_json_new_str(c->arena, ""),
				     "may not have more than one field specified at a time");
		fl_pod_field_ref_validate(c, sub(c, from_field, "fieldRef"), fl_json_get(from, "fieldRef"), false);
		fl_pod_resource_ref_validate(c, sub(c, from_field, "resourceFieldRef"),
					     fl_json_get(from, "resourceFieldRef"), false);
		validate_key_ref(c, sub(c, from_field, "configMapKeyRef"), fl_json_get(from, "configMapKeyRef"));
		validate_key_ref(c, sub(c, from_field, "secretKeyRef"), fl_json_get(from, "secretKeyRef"));
	}
}

static void validate_env_from(struct fl_causes *c, const char *field, const struct fl_json *sources)
{
	size_t i = 0;

	fl_json_each (s, sources) {
		static const char *const refs[] = {"configMapRef", "secretRef"};
		const char *here = at(c, field, "envFrom", i++);
		bool config_map = fl_json_get(s, "configMapRef"), secret = fl_json_get(s, "secretRef");

		if (!fl_str_empty(fl_json_str(s, "prefix")))
			fl_validate_string(c, sub(c, here, "prefix"), fl_json_get(s, "prefix"), fl_check_env_name);
		for (size_t k = 0; k < FL_COUNT(refs); k++) {
			const struct fl_json *ref = fl_json_get(s, refs[k]);
			const char *name_field = sub(c, sub(c, here, refs[k]), "name");

			if (ref && fl_require(c, name_field, ref, "name"))
				fl_validate_string(c, name_field, fl_json_get(ref, "name"), fl_check_dns1123_subdomain);
		}
		if (!config_map && !secret)
			fl_cause_add(c, FL_CAUSE_INVALID, here, fl_json_new_str(c->arena, ""),
				     "must specify one of: `configMapRef` or `secretRef`");
		if (config_map && secret)
			fl_cause_add(c, FL_CAUSE_INVALID, here, fl_json_new_str(c->arena, ""),
				     "may not have more than one field specified at a time");
	}
}

static void validate_mounts(struct fl_causes *c, const char *field, const struct fl_json *mounts,
			    const struct fl_map *volumes)
{
	AUTO(fl_map_deinit) struct fl_map paths = {0};
	size_t i = 0;

	fl_json_each (m, mounts) {
		const char *here = at(c, field, "volumeMounts", i);
		const char *name = fl_require(c, sub(c, here, "name"), m, "name"), *path, *sub_path;

		if (name && !fl_map_get(volumes, name))
			fl_cause_add(c, FL_CAUSE_NOT_FOUND, sub(c, here, "name"), fl_json_get(m, "name"), NULL);
		path = fl_require(c, sub(c, here, "mountPath"), m, "mountPath");
		if (path && stands_before(&paths, path))
			fl_cause_add(c, FL_CAUSE_INVALID, sub(c, here, "mountPath"), fl_json_get(m, "mountPath"),
				     "must be unique");
		sub_path = fl_json_str_or(m, "subPath", "");
		if (*sub_path == '/')
			fl_cause_add(c, FL_CAUSE_INVALID, sub(c, here, "subPath"), fl_json_get(m, "subPath"),
				     "must be a relative path");
		if (fl_streq(sub_path, "..") || fl_starts_with(sub_path, "../") || strstr(sub_path, "/../") ||
		    fl_ends_with(sub_path, "/.."))
			fl_cause_add(c, FL_CAUSE_INVALID, sub(c, here, "subPath"), fl_json_get(m, "subPath"),
				     "must not contain '..'");
		i++;
	}
}

// --- probes and handlers ---

static void validate_http_get(struct fl_causes *c, const char *field, const struct fl_json *get)
{
	static const char *const schemes[] = {"HTTP", "HTTPS", NULL};
	size_t i = 0;

	fl_require(c, sub(c, field, "path"), get, "path");
	fl_validate_port_or_name(c, sub(c, field, "port"), fl_json_get(get, "port"));
	fl_validate_one_of(c, sub(c, field, "scheme"), fl_json_get(get, "scheme"), schemes);
	fl_json_each (h, fl_json_get(get, "httpHeaders"))
		fl_validate_string(c, sub(c, at(c, field, "httpHeaders", i++), "name"), fl_json_get(h, "name"),
				   fl_check_http_header);
}

// Exactly one way to ask. `grpc` and `sleep` are the kinds that only probes or only lifecycles have.
static void validate_handler(struct fl_causes *c, const char *field, const struct fl_json *h, const char *own)
{
	static const char *const ways[] = {"exec", "httpGet", "tcpSocket", NULL};
	unsigned n = 0;

	for (size_t i = 0; i < FL_COUNT(ways); i++) {
		const char *way = ways[i] ? ways[i] : own;
		const struct fl_json *action = fl_json_get(h, way);
		const char *here = sub(c, field, way);

		if (!action)
			continue;
		if (n++) {
			fl_cause_add(c, FL_CAUSE_FORBIDDEN, here, NULL, "may not specify more than 1 handler type");
			continue;
		}
		if (fl_streq(way, "exec") && !fl_json_count(fl_json_get(action, "command")))
			fl_cause_add(c, FL_CAUSE_REQUIRED, sub(c, here, "command"), NULL, NULL);
		else if (fl_streq(way, "httpGet"))
			validate_http_get(c, here, action);
		else if (fl_streq(way, "tcpSocket"))
			fl_validate_port_or_name(c, sub(c, here, "port"), fl_json_get(action, "port"));
		else if (fl_streq(way, "grpc"))
			fl_validate_port_number(c, sub(c, here, "port"), fl_json_get(action, "port"));
	}
	if (!n)
		fl_cause_add(c, FL_CAUSE_REQUIRED, field, NULL, "must specify a handler type");
}

static void validate_sleep(struct fl_causes *c, const char *field, const struct fl_json *handler,
			   const struct fl_json *spec)
{
	const struct fl_json *seconds = fl_json_path(handler, "sleep", "seconds", NULL);
	int64_t grace = fl_json_int(spec, "terminationGracePeriodSeconds", 30);

	if (fl_json_is(seconds, FL_JSON_INT) && (seconds->i < 0 || seconds->i > grace))
		fl_cause_add(c, FL_CAUSE_INVALID, sub(c, field, "sleep"), seconds,
			     "must be non-negative and less than terminationGracePeriodSeconds (%lld)",
			     (long long)grace);
}

static void validate_lifecycle(struct fl_causes *c, const char *field, const struct fl_json *lifecycle,
			       const struct fl_json *spec)
{
	static const char *const hooks[] = {"postStart", "preStop"};

	for (size_t i = 0; i < FL_COUNT(hooks); i++) {
		const struct fl_json *h = fl_json_get(lifecycle, hooks[i]);

		if (!h)
			continue;
		validate_handler(c, sub(c, field, hooks[i]), h, "sleep");
		validate_sleep(c, sub(c, field, hooks[i]), h, spec);
	}
}

static void validate_probe(struct fl_causes *c, const char *field, const struct fl_json *ct, const char *key)
{
	static const char *const counts[] = {"initialDelaySeconds", "timeoutSeconds", "periodSeconds",
					     "successThreshold", "failureThreshold"};
	const struct fl_json *p = fl_json_get(ct, key), *grace = fl_json_get(p, "terminationGracePeriodSeconds");
	const char *here = sub(c, field, key);

	if (!p)
		return;
	validate_handler(c, here, p, "grpc");
	for (size_t i = 0; i < FL_COUNT(counts); i++)
		fl_validate_non_negative(c, sub(c, here, counts[i]), fl_json_get(p, counts[i]));
	if (fl_json_is(grace, FL_JSON_INT) && grace->i <= 0)
		fl_cause_add(c, FL_CAUSE_INVALID, sub(c, here, "terminationGracePeriodSeconds"), grace,
			     "must be greater than 0");
	if (fl_streq(key, "readinessProbe")) {
		if (grace)
			fl_cause_add(c, FL_CAUSE_INVALID, sub(c, here, "terminationGracePeriodSeconds"), grace,
				     "must not be set for readinessProbes");
	} else if (fl_json_int(p, "successThreshold", 1) != 1) {
		fl_cause_add(c, FL_CAUSE_INVALID, sub(c, here, "successThreshold"), fl_json_get(p, "successThreshold"),
			     "must be 1");
	}
}

// --- resources ---

static bool is_standard_resource(const char *name)
{
	return fl_streq(name, "cpu") || fl_streq(name, "memory") || fl_streq(name, "ephemeral-storage") ||
	       fl_starts_with(name, "hugepages-");
}

static void validate_resource(struct fl_causes *c, const char *field, const struct fl_json *v, struct fl_quantity *ret)
{
	const char *here = fl_arena_printf(c->arena, "%s[%s]", field, v->key);

	fl_validate_qualified_name(c, here, v->key);
	if (!strchr(v->key, '/') && !is_standard_resource(v->key))
		fl_cause_add(c, FL_CAUSE_INVALID, here, fl_json_new_str(c->arena, v->key),
			     "must be a standard resource for containers");
	if (fl_json_string(v) && fl_quantity_parse(fl_json_string(v), ret) && ret->nano < 0)
		fl_cause_add(c, FL_CAUSE_INVALID, here, v, "must be greater than or equal to 0");
}

static void validate_resources(struct fl_causes *c, const char *field, const struct fl_json *resources)
{
	const struct fl_json *limits = fl_json_get(resources, "limits");
	const char *here = sub(c, field, "resources");
	struct fl_quantity limit = {0}, request = {0};

	fl_json_each (v, limits)
		validate_resource(c, sub(c, here, "limits"), v, &limit);
	fl_json_each (v, fl_json_get(resources, "requests")) {
		const char *most = fl_json_str(limits, v->key);

		validate_resource(c, sub(c, here, "requests"), v, &request);
		if (most && fl_quantity_parse(most, &limit) && request.nano > limit.nano)
			fl_cause_add(c, FL_CAUSE_INVALID, sub(c, here, "requests"), v,
				     "must be less than or equal to %s limit of %s", v->key, most);
	}
}

// --- a container ---

static void validate_container(struct fl_causes *c, const char *field, const struct fl_json *ct,
			       const struct fl_json *spec, const struct fl_map *volumes)
{
	static const char *const restart[] = {"Always", "Never", "OnFailure", NULL};
	static const char *const pull[] = {"Always", "IfNotPresent", "Never", NULL};
	static const char *const message[] = {"FallbackToLogsOnError", "File", NULL};
	const char *image = fl_require(c, sub(c, field, "image"), ct, "image");

	if (image && (strspn(image, " \t\n") || strchr(" \t\n", image[strlen(image) - 1])))
		fl_cause_add(c, FL_CAUSE_INVALID, sub(c, field, "image"), fl_json_get(ct, "image"),
			     "must not have leading or trailing whitespace");
	validate_lifecycle(c, sub(c, field, "lifecycle"), fl_json_get(ct, "lifecycle"), spec);
	validate_probe(c, field, ct, "livenessProbe");
	validate_probe(c, field, ct, "readinessProbe");
	validate_probe(c, field, ct, "startupProbe");
	fl_validate_one_of(c, sub(c, field, "terminationMessagePolicy"), fl_json_get(ct, "terminationMessagePolicy"),
			   message);
	validate_ports(c, field, fl_json_get(ct, "ports"), fl_json_bool(spec, "hostNetwork", false));
	validate_env(c, field, fl_json_get(ct, "env"));
	validate_env_from(c, field, fl_json_get(ct, "envFrom"));
	validate_mounts(c, field, fl_json_get(ct, "volumeMounts"), volumes);
	fl_validate_one_of(c, sub(c, field, "imagePullPolicy"), fl_json_get(ct, "imagePullPolicy"), pull);
	if (fl_json_get(ct, "restartPolicy"))
		fl_validate_one_of(c, sub(c, field, "restartPolicy"), fl_json_get(ct, "restartPolicy"), restart);
	validate_resources(c, field, fl_json_get(ct, "resources"));
	fl_container_security_validate(c, sub(c, field, "securityContext"), fl_json_get(ct, "securityContext"));
}

// What waits for a container that goes on has no sense in one that ends.
static void validate_init_container(struct fl_causes *c, const char *field, const struct fl_json *ct)
{
	static const char *const of_running[] = {"lifecycle", "livenessProbe", "readinessProbe", "startupProbe"};

	if (fl_streq(fl_json_str(ct, "restartPolicy"), "Always"))
		return;
	for (size_t i = 0; i < FL_COUNT(of_running); i++)
		if (fl_json_get(ct, of_running[i]))
			fl_cause_add(c, FL_CAUSE_FORBIDDEN, sub(c, field, of_running[i]), NULL,
				     "must not be set for init containers without restartPolicy=Always");
}

// `names` holds those of the containers before these.
static void validate_list(struct fl_causes *c, const char *field, const struct fl_json *spec, const char *key,
			  struct fl_map *names, const struct fl_map *volumes)
{
	const struct fl_json *list = fl_json_get(spec, key);
	size_t i = 0;

	fl_json_each (ct, list) {
		const char *here = at(c, field, key, i), *name_field = sub(c, here, "name");
		const char *name = fl_require(c, name_field, ct, "name");

		if (name)
			fl_validate_string(c, name_field, fl_json_get(ct, "name"), fl_check_dns1123_label);
		if (name && stands_before(names, name))
			fl_cause_add(c, FL_CAUSE_DUPLICATE, name_field, fl_json_get(ct, "name"), NULL);
		validate_container(c, here, ct, spec, volumes);
		if (fl_streq(key, "initContainers"))
			validate_init_container(c, here, ct);
		i++;
	}
}

void fl_pod_containers_validate(struct fl_causes *c, const char *field, const struct fl_json *spec)
{
	const struct fl_json *containers = fl_json_get(spec, "containers");
	AUTO(fl_map_deinit) struct fl_map names = {0}, volumes = {0};

	fl_json_each (v, fl_json_get(spec, "volumes"))
		if (fl_json_str(v, "name"))
			fl_map_set(&volumes, fl_json_str(v, "name"), v);
	if (!fl_json_count(containers))
		fl_cause_add(c, FL_CAUSE_REQUIRED, sub(c, field, "containers"), NULL, NULL);
	validate_list(c, field, spec, "containers", &names, &volumes);
	validate_host_ports(c, field, containers);
	validate_list(c, field, spec, "initContainers", &names, &volumes);
}
