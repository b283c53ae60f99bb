// SPDX-License-Identifier: Apache-2.0
// The per-kind rules that documents name with "hooks". A new one is a file in this folder, a line here and a line in
// hooks.c.
#pragma once

#include "api/kind.h"

extern const struct fl_kind_hooks fl_hooks_configmap;
extern const struct fl_kind_hooks fl_hooks_controllerrevision;
extern const struct fl_kind_hooks fl_hooks_deployment;
extern const struct fl_kind_hooks fl_hooks_endpoints;
extern const struct fl_kind_hooks fl_hooks_endpointslice;
extern const struct fl_kind_hooks fl_hooks_event;
extern const struct fl_kind_hooks fl_hooks_event_view;
extern const struct fl_kind_hooks fl_hooks_lease;
extern const struct fl_kind_hooks fl_hooks_namespace;
extern const struct fl_kind_hooks fl_hooks_node;
extern const struct fl_kind_hooks fl_hooks_pod;
extern const struct fl_kind_hooks fl_hooks_replicaset;
extern const struct fl_kind_hooks fl_hooks_replicationcontroller;
extern const struct fl_kind_hooks fl_hooks_secret;
extern const struct fl_kind_hooks fl_hooks_service;
extern const struct fl_kind_hooks fl_hooks_serviceaccount;
