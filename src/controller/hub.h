// SPDX-License-Identifier: Apache-2.0
// What all controllers stand on: one informer per kind, whose changes every controller may hear; work queues that begin
// when all caches are filled; and writes that put their answers into the caches at once.
//
//   informer --change--> controllers' handlers --key--> queue --> reconcile: caches in, plan out --> writes
//       ^                                                                                             |
//       '----------------------------- answers of the writes -----------------------------------------'
#pragma once

#include "client/informer.h"
#include "client/workqueue.h"

struct fl_hub;

enum fl_hub_kind {
	FL_HUB_NAMESPACES,
	FL_HUB_NODES,
	FL_HUB_PODS,
	FL_HUB_SERVICES,
	FL_HUB_ENDPOINTS,
	FL_HUB_ENDPOINTSLICES,
	FL_HUB_DEPLOYMENTS,
	FL_HUB_REPLICASETS,
	FL_HUB_REPLICATIONCONTROLLERS,
	// Parts of their kinds. What is written to them comes into these caches with the watch, not with the answer.
	FL_HUB_LEASES,       // of nodes: namespace kube-node-lease
	FL_HUB_ACCOUNTS,     // ServiceAccounts named "default"
	FL_HUB_CERTIFICATES, // ConfigMaps named "kube-root-ca.crt"
	FL_HUB_KIND_COUNT,
};

typedef void (*fl_hub_change)(void *arg, const struct fl_object *old, const struct fl_object *new_obj);

struct fl_hub *fl_hub_new(struct fl_client *c);
FL_WUR int fl_hub_start(struct fl_hub *h, struct fl_err *err); // after every listen
void fl_hub_free(struct fl_hub **h);                           // ends informers, queues and writes

void fl_hub_listen(struct fl_hub *h, enum fl_hub_kind kind, fl_hub_change on_change, void *arg);
// For a listener, about the objects it was given: the tree, made once for all listeners. Valid until it returns.
const struct fl_json *fl_hub_tree(struct fl_hub *h, const struct fl_object *o); // o NULL: NULL
// For a listener: the change is the answer to a write of that queue's own reconcile, which knows what it wrote.
bool fl_hub_own_answer(const struct fl_hub *h, const struct fl_workqueue *queue);
void fl_hub_on_synced(struct fl_hub *h, void (*fn)(void *arg), void *arg); // before the queues begin
// Paused until all caches are filled and fl_hub_lead was called; freed by the hub.
struct fl_workqueue *fl_hub_queue(struct fl_hub *h, unsigned concurrency, void (*work)(void *arg, const char *key),
				  void *arg);

// Such a queue stays paused beyond that, until its owner releases it.
void fl_hub_hold(struct fl_hub *h, struct fl_workqueue *queue);
void fl_hub_release(struct fl_hub *h, struct fl_workqueue *queue);
// This process is the one that acts: before it, all queues stay paused and caches are only kept.
void fl_hub_lead(struct fl_hub *h);
void fl_hub_stand_down(struct fl_hub *h); // at once and for good: writes under way are dropped
// For who begins writes outside a queue's work, after an answer to something else.
bool fl_hub_leads(const struct fl_hub *h);

struct fl_client *fl_hub_client(const struct fl_hub *h);
uv_loop_t *fl_hub_loop(const struct fl_hub *h);
bool fl_hub_synced(const struct fl_hub *h);
struct fl_informer *fl_hub_informer(const struct fl_hub *h, enum fl_hub_kind kind);
const struct fl_gvr *fl_hub_gvr(enum fl_hub_kind kind);
bool fl_hub_is_part(enum fl_hub_kind kind); // not all objects of the kind
// The informer of a resource that is one of the kinds above, or was given to fl_hub_add_informer; else NULL.
struct fl_informer *fl_hub_informer_of(const struct fl_hub *h, const struct fl_gvr *gvr);
// Lets writes find an informer that a controller owns itself. `gvr` and `i` outlive the hub.
void fl_hub_add_informer(struct fl_hub *h, const struct fl_gvr *gvr, struct fl_informer *i);
const struct fl_object *fl_hub_find(const struct fl_hub *h, enum fl_hub_kind kind, const char *ns, const char *name);
// A namespace that is being deleted: nothing can be created in it. One that the cache does not have may be too new.
bool fl_hub_ns_closed(const struct fl_hub *h, const char *ns);

// Keys: "namespace/name", or "name" for cluster-scoped objects.
#define FL_KEY_LEN 384 // 63 + 1 + 253 and the end, rounded up
const char *fl_key_format(char buf[static FL_KEY_LEN], const char *ns, const char *name);
const char *fl_key_of(char buf[static FL_KEY_LEN], const struct fl_object *o);
void fl_key_split(const char *key, char ns[static FL_KEY_LEN], const char **ret_name); // name points into key
