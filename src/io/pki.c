// SPDX-License-Identifier: Apache-2.0
// A node's own PKI: a self-signed CA and what it signs. ECDSA P-256 and SHA-256 throughout (RFC 5280, RFC 5480).
#include <errno.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "base/mem.h"
#include "base/rand.h"
#include "base/str.h"
#include "io/openssl.h"
#include "io/tls.h"

// Certificates are valid from this long before they are made: the clock of a host that starts may be ahead by its time
// zone or more, and be set back later.
#define CLOCK_SKEW_S (48 * 3600)

static int fail(struct fl_err *err, const char *what)
{
	return fl_openssl_fail(err, "certificate", what);
}

void fl_pki_cert_deinit(struct fl_pki_cert *c)
{
	free(c->cert_pem);
	if (c->key_pem)
		OPENSSL_cleanse(c->key_pem, strlen(c->key_pem));
	free(c->key_pem);
	*c = (struct fl_pki_cert){0};
}

static char *bio_text(BIO *b)
{
	char *p = NULL;
	long n = BIO_get_mem_data(b, &p);
	return fl_strndup(p, n > 0 ? (size_t)n : 0);
}

static int to_pem(X509 *cert, EVP_PKEY *key, struct fl_pki_cert *ret, struct fl_err *err)
{
	AUTO(fl_bio_free) BIO *c = BIO_new(BIO_s_mem());
	AUTO(fl_bio_free) BIO *k = BIO_new(BIO_s_mem());
	if (!c || !k || PEM_write_bio_X509(c, cert) != 1 ||
	    PEM_write_bio_PrivateKey(k, key, NULL, NULL, 0, NULL, NULL) != 1)
		return fail(err, "writing PEM");
	*ret = (struct fl_pki_cert){.cert_pem = bio_text(c), .key_pem = bio_text(k)};
	return 0;
}

static X509 *read_cert(const char *pem)
{
	AUTO(fl_bio_free) BIO *b = BIO_new_mem_buf(pem, -1);
	return b ? PEM_read_bio_X509(b, NULL, NULL, NULL) : NULL;
}

static EVP_PKEY *read_key(const char *pem)
{
	AUTO(fl_bio_free) BIO *b = BIO_new_mem_buf(pem, -1);
	return b ? PEM_read_bio_PrivateKey(b, NULL, NULL, NULL) : NULL;
}

static bool add_extension(X509 *cert, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX ctx;
	X509V3_set_ctx_nodb(&ctx);
	X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
	X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	bool ok = e && X509_add_ext(cert, e, -1) == 1;
	X509_EXTENSION_free(e);
	return ok;
}

static bool add_name(X509_NAME *name, int nid, const char *value)
{
	return X509_NAME_add_entry_by_NID(name, nid, MBSTRING_UTF8, (const unsigned char *)value, -1, -1, 0) == 1;
}

// Version, serial number, validity, key: what every certificate has.
static bool fill_common(X509 *cert, EVP_PKEY *key, unsigned days)
{
	unsigned char serial[16];
	fl_random(serial, sizeof(serial));
	serial[0] = (serial[0] & 0x7f) | 0x40; // positive, and always of the same length
	BIGNUM *n = BN_bin2bn(serial, sizeof(serial), NULL);
	bool ok = n && BN_to_ASN1_INTEGER(n, X509_get_serialNumber(cert)) != NULL;
	BN_free(n);
	return ok && X509_set_version(cert, X509_VERSION_3) == 1 &&
	       X509_gmtime_adj(X509_getm_notBefore(cert), -CLOCK_SKEW_S) &&
	       X509_time_adj_ex(X509_getm_notAfter(cert), (int)days, 0, NULL) && X509_set_pubkey(cert, key) == 1;
}

int fl_pki_make_ca(const char *common_name, unsigned days, struct fl_pki_cert *ret, struct fl_err *err)
{
	AUTO(fl_pkey_free) EVP_PKEY *key = EVP_EC_gen("P-256");
	AUTO(fl_x509_free) X509 *cert = X509_new();
	if (!key || !cert || days > INT_MAX || !fill_common(cert, key, days) ||
	    !add_name(X509_get_subject_name(cert), NID_commonName, common_name) ||
	    X509_set_issuer_name(cert, X509_get_subject_name(cert)) != 1 ||
	    !add_extension(cert, cert, NID_basic_constraints, "critical,CA:TRUE") ||
	    !add_extension(cert, cert, NID_key_usage, "critical,digitalSignature,keyCertSign,cRLSign") ||
	    !add_extension(cert, cert, NID_subject_key_identifier, "hash") || !X509_sign(cert, key, EVP_sha256()))
		return fail(err, "making a CA");
	return to_pem(cert, key, ret, err);
}

static bool add_alt_name(GENERAL_NAMES *names, int type, const void *p, size_t n)
{
	ASN1_STRING *value = ASN1_STRING_type_new(type == GEN_DNS ? V_ASN1_IA5STRING : V_ASN1_OCTET_STRING);
	GENERAL_NAME *name = GENERAL_NAME_new();
	if (!value || !name || ASN1_STRING_set(value, p, (int)n) != 1) {
		ASN1_STRING_free(value);
		GENERAL_NAME_free(name);
		return false;
	}
	GENERAL_NAME_set0_value(name, type, value); // owns value now
	if (sk_GENERAL_NAME_push(names, name) > 0)
		return true;
	GENERAL_NAME_free(name);
	return false;
}

static bool add_alt_names(X509 *cert, const struct fl_pki_request *req)
{
	GENERAL_NAMES *names = GENERAL_NAMES_new();
	bool ok = names != NULL;
	for (const char *const *d = req->dns_names; ok && d && *d; d++)
		ok = add_alt_name(names, GEN_DNS, *d, strlen(*d));
	for (unsigned i = 0; ok && i < req->n_ips; i++) {
		size_t len;
		const uint8_t *raw = fl_ip_raw(&req->ips[i], &len);
		ok = add_alt_name(names, GEN_IPADD, raw, len);
	}
	if (ok && sk_GENERAL_NAME_num(names) > 0)
		ok = X509_add1_ext_i2d(cert, NID_subject_alt_name, names, 0, 0) == 1;
	GENERAL_NAMES_free(names);
	return ok;
}

static bool fill_leaf(X509 *cert, X509 *ca, const struct fl_pki_request *req)
{
	X509_NAME *name = X509_get_subject_name(cert);
	bool ok = true;
	for (const char *const *o = req->organizations; ok && o && *o; o++)
		ok = add_name(name, NID_organizationName, *o);
	const char *usage = req->server && req->client ? "serverAuth,clientAuth"
			    : req->server              ? "serverAuth"
						       : "clientAuth";
	return ok && add_name(name, NID_commonName, req->common_name) &&
	       X509_set_issuer_name(cert, X509_get_subject_name(ca)) == 1 &&
	       add_extension(cert, ca, NID_basic_constraints, "critical,CA:FALSE") &&
	       add_extension(cert, ca, NID_key_usage, "critical,digitalSignature") &&
	       (!(req->server || req->client) || add_extension(cert, ca, NID_ext_key_usage, usage)) &&
	       add_extension(cert, ca, NID_authority_key_identifier, "keyid") && add_alt_names(cert, req);
}

int fl_pki_sign(const struct fl_pki_cert *ca, const struct fl_pki_request *req, struct fl_pki_cert *ret,
		struct fl_err *err)
{
	AUTO(fl_x509_free) X509 *ca_cert = read_cert(ca->cert_pem);
	if (!ca_cert)
		return fail(err, "reading the CA's certificate");
	AUTO(fl_pkey_free) EVP_PKEY *ca_key = read_key(ca->key_pem);
	if (!ca_key)
		return fail(err, "reading the CA's key");
	if (X509_check_private_key(ca_cert, ca_key) != 1)
		return fail(err, "the CA's key does not belong to its certificate");
	AUTO(fl_pkey_free) EVP_PKEY *key = EVP_EC_gen("P-256");
	AUTO(fl_x509_free) X509 *cert = X509_new();
	if (!key || !cert || req->days > INT_MAX || !fill_common(cert, key, req->days) ||
	    !fill_leaf(cert, ca_cert, req) || !X509_sign(cert, ca_key, EVP_sha256())) {
		char what[160];
		snprintf(what, sizeof(what), "signing for \"%.100s\"", req->common_name);
		return fail(err, what);
	}
	return to_pem(cert, key, ret, err);
}

static bool has_alt_name(const GENERAL_NAMES *names, int type, const void *p, size_t n)
{
	for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
		int got;
		const ASN1_STRING *v = GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(names, i), &got);
		if (got == type && (size_t)ASN1_STRING_length(v) == n && memcmp(ASN1_STRING_get0_data(v), p, n) == 0)
			return true;
	}
	return false;
}

static bool has_subject(const X509_NAME *name, int nid, const char *value)
{
	for (int i = -1; (i = X509_NAME_get_index_by_NID((X509_NAME *)name, nid, i)) >= 0;) {
		const ASN1_STRING *v = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, i));
		if ((size_t)ASN1_STRING_length(v) == strlen(value) &&
		    memcmp(ASN1_STRING_get0_data(v), value, strlen(value)) == 0)
			return true;
	}
	return false;
}

static bool covers(X509 *cert, const struct fl_pki_request *req)
{
	const X509_NAME *subject = X509_get_subject_name(cert);
	bool ok = !req->common_name || has_subject(subject, NID_commonName, req->common_name);
	for (const char *const *o = req->organizations; ok && o && *o; o++)
		ok = has_subject(subject, NID_organizationName, *o);
	GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
	for (const char *const *d = req->dns_names; ok && d && *d; d++)
		ok = has_alt_name(names, GEN_DNS, *d, strlen(*d));
	for (unsigned i = 0; ok && i < req->n_ips; i++) {
		size_t len;
		const uint8_t *raw = fl_ip_raw(&req->ips[i], &len);
		ok = has_alt_name(names, GEN_IPADD, raw, len);
	}
	GENERAL_NAMES_free(names);
	return ok;
}

int fl_pki_check(const char *cert_pem, const struct fl_pki_request *req, int *ret_days_left, bool *ret_covers,
		 struct fl_err *err)
{
	AUTO(fl_x509_free) X509 *cert = read_cert(cert_pem);
	if (!cert)
		return fail(err, "reading it");
	int days, seconds;
	if (ASN1_TIME_diff(&days, &seconds, NULL, X509_get0_notAfter(cert)) != 1)
		return fail(err, "its notAfter");
	// Days and seconds have the same sign: one second past is a day lost, not zero days left.
	bool is_out = (days == 0 && seconds < 0) || X509_cmp_current_time(X509_get0_notBefore(cert)) > 0;
	*ret_days_left = is_out ? -1 : days;
	*ret_covers = covers(cert, req);
	return 0;
}

bool fl_pki_belongs(const struct fl_pki_cert *c, const char *ca_pem)
{
	AUTO(fl_x509_free) X509 *cert = read_cert(c->cert_pem);
	AUTO(fl_x509_free) X509 *ca = read_cert(ca_pem);
	AUTO(fl_pkey_free) EVP_PKEY *key = read_key(c->key_pem);
	bool ok = cert && ca && key && X509_check_private_key(cert, key) == 1 &&
		  X509_NAME_cmp(X509_get_issuer_name(cert), X509_get_subject_name(ca)) == 0 &&
		  X509_verify(cert, X509_get0_pubkey(ca)) == 1;
	ERR_clear_error();
	return ok;
}
