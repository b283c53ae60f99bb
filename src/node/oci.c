// SPDX-License-Identifier: Apache-2.0
// config.json: process, root, mounts, namespaces, limits. The defaults (capabilities, masked paths, mounts) are those
// that containerd gives a Kubernetes container.
#include "node/oci.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "node/identity.h"

static const char *const default_caps[] = {
    "CAP_AUDIT_WRITE", "CAP_CHOWN",   "CAP_DAC_OVERRIDE",     "CAP_FOWNER",    "CAP_FSETID",
    "CAP_KILL",        "CAP_MKNOD",   "CAP_NET_BIND_SERVICE", "CAP_NET_RAW",   "CAP_SETFCAP",
    "CAP_SETGID",      "CAP_SETPCAP", "CAP_SETUID",           "CAP_SYS_CHROOT"};

static const char *const all_caps[] = {"CAP_CHOWN",
				       "CAP_DAC_OVERRIDE",
				       "CAP_DAC_READ_SEARCH",
				       "CAP_FOWNER",
				       "CAP_FSETID",
				       "CAP_KILL",
				       "CAP_SETGID",
				       "CAP_SETUID",
				       "CAP_SETPCAP",
				       "CAP_LINUX_IMMUTABLE",
				       "CAP_NET_BIND_SERVICE",
				       "CAP_NET_BROADCAST",
				       "CAP_NET_ADMIN",
				       "CAP_NET_RAW",
				       "CAP_IPC_LOCK",
				       "CAP_IPC_OWNER",
				       "CAP_SYS_MODULE",
				       "CAP_SYS_RAWIO",
				       "CAP_SYS_CHROOT",
				       "CAP_SYS_PTRACE",
				       "CAP_SYS_PACCT",
				       "CAP_SYS_ADMIN",
				       "CAP_SYS_BOOT",
				       "CAP_SYS_NICE",
				       "CAP_SYS_RESOURCE",
				       "CAP_SYS_TIME",
				       "CAP_SYS_TTY_CONFIG",
				       "CAP_MKNOD",
				       "CAP_LEASE",
				       "CAP_AUDIT_WRITE",
				       "CAP_AUDIT_CONTROL",
				       "CAP_SETFCAP",
				       "CAP_MAC_OVERRIDE",
				       "CAP_MAC_ADMIN",
				       "CAP_SYSLOG",
				       "CAP_WAKE_ALARM",
				       "CAP_BLOCK_SUSPEND",
				       "CAP_AUDIT_READ",
				       "CAP_PERFMON",
				       "CAP_BPF",
				       "CAP_CHECKPOINT_RESTORE"};

static const char *const masked_paths[] = {
    "/proc/acpi",       "/proc/asound",      "/proc/kcore",       "/proc/keys", "/proc/latency_stats",
    "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware"};
static const char *const readonly_paths[] = {"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"};

static struct fl_json *strings(struct fl_arena *a, const char *const *v, size_t n)
{
	struct fl_json *array = fl_json_new(a, FL_JSON_ARRAY);

	for (size_t i = 0; i < n; i++)
		fl_json_append(array, fl_json_new_str(a, v[i]));
	return array;
}

static bool has_string(const struct fl_json *array, const char *s)
{
	fl_json_each (e, array) {
		if (fl_streq(fl_json_string(e), s))
			return true;
	}
	return false;
}

static bool is_privileged(const struct fl_oci_opts *o)
{
	return fl_json_bool(fl_json_get(o->container->json, "securityContext"), "privileged", false);
}

static const char *cap_name(struct fl_arena *a, const struct fl_json *e)
{
	const char *s = fl_json_string(e);

	if (!s || fl_starts_with(s, "CAP_"))
		return s;
	return fl_arena_printf(a, "CAP_%s", s);
}

static struct fl_json *capabilities(struct fl_arena *a, const struct fl_oci_opts *o, const struct fl_identity *id)
{
	const struct fl_json *caps = fl_json_path(o->container->json, "securityContext", "capabilities", NULL);
	const struct fl_json *add = fl_json_get(caps, "add"), *drop = fl_json_get(caps, "drop");
	bool every = is_privileged(o) || has_string(add, "ALL"), none = has_string(drop, "ALL");
	struct fl_json *set = fl_json_new(a, FL_JSON_ARRAY), *result = fl_json_new(a, FL_JSON_OBJECT);
	const char *const *base = every ? all_caps : default_caps;
	size_t n = every ? FL_COUNT(all_caps) : FL_COUNT(default_caps);

	for (size_t i = 0; i < n && !(none && !every); i++) {
		bool dropped = false;

		fl_json_each (d, drop)
			dropped = dropped || fl_streq(cap_name(a, d), base[i]);
		if (!dropped || is_privileged(o))
			fl_json_append(set, fl_json_new_str(a, base[i]));
	}
	fl_json_each (c, add) {
		const char *name = cap_name(a, c);

		if (name && strcmp(name, "CAP_ALL") != 0 && !has_string(set, name))
			fl_json_append(set, fl_json_new_str(a, name));
	}
	fl_json_set(a, result, "bounding", fl_json_clone(a, set));
	// Another user than root keeps nothing but what files and the bounding set allow.
	fl_json_set(a, result, "effective", id->uid == 0 ? fl_json_clone(a, set) : fl_json_new(a, FL_JSON_ARRAY));
	fl_json_set(a, result, "permitted", id->uid == 0 ? fl_json_clone(a, set) : fl_json_new(a, FL_JSON_ARRAY));
	return result;
}

// kubelet's qos/policy.go. Values below zero need CAP_SYS_RESOURCE.
static int64_t oom_score(const struct fl_oci_opts *o)
{
	const char *qos = fl_node_pod_qos(o->pod);
	int64_t request = fl_container_resource(o->container->json, "requests", "memory"), score;

	if (fl_streq(qos, "Guaranteed"))
		return o->may_lower_oom_score ? -997 : 0;
	if (fl_streq(qos, "BestEffort"))
		return 1000;
	if (request < 0 || o->node_memory <= 0)
		return 999;
	score = 1000 - (int64_t)((__int128)1000 * request / o->node_memory);
	return score < 3 ? 3 : score > 999 ? 999 : score;
}

static struct fl_json *process(struct fl_arena *a, const struct fl_oci_opts *o, const struct fl_identity *id)
{
	struct fl_json *p = fl_json_new(a, FL_JSON_OBJECT), *user = fl_json_set_object(a, p, "user"), *groups;
	const struct fl_json *escalation =
	    fl_json_path(o->container->json, "securityContext", "allowPrivilegeEscalation", NULL);
	const char *cwd = fl_json_str(o->container->json, "workingDir");

	fl_json_set_bool(a, p, "terminal", false);
	fl_json_set_int(a, user, "uid", id->uid);
	fl_json_set_int(a, user, "gid", id->gid);
	groups = fl_json_set_array(a, user, "additionalGids");
	for (unsigned i = 0; i < id->n_groups; i++)
		fl_json_append(groups, fl_json_new_int(a, id->groups[i]));
	fl_json_set(a, p, "args", fl_json_clone(a, o->argv));
	fl_json_set(a, p, "env", fl_json_clone(a, o->env));
	if (fl_str_empty(cwd))
		cwd = *o->image->workdir ? o->image->workdir : "/";
	fl_json_set_str(a, p, "cwd", cwd);
	fl_json_set(a, p, "capabilities", capabilities(a, o, id));
	fl_json_set_bool(a, p, "noNewPrivileges",
			 fl_json_is(escalation, FL_JSON_BOOL) && !escalation->b && !is_privileged(o));
	fl_json_set_int(a, p, "oomScoreAdj", oom_score(o));
	return p;
}

static void mount_add(struct fl_arena *a, struct fl_json *mounts, const char *target, const char *type,
		      const char *source, const char *options)
{
	struct fl_json *m = fl_json_new(a, FL_JSON_OBJECT), *list;

	fl_json_set_str(a, m, "destination", target);
	fl_json_set_str(a, m, "type", type);
	fl_json_set_str(a, m, "source", source);
	list = fl_json_set_array(a, m, "options");
	while (*options) {
		size_t n = strcspn(options, ",");

		fl_json_append(list, fl_json_new_strn(a, options, n));
		options += n + (options[n] == ',');
	}
	fl_json_append(mounts, m);
}

struct ordered {
	struct fl_oci_mount m;
	unsigned parts, index;
};

static unsigned parts_of(const char *path)
{
	unsigned parts = 0;

	for (size_t n; *path; path += n) {
		path += strspn(path, "/");
		n = strcspn(path, "/");
		if (n == 2 && path[0] == '.' && path[1] == '.')
			parts -= parts > 0;
		else if (n && !(n == 1 && path[0] == '.'))
			parts++;
	}
	return parts;
}

static int by_parts(const void *x, const void *y)
{
	const struct ordered *a = x, *b = y;

	return a->parts != b->parts ? (a->parts > b->parts) - (a->parts < b->parts) : a->index < b->index ? -1 : 1;
}

// What the pod brings, the deeper the later, so that nothing is hidden below a mount that comes after it (containerd:
// WithMounts).
static void add_binds(struct fl_arena *a, const struct fl_oci_opts *o, struct fl_json *mounts)
{
	const char *message_path = fl_json_str_or(o->container->json, "terminationMessagePath", "/dev/termination-log");
	struct ordered *list = fl_arena_alloc(a, (o->n_mounts + 1) * sizeof(*list));
	unsigned n = 0;

	for (; n < o->n_mounts; n++)
		list[n].m = o->mounts[n];
	if (o->termination_log && *message_path)
		list[n++].m = (struct fl_oci_mount){.source = o->termination_log, .target = message_path};
	for (unsigned i = 0; i < n; i++) {
		list[i].parts = parts_of(list[i].m.target);
		list[i].index = i;
	}
	qsort(list, n, sizeof(*list), by_parts);
	for (unsigned i = 0; i < n; i++)
		mount_add(a, mounts, list[i].m.target, "bind", list[i].m.source,
			  list[i].m.read_only ? "rbind,rprivate,ro" : "rbind,rprivate,rw");
}

static struct fl_json *mounts_of(struct fl_arena *a, const struct fl_oci_opts *o)
{
	struct fl_json *mounts = fl_json_new(a, FL_JSON_ARRAY);
	bool privileged = is_privileged(o);

	mount_add(a, mounts, "/proc", "proc", "proc", "nosuid,noexec,nodev");
	mount_add(a, mounts, "/dev", "tmpfs", "tmpfs", "nosuid,strictatime,mode=755,size=65536k");
	mount_add(a, mounts, "/dev/pts", "devpts", "devpts", "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5");
	mount_add(a, mounts, "/dev/mqueue", "mqueue", "mqueue", "nosuid,noexec,nodev");
	if (o->shm)
		mount_add(a, mounts, "/dev/shm", "bind", o->shm, "rbind,rprivate,nosuid,noexec,nodev,rw");
	else
		mount_add(a, mounts, "/dev/shm", "tmpfs", "shm", "nosuid,noexec,nodev,mode=1777,size=65536k");
	mount_add(a, mounts, "/sys", "sysfs", "sysfs",
		  privileged ? "nosuid,noexec,nodev,rw" : "nosuid,noexec,nodev,ro");
	mount_add(a, mounts, "/sys/fs/cgroup", "cgroup", "cgroup",
		  privileged ? "nosuid,noexec,nodev,relatime,rw" : "nosuid,noexec,nodev,relatime,ro");
	add_binds(a, o, mounts);
	return mounts;
}

static void namespace_add(struct fl_arena *a, struct fl_json *list, const char *type, const char *path)
{
	struct fl_json *ns = fl_json_new(a, FL_JSON_OBJECT);

	fl_json_set_str(a, ns, "type", type);
	if (path)
		fl_json_set_str(a, ns, "path", path);
	fl_json_append(list, ns);
}

// As kubelet's kuberuntime_container_linux.go has them, with its default NoSwap: no container swaps, and on v2 all of
// its processes go when the memory is short.
static void resources(struct fl_arena *a, const struct fl_oci_opts *o, struct fl_json *linux_part)
{
	const struct fl_json *c = o->container->json;
	struct fl_json *r = fl_json_set_object(a, linux_part, "resources"), *cpu, *memory, *devices, *deny, *unified;
	int64_t cpu_limit = fl_container_resource(c, "limits", "cpu");
	int64_t cpu_request = fl_container_resource(c, "requests", "cpu");
	int64_t memory_limit = fl_container_resource(c, "limits", "memory");
	int64_t shares = cpu_request > 0 ? cpu_request * 1024 / 1000 : 2;

	devices = fl_json_set_array(a, r, "devices");
	deny = fl_json_append(devices, fl_json_new(a, FL_JSON_OBJECT));
	fl_json_set_bool(a, deny, "allow", is_privileged(o));
	fl_json_set_str(a, deny, "access", "rwm");
	cpu = fl_json_set_object(a, r, "cpu");
	fl_json_set_int(a, cpu, "shares", shares < 2 ? 2 : shares > 262144 ? 262144 : shares);
	if (cpu_limit > 0) {
		int64_t quota = cpu_limit * 100;

		fl_json_set_int(a, cpu, "period", 100000);
		fl_json_set_int(a, cpu, "quota", quota < 1000 ? 1000 : quota);
	}
	if (memory_limit > 0) {
		memory = fl_json_set_object(a, r, "memory");
		fl_json_set_int(a, memory, "limit", memory_limit);
		if (!o->cgroups.unified && o->cgroups.swap)
			fl_json_set_int(a, memory, "swap", memory_limit); // both together: none is left for swap
	}
	if (!o->cgroups.unified)
		return;
	unified = fl_json_set_object(a, r, "unified");
	fl_json_set_str(a, unified, "memory.oom.group", "1");
	if (o->cgroups.swap)
		fl_json_set_str(a, unified, "memory.swap.max", "0");
}

// What the pod asks for, over what containerd gives each pod with a network of its own.
static void sysctls(struct fl_arena *a, const struct fl_oci_opts *o, struct fl_json *linux_part)
{
	struct fl_json *set = fl_json_new(a, FL_JSON_OBJECT);

	if (o->netns) {
		fl_json_set_str(a, set, "net.ipv4.ip_unprivileged_port_start", "0");
		fl_json_set_str(a, set, "net.ipv4.ping_group_range", "0 2147483647");
	}
	fl_json_each (s, fl_json_path(o->pod->spec, "securityContext", "sysctls", NULL))
		fl_json_set_str(a, set, fl_sysctl_name(a, fl_json_str_or(s, "name", "")),
				fl_json_str_or(s, "value", ""));
	if (fl_json_count(set))
		fl_json_set(a, linux_part, "sysctl", set);
}

static struct fl_json *linux_of(struct fl_arena *a, const struct fl_oci_opts *o)
{
	struct fl_json *l = fl_json_new(a, FL_JSON_OBJECT), *ns = fl_json_set_array(a, l, "namespaces");

	namespace_add(a, ns, "mount", NULL);
	if (!o->pod->host_pid)
		namespace_add(a, ns, "pid", o->pidns);
	if (o->netns)
		namespace_add(a, ns, "network", o->netns);
	if (o->utsns)
		namespace_add(a, ns, "uts", o->utsns);
	if (o->ipcns && !o->pod->host_ipc)
		namespace_add(a, ns, "ipc", o->ipcns);
	if (o->cgroups.unified && !is_privileged(o)) // containerd: buildLinuxSpec
		namespace_add(a, ns, "cgroup", NULL);
	fl_json_set_str(a, l, "cgroupsPath", o->cgroup);
	resources(a, o, l);
	sysctls(a, o, l);
	if (!is_privileged(o)) {
		fl_json_set(a, l, "maskedPaths", strings(a, masked_paths, FL_COUNT(masked_paths)));
		fl_json_set(a, l, "readonlyPaths", strings(a, readonly_paths, FL_COUNT(readonly_paths)));
	}
	return l;
}

int fl_oci_config(struct fl_arena *a, const struct fl_oci_opts *o, struct fl_json **ret, struct fl_err *err)
{
	struct fl_json *c = fl_json_new(a, FL_JSON_OBJECT), *root;
	struct fl_identity id = {0};
	int rc = fl_identity_find(o, &id, err);

	if (rc < 0)
		return rc;
	fl_json_set_str(a, c, "ociVersion", "1.0.2");
	fl_json_set(a, c, "process", process(a, o, &id));
	root = fl_json_set_object(a, c, "root");
	fl_json_set_str(a, root, "path", "rootfs");
	fl_json_set_bool(
	    a, root, "readonly",
	    fl_json_bool(fl_json_get(o->container->json, "securityContext"), "readOnlyRootFilesystem", false));
	fl_json_set(a, c, "mounts", mounts_of(a, o));
	fl_json_set(a, c, "linux", linux_of(a, o));
	*ret = c;
	return 0;
}
