// SPDX-License-Identifier: Apache-2.0
// Log reading. See logs.h.
#include "node/logs.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "node/crilog.h"

#define CHUNK (64 * 1024)

struct fl_logs {
	char *path;
	int fd;
	struct fl_logs_opts o;
	char since[FL_CRILOG_PREFIX_LEN]; // its first 30 bytes compare as text with a line's time
	bool mid_line;                    // the last text had no newline
	int64_t sent;
	size_t len;
	char *buf; // the start of a line that is not whole yet; CHUNK bytes
};

static bool bool_value(const char *v, bool *ret)
{
	if (strcmp(v, "true") == 0 || strcmp(v, "1") == 0)
		*ret = true;
	else if (strcmp(v, "false") == 0 || strcmp(v, "0") == 0)
		*ret = false;
	else
		return false;
	return true;
}

static bool number_value(const char *v, int64_t *ret)
{
	unsigned long long n;

	if (!fl_parse_u64(v, &n) || n > INT64_MAX / 1000000000)
		return false;
	*ret = (int64_t)n;
	return true;
}

static int parse_one(const char *key, const char *v, int64_t now_ns, struct fl_logs_opts *o, bool *follow,
		     bool *previous)
{
	int64_t n;

	if (strcmp(key, "tailLines") == 0)
		return number_value(v, &o->tail_lines) ? 0 : -EINVAL;
	if (strcmp(key, "limitBytes") == 0)
		return number_value(v, &o->limit_bytes) && o->limit_bytes > 0 ? 0 : -EINVAL;
	if (strcmp(key, "sinceSeconds") == 0) {
		if (!number_value(v, &n) || n == 0)
			return -EINVAL;
		o->since_ns = now_ns - fl_clamp_seconds(n) * 1000000000;
		return 0;
	}
	if (strcmp(key, "sinceTime") == 0)
		return fl_time_parse(v, &o->since_ns) ? 0 : -EINVAL;
	if (strcmp(key, "timestamps") == 0)
		return bool_value(v, &o->timestamps) ? 0 : -EINVAL;
	if (strcmp(key, "follow") == 0)
		return bool_value(v, follow) ? 0 : -EINVAL;
	if (strcmp(key, "previous") == 0)
		return bool_value(v, previous) ? 0 : -EINVAL;
	if (strcmp(key, "stream") == 0) {
		if (strcmp(v, "All") != 0 && strcmp(v, "Stdout") != 0 && strcmp(v, "Stderr") != 0)
			return -EINVAL;
		o->no_stdout = strcmp(v, "Stderr") == 0;
		o->no_stderr = strcmp(v, "Stdout") == 0;
	}
	return 0;
}

int fl_logs_parse_query(const char *query, int64_t now_ns, struct fl_logs_opts *ret, bool *ret_follow,
			bool *ret_previous, struct fl_err *err)
{
	AUTO_FREE char *copy = fl_strdup(query);
	struct fl_logs_opts o = {.tail_lines = -1, .limit_bytes = -1};
	bool follow = false, previous = false;
	char *save = NULL;

	for (char *part = strtok_r(copy, "&", &save); part; part = strtok_r(NULL, "&", &save)) {
		char *value = strchr(part, '=');

		if (!value)
			continue;
		*value++ = '\0';
		if (!fl_percent_decode(part, true) || !fl_percent_decode(value, true) ||
		    parse_one(part, value, now_ns, &o, &follow, &previous) < 0)
			return fl_err_set(err, -EINVAL, "%s: invalid value \"%s\"", part, value);
	}
	*ret = o;
	*ret_follow = follow;
	*ret_previous = previous;
	return 0;
}

// Moves to the start of the last `lines` lines.
static int seek_tail(int fd, int64_t lines)
{
	char block[8192];
	off_t end = lseek(fd, 0, SEEK_END), at = end;
	int64_t newlines = 0;

	while (at > 0) {
		size_t n = at > (off_t)sizeof(block) ? sizeof(block) : (size_t)at;

		at -= (off_t)n;
		if (pread(fd, block, n, at) != (ssize_t)n)
			return -EIO;
		for (size_t i = n; i > 0; i--) {
			// The newline that ends the file ends the last line, it begins none.
			if (block[i - 1] != '\n' || at + (off_t)i == end)
				continue;
			if (++newlines == lines)
				return lseek(fd, at + (off_t)i, SEEK_SET) < 0 ? -errno : 0;
		}
	}
	if (lines == 0)
		return lseek(fd, 0, SEEK_END) < 0 ? -errno : 0;
	return lseek(fd, 0, SEEK_SET) < 0 ? -errno : 0;
}

int fl_logs_open(const char *path, const struct fl_logs_opts *o, struct fl_logs **ret, struct fl_err *err)
{
	AUTO(fl_logs_free) struct fl_logs *l = FL_NEW(struct fl_logs);
	int rc;

	l->path = fl_strdup(path);
	l->o = *o;
	l->buf = fl_malloc(CHUNK);
	if (o->since_ns > 0)
		fl_crilog_prefix(l->since, o->since_ns, false, false);
	l->fd = open(path, O_RDONLY | O_CLOEXEC);
	if (l->fd < 0)
		return fl_err_set(err, -errno, "open %s: %s", path, strerror(errno));
	if (o->tail_lines >= 0) {
		rc = o->tail_lines ? seek_tail(l->fd, o->tail_lines) : (lseek(l->fd, 0, SEEK_END) < 0 ? -errno : 0);
		if (rc < 0)
			return fl_err_set(err, rc, "read %s: %s", path, strerror(-rc));
	}
	*ret = TAKE_PTR(l);
	return 0;
}

void fl_logs_free(struct fl_logs **l)
{
	if (!*l)
		return;
	fl_close_fd(&(*l)->fd);
	free((*l)->path);
	free((*l)->buf);
	free(*l);
	*l = NULL;
}

static void emit(struct fl_logs *l, const char *line, size_t len, struct fl_buf *b)
{
	struct fl_crilog_line c;

	if (!fl_crilog_parse(line, len, &c))
		return; // half a line of a crash
	if ((c.is_stderr && l->o.no_stderr) || (!c.is_stderr && l->o.no_stdout))
		return;
	if (*l->since && strncmp(c.time, l->since, c.time_len < 30 ? c.time_len : 30) < 0)
		return;
	if (l->o.timestamps && !l->mid_line) {
		fl_buf_append(b, c.time, c.time_len);
		fl_buf_putc(b, ' ');
	}
	fl_buf_append(b, c.text, c.text_len);
	if (!c.partial)
		fl_buf_putc(b, '\n');
	l->mid_line = c.partial;
}

// The shim moved the file away: what is open was read to its end, the path names the next one. At its end only.
static bool reopen_rotated(struct fl_logs *l)
{
	struct stat mine, theirs;
	int fd;

	if (fstat(l->fd, &mine) < 0 || stat(l->path, &theirs) < 0 ||
	    (mine.st_ino == theirs.st_ino && mine.st_dev == theirs.st_dev))
		return false;
	fd = open(l->path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	close(l->fd);
	l->fd = fd;
	l->len = 0;
	return true;
}

int fl_logs_read(struct fl_logs *l, struct fl_buf *b)
{
	size_t before = b->len, from = 0;
	ssize_t n;

	if (l->o.limit_bytes >= 0 && l->sent >= l->o.limit_bytes)
		return -ENODATA;
	if (l->len == CHUNK)
		l->len = 0; // no line is that long: not our file any more
	n = read(l->fd, l->buf + l->len, CHUNK - l->len);
	if (n < 0)
		return errno == EINTR ? 1 : -errno;
	if (n == 0)
		return reopen_rotated(l) ? 1 : 0;
	l->len += (size_t)n;
	for (const char *nl; (nl = memchr(l->buf + from, '\n', l->len - from));) {
		emit(l, l->buf + from, (size_t)(nl - l->buf) - from, b);
		from = (size_t)(nl - l->buf) + 1;
	}
	memmove(l->buf, l->buf + from, l->len - from);
	l->len -= from;
	l->sent += (int64_t)(b->len - before);
	if (l->o.limit_bytes >= 0 && l->sent > l->o.limit_bytes) {
		b->len -= (size_t)(l->sent - l->o.limit_bytes);
		b->data[b->len] = '\0';
		l->sent = l->o.limit_bytes;
	}
	return 1;
}
