// SPDX-License-Identifier: Apache-2.0
// Shortest decimal form of a double, shared by the JSON and the YAML writer, which lay it out differently.
#pragma once

// For a finite f other than 0: its fewest significant digits that read back as |f| (1 to 17, without trailing zeros,
// not NUL-terminated) and the power of ten of the first one. Returns how many digits.
int fl_json_shortest_digits(double f, char digits[static 17], int *ret_exponent);
