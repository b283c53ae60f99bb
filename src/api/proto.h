// SPDX-License-Identifier: Apache-2.0
// Kubernetes protobuf: "k8s\0" + runtime.Unknown {typeMeta=1, raw=2, contentEncoding=3, contentType=4}, raw being the
// kind's message. Decoded by walking the kind's schema, so that no message is written down twice.
#pragma once

#include "api/kind.h"

// Decodes a whole body into a tree with kind and apiVersion set. The kind comes from the envelope's typeMeta and is
// looked up in `r`; `meta` kinds that are no resources (DeleteOptions, Scale ...) are found too. -EINVAL on malformed
// bytes, -ENOENT for an unknown kind. Bounded like JSON.
FL_WUR int fl_proto_decode(const struct fl_registry *r, struct fl_arena *a, const void *body, size_t len,
			   struct fl_json **ret, struct fl_err *err);
