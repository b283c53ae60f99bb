// SPDX-License-Identifier: Apache-2.0
// Which pods stand behind a Service, on which ports and addresses: what Endpoints and EndpointSlices are both made of.
#pragma once

#include "controller/pod.h"

struct fl_members_in {
	const struct fl_json *service;
	const struct fl_podview *pods; // all that the selector matches, in the order of their names
	size_t n_pods;
	const char *trigger_time; // RFC 3339 of the change that led here, or NULL
	// The Node's tree, or NULL when there is none of that name.
	const struct fl_json *(*node)(void *arg, const char *name);
	void *arg;
};

#define FL_LABEL_HEADLESS     "service.kubernetes.io/headless"
#define FL_ANNOTATION_TRIGGER "endpoints.kubernetes.io/last-change-trigger-time"

bool fl_members_has_selector(const struct fl_json *service); // and is no ExternalName: its endpoints are ours to write
bool fl_members_publish_all(const struct fl_json *service);  // publishNotReadyAddresses
bool fl_members_is_headless(const struct fl_json *service);
// The container port of a Service port on this pod: the number, or the pod's port of that name and protocol. 0: none.
// (k8s: FindPort; side-car init containers count)
int64_t fl_members_port(const struct fl_podview *p, const struct fl_json *service_port);
// Belongs to endpoints at all; deleted pods only with `deleting_too`. (k8s: ShouldPodBeInEndpoints)
bool fl_members_eligible(const struct fl_podview *p, bool deleting_too);
// The pod's first address of the family ("IPv4", "IPv6"), canonical; NULL when it has none.
const char *fl_members_ip(struct fl_arena *a, const struct fl_podview *p, const char *family);
// spec.hostname where the pod's subdomain names this Service; else NULL.
const char *fl_members_hostname(const struct fl_podview *p, const struct fl_json *service);
// {"kind":"Pod","namespace":...,"name":...,"uid":...}
struct fl_json *fl_members_target(struct fl_arena *a, const struct fl_podview *p);
// metadata.labels of the Service, cloned, without `reserved` (NULL-terminated keys); never NULL.
struct fl_json *fl_members_labels(struct fl_arena *a, const struct fl_json *service, const char *const *reserved);
// Sets the trigger annotation in `meta`, or takes it out; drops an empty annotations map.
void fl_members_set_trigger(struct fl_arena *a, struct fl_json *meta, const char *time);
