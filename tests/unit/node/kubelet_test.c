// SPDX-License-Identifier: Apache-2.0
// The node's HTTPS endpoint, asked by curl for the logs of a pod that runs.
#include <signal.h>

#include "io/tls.h"
#include "node/kubelet.h"
#include "pods_harness.h"

static void put(const char *dir, const char *name, const char *text)
{
	AUTO_FREE char *path = fl_asprintf("%s/%s", dir, name);

	assert_int_equal(fl_file_write(path, text, strlen(text), 0600, NULL), 0);
}

static void make_certificates(const char *dir)
{
	static const char *const admins[] = {"system:masters", NULL};
	struct fl_pki_cert ca, cert;
	struct fl_ip ip;
	struct fl_pki_request requests[] = {
	    {.common_name = "system:node:n1", .ips = &ip, .n_ips = 1, .server = true, .days = 1},
	    {.common_name = "kube-apiserver", .client = true, .days = 1},
	    {.common_name = "somebody", .client = true, .days = 1},
	    {.common_name = "admin", .organizations = admins, .client = true, .days = 1},
	};
	static const char *const names[] = {"node", "api", "somebody", "admin"};

	fl_ip_parse("127.0.0.1", &ip);
	assert_int_equal(fl_pki_make_ca("test", 1, &ca, NULL), 0);
	put(dir, "ca.crt", ca.cert_pem);
	for (size_t i = 0; i < FL_COUNT(names); i++) {
		AUTO_FREE char *crt = fl_asprintf("%s.crt", names[i]), *key = fl_asprintf("%s.key", names[i]);

		assert_int_equal(fl_pki_sign(&ca, &requests[i], &cert, NULL), 0);
		put(dir, crt, cert.cert_pem);
		put(dir, key, cert.key_pem);
		fl_pki_cert_deinit(&cert);
	}
	fl_pki_cert_deinit(&ca);
}

struct shell { // a command beside the loop
	pid_t pid;
	int status;
};

static bool has_ended(struct harness *h, const void *arg)
{
	struct shell *s = (struct shell *)arg;

	return waitpid(s->pid, &s->status, WNOHANG) == s->pid;
}

// Runs a shell command while the loop runs, and returns what it printed. free()
static char *run_beside(struct harness *h, const char *command)
{
	AUTO_FREE char *out = fl_asprintf("%s/out", h->dir);
	struct shell s = {.pid = fork()};
	char *text = NULL;

	if (s.pid == 0) {
		if (!freopen(out, "w", stdout))
			_exit(126);
		execl("/bin/sh", "sh", "-c", command, (char *)NULL);
		_exit(127);
	}
	assert_true(harness_wait(h, has_ended, &s));
	assert_int_equal(fl_file_read(out, &text, NULL, NULL), 0);
	return text;
}

static struct harness *h;
static char *base; // curl with the API server's certificate, up to the path

static void expect(const char *path, const char *want)
{
	AUTO_FREE char *command = fl_asprintf("%s%s'", base, path), *got = run_beside(h, command);

	assert_string_equal(got, want);
}

static void on_stopped(void *arg)
{
	*(bool *)arg = true;
}

static bool is_set(struct harness *harness, const void *arg)
{
	return *(const bool *)arg;
}

static void logs_over_https(void **state)
{
	struct fl_kubelet *k = NULL;
	struct fl_kubelet_opts o = {0};
	struct fl_err err = {0};
	uint16_t port = 0;
	bool stopped = false;

	h = harness_new("kubelet");
	make_certificates(h->dir);
	AUTO_FREE char *crt = fl_asprintf("%s/node.crt", h->dir), *key = fl_asprintf("%s/node.key", h->dir),
		       *ca = fl_asprintf("%s/ca.crt", h->dir);
	o = (struct fl_kubelet_opts){
	    .loop = &h->loop, .cert_file = crt, .key_file = key, .client_ca_file = ca, .pods = h->pods};
	if (fl_kubelet_start(&o, &k, &port, &err) < 0)
		fail_msg("%s", err.text);
	fl_pods_synced(h->pods);
	harness_set(h, "{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"web\",\"namespace\":"
		       "\"default\",\"uid\":\"u\","
		       "\"resourceVersion\":\"1\"},\"spec\":{\"restartPolicy\":\"Never\",\"containers\":[{\"name\":"
		       "\"c\",\"image\":"
		       "\"fairlead/echo\",\"args\":[\"resolve\",\"127.0.0.1\"]}]}}");
	harness_set(
	    h, "{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"live\",\"namespace\":\"default\","
	       "\"uid\":\"v\","
	       "\"resourceVersion\":\"1\"},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"fairlead/echo\"}]}}");
	harness_set(h, "{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"none\",\"namespace\":"
		       "\"default\",\"uid\":\"w\","
		       "\"resourceVersion\":\"1\"},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"nosuch\"}]}}");
	expect_status(h, "u", "phase", "Succeeded");
	expect_status(h, "v", "phase", "Running");
	expect_status(h, "w", "containerStatuses.0.state.waiting.reason", NULL);

	base = fl_asprintf("curl -sN --cacert %s --cert %s/api.crt --key %s/api.key -m 20 'https://127.0.0.1:%u", ca,
			   h->dir, h->dir, port);
	expect("/healthz", "ok");
	expect("/containerLogs/default/web/c", "127.0.0.1 127.0.0.1\n");
	expect("/containerLogs/default/web/c?follow=true", "127.0.0.1 127.0.0.1\n"); // ends, since the container did
	expect("/containerLogs/default/web/c?tailLines=0", "");
	expect("/containerLogs/default/live/c?limitBytes=12", "live serves ");
	expect("/containerLogs/default/gone/c", "pod \"gone_default\" not found");
	harness_set(h,
		    "{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"old\",\"namespace\":\"default\","
		    "\"uid\":\"x\",\"resourceVersion\":\"1\"},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":"
		    "\"fairlead/echo\"}]},\"status\":{\"phase\":\"Succeeded\",\"containerStatuses\":[{\"name\":\"c\","
		    "\"containerID\":\"runc://x-c-0\",\"restartCount\":0}]}}");
	expect("/containerLogs/default/old/c",
	       "the log of container \"c\" in pod \"old\" was removed from this host with its pods");
	AUTO_FREE char *ask_waiting = fl_asprintf("%s/containerLogs/default/none/c'", base),
		       *waiting = run_beside(h, ask_waiting);
	assert_true(fl_starts_with(waiting, "container \"c\" in pod \"none\" is waiting to start: "));
	assert_true(fl_ends_with(waiting, ": image can't be pulled") ||
		    fl_ends_with(waiting, ": trying and failing to pull image"));
	AUTO_FREE char *codes =
	    fl_asprintf("for p in containerLogs/default/web/x containerLogs/default/none/c "
			"containerLogs/default/web/c?tailLines=-1 containerLogs/default/old/c "
			"containerLogs/default/live/c?previous=true containerLogs/default exec; do curl -s -o "
			"/dev/null -w '%%{http_code} ' "
			"--cacert %s --cert %s/api.crt --key %s/api.key https://127.0.0.1:%u/$p; done",
			ca, h->dir, h->dir, port);
	AUTO_FREE char *got_codes = run_beside(h, codes);
	assert_string_equal(got_codes, "404 400 422 404 400 404 404 ");

	// Who may ask.
	AUTO_FREE char *who =
	    fl_asprintf("for w in somebody admin; do curl -s -o /dev/null -w '%%{http_code} ' --cacert %s --cert "
			"%s/$w.crt --key %s/$w.key https://127.0.0.1:%u/healthz; done; curl -s --cacert %s "
			"https://127.0.0.1:%u/healthz || echo refused",
			ca, h->dir, h->dir, port, ca, port);
	AUTO_FREE char *got_who = run_beside(h, who);
	assert_string_equal(got_who, "403 200 refused\n");

	// A log that is followed shows what comes later, until its reader leaves.
	AUTO_FREE char *follow = fl_asprintf(
	    "%s/containerLogs/default/live/c?follow=true' | (read a; curl -s 'http://%s:8080/control?delay=0' "
	    ">/dev/null; read b; echo \"$b\")",
	    base, status_at(h, "v", "podIP"));
	AUTO_FREE char *got_later = run_beside(h, follow);
	assert_string_equal(got_later, "control delay=0\n");

	fl_kubelet_stop(&k, on_stopped, &stopped);
	assert_true(harness_wait(h, is_set, &stopped));
	free(base);
	harness_free(h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test_teardown(logs_over_https, harness_teardown)};

	if (geteuid() != 0) {
		printf("SKIP: needs root\n");
		return 77;
	}
	signal(SIGPIPE, SIG_IGN);
	if (unshare(CLONE_NEWNET) < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
