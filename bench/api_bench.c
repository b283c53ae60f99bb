// SPDX-License-Identifier: Apache-2.0
// How fast the API server is: durable creates, updates and deletes over 16 connections, lists of 10,000 Services with a
// write between any two, watches. The server is a child process on loopback with a data directory of its own; the load
// comes from this process over TLS, with client certificates, each answer awaited before the next request of its
// connection.
//
//   api_bench [directory [count]]      default: a new one under $TMPDIR or /var/tmp, removed at the end; 10000 Services
//
// Creates, gets, updates and deletes come from bench/load.c, lists and watches from the HTTP client of the roles. The
// processor time of server and load is shown beside each rate.
#include <errno.h>
#include <ftw.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "apiserver/apiserver.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "io/http_client.h"
#include "io/tls.h"
#include "load.h"

#define SERVICES "/api/v1/namespaces/default/services"

static uv_loop_t loop;
static const char *dir;
static struct fl_pki_cert ca, server_cert, client_cert;
static pid_t server;
static char url[64];

static void die(const char *what, const char *why)
{
	fprintf(stderr, "%s: %s\n", what, why);
	if (server > 0)
		kill(server, SIGKILL);
	exit(1);
}

// --- the server ---

static void put(const char *name, const char *text)
{
	struct fl_err err = {0};
	AUTO_FREE char *path = fl_asprintf("%s/%s", dir, name);
	if (fl_file_write(path, text, strlen(text), 0600, &err) < 0)
		die("write", err.text);
}

static void make_certificates(void)
{
	struct fl_err err = {0};
	struct fl_ip ip;
	fl_ip_parse("127.0.0.1", &ip);
	const char *const groups[] = {"system:masters", NULL};
	struct fl_pki_request s = {.common_name = "server", .ips = &ip, .n_ips = 1, .server = true, .days = 2};
	struct fl_pki_request c = {.common_name = "bench", .organizations = groups, .client = true, .days = 2};
	if (fl_pki_make_ca("bench", 2, &ca, &err) < 0 || fl_pki_sign(&ca, &s, &server_cert, &err) < 0 ||
	    fl_pki_sign(&ca, &c, &client_cert, &err) < 0)
		die("certificates", err.text);
	put("ca.crt", ca.cert_pem);
	put("server.crt", server_cert.cert_pem);
	put("server.key", server_cert.key_pem);
	put("client.crt", client_cert.cert_pem);
	put("client.key", client_cert.key_pem);
}

static int serve(void)
{
	struct fl_err err = {0};
	AUTO_FREE char *ca_file = fl_asprintf("%s/ca.crt", dir), *crt = fl_asprintf("%s/server.crt", dir),
		       *key = fl_asprintf("%s/server.key", dir), *ccrt = fl_asprintf("%s/client.crt", dir),
		       *ckey = fl_asprintf("%s/client.key", dir), *port = fl_asprintf("%s/port", dir);
	struct fl_ip listen;
	fl_ip_parse("127.0.0.1", &listen);
	struct fl_apiserver_opts o = {.data_dir = dir,
				      .listen_ips = &listen,
				      .n_listen = 1,
				      .port_file = port,
				      .cert_file = crt,
				      .key_file = key,
				      .client_ca_file = ca_file,
				      .kubelet_cert_file = ccrt,
				      .kubelet_key_file = ckey,
				      .n_service_cidrs = 1,
				      .node_port_low = 30000,
				      .node_port_high = 32767};
	fl_cidr_parse("10.96.0.0/12", &o.service_cidrs[0], false);
	fl_ip_parse("192.0.2.1", &o.advertise_ip);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	fl_log_init("apiserver", FL_LOG_WARN);
	int rc = fl_apiserver_run(&o, &err);
	if (rc < 0)
		fprintf(stderr, "%s\n", err.text);
	return rc < 0;
}

static void start_server(void)
{
	AUTO_FREE char *port_file = fl_asprintf("%s/port", dir);
	unlink(port_file);
	uint64_t t0 = fl_mono_ns();
	server = fork();
	if (server == 0)
		_exit(serve());
	struct fl_err err = {0};
	AUTO_FREE char *text = NULL;
	while (fl_file_read(port_file, &text, NULL, &err) < 0 || !strchr(text, '\n')) {
		if (waitpid(server, NULL, WNOHANG) == server)
			die("server", "it ended");
		usleep(1000);
	}
	snprintf(url, sizeof(url), "https://127.0.0.1:%d", atoi(text));
	printf("server ready after %.1f ms\n", (double)(fl_mono_ns() - t0) / 1e6);
}

static void stop_server(void)
{
	int status;
	uint64_t t0 = fl_mono_ns();
	kill(server, SIGTERM);
	waitpid(server, &status, 0);
	printf("server stopped after %.1f ms, status %d\n", (double)(fl_mono_ns() - t0) / 1e6, status);
	server = 0;
}

static double server_cpu_s(void)
{
	AUTO_FREE char *path = fl_asprintf("/proc/%d/stat", (int)server);
	AUTO_FREE char *text = NULL;
	struct fl_err err = {0};
	unsigned long user = 0, sys = 0;
	if (fl_file_read(path, &text, NULL, &err) == 0 && strrchr(text, ')'))
		sscanf(strrchr(text, ')') + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &sys);
	return (double)(user + sys) / (double)sysconf(_SC_CLK_TCK);
}

static double server_pss_mb(void)
{
	AUTO_FREE char *path = fl_asprintf("/proc/%d/smaps_rollup", (int)server);
	AUTO_FREE char *text = NULL;
	struct fl_err err = {0};
	unsigned long kb = 0;
	const char *p;
	if (fl_file_read(path, &text, NULL, &err) == 0 && (p = strstr(text, "\nPss:")))
		sscanf(p, "\nPss: %lu", &kb);
	return (double)kb / 1024;
}

// --- load ---

static struct fl_http_client *lister;

static struct fl_http_client *new_client(void)
{
	struct fl_err err = {0};
	struct fl_http_client *c = NULL;
	struct fl_http_client_opts o = {.ca_pem = ca.cert_pem,
					.cert_pem = client_cert.cert_pem,
					.key_pem = client_cert.key_pem,
					.user_agent = "bench/1.0"};
	if (fl_http_client_new(&loop, &o, &c, &err) < 0)
		die("client", err.text);
	return c;
}

static void body_of(struct fl_buf *b, int i, int target_port)
{
	b->len = 0;
	fl_buf_printf(
	    b,
	    "{\"kind\":\"Service\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"service-%06d\",\"namespace\":"
	    "\"default\",\"labels\":{\"app\":\"web-%d\",\"tier\":\"front\"}},\"spec\":{\"ports\":[{\"name\":"
	    "\"http\",\"protocol\":\"TCP\",\"port\":80,\"targetPort\":%d}],\"selector\":{\"app\":\"web-%d\"},"
	    "\"type\":\"ClusterIP\"}}",
	    i, i, target_port, i);
}

static void request(void *arg, int i, const char **method, struct fl_buf *path, struct fl_buf *body)
{
	const char *verb = *method = arg;
	bool post = !strcmp(verb, "POST");
	fl_buf_printf(path, post ? SERVICES : SERVICES "/service-%06d", i);
	if (post || !strcmp(verb, "PUT"))
		body_of(body, i, post ? 8080 : 9090);
}

static void run(const char *what, const char *method, int n, int conns)
{
	struct load_target *t = load_target_new(url, ca.cert_pem, client_cert.cert_pem, client_cert.key_pem);
	struct load_job job = {
	    .conns = conns, .to = n, .request = request, .type = "application/json", .arg = (void *)(uintptr_t)method};
	double cpu = server_cpu_s();
	struct load_result r = load_run(t, &job);
	cpu = server_cpu_s() - cpu;
	printf("%-10s %2d connections: %7.0f/s  p50 %5.2f ms  p99 %5.2f ms  server %4.0f us each, load %3.0f  bad %d\n",
	       what, conns, n / r.seconds, (double)r.p50_ns / 1e6, (double)r.p99_ns / 1e6, cpu / n * 1e6,
	       r.cpu_s / n * 1e6, r.bad);
	fflush(stdout);
	load_target_free(&t);
}

static int cmp(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return (x > y) - (x < y);
}

// --- lists ---

struct reply {
	bool done;
	size_t len, items;
};

static void on_reply(void *arg, int rc, int status, const char *body, size_t len, const struct fl_err *err)
{
	struct reply *r = arg;
	r->done = true;
	r->len = len;
	if (rc < 0 || status >= 300)
		die("list", rc < 0 ? err->text : body);
}

static uint64_t call(struct fl_http_client *c, const char *method, const char *path, const char *accept,
		     const char *body, struct reply *r)
{
	AUTO_FREE char *u = fl_asprintf("%s%s", url, path);
	AUTO_FREE char *a = fl_asprintf("Accept: %s", accept);
	const char *const headers[] = {a, "Content-Type: application/merge-patch+json", NULL};
	struct fl_http_call_opts o = {.method = method,
				      .url = u,
				      .headers = headers,
				      .body = body,
				      .body_len = body ? strlen(body) : 0,
				      .on_done = on_reply,
				      .arg = r};
	struct fl_err err = {0};
	*r = (struct reply){0};
	uint64_t t0 = fl_mono_ns();
	if (fl_http_client_call(c, &o, NULL, &err) < 0)
		die("call", err.text);
	while (!r->done)
		uv_run(&loop, UV_RUN_ONCE);
	return fl_mono_ns() - t0;
}

static void lists(const char *what, const char *query, const char *accept, int n)
{
	struct fl_http_client *c = lister;
	uint64_t ns[64];
	struct reply r;
	double cpu = server_cpu_s();
	AUTO_FREE char *path = fl_asprintf(SERVICES "%s", query);
	for (int i = 0; i < n; i++) {
		char body[96];
		snprintf(body, sizeof(body), "{\"metadata\":{\"labels\":{\"round\":\"%d-%d\"}}}", getpid(),
			 i + (int)strlen(what) * 100);
		call(c, "PATCH", SERVICES "/service-000001", "application/json", body, &r);
		ns[i] = call(c, "GET", path, accept, NULL, &r);
	}
	cpu = server_cpu_s() - cpu;
	qsort(ns, (size_t)n, sizeof(ns[0]), cmp);
	printf("list, %-15s p50 %6.1f ms  max %6.1f ms  %5.1f MB  server %5.1f ms each\n", what,
	       (double)ns[n / 2] / 1e6, (double)ns[n - 1] / 1e6, (double)r.len / 1e6, cpu / n * 1e3);
	fflush(stdout);
}

// --- watches ---

static struct {
	unsigned lines;
} seen;

static void on_watch_data(void *arg, int status, const char *data, size_t len)
{
	for (size_t i = 0; i < len; i++)
		seen.lines += data[i] == '\n';
}

static void on_watch_done(void *arg, int rc, int status, const char *body, size_t len, const struct fl_err *err)
{
	die("watch", rc < 0 ? err->text : "it ended");
}

static void wait_lines(unsigned n)
{
	while (seen.lines < n)
		uv_run(&loop, UV_RUN_ONCE);
}

// All on one HTTP/2 connection, each of one Service, so that an event reaches one of them.
static void watches(int n)
{
	struct fl_http_client *c = new_client();
	struct reply r;
	double before = server_pss_mb();
	seen.lines = 0;
	for (int i = 0; i < n; i++) {
		char u[256];
		struct fl_err err = {0};
		snprintf(u, sizeof(u),
			 "%s" SERVICES "?watch=1&resourceVersion=0&fieldSelector=metadata.name%%3Dservice-%06d", url,
			 i);
		struct fl_http_call_opts o = {
		    .method = "GET", .url = u, .on_data = on_watch_data, .on_done = on_watch_done, .arg = NULL};
		if (fl_http_client_call(c, &o, NULL, &err) < 0)
			die("watch", err.text);
	}
	wait_lines((unsigned)n);
	double after = server_pss_mb(), cpu = server_cpu_s();
	uint64_t t0 = fl_mono_ns();
	enum { EVENTS = 500 };
	for (int i = 0; i < EVENTS; i++) {
		char body[96], path[96];
		snprintf(path, sizeof(path), SERVICES "/service-%06d", i % n);
		snprintf(body, sizeof(body), "{\"metadata\":{\"labels\":{\"event\":\"%d\"}}}", i);
		call(lister, "PATCH", path, "application/json", body, &r);
		wait_lines((unsigned)(n + i + 1));
	}
	printf("%d watches with selectors: %.1f KiB each; write to event, one after the other: %.2f ms, server %.0f us "
	       "each\n",
	       n, (after - before) * 1024 / n, (double)(fl_mono_ns() - t0) / 1e6 / EVENTS,
	       (server_cpu_s() - cpu) / EVENTS * 1e6);
	fflush(stdout);
	fl_http_client_free(&c);
}

static void drop_clients(void)
{
	fl_http_client_free(&lister);
	uv_run(&loop, UV_RUN_DEFAULT);
}

static void new_server(void)
{
	drop_clients();
	stop_server();
	start_server();
	lister = new_client();
	run("get", "GET", 100, 1);
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	return remove(path);
}

int main(int argc, char **argv)
{
	char path[256];
	const char *tmp = getenv("TMPDIR");
	snprintf(path, sizeof(path), "%s/fairlead-api-bench-XXXXXX", tmp ? tmp : "/var/tmp");
	dir = argc > 1 ? argv[1] : mkdtemp(path);
	if (!dir) {
		perror(path);
		return 1;
	}
	int n = argc > 2 ? atoi(argv[2]) : 10000;
	make_certificates();
	start_server();
	uv_loop_init(&loop);
	lister = new_client();
	printf("idle: %.1f MB Pss\n", server_pss_mb());
	run("create", "POST", n, 16);
	printf("%d Services: %.1f MB Pss\n", n, server_pss_mb());
	run("get", "GET", n, 16);
	run("update", "PUT", n, 16);
	run("get", "GET", n / 5, 1);
	run("update", "PUT", n / 5, 1);
	lists("objects", "", "application/json", 15);
	lists("table", "", "application/json;as=Table;v=v1;g=meta.k8s.io", 15);
	lists("metadata", "", "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io", 15);
	lists("label selector", "?labelSelector=tier%3Dfront", "application/json", 15);
	lists("field selector", "?fieldSelector=spec.type%3DNodePort", "application/json", 15);
	lists("500 of them", "?limit=500", "application/json", 15);
	printf("after all that: %.1f MB Pss\n", server_pss_mb());
	new_server(); // a heap that nothing has grown yet
	watches(n / 10);
	run("delete", "DELETE", n, 16);
	drop_clients();
	stop_server();
	fl_pki_cert_deinit(&ca);
	fl_pki_cert_deinit(&server_cert);
	fl_pki_cert_deinit(&client_cert);
	uv_loop_close(&loop);
	if (argc <= 1)
		nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	return 0;
}
