// SPDX-License-Identifier: Apache-2.0
// The certificates of an installation over the years: what is signed anew and when, what is left alone, what is
// refused. Times are put into certificates here, which are then signed with the CA's own key.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <errno.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"
#include "io/tls.h"
#include "supervisor/pki.h"

#define DAY 86400L

static char dir[] = "/tmp/fl-pki-test-XXXXXX";

static const char *const leaves[] = {"apiserver", "kubelet", "admin", "controllers",
				     "proxy",     "dns",     "node",  "apiserver-kubelet-client"};

static char *path_of(const char *name)
{
	return fl_asprintf("%s/pki/%s", dir, name);
}

static char *text_of(const char *name)
{
	AUTO_FREE char *path = path_of(name);
	char *text = NULL;

	assert_int_equal(fl_file_read(path, &text, NULL, NULL), 0);
	return text;
}

static void put(const char *name, const char *text)
{
	AUTO_FREE char *path = path_of(name);

	assert_int_equal(fl_file_write(path, text, strlen(text), 0600, NULL), 0);
}

static void drop(const char *name)
{
	AUTO_FREE char *path = path_of(name);

	assert_int_equal(unlink(path), 0);
}

static int ensure(bool *ret_signed, struct fl_err *err)
{
	struct fl_pki_layout_opts o = {.data_dir = dir, .node_name = "one", .cluster_domain = "cluster.local"};

	fl_ip_parse("10.0.0.1", &o.ips[o.n_ips++]);
	return fl_pki_ensure(&o, ret_signed, err);
}

static bool signs(void)
{
	struct fl_err err = {0};
	bool is_signed = false;

	if (ensure(&is_signed, &err) < 0)
		fail_msg("%s", err.text);
	return is_signed;
}

// Refused, and nothing is signed or written.
static void refused(const char *why)
{
	struct fl_err err = {0};
	bool is_signed = false;
	AUTO_FREE char *before = text_of("proxy.crt"), *ca = text_of("ca.crt");

	assert_int_equal(ensure(&is_signed, &err), -EKEYREJECTED);
	assert_false(is_signed);
	if (!strstr(err.text, why) || !strstr(err.text, "/pki"))
		fail_msg("error text: %s", err.text);
	AUTO_FREE char *after = text_of("proxy.crt"), *ca_after = text_of("ca.crt");
	assert_string_equal(before, after);
	assert_string_equal(ca, ca_after);
}

static bool belongs(const char *name)
{
	AUTO_FREE char *crt = fl_asprintf("%s.crt", name), *key = fl_asprintf("%s.key", name), *ca = text_of("ca.crt");
	AUTO(fl_pki_cert_deinit) struct fl_pki_cert c = {.cert_pem = text_of(crt), .key_pem = text_of(key)};

	return fl_pki_belongs(&c, ca);
}

static void all_belong(void)
{
	for (unsigned i = 0; i < FL_COUNT(leaves); i++)
		if (!belongs(leaves[i]))
			fail_msg("%s is not of this CA, or its key is another's", leaves[i]);
}

// Gives the certificate another validity, in seconds from now.
static void set_times(const char *name, long from, long to)
{
	AUTO_FREE char *crt = fl_asprintf("%s.crt", name), *pem = text_of(crt), *key_pem = text_of("ca.key");
	BIO *in = BIO_new_mem_buf(pem, -1), *key_in = BIO_new_mem_buf(key_pem, -1), *out = BIO_new(BIO_s_mem());
	X509 *x = PEM_read_bio_X509(in, NULL, NULL, NULL);
	EVP_PKEY *key = PEM_read_bio_PrivateKey(key_in, NULL, NULL, NULL);

	assert_true(x && key && X509_gmtime_adj(X509_getm_notBefore(x), from) &&
		    X509_gmtime_adj(X509_getm_notAfter(x), to) && X509_sign(x, key, EVP_sha256()) &&
		    PEM_write_bio_X509(out, x));
	char *data = NULL;
	long n = BIO_get_mem_data(out, &data);
	AUTO_FREE char *text = fl_strndup(data, (size_t)n);
	put(crt, text);
	BIO_free(in);
	BIO_free(key_in);
	BIO_free(out);
	X509_free(x);
	EVP_PKEY_free(key);
}

static int fresh(void **state)
{
	if (fl_file_remove_all(dir, NULL) < 0 || fl_file_mkdirs(dir, 0700, NULL) < 0)
		return -1;
	return !signs();
}

static void what_holds_is_left_alone(void **state)
{
	AUTO_FREE char *before = text_of("apiserver.crt");

	all_belong();
	assert_false(signs());
	AUTO_FREE char *after = text_of("apiserver.crt");
	assert_string_equal(before, after);
}

static void half_its_life_is_when_it_is_signed_anew(void **state)
{
	AUTO_FREE char *other = text_of("dns.crt");

	set_times("proxy", -180 * DAY, 184 * DAY);
	assert_false(signs());
	set_times("proxy", -184 * DAY, 182 * DAY);
	assert_true(signs());
	assert_false(signs());
	AUTO_FREE char *other_after = text_of("dns.crt");
	assert_string_equal(other, other_after);
	all_belong();
}

// The clock went forward over the end, or was ahead when it was signed.
static void what_is_not_in_time_is_signed_anew(void **state)
{
	set_times("apiserver", -400 * DAY, -35 * DAY);
	assert_true(signs());
	assert_false(signs());
	set_times("node", 30 * DAY, 395 * DAY);
	assert_true(signs());
	assert_false(signs());
}

static void what_is_of_another_ca_or_key_is_signed_anew(void **state)
{
	AUTO(fl_pki_cert_deinit) struct fl_pki_cert ca = {0};
	AUTO(fl_pki_cert_deinit) struct fl_pki_cert c = {0};
	const char *groups[] = {"system:fairlead", NULL};
	struct fl_err err = {0};

	assert_int_equal(fl_pki_make_ca("fairlead-ca", 3650, &ca, &err), 0); // of the same name
	assert_int_equal(
	    fl_pki_sign(&ca,
			&(struct fl_pki_request){
			    .common_name = "system:kube-proxy", .organizations = groups, .client = true, .days = 365},
			&c, &err),
	    0);
	put("proxy.crt", c.cert_pem);
	put("proxy.key", c.key_pem);
	assert_false(belongs("proxy"));
	assert_true(signs());
	all_belong();
	AUTO_FREE char *key = text_of("dns.key");
	put("proxy.key", key);
	assert_true(signs());
	all_belong();
	assert_false(signs());
}

// Taken offline, or lost: another CA would be one that nobody trusts.
static void without_its_key_the_ca_is_refused(void **state)
{
	AUTO_FREE char *key = text_of("ca.key"), *other = text_of("dns.key");

	drop("ca.key");
	refused("ca.key is not: put that back");
	put("ca.key", other);
	refused("do not belong together");
	put("ca.key", key);
	assert_false(signs());
}

static void another_ca_signs_all_anew(void **state)
{
	AUTO_FREE char *before = text_of("ca.crt");

	drop("ca.crt"); // as a start that was cut short leaves it
	assert_true(signs());
	AUTO_FREE char *after = text_of("ca.crt");
	assert_string_not_equal(before, after);
	all_belong();
	drop("ca.crt");
	drop("ca.key");
	assert_true(signs());
	all_belong();
	assert_false(signs());
}

static void a_ca_that_is_not_in_time_is_refused(void **state)
{
	set_times("ca", -3650 * DAY, -DAY);
	refused("has expired");
	set_times("ca", 10 * DAY, 3650 * DAY);
	refused("is not valid yet");
	set_times("ca", -10 * DAY, 3650 * DAY);
	assert_false(signs());
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(what_holds_is_left_alone, fresh),
	    cmocka_unit_test_setup(half_its_life_is_when_it_is_signed_anew, fresh),
	    cmocka_unit_test_setup(what_is_not_in_time_is_signed_anew, fresh),
	    cmocka_unit_test_setup(what_is_of_another_ca_or_key_is_signed_anew, fresh),
	    cmocka_unit_test_setup(without_its_key_the_ca_is_refused, fresh),
	    cmocka_unit_test_setup(another_ca_signs_all_anew, fresh),
	    cmocka_unit_test_setup(a_ca_that_is_not_in_time_is_refused, fresh),
	};
	if (!mkdtemp(dir))
		return 1;
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	(void)!fl_file_remove_all(dir, NULL);
	return failed;
}
