// SPDX-License-Identifier: Apache-2.0
// The role from its start to its end: store, books of addresses, HTTPS, the first objects; and, when it is asked to
// stop, the same backwards: no new requests, answers under way get STOP_GRACE_MS, then the store commits what it was
// given.
#include "apiserver/apiserver.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "apiserver/alloc.h"
#include "apiserver/bootstrap.h"
#include "apiserver/docs.h"
#include "apiserver/read.h"
#include "apiserver/respond.h"
#include "apiserver/router.h"
#include "apiserver/server.h"
#include "base/file.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/notify.h"

#define STOP_GRACE_MS 2000              // for answers under way
#define REPAIR_MS     10000             // how often the first objects are looked after, as kube-apiserver does
#define BIG_BYTES     (1024 * 1024)     // a piece of memory of that size (a long list) goes back to the system at once;
#define TOP_BYTES     (4 * 1024 * 1024) // less at the end of the heap is kept
#define TRIM_WRITES   1000              // after so many writes the holes that they have left go back as well

struct run {
	struct fl_apiserver s;
	uv_loop_t loop;
	uv_signal_t term, intr;
	uv_timer_t repair;
	int rc;
	struct fl_err *err;
	bool stopping, bootstrapping;
	uint64_t trimmed_at, seen_at; // revisions
};

static void close_handles(struct run *run)
{
	uv_close((uv_handle_t *)&run->term, NULL);
	uv_close((uv_handle_t *)&run->intr, NULL);
	uv_close((uv_handle_t *)&run->repair, NULL);
}

static void close_all(struct run *run)
{
	fl_http_server_free(&run->s.http);
	fl_http_client_free(&run->s.kubelet);
	fl_store_close(&run->s.store);
}

static void on_stopped(void *arg)
{
	close_handles(arg);
	close_all(arg);
}

static void stop(struct run *run)
{
	if (run->stopping)
		return;
	run->stopping = true;
	fl_http_server_stop(run->s.http, STOP_GRACE_MS, on_stopped, run);
}

static void on_signal(uv_signal_t *h, int signum)
{
	stop(h->data);
}

static bool adopt(void *arg, struct fl_object *o)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	fl_service_alloc_adopt(arg, fl_object_tree(o, &a));
	return true;
}

// Most systems start a program with 1024 descriptors and let it have many more: one is a client's connection.
static void raise_fd_limit(void)
{
	struct rlimit fds;
	rlim_t want = 2 * FL_MAX_CONNECTIONS;
	if (getrlimit(RLIMIT_NOFILE, &fds) < 0 || fds.rlim_cur >= want)
		return;
	fds.rlim_cur = fds.rlim_max < want ? fds.rlim_max : want;
	setrlimit(RLIMIT_NOFILE, &fds);
}

static int open_http(struct run *run, const struct fl_apiserver_opts *o, struct fl_err *err)
{
	AUTO_FREE char *cert = NULL, *key = NULL, *ca = NULL, *kubelet_cert = NULL, *kubelet_key = NULL;
	int rc;
	if ((rc = fl_file_read(o->cert_file, &cert, NULL, err)) < 0 ||
	    (rc = fl_file_read(o->key_file, &key, NULL, err)) < 0 ||
	    (rc = fl_file_read(o->client_ca_file, &ca, NULL, err)) < 0 ||
	    (rc = fl_file_read(o->kubelet_cert_file, &kubelet_cert, NULL, err)) < 0 ||
	    (rc = fl_file_read(o->kubelet_key_file, &kubelet_key, NULL, err)) < 0)
		return rc;
	SSL_CTX *tls;
	if ((rc = fl_tls_server_ctx(cert, key, ca, false, &tls, err)) < 0)
		return rc;
	struct fl_http_server_opts server = {.tls = tls,
					     .handler = fl_router_handle,
					     .arg = &run->s,
					     .server_name = "apiserver",
					     .refusal = fl_respond_refusal};
	raise_fd_limit();
	rc = fl_http_server_new(&run->loop, &server, &run->s.http, err);
	SSL_CTX_free(tls);
	if (rc < 0)
		return rc;
	struct fl_http_client_opts client = {.ca_pem = ca,
					     .cert_pem = kubelet_cert,
					     .key_pem = kubelet_key,
					     .user_agent = "fairlead-apiserver",
					     .http1 = true};
	return fl_http_client_new(&run->loop, &client, &run->s.kubelet, err);
}

static int listen_all(struct run *run, const struct fl_apiserver_opts *o, struct fl_err *err)
{
	run->s.port = o->port;
	for (unsigned i = 0; i < o->n_listen; i++) {
		int rc = fl_http_server_listen(run->s.http, &o->listen_ips[i], run->s.port, &run->s.port, err);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int announce(struct run *run)
{
	const char *file = run->s.opts->port_file;
	char text[8];
	int n = snprintf(text, sizeof(text), "%u\n", run->s.port), rc = 0;
	if (file)
		rc = fl_file_write(file, text, (size_t)n, 0644, run->err);
	if (rc < 0)
		return rc;
	run->s.ready = true;
	fl_notify_ready();
	fl_info("serving port=%u revision=%llu", run->s.port, (unsigned long long)fl_store_revision(run->s.store));
	return 0;
}

static void on_bootstrapped(void *arg, int rc, const struct fl_err *err)
{
	struct run *run = arg;
	run->bootstrapping = false;
	if (run->stopping)
		return;
	if (run->s.ready) {
		if (rc < 0)
			fl_warn("a first object is missing and cannot be written: %s", err->text);
		return;
	}
	if (rc < 0)
		fl_err_set(run->err, rc, "%s", err->text);
	else
		rc = announce(run);
	if (rc < 0) {
		run->rc = rc;
		stop(run);
	}
}

// Not while a burst lasts: what it leaves is asked for again at once.
static void trim(struct run *run)
{
	uint64_t now = fl_store_revision(run->s.store);
	bool burst = now - run->seen_at >= TRIM_WRITES;
	run->seen_at = now;
	if (burst || now - run->trimmed_at < TRIM_WRITES)
		return;
	run->trimmed_at = now;
	malloc_trim(0);
}

static void on_repair(uv_timer_t *t)
{
	struct run *run = t->data;
	if (!run->stopping)
		trim(run);
	if (run->bootstrapping || run->stopping)
		return;
	run->bootstrapping = true;
	fl_bootstrap(&run->s, on_bootstrapped, run);
}

static void start_handles(struct run *run)
{
	uv_signal_init(&run->loop, &run->term);
	uv_signal_init(&run->loop, &run->intr);
	uv_timer_init(&run->loop, &run->repair);
	run->term.data = run->intr.data = run->repair.data = run;
	uv_signal_start(&run->term, on_signal, SIGTERM);
	uv_signal_start(&run->intr, on_signal, SIGINT);
	uv_timer_start(&run->repair, on_repair, REPAIR_MS, REPAIR_MS);
}

static int open_all(struct run *run, const struct fl_apiserver_opts *o, struct fl_err *err)
{
	AUTO_FREE char *path = fl_asprintf("%s/store", o->data_dir);
	int rc = fl_file_mkdirs(path, 0700, err);
	if (rc == 0)
		rc =
		    fl_store_open(&run->loop, &(struct fl_store_opts){.path = path, .log_keep_ms = o->history_s * 1000},
				  &run->s.store, err);
	if (rc < 0)
		return rc;
	fl_store_list(run->s.store, fl_resource_intern("", "services"), NULL, NULL, NULL, adopt, run->s.alloc);
	rc = open_http(run, o, err);
	return rc < 0 ? rc : listen_all(run, o, err);
}

static void on_never_served(void *arg)
{
	close_all(arg);
}

int fl_apiserver_run(const struct fl_apiserver_opts *o, struct fl_err *err)
{
	struct run run = {.err = err,
			  .s = {.opts = o,
				.registry = fl_registry_builtin(),
				.docs = fl_docs_new(),
				.namespaces = fl_resource_intern("", "namespaces")}};
	struct fl_service_alloc_opts alloc = {.cidrs = {o->service_cidrs[0], o->service_cidrs[1]},
					      .n_cidrs = o->n_service_cidrs,
					      .port_low = o->node_port_low,
					      .port_high = o->node_port_high};
	fl_api_set_service_families(o->service_cidrs[0].ip.family,
				    o->n_service_cidrs > 1 ? o->service_cidrs[1].ip.family : 0);
	mallopt(M_MMAP_THRESHOLD, BIG_BYTES);
	mallopt(M_TRIM_THRESHOLD, TOP_BYTES);
	uv_loop_init(&run.loop);
	run.s.loop = &run.loop;
	run.s.alloc = fl_service_alloc_new(&alloc);
	TAILQ_INIT(&run.s.pending);
	int rc = open_all(&run, o, err);
	if (rc == 0) {
		start_handles(&run);
		run.bootstrapping = true;
		fl_bootstrap(&run.s, on_bootstrapped, &run);
		uv_run(&run.loop, UV_RUN_DEFAULT);
		rc = run.rc;
	} else if (run.s.http) {
		fl_http_server_stop(run.s.http, 0, on_never_served, &run);
		uv_run(&run.loop, UV_RUN_DEFAULT);
	} else {
		close_all(&run);
		uv_run(&run.loop, UV_RUN_DEFAULT);
	}
	fl_watch_drop_trees(&run.s);
	fl_object_put(&run.s.admitted);
	fl_arena_deinit(&run.s.scratch);
	fl_docs_free(&run.s.docs);
	fl_service_alloc_free(&run.s.alloc);
	uv_loop_close(&run.loop);
	return rc;
}
