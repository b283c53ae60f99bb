// SPDX-License-Identifier: Apache-2.0
// What our roles can use of a kubeconfig: server, CA, client certificate, token. Refused with a clear text: exec and
// auth-provider plugins, user name and password, which would each need a program or a protocol of their own.
#include "client/kubeconfig.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "base/str.h"
#include "json/yaml.h"

#define MAX_FILE_BYTES (1024 * 1024) // a kubeconfig with many clusters stays far below; anything beyond is a mistake

struct reader {
	struct fl_arena *a;
	const char *path;
	const char *folder; // relative names count from here
	struct fl_err *err;
};

static int read_file(const char *path, struct fl_buf *ret, struct fl_err *err)
{
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return fl_err_set(err, -errno, "cannot read %s: %s", path, strerror(errno));
	for (;;) {
		fl_buf_reserve(ret, 8192);
		ssize_t n = read(fd, ret->data + ret->len, ret->cap - ret->len - 1);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return fl_err_set(err, -errno, "cannot read %s: %s", path, strerror(errno));
		if (n == 0)
			break;
		ret->len += (size_t)n;
		ret->data[ret->len] = 0;
		if (ret->len > MAX_FILE_BYTES)
			return fl_err_set(err, -EINVAL, "%s is larger than %d bytes", path, MAX_FILE_BYTES);
	}
	return 0;
}

// The first file of $KUBECONFIG that exists, else ~/.kube/config.
static char *default_path(void)
{
	const char *env = getenv("KUBECONFIG"), *home = getenv("HOME");
	if (!fl_str_empty(env)) {
		AUTO_FREE char *list = fl_strdup(env);
		char *save = NULL, *first = NULL;
		for (char *p = strtok_r(list, ":", &save); p; p = strtok_r(NULL, ":", &save)) {
			if (!first)
				first = p;
			if (access(p, F_OK) == 0)
				return fl_strdup(p);
		}
		return fl_strdup(first ? first : "");
	}
	return fl_asprintf("%s/.kube/config", home ? home : "/root");
}

static const struct fl_json *find_named(const struct fl_json *list, const char *name)
{
	fl_json_each (e, list)
		if (fl_streq(fl_json_str(e, "name"), name))
			return e;
	return NULL;
}

// The text of a member that is given inline (base64) or as a file's name; NULL in *ret when neither stands there.
static int read_pem(struct reader *r, const struct fl_json *obj, const char *data_key, const char *file_key, char **ret)
{
	const char *data = fl_json_str(obj, data_key), *file = fl_json_str(obj, file_key);
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	if (!fl_str_empty(data)) {
		if (!fl_base64_decode(&b, data, strlen(data)))
			return fl_err_set(r->err, -EINVAL, "%s: %s is no base64", r->path, data_key);
	} else if (!fl_str_empty(file)) {
		const char *full = file[0] == '/' ? file : fl_arena_printf(r->a, "%s/%s", r->folder, file);
		int rc = read_file(full, &b, r->err);
		if (rc < 0)
			return fl_err_prefix(r->err, "%s: %s", r->path, file_key);
	} else {
		return 0;
	}
	fl_buf_puts(&b, "");
	*ret = fl_buf_take(&b);
	return 0;
}

static char *dup_or_null(const char *s)
{
	return fl_str_empty(s) ? NULL : fl_strdup(s);
}

static int read_cluster(struct reader *r, const struct fl_json *c, struct fl_kubeconfig *cfg)
{
	const char *server = fl_json_str(c, "server");
	if (fl_str_empty(server))
		return fl_err_set(r->err, -EINVAL, "%s: the cluster has no server", r->path);
	if (!fl_starts_with(server, "https://") && !fl_starts_with(server, "http://"))
		return fl_err_set(r->err, -EINVAL, "%s: server %s is neither http:// nor https://", r->path, server);
	cfg->server = fl_strdup(server);
	cfg->tls_server_name = dup_or_null(fl_json_str(c, "tls-server-name"));
	cfg->insecure_skip_verify = fl_json_bool(c, "insecure-skip-tls-verify", false);
	return read_pem(r, c, "certificate-authority-data", "certificate-authority", &cfg->ca_pem);
}

static int read_user(struct reader *r, const struct fl_json *u, struct fl_kubeconfig *cfg)
{
	static const char *const refused[] = {"exec", "auth-provider", "username", "password"};
	for (size_t i = 0; i < FL_COUNT(refused); i++)
		if (fl_json_get(u, refused[i]))
			return fl_err_set(r->err, -EINVAL,
					  "%s: the user's %s is not supported: use a client certificate or a token",
					  r->path, refused[i]);
	int rc = read_pem(r, u, "client-certificate-data", "client-certificate", &cfg->cert_pem);
	if (rc == 0)
		rc = read_pem(r, u, "client-key-data", "client-key", &cfg->key_pem);
	if (rc < 0)
		return rc;
	if (!cfg->cert_pem != !cfg->key_pem)
		return fl_err_set(r->err, -EINVAL, "%s: client certificate and key must stand together", r->path);
	cfg->token = dup_or_null(fl_json_str(u, "token"));
	const char *file = fl_json_str(u, "tokenFile");
	if (!cfg->token && !fl_str_empty(file)) {
		AUTO(fl_buf_deinit) struct fl_buf b = {0};
		rc = read_file(file[0] == '/' ? file : fl_arena_printf(r->a, "%s/%s", r->folder, file), &b, r->err);
		if (rc < 0)
			return fl_err_prefix(r->err, "%s: tokenFile", r->path);
		while (b.len && (b.data[b.len - 1] == '\n' || b.data[b.len - 1] == ' '))
			b.data[--b.len] = 0;
		cfg->token = b.len ? fl_buf_take(&b) : NULL;
	}
	return 0;
}

static int read_document(struct reader *r, const struct fl_json *doc, const char *context, struct fl_kubeconfig *cfg)
{
	if (!context)
		context = fl_json_str(doc, "current-context");
	if (fl_str_empty(context))
		return fl_err_set(r->err, -EINVAL, "%s: current-context is not set", r->path);
	const struct fl_json *ctx = fl_json_get(find_named(fl_json_get(doc, "contexts"), context), "context");
	if (!ctx)
		return fl_err_set(r->err, -EINVAL, "%s: no context named %s", r->path, context);
	const char *cluster_name = fl_json_str_or(ctx, "cluster", ""), *user_name = fl_json_str(ctx, "user");
	const struct fl_json *cluster = fl_json_get(find_named(fl_json_get(doc, "clusters"), cluster_name), "cluster");
	if (!cluster)
		return fl_err_set(r->err, -EINVAL, "%s: context %s names cluster \"%s\", which is not there", r->path,
				  context, cluster_name);
	int rc = read_cluster(r, cluster, cfg);
	if (rc < 0)
		return rc;
	if (!fl_str_empty(user_name)) {
		const struct fl_json *user = find_named(fl_json_get(doc, "users"), user_name);
		if (!user)
			return fl_err_set(r->err, -EINVAL, "%s: context %s names user \"%s\", which is not there",
					  r->path, context, user_name);
		rc = read_user(r, fl_json_get(user, "user"), cfg);
		if (rc < 0)
			return rc;
	}
	const char *ns = fl_json_str(ctx, "namespace");
	cfg->ns = fl_strdup(fl_str_empty(ns) ? "default" : ns);
	return 0;
}

int fl_kubeconfig_load(const char *path, const char *context, struct fl_kubeconfig *ret, struct fl_err *err)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	AUTO(fl_buf_deinit) struct fl_buf text = {0};
	AUTO(fl_kubeconfig_deinit) struct fl_kubeconfig cfg = {0};
	AUTO_FREE char *chosen = path ? fl_strdup(path) : default_path();
	int rc = read_file(chosen, &text, err);
	if (rc < 0)
		return rc;
	struct fl_json *doc = NULL;
	rc = fl_yaml_parse(&a, text.data, text.len, NULL, &doc, err);
	if (rc < 0)
		return fl_err_prefix(err, "%s", chosen);
	char *slash = strrchr(chosen, '/');
	struct reader r = {
	    .a = &a,
	    .path = chosen,
	    .folder = slash ? fl_arena_strndup(&a, chosen, (size_t)(slash - chosen)) : ".",
	    .err = err,
	};
	rc = read_document(&r, doc, context, &cfg);
	if (rc < 0)
		return rc;
	*ret = cfg;
	cfg = (struct fl_kubeconfig){0};
	return 0;
}

void fl_kubeconfig_deinit(struct fl_kubeconfig *c)
{
	free(c->server);
	free(c->ca_pem);
	free(c->cert_pem);
	if (c->key_pem)
		explicit_bzero(c->key_pem, strlen(c->key_pem));
	free(c->key_pem);
	free(c->token);
	free(c->tls_server_name);
	free(c->ns);
	*c = (struct fl_kubeconfig){0};
}

static void set_base64(struct fl_arena *a, struct fl_json *obj, const char *key, const char *text)
{
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	if (!text)
		return;
	fl_base64_encode(&b, text, strlen(text));
	fl_json_set_str(a, obj, key, b.data);
}

static struct fl_json *add_named(struct fl_arena *a, struct fl_json *doc, const char *list, const char *name,
				 const char *member)
{
	struct fl_json *e = fl_json_append(fl_json_set_array(a, doc, list), fl_json_new(a, FL_JSON_OBJECT));
	struct fl_json *m = fl_json_set_object(a, e, member);
	fl_json_set_str(a, e, "name", name);
	return m;
}

static int write_private(const char *path, const struct fl_buf *text, struct fl_err *err)
{
	AUTO_FREE char *tmp = fl_asprintf("%s.%d.tmp", path, (int)getpid());
	unlink(tmp); // left by a crash of the same pid: O_EXCL below must not follow what is there
	AUTO_CLOSE int fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return fl_err_set(err, -errno, "cannot create %s: %s", tmp, strerror(errno));
	int rc = 0;
	for (size_t at = 0; rc == 0 && at < text->len;) {
		ssize_t n = write(fd, text->data + at, text->len - at);
		if (n >= 0)
			at += (size_t)n;
		else if (errno != EINTR)
			rc = fl_err_set(err, -errno, "cannot write %s: %s", tmp, strerror(errno));
	}
	if (rc == 0 && rename(tmp, path) < 0)
		rc = fl_err_set(err, -errno, "cannot rename %s to %s: %s", tmp, path, strerror(errno));
	if (rc < 0)
		unlink(tmp);
	return rc;
}

int fl_kubeconfig_write(const char *path, const struct fl_kubeconfig *c, const char *cluster, const char *user,
			struct fl_err *err)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	AUTO(fl_buf_deinit) struct fl_buf text = {0};
	struct fl_json *doc = fl_json_new(&a, FL_JSON_OBJECT);
	const char *context = fl_arena_printf(&a, "%s@%s", user, cluster);
	fl_json_set_str(&a, doc, "apiVersion", "v1");
	fl_json_set_str(&a, doc, "kind", "Config");

	struct fl_json *cl = add_named(&a, doc, "clusters", cluster, "cluster");
	set_base64(&a, cl, "certificate-authority-data", c->ca_pem);
	if (c->insecure_skip_verify)
		fl_json_set_bool(&a, cl, "insecure-skip-tls-verify", true);
	fl_json_set_str(&a, cl, "server", c->server);
	if (c->tls_server_name)
		fl_json_set_str(&a, cl, "tls-server-name", c->tls_server_name);

	struct fl_json *ctx = add_named(&a, doc, "contexts", context, "context");
	fl_json_set_str(&a, ctx, "cluster", cluster);
	if (c->ns && strcmp(c->ns, "default") != 0)
		fl_json_set_str(&a, ctx, "namespace", c->ns);
	fl_json_set_str(&a, ctx, "user", user);
	fl_json_set_str(&a, doc, "current-context", context);

	struct fl_json *u = add_named(&a, doc, "users", user, "user");
	set_base64(&a, u, "client-certificate-data", c->cert_pem);
	set_base64(&a, u, "client-key-data", c->key_pem);
	if (c->token)
		fl_json_set_str(&a, u, "token", c->token);

	fl_yaml_write(&text, doc);
	return write_private(path, &text, err);
}
