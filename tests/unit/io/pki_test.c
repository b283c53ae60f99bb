// SPDX-License-Identifier: Apache-2.0
// Certificates: what is in them, and what the check says of them. OpenSSL's own verification is the judge.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "base/mem.h"
#include "io/tls.h"

static struct fl_pki_cert ca;

static int make_ca(void **state)
{
	struct fl_err err = {0};
	return fl_pki_make_ca("fairlead", 3650, &ca, &err);
}

static int drop_ca(void **state)
{
	fl_pki_cert_deinit(&ca);
	return 0;
}

static X509 *parse(const char *pem)
{
	BIO *b = BIO_new_mem_buf(pem, -1);
	X509 *x = PEM_read_bio_X509(b, NULL, NULL, NULL);
	BIO_free(b);
	assert_non_null(x);
	return x;
}

static int verify(const char *ca_pem, const char *pem, int purpose)
{
	X509 *root = parse(ca_pem), *leaf = parse(pem);
	X509_STORE *store = X509_STORE_new();
	X509_STORE_add_cert(store, root);
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	X509_STORE_CTX_init(ctx, store, leaf, NULL);
	X509_STORE_CTX_set_purpose(ctx, purpose);
	X509_VERIFY_PARAM_set_flags(X509_STORE_CTX_get0_param(ctx), X509_V_FLAG_X509_STRICT);
	X509_verify_cert(ctx);
	int rc = X509_STORE_CTX_get_error(ctx);
	X509_STORE_CTX_free(ctx);
	X509_STORE_free(store);
	X509_free(root);
	X509_free(leaf);
	return rc;
}

static void sign(const struct fl_pki_request *req, struct fl_pki_cert *ret)
{
	struct fl_err err = {0};
	if (fl_pki_sign(&ca, req, ret, &err) < 0)
		fail_msg("%s", err.text);
}

static void signs_for_a_purpose(void **state)
{
	AUTO(fl_pki_cert_deinit) struct fl_pki_cert server = {0};
	AUTO(fl_pki_cert_deinit) struct fl_pki_cert client = {0};
	const char *const names[] = {"localhost", NULL};
	sign(&(struct fl_pki_request){.common_name = "s", .dns_names = names, .server = true, .days = 1}, &server);
	sign(&(struct fl_pki_request){.common_name = "c", .client = true, .days = 1}, &client);
	assert_int_equal(verify(ca.cert_pem, server.cert_pem, X509_PURPOSE_SSL_SERVER), X509_V_OK);
	assert_int_equal(verify(ca.cert_pem, server.cert_pem, X509_PURPOSE_SSL_CLIENT), X509_V_ERR_INVALID_PURPOSE);
	assert_int_equal(verify(ca.cert_pem, client.cert_pem, X509_PURPOSE_SSL_CLIENT), X509_V_OK);
	assert_int_equal(verify(ca.cert_pem, client.cert_pem, X509_PURPOSE_SSL_SERVER), X509_V_ERR_INVALID_PURPOSE);
	assert_int_not_equal(verify(client.cert_pem, server.cert_pem, X509_PURPOSE_SSL_SERVER), X509_V_OK);
}

static void writes_names(void **state)
{
	AUTO(fl_pki_cert_deinit) struct fl_pki_cert c = {0};
	const char *const names[] = {"kubernetes", "kubernetes.default.svc", NULL};
	const char *const groups[] = {"system:masters", "zweite Gruppe ä", NULL};
	struct fl_ip ips[2];
	assert_true(fl_ip_parse("10.96.0.1", &ips[0]));
	assert_true(fl_ip_parse("fd00::1", &ips[1]));
	sign(&(struct fl_pki_request){.common_name = "system:node:a",
				      .organizations = groups,
				      .dns_names = names,
				      .ips = ips,
				      .n_ips = 2,
				      .server = true,
				      .client = true,
				      .days = 1},
	     &c);
	X509 *x = parse(c.cert_pem);
	assert_int_equal(X509_check_host(x, "kubernetes.default.svc", 0, 0, NULL), 1);
	assert_int_equal(X509_check_host(x, "other", 0, 0, NULL), 0);
	assert_int_equal(X509_check_ip_asc(x, "10.96.0.1", 0), 1);
	assert_int_equal(X509_check_ip_asc(x, "fd00::1", 0), 1);
	assert_int_equal(X509_check_ip_asc(x, "10.96.0.2", 0), 0);
	char subject[256];
	BIO *b = BIO_new(BIO_s_mem());
	X509_NAME_print_ex(b, X509_get_subject_name(x), 0, XN_FLAG_ONELINE & ~ASN1_STRFLGS_ESC_MSB);
	int n = BIO_read(b, subject, sizeof(subject) - 1);
	subject[n] = '\0';
	assert_string_equal(subject, "O = system:masters, O = zweite Gruppe ä, CN = system:node:a");
	assert_true(X509_cmp_current_time(X509_get0_notBefore(x)) < 0);
	BIO_free(b);
	X509_free(x);
}

static void checks_names_and_days(void **state)
{
	struct fl_err err = {0};
	AUTO(fl_pki_cert_deinit) struct fl_pki_cert c = {0};
	const char *const names[] = {"a", "b", NULL};
	const char *const one[] = {"a", NULL};
	const char *const other[] = {"a", "c", NULL};
	struct fl_ip ips[2];
	assert_true(fl_ip_parse("10.0.0.1", &ips[0]));
	assert_true(fl_ip_parse("fd00::1", &ips[1]));
	struct fl_pki_request req = {
	    .common_name = "n", .dns_names = names, .ips = ips, .n_ips = 1, .server = true, .days = 100};
	sign(&req, &c);
	int days = -7;
	bool covers = false;
	assert_int_equal(fl_pki_check(c.cert_pem, &req, &days, &covers, &err), 0);
	assert_true(covers);
	assert_true(days == 99 || days == 100);
	req.dns_names = one; // fewer are covered
	assert_int_equal(fl_pki_check(c.cert_pem, &req, &days, &covers, &err), 0);
	assert_true(covers);
	req.dns_names = other;
	assert_int_equal(fl_pki_check(c.cert_pem, &req, &days, &covers, &err), 0);
	assert_false(covers);
	req.dns_names = names;
	req.n_ips = 2;
	assert_int_equal(fl_pki_check(c.cert_pem, &req, &days, &covers, &err), 0);
	assert_false(covers);
	req.n_ips = 1;
	req.common_name = "another";
	assert_int_equal(fl_pki_check(c.cert_pem, &req, &days, &covers, &err), 0);
	assert_false(covers);
	days = -7;
	assert_true(fl_pki_check("no certificate", &req, &days, &covers, &err) < 0);
	assert_int_equal(days, -7);
	assert_true(strlen(err.text) > 0);
}

static void an_expired_one_has_negative_days(void **state)
{
	struct fl_err err = {0};
	AUTO(fl_pki_cert_deinit) struct fl_pki_cert c = {0};
	struct fl_pki_request req = {.common_name = "n", .server = true, .days = 1};
	sign(&req, &c);
	X509 *x = parse(c.cert_pem);
	X509_gmtime_adj(X509_getm_notAfter(x), -10);
	i2d_re_X509_tbs(x, NULL);
	BIO *b = BIO_new(BIO_s_mem());
	PEM_write_bio_X509(b, x); // the signature is wrong now, which the check does not look at
	char pem[4096];
	int n = BIO_read(b, pem, sizeof(pem) - 1);
	pem[n] = '\0';
	BIO_free(b);
	X509_free(x);
	int days = 7;
	bool covers;
	assert_int_equal(fl_pki_check(pem, &req, &days, &covers, &err), 0);
	assert_int_equal(days, -1);
}

static void refuses_a_broken_ca(void **state)
{
	struct fl_err err = {0};
	AUTO(fl_pki_cert_deinit) struct fl_pki_cert other = {0};
	AUTO(fl_pki_cert_deinit) struct fl_pki_cert out = {0};
	struct fl_pki_request req = {.common_name = "n", .server = true, .days = 1};
	assert_int_equal(fl_pki_make_ca("other", 1, &other, &err), 0);
	struct fl_pki_cert mixed = {.cert_pem = ca.cert_pem, .key_pem = other.key_pem};
	assert_true(fl_pki_sign(&mixed, &req, &out, &err) < 0);
	struct fl_pki_cert junk = {.cert_pem = (char *)"junk", .key_pem = other.key_pem};
	assert_true(fl_pki_sign(&junk, &req, &out, &err) < 0);
	assert_null(out.cert_pem);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(signs_for_a_purpose),   cmocka_unit_test(writes_names),
	    cmocka_unit_test(checks_names_and_days), cmocka_unit_test(an_expired_one_has_negative_days),
	    cmocka_unit_test(refuses_a_broken_ca),
	};
	return cmocka_run_group_tests(tests, make_ca, drop_ca);
}
