// SPDX-License-Identifier: Apache-2.0
// Server-side apply over HTTP: PATCH with application/apply-patch+yaml, whose body may be YAML or JSON.
#pragma once

#include "apiserver/change.h"

bool fl_apply_is_asked(const struct fl_request *r);
// Loads what there is (c->old stays NULL where the apply creates) and makes the new state of it, decoded. False: the
// answer has been sent and c has ended.
bool fl_apply(struct fl_request *r, struct fl_change *c, struct fl_json **ret);
// The configuration of the body: an object. False: the answer has been sent.
bool fl_apply_parse(struct fl_request *r, struct fl_json **ret);
// The same as fl_apply with the configuration at hand, where c is loaded already.
bool fl_apply_configuration(struct fl_request *r, struct fl_change *c, const struct fl_json *patch,
			    struct fl_json **ret);
