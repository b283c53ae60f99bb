// SPDX-License-Identifier: Apache-2.0
// Allocation that does not return without memory: see mem.h for why.
#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"

__attribute__((noreturn, cold)) static void die(size_t n)
{
	fl_error("out of memory want=%zu", n);
	abort();
}

void *fl_malloc(size_t n)
{
	void *p = malloc(n ? n : 1);
	if (__builtin_expect(!p, 0))
		die(n);
	return p;
}

void *fl_calloc(size_t count, size_t size)
{
	void *p = calloc(count ? count : 1, size ? size : 1);
	if (__builtin_expect(!p, 0))
		die(count * size);
	return p;
}

void *fl_realloc(void *p, size_t n)
{
	void *q = realloc(p, n ? n : 1);
	if (__builtin_expect(!q, 0))
		die(n);
	return q;
}

char *fl_strdup(const char *s)
{
	return fl_strndup(s, strlen(s));
}

char *fl_strndup(const char *s, size_t n)
{
	n = strnlen(s, n);
	char *p = fl_malloc(n + 1);
	memcpy(p, s, n);
	p[n] = '\0';
	return p;
}

char *fl_asprintf(const char *fmt, ...)
{
	char *s = NULL;
	va_list ap;
	va_start(ap, fmt);
	int n = vasprintf(&s, fmt, ap);
	va_end(ap);
	if (__builtin_expect(n < 0, 0))
		die(0);
	return s;
}
