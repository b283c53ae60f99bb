// SPDX-License-Identifier: Apache-2.0
// Ownership made visible: locals that own something name their destructor, hand-over is TAKE_PTR.
// Allocation never fails to the caller: sizes that a client controls are bounded before they reach here
// (base/limits.h), so running out of memory ends the role with one log line and its supervisor starts it again.
#pragma once

#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

void *fl_malloc(size_t n) __attribute__((malloc, returns_nonnull));
void *fl_calloc(size_t count, size_t size) __attribute__((malloc, returns_nonnull));
void *fl_realloc(void *p, size_t n) __attribute__((returns_nonnull));
char *fl_strdup(const char *s) __attribute__((malloc, returns_nonnull));
char *fl_strndup(const char *s, size_t n) __attribute__((malloc, returns_nonnull));
__attribute__((format(printf, 1, 2), returns_nonnull)) char *fl_asprintf(const char *fmt, ...);

#define FL_NEW(type) ((type *)fl_calloc(1, sizeof(type)))

static inline void fl_free_ptr(void *p)
{
	free(*(void **)p);
}

static inline void fl_close_fd(const int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

// AUTO(fl_x_free) struct fl_x *x = NULL;  the destructor takes the address of the local and accepts NULL inside.
#define AUTO(destructor) __attribute__((cleanup(destructor)))
#define AUTO_FREE        AUTO(fl_free_ptr)
#define AUTO_CLOSE       AUTO(fl_close_fd)

#define TAKE_PTR(p)                                                                                                    \
	({                                                                                                             \
		__typeof__(p) take_ = (p);                                                                             \
		(p) = NULL;                                                                                            \
		take_;                                                                                                 \
	})
#define TAKE_FD(fd)                                                                                                    \
	({                                                                                                             \
		int take_ = (fd);                                                                                      \
		(fd) = -1;                                                                                             \
		take_;                                                                                                 \
	})

#define FL_COUNT(a)                        (sizeof(a) / sizeof((a)[0]))
#define FL_CONTAINER_OF(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))
