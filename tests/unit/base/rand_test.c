// SPDX-License-Identifier: Apache-2.0
// Randomness: no repetition (also after fork), bounds, alphabets, and Kubernetes' encoding of hashes.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/rand.h"

static void bytes_differ(void **state)
{
	unsigned char last[64] = {0}, now[64];
	for (int i = 0; i < 1000; i++) {
		fl_random(now, sizeof(now));
		assert_memory_not_equal(now, last, sizeof(now));
		memcpy(last, now, sizeof(now));
	}
	unsigned char big[4096] = {0};
	fl_random(big, sizeof(big));
	int seen[256] = {0}, distinct = 0;
	for (size_t i = 0; i < sizeof(big); i++)
		distinct += !seen[big[i]]++;
	assert_true(distinct > 240);
}

static void nothing_beyond_the_request_is_touched(void **state)
{
	for (size_t n = 0; n <= 600; n++) {
		unsigned char buf[608];
		memset(buf, 0xaa, sizeof(buf));
		fl_random(buf, n);
		for (size_t i = n; i < sizeof(buf); i++)
			assert_int_equal(buf[i], 0xaa);
	}
}

static void a_forked_child_draws_its_own(void **state)
{
	uint64_t ours, theirs;
	fl_random(&ours, sizeof(ours)); // fills the buffer that the child inherits
	int fds[2];
	assert_int_equal(pipe(fds), 0);
	pid_t pid = fork();
	if (pid == 0) {
		fl_random(&theirs, sizeof(theirs));
		_exit(write(fds[1], &theirs, sizeof(theirs)) == sizeof(theirs) ? 0 : 1);
	}
	assert_int_equal(read(fds[0], &theirs, sizeof(theirs)), sizeof(theirs));
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	close(fds[0]);
	close(fds[1]);
	fl_random(&ours, sizeof(ours));
	assert_true(ours != theirs);
}

static void below_stays_below_and_reaches_all(void **state)
{
	for (int i = 0; i < 100; i++)
		assert_int_equal(fl_random_below(1), 0);
	int seen[7] = {0};
	for (int i = 0; i < 7000; i++) {
		uint64_t v = fl_random_below(7);
		assert_true(v < 7);
		seen[v]++;
	}
	for (int i = 0; i < 7; i++)
		assert_in_range(seen[i], 700, 1300);
	uint64_t large = (UINT64_C(1) << 63) + 1;
	for (int i = 0; i < 1000; i++)
		assert_true(fl_random_below(large) < large);
}

static void uuids_are_version_4(void **state)
{
	char a[FL_UUID_STRLEN], b[FL_UUID_STRLEN];
	for (int i = 0; i < 1000; i++) {
		fl_uuid4(a);
		fl_uuid4(b);
		assert_string_not_equal(a, b);
		assert_int_equal(strlen(a), 36);
		assert_int_equal(strspn(a, "0123456789abcdef-"), 36);
		assert_int_equal(a[8] == '-' && a[13] == '-' && a[18] == '-' && a[23] == '-', 1);
		assert_int_equal(a[14], '4');
		assert_non_null(strchr("89ab", a[19]));
	}
}

static void suffixes_use_the_alphabet(void **state)
{
	char s[33];
	for (int i = 0; i < 100; i++) {
		fl_random_suffix(s, 32);
		assert_int_equal(strlen(s), 32);
		assert_int_equal(strspn(s, "bcdfghjklmnpqrstvwxz2456789"), 32);
	}
	fl_random_suffix(s, 0);
	assert_string_equal(s, "");
}

// rand.SafeEncodeString: '0' has code 48, 48 % 27 = 21, the letter there is '4'.
static void hashes_are_encoded_as_kubernetes_does(void **state)
{
	char s[11];
	fl_safe_encode_u32(0, s);
	assert_string_equal(s, "4");
	fl_safe_encode_u32(1234567890, s);
	assert_string_equal(s, "56789bcdf4");
	fl_safe_encode_u32(UINT32_MAX, s);
	assert_string_equal(s, "86f8fbc6f9");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(bytes_differ),
	    cmocka_unit_test(nothing_beyond_the_request_is_touched),
	    cmocka_unit_test(a_forked_child_draws_its_own),
	    cmocka_unit_test(below_stays_below_and_reaches_all),
	    cmocka_unit_test(uuids_are_version_4),
	    cmocka_unit_test(suffixes_use_the_alphabet),
	    cmocka_unit_test(hashes_are_encoded_as_kubernetes_does),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
