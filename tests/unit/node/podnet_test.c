// SPDX-License-Identifier: Apache-2.0
// Dual-stack pod networks in a network namespace of the test.
#include <signal.h>
#include <sys/prctl.h>

#include "pods_harness.h"

static struct fl_node_paths paths;

static struct fl_podnet_pod pod(const char *uid, const char *v4, const char *v6)
{
	struct fl_podnet_pod p = {.uid = uid, .hostname = uid, .n_ips = 2};

	fl_ip_parse(v4, &p.ips[0]);
	fl_ip_parse(v6, &p.ips[1]);
	return p;
}

// The test server, in a network namespace or in ours.
static pid_t serve_in(const char *netns)
{
	AUTO_FREE char *file = fl_asprintf("%s/echo", paths.root);
	struct fl_embedded echo = fl_embedded_echo();
	pid_t pid;

	if (access(file, X_OK) < 0)
		assert_int_equal(fl_file_write(file, echo.data, echo.len, 0755, NULL), 0);
	pid = fork();
	if (pid == 0) {
		AUTO_CLOSE int fd = netns ? open(netns, O_RDONLY | O_CLOEXEC) : -1;

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if ((netns && setns(fd, CLONE_NEWNET) < 0) || !freopen("/dev/null", "w", stdout))
			_exit(126);
		execl(file, "echo", (char *)NULL);
		_exit(127);
	}
	return pid;
}

static void both_families_reach_each_other(void **state)
{
	struct fl_podnet_host host = {.n_cidrs = 2};
	struct fl_podnet_pod one = pod("one", "10.1.0.2", "fd00:1::2"), two = pod("two", "10.1.0.3", "fd00:1::3");
	struct fl_err err = {0};

	AUTO_FREE char *before = run_shell("ip -o addr; ip route; ip -6 route; sysctl -n net.ipv6.conf.all.forwarding");
	fl_cidr_parse("10.1.0.0/24", &host.cidrs[0], false);
	fl_cidr_parse("fd00:1::/64", &host.cidrs[1], false);
	if (fl_podnet_host_setup(&paths, &host, &err) < 0 || fl_podnet_add(&paths, &one, &err) < 0 ||
	    fl_podnet_add(&paths, &two, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(fl_podnet_host_setup(&paths, &host, &err), 0); // again
	assert_int_equal(fl_podnet_add(&paths, &one, &err), 0);
	assert_true(fl_podnet_exists(&paths, "one", false));
	AUTO_FREE char *name = run_shell("nsenter --uts=%s/one.uts hostname", paths.ns);
	assert_string_equal(name, "one");
	AUTO_FREE char *net_two = fl_podnet_ns_path(&paths, "two", "net");
	pid_t servers[] = {serve_in(net_two), serve_in(NULL)};
	static const char *const to[] = {"10.1.0.3", "10.1.0.1", "[fd00:1::3]", "[fd00:1::1]"};
	for (size_t i = 0; i < FL_COUNT(to); i++) {
		AUTO_FREE char *out =
		    run_shell("nsenter --net=%s/one.net curl -sg -m 10 --retry 50 --retry-connrefused "
			      "--retry-delay 0 http://%s:8080/healthz",
			      paths.ns, to[i]);

		if (strcmp(out, "ok") != 0)
			fail_msg("no way from pod one to %s", to[i]);
	}
	AUTO_FREE char *from_host = run_shell("curl -sg -m 10 'http://[fd00:1::3]:8080/healthz'");
	assert_string_equal(from_host, "ok");
	// A free address is refused at once instead of leaving by the default route.
	AUTO_FREE char *free_one =
	    run_shell("nsenter --net=%s/one.net curl -s -m 10 http://10.1.0.77:8080/; echo $?", paths.ns);
	assert_string_equal(free_one, "7"); // not 28, the time-out
	for (size_t i = 0; i < FL_COUNT(servers); i++) {
		kill(servers[i], SIGKILL);
		waitpid(servers[i], NULL, 0);
	}

	assert_int_equal(fl_podnet_del(&paths, "one", &err), 0);
	assert_int_equal(fl_podnet_del(&paths, "one", &err), 0);
	assert_false(fl_podnet_exists(&paths, "one", false));
	assert_int_equal(fl_podnet_del(&paths, "two", &err), 0);
	assert_int_equal(fl_podnet_host_cleanup(&paths, &err), 0);
	assert_int_equal(fl_podnet_host_cleanup(&paths, &err), 0);
	AUTO_FREE char *after = run_shell("ip -o addr; ip route; ip -6 route; sysctl -n net.ipv6.conf.all.forwarding");
	assert_string_equal(after, before);
}

static bool kept(const struct fl_podnet_host *host, const struct fl_podnet_pod *one)
{
	AUTO(fl_netlink_free) struct fl_netlink *nl = NULL;
	struct fl_err err = {0};
	bool of_host = false, of_pod = false;

	assert_int_equal(fl_netlink_open(NETLINK_ROUTE, &nl, &err), 0);
	if (fl_podnet_host_keep(&paths, host, &of_host, &err) < 0 || fl_podnet_keep(nl, &paths, one, &of_pod, &err) < 0)
		fail_msg("%s", err.text);
	return of_host || of_pod;
}

static void what_is_taken_comes_back(void **state)
{
	static const char *const breaks[] = {
	    "ip route del 10.1.0.2",
	    "ip -6 route del fd00:1::2",
	    "ip -o link | grep -o 'flv[0-9a-f]*' | xargs ip link del",
	    "ip link set $(ip -o link | grep -o 'flv[0-9a-f]*') down",
	    "ip addr del 10.1.0.1/32 dev lo",
	    "ip -6 addr del fd00:1::1/128 dev lo",
	    "ip route del unreachable 10.1.0.0/24",
	    "ip -6 route del unreachable fd00:1::/64",
	    "sysctl -qw net.ipv4.ip_forward=0",
	    "sysctl -qw net.ipv6.conf.all.forwarding=0",
	};
	static const char look[] =
	    "ip -o route show proto 117; ip -6 -o route show proto 117; ip -o addr show lo; sysctl "
	    "net.ipv4.ip_forward net.ipv6.conf.all.forwarding";
	struct fl_podnet_host host = {.n_cidrs = 2};
	struct fl_podnet_pod one = pod("one", "10.1.0.2", "fd00:1::2");
	struct fl_err err = {0};

	fl_cidr_parse("10.1.0.0/24", &host.cidrs[0], false);
	fl_cidr_parse("fd00:1::/64", &host.cidrs[1], false);
	assert_int_equal(fl_podnet_host_setup(&paths, &host, &err), 0);
	assert_int_equal(fl_podnet_add(&paths, &one, &err), 0);
	AUTO_FREE char *whole = run_shell("%s", look);
	assert_false(kept(&host, &one));
	for (size_t i = 0; i < FL_COUNT(breaks); i++) {
		free(run_shell("%s", breaks[i]));
		AUTO_FREE char *broken = run_shell("%s", look);
		if (!strcmp(broken, whole))
			fail_msg("%s changed nothing", breaks[i]);
		if (!kept(&host, &one))
			fail_msg("%s was not noticed", breaks[i]);
		AUTO_FREE char *again = run_shell("%s", look);
		assert_string_equal(again, whole);
		assert_false(kept(&host, &one));
	}
	assert_int_equal(fl_podnet_del(&paths, "one", &err), 0);
	assert_int_equal(fl_podnet_host_cleanup(&paths, &err), 0);
}

static void an_address_of_no_range_is_refused(void **state)
{
	struct fl_podnet_host host = {.n_cidrs = 1};
	struct fl_podnet_pod stray = pod("stray", "10.9.0.2", "fd00:1::2");
	struct fl_err err = {0};

	fl_cidr_parse("10.1.0.0/24", &host.cidrs[0], false);
	assert_int_equal(fl_podnet_add(&paths, &stray, &err), -ENOENT); // the host was not prepared
	assert_int_equal(fl_podnet_host_setup(&paths, &host, &err), 0);
	assert_int_equal(fl_podnet_add(&paths, &stray, &err), -EADDRNOTAVAIL);
	assert_false(fl_podnet_exists(&paths, "stray", false));
	assert_int_equal(fl_podnet_host_cleanup(&paths, &err), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(both_families_reach_each_other),
	    cmocka_unit_test(what_is_taken_comes_back),
	    cmocka_unit_test(an_address_of_no_range_is_refused),
	};
	AUTO_FREE char *dir = fl_asprintf("/tmp/fairlead-podnet-test-%d", (int)getpid());
	struct fl_err err = {0};

	if (geteuid() != 0) {
		printf("SKIP: needs root\n");
		return 77;
	}
	if (unshare(CLONE_NEWNET) < 0 || fl_node_paths_init(&paths, dir, true, &err) < 0)
		return 1;
	free(run_shell("ip link set lo up"));
	int rc = cmocka_run_group_tests(tests, NULL, NULL);
	fl_mounts_detach_below(dir);
	fl_node_paths_deinit(&paths);
	return fl_file_remove_all(dir, &err) < 0 ? 1 : rc;
}
