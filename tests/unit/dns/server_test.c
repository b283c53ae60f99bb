// SPDX-License-Identifier: Apache-2.0
// The server over real sockets on loopback, with a scripted upstream behind it; with dig where it is installed.
#include "upstream_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "dns/server_data.h"
#include "io/subprocess.h"

static const char objects[] = "kind: Namespace\n"
			      "metadata: {name: default}\n"
			      "---\n"
			      "kind: Service\n"
			      "metadata: {name: web}\n"
			      "spec: {clusterIP: 10.96.0.20, clusterIPs: [10.96.0.20]}\n"
			      "---\n"
			      "kind: Service\n"
			      "metadata: {name: out}\n"
			      "spec: {type: ExternalName, externalName: www.example.com}\n"
			      "---\n"
			      "kind: Service\n"
			      "metadata: {name: many}\n"
			      "spec: {clusterIP: None}\n";

struct setup {
	struct world w;
	struct fake u;
	struct fl_dns_opts o;
	struct fl_zone *z;
	struct fl_forwarder *f;
	struct fl_dns_server *s;
	bool synced;
};

static bool is_synced(void *arg)
{
	return ((struct setup *)arg)->synced;
}

static void answers(struct fake_query *fq)
{
	fake_reply(fq, FL_DNS_NOERROR, 2, 300);
}

static void stays_silent(struct fake_query *fq)
{
}

static void add_many(struct fl_zone *z)
{
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	fl_buf_puts(&b, "kind: EndpointSlice\n"
			"metadata: {name: many-1, labels: {kubernetes.io/service-name: many}}\n"
			"addressType: IPv4\n"
			"endpoints:\n");
	for (unsigned i = 0; i < 100; i++)
		fl_buf_printf(&b, "- {addresses: [10.244.7.%u]}\n", i + 1);
	zone_apply(z, b.data);
}

static void begin(struct setup *s, void (*script)(struct fake_query *fq))
{
	struct fl_err err = {0};
	struct fl_forwarder_opts fo = {.try_ms = 30000};
	memset(s, 0, sizeof(*s));
	s->synced = true;
	world_begin(&s->w);
	fake_begin(&s->w, &s->u, script);
	s->z = zone_new();
	zone_apply(s->z, objects);
	add_many(s->z);
	AUTO_FREE char *text = fl_asprintf("127.0.0.1:%u", s->u.port);
	assert_int_equal(fl_upstreams_init(&fo.upstreams, text, NULL, NULL, 0, &err), 0);
	s->f = fl_forwarder_new(&s->w.loop, &fo);
	s->o = (struct fl_dns_opts){.n_listen = 1, .ttl_s = 5, .n_clients = 1};
	fl_ip_parse("127.0.0.1", &s->o.listen[0]);
	fl_cidr_parse("10.244.0.0/16", &s->o.clients[0], false);
	struct fl_dns_server_opts so = {
	    .dns = &s->o, .zone = s->z, .forwarder = s->f, .is_synced = is_synced, .arg = s};
	if (fl_dns_server_new(&s->w.loop, &so, &s->s, &err) < 0)
		fail_msg("%s", err.text);
	assert_true(fl_dns_server_port(s->s) > 0);
}

static void end(struct setup *s)
{
	fl_dns_server_free(&s->s);
	fl_forwarder_free(&s->f);
	fl_zone_free(&s->z);
	fake_end(&s->w, &s->u);
	world_end(&s->w);
}

// --- clients: plain sockets, which the loop watches ---

struct peer {
	int fd;
	uv_poll_t poll;
	bool ready;
};

static void on_ready(uv_poll_t *h, int status, int events)
{
	((struct peer *)h->data)->ready = true;
}

static void peer_open(struct setup *s, struct peer *p, int type)
{
	struct sockaddr_in sa = {.sin_family = AF_INET,
				 .sin_port = htons(fl_dns_server_port(s->s)),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	p->fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
	p->ready = false;
	assert_true(p->fd >= 0);
	assert_int_equal(connect(p->fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	uv_poll_init(&s->w.loop, &p->poll, p->fd);
	p->poll.data = p;
	uv_poll_start(&p->poll, UV_READABLE, on_ready);
}

static void peer_close(struct setup *s, struct peer *p)
{
	uv_close((uv_handle_t *)&p->poll, NULL);
	uv_run(&s->w.loop, UV_RUN_NOWAIT);
	close(p->fd);
}

// What is there, waiting for the first octet; 0 at the end.
static size_t peer_read(struct setup *s, struct peer *p, void *buf, size_t cap)
{
	for (;;) {
		ssize_t n = recv(p->fd, buf, cap, MSG_DONTWAIT);
		if (n >= 0)
			return (size_t)n;
		if (errno == ECONNRESET)
			return 0;
		assert_true(errno == EAGAIN);
		p->ready = false;
		wait_for(&s->w, p->ready);
	}
}

static void peer_read_all(struct setup *s, struct peer *p, uint8_t *buf, size_t n)
{
	for (size_t got = 0; got < n;) {
		size_t more = peer_read(s, p, buf + got, n - got);
		assert_true(more > 0);
		got += more;
	}
}

static char *text_of(const uint8_t *msg, size_t len)
{
	struct fl_buf b = {0};
	write_message(&b, msg, len);
	return fl_buf_take(&b);
}

static char *ask_udp(struct setup *s, const char *line)
{
	uint8_t msg[2048];
	struct asked a;
	struct peer p;
	peer_open(s, &p, SOCK_DGRAM);
	size_t len = make_query(line, msg, sizeof(msg), &a);
	assert_int_equal(send(p.fd, msg, len, 0), len);
	len = peer_read(s, &p, msg, sizeof(msg));
	peer_close(s, &p);
	assert_int_equal(fl_dns_get16(msg), 0x1234);
	return text_of(msg, len);
}

static void tcp_send(struct peer *p, const char *line, uint16_t id)
{
	uint8_t msg[600];
	struct asked a;
	size_t len = make_query(line, msg + 2, sizeof(msg) - 2, &a);
	fl_dns_put16(msg, (unsigned)len);
	fl_dns_put16(msg + 2, id);
	assert_int_equal(send(p->fd, msg, len + 2, MSG_NOSIGNAL), len + 2);
}

static char *tcp_receive(struct setup *s, struct peer *p, uint16_t *ret_id)
{
	static uint8_t msg[FL_DNS_TCP_MAX];
	uint8_t prefix[2];
	peer_read_all(s, p, prefix, 2);
	peer_read_all(s, p, msg, fl_dns_get16(prefix));
	*ret_id = fl_dns_get16(msg);
	return text_of(msg, fl_dns_get16(prefix));
}

static void expect_tcp(struct setup *s, struct peer *p, uint16_t id, const char *want)
{
	uint16_t is_id;
	AUTO_FREE char *is = tcp_receive(s, p, &is_id);
	assert_string_equal(is, want);
	assert_int_equal(is_id, id);
}

static void expect_udp(struct setup *s, const char *line, const char *want)
{
	AUTO_FREE char *is = ask_udp(s, line);
	assert_string_equal(is, want);
}

static void expect_closed(struct setup *s, struct peer *p)
{
	uint8_t c;
	assert_int_equal(peer_read(s, p, &c, 1), 0);
}

#define WEB     "web.default.svc.cluster.local A"
#define WEB_IS  "    NOERROR aa ra\n    answer web.default.svc.cluster.local 5 A 10.96.0.20\n"
#define WORLD   "www.example.com A"
#define TWO_IPS "    answer www.example.com 300 A 192.0.2.1\n    answer www.example.com 300 A 192.0.2.2\n"

static void answers_by_udp(void **state)
{
	struct setup s;
	begin(&s, answers);
	expect_udp(&s, WEB, WEB_IS);
	expect_udp(&s, WORLD, "    NOERROR ra\n" TWO_IPS);
	expect_udp(&s, WORLD, "    NOERROR ra\n" TWO_IPS);
	assert_int_equal(s.u.n_udp, 1);
	expect_udp(&s, "out.default.svc.cluster.local A",
		   "    NOERROR aa ra\n    answer out.default.svc.cluster.local 5 CNAME www.example.com\n" TWO_IPS);
	s.synced = false;
	expect_udp(&s, WEB, "    SERVFAIL ra\n");
	assert_int_equal(fl_dns_server_count(s.s, FL_DNS_COUNT_UDP), 5);
	assert_int_equal(fl_dns_server_count(s.s, FL_DNS_COUNT_FORWARDED), 3);
	assert_int_equal(fl_dns_server_count(s.s, FL_DNS_COUNT_ANSWERED), 2);
	end(&s);
}

static void says_so_when_no_upstream_can_tell(void **state)
{
	struct setup s;
	begin(&s, stays_silent);
	uv_close((uv_handle_t *)&s.u.udp, NULL); // nobody there
	expect_udp(&s, WORLD, "    SERVFAIL ra\n");
	expect_udp(&s, "out.default.svc.cluster.local A",
		   "    SERVFAIL ra\n    answer out.default.svc.cluster.local 5 CNAME www.example.com\n");
	assert_int_equal(fl_dns_server_count(s.s, FL_DNS_COUNT_UNANSWERED), 2);
	fl_dns_server_free(&s.s);
	fl_forwarder_free(&s.f);
	fl_zone_free(&s.z);
	uv_close((uv_handle_t *)&s.u.tcp, NULL);
	world_end(&s.w);
}

static void answers_bursts(void **state)
{
	enum { BURST = 70 };
	struct setup s;
	struct peer p;
	uint8_t msg[600];
	bool seen[BURST] = {0};
	struct asked a;
	begin(&s, answers);
	peer_open(&s, &p, SOCK_DGRAM);
	size_t len = make_query(WEB, msg, sizeof(msg), &a);
	for (unsigned i = 0; i < BURST; i++) {
		fl_dns_put16(msg, i);
		assert_int_equal(send(p.fd, msg, len, 0), len);
	}
	for (unsigned i = 0; i < BURST; i++) {
		size_t n = peer_read(&s, &p, msg, sizeof(msg));
		AUTO_FREE char *is = text_of(msg, n);
		assert_string_equal(is, WEB_IS);
		assert_true(fl_dns_get16(msg) < BURST && !seen[fl_dns_get16(msg)]);
		seen[fl_dns_get16(msg)] = true;
	}
	peer_close(&s, &p);
	end(&s);
}

static void drops_what_is_no_query(void **state)
{
	struct setup s;
	struct peer p;
	uint8_t msg[600];
	struct asked a;
	begin(&s, answers);
	peer_open(&s, &p, SOCK_DGRAM);
	size_t len = make_query(WEB, msg, sizeof(msg), &a);
	msg[2] |= 0x80;
	assert_int_equal(send(p.fd, msg, len, 0), len);
	assert_int_equal(send(p.fd, msg, 5, 0), 5);
	assert_int_equal(send(p.fd, msg, 0, 0), 0);
	msg[2] = 0;
	assert_int_equal(send(p.fd, msg, len, 0), len);
	peer_read(&s, &p, msg, sizeof(msg));
	assert_int_equal(recv(p.fd, msg, sizeof(msg), MSG_DONTWAIT), -1); // the one answer
	assert_int_equal(fl_dns_server_count(s.s, FL_DNS_COUNT_MALFORMED), 2);
	peer_close(&s, &p);
	end(&s);
}

static void answers_by_tcp(void **state)
{
	struct setup s;
	struct peer p;
	begin(&s, answers);
	peer_open(&s, &p, SOCK_STREAM);
	for (uint16_t i = 1; i <= 3; i++) // several a connection, before the first answer
		tcp_send(&p, WEB, i);
	for (uint16_t i = 1; i <= 3; i++)
		expect_tcp(&s, &p, i, WEB_IS);
	uint8_t msg[600];
	struct asked a;
	size_t len = make_query(WEB, msg + 2, sizeof(msg) - 2, &a);
	fl_dns_put16(msg, (unsigned)len);
	for (size_t i = 0; i < len + 2; i++) { // octet by octet
		assert_int_equal(send(p.fd, msg + i, 1, 0), 1);
		uv_run(&s.w.loop, UV_RUN_NOWAIT);
	}
	expect_tcp(&s, &p, 0x1234, WEB_IS);
	tcp_send(&p, WORLD, 8);
	expect_tcp(&s, &p, 8, "    NOERROR ra\n" TWO_IPS);
	assert_int_equal(s.s->n_clients, 1);
	peer_close(&s, &p);
	wait_for(&s.w, !s.s->n_clients);
	end(&s);
}

static void answers_one_that_sends_no_more(void **state)
{
	struct setup s;
	struct peer p;
	begin(&s, answers);
	peer_open(&s, &p, SOCK_STREAM);
	tcp_send(&p, WORLD, 1);
	tcp_send(&p, WEB, 2);
	assert_int_equal(shutdown(p.fd, SHUT_WR), 0);
	expect_tcp(&s, &p, 2, WEB_IS); // as they are ready
	expect_tcp(&s, &p, 1, "    NOERROR ra\n" TWO_IPS);
	expect_closed(&s, &p);
	peer_close(&s, &p);
	end(&s);
}

static void closes_on_nonsense(void **state)
{
	static const char *const nonsense[] = {"\xff\xff", "\x10\x01", "\0\0", "\0\1x",
					       "\0\xc\0\1\x80\0\0\0\0\0\0\0\0\0"};
	static const size_t len[] = {2, 2, 2, 3, 14};
	struct setup s;
	begin(&s, answers);
	for (size_t i = 0; i < FL_COUNT(nonsense); i++) {
		struct peer p;
		peer_open(&s, &p, SOCK_STREAM);
		tcp_send(&p, WEB, 1);
		expect_tcp(&s, &p, 1, WEB_IS);
		assert_int_equal(send(p.fd, nonsense[i], len[i], 0), len[i]);
		expect_closed(&s, &p);
		peer_close(&s, &p);
	}
	assert_int_equal(s.s->n_clients, 0);
	end(&s);
}

// A client that asks and asks and does not read is not read either; when it reads, it gets all.
static void waits_for_slow_readers(void **state)
{
	enum { QUERIES = 6000 };
	struct setup s;
	struct peer p;
	uint8_t msg[600];
	struct asked a;
	begin(&s, answers);
	peer_open(&s, &p, SOCK_STREAM);
	size_t len = make_query("many.default.svc.cluster.local A", msg + 2, sizeof(msg) - 2, &a) + 2;
	fl_dns_put16(msg, (unsigned)len - 2);
	AUTO_FREE uint8_t *all = fl_malloc(QUERIES * len);
	for (unsigned i = 0; i < QUERIES; i++) {
		memcpy(all + i * len, msg, len);
		fl_dns_put16(all + i * len + 2, i);
	}
	size_t sent = 0, answered = 0;
	uint64_t before = 0;
	for (unsigned idle = 0; idle < 5;) { // until neither side moves
		ssize_t n = send(p.fd, all + sent, QUERIES * len - sent, MSG_DONTWAIT | MSG_NOSIGNAL);
		sent += n > 0 ? (size_t)n : 0;
		uv_run(&s.w.loop, UV_RUN_NOWAIT);
		uint64_t now = fl_dns_server_count(s.s, FL_DNS_COUNT_TCP);
		idle = now == before && n <= 0 ? idle + 1 : 0;
		before = now;
	}
	assert_true(before < QUERIES); // it stopped
	assert_int_equal(s.s->n_clients, 1);
	for (; answered < QUERIES; answered++) {
		static uint8_t reply[4096];
		uint8_t prefix[2];
		ssize_t n = send(p.fd, all + sent, QUERIES * len - sent, MSG_DONTWAIT | MSG_NOSIGNAL);
		sent += n > 0 ? (size_t)n : 0;
		peer_read_all(&s, &p, prefix, 2);
		peer_read_all(&s, &p, reply, fl_dns_get16(prefix));
		assert_int_equal(fl_dns_get16(reply), answered);
		assert_int_equal(fl_dns_count(reply, 1), 100);
	}
	peer_close(&s, &p);
	end(&s);
}

static void makes_room_for_new_clients(void **state)
{
	enum { MAX = 256 };
	static struct peer p[MAX + 1];
	struct setup s;
	begin(&s, answers);
	for (unsigned i = 0; i < MAX; i++) {
		peer_open(&s, &p[i], SOCK_STREAM);
		tcp_send(&p[i], WEB, 1);
		expect_tcp(&s, &p[i], 1, WEB_IS);
	}
	tcp_send(&p[0], WEB, 2); // the first is not the most silent any more
	expect_tcp(&s, &p[0], 2, WEB_IS);
	peer_open(&s, &p[MAX], SOCK_STREAM);
	tcp_send(&p[MAX], WEB, 3);
	expect_tcp(&s, &p[MAX], 3, WEB_IS);
	expect_closed(&s, &p[1]);
	assert_int_equal(fl_dns_server_count(s.s, FL_DNS_COUNT_TCP_CLOSED), 1);
	assert_int_equal(s.s->n_clients, MAX);
	tcp_send(&p[0], WEB, 4);
	expect_tcp(&s, &p[0], 4, WEB_IS);
	for (unsigned i = 0; i <= MAX; i++)
		peer_close(&s, &p[i]);
	end(&s);
}

static void answers_names_of_others_for_its_own(void **state)
{
	static const struct {
		const char *ip;
		bool allowed;
	} cases[] = {{"10.244.3.4", true},  {"127.0.0.1", true},  {"127.9.9.9", true},   {"::1", true},
		     {"10.245.0.1", false}, {"192.0.2.1", false}, {"2001:db8::1", false}};
	struct setup s;
	struct fl_dns_exchange x;
	uint8_t in[512];
	struct asked a;
	begin(&s, answers);
	for (size_t i = 0; i < FL_COUNT(cases); i++) {
		struct fl_ip ip;
		assert_true(fl_ip_parse(cases[i].ip, &ip));
		assert_int_equal(fl_dns_server_allows(s.s, &ip), cases[i].allowed);
		size_t len = make_query(WORLD, in, sizeof(in), &a);
		enum fl_dns_verdict v = fl_dns_server_respond(s.s, &ip, in, len, false, s.s->out);
		assert_int_equal(v, cases[i].allowed ? FL_DNS_FORWARD : FL_DNS_SEND);
		x = s.s->x;
		assert_true(cases[i].allowed || x.rcode == FL_DNS_REFUSED);
		len = make_query(WEB, in, sizeof(in), &a);
		assert_int_equal(fl_dns_server_respond(s.s, &ip, in, len, false, s.s->out), FL_DNS_SEND);
		len = make_query("counters.fairlead TXT", in, sizeof(in), &a);
		in[len - 1] = FL_DNS_CH;
		assert_int_equal(fl_dns_server_respond(s.s, &ip, in, len, false, s.s->out), FL_DNS_SEND);
		assert_int_equal(s.s->x.rcode, cases[i].allowed ? FL_DNS_NOERROR : FL_DNS_REFUSED);
	}
	assert_int_equal(fl_dns_server_count(s.s, FL_DNS_COUNT_REFUSED), 6);
	end(&s);
}

static void reads_its_addresses_aside(void **state)
{
	struct setup s;
	struct fl_ip stranger;
	begin(&s, answers);
	fl_ip_parse("192.0.2.1", &stranger);
	assert_false(fl_dns_server_allows(s.s, &stranger));
	assert_true(s.s->own_ms && s.s->own.ips.n > 0 && !s.s->own_asked);
	s.s->own_ms = 1; // long ago
	s.s->own.ips.n = 0;
	assert_false(fl_dns_server_allows(s.s, &stranger));
	assert_true(s.s->own_asked);
	assert_int_equal(s.s->own.ips.n, 0);                   // this question did not wait,
	wait_for(&s.w, !s.s->own_asked && s.s->own.ips.n > 0); // the next one has the new list
	s.s->own_ms = 1;
	assert_false(fl_dns_server_allows(s.s, &stranger));
	end(&s); // while it is being read
}

static void is_freed_with_questions_open(void **state)
{
	struct setup s;
	struct peer udp, tcp, gone;
	uint8_t msg[600];
	struct asked a;
	begin(&s, stays_silent);
	peer_open(&s, &udp, SOCK_DGRAM);
	peer_open(&s, &tcp, SOCK_STREAM);
	peer_open(&s, &gone, SOCK_STREAM);
	size_t len = make_query(WORLD, msg, sizeof(msg), &a);
	assert_int_equal(send(udp.fd, msg, len, 0), len);
	tcp_send(&tcp, WORLD, 1);
	tcp_send(&tcp, "out.default.svc.cluster.local A", 2);
	tcp_send(&gone, "other.example.com A", 3);
	wait_for(&s.w, fl_dns_server_count(s.s, FL_DNS_COUNT_FORWARDED) == 4);
	// One client is gone before its answer comes: a reset, since a mere end would be waited out.
	struct linger l = {.l_onoff = 1};
	assert_int_equal(setsockopt(gone.fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l)), 0);
	peer_close(&s, &gone);
	wait_for(&s.w, s.s->n_clients == 1);
	fl_dns_server_free(&s.s);
	for (unsigned i = 0; i < 5; i++) // its handles close while the questions are still open
		uv_run(&s.w.loop, UV_RUN_NOWAIT);
	fl_forwarder_free(&s.f);
	expect_closed(&s, &tcp);
	peer_close(&s, &udp);
	peer_close(&s, &tcp);
	fl_zone_free(&s.z);
	fake_end(&s.w, &s.u);
	world_end(&s.w);
}

static void tells_why_it_cannot_listen(void **state)
{
	struct setup s;
	struct fl_err err = {0};
	struct fl_dns_server *second = NULL;
	begin(&s, answers);
	struct fl_dns_opts o = s.o;
	o.port = fl_dns_server_port(s.s);
	struct fl_dns_server_opts so = {.dns = &o, .zone = s.z, .forwarder = s.f, .is_synced = is_synced, .arg = &s};
	assert_int_equal(fl_dns_server_new(&s.w.loop, &so, &second, &err), -EADDRINUSE);
	assert_null(second);
	AUTO_FREE char *want = fl_asprintf("listen for DNS on 127.0.0.1 port %u (UDP): Address already in use", o.port);
	assert_string_equal(err.text, want);
	fl_ip_parse("203.0.113.7", &o.listen[0]); // not here yet: the node role brings it
	o.port = 0;
	assert_int_equal(fl_dns_server_new(&s.w.loop, &so, &second, &err), 0);
	fl_dns_server_free(&second);
	end(&s);
}

// --- dig ---

struct ran {
	bool done;
	int status;
	char *out;
};

static void on_exit_of_dig(void *arg, int rc, int exit_status, const char *out, size_t out_len, const char *errout,
			   size_t err_len)
{
	struct ran *r = arg;
	r->done = true;
	r->status = rc ? rc : exit_status;
	r->out = fl_strndup(out, out_len);
}

static void satisfies_dig(void **state)
{
	static const struct {
		const char *args[5], *want;
	} cases[] = {
	    {{"+short", "web.default.svc.cluster.local"}, "10.96.0.20\n"},
	    {{"+short", "+tcp", "WEB.default.svc.cluster.local"}, "10.96.0.20\n"},
	    {{"+short", "-x", "10.96.0.20"}, "web.default.svc.cluster.local.\n"},
	    {{"+short", "dns-version.cluster.local", "TXT"}, "\"1.1.0\"\n"},
	    {{"+short", "out.default.svc.cluster.local"}, "www.example.com.\n192.0.2.1\n192.0.2.2\n"},
	    {{"+short", "+dnssec", "www.example.com"}, "192.0.2.1\n192.0.2.2\n"},
	    {{"+short", "counters.fairlead", "CH", "TXT"},
	     "\"udp=6\"\n\"tcp=1\"\n\"answered=4\"\n\"forwarded=2\"\n\"unanswered=0\"\n\"refused=0\"\n"
	     "\"malformed=0\"\n\"unsent=0\"\n\"tcp-closed=0\"\n\"services=3\"\n\"cached=2\"\n\"pending=0\"\n"},
	    {{"+noall", "+comments", "+noedns", "web.default.svc.cluster.local", "AAAA"}, "status: NOERROR"},
	    {{"+noall", "+comments", "none.default.svc.cluster.local"}, "status: NXDOMAIN"},
	    {{"+noall", "+comments", "many.default.svc.cluster.local"}, "ANSWER: 100,"}, // comes again by TCP
	};
	if (access("/usr/bin/dig", X_OK) != 0)
		skip();
	struct setup s;
	begin(&s, answers);
	AUTO_FREE char *port = fl_asprintf("%u", fl_dns_server_port(s.s));
	for (size_t i = 0; i < FL_COUNT(cases); i++) {
		const char *argv[16] = {"/usr/bin/dig", "@127.0.0.1", "-p", port, "+time=20", "+tries=1"};
		struct ran r = {0};
		struct fl_subprocess *p = NULL;
		struct fl_err err = {0};
		memcpy(argv + 6, cases[i].args, sizeof(cases[i].args));
		struct fl_subprocess_opts o = {.argv = argv, .on_exit = on_exit_of_dig, .arg = &r};
		if (fl_subprocess_start(&s.w.loop, &o, &p, &err) < 0)
			fail_msg("%s", err.text);
		wait_for(&s.w, r.done);
		assert_int_equal(r.status, 0);
		if (fl_streq(cases[i].args[0], "+short"))
			assert_string_equal(r.out, cases[i].want);
		else if (!strstr(r.out, cases[i].want) || strstr(r.out, "malformed"))
			fail_msg("%s lacks %s", r.out, cases[i].want);
		free(r.out);
	}
	end(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(answers_by_udp),
	    cmocka_unit_test(says_so_when_no_upstream_can_tell),
	    cmocka_unit_test(answers_bursts),
	    cmocka_unit_test(drops_what_is_no_query),
	    cmocka_unit_test(answers_by_tcp),
	    cmocka_unit_test(answers_one_that_sends_no_more),
	    cmocka_unit_test(closes_on_nonsense),
	    cmocka_unit_test(waits_for_slow_readers),
	    cmocka_unit_test(makes_room_for_new_clients),
	    cmocka_unit_test(answers_names_of_others_for_its_own),
	    cmocka_unit_test(reads_its_addresses_aside),
	    cmocka_unit_test(is_freed_with_questions_open),
	    cmocka_unit_test(tells_why_it_cannot_listen),
	    cmocka_unit_test(satisfies_dig),
	};
	return cmocka_run_group_tests_name("dns server", tests, NULL, NULL);
}
