// SPDX-License-Identifier: Apache-2.0
// Finds the shortest digits by trial: 15 digits are always kept by a normal double, 17 always tell it apart, so that at
// most three attempts are made; a subnormal one may need as little as one digit.
#include "json/number.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

int fl_json_shortest_digits(double f, char digits[static 17], int *ret_exponent)
{
	char text[40];
	f = fabs(f);
	for (int n = f < 0x1p-1022 ? 1 : 15; n <= 17; n++) {
		snprintf(text, sizeof(text), "%.*e", n - 1, f);
		if (strtod(text, NULL) == f)
			break;
	}
	int n = 0;
	const char *p = text;
	for (; *p != 'e'; p++)
		if (*p != '.')
			digits[n++] = *p;
	*ret_exponent = atoi(p + 1);
	while (n > 1 && digits[n - 1] == '0')
		n--;
	return n;
}

void fl_json_put_digits(struct fl_buf *b, const char *digits, int n, int exponent, int exponent_digits)
{
	if (exponent_digits) {
		fl_buf_putc(b, digits[0]);
		if (n > 1) {
			fl_buf_putc(b, '.');
			fl_buf_append(b, digits + 1, (size_t)n - 1);
		}
		fl_buf_printf(b, "e%c%0*d", exponent < 0 ? '-' : '+', exponent_digits, abs(exponent));
	} else if (exponent < 0) {
		fl_buf_puts(b, "0.");
		for (int i = -1; i > exponent; i--)
			fl_buf_putc(b, '0');
		fl_buf_append(b, digits, (size_t)n);
	} else {
		for (int i = 0; i < n || i <= exponent; i++) {
			if (i == exponent + 1)
				fl_buf_putc(b, '.');
			fl_buf_putc(b, i < n ? digits[i] : '0');
		}
	}
}
