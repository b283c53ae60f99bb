// SPDX-License-Identifier: Apache-2.0
// A client for measuring: HTTP/1.1 over TLS on plain sockets, one request at a time per connection, whole answers. It
// costs a fraction of what the server does for the same request, so that on a small machine the server is what is
// measured. It retries nothing; what cannot go on ends the program.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

struct load_target;
struct load_conn;

struct load_target *load_target_open(const char *kubeconfig);
// From PEM texts; `url` as in a kubeconfig.
struct load_target *load_target_new(const char *url, const char *ca_pem, const char *cert_pem, const char *key_pem);
void load_target_free(struct load_target **t);

struct load_conn *load_connect(struct load_target *t);
void load_close(struct load_conn **c);

struct load_answer {
	int status;
	const char *body; // NUL-terminated, until the next call on the connection
	size_t len;
};

// `type` NULL: no body.
struct load_answer load_call(struct load_conn *c, const char *method, const char *path, const char *type,
			     const char *body, size_t len);
// The same, and anything else than a 2xx ends the program.
struct load_answer load_must(struct load_conn *c, const char *method, const char *path, const char *type,
			     const char *body, size_t len);
// Header fields of every request of this connection, each ended by CR LF; NULL: "Accept: application/json".
void load_set_headers(struct load_conn *c, const char *headers);

struct load_job {
	int conns, from, to; // numbers of the requests: [from, to)
	// Fills in request `i`; *path must live until the answer came or be a part of `scratch`.
	void (*request)(void *arg, int i, const char **method, struct fl_buf *path, struct fl_buf *body);
	const char *type; // of the bodies
	void *arg;
};

struct load_result {
	double seconds, cpu_s; // cpu: of this process
	uint64_t p50_ns, p99_ns;
	int bad; // answers other than 2xx
};

// Keeps `conns` connections busy with one request each until all are answered.
struct load_result load_run(struct load_target *t, const struct load_job *job);

double load_cpu_s(void);                                  // of this process so far
uint64_t load_quantile(uint64_t *ns, size_t n, double q); // sorts
_Noreturn void load_die(const char *what, const char *why);
