// SPDX-License-Identifier: Apache-2.0
// Images as root file systems on disk, for the pods of this node: from the store (image/store.h), pulled into it
// (image/fetch.h) as the pull policy says, or embedded: fairlead/echo is there on an empty data directory.
//
// One pull serves all that want the same image with the same logins; a few run at once, the others wait. When the disk
// runs low, images that no container uses are removed (kubelet's imageGCHighThresholdPercent, ...Low...).
#pragma once

#include <uv.h>

#include "node/image/store.h"
#include "node/paths.h"
#include "json/json.h"

// Number of "SIGQUIT", "QUIT", "3", "SIGRTMIN+3", "SIGRTMAX-1"; SIGTERM when it is none, NULL or "".
int fl_signal_of(const char *text);

struct fl_images;

struct fl_image {           // immutable; lives as long as the images
	const char *id;     // "sha256:..."
	const char *ref;    // for imageID: "docker.io/library/nginx@sha256:...", or the id
	const char *rootfs; // absolute path, never written to
	const char *const *entrypoint, *const *cmd, *const *env; // NULL-terminated
	const char *workdir, *user;                              // "" when the image names none
	int stop_signal;                                         // SIGTERM unless the image names another
	uint64_t size;                                           // as packed, in bytes
};

struct fl_images_opts { // strings are borrowed
	uv_loop_t *loop;
	const struct fl_node_paths *paths;
	const char *insecure_registries;    // see image/ref.h; may be NULL
	uint64_t max_bytes;                 // of an image; 0: FL_IMAGE_MAX_BYTES
	unsigned high_percent, low_percent; // of the disk, see above; 0: 85, 80
};

struct fl_images *fl_images_new(const struct fl_images_opts *o);
void fl_images_free(struct fl_images **im); // ends pulls: their `done` comes before this returns

struct fl_image_result {
	int rc; // 0 or -errno
	const struct fl_image *image;
	const char *reason;         // of a failure, as a container waits for it: "ErrImagePull", "ErrImageNeverPull",
				    // "InvalidImageName"
	const char *message;        // of a failure
	bool pulled;                // it was asked of a registry; else it was here
	uint64_t pull_ms, total_ms; // the second with the time that it waited for its turn
};

struct fl_image_request {                     // all copied
	const char *ref, *policy;             // as in the container: policy "Always", "IfNotPresent", "Never"
	const struct fl_json *const *secrets; // imagePullSecrets
	size_t n_secrets;
	void (*on_pulling)(void *arg); // a registry will be asked; NULL: not told. From within the call
	void (*done)(void *arg, const struct fl_image_result *r); // once, perhaps from within the call
	void *arg;
};
void fl_images_ensure(struct fl_images *im, const struct fl_image_request *r);

// Whether it is here, so that a policy other than Always needs no pull.
bool fl_images_has(const struct fl_images *im, const char *ref);

// The image that the link `lower` of an attempt leads to, with the names for `ref`; NULL: it is not there.
const struct fl_image *fl_images_recall(struct fl_images *im, const char *lower, const char *ref);
// Makes that link. -ENOENT: the image was removed meanwhile, ask for it again.
FL_WUR int fl_images_use(struct fl_images *im, const struct fl_image *image, const char *lower, struct fl_err *err);

// For Node.status.images: [{"names": [...], "sizeBytes": n}], the largest first, 50 at most (kubelet's own bounds).
struct fl_json *fl_images_status(struct fl_arena *a, const char *data_dir);

// Text of a regular file in the image, /etc/passwd for instance; links stay within its root. NULL: none that can be
// read. free()
char *fl_image_read_file(const struct fl_image *image, const char *path);

// The embedded image, put on disk where it is missing. *ret is the path of its root file system; free() it.
FL_WUR int fl_image_embedded(const struct fl_node_paths *paths, char **ret, struct fl_err *err);
const char *fl_image_embedded_hex(void); // its id without "sha256:"
