// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "node/ipam.h"

static struct fl_ip ip(const char *text)
{
	struct fl_ip r;

	assert_true(fl_ip_parse(text, &r));
	return r;
}

static struct fl_ipam ipam(const char *text)
{
	struct fl_ipam m;
	struct fl_cidr c;
	struct fl_err err = {0};

	assert_true(fl_cidr_parse(text, &c, false));
	assert_int_equal(fl_ipam_init(&m, &c, &err), 0);
	return m;
}

static void assert_takes(struct fl_ipam *m, const char *text)
{
	struct fl_ip got;
	char buf[FL_IP_STRLEN];

	assert_int_equal(fl_ipam_take(m, &got, NULL), 0);
	assert_string_equal(fl_ip_format(&got, buf), text);
}

static void goes_round_before_reuse(void **state)
{
	struct fl_ipam m = ipam("10.0.0.0/29");
	struct fl_ip got, third = ip("10.0.0.3");
	struct fl_err err = {0};

	assert_takes(&m, "10.0.0.2");
	assert_takes(&m, "10.0.0.3");
	fl_ipam_release(&m, &third);
	assert_takes(&m, "10.0.0.4");
	assert_takes(&m, "10.0.0.5");
	assert_takes(&m, "10.0.0.6"); // .7 is the broadcast address
	assert_takes(&m, "10.0.0.3");
	assert_int_equal(fl_ipam_take(&m, &got, &err), -EADDRNOTAVAIL);
	assert_string_equal(err.text, "no free address in 10.0.0.0/29");
	fl_ipam_deinit(&m);
}

static void claims_are_checked(void **state)
{
	struct fl_ipam m = ipam("10.0.0.0/24");
	struct fl_ip gateway = ip("10.0.0.1"), fifth = ip("10.0.0.5"), outside = ip("10.0.1.5"),
		     last = ip("10.0.0.255");
	char buf[FL_IP_STRLEN];
	struct fl_ip g = fl_ipam_gateway(&m);

	assert_string_equal(fl_ip_format(&g, buf), "10.0.0.1");
	assert_true(fl_ipam_claim(&m, &fifth));
	assert_false(fl_ipam_claim(&m, &fifth));
	assert_false(fl_ipam_claim(&m, &gateway));
	assert_false(fl_ipam_claim(&m, &outside));
	assert_false(fl_ipam_claim(&m, &last));
	fl_ipam_release(&m, &outside);
	assert_takes(&m, "10.0.0.6"); // the one after the newest
	fl_ipam_deinit(&m);
}

static void ipv6_and_small_ranges(void **state)
{
	struct fl_ipam m = ipam("fd00:10:244:1::/64");
	struct fl_cidr tiny;
	struct fl_err err = {0};

	assert_takes(&m, "fd00:10:244:1::2");
	fl_ipam_deinit(&m);
	assert_true(fl_cidr_parse("10.0.0.0/31", &tiny, false));
	assert_int_equal(fl_ipam_init(&m, &tiny, &err), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(goes_round_before_reuse),
	    cmocka_unit_test(claims_are_checked),
	    cmocka_unit_test(ipv6_and_small_ranges),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
