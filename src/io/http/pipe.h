// SPDX-License-Identifier: Apache-2.0
// The bytes of one connection, in either role: plain, or through OpenSSL. Knows no socket and no HTTP.
//
//   in:   fl_pipe_read  <- pipe->in             [OpenSSL between]
//   out:  fl_pipe_put -> [cork -> SSL_write] -> out->batch, which the owner gives to the socket
//
// The output buffers belong to the server or client and are used for the length of one call, so that a silent
// connection holds none. Small pieces share a TLS record; all that is put in one go shares a write.
#pragma once

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/str.h"

#define FL_CORK_BYTES  (16 * 1024) // one TLS record
#define FL_BATCH_BYTES (64 * 1024) // output given to the kernel in one go, about

struct fl_outbuf {
	struct fl_buf batch; // what goes to the socket
	size_t corked;
	char cork[FL_CORK_BYTES];
};

struct fl_pipe {
	SSL *ssl;       // NULL: plain
	const char *in; // ciphertext under way into OpenSSL
	size_t in_len;
	struct fl_outbuf *out; // the owner's
};

// Puts TLS into p->ssl, talking to p->in and p->out->batch. The pipe must not move afterwards. False: no memory.
FL_WUR bool fl_pipe_start_tls(struct fl_pipe *p, SSL_CTX *ctx, bool server);
void fl_pipe_stop_tls(struct fl_pipe *p); // accepts a plain one
// False: the session is broken, and so is the connection.
FL_WUR bool fl_pipe_put(struct fl_pipe *p, const void *data, size_t n);
FL_WUR bool fl_pipe_uncork(struct fl_pipe *p); // all that was put is in the batch
size_t fl_pipe_room(const struct fl_pipe *p);  // bytes left in the batch being built
