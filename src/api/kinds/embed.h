// SPDX-License-Identifier: Apache-2.0
// The documents of the built-in kinds as bytes in the executable. A new kind is a file in this folder and a line in
// embed.c; types that it needs are put into definitions/ by tools/kinds-from-openapi.py.
#pragma once

struct fl_doc {
	const char *name; // file name, for messages
	const char *text, *end;
};

// Each ends with an entry whose name is NULL.
extern const struct fl_doc fl_kind_docs[]; // one kind each
// {"io.k8s...": {"": text, "property": text, ...}, ...}: what OpenAPI documents say to people, and `kubectl explain`
// shows.
extern const struct fl_doc fl_descriptions_doc;
extern const struct fl_doc fl_definition_docs[]; // {"io.k8s...": schema, ...} each
