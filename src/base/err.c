// SPDX-License-Identifier: Apache-2.0
// Writing of error texts. A text is put together in a buffer of its own first, so that arguments may point into the
// very text that is replaced ("cannot read %s: %s", path, err->text).
#include "base/err.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static void put_text(struct fl_err *err, const char *text, size_t len)
{
	if (len >= sizeof(err->text)) {
		// Cut at a character, not within one: these texts end up in JSON.
		len = sizeof(err->text) - 1;
		while (len > 0 && ((unsigned char)text[len] & 0xc0) == 0x80)
			len--;
	}
	memcpy(err->text, text, len);
	err->text[len] = '\0';
}

int fl_err_set(struct fl_err *err, int code, const char *fmt, ...)
{
	code = code > 0 ? -code : code;
	if (!err)
		return code;

	char text[sizeof(err->text) + 8];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	err->code = code;
	put_text(err, text, strlen(text));
	return code;
}

int fl_err_prefix(struct fl_err *err, const char *fmt, ...)
{
	if (!err)
		return -EIO;

	char text[2 * sizeof(err->text) + 8];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(err->text), fmt, ap);
	va_end(ap);
	size_t len = strlen(text);
	snprintf(text + len, sizeof(text) - len, ": %s", err->text);
	put_text(err, text, strlen(text));
	return err->code;
}
