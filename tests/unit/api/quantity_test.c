// SPDX-License-Identifier: Apache-2.0
// Quantities: canonical forms as apimachinery prints them, and what is none.
#include "api_test.h"

#include "api/quantity.h"
#include "base/mem.h"

static void canonical(void **state)
{
	static const char *const cases[][2] = {
	    {"0", "0"},
	    {"0Ki", "0"},
	    {"1000m", "1"},
	    {"0.5", "500m"},
	    {"1.5Gi", "1536Mi"},
	    {"1024Mi", "1Gi"},
	    {"1000Mi", "1000Mi"},
	    {"512Ki", "512Ki"},
	    {"1023", "1023"},
	    {"0.5Ki", "512"},
	    {"1500", "1500"},
	    {"2000", "2k"},
	    {"1e3", "1e3"},
	    {"12e5", "1200e3"},
	    {"1E", "1E"},
	    {"-3.5", "-3500m"},
	    {"+7", "7"},
	    {".5", "500m"},
	    {"5.", "5"},
	    {"0.0000000001", "1n"}, // finer than nano is rounded up
	    {"1.0000000001", "1000000001n"},
	    {"100000000000000000000E", "9223372036854775807"},
	    {"9223372036854775807", "9223372036854775807"},
	    {"1Ei", "1Ei"},
	    {"100Ei", "9223372036854775807"},
	};

	for (size_t i = 0; i < FL_COUNT(cases); i++) {
		AUTO(fl_buf_deinit) struct fl_buf b = {0};
		struct fl_quantity q;

		if (!fl_quantity_parse(cases[i][0], &q))
			fail_msg("%s was refused", cases[i][0]);
		fl_quantity_write(&b, &q);
		assert_string_equal(b.data, cases[i][1]);
	}
}

static void refused(void **state)
{
	static const char *const bad[] = {"",   "x", "1x", "1 ",   " 1",  "--1", "1.2.3",
					  "Ki", ".", "1e", "1e1x", "1KI", "1e 3"};
	struct fl_quantity q = {.nano = 7};

	for (size_t i = 0; i < FL_COUNT(bad); i++)
		if (fl_quantity_parse(bad[i], &q))
			fail_msg("%s was taken", bad[i]);
	assert_true(q.nano == 7);
}

int main(void)
{
	const struct CMUnitTest tests[] = {TEST(canonical), TEST(refused)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
