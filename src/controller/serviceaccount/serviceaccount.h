// SPDX-License-Identifier: Apache-2.0
// Controller: what each namespace has from the beginning: ServiceAccount "default", and ConfigMap "kube-root-ca.crt"
// with the certificates by which the API server is known. Both are made again when they go, and the ConfigMap is set
// right.
#pragma once

#include "controller/hub.h"

struct fl_serviceaccount_controller;

// `ca_pem` is copied; NULL or "": the API server is known by other means, and no ConfigMap is kept.
struct fl_serviceaccount_controller *fl_serviceaccount_controller_new(struct fl_hub *h, const char *ca_pem);
void fl_serviceaccount_controller_free(struct fl_serviceaccount_controller **c); // after the hub
