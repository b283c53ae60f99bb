// SPDX-License-Identifier: Apache-2.0
// The per-kind rules that documents name with "hooks". A new one is a file in this folder, a line here and a line in
// hooks.c.
#pragma once

#include "api/kind.h"

extern const struct fl_kind_hooks fl_hooks_service;
