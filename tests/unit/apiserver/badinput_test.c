// SPDX-License-Identifier: Apache-2.0
// Requests that are wrong in what they say: the answer names the fault in Kubernetes' words, nothing is stored, and a
// second client goes on reading, writing and watching meanwhile. What is wrong below that, as octets, is in
// tests/e2e/badinput.bats and tests/unit/io.
#include <stdio.h>

#include "support.h"

#define SERVICES  "/api/v1/namespaces/default/services"
#define MAPS      "/api/v1/namespaces/default/configmaps"
#define PODS      "/api/v1/namespaces/default/pods"
#define JSON      "application/json"
#define YAML      "application/yaml"
#define PROTO     "application/vnd.kubernetes.protobuf"
#define PATCH     "application/json-patch+json"
#define MERGE     "application/merge-patch+json"
#define STRATEGIC "application/strategic-merge-patch+json"
#define APPLY     "application/apply-patch+yaml"

#define TYPED      "the object provided is unrecognized (must be of type Service): "
#define AS_JSON    TYPED "couldn't get version/kind; json parse error: "
#define AS_YAML    TYPED "couldn't get version/kind; yaml parse error: "
#define AS_PROTO   TYPED "unable to decode protobuf body: "
#define AS_SERVICE "Service in version \"v1\" cannot be handled as a Service: "

struct wrong {
	const char *method, *path, *type, *body;
	int status;
	const char *text; // in the message, or in the causes
	size_t len;       // of a body with NULs; 0: strlen
};
#define BODY(text) .len = sizeof(text) - 1, .body = (text)

// The client beside: what it keeps, what it changes, what its watch sees.
struct beside {
	struct fl_object *treasure;
	struct answer *watch;
	unsigned n;
};

static void begin(struct api *f, struct beside *b)
{
	expect(f, 201,
	       ask_with(f, "POST", MAPS, "{\"metadata\":{\"name\":\"treasure\"},\"data\":{\"gold\":\"much\"}}"));
	expect(f, 201, ask_with(f, "POST", MAPS, "{\"metadata\":{\"name\":\"beside\"},\"data\":{\"n\":\"0\"}}"));
	make_service(f, "x");
	b->n = 0;
	b->treasure = fl_store_get(f->s.store, fl_resource_intern("", "configmaps"), "default", "treasure");
	b->watch =
	    start_watch(f, f->second, MAPS "?watch=1&fieldSelector=metadata.name%3Dbeside&resourceVersion=0", NULL);
}

static struct answer *waited(struct api *f, struct answer *a)
{
	WAIT(f, a->done);
	return a;
}

static void goes_on(struct api *f, struct beside *b)
{
	char body[64], path[] = MAPS "/beside";
	snprintf(body, sizeof(body), "{\"data\":{\"n\":\"%u\"}}", ++b->n);
	struct answer *a = api_send(f, f->second, "PATCH", path, MERGE, NULL, body, strlen(body));
	expect(f, 200, waited(f, a));
	a = expect(f, 200, waited(f, api_send(f, f->second, "GET", path, NULL, NULL, NULL, 0)));
	assert_true(contains(a, strchr(body, 'n') + 2));
	WAIT(f, count_lines(b->watch, "MODIFIED") == b->n);
	struct fl_object *now = fl_store_get(f->s.store, fl_resource_intern("", "configmaps"), "default", "treasure");
	assert_ptr_equal(now, b->treasure); // the same bytes: an object at rest is never changed
	fl_object_put(&now);
}

static void end(struct beside *b)
{
	fl_object_put(&b->treasure);
}

static void is_refused(struct api *f, const struct wrong *w)
{
	uint64_t before = fl_store_revision(f->s.store);
	size_t len = w->len ? w->len : w->body ? strlen(w->body) : 0;
	struct answer *a = waited(f, api_send(f, f->admin, w->method, w->path, w->type, NULL, w->body, len));
	if (a->rc < 0)
		fail_msg("%s %s %.80s: no answer: %s", w->method, w->path, w->body ? w->body : "", a->err.text);
	if (a->status != w->status || !a->json || !strstr(at(a, "message"), w->text))
		fail_msg("%s %s %.300s\n answered %d %.600s\n instead of %d %s", w->method, w->path,
			 w->body ? w->body : "", a->status, a->body.data ? a->body.data : "", w->status, w->text);
	assert_string_equal(at(a, "kind"), "Status");
	assert_string_equal(at(a, "status"), "Failure");
	assert_int_equal(number_at(a, "code"), w->status);
	assert_string_not_equal(at(a, "reason"), w->status == 500 ? "?" : "");
	assert_int_equal(fl_store_revision(f->s.store), before);
}

static void all_are_refused(struct api *f, const struct wrong *w, size_t n)
{
	struct beside b;
	begin(f, &b);
	for (size_t i = 0; i < n; i++) {
		is_refused(f, &w[i]);
		if (i % 8 == 7)
			goes_on(f, &b);
	}
	goes_on(f, &b);
	end(&b);
}

static void malformed_bodies(void **state)
{
	static const struct wrong cases[] = {
	    {"POST", SERVICES, JSON, "{\"kind\":\"Service\"", 400, AS_JSON "unexpected end of JSON input"},
	    {"POST", SERVICES, JSON, "", 400, AS_JSON "unexpected end of JSON input (<empty>)"},
	    {"POST", SERVICES, JSON, "{} x", 400, AS_JSON "invalid character 'x' after top-level value"},
	    {"POST", SERVICES, JSON, "{\"a\":1,}", 400, AS_JSON "invalid character '}'"},
	    {"POST", SERVICES, JSON, "{'a':1}", 400, AS_JSON "invalid character '\\''"},
	    {"POST", SERVICES, JSON, "{\"a\":01}", 400, AS_JSON "invalid character '1' after object key:value pair"},
	    {"POST", SERVICES, JSON, "{\"a\":NaN}", 400, AS_JSON "invalid character 'N'"},
	    {"POST", SERVICES, JSON, "{\"a\":1e400}", 400, AS_JSON "json: cannot unmarshal number 1e400"},
	    {"POST", SERVICES, JSON, "{\"a\":\"\xff\xfe\"}", 400, AS_JSON "invalid UTF-8 in string literal"},
	    {"POST", SERVICES, JSON, "{\"a\":\"\xed\xa0\x80\"}", 400, AS_JSON "invalid UTF-8 in string literal"},
	    {"POST", SERVICES, JSON, BODY("{\"a\":\"b\0c\"}"), 400, AS_JSON "invalid character '\\x00' in string"},
	    {"POST", SERVICES, JSON, "{\"a\":\"\n\"}", 400, AS_JSON "invalid character '\\n' in string literal"},
	    {"POST", SERVICES, JSON, "[]", 400, AS_JSON "json: cannot unmarshal"},
	    {"POST", SERVICES, JSON, "\"text\"", 400, AS_JSON "json: cannot unmarshal"},
	    {"POST", SERVICES, YAML, "a: b: c", 400, AS_YAML "yaml: line 1: mapping values are not allowed"},
	    {"POST", SERVICES, YAML, "a:\n\t- x", 400, AS_YAML "yaml: line 2: found character that cannot start any"},
	    {"POST", SERVICES, YAML, "a: \"x", 400, AS_YAML "yaml: line 1: found unexpected end of stream"},
	    {"POST", SERVICES, YAML, "a: *nobody", 400, AS_YAML "yaml: line 1: unknown anchor 'nobody' referenced"},
	    {"POST", SERVICES, YAML, "a: &a [*a]", 400, AS_YAML "yaml: line 1: anchor 'a' value contains itself"},
	    {"POST", SERVICES, YAML, "a: \xff", 400, AS_YAML "yaml: invalid leading UTF-8 octet"},
	    {"POST", SERVICES, YAML, "- a", 400, TYPED},
	    {"POST", SERVICES, "text/plain", "{}", 415,
	     "the body of the request was in an unknown format - accepted "
	     "media types include: application/json, application/yaml, "
	     "application/vnd.kubernetes.protobuf"},
	    {"POST", SERVICES, "application/xml", "<a/>", 415, "unknown format"},
	    {"POST", SERVICES, PATCH, "[]", 415, "unknown format"},
	    {"POST", SERVICES, "application/jsonx", "{}", 415, "unknown format"},
	    {"POST", SERVICES, JSON, "{\"kind\":\"Pod\",\"apiVersion\":\"v1\"}", 400,
	     "Pod in version \"v1\" cannot be handled as a Service"},
	    {"POST", SERVICES, JSON, "{\"kind\":\"Service\",\"apiVersion\":\"v2\"}", 400,
	     "no kind \"Service\" is registered for version \"v2\""},
	    {"POST", SERVICES, JSON, "{\"kind\":\"Nothing\",\"apiVersion\":\"v1\"}", 400,
	     "no kind \"Nothing\" is registered"},
	};
	all_are_refused(*state, cases, FL_COUNT(cases));
}

#define SPEC(text) "{\"metadata\":{\"name\":\"y\"},\"spec\":" text "}"
#define META(text) "{\"metadata\":" text ",\"spec\":{\"ports\":[{\"port\":80}]}}"

static void wrong_types_and_values(void **state)
{
	static const struct wrong cases[] = {
	    {"POST", SERVICES, JSON, SPEC("{\"ports\":[{\"port\":\"80\"}]}"), 400,
	     AS_SERVICE "json: cannot unmarshal string into Go struct field ServicePort.spec.ports.port of type int32"},
	    {"POST", SERVICES, JSON, SPEC("{\"ports\":{}}"), 400,
	     AS_SERVICE "json: cannot unmarshal object into Go struct field ServiceSpec.spec.ports of type "},
	    {"POST", SERVICES, JSON, SPEC("[]"), 400,
	     AS_SERVICE "json: cannot unmarshal array into Go struct field Service.spec of type v1.ServiceSpec"},
	    {"POST", SERVICES, JSON, SPEC("{\"ports\":[{\"port\":80.5}]}"), 400,
	     "cannot unmarshal number 80.5 into Go struct field ServicePort.spec.ports.port of type int32"},
	    {"POST", SERVICES, JSON, SPEC("{\"ports\":[{\"port\":4294967376}]}"), 400,
	     "cannot unmarshal number 4294967376"},
	    {"POST", SERVICES, JSON, SPEC("{\"ports\":[{\"port\":99999999999999999999}]}"), 400,
	     "cannot unmarshal number"},
	    {"POST", SERVICES, JSON, SPEC("{\"ports\":[{\"port\":true}]}"), 400, "cannot unmarshal bool"},
	    {"POST", SERVICES, JSON, SPEC("{\"publishNotReadyAddresses\":\"yes\"}"), 400, "of type bool"},
	    {"POST", SERVICES, JSON, SPEC("{\"ports\":[{\"port\":-1}]}"), 422,
	     "spec.ports[0].port: Invalid value: -1: must be between 1 and 65535, inclusive"},
	    {"POST", SERVICES, JSON, SPEC("{\"ports\":[{\"port\":65536}]}"), 422,
	     "spec.ports[0].port: Invalid value: 65536"},
	    {"POST", SERVICES, JSON, META("{\"name\":\"y\",\"labels\":{\"a\":1}}"), 400,
	     AS_SERVICE "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.labels of type string"},
	    {"POST", SERVICES, JSON, META("{\"name\":7}"), 400, "cannot unmarshal number"},
	    {"POST", SERVICES, JSON, META("{\"name\":\"x\\u0000y\"}"), 422,
	     "metadata.name: Invalid value: \"x\\u0000y\": must not contain the character U+0000"},
	    {"POST", SERVICES, YAML, "metadata: {name: \"x\\0y\"}\nspec: {ports: [{port: 80}]}\n", 422,
	     "metadata.name: Invalid value: \"x\\u0000y\""},
	    {"POST", SERVICES, PROTO,
	     BODY("k8s\0\x0a\x0d\x0a\x02v1\x12\x07Service\x12\x0d\x0a\x05\x0a\x03x\0y\x12\x04\x0a\x02\x18\x50"), 422,
	     "metadata.name: Invalid value: \"x\\u0000y\""},
	    {"PUT", SERVICES "/x", JSON, META("{\"name\":\"x\\u0000y\"}"), 422, "metadata.name: Invalid value"},
	    {"POST", SERVICES, JSON, META("{\"generateName\":\"x\\u0000y\"}"), 422,
	     "metadata.generateName: Invalid value"},
	    {"POST", SERVICES, JSON, META("{\"name\":\"y\",\"labels\":{\"a\":\"b\\u0000c\"}}"), 422,
	     "metadata.labels.a: Invalid value: \"b\\u0000c\""},
	    {"POST", SERVICES, JSON, META("{\"name\":\"y\",\"labels\":{\"a\\u0000b\":\"c\"}}"), 422,
	     "metadata.labels: Invalid value: \"a\\u0000b\""},
	    {"POST", SERVICES, JSON, SPEC("{\"selector\":{\"a\":\"b\\u0000\"},\"ports\":[{\"port\":80}]}"), 422,
	     "spec.selector.a: Invalid value"},
	    {"POST", SERVICES, JSON, SPEC("{\"externalName\":\"a.b\\u0000.c\",\"type\":\"ExternalName\"}"), 422,
	     "spec.externalName: Invalid value"},
	    {"POST", MAPS, JSON, "{\"metadata\":{\"name\":\"y\"},\"data\":{\"a\\u0000b\":\"c\"}}", 422,
	     "data: Invalid value"},
	    {"PATCH", SERVICES "/x", MERGE, "{\"metadata\":{\"labels\":{\"a\":\"b\\u0000\"}}}", 422,
	     "metadata.labels.a"},
	    {"POST", SERVICES, JSON, META("{\"name\":\"y\",\"namespace\":\"kube-system\"}"), 400,
	     "the namespace of the provided object does not match the namespace sent on the request"},
	    {"POST", "/api/v1/namespaces/nowhere/services", JSON, META("{\"name\":\"y\"}"), 404,
	     "namespaces \"nowhere\" not found"},
	    {"POST", SERVICES, JSON, META("{}"), 422, "name or generateName is required"},
	    {"POST", SERVICES, JSON, META("{\"name\":\"UPPER\"}"), 422, "metadata.name: Invalid value: \"UPPER\""},
	    {"POST", SERVICES, JSON, META("{\"name\":\"..\"}"), 422, "metadata.name: Invalid value: \"..\""},
	    {"POST", SERVICES, JSON, META("{\"name\":\"y\",\"resourceVersion\":\"7\"}"), 400,
	     "resourceVersion should not be set on objects to be created"},
	};
	all_are_refused(*state, cases, FL_COUNT(cases));
	// What is data may hold any character.
	struct answer *a = expect((struct api *)*state, 201,
				  ask_with(*state, "POST", MAPS "?dryRun=All",
					   "{\"metadata\":{\"name\":\"y\",\"annotations\":{\"a\":\"b\\u0000c\"}},"
					   "\"data\":{\"k\":\"v\\u0000w\"}}"));
	assert_true(contains(a, "v\\u0000w") && contains(a, "b\\u0000c"));
}

static void malformed_protobuf(void **state)
{
#define HEAD "k8s\0\x0a\x0d\x0a\x02v1\x12\x07Service"
	static const struct wrong cases[] = {
	    {"POST", SERVICES, PROTO, "", 400, "expected prefix [107 56 115 0]"},
	    {"POST", SERVICES, PROTO, "k8", 400, TYPED "provided data does not appear to be a protobuf message"},
	    {"POST", SERVICES, PROTO, "{}", 400, "provided data does not appear to be a protobuf message"},
	    {"POST", SERVICES, PROTO, BODY("k8s\0"), 400, "no kind \"\" is registered"},
	    {"POST", SERVICES, PROTO, BODY("k8s\0\x0a"), 400, AS_PROTO "the envelope is cut short"},
	    {"POST", SERVICES, PROTO, BODY("k8s\0\x0a\x7fv1"), 400, AS_PROTO "the envelope is cut short"},
	    {"POST", SERVICES, PROTO, BODY("k8s\0\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01x"), 400, AS_PROTO},
	    {"POST", SERVICES, PROTO, BODY("k8s\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), 400, AS_PROTO},
	    {"POST", SERVICES, PROTO, BODY(HEAD "\x12\x05\x0a\x7f\x0a\x01y"), 400, AS_PROTO "a message is cut short"},
	    {"POST", SERVICES, PROTO, BODY(HEAD "\x12\x02\x13\x14"), 400, AS_PROTO}, // a group
	    {"POST", SERVICES, PROTO, BODY(HEAD "\x12\x02\x16\x01"), 400, AS_PROTO}, // wire type 6
	    {"POST", SERVICES, PROTO, BODY(HEAD "\x12\x02\x9f\x06"), 400, AS_PROTO}, // wire type 7
	    {"POST", SERVICES, PROTO, BODY(HEAD "\x12\x02\x00\x01"), 400, AS_PROTO}, // field 0
	    {"POST", SERVICES, PROTO, BODY(HEAD "\x12\x02\x08\x05"), 400, AS_PROTO "a field has the wrong wire type"},
	    {"POST", SERVICES, PROTO, BODY(HEAD "\x12\x07\x0a\x05\x0a\x03x\xff\x79"), 400,
	     AS_PROTO "a string is not valid UTF-8"},
	    {"POST", SERVICES, PROTO, BODY("k8s\0\x0a\x09\x0a\x02v1\x12\x03Pod\x12\x00"), 400,
	     "Pod in version \"v1\" cannot be handled as a Service"},
	    {"POST", SERVICES, PROTO, BODY("k8s\0\x0a\x0a\x0a\x02v1\x12\x04Nope\x12\x00"), 400,
	     "no kind \"Nope\" is registered for version \"v1\""},
	    {"POST", SERVICES, PROTO, BODY(HEAD "\x12\x00\x1a\x04gzip"), 400, "the content encoding is not supported"},
	    {"PATCH", SERVICES "/x", PROTO, BODY(HEAD "\x12\x00"), 415, "415: Unsupported Media Type"},
	};
	all_are_refused(*state, cases, FL_COUNT(cases));
}

// fieldValidation: 400 with all findings, warnings, or silence.
static void unknown_and_duplicate_fields(void **state)
{
	struct api *f = *state;
	static const char body[] =
	    "{\"kind\":\"Service\",\"metadata\":{\"name\":\"y\",\"foo\":1},\"spec\":{\"bogus\":{},"
	    "\"ports\":[{\"port\":80,\"port\":81,\"nope\":2}]}}";
	static const char warning[] = "299 - \"duplicate field \\\"spec.ports[0].port\\\"\"";
	struct answer *a = expect(f, 400, ask_with(f, "POST", SERVICES "?fieldValidation=Strict", "%s", body));
	assert_string_equal(at(a, "message"),
			    AS_SERVICE "strict decoding error: duplicate field \"spec.ports[0].port\", unknown field "
				       "\"metadata.foo\", unknown field \"spec.bogus\", unknown field "
				       "\"spec.ports[0].nope\"");
	a = expect(f, 201, ask_with(f, "POST", SERVICES "?dryRun=All&fieldValidation=Warn", "%s", body));
	assert_non_null(strstr(a->warning, warning));
	assert_int_equal(number_at(a, "spec.ports[0].port"), 81);                    // the last one counts
	a = expect(f, 201, ask_with(f, "POST", SERVICES "?dryRun=All", "%s", body)); // Warn, too
	assert_non_null(strstr(a->warning, warning));
	a = expect(f, 201, ask_with(f, "POST", SERVICES "?dryRun=All&fieldValidation=Ignore", "%s", body));
	assert_string_equal(a->warning, "");
	a = expect(f, 422, ask_with(f, "POST", SERVICES "?fieldValidation=Loud", "%s", body));
	assert_string_equal(at(a, "message"),
			    "CreateOptions.meta.k8s.io \"\" is invalid: fieldValidation: Unsupported value: "
			    "\"Loud\": supported values: \"\", \"Ignore\", \"Strict\", \"Warn\"");
	make_service(f, "x");
	a = expect(f, 422, patch_with(f, "merge", SERVICES "/x?fieldValidation=Strict", "{\"spec\":{\"bogus\":1}}"));
	assert_string_equal(at(a, "message"),
			    " \"\" is invalid: patch: Invalid value: \"{\\\"spec\\\":{\\\"bogus\\\":1}}\": "
			    "strict decoding error: unknown field \"spec.bogus\"");
	assert_string_equal(at(a, "details.causes[0].field"), "patch");
	expect(f, 422, patch_with(f, "strategic", SERVICES "/x?fieldValidation=Strict", "{\"spec\":{\"bogus\":1}}"));
	expect(f, 422,
	       patch_with(f, "json", SERVICES "/x?fieldValidation=Strict",
			  "[{\"op\":\"add\",\"path\":\"/spec/bogus\",\"value\":1}]"));
	a = expect(f, 200, patch_with(f, "merge", SERVICES "/x", "{\"spec\":{\"bogus\":1}}"));
	assert_string_equal(a->warning, "299 - \"unknown field \\\"spec.bogus\\\"\"");
}

static char *repeat(const char *before, const char *unit, size_t n, const char *after)
{
	struct fl_buf b = {0};
	fl_buf_puts(&b, before);
	for (size_t i = 0; i < n; i++)
		fl_buf_puts(&b, unit);
	fl_buf_puts(&b, after);
	return fl_buf_take(&b);
}

static void refused_body(struct api *f, const char *method, const char *path, const char *type, char *body, int status,
			 const char *text)
{
	is_refused(f, &(struct wrong){method, path, type, body, status, text});
	free(body);
}

static void too_deep_and_too_large(void **state)
{
	struct api *f = *state;
	struct beside b;
	begin(f, &b);
	static const char deep[] = "exceeded max depth";
	refused_body(f, "POST", SERVICES, JSON, repeat("{\"spec\":", "[", 10000, ""), 400, deep);
	refused_body(f, "POST", SERVICES, JSON, repeat("", "{\"a\":", 10000, ""), 400, deep);
	refused_body(f, "POST", SERVICES, YAML, repeat("", "[", 10000, ""), 400, deep);
	refused_body(f, "POST", SERVICES, YAML, repeat("", "{a: ", 10000, ""), 400, deep);
	refused_body(f, "POST", SERVICES, YAML, repeat("", "- ", 10000, "a"), 400, deep);
	goes_on(f, &b);
	static const char *const patches[] = {PATCH, MERGE, STRATEGIC, APPLY};
	for (size_t i = 0; i < FL_COUNT(patches); i++)
		refused_body(f, "PATCH", SERVICES "/x?fieldManager=m", patches[i], repeat("", "{\"a\":", 10000, ""),
			     400, deep);
	goes_on(f, &b);
	// Nine of what was nine of ...: twelve lines, 9^12 values.
	AUTO(fl_buf_deinit) struct fl_buf bomb = {0};
	fl_buf_puts(&bomb, "a0: &a0 [x,x,x,x,x,x,x,x,x]\n");
	for (int i = 1; i < 12; i++) {
		fl_buf_printf(&bomb, "a%d: &a%d [", i, i);
		for (int k = 0; k < 9; k++)
			fl_buf_printf(&bomb, "%s*a%d", k ? "," : "", i - 1);
		fl_buf_puts(&bomb, "]\n");
	}
	is_refused(f, &(struct wrong){"POST", SERVICES, YAML, bomb.data, 400, "document contains excessive aliasing"});
	is_refused(f,
		   &(struct wrong){"PATCH", SERVICES "/x?fieldManager=m", APPLY, bomb.data, 400, "excessive aliasing"});
	goes_on(f, &b);
	static const char too_large[] = "Request entity too large: limit is 3145728";
	refused_body(f, "POST", MAPS, JSON, repeat("{\"data\":{\"a\":\"", "0123456789abcdef", 200000, "\"}}"), 413,
		     too_large);
	refused_body(f, "POST", MAPS, JSON,
		     repeat("{\"metadata\":{\"name\":\"y\"},\"data\":{\"a\":\"", "0123456789abcdef", 65537, "\"}}"),
		     422, "ConfigMap \"y\" is invalid: []: Too long: may not be more than 1048576 bytes");
	refused_body(
	    f, "POST", PODS, JSON,
	    repeat(
		"{\"metadata\":{\"name\":\"y\"},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\",\"args\":[\"",
		"0123456789abcdef", 110000, "\"]}]}}"),
	    413, "pods \"y\" is too large: ");
	refused_body(
	    f, "POST", SERVICES, JSON,
	    repeat("{\"metadata\":{\"name\":\"y\",\"annotations\":{\"a\":\"", "0123456789abcdef", 16385, "\"}}}"), 422,
	    "metadata.annotations: Too long: may not be more than 262144 bytes");
	refused_body(f, "POST", SERVICES, JSON, repeat("{\"metadata\":{\"name\":\"", "y", 300, "\"}}"), 422,
		     "metadata.name: Invalid value");
	refused_body(f, "POST", SERVICES, JSON,
		     repeat("{\"metadata\":{\"name\":\"y\",\"labels\":{\"", "k", 64, "\":\"v\"}}}"), 422,
		     "name part must be no more than 63 characters");
	refused_body(f, "POST", SERVICES, JSON,
		     repeat("{\"metadata\":{\"name\":\"y\",\"labels\":{\"k\":\"", "v", 64, "\"}}}"), 422,
		     "must be no more than 63 characters");
	goes_on(f, &b);
	refused_body(f, "PATCH", SERVICES "/x", PATCH,
		     repeat("[", "{\"op\":\"test\",\"path\":\"/kind\",\"value\":\"Service\"},", 10000, "{}]"), 413,
		     "The allowed maximum operations in a JSON patch is 10000, got 10001");
	refused_body(f, "PATCH", SERVICES "/x", PATCH,
		     repeat("[{\"op\":\"add\",\"path\":\"/spec/a\",\"value\":[\"bomb\"]}",
			    ",{\"op\":\"copy\",\"from\":\"/spec/a\",\"path\":\"/spec/a/-\"}", 60, "]"),
		     422, "the server rejected our request due to an error in our request");
	AUTO_FREE char *path = repeat(SERVICES "?labelSelector=", "(", 5000, "");
	is_refused(f, &(struct wrong){"GET", path, NULL, NULL, 400, "found '('"});
	goes_on(f, &b);
	end(&b);
}

static void wrong_patches(void **state)
{
	static const char rejected[] = "the server rejected our request due to an error in our request";
	static const struct wrong cases[] = {
	    {"PATCH", SERVICES "/x", PATCH, "", 400, "error decoding patch: unexpected end of JSON input"},
	    {"PATCH", SERVICES "/x", PATCH, "{}", 400, "error decoding patch: json: cannot unmarshal"},
	    {"PATCH", SERVICES "/x", PATCH, "[1]", 400, "error decoding patch"},
	    {"PATCH", SERVICES "/x", PATCH, "[{\"op\":\"eat\"}]", 422, rejected},
	    {"PATCH", SERVICES "/x", PATCH, "[{\"op\":\"test\",\"path\":\"/kind\",\"value\":\"Pod\"}]", 422, rejected},
	    {"PATCH", SERVICES "/x", PATCH, "[{\"op\":\"remove\",\"path\":\"/spec/nothing\"}]", 422, rejected},
	    {"PATCH", SERVICES "/x", PATCH, "[{\"op\":\"add\",\"path\":\"spec\",\"value\":1}]", 422, rejected},
	    {"PATCH", SERVICES "/x", PATCH, "[{\"op\":\"add\",\"path\":\"/spec/type\"}]", 422, rejected},
	    {"PATCH", SERVICES "/x", PATCH, "[{\"op\":\"add\",\"path\":\"/spec/ports/7\",\"value\":{}}]", 422,
	     rejected},
	    {"PATCH", SERVICES "/x", PATCH, "[{\"op\":\"replace\",\"path\":\"\",\"value\":1}]", 422,
	     " \"\" is invalid: patch: Invalid value: "},
	    {"PATCH", SERVICES "/x", MERGE, "[]", 400, "error decoding patch: json: cannot unmarshal"},
	    {"PATCH", SERVICES "/x", MERGE, "nonsense", 400, "error decoding patch: invalid character"},
	    {"PATCH", SERVICES "/x", MERGE, "{\"metadata\":1}", 422,
	     " \"\" is invalid: patch: Invalid value: \"{\\\"metadata\\\":1}\": json: cannot unmarshal number"},
	    {"PATCH", SERVICES "/x", MERGE, "{\"kind\":\"Pod\"}", 422, "converting (v1.Pod) to (v1.Service)"},
	    {"PATCH", SERVICES "/x", MERGE, "{\"metadata\":{\"name\":\"z\"}}", 400,
	     "the name of the object (z) does not match the name on the URL (x)"},
	    {"PATCH", SERVICES "/x", MERGE, "{\"metadata\":{\"resourceVersion\":\"1\"}}", 409,
	     "Operation cannot be fulfilled on services \"x\": the object has been modified; please apply your changes "
	     "to the "
	     "latest version and try again"},
	    {"PATCH", SERVICES "/x", MERGE, "{\"metadata\":{\"uid\":\"z\"}}", 409,
	     "Precondition failed: UID in precondition: z"},
	    {"PATCH", SERVICES "/x", MERGE, "{\"spec\":{\"clusterIP\":\"10.96.5.5\"}}", 422,
	     "spec.clusterIPs[0]: Invalid value: [\"10.96.5.5\"]: may not change once set"},
	    {"PATCH", SERVICES "/x", STRATEGIC, "{\"spec\":{\"ports\":[{\"$patch\":\"eat\",\"port\":80}]}}", 400,
	     "unknown patch type: \"eat\""},
	    {"PATCH", SERVICES "/x", STRATEGIC, "{\"spec\":{\"ports\":[{\"name\":\"a\"}]}}", 400,
	     "does not contain declared merge key: port"},
	    {"PATCH", SERVICES "/x", STRATEGIC, "{\"spec\":{\"$retainKeys\":1}}", 400,
	     "invalid patch format of retainKeys"},
	    {"PATCH", SERVICES "/x?fieldManager=m", APPLY, "{", 400, "error decoding YAML"},
	    {"PATCH", SERVICES "/x?fieldManager=m", APPLY, "[]", 400, "error decoding YAML"},
	    {"PATCH", SERVICES "/x?fieldManager=m", APPLY, "{}", 400, "Incorrect version specified in apply patch"},
	    {"PATCH", SERVICES "/x", APPLY, "{\"apiVersion\":\"v1\",\"kind\":\"Service\"}", 422,
	     "fieldManager: Required value: is required for apply patch"},
	    {"PATCH", SERVICES "/x?fieldManager=m", APPLY,
	     "{\"apiVersion\":\"v1\",\"kind\":\"Service\",\"metadata\":{\"name\":\"x\",\"managedFields\":[{}]}}", 400,
	     "metadata.managedFields must be nil"},
	    {"PATCH", SERVICES "/x", JSON, "{}", 415, "415: Unsupported Media Type"},
	    {"PATCH", SERVICES "/nobody", MERGE, "{}", 404, "services \"nobody\" not found"},
	    {"PATCH", SERVICES "/x?force=true", MERGE, "{}", 422,
	     "force: Forbidden: may not be specified for non-apply patch"},
	};
	all_are_refused(*state, cases, FL_COUNT(cases));
}

static void wrong_queries_and_paths(void **state)
{
	static const struct wrong cases[] = {
	    {"GET", SERVICES "?limit=abc", NULL, NULL, 400, "strconv.ParseInt: parsing \"abc\": invalid syntax"},
	    {"GET", SERVICES "?limit=99999999999999999999", NULL, NULL, 400, "value out of range"},
	    {"GET", SERVICES "?limit=%201", NULL, NULL, 400, "strconv.ParseInt: parsing \" 1\": invalid syntax"},
	    {"GET", SERVICES "?timeoutSeconds=x", NULL, NULL, 400, "strconv.ParseInt: parsing \"x\": invalid syntax"},
	    {"GET", SERVICES "?watch=1&timeoutSeconds=x", NULL, NULL, 400, "strconv.ParseInt: parsing \"x\""},
	    {"GET", SERVICES "?resourceVersion=-1", NULL, NULL, 400,
	     "invalid resource version: resourceVersion: Invalid value: \"-1\": strconv.ParseUint: parsing \"-1\": "
	     "invalid syntax"},
	    {"GET", SERVICES "?watch=1&resourceVersion=abc", NULL, NULL, 400, "strconv.ParseUint: parsing \"abc\""},
	    {"GET", SERVICES "?resourceVersion=99999999", NULL, NULL, 504,
	     "Too large resource version: 99999999, current: "},
	    {"GET", SERVICES "?limit=1&continue=garbage", NULL, NULL, 400, "continue key is not valid"},
	    {"GET", SERVICES "?continue=eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6LTUsInN0YXJ0IjoiYS9iIn0", NULL, NULL, 400,
	     "continue key is not valid"},
	    {"GET", SERVICES "?resourceVersionMatch=Some&resourceVersion=1", NULL, NULL, 422,
	     "resourceVersionMatch: Unsupported value: \"Some\""},
	    {"GET", SERVICES "?sendInitialEvents=true", NULL, NULL, 422, "sendInitialEvents is forbidden for list"},
	    {"GET", SERVICES "?fieldSelector=spec.foo%3Dbar", NULL, NULL, 400, "field label not supported: spec.foo"},
	    {"GET", SERVICES "?fieldSelector=garbage", NULL, NULL, 400, "can't understand 'garbage'"},
	    {"GET", SERVICES "?labelSelector=a+in+(", NULL, NULL, 400, "unable to parse requirement"},
	    {"GET", SERVICES "?labelSelector=%21%21", NULL, NULL, 400, "found '!', expected: identifier"},
	    {"GET", SERVICES "?labelSelector=a%00b", NULL, NULL, 400, "does not decode"},
	    {"GET", SERVICES "?labelSelector=%zz", NULL, NULL, 400, "does not decode"},
	    {"GET", SERVICES "/x%00y", NULL, NULL, 400, "does not decode"},
	    {"GET", SERVICES "/..%2f..%2fsecrets", NULL, NULL, 404, "services \"../../secrets\" not found"},
	    {"GET", SERVICES "/%252e", NULL, NULL, 404, "services \"%2e\" not found"},
	    {"PUT", SERVICES "/a%2fb", JSON, META("{\"name\":\"a/b\"}"), 422, "metadata.name: Invalid value: \"a/b\""},
	    {"GET", PODS "/..%2f..%2fx/log?container=..%2f..", NULL, NULL, 404, "pods \"../../x\" not found"},
	    {"GET", "/api/v1/nothings", NULL, NULL, 404, "the server could not find the requested resource"},
	    {"POST", SERVICES "?dryRun=Some", JSON, META("{\"name\":\"y\"}"), 422,
	     "dryRun: Unsupported value: [\"Some\"]: supported values: \"All\""},
	    {"POST", SERVICES "?fieldManager=a%01b", JSON, META("{\"name\":\"y\"}"), 422,
	     "should only contain printable"},
	    {"DELETE", SERVICES "/x?propagationPolicy=Never", NULL, NULL, 422,
	     "propagationPolicy: Unsupported value: \"Never\""},
	    {"DELETE", SERVICES "/x?gracePeriodSeconds=x", NULL, NULL, 400,
	     "strconv.ParseInt: parsing \"x\": invalid syntax"},
	    {"DELETE", SERVICES "/x?dryRun=Some", NULL, NULL, 422, "dryRun: Unsupported value"},
	    {"DELETE", SERVICES "/x", JSON, "{\"kind\":", 400, "(must be of type DeleteOptions)"},
	    {"DELETE", SERVICES "/x", JSON, "{\"preconditions\":{\"uid\":\"z\"}}", 409,
	     "the UID in the precondition (z) does not match the UID in record"},
	    {"DELETE", SERVICES "/x", JSON, "{\"preconditions\":{\"resourceVersion\":\"1\"}}", 409,
	     "the ResourceVersion in the precondition (1) does not match the ResourceVersion in record"},
	    {"DELETE", SERVICES "/x", JSON, "{\"gracePeriodSeconds\":\"x\"}", 400, "cannot unmarshal string"},
	    {"PUT", SERVICES, JSON, "{}", 405, "the server does not allow this method on the requested resource"},
	    {"POST", SERVICES "/x", JSON, "{}", 405, "the server does not allow this method"},
	    {"PUT", SERVICES "/x", JSON, META("{\"name\":\"x\",\"resourceVersion\":\"1\"}"), 409,
	     "the object has been modified"},
	};
	all_are_refused(*state, cases, FL_COUNT(cases));
	struct api *f = *state;
	struct answer *a = expect(f, 406, ask_as(f, "GET", SERVICES, "text/html"));
	assert_true(contains(a, "Not Acceptable"));
	a = expect(f, 400,
		   ask_as(f, "GET", SERVICES "?includeObject=Some", "application/json;as=Table;v=v1;g=meta.k8s.io"));
	assert_string_equal(at(a, "message"),
			    "Unable to convert to Table as requested: includeObject: Invalid value: \"Some\": must "
			    "be 'Metadata', 'Object', 'None', or empty");
	expect(f, 200, ask(f, "GET", SERVICES "?limit=-1"));
}

// Times that no clock can tell do no harm: a pod is deleted in the longest time that there is.
static void endless_times(void **state)
{
	struct api *f = *state;
	expect(f, 201,
	       ask_with(f, "POST", PODS,
			"{\"metadata\":{\"name\":\"p\"},\"spec\":{\"nodeName\":\"n\",\"terminationGracePeriodSeconds\":"
			"9223372036854775807,\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}"));
	struct answer *a = expect(f, 200, ask(f, "DELETE", PODS "/p"));
	assert_true(strcmp(at(a, "metadata.deletionTimestamp"), "2100") > 0);
	a = expect(f, 200, ask(f, "DELETE", PODS "/p?gracePeriodSeconds=-9223372036854775808"));
	assert_int_equal(number_at(a, "metadata.deletionGracePeriodSeconds"), 1);
}

static void addresses_and_ports_run_out(void **state)
{
	struct api f;
	struct beside b;
	api_start(&f, &(struct api_config){.cidr = "10.96.0.0/27", .port_low = 30000, .port_high = 30003});
	begin(&f, &b);
	struct answer *a = NULL;
	unsigned n = 0;
	for (; n < 40; n++) {
		a = ask_with(&f, "POST", SERVICES,
			     "{\"metadata\":{\"name\":\"s%u\"},\"spec\":{\"ports\":[{\"port\":80}]}}", n);
		if (a->status != 201)
			break;
	}
	assert_int_equal(n, 28); // 30 addresses, of which `kubernetes` and `x` have one each
	expect(&f, 500, a);
	assert_string_equal(at(a, "message"), "Internal error occurred: failed to allocate a serviceIP: range is full");
	goes_on(&f, &b);
	expect(&f, 200, ask(&f, "DELETE", SERVICES "/s0"));
	expect(&f, 201,
	       ask_with(&f, "POST", SERVICES, "{\"metadata\":{\"name\":\"s0\"},\"spec\":{\"ports\":[{\"port\":80}]}}"));
	a = expect(
	    &f, 422,
	    ask_with(
		&f, "POST", SERVICES,
		"{\"metadata\":{\"name\":\"t\"},\"spec\":{\"clusterIP\":\"10.96.0.1\",\"ports\":[{\"port\":80}]}}"));
	assert_true(contains(a, "failed to allocate IP 10.96.0.1: provided IP is already allocated"));
	for (n = 1; n < 9; n++) {
		char path[64];
		snprintf(path, sizeof(path), SERVICES "/s%u", n);
		a = patch_with(&f, "merge", path, "{\"spec\":{\"type\":\"NodePort\"}}");
		if (a->status != 200)
			break;
	}
	assert_int_equal(n, 5);
	expect(&f, 500, a);
	assert_string_equal(at(a, "message"), "Internal error occurred: failed to allocate a nodePort: range is full");
	a = expect(&f, 422,
		   patch_with(&f, "merge", SERVICES "/s9",
			      "{\"spec\":{\"type\":\"NodePort\",\"ports\":[{\"port\":80,\"nodePort\":30001}]}}"));
	assert_true(contains(a, "spec.ports[0].nodePort: Invalid value: 30001: provided port is already allocated"));
	a = expect(&f, 422,
		   patch_with(&f, "merge", SERVICES "/s9",
			      "{\"spec\":{\"type\":\"NodePort\",\"ports\":[{\"port\":80,\"nodePort\":80}]}}"));
	assert_true(contains(a, "provided port is not in the valid range. The range of valid ports is 30000-30003"));
	expect(&f, 200, patch_with(&f, "merge", SERVICES "/s1", "{\"spec\":{\"type\":\"ClusterIP\"}}"));
	expect(&f, 200, patch_with(&f, "merge", SERVICES "/s9", "{\"spec\":{\"type\":\"NodePort\"}}"));
	goes_on(&f, &b);
	end(&b);
	api_end(&f);
}

#define T(name) cmocka_unit_test_setup_teardown(name, api_setup, api_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    T(malformed_bodies),
	    T(wrong_types_and_values),
	    T(malformed_protobuf),
	    T(unknown_and_duplicate_fields),
	    T(too_deep_and_too_large),
	    T(wrong_patches),
	    T(wrong_queries_and_paths),
	    T(endless_times),
	    cmocka_unit_test(addresses_and_ports_run_out),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
