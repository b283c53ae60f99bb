// SPDX-License-Identifier: Apache-2.0
// What every cluster has from its first moment: the namespaces, and the Service by which pods reach this server.
#pragma once

#include "apiserver/server.h"

// Creates what is missing and corrects the endpoint of default/kubernetes, then calls `done` (rc < 0: err says what
// could not be written).
void fl_bootstrap(struct fl_apiserver *s, void (*done)(void *arg, int rc, const struct fl_err *err), void *arg);
