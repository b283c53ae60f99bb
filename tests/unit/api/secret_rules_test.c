// SPDX-License-Identifier: Apache-2.0
// Rules of Secrets and ServiceAccounts.
#include "kind_rules.h"

#include <errno.h>

#define META "\"metadata\":{\"name\":\"x\",\"namespace\":\"d\"}"

static const char *refusal(const char *body, const struct fl_json *old)
{
	struct result r = write_of(kind_of("v1", "Secret"), fl_arena_printf(&arena, "{" META ",%s}", body), old, NULL);

	return said(&r.causes);
}

static struct fl_json *accepted(const char *body)
{
	struct result r = write_of(kind_of("v1", "Secret"), fl_arena_printf(&arena, "{" META ",%s}", body), NULL, NULL);

	assert_string_equal(said(&r.causes), "");
	return r.obj;
}

static void data(void **state)
{
	struct fl_json *s = accepted("\"data\":{\"a\":\"eA==\",\"b\":\"eXl5\\neXl5\"},\"stringData\":{\"a\":\"yes\","
				     "\"c\":\"\",\"d\":\"\\u00e4\"}");

	assert_json(fl_json_get(s, "data"), "{\"a\":\"eWVz\",\"b\":\"eXl5eXl5\",\"c\":\"\",\"d\":\"w6Q=\"}");
	assert_json(fl_json_get(s, "type"), "\"Opaque\"");
	assert_null(fl_json_get(s, "stringData"));
	assert_string_equal(refusal("\"data\":{\"a b\":\"\"}", NULL),
			    "data[a b]: Invalid value: \"a b\": a valid config key must consist of alphanumeric "
			    "characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used "
			    "for validation is '[-._a-zA-Z0-9]+')");
}

static void broken_base64(void **state)
{
	const struct fl_kind *k = kind_of("v1", "Secret");
	struct fl_err err = {0};

	assert_int_equal(fl_schema_decode(fl_kind_schema(k), &arena, parse("{\"data\":{\"a\":\"eA=\"}}"), &err),
			 -EINVAL);
	assert_non_null(strstr(err.text, "illegal base64 data"));
}

static void size(void **state)
{
	size_t fits = 1024 * 1024;
	struct fl_buf raw = {0}, text = {0};

	fl_buf_reserve(&raw, fits + 1);
	memset(raw.data, 'x', fits + 1);
	for (unsigned more = 0; more < 2; more++) {
		text.len = 0;
		fl_buf_puts(&text, "\"data\":{\"a\":\"");
		fl_base64_encode(&text, raw.data, fits + more);
		fl_buf_puts(&text, "\"}");
		assert_string_equal(refusal(text.data, NULL),
				    more ? "data: Too long: may not be more than 1048576 bytes" : "");
	}
	fl_buf_deinit(&raw);
	fl_buf_deinit(&text);
}

static void types(void **state)
{
	static const struct {
		const char *type, *rest, *refusal;
	} cases[] = {
	    {"example.com/own", "", ""},
	    {"kubernetes.io/tls", "", "data[tls.crt]: Required value\ndata[tls.key]: Required value"},
	    {"kubernetes.io/tls", ",\"data\":{\"tls.crt\":\"\",\"tls.key\":\"\"}", ""},
	    {"kubernetes.io/basic-auth", "", "data[username]: Required value\ndata[password]: Required value"},
	    {"kubernetes.io/basic-auth", ",\"stringData\":{\"password\":\"\"}", ""},
	    {"kubernetes.io/ssh-auth", ",\"data\":{\"ssh-privatekey\":\"\"}", "data[ssh-privatekey]: Required value"},
	    {"kubernetes.io/ssh-auth", ",\"data\":{\"ssh-privatekey\":\"eA==\"}", ""},
	    {"kubernetes.io/dockercfg", "", "data[.dockercfg]: Required value"},
	    {"kubernetes.io/dockerconfigjson", ",\"stringData\":{\".dockerconfigjson\":\"{\\\"a\\\":1}\"}", ""},
	    {"kubernetes.io/dockerconfigjson", ",\"stringData\":{\".dockerconfigjson\":\"secret\"}",
	     "data[.dockerconfigjson]: Invalid value: \"<secret contents redacted>\": must be well-formed JSON"},
	    {"kubernetes.io/dockerconfigjson", ",\"stringData\":{\".dockerconfigjson\":\"[1]\"}",
	     "data[.dockerconfigjson]: Invalid value: \"<secret contents redacted>\": must be a JSON object"},
	    {"kubernetes.io/service-account-token", "",
	     "metadata.annotations[kubernetes.io/service-account.name]: Required value"},
	};

	for (size_t i = 0; i < FL_COUNT(cases); i++)
		assert_string_equal(
		    refusal(fl_arena_printf(&arena, "\"type\":\"%s\"%s", cases[i].type, cases[i].rest), NULL),
		    cases[i].refusal);
}

static void updates(void **state)
{
	const struct fl_json *old = accepted("\"data\":{\"a\":\"eA==\"},\"immutable\":true");

	assert_string_equal(refusal("\"stringData\":{\"a\":\"x\"},\"immutable\":true", old), "");
	assert_string_equal(refusal("\"type\":\"other\",\"data\":{\"a\":\"eQ==\"}", old),
			    "type: Invalid value: \"other\": field is immutable\n"
			    "immutable: Forbidden: field is immutable when `immutable` is set\n"
			    "data: Forbidden: field is immutable when `immutable` is set");
	assert_string_equal(refusal("\"data\":{}", accepted("\"data\":{\"a\":\"eA==\"}")), "");
}

static void shown(void **state)
{
	const struct fl_kind *k = kind_of("v1", "Secret");
	const struct fl_json *s =
	    parse("{\"metadata\":{\"name\":\"x\"},\"type\":\"Opaque\",\"data\":{\"a\":\"eA==\"}}");

	assert_string_equal(row_of(k, text_of(s)), "[\"x\",\"Opaque\",1,\"<unknown>\"]");
	assert_string_equal(k->hooks->field(&arena, s, "type"), "Opaque");
	assert_null(k->hooks->field(&arena, s, "data"));
}

static void service_accounts(void **state)
{
	const struct fl_kind *k = kind_of("v1", "ServiceAccount");
	struct result r = write_of(k,
				   "{" META ",\"secrets\":[{\"kind\":\"Secret\",\"name\":\"s\",\"uid\":\"u\"}],"
				   "\"imagePullSecrets\":[{\"name\":\"p\"}],\"automountServiceAccountToken\":false}",
				   NULL, NULL);

	assert_string_equal(said(&r.causes), "");
	assert_json(fl_json_get(r.obj, "secrets"), "[{\"name\":\"s\"}]");
	assert_json(fl_json_get(r.obj, "automountServiceAccountToken"), "false");
	assert_string_equal(row_of(k, "{\"metadata\":{\"name\":\"x\"}}"), "[\"x\",\"<unknown>\"]");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(data),  TEST(broken_base64),    TEST(size), TEST(types), TEST(updates),
	    TEST(shown), TEST(service_accounts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
