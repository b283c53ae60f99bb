// SPDX-License-Identifier: Apache-2.0
// How fast the store is on this disk: durable writes one by one and in groups, a day's churn of updates with
// compaction, reopening, lists, watches from the past, backup and restore. Every figure is of acknowledged, synced
// writes.
//
//   store_bench [directory]      default: a new one under $TMPDIR or /var/tmp, removed at the end
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"
#include "store/backup.h"
#include "store/store.h"

static uv_loop_t loop;
static struct fl_store *store;
static const char *dir;
static const char *services;

static void die(const char *what, const struct fl_err *err)
{
	fprintf(stderr, "%s: %s\n", what, err->text);
	exit(1);
}

// A Service as kubectl creates it, some 900 bytes, with room for the revision.
static void service(struct fl_buf *b, int i, long *ret_rv_at)
{
	b->len = 0;
	fl_buf_printf(b,
		      "{\"kind\":\"Service\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"service-%06d\","
		      "\"namespace\":\"default\","
		      "\"uid\":\"7f3a1c52-3b7e-4a53-9d0e-%012d\",\"resourceVersion\":\"",
		      i, i);
	*ret_rv_at = (long)b->len;
	fl_buf_printf(
	    b,
	    "\",\"creationTimestamp\":\"2025-01-01T00:00:00Z\",\"labels\":{\"app\":\"web-%d\",\"tier\":\"front\"},"
	    "\"managedFields\":[{\"manager\":\"kubectl-create\",\"operation\":\"Update\",\"apiVersion\":\"v1\","
	    "\"time\":\"2025-01-01T00:00:00Z\",\"fieldsType\":\"FieldsV1\",\"fieldsV1\":{\"f:metadata\":{\"f:labels\":"
	    "{\".\":{},\"f:app\":{},\"f:tier\":{}}},\"f:spec\":{\"f:internalTrafficPolicy\":{},\"f:ports\":{},"
	    "\"f:selector\":{},\"f:sessionAffinity\":{},\"f:type\":{}}}}]},\"spec\":{\"ports\":[{\"name\":\"http\","
	    "\"protocol\":\"TCP\",\"port\":80,\"targetPort\":8080}],\"selector\":{\"app\":\"web-%d\"},"
	    "\"clusterIP\":\"10.96.%d.%d\",\"clusterIPs\":[\"10.96.%d.%d\"],\"type\":\"ClusterIP\","
	    "\"sessionAffinity\":\"None\",\"ipFamilies\":[\"IPv4\"],\"ipFamilyPolicy\":\"SingleStack\","
	    "\"internalTrafficPolicy\":\"Cluster\"},\"status\":{\"loadBalancer\":{}}}",
	    i, i, i / 250 % 256, i % 250, i / 250 % 256, i % 250);
}

static void open_store(void)
{
	struct fl_store_opts opts = {.path = dir};
	struct fl_err err = {0};
	if (fl_store_open(&loop, &opts, &store, &err) < 0)
		die("open", &err);
}

static void close_store(void)
{
	fl_store_close(&store);
	uv_run(&loop, UV_RUN_DEFAULT);
}

// ---- writes

static struct {
	enum fl_store_verb verb;
	int next, end, keys; // object i % keys
	uint64_t *ns;        // latency of each
	uint64_t *begun;
	int done;
} job;

static void submit(void);

static void on_done(void *arg, int rc, struct fl_object *obj, const struct fl_err *err)
{
	int i = (int)(intptr_t)arg;
	if (rc < 0)
		die("write", err);
	job.ns[job.done++] = fl_mono_ns() - job.begun[i];
	submit();
}

static void submit(void)
{
	static struct fl_buf b;
	if (job.next == job.end)
		return;
	int i = job.next++, key = i % job.keys;
	char name[32];
	snprintf(name, sizeof(name), "service-%06d", key);
	struct fl_store_write w = {
	    .verb = job.verb, .resource = services, .ns = "default", .name = name, .uid = "7f3a1c52-3b7e-4a53-9d0e-0"};
	service(&b, key, &w.rv_at);
	w.value = b.data;
	w.len = b.len;
	job.begun[i] = fl_mono_ns();
	struct fl_err err;
	if (fl_store_submit(store, &w, on_done, (void *)(intptr_t)i, &err) < 0)
		die("submit", &err);
}

static int cmp(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return (x > y) - (x < y);
}

// `writers` writes are always under way: each acknowledgement brings the next one.
static void writes(const char *what, enum fl_store_verb verb, int n, int keys, int writers)
{
	job.verb = verb;
	job.next = 0;
	job.end = n;
	job.keys = keys;
	job.done = 0;
	job.ns = fl_calloc((size_t)n, sizeof(*job.ns));
	job.begun = fl_calloc((size_t)n, sizeof(*job.begun));
	struct fl_store_stats was, now;
	fl_store_get_stats(store, &was);
	uint64_t t0 = fl_mono_ns();
	for (int i = 0; i < writers; i++)
		submit();
	uv_run(&loop, UV_RUN_DEFAULT);
	double s = (double)(fl_mono_ns() - t0) / 1e9;
	fl_store_get_stats(store, &now);
	qsort(job.ns, (size_t)n, sizeof(*job.ns), cmp);
	printf("%-28s %4d writers: %8.0f/s  p50 %6.0f us  p99 %6.0f us  max %6.1f ms  %5.1f a sync  file %.1f MB\n",
	       what, writers, n / s, (double)job.ns[n / 2] / 1e3, (double)job.ns[n / 100 * 99] / 1e3,
	       (double)job.ns[n - 1] / 1e6, n / (double)(now.commits - was.commits), (double)now.file_bytes / 1e6);
	fflush(stdout);
	free(job.ns);
	free(job.begun);
}

// ---- reads

static bool count_visit(void *arg, struct fl_object *obj)
{
	(*(size_t *)arg)++;
	return true;
}

static void lists(int n)
{
	size_t seen = 0;
	uint64_t t0 = fl_mono_ns();
	fl_store_list(store, services, NULL, NULL, NULL, count_visit, &seen);
	uint64_t t1 = fl_mono_ns();
	struct fl_err err;
	uint64_t rv = fl_store_revision(store);
	size_t at = 0, old = 0;
	if (fl_store_list_at(store, rv - 1000, services, NULL, NULL, NULL, count_visit, &at, &err) < 0)
		die("list at", &err);
	uint64_t t2 = fl_mono_ns();
	uint64_t deep = rv - 20000 > fl_store_compacted(store) ? rv - 20000 : fl_store_compacted(store);
	if (fl_store_list_at(store, deep, services, NULL, NULL, NULL, count_visit, &old, &err) < 0)
		die("list from the log", &err);
	uint64_t t3 = fl_mono_ns();
	printf("list of %zu: %.2f ms; 1,000 revisions ago (%zu, memory): %.2f ms; %" PRIu64
	       " ago (%zu, log): %.1f ms\n",
	       seen, (double)(t1 - t0) / 1e6, at, (double)(t2 - t1) / 1e6, rv - deep, old, (double)(t3 - t2) / 1e6);
}

static size_t events;
static uint64_t last_event;

static void on_event(void *arg, struct fl_store_event *e)
{
	events++;
	last_event = e->rv;
}

static void on_end(void *arg, int rc)
{
}

static void replay(void)
{
	uint64_t from = fl_store_compacted(store);
	struct fl_store_watch_opts o = {.resource = services, .from_rv = from, .on_event = on_event, .on_end = on_end};
	struct fl_store_watch *w;
	struct fl_err err;
	events = 0;
	uint64_t t0 = fl_mono_ns();
	if (fl_store_watch_open(store, &o, &w, &err) < 0)
		die("watch", &err);
	while (last_event < fl_store_revision(store))
		uv_run(&loop, UV_RUN_ONCE);
	double ms = (double)(fl_mono_ns() - t0) / 1e6;
	fl_store_watch_close(&w);
	printf("watch from the log: %zu events in %.0f ms\n", events, ms);
}

static void no_report(void *arg, const char *line)
{
}

// With the store open for the backup, closed for the others.
static void backups(void)
{
	struct fl_store_copied c;
	struct fl_err err;
	AUTO_FREE char *file = fl_asprintf("%s/backup", dir);
	uint64_t t0 = fl_mono_ns();
	if (fl_store_backup(dir, file, &c, &err) < 0)
		die("backup", &err);
	uint64_t t1 = fl_mono_ns();
	printf("backup of %" PRIu64 " objects: %.0f ms, %.1f MB\n", c.objects, (double)(t1 - t0) / 1e6,
	       (double)c.bytes / 1e6);
	close_store();
	t0 = fl_mono_ns();
	if (fl_store_repair(dir, no_report, NULL, &c, &err) != 0)
		die("check", &err);
	t1 = fl_mono_ns();
	if (fl_store_restore(dir, file, &c, &err) < 0)
		die("restore", &err);
	printf("whole check: %.0f ms; restore: %.0f ms\n", (double)(t1 - t0) / 1e6, (double)(fl_mono_ns() - t1) / 1e6);
}

static void remove_dir(void)
{
	DIR *d = opendir(dir);
	for (struct dirent *e; d && (e = readdir(d));) {
		AUTO_FREE char *path = fl_asprintf("%s/%s", dir, e->d_name);
		unlink(path);
	}
	if (d)
		closedir(d);
	rmdir(dir);
}

static double memory_mb(void)
{
	struct mallinfo2 m = mallinfo2();
	return (double)(m.uordblks + m.hblkhd) / 1e6;
}

int main(int argc, char **argv)
{
	char path[256];
	const char *tmp = getenv("TMPDIR");
	snprintf(path, sizeof(path), "%s/fairlead-store-bench-XXXXXX", tmp ? tmp : "/var/tmp");
	dir = argc > 1 ? argv[1] : mkdtemp(path);
	if (!dir) {
		perror(path);
		return 1;
	}
	uv_loop_init(&loop);
	services = fl_resource_intern("", "services");
	open_store();
	double before = memory_mb();
	writes("create", FL_STORE_CREATE, 10000, 10000, 16);
	printf("memory of 10,000 Services and their events: %.1f MB\n", memory_mb() - before);
	close_store();

	before = memory_mb();
	uint64_t t0 = fl_mono_ns();
	open_store();
	double ms = (double)(fl_mono_ns() - t0) / 1e6;
	printf("open with 10,000 objects: %.1f ms, %.1f MB\n", ms, memory_mb() - before);

	writes("update", FL_STORE_UPDATE, 5000, 10000, 1);
	writes("update", FL_STORE_UPDATE, 30000, 10000, 4);
	writes("update", FL_STORE_UPDATE, 50000, 10000, 16);
	writes("update, log compacting", FL_STORE_UPDATE, 300000, 10000, 16);
	writes("update, log compacting", FL_STORE_UPDATE, 300000, 10000, 64);
	writes("update, log compacting", FL_STORE_UPDATE, 300000, 10000, 256);
	lists(10000);
	replay();
	struct fl_store_stats st;
	fl_store_get_stats(store, &st);
	close_store();
	before = memory_mb();
	t0 = fl_mono_ns();
	open_store();
	printf("open with 10,000 objects and %" PRIu64 " rows of history: %.1f ms\n", st.log_rows - st.objects,
	       (double)(fl_mono_ns() - t0) / 1e6);
	backups();
	open_store();
	writes("delete", FL_STORE_DELETE, 10000, 10000, 16);
	close_store();
	uv_loop_close(&loop);
	if (argc <= 1)
		remove_dir();
	return 0;
}
