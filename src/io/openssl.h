// SPDX-License-Identifier: Apache-2.0
// What the OpenSSL users of this folder share.
#pragma once

#include <stddef.h>

// The newest entry of the thread's error queue as text, in `buf`; empties the queue. Returns buf.
const char *fl_openssl_reason(char *buf, size_t size);
