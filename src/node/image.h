// SPDX-License-Identifier: Apache-2.0
// Images as root file systems on disk. One is embedded: fairlead/echo, which is there on an empty data directory. The
// interface is asynchronous, since an image from a registry takes its time.
#pragma once

#include "base/err.h"
#include "node/paths.h"

struct fl_images;

struct fl_image {                                                // immutable; lives as long as the store
	const char *id;                                          // "sha256:..."
	const char *rootfs;                                      // absolute path, never written to
	const char *const *entrypoint, *const *cmd, *const *env; // NULL-terminated
	const char *workdir, *user;                              // "" when the image names none
};

struct fl_images *fl_images_new(const struct fl_node_paths *paths); // borrows paths
void fl_images_free(struct fl_images **im);

// rc 0: `image` is on disk. -ENOENT: there is no such image, -EINVAL: that is no image name; `message` for a person.
typedef void (*fl_image_done)(void *arg, int rc, const struct fl_image *image, const char *message);

// `policy` as in the container: "Always", "IfNotPresent", "Never". Calls `done` once, perhaps before it returns.
void fl_images_ensure(struct fl_images *im, const char *ref, const char *policy, fl_image_done done, void *arg);
