// SPDX-License-Identifier: Apache-2.0
// The static programs that travel inside this executable (src/node/rules.mk builds them).
#include "node/embed.h"

#define EMBED(name, file)                                                                                              \
	__asm__(".section .rodata\n"                                                                                   \
		".balign 16\n" #name "_start:\n"                                                                       \
		".incbin \"" file "\"\n" #name "_end:\n"                                                               \
		".byte 0\n"                                                                                            \
		".previous\n");                                                                                        \
	extern const unsigned char name##_start[], name##_end[];

EMBED(fl_embedded_echo, FL_EMBED_ECHO)
EMBED(fl_embedded_shim, FL_EMBED_SHIM)

struct fl_embedded fl_embedded_echo(void)
{
	return (struct fl_embedded){fl_embedded_echo_start, (size_t)(fl_embedded_echo_end - fl_embedded_echo_start),
				    FL_EMBED_ECHO_SHA256};
}

struct fl_embedded fl_embedded_shim(void)
{
	return (struct fl_embedded){fl_embedded_shim_start, (size_t)(fl_embedded_shim_end - fl_embedded_shim_start),
				    FL_EMBED_SHIM_SHA256};
}
