// SPDX-License-Identifier: Apache-2.0
// Volumes of a pod as directories under <pod>/volumes. ConfigMaps and Secrets are written once, when the pod is set up;
// a later change of the object reaches the next pod. subPath is taken for these only, since the content of a volume
// that a container can write may hold links that lead out of it.
#include <errno.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "node/paths.h"
#include "node/podfiles.h"
#include "node/podnet.h"

struct target {
	const char *dir;  // of the volume
	mode_t mode;      // of its files, unless an item says otherwise
	int64_t fs_group; // -1: none
};

static bool is_safe_path(const char *path)
{
	if (!*path || *path == '/')
		return false;
	for (const char *p = path; p; p = strchr(p, '/'), p = p ? p + 1 : NULL) {
		size_t n = strcspn(p, "/");

		if (n == 2 && p[0] == '.' && p[1] == '.')
			return false;
	}
	return true;
}

static int put(const struct target *t, const char *path, mode_t mode, const void *data, size_t len, struct fl_err *err)
{
	AUTO_FREE char *full = fl_asprintf("%s/%s", t->dir, path);
	AUTO_FREE char *parent = fl_strndup(full, strlen(full) - strlen(basename(full)));
	int rc;

	if (!is_safe_path(path))
		return fl_err_set(err, -EINVAL, "volume file %s: not a path inside the volume", path);
	rc = fl_file_mkdirs(parent, 0755, err);
	if (rc == 0)
		rc = fl_node_file_put(full, data, len, mode, err);
	if (rc == 0 && t->fs_group >= 0 && chown(full, (uid_t)-1, (gid_t)t->fs_group) < 0)
		rc = fl_err_set(err, -errno, "group of %s: %s", full, strerror(errno));
	return rc;
}

// One value of a ConfigMap or Secret.
static int put_value(const struct target *t, const char *path, mode_t mode, const struct fl_json *value, bool base64,
		     struct fl_err *err)
{
	AUTO(fl_buf_deinit) struct fl_buf b = {0};

	if (!value || value->type != FL_JSON_STRING)
		return 0;
	if (!base64)
		return put(t, path, mode, value->str.s, value->str.len, err);
	if (!fl_base64_decode(&b, value->str.s, value->str.len))
		return fl_err_set(err, -EINVAL, "volume file %s: the value is no base64", path);
	return put(t, path, mode, b.data ? b.data : "", b.len, err);
}

static int put_object(const struct target *t, const struct fl_env_source *s, bool secret, const char *name,
		      const struct fl_json *source, struct fl_err *err)
{
	const struct fl_json *object = s->lookup ? s->lookup(s->arg, secret, name) : NULL;
	const struct fl_json *items = fl_json_get(source, "items");
	const struct fl_json *data = fl_json_get(object, "data"), *binary = fl_json_get(object, "binaryData");
	bool optional = fl_json_bool(source, "optional", false);
	int rc = 0;

	if (!object)
		return optional
			   ? 0
			   : fl_err_set(err, -ENOENT, "%s \"%s\" not found", secret ? "secret" : "configmap", name);
	if (!items) {
		fl_json_each (v, data) {
			rc = rc < 0 ? rc : put_value(t, v->key, t->mode, v, secret, err);
		}
		fl_json_each (v, binary) {
			rc = rc < 0 ? rc : put_value(t, v->key, t->mode, v, true, err);
		}
		return rc;
	}
	fl_json_each (item, items) {
		const char *key = fl_json_str_or(item, "key", ""), *path = fl_json_str_or(item, "path", "");
		mode_t mode = (mode_t)fl_json_int(item, "mode", t->mode) & 0777;
		const struct fl_json *v = fl_json_get(data, key), *b = fl_json_get(binary, key);

		if (!v && !b && !optional)
			return fl_err_set(err, -ENOENT, "references non-existent %s key: %s",
					  secret ? "secret" : "config", key);
		rc = v ? put_value(t, path, mode, v, secret, err) : put_value(t, path, mode, b, true, err);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int put_metadata(const struct target *t, const struct fl_env_source *s, const struct fl_json *source,
			struct fl_err *err)
{
	fl_json_each (item, fl_json_get(source, "items")) {
		const char *field = fl_json_str(fl_json_get(item, "fieldRef"), "fieldPath");
		const char *path = fl_json_str_or(item, "path", ""), *value = NULL;
		AUTO(fl_buf_deinit) struct fl_buf b = {0};
		int rc;

		if (fl_streq(field, "metadata.name"))
			value = s->pod->name;
		else if (fl_streq(field, "metadata.namespace"))
			value = s->pod->ns;
		else if (fl_streq(field, "metadata.uid"))
			value = s->pod->uid;
		else if (!fl_streq(field, "metadata.labels") && !fl_streq(field, "metadata.annotations"))
			return fl_err_set(err, -ENOTSUP, "downwardAPI: %s is not offered by this node",
					  field ? field : "resourceFieldRef");
		if (value) {
			fl_buf_puts(&b, value);
		} else {
			fl_json_each (e, fl_json_get(s->pod->meta, field + strlen("metadata."))) {
				fl_buf_printf(&b, "%s=", e->key);
				fl_json_write_string(&b, e->str.s, e->str.len);
				fl_buf_putc(&b, '\n');
			}
		}
		rc = put(t, path, (mode_t)fl_json_int(item, "mode", t->mode) & 0777, b.data ? b.data : "", b.len, err);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int make_empty_dir(const struct target *t, const struct fl_json *source, struct fl_err *err)
{
	if (chmod(t->dir, 0777) < 0)
		return fl_err_set(err, -errno, "mode of %s: %s", t->dir, strerror(errno));
	if (fl_streq(fl_json_str(source, "medium"), "Memory")) {
		if (mount("tmpfs", t->dir, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0777") < 0)
			return fl_err_set(err, -errno, "tmpfs on %s: %s", t->dir, strerror(errno));
	}
	if (t->fs_group >= 0 && (chown(t->dir, (uid_t)-1, (gid_t)t->fs_group) < 0 || chmod(t->dir, 02777) < 0))
		return fl_err_set(err, -errno, "group of %s: %s", t->dir, strerror(errno));
	return 0;
}

static int make_projected(struct target *t, const struct fl_env_source *s, const struct fl_json *source,
			  struct fl_err *err)
{
	fl_json_each (part, fl_json_get(source, "sources")) {
		const struct fl_json *map = fl_json_get(part, "configMap"), *secret = fl_json_get(part, "secret"),
				     *downward = fl_json_get(part, "downwardAPI");
		int rc = map        ? put_object(t, s, false, fl_json_str_or(map, "name", ""), map, err)
			 : secret   ? put_object(t, s, true, fl_json_str_or(secret, "name", ""), secret, err)
			 : downward ? put_metadata(t, s, downward, err)
				    : fl_err_set(err, -ENOTSUP, "projected source %s is not offered by this node",
						 part->kids.first ? part->kids.first->key : "");
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int check_host_path(const struct fl_json *source, struct fl_err *err)
{
	const char *path = fl_json_str_or(source, "path", ""), *type = fl_json_str_or(source, "type", "");
	struct stat st;

	if (*path != '/')
		return fl_err_set(err, -EINVAL, "hostPath %s is not absolute", path);
	if (strcmp(type, "DirectoryOrCreate") == 0 || (!*type && stat(path, &st) < 0))
		return fl_file_mkdirs(path, 0755, err);
	if (stat(path, &st) < 0)
		return fl_err_set(err, -errno, "hostPath type check failed: %s: %s", path, strerror(errno));
	if ((strcmp(type, "Directory") == 0 && !S_ISDIR(st.st_mode)) ||
	    (strcmp(type, "File") == 0 && !S_ISREG(st.st_mode)))
		return fl_err_set(err, -EINVAL, "hostPath type check failed: %s is not a %s", path, type);
	return 0;
}

static int make_volume(const char *dir, const struct fl_env_source *s, const struct fl_json *v, struct fl_err *err)
{
	const struct fl_json *group = fl_json_path(s->pod->spec, "securityContext", "fsGroup", NULL), *source;
	const char *name = fl_json_str_or(v, "name", "");
	AUTO_FREE char *path = fl_asprintf("%s/volumes/%s", dir, name);
	struct target t = {.dir = path, .fs_group = fl_json_is(group, FL_JSON_INT) ? group->i : -1};
	const char *kind = NULL;
	int rc;

	if (!is_safe_path(name) || strchr(name, '/'))
		return fl_err_set(err, -EINVAL, "a volume has no usable name");
	if ((source = fl_json_get(v, "hostPath")))
		return check_host_path(source, err);
	rc = fl_file_mkdirs(path, 0755, err);
	if (rc < 0)
		return rc;
	fl_json_each (m, v) {
		if (!fl_streq(m->key, "name"))
			kind = m->key;
	}
	source = kind ? fl_json_get(v, kind) : NULL;
	t.mode = (mode_t)fl_json_int(source, "defaultMode", 0644) & 0777;
	if (!kind || strcmp(kind, "emptyDir") == 0)
		rc = make_empty_dir(&t, source, err);
	else if (strcmp(kind, "configMap") == 0)
		rc = put_object(&t, s, false, fl_json_str_or(source, "name", ""), source, err);
	else if (strcmp(kind, "secret") == 0)
		rc = put_object(&t, s, true, fl_json_str_or(source, "secretName", ""), source, err);
	else if (strcmp(kind, "downwardAPI") == 0)
		rc = put_metadata(&t, s, source, err);
	else if (strcmp(kind, "projected") == 0)
		rc = make_projected(&t, s, source, err);
	else
		rc = fl_err_set(err, -ENOTSUP, "volume type %s is not offered by this node", kind);
	return rc < 0 ? fl_err_prefix(err, "MountVolume.SetUp failed for volume \"%s\"", name) : 0;
}

int fl_volumes_write(const char *dir, const struct fl_env_source *s, struct fl_err *err)
{
	AUTO_FREE char *volumes = fl_asprintf("%s/volumes", dir);

	fl_mounts_detach_below(volumes); // of an attempt that failed half way
	fl_json_each (v, fl_json_get(s->pod->spec, "volumes")) {
		int rc = make_volume(dir, s, v, err);

		if (rc < 0)
			return rc;
	}
	return 0;
}

static const struct fl_json *find_volume(const struct fl_pod_spec *p, const char *name)
{
	fl_json_each (v, fl_json_get(p->spec, "volumes")) {
		if (fl_streq(fl_json_str(v, "name"), name))
			return v;
	}
	return NULL;
}

static bool is_written_by_us(const struct fl_json *volume)
{
	return fl_json_get(volume, "configMap") || fl_json_get(volume, "secret") ||
	       fl_json_get(volume, "downwardAPI") || fl_json_get(volume, "projected");
}

static int mount_of(struct fl_arena *a, const char *dir, const struct fl_pod_spec *p, const struct fl_json *m,
		    struct fl_oci_mount *ret, struct fl_err *err)
{
	const char *name = fl_json_str_or(m, "name", ""), *sub = fl_json_str_or(m, "subPath", "");
	const struct fl_json *v = find_volume(p, name), *host = fl_json_get(v, "hostPath");
	const char *target = fl_json_str_or(m, "mountPath", "");

	if (!v)
		return fl_err_set(err, -EINVAL, "volumeMount %s names no volume of the pod", name);
	if (*target != '/')
		target = fl_arena_printf(a, "/%s", target);
	*ret = (struct fl_oci_mount){
	    .source = host ? fl_json_str_or(host, "path", "") : fl_arena_printf(a, "%s/volumes/%s", dir, name),
	    .target = target,
	    .read_only = fl_json_bool(m, "readOnly", false) || is_written_by_us(v),
	};
	if (*sub) {
		if (!is_written_by_us(v) || !is_safe_path(sub))
			return fl_err_set(err, -ENOTSUP, "subPath %s of volume %s is not offered by this node", sub,
					  name);
		ret->source = fl_arena_printf(a, "%s/%s", ret->source, sub);
	}
	return 0;
}

int fl_volumes_mounts(struct fl_arena *a, const char *dir, const struct fl_pod_spec *p,
		      const struct fl_container_spec *c, struct fl_oci_mount **ret, unsigned *ret_n, struct fl_err *err)
{
	static const char *const files[] = {"hosts", "hostname", "resolv.conf"};
	const struct fl_json *list = fl_json_get(c->json, "volumeMounts");
	struct fl_oci_mount *m = fl_arena_alloc(a, (fl_json_count(list) + FL_COUNT(files)) * sizeof(*m));
	unsigned n = 0;

	for (size_t i = 0; i < FL_COUNT(files); i++) {
		const char *target = fl_arena_printf(a, "/etc/%s", files[i]);
		bool taken = false;

		fl_json_each (v, list)
			taken = taken || fl_streq(fl_json_str(v, "mountPath"), target);
		if (!taken)
			m[n++] = (struct fl_oci_mount){.source = fl_arena_printf(a, "%s/etc/%s", dir, files[i]),
						       .target = target};
	}
	fl_json_each (v, list) {
		int rc = mount_of(a, dir, p, v, &m[n], err);

		if (rc < 0)
			return rc;
		n++;
	}
	*ret = m;
	*ret_n = n;
	return 0;
}
