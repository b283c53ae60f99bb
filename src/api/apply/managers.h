// SPDX-License-Identifier: Apache-2.0
// Inside of managed.h: the entries of managedFields as sets. For the files of this folder.
#pragma once

#include "api/apply/managed.h"
#include "api/apply/typed.h"

struct manager {
	const char *name, *version, *time, *subresource; // time and subresource NULL when absent
	bool apply;
	struct fl_fieldset set;
};

struct managers {
	struct fl_arena *a;
	struct manager *v;
	unsigned n, cap;
};

// False when an entry is none; `m` is left empty then.
bool fl_managers_decode(struct managers *m, const struct fl_json *entries);
// The array, ordered as Kubernetes orders it; NULL when there are none. Entries with an empty set are left out, more
// than ten Update entries joined.
struct fl_json *fl_managers_encode(struct managers *m);
// The entry of this identity, or a new one with an empty set. Valid until the next call.
struct manager *fl_managers_entry(struct managers *m, const char *name, bool apply, const char *version,
				  const char *subresource);
// Takes the paths of `gone` from all but `but` (may be NULL). Entries of another version are left alone: their paths
// may mean something else.
void fl_managers_take(struct managers *m, const char *version, const struct fl_fieldset *gone,
		      const struct manager *but);

// What nobody owns: kind, apiVersion and what the server alone writes into metadata.
extern const struct fl_fieldset fl_managed_stripped;
// What a write to this subresource cannot change.
const struct fl_fieldset *fl_managed_ignored(const struct fl_kind *k, const char *subresource);
