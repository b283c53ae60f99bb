// SPDX-License-Identifier: Apache-2.0
// SipHash-1-3 of the bytes 00 01 02 ... under the key 00 01 ... 0f, against values of an independent implementation
// (OpenSSL's SIPHASH MAC with c-rounds 1 and d-rounds 3), and the keyed hash of the process.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <openssl/evp.h>
#include <openssl/params.h>
#include <string.h>

#include "base/map.h"
#include "base/mem.h"

static uint64_t reference(const uint8_t key[16], const uint8_t *in, size_t n)
{
	EVP_MAC *mac = EVP_MAC_fetch(NULL, "SIPHASH", NULL);
	EVP_MAC_CTX *ctx = EVP_MAC_CTX_new(mac);
	unsigned size = 8, c = 1, d = 3;
	OSSL_PARAM params[] = {
	    OSSL_PARAM_construct_uint("size", &size),
	    OSSL_PARAM_construct_uint("c-rounds", &c),
	    OSSL_PARAM_construct_uint("d-rounds", &d),
	    OSSL_PARAM_construct_end(),
	};
	uint8_t out[8];
	size_t len = 0;
	assert_int_equal(EVP_MAC_init(ctx, key, 16, params), 1);
	assert_int_equal(EVP_MAC_update(ctx, in, n), 1);
	assert_int_equal(EVP_MAC_final(ctx, out, &len, sizeof(out)), 1);
	assert_int_equal(len, 8);
	EVP_MAC_CTX_free(ctx);
	EVP_MAC_free(mac);
	uint64_t v = 0;
	for (int i = 7; i >= 0; i--)
		v = v << 8 | out[i];
	return v;
}

static void agrees_with_openssl(void **state)
{
	uint8_t key[16], in[64];
	for (uint8_t i = 0; i < 64; i++) {
		in[i] = i;
		key[i % 16] = i % 16;
	}
	for (size_t n = 0; n <= sizeof(in); n++)
		assert_true(fl_siphash13(key, in, n) == reference(key, in, n));
}

static void hash_is_stable_in_a_process(void **state)
{
	assert_true(fl_hash("abc", 3) == fl_hash("abc", 3));
	assert_true(fl_hash("abc", 3) != fl_hash("abd", 3));
	assert_true(fl_hash("", 0) != fl_hash("\0", 1));
	static const uint8_t zero[16];
	assert_true(fl_hash("abc", 3) != fl_siphash13(zero, "abc", 3)); // a key was drawn
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(agrees_with_openssl),
	    cmocka_unit_test(hash_is_stable_in_a_process),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
