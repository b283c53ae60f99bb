// SPDX-License-Identifier: Apache-2.0
// Randomness from getrandom(2): identifiers, never statistics.
#pragma once

#include <stddef.h>
#include <stdint.h>

#define FL_UUID_STRLEN 37

void fl_random(void *p, size_t n);
uint64_t fl_random_below(uint64_t n); // uniform in [0, n); n > 0
void fl_uuid4(char buf[static FL_UUID_STRLEN]);
// n letters of the alphabet that Kubernetes uses for generated names (no vowels, no look-alikes); buf holds n + 1.
void fl_random_suffix(char *buf, size_t n);
// The FNV-32a based "safe encode" alphabet used by pod-template-hash: digits of `hash` mapped to the same alphabet.
void fl_safe_encode_u32(uint32_t hash, char buf[static 11]);
