// SPDX-License-Identifier: Apache-2.0
// What this is, and the Kubernetes release whose API it speaks.
#pragma once

#define FL_VERSION      "0.1.0"
#define FL_KUBE_MAJOR   "1"
#define FL_KUBE_MINOR   "36"
#define FL_KUBE_VERSION "v1.36.3"

#if defined(__x86_64__)
#define FL_PLATFORM "linux/amd64"
#define FL_ARCH     "amd64"
#elif defined(__aarch64__)
#define FL_PLATFORM "linux/arm64"
#define FL_ARCH     "arm64"
#else
#define FL_PLATFORM "linux/unknown"
#define FL_ARCH     "unknown"
#endif
