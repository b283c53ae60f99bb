// SPDX-License-Identifier: Apache-2.0
// libFuzzer target: what images bring with them is read or refused with a text. The first byte says what the rest is;
// parts of it are separated by a zero byte.
//
//   n  name of an image                        u  user, passwd, group: who a process is
//   i  index.json, manifest, configuration      s  .dockerconfigjson, name: who we are at a registry
//   l  a line of a log
//
// Manifest and configuration stand under the digests aaa... and bbb...
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "check.h"
#include "node/crilog.h"
#include "node/identity.h"
#include "node/image/auth.h"
#include "node/image/ref.h"

#define PARTS 3

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void name(const char *text, const char *list)
{
	struct fl_image_ref ref = {0}, again = {0};
	char buf[FL_IMAGE_REF_STRLEN], second[FL_IMAGE_REF_STRLEN], registry[64];
	struct fl_err err = {0};
	int rc = fl_image_ref_parse(text, &ref, &err);

	CHECK(rc == 0 || (err.code == rc && err.text[0]));
	if (rc < 0)
		return;
	CHECK(*ref.name && (*ref.tag != '\0') != (*ref.digest != '\0'));
	CHECK(fl_image_ref_parse(fl_image_ref_format(&ref, buf), &again, NULL) == 0);
	CHECK(strcmp(buf, fl_image_ref_format(&again, second)) == 0);
	fl_image_registry_insecure(fl_image_ref_registry(&ref, registry, sizeof(registry)), list);
}

static void user(struct fl_arena *a, const char *text, const char *passwd, const char *group)
{
	static const char pod_text[] = "{\"metadata\":{\"name\":\"a\",\"uid\":\"u\"},\"spec\":{\"securityContext\":"
				       "{\"supplementalGroups\":[7],\"fsGroup\":8},\"containers\":[{\"name\":\"c\"}]}}";
	struct fl_image image = {.user = text};
	struct fl_pod_spec pod;
	struct fl_json *root;
	struct fl_identity id = {0};
	struct fl_err err = {0};

	CHECK(fl_json_parse(a, pod_text, strlen(pod_text), NULL, &root, NULL) == 0);
	CHECK(fl_pod_spec_read(a, root, &pod, NULL) == 0);
	struct fl_oci_opts o = {
	    .pod = &pod, .container = pod.containers, .image = &image, .passwd = passwd, .group = group};
	int rc = fl_identity_find(&o, &id, &err);
	CHECK(rc == 0 || (err.code == rc && err.text[0]));
	if (rc < 0)
		return;
	CHECK(id.uid >= 0 && id.uid <= UINT32_MAX && id.gid >= 0 && id.gid <= UINT32_MAX);
	CHECK(id.n_groups >= 1 && id.n_groups <= FL_GROUPS_MAX && id.groups[0] == id.gid);
	for (unsigned i = 0; i < id.n_groups; i++)
		for (unsigned k = 0; k < i; k++)
			CHECK(id.groups[i] != id.groups[k]);
}

static void manifest(struct fl_arena *a, const char *const part[PARTS])
{
	static char dir[64];
	static const char *const files[PARTS] = {
	    "index.json", "blobs/sha256/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
	    "blobs/sha256/bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"};
	struct fl_image_manifest m = {0};
	struct fl_err err = {0};

	if (!*dir) {
		snprintf(dir, sizeof(dir), "/dev/shm/fairlead-image-fuzz-%d/blobs/sha256", (int)getpid());
		CHECK(fl_file_mkdirs(dir, 0700, NULL) == 0);
		snprintf(dir, sizeof(dir), "/dev/shm/fairlead-image-fuzz-%d", (int)getpid());
	}
	for (int i = 0; i < PARTS; i++) {
		AUTO_FREE char *path = fl_asprintf("%s/%s", dir, files[i]);

		CHECK(fl_file_write(path, part[i], strlen(part[i]), 0600, NULL) == 0);
	}
	int rc = fl_image_manifest_read(a, dir, &m, &err);
	CHECK(rc == 0 || (err.code == rc && err.text[0]));
	CHECK(fl_file_remove_all(dir, NULL) == 0); // so that none stays behind, however this ends
	*dir = '\0';
	if (rc < 0)
		return;
	CHECK(m.config && m.info && fl_image_is_digest(m.digest) && fl_image_is_digest(m.id));
	for (const char *const *b = m.blobs; *b; b++)
		CHECK(fl_image_is_digest(*b));
}

static void secret(struct fl_arena *a, const char *json, const char *image)
{
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	struct fl_json *object = fl_json_new(a, FL_JSON_OBJECT), *data = fl_json_set_object(a, object, "data");
	struct fl_image_ref ref;
	struct fl_image_login *logins = NULL;

	if (fl_image_ref_parse(image, &ref, NULL) < 0)
		return;
	fl_base64_encode(&b, json, strlen(json));
	fl_json_set_str(a, object, "type", "kubernetes.io/dockerconfigjson");
	fl_json_set_str(a, data, ".dockerconfigjson", b.len ? fl_arena_strndup(a, b.data, b.len) : "");
	const struct fl_json *const secrets[] = {object};
	size_t n = fl_image_logins(a, secrets, 1, &ref, &logins);
	for (size_t i = 0; i < n; i++)
		CHECK(logins[i].user && logins[i].password);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	const char *part[PARTS] = {"", "", ""};
	struct fl_crilog_line line;

	if (size < 1)
		return 0;
	const char *at = fl_arena_strndup(&a, (const char *)data + 1, size - 1), *end = at + size - 1;
	for (int i = 0; i < PARTS && at < end; i++, at += strlen(at) + 1)
		part[i] = at;
	switch (data[0]) {
	case 'n':
		name(part[0], part[1]);
		break;
	case 'u':
		user(&a, part[0], part[1], part[2]);
		break;
	case 'i':
		manifest(&a, part);
		break;
	case 's':
		secret(&a, part[0], part[1]);
		break;
	case 'l':
		if (fl_crilog_parse((const char *)data + 1, size - 1, &line))
			CHECK(line.text >= (const char *)data &&
			      line.text + line.text_len <= (const char *)data + size);
		break;
	default:
		break;
	}
	return 0;
}
