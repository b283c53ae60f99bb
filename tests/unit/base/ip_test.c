// SPDX-License-Identifier: Apache-2.0
// Addresses: the texts that Go's net/netip takes and prints, classes, socket addresses.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <string.h>

#include "base/ip.h"
#include "base/mem.h"
#include "base/rand.h"

static struct fl_ip ip(const char *s)
{
	struct fl_ip i;
	assert_true(fl_ip_parse(s, &i));
	return i;
}

static void canonical_texts(void **state)
{
	static const struct {
		const char *in, *out;
	} cases[] = {
	    {"0.0.0.0", "0.0.0.0"},
	    {"255.255.255.255", "255.255.255.255"},
	    {"10.0.9.100", "10.0.9.100"},
	    {"::", "::"},
	    {"::1", "::1"},
	    {"1::", "1::"},
	    {"2001:DB8::A", "2001:db8::a"},
	    {"2001:0db8:0000:0000:0001:0000:0000:0001", "2001:db8::1:0:0:1"}, // the first of equal runs
	    {"2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"},                 // one zero group is not shortened
	    {"1:0:0:2:0:0:0:3", "1:0:0:2::3"},                                // the longest run
	    {"fe80:0:0:0:0:0:0:0", "fe80::"},
	    {"::ffff:1.2.3.4", "::ffff:1.2.3.4"},
	    {"::1.2.3.4", "::102:304"}, // unlike inet_ntop(3)
	    {"64:ff9b::1.2.3.4", "64:ff9b::102:304"},
	    {"::ffff:0:0", "::ffff:0.0.0.0"},
	};
	char text[FL_IP_STRLEN];
	for (size_t i = 0; i < FL_COUNT(cases); i++) {
		struct fl_ip a = ip(cases[i].in);
		assert_string_equal(fl_ip_format(&a, text), cases[i].out);
		struct fl_ip b = ip(text);
		assert_true(fl_ip_equal(&a, &b));
	}
}

static void refuses(void **state)
{
	static const char *const bad[] = {"",
					  " ",
					  "1",
					  "1.2.3",
					  "1.2.3.4.5",
					  "01.2.3.4",
					  "1.2.3.04",
					  "1.2.3.256",
					  "1.2.3.-4",
					  "1.2.3.4 ",
					  " 1.2.3.4",
					  "1.2..4",
					  "1.2.3.",
					  "0x1.2.3.4",
					  "1.2.3.1000000000000",
					  ":",
					  ":::",
					  "1::2::3",
					  "12345::",
					  "::g",
					  "fe80::1%eth0",
					  "1:2:3:4:5:6:7",
					  "1:2:3:4:5:6:7:8:9",
					  "::ffff:1.2.3",
					  "::ffff:01.2.3.4",
					  "[::1]"};
	struct fl_ip out = {.family = 99};
	for (size_t i = 0; i < FL_COUNT(bad); i++) {
		if (fl_ip_parse(bad[i], &out))
			fail_msg("took '%s'", bad[i]);
		assert_int_equal(out.family, 99);
	}
}

static void random_addresses_agree_with_libc(void **state)
{
	for (int i = 0; i < 20000; i++) {
		struct fl_ip a = {.family = AF_INET6};
		fl_random(a.b, 16);
		for (int g = 0; g < 8; g++)
			if (fl_random_below(2))
				a.b[2 * g] = a.b[2 * g + 1] = 0;
		a.b[0] |= 0x20; // neither v4-mapped nor v4-compatible, where libc prints otherwise
		char ours[FL_IP_STRLEN], theirs[INET6_ADDRSTRLEN];
		inet_ntop(AF_INET6, a.b, theirs, sizeof(theirs));
		assert_string_equal(fl_ip_format(&a, ours), theirs);
	}
}

static void order_and_equality(void **state)
{
	struct fl_ip a = ip("10.0.0.1"), b = ip("10.0.0.2"), c = ip("::1"), mapped = ip("::ffff:10.0.0.1");
	assert_true(fl_ip_cmp(&a, &b) < 0);
	assert_true(fl_ip_cmp(&b, &a) > 0);
	assert_true(fl_ip_cmp(&b, &c) < 0);
	assert_int_equal(fl_ip_cmp(&c, &c), 0);
	assert_false(fl_ip_equal(&a, &mapped));
}

static void classes(void **state)
{
	static const struct {
		const char *ip;
		bool loopback, link_local, multicast, unspecified;
	} cases[] = {
	    {"127.0.0.1", .loopback = true},
	    {"127.255.0.9", .loopback = true},
	    {"::1", .loopback = true},
	    {"128.0.0.1"},
	    {"169.254.1.1", .link_local = true},
	    {"169.255.1.1"},
	    {"fe80::1", .link_local = true},
	    {"febf::1", .link_local = true},
	    {"fec0::1"},
	    {"224.0.0.1", .multicast = true},
	    {"239.1.1.1", .multicast = true},
	    {"240.0.0.1"},
	    {"ff02::1", .multicast = true},
	    {"0.0.0.0", .unspecified = true},
	    {"::", .unspecified = true},
	    {"0.0.0.1"},
	    {"::ffff:127.0.0.1", .loopback = true},
	    {"10.0.0.1"},
	    {"2001:db8::1"},
	};
	for (size_t i = 0; i < FL_COUNT(cases); i++) {
		struct fl_ip a = ip(cases[i].ip);
		assert_int_equal(fl_ip_is_loopback(&a), cases[i].loopback);
		assert_int_equal(fl_ip_is_link_local(&a), cases[i].link_local);
		assert_int_equal(fl_ip_is_multicast(&a), cases[i].multicast);
		assert_int_equal(fl_ip_is_unspecified(&a), cases[i].unspecified);
	}
	struct fl_ip none = {0};
	assert_false(fl_ip_is_unspecified(&none));
	assert_false(fl_ip_is_loopback(&none));
}

static void raw_bytes(void **state)
{
	struct fl_ip a = ip("1.2.3.4"), b = ip("2001:db8::1");
	size_t n;
	assert_memory_equal(fl_ip_raw(&a, &n), "\1\2\3\4", 4);
	assert_int_equal(n, 4);
	assert_memory_equal(fl_ip_raw(&b, &n), "\x20\x01\x0d\xb8", 4);
	assert_int_equal(n, 16);
	assert_int_equal(fl_ip_to4(&a), htonl(0x01020304));
	struct fl_ip c = fl_ip_from4(htonl(0x01020304));
	assert_true(fl_ip_equal(&a, &c));
}

static void socket_addresses(void **state)
{
	static const char *const texts[] = {"1.2.3.4", "2001:db8::1"};
	for (size_t i = 0; i < FL_COUNT(texts); i++) {
		struct fl_ip a = ip(texts[i]), b;
		struct sockaddr_storage ss;
		socklen_t len;
		uint16_t port;
		fl_ip_to_sockaddr(&a, 8080, &ss, &len);
		assert_int_equal(len, i ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in));
		assert_true(fl_ip_from_sockaddr((struct sockaddr *)&ss, &b, &port));
		assert_true(fl_ip_equal(&a, &b));
		assert_int_equal(port, 8080);
		assert_true(fl_ip_from_sockaddr((struct sockaddr *)&ss, &b, NULL));
	}
}

static void v4_peer_of_a_dual_stack_socket_is_v4(void **state)
{
	struct sockaddr_in6 sin6 = {.sin6_family = AF_INET6, .sin6_port = htons(53)};
	inet_pton(AF_INET6, "::ffff:9.8.7.6", &sin6.sin6_addr);
	struct fl_ip a, want = ip("9.8.7.6");
	uint16_t port;
	assert_true(fl_ip_from_sockaddr((struct sockaddr *)&sin6, &a, &port));
	assert_true(fl_ip_equal(&a, &want));
	struct sockaddr sa = {.sa_family = AF_UNIX};
	assert_false(fl_ip_from_sockaddr(&sa, &a, &port));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(canonical_texts),
	    cmocka_unit_test(refuses),
	    cmocka_unit_test(random_addresses_agree_with_libc),
	    cmocka_unit_test(order_and_equality),
	    cmocka_unit_test(classes),
	    cmocka_unit_test(raw_bytes),
	    cmocka_unit_test(socket_addresses),
	    cmocka_unit_test(v4_peer_of_a_dual_stack_socket_is_v4),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
