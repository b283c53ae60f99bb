// SPDX-License-Identifier: Apache-2.0
// The loop's side of the SQLite engine: opens and loads, queues writes for the writer thread, brings its results back
// into the loop, reads old lists from the log over a connection of its own.
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "store/sqlite/internal.h"

#define WRITER_STACK (512 * 1024) // SQLite needs a fraction of it

#define STAGED_MAX 64 // writes that wait for the end of their turn of the loop

// The handles, which live until the loop has closed them. `check` and `prepare` are active while writes are staged.
struct fl_sqlite_handles {
	uv_async_t async;
	uv_check_t check;
	uv_prepare_t prepare;
	struct fl_engine *e; // NULL once it is closed
	unsigned open;
};

// The loop stays alive as long as something is under way.
static void count(struct fl_engine *e, ssize_t change)
{
	size_t was = e->under_way;
	e->under_way += (size_t)change;
	if (!was && e->under_way)
		uv_ref((uv_handle_t *)&e->handles->async);
	else if (was && !e->under_way)
		uv_unref((uv_handle_t *)&e->handles->async);
}

void fl_sqlite_post(struct fl_engine *e, struct fl_sqlite_batch *b, struct fl_engine_replay *r)
{
	uv_mutex_lock(&e->mutex);
	if (b) {
		b->next = NULL;
		*e->done_tail = b;
		e->done_tail = &b->next;
		if (b->rc < 0)
			e->failing = true;
	}
	if (r) {
		r->next = NULL;
		*e->replayed_tail = r;
		e->replayed_tail = &r->next;
	}
	uv_mutex_unlock(&e->mutex);
	uv_async_send(&e->handles->async);
}

static struct fl_engine_write *take_staged(struct fl_engine *e)
{
	e->staged_tail = &e->staged;
	e->n_staged = 0;
	return TAKE_PTR(e->staged);
}

// A failed batch takes with it all that was queued behind it, and the writer may go on.
static void fail(struct fl_engine *e, struct fl_sqlite_batch *b)
{
	struct fl_engine_write **end = &b->list, **later;
	while (*end)
		end = &(*end)->next;
	later = end;
	uv_mutex_lock(&e->mutex);
	*end = e->queue;
	if (e->queue)
		end = e->queue_tail;
	e->queue = NULL;
	e->queue_tail = &e->queue;
	e->failing = false;
	uv_mutex_unlock(&e->mutex);
	*end = take_staged(e);
	for (struct fl_engine_write *w = *later; w; w = w->next)
		b->n++;
	e->host.failed(e->host.arg, b->list, b->rc, &b->err);
}

static void deliver(struct fl_engine *e)
{
	uv_mutex_lock(&e->mutex);
	struct fl_sqlite_batch *b = e->done;
	e->done = NULL;
	e->done_tail = &e->done;
	struct fl_engine_replay *r = e->replayed;
	e->replayed = NULL;
	e->replayed_tail = &e->replayed;
	uv_mutex_unlock(&e->mutex);
	while (b) {
		struct fl_sqlite_batch *next = b->next;
		if (b->rc < 0)
			fail(e, b);
		else
			e->host.committed(e->host.arg, b->list);
		count(e, -(ssize_t)b->n);
		free(b);
		b = next;
	}
	while (r) {
		struct fl_engine_replay *next = r->next;
		count(e, -1);
		r->done(r);
		r = next;
	}
}

static void on_async(uv_async_t *h)
{
	struct fl_sqlite_handles *hs = h->data;
	if (hs->e)
		deliver(hs->e);
}

static void on_handle_closed(uv_handle_t *h)
{
	struct fl_sqlite_handles *hs = h->data;
	if (--hs->open == 0)
		free(hs);
}

static void close_handles(struct fl_engine *e)
{
	struct fl_sqlite_handles *hs = TAKE_PTR(e->handles);
	hs->e = NULL;
	uv_close((uv_handle_t *)&hs->async, on_handle_closed);
	uv_close((uv_handle_t *)&hs->check, on_handle_closed);
	uv_close((uv_handle_t *)&hs->prepare, on_handle_closed);
}

static void open_handles(struct fl_engine *e, uv_loop_t *loop)
{
	struct fl_sqlite_handles *hs = e->handles = FL_NEW(struct fl_sqlite_handles);
	hs->e = e;
	hs->open = 3;
	uv_async_init(loop, &hs->async, on_async);
	uv_check_init(loop, &hs->check);
	uv_prepare_init(loop, &hs->prepare);
	hs->async.data = hs->check.data = hs->prepare.data = hs;
	uv_unref((uv_handle_t *)&hs->async);
}

static void signal_writer(struct fl_engine *e)
{
	if (e->waiting)
		uv_cond_signal(&e->wake);
}

// Gives the writer what this turn of the loop has written.
static void hand_over(struct fl_engine *e)
{
	uv_check_stop(&e->handles->check);
	uv_prepare_stop(&e->handles->prepare);
	if (!e->staged)
		return;
	struct fl_engine_write **tail = e->staged_tail;
	uv_mutex_lock(&e->mutex);
	*e->queue_tail = take_staged(e);
	e->queue_tail = tail;
	signal_writer(e);
	uv_mutex_unlock(&e->mutex);
}

static void on_check(uv_check_t *h)
{
	hand_over(((struct fl_sqlite_handles *)h->data)->e);
}

static void on_prepare(uv_prepare_t *h)
{
	hand_over(((struct fl_sqlite_handles *)h->data)->e);
}

// The writes of one turn of the loop go to the writer together, at its end: they share a transaction, a sync and a
// wake-up, which are most of what a small write costs. A handle that is started last runs first, so the writer is at
// work while the answers of the turn are sent.
static void engine_write(struct fl_engine *e, struct fl_engine_write *w)
{
	count(e, 1);
	w->next = NULL;
	if (!e->staged) {
		uv_check_start(&e->handles->check, on_check);
		uv_prepare_start(&e->handles->prepare, on_prepare);
	}
	*e->staged_tail = w;
	e->staged_tail = &w->next;
	if (++e->n_staged == STAGED_MAX)
		hand_over(e);
}

static void engine_replay(struct fl_engine *e, struct fl_engine_replay *r)
{
	count(e, 1);
	r->next = NULL;
	uv_mutex_lock(&e->mutex);
	*e->replays_tail = r;
	e->replays_tail = &r->next;
	signal_writer(e);
	uv_mutex_unlock(&e->mutex);
}

static void engine_compact(struct fl_engine *e, uint64_t rv)
{
	uv_mutex_lock(&e->mutex);
	e->compact_to = rv;
	e->compact_asked = true;
	signal_writer(e);
	uv_mutex_unlock(&e->mutex);
}

static int engine_list_at(struct fl_engine *e, uint64_t rv, const char *resource, const char *ns, const char *after_ns,
			  const char *after_name, fl_store_visit visit, void *arg, struct fl_err *err)
{
	int rc = e->reader ? 0 : fl_sqlite_open_reader(e->dir, e->vfs, &e->reader, err);
	if (rc == 0)
		rc = fl_sqlite_walk(e->reader, rv, resource, ns, after_ns, after_name, visit, arg, NULL, err);
	return rc;
}

static uint64_t size_of(const char *dir, const char *name)
{
	AUTO_FREE char *path = fl_asprintf("%s/%s", dir, name);
	struct stat st;
	return stat(path, &st) == 0 ? (uint64_t)st.st_size : 0;
}

static void engine_stats(const struct fl_engine *e, struct fl_store_stats *ret)
{
	ret->commits = atomic_load(&e->commits);
	ret->log_rows = atomic_load(&e->log_rows);
	ret->file_bytes = size_of(e->dir, "fairlead.db") + size_of(e->dir, "fairlead.db-wal");
}

struct loading {
	void (*load)(void *arg, struct fl_object *obj);
	void *arg;
};

static bool on_object(void *arg, struct fl_object *obj)
{
	struct loading *l = arg;
	l->load(l->arg, obj);
	return true;
}

static int load(struct fl_engine *e, void (*visit)(void *arg, struct fl_object *obj), struct fl_engine_start *ret,
		struct fl_err *err)
{
	struct loading l = {.load = visit, .arg = e->host.arg};
	struct fl_sqlite_found f;
	int rc = fl_sqlite_load(e->db, on_object, &l, &f, err);
	if (rc < 0)
		return fl_err_prefix(err, "open store %s", e->dir);
	e->live = f.live;
	e->compacted = e->compact_to = f.compacted;
	atomic_store(&e->log_rows, f.rows);
	*ret = (struct fl_engine_start){.newest = f.newest, .compacted = f.compacted};
	return 0;
}

static int make_file(const char *dir, struct fl_err *err)
{
	AUTO_FREE char *file = fl_asprintf("%s/fairlead.db", dir);
	// SQLite gives the files beside it the mode of this one.
	AUTO_CLOSE int fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	return fd < 0 ? fl_err_set(err, -errno, "open %s: %s", file, strerror(errno)) : 0;
}

static void free_engine(struct fl_engine **ep)
{
	struct fl_engine *e = TAKE_PTR(*ep);
	if (!e)
		return;
	fl_sqlite_writer_finalize(e);
	fl_sqlite_close(&e->reader);
	fl_sqlite_close(&e->db); // the last one copies the write-ahead log into the database and removes it
	if (e->lock_fd >= 0)
		close(e->lock_fd);
	uv_cond_destroy(&e->wake);
	uv_mutex_destroy(&e->mutex);
	free(e->dir);
	free(e);
}

static struct fl_engine *new_engine(const struct fl_store_opts *opts, const struct fl_engine_host *host)
{
	struct fl_engine *e = FL_NEW(struct fl_engine);
	e->dir = fl_strdup(opts->path);
	e->vfs = opts->sqlite_vfs;
	e->host = *host;
	e->lock_fd = -1;
	e->queue_tail = &e->queue;
	e->staged_tail = &e->staged;
	e->replays_tail = &e->replays;
	e->done_tail = &e->done;
	e->replayed_tail = &e->replayed;
	if (uv_mutex_init(&e->mutex) < 0 || uv_cond_init(&e->wake) < 0)
		abort(); // neither allocates on Linux
	return e;
}

// No signal is delivered to the writer: they are the loop's.
static int start_thread(struct fl_engine *e, struct fl_err *err)
{
	sigset_t all, was;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &was);
	uv_thread_options_t o = {.flags = UV_THREAD_HAS_STACK_SIZE, .stack_size = WRITER_STACK};
	int rc = uv_thread_create_ex(&e->thread, &o, fl_sqlite_writer_run, e);
	pthread_sigmask(SIG_SETMASK, &was, NULL);
	return rc < 0 ? fl_err_set(err, rc, "open store %s: start its thread: %s", e->dir, uv_strerror(rc)) : 0;
}

static int engine_open(uv_loop_t *loop, const struct fl_store_opts *opts, const struct fl_engine_host *host,
		       void (*visit)(void *arg, struct fl_object *obj), struct fl_engine **ret,
		       struct fl_engine_start *ret_start, struct fl_err *err)
{
	AUTO(free_engine) struct fl_engine *e = new_engine(opts, host);
	struct fl_engine_start start;
	int rc = fl_sqlite_make_dir(e->dir, err);
	if (rc == 0)
		rc = fl_sqlite_lock(e->dir, &e->lock_fd, err);
	if (rc == 0)
		rc = fl_sqlite_finish_replace(e->dir, err);
	if (rc == 0)
		rc = make_file(e->dir, err);
	if (rc == 0)
		rc = fl_sqlite_open_writer(e->dir, e->vfs, &e->db, err);
	if (rc == 0)
		rc = load(e, visit, &start, err);
	if (rc == 0)
		rc = fl_sqlite_writer_prepare(e, err);
	if (rc < 0)
		return rc;
	open_handles(e, loop);
	rc = start_thread(e, err);
	if (rc < 0) {
		close_handles(e);
		return rc;
	}
	*ret_start = start;
	*ret = TAKE_PTR(e);
	return 0;
}

static void engine_close(struct fl_engine *e)
{
	hand_over(e);
	uv_mutex_lock(&e->mutex);
	e->stop = true;
	signal_writer(e);
	uv_mutex_unlock(&e->mutex);
	uv_thread_join(&e->thread);
	deliver(e);
	assert(!e->queue && !e->staged && !e->under_way);
	close_handles(e);
	free_engine(&e);
}

const struct fl_store_engine_ops fl_store_sqlite_ops = {
    .name = "sqlite",
    .open = engine_open,
    .write = engine_write,
    .replay = engine_replay,
    .list_at = engine_list_at,
    .compact = engine_compact,
    .stats = engine_stats,
    .close = engine_close,
};
