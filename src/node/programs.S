// SPDX-License-Identifier: Apache-2.0
// The static programs that travel inside this executable: see embed.h. src/node/rules.mk builds them and names them.
	.section .rodata
	.globl fl_embedded_echo_start, fl_embedded_echo_end, fl_embedded_echo_sha256
	.globl fl_embedded_shim_start, fl_embedded_shim_end, fl_embedded_shim_sha256
	.balign 16
fl_embedded_echo_start:
	.incbin FL_EMBED_ECHO
fl_embedded_echo_end:
	.balign 16
fl_embedded_shim_start:
	.incbin FL_EMBED_SHIM
fl_embedded_shim_end:
fl_embedded_echo_sha256:
	.asciz FL_EMBED_ECHO_SHA256
fl_embedded_shim_sha256:
	.asciz FL_EMBED_SHIM_SHA256
	.section .note.GNU-stack, "", @progbits
