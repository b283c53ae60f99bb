// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "node/crilog.h"

static void prefix_is_what_cri_says(void **state)
{
	char buf[FL_CRILOG_PREFIX_LEN + 1] = {0};

	fl_crilog_prefix(buf, 1475712429669794202, false, false); // the example of the KEP
	assert_string_equal(buf, "2016-10-06T00:07:09.669794202Z stdout F ");
	fl_crilog_prefix(buf, 1, true, true);
	assert_string_equal(buf, "1970-01-01T00:00:00.000000001Z stderr P ");
}

static void lines_are_taken_apart(void **state)
{
	static const char line[] = "2016-10-06T00:17:09.669794202Z stderr P some  text";
	struct fl_crilog_line l;

	assert_true(fl_crilog_parse(line, strlen(line), &l));
	assert_int_equal(l.time_len, 30);
	assert_true(l.is_stderr && l.partial);
	assert_int_equal(l.text_len, 10);
	assert_memory_equal(l.text, "some  text", 10);
	// containerd may write tags after the first letter, and other time zones
	static const char tagged[] = "2016-10-06T00:17:09.669794202+02:00 stdout F:x ";
	assert_true(fl_crilog_parse(tagged, strlen(tagged), &l));
	assert_true(!l.is_stderr && !l.partial && l.text_len == 0);
}

static void torn_lines_are_refused(void **state)
{
	static const char *const bad[] = {"",
					  "x",
					  "2016-10-06T00:17:09.669794202Z",
					  "2016-10-06T00:17:09.669794202Z stdout",
					  "2016-10-06T00:17:09.669794202Z stdoux F a",
					  "2016-10-06T00:17:09.669794202Z stdout F",
					  "2016-10-06T00:17:09.669794202Z stdout X a",
					  "short stdout F a"};
	struct fl_crilog_line l;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(fl_crilog_parse(bad[i], strlen(bad[i]), &l));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(prefix_is_what_cri_says),
	    cmocka_unit_test(lines_are_taken_apart),
	    cmocka_unit_test(torn_lines_are_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
