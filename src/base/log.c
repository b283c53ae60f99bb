// SPDX-License-Identifier: Apache-2.0
// One write(2) a line, so that lines of several threads and processes never mix on a shared stderr (pipes: up to
// PIPE_BUF, which a line does not pass). Control characters are blanked: a client's text cannot forge a line.
#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char *log_component = "fairlead";
static atomic_int log_least = FL_LOG_INFO;

static const char *const level_names[] = {
    [FL_LOG_DEBUG] = "debug",
    [FL_LOG_INFO] = "info",
    [FL_LOG_WARN] = "warn",
    [FL_LOG_ERROR] = "error",
};
_Static_assert(sizeof(level_names) / sizeof(level_names[0]) == FL_LOG_LEVEL_COUNT, "a name for each level");

void fl_log_init(const char *component, enum fl_log_level least)
{
	log_component = component;
	log_least = (int)least;
}

void fl_log(enum fl_log_level level, const char *fmt, ...)
{
	if ((int)level < log_least)
		return;
	int saved_errno = errno;

	char line[4096];
	int n = snprintf(line, sizeof(line), "%s %s: ", level_names[level], log_component);
	size_t len = n > 0 && (size_t)n < sizeof(line) ? (size_t)n : 0;
	va_list ap;
	va_start(ap, fmt);
	n = vsnprintf(line + len, sizeof(line) - len, fmt, ap);
	va_end(ap);
	if (n > 0)
		len += (size_t)n;
	if (len > sizeof(line) - 1) {
		len = sizeof(line) - 1;
		memcpy(line + len - 3, "...", 3);
	}
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
			line[i] = ' ';
	line[len++] = '\n';
	while (write(STDERR_FILENO, line, len) < 0 && errno == EINTR)
		;
	errno = saved_errno;
}
