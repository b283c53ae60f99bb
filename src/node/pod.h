// SPDX-License-Identifier: Apache-2.0
// Inside of pods.h: the state of one pod, shared by pods.c (all pods), pod.c (life of a pod), launch.c (start of a
// container) and podwork.c (what blocks).
#pragma once

#include <stdatomic.h>

#include "api/hostport.h"
#include "base/map.h"
#include "base/vec.h"
#include "node/action.h"
#include "node/backoff.h"
#include "node/ctr.h"
#include "node/env.h"
#include "node/ipam.h"
#include "node/podfiles.h"
#include "node/podnet.h"
#include "node/pods.h"
#include "node/podstatus.h"
#include "node/prober.h"

enum pod_stage {
	POD_NEW, // wants its references fetched
	POD_FETCHING,
	POD_SETUP,      // a worker makes network and files
	POD_SETUP_WAIT, // setup failed: again at retry_at_ms
	POD_RUNNING,    // containers are started, probed, restarted
	POD_STOPPING,   // containers are ended for good
	POD_TEARDOWN,   // a worker takes network and files away
	POD_OVER,       // nothing of it is left here but its object; logs stay until that goes
};

enum container_state {
	CONTAINER_WAITING, // not started; the reason is in wait_reason
	CONTAINER_PULLING,
	CONTAINER_QUEUED, // for a start slot
	CONTAINER_STARTING,
	CONTAINER_RUNNING,
	CONTAINER_ENDED,
};

enum container_stop {
	STOP_NOT,
	STOP_HOOK, // preStop runs
	STOP_TURN, // a sidecar waits for those that it serves
	STOP_TERM, // SIGTERM was sent
};

struct run_end { // how a run of a container ended
	int code;
	const char *reason; // static text
	char *message;      // or NULL
	int64_t started_ns, finished_ns;
	bool ran;
	unsigned attempt;
};

struct container {
	struct pod *pod;
	unsigned index; // in the pod's containers
	char *name;
	bool init, sidecar;
	enum container_state state;
	const char *wait_reason; // static text
	char *wait_message;      // or NULL
	uint64_t waits_since_ms;
	uint64_t not_before_ms; // of the next try (pull, configuration)
	unsigned tries;         // failed ones in a row
	unsigned attempt;       // of the run now or next; Kubernetes' restartCount
	struct fl_ctr *ctr;     // STARTING, RUNNING
	struct fl_prober *prober;
	const struct fl_image *image;
	bool image_ready; // asked for, for the run to come
	int64_t started_ns;
	bool was_ready, was_started; // as recorded by an earlier run of the node
	bool has_post_start, has_pre_stop;
	int stop_signal;    // lifecycle.stopSignal; 0: the image's
	bool logs_are_told; // terminationMessagePolicy FallbackToLogsOnError
	bool in_post_start; // it runs, or failed: the container does not count as running
	struct fl_action *hook;
	struct fl_action_place place; // of the run now; strings in place_arena
	struct fl_arena place_arena;
	enum container_stop stop;
	uint64_t stop_deadline_ms;       // end of the grace period
	uint64_t term_ms, kill_again_ms; // SIGTERM was sent; next SIGKILL after the first
	struct run_end now, last;        // now: ENDED; last: the run before
	bool has_last;
	uint64_t ended_ms;
	struct fl_backoff backoff;
	bool told_backoff;
	bool has_slot;
};

struct fl_docs { // ConfigMaps and Secrets of a pod; shared with the worker that writes its volumes
	unsigned refs;
	struct fl_arena arena;
	struct fl_map by_key; // "c/<name>", "s/<name>" -> struct fl_json
};

struct pod {
	struct fl_pods *pods;
	unsigned refs; // the table, and each request or job under way
	char *uid, *ns, *name, *dir;
	struct fl_object *obj; // newest
	enum pod_stage stage;
	bool dead;                 // left the table
	bool net_told;             // that its network cannot be put back
	bool in_api;               // false: removed there, or not known yet
	bool seen;                 // told since the last list
	bool doomed;               // to be stopped and forgotten
	bool ended;                // by itself: Succeeded or Failed
	bool cleared;              // network, files and logs are removed
	bool rejected;             // cannot run at all: why is in reject_message
	const char *reject_reason; // static text
	char *reject_message;
	char *fail_reason, *fail_message; // ended by the node (fail.c); NULL: it was not
	int64_t deadline_s;               // of its activity, since start_ns; -1: none
	uint64_t measure_at_ms;           // its storage; 0: it has no limit, UINT64_MAX: that is done now
	bool silent;                      // is over by what the API knows: its status is left as it is
	bool host_network;
	struct fl_ip ips[2];
	unsigned n_ips;
	struct fl_host_port *host_ports;
	unsigned n_host_ports;
	bool holds_ports; // they are its own; others have to wait or fail
	int64_t start_ns;
	int64_t grace_s;
	uint64_t retry_at_ms;
	unsigned tries;
	uint64_t stop_at_ms; // deadline of the stop
	struct fl_pod_transitions transitions;
	uv_timer_t timer;
	struct container *containers;
	unsigned n_containers, n_init;
	enum fl_restart_policy restart;
	struct fl_docs *docs; // what it refers to, as last read as a whole; NULL: not yet
	struct fl_docs *next; // being read
	struct fl_map named;  // "c/<name>", "s/<name>": followed
	unsigned fetches;
	bool fetch_failed;  // the API did not answer: read again at retry_at_ms
	bool docs_stale;    // one changed
	bool docs_missing;  // one was not there when a container wanted it: read again at retry_at_ms, told or not
	bool volumes_stale; // they may not show what was read
	bool updating;      // a worker writes them
	bool status_busy, status_wanted, deleting;
	uint64_t status_hash, status_first_ms, status_at_ms, delete_at_ms;
	unsigned status_tries;
};

struct fl_pods {
	struct fl_pods_opts o;
	struct fl_map table; // uid -> struct pod
	struct fl_images *images;
	struct fl_http_client *http; // probes
	struct fl_ipam ipam[2];
	unsigned n_ipam;
	bool synced, closing;
	bool may_lower_oom_score;
	bool measuring;                   // the storage of one of them
	atomic_bool stop_measuring;       // the node ends: it does not wait for a walk of millions of files
	unsigned slots;                   // containers that may be starting at once
	FL_VEC(struct container *) queue; // CONTAINER_QUEUED, in order
	unsigned jobs;                    // in the thread pool
};

// pods.c
void fl_pod_ref(struct pod *p);
void fl_pod_unref(struct pod *p);
void fl_pod_forget(struct pod *p); // out of the table
__attribute__((format(printf, 4, 5))) void fl_pod_event(struct pod *p, const char *type, const char *reason,
							const char *fmt, ...);

// pod.c
void fl_pod_kick(struct pod *p); // looks at the pod in the next turn of the loop
void fl_pod_on_timer(uv_timer_t *timer);
// refs.c: ConfigMaps and Secrets
void fl_pod_fetch(struct pod *p);                     // starts to read what the pod refers to, and follows it
void fl_pod_refs_look(struct pod *p, uint64_t *next); // reads again and rewrites volumes where that is due
void fl_pod_unfollow(struct pod *p);
struct fl_docs *fl_docs_get(struct fl_docs *d);
void fl_docs_put(struct fl_docs **d);
const struct fl_json *fl_docs_lookup(void *docs, bool secret, const char *name); // fl_env_source.lookup

void fl_pod_release_ips(struct pod *p);
// It cannot run on this node: Failed, with an Event (kubelet's rejectPod). reason: static text.
void fl_pod_reject(struct pod *p, const char *reason, const char *why);
void fl_pod_setup_done(struct pod *p, int rc, const char *message); // from podwork.c
void fl_pod_teardown_done(struct pod *p, int rc, const char *message);
bool fl_pod_has_ended(const struct pod *p);            // by itself: nothing of it runs or will run
bool fl_container_restarts(const struct container *c); // would be started again after it ended
bool fl_container_pauses(const struct container *c);   // CrashLoopBackOff: told as the run before, until the next one
void fl_container_next_run(struct container *c);       // ENDED: waits to be started as the next attempt

#define FL_PULL_ERROR_SHOWN_MS 1000 // ErrImagePull, before it reads ImagePullBackOff
#define FL_IMPORT_LOOK_MS      3000 // whether an image that could not be pulled was imported

// fail.c: pods that the node ends
void fl_pod_fail(struct pod *p, const char *reason, const char *message, int64_t grace_s);
bool fl_pod_fail_find(struct pod *p); // an earlier run of the node had begun to
void fl_pod_deadline_look(struct pod *p, uint64_t *next);
void fl_pod_read_limits(struct pod *p, const struct fl_pod_spec *spec);
void fl_pod_measure_look(struct pod *p, uint64_t *next);

// ports.c: ports of the host
void fl_pod_read_ports(struct pod *p, const struct fl_json *root);
// -EBUSY: a pod that is about to end has one of them, or a program of the host. -EEXIST: a pod that stays has.
FL_WUR int fl_pod_take_ports(struct pod *p, struct fl_err *err);
void fl_pod_release_ports(struct pod *p);
FL_WUR int fl_pods_open_ports(struct fl_pods *pods, struct fl_err *err); // of all pods that run, and of no others
FL_WUR int fl_pods_keep_ports(struct fl_pods *pods, struct fl_err *err); // the same, if their tables are gone

// launch.c
void fl_container_unqueue(struct container *c);     // QUEUED: back to WAITING
void fl_container_launch(struct container *c);      // WAITING and allowed to run: one step further
void fl_container_adopt(struct container *c);       // finds out what an earlier run of the node left of it
void fl_container_again(struct container *c);       // ENDED: runs once more, whatever its end was; on disk too
bool fl_container_lives(const struct container *c); // its shim, as the files tell
void fl_container_running(struct container *c);     // after its start and postStart: probes begin
void fl_container_release(struct container *c);     // frees what it holds; the container goes on
char *fl_container_dir(const struct container *c, unsigned attempt);
char *fl_container_log(const struct container *c, unsigned attempt);
void fl_container_wait(struct container *c, const char *reason, const char *message, uint64_t delay_ms);
void fl_run_end_clear(struct run_end *e);

// stop.c: hooks and the end
void fl_container_place(struct container *c); // of the run that begins: before any action
void fl_container_post_start(struct container *c);
void fl_container_stop(struct container *c, int64_t grace_s); // begins it, or shortens the grace period
void fl_container_stop_look(struct container *c, bool turn, uint64_t *next);

static inline void fl_earliest(uint64_t *next, uint64_t at)
{
	if (at < *next)
		*next = at;
}

// pull.c
void fl_container_pull(struct container *c);              // PULLING, or WAITING at once when that is settled
bool fl_container_pull_wait(struct container *c);         // WAITING until not_before_ms; true: need not wait any more
bool fl_container_lacks_image(const struct container *c); // waits to ask for it again

// podstate.c: what is told
void fl_pod_tell(struct pod *p);   // writes status where it changed
void fl_pod_delete(struct pod *p); // the object, when nothing is left here
void fl_pod_view(struct pod *p, const struct fl_pod_spec *spec, struct fl_arena *a, struct fl_pod_view *ret);

// podwork.c
void fl_pod_setup_start(struct pod *p);
char *fl_pod_setup_mark(const struct pod *p);               // file that is there when a setup came to its end; free()
void fl_pod_teardown_start(struct pod *p, bool everything); // everything: with its directory, and so its logs
void fl_pod_update_start(struct pod *p);                    // writes volumes anew
void fl_work_remove(struct fl_pods *pods, char *path);      // takes path; removes a tree in the background
