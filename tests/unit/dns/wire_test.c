// SPDX-License-Identifier: Apache-2.0
#include "dns_test.h"

#include <errno.h>

// Octets as a C string literal with its length; a header of 12 zero octets goes before.
#define READ(octets) read_at_12(octets, sizeof(octets) - 1)

static char name[FL_DNS_NAME_MAX];
static size_t pos;

static bool read_at_12(const char *octets, size_t n)
{
	uint8_t *msg = fl_calloc(1, FL_DNS_HEADER + n); // exactly as long: a sanitizer sees each octet beyond
	memcpy(msg + FL_DNS_HEADER, octets, n);
	pos = FL_DNS_HEADER;
	bool ok = fl_dns_read_name(msg, FL_DNS_HEADER + n, &pos, name);
	free(msg);
	return ok;
}

static void reads_names(void **state)
{
	assert_true(READ("\0"));
	assert_string_equal(name, "");
	assert_int_equal(pos, 13);
	assert_true(READ("\3WwW\7eXample\3com\0rest"));
	assert_string_equal(name, "www.example.com");
	assert_int_equal(pos, 12 + 17);
	assert_true(READ("\4a.b \1\\\2\0\377\0"));
	assert_string_equal(name, "a\\046b\\032.\\092.\\000\\255");
	assert_true(READ("\3_-/\0"));
	assert_string_equal(name, "_-/");
}

static void refuses_broken_names(void **state)
{
	assert_false(READ(""));
	assert_false(READ("\3ww"));
	assert_false(READ("\3www"));
	assert_false(READ("\300"));
	assert_false(READ("\300\014"));    // to itself
	assert_false(READ("\1a\300\014")); // in a circle
	assert_false(READ("\1a\300\020")); // forwards
	assert_false(READ("\1a\300\2"));   // into the header
	assert_false(READ("\100abc\0"));   // label types of old
	assert_false(READ("\200abc\0"));
	assert_int_equal(pos, 12); // untouched
}

static void follows_pointers(void **state)
{
	uint8_t msg[64] = {0};
	memcpy(msg + 12, "\3com\0\7example\300\014\3www\300\021", 21);
	size_t at = 12 + 5 + 10;
	assert_true(fl_dns_read_name(msg, 33, &at, name));
	assert_string_equal(name, "www.example.com");
	assert_int_equal(at, 33);
	at = 12 + 5 + 10;
	assert_false(fl_dns_read_name(msg, 32, &at, name));
}

// What a pointer leads to must end before the labels that it ends.
static void refuses_pointers_that_run_on(void **state)
{
	uint8_t msg[64] = {0};
	memcpy(msg + 12, "\1a\0\1b\300\014", 7);
	size_t at = 15;
	assert_true(fl_dns_read_name(msg, 19, &at, name));
	assert_string_equal(name, "b.a");
	msg[12] = 2; // the label now takes in the root of its name, and goes on with "b"
	at = 15;
	assert_false(fl_dns_read_name(msg, 19, &at, name));
}

static void bounds_names(void **state)
{
	uint8_t msg[400] = {0}, back[256];
	size_t n = 12;
	for (unsigned i = 0; i < 3; i++) {
		msg[n] = 63;
		memset(msg + n + 1, 0xff, 63); // each octet becomes four characters
		n += 64;
	}
	msg[n] = 61;
	memset(msg + n + 1, 0xff, 61);
	pos = 12;
	assert_true(fl_dns_read_name(msg, sizeof(msg), &pos, name)); // 255 octets
	assert_int_equal(pos, 12 + 255);
	assert_int_equal(strlen(name), 250 * 4 + 3);
	assert_int_equal(fl_dns_name_wire_len(name), 255);
	fl_dns_name_to_wire(back, name);
	assert_memory_equal(back, msg + 12, 255);
	msg[n] = 62; // 256
	pos = 12;
	assert_false(fl_dns_read_name(msg, sizeof(msg), &pos, name));
}

static void knows_what_has_a_wire_form(void **state)
{
	char longest[64 + 1] = "";
	memset(longest, 'a', 63);
	assert_int_equal(fl_dns_name_wire_len(""), 1);
	assert_int_equal(fl_dns_name_wire_len("a"), 3);
	assert_int_equal(fl_dns_name_wire_len("a.bc"), 6);
	assert_int_equal(fl_dns_name_wire_len("\\000\\255"), 4);
	assert_int_equal(fl_dns_name_wire_len(longest), 65);
	longest[63] = 'a';
	static const char *const none[] = {".", "a.", ".a", "a..b", "\\", "\\0", "\\00", "\\256", "\\0a0", "\\a"};
	assert_int_equal(fl_dns_name_wire_len(longest), 0);
	for (size_t i = 0; i < FL_COUNT(none); i++)
		assert_int_equal(fl_dns_name_wire_len(none[i]), 0);
}

static void reads_records(void **state)
{
	static const uint8_t msg[] = "............\1a\0\0\1\0\1\200\0\0\5\0\4\1\2\3\4";
	struct fl_dns_rr rr;
	pos = 12;
	assert_true(fl_dns_read_rr(msg, 29, &pos, &rr));
	assert_string_equal(rr.name, "a");
	assert_int_equal(rr.type, FL_DNS_A);
	assert_int_equal(rr.class_, 1);
	assert_int_equal(rr.ttl, 0x80000005);
	assert_int_equal(rr.rdlength, 4);
	assert_int_equal(rr.rdata_at, 25);
	assert_int_equal(rr.ttl_at, 19);
	assert_int_equal(pos, 29);
	for (size_t len = 12; len < 29; len++) {
		pos = 12;
		assert_false(fl_dns_read_rr(msg, len, &pos, &rr));
		assert_int_equal(pos, 12);
	}
}

// --- queries ---

struct query {
	uint8_t msg[512];
	size_t len;
};

static struct query simple(void)
{
	struct query q = {.len = 0};
	q.len = fl_dns_make_query(q.msg, sizeof(q.msg), 0xbeef, "Web.x", FL_DNS_AAAA);
	assert_int_equal(q.len, 12 + 7 + 4);
	return q;
}

static void parses_queries(void **state)
{
	struct fl_dns_query p;
	struct query q = simple();
	assert_int_equal(fl_dns_parse_query(q.msg, q.len, &p), 0);
	assert_int_equal(p.id, 0xbeef);
	assert_int_equal(p.type, FL_DNS_AAAA);
	assert_int_equal(p.class_, 1);
	assert_string_equal(p.name, "web.x");
	assert_int_equal(p.name_len, 5);
	assert_int_equal(p.question_len, 11);
	assert_int_equal(p.udp_size, 512);
	assert_true(p.recursion_desired);
	assert_false(p.edns || p.checking_disabled || p.dnssec_ok);

	q.msg[2] = 0;
	q.msg[3] = 0x10;
	q.len = fl_dns_add_opt(q.msg, sizeof(q.msg), q.len, true);
	assert_int_equal(fl_dns_parse_query(q.msg, q.len, &p), 0);
	assert_true(p.edns && p.checking_disabled && p.dnssec_ok && !p.recursion_desired);
	assert_int_equal(p.udp_size, 1232);
	assert_int_equal(p.edns_version, 0);
	q.msg[q.len - 11 + 3] = 0; // less than 512 counts as 512
	q.msg[q.len - 11 + 6] = 7;
	assert_int_equal(fl_dns_parse_query(q.msg, q.len, &p), 0);
	assert_int_equal(p.udp_size, 512);
	assert_int_equal(p.edns_version, 7);
}

static void answers_broken_queries_with_an_error(void **state)
{
	struct fl_dns_query p;
	struct query q = simple(), r;
	for (size_t len = 0; len < 12; len++)
		assert_int_equal(fl_dns_parse_query(q.msg, len, &p), -EBADMSG);
	for (size_t len = 12; len < q.len; len++) {
		assert_int_equal(fl_dns_parse_query(q.msg, len, &p), FL_DNS_FORMERR);
		assert_int_equal(p.question_len, 0);
		assert_int_equal(p.id, 0xbeef);
	}
	r = q;
	r.msg[2] |= 0x80; // a response: answering would begin a war of echoes
	assert_int_equal(fl_dns_parse_query(r.msg, r.len, &p), -EBADMSG);
	r = q;
	r.msg[2] |= 5 << 3; // UPDATE
	assert_int_equal(fl_dns_parse_query(r.msg, r.len, &p), FL_DNS_NOTIMP);
	r = q;
	r.msg[5] = 2;
	assert_int_equal(fl_dns_parse_query(r.msg, r.len, &p), FL_DNS_FORMERR);
	r.msg[5] = 0;
	assert_int_equal(fl_dns_parse_query(r.msg, r.len, &p), FL_DNS_FORMERR);
	r = (struct query){.msg = "\xbe\xef\1\0\0\1\0\0\0\0\0\0\3\1a\0\300\015\0\1\0\1", .len = 22};
	assert_int_equal(fl_dns_parse_query(r.msg, r.len, &p), FL_DNS_FORMERR); // a pointer into its own label
	r = q;
	r.msg[11] = 1; // a record that is not there
	assert_int_equal(fl_dns_parse_query(r.msg, r.len, &p), FL_DNS_FORMERR);
	assert_int_equal(p.question_len, 11);
	r = q;
	r.msg[6] = 0xff; // 65,280 of them
	assert_int_equal(fl_dns_parse_query(r.msg, r.len, &p), FL_DNS_FORMERR);
	r = q;
	r.len = fl_dns_add_opt(r.msg, sizeof(r.msg), r.len, false);
	r.len = fl_dns_add_opt(r.msg, sizeof(r.msg), r.len, false);
	assert_int_equal(fl_dns_parse_query(r.msg, r.len, &p), FL_DNS_FORMERR);
	assert_true(p.edns);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(reads_names),
	    cmocka_unit_test(refuses_broken_names),
	    cmocka_unit_test(follows_pointers),
	    cmocka_unit_test(refuses_pointers_that_run_on),
	    cmocka_unit_test(bounds_names),
	    cmocka_unit_test(knows_what_has_a_wire_form),
	    cmocka_unit_test(reads_records),
	    cmocka_unit_test(parses_queries),
	    cmocka_unit_test(answers_broken_queries_with_an_error),
	};
	return cmocka_run_group_tests_name("dns wire", tests, NULL, NULL);
}
