// SPDX-License-Identifier: Apache-2.0
// Handshakes with our server: who a client proves to be, and which handshakes are refused.
#include "http_fixture.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "io/http/conn.h"

static void expect_refusal(const struct answer *a, const char *alert)
{
	assert_true(a->rc < 0);
	if (!strstr(a->err.text, alert))
		fail_msg("no alert \"%s\": %s", alert, a->err.text);
}

// want: user and groups; NULL: the handshake is refused with that alert (RFC 8446, 6.2).
static void expect_user(const struct fl_pki_cert *cert, const char *want, const char *alert)
{
	struct fixture f;
	struct answer a = {0};
	setup_with(&f, true, NULL);
	struct fl_http_client *c = new_client(&f, cert);
	call(&f, c, "GET", "/who", NULL, 0, &a);
	if (want) {
		if (a.rc)
			fail_msg("%s", a.err.text);
		assert_string_equal(a.body.data, want);
	} else {
		expect_refusal(&a, alert);
		assert_int_equal(f.n_handled, 0);
	}
	answer_reset(&a);
	fl_http_client_free(&c);
	teardown(&f);
}

static void a_certificate_gives_user_and_groups(void **state)
{
	expect_user(&pki.admin, "admin system:masters team-a", NULL);
}

static void no_certificate_is_nobody(void **state)
{
	expect_user(NULL, "nobody", NULL);
}

static void a_foreign_certificate_ends_the_handshake(void **state)
{
	expect_user(&pki.stranger, NULL, "unknown ca");
}

static void a_server_certificate_is_no_client_certificate(void **state)
{
	expect_user(&pki.server, NULL, "unsupported certificate");
}

// The admin's certificate, signed again with an end in the past.
static char *expired_pem(void)
{
	BIO *b = BIO_new_mem_buf(pki.admin.cert_pem, -1), *k = BIO_new_mem_buf(pki.ca.key_pem, -1);
	X509 *x = PEM_read_bio_X509(b, NULL, NULL, NULL);
	EVP_PKEY *key = PEM_read_bio_PrivateKey(k, NULL, NULL, NULL);
	X509_gmtime_adj(X509_getm_notAfter(x), -10);
	assert_true(X509_sign(x, key, EVP_sha256()) > 0);
	BIO *out = BIO_new(BIO_s_mem());
	PEM_write_bio_X509(out, x);
	char *p;
	long n = BIO_get_mem_data(out, &p);
	char *pem = fl_strndup(p, (size_t)n);
	BIO_free(b);
	BIO_free(k);
	BIO_free(out);
	X509_free(x);
	EVP_PKEY_free(key);
	return pem;
}

static void an_expired_certificate_ends_the_handshake(void **state)
{
	AUTO_FREE char *pem = expired_pem();
	struct fl_pki_cert old = {.cert_pem = pem, .key_pem = pki.admin.key_pem};
	expect_user(&old, NULL, "certificate expired");
}

// A TLS client of our own: GET /keep with the session of an earlier one, if any. Returns its session.
static SSL_SESSION *keep_with_session(struct fixture *f, SSL_CTX *ctx, SSL_SESSION *old, struct raw *w)
{
	SSL *ssl = SSL_new(ctx);
	BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());
	SSL_set_bio(ssl, in, out);
	SSL_set_connect_state(ssl);
	if (old)
		assert_int_equal(SSL_set_session(ssl, old), 1);
	raw_open(f, w);
	unsigned kept = f->n_kept;
	static const char get[] = "GET /keep HTTP/1.1\r\nHost: x\r\n\r\n";
	bool written = false;
	size_t seen = 0;
	while ((f->n_kept == kept || !SSL_SESSION_is_resumable(SSL_get0_session(ssl))) && !w->eof) {
		char buf[4096];
		if (w->in.len > seen)
			BIO_write(in, w->in.data + seen, (int)(w->in.len - seen));
		seen = w->in.len;
		if (SSL_do_handshake(ssl) == 1) {
			SSL_read(ssl, buf, sizeof(buf)); // takes the ticket in
			if (!written)
				written = SSL_write(ssl, get, sizeof(get) - 1) == (int)sizeof(get) - 1;
		}
		for (int n; (n = BIO_read(out, buf, sizeof(buf))) > 0;)
			raw_send_n(w, buf, (size_t)n);
		uv_run(&f->loop, UV_RUN_NOWAIT);
	}
	SSL_SESSION *session = SSL_get1_session(ssl);
	SSL_set_shutdown(ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN); // a session is dropped without
	SSL_free(ssl);
	ERR_clear_error();
	return session;
}

static void a_resumed_session_keeps_its_identity(void **state)
{
	struct fixture f;
	struct raw w = {0};
	setup_with(&f, true, NULL);
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	BIO *c = BIO_new_mem_buf(pki.admin.cert_pem, -1), *k = BIO_new_mem_buf(pki.admin.key_pem, -1);
	X509 *cert = PEM_read_bio_X509(c, NULL, NULL, NULL);
	EVP_PKEY *key = PEM_read_bio_PrivateKey(k, NULL, NULL, NULL);
	assert_int_equal(SSL_CTX_use_certificate(ctx, cert), 1);
	assert_int_equal(SSL_CTX_use_PrivateKey(ctx, key), 1);
	SSL_SESSION *session = NULL;
	for (unsigned i = 0; i < 3; i++) {
		if (i == 2) { // other ticket keys: a full handshake again
			SSL_CTX *other = server_ctx(false);
			fl_http_server_set_tls(f.server, other);
			SSL_CTX_free(other);
		}
		SSL_SESSION *next = keep_with_session(&f, ctx, session, &w);
		SSL_SESSION_free(session);
		session = next;
		assert_int_equal(f.n_kept, i + 1);
		struct fl_http_req *r = f.kept[i];
		assert_string_equal(fl_http_identity(r)->user, "admin");
		assert_int_equal(fl_http_identity(r)->n_groups, 2);
		assert_string_equal(fl_http_identity(r)->groups[1], "team-a");
		assert_int_equal(SSL_session_reused(r->conn->pipe.ssl), i == 1);
		fl_http_abort(r);
		raw_close(&f, &w);
	}
	SSL_SESSION_free(session);
	X509_free(cert);
	EVP_PKEY_free(key);
	BIO_free(c);
	BIO_free(k);
	SSL_CTX_free(ctx);
	teardown(&f);
}

static void a_certificate_can_be_required(void **state)
{
	struct fixture f;
	struct answer a = {0};
	setup_with(&f, true, NULL);
	SSL_CTX *strict = server_ctx(true);
	fl_http_server_set_tls(f.server, strict); // for new handshakes
	SSL_CTX_free(strict);
	struct fl_http_client *without = new_client(&f, NULL), *with = new_client(&f, &pki.admin);
	call(&f, without, "GET", "/who", NULL, 0, &a);
	expect_refusal(&a, "certificate required");
	call(&f, with, "GET", "/who", NULL, 0, &a);
	assert_int_equal(a.rc, 0);
	answer_reset(&a);
	fl_http_client_free(&without);
	fl_http_client_free(&with);
	teardown(&f);
}

static void the_client_checks_the_server(void **state)
{
	struct fixture f;
	struct answer a = {0};
	struct fl_err err = {0};
	struct fl_http_client *c = NULL;
	setup_with(&f, true, NULL);
	struct fl_http_client_opts o = {.ca_pem = pki.stranger_ca.cert_pem};
	assert_int_equal(fl_http_client_new(&f.loop, &o, &c, &err), 0);
	call(&f, c, "GET", "/who", NULL, 0, &a);
	assert_int_equal(a.rc, -EKEYREJECTED);
	fl_http_client_free(&c);

	o = (struct fl_http_client_opts){.ca_pem = pki.ca.cert_pem, .tls_server_name = "kubernetes.default"};
	assert_int_equal(fl_http_client_new(&f.loop, &o, &c, &err), 0);
	call(&f, c, "GET", "/who", NULL, 0, &a);
	if (a.rc)
		fail_msg("%s", a.err.text);
	fl_http_client_free(&c);

	o.tls_server_name = "wrong.example";
	assert_int_equal(fl_http_client_new(&f.loop, &o, &c, &err), 0);
	call(&f, c, "GET", "/who", NULL, 0, &a);
	assert_int_equal(a.rc, -EKEYREJECTED);
	fl_http_client_free(&c);

	o = (struct fl_http_client_opts){.insecure_skip_verify = true};
	assert_int_equal(fl_http_client_new(&f.loop, &o, &c, &err), 0);
	call(&f, c, "GET", "/who", NULL, 0, &a);
	assert_int_equal(a.rc, 0);
	answer_reset(&a);
	fl_http_client_free(&c);
	teardown(&f);
}

static void plain_text_to_a_tls_port_is_told_so(void **state)
{
	struct fixture f;
	struct raw w = {0};
	setup_with(&f, true, NULL);
	raw_open(&f, &w);
	raw_send(&w, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
	WAIT(&f, w.eof);
	assert_true(raw_has(&w, "400 Bad Request"));
	raw_close(&f, &w);
	raw_open(&f, &w);
	raw_send(&w, "\x16\x03\x01\x00\x05garbage that is no client hello at all");
	WAIT(&f, w.eof);
	assert_int_equal(f.n_handled, 0);
	raw_close(&f, &w);
	teardown(&f);
}

static void bad_material_is_refused(void **state)
{
	struct fl_err err = {0};
	SSL_CTX *ctx = NULL;
	assert_true(fl_tls_server_ctx("x", pki.server.key_pem, NULL, false, &ctx, &err) < 0);
	assert_true(fl_tls_server_ctx(pki.server.cert_pem, "x", NULL, false, &ctx, &err) < 0);
	assert_true(fl_tls_server_ctx(pki.server.cert_pem, pki.admin.key_pem, NULL, false, &ctx, &err) < 0);
	assert_true(fl_tls_server_ctx(pki.server.cert_pem, pki.server.key_pem, "x", false, &ctx, &err) < 0);
	assert_null(ctx);
	assert_true(strlen(err.text) > 0);
}

int main(void)
{
	make_pki();
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_certificate_gives_user_and_groups),
	    cmocka_unit_test(no_certificate_is_nobody),
	    cmocka_unit_test(a_foreign_certificate_ends_the_handshake),
	    cmocka_unit_test(a_server_certificate_is_no_client_certificate),
	    cmocka_unit_test(an_expired_certificate_ends_the_handshake),
	    cmocka_unit_test(a_resumed_session_keeps_its_identity),
	    cmocka_unit_test(a_certificate_can_be_required),
	    cmocka_unit_test(the_client_checks_the_server),
	    cmocka_unit_test(plain_text_to_a_tls_port_is_told_so),
	    cmocka_unit_test(bad_material_is_refused),
	};
	int rc = cmocka_run_group_tests(tests, NULL, NULL);
	free_pki();
	return rc;
}
