// SPDX-License-Identifier: Apache-2.0
// How fast the HTTP server is and what its connections cost. The server is a process of its own on one thread and
// answers 200 bytes of JSON, or streams. wrk drives HTTP/1.1, h2load HTTP/2, where they are installed; memory is the
// growth of the server's private pages for each silent watch.
//
//   http_bench [seconds]      of each load; default 5
#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/mem.h"
#include "base/str.h"
#include "io/http_client.h"
#include "io/http_server.h"
#include "io/subprocess.h"
#include "io/tls.h"

#define WATCHES 1000

static struct fl_pki_cert ca, cert;
static char body[201];

static void die(const char *what, const struct fl_err *err)
{
	fprintf(stderr, "http_bench: %s: %s\n", what, err->text);
	exit(1);
}

// --- the server's process ---

static void handle(struct fl_http_req *r, void *arg)
{
	if (strcmp(fl_http_path(r), "/watch") == 0) {
		fl_http_start(r, 200, "application/json");
		struct fl_bytes *b = fl_bytes_new("{}\n", 3);
		fl_http_write(r, b);
		fl_bytes_put(&b);
	} else if (strcmp(fl_http_path(r), "/big") == 0) {
		static struct fl_bytes *big;
		if (!big) {
			big = fl_bytes_new(NULL, 1 << 20);
			memset(big->data, 'b', big->len);
		}
		fl_http_respond_bytes(r, 200, "application/json", big);
	} else {
		fl_http_respond(r, 200, "application/json", body, 200);
	}
}

static int only_h1(SSL *ssl, const unsigned char **out, unsigned char *out_len, const unsigned char *in,
		   unsigned in_len, void *arg)
{
	*out = (const unsigned char *)"http/1.1";
	*out_len = 8;
	return SSL_TLSEXT_ERR_OK;
}

enum { PLAIN, TLS, TLS_H1, PORTS };

static void serve(int out)
{
	struct fl_err err = {0};
	uv_loop_t *loop = uv_default_loop();
	SSL_CTX *ctx[PORTS] = {0};
	for (int i = TLS; i < PORTS; i++)
		if (fl_tls_server_ctx(cert.cert_pem, cert.key_pem, ca.cert_pem, false, &ctx[i], &err) < 0)
			die("TLS", &err);
	SSL_CTX_set_alpn_select_cb(ctx[TLS_H1], only_h1, NULL);
	struct fl_ip ip;
	fl_ip_parse("127.0.0.1", &ip);
	uint16_t ports[PORTS];
	for (int i = 0; i < PORTS; i++) {
		struct fl_http_server *s;
		struct fl_http_server_opts o = {.tls = ctx[i], .handler = handle, .server_name = "bench"};
		if (fl_http_server_new(loop, &o, &s, &err) < 0 || fl_http_server_listen(s, &ip, 0, &ports[i], &err) < 0)
			die("listening", &err);
	}
	if (write(out, ports, sizeof(ports)) != sizeof(ports))
		exit(1);
	uv_run(loop, UV_RUN_DEFAULT);
	exit(0);
}

// --- load ---

static bool installed(const char *program)
{
	int status = -1;
	struct fl_err err = {0};
	const char *const argv[] = {"sh", "-c", "command -v \"$0\"", program, NULL};
	AUTO_FREE char *out = NULL;
	return fl_subprocess_run(argv, 5000, &status, &out, &err) == 0 && status == 0;
}

static double processor_seconds(pid_t pid)
{
	char path[64], line[1024] = "";
	unsigned long user = 0, system = 0;
	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	FILE *f = fopen(path, "re");
	if (f && fgets(line, sizeof(line), f) && strrchr(line, ')'))
		sscanf(strrchr(line, ')'), ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system);
	if (f)
		fclose(f);
	return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

// Runs a load generator, prints the lines of its output that hold one of the words, and what the server used.
static void load(const char *title, pid_t pid, const char *const *argv, const char *const *words)
{
	double before = processor_seconds(pid);
	struct fl_err err = {0};
	int status = -1;
	AUTO_FREE char *out = NULL;
	if (fl_subprocess_run(argv, 120000, &status, &out, &err) < 0 || status) {
		printf("%-28s failed: %s\n", title, err.text);
		return;
	}
	printf("%s\n", title);
	for (char *save = NULL, *l = strtok_r(out, "\n", &save); l; l = strtok_r(NULL, "\n", &save))
		for (const char *const *w = words; *w; w++)
			if (strstr(l, *w)) {
				printf("    %s\n", l + strspn(l, " "));
				break;
			}
	printf("    server used %.2f s of processor\n", processor_seconds(pid) - before);
	fflush(stdout);
}

static void loads(pid_t pid, const uint16_t ports[PORTS], const char *seconds)
{
	static const char *const wrk_words[] = {"Requests/sec", "99%",           "Latency",
						"Transfer/sec", "Socket errors", NULL};
	static const char *const h2_words[] = {"finished in", "requests:", "time for request", NULL};
	char url[2][64], big[64], duration[16];
	snprintf(url[0], sizeof(url[0]), "http://127.0.0.1:%u/", ports[0]);
	snprintf(url[1], sizeof(url[1]), "https://127.0.0.1:%u/", ports[1]);
	snprintf(big, sizeof(big), "https://127.0.0.1:%u/big", ports[1]);
	snprintf(duration, sizeof(duration), "%ss", seconds);
	if (installed("wrk")) {
		const char *const plain[] = {"wrk", "-t1", "-c32", "-d", duration, "--latency", url[0], NULL};
		const char *const tls[] = {"wrk", "-t1", "-c32", "-d", duration, "--latency", url[1], NULL};
		const char *const bulk[] = {"wrk", "-t1", "-c4", "-d", duration, "--latency", big, NULL};
		load("h1 plain, 32 connections", pid, plain, wrk_words);
		load("h1 TLS, 32 connections", pid, tls, wrk_words);
		load("h1 TLS, 1 MiB, 4 connections", pid, bulk, wrk_words);
	} else {
		printf("wrk is not installed: no HTTP/1.1 load\n");
	}
	if (installed("h2load")) {
		const char *const one[] = {"h2load", "-c1", "-m32", "-D", seconds, url[1], NULL};
		const char *const many[] = {"h2load", "-c8", "-m32", "-D", seconds, url[1], NULL};
		const char *const bulk[] = {"h2load", "-c4", "-m4", "-D", seconds, "-w24", "-W24", big, NULL};
		load("h2 TLS, 1 connection, 32 streams", pid, one, h2_words);
		load("h2 TLS, 8 connections, 32 streams", pid, many, h2_words);
		load("h2 TLS, 1 MiB, 4 connections", pid, bulk, h2_words);
	} else {
		printf("h2load (nghttp2-client) is not installed: no HTTP/2 load\n");
	}
}

// --- memory ---

static long private_kib(pid_t pid)
{
	char path[64], line[256];
	long sum = 0, n;
	snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", (int)pid);
	FILE *f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "Private_Clean: %ld", &n) == 1 || sscanf(line, "Private_Dirty: %ld", &n) == 1)
			sum += n;
	if (f)
		fclose(f);
	return sum;
}

struct watches {
	unsigned begun, failed;
};

static void on_data(void *arg, int status, const char *data, size_t len)
{
	((struct watches *)arg)->begun++;
}

static void on_done(void *arg, int rc, int status, const char *data, size_t len, const struct fl_err *err)
{
	struct watches *w = arg;
	if (!w->failed++)
		fprintf(stderr, "http_bench: %s\n", err->text);
}

static void on_settled(uv_timer_t *t)
{
	*(bool *)t->data = true;
}

// WATCHES watches, `streams` of them with each client.
static void memory(const char *title, pid_t pid, uint16_t port, bool tls, unsigned streams)
{
	char url[64];
	struct fl_err err = {0};
	struct watches w = {0};
	struct fl_http_client *clients[WATCHES] = {0};
	uv_loop_t loop;
	uv_loop_init(&loop);
	long before = private_kib(pid);
	snprintf(url, sizeof(url), "%s://127.0.0.1:%u/watch", tls ? "https" : "http", port);
	unsigned n_clients = (WATCHES + streams - 1) / streams;
	for (unsigned i = 0; i < n_clients; i++) {
		struct fl_http_client_opts o = {.ca_pem = ca.cert_pem};
		if (fl_http_client_new(&loop, &o, &clients[i], &err) < 0)
			die("client", &err);
	}
	for (unsigned i = 0; i < WATCHES; i++) {
		struct fl_http_call_opts o = {
		    .method = "GET", .url = url, .on_data = on_data, .on_done = on_done, .arg = &w};
		if (fl_http_client_call(clients[i % n_clients], &o, NULL, &err) < 0)
			die("call", &err);
		// Until the server's settings are known, a connection carries a hundred streams.
		while (streams < WATCHES && i < n_clients && w.begun + w.failed <= i)
			uv_run(&loop, UV_RUN_ONCE);
	}
	while (w.begun + w.failed < WATCHES)
		uv_run(&loop, UV_RUN_ONCE);
	long burst = private_kib(pid) - before;
	uv_timer_t timer;
	bool settled = false;
	uv_timer_init(&loop, &timer);
	timer.data = &settled;
	uv_timer_start(&timer, on_settled, 6000, 0);
	while (!settled)
		uv_run(&loop, UV_RUN_ONCE);
	uv_close((uv_handle_t *)&timer, NULL);
	printf("%-40s %6.2f KiB each at once, %6.2f after 6 s (%u watches, %u failed)\n", title,
	       (double)burst / WATCHES, (double)(private_kib(pid) - before) / WATCHES, w.begun, w.failed);
	fflush(stdout);
	for (unsigned i = 0; i < n_clients; i++)
		fl_http_client_free(&clients[i]);
	while (uv_run(&loop, UV_RUN_ONCE))
		;
	uv_loop_close(&loop);
}

struct server {
	pid_t pid;
	uint16_t ports[PORTS];
};

static void start_server(struct server *s)
{
	int fds[2];
	if (pipe(fds) < 0)
		exit(1);
	s->pid = fork();
	if (s->pid == 0)
		serve(fds[1]);
	if (s->pid < 0 || read(fds[0], s->ports, sizeof(s->ports)) != sizeof(s->ports))
		exit(1);
	close(fds[0]);
	close(fds[1]);
}

int main(int argc, char **argv)
{
	struct fl_err err = {0};
	struct fl_ip ip;
	fl_ip_parse("127.0.0.1", &ip);
	struct fl_pki_request req = {.common_name = "bench", .ips = &ip, .n_ips = 1, .server = true, .days = 1};
	if (fl_pki_make_ca("bench CA", 1, &ca, &err) < 0 || fl_pki_sign(&ca, &req, &cert, &err) < 0)
		die("certificates", &err);
	struct rlimit rl;
	getrlimit(RLIMIT_NOFILE, &rl);
	rl.rlim_cur = rl.rlim_max;
	setrlimit(RLIMIT_NOFILE, &rl);
	memset(body, 'j', 200);
	// All before this process has a heap worth mentioning, which they would inherit.
	struct server s[5];
	for (size_t i = 0; i < FL_COUNT(s); i++)
		start_server(&s[i]);
	loads(s[0].pid, s[0].ports, argc > 1 ? argv[1] : "5");
	memory("watch on an h1 connection, plain", s[1].pid, s[1].ports[PLAIN], false, WATCHES);
	memory("watch on an h1 connection, TLS", s[2].pid, s[2].ports[TLS_H1], true, WATCHES);
	memory("watch on an h2 connection of its own", s[3].pid, s[3].ports[TLS], true, 1);
	memory("watch among 500 h2 streams", s[4].pid, s[4].ports[TLS], true, 500);
	for (size_t i = 0; i < FL_COUNT(s); i++) {
		kill(s[i].pid, SIGKILL);
		waitpid(s[i].pid, NULL, 0);
	}
	fl_pki_cert_deinit(&ca);
	fl_pki_cert_deinit(&cert);
	return 0;
}
