// SPDX-License-Identifier: Apache-2.0
#include "supervisor/pki.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"
#include "client/kubeconfig.h"
#include "io/tls.h"

#define CA_DAYS    3650
#define CERT_DAYS  365
#define RENEW_DAYS 182 // signed anew when no more is left, at a start or while the node runs

struct role {
	const char *file, *kubeconfig; // kubeconfig NULL: a certificate only
	const char *common_name;       // NULL: system:node:<node name>
	const char *group;
};

// Identities are those that Kubernetes' own components use, so that authorization rules written for them fit.
static const struct role roles[] = {
    {"admin", "admin", "kubernetes-admin", "system:masters"},
    {"controllers", "controllers", "system:kube-controller-manager", "system:fairlead"},
    {"proxy", "proxy", "system:kube-proxy", "system:fairlead"},
    {"dns", "dns", "system:dns", "system:fairlead"},
    {"node", "node", NULL, "system:nodes"},
    {"apiserver-kubelet-client", NULL, "kube-apiserver", "system:masters"},
};

static char *path_of(const char *data_dir, const char *name, const char *suffix)
{
	return fl_asprintf("%s/pki/%s.%s", data_dir, name, suffix);
}

static int read_pair(const char *data_dir, const char *name, struct fl_pki_cert *ret, struct fl_err *err)
{
	AUTO_FREE char *crt = path_of(data_dir, name, "crt"), *key = path_of(data_dir, name, "key");
	struct fl_pki_cert c = {0};
	int rc = fl_file_read(crt, &c.cert_pem, NULL, err);
	if (rc == 0)
		rc = fl_file_read(key, &c.key_pem, NULL, err);
	if (rc < 0)
		fl_pki_cert_deinit(&c);
	else
		*ret = c;
	return rc;
}

// The certificate goes before its key changes and comes last: a write that is cut short leaves a key without one, and
// never a CA's certificate without its key, which ensure_ca refuses.
static int write_pair(const char *data_dir, const char *name, const struct fl_pki_cert *c, struct fl_err *err)
{
	AUTO_FREE char *crt = path_of(data_dir, name, "crt"), *key = path_of(data_dir, name, "key");
	if (unlink(crt) < 0 && errno != ENOENT)
		return fl_err_set(err, -errno, "remove %s: %s", crt, strerror(errno));
	int rc = fl_file_write(key, c->key_pem, strlen(c->key_pem), 0600, err);
	return rc < 0 ? rc : fl_file_write(crt, c->cert_pem, strlen(c->cert_pem), 0644, err);
}

// Where the CA is refused, for `why`. What it signed would be refused by everybody, and another CA is for somebody to
// decide: it ends the trust of every kubeconfig that was handed out.
static int refuse_ca(const char *data_dir, const char *why, struct fl_err *err)
{
	return fl_err_set(err, -EKEYREJECTED,
			  "certificates: %s/pki/ca.crt %s; or remove the folder %s/pki, and the next start makes "
			  "everything in it anew (copies of admin.kubeconfig are worth nothing then)",
			  data_dir, why, data_dir);
}

static int ensure_ca(const char *data_dir, struct fl_pki_cert *ret, struct fl_err *err)
{
	AUTO_FREE char *crt = path_of(data_dir, "ca", "crt"), *key = path_of(data_dir, "ca", "key");
	AUTO(fl_pki_cert_deinit) struct fl_pki_cert ca = {0};
	const struct fl_pki_request any = {0};
	int days = 0;
	bool covers;
	if (access(crt, F_OK) < 0 && errno == ENOENT) {
		int rc = fl_pki_make_ca("fairlead-ca", CA_DAYS, ret, err);
		return rc < 0 ? rc : write_pair(data_dir, "ca", ret, err);
	}
	if (access(key, F_OK) < 0 && errno == ENOENT)
		return refuse_ca(data_dir, "is there and its key ca.key is not: put that back", err);
	int rc = read_pair(data_dir, "ca", &ca, err);
	if (rc < 0)
		return rc;
	if ((rc = fl_pki_check(ca.cert_pem, &any, &days, &covers, err)) < 0)
		return fl_err_prefix(err, "%s", crt);
	if (!fl_pki_belongs(&ca, ca.cert_pem))
		return refuse_ca(data_dir, "and ca.key do not belong together: put the right ones back", err);
	if (days < 0)
		return refuse_ca(data_dir, "has expired, or is not valid yet: set the clock if it is wrong", err);
	*ret = ca;
	ca = (struct fl_pki_cert){0};
	return 0;
}

static int ensure_cert(const char *data_dir, const char *name, const struct fl_pki_cert *ca,
		       const struct fl_pki_request *req, bool *ret_signed, struct fl_err *err)
{
	AUTO(fl_pki_cert_deinit) struct fl_pki_cert have = {0};
	int days = 0;
	bool covers = false;
	if (read_pair(data_dir, name, &have, NULL) == 0 &&
	    fl_pki_check(have.cert_pem, req, &days, &covers, NULL) == 0 && covers && days > RENEW_DAYS &&
	    fl_pki_belongs(&have, ca->cert_pem))
		return 0;
	AUTO(fl_pki_cert_deinit) struct fl_pki_cert fresh = {0};
	int rc = fl_pki_sign(ca, req, &fresh, err);
	if (rc < 0)
		return rc;
	*ret_signed = true; // though it may not be written whole: it is not what it was
	return write_pair(data_dir, name, &fresh, err);
}

int fl_pki_ensure(const struct fl_pki_layout_opts *o, bool *ret_signed, struct fl_err *err)
{
	AUTO_FREE char *dir = fl_asprintf("%s/pki", o->data_dir),
		       *svc = fl_asprintf("kubernetes.default.svc.%s", o->cluster_domain),
		       *node_user = fl_asprintf("system:node:%s", o->node_name);
	int rc = fl_file_mkdirs(dir, 0700, err);
	AUTO(fl_pki_cert_deinit) struct fl_pki_cert ca = {0};
	if (rc < 0 || (rc = ensure_ca(o->data_dir, &ca, err)) < 0)
		return rc;
	struct fl_ip ips[10] = {0};
	memcpy(ips, o->ips, o->n_ips * sizeof(*ips));
	fl_ip_parse("127.0.0.1", &ips[o->n_ips]);
	fl_ip_parse("::1", &ips[o->n_ips + 1]);
	const char *names[] = {
	    "kubernetes", "kubernetes.default", "kubernetes.default.svc", svc, "localhost", o->node_name, NULL};
	struct fl_pki_request serving = {.common_name = "kube-apiserver",
					 .dns_names = names,
					 .ips = ips,
					 .n_ips = o->n_ips + 2,
					 .server = true,
					 .days = CERT_DAYS};
	if ((rc = ensure_cert(o->data_dir, "apiserver", &ca, &serving, ret_signed, err)) < 0)
		return rc;
	const char *node_names[] = {o->node_name, "localhost", NULL}, *nodes_group[] = {"system:nodes", NULL};
	serving.common_name = node_user;
	serving.organizations = nodes_group;
	serving.dns_names = node_names;
	if ((rc = ensure_cert(o->data_dir, "kubelet", &ca, &serving, ret_signed, err)) < 0)
		return rc;
	for (unsigned i = 0; i < FL_COUNT(roles); i++) {
		const char *groups[] = {roles[i].group, NULL};
		struct fl_pki_request client = {.common_name = roles[i].common_name ? roles[i].common_name : node_user,
						.organizations = groups,
						.client = true,
						.days = CERT_DAYS};
		if ((rc = ensure_cert(o->data_dir, roles[i].file, &ca, &client, ret_signed, err)) < 0)
			return rc;
	}
	return 0;
}

int fl_pki_write_kubeconfigs(const char *data_dir, const char *node_name, const char *admin_server,
			     const char *role_server, struct fl_err *err)
{
	AUTO_FREE char *ca_path = path_of(data_dir, "ca", "crt"), *ca = NULL,
		       *dir = fl_asprintf("%s/kubeconfig", data_dir);
	int rc = fl_file_read(ca_path, &ca, NULL, err);
	if (rc < 0 || (rc = fl_file_mkdirs(dir, 0700, err)) < 0)
		return rc;
	for (unsigned i = 0; i < FL_COUNT(roles); i++) {
		if (!roles[i].kubeconfig)
			continue;
		bool admin = i == 0;
		AUTO(fl_pki_cert_deinit) struct fl_pki_cert c = {0};
		if ((rc = read_pair(data_dir, roles[i].file, &c, err)) < 0)
			return rc;
		AUTO_FREE char *path = admin ? fl_asprintf("%s/admin.kubeconfig", data_dir)
					     : fl_asprintf("%s/%s.kubeconfig", dir, roles[i].kubeconfig);
		AUTO_FREE char *user =
		    roles[i].common_name ? fl_strdup(roles[i].common_name) : fl_asprintf("system:node:%s", node_name);
		AUTO_FREE char *server = fl_strdup(admin ? admin_server : role_server);
		struct fl_kubeconfig k = {.server = server, .ca_pem = ca, .cert_pem = c.cert_pem, .key_pem = c.key_pem};
		if ((rc = fl_kubeconfig_write(path, &k, "fairlead", user, err)) < 0)
			return rc;
	}
	return 0;
}
