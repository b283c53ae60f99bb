// SPDX-License-Identifier: Apache-2.0
// Programs run to their end. Each gets a session, and so a process group, of its own, which the time-out kills whole.
//
// The end is the exit of the program itself, not of what it left behind: an OCI runtime's container inherits its
// output and lives on. What the program wrote before it exited is in the pipe by then and is read; later output of its
// children is not waited for.
#include "io/subprocess.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/close_range.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"

#define DEFAULT_OUTPUT (64 * 1024)
#define DRAIN_MAX      (16 * 1024 * 1024) // of a grandchild that writes without end

struct stream {
	uv_pipe_t pipe;
	struct fl_subprocess *p;
	struct fl_buf kept;
};

struct fl_subprocess {
	uv_process_t process;
	uv_timer_t timer;
	struct stream out, errout;
	uv_pipe_t input;
	uv_write_t write;
	char *input_data;
	size_t max_output;
	unsigned handles; // open
	bool timed_out, exited;
	void (*on_exit)(void *arg, int rc, int exit_status, const char *out, size_t out_len, const char *errout,
			size_t err_len);
	void *arg;
	char scratch[16 * 1024];
};

static void on_closed(uv_handle_t *h)
{
	struct fl_subprocess *p = h->data;
	if (--p->handles)
		return;
	fl_buf_deinit(&p->out.kept);
	fl_buf_deinit(&p->errout.kept);
	free(p->input_data);
	free(p);
}

static void close_handle(void *h)
{
	if (!uv_is_closing(h))
		uv_close(h, on_closed);
}

static void close_all(struct fl_subprocess *p)
{
	if (p->process.type == UV_PROCESS)
		close_handle(&p->process);
	close_handle(&p->timer);
	close_handle(&p->out.pipe);
	close_handle(&p->errout.pipe);
	close_handle(&p->input);
}

static void keep(struct stream *s, const char *data, size_t n)
{
	size_t room = s->p->max_output - s->kept.len;
	if (room)
		fl_buf_append(&s->kept, data, n < room ? n : room);
}

static void on_alloc(uv_handle_t *h, size_t hint, uv_buf_t *buf)
{
	struct fl_subprocess *p = h->data;
	*buf = uv_buf_init(p->scratch, sizeof(p->scratch));
}

static void on_read(uv_stream_t *st, ssize_t n, const uv_buf_t *buf)
{
	struct stream *s = FL_CONTAINER_OF(st, struct stream, pipe);
	if (n > 0)
		keep(s, buf->base, (size_t)n);
	else if (n < 0)
		close_handle(st);
}

// What is in the pipe at the program's exit.
static void drain(struct stream *s)
{
	int fd;
	if (uv_is_closing((uv_handle_t *)&s->pipe) || uv_fileno((uv_handle_t *)&s->pipe, &fd) < 0)
		return;
	for (size_t total = 0; total < DRAIN_MAX;) {
		ssize_t n = read(fd, s->p->scratch, sizeof(s->p->scratch)); // libuv made it non-blocking
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		keep(s, s->p->scratch, (size_t)n);
		total += (size_t)n;
	}
}

static void on_exited(uv_process_t *process, int64_t status, int signal)
{
	struct fl_subprocess *p = process->data;
	p->exited = true;
	drain(&p->out);
	drain(&p->errout);
	fl_buf_append(&p->out.kept, "", 0);
	fl_buf_append(&p->errout.kept, "", 0);
	if (p->on_exit)
		p->on_exit(p->arg, p->timed_out ? -ETIMEDOUT : 0, signal ? -signal : (int)status, p->out.kept.data,
			   p->out.kept.len, p->errout.kept.data, p->errout.kept.len);
	close_all(p);
}

static void on_timeout(uv_timer_t *t)
{
	struct fl_subprocess *p = t->data;
	p->timed_out = true;
	kill(-p->process.pid, SIGKILL);
}

static void on_written(uv_write_t *req, int status)
{
	close_handle(req->handle); // the program may end without having read all: no error of ours
}

static void init_handles(uv_loop_t *loop, struct fl_subprocess *p)
{
	uv_timer_init(loop, &p->timer);
	uv_pipe_init(loop, &p->out.pipe, 0);
	uv_pipe_init(loop, &p->errout.pipe, 0);
	uv_pipe_init(loop, &p->input, 0);
	p->timer.data = p->out.pipe.data = p->errout.pipe.data = p->input.data = p->process.data = p;
	p->out.p = p->errout.p = p;
	p->handles = 4;
}

// A pipe whose parent's end is `pipe`; *ret_fd is the child's. Not a socket pair, which is what libuv would make: a
// program cannot open /dev/stdout when that is a socket.
static int open_pipe(uv_pipe_t *pipe, bool child_reads, int *ret_fd)
{
	int fds[2];
	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	int rc = uv_pipe_open(pipe, fds[child_reads]);
	if (rc < 0)
		close(fds[child_reads]);
	*ret_fd = fds[!child_reads];
	return rc;
}

static int spawn(uv_loop_t *loop, struct fl_subprocess *p, const struct fl_subprocess_opts *o)
{
	AUTO_CLOSE int in = -1;
	AUTO_CLOSE int out = -1;
	AUTO_CLOSE int errout = -1;
	int rc = open_pipe(&p->out.pipe, false, &out);
	if (rc == 0)
		rc = open_pipe(&p->errout.pipe, false, &errout);
	if (rc == 0 && o->input)
		rc = open_pipe(&p->input, true, &in);
	if (rc < 0)
		return rc;
	uv_stdio_container_t stdio[3] = {
	    {.flags = o->input ? UV_INHERIT_FD : UV_IGNORE, .data.fd = in}, // ignored: /dev/null
	    {.flags = UV_INHERIT_FD, .data.fd = out},
	    {.flags = UV_INHERIT_FD, .data.fd = errout},
	};
	uv_process_options_t uo = {
	    .file = o->argv[0],
	    .args = (char **)o->argv,
	    .env = (char **)o->env,
	    .cwd = o->cwd,
	    .flags = UV_PROCESS_DETACHED, // setsid(2)
	    .stdio_count = 3,
	    .stdio = stdio,
	    .exit_cb = on_exited,
	};
	// Libraries may open descriptors without O_CLOEXEC; a container must not inherit our connections.
	close_range(3, UINT_MAX, CLOSE_RANGE_CLOEXEC);
	p->handles++; // initialized even when it fails
	return uv_spawn(loop, &p->process, &uo);
}

int fl_subprocess_start(uv_loop_t *loop, const struct fl_subprocess_opts *opts, struct fl_subprocess **ret,
			struct fl_err *err)
{
	struct sigaction sa;
	if (sigaction(SIGPIPE, NULL, &sa) == 0 && sa.sa_handler == SIG_DFL)
		signal(SIGPIPE, SIG_IGN);
	struct fl_subprocess *p = FL_NEW(struct fl_subprocess);
	p->max_output = opts->max_output ? opts->max_output : DEFAULT_OUTPUT;
	p->on_exit = opts->on_exit;
	p->arg = opts->arg;
	init_handles(loop, p);
	int rc = spawn(loop, p, opts);
	if (rc < 0) {
		close_all(p);
		return fl_err_set(err, rc, "starting %s: %s", opts->argv[0], uv_strerror(rc));
	}
	if (opts->timeout_ms)
		uv_timer_start(&p->timer, on_timeout, opts->timeout_ms, 0);
	uv_read_start((uv_stream_t *)&p->out.pipe, on_alloc, on_read);
	uv_read_start((uv_stream_t *)&p->errout.pipe, on_alloc, on_read);
	if (opts->input) {
		p->input_data = fl_malloc(opts->input_len + 1);
		memcpy(p->input_data, opts->input, opts->input_len);
		uv_buf_t buf = uv_buf_init(p->input_data, (unsigned)opts->input_len);
		if (uv_write(&p->write, (uv_stream_t *)&p->input, &buf, 1, on_written) < 0)
			close_handle(&p->input);
	} else {
		close_handle(&p->input);
	}
	if (ret)
		*ret = p;
	return 0;
}

void fl_subprocess_kill(struct fl_subprocess *p, int signal)
{
	if (!p->exited)
		kill(-p->process.pid, signal);
}

int fl_subprocess_pid(const struct fl_subprocess *p)
{
	return p->process.pid;
}

// --- blocking ---

struct run_result {
	int rc, status;
	struct fl_buf out, errout;
};

static void run_done(void *arg, int rc, int status, const char *out, size_t out_len, const char *errout, size_t err_len)
{
	struct run_result *r = arg;
	r->rc = rc;
	r->status = status;
	fl_buf_append(&r->out, out, out_len);
	fl_buf_append(&r->errout, errout, err_len);
}

int fl_subprocess_run(const char *const *argv, unsigned timeout_ms, int *ret_exit_status, char **ret_out,
		      struct fl_err *err)
{
	uv_loop_t loop;
	int rc = uv_loop_init(&loop);
	if (rc < 0)
		return fl_err_set(err, rc, "running %s: %s", argv[0], uv_strerror(rc));
	struct run_result r = {0};
	struct fl_subprocess_opts o = {.argv = argv, .timeout_ms = timeout_ms, .on_exit = run_done, .arg = &r};
	rc = fl_subprocess_start(&loop, &o, NULL, err);
	uv_run(&loop, UV_RUN_DEFAULT);
	uv_loop_close(&loop);
	if (rc == 0 && r.rc < 0)
		rc = fl_err_set(err, r.rc, "running %s: not done after %u ms: %.200s", argv[0], timeout_ms,
				r.errout.data);
	if (rc == 0) {
		*ret_exit_status = r.status;
		if (r.status)
			fl_err_set(err, -EIO, "%s %s %d: %.400s", argv[0],
				   r.status < 0 ? "was ended by signal" : "exited with",
				   r.status < 0 ? -r.status : r.status, r.errout.data);
		if (ret_out)
			*ret_out = fl_buf_take(&r.out);
	}
	fl_buf_deinit(&r.out);
	fl_buf_deinit(&r.errout);
	return rc;
}
