// SPDX-License-Identifier: Apache-2.0
// What ownership of fields costs a write: the rules of a Service's create and of a small patch, with and without
// metadata.managedFields. One line each: name, microseconds a write, bytes of the stored object.
#include <stdio.h>

#include "api/apply/managed.h"
#include "base/clock.h"

#define ROUNDS 20000

static const char service[] =
    "{\"apiVersion\":\"v1\",\"kind\":\"Service\",\"metadata\":{\"name\":\"web\",\"namespace\":\"default\",\"labels\":{"
    "\"app\":\"web\"}},\"spec\":{\"selector\":{\"app\":\"web\"},\"ports\":[{\"name\":\"http\",\"port\":80,\"protocol\":"
    "\"TCP\",\"targetPort\":8080}]}}";

static struct fl_json *parse(struct fl_arena *a, const char *text, size_t len)
{
	struct fl_json *j = NULL;
	struct fl_err err = {0};

	if (fl_json_parse(a, text, len, NULL, &j, &err) < 0)
		fprintf(stderr, "%s\n", err.text);
	return j;
}

// A write as the API server does it, up to the bytes for the store.
static void write_once(const struct fl_kind *k, struct fl_arena *a, const char *text, size_t len, const char *old_text,
		       size_t old_len, const struct fl_writer *w, struct fl_buf *out)
{
	struct fl_json *obj = parse(a, text, len), *old = old_text ? parse(a, old_text, old_len) : NULL;
	struct fl_causes causes = {.arena = a};
	long rv_at;

	if (!obj || fl_schema_decode(fl_kind_schema(k), a, obj, NULL) < 0)
		return;
	fl_schema_prune(fl_kind_schema(k), obj, NULL, NULL);
	if (w) {
		fl_kind_default(k, a, obj);
		fl_managed_update(k, a, obj, old, w);
	}
	fl_kind_prepare(k, a, obj, old, NULL);
	fl_kind_validate(k, &causes, obj, old, NULL);
	if (w && old)
		fl_managed_keep_times(a, obj, old);
	out->len = 0;
	fl_object_serialize(out, obj, &rv_at);
}

static void measure(const char *name, const char *text, size_t len, const char *old, size_t old_len,
		    const struct fl_writer *w)
{
	const struct fl_kind *k = fl_kind_by_kind(fl_registry_builtin(), "v1", "Service");
	struct fl_arena a = {0};
	struct fl_buf out = {0};
	int64_t start = fl_mono_ns();

	for (int i = 0; i < ROUNDS; i++) {
		write_once(k, &a, text, len, old, old_len, w, &out);
		fl_arena_reset(&a);
	}
	printf("%s %.2f us %zu bytes\n", name, (double)(fl_mono_ns() - start) / ROUNDS / 1000, out.len);
	fl_buf_deinit(&out);
	fl_arena_deinit(&a);
}

int main(void)
{
	const struct fl_kind *k = fl_kind_by_kind(fl_registry_builtin(), "v1", "Service");
	struct fl_writer one = {.manager = "kubectl-create", .now = "2026-11-21T10:00:00Z"}, two = one;
	struct fl_arena a = {0};
	struct fl_buf tracked = {0}, plain = {0}, changed = {0};

	two.manager = "kubectl-patch";
	write_once(k, &a, service, sizeof(service) - 1, NULL, 0, &one, &tracked);
	write_once(k, &a, service, sizeof(service) - 1, NULL, 0, NULL, &plain);
	fl_buf_append(&changed, service, sizeof(service) - 1);
	changed.data[changed.len - 8] = '1'; // another target port
	for (int round = 0; round < 3; round++) {
		measure("create_untracked", service, sizeof(service) - 1, NULL, 0, NULL);
		measure("create_tracked", service, sizeof(service) - 1, NULL, 0, &one);
		measure("update_untracked", changed.data, changed.len, plain.data, plain.len, NULL);
		measure("update_tracked", changed.data, changed.len, tracked.data, tracked.len, &two);
	}
	fl_buf_deinit(&tracked);
	fl_buf_deinit(&plain);
	fl_buf_deinit(&changed);
	fl_arena_deinit(&a);
	return 0;
}
