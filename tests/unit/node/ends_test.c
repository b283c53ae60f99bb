// SPDX-License-Identifier: Apache-2.0
// Pods that the node ends, and what is told of an end: deadline, storage, signal, message. Two pods that share what
// pods can share.
#include "own_network.h"
#include "pods_harness.h"

#include <signal.h>
#include <sys/statvfs.h>

#define POD(uid, more_meta, containers, more_spec)                                                                     \
	"{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"" uid                                        \
	"\",\"namespace\":\"default\",\"uid\":\"" uid "\",\"resourceVersion\":\"1\"" more_meta                         \
	"},\"spec\":{\"volumes\":[{\"name\":\"t\",\"emptyDir\":{\"sizeLimit\":\"64Ki\"}}],"                            \
	"\"containers\":[" containers "]" more_spec "}}"
#define DELETED(grace) ",\"deletionTimestamp\":\"2026-01-01T00:00:00Z\",\"deletionGracePeriodSeconds\":" grace
#define CONTAINER(name, steps, more)                                                                                   \
	"{\"name\":\"" name "\",\"image\":\"fairlead/echo\",\"command\":[\"/bin/fairlead-echo\",\"do\"," steps         \
	"],\"volumeMounts\":[{\"name\":\"t\",\"mountPath\":\"/t\"}]" more "}"

static void expect_same_after_restart(struct harness *h, const char *uid, const char *pod, const char *reason)
{
	AUTO_FREE char *runs = NULL;

	harness_node_stop(h);
	map_free_values(&h->statuses);
	harness_node_start(h);
	harness_set(h, pod);
	fl_pods_synced(h->pods);
	expect_status(h, uid, "reason", reason);
	assert_string_equal(status_at(h, uid, "phase"), "Failed");
	runs = run_shell("ls %s/%s/containers/a", h->paths.pods, uid);
	assert_string_equal(runs, "0");
}

struct files {
	const char *uid, *want;
};

static bool files_are(struct harness *h, const void *arg)
{
	const struct files *f = arg;
	AUTO_FREE char *now = run_shell("ls %s/%s | tr '\\n' ' '", h->paths.pods, f->uid);

	return strcmp(now, f->want) == 0;
}

// What a pod that ended leaves on the disk, as long as its object is there.
static void expect_files(struct harness *h, const char *uid, const char *want)
{
	if (!harness_wait(h, files_are, &(struct files){uid, want})) {
		AUTO_FREE char *now = run_shell("ls %s/%s | tr '\\n' ' '", h->paths.pods, uid);

		fail_msg("pod %s leaves %s", uid, now);
	}
}

static void a_deadline_ends_a_pod(void **state)
{
	static const char late[] = POD("late", "", CONTAINER("a", "\"append=/t/log:on\",\"wait\"", ""),
				       ",\"activeDeadlineSeconds\":1,\"terminationGracePeriodSeconds\":20");
	struct harness *h = harness_new("ends-deadline");

	fl_pods_synced(h->pods);
	harness_set(h, late);
	expect_status(h, "late", "phase", "Failed");
	assert_string_equal(status_at(h, "late", "reason"), "DeadlineExceeded");
	assert_string_equal(status_at(h, "late", "message"),
			    "Pod was active on the node longer than the specified deadline");
	assert_string_equal(status_at(h, "late", "containerStatuses.a.state.terminated.exitCode"), "0");
	assert_non_null(strstr(h->events.data, "late DeadlineExceeded: Pod was active on the node longer"));
	expect_files(h, "late", "containers failed ips logs pod.json set-up ");
	expect_same_after_restart(h, "late", late, "DeadlineExceeded");
	harness_free(h);
}

// Time that passed before the node was started again counts.
static void a_deadline_counts_from_the_start_that_was_told(void **state)
{
#define PATIENT(status)                                                                                                \
	POD("patient", "", CONTAINER("a", "\"append=/t/log:on\",\"wait\"", ""),                                        \
	    ",\"activeDeadlineSeconds\":3000" status)
	struct harness *h = harness_new("ends-told");

	fl_pods_synced(h->pods);
	harness_set(h, PATIENT(""));
	expect_status(h, "patient", "phase", "Running");
	harness_node_stop(h);
	map_free_values(&h->statuses);
	harness_node_start(h);
	harness_set(h, PATIENT("},\"status\":{\"startTime\":\"2026-01-01T00:00:00Z\""));
	fl_pods_synced(h->pods);
	expect_status(h, "patient", "reason", "DeadlineExceeded");
	assert_string_equal(status_at(h, "patient", "startTime"), "2026-01-01T00:00:00Z");
	harness_free(h);
}

// The node went right after it had decided the end: until that has come, the pod's address is its own.
static void a_pod_being_ended_keeps_its_address(void **state)
{
	static const char old[] = POD("old", "", CONTAINER("a", "\"sleep=600000\"", ""), "");
	struct harness *h = harness_new("ends-address");

	fl_pods_synced(h->pods);
	harness_set(h, old);
	expect_status(h, "old", "containerStatuses.a.ready", "true");
	AUTO_FREE char *ip = fl_strdup(status_at(h, "old", "podIP"));
	harness_node_stop(h);
	map_free_values(&h->statuses);
	free(run_shell("printf 'Evicted\\nwhy' >%s/old/failed", h->paths.pods));
	harness_node_start(h);
	harness_set(h, POD("new", "", CONTAINER("a", "\"wait\"", ""), ""));
	harness_set(h, old);
	fl_pods_synced(h->pods);
	expect_status(h, "new", "containerStatuses.a.ready", "true");
	assert_string_not_equal(status_at(h, "new", "podIP"), ip);
	expect_status(h, "old", "reason", "Evicted");
	harness_free(h);
}

static void what_writes_too_much_is_evicted(void **state)
{
#define WRITER(file) CONTAINER("a", "\"append=" file ":1\",\"append=" file "2:2\",\"sleep=600000\"", "")
	static const char full[] =
	    "{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"full\",\"namespace\":\"default\",\"uid\":"
	    "\"full\",\"resourceVersion\":\"1\"},\"spec\":{\"volumes\":[{\"name\":\"t\",\"emptyDir\":{\"sizeLimit\":"
	    "\"5k\"}}],\"containers\":[" WRITER("/t/log") "]}}";
#define LIMITED(name, limit)                                                                                           \
	CONTAINER(name, "\"append=/one:1\",\"append=/two:2\",\"sleep=600000\"",                                        \
		  ",\"resources\":{\"limits\":{\"ephemeral-storage\":\"" limit "\"}}")
	static const char layer[] = POD("layer", "", LIMITED("a", "20Ki"), "");
	struct harness *h = harness_new("ends-storage");

	fl_pods_synced(h->pods);
	harness_set(h, full);
	harness_set(h, layer);
	harness_set(h, POD("one", "", LIMITED("a", "20Ki") "," LIMITED("b", "1000Ki"), ""));
	harness_set(h, POD("modest", "", WRITER("/t/log"), ""));
	expect_status(h, "full", "phase", "Failed");
	assert_string_equal(status_at(h, "full", "reason"), "Evicted");
	assert_string_equal(status_at(h, "full", "message"),
			    "Usage of EmptyDir volume \"t\" exceeds the limit \"5k\". ");
	assert_string_equal(status_at(h, "full", "containerStatuses.a.state.terminated.exitCode"), "137");
	assert_non_null(strstr(h->events.data, "full Evicted: Usage of EmptyDir volume \"t\" exceeds"));
	expect_status(h, "layer", "reason", "Evicted");
	assert_string_equal(status_at(h, "layer", "message"),
			    "Pod ephemeral local storage usage exceeds the total limit of containers 20Ki. ");
	expect_status(h, "one", "reason", "Evicted");
	assert_string_equal(status_at(h, "one", "message"),
			    "Container a exceeded its local ephemeral storage limit \"20Ki\". ");
	assert_string_equal(status_at(h, "modest", "phase"), "Running");
	expect_files(h, "full", "containers failed ips pod.json set-up ");
	expect_same_after_restart(h, "full", full, "Evicted");
	harness_free(h);
}

// /etc/hosts is a file of the host that the container may write to.
static void what_fills_etc_hosts_is_evicted(void **state)
{
	struct harness *h = harness_new("ends-hosts");

	fl_pods_synced(h->pods);
	harness_set(
	    h, POD("hosts", "",
		   CONTAINER("a", "\"sleep=600000\"", ",\"resources\":{\"limits\":{\"ephemeral-storage\":\"200Ki\"}}"),
		   ",\"initContainers\":[" CONTAINER(
		       "i", "\"exit=0\"", ",\"resources\":{\"limits\":{\"ephemeral-storage\":\"1Mi\"}}") "]"));
	expect_status(h, "hosts", "phase", "Running");
	free(run_shell("head -c 1048576 /dev/zero >>/proc/$(cat %s/hosts/containers/a/0/pid)/root/etc/hosts",
		       h->paths.pods));
	expect_status(h, "hosts", "reason", "Evicted");
	assert_string_equal(status_at(h, "hosts", "message"),
			    "Pod ephemeral local storage usage exceeds the total limit of containers 1Mi. ");
	harness_free(h);
}

static void the_last_of_many_words_is_told(void **state)
{
	struct harness *h = harness_new("ends-many");

	fl_pods_synced(h->pods);
	harness_set(h,
		    POD("many", "", CONTAINER("a", "\"until=/t/go\",\"exit=3\"", ""), ",\"restartPolicy\":\"Never\""));
	expect_status(h, "many", "phase", "Running");
	// 17 MiB, of characters of two bytes
	free(run_shell("cd %s/many; yes ää | head -c 17825795 >containers/a/0/termination-log; "
		       "printf ' and the end' >>containers/a/0/termination-log; touch volumes/t/go",
		       h->paths.pods));
	expect_status(h, "many", "phase", "Failed");
	const char *message = status_at(h, "many", "containerStatuses.a.state.terminated.message");
	assert_true(strlen(message) >= 4093 && strlen(message) <= 4096);
	assert_true((*message & 0xC0) != 0x80);
	assert_true(fl_ends_with(message, " and the end"));
	harness_free(h);
}

static void last_words_are_told(void **state)
{
#define SAYS(name, policy, more)                                                                                       \
	CONTAINER(name, "\"append=/dev/stdout:one\",\"append=/dev/stderr:two\"" more ",\"exit=3\"",                    \
		  ",\"terminationMessagePolicy\":\"" policy "\",\"terminationMessagePath\":\"/say\"")
	struct harness *h = harness_new("ends-words");

	fl_pods_synced(h->pods);
	harness_set(h, POD("words", "",
			   SAYS("log", "FallbackToLogsOnError", "") "," SAYS(
			       "file", "FallbackToLogsOnError", ",\"append=/say:bye\"") "," SAYS("none", "File", ""),
			   ",\"restartPolicy\":\"Never\""));
	expect_status(h, "words", "phase", "Failed");
	assert_string_equal(status_at(h, "words", "containerStatuses.log.state.terminated.message"), "one\ntwo\n");
	assert_string_equal(status_at(h, "words", "containerStatuses.file.state.terminated.message"), "bye\n");
	assert_string_equal(status_at(h, "words", "containerStatuses.none.state.terminated.message"), "");
	harness_free(h);
}

static void the_stop_signal_is_the_container_s(void **state)
{
#define LISTENS CONTAINER("a", "\"append=/t/log:on\",\"wait=10\"", ",\"lifecycle\":{\"stopSignal\":\"SIGUSR1\"}")
	struct harness *h = harness_new("ends-signal");

	fl_pods_synced(h->pods);
	harness_set(h, POD("signal", "", LISTENS, ""));
	expect_status(h, "signal", "phase", "Running");
	assert_string_equal(status_at(h, "signal", "containerStatuses.a.stopSignal"), "SIGUSR1");
	harness_set(h, POD("signal", DELETED("40"), LISTENS, ""));
	assert_true(harness_wait(h, is_deleted, "signal"));
	assert_string_equal(status_at(h, "signal", "containerStatuses.a.state.terminated.exitCode"), "0");
	harness_free(h);
	assert_int_equal(fl_signal_of("SIGRTMAX-2"), SIGRTMAX - 2);
	assert_int_equal(fl_signal_of("RTMIN+3"), SIGRTMIN + 3);
	assert_int_equal(fl_signal_of("SIGPOLL"), SIGIO);
	assert_int_equal(fl_signal_of("SIGNONE"), SIGTERM);
}

// Processes in the pid namespace of the pod, by name.
static char *processes(struct harness *h, const char *uid)
{
	return run_shell(
	    "ns=$(stat -Lc %%i %s/%s.pid); for p in /proc/[0-9]*; do "
	    "[ \"$(stat -Lc %%i $p/ns/pid 2>/dev/null)\" = \"$ns\" ] && tr '\\0' ' ' <$p/cmdline | cut -c 1-40; "
	    "done | sort | tr '\\n' ';'",
	    h->paths.ns, uid);
}

static bool processes_are(struct harness *h, const void *want)
{
	AUTO_FREE char *now = processes(h, "share");

	return strcmp(now, want) == 0;
}

// A container with CAP_SYS_PTRACE may do with the namespace's first process what it likes: the host is not in it.
static void expect_harmless(struct harness *h, const char *uid)
{
	AUTO_FREE char *root = run_shell("ls -A /proc/$(cat %s/%s.pause)/root/ 2>&1", h->paths.ns, uid);
	AUTO_FREE char *rights = run_shell("grep -E '^(Uid|Gid|Groups|CapPrm|CapEff|CapBnd|NoNewPrivs):' "
					   "/proc/$(cat %s/%s.pause)/status | tr -d '\\t ' | tr '\\n' ' '",
					   h->paths.ns, uid);
	AUTO_FREE char *foreign = run_shell("cd /proc/$(cat %s/%s.pause)/ns && for k in ipc net uts; do "
					    "[ $(stat -Lc %%i $k) = $(stat -Lc %%i %s/%s.$k) ] || echo $k; done; "
					    "[ $(stat -Lc %%i mnt) != $(stat -Lc %%i /proc/self/ns/mnt) ] || echo mnt",
					    h->paths.ns, uid, h->paths.ns, uid);
	AUTO_FREE char *open_files = run_shell("cd /proc/$(cat %s/%s.pause)/fd && for f in *; do readlink $f; done | "
					       "grep -vx /dev/null",
					       h->paths.ns, uid);
	AUTO_FREE char *exe = run_shell("echo /proc/$(cat %s/%s.pause)/exe | tr -d '\\n'", h->paths.ns, uid);
	struct statvfs fs;

	assert_string_equal(root, "");
	assert_string_equal(rights, "Uid:65535655356553565535 Gid:65535655356553565535 Groups: "
				    "CapPrm:0000000000000000 CapEff:0000000000000000 CapBnd:0000000000000000 "
				    "NoNewPrivs:1 ");
	assert_string_equal(foreign, "");
	assert_string_equal(open_files, "");
	assert_int_equal(statvfs(exe, &fs), 0);
	assert_true(fs.f_flag & ST_RDONLY);
}

static void containers_share_processes(void **state)
{
#define SHARERS                                                                                                        \
	CONTAINER("a", "\"leave=600000\",\"until=/dev/shm/x\",\"exit=0\"", "")                                         \
	"," CONTAINER("b", "\"append=/dev/shm/x:here\",\"wait\"", "")
#define SHARING ",\"shareProcessNamespace\":true,\"restartPolicy\":\"OnFailure\""
	struct harness *h = harness_new("ends-share");

	fl_pods_synced(h->pods);
	harness_set(h, POD("share", "", SHARERS, SHARING));
	expect_status(h, "share", "containerStatuses.a.state.terminated.exitCode", "0"); // they share /dev/shm too
	expect_status(h, "share", "containerStatuses.b.ready", "true");
	// Neither the first process of `a` nor what it left is there.
	if (!harness_wait(h, processes_are, "/bin/fairlead-echo do append=/dev/shm/x:;/pause ;")) {
		AUTO_FREE char *now = processes(h, "share");

		fail_msg("%s", now);
	}
	AUTO_FREE char *first = run_shell("grep NSpid /proc/$(cat %s/share.pause)/status | cut -f 3", h->paths.ns);
	assert_string_equal(first, "1");
	expect_harmless(h, "share");

	// Whoever ends it ends the pod's processes; they begin again in a new namespace. A restart of the node keeps
	// it.
	free(run_shell("kill -KILL $(cat %s/share.pause)", h->paths.ns));
	expect_status(h, "share", "containerStatuses.b.restartCount", "1");
	expect_status(h, "share", "containerStatuses.b.ready", "true");
	harness_node_stop(h);
	harness_node_start(h);
	harness_set(h, POD("share", "", SHARERS, SHARING));
	fl_pods_synced(h->pods);
	assert_true(harness_wait(h, processes_are, "/bin/fairlead-echo do append=/dev/shm/x:;/pause ;"));

	AUTO_FREE char *pause = run_shell("cat %s/share.pause", h->paths.ns);
	harness_set(h, POD("share", DELETED("20"), SHARERS, SHARING));
	assert_true(harness_wait(h, is_deleted, "share"));
	AUTO_FREE char *left = run_shell("ls %s; cat /proc/%s/cmdline 2>/dev/null", h->paths.ns, pause);
	assert_string_equal(left, "");
	harness_free(h);
}

static void a_pod_on_the_host_s_network_has_its_own_ipc(void **state)
{
	struct harness *h = harness_new("ends-host");
	AUTO_FREE char *host = run_shell("for k in net pid ipc uts; do readlink /proc/self/ns/$k; done | tr '\\n' ' '");

	fl_pods_synced(h->pods);
	harness_set(h, POD("host", "", CONTAINER("a", "\"wait\"", ""),
			   ",\"hostNetwork\":true,\"hostPID\":true,\"dnsPolicy\":\"ClusterFirstWithHostNet\""));
	harness_set(h, POD("ipc", "", CONTAINER("a", "\"wait\"", ""), ",\"hostIPC\":true"));
	expect_status(h, "host", "phase", "Running");
	expect_status(h, "ipc", "phase", "Running");
	assert_string_equal(status_at(h, "host", "podIP"), "192.0.2.1");
	AUTO_FREE char *pod =
	    run_shell("for k in net pid ipc uts; do readlink /proc/$(cat %s/host/containers/a/0/pid)/ns/"
		      "$k; done | tr '\\n' ' '",
		      h->paths.pods);
	char kinds[4][64], pods[4][64];
	assert_int_equal(sscanf(host, "%63s %63s %63s %63s", kinds[0], kinds[1], kinds[2], kinds[3]), 4);
	assert_int_equal(sscanf(pod, "%63s %63s %63s %63s", pods[0], pods[1], pods[2], pods[3]), 4);
	for (int i = 0; i < 4; i++) {
		if (i == 2)
			assert_string_not_equal(kinds[i], pods[i]);
		else
			assert_string_equal(kinds[i], pods[i]);
	}
	AUTO_FREE char *ipc = run_shell("p=$(cat %s/ipc/containers/a/0/pid); readlink /proc/$p/ns/ipc; "
					"grep -c ' /dev/shm ' /proc/$p/mountinfo",
					h->paths.pods);
	AUTO_FREE char *want = fl_asprintf("%s\n1", kinds[2]);
	assert_string_equal(ipc, want);
	AUTO_FREE char *dns = run_shell("grep nameserver %s/host/etc/resolv.conf", h->paths.pods);
	assert_string_equal(dns, "nameserver 10.96.0.10");
	harness_free(h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_teardown(a_deadline_ends_a_pod, harness_teardown),
	    cmocka_unit_test_teardown(a_deadline_counts_from_the_start_that_was_told, harness_teardown),
	    cmocka_unit_test_teardown(a_pod_being_ended_keeps_its_address, harness_teardown),
	    cmocka_unit_test_teardown(what_writes_too_much_is_evicted, harness_teardown),
	    cmocka_unit_test_teardown(what_fills_etc_hosts_is_evicted, harness_teardown),
	    cmocka_unit_test_teardown(last_words_are_told, harness_teardown),
	    cmocka_unit_test_teardown(the_last_of_many_words_is_told, harness_teardown),
	    cmocka_unit_test_teardown(the_stop_signal_is_the_container_s, harness_teardown),
	    cmocka_unit_test_teardown(containers_share_processes, harness_teardown),
	    cmocka_unit_test_teardown(a_pod_on_the_host_s_network_has_its_own_ipc, harness_teardown),
	};

	int status = own_network();

	if (status)
		return status;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
