// SPDX-License-Identifier: Apache-2.0
// The side of TLS contexts that server and client have in common.
#include "io/openssl.h"

#include <errno.h>
#include <openssl/err.h>
#include <stdio.h>

const char *fl_openssl_reason(char *buf, size_t size)
{
	unsigned long e = ERR_peek_last_error();
	const char *reason = e ? ERR_reason_error_string(e) : NULL;
	if (reason)
		snprintf(buf, size, "%s", reason);
	else if (e)
		ERR_error_string_n(e, buf, size);
	else
		snprintf(buf, size, "unknown reason");
	ERR_clear_error();
	return buf;
}

int fl_openssl_fail(struct fl_err *err, const char *whose, const char *what)
{
	char reason[256];
	return fl_err_set(err, -EINVAL, "%s: %s: %s", whose, what, fl_openssl_reason(reason, sizeof(reason)));
}

SSL_CTX *fl_openssl_ctx(const SSL_METHOD *method)
{
	SSL_CTX *ctx = SSL_CTX_new(method);
	if (!ctx)
		return NULL;
	SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
	SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
	// An idle connection gives its record buffers (some 35 KiB) back.
	SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
				  SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	return ctx;
}

int fl_openssl_use_certificate(SSL_CTX *ctx, const char *cert_pem, const char *key_pem, const char *whose,
			       struct fl_err *err)
{
	AUTO(fl_bio_free) BIO *in = BIO_new_mem_buf(cert_pem, -1);
	AUTO(fl_x509_free) X509 *leaf = in ? PEM_read_bio_X509(in, NULL, NULL, NULL) : NULL;
	if (!leaf || SSL_CTX_use_certificate(ctx, leaf) != 1)
		return fl_openssl_fail(err, whose, "certificate");
	for (;;) {
		AUTO(fl_x509_free) X509 *next = PEM_read_bio_X509(in, NULL, NULL, NULL);
		if (!next)
			break;
		if (SSL_CTX_add1_chain_cert(ctx, next) != 1)
			return fl_openssl_fail(err, whose, "certificate chain");
	}
	ERR_clear_error();

	AUTO(fl_bio_free) BIO *key_in = BIO_new_mem_buf(key_pem, -1);
	AUTO(fl_pkey_free) EVP_PKEY *key = key_in ? PEM_read_bio_PrivateKey(key_in, NULL, NULL, NULL) : NULL;
	if (!key || SSL_CTX_use_PrivateKey(ctx, key) != 1)
		return fl_openssl_fail(err, whose, "private key");
	if (SSL_CTX_check_private_key(ctx) != 1)
		return fl_openssl_fail(err, whose, "the private key does not belong to the certificate");
	return 0;
}

int fl_openssl_trust(SSL_CTX *ctx, const char *ca_pem, bool ask, const char *whose, struct fl_err *err)
{
	AUTO(fl_bio_free) BIO *in = BIO_new_mem_buf(ca_pem, -1);
	X509_STORE *store = SSL_CTX_get_cert_store(ctx);
	unsigned n = 0;
	for (;; n++) {
		AUTO(fl_x509_free) X509 *ca = in ? PEM_read_bio_X509(in, NULL, NULL, NULL) : NULL;
		if (!ca)
			break;
		if (X509_STORE_add_cert(store, ca) != 1 || (ask && SSL_CTX_add_client_CA(ctx, ca) != 1))
			return fl_openssl_fail(err, whose, "CA certificate");
	}
	if (!n)
		return fl_openssl_fail(err, whose, "CA certificate");
	ERR_clear_error();
	return 0;
}
