// SPDX-License-Identifier: Apache-2.0
// The watch over skopeo, umoci and tar. What a program wrote is what the kernel counts of its write calls
// (/proc/<pid>/io, wchar): a layer that unpacks to a thousand times its size is stopped some hundredths of a second
// after it went over its bound, without reading it twice.
#include "node/image/tool.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/vec.h"
#include "io/subprocess.h"

#define LOOK_MS         50
#define NO_PROGRESS_MS  (5 * 60 * 1000) // containerd: image_pull_progress_timeout
#define RESERVE_PERCENT 5               // of space and of inodes, left to others
#define RESERVE_MAX     (UINT64_C(2) << 30)
#define MESSAGE_MAX     600

struct fl_image_tool {
	struct fl_subprocess *p;
	uv_timer_t timer;
	char *name, *cwd;
	uint64_t max_bytes;
	uint64_t seen, seen_ms; // bytes read and written, and when that changed last
	int rc;                 // why we ended it
	char why[256];
	void (*on_exit)(void *arg, int rc, const char *out, size_t out_len, const char *message);
	void *arg;
};

static uint64_t counter(const char *text, const char *key)
{
	const char *at = strstr(text, key);

	return at ? strtoull(at + strlen(key), NULL, 10) : 0;
}

static bool disk_is_full(const char *dir, const char **ret_what)
{
	struct statvfs fs;
	uint64_t reserve, free_bytes;

	if (statvfs(dir, &fs) < 0)
		return false;
	reserve = (uint64_t)fs.f_blocks * fs.f_frsize / 100 * RESERVE_PERCENT;
	free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
	*ret_what = "space";
	if (free_bytes < (reserve < RESERVE_MAX ? reserve : RESERVE_MAX))
		return true;
	*ret_what = "inodes";
	return fs.f_files && fs.f_favail < fs.f_files / 100 * RESERVE_PERCENT; // 0 files: made as needed
}

static void end(struct fl_image_tool *t, int rc)
{
	t->rc = rc;
	uv_timer_stop(&t->timer);
	fl_subprocess_kill(t->p, SIGKILL);
}

static void on_look(uv_timer_t *timer)
{
	struct fl_image_tool *t = timer->data;
	char path[64];
	AUTO_FREE char *text = NULL;
	const char *what;
	uint64_t written, all;

	snprintf(path, sizeof(path), "/proc/%d/io", fl_subprocess_pid(t->p));
	if (fl_file_read(path, &text, NULL, NULL) < 0)
		return;
	written = counter(text, "wchar: ");
	all = written + counter(text, "rchar: ");
	if (all != t->seen) {
		t->seen = all;
		t->seen_ms = uv_now(timer->loop);
	}
	if (written > t->max_bytes) {
		snprintf(t->why, sizeof(t->why), "%s wrote more than the %llu bytes that an image may have", t->name,
			 (unsigned long long)t->max_bytes);
		end(t, -EFBIG);
	} else if (disk_is_full(t->cwd, &what)) {
		snprintf(t->why, sizeof(t->why), "not enough free %s on the disk of %s", what, t->cwd);
		end(t, -ENOSPC);
	} else if (uv_now(timer->loop) - t->seen_ms > NO_PROGRESS_MS) {
		snprintf(t->why, sizeof(t->why), "%s made no progress for %d s", t->name, NO_PROGRESS_MS / 1000);
		end(t, -ETIMEDOUT);
	}
}

// --- what it said ---

// skopeo (logrus): time="..." level=fatal msg="..."
static bool logrus_message(struct fl_buf *to, const char *text)
{
	static const char mark[] = "level=fatal msg=";
	const char *at = strstr(text, mark);

	if (!at)
		return false;
	at += strlen(mark);
	if (*at != '"') {
		fl_buf_append(to, at, strcspn(at, "\n"));
		return true;
	}
	for (at++; *at && *at != '"'; at++) {
		if (*at == '\\' && at[1])
			at++;
		fl_buf_putc(to, *at == '\n' ? ' ' : *at);
	}
	return true;
}

// umoci: "   ⨯ what went wrong"; tar: its first line, since the last says only that there were errors; others: the last
// line that is not empty.
static void plain_message(struct fl_buf *to, const char *name, const char *text)
{
	static const char cross[] = "\u2a2f ";
	const char *at = strstr(text, cross), *end_at;

	if (at) {
		at += strlen(cross);
		fl_buf_append(to, at, strcspn(at, "\n"));
		return;
	}
	if (strcmp(name, "tar") == 0) {
		fl_buf_append(to, text, strcspn(text, "\n"));
		return;
	}
	end_at = text + strlen(text);
	while (end_at > text && (end_at[-1] == '\n' || end_at[-1] == ' '))
		end_at--;
	at = end_at;
	while (at > text && at[-1] != '\n')
		at--;
	fl_buf_append(to, at, (size_t)(end_at - at));
}

// What skopeo puts before every reason of a registry says nothing more.
static void drop_prefix(struct fl_buf *b)
{
	static const char first[] = "Error parsing image name \"docker://", second[] = "initializing source docker://";
	const char *from = fl_starts_with(b->data, first) ? "\": " : fl_starts_with(b->data, second) ? ": " : NULL;
	const char *at = from ? strstr(b->data + (from[0] == '"' ? strlen(first) : strlen(second)), from) : NULL;

	if (at)
		fl_buf_consume(b, (size_t)(at - b->data) + strlen(from));
}

static char *message_of(const char *name, int status, const char *out, const char *errout)
{
	AUTO(fl_buf_deinit) struct fl_buf b = {0};

	fl_buf_puts(&b, "");
	if (!logrus_message(&b, errout))
		plain_message(&b, name, *errout ? errout : out);
	drop_prefix(&b);
	if (!b.len)
		return fl_asprintf("%s %s %d", name, status < 0 ? "was ended by signal" : "exited with status",
				   status < 0 ? -status : status);
	if (b.len > MESSAGE_MAX)
		b.data[MESSAGE_MAX] = '\0';
	return fl_buf_take(&b);
}

static void on_timer_closed(uv_handle_t *handle)
{
	struct fl_image_tool *t = handle->data;

	free(t->name);
	free(t->cwd);
	free(t);
}

static void on_ended(void *arg, int rc, int status, const char *out, size_t out_len, const char *errout, size_t err_len)
{
	struct fl_image_tool *t = arg;
	AUTO_FREE char *message = NULL;

	t->p = NULL;
	uv_close((uv_handle_t *)&t->timer, on_timer_closed);
	if (!t->on_exit)
		return;
	if (t->rc == 0 && status != 0) {
		message = message_of(t->name, status, out, errout);
		t->rc = strstr(message, "no space left on device") ? -ENOSPC : -EIO;
	} else if (t->rc < 0) {
		message = fl_strdup(t->why);
	}
	t->on_exit(t->arg, t->rc, out, out_len, message ? message : "");
}

// --- start ---

static bool in_path(const char *program)
{
	const char *path = getenv("PATH");
	AUTO_FREE char *copy = fl_strdup(path ? path : "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
	char *save = NULL;

	for (char *dir = strtok_r(copy, ":", &save); dir; dir = strtok_r(NULL, ":", &save)) {
		AUTO_FREE char *file = fl_asprintf("%s/%s", dir, program);

		if (access(file, X_OK) == 0)
			return true;
	}
	return false;
}

int fl_image_tool_start(const struct fl_image_tool_opts *o, struct fl_image_tool **ret, struct fl_err *err)
{
	struct fl_image_tool *t;
	FL_VEC(const char *) argv = {0};
	int rc;

	if (!in_path(o->argv[0]))
		return fl_err_set(err, -ENOENT,
				  "%s is not installed: install the package %s (Debian: apt-get install %s)",
				  o->argv[0], o->argv[0], o->argv[0]);
	t = FL_NEW(struct fl_image_tool);
	// Killed with us, it cannot write into a directory that the next start removes.
	fl_vec_push(&argv, "setpriv");
	fl_vec_push(&argv, "--pdeathsig");
	fl_vec_push(&argv, "KILL");
	for (size_t i = 0; o->argv[i]; i++)
		fl_vec_push(&argv, o->argv[i]);
	fl_vec_push(&argv, NULL);
	struct fl_subprocess_opts so = {
	    .argv = argv.v, .cwd = o->cwd, .max_output = o->max_output, .on_exit = on_ended, .arg = t};

	rc = fl_subprocess_start(o->loop, &so, &t->p, err);
	fl_vec_deinit(&argv);
	if (rc < 0) {
		free(t);
		return rc;
	}
	t->name = fl_strdup(o->argv[0]);
	t->cwd = fl_strdup(o->cwd);
	t->max_bytes = o->max_bytes;
	t->on_exit = o->on_exit;
	t->arg = o->arg;
	uv_timer_init(o->loop, &t->timer);
	t->timer.data = t;
	t->seen_ms = uv_now(o->loop);
	uv_timer_start(&t->timer, on_look, LOOK_MS, LOOK_MS);
	*ret = t;
	return 0;
}

void fl_image_tool_cancel(struct fl_image_tool **tp)
{
	struct fl_image_tool *t = *tp;

	if (!t)
		return;
	*tp = NULL;
	t->on_exit = NULL;
	end(t, -ECANCELED);
}
