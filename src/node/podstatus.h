// SPDX-License-Identifier: Apache-2.0
// Pod.status from what the node knows: phase, conditions, container states, worded as kubelet words them
// (kubelet_pods.go generateAPIPodStatus, status/generate.go). Pure.
#pragma once

#include "base/ip.h"
#include "node/podspec.h"

enum fl_cstate { FL_CSTATE_WAITING, FL_CSTATE_RUNNING, FL_CSTATE_TERMINATED };

struct fl_cstate_view {
	enum fl_cstate kind;
	const char *reason, *message;    // waiting, terminated; message may be NULL
	int exit_code;                   // terminated
	int64_t started_ns, finished_ns; // 0: unknown
	const char *container_id;        // "runc://..."; NULL: none
};

struct fl_container_view {
	struct fl_cstate_view now, last;
	bool has_last;
	bool ready, started;
	unsigned restarts;
	const char *image;    // long name of the image that runs; NULL: as the specification has it
	const char *image_id; // NULL: not known yet
};

enum fl_pod_condition {
	FL_POD_READY_TO_START,
	FL_POD_INITIALIZED,
	FL_POD_READY,
	FL_POD_CONTAINERS_READY,
	FL_POD_SCHEDULED,
	FL_POD_CONDITION_COUNT
};

struct fl_pod_view {
	const struct fl_pod_spec *spec;
	const struct fl_json *old_status; // the object's: conditions of others are kept; may be NULL
	const struct fl_ip *ips, *host_ips;
	unsigned n_ips, n_host_ips;
	int64_t start_ns, now_ns;
	bool network_ready;
	bool ended;                                 // nothing will run again
	bool rejected;                              // its containers have no states: it was never taken up
	const char *reason, *message;               // of a pod that failed as a whole; NULL: none
	const struct fl_container_view *containers; // as in spec->containers
};

// When each condition took its present value; kept by the caller between calls. Zeroed: taken from old_status.
struct fl_pod_transitions {
	int64_t since_ns[FL_POD_CONDITION_COUNT];
	signed char value[FL_POD_CONDITION_COUNT]; // 0 unknown, 1 true, -1 false
};

const char *fl_pod_phase(const struct fl_pod_view *v); // "Pending", "Running", "Succeeded", "Failed"
struct fl_json *fl_pod_status(struct fl_arena *a, const struct fl_pod_view *v, struct fl_pod_transitions *t);
