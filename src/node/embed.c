// SPDX-License-Identifier: Apache-2.0
// The programs of programs.S as C sees them.
#include "node/embed.h"

extern const unsigned char fl_embedded_echo_start[], fl_embedded_echo_end[];
extern const unsigned char fl_embedded_shim_start[], fl_embedded_shim_end[];
extern const char fl_embedded_echo_sha256[], fl_embedded_shim_sha256[];

struct fl_embedded fl_embedded_echo(void)
{
	return (struct fl_embedded){fl_embedded_echo_start, (size_t)(fl_embedded_echo_end - fl_embedded_echo_start),
				    fl_embedded_echo_sha256};
}

struct fl_embedded fl_embedded_shim(void)
{
	return (struct fl_embedded){fl_embedded_shim_start, (size_t)(fl_embedded_shim_end - fl_embedded_shim_start),
				    fl_embedded_shim_sha256};
}
