// SPDX-License-Identifier: Apache-2.0
// Logins for a registry out of imagePullSecrets (Secrets of type kubernetes.io/dockerconfigjson and
// kubernetes.io/dockercfg), matched as kubelet matches them (credentialprovider/keyring.go): host parts with globs,
// equal ports, path as a prefix, longer keys first. All that match are tried one after the other.
#pragma once

#include "node/image/ref.h"
#include "json/json.h"

struct fl_image_login {
	const char *user, *password;
};

// Both in the arena. Secrets that hold no such document are passed over. Returns how many there are.
size_t fl_image_logins(struct fl_arena *a, const struct fl_json *const *secrets, size_t n_secrets,
		       const struct fl_image_ref *ref, struct fl_image_login **ret);

// Writes the file that skopeo reads with --authfile, mode 0600.
FL_WUR int fl_image_auth_write(const char *path, const struct fl_image_ref *ref, const struct fl_image_login *login,
			       struct fl_err *err);
