// SPDX-License-Identifier: Apache-2.0
#include "supervisor/supervisor.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>
#include <uv.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "supervisor/ready.h"

#define BACKOFF_MIN_MS 100
#define BACKOFF_MAX_MS 10000
#define STEADY_MS      10000 // a role that ran this long has recovered: its back-off is forgotten
#define PORT_POLL_MS   2
#define STOP_MS        8000 // then SIGKILL

struct role {
	struct sup *sup;
	struct fl_supervised *spec;
	uv_process_t process;
	uv_timer_t again;
	bool running;
	unsigned backoff_ms;
	uint64_t started_ms;
};

struct sup {
	const struct fl_supervisor_opts *o;
	uv_loop_t loop;
	uv_signal_t term, intr;
	uv_timer_t poll, kill;
	struct role roles[8];
	struct fl_ready *ready;
	bool stopping, server_told;
	int rc;
	struct fl_err *err;
	char exe[PATH_MAX];
};

static void stop(struct sup *s);

static void start(struct role *r);

static void on_again(uv_timer_t *t)
{
	struct role *r = t->data;
	if (!r->sup->stopping)
		start(r);
}

// The next step of an end: the API server is told to end when its clients have ended, which would otherwise complain of
// broken streams.
static void go_on_ending(struct sup *s)
{
	for (unsigned i = 1; i < s->o->n_roles; i++)
		if (s->roles[i].running)
			return;
	if (s->roles[0].running && !s->server_told) {
		s->server_told = true;
		uv_process_kill(&s->roles[0].process, SIGTERM);
	}
	if (s->roles[0].running)
		return;
	uv_close((uv_handle_t *)&s->term, NULL);
	uv_close((uv_handle_t *)&s->intr, NULL);
	uv_close((uv_handle_t *)&s->poll, NULL);
	uv_close((uv_handle_t *)&s->kill, NULL);
	for (unsigned i = 0; i < s->o->n_roles; i++)
		uv_close((uv_handle_t *)&s->roles[i].again, NULL);
	fl_ready_free(&s->ready);
}

static void on_role_exit(uv_process_t *p, int64_t status, int signum)
{
	struct role *r = p->data;
	struct sup *s = r->sup;
	r->running = false;
	uv_close((uv_handle_t *)p, NULL);
	if (s->stopping) {
		go_on_ending(s);
		return;
	}
	if (fl_mono_ms() - r->started_ms > STEADY_MS)
		r->backoff_ms = 0;
	r->backoff_ms = !r->backoff_ms                       ? BACKOFF_MIN_MS
			: r->backoff_ms * 2 < BACKOFF_MAX_MS ? r->backoff_ms * 2
							     : BACKOFF_MAX_MS;
	if (signum)
		fl_error("role ended, starting it again role=%s pid=%d signal=%d after_ms=%u", r->spec->name, p->pid,
			 signum, r->backoff_ms);
	else
		fl_error("role ended, starting it again role=%s pid=%d status=%d after_ms=%u", r->spec->name, p->pid,
			 (int)status, r->backoff_ms);
	uv_timer_start(&r->again, on_again, r->backoff_ms, 0);
}

static void start(struct role *r)
{
	struct sup *s = r->sup;
	char *argv[64] = {s->exe};
	for (unsigned i = 0; r->spec->argv[i] && i + 2 < FL_COUNT(argv); i++)
		argv[i + 1] = r->spec->argv[i];
	uv_stdio_container_t stdio[3] = {
	    {.flags = UV_IGNORE}, {.flags = UV_INHERIT_FD, .data.fd = 2}, {.flags = UV_INHERIT_FD, .data.fd = 2}};
	uv_process_options_t opts = {
	    .exit_cb = on_role_exit, .file = s->exe, .args = argv, .stdio = stdio, .stdio_count = 3};
	r->process.data = r;
	r->started_ms = fl_mono_ms();
	int rc = uv_spawn(&s->loop, &r->process, &opts);
	if (rc < 0) {
		fl_error("role could not be started role=%s reason=%s", r->spec->name, uv_strerror(rc));
		uv_close((uv_handle_t *)&r->process, NULL);
		uv_timer_start(&r->again, on_again, BACKOFF_MAX_MS, 0);
		return;
	}
	r->running = true;
}

static void on_kill(uv_timer_t *t)
{
	struct sup *s = t->data;
	for (unsigned i = 0; i < s->o->n_roles; i++)
		if (s->roles[i].running) {
			fl_warn("role did not end in time role=%s", s->roles[i].spec->name);
			uv_process_kill(&s->roles[i].process, SIGKILL);
		}
}

static void stop(struct sup *s)
{
	if (s->stopping)
		return;
	s->stopping = true;
	for (unsigned i = 1; i < s->o->n_roles; i++)
		if (s->roles[i].running)
			uv_process_kill(&s->roles[i].process, SIGTERM);
	uv_timer_start(&s->kill, on_kill, STOP_MS, 0);
	go_on_ending(s);
}

static void on_signal(uv_signal_t *h, int signum)
{
	stop(h->data);
}

// systemd's readiness protocol (sd_notify(3)): one datagram to $NOTIFY_SOCKET.
static void notify_systemd(void)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	if (!path || (path[0] != '/' && path[0] != '@') || strlen(path) >= sizeof(sa.sun_path))
		return;
	memcpy(sa.sun_path, path, strlen(path));
	if (path[0] == '@')
		sa.sun_path[0] = 0;
	AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	static const char text[] = "READY=1";
	if (fd < 0 || sendto(fd, text, sizeof(text) - 1, MSG_NOSIGNAL, (struct sockaddr *)&sa,
			     (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path))) < 0)
		fl_warn("systemd could not be told that all is ready reason=%s", strerror(errno));
}

static void on_ready(void *arg)
{
	struct sup *s = arg;
	printf("fairlead: ready in %llu ms, kubeconfig %s\n", (unsigned long long)(fl_mono_ms() - s->o->started_ms),
	       s->o->admin_kubeconfig);
	fflush(stdout);
	notify_systemd();
}

static void fail(struct sup *s, int rc)
{
	s->rc = rc;
	stop(s);
}

static void on_poll(uv_timer_t *t)
{
	struct sup *s = t->data;
	AUTO_FREE char *text = NULL;
	if (s->stopping || fl_file_read(s->o->port_file, &text, NULL, NULL) < 0)
		return;
	int port = atoi(text);
	uv_timer_stop(t);
	int rc = s->o->on_port(s->o->arg, (uint16_t)port, s->err);
	if (rc < 0) {
		fail(s, rc);
		return;
	}
	for (unsigned i = 1; i < s->o->n_roles; i++)
		start(&s->roles[i]);
	struct fl_ready_opts ready = {.kubeconfig = s->o->kubeconfig,
				      .node_name = s->o->node_name,
				      .domain = s->o->cluster_domain,
				      .dns_ip = s->o->dns_ip,
				      .dns_port = s->o->dns_port,
				      .service_family = s->o->service_family,
				      .on_ready = on_ready,
				      .arg = s};
	rc = fl_ready_start(&s->loop, &ready, &s->ready, s->err);
	if (rc < 0)
		fail(s, rc);
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
	uv_loop_init(&s.loop);
	uv_signal_init(&s.loop, &s.term);
	uv_signal_init(&s.loop, &s.intr);
	uv_timer_init(&s.loop, &s.poll);
	uv_timer_init(&s.loop, &s.kill);
	s.term.data = s.intr.data = s.poll.data = s.kill.data = &s;
	uv_signal_start(&s.term, on_signal, SIGTERM);
	uv_signal_start(&s.intr, on_signal, SIGINT);
	for (unsigned i = 0; i < o->n_roles; i++) {
		s.roles[i] = (struct role){.sup = &s, .spec = &o->roles[i]};
		uv_timer_init(&s.loop, &s.roles[i].again);
		s.roles[i].again.data = &s.roles[i];
	}
	start(&s.roles[0]);
	uv_timer_start(&s.poll, on_poll, PORT_POLL_MS, PORT_POLL_MS);
	uv_run(&s.loop, UV_RUN_DEFAULT);
	uv_loop_close(&s.loop);
	return s.rc;
}
