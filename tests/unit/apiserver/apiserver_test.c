// SPDX-License-Identifier: Apache-2.0
// The role as a process: it starts, says its port, ends in order on SIGTERM with watches and writes under way, starts
// again after SIGKILL with all that was acknowledged, and says why when it cannot start.
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "base/file.h"
#include "base/log.h"
#include "support.h"

#define SERVICES "/api/v1/namespaces/default/services"

struct role {
	struct api f; // only its loop, clients and directory are used
	pid_t pid;
	char *files[5];
};

static void put(struct role *p, unsigned i, const char *name, const char *text)
{
	struct fl_err err = {0};
	p->files[i] = fl_asprintf("%s/%s", p->f.dir, name);
	assert_int_equal(fl_file_write(p->files[i], text, strlen(text), 0600, &err), 0);
}

static int serve(struct role *p, uint16_t port)
{
	struct fl_err err = {0};
	AUTO_FREE char *port_file = fl_asprintf("%s/port", p->f.dir);
	struct fl_ip ip;
	fl_ip_parse("127.0.0.1", &ip);
	struct fl_apiserver_opts o = p->f.opts;
	o.listen_ips = &ip;
	o.n_listen = 1;
	o.port = port;
	o.port_file = port_file;
	o.client_ca_file = p->files[0];
	o.cert_file = p->files[1];
	o.key_file = p->files[2];
	o.kubelet_cert_file = p->files[3];
	o.kubelet_key_file = p->files[4];
	fl_log_init("apiserver", FL_LOG_ERROR);
	int rc = fl_apiserver_run(&o, &err);
	if (rc < 0)
		dprintf(STDOUT_FILENO, "%s", err.text);
	return rc < 0;
}

static char *port_file(const struct role *p)
{
	return fl_asprintf("%s/port", p->f.dir);
}

static void start(struct role *p)
{
	AUTO_FREE char *file = port_file(p), *text = NULL;
	struct fl_err err = {0};
	unlink(file);
	p->pid = fork();
	if (p->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		exit(serve(p, 0)); // not _exit: what it leaks is told
	}
	while (fl_file_read(file, &text, NULL, &err) < 0 || !strchr(text, '\n')) {
		assert_int_equal(waitpid(p->pid, NULL, WNOHANG), 0);
		uv_run(&p->f.loop, UV_RUN_NOWAIT);
	}
	snprintf(p->f.url, sizeof(p->f.url), "https://127.0.0.1:%d", atoi(text));
	expect(&p->f, 200, ask(&p->f, "GET", "/readyz"));
}

// Our side of the connections must live until the other has closed them.
static int wait_end(struct role *p)
{
	int status;
	while (waitpid(p->pid, &status, WNOHANG) == 0)
		uv_run(&p->f.loop, UV_RUN_NOWAIT);
	p->pid = 0;
	return status;
}

static int end(struct role *p, int signum)
{
	kill(p->pid, signum);
	return wait_end(p);
}

static int setup(void **state)
{
	struct role *p = FL_NEW(struct role);
	api_client_only(&p->f);
	put(p, 0, "ca.crt", api_pem("ca"));
	put(p, 1, "server.crt", api_pem("server"));
	put(p, 2, "server.key", api_pem("server key"));
	put(p, 3, "admin.crt", api_pem("admin"));
	put(p, 4, "admin.key", api_pem("admin key"));
	*state = p;
	return 0;
}

static int teardown(void **state)
{
	struct role *p = *state;
	if (p->pid)
		end(p, SIGKILL);
	for (size_t i = 0; i < FL_COUNT(p->files); i++)
		free(p->files[i]);
	api_end(&p->f);
	free(p);
	return 0;
}

static void test_stop_in_order(void **state)
{
	struct role *p = *state;
	struct api *f = &p->f;
	start(p);
	struct answer *watches[200], *writes[50];
	for (size_t i = 0; i < FL_COUNT(watches); i++)
		watches[i] = start_watch(f, f->admin, i % 2 ? SERVICES "?watch=1" : "/api/v1/namespaces?watch=1", NULL);
	for (size_t i = 0; i < FL_COUNT(watches); i++)
		WAIT(f, watches[i]->lines > 0);
	for (size_t i = 0; i < FL_COUNT(writes); i++)
		writes[i] = start_with(f, "POST", SERVICES,
				       "{\"metadata\":{\"name\":\"w%zu\"},\"spec\":{\"ports\":[{\"port\":80}]}}", i);
	WAIT(f, writes[10]->done);
	kill(p->pid, SIGTERM);
	for (size_t i = 0; i < FL_COUNT(watches); i++) {
		WAIT(f, watches[i]->done);
		assert_int_equal(watches[i]->rc, 0); // a clean end of the stream
	}
	int status = wait_end(p);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	for (size_t i = 0; i < FL_COUNT(writes); i++)
		WAIT(f, writes[i]->done);
	start(p);
	for (size_t i = 0; i < FL_COUNT(writes); i++) {
		char path[64];
		snprintf(path, sizeof(path), SERVICES "/w%zu", i);
		if (writes[i]->status == 201)
			expect(f, 200, ask(f, "GET", path));
	}
}

static void test_killed(void **state)
{
	struct role *p = *state;
	struct api *f = &p->f;
	for (int round = 0; round < 3; round++) {
		struct answer *writes[40];
		start(p);
		for (size_t i = 0; i < FL_COUNT(writes); i++)
			writes[i] = start_with(f, "POST", SERVICES,
					       "{\"metadata\":{\"name\":\"k%d-%zu\"},\"spec\":{\"type\":\"NodePort\","
					       "\"ports\":[{\"port\":80}]}}",
					       round, i);
		WAIT(f, writes[20]->done);
		end(p, SIGKILL);
		for (size_t i = 0; i < FL_COUNT(writes); i++)
			WAIT(f, writes[i]->done);
		start(p);
		for (size_t i = 0; i < FL_COUNT(writes); i++) {
			char path[64];
			snprintf(path, sizeof(path), SERVICES "/k%d-%zu", round, i);
			if (writes[i]->status == 201)
				expect(f, 200, ask(f, "GET", path));
		}
		end(p, SIGTERM);
	}
}

// What it says when it cannot start, in a process of its own.
static void assert_refuses(struct role *p, uint16_t port, const char *says)
{
	int fd[2], status;
	char text[1024] = "";
	assert_int_equal(pipe(fd), 0);
	pid_t pid = fork();
	if (pid == 0) {
		dup2(fd[1], STDOUT_FILENO);
		_exit(serve(p, port));
	}
	close(fd[1]);
	for (size_t n = 0; n < sizeof(text) - 1;) {
		ssize_t got = read(fd[0], text + n, sizeof(text) - 1 - n);
		if (got <= 0)
			break;
		n += (size_t)got;
	}
	close(fd[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 1 || !strstr(text, says))
		fail_msg("status %d: %s", status, text);
}

static void test_refusals(void **state)
{
	struct role *p = *state;
	struct fl_err err = {0};
	start(p);
	assert_refuses(p, 0, "store"); // another process has the store open
	assert_int_equal(end(p, SIGTERM), 0);
	int s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in sin = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(sin);
	assert_int_equal(bind(s, (struct sockaddr *)&sin, sizeof(sin)), 0);
	assert_int_equal(listen(s, 1), 0);
	assert_int_equal(getsockname(s, (struct sockaddr *)&sin, &len), 0);
	assert_refuses(p, ntohs(sin.sin_port), "address already in use");
	close(s);
	assert_int_equal(fl_file_write(p->files[1], "nonsense", 8, 0600, &err), 0);
	assert_refuses(p, 0, "certificate");
	unlink(p->files[1]);
	assert_refuses(p, 0, "server.crt");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_stop_in_order, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_killed, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_refusals, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
