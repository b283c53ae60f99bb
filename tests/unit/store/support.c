// SPDX-License-Identifier: Apache-2.0
#include "support.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"

void bed_init(struct bed *b)
{
	const char *tmp = getenv("TMPDIR");
	memset(b, 0, sizeof(*b));
	snprintf(b->dir, sizeof(b->dir), "%s/fairlead-store-%d-XXXXXX", tmp ? tmp : "/tmp", (int)getpid());
	assert_non_null(mkdtemp(b->dir));
	assert_int_equal(uv_loop_init(&b->loop), 0);
	b->opts.path = b->dir;
	b->things = fl_resource_intern("", "things");
	b->others = fl_resource_intern("example.org", "others");
}

void bed_open(struct bed *b)
{
	struct fl_err err = {0};
	if (fl_store_open(&b->loop, &b->opts, &b->s, &err) < 0)
		fail_msg("open: %s", err.text);
}

void bed_turn(struct bed *b)
{
	uv_run(&b->loop, UV_RUN_DEFAULT);
}

void bed_close(struct bed *b)
{
	fl_store_close(&b->s);
	bed_turn(b);
}

void bed_deinit(struct bed *b)
{
	bed_close(b);
	assert_int_equal(uv_loop_close(&b->loop), 0);
	DIR *d = opendir(b->dir);
	for (struct dirent *e; d && (e = readdir(d));) {
		AUTO_FREE char *path = fl_asprintf("%s/%s", b->dir, e->d_name);
		unlink(path);
	}
	if (d)
		closedir(d);
	rmdir(b->dir);
}

int bed_setup(void **state)
{
	struct bed *b = fl_calloc(1, sizeof(*b));
	bed_init(b);
	bed_open(b);
	*state = b;
	return 0;
}

int bed_teardown(void **state)
{
	bed_deinit(*state);
	free(*state);
	return 0;
}

void thing(struct fl_buf *b, const char *ns, const char *name, const char *text, long *ret_rv_at)
{
	fl_buf_printf(b, "{\"kind\":\"Thing\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"%s\"", name);
	if (*ns)
		fl_buf_printf(b, ",\"namespace\":\"%s\"", ns);
	fl_buf_puts(b, ",\"uid\":\"u-1\",\"resourceVersion\":\"");
	*ret_rv_at = (long)b->len;
	fl_buf_printf(b, "\"},\"text\":\"%s\"}", text);
}

int submit(struct bed *b, enum fl_store_verb verb, const char *resource, const char *ns, const char *name,
	   const char *text, uint64_t expect_rv, fl_store_done done, void *arg)
{
	AUTO(fl_buf_deinit) struct fl_buf v = {0};
	struct fl_store_write w = {
	    .verb = verb, .resource = resource, .ns = ns, .name = name, .uid = "u-1", .expect_rv = expect_rv};
	thing(&v, ns, name, text, &w.rv_at);
	w.value = v.data;
	w.len = v.len;
	struct fl_err err = {0};
	int rc = fl_store_submit(b->s, &w, done, arg, &err);
	if (rc < 0) {
		assert_int_equal(err.code, rc);
		assert_non_null(strstr(err.text, name));
	}
	return rc;
}

struct waiting {
	bool done;
	int64_t result;
};

static void on_done(void *arg, int rc, struct fl_object *obj, const struct fl_err *err)
{
	struct waiting *w = arg;
	w->done = true;
	w->result = rc < 0 ? rc : (int64_t)obj->rv;
	assert_true(rc < 0 ? !obj && err && err->text[0] : obj && !err);
}

int64_t write_wait(struct bed *b, enum fl_store_verb verb, const char *ns, const char *name, const char *text)
{
	struct waiting w = {0};
	int rc = submit(b, verb, b->things, ns, name, text, 0, on_done, &w);
	if (rc < 0)
		return rc;
	while (!w.done)
		uv_run(&b->loop, UV_RUN_ONCE);
	return w.result;
}

void show_object(struct fl_buf *b, const struct fl_object *obj)
{
	const char *text = strstr(obj->json, "\"text\":\"");
	assert_non_null(text);
	text += 8;
	char rv[48];
	snprintf(rv, sizeof(rv), "\"resourceVersion\":\"%llu\"", (unsigned long long)obj->rv);
	assert_non_null(strstr(obj->json, rv));
	fl_buf_printf(b, "%s%s/%s=%.*s@%llu", b->len ? " " : "", obj->ns, obj->name, (int)strcspn(text, "\""), text,
		      (unsigned long long)obj->rv);
}

bool show(void *arg, struct fl_object *obj)
{
	struct shown *s = arg;
	show_object(&s->b, obj);
	return ++s->n != s->limit;
}

const char *list_now(struct bed *b, const char *ns)
{
	static struct shown s;
	fl_buf_deinit(&s.b);
	s.n = 0;
	fl_store_list(b->s, b->things, ns, NULL, NULL, show, &s);
	return s.b.data ? s.b.data : "";
}

char *bed_path(struct bed *b, const char *name)
{
	return fl_asprintf("%s/%s", b->dir, name);
}

void bed_fill(struct bed *b)
{
	char name[16], text[900];
	for (int i = 0; i < 60; i++) {
		snprintf(name, sizeof(name), "o-%02d", i % 20);
		snprintf(text, sizeof(text), "text of %d %0*d", i, 700, 0);
		assert_int_equal(write_wait(b, i < 20 ? FL_STORE_CREATE : FL_STORE_UPDATE, "ns", name, text), i + 1);
	}
}

void bed_sql(struct bed *b, const char *text)
{
	AUTO_FREE char *file = bed_path(b, "fairlead.db");
	sqlite3 *db;
	char *why = NULL;
	assert_int_equal(sqlite3_open(file, &db), SQLITE_OK);
	sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 0, NULL);
	if (sqlite3_exec(db, text, NULL, NULL, &why) != SQLITE_OK)
		fail_msg("%s: %s", text, why);
	sqlite3_close(db);
}

void read_all(const char *file, struct fl_buf *ret)
{
	char chunk[65536];
	AUTO_CLOSE int fd = open(file, O_RDONLY);
	assert_true(fd >= 0);
	ret->len = 0;
	for (ssize_t n; (n = read(fd, chunk, sizeof(chunk))) > 0;)
		fl_buf_append(ret, chunk, (size_t)n);
}

void write_all(const char *file, const char *p, size_t n)
{
	AUTO_CLOSE int fd = open(file, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, p, n), (ssize_t)n);
}

// ---- the engine on hold

struct held held;

static int held_open(uv_loop_t *loop, const struct fl_store_opts *opts, const struct fl_engine_host *host,
		     void (*load)(void *arg, struct fl_object *obj), struct fl_engine **ret,
		     struct fl_engine_start *ret_start, struct fl_err *err)
{
	held = (struct held){.host = *host};
	held.tail = &held.queue;
	*ret = (struct fl_engine *)&held;
	*ret_start = (struct fl_engine_start){0};
	return 0;
}

static void held_write(struct fl_engine *e, struct fl_engine_write *w)
{
	w->next = NULL;
	*held.tail = w;
	held.tail = &w->next;
}

void held_commit(size_t n)
{
	struct fl_engine_write *list = held.queue, **end = &held.queue;
	for (; n && *end; n--) {
		(*end)->rev += held.skip;
		end = &(*end)->next;
	}
	struct fl_engine_write *rest = *end;
	*end = NULL;
	held.queue = rest;
	if (!rest)
		held.tail = &held.queue;
	held.host.committed(held.host.arg, list == rest ? NULL : list);
}

void held_fail(int code, const char *text)
{
	struct fl_engine_write *list = held.queue;
	held.queue = NULL;
	held.tail = &held.queue;
	struct fl_err err = {.code = code};
	snprintf(err.text, sizeof(err.text), "%s", text);
	held.host.failed(held.host.arg, list, code, &err);
}

static void held_replay(struct fl_engine *e, struct fl_engine_replay *r)
{
	r->rc = -EIO;
	r->done(r);
}

static int held_list_at(struct fl_engine *e, uint64_t rv, const char *resource, const char *ns, const char *after_ns,
			const char *after_name, fl_store_visit visit, void *arg, struct fl_err *err)
{
	return fl_err_set(err, -EIO, "no log");
}

static void held_compact(struct fl_engine *e, uint64_t rv)
{
	held.compacted = rv;
}

static void held_stats(const struct fl_engine *e, struct fl_store_stats *ret)
{
}

static void held_close(struct fl_engine *e)
{
	held_commit(SIZE_MAX);
}

const struct fl_store_engine_ops held_ops = {
    .name = "held",
    .open = held_open,
    .write = held_write,
    .replay = held_replay,
    .list_at = held_list_at,
    .compact = held_compact,
    .stats = held_stats,
    .close = held_close,
};
