// SPDX-License-Identifier: Apache-2.0
#include "support.h"

#include <ftw.h>
#include <stdio.h>
#include <sys/stat.h>

#include "apiserver/bootstrap.h"
#include "apiserver/docs.h"
#include "apiserver/read.h"
#include "apiserver/respond.h"
#include "apiserver/router.h"
#include "base/mem.h"

static struct {
	struct fl_pki_cert ca, server, admin;
} pki;

static void make_pki(void)
{
	struct fl_err err = {0};
	struct fl_ip ip;
	if (pki.ca.cert_pem)
		return;
	assert_true(fl_ip_parse("127.0.0.1", &ip));
	const char *const groups[] = {"system:masters", NULL};
	struct fl_pki_request server = {.common_name = "server", .ips = &ip, .n_ips = 1, .server = true, .days = 30};
	struct fl_pki_request admin = {.common_name = "admin", .organizations = groups, .client = true, .days = 30};
	assert_int_equal(fl_pki_make_ca("test CA", 30, &pki.ca, &err), 0);
	assert_int_equal(fl_pki_sign(&pki.ca, &server, &pki.server, &err), 0);
	assert_int_equal(fl_pki_sign(&pki.ca, &admin, &pki.admin, &err), 0);
}

__attribute__((destructor)) static void free_pki(void)
{
	fl_pki_cert_deinit(&pki.ca);
	fl_pki_cert_deinit(&pki.server);
	fl_pki_cert_deinit(&pki.admin);
}

static void watchdog_barks(uv_timer_t *t)
{
	fprintf(stderr, "the condition a test waits for did not come\n");
	abort();
}

static struct fl_http_client *new_client(struct api *f, bool with_certificate, bool http1)
{
	struct fl_err err = {0};
	struct fl_http_client *c = NULL;
	struct fl_http_client_opts o = {.ca_pem = pki.ca.cert_pem,
					.cert_pem = with_certificate ? pki.admin.cert_pem : NULL,
					.key_pem = with_certificate ? pki.admin.key_pem : NULL,
					.http1 = http1};
	assert_int_equal(fl_http_client_new(&f->loop, &o, &c, &err), 0);
	return c;
}

static bool adopt(void *arg, struct fl_object *o)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	fl_service_alloc_adopt(arg, fl_object_tree(o, &a));
	return true;
}

static void on_booted(void *arg, int rc, const struct fl_err *err)
{
	struct api_booted *b = arg;
	b->done = true;
	b->rc = rc;
	if (rc < 0)
		b->err = *err;
}

static struct fl_http_server *listen_on(struct api *f, fl_http_handler handler, void *arg, uint16_t *ret_port)
{
	struct fl_err err = {0};
	struct fl_http_server *ret = NULL;
	SSL_CTX *tls = NULL;
	assert_int_equal(fl_tls_server_ctx(pki.server.cert_pem, pki.server.key_pem, pki.ca.cert_pem, false, &tls, &err),
			 0);
	struct fl_http_server_opts server = {.tls = tls,
					     .handler = handler,
					     .arg = arg,
					     .server_name = "test",
					     .refusal = handler == fl_router_handle ? fl_respond_refusal : NULL};
	assert_int_equal(fl_http_server_new(&f->loop, &server, &ret, &err), 0);
	SSL_CTX_free(tls);
	struct fl_ip ip;
	assert_true(fl_ip_parse("127.0.0.1", &ip));
	if (fl_http_server_listen(ret, &ip, 0, ret_port, &err) < 0)
		fail_msg("%s", err.text);
	return ret;
}

static void serve(struct api *f)
{
	f->s.http = listen_on(f, fl_router_handle, &f->s, &f->s.port);
	snprintf(f->url, sizeof(f->url), "https://127.0.0.1:%u", f->s.port);
	f->s.kubelet = new_client(f, true, true);
	f->admin = new_client(f, true, false);
	f->nobody = new_client(f, false, false);
	f->second = new_client(f, true, false);
	f->serving = true;
}

uint16_t api_start_node(struct api *f, fl_http_handler handler, void *arg)
{
	uint16_t port;
	f->node = listen_on(f, handler, arg, &port);
	f->node_serving = true;
	return port;
}

static void open_store(struct api *f)
{
	struct fl_err err = {0};
	struct fl_store_opts o = f->store;
	o.path = f->dir;
	int rc = f->held ? fl_store_open_engine(&f->loop, &o, &held_ops, &f->s.store, &err)
			 : fl_store_open(&f->loop, &o, &f->s.store, &err);
	if (rc < 0)
		fail_msg("open: %s", err.text);
	struct fl_service_alloc_opts alloc = {.cidrs = {f->opts.service_cidrs[0], f->opts.service_cidrs[1]},
					      .n_cidrs = f->opts.n_service_cidrs,
					      .port_low = f->opts.node_port_low,
					      .port_high = f->opts.node_port_high};
	f->s.alloc = fl_service_alloc_new(&alloc);
	fl_store_list(f->s.store, fl_resource_intern("", "services"), NULL, NULL, NULL, adopt, f->s.alloc);
}

struct api_booted api_boot(struct api *f)
{
	struct api_booted b = {0};
	fl_bootstrap(&f->s, on_booted, &b);
	WAIT(f, b.done);
	return b;
}

static void boot(struct api *f)
{
	struct api_booted b = api_boot(f);
	if (b.rc < 0)
		fail_msg("%s", b.err.text);
	f->s.ready = true;
}

static void open_bed(struct api *f, const struct api_config *c)
{
	const char *tmp = getenv("TMPDIR");
	memset(f, 0, sizeof(*f));
	make_pki();
	snprintf(f->dir, sizeof(f->dir), "%s/fairlead-api-%d-XXXXXX", tmp ? tmp : "/tmp", (int)getpid());
	assert_non_null(mkdtemp(f->dir));
	uv_loop_init(&f->loop);
	uv_timer_init(&f->loop, &f->watchdog);
	uv_timer_start(&f->watchdog, watchdog_barks, 120000, 0);
	uv_unref((uv_handle_t *)&f->watchdog);
	f->opts = (struct fl_apiserver_opts){.data_dir = f->dir,
					     .n_service_cidrs = c->cidr6 ? 2 : 1,
					     .node_port_low = c->port_low ? c->port_low : 30000,
					     .node_port_high = c->port_high ? c->port_high : 32767};
	assert_true(fl_cidr_parse(c->cidr ? c->cidr : "10.96.0.0/16", &f->opts.service_cidrs[0], false));
	if (c->cidr6)
		assert_true(fl_cidr_parse(c->cidr6, &f->opts.service_cidrs[1], false));
	assert_true(fl_ip_parse("192.0.2.1", &f->opts.advertise_ip));
}

void api_start(struct api *f, const struct api_config *c)
{
	static const struct api_config none;
	if (!c)
		c = &none;
	open_bed(f, c);
	fl_api_set_service_families(AF_INET, c->cidr6 ? AF_INET6 : 0);
	f->held = c->held;
	f->store = c->store;
	f->s = (struct fl_apiserver){.loop = &f->loop,
				     .opts = &f->opts,
				     .registry = fl_registry_builtin(),
				     .docs = fl_docs_new(),
				     .namespaces = fl_resource_intern("", "namespaces")};
	TAILQ_INIT(&f->s.pending);
	open_store(f);
	serve(f);
	if (!c->held && !c->no_bootstrap)
		boot(f);
}

void api_client_only(struct api *f)
{
	open_bed(f, &(struct api_config){0});
	f->admin = new_client(f, true, false);
	f->nobody = new_client(f, false, false);
	f->second = new_client(f, true, false);
}

const char *api_pem(const char *name)
{
	return !strcmp(name, "ca")           ? pki.ca.cert_pem
	       : !strcmp(name, "server")     ? pki.server.cert_pem
	       : !strcmp(name, "server key") ? pki.server.key_pem
	       : !strcmp(name, "admin")      ? pki.admin.cert_pem
					     : pki.admin.key_pem;
}

static void on_stopped(void *arg)
{
	((struct api *)arg)->serving = false;
}

static void end_answer(struct answer *a)
{
	cancel(a);
	fl_buf_deinit(&a->body);
	fl_arena_deinit(&a->a);
	free(a);
}

void api_stop_serving(struct api *f, unsigned grace_ms)
{
	if (!f->serving)
		return;
	fl_http_server_stop(f->s.http, grace_ms, on_stopped, f);
	WAIT(f, !f->serving);
}

static void on_node_stopped(void *arg)
{
	((struct api *)arg)->node_serving = false;
}

static void stop_node(struct api *f)
{
	if (!f->node)
		return;
	fl_http_server_stop(f->node, 0, on_node_stopped, f);
	WAIT(f, !f->node_serving);
	fl_http_server_free(&f->node);
}

static void stop_all(struct api *f)
{
	for (size_t i = 0; i < f->answers.n; i++)
		end_answer(f->answers.v[i]);
	fl_vec_deinit(&f->answers);
	fl_http_client_free(&f->admin);
	fl_http_client_free(&f->nobody);
	fl_http_client_free(&f->second);
	api_stop_serving(f, 0);
	fl_http_server_free(&f->s.http);
	fl_http_client_free(&f->s.kubelet);
	stop_node(f);
	if (f->held && held.queue)
		held_fail(-EIO, "the test is over");
	if (!f->s.store)
		return;
	fl_store_close(&f->s.store);
	assert_true(TAILQ_EMPTY(&f->s.pending));
	fl_service_alloc_free(&f->s.alloc);
}

void api_stop(struct api *f)
{
	stop_all(f);
	while (uv_run(&f->loop, UV_RUN_NOWAIT))
		;
}

void api_restart(struct api *f)
{
	api_stop(f);
	open_store(f);
	serve(f);
	boot(f);
}

static void close_any(uv_handle_t *h, void *arg)
{
	if (!uv_is_closing(h))
		fail_msg("a handle was left open");
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	return remove(path);
}

void api_end(struct api *f)
{
	stop_all(f);
	fl_watch_drop_trees(&f->s);
	fl_object_put(&f->s.admitted);
	fl_arena_deinit(&f->s.scratch);
	fl_docs_free(&f->s.docs);
	uv_close((uv_handle_t *)&f->watchdog, NULL);
	while (uv_run(&f->loop, UV_RUN_NOWAIT))
		;
	uv_walk(&f->loop, close_any, NULL);
	assert_int_equal(uv_loop_close(&f->loop), 0);
	nftw(f->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

int api_setup(void **state)
{
	struct api *f = FL_NEW(struct api);
	api_start(f, NULL);
	*state = f;
	return 0;
}

int api_teardown(void **state)
{
	api_end(*state);
	free(*state);
	return 0;
}

// --- asking ---

static void keep_header(const struct fl_http_call *call, const char *name, char *buf, size_t n)
{
	const char *v = fl_http_call_header(call, name);
	snprintf(buf, n, "%s", v ? v : "");
}

static void on_done(void *arg, int rc, int status, const char *body, size_t len, const struct fl_err *err)
{
	struct answer *a = arg;
	a->done = true;
	a->rc = rc;
	a->status = status;
	a->err = *err;
	if (len)
		fl_buf_append(&a->body, body, len);
	if (rc == 0) {
		keep_header(a->call, "content-type", a->type, sizeof(a->type));
		keep_header(a->call, "warning", a->warning, sizeof(a->warning));
		keep_header(a->call, "etag", a->etag, sizeof(a->etag));
	}
	if (!a->body.len || fl_json_parse(&a->a, a->body.data, a->body.len, NULL, &a->json, NULL) < 0)
		a->json = NULL;
	a->call = NULL;
}

static void on_data(void *arg, int status, const char *data, size_t len)
{
	struct answer *a = arg;
	a->status = status;
	fl_buf_append(&a->body, data, len);
	for (size_t i = 0; i < len; i++)
		a->lines += data[i] == '\n';
}

static struct answer *send_one(struct api *f, struct fl_http_client *c, const char *method, const char *path,
			       const char *type, const char *accept, const char *body, size_t len, bool stream)
{
	struct answer *a = FL_NEW(struct answer);
	fl_vec_push(&f->answers, a);
	AUTO_FREE char *url = fl_asprintf("%s%s", f->url, path);
	AUTO_FREE char *t = fl_asprintf("Content-Type: %s", type ? type : "application/json");
	AUTO_FREE char *ac = fl_asprintf("Accept: %s", accept ? accept : "application/json");
	const char *const headers[] = {ac, t, f->headers[0], f->headers[0] ? f->headers[1] : NULL, NULL};
	struct fl_http_call_opts o = {.method = method,
				      .url = url,
				      .headers = headers,
				      .body = body,
				      .body_len = len,
				      .on_data = stream ? on_data : NULL,
				      .on_done = on_done,
				      .arg = a};
	struct fl_err err = {0};
	if (fl_http_client_call(c, &o, &a->call, &err) < 0)
		fail_msg("%s", err.text);
	return a;
}

struct answer *api_send(struct api *f, struct fl_http_client *c, const char *method, const char *path, const char *type,
			const char *accept, const char *body, size_t len)
{
	return send_one(f, c, method, path, type, accept, body, len, false);
}

static struct answer *wait_for(struct api *f, struct answer *a)
{
	WAIT(f, a->done);
	return a;
}

struct answer *ask(struct api *f, const char *method, const char *path)
{
	return wait_for(f, send_one(f, f->admin, method, path, NULL, NULL, NULL, 0, false));
}

struct answer *ask_as(struct api *f, const char *method, const char *path, const char *accept)
{
	return wait_for(f, send_one(f, f->admin, method, path, NULL, accept, NULL, 0, false));
}

__attribute__((format(printf, 5, 0))) static struct answer *send_v(struct api *f, const char *method, const char *path,
								   const char *type, const char *format, va_list ap)
{
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	fl_buf_vprintf(&b, format, ap);
	return send_one(f, f->admin, method, path, type, NULL, b.data, b.len, false);
}

struct answer *ask_with(struct api *f, const char *method, const char *path, const char *format, ...)
{
	va_list ap;
	va_start(ap, format);
	struct answer *a = send_v(f, method, path, NULL, format, ap);
	va_end(ap);
	return wait_for(f, a);
}

struct answer *start_with(struct api *f, const char *method, const char *path, const char *format, ...)
{
	va_list ap;
	va_start(ap, format);
	struct answer *a = send_v(f, method, path, NULL, format, ap);
	va_end(ap);
	return a;
}

struct answer *patch_with(struct api *f, const char *kind, const char *path, const char *format, ...)
{
	char type[64];
	va_list ap;
	snprintf(type, sizeof(type), "application/%s-patch+json", strcmp(kind, "strategic") ? kind : "strategic-merge");
	va_start(ap, format);
	struct answer *a = send_v(f, "PATCH", path, type, format, ap);
	va_end(ap);
	return wait_for(f, a);
}

struct answer *start_watch(struct api *f, struct fl_http_client *c, const char *path, const char *accept)
{
	return send_one(f, c, "GET", path, NULL, accept, NULL, 0, true);
}

void cancel(struct answer *a)
{
	if (!a->done)
		fl_http_call_cancel(&a->call);
	a->done = true;
}

struct answer *expect_at(struct answer *a, struct api *f, int status, const char *file, int line)
{
	WAIT(f, a->done);
	if (a->rc < 0)
		print_error("%s\n", a->err.text);
	else if (a->status != status)
		print_error("status %d, expected %d: %s\n", a->status, status, a->body.data ? a->body.data : "");
	if (a->rc < 0 || a->status != status)
		_fail(file, line);
	return a;
}

const struct fl_json *node_at(struct answer *a, const char *path)
{
	const struct fl_json *j = a->json;
	AUTO_FREE char *copy = fl_strdup(path);
	for (char *save = NULL, *part = strtok_r(copy, ".[", &save); part; part = strtok_r(NULL, ".[", &save)) {
		size_t n = strlen(part);
		j = n && part[n - 1] == ']' ? fl_json_index(j, strtoul(part, NULL, 10)) : fl_json_get(j, part);
	}
	return j;
}

const char *at(struct answer *a, const char *path)
{
	const struct fl_json *j = node_at(a, path);
	if (!j)
		return "";
	if (j->type == FL_JSON_STRING)
		return j->str.s;
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	fl_json_write(&b, j);
	return fl_arena_strdup(&a->a, b.data);
}

long long number_at(struct answer *a, const char *path)
{
	const struct fl_json *j = node_at(a, path);
	if (!fl_json_is(j, FL_JSON_INT))
		fail_msg("%s is no number: %s", path, a->body.data ? a->body.data : "");
	return j->i;
}

bool contains(struct answer *a, const char *text)
{
	return a->body.data && strstr(a->body.data, text);
}

unsigned count_lines(const struct answer *a, const char *text)
{
	unsigned n = 0;
	for (const char *p = a->body.data; p && *p;) {
		const char *end = strchr(p, '\n');
		size_t len = end ? (size_t)(end - p) : strlen(p);
		n += end && memmem(p, len, text, strlen(text)) != NULL;
		p = end ? end + 1 : NULL;
	}
	return n;
}

struct answer *make_service(struct api *f, const char *name)
{
	return expect(f, 201,
		      ask_with(f, "POST", "/api/v1/namespaces/default/services",
			       "{\"kind\":\"Service\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"%s\"},"
			       "\"spec\":{\"ports\":[{\"port\":80}],\"selector\":{\"app\":\"%s\"}}}",
			       name, name));
}
