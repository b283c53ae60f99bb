// SPDX-License-Identifier: Apache-2.0
// Answers in Kubernetes' words: Status objects, objects and lists in the form that the client asked for.
#pragma once

#include "apiserver/server.h"

// The Status of a request that the HTTP server refuses by itself. (struct fl_http_server_opts.refusal)
const char *fl_respond_refusal(int status, struct fl_buf *body);
void fl_respond_status(struct fl_request *r, const struct fl_status *st);
// A Status without details from printf-style text, e.g. (400, "BadRequest", ...).
__attribute__((format(printf, 4, 5))) void fl_respond_error(struct fl_request *r, int code, const char *reason,
							    const char *fmt, ...);
void fl_respond_not_found(struct fl_request *r);   // `services "a" not found`
void fl_respond_no_resource(struct fl_request *r); // the server could not find the requested resource
void fl_respond_method_not_allowed(struct fl_request *r);
void fl_respond_text(struct fl_request *r, int code, const char *text);
void fl_respond_tree(struct fl_request *r, int code, struct fl_json *tree);       // any document, JSON or YAML
void fl_respond_object(struct fl_request *r, int code, struct fl_object *o);      // in r->form
void fl_respond_object_tree(struct fl_request *r, int code, struct fl_json *obj); // the same from a tree (dry runs)
void fl_respond_success(struct fl_request *r, int code, struct fl_object *o);     // a Status alone; `o` is not shown
void fl_respond_add_warning(struct fl_request *r, const char *text); // Warning: 299 - "text" (RFC 9111 5.5)

// What a client that accepts only metadata, or a table, gets of an object; r says in which version, `k` which columns.
// Both take the metadata out of `obj`.
struct fl_json *fl_partial_metadata(const struct fl_request *r, struct fl_arena *a, struct fl_json *obj);
struct fl_json *fl_table_of(const struct fl_request *r, const struct fl_kind *k, struct fl_arena *a,
			    struct fl_json *obj, bool with_columns, int64_t now_ns);
// Appends `o` as a list item: without kind and apiVersion, as kube-apiserver does.
void fl_append_list_item(struct fl_buf *b, const struct fl_kind *k, const struct fl_object *o);
int fl_table_include_of(const struct fl_request *r); // enum fl_table_include from ?includeObject=
