// SPDX-License-Identifier: Apache-2.0
// Time: monotonic for intervals, real for what an object shows.
#pragma once

#include <stdbool.h>
#include <stdint.h>

uint64_t fl_mono_ms(void);
uint64_t fl_mono_ns(void);
int64_t fl_real_ns(void); // since the epoch

// The longest time that anybody may ask for, about 95 years: added to a time of day it still fits int64 nanoseconds.
#define FL_MAX_SECONDS 3000000000LL
static inline int64_t fl_clamp_seconds(int64_t s)
{
	return s > FL_MAX_SECONDS ? FL_MAX_SECONDS : s < -FL_MAX_SECONDS ? -FL_MAX_SECONDS : s;
}

#define FL_TIME_STRLEN 40
const char *fl_time_format(int64_t real_ns, char buf[static FL_TIME_STRLEN]); // 2006-01-02T15:04:05Z (metav1.Time)
const char *fl_time_format_micro(int64_t real_ns,
				 char buf[static FL_TIME_STRLEN]); // 2006-01-02T15:04:05.000000Z (metav1.MicroTime)
const char *fl_time_now(char buf[static FL_TIME_STRLEN]);
bool fl_time_parse(const char *s, int64_t *ret_real_ns); // RFC 3339, offset and fraction allowed
