// SPDX-License-Identifier: Apache-2.0
// Shared by the files of the store. `hex` is an id without "sha256:", the name of an image's directory.
#pragma once

#include "base/map.h"
#include "node/image/store.h"

FL_WUR int fl_image_lock(const struct fl_image_store *s, int how, struct fl_err *err); // a descriptor: close() unlocks
// {"<long name>": {"image": "<hex>", "digest": "sha256:..."}}; an empty object when there is no file.
FL_WUR int fl_image_names_read(const struct fl_image_store *s, struct fl_arena *a, struct fl_json **ret,
			       struct fl_err *err);
FL_WUR int fl_image_names_write(const struct fl_image_store *s, const struct fl_json *names, struct fl_err *err);
// Whether the image could be damaged: it came in another boot and was not synced in it.
bool fl_image_is_unsafe(const struct fl_image_store *s, const char *hex);
bool fl_image_is_hex_name(const char *name); // 64 hexadecimal digits
const char *fl_image_hex(const char *id);    // without "sha256:"
// Enters the hex of each image that a container uses, with some value that is not NULL.
void fl_image_in_use(const struct fl_image_store *s, struct fl_map *used);
// A new name under tmp/, unused; free() it.
char *fl_image_tmp_name(const struct fl_image_store *s);
