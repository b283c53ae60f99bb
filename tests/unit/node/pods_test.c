// SPDX-License-Identifier: Apache-2.0
// Pods that really run, from objects alone: network, names, status, restart, recovery, deletion, clean-up.
#include "own_network.h"
#include "pods_harness.h"

#define POD(name, uid, more_meta, containers, more_spec)                                                               \
	"{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"" name                                       \
	"\",\"namespace\":\"default\",\"uid\":\"" uid "\",\"resourceVersion\":\"1\"" more_meta                         \
	"},\"spec\":{\"nodeName\":\"n1\",\"containers\":[" containers "]" more_spec "}}"
#define ECHO_CONTAINER "{\"name\":\"echo\",\"image\":\"fairlead/echo:1\"}"

static void runs_and_answers(void **state)
{
	struct harness *h = harness_new("pods-run");

	fl_pods_synced(h->pods);
	harness_set(h, POD("web-0", "u-1", "", ECHO_CONTAINER, ""));
	expect_status(h, "u-1", "phase", "Running");
	expect_status(h, "u-1", "conditions.Ready.status", "True");
	AUTO_FREE char *ip = fl_strdup(status_at(h, "u-1", "podIP"));
	assert_string_equal(ip, "10.244.0.2");
	assert_string_equal(status_at(h, "u-1", "hostIP"), "192.0.2.1");
	assert_string_equal(status_at(h, "u-1", "qosClass"), "BestEffort");
	assert_string_equal(status_at(h, "u-1", "containerStatuses.0.restartCount"), "0");
	AUTO_FREE char *page =
	    run_shell("curl -s --retry 20 --retry-connrefused --retry-delay 0 http://%s:8080/ | head -2", ip);
	assert_string_equal(page, "web-0\nserver 10.244.0.2:8080");
	AUTO_FREE char *client = run_shell("curl -s http://%s:8080/ | grep client | cut -d: -f1", ip);
	assert_string_equal(client, "client 10.244.0.1");

	const char *argv[] = {"/bin/fairlead-echo", "resolve", "web-0", NULL};
	struct fl_node_exec_opts exec = {.data_dir = h->dir, .ns = "default", .pod = "web-0", .argv = argv};
	int out[2];
	assert_int_equal(pipe(out), 0);
	pid_t pid = fork();
	if (pid == 0) {
		struct fl_err err = {0};

		dup2(out[1], 1);
		if (fl_node_exec(&exec, &err) < 0)
			dprintf(1, "%s", err.text);
		_exit(1);
	}
	close(out[1]);
	char text[256] = "";
	assert_true(read(out[0], text, sizeof(text) - 1) > 0);
	close(out[0]);
	waitpid(pid, NULL, 0);
	assert_string_equal(text, "web-0 10.244.0.2\n");
	harness_free(h);
}

static void reach_each_other(void **state)
{
	struct harness *h = harness_new("pods-many");
	char uid[16];

	fl_pods_synced(h->pods);
	for (int i = 0; i < 12; i++) {
		AUTO_FREE char *json = fl_asprintf(
		    "{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"p%d\",\"namespace\":\"default\","
		    "\"uid\":\"m-%d\",\"resourceVersion\":\"1\"},\"spec\":{\"containers\":[" ECHO_CONTAINER "]}}",
		    i, i);

		harness_set(h, json);
	}
	for (int i = 0; i < 12; i++) {
		snprintf(uid, sizeof(uid), "m-%d", i);
		expect_status(h, uid, "phase", "Running");
	}
	// One pod reaches another through the host.
	AUTO_FREE char *from = fl_strdup(status_at(h, "m-3", "podIP"));
	AUTO_FREE char *to = fl_strdup(status_at(h, "m-7", "podIP"));
	AUTO_FREE char *page =
	    run_shell("nsenter --net=%s/m-3.net curl -s --retry 20 --retry-connrefused --retry-delay 0 "
		      "http://%s:8080/",
		      h->paths.ns, to);
	AUTO_FREE char *expected = fl_asprintf("p7\nserver %s:8080\nclient %s:", to, from);
	assert_int_equal(strncmp(page, expected, strlen(expected)), 0);
	harness_free(h);
}

static void restarts_with_backoff(void **state)
{
	struct harness *h = harness_new("pods-crash");

	fl_pods_synced(h->pods);
	harness_set(h,
		    POD("crash", "u-2", "",
			"{\"name\":\"c\",\"image\":\"fairlead/echo\",\"args\":[\"resolve\",\"no.such.name.invalid.\"]}",
			""));
	// The first restart comes at once, the second after a pause.
	expect_status(h, "u-2", "containerStatuses.0.state.waiting.reason", "CrashLoopBackOff");
	assert_string_equal(status_at(h, "u-2", "containerStatuses.0.restartCount"), "1");
	assert_string_equal(status_at(h, "u-2", "containerStatuses.0.lastState.terminated.exitCode"), "6");
	assert_string_equal(status_at(h, "u-2", "containerStatuses.0.lastState.terminated.reason"), "Error");
	assert_string_equal(status_at(h, "u-2", "phase"), "Running");
	assert_string_equal(status_at(h, "u-2", "conditions.Ready.status"), "False");
	assert_non_null(
	    strstr(h->events.data, "BackOff: Back-off restarting failed container c in pod crash_default(u-2)"));

	harness_set(h, POD("once", "u-3", "",
			   "{\"name\":\"c\",\"image\":\"fairlead/echo\",\"args\":[\"resolve\",\"127.0.0.1\"]}",
			   ",\"restartPolicy\":\"Never\""));
	expect_status(h, "u-3", "phase", "Succeeded");
	assert_string_equal(status_at(h, "u-3", "containerStatuses.0.state.terminated.reason"), "Completed");
	harness_set(h, POD("bad", "u-4", "",
			   "{\"name\":\"c\",\"image\":\"fairlead/echo\",\"command\":[\"/no/such/file\"]}",
			   ",\"restartPolicy\":\"Never\""));
	expect_status(h, "u-4", "phase", "Failed");
	assert_string_equal(status_at(h, "u-4", "containerStatuses.0.state.terminated.reason"), "StartError");
	assert_string_equal(status_at(h, "u-4", "containerStatuses.0.state.terminated.exitCode"), "128");
	assert_non_null(strstr(status_at(h, "u-4", "containerStatuses.0.state.terminated.message"), "/no/such/file"));
	harness_set(h, POD("lost", "u-5", "", "{\"name\":\"c\",\"image\":\"nginx:1.27\"}", ""));
	expect_status(h, "u-5", "containerStatuses.0.state.waiting.reason", "ErrImagePull");
	expect_status(h, "u-5", "containerStatuses.0.state.waiting.reason", "ImagePullBackOff");
	assert_string_equal(status_at(h, "u-5", "phase"), "Pending");
	harness_free(h);
}

static bool remains_gone(struct harness *h, const void *arg)
{
	AUTO_FREE char *left = run_shell("ls -A %s | grep -c '^[.]'", h->paths.pods);

	return fl_streq(left, "0");
}

static void is_found_again(void **state)
{
	struct harness *h = harness_new("pods-again");

	fl_pods_synced(h->pods);
	harness_set(h, POD("web-0", "u-1", "", ECHO_CONTAINER, ""));
	expect_status(h, "u-1", "phase", "Running");
	AUTO_FREE char *started = fl_strdup(status_at(h, "u-1", "containerStatuses.0.state.running.startedAt"));
	AUTO_FREE char *id = fl_strdup(status_at(h, "u-1", "containerStatuses.0.containerID"));
	AUTO_FREE char *pid = run_shell("cat %s/u-1/containers/echo/0/pid", h->paths.pods);

	harness_node_stop(h);
	free(fl_map_del(&h->statuses, "u-1"));
	AUTO_FREE char *cut = run_shell("ip -o link | grep -o 'flv[0-9a-f]*' | xargs -n 1 ip link del; ip route");
	assert_null(strstr(cut, "flv")); // as a `down` leaves it that is killed early
	harness_node_start(h);
	harness_set(h, POD("web-0", "u-1", "", ECHO_CONTAINER, ""));
	fl_pods_synced(h->pods);
	expect_status(h, "u-1", "phase", "Running");
	assert_string_equal(status_at(h, "u-1", "containerStatuses.0.state.running.startedAt"), started);
	assert_string_equal(status_at(h, "u-1", "containerStatuses.0.containerID"), id);
	assert_string_equal(status_at(h, "u-1", "podIP"), "10.244.0.2");
	AUTO_FREE char *answer = run_shell("curl -s --retry 20 --retry-connrefused http://10.244.0.2:8080/ | head -1");
	assert_string_equal(answer, "web-0");
	AUTO_FREE char *attempts = run_shell("ls %s/u-1/containers/echo", h->paths.pods);
	assert_string_equal(attempts, "0");

	// A new pod gets another address; a container whose shim was killed is started anew.
	AUTO_FREE char *shim = run_shell("cat %s/u-1/containers/echo/0/lock", h->paths.pods);
	harness_node_stop(h);
	assert_true(atoi(shim) > 1 && atoi(pid) > 1);
	kill(atoi(shim), SIGKILL);
	harness_node_start(h);
	harness_set(h, POD("web-0", "u-1", "", ECHO_CONTAINER, ""));
	harness_set(h, POD("web-1", "u-9", "", ECHO_CONTAINER, ""));
	fl_pods_synced(h->pods);
	expect_status(h, "u-1", "containerStatuses.0.restartCount", "1");
	expect_status(h, "u-1", "containerStatuses.0.state.running.startedAt", NULL);
	assert_string_equal(status_at(h, "u-1", "containerStatuses.0.lastState.terminated.reason"),
			    "ContainerStatusUnknown");
	expect_status(h, "u-9", "podIP", "10.244.0.3");
	AUTO_FREE char *old = run_shell("grep State: /proc/%s/status 2>/dev/null | grep -v zombie", pid);
	assert_string_equal(old, "");

	// A directory without its object is what an interrupted `down` leaves: the pod begins anew.
	harness_node_stop(h);
	free(fl_map_del(&h->statuses, "u-1"));
	free(run_shell("rm %s/u-1/pod.json; touch %s/.u-7", h->paths.pods, h->paths.pods)); // forgotten
	harness_node_start(h);
	harness_set(h, POD("web-0", "u-1", "", ECHO_CONTAINER, ""));
	fl_pods_synced(h->pods);
	expect_status(h, "u-1", "containerStatuses.0.ready", "true");
	assert_string_equal(status_at(h, "u-1", "containerStatuses.0.restartCount"), "0");
	// It may be ready before its first line is in the log.
	AUTO_FREE char *starts = run_shell("for i in $(seq 500); do cat %s/u-1/logs/echo/* | grep serves && break; "
					   "sleep 0.02; done | wc -l",
					   h->paths.pods);
	assert_string_equal(starts, "1");
	AUTO_FREE char *processes = run_shell("cat /sys/fs/cgroup/pids/%s/u-1/echo/cgroup.procs "
					      "/sys/fs/cgroup/%s/u-1/echo/cgroup.procs 2>/dev/null | wc -l",
					      h->paths.cgroup + 1, h->paths.cgroup + 1);
	assert_string_equal(processes, "1");
	assert_true(harness_wait(h, remains_gone, NULL));
	harness_free(h);
}

// Everything was killed between the node's fork and the shim's first line: no run of the container was begun, so none
// is counted.
static void a_shim_that_did_nothing_is_no_run(void **state)
{
	struct harness *h = harness_new("pods-shim");

	fl_pods_synced(h->pods);
	harness_set(h, POD("web-0", "u-1", "", ECHO_CONTAINER, ""));
	expect_status(h, "u-1", "phase", "Running");
	AUTO_FREE char *shim = run_shell("cat %s/u-1/containers/echo/0/lock", h->paths.pods);
	harness_node_stop(h);
	kill(atoi(shim), SIGKILL);
	free(run_shell(
	    "%s --root %s delete --force u-1-echo-0; cd %s/u-1/containers/echo/0; rm -f started pid exit; : > lock",
	    h->runtime.program, h->paths.runtime_root, h->paths.pods));
	map_free_values(&h->statuses);
	harness_node_start(h);
	harness_set(h, POD("web-0", "u-1", "", ECHO_CONTAINER, ""));
	fl_pods_synced(h->pods);
	expect_status(h, "u-1", "conditions.Ready.status", "True");
	assert_string_equal(status_at(h, "u-1", "containerStatuses.0.restartCount"), "0");
	AUTO_FREE char *attempts = run_shell("ls %s/u-1/containers/echo", h->paths.pods);
	assert_string_equal(attempts, "0");
	harness_free(h);
}

static void is_deleted_gracefully(void **state)
{
	struct harness *h = harness_new("pods-delete");
	size_t one = 1, none = 0;

	fl_pods_synced(h->pods);
	harness_set(h, POD("web-0", "u-1", "", ECHO_CONTAINER, ""));
	harness_set(h, POD("web-1", "u-2", "", ECHO_CONTAINER, ""));
	expect_status(h, "u-1", "phase", "Running");
	expect_status(h, "u-2", "phase", "Running");
	AUTO_FREE char *before = run_shell("ip -o link | grep -c flv; ip route | grep -c 'proto 117'");
	assert_string_equal(before, "2\n3");
	AUTO_FREE char *cgroups =
	    run_shell("ls -d /sys/fs/cgroup/*/%s/u-* /sys/fs/cgroup%s/u-* 2>/dev/null | xargs -n 1 basename | sort -u",
		      h->paths.cgroup + 1, h->paths.cgroup);
	assert_string_equal(cgroups, "u-1\nu-2");
	harness_set(h, POD("web-0", "u-1",
			   ",\"deletionTimestamp\":\"2026-01-01T00:00:00Z\",\"deletionGracePeriodSeconds\":5",
			   ECHO_CONTAINER, ""));
	assert_true(harness_wait(h, is_deleted, "u-1"));
	assert_string_equal(status_at(h, "u-1", "containerStatuses.0.state.terminated.exitCode"), "0");
	assert_string_equal(status_at(h, "u-1", "conditions.Ready.status"), "False");
	fl_pods_gone(h->pods, "u-1");
	assert_true(harness_wait(h, count_is, &one));
	AUTO_FREE char *after =
	    run_shell("ip -o link | grep -c flv; ip route | grep -c 'proto 117'; ls %s", h->paths.pods);
	assert_string_equal(after, "1\n2\nu-2");
	AUTO_FREE char *left =
	    run_shell("ls -d /sys/fs/cgroup/*/%s/u-* /sys/fs/cgroup%s/u-* 2>/dev/null | xargs -n 1 basename | sort -u",
		      h->paths.cgroup + 1, h->paths.cgroup);
	assert_string_equal(left, "u-2");
	fl_pods_gone(h->pods, "u-2"); // its object was removed by force
	assert_true(harness_wait(h, count_is, &none));
	AUTO_FREE char *end = run_shell("ip -o link | grep -c flv; ls %s %s", h->paths.pods, h->paths.ns);
	assert_null(strstr(end, "u-2"));
	harness_free(h);
}

static void readiness_follows_the_probe(void **state)
{
	struct harness *h = harness_new("pods-ready");

	fl_pods_synced(h->pods);
	harness_set(
	    h,
	    POD("web-0", "u-1", "",
		"{\"name\":\"echo\",\"image\":\"fairlead/echo\",\"ports\":[{\"name\":\"http\",\"containerPort\":8080}],"
		"\"readinessProbe\":{\"httpGet\":{\"path\":\"/healthz\",\"port\":\"http\"},\"periodSeconds\":1,"
		"\"failureThreshold\":1},\"livenessProbe\":{\"exec\":{\"command\":[\"/bin/fairlead-echo\",\"resolve\","
		"\"localhost\"]},\"periodSeconds\":1},\"startupProbe\":{\"tcpSocket\":{\"port\":8080}}}",
		""));
	expect_status(h, "u-1", "containerStatuses.0.ready", "true");
	free(run_shell("curl -s 'http://10.244.0.2:8080/control?ready=0'"));
	expect_status(h, "u-1", "containerStatuses.0.ready", "false");
	assert_string_equal(status_at(h, "u-1", "conditions.Ready.reason"), "ContainersNotReady");
	assert_string_equal(status_at(h, "u-1", "conditions.Ready.message"), "containers with unready status: [echo]");
	assert_non_null(
	    strstr(h->events.data, "Unhealthy: Readiness probe failed: HTTP probe failed with statuscode: 503"));
	free(run_shell("curl -s 'http://10.244.0.2:8080/control?ready=1'"));
	expect_status(h, "u-1", "conditions.Ready.status", "True");
	assert_string_equal(status_at(h, "u-1", "containerStatuses.0.restartCount"), "0");
	harness_free(h);
}

static void environment_files_and_init(void **state)
{
	struct harness *h = harness_new("pods-env");

	fl_map_set(
	    &h->objects, "c/default/settings",
	    fl_strdup("{\"metadata\":{\"name\":\"settings\"},\"data\":{\"port\":\"9090\",\"motd\":\"hello\\n\"}}"));
	fl_pods_synced(h->pods);
	harness_set(
	    h, POD("web-0", "u-1", "",
		   "{\"name\":\"echo\",\"image\":\"fairlead/echo\",\"env\":[{\"name\":\"ECHO_HTTP_PORT\",\"valueFrom\":"
		   "{\"configMapKeyRef\":{\"name\":\"settings\",\"key\":\"port\"}}},{\"name\":\"SELF\",\"valueFrom\":"
		   "{\"fieldRef\":{\"fieldPath\":\"status.podIP\"}}}],\"resources\":{\"limits\":{\"cpu\":\"500m\","
		   "\"memory\":\"64Mi\"}},\"volumeMounts\":[{\"name\":\"s\",\"mountPath\":\"/etc/settings\"},"
		   "{\"name\":\"tmp\",\"mountPath\":\"/scratch\"}]}",
		   ",\"volumes\":[{\"name\":\"s\",\"configMap\":{\"name\":\"settings\"}},{\"name\":\"tmp\","
		   "\"emptyDir\":{}}],"
		   "\"initContainers\":[{\"name\":\"first\",\"image\":\"fairlead/"
		   "echo\",\"args\":[\"resolve\",\"127.0.0.1\"]}]"));
	expect_status(h, "u-1", "phase", "Running");
	assert_string_equal(status_at(h, "u-1", "initContainerStatuses.0.state.terminated.reason"), "Completed");
	assert_string_equal(status_at(h, "u-1", "conditions.Initialized.status"), "True");
	assert_string_equal(status_at(h, "u-1", "qosClass"), "Burstable");
	AUTO_FREE char *page =
	    run_shell("curl -s --retry 20 --retry-connrefused --retry-delay 0 http://10.244.0.2:9090/ | head -1");
	assert_string_equal(page, "web-0");
	AUTO_FREE char *motd =
	    run_shell("cat /proc/$(cat %s/u-1/containers/echo/0/pid)/root/etc/settings/motd", h->paths.pods);
	assert_string_equal(motd, "hello");
	AUTO_FREE char *resolv =
	    run_shell("head -2 /proc/$(cat %s/u-1/containers/echo/0/pid)/root/etc/resolv.conf", h->paths.pods);
	assert_int_equal(strncmp(resolv, "search default.svc.cluster.local svc.cluster.local cluster.local", 64), 0);
	assert_non_null(strstr(resolv, "\nnameserver 10.96.0.10"));
	AUTO_FREE char *env =
	    run_shell("tr '\\0' '\\n' </proc/$(cat %s/u-1/containers/echo/0/pid)/environ | grep -c -e "
		      "'^SELF=10.244.0.2$' -e '^HOSTNAME=web-0$' -e '^KUBERNETES_SERVICE_HOST=10.96.0.1$'",
		      h->paths.pods);
	assert_string_equal(env, "3");
	AUTO_FREE char *limit = run_shell("cat /sys/fs/cgroup/memory%s/u-1/echo/memory.limit_in_bytes "
					  "/sys/fs/cgroup%s/u-1/echo/memory.max 2>/dev/null",
					  h->paths.cgroup, h->paths.cgroup);
	assert_string_equal(limit, "67108864");
	struct fl_pods_log log = {0};
	struct fl_err err = {0};
	assert_int_equal(fl_pods_log(h->pods, "default", "web-0", "echo", false, &log, &err), 0);
	assert_true(log.running);
	AUTO_FREE char *line = run_shell("grep -c ' stdout F web-0 serves http 9090' %s", log.path);
	assert_string_equal(line, "1");
	free(log.path);
	harness_free(h);
}

static void waits_for_services_and_sees_them(void **state)
{
	struct harness *h = harness_new("pods-svc");

	h->services_unknown = true;
	fl_pods_synced(h->pods);
	harness_set(h, POD("web-0", "u-1", "", ECHO_CONTAINER, ""));
	harness_set(h, POD("web-1", "u-2", "", ECHO_CONTAINER, ",\"enableServiceLinks\":false"));
	expect_status(h, "u-1", "containerStatuses.0.state.waiting.reason", "ContainerCreating");
	harness_service(h, "default", "back-end", "10.96.0.7", 80);
	harness_service(h, "other", "far", "10.96.0.8", 80);
	h->services_unknown = false;
	fl_pods_services_synced(h->pods);
	expect_status(h, "u-1", "phase", "Running");
	expect_status(h, "u-2", "phase", "Running");
	for (int i = 2; i <= 3; i++) // the programs have begun
		free(run_shell("curl -s --retry 20 --retry-connrefused --retry-delay 0 http://10.244.0.%d:8080/", i));
	AUTO_FREE char *env =
	    run_shell("tr '\\0' '\\n' </proc/$(cat %s/u-1/containers/echo/0/pid)/environ | grep -e ^BACK_END_SERVICE "
		      "-e ^BACK_END_PORT= -e ^FAR -e ^KUBERNETES_SERVICE_HOST | sort",
		      h->paths.pods);
	assert_string_equal(env, "BACK_END_PORT=tcp://10.96.0.7:80\nBACK_END_SERVICE_HOST=10.96.0.7\n"
				 "BACK_END_SERVICE_PORT=80\nKUBERNETES_SERVICE_HOST=10.96.0.1");
	AUTO_FREE char *none =
	    run_shell("tr '\\0' '\\n' </proc/$(cat %s/u-2/containers/echo/0/pid)/environ | grep -e ^BACK_END "
		      "-e ^KUBERNETES_SERVICE_HOST",
		      h->paths.pods);
	assert_string_equal(none, "KUBERNETES_SERVICE_HOST=10.96.0.1");
	harness_free(h);
}

static void waits_for_its_config_map(void **state)
{
	struct harness *h = harness_new("pods-config");

	fl_pods_synced(h->pods);
	harness_set(
	    h,
	    POD("web-0", "u-1", "",
		"{\"name\":\"echo\",\"image\":\"fairlead/echo\",\"envFrom\":[{\"configMapRef\":{\"name\":\"later\"}}]}",
		""));
	expect_status(h, "u-1", "containerStatuses.0.state.waiting.reason", "CreateContainerConfigError");
	assert_string_equal(status_at(h, "u-1", "containerStatuses.0.state.waiting.message"),
			    "configmap \"later\" not found");
	fl_map_set(&h->objects, "c/default/later", fl_strdup("{\"data\":{\"A\":\"b\"}}"));
	expect_status(h, "u-1", "phase", "Running");
	harness_free(h);
}

static void leaves_nothing(void **state)
{
	AUTO_FREE char *forward_before = run_shell("cat /proc/sys/net/ipv4/ip_forward");
	AUTO_FREE char *lo_before = run_shell("ip -o addr; ip route; ip -6 route");
	struct harness *h = harness_new("pods-clean");
	struct fl_node_opts o = {.data_dir = h->dir};
	struct fl_err err = {0};

	fl_pods_synced(h->pods);
	harness_set(h, POD("web-0", "u-1", "", ECHO_CONTAINER,
			   ",\"volumes\":[{\"name\":\"t\",\"emptyDir\":{\"medium\":\"Memory\"}}]"));
	harness_set(h, POD("web-1", "u-2", "", ECHO_CONTAINER, ""));
	expect_status(h, "u-1", "phase", "Running");
	expect_status(h, "u-2", "phase", "Running");
	AUTO_FREE char *shim = run_shell("cat %s/u-1/containers/echo/0/lock", h->paths.pods);
	harness_node_stop(h);
	kill(atoi(shim), SIGKILL); // as after kill -9 of everything
	assert_int_equal(fl_node_cleanup(&o, &err), 0);
	AUTO_FREE char *links = run_shell("ip -o addr; ip route; ip -6 route");
	assert_string_equal(links, lo_before);
	AUTO_FREE char *forward = run_shell("cat /proc/sys/net/ipv4/ip_forward");
	assert_string_equal(forward, forward_before);
	AUTO_FREE char *mounts = run_shell("grep -c %s /proc/self/mountinfo", h->dir);
	assert_string_equal(mounts, "0");
	AUTO_FREE char *cgroups = run_shell("find /sys/fs/cgroup -maxdepth 2 -name 'fairlead-%s'", h->paths.tag);
	assert_string_equal(cgroups, "");
	AUTO_FREE char *processes = run_shell("ps -eo args | grep '[/]tmp/fairlead-pods-clean-%d'", (int)getpid());
	assert_string_equal(processes, "");
	assert_int_equal(fl_node_cleanup(&o, &err), 0); // idempotent
	h->pods = NULL;
	harness_free(h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_teardown(runs_and_answers, harness_teardown),
	    cmocka_unit_test_teardown(reach_each_other, harness_teardown),
	    cmocka_unit_test_teardown(restarts_with_backoff, harness_teardown),
	    cmocka_unit_test_teardown(is_found_again, harness_teardown),
	    cmocka_unit_test_teardown(a_shim_that_did_nothing_is_no_run, harness_teardown),
	    cmocka_unit_test_teardown(is_deleted_gracefully, harness_teardown),
	    cmocka_unit_test_teardown(readiness_follows_the_probe, harness_teardown),
	    cmocka_unit_test_teardown(environment_files_and_init, harness_teardown),
	    cmocka_unit_test_teardown(waits_for_services_and_sees_them, harness_teardown),
	    cmocka_unit_test_teardown(waits_for_its_config_map, harness_teardown),
	    cmocka_unit_test_teardown(leaves_nothing, harness_teardown),
	};

	int status = own_network();

	if (status)
		return status;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
