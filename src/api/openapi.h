// SPDX-License-Identifier: Apache-2.0
// Discovery and OpenAPI documents, made from the kinds. Each is built once and shared.
#pragma once

#include "api/kind.h"

// /api, /apis, /api/v1 and /apis/<g>/<v>; server_address as "10.0.0.1:6443".
struct fl_json *fl_discovery_api_versions(struct fl_arena *a, const char *server_address);
struct fl_json *fl_discovery_groups(struct fl_arena *a, const struct fl_registry *r);
struct fl_json *fl_discovery_group(struct fl_arena *a, const struct fl_registry *r, const char *group); // NULL: unknown
struct fl_json *fl_discovery_resources(struct fl_arena *a, const struct fl_registry *r, const char *group,
				       const char *version); // NULL: unknown
struct fl_json *fl_discovery_aggregated(struct fl_arena *a, const struct fl_registry *r,
					bool core); // APIGroupDiscoveryList v2; core: /api, else /apis

struct fl_json *fl_openapi_v3_index(struct fl_arena *a, const struct fl_registry *r); // /openapi/v3
struct fl_json *fl_openapi_v3(struct fl_arena *a, const struct fl_registry *r, const char *group,
			      const char *version); // NULL: unknown
struct fl_json *fl_openapi_v2(struct fl_arena *a, const struct fl_registry *r);
void fl_openapi_v2_proto(struct fl_buf *b, const struct fl_registry *r); // gnostic openapi.v2.Document
