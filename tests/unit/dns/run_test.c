// SPDX-License-Identifier: Apache-2.0
// The whole role as a process of its own, against a scripted API server, in a network namespace of the test's own.
#include "../client/client_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "base/log.h"
#include "client/kubeconfig.h"
#include "dns/dns.h"
#include "dns/message.h"

#define SERVICE(name, ip, rv)                                                                                          \
	"{\"kind\":\"Service\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"" name                                   \
	"\",\"namespace\":\"default\",\"uid\":\"" name "\",\"resourceVersion\":\"" rv                                  \
	"\"},\"spec\":{\"clusterIP\":\"" ip "\",\"clusterIPs\":[\"" ip "\"]}}"
#define LIST(kind, version, items)                                                                                     \
	"{\"kind\":\"" kind "\",\"apiVersion\":\"" version                                                             \
	"\",\"metadata\":{\"resourceVersion\":\"5\"},\"items\":[" items "]}"

struct api {
	bool has_slices;              // until then their list fails
	struct fl_http_req *services; // the watch
	unsigned created;
};

static void on_watch_closed(struct fl_http_req *r, void *arg, bool gone)
{
	struct api *a = arg;
	if (a->services == r)
		a->services = NULL;
}

static void forget(struct seen *s)
{
	free(s->line);
	free(s->body);
	free(s->type);
	free(s->accept);
}

static void serve(struct fixture *f, struct fl_http_req *r, const char *line)
{
	struct api *a = f->arg;
	if (f->n_seen == MAX_SEEN) { // nothing of it is looked at
		for (unsigned i = 0; i + 1 < f->n_seen; i++)
			forget(&f->seen[i]);
		f->seen[0] = f->seen[f->n_seen - 1];
		f->n_seen = 1;
	}
	if (fl_starts_with(line, "POST ")) {
		a->created++;
		respond(r, 201, "{}");
	} else if (strstr(line, "watch=")) {
		fl_http_on_close(r, on_watch_closed, a);
		fl_http_start(r, 200, "application/json");
		if (strstr(line, "/services"))
			a->services = r;
	} else if (strstr(line, "/services")) {
		respond(r, 200, LIST("ServiceList", "v1", SERVICE("web", "10.96.0.20", "3")));
	} else if (strstr(line, "/namespaces")) {
		respond(
		    r, 200,
		    LIST("PartialObjectMetadataList", "meta.k8s.io/v1",
			 "{\"kind\":\"PartialObjectMetadata\",\"apiVersion\":\"meta.k8s.io/v1\",\"metadata\":{\"name\":"
			 "\"default\",\"uid\":\"d\",\"resourceVersion\":\"1\"}}"));
	} else if (a->has_slices) {
		respond(r, 200, LIST("EndpointSliceList", "discovery.k8s.io/v1", ""));
	} else {
		respond(r, 503, "{}");
	}
}

static bool own_netns(void)
{
	struct ifreq lo = {.ifr_name = "lo", .ifr_flags = IFF_UP};
	if (unshare(CLONE_NEWNET) < 0)
		return false;
	AUTO_CLOSE int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	return ioctl(fd, SIOCSIFFLAGS, &lo) == 0;
}

struct asker {
	int fd;
	uv_poll_t poll;
	uv_timer_t again;
	uint8_t query[512], reply[512];
	size_t len, got;
};

static void send_again(uv_timer_t *t)
{
	struct asker *k = t->data;
	// Refused while nobody listens yet; lost when it died meanwhile: asked again.
	(void)!send(k->fd, k->query, k->len, MSG_DONTWAIT);
}

static void on_reply(uv_poll_t *h, int status, int events)
{
	struct asker *k = h->data;
	ssize_t n = recv(k->fd, k->reply, sizeof(k->reply), MSG_DONTWAIT);
	if (n > 0 && !memcmp(k->reply, k->query, 2))
		k->got = (size_t)n;
	if (status < 0) // refused, as nobody listens yet: libuv has stopped to look
		uv_poll_start(h, UV_READABLE, on_reply);
}

// Asks until the answer has this code; returns the address in its last octets.
static uint32_t ask_until(struct fixture *f, const char *name, unsigned rcode)
{
	static uint16_t id;
	struct asker k = {.fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)};
	struct sockaddr_in sa = {
	    .sin_family = AF_INET, .sin_port = htons(53), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	assert_int_equal(connect(k.fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	k.len = fl_dns_make_query(k.query, sizeof(k.query), ++id, name, FL_DNS_A);
	uv_poll_init(&f->loop, &k.poll, k.fd);
	uv_timer_init(&f->loop, &k.again);
	k.poll.data = k.again.data = &k;
	uv_poll_start(&k.poll, UV_READABLE, on_reply);
	uv_timer_start(&k.again, send_again, 0, 20);
	wait_for(f, k.got && fl_dns_rcode(k.reply) == rcode);
	uv_close((uv_handle_t *)&k.poll, NULL);
	uv_close((uv_handle_t *)&k.again, NULL);
	uv_run(&f->loop, UV_RUN_NOWAIT);
	close(k.fd);
	return k.got > 4 ? fl_dns_get32(k.reply + k.got - 4) : 0;
}

static int run_role(const char *kubeconfig)
{
	struct fl_err err = {0};
	struct fl_dns_opts o = {.kubeconfig = kubeconfig,
				.node_name = "node-a",
				.domain = "cluster.local",
				.port = 53,
				.upstream = "127.0.0.9",
				.n_listen = 1,
				.n_cluster_ips = 1};
	fl_log_init("dns", FL_LOG_WARN);
	fl_ip_parse("127.0.0.1", &o.listen[0]);
	fl_ip_parse("10.96.0.10", &o.cluster_ips[0]);
	int rc = fl_dns_run(&o, &err);
	if (rc < 0)
		fprintf(stderr, "%s\n", err.text);
	return rc < 0;
}

static void tick(uv_timer_t *t)
{
}

static bool stands_in(const char *path, const char *what)
{
	char text[4096];
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);
	text[n > 0 ? n : 0] = '\0';
	return strstr(text, what);
}

static void wait_for_line(struct fixture *f, const char *path, const char *what)
{
	uv_timer_t t;
	uv_timer_init(&f->loop, &t);
	uv_timer_start(&t, tick, 10, 10);
	wait_for(f, stands_in(path, what));
	uv_close((uv_handle_t *)&t, NULL);
	uv_run(&f->loop, UV_RUN_NOWAIT);
}

static int wait_for_exit(struct fixture *f, pid_t pid)
{
	int status = 0;
	uv_timer_t t;
	uv_timer_init(&f->loop, &t);
	uv_timer_start(&t, tick, 10, 10);
	while (waitpid(pid, &status, WNOHANG) == 0)
		uv_run(&f->loop, UV_RUN_ONCE);
	uv_close((uv_handle_t *)&t, NULL);
	uv_run(&f->loop, UV_RUN_NOWAIT);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void serves_what_the_api_says(void **state)
{
	struct fixture f;
	struct api a = {0};
	if (!own_netns())
		skip();
	setup(&f, serve);
	f.arg = &a;
	AUTO_FREE char *url = fl_asprintf("http://127.0.0.1:%u", f.port),
		       *path = fl_asprintf("/tmp/dns_run_test.%d", (int)getpid()),
		       *log = fl_asprintf("/tmp/dns_run_test.%d.log", (int)getpid());
	struct fl_kubeconfig cfg = {.server = url};
	struct fl_err err = {0};
	assert_int_equal(fl_kubeconfig_write(path, &cfg, "test", "test", &err), 0);
	fflush(stdout);
	pid_t pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		AUTO_CLOSE int fd = open(log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
		if (fd < 0 || dup2(fd, STDERR_FILENO) < 0)
			_exit(1);
		_exit(run_role(path));
	}
	ask_until(&f, "web.default.svc.cluster.local", FL_DNS_SERVFAIL); // not all is known yet
	ask_until(&f, "www.example.com", FL_DNS_SERVFAIL);               // nobody to ask
	wait_for_line(&f, log, " missing=endpointslices\n");
	a.has_slices = true;
	assert_int_equal(ask_until(&f, "web.default.svc.cluster.local", FL_DNS_NOERROR), 0x0a600014);
	ask_until(&f, "new.default.svc.cluster.local", FL_DNS_NXDOMAIN);
	ask_until(&f, "default.svc.cluster.local", FL_DNS_NOERROR);
	wait_for(&f, a.services && a.created == 2);

	static const char event[] = "{\"type\":\"ADDED\",\"object\":" SERVICE("new", "10.96.0.21", "9") "}\n";
	struct fl_bytes *b = fl_bytes_new(event, strlen(event));
	fl_http_write(a.services, b);
	fl_bytes_put(&b);
	assert_int_equal(ask_until(&f, "new.default.svc.cluster.local", FL_DNS_NOERROR), 0x0a600015);

	assert_int_equal(kill(pid, SIGTERM), 0);
	assert_int_equal(wait_for_exit(&f, pid), 0);
	unlink(path);
	unlink(log);
	teardown(&f);
}

static void says_why_it_cannot_run(void **state)
{
	struct fl_err err = {0};
	struct fl_dns_opts o = {.kubeconfig = "/nonexistent", .domain = "cluster.local", .upstream = "dns.example"};
	assert_int_equal(fl_dns_run(&o, &err), -EINVAL);
	assert_non_null(strstr(err.text, "upstream DNS server \"dns.example\""));
	o.upstream = "192.0.2.1";
	o.domain = "not a domain";
	assert_int_equal(fl_dns_run(&o, &err), -EINVAL);
	assert_non_null(strstr(err.text, "DNS zone \"not a domain\""));
	o.domain = "cluster.local";
	assert_int_equal(fl_dns_run(&o, &err), -ENOENT);
	assert_non_null(strstr(err.text, "/nonexistent"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(says_why_it_cannot_run),
	    cmocka_unit_test(serves_what_the_api_says),
	};
	return cmocka_run_group_tests_name("dns run", tests, NULL, NULL);
}
