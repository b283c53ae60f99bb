// SPDX-License-Identifier: Apache-2.0
// Shortest decimal form of a double, shared by the JSON and the YAML writer, which choose between its layouts
// differently.
#pragma once

#include "base/str.h"

// For a finite f other than 0: its fewest significant digits that read back as |f| (1 to 17, without trailing zeros,
// not NUL-terminated) and the power of ten of the first one. Returns how many digits.
int fl_json_shortest_digits(double f, char digits[static 17], int *ret_exponent);

// Appends such digits: with `exponent_digits` (at least that many) as d.ddde-07, with 0 as plain decimals.
void fl_json_put_digits(struct fl_buf *b, const char *digits, int n, int exponent, int exponent_digits);
