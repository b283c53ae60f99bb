// SPDX-License-Identifier: Apache-2.0
// Starting, finding, ending shims. What is known of a container comes from three sources: the pipe of a shim that we
// started (started or failed), the pidfd of the shim (it ended, so `exit` is written), the files in its directory.
#include "node/ctr.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "io/subprocess.h"
#include "json/json.h"

#define LOG_MAX_BYTES "10485760" // kubelet: containerLogMaxSize
#define BURY_MS       10000
#define RECORD_MAX    256 // what the shim writes about a start or an end is shorter
#define LOOK_MS       20  // until a shim that is just starting says that it did

struct handles { // closed one after the other; freed after the last
	uv_process_t process;
	uv_pipe_t pipe;
	uv_poll_t poll;
	uv_timer_t timer;
	int open;
	int pidfd;
	struct fl_ctr *ctr; // NULL: nobody listens any more
};

struct fl_ctr {
	uv_loop_t *loop;
	char *runtime, *runtime_root, *dir, *id;
	void (*on_started)(void *arg, int64_t started_ns);
	void (*on_exit)(void *arg, const struct fl_ctr_exit *exit_state);
	void *arg;
	struct handles *h;
	bool told_started;
	char line[64];
	size_t line_len;
};

// --- files ---

static int64_t number_after(const char *text, const char *key)
{
	const char *at = strstr(text, key);

	return at ? strtoll(at + strlen(key), NULL, 10) : 0;
}

bool fl_ctr_read_exit(const char *dir, struct fl_ctr_exit *ret)
{
	AUTO_FREE char *path = fl_asprintf("%s/exit", dir), *text = NULL;

	if (fl_file_read(path, &text, NULL, NULL) < 0 || !strstr(text, "finished="))
		return false;
	*ret = (struct fl_ctr_exit){
	    .code = (int)number_after(text, "code="),
	    .oom = number_after(text, "oom=") != 0,
	    .ran = number_after(text, "ran=") != 0,
	    .lost = number_after(text, "lost=") != 0,
	    .started_ns = number_after(text, "started="),
	    .finished_ns = number_after(text, "finished="),
	};
	return true;
}

// Where the shim records the start and the end: taken now, so that a container that fills the disk cannot take it.
static int make_room(const char *dir, struct fl_err *err)
{
	static const char *const records[] = {"started.new", "exit.new"};
	static const char zeros[RECORD_MAX];

	for (size_t i = 0; i < FL_COUNT(records); i++) {
		AUTO_FREE char *path = fl_asprintf("%s/%s", dir, records[i]);
		AUTO_CLOSE int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
		ssize_t n = fd < 0 ? -1 : write(fd, zeros, sizeof(zeros));

		if (n != sizeof(zeros))
			return fl_err_set(err, n < 0 ? -errno : -ENOSPC, "write %s: %s", path,
					  strerror(n < 0 ? errno : ENOSPC));
	}
	return 0;
}

static int64_t read_started(const char *dir)
{
	AUTO_FREE char *path = fl_asprintf("%s/started", dir), *text = NULL;

	return fl_file_read(path, &text, NULL, NULL) < 0 ? 0 : strtoll(text, NULL, 10);
}

int fl_ctr_shim_pid(const char *dir)
{
	AUTO_FREE char *path = fl_asprintf("%s/lock", dir);
	AUTO_CLOSE int fd = open(path, O_RDWR | O_CLOEXEC);
	char text[16] = "";

	if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) == 0)
		return 0;
	if (pread(fd, text, sizeof(text) - 1, 0) <= 0 || atoi(text) <= 0)
		return -1;
	return atoi(text);
}

char *fl_ctr_runtime_error(const char *log_path)
{
	AUTO_FREE char *text = NULL;
	char *save = NULL, *found = NULL;

	if (fl_file_read(log_path, &text, NULL, NULL) < 0)
		return NULL;
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		AUTO(fl_arena_deinit) struct fl_arena a = {0};
		struct fl_json *j;

		if (fl_json_parse(&a, line, strlen(line), NULL, &j, NULL) < 0)
			continue;
		if (fl_streq(fl_json_str(j, "level"), "error") || fl_streq(fl_json_str(j, "level"), "fatal")) {
			free(found);
			found = fl_strdup(fl_json_str_or(j, "msg", ""));
		}
	}
	return found;
}

// --- handles ---

static void on_closed(uv_handle_t *handle)
{
	struct handles *h = handle->data;

	if (--h->open > 0)
		return;
	fl_close_fd(&h->pidfd);
	free(h);
}

static void handle_close(void *handle)
{
	uv_handle_t *u = handle;

	if (u->data && !uv_is_closing(u))
		uv_close(u, on_closed);
}

static void handles_close(struct handles *h)
{
	h->ctr = NULL;
	handle_close(&h->pipe);
	handle_close(&h->poll);
	handle_close(&h->timer);
	// The process handle is closed when the process ended: until then the child has to be reaped by this loop.
}

static void on_process_exit(uv_process_t *process, int64_t status, int signal)
{
	handle_close(process);
}

// --- the life of a shim ---

static void tell_started(struct fl_ctr *c, int64_t started_ns)
{
	if (c->told_started)
		return;
	c->told_started = true;
	c->on_started(c->arg, started_ns);
}

static void tell_exit(struct fl_ctr *c, struct fl_ctr_exit *e)
{
	AUTO_FREE char *message = NULL, *log = fl_asprintf("%s/runtime.log", c->dir);

	if (e->lost)
		message = fl_strdup("the shim of the container was killed");
	else if (!e->ran)
		message = fl_ctr_runtime_error(log);
	e->message = message;
	handles_close(c->h);
	c->h = NULL;
	c->on_exit(c->arg, e);
}

static void on_buried(void *arg, int rc, int exit_status, const char *out, size_t out_len, const char *errout,
		      size_t err_len)
{
	struct handles *h = arg;
	struct fl_ctr *c = h->ctr;

	if (c) {
		AUTO_FREE char *path = fl_asprintf("%s/exit", c->dir), *text = NULL;
		struct fl_ctr_exit e = {.code = 137, .lost = true, .started_ns = read_started(c->dir)};
		struct fl_err err = {0};

		e.ran = e.started_ns != 0;
		e.finished_ns = fl_real_ns();
		text = fl_asprintf("code=137\noom=0\nran=%d\nlost=1\nstarted=%" PRId64 "\nfinished=%" PRId64 "\n",
				   e.ran, e.started_ns, e.finished_ns);
		if (fl_node_file_put(path, text, strlen(text), 0600, &err) < 0)
			fl_warn("end of container %s is not recorded: %s", c->id, err.text);
		tell_exit(c, &e);
	}
	if (--h->open == 0)
		free(h);
}

// The shim is gone. Without an exit record it was killed, and its container may still run: it is ended first.
static void finish(struct fl_ctr *c)
{
	const char *const argv[] = {c->runtime, "--root", c->runtime_root, "delete", "--force", c->id, NULL};
	struct fl_subprocess_opts o = {.argv = argv, .timeout_ms = BURY_MS, .on_exit = on_buried, .arg = c->h};
	struct fl_ctr_exit e;

	if (fl_ctr_read_exit(c->dir, &e)) {
		tell_exit(c, &e);
		return;
	}
	if (c->h->poll.data)
		uv_poll_stop(&c->h->poll);
	if (c->h->timer.data)
		uv_timer_stop(&c->h->timer);
	c->h->open++;
	if (fl_subprocess_start(c->loop, &o, NULL, NULL) < 0)
		on_buried(c->h, -EIO, -1, "", 0, "", 0);
}

static void on_pidfd(uv_poll_t *poll, int status, int events)
{
	struct handles *h = poll->data;
	struct fl_ctr *c = h->ctr;
	int64_t started_ns;

	if (!c)
		return;
	// A container may end before its "started" was read from the pipe.
	started_ns = read_started(c->dir);
	if (started_ns)
		tell_started(c, started_ns);
	if (h->ctr)
		finish(c);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
	struct handles *h = handle->data;
	static char nowhere[64];

	if (!h->ctr) {
		*buf = uv_buf_init(nowhere, sizeof(nowhere));
		return;
	}
	*buf = uv_buf_init(h->ctr->line + h->ctr->line_len, (unsigned)(sizeof(h->ctr->line) - 1 - h->ctr->line_len));
}

static void on_pipe(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct handles *h = stream->data;
	struct fl_ctr *c = h->ctr;
	long long started_ns;
	int pid;

	if (n < 0) {
		handle_close(&h->pipe);
		return;
	}
	if (!c)
		return;
	c->line_len += (size_t)n;
	c->line[c->line_len] = '\0';
	if (!strchr(c->line, '\n') && c->line_len < sizeof(c->line) - 1)
		return;
	uv_read_stop(stream);
	if (sscanf(c->line, "started %d %lld", &pid, &started_ns) == 2)
		tell_started(c, started_ns);
	handle_close(&h->pipe); // "failed": the shim ends soon, and its files say more
}

static struct fl_ctr *ctr_new(const struct fl_ctr_opts *o)
{
	struct fl_ctr *c = FL_NEW(struct fl_ctr);

	c->loop = o->loop;
	c->runtime = fl_strdup(o->runtime);
	c->runtime_root = fl_strdup(o->paths->runtime_root);
	c->dir = fl_strdup(o->dir);
	c->id = fl_strdup(o->id);
	c->on_started = o->on_started;
	c->on_exit = o->on_exit;
	c->arg = o->arg;
	c->h = FL_NEW(struct handles);
	c->h->pidfd = -1;
	c->h->ctr = c;
	return c;
}

void fl_ctr_free(struct fl_ctr **c)
{
	if (!*c)
		return;
	if ((*c)->h) {
		struct handles *h = (*c)->h;

		h->ctr = NULL;
		if (h->open) {
			handles_close(h);
			handle_close(&h->process); // it goes on; whoever is its next parent reaps it
		} else {
			free(h);
		}
	}
	free((*c)->runtime);
	free((*c)->runtime_root);
	free((*c)->dir);
	free((*c)->id);
	free(*c);
	*c = NULL;
}

static int watch_pid(struct fl_ctr *c, int pid, struct fl_err *err)
{
	struct handles *h = c->h;

	h->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (h->pidfd < 0)
		return fl_err_set(err, -errno, "pidfd of shim %d: %s", pid, strerror(errno));
	uv_poll_init(c->loop, &h->poll, h->pidfd);
	h->poll.data = h;
	h->open++;
	uv_poll_start(&h->poll, UV_READABLE, on_pidfd);
	return 0;
}

int fl_ctr_start(const struct fl_ctr_opts *o, struct fl_ctr **ret, struct fl_err *err)
{
	AUTO_FREE char *lock_path = fl_asprintf("%s/lock", o->dir);
	AUTO_CLOSE int lock = open(lock_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	AUTO(fl_ctr_free) struct fl_ctr *c = NULL;
	char *argv[] = {(char *)"fairlead-shim", (char *)o->dir,         (char *)o->log,
			(char *)o->runtime,      o->paths->runtime_root, (char *)o->id,
			(char *)o->cgroup,       (char *)LOG_MAX_BYTES,  NULL};
	uv_stdio_container_t stdio[5] = {{.flags = UV_IGNORE}, {.flags = UV_IGNORE}, {.flags = UV_IGNORE}};
	uv_process_options_t p = {
	    .file = o->paths->shim,
	    .args = argv,
	    .exit_cb = on_process_exit,
	    .flags = UV_PROCESS_DETACHED,
	    .stdio = stdio,
	    .stdio_count = 5,
	};
	int rc;

	if (lock < 0)
		return fl_err_set(err, -errno, "create %s: %s", lock_path, strerror(errno));
	if (flock(lock, LOCK_EX | LOCK_NB) < 0)
		return fl_err_set(err, -EBUSY, "container %s is being run already", o->id);
	rc = make_room(o->dir, err);
	if (rc < 0)
		return rc;
	c = ctr_new(o);
	uv_pipe_init(c->loop, &c->h->pipe, 0);
	c->h->pipe.data = c->h;
	c->h->open++;
	stdio[3] = (uv_stdio_container_t){.flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE,
					  .data.stream = (uv_stream_t *)&c->h->pipe};
	stdio[4] = (uv_stdio_container_t){.flags = UV_INHERIT_FD, .data.fd = lock};
	rc = uv_spawn(c->loop, &c->h->process, &p);
	c->h->process.data = c->h; // a handle after uv_spawn in any case
	c->h->open++;
	if (rc < 0) {
		handle_close(&c->h->process);
		return fl_err_set(err, rc, "start %s: %s", p.file, uv_strerror(rc));
	}
	uv_unref((uv_handle_t *)&c->h->process);
	uv_read_start((uv_stream_t *)&c->h->pipe, on_alloc, on_pipe);
	rc = watch_pid(c, c->h->process.pid, err);
	if (rc < 0)
		return rc;
	*ret = TAKE_PTR(c);
	return 0;
}

// A shim that was just starting when its node ended: its pid and then its start show up soon.
static void on_look(uv_timer_t *timer)
{
	struct handles *h = timer->data;
	struct fl_ctr *c = h->ctr;
	int64_t started_ns;
	int pid;

	if (!c)
		return;
	started_ns = read_started(c->dir);
	pid = fl_ctr_shim_pid(c->dir);
	if (pid == 0) { // it does not run any more: nobody shall take it for a running one until it is buried
		finish(c);
		return;
	}
	if (pid > 0 && h->pidfd < 0 && watch_pid(c, pid, NULL) == 0 && fl_ctr_shim_pid(c->dir) != pid)
		return; // ended meanwhile: the next look sees it
	if (started_ns)
		tell_started(c, started_ns);
	if (h->ctr && h->pidfd >= 0 && started_ns)
		uv_timer_stop(timer);
}

int fl_ctr_find(const struct fl_ctr_opts *o, struct fl_ctr **ret, struct fl_err *err)
{
	struct fl_ctr *c;

	if (access(o->dir, F_OK) < 0)
		return fl_err_set(err, -ENOENT, "there is no container %s", o->id);
	c = ctr_new(o);
	uv_timer_init(c->loop, &c->h->timer);
	c->h->timer.data = c->h;
	c->h->open++;
	uv_timer_start(&c->h->timer, on_look, 0, LOOK_MS);
	*ret = c;
	return 0;
}

static void on_killed(void *arg, int rc, int exit_status, const char *out, size_t out_len, const char *errout,
		      size_t err_len)
{
	AUTO_FREE char *id = arg;

	if (exit_status != 0 && !strstr(errout, "not running") && !strstr(errout, "does not exist") &&
	    !strstr(errout, "already finished"))
		fl_warn("runtime cannot signal a container id=%s: %.*s", id, (int)strcspn(errout, "\n"), errout);
}

void fl_ctr_kill(struct fl_ctr *c, int signal)
{
	char number[8];
	const char *const argv[] = {c->runtime, "--root", c->runtime_root, "kill", c->id, number, NULL};
	char *id = fl_strdup(c->id);
	struct fl_subprocess_opts o = {.argv = argv, .timeout_ms = 10000, .on_exit = on_killed, .arg = id};
	struct fl_subprocess *p;
	struct fl_err err = {0};

	snprintf(number, sizeof(number), "%d", signal);
	if (fl_subprocess_start(c->loop, &o, &p, &err) < 0) {
		fl_warn("signal container id=%s: %s", id, err.text);
		free(id);
	}
}
