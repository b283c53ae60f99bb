// SPDX-License-Identifier: Apache-2.0
// One image from a registry or from a file into the store: skopeo brings it as an OCI layout, umoci unpacks it, the
// store takes it. Asynchronous; several may run at once, in one process or in many.
//
//   registry: skopeo inspect (digest of the name) -- here already? --yes--> name it
//                 | no
//             skopeo copy -> check manifest, configuration -> umoci raw unpack -> commit
//   file:     tar (what is in it) -> for each image in it: skopeo copy -> check -> unpack -> commit
//
// Nothing is kept of one that failed but whole blobs, which are checked by digest again when they are used.
#pragma once

#include <uv.h>

#include "node/image/auth.h"
#include "node/image/store.h"

#define FL_IMAGE_MAX_BYTES (UINT64_C(64) << 30) // packed, and unpacked, when no other bound is given

struct fl_image_fetch;

struct fl_image_fetched {
	const char *id;    // of the last image
	const char *names; // long names that lead to what came, one a line
	uint64_t size;     // packed, of the last one
	bool present;      // it was there already: nothing was downloaded
};

struct fl_image_fetch_opts { // all is copied but loop and store
	uv_loop_t *loop;
	const struct fl_image_store *store;
	const struct fl_image_ref *ref; // from a registry; NULL: from `file`
	const char *file;               // archive (OCI, docker save) or directory (OCI layout)
	const char *name;               // of the image in it; NULL: those that it names itself
	const struct fl_image_login *logins;
	size_t n_logins;                 // 0: what the user's own skopeo login left, else none
	const char *insecure_registries; // see ref.h
	uint64_t max_bytes;              // 0: FL_IMAGE_MAX_BYTES
	// Once, from the loop, never before start returned. rc 0, or -errno with `message`; `result` NULL then.
	void (*done)(void *arg, int rc, const struct fl_image_fetched *result, const char *message);
	void *arg;
};

struct fl_image_fetch *fl_image_fetch_start(const struct fl_image_fetch_opts *o);
// Ends it: `done` comes with -ECANCELED, in a later turn of the loop.
void fl_image_fetch_cancel(struct fl_image_fetch *f);
