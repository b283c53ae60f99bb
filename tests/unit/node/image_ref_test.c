// SPDX-License-Identifier: Apache-2.0
// The cases of github.com/distribution/reference's own tests that touch what we use, and Docker's short forms.
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/str.h"
#include "node/image/ref.h"

#define SUM "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void names_have_one_long_form(void **state)
{
	static const struct {
		const char *text, *whole;
	} cases[] = {
	    {"nginx", "docker.io/library/nginx:latest"},
	    {"nginx:1.25", "docker.io/library/nginx:1.25"},
	    {"user/img", "docker.io/user/img:latest"},
	    {"docker.io/nginx", "docker.io/library/nginx:latest"},
	    {"index.docker.io/nginx:1", "docker.io/library/nginx:1"},
	    {"index.docker.io/library/nginx:1", "docker.io/library/nginx:1"},
	    {"localhost/img", "localhost/img:latest"},
	    {"localhost:5000/img:2", "localhost:5000/img:2"},
	    {"127.0.0.1:5000/a/b/c", "127.0.0.1:5000/a/b/c:latest"},
	    {"[2001:db8::1]:5000/img:t", "[2001:db8::1]:5000/img:t"},
	    {"quay.io/a/b@sha256:" SUM, "quay.io/a/b@sha256:" SUM},
	    {"quay.io/a/b:tag@sha256:" SUM, "quay.io/a/b@sha256:" SUM},
	    {"nginx@sha256:" SUM, "docker.io/library/nginx@sha256:" SUM},
	    {"Host/img", "Host/img:latest"}, // upper case: a host
	    {"a__b/c-----d.e", "docker.io/a__b/c-----d.e:latest"},
	    {"xn--n3h.com/myimage:xn--n3h.com", "xn--n3h.com/myimage:xn--n3h.com"},
	    {"img:" SUM SUM, "docker.io/library/img:" SUM SUM}, // 128 characters
	    {"aa/asdf$$^/aa", NULL},
	    {"nginx:", NULL},
	    {":1", NULL},
	    {"", NULL},
	    {"a b", NULL},
	    {"/nginx", NULL},
	    {"nginx/", NULL},
	    {"a//b", NULL},
	    {"a/-b", NULL},
	    {"a/b_", NULL},
	    {"a___b", NULL},
	    {"a..b/c", NULL},
	    {"-host.com/img", NULL},
	    {"host..com/img", NULL},
	    {"Nginx", NULL},
	    {"user/Img", NULL},
	    {"nginx:.tag", NULL},
	    {"nginx:ta/g:x y", NULL},
	    {"img:a" SUM SUM, NULL}, // 129
	    {SUM, NULL},
	    {"nginx@sha256:00", NULL},
	    {"nginx@sha256:" SUM "0", NULL},
	    {"nginx@md5:0123456789abcdef0123456789abcdef", NULL},
	    {"nginx@", NULL},
	    {"host:port/img", NULL},
	    {"[::g]/img", NULL},
	};
	char whole[FL_IMAGE_REF_STRLEN];

	for (size_t i = 0; i < FL_COUNT(cases); i++) {
		struct fl_image_ref ref = {.name = "untouched"};
		struct fl_err err = {0};
		int rc = fl_image_ref_parse(cases[i].text, &ref, &err);

		if (!cases[i].whole) {
			if (rc != -EINVAL || !err.text[0])
				fail_msg("%s is taken", cases[i].text);
			assert_string_equal(ref.name, "untouched");
			continue;
		}
		if (rc != 0)
			fail_msg("%s: %s", cases[i].text, err.text);
		assert_string_equal(fl_image_ref_format(&ref, whole), cases[i].whole);
		// The long form means itself.
		assert_int_equal(fl_image_ref_parse(whole, &ref, &err), 0);
		assert_string_equal(fl_image_ref_format(&ref, whole), cases[i].whole);
	}
}

static void errors_say_what_is_wrong(void **state)
{
	struct fl_image_ref ref;
	struct fl_err err = {0};

	assert_int_equal(fl_image_ref_parse("user/Img", &ref, &err), -EINVAL);
	assert_string_equal(err.text, "invalid reference format: repository name (user/Img) must be lowercase");
	assert_int_equal(fl_image_ref_parse("a b", &ref, &err), -EINVAL);
	assert_string_equal(err.text, "invalid reference format");
	assert_int_equal(fl_image_ref_parse(SUM, &ref, &err), -EINVAL);
	assert_string_equal(err.text, "invalid repository name (" SUM "), cannot specify 64-byte hexadecimal strings");
	char name[400] = "example.com/";

	memset(name + 12, 'a', 300);
	assert_int_equal(fl_image_ref_parse(name, &ref, &err), -EINVAL);
	assert_string_equal(err.text, "repository name must not be more than 255 characters");
}

static void this_host_needs_no_tls(void **state)
{
	assert_true(fl_image_registry_insecure("localhost", NULL));
	assert_true(fl_image_registry_insecure("localhost:5000", ""));
	assert_true(fl_image_registry_insecure("127.0.0.1:5000", NULL));
	assert_true(fl_image_registry_insecure("127.9.9.9", NULL));
	assert_true(fl_image_registry_insecure("[::1]:5000", NULL));
	assert_false(fl_image_registry_insecure("docker.io", NULL));
	assert_false(fl_image_registry_insecure("localhost.example.com", NULL));
	assert_false(fl_image_registry_insecure("128.0.0.1", NULL));
	assert_false(fl_image_registry_insecure("127.0.0.1.example.com:80", NULL));
	static const char list[] = "reg.example.com:5000,other.example.com,10.0.0.0/8";

	assert_true(fl_image_registry_insecure("reg.example.com:5000", list));
	assert_false(fl_image_registry_insecure("reg.example.com:5001", list));
	assert_true(fl_image_registry_insecure("other.example.com:7", list));
	assert_true(fl_image_registry_insecure("10.2.3.4:5000", list));
	assert_false(fl_image_registry_insecure("11.2.3.4:5000", list));
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(names_have_one_long_form),
					   cmocka_unit_test(errors_say_what_is_wrong),
					   cmocka_unit_test(this_host_needs_no_tls)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
