// SPDX-License-Identifier: Apache-2.0
// TLS contexts (OpenSSL) and the little PKI that a node needs: a CA, and certificates signed by it. All keys ECDSA
// P-256.
#pragma once

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/ip.h"

// Who the peer proved to be with its client certificate (RFC 5280 subject): user = CN, groups = each O, in order.
struct fl_tls_identity {
	const char *user; // NULL: no certificate was shown
	const char *const *groups;
	unsigned n_groups;
	const char *credential; // "X509SHA256=" and the SHA-256 of the certificate (DER) in hexadecimal
};

// Server side: TLS 1.2+, ALPN h2 and http/1.1. `client_ca_pem` NULL: no client certificate is asked for; otherwise one
// is requested, and `require_client_cert` refuses a handshake without it. A certificate that does not verify ends the
// handshake. PEM texts, not paths.
FL_WUR int fl_tls_server_ctx(const char *cert_pem, const char *key_pem, const char *client_ca_pem,
			     bool require_client_cert, SSL_CTX **ret, struct fl_err *err);

// Whom the finished handshake proved the peer to be. *ret is NULL when it showed no certificate; otherwise it is freed
// with fl_tls_identity_free. -EACCES: the certificate does not hold (not verified, expired since a session was
// resumed, a subject that is no text).
FL_WUR int fl_tls_identity_get(SSL *ssl, struct fl_tls_identity **ret, struct fl_err *err);
void fl_tls_identity_free(struct fl_tls_identity **id); // accepts NULL inside

struct fl_pki_cert {
	char *cert_pem, *key_pem; // free() both: fl_pki_cert_deinit
};
void fl_pki_cert_deinit(struct fl_pki_cert *c);

struct fl_pki_request {
	const char *common_name;
	const char *const *organizations; // NULL-terminated or NULL
	const char *const *dns_names;     // NULL-terminated or NULL
	const struct fl_ip *ips;
	unsigned n_ips;
	bool server, client; // extended key usage
	unsigned days;       // validity; starts two days in the past, for clocks that differ
};

FL_WUR int fl_pki_make_ca(const char *common_name, unsigned days, struct fl_pki_cert *ret, struct fl_err *err);
FL_WUR int fl_pki_sign(const struct fl_pki_cert *ca, const struct fl_pki_request *req, struct fl_pki_cert *ret,
		       struct fl_err *err);
// Days until notAfter (negative when past, or when notBefore is to come: the clock was ahead when it was signed), and
// whether every name and address of `req` stands in the certificate.
FL_WUR int fl_pki_check(const char *cert_pem, const struct fl_pki_request *req, int *ret_days_left, bool *ret_covers,
			struct fl_err *err);
// Whether `c` was signed by the key of the CA `ca_pem` and its own key is the one in it. Not whether it is in time.
FL_WUR bool fl_pki_belongs(const struct fl_pki_cert *c, const char *ca_pem);
