// SPDX-License-Identifier: Apache-2.0
// Protobuf bodies: what kubectl really sent (tests/golden/proto, recorded with a server that kept the bodies), messages
// built here for what it does not send, and bytes that must be refused.
#include "api_test.h"

#include <errno.h>
#include <glob.h>

#include "api/proto.h"
#include "api/wire.h"

static int decode(const void *p, size_t n, struct fl_json **ret, struct fl_err *err)
{
	// A copy of exactly n bytes, so that ASan sees the first one beyond.
	char *copy = malloc(n ? n : 1);
	if (n)
		memcpy(copy, p, n);
	int rc = fl_proto_decode(fl_registry_builtin(), &arena, copy, n, ret, err);
	free(copy);
	return rc;
}

static void recorded_bodies(void **state)
{
	glob_t g;
	assert_int_equal(glob("tests/golden/proto/*.bin", 0, NULL, &g), 0);
	assert_true(g.gl_pathc >= 10);
	for (size_t i = 0; i < g.gl_pathc; i++) {
		struct fl_json *got = NULL;
		struct fl_err err = {0};
		size_t n;
		const char *bytes = read_golden(g.gl_pathv[i], &n);
		if (decode(bytes, n, &got, &err) < 0)
			fail_msg("%s: %s", g.gl_pathv[i], err.text);
		size_t stem = strlen(g.gl_pathv[i]) - strlen(".bin");
		assert_same(got, golden(fl_arena_printf(&arena, "%.*s.json", (int)stem, g.gl_pathv[i])));
		check_links(got);
	}
	globfree(&g);
}

// Cut anywhere, or with any byte changed, a body is decoded or refused, and nothing beyond it is read.
static void damaged_bodies(void **state)
{
	size_t n;
	char *bytes = read_golden("tests/golden/proto/kubectl-1.35-debug-pod.bin", &n);

	for (size_t i = 0; i < n; i++) {
		struct fl_json *got = NULL;
		struct fl_err err = {0};
		if (decode(bytes, i, &got, &err) < 0)
			assert_true(err.text[0]);
		char before = bytes[i];
		bytes[i] = (char)(before ^ (1 << (i % 8)));
		int rc = decode(bytes, n, &got, &err);
		assert_true(rc == 0 || rc == -EINVAL || rc == -ENOENT);
		bytes[i] = before;
	}
}

// --- messages made here ---

static void text(struct fl_buf *b, uint32_t number, const char *s)
{
	fl_wire_put_bytes(b, number, s, strlen(s));
}

static void message(struct fl_buf *b, uint32_t number, struct fl_buf *m)
{
	fl_wire_put_bytes(b, number, m->data ? m->data : "", m->len);
	fl_buf_deinit(m);
}

static struct fl_buf envelope(const char *api_version, const char *kind, struct fl_buf *raw)
{
	struct fl_buf b = {0}, type = {0};
	fl_buf_append(&b, "k8s\0", 4);
	text(&type, 1, api_version);
	text(&type, 2, kind);
	message(&b, 1, &type);
	message(&b, 2, raw);
	text(&b, 3, "");
	text(&b, 4, "");
	return b;
}

static struct fl_json *decoded(const char *api_version, const char *kind, struct fl_buf *raw)
{
	struct fl_buf b = envelope(api_version, kind, raw);
	struct fl_json *ret = NULL;
	struct fl_err err = {0};
	int rc = decode(b.data, b.len, &ret, &err);
	fl_buf_deinit(&b);
	if (rc < 0)
		fail_msg("%s: %s", kind, err.text);
	return ret;
}

static const char *refused(const char *api_version, const char *kind, struct fl_buf *raw)
{
	static struct fl_err err;
	struct fl_buf b = envelope(api_version, kind, raw);
	struct fl_json *ret = NULL;
	err = (struct fl_err){0};
	assert_int_equal(decode(b.data, b.len, &ret, &err), -EINVAL);
	assert_null(ret);
	fl_buf_deinit(&b);
	return err.text;
}

static struct fl_buf time_of(int64_t seconds, int32_t nanos)
{
	struct fl_buf t = {0};
	fl_wire_put_uint(&t, 1, (uint64_t)seconds);
	fl_wire_put_uint(&t, 2, (uint64_t)(int64_t)nanos);
	return t;
}

static void times(void **state)
{
	struct fl_buf raw = {0}, meta = {0}, spec = {0}, t = time_of(1767323045, 0);
	text(&meta, 1, "l");
	message(&meta, 8, &t); // creationTimestamp
	t = (struct fl_buf){0};
	message(&meta, 9, &t); // deletionTimestamp: Go's zero time
	message(&raw, 1, &meta);
	text(&spec, 1, "me");
	fl_wire_put_uint(&spec, 2, 15);
	t = time_of(1767323045, 123456000);
	message(&spec, 4, &t); // renewTime
	fl_wire_put_uint(&spec, 5, 0);
	message(&raw, 2, &spec);
	assert_json(decoded("coordination.k8s.io/v1", "Lease", &raw),
		    "{\"kind\":\"Lease\",\"apiVersion\":\"coordination.k8s.io/v1\",\"metadata\":{\"name\":\"l\","
		    "\"creationTimestamp\":\"2026-01-02T03:04:05Z\"},\"spec\":{\"holderIdentity\":\"me\","
		    "\"leaseDurationSeconds\":15,\"renewTime\":\"2026-01-02T03:04:05.123456Z\","
		    "\"leaseTransitions\":0}}");
}

static void times_out_of_range(void **state)
{
	static const struct {
		int64_t seconds;
		int32_t nanos;
	} bad[] = {{INT64_MAX, 0}, {INT64_MIN, 0}, {0, -1}, {0, 1000000000}, {INT64_C(9223372036), 999999999}};
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct fl_buf raw = {0}, meta = {0}, t = time_of(bad[i].seconds, bad[i].nanos);
		message(&meta, 8, &t);
		message(&raw, 1, &meta);
		assert_non_null(strstr(refused("v1", "ConfigMap", &raw), "a time is out of range"));
	}
}

static void delete_options(void **state)
{
	struct fl_buf raw = {0}, pre = {0};
	fl_wire_put_uint(&raw, 1, 0);
	text(&pre, 1, "u-1");
	message(&raw, 2, &pre);
	fl_wire_put_uint(&raw, 3, 0);
	text(&raw, 4, "Foreground");
	text(&raw, 5, "All");
	assert_json(
	    decoded("apps/v1", "DeleteOptions", &raw),
	    "{\"kind\":\"DeleteOptions\",\"apiVersion\":\"apps/v1\",\"gracePeriodSeconds\":0,\"preconditions\":{"
	    "\"uid\":\"u-1\"},\"orphanDependents\":false,\"propagationPolicy\":\"Foreground\",\"dryRun\":["
	    "\"All\"]}");
}

static void scale(void **state)
{
	struct fl_buf raw = {0}, meta = {0}, spec = {0}, status = {0};
	text(&meta, 1, "web");
	text(&meta, 2, ""); // generateName: no pointer, so its zero says nothing
	fl_wire_put_uint(&meta, 7, 0);
	message(&raw, 1, &meta);
	fl_wire_put_uint(&spec, 1, 4);
	message(&raw, 2, &spec);
	fl_wire_put_uint(&status, 1, 3);
	text(&status, 2, "");
	message(&raw, 3, &status);
	assert_json(decoded("autoscaling/v1", "Scale", &raw),
		    "{\"kind\":\"Scale\",\"apiVersion\":\"autoscaling/v1\",\"metadata\":{\"name\":\"web\"},\"spec\":{"
		    "\"replicas\":4},\"status\":{\"replicas\":3}}");
}

static struct fl_buf int_or_string(unsigned type, int32_t i, const char *s)
{
	struct fl_buf b = {0};
	fl_wire_put_uint(&b, 1, type);
	fl_wire_put_uint(&b, 2, (uint64_t)(int64_t)i);
	text(&b, 3, s);
	return b;
}

static struct fl_buf deployment(struct fl_buf *surge, struct fl_buf *unavailable)
{
	struct fl_buf raw = {0}, spec = {0}, strategy = {0}, rolling = {0};
	message(&rolling, 1, unavailable);
	message(&rolling, 2, surge);
	message(&strategy, 2, &rolling);
	message(&spec, 4, &strategy);
	message(&raw, 2, &spec);
	return raw;
}

static void int_or_strings(void **state)
{
	struct fl_buf zero = int_or_string(0, 0, ""), percent = int_or_string(1, 0, "25%");
	struct fl_buf raw = deployment(&percent, &zero);
	assert_json(fl_json_get(decoded("apps/v1", "Deployment", &raw), "spec"),
		    "{\"strategy\":{\"rollingUpdate\":{\"maxUnavailable\":0,\"maxSurge\":\"25%\"}}}");
	zero = int_or_string(0, -7, "");
	percent = int_or_string(2, 0, "");
	raw = deployment(&percent, &zero);
	assert_non_null(strstr(refused("apps/v1", "Deployment", &raw), "an int-or-string is neither"));

	// targetPort is no pointer: 0 means that the server chooses.
	struct fl_buf service = {0}, spec = {0}, port = {0}, target = int_or_string(0, 0, "");
	text(&port, 2, "TCP");
	fl_wire_put_uint(&port, 3, 80);
	message(&port, 4, &target);
	fl_wire_put_uint(&port, 5, 0);
	message(&spec, 1, &port);
	message(&service, 2, &spec);
	assert_json(fl_json_get(decoded("v1", "Service", &service), "spec"),
		    "{\"ports\":[{\"protocol\":\"TCP\",\"port\":80}]}");
}

static void raw_json(void **state)
{
	struct fl_buf raw = {0}, meta = {0}, entry = {0}, fields = {0}, t = time_of(0, 0);
	text(&fields, 1, "{\"f:data\":{\".\":{},\"f:a\":{}}}");
	text(&entry, 1, "kubectl");
	message(&entry, 4, &t);
	text(&entry, 6, "FieldsV1");
	message(&entry, 7, &fields);
	message(&meta, 17, &entry);
	message(&raw, 1, &meta);
	assert_json(fl_json_get(decoded("v1", "ConfigMap", &raw), "metadata"),
		    "{\"managedFields\":[{\"manager\":\"kubectl\",\"time\":\"1970-01-01T00:00:00Z\",\"fieldsType\":"
		    "\"FieldsV1\",\"fieldsV1\":{\"f:data\":{\".\":{},\"f:a\":{}}}}]}");

	char deep[1024];
	memset(deep, '[', sizeof(deep));
	fl_wire_put_bytes(&fields, 1, deep, sizeof(deep));
	message(&entry, 7, &fields);
	message(&meta, 17, &entry);
	message(&raw, 1, &meta);
	assert_true(refused("v1", "ConfigMap", &raw)[0]);
}

static void endpoint_slice(void **state)
{
	struct fl_buf raw = {0}, endpoint = {0}, conditions = {0}, port = {0};
	text(&endpoint, 1, "10.0.0.1");
	text(&endpoint, 1, "10.0.0.2");
	fl_wire_put_uint(&conditions, 1, 0);
	fl_wire_put_uint(&conditions, 2, 1);
	message(&endpoint, 2, &conditions);
	message(&raw, 2, &endpoint);
	text(&port, 1, "");
	text(&port, 2, "UDP");
	fl_wire_put_uint(&port, 3, 53);
	message(&raw, 3, &port);
	text(&raw, 4, "IPv4");
	assert_json(decoded("discovery.k8s.io/v1", "EndpointSlice", &raw),
		    "{\"kind\":\"EndpointSlice\",\"apiVersion\":\"discovery.k8s.io/v1\",\"endpoints\":[{\"addresses\":["
		    "\"10.0.0.1\",\"10.0.0.2\"],\"conditions\":{\"ready\":false,\"serving\":true}}],\"ports\":[{"
		    "\"name\":\"\",\"protocol\":\"UDP\",\"port\":53}],\"addressType\":\"IPv4\"}");
}

static void put_entry(struct fl_buf *b, uint32_t number, const char *key, const char *value)
{
	struct fl_buf entry = {0};
	text(&entry, 1, key);
	if (value)
		text(&entry, 2, value);
	message(b, number, &entry);
}

static void maps(void **state)
{
	struct fl_buf raw = {0}, no_key = {0};
	put_entry(&raw, 2, "a", "1");
	put_entry(&raw, 2, "b", NULL); // a value that is absent is empty
	put_entry(&raw, 2, "a", "2");  // the last one counts
	text(&no_key, 2, "x");
	message(&raw, 2, &no_key);
	put_entry(&raw, 3, "bytes", "\xff\xfe");
	struct fl_json *got = decoded("v1", "ConfigMap", &raw);
	assert_same(got, parse("{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\",\"data\":{\"a\":\"2\",\"b\":\"\",\"\":"
			       "\"x\"},\"binaryData\":{\"bytes\":\"//4=\"}}"));
	check_links(got);
}

static void what_comes_twice(void **state)
{
	struct fl_buf raw = {0}, meta = {0};
	text(&meta, 1, "first");
	put_entry(&meta, 11, "l", "1");
	message(&raw, 1, &meta);
	text(&meta, 1, "second");
	text(&meta, 3, "ns");
	message(&raw, 1, &meta);
	fl_wire_put_uint(&raw, 4, 1); // immutable
	fl_wire_put_uint(&raw, 4, 0);
	assert_same(decoded("v1", "ConfigMap", &raw),
		    parse("{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"second\",\"labels\":{"
			  "\"l\":\"1\"},\"namespace\":\"ns\"},\"immutable\":false}"));
}

static void unknown_fields_are_skipped(void **state)
{
	struct fl_buf raw = {0};
	fl_wire_put_uint(&raw, 900, 7);
	text(&raw, 901, "x");
	fl_wire_put_varint(&raw, 902 << 3 | FL_WIRE_FIXED64);
	fl_buf_append(&raw, "12345678", 8);
	fl_wire_put_varint(&raw, 903 << 3 | FL_WIRE_FIXED32);
	fl_buf_append(&raw, "1234", 4);
	fl_wire_put_uint(&raw, 4, 1);
	assert_json(decoded("v1", "ConfigMap", &raw),
		    "{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\",\"immutable\":true}");
}

static const char *refused_field(uint32_t key, const char *bytes, size_t n)
{
	struct fl_buf raw = {0};
	fl_wire_put_varint(&raw, key);
	fl_buf_append(&raw, bytes, n);
	return refused("v1", "ConfigMap", &raw);
}

static void bad_bytes(void **state)
{
	assert_non_null(strstr(refused_field(4 << 3 | 2, "\x01x", 2), "a number has the wrong wire type"));
	assert_non_null(strstr(refused_field(1 << 3 | 0, "\x01", 1), "a field has the wrong wire type"));
	assert_non_null(strstr(refused_field(2 << 3 | 0, "\x01", 1), "a map has the wrong wire type"));
	assert_non_null(strstr(refused_field(4 << 3 | 3, "", 0), "cut short")); // a group
	assert_non_null(strstr(refused_field(0, "\x01", 1), "cut short"));      // field number 0
	assert_non_null(strstr(refused_field(1 << 3 | 2,
					     "\x05"
					     "a",
					     2),
			       "cut short"));
	assert_non_null(strstr(refused_field(1 << 3 | 2, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 10), "cut short"));
	assert_non_null(strstr(refused_field(4 << 3 | 0, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 10), "cut short"));
	assert_non_null(strstr(refused_field(2 << 3 | 2, "\x03\x0a\x01\xff", 4), "not valid UTF-8"));
	assert_non_null(strstr(refused_field(2 << 3 | 2, "\x05\x0a\x03\xed\xa0\x80", 6), "not valid UTF-8"));
	assert_non_null(strstr(refused_field(2 << 3 | 2, "\x04\x0a\x02\xc0\x80", 5), "not valid UTF-8"));
	assert_non_null(strstr(refused_field(2 << 3 | 2,
					     "\x04\x0a\x02"
					     "a\x00",
					     5),
			       "holds a NUL"));
}

static void bounded(void **state)
{
	struct fl_buf raw = {0}, meta = {0};
	for (int i = 0; i < 400000; i++)
		text(&meta, 14, "");
	message(&raw, 1, &meta);
	assert_non_null(strstr(refused("v1", "ConfigMap", &raw), "too many values"));
}

static void envelopes(void **state)
{
	struct fl_json *ret = NULL;
	struct fl_err err = {0};
	struct fl_buf raw = {0};

	assert_int_equal(decode("", 0, &ret, &err), -EINVAL);
	assert_int_equal(decode("{\"a\":1}", 7, &ret, &err), -EINVAL);
	assert_string_equal(err.text,
			    "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]");
	struct fl_buf b = envelope("example.com/v1", "Banana", &raw);
	assert_int_equal(decode(b.data, b.len, &ret, &err), -ENOENT);
	assert_string_equal(err.text, "no kind \"Banana\" is registered for version \"example.com/v1\"");
	fl_buf_deinit(&b);
	b = envelope("v1", "ConfigMap", &raw);
	text(&b, 3, "gzip");
	assert_int_equal(decode(b.data, b.len, &ret, &err), -EINVAL);
	assert_non_null(strstr(err.text, "content encoding"));
	fl_buf_deinit(&b);
	b = envelope("v1", "ConfigMap", &raw);
	text(&b, 4, "application/json");
	assert_int_equal(decode(b.data, b.len, &ret, &err), -EINVAL);
	assert_non_null(strstr(err.text, "not protobuf"));
	fl_buf_deinit(&b);
	assert_int_equal(decode("k8s\0", 4, &ret, NULL), -ENOENT);
	assert_int_equal(decode("k8s\0\x08\x01", 6, &ret, NULL), -EINVAL);
	assert_null(ret);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(recorded_bodies),
	    TEST(damaged_bodies),
	    TEST(times),
	    TEST(times_out_of_range),
	    TEST(delete_options),
	    TEST(scale),
	    TEST(int_or_strings),
	    TEST(raw_json),
	    TEST(endpoint_slice),
	    TEST(maps),
	    TEST(what_comes_twice),
	    TEST(unknown_fields_are_skipped),
	    TEST(bad_bytes),
	    TEST(bounded),
	    TEST(envelopes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
