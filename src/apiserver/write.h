// SPDX-License-Identifier: Apache-2.0
// create, update and patch over HTTP, and how every write is answered.
#pragma once

#include "apiserver/change.h"

void fl_write_create(struct fl_request *r);
void fl_write_update(struct fl_request *r); // PUT, also on status
void fl_write_patch(struct fl_request *r);  // PATCH, also on status

// A change of what the request names.
struct fl_change fl_write_change(struct fl_request *r, bool dry_run);
// ?dryRun: All is the only value. False: the answer has been sent.
bool fl_write_dry_run(struct fl_request *r, const char *options_kind, bool *ret);
// Submits `c` and answers, once it is durable, with the object in the request's form or with what `answer` makes of it
// (may be NULL). A dry run is answered at once and leaves nothing. Ends c.
typedef void (*fl_write_answer)(struct fl_request *r, int code, struct fl_object *o);
void fl_write_finish(struct fl_request *r, struct fl_change *c, enum fl_store_verb verb, int code,
		     fl_write_answer answer);
// Answers c->status, once it is certain (fl_change_is_settled). Ends c.
void fl_write_refuse(struct fl_request *r, struct fl_change *c);

// patch.c: the patch in the body applied to a clone of `target`. False: the answer has been sent.
bool fl_patch_apply(struct fl_request *r, const struct fl_schema *schema, bool strategic, const struct fl_json *target,
		    struct fl_json **ret);
