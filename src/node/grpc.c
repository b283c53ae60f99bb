// SPDX-License-Identifier: Apache-2.0
// grpc.health.v1 messages. See grpc.h.
#include "node/grpc.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

#define PREFIX_LEN  5 // compressed flag, length in four bytes
#define SERVICE_MAX 127
#define SERVING     1

enum { GRPC_OK = 0, GRPC_DEADLINE_EXCEEDED = 4, GRPC_UNIMPLEMENTED = 12 };

static const char *const code_names[] = {
    "OK",       "Canceled",       "Unknown",          "InvalidArgument",   "DeadlineExceeded",
    "NotFound", "AlreadyExists",  "PermissionDenied", "ResourceExhausted", "FailedPrecondition",
    "Aborted",  "OutOfRange",     "Unimplemented",    "Internal",          "Unavailable",
    "DataLoss", "Unauthenticated"};

static const char *const serving_names[] = {"UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"};

void fl_grpc_health_request(struct fl_buf *b, const char *service)
{
	size_t n = strnlen(service, SERVICE_MAX);
	char prefix[PREFIX_LEN] = {0};

	prefix[PREFIX_LEN - 1] = (char)(n ? n + 2 : 0);
	fl_buf_append(b, prefix, sizeof(prefix));
	if (!n)
		return;
	fl_buf_putc(b, 0x0a); // field 1, length-delimited
	fl_buf_putc(b, (char)n);
	fl_buf_append(b, service, n);
}

static bool read_varint(const uint8_t **p, const uint8_t *end, uint64_t *ret)
{
	uint64_t v = 0;

	for (unsigned shift = 0; *p < end && shift < 64; shift += 7) {
		uint8_t byte = *(*p)++;

		v |= (uint64_t)(byte & 0x7f) << shift;
		if (!(byte & 0x80)) {
			*ret = v;
			return true;
		}
	}
	return false;
}

// HealthCheckResponse.status; 0 when it is not there, as proto3 has it. False: no message.
static bool read_status(const char *body, size_t len, uint64_t *ret)
{
	const uint8_t *p = (const uint8_t *)body, *end;
	uint64_t key, v = 0;
	size_t n;

	*ret = 0;
	if (len < PREFIX_LEN || p[0] != 0)
		return false;
	n = (size_t)p[1] << 24 | (size_t)p[2] << 16 | (size_t)p[3] << 8 | p[4];
	if (n > len - PREFIX_LEN)
		return false;
	p += PREFIX_LEN;
	end = p + n;
	while (p < end) {
		if (!read_varint(&p, end, &key))
			return false;
		switch (key & 7) {
		case 0:
			if (!read_varint(&p, end, &v))
				return false;
			if (key >> 3 == 1)
				*ret = v;
			break;
		case 2:
			if (!read_varint(&p, end, &v) || v > (uint64_t)(end - p))
				return false;
			p += v;
			break;
		default:
			return false;
		}
	}
	return true;
}

// grpc-message is percent-encoded.
static void decode(const char *in, char *out, size_t size)
{
	size_t n = 0;

	for (; in && *in && n + 1 < size; in++) {
		unsigned byte;

		if (*in == '%' && sscanf(in + 1, "%2x", &byte) == 1 && in[1] && in[2]) {
			out[n++] = (char)byte;
			in += 2;
		} else {
			out[n++] = *in;
		}
	}
	out[n] = '\0';
}

static bool no_answer(const struct fl_grpc_answer *g, char *text, size_t size)
{
	if (g->rc == -ECONNREFUSED || g->rc == -EHOSTUNREACH || g->rc == -ENETUNREACH)
		snprintf(text, size, "timeout: failed to connect service \"%s\" within %us: context deadline exceeded",
			 g->address, g->timeout_s);
	else if (g->rc == -ETIMEDOUT)
		snprintf(text, size, "timeout: health rpc did not complete within %us", g->timeout_s);
	else
		snprintf(text, size, "error: health rpc probe failed: rpc error: code = Unavailable desc = %s",
			 g->rc == -ECONNRESET || g->rc == -EPROTO ? "connection closed before the answer" : g->error);
	return false;
}

bool fl_grpc_health_verdict(const struct fl_grpc_answer *g, char *text, size_t size)
{
	long code = g->grpc_status ? strtol(g->grpc_status, NULL, 10) : -1;
	char message[512];
	uint64_t status;

	if (g->rc < 0)
		return no_answer(g, text, size);
	decode(g->grpc_message, message, sizeof(message));
	if (code == GRPC_UNIMPLEMENTED || (code < 0 && g->http_status == 404)) {
		snprintf(text, size,
			 "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): %s",
			 message);
		return false;
	}
	if (code == GRPC_DEADLINE_EXCEEDED) {
		snprintf(text, size, "timeout: health rpc did not complete within %us", g->timeout_s);
		return false;
	}
	if (code != GRPC_OK) {
		if (code < 0)
			snprintf(text, size,
				 "error: health rpc probe failed: rpc error: code = Unknown desc = no gRPC answer "
				 "(HTTP status %d)",
				 g->http_status);
		else
			snprintf(text, size, "error: health rpc probe failed: rpc error: code = %s desc = %s",
				 (size_t)code < FL_COUNT(code_names) ? code_names[code] : "Unknown", message);
		return false;
	}
	if (!read_status(g->body, g->len, &status)) {
		snprintf(text, size,
			 "error: health rpc probe failed: rpc error: code = Internal desc = broken message");
		return false;
	}
	if (status == SERVING) {
		snprintf(text, size, "service healthy");
		return true;
	}
	snprintf(text, size, "service unhealthy (responded with \"%s\")",
		 status < FL_COUNT(serving_names) ? serving_names[status] : "UNKNOWN");
	return false;
}
