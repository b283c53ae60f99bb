// SPDX-License-Identifier: Apache-2.0
#include "cli/options.h"

#include <errno.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#include "api/quantity.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/vec.h"
#include "io/netlink.h"

enum kind { FLAG, TEXT, SIZE, SECONDS, IPS, CIDRS, LISTEN, PORT, PORT_RANGE };

struct option {
	const char *name, *value, *help;
	enum kind kind;
	size_t at, count_at; // offsets in struct fl_options
	unsigned max;
};

#define AT(member) offsetof(struct fl_options, member)

static const struct option options[] = {
    {"data-dir", "DIR", "where everything is kept (default /var/lib/fairlead)", TEXT, AT(data_dir), 0, 0},
    {"api-listen", "[IP]:PORT,...", "API server's addresses (default :6443, all; port 0 picks one)", LISTEN,
     AT(listen_text), 0, 0},
    {"advertise-address", "IP", "where pods and other nodes reach the API server (default the node's address)", IPS,
     AT(advertise), 0, 1},
    {"service-cidr", "CIDR[,CIDR]", "addresses of Services (default 10.96.0.0/12)", CIDRS, AT(service_cidrs),
     AT(n_service_cidrs), 2},
    {"pod-cidr", "CIDR[,CIDR]", "addresses of pods, a /24 a node (default 10.244.0.0/16)", CIDRS, AT(pod_cidrs),
     AT(n_pod_cidrs), 2},
    {"node-ip", "IP[,IP]", "this node's addresses (default that of the default route)", IPS, AT(node_ips),
     AT(n_node_ips), 2},
    {"node-port-range", "LOW-HIGH", "ports of NodePort Services (default 30000-32767)", PORT_RANGE, AT(node_port_low),
     AT(node_port_high), 0},
    {"cluster-domain", "NAME", "DNS zone (default cluster.local)", TEXT, AT(cluster_domain), 0, 0},
    {"node-name", "NAME", "name of the Node object (default the host name)", TEXT, AT(node_name), 0, 0},
    {"proxy-mode", "MODE", "nftables (default)", TEXT, AT(proxy_mode), 0, 0},
    {"netns", "PATH", "network namespace to run in (default the caller's)", TEXT, AT(netns), 0, 0},
    {"kubeconfig", "FILE", "of a role that is started alone", TEXT, AT(kubeconfig), 0, 0},
    {"runtime", "PROGRAM", "OCI runtime (default crun where it works, else runc)", TEXT, AT(runtime), 0, 0},
    {"upstream-dns", "IP[:PORT],...", "where other names are asked for (default /etc/resolv.conf)", TEXT, AT(upstream),
     0, 0},
    {"kubelet-port", "PORT", "of the node's HTTPS endpoint (default 10250; 0 picks one)", PORT, AT(kubelet_port), 0, 0},
    {"insecure-registry", "HOST[:PORT],...", "pull images from it without good TLS (or a CIDR; this host always)", TEXT,
     AT(insecure_registries), 0, 0},
    {"image-max-size", "SIZE", "of an image, packed and unpacked (default 64Gi)", SIZE, AT(image_max_bytes), 0, 0},
    {"history", "SECONDS", "how far back a watch or a list of an old revision may start (default 300)", SECONDS,
     AT(history_s), 0, 86400},
    {"no-masquerade", NULL, "pods reach other hosts by their own addresses (default: by the node's)", FLAG,
     AT(no_masquerade), 0, 0},
    {"proxy-metrics", "IP:PORT", "of the proxy (default off)", TEXT, AT(metrics_listen), 0, 0},
    {"proxy-healthz", "IP:PORT", "of the proxy (default off)", TEXT, AT(healthz_listen), 0, 0},
    {"repair", NULL, "drop what is damaged in the store, name it, keep the rest (up, apiserver)", FLAG, AT(repair), 0,
     0},
    {"log-level", "LEVEL", "debug, info (default), warn, error", TEXT, AT(log_level), 0, 0},
};

static void *at(const struct fl_options *o, size_t offset)
{
	return (char *)(uintptr_t)o + offset;
}

void fl_options_deinit(struct fl_options *o)
{
	for (size_t i = 0; i < FL_COUNT(options); i++)
		if (options[i].kind == TEXT || options[i].kind == LISTEN)
			free(*(char **)at(o, options[i].at));
	*o = (struct fl_options){0};
}

static void set_text(char **slot, const char *value)
{
	free(*slot);
	*slot = fl_strdup(value);
}

static bool parse_port(const char *text, uint16_t *ret)
{
	unsigned long long n;
	if (!fl_parse_u64(text, &n) || n > 65535)
		return false;
	*ret = (uint16_t)n;
	return true;
}

bool fl_options_parse_listen(char *text, struct fl_ip *ret_ip, bool *ret_any, uint16_t *ret_port)
{
	char *colon = strrchr(text, ':');
	if (!colon || !parse_port(colon + 1, ret_port))
		return false;
	*colon = 0;
	*ret_any = !*text;
	if (*ret_any)
		return true;
	size_t n = strlen(text);
	if (n > 2 && text[0] == '[' && text[n - 1] == ']') {
		text[n - 1] = 0;
		text++;
	}
	return fl_ip_parse(text, ret_ip);
}

static int parse_listen(struct fl_options *o, const char *value, struct fl_err *err)
{
	AUTO_FREE char *copy = fl_strdup(value);
	bool any_at_all = false;
	unsigned n = 0;
	for (char *save = NULL, *part = strtok_r(copy, ",", &save); part; part = strtok_r(NULL, ",", &save), n++) {
		bool any;
		uint16_t port;
		if (n == FL_MAX_LISTEN || !fl_options_parse_listen(part, &o->listen[n], &any, &port) ||
		    (n && port != o->api_port))
			return fl_err_set(err, -EINVAL,
					  "--api-listen %s: expected [IP]:PORT, at most %d of them, all with one port",
					  value, FL_MAX_LISTEN);
		o->api_port = port;
		any_at_all |= any;
	}
	if (!n)
		return fl_err_set(err, -EINVAL, "--api-listen %s: names no address", value);
	o->n_listen = any_at_all ? 0 : n;
	set_text(&o->listen_text, value);
	return 0;
}

static int parse_value(struct fl_options *o, const struct option *opt, const char *value, struct fl_err *err)
{
	if (opt->kind == TEXT) {
		set_text(at(o, opt->at), value);
		return 0;
	}
	if (opt->kind == LISTEN)
		return parse_listen(o, value, err);
	if (opt->kind == FLAG) {
		if (strcmp(value, "true") != 0 && strcmp(value, "false") != 0)
			return fl_err_set(err, -EINVAL, "--%s %s: expected true or false", opt->name, value);
		*(bool *)at(o, opt->at) = value[0] == 't';
		return 0;
	}
	if (opt->kind == SIZE) {
		struct fl_quantity q;
		if (!fl_quantity_parse(value, &q) || q.nano < 1000000000)
			return fl_err_set(err, -EINVAL, "--%s %s: expected a number of bytes, as 500Mi", opt->name,
					  value);
		*(uint64_t *)at(o, opt->at) = (uint64_t)(q.nano / 1000000000);
		return 0;
	}
	if (opt->kind == SECONDS) {
		unsigned long long n;
		if (!fl_parse_u64(value, &n) || !n || n > opt->max)
			return fl_err_set(err, -EINVAL, "--%s %s: expected seconds, from 1 to %u", opt->name, value,
					  opt->max);
		*(unsigned *)at(o, opt->at) = (unsigned)n;
		return 0;
	}
	AUTO_FREE char *copy = fl_strdup(value);
	if (opt->kind == PORT) {
		if (parse_port(value, at(o, opt->at)))
			return 0;
		return fl_err_set(err, -EINVAL, "--%s %s: expected a port", opt->name, value);
	}
	if (opt->kind == PORT_RANGE) {
		char *dash = strchr(copy, '-');
		uint16_t low, high;
		if (dash)
			*dash++ = 0;
		if (!dash || !parse_port(copy, &low) || !parse_port(dash, &high) || !low || low > high)
			return fl_err_set(err, -EINVAL, "--%s %s: expected LOW-HIGH, ports from 1 to 65535", opt->name,
					  value);
		*(uint16_t *)at(o, opt->at) = low;
		*(uint16_t *)at(o, opt->count_at) = high;
		return 0;
	}
	unsigned n = 0;
	for (char *save = NULL, *part = strtok_r(copy, ",", &save); part; part = strtok_r(NULL, ",", &save), n++) {
		if (n == opt->max)
			return fl_err_set(err, -EINVAL, "--%s %s: at most %u", opt->name, value, opt->max);
		bool ok = opt->kind == IPS ? fl_ip_parse(part, (struct fl_ip *)at(o, opt->at) + n)
					   : fl_cidr_parse(part, (struct fl_cidr *)at(o, opt->at) + n, false);
		if (!ok)
			return fl_err_set(err, -EINVAL, "--%s %s: %s is no %s", opt->name, value, part,
					  opt->kind == IPS ? "IP address" : "CIDR (its host bits must be zero)");
	}
	if (!n)
		return fl_err_set(err, -EINVAL, "--%s %s: names none", opt->name, value);
	if (opt->count_at)
		*(unsigned *)at(o, opt->count_at) = n;
	return 0;
}

int fl_options_parse(int argc, char *const *argv, struct fl_options *ret, struct fl_err *err)
{
	AUTO(fl_options_deinit)
	struct fl_options o = {
	    .node_port_low = 30000, .node_port_high = 32767, .api_port = 6443, .kubelet_port = 10250};
	o.data_dir = fl_strdup("/var/lib/fairlead");
	o.cluster_domain = fl_strdup("cluster.local");
	o.proxy_mode = fl_strdup("nftables");
	o.listen_text = fl_strdup(":6443");
	fl_cidr_parse("10.96.0.0/12", &o.service_cidrs[0], false);
	fl_cidr_parse("10.244.0.0/16", &o.pod_cidrs[0], false);
	o.n_service_cidrs = o.n_pod_cidrs = 1;
	for (int i = 1; i < argc; i++) {
		const char *arg = argv[i];
		if (!strcmp(arg, "--help") || !strcmp(arg, "-h")) {
			o.help = true;
			continue;
		}
		if (strncmp(arg, "--", 2) != 0)
			return fl_err_set(err, -EINVAL, "unexpected argument %s", arg);
		size_t n = strcspn(arg + 2, "=");
		const struct option *opt = NULL;
		for (size_t k = 0; k < FL_COUNT(options) && !opt; k++)
			if (strlen(options[k].name) == n && !strncmp(options[k].name, arg + 2, n))
				opt = &options[k];
		if (!opt)
			return fl_err_set(err, -EINVAL, "unknown option %.*s", (int)n + 2, arg);
		if (opt->kind == FLAG && arg[n + 2] != '=') {
			*(bool *)at(&o, opt->at) = true;
			continue;
		}
		const char *value = arg[n + 2] == '=' ? arg + n + 3 : i + 1 < argc ? argv[++i] : NULL;
		if (!value || !*value)
			return fl_err_set(err, -EINVAL, "--%s wants a value", opt->name);
		int rc = parse_value(&o, opt, value, err);
		if (rc < 0)
			return rc;
	}
	if (o.data_dir[0] != '/') {
		char cwd[PATH_MAX];
		if (!getcwd(cwd, sizeof(cwd)))
			return fl_err_set(err, -errno, "--data-dir: %s", strerror(errno));
		char *whole = fl_asprintf("%s/%s", cwd, o.data_dir);
		free(o.data_dir);
		o.data_dir = whole;
	}
	*ret = o;
	o = (struct fl_options){0};
	return 0;
}

bool fl_options_listens_on(const struct fl_options *o, const struct fl_ip *ip)
{
	for (unsigned i = 0; i < o->n_listen; i++)
		if (fl_ip_equal(&o->listen[i], ip) ||
		    (fl_ip_is_unspecified(&o->listen[i]) && o->listen[i].family == ip->family))
			return true;
	return !o->n_listen;
}

static struct fl_ip choose_advertise(const struct fl_options *o, int family)
{
	struct fl_ip of_node = {0};
	for (unsigned i = 0; i < o->n_node_ips; i++)
		if (o->node_ips[i].family == family)
			of_node = o->node_ips[i];
	if (!of_node.family || fl_options_listens_on(o, &of_node))
		return of_node;
	for (unsigned i = 0; i < o->n_listen; i++)
		if (o->listen[i].family == family && !fl_ip_is_loopback(&o->listen[i]) &&
		    !fl_ip_is_link_local(&o->listen[i]))
			return o->listen[i];
	return of_node;
}

int fl_options_resolve(struct fl_options *o, struct fl_err *err)
{
	if (!o->node_name) {
		struct utsname u;
		if (uname(&u) < 0)
			return fl_err_set(err, -errno, "host name: %s", strerror(errno));
		o->node_name = fl_strdup(u.nodename);
		for (char *p = o->node_name; *p; p++) // RFC 1123: lower case
			*p = (char)(*p >= 'A' && *p <= 'Z' ? *p + 32 : *p == '_' ? '-' : *p);
	}
	if (!o->n_node_ips) {
		for (unsigned i = 0; i < o->n_pod_cidrs; i++) {
			int rc = fl_host_primary_ip(o->pod_cidrs[i].ip.family, &o->node_ips[o->n_node_ips], err);
			if (rc < 0)
				return fl_err_prefix(err, "this host has no address for the node, give --node-ip");
			o->n_node_ips++;
		}
	}
	// default/kubernetes has one family, and its endpoint must be of it.
	int family = o->service_cidrs[0].ip.family;
	if (!o->advertise.family)
		o->advertise = choose_advertise(o, family);
	if (!o->advertise.family)
		return fl_err_set(err, -EINVAL,
				  "this node has no IPv%d address for the API server, as --service-cidr wants",
				  family == AF_INET6 ? 6 : 4);
	return 0;
}

typedef FL_VEC(char *) argv_vec;

static void add(argv_vec *v, const char *name, char *value)
{
	fl_vec_push(v, fl_asprintf("--%s=%s", name, value));
	free(value);
}

char **fl_options_to_argv(const struct fl_options *o)
{
	argv_vec v = {0};
	for (size_t i = 0; i < FL_COUNT(options); i++) {
		const struct option *opt = &options[i];
		AUTO(fl_buf_deinit) struct fl_buf b = {0};
		bool listed = opt->count_at && opt->kind != PORT_RANGE;
		unsigned n = listed ? *(unsigned *)at(o, opt->count_at) : 1;
		char text[FL_CIDR_STRLEN];
		switch (opt->kind) {
		case FLAG:
			if (*(bool *)at(o, opt->at))
				add(&v, opt->name, fl_strdup("true"));
			break;
		case TEXT:
		case LISTEN:
			if (*(char **)at(o, opt->at))
				add(&v, opt->name, fl_strdup(*(char **)at(o, opt->at)));
			break;
		case SIZE:
			if (*(uint64_t *)at(o, opt->at))
				add(&v, opt->name,
				    fl_asprintf("%llu", (unsigned long long)*(uint64_t *)at(o, opt->at)));
			break;
		case PORT:
			add(&v, opt->name, fl_asprintf("%u", *(uint16_t *)at(o, opt->at)));
			break;
		case SECONDS:
			if (*(unsigned *)at(o, opt->at))
				add(&v, opt->name, fl_asprintf("%u", *(unsigned *)at(o, opt->at)));
			break;
		case PORT_RANGE:
			add(&v, opt->name,
			    fl_asprintf("%u-%u", *(uint16_t *)at(o, opt->at), *(uint16_t *)at(o, opt->count_at)));
			break;
		case IPS:
			for (unsigned k = 0; k < n; k++) {
				const struct fl_ip *ip = (struct fl_ip *)at(o, opt->at) + k;
				if (ip->family)
					fl_buf_printf(&b, "%s%s", b.len ? "," : "", fl_ip_format(ip, text));
			}
			if (b.len)
				add(&v, opt->name, fl_buf_take(&b));
			break;
		case CIDRS:
			for (unsigned k = 0; k < n; k++)
				fl_buf_printf(&b, "%s%s", b.len ? "," : "",
					      fl_cidr_format((struct fl_cidr *)at(o, opt->at) + k, text));
			if (b.len)
				add(&v, opt->name, fl_buf_take(&b));
			break;
		}
	}
	fl_vec_push(&v, NULL);
	return v.v;
}

void fl_options_free_argv(char **argv)
{
	for (char **p = argv; p && *p; p++)
		free(*p);
	free(argv);
}

void fl_options_print_help(const char *verb)
{
	printf("usage: fairlead %s [--option=value ...]\n\n", verb);
	for (size_t i = 0; i < FL_COUNT(options); i++) {
		char left[64];
		const char *value = options[i].value;
		snprintf(left, sizeof(left), "--%s%s%s", options[i].name, value ? "=" : "", value ? value : "");
		printf("  %-34s %s\n", left, options[i].help);
	}
}

struct fl_cidr fl_options_node_pod_cidr(const struct fl_options *o, unsigned i)
{
	struct fl_cidr c = o->pod_cidrs[i];
	c.bits = c.ip.family == AF_INET ? 24 : 64;
	return c;
}

struct fl_ip fl_options_pod_gateway(const struct fl_options *o, unsigned i)
{
	struct fl_cidr c = fl_options_node_pod_cidr(o, i);
	return fl_cidr_nth(&c, 1);
}

struct fl_ip fl_options_dns_ip(const struct fl_options *o, unsigned i)
{
	return fl_cidr_nth(&o->service_cidrs[i], 10);
}
