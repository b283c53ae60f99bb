// SPDX-License-Identifier: Apache-2.0
// The client against our server: both protocols, both ways of reading a body, and what goes wrong on the way.
#include "http_fixture.h"

static void gets_and_posts(struct fixture *f)
{
	struct fl_http_client *c = new_client(f, NULL);
	struct answer a = {0};
	call(f, c, "GET", "/hello", NULL, 0, &a);
	if (a.rc)
		fail_msg("%s", a.err.text);
	assert_int_equal(a.status, 200);
	assert_string_equal(a.body.data, "hello\n");
	assert_string_equal(a.type, "text/plain");
	call(f, c, "POST", "/echo?a=b", "some\0body", 9, &a);
	assert_int_equal(a.status, 201);
	assert_int_equal(a.body.len, 9);
	assert_memory_equal(a.body.data, "some\0body", 9);
	assert_string_equal(a.type, "text/x-test");
	call(f, c, "PATCH", "/echo", "p", 1, &a);
	assert_string_equal(a.body.data, "p");
	call(f, c, "DELETE", "/none", NULL, 0, &a);
	assert_int_equal(a.status, 204);
	call(f, c, "HEAD", "/size/1000", NULL, 0, &a);
	assert_int_equal(a.rc, 0);
	assert_int_equal(a.status, 200);
	assert_int_equal(a.body.len, 0);
	call(f, c, "GET", "/size/5000000", NULL, 0, &a);
	assert_int_equal(a.body.len, 5000000);
	call(f, c, "GET", "/size/0", NULL, 0, &a);
	assert_int_equal(a.rc, 0);
	assert_int_equal(a.body.len, 0);
	answer_reset(&a);
	fl_http_client_free(&c);
}

static void plain_requests(void **state)
{
	struct fixture f;
	setup_with(&f, false, NULL);
	gets_and_posts(&f);
	teardown(&f);
}

static void tls_requests(void **state)
{
	struct fixture f;
	setup_with(&f, true, NULL);
	gets_and_posts(&f);
	teardown(&f);
}

int main(void)
{
	make_pki();
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(plain_requests),
	    cmocka_unit_test(tls_requests),
	};
	int rc = cmocka_run_group_tests(tests, NULL, NULL);
	free_pki();
	return rc;
}
