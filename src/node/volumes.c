// SPDX-License-Identifier: Apache-2.0
// Volumes of a pod as directories under <pod>/volumes. ConfigMaps, Secrets and fields of the pod stand in directories
// that change all at once (atomicdir.h), on tmpfs where secrets may be among them. Writing is repeated when an object
// changes; what is there already stays.
#include <errno.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "node/atomicdir.h"
#include "node/podfiles.h"

struct target {
	struct fl_arena *a; // for contents
	struct fl_afiles files;
	mode_t mode;      // of its files, unless an item says otherwise
	int64_t fs_group; // -1: none
};

static void target_deinit(struct target *t)
{
	fl_afiles_deinit(&t->files);
}

static bool is_safe_path(const char *path)
{
	if (!*path || *path == '/')
		return false;
	for (const char *p = path; p; p = strchr(p, '/'), p = p ? p + 1 : NULL) {
		if (strcspn(p, "/") == 2 && p[0] == '.' && p[1] == '.')
			return false;
	}
	return true;
}

static mode_t item_mode(const struct target *t, const struct fl_json *item)
{
	return (mode_t)fl_json_int(item, "mode", t->mode) & 0777;
}

// `data` stands in the arena or in an object that outlives the writing.
static int put(struct target *t, const char *path, mode_t mode, const void *data, size_t len, struct fl_err *err)
{
	// The group of the pod reads what it owns (kubelet: SetVolumeOwnership of a read-only volume).
	struct fl_afile f = {.path = path, .data = data, .len = len, .mode = t->fs_group >= 0 ? mode | 0440 : mode};

	return fl_afiles_put(&t->files, &f, err);
}

// One value of a ConfigMap or Secret.
static int put_value(struct target *t, const char *path, mode_t mode, const struct fl_json *value, bool base64,
		     struct fl_err *err)
{
	AUTO(fl_buf_deinit) struct fl_buf b = {0};

	if (!value || value->type != FL_JSON_STRING)
		return 0;
	if (!base64)
		return put(t, path, mode, value->str.s, value->str.len, err);
	if (!fl_base64_decode(&b, value->str.s, value->str.len))
		return fl_err_set(err, -EINVAL, "volume file %s: the value is no base64", path);
	return put(t, path, mode, fl_arena_strndup(t->a, b.data ? b.data : "", b.len), b.len, err);
}

static int put_items(struct target *t, const struct fl_json *object, bool secret, const struct fl_json *source,
		     struct fl_err *err)
{
	const struct fl_json *data = fl_json_get(object, "data"), *binary = fl_json_get(object, "binaryData");
	bool optional = fl_json_bool(source, "optional", false);

	fl_json_each (item, fl_json_get(source, "items")) {
		const char *key = fl_json_str_or(item, "key", ""), *path = fl_json_str_or(item, "path", "");
		const struct fl_json *v = fl_json_get(data, key), *b = fl_json_get(binary, key);
		int rc;

		if (!v && !b && !optional)
			return fl_err_set(err, -ENOENT, "references non-existent %s key: %s",
					  secret ? "secret" : "config", key);
		rc = v ? put_value(t, path, item_mode(t, item), v, secret, err)
		       : put_value(t, path, item_mode(t, item), b, true, err);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int put_object(struct target *t, const struct fl_env_source *s, bool secret, const char *name,
		      const struct fl_json *source, struct fl_err *err)
{
	const struct fl_json *object = s->lookup ? s->lookup(s->arg, secret, name) : NULL;
	int rc = 0;

	if (!object)
		return fl_json_bool(source, "optional", false)
			   ? 0
			   : fl_err_set(err, -ENOENT, "%s \"%s\" not found", secret ? "secret" : "configmap", name);
	if (fl_json_get(source, "items"))
		return put_items(t, object, secret, source, err);
	fl_json_each (v, fl_json_get(object, "data"))
		rc = rc < 0 ? rc : put_value(t, v->key, t->mode, v, secret, err);
	fl_json_each (v, fl_json_get(object, "binaryData"))
		rc = rc < 0 ? rc : put_value(t, v->key, t->mode, v, true, err);
	return rc;
}

static int by_key(const void *x, const void *y)
{
	return strcmp((*(const struct fl_json *const *)x)->key, (*(const struct fl_json *const *)y)->key);
}

// All labels or annotations, as kubelet writes them: key="value", sorted, no newline at the end.
static const char *map_text(struct fl_arena *a, const struct fl_json *map)
{
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	size_t n = fl_json_count(map), i = 0;
	const struct fl_json **list = fl_arena_alloc(a, (n + 1) * sizeof(*list));

	fl_json_each (e, map)
		list[i++] = e;
	qsort(list, n, sizeof(*list), by_key);
	for (i = 0; i < n; i++) {
		fl_buf_printf(&b, "%s%s=", i ? "\n" : "", list[i]->key);
		fl_json_write_string(&b, list[i]->str.s, list[i]->str.len);
	}
	return fl_arena_strndup(a, b.data ? b.data : "", b.len);
}

static int put_fields(struct target *t, const struct fl_env_source *s, const struct fl_json *source, struct fl_err *err)
{
	fl_json_each (item, fl_json_get(source, "items")) {
		const struct fl_json *resource = fl_json_get(item, "resourceFieldRef");
		const char *field = fl_json_str_or(fl_json_get(item, "fieldRef"), "fieldPath", "");
		const char *value;
		int rc;

		if (resource)
			value = fl_env_resource(t->a, s, resource);
		else if (strcmp(field, "metadata.labels") == 0 || strcmp(field, "metadata.annotations") == 0)
			value = map_text(t->a, fl_json_get(s->pod->meta, field + strlen("metadata.")));
		else
			value = fl_env_field(t->a, s, field);
		if (!value)
			return fl_err_set(err, -ENOTSUP, "downwardAPI: there is no %s",
					  resource ? fl_json_str_or(resource, "resource", "") : field);
		rc = put(t, fl_json_str_or(item, "path", ""), item_mode(t, item), value, strlen(value), err);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static bool is_tmpfs(const char *dir)
{
	struct statfs fs;
	struct stat here, above;
	AUTO_FREE char *parent = fl_asprintf("%s/..", dir);

	return statfs(dir, &fs) == 0 && fs.f_type == TMPFS_MAGIC && stat(dir, &here) == 0 &&
	       stat(parent, &above) == 0 && here.st_dev != above.st_dev;
}

static int mount_tmpfs(const char *dir, const char *options, struct fl_err *err)
{
	if (is_tmpfs(dir))
		return 0;
	if (mount("tmpfs", dir, "tmpfs", MS_NOSUID | MS_NODEV, options) < 0)
		return fl_err_set(err, -errno, "tmpfs on %s: %s", dir, strerror(errno));
	return 0;
}

// The least of its own limit, those of the pod's containers together, the node's memory (kubelet:
// calculateEmptyDirMemorySize). 0: none of them is known.
static int64_t memory_size(const struct fl_env_source *s, const struct fl_json *source)
{
	int64_t sum = 0, own = fl_quantity_bytes(fl_json_get(source, "sizeLimit")), size = s->node_memory;

	for (unsigned i = 0; i < s->pod->n_containers; i++) {
		const struct fl_container_spec *c = &s->pod->containers[i];
		int64_t limit = fl_container_resource(c->json, "limits", "memory");

		if (limit > 0 && (!c->init || c->sidecar) && __builtin_add_overflow(sum, limit, &sum))
			sum = INT64_MAX;
	}
	if (sum > 0 && (size <= 0 || sum < size))
		size = sum;
	return own > 0 && (size <= 0 || own < size) ? own : size;
}

static int make_empty_dir(const char *dir, int64_t fs_group, const struct fl_env_source *s,
			  const struct fl_json *source, struct fl_err *err)
{
	mode_t mode = fs_group >= 0 ? 02777 : 0777;
	int64_t size = memory_size(s, source);
	char options[64] = "mode=0777";
	int rc = 0;

	if (fl_streq(fl_json_str(source, "medium"), "Memory")) {
		if (size > 0)
			snprintf(options, sizeof(options), "mode=0777,size=%lld", (long long)size);
		rc = mount_tmpfs(dir, options, err);
	}
	if (rc == 0 && fs_group >= 0 && chown(dir, (uid_t)-1, (gid_t)fs_group) < 0)
		rc = fl_err_set(err, -errno, "group of %s: %s", dir, strerror(errno));
	if (rc == 0 && chmod(dir, mode) < 0)
		rc = fl_err_set(err, -errno, "mode of %s: %s", dir, strerror(errno));
	return rc;
}

int fl_volumes_shm(const char *dir, struct fl_err *err)
{
	AUTO_FREE char *path = fl_asprintf("%s/shm", dir);
	int rc = fl_file_mkdirs(path, 0755, err);

	return rc < 0 ? rc : mount_tmpfs(path, "mode=1777,size=65536k", err); // containerd's size
}

static int put_projected(struct target *t, const struct fl_env_source *s, const struct fl_json *source,
			 struct fl_err *err)
{
	fl_json_each (part, fl_json_get(source, "sources")) {
		const struct fl_json *map = fl_json_get(part, "configMap"), *secret = fl_json_get(part, "secret"),
				     *downward = fl_json_get(part, "downwardAPI");
		int rc = map        ? put_object(t, s, false, fl_json_str_or(map, "name", ""), map, err)
			 : secret   ? put_object(t, s, true, fl_json_str_or(secret, "name", ""), secret, err)
			 : downward ? put_fields(t, s, downward, err)
				    : fl_err_set(err, -ENOTSUP, "projected source %s is not offered by this node",
						 part->kids.first ? part->kids.first->key : "");
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int check_host_path(const struct fl_json *source, struct fl_err *err)
{
	static const struct {
		const char *type, *name;
		mode_t format;
	} types[] = {
	    {"Directory", "directory", S_IFDIR},
	    {"DirectoryOrCreate", "directory", S_IFDIR},
	    {"File", "file", S_IFREG},
	    {"FileOrCreate", "file", S_IFREG},
	    {"Socket", "socket file", S_IFSOCK},
	    {"CharDevice", "character device", S_IFCHR},
	    {"BlockDevice", "block device", S_IFBLK},
	};
	const char *path = fl_json_str_or(source, "path", ""), *type = fl_json_str_or(source, "type", "");
	struct stat st;
	int rc = 0;

	if (*path != '/')
		return fl_err_set(err, -EINVAL, "hostPath %s is not absolute", path);
	if ((strcmp(type, "DirectoryOrCreate") == 0 || !*type) && stat(path, &st) < 0)
		rc = fl_file_mkdirs(path, 0755, err);
	else if (strcmp(type, "FileOrCreate") == 0 && stat(path, &st) < 0)
		rc = fl_file_write(path, "", 0, 0644, err);
	for (size_t i = 0; rc == 0 && i < FL_COUNT(types); i++) {
		if (strcmp(types[i].type, type) == 0 &&
		    (stat(path, &st) < 0 || (st.st_mode & S_IFMT) != types[i].format))
			rc =
			    fl_err_set(err, -EINVAL, "hostPath type check failed: %s is not a %s", path, types[i].name);
	}
	return rc;
}

static const char *kind_of(const struct fl_json *v)
{
	fl_json_each (m, v) {
		if (!fl_streq(m->key, "name"))
			return m->key;
	}
	return "emptyDir";
}

static int put_all(struct target *t, const struct fl_env_source *s, const char *kind, const struct fl_json *source,
		   struct fl_err *err)
{
	if (strcmp(kind, "configMap") == 0)
		return put_object(t, s, false, fl_json_str_or(source, "name", ""), source, err);
	if (strcmp(kind, "secret") == 0)
		return put_object(t, s, true, fl_json_str_or(source, "secretName", ""), source, err);
	if (strcmp(kind, "downwardAPI") == 0)
		return put_fields(t, s, source, err);
	if (strcmp(kind, "projected") == 0)
		return put_projected(t, s, source, err);
	return fl_err_set(err, -ENOTSUP, "volume type %s is not offered by this node", kind);
}

static int make_volume(const char *dir, const struct fl_env_source *s, const struct fl_json *v, bool update,
		       bool *ret_changed, struct fl_err *err)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	const struct fl_json *group = fl_json_path(s->pod->spec, "securityContext", "fsGroup", NULL), *source;
	const char *name = fl_json_str_or(v, "name", ""), *kind = kind_of(v);
	AUTO_FREE char *path = fl_asprintf("%s/volumes/%s", dir, name);
	AUTO(target_deinit)
	struct target t = {.a = &a, .fs_group = fl_json_is(group, FL_JSON_INT) ? group->i : -1};
	bool fixed = strcmp(kind, "emptyDir") == 0 || strcmp(kind, "hostPath") == 0;
	int rc;

	if (!is_safe_path(name) || strchr(name, '/'))
		return fl_err_set(err, -EINVAL, "a volume has no usable name");
	if (update && fixed)
		return 0;
	source = fl_json_get(v, kind);
	if (strcmp(kind, "hostPath") == 0)
		return check_host_path(source, err);
	rc = fl_file_mkdirs(path, 0755, err);
	if (rc == 0 && strcmp(kind, "emptyDir") == 0)
		return make_empty_dir(path, t.fs_group, s, source, err);
	t.mode = (mode_t)fl_json_int(source, "defaultMode", 0644) & 0777;
	if (rc == 0)
		rc = put_all(&t, s, kind, source, err);
	if (rc == 0 && (strcmp(kind, "secret") == 0 || strcmp(kind, "projected") == 0))
		rc = mount_tmpfs(path, "mode=0755", err);
	return rc < 0 ? rc : fl_atomic_dir_write(path, &t.files, t.fs_group, ret_changed, err);
}

static int each_volume(const char *dir, const struct fl_env_source *s, bool update, bool *ret_changed,
		       struct fl_err *err)
{
	fl_json_each (v, fl_json_get(s->pod->spec, "volumes")) {
		bool changed = false;
		int rc = make_volume(dir, s, v, update, &changed, err);

		if (rc < 0)
			return fl_err_prefix(err, "MountVolume.SetUp failed for volume \"%s\"",
					     fl_json_str_or(v, "name", ""));
		if (changed && ret_changed)
			*ret_changed = true;
	}
	return 0;
}

int fl_volumes_update(const char *dir, const struct fl_env_source *s, bool *ret_changed, struct fl_err *err)
{
	*ret_changed = false;
	return each_volume(dir, s, true, ret_changed, err);
}

int fl_volumes_write(const char *dir, const struct fl_env_source *s, struct fl_err *err)
{
	return each_volume(dir, s, false, NULL, err);
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

static int mount_of(struct fl_arena *a, const char *dir, const struct fl_pod_spec *p, const struct fl_json *env,
		    const struct fl_json *m, struct fl_oci_mount *ret, struct fl_err *err)
{
	const char *name = fl_json_str_or(m, "name", ""), *sub = fl_json_str_or(m, "subPath", "");
	const char *expr = fl_json_str_or(m, "subPathExpr", ""), *target = fl_json_str_or(m, "mountPath", "");
	const struct fl_json *v = find_volume(p, name), *host = fl_json_get(v, "hostPath");

	if (!v)
		return fl_err_set(err, -EINVAL, "volumeMount %s names no volume of the pod", name);
	if (*target != '/')
		target = fl_arena_printf(a, "/%s", target);
	if (*expr) {
		sub = fl_env_expand(a, expr, env);
		if (strstr(sub, "$("))
			return fl_err_set(err, -EINVAL, "missing value for %s in subPathExpr", strstr(sub, "$("));
	}
	if (*sub && !is_safe_path(sub))
		return fl_err_set(err, -EINVAL, "subPath %s of volume %s is no path inside it", sub, name);
	*ret = (struct fl_oci_mount){
	    .source = host ? fl_json_str_or(host, "path", "") : fl_arena_printf(a, "%s/volumes/%s", dir, name),
	    .subpath = *sub ? sub : NULL,
	    .volume = name,
	    .target = target,
	    .read_only = fl_json_bool(m, "readOnly", false) || is_written_by_us(v),
	};
	return 0;
}

int fl_volumes_mounts(struct fl_arena *a, const char *dir, const struct fl_pod_spec *p,
		      const struct fl_container_spec *c, const struct fl_json *env, struct fl_oci_mount **ret,
		      unsigned *ret_n, struct fl_err *err)
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
		int rc = mount_of(a, dir, p, env, v, &m[n], err);

		if (rc < 0)
			return rc;
		n++;
	}
	*ret = m;
	*ret_n = n;
	return 0;
}
