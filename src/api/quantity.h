// SPDX-License-Identifier: Apache-2.0
// resource.Quantity: "500m", "1.5Gi", "1e3" as a number of nano units and the suffix family to print it with. Finer
// than nano is rounded up, larger than 2^63-1 is cut there (apimachinery pkg/api/resource).
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

enum fl_quantity_format { FL_QUANTITY_DECIMAL, FL_QUANTITY_BINARY, FL_QUANTITY_EXPONENT };

struct fl_quantity {
	__int128 nano;
	enum fl_quantity_format format;
};

// False on anything that is no quantity; `ret` untouched then.
bool fl_quantity_parse(const char *s, struct fl_quantity *ret);
// Canonical form: no fraction, the largest suffix that keeps the number whole.
void fl_quantity_write(struct fl_buf *b, const struct fl_quantity *q);
