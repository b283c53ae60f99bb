// SPDX-License-Identifier: Apache-2.0
// Embeds the documents with .incbin. Paths are relative to the checkout's root, where make runs; src/api/rules.mk
// rebuilds this file when a document changes. They stay read-only file pages: what nobody reads is never loaded.
#include "api/kinds/embed.h"

#include <stddef.h>

#define KINDS(X)                                                                                                       \
	X(configmaps, "configmaps.json")                                                                               \
	X(controllerrevisions, "controllerrevisions.apps.json")                                                        \
	X(customresourcedefinitions, "customresourcedefinitions.apiextensions.k8s.io.json")                            \
	X(deployments, "deployments.apps.json")                                                                        \
	X(endpoints, "endpoints.json")                                                                                 \
	X(endpointslices, "endpointslices.discovery.k8s.io.json")                                                      \
	X(events, "events.json")                                                                                       \
	X(events_events, "events.events.k8s.io.json")                                                                  \
	X(leases, "leases.coordination.k8s.io.json")                                                                   \
	X(localsubjectaccessreviews, "localsubjectaccessreviews.authorization.k8s.io.json")                            \
	X(namespaces, "namespaces.json")                                                                               \
	X(nodes, "nodes.json")                                                                                         \
	X(pods, "pods.json")                                                                                           \
	X(replicasets, "replicasets.apps.json")                                                                        \
	X(replicationcontrollers, "replicationcontrollers.json")                                                       \
	X(secrets, "secrets.json")                                                                                     \
	X(selfsubjectaccessreviews, "selfsubjectaccessreviews.authorization.k8s.io.json")                              \
	X(selfsubjectreviews, "selfsubjectreviews.authentication.k8s.io.json")                                         \
	X(selfsubjectrulesreviews, "selfsubjectrulesreviews.authorization.k8s.io.json")                                \
	X(serviceaccounts, "serviceaccounts.json")                                                                     \
	X(services, "services.json")                                                                                   \
	X(subjectaccessreviews, "subjectaccessreviews.authorization.k8s.io.json")

#define DEFINITIONS(X)                                                                                                 \
	X(d_apiextensions, "definitions/apiextensions-apiserver.json")                                                 \
	X(d_apps, "definitions/apps.json")                                                                             \
	X(d_authentication, "definitions/authentication.json")                                                         \
	X(d_authorization, "definitions/authorization.json")                                                           \
	X(d_autoscaling, "definitions/autoscaling.json")                                                               \
	X(d_coordination, "definitions/coordination.json")                                                             \
	X(d_core, "definitions/core.json")                                                                             \
	X(d_discovery, "definitions/discovery.json")                                                                   \
	X(d_events, "definitions/events.json")                                                                         \
	X(d_meta, "definitions/meta.json")                                                                             \
	X(d_policy, "definitions/policy.json")

#define EMBED(sym, file)                                                                                               \
	__asm__(".section .rodata\n"                                                                                   \
		".global fl_doc_" #sym "\n"                                                                            \
		"fl_doc_" #sym ":\n"                                                                                   \
		".incbin \"src/api/kinds/" file "\"\n"                                                                 \
		".global fl_doc_" #sym "_end\n"                                                                        \
		"fl_doc_" #sym "_end:\n"                                                                               \
		".byte 0\n"                                                                                            \
		".previous\n");                                                                                        \
	extern const char fl_doc_##sym[], fl_doc_##sym##_end[];

#define VALUE(sym, file)                                                                                               \
	{                                                                                                              \
		file, fl_doc_##sym, fl_doc_##sym##_end                                                                 \
	}
#define ENTRY(sym, file) VALUE(sym, file),

#define DESCRIPTIONS(X) X(descriptions, "descriptions.json")

KINDS(EMBED)
DESCRIPTIONS(EMBED)
DEFINITIONS(EMBED)

const struct fl_doc fl_descriptions_doc = DESCRIPTIONS(VALUE);
const struct fl_doc fl_kind_docs[] = {KINDS(ENTRY){NULL, NULL, NULL}};
const struct fl_doc fl_definition_docs[] = {DEFINITIONS(ENTRY){NULL, NULL, NULL}};
