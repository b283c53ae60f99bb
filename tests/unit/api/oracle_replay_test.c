// SPDX-License-Identifier: Apache-2.0
// Recorded writes of a real kube-apiserver (tests/golden/oracle/http) replayed against the rules of the kinds: decode,
// prune, defaults, precheck, validation; without HTTP and with allocators that hand out what was recorded. A refusal
// must be the recorded Status, an accepted object the recorded one.
#include "api/apply/managed.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "api/strategic.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/str.h"
#include "json/patch.h"

#define FOLDER "tests/golden/oracle/http/"
#define NOW    "2026-11-21T09:00:00Z"

// In the order in which they were recorded, so that an object is known before it is changed.
static const char *const files[] = {
    "namespace.jsonl", "service-defaults.jsonl", "service-validation.jsonl", "write.jsonl",  "type-changes.jsonl",
    "endpoints.jsonl", "workloads.jsonl",        "identity.jsonl",           "delete.jsonl",
};

// What is decided before or after these rules, by handler, admission, allocator or store.
static const char *const elsewhere[] = {
    "nodePort out of range", "nodePort taken", "clusterIP taken", "clusterIP out of range",
    "many wrong at once",    "no name",        "wrong kind",      "wrong version",
    "namespace mismatch",    "name mismatch",  "uid mismatch",    "stale update",
    "create again",          "bad dryRun",     "generateName",
};

struct world {
	struct fl_arena arena;
	struct fl_map objects; // path of an object -> its recorded state
	const struct fl_registry *registry;
	struct fl_writer writer;
	unsigned replayed, failed;
};

static bool is_elsewhere(const char *name)
{
	for (size_t i = 0; i < FL_COUNT(elsewhere); i++)
		if (fl_streq(elsewhere[i], name))
			return true;
	return false;
}

static char *read_file(const char *path, size_t *ret_len)
{
	FILE *f = fopen(path, "re");
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	char chunk[65536];
	size_t n;

	if (!f)
		fail_msg("cannot open %s: tests run from the root of the checkout", path);
	while ((n = fread(chunk, 1, sizeof(chunk), f)) > 0)
		fl_buf_append(&b, chunk, n);
	fclose(f);
	*ret_len = b.len;
	return fl_buf_take(&b);
}

// Masked values back into valid ones.
static void unmask(struct fl_arena *a, struct fl_json *j)
{
	fl_json_each (c, j) {
		const char *s = fl_json_string(c);
		const char *real = fl_streq(s, "TIME") ? NOW : fl_streq(s, "RV") ? "1" : NULL;

		if (real) {
			c->str.s = real;
			c->str.len = (uint32_t)strlen(real);
		}
		unmask(a, c);
	}
}

// "/api/v1/namespaces/ns/services/x/status?query" in parts.
struct target {
	const struct fl_kind *kind;
	const char *ns, *name, *subresource;
};

static struct target parse_path(struct world *w, const char *path)
{
	struct target t = {.ns = "", .name = "", .subresource = ""};
	char *copy = fl_arena_strndup(&w->arena, path, strcspn(path, "?")), *save = NULL;
	const char *parts[10] = {NULL};
	unsigned n = 0, i = 1;
	const char *group = "";

	for (char *p = strtok_r(copy, "/", &save); p && n < 9; p = strtok_r(NULL, "/", &save))
		parts[n++] = p;
	if (n < 2)
		return t;
	if (fl_streq(parts[0], "apis"))
		group = parts[i++];
	if (fl_streq(parts[i + 1], "namespaces") && parts[i + 3]) {
		t.ns = parts[i + 2];
		i += 2;
	}
	if (parts[i + 1])
		t.kind = fl_kind_find(w->registry, group, fl_streq(parts[0], "apis") ? parts[2] : "v1", parts[i + 1]);
	if (parts[i + 2])
		t.name = parts[i + 2];
	if (parts[i + 2] && parts[i + 3])
		t.subresource = parts[i + 3];
	return t;
}

static const char *key_of(struct world *w, const struct target *t, const char *name)
{
	return fl_arena_printf(&w->arena, "%s|%s|%s", t->kind->resource, t->ns, name);
}

// Allocators that hand out what was recorded.
static void allocate(struct fl_arena *a, struct fl_json *obj, const struct fl_json *recorded)
{
	static const char *const keys[] = {"clusterIP", "clusterIPs", "healthCheckNodePort"};
	struct fl_json *spec = fl_json_get(obj, "spec");
	const struct fl_json *from = fl_json_get(recorded, "spec");
	size_t i = 0;

	for (size_t k = 0; k < FL_COUNT(keys); k++)
		if (!fl_json_get(spec, keys[k]) && fl_json_get(from, keys[k]))
			fl_json_set(a, spec, keys[k], fl_json_clone(a, fl_json_get(from, keys[k])));
	fl_json_each (p, fl_json_get(spec, "ports")) {
		const struct fl_json *node_port =
		    fl_json_get(fl_json_index(fl_json_get(from, "ports"), i++), "nodePort");

		if (!fl_json_get(p, "nodePort") && node_port)
			fl_json_set(a, p, "nodePort", fl_json_clone(a, node_port));
	}
}

static void keep_system_metadata(struct fl_arena *a, struct fl_json *obj, const struct fl_json *old)
{
	static const char *const keys[] = {"namespace",  "uid",          "creationTimestamp", "deletionTimestamp",
					   "generation", "generateName", "resourceVersion"};
	struct fl_json *meta = fl_json_ensure_object(a, obj, "metadata");
	const struct fl_json *old_meta = fl_json_get(old, "metadata");

	for (size_t i = 0; i < FL_COUNT(keys); i++)
		fl_json_set(a, meta, keys[i], fl_json_clone(a, fl_json_get(old_meta, keys[i])));
}

static struct fl_json *comparable(struct fl_arena *a, const struct fl_json *obj)
{
	static const char *const keys[] = {"uid", "resourceVersion", "creationTimestamp", "generation"};
	struct fl_json *copy = fl_json_clone(a, obj), *meta = fl_json_get(copy, "metadata");

	for (size_t i = 0; i < FL_COUNT(keys); i++)
		if (meta)
			fl_json_remove(meta, keys[i]);
	// The time of an entry that a write left alone is that of a write before.
	fl_json_each (e, fl_json_get(meta, "managedFields"))
		fl_json_set_str(a, e, "time", NOW);
	return copy;
}

static const char *text_of(struct fl_arena *a, const struct fl_json *j)
{
	AUTO(fl_buf_deinit) struct fl_buf b = {0};

	fl_json_write_pretty(&b, j, 1);
	return fl_arena_strndup(a, b.data, b.len);
}

// Says what differs and goes on: one run shows all.
__attribute__((format(printf, 2, 3))) static void differs(struct world *w, const char *fmt, ...)
{
	va_list ap;

	w->failed++;
	va_start(ap, fmt);
	vprint_error(fmt, ap);
	va_end(ap);
	print_error("\n");
}

static void expect_refusal(struct world *w, const struct target *t, const char *name, const struct fl_json *want,
			   const char *object, const struct fl_causes *causes)
{
	struct fl_arena *a = &w->arena;
	struct fl_status s = fl_status_invalid(a, t->kind->group, t->kind->kind, object, causes);
	const struct fl_json *got = fl_status_tree(a, &s);

	// Kubernetes follows this one with a diff of Go structs, we with the names of the fields.
	if (fl_streq(name, "pod immutable")) {
		const char *x = fl_json_str(got, "message"), *y = fl_json_str(want, "message");
		size_t n = strcspn(y, "\n");

		if (strncmp(x, y, n + 1) != 0)
			differs(w, "%s: refused with %s", name, x);
		return;
	}
	if (!fl_json_equal(got, want))
		differs(w, "%s: refused with\n%s\nbut recorded is\n%s", name, text_of(a, got), text_of(a, want));
}

static void expect_object(struct world *w, const char *name, const struct fl_json *want, const struct fl_json *obj,
			  const struct fl_causes *causes)
{
	struct fl_arena *a = &w->arena;
	const struct fl_json *x = comparable(a, obj), *y = comparable(a, want);

	if (causes->n)
		differs(w, "%s: refused with %s: %s", name, causes->v[0].field, causes->v[0].message);
	if (!fl_json_equal(x, y))
		differs(w, "%s: became\n%s\nbut recorded is\n%s", name, text_of(a, x), text_of(a, y));
}

static void expect_bad_request(struct world *w, const struct target *t, const char *name, const struct fl_json *want,
			       const struct fl_err *err)
{
	const char *text = fl_arena_printf(&w->arena, "%s in version \"%s\" cannot be handled as a %s: %s",
					   t->kind->kind, t->kind->version, t->kind->kind, err->text);

	if (!fl_streq(fl_json_str(want, "message"), text))
		differs(w, "%s: refused with %s\nbut recorded is %s", name, text, fl_json_str(want, "message"));
}

static void on_unknown(void *arg, const char *path)
{
	(void)path;
	++*(unsigned *)arg;
}

static void run(struct world *w, const struct target *t, const char *name, const struct fl_json *x,
		struct fl_json *body, const struct fl_json *old, bool applied)
{
	struct fl_arena *a = &w->arena;
	const struct fl_json *want = fl_json_get(x, "body");
	struct fl_causes causes = {.arena = a};
	int64_t status = fl_json_int(x, "status", 0);
	struct fl_json *meta;
	struct fl_err err = {0};
	unsigned unknown = 0;

	if (fl_schema_decode(fl_kind_schema(t->kind), a, body, &err) < 0) {
		expect_bad_request(w, t, name, want, &err);
		return;
	}
	fl_schema_prune(fl_kind_schema(t->kind), body, on_unknown, &unknown);
	meta = fl_json_ensure_object(a, body, "metadata");
	if (old) {
		keep_system_metadata(a, body, old);
	} else {
		fl_json_set_str(a, meta, "namespace", *t->ns ? t->ns : NULL);
		fl_json_set_str(a, body, "kind", t->kind->kind);
		fl_json_set_str(a, body, "apiVersion", t->kind->api_version);
	}
	if (!applied) {
		fl_kind_default(t->kind, a, body);
		fl_managed_update(t->kind, a, body, old, &w->writer);
	}
	fl_kind_prepare(t->kind, a, body, old, t->subresource);
	fl_kind_precheck(t->kind, &causes, body, old, t->subresource);
	if (!causes.n) {
		if (fl_streq(t->kind->resource, "services"))
			allocate(a, body, want);
		fl_kind_validate(t->kind, &causes, body, old, t->subresource);
	}
	if (status == 422)
		expect_refusal(w, t, name, want, fl_json_str_or(meta, "name", ""), &causes);
	else if (status == 400)
		differs(w, "%s: was accepted by the decoder", name);
	else
		expect_object(w, name, want, body, &causes);
}

static bool patched(struct world *w, const struct target *t, const char *type, const struct fl_json *old,
		    struct fl_json *patch, struct fl_json **ret)
{
	struct fl_json *clone = fl_json_clone(&w->arena, old);

	if (fl_streq(type, "application/merge-patch+json")) {
		*ret = fl_json_merge_patch(&w->arena, clone, patch);
		return true;
	}
	if (fl_streq(type, "application/strategic-merge-patch+json"))
		return fl_strategic_merge(&w->arena, fl_kind_schema(t->kind), clone, patch, ret, NULL) == 0;
	return fl_json_patch(&w->arena, clone, patch, ret, NULL) == 0;
}

static const char *param(struct world *w, const char *path, const char *key)
{
	const char *at = strstr(path, key);

	return at ? fl_arena_strndup(&w->arena, at + strlen(key), strcspn(at + strlen(key), "&")) : NULL;
}

static void apply(struct world *w, const struct target *t, const struct fl_json *x, const struct fl_json *patch,
		  const struct fl_json *old)
{
	struct fl_arena *a = &w->arena;
	const char *name = fl_json_str_or(x, "case", ""), *path = fl_json_str(fl_json_get(x, "request"), "path");
	const char *manager = param(w, path, "fieldManager="), *force = param(w, path, "force=");
	struct fl_causes causes = {.arena = a};
	struct fl_status refusal;
	struct fl_json *obj;

	fl_managed_validate_options(&causes, manager, force, true);
	if (causes.n) {
		refusal = fl_status_invalid(a, "meta.k8s.io", "PatchOptions", "", &causes);
	} else {
		w->writer.manager = manager;
		if (fl_managed_apply(t->kind, a, patch, old, &w->writer, force, &obj, &causes, &refusal)) {
			run(w, t, name, x, obj, old, true);
			return;
		}
	}
	if (!fl_json_equal(fl_status_tree(a, &refusal), fl_json_get(x, "body")))
		differs(w, "%s: refused with\n%s", name, text_of(a, fl_status_tree(a, &refusal)));
}

// False: not a write that these rules decide.
static bool replay(struct world *w, const struct fl_json *x)
{
	const struct fl_json *request = fl_json_get(x, "request");
	const char *name = fl_json_str_or(x, "case", ""), *method = fl_json_str_or(request, "method", "");
	const char *type = fl_json_str_or(request, "contentType", "application/json");
	int64_t status = fl_json_int(x, "status", 0);
	struct fl_json *body = fl_json_get(request, "body"), *old = NULL;
	struct target t = parse_path(w, fl_json_str_or(request, "path", ""));

	if (!t.kind || t.kind->is_virtual || is_elsewhere(name) || !body || body->type < FL_JSON_ARRAY)
		return false;
	if ((status != 200 && status != 201 && status != 422 && status != 400 && status != 409) ||
	    strstr(fl_json_str_or(fl_json_get(x, "body"), "message", ""), "strict decoding"))
		return false;
	if (*t.subresource && !fl_streq(t.subresource, "status"))
		return false;
	if (*t.name)
		old = fl_map_get(&w->objects, key_of(w, &t, t.name));
	if (!fl_streq(method, "PATCH") && !fl_streq(method, "POST") && !(fl_streq(method, "PUT") && old))
		return false;
	w->writer = (struct fl_writer){.manager = "oracle", .subresource = t.subresource, .now = NOW};
	if (fl_streq(type, "application/apply-patch+yaml")) {
		apply(w, &t, x, body, old);
		return true;
	}
	body = fl_json_clone(&w->arena, body);
	if (fl_streq(method, "PATCH") && (!old || !patched(w, &t, type, old, body, &body)))
		return false;
	run(w, &t, name, x, body, old, false);
	return true;
}

static void remember(struct world *w, const struct fl_json *x)
{
	const char *path = fl_json_str_or(fl_json_get(x, "request"), "path", "");
	struct target t = parse_path(w, path);
	struct fl_json *body = fl_json_get(x, "body");
	const char *name = fl_json_str(fl_json_get(body, "metadata"), "name");

	if (t.kind && name && fl_streq(fl_json_str(body, "kind"), t.kind->kind) && !strstr(path, "dryRun"))
		fl_map_set(&w->objects, key_of(w, &t, name), body);
}

static void replay_file(struct world *w, const char *file)
{
	AUTO_FREE char *path = fl_asprintf(FOLDER "%s", file);
	AUTO_FREE char *text = NULL;
	size_t len;
	unsigned n = 0;

	text = read_file(path, &len);
	for (char *line = text; *line;) {
		size_t length = strcspn(line, "\n");
		struct fl_json *x;
		struct fl_err err = {0};

		if (fl_json_parse(&w->arena, line, length, NULL, &x, &err) < 0)
			fail_msg("%s: %s", file, err.text);
		unmask(&w->arena, x);
		n += replay(w, x);
		remember(w, x);
		line += length + (line[length] == '\n');
	}
	print_message("%s: %u writes replayed\n", file, n);
	w->replayed += n;
}

static void test_recorded_writes(void **state)
{
	struct world w = {.registry = fl_registry_builtin()};

	(void)state;
	for (size_t i = 0; i < FL_COUNT(files); i++)
		replay_file(&w, files[i]);
	assert_int_equal(w.failed, 0);
	assert_true(w.replayed > 110);
	fl_map_deinit(&w.objects);
	fl_arena_deinit(&w.arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_recorded_writes)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
