// SPDX-License-Identifier: Apache-2.0
#include "dns_test.h"

static uint8_t in[512], out[2048];
static struct fl_dns_query q;
static struct fl_dns_msg m;

static void begin(const char *name, uint16_t type, size_t cap)
{
	size_t len = fl_dns_make_query(in, sizeof(in), 7, name, type);
	assert_int_equal(fl_dns_parse_query(in, len, &q), 0);
	fl_dns_begin(&m, out, cap, &q, in + FL_DNS_HEADER);
}

static char *text(unsigned rcode)
{
	struct fl_buf b = {0};
	write_message(&b, out, fl_dns_end(&m, rcode, true, false));
	return fl_buf_take(&b);
}

static struct fl_ip ip(const char *s)
{
	struct fl_ip i;
	assert_true(fl_ip_parse(s, &i));
	return i;
}

static void writes_each_kind_of_record(void **state)
{
	struct fl_ip four = ip("192.0.2.1"), six = ip("2001:db8::1");
	struct fl_dns_srv srv = {1, 2, 3, "t.example"};
	struct fl_dns_soa soa = {"ns.example", "mail.other", 4, 5};
	begin("web.example", FL_DNS_ANY, sizeof(out));
	assert_true(fl_dns_add_ip(&m, FL_DNS_ANSWER, NULL, 10, &four));
	assert_true(fl_dns_add_ip(&m, FL_DNS_ANSWER, NULL, 10, &six));
	assert_true(fl_dns_add_name(&m, FL_DNS_ANSWER, "x.web.example", FL_DNS_CNAME, 11, "web.example"));
	assert_true(fl_dns_add_name(&m, FL_DNS_ANSWER, "", FL_DNS_NS, 11, "a.root"));
	assert_true(fl_dns_add_srv(&m, FL_DNS_ANSWER, "web.example", 12, &srv));
	assert_true(fl_dns_add_txt(&m, FL_DNS_ANSWER, NULL, FL_DNS_IN, 13, "some text"));
	assert_true(fl_dns_add_txt(&m, FL_DNS_ANSWER, NULL, FL_DNS_IN, 13, ""));
	assert_true(fl_dns_add_soa(&m, FL_DNS_AUTHORITY, "example", 14, &soa));
	assert_true(fl_dns_add_ip(&m, FL_DNS_ADDITIONAL, "odd\\046name.other", 15, &four));
	AUTO_FREE char *t = text(FL_DNS_NOERROR);
	assert_string_equal(t, "    NOERROR aa\n"
			       "    answer web.example 10 A 192.0.2.1\n"
			       "    answer web.example 10 AAAA 2001:db8::1\n"
			       "    answer x.web.example 11 CNAME web.example\n"
			       "    answer . 11 NS a.root\n"
			       "    answer web.example 12 SRV 1 2 3 t.example\n"
			       "    answer web.example 13 TXT \"some text\"\n"
			       "    answer web.example 13 TXT \"\"\n"
			       "    authority example 14 SOA ns.example mail.other minimum 5\n"
			       "    additional odd\\046name.other 15 A 192.0.2.1\n");
}

static size_t owner_len(const char *name, const char *owner)
{
	struct fl_ip four = ip("192.0.2.1");
	begin(name, FL_DNS_A, sizeof(out));
	size_t before = m.len;
	assert_true(fl_dns_add_ip(&m, FL_DNS_ANSWER, owner, 1, &four));
	size_t n = m.len - before - 14;
	AUTO_FREE char *t = text(0),
		       *want = fl_asprintf("    NOERROR aa\n    answer %s 1 A 192.0.2.1\n", *owner ? owner : ".");
	assert_string_equal(t, want);
	return n;
}

static void points_into_the_question(void **state)
{
	assert_int_equal(owner_len("web.default.svc", "web.default.svc"), 2);
	assert_int_equal(owner_len("web.default.svc", "svc"), 2);
	assert_int_equal(owner_len("web.default.svc", "a.default.svc"), 4);
	assert_int_equal(owner_len("web.default.svc", "a.b.svc"), 6);
	assert_int_equal(owner_len("web.default.svc", "a.web.default.svc"), 4);
	assert_int_equal(owner_len("web.default.svc", "xsvc"), 6); // ends alike, but within a label
	assert_int_equal(owner_len("xweb.svc", "web.svc"), 6);
	assert_int_equal(owner_len("web.default.svc", ""), 1);
	assert_int_equal(owner_len("", "web"), 5);              // the root as question
	assert_int_equal(owner_len("w\\046b.svc", "a.svc"), 7); // its text is no map of the wire
	assert_int_equal(owner_len("web.svc", "w\\046b.svc"), 6);
}

static void leaves_out_what_does_not_fit(void **state)
{
	struct fl_ip four = ip("192.0.2.1");
	begin("web.example", FL_DNS_A, 512);
	unsigned n = 0;
	while (fl_dns_add_ip(&m, FL_DNS_ANSWER, NULL, 1, &four))
		n++;
	assert_int_equal(n, (512 - 12 - 17) / 16);
	assert_true(m.truncated && m.len <= 512);
	assert_false(fl_dns_add_txt(&m, FL_DNS_ANSWER, NULL, FL_DNS_IN, 1, "")); // nothing after a gap
	size_t len = fl_dns_end(&m, 0, true, true);
	assert_true(fl_dns_is_truncated(out));
	assert_int_equal(fl_dns_count(out, 1), n);
	assert_true(len <= 512);
}

static void spares_room_for_opt(void **state)
{
	struct fl_ip four = ip("192.0.2.1");
	size_t len = fl_dns_make_query(in, sizeof(in), 7, "web.example", FL_DNS_A);
	len = fl_dns_add_opt(in, sizeof(in), len, false);
	assert_int_equal(fl_dns_parse_query(in, len, &q), 0);
	fl_dns_begin(&m, out, 512, &q, in + FL_DNS_HEADER);
	while (fl_dns_add_ip(&m, FL_DNS_ANSWER, NULL, 1, &four))
		;
	size_t whole = fl_dns_end(&m, FL_DNS_BADVERS, true, true);
	assert_true(whole <= 512 && whole > 512 - 16);
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	write_message(&b, out, whole);
	assert_true(fl_starts_with(b.data, "    BADVERS aa tc ra\n"));
}

static void leaves_additional_records_out_silently(void **state)
{
	struct fl_ip four = ip("192.0.2.1");
	begin("web.example", FL_DNS_A, 512);
	assert_true(fl_dns_add_ip(&m, FL_DNS_ANSWER, NULL, 1, &four));
	while (fl_dns_add_ip(&m, FL_DNS_ADDITIONAL, "other", 1, &four))
		;
	assert_false(m.truncated);
}

static void leaves_names_without_wire_form_out(void **state)
{
	struct fl_ip four = ip("192.0.2.1");
	struct fl_dns_srv srv = {.target = "a..b"};
	struct fl_dns_soa soa = {.mname = "a", .rname = "a."};
	begin("web.example", FL_DNS_A, 512);
	assert_false(fl_dns_add_ip(&m, FL_DNS_ANSWER, "a..b", 1, &four));
	assert_false(fl_dns_add_name(&m, FL_DNS_ANSWER, NULL, FL_DNS_CNAME, 1, "."));
	assert_false(fl_dns_add_srv(&m, FL_DNS_ANSWER, NULL, 1, &srv));
	assert_false(fl_dns_add_soa(&m, FL_DNS_ANSWER, NULL, 1, &soa));
	assert_false(m.truncated); // TCP would have no more room for them
	AUTO_FREE char *t = text(0);
	assert_string_equal(t, "    NOERROR aa\n");
}

static void makes_queries(void **state)
{
	uint8_t buf[64];
	static const uint8_t want[] = "\x12\x34\1\0\0\1\0\0\0\0\0\0\1a\0\0\34\0\1";
	assert_int_equal(fl_dns_make_query(buf, sizeof(buf), 0x1234, "a", FL_DNS_AAAA), 19);
	assert_memory_equal(buf, want, 19);
	assert_int_equal(fl_dns_make_query(buf, 19, 1, "a", FL_DNS_A), 19);
	assert_int_equal(fl_dns_make_query(buf, 18, 1, "a", FL_DNS_A), 0);
	assert_int_equal(fl_dns_make_query(buf, sizeof(buf), 1, "a..", FL_DNS_A), 0);
	assert_int_equal(fl_dns_add_opt(buf, 30, 19, true), 30);
	assert_int_equal(fl_dns_add_opt(buf, 29, 19, true), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(writes_each_kind_of_record),
	    cmocka_unit_test(points_into_the_question),
	    cmocka_unit_test(leaves_out_what_does_not_fit),
	    cmocka_unit_test(spares_room_for_opt),
	    cmocka_unit_test(leaves_additional_records_out_silently),
	    cmocka_unit_test(leaves_names_without_wire_form_out),
	    cmocka_unit_test(makes_queries),
	};
	return cmocka_run_group_tests_name("dns message", tests, NULL, NULL);
}
