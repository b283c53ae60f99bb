// SPDX-License-Identifier: Apache-2.0
// Cases of kubelet's credentialprovider/keyring_test.go that touch what Secrets can hold.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/mem.h"
#include "node/image/auth.h"

static struct fl_json *secret(struct fl_arena *a, const char *key, const char *document)
{
	struct fl_json *s = fl_json_new(a, FL_JSON_OBJECT);
	struct fl_buf b = {0};

	fl_base64_encode(&b, document, strlen(document));
	fl_json_set_str(a, fl_json_set_object(a, s, "data"), key, b.data);
	fl_buf_deinit(&b);
	return s;
}

// "user:password user:password" of the logins for `image`, in their order.
static const char *logins(struct fl_arena *a, const struct fl_json *const *secrets, size_t n, const char *image)
{
	struct fl_image_login *l = NULL;
	struct fl_image_ref ref;
	struct fl_buf b = {0};
	const char *text;
	size_t count;

	assert_int_equal(fl_image_ref_parse(image, &ref, NULL), 0);
	count = fl_image_logins(a, secrets, n, &ref, &l);
	fl_buf_puts(&b, "");
	for (size_t i = 0; i < count; i++)
		fl_buf_printf(&b, "%s%s:%s", i ? " " : "", l[i].user, l[i].password);
	text = fl_arena_strdup(a, b.data);
	fl_buf_deinit(&b);
	return text;
}

static void keys_match_as_kubelet_has_it(void **state)
{
	static const struct {
		const char *key, *image;
		int matches;
	} cases[] = {
	    {"hello.kubernetes.io", "hello.kubernetes.io/foo/bar", 1},
	    {"*.kubernetes.io", "prefix.kubernetes.io/foo", 1},
	    {"prefix.*.io", "prefix.kubernetes.io/foo", 1},
	    {"prefix.kubernetes.*", "prefix.kubernetes.io/foo", 1},
	    {"*-good.kubernetes.io", "prefix-good.kubernetes.io/foo", 1},
	    {"*.kubernetes.io", "kubernetes.io/foo", 0},
	    {"*.kubernetes.io", "a.b.kubernetes.io/foo", 0},
	    {"*.io", "kubernetes.io/foo", 1},
	    {"hello.kubernetes.io:8888", "hello.kubernetes.io:8888/foo", 1},
	    {"hello.kubernetes.io:8888", "hello.kubernetes.io/foo", 0},
	    {"hello.kubernetes.io", "hello.kubernetes.io:5000/foo", 0},
	    {"hello.kubernetes.io/foo", "hello.kubernetes.io/foo/bar", 1},
	    {"hello.kubernetes.io/bar", "hello.kubernetes.io/foo", 0},
	    {"https://hello.kubernetes.io/v1/", "hello.kubernetes.io/foo", 1},
	    {"http://hello.kubernetes.io/v2/", "hello.kubernetes.io/foo", 1},
	    {"https://index.docker.io/v1/", "nginx", 1},
	    {"https://index.docker.io/v1/", "user/img", 1},
	    {"https://index.docker.io/v1/", "quay.io/user/img", 0},
	    {"docker.io", "nginx", 1},
	    {"127.0.0.1:5000", "127.0.0.1:5000/a", 1},
	    {"[::1]:5000", "[::1]:5000/a", 1},
	};
	struct fl_arena a = {0};

	for (size_t i = 0; i < FL_COUNT(cases); i++) {
		const struct fl_json *s =
		    secret(&a, ".dockerconfigjson",
			   fl_arena_printf(&a, "{\"auths\":{\"%s\":{\"auth\":\"dTpw\"}}}", cases[i].key));

		if (strcmp(logins(&a, &s, 1, cases[i].image), cases[i].matches ? "u:p" : "") != 0)
			fail_msg("%s, %s", cases[i].key, cases[i].image);
	}
	fl_arena_deinit(&a);
}

static void forms_of_secrets(void **state)
{
	struct fl_arena a = {0};
	const struct fl_json *all[] = {
	    secret(&a, ".dockercfg", "{\"r.io\":{\"username\":\"old\",\"password\":\"form\",\"email\":\"x\"}}"),
	    secret(&a, ".dockerconfigjson",
		   "{\"auths\":{\"r.io\":{\"auth\":\"YTpiOmM=\",\"username\":\"not\",\"password\":\"this\"},"
		   "\"r.io/team\":{\"username\":\"longer\",\"password\":\"first\"},\"s.io\":{\"auth\":\"??\"},"
		   "\"t.io\":{\"auth\":\"bm9jb2xvbg==\"}}}"),
	    secret(&a, "password", "unrelated"),
	    secret(&a, ".dockerconfigjson", "no JSON"),
	    fl_json_new(&a, FL_JSON_OBJECT),
	};

	assert_string_equal(logins(&a, all, 5, "r.io/team/x"), "longer:first old:form a:b:c");
	assert_string_equal(logins(&a, all, 5, "r.io/other"), "old:form a:b:c");
	assert_string_equal(logins(&a, all, 5, "s.io/x"), "");
	assert_string_equal(logins(&a, all, 5, "t.io/x"), "");
	assert_string_equal(logins(&a, NULL, 0, "r.io/x"), "");
	fl_arena_deinit(&a);
}

static void the_file_is_its_owners(void **state)
{
	AUTO_FREE char *path = fl_asprintf("/tmp/fairlead-image-auth-test-%d", (int)getpid()), *text = NULL;
	const struct fl_image_login login = {"user", "pass:word"};
	struct fl_image_ref ref;
	struct stat st;

	assert_int_equal(fl_image_ref_parse("127.0.0.1:5000/a/b", &ref, NULL), 0);
	assert_int_equal(fl_image_auth_write(path, &ref, &login, NULL), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(fl_file_read(path, &text, NULL, NULL), 0);
	assert_string_equal(text, "{\"auths\":{\"127.0.0.1:5000\":{\"auth\":\"dXNlcjpwYXNzOndvcmQ=\"}}}");
	unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(keys_match_as_kubelet_has_it),
					   cmocka_unit_test(forms_of_secrets),
					   cmocka_unit_test(the_file_is_its_owners)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
