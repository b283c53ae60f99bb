// SPDX-License-Identifier: Apache-2.0
// What the API server's tests share: a server on a loopback port with certificates of its own and a store in a
// directory of its own (or on an engine whose commits the test holds), and clients that ask it over TLS. One thread,
// one loop; tests wait on conditions by turning it.
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../store/support.h"
#include "apiserver/alloc.h"
#include "apiserver/server.h"
#include "base/vec.h"
#include "io/tls.h"

struct answer {
	bool done;
	int rc, status; // rc < 0: no answer came
	struct fl_buf body;
	unsigned lines; // of a watch, so far
	struct fl_arena a;
	struct fl_json *json; // NULL: the body is no JSON
	char type[96], warning[256], allow[96], etag[64];
	struct fl_http_call *call; // NULL when done
	struct fl_err err;
};

struct api {
	uv_loop_t loop;
	uv_timer_t watchdog;
	char dir[128], url[64];
	struct fl_apiserver s;
	struct fl_apiserver_opts opts;
	// With a client certificate, without, and with on connections of its own: a call that is paused holds up those
	// that share its connection.
	struct fl_http_client *admin, *nobody, *second;
	struct fl_store_opts store;
	const char *headers[2]; // sent with every request from now on ("Impersonate-User: x"), or NULL
	bool held;              // on the held engine
	bool serving;
	struct fl_http_server *node; // api_start_node
	bool node_serving;
	FL_VEC(struct answer *) answers; // all that were given out
};

struct api_config {
	const char *cidr, *cidr6;     // NULL: 10.96.0.0/16, no second family
	uint16_t port_low, port_high; // 0: 30000-32767
	bool held;                    // commits wait for held_commit; bootstrap is skipped
	bool no_bootstrap;
	struct fl_store_opts store; // path is filled in
};

void api_start(struct api *f, const struct api_config *c);
void api_stop_serving(struct api *f, unsigned grace_ms); // HTTP ends, the store stays
void api_restart(struct api *f);                         // stops all and starts again on the same directory
void api_stop(struct api *f);                            // all of it, for api_restart to go on
void api_end(struct api *f);                             // and fails the test if anything is left
// Directory, loop and clients alone: for a server in another process, whose address goes to f->url.
void api_client_only(struct api *f);

struct api_booted {
	bool done;
	int rc;
	struct fl_err err;
};
struct api_booted api_boot(struct api *f); // makes the first objects, once more if they are there
const char *api_pem(const char *name);     // "ca", "server", "server key", "admin", "admin key"
// cmocka setup and teardown with the default configuration; *state is the struct api.
int api_setup(void **state);
int api_teardown(void **state);

// An HTTPS endpoint such as a node has; ends with the fixture. Returns its port.
uint16_t api_start_node(struct api *f, fl_http_handler handler, void *arg);

#define WAIT(f, condition)                                                                                             \
	do {                                                                                                           \
		while (!(condition))                                                                                   \
			uv_run(&(f)->loop, UV_RUN_ONCE);                                                               \
	} while (0)

// Sends a request; the answer belongs to the fixture. `type` NULL: application/json. `accept` NULL: none. The body is
// printf-style and may be NULL.
struct answer *api_send(struct api *f, struct fl_http_client *c, const char *method, const char *path, const char *type,
			const char *accept, const char *body, size_t len);
// The same, waited for, as the administrator.
struct answer *ask(struct api *f, const char *method, const char *path);
__attribute__((format(printf, 4, 5))) struct answer *ask_with(struct api *f, const char *method, const char *path,
							      const char *format, ...);
struct answer *ask_as(struct api *f, const char *method, const char *path, const char *accept);
// PATCH; `kind` is merge, strategic or json.
__attribute__((format(printf, 4, 5))) struct answer *patch_with(struct api *f, const char *kind, const char *path,
								const char *format, ...);
// Starts one and does not wait.
__attribute__((format(printf, 4, 5))) struct answer *start_with(struct api *f, const char *method, const char *path,
								const char *format, ...);
// A watch: its body grows.
struct answer *start_watch(struct api *f, struct fl_http_client *c, const char *path, const char *accept);
void cancel(struct answer *a);

// Waits for it, checks the status and gives the answer back; a wrong one fails the test with the body.
struct answer *expect_at(struct answer *a, struct api *f, int status, const char *file, int line);
#define expect(f, status, answer) expect_at(answer, f, status, __FILE__, __LINE__)

// "spec.ports[0].nodePort" of the answer's body: text, or "" where there is none; numbers and booleans as written.
const char *at(struct answer *a, const char *path);
const struct fl_json *node_at(struct answer *a, const char *path);
long long number_at(struct answer *a, const char *path);
bool contains(struct answer *a, const char *text);
// How many lines of a watch say so.
unsigned count_lines(const struct answer *a, const char *text);

// A Service of type ClusterIP in "default".
struct answer *make_service(struct api *f, const char *name);
