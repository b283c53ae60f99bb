// SPDX-License-Identifier: Apache-2.0
// Rules that need more than the object itself (Kubernetes admission: NamespaceLifecycle).
#pragma once

#include "apiserver/change.h"

// A new namespaced object needs its namespace, and one that is not being deleted. False: c->status says why.
bool fl_admission_namespace(struct fl_change *c);
// default, kube-system and kube-public cannot be deleted.
bool fl_admission_delete(struct fl_change *c);
