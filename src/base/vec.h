// SPDX-License-Identifier: Apache-2.0
// Typed growable array. `struct { FL_VEC(struct foo *) items; } x;` then fl_vec_push(&x.items, foo).
#pragma once

#include <stdint.h>
#include <string.h>

#include "base/mem.h"

#define FL_VEC(type)                                                                                                   \
	struct {                                                                                                       \
		type *v;                                                                                               \
		size_t n, cap;                                                                                         \
	}

// The same with a head of 16 bytes, for what there are many of: at most 2^32 - 1 items.
#define FL_SMALL_VEC(type)                                                                                             \
	struct {                                                                                                       \
		type *v;                                                                                               \
		uint32_t n, cap;                                                                                       \
	}

#define fl_vec_reserve(vec, want)                                                                                      \
	do {                                                                                                           \
		if ((vec)->cap < (want)) {                                                                             \
			(vec)->cap = (want) > 2 * (vec)->cap ? (want) : 2 * (vec)->cap;                                \
			(vec)->v = fl_realloc((vec)->v, (size_t)(vec)->cap * sizeof(*(vec)->v));                       \
		}                                                                                                      \
	} while (0)

#define fl_vec_push(vec, item)                                                                                         \
	do {                                                                                                           \
		if ((vec)->n == (vec)->cap)                                                                            \
			fl_vec_reserve(vec, (vec)->cap ? 2 * (vec)->cap : 8);                                          \
		(vec)->v[(vec)->n++] = (item);                                                                         \
	} while (0)

// Removes item i, keeps the order.
#define fl_vec_remove(vec, i)                                                                                          \
	do {                                                                                                           \
		memmove(&(vec)->v[i], &(vec)->v[(i) + 1], ((vec)->n - (i)-1) * sizeof(*(vec)->v));                     \
		(vec)->n--;                                                                                            \
	} while (0)

#define fl_vec_deinit(vec)                                                                                             \
	do {                                                                                                           \
		free((vec)->v);                                                                                        \
		(vec)->v = NULL;                                                                                       \
		(vec)->n = (vec)->cap = 0;                                                                             \
	} while (0)
