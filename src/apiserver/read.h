// SPDX-License-Identifier: Apache-2.0
// get, list and watch.
#pragma once

#include "api/selector.h"
#include "apiserver/server.h"

void fl_read_get(struct fl_request *r);
void fl_read_list(struct fl_request *r);
void fl_watch_start(struct fl_request *r);

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
bool fl_filter_matches(const struct fl_filter *f, struct fl_arena *scratch, const struct fl_json *obj);
