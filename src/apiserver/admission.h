// SPDX-License-Identifier: Apache-2.0
// Rules that need more than the object itself (Kubernetes admission: NamespaceLifecycle,
// ServiceAccount, Priority, RuntimeClass).
#pragma once

#include "apiserver/change.h"

// A new namespaced object needs its namespace, and one that is not being deleted. False: c->status says why.
bool fl_admission_namespace(struct fl_change *c);
// What a new Pod names must be there: a ServiceAccount, a PriorityClass, a RuntimeClass (admission plugins of these
// names). The namespace's "default" ServiceAccount is not asked for: it comes right after the namespace. Classes are no
// kind here: the system's two priorities exist, a RuntimeClass never does.
bool fl_admission_pod(struct fl_change *c, const struct fl_json *pod);
// default, kube-system and kube-public cannot be deleted.
bool fl_admission_delete(struct fl_change *c);
