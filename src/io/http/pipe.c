// SPDX-License-Identifier: Apache-2.0
// OpenSSL over memory: a BIO of our own, which reads from the bytes at hand and writes into the batch, and the cork
// before it.
#include "io/http/pipe.h"

#include <openssl/err.h>
#include <pthread.h>
#include <string.h>

static BIO_METHOD *bio_method;

static int bio_read(BIO *b, char *p, int n)
{
	struct fl_pipe *pipe = BIO_get_data(b);
	BIO_clear_retry_flags(b);
	if (!pipe->in_len) {
		BIO_set_retry_read(b);
		return -1;
	}
	size_t take = pipe->in_len < (size_t)n ? pipe->in_len : (size_t)n;
	memcpy(p, pipe->in, take);
	pipe->in += take;
	pipe->in_len -= take;
	return (int)take;
}

static int bio_write(BIO *b, const char *p, int n)
{
	struct fl_pipe *pipe = BIO_get_data(b);
	BIO_clear_retry_flags(b);
	fl_buf_append(&pipe->out->batch, p, (size_t)n);
	return n;
}

static long bio_ctrl(BIO *b, int cmd, long num, void *ptr)
{
	return cmd == BIO_CTRL_FLUSH;
}

static int bio_create(BIO *b)
{
	BIO_set_init(b, 1);
	return 1;
}

static void make_bio_method(void)
{
	bio_method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "fairlead connection");
	BIO_meth_set_read(bio_method, bio_read);
	BIO_meth_set_write(bio_method, bio_write);
	BIO_meth_set_ctrl(bio_method, bio_ctrl);
	BIO_meth_set_create(bio_method, bio_create);
}

bool fl_pipe_start_tls(struct fl_pipe *p, SSL_CTX *ctx, bool server)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	pthread_once(&once, make_bio_method);
	p->ssl = SSL_new(ctx);
	BIO *bio = p->ssl ? BIO_new(bio_method) : NULL;
	if (!bio) {
		fl_pipe_stop_tls(p);
		return false;
	}
	BIO_set_data(bio, p);
	SSL_set_bio(p->ssl, bio, bio);
	if (server)
		SSL_set_accept_state(p->ssl);
	else
		SSL_set_connect_state(p->ssl);
	return true;
}

void fl_pipe_stop_tls(struct fl_pipe *p)
{
	SSL_free(p->ssl);
	p->ssl = NULL;
}

static bool encrypt(struct fl_pipe *p, const char *data, size_t n)
{
	while (n) {
		size_t done = 0;
		if (SSL_write_ex(p->ssl, data, n, &done) != 1) { // the BIO takes everything: only a broken one fails
			ERR_clear_error();
			return false;
		}
		data += done;
		n -= done;
	}
	return true;
}

bool fl_pipe_uncork(struct fl_pipe *p)
{
	size_t n = p->out->corked;
	p->out->corked = 0;
	return encrypt(p, p->out->cork, n);
}

// A piece of a full record's size is encrypted from where it stands.
bool fl_pipe_put(struct fl_pipe *p, const void *data, size_t n)
{
	struct fl_outbuf *o = p->out;
	const char *at = data;
	if (!p->ssl) {
		fl_buf_append(&o->batch, at, n);
		return true;
	}
	while (n) {
		if (!o->corked && n >= FL_CORK_BYTES) {
			if (!encrypt(p, at, FL_CORK_BYTES))
				return false;
			at += FL_CORK_BYTES;
			n -= FL_CORK_BYTES;
			continue;
		}
		size_t take = FL_CORK_BYTES - o->corked < n ? FL_CORK_BYTES - o->corked : n;
		memcpy(o->cork + o->corked, at, take);
		o->corked += take;
		at += take;
		n -= take;
		if (o->corked == FL_CORK_BYTES && !fl_pipe_uncork(p))
			return false;
	}
	return true;
}

size_t fl_pipe_room(const struct fl_pipe *p)
{
	size_t used = p->out->batch.len + p->out->corked;
	return used < FL_BATCH_BYTES ? FL_BATCH_BYTES - used : 0;
}
