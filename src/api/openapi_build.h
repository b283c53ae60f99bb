// SPDX-License-Identifier: Apache-2.0
// Inside of the OpenAPI documents; included by openapi*.c, by nobody else.
//
//   openapi_paths.c   kinds: paths, operations, parameters
//   openapi.c         definitions: schemas; whole documents, hashes     both: JSON trees in the caller's arena
//   openapi_proto.c   the v2 document in gnostic's protobuf form
#pragma once

#include "api/kind.h"
#include "base/map.h"
#include "base/vec.h"

struct fl_openapi {
	struct fl_arena *a;
	const struct fl_registry *r;
	bool v2;
	struct fl_map seen;        // definitions that were referred to
	FL_VEC(const char *) todo; // those of them that are not written yet
};

// {"$ref": ...} to a definition, which will be part of the document.
struct fl_json *fl_openapi_ref(struct fl_openapi *o, const char *definition);
// The definition of a type, or NULL: ("autoscaling", "v1", "Scale") is io.k8s.api.autoscaling.v1.Scale.
const char *fl_openapi_definition(const struct fl_openapi *o, const char *group, const char *version, const char *kind);

// Adds the paths of one group and version to the object `paths`; false when there is no such version.
bool fl_openapi_paths(struct fl_openapi *o, const char *group, const char *version, struct fl_json *paths);

// Appends an openapi.v2.Document made from the v2 document's tree.
void fl_openapi_write_gnostic(struct fl_buf *b, const struct fl_json *document);
