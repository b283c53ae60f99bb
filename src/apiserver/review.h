// SPDX-License-Identifier: Apache-2.0
// Reviews: objects that are a question and come back with the answer (kubectl auth whoami, auth can-i). Nothing is
// stored. (authentication.k8s.io/v1 SelfSubjectReview, authorization.k8s.io/v1 *AccessReview, SelfSubjectRulesReview)
#pragma once

#include "apiserver/server.h"

// POST of a virtual kind: answers 201 with the review and its status, or what is wrong with it.
void fl_review_create(struct fl_request *r);
