// SPDX-License-Identifier: Apache-2.0
// Request bodies into trees: JSON, YAML or Kubernetes protobuf, decoded against the kind's schema with fieldValidation
// (Strict: unknown and duplicate fields are refused; Warn, the default: told in a Warning header; Ignore: dropped
// silently).
#pragma once

#include "apiserver/server.h"

// The body as an object of `kind`; it may leave kind and apiVersion out. On false the answer has been sent.
bool fl_body_object(struct fl_request *r, const struct fl_kind *kind, struct fl_json **ret);
// The same checks for a tree that did not come as a body (what an apply comes to).
bool fl_body_decode(struct fl_request *r, const struct fl_kind *kind, struct fl_json *tree);
// And for what a patch made of an object: refused as an invalid patch (422), not as a bad request.
bool fl_body_decode_patched(struct fl_request *r, const struct fl_kind *kind, struct fl_json *tree);
// A body of a type that is no resource: DeleteOptions, Scale, Binding. An empty body gives NULL in *ret.
bool fl_body_type(struct fl_request *r, const char *api_version, const char *kind, struct fl_json **ret);
// The checks of fl_body_type for a tree, and for one that a patch made.
bool fl_body_decode_type(struct fl_request *r, const char *api_version, const char *kind, struct fl_json *tree);
bool fl_body_decode_patched_type(struct fl_request *r, const char *api_version, const char *kind, struct fl_json *tree);
