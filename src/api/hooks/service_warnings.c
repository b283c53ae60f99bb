// SPDX-License-Identifier: Apache-2.0
#include "api/hooks/warnings.h"

#include <stdarg.h>

#include "api/hooks/service.h"
#include "base/ip.h"
#include "base/mem.h"

#define MAX_WARNINGS 100 // of one object: nobody reads more

void fl_warn(struct fl_arena *a, struct fl_json *texts, const char *format, ...)
{
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	va_list ap;
	if (fl_json_count(texts) == MAX_WARNINGS)
		return;
	va_start(ap, format);
	fl_buf_vprintf(&b, format, ap);
	va_end(ap);
	fl_json_append(texts, fl_json_new_str(a, b.data));
}

// util/validation GetWarningsForIP: IPv6 in another form than controllers write it in.
static void warn_ip(struct fl_arena *a, struct fl_json *texts, const char *field, const char *value)
{
	struct fl_ip ip;
	char text[FL_IP_STRLEN];
	if (value && fl_ip_parse(value, &ip) && ip.family == AF_INET6 && strcmp(fl_ip_format(&ip, text), value) != 0)
		fl_warn(a, texts, "%s: IPv6 address \"%s\" should be in RFC 5952 canonical format (\"%s\")", field,
			value, text);
}

static void warn_ips(struct fl_arena *a, struct fl_json *texts, const struct fl_json *spec, const char *list)
{
	unsigned i = 0;
	fl_json_each (v, fl_json_get(spec, list))
		warn_ip(a, texts, fl_arena_printf(a, "spec.%s[%u]", list, i++), fl_json_string(v));
}

// util/validation GetWarningsForCIDR
static void warn_cidr(struct fl_arena *a, struct fl_json *texts, const char *field, const char *value)
{
	struct fl_cidr c, strict;
	struct fl_ip ip;
	char network[FL_CIDR_STRLEN], address[FL_IP_STRLEN];
	if (!value || !fl_cidr_parse(value, &c, true))
		return;
	fl_cidr_format(&c, network);
	if (!fl_cidr_parse(value, &strict, false) && fl_ip_parse(fl_arena_strndup(a, value, strcspn(value, "/")), &ip))
		fl_warn(a, texts, "%s: CIDR value \"%s\" is ambiguous in this context (should be \"%s\" or \"%s/%d\"?)",
			field, value, network, fl_ip_format(&ip, address), ip.family == AF_INET ? 32 : 128);
	else if (c.ip.family == AF_INET6 && strcmp(network, value) != 0)
		fl_warn(a, texts, "%s: IPv6 CIDR value \"%s\" should be in RFC 5952 canonical format (\"%s\")", field,
			value, network);
}

static void warn_headless(struct fl_arena *a, const struct fl_json *spec, struct fl_json *texts)
{
	if (!fl_str_empty(fl_json_str(spec, "loadBalancerIP")))
		fl_warn(a, texts, "spec.loadBalancerIP is ignored for headless services");
	if (fl_json_count(fl_json_get(spec, "externalIPs")))
		fl_warn(a, texts, "spec.externalIPs is ignored for headless services");
	if (strcmp(fl_json_str_or(spec, "sessionAffinity", "None"), "None") != 0)
		fl_warn(a, texts, "spec.SessionAffinity is ignored for headless services");
}

void fl_service_warn(struct fl_arena *a, const struct fl_json *obj, const struct fl_json *old, struct fl_json *texts)
{
	const struct fl_json *spec = fl_json_get(obj, "spec");
	const char *type = fl_service_type(spec), *ip = fl_json_str_or(spec, "clusterIP", "");
	bool external_name = fl_streq(type, "ExternalName");
	unsigned i = 0;

	if (fl_json_path(obj, "metadata", "annotations", "service.kubernetes.io/topology-aware-hints", NULL))
		fl_warn(a, texts,
			"annotation service.kubernetes.io/topology-aware-hints is deprecated, please use "
			"service.kubernetes.io/topology-mode instead");
	if (strcmp(ip, "None") != 0)
		warn_ips(a, texts, spec, "clusterIPs");
	else if (fl_streq(type, "ClusterIP"))
		warn_headless(a, spec, texts);
	if (fl_json_count(fl_json_get(spec, "externalIPs")))
		fl_warn(a, texts, "spec.externalIPs is deprecated and may no longer be implemented in some clusters");
	warn_ips(a, texts, spec, "externalIPs");
	warn_ip(a, texts, "spec.loadBalancerIP", fl_json_str(spec, "loadBalancerIP"));
	fl_json_each (range, fl_json_get(spec, "loadBalancerSourceRanges"))
		warn_cidr(a, texts, fl_arena_printf(a, "spec.loadBalancerSourceRanges[%u]", i++),
			  fl_json_string(range));
	if (external_name && fl_json_count(fl_json_get(spec, "externalIPs")))
		fl_warn(a, texts, "spec.externalIPs is ignored when spec.type is \"ExternalName\"");
	if (!external_name && !fl_str_empty(fl_json_str(spec, "externalName")))
		fl_warn(a, texts, "spec.externalName is ignored when spec.type is not \"ExternalName\"");
	if (fl_streq(fl_json_str(spec, "trafficDistribution"), "PreferClose"))
		fl_warn(a, texts, "spec.trafficDistribution: \"PreferClose\" is deprecated; use \"PreferSameZone\"");
}
