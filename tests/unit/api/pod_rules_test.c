// SPDX-License-Identifier: Apache-2.0
// Pods and the workloads that make them.
#include "kind_rules.h"

#define META "\"metadata\":{\"name\":\"x\",\"namespace\":\"d\"}"

static struct result pod(const char *spec, const struct fl_json *old)
{
	return write_of(kind_of("v1", "Pod"), fl_arena_printf(&arena, "{" META ",\"spec\":%s}", spec), old, NULL);
}

static const struct fl_json *container(const struct result *r, size_t i)
{
	return fl_json_index(fl_json_path(r->obj, "spec", "containers", NULL), i);
}

static void pull_policy_by_tag(void **state)
{
	static const char *const cases[][2] = {
	    {"nginx", "Always"},
	    {"nginx:latest", "Always"},
	    {"nginx:1.27", "IfNotPresent"},
	    {"host:5000/nginx", "Always"},
	    {"host:5000/nginx:1", "IfNotPresent"},
	    {"nginx@sha256:0123", "IfNotPresent"},
	    {"nginx:latest@sha256:0123", "Always"},
	    {"fairlead/echo:latest-1", "IfNotPresent"},
	};

	for (size_t i = 0; i < FL_COUNT(cases); i++) {
		struct result r = pod(
		    fl_arena_printf(&arena, "{\"containers\":[{\"name\":\"c\",\"image\":\"%s\"}]}", cases[i][0]), NULL);

		assert_string_equal(fl_json_str(container(&r, 0), "imagePullPolicy"), cases[i][1]);
		assert_int_equal(r.causes.n, 0);
	}
}

static void quality_of_service(void **state)
{
	static const char *const cases[][2] = {
	    {"{}", "BestEffort"},
	    {"{\"requests\":{\"cpu\":\"1\"}}", "Burstable"},
	    {"{\"limits\":{\"cpu\":\"1\",\"memory\":\"1Gi\"}}", "Guaranteed"}, // requests are taken from the limits
	    {"{\"limits\":{\"cpu\":\"1\",\"memory\":\"1Gi\"},\"requests\":{\"cpu\":\"1000m\",\"memory\":\"1024Mi\"}}",
	     "Guaranteed"},
	    {"{\"limits\":{\"cpu\":\"1\",\"memory\":\"1Gi\"},\"requests\":{\"cpu\":\"500m\"}}", "Burstable"},
	    {"{\"limits\":{\"memory\":\"1Gi\"}}", "Burstable"},
	    {"{\"requests\":{\"ephemeral-storage\":\"1Gi\"}}", "BestEffort"},
	};

	for (size_t i = 0; i < FL_COUNT(cases); i++) {
		struct result r = pod(
		    fl_arena_printf(&arena, "{\"containers\":[{\"name\":\"c\",\"image\":\"i:1\",\"resources\":%s}]}",
				    cases[i][0]),
		    NULL);

		assert_string_equal(fl_json_str(fl_json_get(r.obj, "status"), "qosClass"), cases[i][1]);
	}
}

static void defaults(void **state)
{
	struct result r =
	    pod("{\"hostNetwork\":true,\"tolerations\":[{\"operator\":\"Exists\"}],\"volumes\":[{\"name\":\"v\"}],"
		"\"containers\":[{\"name\":\"c\",\"image\":\"i:1\",\"ports\":[{\"containerPort\":80}]}]}",
		NULL);

	assert_json(fl_json_get(container(&r, 0), "ports"),
		    "[{\"containerPort\":80,\"protocol\":\"TCP\",\"hostPort\":80}]");
	assert_json(fl_json_path(r.obj, "spec", "volumes", NULL), "[{\"name\":\"v\",\"emptyDir\":{}}]");
	assert_json(fl_json_path(r.obj, "spec", "tolerations", NULL), "[{\"operator\":\"Exists\"}]");
	assert_json(fl_json_path(r.obj, "status", "phase", NULL), "\"Pending\"");
	assert_int_equal(r.causes.n, 0);
	r = pod("{\"priorityClassName\":\"system-node-critical\",\"containers\":[{\"name\":\"c\",\"image\":\"i:1\"}]}",
		NULL);
	assert_json(fl_json_path(r.obj, "spec", "priority", NULL), "2000001000");
}

static void refusals(void **state)
{
	static const char *const cases[][2] = {
	    {"{\"containers\":[{\"name\":\"C\",\"image\":\" i\"}]}",
	     "spec.containers[0].name: Invalid value: \"C\": a lowercase RFC 1123 label must consist of lower case "
	     "alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  "
	     "or "
	     "'123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')\n"
	     "spec.containers[0].image: Invalid value: \" i\": must not have leading or trailing whitespace"},
	    {"{\"containers\":[{\"name\":\"c\",\"image\":\"i\"},{\"name\":\"c\",\"image\":\"i\"}]}",
	     "spec.containers[1].name: Duplicate value: \"c\""},
	    {"{\"containers\":[{\"name\":\"c\",\"image\":\"i\",\"ports\":[{\"containerPort\":0},{\"containerPort\":"
	     "70000,"
	     "\"protocol\":\"X\",\"name\":\"a\"},{\"containerPort\":1,\"name\":\"a\"}]}]}",
	     "spec.containers[0].ports[0].containerPort: Required value\n"
	     "spec.containers[0].ports[1].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive\n"
	     "spec.containers[0].ports[1].protocol: Unsupported value: \"X\": supported values: \"SCTP\", \"TCP\", "
	     "\"UDP\"\n"
	     "spec.containers[0].ports[2].name: Duplicate value: \"a\""},
	    {"{\"containers\":[{\"name\":\"c\",\"image\":\"i\",\"ports\":[{\"containerPort\":1,\"hostPort\":9},"
	     "{\"containerPort\":2,\"hostPort\":9}]}]}",
	     "spec.containers[0].ports[1].hostPort: Duplicate value: \"TCP//9\""},
	    {"{\"containers\":[{\"name\":\"c\",\"image\":\"i\",\"volumeMounts\":[{\"name\":\"v\",\"mountPath\":\"/a\"},"
	     "{\"name\":\"w\",\"mountPath\":\"/a\",\"subPath\":\"../x\"}]}],\"volumes\":[{\"name\":\"w\"}]}",
	     "spec.containers[0].volumeMounts[0].name: Not found: \"v\"\n"
	     "spec.containers[0].volumeMounts[1].mountPath: Invalid value: \"/a\": must be unique\n"
	     "spec.containers[0].volumeMounts[1].subPath: Invalid value: \"../x\": must not contain '..'"},
	    {"{\"containers\":[{\"name\":\"c\",\"image\":\"i\",\"livenessProbe\":{},\"readinessProbe\":{\"exec\":{},"
	     "\"tcpSocket\":"
	     "{\"port\":1}},\"startupProbe\":{\"tcpSocket\":{\"port\":\"http\"},\"successThreshold\":2}}]}",
	     "spec.containers[0].livenessProbe: Required value: must specify a handler type\n"
	     "spec.containers[0].readinessProbe.exec.command: Required value\n"
	     "spec.containers[0].readinessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type\n"
	     "spec.containers[0].startupProbe.successThreshold: Invalid value: 2: must be 1"},
	    {"{\"containers\":[{\"name\":\"c\",\"image\":\"i\",\"resources\":{\"limits\":{\"cpu\":\"1\"},\"requests\":{"
	     "\"cpu\":\"2\","
	     "\"gpu\":\"1\"}}}]}",
	     "spec.containers[0].resources.requests: Invalid value: \"2\": must be less than or equal to cpu limit of "
	     "1\n"
	     "spec.containers[0].resources.requests[gpu]: Invalid value: \"gpu\": must be a standard resource for "
	     "containers"},
	    {"{\"containers\":[{\"name\":\"c\",\"image\":\"i\",\"env\":[{\"value\":\"x\"},{\"name\":\"A\",\"value\":"
	     "\"x\","
	     "\"valueFrom\":{\"fieldRef\":{\"fieldPath\":\"spec.x\"}}}]}]}",
	     "spec.containers[0].env[0].name: Required value\n"
	     "spec.containers[0].env[1].valueFrom: Invalid value: \"\": may not be specified when `value` is not "
	     "empty\n"
	     "spec.containers[0].env[1].valueFrom.fieldRef.fieldPath: Unsupported value: \"spec.x\": supported values: "
	     "\"metadata.name\", \"metadata.namespace\", \"metadata.uid\", \"spec.nodeName\", "
	     "\"spec.serviceAccountName\", "
	     "\"status.hostIP\", \"status.hostIPs\", \"status.podIP\", \"status.podIPs\""},
	    {"{\"containers\":[{\"name\":\"c\",\"image\":\"i\"}],\"volumes\":[{\"name\":\"v\",\"emptyDir\":{},"
	     "\"hostPath\":"
	     "{\"path\":\"/x\"}},{\"name\":\"v\",\"secret\":{}}]}",
	     "spec.volumes[0].hostPath: Forbidden: may not specify more than 1 volume type\n"
	     "spec.volumes[1].name: Duplicate value: \"v\"\n"
	     "spec.volumes[1].secret.secretName: Required value"},
	    {"{\"containers\":[{\"name\":\"c\",\"image\":\"i\"}],\"restartPolicy\":\"Maybe\",\"dnsPolicy\":\"None\","
	     "\"activeDeadlineSeconds\":0,\"hostname\":\"a.b\",\"tolerations\":[{\"key\":\"k\",\"tolerationSeconds\":1}"
	     "]}",
	     "spec.restartPolicy: Unsupported value: \"Maybe\": supported values: \"Always\", \"Never\", "
	     "\"OnFailure\"\n"
	     "spec.dnsConfig.nameservers: Required value: must provide at least one DNS nameserver when `dnsPolicy` is "
	     "None\n"
	     "spec.hostname: Invalid value: \"a.b\": a lowercase RFC 1123 label must consist of lower case "
	     "alphanumeric "
	     "characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', "
	     "regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')\n"
	     "spec.tolerations[0].effect: Invalid value: \"\": effect must be 'NoExecute' when `tolerationSeconds` is "
	     "set\n"
	     "spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive"},
	};

	for (size_t i = 0; i < FL_COUNT(cases); i++) {
		struct result r = pod(cases[i][0], NULL);

		assert_string_equal(said(&r.causes), cases[i][1]);
	}
}

static void updates(void **state)
{
	struct result old = pod("{\"containers\":[{\"name\":\"c\",\"image\":\"i:1\"}]}", NULL), r;
	struct fl_json *spec = fl_json_clone(&arena, fl_json_get(old.obj, "spec"));

	fl_json_set_str(&arena, fl_json_index(fl_json_get(spec, "containers"), 0), "image", "i:2");
	fl_json_append(fl_json_get(spec, "tolerations"), parse("{\"key\":\"a\",\"operator\":\"Exists\"}"));
	fl_json_set_int(&arena, spec, "activeDeadlineSeconds", 9);
	r = pod(text_of(spec), old.obj);
	assert_string_equal(said(&r.causes), "");
	// From the bare manifest: what was added at creation is added again.
	r = pod("{\"containers\":[{\"name\":\"c\",\"image\":\"i:1\"}]}", old.obj);
	assert_string_equal(said(&r.causes), "");

	fl_json_set_str(&arena, spec, "nodeName", "n");
	r = pod(text_of(spec), old.obj);
	assert_int_equal(r.causes.n, 1);
	assert_string_equal(r.causes.v[0].field, "spec");
	assert_true(fl_starts_with(r.causes.v[0].message, "Forbidden: pod updates may not change fields other than "));
	assert_true(fl_ends_with(r.causes.v[0].message, "\nchanged: spec.nodeName"));
	r = pod("{\"containers\":[{\"name\":\"c\",\"image\":\"i:1\"},{\"name\":\"d\",\"image\":\"i:1\"}]}", old.obj);
	assert_string_equal(said(&r.causes),
			    "spec.containers: Forbidden: pod updates may not add or remove containers");
	r = write_of(kind_of("v1", "Pod"),
		     "{" META ",\"spec\":{},\"status\":{\"phase\":\"Running\",\"podIP\":\"1.2.3.4\"}}", old.obj,
		     "status");
	assert_string_equal(said(&r.causes), "");
	assert_true(fl_json_equal(fl_json_get(r.obj, "spec"), fl_json_get(old.obj, "spec")));
	assert_json(fl_json_path(r.obj, "status", "qosClass", NULL), "\"BestEffort\"");
}

// Names of what is wrong with changing a pod of `old` into one of `spec`; "" for nothing.
static const char *refusal_of_update(const char *spec, const struct fl_json *old)
{
	struct result r = pod(spec, old);

	return said(&r.causes);
}

#define IMAGE   "\"containers\":[{\"name\":\"c\",\"image\":\"i:1\"}]"
#define GATE    "\"schedulingGates\":[{\"name\":\"a.b/x\"}]"
#define HAS_KEY "{\"key\":\"k\",\"operator\":\"Exists\"}"
#define AFFINITY(terms)                                                                                                \
	"\"affinity\":{\"nodeAffinity\":{\"requiredDuringSchedulingIgnoredDuringExecution\":{\"nodeSelectorTerms\":"   \
	"[" terms "]}}}"

static void updates_of_tolerations(void **state)
{
#define TOLERATION(rest)                                                                                               \
	"{" IMAGE ",\"tolerations\":[{\"operator\":\"Exists\"},{\"key\":\"k\",\"effect\":\"NoExecute\"" rest "}]}"
	static const char changed[] =
	    "spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds";
	struct fl_json *old = pod(TOLERATION(",\"value\":\"v\",\"tolerationSeconds\":5"), NULL).obj;

	assert_string_equal(refusal_of_update(TOLERATION(",\"value\":\"v\",\"tolerationSeconds\":9"), old), "");
	assert_string_equal(refusal_of_update(TOLERATION(",\"value\":\"v\""), old), "");
	assert_string_equal(refusal_of_update(TOLERATION(",\"value\":\"w\",\"tolerationSeconds\":5"), old), changed);
	assert_string_equal(refusal_of_update(TOLERATION(",\"tolerationSeconds\":5"), old), changed);
	assert_string_equal(refusal_of_update("{" IMAGE ",\"tolerations\":[{\"operator\":\"Exists\"}]}", old), changed);
}

static void updates_of_gated_pods(void **state)
{
	static const char *const gone[] = {"", ",\"schedulingGates\":[]",
					   ",\"schedulingGates\":[{\"name\":\"a.b/y\"}]"};
	struct result r = pod("{" IMAGE ",\"schedulingGates\":[{\"name\":\"a.b/x\"},{\"name\":\"a.b/y\"}]}", NULL);
	struct fl_json *gated = pod("{" IMAGE "," GATE ",\"nodeSelector\":{\"a\":\"b\"}}", NULL).obj;
	struct fl_json *near =
	    pod("{" IMAGE "," GATE "," AFFINITY("{\"matchExpressions\":[" HAS_KEY "]}") "}", NULL).obj;
	struct fl_json *free = pod("{" IMAGE "}", NULL).obj;

	assert_string_equal(said(&r.causes), "");
	assert_json(
	    fl_json_path(r.obj, "status", "conditions", NULL),
	    "[{\"type\":\"PodScheduled\",\"status\":\"False\",\"reason\":\"SchedulingGated\",\"message\":\"Scheduling "
	    "is blocked due to non-empty scheduling gates\"}]");
	assert_null(fl_json_path(free, "status", "conditions", NULL));
	for (size_t i = 0; i < FL_COUNT(gone); i++)
		assert_string_equal(refusal_of_update(fl_arena_printf(&arena, "{" IMAGE "%s}", gone[i]), r.obj), "");
	assert_string_equal(
	    refusal_of_update("{" IMAGE ",\"schedulingGates\":[{\"name\":\"a.b/x\"},{\"name\":\"z\"}]}", r.obj),
	    "spec.schedulingGates[1].name: Forbidden: only deletion is allowed, but found new scheduling gate 'z'");
	assert_string_equal(
	    refusal_of_update("{" IMAGE "," GATE "}", free),
	    "spec.schedulingGates[0].name: Forbidden: only deletion is allowed, but found new scheduling gate 'a.b/x'");
	assert_string_equal(refusal_of_update("{" IMAGE "," GATE ",\"nodeName\":\"n\"}", NULL),
			    "spec.nodeName: Forbidden: cannot be set until all schedulingGates have been cleared");

	// The choice of nodes may be narrowed, also with the update that opens the last gate, and not afterwards.
	assert_string_equal(refusal_of_update("{" IMAGE "," GATE ",\"nodeSelector\":{\"a\":\"b\",\"c\":\"d\"}}", gated),
			    "");
	assert_string_equal(refusal_of_update("{" IMAGE ",\"nodeSelector\":{\"a\":\"b\",\"c\":\"d\"}}", gated), "");
	assert_string_equal(refusal_of_update("{" IMAGE "," GATE ",\"nodeSelector\":{\"a\":\"z\"}}", gated),
			    "spec.nodeSelector: Invalid value: {\"a\":\"z\"}: only additions to spec.nodeSelector are "
			    "allowed (no mutations or deletions)");
	assert_string_equal(refusal_of_update("{" IMAGE "," GATE ",\"nodeSelector\":{\"a\":\"b\"}," AFFINITY(
						  "{\"matchExpressions\":[" HAS_KEY "]}") "}",
					      gated),
			    "");
	assert_string_equal(refusal_of_update("{" IMAGE "," GATE
					      "," AFFINITY("{\"matchExpressions\":[" HAS_KEY ","
							   "{\"key\":\"l\",\"operator\":\"Exists\"}]}") "}",
					      near),
			    "");
	assert_string_equal(
	    refusal_of_update("{" IMAGE "," GATE "," AFFINITY("{\"matchExpressions\":[{\"key\":\"l\",\"operator\":"
							      "\"Exists\"}]}") "}",
			      near),
	    "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0]: Invalid "
	    "value: {\"matchExpressions\":[{\"key\":\"l\",\"operator\":\"Exists\"}]}: only additions are allowed (no "
	    "mutations or deletions)");
	assert_string_equal(
	    refusal_of_update("{" IMAGE "," GATE "}", near),
	    "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms: Invalid "
	    "value: null: no additions/deletions to non-empty NodeSelectorTerms list are allowed");
	assert_true(fl_ends_with(refusal_of_update("{" IMAGE ",\"nodeSelector\":{\"a\":\"b\"}}", free),
				 "\nchanged: spec.nodeSelector"));
	assert_true(fl_ends_with(refusal_of_update("{" IMAGE "," GATE ",\"affinity\":{\"podAffinity\":{}}}", gated),
				 "\nchanged: spec.affinity"));
}

#define ROW(name, ready, status, restarts)                                                                             \
	"[\"" name "\",\"" ready "\",\"" status "\",\"" restarts                                                       \
	"\",\"<unknown>\",\"<none>\",\"<none>\",\"<none>\",\"<none>\"]"
#define SPEC "\"spec\":{\"containers\":[{\"name\":\"c\"},{\"name\":\"d\"}],\"initContainers\":[{\"name\":\"i\"}]}"

static void rows(void **state)
{
	static const char *const cases[][2] = {
	    {"{\"metadata\":{\"name\":\"p\"}," SPEC ",\"status\":{\"phase\":\"Pending\"}}",
	     ROW("p", "0/2", "Pending", "0")},
	    {"{\"metadata\":{\"name\":\"p\"}," SPEC ",\"status\":{\"phase\":\"Pending\",\"initContainerStatuses\":[{"
	     "\"name\":\"i\",\"state\":{\"running\":{}}}]}}",
	     ROW("p", "0/2", "Init:0/1", "0")},
	    {"{\"metadata\":{\"name\":\"p\"}," SPEC
	     ",\"status\":{\"phase\":\"Pending\",\"initContainerStatuses\":[{\"name\":"
	     "\"i\",\"restartCount\":3,\"state\":{\"waiting\":{\"reason\":\"CrashLoopBackOff\"}}}]}}",
	     ROW("p", "0/2", "Init:CrashLoopBackOff", "3")},
	    {"{\"metadata\":{\"name\":\"p\"}," SPEC
	     ",\"status\":{\"phase\":\"Running\",\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"}],"
	     "\"containerStatuses\":[{\"name\":\"c\",\"ready\":true,\"state\":{\"running\":{}}},{\"name\":\"d\","
	     "\"ready\":true,"
	     "\"restartCount\":2,\"state\":{\"running\":{}},\"lastState\":{\"terminated\":{\"finishedAt\":"
	     "\"2027-01-15T07:59:00Z\"}}}]}}",
	     ROW("p", "2/2", "Running", "2 (60s ago)")},
	    {"{\"metadata\":{\"name\":\"p\"}," SPEC
	     ",\"status\":{\"phase\":\"Running\",\"containerStatuses\":[{\"name\":\"c\","
	     "\"state\":{\"terminated\":{\"exitCode\":3}}},{\"name\":\"d\",\"ready\":true,\"state\":{\"running\":{}}}]}"
	     "}",
	     ROW("p", "1/2", "ExitCode:3", "0")},
	    {"{\"metadata\":{\"name\":\"p\",\"deletionTimestamp\":\"2027-01-15T07:59:00Z\"}," SPEC
	     ",\"status\":{\"phase\":\"Running\"}}",
	     ROW("p", "0/2", "Terminating", "0")},
	    {"{\"metadata\":{\"name\":\"p\"}," SPEC ",\"status\":{\"phase\":\"Failed\",\"reason\":\"Evicted\"}}",
	     ROW("p", "0/2", "Evicted", "0")},
	};

	for (size_t i = 0; i < FL_COUNT(cases); i++)
		assert_string_equal(row_of(kind_of("v1", "Pod"), cases[i][0]), cases[i][1]);
	assert_string_equal(
	    row_of(kind_of("v1", "Pod"),
		   "{\"metadata\":{\"name\":\"p\",\"creationTimestamp\":\"2027-01-12T08:00:00Z\"},\"spec\":"
		   "{\"nodeName\":\"n\",\"readinessGates\":[{\"conditionType\":\"a/b\"}]},\"status\":{\"phase\":"
		   "\"Running\",\"podIPs\":[{\"ip\":\"1.2.3.4\"}]}}"),
	    "[\"p\",\"0/0\",\"Running\",\"0\",\"3d\",\"1.2.3.4\",\"n\",\"<none>\",\"0/1\"]");
}

static void selectable_fields(void **state)
{
	const struct fl_kind_hooks *h = kind_of("v1", "Pod")->hooks;
	const struct fl_json *obj =
	    parse("{\"spec\":{\"nodeName\":\"n\",\"hostNetwork\":true},\"status\":{\"phase\":\"Running\"}}");

	assert_string_equal(h->field(&arena, obj, "spec.nodeName"), "n");
	assert_string_equal(h->field(&arena, obj, "spec.hostNetwork"), "true");
	assert_string_equal(h->field(&arena, obj, "spec.schedulerName"), "");
	assert_string_equal(h->field(&arena, obj, "status.phase"), "Running");
	assert_null(h->field(&arena, obj, "spec.containers"));
	assert_null(h->field(&arena, obj, "status.foo"));
}

#define TEMPLATE                                                                                                       \
	"\"template\":{\"metadata\":{\"labels\":{\"a\":\"b\"}},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":"   \
	"\"i:1\"}]}}"

static void deployments(void **state)
{
	static const char *const cases[][2] = {
	    {"{\"selector\":{\"matchLabels\":{\"a\":\"b\"}}," TEMPLATE "}", ""},
	    {"{" TEMPLATE "}", "spec.selector: Required value"},
	    {"{\"selector\":{}," TEMPLATE "}",
	     "spec.selector: Invalid value: {}: empty selector is invalid for deployment"},
	    {"{\"replicas\":-1,\"progressDeadlineSeconds\":5,\"minReadySeconds\":5,\"selector\":{\"matchLabels\":{"
	     "\"a\":\"b\"}},"
	     "\"strategy\":{\"type\":\"RollingUpdate\",\"rollingUpdate\":{\"maxSurge\":0,\"maxUnavailable\":\"0%\"}}"
	     "," TEMPLATE "}",
	     "spec.replicas: Invalid value: -1: must be greater than or equal to 0\n"
	     "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: \"0%\": may not be 0 when `maxSurge` is 0\n"
	     "spec.progressDeadlineSeconds: Invalid value: 5: must be greater than minReadySeconds"},
	    {"{\"selector\":{\"matchLabels\":{\"a\":\"b\"}},\"strategy\":{\"rollingUpdate\":{\"maxUnavailable\":\"x%\"}"
	     "}," TEMPLATE "}",
	     "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: \"x%\": a valid percent string must be a "
	     "numeric "
	     "string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')"},
	    {"{\"selector\":{\"matchLabels\":{\"a\":\"b\"}},\"strategy\":{\"type\":\"Recreate\",\"rollingUpdate\":{}}"
	     "," TEMPLATE "}",
	     "spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'"},
	};

	for (size_t i = 0; i < FL_COUNT(cases); i++) {
		struct result r = write_of(kind_of("apps/v1", "Deployment"),
					   fl_arena_printf(&arena, "{" META ",\"spec\":%s}", cases[i][0]), NULL, NULL);

		assert_string_equal(said(&r.causes), cases[i][1]);
	}
	assert_string_equal(
	    row_of(kind_of("apps/v1", "Deployment"),
		   "{\"metadata\":{\"name\":\"w\"},\"spec\":{\"replicas\":3,\"selector\":{\"matchLabels\":{\"b\":"
		   "\"2\",\"a\":\"1\"},\"matchExpressions\":[{\"key\":\"t\",\"operator\":\"In\",\"values\":[\"y\","
		   "\"x\"]}]},"
		   "\"template\":{\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\"},{\"name\":\"d\",\"image\":"
		   "\"j\"}]}}},\"status\":{\"readyReplicas\":2,\"updatedReplicas\":3,\"availableReplicas\":1}}"),
	    "[\"w\",\"2/3\",3,1,\"<unknown>\",\"c,d\",\"i,j\",\"a=1,b=2,t in (x,y)\"]");
}

static void replicasets(void **state)
{
	struct result r =
	    write_of(kind_of("apps/v1", "ReplicaSet"),
		     "{" META ",\"spec\":{\"selector\":{\"matchLabels\":{\"a\":\"b\"}}," TEMPLATE "}}", NULL, NULL);
	struct fl_json *old = r.obj;

	assert_string_equal(said(&r.causes), "");
	assert_json(fl_json_path(old, "spec", "replicas", NULL), "1");
	assert_json(fl_json_get(old, "status"), "{\"replicas\":0}");
	r = write_of(kind_of("apps/v1", "ReplicaSet"),
		     "{" META ",\"spec\":{\"selector\":{\"matchLabels\":{\"a\":\"c\"}}," TEMPLATE "}}", old, NULL);
	assert_string_equal(
	    said(&r.causes),
	    "spec.template.metadata.labels: Invalid value: {\"a\":\"b\"}: `selector` does not match template "
	    "`labels`\nspec.selector: Invalid value: {\"matchLabels\":{\"a\":\"c\"}}: field is immutable");
	r = write_of(kind_of("apps/v1", "ReplicaSet"), "{" META ",\"status\":{\"replicas\":1,\"readyReplicas\":2}}",
		     old, "status");
	assert_string_equal(said(&r.causes),
			    "status.readyReplicas: Invalid value: 2: cannot be greater than status.replicas");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(pull_policy_by_tag),
	    TEST(quality_of_service),
	    TEST(defaults),
	    TEST(refusals),
	    TEST(updates),
	    TEST(updates_of_tolerations),
	    TEST(updates_of_gated_pods),
	    TEST(rows),
	    TEST(selectable_fields),
	    TEST(deployments),
	    TEST(replicasets),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
