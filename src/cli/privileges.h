// SPDX-License-Identifier: Apache-2.0
// Each role keeps the capabilities that its work needs and gives up the others for good (capabilities(7)), so that a
// hole in the API server or in DNS is not a hole in the host.
#pragma once

#include <stdint.h>

#include "base/err.h"

#define FL_CAP(name) (UINT64_C(1) << (name))

// Keeps those in `mask` that the process has; drops the rest from every set, the bounding set too, and forbids gaining
// any by exec.
FL_WUR int fl_privileges_keep(uint64_t mask, struct fl_err *err);
