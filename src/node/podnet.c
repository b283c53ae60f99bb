// SPDX-License-Identifier: Apache-2.0
// Namespaces, links, addresses and routes of pods. The calling thread enters the pod's namespaces for a moment; should
// it fail to come back, the process ends: a thread in the wrong network is worse than a restart.
#include "node/podnet.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/rtnetlink.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "io/netlink.h"
#include "node/podpause.h"

#define LO_INDEX 1

static const struct {
	const char *name;
	int flag;
} kinds[] = {{"ipc", CLONE_NEWIPC}, {"net", CLONE_NEWNET}, {"uts", CLONE_NEWUTS}};

static size_t count_of(bool host_network)
{
	return host_network ? 1 : FL_COUNT(kinds);
}

char *fl_podnet_ns_path(const struct fl_node_paths *p, const char *uid, const char *kind)
{
	return fl_asprintf("%s/%s.%s", p->ns, uid, kind);
}

const char *fl_podnet_ifname(const char *uid, char buf[static FL_PODNET_IFNAME_LEN])
{
	uint64_t h = 14695981039346656037u;

	for (; *uid; uid++)
		h = (h ^ (uint8_t)*uid) * 1099511628211u;
	snprintf(buf, FL_PODNET_IFNAME_LEN, "flv%012llx", (unsigned long long)(h & 0xffffffffffffu));
	return buf;
}

static bool is_ns_mount(const char *path)
{
	struct statfs fs;

	return statfs(path, &fs) == 0 && fs.f_type == NSFS_MAGIC;
}

bool fl_podnet_exists(const struct fl_node_paths *p, const char *uid, bool host_network)
{
	for (size_t i = 0; i < count_of(host_network); i++) {
		AUTO_FREE char *path = fl_podnet_ns_path(p, uid, kinds[i].name);

		if (!is_ns_mount(path))
			return false;
	}
	return true;
}

// --- host ---

static int record_read(const struct fl_node_paths *p, char **ret)
{
	AUTO_FREE char *path = fl_asprintf("%s/host", p->run);

	return fl_file_read(path, ret, NULL, NULL);
}

// Adds a line to <run>/host before the change it speaks of, unless it stands there.
static int record_add(const struct fl_node_paths *p, const char *line, struct fl_err *err)
{
	AUTO_FREE char *path = fl_asprintf("%s/host", p->run), *old = NULL;
	AUTO(fl_buf_deinit) struct fl_buf b = {0};

	if (record_read(p, &old) == 0) {
		if (strstr(old, line))
			return 0;
		fl_buf_puts(&b, old);
	}
	fl_buf_puts(&b, line);
	return fl_node_file_put(path, b.data, b.len, 0600, err);
}

static int sysctl_set(const struct fl_node_paths *p, const char *key, const char *want, struct fl_err *err)
{
	char now[32];
	AUTO_FREE char *line = NULL;
	int rc = fl_sysctl_read(key, now, sizeof(now), err);

	if (rc < 0 || strcmp(now, want) == 0)
		return rc;
	line = fl_asprintf("sysctl %s %s\n", key, now);
	rc = record_add(p, line, err);
	return rc < 0 ? rc : fl_sysctl_write(key, want, err);
}

static struct fl_route unreachable_route(const struct fl_cidr *c)
{
	return (struct fl_route){.dst = *c, .type = RTN_UNREACHABLE, .metric = c->ip.family == AF_INET6 ? 4096 : 0};
}

static const char *forwarding_of(const struct fl_cidr *c)
{
	return c->ip.family == AF_INET ? "net/ipv4/ip_forward" : "net/ipv6/conf/all/forwarding";
}

int fl_podnet_host_setup(const struct fl_node_paths *p, const struct fl_podnet_host *h, struct fl_err *err)
{
	AUTO(fl_netlink_free) struct fl_netlink *nl = NULL;
	int rc = fl_netlink_open(NETLINK_ROUTE, &nl, err);

	if (rc == 0)
		rc = fl_link_set_up(nl, LO_INDEX, true, err);
	for (unsigned i = 0; rc == 0 && i < h->n_cidrs; i++) {
		const struct fl_cidr *c = &h->cidrs[i];
		struct fl_ip gateway = fl_cidr_nth(c, 1);
		struct fl_route r = unreachable_route(c);
		char ip[FL_IP_STRLEN], cidr[FL_CIDR_STRLEN];
		AUTO_FREE char *line =
		    fl_asprintf("gateway %s\ncidr %s\n", fl_ip_format(&gateway, ip), fl_cidr_format(c, cidr));

		rc = record_add(p, line, err);
		if (rc == 0)
			rc = fl_addr_replace(nl, LO_INDEX, &gateway, gateway.family == AF_INET ? 32 : 128, err);
		if (rc == 0)
			rc = fl_route_replace(nl, &r, err);
		if (rc == 0)
			rc = sysctl_set(p, forwarding_of(c), "1", err);
	}
	return rc < 0 ? fl_err_prefix(err, "prepare this host's pod network") : 0;
}

int fl_podnet_host_keep(const struct fl_node_paths *p, const struct fl_podnet_host *h, bool *ret_mended,
			struct fl_err *err)
{
	AUTO(fl_netlink_free) struct fl_netlink *nl = NULL;
	bool mended = false;
	int rc = fl_netlink_open(NETLINK_ROUTE, &nl, err);

	for (unsigned i = 0; rc == 0 && i < h->n_cidrs; i++) {
		const struct fl_cidr *c = &h->cidrs[i];
		const char *key = forwarding_of(c);
		struct fl_ip gateway = fl_cidr_nth(c, 1);
		struct fl_route r = unreachable_route(c);
		char now[32];

		// Whichever is not there yet is there now.
		rc = fl_addr_add(nl, LO_INDEX, &gateway, gateway.family == AF_INET ? 32 : 128, err);
		mended |= rc == 0;
		if (rc == 0 || rc == -EEXIST)
			rc = fl_route_add(nl, &r, err);
		mended |= rc == 0;
		if (rc == 0 || rc == -EEXIST)
			rc = fl_sysctl_read(key, now, sizeof(now), err);
		if (rc == 0 && strcmp(now, "1") != 0) {
			mended = true;
			rc = sysctl_set(p, key, "1", err);
		}
	}
	if (rc < 0)
		return fl_err_prefix(err, "keep this host's pod network");
	*ret_mended = mended;
	return 0;
}

int fl_podnet_host_cleanup(const struct fl_node_paths *p, struct fl_err *err)
{
	AUTO_FREE char *text = NULL, *path = fl_asprintf("%s/host", p->run);
	AUTO(fl_netlink_free) struct fl_netlink *nl = NULL;
	char *save = NULL, *line;
	int rc;

	if (record_read(p, &text) < 0)
		return 0;
	rc = fl_netlink_open(NETLINK_ROUTE, &nl, err);
	if (rc < 0)
		return rc;
	for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		char word[16], a[128], b[64];
		int n = sscanf(line, "%15s %127s %63s", word, a, b);
		struct fl_err ignored = {0};
		struct fl_ip ip;
		struct fl_cidr c;

		// What is gone already (a reboot of a container, another clean-up) is what is wanted.
		if (n == 2 && fl_streq(word, "gateway") && fl_ip_parse(a, &ip)) {
			rc = fl_addr_del(nl, LO_INDEX, &ip, ip.family == AF_INET ? 32 : 128, &ignored);
		} else if (n == 2 && fl_streq(word, "cidr") && fl_cidr_parse(a, &c, false)) {
			struct fl_route r = unreachable_route(&c);

			rc = fl_route_del(nl, &r, &ignored);
		} else if (n == 3 && fl_streq(word, "sysctl")) {
			rc = fl_sysctl_write(a, b, &ignored);
		}
		if (rc < 0 && rc != -ENOENT && rc != -ESRCH && rc != -EADDRNOTAVAIL && rc != -ENODEV)
			fl_warn("host network: %s", ignored.text);
	}
	return fl_file_remove_all(path, err);
}

// --- pods ---

struct home { // namespaces of the thread as it came
	int fd[FL_COUNT(kinds)];
};

static void home_close(struct home *h)
{
	for (size_t i = 0; i < FL_COUNT(kinds); i++)
		fl_close_fd(&h->fd[i]);
}

static int home_open(struct home *h, struct fl_err *err)
{
	for (size_t i = 0; i < FL_COUNT(kinds); i++)
		h->fd[i] = -1;
	for (size_t i = 0; i < FL_COUNT(kinds); i++) {
		char path[64];

		snprintf(path, sizeof(path), "/proc/thread-self/ns/%s", kinds[i].name);
		h->fd[i] = open(path, O_RDONLY | O_CLOEXEC);
		if (h->fd[i] < 0) {
			int rc = -errno;

			home_close(h);
			return fl_err_set(err, rc, "open %s: %s", path, strerror(-rc));
		}
	}
	return 0;
}

static void home_return(const struct home *h)
{
	for (size_t i = 0; i < FL_COUNT(kinds); i++) {
		if (setns(h->fd[i], kinds[i].flag) < 0) {
			fl_error("cannot return from a pod's %s namespace: %s", kinds[i].name, strerror(errno));
			abort();
		}
	}
}

static int bind_namespaces(const struct fl_node_paths *p, const struct fl_podnet_pod *pod, struct fl_err *err)
{
	for (size_t i = 0; i < count_of(pod->host_network); i++) {
		AUTO_FREE char *path = fl_podnet_ns_path(p, pod->uid, kinds[i].name);
		AUTO_CLOSE int fd = open(path, O_RDONLY | O_CREAT | O_CLOEXEC, 0600);
		char self[64];

		if (fd < 0)
			return fl_err_set(err, -errno, "create %s: %s", path, strerror(errno));
		snprintf(self, sizeof(self), "/proc/thread-self/ns/%s", kinds[i].name);
		if (mount(self, path, NULL, MS_BIND, NULL) < 0)
			return fl_err_set(err, -errno, "mount %s: %s", path, strerror(errno));
	}
	return 0;
}

static int create_namespaces(const struct fl_node_paths *p, const struct fl_podnet_pod *pod, struct fl_err *err)
{
	struct home h = {0};
	int flags = 0, rc = home_open(&h, err);

	if (rc < 0)
		return rc;
	for (size_t i = 0; i < count_of(pod->host_network); i++)
		flags |= kinds[i].flag;
	if (unshare(flags) < 0)
		rc = fl_err_set(err, -errno, "new namespaces: %s", strerror(errno));
	else if (!pod->host_network && sethostname(pod->hostname, strlen(pod->hostname)) < 0)
		rc = fl_err_set(err, -errno, "set host name %s: %s", pod->hostname, strerror(errno));
	else
		rc = bind_namespaces(p, pod, err);
	home_return(&h);
	home_close(&h);
	return rc;
}

// In the pod's network namespace.
static int configure_inside(const struct fl_podnet_pod *pod, const struct fl_ip *gateways, struct fl_err *err)
{
	AUTO(fl_netlink_free) struct fl_netlink *nl = NULL;
	int eth0 = 0, rc = fl_netlink_open(NETLINK_ROUTE, &nl, err);

	if (rc == 0)
		rc = fl_link_set_up(nl, LO_INDEX, true, err);
	if (rc == 0)
		rc = fl_link_index(nl, "eth0", &eth0, err);
	if (rc == 0)
		rc = fl_link_set_up(nl, eth0, true, err);
	for (unsigned i = 0; rc == 0 && i < pod->n_ips; i++) {
		uint8_t bits = pod->ips[i].family == AF_INET ? 32 : 128;
		struct fl_route to_gateway = {
		    .dst = {.ip = gateways[i], .bits = bits}, .ifindex = eth0, .scope = RT_SCOPE_LINK};
		struct fl_route to_world = {.gateway = gateways[i], .ifindex = eth0};

		rc = fl_addr_replace(nl, eth0, &pod->ips[i], bits, err);
		if (rc == 0 && !fl_ip_is_link_local(&gateways[i]))
			rc = fl_route_replace(nl, &to_gateway, err);
		if (rc == 0)
			rc = fl_route_replace(nl, &to_world, err);
	}
	return rc;
}

static struct fl_route route_to(const struct fl_ip *ip, int ifindex)
{
	return (struct fl_route){
	    .dst = {.ip = *ip, .bits = ip->family == AF_INET ? 32 : 128},
	    .ifindex = ifindex,
	    .scope = ip->family == AF_INET ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE,
	};
}

static int add_links(const struct fl_node_paths *p, const struct fl_podnet_pod *pod, const struct fl_ip *gateways,
		     struct fl_err *err)
{
	AUTO(fl_netlink_free) struct fl_netlink *nl = NULL;
	AUTO_FREE char *path = fl_podnet_ns_path(p, pod->uid, "net");
	AUTO_CLOSE int ns_fd = open(path, O_RDONLY | O_CLOEXEC);
	char ifname[FL_PODNET_IFNAME_LEN];
	struct home h = {0};
	int index, rc;

	if (ns_fd < 0)
		return fl_err_set(err, -errno, "open %s: %s", path, strerror(errno));
	rc = fl_netlink_open(NETLINK_ROUTE, &nl, err);
	if (rc < 0)
		return rc;
	rc = fl_link_add_veth(nl, fl_podnet_ifname(pod->uid, ifname), "eth0", ns_fd, pod->mtu, err);
	if (rc == -EEXIST)
		rc = 0; // of an earlier run
	if (rc == 0)
		rc = fl_link_index(nl, ifname, &index, err);
	if (rc == 0)
		rc = fl_link_set_up(nl, index, true, err);
	if (rc == 0)
		rc = home_open(&h, err);
	if (rc < 0)
		return rc;
	if (setns(ns_fd, CLONE_NEWNET) < 0)
		rc = fl_err_set(err, -errno, "enter %s: %s", path, strerror(errno));
	else
		rc = configure_inside(pod, gateways, err);
	home_return(&h);
	home_close(&h);
	for (unsigned i = 0; rc == 0 && i < pod->n_ips; i++) {
		struct fl_route r = route_to(&pod->ips[i], index);

		if (pod->ips[i].family == AF_INET6)
			rc = fl_addr_replace(nl, index, &gateways[i], 64, err);
		if (rc == 0)
			rc = fl_route_replace(nl, &r, err);
	}
	return rc;
}

// The gateway of a pod: for IPv4 the second address of its range as it stands on lo. The range is not known here, but
// the host's record has it.
static int find_gateways(const struct fl_node_paths *p, const struct fl_podnet_pod *pod, struct fl_ip gateways[2],
			 struct fl_err *err)
{
	AUTO_FREE char *text = NULL;
	char *save = NULL;

	for (unsigned i = 0; i < pod->n_ips; i++) {
		if (pod->ips[i].family == AF_INET6)
			fl_ip_parse("fe80::1", &gateways[i]);
		else
			gateways[i] = (struct fl_ip){0};
	}
	if (record_read(p, &text) < 0)
		return fl_err_set(err, -ENOENT, "this host's pod network is not prepared");
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		struct fl_cidr c;

		if (!fl_starts_with(line, "cidr ") || !fl_cidr_parse(line + 5, &c, false))
			continue;
		for (unsigned i = 0; i < pod->n_ips; i++) {
			if (pod->ips[i].family == AF_INET && fl_cidr_contains(&c, &pod->ips[i]))
				gateways[i] = fl_cidr_nth(&c, 1);
		}
	}
	for (unsigned i = 0; i < pod->n_ips; i++) {
		if (!gateways[i].family)
			return fl_err_set(err, -EADDRNOTAVAIL, "the pod's address is outside this host's ranges");
	}
	return 0;
}

int fl_podnet_add(const struct fl_node_paths *p, const struct fl_podnet_pod *pod, struct fl_err *err)
{
	struct fl_ip gateways[2];
	int rc = pod->host_network ? 0 : find_gateways(p, pod, gateways, err);

	if (rc == 0 && !fl_podnet_exists(p, pod->uid, pod->host_network)) {
		rc = fl_podnet_del(p, pod->uid, err); // what a crash left half done
		if (rc == 0)
			rc = create_namespaces(p, pod, err);
	}
	if (rc == 0 && !pod->host_network)
		rc = add_links(p, pod, gateways, err);
	if (rc < 0) {
		struct fl_err ignored = {0};

		if (fl_podnet_del(p, pod->uid, &ignored) < 0)
			fl_warn("pod network left half done uid=%s: %s", pod->uid, ignored.text);
		return rc;
	}
	return 0;
}

int fl_podnet_mend(const struct fl_node_paths *p, const struct fl_podnet_pod *pod, struct fl_err *err)
{
	struct fl_ip gateways[2];
	int rc = find_gateways(p, pod, gateways, err);

	return rc < 0 ? rc : add_links(p, pod, gateways, err);
}

int fl_podnet_keep(struct fl_netlink *nl, const struct fl_node_paths *p, const struct fl_podnet_pod *pod,
		   bool *ret_mended, struct fl_err *err)
{
	char ifname[FL_PODNET_IFNAME_LEN];
	int index, rc = fl_link_index(nl, fl_podnet_ifname(pod->uid, ifname), &index, NULL);
	bool complete = rc == 0;

	for (unsigned i = 0; complete && i < pod->n_ips; i++) {
		struct fl_route r = route_to(&pod->ips[i], index);

		complete = fl_route_add(nl, &r, NULL) == -EEXIST;
	}
	if (!complete) {
		rc = fl_podnet_mend(p, pod, err);
		if (rc < 0)
			return rc;
	}
	*ret_mended = !complete;
	return 0;
}

int fl_podnet_del(const struct fl_node_paths *p, const char *uid, struct fl_err *err)
{
	AUTO(fl_netlink_free) struct fl_netlink *nl = NULL;
	char ifname[FL_PODNET_IFNAME_LEN];
	int rc = fl_podpause_end(p, uid, err);

	if (rc == 0)
		rc = fl_netlink_open(NETLINK_ROUTE, &nl, err);
	if (rc < 0)
		return rc;
	// First the link: it is gone at once and its routes with it; with the namespace alone it would go some time
	// later.
	rc = fl_link_del(nl, fl_podnet_ifname(uid, ifname), err);
	if (rc < 0 && rc != -ENODEV)
		return rc;
	for (size_t i = 0; i < FL_COUNT(kinds); i++) {
		AUTO_FREE char *path = fl_podnet_ns_path(p, uid, kinds[i].name);

		while (is_ns_mount(path)) {
			if (umount2(path, MNT_DETACH) < 0)
				return fl_err_set(err, -errno, "unmount %s: %s", path, strerror(errno));
		}
		if (unlink(path) < 0 && errno != ENOENT)
			return fl_err_set(err, -errno, "remove %s: %s", path, strerror(errno));
	}
	return 0;
}

// /proc/self/mountinfo writes space, tab, newline and backslash as \ooo.
static void unescape(char *s)
{
	char *to = s;

	for (; *s; s++, to++) {
		if (s[0] == '\\' && s[1] && s[2] && s[3]) {
			*to = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0'));
			s += 3;
		} else {
			*to = *s;
		}
	}
	*to = '\0';
}

void fl_mounts_detach_below(const char *dir)
{
	size_t n = strlen(dir);

	for (int round = 0; round < 100; round++) { // one may cover another: until nothing more comes off
		AUTO_FREE char *text = NULL;
		char *save = NULL;
		int detached = 0;

		if (fl_file_read("/proc/self/mountinfo", &text, NULL, NULL) < 0)
			return;
		for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
			char at[4096];

			if (sscanf(line, "%*s %*s %*s %*s %4095s", at) != 1)
				continue;
			unescape(at);
			if (strncmp(at, dir, n) == 0 && (at[n] == '/' || at[n] == '\0') && umount2(at, MNT_DETACH) == 0)
				detached++;
		}
		if (!detached)
			return;
	}
}
