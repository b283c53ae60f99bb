// SPDX-License-Identifier: Apache-2.0
// Files inside the executable.
#pragma once

#include <stddef.h>

struct fl_embedded {
	const unsigned char *data;
	size_t len;
	const char *sha256; // hex, computed by the build
};

struct fl_embedded fl_embedded_echo(void); // the test server: /bin/fairlead-echo of the image fairlead/echo
struct fl_embedded fl_embedded_shim(void);
