// SPDX-License-Identifier: Apache-2.0
#include "controller/endpoints/members.h"

#include "base/ip.h"
#include "controller/meta.h"

bool fl_members_has_selector(const struct fl_json *service)
{
	const struct fl_json *spec = fl_json_get(service, "spec");
	return fl_json_count(fl_json_get(spec, "selector")) && !fl_streq(fl_json_str(spec, "type"), "ExternalName");
}

bool fl_members_publish_all(const struct fl_json *service)
{
	return fl_json_bool(fl_json_get(service, "spec"), "publishNotReadyAddresses", false);
}

bool fl_members_is_headless(const struct fl_json *service)
{
	const char *ip = fl_json_str(fl_json_get(service, "spec"), "clusterIP");
	return fl_str_empty(ip) || !strcmp(ip, "None");
}

static int64_t named_port(const struct fl_json *containers, const char *name, const char *protocol, bool sidecars)
{
	fl_json_each (c, containers) {
		if (sidecars && !fl_streq(fl_json_str(c, "restartPolicy"), "Always"))
			continue;
		fl_json_each (port, fl_json_get(c, "ports"))
			if (fl_streq(fl_json_str(port, "name"), name) &&
			    !strcmp(fl_json_str_or(port, "protocol", "TCP"), protocol))
				return fl_json_int(port, "containerPort", 0);
	}
	return 0;
}

int64_t fl_members_port(const struct fl_podview *p, const struct fl_json *service_port)
{
	const struct fl_json *target = fl_json_get(service_port, "targetPort"), *spec = fl_json_get(p->tree, "spec");
	const char *name = fl_json_string(target), *protocol = fl_json_str_or(service_port, "protocol", "TCP");
	if (!name)
		return fl_json_is(target, FL_JSON_INT) && target->i ? target->i : fl_json_int(service_port, "port", 0);
	int64_t port = named_port(fl_json_get(spec, "containers"), name, protocol, false);
	return port ? port : named_port(fl_json_get(spec, "initContainers"), name, protocol, true);
}

bool fl_members_eligible(const struct fl_podview *p, bool deleting_too)
{
	return !p->finished && fl_podview_ip(p, 0) && (deleting_too || !p->deleting);
}

const char *fl_members_ip(struct fl_arena *a, const struct fl_podview *p, const char *family)
{
	int wanted = strcmp(family, "IPv6") ? AF_INET : AF_INET6;
	const char *text;
	struct fl_ip ip;
	for (size_t i = 0; (text = fl_podview_ip(p, i)); i++)
		if (fl_ip_parse(text, &ip) && ip.family == wanted) {
			char buf[FL_IP_STRLEN];
			return fl_arena_strdup(a, fl_ip_format(&ip, buf));
		}
	return NULL;
}

const char *fl_members_hostname(const struct fl_podview *p, const struct fl_json *service)
{
	const struct fl_json *spec = fl_json_get(p->tree, "spec"), *meta = fl_json_get(service, "metadata");
	const char *hostname = fl_json_str(spec, "hostname");
	if (fl_str_empty(hostname) || !fl_streq(fl_json_str(spec, "subdomain"), fl_json_str(meta, "name")) ||
	    strcmp(p->ns, fl_json_str_or(meta, "namespace", "")) != 0)
		return NULL;
	return hostname;
}

struct fl_json *fl_members_target(struct fl_arena *a, const struct fl_podview *p)
{
	struct fl_json *ref = fl_json_new(a, FL_JSON_OBJECT);
	fl_json_set_str(a, ref, "kind", "Pod");
	fl_json_set_str(a, ref, "namespace", p->ns);
	fl_json_set_str(a, ref, "name", p->name);
	fl_json_set_str(a, ref, "uid", p->uid);
	return ref;
}

static bool is_reserved(const char *key, const char *const *reserved)
{
	for (; *reserved; reserved++)
		if (!strcmp(key, *reserved))
			return true;
	return false;
}

struct fl_json *fl_members_labels(struct fl_arena *a, const struct fl_json *service, const char *const *reserved)
{
	struct fl_json *labels = fl_json_new(a, FL_JSON_OBJECT);
	fl_json_each (m, fl_json_path(service, "metadata", "labels", NULL))
		if (!is_reserved(m->key, reserved))
			fl_json_set(a, labels, m->key, fl_json_clone(a, m));
	return labels;
}

void fl_members_set_trigger(struct fl_arena *a, struct fl_json *meta, const char *time)
{
	struct fl_json *annotations = fl_json_ensure_object(a, meta, "annotations");
	fl_json_set_str(a, annotations, FL_ANNOTATION_TRIGGER, time);
	if (!fl_json_count(annotations))
		fl_json_remove(meta, "annotations");
}
