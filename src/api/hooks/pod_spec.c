// SPDX-License-Identifier: Apache-2.0
// Defaults and validation of a pod's spec, without its containers (pod_containers.c) and volumes (pod_volumes.c).
#include "api/hooks/pod_spec.h"

#include <stdio.h>

#include "api/hooks/cells.h"
#include "api/quantity.h"
#include "api/selector.h"
#include "api/validate.h"
#include "base/mem.h"
#include "base/str.h"

// --- defaults ---

// Without a tag and a digest an image is "latest". A colon before the last slash belongs to the registry's port.
static bool is_latest(const char *image)
{
	const char *digest = strchr(image, '@'), *end = digest ? digest : image + strlen(image), *tag = NULL;

	for (const char *p = image; p < end; p++) {
		if (*p == '/')
			tag = NULL;
		else if (*p == ':')
			tag = p + 1;
	}
	if (!tag)
		return !digest;
	return end - tag == 6 && strncmp(tag, "latest", 6) == 0;
}

static void default_containers(struct fl_arena *a, struct fl_json *containers)
{
	fl_json_each (ct, containers) {
		const char *image = fl_json_str_or(ct, "image", "");

		if (!fl_json_get(ct, "imagePullPolicy"))
			fl_json_set_str(a, ct, "imagePullPolicy",
					*image && is_latest(image) ? "Always" : "IfNotPresent");
	}
}

void fl_pod_spec_set_defaults(struct fl_arena *a, struct fl_json *spec)
{
	default_containers(a, fl_json_get(spec, "containers"));
	default_containers(a, fl_json_get(spec, "initContainers"));
	default_containers(a, fl_json_get(spec, "ephemeralContainers"));
	fl_json_each (v, fl_json_get(spec, "volumes"))
		if (fl_json_count(v) == 1 && fl_json_get(v, "name"))
			fl_json_set_object(a, v, "emptyDir");
}

// --- quality of service ---

struct qos {
	bool any, all_limited; // some cpu or memory is named; every container has equal requests and limits of both
};

static bool parse(const struct fl_json *list, const char *key, struct fl_quantity *ret)
{
	const char *s = fl_json_str(list, key);

	return s && fl_quantity_parse(s, ret) && ret->nano != 0;
}

static void add_qos(struct qos *q, const struct fl_json *resources)
{
	static const char *const counted[] = {"cpu", "memory"};
	const struct fl_json *limits = fl_json_get(resources, "limits"), *requests = fl_json_get(resources, "requests");

	for (size_t i = 0; i < FL_COUNT(counted); i++) {
		struct fl_quantity limit = {0}, request = {0};
		bool limited = parse(limits, counted[i], &limit), requested = parse(requests, counted[i], &request);

		q->any = q->any || limited || requested;
		if (!limited || (requested && request.nano != limit.nano))
			q->all_limited = false;
	}
}

const char *fl_pod_qos(const struct fl_json *spec)
{
	static const char *const lists[] = {"containers", "initContainers"};
	struct qos q = {.all_limited = true};

	if (fl_json_count(fl_json_get(spec, "resources"))) {
		add_qos(&q, fl_json_get(spec, "resources"));
	} else {
		for (size_t i = 0; i < FL_COUNT(lists); i++)
			fl_json_each (ct, fl_json_get(spec, lists[i]))
				add_qos(&q, fl_json_get(ct, "resources"));
	}
	if (!q.any)
		return "BestEffort";
	return q.all_limited ? "Guaranteed" : "Burstable";
}

// --- validation ---

static const char *sub(struct fl_causes *c, const char *field, const char *name)
{
	return fl_arena_printf(c->arena, "%s.%s", field, name);
}

static void validate_one_of(struct fl_causes *c, const char *field, const struct fl_json *spec, const char *key,
			    const char *const *values)
{
	if (fl_json_get(spec, key))
		fl_validate_one_of(c, sub(c, field, key), fl_json_get(spec, key), values);
	else
		fl_cause_add(c, FL_CAUSE_REQUIRED, sub(c, field, key), NULL, NULL);
}

static void validate_toleration(struct fl_causes *c, const char *field, const struct fl_json *t)
{
	static const char *const effects[] = {"NoSchedule", "PreferNoSchedule", "NoExecute", NULL};
	static const char *const operators[] = {"Equal", "Exists", NULL};
	const char *key = fl_json_str_or(t, "key", ""), *op = fl_json_str_or(t, "operator", "Equal");
	const char *effect = fl_json_str_or(t, "effect", "");

	if (*key)
		fl_validate_qualified_name(c, sub(c, field, "key"), key);
	else if (!fl_streq(op, "Exists"))
		fl_cause_add(c, FL_CAUSE_INVALID, sub(c, field, "operator"), fl_json_new_str(c->arena, op),
			     "operator must be Exists when `key` is empty, which means \"match all values and all "
			     "keys\"");
	if (fl_json_get(t, "tolerationSeconds") && !fl_streq(effect, "NoExecute"))
		fl_cause_add(c, FL_CAUSE_INVALID, sub(c, field, "effect"), fl_json_new_str(c->arena, effect),
			     "effect must be 'NoExecute' when `tolerationSeconds` is set");
	if (fl_streq(op, "Equal"))
		fl_validate_string(c, sub(c, field, "operator"), fl_json_get(t, "value"), fl_check_label_value);
	else if (fl_streq(op, "Exists") && !fl_str_empty(fl_json_str(t, "value")))
		fl_cause_add(c, FL_CAUSE_INVALID, sub(c, field, "operator"), t,
			     "value must be empty when `operator` is 'Exists'");
	else if (!fl_streq(op, "Exists"))
		fl_validate_one_of(c, sub(c, field, "operator"), fl_json_get(t, "operator"), operators);
	if (*effect)
		fl_validate_one_of(c, sub(c, field, "effect"), fl_json_get(t, "effect"), effects);
}

static void validate_host_aliases(struct fl_causes *c, const char *field, const struct fl_json *aliases)
{
	size_t i = 0;

	fl_json_each (alias, aliases) {
		const char *at = fl_arena_printf(c->arena, "%s[%zu]", field, i++);
		struct fl_ip ip;
		size_t j = 0;

		(void)fl_validate_ip(c, sub(c, at, "ip"), fl_json_get(alias, "ip"), &ip);
		fl_json_each (h, fl_json_get(alias, "hostnames"))
			fl_validate_string(c, fl_arena_printf(c->arena, "%s.hostnames[%zu]", at, j++), h,
					   fl_check_dns1123_subdomain);
	}
}

enum { MAX_NAMESERVERS = 3, MAX_SEARCHES = 32, MAX_SEARCH_CHARS = 2048 };

static void validate_dns(struct fl_causes *c, const char *field, const struct fl_json *spec)
{
	static const char *const known[] = {"ClusterFirst", "ClusterFirstWithHostNet", "Default", "None", NULL};
	const struct fl_json *config = fl_json_get(spec, "dnsConfig");
	const struct fl_json *servers = fl_json_get(config, "nameservers"), *searches = fl_json_get(config, "searches");
	const char *at = sub(c, field, "dnsConfig");
	size_t i = 0, chars = 0;
	struct fl_ip ip;

	validate_one_of(c, field, spec, "dnsPolicy", known);
	if (fl_streq(fl_json_str(spec, "dnsPolicy"), "None") && !fl_json_count(servers))
		fl_cause_add(c, FL_CAUSE_REQUIRED, sub(c, at, "nameservers"), NULL,
			     "must provide at least one DNS nameserver when `dnsPolicy` is None");
	if (fl_json_count(servers) > MAX_NAMESERVERS)
		fl_cause_add(c, FL_CAUSE_INVALID, sub(c, at, "nameservers"), servers,
			     "must not have more than %d nameservers", MAX_NAMESERVERS);
	fl_json_each (s, servers)
		(void)fl_validate_ip(c, fl_arena_printf(c->arena, "%s.nameservers[%zu]", at, i++), s, &ip);
	i = 0;
	fl_json_each (s, searches) {
		const char *text = fl_json_string(s);
		size_t n = text ? strlen(text) : 0;

		chars += n + 1;
		// A single dot, a trailing dot and underscores are what resolvers take.
		if (n > 1 || (n == 1 && *text != '.')) {
			char *plain = fl_arena_strndup(c->arena, text, n - (text[n - 1] == '.'));

			for (char *p = plain; *p; p++)
				*p = *p == '_' ? 'a' : *p;
			if (fl_check_dns1123_subdomain(c->arena, plain))
				fl_cause_add(c, FL_CAUSE_INVALID, fl_arena_printf(c->arena, "%s.searches[%zu]", at, i),
					     s, "%s", fl_check_dns1123_subdomain(c->arena, plain));
		}
		i++;
	}
	if (i > MAX_SEARCHES)
		fl_cause_add(c, FL_CAUSE_INVALID, sub(c, at, "searches"), searches,
			     "must not have more than %d search paths", MAX_SEARCHES);
	if (chars > MAX_SEARCH_CHARS + 1)
		fl_cause_add(c, FL_CAUSE_INVALID, sub(c, at, "searches"), searches,
			     "must not have more than %d characters (including spaces) in the search list",
			     MAX_SEARCH_CHARS);
	i = 0;
	fl_json_each (o, fl_json_get(config, "options")) {
		if (fl_str_empty(fl_json_str(o, "name")))
			fl_cause_add(c, FL_CAUSE_REQUIRED, fl_arena_printf(c->arena, "%s.options[%zu]", at, i), NULL,
				     "must not be empty");
		i++;
	}
}

static void validate_names(struct fl_causes *c, const char *field, const struct fl_json *spec)
{
	static const struct {
		const char *key;
		fl_name_check check;
	} rules[] = {
	    {"serviceAccountName", fl_check_dns1123_subdomain},
	    {"nodeName", fl_check_dns1123_subdomain},
	    {"hostname", fl_check_dns1123_label},
	    {"subdomain", fl_check_dns1123_label},
	    {"priorityClassName", fl_check_dns1123_subdomain},
	    {"runtimeClassName", fl_check_dns1123_subdomain},
	};

	for (size_t i = 0; i < FL_COUNT(rules); i++)
		fl_validate_string(c, sub(c, field, rules[i].key), fl_json_get(spec, rules[i].key), rules[i].check);
}

void fl_pod_spec_validate(struct fl_causes *c, const char *field, const struct fl_json *spec)
{
	static const char *const restart_policies[] = {"Always", "Never", "OnFailure", NULL};
	const struct fl_json *deadline = fl_json_get(spec, "activeDeadlineSeconds");
	size_t i = 0;

	fl_pod_volumes_validate(c, sub(c, field, "volumes"), fl_json_get(spec, "volumes"));
	fl_pod_containers_validate(c, field, spec);
	validate_one_of(c, field, spec, "restartPolicy", restart_policies);
	fl_validate_labels(c, sub(c, field, "nodeSelector"), fl_json_get(spec, "nodeSelector"));
	validate_dns(c, field, spec);
	validate_names(c, field, spec);
	fl_pod_security_validate(c, field, spec);
	fl_pod_placement_validate(c, field, spec);
	fl_json_each (t, fl_json_get(spec, "tolerations"))
		validate_toleration(c, fl_arena_printf(c->arena, "%s.tolerations[%zu]", field, i++), t);
	validate_host_aliases(c, sub(c, field, "hostAliases"), fl_json_get(spec, "hostAliases"));
	i = 0;
	fl_json_each (g, fl_json_get(spec, "readinessGates"))
		fl_validate_qualified_name(
		    c, fl_arena_printf(c->arena, "%s.readinessGates[%zu].conditionType", field, i++),
		    fl_json_str_or(g, "conditionType", ""));
	if (fl_json_is(deadline, FL_JSON_INT) && (deadline->i < 1 || deadline->i > INT32_MAX))
		fl_cause_add(c, FL_CAUSE_INVALID, sub(c, field, "activeDeadlineSeconds"), deadline,
			     "must be between 1 and 2147483647, inclusive");
	fl_validate_non_negative(c, sub(c, field, "terminationGracePeriodSeconds"),
				 fl_json_get(spec, "terminationGracePeriodSeconds"));
}

void fl_pod_template_validate(struct fl_causes *c, const char *field, const struct fl_json *template,
			      const struct fl_json *selector, const char *kind)
{
	static const char *const always[] = {"Always", NULL};
	const struct fl_json *meta = fl_json_get(template, "metadata"), *spec = fl_json_get(template, "spec");
	const struct fl_json *labels = fl_json_get(meta, "labels");
	const char *spec_field = sub(c, field, "spec");
	const char *policy = fl_json_str_or(spec, "restartPolicy", "");
	struct fl_selector *parsed = NULL;

	if (fl_json_count(selector) && fl_label_selector_from_json(c->arena, selector, &parsed, NULL) == 0 &&
	    !fl_selector_matches(parsed, labels))
		fl_cause_add(c, FL_CAUSE_INVALID, sub(c, field, "metadata.labels"),
			     labels ? labels : fl_json_new(c->arena, FL_JSON_NULL),
			     "`selector` does not match template `labels`");
	fl_validate_labels(c, sub(c, field, "labels"), labels);
	fl_validate_annotations(c, sub(c, field, "annotations"), fl_json_get(meta, "annotations"));
	fl_pod_spec_validate(c, spec_field, spec);
	if (fl_json_count(fl_json_get(spec, "ephemeralContainers")))
		fl_cause_add(c, FL_CAUSE_FORBIDDEN, sub(c, spec_field, "ephemeralContainers"), NULL,
			     "ephemeral containers not allowed in pod template");
	if (fl_streq(policy, "Never") || fl_streq(policy, "OnFailure"))
		fl_validate_one_of(c, sub(c, spec_field, "restartPolicy"), fl_json_get(spec, "restartPolicy"), always);
	if (fl_json_get(spec, "activeDeadlineSeconds"))
		fl_cause_add(c, FL_CAUSE_FORBIDDEN, sub(c, spec_field, "activeDeadlineSeconds"), NULL,
			     "activeDeadlineSeconds in %s is not Supported", kind);
}

void fl_cells_containers(struct fl_arena *a, struct fl_json *cells, const struct fl_json *template)
{
	const struct fl_json *containers = fl_json_path(template, "spec", "containers", NULL);

	fl_cell_string(a, cells, fl_join(a, containers, "name"));
	fl_cell_string(a, cells, fl_join(a, containers, "image"));
}
