// SPDX-License-Identifier: Apache-2.0
#include "supervisor/supervisor.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <uv.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/notify.h"

#define BACKOFF_MIN_MS 100
#define BACKOFF_MAX_MS 10000
#define STEADY_MS      10000         // a role that ran this long has recovered: its back-off is forgotten
#define API_TRIES      4             // before it served once: the one before may still be on its way out of a port
#define SLOW_MS        5000          // not ready by then: say who is missing
#define STOP_MS        8000          // then SIGKILL
#define READY_FD       3             // of a role, "3" in its environment
#define TICK_MS        5000          // a look at the clocks
#define JUMP_NS        60000000000LL // of the wall clock against the one that runs evenly
#define RETRY_MS       300000        // when certificates could not be renewed: a full disk, say
#define TURN_MS        20000         // for a role with new certificates to be ready, before the next one's turn

struct role {
	struct sup *sup;
	struct fl_supervised *spec;
	uv_process_t process;
	uv_timer_t again;
	struct ear *ear; // hears the running process; NULL: it has closed its end
	bool running, ready;
	bool renewing; // told to end, so that it starts with new certificates
	unsigned backoff_ms, ended;
	uint64_t started_ms;
};

struct ear { // of one process of a role, freed when it is closed
	uv_pipe_t pipe;
	struct role *role; // NULL: the process is gone
	char buf[64];
};

struct sup {
	const struct fl_supervisor_opts *o;
	uv_loop_t loop;
	uv_signal_t term, intr, child;
	uv_timer_t slow, kill, bury, tick, wait;
	struct role roles[8];
	unsigned turn;     // whose turn it is to start with new certificates; n_roles: nobody's
	int64_t clocks_ns; // wall clock less monotonic clock, when certificates were last looked at
	uint64_t renew_at_ms;
	bool stopping, others_started, announced;
	int rc;
	struct fl_err *err;
	char exe[PATH_MAX];
};

static void stop(struct sup *s);
static void stop_next(struct sup *s);

static void start(struct role *r);
static void renew_next(struct sup *s);

static void on_again(uv_timer_t *t)
{
	struct role *r = t->data;
	if (!r->sup->stopping)
		start(r);
}

static void end_if_idle(struct sup *s)
{
	for (unsigned i = 0; i < s->o->n_roles; i++)
		if (s->roles[i].running)
			return;
	uv_handle_t *const handles[] = {(uv_handle_t *)&s->term, (uv_handle_t *)&s->intr, (uv_handle_t *)&s->child,
					(uv_handle_t *)&s->slow, (uv_handle_t *)&s->kill, (uv_handle_t *)&s->bury,
					(uv_handle_t *)&s->tick, (uv_handle_t *)&s->wait};
	for (unsigned i = 0; i < FL_COUNT(handles); i++)
		uv_close(handles[i], NULL);
	for (unsigned i = 0; i < s->o->n_roles; i++)
		uv_close((uv_handle_t *)&s->roles[i].again, NULL);
}

static void fail(struct sup *s, int rc)
{
	s->rc = rc;
	stop(s);
}

// ---- readiness

static void on_ear_closed(uv_handle_t *h)
{
	free(h->data);
}

static void close_ear(struct role *r)
{
	if (!r->ear)
		return;
	r->ear->role = NULL;
	uv_close((uv_handle_t *)&r->ear->pipe, on_ear_closed);
	r->ear = NULL;
}

static void start_others(struct sup *s)
{
	AUTO_FREE char *text = NULL;
	int rc = fl_file_read(s->o->port_file, &text, NULL, s->err);

	if (rc == 0)
		rc = s->o->on_port(s->o->arg, (uint16_t)atoi(text), s->err);
	if (rc < 0) {
		fail(s, rc);
		return;
	}
	s->others_started = true;
	for (unsigned i = 1; i < s->o->n_roles; i++)
		start(&s->roles[i]);
}

static void announce(struct sup *s)
{
	for (unsigned i = 0; i < s->o->n_roles; i++)
		if (!s->roles[i].ready)
			return;
	s->announced = true;
	uv_timer_stop(&s->slow);
	printf("fairlead: ready in %llu ms, kubeconfig %s\n", (unsigned long long)(fl_mono_ms() - s->o->started_ms),
	       s->o->admin_kubeconfig);
	fflush(stdout);
	fl_notify_ready();
}

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *buf)
{
	struct ear *e = h->data;
	*buf = uv_buf_init(e->buf, sizeof(e->buf));
}

static struct role *current(struct sup *s) // NULL: nobody's turn
{
	return s->turn < s->o->n_roles ? &s->roles[s->turn] : NULL;
}

static void on_told(uv_stream_t *h, ssize_t n, const uv_buf_t *buf)
{
	struct role *r = ((struct ear *)h->data)->role;
	if (!r || n == 0)
		return;
	close_ear(r); // one word, or the end of it
	if (n < 0 || r->sup->stopping)
		return;
	r->ready = true;
	if (!r->sup->others_started)
		start_others(r->sup);
	else if (!r->sup->announced)
		announce(r->sup);
	if (!r->renewing && r == current(r->sup)) {
		r->sup->turn++;
		renew_next(r->sup);
	}
}

static void on_slow(uv_timer_t *t)
{
	struct sup *s = t->data;
	char names[256] = "";
	for (unsigned i = 0; i < s->o->n_roles; i++)
		if (!s->roles[i].ready && (i == 0 || s->others_started))
			snprintf(names + strlen(names), sizeof(names) - strlen(names), "%s%s", *names ? "," : "",
				 s->roles[i].spec->name);
	fl_warn("not ready yet, their own lines may say why: roles=%s after_ms=%llu", names,
		(unsigned long long)(fl_mono_ms() - s->o->started_ms));
}

// ---- adopted processes: the children of a role that died are ours now, and libuv waits for those alone that it
// started.

static bool is_role(const struct sup *s, pid_t pid)
{
	for (unsigned i = 0; i < s->o->n_roles; i++)
		if (s->roles[i].running && s->roles[i].process.pid == pid)
			return true;
	return false;
}

static void on_bury(uv_timer_t *t)
{
	struct sup *s = t->data;
	siginfo_t dead = {0};

	while (waitid(P_ALL, 0, &dead, WEXITED | WNOHANG | WNOWAIT) == 0 && dead.si_pid > 0) {
		if (is_role(s, dead.si_pid))
			return; // libuv's; its signal is on the way, and brings us here again
		(void)!waitid(P_PID, (id_t)dead.si_pid, &dead, WEXITED | WNOHANG);
		dead.si_pid = 0;
	}
}

static void on_child(uv_signal_t *h, int signum)
{
	struct sup *s = h->data;
	uv_timer_start(&s->bury, on_bury, 0, 0); // after libuv has taken its own
}

// ---- new certificates: roles read theirs when they start, so each is started anew, one after the other, while the
// others serve. The API server is the first, since a client that starts with new certificates must find it in time.

static void on_turn_over(uv_timer_t *t)
{
	struct sup *s = t->data;
	struct role *r = current(s);
	if (r && r->renewing) {
		fl_warn("role did not end in time role=%s", r->spec->name);
		uv_process_kill(&r->process, SIGKILL);
		return; // its end brings on_role_exit
	}
	s->turn++; // it is not ready, for reasons of its own or since another is not: go on
	renew_next(s);
}

static void renew_next(struct sup *s)
{
	uv_timer_stop(&s->wait);
	for (struct role *r; (r = current(s)); s->turn++) {
		if (!r->running) // it reads them when its back-off is over
			continue;
		r->renewing = true;
		uv_process_kill(&r->process, SIGTERM);
		uv_timer_start(&s->wait, on_turn_over, STOP_MS, 0);
		return;
	}
}

static int64_t clocks_apart(void)
{
	return fl_real_ns() - (int64_t)fl_mono_ns();
}

// Certificates grow old by the wall clock, which may be set, and runs on while the host sleeps.
static void on_tick(uv_timer_t *t)
{
	struct sup *s = t->data;
	struct fl_err err = {0};
	int64_t apart = clocks_apart();
	bool jumped = llabs(apart - s->clocks_ns) > JUMP_NS;
	if (s->stopping || !s->others_started || current(s) || (!jumped && fl_mono_ms() < s->renew_at_ms))
		return;
	int rc = s->o->renew(s->o->arg, &err);
	unsigned every = s->o->renew_every_ms;
	s->clocks_ns = apart;
	s->renew_at_ms = fl_mono_ms() + (rc < 0 && every > RETRY_MS ? RETRY_MS : every);
	if (rc < 0)
		fl_error("certificates could not be renewed: %s", err.text);
	if (rc > 0) {
		s->turn = 0;
		renew_next(s);
	}
}

static void start_ticking(struct sup *s)
{
	unsigned every = s->o->renew_every_ms < TICK_MS ? s->o->renew_every_ms : TICK_MS;
	s->clocks_ns = clocks_apart();
	s->renew_at_ms = fl_mono_ms() + s->o->renew_every_ms;
	if (s->o->renew)
		uv_timer_start(&s->tick, on_tick, every, every);
}

// ---- roles

static bool is_hopeless(const struct role *r)
{
	return r == &r->sup->roles[0] && !r->sup->others_started && r->ended >= API_TRIES;
}

static void start_later(struct role *r)
{
	r->backoff_ms = !r->backoff_ms                       ? BACKOFF_MIN_MS
			: r->backoff_ms * 2 < BACKOFF_MAX_MS ? r->backoff_ms * 2
							     : BACKOFF_MAX_MS;
	uv_timer_start(&r->again, on_again, r->backoff_ms, 0);
}

static void on_role_exit(uv_process_t *p, int64_t status, int signum)
{
	struct role *r = p->data;
	struct sup *s = r->sup;
	char how[32];
	r->running = r->ready = false;
	r->ended++;
	uv_close((uv_handle_t *)p, NULL);
	close_ear(r);
	if (s->stopping) {
		stop_next(s);
		end_if_idle(s);
		return;
	}
	if (r->renewing) {
		r->renewing = false;
		fl_info("role is started anew, there are new certificates role=%s", r->spec->name);
		uv_timer_start(&r->again, on_again, 0, 0); // when the handle is closed
		uv_timer_start(&s->wait, on_turn_over, TURN_MS, 0);
		return;
	}
	snprintf(how, sizeof(how), signum ? "signal=%d" : "status=%d", signum ? signum : (int)status);
	if (is_hopeless(r)) {
		fail(s,
		     fl_err_set(s->err, -EIO, "the %s cannot be started: it ended %u times (%s); its own lines say why",
				r->spec->name, r->ended, how));
		return;
	}
	if (fl_mono_ms() - r->started_ms > STEADY_MS)
		r->backoff_ms = 0;
	start_later(r);
	fl_error("role ended, starting it again role=%s pid=%d %s after_ms=%u", r->spec->name, p->pid, how,
		 r->backoff_ms);
}

static void listen_to(struct role *r)
{
	struct ear *e = FL_NEW(struct ear);
	uv_pipe_init(&r->sup->loop, &e->pipe, 0);
	e->pipe.data = e;
	e->role = r;
	r->ear = e;
}

static void start(struct role *r)
{
	struct sup *s = r->sup;
	char *argv[64] = {s->exe};
	for (unsigned i = 0; r->spec->argv[i] && i + 2 < FL_COUNT(argv); i++)
		argv[i + 1] = r->spec->argv[i];
	listen_to(r);
	uv_stdio_container_t stdio[] = {
	    {.flags = UV_IGNORE},
	    {.flags = UV_INHERIT_FD, .data.fd = 2},
	    {.flags = UV_INHERIT_FD, .data.fd = 2},
	    [READY_FD] = {.flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE, .data.stream = (uv_stream_t *)&r->ear->pipe},
	    [FL_SUPERVISOR_LOCK_FD] = {.flags = UV_INHERIT_FD, .data.fd = s->o->lock_fd},
	};
	uv_process_options_t opts = {
	    .exit_cb = on_role_exit,
	    .file = s->exe,
	    .args = argv,
	    .stdio = stdio,
	    .stdio_count = FL_COUNT(stdio),
	    .flags = UV_PROCESS_DETACHED, // Ctrl-C is for the supervisor, which ends them in order
	};
	r->process.data = r;
	r->started_ms = fl_mono_ms();
	int rc = uv_spawn(&s->loop, &r->process, &opts);
	if (rc < 0) {
		uv_close((uv_handle_t *)&r->process, NULL);
		close_ear(r);
		start_later(r);
		fl_error("role could not be started role=%s reason=%s after_ms=%u", r->spec->name, uv_strerror(rc),
			 r->backoff_ms);
		return;
	}
	r->running = true;
	uv_read_start((uv_stream_t *)&r->ear->pipe, on_alloc, on_told);
}

static unsigned running(const struct sup *s, unsigned from)
{
	unsigned n = 0;
	for (unsigned i = from; i < s->o->n_roles; i++)
		n += s->roles[i].running;
	return n;
}

static void on_kill(uv_timer_t *t)
{
	struct sup *s = t->data;
	unsigned others = running(s, 1);
	for (unsigned i = others ? 1 : 0; i < s->o->n_roles; i++)
		if (s->roles[i].running) {
			fl_warn("role did not end in time role=%s", s->roles[i].spec->name);
			uv_process_kill(&s->roles[i].process, SIGKILL);
		}
}

// The API server is told to end when all others have: they can still say goodbye to it, and do not complain that it is
// gone.
static void stop_next(struct sup *s)
{
	struct role *api = &s->roles[0];
	if (running(s, 1) || !api->running)
		return;
	uv_process_kill(&api->process, SIGTERM);
	uv_timer_start(&s->kill, on_kill, STOP_MS, 0);
}

static void stop(struct sup *s)
{
	if (s->stopping)
		return;
	s->stopping = true;
	uv_timer_stop(&s->wait);
	for (unsigned i = s->o->n_roles; i-- > 1;)
		if (s->roles[i].running)
			uv_process_kill(&s->roles[i].process, SIGTERM);
	uv_timer_start(&s->kill, on_kill, STOP_MS, 0);
	stop_next(s);
	end_if_idle(s);
}

static void on_signal(uv_signal_t *h, int signum)
{
	struct sup *s = h->data;
	if (!s->announced && !s->stopping) // nobody is to wait for the ready line
		fl_info("told to end before all was ready");
	stop(s);
}

static void init_handles(struct sup *s)
{
	uv_loop_init(&s->loop);
	uv_signal_init(&s->loop, &s->term);
	uv_signal_init(&s->loop, &s->intr);
	uv_signal_init(&s->loop, &s->child);
	uv_timer_init(&s->loop, &s->slow);
	uv_timer_init(&s->loop, &s->kill);
	uv_timer_init(&s->loop, &s->bury);
	uv_timer_init(&s->loop, &s->tick);
	uv_timer_init(&s->loop, &s->wait);
	s->turn = s->o->n_roles;
	s->tick.data = s->wait.data = s;
	s->term.data = s->intr.data = s->child.data = s->slow.data = s->kill.data = s->bury.data = s;
	uv_signal_start(&s->term, on_signal, SIGTERM);
	uv_signal_start(&s->intr, on_signal, SIGINT);
	uv_signal_start(&s->child, on_child, SIGCHLD);
	uv_timer_start(&s->slow, on_slow, SLOW_MS, 0);
	for (unsigned i = 0; i < s->o->n_roles; i++) {
		s->roles[i] = (struct role){.sup = s, .spec = &s->o->roles[i]};
		uv_timer_init(&s->loop, &s->roles[i].again);
		s->roles[i].again.data = &s->roles[i];
	}
}

int fl_supervisor_run(const struct fl_supervisor_opts *o, struct fl_err *err)
{
	struct sup s = {.o = o, .err = err};
	ssize_t n = readlink("/proc/self/exe", s.exe, sizeof(s.exe) - 1);
	if (n < 0)
		return fl_err_set(err, -errno, "find the own executable: %s", strerror(errno));
	if (unlink(o->port_file) < 0 && errno != ENOENT)
		return fl_err_set(err, -errno, "remove %s: %s", o->port_file, strerror(errno));
	signal(SIGPIPE, SIG_IGN);
	char pid[16];
	snprintf(pid, sizeof(pid), "%d", (int)getpid());
	setenv(FL_SUPERVISOR_ENV, pid, 1);
	setenv(FL_READY_ENV, "3", 1);
	if (prctl(PR_SET_CHILD_SUBREAPER, 1) < 0) // then somebody else reaps them
		fl_debug("cannot adopt processes: %s", strerror(errno));
	init_handles(&s);
	start_ticking(&s);
	start(&s.roles[0]);
	uv_run(&s.loop, UV_RUN_DEFAULT);
	uv_loop_close(&s.loop);
	return s.rc;
}
