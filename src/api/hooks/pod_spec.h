// SPDX-License-Identifier: Apache-2.0
// A pod's spec, wherever it stands: in a Pod or in the template of a workload. Every kind with a template uses these.
#pragma once

#include "api/kind.h"

// Defaults that depend on other fields: imagePullPolicy by tag, an emptyDir for a volume without source.
// (k8s: SetDefaults_PodSpec, SetDefaults_Container, SetDefaults_Volume)
void fl_pod_spec_set_defaults(struct fl_arena *a, struct fl_json *spec);
// `field` is the path of the spec. (k8s: ValidatePodSpec)
void fl_pod_spec_validate(struct fl_causes *c, const char *field, const struct fl_json *spec);
// containers, initContainers, volumes; parts of the above.
void fl_pod_containers_validate(struct fl_causes *c, const char *field, const struct fl_json *spec);
// What a field of the pod, or a resource of a container, is named by: in env and in downwardAPI volumes.
void fl_pod_field_ref_validate(struct fl_causes *c, const char *field, const struct fl_json *ref, bool volume);
void fl_pod_resource_ref_validate(struct fl_causes *c, const char *field, const struct fl_json *ref, bool volume);
// Affinity, spread, gates, operating system; security contexts.
void fl_pod_placement_validate(struct fl_causes *c, const char *field, const struct fl_json *spec);
void fl_pod_security_validate(struct fl_causes *c, const char *field, const struct fl_json *spec);
void fl_container_security_validate(struct fl_causes *c, const char *field, const struct fl_json *context);
void fl_pod_volumes_validate(struct fl_causes *c, const char *field, const struct fl_json *volumes);

// The template of a workload that keeps its pods running: labels match the selector, restartPolicy Always. `kind` is
// named where the workload itself is at fault: "ReplicaSet", "ReplicationController".
// (k8s: ValidatePodTemplateSpecForReplicaSet, ValidatePodTemplateSpecForRC)
void fl_pod_template_validate(struct fl_causes *c, const char *field, const struct fl_json *template,
			      const struct fl_json *selector, const char *kind);

// "BestEffort", "Burstable" or "Guaranteed". (k8s: GetPodQOS)
const char *fl_pod_qos(const struct fl_json *spec);

// Cells of every workload: names of the containers, their images.
void fl_cells_containers(struct fl_arena *a, struct fl_json *cells, const struct fl_json *template);
