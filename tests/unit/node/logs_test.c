// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "node/logs.h"

static char path[64];

static void append(const char *text)
{
	FILE *f = fopen(path, "a");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

#define AT(s, stream, tag, text) "2026-01-01T00:00:0" s ".000000000Z " stream " " tag " " text "\n"

static void write_sample(void)
{
	unlink(path);
	append(AT("1", "stdout", "F", "one") AT("2", "stderr", "F", "two") AT("3", "stdout", "P", "thr")
		   AT("3", "stdout", "F", "ee") AT("4", "stdout", "F", "four"));
}

static void expect(const char *query, const char *text)
{
	AUTO(fl_logs_free) struct fl_logs *l = NULL;
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	struct fl_logs_opts o;
	struct fl_err err = {0};
	bool follow, previous;
	int rc;

	assert_int_equal(fl_logs_parse_query(query, 1767225605000000000, &o, &follow, &previous, &err), 0); // ...:05Z
	assert_int_equal(fl_logs_open(path, &o, &l, &err), 0);
	while ((rc = fl_logs_read(l, &b)) == 1)
		;
	assert_true(rc == 0 || rc == -ENODATA);
	assert_string_equal(b.data ? b.data : "", text);
}

static void options_choose_lines(void **state)
{
	write_sample();
	expect("", "one\ntwo\nthree\nfour\n");
	expect("tailLines=1", "four\n");
	expect("tailLines=2", "ee\nfour\n"); // entries of the file, as kubelet counts
	expect("tailLines=0", "");
	expect("tailLines=99", "one\ntwo\nthree\nfour\n");
	expect("sinceTime=2026-01-01T00:00:03Z", "three\nfour\n");
	expect("sinceSeconds=1", "four\n");
	expect("limitBytes=6", "one\ntw");
	expect("stream=Stderr", "two\n");
	expect("stream=Stdout&tailLines=1", "four\n");
	expect("timestamps=true&tailLines=3&unknown=1",
	       "2026-01-01T00:00:03.000000000Z three\n2026-01-01T00:00:04.000000000Z four\n");
}

static void bad_options_are_named(void **state)
{
	static const char *const bad[] = {"tailLines=-1",        "tailLines=x",    "limitBytes=0",
					  "sinceTime=yesterday", "sinceSeconds=0", "follow=perhaps",
					  "timestamps=2",        "stream=stdin",   "tailLines=%zz"};
	struct fl_logs_opts o;
	struct fl_err err = {0};
	bool follow, previous;

	for (size_t i = 0; i < FL_COUNT(bad); i++)
		assert_int_equal(fl_logs_parse_query(bad[i], 0, &o, &follow, &previous, &err), -EINVAL);
	assert_int_equal(fl_logs_parse_query("follow=true&previous=1", 0, &o, &follow, &previous, &err), 0);
	assert_true(follow && previous);
}

static void reading_goes_on_through_rotation(void **state)
{
	AUTO(fl_logs_free) struct fl_logs *l = NULL;
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	AUTO_FREE char *moved = fl_asprintf("%s.1", path);
	struct fl_logs_opts o = {.tail_lines = 1, .limit_bytes = -1};
	struct fl_err err = {0};

	write_sample();
	assert_int_equal(fl_logs_open(path, &o, &l, &err), 0);
	while (fl_logs_read(l, &b) == 1)
		;
	append("2026-01-01T00:00:05.000000000Z stdout F fi"); // half a line
	while (fl_logs_read(l, &b) == 1)
		;
	assert_string_equal(b.data, "four\n");
	append("ve\n");
	assert_int_equal(rename(path, moved), 0);
	append(AT("6", "stdout", "F", "six"));
	while (fl_logs_read(l, &b) == 1)
		;
	assert_string_equal(b.data, "four\nfive\nsix\n");
	unlink(moved);
}

static void long_tails_are_found(void **state)
{
	AUTO(fl_buf_deinit) struct fl_buf want = {0};

	unlink(path);
	for (int i = 0; i < 3000; i++) {
		char line[128];

		snprintf(line, sizeof(line), "2026-01-01T00:00:01.000000000Z stdout F line %d\n", i);
		append(line);
		if (i >= 1000)
			fl_buf_printf(&want, "line %d\n", i);
	}
	expect("tailLines=2000", want.data);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(options_choose_lines),
	    cmocka_unit_test(bad_options_are_named),
	    cmocka_unit_test(reading_goes_on_through_rotation),
	    cmocka_unit_test(long_tails_are_found),
	};
	snprintf(path, sizeof(path), "/tmp/fairlead-logs-test-%d.log", (int)getpid());
	int rc = cmocka_run_group_tests(tests, NULL, NULL);
	unlink(path);
	return rc;
}
