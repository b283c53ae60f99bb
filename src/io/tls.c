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

static int fail(struct fl_err *err, const char *what)
{
	char reason[256];
	return fl_err_set(err, -EINVAL, "TLS: %s: %s", what, fl_openssl_reason(reason, sizeof(reason)));
}

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

// The first certificate is the server's, the rest its chain.
static int use_certificate(SSL_CTX *ctx, const char *cert_pem, const char *key_pem, struct fl_err *err)
{
	AUTO(free_bio) BIO *in = BIO_new_mem_buf(cert_pem, -1);
	AUTO(free_cert) X509 *leaf = in ? PEM_read_bio_X509(in, NULL, NULL, NULL) : NULL;
	if (!leaf || SSL_CTX_use_certificate(ctx, leaf) != 1)
		return fail(err, "server certificate");
	for (;;) {
		AUTO(free_cert) X509 *next = PEM_read_bio_X509(in, NULL, NULL, NULL);
		if (!next)
			break;
		if (SSL_CTX_add1_chain_cert(ctx, next) != 1)
			return fail(err, "server certificate chain");
	}
	ERR_clear_error();

	AUTO(free_bio) BIO *key_in = BIO_new_mem_buf(key_pem, -1);
	AUTO(free_key) EVP_PKEY *key = key_in ? PEM_read_bio_PrivateKey(key_in, NULL, NULL, NULL) : NULL;
	if (!key || SSL_CTX_use_PrivateKey(ctx, key) != 1)
		return fail(err, "private key");
	if (SSL_CTX_check_private_key(ctx) != 1)
		return fail(err, "the private key does not belong to the certificate");
	return 0;
}

static int ask_for_clients(SSL_CTX *ctx, const char *ca_pem, bool require, struct fl_err *err)
{
	AUTO(free_bio) BIO *in = BIO_new_mem_buf(ca_pem, -1);
	X509_STORE *store = SSL_CTX_get_cert_store(ctx);
	unsigned n = 0;
	for (;; n++) {
		AUTO(free_cert) X509 *ca = in ? PEM_read_bio_X509(in, NULL, NULL, NULL) : NULL;
		if (!ca)
			break;
		if (X509_STORE_add_cert(store, ca) != 1 || SSL_CTX_add_client_CA(ctx, ca) != 1)
			return fail(err, "client CA");
	}
	if (!n)
		return fail(err, "client CA");
	ERR_clear_error();
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | (require ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0), NULL);
	return 0;
}

int fl_tls_server_ctx(const char *cert_pem, const char *key_pem, const char *client_ca_pem, bool require_client_cert,
		      SSL_CTX **ret, struct fl_err *err)
{
	AUTO(free_ctx) SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
	if (!ctx)
		return fail(err, "context");
	SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
	// Forward secrecy and authenticated encryption only; TLS 1.3 has nothing else.
	if (SSL_CTX_set_cipher_list(ctx, "ECDHE+AESGCM:ECDHE+CHACHA20") != 1 ||
	    SSL_CTX_set1_groups_list(ctx, "X25519:P-256:P-384") != 1)
		return fail(err, "cipher list");
	SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
	// An idle connection gives its record buffers (some 35 KiB) back.
	SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
				  SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_num_tickets(ctx, 1);
	SSL_CTX_set_alpn_select_cb(ctx, select_alpn, NULL);

	int rc = use_certificate(ctx, cert_pem, key_pem, err);
	if (rc < 0)
		return rc;
	if (client_ca_pem) {
		rc = ask_for_clients(ctx, client_ca_pem, require_client_cert, err);
		if (rc < 0)
			return rc;
	}
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
