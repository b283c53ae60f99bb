#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes src/api/kinds/definitions/*.json from what a Kubernetes API server publishes.

The definitions are committed, so a build never runs this. It is run by hand when a kind is added or when Kubernetes
changed a type:

    tools/kinds-from-openapi.py RECORDING definitions    # everything the documents in src/api/kinds/ reach
    tools/kinds-from-openapi.py RECORDING skeleton services [GROUP]   # a first document for a new kind, on stdout

RECORDING is a folder with
    openapi/*.json     {"schemas": {...}} of each /openapi/v3/... document
    proto-fields.tsv   package, message, field, number, label, type
    tables.json        path -> {"kind", "columns"}
    discovery/aggregated-api.json, aggregated-apis.json

OpenAPI leaves out what only the Go types and Kubernetes' defaulting code say; that is written in the tables below:
constant defaults, which scalar fields are pointers in Go (so that an explicit zero is kept), and protobuf numbers of
fields that Go inlines.
"""
import glob
import json
import os
import sys

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "src", "api", "kinds")
REF = "#/components/schemas/"
META = "io.k8s.apimachinery.pkg.apis.meta.v1."

# Types that are bodies or answers of every kind and that no kind's schema refers to.
ALWAYS = [META + n for n in ("Status", "DeleteOptions", "ListMeta", "Patch", "WatchEvent", "APIResourceList",
                             "APIGroup", "APIGroupList", "LabelSelector", "Condition", "MicroTime")] + \
         ["io.k8s.api.autoscaling.v1.Scale", "io.k8s.api.core.v1.Binding", "io.k8s.api.policy.v1.Eviction"]

# Constant defaults of pkg/apis/*/v1/defaults.go, beside those that OpenAPI shows. Defaults that depend on other fields
# are the hooks' business.
DEFAULTS = {
    "core.v1.ServiceSpec": {"type": "ClusterIP", "sessionAffinity": "None"},
    "core.v1.PodSpec": {"restartPolicy": "Always", "dnsPolicy": "ClusterFirst", "terminationGracePeriodSeconds": 30,
                        "schedulerName": "default-scheduler", "securityContext": {}},
    "core.v1.Container": {"terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File"},
    "core.v1.EphemeralContainer": {"terminationMessagePath": "/dev/termination-log",
                                   "terminationMessagePolicy": "File"},
    "core.v1.Probe": {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3},
    "core.v1.HTTPGetAction": {"path": "/", "scheme": "HTTP"},
    "core.v1.SecretVolumeSource": {"defaultMode": 420},
    "core.v1.ConfigMapVolumeSource": {"defaultMode": 420},
    "core.v1.DownwardAPIVolumeSource": {"defaultMode": 420},
    "core.v1.ProjectedVolumeSource": {"defaultMode": 420},
    "core.v1.ServiceAccountTokenProjection": {"expirationSeconds": 3600},
    "core.v1.HostPathVolumeSource": {"type": ""},
    "core.v1.ObjectFieldSelector": {"apiVersion": "v1"},
    "core.v1.PersistentVolumeClaimSpec": {"volumeMode": "Filesystem"},
    "core.v1.EndpointPort": {"protocol": "TCP"},
    "core.v1.Secret": {"type": "Opaque"},
    # None: what OpenAPI shows is no default of the stored object.
    "core.v1.ReplicationControllerSpec": {"replicas": 1, "minReadySeconds": None},
    "discovery.v1.EndpointPort": {"name": "", "protocol": "TCP"},
    "apps.v1.DeploymentSpec": {"replicas": 1, "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600},
    "apps.v1.DeploymentStrategy": {"type": "RollingUpdate"},
    "apps.v1.ReplicaSetSpec": {"replicas": 1},
}

# How Go's custom decoders and protobuf see these.
FORMATS = {
    META + "Time": "time",
    META + "MicroTime": "micro-time",
    META + "Duration": "duration",
    META + "FieldsV1": "any",
    META + "Patch": "any",
    "io.k8s.apimachinery.pkg.runtime.RawExtension": "any",
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": "int-or-string",
    "io.k8s.apimachinery.pkg.api.resource.Quantity": "quantity",
}

# Scalar fields that are pointers in Go: absent and zero differ. "*" is every definition that has such a field.
POINTERS = {
    "*": "revisionHistoryLimit progressDeadlineSeconds terminationGracePeriodSeconds "
         "activeDeadlineSeconds optional defaultMode mode expirationSeconds tolerationSeconds "
         "deletionGracePeriodSeconds remainingItemCount controller blockOwnerDeletion gracePeriodSeconds "
         "orphanDependents automountServiceAccountToken shareProcessNamespace enableServiceLinks "
         "setHostnameAsFQDN hostUsers preemptionPolicy priority runtimeClassName hostnameOverride immutable "
         "propagationPolicy ignoreStoreReadErrorWithClusterBreakingPotential maxSurge maxUnavailable "
         "maxExpirationSeconds",
    "apps.v1.DeploymentSpec": "replicas",
    "apps.v1.ReplicaSetSpec": "replicas",
    "core.v1.ReplicationControllerSpec": "replicas",
    # No pointer in Go, but a scale to nothing must not read as "not said".
    "autoscaling.v1.ScaleSpec": "replicas",
    "core.v1.ServiceSpec": "allocateLoadBalancerNodePorts internalTrafficPolicy ipFamilyPolicy loadBalancerClass "
                           "trafficDistribution",
    "core.v1.ServicePort": "appProtocol",
    "core.v1.EndpointPort": "appProtocol",
    "core.v1.EndpointAddress": "nodeName",
    "core.v1.ClientIPConfig": "timeoutSeconds",
    "core.v1.LoadBalancerIngress": "ipMode",
    "core.v1.PortStatus": "error",
    "core.v1.GRPCAction": "service",
    "core.v1.Container": "restartPolicy",
    "core.v1.EphemeralContainer": "restartPolicy",
    "core.v1.SecurityContext": "privileged runAsUser runAsGroup runAsNonRoot readOnlyRootFilesystem "
                               "allowPrivilegeEscalation procMount",
    "core.v1.PodSecurityContext": "runAsUser runAsGroup runAsNonRoot fsGroup fsGroupChangePolicy "
                                  "supplementalGroupsPolicy seLinuxChangePolicy",
    "core.v1.SeccompProfile": "localhostProfile",
    "core.v1.AppArmorProfile": "localhostProfile",
    "core.v1.WindowsSecurityContextOptions": "gmsaCredentialSpecName gmsaCredentialSpec runAsUserName hostProcess",
    "core.v1.VolumeMount": "recursiveReadOnly mountPropagation",
    "core.v1.VolumeMountStatus": "recursiveReadOnly",
    "core.v1.Lifecycle": "stopSignal",
    "core.v1.HostPathVolumeSource": "type",
    "core.v1.AzureDiskVolumeSource": "cachingMode fsType readOnly kind",
    "core.v1.CSIVolumeSource": "readOnly fsType",
    "core.v1.FCVolumeSource": "lun",
    "core.v1.ISCSIVolumeSource": "initiatorName",
    "core.v1.PersistentVolumeClaimSpec": "storageClassName volumeMode volumeAttributesClassName",
    "core.v1.TypedLocalObjectReference": "apiGroup",
    "core.v1.TypedObjectReference": "apiGroup namespace",
    "core.v1.ClusterTrustBundleProjection": "name signerName",
    "core.v1.PodDNSConfigOption": "value",
    "core.v1.PodResourceClaim": "resourceClaimName resourceClaimTemplateName",
    "core.v1.PodResourceClaimStatus": "resourceClaimName",
    "core.v1.TopologySpreadConstraint": "minDomains nodeAffinityPolicy nodeTaintsPolicy",
    "core.v1.ContainerStatus": "started stopSignal",
    "core.v1.NodeSwapStatus": "capacity",
    "core.v1.NodeFeatures": "supplementalGroupsPolicy",
    "core.v1.NodeRuntimeHandlerFeatures": "recursiveReadOnlyMounts userNamespaces",
    "core.v1.PodSchedulingGroup": "podGroupName",
    "apps.v1.DeploymentStatus": "collisionCount terminatingReplicas",
    "apps.v1.ReplicaSetStatus": "terminatingReplicas",
    "coordination.v1.LeaseSpec": "holderIdentity leaseDurationSeconds leaseTransitions strategy preferredHolder",
    "discovery.v1.Endpoint": "hostname nodeName zone",
    "discovery.v1.EndpointConditions": "ready serving terminating",
    "discovery.v1.EndpointPort": "name protocol port appProtocol",
    "apimachinery.pkg.apis.meta.v1.Preconditions": "uid resourceVersion",
}

COLUMN_TEXT = {
    "Name": "Name of the object, unique in its namespace.",
    "Age": "Time since the object was created.",
    "Selector": "Labels of the pods that it selects.",
    "Containers": "Names of the containers of its pods.",
    "Images": "Images of the containers of its pods.",
}


def load(recording):
    schemas, order = {}, []
    for path in sorted(glob.glob(os.path.join(recording, "openapi", "*.json"))):
        with open(path, encoding="utf-8") as f:
            for name, schema in json.load(f)["schemas"].items():
                if name not in schemas:
                    schemas[name] = schema
                    order.append(name)
    proto = {}
    with open(os.path.join(recording, "proto-fields.tsv"), encoding="utf-8") as f:
        next(f)
        for line in f:
            package, message, field, number, _, kind = line.rstrip("\n").split("\t")
            package = package.replace("apiextensions_apiserver", "apiextensions-apiserver")
            proto.setdefault("io.k8s." + package.removeprefix("k8s.io.") + "." + message, []).append((field, int(number), kind))
    return schemas, proto


def refs(node):
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "$ref" and isinstance(value, str):
                yield value[len(REF):]
            else:
                yield from refs(value)
    elif isinstance(node, list):
        for value in node:
            yield from refs(value)


def reach(schemas, roots):
    seen, todo = set(), [r for r in roots if r in schemas]
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.add(name)
            todo.extend(refs(schemas[name]))
    return seen


def proto_path(proto, definition, prop, depth=0):
    """Numbers of a JSON property; through messages that stand for inlined Go structs where it is not there itself."""
    fields = proto.get(definition, [])
    for field, number, _ in fields:
        if field.lower() == prop.lower():
            return [number]
    if depth == 2:
        return None
    package = definition.rsplit(".", 1)[0]
    for field, number, kind in fields:
        inner = package + "." + kind
        # Go's protobuf generator names an inlined struct's field after its type.
        if inner in proto and (field.lower() == kind.lower() or (field, kind) == ("handler", "ProbeHandler")):
            path = proto_path(proto, inner, prop, depth + 1)
            if path:
                return [number] + path
    return None


def short(name):
    return name[len("io.k8s.api."):] if name.startswith("io.k8s.api.") else name[len("io.k8s."):]


def convert(name, schema, proto, missing):
    out = dict(schema)
    if name in FORMATS:
        out["x-fairlead-format"] = FORMATS[name]
    if "properties" not in schema:
        return out
    props = {}
    pointers = set(POINTERS["*"].split()) | set(POINTERS.get(short(name), "").split())
    defaults = DEFAULTS.get(short(name), {})
    for prop, node in schema["properties"].items():
        node = dict(node)
        if prop in defaults:
            node["default"] = defaults[prop]
            if defaults[prop] is None:
                del node["default"]
        if prop not in ("kind", "apiVersion") or "x-kubernetes-group-version-kind" not in schema:
            path = proto_path(proto, name, prop)
            if path:
                node["x-fairlead-proto"] = ".".join(map(str, path))
            elif name in proto:
                missing.append(name + "." + prop)
        scalar = node.get("type") in ("string", "integer", "boolean", "number") or "intstr.IntOrString" in str(node)
        # OpenAPI shows a struct that Go holds by value as a default of {}; one of ours is set by code, behind a pointer.
        if (prop in pointers and scalar) or defaults.get(prop) == {}:
            node["x-fairlead-pointer"] = True
        props[prop] = node
    for prop in defaults:
        if prop not in props:
            sys.exit(f"default of an unknown field {name}.{prop}")
    out["properties"] = props
    return out


def group_of(name):
    if name.startswith("io.k8s.api."):
        return name.split(".")[3]
    return "meta" if name.startswith("io.k8s.apimachinery.") else name.split(".")[2]


def write_definitions(recording):
    schemas, proto = load(recording)
    roots = list(ALWAYS)
    for path in glob.glob(os.path.join(ROOT, "*.json")):
        if os.path.basename(path) == "descriptions.json":
            continue
        with open(path, encoding="utf-8") as f:
            definition = json.load(f)["schema"]["$ref"][len(REF):]
        roots += [definition] + [definition + "List"] * (definition + "List" in schemas)  # a review has no list
        if definition not in schemas:
            sys.exit(f"{path}: the recording does not have {definition}")
    missing, files = [], {}
    for name in sorted(reach(schemas, roots)):
        files.setdefault(group_of(name), []).append((name, convert(name, schemas[name], proto, missing)))
    for line in missing:
        print("no protobuf number:", line, file=sys.stderr)
    folder = os.path.join(ROOT, "definitions")
    os.makedirs(folder, exist_ok=True)
    for group, definitions in files.items():
        with open(os.path.join(folder, group + ".json"), "w", encoding="utf-8") as f:
            f.write("{\n" + ",\n".join(json.dumps(n) + ":" + body(s) for n, s in definitions) + "\n}\n")
    print({g: len(d) for g, d in files.items()}, file=sys.stderr)


def body(schema):
    """One line for the schema itself and one for each property: compact in the executable, readable as a diff."""
    dump = lambda v: json.dumps(v, separators=(",", ":"), ensure_ascii=False)
    props = schema.get("properties")
    rest = {k: v for k, v in sorted(schema.items()) if k != "properties"}
    if not props:
        return dump(rest)
    lines = ",\n".join(dump(p) + ":" + dump(dict(sorted(n.items()))) for p, n in sorted(props.items()))
    return dump(rest)[:-1] + ',"properties":{\n' + lines + "}}"


def skeleton(recording, plural, group):
    with open(os.path.join(recording, "discovery", "aggregated-apis.json" if group else "aggregated-api.json"),
              encoding="utf-8") as f:
        groups = json.load(f)["body"]["items"]
    item = next(g for g in groups if g.get("metadata", {}).get("name", "") == group)
    version = item["versions"][0]["version"]
    resource = next(r for r in item["versions"][0]["resources"] if r["resource"] == plural)
    with open(os.path.join(recording, "tables.json"), encoding="utf-8") as f:
        table = json.load(f)[("/apis/" + group if group else "/api") + "/" + version + "/" + plural]
    kind = resource["responseKind"]["kind"]
    suffix = "." + version + "." + kind
    schemas, _ = load(recording)
    definition = next(n for n, s in schemas.items() if n.endswith(suffix) and any(
        g["group"] == group and g["kind"] == kind for g in s.get("x-kubernetes-group-version-kind", [])))
    names = {"kind": kind, "listKind": kind + "List", "plural": plural, "singular": resource["singularResource"]}
    for key in ("shortNames", "categories"):
        if resource.get(key):
            names[key] = resource[key]
    subs = {}
    for s in resource.get("subresources", []):
        rk = s["responseKind"]
        subs[s["subresource"]] = {"group": rk["group"], "version": rk["version"], "kind": rk["kind"],
                                  "verbs": s["verbs"]}
    columns = [{"name": c["name"], "type": c["type"], "format": c["format"], "priority": c["priority"],
                "description": COLUMN_TEXT.get(c["name"], "")} for c in table["columns"]]
    doc = {"group": group, "version": version, "names": names, "scope": resource["scope"],
           "schema": {"$ref": REF + definition}, "verbs": resource["verbs"], "subresources": subs,
           "hooks": resource["singularResource"], "columns": columns}
    for c in doc["columns"]:
        for key in [k for k, v in c.items() if v in ("", 0)]:
            del c[key]
    print(json.dumps(doc, indent=2))


def main():
    if len(sys.argv) == 3 and sys.argv[2] == "definitions":
        write_definitions(sys.argv[1])
    elif len(sys.argv) in (4, 5) and sys.argv[2] == "skeleton":
        skeleton(sys.argv[1], sys.argv[3], sys.argv[4] if len(sys.argv) == 5 else "")
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
