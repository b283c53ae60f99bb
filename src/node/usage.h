// SPDX-License-Identifier: Apache-2.0
// How much of a disk a tree of files takes. Blocking.
#pragma once

#include <stdatomic.h>
#include <stdint.h>

// Bytes of blocks that the files below `dir` take on the file system of `dir`: links are not followed, other file
// systems that are mounted below are left out, a file with n names counts an n-th at each. Ends as soon as it has more
// than `enough`, or when `stop` (from another thread) becomes true: the result means nothing then. 0 when there is no
// such directory; what goes while it looks is not counted.
uint64_t fl_usage_of(const char *dir, uint64_t enough, const atomic_bool *stop);
