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

static const char whose[] = "HTTP client";

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
	AUTO(fl_ssl_ctx_free) SSL_CTX *ctx = fl_openssl_ctx(TLS_client_method());
	if (!ctx)
		return fl_openssl_fail(err, whose, "TLS");
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(ctx, on_session);
	SSL_CTX_set_verify(ctx, opts->insecure_skip_verify ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, NULL);
	// An intermediate CA that was given is trusted as it stands.
	X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(ctx), X509_V_FLAG_PARTIAL_CHAIN);
	const unsigned char *alpn = opts->http1 ? alpn_h1 : alpn_both;
	unsigned alpn_len = opts->http1 ? sizeof(alpn_h1) - 1 : sizeof(alpn_both) - 1;
	if (SSL_CTX_set_alpn_protos(ctx, alpn, alpn_len) != 0)
		return fl_openssl_fail(err, whose, "TLS");
	int rc = opts->ca_pem ? fl_openssl_trust(ctx, opts->ca_pem, false, whose, err) : 0;
	if (rc < 0)
		return rc;
	if (!opts->ca_pem && !opts->insecure_skip_verify && SSL_CTX_set_default_verify_paths(ctx) != 1)
		return fl_openssl_fail(err, whose, "the system's CA certificates");
	rc = opts->cert_pem ? fl_openssl_use_certificate(ctx, opts->cert_pem, opts->key_pem, whose, err) : 0;
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
