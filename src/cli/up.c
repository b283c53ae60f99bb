// SPDX-License-Identifier: Apache-2.0
// fairlead up: options -> network namespace -> lock -> certificates -> roles under the supervisor.
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "cli/common.h"
#include "cli/options.h"
#include "cli/ranges.h"
#include "cli/verbs.h"
#include "supervisor/pki.h"
#include "supervisor/supervisor.h"

static const char *const role_names[] = {"apiserver", "controllers", "proxy", "node", "dns"};

#define RENEW_EVERY_MS 3600000

struct up {
	struct fl_options o;
	struct fl_ip admin_ip; // where admin.kubeconfig leads
	bool is_signed;        // there are certificates that the kubeconfigs do not have yet
	struct fl_supervised roles[FL_COUNT(role_names)];
};

// "https://host:port", with the brackets that IPv6 wants. free() it.
static char *url(const struct fl_ip *ip, uint16_t port)
{
	char text[FL_IP_STRLEN];
	bool v6 = ip->family == AF_INET6;
	return fl_asprintf("https://%s%s%s:%u", v6 ? "[" : "", fl_ip_format(ip, text), v6 ? "]" : "", port);
}

// The verb, the resolved options, and for a role that is a client its kubeconfig.
static char **role_argv(const struct fl_options *o, const char *role)
{
	struct fl_options mine = *o;
	AUTO_FREE char *kubeconfig = fl_asprintf("%s/kubeconfig/%s.kubeconfig", o->data_dir, role);
	mine.kubeconfig = strcmp(role, "apiserver") != 0 ? kubeconfig : NULL;
	mine.netns = NULL; // entered already
	char **options = fl_options_to_argv(&mine);
	unsigned n = 0;
	while (options[n])
		n++;
	options = fl_realloc(options, (n + 2) * sizeof(*options));
	memmove(options + 1, options, (n + 1) * sizeof(*options));
	options[0] = fl_strdup(role);
	return options;
}

static int write_kubeconfigs(struct up *up, struct fl_err *err)
{
	struct fl_ip local = up->o.n_listen ? up->o.listen[0] : (struct fl_ip){0};
	if (!local.family)
		fl_ip_parse("127.0.0.1", &local);
	AUTO_FREE char *admin = url(&up->admin_ip, up->o.api_port), *role = url(&local, up->o.api_port);
	int rc = fl_pki_write_kubeconfigs(up->o.data_dir, up->o.node_name, admin, role, err);
	if (rc == 0)
		up->is_signed = false;
	return rc;
}

static void make_argv(struct up *up)
{
	for (unsigned i = 0; i < FL_COUNT(role_names); i++) {
		fl_options_free_argv(up->roles[i].argv);
		up->roles[i] = (struct fl_supervised){.name = role_names[i], .argv = role_argv(&up->o, role_names[i])};
	}
}

// Where port 0 was asked for, an API server that is started again keeps what was picked, and the node knows to which
// port a host's firewall must let pods through.
static int on_port(void *arg, uint16_t port, struct fl_err *err)
{
	struct up *up = arg;
	if (port != up->o.api_port) {
		up->o.api_port = port;
		free(up->o.listen_text);
		AUTO(fl_buf_deinit) struct fl_buf b = {0};
		for (unsigned i = 0; i < up->o.n_listen; i++) {
			char text[FL_IP_STRLEN];
			bool v6 = up->o.listen[i].family == AF_INET6;
			fl_buf_printf(&b, "%s%s%s%s:%u", b.len ? "," : "", v6 ? "[" : "",
				      fl_ip_format(&up->o.listen[i], text), v6 ? "]" : "", port);
		}
		up->o.listen_text = b.len ? fl_buf_take(&b) : fl_asprintf(":%u", port);
		make_argv(up);
	}
	return write_kubeconfigs(up, err);
}

static int ensure_pki(struct up *up, struct fl_err *err)
{
	const struct fl_options *o = &up->o;
	struct fl_pki_layout_opts p = {
	    .data_dir = o->data_dir, .node_name = o->node_name, .cluster_domain = o->cluster_domain};
	p.ips[p.n_ips++] = o->advertise;
	for (unsigned i = 0; i < o->n_node_ips; i++)
		p.ips[p.n_ips++] = o->node_ips[i];
	for (unsigned i = 0; i < o->n_service_cidrs; i++)
		p.ips[p.n_ips++] = fl_cidr_nth(&o->service_cidrs[i], 1);
	for (unsigned i = 0; i < o->n_listen && p.n_ips < FL_COUNT(p.ips); i++)
		p.ips[p.n_ips++] = o->listen[i];
	return fl_pki_ensure(&p, &up->is_signed, err);
}

static int renew(void *arg, struct fl_err *err)
{
	struct up *up = arg;
	int rc = ensure_pki(up, err);
	if (rc < 0 || !up->is_signed)
		return rc;
	rc = write_kubeconfigs(up, err);
	return rc < 0 ? rc : 1;
}

// Without --advertise-address the API server may be told to listen where no pod can reach it. The administrator is led
// to where it does listen.
static void choose_admin_ip(struct up *up, bool advertise_given)
{
	const struct fl_options *o = &up->o;
	char text[FL_IP_STRLEN];
	up->admin_ip = o->advertise;
	if (advertise_given || fl_options_listens_on(o, &o->advertise))
		return;
	up->admin_ip = o->listen[0];
	fl_warn("pods cannot reach the API server: --api-listen has no address that they could send to address=%s",
		fl_ip_format(&o->listen[0], text));
}

static int run(struct up *up, uint64_t started_ms, struct fl_err *err)
{
	struct fl_options *o = &up->o;
	AUTO_CLOSE int lock = -1;
	if (geteuid() != 0)
		return fl_err_set(err, -EPERM, "a node makes network namespaces, links and rules: run it as root");
	int rc = fl_cli_enter_netns(o->netns, err);
	if (rc < 0 || (rc = fl_supervisor_lock(o->data_dir, &lock, err)) < 0 ||
	    (rc = fl_cli_finish_reset(o->data_dir, true, err)) < 0 || (rc = fl_cli_repair(o, err)) < 0)
		return rc;
	o->repair = false; // done; what is damaged later is for somebody to decide anew
	bool advertise_given = o->advertise.family != 0;
	if ((rc = fl_options_resolve(o, err)) < 0 || (rc = fl_options_check_host(o, err)) < 0 ||
	    (rc = fl_ranges_check(o, err)) < 0 || (rc = fl_cli_save_options(o, err)) < 0 ||
	    (rc = ensure_pki(up, err)) < 0)
		return rc;
	choose_admin_ip(up, advertise_given);
	make_argv(up);
	AUTO_FREE char *port_file = fl_cli_port_file(o), *admin = fl_asprintf("%s/admin.kubeconfig", o->data_dir);
	struct fl_supervisor_opts s = {
	    .roles = up->roles,
	    .n_roles = FL_COUNT(role_names),
	    .lock_fd = lock,
	    .port_file = port_file,
	    .on_port = on_port,
	    .renew = renew,
	    .renew_every_ms = RENEW_EVERY_MS,
	    .arg = up,
	    .admin_kubeconfig = admin,
	    .started_ms = started_ms,
	};
	return fl_supervisor_run(&s, err);
}

int fl_verb_up(int argc, char **argv)
{
	uint64_t started_ms = fl_mono_ms();
	struct up up = {0};
	struct fl_err err = {0};
	int status = fl_cli_parse(argc, argv, &up.o);
	if (status >= 0)
		return status;
	int rc = run(&up, started_ms, &err);
	for (unsigned i = 0; i < FL_COUNT(up.roles); i++)
		fl_options_free_argv(up.roles[i].argv);
	fl_options_deinit(&up.o);
	return fl_cli_end(rc, &err);
}
