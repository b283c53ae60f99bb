// SPDX-License-Identifier: Apache-2.0
// The Node object and its Lease: registration, status, heartbeat (Kubernetes "Nodes", "Leases"; kubelet's periods).
#pragma once

#include "client/client.h"
#include "node/node.h"

struct fl_node_facts { // of this host; strings in the arena they were gathered into
	const char *kernel, *os_image, *machine_id, *system_uuid, *boot_id;
	const char *runtime_version; // "runc://1.1.5"
	int64_t cpu_milli, memory_bytes, disk_bytes;
	unsigned max_pods;
	bool memory_pressure, disk_pressure, pid_pressure;
	const char *firewall;         // what of the host's firewall blocks pods; NULL: nothing
	const struct fl_json *images; // as Node.status.images has them
};

// Reads /proc, /etc/os-release, the file system of data_dir. Never fails: what cannot be read is empty or zero.
void fl_node_facts_read(struct fl_arena *a, const char *data_dir, const char *runtime_version,
			struct fl_node_facts *ret);

// Pure: the object to create, and the status to write. `old` (may be NULL): conditions there keep their transition
// time, and those of others are kept.
struct fl_json *fl_node_object(struct fl_arena *a, const struct fl_node_opts *o, const struct fl_node_facts *f);
struct fl_json *fl_node_status(struct fl_arena *a, const struct fl_node_opts *o, const struct fl_node_facts *f,
			       uint16_t kubelet_port, const struct fl_json *old, int64_t now_ns);

struct fl_heart; // keeps both alive

// Registers now and from then on: Lease every 10 s, status every 5 min and when pressure or images change.
struct fl_heart *fl_heart_start(struct fl_client *c, const struct fl_node_opts *o, const char *runtime_version,
				uint16_t kubelet_port);
// Condition HostFirewallBlocksPods of the Node, there while it is so. NULL: nothing is blocked. Written at once.
void fl_heart_set_firewall(struct fl_heart *h, const char *problem);
void fl_heart_stop(struct fl_heart **h);
