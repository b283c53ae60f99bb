// SPDX-License-Identifier: Apache-2.0
// hosts, hostname and resolv.conf of a pod. See podfiles.h.
#include "node/podfiles.h"

#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "node/paths.h"

#define SEARCH_MAX 32 // glibc's and kubelet's limit

struct words {
	const char *v[SEARCH_MAX];
	unsigned n;
};

static void words_add(struct words *w, const char *word)
{
	for (unsigned i = 0; i < w->n; i++) {
		if (strcmp(w->v[i], word) == 0)
			return;
	}
	if (w->n < SEARCH_MAX)
		w->v[w->n++] = word;
}

// The words of the lines of a resolv.conf that begin with `key`; a later "search" replaces an earlier one.
static void words_from(struct fl_arena *a, struct words *w, const char *text, const char *key, bool last_line_only)
{
	char *copy = fl_arena_strdup(a, text), *save_line = NULL;

	for (char *line = strtok_r(copy, "\n", &save_line); line; line = strtok_r(NULL, "\n", &save_line)) {
		char *save = NULL, *word = strtok_r(line, " \t", &save);

		if (!word || strcmp(word, key) != 0)
			continue;
		if (last_line_only)
			w->n = 0;
		while ((word = strtok_r(NULL, " \t", &save)))
			words_add(w, word);
	}
}

static void write_line(struct fl_buf *b, const char *key, const struct words *w)
{
	if (!w->n)
		return;
	fl_buf_puts(b, key);
	for (unsigned i = 0; i < w->n; i++)
		fl_buf_printf(b, " %s", w->v[i]);
	fl_buf_putc(b, '\n');
}

// An option replaces one of the same name: "ndots:5" by "ndots:2".
static void option_set(struct words *w, const char *option)
{
	size_t n = strcspn(option, ":");

	for (unsigned i = 0; i < w->n; i++) {
		if (strcspn(w->v[i], ":") == n && strncmp(w->v[i], option, n) == 0) {
			w->v[i] = option;
			return;
		}
	}
	words_add(w, option);
}

void fl_podfiles_resolv_conf(struct fl_buf *b, const struct fl_pod_spec *p, const struct fl_dns_config *d)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	struct words servers = {0}, search = {0}, options = {0};
	const struct fl_json *config = fl_json_get(p->spec, "dnsConfig");
	char ip[FL_IP_STRLEN];
	bool cluster = strcmp(p->dns_policy, "ClusterFirstWithHostNet") == 0 ||
		       (strcmp(p->dns_policy, "ClusterFirst") == 0 && !p->host_network);

	if (cluster && d->n_servers) {
		for (unsigned i = 0; i < d->n_servers; i++)
			words_add(&servers, fl_arena_strdup(&a, fl_ip_format(&d->servers[i], ip)));
		words_add(&search, fl_arena_printf(&a, "%s.svc.%s", p->ns, d->domain));
		words_add(&search, fl_arena_printf(&a, "svc.%s", d->domain));
		words_add(&search, d->domain);
		words_from(&a, &search, d->host_resolv_conf, "search", false);
		words_add(&options, "ndots:5");
	} else if (strcmp(p->dns_policy, "None") != 0) {
		words_from(&a, &servers, d->host_resolv_conf, "nameserver", false);
		words_from(&a, &search, d->host_resolv_conf, "search", true);
		words_from(&a, &options, d->host_resolv_conf, "options", false);
	}
	fl_json_each (s, fl_json_get(config, "nameservers"))
		words_add(&servers, fl_json_string(s) ? fl_json_string(s) : "");
	fl_json_each (s, fl_json_get(config, "searches"))
		words_add(&search, fl_json_string(s) ? fl_json_string(s) : "");
	fl_json_each (o, fl_json_get(config, "options")) {
		const char *name = fl_json_str_or(o, "name", ""), *value = fl_json_str(o, "value");

		option_set(&options, value ? fl_arena_printf(&a, "%s:%s", name, value) : name);
	}
	write_line(b, "search", &search);
	for (unsigned i = 0; i < servers.n; i++)
		fl_buf_printf(b, "nameserver %s\n", servers.v[i]);
	write_line(b, "options", &options);
}

void fl_podfiles_hosts(struct fl_buf *b, const struct fl_pod_spec *p, const struct fl_ip *ips, unsigned n_ips,
		       const char *domain, const char *host_file)
{
	const char *subdomain = fl_json_str(p->spec, "subdomain");
	char ip[FL_IP_STRLEN];

	if (host_file) {
		fl_buf_printf(b, "# Kubernetes-managed hosts file (host network).\n%s", host_file);
	} else {
		fl_buf_puts(b, "# Kubernetes-managed hosts file.\n"
			       "127.0.0.1\tlocalhost\n"
			       "::1\tlocalhost ip6-localhost ip6-loopback\n"
			       "fe00::0\tip6-localnet\n"
			       "fe00::0\tip6-mcastprefix\n"
			       "fe00::1\tip6-allnodes\n"
			       "fe00::2\tip6-allrouters\n");
		for (unsigned i = 0; i < n_ips; i++) {
			fl_buf_printf(b, "%s\t", fl_ip_format(&ips[i], ip));
			if (!fl_str_empty(subdomain))
				fl_buf_printf(b, "%s.%s.%s.svc.%s\t", p->hostname, subdomain, p->ns, domain);
			fl_buf_printf(b, "%s\n", p->hostname);
		}
	}
	if (fl_json_count(fl_json_get(p->spec, "hostAliases")))
		fl_buf_puts(b, "\n# Entries added by HostAliases.\n");
	fl_json_each (alias, fl_json_get(p->spec, "hostAliases")) {
		fl_buf_printf(b, "%s", fl_json_str_or(alias, "ip", "127.0.0.1"));
		fl_json_each (name, fl_json_get(alias, "hostnames"))
			fl_buf_printf(b, "\t%s", fl_json_string(name) ? fl_json_string(name) : "");
		fl_buf_putc(b, '\n');
	}
}

static int put(const char *dir, const char *name, const struct fl_buf *b, struct fl_err *err)
{
	AUTO_FREE char *path = fl_asprintf("%s/etc/%s", dir, name);

	return fl_node_file_put(path, b->data ? b->data : "", b->len, 0644, err);
}

int fl_podfiles_write(const char *dir, const struct fl_pod_spec *p, const struct fl_ip *ips, unsigned n_ips,
		      const struct fl_dns_config *d, struct fl_err *err)
{
	AUTO(fl_buf_deinit) struct fl_buf hosts = {0}, resolv = {0}, hostname = {0};
	AUTO_FREE char *etc = fl_asprintf("%s/etc", dir), *host_file = NULL;
	int rc = fl_file_mkdirs(etc, 0755, err);

	if (rc < 0)
		return rc;
	if (p->host_network && fl_file_read("/etc/hosts", &host_file, NULL, NULL) < 0)
		host_file = fl_strdup("127.0.0.1\tlocalhost\n");
	fl_podfiles_hosts(&hosts, p, ips, n_ips, d->domain, host_file);
	fl_podfiles_resolv_conf(&resolv, p, d);
	fl_buf_printf(&hostname, "%s\n", p->hostname);
	rc = put(dir, "hosts", &hosts, err);
	if (rc == 0)
		rc = put(dir, "resolv.conf", &resolv, err);
	if (rc == 0)
		rc = put(dir, "hostname", &hostname, err);
	return rc;
}
