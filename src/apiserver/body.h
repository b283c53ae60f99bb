// SPDX-License-Identifier: Apache-2.0
// Request bodies into trees: JSON, YAML or Kubernetes protobuf, decoded against the kind's schema with fieldValidation
// (Strict: unknown and duplicate fields are refused; Warn, the default: told in a Warning header; Ignore: dropped
// silently).
#pragma once

#include "apiserver/server.h"

// The body as an object of `kind`; it may leave kind and apiVersion out. On false the answer has been sent.
bool fl_body_object(struct fl_request *r, const struct fl_kind *kind, struct fl_json **ret);
// The same checks for a tree that did not come as a body (the result of a patch). `duplicates` may be NULL.
bool fl_body_decode(struct fl_request *r, const struct fl_kind *kind, struct fl_json *tree, struct fl_json *duplicates);
// A body of another shape (DeleteOptions, Scale, Binding): parsed only. An empty body gives NULL. On false the answer
// has been sent.
bool fl_body_any(struct fl_request *r, struct fl_json **ret);
