// SPDX-License-Identifier: Apache-2.0
// Prefixes: what is refused, what contains what, and the numbering of addresses.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/ip.h"
#include "base/mem.h"

static struct fl_cidr cidr(const char *s)
{
	struct fl_cidr c;
	assert_true(fl_cidr_parse(s, &c, false));
	return c;
}

static struct fl_ip ip(const char *s)
{
	struct fl_ip i;
	assert_true(fl_ip_parse(s, &i));
	return i;
}

static void parses_and_formats(void **state)
{
	static const char *const same[] = {"10.0.0.0/8",    "0.0.0.0/0", "1.2.3.4/32", "::/0",
					   "fd00:10::/108", "::1/128",   "fe80::/10"};
	for (size_t i = 0; i < FL_COUNT(same); i++) {
		struct fl_cidr c = cidr(same[i]);
		char text[FL_CIDR_STRLEN];
		assert_string_equal(fl_cidr_format(&c, text), same[i]);
	}
}

static void refuses(void **state)
{
	static const char *const bad[] = {
	    "",   "10.0.0.0", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/08", "10.0.0.0/+8", "10.0.0.0/8 ",
	    "/8", "10.0.0/8", "::/129",    "::/1000",     "::1%lo/128",  "10.0.0.0/8/8"};
	struct fl_cidr c = {.bits = 77};
	for (size_t i = 0; i < FL_COUNT(bad); i++) {
		assert_false(fl_cidr_parse(bad[i], &c, true));
		assert_int_equal(c.bits, 77);
	}
}

static void host_bits_only_where_allowed(void **state)
{
	struct fl_cidr c;
	char text[FL_CIDR_STRLEN];
	assert_false(fl_cidr_parse("10.1.2.3/8", &c, false));
	assert_true(fl_cidr_parse("10.1.2.3/8", &c, true));
	assert_string_equal(fl_cidr_format(&c, text), "10.0.0.0/8");
	assert_true(fl_cidr_parse("fd00::ffff/121", &c, true));
	assert_string_equal(fl_cidr_format(&c, text), "fd00::ff80/121");
	assert_false(fl_cidr_parse("0.0.0.1/0", &c, false));
}

static bool contains(const char *c, const char *i)
{
	struct fl_cidr x = cidr(c);
	struct fl_ip y = ip(i);
	return fl_cidr_contains(&x, &y);
}

static void contains_by_prefix_and_family(void **state)
{
	assert_true(contains("10.0.0.0/8", "10.255.255.255"));
	assert_false(contains("10.0.0.0/8", "11.0.0.0"));
	assert_true(contains("192.168.4.0/22", "192.168.7.255"));
	assert_false(contains("192.168.4.0/22", "192.168.8.0"));
	assert_true(contains("1.2.3.4/32", "1.2.3.4"));
	assert_false(contains("1.2.3.4/32", "1.2.3.5"));
	assert_true(contains("0.0.0.0/0", "255.1.2.3"));
	assert_true(contains("::/0", "::1"));
	assert_false(contains("::/0", "1.2.3.4"));
	assert_false(contains("0.0.0.0/0", "::ffff:1.2.3.4"));
	assert_true(contains("fd00:10:96::/112", "fd00:10:96::ffff"));
	assert_false(contains("fd00:10:96::/112", "fd00:10:96::1:0"));
}

static bool overlaps(const char *a, const char *b)
{
	struct fl_cidr x = cidr(a), y = cidr(b);
	bool there = fl_cidr_overlaps(&x, &y);
	assert_int_equal(there, fl_cidr_overlaps(&y, &x));
	return there;
}

static void overlap_is_containment_of_one(void **state)
{
	assert_true(overlaps("10.0.0.0/8", "10.96.0.0/12"));
	assert_true(overlaps("10.0.0.0/8", "10.0.0.0/8"));
	assert_false(overlaps("10.0.0.0/9", "10.128.0.0/9"));
	assert_false(overlaps("::/0", "0.0.0.0/0"));
	assert_true(overlaps("fd00::/8", "fd00:1::/32"));
}

static void sizes(void **state)
{
	static const struct {
		const char *cidr;
		uint64_t size;
	} cases[] = {
	    {"10.0.0.0/8", 1u << 24},         {"1.2.3.4/32", 1},
	    {"0.0.0.0/0", UINT64_C(1) << 32}, {"::1/128", 1},
	    {"fd00::/108", 1u << 20},         {"fd00::/65", UINT64_C(1) << 63},
	    {"fd00::/64", UINT64_MAX},        {"::/0", UINT64_MAX},
	};
	for (size_t i = 0; i < FL_COUNT(cases); i++) {
		struct fl_cidr c = cidr(cases[i].cidr);
		assert_int_equal(fl_cidr_size(&c), cases[i].size);
	}
}

static void numbers_and_addresses_match(void **state)
{
	static const struct {
		const char *cidr;
		uint64_t n;
		const char *ip;
	} cases[] = {
	    {"10.96.0.0/12", 0, "10.96.0.0"},
	    {"10.96.0.0/12", 1, "10.96.0.1"},
	    {"10.96.0.0/12", 256, "10.96.1.0"},
	    {"10.96.0.0/12", (1u << 20) - 1, "10.111.255.255"},
	    {"fd00::/108", 10, "fd00::a"},
	    {"fd00::/108", 0xfffff, "fd00::f:ffff"},
	    {"fd00::/16", UINT64_MAX, "fd00::ffff:ffff:ffff:ffff"},
	    {"0.0.0.0/0", 0xffffffff, "255.255.255.255"},
	};
	for (size_t i = 0; i < FL_COUNT(cases); i++) {
		struct fl_cidr c = cidr(cases[i].cidr);
		struct fl_ip got = fl_cidr_nth(&c, cases[i].n), want = ip(cases[i].ip);
		assert_true(fl_ip_equal(&got, &want));
		uint64_t n;
		assert_true(fl_cidr_index(&c, &got, &n));
		assert_int_equal(n, cases[i].n);
	}
}

static void index_of_an_address_outside(void **state)
{
	struct fl_cidr c = cidr("10.96.0.0/12"), wide = cidr("fd00::/16");
	struct fl_ip outside = ip("10.112.0.0"), other = ip("::1"), far = ip("fd00:0:0:1::");
	uint64_t n = 5;
	assert_false(fl_cidr_index(&c, &outside, &n));
	assert_false(fl_cidr_index(&c, &other, &n));
	assert_false(fl_cidr_index(&wide, &far, &n)); // 2^64 does not fit
	assert_int_equal(n, 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(parses_and_formats),
	    cmocka_unit_test(refuses),
	    cmocka_unit_test(host_bits_only_where_allowed),
	    cmocka_unit_test(contains_by_prefix_and_family),
	    cmocka_unit_test(overlap_is_containment_of_one),
	    cmocka_unit_test(sizes),
	    cmocka_unit_test(numbers_and_addresses_match),
	    cmocka_unit_test(index_of_an_address_outside),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
