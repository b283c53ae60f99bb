// SPDX-License-Identifier: Apache-2.0
// Names of images, as the reference grammar has them (github.com/distribution/reference), with Docker's short forms:
//
//   nginx                      docker.io/library/nginx:latest
//   user/img:1                 docker.io/user/img:1
//   localhost:5000/img         localhost:5000/img:latest
//   quay.io/a/b@sha256:<hex>   quay.io/a/b@sha256:<hex>     (a tag beside a digest says nothing and is dropped)
#pragma once

#include <stdbool.h>

#include "base/err.h"

#define FL_IMAGE_REF_STRLEN 480

struct fl_image_ref {
	char name[256];  // registry and repository, without tag: "docker.io/library/nginx"
	char tag[129];   // "" when there is a digest
	char digest[72]; // "sha256:<64 hex digits>", or ""
};

// -EINVAL with the reason in the words of the grammar's own parser ("invalid reference format ...").
FL_WUR int fl_image_ref_parse(const char *text, struct fl_image_ref *ret, struct fl_err *err);
// The one long form of the name; returns buf.
char *fl_image_ref_format(const struct fl_image_ref *ref, char buf[FL_IMAGE_REF_STRLEN]);
// Registry of the name with its port, "docker.io" for Docker's; cut short to `size`. Returns buf.
char *fl_image_ref_registry(const struct fl_image_ref *ref, char *buf, unsigned size);

// "sha256:" and 64 lower-case hexadecimal digits.
bool fl_image_is_digest(const char *text);

// Whether TLS is not asked of this registry: hosts of the machine itself (localhost, 127.0.0.0/8, ::1), as Docker has
// it, and those of `list`, which is comma-separated: HOST, HOST:PORT (as written in the image's name) or CIDR.
bool fl_image_registry_insecure(const char *registry, const char *list);
