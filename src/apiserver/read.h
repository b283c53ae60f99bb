// SPDX-License-Identifier: Apache-2.0
// get, list and watch.
#pragma once

#include "api/selector.h"
#include "apiserver/server.h"

void fl_read_get(struct fl_request *r);
void fl_read_list(struct fl_request *r);
void fl_watch_start(struct fl_request *r);
void fl_watch_drop_trees(struct fl_apiserver *s); // at the end

// Shared by list and watch. `ret` 0 when no resourceVersion is given. False: the answer has been sent.
bool fl_read_revision(struct fl_request *r, uint64_t *ret);
bool fl_read_invalid_options(struct fl_request *r, const struct fl_causes *causes); // 422; always false
void fl_read_too_large(struct fl_request *r, uint64_t rv); // 504: the revision is in the future

// What a list or watch selects. The selectors live in `a`.
struct fl_filter {
	struct fl_selector *labels;       // NULL: all
	struct fl_field_selector *fields; // NULL: all
	const char *only_name;            // metadata.name=x: lets a list become a get
};

// Parses labelSelector and fieldSelector into `a`; with r->name set, the name alone is selected. False: the answer has
// been sent.
bool fl_filter_parse(struct fl_request *r, struct fl_arena *a, struct fl_filter *ret);
static inline bool fl_filter_is_all(const struct fl_filter *f)
{
	return !f->labels && !f->fields;
}
// Visits what may match of the present state: everything, or the one object that the filter names.
void fl_read_present(struct fl_request *r, const struct fl_filter *filter, fl_store_visit visit, void *arg);
bool fl_filter_matches(const struct fl_filter *f, struct fl_arena *scratch, const struct fl_json *obj);
