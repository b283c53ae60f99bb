// SPDX-License-Identifier: Apache-2.0
// create, update, patch and delete over HTTP.
#pragma once

#include "apiserver/change.h"

void fl_write_create(struct fl_request *r);
void fl_write_update(struct fl_request *r); // PUT, also on status
void fl_write_patch(struct fl_request *r);  // PATCH, also on status
void fl_write_delete(struct fl_request *r);
void fl_write_delete_collection(struct fl_request *r);

// ?dryRun: All is the only value. False: the answer has been sent.
bool fl_write_dry_run(struct fl_request *r, const char *options_kind, bool *ret);
// Submits `c` and answers with the object in the request's form, or with what `answer` makes of it (may be NULL). Ends
// c.
typedef void (*fl_write_answer)(struct fl_request *r, int code, struct fl_object *o);
void fl_write_finish(struct fl_request *r, struct fl_change *c, enum fl_store_verb verb, int code,
		     fl_write_answer answer);
// The patch in the body applied to a clone of `target`. False: the answer has been sent.
bool fl_write_apply_patch(struct fl_request *r, const struct fl_schema *schema, bool strategic,
			  const struct fl_json *target, struct fl_json **ret);
