// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/notify.h"

// Told again, it must not write to, or close, what has the descriptor's number by then.
static void ready_is_told_once(void **state)
{
	char text[64], number[16];
	int told[2], later[2];

	assert_int_equal(pipe(told), 0);
	assert_true(told[1] > 2);
	snprintf(number, sizeof(number), "%d", told[1]);
	setenv(FL_READY_ENV, number, 1);
	fl_notify_init();
	assert_null(getenv(FL_READY_ENV));
	fl_notify_ready();
	assert_int_equal(read(told[0], text, sizeof(text)), 7);
	assert_memory_equal(text, "READY=1", 7);
	assert_int_equal(read(told[0], text, sizeof(text)), 0); // closed
	// The number goes to the end of another pipe.
	assert_int_equal(pipe2(later, O_NONBLOCK), 0);
	if (later[0] == told[1]) {
		later[0] = dup(told[1]);
		assert_true(later[0] >= 0);
	}
	if (later[1] != told[1])
		assert_int_equal(dup2(later[1], told[1]), told[1]);
	fl_notify_ready();
	assert_int_equal(read(later[0], text, sizeof(text)), -1);
	assert_int_equal(errno, EAGAIN);
	assert_true(fcntl(told[1], F_GETFD) >= 0);
	close(told[0]);
	close(told[1]);
	close(later[0]);
	if (later[1] != told[1])
		close(later[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(ready_is_told_once)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
