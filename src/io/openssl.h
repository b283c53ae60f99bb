// SPDX-License-Identifier: Apache-2.0
// What the OpenSSL users of this folder share: owners for AUTO(), error texts, contexts and what PEM brings into them.
#pragma once

#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/mem.h"

static inline void fl_bio_free(BIO **b)
{
	BIO_free(*b);
}

static inline void fl_x509_free(X509 **c)
{
	X509_free(*c);
}

static inline void fl_pkey_free(EVP_PKEY **k)
{
	EVP_PKEY_free(*k);
}

static inline void fl_ssl_ctx_free(SSL_CTX **c)
{
	SSL_CTX_free(*c);
}

// The newest entry of the thread's error queue as text, in `buf`; empties the queue. Returns buf.
const char *fl_openssl_reason(char *buf, size_t size);
// -EINVAL with "WHOSE: WHAT: REASON", the reason from the error queue, which is emptied.
int fl_openssl_fail(struct fl_err *err, const char *whose, const char *what);

// A context for TLS 1.2 and later that gives the buffers of idle connections back. NULL: no memory.
SSL_CTX *fl_openssl_ctx(const SSL_METHOD *method);
// The first certificate of cert_pem is our own, the rest its chain. -EINVAL in the words of `whose`.
FL_WUR int fl_openssl_use_certificate(SSL_CTX *ctx, const char *cert_pem, const char *key_pem, const char *whose,
				      struct fl_err *err);
// Trusts every certificate of ca_pem, of which there must be one. `ask`: their names are sent when a client's
// certificate is asked for.
FL_WUR int fl_openssl_trust(SSL_CTX *ctx, const char *ca_pem, bool ask, const char *whose, struct fl_err *err);
