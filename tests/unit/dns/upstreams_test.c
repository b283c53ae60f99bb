// SPDX-License-Identifier: Apache-2.0
#include "dns_test.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/file.h"
#include "dns/upstreams.h"

static char *list(const struct fl_upstreams *u)
{
	struct fl_buf b = {0};
	char text[FL_IP_STRLEN];
	fl_buf_puts(&b, "");
	for (unsigned i = 0; i < u->n; i++)
		fl_buf_printf(&b, "%s%s %u", i ? ", " : "", fl_ip_format(&u->v[i].ip, text), u->v[i].port);
	return fl_buf_take(&b);
}

static void expect(const struct fl_upstreams *u, const char *want)
{
	AUTO_FREE char *is = list(u);
	assert_string_equal(is, want);
}

static void reads_a_text(void **state)
{
	static const struct {
		const char *text, *want;
	} cases[] = {
	    {"192.0.2.1", "192.0.2.1 53"},
	    {"192.0.2.1:5353", "192.0.2.1 5353"},
	    {"192.0.2.1,192.0.2.2:54", "192.0.2.1 53, 192.0.2.2 54"},
	    {"192.0.2.1 192.0.2.2", "192.0.2.1 53, 192.0.2.2 53"},
	    {"2001:db8::1", "2001:db8::1 53"},
	    {"[2001:db8::1]", "2001:db8::1 53"},
	    {"[2001:db8::1]:54", "2001:db8::1 54"},
	    {"192.0.2.1,192.0.2.1", "192.0.2.1 53"},
	    {"192.0.2.1,192.0.2.2,192.0.2.3,192.0.2.4", "192.0.2.1 53, 192.0.2.2 53, 192.0.2.3 53"},
	    {"10.96.0.10,192.0.2.1", "192.0.2.1 53"}, // ourselves
	    {"", ""},
	};
	struct fl_ip own;
	fl_ip_parse("10.96.0.10", &own);
	for (size_t i = 0; i < FL_COUNT(cases); i++) {
		struct fl_upstreams u;
		assert_int_equal(fl_upstreams_init(&u, cases[i].text, NULL, &own, 1, NULL), 0);
		expect(&u, cases[i].want);
		assert_false(fl_upstreams_refresh(&u, 1000000));
	}
}

static void refuses_what_it_does_not_understand(void **state)
{
	static const char *const cases[] = {
	    "dns.example",    "192.0.2.1:",   "192.0.2.1:0",     "192.0.2.1:65536", "192.0.2.1:x",
	    "[192.0.2.1]:53", "[2001:db8::1", "[2001:db8::1]53", "192.0.2.256",     "192.0.2.1,,x",
	};
	for (size_t i = 0; i < FL_COUNT(cases); i++) {
		struct fl_upstreams u = {.n = 7};
		struct fl_err err = {0};
		assert_int_equal(fl_upstreams_init(&u, cases[i], NULL, NULL, 0, &err), -EINVAL);
		assert_non_null(strstr(err.text, "upstream DNS server"));
		assert_int_equal(u.n, 7);
	}
}

static void write_conf(const char *path, const char *text, time_t when)
{
	struct fl_err err = {0};
	const struct timespec times[2] = {{.tv_sec = when}, {.tv_sec = when}};
	assert_int_equal(fl_file_write(path, text, strlen(text), 0644, &err), 0);
	assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

static void follows_resolv_conf(void **state)
{
	AUTO_FREE char *path = fl_asprintf("/tmp/upstreams_test.%d", (int)getpid());
	struct fl_upstreams u;
	struct fl_ip own;
	fl_ip_parse("10.96.0.10", &own);
	write_conf(path,
		   "# comment\nsearch example.com\nnameserver 10.96.0.10\n  nameserver\t192.0.2.1 # first\n"
		   "nameserver fe80::1%eth0\nnameserver 2001:db8::1\nnameserverx 192.0.2.7\noptions ndots:5",
		   1000);
	assert_int_equal(fl_upstreams_init(&u, NULL, path, &own, 1, NULL), 0);
	expect(&u, "192.0.2.1 53, 2001:db8::1 53");
	assert_false(fl_upstreams_refresh(&u, 10000));

	write_conf(path, "nameserver 192.0.2.2\n", 2000);
	assert_false(fl_upstreams_refresh(&u, 14999)); // too soon to look
	expect(&u, "192.0.2.1 53, 2001:db8::1 53");
	assert_true(fl_upstreams_refresh(&u, 15000));
	expect(&u, "192.0.2.2 53");
	assert_false(fl_upstreams_refresh(&u, 30000));

	assert_int_equal(unlink(path), 0);
	assert_true(fl_upstreams_refresh(&u, 40000));
	expect(&u, "");
	write_conf(path, "nameserver 192.0.2.3\n", 3000);
	assert_true(fl_upstreams_refresh(&u, 50000));
	expect(&u, "192.0.2.3 53");
	assert_int_equal(unlink(path), 0);
}

static void asks_those_that_are_down_last(void **state)
{
	struct fl_upstreams u;
	assert_int_equal(fl_upstreams_init(&u, "192.0.2.1,192.0.2.2,192.0.2.3", NULL, NULL, 0, NULL), 0);
	assert_int_equal(fl_upstreams_next(&u, 0, 1), 0);
	assert_int_equal(fl_upstreams_next(&u, 1, 1), 1);
	assert_int_equal(fl_upstreams_next(&u, 3, 1), 2);
	assert_int_equal(fl_upstreams_next(&u, 7, 1), -1);
	fl_upstreams_silent(&u, 0, 1000); // once is nothing
	assert_int_equal(fl_upstreams_next(&u, 0, 1000), 0);
	fl_upstreams_silent(&u, 0, 1000);
	assert_int_equal(fl_upstreams_next(&u, 0, 1000), 1);
	assert_int_equal(fl_upstreams_next(&u, 6, 1000), 0);
	assert_int_equal(fl_upstreams_next(&u, 0, 11000), 0); // its time is over
	fl_upstreams_silent(&u, 0, 11000);
	assert_int_equal(fl_upstreams_next(&u, 0, 11000), 1);
	fl_upstreams_answered(&u, 0);
	assert_int_equal(fl_upstreams_next(&u, 0, 11000), 0);
	fl_upstreams_silent(&u, 0, 11000);
	assert_int_equal(fl_upstreams_next(&u, 0, 11000), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(reads_a_text),
	    cmocka_unit_test(refuses_what_it_does_not_understand),
	    cmocka_unit_test(follows_resolv_conf),
	    cmocka_unit_test(asks_those_that_are_down_last),
	};
	return cmocka_run_group_tests_name("dns upstreams", tests, NULL, NULL);
}
