// SPDX-License-Identifier: Apache-2.0
// TLS of the client: one context for all its connections, made once. Trusted is the CA given and nothing else; the
// system's bundle only when none is given. The name or address that the certificate must carry is the URL's host or the
// client's tls_server_name; the subject's CN proves nothing (RFC 9525, 6.3; as Go).
//
// Sessions are resumed (one ticket is kept for an origin), so a new connection to a known server costs no signature.
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "io/http/client.h"
#include "io/openssl.h"

static const unsigned char alpn_both[] = "\x02h2\x08http/1.1", alpn_h1[] = "\x08http/1.1";

static void free_bio(BIO **b)
{
	BIO_free(*b);
}

static void free_cert(X509 **c)
{
	X509_free(*c);
}

static void free_key(EVP_PKEY **k)
{
	EVP_PKEY_free(*k);
}

static void free_ctx(SSL_CTX **c)
{
	SSL_CTX_free(*c);
}

static int fail(struct fl_err *err, const char *what)
{
	char reason[256];
	return fl_err_set(err, -EINVAL, "HTTP client: %s: %s", what, fl_openssl_reason(reason, sizeof(reason)));
}

static int trust(SSL_CTX *ctx, const char *ca_pem, struct fl_err *err)
{
	AUTO(free_bio) BIO *in = BIO_new_mem_buf(ca_pem, -1);
	X509_STORE *store = SSL_CTX_get_cert_store(ctx);
	unsigned n = 0;
	for (;; n++) {
		AUTO(free_cert) X509 *ca = in ? PEM_read_bio_X509(in, NULL, NULL, NULL) : NULL;
		if (!ca)
			break;
		if (X509_STORE_add_cert(store, ca) != 1)
			return fail(err, "CA certificate");
	}
	if (!n)
		return fail(err, "CA certificate");
	ERR_clear_error();
	return 0;
}

static int show(SSL_CTX *ctx, const char *cert_pem, const char *key_pem, struct fl_err *err)
{
	AUTO(free_bio) BIO *in = BIO_new_mem_buf(cert_pem, -1);
	AUTO(free_cert) X509 *leaf = in ? PEM_read_bio_X509(in, NULL, NULL, NULL) : NULL;
	if (!leaf || SSL_CTX_use_certificate(ctx, leaf) != 1)
		return fail(err, "client certificate");
	for (;;) {
		AUTO(free_cert) X509 *next = PEM_read_bio_X509(in, NULL, NULL, NULL);
		if (!next)
			break;
		if (SSL_CTX_add1_chain_cert(ctx, next) != 1)
			return fail(err, "client certificate chain");
	}
	ERR_clear_error();
	AUTO(free_bio) BIO *key_in = BIO_new_mem_buf(key_pem, -1);
	AUTO(free_key) EVP_PKEY *key = key_in ? PEM_read_bio_PrivateKey(key_in, NULL, NULL, NULL) : NULL;
	if (!key || SSL_CTX_use_PrivateKey(ctx, key) != 1)
		return fail(err, "client key");
	if (SSL_CTX_check_private_key(ctx) != 1)
		return fail(err, "the client key does not belong to the client certificate");
	return 0;
}

// Called when a ticket comes; keeps the reference it is given.
static int on_session(SSL *ssl, SSL_SESSION *session)
{
	struct fl_link *l = SSL_get_app_data(ssl);
	SSL_SESSION_free(l->origin->session);
	l->origin->session = session;
	return 1;
}

int fl_client_tls_new(const struct fl_http_client_opts *opts, SSL_CTX **ret, struct fl_err *err)
{
	AUTO(free_ctx) SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	if (!ctx)
		return fail(err, "TLS");
	SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
	SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
	SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
				  SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(ctx, on_session);
	SSL_CTX_set_verify(ctx, opts->insecure_skip_verify ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, NULL);
	// An intermediate CA that was given is trusted as it stands.
	X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(ctx), X509_V_FLAG_PARTIAL_CHAIN);
	const unsigned char *alpn = opts->http1 ? alpn_h1 : alpn_both;
	unsigned alpn_len = opts->http1 ? sizeof(alpn_h1) - 1 : sizeof(alpn_both) - 1;
	if (SSL_CTX_set_alpn_protos(ctx, alpn, alpn_len) != 0)
		return fail(err, "TLS");
	int rc = opts->ca_pem ? trust(ctx, opts->ca_pem, err) : 0;
	if (rc < 0)
		return rc;
	if (!opts->ca_pem && !opts->insecure_skip_verify && SSL_CTX_set_default_verify_paths(ctx) != 1)
		return fail(err, "the system's CA certificates");
	rc = opts->cert_pem ? show(ctx, opts->cert_pem, opts->key_pem, err) : 0;
	if (rc < 0)
		return rc;
	*ret = TAKE_PTR(ctx);
	return 0;
}

int fl_client_tls_start(struct fl_link *l)
{
	struct fl_http_client *c = l->client;
	const struct fl_origin *o = l->origin;
	struct fl_err err = {0};
	if (!c->tls) { // nothing was given: what the system trusts is read when first needed
		struct fl_http_client_opts opts = {.insecure_skip_verify = c->insecure, .http1 = c->http1};
		int rc = fl_client_tls_new(&opts, &c->tls, &err);
		if (rc < 0) {
			snprintf(l->why, sizeof(l->why), "%.200s", err.text);
			return rc;
		}
	}
	const char *name = c->tls_server_name ? c->tls_server_name : o->host;
	const struct fl_ip *ip = c->tls_server_name ? &c->tls_server_ip : &o->ip;
	if (!fl_pipe_start_tls(&l->pipe, c->tls, false)) {
		snprintf(l->why, sizeof(l->why), "TLS: no memory");
		return -ENOMEM;
	}
	SSL *ssl = l->pipe.ssl;
	X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
	SSL_set_app_data(ssl, l);
	size_t n = 0;
	const uint8_t *raw = ip->family ? fl_ip_raw(ip, &n) : NULL;
	X509_VERIFY_PARAM_set_hostflags(param,
					X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
	bool ok = raw ? X509_VERIFY_PARAM_set1_ip(param, raw, n) == 1
		      : X509_VERIFY_PARAM_set1_host(param, name, 0) == 1 && SSL_set_tlsext_host_name(ssl, name) == 1;
	if (!ok) {
		ERR_clear_error();
		snprintf(l->why, sizeof(l->why), "TLS: %s is no name that a certificate can carry", name);
		return -EINVAL;
	}
	if (o->session && SSL_SESSION_is_resumable(o->session))
		SSL_set_session(ssl, o->session);
	return 0;
}

static const char *certificate_text(long code)
{
	switch (code) {
	case X509_V_ERR_CERT_HAS_EXPIRED:
		return "the server's certificate has expired";
	case X509_V_ERR_CERT_NOT_YET_VALID:
		return "the server's certificate is not valid yet";
	case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
	case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
	case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
	case X509_V_ERR_CERT_SIGNATURE_FAILURE:
		return "the server's certificate is signed by an authority that is not trusted here";
	case X509_V_ERR_INVALID_PURPOSE:
		return "the server's certificate is not for servers";
	default:
		return "the server's certificate does not hold";
	}
}

int fl_client_tls_reason(struct fl_link *l, int ssl_error)
{
	struct fl_http_client *c = l->client;
	long code = SSL_get_verify_result(l->pipe.ssl);
	const char *name = c->tls_server_name ? c->tls_server_name : l->origin->host;
	char reason[128];
	unsigned long e = ERR_peek_error();
	bool verify = ERR_GET_LIB(e) == ERR_LIB_SSL && ERR_GET_REASON(e) == SSL_R_CERTIFICATE_VERIFY_FAILED;
	fl_openssl_reason(reason, sizeof(reason));
	if (verify && (code == X509_V_ERR_HOSTNAME_MISMATCH || code == X509_V_ERR_IP_ADDRESS_MISMATCH)) {
		snprintf(l->why, sizeof(l->why), "the server's certificate is not for %s", name);
		return -EKEYREJECTED;
	}
	if (verify) {
		snprintf(l->why, sizeof(l->why), "%s (%s)", certificate_text(code),
			 X509_verify_cert_error_string(code));
		return -EKEYREJECTED;
	}
	if (ERR_GET_LIB(e) == ERR_LIB_SSL && ERR_GET_REASON(e) == SSL_R_WRONG_VERSION_NUMBER)
		snprintf(l->why, sizeof(l->why), "the server does not speak TLS there");
	else if (ERR_GET_LIB(e) == ERR_LIB_SSL && ERR_GET_REASON(e) >= SSL_AD_REASON_OFFSET)
		snprintf(l->why, sizeof(l->why), "the server refused the TLS connection: %s", reason);
	else
		snprintf(l->why, sizeof(l->why), "TLS: %s", reason);
	return -EPROTO;
}
