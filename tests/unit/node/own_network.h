// SPDX-License-Identifier: Apache-2.0
// For tests that make links and rules.
#pragma once

#include <sched.h>
#include <stdio.h>
#include <unistd.h>

// Puts the program into a network namespace of its own. Not 0: what main shall return, 77 for a skip. Called before any
// thread is there, since the threads of libuv's pool are in the network that they began in.
static inline int own_network(void)
{
	if (geteuid() != 0) {
		printf("SKIP: needs root\n");
		return 77;
	}
	return unshare(CLONE_NEWNET) < 0 ? 1 : 0;
}
