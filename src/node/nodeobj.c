// SPDX-License-Identifier: Apache-2.0
// What the Node object says of this host. See nodeobj.h; heart.c keeps it alive.
#include "node/nodeobj.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/version.h"
#include "node/image.h"

#define MAX_PODS             110           // kubelet --max-pods
#define MEMORY_RESERVE_BYTES (100ll << 20) // kubelet's eviction threshold memory.available
#define DISK_FREE_PERCENT    10            // nodefs.available

static const char *read_word(struct fl_arena *a, const char *path)
{
	AUTO_FREE char *text = NULL;

	if (fl_file_read(path, &text, NULL, NULL) < 0)
		return "";
	text[strcspn(text, "\n")] = '\0';
	return fl_arena_strdup(a, text);
}

static const char *os_image(struct fl_arena *a)
{
	AUTO_FREE char *text = NULL;
	char *at;

	if (fl_file_read("/etc/os-release", &text, NULL, NULL) < 0)
		return "Linux";
	at = strstr(text, "PRETTY_NAME=");
	if (!at)
		return "Linux";
	at += strlen("PRETTY_NAME=");
	at += *at == '"';
	return fl_arena_strndup(a, at, strcspn(at, "\"\n"));
}

static int64_t meminfo(const char *text, const char *key)
{
	const char *at = text ? strstr(text, key) : NULL;

	return at ? strtoll(at + strlen(key), NULL, 10) * 1024 : 0;
}

static bool pids_are_short(void)
{
	AUTO_FREE char *max = NULL, *load = NULL;
	const char *slash;

	if (fl_file_read("/proc/sys/kernel/pid_max", &max, NULL, NULL) < 0 ||
	    fl_file_read("/proc/loadavg", &load, NULL, NULL) < 0)
		return false;
	slash = strchr(load, '/');
	return slash && strtoll(slash + 1, NULL, 10) * 10 > strtoll(max, NULL, 10) * 9;
}

void fl_node_facts_read(struct fl_arena *a, const char *data_dir, const char *runtime_version,
			struct fl_node_facts *ret)
{
	AUTO_FREE char *mem = NULL;
	struct utsname u;
	struct statvfs fs;
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);

	if (fl_file_read("/proc/meminfo", &mem, NULL, NULL) < 0)
		mem = NULL;
	*ret = (struct fl_node_facts){
	    .kernel = uname(&u) == 0 ? fl_arena_strdup(a, u.release) : "",
	    .os_image = os_image(a),
	    .machine_id = read_word(a, "/etc/machine-id"),
	    .system_uuid = read_word(a, "/sys/class/dmi/id/product_uuid"),
	    .boot_id = read_word(a, "/proc/sys/kernel/random/boot_id"),
	    .runtime_version = runtime_version,
	    .cpu_milli = cpus > 0 ? cpus * 1000 : 1000,
	    .memory_bytes = meminfo(mem, "MemTotal:"),
	    .max_pods = MAX_PODS,
	    .memory_pressure = mem && meminfo(mem, "MemAvailable:") < MEMORY_RESERVE_BYTES,
	    .pid_pressure = pids_are_short(),
	};
	ret->images = fl_images_status(a, data_dir);
	if (statvfs(data_dir, &fs) == 0) {
		ret->disk_bytes = (int64_t)(fs.f_blocks * fs.f_frsize);
		ret->disk_pressure = fs.f_bavail * 100 < fs.f_blocks * DISK_FREE_PERCENT;
	}
}

struct fl_json *fl_node_object(struct fl_arena *a, const struct fl_node_opts *o, const struct fl_node_facts *f)
{
	struct fl_json *n = fl_json_new(a, FL_JSON_OBJECT), *meta, *labels, *spec, *cidrs;
	char text[FL_CIDR_STRLEN];

	fl_json_set_str(a, n, "kind", "Node");
	fl_json_set_str(a, n, "apiVersion", "v1");
	meta = fl_json_set_object(a, n, "metadata");
	fl_json_set_str(a, meta, "name", o->node_name);
	labels = fl_json_set_object(a, meta, "labels");
	fl_json_set_str(a, labels, "beta.kubernetes.io/arch", FL_ARCH);
	fl_json_set_str(a, labels, "beta.kubernetes.io/os", "linux");
	fl_json_set_str(a, labels, "kubernetes.io/arch", FL_ARCH);
	fl_json_set_str(a, labels, "kubernetes.io/hostname", o->node_name);
	fl_json_set_str(a, labels, "kubernetes.io/os", "linux");
	spec = fl_json_set_object(a, n, "spec");
	if (o->n_pod_cidrs) {
		fl_json_set_str(a, spec, "podCIDR", fl_cidr_format(&o->pod_cidrs[0], text));
		cidrs = fl_json_set_array(a, spec, "podCIDRs");
		for (unsigned i = 0; i < o->n_pod_cidrs; i++)
			fl_json_append(cidrs, fl_json_new_str(a, fl_cidr_format(&o->pod_cidrs[i], text)));
	}
	return n;
}

static void add_resources(struct fl_arena *a, struct fl_json *status, const char *key, const struct fl_node_facts *f,
			  int64_t memory_reserve)
{
	struct fl_json *r = fl_json_set_object(a, status, key);
	int64_t memory = f->memory_bytes > memory_reserve ? f->memory_bytes - memory_reserve : 0;

	fl_json_set_str(a, r, "cpu", fl_arena_printf(a, "%" PRId64, f->cpu_milli / 1000));
	fl_json_set_str(a, r, "ephemeral-storage", fl_arena_printf(a, "%" PRId64 "Ki", f->disk_bytes / 1024));
	fl_json_set_str(a, r, "memory", fl_arena_printf(a, "%" PRId64 "Ki", memory / 1024));
	fl_json_set_str(a, r, "pods", fl_arena_printf(a, "%u", f->max_pods));
}

static const struct fl_json *find_condition(const struct fl_json *old, const char *type)
{
	fl_json_each (c, fl_json_get(old, "conditions")) {
		if (fl_streq(fl_json_str(c, "type"), type))
			return c;
	}
	return NULL;
}

static void add_conditions(struct fl_arena *a, struct fl_json *status, const struct fl_node_facts *f,
			   const struct fl_json *old, int64_t now_ns)
{
	const struct {
		const char *type;
		bool value;
		const char *reason, *message;
	} own[] = {
	    {"MemoryPressure", f->memory_pressure,
	     f->memory_pressure ? "KubeletHasInsufficientMemory" : "KubeletHasSufficientMemory",
	     f->memory_pressure ? "kubelet has insufficient memory available"
				: "kubelet has sufficient memory available"},
	    {"DiskPressure", f->disk_pressure, f->disk_pressure ? "KubeletHasDiskPressure" : "KubeletHasNoDiskPressure",
	     f->disk_pressure ? "kubelet has disk pressure" : "kubelet has no disk pressure"},
	    {"PIDPressure", f->pid_pressure, f->pid_pressure ? "KubeletHasInsufficientPID" : "KubeletHasSufficientPID",
	     f->pid_pressure ? "kubelet has insufficient PID available" : "kubelet has sufficient PID available"},
	    {"HostFirewallBlocksPods", true, "Blocked", f->firewall},
	    {"Ready", true, "KubeletReady", "kubelet is posting ready status"},
	};
	struct fl_json *list = fl_json_set_array(a, status, "conditions");
	char now[FL_TIME_STRLEN];

	fl_time_format(now_ns, now);
	fl_json_each (c, fl_json_get(old, "conditions")) {
		bool ours = false;

		for (size_t i = 0; i < FL_COUNT(own); i++)
			ours = ours || fl_streq(fl_json_str(c, "type"), own[i].type);
		if (!ours)
			fl_json_append(list, fl_json_clone(a, c));
	}
	for (size_t i = 0; i < FL_COUNT(own); i++) {
		if (!own[i].message)
			continue; // told while it is so
		struct fl_json *c = fl_json_append(list, fl_json_new(a, FL_JSON_OBJECT));
		const struct fl_json *was = find_condition(old, own[i].type);
		const char *value = own[i].value ? "True" : "False", *since = fl_json_str(was, "lastTransitionTime");

		fl_json_set_str(a, c, "type", own[i].type);
		fl_json_set_str(a, c, "status", value);
		fl_json_set_str(a, c, "lastHeartbeatTime", now);
		fl_json_set_str(a, c, "lastTransitionTime",
				since && fl_streq(fl_json_str(was, "status"), value) ? since : now);
		fl_json_set_str(a, c, "reason", own[i].reason);
		fl_json_set_str(a, c, "message", own[i].message);
	}
}

static void add_address(struct fl_arena *a, struct fl_json *list, const char *type, const char *address)
{
	struct fl_json *e = fl_json_append(list, fl_json_new(a, FL_JSON_OBJECT));

	fl_json_set_str(a, e, "type", type);
	fl_json_set_str(a, e, "address", address);
}

struct fl_json *fl_node_status(struct fl_arena *a, const struct fl_node_opts *o, const struct fl_node_facts *f,
			       uint16_t kubelet_port, const struct fl_json *old, int64_t now_ns)
{
	struct fl_json *s = fl_json_new(a, FL_JSON_OBJECT), *list, *info;
	char text[FL_IP_STRLEN];

	list = fl_json_set_array(a, s, "addresses");
	for (unsigned i = 0; i < o->n_node_ips; i++)
		add_address(a, list, "InternalIP", fl_ip_format(&o->node_ips[i], text));
	add_address(a, list, "Hostname", o->node_name);
	add_resources(a, s, "allocatable", f, MEMORY_RESERVE_BYTES);
	add_resources(a, s, "capacity", f, 0);
	add_conditions(a, s, f, old, now_ns);
	fl_json_set_int(a, fl_json_set_object(a, fl_json_set_object(a, s, "daemonEndpoints"), "kubeletEndpoint"),
			"Port", kubelet_port);
	fl_json_set(a, s, "images", f->images ? fl_json_clone(a, f->images) : fl_json_new(a, FL_JSON_ARRAY));
	info = fl_json_set_object(a, s, "nodeInfo");
	fl_json_set_str(a, info, "architecture", FL_ARCH);
	fl_json_set_str(a, info, "bootID", f->boot_id);
	fl_json_set_str(a, info, "containerRuntimeVersion", f->runtime_version);
	fl_json_set_str(a, info, "kernelVersion", f->kernel);
	fl_json_set_str(a, info, "kubeProxyVersion", "");
	fl_json_set_str(a, info, "kubeletVersion", FL_KUBE_VERSION "+fairlead");
	fl_json_set_str(a, info, "machineID", f->machine_id);
	fl_json_set_str(a, info, "operatingSystem", "linux");
	fl_json_set_str(a, info, "osImage", f->os_image);
	fl_json_set_str(a, info, "systemUUID", *f->system_uuid ? f->system_uuid : f->machine_id);
	return s;
}
