// SPDX-License-Identifier: Apache-2.0
#include "upstream_fixture.h"

#include "dns/forward.h"

#define TRY_MS 300 // where a test wants silence: long against a stall of a busy machine; nothing is asserted about time

struct asked_one {
	unsigned told;
	bool answered;
	unsigned rcode, n;
	size_t len;
	uint8_t msg[FL_DNS_TCP_MAX];
};

static void on_told(void *arg, const uint8_t *msg, size_t len)
{
	struct asked_one *a = arg;
	a->told++;
	a->answered = msg != NULL;
	a->len = len;
	if (!msg)
		return;
	memcpy(a->msg, msg, len);
	a->rcode = fl_dns_rcode(msg);
	a->n = fl_dns_count(msg, 1);
}

struct setup {
	struct world w;
	struct fake u[3];
	unsigned n;
	struct fl_forwarder *f;
};

static void start_forwarder(struct setup *s, const char *text, unsigned try_ms)
{
	struct fl_forwarder_opts o = {.try_ms = try_ms};
	struct fl_err err = {0};
	if (fl_upstreams_init(&o.upstreams, text, NULL, NULL, 0, &err) < 0)
		fail_msg("%s", err.text);
	s->f = fl_forwarder_new(&s->w.loop, &o);
}

static void begin(struct setup *s, unsigned n, unsigned try_ms, void (*const *scripts)(struct fake_query *fq))
{
	AUTO(fl_buf_deinit) struct fl_buf text = {0};
	memset(s, 0, sizeof(*s));
	world_begin(&s->w);
	s->n = n;
	fl_buf_puts(&text, "");
	for (unsigned i = 0; i < n; i++) {
		fake_begin(&s->w, &s->u[i], scripts[i]);
		fl_buf_printf(&text, "%s127.0.0.1:%u", i ? "," : "", s->u[i].port);
	}
	start_forwarder(s, text.data, try_ms);
}

static void end(struct setup *s)
{
	fl_forwarder_free(&s->f);
	for (unsigned i = 0; i < s->n; i++)
		fake_end(&s->w, &s->u[i]);
	world_end(&s->w);
}

static void ask_as(struct setup *s, const char *name, uint16_t type, bool dnssec_ok, struct asked_one *a)
{
	struct fl_dns_query q = {.type = type, .dnssec_ok = dnssec_ok};
	a->told = 0;
	fl_forwarder_ask(s->f, &q, name, on_told, a);
}

static void ask(struct setup *s, const char *name, struct asked_one *a)
{
	ask_as(s, name, FL_DNS_A, false, a);
}

static struct asked_one one, two, three;

static void expect(struct setup *s, struct asked_one *a, unsigned n)
{
	wait_for(&s->w, a->told);
	assert_int_equal(a->told, 1);
	assert_true(a->answered);
	assert_int_equal(a->n, n);
}

static void expect_nothing(struct setup *s, struct asked_one *a)
{
	wait_for(&s->w, a->told);
	assert_int_equal(a->told, 1);
	assert_false(a->answered);
}

static void answers(struct fake_query *fq)
{
	fake_reply(fq, FL_DNS_NOERROR, 2, 300);
}

static void stays_silent(struct fake_query *fq)
{
}

static void fails(struct fake_query *fq)
{
	fake_reply(fq, FL_DNS_SERVFAIL, 0, 0);
}

#define SCRIPTS(...) ((void (*const[])(struct fake_query *)){__VA_ARGS__})

static void asks_and_keeps(void **state)
{
	struct setup s;
	begin(&s, 1, 0, SCRIPTS(answers));
	ask(&s, "www.example.com", &one);
	assert_int_equal(one.told, 0);
	expect(&s, &one, 2);
	assert_int_equal(s.u[0].n_udp, 1);
	assert_int_equal(fl_dns_count(one.msg, 3), 0); // no OPT
	assert_int_equal(fl_forwarder_cached(s.f), 1);
	ask(&s, "www.example.com", &two);
	assert_int_equal(two.told, 1); // at once
	assert_int_equal(two.len, one.len);
	assert_int_equal(s.u[0].n_udp, 1);
	ask_as(&s, "www.example.com", FL_DNS_AAAA, false, &two); // other questions are other questions
	ask_as(&s, "www.example.com", FL_DNS_A, true, &three);
	expect(&s, &two, 2);
	expect(&s, &three, 2);
	assert_int_equal(s.u[0].n_udp, 3);
	assert_int_equal(fl_forwarder_pending(s.f), 0);
	end(&s);
}

static void asks_once_for_many(void **state)
{
	struct setup s;
	begin(&s, 1, 0, SCRIPTS(answers));
	ask(&s, "www.example.com", &one);
	ask(&s, "www.example.com", &two);
	ask(&s, "www.example.com", &three);
	expect(&s, &one, 2);
	expect(&s, &two, 2);
	expect(&s, &three, 2);
	assert_int_equal(s.u[0].n_udp, 1);
	end(&s);
}

static bool saw_dnssec_ok, saw_odd_name;

static void looks(struct fake_query *fq)
{
	saw_dnssec_ok = fq->q.edns && fq->q.dnssec_ok;
	saw_odd_name = !strcmp(fq->q.name, "my\\032printer._ipp.example.com");
	answers(fq);
}

static void passes_the_question_on(void **state)
{
	struct setup s;
	begin(&s, 1, 0, SCRIPTS(looks));
	ask_as(&s, "my\\032printer._ipp.example.com", FL_DNS_SRV, true, &one);
	expect(&s, &one, 2);
	assert_true(saw_dnssec_ok && saw_odd_name);
	ask(&s, "a..b", &two); // no name
	assert_int_equal(two.told, 1);
	assert_false(two.answered);
	end(&s);
}

static void asks_the_next_when_one_is_silent(void **state)
{
	struct setup s;
	begin(&s, 2, TRY_MS, SCRIPTS(stays_silent, answers));
	ask(&s, "one.example.com", &one);
	expect(&s, &one, 2);
	ask(&s, "two.example.com", &two);
	expect(&s, &two, 2);
	assert_int_equal(s.u[0].n_udp, 2);
	ask(&s, "three.example.com", &three); // by now it is known to be down
	expect(&s, &three, 2);
	assert_int_equal(s.u[0].n_udp, 2);
	assert_int_equal(s.u[1].n_udp, 3);
	end(&s);
}

static void answers_late(struct fake_query *fq)
{
	if (fq->u->n_udp == 2)
		answers(fq);
}

static void asks_again(void **state)
{
	struct setup s;
	begin(&s, 1, TRY_MS, SCRIPTS(answers_late));
	ask(&s, "www.example.com", &one);
	expect(&s, &one, 2);
	assert_int_equal(s.u[0].n_udp, 2);
	end(&s);
}

static void gives_up(void **state)
{
	struct setup s;
	begin(&s, 2, TRY_MS, SCRIPTS(stays_silent, stays_silent));
	ask(&s, "www.example.com", &one);
	expect_nothing(&s, &one);
	assert_int_equal(s.u[0].n_udp, 2);
	assert_int_equal(s.u[1].n_udp, 2);
	assert_int_equal(fl_forwarder_cached(s.f), 0);
	ask(&s, "www.example.com", &one); // both are down: one round, in case they are back
	expect_nothing(&s, &one);
	assert_int_equal(s.u[0].n_udp, 3);
	s.u[0].script = answers;
	ask(&s, "www.example.com", &one);
	expect(&s, &one, 2);
	assert_int_equal(s.u[1].n_udp, 3);
	end(&s);
}

static void goes_on_when_nobody_is_there(void **state)
{
	struct setup s;
	begin(&s, 2, 0, SCRIPTS(stays_silent, answers));
	AUTO_FREE char *text = fl_asprintf("127.0.0.1:%u,127.0.0.1:%u", s.u[0].port, s.u[1].port);
	uv_close((uv_handle_t *)&s.u[0].udp, NULL); // ICMP says so at once
	fl_forwarder_free(&s.f);
	start_forwarder(&s, text, 30000);
	ask(&s, "www.example.com", &one);
	expect(&s, &one, 2);
	fl_forwarder_free(&s.f);
	uv_close((uv_handle_t *)&s.u[0].tcp, NULL);
	fake_end(&s.w, &s.u[1]);
	world_end(&s.w);
}

static void asks_another_when_one_fails(void **state)
{
	struct setup s;
	begin(&s, 2, 0, SCRIPTS(fails, answers));
	ask(&s, "www.example.com", &one);
	expect(&s, &one, 2);
	end(&s);
	begin(&s, 2, 0, SCRIPTS(fails, fails));
	ask(&s, "www.example.com", &one);
	expect_nothing(&s, &one);
	assert_int_equal(s.u[0].n_udp, 1); // it has said that it cannot tell
	assert_int_equal(s.u[1].n_udp, 1);
	end(&s);
}

static void sends_forgeries_first(struct fake_query *fq)
{
	uint8_t out[FL_DNS_TCP_MAX];
	size_t len = fake_answer(fq, FL_DNS_NOERROR, 1, 300, out);
	out[1] ^= 1; // another id
	fake_send(fq, out, len);
	out[1] ^= 1;
	out[14] ^= 1; // another name
	fake_send(fq, out, len);
	out[14] ^= 1;
	fake_send(fq, out, len - 1); // cut short
	fake_send(fq, out, 3);
	fake_reply(fq, FL_DNS_NOERROR, 3, 300);
}

static void does_not_believe_forgeries(void **state)
{
	struct setup s;
	begin(&s, 1, 0, SCRIPTS(sends_forgeries_first));
	ask(&s, "www.example.com", &one);
	expect(&s, &one, 3);
	assert_int_equal(s.u[0].n_udp, 1);
	end(&s);
}

static void truncates(struct fake_query *fq)
{
	uint8_t out[FL_DNS_TCP_MAX];
	size_t len = fake_answer(fq, FL_DNS_NOERROR, fq->stream ? 500 : 1, 300, out);
	if (!fq->stream)
		out[2] |= 2;
	fake_send(fq, out, len);
}

static void overflows(struct fake_query *fq)
{
	fake_reply(fq, FL_DNS_NOERROR, fq->stream ? 500 : 100, 300);
}

static void asks_by_tcp_when_truncated(void **state)
{
	void (*const scripts[])(struct fake_query *) = {truncates, overflows};
	for (unsigned i = 0; i < 2; i++) {
		struct setup s;
		begin(&s, 1, 0, &scripts[i]);
		ask(&s, "www.example.com", &one);
		expect(&s, &one, 500);
		assert_int_equal(s.u[0].n_udp, 1);
		assert_int_equal(s.u[0].n_tcp, 1);
		end(&s);
	}
}

static void breaks_off_tcp(struct fake_query *fq)
{
	uint8_t out[FL_DNS_TCP_MAX];
	size_t len = fake_answer(fq, FL_DNS_NOERROR, 1, 300, out);
	if (!fq->stream) {
		out[2] |= 2;
		fake_send(fq, out, len);
		return;
	}
	uv_buf_t b = uv_buf_init((char *)"\1\0\0", 3); // a length, and then not that much
	assert_int_equal(uv_try_write(fq->stream, &b, 1), 3);
	uv_close((uv_handle_t *)fq->stream, fake_client_closed);
}

static void goes_on_when_tcp_breaks_off(void **state)
{
	struct setup s;
	begin(&s, 2, 0, SCRIPTS(breaks_off_tcp, answers));
	ask(&s, "www.example.com", &one);
	expect(&s, &one, 2);
	assert_int_equal(s.u[0].n_tcp, 1);
	end(&s);
}

static void knows_no_edns(struct fake_query *fq)
{
	if (fq->q.edns)
		fake_reply(fq, FL_DNS_FORMERR, 0, 0);
	else
		answers(fq);
}

static void asks_without_edns_where_it_must(void **state)
{
	struct setup s;
	begin(&s, 1, 0, SCRIPTS(knows_no_edns));
	ask(&s, "www.example.com", &one);
	expect(&s, &one, 2);
	assert_int_equal(s.u[0].n_udp, 2);
	end(&s);
}

static void denies(struct fake_query *fq)
{
	uint8_t out[1024];
	struct fl_dns_msg m;
	struct fl_dns_soa soa = {.mname = "ns.example.com", .rname = "m.example.com", .minimum = 20};
	fl_dns_begin(&m, out, sizeof(out), &fq->q, fq->msg + FL_DNS_HEADER);
	if (fl_starts_with(fq->q.name, "kept"))
		fl_dns_add_soa(&m, FL_DNS_AUTHORITY, "example.com", 100, &soa);
	fake_send(fq, out, fl_dns_end(&m, FL_DNS_NXDOMAIN, false, true));
}

static void keeps_denials(void **state)
{
	struct setup s;
	begin(&s, 1, 0, SCRIPTS(denies));
	for (unsigned i = 0; i < 2; i++) {
		ask(&s, "kept.example.com", &one);
		expect(&s, &one, 0);
		assert_int_equal(one.rcode, FL_DNS_NXDOMAIN);
		assert_int_equal(s.u[0].n_udp, 1);
	}
	for (unsigned i = 0; i < 2; i++) {
		ask(&s, "not-kept.example.com", &one);
		expect(&s, &one, 0);
		assert_int_equal(s.u[0].n_udp, 2 + i);
	}
	end(&s);
}

static void count(void *arg, const uint8_t *msg, size_t len)
{
	assert_null(msg);
	++*(unsigned *)arg;
}

static void bounds_what_waits(void **state)
{
	struct setup s;
	unsigned told = 0;
	struct fl_dns_query q = {.type = FL_DNS_A};
	char name[64];
	begin(&s, 1, 30000, SCRIPTS(stays_silent));
	for (unsigned i = 0; i < 1 + 4000; i++) // one question, many clients
		fl_forwarder_ask(s.f, &q, "same.example.com", count, &told);
	assert_int_equal(told, 0);
	for (unsigned i = 0; i < 1 + 96 + 7; i++)
		fl_forwarder_ask(s.f, &q, "n0.example.com", count, &told);
	assert_int_equal(told, 7);
	for (unsigned i = 1; i < 520; i++) { // who asks first is not kept out by those who wait
		snprintf(name, sizeof(name), "n%u.example.com", i);
		fl_forwarder_ask(s.f, &q, name, count, &told);
	}
	assert_int_equal(fl_forwarder_pending(s.f), 512);
	assert_int_equal(told, 7 + 9);
	fl_forwarder_free(&s.f); // tells the others
	assert_int_equal(told, 4001 + 104 + 519);
	end(&s);
}

static void has_nobody_to_ask(void **state)
{
	struct setup s;
	begin(&s, 0, 0, NULL);
	ask(&s, "www.example.com", &one);
	assert_int_equal(one.told, 1);
	assert_false(one.answered);
	end(&s);
}

static void is_freed_at_any_time(void **state)
{
	struct setup s;
	for (unsigned turns = 0; turns < 6; turns++) {
		begin(&s, 1, 0, SCRIPTS(truncates));
		ask(&s, "www.example.com", &one);
		for (unsigned i = 0; i < turns; i++)
			uv_run(&s.w.loop, UV_RUN_NOWAIT);
		end(&s);
		assert_int_equal(one.told, 1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(asks_and_keeps),
	    cmocka_unit_test(asks_once_for_many),
	    cmocka_unit_test(passes_the_question_on),
	    cmocka_unit_test(asks_the_next_when_one_is_silent),
	    cmocka_unit_test(asks_again),
	    cmocka_unit_test(gives_up),
	    cmocka_unit_test(goes_on_when_nobody_is_there),
	    cmocka_unit_test(asks_another_when_one_fails),
	    cmocka_unit_test(does_not_believe_forgeries),
	    cmocka_unit_test(asks_by_tcp_when_truncated),
	    cmocka_unit_test(goes_on_when_tcp_breaks_off),
	    cmocka_unit_test(asks_without_edns_where_it_must),
	    cmocka_unit_test(keeps_denials),
	    cmocka_unit_test(bounds_what_waits),
	    cmocka_unit_test(has_nobody_to_ask),
	    cmocka_unit_test(is_freed_at_any_time),
	};
	return cmocka_run_group_tests_name("dns forward", tests, NULL, NULL);
}
