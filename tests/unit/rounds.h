// SPDX-License-Identifier: Apache-2.0
// How long a test of faults goes on: ROUNDS of the environment, else what `make check` has time for. SEED repeats a
// run.
#pragma once

#include <stdlib.h>

static inline int test_rounds(int usual)
{
	const char *given = getenv("ROUNDS");
	return given && atoi(given) > 0 ? atoi(given) : usual;
}

static inline unsigned test_seed(unsigned usual)
{
	const char *given = getenv("SEED");
	return given ? (unsigned)strtoul(given, NULL, 10) : usual;
}
