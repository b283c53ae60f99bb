// SPDX-License-Identifier: Apache-2.0
// Netlink sockets (libmnl), blocking request and answer, and the routing requests that the data plane and pods need.
// Requests are answered by the kernel at once, so blocking costs microseconds and keeps callers straight.
#pragma once

#include <linux/netlink.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/ip.h"

struct fl_netlink;

FL_WUR int fl_netlink_open(int bus, struct fl_netlink **ret,
			   struct fl_err *err); // NETLINK_ROUTE, NETLINK_NETFILTER ...
void fl_netlink_free(struct fl_netlink **nl);
int fl_netlink_fd(const struct fl_netlink *nl);
uint32_t fl_netlink_next_seq(struct fl_netlink *nl);

// Sends one message (its seq and flags are completed here; NLM_F_ACK is added) and reads until the ack or the end of
// the dump. `cb` (may be NULL) gets each answer; a non-zero return ends the call with it. The kernel's extended ack
// text lands in err.
typedef int (*fl_netlink_cb)(const struct nlmsghdr *msg, void *arg);
FL_WUR int fl_netlink_talk(struct fl_netlink *nl, struct nlmsghdr *msg, fl_netlink_cb cb, void *arg,
			   struct fl_err *err);

// Sends a buffer of several complete messages in one write (an nfnetlink transaction: all or nothing) and reads the
// answers that are there when it returns; messages need no NLM_F_ACK, failures always answer. The caller sets every seq
// (fl_netlink_next_seq); *ret_failed_seq (may be NULL) is that of the first message which the kernel refused.
FL_WUR int fl_netlink_batch(struct fl_netlink *nl, const void *buf, size_t len, uint32_t *ret_failed_seq,
			    struct fl_err *err);

// --- rtnetlink. `nl` was opened with NETLINK_ROUTE. Interfaces by index; -ENODEV, -EEXIST, -ENOENT as the kernel says.
// ---
FL_WUR int fl_link_index(struct fl_netlink *nl, const char *name, int *ret, struct fl_err *err);
FL_WUR int fl_link_add_veth(struct fl_netlink *nl, const char *name, const char *peer_name, int peer_netns_fd,
			    unsigned mtu, struct fl_err *err);
FL_WUR int fl_link_del(struct fl_netlink *nl, const char *name, struct fl_err *err);
FL_WUR int fl_link_set_up(struct fl_netlink *nl, int ifindex, bool up, struct fl_err *err);
FL_WUR int fl_addr_replace(struct fl_netlink *nl, int ifindex, const struct fl_ip *ip, uint8_t bits,
			   struct fl_err *err);
// The same, unless the link has that address: -EEXIST, and nobody is told of a change.
FL_WUR int fl_addr_add(struct fl_netlink *nl, int ifindex, const struct fl_ip *ip, uint8_t bits, struct fl_err *err);
FL_WUR int fl_addr_del(struct fl_netlink *nl, int ifindex, const struct fl_ip *ip, uint8_t bits, struct fl_err *err);

#define FL_ROUTE_PROTOCOL 117 // rtm_protocol of every route that is ours: found and removed by it

struct fl_route {
	struct fl_cidr dst;   // family 0: default route
	struct fl_ip gateway; // family 0: none
	struct fl_ip prefsrc; // family 0: none
	int ifindex;          // 0: none
	uint32_t table;       // 0 = main
	uint8_t scope;        // RT_SCOPE_*
	uint8_t type;         // RTN_*; 0 = unicast
	bool onlink;
	uint32_t metric;  // 0: kernel's default
	uint32_t mtu;     // 0: the link's
	uint8_t protocol; // filled by list; replace always writes FL_ROUTE_PROTOCOL
};
FL_WUR int fl_route_replace(struct fl_netlink *nl, const struct fl_route *r, struct fl_err *err);
// The same, unless there is one to that destination with that metric, wherever it leads: -EEXIST.
FL_WUR int fl_route_add(struct fl_netlink *nl, const struct fl_route *r, struct fl_err *err);
FL_WUR int fl_route_del(struct fl_netlink *nl, const struct fl_route *r, struct fl_err *err);
// Calls cb for each route of the main table of both families.
FL_WUR int fl_route_list(struct fl_netlink *nl, void (*cb)(const struct fl_route *r, void *arg), void *arg,
			 struct fl_err *err);

struct fl_addr_info {
	int ifindex;
	char ifname[16];
	struct fl_ip ip;
	uint8_t bits, scope;
	bool secondary, deprecated, tentative;
};
FL_WUR int fl_addr_list(struct fl_netlink *nl, void (*cb)(const struct fl_addr_info *a, void *arg), void *arg,
			struct fl_err *err);

// The address this host would use to reach the world: source of the default route, else the first global address.
// -ENOENT if none.
FL_WUR int fl_host_primary_ip(int family, struct fl_ip *ret, struct fl_err *err);

// --- sysctl by path under /proc/sys, e.g. "net/ipv4/ip_forward". Read strips the newline. ---
FL_WUR int fl_sysctl_read(const char *path, char *buf, size_t size, struct fl_err *err);
FL_WUR int fl_sysctl_write(const char *path, const char *value, struct fl_err *err);
