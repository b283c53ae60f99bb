// SPDX-License-Identifier: Apache-2.0
// The pause before a container is started again: none the first time, then 10 s, doubled up to 5 min, forgotten when
// the container ran for more than 10 min (kubelet: client-go flowcontrol.Backoff as its doBackOff uses it).
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define FL_BACKOFF_FIRST_MS  10000
#define FL_BACKOFF_MAX_MS    300000
#define FL_BACKOFF_FORGET_MS (2 * FL_BACKOFF_MAX_MS)

struct fl_backoff { // zeroed: nothing ended yet
	uint64_t delay_ms;
	uint64_t updated_ms;
};

// When the container that ended at `ended_ms` may start again. Pure in what is asked: fl_backoff_next() advances.
static inline uint64_t fl_backoff_until(const struct fl_backoff *b, uint64_t ended_ms)
{
	if (!b->delay_ms || ended_ms - b->updated_ms > FL_BACKOFF_FORGET_MS)
		return ended_ms;
	return ended_ms + b->delay_ms;
}

// To be called when the start is made that fl_backoff_until() allowed.
static inline void fl_backoff_next(struct fl_backoff *b, uint64_t ended_ms)
{
	if (!b->delay_ms || ended_ms - b->updated_ms > FL_BACKOFF_FORGET_MS)
		b->delay_ms = FL_BACKOFF_FIRST_MS;
	else
		b->delay_ms = b->delay_ms * 2 > FL_BACKOFF_MAX_MS ? FL_BACKOFF_MAX_MS : b->delay_ms * 2;
	b->updated_ms = ended_ms;
}
