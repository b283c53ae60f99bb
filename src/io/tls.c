// SPDX-License-Identifier: Apache-2.0
// Server side TLS contexts and the identity that a client certificate proves. All material comes as PEM text: no file
// is opened here, and the system's CA bundle is never loaded.
//
// Sessions are resumed by stateless tickets only, so an idle connection costs no cache entry. A resumed session carries
// the certificate of its first handshake: its validity is looked at again each time (fl_tls_identity_get).
#include "io/tls.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "io/openssl.h"

// Protocols in our order of preference, as ALPN writes them (RFC 7301, 3.1).
static const unsigned char alpn_list[] = "\x02h2\x08http/1.1";

static int select_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len, const unsigned char *in,
		       unsigned in_len, void *arg)
{
	unsigned char *chosen = NULL;
	if (SSL_select_next_proto(&chosen, out_len, alpn_list, sizeof(alpn_list) - 1, in, in_len) !=
	    OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_ALERT_FATAL; // RFC 7301, 3.2: no_application_protocol
	*out = chosen;
	return SSL_TLSEXT_ERR_OK;
}

static const char whose[] = "TLS of the server";

int fl_tls_server_ctx(const char *cert_pem, const char *key_pem, const char *client_ca_pem, bool require_client_cert,
		      SSL_CTX **ret, struct fl_err *err)
{
	AUTO(fl_ssl_ctx_free) SSL_CTX *ctx = fl_openssl_ctx(TLS_server_method());
	if (!ctx)
		return fl_openssl_fail(err, whose, "context");
	// Forward secrecy and authenticated encryption only; TLS 1.3 has nothing else.
	if (SSL_CTX_set_cipher_list(ctx, "ECDHE+AESGCM:ECDHE+CHACHA20") != 1 ||
	    SSL_CTX_set1_groups_list(ctx, "X25519:P-256:P-384") != 1)
		return fl_openssl_fail(err, whose, "cipher list");
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_num_tickets(ctx, 1);
	SSL_CTX_set_alpn_select_cb(ctx, select_alpn, NULL);

	int rc = fl_openssl_use_certificate(ctx, cert_pem, key_pem, whose, err);
	if (rc == 0 && client_ca_pem)
		rc = fl_openssl_trust(ctx, client_ca_pem, true, "TLS of clients", err);
	if (rc < 0)
		return rc;
	if (client_ca_pem)
		SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | (require_client_cert ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0),
				   NULL);
	// Tickets of sessions with client certificates are refused without one.
	static const unsigned char id[] = "fairlead";
	SSL_CTX_set_session_id_context(ctx, id, sizeof(id) - 1);
	*ret = TAKE_PTR(ctx);
	return 0;
}

// Appends the attribute as text and a NUL; false when it is no text or hides a NUL.
static bool append_text(struct fl_buf *b, const X509_NAME_ENTRY *e)
{
	unsigned char *utf8 = NULL;
	int n = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(e));
	if (n < 0)
		return false;
	bool ok = !memchr(utf8, 0, (size_t)n);
	if (ok) {
		fl_buf_append(b, utf8, (size_t)n);
		fl_buf_putc(b, '\0');
	}
	OPENSSL_free(utf8);
	return ok;
}

// Appends what names the certificate in audit trails, and a NUL. False: it could not be hashed.
static bool append_credential(struct fl_buf *b, const X509 *cert)
{
	unsigned char hash[EVP_MAX_MD_SIZE];
	unsigned n;
	if (!X509_digest(cert, EVP_sha256(), hash, &n))
		return false;
	fl_buf_puts(b, "X509SHA256=");
	for (unsigned i = 0; i < n; i++)
		fl_buf_printf(b, "%02x", hash[i]);
	fl_buf_putc(b, '\0');
	return true;
}

// One block: the struct, the group pointers, the texts.
static struct fl_tls_identity *build_identity(const struct fl_buf *user, const struct fl_buf *groups, unsigned n_groups,
					      const struct fl_buf *credential)
{
	size_t head = sizeof(struct fl_tls_identity) + n_groups * sizeof(char *);
	struct fl_tls_identity *id = fl_calloc(1, head + user->len + groups->len + credential->len);
	const char **list = (const char **)(id + 1);
	char *text = (char *)id + head;
	memcpy(text, user->data, user->len);
	id->user = text;
	text += user->len;
	if (groups->len)
		memcpy(text, groups->data, groups->len);
	for (unsigned i = 0; i < n_groups; i++, text += strlen(text) + 1)
		list[i] = text;
	memcpy(text, credential->data, credential->len);
	id->credential = text;
	id->groups = list;
	id->n_groups = n_groups;
	return id;
}

int fl_tls_identity_get(SSL *ssl, struct fl_tls_identity **ret, struct fl_err *err)
{
	X509 *cert = SSL_get0_peer_certificate(ssl);
	if (!cert) {
		*ret = NULL;
		return 0;
	}
	if (SSL_get_verify_result(ssl) != X509_V_OK)
		return fl_err_set(err, -EACCES, "client certificate: %s",
				  X509_verify_cert_error_string(SSL_get_verify_result(ssl)));
	if (X509_cmp_current_time(X509_get0_notAfter(cert)) <= 0)
		return fl_err_set(err, -EACCES, "client certificate of a resumed session has expired");

	const X509_NAME *name = X509_get_subject_name(cert);
	AUTO(fl_buf_deinit) struct fl_buf user = {0};
	AUTO(fl_buf_deinit) struct fl_buf groups = {0};
	unsigned n_groups = 0;
	for (int i = 0; i < X509_NAME_entry_count(name); i++) {
		const X509_NAME_ENTRY *e = X509_NAME_get_entry(name, i);
		int nid = OBJ_obj2nid(X509_NAME_ENTRY_get_object(e));
		bool ok = true;
		if (nid == NID_commonName) {
			user.len = 0; // several: the last one counts, as in Go's crypto/x509/pkix
			ok = append_text(&user, e);
		} else if (nid == NID_organizationName) {
			ok = append_text(&groups, e);
			n_groups++;
		}
		if (!ok)
			return fl_err_set(err, -EACCES, "client certificate: its subject is not plain text");
	}
	if (!user.len)
		fl_buf_putc(&user, '\0');
	AUTO(fl_buf_deinit) struct fl_buf credential = {0};
	if (!append_credential(&credential, cert))
		return fl_err_set(err, -EACCES, "client certificate: it has no SHA-256 digest");
	*ret = build_identity(&user, &groups, n_groups, &credential);
	return 0;
}

void fl_tls_identity_free(struct fl_tls_identity **id)
{
	free(*id);
	*id = NULL;
}
