// SPDX-License-Identifier: Apache-2.0
// One thing done to a container from outside, with an answer: what probes and lifecycle hooks are made of
// (v1.ProbeHandler, v1.LifecycleHandler). Command in the container, HTTP request, TCP connection, gRPC health check,
// or just some time.
#pragma once

#include <uv.h>

#include "base/ip.h"
#include "io/http_client.h"
#include "node/podspec.h"

enum fl_action_kind {
	FL_ACTION_HTTP,
	FL_ACTION_TCP,
	FL_ACTION_EXEC,
	FL_ACTION_GRPC,
	FL_ACTION_SLEEP,
};

struct fl_action_spec { // strings point into the pod's tree or an arena
	enum fl_action_kind kind;
	uint16_t port;
	const char *host;              // NULL: the pod's address
	const char *scheme, *path;     // http
	const struct fl_json *headers; // http: array of {name, value}
	const struct fl_json *command; // exec: array of strings
	const char *service;           // grpc: "" asks for the server as a whole
	int64_t seconds;               // sleep
};

// From an object with one of httpGet, tcpSocket, exec, grpc, sleep. False: there is none, or its port names no port of
// the container; *ret_why tells.
bool fl_action_read(const struct fl_json *container, const struct fl_json *handler, struct fl_action_spec *ret,
		    const char **ret_why);
void fl_action_copy(struct fl_arena *a, struct fl_action_spec *s); // makes all that it points to stand in `a`

struct fl_action_place { // where a container is; strings live as long as the actions in it
	uv_loop_t *loop;
	struct fl_http_client *http; // certificates are not verified
	struct fl_ip pod_ip;
	const char *runtime, *runtime_root, *id;
	const char *dir; // for a file with the pid of a command
};

struct fl_action;

struct fl_action_opts { // borrowed for the call, but the place
	const struct fl_action_place *place;
	const struct fl_action_spec *spec;
	const char *user_agent;
	unsigned timeout_s; // 0: none
	bool any_status;    // any HTTP answer is a success
	// Once, unless cancelled, after start has returned. `text` says what went wrong, as kubelet says it.
	void (*on_done)(void *arg, bool success, const char *text);
	void *arg;
};

// -errno when it cannot even begin.
FL_WUR int fl_action_start(const struct fl_action_opts *o, struct fl_action **ret, struct fl_err *err);
void fl_action_cancel(struct fl_action **a); // accepts NULL inside; a command in the container is left to end by itself
