// SPDX-License-Identifier: Apache-2.0
#include "cli/roles.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>

#include "apiserver/apiserver.h"
#include "base/mem.h"
#include "base/version.h"
#include "cli/common.h"
#include "cli/privileges.h"
#include "cli/verbs.h"
#include "controller/controllers.h"
#include "dns/dns.h"
#include "node/node.h"
#include "proxy/proxy.h"
#include "supervisor/supervisor.h"

// Parses, resolves, runs. A role under a supervisor ends with it, however that ends.
#define ALL_CAPABILITIES UINT64_MAX

static int run_role(int argc, char **argv, uint64_t capabilities,
		    int (*run)(const struct fl_options *o, struct fl_err *err))
{
	struct fl_options o = {0};
	struct fl_err err = {0};
	int status = fl_cli_parse(argc, argv, &o);
	if (status >= 0)
		return status;
	signal(SIGPIPE, SIG_IGN);
	const char *supervisor = getenv(FL_SUPERVISOR_ENV);
	if (supervisor) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (fcntl(FL_SUPERVISOR_LOCK_FD, F_SETFD, FD_CLOEXEC) < 0) // the role's, not its children's
			return 1;
		if (getppid() != atoi(supervisor)) { // it ended before the line above
			fl_options_deinit(&o);
			return 1;
		}
	}
	int rc = fl_cli_enter_netns(o.netns, &err);
	if (rc == 0)
		rc = fl_options_resolve(&o, &err);
	if (rc == 0 && capabilities != ALL_CAPABILITIES)
		rc = fl_privileges_keep(capabilities, &err);
	if (rc == 0)
		rc = run(&o, &err);
	fl_options_deinit(&o);
	return fl_cli_end(rc, &err);
}

static char *pki_file(const struct fl_options *o, const char *name)
{
	return fl_asprintf("%s/pki/%s", o->data_dir, name);
}

static int run_apiserver(const struct fl_options *o, struct fl_err *err)
{
	AUTO_FREE char *cert = pki_file(o, "apiserver.crt"), *key = pki_file(o, "apiserver.key"),
		       *ca = pki_file(o, "ca.crt"), *kubelet_cert = pki_file(o, "apiserver-kubelet-client.crt"),
		       *kubelet_key = pki_file(o, "apiserver-kubelet-client.key"), *port_file = fl_cli_port_file(o);
	struct fl_ip listen[FL_MAX_LISTEN];
	unsigned n = o->n_listen;
	memcpy(listen, o->listen, sizeof(listen));
	if (!n) { // all addresses, of the families that this host has
		fl_ip_parse("0.0.0.0", &listen[n++]);
		if (access("/proc/net/if_inet6", F_OK) == 0)
			fl_ip_parse("::", &listen[n++]);
	}
	struct fl_apiserver_opts a = {
	    .data_dir = o->data_dir,
	    .listen_ips = listen,
	    .n_listen = n,
	    .port = o->api_port,
	    .port_file = port_file,
	    .cert_file = cert,
	    .key_file = key,
	    .client_ca_file = ca,
	    .kubelet_cert_file = kubelet_cert,
	    .kubelet_key_file = kubelet_key,
	    .advertise_ip = o->advertise,
	    .service_cidrs = {o->service_cidrs[0], o->service_cidrs[1]},
	    .n_service_cidrs = o->n_service_cidrs,
	    .node_port_low = o->node_port_low,
	    .node_port_high = o->node_port_high,
	    .history_s = o->history_s,
	};
	int rc = fl_cli_repair(o, err);
	return rc < 0 ? rc : fl_apiserver_run(&a, err);
}

static int run_controllers(const struct fl_options *o, struct fl_err *err)
{
	return fl_controllers_run(&(struct fl_controllers_opts){.kubeconfig = o->kubeconfig}, err);
}

static struct fl_proxy_opts proxy_opts(const struct fl_options *o, const char *run_dir)
{
	return (struct fl_proxy_opts){
	    .kubeconfig = o->kubeconfig,
	    .node_name = o->node_name,
	    .mode = o->proxy_mode,
	    .run_dir = run_dir,
	    .service_cidrs = {o->service_cidrs[0], o->service_cidrs[1]},
	    .n_service_cidrs = o->n_service_cidrs,
	    .pod_cidrs = {o->pod_cidrs[0], o->pod_cidrs[1]},
	    .n_pod_cidrs = o->n_pod_cidrs,
	    .node_ips = {o->node_ips[0], o->node_ips[1]},
	    .n_node_ips = o->n_node_ips,
	    .node_port_first = o->node_port_low,
	    .node_port_last = o->node_port_high,
	    .metrics_listen = o->metrics_listen,
	    .healthz_listen = o->healthz_listen,
	};
}

static int run_proxy(const struct fl_options *o, struct fl_err *err)
{
	AUTO_FREE char *run_dir = fl_cli_run_dir(o);
	struct fl_proxy_opts p = proxy_opts(o, run_dir);
	return fl_proxy_run(&p, err);
}

int fl_role_proxy_cleanup(const struct fl_options *o, struct fl_err *err)
{
	AUTO_FREE char *run_dir = fl_cli_run_dir(o);
	struct fl_proxy_opts p = proxy_opts(o, run_dir);
	return fl_proxy_cleanup(&p, err);
}

static int run_dns(const struct fl_options *o, struct fl_err *err)
{
	struct fl_dns_opts d = {
	    .kubeconfig = o->kubeconfig,
	    .node_name = o->node_name,
	    .domain = o->cluster_domain,
	    .port = 53,
	    .upstream = o->upstream,
	};
	for (unsigned i = 0; i < o->n_pod_cidrs; i++) {
		d.listen[d.n_listen++] = fl_options_pod_gateway(o, i);
		d.clients[d.n_clients++] = o->pod_cidrs[i];
	}
	for (unsigned i = 0; i < o->n_service_cidrs; i++)
		d.cluster_ips[d.n_cluster_ips++] = fl_options_dns_ip(o, i);
	return fl_dns_run(&d, err);
}

// Calls `act` with the node's options; both stay valid for the call alone.
static int with_node_opts(const struct fl_options *o, int (*act)(const struct fl_node_opts *n, struct fl_err *err),
			  struct fl_err *err)
{
	AUTO_FREE char *cert = pki_file(o, "kubelet.crt"), *key = pki_file(o, "kubelet.key"),
		       *ca = pki_file(o, "ca.crt");
	struct fl_node_opts n = {
	    .kubeconfig = o->kubeconfig,
	    .data_dir = o->data_dir,
	    .node_name = o->node_name,
	    .cluster_domain = o->cluster_domain,
	    .runtime = o->runtime,
	    .serving_cert_file = cert,
	    .serving_key_file = key,
	    .client_ca_file = ca,
	    .kubelet_port = o->kubelet_port,
	    .insecure_registries = o->insecure_registries,
	    .image_max_bytes = o->image_max_bytes,
	    .node_ips = {o->node_ips[0], o->node_ips[1]},
	    .n_node_ips = o->n_node_ips,
	    .n_pod_cidrs = o->n_pod_cidrs,
	    .n_dns_ips = o->n_service_cidrs,
	    .no_masquerade = o->no_masquerade,
	    .api_port = o->api_port,
	    .kubernetes_ip = fl_cidr_nth(&o->service_cidrs[0], 1),
	};
	for (unsigned i = 0; i < o->n_pod_cidrs; i++)
		n.pod_cidrs[i] = fl_options_node_pod_cidr(o, i);
	for (unsigned i = 0; i < o->n_pod_cidrs; i++)
		n.cluster_cidrs[i] = o->pod_cidrs[i];
	for (unsigned i = 0; i < o->n_service_cidrs; i++)
		n.dns_ips[i] = fl_options_dns_ip(o, i);
	return act(&n, err);
}

static int run_node(const struct fl_options *o, struct fl_err *err)
{
	return with_node_opts(o, fl_node_run, err);
}

int fl_role_node_cleanup(const struct fl_options *o, struct fl_err *err)
{
	return with_node_opts(o, fl_node_cleanup, err);
}

int fl_verb_node(int argc, char **argv)
{
	return run_role(argc, argv, ALL_CAPABILITIES, run_node);
}

int fl_verb_apiserver(int argc, char **argv)
{
	return run_role(argc, argv, FL_CAP(CAP_NET_BIND_SERVICE), run_apiserver);
}

int fl_verb_controllers(int argc, char **argv)
{
	return run_role(argc, argv, 0, run_controllers);
}

int fl_verb_proxy(int argc, char **argv)
{
	return run_role(argc, argv, FL_CAP(CAP_NET_ADMIN) | FL_CAP(CAP_NET_BIND_SERVICE), run_proxy);
}

int fl_verb_dns(int argc, char **argv)
{
	return run_role(argc, argv, FL_CAP(CAP_NET_BIND_SERVICE), run_dns);
}

int fl_verb_version(int argc, char **argv)
{
	printf("fairlead %s (Kubernetes API %s)\n", FL_VERSION, FL_KUBE_VERSION);
	return 0;
}
