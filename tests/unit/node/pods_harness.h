// SPDX-License-Identifier: Apache-2.0
// A node without an API server, for tests: its own network namespace, a data directory under /tmp named after the pid,
// and an API that keeps the last status of each pod and the events in memory. Needs root and an OCI runtime.
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/vec.h"
#include "node/embed.h"
#include "node/node.h"
#include "node/podnet.h"
#include "node/pods.h"
#include "node/runtime.h"

#define HARNESS_WAIT_MS 60000 // until a condition is given up; nothing is measured against it

struct answer { // given in a later turn of the loop, as the API promises
	uv_timer_t timer;
	fl_pods_done done;
	void *arg;
	int rc;
	char *body;
};

struct harness {
	char *dir;
	struct fl_node_paths paths;
	struct fl_runtime runtime;
	uv_loop_t loop;
	struct fl_pods *pods;
	struct fl_map statuses; // uid -> char * (JSON)
	struct fl_map deleted;  // uid -> itself
	struct fl_map objects;  // "c/ns/name" -> char * (JSON)
	struct fl_map followed; // "c/ns/name" -> number of pods
	struct fl_map services; // "ns/name" -> struct fl_object
	bool services_unknown;
	struct fl_buf events; // "pod reason: message\n"
	unsigned writes;
};

static inline void answer_closed(uv_handle_t *handle)
{
	struct answer *a = handle->data;

	free(a->body);
	free(a);
}

static inline void answer_give(uv_timer_t *timer)
{
	struct answer *a = timer->data;
	struct fl_arena arena = {0};
	struct fl_json *body = NULL;

	if (a->body)
		assert_int_equal(fl_json_parse(&arena, a->body, strlen(a->body), NULL, &body, NULL), 0);
	a->done(a->arg, a->rc, body);
	fl_arena_deinit(&arena);
	uv_close((uv_handle_t *)timer, answer_closed);
}

static inline void answer_later(struct harness *h, fl_pods_done done, void *arg, int rc, const char *body)
{
	struct answer *a = FL_NEW(struct answer);

	*a = (struct answer){.done = done, .arg = arg, .rc = rc, .body = body ? fl_strdup(body) : NULL};
	uv_timer_init(&h->loop, &a->timer);
	a->timer.data = a;
	uv_timer_start(&a->timer, answer_give, 0, 0);
}

static inline void h_write_status(void *arg, const struct fl_object *pod, const struct fl_json *status,
				  fl_pods_done done, void *done_arg)
{
	struct harness *h = arg;
	struct fl_buf b = {0};

	fl_json_write(&b, status);
	free(fl_map_set(&h->statuses, pod->uid, fl_buf_take(&b)));
	h->writes++;
	answer_later(h, done, done_arg, 0, NULL);
}

static inline void h_delete_pod(void *arg, const struct fl_object *pod, fl_pods_done done, void *done_arg)
{
	struct harness *h = arg;

	fl_map_set(&h->deleted, pod->uid, h);
	answer_later(h, done, done_arg, 0, NULL);
}

static inline void h_fetch(void *arg, bool secret, const char *ns, const char *name, fl_pods_done done, void *done_arg)
{
	struct harness *h = arg;
	AUTO_FREE char *key = fl_asprintf("%c/%s/%s", secret ? 's' : 'c', ns, name);
	const char *body = fl_map_get(&h->objects, key);

	answer_later(h, done, done_arg, body ? 0 : -ENOENT, body);
}

static inline void h_follow(void *arg, bool secret, const char *ns, const char *name, bool on)
{
	struct harness *h = arg;
	AUTO_FREE char *key = fl_asprintf("%c/%s/%s", secret ? 's' : 'c', ns, name);
	uintptr_t users = (uintptr_t)fl_map_get(&h->followed, key);

	if (on)
		fl_map_set(&h->followed, key, (void *)(users + 1));
	else if (users > 1)
		fl_map_set(&h->followed, key, (void *)(users - 1));
	else
		assert_non_null(fl_map_del(&h->followed, key));
}

static inline void h_event(void *arg, const struct fl_object *pod, const char *type, const char *reason,
			   const char *text)
{
	struct harness *h = arg;

	fl_buf_printf(&h->events, "%s %s: %s\n", pod->name, reason, text);
}

static inline bool h_services_known(void *arg)
{
	struct harness *h = arg;

	return !h->services_unknown;
}

static inline void h_services(void *arg, const char *ns, bool (*visit)(void *arg, const struct fl_object *service),
			      void *visit_arg)
{
	struct harness *h = arg;

	for (struct fl_map_iter it = {0}; fl_map_next(&h->services, &it);) {
		const struct fl_object *o = it.value;

		if (strcmp(o->ns, ns) == 0 && !visit(visit_arg, o))
			return;
	}
}

static const struct fl_pods_api harness_api = {.write_status = h_write_status,
					       .delete_pod = h_delete_pod,
					       .fetch = h_fetch,
					       .follow = h_follow,
					       .event = h_event,
					       .services_known = h_services_known,
					       .services = h_services};

// The node's start, also a second time on the same data.
static inline void harness_node_start(struct harness *h)
{
	struct fl_err err = {0};
	struct fl_pods_opts o = {
	    .loop = &h->loop,
	    .paths = &h->paths,
	    .runtime = h->runtime.program,
	    .runtime_name = h->runtime.name,
	    .cluster_domain = "cluster.local",
	    .n_node_ips = 1,
	    .n_dns_ips = 1,
	    .n_pod_cidrs = 1,
	    .node_cpu_milli = 2000,
	    .node_memory = 1ll << 30,
	    .api = &harness_api,
	    .api_arg = h,
	};

	fl_ip_parse("192.0.2.1", &o.node_ips[0]);
	fl_ip_parse("10.96.0.10", &o.dns_ips[0]);
	fl_ip_parse("10.96.0.1", &o.kubernetes_ip);
	fl_cidr_parse("10.244.0.0/24", &o.pod_cidrs[0], false);
	assert_int_equal(uv_loop_init(&h->loop), 0);
	assert_int_equal(fl_pods_new(&o, &h->pods, &err), 0);
}

static inline void harness_node_stop(struct harness *h)
{
	fl_pods_free(&h->pods);
	uv_run(&h->loop, UV_RUN_DEFAULT);
	if (uv_loop_close(&h->loop) != 0) {
		uv_print_all_handles(&h->loop, stderr);
		fail_msg("the loop has open handles");
	}
}

static struct harness *harness_left; // of a test that failed half way

static inline struct harness *harness_new(const char *test)
{
	struct harness *h = FL_NEW(struct harness);
	struct fl_podnet_host host = {.n_cidrs = 1};
	struct fl_embedded shim = fl_embedded_shim();
	char *rootfs = NULL;
	struct fl_err err = {0};

	h->dir = fl_asprintf("/tmp/fairlead-%s-%d", test, (int)getpid());
	harness_left = h;
	assert_int_equal(fl_node_paths_init(&h->paths, h->dir, true, &err), 0);
	assert_int_equal(fl_node_paths_check_boot(&h->paths, &err), 0);
	fl_cidr_parse("10.244.0.0/24", &host.cidrs[0], false);
	if (fl_podnet_host_setup(&h->paths, &host, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(fl_file_write(h->paths.shim, shim.data, shim.len, 0755, &err), 0);
	assert_int_equal(fl_image_embedded(&h->paths, &rootfs, &err), 0);
	assert_int_equal(fl_runtime_find(&h->paths, NULL, rootfs, &h->runtime, &err), 0);
	free(rootfs);
	harness_node_start(h);
	return h;
}

static inline void map_free_values(struct fl_map *m)
{
	for (struct fl_map_iter it = {0}; fl_map_next(m, &it);)
		free(it.value);
	fl_map_deinit(m);
}

static inline void harness_free(struct harness *h)
{
	struct fl_node_opts o = {.data_dir = h->dir};
	struct fl_err err = {0};

	if (h->pods)
		harness_node_stop(h);
	if (fl_node_cleanup(&o, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(fl_file_remove_all(h->dir, &err), 0);
	map_free_values(&h->statuses);
	map_free_values(&h->objects);
	fl_map_deinit(&h->followed);
	fl_map_deinit(&h->deleted);
	for (struct fl_map_iter it = {0}; fl_map_next(&h->services, &it);) {
		struct fl_object *service = it.value;

		fl_object_put(&service);
	}
	fl_map_deinit(&h->services);
	fl_buf_deinit(&h->events);
	fl_runtime_deinit(&h->runtime);
	fl_node_paths_deinit(&h->paths);
	free(h->dir);
	free(h);
	harness_left = NULL;
}

// After each test: containers and files of one that failed.
static inline int harness_teardown(void **state)
{
	struct fl_node_opts o = {.data_dir = harness_left ? harness_left->dir : NULL};
	int rc = 0;

	if (harness_left)
		rc = fl_node_cleanup(&o, NULL) < 0 || fl_file_remove_all(o.data_dir, NULL) < 0;
	harness_left = NULL;
	return rc;
}

static inline struct fl_object *harness_object(const char *plural, const char *json)
{
	struct fl_object *o = NULL;
	struct fl_err err = {0};

	if (fl_object_parse(fl_resource_intern("", plural), json, strlen(json), &o, &err) < 0)
		fail_msg("%s", err.text);
	return o;
}

static inline void harness_set(struct harness *h, const char *json)
{
	struct fl_object *o = harness_object("pods", json);

	fl_pods_set(h->pods, o);
	fl_object_put(&o);
}

static inline void harness_service(struct harness *h, const char *ns, const char *name, const char *ip, int port)
{
	AUTO_FREE char *key = fl_asprintf("%s/%s", ns, name);
	AUTO_FREE char *json =
	    fl_asprintf("{\"kind\":\"Service\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"%s\",\"namespace\":\"%"
			"s\",\"uid\":\"%s\","
			"\"resourceVersion\":\"1\"},\"spec\":{\"clusterIP\":\"%s\",\"ports\":[{\"port\":%d}]}}",
			name, ns, name, ip, port);
	struct fl_object *old = fl_map_set(&h->services, key, harness_object("services", json));

	fl_object_put(&old);
}

// Makes or changes a ConfigMap or Secret ("c/ns/name") and tells the node of it.
static inline void harness_object_put(struct harness *h, const char *key, const char *data, uint64_t rv)
{
	const char *ns = key + 2, *slash = strchr(ns, '/');
	AUTO_FREE char *only_ns = fl_strndup(ns, (size_t)(slash - ns));

	free(fl_map_set(&h->objects, key,
			fl_asprintf("{\"metadata\":{\"name\":\"%s\",\"resourceVersion\":\"%llu\"},\"data\":%s}",
				    slash + 1, (unsigned long long)rv, data)));
	fl_pods_changed(h->pods, key[0] == 's', only_ns, slash + 1, rv);
}

// Text at a dotted path of a pod's last status: "containerStatuses.0.state.running.startedAt". "" when absent; lives
// until the next call.
static inline const char *status_at(struct harness *h, const char *uid, const char *path)
{
	static struct fl_arena a;
	static struct fl_buf b;
	const char *text = fl_map_get(&h->statuses, uid);
	struct fl_json *j = NULL;
	char *save = NULL, *copy;

	fl_arena_reset(&a);
	b.len = 0;
	if (!text || fl_json_parse(&a, text, strlen(text), NULL, &j, NULL) < 0)
		return "";
	copy = fl_arena_strdup(&a, path);
	for (char *key = strtok_r(copy, ".", &save); key; key = strtok_r(NULL, ".", &save)) {
		if (fl_json_is(j, FL_JSON_ARRAY)) {
			struct fl_json *found = fl_json_index(j, (size_t)atoi(key));

			fl_json_each (e, j) { // or by type or name
				if (fl_streq(fl_json_str(e, "type"), key) || fl_streq(fl_json_str(e, "name"), key))
					found = e;
			}
			j = found;
		} else {
			j = fl_json_get(j, key);
		}
	}
	if (!j)
		return "";
	if (fl_json_string(j))
		return fl_json_string(j);
	fl_json_write(&b, j);
	return b.data;
}

static inline void harness_tick(uv_timer_t *timer)
{
}

// Runs the loop until `condition(h, arg)` holds.
static inline bool harness_wait(struct harness *h, bool (*condition)(struct harness *h, const void *arg),
				const void *arg)
{
	uint64_t until = fl_mono_ms() + HARNESS_WAIT_MS;
	uv_timer_t tick;
	bool ok;

	uv_timer_init(&h->loop, &tick);
	uv_timer_start(&tick, harness_tick, 5, 5);
	while (!(ok = condition(h, arg)) && fl_mono_ms() < until)
		uv_run(&h->loop, UV_RUN_ONCE);
	uv_close((uv_handle_t *)&tick, NULL);
	uv_run(&h->loop, UV_RUN_NOWAIT);
	return ok;
}

struct expectation {
	const char *uid, *path, *value; // value NULL: anything but ""
};

static inline bool as_expected(struct harness *h, const void *arg)
{
	const struct expectation *e = arg;
	const char *now = status_at(h, e->uid, e->path);

	return e->value ? strcmp(now, e->value) == 0 : *now != '\0';
}

static inline void expect_status(struct harness *h, const char *uid, const char *path, const char *value)
{
	struct expectation e = {uid, path, value};

	if (harness_wait(h, as_expected, &e))
		return;
	print_error("events:\n%sstatus: %s\n", h->events.data ? h->events.data : "", // cmocka cuts long messages
		    (const char *)fl_map_get(&h->statuses, uid));
	fail_msg("%s of pod %s is \"%s\", not \"%s\"", path, uid, status_at(h, uid, path),
		 value ? value : "(anything)");
}

static inline bool is_deleted(struct harness *h, const void *uid)
{
	return fl_map_get(&h->deleted, uid) != NULL;
}

static inline bool count_is(struct harness *h, const void *n)
{
	return fl_pods_count(h->pods) == *(const size_t *)n;
}

// Standard output of a command run by a shell in this network namespace, without the last newline. free()
static inline char *run_shell(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static inline char *run_shell(const char *fmt, ...)
{
	struct fl_buf b = {0};
	char chunk[4096];
	va_list ap;
	FILE *f;
	size_t n;

	va_start(ap, fmt);
	fl_buf_vprintf(&b, fmt, ap);
	va_end(ap);
	f = popen(b.data, "r");
	assert_non_null(f);
	b.len = 0;
	while ((n = fread(chunk, 1, sizeof(chunk), f)) > 0)
		fl_buf_append(&b, chunk, n);
	pclose(f);
	if (b.len && b.data[b.len - 1] == '\n')
		b.data[--b.len] = '\0';
	return b.len ? fl_buf_take(&b) : (fl_buf_deinit(&b), fl_strdup(""));
}
