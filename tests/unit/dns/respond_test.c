// SPDX-License-Identifier: Apache-2.0
// What the zone answers stands in the golden cases; here: odd queries, and answers of upstreams on their way through.
#include "dns_test.h"

#include <errno.h>

static uint8_t in[512], out[FL_DNS_TCP_MAX], upstream[FL_DNS_TCP_MAX];
static struct fl_dns_exchange x;

static unsigned n_looked;

static bool counts_looks(void *arg)
{
	n_looked++;
	return true;
}

static char *respond(const uint8_t *msg, size_t len)
{
	struct fl_dns_asker asker = {counts_looks, NULL};
	struct fl_buf b = {0};
	struct fl_zone *z = zone_new();
	switch (fl_dns_respond(z, true, &asker, msg, len, false, &x, out)) {
	case FL_DNS_SEND:
		write_message(&b, out, x.len);
		break;
	case FL_DNS_DROP:
		fl_buf_puts(&b, "drop");
		break;
	case FL_DNS_FORWARD:
		fl_buf_puts(&b, "forward");
		break;
	}
	fl_zone_free(&z);
	return fl_buf_take(&b);
}

static void expect(size_t len, const char *want)
{
	AUTO_FREE char *is = respond(in, len);
	assert_string_equal(is, want);
}

static size_t ask(const char *name, uint16_t type)
{
	return fl_dns_make_query(in, sizeof(in), 0x4242, name, type);
}

static void answers_odd_queries(void **state)
{
	size_t len = ask("x.example", FL_DNS_A);
	expect(11, "drop");
	expect(len - 1, "    FORMERR ra\n");
	assert_int_equal(fl_dns_count(out, 0), 0);
	assert_int_equal(x.len, 12);
	assert_int_equal(fl_dns_get16(out), 0x4242);
	in[2] |= 0x80;
	expect(len, "drop");
	len = ask("x.example", FL_DNS_A);
	in[2] = 4 << 3; // NOTIFY
	expect(len, "    NOTIMP ra\n");
	assert_int_equal(out[2] >> 3 & 15, 4); // the opcode is the question's (RFC 1035 section 4.1.1)
	len = ask("x.example", FL_DNS_A);
	in[len - 1] = 3; // CHAOS
	expect(len, "    REFUSED ra\n");
	assert_int_equal(fl_dns_count(out, 0), 1);
	len = ask("x.example", 251); // IXFR
	expect(len, "    REFUSED ra\n");
	len = ask("x.example", 250); // TSIG
	expect(len, "    REFUSED ra\n");
	len = ask("cluster.local", FL_DNS_NS);
	len = fl_dns_add_opt(in, sizeof(in), len, false);
	in[len - 11 + 6] = 1;
	expect(len, "    BADVERS ra\n    additional . 16777216 OPT size 1232\n");
	len = ask("my\\032printer.example", FL_DNS_SRV);
	expect(len, "forward");
	len = ask("my\\032service.default.svc.cluster.local", FL_DNS_A);
	AUTO_FREE char *is = respond(in, len);
	assert_true(fl_starts_with(is, "    NXDOMAIN aa ra\n"));
	len = ask("x\\046cluster.local", FL_DNS_A); // a dot within a label is no border of the zone
	expect(len, "forward");
}

// Whoever asks for names of the cluster is not looked up among this host's addresses.
static void looks_at_the_asker_only_for_names_of_others(void **state)
{
	static const char *const ours[] = {"cluster.local", "kubernetes.default.svc.cluster.local",
					   "10-244-0-5.default.pod.cluster.local", "ns.dns.cluster.local"};
	n_looked = 0;
	for (size_t i = 0; i < FL_COUNT(ours); i++) {
		AUTO_FREE char *is = respond(in, ask(ours[i], FL_DNS_A));
		assert_non_null(strstr(is, " aa ra\n"));
	}
	assert_int_equal(n_looked, 0);
	expect(ask("www.example.com", FL_DNS_A), "forward");
	assert_int_equal(n_looked, 1);
}

static void repeats_what_the_client_said(void **state)
{
	size_t len = ask("CLUSTER.Local", FL_DNS_NS);
	in[2] = 0; // no recursion desired
	in[3] = 0x10;
	AUTO_FREE char *is = respond(in, len);
	assert_true(fl_starts_with(is, "    NOERROR aa ra\n"));
	assert_int_equal(out[2] & 1, 0);
	assert_int_equal(out[3] & 0x10, 0x10);
	assert_memory_equal(out + 12, in + 12, len - 12);
	assert_memory_equal(out, in, 2);
}

// --- relay ---

static struct fl_dns_query client;

static size_t begin_relay(const char *name, uint16_t type, unsigned edns, struct fl_dns_msg *m)
{
	static uint8_t query[512];
	static struct fl_dns_query q; // ours to the upstream: lower case, another id
	size_t len = ask(name, type);
	if (edns) {
		len = fl_dns_add_opt(in, sizeof(in), len, false);
		fl_dns_put16(in + len - 11 + 3, edns);
	}
	assert_int_equal(fl_dns_parse_query(in, len, &client), 0);
	len = fl_dns_make_query(query, sizeof(query), 1, client.name, type);
	assert_int_equal(fl_dns_parse_query(query, len, &q), 0);
	fl_dns_begin(m, upstream, sizeof(upstream), &q, query + 12);
	return len;
}

static void add_addresses(struct fl_dns_msg *m, const char *owner, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		struct fl_ip ip = fl_ip_from4(htonl(0xc0000201 + i));
		assert_true(fl_dns_add_ip(m, FL_DNS_ANSWER, owner, 60, &ip));
	}
}

static char *relay(const char *alias, size_t len, bool tcp)
{
	struct fl_buf b = {0};
	size_t n = fl_dns_relay(&client, in + 12, alias, 5, len ? upstream : NULL, len, tcp, out);
	write_message(&b, out, n);
	assert_memory_equal(out, in, 2);
	assert_memory_equal(out + 12, in + 12, client.question_len);
	assert_true(tcp || n <= (client.udp_size < 1232 ? client.udp_size : 1232));
	return fl_buf_take(&b);
}

static void passes_answers_through(void **state)
{
	struct fl_dns_msg m;
	begin_relay("WWW.Example.com", FL_DNS_A, 0, &m);
	add_addresses(&m, NULL, 2);
	AUTO_FREE char *plain = relay(NULL, fl_dns_end(&m, 0, true, true), false);
	assert_string_equal(plain, "    NOERROR ra\n"
				   "    answer www.example.com 60 A 192.0.2.1\n"
				   "    answer www.example.com 60 A 192.0.2.2\n");
	begin_relay("www.example.com", FL_DNS_A, 1232, &m);
	AUTO_FREE char *denied = relay(NULL, fl_dns_end(&m, FL_DNS_NXDOMAIN, false, true), false);
	assert_string_equal(denied, "    NXDOMAIN ra\n    additional . 0 OPT size 1232\n");
	AUTO_FREE char *failed = relay(NULL, 0, false);
	assert_string_equal(failed, "    SERVFAIL ra\n    additional . 0 OPT size 1232\n");
}

static void cuts_answers_to_what_the_client_takes(void **state)
{
	static const struct {
		unsigned edns;
		bool tcp, cut;
		unsigned n;
	} cases[] = {{0, false, false, 29},   {0, false, true, 30},    {0, true, false, 30},
		     {512, false, true, 30},  {512, false, false, 29}, {1232, false, false, 74},
		     {1232, false, true, 75}, {4096, false, true, 75}, {0, true, false, 4000}};
	for (size_t i = 0; i < FL_COUNT(cases); i++) {
		struct fl_dns_msg m;
		begin_relay("www.example.com", FL_DNS_A, cases[i].edns, &m);
		add_addresses(&m, NULL, cases[i].n);
		free(relay(NULL, fl_dns_end(&m, 0, false, true), cases[i].tcp));
		assert_int_equal(fl_dns_is_truncated(out), cases[i].cut);
		assert_int_equal(fl_dns_count(out, 1), cases[i].cut ? 0 : cases[i].n);
	}
}

static void puts_an_alias_in_front(void **state)
{
	struct fl_dns_msg m;
	size_t len = begin_relay("www.example.com", FL_DNS_A, 0, &m);
	assert_true(fl_dns_add_name(&m, FL_DNS_ANSWER, NULL, FL_DNS_CNAME, 30, "host.example.com"));
	add_addresses(&m, "host.example.com", 2);
	assert_true(fl_dns_add_txt(&m, FL_DNS_ANSWER, NULL, FL_DNS_IN, 30, "not asked for"));
	len = fl_dns_end(&m, 0, false, true);

	size_t n = ask("Search.default.svc.cluster.local", FL_DNS_A);
	assert_int_equal(fl_dns_parse_query(in, n, &client), 0);
	AUTO_FREE char *is = relay("www.example.com", len, false);
	assert_string_equal(is, "    NOERROR aa ra\n"
				"    answer search.default.svc.cluster.local 5 CNAME www.example.com\n"
				"    answer www.example.com 30 CNAME host.example.com\n"
				"    answer host.example.com 60 A 192.0.2.1\n"
				"    answer host.example.com 60 A 192.0.2.2\n");
	AUTO_FREE char *failed = relay("www.example.com", 0, false);
	assert_string_equal(failed, "    SERVFAIL ra\n"
				    "    answer search.default.svc.cluster.local 5 CNAME www.example.com\n");

	begin_relay("www.example.com", FL_DNS_AAAA, 0, &m);
	len = fl_dns_end(&m, FL_DNS_NXDOMAIN, false, true);
	n = ask("search.default.svc.cluster.local", FL_DNS_AAAA);
	assert_int_equal(fl_dns_parse_query(in, n, &client), 0);
	AUTO_FREE char *denied = relay("www.example.com", len, false);
	assert_string_equal(denied, "    NXDOMAIN aa ra\n"
				    "    answer search.default.svc.cluster.local 5 CNAME www.example.com\n");

	begin_relay("www.example.com", FL_DNS_A, 0, &m); // more than fits
	add_addresses(&m, NULL, 100);
	len = fl_dns_end(&m, 0, false, true);
	n = ask("search.default.svc.cluster.local", FL_DNS_A);
	assert_int_equal(fl_dns_parse_query(in, n, &client), 0);
	free(relay("www.example.com", len, false));
	assert_true(fl_dns_is_truncated(out));
	free(relay("www.example.com", len, true));
	assert_int_equal(fl_dns_count(out, 1), 101);
}

static void refuses_a_zone_that_is_no_name(void **state)
{
	static const char *const bad[] = {"",
					  ".",
					  "a..b",
					  ".local",
					  "a b",
					  "a\\046b",
					  "a-name-of-sixty-four-octets-is-too-long-for-a-zone-of-a-cluster.x"};
	for (size_t i = 0; i < FL_COUNT(bad); i++) {
		struct fl_zone *z = NULL;
		struct fl_err err = {0};
		struct fl_zone_opts o = {.domain = bad[i]};
		assert_int_equal(fl_zone_new(&o, &z, &err), -EINVAL);
		assert_null(z);
		assert_non_null(strstr(err.text, "not a domain name"));
	}
	struct fl_zone *z = NULL;
	struct fl_zone_opts o = {.domain = "K8s.Example."};
	assert_int_equal(fl_zone_new(&o, &z, NULL), 0);
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	zone_ask(z, "ns.dns.k8s.example A", &b);
	assert_non_null(strstr(b.data, "authority k8s.example 0 SOA ns.dns.k8s.example hostmaster.k8s.example"));
	fl_zone_free(&z);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(answers_odd_queries),
	    cmocka_unit_test(looks_at_the_asker_only_for_names_of_others),
	    cmocka_unit_test(repeats_what_the_client_said),
	    cmocka_unit_test(passes_answers_through),
	    cmocka_unit_test(cuts_answers_to_what_the_client_takes),
	    cmocka_unit_test(puts_an_alias_in_front),
	    cmocka_unit_test(refuses_a_zone_that_is_no_name),
	};
	return cmocka_run_group_tests_name("dns respond", tests, NULL, NULL);
}
