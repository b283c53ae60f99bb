// SPDX-License-Identifier: Apache-2.0
// Replies of upstreams and the cache that keeps them.
#include "dns_test.h"

#include "dns/cache.h"
#include "dns/reply.h"

static uint8_t query[512], msg[2048];
static size_t query_len, len;
static uint32_t ttl_s;
static struct fl_dns_query q;
static struct fl_dns_msg m;
static struct fl_ip ip;

static void ask(const char *name, uint16_t type)
{
	query_len = fl_dns_make_query(query, sizeof(query), 0x0102, name, type);
	query_len = fl_dns_add_opt(query, sizeof(query), query_len, false);
	assert_int_equal(fl_dns_parse_query(query, query_len, &q), 0);
	fl_dns_begin(&m, msg, sizeof(msg), &q, query + FL_DNS_HEADER);
	fl_ip_parse("192.0.2.1", &ip);
	ttl_s = 12345;
}

static enum fl_dns_reply judge(unsigned rcode)
{
	len = fl_dns_end(&m, rcode, false, true);
	return fl_dns_reply_judge(query, query_len, msg, &len, &ttl_s);
}

static void add_a(enum fl_dns_section s, uint32_t ttl)
{
	assert_true(fl_dns_add_ip(&m, s, NULL, ttl, &ip));
}

static void add_soa(uint32_t ttl, uint32_t minimum)
{
	struct fl_dns_soa soa = {.mname = "ns.example", .rname = "mail.example", .minimum = minimum};
	assert_true(fl_dns_add_soa(&m, FL_DNS_AUTHORITY, "example", ttl, &soa));
}

static void keeps_positive_answers_for_their_least_ttl(void **state)
{
	ask("web.example", FL_DNS_A);
	add_a(FL_DNS_ANSWER, 300);
	add_a(FL_DNS_ANSWER, 60);
	add_a(FL_DNS_ADDITIONAL, 3000);
	assert_int_equal(judge(FL_DNS_NOERROR), FL_DNS_REPLY_GOOD);
	assert_int_equal(ttl_s, 60);
	assert_int_equal(fl_dns_count(msg, 3), 1); // OPT is gone
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	write_message(&b, msg, len);
	assert_null(strstr(b.data, "OPT"));

	ask("web.example", FL_DNS_A);
	add_a(FL_DNS_ANSWER, 0);
	assert_int_equal(judge(FL_DNS_NOERROR), FL_DNS_REPLY_GOOD);
	assert_int_equal(ttl_s, 0);
	ask("web.example", FL_DNS_A);
	add_a(FL_DNS_ANSWER, 1000000);
	assert_int_equal(judge(FL_DNS_NOERROR), FL_DNS_REPLY_GOOD);
	assert_int_equal(ttl_s, 3600);
	ask("web.example", FL_DNS_A);
	add_a(FL_DNS_ANSWER, 0x80000000); // RFC 2181 section 8: as zero
	assert_int_equal(judge(FL_DNS_NOERROR), FL_DNS_REPLY_GOOD);
	assert_int_equal(ttl_s, 0);
}

static void keeps_negative_answers_as_the_soa_says(void **state)
{
	static const struct {
		uint32_t ttl, minimum, want;
	} cases[] = {{300, 20, 20}, {10, 300, 10}, {300, 300, 30}, {300, 0, 0}};
	for (size_t i = 0; i < FL_COUNT(cases); i++) {
		ask("web.example", FL_DNS_A);
		add_soa(cases[i].ttl, cases[i].minimum);
		assert_int_equal(judge(FL_DNS_NXDOMAIN), FL_DNS_REPLY_GOOD);
		assert_int_equal(ttl_s, cases[i].want);
		ask("web.example", FL_DNS_A);
		add_soa(cases[i].ttl, cases[i].minimum);
		assert_int_equal(judge(FL_DNS_NOERROR), FL_DNS_REPLY_GOOD);
		assert_int_equal(ttl_s, cases[i].want);
	}
	ask("web.example", FL_DNS_A); // without SOA
	assert_int_equal(judge(FL_DNS_NXDOMAIN), FL_DNS_REPLY_GOOD);
	assert_int_equal(ttl_s, 0);
	ask("web.example", FL_DNS_A); // an alias of what has no address
	assert_true(fl_dns_add_name(&m, FL_DNS_ANSWER, NULL, FL_DNS_CNAME, 3000, "b.example"));
	add_soa(3000, 3000);
	assert_int_equal(judge(FL_DNS_NOERROR), FL_DNS_REPLY_GOOD);
	assert_int_equal(ttl_s, 30);
	ask("web.example", FL_DNS_CNAME);
	assert_true(fl_dns_add_name(&m, FL_DNS_ANSWER, NULL, FL_DNS_CNAME, 3000, "b.example"));
	assert_int_equal(judge(FL_DNS_NOERROR), FL_DNS_REPLY_GOOD);
	assert_int_equal(ttl_s, 3000);
}

static void tells_failures_apart(void **state)
{
	ask("web.example", FL_DNS_A);
	assert_int_equal(judge(FL_DNS_SERVFAIL), FL_DNS_REPLY_FAILED);
	ask("web.example", FL_DNS_A);
	assert_int_equal(judge(FL_DNS_REFUSED), FL_DNS_REPLY_FAILED);
	ask("web.example", FL_DNS_A);
	assert_int_equal(judge(FL_DNS_FORMERR), FL_DNS_REPLY_NO_EDNS);
	ask("web.example", FL_DNS_A);
	query[11] = 0; // asked without EDNS
	query_len -= 11;
	assert_int_equal(judge(FL_DNS_FORMERR), FL_DNS_REPLY_FAILED);
	ask("web.example", FL_DNS_A);
	m.truncated = true;
	assert_int_equal(judge(FL_DNS_NOERROR), FL_DNS_REPLY_TRUNCATED);

	ask("web.example", FL_DNS_A); // a refusal may leave the question out
	len = fl_dns_end(&m, FL_DNS_FORMERR, false, true);
	msg[5] = msg[11] = 0;
	len = FL_DNS_HEADER;
	assert_int_equal(fl_dns_reply_judge(query, query_len, msg, &len, &ttl_s), FL_DNS_REPLY_NO_EDNS);
	msg[3] = FL_DNS_NOERROR; // an answer may not
	assert_int_equal(fl_dns_reply_judge(query, query_len, msg, &len, &ttl_s), FL_DNS_REPLY_STRANGE);
}

static void does_not_believe_strangers(void **state)
{
	static const struct {
		size_t at;
		uint8_t flip;
	} changes[] = {{0, 1}, {1, 1}, {2, 0x80}, {2, 0x08}, {5, 3}, {13, 1}, {26, 1}, {28, 1}};
	for (size_t i = 0; i < FL_COUNT(changes); i++) {
		ask("web.example", FL_DNS_A);
		add_a(FL_DNS_ANSWER, 1);
		len = fl_dns_end(&m, 0, false, true);
		msg[changes[i].at] ^= changes[i].flip;
		assert_int_equal(fl_dns_reply_judge(query, query_len, msg, &len, &ttl_s), FL_DNS_REPLY_STRANGE);
	}
	ask("web.example", FL_DNS_A);
	add_a(FL_DNS_ANSWER, 1);
	size_t whole = fl_dns_end(&m, 0, false, true);
	for (len = 0; len < whole; len++) {
		size_t cut = len;
		AUTO_FREE uint8_t *copy = fl_malloc(len + 1);
		memcpy(copy, msg, len);
		assert_int_equal(fl_dns_reply_judge(query, query_len, copy, &cut, &ttl_s), FL_DNS_REPLY_STRANGE);
	}
	ask("web.example", FL_DNS_A);
	add_a(FL_DNS_ANSWER, 1);
	len = fl_dns_end(&m, 0, false, true);
	msg[13] ^= 0x20; // letter case does not matter
	assert_int_equal(fl_dns_reply_judge(query, query_len, msg, &len, &ttl_s), FL_DNS_REPLY_GOOD);
}

static void cuts_what_follows_opt(void **state)
{
	ask("web.example", FL_DNS_A);
	add_a(FL_DNS_ANSWER, 100);
	len = fl_dns_end(&m, 0, false, true); // ends with OPT
	size_t with_opt = len;
	memcpy(msg + len, msg + 29, 16); // the answer again, as an additional record
	len += 16;
	msg[11] = 2;
	assert_int_equal(fl_dns_reply_judge(query, query_len, msg, &len, &ttl_s), FL_DNS_REPLY_GOOD);
	assert_int_equal(len, with_opt - 11);
	assert_int_equal(fl_dns_count(msg, 3), 0);
	assert_int_equal(fl_dns_count(msg, 1), 1);

	ask("web.example", FL_DNS_A); // OPT where it must not be
	add_a(FL_DNS_ANSWER, 100);
	len = fl_dns_end(&m, 0, false, true);
	msg[9] = 1;
	msg[11] = 0;
	assert_int_equal(fl_dns_reply_judge(query, query_len, msg, &len, &ttl_s), FL_DNS_REPLY_STRANGE);
}

// --- the cache ---

static uint32_t ttl_of(const uint8_t *message, size_t n)
{
	size_t pos = FL_DNS_HEADER;
	char name[FL_DNS_NAME_MAX];
	struct fl_dns_rr rr;
	assert_true(fl_dns_read_name(message, n, &pos, name));
	pos += 4;
	assert_true(fl_dns_read_rr(message, n, &pos, &rr));
	return rr.ttl;
}

static void counts_ttls_down(void **state)
{
	static uint8_t buf[FL_DNS_TCP_MAX];
	struct fl_dns_cache c = {0};
	ask("web.example", FL_DNS_A);
	add_a(FL_DNS_ANSWER, 10);
	add_a(FL_DNS_ADDITIONAL, 10);
	assert_int_equal(judge(0), FL_DNS_REPLY_GOOD);
	fl_dns_cache_put(&c, "1 web.example", msg, len, ttl_s, 5000);
	assert_int_equal(fl_dns_cache_get(&c, "1 web.example", buf, 5000), len);
	assert_int_equal(ttl_of(buf, len), 10);
	assert_int_equal(fl_dns_cache_get(&c, "1 web.example", buf, 5999), len);
	assert_int_equal(ttl_of(buf, len), 10);
	assert_int_equal(fl_dns_cache_get(&c, "1 web.example", buf, 14999), len);
	assert_int_equal(ttl_of(buf, len), 1);
	assert_int_equal(fl_dns_cache_get(&c, "28 web.example", buf, 6000), 0);
	assert_int_equal(fl_dns_cache_get(&c, "1 web.example", buf, 15000), 0);
	assert_int_equal(c.map.n, 0);
	assert_int_equal(c.bytes, 0);
	assert_null(c.oldest);
	fl_dns_cache_deinit(&c);
}

static void is_bounded(void **state)
{
	static uint8_t buf[FL_DNS_TCP_MAX];
	struct fl_dns_cache c = {0};
	char key[32];
	for (unsigned i = 0; i < FL_DNS_CACHE_ENTRIES + 10; i++) {
		snprintf(key, sizeof(key), "1 n%u", i);
		fl_dns_cache_put(&c, key, buf, 12, 100, i);
	}
	assert_int_equal(c.map.n, FL_DNS_CACHE_ENTRIES);
	assert_int_equal(fl_dns_cache_get(&c, "1 n9", buf, 5000), 0);
	assert_int_equal(fl_dns_cache_get(&c, "1 n10", buf, 5000), 12);
	fl_dns_cache_put(&c, "1 n10", buf, 12, 100, 6000); // anew: the youngest now
	fl_dns_cache_put(&c, "1 last", buf, 12, 100, 6000);
	assert_int_equal(fl_dns_cache_get(&c, "1 n10", buf, 6000), 12);
	assert_int_equal(fl_dns_cache_get(&c, "1 n11", buf, 6000), 0);
	for (unsigned i = 0; i < 100; i++) {
		snprintf(key, sizeof(key), "1 big%u", i);
		fl_dns_cache_put(&c, key, buf, 65000, 100, i);
	}
	assert_true(c.bytes <= FL_DNS_CACHE_BYTES && c.map.n < 70);
	fl_dns_cache_deinit(&c);
	assert_int_equal(c.bytes, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(keeps_positive_answers_for_their_least_ttl),
	    cmocka_unit_test(keeps_negative_answers_as_the_soa_says),
	    cmocka_unit_test(tells_failures_apart),
	    cmocka_unit_test(does_not_believe_strangers),
	    cmocka_unit_test(cuts_what_follows_opt),
	    cmocka_unit_test(counts_ttls_down),
	    cmocka_unit_test(is_bounded),
	};
	return cmocka_run_group_tests_name("dns reply and cache", tests, NULL, NULL);
}
