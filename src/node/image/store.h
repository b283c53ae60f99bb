// SPDX-License-Identifier: Apache-2.0
// The images on disk. Several processes use them at once (the node, `fairlead image ...`), any of which may be killed
// at any moment:
//
//   images/lock               flock: exclusive to change what is below, shared to begin to use an image
//   images/names.json         long name -> image, digest; replaced by renaming
//   images/<config digest>/   one image: rootfs/, image.json. Complete from the moment that it has this name
//   images/blobs/sha256/      what was downloaded, by digest: a cache, shared by all; nothing breaks when it is emptied
//   images/tmp/<random>/      work under way. `lock` in it is held by its process: a free one is a leftover
//
// Who makes an image works in tmp/, and in the end renames the directory and enters the name, under the lock. An image
// without a name (its maker was killed in between) is a leftover, too. Nobody waits for the disk meanwhile: an image
// has a file `synced` once it is safe from a power failure, and without it does not outlive the boot that it came in.
// An image is in use as long as a container's directory, under <pods>, has a link `lower` to its rootfs. The directory
// is nobody's but root's: a rootfs may hold set-user-id programs and device files.
//
// All calls block, most for a few file operations; those that do not say so. Any thread.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "node/image/ref.h"
#include "node/paths.h"
#include "json/json.h"

struct fl_image_store {
	const char *dir, *pods; // absolute
};

struct fl_image_entry { // strings in the arena of the call
	const char *id; // "sha256:<hex>": digest of the image's configuration
	const char *const *tags,
	    *const *digests; // "docker.io/library/nginx:1", "docker.io/library/nginx@sha256:..."; NULL-terminated
	uint64_t size;       // bytes in the registry's form: manifest, configuration, packed layers
	int64_t used_ns;     // real time of the last use, or of its arrival
};

// Makes the directories.
FL_WUR int fl_image_store_open(const struct fl_node_paths *paths, struct fl_image_store *ret, struct fl_err *err);
// Removes what killed processes left (may take long). `keep`: hex digest of the embedded image, which has no name; or
// NULL.
FL_WUR int fl_image_store_sweep(const struct fl_image_store *s, const char *keep, struct fl_err *err);

// The image of a name; ret_digest (72 bytes) is the manifest's, "" when not known. -ENOENT: no such image here.
FL_WUR int fl_image_store_find(const struct fl_image_store *s, const struct fl_image_ref *ref, char ret_id[72],
			       char ret_digest[72], struct fl_err *err);
// Sorted by name; images without a name are not told.
FL_WUR int fl_image_store_list(const struct fl_image_store *s, struct fl_arena *a, struct fl_image_entry **ret,
			       size_t *ret_n, struct fl_err *err);
// image.json: {"config": the configuration's "config", "size", "blobs": [digests]}. -ENOENT
FL_WUR int fl_image_store_info(const struct fl_image_store *s, struct fl_arena *a, const char *id, struct fl_json **ret,
			       struct fl_err *err);
char *fl_image_store_path(const struct fl_image_store *s, const char *id, const char *file); // free() it

// Begins the use of an image: makes the link `lower` to its rootfs. -ENOENT: it was removed meanwhile.
FL_WUR int fl_image_store_use(const struct fl_image_store *s, const char *id, const char *lower, struct fl_err *err);

// Gives an image that is there one more name. `digest` of the manifest enters as a name, too. -ENOENT: no such image.
FL_WUR int fl_image_store_name(const struct fl_image_store *s, const char *id, const struct fl_image_ref *ref,
			       const char *digest, struct fl_err *err);

// --- staging ---

struct fl_image_stage {
	char *dir; // images/tmp/<random>; NULL: none
	int lock_fd;
};

FL_WUR int fl_image_stage_begin(const struct fl_image_store *s, struct fl_image_stage *ret, struct fl_err *err);
void fl_image_stage_end(struct fl_image_stage *st); // removes it; may take long. Zeroed and ended ones: nothing

// What a layout of one image says of it.
struct fl_image_manifest {            // strings and trees in the arena of the call
	const char *digest;           // of the manifest
	const char *id;               // of the configuration
	const struct fl_json *config; // whole configuration document
	struct fl_json *info;         // for image.json
	uint64_t size;
	const char *const *blobs; // digests; NULL-terminated
};
// Reads index.json of the layout `dir`, the manifest and the configuration. -EINVAL: no image that can run here.
FL_WUR int fl_image_manifest_read(struct fl_arena *a, const char *dir, struct fl_image_manifest *ret,
				  struct fl_err *err);

// Puts <dir>/rootfs and `info` in place as image `id`; enters the names. fl_image_store_settle() is to follow. An
// image that is there already is kept. ref may be NULL: only the digest's name, of ref's repository, is entered then.
FL_WUR int fl_image_store_commit(const struct fl_image_store *s, const char *dir, const struct fl_image_manifest *m,
				 const struct fl_image_ref *ref, const char *digest, struct fl_err *err);
// Makes what is there now safe from a power failure (may take long).
FL_WUR int fl_image_store_settle(const struct fl_image_store *s, struct fl_err *err);
// Puts <dir> in place as image `id` without a name: the embedded one.
FL_WUR int fl_image_store_place(const struct fl_image_store *s, const char *dir, const char *id, struct fl_err *err);

// --- removal (may take long) ---

// Removes the name; the image, too, when no other tag is left of it. `text`: a name, or the id, whole or its first
// digits (12 at least): all names then. -ENOENT, -EBUSY (a container uses it). *ret_gone: the image itself went.
FL_WUR int fl_image_store_remove(const struct fl_image_store *s, const char *text, bool *ret_gone, struct fl_err *err);

// When more than high_percent of the file system are used: removes the images that no container uses, the longest
// unused first, none younger than min_age_s, until low_percent is reached; before them the blobs that belong to none.
// *ret_freed: bytes, *ret_n: images. 0 also when there was not enough to remove.
FL_WUR int fl_image_store_collect(const struct fl_image_store *s, unsigned high_percent, unsigned low_percent,
				  unsigned min_age_s, uint64_t *ret_freed, unsigned *ret_n, struct fl_err *err);
// Removes the blobs that no image names, unless work is under way.
FL_WUR int fl_image_store_trim_blobs(const struct fl_image_store *s, struct fl_err *err);
// Removes those of these blobs that are not what their digest says (reads all of them); NULL ends the list.
void fl_image_store_drop_blobs(const struct fl_image_store *s, const char *const *digests);
