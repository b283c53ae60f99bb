// SPDX-License-Identifier: Apache-2.0
// The gRPC health checking protocol (grpc.health.v1, service Health, method Check) as far as a probe needs it: the one
// request, and what its answer means, worded as kubelet words it (pkg/probe/grpc). Pure; HTTP/2 is the caller's.
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/str.h"

// Appends the length-prefixed HealthCheckRequest. `service` "": the server as a whole.
void fl_grpc_health_request(struct fl_buf *b, const char *service);

struct fl_grpc_answer {
	int rc; // -errno: there was no answer, and `error` says why
	const char *error;
	int http_status;
	const char *grpc_status, *grpc_message; // of the trailers; NULL when absent
	const char *body;
	size_t len;
	const char *address; // "10.0.0.1:5000"
	unsigned timeout_s;
};

// Whether the service is SERVING; writes the reason for a person into `text`.
bool fl_grpc_health_verdict(const struct fl_grpc_answer *g, char *text, size_t size);
