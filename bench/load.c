// SPDX-License-Identifier: Apache-2.0
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/ip.h"
#include "base/mem.h"
#include "client/kubeconfig.h"

struct load_target {
	SSL_CTX *tls;
	struct sockaddr_storage addr;
	socklen_t addr_len;
	char authority[80];
};

struct load_conn {
	struct load_target *t;
	int fd;
	SSL *ssl;
	struct fl_buf out, in;
	const char *headers;
	size_t head_len, body_len; // of the answer, head_len 0: not known yet
	uint64_t begun;
	int i;
};

void load_die(const char *what, const char *why)
{
	fprintf(stderr, "%s: %s\n", what, why);
	exit(1);
}

static _Noreturn void die_tls(const char *what)
{
	char text[256];
	ERR_error_string_n(ERR_get_error(), text, sizeof(text));
	load_die(what, text);
}

double load_cpu_s(void)
{
	struct rusage u;
	getrusage(RUSAGE_SELF, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
	       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return (x > y) - (x < y);
}

uint64_t load_quantile(uint64_t *ns, size_t n, double q)
{
	qsort(ns, n, sizeof(*ns), by_value);
	return n ? ns[(size_t)((double)(n - 1) * q)] : 0;
}

static void set_address(struct load_target *t, const char *url)
{
	const char *host = strstr(url, "://");
	host = host ? host + 3 : url;
	snprintf(t->authority, sizeof(t->authority), "%.*s", (int)strcspn(host, "/"), host);
	char ip_text[64];
	const char *colon = strrchr(t->authority, ':');
	int skip = t->authority[0] == '[';
	if (!colon)
		load_die(url, "no port");
	snprintf(ip_text, sizeof(ip_text), "%.*s", (int)(colon - t->authority) - 2 * skip, t->authority + skip);
	struct fl_ip ip;
	if (!fl_ip_parse(ip_text, &ip))
		load_die(url, "no address");
	fl_ip_to_sockaddr(&ip, (uint16_t)atoi(colon + 1), &t->addr, &t->addr_len);
}

struct load_target *load_target_new(const char *url, const char *ca_pem, const char *cert_pem, const char *key_pem)
{
	struct load_target *t = FL_NEW(struct load_target);
	set_address(t, url);
	t->tls = SSL_CTX_new(TLS_client_method());
	BIO *ca = BIO_new_mem_buf(ca_pem, -1), *cert = BIO_new_mem_buf(cert_pem, -1),
	    *key = BIO_new_mem_buf(key_pem, -1);
	X509 *root = PEM_read_bio_X509(ca, NULL, NULL, NULL), *own = PEM_read_bio_X509(cert, NULL, NULL, NULL);
	EVP_PKEY *pkey = PEM_read_bio_PrivateKey(key, NULL, NULL, NULL);
	if (!root || !own || !pkey || X509_STORE_add_cert(SSL_CTX_get_cert_store(t->tls), root) != 1 ||
	    SSL_CTX_use_certificate(t->tls, own) != 1 || SSL_CTX_use_PrivateKey(t->tls, pkey) != 1)
		die_tls("certificates");
	SSL_CTX_set_verify(t->tls, SSL_VERIFY_PEER, NULL);
	X509_free(root);
	X509_free(own);
	EVP_PKEY_free(pkey);
	BIO_free(ca);
	BIO_free(cert);
	BIO_free(key);
	return t;
}

struct load_target *load_target_open(const char *kubeconfig)
{
	AUTO(fl_kubeconfig_deinit) struct fl_kubeconfig k = {0};
	struct fl_err err = {0};
	if (fl_kubeconfig_load(kubeconfig, NULL, &k, &err) < 0)
		load_die("kubeconfig", err.text);
	return load_target_new(k.server, k.ca_pem, k.cert_pem, k.key_pem);
}

void load_target_free(struct load_target **tp)
{
	struct load_target *t = TAKE_PTR(*tp);
	if (!t)
		return;
	SSL_CTX_free(t->tls);
	free(t);
}

struct load_conn *load_connect(struct load_target *t)
{
	struct load_conn *c = FL_NEW(struct load_conn);
	int one = 1;
	c->t = t;
	c->headers = "Accept: application/json\r\n";
	c->fd = socket(t->addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&t->addr, t->addr_len) < 0)
		load_die("connect", strerror(errno));
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	c->ssl = SSL_new(t->tls);
	SSL_set_fd(c->ssl, c->fd);
	if (SSL_connect(c->ssl) != 1)
		die_tls("TLS");
	return c;
}

void load_close(struct load_conn **cp)
{
	struct load_conn *c = TAKE_PTR(*cp);
	if (!c)
		return;
	SSL_free(c->ssl);
	close(c->fd);
	fl_buf_deinit(&c->in);
	fl_buf_deinit(&c->out);
	free(c);
}

void load_set_headers(struct load_conn *c, const char *headers)
{
	c->headers = headers;
}

static void send_request(struct load_conn *c, const char *method, const char *path, const char *type, const char *body,
			 size_t len)
{
	c->out.len = 0;
	c->in.len = c->head_len = c->body_len = 0;
	fl_buf_printf(&c->out, "%s %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: bench/1.0\r\n%s", method, path,
		      c->t->authority, c->headers);
	if (type && len)
		fl_buf_printf(&c->out, "Content-Type: %s\r\nContent-Length: %zu\r\n", type, len);
	fl_buf_puts(&c->out, "\r\n");
	fl_buf_append(&c->out, body, len);
	c->begun = fl_mono_ns();
	// Of small requests the kernel takes all at once.
	for (size_t at = 0, n; at < c->out.len; at += n)
		if (SSL_write_ex(c->ssl, c->out.data + at, c->out.len - at, &n) != 1)
			die_tls("write");
}

static void read_head(struct load_conn *c)
{
	static const char field[] = "\r\ncontent-length:";
	char *end = memmem(c->in.data, c->in.len, "\r\n\r\n", 4);
	if (!end)
		return;
	c->head_len = (size_t)(end - c->in.data) + 4;
	*end = 0;
	const char *length = strcasestr(c->in.data, field);
	if (!length)
		load_die("answer without length", c->in.data);
	c->body_len = strtoull(length + sizeof(field) - 1, NULL, 10);
	size_t whole = c->head_len + c->body_len + 1;
	if (whole > c->in.len)
		fl_buf_reserve(&c->in, whole - c->in.len);
}

// Reads what is there; true: the answer is whole.
static bool receive(struct load_conn *c)
{
	do {
		fl_buf_reserve(&c->in, 16385); // a record
		size_t n = 0;
		if (SSL_read_ex(c->ssl, c->in.data + c->in.len, c->in.cap - c->in.len - 1, &n) != 1)
			die_tls("the server closed");
		c->in.len += n;
		c->in.data[c->in.len] = 0;
		if (!c->head_len)
			read_head(c);
	} while (SSL_pending(c->ssl));
	return c->head_len && c->in.len >= c->head_len + c->body_len;
}

static struct load_answer answer_of(const struct load_conn *c)
{
	return (struct load_answer){
	    .status = atoi(c->in.data + 9), .body = c->in.data + c->head_len, .len = c->body_len};
}

struct load_answer load_call(struct load_conn *c, const char *method, const char *path, const char *type,
			     const char *body, size_t len)
{
	send_request(c, method, path, type, body, len);
	while (!receive(c))
		;
	return answer_of(c);
}

struct load_answer load_must(struct load_conn *c, const char *method, const char *path, const char *type,
			     const char *body, size_t len)
{
	struct load_answer a = load_call(c, method, path, type, body, len);
	if (a.status / 100 != 2) {
		fprintf(stderr, "%s %s: %d\n", method, path, a.status);
		load_die("answer", a.body);
	}
	return a;
}

struct running {
	const struct load_job *job;
	struct load_conn **conns;
	struct fl_buf path, body;
	uint64_t *ns;
	int next, done, bad;
};

static void send_next(struct running *run, struct load_conn *c)
{
	const struct load_job *job = run->job;
	const char *method = "GET";
	if (run->next == job->to)
		return;
	c->i = run->next++;
	run->path.len = run->body.len = 0;
	job->request(job->arg, c->i, &method, &run->path, &run->body);
	send_request(c, method, run->path.data, job->type, run->body.data, run->body.len);
}

static void on_readable(struct running *run, struct load_conn *c)
{
	if (!receive(c))
		return;
	struct load_answer a = answer_of(c);
	run->ns[c->i - run->job->from] = fl_mono_ns() - c->begun;
	if (a.status / 100 != 2 && !run->bad++)
		fprintf(stderr, "answer %d: %s\n", a.status, a.body);
	run->done++;
	send_next(run, c);
}

struct load_result load_run(struct load_target *t, const struct load_job *job)
{
	size_t n = (size_t)(job->to - job->from);
	struct running run = {.job = job, .next = job->from, .ns = fl_calloc(n, sizeof(uint64_t))};
	int ep = epoll_create1(EPOLL_CLOEXEC);
	run.conns = fl_calloc((size_t)job->conns, sizeof(*run.conns));
	for (int i = 0; i < job->conns; i++) {
		struct load_conn *c = run.conns[i] = load_connect(t);
		struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
		// The session ticket that the server sends behind the handshake is read with the first answer.
		epoll_ctl(ep, EPOLL_CTL_ADD, c->fd, &e);
	}
	double cpu = load_cpu_s();
	uint64_t t0 = fl_mono_ns();
	for (int i = 0; i < job->conns; i++)
		send_next(&run, run.conns[i]);
	while ((size_t)run.done < n) {
		struct epoll_event e[64];
		int got = epoll_wait(ep, e, 64, -1);
		for (int i = 0; i < got; i++)
			on_readable(&run, e[i].data.ptr);
	}
	struct load_result r = {
	    .seconds = (double)(fl_mono_ns() - t0) / 1e9, .cpu_s = load_cpu_s() - cpu, .bad = run.bad};
	r.p50_ns = load_quantile(run.ns, n, 0.5);
	r.p99_ns = load_quantile(run.ns, n, 0.99);
	for (int i = 0; i < job->conns; i++)
		load_close(&run.conns[i]);
	free(run.conns);
	free(run.ns);
	fl_buf_deinit(&run.path);
	fl_buf_deinit(&run.body);
	close(ep);
	return r;
}
