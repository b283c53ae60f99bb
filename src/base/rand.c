// SPDX-License-Identifier: Apache-2.0
// Small requests are served from a buffer per thread, so that an identifier costs no system call but getpid(2). The
// buffer is thrown away in a forked child (its pid differs), and bytes are wiped as they are handed out.
#include "base/rand.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "base/log.h"
#include "base/mem.h"

static void from_kernel(void *p, size_t n)
{
	char *at = p;
	while (n > 0) {
		ssize_t got = getrandom(at, n, 0);
		if (got < 0) {
			if (errno == EINTR)
				continue;
			// Kernels since 3.17 have it; going on with guessable identifiers is no choice.
			fl_error("getrandom: %s", strerror(errno));
			abort();
		}
		at += got;
		n -= (size_t)got;
	}
}

void fl_random(void *p, size_t n)
{
	static _Thread_local struct {
		pid_t pid;
		size_t left;
		uint8_t bytes[512];
	} pool;

	if (n > sizeof(pool.bytes) / 4) {
		from_kernel(p, n);
		return;
	}
	pid_t pid = getpid();
	if (pool.pid != pid || pool.left < n) {
		from_kernel(pool.bytes, sizeof(pool.bytes));
		pool.left = sizeof(pool.bytes);
		pool.pid = pid;
	}
	pool.left -= n;
	memcpy(p, pool.bytes + pool.left, n);
	explicit_bzero(pool.bytes + pool.left, n);
}

uint64_t fl_random_below(uint64_t n)
{
	uint64_t v, skip = -n % n; // 2^64 mod n: values below it would favour small results
	do
		fl_random(&v, sizeof(v));
	while (v < skip);
	return v % n;
}

void fl_uuid4(char buf[static FL_UUID_STRLEN])
{
	static const char hex[16] = "0123456789abcdef";
	uint8_t b[16];
	fl_random(b, sizeof(b));
	b[6] = (b[6] & 0x0f) | 0x40; // RFC 9562 section 5.4
	b[8] = (b[8] & 0x3f) | 0x80;
	char *out = buf;
	for (unsigned i = 0; i < 16; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*out++ = '-';
		*out++ = hex[b[i] >> 4];
		*out++ = hex[b[i] & 15];
	}
	*out = '\0';
}

// k8s.io/apimachinery/pkg/util/rand
static const char name_alphabet[27] = "bcdfghjklmnpqrstvwxz2456789";

void fl_random_suffix(char *buf, size_t n)
{
	for (size_t i = 0; i < n; i++)
		buf[i] = name_alphabet[fl_random_below(sizeof(name_alphabet))];
	buf[n] = '\0';
}

void fl_safe_encode_u32(uint32_t hash, char buf[static 11])
{
	char digits[10];
	size_t n = 0;
	do
		digits[n++] = (char)('0' + hash % 10);
	while (hash /= 10);
	// rand.SafeEncodeString maps each character by its code modulo the alphabet's length.
	for (size_t i = 0; i < n; i++)
		buf[i] = name_alphabet[(unsigned char)digits[n - 1 - i] % sizeof(name_alphabet)];
	buf[n] = '\0';
}
