// SPDX-License-Identifier: Apache-2.0
// What an OCI layout that holds one image says of it (OCI image specification 1.0: image-layout, manifest, config).
// What can be seen to be wrong without unpacking is refused here, with a text that names it; digests and sizes of
// layers are checked by umoci as it reads them.
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/version.h"
#include "node/image/store.h"

#define MAX_LAYERS 512 // Docker's own bound is 127

static int read_json(struct fl_arena *a, const char *path, const char *what, struct fl_json **ret, struct fl_err *err)
{
	AUTO_FREE char *text = NULL;
	size_t len = 0;
	struct fl_err why = {0};
	int rc = fl_file_read(path, &text, &len, &why);

	if (rc == -ENOENT)
		return fl_err_set(err, -EINVAL, "the image has no %s", what);
	if (rc < 0)
		return fl_err_set(err, rc, "%s of the image: %s", what, why.text);
	rc = fl_json_parse(a, text, len, NULL, ret, &why);
	if (rc < 0)
		return fl_err_set(err, -EINVAL, "%s of the image is broken: %s", what, why.text);
	if (!fl_json_is(*ret, FL_JSON_OBJECT))
		return fl_err_set(err, -EINVAL, "%s of the image is broken: it is no object", what);
	return 0;
}

static int read_blob(struct fl_arena *a, const char *dir, const struct fl_json *descriptor, const char *what,
		     struct fl_json **ret, struct fl_err *err)
{
	const char *digest = fl_json_str_or(descriptor, "digest", "");
	AUTO_FREE char *path = NULL;

	if (!fl_image_is_digest(digest))
		return fl_err_set(err, -EINVAL, "the image names its %s by the digest \"%.80s\", which is none", what,
				  digest);
	path = fl_asprintf("%s/blobs/sha256/%s", dir, digest + strlen("sha256:"));
	return read_json(a, path, what, ret, err);
}

static int check_platform(const struct fl_json *config, struct fl_err *err)
{
	const char *os = fl_json_str_or(config, "os", "linux"), *arch = fl_json_str_or(config, "architecture", FL_ARCH);

	if (strcmp(os, "linux") == 0 && (strcmp(arch, FL_ARCH) == 0 || !*arch))
		return 0;
	return fl_err_set(err, -EINVAL, "the image is for %.40s/%.40s, this node is linux/%s", os, arch, FL_ARCH);
}

int fl_image_manifest_read(struct fl_arena *a, const char *dir, struct fl_image_manifest *ret, struct fl_err *err)
{
	AUTO_FREE char *path = fl_asprintf("%s/index.json", dir);
	struct fl_json *index = NULL, *manifest = NULL, *config = NULL, *list;
	const struct fl_json *entry, *descriptor, *layers, *part;
	struct fl_image_manifest m = {0};
	const char **blobs;
	size_t n = 0;
	int rc = read_json(a, path, "index", &index, err);

	if (rc < 0)
		return rc;
	entry = fl_json_index(fl_json_get(index, "manifests"), 0);
	rc = read_blob(a, dir, entry, "manifest", &manifest, err);
	if (rc < 0)
		return rc;
	descriptor = fl_json_get(manifest, "config");
	layers = fl_json_get(manifest, "layers");
	rc = read_blob(a, dir, descriptor, "configuration", &config, err);
	if (rc == 0)
		rc = check_platform(config, err);
	if (rc < 0)
		return rc;
	if (fl_json_count(layers) > MAX_LAYERS)
		return fl_err_set(err, -EINVAL, "the image has %zu layers, more than %d", fl_json_count(layers),
				  MAX_LAYERS);
	m.digest = fl_json_str(entry, "digest");
	m.id = fl_json_str(descriptor, "digest");
	m.config = config;
	m.info = fl_json_new(a, FL_JSON_OBJECT);
	blobs = fl_arena_zalloc(a, (fl_json_count(layers) + 3) * sizeof(*blobs));
	blobs[n++] = m.digest;
	blobs[n++] = m.id;
	m.size = (uint64_t)fl_json_int(entry, "size", 0) + (uint64_t)fl_json_int(descriptor, "size", 0);
	fl_json_each (l, layers) {
		const char *digest = fl_json_str_or(l, "digest", "");
		int64_t size = fl_json_int(l, "size", -1);

		if (!fl_image_is_digest(digest) || size < 0)
			return fl_err_set(err, -EINVAL, "the image has a layer without digest or size");
		blobs[n++] = digest;
		m.size += (uint64_t)size;
	}
	part = fl_json_get(config, "config");
	fl_json_set(a, m.info, "config",
		    fl_json_is(part, FL_JSON_OBJECT) ? fl_json_clone(a, part) : fl_json_new(a, FL_JSON_OBJECT));
	fl_json_set_int(a, m.info, "size", (int64_t)m.size);
	list = fl_json_set_array(a, m.info, "blobs");
	for (size_t i = 0; i < n; i++)
		fl_json_append(list, fl_json_new_str(a, blobs[i]));
	m.blobs = blobs;
	*ret = m;
	return 0;
}
