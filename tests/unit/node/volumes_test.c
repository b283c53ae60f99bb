// SPDX-License-Identifier: Apache-2.0
// What containers see in their volumes, and that it follows the objects.
#include <sys/resource.h>

#include "node/atomicdir.h"
#include "own_network.h"
#include "pods_harness.h"

#define POD(uid, meta, spec)                                                                                           \
	"{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"" uid                                        \
	"\",\"namespace\":\"default\",\"uid\":\"" uid "\",\"resourceVersion\":\"1\"" meta "},\"spec\":{" spec "}}"
#define CONTAINER(mounts, more)                                                                                        \
	"\"containers\":[{\"name\":\"c\",\"image\":\"fairlead/echo\",\"volumeMounts\":[" mounts "]" more "}]"

struct text_at {
	const char *uid, *path, *want;
};

// A file as the pod's container sees it.
static char *seen(struct harness *h, const char *uid, const char *path)
{
	return run_shell(
	    "exec 2>/dev/null; cd /proc/$(cat $(ls -d %s/%s/containers/c/* | tail -1)/pid)/root && cat .%s",
	    h->paths.pods, uid, path);
}

static bool is_seen(struct harness *h, const void *arg)
{
	const struct text_at *t = arg;
	AUTO_FREE char *now = seen(h, t->uid, t->path);

	return strcmp(now, t->want) == 0;
}

static void expect_seen(struct harness *h, const char *uid, const char *path, const char *want)
{
	if (!harness_wait(h, is_seen, &(struct text_at){uid, path, want})) {
		AUTO_FREE char *now = seen(h, uid, path);

		fail_msg("%s in %s is \"%s\", not \"%s\"", path, uid, now, want);
	}
}

// The second run of v's container has that in its environment; it has none before its program begins.
static bool has_env(struct harness *h, const void *entry)
{
	AUTO_FREE char *now = run_shell("tr '\\0' '\\n' </proc/$(cat %s/v/containers/c/1/pid)/environ | grep -x %s",
					h->paths.pods, (const char *)entry);

	return strcmp(now, entry) == 0;
}

static char *in_pod(struct harness *h, const char *uid, const char *command)
{
	return run_shell("cd /proc/$(cat %s/%s/containers/c/0/pid)/root && %s", h->paths.pods, uid, command);
}

#define FOLLOWS                                                                                                        \
	"\"volumes\":[{\"name\":\"m\",\"configMap\":{\"name\":\"m\"}},{\"name\":\"s\",\"secret\":{\"secretName\":"     \
	"\"s\","                                                                                                       \
	"\"defaultMode\":256}},{\"name\":\"d\",\"downwardAPI\":{\"items\":[{\"path\":\"labels\",\"fieldRef\":{"        \
	"\"fieldPath\":"                                                                                               \
	"\"metadata.labels\"}},{\"path\":\"cpu\",\"resourceFieldRef\":{\"containerName\":\"c\",\"resource\":\"limits." \
	"cpu\","                                                                                                       \
	"\"divisor\":\"1m\"}}]}},{\"name\":\"p\",\"projected\":{\"sources\":[{\"configMap\":{\"name\":\"m\","          \
	"\"items\":[{\"key\":"                                                                                         \
	"\"a\",\"path\":\"x/a\"}]}},{\"secret\":{\"name\":\"none\",\"optional\":true}}]}}]," CONTAINER(                \
	    "{\"name\":\"m\",\"mountPath\":\"/m\"},{\"name\":\"s\",\"mountPath\":\"/s\"},{\"name\":\"d\","             \
	    "\"mountPath\":\"/d\"},{\"name\":\"p\",\"mountPath\":\"/p\"},{\"name\":\"m\",\"mountPath\":\"/one\","      \
	    "\"subPath\":\"a\"}",                                                                                      \
	    ",\"resources\":{\"limits\":{\"cpu\":\"250m\"}},\"env\":[{\"name\":\"A\",\"valueFrom\":"                   \
	    "{\"configMapKeyRef\":{\"name\":\"m\",\"key\":\"a\"}}}]")

static void follow_their_objects(void **state)
{
	struct harness *h = harness_new("vol-follow");
	size_t none = 0;

	harness_object_put(h, "c/default/m", "{\"a\":\"1\",\"b\":\"x\"}", 1);
	harness_object_put(h, "s/default/s", "{\"k\":\"c2VjcmV0\"}", 2);
	fl_pods_synced(h->pods);
	harness_set(h, POD("v", ",\"labels\":{\"z\":\"1\",\"a\":\"\\\"q\\\"\"}", FOLLOWS));
	expect_status(h, "v", "phase", "Running");
	expect_seen(h, "v", "/m/a", "1");
	expect_seen(h, "v", "/s/k", "secret");
	expect_seen(h, "v", "/d/labels", "a=\"\\\"q\\\"\"\nz=\"1\"");
	expect_seen(h, "v", "/d/cpu", "250");
	expect_seen(h, "v", "/p/x/a", "1");
	expect_seen(h, "v", "/one", "1");
	AUTO_FREE char *layout = in_pod(h, "v",
					"readlink m/a m/..data | sed 's/[0-9]/N/g'; stat -L -c %a m/a s/k; "
					"stat -f -c %T s");
	assert_string_equal(layout, "..data/a\n..NNNN_NN_NN_NN_NN_NN.NNNNNNNNN\n644\n400\ntmpfs");
	AUTO_FREE char *ro = in_pod(h, "v", "(: > m/new) 2>&1 | grep -c Read-only");
	assert_string_equal(ro, "1");

	harness_object_put(h, "c/default/m", "{\"a\":\"2\",\"c\":\"y\"}", 3);
	expect_seen(h, "v", "/m/a", "2");
	expect_seen(h, "v", "/p/x/a", "2");
	expect_seen(h, "v", "/one", "1"); // not through subPath
	AUTO_FREE char *names = in_pod(h, "v", "ls m; ls -a m | grep -c '^\\.\\.[0-9]'");
	assert_string_equal(names, "a\nc\n1");
	harness_object_put(h, "s/default/s", "{\"k\":\"bmV3\"}", 4);
	expect_seen(h, "v", "/s/k", "new");
	harness_object_put(h, "s/default/none", "{\"late\":\"eA==\"}", 5);
	expect_seen(h, "v", "/p/late", "x");
	harness_set(h, POD("v", ",\"labels\":{\"only\":\"me\"}", FOLLOWS));
	expect_seen(h, "v", "/d/labels", "only=\"me\"");
	// An object that goes leaves the volume as it is, and is told.
	free(fl_map_del(&h->objects, "c/default/m"));
	fl_pods_changed(h->pods, false, "default", "m", 0);
	expect_status(h, "v", "phase", "Running");

	// A change while the node was away is found when it comes back; a container that starts anew has it all.
	harness_node_stop(h);
	fl_map_deinit(&h->followed);
	harness_node_start(h);
	harness_object_put(h, "c/default/m", "{\"a\":\"3\"}", 6);
	harness_set(h, POD("v", ",\"labels\":{\"only\":\"me\"}", FOLLOWS));
	fl_pods_synced(h->pods);
	expect_seen(h, "v", "/m/a", "3");
	free(run_shell("kill -9 $(cat %s/v/containers/c/0/pid)", h->paths.pods));
	expect_status(h, "v", "containerStatuses.0.restartCount", "1");
	expect_seen(h, "v", "/one", "3");
	assert_true(harness_wait(h, has_env, "A=3"));
	fl_pods_gone(h->pods, "v");
	assert_true(harness_wait(h, count_is, &none));
	assert_int_equal(h->followed.n, 0);
	AUTO_FREE char *mounts = run_shell("grep -c %s/v /proc/self/mountinfo", h->paths.pods);
	assert_string_equal(mounts, "0");
	harness_free(h);
}

static void of_memory_of_groups_and_parts(void **state)
{
	struct harness *h = harness_new("vol-kinds");

	harness_object_put(h, "c/default/m", "{\"a\":\"1\"}", 1);
	fl_pods_synced(h->pods);
	harness_set(
	    h, POD("v", "",
		   "\"securityContext\":{\"fsGroup\":2000,\"runAsUser\":1000,\"runAsGroup\":3000,"
		   "\"supplementalGroups\":["
		   "4000]},\"volumes\":[{\"name\":\"mem\",\"emptyDir\":{\"medium\":\"Memory\",\"sizeLimit\":\"1Mi\"}},"
		   "{\"name\":\"e\",\"emptyDir\":{}},{\"name\":\"m\",\"configMap\":{\"name\":\"m\",\"defaultMode\":256}"
		   "}]," //
		   CONTAINER(
		       "{\"name\":\"mem\",\"mountPath\":\"/mem\"},{\"name\":\"e\",\"mountPath\":\"/e\"},"
		       "{\"name\":\"e\",\"mountPath\":\"/part\",\"subPathExpr\":\"deep/$(NAME)\"},"
		       "{\"name\":\"e\",\"mountPath\":\"/ro\",\"readOnly\":true},{\"name\":\"m\",\"mountPath\":\"/m\"}",
		       ",\"env\":[{\"name\":\"NAME\",\"valueFrom\":{\"fieldRef\":{\"fieldPath\":\"metadata.name\"}}}],"
		       "\"securityContext\":{\"readOnlyRootFilesystem\":true,\"allowPrivilegeEscalation\":false,"
		       "\"capabilities\":{\"drop\":[\"ALL\"]}}")));
	expect_status(h, "v", "phase", "Running");
	AUTO_FREE char *kinds = in_pod(h, "v", "stat -f -c '%T %b %s' mem; stat -c '%a %g' e; stat -L -c '%a %g' m/a");
	assert_string_equal(kinds, "tmpfs 256 4096\n2777 2000\n440 2000");
	AUTO_FREE char *part = in_pod(h, "v", "echo hi >part/f && cat e/deep/v/f");
	assert_string_equal(part, "hi");
	AUTO_FREE char *ro =
	    in_pod(h, "v", "for f in ro/x usr/x; do (: > $f) 2>&1 | grep -o 'Read-only\\|No such'; done");
	assert_non_null(strstr(ro, "Read-only"));
	AUTO_FREE char *root =
	    run_shell("grep ' / / ' /proc/$(cat %s/v/containers/c/0/pid)/mountinfo | grep -c ' ro,'", h->paths.pods);
	assert_string_equal(root, "1");
	AUTO_FREE char *who =
	    run_shell("grep -E '^(Uid|Gid|Groups|NoNewPrivs|CapBnd)' /proc/$(cat %s/v/containers/c/0/pid)/"
		      "status | tr -s '\\t ' ' '",
		      h->paths.pods);
	assert_non_null(strstr(who, "Uid: 1000 1000 1000 1000\nGid: 3000 3000 3000 3000\nGroups: 2000 3000 4000"));
	assert_non_null(strstr(who, "CapBnd: 0000000000000000\nNoNewPrivs: 1"));
	harness_free(h);
}

static void a_link_does_not_lead_out(void **state)
{
	struct harness *h = harness_new("vol-link");

	fl_pods_synced(h->pods);
	// An init container makes the link; the next one wants a part of the volume by it.
	harness_set(
	    h, POD("v", "",
		   "\"restartPolicy\":\"Never\",\"volumes\":[{\"name\":\"e\",\"emptyDir\":{}}]," //
		   CONTAINER("{\"name\":\"e\",\"mountPath\":\"/e\",\"subPath\":\"out/secret\"}",
			     "") ",\"initContainers\":[{\"name\":\"i\",\"image\":\"fairlead/echo\",\"command\":["
				 "\"/bin/fairlead-echo\",\"do\",\"until=/e/done\"],\"volumeMounts\":[{\"name\":\"e\","
				 "\"mountPath\":\"/e\"}]}]"));
	expect_status(h, "v", "initContainerStatuses.0.state.running.startedAt", NULL);
	free(run_shell("ln -s /etc %s/v/volumes/e/out", h->paths.pods));
	free(run_shell("touch %s/v/volumes/e/done", h->paths.pods));
	expect_status(h, "v", "containerStatuses.0.state.waiting.reason", "CreateContainerConfigError");
	assert_string_equal(status_at(h, "v", "containerStatuses.0.state.waiting.message"),
			    "failed to prepare subPath out/secret: it leads out of the volume");
	harness_free(h);
}

static void nest(const char *dir, int levels)
{
	int at = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	for (int i = 0; i < levels; i++) {
		assert_int_equal(mkdirat(at, "d", 0700), 0);
		int below = openat(at, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		close(at);
		at = below;
	}
	close(at);
}

static void none_hides_another_and_none_stays(void **state)
{
	struct harness *h = harness_new("vol-nested");
	struct rlimit before, few;
	size_t none = 0;

	fl_pods_synced(h->pods);
	harness_set(h, POD("v", "",
			   "\"volumes\":[{\"name\":\"e\",\"emptyDir\":{}},{\"name\":\"f\",\"emptyDir\":{}},{\"name\":"
			   "\"etc\",\"emptyDir\":{}}]," CONTAINER("{\"name\":\"f\",\"mountPath\":\"/e/f\"},{\"name\":"
								  "\"e\",\"mountPath\":\"/e\"},{\"name\":\"etc\","
								  "\"mountPath\":\"/etc\"}",
								  ",\"terminationMessagePath\":\"/e/f/end\"")));
	expect_status(h, "v", "phase", "Running");
	free(in_pod(h, "v", "echo inner >e/f/x; echo outer >e/x; echo end >e/f/end"));
	AUTO_FREE char *files =
	    run_shell("cd %s/v && cat volumes/f/x volumes/e/x containers/c/0/termination-log", h->paths.pods);
	assert_string_equal(files, "inner\nouter\nend");
	AUTO_FREE char *hosts = in_pod(h, "v", "grep -c localhost etc/hosts");
	assert_string_not_equal(hosts, "0");

	AUTO_FREE char *deep = fl_asprintf("%s/v/volumes/e", h->paths.pods);
	nest(deep, 2000);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	few = (struct rlimit){.rlim_cur = 512, .rlim_max = before.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
	fl_pods_gone(h->pods, "v");
	bool gone = harness_wait(h, count_is, &none);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	assert_true(gone);
	AUTO_FREE char *left = run_shell("ls %s", h->paths.pods);
	assert_string_equal(left, "");
	harness_free(h);
}

static void a_write_that_was_cut_short_is_mended(void **state)
{
	AUTO_FREE char *dir = fl_asprintf("/tmp/fairlead-atomicdir-%d", (int)getpid());
	AUTO(fl_afiles_deinit) struct fl_afiles f = {0};
	struct fl_err err = {0};
	bool changed;

	assert_int_equal(fl_file_mkdirs(dir, 0755, &err), 0);
	assert_int_equal(fl_afiles_put(&f, &(struct fl_afile){"a", "1", 1, 0644}, &err), 0);
	assert_int_equal(fl_afiles_put(&f, &(struct fl_afile){"d/b", "2", 1, 0600}, &err), 0);
	assert_int_equal(fl_afiles_put(&f, &(struct fl_afile){"../x", "2", 1, 0600}, &err), -EINVAL);
	assert_int_equal(fl_afiles_put(&f, &(struct fl_afile){"..data", "2", 1, 0600}, &err), -EINVAL);
	free(run_shell(
	    "cd %s; mkdir ..2020_01_01_00_00_00.000000001; ln -s ..2020 ..data_tmp; echo old >stale; mkdir a", dir));
	assert_int_equal(fl_atomic_dir_write(dir, &f, -1, &changed, &err), 0);
	assert_true(changed);
	AUTO_FREE char *is = run_shell("cd %s; cat a d/b; ls -a | sed 's/^\\.\\.[0-9].*/TIME/'", dir);
	assert_string_equal(is, "12.\n..\nTIME\n..data\na\nd");
	assert_int_equal(fl_atomic_dir_write(dir, &f, -1, &changed, &err), 0);
	assert_false(changed);
	free(run_shell("rm %s/d", dir)); // a link is missing: cut between the exchange and the links
	assert_int_equal(fl_atomic_dir_write(dir, &f, -1, &changed, &err), 0);
	assert_true(changed);
	AUTO_FREE char *again = run_shell("cat %s/d/b", dir);
	assert_string_equal(again, "2");
	assert_int_equal(fl_file_remove_all(dir, &err), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_write_that_was_cut_short_is_mended),
	    cmocka_unit_test_teardown(follow_their_objects, harness_teardown),
	    cmocka_unit_test_teardown(of_memory_of_groups_and_parts, harness_teardown),
	    cmocka_unit_test_teardown(a_link_does_not_lead_out, harness_teardown),
	    cmocka_unit_test_teardown(none_hides_another_and_none_stays, harness_teardown),
	};

	int status = own_network();

	if (status)
		return status;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
