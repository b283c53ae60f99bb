// SPDX-License-Identifier: Apache-2.0
// The container shim: one small static process per container, which outlives the node role.
//
//   fairlead-shim DIR LOG RUNTIME ROOT ID CGROUP LOG_MAX_BYTES
//
// It works in the attempt's directory DIR:  config.json  rootfs/  lower -> image  upper/  work/   made by the node
//                                            started.new  exit.new: room for the two records
//                                            lock  pid  runtime.log  started  exit                 made here
//
//   fork -> own mount namespace -> overlay on rootfs -> RUNTIME create      the overlay is seen by the container only
//   RUNTIME start -> "started PID NS\n" on fd 3 -> copies stdout, stderr -> LOG (CRI format, rotated)
//   the container ends (we are its subreaper) -> RUNTIME delete -> `exit` -> end
//
// A full disk costs log lines, never the container or how it ended: the records are written into room that was taken
// before the container began. One that cannot be written all the same is tried again for as long as its directory is
// there, and the container counts as running until then.
//
// Who asks whether a shim lives tries the flock on DIR/lock: the node took it before it started the shim and handed it
// over as fd 4, so that there is no moment without. The pid stands in the file; the node waits on a pidfd. Killing the
// shim is never needed: it ends after its container. It ignores the signals of terminals.
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "node/crilog.h"
#include "pause.h"

#define STATUS_FD     3
#define LOCK_FD       4
#define LOGS_KEPT     4      // rotated files beside the current one (kubelet: containerLogMaxFiles 5)
#define DRAIN_MS      2000   // after the container's end, for a pipe that something still holds
#define RUNTIME_MS    120000 // a call of the runtime that takes longer is ended: it would hold the pod for ever
#define RECORD_MS     1000   // until an exit record that could not be written is tried again
#define KILL_ROUNDS   500
#define EXIT_NO_START 128 // what Kubernetes shows for a container that could not be started

struct stream {
	int fd;
	bool is_stderr;
	size_t len;
	char buf[FL_CRILOG_TEXT_MAX];
};

static struct {
	const char *log_path, *runtime, *root, *id, *cgroup;
	unsigned long log_max, log_size;
	int log_fd, signal_fd;
	pid_t pid;
	bool ended;
	int wait_status;
	int64_t started_ns, finished_ns;
	struct stream streams[2];
	char out[2 * FL_CRILOG_TEXT_MAX];
} s;

static int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static size_t write_all(int fd, const char *p, size_t n) // how much of it
{
	size_t at = 0;

	while (at < n) {
		ssize_t done = write(fd, p + at, n - at);

		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			break;
		at += (size_t)done;
	}
	return at;
}

// Over what stands in `name`.new, which is as long or longer: no block is needed. False (errno): `name` is as it was.
static bool file_put(const char *name, const char *text)
{
	size_t n = strlen(text);
	bool whole;
	char tmp[64];
	int fd;

	snprintf(tmp, sizeof(tmp), "%s.new", name);
	fd = open(tmp, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return false;
	whole = write_all(fd, text, n) == n && ftruncate(fd, (off_t)n) == 0;
	if (close(fd) < 0 || !whole)
		return false;
	return rename(tmp, name) == 0;
}

static long file_number(const char *path, const char *key)
{
	char buf[2048];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, buf, sizeof(buf) - 1);
	const char *at;

	if (fd >= 0)
		close(fd);
	if (n <= 0)
		return -1;
	buf[n] = '\0';
	at = *key ? strstr(buf, key) : buf;
	return at ? strtol(at + strlen(key), NULL, 10) : -1;
}

// --- the log ---

static void log_open(void)
{
	struct stat st;

	s.log_fd = open(s.log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
	s.log_size = s.log_fd >= 0 && fstat(s.log_fd, &st) == 0 ? (unsigned long)st.st_size : 0;
}

static void log_rotate(void)
{
	char from[4096], to[4096];

	for (int i = LOGS_KEPT; i > 0; i--) {
		snprintf(to, sizeof(to), "%s.%d", s.log_path, i);
		snprintf(from, sizeof(from), i > 1 ? "%s.%d" : "%s", s.log_path, i - 1);
		rename(from, to);
	}
	close(s.log_fd);
	log_open();
}

// What the disk does not take is lost, in whole lines, and does not count: or old lines would go for ones that are
// nowhere.
static void log_write(const char *p, size_t n)
{
	struct stat st;
	size_t done, torn;

	if (s.log_fd < 0)
		log_open();
	done = write_all(s.log_fd, p, n);
	if (done < n) {
		const char *end = memrchr(p, '\n', done);

		torn = done - (end ? (size_t)(end - p) + 1 : 0);
		if (torn && fstat(s.log_fd, &st) == 0 && (size_t)st.st_size >= torn &&
		    ftruncate(s.log_fd, st.st_size - (off_t)torn) == 0)
			done -= torn;
	}
	s.log_size += done;
}

static void log_line(size_t *at, const struct stream *st, const char *text, size_t n, bool partial)
{
	if (*at + FL_CRILOG_PREFIX_LEN + n + 1 > sizeof(s.out)) {
		log_write(s.out, *at);
		*at = 0;
	}
	fl_crilog_prefix(s.out + *at, now_ns(), st->is_stderr, partial);
	*at += FL_CRILOG_PREFIX_LEN;
	memcpy(s.out + *at, text, n);
	*at += n;
	s.out[(*at)++] = '\n';
}

// Copies what is whole into the log; `last` also what is not.
static void stream_flush(struct stream *st, bool last)
{
	size_t from = 0, at = 0;

	for (;;) {
		const char *nl = memchr(st->buf + from, '\n', st->len - from);

		if (!nl)
			break;
		log_line(&at, st, st->buf + from, (size_t)(nl - st->buf) - from, false);
		from = (size_t)(nl - st->buf) + 1;
	}
	if (from < st->len && (last || (from == 0 && st->len == sizeof(st->buf)))) {
		log_line(&at, st, st->buf + from, st->len - from, true);
		from = st->len;
	}
	memmove(st->buf, st->buf + from, st->len - from);
	st->len -= from;
	log_write(s.out, at);
	if (s.log_max && s.log_size >= s.log_max)
		log_rotate();
}

static void stream_read(struct stream *st)
{
	ssize_t n = read(st->fd, st->buf + st->len, sizeof(st->buf) - st->len);

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n <= 0) {
		stream_flush(st, true);
		close(st->fd);
		st->fd = -1;
		return;
	}
	st->len += (size_t)n;
	stream_flush(st, false);
}

// --- processes ---

static uint64_t mono_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static bool reap_one(pid_t wanted, int *ret_status)
{
	bool found = false;
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid == wanted) {
			*ret_status = status;
			found = true;
		} else if (pid == s.pid && !s.ended) { // the container, while the runtime still works
			s.ended = true;
			s.wait_status = status;
			s.finished_ns = now_ns();
		}
	}
	return found;
}

static void reap(void)
{
	int ignored;

	reap_one(0, &ignored);
}

static void wait_for(pid_t pid, int *ret_status)
{
	uint64_t until = mono_ms() + RUNTIME_MS;

	while (!reap_one(pid, ret_status)) {
		struct pollfd p = {.fd = s.signal_fd, .events = POLLIN};
		struct signalfd_siginfo info;
		uint64_t now = mono_ms();

		if (now >= until) {
			kill(pid, SIGKILL);
			until = now + RUNTIME_MS;
		}
		poll(&p, 1, (int)(until - now));
		while (read(s.signal_fd, &info, sizeof(info)) > 0)
			;
	}
}

// Says why there is no start in the runtime's log and form, where the node looks for it.
static void say_no_start(const char *what)
{
	int error = errno, fd = open("runtime.log", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

	if (fd >= 0)
		dprintf(fd, "{\"level\":\"error\",\"msg\":\"%s: %s\"}\n", what, strerror(error));
	if (fd >= 0)
		close(fd);
}

__attribute__((noreturn)) static void fail_start(const char *what) // in the child that was to become the runtime
{
	say_no_start(what);
	_exit(EXIT_NO_START);
}

static void mount_rootfs(void)
{
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0)
		fail_start("own mount namespace");
	if (mount("overlay", "rootfs", "overlay", 0, "lowerdir=lower,upperdir=upper,workdir=work") < 0)
		fail_start("overlay file system of the container");
}

// Runs RUNTIME --root ROOT --log runtime.log args... to its end; the exit status, or 255.
static int runtime_run(const char *const *args, const struct stream *streams, const int *write_ends)
{
	const char *argv[16] = {s.runtime, "--root", s.root, "--log", "runtime.log", "--log-format", "json"};
	int status = 0, i = 7;
	pid_t pid;

	while (*args)
		argv[i++] = *args++;
	argv[i] = NULL;
	pid = fork();
	if (pid < 0)
		return 255;
	if (pid == 0) {
		sigset_t none;

		if (write_ends) {
			dup2(write_ends[0], STDOUT_FILENO);
			dup2(write_ends[1], STDERR_FILENO);
			mount_rootfs();
		}
		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		for (int sig = 1; sig < NSIG; sig++)
			signal(sig, SIG_DFL);
		execvp(argv[0], (char *const *)argv);
		fail_start("container runtime");
	}
	wait_for(pid, &status);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 255;
}

static void runtime_delete(void)
{
	const char *const args[] = {"delete", "--force", s.id, NULL};

	runtime_run(args, NULL, NULL);
}

// What the container's first process leaves behind where its process namespace is not its own (the pod's, the host's).
// True: there was something.
static bool kill_listed(const char *hierarchy)
{
	char path[1024], line[32];
	bool found = false;
	FILE *f;

	snprintf(path, sizeof(path), "/sys/fs/cgroup%s%s/cgroup.procs", hierarchy, s.cgroup);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f)) {
		pid_t pid = (pid_t)strtol(line, NULL, 10);

		if (pid > 1 && kill(pid, SIGKILL) == 0)
			found = true;
	}
	if (f)
		fclose(f);
	return found;
}

static void kill_rest(void)
{
	for (int round = 0; round < KILL_ROUNDS; round++) { // one may be forking
		bool found = kill_listed("");

		found = kill_listed("/memory") || found;
		if (!found)
			return;
		poll(NULL, 0, 2); // until the kernel took them out
	}
}

static bool was_oom_killed(void)
{
	char path[1024];

	snprintf(path, sizeof(path), "/sys/fs/cgroup%s/memory.events", s.cgroup);
	if (file_number(path, "oom_kill ") > 0)
		return true;
	snprintf(path, sizeof(path), "/sys/fs/cgroup/memory%s/memory.oom_control", s.cgroup);
	return file_number(path, "oom_kill ") > 0;
}

static void record_exit(int code, bool oom, bool started)
{
	char text[256];

	snprintf(text, sizeof(text), "code=%d\noom=%d\nran=%d\nstarted=%lld\nfinished=%lld\n", code, oom, started,
		 (long long)s.started_ns, (long long)(s.finished_ns ? s.finished_ns : now_ns()));
	while (!file_put("exit", text) && errno != ENOENT) // ENOENT: somebody removed the directory
		poll(NULL, 0, RECORD_MS);
}

static void tell(const char *text)
{
	write_all(STATUS_FD, text, strlen(text));
	close(STATUS_FD);
}

static bool start_container(void)
{
	const char *const create[] = {"create", "--bundle", ".", "--pid-file", "pid", s.id, NULL};
	const char *const start[] = {"start", s.id, NULL};
	char text[128];
	int out[2], err[2], rc;

	snprintf(text, sizeof(text), "%d\n", (int)getpid());
	if (pwrite(LOCK_FD, text, strlen(text), 0) < 0) {
		say_no_start("pid of the shim");
		return false;
	}
	if (pipe2(out, O_CLOEXEC) < 0 || pipe2(err, O_CLOEXEC) < 0)
		return false;
	s.streams[0] = (struct stream){.fd = out[0]};
	s.streams[1] = (struct stream){.fd = err[0], .is_stderr = true};
	rc = runtime_run(create, s.streams, (const int[]){out[1], err[1]});
	close(out[1]);
	close(err[1]);
	if (rc != 0)
		return false;
	s.pid = (pid_t)file_number("pid", "");
	if (s.pid <= 0)
		return false;
	s.started_ns = now_ns();
	snprintf(text, sizeof(text), "%lld\n", (long long)s.started_ns);
	if (!file_put("started", text)) {
		say_no_start("record of the start");
		return false;
	}
	if (runtime_run(start, NULL, NULL) != 0)
		return false;
	snprintf(text, sizeof(text), "started %d %lld\n", (int)s.pid, (long long)s.started_ns);
	tell(text);
	return true;
}

static void serve(void)
{
	struct timespec until = {0}, now;
	bool rest_killed = false;

	reap();
	while (!s.ended || s.streams[0].fd >= 0 || s.streams[1].fd >= 0) {
		struct pollfd p[3] = {{.fd = s.signal_fd, .events = POLLIN},
				      {.fd = s.streams[0].fd, .events = POLLIN},
				      {.fd = s.streams[1].fd, .events = POLLIN}};
		struct signalfd_siginfo info;

		if (s.ended && !rest_killed) {
			kill_rest();
			rest_killed = true;
		}
		if (s.ended) {
			clock_gettime(CLOCK_MONOTONIC, &now);
			if (!until.tv_sec)
				until = (struct timespec){.tv_sec = now.tv_sec + DRAIN_MS / 1000};
			if (now.tv_sec > until.tv_sec)
				break;
		}
		if (poll(p, 3, s.ended ? DRAIN_MS : -1) < 0 && errno != EINTR)
			break;
		for (int i = 0; i < 2; i++) {
			if (p[i + 1].revents)
				stream_read(&s.streams[i]);
		}
		while (read(s.signal_fd, &info, sizeof(info)) > 0)
			;
		reap();
	}
	if (!rest_killed)
		kill_rest();
	for (int i = 0; i < 2; i++) {
		if (s.streams[i].fd >= 0)
			stream_flush(&s.streams[i], true);
	}
}

int main(int argc, char **argv)
{
	int null_fd;
	sigset_t chld;

	if (argc == 1 && strcmp(argv[0], "/pause") == 0)
		return pause_run();
	if (argc == 4 && strcmp(argv[1], "pause") == 0)
		return pause_make(argv[2], argv[3]);
	if (argc != 8 || chdir(argv[1]) < 0)
		return 2;
	s.log_path = argv[2];
	s.runtime = argv[3];
	s.root = argv[4];
	s.id = argv[5];
	s.cgroup = argv[6];
	s.log_max = strtoul(argv[7], NULL, 10);
	setsid();
	umask(022);
	fcntl(STATUS_FD, F_SETFD, FD_CLOEXEC);
	signal(SIGHUP, SIG_IGN);
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&chld);
	sigaddset(&chld, SIGCHLD);
	sigprocmask(SIG_BLOCK, &chld, NULL);
	null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	for (int i = 0; i < 3; i++)
		dup2(null_fd, i);
	s.signal_fd = signalfd(-1, &chld, SFD_NONBLOCK | SFD_CLOEXEC);
	fcntl(LOCK_FD, F_SETFD, FD_CLOEXEC);
	if (prctl(PR_SET_CHILD_SUBREAPER, 1L, 0L, 0L, 0L) < 0)
		return 3;
	log_open();
	if (!start_container()) {
		runtime_delete();
		record_exit(EXIT_NO_START, false, false);
		tell("failed\n");
		reap();
		s.ended = true; // whatever was created is gone now
		serve();        // what the runtime said on stderr belongs into the log
		return 1;
	}
	serve();
	bool oom = was_oom_killed();

	runtime_delete();
	record_exit(WIFSIGNALED(s.wait_status) ? 128 + WTERMSIG(s.wait_status) : WEXITSTATUS(s.wait_status), oom, true);
	return 0;
}
